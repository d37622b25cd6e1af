//! The programs of this host's supervisors, each supervisor queried at most once, and the programs that are for a given
//! server.

use super::homes::same_path;
use super::program::{KnownProgram, ProgramQuery, Programs, of_process};
use super::survey::same_network;
use super::{Selection, Survey};
use crate::collect::Collected;
use crate::model::{
    Fit, Gap, GapDetail, GapReason, GapSubject, HostPath, Process, Role, ServerKind, SupervisorKind,
};
use crate::parse::cgroup::Unit;
use crate::parse::command::{CommandRole, HermesCommand, recognise_configured};
use crate::parse::sockets::TcpState;
use crate::supervisor::expect::Expect;
use crate::supervisor::role::classify;
use crate::supervisor::{self, Program, SupervisorProcess, systemd};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// Supervisors that are queried for each user.
const MAX_SUPERVISORS: usize = 256;
/// Programs that are compared with servers, for each user other than root.
const MAX_PROGRAMS: usize = 512;

/// The facts of a server that programs are compared with.
#[derive(Clone, Copy, Debug)]
pub struct ServerProfile<'a> {
    /// Kind of server; `Other` for a program that holds a port on which a Hermes server belongs.
    pub kind: ServerKind,
    /// Its port.
    pub port: Option<u16>,
    /// Its home.
    pub home: Option<&'a Path>,
    /// Its command line, where it is running.
    pub command: Option<&'a HermesCommand>,
    /// Its process, where it is running.
    pub process: Option<&'a Process>,
}

impl ServerProfile<'_> {
    /// Compares a program's configuration with the server: by the port where both have one, then by the home, and
    /// without either by the directory of the command.
    pub fn fit(&self, program: &Program) -> Fit {
        let Some(command) = recognise_configured(&program.command) else { return Fit::Other };
        let said_port = program.claim.port;
        if !self.kind.is_hermes() {
            let is_its = said_port.is_some() && said_port == self.port;
            return if is_its { Fit::Rival } else { Fit::Other };
        }
        if command.kind != self.kind {
            return Fit::Other;
        }
        let homes = program.claim.home.as_ref().map(HostPath::path).zip(self.home);
        let same_home = homes.map(|(a, b)| same_path(a, b));
        let profiles = self.command.map(|own| own.profile == command.profile);
        let is_elsewhere = same_home == Some(false) || profiles == Some(false) && same_home.is_none();
        match (said_port, self.port) {
            (Some(said), Some(port)) if said != port => Fit::Other,
            (Some(_), Some(_)) if is_elsewhere => Fit::Rival,
            (Some(_), Some(_)) => Fit::This,
            _ if is_elsewhere => Fit::Other,
            _ if same_home == Some(true) => Fit::This,
            _ => {
                let own = self.command.and_then(|own| directory(&own.program));
                let is_usual = self.port.is_none() || self.port == self.kind.default_port();
                let is_same = match (directory(&command.program), own) {
                    (Some(a), Some(b)) => a == b,
                    // The server is not running, so nothing can be compared: the program gets the default port.
                    (Some(_), None) => self.command.is_none() && is_usual,
                    // `python -m hermes_cli.main gateway run` has no directory.
                    (None, _) => is_usual,
                };
                if is_same { Fit::Likely } else { Fit::Other }
            }
        }
    }
}

fn directory(program: &str) -> Option<&str> {
    program.rsplit_once('/').map(|(directory, _)| directory)
}

