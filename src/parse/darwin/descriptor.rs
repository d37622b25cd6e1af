//! Descriptors of a process on macOS: the list, and the object that each descriptor refers to.
//!
//! Reading the path of a file queries its filesystem, which can hang on a dead mount. So a worker process walks
//! the list and passes on the structures of the kernel as records. The records are parsed here.

use super::Image;
use super::layout::*;
use super::socket::{self, Socket};
use crate::model::{Descriptors, Gap, GapReason};
use crate::parse::ParseError;
use crate::parse::descriptors::{OpenFile, Rows, other_row, tcp_row};
use crate::parse::link::SqlitePart;
use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

/// Bytes of a record before the structure of the kernel: descriptor, kind, error number, size, and size without
/// trailing NULs, four bytes each.
const HEAD: usize = 20;
/// Largest structure that a record holds.
const MAX_BYTES: usize = 4096;

/// One descriptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Descriptor number.
    pub descriptor: i32,
    /// `PROX_FDTYPE_*`.
    pub kind: u32,
    /// The structure that the kernel filled in; empty for kinds that are not queried. `Err` is the error
    /// number.
    pub answer: Result<Vec<u8>, i32>,
}

/// Parses the result of `PROC_PIDLISTFDS`: numbers and kinds.
pub fn list(bytes: &[u8]) -> Vec<(i32, u32)> {
    let (entries, _) = bytes.as_chunks::<PROC_FDINFO>();
    entries.iter().map(|entry| (Image(entry).i32(PROC_FD), Image(entry).u32(PROC_FDTYPE))).collect()
}

/// Appends a record, without the trailing NULs of its structure: most of a path field is empty.
pub fn encode(record: &Record, out: &mut Vec<u8>) {
    let (bytes, error) = match &record.answer {
        Ok(bytes) => (bytes.as_slice(), 0),
        Err(error) => (&[][..], *error),
    };
    let kept = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let size = |length: usize| u32::try_from(length).unwrap_or(0).to_le_bytes();
    out.extend_from_slice(&record.descriptor.to_le_bytes());
    out.extend_from_slice(&record.kind.to_le_bytes());
    out.extend_from_slice(&error.to_le_bytes());
    out.extend_from_slice(&size(bytes.len()));
    out.extend_from_slice(&size(kept));
    out.extend_from_slice(bytes.get(..kept).unwrap_or_default());
}

/// Splits bytes into records.
///
/// # Errors
/// When the bytes end within a record, or a record is larger than any structure.
pub fn decode(mut bytes: &[u8]) -> Result<Vec<Record>, ParseError> {
    let malformed = || ParseError::new("records of descriptors", "they end early");
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_at_checked(HEAD).ok_or_else(malformed)?;
        let head = Image(head);
        let length = |at| usize::try_from(head.u32(at)).unwrap_or(usize::MAX);
        let (size, kept) = (length(12), length(16));
        if size > MAX_BYTES || kept > size {
            return Err(ParseError::new("records of descriptors", "one is larger than the maximum"));
        }
        let (kept, rest) = rest.split_at_checked(kept).ok_or_else(malformed)?;
        let mut image = kept.to_vec();
        image.resize(size, 0);
        let error = head.i32(8);
        let answer = if error == 0 { Ok(image) } else { Err(error) };
        records.push(Record { descriptor: head.i32(0), kind: head.u32(4), answer });
        bytes = rest;
    }
    Ok(records)
}

/// A file behind a descriptor (`struct vnode_fdinfowithpath`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vnode {
    /// Path, as the kernel remembers it; for an unlinked file, its last path.
    pub path: Vec<u8>,
    /// `regular`, `directory`, `device`, `pipe`, `unix` or `other`.
    pub kind: &'static str,
    /// Link count; 0 for an unlinked file.
    pub links: u16,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Device and inode.
    pub identity: (u32, u64),
}

