//! Python stacks: what each thread does, which lock it waits for, and who stands inside that lock's block.
//!
//! Stacks, the kernel's word of each thread and the source are joined here; nothing is read. A thread waits for a lock when
//! its innermost line takes one and the kernel says that it waits on a futex without a time limit (futex(2)): a thread
//! that only waits for its turn in the interpreter does so with a limit of milliseconds.

use super::verdict::finding;
use crate::model::{
    Evidence, Finding, LockHolder, LockWait, MOST_FRAMES, NextStep, ProcessState, PythonLook, PythonThread, Server,
    Severity, StackFrame, StackGroup, StackRole, StackThread, Stacks, SystemCall, ThreadLook, id,
};
use crate::parse::python_source::{Function, Source, is_dotted};
use crate::sort;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Where the evidence comes from.
const SOURCE: &str = "Python stacks, source lines";
/// How far an argument is followed through the calls that hand it on.
const MOST_CALLS: usize = 6;

/// How often each thread went to sleep by itself so far; `None` where that could not be read.
pub type Sleeps = HashMap<u32, Option<u64>>;

/// What is known of a source file.
#[derive(Clone, Debug)]
pub enum SourceText {
    /// As it was when the process read it, as far as anybody can tell.
    Read(Source),
    /// Why it is not used.
    Unknown(String),
}

/// Files whose text is needed: those in which a thread waits that may wait for a lock.
pub fn files_of_waiters(look: &PythonLook, kernel: &HashMap<u32, ThreadLook>) -> Vec<String> {
    let mut files = Vec::new();
    for stack in &look.stacks {
        let waits = stack.threads.iter().any(|thread| may_wait(thread, kernel_of(thread, kernel)));
        let file = own_frame(&stack.frames).map(|(_, frame)| frame.file.clone());
        files.extend(file.filter(|file| waits && !files.contains(file)));
    }
    files
}

/// Joins one look with the kernel's word and the sources.
pub fn join(look: &PythonLook, kernel: &HashMap<u32, ThreadLook>, sources: &HashMap<String, SourceText>) -> Stacks {
    // Somebody waits for the interpreter only where somebody has it.
    let is_gil_held = look.stacks.iter().flat_map(|stack| &stack.threads).any(|thread| thread.holds_gil);
    let threads: Vec<Standing<'_>> = look
        .stacks
        .iter()
        .flat_map(|stack| stack.threads.iter().map(move |thread| (stack, thread)))
        .map(|(stack, thread)| {
            Standing::new(&stack.frames, thread, kernel_of(thread, kernel), sources, is_gil_held)
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
            sort::by_key(&mut threads, |thread| thread.tid);
            let frames: Vec<StackFrame> = stack.frames.iter().take(MOST_FRAMES).cloned().collect();
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
    sort::by_key(&mut groups, |group| {
        (group.role, std::cmp::Reverse(group.count), group.threads.first().and_then(|thread| thread.tid))
    });
    Stacks {
        interpreter: look.interpreter.clone(),
        groups,
        locks: locks(&threads, sources),
        threads_omitted: look.threads_omitted,
        is_complete: look.is_complete,
        between_ms: None,
    }
}

/// Says of each lock whether the same threads waited there in a later look, without a moment's break: whenever a lock is
/// given back one of those that wait for it is woken, and if another thread is quicker it goes to sleep anew. So a lock that
/// goes round among busy threads is told by the number of times that its waiters went to sleep.
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

fn kernel_of<'a>(thread: &PythonThread, kernel: &'a HashMap<u32, ThreadLook>) -> Option<&'a ThreadLook> {
    kernel.get(&thread.tid?)
}

