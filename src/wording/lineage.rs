//! Findings about the supervisor of the server.

use super::steps::{log_of, stop_takes_all};
use super::{Context, Words};
use crate::model::{
    ClaimState, Expected, LineageFinding, NextStep, ProcessFile, Relaunch, Row, ServerKind, Sibling, Source,
    Supervisor, SupervisorKind,
};
use crate::supervisor::advice::{Verb, command};

/// The text of a finding.
pub fn words(finding: &LineageFinding, context: &Context) -> Words {
    match finding {
        LineageFinding::Orphaned { pid, parent, supervisor, expected, is_looping } => Words {
            title: orphaned_title(*pid, supervisor, expected),
            evidence: orphaned_evidence(*pid, *parent, supervisor, expected),
            next: orphaned_steps(*pid, supervisor, *is_looping, context),
        },
        LineageFinding::OrphanedBackend { pid, parent, owner, command, no_supervisor_because } => {
            let of_process = |file| Source::process(*pid, file);
            let owner_fact = "owner (HERMES_PARENT_PID in its environment)";
            let mut next = context.before_end.clone();
            next.push(NextStep::run("end the orphan", format!("kill {pid}")));
            Words {
                title: format!("pid {pid} is the backend of a desktop app that has ended (pid {owner})"),
                evidence: vec![
                    Row::new(owner_fact, *owner, of_process(ProcessFile::Environment)),
                    Row::new("parent of the server", *parent, of_process(ProcessFile::Stat)),
                    Row::new("command", command.clone(), of_process(ProcessFile::CommandLine)),
                    Row::new("supervisor", "none", no_supervisor_because.clone()),
                ],
                next,
            }
        }
        LineageFinding::RespawnLoop { claim, relaunch, pid } => respawn_loop(claim, relaunch, *pid),
        LineageFinding::GaveUp { claim } => gave_up(claim),
        LineageFinding::LauncherDetached { claim, pid } => {
            let name = claim.name.as_deref().unwrap_or("the program");
            let end = match pid {
                Some(pid) => format!("and its server, pid {pid}, still runs outside the supervisor"),
                None => "and its server ended with it".to_owned(),
            };
            Words {
                title: format!("the launcher of {name} exited successfully, {end}"),
                evidence: claim_evidence(claim),
                next: vec![launcher_in_the_foreground(), start("then start it", claim)],
            }
        }
        LineageFinding::DuplicateSupervisors { subject, own, others } => {
            duplicate_supervisors(subject, own, others)
        }
        LineageFinding::DuplicateServers { home, kind, pid, twins } => duplicate_servers(home, *kind, *pid, twins),
        LineageFinding::Unsupervised { because, is_detached, detached_because, pid_file } => {
            let mut evidence = vec![
                Row::new("supervisor", "none", because.clone()),
                Row::new("detached", *is_detached, detached_because.clone()),
            ];
            let file = pid_file.as_ref();
            evidence.extend(
                file.map(|(path, source)| Row::new("pid file that contains its pid", path.clone(), source.clone())),
            );
            let next =
                "No action if this is intended; otherwise run the server in the foreground under a supervisor";
            Words {
                title: "no supervisor manages the server".to_owned(),
                evidence,
                next: vec![NextStep::say(next)],
            }
        }
    }
}

/// The claim of a supervisor, as evidence.
fn claim_evidence(claim: &Supervisor) -> Vec<Row> {
    let row = |fact: String, value: serde_json::Value| {
        Row::new(fact, value, Source::Supervisor(claim.evidence.to_string()))
    };
    let texts = |value: Option<String>, fact: &str| value.map(|value| row(fact.to_owned(), value.into()));
    let state =
        claim.state.as_ref().map(|state| row(format!("state of {}", claim.title()), state.to_string().into()));
    let pid = claim.claimed_pid.map(|pid| row("pid that the supervisor claims".to_owned(), pid.into()));
    let restarts = claim.restarts.map(|count| row("automatic restarts".to_owned(), count.into()));
    let result = texts(claim.result.as_ref().map(ToString::to_string), "last result of the main process");
    let since = texts(claim.since.as_ref().map(ToString::to_string), "in this state since");
    let policy = texts(claim.policy.as_ref().map(ToString::to_string), "restart policy");
    [state, pid, restarts, result, since, policy].into_iter().flatten().collect()
}

