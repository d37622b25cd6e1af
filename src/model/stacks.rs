//! Stacks of the threads of a Python interpreter, and the locks that they wait for.

use super::{HostPath, KernelSymbol, Note, ProcessState, PythonSymbol, SystemCall, ThreadName, Version};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Maximum number of threads with stacks that are kept.
pub const MAX_THREADS: usize = 512;
/// Maximum number of frames per stack that are reported, innermost first.
pub const MAX_FRAMES: usize = 64;

/// The Python stacks of one process, read from its memory without stopping it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stacks {
    /// Version of the interpreter, for example `3.12.1`.
    pub interpreter: Version,
    /// Threads, grouped by stack and role: threads that wait for a lock first, idle ones last.
    pub groups: Vec<StackGroup>,
    /// Lines at which threads wait for a lock, most waiters first.
    pub locks: Vec<LockWait>,
    /// Threads that are in no group.
    pub threads_omitted: u64,
    /// Whether every stack was read completely. A running process changes some of them during the read.
    pub is_complete: bool,
    /// Time between the two samples, in milliseconds; `null` if no thread waited for a lock, or there was no
    /// time for a second sample.
    pub between_ms: Option<u64>,
}

impl Stacks {
    /// The thread that holds the interpreter lock (GIL), with its group.
    pub fn gil_holder(&self) -> Option<(&StackGroup, &StackThread)> {
        let of = |group: &'_ StackGroup| group.threads.iter().position(|thread| thread.holds_gil);
        let (group, at) = self.groups.iter().find_map(|group| Some((group, of(group)?)))?;
        Some((group, group.threads.get(at)?))
    }
}

/// Role of a thread, as far as its stack and the kernel show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StackRole {
    /// It is at a line that takes a lock, and the kernel reports a wait without a time limit.
    WaitsForLock,
    /// It runs, or waits to be scheduled.
    Running,
    /// It is in a function outside of Python that waits for something else: input, output, a database.
    InCall,
    /// It sleeps for a time, or waits for a signal from another thread (condition, event, queue, end of a
    /// thread).
    #[default]
    Waits,
    /// It waits for work: a worker of a pool, a selector, a connection to be accepted, the next request.
    Idle,
}

impl StackRole {
    /// The role in words for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::WaitsForLock => "waits for a lock",
            Self::Running => "runs",
            Self::InCall => "in a call",
            Self::Waits => "waits",
            Self::Idle => "idle",
        }
    }
}

/// Threads with the same stack and role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StackGroup {
    /// Number of threads.
    pub count: u64,
    /// Role of the threads.
    pub role: StackRole,
    /// The threads, by id.
    pub threads: Vec<StackThread>,
    /// Their stack, innermost frame first.
    pub frames: Vec<StackFrame>,
    /// Outer frames that are not listed.
    pub frames_omitted: u64,
}

/// One thread of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StackThread {
    /// Thread id of the kernel; `null` if the interpreter does not contain it.
    pub tid: Option<u32>,
    /// Name in Python; `null` if it could not be read.
    pub name: Option<ThreadName>,
    /// Scheduler state.
    pub state: Option<ProcessState>,
    /// Kernel function in which it sleeps.
    pub wait_channel: Option<KernelSymbol>,
    /// The system call that it is in; `null` while it runs in user space, or if it could not be read.
    pub system_call: Option<SystemCall>,
    /// Whether it held the interpreter lock (GIL) at that moment.
    pub holds_gil: bool,
}

impl StackThread {
    /// For example `agent-sync (4711)`, as far as both are known.
    pub fn title(&self) -> String {
        match (&self.name, self.tid) {
            (Some(name), Some(tid)) => format!("{name} ({tid})"),
            (Some(name), None) => name.clone().to_string(),
            (None, Some(tid)) => format!("thread {tid}"),
            (None, None) => "a thread without a name".to_owned(),
        }
    }
}

