//! Diagnosis of a record of `watch`: growth in the life of the last process.

use super::trend::{findings, judge_trend};
use crate::model::{FamilySample, Growth, History, Raised, Record, Sample, Trend, whole_milliseconds};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// Maximum time by which a line can be earlier than the line before without a clock step. Two recorders on one
/// record write their lines in the order in which their examinations end, but a line has the start time of its
/// examination.
const MAX_INTERLEAVING: Duration = Duration::from_secs(10);
/// Maximum number of lines by which a line is moved to put interleaved lines in order.
const MAX_DISPLACEMENT: usize = 64;
/// Minimum time without a line that counts as a gap. Across a gap, lines that have only the clock's time are
/// not compared: the clock was set forward, or nothing was recorded, and in both cases the time between is
/// unknown.
const MIN_GAP: Duration = Duration::from_secs(300);
/// The same as a multiple of the typical interval between two lines.
const GAP_INTERVALS: u32 = 10;
/// Minimum difference between the clock and the time since boot that counts as a clock step; slewing takes up
/// to 0.05 %.
const MIN_CLOCK_STEP: Duration = Duration::from_secs(1);

/// Records by server, oldest first. Lines of interleaved recorders are reordered; lines around a clock step are
/// not.
pub fn by_server(history: &History) -> BTreeMap<&str, Vec<&Record>> {
    let mut found: BTreeMap<&str, Vec<TimedRecord<'_>>> = BTreeMap::new();
    for record in &history.records {
        found.entry(record.server.as_str()).or_default().push(TimedRecord::new(record));
    }
    found
        .into_iter()
        .map(|(server, mut records)| {
            put_in_order(&mut records);
            (server, records.into_iter().map(|timed| timed.record).collect())
        })
        .collect()
}

/// A record with its time parsed.
#[derive(Clone, Copy)]
struct TimedRecord<'a> {
    record: &'a Record,
    at: Option<SystemTime>,
}

impl<'a> TimedRecord<'a> {
    fn new(record: &'a Record) -> Self {
        Self { record, at: record.at.time() }
    }

