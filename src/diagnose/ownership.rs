//! Ownership: which supervisor claims the server, and which one should. A pure rule over the ancestry of the server and the claims of
//! supervisors, so that a saved report is judged by the same rule as a live host.

use super::MANY_RESTARTS;
use crate::model::{
    ClaimState, Expected, Fit, GapDetail, Hop, Lineage, Note, Process, RawClaim, Role, Server, Supervisor,
    SupervisorKind,
};

/// Maximum number of ancestors in a report that claims are compared with; a host nests only a few.
const MAX_HOPS: usize = 64;
/// Maximum age of a server that may be in a restart loop, in milliseconds.
const YOUNG_MS: u64 = 15_000;

/// The decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The supervisor that claims the server; if none does, the expected one.
    pub supervisor: Supervisor,
    /// The expected supervisor.
    pub expected: Option<Expected>,
    /// Other supervisors for this server or for its port, and pid files.
    pub others: Vec<Supervisor>,
    /// The supervisor to observe, if its actions could decide more.
    pub observed: Option<Observed>,
}

/// A supervisor to observe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// The program with this index among the claims.
    Claim(usize),
    /// A shell loop, by its pid.
    Loop(u32),
}

impl Ownership {
    fn of(supervisor: Supervisor, expected: Option<Expected>) -> Self {
        Self { supervisor, expected, others: Vec::new(), observed: None }
    }
}

/// The facts that the rule needs.
pub struct Facts<'a> {
    /// The server.
    pub server: &'a Server,
    /// Its process, if it runs.
    pub process: Option<&'a Process>,
    /// Its ancestry, the server first.
    pub hops: &'a [Hop],
    /// The systemd unit of its control group.
    pub unit: Option<&'a str>,
    /// All claims.
    pub claims: &'a [RawClaim],
    /// The supervisor that the user gave with `--expect`.
    pub named: Option<&'a Expected>,
    /// Whether the user requested an observation.
    pub is_observation_requested: bool,
}

/// Decides the ownership again from the claims of a report; a report of an older version has none.
pub(super) fn decide_again(server: &mut Server) {
    let Some(lineage) = &server.lineage else { return };
    if lineage.raw_claims.is_empty() {
        compare_older(server);
        return;
    }
    // It ended during the examination: the claims are those about the process that it had, and were decided then.
    if server.process.is_none() && !lineage.hops.is_empty() {
        return;
    }
    let facts = Facts {
        server,
        process: server.process.as_ref(),
        hops: lineage.hops.get(..MAX_HOPS).unwrap_or(&lineage.hops),
        unit: lineage.unit.as_deref(),
        claims: &lineage.raw_claims,
        named: lineage.expected.as_ref().filter(|expected| expected.named),
        is_observation_requested: false,
    };
    let Ownership { supervisor, expected, others, .. } = decide(&facts);
    if let Some(lineage) = &mut server.lineage {
        (lineage.supervisor, lineage.expected, lineage.claims) = (supervisor, expected, others);
    }
}

/// Claims of a report without raw claims: the decision of the older program stays, except where the claimed pid is that of the server.
fn compare_older(server: &mut Server) {
    let Some(pid) = server.pid else { return };
    let Some(Lineage { supervisor, claims, .. }) = &mut server.lineage else { return };
    for claim in std::iter::once(supervisor).chain(claims).filter(|claim| claim.claimed_pid == Some(pid)) {
        claim.claims_this = Some(true);
    }
}