/// Whether the kernel's word allows that the thread waits for a lock.
fn may_wait(thread: &PythonThread, kernel: Option<&ThreadLook>) -> bool {
    if thread.holds_gil {
        return false;
    }
    match kernel {
        Some(ThreadLook { system_call: Some(call), .. }) => call.is_unlimited == Some(true),
        // Without its system call the wait channel tells that it is a futex, and not whether that has a limit.
        Some(look) => look.wait_channel.as_deref().is_some_and(|channel| channel.starts_with("futex")),
        None => !thread.is_active,
    }
}

/// Base name of a frame's file and the last part of its function's name.
fn named(frame: &StackFrame) -> (&str, &str) {
    let file = frame.file.rsplit('/').next().unwrap_or_default();
    (file, frame.function.rsplit('.').next().unwrap_or_default())
}

/// Whether a frame is of the standard library's module, not of a file of the same name elsewhere.
fn is_library(frame: &StackFrame, module: &str) -> bool {
    let rest = frame.file.strip_suffix(module).filter(|rest| rest.ends_with('/'));
    let directory = rest.map(|rest| rest.trim_end_matches('/').rsplit('/').next().unwrap_or_default());
    directory.is_some_and(|directory| directory.starts_with("python3") || directory.starts_with("python2"))
}

/// The innermost frame of the program itself: `threading` waits on its behalf.
fn own_frame(frames: &[StackFrame]) -> Option<(usize, &StackFrame)> {
    frames.iter().enumerate().find(|(_, frame)| !is_library(frame, "threading.py"))
}

/// A condition, event, semaphore or the end of a thread is waited for in `threading`; its own lock is not.
fn is_threading_wait(frames: &[StackFrame]) -> bool {
    let Some(first) = frames.first().filter(|frame| is_library(frame, "threading.py")) else { return false };
    !matches!(named(first).1, "__enter__" | "_acquire_restore")
}

/// Whether the thread waits in `Condition.wait` itself, which gives the lock back meanwhile, and from which frame.
fn condition_caller(frames: &[StackFrame]) -> Option<usize> {
    let (own, _) = own_frame(frames)?;
    let inside = frames.get(..own)?;
    let is_condition = |frame: &StackFrame| {
        matches!(frame.function.as_str(), "wait" | "wait_for" | "Condition.wait" | "Condition.wait_for")
    };
    // `Event.wait` calls it too, and keeps what its caller holds.
    let depth = inside.iter().filter(|frame| named(frame).1 == "wait").count();
    (!inside.is_empty() && depth == 1 && inside.iter().all(is_condition)).then_some(own)
}

/// Waiting for work, by the frames that wait so in the standard library.
fn is_idle(frames: &[StackFrame]) -> bool {
    let Some(first) = frames.first() else { return true };
    let (own, frame) = own_frame(frames).unwrap_or((0, first));
    if is_library(first, "selectors.py") || (is_library(first, "socket.py") && named(first).1 == "accept") {
        return true;
    }
    if first.file.ends_with("/concurrent/futures/thread.py") && named(first).1 == "_worker" {
        return true;
    }
    // The next request of a connection that is kept open.
    if is_library(first, "socket.py") && named(first).1 == "readinto" {
        return frames
            .get(1)
            .is_some_and(|next| next.file.ends_with("/http/server.py") && named(next).1 == "handle_one_request");
    }
    // A queue is waited at for work, by whatever takes from it.
    own > 0 && is_library(frame, "queue.py") && named(frame).1 == "get"
}

/// One thread with all that is known of it.
struct Standing<'a> {
    frames: &'a [StackFrame],
    thread: &'a PythonThread,
    kernel: Option<&'a ThreadLook>,
    role: StackRole,
    /// The frame at whose line a lock is taken.
    taking: Option<usize>,
}

