//! Findings about the supervisor that manages the server, compared with the expected one.

use crate::model::{Expected, Relaunch, ServerKind, Sibling, Supervisor, id};
use serde::{Deserialize, Serialize};

/// A finding about the lineage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum LineageFinding {
    /// The server runs outside its expected supervisor.
    Orphaned {
        /// Pid of the server.
        pid: u32,
        /// Pid of its parent.
        parent: u32,
        /// The supervisor, with its claim.
        supervisor: Supervisor,
        /// The expected supervisor.
        expected: Expected,
        /// Whether that supervisor starts the server repeatedly.
        is_looping: bool,
    },
    /// A backend of a desktop application has outlived the application.
    OrphanedBackend {
        /// Pid of the server.
        pid: u32,
        /// Pid of its parent.
        parent: u32,
        /// Pid of the application in its environment.
        owner: u32,
        /// Its command line.
        command: String,
        /// Why it has no supervisor.
        no_supervisor_because: String,
    },
    /// A restart loop: each start fails.
    RespawnLoop {
        /// The supervisor, with its claim.
        claim: Supervisor,
        /// The attempts that were observed.
        relaunch: Relaunch,
        /// Pid of the server that runs meanwhile.
        pid: Option<u32>,
    },
    /// The supervisor no longer tries to start it.
    GaveUp {
        /// The supervisor, with its claim.
        claim: Supervisor,
    },
    /// The supervised program ended and left its server running, or its server ended too.
    LauncherDetached {
        /// The supervisor, with its claim.
        claim: Supervisor,
        /// Pid of the server, if it runs.
        pid: Option<u32>,
    },
    /// Two supervisors are configured for it.
    DuplicateSupervisors {
        /// The port, home or kind of the server.
        subject: String,
        /// The supervisor of the server.
        own: Supervisor,
        /// The other supervisors.
        others: Vec<Supervisor>,
    },
    /// Two servers of its kind on its home.
    DuplicateServers {
        /// The home.
        home: String,
        /// The kind.
        kind: ServerKind,
        /// Pid of the server.
        pid: u32,
        /// The other servers.
        twins: Vec<Sibling>,
    },
    /// No supervisor manages the server.
    Unsupervised {
        /// Why none does.
        because: String,
        /// Whether it has been detached from its starter.
        is_detached: bool,
        /// Why.
        detached_because: String,
        /// The pid file that names it, with its source.
        pid_file: Option<(String, String)>,
    },
}

impl LineageFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Orphaned { .. } | Self::OrphanedBackend { .. } => id::ORPHANED_SERVER,
            Self::RespawnLoop { .. } => id::RESPAWN_LOOP,
            Self::GaveUp { .. } => id::SUPERVISOR_GAVE_UP,
            Self::LauncherDetached { .. } => id::LAUNCHER_DETACHED,
            Self::DuplicateSupervisors { .. } => id::DUPLICATE_SUPERVISORS,
            Self::DuplicateServers { .. } => id::DUPLICATE_SERVERS,
            Self::Unsupervised { .. } => id::UNSUPERVISED_SERVER,
        }
    }

    /// The port, home or kind that several supervisors or servers share.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::DuplicateSupervisors { subject, .. } => Some(subject),
            Self::DuplicateServers { home, .. } => Some(home),
            _ => None,
        }
    }
}
