//! One process, and the files that claim to name it.

use super::{HostPath, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A process that cannot be mistaken for another one: pids are used again, a pid with its start time is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// Process id in the doctor's own pid namespace.
    pub pid: u32,
    /// Start time: on Linux after boot in clock ticks, field 22 of `/proc/PID/stat`, proc_pid_stat(5); on macOS since 1970
    /// in hundredths of a second, from `struct kinfo_proc`, sys/sysctl.h.
    pub start_ticks: u64,
}

/// Scheduler state, from the state letter of `/proc/PID/stat` (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ProcessState {
    /// R: running or ready to run.
    Running,
    /// S, and I for idle kernel threads: waiting, can be interrupted.
    Sleeping,
    /// D: waiting in the kernel, cannot be interrupted.
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
    Other(String),
}

impl ProcessState {
    /// Reads the kernel's state letter. Unknown letters are kept.
    pub fn from_letter(letter: char) -> Self {
        match letter {
            'R' => Self::Running,
            'S' | 'I' => Self::Sleeping,
            'D' => Self::DiskSleep,
            'T' => Self::Stopped,
            't' => Self::Traced,
            'Z' => Self::Zombie,
            'X' | 'x' => Self::Dead,
            other => Self::Other(other.to_string()),
        }
    }

    /// The state as a person reads it.
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

/// What the kernel tells about the examined process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Pid and start time.
    pub identity: Identity,
    /// Parent's pid.
    pub ppid: u32,
    /// The kernel's short name of the process (15 bytes at most).
    pub name: String,
    /// Command line, secrets masked; `null` where it could not be read.
    pub command: Option<String>,
    /// Path of the executable; `null` where it could not be read.
    pub executable: Option<String>,
    /// Real user id.
    pub uid: u32,
    /// That user's name, where the system knows one.
    pub user: Option<String>,
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
    /// Its pid in each nested pid namespace, outermost first; more than one inside a container.
    pub namespace_pids: Vec<u32>,
    /// Whether it lives in another network namespace than the doctor; `null` where that could not be read.
    pub foreign_network: Option<bool>,
    /// Inode number of its network namespace; `null` where it could not be read.
    #[serde(default)]
    pub network_namespace: Option<u64>,
    /// Whether it lives in another mount namespace than the doctor; `null` where that could not be read.
    pub foreign_mounts: Option<bool>,
    /// Control group of the unified hierarchy, or systemd's own named one.
    pub cgroup: Option<String>,
    /// Children that ended and were not reaped, by pid.
    pub zombie_children: Vec<u32>,
    /// `HERMES_HOME` of its environment; `null` where it is not set or could not be read.
    pub home: Option<HostPath>,
    /// `HOME` of its environment, below which the default home lies. It is a way to files and no fact of the report.
    #[serde(skip)]
    pub user_home: Option<HostPath>,
    /// Supervisor markers of the environment (a short allow-list), noise values left out.
    pub markers: BTreeMap<String, String>,
}

/// What a pid file says, compared with the process table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PidFileState {
    /// It names a live server of that kind.
    Live,
    /// No such process.
    Dead,
    /// The pid is another program's now.
    OtherProgram,
    /// The pid is a server, but one that started at another time than the file says.
    OtherStart,
    /// It could not be told (for example another pid namespace, or no permission), or in a word that the reader does
    /// not know.
    #[serde(other)]
    Unknown,
}

/// One pid file of a Hermes home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PidFile {
    /// Where it is.
    pub path: String,
    /// The pid in it.
    pub pid: u32,
    /// What that pid is now.
    pub state: PidFileState,
    /// What the pid is in words, for example `nginx: master process`.
    pub detail: String,
}
