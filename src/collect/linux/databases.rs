//! SQLite databases as plain bytes, their locks from the kernel's table, and who has them open.
//!
//! Nothing is opened through SQLite: even a reader that does no more than open and close can unlink a live write-ahead
//! log. Plain reads of another process's files take no lock and give none back.

use super::LinuxHost;
use super::proc_dir::{ProcDir, read_all};
use super::process;
use crate::collect::reader::Request;
use crate::collect::{Collected, reach};
use crate::model::{
    DatabaseFile, DatabaseHolder, DatabaseLock, FileStamp, Gap, GapReason, LockRole, Process, SecondLook, WalFile,
    WalIndex, id,
};
use crate::parse::link::{self, Link, SqlitePart};
use crate::parse::locks::{self, KernelLock};
use crate::parse::process::{descriptor_inode, device_of_mount};
use crate::parse::sqlite;
use crate::parse::text::{nul_separated, printable};
use crate::report::mask;
use rustix::fs::{Mode, OFlags, RawDir, openat};
use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, OsString};
use std::mem::MaybeUninit;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// What nobody can decide without the table of locks.
const LOCKS_DECIDE: &[&str] = &[id::DATABASE_LOCK_HELD, id::DATABASE_LOCKS_LOST, id::WAL_CHECKPOINT_PINNED];
/// Bytes of an index that are read.
const INDEX_START: u32 = 136;
/// Reads of an index that a writer was at.
const INDEX_TRIES: usize = 4;

/// The three files of a database as they are reached from here.
struct Files {
    database: PathBuf,
    wal: PathBuf,
    shm: PathBuf,
    journal: PathBuf,
}

impl Files {
    fn of(seen_by: Option<&Process>, path: &Path) -> Self {
        let with = |suffix: &str| {
            let mut name = path.as_os_str().as_bytes().to_vec();
            name.extend_from_slice(suffix.as_bytes());
            reach(seen_by, &PathBuf::from(OsString::from_vec(name)))
        };
        Self { database: with(""), wal: with("-wal"), shm: with("-shm"), journal: with("-journal") }
    }

    fn part(&self, part: SqlitePart) -> &Path {
        match part {
            SqlitePart::Database => &self.database,
            SqlitePart::Wal => &self.wal,
            SqlitePart::Shm => &self.shm,
        }
    }
}

/// Reads a database.
pub fn read(host: &LinuxHost, seen_by: Option<&Process>, path: &Path) -> Result<Collected<DatabaseFile>, Gap> {
    let shown = printable(path.as_os_str().as_bytes());
    let files = Files::of(seen_by, path);
    let mut gaps = Vec::new();
    let named = |gap: Gap, suffix: &str| Gap { what: format!("{shown}{suffix}"), ..gap };
    let size_bytes = size(host, &files.database).map_err(|gap| named(gap, ""))?;
    let mut file = DatabaseFile {
        path: shown.clone(),
        size_bytes: Some(size_bytes),
        header: None,
        journal_mode: "unknown".to_owned(),
        wal: None,
        index: None,
        written: written(host, &files),
        locks: Vec::new(),
        holders: Vec::new(),
        looked_again: None,
    };
    let first = host.perform_one(Request::Range(files.database.clone(), 0, 100)).map_err(|gap| named(gap, ""))?;
    match sqlite::database_header(&first) {
        Ok(header) => {
            file.journal_mode = header.as_ref().map_or("unknown", |header| header.journal_mode()).to_owned();
            file.header = header;
        }
        Err(error) => gaps.push(Gap::new(&shown, GapReason::Malformed, error.to_string())),
    }
    match wal(host, &files.wal) {
        Ok(Some((wal, error))) => {
            file.wal = Some(wal);
            if let Some(error) = error {
                gaps.push(Gap::new(format!("{shown}-wal"), GapReason::Malformed, error));
            }
        }
        Ok(None) => {}
        Err(gap) => gaps.push(named(gap, "-wal")),
    }
    match index(host, &files.shm) {
        Ok(index) => file.index = index,
        Err(gap) => gaps.push(named(gap, "-shm")),
    }
    match lock_table() {
        Ok(table) => file.locks = locks_of(host, seen_by, path, &files, &table),
        Err(gap) => gaps.push(gap.blocking(LOCKS_DECIDE)),
    }
    Ok(Collected { value: file, gaps })
}

