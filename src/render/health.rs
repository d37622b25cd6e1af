//! Routes, series of requests, and threads of a server during a request, as tables.

use super::table::{finish, right, table};
use super::{View, words};
use crate::model::{Activity, Health, Thread};
use comfy_table::Cell;
use std::collections::BTreeMap;

/// Width of the longest bar of a histogram.
const BAR: u64 = 30;

/// Requests for paths other than the health path.
pub fn routes(facts: &Health, view: &View) -> String {
    if facts.routes.is_empty() {
        return String::new();
    }
    let mut rows = table(view, &["TIME", "HTTP", "ROUTE", "OUTCOME"]);
    for route in &facts.routes {
        // The expected form of the response is unknown, so any response with success counts.
        let outcome = match route.attempt.outcome {
            crate::model::Outcome::Ok => "answered",
            outcome => outcome.words(),
        };
        rows.add_row(vec![
            right(words::milliseconds(route.took_ms())),
            right(route.attempt.http_status.map_or_else(|| "-".to_owned(), |status| status.to_string())),
            Cell::new(view.style.locale(&route.path)),
            Cell::new(outcome),
        ]);
    }
    finish(&rows, view)
}

/// A series of requests for the health path: times by phase, and a histogram.
pub fn series(facts: &Health, view: &View) -> String {
    let Some(series) = &facts.series else { return String::new() };
    let mut phases = table(view, &["PHASE", "REQUESTS", "MIN", "MEDIAN", "P99", "MAX"]);
    for times in &series.phases {
        let time = |ms: f64| right(words::milliseconds(ms));
        phases.add_row(vec![
            Cell::new(times.phase.map_or("whole request", |phase| phase.words())),
            right(times.count),
            time(times.min_ms),
            time(times.median_ms),
            time(times.p99_ms),
            time(times.max_ms),
        ]);
    }
    let outcomes: Vec<String> =
        series.outcomes.iter().map(|known| format!("{} {}", known.count, known.outcome.words())).collect();
    let mut out = format!("\n  {} of {} requests: {}\n", series.requests, series.planned, outcomes.join(", "));
    out.push_str(&finish(&phases, view));
    let most = series.histogram.iter().map(|bucket| bucket.count).max().unwrap_or(0).max(1);
    let mut before = None;
    for bucket in &series.histogram {
        let label = match (bucket.up_to_ms, before) {
            (Some(bound), _) => format!("up to {}", words::milliseconds(bound)),
            (None, Some(bound)) => format!("over {}", words::milliseconds(bound)),
            (None, None) => "any time".to_owned(),
        };
        before = bucket.up_to_ms;
        // One request of thousands must still be visible.
        let length = (bucket.count.saturating_mul(BAR) / most).max(u64::from(bucket.count > 0));
        let bar = view.style.pick("█", "#").repeat(usize::try_from(length).unwrap_or(0));
        out.push_str(format!("  {label:>14}  {:>6}  {bar}", bucket.count).trim_end());
        out.push('\n');
    }
    out
}

/// Threads by their activity while a request waited, largest group first.
pub fn activity(activity: &Activity, view: &View) -> String {
    let mut groups: BTreeMap<(bool, String, String, String), (u64, u64)> = BTreeMap::new();
    for thread in &activity.threads {
        let entry = groups.entry(kind(thread)).or_default();
        entry.0 += 1;
        entry.1 = entry.1.saturating_add(thread.cpu_ms.unwrap_or(0));
    }
    let mut rows: Vec<_> = groups.into_iter().collect();
    rows.sort_by(|((a_main, ..), (a, _)), ((b_main, ..), (b, _))| b_main.cmp(a_main).then(b.cmp(a)));
    let mut threads = table(view, &["THREADS", "STATE", "SLEEPS IN", "SYSTEM CALL", "CPU"]);
    for ((is_main, state, channel, call), (count, cpu)) in rows {
        threads.add_row(vec![
            right(if is_main { "main".to_owned() } else { count.to_string() }),
            Cell::new(state),
            Cell::new(view.style.locale(&channel)),
            Cell::new(view.style.locale(&call)),
            right(format!("{cpu} ms")),
        ]);
    }
    let omitted = match activity.threads_omitted {
        0 => String::new(),
        count => format!("; {count} more threads were not examined"),
    };
    let heading = format!(
        "Threads while {} waited: two samples, {} ms apart; {} ms CPU of the process{omitted}",
        view.style.locale(&activity.path),
        activity.between_ms,
        activity.cpu_ms,
    );
    format!("\n{}{}", words::indented(&heading, view.style.width()), finish(&threads, view))
}

/// Whether it is the main thread; and state, wait channel and system call at the last sample.
fn kind(thread: &Thread) -> (bool, String, String, String) {
    let last = thread.last();
    let call = last.and_then(|look| look.system_call.as_ref()).map_or_else(String::new, |call| {
        let on = call.descriptor.map_or(String::new(), |descriptor| format!(" on {descriptor}"));
        let limit = if call.is_unlimited == Some(true) { ", no time limit" } else { "" };
        format!("{}{on}{limit}", call.name)
    });
    (
        thread.is_main,
        last.map_or_else(String::new, |look| look.state.words().to_owned()),
        last.and_then(|look| look.wait_channel.clone()).unwrap_or_default().to_string(),
        call,
    )
}
