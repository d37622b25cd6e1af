//! Findings about limits of tasks and memory: limits that are reached now, and refusals and kills because of
//! them.

use super::log::{answers_well, own_since_start};
use super::verdict::{Verdict, finding};
use super::wedge::waits_for_memory;
use crate::model::{
    Evidence, Finding, LogClass, MemoryGroup, NextStep, Pressure, Resources, Server, Severity, TaskGroup, id,
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

/// The location of a group's files in words: the hierarchy can be mounted at any place.
fn files(path: &str, version: u8) -> String {
    format!("control group {path} (version {version})")
}

fn threads_exhausted(server: &Server) -> Option<Finding> {
    let (mut reached, mut evidence) = (Vec::new(), Vec::new());
    if let Some(facts) = &server.resources {
        for group in facts.task_groups.iter().filter(|group| is_full(group)) {
            let (current, max) = (group.current.unwrap_or(0), group.max.unwrap_or(0));
            reached
                .push(format!("the limit of tasks of control group {} is reached: {current} of {max}", group.path));
            let source = files(&group.path, group.version);
            evidence.push(Evidence::new("tasks of the group (pids.current)", current, &source));
            evidence.push(Evidence::new("limit of the group (pids.max)", max, &source));
            if let Some(refused) = group.refused {
                evidence.push(Evidence::new("refused so far (pids.events max)", refused, &source));
            }
            if let Some(since) = group.refused_since {
                evidence.push(Evidence::new("of these between the two looks", since, &source));
            }
        }
        if let (Some(true), Some(tasks), Some(max)) =
            (facts.process.is_bound, facts.process.user_tasks, facts.process.tasks_max)
            && tasks >= max
        {
            let user = server.process.as_ref().map_or(0, |process| process.uid);
            reached.push(format!("the limit of processes of user {user} is reached: {tasks} of {max}"));
            let source = format!("/proc/{}/limits", server.pid.unwrap_or(0));
            evidence.push(Evidence::new("threads of that user", tasks, "/proc"));
            evidence.push(Evidence::new("soft limit \"Max processes\"", max, source));
        }
        let host = &facts.host;
        for (limit, name) in [(host.threads_max, "kernel.threads-max"), (host.pid_max, "kernel.pid_max")] {
            if let (true, Some(tasks), Some(max)) = (is_at(host.tasks, limit, HOST_TASKS), host.tasks, limit) {
                reached.push(format!("the host's limit of tasks is reached: {tasks} of {max} ({name})"));
                evidence.push(Evidence::new("processes and threads of the host", tasks, "/proc/loadavg"));
                evidence.push(Evidence::new(name, max, "/proc/sys/kernel"));
            }
        }
    }
    let log = own_since_start(server, LogClass::ThreadsExhausted);
    if let Some((log, facts)) = log {
        let fact = format!("log: lines \"{}\" since its start", facts.class.words());
        evidence.push(Evidence::new(fact, facts.since_start.unwrap_or(0), &log.source));
        if let Some(at) = &facts.last_at {
            evidence.push(Evidence::new("log: the last of them", at.clone(), &log.source));
        }
    }
    let is_now = !reached.is_empty();
    let title = match (reached.into_iter().next(), log) {
        (Some(reached), _) => reached,
        (None, Some((_, facts))) => {
            format!("threads could not be started, {} times since its start", facts.since_start.unwrap_or(0))
        }
        (None, None) => return None,
    };
    let severity = if is_now || !answers_well(server) { Severity::Critical } else { Severity::Warning };
    if let Some(threads) = server.process.as_ref().and_then(|process| process.threads) {
        let source = format!("/proc/{}/status", server.pid.unwrap_or(0));
        evidence.push(Evidence::new("threads of the server", threads, source));
    }
    let mut next = Vec::new();
    if let Some(pid) = server.pid {
        next.push(NextStep::run("count its threads by name", format!("ps -L -o comm= -p {pid} | sort | uniq -c")));
    }
    next.push(NextStep::say(
        "Where the limit is too low for what runs in it, raise it: TasksMax= of the unit, --pids-limit of the container, or nproc \
         of the user",
    ));
    Some(finding(id::THREADS_EXHAUSTED, severity, title, evidence, next))
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

fn memory_killed(server: &Server) -> Option<Finding> {
    let groups = server.resources.iter().flat_map(|facts| &facts.memory_groups);
    let group =
        groups.filter(|group| is_of_the_server(group)).find(|group| group.oom_kills.is_some_and(|kills| kills > 0));
    let claim = server.lineage.as_ref().map(|lineage| &lineage.supervisor);
    let by_supervisor =
        claim.filter(|claim| claim.result.as_deref().is_some_and(|result| result.starts_with("oom-kill")));
    let mut evidence = Vec::new();
    if let Some(group) = group {
        let source = files(&group.path, group.version);
        evidence.push(Evidence::new("processes killed (oom_kill)", group.oom_kills.unwrap_or(0), &source));
        if let Some(since) = group.oom_kills_since.filter(|since| *since > 0) {
            evidence.push(Evidence::new("of these between the two looks", since, &source));
        }
        if let Some(max) = group.max_bytes {
            evidence.push(Evidence::new("memory limit in bytes", max, &source));
        }
    }
    if let Some(claim) = by_supervisor {
        let result = claim.result.clone().unwrap_or_default();
        evidence.push(Evidence::new(format!("result of {}", claim.title()), result, claim.evidence.clone()));
    }
    let title = match (group, by_supervisor) {
        (Some(group), _) => {
            let kills = group.oom_kills.unwrap_or(0);
            let processes = if kills == 1 { "process" } else { "processes" };
            format!("the kernel has killed {kills} {processes} of its control group for want of memory")
        }
        (None, Some(claim)) => {
            format!("the kernel has killed it for want of memory, says {}", claim.title())
        }
        (None, None) => return None,
    };
    if let Some(log) = server.logs.iter().find(|log| !log.is_shared) {
        // A killed process writes no more lines.
        let end = log.last_orderly_end_at.clone().unwrap_or_else(|| "none".into());
        evidence.push(Evidence::new("log: last line of an orderly end", end, &log.source));
    }
    let next = vec![
        NextStep::run("see what was killed, and when", "journalctl -k --grep 'Out of memory|oom-kill' --no-pager"),
        NextStep::say("Raise the limit (MemoryMax= of the unit, --memory of the container), or find what grows"),
    ];
    Some(finding(id::MEMORY_KILLED, Severity::Warning, title, evidence, next))
}

/// A group that reaches its limit with memory that cannot be reclaimed, or tasks that wait for memory. Threads
/// in uninterruptible sleep are further evidence if known, but decide nothing alone.
fn memory_pressure(facts: &Resources, is_well: bool) -> Option<Finding> {
    let next = vec![NextStep::say(
        "Raise the limit of the group, or find what grows: its own memory, or a neighbour's in the same group",
    )];
    for group in &facts.memory_groups {
        let Some((limit, name, since)) = met_limit(group) else { continue };
        let current = group.current_bytes.unwrap_or(0);
        let source = files(&group.path, group.version);
        let title = format!(
            "control group {} is at its memory limit: {} of {} MiB, met {since} times between two looks",
            group.path,
            current >> 20,
            limit >> 20
        );
        let evidence = vec![
            Evidence::new("memory in use in bytes", current, &source),
            Evidence::new("of these cached files in bytes", group.file_cache_bytes.unwrap_or(0), &source),
            Evidence::new(format!("{name} in bytes"), limit, &source),
            Evidence::new("met between the two looks", since, &source),
        ];
        return Some(finding(id::MEMORY_PRESSURE, Severity::Warning, title, evidence, next));
    }
    let of_groups =
        facts.memory_groups.iter().filter_map(|group| Some((files(&group.path, group.version), group.pressure?)));
    let mut measured: Vec<(String, Pressure)> = of_groups.collect();
    // The pressure of the group is that of its own tasks. The average of the host includes all tasks, and
    // another group at its own limit raises it: it counts only if the group's is unknown and the server does
    // not answer as expected.
    if measured.is_empty() && !is_well {
        measured.extend(facts.host.memory_pressure.map(|pressure| ("/proc/pressure/memory".to_owned(), pressure)));
    }
    let (source, pressure) = measured.into_iter().find(|(_, pressure)| is_stalled(pressure))?;
    let title = format!("tasks waited for memory {:.0} % of the last ten seconds", pressure.some_avg10);
    let mut evidence = vec![Evidence::new("some avg10 in percent", pressure.some_avg10, &source)];
    evidence.extend(pressure.full_avg10.map(|full| Evidence::new("full avg10 in percent", full, &source)));
    Some(finding(id::MEMORY_PRESSURE, Severity::Warning, title, evidence, next))
}

/// Threads that the kernel suspends until memory of their group is freed (in both samples while a request
/// waited).
fn waits_in_the_kernel(server: &Server) -> Option<Finding> {
    if !waits_for_memory(server) {
        return None;
    }
    let source = format!("/proc/{}/task, looked at twice", server.pid.unwrap_or(0));
    let evidence = vec![Evidence::new("threads in state D in mem_cgroup…", true, source)];
    let title = "threads wait in the kernel for memory of their control group".to_owned();
    let next = vec![NextStep::say("Raise memory.high of the group, or find what grows in it")];
    Some(finding(id::MEMORY_PRESSURE, Severity::Warning, title, evidence, next))
}

fn is_stalled(pressure: &Pressure) -> bool {
    pressure.some_avg10 >= PRESSURE_SOME || pressure.full_avg10.is_some_and(|full| full >= PRESSURE_FULL)
}

/// The limit that a group reaches, and how often it was reached between the samples.
fn met_limit(group: &MemoryGroup) -> Option<(u64, &'static str, u64)> {
    let held = group.current_bytes?.saturating_sub(group.file_cache_bytes?);
    let limits = [
        (group.high_bytes, "memory.high", group.high_events_since),
        (group.max_bytes, "limit", group.max_events_since),
    ];
    limits.into_iter().find_map(|(limit, name, since)| {
        let (limit, since) = (limit?, since.filter(|since| *since > 0)?);
        let is_met =
            is_at(group.current_bytes, Some(limit), MEMORY_IN_USE) && is_at(Some(held), Some(limit), MEMORY_HELD);
        is_met.then_some((limit, name, since))
    })
}

fn host_files(facts: &Resources) -> Option<Finding> {
    let (files, max) = (facts.host.files?, facts.host.files_max?);
    if !is_at(Some(files), Some(max), HOST_FILES) {
        return None;
    }
    let source = "/proc/sys/fs/file-nr";
    Some(finding(
        id::HOST_FILES_EXHAUSTED,
        Severity::Critical,
        format!("the host's table of open files is full: {files} of {max}"),
        vec![
            Evidence::new("open files of the host", files, source),
            Evidence::new("limit of the host (fs.file-max)", max, source),
        ],
        vec![
            NextStep::run(
                "see who holds most",
                "for p in /proc/[0-9]*; do echo \"$(ls $p/fd 2>/dev/null | wc -l) $p\"; done | sort -n | tail",
            ),
            NextStep::say("End what leaks, then raise fs.file-max if the host needs more"),
        ],
    ))
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
        assert!(memory_pressure(&with(high), true).unwrap().title.contains("50 of 50 MiB"));
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