/// The step that starts the program, with its command if one is known.
fn start(what: &str, claim: &Supervisor) -> NextStep {
    match command(claim, Verb::Start) {
        Some(command) => NextStep::run(what, command),
        None => NextStep::say("Then start it through its supervisor"),
    }
}

fn launcher_in_the_foreground() -> NextStep {
    NextStep::say(
        "Make the launcher replace itself with the server (exec; for the WebUI, bootstrap.py --foreground)",
    )
}

fn orphaned_title(pid: u32, supervisor: &Supervisor, expected: &Expected) -> String {
    // The name of a loop is its whole command line; the pid is shorter, and the evidence has the command line.
    let owner = match expected.pid {
        Some(loop_pid) => format!("the loop that starts it (pid {loop_pid})"),
        None if expected.kind == SupervisorKind::Process => format!("pid {}", expected.name),
        None => expected.name.to_string(),
    };
    match supervisor.claimed_pid {
        Some(claimed) if expected.pid.is_some() => {
            format!("pid {pid} runs outside of {owner}, whose current attempt is pid {claimed}")
        }
        _ if expected.kind == SupervisorKind::Process => {
            format!("pid {pid} is not {owner} and was not started by it")
        }
        Some(claimed) => format!("pid {pid} runs outside of {owner}, which claims pid {claimed}"),
        None => format!("pid {pid} runs outside of {owner}, which claims no process"),
    }
}

fn orphaned_evidence(pid: u32, parent: u32, supervisor: &Supervisor, expected: &Expected) -> Vec<Row> {
    let name = format!("{} {}", expected.kind, expected.name);
    let mut evidence = vec![
        Row::new("expected supervisor", name, expected.why.to_string()),
        Row::new("claim of the supervisor", supervisor.evidence.to_string(), supervisor.kind.to_string()),
        Row::new("parent of the server", parent, Source::process(pid, ProcessFile::Stat)),
    ];
    evidence.extend(claim_evidence(supervisor));
    evidence
}

fn orphaned_steps(pid: u32, supervisor: &Supervisor, is_looping: bool, context: &Context) -> Vec<NextStep> {
    let mut next = Vec::new();
    if is_looping {
        next.extend(stop_takes_all(supervisor));
        let stop = command(supervisor, Verb::Stop);
        next.extend(stop.map(|stop| NextStep::run("stop the attempts first", stop)));
    }
    next.extend(context.before_end.iter().cloned());
    next.push(NextStep::run("end the orphan", format!("kill {pid}")));
    // A job that launchd was ordered to stop is unloaded, so it must be loaded again.
    let afterwards = if is_looping { ClaimState::Idle } else { supervisor.claim_state };
    let afterwards = Supervisor { claim_state: afterwards, ..supervisor.clone() };
    next.push(start("start it through its supervisor", &afterwards));
    if supervisor.is_launcher {
        next.push(launcher_in_the_foreground());
    }
    next
}