/// Parses `struct vnode_fdinfowithpath`.
///
/// # Errors
/// When it is too short.
pub fn vnode(bytes: &[u8]) -> Result<Vnode, ParseError> {
    let image = Image::new(bytes, VNODE_FDINFOWITHPATH, "struct vnode_fdinfowithpath")?;
    // `S_IFMT` and its values, sys/stat.h.
    let kind = match image.u16(VST_MODE) & 0o170_000 {
        0o100_000 => "regular",
        0o040_000 => "directory",
        0o020_000 | 0o060_000 => "device",
        0o010_000 => "pipe",
        0o140_000 => "unix",
        _ => "other",
    };
    Ok(Vnode {
        path: image.text(VIP_PATH, PATH_SIZE).to_vec(),
        kind,
        links: image.u16(VST_NLINK),
        size_bytes: image.u64(VST_SIZE),
        identity: (image.u32(VST_DEV), image.u64(VST_INO)),
    })
}

/// A file and the key by which it is counted: one inode under one path.
type FileKey = (Vec<u8>, (u32, u64), bool);

/// Counts the objects of the records, and returns the handles of their sockets. A record that has an error or
/// is too short is counted in a separate row.
pub fn read(records: &[Record]) -> (Descriptors, HashSet<u64>) {
    let mut facts =
        Descriptors { open: Some(u64::try_from(records.len()).unwrap_or(u64::MAX)), ..Descriptors::default() };
    let mut rows = Rows::default();
    let mut files: BTreeMap<FileKey, (u64, Vnode)> = BTreeMap::new();
    let mut sockets: BTreeMap<u64, (u64, Socket)> = BTreeMap::new();
    let mut others: BTreeMap<(&str, String), u64> = BTreeMap::new();
    for record in records {
        let bytes = match &record.answer {
            Ok(bytes) => bytes,
            Err(error) => {
                *others.entry(("unreadable", unreadable(&error_words(*error)))).or_default() += 1;
                continue;
            }
        };
        let malformed = |error: ParseError| unreadable(&error.to_string());
        let kind = usize::try_from(record.kind).unwrap_or(usize::MAX);
        let found = match kind {
            PROX_FDTYPE_VNODE => vnode(bytes).map_err(malformed).map(|file| {
                let key = (file.path.clone(), file.identity, file.links == 0);
                files.entry(key).or_insert((0, file)).0 += 1;
            }),
            PROX_FDTYPE_SOCKET => socket::parse(bytes).map_err(malformed).map(|socket| {
                sockets.entry(socket.handle()).or_insert((0, socket)).0 += 1;
            }),
            PROX_FDTYPE_PIPE => socket::pipe(bytes).map_err(malformed).map(|(own, _)| {
                *others.entry(("pipe", format!("pipe:[{own:x}]"))).or_default() += 1;
            }),
            _ => {
                let known = OTHER_KINDS.iter().find(|(number, _)| *number == record.kind);
                let row = known.map_or(("other", format!("kind {kind}")), |(_, name)| (*name, (*name).to_owned()));
                *others.entry(row).or_default() += 1;
                Ok(())
            }
        };
        if let Err(row) = found {
            *others.entry(("unreadable", row)).or_default() += 1;
        }
    }
    for (count, file) in files.into_values() {
        let deleted = file.links == 0 && file.kind == "regular";
        let size_bytes = deleted.then_some(file.size_bytes);
        rows.add_file(&OpenFile { kind: file.kind, path: &file.path, count, deleted, size_bytes }, true);
    }
    let handles = sockets.keys().copied().collect();
    let of_sockets = sockets.into_values().map(|(count, socket)| match socket {
        Socket::Tcp(socket) => tcp_row(&socket, count),
        Socket::Other(socket) => other_row(&socket, count),
    });
    rows.add_sockets(of_sockets.collect(), true, &mut facts);
    for ((kind, target), count) in others {
        rows.add(kind, target, count, false, None);
    }
    rows.finish(&mut facts);
    (facts, handles)
}

fn unreadable(why: &str) -> String {
    format!("unreadable: {why}")
}

fn error_words(number: i32) -> String {
    let text = std::io::Error::from_raw_os_error(number).to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_owned()
}

