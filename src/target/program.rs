//! Programs of supervisors, and how each was asked for.

use crate::collect::{ForeignPath, Host, Program, SupervisorProcess};
use crate::model::{Gap, Supervisor};
use crate::parse::cgroup::Unit;
use crate::parse::command::{HermesCommand, recognise_configured};

/// How a program was asked for, so that it can be asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramQuery {
    /// A supervising process, for the program of this name.
    Supervisor(SupervisorProcess, String),
    /// The manager of a unit.
    Unit(Unit),
    /// A job of launchd, by its target.
    Job(String),
    /// A service directory and the word for its supervisor.
    Service(String, ForeignPath),
    /// A process that was named.
    Process(u32),
}

/// A program, and how it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProgram {
    /// How.
    pub asked: ProgramQuery,
    /// What was answered.
    pub program: Program,
}

impl KnownProgram {
    /// Asks once more.
    pub fn again(&self, host: &dyn Host) -> Option<Program> {
        match &self.asked {
            ProgramQuery::Supervisor(supervisor, name) => {
                let programs = host.programs(supervisor).ok()?;
                programs.value.into_iter().find(|program| program.claim.name.as_ref() == Some(name))
            }
            ProgramQuery::Unit(unit) => host.unit(unit).ok(),
            ProgramQuery::Job(target) => host.job(target).ok(),
            ProgramQuery::Service(kind, directory) => host.service(kind, directory).ok(),
            ProgramQuery::Process(pid) => Some(of_process(host, *pid)),
        }
    }

    /// The command, recognised.
    pub fn command(&self) -> Option<HermesCommand> {
        recognise_configured(&self.program.command)
    }
}

/// All programs that could be asked for, and the supervisors that could not be asked.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// Whatever their command is.
    pub known: Vec<KnownProgram>,
    /// The others.
    pub unasked: Vec<(SupervisorProcess, Gap)>,
}

/// A process that was named as the one to expect, as its own claim.
pub fn of_process(host: &dyn Host, pid: u32) -> Program {
    let (claimed_pid, state) = match host.identify(pid) {
        Ok(_) => (Some(pid), "runs".to_owned()),
        Err(problem) => (None, problem.to_string()),
    };
    let claim = Supervisor {
        kind: "pid".to_owned(),
        name: Some(pid.to_string()),
        claimed_pid,
        evidence: format!("process {pid}"),
        state: Some(state),
        ..Supervisor::default()
    };
    let command = host.commands(&[pid]).pop().and_then(Result::ok).unwrap_or_default();
    Program { claim, command, ..Program::default() }.recognised()
}
