//! Repeated requests for the health path, and the distribution of their times.

use super::Examination;
use super::health::{CAREFUL_SHARE, Plan};
use crate::model::{
    Attempt, Gap, GapDetail, GapReason, GapSubject, HealthSeries, Outcome, OutcomeCount, PhaseName, PhaseTimes,
    Server, TimeBucket, whole_milliseconds,
};
use crate::probe::{self, Timeouts};
use std::time::{Duration, Instant};

/// Bounds of the histogram in milliseconds.
const BOUNDS_MS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0];

/// Number of requests in a row without a response after which the series stops.
const MAX_UNANSWERED: usize = 3;

/// Number of requests after which descriptors are counted again.
const COUNT_INTERVAL: u64 = 4;

/// Interval of the check for Ctrl-C during the pause between two requests.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

impl Examination<'_> {
    /// Sends the requests of the series. The first request is the deciding one, which was already sent.
    pub(super) fn repeat(&self, server: &mut Server, plan: &Plan, first: &Attempt) {
        let Some(repetition) = self.request.repetition else { return };
        let limit = server.descriptors.as_ref().and_then(|facts| facts.soft_limit);
        let before = server.descriptors.as_ref().and_then(|facts| facts.open);
        let is_near = |open: Option<u64>| {
            open.zip(limit).is_some_and(|(open, limit)| limit > 0 && open as f64 / limit as f64 >= CAREFUL_SHARE)
        };
        let mut stopped = is_near(before).then_some((GapReason::NotAsked, GapDetail::NearLimit));
        let address = first.address.as_deref().and_then(|address| address.parse().ok());
        let tls = first.url.starts_with("https:");
        let mut attempts = vec![first.clone()];
        let begun = Instant::now();
        while let (Some(address), None) = (address, &stopped) {
            let number = count(attempts.len());
            if number >= repetition.requests {
                break;
            }
            let due = repetition.every.saturating_mul(u32::try_from(number).unwrap_or(u32::MAX));
            self.progress.step(&format!("request {} of {}", number + 1, repetition.requests));
            while begun.elapsed() < due && !self.deadline.is_over() && !self.progress.is_over() {
                std::thread::sleep(POLL_INTERVAL.min(due.saturating_sub(begun.elapsed())));
            }
            if self.progress.is_over() {
                break;
            }
            let last = attempts.iter().rev().take(MAX_UNANSWERED);
            // Each request can exhaust the descriptors of a server that leaks.
            let open = if number.is_multiple_of(COUNT_INTERVAL) { self.open_now(server) } else { None };
            stopped = if self.deadline.is_over() {
                Some((GapReason::Timeout, GapDetail::RequestsMade { number }))
            } else if is_near(open) {
                let detail = GapDetail::EndedBetweenRequests { number };
                Some((GapReason::NotAsked, detail))
            } else if attempts.len() > MAX_UNANSWERED && last.clone().all(|attempt| !attempt.outcome.is_answer()) {
                Some((GapReason::NotFound, GapDetail::EndedUnanswered { number, row: MAX_UNANSWERED }))
            } else {
                None
            };
            if stopped.is_none() {
                let timeouts = Timeouts { phase: self.request.timeout, total: self.deadline };
                let mut knock = plan.knock(address, server.kind);
                knock.tls = tls;
                attempts.push(probe::attempt(&knock, timeouts, &mut |_| {}));
            }
        }
        if let Some((reason, detail)) = stopped {
            server.gaps.push(Gap::new(GapSubject::ManyRequests, reason, detail));
        }
        let mut series = summary(&attempts, repetition.requests, repetition.every);
        (series.open_before, series.open_after) = (before, self.open_now(server));
        server.health.iter_mut().for_each(|health| health.series = Some(series.clone()));
    }

    /// Present number of open descriptors, if the kernel reports it without a scan.
    fn open_now(&self, server: &Server) -> Option<u64> {
        let identity = server.process.as_ref()?.identity;
        self.survey.host.usage(identity).ok()?.open
    }
}

/// Times by phase over the requests that completed it, and the histogram of the answered requests.
fn summary(attempts: &[Attempt], planned: u64, every: Duration) -> HealthSeries {
    let mut series = HealthSeries {
        requests: count(attempts.len()),
        planned,
        every_ms: whole_milliseconds(every),
        ..HealthSeries::default()
    };
    for attempt in attempts {
        match series.outcomes.iter_mut().find(|known| known.outcome == attempt.outcome) {
            Some(known) => known.count += 1,
            None => series.outcomes.push(OutcomeCount { outcome: attempt.outcome, count: 1 }),
        }
    }
    const PHASES: [PhaseName; 6] = [
        PhaseName::Connect,
        PhaseName::Tls,
        PhaseName::Request,
        PhaseName::FirstByte,
        PhaseName::Headers,
        PhaseName::Body,
    ];
    for phase in PHASES {
        let times = attempts
            .iter()
            .flat_map(|attempt| &attempt.phases)
            .filter(|known| known.name == phase && known.error.is_none())
            .map(|known| known.ms)
            .collect();
        series.phases.extend(times_of(Some(phase), times));
    }
    let whole: Vec<f64> = attempts
        .iter()
        .filter(|attempt| attempt.outcome.is_answer() || attempt.outcome == Outcome::NotHttp)
        .map(|attempt| {
            attempt.phases.iter().filter(|phase| phase.name != PhaseName::Resolve).map(|phase| phase.ms).sum()
        })
        .collect();
    series.histogram = histogram(&whole);
    series.phases.extend(times_of(None, whole));
    series
}

