//! SQLite databases as plain bytes, read through the second process on every system.
//!
//! Nothing is opened through SQLite: even a reader that does no more than open and close can unlink a live write-ahead
//! log. Plain reads of another process's files take no lock and give none back.

use super::reader::Request;
use super::{Collected, reach};
use crate::model::{DatabaseFile, FileStamp, Gap, GapReason, Process, SecondLook, WalFile, WalIndex, id};
use crate::parse::link::SqlitePart;
use crate::parse::sqlite;
use crate::parse::text::printable;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// One read, made where it can be abandoned.
pub type Perform<'a> = &'a dyn Fn(Request) -> Result<Vec<u8>, Gap>;

/// What nobody can decide without the locks.
pub const LOCKS_DECIDE: &[&str] = &[id::DATABASE_LOCK_HELD, id::DATABASE_LOCKS_LOST, id::WAL_CHECKPOINT_PINNED];
/// Bytes of an index that are read.
const INDEX_START: u32 = 136;
/// Reads of an index that a writer was at.
const INDEX_TRIES: usize = 4;

/// The three files of a database as they are reached from here.
pub struct Files {
    database: PathBuf,
    wal: PathBuf,
    shm: PathBuf,
    journal: PathBuf,
}

impl Files {
    /// Of a database as a process calls it.
    pub fn of(seen_by: Option<&Process>, path: &Path) -> Self {
        let with = |suffix: &str| {
            let mut name = path.as_os_str().as_bytes().to_vec();
            name.extend_from_slice(suffix.as_bytes());
            reach(seen_by, &PathBuf::from(OsString::from_vec(name)))
        };
        Self { database: with(""), wal: with("-wal"), shm: with("-shm"), journal: with("-journal") }
    }

    /// One of them.
    pub fn part(&self, part: SqlitePart) -> &Path {
        match part {
            SqlitePart::Database => &self.database,
            SqlitePart::Wal => &self.wal,
            SqlitePart::Shm => &self.shm,
        }
    }
}

/// Reads a database, without its locks.
///
/// # Errors
/// A gap when there is no such file, or it cannot be read.
pub fn read(perform: Perform<'_>, files: &Files, path: &Path) -> Result<Collected<DatabaseFile>, Gap> {
    let shown = printable(path.as_os_str().as_bytes());
    let mut gaps = Vec::new();
    let named = |gap: Gap, suffix: &str| Gap { what: format!("{shown}{suffix}"), ..gap };
    let size_bytes = size(perform, &files.database).map_err(|gap| named(gap, ""))?;
    let mut file = DatabaseFile {
        path: shown.clone(),
        size_bytes: Some(size_bytes),
        header: None,
        journal_mode: "unknown".to_owned(),
        wal: None,
        index: None,
        written: written(perform, files),
        locks: Vec::new(),
        holders: Vec::new(),
        looked_again: None,
    };
    let first = perform(Request::Range(files.database.clone(), 0, 100)).map_err(|gap| named(gap, ""))?;
    match sqlite::database_header(&first) {
        Ok(header) => {
            file.journal_mode = header.as_ref().map_or("unknown", |header| header.journal_mode()).to_owned();
            file.header = header;
        }
        Err(error) => gaps.push(Gap::new(&shown, GapReason::Malformed, error.to_string())),
    }
    match wal(perform, &files.wal) {
        Ok(Some((wal, error))) => {
            file.wal = Some(wal);
            if let Some(error) = error {
                gaps.push(Gap::new(format!("{shown}-wal"), GapReason::Malformed, error));
            }
        }
        Ok(None) => {}
        Err(gap) => gaps.push(named(gap, "-wal")),
    }
    match index(perform, &files.shm) {
        Ok(index) => file.index = index,
        Err(gap) => gaps.push(named(gap, "-shm")),
    }
    Ok(Collected { value: file, gaps })
}

/// What moves, once more, without the locks. How long after, and what its holder did meanwhile, the caller knows.
pub fn again(perform: Perform<'_>, files: &Files) -> SecondLook {
    let index = index(perform, &files.shm).ok().flatten();
    SecondLook {
        after_ms: 0,
        max_frame: index.as_ref().map(|index| index.max_frame),
        change: index.as_ref().map(|index| index.change),
        backfilled_frames: index.as_ref().map(|index| index.backfilled_frames),
        read_marks: index.map(|index| index.read_marks.to_vec()).unwrap_or_default(),
        written: written(perform, files),
        locks: None,
        holder_cpu_ms: None,
    }
}

/// When its files were last written to. The index is not among them: it is mapped, and a mapped file's time stands still.
fn written(perform: Perform<'_>, files: &Files) -> Vec<FileStamp> {
    [("", &files.database), ("-wal", &files.wal), ("-journal", &files.journal)]
        .into_iter()
        .filter_map(|(suffix, path)| {
            let answer = perform(Request::Stamp(path.clone())).ok()?;
            let text = String::from_utf8_lossy(&answer);
            let (size, modified) = text.split_once(' ')?;
            Some(FileStamp {
                suffix: suffix.to_owned(),
                size_bytes: size.parse().ok()?,
                modified_ns: modified.parse().ok()?,
            })
        })
        .collect()
}

fn size(perform: Perform<'_>, path: &Path) -> Result<u64, Gap> {
    let answer = perform(Request::Size(path.to_owned()))?;
    let text = String::from_utf8_lossy(&answer);
    text.parse().map_err(|_| Gap::new("size of a file", GapReason::Malformed, text.clone().into_owned()))
}

/// The log, with what could not be found out of it; `None` where there is none.
fn wal(perform: Perform<'_>, path: &Path) -> Result<Option<(WalFile, Option<String>)>, Gap> {
    let size_bytes = match size(perform, path) {
        Ok(size) => size,
        Err(gap) if gap.reason == GapReason::NotFound => return Ok(None),
        Err(gap) => return Err(gap),
    };
    let mut read = |offset: u64, length: usize| {
        let length = u32::try_from(length).ok()?;
        perform(Request::Range(path.to_owned(), offset, length)).ok()
    };
    let (file, error) = sqlite::wal_file(size_bytes, &mut read);
    Ok(Some((file, error.map(|error| error.to_string()))))
}

/// The index; read again while a writer is at it. `None` where there is none, or where it is yet to be filled in.
fn index(perform: Perform<'_>, path: &Path) -> Result<Option<WalIndex>, Gap> {
    let mut last = None;
    for _ in 0..INDEX_TRIES {
        let bytes = match perform(Request::Range(path.to_owned(), 0, INDEX_START)) {
            Ok(bytes) => bytes,
            Err(gap) if gap.reason == GapReason::NotFound => return Ok(None),
            Err(gap) => return Err(gap),
        };
        if bytes.len() < 8 {
            return Ok(None);
        }
        let found = sqlite::wal_index(&bytes)
            .map_err(|error| Gap::new("WAL index", GapReason::Malformed, error.to_string()))?;
        let is_whole = found.copies_agree && (found.checksum_is_right || !found.is_initialised);
        last = Some(found);
        if is_whole {
            break;
        }
    }
    Ok(last)
}

/// Device and inode of a file.
pub fn identity(perform: Perform<'_>, path: &Path) -> Option<(u64, u64)> {
    let answer = perform(Request::Identity(path.to_owned())).ok()?;
    let text = String::from_utf8_lossy(&answer);
    let (device, inode) = text.split_once(' ')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}
