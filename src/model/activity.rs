//! What the threads of a server did while a request waited for its answer.

use super::ProcessState;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The threads of one process at two looks, taken while a request was in flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Activity {
    /// The request that was in flight, as its path; `/health` or a route.
    pub path: String,
    /// Time between the two looks, in milliseconds.
    pub between_ms: u64,
    /// CPU time of the whole process between the looks, in milliseconds.
    pub cpu_ms: u64,
    /// Threads at the last look, the main thread first.
    pub threads: Vec<Thread>,
    /// Threads that are not listed in `threads`.
    pub threads_omitted: u64,
    /// Pipes that threads wait to write to, and who could read from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipes: Vec<Pipe>,
}

/// A pipe that the server writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pipe {
    /// The server's descriptor: 1 is standard output, 2 standard error.
    pub descriptor: u32,
    /// Inode number.
    pub inode: u64,
    /// Processes that can read from it; empty where none could be found.
    pub readers: Vec<PipeReader>,
}

/// A process at the other end of a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipeReader {
    /// Process id.
    pub pid: u32,
    /// Short name.
    pub name: String,
    /// Scheduler state.
    pub state: ProcessState,
}

impl Activity {
    /// The thread whose id is the process's.
    pub fn main(&self) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.is_main)
    }
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Thread {
    /// Kernel's id of the thread.
    pub tid: u32,
    /// The kernel's short name of it (15 bytes at most).
    pub name: String,
    /// Whether it is the thread that the process began with.
    pub is_main: bool,
    /// It was started after the request in flight was connected: in a server with a thread for each connection that is
    /// the thread of this request.
    pub is_new: bool,
    /// State, wait channel and system call at each look, in their order; one only for a new thread.
    pub looks: Vec<ThreadSample>,
    /// CPU time between the looks, in milliseconds; `null` for a new thread.
    pub cpu_ms: Option<u64>,
    /// How often it went to sleep by itself between the looks; `null` for a new thread, or where it could not be read.
    pub sleeps: Option<u64>,
}

impl Thread {
    /// At the last look.
    pub fn last(&self) -> Option<&ThreadSample> {
        self.looks.last()
    }

    /// Whether the thread was seen twice and looked so each time.
    pub fn always(&self, is_so: impl Fn(&ThreadSample) -> bool) -> bool {
        self.looks.len() >= 2 && self.looks.iter().all(is_so)
    }
}

/// One thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadSample {
    /// Scheduler state.
    pub state: ProcessState,
    /// Function of the kernel in which it sleeps (`/proc/PID/task/TID/wchan`); `null` while it runs, or where the kernel
    /// does not tell.
    pub wait_channel: Option<String>,
    /// The system call that it is in; `null` while it runs in user space, or where it could not be read.
    pub system_call: Option<SystemCall>,
}

/// A system call that has not returned yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemCall {
    /// Its name, or `system call N` for one that is not known.
    pub name: String,
    /// The descriptor that it works on, for calls that take one first.
    pub descriptor: Option<u32>,
    /// For waiting on a futex: whether it has no time limit. A Python lock is waited for without one, the interpreter's
    /// own lock with one of milliseconds.
    pub is_unlimited: Option<bool>,
}
