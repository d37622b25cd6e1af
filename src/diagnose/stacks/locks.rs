//! The lock that each thread waits for, and the thread inside its block. Expressions are traced from frame to
//! frame to their meaning.

use super::{SourceText, ThreadFacts, condition_caller, named, read};
use crate::model::{HostPath, LockHolder, LockWait};
use crate::parse::python_source::{Function, Source, is_dotted};
use std::collections::{HashMap, HashSet};

/// Maximum number of calls through which an argument is traced.
const MAX_CALLS: usize = 6;

/// A lock, identified by the meaning of its text in its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Meaning {
    /// The scope of the name: a function or class of the file for local names, else empty.
    scope: String,
    text: String,
}

/// The possible meanings of an expression; several if more than one call passes it.
#[derive(Clone, Debug, Default)]
struct Meanings {
    all: Vec<Meaning>,
    /// Whether the same text is the same object everywhere.
    is_certain: bool,
    /// The value of the parameter or local name, if it was one.
    given_as: Option<String>,
}

/// Traces an expression at one frame of a thread to its meaning.
fn meanings(
    standing: &ThreadFacts<'_>,
    at: usize,
    text: &str,
    sources: &HashMap<HostPath, SourceText>,
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
        // A name of the module.
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
        // A local name for another expression.
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

/// Whether it contains a call, or an index that is not a literal: the same text then gives different objects.
fn is_another_each_time(text: &str) -> bool {
    let is_literal =
        |index: &str| index.starts_with(['"', '\'']) || index.starts_with(|first: char| first.is_ascii_digit());
    text.contains('(') || text.split('[').skip(1).any(|index| !is_literal(index))
}

/// The argument for a parameter: from the frame that made the call, else from all places that pass on the
/// function.
fn given(
    standing: &ThreadFacts<'_>,
    at: usize,
    function: &Function,
    parameter: &str,
    source: &Source,
    sources: &HashMap<HostPath, SourceText>,
    depth: usize,
) -> Meanings {
    if let Some((caller, line)) = standing.frames.get(at + 1).and_then(|caller| read(caller, sources))
        && let Some(argument) = caller.argument(line, function, parameter)
    {
        let found = meanings(standing, at + 1, &argument, sources, depth - 1);
        return Meanings { given_as: found.given_as.or(Some(argument)), ..found };
    }
    let all = source.given(function, parameter);
    // The name of the thread shows which of several calls started it.
    let by_name: Vec<_> = all
        .iter()
        .filter(|given| given.name.is_some() && given.name.as_deref() == standing.thread.name.as_deref())
        .collect();
    let chosen: Vec<_> = if by_name.is_empty() { all.iter().collect() } else { by_name };
    let mut meanings: Vec<Meaning> = Vec::new();
    for given in &chosen {
        // Only a name of the module has the same meaning here and there.
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

/// A block that a thread is inside.
struct LockBlock {
    thread: usize,
    frame: usize,
    meanings: Meanings,
}

/// Every lock that threads wait for, with the thread inside its block.
pub(super) fn waited_for(threads: &[ThreadFacts<'_>], sources: &HashMap<HostPath, SourceText>) -> Vec<LockWait> {
    let held: Vec<LockBlock> =
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
            let of = self::meanings(standing, at, &each.text, sources, MAX_CALLS);
            meanings.is_certain &= of.is_certain;
            meanings.all.extend(of.all);
            meanings.given_as = of.given_as;
        }
        if taking.expressions.len() > 1 {
            meanings.given_as = None;
        }
        let known = found.iter_mut().find(|(lock, _, known)| {
            (&*lock.file, lock.line, lock.expression.as_deref()) == (&frame.file, line, Some(&expression))
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
                    expression: Some(expression.into()),
                    given_as: meanings.given_as.clone().map(Into::into),
                    threads: vec![standing.reported()],
                    ..LockWait::default()
                };
                found.push((lock, vec![index], meanings));
            }
        }
    }
    let holders: Vec<Result<&LockBlock, String>> =
        found.iter().map(|(_, waiting, meanings)| holder(waiting, meanings, &held)).collect();
    // The wait graph of the threads; a cycle back to the lock is a deadlock.
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
            lock.threads.sort_by_key(|thread| thread.tid);
            lock.waiters = u64::try_from(lock.threads.len()).unwrap_or(u64::MAX);
            match holder {
                Ok(held) => {
                    lock.is_probable = !(meanings.is_certain && held.meanings.is_certain);
                    lock.is_cycle = comes_back(held.thread, &waits_for);
                    lock.held_by = threads.get(held.thread).and_then(|thread| described(thread, held, &names));
                }
                Err(why) => {
                    lock.is_probable = !meanings.is_certain;
                    lock.no_holder = Some(why.into());
                }
            }
            lock
        })
        .collect();
    locks.sort_by(|a, b| b.waiters.cmp(&a.waiters).then(a.file.cmp(&b.file)).then(a.line.cmp(&b.line)));
    locks
}

/// The blocks that a thread is inside, in all its frames.
fn blocks(index: usize, standing: &ThreadFacts<'_>, sources: &HashMap<HostPath, SourceText>) -> Vec<LockBlock> {
    let released_by = condition_caller(standing.frames);
    let mut found = Vec::new();
    for (at, frame) in standing.frames.iter().enumerate() {
        // A lambda or generator runs when it is called, not where it is written.
        let name = named(frame).1;
        if name.starts_with('<') && name != "<module>" {
            continue;
        }
        let Some((source, line)) = read(frame, sources) else { continue };
        // `condition.wait()` has released its lock.
        if released_by == Some(at) && source.waits_for_condition(line) {
            continue;
        }
        let before = source.taking(line).map(|taking| taking.before).unwrap_or_default();
        for expression in before.into_iter().chain(source.inside(line)) {
            let meanings = meanings(standing, at, &expression.text, sources, MAX_CALLS);
            found.push(LockBlock { thread: index, frame: at, meanings });
        }
    }
    found
}

/// The only thread inside a block of that lock.
fn holder<'a>(waiting: &[usize], meanings: &Meanings, held: &'a [LockBlock]) -> Result<&'a LockBlock, String> {
    if meanings.all.is_empty() {
        return Err("its expression can give another lock each time".to_owned());
    }
    let mut candidates: Vec<&LockBlock> = Vec::new();
    for each in held {
        let is_same = each.meanings.all.iter().any(|meaning| meanings.all.contains(meaning));
        if is_same && candidates.iter().all(|known| known.thread != each.thread) {
            candidates.push(each);
        }
    }
    let others: Vec<&LockBlock> =
        candidates.iter().copied().filter(|held| !waiting.contains(&held.thread)).collect();
    match (others.as_slice(), candidates.as_slice()) {
        ([only], _) => Ok(only),
        // Only a thread that waits for it: one thread has taken the lock twice.
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

/// Whether a thread waits, through other threads, for itself.
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

fn described(standing: &ThreadFacts<'_>, held: &LockBlock, names: &HashMap<usize, String>) -> Option<LockHolder> {
    let frame = standing.frames.get(held.frame)?;
    Some(LockHolder {
        tid: standing.thread.tid,
        name: standing.thread.name.clone(),
        function: frame.function.clone(),
        file: frame.file.clone(),
        line: frame.line?,
        role: standing.role,
        innermost: standing.frames.first()?.clone(),
        waits_for: names.get(&held.thread).cloned().map(Into::into),
    })
}
