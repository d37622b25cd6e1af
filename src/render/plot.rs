//! A record plotted over time, as one self-contained SVG.

use crate::model::{PortSample, Record, Sample, Status, Timestamp, Trend};
use chrono::{DateTime, TimeDelta, Utc};
use plotters::prelude::*;
use std::ops::Range;

/// Width of the drawing in pixels.
const WIDTH: u32 = 960;
/// Height of one of its four charts in pixels.
const CHART: u32 = 190;
/// Maximum number of points on one line; a longer record is drawn by the largest value of each stretch, so that
/// no peak is lost.
const MAX_POINTS: usize = 2_000;

/// Colours that differ in print and for most kinds of colour vision.
const OPEN: RGBColor = RGBColor(0x1f, 0x5f, 0xa8);
const LIMIT: RGBColor = RGBColor(0xb0, 0x30, 0x30);
const DATABASE: RGBColor = RGBColor(0x8a, 0x4f, 0x9e);
const QUEUE: RGBColor = RGBColor(0xa8, 0x6a, 0x00);
const HEALTH: RGBColor = RGBColor(0x2e, 0x7d, 0x4f);
const TEXT: RGBColor = RGBColor(0x22, 0x22, 0x22);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);

/// The plot of one server's record.
///
/// # Errors
/// A message if there is nothing to draw.
pub fn svg(server: &str, records: &[&Record]) -> Result<String, String> {
    let points: Vec<(Instant, &Record)> =
        records.iter().filter_map(|record| Some((instant(&record.at)?, *record))).collect();
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return Err("the record has no sample with a valid time".to_owned());
    };
    // A single sample is drawn in the middle of a range of two seconds.
    let span = if last.0 > first.0 {
        first.0..last.0
    } else {
        first.0 - TimeDelta::seconds(1)..first.0 + TimeDelta::seconds(1)
    };
    let mut out = String::new();
    {
        let root = SVGBackend::with_string(&mut out, (WIDTH, CHART * 4 + 40)).into_drawing_area();
        draw(&root, server, &points, span).map_err(|error| format!("cannot draw the plot: {error}"))?;
    }
    Ok(out)
}

/// The time of a sample.
type Instant = DateTime<Utc>;

/// Points of one line: time and value.
type Line<T> = Vec<(T, f64)>;

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(
    root: &Area<'_>,
    server: &str,
    points: &[(Instant, &Record)],
    span: Range<Instant>,
) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let (title, rest) = root.split_vertically(36);
    let times = format!("{} to {}", points[0].1.at, points[points.len() - 1].1.at);
    let key = "shaded: critical    grey line: restarted    red line: soft limit";
    title.draw_text(key, &("sans-serif", 11).into_font().color(&TEXT), (WIDTH as i32 / 2 - 170, 16))?;
    title.draw_text(server, &("sans-serif", 17).into_font().color(&TEXT), (12, 10))?;
    title.draw_text(&times, &("sans-serif", 12).into_font().color(&TEXT), (WIDTH as i32 - 330, 14))?;
    let areas = rest.split_evenly((4, 1));
    // A line ends with its process, since there are no samples between two processes.
    let lives: Vec<&[(Instant, &Record)]> =
        points.chunk_by(|(_, old), (_, new)| identity(old) == identity(new)).collect();
    let series = |value: &dyn Fn(&Record) -> Option<f64>| -> Vec<Line<Instant>> {
        let of_life = |life: &&[(Instant, &Record)]| {
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
        chart(area, name, lines, points, span.clone())?;
    }
    root.present()?;
    Ok(())
}

/// The limit is drawn only if the line comes near it: a limit at 4096 would flatten a low line.
fn near<T: Copy>(limit: &[Line<T>], open: &[Line<T>]) -> Vec<Line<T>> {
    let most = open.iter().flatten().map(|(_, open)| *open).fold(0.0, f64::max);
    let of_line = |line: &Line<T>| line.iter().copied().filter(|(_, limit)| most >= limit * 0.4).collect();
    limit.iter().map(of_line).collect()
}

