//! SQLite databases as plain bytes, their locks from the kernel's table, and who has them open.
//!
//! Nothing is opened through SQLite: even a reader that does no more than open and close can unlink a live write-ahead
//! log. Plain reads of another process's files take no lock and give none back.

use super::LinuxHost;
use super::links;
use super::proc_dir::{ProcDir, read_all};
use super::process;
use crate::collect::databases::{self, Files, LOCKS_DECIDE};
use crate::collect::worker::Request;
use crate::collect::{Collected, ForeignPath};
use crate::model::{DatabaseFile, DatabaseHolder, DatabaseLock, Gap, GapReason, LockRole, Process, SecondLook};
use crate::parse::link::{self, Link, SqlitePart};
use crate::parse::locks::{self, KernelLock};
use crate::parse::process::{descriptor_inode, mount_of};
use crate::parse::sqlite;
use crate::parse::text::nul_separated;
use crate::report::mask;
use rustix::fs::{Mode, OFlags, openat};
use rustix::path::DecInt;
use serde_bytes::ByteBuf;
use std::collections::{BTreeMap, HashMap};
use std::ops::ControlFlow;

/// Largest table of locks that is read, in bytes.
const MAX_LOCK_TABLE: u32 = 4 * 1024 * 1024;

/// Reads a database.
pub fn read(host: &LinuxHost, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap> {
    let files = Files::of(path);
    let mut read = databases::read(&host.workers, &files)?;
    match lock_table(host) {
        Ok(table) => read.value.locks = locks_of(host, path, &files, &table),
        Err(gap) => read.gaps.push(gap.blocking(LOCKS_DECIDE)),
    }
    Ok(read)
}

/// What moves, once more. How long after, and what its holder did meanwhile, the caller knows.
pub fn again(host: &LinuxHost, path: &ForeignPath) -> SecondLook {
    let files = Files::of(path);
    let locks = lock_table(host).ok().map(|table| locks_of(host, path, &files, &table));
    SecondLook { locks, ..databases::again(&host.workers, &files) }
}

/// The kernel's table of locks. The worker reads it: any user can make it so long that it takes minutes.
fn lock_table(host: &LinuxHost) -> Result<Vec<KernelLock>, Gap> {
    let request = Request::KernelFile { path: ByteBuf::from("/proc/locks"), limit: MAX_LOCK_TABLE };
    let bytes = host.workers.bytes_of_process(request)?;
    if bytes.len() >= usize::try_from(MAX_LOCK_TABLE).unwrap_or(usize::MAX) {
        return Err(Gap::new("/proc/locks", GapReason::Malformed, "larger than what is read"));
    }
    Ok(locks::parse(&bytes).0)
}

/// Locks on a database and on its index, by role.
fn locks_of(host: &LinuxHost, path: &ForeignPath, files: &Files, table: &[KernelLock]) -> Vec<DatabaseLock> {
    let named_by = path.process().and_then(|process| ProcDir::anchor(process).ok());
    let elsewhere = named_by.filter(|directory| process::namespace(directory, c"ns/mnt").0 == Some(true));
    let directory = elsewhere.map_or_else(|| ProcDir::open(std::process::id()), Ok);
    let mounts = directory.and_then(|directory| directory.read(c"mountinfo")).unwrap_or_default();
    // Under a link the mount is that of where it leads; the first name is right for all but those.
    let of_mount = mount_of(&mounts, path.bytes()).map(|mount| mount.device);
    let mut found = Vec::new();
    for part in [SqlitePart::Database, SqlitePart::Shm] {
        let Ok((device, inode)) = host.workers.identity_of(files.part(part)) else { continue };
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

/// A database that is looked for among descriptors.
struct Wanted {
    index: usize,
    inodes: BTreeMap<SqlitePart, u64>,
}

/// Who has these databases open.
pub fn holders(
    host: &LinuxHost,
    seen_by: Option<&Process>,
    paths: &[ForeignPath],
    among: Option<&[u32]>,
) -> Collected<Vec<Vec<DatabaseHolder>>> {
    let mut found: Vec<Vec<DatabaseHolder>> = vec![Vec::new(); paths.len()];
    let wanted: HashMap<Vec<u8>, Wanted> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| {
            let files = Files::of(path);
            let inodes = [SqlitePart::Database, SqlitePart::Wal, SqlitePart::Shm]
                .into_iter()
                .filter_map(|part| Some((part, host.workers.identity_of(files.part(part)).ok()?.1)))
                .collect();
            (path.bytes().to_vec(), Wanted { index, inodes })
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
    let (mut refused, mut unread, mut unasked) = (0_usize, 0_usize, 0_usize);
    for (index, pid) in pids.iter().enumerate() {
        if host.workers.deadline.is_over() {
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
            Err(error) if error.kind() == std::io::ErrorKind::Other => unread += 1,
            // It ended meanwhile.
            Err(_) => {}
        }
    }
    // A process whose links may not be read matters where a database has no holder that could be seen.
    if found.iter().any(Vec::is_empty) {
        refused += unread;
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
    if found.iter().flatten().any(uses) && lock_table(host).is_ok_and(|table| table.is_empty()) {
        let detail = "the table of locks is empty although databases are in use; something hides it";
        gaps.push(Gap::new("/proc/locks", GapReason::Unsupported, detail).blocking(LOCKS_DECIDE));
    }
    Collected { value: found, gaps }
}

fn command_of(host: &LinuxHost, pid: u32) -> String {
    let answer = host.workers.bytes_of_process(Request::CommandLine(pid)).unwrap_or_default();
    let line = mask::command(&nul_separated(&answer));
    if line.is_empty() { process::name_of(pid).map_or_else(String::new, |name| format!("[{name}]")) } else { line }
}

/// What one process holds of the wanted databases; an error of the kind `Other` where its links may not be read.
fn held_by(
    pid: u32,
    wanted: &HashMap<Vec<u8>, Wanted>,
    own_mounts: Option<&[u8]>,
) -> std::io::Result<Vec<(usize, DatabaseHolder)>> {
    let directory = ProcDir::open(pid)?;
    let held = directory.directory(c"fd")?;
    // Distinct targets only: what one of them is, all of them are.
    let mut hits: HashMap<Vec<u8>, (u32, u64)> = HashMap::new();
    let mut is_refused = false;
    links::each(&held, |number, link| {
        is_refused |= links::is_refused(link);
        if let Ok(text) = link
            && family_of(text, wanted).is_some()
        {
            match hits.get_mut(text) {
                Some((_, count)) => *count += 1,
                None => drop(hits.insert(text.to_vec(), (number, 1))),
            }
        }
        ControlFlow::Continue(())
    })?;
    if hits.is_empty() {
        return if is_refused { Err(std::io::ErrorKind::Other.into()) } else { Ok(Vec::new()) };
    }
    let same_place = own_mounts.is_some() && directory.link(c"ns/mnt").ok().as_deref() == own_mounts;
    let information = directory.directory(c"fdinfo")?;
    let status = directory.read(c"status").ok().and_then(|bytes| crate::parse::process::status(&bytes).ok());
    let same_pid_namespace = status.is_some_and(|status| status.namespace_pids.len() <= 1);
    let mut found: BTreeMap<usize, DatabaseHolder> = BTreeMap::new();
    for (text, (descriptor, count)) in &hits {
        let Some((wanted, part, marked)) = family_of(text, wanted) else { continue };
        let inode = inode_of(&information, *descriptor);
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

fn inode_of(information: &rustix::fd::OwnedFd, descriptor: u32) -> Option<u64> {
    let file =
        openat(information, DecInt::new(descriptor), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    descriptor_inode(&read_all(&file).ok()?)
}
