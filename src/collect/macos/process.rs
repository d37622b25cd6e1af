//! The process table, single processes and their threads.

use super::{MacHost, calls};
use crate::collect::worker::Request;
use crate::collect::{Collected, PidProblem, ProcessEntry, ThreadEntry, Usage};
use crate::model::text::nul_separated;
use crate::model::{
    Gap, GapDetail, GapReason, GapSubject, Identity, Process, ProcessState, ThreadSample, id, whole_milliseconds,
};
use crate::parse::darwin::procargs;
use crate::parse::darwin::process::{self as parse, KernelProcess};
use crate::parse::mask;
use crate::parse::process::environment;
use std::io;
use std::time::{Duration, SystemTime};

/// Threads that are read.
const MAX_THREADS: usize = 512;

/// All processes, without the kernel (pid 0).
pub fn table() -> Result<Vec<ProcessEntry>, Gap> {
    let gap = |gap: Gap| gap.blocking(&[id::SERVER_NOT_RUNNING]);
    let bytes = calls::process_table().map_err(|error| gap(Gap::from_io(GapSubject::ProcessTable, &error)))?;
    let found = parse::table(&bytes)
        .map_err(|error| gap(Gap::new(GapSubject::ProcessTable, GapReason::Malformed, error.to_string())))?;
    let entries: Vec<ProcessEntry> = found
        .into_iter()
        .filter(|process| process.pid != 0)
        .map(|process| ProcessEntry {
            pid: process.pid,
            ppid: process.ppid,
            zombie: process.state == Some(ProcessState::Zombie),
            name: process.name,
        })
        .collect();
    Ok(entries)
}

/// One row of the kernel's table; `None` when there is no such process.
pub fn kernel_process(pid: u32) -> io::Result<Option<KernelProcess>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    Ok(parse::table(&calls::process(pid)?).map_err(invalid)?.pop())
}

/// Identifies the process of a pid.
pub fn identify(pid: u32) -> Result<Identity, PidProblem> {
    if pid == 0 {
        return Err(PidProblem::Kernel(0, "kernel_task".to_owned()));
    }
    match kernel_process(pid) {
        Ok(None) => Err(PidProblem::Absent(pid)),
        Ok(Some(found)) if found.state == Some(ProcessState::Zombie) => {
            Err(PidProblem::Zombie { pid, parent: found.ppid })
        }
        Ok(Some(found)) => Ok(Identity { pid, start_ticks: found.start_ticks() }),
        Err(error) => Err(PidProblem::Unreadable(pid, error.to_string())),
    }
}

/// The process of an identity, where the pid still belongs to it.
fn anchor(identity: Identity) -> Result<KernelProcess, Gap> {
    let what = format!("process {}", identity.pid);
    let found = kernel_process(identity.pid).map_err(|error| Gap::from_io(&what, &error))?;
    let is_same = |found: &KernelProcess| found.start_ticks() == identity.start_ticks;
    found.filter(is_same).ok_or_else(|| Gap::new(what, GapReason::Vanished, GapDetail::Ended))
}

/// Path of the program. Any user may read it.
pub fn executable(pid: u32) -> Result<String, String> {
    libproc::proc_pid::pidpath(i32::try_from(pid).map_err(|error| error.to_string())?)
}

/// Reads the facts of one process.
pub fn read(host: &MacHost, identity: Identity) -> Result<Collected<Process>, Gap> {
    let pid = identity.pid;
    let kernel = anchor(identity)?;
    let mut gaps = Vec::new();
    let mut answers =
        host.workers.bytes_of_processes(&[Request::CommandLine(pid), Request::Markers(pid)]).into_iter();
    let mut keep = |answer: Option<Result<Vec<u8>, Gap>>| match answer? {
        Ok(block) => Some(block),
        Err(gap) => {
            gaps.push(refused(&kernel, gap));
            None
        }
    };
    let command = keep(answers.next()).map(|block| mask::command(&nul_separated(&block)));
    let environment = keep(answers.next()).map(|block| environment(&block)).unwrap_or_default();
    let task = calls::task(pid).map(|bytes| parse::task(&bytes).ok());
    let task = task.unwrap_or_else(|error| {
        gaps.push(refused(&kernel, Gap::from_io(GapSubject::MemoryAndThreads { pid }, &error)));
        None
    });
    let age = age(pid);
    let value = Process {
        identity,
        ppid: kernel.ppid,
        command: command.filter(|command| !command.is_empty()).map(Into::into),
        executable: executable(pid).ok().map(Into::into),
        uid: kernel.uid,
        user: None,
        state: kernel.state.clone().unwrap_or_else(|| state_of_threads(pid)),
        start_time: crate::model::Timestamp::of_unix(Duration::from_micros(kernel.started_us)),
        age_ms: age.map(whole_milliseconds),
        threads: task.map(|task| task.threads),
        resident_bytes: task.map(|task| task.resident_bytes),
        session: session(pid).unwrap_or(0),
        process_group: kernel.process_group,
        // A debugger becomes the parent for as long as it is attached (XNU's bsd/kern/mach_process.c).
        tracer_pid: kernel.is_traced.then_some(kernel.ppid),
        namespace_pids: Vec::new(),
        foreign_network: Some(false),
        network_namespace: None,
        foreign_mounts: Some(false),
        cgroup: None,
        zombie_children: Vec::new(),
        home: environment.hermes_home,
        user_home: environment.home,
        markers: environment.markers,
        name: kernel.name.into(),
    };
    // The reads above went by pid, so the identity is checked again.
    anchor(identity)?;
    Ok(Collected { value, gaps })
}

