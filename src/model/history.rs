//! What the flight recorder writes down, a line a look, and what is read back from it.

use super::{Status, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One look at one server: a line of the record.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// When, RFC 3339.
    pub at: Timestamp,
    /// Time since the host booted, in milliseconds, suspended time included: unlike `at`, it does not move when the clock is set.
    /// Not there in records of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_boot_ms: Option<u64>,
    /// Kind, port and home in words: tells servers of one record apart.
    pub server: String,
    /// The verdict.
    pub status: Status,
    /// Ids at the root of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub root_causes: Vec<String>,
    /// Its pid; `null` while it is down.
    pub pid: Option<u32>,
    /// Its start in clock ticks after boot: a pid is used again, both together are not.
    pub start_ticks: Option<u64>,
    /// Open descriptors.
    pub open: Option<u64>,
    /// Their soft limit.
    pub soft_limit: Option<u64>,
    /// Database and WAL descriptors of the database that has most.
    pub database_handles: Option<u64>,
    /// Of these, descriptors on the WAL: one for each live connection.
    #[serde(default)]
    pub wal_handles: Option<u64>,
    /// CLOSE-WAIT sockets that it owns.
    pub close_wait: Option<u64>,
    /// Connections that wait to be accepted.
    pub accept_queue: Option<u64>,
    /// Clients connected to its port.
    pub connected: Option<u64>,
    /// What became of the health request: `ok`, `no_answer`, `refused` …
    pub health: Option<String>,
    /// How long it took, in milliseconds.
    pub health_ms: Option<f64>,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Automatic restarts that its supervisor counted.
    pub restarts: Option<u64>,
    /// What is different from the look before, in words.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

/// A record that was read back.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct History {
    /// All lines that were understood, in order.
    pub records: Vec<Record>,
    /// Lines that were not understood, an incomplete last one aside.
    pub lines_skipped: u64,
    /// Whether the last line is incomplete: the recorder was ended while it wrote.
    pub ends_torn: bool,
}
