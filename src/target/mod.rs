//! Decides which server is examined, and what is expected of it. It judges nothing.

mod homes;
mod owner;
mod program;
mod programs;
mod select;
mod survey;

pub use homes::{Home, PidFileRead, paths as homes};
pub use owner::{home_of, is_confirmed, listening};
pub use program::{KnownProgram, ProgramQuery, Programs};
pub use programs::{Fit, ServerProfile, server_of};
pub use select::select;
pub use survey::{Survey, same_network};

use crate::collect::PidProblem;
use crate::model::{Expectation, Gap, GapReason, Identity, ServerKind};
use crate::parse::command::HermesCommand;
use crate::parse::expect::Expect;
use std::path::PathBuf;
use thiserror::Error;
use url::Url;

/// What the person asked for. Options combine.
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
    /// What it is, or should be.
    pub kind: ServerKind,
    /// The process; `None` if it is not there or on another host.
    pub identity: Option<Identity>,
    /// Its command line, recognised.
    pub command: Option<HermesCommand>,
    /// The port that was named, or that it should have.
    pub port: Option<u16>,
    /// Its home, where known.
    pub home: Option<PathBuf>,
    /// `--url`.
    pub url: Option<Url>,
    /// What is expected of it.
    pub expectation: Expectation,
    /// Pid files of its home that are its own.
    pub pid_files: Vec<PidFileRead>,
}

/// What was selected.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// The servers to examine.
    pub targets: Vec<Target>,
    /// Pid files that belong to none of them.
    pub stray_pid_files: Vec<PidFileRead>,
    /// What could not be looked at, and where nothing was found.
    pub gaps: Vec<Gap>,
}

/// A selection that cannot be examined; each is one line that names the next step.
#[derive(Debug, Error)]
pub enum SelectError {
    /// `--pid`.
    #[error("{0}; without a pid, every Hermes server of this host is looked for")]
    Pid(#[from] PidProblem),
    /// `--home` is not there.
    #[error("no directory {0}; name the HERMES_HOME, the directory that holds state.db (usually ~/.hermes)")]
    NoSuchHome(String),
    /// `--home` is something else.
    #[error(
        "{0} is no Hermes home: no state.db, config.yaml, pid file, webui or profiles directory in it; name the directory that holds state.db (usually ~/.hermes)"
    )]
    NotAHome(String),
    /// `--home` cannot be looked at.
    #[error("cannot read {}: {}", .0.what, .0.text())]
    HomeUnreadable(Gap),
    /// `--url` with a selector that contradicts it.
    #[error("--url {0} and {1} name different servers; give one of them")]
    Conflict(String, String),
    /// `--expect` names a program that cannot be asked for, and nothing else was named.
    #[error("{0}")]
    Expect(String),
    /// `--url` without a host, or of another scheme.
    #[error("--url {0}: {1}")]
    Url(String, &'static str),
}

impl SelectError {
    /// Why nothing is examined, as a gap has it.
    pub fn reason(&self) -> GapReason {
        match self {
            Self::HomeUnreadable(gap) => gap.reason,
            Self::Pid(PidProblem::Unreadable(..)) => GapReason::Permission,
            _ => GapReason::NotFound,
        }
    }
}
