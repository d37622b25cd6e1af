//! Growth over time: what a series of samples does, and which findings follow.
//!
//! Growth is what the *floors* do. CPython from 3.11 on closes forgotten database connections only when its garbage
//! collector runs, so a server that leaks nothing for long shows a saw-tooth; any few samples of it can lie on one
//! rising flank, and samples at even intervals can turn it into a slow rise that is not there. A series is therefore
//! called growing only when it has risen further than a saw-tooth can, or was watched for longer than one lasts.

mod findings;

use crate::model::{Growth, Sample, Series, Shape, Trend};
use findings::time;
use std::collections::BTreeSet;

pub use findings::findings;

/// Connections by which a saw-tooth of CPython 3.11 and 3.12 rises at most before the collector closes them: 72 were
/// seen on one flank, 82 between samples so far apart that falls were missed. Between two collections of the youngest
/// generation 700 objects are made, about ten of them by a connection.
const TOOTH_CONNECTIONS: u64 = 85;
/// The same from 3.13 on, where it is 2000 objects: 184 and 212 were seen.
const LONG_TOOTH_CONNECTIONS: u64 = 220;
/// Soft limit that leaves no room for such a long tooth, at two descriptors a connection: what rises towards it is a
/// leak in effect, collected some day or not.
const NARROW_LIMIT: u64 = 512;
/// Falls after which a rising floor is not that of a tooth within a longer one: objects in use during a collection wait
/// for that of the next generation, which is made once for ten of the youngest.
const GENERATION: usize = 12;
/// The least rise that is worth a word.
const MIN_RISE: u64 = 6;
/// The least fall that is one.
const MIN_FALL: u64 = 3;
/// Fewest samples that show a trend.
const MIN_SAMPLES: usize = 3;
/// Below this number of samples a rise must be half as high again.
const FEW_SAMPLES: usize = 10;
/// A watch of this length, in milliseconds, without anything given back decides by itself. A tooth of 72 connections lasts
/// 36 minutes when one is forgotten every 30 seconds.
const LONG_WATCH_MS: u64 = 120 * 60_000;
/// Samples, or floors, that such a watch needs.
const LONG_WATCH_SAMPLES: usize = 10;
/// Shortest and longest period of a saw-tooth that is looked for between the samples, in milliseconds.
const PERIODS_MS: (f64, f64) = (3_000.0, 3_600_000.0);
/// Frequencies tried at most; a longer watch counts as one that cannot exclude a saw-tooth.
const MAX_FREQUENCIES: f64 = 2_000_000.0;
/// Points that are compared pair by pair for a rate; more are thinned out.
const MAX_RATE_POINTS: usize = 300;
/// 97.5th percentile of the normal distribution, for intervals of 95 %.
const NORMAL_975: f64 = 1.959_964;
/// Kendall's statistic, in standard deviations, from which on floors rise and do not only differ.
const RISING: f64 = 3.0;
/// The same, from which on they are not said to stay.
const LIKELY_RISING: f64 = 2.0;
/// The kind of descriptor that clients bring and take along.
const ESTABLISHED: &str = "tcp-established";

/// One value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Point {
    ms: u64,
    value: u64,
}

/// How much it takes to call a series growing.
#[derive(Clone, Copy, Debug)]
struct GrowthThresholds {
    /// A rise that needs no long watch; `None` where only a long watch decides.
    tooth: Option<u64>,
    /// Whether a rising floor counts, or only a series that never falls.
    floors: bool,
}

/// What the shape of a series is, and on which of its points that rests.
struct ShapeVerdict {
    shape: Shape,
    missing: Option<String>,
    falls: usize,
    /// Indices of the floors, in time: the low before the first fall, if any, and the low after each fall.
    floors: Vec<usize>,
}

/// The largest saw-tooth, in connections, that the soft limit has room for.
fn tooth_connections(soft_limit: Option<u64>) -> u64 {
    match soft_limit {
        Some(limit) if limit <= NARROW_LIMIT => TOOTH_CONNECTIONS,
        _ => LONG_TOOTH_CONNECTIONS,
    }
}

/// Descriptors by which a saw-tooth can rise under this soft limit: a database and a WAL handle for each connection.
pub fn tooth(soft_limit: Option<u64>) -> u64 {
    2 * tooth_connections(soft_limit)
}

/// Judges one series of descriptors under the soft limit of its process. Times are in milliseconds; order does not
/// matter, and of several values at one time the lowest counts. Values beyond the shorter of the two slices are left
/// out.
pub fn growth(times_ms: &[u64], values: &[u64], soft_limit: Option<u64>) -> Growth {
    let points =
        in_order(times_ms.iter().zip(values).map(|(ms, value)| Point { ms: *ms, value: *value }).collect());
    let judged = shape(&points, GrowthThresholds { tooth: Some(tooth(soft_limit)), floors: true });
    describe(Series::Open, &points, judged)
}

