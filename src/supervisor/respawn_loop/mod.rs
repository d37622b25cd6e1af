//! Shell loops that start a server again each time it ends. There is nothing to query: `examine` finds them in the process
//! table.

use super::SupervisorBackend;
use super::advice::Verb;
use crate::model::{Supervisor, SupervisorKind};

/// See the documentation of the module.
pub struct RespawnLoop;

impl SupervisorBackend for RespawnLoop {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::RespawnLoop
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        (verb == Verb::Stop).then(|| claim.pid.map(|pid| format!("kill {pid}")))?
    }
}
