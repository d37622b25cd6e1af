//! Open descriptors, counted during the scan: memory grows with the number of distinct targets, not of descriptors.

use super::procfs;
use super::sockets::other_sockets;
use crate::collect::worker::wire::DescriptorStat;
use crate::collect::worker::{Answer, Request};
use crate::collect::workers::Workers;
use crate::collect::{Collected, DescriptorRead, SocketTable};
use crate::model::id;
use crate::model::text::printable;
use crate::model::{Descriptors, Gap, GapDetail, GapReason, GapSubject, Identity, Process};
use crate::parse::descriptors::{MAX_TARGETS, OpenFile, Rows, other_row, tcp_row};
use crate::parse::limits;
use crate::parse::link::{self, Link};
use crate::parse::mounts::{Mount, local_mounts};
use crate::parse::sockets::{OtherSocket, TcpSocket};
use foldhash::HashMap;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;

/// Distinct paths that are checked for being unlinked, those with the most descriptors first.
const MAX_STATED: usize = MAX_TARGETS;
/// Paths that are checked for their type (file, directory, device): no more than a table shows.
const MAX_SHOWN: usize = 16;

/// The result of the scan, before names and sockets are resolved.
#[derive(Default)]
struct DescriptorScan {
    paths: HashMap<Box<[u8]>, PathDescriptors>,
    sockets: HashMap<u64, u64>,
    pipes: HashMap<u64, u64>,
    anonymous: BTreeMap<&'static str, u64>,
    other: HashMap<Vec<u8>, u64>,
    unreadable: BTreeMap<String, u64>,
    open: u64,
}

/// One distinct path.
struct PathDescriptors {
    count: u32,
    /// One of the descriptors on it.
    descriptor: u32,
}

/// Reads the descriptors of a process.
///
/// # Errors
/// A gap when the process has ended.
pub fn read(process: &Process, table: &SocketTable, workers: &Workers) -> Result<Collected<DescriptorRead>, Gap> {
    let (mut read, scanned) = scanned(process.identity, workers)?;
    if let Some(scan) = scanned {
        let (facts, gaps) = (&mut read.value.facts, &mut read.gaps);
        let mut rows = Rows::with_capacity(scan.paths.len() + scan.pipes.len());
        rows.resolve_paths(process, workers, &scan.paths, gaps);
        // The paths take most of the memory and are rows now.
        drop(scan.paths);
        rows.resolve_sockets(&scan.sockets, process, workers, table, facts);
        let mut pipes: Vec<(&u64, &u64)> = scan.pipes.iter().collect();
        pipes.sort_unstable_by_key(|(inode, count)| (std::cmp::Reverse(**count), **inode));
        for (index, (inode, count)) in pipes.into_iter().enumerate() {
            if index < MAX_TARGETS {
                rows.add("pipe", format!("pipe:[{inode}]"), *count, false, None);
            } else {
                rows.omit("pipe", *count);
            }
        }
        for (kind, count) in &scan.anonymous {
            rows.add(*kind, (*kind).to_owned(), *count, false, None);
        }
        for (target, count) in &scan.other {
            rows.add("other", printable(target), *count, false, None);
        }
        for (reason, count) in &scan.unreadable {
            rows.add("unreadable", format!("unreadable: {reason}"), *count, false, None);
        }
        rows.finish(facts);
        read.value.sockets = scan.sockets.into_keys().collect();
    }
    Ok(read)
}

/// Number of descriptors, their limit, and the sockets among them.
///
/// # Errors
/// As [`read`].
pub fn in_brief(process: &Process, workers: &Workers) -> Result<Collected<DescriptorRead>, Gap> {
    let (mut read, scanned) = scanned(process.identity, workers)?;
    if let Some(scan) = scanned {
        read.value.sockets = scan.sockets.into_keys().collect();
    }
    Ok(read)
}