/// Files that still have a name and that standard output or standard error is connected to.
pub fn output_files(records: &[Record]) -> Vec<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    let is_output = |record: &&Record| {
        matches!(record.descriptor, 1 | 2) && usize::try_from(record.kind) == Ok(PROX_FDTYPE_VNODE)
    };
    let files = records.iter().filter(is_output).filter_map(|record| vnode(record.answer.as_ref().ok()?).ok());
    let named = files.filter(|file| file.kind == "regular" && file.links > 0 && file.path.starts_with(b"/"));
    named.map(|file| PathBuf::from(std::ffi::OsStr::from_bytes(&file.path))).collect()
}

/// How a gap about a descriptor limit begins.
pub const LIMIT: &str = "descriptor limit of pid";

/// The gap for the descriptor limits of another process, for which macOS has no public interface.
pub fn limit_gap(pid: u32) -> Gap {
    let detail = "macOS has no public interface for the limit of another process; launchd starts its jobs with 256, \
        unless their plist (SoftResourceLimits) or the server itself raises it";
    Gap::new(format!("{LIMIT} {pid}"), GapReason::Unsupported, detail)
        .blocking(&[crate::model::id::DESCRIPTOR_CEILING, crate::model::id::DESCRIPTOR_LIMIT_LOW])
}

/// The soft limit that a WebUI has raised, from its log: the last line `Raised file descriptor soft limit A ->
/// B`.
pub fn raised_limit(log: &[u8]) -> Option<(u64, u64)> {
    const WORDS: &str = "Raised file descriptor soft limit ";
    let text = String::from_utf8_lossy(log);
    let of_line = |line: &str| {
        let (from, to) = line.split_once(WORDS)?.1.split_once(" -> ")?;
        Some((from.trim().parse().ok()?, to.split_whitespace().next()?.parse().ok()?))
    };
    text.lines().filter_map(of_line).next_back()
}

