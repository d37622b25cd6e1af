//! Recording for `watch`: repeated examinations, one line each, with the changes since the one before.

use super::{Request, Silent, examine};
use crate::collect::host_facts::since_boot;
use crate::collect::{Deadline, PidProblem, this_host};
use crate::examine::redacted;
use crate::model::{Envelope, Identity, Note, Part, Record, Server, Status, Timestamp, whole_milliseconds};
use crate::redact::{Level, host_names};
use crate::report::record::Recorder;
use crate::target::Selection;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Interval of the check for an end.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// Maximum number of full reports that one run keeps: repeated failures must not fill the disk.
const MAX_REPORTS: u32 = 8;

/// Interval, number and file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingPlan {
    /// Time between two samples.
    pub every: Duration,
    /// Number of samples; `None` until the user ends it.
    pub samples: Option<u64>,
    /// The record.
    pub file: PathBuf,
    /// Maximum size of the record in bytes; the rotated record before it is kept.
    pub largest: u64,
}

/// Receives the events of a recording.
pub trait Listener {
    /// One server was sampled; `is_written` is whether its line was written.
    fn recorded(&mut self, record: &Record, is_written: bool);
    /// The text of a full report.
    fn text_of(&self, report: &Envelope) -> String;
    /// A write failed.
    fn failed(&mut self, what: &str);
    /// Whether the user has ended the recording.
    fn is_over(&self) -> bool;
}

/// Records until the plan is done or the user ends it. Returns the last examination, if it succeeded.
///
/// # Errors
/// When the record cannot be written at the start.
pub fn record(
    request: &Request,
    plan: &RecordingPlan,
    listener: &mut dyn Listener,
) -> std::io::Result<Option<Envelope>> {
    let mut recorder = Recorder::new(plan.file.clone(), plan.largest);
    recorder.begin()?;
    let last = recorder.last();
    if let Err(error) = &last {
        let shown = plan.file.display();
        listener.failed(&format!(
            "cannot read the older part of {shown}, so changes since then are not reported: {error}"
        ));
    }
    let mut is_known = last.is_ok();
    let earlier = last.unwrap_or_default();
    let mut before: HashMap<String, Record> =
        earlier.into_iter().map(|record| (record.server.to_string(), record)).collect();
    let (begun, mut taken, mut due, mut reports) = (Instant::now(), 0_u64, 0_u64, 0_u32);
    loop {
        taken += 1;
        // A sample is cheap; only the full report observes a supervisor.
        let quick = Request { observe: Some(Duration::ZERO), ..request.clone() };
        let since_boot_ms = since_boot().map(whole_milliseconds);
        let last = match sample_once(&quick) {
            Ok(envelope) => {
                let named = named(&request.selection).filter(|_| envelope.servers.len() == 1);
                let mut records: Vec<Record> = envelope
                    .servers
                    .iter()
                    .map(|server| {
                        let name = named.clone().unwrap_or_else(|| name(server));
                        of_server(server, name, &envelope.started_at)
                    })
                    .collect();
                // A server without a supervisor leaves no facts when it has ended.
                for (name, old) in &before {
                    if records.iter().all(|record| &record.server != name) && has_ended(old) {
                        records.push(ended(old, &envelope.started_at));
                    }
                }
                for mut record in records {
                    record.since_boot_ms = since_boot_ms;
                    let old = before.get(record.server.as_str());
                    // At the first sample the state may be old, so no change is reported and no report is written.
                    let is_told = is_known || old.is_some();
                    record.events = if is_told { changes(old, &record) } else { Vec::new() };
                    let was_critical = !is_told || old.is_some_and(|old| old.status == Status::Critical);
                    // Written before a restart destroys the evidence.
                    if record.status == Status::Critical
                        && !was_critical
                        && reports < MAX_REPORTS
                        && !listener.is_over()
                    {
                        reports += 1;
                        match keep_report(request, &recorder, &envelope.started_at, listener) {
                            Ok(path) => record.events.push(Note::FullReport { path: path.as_path().into() }),
                            Err(error) => listener.failed(&format!("cannot write the full report: {error}")),
                        }
                    }
                    let written = recorder.append(&record);
                    if let Err(error) = &written {
                        listener.failed(&format!("cannot write a line of {}: {error}", plan.file.display()));
                    }
                    listener.recorded(&record, written.is_ok());
                    before.insert(record.server.clone().to_string(), record);
                }
                // Servers that appear from now on are new.
                is_known = true;
                Some(envelope)
            }
            Err(line) => {
                listener.failed(&line);
                None
            }
        };
        if plan.samples.is_some_and(|samples| taken >= samples) {
            return Ok(last);
        }
        // A sample of a stuck server takes longer than the interval. Moments that have passed are skipped, so
        // that the server is not queried without a pause.
        let passed = begun.elapsed().as_nanos() / plan.every.as_nanos().max(1);
        due = due.max(u64::try_from(passed).unwrap_or(u64::MAX)).saturating_add(1);
        let next = begun + super::sampling::moment(plan.every, due);
        loop {
            if listener.is_over() {
                return Ok(last);
            }
            if Instant::now() >= next {
                break;
            }
            // Abandoned workers that have ended must not stay zombies until the next sample.
            crate::collect::worker::reap();
            std::thread::sleep(POLL_INTERVAL.min(next.saturating_duration_since(Instant::now())));
        }
    }
}

