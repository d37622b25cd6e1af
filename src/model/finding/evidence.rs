//! Findings from logs and from Python stacks.

use crate::model::{LockWait, LogClassFacts};
use serde::{Deserialize, Serialize};

/// The log says that a database is damaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MalformedFinding {
    /// The log.
    pub source: String,
    /// The lines that say so.
    pub lines: LogClassFacts,
    /// Classes of lines that began later.
    pub followed: Vec<LogClassFacts>,
    /// Bytes that were read, if earlier lines were not.
    pub bytes_read: Option<u64>,
}

/// Threads wait for a lock that another thread holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LockFinding {
    /// The object of the finding: the lock and the line that takes it.
    pub subject: String,
    /// The locks of one holder, or of one deadlock; the first has the most waiting threads.
    pub locks: Vec<LockWait>,
    /// Time between the two samples, in milliseconds.
    pub between_ms: u64,
}