fn respawn_loop(claim: &Supervisor, relaunch: &Relaunch, pid: Option<u32>) -> Words {
    let who = match (&claim.kind, claim.pid) {
        (SupervisorKind::RespawnLoop, Some(pid)) => format!("pid {pid}"),
        _ => claim.title().to_string(),
    };
    let times = match claim.restarts.filter(|restarts| *restarts > 0) {
        Some(restarts) => format!("{restarts} restarts"),
        None => format!("{} attempts in {:.1} s", relaunch.pids.len(), relaunch.observed_ms as f64 / 1000.0),
    };
    let pids = relaunch.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let observed = "observation of the supervisor";
    let mut evidence = vec![
        Row::new("pids of the attempts", pids, observed),
        Row::new("time observed in ms", relaunch.observed_ms, Source::Clock),
    ];
    if !relaunch.states.is_empty() {
        let states: Vec<String> = relaunch.states.iter().map(ToString::to_string).collect();
        evidence.push(Row::new("states observed", states.join(", "), observed));
    }
    if relaunch.port_changes > 0 {
        let source = Source::Sockets.sampled("sampled repeatedly");
        evidence.push(Row::new("times the port opened or closed", relaunch.port_changes, source));
    }
    evidence.extend(claim_evidence(claim));
    evidence.extend(pid.map(|pid| Row::new("pid of the running server", pid, Source::ProcessTable)));
    let mut next: Vec<NextStep> = stop_takes_all(claim).filter(|_| pid.is_some()).into_iter().collect();
    next.extend(command(claim, Verb::Stop).map(|stop| NextStep::run("stop the attempts", stop)));
    next.extend(log_of(claim));
    if claim.is_launcher {
        next.push(launcher_in_the_foreground());
    }
    Words { title: format!("{who} restarts this server in a loop: {times}"), evidence, next }
}

fn gave_up(claim: &Supervisor) -> Words {
    let name = claim.name.as_deref().unwrap_or("the program");
    let state = claim.state.as_deref().unwrap_or("");
    let reason = claim.result.as_ref().map_or(String::new(), |result| format!(" ({result})"));
    let mut next: Vec<NextStep> = log_of(claim).into_iter().collect();
    next.push(NextStep::say("Fix the cause of the failed starts"));
    let reset = command(claim, Verb::ResetFailed);
    next.extend(reset.map(|reset| NextStep::run("reset the failed state", reset)));
    next.push(start("then start it", claim));
    Words {
        title: format!("{} no longer restarts {name}: {state}{reason}", claim.kind),
        evidence: claim_evidence(claim),
        next,
    }
}

fn duplicate_supervisors(subject: &str, own: &Supervisor, others: &[Supervisor]) -> Words {
    let scope = |claim: &Supervisor| claim.scope.as_ref().map_or(String::new(), |scope| format!(" ({scope})"));
    let name = |claim: &Supervisor| format!("{}{}", claim.title(), scope(claim));
    let names: Vec<String> = others.iter().map(name).collect();
    let mut evidence = claim_evidence(own);
    for claim in others {
        evidence.extend(claim_evidence(claim));
        evidence.extend(claim.configuration.as_ref().map(|configuration| {
            let source = Source::Supervisor(claim.evidence.to_string());
            Row::new("configured in", configuration.to_string(), source)
        }));
    }
    let mut next = vec![NextStep::say("Decide which of them should run it; stop and disable the other")];
    let stop = others.first().and_then(|first| command(first, Verb::Stop));
    next.extend(stop.map(|stop| NextStep::run("stop the other", stop)));
    Words {
        title: format!(
            "{} supervisors are configured for {subject}: {} and {}",
            others.len() + 1,
            name(own),
            names.join(", ")
        ),
        evidence,
        next,
    }
}

fn duplicate_servers(home: &str, kind: ServerKind, pid: u32, twins: &[Sibling]) -> Words {
    let pids = twins.iter().map(|twin| twin.pid.to_string()).collect::<Vec<_>>().join(", ");
    let row =
        |twin: &Sibling| Row::new(format!("pid {}", twin.pid), twin.command.to_string(), Source::ProcessTable);
    Words {
        title: format!("{} {} servers run on {home}: pid {pid} and pid {pids}", twins.len() + 1, kind.title()),
        evidence: twins.iter().map(row).collect(),
        next: vec![
            NextStep::run("show the supervisor of each", "hermes-doctor lineage"),
            NextStep::say("Decide which of them should run; stop the other through its supervisor"),
        ],
    }
}
