//! Findings from the open descriptors.

use super::is_many_close_wait;
use super::verdict::{Verdict, finding};
use crate::model::{
    Descriptors, Evidence, Finding, Gap, GapDetail, GapReason, GapSubject, Growth, NextStep, Series, Server,
    Severity, Shape, SqliteFamily, id,
};
use crate::parse::link::{is_unlinked_by_design, sqlite_family};

/// Share of the soft limit above which the ceiling is a warning.
pub const CEILING_WARNING: f64 = 0.80;
/// Share above which it is critical.
pub const CEILING_CRITICAL: f64 = 0.95;
/// Minimum number of database and WAL descriptors of one database for a leak: no pool needs so many.
const LEAK_LEAST: u64 = 30;
/// Minimum share of the soft limit for a leak that was sampled once.
const LEAK_SHARE: f64 = 0.25;
/// Share above which it is critical.
const LEAK_CRITICAL: f64 = 0.80;
/// Share of a low limit above which it is a warning.
const LOW_LIMIT_WARNING: f64 = 0.60;
/// launchd's default soft limit.
const LOW_LIMIT: u64 = 256;

/// The kind of descriptors that are counted but could not be read.
const UNREADABLE: &str = "unreadable";
/// Checks that need the target of every descriptor; the number alone is enough for the others.
const TAKE_TARGETS: &[&str] = &[id::STATE_DB_HANDLE_LEAK, id::CLOSE_WAIT_LEAK, id::DELETED_FILES_HELD];

/// Adds a gap for descriptors that could not be read. Their targets are unknown, so the checks on targets
/// cannot pass. Without CAP_SYS_PTRACE root can list the descriptors of another user's process, but read none
/// of them.
pub fn note_unreadable(server: &mut Server) {
    let what = GapSubject::DescriptorTargets { pid: server.pid.unwrap_or(0) };
    server.gaps.retain(|gap| gap.what != what);
    let Some(facts) = &server.descriptors else { return };
    let Some(count) = facts.by_kind.get(UNREADABLE).filter(|count| **count > 0) else { return };
    let all: u64 = facts.by_kind.values().sum();
    let detail = GapDetail::TargetsUnread { count: *count, all };
    server.gaps.push(Gap::new(what, GapReason::Permission, detail).blocking(TAKE_TARGETS));
}

/// Adds the findings about the descriptors.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    let Some(facts) = &server.descriptors else { return };
    let source = format!("/proc/{}", server.pid.unwrap_or(0));
    let selector = super::selector(server);
    if facts.open.is_some() && facts.soft_limit.is_some() {
        verdict.decide(id::DESCRIPTOR_CEILING, ceiling(facts, &source, &selector));
        verdict.decide(id::DESCRIPTOR_LIMIT_LOW, low_limit(facts, &source));
    }
    let leaks = leaks(server, facts, &source);
    // A series that rose and stayed undecided has not passed.
    let rises = server.growth.iter().any(|growth| {
        let is_of_them = matches!(growth.series, Series::Family(_) | Series::Open);
        is_of_them && growth.shape == Shape::Undecided && growth.falls == 0 && growth.last > growth.first
    });
    if !rises && leaks.iter().all(|found| found.id != id::STATE_DB_HANDLE_LEAK) {
        verdict.decide(id::STATE_DB_HANDLE_LEAK, None);
    }
    let is_decided =
        server.growth.iter().any(|growth| growth.series == Series::Open && growth.shape != Shape::Undecided);
    if is_decided && leaks.iter().all(|found| found.id != id::DESCRIPTOR_GROWTH) {
        verdict.decide(id::DESCRIPTOR_GROWTH, None);
    }
    leaks.into_iter().for_each(|leak| verdict.raise(leak));
    if let Some(found) = left_by_requests(server, facts, &source) {
        verdict.raise(found);
    }
    if let Some(close_wait) = &facts.close_wait {
        let is_many = is_many_close_wait(close_wait.first, facts.soft_limit);
        // Many sockets without a second sample stay undecided, and a gap says so.
        if !is_many || close_wait.still_at_second.is_some() {
            verdict.decide(id::CLOSE_WAIT_LEAK, close_wait_leak(facts, &source, &selector));
        }
    }
    verdict.decide(id::DELETED_FILES_HELD, deleted_files(facts, &source));
}

