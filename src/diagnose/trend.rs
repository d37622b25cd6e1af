//! Growth over time: the shape of a series of samples, and the findings that follow.
//!
//! Growth is determined from the *floors*. CPython from 3.11 on closes unreferenced database connections only
//! when its garbage collector runs, so a server without a leak shows a saw-tooth. A few samples can all be on
//! one rising flank of it, and samples at even intervals can alias it to a slow rise that does not exist. So a
//! series counts as growing only if it has risen further than a saw-tooth can, or was sampled for longer than
//! one lasts.

mod findings;
mod statistics;

use crate::model::{Growth, Note, Sample, Series, Shape, Trend};
use std::collections::BTreeSet;

pub use findings::{findings, time};
use statistics::{kendall, rate};

/// Maximum rise of a saw-tooth of CPython 3.11 and 3.12, in connections, before the collector closes them: 72
/// were observed on one flank, 82 between samples so far apart that falls were missed. Between two collections
/// of the youngest generation 700 objects are created, about ten of them per connection.
const TOOTH_CONNECTIONS: u64 = 85;
/// The same from 3.13 on, where it is 2000 objects: 184 and 212 were observed.
const LONG_TOOTH_CONNECTIONS: u64 = 220;
/// Soft limit that is too small for such a long tooth, at two descriptors per connection: a series that rises
/// towards it is a leak in effect, whether or not it is collected later.
const NARROW_LIMIT: u64 = 512;
/// Number of falls after which a rising floor is not that of a tooth within a longer one: objects in use during
/// a collection wait for that of the next generation, which runs once per ten of the youngest.
const GENERATION: usize = 12;
/// Minimum rise that is reported.
const MIN_RISE: u64 = 6;
/// Minimum fall that counts.
const MIN_FALL: u64 = 3;
/// Minimum number of samples for a trend.
const MIN_SAMPLES: usize = 3;
/// Below this number of samples the minimum rise is half as high again.
const FEW_SAMPLES: usize = 10;
/// Duration of a series, in milliseconds, after which a rise without any fall decides alone. A tooth of 72
/// connections lasts 36 minutes if one is leaked every 30 seconds.
const LONG_WATCH_MS: u64 = 120 * 60_000;
/// Minimum number of samples, or floors, of such a series.
const LONG_WATCH_SAMPLES: usize = 10;
/// Shortest and longest period of a saw-tooth that the samples are tested for, in milliseconds.
const PERIODS_MS: (f64, f64) = (3_000.0, 3_600_000.0);
/// Maximum number of frequencies tested; a series that needs more cannot exclude a saw-tooth.
const MAX_FREQUENCIES: f64 = 2_000_000.0;
/// Maximum number of points that are compared in pairs for a rate; more are thinned out.
const MAX_RATE_POINTS: usize = 300;
/// 97.5th percentile of the normal distribution, for intervals of 95 %.
const NORMAL_975: f64 = 1.959_964;
/// Minimum of Kendall's statistic, in standard deviations, at which floors rise.
const RISING: f64 = 3.0;
/// The same, at which they no longer count as flat.
const LIKELY_RISING: f64 = 2.0;
/// The kind of descriptors that clients open and close.
const ESTABLISHED: &str = "tcp-established";

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    ms: u64,
    value: u64,
}

/// Thresholds for calling a series growing.
#[derive(Clone, Copy, Debug)]
struct GrowthThresholds {
    /// Minimum rise without a long series; `None` if only a long series decides.
    tooth: Option<u64>,
    /// Whether a rising floor counts, or only a series that never falls.
    floors: bool,
}

/// The shape of a series, and the points that it follows from.
struct ShapeVerdict {
    shape: Shape,
    missing: Option<String>,
    falls: usize,
    /// Indices of the floors, in time: the low before the first fall, if any, and the low after each fall.
    floors: Vec<usize>,
}

/// The largest saw-tooth, in connections, that fits below the soft limit.
fn tooth_connections(soft_limit: Option<u64>) -> u64 {
    match soft_limit {
        Some(limit) if limit <= NARROW_LIMIT => TOOTH_CONNECTIONS,
        _ => LONG_TOOTH_CONNECTIONS,
    }
}

/// Maximum rise of a saw-tooth under this soft limit, in descriptors: a database and a WAL handle per
/// connection.
pub fn tooth(soft_limit: Option<u64>) -> u64 {
    2 * tooth_connections(soft_limit)
}

