//! The process table and single processes.

use super::proc_dir::{numbers_in, own_mounts};
use super::{links, procfs};
use crate::collect::host_facts::since_boot;
use crate::collect::worker::Request;
use crate::collect::workers::Workers;
use crate::collect::{Collected, PidProblem, ProcessEntry};
use crate::model::id;
use crate::model::text::nul_separated;
use crate::model::{
    Gap, GapDetail, GapReason, GapSubject, HostPath, Identity, Process, ProcessState, Timestamp, whole_milliseconds,
};
use crate::parse::link::{Link, classify};
use crate::parse::mask;
use crate::parse::mounts::hidepid;
use crate::parse::{cgroup, process as parse};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

/// All processes. Command lines, environments and threads are left out, because reading them takes longer.
///
/// # Errors
/// A gap where no process can be read.
pub fn table(workers: &Workers) -> Result<Vec<ProcessEntry>, Gap> {
    let pids = all_pids()?;
    let requests: Vec<Request> = pids.iter().map(|pid| procfs::file(*pid, "stat")).collect();
    let answers = workers.bytes_of_processes(&requests);
    let entries = pids.into_iter().zip(answers).map(|(pid, answer)| entry_of(workers, pid, answer));
    entries.filter_map(Result::transpose).collect()
}

/// Opens `/proc`.
fn proc_directory() -> Result<OwnedFd, Gap> {
    if !std::path::Path::new("/proc/self/stat").exists() {
        return Err(no_table(GapReason::NotFound, "/proc is not mounted here"));
    }
    rustix::fs::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| no_table(GapReason::Unsupported, &std::io::Error::from(error).to_string()))
}

/// A gap for the case that no process can be read.
pub fn no_table(reason: GapReason, detail: &str) -> Gap {
    Gap::new(GapSubject::ProcessTable, reason, detail).blocking(&[id::SERVER_NOT_RUNNING])
}

/// The gap for the holders of sockets, for the same reason.
pub fn no_holders(gap: Gap) -> Gap {
    Gap { what: GapSubject::HoldersOfSockets, blocks: Vec::new(), ..gap }
}

/// A gap where processes of other users are hidden. With `hidepid` (proc(5)) they are missing from `/proc`, or their
/// `stat` cannot be read. Where something else hides them, the `stat` of pid 1 cannot be read either.
pub fn hidden(workers: &Workers) -> Option<Gap> {
    let gap = |detail| Gap::new(GapSubject::HiddenProcesses, GapReason::Permission, detail);
    let is_root = rustix::process::geteuid().is_root();
    // Not read as root: root can read all processes, and the mount table can be long.
    if !is_root && is_hidden_by(&own_mounts()) {
        let detail = GapDetail::Hidepid;
        return Some(gap(detail));
    }
    let gap_of_first = workers.bytes_of_process(procfs::file(1, "stat")).err()?;
    let is_hidden = matches!(gap_of_first.reason, GapReason::NotFound | GapReason::Permission);
    is_hidden.then(|| gap(GapDetail::NotShown))
}

fn is_hidden_by(mounts: &[u8]) -> bool {
    hidepid(mounts).is_some_and(|exempt| {
        let groups = rustix::process::getgroups().unwrap_or_default();
        let own = rustix::process::getegid();
        !exempt.is_some_and(|group| own.as_raw() == group || groups.iter().any(|own| own.as_raw() == group))
    })
}

/// One row of the table; `None` for a kernel thread, and for a process that has ended.
pub fn entry(workers: &Workers, pid: u32) -> Option<ProcessEntry> {
    entry_of(workers, pid, workers.bytes_of_process(procfs::file(pid, "stat"))).ok().flatten()
}

