//! Reads the claims of the supervisors on this host that can be about the server. Each kind of supervisor is queried in its own way;
//! `diagnose::ownership` decides which claim is valid.

use super::Examination;
use crate::diagnose::ownership::{Observed, nearest_supervisor};
use crate::model::{
    Expected, Fit, Gap, GapDetail, GapReason, GapSubject, Hop, Note, PidFileState, Process, RawClaim, Server,
    Supervisor, SupervisorKind, id,
};
use crate::parse::cgroup::{Unit, container_of, delegated_to};
use crate::parse::command::{CommandRole, HermesCommand, recognise};
use crate::parse::mask;
use crate::supervisor::expect::Expect;
use crate::supervisor::{container, systemd};
use crate::target::{KnownProgram, ProgramQuery, ServerProfile, same_network};

/// The claims, and how each can be queried again.
#[derive(Default)]
pub(super) struct Claims {
    /// The claims.
    pub raw: Vec<RawClaim>,
    /// For each claim its program; `None` where it cannot be queried again.
    pub programs: Vec<Option<KnownProgram>>,
    /// The supervisor that the user gave with `--expect`.
    pub named: Option<Expected>,
}

/// A supervisor that can be observed.
pub(super) enum ObservedSupervisor {
    /// A supervisor that can be queried again.
    Program(Box<KnownProgram>),
    /// A shell loop, by its pid.
    Loop(u32),
}

impl Claims {
    fn push(&mut self, raw: RawClaim, program: Option<KnownProgram>) {
        self.raw.push(raw);
        self.programs.push(program);
    }

    /// Changes the claim of a program that is among the claims; adds it if it is not.
    fn mark(&mut self, known: KnownProgram, raw: RawClaim, mark: impl Fn(&mut RawClaim)) {
        let same =
            self.programs.iter().position(|program| program.as_ref().is_some_and(|it| it.asked == known.asked));
        let at = same.unwrap_or_else(|| {
            self.push(raw, Some(known));
            self.raw.len() - 1
        });
        if let Some(raw) = self.raw.get_mut(at) {
            mark(raw);
        }
    }

    /// The supervisor to observe.
    pub fn observed(&self, observed: Observed) -> Option<ObservedSupervisor> {
        match observed {
            Observed::Claim(index) => {
                let known = self.programs.get(index)?.clone()?;
                Some(ObservedSupervisor::Program(Box::new(known)))
            }
            Observed::Loop(pid) => Some(ObservedSupervisor::Loop(pid)),
        }
    }
}