/// Classifies one series of descriptors under the soft limit of its process. Times are in milliseconds. The
/// order does not matter, and of several values at one time the lowest counts. Values beyond the shorter of the
/// two slices are ignored.
pub fn growth(times_ms: &[u64], values: &[u64], soft_limit: Option<u64>) -> Growth {
    let points =
        in_order(times_ms.iter().zip(values).map(|(ms, value)| Point { ms: *ms, value: *value }).collect());
    let judged = shape(&points, GrowthThresholds { tooth: Some(tooth(soft_limit)), floors: true });
    describe(Series::Open, &points, judged)
}

/// Classifies the series of all descriptors, of each database, and of each kind that is not flat.
pub fn judge_trend(trend: &Trend) -> Vec<Growth> {
    let walked: Vec<&Sample> =
        trend.samples.iter().filter(|sample| sample.walked || !sample.kinds.is_empty()).collect();
    let mut growths: Vec<Growth> = open_growth(trend, &walked).into_iter().collect();
    let paths: BTreeSet<&str> =
        walked.iter().flat_map(|sample| &sample.families).map(|family| &*family.path).collect();
    growths.extend(paths.into_iter().map(|path| family_growth(path, &walked, trend.soft_limit)));
    let kinds: BTreeSet<&str> =
        walked.iter().flat_map(|sample| sample.kinds.keys()).map(|kind| kind.as_str()).collect();
    growths.extend(
        kinds
            .into_iter()
            .map(|kind| kind_growth(kind, &walked, trend.soft_limit))
            .filter(|growth| growth.shape != Shape::Flat),
    );

    let connected: Option<Vec<u64>> = trend.samples.iter().map(|sample| sample.connected).collect();
    let idle = connected.filter(|counts| !counts.is_empty()).map(|counts| counts.iter().all(|count| *count == 0));
    // There is one table for all descriptors: whichever series grows, the peak of all descriptors reaches the
    // ceiling first.
    let open = in_order(series(trend.samples.iter(), |sample| sample.open));
    let used = open.get(open.len() - open.len().div_ceil(3)..).into_iter().flatten().map(|point| point.value).max();
    for growth in &mut growths {
        growth.idle = idle;
        growth.to_limit_ms = match (growth.per_hour, trend.soft_limit, used) {
            (Some(rate), Some(limit), Some(used)) if rate > 0.0 => {
                Some((limit.saturating_sub(used) as f64 / rate * 3_600_000.0) as u64)
            }
            _ => None,
        };
        if let (Shape::Undecided, 0, Series::Open, Some(missing)) =
            (growth.shape, growth.falls, &growth.series, &mut growth.missing)
            && let Some((ms, limit)) = at_this_pace(&open, trend.soft_limit)
        {
            *missing = Note::AtThisPace { missing: Box::new(missing.clone()), limit, time: time(ms).into() };
        }
    }
    growths
}

/// Time until the limit would be reached at the present rate, in milliseconds, and that limit.
fn at_this_pace(open: &[Point], soft_limit: Option<u64>) -> Option<(u64, u64)> {
    let (first, last, limit) = (open.first()?, open.last()?, soft_limit?);
    let rise = last.value.checked_sub(first.value).filter(|rise| *rise >= MIN_RISE)?;
    let left = limit.saturating_sub(last.value) as f64 / rise as f64 * (last.ms - first.ms) as f64;
    Some((left as u64, limit))
}

fn series<'a>(samples: impl Iterator<Item = &'a Sample>, value: impl Fn(&Sample) -> Option<u64>) -> Vec<Point> {
    samples.filter_map(|sample| Some(Point { ms: sample.at_ms, value: value(sample)? })).collect()
}