/// Limits and number, and the scan where one was possible.
fn scanned(
    process: Identity,
    workers: &Workers,
) -> Result<(Collected<DescriptorRead>, Option<DescriptorScan>), Gap> {
    let pid = process.pid;
    let mut gaps = Vec::new();
    let mut facts = Descriptors::default();
    let limit = procfs::one_of(workers, process, procfs::file(pid, "limits")).and_then(|bytes| {
        limits::limits(&bytes).map_err(|error| Gap::new("limits", GapReason::Malformed, error.to_string()))
    });
    match limit {
        Ok(limits) => {
            let open = limits.max_open_files;
            (facts.soft_limit, facts.hard_limit) =
                (limits::number(open.soft_limit), limits::number(open.hard_limit));
        }
        Err(gap) => {
            let gap = Gap { what: GapSubject::LimitsOf { pid }, ..gap };
            gaps.push(gap.blocking(&[id::DESCRIPTOR_CEILING, id::DESCRIPTOR_LIMIT_LOW]));
        }
    }
    let mut scan = DescriptorScan::default();
    let mut problems = procfs::each_link(workers, &[pid], b"", |_, link| {
        match link.target {
            Ok(target) => scan.count(target, link.number),
            Err(error) => scan.count_unreadable(error),
        }
        ControlFlow::Continue(())
    });
    procfs::prove(workers, process)?;
    let Some((_, gap)) = problems.pop() else {
        facts.open = Some(scan.open);
        return Ok((Collected { value: DescriptorRead { facts, sockets: HashSet::new() }, gaps }, Some(scan)));
    };
    // Without permission to list them, only their number can be read: since Linux 6.2 it is the size of the directory.
    facts.open = counted(workers, pid);
    let mut gap = Gap { what: GapSubject::DescriptorsOf { pid }, ..gap }.blocking(&[
        id::STATE_DB_HANDLE_LEAK,
        id::CLOSE_WAIT_LEAK,
        id::DELETED_FILES_HELD,
    ]);
    if facts.open.is_none() {
        gap = gap.blocking(&[id::DESCRIPTOR_CEILING]);
    }
    if gap.reason == GapReason::Permission {
        gap.detail = GapDetail::RunAsOwner;
    }
    gaps.push(gap);
    Ok((Collected { value: DescriptorRead { facts, sockets: HashSet::new() }, gaps }, None))
}

/// `st_size` of `/proc/PID/fd` is the number of open descriptors since Linux 6.2, and 0 before.
pub fn counted(workers: &Workers, pid: u32) -> Option<u64> {
    procfs::attributes(workers, pid, "fd").ok().map(|found| found.size).filter(|count| *count > 0)
}

impl DescriptorScan {
    fn count_unreadable(&mut self, error: i32) {
        self.open += 1;
        let reason = std::io::Error::from_raw_os_error(error).to_string();
        *self.unreadable.entry(reason).or_default() += 1;
    }

    fn count(&mut self, text: &[u8], descriptor: u32) {
        self.open += 1;
        match link::classify(text) {
            Link::Socket(inode) => *self.sockets.entry(inode).or_default() += 1,
            Link::Pipe(inode) => *self.pipes.entry(inode).or_default() += 1,
            Link::Anonymous(kind) => *self.anonymous.entry(kind).or_default() += 1,
            Link::Memory => *self.anonymous.entry("memfd").or_default() += 1,
            Link::Path { .. } => match self.paths.get_mut(text) {
                Some(held) => held.count += 1,
                None => drop(self.paths.insert(text.into(), PathDescriptors { count: 1, descriptor })),
            },
            Link::Other => match self.other.get_mut(text) {
                Some(count) => *count += 1,
                None => {
                    self.other.insert(text.to_vec(), 1);
                }
            },
        }
    }
}

/// What one distinct path is; only a local filesystem is queried, and only once.
struct TargetStat {
    kind: &'static str,
    links: u32,
    size_bytes: u64,
}

