//! Findings about the files, locks and holders of one database.

use crate::model::{DatabaseFile, DatabaseHolder, DatabaseLock, SecondSample, WalFile, WalIndex, id};
use serde::{Deserialize, Serialize};

/// A finding about one database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DatabaseFinding {
    /// The database.
    pub database: DatabaseFile,
    /// What is wrong with it.
    pub problem: DatabaseProblem,
}

/// What is wrong with a database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum DatabaseProblem {
    /// An open log or index is not the file at its path any more.
    GenerationDeleted {
        /// The processes that have such files open.
        holders: Vec<DatabaseHolder>,
    },
    /// A reader prevents a checkpoint from continuing.
    CheckpointPinned {
        /// The read slot that the checkpoint waits for.
        slot: u8,
        /// The frame that the slot protects.
        mark: u32,
        /// The processes that hold the slot; empty if it is a process of another pid namespace.
        pids: Vec<u32>,
        /// The index.
        index: WalIndex,
        /// Time between the samples, in milliseconds.
        after_ms: u64,
    },
    /// The log is large.
    LogLarge {
        /// The log.
        wal: WalFile,
    },
    /// A lock is held without progress.
    LockHeld {
        /// The lock at the first sample.
        lock: DatabaseLock,
        /// Whether it keeps out all other processes.
        is_exclusive: bool,
        /// Whether its holder works.
        is_at_work: bool,
        /// The second sample.
        again: SecondSample,
    },
    /// The database is used without its lock.
    LocksLost {
        /// The processes that do so.
        holders: Vec<DatabaseHolder>,
    },
}

impl DatabaseFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self.problem {
            DatabaseProblem::GenerationDeleted { .. } => id::WAL_GENERATION_DELETED,
            DatabaseProblem::CheckpointPinned { .. } => id::WAL_CHECKPOINT_PINNED,
            DatabaseProblem::LogLarge { .. } => id::WAL_LARGE,
            DatabaseProblem::LockHeld { .. } => id::DATABASE_LOCK_HELD,
            DatabaseProblem::LocksLost { .. } => id::DATABASE_LOCKS_LOST,
        }
    }

    /// The path of the database.
    pub fn subject(&self) -> Option<&str> {
        Some(&self.database.path)
    }
}
