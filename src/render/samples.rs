//! Descriptors over time: one row per sample, a line that is redrawn on a terminal, and tables of descriptors
//! that requests left open.

use super::table::{finish, right, table};
use super::{Style, View, words};
use crate::model::{Batch, Exercise, Growth, Sample, Series, Shape, Symbol, Trend};
use comfy_table::Cell;

/// Width of a sparkline in columns.
const SPARKS: usize = 24;
/// Maximum number of sample rows; the JSON has all.
const MAX_ROWS: usize = 24;

/// Database and WAL descriptors of the family that has the most.
fn handles(sample: &Sample) -> u64 {
    sample.families.iter().map(|family| family.db.saturating_add(family.wal)).max().unwrap_or(0)
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "?".to_owned(), |value| value.to_string())
}

fn change(sample: &Sample, before: Option<&Sample>) -> String {
    match (sample.open, before.and_then(|before| before.open)) {
        (Some(now), Some(before)) if now >= before => format!("+{}", now - before),
        (Some(now), Some(before)) => format!("-{}", before - now),
        _ => String::new(),
    }
}

/// The heading of [`row`].
pub fn heading() -> String {
    format!("{:>10} {:>7} {:>6} {:>9} {:>10} {:>8}", "TIME", "OPEN", "CHANGE", "DATABASE", "CLOSE-WAIT", "CLIENTS")
}

/// One sample on one line.
pub fn row(sample: &Sample, trend: &Trend) -> String {
    let before = trend.samples.len().checked_sub(2).and_then(|index| trend.samples.get(index));
    let close_wait = sample.kinds.get("tcp-close-wait").copied().or_else(|| sample.walked.then_some(0));
    format!(
        "{:>10} {:>7} {:>6} {:>9} {:>10} {:>8}",
        words::duration(sample.at_ms),
        number(sample.open),
        change(sample, before),
        handles(sample),
        close_wait.map_or_else(|| "=".to_owned(), |count| count.to_string()),
        number(sample.connected),
    )
}

/// The line that is redrawn for each sample.
pub fn live(sample: &Sample, trend: &Trend, style: Style) -> String {
    let values: Vec<u64> = trend.samples.iter().filter_map(|sample| sample.open).collect();
    let limit = trend.soft_limit.map_or(String::new(), |limit| format!(" of {limit}"));
    let text = format!(
        "{}  {} open{limit}  {} database  {} clients  {}",
        words::duration(sample.at_ms),
        number(sample.open),
        handles(sample),
        number(sample.connected),
        sparkline(&values, style)
    );
    text.chars().take(style.width()).collect()
}

/// The last values as small bars, scaled from the smallest to the largest of them.
pub fn sparkline(values: &[u64], style: Style) -> String {
    let levels: Vec<char> = style.pick("▁▂▃▄▅▆▇█", ".:-=+*#@").chars().collect();
    let shown = values.get(values.len().saturating_sub(SPARKS)..).unwrap_or_default();
    let (Some(least), Some(most)) = (shown.iter().min(), shown.iter().max()) else { return String::new() };
    let steps = u64::try_from(levels.len().saturating_sub(1)).unwrap_or(1);
    shown
        .iter()
        .filter_map(|value| {
            let level = (value - least).saturating_mul(steps).checked_div(most - least).unwrap_or(0);
            levels.get(usize::try_from(level).unwrap_or(0))
        })
        .collect()
}

/// All samples, or the first and last of many.
pub fn trend(trend: &Trend, view: &View) -> String {
    let values: Vec<u64> = trend.samples.iter().filter_map(|sample| sample.open).collect();
    let mut out = format!("\n  {} samples  {}\n", trend.samples.len(), sparkline(&values, view.style));
    let mut rows = table(view, &["TIME", "OPEN", "CHANGE", "DATABASE", "CLIENTS"]);
    let count = trend.samples.len();
    let hidden = if view.verbose { 0 } else { count.saturating_sub(MAX_ROWS) };
    for (index, sample) in trend.samples.iter().enumerate() {
        if hidden > 0 && (MAX_ROWS / 2..count - MAX_ROWS / 2).contains(&index) {
            continue;
        }
        let before = index.checked_sub(1).and_then(|before| trend.samples.get(before));
        rows.add_row(vec![
            right(words::duration(sample.at_ms)),
            right(number(sample.open)),
            right(change(sample, before)),
            right(handles(sample)),
            right(number(sample.connected)),
        ]);
    }
    out.push_str(&finish(&rows, view));
    if hidden > 0 {
        out.push_str(&format!("  {hidden} samples between them are not shown; --verbose and --json have all\n"));
    }
    out.push_str(&grown(trend, view));
    out
}

