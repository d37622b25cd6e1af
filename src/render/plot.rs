//! A record drawn over time, as one SVG that stands alone.

use crate::model::{Look, Record, Sample, Status, Trend, time};
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

/// Width of the drawing in pixels.
const WIDTH: u32 = 960;
/// Height of one of its four charts in pixels.
const CHART: u32 = 190;
/// Points of one line; a longer record is drawn by the largest of each stretch, so that no peak is lost.
const MOST_POINTS: usize = 2_000;

/// Colours that are told apart in print and by most eyes.
const OPEN: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const LIMIT: RGBColor = RGBColor(0xb0, 0x30, 0x30);
const DATABASE: RGBColor = RGBColor(0x8a, 0x4f, 0x9e);
const QUEUE: RGBColor = RGBColor(0xa8, 0x6a, 0x00);
const HEALTH: RGBColor = RGBColor(0x2e, 0x7d, 0x4f);
const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);

/// One server's record, drawn.
///
/// # Errors
/// In words, when there is nothing to draw.
pub fn svg(server: &str, records: &[&Record]) -> Result<String, String> {
    let points: Vec<(f64, &Record)> =
        records.iter().filter_map(|record| Some((seconds(&record.at)?, *record))).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err("the record has no look with a time that is understood".to_owned());
    };
    let (from, to) = (first.0, last.0.max(first.0 + 1.0));
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, (WIDTH, CHART * 4 + 40)).into_drawing_area();
        draw(&root, server, &points, from, to).map_err(|error| format!("it could not be drawn: {error}"))?;
    }
    Ok(out)
}

/// Points of one line: seconds since 1970, and a value.
type Line = Vec<(f64, f64)>;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    root: &Area<'_>,
    server: &str,
    points: &[(f64, &Record)],
    from: f64,
    to: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let (title, rest) = root.split_vertically(36);
    let times = format!("{} to {}", points[0].1.at, points[points.len() - 1].1.at);
    let key = "shaded: critical    grey line: started again    red line: soft limit";
    title.draw_text(key, &("sans-serif", 11).into_font().color(&TEXT), (WIDTH as i32 / 2 - 170, 16))?;
    title.draw_text(server, &("sans-serif", 17).into_font().color(&TEXT), (12, 10))?;
    title.draw_text(&times, &("sans-serif", 12).into_font().color(&TEXT), (WIDTH as i32 - 330, 14))?;
    let areas = rest.split_evenly((4, 1));
    // A line ends with its process: what is between two processes was not seen.
    let lives: Vec<&[(f64, &Record)]> =
        points.chunk_by(|(_, old), (_, new)| identity(old) == identity(new)).collect();
    let series = |value: &dyn Fn(&Record) -> Option<f64>| -> Vec<Line> {
        let of_life = |life: &&[(f64, &Record)]| {
            thinned(&life.iter().filter_map(|(at, record)| Some((*at, value(record)?))).collect::<Vec<_>>())
        };
        lives.iter().map(of_life).collect()
    };
    let limit = series(&|record| record.soft_limit.map(|limit| limit as f64));
    let open = series(&|record| record.open.map(|open| open as f64));
    let handles = series(&|record| record.database_handles.map(|handles| handles as f64));
    let queue = series(&|record| record.accept_queue.map(|queue| queue as f64));
    let health = series(&|record| record.health_ms);
    let charts = [
        ("open descriptors", vec![(open.clone(), OPEN), (near(&limit, &open), LIMIT)]),
        ("database and WAL descriptors", vec![(handles, DATABASE)]),
        ("accept queue", vec![(queue, QUEUE)]),
        ("health request, ms", vec![(health, HEALTH)]),
    ];
    for ((name, lines), area) in charts.iter().zip(&areas) {
        chart(area, name, lines, points, from, to)?;
    }
    root.present()?;
    Ok(())
}

