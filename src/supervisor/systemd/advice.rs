//! The commands of systemctl(1) and journalctl(1).

use crate::model::{Supervisor, SupervisorKind};
use crate::supervisor::advice::{Verb, quoted_name};

/// The command for an action on a unit.
pub fn command(claim: &Supervisor, verb: Verb) -> String {
    let (word, name) = (verb.plain_word().unwrap_or("reset-failed"), quoted_name(claim));
    match (&claim.kind, manager_of(claim)) {
        (SupervisorKind::Systemd, _) => format!("systemctl {word} {name}"),
        (_, Some(user)) => {
            format!("sudo -u '#{user}' XDG_RUNTIME_DIR=/run/user/{user} systemctl --user {word} {name}")
        }
        (_, None) => format!("systemctl --user {word} {name}"),
    }
}

/// The command that prints the journal of a unit. `name` is quoted.
pub fn log_command(claim: &Supervisor, name: &str) -> String {
    match (&claim.kind, manager_of(claim)) {
        (SupervisorKind::Systemd, _) => format!("journalctl -u {name} -n 100 --no-pager"),
        (_, Some(user)) => format!("journalctl _UID={user} _SYSTEMD_USER_UNIT={name} -n 100 --no-pager"),
        (_, None) => format!("journalctl --user -u {name} -n 100 --no-pager"),
    }
}

/// The user of the user manager, if it is not the user that runs the doctor.
fn manager_of(claim: &Supervisor) -> Option<u32> {
    claim.scope.as_deref()?.strip_prefix("user ")?.parse().ok()
}