impl<'a> Standing<'a> {
    fn new(
        frames: &'a [StackFrame],
        thread: &'a PythonThread,
        kernel: Option<&'a ThreadLook>,
        sources: &HashMap<String, SourceText>,
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

fn read<'a>(frame: &StackFrame, sources: &'a HashMap<String, SourceText>) -> Option<(&'a Source, u32)> {
    match (sources.get(&frame.file)?, frame.line) {
        (SourceText::Read(source), Some(line)) if fits(source, line, frame) => Some((source, line)),
        _ => None,
    }
}

/// Whether the source has that function at that line: a file that was changed since it was loaded often has not.
fn fits(source: &Source, line: u32, frame: &StackFrame) -> bool {
    let name = named(frame).1;
    match source.function(line) {
        Some(function) => function.name == name || name.starts_with('<'),
        // A module, or the body of a class, which has the class's name.
        None => name.starts_with('<') || frame.function == name,
    }
}

fn is_taking(frame: &StackFrame, sources: &HashMap<String, SourceText>) -> bool {
    read(frame, sources).is_some_and(|(source, line)| source.taking(line).is_some())
}

/// What a thread does that takes no lock.
fn role(frames: &[StackFrame], thread: &PythonThread, kernel: Option<&ThreadLook>, is_gil_held: bool) -> StackRole {
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
        // Before Python 3.11 `time.sleep` is a select(2) on nothing.
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

/// A lock by what its text means where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Meaning {
    /// Whose name it is: a function or class of the file for what is its own, else empty.
    scope: String,
    text: String,
}

/// What an expression can mean; several where more than one call gives it.
#[derive(Clone, Debug, Default)]
struct Meanings {
    all: Vec<Meaning>,
    /// The same text is the same object wherever it stands.
    is_certain: bool,
    /// It was a parameter or local name, and stands for this.
    given_as: Option<String>,
}

/// Follows an expression at one frame of a thread to what it means.
fn meanings(
    standing: &Standing<'_>,
    at: usize,
    text: &str,
    sources: &HashMap<String, SourceText>,
    depth: usize,
) -> Meanings {
    let Some(frame) = standing.frames.get(at) else { return Meanings::default() };
    let Some((source, line)) = read(frame, sources) else { return Meanings::default() };
    if is_another_each_time(text) {
        return Meanings::default();
    }
    let function = source.function(line);
    let first = text.split(['.', '[', '(']).next().unwrap_or_default();
    let Some(function) = function else {
        // A module's own name.
        let is_certain = is_dotted(text);
        return Meanings {
            all: vec![Meaning { scope: String::new(), text: text.to_owned() }],
            is_certain,
            given_as: None,
        };
    };
    let own = |scope: String| Meanings {
        all: vec![Meaning { scope, text: text.to_owned() }],
        is_certain: false,
        given_as: None,
    };
    if matches!(first, "self" | "cls") && function.class.is_some() {
        return own(function.class.clone().unwrap_or_default());
    }
    let local = format!("{}:{}", function.name, function.line);
    if function.parameters.iter().any(|parameter| parameter == first) {
        if first != text || depth == 0 || source.assigned(line, first).is_some() {
            return own(local);
        }
        let found = given(standing, at, &function, text, source, sources, depth);
        return if found.all.is_empty() { own(local) } else { found };
    }
    match source.assigned(line, first) {
        // A local name for something that has another.
        Some(Some(value)) if first == text && value != text && depth > 0 => {
            let found = meanings(standing, at, &value, sources, depth - 1);
            Meanings { given_as: found.given_as.or(Some(value)), is_certain: false, ..found }
        }
        Some(_) => own(local),
        None => Meanings {
            all: vec![Meaning { scope: String::new(), text: text.to_owned() }],
            is_certain: is_dotted(text),
            given_as: None,
        },
    }
}

/// A call, or an index that is no literal: the same text gives another object each time.
fn is_another_each_time(text: &str) -> bool {
    let is_literal =
        |index: &str| index.starts_with(['"', '\'']) || index.starts_with(|first: char| first.is_ascii_digit());
    text.contains('(') || text.split('[').skip(1).any(|index| !is_literal(index))
}

/// What a parameter was given: by the frame that made the call, else wherever the function is handed on.
fn given(
    standing: &Standing<'_>,
    at: usize,
    function: &Function,
    parameter: &str,
    source: &Source,
    sources: &HashMap<String, SourceText>,
    depth: usize,
) -> Meanings {
    if let Some((caller, line)) = standing.frames.get(at + 1).and_then(|caller| read(caller, sources))
        && let Some(argument) = caller.argument(line, function, parameter)
    {
        let found = meanings(standing, at + 1, &argument, sources, depth - 1);
        return Meanings { given_as: found.given_as.or(Some(argument)), ..found };
    }
    let all = source.given(function, parameter);
    // The name of the thread tells which of several calls started it.
    let by_name: Vec<_> =
        all.iter().filter(|given| given.name.is_some() && given.name == standing.thread.name).collect();
    let chosen: Vec<_> = if by_name.is_empty() { all.iter().collect() } else { by_name };
    let mut meanings: Vec<Meaning> = Vec::new();
    for given in &chosen {
        // Only a name of the module means the same here as there.
        let first = given.argument.split('.').next().unwrap_or_default();
        let around = source.function(given.line);
        let is_own = around.as_ref().is_some_and(|around| {
            around.parameters.iter().any(|name| name == first) || source.assigned(given.line, first).is_some()
        });
        if !is_dotted(&given.argument) || is_own {
            continue;
        }
        let scope = if first == "self" {
            around.and_then(|around| around.class).unwrap_or_default()
        } else {
            String::new()
        };
        let meaning = Meaning { scope, text: given.argument.clone() };
        if !meanings.contains(&meaning) {
            meanings.push(meaning);
        }
    }
    let given_as = match meanings.as_slice() {
        [only] => Some(only.text.clone()),
        _ => None,
    };
    Meanings { all: meanings, is_certain: false, given_as }
}

/// A block in which a thread stands.
struct Held {
    thread: usize,
    frame: usize,
    meanings: Meanings,
}

/// Every lock that is waited for, and who stands inside its block.
fn locks(threads: &[Standing<'_>], sources: &HashMap<String, SourceText>) -> Vec<LockWait> {
    let held: Vec<Held> =
        threads.iter().enumerate().flat_map(|(index, thread)| blocks(index, thread, sources)).collect();
    let mut found: Vec<(LockWait, Vec<usize>, Meanings)> = Vec::new();
    for (index, standing) in threads.iter().enumerate() {
        let Some(at) = standing.taking else { continue };
        let Some(frame) = standing.frames.get(at) else { continue };
        let Some((source, line)) = read(frame, sources) else { continue };
        let Some(taking) = source.taking(line) else { continue };
        let expression = taking.expressions.iter().map(|found| found.text.as_str()).collect::<Vec<_>>().join(", ");
        let mut meanings = Meanings { is_certain: taking.expressions.len() == 1, ..Meanings::default() };
        for each in &taking.expressions {
            let of = self::meanings(standing, at, &each.text, sources, MOST_CALLS);
            meanings.is_certain &= of.is_certain;
            meanings.all.extend(of.all);
            meanings.given_as = of.given_as;
        }
        if taking.expressions.len() > 1 {
            meanings.given_as = None;
        }
        let known = found.iter_mut().find(|(lock, _, known)| {
            (lock.file.as_str(), lock.line, lock.expression.as_deref()) == (&frame.file, line, Some(&expression))
                && known.all == meanings.all
        });
        match known {
            Some((lock, waiting, _)) => {
                lock.threads.push(standing.reported());
                waiting.push(index);
            }
            None => {
                let lock = LockWait {
                    file: frame.file.clone(),
                    line,
                    function: frame.function.clone(),
                    expression: Some(expression),
                    given_as: meanings.given_as.clone(),
                    threads: vec![standing.reported()],
                    ..LockWait::default()
                };
                found.push((lock, vec![index], meanings));
            }
        }
    }
    let holders: Vec<Result<&Held, String>> =
        found.iter().map(|(_, waiting, meanings)| holder(waiting, meanings, &held)).collect();
    // Who waits for whom; where that comes back to the lock, it never ends.
    let waits_for: HashMap<usize, usize> = found
        .iter()
        .zip(&holders)
        .filter_map(|((_, waiting, _), holder)| Some((waiting, holder.as_ref().ok()?.thread)))
        .flat_map(|(waiting, holder)| waiting.iter().map(move |waiter| (*waiter, holder)))
        .collect();
    let names: HashMap<usize, String> = found
        .iter()
        .flat_map(|(lock, waiting, _)| {
            waiting.iter().map(move |waiter| (*waiter, format!("{} at {}", lock.name(), lock.place())))
        })
        .collect();
    let mut locks: Vec<LockWait> = found
        .iter()
        .zip(holders)
        .map(|((lock, _, meanings), holder)| {
            let mut lock = lock.clone();
            sort::by_key(&mut lock.threads, |thread| thread.tid);
            lock.waiters = u64::try_from(lock.threads.len()).unwrap_or(u64::MAX);
            match holder {
                Ok(held) => {
                    lock.is_probable = !(meanings.is_certain && held.meanings.is_certain);
                    lock.is_cycle = comes_back(held.thread, &waits_for);
                    lock.held_by = threads.get(held.thread).and_then(|thread| described(thread, held, &names));
                }
                Err(why) => {
                    lock.is_probable = !meanings.is_certain;
                    lock.no_holder = Some(why);
                }
            }
            lock
        })
        .collect();
    sort::by(&mut locks, |a, b| b.waiters.cmp(&a.waiters).then(a.file.cmp(&b.file)).then(a.line.cmp(&b.line)));
    locks
}

/// The blocks in which a thread stands, in all its frames.
fn blocks(index: usize, standing: &Standing<'_>, sources: &HashMap<String, SourceText>) -> Vec<Held> {
    let released_by = condition_caller(standing.frames);
    let mut found = Vec::new();
    for (at, frame) in standing.frames.iter().enumerate() {
        // A lambda or generator runs when it is called, wherever it is written.
        let name = named(frame).1;
        if name.starts_with('<') && name != "<module>" {
            continue;
        }
        let Some((source, line)) = read(frame, sources) else { continue };
        // `condition.wait()` has given its lock back.
        if released_by == Some(at) && source.waits_for_condition(line) {
            continue;
        }
        let before = source.taking(line).map(|taking| taking.before).unwrap_or_default();
        for expression in before.into_iter().chain(source.inside(line)) {
            let meanings = meanings(standing, at, &expression.text, sources, MOST_CALLS);
            found.push(Held { thread: index, frame: at, meanings });
        }
    }
    found
}

/// The one thread that stands inside a block of that lock.
fn holder<'a>(waiting: &[usize], meanings: &Meanings, held: &'a [Held]) -> Result<&'a Held, String> {
    if meanings.all.is_empty() {
        return Err("its expression can give another lock each time".to_owned());
    }
    let mut candidates: Vec<&Held> = Vec::new();
    for each in held {
        let is_same = each.meanings.all.iter().any(|meaning| meanings.all.contains(meaning));
        if is_same && candidates.iter().all(|known| known.thread != each.thread) {
            candidates.push(each);
        }
    }
    let others: Vec<&Held> = candidates.iter().copied().filter(|held| !waiting.contains(&held.thread)).collect();
    match (others.as_slice(), candidates.as_slice()) {
        ([only], _) => Ok(only),
        // Only one that waits for it: a lock that is taken twice by one thread.
        ([], [only]) if meanings.is_certain && only.meanings.is_certain => Ok(only),
        ([], [_]) => {
            Err("only a thread that waits stands inside a block of that name: it took the lock twice, or that is \
                          another object's"
                .to_owned())
        }
        ([], []) => Err("no thread stands inside a block of that lock".to_owned()),
        (several, all) => {
            let count = several.len().max(all.len());
            Err(format!("{count} threads stand inside blocks of a lock of that name; it can be any of them"))
        }
    }
}

