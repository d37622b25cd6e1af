//! Findings that follow from a trend.

use super::{MIN_SAMPLES, at_this_pace, in_order, series};
use crate::diagnose::verdict::finding;
use crate::model::{Evidence, Finding, Growth, NextStep, Series, Severity, Shape, Trend, id};

/// Share of the soft limit above which growth is critical.
const CRITICAL_SHARE: f64 = 0.80;
/// Time to the soft limit below which growth is critical, in milliseconds.
const CRITICAL_MS: u64 = 3_600_000;

/// Findings of a trend; `growths` are the verdicts on its series.
pub fn findings(server_pid: Option<u32>, trend: &Trend, growths: &[Growth]) -> Vec<Finding> {
    let context = Context::new(server_pid, trend);
    let mut found: Vec<Finding> = Vec::new();
    for growth in growths {
        if let Series::Family(path) = &growth.series {
            let of_family = match growth.shape {
                Shape::Staircase | Shape::RisingFloor => Some(context.handle_leak(growth)),
                Shape::SawTooth if growth.peak - growth.floor_last.min(growth.peak) >= 10 => {
                    Some(context.deferred_close(growth))
                }
                _ => None,
            };
            found.extend(of_family.map(|finding| Finding { subject: Some(path.clone().to_string()), ..finding }));
        }
    }
    found.extend(context.descriptor_growth(growths).or_else(|| context.rise(trend, growths)));
    found
}

/// Common values of all findings of one trend.
struct Context {
    selector: String,
    descriptors: String,
    limits: String,
    soft_limit: Option<u64>,
    last_open: Option<u64>,
    most_open: Option<u64>,
}

impl Context {
    fn new(pid: Option<u32>, trend: &Trend) -> Self {
        let process = pid.map_or_else(|| "/proc/PID".to_owned(), |pid| format!("/proc/{pid}"));
        let open = in_order(series(trend.samples.iter(), |sample| sample.open));
        Self {
            selector: pid.map_or_else(String::new, |pid| format!(" --pid {pid}")),
            descriptors: format!("{process}/fd"),
            limits: format!("{process}/limits"),
            soft_limit: trend.soft_limit,
            last_open: open.last().map(|point| point.value),
            most_open: open.iter().map(|point| point.value).max(),
        }
    }

    fn share(&self, count: u64) -> Option<f64> {
        self.soft_limit.filter(|limit| *limit > 0).map(|limit| count as f64 / limit as f64)
    }

    /// For example `+18 an hour (15 to 21), 256 reached in 7 h`.
    fn pace(&self, growth: &Growth) -> String {
        let mut text = match (growth.per_hour, growth.per_hour_low, growth.per_hour_high) {
            (Some(rate), Some(low), Some(high)) => {
                format!("+{} an hour ({} to {})", number(rate), number(low), number(high))
            }
            _ => format!("+{}", growth.floor_last.saturating_sub(growth.floor_first)),
        };
        if let (Some(ms), Some(limit)) = (growth.to_limit_ms, self.soft_limit) {
            text += &if ms == 0 {
                format!(", {limit} is reached")
            } else {
                format!(", {limit} reached in {}", time(ms))
            };
        }
        text
    }

    fn evidence(&self, growth: &Growth, what: &str) -> Vec<Evidence> {
        let (from, looks) =
            (&self.descriptors, format!("{} samples over {}", growth.samples, time(growth.span_ms)));
        let mut evidence = vec![
            Evidence::new(format!("{what} at the first sample"), growth.first, from),
            Evidence::new(format!("{what} at the last sample"), growth.last, from),
            Evidence::new("most at any sample", growth.peak, from),
            Evidence::new("lowest floor at the beginning", growth.floor_first, from),
            Evidence::new("lowest floor at the end", growth.floor_last, from),
            Evidence::new("falls seen", growth.falls, &looks),
            Evidence::new("length of the watch in ms", growth.span_ms, "clock"),
        ];
        if let (Some(rate), Some(low), Some(high)) = (growth.per_hour, growth.per_hour_low, growth.per_hour_high) {
            let method = format!("Theil-Sen slope, {looks}");
            evidence.push(Evidence::new("descriptors an hour", rounded(rate), &method));
            evidence.push(Evidence::new("of that the 95 % interval from", rounded(low), &method));
            evidence.push(Evidence::new("to", rounded(high), &method));
        }
        if let Some(ms) = growth.to_limit_ms {
            evidence.push(Evidence::new("time to the soft limit in ms", ms, "headroom divided by the rate"));
        }
        if let Some(idle) = growth.idle {
            let connected = if idle { "none at any sample" } else { "some" };
            evidence.push(Evidence::new("clients connected meanwhile", connected, "connections to its port"));
        }
        if let Some(limit) = self.soft_limit {
            evidence.push(Evidence::new("soft limit", limit, &self.limits));
        }
        evidence
    }

    fn is_near(&self, growth: &Growth, count: u64) -> bool {
        growth.to_limit_ms.is_some_and(|ms| ms < CRITICAL_MS)
            || self.share(count).is_some_and(|share| share >= CRITICAL_SHARE)
    }