/// Resolves the targets of a scan to rows, from the kernel's tables and the filesystems.
trait Resolve {
    fn resolve_paths(
        &mut self,
        process: &Process,
        workers: &Workers,
        paths: &HashMap<Box<[u8]>, PathDescriptors>,
        gaps: &mut Vec<Gap>,
    );

    fn resolve_sockets(
        &mut self,
        held: &HashMap<u64, u64>,
        process: &Process,
        workers: &Workers,
        table: &SocketTable,
        facts: &mut Descriptors,
    );
}

impl Resolve for Rows {
    fn resolve_paths(
        &mut self,
        process: &Process,
        workers: &Workers,
        paths: &HashMap<Box<[u8]>, PathDescriptors>,
        gaps: &mut Vec<Gap>,
    ) {
        let mounts = Mounts::of(process.identity, workers);
        let mut ordered: Vec<(&[u8], &PathDescriptors)> =
            paths.iter().map(|(path, held)| (&**path, held)).collect();
        let order = |a: &(&[u8], &PathDescriptors), b: &(&[u8], &PathDescriptors)| {
            b.1.count.cmp(&a.1.count).then_with(|| a.0.cmp(b.0))
        };
        // Only the rows that are kept need to be sorted.
        if ordered.len() > MAX_TARGETS {
            ordered.select_nth_unstable_by(MAX_TARGETS, order);
        }
        let kept = ordered.len().min(MAX_TARGETS);
        ordered[..kept].sort_unstable_by(order);
        let (mut not_stated, mut foreign, mut unplaced) = (0_u64, 0_u64, 0_u64);
        let is_asked = |index: usize, marked: bool| index < if marked { MAX_STATED } else { MAX_SHOWN };
        let mut candidates: Vec<u32> = Vec::new();
        for (index, (text, row)) in ordered.iter().enumerate() {
            let is_marked = matches!(link::classify(text), Link::Path { marked_deleted: true, .. });
            if is_asked(index, is_marked) {
                candidates.push(row.descriptor);
            } else {
                not_stated += 1;
            }
        }
        // All in one request, so that there is one wait for the worker.
        let mut asked: Vec<u32> = Vec::new();
        for (descriptor, is_local) in mounts.are_local(candidates, process.identity, workers) {
            match is_local {
                Some(true) => asked.push(descriptor),
                Some(false) => foreign += 1,
                None => unplaced += 1,
            }
        }
        let all_stated = stated(process.identity, asked, workers).unwrap_or_else(|gap| {
            gaps.push(gap);
            HashMap::default()
        });
        for (index, (text, row)) in ordered.into_iter().enumerate() {
            let (path, marked) = match link::classify(text) {
                Link::Path { path, marked_deleted } => (path, marked_deleted),
                _ => (text, false),
            };
            let stated = all_stated.get(&row.descriptor);
            // The mark is only text, and the name of a file can contain it. A link count above 0 proves that the file
            // is not unlinked.
            let deleted = marked && stated.is_none_or(|stated| stated.links == 0);
            let path = if deleted { path } else { text };
            let kind = match &stated {
                Some(stated) => stated.kind,
                None if link::is_device_path(path) => "device",
                None => "regular",
            };
            let size = stated.filter(|_| deleted).map(|stated| stated.size_bytes);
            let file = OpenFile { kind, path, count: row.count.into(), deleted, size_bytes: size };
            self.add_file(&file, index < MAX_TARGETS);
        }
        if foreign > 0 {
            let detail = GapDetail::ForeignMounts { count: foreign };
            gaps.push(Gap::new(GapSubject::DescriptorKinds, GapReason::NotAsked, detail));
        }
        if unplaced > 0 {
            let detail = GapDetail::UnknownMounts { count: unplaced };
            gaps.push(Gap::new(GapSubject::DescriptorKinds, GapReason::Unsupported, detail));
        }
        if not_stated > 0 {
            let detail = GapDetail::NotAllStated { shown: MAX_SHOWN, others: not_stated };
            gaps.push(Gap::new(GapSubject::DescriptorKinds, GapReason::NotAsked, detail));
        }
    }