/// Whether a thread waits, through others, for itself.
fn comes_back(start: usize, waits_for: &HashMap<usize, usize>) -> bool {
    let mut seen = HashSet::new();
    let mut at = start;
    while let Some(next) = waits_for.get(&at).copied() {
        if next == start {
            return true;
        }
        if !seen.insert(next) {
            return false;
        }
        at = next;
    }
    false
}

fn described(standing: &Standing<'_>, held: &Held, names: &HashMap<usize, String>) -> Option<LockHolder> {
    let frame = standing.frames.get(held.frame)?;
    Some(LockHolder {
        tid: standing.thread.tid,
        name: standing.thread.name.clone(),
        function: frame.function.clone(),
        file: frame.file.clone(),
        line: frame.line?,
        role: standing.role,
        innermost: standing.frames.first()?.clone(),
        waits_for: names.get(&held.thread).cloned(),
    })
}

/// What the stacks prove of locks: for findings about requests that wait.
pub fn lock_evidence(stacks: &Stacks) -> Vec<Evidence> {
    stacks.locks.iter().flat_map(of_lock).collect()
}

fn of_lock(lock: &LockWait) -> Vec<Evidence> {
    let looks = if lock.is_still == Some(true) { ", at both looks" } else { "" };
    let mut evidence = vec![Evidence::new(
        format!("threads that wait at {} for {}{looks}", lock.place(), lock.name()),
        lock.waiters,
        format!("Python stacks, {}:{}", lock.file, lock.line),
    )];
    if let Some(holder) = &lock.held_by {
        let probably = if lock.is_probable { "probably " } else { "" };
        evidence.push(Evidence::new(format!("{} is {probably}held by", lock.name()), held_in(holder), SOURCE));
        if lock.is_cycle {
            let what = "the holder waits, through others, for itself";
            evidence.push(Evidence::new(format!("cycle at {}", lock.place()), what, SOURCE));
        }
    }
    evidence
}

