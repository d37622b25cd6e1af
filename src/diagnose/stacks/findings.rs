//! Evidence from stacks for findings about waiting requests, and findings from stacks.

use crate::diagnose::verdict::finding;
use crate::model::{
    Evidence, Finding, LockHolder, LockWait, NextStep, Server, Severity, StackFrame, StackRole, Stacks, id,
};

/// Source of the evidence.
const SOURCE: &str = "Python stacks, source lines";
/// Evidence about locks, for findings about waiting requests.
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

/// The innermost frame of the program itself, if the standard library or a package is inside it.
pub fn called_by(frames: &[StackFrame]) -> Option<&StackFrame> {
    let is_package = |frame: &StackFrame| {
        ["/site-packages/", "/dist-packages/", "/lib/python3"].iter().any(|part| frame.file.contains(part))
            || frame.file.starts_with('<')
    };
    let at = frames.iter().position(|frame| !is_package(frame)).filter(|at| *at > 0)?;
    frames.get(at)
}

/// Adds the evidence to the findings that it belongs to.
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

/// Threads that wait for a lock of another thread: the same threads at the same line in both samples. One
/// finding for each holder, and one for each deadlock.
pub fn judge(server: &Server, stacks: &Stacks) -> Vec<Finding> {
    let is_stuck = |lock: &&LockWait| lock.is_still == Some(true) && lock.held_by.is_some();
    let mut by_holder: Vec<Vec<&LockWait>> = Vec::new();
    let mut stuck: Vec<&LockWait> = stacks.locks.iter().filter(is_stuck).collect();
    stuck.sort_by_key(|lock| (std::cmp::Reverse(lock.is_cycle), std::cmp::Reverse(lock.waiters)));
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
    let pid = crate::diagnose::selector(server);
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
