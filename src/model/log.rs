//! What logs say: errors of known classes, counted, with their times. No line of a log is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The errors that are looked for in logs.
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
    /// The class as a person reads it.
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
    /// Which.
    pub class: LogClass,
    /// Lines; the exceptions of one traceback count once.
    pub count: u64,
    /// Time of the first, RFC 3339; followed by `(local, zone unknown)` where it cannot be compared with other clocks. `null`
    /// where no line up to it has a time.
    pub first_at: Option<String>,
    /// Time of the last.
    pub last_at: Option<String>,
    /// Lines since the server's process started; `null` where the times cannot be compared.
    pub since_start: Option<u64>,
    /// Time of the first of these.
    pub first_since_start_at: Option<String>,
    /// Which class began first in this log, from 1: by the lines since the start, where times can be compared, else by all. `null` for a
    /// class that has only older lines.
    pub order: Option<u32>,
}

/// What one log says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogFacts {
    /// Path, or the command that shows it.
    pub source: String,
    /// Bytes that were read, from the end.
    pub bytes_read: u64,
    /// Whether there is more before what was read.
    pub is_cut: bool,
    /// Whether the file before it (`.1`) was read too.
    pub with_rotated: bool,
    /// Whether other servers of the same home write to it too.
    pub is_shared: bool,
    /// Errors by class, in the order in which they began.
    pub classes: Vec<LogClassFacts>,
    /// It ends with a traceback.
    pub ends_in_traceback: bool,
    /// Class of that traceback's exception, where it has a usual name; never its message.
    pub ends_with_traceback: Option<String>,
    /// Time of the last line that says of an orderly end, as above; `null` without one.
    pub last_orderly_end_at: Option<String>,
}

impl LogFacts {
    /// What it says of one class.
    pub fn class(&self, class: LogClass) -> Option<&LogClassFacts> {
        self.classes.iter().find(|facts| facts.class == class)
    }
}
