//! The supervisors that claim the server, and the expected one. Each kind of supervisor is queried in its own
//! way.

use super::Examination;
use crate::model::{
    ClaimState, Expected, Gap, GapReason, Hop, PidFileState, Process, Role, Server, Supervisor, SupervisorKind, id,
};
use crate::parse::cgroup::{Unit, container_of, delegated_to};
use crate::parse::command::{CommandRole, HermesCommand, recognise};
use crate::parse::expect::Expect;
use crate::parse::mask;
use crate::target::{Fit, KnownProgram, ProgramQuery, ServerProfile, same_network};

/// Claims of the supervisors on this host about the server.
pub(super) struct Claims {
    /// The supervisor that claims the server; if none does, the expected one.
    pub supervisor: Supervisor,
    /// The expected supervisor.
    pub expected: Option<Expected>,
    /// Other supervisors for this server or for its port.
    pub others: Vec<Supervisor>,
    /// The supervisor to observe.
    pub watched: Option<ObservedSupervisor>,
}

/// A supervisor that can be observed.
pub(super) enum ObservedSupervisor {
    /// A supervisor that can be queried again.
    Program(Box<KnownProgram>),
    /// A shell loop, by its pid.
    Loop(u32),
}

impl Claims {
    fn of(supervisor: Supervisor, expected: Option<Expected>) -> Self {
        Self { supervisor, expected, others: Vec::new(), watched: None }
    }
}

/// The process and its ancestors, which all claims are compared with.
struct Chain<'a> {
    process: &'a Process,
    hops: &'a [Hop],
}

impl Chain<'_> {
    fn position(&self, pid: Option<u32>) -> Option<usize> {
        self.hops.iter().position(|hop| pid == Some(hop.pid))
    }
}

