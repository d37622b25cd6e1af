//! Findings and evidence from Python stacks.

use super::{Context, Words};
use crate::model::{LockFinding, LockHolder, LockWait, NextStep, Row, StackFrame, StackRole, Stacks, id};

/// The text of a finding.
pub(super) fn words(finding: &LockFinding, context: &Context) -> Words {
    let mut evidence: Vec<Row> = finding.locks.iter().flat_map(of_lock).collect();
    evidence.push(Row::new("time between the two samples in ms", finding.between_ms, SOURCE));
    let command = format!("hermes-doctor stacks{} --json > hermes-stacks.json", context.selector());
    let is_cycle = finding.locks.first().is_some_and(|lock| lock.is_cycle);
    let next = vec![
        NextStep::run("keep the stacks", command),
        NextStep::say(if is_cycle {
            "Restart the server: a deadlock does not end by itself. In the code, take these locks in one order everywhere"
        } else {
            "Find out what the holder waits for; if that never happens, only a restart releases the lock"
        }),
    ];
    Words { title: finding.locks.first().map_or_else(String::new, title), evidence, next }
}

fn title(lock: &LockWait) -> String {
    let waiting = super::threads::counted(lock.waiters, "thread waits", "threads wait");
    let title = format!("{waiting} at {} for {}", lock.place(), lock.name());
    let Some(holder) = &lock.held_by else { return title };
    let probably = if lock.is_probable { "probably " } else { "" };
    let title = format!("{title}, {probably}held by {}", holder.title());
    match &holder.waits_for {
        Some(other) if lock.is_cycle => format!("{title}, which waits for {other}: a deadlock"),
        _ => format!("{title}, in {} at {}", holder.innermost.function, holder.innermost.place()),
    }
}

/// Source of the evidence.
const SOURCE: &str = "Python stacks, source lines";
/// Evidence about locks, for findings about waiting requests.
fn lock_evidence(stacks: &Stacks) -> Vec<Row> {
    stacks.locks.iter().flat_map(of_lock).collect()
}

fn of_lock(lock: &LockWait) -> Vec<Row> {
    let samples = if lock.is_still == Some(true) { ", in both samples" } else { "" };
    let mut evidence = vec![Row::new(
        format!("threads that wait at {} for {}{samples}", lock.place(), lock.name()),
        lock.waiters,
        format!("Python stacks, {}:{}", lock.file, lock.line),
    )];
    if let Some(holder) = &lock.held_by {
        let probably = if lock.is_probable { "probably " } else { "" };
        evidence.push(Row::new(format!("{} is {probably}held by", lock.name()), held_in(holder), SOURCE));
        if lock.is_cycle {
            let what = "the waits form a cycle (deadlock)";
            evidence.push(Row::new(format!("cycle at {}", lock.place()), what, SOURCE));
        }
    }
    evidence
}

/// For example `thread agent-sync (4711), in wait_for_the_agent at server.py:233`.
fn held_in(holder: &LockHolder) -> String {
    let mut text =
        format!("thread {}, in {} at {}", holder.title(), holder.innermost.function, holder.innermost.place());
    match &holder.waits_for {
        Some(other) => text.push_str(&format!(", which waits for {other}")),
        None => text.push_str(&format!(", which {}", doing(holder.role))),
    }
    text
}

/// What a holder does, as text after "which".
pub fn doing(role: StackRole) -> &'static str {
    match role {
        StackRole::WaitsForLock => "waits for another lock",
        StackRole::Running => "runs",
        StackRole::InCall => "is in a call",
        StackRole::Waits => "sleeps or waits",
        StackRole::Idle => "is idle",
    }
}

/// Evidence about the interpreter lock (GIL): its holder and the holder's position.
fn gil_evidence(stacks: &Stacks) -> Vec<Row> {
    let Some((group, thread)) = stacks.gil_holder() else { return Vec::new() };
    let mut place = group
        .frames
        .first()
        .map_or_else(|| "outside Python".to_owned(), |frame| format!("in {} at {}", frame.function, frame.place()));
    if let Some(frame) = called_by(&group.frames) {
        place.push_str(&format!(", called in {} at {}", frame.function, frame.place()));
    }
    vec![Row::new(
        "the interpreter lock (GIL) is held by",
        format!("thread {}, {place}", thread.title()),
        "Python stacks",
    )]
}

/// The innermost frame of the program itself, if the standard library or a package is inside it.
pub fn called_by(frames: &[StackFrame]) -> Option<&StackFrame> {
    let is_package = |frame: &StackFrame| {
        ["/site-packages/", "/dist-packages/", "/lib/python3"].iter().any(|part| frame.file.contains(part))
            || frame.file.starts_with('<')
    };
    let at = frames.iter().position(|frame| !is_package(frame)).filter(|at| *at > 0)?;
    frames.get(at)
}

/// Evidence from the stacks for a finding about requests that wait.
pub fn related(stacks: &Stacks, id: &str) -> Vec<Row> {
    const OF_LOCKS: &[&str] = &[
        id::HANDLERS_STUCK,
        id::ACCEPT_STALLED,
        id::HTTP_NO_ANSWER,
        id::ROUTE_SLOW,
        id::WORKERS_EXHAUSTED,
        id::BACKLOG_FULL,
    ];
    match id {
        id::GIL_HELD => gil_evidence(stacks),
        id if OF_LOCKS.contains(&id) => lock_evidence(stacks),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{StackGroup, StackThread};

    #[test]
    fn the_holder_of_the_interpreter_is_evidence() {
        let frames = vec![
            StackFrame {
                function: "match".into(),
                file: "/usr/lib/python3.11/re/__init__.py".into(),
                line: Some(166),
            },
            StackFrame { function: "run".into(), file: "/srv/app/server.py".into(), line: Some(9) },
        ];
        let thread =
            StackThread { tid: Some(5), name: Some("search".into()), holds_gil: true, ..StackThread::default() };
        let group = StackGroup { count: 1, threads: vec![thread], frames, ..StackGroup::default() };
        let evidence = gil_evidence(&Stacks { groups: vec![group], ..Stacks::default() });
        assert_eq!(
            evidence[0].value,
            "thread search (5), in match at __init__.py:166, called in run at server.py:9"
        );
        assert!(gil_evidence(&Stacks::default()).is_empty());
    }
}
