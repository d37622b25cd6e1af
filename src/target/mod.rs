//! Selects the servers to examine, and what is expected of each. It does not judge.

mod discover;
mod draft;
mod homes;
mod owner;
mod program;
mod programs;
mod select;
mod survey;

pub use homes::{Home, PidFileRead, paths as homes};
pub use owner::{home_of, is_confirmed, listening};
pub use program::{KnownProgram, ProgramQuery, Programs};
pub use programs::{ServerProfile, server_of};
pub use select::select;
pub use survey::{Survey, same_network};

use crate::collect::PidProblem;
use crate::model::{Expectation, Gap, GapReason, Identity, ServerKind};
use crate::parse::command::HermesCommand;
use crate::supervisor::expect::Expect;
use std::path::PathBuf;
use thiserror::Error;
use url::Url;

/// The servers that the user selected. Options combine.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `--pid`.
    pub pid: Option<u32>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--url`.
    pub url: Option<Url>,
    /// `--home`.
    pub home: Option<PathBuf>,
    /// `--kind`.
    pub kind: Option<ServerKind>,
    /// `--expect`.
    pub expect: Option<Expect>,
}

/// One server to examine.
#[derive(Clone, Debug)]
pub struct Target {
    /// Kind of server.
    pub kind: ServerKind,
    /// The process; `None` where it is not running, or is on another host.
    pub identity: Option<Identity>,
    /// Its command line, recognised.
    pub command: Option<HermesCommand>,
    /// The port that was named, or the one that it should have.
    pub port: Option<u16>,
    /// Its home, where known.
    pub home: Option<PathBuf>,
    /// `--url`.
    pub url: Option<Url>,
    /// What is expected of it.
    pub expectation: Expectation,
    /// Pid files of its home that belong to it.
    pub pid_files: Vec<PidFileRead>,
}

/// The result of a selection.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// The servers to examine.
    pub targets: Vec<Target>,
    /// Pid files that belong to none of them.
    pub stray_pid_files: Vec<PidFileRead>,
    /// Facts that could not be read, and places where no server was found.
    pub gaps: Vec<Gap>,
}

/// A selection that cannot be examined. Each message is one line and names the next step.
#[derive(Debug, Error)]
pub enum SelectError {
    /// `--pid` is not a process that can be examined.
    #[error("{0}; without --pid, all Hermes servers of this host are examined")]
    Pid(#[from] PidProblem),
    /// `--home` does not exist.
    #[error("no directory {0}; name the HERMES_HOME, the directory that contains state.db (usually ~/.hermes)")]
    NoSuchHome(String),
    /// `--home` is not a Hermes home.
    #[error(
        "{0} is not a Hermes home: it has no state.db, config.yaml, pid file, webui or profiles directory; name the directory that contains state.db (usually ~/.hermes)"
    )]
    NotAHome(String),
    /// `--home` cannot be read.
    #[error("cannot read {}: {}", .0.what, .0.text())]
    HomeUnreadable(Gap),
    /// `--url` with a selector that contradicts it.
    #[error("--url {0} and {1} name different servers; give one of them")]
    Conflict(String, String),
    /// `--expect` names a program that cannot be queried, and no server was named.
    #[error("{0}")]
    Expect(String),
    /// `--url` without a host, or with another scheme.
    #[error("--url {0}: {1}")]
    Url(String, &'static str),
}

impl SelectError {
    /// The reason why nothing is examined, for a gap.
    pub fn reason(&self) -> GapReason {
        match self {
            Self::HomeUnreadable(gap) => gap.reason,
            Self::Pid(PidProblem::Unreadable(..)) => GapReason::Permission,
            _ => GapReason::NotFound,
        }
    }
}
