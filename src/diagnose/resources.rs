//! Findings about limits of tasks and memory: limits that are reached now, and refusals and kills because of
//! them.

use super::log::{answers_well, own_since_start};
use super::verdict::Verdict;
use super::wedge::waits_for_memory;
use crate::model::{
    LogClass, MemoryGroup, Pressure, Raised, ResourceFinding, Resources, Server, Severity, TaskGroup, TaskLimit, id,
};
use crate::parse::cgroup::{container_of, unit_of};

/// Share of a limit above which a second sample is taken, in percent.
const NEAR: u64 = 90;
/// Share of a group's task limit at which refusals between the samples mean that it is reached, in percent.
const TASKS_REFUSED: u64 = 95;
/// Share of the host's tasks that counts as all, since other tasks come and go, in percent.
const HOST_TASKS: u64 = 99;
/// The same for open files of the host.
const HOST_FILES: u64 = 95;
/// Minimum shares of a group's memory limit that must be in use, and that cannot be reclaimed, before its
/// counters indicate pressure, in percent. Cached files fill any limit and do no harm.
const MEMORY_IN_USE: u64 = 95;
const MEMORY_HELD: u64 = 80;
/// Percent of the last ten seconds in which some tasks waited for memory.
const PRESSURE_SOME: f64 = 10.0;
/// The same for all tasks at once.
const PRESSURE_FULL: f64 = 5.0;

/// Whether a second sample can decide more: a value is near its limit, or something was refused.
pub fn is_near_a_limit(facts: &Resources) -> bool {
    let tasks = facts
        .task_groups
        .iter()
        .any(|group| group.refused.is_some_and(|refused| refused > 0) || is_at(group.current, group.max, NEAR));
    let memory = facts.memory_groups.iter().any(|group| {
        let limits = [group.high_bytes, group.max_bytes];
        group.oom_kills.is_some_and(|kills| kills > 0)
            || limits.into_iter().any(|limit| is_at(group.current_bytes, limit, NEAR))
    });
    tasks || memory
}

/// Adds the findings about the limits.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    let tasks = threads_exhausted(server);
    let killed = memory_killed(server);
    if let Some(facts) = &server.resources {
        verdict.decide(id::THREADS_EXHAUSTED, tasks);
        verdict.decide(id::MEMORY_KILLED, killed);
        let pressure = memory_pressure(facts, answers_well(server)).or_else(|| waits_in_the_kernel(server));
        verdict.decide(id::MEMORY_PRESSURE, pressure);
        verdict.decide(id::HOST_FILES_EXHAUSTED, host_files(facts));
    } else {
        // The log and the supervisor report this even if the kernel was not queried.
        [tasks, killed].into_iter().flatten().for_each(|found| verdict.raise(found));
    }
}

fn is_at(current: Option<u64>, limit: Option<u64>, percent: u64) -> bool {
    current.zip(limit).is_some_and(|(current, limit)| {
        limit > 0 && u128::from(current) * 100 >= u128::from(limit) * u128::from(percent)
    })
}

fn threads_exhausted(server: &Server) -> Option<Raised> {
    let reached: Vec<TaskLimit> = server.resources.iter().flat_map(|facts| reached_limits(server, facts)).collect();
    let log = own_since_start(server, LogClass::ThreadsExhausted);
    if reached.is_empty() && log.is_none() {
        return None;
    }
    let is_critical = !reached.is_empty() || !answers_well(server);
    let finding = ResourceFinding::ThreadsExhausted {
        reached,
        log: log.map(|(log, facts)| (log.source.to_string(), facts.clone())),
        threads: server.process.as_ref().and_then(|process| process.threads),
    };
    Some(Raised::new(if is_critical { Severity::Critical } else { Severity::Warning }, finding))
}

/// The limits of tasks that are reached: of control groups, of the user, of the host.
fn reached_limits(server: &Server, facts: &Resources) -> Vec<TaskLimit> {
    let groups = facts.task_groups.iter().filter(|group| is_full(group));
    let mut reached: Vec<TaskLimit> = groups.cloned().map(TaskLimit::Group).collect();
    if let (Some(true), Some(tasks), Some(max)) =
        (facts.process.is_bound, facts.process.user_tasks, facts.process.tasks_max)
        && tasks >= max
    {
        let uid = server.process.as_ref().map_or(0, |process| process.uid);
        reached.push(TaskLimit::User { uid, tasks, max });
    }
    let host = &facts.host;
    for (limit, name) in [(host.threads_max, "kernel.threads-max"), (host.pid_max, "kernel.pid_max")] {
        if let (true, Some(tasks), Some(max)) = (is_at(host.tasks, limit, HOST_TASKS), host.tasks, limit) {
            reached.push(TaskLimit::Host { name: name.to_owned(), tasks, max });
        }
    }
    reached
}