/// The series of all descriptors, classified without those that do not indicate a leak: connections of clients,
/// and database handles that SQLite has parked.
fn open_growth(trend: &Trend, walked: &[&Sample]) -> Option<Growth> {
    let all = in_order(series(trend.samples.iter(), |sample| sample.open));
    if all.is_empty() {
        return None;
    }
    let thresholds = GrowthThresholds { tooth: Some(tooth(trend.soft_limit)), floors: true };
    let own = |sample: &Sample| {
        let clients = sample.kinds.get(ESTABLISHED).copied().unwrap_or(0);
        let parked: u64 = sample
            .families
            .iter()
            .filter(|family| family.wal > 0)
            .map(|f| f.db.saturating_sub(f.wal))
            .fold(0, u64::saturating_add);
        Some(sample.open?.saturating_sub(clients).saturating_sub(parked))
    };
    let judged_on = in_order(series(walked.iter().copied(), own));
    if judged_on.len() >= MIN_SAMPLES && judged_on.len() * 2 >= all.len() {
        let judged = shape(&judged_on, thresholds);
        let shown = in_order(series(walked.iter().copied(), |sample| sample.open));
        return Some(shown_as(&shown, describe(Series::Open, &judged_on, judged)));
    }
    let without_clients =
        in_order(series(trend.samples.iter(), |sample| Some(sample.open?.saturating_sub(sample.connected?))));
    if without_clients.len() >= MIN_SAMPLES && without_clients.len() * 2 >= all.len() {
        let judged = shape(&without_clients, thresholds);
        return Some(shown_as(&all, describe(Series::Open, &without_clients, judged)));
    }
    // Many clients cause the same shape, so only the duration decides.
    let judged = shape(&all, GrowthThresholds { tooth: None, ..thresholds });
    Some(describe(Series::Open, &all, judged))
}

/// The classification of one series with the counts of another.
fn shown_as(points: &[Point], growth: Growth) -> Growth {
    let (first, last, peak) = ends(points);
    Growth { first, last, peak, ..growth }
}

fn family_growth(path: &str, walked: &[&Sample], soft_limit: Option<u64>) -> Growth {
    let count = |part: fn(&crate::model::FamilySample) -> u64| {
        in_order(series(walked.iter().copied(), |sample| {
            Some(sample.families.iter().filter(|family| family.path == path).map(part).fold(0, u64::saturating_add))
        }))
    };
    let handles = count(|family| family.db.saturating_add(family.wal));
    let (db, wal) = (count(|family| family.db), count(|family| family.wal));
    // While another connection holds a lock, SQLite parks the database descriptor of a closed connection and
    // reuses it later. So the count of the database is a high-water mark, and that of the WAL is the number of
    // live connections.
    let live = if ends(&wal).2.saturating_mul(4) >= ends(&db).2 { wal } else { db };
    let judged = shape(&live, GrowthThresholds { tooth: Some(tooth_connections(soft_limit)), floors: true });
    describe(Series::Family(path.to_owned().into()), &handles, judged)
}

fn kind_growth(kind: &str, walked: &[&Sample], soft_limit: Option<u64>) -> Growth {
    let points = in_order(series(walked.iter().copied(), |sample| {
        let count = sample.kinds.get(kind).copied().unwrap_or(0);
        let databases = if kind == "regular" {
            sample
                .families
                .iter()
                .fold(0, |sum: u64, f| sum.saturating_add(f.db).saturating_add(f.wal).saturating_add(f.shm))
        } else {
            0
        };
        Some(count.saturating_sub(databases))
    }));
    let thresholds = if kind == ESTABLISHED {
        GrowthThresholds { tooth: None, floors: false }
    } else {
        GrowthThresholds { tooth: Some(tooth(soft_limit)), floors: true }
    };
    let judged = shape(&points, thresholds);
    describe(Series::Kind(kind.to_owned().into()), &points, judged)
}

/// Points by time; of several values at one time the lowest.
fn in_order(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_unstable_by_key(|point| (point.ms, point.value));
    points.dedup_by_key(|point| point.ms);
    points
}

/// First, last and highest value.
fn ends(points: &[Point]) -> (u64, u64, u64) {
    let value = |point: Option<&Point>| point.map_or(0, |point| point.value);
    (value(points.first()), value(points.last()), points.iter().map(|point| point.value).max().unwrap_or(0))
}

fn lowest(points: &[Point]) -> u64 {
    points.iter().map(|point| point.value).min().unwrap_or(0)
}

fn span(points: &[Point]) -> u64 {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) => last.ms - first.ms,
        _ => 0,
    }
}

