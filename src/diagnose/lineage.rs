//! Compares the supervisor that manages the server with the expected one.

use super::advice::{self, Verb};
use super::verdict::{Verdict, finding};
use crate::model::{
    ClaimState, Evidence, Finding, Lineage, NextStep, Note, Relaunch, Server, ServerKind, Severity, Sibling,
    Supervisor, SupervisorKind, id,
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

/// The claim of a supervisor, as evidence.
fn claim_evidence(claim: &Supervisor) -> Vec<Evidence> {
    let source = || claim.evidence.clone();
    let mut evidence = Vec::new();
    if let Some(state) = &claim.state {
        evidence.push(Evidence::new(format!("state of {}", claim.title()), state.clone(), source()));
    }
    if let Some(pid) = claim.claimed_pid {
        evidence.push(Evidence::new("pid that the supervisor claims", pid, source()));
    }
    if let Some(restarts) = claim.restarts {
        evidence.push(Evidence::new("automatic restarts counted there", restarts, source()));
    }
    if let Some(result) = &claim.result {
        evidence.push(Evidence::new("how its main process ended last", result.clone(), source()));
    }
    if let Some(since) = &claim.since {
        evidence.push(Evidence::new("in this state since", since.to_string(), source()));
    }
    if let Some(policy) = &claim.policy {
        evidence.push(Evidence::new("how it is to be run", policy.clone(), source()));
    }
    evidence
}

fn orphaned(server: &Server, lineage: &Lineage, is_looping: bool) -> Option<Finding> {
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
    // The name of a loop is its whole command line; the pid is shorter, and the evidence has the command line.
    let owner = match expected.pid {
        Some(loop_pid) => format!("the loop that starts it (pid {loop_pid})"),
        None if expected.kind == SupervisorKind::Process => format!("pid {}", expected.name),
        None => expected.name.clone().to_string(),
    };
    let title = match supervisor.claimed_pid {
        Some(claimed) if expected.pid.is_some() => {
            format!("pid {pid} runs outside of {owner}, whose attempt now is pid {claimed}")
        }
        _ if expected.kind == SupervisorKind::Process => format!("pid {pid} is not {owner}, nor started by it"),
        Some(claimed) => format!("pid {pid} runs outside of {owner}, which says pid {claimed}"),
        None => format!("pid {pid} runs outside of {owner}, which has no process"),
    };
    let mut evidence = vec![
        Evidence::new("expected supervisor", format!("{} {}", expected.kind, expected.name), expected.why.clone()),
        Evidence::new("its claim", supervisor.evidence.clone(), supervisor.kind.clone()),
        Evidence::new(
            "the server's parent",
            lineage.hops.get(1).map_or(0, |hop| hop.pid),
            format!("/proc/{pid}/stat"),
        ),
    ];
    evidence.extend(claim_evidence(supervisor));
    let mut next = Vec::new();
    if is_looping {
        next.extend(advice::stop_takes_all(supervisor));
        next.extend(
            advice::command(supervisor, Verb::Stop).map(|stop| NextStep::run("stop the attempts first", stop)),
        );
    }
    next.extend(advice::before_it_ends(server));
    next.push(NextStep::run("end the orphan", format!("kill {pid}")));
    // A job that launchd was ordered to stop is unloaded, so it must be loaded again.
    let afterwards = if is_looping { ClaimState::Idle } else { supervisor.claim_state };
    let afterwards = Supervisor { claim_state: afterwards, ..supervisor.clone() };
    next.push(match advice::command(&afterwards, Verb::Start) {
        Some(command) => NextStep::run("start it through its supervisor", command),
        None => NextStep::say("Then start it through its supervisor"),
    });
    if supervisor.is_launcher {
        next.push(launcher_in_the_foreground());
    }
    Some(finding(id::ORPHANED_SERVER, severity, title, evidence, next))
}

/// A backend of a desktop application that has outlived the application: it requests any free port, which only
/// its owner knows, it was adopted, and the owner in its environment is not an ancestor. For an owner on
/// another machine this cannot be determined.
fn orphaned_backend(server: &Server, lineage: &Lineage) -> Option<Finding> {
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
    let evidence = vec![
        Evidence::new("owner, HERMES_PARENT_PID of its environment", owner, format!("/proc/{pid}/environ")),
        Evidence::new("the server's parent", parent, format!("/proc/{pid}/stat")),
        Evidence::new("its command", process.command.clone().unwrap_or_default(), format!("/proc/{pid}/cmdline")),
        Evidence::new("supervisor", "none", lineage.supervisor.evidence.clone()),
    ];
    let mut next = advice::before_it_ends(server);
    next.push(NextStep::run("end the orphan", format!("kill {pid}")));
    let title = format!("pid {pid} is a desktop's backend whose owner, pid {owner}, is gone");
    Some(finding(id::ORPHANED_SERVER, Severity::Warning, title, evidence, next))
}

fn launcher_in_the_foreground() -> NextStep {
    NextStep::say("Let the launcher replace itself by the server (exec; for the WebUI bootstrap.py --foreground)")
}

fn respawn_loop(server: &Server, lineage: &Lineage, claim: &Supervisor) -> Finding {
    let claim = &with_pid(lineage, claim);
    let relaunch = lineage.relaunch.clone().unwrap_or_default();
    let seconds = relaunch.observed_ms as f64 / 1000.0;
    let who = match (&claim.kind, claim.pid) {
        (SupervisorKind::RespawnLoop, Some(pid)) => format!("pid {pid}"),
        _ => claim.title(),
    };
    let title = match claim.restarts.filter(|restarts| *restarts > 0) {
        Some(restarts) => format!("{who} starts this server again and again: {restarts} restarts"),
        None => {
            format!("{who} starts this server again and again: {} attempts in {seconds:.1} s", relaunch.pids.len())
        }
    };
    let pids = relaunch.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let mut evidence = vec![
        Evidence::new("pids of the attempts", pids, "the supervisor, looked on"),
        Evidence::new("time looked on in ms", relaunch.observed_ms, "clock"),
    ];
    if !relaunch.states.is_empty() {
        let states = relaunch.states.join(", ");
        evidence.push(Evidence::new("states meanwhile", states, "the supervisor, looked on"));
    }
    if relaunch.port_changes > 0 {
        let source = "sock_diag, looked at repeatedly";
        evidence.push(Evidence::new("times that the port opened or closed", relaunch.port_changes, source));
    }
    evidence.extend(claim_evidence(claim));
    if let Some(pid) = server.pid {
        evidence.push(Evidence::new("pid that runs meanwhile", pid, "process table"));
    }
    let mut next: Vec<NextStep> =
        advice::stop_takes_all(claim).filter(|_| server.pid.is_some()).into_iter().collect();
    next.extend(advice::command(claim, Verb::Stop).map(|stop| NextStep::run("stop the attempts", stop)));
    next.extend(log_of(claim));
    if claim.is_launcher {
        next.push(launcher_in_the_foreground());
    }
    finding(id::RESPAWN_LOOP, Severity::Critical, title, evidence, next)
}

/// The step that reads the reason of the failed starts.
pub fn log_of(claim: &Supervisor) -> Option<NextStep> {
    match advice::log_command(claim) {
        Some(command) => Some(NextStep::run("read why it ended", command)),
        None => claim.log.as_deref().map(|log| NextStep::say(format!("Read why it ended: {log}"))),
    }
}

fn gave_up(server: &Server, supervisor: &Supervisor) -> Option<Finding> {
    if supervisor.claim_state != ClaimState::GaveUp {
        return None;
    }
    let name = supervisor.name.as_deref().unwrap_or("the program");
    let state = supervisor.state.as_deref().unwrap_or("");
    let severity = if server.pid.is_some() { Severity::Warning } else { Severity::Critical };
    let reason = supervisor.result.as_deref().map_or(String::new(), |result| format!(" ({result})"));
    let mut next: Vec<NextStep> = log_of(supervisor).into_iter().collect();
    next.push(NextStep::say("Remove what made the starts fail"));
    let reset = advice::command(supervisor, Verb::ResetFailed);
    next.extend(reset.map(|reset| NextStep::run("let the manager forget the failures", reset)));
    next.push(match advice::command(supervisor, Verb::Start) {
        Some(command) => NextStep::run("then start it", command),
        None => NextStep::say("Then start it through its supervisor"),
    });
    let title = format!("{} has given up on {name}: {state}{reason}", supervisor.kind);
    Some(finding(id::SUPERVISOR_GAVE_UP, severity, title, claim_evidence(supervisor), next))
}

/// The supervisor's program exited without a request and with success. If the server still runs outside of it,
/// or the program is a launcher and its server ended too, the launcher has detached the server.
fn launcher_detached(server: &Server, supervisor: &Supervisor) -> Option<Finding> {
    let lives_on = server.pid.is_some() && supervisor.claims_this == Some(false);
    // A program that ran longer has replaced itself with the server, and it was the server that ended.
    let was_short = supervisor.ran_ms.is_none_or(|ran| ran <= MAX_LAUNCH_MS);
    let took_it_along = server.pid.is_none() && supervisor.is_launcher && was_short;
    if supervisor.claim_state != ClaimState::Finished || !(lives_on || took_it_along) {
        return None;
    }
    let name = supervisor.name.as_deref().unwrap_or("the program");
    let (severity, title) = match server.pid {
        Some(pid) => (
            Severity::Warning,
            format!("the launcher of {name} left with success, and its server, pid {pid}, runs on outside of it"),
        ),
        None => {
            (Severity::Critical, format!("the launcher of {name} left with success, and its server went with it"))
        }
    };
    let next = vec![
        launcher_in_the_foreground(),
        match advice::command(supervisor, Verb::Start) {
            Some(command) => NextStep::run("then start it", command),
            None => NextStep::say("Then start it through its supervisor"),
        },
    ];
    Some(finding(id::LAUNCHER_DETACHED, severity, title, claim_evidence(supervisor), next))
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
fn duplicate_supervisors(server: &Server, lineage: &Lineage) -> Option<Finding> {
    let others: Vec<&Supervisor> = lineage
        .claims
        .iter()
        .filter(|claim| {
            claim.claims_this == Some(false)
                && claim.kind != SupervisorKind::PidFile
                && !claim.claim_state.is_at_rest()
                && !is_rival(server, claim)
        })
        .collect();
    let first = others.first()?;
    if lineage.supervisor.kind == SupervisorKind::None {
        return None;
    }
    let subject = match (server.port, &server.home) {
        (Some(port), _) => format!("port {port}"),
        (None, Some(home)) => home.clone().to_string(),
        (None, None) => server.kind.title().to_owned(),
    };
    let scope = |claim: &Supervisor| claim.scope.as_ref().map_or(String::new(), |scope| format!(" ({scope})"));
    let name = |claim: &Supervisor| format!("{}{}", claim.title(), scope(claim));
    let title = format!(
        "{} supervisors are configured for {subject}: {} and {}",
        others.len() + 1,
        name(&lineage.supervisor),
        others.iter().map(|claim| name(claim)).collect::<Vec<_>>().join(", ")
    );
    let mut evidence = claim_evidence(&lineage.supervisor);
    for claim in &others {
        evidence.extend(claim_evidence(claim));
        if let Some(configuration) = &claim.configuration {
            evidence.push(Evidence::new("configured in", configuration.clone(), claim.evidence.clone()));
        }
    }
    let mut next = vec![NextStep::say("Decide which of them is to run it, and stop and disable the other")];
    next.extend(advice::command(first, Verb::Stop).map(|stop| NextStep::run("stop the other", stop)));
    Some(Finding {
        subject: Some(subject),
        ..finding(id::DUPLICATE_SUPERVISORS, Severity::Warning, title, evidence, next)
    })
}

/// Two servers of one kind on one home. Servers of different kinds share a home by design; so do a desktop
/// backend, which requests any free port, and a server for remote clients.
fn duplicate_servers(server: &Server, lineage: &Lineage) -> Option<Finding> {
    if matches!(server.kind, ServerKind::Mcp | ServerKind::Other) {
        return None;
    }
    let process = server.process.as_ref()?;
    let argv = process.command.as_deref().and_then(shlex::split).unwrap_or_default();
    let own_any_port = recognise(&argv).is_some_and(|command| command.port == Some(0));
    let age = |pid: u32| lineage.relatives.iter().find(|hop| hop.pid == pid).and_then(|hop| hop.age_ms);
    let is_settled = |age: Option<u64>| age.is_some_and(|age| age >= HANDOVER_MS);
    let twins: Vec<&Sibling> = lineage
        .siblings
        .iter()
        .filter(|sibling| {
            sibling.kind == server.kind
                && sibling.same_home
                && sibling.any_port == own_any_port
                && is_settled(age(sibling.pid))
        })
        .collect();
    if twins.is_empty() || !is_settled(process.age_ms) {
        return None;
    }
    let home = server.home.clone().unwrap_or_default();
    let pids = twins.iter().map(|sibling| sibling.pid.to_string()).collect::<Vec<_>>().join(", ");
    let title = format!(
        "{} {} servers run on {home}: pid {} and pid {pids}",
        twins.len() + 1,
        server.kind.title(),
        process.identity.pid
    );
    let evidence = twins
        .iter()
        .map(|sibling| Evidence::new(format!("pid {}", sibling.pid), sibling.command.clone(), "process table"))
        .collect();
    let next = vec![
        NextStep::run("see who supervises each", "hermes-doctor lineage"),
        NextStep::say("Decide which of them is to run, and end the other through its supervisor"),
    ];
    Some(Finding {
        subject: Some(home.to_string()),
        ..finding(id::DUPLICATE_SERVERS, Severity::Warning, title, evidence, next)
    })
}

fn unsupervised(server: &Server, lineage: &Lineage) -> Option<Finding> {
    let is_meant = server.expectation.supervisor == Some(Note::NoSupervisor);
    if lineage.supervisor.kind != SupervisorKind::None || lineage.expected.is_some() || is_meant {
        return None;
    }
    let mut evidence = vec![
        Evidence::new("supervisor", "none", lineage.supervisor.evidence.clone()),
        Evidence::new("detached", lineage.detached, lineage.detached_because.clone()),
    ];
    if let Some(file) =
        lineage.claims.iter().find(|claim| claim.kind == SupervisorKind::PidFile && claim.claims_this == Some(true))
    {
        let path = file.name.clone().unwrap_or_default();
        evidence.push(Evidence::new("pid file that names it", path, file.evidence.clone()));
    }
    Some(finding(
        id::UNSUPERVISED_SERVER,
        Severity::Info,
        "no supervisor keeps it running".to_owned(),
        evidence,
        vec![NextStep::say("Nothing, if that is meant; otherwise run it under a supervisor in the foreground")],
    ))
}
