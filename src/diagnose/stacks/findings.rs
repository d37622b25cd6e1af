//! Findings from stacks.

use crate::model::{LockFinding, LockWait, Raised, Severity, Stacks};

/// Threads that wait for a lock of another thread: the same threads at the same line in both samples. One
/// finding for each holder, and one for each deadlock.
pub fn judge(stacks: &Stacks) -> Vec<Raised> {
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
    by_holder.iter().filter_map(|locks| one_finding(stacks, locks)).collect()
}

fn one_finding(stacks: &Stacks, locks: &[&LockWait]) -> Option<Raised> {
    let lock = locks.first()?;
    let finding = LockFinding {
        subject: format!("{} at {}", lock.name(), lock.place()),
        locks: locks.iter().map(|lock| (*lock).clone()).collect(),
        between_ms: stacks.between_ms.unwrap_or(0),
    };
    Some(Raised::new(Severity::Warning, finding))
}
