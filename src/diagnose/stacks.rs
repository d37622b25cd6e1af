//! Python stacks: the role of each thread, the lock that it waits for, and the thread inside that lock's block.
//!
//! Stacks, thread states of the kernel and the source are joined here; nothing is read. A thread waits for a
//! lock if its innermost line takes one and the kernel reports a wait on a futex without a time limit
//! (futex(2)). A thread that only waits for the interpreter lock (GIL) does so with a limit of milliseconds.

mod findings;
mod locks;

pub use findings::judge;

use crate::model::{
    HostPath, LockWait, MAX_FRAMES, ProcessState, PythonSample, PythonThread, StackFrame, StackGroup, StackRole,
    StackThread, Stacks, SystemCall, ThreadSample,
};
use crate::parse::python_source::Source;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Voluntary context switches of each thread so far; `None` if they could not be read.
pub type Sleeps = HashMap<u32, Option<u64>>;

/// A source file, if it can be used.
#[derive(Clone, Debug)]
pub enum SourceText {
    /// The text that the process most likely read.
    Read(Source),
    /// Why it is not used.
    Unknown(String),
}

/// Files that are needed: those with a thread that may wait for a lock.
pub fn files_of_waiters(look: &PythonSample, kernel: &HashMap<u32, ThreadSample>) -> Vec<HostPath> {
    let mut files = Vec::new();
    for stack in &look.stacks {
        let waits = stack.threads.iter().any(|thread| may_wait(thread, kernel_of(thread, kernel)));
        let file = own_frame(&stack.frames).map(|(_, frame)| frame.file.clone());
        files.extend(file.filter(|file| waits && !files.contains(file)));
    }
    files
}

/// Joins one sample with the thread states of the kernel and the sources.
pub fn join(
    look: &PythonSample,
    kernel: &HashMap<u32, ThreadSample>,
    sources: &HashMap<HostPath, SourceText>,
) -> Stacks {
    // A thread waits for the interpreter lock only if another thread holds it.
    let is_gil_held = look.stacks.iter().flat_map(|stack| &stack.threads).any(|thread| thread.holds_gil);
    let threads: Vec<ThreadFacts<'_>> = look
        .stacks
        .iter()
        .flat_map(|stack| stack.threads.iter().map(move |thread| (stack, thread)))
        .map(|(stack, thread)| {
            ThreadFacts::new(&stack.frames, thread, kernel_of(thread, kernel), sources, is_gil_held)
        })
        .collect();
    let mut groups: Vec<StackGroup> = Vec::new();
    let mut at = 0;
    for stack in &look.stacks {
        let mut of_stack: BTreeMap<StackRole, Vec<StackThread>> = BTreeMap::new();
        for standing in threads.get(at..at + stack.threads.len()).unwrap_or_default() {
            of_stack.entry(standing.role).or_default().push(standing.reported());
        }
        at += stack.threads.len();
        for (role, mut threads) in of_stack {
            threads.sort_by_key(|thread| thread.tid);
            let frames: Vec<StackFrame> = stack.frames.iter().take(MAX_FRAMES).cloned().collect();
            let cut = u64::try_from(stack.frames.len() - frames.len()).unwrap_or(u64::MAX);
            groups.push(StackGroup {
                count: u64::try_from(threads.len()).unwrap_or(u64::MAX),
                role,
                threads,
                frames,
                frames_omitted: stack.frames_omitted.saturating_add(cut),
            });
        }
    }
    groups.sort_by_key(|group| {
        (group.role, std::cmp::Reverse(group.count), group.threads.first().and_then(|thread| thread.tid))
    });
    Stacks {
        interpreter: look.interpreter.clone(),
        groups,
        locks: locks::waited_for(&threads, sources),
        threads_omitted: look.threads_omitted,
        is_complete: look.is_complete,
        between_ms: None,
    }
}