/// Leaks by trend if the descriptors were sampled over time, else by their level. A trend is stronger evidence
/// than a level, but near the limit the level counts too.
fn leaks(server: &Server, facts: &Descriptors, source: &str) -> Vec<Finding> {
    let growth_of = |path: &str| {
        let of_it = |growth: &&Growth| matches!(&growth.series, Series::Family(family) if family == path);
        server.growth.iter().find(of_it)
    };
    let by_level = facts.sqlite.iter().filter_map(|family| {
        let growth = growth_of(&family.path);
        let found = handle_leak(family, facts, source, growth)?;
        let is_decided = growth.is_some_and(|growth| growth.shape != Shape::Undecided);
        (!is_decided || found.severity == Severity::Critical).then_some(found)
    });
    let mut found: Vec<Finding> = by_level.collect();
    let of_trend = server.trend.as_ref().map(|trend| super::trend::findings(server.pid, trend, &server.growth));
    for trend in of_trend.unwrap_or_default() {
        // One finding per database: its trend, unless the level is more severe.
        let same = found.iter().position(|level| level.id == trend.id && level.subject == trend.subject);
        match same.and_then(|at| found.get_mut(at)) {
            Some(level) if level.severity <= trend.severity => *level = trend,
            Some(_) => {}
            None => found.push(trend),
        }
    }
    found
}

/// Minimum number of descriptors per request left open that is reported.
const LEFT_BY_A_REQUEST: f64 = 0.5;

/// Descriptors left open by the requests of `fds --exercise`. CPython from 3.11 on may close them later, so
/// only more than a saw-tooth can hold is a leak already.
fn left_by_requests(server: &Server, facts: &Descriptors, source: &str) -> Option<Finding> {
    let exercise = server.exercise.as_ref()?;
    let costly: Vec<_> = exercise.paths.iter().filter(|cost| cost.per_request >= LEFT_BY_A_REQUEST).collect();
    let worst = costly.iter().max_by(|a, b| a.per_request.total_cmp(&b.per_request))?;
    let may_be_collected = super::trend::tooth(facts.soft_limit);
    let is_leak = u64::try_from(worst.left_open).is_ok_and(|left| left > may_be_collected);
    let (severity, what) = if is_leak {
        (Severity::Warning, "more than is ever closed late")
    } else {
        (Severity::Info, "they may be closed later")
    };
    let title = format!(
        "each request of {} left {:.2} descriptors open: {} after {}; {what}",
        worst.path, worst.per_request, worst.left_open, worst.requests
    );
    let mut evidence = Vec::new();
    for cost in costly.iter().take(5) {
        let from = format!("{source}/fd, before and after {} requests", cost.requests);
        evidence.push(Evidence::new(format!("left open by {}", cost.path), cost.left_open, &from));
        let handles = format!("of these on databases, by {}", cost.path);
        evidence.push(Evidence::new(handles, cost.left_database_handles, &from));
    }
    let next = vec![
        NextStep::run("see what they are", format!("hermes-doctor fds --all{}", super::selector(server))),
        NextStep::say("Look again in ten minutes: what is still open then leaks"),
    ];
    Some(finding(id::DESCRIPTOR_GROWTH, severity, title, evidence, next))
}

fn percent(share: f64) -> String {
    format!("{:.0} %", (share * 100.0).floor())
}

fn ceiling(facts: &Descriptors, source: &str, selector: &str) -> Option<Finding> {
    let (open, limit, share) = (facts.open?, facts.soft_limit?, facts.share()?);
    if share < CEILING_WARNING {
        return None;
    }
    let severity = if share >= CEILING_CRITICAL { Severity::Critical } else { Severity::Warning };
    let title = if open >= limit {
        format!("the descriptor limit is reached: {open} of {limit}")
    } else {
        format!("{open} of {limit} descriptors are open ({})", percent(share))
    };
    let mut evidence = vec![
        Evidence::new("open descriptors", open, format!("{source}/fd")),
        Evidence::new("soft limit", limit, format!("{source}/limits")),
    ];
    for (kind, count) in largest_kinds(facts) {
        evidence.push(Evidence::new(format!("of these {kind}"), count, format!("{source}/fd")));
    }
    let next = vec![NextStep::run("see what fills the table", format!("hermes-doctor fds --all{selector}"))];
    Some(finding(id::DESCRIPTOR_CEILING, severity, title, evidence, next))
}