/// The limit is drawn only where the line comes near it: a line at 4096 would flatten everything below.
fn near(limit: &[Line], open: &[Line]) -> Vec<Line> {
    let most = open.iter().flatten().map(|(_, open)| *open).fold(0.0, f64::max);
    let of_line = |line: &Line| line.iter().copied().filter(|(_, limit)| most >= limit * 0.4).collect();
    limit.iter().map(of_line).collect()
}

fn chart(
    area: &Area<'_>,
    name: &str,
    lines: &[(Vec<Line>, RGBColor)],
    points: &[(f64, &Record)],
    from: f64,
    to: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let most =
        lines.iter().flat_map(|(parts, _)| parts.iter().flatten()).map(|(_, value)| *value).fold(0.0, f64::max);
    let top = if most > 0.0 { most * 1.12 } else { 1.0 };
    let mut chart = ChartBuilder::on(area)
        .margin_left(8)
        .margin_right(18)
        .margin_bottom(2)
        .x_label_area_size(24)
        .y_label_area_size(62)
        .caption(name, ("sans-serif", 13).into_font().color(&TEXT))
        .build_cartesian_2d(Axis { range: from..to, steps: &MOMENTS }, Axis { range: 0.0..top, steps: &[] })?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_labels(6)
        .y_labels(4)
        .x_label_formatter(&|at| clock(*at, to - from))
        .y_label_formatter(&|value| if top > 20.0 { format!("{value:.0}") } else { format!("{value:.1}") })
        .label_style(("sans-serif", 11).into_font().color(&TEXT))
        .draw()?;
    // Behind the lines: when it was critical, and when its process changed.
    for (start, end) in critical(points) {
        chart.draw_series(std::iter::once(Rectangle::new([(start, 0.0), (end, top)], LIMIT.mix(0.10).filled())))?;
    }
    for at in restarts(points) {
        chart.draw_series(LineSeries::new([(at, 0.0), (at, top)], TEXT.mix(0.5)))?;
    }
    for (line, colour) in lines.iter().flat_map(|(parts, colour)| parts.iter().map(move |part| (part, colour))) {
        chart.draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)))?;
        if let [only] = line.as_slice() {
            chart.draw_series(std::iter::once(Circle::new(*only, 3, colour.filled())))?;
        }
    }
    Ok(())
}

/// Steps in seconds at which a clock is read; longer ones are whole days, shorter ones decimal.
const MOMENTS: [f64; 13] =
    [10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 10_800.0, 21_600.0, 43_200.0];

