//! Diagnosis: facts to findings. Pure functions, which neither access the host nor format output.

mod chain;
mod database;
mod descriptors;
pub mod history;
mod http;
mod lineage;
pub(crate) mod log;
pub mod ownership;
mod port;
mod process;
mod resources;
pub mod stacks;
pub mod trend;
mod verdict;
mod wedge;

use crate::model::{DatabaseFile, Part, PidFile, Raised, Server, Status, id};
pub use database::{lock_holder, may_be_pinned, needs_second_sample};
pub use descriptors::LOW_LIMIT;
pub use lineage::{MANY_RESTARTS, is_repeated};
pub use process::STARTING;
pub use resources::is_near_a_limit;
use verdict::Verdict;
pub use wedge::writes_to_full_pipe;

/// Whether there are enough CLOSE-WAIT sockets for a second sample: a quarter of the soft limit, or 50.
pub fn is_many_close_wait(count: u64, soft_limit: Option<u64>) -> bool {
    count >= 50 || soft_limit.is_some_and(|limit| limit > 0 && count.saturating_mul(4) >= limit)
}

/// Fills in what follows from the facts of a server: its ownership, the growth of its series, passed checks, root
/// causes and status. Returns the findings, most severe first, with their causes.
pub fn judge(server: &mut Server) -> Vec<Raised> {
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
            verdict.pass(id);
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
        verdict.pass(id::THREADS_WAIT_FOR_LOCK);
        for found in stacks::judge(stacks) {
            verdict.raise(found);
        }
    }
    let (mut findings, passed) = verdict.into_parts();
    chain::connect(server, &mut findings);
    server.root_causes = chain::roots(&findings);
    server.status = status(server, &findings);
    server.passed = passed;
    findings
}

/// Findings of pid files and databases that belong to no examined server.
pub fn judge_host(stray: &[PidFile], databases: &[DatabaseFile]) -> Vec<Raised> {
    let of_databases = databases.iter().flat_map(|database| database::of_database(database, None));
    stray.iter().filter_map(process::stale_pid_file).chain(of_databases).collect()
}

/// The status of the worst finding; without one that counts, unknown if a required check could not run.
fn status(server: &Server, findings: &[Raised]) -> Status {
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
