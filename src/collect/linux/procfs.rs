//! Reads of procfs. The main process opens no file of another process there; a worker does, and can be abandoned.

use crate::collect::worker::wire::{DescriptorLink, FileStat};
use crate::collect::worker::{Answer, Request};
use crate::collect::workers::Workers;
use crate::model::{Gap, GapDetail, GapReason, GapSubject, Identity};
use crate::parse::process::{StatLine, stat};
use serde_bytes::ByteBuf;
use std::ops::ControlFlow;

/// The part of the remaining time that one scan of descriptors may take: one quarter. The HTTP requests run after it.
const SCAN_SHARE: u32 = 4;

/// Largest file that is read, in bytes; a few tables can be longer.
const MAX_FILE: u32 = 4 * 1024 * 1024;

/// The content of a file of a process.
pub fn file(pid: u32, name: &str) -> Request {
    Request::KernelFile { path: path(pid, name), limit: MAX_FILE }
}

/// The target of a link of a process.
pub fn link(pid: u32, name: &str) -> Request {
    Request::KernelLink(path(pid, name))
}

fn path(pid: u32, name: &str) -> ByteBuf {
    ByteBuf::from(format!("/proc/{pid}/{name}"))
}

/// The `stat` line of a process.
///
/// # Errors
/// A gap with the reason.
pub fn stat_line(workers: &Workers, pid: u32) -> Result<StatLine, Gap> {
    parsed_stat(pid, &workers.bytes_of_process(file(pid, "stat"))?)
}

/// The `stat` line of a process from its bytes.
///
/// # Errors
/// A gap where it cannot be parsed.
pub fn parsed_stat(pid: u32, bytes: &[u8]) -> Result<StatLine, Gap> {
    stat(bytes).map_err(|error| Gap::new(format!("/proc/{pid}/stat"), GapReason::Malformed, error.to_string()))
}

/// Metadata of a file of a process.
///
/// # Errors
/// A gap with the reason.
pub fn attributes(workers: &Workers, pid: u32, name: &str) -> Result<FileStat, Gap> {
    let request = Request::KernelStat(path(pid, name));
    match one(workers, request.clone())? {
        Answer::Stat(stat) => Ok(stat),
        _ => Err(Gap::new(request.what(), GapReason::Malformed, "")),
    }
}

/// The numeric names in a directory of a process.
///
/// # Errors
/// A gap with the reason.
pub fn numbers(workers: &Workers, pid: u32, name: &str) -> Result<Vec<u32>, Gap> {
    let request = Request::KernelNumbers(path(pid, name));
    match one(workers, request.clone())? {
        Answer::Numbers(numbers) => Ok(numbers),
        _ => Err(Gap::new(request.what(), GapReason::Malformed, "")),
    }
}

/// The answer to one request.
///
/// # Errors
/// A gap with the reason.
pub fn one(workers: &Workers, request: Request) -> Result<Answer, Gap> {
    let answer = workers.of_processes(std::slice::from_ref(&request)).pop();
    answer.unwrap_or_else(|| Err(silent(&request)))
}

/// Proves that a pid still belongs to a known process, and returns its `stat` line. Everything read by pid between two
/// such proofs is of that process.
///
/// # Errors
/// A gap when the process has ended, even if its pid is used again.
pub fn prove(workers: &Workers, process: Identity) -> Result<StatLine, Gap> {
    let gone = |detail: String, reason| Gap::new(format!("process {}", process.pid), reason, detail);
    let line = stat_line(workers, process.pid).map_err(|gap| match gap.reason {
        GapReason::Timeout => gone(gap.detail.to_string(), GapReason::Timeout),
        _ => gone(gap.text().to_owned(), GapReason::Vanished),
    })?;
    if line.start_ticks != process.start_ticks {
        return Err(gone(GapDetail::AnotherProcess.to_string(), GapReason::Vanished));
    }
    Ok(line)
}

/// Files and links of one process, read between two calls of [`prove`].
///
/// # Errors
/// As [`prove`]. A file that could not be read is an error in the result.
pub fn of_one(
    workers: &Workers,
    process: Identity,
    requests: &[Request],
) -> Result<Vec<Result<Vec<u8>, Gap>>, Gap> {
    prove(workers, process)?;
    let answers = workers.bytes_of_processes(requests);
    prove(workers, process)?;
    Ok(answers)
}

/// One file or link, as [`of_one`] reads it.
///
/// # Errors
/// As [`of_one`].
pub fn one_of(workers: &Workers, process: Identity, request: Request) -> Result<Vec<u8>, Gap> {
    let answer = of_one(workers, process, std::slice::from_ref(&request))?.pop();
    answer.unwrap_or_else(|| Err(silent(&request)))
}

fn silent(request: &Request) -> Gap {
    Gap::new(request.what(), GapReason::Unsupported, GapDetail::WorkerSilent)
}

/// Calls `take` for each descriptor link of these processes that begins with `beginning`, and for each link that cannot
/// be read, until it breaks for that process. Returns the processes that were not read completely, with the reasons.
/// The processes are read in turn, one page of each, so that a process with very many descriptors does not delay the
/// others.
pub fn each_link(
    workers: &Workers,
    pids: &[u32],
    beginning: &[u8],
    mut take: impl FnMut(u32, DescriptorLink<'_>) -> ControlFlow<()>,
) -> Vec<(u32, Gap)> {
    let mut unread = Vec::new();
    let mut waiting: Vec<(u32, u32)> = pids.iter().map(|pid| (*pid, 0)).collect();
    let limit = workers.deadline.within(workers.deadline.remaining() / SCAN_SHARE);
    while !waiting.is_empty() {
        if limit.is_over() {
            let late =
                |pid: u32| Gap::new(GapSubject::DescriptorsOf { pid }, GapReason::Timeout, GapDetail::ScanLimit);
            unread.extend(waiting.into_iter().map(|(pid, _)| (pid, late(pid))));
            break;
        }
        let requests: Vec<Request> = waiting
            .iter()
            .map(|(pid, first)| Request::DescriptorLinks {
                pid: *pid,
                first: *first,
                beginning: ByteBuf::from(beginning),
            })
            .collect();
        let answers = workers.of_processes(&requests);
        let mut others = Vec::new();
        for ((pid, _), answer) in waiting.into_iter().zip(answers) {
            match answer {
                Ok(Answer::Links(found)) => {
                    let is_enough = found.iter().any(|link| take(pid, link).is_break());
                    others.extend(found.next.filter(|_| !is_enough).map(|next| (pid, next)));
                }
                Ok(_) => unread.push((pid, Gap::new(GapSubject::DescriptorsOf { pid }, GapReason::Malformed, ""))),
                Err(gap) => unread.push((pid, gap)),
            }
        }
        waiting = others;
    }
    unread
}
