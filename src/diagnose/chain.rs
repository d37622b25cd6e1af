//! Causes of findings: the verdict is a chain of causes, not a list of alarms.

use crate::model::{LogClass, Raised, Server, Severity, id, may_cause};

/// Symptoms at the client if the server cannot start a thread for it.
const BY_THREADS: &[&str] = &[id::REPLY_EMPTY, id::CONNECTION_RESET, id::HTTP_NO_ANSWER, id::WORKERS_EXHAUSTED];
/// Symptoms at the client if the server waits for memory.
const BY_MEMORY: &[&str] = &[id::HTTP_NO_ANSWER, id::ACCEPT_STALLED];

/// Fills in `caused_by`.
pub fn connect(server: &Server, findings: &mut [Raised]) {
    let holds = |id: &str| findings.iter().any(|finding| finding.id() == id && finding.severity > Severity::Info);
    let is_critical =
        |id: &str| findings.iter().any(|finding| finding.id() == id && finding.severity == Severity::Critical);
    let mut causes: Vec<(&str, &'static str)> = Vec::new();
    let mut because = |effect, cause| causes.push((effect, cause));

    // Descriptors that fill the table are the cause of its ceiling.
    if let Some((open, leaked, close_wait)) = shares(server) {
        if holds(id::STATE_DB_HANDLE_LEAK) && leaked.saturating_mul(2) >= open {
            because(id::DESCRIPTOR_CEILING, id::STATE_DB_HANDLE_LEAK);
        }
        if holds(id::CLOSE_WAIT_LEAK) && close_wait.saturating_mul(2) >= open {
            because(id::DESCRIPTOR_CEILING, id::CLOSE_WAIT_LEAK);
        }
    }
    // A leak is at least a quarter of a low limit: without it the other descriptors would not cause a warning.
    if holds(id::STATE_DB_HANDLE_LEAK) && holds(id::DESCRIPTOR_LIMIT_LOW) {
        because(id::DESCRIPTOR_LIMIT_LOW, id::STATE_DB_HANDLE_LEAK);
    }
    if holds(id::DESCRIPTOR_GROWTH) {
        because(id::DESCRIPTOR_CEILING, id::DESCRIPTOR_GROWTH);
    }
    if holds(id::DATABASE_MALFORMED)
        && super::log::began_before(server, LogClass::DatabaseMalformed, LogClass::DescriptorsExhausted)
    {
        because(id::DESCRIPTOR_CEILING, id::DATABASE_MALFORMED);
    }
    // Why the server does not answer, from the outermost cause to the symptom.
    let symptoms = [
        id::ACCEPT_STALLED,
        id::HANDLERS_STUCK,
        id::ROUTE_SLOW,
        id::BACKLOG_FULL,
        id::HTTP_NO_ANSWER,
        id::REPLY_EMPTY,
        id::CONNECTION_RESET,
        id::WORKERS_EXHAUSTED,
        id::HEALTH_DEGRADED,
        id::HEALTH_UNEXPECTED_ANSWER,
        id::CONNECTION_REFUSED,
    ];
    let ceiling_reached = server
        .descriptors
        .as_ref()
        .and_then(|facts| facts.share())
        .is_some_and(|share| share >= crate::model::CEILING_CRITICAL);
    // If the limit is unknown, a leak that fills most of a table of this size explains the missing response.
    let unknown_ceiling = server
        .descriptors
        .as_ref()
        .filter(|facts| super::descriptors::may_be_at_ceiling(facts))
        .and_then(|_| shares(server))
        .and_then(|(open, leaked, close_wait)| {
            let fills = |id: &'static str, count: u64| (holds(id) && count.saturating_mul(2) >= open).then_some(id);
            fills(id::STATE_DB_HANDLE_LEAK, leaked).or_else(|| fills(id::CLOSE_WAIT_LEAK, close_wait))
        });
    for symptom in symptoms {
        // This includes a process that a debugger stopped, where the finding itself is only a note.
        if findings.iter().any(|finding| finding.id() == id::PROCESS_STOPPED) {
            because(symptom, id::PROCESS_STOPPED);
        } else if holds(id::PORT_HELD) {
            because(symptom, id::PORT_HELD);
        } else if holds(id::PORT_OWNER_UNEXPECTED) {
            because(symptom, id::PORT_OWNER_UNEXPECTED);
        } else if ceiling_reached && holds(id::DESCRIPTOR_CEILING) {
            because(symptom, id::DESCRIPTOR_CEILING);
        } else if let Some(leak) = unknown_ceiling {
            because(symptom, leak);
        } else if holds(id::HOST_FILES_EXHAUSTED) {
            because(symptom, id::HOST_FILES_EXHAUSTED);
        } else if holds(id::UNINTERRUPTIBLE_SLEEP) {
            because(symptom, id::UNINTERRUPTIBLE_SLEEP);
        } else if holds(id::OUTPUT_PIPE_FULL) {
            because(symptom, id::OUTPUT_PIPE_FULL);
        } else if holds(id::GIL_HELD) {
            because(symptom, id::GIL_HELD);
        } else if symptom == id::ROUTE_SLOW && is_critical(id::DATABASE_LOCK_HELD) {
            because(symptom, id::DATABASE_LOCK_HELD);
        } else if symptom != id::HANDLERS_STUCK && holds(id::HANDLERS_STUCK) {
            because(symptom, id::HANDLERS_STUCK);
        } else if holds(id::THREADS_EXHAUSTED) && BY_THREADS.contains(&symptom) {
            because(symptom, id::THREADS_EXHAUSTED);
        } else if holds(id::MEMORY_PRESSURE) && BY_MEMORY.contains(&symptom) {
            because(symptom, id::MEMORY_PRESSURE);
        }
    }
    // Threads of a group at its memory limit wait in the kernel until memory is freed.
    if holds(id::MEMORY_PRESSURE) && super::wedge::waits_for_memory(server) {
        because(id::UNINTERRUPTIBLE_SLEEP, id::MEMORY_PRESSURE);
    }
    if holds(id::ACCEPT_STALLED) {
        because(id::BACKLOG_FULL, id::ACCEPT_STALLED);
    }
    // The cause of the failed starts: the owner of the port.
    let holder = [
        id::ORPHANED_SERVER,
        id::PORT_HELD,
        id::PORT_OWNER_UNEXPECTED,
        id::DUPLICATE_SERVERS,
        id::DUPLICATE_SUPERVISORS,
    ]
    .into_iter()
    .find(|id| holds(id));
    if let Some(holder) = holder {
        because(id::RESPAWN_LOOP, holder);
        because(id::SUPERVISOR_GAVE_UP, holder);
    }
    if holds(id::ORPHANED_SERVER) {
        because(id::DUPLICATE_SERVERS, id::ORPHANED_SERVER);
    }
    if holds(id::LAUNCHER_DETACHED) {
        because(id::ORPHANED_SERVER, id::LAUNCHER_DETACHED);
    }
    // A kill explains why the server is down; it explains nothing about a server that runs.
    let is_killed = server.pid.is_none() && holds(id::MEMORY_KILLED);
    if is_killed {
        because(id::SERVER_NOT_RUNNING, id::MEMORY_KILLED);
        if holder.is_none() {
            because(id::SUPERVISOR_GAVE_UP, id::MEMORY_KILLED);
            because(id::RESPAWN_LOOP, id::MEMORY_KILLED);
        }
    }
    let down = [id::LAUNCHER_DETACHED, id::RESPAWN_LOOP, id::SUPERVISOR_GAVE_UP].into_iter().find(|id| holds(id));
    if let Some(down) = down {
        because(id::SERVER_NOT_RUNNING, down);
        because(id::CONNECTION_REFUSED, down);
    }
    if holds(id::SERVER_NOT_RUNNING) {
        because(id::STALE_PID_FILE, id::SERVER_NOT_RUNNING);
    }

    let possible: Vec<(&'static str, Option<String>)> =
        findings.iter().map(|finding| (finding.id(), finding.finding.subject().map(str::to_owned))).collect();
    for finding in findings {
        for (effect, cause) in &causes {
            let is_possible = possible
                .iter()
                .any(|(id, subject)| id == cause && may_cause((id, subject.as_deref()), finding.key()));
            if finding.id() == *effect && is_possible && !finding.caused_by.contains(cause) {
                finding.caused_by.push(cause);
            }
        }
    }
}

/// Numbers of open descriptors, leaked database handles and CLOSE-WAIT sockets.
fn shares(server: &Server) -> Option<(u64, u64, u64)> {
    let facts = server.descriptors.as_ref()?;
    let leaked = facts.sqlite.iter().map(crate::model::SqliteFamily::handles).max().unwrap_or(0);
    let close_wait = facts.close_wait.as_ref().map_or(0, |close_wait| close_wait.first);
    Some((facts.open?, leaked, close_wait))
}

/// Findings without a cause. A note is a root cause only if it caused a warning or worse.
pub fn roots(findings: &[Raised]) -> Vec<String> {
    let is_cause =
        |id: &str| findings.iter().any(|other| other.severity > Severity::Info && other.caused_by.contains(&id));
    let mut found: Vec<String> = Vec::new();
    for finding in findings {
        let counts = finding.severity > Severity::Info || is_cause(finding.id());
        if counts && finding.caused_by.is_empty() && !found.iter().any(|id| id == finding.id()) {
            found.push(finding.id().to_owned());
        }
    }
    found
}