/// What moves, once more. How long after, and what its holder did meanwhile, the caller knows.
pub fn again(host: &LinuxHost, seen_by: Option<&Process>, path: &Path) -> SecondLook {
    let files = Files::of(seen_by, path);
    let index = index(host, &files.shm).ok().flatten();
    SecondLook {
        after_ms: 0,
        max_frame: index.as_ref().map(|index| index.max_frame),
        change: index.as_ref().map(|index| index.change),
        backfilled_frames: index.as_ref().map(|index| index.backfilled_frames),
        read_marks: index.map(|index| index.read_marks.to_vec()).unwrap_or_default(),
        written: written(host, &files),
        locks: lock_table().ok().map(|table| locks_of(host, seen_by, path, &files, &table)),
        holder_cpu_ms: None,
    }
}

/// When its files were last written to. The index is not among them: it is mapped, and a mapped file's time stands still.
fn written(host: &LinuxHost, files: &Files) -> Vec<FileStamp> {
    [("", &files.database), ("-wal", &files.wal), ("-journal", &files.journal)]
        .into_iter()
        .filter_map(|(suffix, path)| {
            let answer = host.perform_one(Request::Stamp(path.clone())).ok()?;
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

fn size(host: &LinuxHost, path: &Path) -> Result<u64, Gap> {
    let answer = host.perform_one(Request::Size(path.to_owned()))?;
    let text = String::from_utf8_lossy(&answer);
    text.parse().map_err(|_| Gap::new("size of a file", GapReason::Malformed, text.clone().into_owned()))
}

/// The log, with what could not be found out of it; `None` where there is none.
fn wal(host: &LinuxHost, path: &Path) -> Result<Option<(WalFile, Option<String>)>, Gap> {
    let size_bytes = match size(host, path) {
        Ok(size) => size,
        Err(gap) if gap.reason == GapReason::NotFound => return Ok(None),
        Err(gap) => return Err(gap),
    };
    let mut read = |offset: u64, length: usize| {
        let length = u32::try_from(length).ok()?;
        host.perform_one(Request::Range(path.to_owned(), offset, length)).ok()
    };
    let (file, error) = sqlite::wal_file(size_bytes, &mut read);
    Ok(Some((file, error.map(|error| error.to_string()))))
}

/// The index; read again while a writer is at it. `None` where there is none, or where it is yet to be filled in.
fn index(host: &LinuxHost, path: &Path) -> Result<Option<WalIndex>, Gap> {
    let mut last = None;
    for _ in 0..INDEX_TRIES {
        let bytes = match host.perform_one(Request::Range(path.to_owned(), 0, INDEX_START)) {
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

fn lock_table() -> Result<Vec<KernelLock>, Gap> {
    let bytes = std::fs::read("/proc/locks").map_err(|error| Gap::from_io("/proc/locks", &error))?;
    Ok(locks::parse(&bytes).0)
}

/// Locks on a database and on its index, by role.
fn locks_of(
    host: &LinuxHost,
    seen_by: Option<&Process>,
    path: &Path,
    files: &Files,
    table: &[KernelLock],
) -> Vec<DatabaseLock> {
    let foreign = seen_by.filter(|process| process.foreign_mounts == Some(true));
    let directory = ProcDir::open(foreign.map_or(std::process::id(), |process| process.identity.pid));
    let mounts = directory.and_then(|directory| directory.read(c"mountinfo")).unwrap_or_default();
    // Under a link the mount is that of where it leads; the first name is right for all but those.
    let of_mount = device_of_mount(&mounts, path.as_os_str().as_bytes());
    let mut found = Vec::new();
    for part in [SqlitePart::Database, SqlitePart::Shm] {
        let Some((device, inode)) = identity(host, files.part(part)) else { continue };
        let shown = (rustix::fs::major(device), rustix::fs::minor(device));
        let is_its = |lock: &&KernelLock| {
            let on = (lock.major, lock.minor);
            lock.is_range() && lock.inode == inode && (on == shown || Some(on) == of_mount)
        };
        for lock in table.iter().filter(is_its) {
            let roles: Vec<(LockRole, Option<u8>)> = match part {
                SqlitePart::Shm => sqlite::lock_roles_of_index(lock.start, lock.end),
                _ => sqlite::lock_roles_of_database(lock.start, lock.end)
                    .into_iter()
                    .map(|role| (role, None))
                    .collect(),
            };
            found.extend(roles.into_iter().map(|(role, slot)| DatabaseLock {
                role,
                exclusive: lock.exclusive,
                pid: lock.pid,
                is_waiting: lock.is_waiting,
                slot,
            }));
        }
    }
    found.sort_by_key(|lock| (lock.role, lock.slot, lock.pid));
    found
}

fn identity(host: &LinuxHost, path: &Path) -> Option<(u64, u64)> {
    let answer = host.perform_one(Request::Identity(path.to_owned())).ok()?;
    let text = String::from_utf8_lossy(&answer);
    let (device, inode) = text.split_once(' ')?;
    Some((device.parse().ok()?, inode.parse().ok()?))
}

/// A database that is looked for among descriptors.
struct Wanted {
    index: usize,
    inodes: BTreeMap<SqlitePart, u64>,
}

/// Who has these databases open.
pub fn holders(
    host: &LinuxHost,
    seen_by: Option<&Process>,
    paths: &[PathBuf],
    among: Option<&[u32]>,
) -> Collected<Vec<Vec<DatabaseHolder>>> {
    let mut found: Vec<Vec<DatabaseHolder>> = vec![Vec::new(); paths.len()];
    let wanted: HashMap<Vec<u8>, Wanted> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| {
            let files = Files::of(seen_by, path);
            let inodes = [SqlitePart::Database, SqlitePart::Wal, SqlitePart::Shm]
                .into_iter()
                .filter_map(|part| Some((part, identity(host, files.part(part))?.1)))
                .collect();
            (path.as_os_str().as_bytes().to_vec(), Wanted { index, inodes })
        })
        .collect();
    let place = seen_by.filter(|process| process.foreign_mounts == Some(true));
    let own_mounts = ProcDir::open(place.map_or(std::process::id(), |process| process.identity.pid))
        .and_then(|directory| directory.link(c"ns/mnt"))
        .ok();
    let listed;
    let pids = match among {
        Some(pids) => pids,
        None => {
            listed = process::all_pids();
            &listed
        }
    };
    let (mut refused, mut unasked) = (0_usize, 0_usize);
    for (index, pid) in pids.iter().enumerate() {
        if host.deadline.is_over() {
            unasked = pids.len() - index;
            break;
        }
        match held_by(*pid, &wanted, own_mounts.as_deref()) {
            Ok(held) => {
                for (index, mut holder) in held {
                    holder.command = command_of(host, *pid);
                    if let Some(list) = found.get_mut(index) {
                        list.push(holder);
                    }
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => refused += 1,
            // It ended meanwhile.
            Err(_) => {}
        }
    }
    let mut gaps = Vec::new();
    if unasked > 0 {
        let detail = format!("{unasked} processes were not asked");
        gaps.push(Gap::new("holders of databases", GapReason::Timeout, detail));
    } else if refused > 0 {
        let detail = format!("{refused} processes of other users could not be read (run as root to see them)");
        gaps.push(Gap::new("holders of databases", GapReason::Permission, detail));
    }
    // A live connection has a lock on the index, whatever became of those on the database. Where the whole host has none,
    // something hides the table.
    let uses = |holder: &DatabaseHolder| {
        holder.descriptors_db > 0 && holder.descriptors_wal > 0 && holder.descriptors_shm > 0 && holder.deleted == 0
    };
    if found.iter().flatten().any(uses) && lock_table().is_ok_and(|table| table.is_empty()) {
        let detail = "the table of locks is empty although databases are in use; something hides it";
        gaps.push(Gap::new("/proc/locks", GapReason::Unsupported, detail).blocking(LOCKS_DECIDE));
    }
    Collected { value: found, gaps }
}

fn command_of(host: &LinuxHost, pid: u32) -> String {
    let answer = host.perform(&[Request::CommandLine(pid)]).pop().and_then(Result::ok).unwrap_or_default();
    let line = mask::command(&nul_separated(&answer));
    if line.is_empty() { process::name_of(pid).map_or_else(String::new, |name| format!("[{name}]")) } else { line }
}

/// What one process holds of the wanted databases.
fn held_by(
    pid: u32,
    wanted: &HashMap<Vec<u8>, Wanted>,
    own_mounts: Option<&[u8]>,
) -> std::io::Result<Vec<(usize, DatabaseHolder)>> {
    let directory = ProcDir::open(pid)?;
    let held = directory.directory(c"fd")?;
    let mut entries = [MaybeUninit::<u8>::uninit(); 16 * 1024];
    let mut target = [MaybeUninit::<u8>::uninit(); 4096];
    // Distinct targets only: what one of them is, all of them are.
    let mut hits: HashMap<Vec<u8>, (CString, u64)> = HashMap::new();
    let mut listing = RawDir::new(&held, &mut entries);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if let Ok((text, _)) = rustix::fs::readlinkat_raw(&held, entry.file_name(), &mut target)
            && family_of(text, wanted).is_some()
        {
            match hits.get_mut(text) {
                Some((_, count)) => *count += 1,
                None => drop(hits.insert(text.to_vec(), (entry.file_name().to_owned(), 1))),
            }
        }
    }
    if hits.is_empty() {
        return Ok(Vec::new());
    }
    let same_place = own_mounts.is_some() && directory.link(c"ns/mnt").ok().as_deref() == own_mounts;
    let information = directory.directory(c"fdinfo")?;
    let status = directory.read(c"status").ok().and_then(|bytes| crate::parse::process::status(&bytes).ok());
    let same_pid_namespace = status.is_some_and(|status| status.namespace_pids.len() <= 1);
    let mut found: BTreeMap<usize, DatabaseHolder> = BTreeMap::new();
    for (text, (descriptor, count)) in &hits {
        let Some((wanted, part, marked)) = family_of(text, wanted) else { continue };
        let inode = inode_of(&information, descriptor);
        let now = wanted.inodes.get(&part).copied();
        let is_current = inode.is_some() && inode == now;
        // The same name in another mount namespace is another file, unless its inode says that it is this one.
        if !same_place && !is_current {
            continue;
        }
        let holder = found.entry(wanted.index).or_insert_with(|| DatabaseHolder {
            pid,
            command: String::new(),
            descriptors_db: 0,
            descriptors_wal: 0,
            descriptors_shm: 0,
            deleted: 0,
            replaced: 0,
            has_shared_lock: None,
            same_pid_namespace,
        });
        match part {
            SqlitePart::Database => holder.descriptors_db += count,
            SqlitePart::Wal => holder.descriptors_wal += count,
            SqlitePart::Shm => holder.descriptors_shm += count,
        }
        // A file can be named so that it looks unlinked; then it is the one at the path.
        if marked && !is_current {
            holder.deleted += count;
        } else if inode.is_some() && now.is_some() && !is_current {
            holder.replaced += count;
        }
    }
    Ok(found.into_iter().collect())
}

/// The wanted database that a link's text belongs to, the part, and whether it is marked as unlinked.
fn family_of<'w>(text: &[u8], wanted: &'w HashMap<Vec<u8>, Wanted>) -> Option<(&'w Wanted, SqlitePart, bool)> {
    let part_of = |path: &[u8], marked| {
        let parts = [(&b"-wal"[..], SqlitePart::Wal), (b"-shm", SqlitePart::Shm), (b"", SqlitePart::Database)];
        parts.into_iter().find_map(|(suffix, part)| Some((wanted.get(path.strip_suffix(suffix)?)?, part, marked)))
    };
    // A name may itself end like the mark of an unlinked file.
    part_of(text, false).or_else(|| match link::classify(text) {
        Link::Path { path, marked_deleted: true } => part_of(path, true),
        _ => None,
    })
}

fn inode_of(information: &rustix::fd::OwnedFd, descriptor: &CStr) -> Option<u64> {
    let file = openat(information, descriptor, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    descriptor_inode(&read_all(&file).ok()?)
}