/// The database and the part of it that a record refers to: its index in `paths`, the part, and the file.
pub fn database_part(record: &Record, paths: &[Vec<u8>]) -> Option<(usize, SqlitePart, Vnode)> {
    if usize::try_from(record.kind).ok() != Some(PROX_FDTYPE_VNODE) {
        return None;
    }
    let file = vnode(record.answer.as_ref().ok()?).ok()?;
    let parts = [(&b"-wal"[..], SqlitePart::Wal), (b"-shm", SqlitePart::Shm), (b"", SqlitePart::Database)];
    let (at, part) = parts.into_iter().find_map(|(suffix, part)| {
        let base = file.path.strip_suffix(suffix)?;
        Some((paths.iter().position(|path| path == base)?, part))
    })?;
    Some((at, part, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = include_bytes!("../../../tests/darwin/list.bin");
    const VNODES: &[u8] = include_bytes!("../../../tests/darwin/vnodes.bin");
    const SOCKETS: &[u8] = include_bytes!("../../../tests/darwin/sockets.bin");
    const PIPE: &[u8] = include_bytes!("../../../tests/darwin/pipe.bin");

    fn record(kind: u32, answer: Result<&[u8], i32>) -> Record {
        Record { descriptor: 7, kind, answer: answer.map(<[u8]>::to_vec) }
    }

    fn through_the_pipe(records: &[Record]) -> Vec<Record> {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| encode(record, &mut bytes));
        decode(&bytes).unwrap()
    }

    #[test]
    fn counts_descriptors_by_kind() {
        assert_eq!(list(LIST), [(0, 1), (1, 6), (3, 5), (4, 2), (5, 77)]);
        let file = |index: usize| record(1, Ok(&VNODES[index * 1200..(index + 1) * 1200]));
        let socket = |index: usize| record(2, Ok(&SOCKETS[index * 792..(index + 1) * 792]));
        let records = [
            file(0),
            file(0),
            file(1),
            file(2),
            file(3),
            socket(0),
            socket(1),
            socket(1),
            socket(4),
            record(6, Ok(PIPE)),
            record(5, Ok(&[])),
            record(77, Ok(&[])),
            record(1, Err(libc::EPERM)),
            record(1, Ok(&VNODES[..1199])),
        ];
        let records = through_the_pipe(&records);
        let (facts, handles) = read(&records);
        assert_eq!((facts.open, facts.soft_limit), (Some(14), None));
        let by_kind: Vec<(&str, u64)> = facts.by_kind.iter().map(|(kind, count)| (kind.as_str(), *count)).collect();
        assert_eq!(
            by_kind,
            [
                ("device", 1),
                ("directory", 1),
                ("kqueue", 1),
                ("other", 1),
                ("pipe", 1),
                ("regular", 3),
                ("tcp-close-wait", 2),
                ("tcp-listen", 1),
                ("unix", 1),
                ("unreadable", 2),
            ]
        );
        let family = &facts.sqlite[0];
        assert_eq!((&*family.path, family.db, family.wal), ("/Users/h/.hermes/state.db", 2, 1));
        assert_eq!(family.deleted, 1, "the log has no link any more");
        let deleted = facts.targets.iter().find(|target| target.deleted).unwrap();
        assert_eq!((deleted.target.as_str(), deleted.size_bytes), ("/Users/h/.hermes/state.db-wal", Some(4152)));
        let close_wait = facts.close_wait.unwrap();
        assert_eq!((close_wait.first, close_wait.by_peer[0].peer.as_str()), (1, "149.154.167.220:443"));
        assert!(handles.contains(&0xfeed_face_0000_0001));
    }

    #[test]
    fn finds_the_parts_of_a_database() {
        let paths = [b"/elsewhere/state.db".to_vec(), b"/Users/h/.hermes/state.db".to_vec()];
        let part = |index: usize| database_part(&record(1, Ok(&VNODES[index * 1200..])), &paths);
        let (at, part_of, file) = part(1).unwrap();
        assert_eq!((at, part_of, file.links), (1, SqlitePart::Wal, 0));
        assert_eq!(file.identity, (16_777_232, 12_345_678_902));
        assert!(part(2).is_none() && database_part(&record(2, Ok(VNODES)), &paths).is_none());
    }

    #[test]
    fn finds_where_the_output_goes() {
        let of = |descriptor: i32, index: usize| Record { descriptor, ..record(1, Ok(&VNODES[index * 1200..])) };
        // A named file, an unlinked one, a device, and a descriptor that is not an output.
        assert_eq!(output_files(&[of(1, 0), of(2, 1)]), [PathBuf::from("/Users/h/.hermes/state.db")]);
        assert!(output_files(&[of(2, 2), of(3, 0), record(6, Ok(PIPE))]).is_empty());
    }

    #[test]
    fn reads_the_raised_limit_from_the_server_log() {
        let log = b"x\n[ok] Raised file descriptor soft limit 256 -> 4096\n[ok] Raised file descriptor soft limit 512 -> 8192 (hard)\n";
        assert_eq!(raised_limit(log), Some((512, 8192)));
        assert_eq!(raised_limit(b"Raised file descriptor soft limit x -> 1\n"), None);
        assert_eq!(raised_limit(b"\xff\xfe"), None);
    }

    /// Built by hand: a path that fills its field without a terminator, and no path at all.
    #[test]
    fn hostile_files() {
        let file = vnode(&[b'x'; 1200]).unwrap();
        assert_eq!((file.path.len(), file.kind), (PATH_SIZE, "other"));
        let (found, _) = read(&[record(1, Ok(&[0; 1200]))]);
        assert_eq!(found.targets[0].target, "a file without a path");
    }

    #[test]
    fn hostile_records() {
        let mut bytes = Vec::new();
        encode(&record(1, Ok(VNODES.first_chunk::<1200>().unwrap())), &mut bytes);
        assert!(decode(&bytes[..bytes.len() - 1]).is_err() && decode(&bytes[..19]).is_err());
        bytes[12..16].fill(0xff);
        assert!(decode(&bytes).is_err());
        assert_eq!(decode(&[]).unwrap(), []);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..1300)) {
            let _ = list(&bytes);
            let _ = vnode(&bytes);
            let records = decode(&bytes).unwrap_or_default();
            let _ = read(&records);
            let _ = read(&[Record { descriptor: 1, kind: 1, answer: Ok(bytes.clone()) }]);
        }
    }
}
