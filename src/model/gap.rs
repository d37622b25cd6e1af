//! What could not be read, and what that leaves undecided.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Why a fact could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// The kernel or the file's mode refused.
    Permission,
    /// The process or file went away during the look.
    Vanished,
    /// The deadline of this read, or of the whole examination, passed.
    Timeout,
    /// The place where the fact would be does not exist.
    NotFound,
    /// It was there and could not be understood.
    Malformed,
    /// Left out on purpose: asking could do harm, or would cost more than it tells.
    NotAsked,
    /// This system, kernel or build has no way to tell, or the reader does not know the reason.
    #[serde(other)]
    Unsupported,
}

impl GapReason {
    /// The reason as a person reads it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Permission => "no permission",
            Self::Vanished => "vanished during the look",
            Self::Timeout => "no answer in time",
            Self::Unsupported => "not supported here",
            Self::NotFound => "not found",
            Self::Malformed => "not understood",
            Self::NotAsked => "not asked on purpose",
        }
    }
}

/// One fact that was looked for and not had.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gap {
    /// What was looked for, for example `descriptors of pid 4711`.
    pub what: String,
    /// Why it was not had.
    pub reason: GapReason,
    /// The exact error, and what would help.
    pub detail: String,
    /// Ids of the findings that stay undecided without it.
    pub blocks: Vec<String>,
    /// Time spent on the attempt, in milliseconds.
    pub elapsed_ms: u64,
}

impl Gap {
    /// A gap that blocks nothing yet and took no time worth naming.
    pub fn new(what: impl Into<String>, reason: GapReason, detail: impl Into<String>) -> Self {
        Self { what: what.into(), reason, detail: detail.into(), blocks: Vec::new(), elapsed_ms: 0 }
    }

    /// A gap made from an operating system error; the reason follows from its kind.
    pub fn from_io(what: impl Into<String>, error: &std::io::Error) -> Self {
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
        // The standard library appends the number, which tells a person nothing that the words do not.
        let text = error.to_string();
        let words = text.split(" (os error ").next().unwrap_or(&text);
        Self::new(what, reason, if words == "Permission denied" { "" } else { words })
    }

    /// What is told of it where only the reason fits: the detail, or the reason in words.
    pub fn text(&self) -> &str {
        if self.detail.is_empty() { self.reason.words() } else { &self.detail }
    }

    /// Names the findings that this gap leaves undecided.
    #[must_use]
    pub fn blocking(mut self, ids: &[&str]) -> Self {
        self.blocks.extend(ids.iter().map(|id| (*id).to_owned()));
        self
    }

    /// Records how long the attempt took.
    #[must_use]
    pub fn after(mut self, elapsed: Duration) -> Self {
        self.elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self
    }
}
