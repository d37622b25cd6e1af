//! The commands of pm2.

use crate::model::Supervisor;
use crate::supervisor::advice::{Verb, as_owner, quoted, quoted_name};

/// The command for an action.
pub fn command(claim: &Supervisor, verb: Verb) -> Option<String> {
    // sudo does not keep HOME, where pm2 searches for its daemon.
    let home = claim.configuration.as_deref().filter(|_| claim.owner.is_some());
    let home = home.map_or(String::new(), |home| format!("PM2_HOME={} ", quoted(home)));
    Some(format!("{}{home}pm2 {} {}", as_owner(claim), verb.plain_word()?, quoted_name(claim)))
}
