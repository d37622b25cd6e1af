//! SQLite databases as plain bytes, their locks from the kernel's table, and their holders.
//!
//! No file is opened through SQLite: even a reader that only opens and closes a database can unlink a live write-ahead
//! log. Plain reads of another process's files take no lock and release none.

use super::{LinuxHost, links, process, procfs};
use crate::collect::databases::{self, Files, LOCKS_DECIDE};
use crate::collect::worker::Request;
use crate::collect::workers::Workers;
use crate::collect::{Collected, ForeignPath};
use crate::model::text::nul_separated;
use crate::model::{
    DatabaseFile, DatabaseHolder, DatabaseLock, Gap, GapDetail, GapReason, GapSubject, Identity, LockRole, Process,
    SecondSample,
};
use crate::parse::link::{self, Link, SqlitePart};
use crate::parse::locks::{self, KernelLock};
use crate::parse::mask;
use crate::parse::mounts::{self, Mount};
use crate::parse::process::{descriptor_inode, is_read_only, mount_id};
use crate::parse::sqlite;
use serde_bytes::ByteBuf;
use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::ControlFlow;

/// Largest table of locks that is read, in bytes.
const MAX_LOCK_TABLE: u32 = 4 * 1024 * 1024;

/// Reads a database, with its locks.
pub fn read(host: &LinuxHost, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap> {
    let files = Files::of(path);
    let mut read = databases::read(&host.workers, &files)?;
    match lock_table(host) {
        Ok(table) => read.value.locks = locks_of(host, path, &files, &table),
        Err(gap) => read.gaps.push(gap.blocking(LOCKS_DECIDE)),
    }
    Ok(read)
}

/// The values that change, read a second time. The caller knows the interval, and what the holder did meanwhile.
pub fn again(host: &LinuxHost, path: &ForeignPath) -> SecondSample {
    let files = Files::of(path);
    let locks = lock_table(host).ok().map(|table| locks_of(host, path, &files, &table));
    SecondSample { locks, ..databases::again(&host.workers, &files) }
}

/// The kernel's table of locks. A worker reads it, because any user can make it so long that the read takes minutes.
fn lock_table(host: &LinuxHost) -> Result<Vec<KernelLock>, Gap> {
    let request = Request::KernelFile { path: ByteBuf::from("/proc/locks"), limit: MAX_LOCK_TABLE };
    let bytes = host.workers.bytes_of_process(request)?;
    if bytes.len() >= usize::try_from(MAX_LOCK_TABLE).unwrap_or(usize::MAX) {
        return Err(Gap::new("/proc/locks", GapReason::Malformed, GapDetail::LargerThanLimit));
    }
    Ok(locks::parse(&bytes).0)
}

/// Locks on a database and on its index, by role.
fn locks_of(host: &LinuxHost, path: &ForeignPath, files: &Files, table: &[KernelLock]) -> Vec<DatabaseLock> {
    let workers = &host.workers;
    let is_elsewhere = |process: &Identity| process::namespace(workers, process.pid, "ns/mnt").0 == Some(true);
    let elsewhere = path.process().filter(is_elsewhere);
    let mounts: Cow<[Mount]> = match elsewhere {
        None => Cow::Borrowed(workers.mounts()),
        Some(process) => {
            let table = procfs::one_of(workers, process, procfs::file(process.pid, "mountinfo"));
            mounts::mounts(&table.unwrap_or_default()).collect()
        }
    };
    // The mount is found by the text of the path, so it is wrong where the path leads through a link.
    let of_mount = mounts::of_path(&mounts, path.bytes()).map(|mount| mount.device);
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

/// A database that is searched for among descriptors.
struct Database {
    index: usize,
    /// Device and inode number of each part.
    files: BTreeMap<SqlitePart, (u64, u64)>,
}

/// Descriptors of one process on one path of a wanted file.
struct Hit {
    pid: u32,
    text: Vec<u8>,
    /// Some of these descriptors; all of them are open on the same file.
    descriptors: Vec<u32>,
    count: u64,
}

/// Descriptors of one path that are read in detail.
const MAX_DESCRIPTORS: usize = 16;

/// The holders of these databases.
pub fn holders(
    host: &LinuxHost,
    seen_by: Option<&Process>,
    paths: &[ForeignPath],
    among: Option<&[u32]>,
) -> Collected<Vec<Vec<DatabaseHolder>>> {
    let workers = &host.workers;
    let wanted: HashMap<Vec<u8>, Database> = paths
        .iter()
        .enumerate()
        .map(|(index, path)| {
            let files = Files::of(path);
            let files = [SqlitePart::Database, SqlitePart::Wal, SqlitePart::Shm]
                .into_iter()
                .filter_map(|part| Some((part, workers.identity_of(files.part(part)).ok()?)))
                .collect();
            (path.bytes().to_vec(), Database { index, files })
        })
        .collect();
    let place = seen_by.filter(|process| process.foreign_mounts == Some(true));
    let place = place.map_or(std::process::id(), |process| process.identity.pid);
    let pids = match among.map_or_else(process::all_pids, |pids| Ok(pids.to_vec())) {
        Ok(pids) => pids,
        Err(gap) => {
            let gaps = vec![Gap { what: GapSubject::HoldersOfDatabases, blocks: Vec::new(), ..gap }];
            return Collected { value: vec![Vec::new(); paths.len()], gaps };
        }
    };
    let (hits, problems, unread) = hits_among(workers, &pids, &wanted);
    let found = holders_of(workers, paths.len(), &wanted, &hits, place);
    // A process with links that may not be read matters only where a database has no visible holder.
    let unread = if found.iter().any(Vec::is_empty) { unread } else { 0 };
    let mut gaps: Vec<Gap> =
        process::completeness(GapSubject::HoldersOfDatabases, &problems, unread).into_iter().collect();
    // A live connection has a lock on the index even if its locks on the database are lost. So if the whole host
    // has no lock, the table is hidden from this process.
    let uses = |holder: &DatabaseHolder| {
        holder.descriptors_db > 0 && holder.descriptors_wal > 0 && holder.descriptors_shm > 0 && holder.deleted == 0
    };
    if found.iter().flatten().any(uses) && lock_table(host).is_ok_and(|table| table.is_empty()) {
        let detail = GapDetail::LocksHidden;
        gaps.push(Gap::new("/proc/locks", GapReason::Unsupported, detail).blocking(LOCKS_DECIDE));
    }
    Collected { value: found, gaps }
}

/// Descriptors on wanted files, the processes that could not be read, and the number of processes with links that can
/// only be listed.
fn hits_among(
    workers: &Workers,
    pids: &[u32],
    wanted: &HashMap<Vec<u8>, Database>,
) -> (Vec<Hit>, Vec<(u32, Gap)>, usize) {
    let mut hits: Vec<Hit> = Vec::new();
    let mut places: HashMap<(u32, Vec<u8>), usize> = HashMap::new();
    let mut unread: HashSet<u32> = HashSet::new();
    let problems = procfs::each_link(workers, pids, b"/", |pid, link| {
        match link.target {
            Ok(text) if family_of(text, wanted).is_some() => {
                let text = text.to_vec();
                let place = *places.entry((pid, text.clone())).or_insert(hits.len());
                match hits.get_mut(place) {
                    Some(hit) => {
                        hit.count += 1;
                        if hit.descriptors.len() < MAX_DESCRIPTORS {
                            hit.descriptors.push(link.number);
                        }
                    }
                    None => hits.push(Hit { pid, text, descriptors: vec![link.number], count: 1 }),
                }
            }
            Err(error) if links::is_refused(error) => drop(unread.insert(pid)),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    // A process that was found with a database needs no further read.
    unread.retain(|pid| hits.iter().all(|hit| hit.pid != *pid));
    (hits, problems, unread.len())
}

/// The holders of the wanted files. `place` is a process in the mount namespace of the wanted paths.
fn holders_of(
    workers: &Workers,
    count: usize,
    wanted: &HashMap<Vec<u8>, Database>,
    hits: &[Hit],
    place: u32,
) -> Vec<Vec<DatabaseHolder>> {
    let mut pids: Vec<u32> = hits.iter().map(|hit| hit.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    let namespace = |pid| workers.bytes_of_process(procfs::link(pid, "ns/mnt")).ok();
    let own = namespace(place);
    let requests: Vec<Request> = hits
        .iter()
        .flat_map(|hit| hit.descriptors.iter().map(|number| procfs::file(hit.pid, &format!("fdinfo/{number}"))))
        .collect();
    let mut answers = workers.bytes_of_processes(&requests).into_iter();
    let information: Vec<Vec<Vec<u8>>> = hits
        .iter()
        .map(|hit| answers.by_ref().take(hit.descriptors.len()).map(Result::unwrap_or_default).collect())
        .collect();
    let mut found: Vec<Vec<DatabaseHolder>> = vec![Vec::new(); count];
    for pid in pids {
        let is_same_place = own.is_some() && namespace(pid) == own;
        let mounts: OnceCell<Vec<Mount>> = OnceCell::new();
        let status = workers.bytes_of_process(procfs::file(pid, "status")).ok();
        let status = status.and_then(|bytes| crate::parse::process::status(&bytes).ok());
        let same_pid_namespace = status.is_some_and(|status| status.namespace_pids.len() <= 1);
        let mut of_one: BTreeMap<usize, DatabaseHolder> = BTreeMap::new();
        for (hit, information) in hits.iter().zip(&information).filter(|(hit, _)| hit.pid == pid) {
            let Some((wanted, part, marked)) = family_of(&hit.text, wanted) else { continue };
            let lines = information.first().map(Vec::as_slice).unwrap_or_default();
            let (inode, now) = (descriptor_inode(lines), wanted.files.get(&part));
            let has_number = inode.is_some() && inode == now.map(|(_, inode)| *inode);
            // Inode numbers are unique only within a filesystem, and any user can mount one in a namespace of their
            // own.
            let is_current = has_number
                && (is_same_place || now.is_some_and(|file| is_on_device(workers, pid, &mounts, lines, file.0)));
            // The same path in another mount namespace is another file, unless its inode proves that it is this one.
            if !is_same_place && !is_current {
                continue;
            }
            let holder = of_one.entry(wanted.index).or_insert_with(|| DatabaseHolder {
                reads_only: true,
                ..DatabaseHolder::new(pid, same_pid_namespace)
            });
            let looked_at_all = hit.count == u64::try_from(information.len()).unwrap_or(0);
            holder.reads_only &= looked_at_all && information.iter().all(|lines| is_read_only(lines));
            databases::count(holder, part, hit.count);
            // A file can have a name that ends like the mark of an unlinked file; then it is the file at the path.
            if marked && !is_current {
                holder.deleted += hit.count;
            } else if inode.is_some() && now.is_some() && !is_current {
                holder.replaced += hit.count;
            }
        }
        let command = if of_one.is_empty() { String::new() } else { command_of(workers, pid) };
        for (index, holder) in of_one {
            if let Some(list) = found.get_mut(index) {
                list.push(DatabaseHolder { command: command.clone().into(), ..holder });
            }
        }
    }
    found
}

/// Whether a descriptor, by its `fdinfo` lines, is on the device of a file. `of_process` caches the mounts of its
/// process.
fn is_on_device(workers: &Workers, pid: u32, of_process: &OnceCell<Vec<Mount>>, lines: &[u8], device: u64) -> bool {
    let read = || workers.bytes_of_process(procfs::file(pid, "mountinfo")).unwrap_or_default();
    let mounts = of_process.get_or_init(|| mounts::mounts(&read()).collect());
    let Some(mount) = mount_id(lines).and_then(|id| mounts.iter().find(|mount| mount.id == id)) else {
        return false;
    };
    // On btrfs and overlayfs the device of a mount differs from that of its files.
    let is_mounted_here =
        || workers.mounts().iter().any(|own| own.device == mount.device && own.mounted_by().is_none());
    mount.device == (rustix::fs::major(device), rustix::fs::minor(device)) || is_mounted_here()
}

fn command_of(workers: &Workers, pid: u32) -> String {
    let answer = workers.bytes_of_process(Request::CommandLine(pid)).unwrap_or_default();
    let line = mask::command(&nul_separated(&answer));
    let name = || process::name_of(workers, pid).map_or_else(String::new, |name| format!("[{name}]"));
    if line.is_empty() { name() } else { line }
}

/// The wanted database that the target of a link belongs to, the part, and whether it is marked as unlinked.
fn family_of<'w>(text: &[u8], wanted: &'w HashMap<Vec<u8>, Database>) -> Option<(&'w Database, SqlitePart, bool)> {
    let part_of = |path: &[u8], marked| {
        let parts = [(&b"-wal"[..], SqlitePart::Wal), (b"-shm", SqlitePart::Shm), (b"", SqlitePart::Database)];
        parts.into_iter().find_map(|(suffix, part)| Some((wanted.get(path.strip_suffix(suffix)?)?, part, marked)))
    };
    // The name of a file can end like the mark of an unlinked file.
    part_of(text, false).or_else(|| match link::classify(text) {
        Link::Path { path, marked_deleted: true } => part_of(path, true),
        _ => None,
    })
}