impl Examination<'_> {
    /// Queries all supervisors. Without a process it only determines the expected one.
    pub(super) fn claims(
        &self,
        server: &mut Server,
        process: Option<&Process>,
        hops: &[Hop],
        unit: Option<&Unit>,
    ) -> Claims {
        let home = server.home.as_ref().map(std::path::PathBuf::from);
        let wanted = ServerProfile {
            kind: server.kind,
            port: server.port,
            home: home.as_deref(),
            command: self.target.command.as_ref(),
            process,
        };
        let expect = self.request.selection.expect.as_ref();
        let fits = match expect {
            Some(Expect::NoSupervisor) => Vec::new(),
            _ => self.survey.programs_for(&wanted),
        };
        let chain = process.map(|process| Chain { process, hops });
        let mut claims = match (expect, &chain) {
            (Some(expect), _) if *expect != Expect::NoSupervisor => {
                self.as_expected(server, expect, &wanted, chain.as_ref())
            }
            (_, Some(chain)) => self.of_running(server, chain, unit, &fits),
            (_, None) => self.of_absent(server, &fits),
        };
        for (fit, known) in fits {
            // If the server has a supervisor, a matching command alone is not enough for a second one.
            if fit == Fit::Likely {
                continue;
            }
            let claim = judged(&known.program.claim, chain.as_ref());
            let is_named = claim.kind == claims.supervisor.kind && claim.name == claims.supervisor.name;
            // A program that is down and should be down does not affect this server.
            if is_named || claim.claim_state == ClaimState::Idle || known.program.is_oneshot {
                continue;
            }
            // The claim of the server's own supervisor is settled. Any other supervisor for it, or for its
            // port, may conflict.
            let is_content = claims.watched.is_none() && claims.supervisor.claims_this != Some(false);
            let does_something = !claim.claim_state.is_at_rest();
            if is_content && does_something && claim.claims_this != Some(true) {
                claims.watched = Some(ObservedSupervisor::Program(Box::new(known.clone())));
            }
            let evidence = match fit {
                Fit::Rival => format!("{}, configured for the same port", claim.evidence),
                _ => claim.evidence.clone(),
            };
            claims.others.push(Supervisor { evidence, ..claim });
        }
        claims.others.extend(server.pid_files.iter().filter(|file| file.state == PidFileState::Live).map(|file| {
            let named = self.target.pid_files.iter().find(|read| read.file.path == file.path);
            let claimed_pid = named.and_then(|read| read.names).map(|names| names.pid);
            Supervisor {
                kind: SupervisorKind::PidFile,
                name: Some(file.path.clone()),
                claimed_pid,
                claims_this: Some(claimed_pid.is_some() && claimed_pid == server.pid),
                evidence: file.detail.clone(),
                ..Supervisor::default()
            }
        }));
        if claims.supervisor.kind == SupervisorKind::None || chain.is_none() {
            self.note_unqueried(server);
        }
        claims
    }

    /// The supervisor that the user gave with `--expect`.
    fn as_expected(
        &self,
        server: &mut Server,
        expect: &Expect,
        wanted: &ServerProfile<'_>,
        chain: Option<&Chain<'_>>,
    ) -> Claims {
        let expected =
            Expected { kind: expect.kind(), name: expect.name(), pid: None, why: expect.to_string(), named: true };
        match self.survey.expected_program(expect, Some(wanted)) {
            Ok(Some(known)) => {
                let supervisor = judged(&known.program.claim, chain);
                Claims {
                    watched: (supervisor.claims_this != Some(true) && supervisor.claim_state != ClaimState::Idle
                        || self.request.observe.is_some())
                    .then(|| ObservedSupervisor::Program(Box::new(known))),
                    ..Claims::of(supervisor, Some(expected))
                }
            }
            Ok(None) => Claims::of(Supervisor::none("none was expected"), None),
            Err(gap) => {
                let supervisor = Supervisor {
                    kind: expected.kind.clone(),
                    name: Some(expected.name.clone()),
                    evidence: format!("it could not be asked: {}", gap.detail),
                    ..Supervisor::default()
                };
                server.gaps.push(gap.blocking(id::CLAIMS));
                Claims::of(supervisor, Some(expected))
            }
        }
    }

    /// Claims for a running server: the nearest supervisor among its ancestors, else the manager of its unit,
    /// else the runtime of its container. If none of them claims it, the supervisor that is configured for it
    /// elsewhere.
    fn of_running(
        &self,
        server: &mut Server,
        chain: &Chain<'_>,
        unit: Option<&Unit>,
        fits: &[(Fit, &KnownProgram)],
    ) -> Claims {
        let mut claims = if let Some((below, hop)) = nearest_supervisor(chain.hops) {
            self.of_parent(chain, below, hop)
        } else if let Some(unit) = unit {
            self.of_unit(server, chain, unit)
        } else if let Some(claims) = self.of_job(server, chain) {
            claims
        } else if let Some((runtime, short)) = chain.process.cgroup.as_deref().and_then(container_of) {
            self.of_container(server, chain, runtime, short)
        } else {
            let why = match chain.process.cgroup {
                Some(_) => "no supervisor among its parents, and its control group is no service",
                None => "no supervisor among its parents, and none names it",
            };
            Claims::of(Supervisor::none(why), None)
        };
        let is_claimed = claims.supervisor.claims_this == Some(true);
        if is_claimed {
            let supervisor = &claims.supervisor;
            claims.expected = Some(Expected {
                kind: supervisor.kind.clone(),
                name: supervisor.name.clone().unwrap_or_default(),
                pid: supervisor.pid,
                why: format!("it claims this server: {}", supervisor.evidence),
                named: false,
            });
        } else if claims.expected.is_none() && self.request.selection.expect.is_none() && server.kind.is_hermes() {
            let elsewhere = fits.iter().filter(|(fit, _)| matches!(fit, Fit::This | Fit::Likely));
            // The unit of the server's control group was queried before; it may be down on purpose.
            let elsewhere = elsewhere
                .filter(|(_, known)| {
                    !known.program.is_oneshot && known.program.claim.claim_state != ClaimState::Idle
                })
                .filter(|(_, known)| chain.position(known.program.claim.claimed_pid).is_none())
                .max_by_key(|(_, known)| rank(&known.program.claim));
            if let Some((_, known)) = elsewhere {
                claims = elsewhere_of(known, Some(chain));
            } else if let Some((pid, of_loop)) = self.respawn_loop(server, chain) {
                claims.supervisor = Supervisor {
                    kind: of_loop.kind.clone(),
                    name: Some(of_loop.name.clone()),
                    pid: Some(pid),
                    evidence: format!("pid {pid} starts this server, and this process is not below it"),
                    ..Supervisor::none("")
                };
                claims.watched = Some(ObservedSupervisor::Loop(pid));
                claims.expected = Some(of_loop);
            }
        }
        claims
    }

    /// Claims for a server that does not run: the program that should run it, preferring one that is active.
    fn of_absent(&self, server: &Server, fits: &[(Fit, &KnownProgram)]) -> Claims {
        let of_it =
            fits.iter().filter(|(fit, _)| *fit != Fit::Rival).filter(|(_, known)| !known.program.is_oneshot);
        let best = of_it
            .filter(|(_, known)| {
                known.program.claim.claim_state != ClaimState::Idle || known.program.is_enabled == Some(true)
            })
            .max_by_key(|(_, known)| rank(&known.program.claim));
        match best {
            Some((_, known)) => elsewhere_of(known, None),
            None => self.of_absent_loop(server),
        }
    }

    /// A shell loop with its server between two starts.
    fn of_absent_loop(&self, server: &Server) -> Claims {
        let wanted = self.survey.hermes().into_iter().find(|(_, command)| {
            command.role == CommandRole::RespawnLoop
                && command.kind == server.kind
                && command.port.or(server.kind.default_port()) == server.port.or(server.kind.default_port())
        });
        let Some((pid, _)) = wanted else {
            return Claims::of(Supervisor::none("no supervisor of this host is configured for it"), None);
        };
        let shown = mask::command(&self.survey.command(pid).iter().map(String::as_bytes).collect::<Vec<_>>());
        let why = format!("pid {pid} is a loop whose command is this server");
        let supervisor = Supervisor {
            kind: SupervisorKind::RespawnLoop,
            name: Some(shown.clone()),
            pid: Some(pid),
            evidence: why.clone(),
            is_launcher: true,
            ..Supervisor::none("")
        };
        let expected =
            Expected { kind: SupervisorKind::RespawnLoop, name: shown, pid: Some(pid), why, named: false };
        Claims { watched: Some(ObservedSupervisor::Loop(pid)), ..Claims::of(supervisor, Some(expected)) }
    }

    /// Claims for a server below a supervisor: the supervisor's own claim about the program. If the supervisor
    /// cannot be queried, being its child is enough.
    fn of_parent(&self, chain: &Chain<'_>, below: u32, hop: &Hop) -> Claims {
        let process = chain.process;
        let kind = match hop.role {
            Role::RespawnLoop => SupervisorKind::RespawnLoop,
            Role::Demo => SupervisorKind::Demo,
            _ => SupervisorKind::from(hop.name.as_deref().unwrap_or("supervisor")),
        };
        let known = self.survey.programs().known.iter().find(|known| {
            let claim = &known.program.claim;
            claim.pid == Some(hop.pid) && chain.position(claim.claimed_pid).is_some()
        });
        let claim = known.map(|known| known.program.claim.clone()).unwrap_or_default();
        let name = match (&claim.name, &kind) {
            (Some(name), _) => Some(name.clone()),
            (None, SupervisorKind::Supervisord) => process.markers.get("SUPERVISOR_PROCESS_NAME").cloned(),
            (None, _) => Some(hop.command.clone()),
        };
        let through = if below == process.identity.pid { "" } else { " through wrappers" };
        let supervisor = Supervisor {
            kind,
            name,
            pid: Some(hop.pid),
            claimed_pid: claim.claimed_pid.or(Some(below)),
            claims_this: Some(true),
            evidence: format!("pid {} ({}) is its parent{through}", hop.pid, hop.evidence),
            ..claim
        };
        let watched = match (known, hop.role) {
            (Some(known), _) => Some(ObservedSupervisor::Program(Box::new(known.clone()))),
            (None, Role::RespawnLoop) => Some(ObservedSupervisor::Loop(hop.pid)),
            (None, _) => None,
        };
        let watched = watched.filter(|_| self.is_observable(&supervisor, process));
        Claims { watched, ..Claims::of(supervisor, None) }
    }

    /// Whether a supervisor that claims the server is observed: on request, or if the server is young and was
    /// restarted often, so that it may be in a restart loop.
    fn is_observable(&self, supervisor: &Supervisor, process: &Process) -> bool {
        const YOUNG_MS: u64 = 15_000;
        let was_often = supervisor.restarts.is_some_and(|restarts| restarts >= crate::diagnose::MANY_RESTARTS);
        self.request.observe.is_some() || was_often && process.age_ms.is_some_and(|age| age < YOUNG_MS)
    }

    /// Queries the manager of the unit that the control group of the server belongs to. The control group alone proves
    /// nothing: it also contains orphans of an earlier activation, and processes that a login or cron service
    /// started.
    fn of_unit(&self, server: &mut Server, chain: &Chain<'_>, unit: &Unit) -> Claims {
        let asked = ProgramQuery::Unit(unit.clone());
        let known = self.survey.programs().known.iter().find(|known| known.asked == asked).cloned();
        let known = match known {
            Some(known) => Ok(known),
            None => self.survey.host.unit(unit).map(|program| KnownProgram { asked, program }),
        };
        match known {
            Ok(known) => self.of_known_unit(server, chain, unit, known),
            Err(gap) => self.of_unqueried_unit(server, chain, unit, gap),
        }
    }

    /// The launchd job with the pid of the server or of a wrapper around it. Every application that a user
    /// opened is a job too, and so is a remote login; a process started from there does not belong to that job.
    fn of_job(&self, server: &Server, chain: &Chain<'_>) -> Option<Claims> {
        let jobs = self.survey.programs().known.iter().filter(|known| matches!(known.asked, ProgramQuery::Job(_)));
        let above = jobs.filter_map(|known| Some((chain.position(known.program.claim.claimed_pid)?, known)));
        let (at, known) = above.min_by_key(|(at, _)| *at)?;
        let names_it = known.command().is_some_and(|command| command.kind == server.kind);
        let passes = |role| match role {
            Role::Launcher | Role::Wrapper | Role::Shell => true,
            Role::Other => names_it,
            _ => false,
        };
        if !chain.hops.iter().take(at + 1).skip(1).all(|hop| passes(hop.role)) {
            return None;
        }
        let claim = known.program.claim.clone();
        let through = match at {
            0 => String::new(),
            1 => ", its parent".to_owned(),
            _ => ", above it through wrappers".to_owned(),
        };
        let pid = claim.claimed_pid.unwrap_or(0);
        let evidence = format!("{} says pid {pid}{through}", claim.evidence);
        let supervisor = Supervisor { claims_this: Some(true), evidence, ..claim };
        let watched = self
            .is_observable(&supervisor, chain.process)
            .then(|| ObservedSupervisor::Program(Box::new(known.clone())));
        Some(Claims { watched, ..Claims::of(supervisor, None) })
    }

    fn of_known_unit(&self, server: &Server, chain: &Chain<'_>, unit: &Unit, known: KnownProgram) -> Claims {
        let (program, claim) = (&known.program, known.program.claim.clone());
        let position = chain.position(claim.claimed_pid);
        let through_login = position.is_some_and(|at| {
            let between = chain.hops.iter().take(at + 1);
            between
                .into_iter()
                .any(|hop| matches!(hop.role, Role::RemoteLogin | Role::Scheduler | Role::TerminalMultiplexer))
        });
        if let (Some(pid), Some(_), false) = (claim.claimed_pid, position, through_login) {
            let supervisor = Supervisor {
                claims_this: Some(true),
                evidence: format!("MainPID of {} is {pid}", unit.name),
                ..claim
            };
            let is_worth_it = self.is_observable(&supervisor, chain.process);
            let watched = is_worth_it.then(|| ObservedSupervisor::Program(Box::new(known)));
            return Claims { watched, ..Claims::of(supervisor, None) };
        }
        // A dashboard that was started from within the gateway's unit is not the server of that unit.
        let named_so = unit.name.contains("hermes") && unit.name.contains(server.kind.word());
        let of_kind = known.command().is_some_and(|command| command.certain && command.kind == server.kind);
        if !named_so && !of_kind && !is_command_of(&program.command, chain.process) {
            let why = format!("it was started below {}, which runs something else", unit.name);
            return Claims::of(Supervisor::none(why), None);
        }
        let own = chain.process.markers.get("INVOCATION_ID");
        let is_current = own.is_none() || program.invocation.is_none() || own == program.invocation.as_ref();
        if program.is_oneshot {
            let is_active = claim.state.as_deref().is_some_and(|state| state.starts_with("active"));
            if is_active && is_current {
                let evidence = format!(
                    "{} is a oneshot unit that has started it and remains active; nothing restarts it",
                    unit.name
                );
                return Claims::of(Supervisor { claims_this: Some(true), evidence, ..claim }, None);
            }
            let why = format!("it was started by {}, a oneshot unit that has finished", unit.name);
            return Claims::of(Supervisor::none(why), None);
        }
        let claimed = claim.claimed_pid.map_or("none".to_owned(), |pid| pid.to_string());
        let mut evidence = format!("MainPID of {} is {claimed}, not this process", unit.name);
        if !is_current {
            evidence.push_str("; its INVOCATION_ID is an earlier one of the unit");
        }
        let expected = Expected {
            kind: unit.kind(),
            name: unit.name.clone(),
            pid: None,
            why: "it is in that unit's control group, and the unit's command is this server".to_owned(),
            named: false,
        };
        let supervisor = Supervisor { claims_this: Some(false), evidence, ..claim };
        let watched = (!matches!(supervisor.claim_state, ClaimState::Idle | ClaimState::Finished))
            .then(|| ObservedSupervisor::Program(Box::new(known)));
        Claims { watched, ..Claims::of(supervisor, Some(expected)) }
    }

    /// Claim of a manager that cannot be queried: the activation that it publishes as a file may still identify
    /// it.
    fn of_unqueried_unit(&self, server: &mut Server, chain: &Chain<'_>, unit: &Unit, gap: Gap) -> Claims {
        let base = |claims_this, evidence| Supervisor {
            kind: unit.kind(),
            name: Some(unit.name.clone()),
            claims_this,
            evidence,
            ..Supervisor::default()
        };
        let current = self.survey.host.unit_invocation(unit);
        if let (Some(current), Some(own)) = (&current, chain.process.markers.get("INVOCATION_ID")) {
            let is_same = current == own;
            let which = if is_same { "the current one" } else { "an earlier one" };
            let expected = Expected {
                kind: unit.kind(),
                name: unit.name.clone(),
                pid: None,
                why: "its control group is that unit's".to_owned(),
                named: false,
            };
            let evidence = format!("its INVOCATION_ID is {which} of {}", unit.name);
            return Claims::of(base(Some(is_same), evidence), (!is_same).then_some(expected));
        }
        server.gaps.push(gap.blocking(&[id::UNSUPERVISED_SERVER, id::ORPHANED_SERVER]));
        let evidence = format!("its control group is that of {}, whose manager could not be asked", unit.name);
        Claims::of(base(None, evidence), None)
    }

    /// Claim of a container runtime, if it may be queried. The first process of the container is claimed in any
    /// case.
    fn of_container(
        &self,
        server: &mut Server,
        chain: &Chain<'_>,
        runtime: SupervisorKind,
        short: String,
    ) -> Claims {
        let is_init = chain.process.namespace_pids.last() == Some(&1);
        let evidence =
            if is_init { "it is the first process of its container" } else { "its control group is a container's" };
        // A user can choose the names of control groups below their own. The runtime of another user is not
        // queried for them.
        let owner = chain.process.cgroup.as_deref().and_then(delegated_to);
        if let Some(owner) = owner.filter(|owner| *owner != rustix::process::geteuid().as_raw()) {
            let detail =
                format!("the runtime of uid {owner} is asked by that user only: run hermes-doctor as that user");
            server.gaps.push(Gap::new(format!("{runtime} on container {short}"), GapReason::NotAsked, detail));
            let supervisor = Supervisor {
                kind: runtime,
                claims_this: is_init.then_some(true),
                evidence: format!("{evidence}, by its name below the manager of uid {owner}"),
                ..Supervisor::default()
            };
            return Claims::of(supervisor, None);
        }
        let supervisor = match self.survey.host.container(&runtime, &short) {
            // The runtime reports another process, so the name of the control group is not that of its
            // container.
            Ok(program)
                if program.claim.claimed_pid.is_some() && chain.position(program.claim.claimed_pid).is_none() =>
            {
                Supervisor::none(format!("{evidence}, and {} runs another process", program.claim.evidence))
            }
            Ok(program) => {
                let is_its = chain.position(program.claim.claimed_pid).is_some() || is_init;
                let evidence = format!("{evidence}, and {} names it", program.claim.evidence);
                Supervisor { claims_this: is_its.then_some(true), evidence, ..program.claim }
            }
            Err(gap) => {
                server.gaps.push(gap);
                Supervisor {
                    kind: runtime,
                    name: Some(short),
                    claims_this: is_init.then_some(true),
                    evidence: evidence.to_owned(),
                    ..Supervisor::default()
                }
            }
        };
        Claims::of(supervisor, None)
    }

    /// A loop on this host that starts this server and is not an ancestor of it: same kind, port, home, user
    /// and network. A loop with a running server of its own does not start this one.
    fn respawn_loop(&self, server: &Server, chain: &Chain<'_>) -> Option<(u32, Expected)> {
        let own = self.target.command.as_ref();
        let process = chain.process;
        self.survey.hermes().into_iter().find_map(|(pid, command)| {
            let is_above = chain.position(Some(pid)).is_some();
            if command.role != CommandRole::RespawnLoop || is_above || !is_same_server(server, own, &command) {
                return None;
            }
            let candidate = self.survey.process_of(pid)?;
            let same_place = candidate.uid == process.uid
                && same_network(&candidate, process)
                && (candidate.home.is_none() || process.home.is_none() || candidate.home == process.home);
            if !same_place || self.has_settled_server(pid) {
                return None;
            }
            let shown = mask::command(&self.survey.command(pid).iter().map(String::as_bytes).collect::<Vec<_>>());
            let why = format!("pid {pid} is a loop whose command is this server");
            Some((
                pid,
                Expected { kind: SupervisorKind::RespawnLoop, name: shown, pid: Some(pid), why, named: false },
            ))
        })
    }

    /// Whether a loop has a descendant server that has been running for longer than a failed start.
    fn has_settled_server(&self, pid: u32) -> bool {
        const SETTLED_MS: u64 = 15_000;
        self.survey.relatives(pid).into_iter().skip(1).any(|below| {
            let is_server =
                recognise(&self.survey.command(below)).is_some_and(|found| found.role == CommandRole::Server);
            let is_below = self.survey.ancestors(below).contains(&pid);
            let age = || self.survey.process_of(below)?.age_ms;
            is_below && is_server && age().is_some_and(|age| age >= SETTLED_MS)
        })
    }

    /// Adds a gap for supervisors that could have claimed the server and could not be queried.
    fn note_unqueried(&self, server: &mut Server) {
        let unasked = &self.survey.programs().unasked;
        let Some((first, gap)) = unasked.first() else { return };
        if self.request.selection.expect.is_some() {
            return;
        }
        let what = match unasked.len() {
            1 => format!("the claims of {} (pid {})", first.kind, first.pid),
            count => format!("the claims of {count} supervisors"),
        };
        let mut detail =
            format!("{}: {}", gap.what, if gap.detail.is_empty() { gap.reason.words() } else { &gap.detail });
        if gap.reason == GapReason::Permission {
            detail.push_str("; run as root to ask");
        }
        server.gaps.push(Gap::new(what, gap.reason, detail).blocking(id::CLAIMS));
    }
}

