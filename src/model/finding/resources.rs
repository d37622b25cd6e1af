//! Findings about limits of tasks, memory and files.

use crate::model::{LogClassFacts, MemoryGroup, Pressure, Supervisor, TaskGroup, id};
use serde::{Deserialize, Serialize};

/// A finding about a limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ResourceFinding {
    /// No thread or process can be started.
    ThreadsExhausted {
        /// The limits that are reached; empty if only the log says so.
        reached: Vec<TaskLimit>,
        /// The log that says so, and its lines.
        log: Option<(String, LogClassFacts)>,
        /// Number of threads of the server.
        threads: Option<u64>,
    },
    /// The kernel killed processes because memory ran out.
    MemoryKilled {
        /// The control group whose counter says so.
        group: Option<MemoryGroup>,
        /// The supervisor that says so.
        claim: Option<Supervisor>,
        /// The log of the server, and its last line of an orderly end.
        log: Option<(String, Option<String>)>,
    },
    /// A control group reaches its memory limit.
    MemoryLimitMet {
        /// The group.
        group: MemoryGroup,
        /// The limit, in bytes.
        limit_bytes: u64,
        /// Whether the limit is `memory.high`.
        is_high: bool,
        /// How often it was reached between the samples.
        times: u64,
    },
    /// Tasks waited for memory.
    MemoryPressure {
        /// Path and version of the control group; `None` is the whole host.
        group: Option<(String, u8)>,
        /// The measured pressure.
        pressure: Pressure,
    },
    /// Threads wait in the kernel for memory of their control group.
    MemoryWaits,
    /// The host can open no more files.
    HostFilesExhausted {
        /// Open files.
        files: u64,
        /// Their limit.
        max: u64,
    },
}

/// A limit of tasks that is reached.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TaskLimit {
    /// That of a control group.
    Group(TaskGroup),
    /// That of a user.
    User {
        /// User id.
        uid: u32,
        /// Threads of that user.
        tasks: u64,
        /// The limit.
        max: u64,
    },
    /// One of the host.
    Host {
        /// Its name for sysctl(8).
        name: String,
        /// Processes and threads of the host.
        tasks: u64,
        /// The limit.
        max: u64,
    },
}

impl ResourceFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::ThreadsExhausted { .. } => id::THREADS_EXHAUSTED,
            Self::MemoryKilled { .. } => id::MEMORY_KILLED,
            Self::MemoryLimitMet { .. } | Self::MemoryPressure { .. } | Self::MemoryWaits => id::MEMORY_PRESSURE,
            Self::HostFilesExhausted { .. } => id::HOST_FILES_EXHAUSTED,
        }
    }
}
