//! Compares the owner of the port with the expected one.

use super::lineage::is_rival;
use super::verdict::{Verdict, finding};
use crate::model::{ClaimState, Evidence, Finding, Holder, Listeners, NextStep, Outcome, Server, Severity, id};
use crate::parse::health::is_hermes_answer;
use std::net::IpAddr;

/// Adds the findings about the port.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    let Some(listeners) = &server.listeners else { return };
    let is_own = |holder: &Holder| server.pid == Some(holder.pid) || holder.in_lineage == Some(true);
    if server.expectation.port_belongs_because.is_some() && !listeners.sockets.is_empty() {
        // If no holder could be identified, a gap reports it and nothing is decided.
        if !listeners.holders.is_empty() {
            verdict.decide(id::PORT_HELD, held_by_other(server, listeners));
        }
    }
    if server.pid.is_some() && !listeners.holders.is_empty() {
        let other = listeners.holders.iter().find(|holder| holder.kind.is_some() && !is_own(holder));
        let own_has_it = listeners.holders.iter().any(|holder| server.pid == Some(holder.pid));
        let found = match other.filter(|other| !own_has_it || shares_an_address(server, listeners, other)) {
            Some(other) => Some(unexpected_owner(server, listeners, other, own_has_it)),
            None => not_the_one_that_was_named(server, listeners)
                .or_else(|| rival(server, listeners))
                .filter(|_| own_has_it),
        };
        verdict.decide(id::PORT_OWNER_UNEXPECTED, found);
    }
    // A backlog of 0 holds one connection. This alone is normal for a moment on a busy server, unless it did
    // not answer.
    let refuses = server.health.as_ref().is_some_and(|health| health.outcome == Outcome::ConnectTimeout);
    let is_full = |backlog: u32, queue: u32| (backlog > 0 || refuses) && queue > backlog;
    let full = listeners
        .sockets
        .iter()
        .filter(|socket| listeners.is_served_by(server.pid, socket.inode))
        .find(|socket| socket.backlog.is_some_and(|backlog| is_full(backlog, socket.accept_queue)));
    verdict.decide(
        id::BACKLOG_FULL,
        full.map(|socket| {
            let backlog = socket.backlog.unwrap_or(0);
            finding(
                id::BACKLOG_FULL,
                Severity::Critical,
                format!("{} connections wait in an accept queue of {backlog}", socket.accept_queue),
                vec![
                    Evidence::new("accept queue", socket.accept_queue, "sock_diag"),
                    Evidence::new("backlog", backlog, "sock_diag"),
                ],
                vec![NextStep::run("see the queue", format!("hermes-doctor port --port {}", listeners.port))],
            )
        }),
    );
}

fn held_by_other(server: &Server, listeners: &Listeners) -> Option<Finding> {
    // Each address is checked separately: a Hermes server on one shows nothing about another program on
    // another.
    let holder_of = |pid: &u32| listeners.holders.iter().find(|holder| holder.pid == *pid);
    let foreign = listeners.sockets.iter().find(|socket| {
        !socket.holders.is_empty()
            && !socket.holders.iter().filter_map(holder_of).any(|holder| holder.kind.is_some())
    })?;
    let holder = foreign.holders.iter().find_map(holder_of)?;
    // Its own response identifies a Hermes server with an unknown command line.
    if let Some(health) = &server.health
        && server.pid == Some(holder.pid)
        && is_hermes_answer(health.server_header.as_deref(), health.answer.as_ref())
    {
        return None;
    }
    let because = server.expectation.port_belongs_because.clone().unwrap_or_default();
    let port = listeners.port;
    let evidence = vec![
        Evidence::new("pid that listens", holder.pid, "sock_diag and /proc/PID/fd"),
        Evidence::new("its command", holder.command.clone(), format!("/proc/{}/cmdline", holder.pid)),
        Evidence::new("address", foreign.address.clone(), "sock_diag"),
        Evidence::new("why a Hermes server belongs there", because, "host configuration"),
    ];
    let next = vec![
        NextStep::run("see who listens", format!("hermes-doctor port --port {port}")),
        NextStep::say("If that program is meant to be there, examine it with --kind other"),
    ];
    if let Some(front) = &holder.front {
        let title = match front.as_str() {
            "systemd" => format!(
                "systemd (pid {}) holds port {port} and starts the service at the first connection",
                holder.pid
            ),
            front => format!("{front} (pid {}) stands in front of port {port}", holder.pid),
        };
        return Some(finding(id::PORT_HELD, Severity::Info, title, evidence, next));
    }
    let program = holder.command.trim_matches('\'').split([' ', ':']).next().unwrap_or_default();
    let title = format!("port {port} is held by {program} (pid {}), which is no Hermes server", holder.pid);
    Some(finding(id::PORT_HELD, Severity::Critical, title, evidence, next))
}