/// The three kinds with the most descriptors.
fn largest_kinds(facts: &Descriptors) -> Vec<(String, u64)> {
    let mut kinds: Vec<(String, u64)> =
        facts.by_kind.iter().map(|(kind, count)| (kind.to_string(), *count)).collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    kinds.truncate(3);
    kinds
}

fn low_limit(facts: &Descriptors, source: &str) -> Option<Finding> {
    let (limit, share) = (facts.soft_limit?, facts.share()?);
    if limit > LOW_LIMIT {
        return None;
    }
    // From 80 % on descriptor-ceiling reports it, and this finding is only a note.
    let severity =
        if (LOW_LIMIT_WARNING..CEILING_WARNING).contains(&share) { Severity::Warning } else { Severity::Info };
    Some(finding(
        id::DESCRIPTOR_LIMIT_LOW,
        severity,
        format!("the soft limit is {limit} descriptors"),
        vec![
            Evidence::new("soft limit", limit, format!("{source}/limits")),
            Evidence::new(
                "hard limit",
                facts.hard_limit.map_or("unlimited".into(), serde_json::Value::from),
                format!("{source}/limits"),
            ),
        ],
        vec![NextStep::say("Raise it in the unit (LimitNOFILE=4096) or job (SoftResourceLimits)")],
    ))
}

fn handle_leak(
    family: &SqliteFamily,
    facts: &Descriptors,
    source: &str,
    watched: Option<&Growth>,
) -> Option<Finding> {
    let handles = family.handles();
    let Some(limit) = facts.soft_limit else { return leak_without_limit(family, facts, source, watched) };
    let share = handles as f64 / limit.max(1) as f64;
    if handles <= LEAK_LEAST || share < LEAK_SHARE {
        return None;
    }
    // A series that falls back is not only a leak.
    let falls = watched.map_or(0, |growth| growth.falls);
    let severity = match share {
        LEAK_CRITICAL.. => Severity::Critical,
        _ if falls > 0 => Severity::Info,
        _ => Severity::Warning,
    };
    let name = family.path.rsplit('/').next().unwrap_or(&family.path);
    let level = match watched {
        _ if severity == Severity::Critical => String::new(),
        None => "; a level from one look, not yet a trend".to_owned(),
        Some(growth) if falls > 0 => {
            format!("; they fell {falls} times in {} samples, and the floor is not decided", growth.samples)
        }
        Some(growth) => format!("; a level, not decided as a trend after {} samples", growth.samples),
    };
    let title = format!(
        "{} {name} + {} {name}-wal handles fill {} of the {limit} descriptors{level}",
        family.db,
        family.wal,
        percent(share)
    );
    let from = format!("{source}/fd");
    let mut evidence = handles_of(family, &from);
    evidence.push(Evidence::new("soft limit", limit, format!("{source}/limits")));
    let next = vec![step_sample_again()];
    Some(Finding {
        subject: Some(family.path.to_string()),
        ..finding(id::STATE_DB_HANDLE_LEAK, severity, title, evidence, next)
    })
}

/// The descriptors on one database, as evidence.
fn handles_of(family: &SqliteFamily, from: &str) -> Vec<Evidence> {
    vec![
        Evidence::new("database", family.path.clone(), from),
        Evidence::new("descriptors on the database", family.db, from),
        Evidence::new("descriptors on its WAL", family.wal, from),
        Evidence::new("descriptors on its WAL index", family.shm, from),
        Evidence::new("connections that these imply", family.connections, "one database descriptor a connection"),
    ]
}

fn step_sample_again() -> NextStep {
    NextStep::say(
        "Look again in ten minutes: a count that has risen is a leak, one that has fallen is deferred closing",
    )
}