/// Judges all descriptors, each database, and each kind that does not stay where it is.
pub fn judge_trend(trend: &Trend) -> Vec<Growth> {
    let walked: Vec<&Sample> =
        trend.samples.iter().filter(|sample| sample.walked || !sample.kinds.is_empty()).collect();
    let mut growths: Vec<Growth> = open_growth(trend, &walked).into_iter().collect();
    let paths: BTreeSet<&str> =
        walked.iter().flat_map(|sample| &sample.families).map(|family| family.path.as_str()).collect();
    growths.extend(paths.into_iter().map(|path| family_growth(path, &walked, trend.soft_limit)));
    let kinds: BTreeSet<&str> = walked.iter().flat_map(|sample| sample.kinds.keys()).map(String::as_str).collect();
    growths.extend(
        kinds
            .into_iter()
            .map(|kind| kind_growth(kind, &walked, trend.soft_limit))
            .filter(|growth| growth.shape != Shape::Flat),
    );

    let connected: Option<Vec<u64>> = trend.samples.iter().map(|sample| sample.connected).collect();
    let idle = connected.filter(|counts| !counts.is_empty()).map(|counts| counts.iter().all(|count| *count == 0));
    // The table is one: whatever grows, the ceiling is that of all descriptors, and their highest point meets it first.
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
            missing.push_str(&format!("; at this pace {limit} is reached in {}", time(ms)));
        }
    }
    growths
}

/// When the limit would be reached if what rose went on rising, in milliseconds, and that limit.
fn at_this_pace(open: &[Point], soft_limit: Option<u64>) -> Option<(u64, u64)> {
    let (first, last, limit) = (open.first()?, open.last()?, soft_limit?);
    let rise = last.value.checked_sub(first.value).filter(|rise| *rise >= MIN_RISE)?;
    let left = limit.saturating_sub(last.value) as f64 / rise as f64 * (last.ms - first.ms) as f64;
    Some((left as u64, limit))
}

fn series<'a>(samples: impl Iterator<Item = &'a Sample>, value: impl Fn(&Sample) -> Option<u64>) -> Vec<Point> {
    samples.filter_map(|sample| Some(Point { ms: sample.at_ms, value: value(sample)? })).collect()
}

/// All descriptors, judged without those that say nothing about a leak: the clients' connections, and database handles
/// that SQLite has parked.
fn open_growth(trend: &Trend, walked: &[&Sample]) -> Option<Growth> {
    let all = in_order(series(trend.samples.iter(), |sample| sample.open));
    if all.is_empty() {
        return None;
    }
    let patience = GrowthThresholds { tooth: Some(tooth(trend.soft_limit)), floors: true };
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
        let judged = shape(&judged_on, patience);
        let shown = in_order(series(walked.iter().copied(), |sample| sample.open));
        return Some(shown_as(&shown, describe(Series::Open, &judged_on, judged)));
    }
    let without_clients =
        in_order(series(trend.samples.iter(), |sample| Some(sample.open?.saturating_sub(sample.connected?))));
    if without_clients.len() >= MIN_SAMPLES && without_clients.len() * 2 >= all.len() {
        let judged = shape(&without_clients, patience);
        return Some(shown_as(&all, describe(Series::Open, &without_clients, judged)));
    }
    // A crowd of clients looks like this too, so nothing but time decides.
    let judged = shape(&all, GrowthThresholds { tooth: None, ..patience });
    Some(describe(Series::Open, &all, judged))
}

/// The judgement of one series with the plain counts of another.
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
    // While another connection holds a lock, SQLite parks the database descriptor of one that is closed and uses it
    // again later, so the database's count is a high-water mark; the WAL's is that of live connections.
    let live = if ends(&wal).2.saturating_mul(4) >= ends(&db).2 { wal } else { db };
    let judged = shape(&live, GrowthThresholds { tooth: Some(tooth_connections(soft_limit)), floors: true });
    describe(Series::Family(path.to_owned()), &handles, judged)
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
    let patience = if kind == ESTABLISHED {
        GrowthThresholds { tooth: None, floors: false }
    } else {
        GrowthThresholds { tooth: Some(tooth(soft_limit)), floors: true }
    };
    let judged = shape(&points, patience);
    describe(Series::Kind(kind.to_owned()), &points, judged)
}

/// By time; of several values at one time the lowest.
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