/// The numbers of a series, with its shape.
fn describe(series: Series, points: &[Point], judged: ShapeVerdict) -> Growth {
    let (first, last, peak) = ends(points);
    let floors: Vec<Point> = judged.floors.iter().filter_map(|index| points.get(*index).copied()).collect();
    let (floor_first, floor_last) = if judged.falls == 0 { edges(points) } else { floor_edges(&floors) };
    // Falls that are small compared with the rise do not change the shape, but they must be counted.
    let falls = if judged.falls == 0 { self::floors(points, MIN_FALL).1.len() } else { judged.falls };
    let rate = match judged.shape {
        Shape::Staircase => rate(points),
        Shape::RisingFloor => rate(&floors),
        _ => None,
    };
    Growth {
        series,
        shape: judged.shape,
        first,
        last,
        peak,
        floor_first,
        floor_last,
        falls: falls as u64,
        per_hour: rate.map(|rate| rate.0),
        per_hour_low: rate.map(|rate| rate.1),
        per_hour_high: rate.map(|rate| rate.2),
        to_limit_ms: None,
        samples: points.len() as u64,
        span_ms: span(points),
        missing: judged.missing.map(Into::into),
        idle: None,
    }
}

/// Lowest of the first and of the last few values of a series that does not fall.
fn edges(points: &[Point]) -> (u64, u64) {
    let few = (points.len() / 8).clamp(1, 3).min(points.len());
    (lowest(&points[..few]), lowest(&points[points.len() - few..]))
}

/// Lowest of the first and of the last third of the floors.
fn floor_edges(floors: &[Point]) -> (u64, u64) {
    let third = floors.len().div_ceil(3);
    (lowest(&floors[..third]), lowest(&floors[floors.len() - third..]))
}

/// The shape of a series in time order.
fn shape(points: &[Point], thresholds: GrowthThresholds) -> ShapeVerdict {
    let undecided = |missing: String, falls, floors| ShapeVerdict {
        shape: Shape::Undecided,
        missing: Some(missing),
        falls,
        floors,
    };
    if points.len() < MIN_SAMPLES {
        return undecided(format!("three samples at least; there are {}", points.len()), 0, Vec::new());
    }
    let (_, last, peak) = ends(points);
    let range = peak - lowest(points);
    let tolerance = (range / 20).max(MIN_FALL);
    let (floors, falls) = floors(points, tolerance);
    let done = |shape| ShapeVerdict { shape, missing: None, falls: falls.len(), floors: floors.clone() };
    let largest_step = points.windows(2).map(|pair| pair[1].value.saturating_sub(pair[0].value)).max().unwrap_or(0);
    // A rise in one jump is a new level. Uneven sampling of one saw-tooth can simulate at most one such step.
    let is_spread = |rise: u64| rise.saturating_mul(2) > largest_step.saturating_mul(3);

    if falls.is_empty() {
        let (low, high) = edges(points);
        let rise = high.saturating_sub(low);
        if range <= 1 || (rise < MIN_RISE && (range <= flat_range(low) && kendall(points) < RISING)) {
            return done(Shape::Flat);
        }
        // Between few samples, all falls of a tooth within a longer one can be missed.
        let least = thresholds.tooth.map(|tooth| if points.len() < FEW_SAMPLES { tooth / 2 * 3 } else { tooth });
        let is_high = least.is_some_and(|least| rise > least);
        let is_long = rise >= MIN_RISE && span(points) >= LONG_WATCH_MS && points.len() >= LONG_WATCH_SAMPLES;
        let missing = if !is_spread(rise) {
            "a longer look: it rose at one step, which may be the last".to_owned()
        } else if !goes_on(points, rise) {
            "a longer look: it has risen and ceased to".to_owned()
        } else if is_high || (is_long && !may_be_one_flank(points)) {
            return done(Shape::Staircase);
        } else if is_long {
            "samples at uneven intervals: at even ones a saw-tooth can look like this".to_owned()
        } else {
            format!("a longer look: +{rise} and nothing given back yet, as on the rising flank of a saw-tooth")
        };
        return undecided(missing, 0, floors);
    }

    let lows: Vec<Point> = floors.iter().map(|index| points[*index]).collect();
    let (low, high) = floor_edges(&lows);
    let rise = high.saturating_sub(low);
    let largest_fall = falls.iter().copied().max().unwrap_or(0);
    if thresholds.floors && falls.len() >= 3 && is_spread(rise) && goes_on(&lows, rise) {
        // A collection may still close what the one before left open, up to the largest fall observed.
        let least = thresholds.tooth.map(|tooth| if falls.len() >= GENERATION { tooth } else { 2 * tooth });
        let is_high = least.is_some_and(|least| rise > least.max(largest_fall));
        let third = lows.len().div_ceil(3);
        let is_long = rise >= MIN_RISE
            && span(points) >= LONG_WATCH_MS
            && falls.len() >= LONG_WATCH_SAMPLES
            && kendall(&lows) >= RISING
            && lows[..third].iter().map(|point| point.value).max() < Some(high)
            && !may_be_one_flank(points);
        if is_high || is_long {
            return done(Shape::RisingFloor);
        }
    }
    // A staircase with temporary descriptors on top: a long series, and falls that are small compared with the
    // rise.
    let is_slow = rise >= MIN_RISE && largest_fall < rise / 4 && points.len() >= LONG_WATCH_SAMPLES;
    if thresholds.floors
        && is_slow
        && span(points) >= LONG_WATCH_MS
        && is_spread(rise)
        && goes_on(points, rise)
        && !may_be_one_flank(points)
    {
        return done(Shape::Staircase);
    }
    if range <= flat_range(low) {
        return done(Shape::Flat);
    }
    let is_rising = falls.len() > MIN_SAMPLES && kendall(&lows) >= LIKELY_RISING;
    if rise >= MIN_RISE && (is_rising || rise > largest_fall / 2) {
        let missing = format!("more falls to compare: the floor has risen by {rise}, over {}", falls.len());
        return undecided(missing, falls.len(), floors);
    }
    let after = last.saturating_sub(lows.last().map_or(0, |point| point.value));
    let is_over = after <= tolerance.max(largest_fall / 4);
    done(if falls.len() == 1 && is_over { Shape::Burst } else { Shape::SawTooth })
}

