//! Programs of supervisors, and the query that found each.

use crate::collect::Host;
use crate::model::{Gap, Supervisor, SupervisorKind};
use crate::parse::cgroup::Unit;
use crate::parse::command::{HermesCommand, recognise_configured};
use crate::supervisor::{self, Program, SupervisorProcess, systemd};

/// How a program was found, so that it can be queried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProgramQuery {
    /// A supervising process, and the name of the program.
    Supervisor(SupervisorProcess, String),
    /// The manager of a unit.
    Unit(Unit),
    /// The kind of a supervisor, and the name by which the program can be queried alone.
    Named(SupervisorKind, String),
    /// A process that the user named.
    Process(u32),
}

/// A program, and the query that found it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownProgram {
    /// The query.
    pub asked: ProgramQuery,
    /// The program as last read.
    pub program: Program,
}

impl KnownProgram {
    /// Queries the program again.
    pub fn again(&self, host: &dyn Host) -> Option<Program> {
        match &self.asked {
            ProgramQuery::Supervisor(supervisor, name) => {
                let programs = supervisor::programs(host, supervisor).ok()?;
                programs.value.into_iter().find(|program| program.claim.name.as_deref() == Some(name.as_str()))
            }
            ProgramQuery::Unit(unit) => systemd::query::one(host, unit).ok(),
            ProgramQuery::Named(kind, name) => supervisor::backend_of(kind)?.program_named(host, name)?.ok(),
            ProgramQuery::Process(pid) => Some(of_process(host, *pid)),
        }
    }

    /// Its command, recognised.
    pub fn command(&self) -> Option<HermesCommand> {
        recognise_configured(&self.program.command)
    }
}

/// All programs that were found, and the supervisors that could not be queried.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    /// Programs with any command.
    pub known: Vec<KnownProgram>,
    /// Supervisors that could not be queried, each with the reason.
    pub unasked: Vec<(SupervisorProcess, Gap)>,
}

/// The claim for a process that `--expect` names by its pid.
pub fn of_process(host: &dyn Host, pid: u32) -> Program {
    let (claimed_pid, state) = match host.identify(pid) {
        Ok(_) => (Some(pid), "runs".to_owned()),
        Err(problem) => (None, problem.to_string()),
    };
    let claim = Supervisor {
        kind: SupervisorKind::Process,
        name: Some(pid.to_string().into()),
        claimed_pid,
        evidence: format!("process {pid}").into(),
        state: Some(state.into()),
        ..Supervisor::default()
    };
    let command = host.commands(&[pid]).pop().and_then(Result::ok).unwrap_or_default();
    Program { claim, command, ..Program::default() }.recognised()
}
