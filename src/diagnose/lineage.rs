//! Who runs the server, against who should.

use super::verdict::{Verdict, finding};
use crate::model::{Evidence, Finding, Lineage, NextStep, Server, Severity, id};

/// Restarts that are no accident any more.
const MANY_RESTARTS: u64 = 3;

/// Judges the lineage.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    let Some(lineage) = &server.lineage else { return };
    // From one look: it is being restarted just now, and has been again and again before.
    let supervisor = &lineage.supervisor;
    let was_often =
        supervisor.is_restarting && supervisor.restarts.is_some_and(|restarts| restarts >= MANY_RESTARTS);
    let is_looping = was_often || lineage.relaunch.as_ref().is_some_and(|relaunch| relaunch.is_repeated());
    if lineage.supervisor.claims_this.is_some() || lineage.expected.is_some() {
        verdict.decide(id::ORPHANED_SERVER, orphaned(server, lineage, is_looping));
        verdict.decide(id::RESPAWN_LOOP, respawn_loop(server, lineage, is_looping));
        verdict.decide(id::SUPERVISOR_GAVE_UP, gave_up(lineage));
        verdict.decide(id::UNSUPERVISED_SERVER, unsupervised(lineage));
    }
}

fn orphaned(server: &Server, lineage: &Lineage, is_looping: bool) -> Option<Finding> {
    let expected = lineage.expected.as_ref()?;
    if lineage.supervisor.claims_this == Some(true) {
        return None;
    }
    let pid = server.pid.unwrap_or(0);
    let severity = if is_looping { Severity::Critical } else { Severity::Warning };
    let claimed = lineage.supervisor.claimed_pid;
    // A loop's name is its whole command line; its pid says it in fewer words, and the evidence has the rest.
    let owner = match expected.pid {
        Some(loop_pid) => format!("the loop that starts it (pid {loop_pid})"),
        None => expected.name.clone(),
    };
    let title = match claimed {
        Some(claimed) => format!("pid {pid} is not the process of {owner}: that one is {claimed}"),
        None => format!("pid {pid} is not the process of {owner}, which claims none"),
    };
    let mut evidence = vec![
        Evidence::new("expected supervisor", format!("{} {}", expected.kind, expected.name), expected.why.clone()),
        Evidence::new("its claim", lineage.supervisor.evidence.clone(), lineage.supervisor.kind.clone()),
        Evidence::new(
            "the server's parent",
            lineage.hops.get(1).map_or(0, |hop| hop.pid),
            format!("/proc/{pid}/stat"),
        ),
    ];
    if let Some(state) = &lineage.supervisor.state {
        evidence.push(Evidence::new("state of the program there", state.clone(), lineage.supervisor.kind.clone()));
    }
    if let Some(restarts) = lineage.supervisor.restarts {
        evidence.push(Evidence::new("automatic restarts counted there", restarts, lineage.supervisor.kind.clone()));
    }
    if let Some(claimed) = claimed {
        evidence.push(Evidence::new("pid that the supervisor claims", claimed, lineage.supervisor.kind.clone()));
    }
    let mut next = vec![NextStep::run("end the orphan", format!("kill {pid}"))];
    next.push(match super::restart_command(&expected.kind, &expected.name) {
        Some(command) => NextStep::run("start it through its supervisor", command),
        None => NextStep::say("Then start it through its supervisor"),
    });
    Some(finding(id::ORPHANED_SERVER, severity, title, evidence, next))
}

fn respawn_loop(server: &Server, lineage: &Lineage, is_looping: bool) -> Option<Finding> {
    let relaunch = lineage.relaunch.as_ref().filter(|_| is_looping)?;
    let expected = lineage.expected.as_ref()?;
    let seconds = relaunch.observed_ms as f64 / 1000.0;
    let who =
        expected.pid.map_or_else(|| format!("{} {}", expected.kind, expected.name), |pid| format!("pid {pid}"));
    let title = match lineage.supervisor.restarts {
        Some(restarts) => format!("{who} starts this server again and again: {restarts} restarts"),
        None => {
            format!("{who} starts this server again and again: {} attempts in {seconds:.1} s", relaunch.pids.len())
        }
    };
    let pids = relaunch.pids.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let evidence = vec![
        Evidence::new("pids of the attempts", pids, "process table, looked at repeatedly"),
        Evidence::new("time looked on in ms", relaunch.observed_ms, "clock"),
        Evidence::new("who starts it", expected.name.clone(), expected.why.clone()),
        Evidence::new("pid that runs meanwhile", server.pid.unwrap_or(0), "process table"),
    ];
    let stop = match (expected.kind.as_str(), expected.pid) {
        (_, Some(pid)) => Some(format!("kill {pid}")),
        ("supervisord", None) => Some(format!("supervisorctl stop {}", expected.name)),
        ("runit", None) => Some(format!("sv down {}", expected.name)),
        ("s6", None) => Some(format!("s6-svc -d {}", expected.name)),
        ("daemontools", None) => Some(format!("svc -d {}", expected.name)),
        ("systemd", None) => Some(format!("systemctl stop {}", expected.name)),
        ("systemd-user", None) => Some(format!("systemctl --user stop {}", expected.name)),
        _ => None,
    };
    let next =
        stop.map(|command| NextStep::run("stop the attempts before the orphan", command)).into_iter().collect();
    Some(finding(id::RESPAWN_LOOP, Severity::Critical, title, evidence, next))
}

/// Of a server that runs; one that is down has no lineage to judge.
fn gave_up(lineage: &Lineage) -> Option<Finding> {
    let supervisor = &lineage.supervisor;
    let name = supervisor.name.as_deref().unwrap_or("the program");
    let state = supervisor.state.as_deref().unwrap_or("");
    supervisor.gave_up.then(|| {
        finding(
            id::SUPERVISOR_GAVE_UP,
            Severity::Warning,
            format!("{} has given up on {name}: {state}", supervisor.kind),
            vec![Evidence::new("state of the program", state, supervisor.evidence.clone())],
            vec![NextStep::say("Remove what made the starts fail, then start the program through its supervisor")],
        )
    })
}

fn unsupervised(lineage: &Lineage) -> Option<Finding> {
    if lineage.supervisor.kind != "none" || lineage.expected.is_some() {
        return None;
    }
    Some(finding(
        id::UNSUPERVISED_SERVER,
        Severity::Info,
        "no supervisor keeps it running".to_owned(),
        vec![
            Evidence::new("supervisor", "none", lineage.supervisor.evidence.clone()),
            Evidence::new("detached", lineage.detached, lineage.detached_because.clone()),
        ],
        vec![NextStep::say("Nothing, if that is meant; otherwise run it under a supervisor in the foreground")],
    ))
}
