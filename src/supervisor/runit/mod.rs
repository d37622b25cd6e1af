//! runit, through `runsv` and sv(8).

use super::advice::Verb;
use super::service_directory::{QUERY_INTERVAL, absolute, command, query};
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, ForeignPath, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};
use std::path::Path;
use std::time::Duration;

/// See the documentation of the module.
pub struct Runit;

impl SupervisorBackend for Runit {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::Runit
    }

    fn process_names(&self) -> &'static [&'static str] {
        &["runsv"]
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("DIR")
    }

    fn expected_name(&self, name: &str) -> String {
        absolute(name)
    }

    fn programs(&self, host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, supervisor)
    }

    fn program_named(&self, host: &dyn Host, name: &str) -> Option<Result<Program, Gap>> {
        Some(query::named(host, &self.kind(), &ForeignPath::of_person(Path::new(name))))
    }

    fn query_interval(&self) -> Duration {
        QUERY_INTERVAL
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        command("sv", ["up", "down", "restart"], claim, verb)
    }
}
