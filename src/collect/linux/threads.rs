//! The threads of a process in one sample: states, wait channels, system calls and CPU time.

use super::LinuxHost;
use super::process::all_pids;
use super::procfs;
use crate::collect::host_facts::since_boot;
use crate::collect::worker::Request;
use crate::collect::workers::Workers;
use crate::collect::{Collected, ThreadEntry};
use crate::model::{Gap, GapDetail, GapReason, GapSubject, Identity, ThreadSample, id, whole_milliseconds};
use crate::parse::link::{Link, classify};
use crate::parse::process::stat;
use crate::parse::thread;
use serde_bytes::ByteBuf;
use std::ops::ControlFlow;

/// Threads that are read. Of a server with more, the first and the newest ones are read.
const MAX_THREADS: usize = 8192;

/// Threads with system calls that are read. The main thread and threads that used CPU time come first, then the newest.
const MAX_CALLS: usize = 512;

/// Samples every thread of a process.
///
/// # Errors
/// A gap when the process has ended.
pub fn read(host: &LinuxHost, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap> {
    procfs::prove(&host.workers, identity)?;
    let mut names = procfs::numbers(&host.workers, identity.pid, "task")
        .map_err(|gap| Gap { what: GapSubject::Threads { pid: identity.pid }, ..gap })?;
    names.sort_unstable();
    let omitted = names.len().saturating_sub(MAX_THREADS);
    names.drain((MAX_THREADS / 2).min(names.len())..(MAX_THREADS / 2).min(names.len()) + omitted);
    let requests: Vec<Request> = names
        .iter()
        .flat_map(|tid| FILES.map(|name| procfs::file(identity.pid, &format!("task/{tid}/{name}"))))
        .collect();
    let files = host.workers.bytes_of_processes(&requests);
    let mut found: Vec<ThreadEntry> = names
        .iter()
        .zip(files.chunks_exact(FILES.len()))
        .filter_map(|(tid, files)| one(identity.pid, *tid, files))
        .collect();
    // `syscall` needs permission to attach and takes a lock of the process, so it is read in a worker.
    found.sort_by_key(|entry| (!entry.is_main, std::cmp::Reverse(entry.cpu_ms > 0), std::cmp::Reverse(entry.tid)));
    let requests: Vec<Request> = found
        .iter()
        .take(MAX_CALLS)
        .map(|entry| {
            let path = format!("/proc/{}/task/{}/syscall", identity.pid, entry.tid);
            Request::KernelFile { path: ByteBuf::from(path), limit: 512 }
        })
        .collect();
    let mut gaps: Vec<Gap> = Vec::new();
    for (entry, answer) in found.iter_mut().zip(host.workers.bytes_of_processes(&requests)) {
        match answer {
            Ok(bytes) => entry.look.system_call = thread::system_call(&bytes, std::env::consts::ARCH),
            // A thread that has ended has no system call.
            Err(gap) if matches!(gap.reason, GapReason::NotFound | GapReason::Vanished) => {}
            Err(gap) if gaps.is_empty() => {
                let detail = match gap.reason {
                    GapReason::Permission => GapDetail::RunAsServer,
                    _ => gap.detail,
                };
                let what = GapSubject::SystemCalls { pid: identity.pid };
                gaps.push(Gap::new(what, gap.reason, detail).blocking(&[id::OUTPUT_PIPE_FULL]));
            }
            Err(_) => {}
        }
    }
    procfs::prove(&host.workers, identity)?;
    let omitted = u64::try_from(omitted).unwrap_or(u64::MAX);
    Ok(Collected { value: (found, omitted), gaps })
}

/// Files that are read for each thread.
const FILES: [&str; 3] = ["stat", "status", "wchan"];

/// One thread from these files; `None` where it has ended.
fn one(pid: u32, tid: u32, files: &[Result<Vec<u8>, Gap>]) -> Option<ThreadEntry> {
    let read = |index: usize| files.get(index)?.as_deref().ok();
    let line = stat(read(0)?).ok()?;
    let per_second = rustix::param::clock_ticks_per_second().max(1);
    let now = since_boot().map_or(0, whole_milliseconds);
    Some(ThreadEntry {
        tid,
        name: line.name,
        is_main: tid == pid,
        age_ms: now.saturating_sub(line.start_ticks.saturating_mul(1000) / per_second),
        cpu_ms: line.cpu_ticks.saturating_mul(1000) / per_second,
        sleeps: read(1).and_then(thread::voluntary_switches),
        look: ThreadSample {
            state: line.state,
            wait_channel: read(2).and_then(thread::wait_channel).map(Into::into),
            system_call: None,
        },
    })
}

/// The inode of the pipe behind a descriptor, and the processes that can read from it: those with the pipe open, and
/// not only for writing.
///
/// # Errors
/// A gap when the process has ended, or its descriptor may not be read.
pub fn pipe_readers(
    workers: &Workers,
    identity: Identity,
    descriptor: u32,
) -> Result<Option<(u64, Vec<u32>)>, Gap> {
    let target = workers.bytes_of_process(Request::DescriptorLink(identity, descriptor))?;
    let Link::Pipe(inode) = classify(&target) else { return Ok(None) };
    let mut ends: Vec<(u32, u32)> = Vec::new();
    // A process that cannot be read, or has ended, cannot be reported as a reader.
    procfs::each_link(workers, &all_pids()?, &target, |pid, link| {
        if link.target == Ok(&*target) {
            ends.push((pid, link.number));
        }
        ControlFlow::Continue(())
    });
    let requests: Vec<Request> =
        ends.iter().map(|(pid, number)| procfs::file(*pid, &format!("fdinfo/{number}"))).collect();
    let answers = workers.bytes_of_processes(&requests).into_iter();
    let reading = answers.zip(ends).filter(|(info, _)| info.as_deref().is_ok_and(thread::is_open_for_reading));
    let mut readers: Vec<u32> = reading.map(|(_, (pid, _))| pid).collect();
    readers.dedup();
    Ok(Some((inode, readers)))
}
