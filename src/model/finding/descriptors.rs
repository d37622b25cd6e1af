//! Findings about open descriptors: their level, and their change over time.

use crate::model::{CloseWait, Growth, PathCost, SqliteFamily, Target, id};
use serde::{Deserialize, Serialize};

/// A finding about open descriptors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DescriptorFinding {
    /// Few or no descriptors are left.
    Ceiling {
        /// Number of open descriptors.
        open: u64,
        /// The soft limit.
        limit: u64,
        /// The kinds with the most descriptors, with their numbers.
        largest_kinds: Vec<(String, u64)>,
    },
    /// The limit is small.
    LimitLow {
        /// The soft limit.
        limit: u64,
        /// The hard limit; `None` is unlimited.
        hard_limit: Option<u64>,
    },
    /// One database has many handles, whatever their trend.
    HandleLevel {
        /// The database and its handles.
        family: SqliteFamily,
        /// What the handles are compared with.
        of: LevelOf,
        /// The series of this database, if it was sampled over time.
        watched: Option<Watched>,
    },
    /// The handles of one database grow.
    HandleGrowth {
        /// Path of the database.
        path: String,
        /// The series.
        facts: TrendFacts,
    },
    /// The handles of one database rise and fall: they are closed late.
    DeferredClose {
        /// Path of the database.
        path: String,
        /// The series.
        facts: TrendFacts,
        /// The most descriptors that were open at any sample.
        most_open: Option<u64>,
    },
    /// All descriptors together grow, or one kind.
    Growth {
        /// The series.
        facts: TrendFacts,
        /// The series that are parts of it and grow, fastest first.
        parts: Vec<Growth>,
    },
    /// An undecided rise that would reach the limit soon.
    Rise {
        /// The series.
        facts: TrendFacts,
        /// The limit that would be reached.
        limit: u64,
        /// Time until then at this rate, in milliseconds.
        limit_in_ms: u64,
    },
    /// Requests of `fds --exercise` left descriptors open.
    LeftByRequests {
        /// The path whose requests left the most.
        worst: PathCost,
        /// All paths whose requests left some.
        costly: Vec<PathCost>,
        /// Whether it is more than is ever closed late.
        is_leak: bool,
    },
    /// A series of health requests left descriptors open.
    LeftByHealthRequests {
        /// Number of requests.
        requests: u64,
        /// Open descriptors before them.
        before: u64,
        /// Open descriptors after them.
        after: u64,
        /// The soft limit.
        limit: Option<u64>,
    },
    /// Sockets are not closed after their peer has closed the connection.
    CloseWaitLeak {
        /// The sockets.
        sockets: CloseWait,
        /// Number of the same sockets at the second sample.
        still: u64,
    },
    /// Unlinked files are still open.
    DeletedFiles {
        /// The first of the files.
        first: Target,
        /// All of them.
        files: Vec<Target>,
        /// Whether one of them belongs to a database.
        is_database: bool,
    },
}

/// What a number of handles is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LevelOf {
    /// The soft limit.
    Limit(u64),
    /// The number of open descriptors, since the limit is unknown.
    Open(u64),
}

/// An undecided series, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// Number of falls.
    pub falls: u64,
    /// Number of samples.
    pub samples: u64,
}

/// One classified series with the limit of its process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrendFacts {
    /// The series.
    pub growth: Growth,
    /// The soft limit.
    pub soft_limit: Option<u64>,
}

impl DescriptorFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Ceiling { .. } => id::DESCRIPTOR_CEILING,
            Self::LimitLow { .. } => id::DESCRIPTOR_LIMIT_LOW,
            Self::HandleLevel { .. } | Self::HandleGrowth { .. } => id::STATE_DB_HANDLE_LEAK,
            Self::DeferredClose { .. } => id::DEFERRED_CLOSE,
            Self::Growth { .. }
            | Self::Rise { .. }
            | Self::LeftByRequests { .. }
            | Self::LeftByHealthRequests { .. } => id::DESCRIPTOR_GROWTH,
            Self::CloseWaitLeak { .. } => id::CLOSE_WAIT_LEAK,
            Self::DeletedFiles { .. } => id::DELETED_FILES_HELD,
        }
    }

    /// The path of the database, if it is about one.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::HandleLevel { family, .. } => Some(&family.path),
            Self::HandleGrowth { path, .. } | Self::DeferredClose { path, .. } => Some(path.as_str()),
            _ => None,
        }
    }
}
