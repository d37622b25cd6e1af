//! Findings about limits of tasks, memory and files.

use super::{Context, Words};
use crate::model::{
    LogClassFacts, MemoryGroup, NextStep, Os, Pressure, ProcessFile, ResourceFinding, Row, Source, Supervisor,
    TaskGroup, TaskLimit,
};

/// The text of a finding.
pub fn words(finding: &ResourceFinding, context: &Context) -> Words {
    match finding {
        ResourceFinding::ThreadsExhausted { reached, log, threads } => {
            threads_exhausted(reached, log.as_ref(), *threads, context)
        }
        ResourceFinding::MemoryKilled { group, claim, log } => {
            memory_killed(group.as_ref(), claim.as_ref(), log.as_ref())
        }
        ResourceFinding::MemoryLimitMet { group, limit_bytes, is_high, times } => {
            memory_limit_met(group, *limit_bytes, *is_high, *times)
        }
        ResourceFinding::MemoryPressure { group, pressure } => memory_pressure(group.as_ref(), pressure),
        ResourceFinding::MemoryWaits => Words {
            title: "threads wait in the kernel for memory of their control group".to_owned(),
            evidence: vec![Row::new(
                "threads in state D in mem_cgroup…",
                true,
                Source::process(context.pid, ProcessFile::Threads).sampled("sampled twice"),
            )],
            next: vec![NextStep::say("Raise memory.high of the group, or find the process whose memory grows")],
        },
        ResourceFinding::HostFilesExhausted { files, max } => host_files(*files, *max),
    }
}

fn threads_exhausted(
    reached: &[TaskLimit],
    log: Option<&(String, LogClassFacts)>,
    threads: Option<u64>,
    context: &Context,
) -> Words {
    let title = match (reached.first(), log) {
        (Some(TaskLimit::Group(group)), _) => {
            let (current, max) = (group.current.unwrap_or(0), group.max.unwrap_or(0));
            format!("the task limit of control group {} is reached: {current} of {max}", group.path)
        }
        (Some(TaskLimit::User { uid, tasks, max }), _) => {
            format!("the process limit of user {uid} is reached: {tasks} of {max}")
        }
        (Some(TaskLimit::Host { name, tasks, max }), _) => {
            format!("the task limit of the host is reached: {tasks} of {max} ({name})")
        }
        (None, log) => {
            let times = log.and_then(|(_, facts)| facts.since_start).unwrap_or(0);
            format!("the server failed to start a thread {times} times since its start")
        }
    };
    let mut evidence: Vec<Row> = reached.iter().flat_map(|limit| task_limit(limit, context)).collect();
    if let Some((source, facts)) = log {
        let source = || Source::Log(source.clone());
        let fact = format!("log: lines \"{}\" since its start", facts.class.words());
        evidence.push(Row::new(fact, facts.since_start.unwrap_or(0), source()));
        evidence
            .extend(facts.last_at.as_ref().map(|at| Row::new("log: the last of them", at.to_string(), source())));
    }
    if let Some(threads) = threads {
        let source = Source::process(context.pid, ProcessFile::Status);
        evidence.push(Row::new("threads of the server", threads, source));
    }
    let count = |pid| match context.os {
        Os::Linux => {
            NextStep::run("count its threads by name", format!("ps -L -o comm= -p {pid} | sort | uniq -c"))
        }
        Os::MacOs => NextStep::run("see its threads", format!("ps -M -p {pid}")),
    };
    let mut next: Vec<NextStep> = context.pid.map(count).into_iter().collect();
    next.push(NextStep::say(
        "If the limit is too low, raise it: TasksMax= of the unit, --pids-limit of the container, or nproc of the user",
    ));
    Words { title, evidence, next }
}

fn task_limit(limit: &TaskLimit, context: &Context) -> Vec<Row> {
    match limit {
        TaskLimit::Group(group) => task_group(group),
        TaskLimit::User { tasks, max, .. } => vec![
            Row::new("threads of that user", *tasks, Source::Kernel("/proc")),
            Row::new("soft limit \"Max processes\"", *max, Source::limits(context.pid)),
        ],
        TaskLimit::Host { name, tasks, max } => vec![
            Row::new("processes and threads of the host", *tasks, Source::Kernel("/proc/loadavg")),
            Row::new(name.clone(), *max, Source::Kernel("/proc/sys/kernel")),
        ],
    }
}

fn task_group(group: &TaskGroup) -> Vec<Row> {
    let source = || Source::ControlGroup(group.path.to_string(), group.version);
    let mut rows = vec![
        Row::new("tasks of the group (pids.current)", group.current.unwrap_or(0), source()),
        Row::new("limit of the group (pids.max)", group.max.unwrap_or(0), source()),
    ];
    rows.extend(group.refused.map(|count| Row::new("refused so far (pids.events max)", count, source())));
    rows.extend(group.refused_since.map(|count| Row::new("of these, between the two samples", count, source())));
    rows
}