/// Records for each lock whether the same threads waited there without a break until a later sample. Whenever a
/// lock is released, one of its waiters is woken, and if another thread is quicker the waiter sleeps again. So
/// a lock that busy threads share is recognised by the number of times that its waiters went to sleep.
pub fn compare(first: &mut Stacks, second: &Stacks, between_ms: u64, slept: (&Sleeps, &Sleeps)) {
    first.between_ms = Some(between_ms);
    let has_slept_on = |thread: &StackThread| {
        let of = |sleeps: &Sleeps| sleeps.get(&thread.tid?).copied().flatten();
        of(slept.0).is_some_and(|before| of(slept.1) == Some(before))
    };
    for lock in &mut first.locks {
        let again = second.locks.iter().find(|other| {
            (&other.file, other.line, &other.expression, &other.given_as)
                == (&lock.file, lock.line, &lock.expression, &lock.given_as)
        });
        let tids = |lock: &LockWait| lock.threads.iter().map(|thread| thread.tid).collect::<HashSet<_>>();
        let holder = |lock: &LockWait| lock.held_by.as_ref().map(|holder| holder.tid);
        let is_same = |again: &LockWait| tids(again).is_superset(&tids(lock)) && holder(again) == holder(lock);
        lock.is_still = Some(again.is_some_and(is_same) && lock.threads.iter().all(has_slept_on));
    }
}

fn kernel_of<'a>(thread: &PythonThread, kernel: &'a HashMap<u32, ThreadSample>) -> Option<&'a ThreadSample> {
    kernel.get(&thread.tid?)
}

/// Whether the state in the kernel allows that the thread waits for a lock.
fn may_wait(thread: &PythonThread, kernel: Option<&ThreadSample>) -> bool {
    if thread.holds_gil {
        return false;
    }
    match kernel {
        Some(ThreadSample { system_call: Some(call), .. }) => call.is_unlimited == Some(true),
        // Without the system call the wait channel shows that it is a futex, but not whether it has a time
        // limit.
        Some(look) => look.wait_channel.as_deref().is_some_and(|channel| channel.starts_with("futex")),
        None => !thread.is_active,
    }
}

/// Base name of a frame's file and the last part of its function's name.
fn named(frame: &StackFrame) -> (&str, &str) {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    (file, frame.function.rsplit('.').next().unwrap_or_default())
}

/// Whether a frame is in the standard library's module, not in a file of the same name elsewhere.
fn is_library(frame: &StackFrame, module: &str) -> bool {
    let rest = frame.file.strip_suffix(module).filter(|rest| rest.ends_with('/'));
    let directory = rest.map(|rest| rest.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
    directory.is_some_and(|directory| directory.starts_with("python3") || directory.starts_with("python2"))
}

/// The innermost frame of the program itself: `threading` waits on its behalf.
fn own_frame(frames: &[StackFrame]) -> Option<(usize, &StackFrame)> {
    frames.iter().enumerate().find(|(_, frame)| !is_library(frame, "threading.py"))
}

/// Whether it waits in `threading` for a condition, event, semaphore or the end of a thread; for a lock it does
/// not.
fn is_threading_wait(frames: &[StackFrame]) -> bool {
    let Some(first) = frames.first().filter(|frame| is_library(frame, "threading.py")) else { return false };
    !matches!(named(first).1, "__enter__" | "_acquire_restore")
}

/// The frame that called `Condition.wait`, which releases the lock during the wait, if the thread is in it.
fn condition_caller(frames: &[StackFrame]) -> Option<usize> {
    let (own, _) = own_frame(frames)?;
    let inside = frames.get(..own)?;
    let is_condition = |frame: &StackFrame| {
        matches!(frame.function.as_str(), "wait" | "wait_for" | "Condition.wait" | "Condition.wait_for")
    };
    // `Event.wait` calls it too, and does not release the locks of its caller.
    let depth = inside.iter().filter(|frame| named(frame).1 == "wait").count();
    (!inside.is_empty() && depth == 1 && inside.iter().all(is_condition)).then_some(own)
}

/// Whether the thread waits for work, by the frames of the standard library for such waits.
fn is_idle(frames: &[StackFrame]) -> bool {
    let Some(first) = frames.first() else { return true };
    let (own, frame) = own_frame(frames).unwrap_or((0, first));
    if is_library(first, "selectors.py") || (is_library(first, "socket.py") && named(first).1 == "accept") {
        return true;
    }
    if first.file.ends_with("/concurrent/futures/thread.py") && named(first).1 == "_worker" {
        return true;
    }
    // It waits for the next request of a kept-alive connection.
    if is_library(first, "socket.py") && named(first).1 == "readinto" {
        return frames
            .get(1)
            .is_some_and(|next| next.file.ends_with("/http/server.py") && named(next).1 == "handle_one_request");
    }
    // It waits for work from a queue.
    own > 0 && is_library(frame, "queue.py") && named(frame).1 == "get"
}

/// One thread with all its facts.
struct ThreadFacts<'a> {
    frames: &'a [StackFrame],
    thread: &'a PythonThread,
    kernel: Option<&'a ThreadSample>,
    role: StackRole,
    /// The frame with the line that takes a lock.
    taking: Option<usize>,
}