/// `thread agent-sync (4711), in wait_for_the_agent at server.py:233`.
fn held_in(holder: &LockHolder) -> String {
    let mut text =
        format!("thread {}, in {} at {}", holder.title(), holder.innermost.function, holder.innermost.place());
    match &holder.waits_for {
        Some(other) => text.push_str(&format!(", which waits for {other}")),
        None => text.push_str(&format!(", which {}", doing(holder.role))),
    }
    text
}

/// What a holder does, after "which".
pub fn doing(role: StackRole) -> &'static str {
    match role {
        StackRole::WaitsForLock => "waits for another lock",
        StackRole::Running => "runs",
        StackRole::InCall => "is in a call",
        StackRole::Waits => "sleeps or waits",
        StackRole::Idle => "is idle",
    }
}

/// What the stacks prove of the interpreter's own lock: who has it, and where.
pub fn gil_evidence(stacks: &Stacks) -> Vec<Evidence> {
    let Some((group, thread)) = stacks.gil_holder() else { return Vec::new() };
    let mut place = group
        .frames
        .first()
        .map_or_else(|| "outside Python".to_owned(), |frame| format!("in {} at {}", frame.function, frame.place()));
    if let Some(frame) = called_by(&group.frames) {
        place.push_str(&format!(", called in {} at {}", frame.function, frame.place()));
    }
    vec![Evidence::new(
        "the interpreter's lock is held by",
        format!("thread {}, {place}", thread.title()),
        "Python stacks",
    )]
}

