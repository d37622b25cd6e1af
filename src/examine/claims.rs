//! Who claims the server, who should, and what they do about it: every supervisor is asked in its own way.

use super::Examination;
use crate::collect::{Program, SupervisorProcess, no_supervisor};
use crate::model::{Expected, Gap, GapReason, Hop, Process, Relaunch, Role, Server, Supervisor, id};
use crate::parse::cgroup::{Unit, container_of};
use crate::parse::command::{CommandRole, HermesCommand, recognise};
use crate::parse::role::classify;
use crate::parse::sockets::TcpState;
use crate::report::mask;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long an expected supervisor that does not claim the server is watched for new attempts.
const WATCH: Duration = Duration::from_secs(4);
/// The same for a supervisor that can be asked: it may wait some seconds between two attempts.
const WATCH_PROGRAM: Duration = Duration::from_secs(5);
/// Time between two looks at its children.
const EVERY: Duration = Duration::from_millis(40);

impl Examination<'_> {
    /// Who claims the server: the nearest supervisor above it, else the manager of its unit, else its container.
    pub(super) fn supervisor(
        &self,
        server: &mut Server,
        process: &Process,
        hops: &[Hop],
        unit: Option<&Unit>,
    ) -> (Supervisor, Option<Expected>) {
        if let Some((below, hop)) = nearest_supervisor(hops) {
            let kind = match hop.role {
                Role::RespawnLoop => "respawn-loop",
                Role::Demo => "demo",
                _ => hop.name.as_deref().unwrap_or("supervisor"),
            };
            // Its own word for the program; where it cannot be asked, its being the parent is enough.
            let asked = SupervisorProcess { pid: hop.pid, kind: kind.to_owned() };
            let own = self.survey.host.programs(&asked).unwrap_or_default();
            let own = own.into_iter().find(|program| hops.iter().any(|hop| program.pid == Some(hop.pid)));
            let name = match (&own, kind) {
                (Some(program), _) => Some(program.name.clone()),
                (None, "supervisord") => process.markers.get("SUPERVISOR_PROCESS_NAME").cloned(),
                (None, _) => Some(hop.command.clone()),
            };
            let supervisor = Supervisor {
                kind: kind.to_owned(),
                name,
                claimed_pid: own.as_ref().and_then(|program| program.pid).or(Some(below)),
                claims_this: Some(true),
                evidence: format!(
                    "pid {} ({}) is its parent{}",
                    hop.pid,
                    hop.evidence,
                    if below == process.identity.pid { "" } else { " through wrappers" }
                ),
                state: own.as_ref().map(|program| program.state.clone()),
                restarts: None,
                is_restarting: false,
                gave_up: false,
            };
            return (supervisor, None);
        }
        if let Some(unit) = unit {
            return self.systemd(server, process, hops, unit);
        }
        if let Some((runtime, short)) = process.cgroup.as_deref().and_then(container_of) {
            let is_init = process.namespace_pids.last() == Some(&1);
            let supervisor = Supervisor {
                kind: runtime.to_owned(),
                name: Some(short),
                claimed_pid: None,
                claims_this: is_init.then_some(true),
                evidence: if is_init {
                    "it is the first process of its container"
                } else {
                    "its control group is a container's"
                }
                .into(),
                state: None,
                restarts: None,
                is_restarting: false,
                gave_up: false,
            };
            return (supervisor, None);
        }
        (no_supervisor("no supervisor among its parents, and its control group is no service"), None)
    }

    /// Asks the manager of the unit in whose control group the server is. The control group alone decides nothing: an
    /// orphan of an earlier activation sits in it too, and so does whatever a login or cron service has started.
    fn systemd(
        &self,
        server: &mut Server,
        process: &Process,
        hops: &[Hop],
        unit: &Unit,
    ) -> (Supervisor, Option<Expected>) {
        let base = |claims: Option<bool>, evidence: String| Supervisor {
            kind: unit.kind().to_owned(),
            name: Some(unit.name.clone()),
            claimed_pid: None,
            claims_this: claims,
            evidence,
            state: None,
            restarts: None,
            is_restarting: false,
            gave_up: false,
        };
        let expected =
            |why: String| Expected { kind: unit.kind().to_owned(), name: unit.name.clone(), pid: None, why };
        let answer = self.survey.host.systemd_unit(unit);
        if let Ok(state) = answer {
            let claimed = state.main_pid.or(state.control_pid);
            let position = hops.iter().position(|hop| claimed == Some(hop.pid));
            let through_login = position.is_some_and(|at| {
                hops.iter()
                    .take(at + 1)
                    .any(|hop| matches!(hop.role, Role::RemoteLogin | Role::Scheduler | Role::TerminalMultiplexer))
            });
            // A dashboard that was started from within the gateway's unit is not that unit's server.
            let named_so = unit.name.contains("hermes") && unit.name.contains(server.kind.word());
            let runs_it = is_command_of(&state.exec_start, process) || named_so;
            let filled = |claims, evidence| Supervisor {
                claimed_pid: claimed,
                state: Some(state.state.clone()),
                restarts: state.restarts,
                is_restarting: false,
                gave_up: false,
                ..base(claims, evidence)
            };
            return match (position, through_login) {
                (Some(_), false) => {
                    (filled(Some(true), format!("MainPID of {} is {}", unit.name, claimed.unwrap_or(0))), None)
                }
                _ if runs_it => {
                    let evidence = format!(
                        "MainPID of {} is {}, not this process",
                        unit.name,
                        claimed.map_or("none".to_owned(), |pid| pid.to_string())
                    );
                    (
                        filled(Some(false), evidence),
                        Some(expected(
                            "it is in that unit's control group, and the unit's command is this server".to_owned(),
                        )),
                    )
                }
                _ => {
                    (no_supervisor(format!("it was started below {}, which runs something else", unit.name)), None)
                }
            };
        }
        let current = self.survey.host.unit_invocation(unit);
        let own = process.markers.get("INVOCATION_ID");
        if let (Some(current), Some(own)) = (&current, own) {
            let same = current == own;
            let evidence = format!(
                "its INVOCATION_ID is {} of {}",
                if same { "the current one" } else { "an earlier one" },
                unit.name
            );
            let why = "its control group is that unit's".to_owned();
            return (base(Some(same), evidence), (!same).then(|| expected(why)));
        }
        if let Err(gap) = answer {
            server.gaps.push(gap.blocking(&[id::UNSUPERVISED_SERVER, id::ORPHANED_SERVER]));
        }
        (base(None, format!("its control group is that of {}, whose manager could not be asked", unit.name)), None)
    }

    /// A loop on this host that starts this very server, and that the server is not below: same kind, port, home, user
    /// and network. A loop whose own server runs is content, and none of this server's.
    pub(super) fn respawn_loop(&self, server: &Server, hops: &[Hop]) -> Option<(u32, Expected)> {
        let own = self.patient.command.as_ref();
        let process = server.process.as_ref()?;
        self.survey.hermes().into_iter().find_map(|(pid, command)| {
            let is_above = hops.iter().any(|hop| hop.pid == pid);
            if command.role != CommandRole::RespawnLoop || is_above || !is_same_server(server, own, &command) {
                return None;
            }
            let candidate = self.survey.host.process(self.survey.host.identify(pid).ok()?).ok()?.value;
            let same_place = candidate.uid == process.uid
                && candidate.foreign_network == process.foreign_network
                && (candidate.home.is_none() || process.home.is_none() || candidate.home == process.home);
            if !same_place || self.has_settled_server(pid) {
                return None;
            }
            let shown = mask::command(&self.survey.command(pid).iter().map(String::as_bytes).collect::<Vec<_>>());
            let why = format!("pid {pid} is a loop whose command is this server");
            Some((pid, Expected { kind: "respawn-loop".into(), name: shown, pid: Some(pid), why }))
        })
    }

    /// Whether a loop has a server below it that has been running for longer than attempts in vain do.
    fn has_settled_server(&self, pid: u32) -> bool {
        const SETTLED_MS: u64 = 15_000;
        self.survey.relatives(pid).into_iter().skip(1).any(|below| {
            let is_server =
                recognise(&self.survey.command(below)).is_some_and(|found| found.role == CommandRole::Server);
            let is_below = self.survey.ancestors(below).contains(&pid);
            let age = || {
                let host = self.survey.host;
                host.process(host.identify(below).ok()?).ok()?.value.age_ms
            };
            is_below && is_server && age().is_some_and(|age| age >= SETTLED_MS)
        })
    }

    /// A supervisor's program that is this server by its command, although the server is not below that supervisor.
    pub(super) fn program_elsewhere(
        &self,
        server: &mut Server,
        process: &Process,
        hops: &[Hop],
    ) -> Option<Elsewhere> {
        let own = self.survey.command(process.identity.pid);
        let mut unreadable = 0_usize;
        for (pid, kind) in self.supervisors() {
            let supervisor = SupervisorProcess { pid, kind };
            // A supervisor above the server was asked before. A service manager is above everything, so that says nothing.
            let is_manager = supervisor.kind.starts_with("systemd");
            if !is_manager && hops.iter().any(|hop| hop.pid == pid) {
                continue;
            }
            match self.survey.host.programs(&supervisor) {
                Ok(programs) => {
                    let found = programs.into_iter().find(|program| {
                        runs_this_server(&program.command, server, &own)
                            && !program.is_idle
                            && !self.has_a_server_of_its_own(program, server)
                    });
                    if let Some(program) = found {
                        return Some(Elsewhere { supervisor, program });
                    }
                }
                Err(_) => unreadable += 1,
            }
        }
        if unreadable > 0 {
            let detail =
                format!("{unreadable} supervisors of this host could not be asked (run as root to ask them)");
            let gap = Gap::new("the claims of other supervisors", GapReason::Permission, detail);
            server.gaps.push(gap.blocking(&[id::ORPHANED_SERVER, id::UNSUPERVISED_SERVER]));
        }
        None
    }

    /// Whether a program's own process is a server that listens: two profiles run from one checkout, each with its own
    /// port, are told apart by that. An attempt in vain never listens.
    fn has_a_server_of_its_own(&self, program: &Program, server: &Server) -> bool {
        let Some(pid) = program.pid.filter(|pid| Some(*pid) != server.pid) else { return false };
        let listeners: HashSet<u64> = self
            .survey
            .sockets()
            .tcp
            .iter()
            .filter(|socket| socket.state == TcpState::LISTEN)
            .map(|socket| socket.inode)
            .collect();
        let relatives: Vec<u32> = self
            .survey
            .relatives(pid)
            .into_iter()
            .filter(|below| *below == pid || self.survey.ancestors(*below).contains(&pid))
            .collect();
        !self.survey.host.holders(&listeners, Some(&relatives)).0.is_empty()
    }

    /// The unit that should be running the server, asked again.
    pub(super) fn program_of_unit(&self, expected: &Expected) -> Option<Elsewhere> {
        let supervisor = SupervisorProcess { pid: 1, kind: expected.kind.clone() };
        let programs = self.survey.host.programs(&supervisor).ok()?;
        let program = programs.into_iter().find(|program| program.name == expected.name)?;
        Some(Elsewhere { supervisor, program })
    }

    /// Processes of this host that are supervisors which can be asked.
    fn supervisors(&self) -> Vec<(u32, String)> {
        const MOST: usize = 256;
        let names: HashMap<u32, &str> =
            self.survey.processes().iter().map(|entry| (entry.pid, entry.name.as_str())).collect();
        let mut found: Vec<(u32, String)> = self
            .survey
            .commands()
            .iter()
            .filter_map(|(pid, argv)| {
                let classified = classify(*pid, names.get(pid).copied().unwrap_or(""), argv);
                let kind = classified.name.filter(|_| classified.role == Role::Supervisor)?;
                matches!(kind.as_str(), "supervisord" | "runit" | "s6" | "daemontools").then_some((*pid, kind))
            })
            .collect();
        for entry in self.survey.processes().iter().filter(|entry| entry.name == "systemd") {
            let is_user = self.survey.command(entry.pid).iter().any(|word| word == "--user");
            match (entry.pid, is_user) {
                (1, _) => found.push((1, "systemd".to_owned())),
                (pid, true) if self.is_mine(pid) => found.push((pid, "systemd-user".to_owned())),
                _ => {}
            }
        }
        found.sort_unstable();
        found.truncate(MOST);
        found
    }

    /// Whether a process is of the user that the doctor runs as: only that user may ask a user's manager.
    fn is_mine(&self, pid: u32) -> bool {
        let uid = self.survey.host.identify(pid).ok().and_then(|id| self.survey.host.process(id).ok());
        uid.is_some_and(|read| read.value.uid == rustix::process::geteuid().as_raw())
    }

    /// Asks again and again for the pid that a supervisor claims; two different ones are enough.
    pub(super) fn watch_program(&self, elsewhere: &Elsewhere) -> Relaunch {
        self.progress.step("watching the supervisor that should be running it");
        let begun = Instant::now();
        let end = self.deadline.within(WATCH_PROGRAM);
        let mut relaunch = Relaunch::default();
        let mut now = Some(elsewhere.program.clone());
        loop {
            if let Some(pid) = now.as_ref().and_then(|program| program.pid)
                && relaunch.pids.last() != Some(&pid)
            {
                relaunch.pids.push(pid);
            }
            let count = now.as_ref().and_then(|program| program.restarts);
            relaunch.restarts = count.unwrap_or(0).saturating_sub(elsewhere.program.restarts.unwrap_or(0));
            if relaunch.is_repeated() || end.is_over() || elsewhere.program.gave_up {
                break;
            }
            // A manager is asked through its tool, which costs more than reading a file.
            let every = if elsewhere.supervisor.kind.starts_with("systemd") { EVERY * 6 } else { EVERY };
            std::thread::sleep(every.min(end.remaining()));
            let again = self.survey.host.programs(&elsewhere.supervisor).unwrap_or_default();
            now = again.into_iter().find(|program| program.name == elsewhere.program.name);
        }
        relaunch.observed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        relaunch
    }

    /// Watches a loop's children for new attempts; two different ones are enough.
    pub(super) fn watch(&self, parent: u32, server: &Server) -> Relaunch {
        self.progress.step("watching the loop that should be running it");
        let begun = Instant::now();
        let end = self.deadline.within(WATCH);
        let mut seen: HashMap<u32, bool> = HashMap::new();
        let mut relaunch = Relaunch::default();
        loop {
            for entry in self.survey.host.process_table().unwrap_or_default() {
                if entry.ppid != parent || entry.zombie || seen.get(&entry.pid) == Some(&true) {
                    continue;
                }
                let argv = self.survey.host.commands(&[entry.pid]).pop().and_then(Result::ok).unwrap_or_default();
                let starts_it = recognise(&argv)
                    .is_some_and(|command| command.kind == server.kind && command.role != CommandRole::RespawnLoop);
                seen.insert(entry.pid, starts_it);
                if starts_it {
                    relaunch.pids.push(entry.pid);
                }
            }
            if relaunch.pids.len() >= 2 || end.is_over() {
                break;
            }
            std::thread::sleep(EVERY.min(end.remaining()));
        }
        relaunch.observed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        relaunch
    }
}

