//! Compares the owner of the port with the expected one.

use super::lineage::is_rival;
use super::verdict::Verdict;
use crate::model::{
    ClaimState, Holder, Listeners, Outcome, PortFinding, PortProblem, Raised, Server, Severity, id,
};
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
            Some(other) => {
                let problem = PortProblem::OtherServer { holder: other.clone(), is_shared: own_has_it };
                Some(raised(server, listeners, problem))
            }
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
    let full = full.map(|socket| {
        let backlog = socket.backlog.unwrap_or(0);
        raised(server, listeners, PortProblem::BacklogFull { accept_queue: socket.accept_queue, backlog })
    });
    verdict.decide(id::BACKLOG_FULL, full);
}

/// A critical problem of the port.
fn raised(server: &Server, listeners: &Listeners, problem: PortProblem) -> Raised {
    Raised::new(Severity::Critical, PortFinding { port: listeners.port, examined: server.pid, problem })
}

fn held_by_other(server: &Server, listeners: &Listeners) -> Option<Raised> {
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
    let problem = PortProblem::HeldByOther {
        holder: holder.clone(),
        address: foreign.address.to_string(),
        expected_because: server.expectation.port_belongs_because.clone().unwrap_or_default().to_string(),
    };
    let found = raised(server, listeners, problem);
    // A program in front of the server is meant to be there.
    Some(if holder.front.is_some() { Raised { severity: Severity::Info, ..found } } else { found })
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

/// A supervisor is configured to run a server of another home on this port, and cannot.
fn rival(server: &Server, listeners: &Listeners) -> Option<Raised> {
    let lineage = server.lineage.as_ref().filter(|_| server.kind.is_hermes())?;
    let claim = lineage.claims.iter().find(|claim| {
        is_rival(server, claim)
            && claim.claims_this == Some(false)
            && !matches!(claim.claim_state, ClaimState::Idle | ClaimState::Finished)
    })?;
    let text = |home: Option<String>| home.unwrap_or_default();
    let problem = PortProblem::Rival {
        home: text(server.home.as_ref().map(ToString::to_string)),
        other_home: text(claim.home.as_ref().map(ToString::to_string)),
        claim: claim.clone(),
    };
    Some(raised(server, listeners, problem))
}

/// The server on the port is a Hermes server, but of another kind or home than requested.
fn not_the_one_that_was_named(server: &Server, listeners: &Listeners) -> Option<Raised> {
    let expected = &server.expectation;
    let problem = match (expected.kind, &expected.home, &server.home) {
        (Some(wanted), ..) if wanted.is_hermes() && server.kind.is_hermes() && wanted != server.kind => {
            PortProblem::OtherKind { wanted, found: server.kind }
        }
        (_, Some(wanted), Some(home)) if wanted.trim_end_matches('/') != home.trim_end_matches('/') => {
            PortProblem::OtherHome { wanted: wanted.to_string(), found: home.to_string() }
        }
        _ => return None,
    };
    Some(raised(server, listeners, problem))
}