/// One Python function call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StackFrame {
    /// Name of the function; with its class from Python 3.11 on.
    pub function: PythonSymbol,
    /// Source file, as the interpreter names it.
    pub file: HostPath,
    /// Line in it; `null` if the line table could not be read.
    pub line: Option<u32>,
}

impl StackFrame {
    /// For example `server.py:176`: the file without its directory.
    pub fn place(&self) -> String {
        let file = self.file.rsplit('/').next().unwrap_or(&self.file);
        self.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
    }
}

/// A line at which threads wait for a lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockWait {
    /// Source file.
    pub file: HostPath,
    /// Line that takes the lock.
    pub line: u32,
    /// Function that contains this line.
    pub function: PythonSymbol,
    /// The lock as written in the source; `null` if the source could not be read.
    pub expression: Option<PythonSymbol>,
    /// If the expression is a parameter and the call was found: the argument of that call.
    pub given_as: Option<PythonSymbol>,
    /// Number of threads that wait there.
    pub waiters: u64,
    /// The threads.
    pub threads: Vec<StackThread>,
    /// The thread that is inside a block of that lock.
    pub held_by: Option<LockHolder>,
    /// Why no holder is reported.
    pub no_holder: Option<Note>,
    /// Whether it is a deadlock: the holder waits, perhaps through other threads, for a lock that cannot be
    /// released before its own.
    pub is_cycle: bool,
    /// Whether the holder is only probable: the same text can mean different locks (an attribute of different
    /// objects, a parameter).
    pub is_probable: bool,
    /// Whether the same threads waited there for the same holder at the second sample; `null` if there was
    /// none.
    pub is_still: Option<bool>,
}

impl LockWait {
    /// For example `server.py:176`.
    pub fn place(&self) -> String {
        StackFrame { file: self.file.clone(), line: Some(self.line), ..StackFrame::default() }.place()
    }

    /// The most specific name of the lock.
    pub fn name(&self) -> &str {
        self.given_as.as_deref().or(self.expression.as_deref()).unwrap_or("a lock")
    }
}

/// The thread that has a lock, determined by its position in the source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockHolder {
    /// Thread id of the kernel.
    pub tid: Option<u32>,
    /// Name in Python.
    pub name: Option<ThreadName>,
    /// The function of the frame inside the lock's block.
    pub function: PythonSymbol,
    /// The file of that frame.
    pub file: HostPath,
    /// The line of that frame, inside the block.
    pub line: u32,
    /// Role of the thread.
    pub role: StackRole,
    /// Its innermost frame.
    pub innermost: StackFrame,
    /// The lock that it waits for itself.
    pub waits_for: Option<PythonSymbol>,
}

impl LockHolder {
    /// For example `agent-sync (4711)`, as far as both are known.
    pub fn title(&self) -> String {
        StackThread { tid: self.tid, name: self.name.clone(), ..StackThread::default() }.title()
    }
}

/// Stacks from the memory of the interpreter, before facts of the kernel and the source are added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PythonSample {
    /// Version of the interpreter.
    pub interpreter: Version,
    /// Distinct stacks.
    pub stacks: Vec<PythonStack>,
    /// Threads that are in none of them.
    pub threads_omitted: u64,
    /// Whether every stack was read completely.
    pub is_complete: bool,
}

/// One stack, and the threads with this stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PythonStack {
    /// Innermost frame first.
    pub frames: Vec<StackFrame>,
    /// Outer frames that are not listed.
    pub frames_omitted: u64,
    /// The threads.
    pub threads: Vec<PythonThread>,
}

/// One thread as the interpreter describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PythonThread {
    /// Thread id of the kernel.
    pub tid: Option<u32>,
    /// Name.
    pub name: Option<ThreadName>,
    /// Whether it holds the interpreter lock (GIL).
    pub holds_gil: bool,
    /// Whether it seems to run: by its state in the kernel if available, else by its innermost frame.
    pub is_active: bool,
}