fn sample_once(request: &Request) -> Result<Envelope, String> {
    let deadline = Deadline::after(request.budget);
    let host = this_host(deadline);
    examine(&*host, request, deadline, &Silent).map_err(|error| error.to_string())
}

/// Writes a full `check` report next to the record, with names of users and hosts redacted, so that it can be
/// attached to an issue.
fn keep_report(
    request: &Request,
    recorder: &Recorder,
    at: &Timestamp,
    listener: &dyn Listener,
) -> Result<PathBuf, String> {
    let parts = vec![Part::Descriptors, Part::Lineage, Part::Port, Part::Databases, Part::Health];
    let envelope = sample_once(&Request { command: "check", parts, ..request.clone() })?;
    recorder
        .keep(&listener.text_of(&redacted(envelope, Level::Default, &host_names())), at)
        .map_err(|error| error.to_string())
}

/// Name of a server that was given by the user, whether or not it is found later.
fn named(selection: &Selection) -> Option<String> {
    let parts = [
        selection.kind.map(|kind| kind.word().to_owned()),
        selection.port.map(|port| format!("port {port}")),
        selection.url.as_ref().map(|url| crate::parse::mask::url(url.as_str())),
        selection.home.as_ref().map(|home| crate::model::text::printable(home.as_os_str().as_encoded_bytes())),
        selection.pid.map(|pid| format!("pid {pid}")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// Name of a server that was found: the same in all samples, and distinct from other servers.
fn name(server: &Server) -> String {
    let mut name = server.kind.word().to_owned();
    if let Some(port) = server.port {
        name.push_str(&format!(" {port}"));
    }
    match (&server.home, server.port, server.pid) {
        (Some(home), ..) => name.push_str(&format!(" {home}")),
        // Only the pid distinguishes two such servers.
        (None, None, Some(pid)) => name.push_str(&format!(" pid {pid}")),
        _ => {}
    }
    name
}

/// Whether the process of a record has ended. A server that is missing in this run may only be outside its
/// selection.
fn has_ended(old: &Record) -> bool {
    let (Some(pid), Some(start_ticks)) = (old.pid, old.start_ticks) else { return false };
    match this_host(Deadline::after(Duration::from_secs(1))).identify(pid) {
        Ok(identity) => identity != Identity { pid, start_ticks },
        Err(problem) => !matches!(problem, PidProblem::Unreadable(..)),
    }
}

/// The last line of a server that is no longer found.
fn ended(old: &Record, at: &Timestamp) -> Record {
    Record {
        at: at.to_owned(),
        server: old.server.clone(),
        status: Status::Unknown,
        restarts: old.restarts,
        ..Record::default()
    }
}

fn of_server(server: &Server, name: String, at: &Timestamp) -> Record {
    let descriptors = server.descriptors.as_ref();
    let largest = descriptors.and_then(|facts| facts.sqlite.iter().max_by_key(|family| family.handles()));
    let listeners = server.listeners.as_ref();
    let health = server.health.as_ref();
    let took = health.map(|health| health.phases.iter().map(|phase| phase.ms).sum());
    Record {
        at: at.to_owned(),
        since_boot_ms: None,
        server: name.into(),
        status: server.status,
        root_causes: server.root_causes.iter().map(Into::into).collect(),
        pid: server.pid,
        start_ticks: server.process.as_ref().map(|process| process.identity.start_ticks),
        open: descriptors.and_then(|facts| facts.open),
        soft_limit: descriptors.and_then(|facts| facts.soft_limit),
        database_handles: descriptors.map(|_| largest.map_or(0, crate::model::SqliteFamily::handles)),
        wal_handles: descriptors.map(|_| largest.map_or(0, |family| family.wal)),
        close_wait: descriptors.and_then(|facts| Some(facts.close_wait.as_ref()?.first)),
        accept_queue: listeners.map(crate::model::Listeners::queued),
        connected: listeners.map(|listeners| listeners.connections.established),
        health: health
            .and_then(|health| {
                serde_json::to_value(health.outcome).ok().and_then(|value| value.as_str().map(str::to_owned))
            })
            .map(Into::into),
        health_ms: took,
        resident_bytes: server.process.as_ref().and_then(|process| process.resident_bytes),
        restarts: server.lineage.as_ref().and_then(|lineage| lineage.supervisor.restarts),
        events: Vec::new(),
    }
}

/// Changes since the sample before, in words.
fn changes(before: Option<&Record>, now: &Record) -> Vec<Note> {
    let Some(before) = before else { return vec![Note::FirstSample { state: state(now).into() }] };
    let mut events = Vec::new();
    let identity = |record: &Record| record.pid.zip(record.start_ticks);
    match (identity(before), identity(now)) {
        (Some(old), Some(new)) if old != new => events.push(Note::StartedAgain { old: old.0, new: new.0 }),
        (Some(old), None) => events.push(Note::Ended { pid: old.0 }),
        (None, Some(new)) => events.push(Note::Started { pid: new.0 }),
        _ => {}
    }
    if let (Some(old), Some(new)) = (before.restarts, now.restarts)
        && new > old
    {
        events.push(Note::Restarts { new, more: new - old });
    }
    if before.status != now.status || before.root_causes != now.root_causes {
        events.push(Note::Became { before: state(before).into(), now: state(now).into() });
    }
    events
}

fn state(record: &Record) -> String {
    let status = record.status.word().to_lowercase();
    if record.root_causes.is_empty() { status } else { format!("{status} ({})", record.root_causes.join(", ")) }
}