/// A program that should be this server, at a supervisor that the server is not below.
pub(super) struct Elsewhere {
    supervisor: SupervisorProcess,
    program: Program,
}

impl Elsewhere {
    pub(super) fn expected(&self) -> Expected {
        Expected {
            kind: self.supervisor.kind.clone(),
            name: self.program.name.clone(),
            pid: None,
            why: format!("its command is this server ({})", self.program.source),
        }
    }

    pub(super) fn claim(&self, last_seen: Option<u32>) -> Supervisor {
        Supervisor {
            kind: self.supervisor.kind.clone(),
            name: Some(self.program.name.clone()),
            claimed_pid: self.program.pid.or(last_seen),
            evidence: format!("{} says {}", self.program.source, self.program.state),
            state: Some(self.program.state.clone()),
            restarts: self.program.restarts,
            is_restarting: self.program.is_restarting,
            gave_up: self.program.gave_up,
            ..no_supervisor("")
        }
    }
}

/// Whether a configured command starts this very server: the same kind, and the same port where the command names
/// one, else the same directory of the script.
fn runs_this_server(configured: &[String], server: &Server, own: &[String]) -> bool {
    let Some(command) = recognise(configured) else { return false };
    let directory = |program: &str| program.rsplit_once('/').map(|(directory, _)| directory.to_owned());
    let own = recognise(own);
    let same_directory = match (directory(&command.program), own.and_then(|own| directory(&own.program))) {
        (Some(a), Some(b)) => a == b,
        _ => false,
    };
    let same_port = command.port.filter(|port| *port != 0).map(|port| Some(port) == server.port);
    command.kind == server.kind && same_port.unwrap_or(same_directory)
}

/// The first supervisor above the server with nothing in between that starts things for somebody else, and the
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

/// Whether a unit's command names the server's own script or program.
fn is_command_of(exec_start: &str, process: &Process) -> bool {
    let argv = process.command.as_deref().and_then(shlex::split).unwrap_or_default();
    let telling = argv.iter().find(|word| word.ends_with(".py") || word.contains("hermes"));
    telling.is_some_and(|word| exec_start.contains(word.as_str()))
}

/// Whether a role is one that keeps servers running.
fn keeps_running(role: Role) -> bool {
    matches!(role, Role::Supervisor | Role::RespawnLoop | Role::Demo)
}