impl<'a> ThreadFacts<'a> {
    fn new(
        frames: &'a [StackFrame],
        thread: &'a PythonThread,
        kernel: Option<&'a ThreadSample>,
        sources: &HashMap<HostPath, SourceText>,
        is_gil_held: bool,
    ) -> Self {
        let taking = own_frame(frames).map(|(at, _)| at).filter(|at| {
            may_wait(thread, kernel) && !is_threading_wait(frames) && is_taking(&frames[*at], sources)
        });
        let role =
            if taking.is_some() { StackRole::WaitsForLock } else { role(frames, thread, kernel, is_gil_held) };
        Self { frames, thread, kernel, role, taking }
    }

    fn reported(&self) -> StackThread {
        StackThread {
            tid: self.thread.tid,
            name: self.thread.name.clone(),
            state: self.kernel.map(|look| look.state.clone()),
            wait_channel: self.kernel.and_then(|look| look.wait_channel.clone()),
            system_call: self.kernel.and_then(|look| look.system_call.clone()),
            holds_gil: self.thread.holds_gil,
        }
    }
}

fn read<'a>(frame: &StackFrame, sources: &'a HashMap<HostPath, SourceText>) -> Option<(&'a Source, u32)> {
    match (sources.get(&frame.file)?, frame.line) {
        (SourceText::Read(source), Some(line)) if fits(source, line, frame) => Some((source, line)),
        _ => None,
    }
}

/// Whether the source has that function at that line: a file that changed after it was loaded often does not.
fn fits(source: &Source, line: u32, frame: &StackFrame) -> bool {
    let name = named(frame).1;
    match source.function(line) {
        Some(function) => function.name == name || name.starts_with('<'),
        // A module, or the body of a class, which has the name of the class.
        None => name.starts_with('<') || frame.function == name,
    }
}

fn is_taking(frame: &StackFrame, sources: &HashMap<HostPath, SourceText>) -> bool {
    read(frame, sources).is_some_and(|(source, line)| source.taking(line).is_some())
}

/// Role of a thread that takes no lock.
fn role(
    frames: &[StackFrame],
    thread: &PythonThread,
    kernel: Option<&ThreadSample>,
    is_gil_held: bool,
) -> StackRole {
    let Some(look) = kernel else {
        return match (thread.is_active || thread.holds_gil, is_idle(frames)) {
            (true, _) => StackRole::Running,
            (false, true) => StackRole::Idle,
            (false, false) => StackRole::Waits,
        };
    };
    if look.state == ProcessState::Running || thread.holds_gil {
        return StackRole::Running;
    }
    let has_limit = look.system_call.as_ref().is_some_and(|call| call.is_unlimited == Some(false));
    if has_limit && is_gil_held && !is_threading_wait(frames) {
        return StackRole::Running;
    }
    if is_idle(frames) {
        return StackRole::Idle;
    }
    let of_futex = |channel: Option<&str>| channel.is_some_and(|channel| channel.starts_with("futex"));
    match &look.system_call {
        Some(SystemCall { is_unlimited: Some(_), .. }) => StackRole::Waits,
        // Before Python 3.11 `time.sleep` is a select(2) without descriptors.
        Some(call) if call.name.contains("nanosleep") || matches!(call.name.as_str(), "select" | "pselect6") => {
            StackRole::Waits
        }
        Some(_) => StackRole::InCall,
        None if is_threading_wait(frames) || of_futex(look.wait_channel.as_deref()) => StackRole::Waits,
        None if look.wait_channel.as_deref().is_some_and(|channel| channel.contains("nanosleep")) => {
            StackRole::Waits
        }
        None if look.wait_channel.is_some() => StackRole::InCall,
        None => {
            if thread.is_active {
                StackRole::Running
            } else {
                StackRole::Waits
            }
        }
    }
}

#[cfg(test)]
mod tests;