/// Whether a client cannot determine which of the two servers it reaches: both have the same address
/// (SO_REUSEPORT), or loopback on different families. A second server on an address of its own (such as a
/// tailnet's) is healthy.
fn shares_an_address(server: &Server, listeners: &Listeners, other: &Holder) -> bool {
    let addresses = |pid: u32| {
        let held = listeners.sockets.iter().filter(move |socket| socket.holders.contains(&pid));
        held.filter_map(|socket| socket.address.parse::<IpAddr>().ok())
    };
    let is_local = |address: IpAddr| address.is_loopback() || address.is_unspecified();
    let own: Vec<IpAddr> = server.pid.into_iter().flat_map(addresses).collect();
    addresses(other.pid).any(|address| own.iter().any(|own| *own == address || is_local(*own) && is_local(address)))
}

fn unexpected_owner(server: &Server, listeners: &Listeners, other: &Holder, own_has_it: bool) -> Finding {
    let also = if own_has_it { "also " } else { "" };
    let kind = other.kind.map_or("server", |kind| kind.title());
    finding(
        id::PORT_OWNER_UNEXPECTED,
        Severity::Critical,
        format!("port {} is {also}held by another {kind}, pid {}", listeners.port, other.pid),
        vec![
            Evidence::new("pid that listens", other.pid, "sock_diag and /proc/PID/fd"),
            Evidence::new("its command", other.command.clone(), format!("/proc/{}/cmdline", other.pid)),
            Evidence::new("examined pid", server.pid.unwrap_or(0), "selection"),
        ],
        vec![NextStep::run("examine the owner", format!("hermes-doctor check --pid {}", other.pid))],
    )
}

/// A supervisor is configured to run a server of another home on this port, and cannot.
fn rival(server: &Server, listeners: &Listeners) -> Option<Finding> {
    let lineage = server.lineage.as_ref().filter(|_| server.kind.is_hermes())?;
    let claim = lineage.claims.iter().find(|claim| {
        is_rival(server, claim)
            && claim.claims_this == Some(false)
            && !matches!(claim.claim_state, ClaimState::Idle | ClaimState::Finished)
    })?;
    let port = listeners.port;
    let (own, other) = (server.home.clone().unwrap_or_default(), claim.home.clone().unwrap_or_default());
    let title = format!("port {port} is held by the server of {own}; {} is to have it for {other}", claim.title());
    let evidence = vec![
        Evidence::new("pid that listens", server.pid.unwrap_or(0), "sock_diag and /proc/PID/fd"),
        Evidence::new("home of the server that listens", own, "its environment and command line"),
        Evidence::new(format!("home of {}", claim.title()), other, claim.evidence.clone()),
        Evidence::new("its state", claim.state.clone().unwrap_or_default(), claim.evidence.clone()),
    ];
    let next =
        vec![NextStep::say("Give one of the two servers another port, in its unit, program or environment file")];
    Some(finding(id::PORT_OWNER_UNEXPECTED, Severity::Critical, title, evidence, next))
}

/// The server on the port is a Hermes server, but of another kind or home than requested.
fn not_the_one_that_was_named(server: &Server, listeners: &Listeners) -> Option<Finding> {
    let expected = &server.expectation;
    let port = listeners.port;
    let (title, wanted, found) = match (expected.kind, &expected.home, &server.home) {
        (Some(kind), ..) if kind.is_hermes() && server.kind.is_hermes() && kind != server.kind => {
            let title = format!("port {port} is held by {}, not by {}", server.kind.title(), kind.title());
            (title, kind.word().to_owned(), server.kind.word().to_owned())
        }
        (_, Some(wanted), Some(home)) if wanted.trim_end_matches('/') != home.trim_end_matches('/') => {
            let title = format!("port {port} is held by the server of another home, {home}");
            (title, wanted.to_string(), home.to_string())
        }
        _ => return None,
    };
    let evidence = vec![
        Evidence::new("asked for", wanted, "command line"),
        Evidence::new("found", found, "command line and environment of the process"),
        Evidence::new("pid that listens", server.pid.unwrap_or(0), "sock_diag and /proc/PID/fd"),
    ];
    let next = vec![NextStep::run("see who listens", format!("hermes-doctor port --port {port}"))];
    Some(finding(id::PORT_OWNER_UNEXPECTED, Severity::Critical, title, evidence, next))
}
