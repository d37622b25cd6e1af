//! The process table and single processes.

use super::links;
use super::proc_dir::{ProcDir, numbers_in, read_all, stat_below};
use crate::collect::worker::Request;
use crate::collect::workers::Workers;
use crate::collect::{Collected, Deadline, HIDDEN, PidProblem, ProcessEntry};
use crate::model::id;
use crate::model::{Gap, GapReason, Identity, Process, ProcessState};
use crate::parse::link::{Link, classify};
use crate::parse::process::StatLine;
use crate::parse::text::{nul_separated, printable};
use crate::parse::{cgroup, process as parse};
use crate::report::mask;
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::IpAddr;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

/// All processes. Command lines, environments and threads are left out: reading those can hang.
pub fn table() -> Result<Vec<ProcessEntry>, Gap> {
    let proc = proc_directory()?;
    let pids = numbers_in(&proc).map_err(|error| no_table(GapReason::Unsupported, &error.to_string()))?;
    // One that has ended since is left out.
    Ok(pids.into_iter().filter_map(|pid| entry_of(pid, stat_below(&proc, format!("{pid}/stat")).ok()?)).collect())
}

/// `/proc`, open.
pub fn proc_directory() -> Result<OwnedFd, Gap> {
    if !std::path::Path::new("/proc/self/stat").exists() {
        return Err(no_table(GapReason::NotFound, "/proc is not mounted here"));
    }
    rustix::fs::open("/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| no_table(GapReason::Unsupported, &std::io::Error::from(error).to_string()))
}

/// No process can be seen.
pub fn no_table(reason: GapReason, detail: &str) -> Gap {
    Gap::new("process table", reason, detail).blocking(&[id::SERVER_NOT_RUNNING])
}

/// Nobody can be asked for sockets, for the same reason.
pub fn no_holders(gap: Gap) -> Gap {
    Gap { what: "holders of sockets".to_owned(), blocks: Vec::new(), ..gap }
}

/// What is said of processes that are not shown: with `hidepid` (proc(5)) those of other users are not there or refuse even their
/// `stat`, as the first does wherever something else forbids it.
pub fn hidden() -> Option<Gap> {
    let gap = |detail: &str| Gap::new(HIDDEN, GapReason::Permission, detail);
    let is_root = rustix::process::geteuid().is_root();
    // Not read by root, who is told all, where the table of mounts can be long.
    if !is_root && std::fs::read("/proc/self/mountinfo").is_ok_and(|mounts| is_hidden_by(&mounts)) {
        let detail = "/proc is mounted with hidepid, which hides them; run as root, or as the user of the server";
        return Some(gap(detail));
    }
    let error = stat_below(CWD, "/proc/1/stat").err()?;
    let is_hidden = matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied);
    is_hidden.then(|| gap("/proc does not show them; run as root, or as the user of the server"))
}

fn is_hidden_by(mounts: &[u8]) -> bool {
    parse::hidepid(mounts).is_some_and(|exempt| {
        let groups = rustix::process::getgroups().unwrap_or_default();
        let own = rustix::process::getegid();
        !exempt.is_some_and(|group| own.as_raw() == group || groups.iter().any(|own| own.as_raw() == group))
    })
}

/// One row of the table; `None` for a kernel thread, and for what has ended.
pub fn entry(pid: u32) -> Option<ProcessEntry> {
    entry_of(pid, stat_below(CWD, format!("/proc/{pid}/stat")).ok()?)
}

fn entry_of(pid: u32, line: StatLine) -> Option<ProcessEntry> {
    (!line.is_kernel_thread()).then(|| ProcessEntry {
        pid,
        ppid: line.ppid,
        name: line.name,
        zombie: line.state == ProcessState::Zombie,
    })
}

/// Threads whose lists of children are read.
const MOST_LISTS: usize = 64;

/// Children of a process: each of its threads has a list of those that it has started (proc_tid_children(5)). `None` where the
/// kernel was built without those lists, and where reading them would be dearer than the table. A child may be missing whose
/// sibling ends at this very moment.
pub fn children(pid: u32) -> Option<Vec<u32>> {
    if !std::path::Path::new("/proc/thread-self/children").exists() {
        return None;
    }
    let mut found = Vec::new();
    let tasks = match ProcDir::open(pid).and_then(|directory| directory.directory(c"task")) {
        Ok(tasks) => tasks,
        Err(error) if error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH) => {
            return Some(found);
        }
        Err(_) => return None,
    };
    let threads = numbers_in(&tasks).unwrap_or_default();
    if threads.len() > MOST_LISTS {
        return None;
    }
    for tid in threads {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        // A thread that has ended has handed its children on.
        let Ok(list) = openat(&tasks, format!("{tid}/children"), flags, Mode::empty()) else { continue };
        let list = read_all(&list).unwrap_or_default();
        let words = list.split(u8::is_ascii_whitespace);
        found.extend(words.filter_map(|word| std::str::from_utf8(word).ok()?.parse::<u32>().ok()));
    }
    Some(found)
}

