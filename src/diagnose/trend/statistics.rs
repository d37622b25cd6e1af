//! Statistics of a series: whether it rises, and how fast.

use super::{MAX_RATE_POINTS, NORMAL_975, Point};

/// At most `most` points, evenly spaced, including the last.
pub(super) fn thinned(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    (0..most).filter_map(|index| points.get(index * (points.len() - 1) / (most - 1)).copied()).collect()
}

/// Kendall's statistic in standard deviations: above 0 the later values are higher.
pub(super) fn kendall(points: &[Point]) -> f64 {
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
pub(super) fn kendall_deviation(count: usize) -> f64 {
    let n = count as f64;
    (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).max(0.0).sqrt()
}

/// Theil-Sen slope per hour with its 95 % interval: it is robust against outliers.
pub(super) fn rate(points: &[Point]) -> Option<(f64, f64, f64)> {
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
