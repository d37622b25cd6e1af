//! Findings about the process, its state and its pid files.

use crate::model::{PidFile, ServerKind, Supervisor, id};
use serde::{Deserialize, Serialize};

/// A finding about the process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ProcessFinding {
    /// There is no process of that server, and no listener.
    NotRunning {
        /// Kind of server.
        kind: ServerKind,
        /// Its port.
        port: Option<u16>,
        /// The port whose listeners were read.
        port_without_listener: Option<u16>,
        /// How the user or the configuration named it.
        named_by: Vec<String>,
        /// Whether it is enabled and stopped, and the user did not request it.
        is_stopped: bool,
        /// The supervisor that is configured for it.
        supervisor: Option<Supervisor>,
    },
    /// The process is stopped by a signal.
    Stopped {
        /// Its pid.
        pid: u32,
    },
    /// The process is stopped by a debugger.
    Traced {
        /// Its pid.
        pid: u32,
        /// Pid of the debugger.
        tracer_pid: u32,
    },
    /// Children that ended were not reaped.
    ZombieChildren {
        /// Their number.
        count: usize,
    },
    /// A pid file names another process, or none.
    StalePidFile(PidFile),
}

impl ProcessFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::NotRunning { .. } => id::SERVER_NOT_RUNNING,
            Self::Stopped { .. } | Self::Traced { .. } => id::PROCESS_STOPPED,
            Self::ZombieChildren { .. } => id::ZOMBIE_CHILDREN,
            Self::StalePidFile(_) => id::STALE_PID_FILE,
        }
    }

    /// The path of the pid file, if it is about one.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::StalePidFile(file) => Some(&file.path),
            _ => None,
        }
    }
}