    fn resolve_sockets(
        &mut self,
        held: &HashMap<u64, u64>,
        process: &Process,
        workers: &Workers,
        table: &SocketTable,
        facts: &mut Descriptors,
    ) {
        let tcp: HashMap<u64, &TcpSocket> = table
            .tcp
            .iter()
            .filter(|socket| held.contains_key(&socket.inode))
            .map(|socket| (socket.inode, socket))
            .collect();
        // The other tables are read only if a socket is still unresolved.
        let others: HashMap<u64, OtherSocket> =
            if tcp.len() < held.len() { other_sockets(workers, process, held) } else { HashMap::default() };
        let rows = held.iter().map(|(inode, count)| match (tcp.get(inode), others.get(inode)) {
            (Some(socket), _) => tcp_row(socket, *count),
            (None, Some(socket)) => other_row(socket, *count),
            (None, None) => {
                let unknown = OtherSocket { protocol: "socket", inode: *inode, local: None, remote: None };
                other_row(&unknown, *count)
            }
        });
        let rows = rows.collect();
        drop(others);
        self.add_sockets(rows, !table.source.is_empty(), facts);
    }
}

/// Mounts by their ids, each with whether its filesystem is local. They are those of the process and those of this
/// process: a descriptor can come from outside its mount namespace, as the log of a container does. A mount id is
/// unique on the host.
struct Mounts {
    of_process: std::collections::HashMap<u64, bool>,
}

impl Mounts {
    fn of(process: Identity, workers: &Workers) -> Self {
        let table = procfs::one_of(workers, process, procfs::file(process.pid, "mountinfo"));
        let of_process = table.map(|table| local_mounts(&table)).unwrap_or_default();
        Self { of_process }
    }

    /// For each descriptor, whether it is on a local mount; `None` where its mount is unknown.
    fn are_local(&self, numbers: Vec<u32>, process: Identity, workers: &Workers) -> Vec<(u32, Option<bool>)> {
        if numbers.is_empty() {
            return Vec::new();
        }
        let found = match procfs::one(workers, Request::DescriptorMounts(process, numbers.clone())) {
            Ok(Answer::Mounts(found)) => found,
            _ => vec![None; numbers.len()],
        };
        let of_own = |id: u64| workers.mounts().iter().find(|mount| mount.id == id).map(Mount::is_local);
        let is_local = |id: u64| self.of_process.get(&id).copied().or_else(|| of_own(id));
        numbers.into_iter().zip(found).map(|(number, id)| (number, id.and_then(is_local))).collect()
    }
}

/// What descriptors are open on, by their numbers. The worker uses their own links, so no path is resolved.
fn stated(process: Identity, numbers: Vec<u32>, workers: &Workers) -> Result<HashMap<u32, TargetStat>, Gap> {
    if numbers.is_empty() {
        return Ok(HashMap::default());
    }
    let request = Request::DescriptorStats(process, numbers.clone());
    let Answer::Descriptors(found) = procfs::one(workers, request.clone())? else {
        return Err(Gap::new(request.what(), GapReason::Malformed, ""));
    };
    Ok(numbers.into_iter().zip(found).filter_map(|(number, stat)| Some((number, kind_of(stat?)))).collect())
}

fn kind_of(found: DescriptorStat) -> TargetStat {
    let kind = match rustix::fs::FileType::from_raw_mode(u32::from(found.mode)) {
        rustix::fs::FileType::RegularFile => "regular",
        rustix::fs::FileType::Directory => "directory",
        rustix::fs::FileType::CharacterDevice | rustix::fs::FileType::BlockDevice => "device",
        rustix::fs::FileType::Fifo => "pipe",
        rustix::fs::FileType::Socket => "unix",
        _ => "other",
    };
    TargetStat { kind, links: found.links, size_bytes: found.size }
}
