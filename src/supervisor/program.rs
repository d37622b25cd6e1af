//! Programs of supervisors.

use crate::model::{Gap, HostPath, Supervisor, SupervisorKind};
use crate::parse::command::{CommandRole, recognise_configured};

/// A supervisor that can be queried for its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorProcess {
    /// Its pid.
    pub pid: u32,
    /// Its kind, one that can be queried.
    pub kind: SupervisorKind,
    /// The user of a `systemd-user` manager.
    pub user: Option<u32>,
}

/// A program of a supervisor: the supervisor's claim, and what identifies the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The supervisor's claim. Whether it is about the examined server is decided later.
    pub claim: Supervisor,
    /// The configured command. It is recognised first and masked before it is shown.
    pub command: Vec<String>,
    /// Id of the current activation, where the supervisor gives one.
    pub invocation: Option<String>,
    /// Whether it is enabled at boot, where the supervisor has such a setting.
    pub is_enabled: Option<bool>,
    /// Whether the program is meant to finish (a oneshot unit): its supervisor does not restart it.
    pub is_oneshot: bool,
    /// Configuration files that could not be read.
    pub gaps: Vec<Gap>,
}

impl Program {
    /// Adds what the command contains: port, home, whether it is a launcher, and the masked command line.
    #[must_use]
    pub fn recognised(mut self) -> Self {
        if let Some(found) = recognise_configured(&self.command) {
            self.claim.is_launcher = found.role != CommandRole::Server;
            self.claim.port = found.port.filter(|port| *port != 0).or(self.claim.port);
            self.claim.home = found.home.map(|home| HostPath::from_kept(&home)).or(self.claim.home.take());
        }
        let words: Vec<&[u8]> = self.command.iter().map(String::as_bytes).collect();
        self.claim.command =
            Some(crate::parse::mask::command(&words)).filter(|line| !line.is_empty()).map(Into::into);
        self
    }
}
