//! Limits of a process other than descriptors: tasks and memory, of the process, its control groups and the
//! host.

use super::HostPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of the process, of its control groups and of the host, with their usage. A value that could not be
/// read is `null`, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Resources {
    /// Limits of the host.
    pub host: HostLimits,
    /// Limits of the process.
    pub process: ProcessLimits,
    /// Control groups with the pids controller: that of the process, and its parents that set a limit.
    pub task_groups: Vec<TaskGroup>,
    /// Control groups with the memory controller: that of the process, and its parents that set a limit.
    pub memory_groups: Vec<MemoryGroup>,
    /// Time between the two samples, in milliseconds; `null` if no limit was near and one sample was enough.
    pub looked_again_after_ms: Option<u64>,
}

/// Limits for all processes of the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostLimits {
    /// Open files: the first number of `/proc/sys/fs/file-nr`, proc_sys_fs(5).
    pub files: Option<u64>,
    /// Maximum number of open files: the third number there.
    pub files_max: Option<u64>,
    /// Processes and threads: the fourth field of `/proc/loadavg`, proc_loadavg(5).
    pub tasks: Option<u64>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
    /// `/proc/pressure/memory`.
    pub memory_pressure: Option<Pressure>,
}

/// Limits of the process itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessLimits {
    /// Soft limit `Max processes`, which counts the threads of the real user; `null` is unlimited or unknown.
    pub tasks_max: Option<u64>,
    /// Whether that limit applies: it does not to root and to holders of `CAP_SYS_RESOURCE` or `CAP_SYS_ADMIN`
    /// (getrlimit(2)).
    pub is_bound: Option<bool>,
    /// Threads of that user; counted only if the host has enough threads for the limit to matter.
    pub user_tasks: Option<u64>,
}

/// Tasks of a control group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TaskGroup {
    /// Path, as in `/proc/PID/cgroup`.
    pub path: HostPath,
    /// Version of the hierarchy, 1 or 2.
    pub version: u8,
    /// Whether the process is directly in it, not in a group below.
    pub is_own: bool,
    /// `pids.current`.
    pub current: Option<u64>,
    /// `pids.max`; `null` is unlimited or unknown.
    pub max: Option<u64>,
    /// Number of refused forks: `max` of `pids.events`.
    pub refused: Option<u64>,
    /// Number of refused forks between the two samples.
    pub refused_since: Option<u64>,
}

/// Memory of a control group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemoryGroup {
    /// Path, as in `/proc/PID/cgroup`.
    pub path: HostPath,
    /// Version of the hierarchy, 1 or 2.
    pub version: u8,
    /// Whether the process is directly in it, not in a group below.
    pub is_own: bool,
    /// `memory.current`, or in version 1 `memory.usage_in_bytes`.
    pub current_bytes: Option<u64>,
    /// Cached files among these, which can be reclaimed.
    pub file_cache_bytes: Option<u64>,
    /// `memory.high`; `null` is unlimited or unknown. Version 1 has none.
    pub high_bytes: Option<u64>,
    /// `memory.max`, or `memory.limit_in_bytes`.
    pub max_bytes: Option<u64>,
    /// Number of processes killed by the kernel: `oom_kill` of `memory.events.local` (else `memory.events`), or
    /// of `memory.oom_control`.
    pub oom_kills: Option<u64>,
    /// Number of kills between the two samples.
    pub oom_kills_since: Option<u64>,
    /// Number of times that `memory.high` was exceeded.
    pub high_events: Option<u64>,
    /// The same between the two samples.
    pub high_events_since: Option<u64>,
    /// Number of times that the limit was reached: `max` of `memory.events`, or `memory.failcnt`.
    pub max_events: Option<u64>,
    /// The same between the two samples.
    pub max_events_since: Option<u64>,
    /// `memory.pressure`; version 1 has none.
    pub pressure: Option<Pressure>,
}

/// Share of time in which tasks waited for memory, in percent over ten seconds (the kernel's accounting/psi document).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Pressure {
    /// At least one task waited.
    pub some_avg10: f64,
    /// All tasks waited at once; `null` on kernels that do not report it.
    pub full_avg10: Option<f64>,
}
