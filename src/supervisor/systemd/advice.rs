//! The commands of systemctl(1) and journalctl(1).

use crate::model::Supervisor;
use crate::supervisor::advice::{Verb, quoted_name};

/// The command for an action on a unit of the system manager.
pub fn of_system(claim: &Supervisor, verb: Verb) -> String {
    format!("systemctl {} {}", word(verb), quoted_name(claim))
}

/// The command for an action on a unit of a user manager.
pub fn of_user(claim: &Supervisor, verb: Verb) -> String {
    let (word, name) = (word(verb), quoted_name(claim));
    match manager_of(claim) {
        Some(user) => format!("sudo -u '#{user}' XDG_RUNTIME_DIR=/run/user/{user} systemctl --user {word} {name}"),
        None => format!("systemctl --user {word} {name}"),
    }
}

/// The command that prints the journal of a unit of a user manager. `name` is quoted.
pub fn log_of_user(claim: &Supervisor, name: &str) -> String {
    match manager_of(claim) {
        Some(user) => format!("journalctl _UID={user} _SYSTEMD_USER_UNIT={name} -n 100 --no-pager"),
        None => format!("journalctl --user -u {name} -n 100 --no-pager"),
    }
}

fn word(verb: Verb) -> &'static str {
    verb.plain_word().unwrap_or("reset-failed")
}

/// The user of the user manager, if it is not the user that runs the doctor.
fn manager_of(claim: &Supervisor) -> Option<u32> {
    claim.scope.as_deref()?.strip_prefix("user ")?.parse().ok()
}
