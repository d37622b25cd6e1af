//! Limits of tasks and memory: of the process, of its control groups in both versions of the hierarchy, and of the host.

use super::LinuxHost;
use super::proc_dir::ProcDir;
use crate::collect::Collected;
use crate::collect::reader::Request;
use crate::model::{Gap, GapReason, HostLimits, MemoryGroup, Process, ProcessLimits, Resources, TaskGroup};
use crate::parse::resources::{self as parse, Controller, Mount};
use crate::parse::text::printable;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Largest file that is read; `memory.stat` has a few kilobytes.
const LARGEST_FILE: u32 = 64 * 1024;
/// Groups above each other that are looked at; a host nests a handful.
const MOST_GROUPS: usize = 16;
/// Files that are read of one group with tasks, in this order.
const TASK_FILES: &[&str] = &["pids.current", "pids.max", "pids.events"];
/// The same of a group with memory, in version 2.
const MEMORY_FILES: &[&str] = &[
    "memory.current",
    "memory.high",
    "memory.max",
    "memory.stat",
    "memory.events",
    "memory.events.local",
    "memory.pressure",
];
/// The same in version 1.
const MEMORY_FILES_OF_1: &[&str] =
    &["memory.usage_in_bytes", "memory.limit_in_bytes", "memory.stat", "memory.oom_control", "memory.failcnt"];

/// Reads all of it.
pub fn read(host: &LinuxHost, process: &Process) -> Collected<Resources> {
    let mut gaps = Vec::new();
    let limits = host_limits(host);
    let own = process_limits(host, process, &limits, &mut gaps);
    let (mut task_groups, mut memory_groups) = (Vec::new(), Vec::new());
    let cgroup = ProcDir::anchor(process.identity)
        .and_then(|directory| {
            let what = format!("control groups of pid {}", process.identity.pid);
            directory.read(c"cgroup").map_err(|error| Gap::from_io(what, &error))
        })
        .map_err(|gap| gaps.push(gap));
    let mounts = std::fs::read("/proc/self/mountinfo").map(|table| parse::mounts(&table)).unwrap_or_default();
    if let Ok(cgroup) = cgroup {
        for controller in [Controller::Pids, Controller::Memory] {
            let Some((version, path)) = parse::group_of(&cgroup, controller) else { continue };
            let Some(groups) = directories(&mounts, controller, version, &path) else {
                let what = format!("{} limits of control group {}", controller.name(), printable(path.as_bytes()));
                let detail = "the group is not below a hierarchy that is mounted here";
                gaps.push(Gap::new(what, GapReason::Unsupported, detail));
                continue;
            };
            for (index, (path, directory)) in groups.into_iter().take(MOST_GROUPS).enumerate() {
                let (path, is_own) = (printable(path.as_bytes()), index == 0);
                match controller {
                    Controller::Pids => task_groups.extend(tasks(host, path, &directory, version, is_own)),
                    Controller::Memory => memory_groups.extend(memory(host, path, &directory, version, is_own)),
                }
            }
        }
    }
    let value = Resources { host: limits, process: own, task_groups, memory_groups, looked_again_after_ms: None };
    Collected { value, gaps }
}

/// A group's directory and those above it. A hierarchy can be mounted in several places, each with another group on top.
fn directories(mounts: &[Mount], controller: Controller, version: u8, path: &str) -> Option<Vec<(String, String)>> {
    mounts
        .iter()
        .filter(|mount| mount.version == version)
        .filter(|mount| version == 2 || mount.controllers.iter().any(|name| name == controller.name()))
        .find_map(|mount| parse::directories(mount, path))
}

/// Files of one directory; `None` for those that are not there or cannot be read.
fn files(host: &LinuxHost, directory: &str, names: &[&str]) -> Vec<Option<Vec<u8>>> {
    let requests: Vec<Request> =
        names.iter().map(|name| Request::File(PathBuf::from(directory).join(name), LARGEST_FILE)).collect();
    host.perform(&requests).into_iter().map(Result::ok).collect()
}

/// A group's tasks; `None` for one above that sets no limit, and where the controller is not there.
fn tasks(host: &LinuxHost, path: String, directory: &str, version: u8, is_own: bool) -> Option<TaskGroup> {
    let had = files(host, directory, TASK_FILES);
    let file = |index: usize| had.get(index)?.as_deref();
    let group = TaskGroup {
        path,
        version,
        is_own,
        current: file(0).and_then(parse::number),
        max: file(1).and_then(parse::number),
        refused: file(2).and_then(|bytes| parse::keyed(bytes, "max")),
        refused_since: None,
    };
    (group.max.is_some() || is_own && group.current.is_some()).then_some(group)
}