fn is_full(group: &TaskGroup) -> bool {
    is_at(group.current, group.max, 100)
        || is_at(group.current, group.max, TASKS_REFUSED) && group.refused_since.is_some_and(|since| since > 0)
}

/// Whether the counters of a group are those of this server: a group of a service or container, or one that was
/// created with a limit. A login session, a slice or the root also contains other programs.
fn is_of_the_server(group: &MemoryGroup) -> bool {
    let is_limited = group.max_bytes.is_some() || group.high_bytes.is_some();
    let is_shared = group.path.ends_with(".slice");
    group.is_own
        && !is_shared
        && (is_limited || unit_of(&group.path).is_some() || container_of(&group.path).is_some())
}

fn memory_killed(server: &Server) -> Option<Raised> {
    let groups = server.resources.iter().flat_map(|facts| &facts.memory_groups);
    let group =
        groups.filter(|group| is_of_the_server(group)).find(|group| group.oom_kills.is_some_and(|kills| kills > 0));
    let claim = server.lineage.as_ref().map(|lineage| &lineage.supervisor);
    let by_supervisor =
        claim.filter(|claim| claim.result.as_deref().is_some_and(|result| result.starts_with("oom-kill")));
    if group.is_none() && by_supervisor.is_none() {
        return None;
    }
    // A killed process writes no more lines.
    let log = server.logs.iter().find(|log| !log.is_shared);
    let finding = ResourceFinding::MemoryKilled {
        group: group.cloned(),
        claim: by_supervisor.cloned(),
        log: log.map(|log| (log.source.to_string(), log.last_orderly_end_at.as_ref().map(ToString::to_string))),
    };
    Some(Raised::new(Severity::Warning, finding))
}

/// A group that reaches its limit with memory that cannot be reclaimed, or tasks that wait for memory. Threads
/// in uninterruptible sleep are further evidence if known, but decide nothing alone.
fn memory_pressure(facts: &Resources, is_well: bool) -> Option<Raised> {
    for group in &facts.memory_groups {
        let Some((limit_bytes, is_high, times)) = met_limit(group) else { continue };
        let finding = ResourceFinding::MemoryLimitMet { group: group.clone(), limit_bytes, is_high, times };
        return Some(Raised::new(Severity::Warning, finding));
    }
    let of_groups = facts
        .memory_groups
        .iter()
        .filter_map(|group| Some((Some((group.path.to_string(), group.version)), group.pressure?)));
    let mut measured: Vec<(Option<(String, u8)>, Pressure)> = of_groups.collect();
    // The pressure of the group is that of its own tasks. The average of the host includes all tasks, and
    // another group at its own limit raises it: it counts only if the group's is unknown and the server does
    // not answer as expected.
    if measured.is_empty() && !is_well {
        measured.extend(facts.host.memory_pressure.map(|pressure| (None, pressure)));
    }
    let (group, pressure) = measured.into_iter().find(|(_, pressure)| is_stalled(pressure))?;
    Some(Raised::new(Severity::Warning, ResourceFinding::MemoryPressure { group, pressure }))
}

/// Threads that the kernel suspends until memory of their group is freed (in both samples while a request
/// waited).
fn waits_in_the_kernel(server: &Server) -> Option<Raised> {
    waits_for_memory(server).then(|| Raised::new(Severity::Warning, ResourceFinding::MemoryWaits))
}

fn is_stalled(pressure: &Pressure) -> bool {
    pressure.some_avg10 >= PRESSURE_SOME || pressure.full_avg10.is_some_and(|full| full >= PRESSURE_FULL)
}

/// The limit that a group reaches, whether it is `memory.high`, and how often it was reached between the samples.
fn met_limit(group: &MemoryGroup) -> Option<(u64, bool, u64)> {
    let held = group.current_bytes?.saturating_sub(group.file_cache_bytes?);
    let limits =
        [(group.high_bytes, true, group.high_events_since), (group.max_bytes, false, group.max_events_since)];
    limits.into_iter().find_map(|(limit, is_high, since)| {
        let (limit, since) = (limit?, since.filter(|since| *since > 0)?);
        let is_met =
            is_at(group.current_bytes, Some(limit), MEMORY_IN_USE) && is_at(Some(held), Some(limit), MEMORY_HELD);
        is_met.then_some((limit, is_high, since))
    })
}

