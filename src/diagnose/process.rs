//! Findings about the process, its state and its pid files.

use super::verdict::Verdict;
use crate::model::{
    ClaimState, GapReason, Note, Part, Phase, PhaseName, PidFile, PidFileState, Process, ProcessFinding,
    ProcessState, Raised, Server, Severity, SupervisorKind, id,
};

/// Minimum number of zombie children for a warning.
const MANY_ZOMBIES: usize = 10;

/// Maximum age of a server that may not have written its pid file yet, in milliseconds.
const START_MS: u64 = 30_000;

/// Subject of the gap for a server that its supervisor is starting.
pub const STARTING: &str = "a server that is being started";

/// Adds the findings about the process.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    if server.expectation.remote {
        return;
    }
    verdict.decide(id::SERVER_NOT_RUNNING, not_running(server));
    if let Some(process) = &server.process {
        verdict.decide(id::PROCESS_STOPPED, stopped(process));
        if server.examined.contains(&Part::Lineage) {
            verdict.decide(id::ZOMBIE_CHILDREN, zombies(process));
        }
    }
    // The server was found by other means; a file that names another process is reported in any case. During a
    // start the file is that of the previous process.
    let listens_yet = server.listeners.as_ref().is_none_or(|listeners| !listeners.sockets.is_empty());
    let is_young = server.process.as_ref().is_some_and(|process| process.age_ms.is_some_and(|age| age < START_MS));
    let starts = is_young && !listens_yet || server.gaps.iter().any(|gap| gap.what == STARTING);
    let stale: Vec<Raised> = server.pid_files.iter().filter_map(stale_pid_file).filter(|_| !starts).collect();
    if stale.is_empty() && !starts && !server.pid_files.is_empty() {
        verdict.pass(id::STALE_PID_FILE);
    }
    stale.into_iter().for_each(|found| verdict.raise(found));
}

fn not_running(server: &Server) -> Option<Raised> {
    let somebody_listens = server.listeners.as_ref().is_some_and(|listeners| !listeners.sockets.is_empty());
    // A connection is enough: not every system shows the sockets of other users.
    let is_connected = |phase: &Phase| phase.name == PhaseName::Connect && phase.error.is_none();
    let answered = server
        .health
        .as_ref()
        .is_some_and(|health| health.outcome.is_answer() || health.phases.iter().any(is_connected));
    let could_not_look = server.gaps.iter().any(|gap| {
        gap.blocks.iter().any(|blocked| blocked == id::SERVER_NOT_RUNNING) && gap.reason != GapReason::Vanished
    });
    if server.process.is_some() || somebody_listens || answered || could_not_look {
        return None;
    }
    // Enabled but stopped, and not requested by the user: this may be intended.
    let was_asked_for = server.expectation.named_by.iter().any(Note::is_option);
    let is_stopped = !was_asked_for
        && server.lineage.as_ref().is_some_and(|lineage| lineage.supervisor.claim_state == ClaimState::Idle);
    let severity = if is_stopped { Severity::Warning } else { Severity::Critical };
    let supervisor = server.lineage.as_ref().map(|lineage| lineage.supervisor.clone());
    let finding = ProcessFinding::NotRunning {
        kind: server.kind,
        port: server.port,
        port_without_listener: server.listeners.as_ref().map(|listeners| listeners.port),
        named_by: server.expectation.named_by.iter().map(ToString::to_string).collect(),
        is_stopped,
        supervisor: supervisor.filter(|supervisor| supervisor.kind != SupervisorKind::None),
    };
    Some(Raised::new(severity, finding))
}

fn stopped(process: &Process) -> Option<Raised> {
    let pid = process.identity.pid;
    match process.state {
        ProcessState::Stopped => Some(Raised::new(Severity::Critical, ProcessFinding::Stopped { pid })),
        ProcessState::Traced => {
            let tracer_pid = process.tracer_pid.unwrap_or(0);
            Some(Raised::new(Severity::Info, ProcessFinding::Traced { pid, tracer_pid }))
        }
        _ => None,
    }
}

fn zombies(process: &Process) -> Option<Raised> {
    let count = process.zombie_children.len();
    (count >= MANY_ZOMBIES).then(|| Raised::new(Severity::Warning, ProcessFinding::ZombieChildren { count }))
}

/// A pid file that names another process, or none.
pub fn stale_pid_file(file: &PidFile) -> Option<Raised> {
    match file.state {
        PidFileState::Live | PidFileState::Unknown => None,
        PidFileState::Dead | PidFileState::OtherProgram | PidFileState::OtherStart => {
            Some(Raised::new(Severity::Warning, ProcessFinding::StalePidFile(file.clone())))
        }
    }
}