/// An axis with its marks at multiples of a round step: one of these, else 1, 2 or 5 times a power of ten.
struct Axis {
    range: Range<f64>,
    steps: &'static [f64],
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (value - self.range.start) / (self.range.end - self.range.start);
        from + (f64::from(to - from) * part) as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        marks(&self.range, hint.bold_points(), self.steps)
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

fn marks(range: &Range<f64>, most: usize, steps: &[f64]) -> Vec<f64> {
    let least = (range.end - range.start) / most.max(1) as f64;
    if !least.is_finite() || least <= 0.0 {
        return vec![range.start];
    }
    let of_clock = steps
        .iter()
        .find(|step| **step >= least)
        .filter(|_| steps.first().is_some_and(|first| least > first / 2.0));
    let days = || (!steps.is_empty() && least > 43_200.0).then(|| decimal_step(least / 86_400.0) * 86_400.0);
    let step = of_clock.copied().or_else(days).unwrap_or_else(|| decimal_step(least));
    // Whole numbers of steps: beyond what such a number can hold nothing is drawn.
    let first = (range.start / step) as i64;
    let multiples = (first..).take(most + 3).map(|multiple| multiple as f64 * step);
    multiples.filter(|mark| range.start <= *mark && *mark <= range.end).collect()
}

/// The least of 1, 2 and 5 times a power of ten that is not below.
fn decimal_step(least: f64) -> f64 {
    let mut power = 1.0;
    while power * 10.0 <= least {
        power *= 10.0;
    }
    while power > least {
        power /= 10.0;
    }
    let multiples = [1.0, 2.0, 5.0].map(|multiple| multiple * power);
    multiples.into_iter().find(|step| *step >= least).unwrap_or(power * 10.0)
}

/// Stretches in which every look was critical.
fn critical(points: &[(f64, &Record)]) -> Vec<(f64, f64)> {
    let mut found: Vec<(f64, f64)> = Vec::new();
    let mut is_open = false;
    for (index, (at, record)) in points.iter().enumerate() {
        let is_critical = record.status == Status::Critical;
        let until = points.get(index + 1).map_or(*at, |(next, _)| *next);
        match found.last_mut() {
            Some(last) if is_critical && is_open => last.1 = until,
            _ if is_critical => found.push((*at, until)),
            _ => {}
        }
        is_open = is_critical;
    }
    found
}

fn identity(record: &Record) -> Option<(u32, u64)> {
    record.pid.zip(record.start_ticks)
}

/// Moments at which another process was found.
fn restarts(points: &[(f64, &Record)]) -> Vec<f64> {
    let changed = |pair: &[(f64, &Record)]| match pair {
        [(_, old), (at, new)] => (identity(new).is_some() && identity(old) != identity(new)).then_some(*at),
        _ => None,
    };
    points.windows(2).filter_map(changed).collect()
}

fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let stretch = points.len().div_ceil(MOST_POINTS).max(1);
    points.chunks(stretch).filter_map(|chunk| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

fn seconds(at: &str) -> Option<f64> {
    let at = time::parse_rfc3339(at)?;
    Some(at.duration_since(UNIX_EPOCH).ok()?.as_secs_f64())
}

/// Time of day in UTC, with the date where the whole is longer than a day.
fn clock(at: f64, span: f64) -> String {
    let since_epoch = Duration::try_from_secs_f64(at).ok();
    let text = since_epoch.and_then(time::rfc3339_of_unix).unwrap_or_default();
    let (date, time) = text.split_once('T').unwrap_or((&text, ""));
    match span {
        span if span > 86_400.0 => format!("{} {}", date.get(5..).unwrap_or(date), time.get(..5).unwrap_or(time)),
        span if span > 600.0 => time.get(..5).unwrap_or(time).to_owned(),
        _ => time.trim_end_matches('Z').to_owned(),
    }
}

/// Size in pixels of a drawing on a page; on a phone it is shown at two thirds of it.
const SMALL: (u32, u32) = (500, 290);

/// Lines of one drawing: what each shows, its colour, and its points.
type Lines<'a> = [(&'a str, RGBColor, Line)];

/// Descriptors over time, and the database handles among them.
pub fn trend(trend: &Trend) -> Vec<(String, String)> {
    let of = |value: &dyn Fn(&Sample) -> Option<u64>| -> Line {
        trend
            .samples
            .iter()
            .filter_map(|sample| Some((sample.at_ms as f64 / 1000.0, value(sample)? as f64)))
            .collect()
    };
    let open = of(&|sample| sample.open);
    let limit: Line = near(&[of(&|_| trend.soft_limit)], std::slice::from_ref(&open)).concat();
    let handles = of(&|sample| {
        let most = sample.families.iter().map(|family| family.db.saturating_add(family.wal)).max();
        most.or(sample.walked.then_some(0))
    });
    let clients = of(&|sample| sample.connected);
    let drawn = [
        small("Open descriptors over time", &[("open", OPEN, open), ("soft limit", LIMIT, limit)]),
        small("Database and WAL descriptors over time", &[("of the database that has most", DATABASE, handles)]),
        small("Clients over time", &[("connected", HEALTH, clients)]),
    ];
    drawn.into_iter().flatten().collect()
}