fn host_files(facts: &Resources) -> Option<Raised> {
    let (files, max) = (facts.host.files?, facts.host.files_max?);
    is_at(Some(files), Some(max), HOST_FILES)
        .then(|| Raised::new(Severity::Critical, ResourceFinding::HostFilesExhausted { files, max }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::HostLimits;

    const MIB: u64 = 1 << 20;

    fn group(current: u64, cached: u64, since: u64) -> MemoryGroup {
        MemoryGroup {
            path: "/system.slice/hermes-webui.service".into(),
            version: 2,
            is_own: true,
            current_bytes: Some(current * MIB),
            file_cache_bytes: Some(cached * MIB),
            max_bytes: Some(100 * MIB),
            max_events: Some(1000),
            max_events_since: Some(since),
            ..MemoryGroup::default()
        }
    }

    fn with(memory: MemoryGroup) -> Resources {
        Resources { memory_groups: vec![memory], ..Resources::default() }
    }

    #[test]
    fn cached_files_and_counters_at_rest_are_no_pressure() {
        assert!(memory_pressure(&with(group(99, 5, 40)), true).is_some());
        for healthy in [group(99, 60, 40), group(99, 5, 0), group(80, 5, 40)] {
            assert!(memory_pressure(&with(healthy), true).is_none());
        }
        // Without the counters or the cache size there is no finding.
        let unknown = MemoryGroup { max_events_since: None, ..group(99, 5, 0) };
        assert!(memory_pressure(&with(unknown), true).is_none());
        let unknown = MemoryGroup { file_cache_bytes: None, ..group(99, 5, 40) };
        assert!(memory_pressure(&with(unknown), true).is_none());
        // memory.high below the limit.
        let high = MemoryGroup { high_bytes: Some(50 * MIB), high_events_since: Some(3), ..group(50, 2, 0) };
        let found = memory_pressure(&with(high), true).unwrap().finding;
        let crate::model::Finding::Resources(finding) = found else { panic!("{found:?}") };
        assert!(matches!(*finding, ResourceFinding::MemoryLimitMet { limit_bytes, .. } if limit_bytes == 50 * MIB));
    }

    #[test]
    fn the_own_groups_stalls_count_before_the_hosts() {
        let pressure = |some, full| Some(Pressure { some_avg10: some, full_avg10: Some(full) });
        let host = HostLimits { memory_pressure: pressure(50.0, 20.0), ..HostLimits::default() };
        let at_rest = MemoryGroup { pressure: pressure(0.0, 0.0), ..group(10, 0, 0) };
        let facts = Resources { host: host.clone(), ..with(at_rest) };
        assert!(memory_pressure(&facts, false).is_none());
        let alone = Resources { host, ..Resources::default() };
        assert!(memory_pressure(&alone, false).is_some() && memory_pressure(&alone, true).is_none());
        let stalled = |some, full| with(MemoryGroup { pressure: pressure(some, full), ..group(10, 0, 0) });
        assert!(memory_pressure(&stalled(9.9, 4.9), true).is_none());
        assert!(
            memory_pressure(&stalled(10.0, 0.0), true).is_some()
                && memory_pressure(&stalled(5.0, 5.0), true).is_some()
        );
    }

    #[test]
    fn kills_in_a_shared_control_group_are_not_attributed_to_the_server() {
        let of = |path: &str, max_bytes: Option<u64>, is_own| {
            is_of_the_server(&MemoryGroup { path: path.into(), max_bytes, is_own, ..MemoryGroup::default() })
        };
        assert!(of("/system.slice/hermes-webui.service", None, true));
        assert!(of("/docker/0123456789abcdef", None, true));
        assert!(of("/made/for/it", Some(MIB), true));
        assert!(!of("/system.slice", Some(MIB), true));
        assert!(!of("/user.slice/user-1000.slice/session-3.scope", None, true));
        assert!(!of("/", None, true));
        assert!(!of("/system.slice/hermes-webui.service", Some(MIB), false));
    }

    #[test]
    fn a_limit_of_tasks_is_reached_at_its_number_or_when_it_refuses() {
        let full = |current, max, refused_since| {
            is_full(&TaskGroup { current: Some(current), max, refused_since, ..TaskGroup::default() })
        };
        assert!(full(100, Some(100), None) && full(96, Some(100), Some(2)));
        assert!(!full(99, Some(100), None) && !full(99, Some(100), Some(0)) && !full(90, Some(100), Some(5)));
        assert!(!full(1000, None, Some(1)));
    }

    #[test]
    fn the_hosts_table_of_files_is_full_only_near_its_end() {
        let files = |files, max| {
            let host = HostLimits { files: Some(files), files_max: Some(max), ..HostLimits::default() };
            host_files(&Resources { host, ..Resources::default() }).is_some()
        };
        assert!(files(96_000, 100_000) && !files(90_000, 100_000) && !files(90_000, u64::MAX));
    }
}
