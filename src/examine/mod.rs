//! Examination: selects the servers, reads the requested facts of each, and has them diagnosed.

mod activity;
mod claims;
mod databases;
mod health;
mod lineage;
mod logs;
mod observe;
mod port;
pub mod recording;
mod repeat;
pub mod replaying;
mod reporting;
mod resources;
pub mod sampling;
mod stacks;

use crate::collect::{Deadline, ForeignPath, Host, SocketTable};
use crate::diagnose;
use crate::model::{
    Envelope, Gap, GapDetail, GapReason, GapSubject, Identity, Note, Outcome, Part, PidFile, Process, Server,
    Status, id, whole_milliseconds,
};
use crate::parse::sockets::TcpState;
use crate::redact;
use crate::report;
use crate::target::{SelectError, Selection, Survey, Target, select};
use crate::wording;
use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant, SystemTime};

pub use reporting::{redacted, redacted_with_map};

/// Settings of a run.
#[derive(Clone, Debug)]
pub struct Request {
    /// Subcommand, as written in the envelope.
    pub command: &'static str,
    /// The servers.
    pub selection: Selection,
    /// The parts of each server.
    pub parts: Vec<Part>,
    /// Request the server's own deep check.
    pub deep: bool,
    /// Request the health path repeatedly.
    pub repetition: Option<Repetition>,
    /// Paths to request besides the health path.
    pub routes: Routes,
    /// Scan all processes for the sockets of the port.
    pub all_holders: bool,
    /// `--file`: this database, whichever process uses it.
    pub file: Option<std::path::PathBuf>,
    /// Observe the supervisor for this long.
    pub observe: Option<Duration>,
    /// Time for each phase of an HTTP request.
    pub timeout: Duration,
    /// Time for the whole run.
    pub budget: Duration,
}

/// Number and interval of requests for the health path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repetition {
    /// Number of requests.
    pub requests: u64,
    /// Interval between the starts of two requests.
    pub every: Duration,
}

/// Paths that are requested besides the health path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Routes {
    /// None: repeated examinations must not load the server.
    None,
    /// Cheap paths of that kind of server.
    Usual,
    /// The given paths.
    Named(Vec<String>),
}

/// Receives the steps of a run, to show them to the user.
pub trait Progress {
    /// A step begins.
    fn step(&self, what: &str);

    /// Whether the user has ended the run (Ctrl-C). The facts so far are reported.
    fn is_over(&self) -> bool {
        false
    }
}

/// Shows nothing.
pub struct Silent;

impl Progress for Silent {
    fn step(&self, _what: &str) {}
}

/// Minimum time between two samples that distinguish a lasting state from a momentary one.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(1000);

/// Examines the servers of a request.
///
/// # Errors
/// When the selected server cannot be examined at all.
pub fn examine(
    host: &dyn Host,
    request: &Request,
    deadline: Deadline,
    progress: &dyn Progress,
) -> Result<Envelope, SelectError> {
    let begun = Instant::now();
    let mut envelope = report::envelope(request.command, host.facts(), SystemTime::now());
    let survey = if request.all_holders { Survey::scanning_all(host) } else { Survey::new(host) };
    if let Some(file) = &request.file {
        progress.step("reading the database");
        examine_databases(&survey, &[ForeignPath::of_person(file)], deadline, &mut envelope);
        return Ok(report::seal(envelope, begun.elapsed()));
    }
    progress.step("searching for the server");
    let selected = select(&survey, &request.selection)?;
    for (index, target) in selected.targets.iter().enumerate() {
        // No server may use up the time of the servers after it.
        let left = u32::try_from(selected.targets.len() - index).unwrap_or(u32::MAX);
        let deadline = deadline.within(deadline.remaining() / left.min(3));
        let examination = Examination { survey: &survey, request, deadline, progress, target };
        let mut server = examination.run_to_the_end();
        if server.process.is_none()
            && !target.expectation.remote
            && let Some(reason) = survey.incomplete()
        {
            let detail = GapDetail::CouldBeUnread;
            server
                .gaps
                .push(Gap::new(GapSubject::AllProcesses, reason, detail).blocking(&[id::SERVER_NOT_RUNNING]));
        }
        if server.process.is_none() && !target.expectation.remote && survey.alike() > 0 {
            let detail = GapDetail::ManyAlike;
            let what = GapSubject::CommandLines { count: survey.alike() };
            server.gaps.push(Gap::new(what, GapReason::NotAsked, detail));
        }
        // Before the diagnosis, so that no finding contains what is masked.
        redact::mask(&mut server);
        wording::judge(&mut server);
        examination.drop_unrequested(&mut server);
        envelope.servers.push(server);
    }
    envelope.gaps = selected.gaps;
    envelope.gaps.extend(survey.take_gaps());
    let stray: Vec<PidFile> = selected.stray_pid_files.into_iter().map(|read| read.file).collect();
    // No server runs, but its databases can be examined.
    if envelope.servers.is_empty() && request.parts == [Part::Databases] {
        let homes = crate::target::homes(&survey).into_iter().map(|home| ForeignPath::of_person(&home));
        let paths: Vec<_> =
            homes.flat_map(|home| databases::known_in(host, &home, false, &mut envelope.gaps)).collect();
        examine_databases(&survey, &paths, deadline, &mut envelope);
    }
    envelope.pid_files = stray;
    redact::mask(&mut envelope.pid_files);
    reporting::judge_host(&mut envelope);
    Ok(report::seal(envelope, begun.elapsed()))
}