/// The shape of each series, without flat ones.
pub fn growth_lines(growths: &[Growth], view: &View) -> String {
    let mut out = String::new();
    // Two equal values show nothing.
    let is_told = |growth: &&Growth| match growth.shape {
        _ if growth.series == Series::Open => true,
        Shape::Flat => false,
        Shape::Undecided => growth.samples > 2 || growth.first != growth.last,
        _ => true,
    };
    for growth in growths.iter().filter(is_told) {
        let shape = match growth.shape {
            Shape::Flat if growth.first.abs_diff(growth.last) > (growth.first / 10).max(5) => {
                "stays constant except for connections of clients and handles that SQLite keeps for later use"
            }
            Shape::Flat => "stays constant",
            Shape::SawTooth => "rises and falls back",
            Shape::Staircase => "rises and never falls",
            Shape::RisingFloor => "falls back, to a higher level each time",
            Shape::Burst => "rose and fell back once",
            Shape::Undecided => "undecided",
        };
        let mut text = format!("{}: {shape}, {} to {}", growth.series, growth.first, growth.last);
        if let (Some(rate), Some(low), Some(high)) = (growth.per_hour, growth.per_hour_low, growth.per_hour_high) {
            text.push_str(&format!("; {rate:+.1} an hour ({low:.1} to {high:.1})"));
        }
        if let Some(missing) = &growth.missing {
            text.push_str(&format!("; {missing}"));
        }
        let head = "  Growth      ";
        let width = view.style.width().saturating_sub(head.len()).max(20);
        for (index, line) in words::wrap(&view.style.locale(&text), width).iter().enumerate() {
            out.push_str(&format!("{}{line}\n", if index == 0 { head } else { "              " }));
        }
    }
    out
}

/// Kinds and databases that differ between the first and the last walk.
fn grown(trend: &Trend, view: &View) -> String {
    let mut walked = trend.samples.iter().filter(|sample| sample.walked);
    let (Some(first), Some(last)) = (walked.next(), walked.next_back()) else { return String::new() };
    let mut changes: Vec<(i128, String, u64, u64)> = Vec::new();
    let mut add = |name: String, before: u64, after: u64| {
        if before != after {
            changes.push((i128::from(after) - i128::from(before), name, before, after));
        }
    };
    let kinds: std::collections::BTreeSet<&Symbol> = first.kinds.keys().chain(last.kinds.keys()).collect();
    for kind in kinds {
        let of = |sample: &Sample| sample.kinds.get(kind).copied().unwrap_or(0);
        add(kind.to_string(), of(first), of(last));
    }
    for family in &last.families {
        let before = first.families.iter().find(|old| old.path == family.path);
        let before = before.map_or(0, |old| old.db.saturating_add(old.wal));
        add(format!("{} and its WAL", family.path), before, family.db.saturating_add(family.wal));
    }
    for family in first.families.iter().filter(|old| last.families.iter().all(|family| family.path != old.path)) {
        add(format!("{} and its WAL", family.path), family.db.saturating_add(family.wal), 0);
    }
    if changes.is_empty() {
        return String::new();
    }
    changes.sort_by(|a, b| b.0.abs().cmp(&a.0.abs()).then_with(|| a.1.cmp(&b.1)));
    let hours = last.at_ms.saturating_sub(first.at_ms) as f64 / 3_600_000.0;
    let mut rows = table(view, &["CHANGE", "AN HOUR", "FIRST", "LAST", "WHAT"]);
    for (delta, name, before, after) in changes.into_iter().take(view.top) {
        let rate = if hours > 0.0 { format!("{:+.1}", delta as f64 / hours) } else { "?".to_owned() };
        let width = view.style.width().saturating_sub(44).max(24);
        rows.add_row(vec![
            right(format!("{delta:+}")),
            right(rate),
            right(before),
            right(after),
            Cell::new(view.style.shorten(&name, width)),
        ]);
    }
    finish(&rows, view)
}

/// One batch on one line.
pub fn batch(batch: &Batch) -> String {
    format!(
        "batch={} fd={} state_handles={} answered={}/{} {}",
        batch.batch, batch.open, batch.database_handles, batch.answered, batch.requests, batch.path
    )
}

/// Descriptors that each path left open.
pub fn exercise(exercise: &Exercise, view: &View) -> String {
    let mut rows = table(view, &["REQUESTS", "LEFT OPEN", "DATABASE", "A REQUEST", "PATH"]);
    for cost in &exercise.paths {
        rows.add_row(vec![
            right(cost.requests),
            right(format!("{:+}", cost.left_open)),
            right(format!("{:+}", cost.left_database_handles)),
            right(format!("{:+.2}", cost.per_request)),
            Cell::new(view.style.shorten(&cost.path, view.style.width().saturating_sub(48).max(20))),
        ]);
    }
    let mut out = finish(&rows, view);
    if let Some(stopped) = &exercise.stopped {
        let text = view.style.locale(&format!("Stopped: {stopped}"));
        out.push_str(&words::indented(&text, view.style.width()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_little_columns() {
        let style = Style::plain(80, true);
        assert_eq!(sparkline(&[0, 7, 14], style), "▁▄█");
        assert_eq!(sparkline(&[5, 5], style), "▁▁");
        assert_eq!(sparkline(&[], style), "");
        assert_eq!(sparkline(&[0, u64::MAX], Style::plain(80, false)), ".:");
        assert_eq!(sparkline(&(0..100).collect::<Vec<_>>(), style).chars().count(), SPARKS);
    }
}