/// The innermost frame of the program itself, where the standard library or a package stands inside it.
pub fn called_by(frames: &[StackFrame]) -> Option<&StackFrame> {
    let is_package = |frame: &StackFrame| {
        ["/site-packages/", "/dist-packages/", "/lib/python3"].iter().any(|part| frame.file.contains(part))
            || frame.file.starts_with('<')
    };
    let at = frames.iter().position(|frame| !is_package(frame)).filter(|at| *at > 0)?;
    frames.get(at)
}

/// Hands the evidence to the findings that it belongs to.
pub fn attach(stacks: &Stacks, findings: &mut [Finding]) {
    const OF_LOCKS: &[&str] = &[
        id::HANDLERS_STUCK,
        id::ACCEPT_STALLED,
        id::HTTP_NO_ANSWER,
        id::ROUTE_SLOW,
        id::WORKERS_EXHAUSTED,
        id::BACKLOG_FULL,
    ];
    for finding in findings {
        if OF_LOCKS.contains(&finding.id.as_str()) {
            finding.evidence.extend(lock_evidence(stacks));
        }
        if finding.id == id::GIL_HELD {
            finding.evidence.extend(gil_evidence(stacks));
        }
    }
}

/// Threads that wait for a lock that another keeps: the same ones at the same line at both looks. One finding for each
/// holder, and one for those that wait for each other.
pub fn judge(server: &Server, stacks: &Stacks) -> Vec<Finding> {
    let is_stuck = |lock: &&LockWait| lock.is_still == Some(true) && lock.held_by.is_some();
    let mut by_holder: Vec<Vec<&LockWait>> = Vec::new();
    let mut stuck: Vec<&LockWait> = stacks.locks.iter().filter(is_stuck).collect();
    sort::by_key(&mut stuck, |lock| (std::cmp::Reverse(lock.is_cycle), std::cmp::Reverse(lock.waiters)));
    let holder = |lock: &LockWait| lock.held_by.as_ref().map(|holder| (holder.tid, holder.name.clone()));
    for lock in stuck {
        let is_same = |other: &LockWait| {
            (lock.is_cycle && other.is_cycle) || (!other.is_cycle && holder(lock) == holder(other))
        };
        match by_holder.iter_mut().find(|known| known.first().is_some_and(|first| is_same(first))) {
            Some(known) => known.push(lock),
            None => by_holder.push(vec![lock]),
        }
    }
    by_holder.iter().filter_map(|locks| one_finding(server, stacks, locks)).collect()
}