impl Survey<'_> {
    /// Queries every supervisor of this host for its Hermes programs, once.
    pub fn programs(&self) -> &Programs {
        self.programs.get_or_init(|| {
            let mut found = Programs::default();
            // Users with supervisors that do not answer: any user can start a hundred of them.
            let mut silent = HashSet::new();
            let mut left_of = HashMap::new();
            for supervisor in self.supervisors() {
                let owner = self.process_of(supervisor.pid).map(|process| process.uid).filter(|uid| *uid != 0);
                if let Some(owner) = owner.filter(|owner| silent.contains(owner)) {
                    let detail = GapDetail::AnotherHasNotAnswered { uid: owner };
                    let gap = Gap::new(
                        GapSubject::ProgramsOf { kind: supervisor.kind.clone() },
                        GapReason::NotAsked,
                        detail,
                    );
                    found.unasked.push((supervisor, gap));
                    continue;
                }
                match supervisor::programs(self.host, &supervisor) {
                    Ok(programs) => {
                        let mut programs = self.complete(programs);
                        let left = left_of.entry(owner).or_insert(MAX_PROGRAMS);
                        if owner.is_some() && programs.len() > *left {
                            let what = GapSubject::MorePrograms {
                                count: programs.len() - *left,
                                kind: supervisor.kind.clone(),
                            };
                            let detail = GapDetail::TooManyPrograms;
                            self.note(Gap::new(what, GapReason::NotAsked, detail));
                            programs.truncate(*left);
                        }
                        *left = left.saturating_sub(programs.len());
                        let known = |program| KnownProgram { asked: query_of(&supervisor, &program), program };
                        found.known.extend(programs.into_iter().map(known));
                    }
                    Err(gap) => {
                        silent.extend(owner.filter(|_| gap.reason == GapReason::Timeout));
                        found.unasked.push((supervisor, gap));
                    }
                }
            }
            found
        })
    }

    /// Records the gaps of the programs.
    fn complete(&self, programs: Collected<Vec<Program>>) -> Vec<Program> {
        let of_programs = programs.value.iter().flat_map(|program| &program.gaps).cloned();
        programs.gaps.into_iter().chain(of_programs).for_each(|gap| self.note(gap));
        programs.value
    }

    /// Processes of this host that are supervisors and can be queried.
    fn supervisors(&self) -> Vec<SupervisorProcess> {
        let names: HashMap<u32, String> = self
            .commands()
            .keys()
            .chain(std::iter::once(&1))
            .filter_map(|pid| Some((*pid, self.entry(*pid)?.name)))
            .collect();
        let name_of = |pid: u32| names.get(&pid).map_or("", String::as_str);
        let mut found: Vec<SupervisorProcess> = self
            .commands()
            .iter()
            .filter_map(|(pid, argv)| {
                let classified = classify(*pid, name_of(*pid), argv);
                let name = classified.name.filter(|_| classified.role == Role::Supervisor)?;
                let kind = SupervisorKind::from(name.as_str());
                supervisor::backend_of(&kind).is_some().then_some(SupervisorProcess { pid: *pid, kind, user: None })
            })
            .collect();
        if name_of(1) == "launchd" {
            found.push(SupervisorProcess { pid: 1, kind: SupervisorKind::Launchd, user: None });
        }
        for pid in names.iter().filter(|(_, name)| *name == "systemd").map(|(pid, _)| *pid) {
            let is_user = self.command(pid).iter().any(|word| word == "--user");
            let (kind, user) = match (pid, is_user) {
                (1, _) => (SupervisorKind::Systemd, None),
                (pid, true) => match self.process_of(pid) {
                    // Managers in a container answer on their own sockets.
                    Some(process) if process.foreign_mounts != Some(true) => {
                        (SupervisorKind::SystemdUser, Some(process.uid))
                    }
                    _ => continue,
                },
                _ => continue,
            };
            found.push(SupervisorProcess { pid, kind, user });
        }
        found.sort_by_key(|supervisor| supervisor.pid);
        let mut of_users: HashMap<Option<u32>, usize> = HashMap::new();
        found.retain(|supervisor| {
            let count = of_users.entry(self.process_of(supervisor.pid).map(|process| process.uid)).or_default();
            *count += 1;
            *count <= MAX_SUPERVISORS
        });
        for (_, count) in of_users.into_iter().filter(|(_, count)| *count > MAX_SUPERVISORS) {
            let what = GapSubject::MoreSupervisors { count: count - MAX_SUPERVISORS };
            self.note(Gap::new(what, GapReason::NotAsked, GapDetail::TooManySupervisors));
        }
        found
    }

    /// One process, read in full.
    pub fn process_of(&self, pid: u32) -> Option<Process> {
        Some(self.process(self.host.identify(pid).ok()?).ok()?.value)
    }

    /// Programs that are for a server, and programs that should have its port. Programs with another running server are
    /// left out.
    pub fn programs_for(&self, wanted: &ServerProfile<'_>) -> Vec<(Fit, &KnownProgram)> {
        let known = self.programs().known.iter();
        known.map(|known| (self.fit(known, wanted), known)).filter(|(fit, _)| *fit != Fit::Other).collect()
    }

    /// [`ServerProfile::fit`] with the facts of the program's process. These separate two profiles that run from one
    /// checkout: the process of the program does not listen on other ports, is in the same network namespace, and has
    /// the same home. A start that fails never listens.
    fn fit(&self, known: &KnownProgram, wanted: &ServerProfile<'_>) -> Fit {
        const SETTLED_MS: u64 = 15_000;
        let claim = &known.program.claim;
        if let (Some(server), Some(supervisor)) = (wanted.process, claim.pid.and_then(|pid| self.process_of(pid)))
            && !same_network(server, &supervisor)
        {
            return Fit::Other;
        }
        // A supervisor of a user can report anything. It runs a server of another user only if it is an ancestor of
        // that server.
        if let (Some(server), Some(owner)) = (wanted.process, claim.owner.filter(|owner| *owner != 0))
            && server.uid != owner
            && !claim.pid.is_some_and(|pid| self.ancestors(server.identity.pid).contains(&pid))
        {
            return Fit::Other;
        }
        let claimed = claim.claimed_pid.and_then(|pid| self.process_of(pid));
        let Some(claimed) = claimed else { return wanted.fit(&known.program) };
        let mut program = known.program.clone();
        program.claim.home = program.claim.home.or_else(|| claimed.home.clone());
        let fit = wanted.fit(&program);
        let own = claimed.identity.pid;
        let is_this = wanted
            .process
            .is_some_and(|server| server.identity.pid == own || self.ancestors(server.identity.pid).contains(&own));
        if fit == Fit::Other || is_this {
            return fit;
        }
        let ports = self.ports_below(own);
        if !ports.is_empty() && wanted.port.is_none_or(|port| !ports.contains(&port)) {
            return Fit::Other;
        }
        let is_another_users = wanted.process.is_some_and(|server| server.uid != claimed.uid);
        let is_settled = claimed.age_ms.is_some_and(|age| age >= SETTLED_MS);
        if fit == Fit::Likely && (is_another_users || is_settled) { Fit::Other } else { fit }
    }

    /// Ports in the doctor's network namespace that a process or one of its descendants listens on.
    pub fn ports_below(&self, pid: u32) -> HashSet<u16> {
        let below: Vec<u32> = self
            .relatives(pid)
            .into_iter()
            .filter(|relative| *relative == pid || self.ancestors(*relative).contains(&pid))
            .collect();
        let listening = self.sockets().tcp.iter().filter(|socket| socket.state == TcpState::LISTEN);
        let ports: HashMap<u64, u16> = listening.map(|socket| (socket.inode, socket.local.port())).collect();
        let inodes: HashSet<u64> = ports.keys().copied().collect();
        let held = self.host.holders(&inodes, Some(&below)).0;
        held.keys().filter_map(|inode| ports.get(inode).copied()).collect()
    }

    /// The program that `--expect` names. `server` is the examined server, where it is known.
    ///
    /// # Errors
    /// A gap when the supervisor cannot be queried, or does not know the program.
    pub fn expected_program(
        &self,
        expect: &Expect,
        server: Option<&ServerProfile<'_>>,
    ) -> Result<Option<KnownProgram>, Gap> {
        let what = expect.to_string();
        let of_unit = |unit: &str, user_manager| {
            let unit = Unit { name: unit.to_owned(), user_manager };
            let read = systemd::query::one(self.host, &unit);
            read.map(|program| KnownProgram { asked: ProgramQuery::Unit(unit), program })
        };
        let found = match expect {
            Expect::NoSupervisor => return Ok(None),
            Expect::Program { kind: SupervisorKind::Systemd, name } => of_unit(name, None),
            Expect::Program { kind: SupervisorKind::SystemdUser, name } => self.user_unit(name),
            Expect::Program { kind, name } => {
                match supervisor::backend_of(kind).and_then(|backend| backend.program_named(self.host, name)) {
                    Some(read) => read.map(|program| {
                        let name =
                            program.claim.scope.as_ref().map_or_else(|| name.clone(), |_| target_of(&program));
                        KnownProgram { asked: ProgramQuery::Named(kind.clone(), name), program }
                    }),
                    None => self.program_of(kind, name, server),
                }
            }
            Expect::Pid(pid) => {
                Ok(KnownProgram { asked: ProgramQuery::Process(*pid), program: of_process(self.host, *pid) })
            }
        };
        if let Ok(known) = &found {
            known.program.gaps.iter().for_each(|gap| self.note(gap.clone()));
        }
        found.map(Some).map_err(|gap| {
            let what = GapSubject::from(what);
            let detail = match gap.what == what {
                true => gap.detail,
                false => GapDetail::About { subject: Box::new(gap.what), detail: Box::new(gap.detail) },
            };
            Gap { detail, what, ..gap }
        })
    }

    /// A unit of a user's manager: that of the doctor's own user first, and as root any other that knows the unit.
    fn user_unit(&self, name: &str) -> Result<KnownProgram, Gap> {
        let me = rustix::process::geteuid();
        let managers = self.supervisors();
        let mut users: Vec<u32> = managers.iter().filter_map(|supervisor| supervisor.user).collect();
        users.sort_by_key(|user| (*user != me.as_raw(), *user));
        users.dedup();
        users.retain(|user| *user == me.as_raw() || me.is_root());
        let none = GapDetail::NoManager;
        let mut last = Gap::new(name, GapReason::NotFound, none);
        for user in users {
            let unit = Unit { name: name.to_owned(), user_manager: Some(user) };
            match systemd::query::one(self.host, &unit) {
                Ok(program) => return Ok(KnownProgram { asked: ProgramQuery::Unit(unit), program }),
                Err(gap) => last = gap,
            }
        }
        Err(last)
    }

    /// A program by its name, of any supervisor of that kind. Where several match, `server` decides.
    fn program_of(
        &self,
        kind: &SupervisorKind,
        name: &str,
        server: Option<&ServerProfile<'_>>,
    ) -> Result<KnownProgram, Gap> {
        let mut last = Gap::new(name, GapReason::NotFound, GapDetail::NoSupervisorOfKind { kind: kind.clone() });
        let mut others = Vec::new();
        let mut found = Vec::new();
        for supervisor in self.supervisors().into_iter().filter(|supervisor| supervisor.kind == *kind) {
            match supervisor::programs(self.host, &supervisor) {
                Ok(programs) => {
                    for program in self.complete(programs) {
                        if program.claim.name.as_deref() == Some(name) {
                            found.push(KnownProgram { asked: query_of(&supervisor, &program), program });
                        } else {
                            others.extend(program.claim.name);
                        }
                    }
                    let names = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                    last = Gap::new(
                        name,
                        GapReason::NotFound,
                        GapDetail::ListOfPrograms { kind: kind.clone(), names: names.into() },
                    );
                }
                Err(gap) => last = gap,
            }
        }
        if found.len() > 1 {
            let fits = |known: &KnownProgram| server.is_some_and(|server| self.fit(known, server) != Fit::Other);
            if found.iter().filter(|known| fits(known)).count() == 1 {
                found.retain(fits);
            }
        }
        if found.len() > 1 {
            let places: Vec<String> = found.iter().map(|known| known.program.claim.evidence.to_string()).collect();
            let detail = GapDetail::SeveralPrograms { places: (places.join(", ")).into() };
            return Err(Gap::new(name, GapReason::Malformed, detail));
        }
        found.pop().ok_or(last)
    }
}

