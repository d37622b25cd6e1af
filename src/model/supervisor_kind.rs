//! The kinds of supervisor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// A kind of supervisor, or of another program or file that claims a server. In JSON it is one word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
#[schemars(with = "String", inline)]
pub enum SupervisorKind {
    /// No supervisor.
    #[default]
    None,
    /// The system manager of systemd.
    Systemd,
    /// The manager of one user of systemd.
    SystemdUser,
    /// launchd.
    Launchd,
    /// supervisord.
    Supervisord,
    /// PM2.
    Pm2,
    /// runit, through `runsv`.
    Runit,
    /// s6, through `s6-supervise`.
    S6,
    /// daemontools, through `supervise`.
    Daemontools,
    /// OpenRC, through `supervise-daemon`.
    OpenRc,
    /// Docker.
    Docker,
    /// Podman.
    Podman,
    /// A shell or program that starts the server again each time it ends.
    RespawnLoop,
    /// A pid file.
    PidFile,
    /// A process that `--expect` names.
    Process,
    /// `hermes-doctor demo`.
    Demo,
    /// Another program, by its name: one that this version cannot query, or one that only another version knows.
    Other(String),
}

impl SupervisorKind {
    /// The kinds with a word of their own.
    const NAMED: [Self; 16] = [
        Self::None,
        Self::Systemd,
        Self::SystemdUser,
        Self::Launchd,
        Self::Supervisord,
        Self::Pm2,
        Self::Runit,
        Self::S6,
        Self::Daemontools,
        Self::OpenRc,
        Self::Docker,
        Self::Podman,
        Self::RespawnLoop,
        Self::PidFile,
        Self::Process,
        Self::Demo,
    ];

    /// The kind as written in JSON and in `--expect`.
    pub fn word(&self) -> &str {
        match self {
            Self::Other(name) => name,
            kind => kind.own_word().unwrap_or_default(),
        }
    }

    /// The word of the kind; `None` for [`Self::Other`].
    pub fn own_word(&self) -> Option<&'static str> {
        Some(match self {
            Self::None => "none",
            Self::Systemd => "systemd",
            Self::SystemdUser => "systemd-user",
            Self::Launchd => "launchd",
            Self::Supervisord => "supervisord",
            Self::Pm2 => "pm2",
            Self::Runit => "runit",
            Self::S6 => "s6",
            Self::Daemontools => "daemontools",
            Self::OpenRc => "openrc",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::RespawnLoop => "respawn-loop",
            Self::PidFile => "pid-file",
            Self::Process => "pid",
            Self::Demo => "demo",
            Self::Other(_) => return None,
        })
    }

    /// The words of all kinds but [`Self::Other`].
    pub fn words() -> impl Iterator<Item = String> {
        Self::NAMED.into_iter().map(String::from)
    }

    /// Whether it is a manager of systemd.
    pub fn is_systemd(&self) -> bool {
        matches!(self, Self::Systemd | Self::SystemdUser)
    }

    /// Whether its programs are containers that can be queried.
    pub fn is_container_runtime(&self) -> bool {
        matches!(self, Self::Docker | Self::Podman)
    }
}

impl From<&str> for SupervisorKind {
    fn from(word: &str) -> Self {
        word.parse().unwrap_or_else(|()| Self::Other(word.to_owned()))
    }
}

impl std::str::FromStr for SupervisorKind {
    type Err = ();

    /// The kind with this word.
    ///
    /// # Errors
    /// No kind but [`Self::Other`] has it.
    fn from_str(word: &str) -> Result<Self, ()> {
        Self::NAMED.into_iter().find(|kind| kind.word() == word).ok_or(())
    }
}

impl From<String> for SupervisorKind {
    fn from(word: String) -> Self {
        Self::from(word.as_str())
    }
}

impl From<SupervisorKind> for String {
    fn from(kind: SupervisorKind) -> Self {
        kind.word().to_owned()
    }
}

impl fmt::Display for SupervisorKind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_survives_json() {
        for kind in SupervisorKind::NAMED.into_iter().chain([SupervisorKind::Other("circus".into())]) {
            let json = serde_json::to_string(&kind).unwrap();
            assert_eq!(json, format!("\"{}\"", kind.word()));
            assert_eq!(serde_json::from_str::<SupervisorKind>(&json).unwrap(), kind);
        }
    }
}
