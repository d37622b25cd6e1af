//! The ancestry of a server up to pid 1, and related processes.

use super::Examination;
use super::claims::ObservedSupervisor;
use crate::collect::ForeignPath;
use crate::diagnose;
use crate::diagnose::ownership::{self, Ownership};
use crate::model::{
    ClaimState, Gap, GapDetail, GapReason, GapSubject, Hop, HostPath, Lineage, Note, Process, Relaunch, Role,
    Server, Sibling, Supervisor, SupervisorKind, id,
};
use crate::parse::cgroup::unit_of;
use crate::parse::command::{CommandRole, HermesCommand};
use crate::parse::mask;
use crate::parse::sockets::{TcpSocket, TcpState};
use crate::supervisor::role::{Classified, classify};
use crate::target::{home_of, is_confirmed, same_network};
use std::collections::HashSet;
use std::path::Path;

/// Maximum number of ancestors that are read; hosts nest only a few.
const MAX_HOPS: usize = 32;
/// Maximum number of other servers that are listed.
const MAX_SIBLINGS: usize = 64;
/// Maximum number of servers that are compared with the examined one.
const MAX_COMPARED: usize = 256;

impl Examination<'_> {
    /// Fills in `server.lineage`; for a server that does not run, only if a supervisor is expected.
    pub(super) fn lineage(&self, server: &mut Server) {
        let process = server.process.clone();
        let hops = process.as_ref().map_or_else(Vec::new, |process| self.hops(server, process));
        let cgroup = process.as_ref().and_then(|process| process.cgroup.clone());
        let unit = cgroup.as_deref().and_then(unit_of);
        let mut claims = self.claims(server, process.as_ref(), &hops, unit.as_ref());
        let facts = ownership::Facts {
            server,
            process: process.as_ref(),
            hops: &hops,
            unit: unit.as_ref().map(|unit| unit.name.as_str()),
            claims: &claims.raw,
            named: claims.named.as_ref(),
            is_observation_requested: self.request.observe.is_some(),
        };
        let Ownership { mut supervisor, expected, mut others, observed } = ownership::decide(&facts);
        if supervisor.kind == SupervisorKind::None || process.is_none() {
            self.note_unqueried(server);
        }
        if process.is_none() && expected.is_none() {
            return;
        }
        self.note_limit(server, &supervisor);
        let observed = observed.and_then(|observed| claims.observed(observed));
        let relaunch = observed.map(|observed| {
            let of = observed_claim(&observed, &supervisor, &others);
            let seen = self.observe(server, &observed, &of);
            // The pid that it claims now; at the first query it may have had none.
            let last = seen.pids.last().copied();
            let raw = claims.raw.iter_mut().map(|raw| &mut raw.claim);
            for claim in std::iter::once(&mut supervisor).chain(&mut others).chain(raw) {
                let is_its = hops.iter().any(|hop| claim.claimed_pid == Some(hop.pid));
                if claim.title() == of.title() && claim.claims_this != Some(true) && !is_its {
                    claim.claimed_pid = last.or(claim.claimed_pid);
                    claim.restarts = claim.restarts.map(|count| count.saturating_add(seen.restarts));
                }
            }
            seen
        });
        if process.is_none() {
            self.note_start(server, &supervisor, relaunch.as_ref());
        }
        let siblings = process.as_ref().map_or_else(Vec::new, |process| self.siblings(server, process));
        let relatives = self.relatives(&hops, std::iter::once(&supervisor).chain(&others), &siblings);
        let (detached, detached_because) = match &process {
            Some(process) => detachment(process, &hops),
            None => (false, Note::NoProcess),
        };
        server.lineage = Some(Lineage {
            hops,
            supervisor,
            expected,
            detached,
            detached_because,
            session: process.as_ref().map(|process| process.session),
            process_group: process.as_ref().map(|process| process.process_group),
            cgroup,
            unit: unit.map(|unit| unit.name).map(Into::into),
            markers: process.map(|process| process.markers).unwrap_or_default(),
            relaunch,
            claims: others,
            raw_claims: claims.raw,
            relatives,
            siblings,
        });
    }

    /// Adds related facts to the gap of a descriptor limit that could not be read.
    fn note_limit(&self, server: &mut Server, supervisor: &Supervisor) {
        const MAX_LOG_BYTES: usize = 64 * 1024;
        let is_limit = |gap: &&mut Gap| matches!(gap.what, GapSubject::DescriptorLimitOf { .. });
        let Some(gap) = server.gaps.iter_mut().find(is_limit) else { return };
        let policy = supervisor.policy.as_ref().filter(|_| supervisor.kind == SupervisorKind::Launchd);
        let limit = |word: &&str| word.starts_with("SoftResourceLimits.NumberOfFiles=");
        let setting = policy.map(|policy| policy.split(' ').find(limit).unwrap_or("none").into());
        let log = supervisor.log.as_deref().filter(|log| log.starts_with('/'));
        let log = log.and_then(|log| {
            self.survey
                .host
                .read_file(&self.log_of(supervisor, HostPath::from_kept(log).path()), MAX_LOG_BYTES)
                .ok()
        });
        let raised = log.and_then(|log| crate::parse::darwin::descriptor::raised_limit(&log));
        gap.detail = match (setting, raised) {
            (None, None) => return,
            (Some(setting), None) => GapDetail::MacLimitOfJob { setting },
            (None, Some((from, to))) => GapDetail::MacLimitRaised { from, to },
            (Some(setting), Some((from, to))) => GapDetail::MacLimitOfJobRaised { setting, from, to },
        };
    }

    /// Adds a gap for a server that is being started: its supervisor's process lives, is young, and was not
    /// replaced during the observation, so it is unknown whether the start succeeds. A launcher may take
    /// longer, with migrations at the first start.
    fn note_start(&self, server: &mut Server, supervisor: &Supervisor, relaunch: Option<&Relaunch>) {
        const GRACE_MS: u64 = 30_000;
        const LAUNCH_MS: u64 = 600_000;
        let state = supervisor.state.as_deref().unwrap_or_default();
        let stands_still = relaunch.is_none_or(|seen| seen.restarts == 0 && seen.pids.len() <= 1);
        let age =
            supervisor.claimed_pid.and_then(|pid| self.survey.process_of(pid)).and_then(|process| process.age_ms);
        let timeouts = if supervisor.is_launcher || state.contains("start-pre") { LAUNCH_MS } else { GRACE_MS };
        let (Some(pid), Some(age), true) =
            (supervisor.claimed_pid, age, stands_still && supervisor.claim_state != ClaimState::Restarting)
        else {
            return;
        };
        if age < timeouts {
            let seconds = age / 1000;
            let who = supervisor.title();
            let detail = GapDetail::RunsAs { name: who.into(), pid, seconds };
            let gap = Gap::new(diagnose::STARTING, GapReason::NotFound, detail);
            server.gaps.push(gap.blocking(&[id::SERVER_NOT_RUNNING]).blocking(id::HTTP));
        }
    }

    /// Other Hermes servers with the same port or home.
    fn siblings(&self, server: &mut Server, process: &Process) -> Vec<Sibling> {
        let survey = self.survey;
        let own = process.identity.pid;
        let family: HashSet<u32> = survey.relatives(own).into_iter().collect();
        let home = self.target.home.as_deref();
        let own_home = home
            .and_then(|home| survey.host.directory_identity(&ForeignPath::of_process(process.identity, home)).ok());
        let mut found = Vec::new();
        let is_other =
            |(pid, command): &&(u32, HermesCommand)| !family.contains(pid) && command.role == CommandRole::Server;
        let mut others: Vec<(u32, HermesCommand)> =
            survey.hermes_servers().iter().filter(is_other).cloned().collect();
        // Any user can start thousands of servers; those of the server's own user come first.
        if others.len() > MAX_COMPARED {
            let is_of_another = |pid: u32| survey.process_of(pid).is_none_or(|other| other.uid != process.uid);
            others.sort_by_cached_key(|(pid, _)| is_of_another(*pid));
            let what = GapSubject::MoreServers { count: others.len() - MAX_COMPARED };
            let detail = GapDetail::AtMostCompared { count: MAX_COMPARED };
            server.gaps.push(Gap::new(what, GapReason::NotAsked, detail));
            others.truncate(MAX_COMPARED);
        }
        for (pid, command) in others {
            if found.len() >= MAX_SIBLINGS {
                break;
            }
            let (Ok(identity), Some(other)) = (survey.host.identify(pid), survey.process_of(pid)) else { continue };
            let same_port =
                server.port.is_some_and(|port| same_network(process, &other) && self.holds_port(&other, port));
            let is_home = |path: &Path| {
                let there = survey.host.directory_identity(&ForeignPath::of_process(identity, path)).ok();
                own_home.is_some() && there == own_home
            };
            let same_home = home_of(survey, identity, &command).is_some_and(|path| is_home(&path));
            if !(same_port || same_home) || !is_confirmed(survey, identity, &command) {
                continue;
            }
            let argv = survey.command(pid);
            found.push(Sibling {
                pid,
                kind: command.kind,
                command: mask::command(&argv.iter().map(String::as_bytes).collect::<Vec<_>>()).into(),
                same_port,
                same_home,
                any_port: command.port == Some(0),
            });
        }
        found
    }

    fn holds_port(&self, process: &Process, port: u16) -> bool {
        let table = self.survey.sockets_of(Some(process));
        let is_its = |socket: &&TcpSocket| socket.state == TcpState::LISTEN && socket.local.port() == port;
        let inodes: HashSet<u64> = table.tcp.iter().filter(is_its).map(|socket| socket.inode).collect();
        !inodes.is_empty() && !self.survey.host.holders(&inodes, Some(&[process.identity.pid])).0.is_empty()
    }

    /// Related processes that are not ancestors of the server: those that supervisors claim instead, the
    /// supervisors themselves, and siblings, each with its ancestors up to the first that is already listed.
    fn relatives<'s>(
        &self,
        hops: &[Hop],
        claims: impl Iterator<Item = &'s Supervisor>,
        siblings: &[Sibling],
    ) -> Vec<Hop> {
        let mut known: HashSet<u32> = hops.iter().map(|hop| hop.pid).collect();
        let mut found = Vec::new();
        let of_claims: Vec<u32> = claims.flat_map(|claim| [claim.claimed_pid, claim.pid]).flatten().collect();
        for pid in of_claims.into_iter().chain(siblings.iter().map(|sibling| sibling.pid)) {
            let mut current = pid;
            let mut steps = 0;
            while current != 0 && steps < MAX_HOPS && known.insert(current) {
                // It may have ended meanwhile, like a failed start.
                let Ok(hop) = self.hop(current) else { break };
                current = hop.ppid;
                steps += 1;
                found.push(hop);
            }
        }
        found
    }

    fn hops(&self, server: &mut Server, process: &Process) -> Vec<Hop> {
        let mut hops = vec![Hop {
            pid: process.identity.pid,
            ppid: process.ppid,
            start_time: process.start_time.clone(),
            age_ms: process.age_ms,
            user: process.user.clone(),
            role: Role::Server,
            name: Some(server.kind.word().to_owned().into()),
            command: process.command.clone().unwrap_or_else(|| format!("[{}]", process.name).into()),
            evidence: Note::ExaminedProcess,
        }];
        let mut current = process.ppid;
        while current != 0 && hops.len() < MAX_HOPS && hops.iter().all(|hop| hop.pid != current) {
            match self.hop(current) {
                Ok(hop) => {
                    current = hop.ppid;
                    hops.push(hop);
                }
                Err(gap) => {
                    server.gaps.push(gap);
                    break;
                }
            }
        }
        hops
    }

    fn hop(&self, pid: u32) -> Result<Hop, Gap> {
        let host = self.survey.host;
        let identity = host
            .identify(pid)
            .map_err(|problem| Gap::new(GapSubject::Parent { pid }, GapReason::Vanished, problem.to_string()))?;
        let process = self.survey.process(identity)?.value;
        let argv = self.survey.command(pid);
        let Classified { role, name, evidence } = if pid == std::process::id() {
            Classified { role: Role::Demo, name: Some("demo".into()), evidence: Note::Demonstration.to_string() }
        } else {
            classify(pid, &process.name, &argv)
        };
        Ok(Hop {
            pid,
            ppid: process.ppid,
            start_time: process.start_time,
            age_ms: process.age_ms,
            user: process.user,
            role,
            name: name.map(Into::into),
            command: process.command.unwrap_or_else(|| format!("[{}]", process.name).into()),
            evidence: evidence.into(),
        })
    }
}

/// The claim of the observed supervisor.
fn observed_claim(observed: &ObservedSupervisor, supervisor: &Supervisor, others: &[Supervisor]) -> Supervisor {
    match observed {
        ObservedSupervisor::Loop(_) => supervisor.clone(),
        ObservedSupervisor::Program(known) => {
            let title = known.program.claim.title();
            let mut all = std::iter::once(supervisor).chain(others);
            all.find(|claim| claim.title() == title).unwrap_or(&known.program.claim).clone()
        }
    }
}

/// Whether the server has left its parent's session, and the evidence. This is not a verdict: see
/// [`Lineage::detached`].
fn detachment(process: &Process, hops: &[Hop]) -> (bool, Note) {
    let adopted = hops.get(1).is_some_and(|parent| parent.role == Role::Init) || process.ppid <= 1;
    let leads_session = process.session == i32::try_from(process.identity.pid).unwrap_or(-1);
    let reason = match (adopted, leads_session) {
        (true, true) => Note::AdoptedLeader,
        (true, false) => Note::Adopted,
        (false, true) => Note::LeadsSession,
        (false, false) => Note::InParentsSession,
    };
    (adopted, reason)
}
