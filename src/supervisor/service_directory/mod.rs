//! Service directories, the base of runit, s6 and daemontools: the supervising process has the directory of its service as
//! its working directory, and writes `supervise/status` in it.

mod query;
pub mod wire;

use super::advice::{Verb, as_owner, quoted_name};
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, ForeignPath, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};
use std::path::Path;
use std::time::Duration;

/// Time between two queries while a supervisor is observed. A status file is small.
const QUERY_INTERVAL: Duration = Duration::from_millis(40);

/// A supervisor with service directories.
pub struct ServiceDirectories {
    /// Its kind.
    pub kind: SupervisorKind,
    /// Name of its process.
    pub process: &'static [&'static str],
    /// The tool that controls a service.
    pub tool: &'static str,
    /// The word or option to start a service.
    pub start: &'static str,
    /// The word or option to stop a service.
    pub stop: &'static str,
    /// The word or option to restart a service.
    pub restart: &'static str,
}

impl SupervisorBackend for ServiceDirectories {
    fn kind(&self) -> SupervisorKind {
        self.kind.clone()
    }

    fn process_names(&self) -> &'static [&'static str] {
        self.process
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("DIR")
    }

    fn expected_name(&self, name: &str) -> String {
        let absolute = std::path::absolute(name).ok().and_then(|path| path.into_os_string().into_string().ok());
        absolute.unwrap_or_else(|| name.to_owned())
    }

    fn programs(&self, host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, supervisor)
    }

    fn program_named(&self, host: &dyn Host, name: &str) -> Option<Result<Program, Gap>> {
        Some(query::named(host, &self.kind, &ForeignPath::of_person(Path::new(name))))
    }

    fn query_interval(&self) -> Duration {
        QUERY_INTERVAL
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        let word = match verb {
            Verb::Start => self.start,
            Verb::Stop => self.stop,
            Verb::Restart => self.restart,
            Verb::ResetFailed => return None,
        };
        Some(format!("{}{} {word} {}", as_owner(claim), self.tool, quoted_name(claim)))
    }
}