fn chart(
    area: &Area<'_>,
    name: &str,
    lines: &[(Vec<Line<Instant>>, RGBColor)],
    points: &[(Instant, &Record)],
    span: Range<Instant>,
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
        .build_cartesian_2d(span.clone(), 0.0..top)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .x_labels(6)
        .y_labels(4)
        .x_label_formatter(&|at| clock(*at, span.end - span.start))
        .y_label_formatter(&|value| if top > 20.0 { format!("{value:.0}") } else { format!("{value:.1}") })
        .label_style(("sans-serif", 11).into_font().color(&TEXT))
        .draw()?;
    // In the background: times of critical status, and changes of the process.
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

/// Stretches with only critical samples.
fn critical(points: &[(Instant, &Record)]) -> Vec<(Instant, Instant)> {
    let mut found: Vec<(Instant, Instant)> = Vec::new();
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

/// Times at which the process changed.
fn restarts(points: &[(Instant, &Record)]) -> Vec<Instant> {
    let changed = |pair: &[(Instant, &Record)]| match pair {
        [(_, old), (at, new)] => (identity(new).is_some() && identity(old) != identity(new)).then_some(*at),
        _ => None,
    };
    points.windows(2).filter_map(changed).collect()
}

fn thinned<T: Copy>(points: &[(T, f64)]) -> Line<T> {
    let stretch = points.len().div_ceil(MAX_POINTS).max(1);
    points.chunks(stretch).filter_map(|chunk| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))).collect()
}

fn instant(at: &Timestamp) -> Option<Instant> {
    at.time().map(Instant::from)
}

/// Time of day in UTC, with the date if the range is longer than a day.
fn clock(at: Instant, span: TimeDelta) -> String {
    let format = match span {
        span if span > TimeDelta::days(1) => "%m-%d %H:%M",
        span if span > TimeDelta::minutes(10) => "%H:%M",
        _ => "%H:%M:%S",
    };
    at.format(format).to_string()
}

/// Size of a plot on the page in pixels; a phone shows it at two thirds of this size.
const SMALL: (u32, u32) = (500, 290);

/// Lines of one plot: label, colour, and points.
type Lines<'a> = [(&'a str, RGBColor, Line<f64>)];

/// Descriptors over time, and the database handles among them.
pub fn trend(trend: &Trend) -> Vec<(String, String)> {
    let of = |value: &dyn Fn(&Sample) -> Option<u64>| -> Line<f64> {
        trend
            .samples
            .iter()
            .filter_map(|sample| Some((sample.at_ms as f64 / 1000.0, value(sample)? as f64)))
            .collect()
    };
    let open = of(&|sample| sample.open);
    let limit: Line<f64> = near(&[of(&|_| trend.soft_limit)], std::slice::from_ref(&open)).concat();
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

/// Pending and unanswered connections of a port while a request waited.
pub fn port_samples(looks: &[PortSample], title: &str) -> Option<(String, String)> {
    let of = |value: &dyn Fn(&PortSample) -> Option<u64>| -> Line<f64> {
        looks.iter().filter_map(|look| Some((look.after_connect_ms as f64 / 1000.0, value(look)? as f64))).collect()
    };
    let lines = [
        ("accept queue", QUEUE, of(&|look| Some(look.accept_queue))),
        ("accepted, without a byte", OPEN, of(&|look| look.unanswered)),
    ];
    // One sample is not enough for a plot.
    (looks.len() > 1).then(|| small(&format!("Connections {title}"), &lines)).flatten()
}

/// A small plot over seconds; `None` without at least two different times.
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
        .build_cartesian_2d(span, 0.0..top)?;
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
    use std::time::Duration;

    #[test]
    fn times_that_a_record_can_hold_are_drawn() {
        let record = |seconds| Record {
            at: Timestamp::of_unix(Duration::from_secs(seconds)).unwrap(),
            open: Some(7),
            ..Record::default()
        };
        // Five minutes, three days, sixty days, and from 1970 to the year 9999.
        for (first, last) in
            [(1_795_601_250, 300), (1_795_601_250, 259_200), (1_795_601_250, 5_184_000), (0, 253_402_300_799)]
        {
            let records = [record(first), record(first.max(1) + last - 1)];
            let drawn = svg("a server", &records.iter().collect::<Vec<_>>()).unwrap();
            assert!(drawn.contains("</svg>") && drawn.matches("<polyline").count() > 4, "{drawn}");
        }
        assert!(svg("a server", &[]).unwrap_err().contains("no sample"));
        let moment = |text: &str| instant(&Timestamp::from(text)).unwrap();
        let at = moment("2026-11-25T10:07:30Z");
        assert_eq!(clock(at, TimeDelta::minutes(5)), "10:07:30");
        assert_eq!(clock(at, TimeDelta::hours(5)), "10:07");
        assert_eq!(clock(at, TimeDelta::days(5)), "11-25 10:07");
    }
}
