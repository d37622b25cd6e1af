//! supervisord: XML-RPC on the socket that its configuration names.

mod advice;
mod query;
pub mod wire;

use super::advice::Verb;
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};

/// See the documentation of the module.
pub struct Supervisord;

impl SupervisorBackend for Supervisord {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::Supervisord
    }

    fn process_names(&self) -> &'static [&'static str] {
        &["supervisord"]
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("PROGRAM")
    }

    fn programs(&self, host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, supervisor)
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        advice::command(claim, verb)
    }
}
