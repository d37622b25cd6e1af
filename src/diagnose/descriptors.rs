//! Findings from the open descriptors.

use super::is_many_close_wait;
use super::verdict::Verdict;
use crate::model::{
    CEILING_CRITICAL, CEILING_WARNING, DescriptorFinding, Descriptors, Gap, GapDetail, GapReason, GapSubject,
    Growth, LevelOf, Raised, Series, Server, Severity, Shape, SqliteFamily, Target, Watched, id,
};
use crate::parse::link::{is_unlinked_by_design, sqlite_family};

/// Minimum number of database and WAL descriptors of one database for a leak: no pool needs so many.
const LEAK_LEAST: u64 = 30;
/// Minimum share of the soft limit for a leak that was sampled once.
const LEAK_SHARE: f64 = 0.25;
/// Share above which it is critical.
const LEAK_CRITICAL: f64 = 0.80;
/// Share of a low limit above which it is a warning.
const LOW_LIMIT_WARNING: f64 = 0.60;
/// launchd's default soft limit, in descriptors.
pub const LOW_LIMIT: u64 = 256;

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
    if facts.open.is_some() && facts.soft_limit.is_some() {
        verdict.decide(id::DESCRIPTOR_CEILING, ceiling(facts));
        verdict.decide(id::DESCRIPTOR_LIMIT_LOW, low_limit(facts));
    }
    let leaks = leaks(server, facts);
    // A series that rose and stayed undecided has not passed.
    let rises = server.growth.iter().any(|growth| {
        let is_of_them = matches!(growth.series, Series::Family(_) | Series::Open);
        is_of_them && growth.shape == Shape::Undecided && growth.falls == 0 && growth.last > growth.first
    });
    if !rises && leaks.iter().all(|found| found.id() != id::STATE_DB_HANDLE_LEAK) {
        verdict.pass(id::STATE_DB_HANDLE_LEAK);
    }
    let is_decided =
        server.growth.iter().any(|growth| growth.series == Series::Open && growth.shape != Shape::Undecided);
    if is_decided && leaks.iter().all(|found| found.id() != id::DESCRIPTOR_GROWTH) {
        verdict.pass(id::DESCRIPTOR_GROWTH);
    }
    leaks.into_iter().for_each(|leak| verdict.raise(leak));
    if let Some(found) = left_by_requests(server, facts) {
        verdict.raise(found);
    }
    if let Some(close_wait) = &facts.close_wait {
        let is_many = is_many_close_wait(close_wait.first, facts.soft_limit);
        // Many sockets without a second sample stay undecided, and a gap says so.
        if !is_many || close_wait.still_at_second.is_some() {
            verdict.decide(id::CLOSE_WAIT_LEAK, close_wait_leak(facts));
        }
    }
    verdict.decide(id::DELETED_FILES_HELD, deleted_files(facts));
}