/// Examines databases without a server.
fn examine_databases(survey: &Survey<'_>, paths: &[ForeignPath], deadline: Deadline, envelope: &mut Envelope) {
    let first_look = Instant::now();
    let (mut found, gaps) = databases::read(survey, None, paths, true);
    envelope.gaps.extend(gaps);
    envelope.gaps.extend(databases::sample_again(survey, None, &mut found, first_look, deadline));
    redact::mask(&mut found);
    envelope.databases = found;
    reporting::judge_host(envelope);
    if let [path] = paths
        && envelope.databases.is_empty()
        && envelope.gaps.is_empty()
    {
        envelope.gaps.push(Gap::new(path.shown(), GapReason::NotFound, GapDetail::NoSuchFile));
    }
}

/// One server under examination.
struct Examination<'a> {
    survey: &'a Survey<'a>,
    request: &'a Request,
    deadline: Deadline,
    progress: &'a dyn Progress,
    target: &'a Target,
}

impl Examination<'_> {
    fn asks(&self, part: Part) -> bool {
        self.request.parts.contains(&part)
    }

    /// A panic while one server is examined must not affect the other servers.
    fn run_to_the_end(&self) -> Server {
        std::panic::catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or_else(|_| {
            let mut server = self.unexamined();
            let detail = GapDetail::ErrorOfDoctor;
            let gap = Gap::new(GapSubject::Examination, GapReason::Unsupported, detail);
            server.gaps.push(gap.blocking(&[id::SERVER_NOT_RUNNING]).blocking(id::HTTP));
            server
        })
    }

    /// The server before any of its facts was read.
    fn unexamined(&self) -> Server {
        let target = self.target;
        Server {
            kind: target.kind,
            pid: None,
            port: target.port,
            home: target
                .home
                .as_deref()
                .map(|home| crate::model::text::printable(home.as_os_str().as_encoded_bytes()))
                .map(Into::into),
            status: Status::Unknown,
            root_causes: Vec::new(),
            findings: Vec::new(),
            passed: Vec::new(),
            gaps: Vec::new(),
            examined: self.request.parts.clone(),
            expectation: target.expectation.clone(),
            process: None,
            descriptors: None,
            lineage: None,
            health: None,
            listeners: None,
            pid_files: target.pid_files.iter().map(|read| read.file.clone()).collect(),
            databases: Vec::new(),
            stacks: None,
            trend: None,
            growth: Vec::new(),
            exercise: None,
            logs: Vec::new(),
            resources: None,
        }
    }

    fn run(&self) -> Server {
        let target = self.target;
        let mut server = self.unexamined();
        if target.expectation.remote {
            server.gaps.extend(remote_gaps(&server.examined));
            if self.asks(Part::Health) {
                self.probe(&mut server, None);
            }
            return server;
        }
        self.progress.step("reading the process");
        server.process = self.process(&mut server.gaps);
        server.pid = server.process.as_ref().map(|process| process.identity.pid);
        let table = self.survey.sockets_of(server.process.as_ref());
        let sockets_held = self.descriptors(&mut server, &table);
        self.find_port(&mut server, &table, sockets_held.as_ref());
        // Without a process, only the port shows whether the server runs.
        if self.asks(Part::Port) || self.asks(Part::Health) || server.process.is_none() {
            self.progress.step("reading the port");
            self.listeners(&mut server, &table, sockets_held.as_ref());
        }
        let first_look = Instant::now();
        if self.asks(Part::Health) {
            self.resources(&mut server);
        }
        if self.asks(Part::Databases) {
            self.databases(&mut server);
        }
        if self.asks(Part::Health) {
            self.probe(&mut server, sockets_held.as_ref());
        }
        if self.asks(Part::Stacks) {
            self.stacks(&mut server);
        }
        // Observing a supervisor takes seconds, so the request comes first.
        if self.asks(Part::Lineage) {
            self.progress.step("reading the lineage");
            self.lineage(&mut server);
        }
        // The supervisor gives the path of its log. Reading it must not delay the request, so it comes last.
        if self.asks(Part::Health) {
            self.progress.step("reading the logs");
            self.logs(&mut server);
        }
        // Facts that were read after its end are of another process, so the pid is checked again with its start
        // time.
        if let Some(identity) = self.target.identity.filter(|_| server.process.is_some())
            && self.has_ended(&server, identity)
        {
            self.ended(&mut server, identity);
        }
        if self.asks(Part::Descriptors) {
            self.sample_close_wait_again(&mut server, sockets_held.as_ref(), first_look);
        }
        if self.asks(Part::Health) {
            self.sample_resources_again(&mut server, first_look);
        }
        if self.asks(Part::Databases) {
            self.sample_databases_again(&mut server, first_look);
        }
        server
    }

    /// Whether the process has ended. A process that ends closes its connections before it leaves the process table, so the
    /// table is read again for a moment if a connection was closed.
    fn has_ended(&self, server: &Server, identity: Identity) -> bool {
        const READS: u32 = 10;
        const BETWEEN: Duration = Duration::from_millis(20);
        let outcome = server.health.as_ref().map(|health| health.outcome);
        let is_closed = matches!(outcome, Some(Outcome::Empty | Outcome::Reset | Outcome::Incomplete));
        let has_ended = || self.survey.host.identify(identity.pid) != Ok(identity);
        has_ended()
            || is_closed
                && (1..READS).any(|_| {
                    std::thread::sleep(BETWEEN.min(self.deadline.remaining()));
                    has_ended()
                })
    }

    /// Handles a process that ended during the examination. A server that was named, and that no process
    /// replaced on its port, is reported as not running. For any other it is unknown whether it was only
    /// restarted.
    fn ended(&self, server: &mut Server, identity: crate::model::Identity) {
        let what = format!("process {}", identity.pid);
        // A pid names only this process, which cannot be examined any more.
        let names = |by: &Note| by.is_option() && !matches!(by, Note::NamedByPid { .. });
        let was_named = server.expectation.named_by.iter().any(names);
        let listens = server.port.is_none_or(|port| {
            let table = self.survey.host.sockets(None).value;
            crate::target::listening(&table, port).next().is_some()
        });
        if was_named && !listens {
            server.gaps.push(Gap::new(what, GapReason::Vanished, GapDetail::EndedWhileExamined));
            server.process = None;
            server.pid = None;
            if let Some(listeners) = server.listeners.as_mut() {
                listeners.sockets.clear();
                listeners.holders.clear();
            }
            // A response from before its end is not that of a running server.
            if let Some(health) = server.health.as_mut() {
                health.outcome = crate::model::Outcome::Refused;
                health.phases.clear();
                health.answer = None;
            }
            return;
        }
        let gap = Gap::new(what, GapReason::Vanished, GapDetail::EndedWhileExaminedAgain);
        server.gaps.push(gap.blocking(&[id::SERVER_NOT_RUNNING]).blocking(id::HTTP));
    }

    fn process(&self, gaps: &mut Vec<Gap>) -> Option<Process> {
        let identity = self.target.identity?;
        match self.survey.process(identity) {
            Ok(read) => {
                gaps.extend(read.gaps);
                let mut process = read.value;
                if self.asks(Part::Lineage) {
                    process.zombie_children = self
                        .survey
                        .children(identity.pid)
                        .into_iter()
                        .filter(|child| child.zombie)
                        .map(|child| child.pid)
                        .collect();
                }
                Some(process)
            }
            Err(gap) => {
                gaps.push(gap.blocking(&[id::SERVER_NOT_RUNNING]));
                None
            }
        }
    }

    /// Reads the descriptors before the first probe, whatever was requested: near the ceiling the probe must be
    /// reduced. Returns the inodes of the sockets among them.
    fn descriptors(&self, server: &mut Server, table: &SocketTable) -> Option<HashSet<u64>> {
        let process = server.process.as_ref()?;
        // The open files give the databases, and the targets that fill the limit explain a request without a
        // response.
        let needs_targets = [Part::Descriptors, Part::Databases, Part::Health];
        let read = if needs_targets.into_iter().any(|part| self.asks(part)) {
            self.survey.host.descriptors(process, table)
        } else {
            self.survey.host.descriptors_in_brief(process)
        };
        match read {
            Ok(read) => {
                if self.asks(Part::Descriptors) {
                    server.gaps.extend(read.gaps);
                }
                server.descriptors = Some(read.value.facts);
                Some(read.value.sockets)
            }
            Err(gap) => {
                server.gaps.push(gap.blocking(id::DESCRIPTORS));
                None
            }
        }
    }

    /// Samples CLOSE-WAIT again: a count is meaningful only if the same sockets are still there a second later.
    fn sample_close_wait_again(
        &self,
        server: &mut Server,
        sockets_held: Option<&HashSet<u64>>,
        first_look: Instant,
    ) {
        let (Some(held), Some(process), Some(facts)) =
            (sockets_held, server.process.as_ref(), server.descriptors.as_mut())
        else {
            return;
        };
        let soft_limit = facts.soft_limit;
        let Some(close_wait) = facts.close_wait.as_mut() else { return };
        if !diagnose::is_many_close_wait(close_wait.first, soft_limit) {
            return;
        }
        let wait = SAMPLE_INTERVAL.saturating_sub(first_look.elapsed());
        if wait > self.deadline.remaining() {
            server.gaps.push(
                Gap::new(GapSubject::CloseWaitAgain, GapReason::Timeout, GapDetail::TimeLimit)
                    .blocking(&[id::CLOSE_WAIT_LEAK]),
            );
            return;
        }
        self.progress.step("waiting for a second sample of the CLOSE-WAIT sockets");
        std::thread::sleep(wait);
        let first: HashSet<u64> = sockets_in(held, &self.survey.sockets_of(Some(process)));
        let again = self.survey.host.sockets(Some(process)).value;
        let still = sockets_in(&first, &again);
        close_wait.still_at_second = Some(u64::try_from(still.len()).unwrap_or(u64::MAX));
        close_wait.between_ms = Some(whole_milliseconds(first_look.elapsed()));
    }

    /// Drops facts that were not requested and were only read for a decision.
    fn drop_unrequested(&self, server: &mut Server) {
        if !self.asks(Part::Descriptors) {
            server.descriptors = None;
        }
        if !self.asks(Part::Port) && !self.asks(Part::Health) {
            server.listeners = None;
        }
    }
}

/// The sockets among these that are in CLOSE-WAIT.
fn sockets_in(inodes: &HashSet<u64>, table: &SocketTable) -> HashSet<u64> {
    table
        .tcp
        .iter()
        .filter(|socket| socket.state == TcpState::CLOSE_WAIT && inodes.contains(&socket.inode))
        .map(|socket| socket.inode)
        .collect()
}

fn remote_gaps(parts: &[Part]) -> Vec<Gap> {
    parts
        .iter()
        .filter(|part| **part != Part::Health)
        .map(|part| {
            let (what, blocks) = match part {
                Part::Descriptors => (GapSubject::Descriptors, id::DESCRIPTORS),
                Part::Databases => (GapSubject::Databases, id::DATABASES),
                Part::Stacks => (GapSubject::PythonStacks, id::STACKS),
                Part::Lineage => (GapSubject::Lineage, id::LINEAGE),
                Part::Port | Part::Health => {
                    (GapSubject::ListeningSockets, &[id::PORT_HELD, id::ACCEPT_STALLED][..])
                }
            };
            Gap::new(what, GapReason::Unsupported, GapDetail::ExamineThere).blocking(blocks)
        })
        .collect()
}
