//! The flight recorder: the same examination again and again, a line each, and what has changed since the one before.

use super::{Request, Silent, examine};
use crate::collect::{Deadline, this_host};
use crate::model::{Envelope, Part, Record, Server, Status};
use crate::render;
use crate::report::record::Recorder;
use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often it is asked whether to end.
const GLANCE: Duration = Duration::from_millis(100);
/// Full reports that one run keeps: a host that flaps must not fill the disk.
const MOST_REPORTS: u32 = 8;

/// How often, how long, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordingPlan {
    /// Time between two looks.
    pub every: Duration,
    /// Looks; `None` until somebody ends it.
    pub samples: Option<u64>,
    /// The record.
    pub file: PathBuf,
    /// Largest size of it in bytes; the one before is kept beside it.
    pub largest: u64,
}

/// Told what happens.
pub trait Listener {
    /// One server was looked at and written down.
    fn recorded(&mut self, record: &Record);
    /// Something could not be written.
    fn failed(&mut self, what: &str);
    /// Whether somebody has asked to end.
    fn is_over(&self) -> bool;
}

/// Records until the plan is done or somebody ends it, and answers with the last examination.
pub fn record(request: &Request, plan: &RecordingPlan, listener: &mut dyn Listener) -> Option<Envelope> {
    let recorder = Recorder::new(plan.file.clone(), plan.largest);
    let mut before: HashMap<String, Record> =
        recorder.last().into_iter().map(|record| (record.server.clone(), record)).collect();
    let (begun, mut taken, mut reports) = (Instant::now(), 0_u64, 0_u32);
    let mut last = None;
    loop {
        taken += 1;
        // A look costs little; looking on at a supervisor is left to the full report.
        let quick = Request { observe: Some(Duration::ZERO), ..request.clone() };
        match look(&quick) {
            Ok(envelope) => {
                for server in &envelope.servers {
                    let mut record = of_server(server, &envelope.started_at);
                    record.events = changes(before.get(&record.server), &record);
                    let was_critical = before.get(&record.server).is_some_and(|old| old.status == Status::Critical);
                    // Before a restart destroys what proves the cause.
                    if record.status == Status::Critical && !was_critical && reports < MOST_REPORTS {
                        reports += 1;
                        match keep_report(request, &recorder, &envelope.started_at) {
                            Ok(path) => record.events.push(format!("full report: {}", path.display())),
                            Err(error) => {
                                listener.failed(&format!("the full report could not be written: {error}"))
                            }
                        }
                    }
                    if let Err(error) = recorder.append(&record) {
                        listener
                            .failed(&format!("a line of {} could not be written: {error}", plan.file.display()));
                    }
                    listener.recorded(&record);
                    before.insert(record.server.clone(), record);
                }
                last = Some(envelope);
            }
            Err(line) => listener.failed(&line),
        }
        if plan.samples.is_some_and(|samples| taken >= samples) {
            return last;
        }
        let next = begun + super::sampling::moment(plan.every, taken);
        while Instant::now() < next {
            if listener.is_over() {
                return last;
            }
            std::thread::sleep(GLANCE.min(next.saturating_duration_since(Instant::now())));
        }
    }
}

fn look(request: &Request) -> Result<Envelope, String> {
    let deadline = Deadline::after(request.budget);
    let host = this_host(deadline);
    examine(&*host, request, deadline, &Silent).map_err(|error| error.to_string())
}

/// Everything that `check` knows, beside the record.
fn keep_report(request: &Request, recorder: &Recorder, at: &str) -> Result<PathBuf, String> {
    let parts = vec![Part::Descriptors, Part::Lineage, Part::Port, Part::Databases, Part::Health];
    let envelope = look(&Request { command: "check", parts, ..request.clone() })?;
    recorder.keep(&render::json(&envelope), at).map_err(|error| error.to_string())
}

fn of_server(server: &Server, at: &str) -> Record {
    let descriptors = server.descriptors.as_ref();
    let listeners = server.listeners.as_ref();
    let health = server.health.as_ref();
    let port = server.port.map_or(String::new(), |port| format!(" {port}"));
    let home = server.home.as_ref().map_or(String::new(), |home| format!(" {home}"));
    let took = health.map(|health| health.phases.iter().map(|phase| phase.ms).sum());
    Record {
        at: at.to_owned(),
        server: format!("{}{port}{home}", server.kind.word()),
        status: server.status,
        root_causes: server.root_causes.clone(),
        pid: server.pid,
        start_ticks: server.process.as_ref().map(|process| process.identity.start_ticks),
        open: descriptors.and_then(|facts| facts.open),
        soft_limit: descriptors.and_then(|facts| facts.soft_limit),
        database_handles: descriptors
            .map(|facts| facts.sqlite.iter().map(crate::model::SqliteFamily::handles).max().unwrap_or(0)),
        close_wait: descriptors.and_then(|facts| Some(facts.close_wait.as_ref()?.first)),
        accept_queue: listeners.map(crate::model::Listeners::queued),
        connected: listeners.map(|listeners| listeners.connections.established),
        health: health.and_then(|health| {
            serde_json::to_value(health.outcome).ok().and_then(|value| value.as_str().map(str::to_owned))
        }),
        health_ms: took,
        resident_bytes: server.process.as_ref().and_then(|process| process.resident_bytes),
        restarts: server.lineage.as_ref().and_then(|lineage| lineage.supervisor.restarts),
        events: Vec::new(),
    }
}

/// What is different from the look before, in words.
fn changes(before: Option<&Record>, now: &Record) -> Vec<String> {
    let Some(before) = before else { return vec![format!("first look: {}", state(now))] };
    let mut events = Vec::new();
    let identity = |record: &Record| record.pid.zip(record.start_ticks);
    match (identity(before), identity(now)) {
        (Some(old), Some(new)) if old != new => {
            events.push(format!("started again: pid {} became {}", old.0, new.0))
        }
        (Some(old), None) => events.push(format!("ended: pid {}", old.0)),
        (None, Some(new)) => events.push(format!("started: pid {}", new.0)),
        _ => {}
    }
    if let (Some(old), Some(new)) = (before.restarts, now.restarts)
        && new > old
    {
        events.push(format!("{} restarts by its supervisor, {} more", new, new - old));
    }
    if before.status != now.status || before.root_causes != now.root_causes {
        events.push(format!("{} became {}", state(before), state(now)));
    }
    events
}

fn state(record: &Record) -> String {
    let status = record.status.word().to_lowercase();
    if record.root_causes.is_empty() { status } else { format!("{status} ({})", record.root_causes.join(", ")) }
}