fn times_of(phase: Option<PhaseName>, mut times: Vec<f64>) -> Option<PhaseTimes> {
    times.sort_unstable_by(f64::total_cmp);
    // Nearest rank: the smallest time that this share of the requests does not exceed.
    let rank = |share: f64| {
        let rank = (share * times.len() as f64).ceil() as usize;
        times.get(rank.clamp(1, times.len().max(1)) - 1).copied()
    };
    Some(PhaseTimes {
        phase,
        count: count(times.len()),
        min_ms: *times.first()?,
        median_ms: rank(0.5)?,
        p99_ms: rank(0.99)?,
        max_ms: *times.last()?,
    })
}

/// Buckets from the first to the last that is not empty.
fn histogram(times: &[f64]) -> Vec<TimeBucket> {
    let bounds = BOUNDS_MS.iter().map(|bound| Some(*bound)).chain([None]);
    let mut before = 0.0;
    let buckets: Vec<TimeBucket> = bounds
        .map(|bound| {
            let within = |ms: &&f64| {
                **ms > before && bound.is_none_or(|bound| **ms <= bound) || before == 0.0 && **ms == 0.0
            };
            let found = times.iter().filter(within).count();
            before = bound.unwrap_or(before);
            TimeBucket { up_to_ms: bound, count: count(found) }
        })
        .collect();
    let first = buckets.iter().position(|bucket| bucket.count > 0);
    let last = buckets.iter().rposition(|bucket| bucket.count > 0);
    match (first, last) {
        (Some(first), Some(last)) => buckets.get(first..=last).unwrap_or_default().to_vec(),
        _ => Vec::new(),
    }
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Phase;

    fn attempt(first_byte_ms: f64, outcome: Outcome) -> Attempt {
        let error = (!outcome.is_answer()).then(|| "no byte in time".to_owned());
        let phase = |name, ms, error| Phase { name, ms, error };
        Attempt {
            url: "http://127.0.0.1:8787/health".into(),
            address: None,
            outcome,
            http_status: None,
            server_header: None,
            redirect_to: None,
            phases: vec![
                phase(PhaseName::Resolve, 50.0, None),
                phase(PhaseName::Connect, 0.5, None),
                phase(PhaseName::FirstByte, first_byte_ms, error.map(Into::into)),
            ],
            bytes_received: 0,
            answer: None,
        }
    }

    #[test]
    fn ranks_are_the_nearest() {
        let times = times_of(None, (1..=200).rev().map(f64::from).collect()).unwrap();
        assert_eq!((times.min_ms, times.median_ms, times.p99_ms, times.max_ms), (1.0, 100.0, 198.0, 200.0));
        let one = times_of(None, vec![7.0]).unwrap();
        assert_eq!((one.min_ms, one.median_ms, one.p99_ms, one.max_ms), (7.0, 7.0, 7.0, 7.0));
        assert_eq!(times_of(None, Vec::new()), None);
    }

    #[test]
    fn unanswered_requests_are_counted_but_not_timed() {
        let attempts = [attempt(1.0, Outcome::Ok), attempt(3.0, Outcome::Ok), attempt(2000.0, Outcome::NoAnswer)];
        let series = summary(&attempts, 5, Duration::from_millis(200));
        assert_eq!((series.requests, series.planned, series.every_ms), (3, 5, 200));
        let expected = [(Outcome::Ok, 2), (Outcome::NoAnswer, 1)];
        assert_eq!(series.outcomes, expected.map(|(outcome, count)| OutcomeCount { outcome, count }));
        let first_byte = series.phases.iter().find(|times| times.phase == Some(PhaseName::FirstByte)).unwrap();
        assert_eq!((first_byte.count, first_byte.max_ms), (2, 3.0));
        let connect = series.phases.iter().find(|times| times.phase == Some(PhaseName::Connect)).unwrap();
        assert_eq!(connect.count, 3);
        let whole = series.phases.last().unwrap();
        assert_eq!((whole.phase, whole.count, whole.min_ms), (None, 2, 1.5));
    }

    #[test]
    fn every_time_is_in_one_bucket() {
        let times = [0.0, 0.4, 1.0, 1.1, 900.0, 7000.0];
        let buckets = histogram(&times);
        assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 6);
        assert_eq!(buckets.first().unwrap(), &TimeBucket { up_to_ms: Some(1.0), count: 3 });
        assert_eq!(buckets.last().unwrap(), &TimeBucket { up_to_ms: None, count: 1 });
        assert!(histogram(&[]).is_empty());
    }
}