/// A group's memory, in the same way.
fn memory(host: &LinuxHost, path: String, directory: &str, version: u8, is_own: bool) -> Option<MemoryGroup> {
    let names = if version == 1 { MEMORY_FILES_OF_1 } else { MEMORY_FILES };
    let had = files(host, directory, names);
    let file = |name: &str| had.get(names.iter().position(|known| *known == name)?)?.as_deref();
    let keyed = |name: &str, key: &str| parse::keyed(file(name)?, key);
    let cached = |active: &str, inactive: &str| {
        Some(keyed("memory.stat", active)?.saturating_add(keyed("memory.stat", inactive)?))
    };
    let group = MemoryGroup { path, version, is_own, ..MemoryGroup::default() };
    let group = match version {
        1 => MemoryGroup {
            current_bytes: file("memory.usage_in_bytes").and_then(parse::number),
            file_cache_bytes: cached("total_active_file", "total_inactive_file"),
            max_bytes: file("memory.limit_in_bytes").and_then(parse::limit),
            oom_kills: keyed("memory.oom_control", "oom_kill"),
            max_events: file("memory.failcnt").and_then(parse::number),
            ..group
        },
        _ => MemoryGroup {
            current_bytes: file("memory.current").and_then(parse::number),
            file_cache_bytes: cached("active_file", "inactive_file"),
            high_bytes: file("memory.high").and_then(parse::number),
            max_bytes: file("memory.max").and_then(parse::number),
            oom_kills: keyed("memory.events.local", "oom_kill").or_else(|| keyed("memory.events", "oom_kill")),
            high_events: keyed("memory.events", "high"),
            max_events: keyed("memory.events", "max"),
            pressure: file("memory.pressure").and_then(parse::pressure),
            ..group
        },
    };
    let is_limited = group.max_bytes.is_some() || group.high_bytes.is_some();
    (is_limited || is_own && group.current_bytes.is_some()).then_some(group)
}

fn host_limits(host: &LinuxHost) -> HostLimits {
    let had = files(
        host,
        "/proc",
        &["sys/fs/file-nr", "loadavg", "sys/kernel/threads-max", "sys/kernel/pid_max", "pressure/memory"],
    );
    let file = |index: usize| had.get(index)?.as_deref();
    let files = file(0).and_then(parse::file_numbers);
    HostLimits {
        files: files.map(|(open, _)| open),
        files_max: files.map(|(_, most)| most),
        tasks: file(1).and_then(parse::tasks),
        threads_max: file(2).and_then(parse::number),
        pid_max: file(3).and_then(parse::number),
        memory_pressure: file(4).and_then(parse::pressure),
    }
}

fn process_limits(host: &LinuxHost, process: &Process, limits: &HostLimits, gaps: &mut Vec<Gap>) -> ProcessLimits {
    let pid = process.identity.pid;
    let Ok(directory) = ProcDir::anchor(process.identity) else { return ProcessLimits::default() };
    let tasks_max = match directory.read(c"limits") {
        Ok(bytes) => parse::tasks_limit(&bytes).flatten(),
        Err(error) => {
            gaps.push(Gap::from_io(format!("limits of pid {pid}"), &error));
            None
        }
    };
    let is_bound = directory.read(c"status").ok().and_then(|bytes| parse::is_bound(&bytes));
    // Walking through all processes is worth it only where their number can be in the way.
    let can_matter = tasks_max
        .zip(limits.tasks)
        .is_some_and(|(most, tasks)| is_bound == Some(true) && tasks.saturating_mul(5) >= most.saturating_mul(4));
    let user_tasks = can_matter.then(|| tasks_of(host, process.uid));
    ProcessLimits { tasks_max, is_bound, user_tasks }
}

/// Threads of all processes of a user: `task` has a link for each, and two of its own.
fn tasks_of(host: &LinuxHost, uid: u32) -> u64 {
    let mut count = 0_u64;
    for pid in super::process::all_pids() {
        if host.deadline.is_over() {
            break;
        }
        if let Ok(task) = std::fs::metadata(format!("/proc/{pid}/task"))
            && owner(pid) == Some(uid)
        {
            count = count.saturating_add(task.nlink().saturating_sub(2));
        }
    }
    count
}

/// Who owns a process. The owner of its directory is root where it may not be traced, so its status is asked then.
fn owner(pid: u32) -> Option<u32> {
    match std::fs::metadata(format!("/proc/{pid}")).ok()?.uid() {
        0 => crate::parse::process::status(&std::fs::read(format!("/proc/{pid}/status")).ok()?)
            .ok()
            .map(|status| status.uid),
        uid => Some(uid),
    }
}
