//! SQLite databases: the files as on every system, the locks by fcntl(2), the holders by their descriptors.

use super::{MacHost, calls, process};
use crate::collect::databases::{self, Files, LOCKS_DECIDE};
use crate::collect::worker::Request;
use crate::collect::workers::Workers;
use crate::collect::{Collected, ForeignPath};
use crate::model::text::nul_separated;
use crate::model::{
    DatabaseFile, DatabaseHolder, DatabaseLock, Gap, GapDetail, GapReason, GapSubject, SecondSample,
};
use crate::parse::darwin::descriptor::{database_part, decode};
use crate::parse::link::SqlitePart;
use crate::parse::locks::{DATABASE_QUESTIONS, INDEX_QUESTIONS, roles_of_answers};
use crate::parse::mask;
use std::collections::BTreeMap;

/// Reads a database, with its locks.
pub fn read(host: &MacHost, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap> {
    let files = Files::of(path);
    let mut read = databases::read(&host.workers, &files)?;
    match locks(&host.workers, &files) {
        Ok(locks) => read.value.locks = locks,
        Err(gap) => read.gaps.push(gap.blocking(LOCKS_DECIDE)),
    }
    Ok(read)
}

/// The values that change, read a second time.
pub fn again(host: &MacHost, path: &ForeignPath) -> SecondSample {
    let files = Files::of(path);
    SecondSample { locks: locks(&host.workers, &files).ok(), ..databases::again(&host.workers, &files) }
}

/// Locks by role. The kernel returns only the first conflicting lock, so of several readers of one range one is
/// returned.
fn locks(workers: &Workers, files: &Files) -> Result<Vec<DatabaseLock>, Gap> {
    let mut found = Vec::new();
    for (part, questions) in [(SqlitePart::Database, DATABASE_QUESTIONS), (SqlitePart::Shm, INDEX_QUESTIONS)] {
        match workers.locks(files.part(part), questions) {
            Ok(answer) => found.extend(roles_of_answers(&answer, part)),
            Err(gap) if gap.reason == GapReason::NotFound && part == SqlitePart::Shm => {}
            Err(gap) => return Err(gap),
        }
    }
    Ok(found)
}

/// The holders of these databases.
pub fn holders(
    host: &MacHost,
    paths: &[ForeignPath],
    among: Option<&[u32]>,
) -> Collected<Vec<Vec<DatabaseHolder>>> {
    let mut found: Vec<Vec<DatabaseHolder>> = vec![Vec::new(); paths.len()];
    let names: Vec<Vec<u8>> = paths.iter().map(|path| path.bytes().to_vec()).collect();
    let of_path = |path: &ForeignPath| {
        let files = Files::of(path);
        let parts = [SqlitePart::Database, SqlitePart::Wal, SqlitePart::Shm].into_iter();
        parts.filter_map(|part| Some((part, host.workers.identity_of(files.part(part)).ok()?.1))).collect()
    };
    let now: Vec<BTreeMap<SqlitePart, u64>> = paths.iter().map(of_path).collect();
    let all = || process::table().map(|table| table.into_iter().map(|entry| entry.pid).collect());
    let pids: Vec<u32> = match among.map_or_else(all, |pids| Ok(pids.to_vec())) {
        Ok(pids) => pids,
        Err(gap) => {
            let gap = Gap { what: GapSubject::HoldersOfDatabases, blocks: Vec::new(), ..gap };
            return Collected { value: found, gaps: vec![gap] };
        }
    };
    let (mut refused, mut unasked) = (0_usize, 0_usize);
    for (index, pid) in pids.iter().enumerate() {
        if host.workers.deadline.is_over() {
            unasked = pids.len() - index;
            break;
        }
        // Listed by this process first, which cannot hang: most processes have ended, or this user may not read
        // them.
        match calls::descriptor_list(*pid) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
                refused += 1;
                continue;
            }
            Err(_) => continue,
        }
        let Ok(records) = host.descriptor_records(*pid) else {
            unasked += 1;
            continue;
        };
        let mut held: BTreeMap<usize, DatabaseHolder> = BTreeMap::new();
        for record in decode(&records).unwrap_or_default() {
            let Some((at, part, file)) = database_part(&record, &names) else { continue };
            let holder = held.entry(at).or_insert_with(|| DatabaseHolder::new(*pid, true));
            databases::count(holder, part, 1);
            let current = now.get(at).and_then(|parts| parts.get(&part));
            if file.links == 0 {
                holder.deleted += 1;
            } else if current.is_some_and(|inode| *inode != file.identity.1) {
                holder.replaced += 1;
            }
        }
        for (at, mut holder) in held {
            holder.command = command_of(host, *pid).into();
            if let Some(list) = found.get_mut(at) {
                list.push(holder);
            }
        }
    }
    let mut gaps = Vec::new();
    if unasked > 0 {
        let detail = GapDetail::ProcessesNotRead { count: unasked };
        gaps.push(Gap::new(GapSubject::HoldersOfDatabases, GapReason::Timeout, detail));
    } else if refused > 0 {
        let detail = GapDetail::ProcessesOfOthers { count: refused };
        gaps.push(Gap::new(GapSubject::HoldersOfDatabases, GapReason::Permission, detail));
    }
    Collected { value: found, gaps }
}

fn command_of(host: &MacHost, pid: u32) -> String {
    let answer = host.workers.bytes_of_process(Request::CommandLine(pid)).unwrap_or_default();
    let line = mask::command(&nul_separated(&answer));
    let name = || process::kernel_process(pid).ok().flatten().map(|found| format!("[{}]", found.name));
    if line.is_empty() { name().unwrap_or_default() } else { line }
}