/// Decides which supervisor claims the server.
pub fn decide(facts: &Facts<'_>) -> Ownership {
    let mut owned = match (facts.named, facts.process) {
        (Some(named), _) => facts.as_named(named),
        (None, Some(process)) => facts.of_running(process),
        (None, None) => facts.of_absent(),
    };
    for (index, raw) in facts.claims.iter().enumerate() {
        if raw.claim.kind == SupervisorKind::PidFile {
            continue;
        }
        // If the server has a supervisor, a matching command alone is not enough for a second one. A loop has no configuration.
        if matches!(raw.fit, Fit::Likely | Fit::Other) || raw.claim.kind == SupervisorKind::RespawnLoop {
            continue;
        }
        let claim = facts.compared(&raw.claim);
        let is_same = claim.kind == owned.supervisor.kind && claim.name == owned.supervisor.name;
        // A program that is down and should be down does not affect this server.
        if is_same || claim.claim_state == ClaimState::Idle || raw.is_oneshot {
            continue;
        }
        // The claim of the server's own supervisor is settled. Any other supervisor for it, or for its port, may conflict.
        let is_settled = owned.observed.is_none() && owned.supervisor.claims_this != Some(false);
        if is_settled && !claim.claim_state.is_at_rest() && claim.claims_this != Some(true) {
            owned.observed = Some(Observed::Claim(index));
        }
        let evidence = match raw.fit {
            Fit::Rival => format!("{}, configured for the same port", claim.evidence),
            _ => claim.evidence.clone().to_string(),
        };
        owned.others.push(Supervisor { evidence: evidence.into(), ..claim });
    }
    let pid_files = facts.claims.iter().filter(|raw| raw.claim.kind == SupervisorKind::PidFile);
    owned.others.extend(pid_files.map(|raw| Supervisor {
        claims_this: Some(raw.claim.claimed_pid.is_some() && raw.claim.claimed_pid == facts.server.pid),
        ..raw.claim.clone()
    }));
    owned
}

