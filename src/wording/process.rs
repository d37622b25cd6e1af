//! Findings about the process.

use super::Words;
use super::steps::log_of;
use crate::model::{
    NextStep, PidFile, PidFileState, ProcessFile, ProcessFinding, Row, ServerKind, Source, Supervisor,
};
use crate::supervisor::advice::{Verb, command};

/// The text of a finding.
pub fn words(finding: &ProcessFinding) -> Words {
    match finding {
        ProcessFinding::NotRunning { kind, port, port_without_listener, named_by, is_stopped, supervisor } => {
            Words {
                title: not_running_title(*kind, *port, supervisor.as_ref().filter(|_| *is_stopped)),
                evidence: not_running_evidence(*port_without_listener, named_by, supervisor.as_ref()),
                next: start(supervisor.as_ref()),
            }
        }
        ProcessFinding::Stopped { pid } => Words {
            title: format!("the process is stopped (state T): pid {pid}"),
            evidence: vec![Row::new("scheduler state", "T (stopped)", Source::process(*pid, ProcessFile::Stat))],
            next: vec![
                NextStep::run("continue it", format!("kill -CONT {pid}")),
                NextStep::say("Find out what stopped it: Ctrl-Z in its terminal, or `kill -STOP`"),
            ],
        },
        ProcessFinding::Traced { pid, tracer_pid } => Words {
            title: format!("a debugger has stopped the process: pid {tracer_pid}"),
            evidence: vec![
                Row::new("scheduler state", "t (traced)", Source::process(*pid, ProcessFile::Stat)),
                Row::new("pid of the debugger", *tracer_pid, Source::process(*pid, ProcessFile::Status)),
            ],
            next: vec![NextStep::say("Detach the debugger, or continue the process from it")],
        },
        ProcessFinding::ZombieChildren { count } => Words {
            title: format!("{count} child processes have ended and were not reaped"),
            evidence: vec![Row::new("child processes in state Z", *count, Source::ProcessTable)],
            next: vec![NextStep::say(
                "Restart the server when convenient; in a container, run an init that reaps its children",
            )],
        },
        ProcessFinding::StalePidFile(file) => stale_pid_file(file),
    }
}

fn not_running_title(kind: ServerKind, port: Option<u16>, stopped: Option<&Supervisor>) -> String {
    let kind = kind.title();
    match (stopped, port) {
        (Some(claim), _) => {
            let since = claim.since.as_ref().map_or(String::new(), |since| format!(" since {since}"));
            let state = claim.state.as_deref().unwrap_or("down");
            format!("{kind} is stopped: {} is enabled and {state}{since}", claim.title())
        }
        (None, Some(port)) => {
            format!("{kind} is not running: it has no process, and port {port} has no listener")
        }
        (None, None) => format!("{kind} is not running: it has no process"),
    }
}

fn not_running_evidence(port: Option<u16>, named_by: &[String], supervisor: Option<&Supervisor>) -> Vec<Row> {
    let mut evidence = vec![Row::new("processes of that server", 0, "command lines of all processes")];
    evidence.extend(port.map(|port| Row::new(format!("listening sockets on port {port}"), 0, Source::Sockets)));
    evidence.extend(named_by.iter().map(|by| Row::new("named by", by.clone(), "command line")));
    evidence.extend(supervisor.map(|supervisor| {
        let state = supervisor.state.as_deref().unwrap_or_default();
        let source = Source::Supervisor(supervisor.evidence.to_string());
        Row::new(format!("state of {}", supervisor.title()), state, source)
    }));
    evidence
}

fn start(supervisor: Option<&Supervisor>) -> Vec<NextStep> {
    vec![
        supervisor.and_then(log_of).unwrap_or_else(|| {
            NextStep::say(
                "Read the end of its log before starting it again (webui.log, logs/errors.log, journalctl)",
            )
        }),
        match supervisor.and_then(|supervisor| command(supervisor, Verb::Start)) {
            Some(command) => NextStep::run("then start it", command),
            None => NextStep::say("Start it through its unit, job, program or ctl.sh"),
        },
    ]
}

fn stale_pid_file(file: &PidFile) -> Words {
    let what = match file.state {
        PidFileState::OtherProgram => "which is another program",
        PidFileState::OtherStart => "whose start time differs from the one in the file",
        PidFileState::Dead | PidFileState::Live | PidFileState::Unknown => "which is not running",
    };
    Words {
        title: format!("{} names pid {}, {what}", file.path, file.pid),
        evidence: vec![
            Row::new("pid in the file", file.pid, file.path.to_string()),
            Row::new("process with that pid", file.detail.clone(), Source::process(file.pid, ProcessFile::Itself)),
        ],
        next: vec![NextStep::say(format!("When no server of that home runs, remove {}", file.path))],
    }
}