impl Examination<'_> {
    /// Queries all supervisors. `hops` is the ancestry of the process.
    pub(super) fn claims(
        &self,
        server: &mut Server,
        process: Option<&Process>,
        hops: &[Hop],
        unit: Option<&Unit>,
    ) -> Claims {
        let home = server.home.as_ref().map(|home| home.path().to_owned());
        let wanted = ServerProfile {
            kind: server.kind,
            port: server.port,
            home: home.as_deref(),
            command: self.target.command.as_ref(),
            process,
        };
        let expect = self.request.selection.expect.as_ref();
        let mut claims = Claims::default();
        let fits = self.survey.programs_for(&wanted);
        let fit_of = |known: &KnownProgram| {
            let fit = fits.iter().find(|(_, fitting)| std::ptr::eq(*fitting, known)).map(|(fit, _)| *fit);
            fit.filter(|_| expect != Some(&Expect::NoSupervisor)).unwrap_or_default()
        };
        for known in &self.survey.programs().known {
            let fit = fit_of(known);
            let is_above = hops.iter().any(|hop| known.program.claim.claimed_pid == Some(hop.pid));
            if fit != Fit::Other || is_above {
                claims.push(raw_claim(known, fit, process), Some(known.clone()));
            }
        }
        match (expect.filter(|expect| **expect != Expect::NoSupervisor), process) {
            (Some(expect), _) => self.add_expected(server, expect, &wanted, &mut claims),
            (None, Some(process)) => {
                if nearest_supervisor(hops).is_none() {
                    self.add_control_group(server, process, unit, &mut claims);
                }
                if let Some(found) = self.respawn_loop(server, process, hops) {
                    claims.push(found, None);
                }
            }
            (None, None) => self.absent_loop(server).into_iter().for_each(|found| claims.push(found, None)),
        }
        let live = server.pid_files.iter().filter(|file| file.state == PidFileState::Live);
        for file in live {
            let named = self.target.pid_files.iter().find(|read| read.file.path == file.path);
            let claim = Supervisor {
                kind: SupervisorKind::PidFile,
                name: Some((&*file.path).into()),
                claimed_pid: named.and_then(|read| read.names).map(|names| names.pid),
                evidence: Note::Text(file.detail.as_str().into()),
                ..Supervisor::default()
            };
            claims.push(RawClaim { claim, ..RawClaim::default() }, None);
        }
        claims
    }

    /// Adds the supervisor that the user gave with `--expect`.
    fn add_expected(&self, server: &mut Server, expect: &Expect, wanted: &ServerProfile<'_>, claims: &mut Claims) {
        let named = Expected {
            kind: expect.kind(),
            name: expect.name().into(),
            pid: None,
            why: expect.to_string().into(),
            named: true,
        };
        match self.survey.expected_program(expect, Some(wanted)) {
            Ok(Some(known)) => {
                let raw = raw_claim(&known, Fit::Other, wanted.process);
                claims.mark(known, raw, |raw| raw.is_expected = true);
            }
            Ok(None) => {}
            Err(gap) => {
                let claim = Supervisor {
                    kind: named.kind.clone(),
                    name: Some(named.name.clone()),
                    ..Supervisor::default()
                };
                let not_queried = Some(gap.detail.clone());
                claims.push(RawClaim { claim, is_expected: true, not_queried, ..RawClaim::default() }, None);
                server.gaps.push(gap.blocking(id::CLAIMS));
            }
        }
        claims.named = Some(named);
    }

    /// Adds the unit or container of the server's control group.
    fn add_control_group(&self, server: &mut Server, process: &Process, unit: Option<&Unit>, claims: &mut Claims) {
        if let Some(unit) = unit {
            self.add_unit(server, process, unit, claims);
        } else if let Some((runtime, short)) = process.cgroup.as_deref().and_then(container_of) {
            let raw = self.container(server, process, runtime, short);
            claims.push(RawClaim { is_of_control_group: true, ..raw }, None);
        }
    }

    fn add_unit(&self, server: &mut Server, process: &Process, unit: &Unit, claims: &mut Claims) {
        let asked = ProgramQuery::Unit(unit.clone());
        let known = self.survey.programs().known.iter().find(|known| known.asked == asked).cloned();
        let known = match known {
            Some(known) => Ok(known),
            None => systemd::query::one(self.survey.host, unit).map(|program| KnownProgram { asked, program }),
        };
        match known {
            Ok(known) => {
                let raw = raw_claim(&known, Fit::Other, Some(process));
                let is_named_after_server = unit.name.contains("hermes") && unit.name.contains(server.kind.word());
                claims.mark(known, raw, |raw| {
                    raw.is_of_control_group = true;
                    raw.is_named_after_server = is_named_after_server;
                });
            }
            // The activation that a manager publishes as a file may still identify the unit.
            Err(gap) => {
                let current = systemd::query::invocation(self.survey.host, unit);
                let own = process.markers.get("INVOCATION_ID");
                let is_current_activation = current.as_ref().zip(own).map(|(current, own)| *own == *current);
                let claim =
                    Supervisor { kind: unit.kind(), name: Some(unit.name.clone().into()), ..Supervisor::default() };
                let not_queried = Some(gap.detail.clone());
                let raw = RawClaim {
                    claim,
                    is_of_control_group: true,
                    is_current_activation,
                    not_queried,
                    ..RawClaim::default()
                };
                if is_current_activation.is_none() {
                    server.gaps.push(gap.blocking(&[id::UNSUPERVISED_SERVER, id::ORPHANED_SERVER]));
                }
                claims.push(raw, None);
            }
        }
    }

    /// The claim of a container runtime, if it may be queried.
    fn container(
        &self,
        server: &mut Server,
        process: &Process,
        runtime: SupervisorKind,
        short: String,
    ) -> RawClaim {
        // A user can choose the names of control groups below their own. The runtime of another user is not queried for them.
        let owner = process.cgroup.as_deref().and_then(delegated_to);
        if let Some(owner) = owner.filter(|owner| *owner != rustix::process::geteuid().as_raw()) {
            let detail = GapDetail::RuntimeOfUser { uid: owner };
            server.gaps.push(Gap::new(
                GapSubject::ContainerClaim { runtime: runtime.clone(), id: short.into() },
                GapReason::NotAsked,
                detail,
            ));
            let claim = Supervisor { kind: runtime, ..Supervisor::default() };
            let not_queried = Some(GapDetail::RuntimeBelow { uid: owner });
            return RawClaim { claim, not_queried, ..RawClaim::default() };
        }
        match container::query::named(self.survey.host, &runtime, &short) {
            Ok(program) => RawClaim { claim: program.claim, ..RawClaim::default() },
            Err(gap) => {
                server.gaps.push(gap);
                let claim = Supervisor { kind: runtime, name: Some(short.into()), ..Supervisor::default() };
                RawClaim { claim, not_queried: Some(String::new().into()), ..RawClaim::default() }
            }
        }
    }

    /// A loop on this host that starts this server and is not an ancestor of it: same kind, port, home, user
    /// and network. A loop with a running server of its own does not start this one.
    fn respawn_loop(&self, server: &Server, process: &Process, hops: &[Hop]) -> Option<RawClaim> {
        let own = self.target.command.as_ref();
        self.survey.hermes().into_iter().find_map(|(pid, command)| {
            let is_above = hops.iter().any(|hop| hop.pid == pid);
            if command.role != CommandRole::RespawnLoop || is_above || !is_same_server(server, own, &command) {
                return None;
            }
            let candidate = self.survey.process_of(pid)?;
            let same_place = candidate.uid == process.uid
                && same_network(&candidate, process)
                && (candidate.home.is_none() || process.home.is_none() || candidate.home == process.home);
            (same_place && !self.has_settled_server(pid)).then(|| self.claim_of_loop(pid, false))
        })
    }

    /// A loop with its server between two starts.
    fn absent_loop(&self, server: &Server) -> Option<RawClaim> {
        let wanted = self.survey.hermes().into_iter().find(|(_, command)| {
            command.role == CommandRole::RespawnLoop
                && command.kind == server.kind
                && command.port.or(server.kind.default_port()) == server.port.or(server.kind.default_port())
        });
        wanted.map(|(pid, _)| self.claim_of_loop(pid, true))
    }

    fn claim_of_loop(&self, pid: u32, is_launcher: bool) -> RawClaim {
        let shown = mask::command(&self.survey.command(pid).iter().map(String::as_bytes).collect::<Vec<_>>());
        let claim = Supervisor {
            kind: SupervisorKind::RespawnLoop,
            name: Some(shown.into()),
            pid: Some(pid),
            is_launcher,
            ..Supervisor::default()
        };
        RawClaim { claim, fit: Fit::This, ..RawClaim::default() }
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
    pub(super) fn note_unqueried(&self, server: &mut Server) {
        let unasked = &self.survey.programs().unasked;
        let Some((first, gap)) = unasked.first() else { return };
        if self.request.selection.expect.is_some() {
            return;
        }
        let what = match unasked.len() {
            1 => GapSubject::SupervisorClaims { kind: first.kind.clone(), pid: first.pid },
            count => GapSubject::SupervisorsClaims { count },
        };
        let detail = if gap.has_detail() { gap.detail.clone() } else { gap.reason.words().into() };
        let mut detail = GapDetail::About { subject: Box::new(gap.what.clone()), detail: Box::new(detail) };
        if gap.reason == GapReason::Permission {
            detail = GapDetail::AsRoot { detail: Box::new(detail) };
        }
        server.gaps.push(Gap::new(what, gap.reason, detail).blocking(id::CLAIMS));
    }
}

/// The claim of a program, with the facts that compare it with a process.
fn raw_claim(known: &KnownProgram, fit: Fit, process: Option<&Process>) -> RawClaim {
    let program = &known.program;
    let command = known.command();
    let own = process.and_then(|process| process.markers.get("INVOCATION_ID"));
    RawClaim {
        claim: Supervisor { claims_this: None, ..program.claim.clone() },
        fit,
        is_current_activation: program.invocation.as_ref().zip(own).map(|(current, own)| *own == *current),
        runs: command.as_ref().map(|command| command.kind),
        runs_certainly: command.is_some_and(|command| command.certain),
        names_command: process.is_some_and(|process| is_command_of(&program.command, process)),
        is_oneshot: program.is_oneshot,
        is_enabled: program.is_enabled,
        ..RawClaim::default()
    }
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
