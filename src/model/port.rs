//! The listeners of a port, and its pending connections.

use super::{Address, CommandLine, HostPath, OwnTerm, ProgramName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every listening socket of one port, and the connections of the port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Listeners {
    /// The port.
    pub port: u16,
    /// Listening sockets, one row each.
    pub sockets: Vec<Listener>,
    /// Whether all processes of the host were scanned for these sockets. `false`: only the likely ones.
    pub holders_complete: bool,
    /// The processes that have the sockets open.
    pub holders: Vec<Holder>,
    /// Connections of that port.
    pub connections: Connections,
    /// Samples of the queue during a probe.
    pub looks: Vec<PortSample>,
}

impl Listeners {
    /// Pending connections in all accept queues of the port.
    pub fn queued(&self) -> u64 {
        self.sockets.iter().map(|socket| u64::from(socket.accept_queue)).sum()
    }
}

impl Listeners {
    /// Whether a listening socket belongs to the server. With SO_REUSEPORT several servers can each have a
    /// socket on one address, and the queue of one socket shows nothing about another. If no socket of the
    /// server was identified, all count.
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
    pub address: Address,
    /// `ipv4` or `ipv6`.
    pub family: OwnTerm,
    /// Inode number; on macOS the opaque handle of the socket.
    pub inode: u64,
    /// Connections in the accept queue.
    pub accept_queue: u32,
    /// Maximum length of that queue; `null` if the kernel's table does not contain it.
    pub backlog: Option<u32>,
    /// The systemd unit of the control group that the socket was created in; `null` without one.
    pub unit: Option<ProgramName>,
    /// Control group that the socket was created in, from the kernel's socket diagnostics.
    pub cgroup: Option<HostPath>,
    /// User id of the owner, from the kernel's table.
    pub uid: u32,
    /// Pids of the processes that have it open.
    pub holders: Vec<u32>,
}

/// A process that has a listening socket open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// Command line, secrets masked.
    pub command: CommandLine,
    /// Kind of Hermes server, by its command line; `null` for another program.
    pub kind: Option<super::ServerKind>,
    /// Name of the front program (proxy, port forwarder), if it is one.
    pub front: Option<ProgramName>,
    /// Whether it is the examined server, an ancestor or a child of it; `null` if no server was identified.
    pub in_lineage: Option<bool>,
}

/// Connections of one local port, by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Connections {
    /// ESTABLISHED, and open in a process.
    pub established: u64,
    /// CLOSE-WAIT, accepted or not.
    pub close_wait: u64,
    /// Pending: ESTABLISHED or CLOSE-WAIT, and not accepted by any process.
    pub not_accepted: u64,
}

/// One sample of a listening port while the probe of the doctor waited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortSample {
    /// Time after the probe's connection, in milliseconds.
    pub after_connect_ms: u64,
    /// Connections in the accept queues.
    pub accept_queue: u64,
    /// Pending connections.
    pub not_accepted: u64,
    /// Whether the server had accepted the probe's connection; `null` if that connection was not found.
    pub probe_accepted: Option<bool>,
    /// Connections that were pending at the first sample and are no longer: the queue moves, whatever its
    /// length.
    #[serde(default)]
    pub accepted_since: u64,
    /// Connections that the server has accepted, that have sent a request, and that have received no byte.
    /// `null` if the kernel's table does not report the data transferred. A stream that stays open by design
    /// has received bytes.
    #[serde(default)]
    pub unanswered: Option<u64>,
    /// Connections among those at the first sample that have received bytes since, or that the server has
    /// closed.
    #[serde(default)]
    pub answered_since: u64,
}
