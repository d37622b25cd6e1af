//! Activity of a server's threads while a request waits for its response.

use super::{KernelSymbol, ProcessState, ProgramName, ThreadName, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The threads of one process in two samples, taken while a request was in flight.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Activity {
    /// Path of the request in flight: `/health` or a route.
    pub path: Url,
    /// Time between the two samples, in milliseconds.
    pub between_ms: u64,
    /// CPU time of the whole process between the samples, in milliseconds.
    pub cpu_ms: u64,
    /// Threads at the last sample, the main thread first.
    pub threads: Vec<Thread>,
    /// Threads that are not listed in `threads`.
    pub threads_omitted: u64,
    /// Pipes that threads wait to write to, and the processes that can read from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipes: Vec<Pipe>,
}

/// A pipe that the server writes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Pipe {
    /// Descriptor number in the server: 1 is standard output, 2 standard error.
    pub descriptor: u32,
    /// Inode number.
    pub inode: u64,
    /// Processes that can read from it; empty if none was found.
    pub readers: Vec<PipeReader>,
}

/// A process at the other end of a pipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PipeReader {
    /// Process id.
    pub pid: u32,
    /// Short name.
    pub name: ProgramName,
    /// Scheduler state.
    pub state: ProcessState,
}

impl Activity {
    /// The main thread: its id is the pid.
    pub fn main(&self) -> Option<&Thread> {
        self.threads.iter().find(|thread| thread.is_main)
    }
}

/// One thread.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Thread {
    /// Thread id of the kernel.
    pub tid: u32,
    /// Short name of the kernel (15 bytes at most).
    pub name: ThreadName,
    /// Whether it is the main thread.
    pub is_main: bool,
    /// Whether it was started after the request in flight was connected. In a server with one thread per
    /// connection it is the thread of this request.
    pub is_new: bool,
    /// State, wait channel and system call at each sample, in order. A new thread has only one.
    pub looks: Vec<ThreadSample>,
    /// CPU time between the samples, in milliseconds; `null` for a new thread.
    pub cpu_ms: Option<u64>,
    /// Voluntary context switches between the samples; `null` for a new thread, or if they could not be read.
    pub sleeps: Option<u64>,
}

impl Thread {
    /// The last sample.
    pub fn last(&self) -> Option<&ThreadSample> {
        self.looks.last()
    }

    /// Whether the thread was sampled at least twice and the condition held in each sample.
    pub fn always(&self, is_so: impl Fn(&ThreadSample) -> bool) -> bool {
        self.looks.len() >= 2 && self.looks.iter().all(is_so)
    }
}

/// One thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ThreadSample {
    /// Scheduler state.
    pub state: ProcessState,
    /// Kernel function in which it sleeps (`/proc/PID/task/TID/wchan`); `null` while it runs, or if the kernel
    /// does not report it.
    pub wait_channel: Option<KernelSymbol>,
    /// The system call that it is in; `null` while it runs in user space, or if it could not be read.
    pub system_call: Option<SystemCall>,
}

/// A system call that has not returned yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SystemCall {
    /// Name, or `system call N` for an unknown call.
    pub name: KernelSymbol,
    /// The descriptor that it operates on, for calls with a descriptor as first argument.
    pub descriptor: Option<u32>,
    /// For a futex wait: whether it has no time limit. A wait for a Python lock has none; a wait for the
    /// interpreter lock (GIL) has one of milliseconds.
    pub is_unlimited: Option<bool>,
}
