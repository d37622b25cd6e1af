//! Diagnosis: facts to findings. Pure functions, which neither access the host nor format output.

mod advice;
pub mod catalogue;
mod chain;
mod darwin;
mod database;
mod descriptors;
pub mod history;
mod http;
mod lineage;
mod log;
pub mod ownership;
mod port;
mod process;
mod resources;
pub mod stacks;
pub mod trend;
mod verdict;
mod wedge;

use crate::model::{
    DatabaseFile, Evidence, Finding, NextStep, Part, PidFile, PidFileState, Server, Severity, Status, id,
};
use advice::Verb;
pub use database::{lock_holder, may_be_pinned, needs_second_sample};
pub use descriptors::{CEILING_CRITICAL, CEILING_WARNING};
pub use lineage::{MANY_RESTARTS, is_repeated};
pub use process::STARTING;
pub use resources::is_near_a_limit;
use verdict::Verdict;
pub use wedge::writes_to_full_pipe;

/// Whether there are enough CLOSE-WAIT sockets for a second sample: a quarter of the soft limit, or 50.
pub fn is_many_close_wait(count: u64, soft_limit: Option<u64>) -> bool {
    count >= 50 || soft_limit.is_some_and(|limit| limit > 0 && count.saturating_mul(4) >= limit)
}

/// Fills in findings, passed checks, root causes and status of a server from its facts.
///
/// Existing results are replaced, so a saved report can be diagnosed again.
pub fn judge(server: &mut Server) {
    ownership::decide_again(server);
    descriptors::note_unreadable(server);
    let mut verdict = Verdict::new(server);
    process::judge(server, &mut verdict);
    server.growth = server.trend.as_ref().map(trend::judge_trend).unwrap_or_default();
    if server.examined.contains(&Part::Descriptors) {
        descriptors::judge(server, &mut verdict);
    }
    if server.examined.contains(&Part::Databases) && !server.databases.is_empty() {
        for id in id::DATABASES {
            verdict.decide(id, None);
        }
        for found in server.databases.iter().flat_map(|database| database::of_database(database, Some(server))) {
            verdict.raise(found);
        }
    }
    if server.examined.contains(&Part::Lineage) {
        lineage::judge(server, &mut verdict);
    }
    if server.examined.contains(&Part::Port) || server.examined.contains(&Part::Health) {
        port::judge(server, &mut verdict);
    }
    if server.examined.contains(&Part::Health) {
        wedge::judge(server, &mut verdict);
        http::judge(server, &mut verdict);
        log::judge(server, &mut verdict);
        resources::judge(server, &mut verdict);
    }
    if let Some(stacks) = server.stacks.as_ref().filter(|_| server.examined == [Part::Stacks]) {
        verdict.decide(id::THREADS_WAIT_FOR_LOCK, None);
        for found in stacks::judge(server, stacks) {
            verdict.raise(found);
        }
    }
    let (mut findings, passed) = verdict.into_parts();
    log::add_evidence(server, &mut findings);
    if let Some(stacks) = &server.stacks {
        stacks::attach(stacks, &mut findings);
    }
    chain::connect(server, &mut findings);
    server.root_causes = chain::roots(&findings);
    keep_the_evidence_first(server, &mut findings);
    restart_at_last(server, &mut findings);
    darwin::rename(server, &mut findings);
    server.status = status(server, &findings);
    server.findings = findings;
    server.passed = passed;
}

/// ` --pid N`, so that commands in next steps examine exactly this server.
fn selector(server: &Server) -> String {
    server.pid.map_or_else(String::new, |pid| format!(" --pid {pid}"))
}

/// Adds the step that keeps the evidence before all others: most of the steps end in a restart, which destroys
/// it.
fn keep_the_evidence_first(server: &Server, findings: &mut [Finding]) {
    let selection = match (server.pid, server.port) {
        (Some(pid), _) => format!("--pid {pid}"),
        // For a server that is down, the counters and states of the supervisor are the evidence.
        (None, Some(port)) if server.lineage.is_some() => format!("--port {port}"),
        _ => return,
    };
    for finding in findings.iter_mut().filter(|finding| server.root_causes.contains(&finding.id)) {
        // A report contains stacks only if requested.
        let stacks = if server.stacks.is_some() { " --stacks" } else { "" };
        let command = format!("hermes-doctor report {selection}{stacks} -o hermes-report.json");
        finding.next.insert(0, NextStep::run("keep the evidence", command));
    }
}

