//! Compares the supervisor that manages the server with the expected one.

use super::verdict::Verdict;
use crate::model::{
    ClaimState, Lineage, LineageFinding, Note, Raised, Relaunch, Server, ServerKind, Severity, Sibling, Supervisor,
    SupervisorKind, id,
};
use crate::parse::command::recognise;
use crate::supervisor::counts_automatic_restarts_only;

/// Minimum number of restarts that are not accidental.
pub const MANY_RESTARTS: u64 = 3;
/// Maximum age of two servers of which one may be taking over from the other, in milliseconds.
const HANDOVER_MS: u64 = 30_000;

/// Maximum time that a launcher waits for the first response of the server, in milliseconds; a first start with
/// migrations takes minutes.
const MAX_LAUNCH_MS: u64 = 600_000;

/// Adds the findings about the lineage.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    let Some(lineage) = &server.lineage else { return };
    let supervisor = &lineage.supervisor;
    let looping = looping(server, lineage);
    if supervisor.claims_this.is_some() {
        let orphan = orphaned(server, lineage, looping.is_some()).or_else(|| orphaned_backend(server, lineage));
        verdict.decide(id::ORPHANED_SERVER, orphan);
        verdict.decide(id::RESPAWN_LOOP, looping.map(|claim| respawn_loop(server, lineage, claim)));
        verdict.decide(id::SUPERVISOR_GAVE_UP, gave_up(server, supervisor));
        verdict.decide(id::LAUNCHER_DETACHED, launcher_detached(server, supervisor));
        verdict.decide(id::DUPLICATE_SUPERVISORS, duplicate_supervisors(server, lineage));
    }
    if server.pid.is_some() {
        if supervisor.claims_this.is_some() {
            verdict.decide(id::UNSUPERVISED_SERVER, unsupervised(server, lineage));
        }
        verdict.decide(id::DUPLICATE_SERVERS, duplicate_servers(server, lineage));
    }
}

/// Whether repeated starts were observed. A manual restart changes the pid once, and increases a counter that
/// includes manual restarts by one.
pub fn is_repeated(claim: &Supervisor, relaunch: &Relaunch) -> bool {
    let pids = relaunch.pids.len();
    let counts_automatic_only = counts_automatic_restarts_only(&claim.kind);
    if counts_automatic_only && claim.restarts.is_some() {
        // All other changes were manual.
        return relaunch.restarts >= 1;
    }
    let backs_off = relaunch.states.iter().any(|state| state == "BACKOFF");
    // No user starts the child of a loop by hand.
    let enough = if claim.kind == SupervisorKind::RespawnLoop { 2 } else { 3 };
    // One restart closes the port and opens it again.
    relaunch.restarts >= 2 || pids >= enough || pids >= 2 && (backs_off || relaunch.port_changes >= 4)
}

/// The supervisor with a restart loop.
fn looping<'l>(server: &Server, lineage: &'l Lineage) -> Option<&'l Supervisor> {
    let is_looked_on = |claim: &Supervisor, relaunch: &Relaunch| {
        relaunch.of.as_ref().map_or(std::ptr::eq(claim, &lineage.supervisor), |of| *of == *claim.title().as_str())
    };
    std::iter::once(&lineage.supervisor).chain(&lineage.claims).find(|claim| {
        let was_often = claim.restarts.is_some_and(|restarts| restarts >= MANY_RESTARTS);
        // Sampled once: the claimed process was started a moment ago, while another process runs.
        let interval = claim.restart_interval_ms.unwrap_or(1000).max(1000);
        let has_just_been = claim.claims_this != Some(true)
            && server.pid.is_some()
            && claim.claimed_age_ms.is_some_and(|age| age <= interval);
        was_often && (claim.claim_state == ClaimState::Restarting || has_just_been)
            || lineage.relaunch.as_ref().is_some_and(|seen| is_looked_on(claim, seen) && is_repeated(claim, seen))
    })
}

