//! Who listens on a port, and what waits there.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every listening socket of one port, and its connections.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listeners {
    /// The port.
    pub port: u16,
    /// Listening sockets, one row each.
    pub sockets: Vec<Listener>,
    /// Whether every process of the host was asked for these sockets. `false`: only the likely ones.
    pub holders_complete: bool,
    /// Who the holders are.
    pub holders: Vec<Holder>,
    /// Connections of that port.
    pub connections: Connections,
    /// Looks at the queue while a probe was under way.
    pub looks: Vec<PortSample>,
}

impl Listeners {
    /// Connections waiting in all accept queues of the port.
    pub fn queued(&self) -> u64 {
        self.sockets.iter().map(|socket| u64::from(socket.accept_queue)).sum()
    }
}

impl Listeners {
    /// Whether a listening socket is the server's: with SO_REUSEPORT several servers have a socket each on one
    /// address, and the queue of one says nothing of another. Where nobody's could be told, each counts.
    pub fn is_served_by(&self, pid: Option<u32>, inode: u64) -> bool {
        let is_own = |holder: &u32| {
            pid == Some(*holder)
                || self.holders.iter().any(|known| known.pid == *holder && known.in_lineage == Some(true))
        };
        let of = |socket: &Listener| socket.holders.iter().any(is_own);
        !self.sockets.iter().any(of) || self.sockets.iter().any(|socket| socket.inode == inode && of(socket))
    }
}

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Listener {
    /// Address it is bound to.
    pub address: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Inode number; on macOS the kernel's opaque handle of the socket.
    pub inode: u64,
    /// Connections that wait to be accepted.
    pub accept_queue: u32,
    /// Largest length of that queue; `null` where the kernel's table does not show it.
    pub backlog: Option<u32>,
    /// The systemd unit in whose control group the socket was made; `null` without one.
    pub unit: Option<String>,
    /// Control group in which the socket was made, from the kernel's socket diagnostics.
    pub cgroup: Option<String>,
    /// User id of the owner, from the kernel's table.
    pub uid: u32,
    /// Pids that hold it open.
    pub holders: Vec<u32>,
}

/// A process that holds a listening socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Command line, secrets masked.
    pub command: String,
    /// Kind of Hermes server by its command line; `null` for another program.
    pub kind: Option<super::ServerKind>,
    /// A program that stands in front of servers by design (proxy, port forwarder), by name.
    pub front: Option<String>,
    /// Whether it is the examined server, a parent or a child of it; `null` where no server was identified.
    pub in_lineage: Option<bool>,
}

/// Connections of one local port by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// ESTABLISHED and owned by a process.
    pub established: u64,
    /// CLOSE-WAIT, owned or not.
    pub close_wait: u64,
    /// ESTABLISHED or CLOSE-WAIT and owned by nobody: never accepted.
    pub not_accepted: u64,
}

/// One look at a listening port while the doctor's own probe was waiting.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortSample {
    /// Time after the probe's connection, in milliseconds.
    pub after_connect_ms: u64,
    /// Connections in the accept queues.
    pub accept_queue: u64,
    /// Connections that nobody owns.
    pub not_accepted: u64,
    /// Whether the server had accepted the probe's own connection; `null` where it was not found.
    pub probe_accepted: Option<bool>,
    /// Connections that waited at the first look and do not wait any more: the queue moves, whatever its length.
    #[serde(default)]
    pub accepted_since: u64,
    /// Connections that the server has accepted, that have sent it a request, and that have got no byte; `null` where the
    /// kernel's table does not tell what a connection has carried. A stream that is meant to stay open has got bytes.
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Of those at the first look, the ones that have got bytes since, or that the server has closed.
    #[serde(default)]
    pub answered_since: u64,
}
