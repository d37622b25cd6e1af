//! What the threads of a Python interpreter are doing, and the locks that they wait for.

use super::{ProcessState, SystemCall};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Threads whose stacks are kept.
pub const MAX_THREADS: usize = 512;
/// Frames of a stack that are reported, innermost first.
pub const MAX_FRAMES: usize = 64;

/// The Python stacks of one process, read from its memory while it went on running.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Stacks {
    /// Version of the interpreter, for example `3.12.1`.
    pub interpreter: String,
    /// Threads with the same stack and role together: those that wait for a lock first, idle ones last.
    pub groups: Vec<StackGroup>,
    /// Lines at which threads wait for a lock, most waiters first.
    pub locks: Vec<LockWait>,
    /// Threads that are in no group.
    pub threads_omitted: u64,
    /// Whether every stack could be read whole; a process that goes on running changes some while they are read.
    pub is_complete: bool,
    /// Time between the two looks, in milliseconds; `null` where nobody waited for a lock, or no time was left for a
    /// second look.
    pub between_ms: Option<u64>,
}

impl Stacks {
    /// The thread that holds the interpreter's own lock, with its stack.
    pub fn gil_holder(&self) -> Option<(&StackGroup, &StackThread)> {
        let of = |group: &'_ StackGroup| group.threads.iter().position(|thread| thread.holds_gil);
        let (group, at) = self.groups.iter().find_map(|group| Some((group, of(group)?)))?;
        Some((group, group.threads.get(at)?))
    }
}

/// What a thread does, as far as its stack and the kernel tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StackRole {
    /// At a line that takes a lock, and the kernel says that it waits without a time limit.
    WaitsForLock,
    /// It runs, or waits for its turn to run.
    Running,
    /// In a function outside Python that waits for something else: input, output, a database.
    InCall,
    /// It sleeps for a time, or waits for a word of another thread (condition, event, queue, end of a thread).
    #[default]
    Waits,
    /// It waits for work: a worker of a pool, a selector, a connection to be accepted, the next request.
    Idle,
}

impl StackRole {
    /// The role as a person reads it.
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

/// Threads that stand at the same place and came there the same way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StackGroup {
    /// How many they are.
    pub count: u64,
    /// What they do.
    pub role: StackRole,
    /// Which they are, by id.
    pub threads: Vec<StackThread>,
    /// Their stack, innermost frame first.
    pub frames: Vec<StackFrame>,
    /// Outer frames that are not listed.
    pub frames_omitted: u64,
}

/// One thread of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StackThread {
    /// The kernel's id of it; `null` where the interpreter does not say which of the kernel's threads it is.
    pub tid: Option<u32>,
    /// Its name in Python; `null` where it could not be read.
    pub name: Option<String>,
    /// Scheduler state.
    pub state: Option<ProcessState>,
    /// Function of the kernel in which it sleeps.
    pub wait_channel: Option<String>,
    /// The system call that it is in; `null` while it runs in user space, or where it could not be read.
    pub system_call: Option<SystemCall>,
    /// Whether it had the interpreter's own lock at that moment.
    pub holds_gil: bool,
}

impl StackThread {
    /// `agent-sync (4711)`, as far as both are known.
    pub fn title(&self) -> String {
        match (&self.name, self.tid) {
            (Some(name), Some(tid)) => format!("{name} ({tid})"),
            (Some(name), None) => name.clone(),
            (None, Some(tid)) => format!("thread {tid}"),
            (None, None) => "a thread without a name".to_owned(),
        }
    }
}

/// One Python function call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct StackFrame {
    /// Name of the function; with its class from Python 3.11 on.
    pub function: String,
    /// Source file, as the interpreter has it.
    pub file: String,
    /// Line in it; `null` where the table of lines could not be read.
    pub line: Option<u32>,
}

impl StackFrame {
    /// `server.py:176`: the file without its directory.
    pub fn place(&self) -> String {
        let file = self.file.rsplit('/').next().unwrap_or(&self.file);
        self.line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
    }
}

/// A line at which threads wait for a lock.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockWait {
    /// Source file.
    pub file: String,
    /// Line that takes the lock.
    pub line: u32,
    /// Function in which that line is.
    pub function: String,
    /// The lock as it stands in the source; `null` where the source could not be read.
    pub expression: Option<String>,
    /// What the expression stands for, where it is a parameter and the call that gives it was found: the argument there.
    pub given_as: Option<String>,
    /// How many threads wait there.
    pub waiters: u64,
    /// Who they are.
    pub threads: Vec<StackThread>,
    /// The thread that stands inside a block of that lock.
    pub held_by: Option<LockHolder>,
    /// Why no holder is named.
    pub no_holder: Option<String>,
    /// The holder waits, perhaps through others, for a lock that it keeps others from giving back: it never ends.
    pub is_cycle: bool,
    /// The same text can mean different locks (an attribute of different objects, a parameter): probably this one.
    pub is_probable: bool,
    /// Whether the same threads waited there through to a second look, for the same holder; `null` where there was none.
    pub is_still: Option<bool>,
}

impl LockWait {
    /// `server.py:176`.
    pub fn place(&self) -> String {
        StackFrame { file: self.file.clone(), line: Some(self.line), ..StackFrame::default() }.place()
    }

    /// The lock by the name that tells most.
    pub fn name(&self) -> &str {
        self.given_as.as_deref().or(self.expression.as_deref()).unwrap_or("a lock")
    }
}

/// The thread that has a lock, seen by where it stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LockHolder {
    /// The kernel's id of it.
    pub tid: Option<u32>,
    /// Its name in Python.
    pub name: Option<String>,
    /// The function whose frame stands inside the lock's block.
    pub function: String,
    /// The file of that frame.
    pub file: String,
    /// The line inside the block at which that frame stands.
    pub line: u32,
    /// What the thread does there.
    pub role: StackRole,
    /// Its innermost frame.
    pub innermost: StackFrame,
    /// The lock that it waits for itself.
    pub waits_for: Option<String>,
}

impl LockHolder {
    /// `agent-sync (4711)`, as far as both are known.
    pub fn title(&self) -> String {
        StackThread { tid: self.tid, name: self.name.clone(), ..StackThread::default() }.title()
    }
}

/// Stacks as the interpreter's memory has them, before the kernel's side and the source are joined to them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PythonSample {
    /// Version of the interpreter.
    pub interpreter: String,
    /// Each different stack once.
    pub stacks: Vec<PythonStack>,
    /// Threads that are in none of them.
    pub threads_omitted: u64,
    /// Whether every stack could be read whole.
    pub is_complete: bool,
}

/// One stack, and the threads that have it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PythonStack {
    /// Innermost frame first.
    pub frames: Vec<StackFrame>,
    /// Outer frames that are not listed.
    pub frames_omitted: u64,
    /// Who has it.
    pub threads: Vec<PythonThread>,
}

/// One thread as the interpreter knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PythonThread {
    /// The kernel's id of it.
    pub tid: Option<u32>,
    /// Its name.
    pub name: Option<String>,
    /// Whether it has the interpreter's own lock.
    pub holds_gil: bool,
    /// Whether it seems to run: the kernel's word where it can be had, else by what it is in.
    pub is_active: bool,
}