/// A claim with the pid of its loop; older reports have that pid only in the expectation.
fn with_pid(lineage: &Lineage, claim: &Supervisor) -> Supervisor {
    let expected = lineage.expected.as_ref().filter(|expected| expected.kind == claim.kind);
    Supervisor { pid: claim.pid.or_else(|| expected?.pid), ..claim.clone() }
}

fn orphaned(server: &Server, lineage: &Lineage, is_looping: bool) -> Option<Raised> {
    let expected = lineage.expected.as_ref()?;
    let supervisor = &with_pid(lineage, &lineage.supervisor);
    let pid = server.pid?;
    if supervisor.claims_this != Some(false) || !server.kind.is_hermes() && !expected.named {
        return None;
    }
    // A unit that ends its whole control group with its main process leaves no process behind: this one ends in
    // a moment.
    let goes_with_it = supervisor.stops_group == Some(true) && lineage.unit == supervisor.name;
    if is_looping && goes_with_it && supervisor.kind.is_systemd() {
        return None;
    }
    let severity = if is_looping { Severity::Critical } else { Severity::Warning };
    let finding = LineageFinding::Orphaned {
        pid,
        parent: lineage.hops.get(1).map_or(0, |hop| hop.pid),
        supervisor: supervisor.clone(),
        expected: expected.clone(),
        is_looping,
    };
    Some(Raised::new(severity, finding))
}

/// A backend of a desktop application that has outlived the application: it requests any free port, which only
/// its owner knows, it was adopted, and the owner in its environment is not an ancestor. For an owner on
/// another machine this cannot be determined.
fn orphaned_backend(server: &Server, lineage: &Lineage) -> Option<Raised> {
    let (pid, process) = (server.pid?, server.process.as_ref()?);
    let owner: u32 = lineage.markers.get("HERMES_PARENT_PID")?.parse().ok()?;
    let argv = process.command.as_deref().and_then(shlex::split).unwrap_or_default();
    let asks_any_port = recognise(&argv).is_some_and(|command| command.port == Some(0));
    let is_remote = argv.iter().any(|word| word.starts_with("--ssh-"));
    let has_owner = lineage.hops.iter().any(|hop| hop.pid == owner);
    if lineage.supervisor.kind != SupervisorKind::None
        || !lineage.detached
        || !asks_any_port
        || is_remote
        || has_owner
    {
        return None;
    }
    let parent = lineage.hops.get(1).map_or(process.ppid, |hop| hop.pid);
    let finding = LineageFinding::OrphanedBackend {
        pid,
        parent,
        owner,
        command: process.command.as_ref().map(ToString::to_string).unwrap_or_default(),
        no_supervisor_because: lineage.supervisor.evidence.to_string(),
    };
    Some(Raised::new(Severity::Warning, finding))
}

fn respawn_loop(server: &Server, lineage: &Lineage, claim: &Supervisor) -> Raised {
    let finding = LineageFinding::RespawnLoop {
        claim: with_pid(lineage, claim),
        relaunch: lineage.relaunch.clone().unwrap_or_default(),
        pid: server.pid,
    };
    Raised::new(Severity::Critical, finding)
}

fn gave_up(server: &Server, supervisor: &Supervisor) -> Option<Raised> {
    if supervisor.claim_state != ClaimState::GaveUp {
        return None;
    }
    let severity = if server.pid.is_some() { Severity::Warning } else { Severity::Critical };
    Some(Raised::new(severity, LineageFinding::GaveUp { claim: supervisor.clone() }))
}

/// The supervisor's program exited without a request and with success. If the server still runs outside of it,
/// or the program is a launcher and its server ended too, the launcher has detached the server.
fn launcher_detached(server: &Server, supervisor: &Supervisor) -> Option<Raised> {
    let lives_on = server.pid.is_some() && supervisor.claims_this == Some(false);
    // A program that ran longer has replaced itself with the server, and it was the server that ended.
    let was_short = supervisor.ran_ms.is_none_or(|ran| ran <= MAX_LAUNCH_MS);
    let took_it_along = server.pid.is_none() && supervisor.is_launcher && was_short;
    if supervisor.claim_state != ClaimState::Finished || !(lives_on || took_it_along) {
        return None;
    }
    let severity = if server.pid.is_some() { Severity::Warning } else { Severity::Critical };
    let finding = LineageFinding::LauncherDetached { claim: supervisor.clone(), pid: server.pid };
    Some(Raised::new(severity, finding))
}