/// The claim of the observed supervisor.
pub(super) fn watched_claim(
    watched: &ObservedSupervisor,
    supervisor: &Supervisor,
    others: &[Supervisor],
) -> Supervisor {
    match watched {
        ObservedSupervisor::Loop(_) => supervisor.clone(),
        ObservedSupervisor::Program(known) => {
            let title = known.program.claim.title();
            let all = std::iter::once(supervisor).chain(others);
            all.into_iter().find(|claim| claim.title() == title).unwrap_or(&known.program.claim).clone()
        }
    }
}

/// A claim, compared with the ancestry of the server.
fn judged(claim: &Supervisor, chain: Option<&Chain<'_>>) -> Supervisor {
    let is_its = chain.is_some_and(|chain| chain.position(claim.claimed_pid).is_some());
    Supervisor { claims_this: Some(is_its), ..claim.clone() }
}

fn elsewhere_of(known: &KnownProgram, chain: Option<&Chain<'_>>) -> Claims {
    let claim = judged(&known.program.claim, chain);
    let state = claim.state.as_deref().unwrap_or("nothing");
    let supervisor = Supervisor { evidence: format!("{} says {state}", claim.evidence), ..claim.clone() };
    let expected = Expected {
        kind: claim.kind.clone(),
        name: claim.name.clone().unwrap_or_default(),
        pid: None,
        why: format!("its command is this server ({})", claim.evidence),
        named: false,
    };
    let does_something = !claim.claim_state.is_at_rest();
    let watched = does_something.then(|| ObservedSupervisor::Program(Box::new(known.clone())));
    Claims { watched, ..Claims::of(supervisor, Some(expected)) }
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

/// The first supervisor among the ancestors, without a login, scheduler or similar program in between, and the
/// pid directly below it.
fn nearest_supervisor(hops: &[Hop]) -> Option<(u32, &Hop)> {
    let mut below = hops.first()?.pid;
    for hop in hops.iter().skip(1) {
        if keeps_running(hop.role) {
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

fn is_same_server(server: &Server, own: Option<&HermesCommand>, other: &HermesCommand) -> bool {
    let default = server.kind.default_port();
    let same_port = other.port.or(default) == server.port.or(default);
    let same_home = match (own.and_then(|own| own.home.as_ref()), &other.home) {
        (Some(a), Some(b)) => a == b,
        _ => own.and_then(|own| own.profile.as_ref()) == other.profile.as_ref(),
    };
    other.kind == server.kind && same_port && same_home
}

/// Whether a configured command names the server's own script or program.
fn is_command_of(configured: &[String], process: &Process) -> bool {
    let argv = process.command.as_deref().and_then(shlex::split).unwrap_or_default();
    let telling = argv.iter().find(|word| word.ends_with(".py") || word.contains("hermes"));
    telling.is_some_and(|word| configured.iter().any(|configured| configured.contains(word.as_str())))
}

/// Whether a role is that of a program that restarts servers.
fn keeps_running(role: Role) -> bool {
    matches!(role, Role::Supervisor | Role::RespawnLoop | Role::Demo)
}