/// What waited at a port while a request did.
pub fn looks(looks: &[Look], title: &str) -> Option<(String, String)> {
    let of = |value: &dyn Fn(&Look) -> Option<u64>| -> Line {
        looks.iter().filter_map(|look| Some((look.after_connect_ms as f64 / 1000.0, value(look)? as f64))).collect()
    };
    let lines = [
        ("accept queue", QUEUE, of(&|look| Some(look.accept_queue))),
        ("accepted, without a byte", OPEN, of(&|look| look.unanswered)),
    ];
    // One look is no drawing.
    (looks.len() > 1).then(|| small(&format!("Connections {title}"), &lines)).flatten()
}

/// A small drawing over seconds; nothing where there are no two moments.
fn small(title: &str, lines: &Lines<'_>) -> Option<(String, String)> {
    let points = || lines.iter().flat_map(|(_, _, line)| line.iter());
    let from = points().map(|(at, _)| *at).fold(f64::INFINITY, f64::min);
    let to = points().map(|(at, _)| *at).fold(f64::NEG_INFINITY, f64::max);
    if from.partial_cmp(&to) != Some(std::cmp::Ordering::Less) {
        return None;
    }
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, SMALL).into_drawing_area();
        draw_small(&root, title, lines, from..to).ok()?;
    }
    Some((title.to_owned(), out))
}

fn draw_small(
    root: &Area<'_>,
    title: &str,
    lines: &Lines<'_>,
    span: Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let most = lines.iter().flat_map(|(_, _, line)| line.iter()).map(|(_, value)| *value).fold(1.0, f64::max);
    let top = most * 1.55;
    let font = |size: i32| ("sans-serif", size).into_font().color(&TEXT);
    let mut chart = ChartBuilder::on(root)
        .margin(10)
        .x_label_area_size(46)
        .y_label_area_size(60)
        .caption(title, font(20))
        .build_cartesian_2d(Axis { range: span, steps: &MOMENTS }, Axis { range: 0.0..top, steps: &[] })?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_labels(6)
        .y_labels(4)
        .x_desc("seconds")
        .y_label_formatter(&|value| if top > 8.0 { format!("{value:.0}") } else { format!("{value:.1}") })
        .label_style(font(17))
        .draw()?;
    for (name, colour, line) in lines.iter().filter(|(_, _, line)| !line.is_empty()) {
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(thinned(line), colour.stroke_width(2)))?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        if line.len() < 40 {
            chart.draw_series(line.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
        }
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font(font(16))
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round() {
        assert_eq!(marks(&(0.0..112.0), 4, &[]), [0.0, 50.0, 100.0]);
        assert_eq!(marks(&(0.0..0.35), 4, &[]), [0.0, 0.1, 0.2, 0.30000000000000004]);
        assert_eq!(marks(&(0.0..4587.0), 4, &[]), [0.0, 2000.0, 4000.0]);
        // 2026-11-25T10:07:30Z and five minutes on: whole minutes.
        let from = 1_795_601_250.0;
        assert_eq!(
            marks(&(from..from + 300.0), 6, &MOMENTS),
            (1..=5).map(|at| from - 30.0 + f64::from(at) * 60.0).collect::<Vec<_>>()
        );
        // Three days: midnights and noons; two months: every tenth day and a half is none.
        assert!(marks(&(from..from + 259_200.0), 6, &MOMENTS).iter().all(|at| at % 43_200.0 == 0.0));
        assert!(marks(&(from..from + 5_184_000.0), 6, &MOMENTS).iter().all(|at| at % 86_400.0 == 0.0));
        assert_eq!(marks(&(0.0..7.5), 6, &MOMENTS), [0.0, 2.0, 4.0, 6.0]);
        for strange in [1.0..1.0, 0.0..f64::INFINITY, f64::NAN..1.0] {
            assert_eq!(marks(&strange, 6, &MOMENTS).len(), 1, "{strange:?}");
        }
        assert!(marks(&(1e300..1.1e300), 6, &[]).len() <= 9);
    }
}