impl Facts<'_> {
    fn position(&self, pid: Option<u32>) -> Option<usize> {
        self.hops.iter().position(|hop| pid == Some(hop.pid))
    }

    fn indexed(&self) -> impl DoubleEndedIterator<Item = (usize, &RawClaim)> {
        self.claims.iter().enumerate()
    }

    /// A claim, compared with the ancestry of the server.
    fn compared(&self, claim: &Supervisor) -> Supervisor {
        Supervisor { claims_this: Some(self.position(claim.claimed_pid).is_some()), ..claim.clone() }
    }

    /// The supervisor that the user named.
    fn as_named(&self, named: &Expected) -> Ownership {
        let Some((index, raw)) = self.indexed().find(|(_, raw)| raw.is_expected) else {
            return Ownership::of(Supervisor::none("none was expected"), Some(named.clone()));
        };
        if let Some(why) = &raw.not_queried {
            let evidence = format!("it could not be asked: {why}");
            return Ownership::of(
                Supervisor { evidence: evidence.into(), ..raw.claim.clone() },
                Some(named.clone()),
            );
        }
        let supervisor = self.compared(&raw.claim);
        let is_idle = supervisor.claim_state == ClaimState::Idle;
        let is_open = supervisor.claims_this != Some(true) && !is_idle || self.is_observation_requested;
        let observed = is_open.then_some(Observed::Claim(index));
        Ownership { observed, ..Ownership::of(supervisor, Some(named.clone())) }
    }

    /// A running server: the nearest supervisor among its ancestors, else the manager of its unit, else the runtime of its container. If
    /// none of them claims it, the supervisor that is configured for it elsewhere.
    fn of_running(&self, process: &Process) -> Ownership {
        let group = self.indexed().find(|(_, raw)| raw.is_of_control_group);
        let of_unit = group.filter(|(_, raw)| raw.claim.kind.is_systemd());
        let mut owned = if let Some((below, hop)) = nearest_supervisor(self.hops) {
            self.of_parent(process, below, hop)
        } else if let Some((index, raw)) = of_unit {
            self.of_unit(process, index, raw)
        } else if let Some(owned) = self.of_job(process) {
            owned
        } else if let Some((_, raw)) = group {
            self.of_container(process, raw)
        } else {
            let why = match process.cgroup {
                Some(_) => "no supervisor among its parents, and its control group is no service",
                None => "no supervisor among its parents, and none names it",
            };
            Ownership::of(Supervisor::none(why), None)
        };
        let is_unexpected = self.server.expectation.supervisor == Some(Note::NoSupervisor);
        let supervisor = &owned.supervisor;
        if supervisor.claims_this == Some(true) {
            owned.expected = Some(Expected {
                kind: supervisor.kind.clone(),
                name: supervisor.name.clone().unwrap_or_default(),
                pid: supervisor.pid,
                why: format!("it claims this server: {}", supervisor.evidence).into(),
                named: false,
            });
        } else if owned.expected.is_none() && !is_unexpected && self.server.kind.is_hermes() {
            // The unit of the server's control group was compared before; it may be down on purpose.
            let elsewhere = self
                .configured()
                .filter(|(_, raw)| matches!(raw.fit, Fit::This | Fit::Likely))
                .filter(|(_, raw)| raw.claim.claim_state != ClaimState::Idle)
                .filter(|(_, raw)| self.position(raw.claim.claimed_pid).is_none())
                .max_by_key(|(_, raw)| rank(&raw.claim));
            if let Some((index, raw)) = elsewhere {
                return self.of_elsewhere(index, raw);
            }
            if let Some(found) =
                self.of_loop(|pid| format!("pid {pid} starts this server, and this process is not below it"))
            {
                return found;
            }
        }
        owned
    }

    /// A server that does not run: the program that should run it, preferring one that is active.
    fn of_absent(&self) -> Ownership {
        let best = self
            .configured()
            .filter(|(_, raw)| matches!(raw.fit, Fit::This | Fit::Likely))
            .filter(|(_, raw)| raw.claim.claim_state != ClaimState::Idle || raw.is_enabled == Some(true))
            .max_by_key(|(_, raw)| rank(&raw.claim));
        if let Some((index, raw)) = best {
            return self.of_elsewhere(index, raw);
        }
        self.of_loop(why_loop).unwrap_or_else(|| {
            Ownership::of(Supervisor::none("no supervisor of this host is configured for it"), None)
        })
    }

    /// Programs that a supervisor keeps running by their configuration.
    fn configured(&self) -> impl DoubleEndedIterator<Item = (usize, &RawClaim)> {
        let is_other = |raw: &RawClaim| {
            raw.is_oneshot
                || raw.is_expected
                || matches!(raw.claim.kind, SupervisorKind::PidFile | SupervisorKind::RespawnLoop)
        };
        self.indexed().filter(move |(_, raw)| !is_other(raw))
    }

    /// A program elsewhere that is configured for the server.
    fn of_elsewhere(&self, index: usize, raw: &RawClaim) -> Ownership {
        let claim = self.compared(&raw.claim);
        let state = claim.state.as_deref().unwrap_or("nothing");
        let expected = Expected {
            kind: claim.kind.clone(),
            name: claim.name.clone().unwrap_or_default(),
            pid: None,
            why: format!("its command is this server ({})", claim.evidence).into(),
            named: false,
        };
        let observed = (!claim.claim_state.is_at_rest()).then_some(Observed::Claim(index));
        let supervisor = Supervisor { evidence: format!("{} says {state}", claim.evidence).into(), ..claim };
        Ownership { observed, ..Ownership::of(supervisor, Some(expected)) }
    }

    /// A loop that starts the server and is not an ancestor of it.
    fn of_loop(&self, evidence: impl Fn(u32) -> String) -> Option<Ownership> {
        let raw = self.claims.iter().find(|raw| raw.claim.kind == SupervisorKind::RespawnLoop)?;
        let pid = raw.claim.pid?;
        let expected = Expected {
            kind: raw.claim.kind.clone(),
            name: raw.claim.name.clone().unwrap_or_default(),
            pid: Some(pid),
            why: why_loop(pid).into(),
            named: false,
        };
        let supervisor =
            Supervisor { claims_this: Some(false), evidence: evidence(pid).into(), ..raw.claim.clone() };
        Some(Ownership { observed: Some(Observed::Loop(pid)), ..Ownership::of(supervisor, Some(expected)) })
    }

    /// A server below a supervisor: the supervisor's own claim about the program. If the supervisor was not queried, being its child is
    /// enough.
    fn of_parent(&self, process: &Process, below: u32, hop: &Hop) -> Ownership {
        let kind = match hop.role {
            Role::RespawnLoop => SupervisorKind::RespawnLoop,
            Role::Demo => SupervisorKind::Demo,
            _ => SupervisorKind::from(hop.name.as_deref().unwrap_or("supervisor")),
        };
        let known = self
            .indexed()
            .find(|(_, raw)| raw.claim.pid == Some(hop.pid) && self.position(raw.claim.claimed_pid).is_some());
        let claim = known.map(|(_, raw)| raw.claim.clone()).unwrap_or_default();
        let name = match (&claim.name, &kind) {
            (Some(name), _) => Some(name.clone()),
            (None, SupervisorKind::Supervisord) => process.markers.get("SUPERVISOR_PROCESS_NAME").cloned(),
            (None, _) => Some(hop.command.as_str().into()),
        };
        let through = if below == process.identity.pid { "" } else { " through wrappers" };
        let supervisor = Supervisor {
            kind,
            name,
            pid: Some(hop.pid),
            claimed_pid: claim.claimed_pid.or(Some(below)),
            claims_this: Some(true),
            evidence: format!("pid {} ({}) is its parent{through}", hop.pid, hop.evidence).into(),
            ..claim
        };
        let observed = match (known, hop.role) {
            (Some((index, _)), _) => Some(Observed::Claim(index)),
            (None, Role::RespawnLoop) => Some(Observed::Loop(hop.pid)),
            (None, _) => None,
        };
        let observed = observed.filter(|_| self.is_worth_observing(&supervisor, process));
        Ownership { observed, ..Ownership::of(supervisor, None) }
    }

    /// Whether a supervisor that claims the server is observed: on request, or if the server is young and was restarted often, so that it
    /// may be in a restart loop.
    fn is_worth_observing(&self, supervisor: &Supervisor, process: &Process) -> bool {
        let was_often = supervisor.restarts.is_some_and(|restarts| restarts >= MANY_RESTARTS);
        self.is_observation_requested || was_often && process.age_ms.is_some_and(|age| age < YOUNG_MS)
    }

    /// The launchd job with the pid of the server or of a wrapper around it. Every application that a user opened is a job too, and so is
    /// a remote login; a process started from there does not belong to that job.
    fn of_job(&self, process: &Process) -> Option<Ownership> {
        let jobs = self.indexed().filter(|(_, raw)| raw.claim.kind == SupervisorKind::Launchd);
        let above = jobs.filter_map(|(index, raw)| Some((self.position(raw.claim.claimed_pid)?, index, raw)));
        let (at, index, raw) = above.min_by_key(|(at, ..)| *at)?;
        let passes = |role| match role {
            Role::Launcher | Role::Wrapper | Role::Shell => true,
            Role::Other => raw.runs == Some(self.server.kind),
            _ => false,
        };
        if !self.hops.iter().take(at + 1).skip(1).all(|hop| passes(hop.role)) {
            return None;
        }
        let claim = raw.claim.clone();
        let through = match at {
            0 => String::new(),
            1 => ", its parent".to_owned(),
            _ => ", above it through wrappers".to_owned(),
        };
        let pid = claim.claimed_pid.unwrap_or(0);
        let evidence = format!("{} says pid {pid}{through}", claim.evidence);
        let supervisor = Supervisor { claims_this: Some(true), evidence: evidence.into(), ..claim };
        let observed = self.is_worth_observing(&supervisor, process).then_some(Observed::Claim(index));
        Some(Ownership { observed, ..Ownership::of(supervisor, None) })
    }

    /// The unit of the server's control group. The control group alone proves nothing: it also contains orphans of an earlier activation,
    /// and processes that a login or cron service started.
    fn of_unit(&self, process: &Process, index: usize, raw: &RawClaim) -> Ownership {
        let claim = raw.claim.clone();
        let unit = self.unit.or(claim.name.as_deref()).unwrap_or_default().to_owned();
        if raw.not_queried.is_some() {
            return of_unqueried_unit(raw, &unit);
        }
        let position = self.position(claim.claimed_pid);
        let through_login = position.is_some_and(|at| {
            let mut between = self.hops.iter().take(at + 1);
            between.any(|hop| matches!(hop.role, Role::RemoteLogin | Role::Scheduler | Role::TerminalMultiplexer))
        });
        if let (Some(pid), Some(_), false) = (claim.claimed_pid, position, through_login) {
            let evidence = format!("MainPID of {unit} is {pid}");
            let supervisor = Supervisor { claims_this: Some(true), evidence: evidence.into(), ..claim };
            let observed = self.is_worth_observing(&supervisor, process).then_some(Observed::Claim(index));
            return Ownership { observed, ..Ownership::of(supervisor, None) };
        }
        // A dashboard that was started from within the gateway's unit is not the server of that unit.
        let kind = self.server.kind;
        let runs_it = raw.names_command || raw.runs_certainly && raw.runs == Some(kind);
        if !raw.is_named_after_server && !runs_it {
            let why = format!("it was started below {unit}, which runs something else");
            return Ownership::of(Supervisor::none(why), None);
        }
        let is_current = raw.is_current_activation != Some(false);
        if raw.is_oneshot {
            if is_current && claim.claim_state == ClaimState::Running {
                let evidence =
                    format!("{unit} is a oneshot unit that has started it and remains active; nothing restarts it");
                return Ownership::of(
                    Supervisor { claims_this: Some(true), evidence: evidence.into(), ..claim },
                    None,
                );
            }
            let why = format!("it was started by {unit}, a oneshot unit that has finished");
            return Ownership::of(Supervisor::none(why), None);
        }
        let claimed = claim.claimed_pid.map_or("none".to_owned(), |pid| pid.to_string());
        let mut evidence = format!("MainPID of {unit} is {claimed}, not this process");
        if !is_current {
            evidence.push_str("; its INVOCATION_ID is an earlier one of the unit");
        }
        let why = "it is in that unit's control group, and the unit's command is this server";
        let expected = expected_unit(&claim.kind, unit, why);
        let is_done = matches!(claim.claim_state, ClaimState::Idle | ClaimState::Finished);
        let supervisor = Supervisor { claims_this: Some(false), evidence: evidence.into(), ..claim };
        let observed = (!is_done).then_some(Observed::Claim(index));
        Ownership { observed, ..Ownership::of(supervisor, Some(expected)) }
    }

    /// The container of the server's control group. The first process of the container is claimed in any case.
    fn of_container(&self, process: &Process, raw: &RawClaim) -> Ownership {
        let is_init = process.namespace_pids.last() == Some(&1);
        let evidence =
            if is_init { "it is the first process of its container" } else { "its control group is a container's" };
        let claim = raw.claim.clone();
        let is_its = self.position(claim.claimed_pid).is_some();
        let supervisor = match &raw.not_queried {
            Some(why) if *why == GapDetail::Nothing => {
                Supervisor { claims_this: is_init.then_some(true), evidence: evidence.to_owned().into(), ..claim }
            }
            Some(why) => {
                let evidence = format!("{evidence}, {why}");
                Supervisor { claims_this: is_init.then_some(true), evidence: evidence.into(), ..claim }
            }
            // The runtime reports another process, so the name of the control group is not that of its container.
            None if claim.claimed_pid.is_some() && !is_its => {
                Supervisor::none(format!("{evidence}, and {} runs another process", claim.evidence))
            }
            None => {
                let evidence = format!("{evidence}, and {} names it", claim.evidence);
                Supervisor { claims_this: (is_its || is_init).then_some(true), evidence: evidence.into(), ..claim }
            }
        };
        Ownership::of(supervisor, None)
    }
}