/// Leaks by trend if the descriptors were sampled over time, else by their level. A trend is stronger evidence
/// than a level, but near the limit the level counts too.
fn leaks(server: &Server, facts: &Descriptors) -> Vec<Raised> {
    let growth_of = |path: &str| {
        let of_it = |growth: &&Growth| matches!(&growth.series, Series::Family(family) if family == path);
        server.growth.iter().find(of_it)
    };
    let by_level = facts.sqlite.iter().filter_map(|family| {
        let growth = growth_of(&family.path);
        let found = handle_level(family, facts, growth)?;
        let is_decided = growth.is_some_and(|growth| growth.shape != Shape::Undecided);
        (!is_decided || found.severity == Severity::Critical).then_some(found)
    });
    let mut found: Vec<Raised> = by_level.collect();
    let of_trend = server.trend.as_ref().map(|trend| super::trend::findings(trend, &server.growth));
    for trend in of_trend.unwrap_or_default() {
        // One finding per database: its trend, unless the level is more severe.
        let same = found.iter().position(|level| level.key() == trend.key());
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
fn left_by_requests(server: &Server, facts: &Descriptors) -> Option<Raised> {
    let exercise = server.exercise.as_ref()?;
    let costly: Vec<_> =
        exercise.paths.iter().filter(|cost| cost.per_request >= LEFT_BY_A_REQUEST).cloned().collect();
    let worst = costly.iter().max_by(|a, b| a.per_request.total_cmp(&b.per_request))?.clone();
    let may_be_collected = super::trend::tooth(facts.soft_limit);
    let is_leak = u64::try_from(worst.left_open).is_ok_and(|left| left > may_be_collected);
    let severity = if is_leak { Severity::Warning } else { Severity::Info };
    Some(Raised::new(severity, DescriptorFinding::LeftByRequests { worst, costly, is_leak }))
}

fn ceiling(facts: &Descriptors) -> Option<Raised> {
    let (open, limit, share) = (facts.open?, facts.soft_limit?, facts.share()?);
    if share < CEILING_WARNING {
        return None;
    }
    let severity = if share >= CEILING_CRITICAL { Severity::Critical } else { Severity::Warning };
    let largest_kinds = largest_kinds(facts);
    Some(Raised::new(severity, DescriptorFinding::Ceiling { open, limit, largest_kinds }))
}

/// The three kinds with the most descriptors.
fn largest_kinds(facts: &Descriptors) -> Vec<(String, u64)> {
    let mut kinds: Vec<(String, u64)> =
        facts.by_kind.iter().map(|(kind, count)| (kind.to_string(), *count)).collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    kinds.truncate(3);
    kinds
}

fn low_limit(facts: &Descriptors) -> Option<Raised> {
    let (limit, share) = (facts.soft_limit?, facts.share()?);
    if limit > LOW_LIMIT {
        return None;
    }
    // From 80 % on descriptor-ceiling reports it, and this finding is only a note.
    let severity =
        if (LOW_LIMIT_WARNING..CEILING_WARNING).contains(&share) { Severity::Warning } else { Severity::Info };
    Some(Raised::new(severity, DescriptorFinding::LimitLow { limit, hard_limit: facts.hard_limit }))
}

/// Many handles of one database. If the limit is unknown, as on macOS, their share of the open descriptors counts,
/// and only from the number that would be a leak under launchd's default limit.
fn handle_level(family: &SqliteFamily, facts: &Descriptors, growth: Option<&Growth>) -> Option<Raised> {
    let handles = family.handles();
    // A series that falls back is not only a leak.
    let watched = growth.map(|growth| Watched { falls: growth.falls, samples: growth.samples });
    let falls = watched.is_some_and(|watched| watched.falls > 0);
    let (of, share, is_many) = match facts.soft_limit {
        Some(limit) => (LevelOf::Limit(limit), handles as f64 / limit.max(1) as f64, handles > LEAK_LEAST),
        None => {
            let open = facts.open?;
            let is_many = handles as f64 >= LOW_LIMIT as f64 * LEAK_SHARE;
            (LevelOf::Open(open), handles as f64 / open.max(1) as f64, is_many)
        }
    };
    if !is_many || share < LEAK_SHARE {
        return None;
    }
    let severity = match of {
        LevelOf::Limit(_) if share >= LEAK_CRITICAL => Severity::Critical,
        _ if falls => Severity::Info,
        _ => Severity::Warning,
    };
    Some(Raised::new(severity, DescriptorFinding::HandleLevel { family: family.clone(), of, watched }))
}

/// Whether the number of descriptors would reach the ceiling under launchd's default limit, if the limit is
/// unknown. It proves nothing alone, but explains a server that does not answer.
pub fn may_be_at_ceiling(facts: &Descriptors) -> bool {
    let least = LOW_LIMIT as f64 * CEILING_CRITICAL;
    facts.soft_limit.is_none() && facts.open.is_some_and(|open| open as f64 >= least)
}

fn close_wait_leak(facts: &Descriptors) -> Option<Raised> {
    let sockets = facts.close_wait.clone()?;
    let still = sockets.still_at_second?;
    is_many_close_wait(still, facts.soft_limit)
        .then(|| Raised::new(Severity::Warning, DescriptorFinding::CloseWaitLeak { sockets, still }))
}

fn deleted_files(facts: &Descriptors) -> Option<Raised> {
    let is_held = |target: &&Target| {
        target.deleted && target.kind == "regular" && !is_unlinked_by_design(target.target.as_bytes())
    };
    let files: Vec<Target> = facts.targets.iter().filter(is_held).cloned().collect();
    let first = files.first()?.clone();
    let is_database = files.iter().any(|file| sqlite_family(file.target.as_bytes()).is_some());
    Some(Raised::new(Severity::Info, DescriptorFinding::DeletedFiles { first, files, is_database }))
}
