//! The commands of supervisorctl.

use crate::model::Supervisor;
use crate::supervisor::advice::{Verb, as_owner, quoted, quoted_name};

/// The command for an action.
pub fn command(claim: &Supervisor, verb: Verb) -> Option<String> {
    // supervisorctl reads these paths by default (Supervisor, "Configuration File").
    let usual = ["/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"];
    let file = claim.configuration.as_deref().filter(|file| !usual.contains(file));
    let option = file.map_or(String::new(), |file| format!("-c {} ", quoted(file)));
    Some(format!("{}supervisorctl {option}{} {}", as_owner(claim), verb.plain_word()?, quoted_name(claim)))
}