/// Adds the restart as the last step, if it helps, with the command for the supervisor and scope.
fn restart_at_last(server: &Server, findings: &mut [Finding]) {
    const HELPS: &[&str] = &[
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
    let supervisor = server.lineage.as_ref().map(|lineage| &lineage.supervisor);
    let claimed = supervisor.filter(|supervisor| supervisor.claims_this == Some(true));
    let command = claimed.and_then(|supervisor| advice::command(supervisor, Verb::Restart));
    for finding in findings.iter_mut() {
        if server.root_causes.contains(&finding.id) && HELPS.contains(&finding.id.as_str()) {
            finding.next.extend(advice::before_it_ends(server));
            finding.next.push(match &command {
                Some(command) => NextStep::run("then restart it", command.clone()),
                None => NextStep::say("Then restart it, the way this host starts it"),
            });
        }
    }
}

/// Findings of pid files and databases that belong to no examined server.
pub fn judge_host(stray: &[PidFile], databases: &[DatabaseFile]) -> Vec<Finding> {
    let of_databases = databases.iter().flat_map(|database| database::of_database(database, None));
    stray.iter().filter_map(stale_pid_file).chain(of_databases).collect()
}

/// The status of the worst finding; without one that counts, unknown if a required check could not run.
fn status(server: &Server, findings: &[Finding]) -> Status {
    let worst = findings.iter().map(|finding| finding.severity.status()).fold(Status::Healthy, Status::worst);
    let undecided = server.gaps.iter().flat_map(|gap| &gap.blocks).any(|blocked| is_decisive(server, blocked));
    if worst == Status::Healthy && undecided { Status::Unknown } else { worst }
}

/// Whether a check is required for the status *healthy*: identity and liveness always, the HTTP response, the
/// claim if a supervisor is expected, and the part of a subcommand that examines only that part.
fn is_decisive(server: &Server, blocked: &str) -> bool {
    let asked_alone = |part, ids: &[&str]| server.examined == [part] && ids.contains(&blocked);
    let answered = server.health.as_ref().is_some_and(|health| health.outcome.is_answer());
    match blocked {
        id::SERVER_NOT_RUNNING => true,
        id::ORPHANED_SERVER => {
            server.lineage.as_ref().is_some_and(|lineage| {
                lineage.supervisor.claims_this.is_none()
                    && (lineage.expected.is_some()
                        || lineage.unit.as_deref().is_some_and(|unit| unit.contains("hermes")))
            }) || asked_alone(Part::Lineage, id::LINEAGE)
        }
        id::PORT_HELD => server.examined == [Part::Port],
        _ if id::HTTP.contains(&blocked) => {
            server.examined.contains(&Part::Health)
                && !answered
                && matches!(blocked, id::HTTP_NO_ANSWER | id::CONNECTION_REFUSED)
        }
        _ => {
            asked_alone(Part::Descriptors, id::DESCRIPTORS)
                || asked_alone(Part::Databases, id::DATABASES)
                || asked_alone(Part::Stacks, id::STACKS)
        }
    }
}

fn stale_pid_file(file: &PidFile) -> Option<Finding> {
    let what = match file.state {
        PidFileState::Live | PidFileState::Unknown => return None,
        PidFileState::Dead => "which does not run",
        PidFileState::OtherProgram => "which is another program",
        PidFileState::OtherStart => "which started at another time than the file says",
    };
    Some(Finding {
        subject: Some(file.path.clone().to_string()),
        ..verdict::finding(
            id::STALE_PID_FILE,
            Severity::Warning,
            format!("{} names pid {}, {what}", file.path, file.pid),
            vec![
                Evidence::new("pid in the file", file.pid, &file.path),
                Evidence::new("that pid now", file.detail.clone(), format!("/proc/{}", file.pid)),
            ],
            vec![NextStep::say(format!("When no server of that home runs, remove {}", file.path))],
        )
    })
}
