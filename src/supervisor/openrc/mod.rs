//! OpenRC, through `supervise-daemon`: one supervising process for each service, with its state in files below
//! `/run/openrc`.

mod query;
pub mod wire;

use super::advice::{Verb, as_owner, quoted_name};
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};
use std::time::Duration;

/// Time between two queries while it is observed. Its files are small.
const QUERY_INTERVAL: Duration = Duration::from_millis(40);

/// See the documentation of the module.
pub struct OpenRc;

impl SupervisorBackend for OpenRc {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::OpenRc
    }

    fn process_names(&self) -> &'static [&'static str] {
        &["supervise-daemon"]
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("SERVICE")
    }

    fn programs(&self, host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, supervisor.pid)
    }

    fn program_named(&self, host: &dyn Host, name: &str) -> Option<Result<Program, Gap>> {
        Some(query::named(host, name))
    }

    fn query_interval(&self) -> Duration {
        QUERY_INTERVAL
    }

    /// `rc-service NAME restart` starts a new supervising process, which counts from 0.
    fn counts_automatic_restarts_only(&self) -> bool {
        true
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        Some(format!("{}rc-service {} {}", as_owner(claim), quoted_name(claim), verb.plain_word()?))
    }
}
