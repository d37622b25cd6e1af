//! Gaps: facts that could not be read, and the findings that stay undecided without them.

use super::{GapDetail, GapSubject, OwnTerm, SystemError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why a fact could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The kernel or the mode of the file denied access.
    Permission,
    /// The process or file disappeared during the examination.
    Vanished,
    /// The deadline of this read, or of the whole examination, passed.
    Timeout,
    /// The place of the fact does not exist.
    NotFound,
    /// The data was read and could not be parsed.
    Malformed,
    /// Left out on purpose: reading it could do harm, or would cost more than it is worth.
    NotAsked,
    /// This system, kernel or build has no means to read it, or the reader does not know the reason.
    #[serde(other)]
    Unsupported,
}

impl GapReason {
    /// The reason in words for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Permission => "no permission",
            Self::Vanished => "vanished during the examination",
            Self::Timeout => "no answer in time",
            Self::Unsupported => "not supported here",
            Self::NotFound => "not found",
            Self::Malformed => "could not be parsed",
            Self::NotAsked => "left out on purpose",
        }
    }
}

/// One fact that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// The fact, for example `descriptors of pid 4711`.
    pub what: GapSubject,
    /// Why it could not be read.
    pub reason: GapReason,
    /// The exact error, and how to avoid it.
    pub detail: GapDetail,
    /// Ids of the findings that stay undecided without it.
    pub blocks: Vec<OwnTerm>,
    /// Time spent on the attempt, in milliseconds.
    pub elapsed_ms: u64,
}

impl Gap {
    /// A gap that blocks no finding and has no elapsed time yet.
    pub fn new(what: impl Into<GapSubject>, reason: GapReason, detail: impl Into<GapDetail>) -> Self {
        Self { what: what.into(), reason, detail: detail.into(), blocks: Vec::new(), elapsed_ms: 0 }
    }

    /// A gap for an operating system error; the kind of the error determines the reason.
    pub fn from_io(what: impl Into<GapSubject>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let reason = match error.kind() {
            ErrorKind::PermissionDenied => GapReason::Permission,
            ErrorKind::NotFound => GapReason::NotFound,
            ErrorKind::TimedOut | ErrorKind::WouldBlock => GapReason::Timeout,
            ErrorKind::InvalidData | ErrorKind::IsADirectory => GapReason::Malformed,
            // ESRCH: the process ended between the open and the read (proc(5)).
            _ if error.raw_os_error() == Some(libc::ESRCH) => GapReason::Vanished,
            _ => GapReason::Unsupported,
        };
        let detail = match error.raw_os_error() {
            // The reason says it.
            Some(libc::EACCES) => GapDetail::Nothing,
            Some(number) => GapDetail::OfSystem { error: SystemError(number) },
            None => GapDetail::from(error.to_string()),
        };
        Self::new(what, reason, detail)
    }

    /// Text of the gap where it must be short: the detail, or else the reason in words.
    pub fn text(&self) -> String {
        if self.has_detail() { self.detail.to_string() } else { self.reason.words().to_owned() }
    }

    /// Whether the detail says more than the reason.
    pub fn has_detail(&self) -> bool {
        self.detail != GapDetail::Nothing && self.detail != *self.reason.words()
    }

    /// Adds the findings that this gap leaves undecided.
    #[must_use]
    pub fn blocking(mut self, ids: &[&str]) -> Self {
        self.blocks.extend(ids.iter().map(|id| OwnTerm::from(*id)));
        self
    }

    /// Records the duration of the attempt.
    #[must_use]
    pub fn after(mut self, elapsed: Duration) -> Self {
        self.elapsed_ms = super::whole_milliseconds(elapsed);
        self
    }
}
