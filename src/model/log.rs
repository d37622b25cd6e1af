//! Contents of logs: errors of known classes, counted, with their times. No line of a log is kept.

use super::{LogSource, PythonSymbol, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The classes of errors that logs are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogClass {
    /// EMFILE: the process may open no more descriptors (errno 24).
    DescriptorsExhausted,
    /// ENFILE: the host may open no more files (errno 23).
    HostFilesExhausted,
    /// SQLite's "database is locked".
    DatabaseLocked,
    /// SQLite's "database disk image is malformed".
    DatabaseMalformed,
    /// EADDRINUSE (errno 98, on macOS 48).
    AddressInUse,
    /// Python's `MemoryError`.
    MemoryError,
    /// Python's "can't start new thread".
    ThreadsExhausted,
    /// ENOSPC (errno 28), or SQLite's "database or disk is full".
    DiskFull,
}

impl LogClass {
    /// The class in words for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::DescriptorsExhausted => "too many open files",
            Self::HostFilesExhausted => "too many open files in the system",
            Self::DatabaseLocked => "database is locked",
            Self::DatabaseMalformed => "database is malformed",
            Self::AddressInUse => "address already in use",
            Self::MemoryError => "out of memory",
            Self::ThreadsExhausted => "cannot start a thread",
            Self::DiskFull => "disk is full",
        }
    }
}

/// Lines of one class in one log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogClassFacts {
    /// Class of error.
    pub class: LogClass,
    /// Number of lines; the exceptions of one traceback count once.
    pub count: u64,
    /// Time of the first line, RFC 3339; followed by `(local, zone unknown)` if it cannot be compared with
    /// other clocks. `null` if no line up to it has a time.
    pub first_at: Option<Timestamp>,
    /// Time of the last line.
    pub last_at: Option<Timestamp>,
    /// Number of lines since the start of the server process; `null` if the times cannot be compared.
    pub since_start: Option<u64>,
    /// Time of the first of these lines.
    pub first_since_start_at: Option<Timestamp>,
    /// Rank of the class by its first line in this log, from 1: among the lines since the start if times can be
    /// compared, else among all lines. `null` for a class that has only older lines.
    pub order: Option<u32>,
}

/// Contents of one log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogFacts {
    /// Path, or the command that prints the log.
    pub source: LogSource,
    /// Number of bytes that were read, from the end.
    pub bytes_read: u64,
    /// Whether the log has earlier bytes that were not read.
    pub is_cut: bool,
    /// Whether the rotated file before it (`.1`) was read too.
    pub with_rotated: bool,
    /// Whether other servers of the same home write to it too.
    pub is_shared: bool,
    /// Errors by class, in the order of their first line.
    pub classes: Vec<LogClassFacts>,
    /// Whether it ends with a traceback.
    pub ends_in_traceback: bool,
    /// Class of the exception in that traceback, if its name has a usual form; never the message.
    pub ends_with_traceback: Option<PythonSymbol>,
    /// Time of the last line that reports an orderly end, in the format of `first_at`; `null` without one.
    pub last_orderly_end_at: Option<Timestamp>,
}

impl LogFacts {
    /// The counts of one class.
    pub fn class(&self, class: LogClass) -> Option<&LogClassFacts> {
        self.classes.iter().find(|facts| facts.class == class)
    }
}
