//! What requests leave behind: descriptors before and after batches of them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that were sent on purpose, batch by batch, and what was open after each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exercise {
    /// Where they were sent, scheme and address.
    pub to: String,
    /// Every batch, in order.
    pub batches: Vec<Batch>,
    /// What each path left behind.
    pub paths: Vec<PathCost>,
    /// Why it ended before all requests were sent; `null` where all were.
    pub stopped: Option<String>,
}

/// One batch of requests for one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// Path, secrets masked.
    pub path: String,
    /// Number of the batch for this path, from 1; 0 is the look before the first.
    pub batch: u64,
    /// Requests sent in it.
    pub requests: u64,
    /// Of these, the ones that were answered.
    pub answered: u64,
    /// Open descriptors after it.
    pub open: u64,
    /// Descriptors on databases and their WALs after it.
    pub database_handles: u64,
}

/// What the requests for one path left behind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathCost {
    /// Path, secrets masked.
    pub path: String,
    /// Requests sent for it.
    pub requests: u64,
    /// Descriptors more than before; less than 0 where some were given back.
    pub left_open: i64,
    /// Database descriptors more than before.
    pub left_database_handles: i64,
    /// `left_open` for each request.
    pub per_request: f64,
}