/// The numbers of a series beside the shape that was found.
fn describe(series: Series, points: &[Point], judged: ShapeVerdict) -> Growth {
    let (first, last, peak) = ends(points);
    let floors: Vec<Point> = judged.floors.iter().filter_map(|index| points.get(*index).copied()).collect();
    let (floor_first, floor_last) = if judged.falls == 0 { edges(points) } else { floor_edges(&floors) };
    // Falls that are small beside the rise do not change the shape, but it would be untrue not to count them.
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
        missing: judged.missing,
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

/// The shape of a series in order.
fn shape(points: &[Point], patience: GrowthThresholds) -> ShapeVerdict {
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
    // A rise made of one jump is a new level, and the most that uneven phases of one saw-tooth can feign is one step.
    let is_spread = |rise: u64| rise.saturating_mul(2) > largest_step.saturating_mul(3);

    if falls.is_empty() {
        let (low, high) = edges(points);
        let rise = high.saturating_sub(low);
        if range <= 1 || (rise < MIN_RISE && (range <= flat_range(low) && kendall(points) < RISING)) {
            return done(Shape::Flat);
        }
        // Between few samples all falls of a tooth within a longer one can be missed.
        let least = patience.tooth.map(|tooth| if points.len() < FEW_SAMPLES { tooth / 2 * 3 } else { tooth });
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
    if patience.floors && falls.len() >= 3 && is_spread(rise) && goes_on(&lows, rise) {
        // What one collection has left behind the next may, up to all that any has given back.
        let least = patience.tooth.map(|tooth| if falls.len() >= GENERATION { tooth } else { 2 * tooth });
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
    // A staircase with descriptors that come and go on it: a long watch, and falls that are small beside the rise.
    let is_slow = rise >= MIN_RISE && largest_fall < rise / 4 && points.len() >= LONG_WATCH_SAMPLES;
    if patience.floors
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

/// How far a level may vary and still be one.
fn flat_range(level: u64) -> u64 {
    (level / 10).max(5)
}

/// Lows of a series and the falls before them, smaller movements than `tolerance` left out: the index of the low
/// before the first fall, when the series rose before it, and of the low after each fall; the depth of each fall.
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

/// Whether the last third of the time still has a fair part of the rise: what has ceased to rise fills nothing.
fn goes_on(points: &[Point], rise: u64) -> bool {
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return false };
    let since = first.ms + (last.ms - first.ms) / 3 * 2;
    let before = points.iter().rfind(|point| point.ms <= since).map_or(first.value, |point| point.value);
    last.value.saturating_sub(before) > rise / 10
}

/// Whether one rising flank of a saw-tooth can go through all samples, because each comes a little later in its
/// period than the one before: then the remainders of the intervals sum up to one period at most.
fn may_be_one_flank(points: &[Point]) -> bool {
    // The teeth of a real one are not all equally long, in parts of a period.
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

/// At most `most` points, evenly taken, the last among them.
fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    (0..most).filter_map(|index| points.get(index * (points.len() - 1) / (most - 1)).copied()).collect()
}

/// Kendall's statistic in standard deviations: above 0 the later values are the higher ones.
fn kendall(points: &[Point]) -> f64 {
    let points = thinned(points, MAX_RATE_POINTS);
    let mut score = 0.0;
    for (index, earlier) in points.iter().enumerate() {
        for later in &points[index + 1..] {
            score += match later.value.cmp(&earlier.value) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.0,
                std::cmp::Ordering::Less => -1.0,
            };
        }
    }
    score / kendall_deviation(points.len()).max(1.0)
}

/// Standard deviation of Kendall's statistic of `count` values without a trend.
fn kendall_deviation(count: usize) -> f64 {
    let n = count as f64;
    (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).max(0.0).sqrt()
}

/// Theil and Sen's slope an hour with its 95 % interval: half of the points may lie anywhere.
fn rate(points: &[Point]) -> Option<(f64, f64, f64)> {
    let points = thinned(points, MAX_RATE_POINTS);
    let mut slopes = Vec::new();
    for (index, earlier) in points.iter().enumerate() {
        for later in &points[index + 1..] {
            let hours = (later.ms - earlier.ms) as f64 / 3_600_000.0;
            slopes.push((later.value as f64 - earlier.value as f64) / hours);
        }
    }
    slopes.sort_unstable_by(f64::total_cmp);
    let at = |rank: f64| slopes.get((rank.max(0.0) as usize).min(slopes.len().saturating_sub(1))).copied();
    let half_width = NORMAL_975 * kendall_deviation(points.len()) / 2.0;
    let middle = (slopes.len() as f64 - 1.0) / 2.0;
    let median = (at(middle.floor())? + at(middle.ceil())?) / 2.0;
    Some((median, at((middle - half_width).floor())?, at((middle + half_width).ceil())?))
}

#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
