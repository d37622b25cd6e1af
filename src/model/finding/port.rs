//! Findings about the owner of the port.

use crate::model::{Holder, ServerKind, Supervisor, id};
use serde::{Deserialize, Serialize};

/// A finding about the port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PortFinding {
    /// The port.
    pub port: u16,
    /// Pid of the examined server.
    pub examined: Option<u32>,
    /// What is wrong with it.
    pub problem: PortProblem,
}

/// What is wrong with a port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PortProblem {
    /// Another program owns the port, or stands in front of it.
    HeldByOther {
        /// The program.
        holder: Holder,
        /// The address that it listens on.
        address: String,
        /// Why a Hermes server is expected there.
        expected_because: String,
    },
    /// Another Hermes server owns the port.
    OtherServer {
        /// That server.
        holder: Holder,
        /// Whether the examined server owns it too.
        is_shared: bool,
    },
    /// A supervisor is configured to run a server of another home on the port.
    Rival {
        /// Home of the server that owns the port.
        home: String,
        /// The other home.
        other_home: String,
        /// The claim of that supervisor.
        claim: Supervisor,
    },
    /// The server on the port is of another kind than requested.
    OtherKind {
        /// The requested kind.
        wanted: ServerKind,
        /// The kind of the server.
        found: ServerKind,
    },
    /// The server on the port has another home than requested.
    OtherHome {
        /// The requested home.
        wanted: String,
        /// The home of the server.
        found: String,
    },
    /// The accept queue has exceeded its maximum length.
    BacklogFull {
        /// Connections in the queue.
        accept_queue: u32,
        /// Its maximum length.
        backlog: u32,
    },
}

impl PortFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self.problem {
            PortProblem::HeldByOther { .. } => id::PORT_HELD,
            PortProblem::BacklogFull { .. } => id::BACKLOG_FULL,
            _ => id::PORT_OWNER_UNEXPECTED,
        }
    }
}