/// The unit of a manager that could not be queried: the activation that it publishes as a file may still identify it.
fn of_unqueried_unit(raw: &RawClaim, unit: &str) -> Ownership {
    let Some(is_current) = raw.is_current_activation else {
        let evidence = format!("its control group is that of {unit}, whose manager could not be asked");
        return Ownership::of(Supervisor { evidence: evidence.into(), ..raw.claim.clone() }, None);
    };
    let which = if is_current { "the current one" } else { "an earlier one" };
    let evidence = format!("its INVOCATION_ID is {which} of {unit}");
    let expected = expected_unit(&raw.claim.kind, unit.to_owned(), "its control group is that unit's");
    let supervisor = Supervisor { claims_this: Some(is_current), evidence: evidence.into(), ..raw.claim.clone() };
    Ownership::of(supervisor, (!is_current).then_some(expected))
}

fn expected_unit(kind: &SupervisorKind, name: String, why: &str) -> Expected {
    Expected { kind: kind.clone(), name: name.into(), pid: None, why: why.to_owned().into(), named: false }
}

fn why_loop(pid: u32) -> String {
    format!("pid {pid} is a loop whose command is this server")
}

/// Rank of a program among several for one server: one with activity ranks higher.
fn rank(claim: &Supervisor) -> u8 {
    match claim.claim_state {
        ClaimState::Restarting => 4,
        _ if claim.claimed_pid.is_some() => 3,
        ClaimState::GaveUp => 2,
        ClaimState::Finished => 1,
        _ => 0,
    }
}

/// The first supervisor among the ancestors, without a login, scheduler or similar program in between, and the pid directly below it.
pub fn nearest_supervisor(hops: &[Hop]) -> Option<(u32, &Hop)> {
    let mut below = hops.first()?.pid;
    for hop in hops.iter().skip(1) {
        if matches!(hop.role, Role::Supervisor | Role::RespawnLoop | Role::Demo) {
            return Some((below, hop));
        }
        if matches!(
            hop.role,
            Role::RemoteLogin | Role::Scheduler | Role::TerminalMultiplexer | Role::ContainerRuntime
        ) || hop.role == Role::Init && hop.ppid == 0
        {
            return None;
        }
        below = hop.pid;
    }
    None
}

#[cfg(test)]
mod tests;