    fn handle_leak(&self, growth: &Growth) -> Finding {
        let severity = if self.is_near(growth, growth.last) { Severity::Critical } else { Severity::Warning };
        let title = format!("{} handles: {}; {}", growth.series, self.pace(growth), given_back(growth));
        finding(
            id::STATE_DB_HANDLE_LEAK,
            severity,
            title,
            self.evidence(growth, "descriptors on the database and its WAL"),
            vec![NextStep::run("see what holds them", format!("hermes-doctor fds --all{}", self.selector))],
        )
    }

    fn deferred_close(&self, growth: &Growth) -> Finding {
        let mut title =
            format!("{} handles rise to {} and fall back to {}", growth.series, growth.peak, growth.floor_last);
        if let (Some(limit), Some(most)) = (self.soft_limit, self.most_open) {
            title +=
                &format!("; at most {most} of {limit} descriptors were open, {} short", limit.saturating_sub(most));
        }
        finding(
            id::DEFERRED_CLOSE,
            Severity::Info,
            title,
            self.evidence(growth, "descriptors on the database and its WAL"),
            vec![NextStep::say("Nothing now; update to a version that closes its connections when one is there")],
        )
    }

    /// An undecided rise that would fill the table soon: a note, not an alarm.
    fn rise(&self, trend: &Trend, growths: &[Growth]) -> Option<Finding> {
        let is_it = |growth: &&Growth| growth.series == Series::Open && growth.shape == Shape::Undecided;
        let growth = growths.iter().find(is_it).filter(|growth| growth.falls == 0)?;
        let open = in_order(series(trend.samples.iter(), |sample| sample.open));
        let (ms, limit) = at_this_pace(&open, trend.soft_limit).filter(|(ms, _)| *ms < CRITICAL_MS)?;
        if open.len() < MIN_SAMPLES {
            return None;
        }
        let title = format!(
            "+{} in {}, not decided yet; if it goes on, {limit} is reached in {}",
            growth.last.saturating_sub(growth.first),
            time(growth.span_ms),
            time(ms)
        );
        let evidence = self.evidence(growth, "descriptors");
        let longer = format!("hermes-doctor fds{} --samples 100 --every 10s", self.selector);
        let next = vec![NextStep::run("look for longer", longer)];
        Some(finding(id::DESCRIPTOR_GROWTH, Severity::Info, title, evidence, next))
    }

    /// Growth of all descriptors together, or of one kind. Growth that the finding of a database explains is
    /// not repeated.
    fn descriptor_growth(&self, growths: &[Growth]) -> Option<Finding> {
        let grown = |growth: &&Growth| growth.shape.is_growth();
        let fastest = |a: &&Growth, b: &&Growth| a.per_hour.unwrap_or(0.0).total_cmp(&b.per_hour.unwrap_or(0.0));
        let parts = || growths.iter().filter(grown).filter(|growth| growth.series != Series::Open);
        let whole = growths.iter().filter(grown).find(|growth| growth.series == Series::Open);
        let kind = parts().filter(|growth| matches!(growth.series, Series::Kind(_))).max_by(fastest);
        let growth = whole.or(kind)?;
        let severity = if self.is_near(growth, self.last_open.unwrap_or(growth.last)) {
            Severity::Critical
        } else {
            Severity::Warning
        };
        let mut named: Vec<&Growth> = parts().collect();
        named.sort_by(|a, b| fastest(b, a));
        let names: Vec<String> = named.iter().take(3).map(|growth| growth.series.to_string()).collect();
        let title = match (names.is_empty(), names.len()) {
            (true, _) => format!("{}; {}", self.pace(growth), given_back(growth)),
            (false, 1) => format!("{}; {} grows, {}", self.pace(growth), names.join(""), given_back(growth)),
            _ => format!("{}; {} grow, {}", self.pace(growth), names.join(" and "), given_back(growth)),
        };
        let mut evidence = self.evidence(growth, &growth.series.to_string());
        for part in &named {
            let rate = part.per_hour.map_or(serde_json::Value::Null, |rate| rounded(rate).into());
            evidence.push(Evidence::new(format!("of this {} an hour", part.series), rate, &self.descriptors));
        }
        // The part with at least half of the rate is the cause.
        let half = growth.per_hour.unwrap_or(0.0) / 2.0;
        let is_database =
            |part: &&&Growth| matches!(part.series, Series::Family(_)) && part.per_hour.unwrap_or(0.0) >= half;
        let caused_by = named.iter().find(is_database).map(|_| id::STATE_DB_HANDLE_LEAK.to_owned());
        let next =
            vec![NextStep::run("see what fills the table", format!("hermes-doctor fds --all{}", self.selector))];
        Some(Finding {
            caused_by: caused_by.into_iter().collect(),
            ..finding(id::DESCRIPTOR_GROWTH, severity, title, evidence, next)
        })
    }
}

fn given_back(growth: &Growth) -> String {
    let meanwhile = if growth.idle == Some(true) { ", and no client is connected" } else { "" };
    match growth.shape {
        Shape::RisingFloor => {
            format!("it falls, each time less far: {} to {}{meanwhile}", growth.floor_first, growth.floor_last)
        }
        _ if growth.falls > 0 => format!("little is given back{meanwhile}"),
        _ => format!("nothing is given back{meanwhile}"),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// For example `18`, `1.5`.
fn number(value: f64) -> String {
    if value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{}", rounded(value)) }
}

/// For example `45 s`, `12 m`, `7 h`, `3 d`.
pub(super) fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} m", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
