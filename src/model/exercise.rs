//! Descriptors that requests leave open, measured before and after batches of requests.

use super::{GapDetail, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Requests that were sent in batches, and the number of open descriptors after each batch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Exercise {
    /// Scheme and address that the requests were sent to.
    pub to: Url,
    /// Every batch, in order.
    pub batches: Vec<Batch>,
    /// What each path left open.
    pub paths: Vec<PathCost>,
    /// Why it ended before all requests were sent; `null` if all were sent.
    pub stopped: Option<GapDetail>,
}

/// One batch of requests for one path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// Path, secrets masked.
    pub path: Url,
    /// Number of the batch for this path, from 1; 0 is the sample before the first batch.
    pub batch: u64,
    /// Requests sent in this batch.
    pub requests: u64,
    /// Requests that were answered.
    pub answered: u64,
    /// Open descriptors after it.
    pub open: u64,
    /// Descriptors on databases and their WALs after it.
    pub database_handles: u64,
}

/// Descriptors that the requests for one path left open.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PathCost {
    /// Path, secrets masked.
    pub path: Url,
    /// Requests sent for it.
    pub requests: u64,
    /// Change in open descriptors; negative if some were closed.
    pub left_open: i64,
    /// Change in database descriptors.
    pub left_database_handles: i64,
    /// `left_open` divided by the number of requests.
    pub per_request: f64,
}