fn entry_of(workers: &Workers, pid: u32, stat: Result<Vec<u8>, Gap>) -> Result<Option<ProcessEntry>, Gap> {
    let is_late = |gap: &Gap| matches!(gap.reason, GapReason::Timeout | GapReason::Unsupported);
    match stat {
        Ok(bytes) => {
            let Ok(line) = procfs::parsed_stat(pid, &bytes) else { return Ok(None) };
            Ok((!line.is_kernel_thread()).then(|| ProcessEntry {
                pid,
                ppid: line.ppid,
                name: line.name,
                zombie: line.state == ProcessState::Zombie,
            }))
        }
        // The `stat` of a process that is held up in execve(2) blocks; its `status` takes no lock.
        Err(gap) if is_late(&gap) => match workers.bytes_of_process(procfs::file(pid, "status")) {
            Ok(bytes) => Ok(parse::status(&bytes).ok().map(|status| ProcessEntry {
                pid,
                ppid: status.ppid.unwrap_or(0),
                name: status.name,
                zombie: false,
            })),
            Err(gap) if is_late(&gap) => Err(no_table(gap.reason, &gap.text())),
            Err(_) => Ok(None),
        },
        // It has ended, or may not be read.
        Err(_) => Ok(None),
    }
}

/// Threads of a process with lists of children that are read.
const MAX_LISTS: usize = 64;

/// Children of a process. Each of its threads has a list of the children that it started (proc_tid_children(5)). `None`
/// where the kernel was built without these lists, or where reading them takes longer than reading the table. A child
/// can be missing if its sibling ends during the read.
pub fn children(workers: &Workers, pid: u32) -> Option<Vec<u32>> {
    if !std::path::Path::new("/proc/thread-self/children").exists() {
        return None;
    }
    let threads = match procfs::numbers(workers, pid, "task") {
        Ok(threads) => threads,
        Err(gap) if matches!(gap.reason, GapReason::NotFound | GapReason::Vanished) => return Some(Vec::new()),
        Err(_) => return None,
    };
    if threads.len() > MAX_LISTS {
        return None;
    }
    let requests: Vec<Request> =
        threads.iter().map(|tid| procfs::file(pid, &format!("task/{tid}/children"))).collect();
    let mut found = Vec::new();
    for list in workers.bytes_of_processes(&requests) {
        match list {
            Ok(list) => {
                let words = list.split(u8::is_ascii_whitespace);
                found.extend(words.filter_map(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok()));
            }
            // The children of a thread that has ended are in the list of another thread.
            Err(gap) if matches!(gap.reason, GapReason::NotFound | GapReason::Vanished) => {}
            Err(_) => return None,
        }
    }
    Some(found)
}

/// Short name of a process.
pub fn name_of(workers: &Workers, pid: u32) -> Option<String> {
    procfs::stat_line(workers, pid).ok().map(|line| line.name)
}

/// The pid of a process in its innermost pid namespace.
pub fn pid_inside(workers: &Workers, pid: u32) -> Option<u32> {
    let status = workers.bytes_of_process(procfs::file(pid, "status")).ok()?;
    parse::status(&status).ok()?.namespace_pids.last().copied()
}

/// Identifies the process of a pid.
///
/// # Errors
/// The reason why the pid cannot be examined.
pub fn identify(workers: &Workers, pid: u32) -> Result<Identity, PidProblem> {
    let unreadable = |gap: Gap| match gap.reason {
        GapReason::NotFound | GapReason::Vanished => PidProblem::Absent(pid),
        _ => PidProblem::Unreadable(pid, gap.text().to_owned()),
    };
    let line = procfs::stat_line(workers, pid).map_err(unreadable)?;
    if line.is_kernel_thread() {
        return Err(PidProblem::Kernel(pid, line.name));
    }
    let status = workers.bytes_of_process(procfs::file(pid, "status")).map_err(unreadable)?;
    let status = parse::status(&status).map_err(|error| PidProblem::Unreadable(pid, error.to_string()))?;
    // A main thread that has ended is in state Z while other threads of the process still run.
    if line.state == ProcessState::Zombie && status.threads <= 1 {
        return Err(PidProblem::Zombie { pid, parent: line.ppid });
    }
    if status.tgid != pid {
        return Err(PidProblem::Thread { pid, process: status.tgid });
    }
    Ok(Identity { pid, start_ticks: line.start_ticks })
}