/// Time since boot, from `/proc/uptime` (proc_uptime(5)).
pub fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = text.split(' ').next()?.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Short name of a process.
pub fn name_of(pid: u32) -> Option<String> {
    Some(ProcDir::open(pid).ok()?.stat().ok()?.name)
}

/// The pid of a process in its own pid namespace, the innermost one.
pub fn pid_inside(pid: u32) -> Option<u32> {
    let status = ProcDir::open(pid).ok()?.read(c"status").ok()?;
    parse::status(&status).ok()?.namespace_pids.last().copied()
}

/// Tells what a pid is.
pub fn identify(pid: u32) -> Result<Identity, PidProblem> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => PidProblem::Absent(pid),
        _ if error.raw_os_error() == Some(libc::ESRCH) => PidProblem::Absent(pid),
        _ => PidProblem::Unreadable(pid, error.to_string()),
    };
    let directory = ProcDir::open(pid).map_err(unreadable)?;
    let line = directory.stat().map_err(unreadable)?;
    if line.is_kernel_thread() {
        return Err(PidProblem::Kernel(pid, line.name));
    }
    let status = directory.read(c"status").map_err(unreadable)?;
    let status = parse::status(&status).map_err(|error| PidProblem::Unreadable(pid, error.to_string()))?;
    // A main thread that has ended shows as Z for as long as other threads of the process run on.
    if line.state == ProcessState::Zombie && status.threads <= 1 {
        return Err(PidProblem::Zombie { pid, parent: line.ppid });
    }
    if status.tgid != pid {
        return Err(PidProblem::Thread { pid, process: status.tgid });
    }
    Ok(Identity { pid, start_ticks: line.start_ticks })
}