fn group_source(group: &MemoryGroup) -> Source {
    Source::ControlGroup(group.path.to_string(), group.version)
}

fn memory_killed(
    group: Option<&MemoryGroup>,
    claim: Option<&Supervisor>,
    log: Option<&(String, Option<String>)>,
) -> Words {
    let mut evidence = Vec::new();
    if let Some(group) = group {
        let source = || group_source(group);
        evidence.push(Row::new("processes killed (oom_kill)", group.oom_kills.unwrap_or(0), source()));
        let since = group.oom_kills_since.filter(|since| *since > 0);
        evidence.extend(since.map(|since| Row::new("of these, between the two samples", since, source())));
        evidence.extend(group.max_bytes.map(|max| Row::new("memory limit in bytes", max, source())));
    }
    if let Some(claim) = claim {
        let result = claim.result.as_deref().unwrap_or_default();
        let source = Source::Supervisor(claim.evidence.to_string());
        evidence.push(Row::new(format!("result of {}", claim.title()), result, source));
    }
    let title = match (group, claim) {
        (Some(group), _) => {
            let kills = group.oom_kills.unwrap_or(0);
            let processes = if kills == 1 { "process" } else { "processes" };
            format!("the kernel killed {kills} {processes} of its control group because memory ran out")
        }
        (None, claim) => {
            let by = claim.map_or_else(String::new, |claim| format!(", as reported by {}", claim.title()));
            format!("the kernel killed the server because memory ran out{by}")
        }
    };
    if let Some((source, end)) = log {
        let end = end.as_deref().unwrap_or("none");
        evidence.push(Row::new("log: last line of a clean shutdown", end, Source::Log(source.clone())));
    }
    Words {
        title,
        evidence,
        next: vec![
            NextStep::run(
                "show what was killed, and when",
                "journalctl -k --grep 'Out of memory|oom-kill' --no-pager",
            ),
            NextStep::say(
                "Raise the limit (MemoryMax= of the unit, --memory of the container), or find the process whose memory grows",
            ),
        ],
    }
}

/// The step for a limit of memory that is too low.
fn raise_the_limit() -> NextStep {
    NextStep::say(
        "Raise the limit of the group, or find the process whose memory grows: the server or another one in the group",
    )
}

fn memory_limit_met(group: &MemoryGroup, limit_bytes: u64, is_high: bool, times: u64) -> Words {
    let current = group.current_bytes.unwrap_or(0);
    let source = || group_source(group);
    let name = if is_high { "memory.high" } else { "limit" };
    Words {
        title: format!(
            "control group {} is at its memory limit: {} of {} MiB, reached {times} times between two samples",
            group.path,
            current >> 20,
            limit_bytes >> 20
        ),
        evidence: vec![
            Row::new("memory in use in bytes", current, source()),
            Row::new("of this, cached files in bytes", group.file_cache_bytes.unwrap_or(0), source()),
            Row::new(format!("{name} in bytes"), limit_bytes, source()),
            Row::new("times reached between the two samples", times, source()),
        ],
        next: vec![raise_the_limit()],
    }
}

fn memory_pressure(group: Option<&(String, u8)>, pressure: &Pressure) -> Words {
    let source = || match group {
        Some((path, version)) => Source::ControlGroup(path.clone(), *version),
        None => Source::Kernel("/proc/pressure/memory"),
    };
    let mut evidence = vec![Row::new("some avg10 in percent", pressure.some_avg10, source())];
    evidence.extend(pressure.full_avg10.map(|full| Row::new("full avg10 in percent", full, source())));
    Words {
        title: format!("tasks waited for memory during {:.0} % of the last ten seconds", pressure.some_avg10),
        evidence,
        next: vec![raise_the_limit()],
    }
}

fn host_files(files: u64, max: u64) -> Words {
    let source = || Source::Kernel("/proc/sys/fs/file-nr");
    Words {
        title: format!("the open file table of the host is full: {files} of {max}"),
        evidence: vec![
            Row::new("open files of the host", files, source()),
            Row::new("limit of the host (fs.file-max)", max, source()),
        ],
        next: vec![
            NextStep::run(
                "list the processes with the most descriptors",
                "for p in /proc/[0-9]*; do echo \"$(ls $p/fd 2>/dev/null | wc -l) $p\"; done | sort -n | tail",
            ),
            NextStep::say("End the process that leaks; raise fs.file-max if the host needs more"),
        ],
    }
}