/// Whether a claim is for the server's port with another home.
pub fn is_rival(server: &Server, claim: &Supervisor) -> bool {
    let homes = claim.home.as_ref().zip(server.home.as_ref());
    !server.kind.is_hermes()
        || claim.port.is_some()
            && claim.port == server.port
            && homes.is_some_and(|(a, b)| a.trim_end_matches('/') != b.trim_end_matches('/'))
}

/// Other supervisors that would run this server. A claim through the server's own supervisor does not count.
fn duplicate_supervisors(server: &Server, lineage: &Lineage) -> Option<Raised> {
    let others: Vec<Supervisor> = lineage
        .claims
        .iter()
        .filter(|claim| {
            claim.claims_this == Some(false)
                && claim.kind != SupervisorKind::PidFile
                && !claim.claim_state.is_at_rest()
                && !is_rival(server, claim)
        })
        .cloned()
        .collect();
    if others.is_empty() || lineage.supervisor.kind == SupervisorKind::None {
        return None;
    }
    let subject = match (server.port, &server.home) {
        (Some(port), _) => format!("port {port}"),
        (None, Some(home)) => home.to_string(),
        (None, None) => server.kind.title().to_owned(),
    };
    let finding = LineageFinding::DuplicateSupervisors { subject, own: lineage.supervisor.clone(), others };
    Some(Raised::new(Severity::Warning, finding))
}

/// Two servers of one kind on one home. Servers of different kinds share a home by design; so do a desktop
/// backend, which requests any free port, and a server for remote clients.
fn duplicate_servers(server: &Server, lineage: &Lineage) -> Option<Raised> {
    if matches!(server.kind, ServerKind::Mcp | ServerKind::Other) {
        return None;
    }
    let process = server.process.as_ref()?;
    let argv = process.command.as_deref().and_then(shlex::split).unwrap_or_default();
    let own_any_port = recognise(&argv).is_some_and(|command| command.port == Some(0));
    let age = |pid: u32| lineage.relatives.iter().find(|hop| hop.pid == pid).and_then(|hop| hop.age_ms);
    let is_settled = |age: Option<u64>| age.is_some_and(|age| age >= HANDOVER_MS);
    let twins: Vec<Sibling> = lineage
        .siblings
        .iter()
        .filter(|sibling| {
            sibling.kind == server.kind
                && sibling.same_home
                && sibling.any_port == own_any_port
                && is_settled(age(sibling.pid))
        })
        .cloned()
        .collect();
    if twins.is_empty() || !is_settled(process.age_ms) {
        return None;
    }
    let finding = LineageFinding::DuplicateServers {
        home: server.home.as_ref().map(ToString::to_string).unwrap_or_default(),
        kind: server.kind,
        pid: process.identity.pid,
        twins,
    };
    Some(Raised::new(Severity::Warning, finding))
}

fn unsupervised(server: &Server, lineage: &Lineage) -> Option<Raised> {
    let is_meant = server.expectation.supervisor == Some(Note::NoSupervisor);
    if lineage.supervisor.kind != SupervisorKind::None || lineage.expected.is_some() || is_meant {
        return None;
    }
    let is_its_file =
        |claim: &&Supervisor| claim.kind == SupervisorKind::PidFile && claim.claims_this == Some(true);
    let file = lineage.claims.iter().find(is_its_file);
    let name = |file: &Supervisor| file.name.as_deref().unwrap_or_default().to_owned();
    let finding = LineageFinding::Unsupervised {
        because: lineage.supervisor.evidence.to_string(),
        is_detached: lineage.detached,
        detached_because: lineage.detached_because.to_string(),
        pid_file: file.map(|file| (name(file), file.evidence.to_string())),
    };
    Some(Raised::new(Severity::Info, finding))
}
