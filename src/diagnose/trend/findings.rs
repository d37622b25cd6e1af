//! Findings that follow from a trend.

use super::{MIN_SAMPLES, at_this_pace, in_order, series};
use crate::model::{DescriptorFinding, Growth, Raised, Series, Severity, Shape, Trend, TrendFacts, id};

/// Share of the soft limit above which growth is critical.
const CRITICAL_SHARE: f64 = 0.80;
/// Time to the soft limit below which growth is critical, in milliseconds.
const CRITICAL_MS: u64 = 3_600_000;

/// Findings of a trend; `growths` are the verdicts on its series.
pub fn findings(trend: &Trend, growths: &[Growth]) -> Vec<Raised> {
    let facts = |growth: &Growth| TrendFacts { growth: growth.clone(), soft_limit: trend.soft_limit };
    let mut found: Vec<Raised> = Vec::new();
    for growth in growths {
        let Series::Family(path) = &growth.series else { continue };
        let (path, facts) = (path.to_string(), facts(growth));
        match growth.shape {
            Shape::Staircase | Shape::RisingFloor => {
                let severity = severity(trend, growth, growth.last);
                found.push(Raised::new(severity, DescriptorFinding::HandleGrowth { path, facts }));
            }
            Shape::SawTooth if growth.peak - growth.floor_last.min(growth.peak) >= 10 => {
                let most_open = trend.samples.iter().filter_map(|sample| sample.open).max();
                let finding = DescriptorFinding::DeferredClose { path, facts, most_open };
                found.push(Raised::new(Severity::Info, finding));
            }
            _ => {}
        }
    }
    found.extend(descriptor_growth(trend, growths).or_else(|| rise(trend, growths)));
    found
}

/// Critical if the limit is near in time or number; `count` descriptors are compared with it.
fn severity(trend: &Trend, growth: &Growth, count: u64) -> Severity {
    let limit = trend.soft_limit.filter(|limit| *limit > 0);
    let is_near = growth.to_limit_ms.is_some_and(|ms| ms < CRITICAL_MS)
        || limit.is_some_and(|limit| count as f64 / limit as f64 >= CRITICAL_SHARE);
    if is_near { Severity::Critical } else { Severity::Warning }
}

/// An undecided rise that would fill the table soon: a note, not an alarm.
fn rise(trend: &Trend, growths: &[Growth]) -> Option<Raised> {
    let is_it = |growth: &&Growth| growth.series == Series::Open && growth.shape == Shape::Undecided;
    let growth = growths.iter().find(is_it).filter(|growth| growth.falls == 0)?;
    let open = in_order(series(trend.samples.iter(), |sample| sample.open));
    let (limit_in_ms, limit) = at_this_pace(&open, trend.soft_limit).filter(|(ms, _)| *ms < CRITICAL_MS)?;
    if open.len() < MIN_SAMPLES {
        return None;
    }
    let facts = TrendFacts { growth: growth.clone(), soft_limit: trend.soft_limit };
    Some(Raised::new(Severity::Info, DescriptorFinding::Rise { facts, limit, limit_in_ms }))
}

/// Growth of all descriptors together, or of one kind. Growth that the finding of a database explains is not
/// repeated.
fn descriptor_growth(trend: &Trend, growths: &[Growth]) -> Option<Raised> {
    let grown = |growth: &&Growth| growth.shape.is_growth();
    let fastest = |a: &Growth, b: &Growth| a.per_hour.unwrap_or(0.0).total_cmp(&b.per_hour.unwrap_or(0.0));
    let parts = || growths.iter().filter(grown).filter(|growth| growth.series != Series::Open);
    let whole = growths.iter().filter(grown).find(|growth| growth.series == Series::Open);
    let kind = parts().filter(|growth| matches!(growth.series, Series::Kind(_))).max_by(|a, b| fastest(a, b));
    let growth = whole.or(kind)?;
    let open = in_order(series(trend.samples.iter(), |sample| sample.open));
    let severity = severity(trend, growth, open.last().map_or(growth.last, |point| point.value));
    let mut parts: Vec<Growth> = parts().cloned().collect();
    parts.sort_by(|a, b| fastest(b, a));
    // The part with at least half of the rate is the cause.
    let half = growth.per_hour.unwrap_or(0.0) / 2.0;
    let is_cause = |part: &Growth| matches!(part.series, Series::Family(_)) && part.per_hour.unwrap_or(0.0) >= half;
    let caused_by = parts.iter().any(is_cause).then_some(id::STATE_DB_HANDLE_LEAK).into_iter().collect();
    let facts = TrendFacts { growth: growth.clone(), soft_limit: trend.soft_limit };
    Some(Raised { caused_by, ..Raised::new(severity, DescriptorFinding::Growth { facts, parts }) })
}

/// For example `45 s`, `12 m`, `7 h`, `3 d`.
pub fn time(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} m", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}
