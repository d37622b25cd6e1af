//! One process, and the pid files that name it.

use super::{CommandLine, HostPath, OwnTerm, ProgramName, Symbol, Timestamp, UserName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A unique identification of a process. A pid can be reused; a pid with its start time cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// Process id in the doctor's own pid namespace.
    pub pid: u32,
    /// Start time: on Linux in clock ticks after boot, field 22 of `/proc/PID/stat`, proc_pid_stat(5); on macOS
    /// in hundredths of a second since 1970, from `struct kinfo_proc`, sys/sysctl.h.
    pub start_ticks: u64,
}

/// Scheduler state, from the state letter of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// R: running or ready to run.
    Running,
    /// S, and I for idle kernel threads: sleeping, interruptible.
    Sleeping,
    /// D: sleeping in the kernel, uninterruptible.
    DiskSleep,
    /// T: stopped by a signal.
    Stopped,
    /// t: stopped by a debugger.
    Traced,
    /// Z: ended, not yet reaped by its parent.
    Zombie,
    /// X: ended.
    Dead,
    /// A letter that this version does not know.
    Other(Symbol),
}

impl ProcessState {
    /// The state of a kernel state letter. Unknown letters are kept.
    pub fn from_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' | 'I' => Self::Sleeping,
            'D' => Self::DiskSleep,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'Z' => Self::Zombie,
            'X' | 'x' => Self::Dead,
            other => Self::Other(other.to_string().into()),
        }
    }

    /// The state in words for the user.
    pub fn words(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::DiskSleep => "in uninterruptible sleep",
            Self::Stopped => "stopped",
            Self::Traced => "traced by a debugger",
            Self::Zombie => "zombie",
            Self::Dead => "dead",
            Self::Other(letter) => letter,
        }
    }
}

/// Facts about the examined process, from the kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Pid and start time.
    pub identity: Identity,
    /// Pid of the parent.
    pub ppid: u32,
    /// Short name of the process, from the kernel (15 bytes at most).
    pub name: ProgramName,
    /// Command line, secrets masked; `null` if it could not be read.
    pub command: Option<CommandLine>,
    /// Path of the executable; `null` if it could not be read.
    pub executable: Option<HostPath>,
    /// Real user id.
    pub uid: u32,
    /// Name of that user, if the system has one.
    pub user: Option<UserName>,
    /// Scheduler state of the main thread.
    pub state: ProcessState,
    /// Start time, RFC 3339.
    pub start_time: Option<Timestamp>,
    /// Time since the start, in milliseconds.
    pub age_ms: Option<u64>,
    /// Number of threads.
    pub threads: Option<u64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Session id.
    pub session: i32,
    /// Process group id.
    pub process_group: i32,
    /// Pid of the debugger that traces it.
    pub tracer_pid: Option<u32>,
    /// Pid in each nested pid namespace, outermost first; more than one inside a container.
    pub namespace_pids: Vec<u32>,
    /// Whether its network namespace differs from that of the doctor; `null` if it could not be read.
    pub foreign_network: Option<bool>,
    /// Inode number of its network namespace; `null` if it could not be read.
    #[serde(default)]
    pub network_namespace: Option<u64>,
    /// Whether its mount namespace differs from that of the doctor; `null` if it could not be read.
    pub foreign_mounts: Option<bool>,
    /// Control group of the unified hierarchy, or of systemd's named hierarchy.
    pub cgroup: Option<HostPath>,
    /// Pids of children that ended and were not reaped.
    pub zombie_children: Vec<u32>,
    /// `HERMES_HOME` of its environment; `null` if it is not set or could not be read.
    pub home: Option<HostPath>,
    /// `HOME` of its environment, which contains the default home. It is only for finding files and is not part
    /// of the report.
    #[serde(skip)]
    pub user_home: Option<HostPath>,
    /// Environment variables that indicate a supervisor (a short allow-list), without noise.
    pub markers: BTreeMap<OwnTerm, ProgramName>,
}

/// Environment variables that may be read: the markers that supervisors set, and the homes, which distinguish the
/// servers of one host. All values are names, numbers and paths; none can contain a secret.
pub const MARKERS: &[&str] = &[
    "HERMES_DESKTOP",
    "HERMES_GATEWAY_EXTERNAL_SUPERVISOR",
    "HERMES_HOME",
    "HERMES_PARENT_PID",
    "HOME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "STY",
    "SUPERVISOR_ENABLED",
    "SUPERVISOR_GROUP_NAME",
    "SUPERVISOR_PROCESS_NAME",
    "SYSTEMD_EXEC_PID",
    "TMUX",
    "XPC_SERVICE_NAME",
    "pm_id",
];

/// State of a pid file, compared with the process table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PidFileState {
    /// It names a live server of that kind.
    Live,
    /// There is no such process.
    Dead,
    /// The pid belongs to another program now.
    OtherProgram,
    /// The pid belongs to a server with a start time other than that in the file.
    OtherStart,
    /// It could not be determined (for example another pid namespace, or no permission), or the reader does not
    /// know the value.
    #[serde(other)]
    Unknown,
}

/// One pid file of a Hermes home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PidFile {
    /// Path of the file.
    pub path: HostPath,
    /// The pid in it.
    pub pid: u32,
    /// State of that pid.
    pub state: PidFileState,
    /// The process of that pid in words, for example `nginx: master process`.
    pub detail: CommandLine,
}
