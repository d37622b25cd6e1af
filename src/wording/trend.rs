//! Findings about descriptors over time.

use super::{Context, Words};
use crate::diagnose::trend::time;
use crate::model::{Growth, NextStep, Row, Shape, Source, TrendFacts};

/// The handles of one database grow.
pub fn handle_growth(facts: &TrendFacts, context: &Context) -> Words {
    let growth = &facts.growth;
    Words {
        title: format!("{} handles: {}; {}", growth.series, pace(facts), given_back(growth)),
        evidence: evidence(facts, "descriptors on the database and its WAL", context),
        next: vec![NextStep::run(
            "list the open descriptors",
            format!("hermes-doctor fds --all{}", context.selector()),
        )],
    }
}

/// The handles of one database are closed late.
pub fn deferred_close(facts: &TrendFacts, most_open: Option<u64>, context: &Context) -> Words {
    let growth = &facts.growth;
    let mut title =
        format!("{} handles rise to {} and fall back to {}", growth.series, growth.peak, growth.floor_last);
    if let (Some(limit), Some(most)) = (facts.soft_limit, most_open) {
        title += &format!(
            "; at most {most} of {limit} descriptors were open, {} below the limit",
            limit.saturating_sub(most)
        );
    }
    Words {
        title,
        evidence: evidence(facts, "descriptors on the database and its WAL", context),
        next: vec![NextStep::say(
            "No action now; update to a version that closes its connections when one is available",
        )],
    }
}

/// An undecided rise that would fill the table soon.
pub fn rise(facts: &TrendFacts, limit: u64, limit_in_ms: u64, context: &Context) -> Words {
    let growth = &facts.growth;
    let longer = format!("hermes-doctor fds{} --samples 100 --every 10s", context.selector());
    Words {
        title: format!(
            "+{} in {}, no trend established yet; at this rate, {limit} is reached in {}",
            growth.last.saturating_sub(growth.first),
            time(growth.span_ms),
            time(limit_in_ms)
        ),
        evidence: evidence(facts, "descriptors", context),
        next: vec![NextStep::run("sample for longer", longer)],
    }
}

/// All descriptors grow, or one kind.
pub fn growth(facts: &TrendFacts, parts: &[Growth], context: &Context) -> Words {
    let growth = &facts.growth;
    let names: Vec<String> = parts.iter().take(3).map(|part| part.series.to_string()).collect();
    let (pace, given_back) = (pace(facts), given_back(growth));
    let title = match names.as_slice() {
        [] => format!("{pace}; {given_back}"),
        [only] => format!("{pace}; {only} grows, {given_back}"),
        names => format!("{pace}; {} grow, {given_back}", names.join(" and ")),
    };
    let mut evidence = evidence(facts, &growth.series.to_string(), context);
    for part in parts {
        let rate = part.per_hour.map_or(serde_json::Value::Null, |rate| rounded(rate).into());
        evidence.push(Row::new(
            format!("of this, {} per hour", part.series),
            rate,
            Source::descriptors(context.pid),
        ));
    }
    let command = format!("hermes-doctor fds --all{}", context.selector());
    Words { title, evidence, next: vec![NextStep::run("list the open descriptors", command)] }
}

/// For example `+18 an hour (15 to 21), 256 reached in 7 h`.
fn pace(facts: &TrendFacts) -> String {
    let growth = &facts.growth;
    let mut text = match (growth.per_hour, growth.per_hour_low, growth.per_hour_high) {
        (Some(rate), Some(low), Some(high)) => {
            format!("+{} per hour ({} to {})", number(rate), number(low), number(high))
        }
        _ => format!("+{}", growth.floor_last.saturating_sub(growth.floor_first)),
    };
    if let (Some(ms), Some(limit)) = (growth.to_limit_ms, facts.soft_limit) {
        text += &match ms {
            0 => format!(", {limit} is reached"),
            ms => format!(", {limit} reached in {}", time(ms)),
        };
    }
    text
}

