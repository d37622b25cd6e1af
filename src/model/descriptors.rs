//! Open descriptors of a process, counted while they were read.

use super::{Address, DescriptorTarget, HostPath, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Share of the soft limit of descriptors above which their number is a warning.
pub const CEILING_WARNING: f64 = 0.80;
/// Share above which it is critical.
pub const CEILING_CRITICAL: f64 = 0.95;
/// Every open descriptor of one process, by kind and by target.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Descriptors {
    /// Number of open descriptors; `null` if not even the number could be read.
    pub open: Option<u64>,
    /// Soft limit of the live process; `null` is unlimited or unknown (a gap says which).
    pub soft_limit: Option<u64>,
    /// Hard limit of the live process.
    pub hard_limit: Option<u64>,
    /// Number of descriptors by kind. TCP sockets are counted by state: `tcp-established`, `tcp-close-wait` …
    pub by_kind: BTreeMap<Symbol, u64>,
    /// Distinct targets, most descriptors first.
    pub targets: Vec<Target>,
    /// Distinct targets that are not listed in `targets`.
    pub targets_omitted: u64,
    /// SQLite files, one row per database.
    pub sqlite: Vec<SqliteFamily>,
    /// Sockets with their addresses, one row per socket.
    pub sockets: Vec<SocketDescriptor>,
    /// Sockets that are not listed in `sockets`.
    pub sockets_omitted: u64,
    /// CLOSE-WAIT sockets that the process owns; `null` if sockets could not be matched to states.
    pub close_wait: Option<CloseWait>,
}

impl Descriptors {
    /// Descriptors that can still be opened below the soft limit.
    pub fn headroom(&self) -> Option<u64> {
        Some(self.soft_limit?.saturating_sub(self.open?))
    }

    /// Open descriptors as a share of the soft limit, 0.0 to 1.0 (above 1.0 if the limit was lowered later).
    pub fn share(&self) -> Option<f64> {
        match (self.open?, self.soft_limit?) {
            (_, 0) => None,
            (open, limit) => Some(open as f64 / limit as f64),
        }
    }
}

/// One distinct target of descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Target {
    /// Path, or a description such as `tcp CLOSE-WAIT to 149.154.167.220:443`.
    pub target: DescriptorTarget,
    /// Kind, a key of [`Descriptors::by_kind`].
    pub kind: Symbol,
    /// Descriptors that point to it.
    pub count: u64,
    /// Whether the file was unlinked.
    pub deleted: bool,
    /// Size in bytes; read only for unlinked files.
    pub size_bytes: Option<u64>,
}

/// A database and its companion files as one row: `X`, `X-wal`, `X-shm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SqliteFamily {
    /// Path of the database file.
    pub path: HostPath,
    /// Descriptors on the database.
    pub db: u64,
    /// Descriptors on `-wal`.
    pub wal: u64,
    /// Descriptors on `-shm`.
    pub shm: u64,
    /// Descriptors on unlinked files, among all of these.
    pub deleted: u64,
    /// Number of connections that the handles imply. Each connection has one WAL descriptor, opened at the
    /// first read; a database without a log has one database descriptor per connection. Database descriptors
    /// alone are a weaker sign: while one connection is open, SQLite keeps the descriptors of closed ones for
    /// later use, because closing any of them would drop the locks of the process. All connections share
    /// `-shm`.
    pub connections: u64,
}

impl SqliteFamily {
    /// Database and WAL descriptors together: what a leaked connection occupies.
    pub fn handles(&self) -> u64 {
        self.db.saturating_add(self.wal)
    }
}

/// One socket among the descriptors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SocketDescriptor {
    /// Inode number, as in `socket:[INODE]`; on macOS the opaque handle of the socket.
    pub inode: u64,
    /// `tcp`, `udp`, `unix`, `netlink` …
    pub protocol: Symbol,
    /// Local address or bound path.
    pub local: Option<Address>,
    /// Remote address.
    pub remote: Option<Address>,
    /// TCP state in the kernel's spelling, for example `CLOSE-WAIT`.
    pub state: Option<Symbol>,
    /// Descriptors that point to it.
    pub count: u64,
}

/// CLOSE-WAIT sockets: the peer has closed the connection, and this process has not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloseWait {
    /// Number at the first sample.
    pub first: u64,
    /// Number of the same sockets at the second sample; `null` if no second sample was taken.
    pub still_at_second: Option<u64>,
    /// Time between the samples, in milliseconds.
    pub between_ms: Option<u64>,
    /// By peer, most sockets first.
    pub by_peer: Vec<CloseWaitPeer>,
}

/// CLOSE-WAIT sockets of one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CloseWaitPeer {
    /// Remote address and port.
    pub peer: Address,
    /// Number of sockets.
    pub count: u64,
}
