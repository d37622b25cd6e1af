//! Findings about open descriptors.

use super::steps::NO_COPY;
use super::threads::counted;
use super::{Context, Words, trend};
use crate::diagnose::LOW_LIMIT;
use crate::model::{
    CloseWait, DescriptorFinding, LevelOf, NextStep, Os, PathCost, Row, Severity, Source, SqliteFamily, Target,
    Watched,
};

/// The text of a finding.
pub fn words(finding: &DescriptorFinding, severity: Severity, context: &Context) -> Words {
    match finding {
        DescriptorFinding::Ceiling { open, limit, largest_kinds } => ceiling(*open, *limit, largest_kinds, context),
        DescriptorFinding::LimitLow { limit, hard_limit } => limit_low(*limit, *hard_limit, context),
        DescriptorFinding::HandleLevel { family, of, watched } => {
            handle_level(family, *of, *watched, severity, context)
        }
        DescriptorFinding::HandleGrowth { facts, .. } => trend::handle_growth(facts, context),
        DescriptorFinding::DeferredClose { facts, most_open, .. } => {
            trend::deferred_close(facts, *most_open, context)
        }
        DescriptorFinding::Growth { facts, parts } => trend::growth(facts, parts, context),
        DescriptorFinding::Rise { facts, limit, limit_in_ms } => trend::rise(facts, *limit, *limit_in_ms, context),
        DescriptorFinding::LeftByRequests { worst, costly, is_leak } => {
            left_by_requests(worst, costly, *is_leak, context)
        }
        DescriptorFinding::LeftByHealthRequests { requests, before, after, limit } => {
            left_by_health_requests(*requests, *before, *after, *limit, context)
        }
        DescriptorFinding::CloseWaitLeak { sockets, still } => close_wait(sockets, *still, context),
        DescriptorFinding::DeletedFiles { first, files, is_database } => {
            deleted_files(first, files, *is_database, context)
        }
    }
}

fn ceiling(open: u64, limit: u64, largest_kinds: &[(String, u64)], context: &Context) -> Words {
    let title = if open >= limit {
        format!("the descriptor limit is reached: {open} of {limit}")
    } else {
        format!("{open} of {limit} descriptors are open ({})", percent(open, limit))
    };
    let from = || Source::descriptors(context.pid);
    let mut evidence = vec![
        Row::new("open descriptors", open, from()),
        Row::new("soft limit", limit, Source::limits(context.pid)),
    ];
    evidence.extend(largest_kinds.iter().map(|(kind, count)| Row::new(format!("of these {kind}"), *count, from())));
    Words { title, evidence, next: vec![see_all("list the open descriptors", context)] }
}

fn limit_low(limit: u64, hard_limit: Option<u64>, context: &Context) -> Words {
    let hard_limit = hard_limit.map_or("unlimited".into(), serde_json::Value::from);
    Words {
        title: format!("the soft limit is {limit} descriptors"),
        evidence: vec![
            Row::new("soft limit", limit, Source::limits(context.pid)),
            Row::new("hard limit", hard_limit, Source::limits(context.pid)),
        ],
        next: vec![NextStep::say("Raise it in the unit (LimitNOFILE=4096) or job (SoftResourceLimits)")],
    }
}

fn handle_level(
    family: &SqliteFamily,
    of: LevelOf,
    watched: Option<Watched>,
    severity: Severity,
    context: &Context,
) -> Words {
    let name = family.path.rsplit('/').next().unwrap_or(&family.path);
    let (db, wal) = (family.db, family.wal);
    let from = || Source::descriptors(context.pid);
    let mut evidence = vec![
        Row::new("database", family.path.to_string(), from()),
        Row::new("descriptors on the database", db, from()),
        Row::new("descriptors on its WAL", wal, from()),
        Row::new("descriptors on its WAL index", family.shm, from()),
        Row::new("connections that these imply", family.connections, "one database descriptor per connection"),
    ];
    let title = match of {
        LevelOf::Limit(limit) => {
            let level = match watched {
                _ if severity == Severity::Critical => String::new(),
                None => "; sampled once, no trend yet".to_owned(),
                Some(Watched { falls: 0, samples }) => {
                    format!("; no trend established in {samples} samples")
                }
                Some(Watched { falls, samples }) => {
                    format!("; {falls} falls in {samples} samples, no trend of the floor established")
                }
            };
            let share = percent(family.handles(), limit);
            evidence.push(Row::new("soft limit", limit, Source::limits(context.pid)));
            format!("{db} {name} + {wal} {name}-wal handles fill {share} of the {limit} descriptors{level}")
        }
        LevelOf::Open(open) => {
            let level = if watched.is_some() { "no trend established" } else { "sampled once, no trend yet" };
            let share = percent(family.handles(), open);
            evidence.extend([
                Row::new("open descriptors", open, from()),
                Row::new("soft limit", "unknown", "no public interface reports it"),
                Row::new(
                    "default soft limit of a launchd job",
                    LOW_LIMIT,
                    "launchd's default, unless the job or the server raises it",
                ),
            ]);
            format!("{db} {name} + {wal} {name}-wal handles are {share} of the {open} open descriptors; {level}")
        }
    };
    let next = vec![NextStep::say(
        "Sample again in ten minutes: a higher count indicates a leak, a lower count deferred closing",
    )];
    Words { title, evidence, next }
}