fn one_finding(server: &Server, stacks: &Stacks, locks: &[&LockWait]) -> Option<Finding> {
    let lock = *locks.first()?;
    let holder = lock.held_by.as_ref()?;
    let threads =
        if lock.waiters == 1 { "1 thread waits".to_owned() } else { format!("{} threads wait", lock.waiters) };
    let probably = if lock.is_probable { "probably " } else { "" };
    let title = format!("{threads} at {} for {}, {probably}held by {}", lock.place(), lock.name(), holder.title());
    let title = match &holder.waits_for {
        Some(other) if lock.is_cycle => format!("{title}, which waits for {other}: a cycle"),
        _ => format!("{title}, in {} at {}", holder.innermost.function, holder.innermost.place()),
    };
    let mut evidence: Vec<Evidence> = locks.iter().flat_map(|lock| of_lock(lock)).collect();
    let between = stacks.between_ms.unwrap_or(0);
    evidence.push(Evidence::new("time between the two looks in milliseconds", between, SOURCE));
    let pid = super::selector(server);
    let next = vec![
        NextStep::run("keep the stacks", format!("hermes-doctor stacks{pid} --json > hermes-stacks.json")),
        NextStep::say(if lock.is_cycle {
            "It does not end by itself: restart the server, and take these locks in one order everywhere"
        } else {
            "Look at what the holder waits for; where that never comes, only a restart frees the lock"
        }),
    ];
    let subject = Some(format!("{} at {}", lock.name(), lock.place()));
    Some(Finding { subject, ..finding(id::THREADS_WAIT_FOR_LOCK, Severity::Warning, title, evidence, next) })
}

#[cfg(test)]
mod tests;