    fn all(records: &[&'a Record]) -> Vec<Self> {
        records.iter().map(|record| Self::new(record)).collect()
    }

    /// Times since boot of both records; `None` unless both are of one process, and thus of one boot.
    fn since_boot(self, next: Self) -> Option<(u64, u64)> {
        let identity = |record: &Record| record.pid.zip(record.start_ticks);
        let is_one_boot = identity(self.record).is_some() && identity(self.record) == identity(next.record);
        self.record.since_boot_ms.zip(next.record.since_boot_ms).filter(|_| is_one_boot)
    }

    /// How much later this record is than the next line; `None` if it is not later.
    fn later_than(self, next: Self) -> Option<Duration> {
        let by = match self.since_boot(next) {
            Some((this, next)) => Duration::from_millis(this.saturating_sub(next)),
            None => self.at?.duration_since(next.at?).ok()?,
        };
        (!by.is_zero()).then_some(by)
    }

    /// Time from this record to the next. `None` if the time since boot was not recorded and the clock was set
    /// back, or is ahead by more than `longest`.
    fn until(self, next: Self, longest: Duration) -> Option<Duration> {
        if let Some((this, next)) = self.since_boot(next) {
            return Some(Duration::from_millis(next.saturating_sub(this)));
        }
        match next.at?.duration_since(self.at?) {
            Ok(elapsed) => (elapsed <= longest).then_some(elapsed),
            Err(back) if back.duration() <= MAX_INTERLEAVING => Some(Duration::ZERO),
            Err(_) => None,
        }
    }
}

/// The longest time between two lines that is not a gap.
fn longest_interval(records: &[TimedRecord<'_>]) -> Duration {
    let mut intervals: Vec<Duration> =
        records.windows(2).filter_map(|pair| pair[1].at?.duration_since(pair[0].at?).ok()).collect();
    intervals.sort_unstable();
    let usual = intervals.get(intervals.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    usual.saturating_mul(GAP_INTERVALS).max(MIN_GAP)
}

fn put_in_order(records: &mut [TimedRecord<'_>]) {
    for index in 1..records.len() {
        let mut at = index;
        while at > index.saturating_sub(MAX_DISPLACEMENT)
            && records[at - 1].later_than(records[at]).is_some_and(|by| by <= MAX_INTERLEAVING)
        {
            records.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// The samples of the last process of a server; samples of earlier processes do not describe it. Intervals use
/// the time since boot if it was recorded, so that a clock step neither creates nor hides a trend.
pub fn trend_of(records: &[&Record]) -> Option<Trend> {
    let last = records.iter().rev().find(|record| record.pid.is_some())?;
    let mut of_last = TimedRecord::all(records);
    of_last.retain(|timed| {
        let record = timed.record;
        record.pid == last.pid
            && record.start_ticks == last.start_ticks
            && (timed.at.is_some() || record.since_boot_ms.is_some())
    });
    let longest = longest_interval(&of_last);
    let (mut samples, mut elapsed, mut before) = (Vec::new(), Duration::ZERO, None::<TimedRecord<'_>>);
    for timed in of_last {
        match before.map_or(Some(Duration::ZERO), |before| before.until(timed, longest)) {
            Some(since) => elapsed = elapsed.saturating_add(since),
            // Times before a clock step cannot be compared with those after it.
            None => {
                samples.clear();
                elapsed = Duration::ZERO;
            }
        }
        samples.push(sample(timed.record, elapsed));
        before = Some(timed);
    }
    (!samples.is_empty()).then_some(Trend { soft_limit: last.soft_limit, samples })
}

fn sample(record: &Record, elapsed: Duration) -> Sample {
    // The record does not contain the name of the database; for one server it is the same in all samples.
    let family = |handles: u64| {
        let wal = record.wal_handles.unwrap_or(handles / 2).min(handles);
        FamilySample { path: "state.db".into(), db: handles - wal, wal, shm: 0 }
    };
    Sample {
        at_ms: whole_milliseconds(elapsed),
        open: record.open,
        walked: record.database_handles.is_some(),
        kinds: record.close_wait.map(|count| ("tcp-close-wait".into(), count)).into_iter().collect(),
        families: record.database_handles.map(family).into_iter().collect(),
        connected: record.connected,
        cpu_ms: None,
    }
}

/// Clock steps in a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSteps {
    /// Number of steps back.
    pub back: usize,
    /// Number of steps forward; known only if the time since boot was recorded.
    pub forward: usize,
    /// Whether a step back splits the trend, because the time since boot was not recorded.
    pub cuts_trend: bool,
}

/// Counts the clock steps between the lines.
pub fn clock_steps(records: &[&Record]) -> ClockSteps {
    let mut steps = ClockSteps::default();
    let timed = TimedRecord::all(records);
    for pair in timed.windows(2) {
        let (before, now) = (pair[0], pair[1]);
        let (Some(then_at), Some(now_at)) = (before.at, now.at) else { continue };
        match before.since_boot(now) {
            Some((then_ms, now_ms)) => {
                let elapsed = Duration::from_millis(now_ms.saturating_sub(then_ms));
                let expected = then_at.checked_add(elapsed).unwrap_or(then_at);
                let tolerance = MIN_CLOCK_STEP + elapsed / 1000;
                match now_at.duration_since(expected) {
                    Ok(ahead) if ahead > tolerance => steps.forward += 1,
                    Err(behind) if behind.duration() > tolerance => steps.back += 1,
                    _ => {}
                }
            }
            None if before.until(now, Duration::MAX).is_none() => {
                steps.back += 1;
                steps.cuts_trend = true;
            }
            None => {}
        }
    }
    steps
}

/// Growth of the series of one server.
pub fn growth_of(records: &[&Record]) -> Vec<Growth> {
    trend_of(records).as_ref().map(judge_trend).unwrap_or_default()
}

/// Findings of all servers of a record, each with the pid of its last process.
pub fn judge(history: &History) -> Vec<(Option<u32>, Raised)> {
    let of_server = |records: Vec<&Record>| {
        let trend = trend_of(&records)?;
        let pid = records.iter().rev().find_map(|record| record.pid);
        Some(findings(&trend, &judge_trend(&trend)).into_iter().map(move |found| (pid, found)))
    };
    by_server(history).into_values().filter_map(of_server).flatten().collect()
}