fn left_by_requests(worst: &PathCost, costly: &[PathCost], is_leak: bool, context: &Context) -> Words {
    let what = if is_leak { "too many for deferred closing" } else { "they may be closed later" };
    let mut evidence = Vec::new();
    for cost in costly.iter().take(5) {
        let from =
            || Source::descriptors(context.pid).sampled(format!("before and after {} requests", cost.requests));
        evidence.push(Row::new(format!("left open by {}", cost.path), cost.left_open, from()));
        evidence.push(Row::new(
            format!("of these on databases, by {}", cost.path),
            cost.left_database_handles,
            from(),
        ));
    }
    Words {
        title: format!(
            "each request for {} left {:.2} descriptors open: {} after {} requests; {what}",
            worst.path, worst.per_request, worst.left_open, worst.requests
        ),
        evidence,
        next: vec![
            see_all("list the open descriptors", context),
            NextStep::say("Sample again in ten minutes: descriptors that are still open have leaked"),
        ],
    }
}

fn left_by_health_requests(requests: u64, before: u64, after: u64, limit: Option<u64>, context: &Context) -> Words {
    let left = after.saturating_sub(before);
    let of = limit.map_or(String::new(), |limit| format!(" of {limit}"));
    Words {
        title: format!("{requests} requests left {left} descriptors open: {before} before, {after}{of} after"),
        evidence: vec![
            Row::new("open descriptors before the requests", before, Source::descriptors(context.pid)),
            Row::new("open descriptors after the requests", after, Source::descriptors(context.pid)),
            Row::new("requests", requests, Source::HttpProbe),
        ],
        next: vec![see_all("list the open descriptors", context)],
    }
}

fn close_wait(sockets: &CloseWait, still: u64, context: &Context) -> Words {
    let time = sockets.between_ms.map_or(String::new(), |ms| format!(" for at least {:.1} s", ms as f64 / 1000.0));
    let mut evidence = vec![
        Row::new("CLOSE-WAIT sockets that the process owns", sockets.first, Source::OwnSockets(context.pid)),
        Row::new("of these, also in the second sample", still, Source::Sockets),
    ];
    evidence.extend(sockets.between_ms.map(|ms| Row::new("time between the samples in ms", ms, Source::Clock)));
    let peers = sockets.by_peer.iter().take(3);
    evidence.extend(peers.map(|peer| Row::new(format!("of these to {}", peer.peer), peer.count, Source::Sockets)));
    let peer = sockets.by_peer.first().map_or(String::new(), |peer| format!(", most of them to {}", peer.peer));
    Words {
        title: format!("{still} connections closed by the peer are still held open{time}{peer}"),
        evidence,
        next: vec![
            see_all("list the peers", context),
            NextStep::say("Sample again in ten minutes to see whether the count grows"),
        ],
    }
}

fn deleted_files(first: &Target, files: &[Target], is_database: bool, context: &Context) -> Words {
    let bytes: u64 = files.iter().filter_map(|file| file.size_bytes).fold(0, u64::saturating_add);
    let count: u64 = files.iter().map(|file| file.count).fold(0, u64::saturating_add);
    let size = |file: &Target| {
        let bytes = file.size_bytes.map_or(serde_json::Value::Null, Into::into);
        Row::new(format!("size in bytes of {}", file.target), bytes, Source::descriptors(context.pid))
    };
    let next = match (is_database, context.os) {
        (true, Os::Linux) => {
            "Before any restart, copy the unlinked database files from /proc/PID/fd: a restart loses them"
        }
        (true, Os::MacOs) => NO_COPY,
        (false, _) => "For a rotated log, have the server reopen it or restart it",
    };
    Words {
        title: format!(
            "{} to {} ({bytes} bytes), among them {}",
            counted(count, "descriptor refers", "descriptors refer"),
            counted(files.len() as u64, "unlinked file", "unlinked files"),
            first.target
        ),
        evidence: files.iter().take(5).map(size).collect(),
        next: vec![NextStep::say(next)],
    }
}

fn see_all(what: &str, context: &Context) -> NextStep {
    NextStep::run(what, format!("hermes-doctor fds --all{}", context.selector()))
}

/// A share in whole percent, rounded down.
fn percent(part: u64, whole: u64) -> String {
    format!("{:.0} %", (part as f64 / whole.max(1) as f64 * 100.0).floor())
}