/// Reads the facts of one process.
///
/// # Errors
/// A gap when the process has ended.
pub fn read(identity: Identity, workers: &Workers) -> Result<Collected<Process>, Gap> {
    let pid = identity.pid;
    let mut gaps = Vec::new();
    let line = procfs::prove(workers, identity)?;
    let requests = [
        procfs::file(pid, "status"),
        procfs::link(pid, "exe"),
        Request::CommandLine(pid),
        Request::Markers(pid),
        procfs::file(pid, "cgroup"),
    ];
    let mut answers = workers.bytes_of_processes(&requests).into_iter();
    let mut next = |what: GapSubject| match answers.next() {
        Some(answer) => answer.map_err(|gap| Gap { what, ..gap }),
        None => Err(Gap::new(what, GapReason::Unsupported, GapDetail::WorkerSilent)),
    };
    let mut or_gap = |answer: Result<Vec<u8>, Gap>| answer.map_err(|gap| gaps.push(gap)).ok();
    let status = next(GapSubject::Process { pid })?;
    let executable = or_gap(next(GapSubject::Executable { pid })).map(HostPath::new);
    let command = or_gap(next(GapSubject::CommandLine { pid })).map(|block| mask::command(&nul_separated(&block)));
    let environment = or_gap(next(GapSubject::SupervisorMarkers { pid }))
        .map(|block| parse::environment(&block))
        .unwrap_or_default();
    let cgroup = or_gap(next(GapSubject::ControlGroup { pid })).and_then(|bytes| cgroup::path_of(&bytes));
    let status = parse::status(&status)
        .map_err(|error| Gap::new(GapSubject::StatusOf { pid }, GapReason::Malformed, error.to_string()))?;
    let (foreign_network, network) = namespace(workers, pid, "ns/net");
    let foreign_mounts = namespace(workers, pid, "ns/mnt").0;
    procfs::prove(workers, identity)?;
    let age = age(line.start_ticks);
    let value = Process {
        identity,
        ppid: line.ppid,
        name: line.name.into(),
        command: command.filter(|command| !command.is_empty()).map(Into::into),
        executable,
        uid: status.uid,
        user: None,
        state: line.state,
        start_time: age.and_then(start_time),
        age_ms: age.map(whole_milliseconds),
        threads: Some(status.threads),
        resident_bytes: status.resident_bytes,
        session: line.session,
        process_group: line.process_group,
        tracer_pid: status.tracer_pid,
        namespace_pids: status.namespace_pids,
        foreign_network,
        network_namespace: network.and_then(|link| parse::namespace_inode(&link)),
        foreign_mounts,
        cgroup: cgroup.map(Into::into),
        zombie_children: Vec::new(),
        home: environment.hermes_home,
        user_home: environment.home,
        markers: environment.markers,
    };
    Ok(Collected { value, gaps })
}

fn age(start_ticks: u64) -> Option<Duration> {
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let started = Duration::from_millis(start_ticks.saturating_mul(1000) / per_second);
    Some(since_boot()?.saturating_sub(started))
}

fn start_time(age: Duration) -> Option<Timestamp> {
    // The clock can be earlier than the start: it is at 1970 until the time is synchronized, or it was set back.
    Timestamp::seconds(SystemTime::now().checked_sub(age)?)
}

/// Whether a namespace differs from the doctor's own, and its link.
pub fn namespace(workers: &Workers, pid: u32, name: &str) -> (Option<bool>, Option<Vec<u8>>) {
    if let Ok(link) = workers.bytes_of_process(procfs::link(pid, name)) {
        let own = rustix::fs::readlink(format!("/proc/self/{name}"), Vec::new()).ok();
        return (own.map(|own| own.into_bytes() != link), Some(link));
    }
    // The namespace link of another user's process may not be read, but its socket table may. Each network namespace
    // has its own file for the table, with its own inode number.
    if name != "ns/net" {
        return (None, None);
    }
    let inode = |pid| procfs::attributes(workers, pid, "net/tcp").ok().map(|found| found.inode);
    let is_foreign = || Some(inode(pid)? != inode(std::process::id())?);
    (is_foreign(), None)
}

