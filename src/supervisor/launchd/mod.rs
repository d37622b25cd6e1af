//! launchd: its jobs, through launchctl(1), and their property lists on the disk. Everything compiles, and is tested, on
//! every system.

mod advice;
mod jobs;
pub mod plist;
mod query;
pub mod wire;

use super::advice::Verb;
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};

/// See the documentation of the module.
pub struct Launchd;

impl SupervisorBackend for Launchd {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::Launchd
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("LABEL")
    }

    fn programs(&self, host: &dyn Host, _supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        Ok(Collected { value: query::programs(host)?, gaps: Vec::new() })
    }

    fn program_named(&self, host: &dyn Host, name: &str) -> Option<Result<Program, Gap>> {
        Some(query::one(host, name))
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        advice::command(claim, verb)
    }
}
