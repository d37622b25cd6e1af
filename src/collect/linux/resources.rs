//! Task and memory limits: of the process, of its control groups in both versions of the hierarchy, and of the host.

use super::proc_dir::own_mounts;
use super::{LinuxHost, procfs};
use crate::collect::Collected;
use crate::collect::worker::Request;
use crate::collect::worker::wire::HostNumbers;
use crate::model::text::printable;
use crate::model::{Gap, GapDetail, GapReason, GapSubject, HostLimits, Process, ProcessLimits, Resources, id};
use crate::parse::ParseError;
use crate::parse::limits;
use crate::parse::resources::{self as parse, Controller, GroupFiles, Hierarchy};
use serde_bytes::ByteBuf;

/// Largest file that is read; `memory.stat` has a few kilobytes.
const MAX_FILE_BYTES: u32 = 64 * 1024;
/// Nested groups that are read; a host has a few levels.
const MAX_GROUPS: usize = 16;

/// Reads all limits.
pub fn read(host: &LinuxHost, process: &Process) -> Collected<Resources> {
    let mut gaps = Vec::new();
    let limits = host_limits(host, &mut gaps);
    let own = process_limits(host, process, &limits, &mut gaps);
    let (mut task_groups, mut memory_groups) = (Vec::new(), Vec::new());
    let pid = process.identity.pid;
    let cgroup = procfs::one_of(&host.workers, process.identity, procfs::file(pid, "cgroup"))
        .map_err(|gap| gaps.push(Gap { what: GapSubject::ControlGroups { pid }, ..gap }));
    let mounts = parse::hierarchies(&own_mounts());
    if let Ok(cgroup) = cgroup {
        for controller in [Controller::Pids, Controller::Memory] {
            let Some((version, path)) = parse::group_of(&cgroup, controller) else { continue };
            let Some(groups) = directories(&mounts, controller, version, &path) else {
                let what = GapSubject::ControlGroupLimits {
                    controller: controller.name().into(),
                    path: printable(path.as_bytes()).into(),
                };
                let detail = GapDetail::GroupNotMounted;
                gaps.push(Gap::new(what, GapReason::Unsupported, detail));
                continue;
            };
            for (index, (path, directory)) in groups.into_iter().take(MAX_GROUPS).enumerate() {
                let (path, is_own) = (printable(path.as_bytes()), index == 0);
                let had = group_files(host, &directory, parse::files_of(controller, version));
                match controller {
                    Controller::Pids => task_groups.extend(parse::task_group(path, version, is_own, &had)),
                    Controller::Memory => memory_groups.extend(parse::memory_group(path, version, is_own, &had)),
                }
            }
        }
    }
    let value = Resources { host: limits, process: own, task_groups, memory_groups, looked_again_after_ms: None };
    Collected { value, gaps }
}

/// A group's directory and its parents. A hierarchy can be mounted in several places, each with another group at its
/// root.
fn directories(
    mounts: &[Hierarchy],
    controller: Controller,
    version: u8,
    path: &str,
) -> Option<Vec<(String, String)>> {
    mounts
        .iter()
        .filter(|mount| mount.version == version)
        .filter(|mount| version == 2 || mount.controllers.iter().any(|name| name == controller.name()))
        .find_map(|mount| parse::directories(mount, path))
}

/// Files of one directory; `None` for those that do not exist or cannot be read.
fn files_below(host: &LinuxHost, directory: &str, names: &[&str]) -> Vec<Option<Vec<u8>>> {
    let requests: Vec<Request> = names
        .iter()
        .map(|name| Request::KernelFile { path: path(directory, name), limit: MAX_FILE_BYTES })
        .collect();
    host.workers.bytes_of_processes(&requests).into_iter().map(Result::ok).collect()
}

fn path(directory: &str, name: &str) -> ByteBuf {
    ByteBuf::from(format!("{directory}/{name}"))
}

/// The files of a group for one controller, by name.
fn group_files(host: &LinuxHost, directory: &str, names: &'static [&'static str]) -> GroupFiles {
    let had = files_below(host, directory, names);
    names.iter().zip(had).filter_map(|(name, bytes)| Some((*name, bytes?))).collect()
}

/// Limits of the host; `None` where they cannot be read. Without the number of open files, a check of it cannot pass.
fn host_limits(host: &LinuxHost, gaps: &mut Vec<Gap>) -> HostLimits {
    let numbers = host.workers.host_numbers().unwrap_or_else(|gap| {
        gaps.push(gap.blocking(&[id::HOST_FILES_EXHAUSTED, id::THREADS_EXHAUSTED]));
        HostNumbers::default()
    });
    if gaps.is_empty() && (numbers.files.is_none() || numbers.files_max.is_none()) {
        let gap = Gap::new(GapSubject::OpenFiles, GapReason::Unsupported, GapDetail::FileNumbersUnread);
        gaps.push(gap.blocking(&[id::HOST_FILES_EXHAUSTED]));
    }
    let pressure = files_below(host, "/proc/pressure", &["memory"]).pop().flatten();
    HostLimits {
        files: numbers.files,
        files_max: numbers.files_max,
        tasks: numbers.tasks,
        threads_max: numbers.threads_max,
        pid_max: numbers.pid_max,
        memory_pressure: pressure.as_deref().and_then(parse::pressure),
    }
}

fn process_limits(host: &LinuxHost, process: &Process, of_host: &HostLimits, gaps: &mut Vec<Gap>) -> ProcessLimits {
    let pid = process.identity.pid;
    let requests = [procfs::file(pid, "limits"), procfs::file(pid, "status")];
    let mut or_gap = |gap: Gap| gaps.push(Gap { what: GapSubject::LimitsOf { pid }, ..gap });
    let mut read = match procfs::of_one(&host.workers, process.identity, &requests) {
        Ok(read) => read.into_iter(),
        Err(gap) => {
            or_gap(gap);
            return ProcessLimits::default();
        }
    };
    let malformed = |error: ParseError| Gap::new("limits", GapReason::Malformed, error.to_string());
    let table = read.next().map(|read| read.and_then(|bytes| limits::limits(&bytes).map_err(malformed)));
    let tasks_max = match table {
        Some(Ok(table)) => limits::number(table.max_processes.soft_limit),
        Some(Err(gap)) => {
            or_gap(gap);
            None
        }
        None => None,
    };
    let is_bound = read.next().and_then(Result::ok).and_then(|bytes| parse::is_bound(&bytes));
    // Counting the threads of all processes is slow, so it is done only near the limit.
    let can_matter = tasks_max
        .zip(of_host.tasks)
        .is_some_and(|(most, tasks)| is_bound == Some(true) && tasks.saturating_mul(5) >= most.saturating_mul(4));
    let user_tasks = can_matter.then(|| tasks_of(host, process.uid));
    ProcessLimits { tasks_max, is_bound, user_tasks }
}

/// Threads of all processes of a user.
fn tasks_of(host: &LinuxHost, uid: u32) -> u64 {
    let pids = super::process::all_pids().unwrap_or_default();
    let requests: Vec<Request> = pids.iter().map(|pid| procfs::file(*pid, "status")).collect();
    let read = host.workers.bytes_of_processes(&requests).into_iter().flatten();
    let status = read.filter_map(|bytes| crate::parse::process::status(&bytes).ok());
    status.filter(|status| status.uid == uid).map(|status| status.threads).sum()
}
