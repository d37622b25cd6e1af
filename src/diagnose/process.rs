//! Findings about the process, its state and its pid files.

use super::advice::{Verb, command};
use super::stale_pid_file;
use super::verdict::{Verdict, finding};
use crate::model::{
    ClaimState, Evidence, Finding, GapReason, NextStep, Note, Part, Phase, PhaseName, Process, ProcessState,
    Server, Severity, SupervisorKind, id,
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
    let stale: Vec<Finding> = server.pid_files.iter().filter_map(stale_pid_file).filter(|_| !starts).collect();
    if stale.is_empty() && !starts && !server.pid_files.is_empty() {
        verdict.decide(id::STALE_PID_FILE, None);
    }
    stale.into_iter().for_each(|found| verdict.raise(found));
}

fn not_running(server: &Server) -> Option<Finding> {
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
    let stopped = server
        .lineage
        .as_ref()
        .map(|lineage| &lineage.supervisor)
        .filter(|claim| claim.claim_state == ClaimState::Idle && !was_asked_for);
    let severity = if stopped.is_some() { Severity::Warning } else { Severity::Critical };
    let title = match server.port {
        _ if stopped.is_some() => {
            let claim = stopped.cloned().unwrap_or_default();
            let since = claim.since.as_ref().map_or(String::new(), |since| format!(" since {since}"));
            let state = claim.state.as_deref().unwrap_or("down");
            format!("{} is stopped: {} is enabled and {state}{since}", server.kind.title(), claim.title())
        }
        Some(port) => {
            format!("{} is not running: no process of it, and nobody listens on port {port}", server.kind.title())
        }
        None => format!("{} is not running: there is no process of it", server.kind.title()),
    };
    let mut evidence = vec![Evidence::new("processes of that server", 0, "command lines of all processes")];
    if let Some(listeners) = &server.listeners {
        evidence.push(Evidence::new(format!("listening sockets on port {}", listeners.port), 0, "sock_diag"));
    }
    for named in &server.expectation.named_by {
        evidence.push(Evidence::new("it was named by", named.clone(), "command line"));
    }
    let supervisor = server.lineage.as_ref().map(|lineage| &lineage.supervisor);
    let supervisor = supervisor.filter(|supervisor| supervisor.kind != SupervisorKind::None);
    if let Some(supervisor) = supervisor {
        let state = supervisor.state.clone().unwrap_or_default();
        evidence.push(Evidence::new(
            format!("state of {}", supervisor.title()),
            state,
            supervisor.evidence.clone(),
        ));
    }
    let log = supervisor.and_then(super::lineage::log_of);
    let start = supervisor.and_then(|supervisor| command(supervisor, Verb::Start));
    let next = vec![
        log.unwrap_or_else(|| {
            NextStep::say(
                "Read the end of its log before starting it again (webui.log, logs/errors.log, journalctl)",
            )
        }),
        match start {
            Some(command) => NextStep::run("then start it", command),
            None => NextStep::say("Start it the way this host starts it: its unit, job, program or ctl.sh"),
        },
    ];
    Some(finding(id::SERVER_NOT_RUNNING, severity, title, evidence, next))
}

fn stopped(process: &Process) -> Option<Finding> {
    let pid = process.identity.pid;
    let source = format!("/proc/{pid}/stat");
    match process.state {
        ProcessState::Stopped => Some(finding(
            id::PROCESS_STOPPED,
            Severity::Critical,
            format!("the process is stopped (state T): pid {pid}"),
            vec![Evidence::new("scheduler state", "T (stopped)", source)],
            vec![
                NextStep::run("continue it", format!("kill -CONT {pid}")),
                NextStep::say("Find out who stopped it: Ctrl-Z in its terminal, or somebody's kill -STOP"),
            ],
        )),
        ProcessState::Traced => Some(finding(
            id::PROCESS_STOPPED,
            Severity::Info,
            format!("a debugger has stopped the process: pid {}", process.tracer_pid.unwrap_or(0)),
            vec![
                Evidence::new("scheduler state", "t (traced)", source),
                Evidence::new(
                    "pid of the debugger",
                    process.tracer_pid.unwrap_or(0),
                    format!("/proc/{pid}/status"),
                ),
            ],
            vec![NextStep::say("Leave the debugger, or let it continue the process")],
        )),
        _ => None,
    }
}

fn zombies(process: &Process) -> Option<Finding> {
    let count = process.zombie_children.len();
    if count < MANY_ZOMBIES {
        return None;
    }
    Some(finding(
        id::ZOMBIE_CHILDREN,
        Severity::Warning,
        format!("{count} children have ended and were not reaped"),
        vec![Evidence::new("children in state Z", count, "process table")],
        vec![NextStep::say("Restart the server when convenient; in a container run an init that reaps")],
    ))
}