/// Range within which a level counts as flat.
fn flat_range(level: u64) -> u64 {
    (level / 10).max(5)
}

/// Lows of a series and the falls before them, without movements smaller than `tolerance`: the index of the low
/// before the first fall, if the series rose before it, and of the low after each fall; and the depth of each
/// fall.
fn floors(points: &[Point], tolerance: u64) -> (Vec<usize>, Vec<u64>) {
    let (mut found, mut falls) = (Vec::new(), Vec::new());
    let (mut high, mut low) = (0, 0);
    let mut is_falling = false;
    for (index, point) in points.iter().enumerate() {
        if is_falling {
            if point.value < points[low].value {
                low = index;
            } else if point.value - points[low].value >= tolerance {
                falls.push(points[high].value - points[low].value);
                found.push(low);
                is_falling = false;
                high = index;
            }
        } else if point.value >= points[high].value {
            high = index;
        } else if points[high].value - point.value >= tolerance {
            if found.is_empty() {
                low = (0..high).min_by_key(|before| points[*before].value).unwrap_or(high);
                if points[high].value - points[low].value >= tolerance {
                    found.push(low);
                }
            }
            is_falling = true;
            low = index;
        }
    }
    if is_falling {
        falls.push(points[high].value - points[low].value);
        found.push(low);
    }
    (found, falls)
}

/// Whether the last third of the time has a fair part of the rise: a series that no longer rises reaches no
/// limit.
fn goes_on(points: &[Point], rise: u64) -> bool {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return false };
    let since = first.ms + (last.ms - first.ms) / 3 * 2;
    let before = points.iter().rfind(|point| point.ms <= since).map_or(first.value, |point| point.value);
    last.value.saturating_sub(before) > rise / 10
}

/// Whether all samples can be on one rising flank of a saw-tooth, because each is a little later in its period
/// than the one before. Then the remainders of the intervals add up to one period at most.
fn may_be_one_flank(points: &[Point]) -> bool {
    // Teeth of a real saw-tooth differ in length, in parts of a period.
    const UNEVEN: f64 = 0.1;
    let span = span(points) as f64;
    let (from, to) = (1.0 / PERIODS_MS.1, 1.0 / PERIODS_MS.0);
    let step = 0.25 / span.max(1.0);
    if (to - from) / step > MAX_FREQUENCIES {
        return true;
    }
    let mut frequency = from;
    while frequency <= to {
        let mut phase = 0.0;
        let is_excluded = points.windows(2).any(|pair| {
            let periods = (pair[1].ms - pair[0].ms) as f64 * frequency;
            phase += periods - (periods + UNEVEN).floor();
            phase >= 1.25
        });
        if !is_excluded {
            return true;
        }
        frequency += step;
    }
    false
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