/// The gap of a refused read. The kernel refuses reads of another user's process with several errors (`EINVAL` of
/// sysctl among them).
pub fn refused(kernel: &KernelProcess, gap: Gap) -> Gap {
    let me = rustix::process::geteuid();
    if me.is_root() || me.as_raw() == kernel.uid {
        return gap;
    }
    Gap { reason: GapReason::Permission, detail: GapDetail::RunAsOwner, ..gap }
}

fn session(pid: u32) -> Option<i32> {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    rustix::process::getsid(Some(pid)).ok().map(|session| session.as_raw_nonzero().get())
}

/// State of the main thread, the first one: the process table reports every live process as runnable.
fn state_of_threads(pid: u32) -> ProcessState {
    let first = calls::thread_list(pid).ok().and_then(|bytes| parse::thread_handles(&bytes).first().copied());
    let thread = first.and_then(|handle| calls::thread(pid, handle).ok());
    let thread = thread.and_then(|bytes| parse::thread(&bytes).ok());
    thread.map_or_else(|| ProcessState::Other("not readable".into()), |thread| thread.state)
}

/// Command lines. The kernel refuses those of another user's process. Then the path of its program shows whether it can
/// be a Hermes server, and only then the missing command line is a gap.
pub fn commands(host: &MacHost, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
    let answers = host.workers.commands(pids);
    pids.iter().zip(answers).map(|(pid, answer)| answer.or_else(|gap| unread_command(*pid, gap))).collect()
}

fn unread_command(pid: u32, gap: Gap) -> Result<Vec<String>, Gap> {
    match kernel_process(pid) {
        Ok(Some(kernel)) if kernel.state == Some(ProcessState::Zombie) => Ok(Vec::new()),
        Ok(Some(kernel)) => match executable(pid) {
            Ok(path) if !procargs::could_be_hermes(&path) => Ok(vec![path]),
            _ => Err(refused(&kernel, gap)),
        },
        Ok(None) => Err(Gap { reason: GapReason::Vanished, ..gap }),
        Err(_) => Err(gap),
    }
}

/// What a process uses.
pub fn usage(host: &MacHost, identity: Identity) -> Result<Usage, Gap> {
    let pid = identity.pid;
    let kernel = anchor(identity)?;
    let what = GapSubject::Usage { pid };
    let bytes = calls::task(pid).map_err(|error| refused(&kernel, Gap::from_io(&what, &error)))?;
    let task = parse::task(&bytes).map_err(|error| Gap::new(what, GapReason::Malformed, error.to_string()))?;
    let open = calls::descriptor_list(pid).ok();
    let open = open.map(|bytes| crate::parse::darwin::descriptor::list(&bytes).len());
    Ok(Usage {
        open: open.and_then(|open| u64::try_from(open).ok()),
        cpu_ms: parse::milliseconds(task.cpu_units, host.timebase),
    })
}

/// The threads of a process. Their ids are derived from their handles, because no public call returns the kernel's ids.
/// Start time, wait channel, system call and number of context switches are not available either.
pub fn threads(host: &MacHost, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap> {
    let pid = identity.pid;
    let kernel = anchor(identity)?;
    let what = GapSubject::Threads { pid };
    let bytes = calls::thread_list(pid).map_err(|error| refused(&kernel, Gap::from_io(&what, &error)))?;
    let handles = parse::thread_handles(&bytes);
    let mut found = Vec::new();
    for (index, handle) in handles.iter().take(MAX_THREADS).enumerate() {
        // A thread that has ended is left out.
        let Some(thread) = calls::thread(pid, *handle).ok().and_then(|bytes| parse::thread(&bytes).ok()) else {
            continue;
        };
        let cpu_ns = host.thread_time(identity, *handle, &thread);
        found.push(ThreadEntry {
            // Handles are addresses of pages in user space, with 47 bits.
            tid: u32::try_from((*handle >> 12) & u64::from(u32::MAX)).unwrap_or(0),
            name: thread.name,
            is_main: index == 0,
            age_ms: u64::MAX,
            cpu_ms: cpu_ns / 1_000_000,
            sleeps: None,
            look: ThreadSample { state: thread.state, wait_channel: None, system_call: None },
        });
    }
    let gap = Gap::new(GapSubject::ThreadWaits { pid }, GapReason::Unsupported, GapDetail::MacThreads { pid });
    let gap = gap.blocking(&[id::OUTPUT_PIPE_FULL]);
    let omitted = u64::try_from(handles.len().saturating_sub(MAX_THREADS)).unwrap_or(u64::MAX);
    Ok(Collected { value: (found, omitted), gaps: vec![gap] })
}

/// Time since a process started.
pub fn age(pid: u32) -> Option<Duration> {
    let kernel = kernel_process(pid).ok()??;
    let started = SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(kernel.started_us))?;
    SystemTime::now().duration_since(started).ok()
}