fn query_of(supervisor: &SupervisorProcess, program: &Program) -> ProgramQuery {
    let name = program.claim.name.clone().unwrap_or_default().to_string();
    match &supervisor.kind {
        kind if kind.is_systemd() => ProgramQuery::Unit(Unit { name, user_manager: supervisor.user }),
        SupervisorKind::Launchd => ProgramQuery::Named(SupervisorKind::Launchd, target_of(program)),
        _ => ProgramQuery::Supervisor(supervisor.clone(), name),
    }
}

/// The target of a job, for launchctl(1): `gui/501/LABEL`.
fn target_of(program: &Program) -> String {
    let name = program.claim.name.as_deref().unwrap_or_default();
    program.claim.scope.as_ref().map_or_else(|| name.to_owned(), |scope| format!("{scope}/{name}"))
}

/// The Hermes server that a program runs: its claimed process, or the first server among the descendants.
pub fn server_of(survey: &Survey<'_>, program: &Program) -> Option<(u32, HermesCommand)> {
    let claimed = program.claim.claimed_pid?;
    survey.hermes().into_iter().find(|(pid, command)| {
        command.role == CommandRole::Server && (*pid == claimed || survey.ancestors(*pid).contains(&claimed))
    })
}

/// The kind of server that a stopped program should be: the selected one, else that of its command.
pub fn kind_of_program(program: &Program, selection: &Selection) -> ServerKind {
    let said = recognise_configured(&program.command).map(|command| command.kind);
    selection.kind.or(said).unwrap_or(ServerKind::Other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Supervisor;

    fn program(line: &str, port: Option<u16>, home: Option<&str>) -> Program {
        let claim = Supervisor { port, home: home.map(crate::model::HostPath::from), ..Supervisor::default() };
        Program { claim, command: shlex::split(line).unwrap(), ..Program::default() }.recognised()
    }

    fn fit(server: &str, port: Option<u16>, home: Option<&str>, program: &Program) -> Fit {
        let command = crate::parse::command::recognise(&shlex::split(server).unwrap()).unwrap();
        let home = home.map(Path::new);
        ServerProfile { kind: command.kind, port, home, command: Some(&command), process: None }.fit(program)
    }

    #[test]
    fn a_port_decides_where_both_say_one() {
        let server = "python /srv/hermes-webui/server.py";
        let unit = program("python /srv/hermes-webui/bootstrap.py 8787", None, None);
        assert_eq!(fit(server, Some(8787), None, &unit), Fit::This);
        assert_eq!(fit(server, Some(8790), None, &unit), Fit::Other);
        let of_a = program("python /srv/hermes-webui/server.py", Some(8787), Some("/home/a/.hermes"));
        assert_eq!(fit(server, Some(8787), Some("/home/a/.hermes"), &of_a), Fit::This);
        assert_eq!(fit(server, Some(8787), Some("/home/b/.hermes"), &of_a), Fit::Rival);
    }

    #[test]
    fn without_a_port_the_home_or_the_directory_decides() {
        let server = "python /srv/hermes-webui/server.py";
        let plain = program("python /srv/hermes-webui/server.py", None, None);
        assert_eq!(fit(server, Some(8787), None, &plain), Fit::Likely);
        let other = program("python /opt/hermes-webui/server.py", None, None);
        assert_eq!(fit(server, Some(8787), None, &other), Fit::Other);
        let of_home = program("python /opt/hermes-webui/server.py", None, Some("/home/a/.hermes"));
        assert_eq!(fit(server, Some(8787), Some("/home/a/.hermes/"), &of_home), Fit::This);
    }

    #[test]
    fn distinguishes_profiles_and_kinds() {
        let gateway = "python -m hermes_cli.main --profile work gateway run";
        let same = program("python -m hermes_cli.main --profile work gateway run --replace", None, None);
        let other = program("python -m hermes_cli.main gateway run --replace", None, None);
        let dashboard = program("hermes dashboard --port 9119", None, None);
        assert_eq!(fit(gateway, None, None, &same), Fit::Likely);
        assert_eq!(fit(gateway, None, None, &other), Fit::Other);
        assert_eq!(fit(gateway, None, None, &dashboard), Fit::Other);
    }

    #[test]
    fn a_program_of_another_kind_on_a_port_has_only_rivals() {
        let wanted =
            ServerProfile { kind: ServerKind::Other, port: Some(9119), home: None, command: None, process: None };
        assert_eq!(wanted.fit(&program("hermes dashboard --port 9119", None, None)), Fit::Rival);
        assert_eq!(wanted.fit(&program("hermes dashboard", None, None)), Fit::Other);
        assert_eq!(wanted.fit(&program("nginx", Some(9119), None)), Fit::Other);
    }
}
