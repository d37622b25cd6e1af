//! A record of the flight recorder, judged: what grows in the life of the last process.

use super::trend::{findings, judge_trend};
use crate::model::{FamilySample, Finding, Growth, History, Record, Sample, Trend};
use std::collections::BTreeMap;

/// Records by server, in order.
pub fn by_server(history: &History) -> BTreeMap<&str, Vec<&Record>> {
    let mut found: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    for record in &history.records {
        found.entry(record.server.as_str()).or_default().push(record);
    }
    found
}

/// The samples of the last process of a server; those of processes before it say nothing of this one.
pub fn trend_of(records: &[&Record]) -> Option<Trend> {
    let last = records.iter().rev().find(|record| record.pid.is_some())?;
    let at = |record: &Record| humantime::parse_rfc3339(&record.at).ok();
    let mut of_last: Vec<&&Record> =
        records.iter().filter(|record| record.pid == last.pid && record.start_ticks == last.start_ticks).collect();
    // Times before the clock was set back cannot be compared with those after.
    if let Some(back) = of_last.windows(2).rposition(|pair| at(pair[1]) < at(pair[0])) {
        of_last.drain(..=back);
    }
    let first = of_last.iter().find_map(|record| at(record))?;
    let samples = of_last.iter().filter_map(|record| {
        let since = at(record)?.duration_since(first).ok()?;
        // Which database that was is not recorded; of one server it is the same from look to look.
        let family = |handles: u64| {
            let wal = record.wal_handles.unwrap_or(handles / 2).min(handles);
            FamilySample { path: "state.db".to_owned(), db: handles - wal, wal, shm: 0 }
        };
        Some(Sample {
            at_ms: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            open: record.open,
            walked: record.database_handles.is_some(),
            kinds: record.close_wait.map(|count| ("tcp-close-wait".to_owned(), count)).into_iter().collect(),
            families: record.database_handles.map(family).into_iter().collect(),
            connected: record.connected,
            cpu_ms: None,
        })
    });
    Some(Trend { soft_limit: last.soft_limit, samples: samples.collect() })
}

/// How often the clock was set back between two looks.
pub fn clock_set_back(records: &[&Record]) -> usize {
    let at = |record: &Record| humantime::parse_rfc3339(&record.at).ok();
    records.windows(2).filter(|pair| at(pair[1]).zip(at(pair[0])).is_some_and(|(now, then)| now < then)).count()
}

/// What is growing, and what follows, for each server.
pub fn judge(history: &History) -> (Vec<Finding>, BTreeMap<String, Vec<Growth>>) {
    let (mut found, mut growths) = (Vec::new(), BTreeMap::new());
    for (server, records) in by_server(history) {
        let Some(trend) = trend_of(&records) else { continue };
        let growth = judge_trend(&trend);
        let pid = records.iter().rev().find_map(|record| record.pid);
        found.extend(findings(pid, &trend, &growth));
        growths.insert(server.to_owned(), growth);
    }
    (found, growths)
}
