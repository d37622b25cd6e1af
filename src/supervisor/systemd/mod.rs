//! systemd: its units, through systemctl(1), and unit files on the disk.

mod advice;
pub mod query;
pub mod wire;

use super::advice::Verb;
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};

/// The system manager, or the manager of a user.
pub struct Manager {
    kind: SupervisorKind,
}

/// The system manager.
pub const SYSTEM_MANAGER: Manager = Manager { kind: SupervisorKind::Systemd };

/// The manager of a user.
pub const USER_MANAGER: Manager = Manager { kind: SupervisorKind::SystemdUser };

impl SupervisorBackend for Manager {
    fn kind(&self) -> SupervisorKind {
        self.kind.clone()
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("UNIT")
    }

    /// The name of a unit with its suffix.
    fn expected_name(&self, name: &str) -> String {
        let has_suffix = name.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "service");
        if has_suffix { name.to_owned() } else { format!("{name}.service") }
    }

    fn programs(&self, host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, supervisor.user)
    }

    fn counts_automatic_restarts_only(&self) -> bool {
        true
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        Some(advice::command(claim, verb))
    }

    fn log_command(&self, claim: &Supervisor, name: &str) -> Option<String> {
        Some(advice::log_command(claim, name))
    }
}
