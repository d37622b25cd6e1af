//! The record that `watch` writes, one line per sample, and the result of reading it.

use super::{LogText, Note, OwnTerm, Status, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One sample of one server: a line of the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Time of the sample, RFC 3339.
    pub at: Timestamp,
    /// Time since the host booted, in milliseconds, suspended time included. Unlike `at`, it does not change
    /// when the clock is set. Absent in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_boot_ms: Option<u64>,
    /// Kind, port and home in words. Identifies the server within the record.
    pub server: LogText,
    /// The verdict.
    pub status: Status,
    /// Ids of the root causes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root_causes: Vec<OwnTerm>,
    /// Pid; `null` while it is down.
    pub pid: Option<u32>,
    /// Start time in clock ticks after boot. A pid can be reused; a pid with its start time cannot.
    pub start_ticks: Option<u64>,
    /// Open descriptors.
    pub open: Option<u64>,
    /// Soft limit of descriptors.
    pub soft_limit: Option<u64>,
    /// Database and WAL descriptors of the database that has the most.
    pub database_handles: Option<u64>,
    /// Descriptors on the WAL, among these: one for each live connection.
    #[serde(default)]
    pub wal_handles: Option<u64>,
    /// CLOSE-WAIT sockets that it owns.
    pub close_wait: Option<u64>,
    /// Connections in the accept queue.
    pub accept_queue: Option<u64>,
    /// Clients connected to its port.
    pub connected: Option<u64>,
    /// Outcome of the health request: `ok`, `no_answer`, `refused` …
    pub health: Option<OwnTerm>,
    /// Its duration in milliseconds.
    pub health_ms: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Automatic restarts that its supervisor counted.
    pub restarts: Option<u64>,
    /// Changes since the sample before, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<Note>,
}

/// A record that was read back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// All lines that could be parsed, in order.
    pub records: Vec<Record>,
    /// Number of lines that could not be parsed, except an incomplete last line.
    pub lines_skipped: u64,
    /// Whether the last line is incomplete: the recorder ended while it wrote.
    pub ends_torn: bool,
}