fn evidence(facts: &TrendFacts, what: &str, context: &Context) -> Vec<Row> {
    let growth = &facts.growth;
    let from = || Source::descriptors(context.pid);
    let samples = format!("{} samples over {}", growth.samples, time(growth.span_ms));
    let mut evidence = vec![
        Row::new(format!("{what} at the first sample"), growth.first, from()),
        Row::new(format!("{what} at the last sample"), growth.last, from()),
        Row::new("highest sample", growth.peak, from()),
        Row::new("lowest floor at the beginning", growth.floor_first, from()),
        Row::new("lowest floor at the end", growth.floor_last, from()),
        Row::new("falls", growth.falls, samples.clone()),
        Row::new("time between the first and the last sample in ms", growth.span_ms, Source::Clock),
    ];
    if let (Some(rate), Some(low), Some(high)) = (growth.per_hour, growth.per_hour_low, growth.per_hour_high) {
        let method = format!("Theil-Sen slope, {samples}");
        evidence.push(Row::new("descriptors per hour", rounded(rate), method.clone()));
        evidence.push(Row::new("95 % confidence interval, lower bound", rounded(low), method.clone()));
        evidence.push(Row::new("95 % confidence interval, upper bound", rounded(high), method));
    }
    if let Some(ms) = growth.to_limit_ms {
        evidence.push(Row::new("time to the soft limit in ms", ms, "headroom divided by the rate"));
    }
    if let Some(idle) = growth.idle {
        let connected = if idle { "none in any sample" } else { "some" };
        evidence.push(Row::new("clients connected during the samples", connected, "connections to its port"));
    }
    if let Some(limit) = facts.soft_limit {
        evidence.push(Row::new("soft limit", limit, Source::limits(context.pid)));
    }
    evidence
}

fn given_back(growth: &Growth) -> String {
    let meanwhile = if growth.idle == Some(true) { ", and no client is connected" } else { "" };
    match growth.shape {
        Shape::RisingFloor => {
            format!("it falls, but its floor rises from {} to {}{meanwhile}", growth.floor_first, growth.floor_last)
        }
        _ if growth.falls > 0 => format!("few are closed{meanwhile}"),
        _ => format!("none is closed{meanwhile}"),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// For example `18`, `1.5`.
fn number(value: f64) -> String {
    if value.abs() >= 10.0 { format!("{value:.0}") } else { format!("{}", rounded(value)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Os, Series};

    #[test]
    fn a_title_has_the_rate_the_limit_and_the_parts() {
        let growth = Growth {
            series: Series::Family("/home/h/.hermes/state.db".into()),
            shape: Shape::Staircase,
            first: 10,
            last: 200,
            peak: 200,
            floor_first: 10,
            floor_last: 200,
            falls: 0,
            per_hour: Some(1440.0),
            per_hour_low: Some(1439.96),
            per_hour_high: Some(1441.2),
            to_limit_ms: Some(60_000),
            samples: 48,
            span_ms: 480_000,
            missing: None,
            idle: Some(true),
        };
        let facts = TrendFacts { growth: growth.clone(), soft_limit: Some(256) };
        let context = Context { pid: Some(7), ..Context::host(Os::Linux) };
        assert_eq!(
            handle_growth(&facts, &context).title,
            "state.db handles: +1440 per hour (1440 to 1441), 256 reached in 60 s; none is closed, and no client is connected"
        );
        let open = TrendFacts { growth: Growth { series: Series::Open, idle: None, ..growth.clone() }, ..facts };
        assert_eq!(
            super::growth(&open, &[growth], &context).title,
            "+1440 per hour (1440 to 1441), 256 reached in 60 s; state.db grows, none is closed"
        );
        assert_eq!((number(1.54), number(18.2)), ("1.5".to_owned(), "18".to_owned()));
    }
}
