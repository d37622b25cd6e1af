//! systemd: its units, through systemctl(1), and unit files on the disk.

mod advice;
pub mod query;
pub mod wire;

use super::advice::Verb;
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};

/// The system manager.
pub struct SystemManager;

/// The manager of a user.
pub struct UserManager;

impl SupervisorBackend for SystemManager {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::Systemd
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("UNIT")
    }

    fn expected_name(&self, name: &str) -> String {
        unit_name(name)
    }

    fn programs(&self, host: &dyn Host, _supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, None)
    }

    fn counts_automatic_restarts_only(&self) -> bool {
        true
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        Some(advice::of_system(claim, verb))
    }

    fn log_command(&self, _claim: &Supervisor, name: &str) -> Option<String> {
        Some(format!("journalctl -u {name} -n 100 --no-pager"))
    }
}

impl SupervisorBackend for UserManager {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::SystemdUser
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("UNIT")
    }

    fn expected_name(&self, name: &str) -> String {
        unit_name(name)
    }

    fn programs(&self, host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, supervisor.user)
    }

    fn counts_automatic_restarts_only(&self) -> bool {
        true
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        Some(advice::of_user(claim, verb))
    }

    fn log_command(&self, claim: &Supervisor, name: &str) -> Option<String> {
        Some(advice::log_of_user(claim, name))
    }
}

/// The name of a unit with its suffix.
fn unit_name(name: &str) -> String {
    let has_suffix = name.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "service");
    if has_suffix { name.to_owned() } else { format!("{name}.service") }
}
