//! The threads of a process at one moment: states, wait channels, system calls and what they have used so far.

use super::LinuxHost;
use super::links;
use super::proc_dir::{ProcDir, numbers_in, read_all};
use crate::collect::worker::Request;
use crate::collect::{Collected, Deadline, ThreadEntry};
use crate::model::{Gap, GapReason, Identity, ThreadLook, id};
use crate::parse::link::{Link, classify};
use crate::parse::process::stat;
use crate::parse::thread;
use rustix::fs::{Mode, OFlags, openat};
use serde_bytes::ByteBuf;
use std::ffi::CStr;
use std::ops::ControlFlow;

/// Threads that are looked at; a server with more has its first and its newest ones looked at.
const MOST_THREADS: usize = 8192;

/// Threads whose system call is asked for: those that do anything else than the many that wait alike come first.
const MOST_CALLS: usize = 512;

/// Looks at every thread of a process.
///
/// # Errors
/// A gap when the process is gone.
pub fn read(host: &LinuxHost, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap> {
    let directory = ProcDir::anchor(identity)?;
    let what = || format!("threads of pid {}", identity.pid);
    let tasks = directory.directory(c"task").map_err(|error| Gap::from_io(what(), &error))?;
    let mut names = numbers_in(&tasks).map_err(|error| Gap::from_io(what(), &error))?;
    names.sort_unstable();
    let omitted = names.len().saturating_sub(MOST_THREADS);
    names.drain((MOST_THREADS / 2).min(names.len())..(MOST_THREADS / 2).min(names.len()) + omitted);
    let mut found: Vec<ThreadEntry> = names.iter().filter_map(|tid| one(&tasks, identity.pid, *tid)).collect();
    // The call needs the permission to attach and takes a lock of the process, so it is read where that may hang.
    found.sort_by_key(|entry| (!entry.is_main, std::cmp::Reverse(entry.cpu_ms > 0), std::cmp::Reverse(entry.tid)));
    let requests: Vec<Request> = found
        .iter()
        .take(MOST_CALLS)
        .map(|entry| {
            let path = format!("/proc/{}/task/{}/syscall", identity.pid, entry.tid);
            Request::KernelFile { path: ByteBuf::from(path), limit: 512 }
        })
        .collect();
    let mut gaps: Vec<Gap> = Vec::new();
    for (entry, answer) in found.iter_mut().zip(host.workers.bytes_of_processes(&requests)) {
        match answer {
            Ok(bytes) => entry.look.system_call = thread::system_call(&bytes, std::env::consts::ARCH),
            // A thread that ended meanwhile has none.
            Err(gap) if matches!(gap.reason, GapReason::NotFound | GapReason::Vanished) => {}
            Err(gap) if gaps.is_empty() => {
                let detail = match gap.reason {
                    GapReason::Permission => "run as root, or as the user of the server, to see them".to_owned(),
                    _ => gap.detail,
                };
                let what = format!("system calls and wait channels of pid {}", identity.pid);
                gaps.push(Gap::new(what, gap.reason, detail).blocking(&[id::OUTPUT_PIPE_FULL]));
            }
            Err(_) => {}
        }
    }
    // The anchor proves the directory; what the worker read went by pid, so it is looked at again.
    ProcDir::anchor(identity)?;
    let omitted = u64::try_from(omitted).unwrap_or(u64::MAX);
    Ok(Collected { value: (found, omitted), gaps })
}

/// One thread; `None` when it ended meanwhile.
fn one(tasks: &impl rustix::fd::AsFd, pid: u32, tid: u32) -> Option<ThreadEntry> {
    let name = std::ffi::CString::new(tid.to_string()).ok()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(tasks, name.as_c_str(), flags, Mode::empty()).ok()?;
    let read = |name: &CStr| {
        let file = openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        read_all(&file).ok()
    };
    let line = stat(&read(c"stat")?).ok()?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    // The start is counted on this clock, proc_pid_stat(5); /proc/uptime shows the same.
    let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = u64::try_from(boot.tv_sec).unwrap_or(0).saturating_mul(1000)
        + u64::try_from(boot.tv_nsec).unwrap_or(0) / 1_000_000;
    Some(ThreadEntry {
        tid,
        name: line.name,
        is_main: tid == pid,
        age_ms: now.saturating_sub(line.start_ticks.saturating_mul(1000) / per_second),
        cpu_ms: line.cpu_ticks.saturating_mul(1000) / per_second,
        sleeps: read(c"status").as_deref().and_then(thread::voluntary_switches),
        look: ThreadLook {
            state: line.state,
            wait_channel: read(c"wchan").as_deref().and_then(thread::wait_channel),
            system_call: None,
        },
    })
}

/// Who can read from the pipe behind a descriptor: processes with that pipe open, and not for writing only.
pub fn pipe_readers(
    identity: Identity,
    descriptor: u32,
    deadline: Deadline,
) -> Result<Option<(u64, Vec<u32>)>, Gap> {
    let directory = ProcDir::anchor(identity)?;
    let what = || format!("descriptor {descriptor} of pid {}", identity.pid);
    let name = std::ffi::CString::new(format!("fd/{descriptor}")).unwrap_or_default();
    let target = directory.link(&name).map_err(|error| Gap::from_io(what(), &error))?;
    let Link::Pipe(inode) = classify(&target) else { return Ok(None) };
    let mut readers = Vec::new();
    for pid in super::process::all_pids() {
        if deadline.is_over() {
            break;
        }
        // What cannot be read, or has ended meanwhile, is nobody whom one could name.
        if reads_from(pid, &target).unwrap_or(false) {
            readers.push(pid);
        }
    }
    Ok(Some((inode, readers)))
}

fn reads_from(pid: u32, pipe: &[u8]) -> std::io::Result<bool> {
    let directory = ProcDir::open(pid)?;
    let held = directory.directory(c"fd")?;
    let mut reads = false;
    links::each(&held, |number, link| {
        let is_it = link.is_ok_and(|text| text == pipe);
        let info = || std::ffi::CString::new(format!("fdinfo/{number}")).ok();
        reads = is_it
            && info()
                .and_then(|info| directory.read(&info).ok())
                .is_some_and(|info| thread::is_open_for_reading(&info));
        if reads { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(reads)
}
