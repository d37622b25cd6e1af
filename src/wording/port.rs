//! Findings about the port.

use super::Words;
use crate::model::{Holder, NextStep, PortFinding, PortProblem, ProcessFile, Row, Source, Supervisor};

/// The text of a finding.
pub fn words(finding: &PortFinding) -> Words {
    let port = finding.port;
    let listens = |pid: u32| Row::new("listening pid", pid, Source::SocketHolders);
    let examined = finding.examined.unwrap_or(0);
    match &finding.problem {
        PortProblem::HeldByOther { holder, address, expected_because } => Words {
            title: held_by_other(port, holder),
            evidence: vec![
                listens(holder.pid),
                command_of(holder),
                Row::new("address", address.clone(), Source::Sockets),
                Row::new("why a Hermes server is expected there", expected_because.clone(), "host configuration"),
            ],
            next: vec![
                see_listeners("list the listeners", port),
                NextStep::say("If that program should be there, examine it with --kind other"),
            ],
        },
        PortProblem::OtherServer { holder, is_shared } => {
            let also = if *is_shared { "also " } else { "" };
            let kind = holder.kind.map_or("server", |kind| kind.title());
            Words {
                title: format!("port {port} is {also}held by another {kind}, pid {}", holder.pid),
                evidence: vec![
                    listens(holder.pid),
                    command_of(holder),
                    Row::new("examined pid", examined, "selection"),
                ],
                next: vec![NextStep::run("examine the owner", format!("hermes-doctor check --pid {}", holder.pid))],
            }
        }
        PortProblem::Rival { home, other_home, claim } => rival(port, listens(examined), home, other_home, claim),
        PortProblem::OtherKind { wanted, found } => not_the_named(
            port,
            format!("port {port} is held by {}, not by {}", found.title(), wanted.title()),
            (wanted.word(), found.word()),
            listens(examined),
        ),
        PortProblem::OtherHome { wanted, found } => not_the_named(
            port,
            format!("port {port} is held by the server of another home, {found}"),
            (wanted, found),
            listens(examined),
        ),
        PortProblem::BacklogFull { accept_queue, backlog } => Words {
            title: format!("{accept_queue} connections are pending; the backlog is {backlog}"),
            evidence: vec![
                Row::new("accept queue", *accept_queue, Source::Sockets),
                Row::new("backlog", *backlog, Source::Sockets),
            ],
            next: vec![see_listeners("show the queue", port)],
        },
    }
}

fn see_listeners(what: &str, port: u16) -> NextStep {
    NextStep::run(what, format!("hermes-doctor port --port {port}"))
}

fn command_of(holder: &Holder) -> Row {
    Row::new("command", holder.command.to_string(), Source::process(holder.pid, ProcessFile::CommandLine))
}

fn held_by_other(port: u16, holder: &Holder) -> String {
    let pid = holder.pid;
    match holder.front.as_deref() {
        Some("systemd") => {
            format!("systemd (pid {pid}) holds port {port} and starts the service at the first connection")
        }
        Some(front) => format!("{front} (pid {pid}) forwards port {port}"),
        None => {
            let program = holder.command.trim_matches('\'').split([' ', ':']).next().unwrap_or_default();
            format!("port {port} is held by {program} (pid {pid}), which is not a Hermes server")
        }
    }
}

fn rival(port: u16, listens: Row, home: &str, other_home: &str, claim: &Supervisor) -> Words {
    let source = || Source::Supervisor(claim.evidence.to_string());
    Words {
        title: format!(
            "port {port} is held by the server of {home}; {} is configured to use it for {other_home}",
            claim.title()
        ),
        evidence: vec![
            listens,
            Row::new("home of the server that listens", home, "its environment and command line"),
            Row::new(format!("home of {}", claim.title()), other_home, source()),
            Row::new("state of the supervisor", claim.state.as_deref().unwrap_or_default(), source()),
        ],
        next: vec![NextStep::say(
            "Give one of the two servers another port, in its unit, program or environment file",
        )],
    }
}

fn not_the_named(port: u16, title: String, (wanted, found): (&str, &str), listens: Row) -> Words {
    Words {
        title,
        evidence: vec![
            Row::new("requested", wanted, "command line"),
            Row::new("found", found, "command line and environment of the process"),
            listens,
        ],
        next: vec![see_listeners("list the listeners", port)],
    }
}