/// Reads everything that is said of one process. The workers make the reads that may hang.
pub fn read(identity: Identity, workers: &Workers) -> Result<Collected<Process>, Gap> {
    let pid = identity.pid;
    let mut gaps = Vec::new();
    let (directory, line) = ProcDir::anchor_with_stat(identity)?;
    let vanished =
        |error: std::io::Error| Gap::new(format!("process {pid}"), GapReason::Vanished, error.to_string());
    let status = directory.read(c"status").map_err(vanished)?;
    let status = parse::status(&status)
        .map_err(|error| Gap::new(format!("status of pid {pid}"), GapReason::Malformed, error.to_string()))?;
    let executable = match directory.link(c"exe") {
        Ok(path) => Some(printable(&path)),
        Err(error) => {
            gaps.push(Gap::from_io(format!("executable of pid {pid}"), &error));
            None
        }
    };
    let requests = [Request::CommandLine(pid), Request::Markers(pid)];
    let mut answers = workers.bytes_of_processes(&requests).into_iter();
    let command = match answers.next() {
        Some(Ok(block)) => Some(mask::command(&nul_separated(&block))),
        Some(Err(gap)) => {
            gaps.push(gap);
            None
        }
        None => None,
    };
    let environment = match answers.next() {
        Some(Ok(block)) => parse::environment(&block),
        Some(Err(gap)) => {
            gaps.push(gap);
            parse::Environment::default()
        }
        None => parse::Environment::default(),
    };
    let cgroup = match directory.read(c"cgroup") {
        Ok(bytes) => cgroup::path_of(&bytes),
        Err(error) => {
            gaps.push(Gap::from_io(format!("control group of pid {pid}"), &error));
            None
        }
    };
    let age = age(line.start_ticks);
    // The anchor proves that all of the above is of one process; the worker's answers went by pid, so look again.
    let again = ProcDir::anchor(identity)?;
    drop(again);
    let (foreign_network, network) = namespace(&directory, c"ns/net");
    let value = Process {
        identity,
        ppid: line.ppid,
        name: line.name,
        command: command.filter(|command| !command.is_empty()),
        executable,
        uid: status.uid,
        user: None,
        state: line.state,
        start_time: age.and_then(start_time),
        age_ms: age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        threads: Some(status.threads),
        resident_bytes: status.resident_bytes,
        session: line.session,
        process_group: line.process_group,
        tracer_pid: status.tracer_pid,
        namespace_pids: status.namespace_pids,
        foreign_network,
        network_namespace: network.and_then(|link| parse::namespace_inode(&link)),
        foreign_mounts: namespace(&directory, c"ns/mnt").0,
        cgroup,
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
    Some(uptime()?.saturating_sub(started))
}

fn start_time(age: Duration) -> Option<String> {
    // The clock can be before the start: at 1970 until the time is known, or set back.
    crate::model::time::rfc3339_seconds(SystemTime::now().checked_sub(age)?)
}

/// Whether a namespace is another one than the doctor's, and its link.
pub fn namespace(directory: &ProcDir, name: &'static std::ffi::CStr) -> (Option<bool>, Option<Vec<u8>>) {
    let link = directory.link(name).ok();
    let own = || {
        let path = [b"/proc/self/", name.to_bytes()].concat();
        Some(rustix::fs::readlink(path, Vec::new()).ok()?.into_bytes())
    };
    if link.is_some() {
        return (own().map(|own| Some(own) != link), link);
    }
    // The namespace link of another user's process is not for everybody, but its socket table is: each network
    // namespace has its own file of it, with an inode number of its own.
    if name != c"ns/net" {
        return (None, None);
    }
    let inode = |directory: &ProcDir| {
        rustix::fs::statat(directory, c"net/tcp", rustix::fs::AtFlags::empty()).ok().map(|stat| stat.st_ino)
    };
    let is_foreign = || Some(inode(directory)? != inode(&ProcDir::open(std::process::id()).ok()?)?);
    (is_foreign(), None)
}

/// Which of these processes hold these sockets. `beside` is given the open directory of each one's descriptors as well.
pub fn holders(
    inodes: &HashSet<u64>,
    pids: &[u32],
    deadline: Deadline,
    mut beside: impl FnMut(u32, &Result<OwnedFd, Errno>),
) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
    let mut found: HashMap<u64, Vec<u32>> = HashMap::new();
    let proc = match proc_directory() {
        Ok(proc) => proc,
        Err(gap) => return (found, Err(no_holders(gap))),
    };
    let (mut refused, mut unread, mut unasked) = (0_usize, 0_usize, 0_usize);
    for (index, pid) in pids.iter().enumerate() {
        if deadline.is_over() {
            unasked = pids.len() - index;
            break;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let held = openat(&proc, format!("{pid}/fd"), flags, Mode::empty());
        beside(*pid, &held);
        match held.map_err(std::io::Error::from).and_then(|held| sockets_among(&held, inodes)) {
            Ok((held, is_refused)) => {
                unread += usize::from(is_refused);
                held.into_iter().for_each(|inode| found.entry(inode).or_default().push(*pid));
            }
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => refused += 1,
            // It ended meanwhile, and holds nothing.
            Err(_) => {}
        }
    }
    // A process whose links may not be read matters where a socket has no holder that could be seen.
    if found.len() < inodes.len() {
        refused += unread;
    }
    let complete = if unasked > 0 {
        Err(Gap::new("holders of sockets", GapReason::Timeout, format!("{unasked} processes were not asked")))
    } else if refused > 0 {
        let detail = format!("{refused} processes of other users could not be read (run as root to see them)");
        Err(Gap::new("holders of sockets", GapReason::Permission, detail))
    } else {
        Ok(())
    };
    (found, complete)
}

/// Pids of all processes, kernel threads among them.
pub fn all_pids() -> Vec<u32> {
    proc_directory().ok().and_then(|proc| numbers_in(proc).ok()).unwrap_or_default()
}

/// Those of the sockets that are among the descriptors of an open directory, and whether some link may not be read.
fn sockets_among(held: &OwnedFd, inodes: &HashSet<u64>) -> std::io::Result<(HashSet<u64>, bool)> {
    let (mut found, mut is_refused) = (HashSet::new(), false);
    links::each(held, |_, link| {
        is_refused |= links::is_refused(link);
        if let Ok(Link::Socket(inode)) = link.map(classify)
            && inodes.contains(&inode)
        {
            found.insert(inode);
        }
        // A server's listener is among its first.
        if found.len() == inodes.len() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok((found, is_refused))
}

/// Addresses of this machine, from its interfaces; loopback always.
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
    fn tells_what_a_pid_is() {
        let me = std::process::id();
        assert_eq!(identify(me).unwrap().pid, me);
        assert_eq!(identify(4_000_000_000), Err(PidProblem::Absent(4_000_000_000)));
    }

    #[test]
    fn the_table_has_this_process_without_reading_command_lines() {
        let entries = table().unwrap();
        let own = entries.iter().find(|entry| entry.pid == std::process::id()).unwrap();
        assert!(own.ppid > 0 && !own.zombie && !own.name.is_empty());
    }
}
