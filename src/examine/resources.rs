//! Two samples of the limits of tasks and memory. Counters that rise between them show a limit that is reached
//! now, not only once in the past.

use super::{Examination, SAMPLE_INTERVAL};
use crate::diagnose;
use crate::model::{Gap, GapDetail, GapReason, GapSubject, Resources, Server, id, whole_milliseconds};
use std::time::Instant;

/// Findings that stay undecided if the limits cannot be read.
const DECIDES: &[&str] = &[id::THREADS_EXHAUSTED, id::MEMORY_PRESSURE, id::MEMORY_KILLED, id::HOST_FILES_EXHAUSTED];

impl Examination<'_> {
    /// Takes the first sample, before the probe, so that the second sample includes effects of the probe.
    pub(super) fn resources(&self, server: &mut Server) {
        let Some(process) = &server.process else { return };
        let read = self.survey.host.resources(process);
        // If nothing could be read, nothing is decided.
        let is_nothing = read.value == Resources::default();
        server.gaps.extend(read.gaps.into_iter().map(|gap| if is_nothing { gap.blocking(DECIDES) } else { gap }));
        server.resources = Some(read.value).filter(|_| !is_nothing);
    }

    /// Takes the second sample, if a value is near its limit or something was refused.
    pub(super) fn sample_resources_again(&self, server: &mut Server, first_look: Instant) {
        let (Some(process), Some(first)) = (&server.process, server.resources.as_mut()) else { return };
        if !diagnose::is_near_a_limit(first) {
            return;
        }
        let wait = SAMPLE_INTERVAL.saturating_sub(first_look.elapsed());
        if wait > self.deadline.remaining() {
            let detail = GapDetail::TimeLimit;
            let gap = Gap::new(GapSubject::LimitsAgain, GapReason::Timeout, detail);
            server.gaps.push(gap.blocking(&[id::MEMORY_PRESSURE]));
            return;
        }
        std::thread::sleep(wait);
        let again = self.survey.host.resources(process).value;
        let elapsed = whole_milliseconds(first_look.elapsed());
        *first = compared(first, again, elapsed);
    }
}

/// The second sample, with the increases since the first. For a group that is new in it, the increase is
/// unknown.
fn compared(first: &Resources, mut again: Resources, after_ms: u64) -> Resources {
    let since = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
    for group in &mut again.task_groups {
        let before = first.task_groups.iter().find(|known| known.path == group.path);
        group.refused_since = since(group.refused, before.and_then(|known| known.refused));
    }
    for group in &mut again.memory_groups {
        let before = first.memory_groups.iter().find(|known| known.path == group.path);
        group.oom_kills_since = since(group.oom_kills, before.and_then(|known| known.oom_kills));
        group.high_events_since = since(group.high_events, before.and_then(|known| known.high_events));
        group.max_events_since = since(group.max_events, before.and_then(|known| known.max_events));
    }
    // A process that ended meanwhile has no groups any more; the first sample has their values.
    if again.task_groups.is_empty() && again.memory_groups.is_empty() {
        return Resources { looked_again_after_ms: Some(after_ms), ..first.clone() };
    }
    Resources { looked_again_after_ms: Some(after_ms), ..again }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MemoryGroup, TaskGroup};

    #[test]
    fn increases_between_two_samples_are_kept() {
        let look = |refused, failed: Option<u64>| Resources {
            task_groups: vec![TaskGroup { path: "/a".into(), refused: Some(refused), ..TaskGroup::default() }],
            memory_groups: vec![MemoryGroup { path: "/a".into(), max_events: failed, ..MemoryGroup::default() }],
            ..Resources::default()
        };
        let both = compared(&look(3, Some(10)), look(5, Some(10)), 1000);
        assert_eq!(both.task_groups[0].refused_since, Some(2));
        assert_eq!(both.memory_groups[0].max_events_since, Some(0));
        assert_eq!(compared(&look(3, None), look(5, Some(10)), 1000).memory_groups[0].max_events_since, None);
        let gone = compared(&look(3, None), Resources::default(), 1000);
        assert_eq!((gone.task_groups.len(), gone.looked_again_after_ms), (1, Some(1000)));
    }
}
