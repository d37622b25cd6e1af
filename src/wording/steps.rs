//! Steps that several findings have in common.

use crate::model::{NextStep, Os, Server, Supervisor, id};
use crate::supervisor::advice::{self, Verb};

/// Findings that a restart ends, at least for a time.
const ENDED_BY_RESTART: &[&str] = &[
    id::STATE_DB_HANDLE_LEAK,
    id::DESCRIPTOR_GROWTH,
    id::DESCRIPTOR_CEILING,
    id::CLOSE_WAIT_LEAK,
    id::ACCEPT_STALLED,
    id::HTTP_NO_ANSWER,
    id::WORKERS_EXHAUSTED,
    id::GIL_HELD,
    id::HANDLERS_STUCK,
    id::ROUTE_SLOW,
    id::THREADS_EXHAUSTED,
    id::THREADS_WAIT_FOR_LOCK,
];

/// The command that writes a report.
const REPORT: &str = "hermes-doctor report";

/// Adds the step that keeps the evidence before all others: most of the steps end in a restart, which destroys
/// it.
pub fn keep_the_evidence_first(server: &Server, next: &mut Vec<NextStep>) {
    let selection = match (server.pid, server.port) {
        (Some(pid), _) => format!("--pid {pid}"),
        // For a server that is down, the counters and states of the supervisor are the evidence.
        (None, Some(port)) if server.lineage.is_some() => format!("--port {port}"),
        _ => return,
    };
    // A report contains stacks only if requested.
    let stacks = if server.stacks.is_some() { " --stacks" } else { "" };
    let command = format!("{REPORT} {selection}{stacks} -o hermes-report.json");
    next.insert(0, NextStep::run("keep the evidence", command));
}

/// Whether a step writes a report.
pub fn is_about_reports(step: &NextStep) -> bool {
    step.command.as_deref().is_some_and(|command| command.starts_with(REPORT))
}

/// Adds the restart as the last step, if it helps, with the command for the supervisor and scope.
pub fn restart_at_last(server: &Server, id: &str, next: &mut Vec<NextStep>) {
    if !ENDED_BY_RESTART.contains(&id) {
        return;
    }
    let supervisor = server.lineage.as_ref().map(|lineage| &lineage.supervisor);
    let claimed = supervisor.filter(|supervisor| supervisor.claims_this == Some(true));
    let command = claimed.and_then(|supervisor| advice::command(supervisor, Verb::Restart));
    next.extend(before_it_ends(server));
    next.push(match command {
        Some(command) => NextStep::run("then restart it", command),
        None => NextStep::say("Then restart it through its unit, job, program or ctl.sh"),
    });
}

/// The step that reads the reason of the failed starts.
pub fn log_of(claim: &Supervisor) -> Option<NextStep> {
    match advice::log_command(claim) {
        Some(command) => Some(NextStep::run("read why it ended", command)),
        None => claim.log.as_deref().map(|log| NextStep::say(format!("Read why it ended: {log}"))),
    }
}

/// The step before the end of a process with unlinked files, where the system has no way to copy them.
pub const NO_COPY: &str = "macOS cannot copy an unlinked file of another process: if the server can write a backup, have it write \
    one before it ends; otherwise the content is lost";

/// Steps that save what is lost when the process ends. They come before any step that ends it.
pub fn before_it_ends(server: &Server) -> Vec<NextStep> {
    let mut steps = Vec::new();
    let deleted = server.descriptors.iter().flat_map(|facts| &facts.sqlite).find(|family| family.deleted > 0);
    if let (Some(family), Some(pid)) = (deleted, server.pid) {
        steps.push(NextStep::say(match Os::of(server) {
            Os::Linux => format!(
                "Before the server ends, copy the unlinked files of {} from /proc/{pid}/fd: they are lost when it ends",
                family.path
            ),
            Os::MacOs => NO_COPY.to_owned(),
        }));
    }
    let answer = server.health.as_ref().and_then(|health| health.answer.as_ref());
    if let Some(streams) = answer.and_then(|answer| answer.active_streams).filter(|streams| *streams > 0) {
        steps.push(NextStep::say(format!("Expect {streams} open streams to end with the server")));
    }
    steps
}

/// The warning that stopping a unit also ends the server, which is not its main process.
pub fn stop_takes_all(claim: &Supervisor) -> Option<NextStep> {
    (claim.stops_group == Some(true) && claim.kind.is_systemd()).then(|| {
        NextStep::say(
            "Stopping the unit ends every process of its control group, including the server that answers now",
        )
    })
}