/// The processes among `pids` that hold these sockets, and a gap where some of them could not be read.
pub fn holders(
    workers: &Workers,
    inodes: &HashSet<u64>,
    pids: &[u32],
) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
    let mut found: HashMap<u64, Vec<u32>> = HashMap::new();
    let mut of_one: HashMap<u32, usize> = HashMap::new();
    let mut unread: HashSet<u32> = HashSet::new();
    let problems = procfs::each_link(workers, pids, b"socket:", |pid, link| {
        match link.target.map(classify) {
            Ok(Link::Socket(inode)) if inodes.contains(&inode) => {
                let holders = found.entry(inode).or_default();
                if !holders.contains(&pid) {
                    holders.push(pid);
                    *of_one.entry(pid).or_default() += 1;
                }
            }
            Err(error) if links::is_refused(error) => drop(unread.insert(pid)),
            _ => {}
        }
        // A listener is usually among the first descriptors of a server.
        let is_all = of_one.get(&pid).is_some_and(|count| *count == inodes.len());
        if is_all { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // A process with links that may not be read matters only where a socket has no visible holder.
    let unread = if found.len() < inodes.len() { unread.len() } else { 0 };
    let complete = completeness(GapSubject::HoldersOfSockets, &problems, unread);
    (found, complete.map_or(Ok(()), Err))
}

/// The gap for processes with unreadable descriptors. `unread` is the number of processes with links that can only be
/// listed.
pub fn completeness(what: GapSubject, problems: &[(u32, Gap)], unread: usize) -> Option<Gap> {
    let count = |reason| problems.iter().filter(|(_, gap)| gap.reason == reason).count();
    // The other gaps are about processes that have ended, which hold nothing.
    let (unasked, refused) = (count(GapReason::Timeout), count(GapReason::Permission) + unread);
    if unasked > 0 {
        let why = problems.iter().find(|(_, gap)| gap.reason == GapReason::Timeout);
        let why = why.map_or_else(String::new, |(pid, gap)| format!(", pid {pid} since {}", gap.text()));
        let detail = format!("{unasked} processes were not read{why}");
        return Some(Gap::new(what, GapReason::Timeout, detail));
    }
    let detail = GapDetail::ProcessesOfOthers { count: refused };
    (refused > 0).then(|| Gap::new(what, GapReason::Permission, detail))
}

/// Pids of all processes, with kernel threads.
///
/// # Errors
/// A gap where `/proc` is not mounted.
pub fn all_pids() -> Result<Vec<u32>, Gap> {
    numbers_in(proc_directory()?).map_err(|error| no_table(GapReason::Unsupported, &error.to_string()))
}

/// Addresses of this machine, from its interfaces and loopback.
pub fn own_addresses() -> Vec<IpAddr> {
    let mut own = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
    // The kernel's routing trie lists each local IPv4 address before a line `/32 host LOCAL` (proc_pid_net(5)).
    if let Ok(text) = std::fs::read_to_string("/proc/self/net/fib_trie") {
        let mut last = None;
        for line in text.lines() {
            if let Some(address) = line.trim().strip_prefix("|-- ") {
                last = address.parse().ok();
            } else if line.contains("/32 host LOCAL")
                && let Some(address) = last.take()
            {
                own.push(IpAddr::V4(address));
            }
        }
    }
    if let Ok(text) = std::fs::read_to_string("/proc/self/net/if_inet6") {
        own.extend(text.lines().filter_map(|line| {
            let digits = line.split(' ').next()?;
            Some(IpAddr::from(u128::from_str_radix(digits, 16).ok()?.to_be_bytes()))
        }));
    }
    own.sort_unstable();
    own.dedup();
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_that_were_not_read_are_a_gap_and_those_that_ended_are_none() {
        let problem = |reason| (7, Gap::new("descriptors of pid 7", reason, "why"));
        let reason = |problems: &[(u32, Gap)], unread| {
            completeness("holders".into(), problems, unread).map(|gap| gap.reason)
        };
        assert_eq!(reason(&[problem(GapReason::Vanished), problem(GapReason::NotFound)], 0), None);
        assert_eq!(reason(&[problem(GapReason::Vanished)], 1), Some(GapReason::Permission));
        assert_eq!(reason(&[problem(GapReason::Permission)], 0), Some(GapReason::Permission));
        let both = [problem(GapReason::Permission), problem(GapReason::Timeout)];
        assert_eq!(reason(&both, 0), Some(GapReason::Timeout));
        assert!(completeness("holders".into(), &both, 0).unwrap().detail.to_string().contains("why"));
    }
}
