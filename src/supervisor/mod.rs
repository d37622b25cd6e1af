//! Supervisors: one directory for each, with its wire format (`wire`, pure), its query (`query`, which reads through the
//! traits of `collect`), and the commands to print for it (`advice`, pure).
//!
//! [`BACKENDS`] lists them. Everything that differs between supervisors is a method of [`SupervisorBackend`].

pub mod advice;
pub mod container;
pub mod daemontools;
pub mod expect;
pub mod launchd;
pub mod openrc;
mod place;
pub mod pm2;
mod program;
mod respawn_loop;
pub mod role;
mod runit;
mod s6;
pub mod service_directory;
pub mod supervisord;
pub mod systemd;

pub use program::{Program, SupervisorProcess};

use crate::collect::{Collected, Host};
use crate::model::{Gap, GapDetail, GapReason, GapSubject, Supervisor, SupervisorKind};
use advice::Verb;
use std::time::Duration;

/// Time between two queries, while a supervisor is observed that answers through a tool or on a socket.
const DEFAULT_QUERY_INTERVAL: Duration = Duration::from_millis(240);

/// One kind of supervisor.
pub trait SupervisorBackend: Sync {
    /// Its kind. There is one backend for each kind.
    fn kind(&self) -> SupervisorKind;

    /// Names of its process. A process with such a name is queried without `--expect`.
    fn process_names(&self) -> &'static [&'static str] {
        &[]
    }

    /// The evidence that a process is such a supervisor, for one that no name identifies. `script` is the name of the
    /// script that an interpreter runs.
    fn recognise(&self, _name: &str, _argv: &[String], _script: Option<&str>) -> Option<&'static str> {
        None
    }

    /// The placeholder after the colon of `--expect KIND:PLACEHOLDER`; `None` if `--expect` has no such form.
    fn expected_name_placeholder(&self) -> Option<&'static str> {
        None
    }

    /// The name of a program for the name that the user gives with `--expect`.
    fn expected_name(&self, name: &str) -> String {
        name.to_owned()
    }

    /// The programs of a supervisor, with its claims. Claimed pids are those of the pid namespace of the doctor.
    ///
    /// # Errors
    /// A gap when the supervisor cannot be queried.
    fn programs(&self, _host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        let what = GapSubject::ProgramsOf { kind: supervisor.kind.clone() };
        Err(Gap::new(what, GapReason::Unsupported, GapDetail::VersionCannot))
    }

    /// One program by its name; `None` if it is found only among the programs of a supervising process.
    fn program_named(&self, _host: &dyn Host, _name: &str) -> Option<Result<Program, Gap>> {
        None
    }

    /// Time between two queries while it is observed.
    fn query_interval(&self) -> Duration {
        DEFAULT_QUERY_INTERVAL
    }

    /// Whether its restart counter leaves out the restarts that a user requested.
    fn counts_automatic_restarts_only(&self) -> bool {
        false
    }

    /// The command for an action; `None` if it has none.
    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String>;

    /// The command that prints the end of a log that is not a file. `name` is the quoted name of the program.
    fn log_command(&self, _claim: &Supervisor, _name: &str) -> Option<String> {
        None
    }
}

/// All supervisors, in the order in which help and messages name them.
pub const BACKENDS: &[&dyn SupervisorBackend] = &[
    &systemd::SYSTEM_MANAGER,
    &systemd::USER_MANAGER,
    &launchd::Launchd,
    &supervisord::Supervisord,
    &runit::RUNIT,
    &s6::S6,
    &daemontools::DAEMONTOOLS,
    &pm2::Pm2,
    &openrc::OpenRc,
    &container::DOCKER,
    &container::PODMAN,
    &respawn_loop::RespawnLoop,
];

/// The backend of a kind; `None` for a kind that this version does not know.
pub fn backend_of(kind: &SupervisorKind) -> Option<&'static dyn SupervisorBackend> {
    BACKENDS.iter().copied().find(|backend| backend.kind() == *kind)
}

/// Queries a supervisor for its programs.
///
/// # Errors
/// A gap when the supervisor cannot be queried.
pub fn programs(host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
    let what = GapSubject::ProgramsOf { kind: supervisor.kind.clone() };
    let unknown = || Gap::new(what, GapReason::Unsupported, GapDetail::VersionCannot);
    backend_of(&supervisor.kind).ok_or_else(unknown)?.programs(host, supervisor)
}

/// Time between two queries while a supervisor is observed.
pub fn query_interval(kind: &SupervisorKind) -> Duration {
    backend_of(kind).map_or(DEFAULT_QUERY_INTERVAL, SupervisorBackend::query_interval)
}

/// Whether the restart counter of a supervisor leaves out the restarts that a user requested.
pub fn counts_automatic_restarts_only(kind: &SupervisorKind) -> bool {
    backend_of(kind).is_some_and(SupervisorBackend::counts_automatic_restarts_only)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_backend_has_a_kind_and_process_names_of_its_own() {
        let (mut kinds, mut names) = (HashSet::new(), HashSet::new());
        for backend in BACKENDS {
            let kind = backend.kind();
            // A kind without an entry in the list of named kinds would be read as another program of that name.
            assert_eq!(SupervisorKind::from(kind.word()), kind);
            assert!(kinds.insert(kind.clone()), "{kind}");
            for name in backend.process_names() {
                assert!(names.insert(*name), "{name}");
                assert_eq!(role::classify(7, name, &[(*name).to_owned()]).name.as_deref(), Some(kind.word()));
            }
        }
    }
}