/// A leak if the limit is unknown, as on macOS: by its share of the open descriptors, and only from the number
/// that would be a leak under launchd's default limit.
fn leak_without_limit(
    family: &SqliteFamily,
    facts: &Descriptors,
    source: &str,
    watched: Option<&Growth>,
) -> Option<Finding> {
    let (handles, open) = (family.handles(), facts.open?);
    let share = handles as f64 / open.max(1) as f64;
    if (handles as f64) < LOW_LIMIT as f64 * LEAK_SHARE || share < LEAK_SHARE {
        return None;
    }
    let falls = watched.map_or(0, |growth| growth.falls);
    let severity = if falls > 0 { Severity::Info } else { Severity::Warning };
    let name = family.path.rsplit('/').next().unwrap_or(&family.path);
    let title = format!(
        "{} {name} + {} {name}-wal handles are {} of the {open} open descriptors; a level{}",
        family.db,
        family.wal,
        percent(share),
        if watched.is_some() { ", not decided as a trend" } else { " from one look, not yet a trend" }
    );
    let from = format!("{source}/fd");
    let mut evidence = handles_of(family, &from);
    evidence.extend([
        Evidence::new("open descriptors", open, &from),
        Evidence::new("soft limit", "unknown", "no public interface tells it"),
        Evidence::new(
            "soft limit with which launchd starts a job",
            LOW_LIMIT,
            "launchd's default, unless the job or the server raises it",
        ),
    ]);
    let next = vec![step_sample_again()];
    Some(Finding {
        subject: Some(family.path.to_string()),
        ..finding(id::STATE_DB_HANDLE_LEAK, severity, title, evidence, next)
    })
}

/// Whether the number of descriptors would reach the ceiling under launchd's default limit, if the limit is
/// unknown. It proves nothing alone, but explains a server that does not answer.
pub fn may_be_at_ceiling(facts: &Descriptors) -> bool {
    let least = LOW_LIMIT as f64 * CEILING_CRITICAL;
    facts.soft_limit.is_none() && facts.open.is_some_and(|open| open as f64 >= least)
}

fn close_wait_leak(facts: &Descriptors, source: &str, selector: &str) -> Option<Finding> {
    let close_wait = facts.close_wait.as_ref()?;
    let still = close_wait.still_at_second?;
    if !is_many_close_wait(still, facts.soft_limit) {
        return None;
    }
    let time =
        close_wait.between_ms.map_or(String::new(), |ms| format!(" for {:.1} s and more", ms as f64 / 1000.0));
    let mut evidence = vec![
        Evidence::new(
            "CLOSE-WAIT sockets that the process owns",
            close_wait.first,
            format!("{source}/fd and sock_diag"),
        ),
        Evidence::new("of these still there at the second look", still, "sock_diag"),
    ];
    evidence.extend(close_wait.between_ms.map(|ms| Evidence::new("time between the looks in ms", ms, "clock")));
    for peer in close_wait.by_peer.iter().take(3) {
        evidence.push(Evidence::new(format!("of these to {}", peer.peer), peer.count, "sock_diag"));
    }
    let peer = close_wait.by_peer.first().map_or(String::new(), |peer| format!(", most of them to {}", peer.peer));
    Some(finding(
        id::CLOSE_WAIT_LEAK,
        Severity::Warning,
        format!("{still} connections that the peer closed are kept open{time}{peer}"),
        evidence,
        vec![
            NextStep::run("see the peers", format!("hermes-doctor fds --all{selector}")),
            NextStep::say("Look again in ten minutes to see whether the count grows"),
        ],
    ))
}

fn deleted_files(facts: &Descriptors, source: &str) -> Option<Finding> {
    let held: Vec<_> = facts
        .targets
        .iter()
        .filter(|target| {
            target.deleted && target.kind == "regular" && !is_unlinked_by_design(target.target.as_bytes())
        })
        .collect();
    let first = held.first()?;
    let bytes: u64 = held.iter().filter_map(|target| target.size_bytes).fold(0, u64::saturating_add);
    let count: u64 = held.iter().map(|target| target.count).fold(0, u64::saturating_add);
    let evidence = held
        .iter()
        .take(5)
        .map(|target| {
            Evidence::new(
                format!("size in bytes of {}", target.target),
                target.size_bytes.map_or(serde_json::Value::Null, Into::into),
                format!("{source}/fd"),
            )
        })
        .collect();
    let is_database = held.iter().any(|target| sqlite_family(target.target.as_bytes()).is_some());
    let next = if is_database {
        vec![NextStep::say(
            "Before any restart copy the unlinked database files out of /proc/PID/fd: a restart loses them",
        )]
    } else {
        vec![NextStep::say("For a rotated log, have the server reopen it or restart it")]
    };
    Some(finding(
        id::DELETED_FILES_HELD,
        Severity::Info,
        format!("{count} descriptors on {} unlinked files, {bytes} bytes, {} among them", held.len(), first.target),
        evidence,
        next,
    ))
}
