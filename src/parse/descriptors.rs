//! Rows of descriptors by kind and target, for all systems.

use super::link::{self, SqlitePart};
use super::sockets::{OtherSocket, TcpSocket, TcpState, unmapped};
use crate::model::text::printable;
use crate::model::{
    CloseWait, CloseWaitPeer, Descriptors, HostPath, SocketDescriptor, SqliteFamily, Symbol, Target,
};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// Maximum number of socket rows that are kept.
const MAX_SOCKETS: usize = 512;
/// Maximum number of target rows that are kept.
pub const MAX_TARGETS: usize = 512;

/// Rows by kind and target, collected while descriptors are read.
#[derive(Default)]
pub struct Rows {
    by_kind: BTreeMap<Symbol, u64>,
    targets: Vec<Target>,
    omitted: usize,
    /// Databases by their paths.
    families: BTreeMap<Vec<u8>, SqliteFamily>,
}

/// One file, and the descriptors on it.
pub struct OpenFile<'p> {
    /// `regular`, `directory`, `device`, `pipe`, `unix` or `other`.
    pub kind: &'static str,
    /// Its path; empty if it has none.
    pub path: &'p [u8],
    /// Number of descriptors.
    pub count: u64,
    /// Whether it is unlinked.
    pub deleted: bool,
    /// Size in bytes, for an unlinked file.
    pub size_bytes: Option<u64>,
}

impl Rows {
    /// Reserves capacity for this many distinct targets.
    pub fn with_capacity(distinct: usize) -> Self {
        Self { targets: Vec::with_capacity(distinct.min(2 * MAX_TARGETS)), ..Self::default() }
    }

    /// Adds one distinct target.
    pub fn add(
        &mut self,
        kind: impl Into<Symbol>,
        target: String,
        count: u64,
        deleted: bool,
        size_bytes: Option<u64>,
    ) {
        let kind = kind.into();
        self.count(&kind, count);
        self.targets.push(Target { target: target.into(), kind, count, deleted, size_bytes });
    }

    /// Counts a target that is not among the [`MAX_TARGETS`] targets of its kind with the most descriptors.
    pub fn omit(&mut self, kind: &str, count: u64) {
        self.count(kind, count);
        self.omitted += 1;
    }

    fn count(&mut self, kind: &str, count: u64) {
        match self.by_kind.get_mut(kind) {
            Some(known) => *known += count,
            None => {
                self.by_kind.insert(kind.to_owned().into(), count);
            }
        }
    }

    /// Adds the descriptors on one file, and counts them for the database that the file is a part of. A file that is not
    /// listed is only counted.
    pub fn add_file(&mut self, file: &OpenFile<'_>, is_listed: bool) {
        if file.kind == "regular"
            && let Some((base, part)) = link::sqlite_family(file.path)
        {
            self.count_family(base, part, file);
        }
        if !is_listed {
            return self.omit(file.kind, file.count);
        }
        let path = if file.path.is_empty() { "a file without a path".to_owned() } else { printable(file.path) };
        self.add(file.kind, path, file.count, file.deleted, file.size_bytes);
    }

    fn count_family(&mut self, base: &[u8], part: SqlitePart, file: &OpenFile<'_>) {
        let family = self.families.entry(base.to_vec()).or_insert_with(|| SqliteFamily {
            path: HostPath::new(base),
            db: 0,
            wal: 0,
            shm: 0,
            deleted: 0,
            connections: 0,
        });
        match part {
            SqlitePart::Database => family.db += file.count,
            SqlitePart::Wal => family.wal += file.count,
            SqlitePart::Shm => family.shm += file.count,
        }
        if file.deleted {
            family.deleted += file.count;
        }
        family.connections = if family.wal > 0 { family.wal } else { family.db };
    }

    /// Adds the sockets, grouped by the peer they are connected to. `is_matched` is whether the states could be
    /// read.
    pub fn add_sockets(&mut self, rows: Vec<SocketDescriptor>, is_matched: bool, facts: &mut Descriptors) {
        let mut grouped: BTreeMap<(Symbol, String), u64> = BTreeMap::new();
        let mut close_wait: BTreeMap<String, u64> = BTreeMap::new();
        for row in &rows {
            if row.state.as_deref() == Some(TcpState::CLOSE_WAIT.name())
                && let Some(remote) = &row.remote
            {
                *close_wait.entry(remote.clone().to_string()).or_default() += 1;
            }
            *grouped.entry(description(row)).or_default() += row.count;
        }
        for ((kind, target), count) in grouped {
            self.add(kind, target, count, false, None);
        }
        facts.sockets = rows;
        facts.sockets_omitted = u64::try_from(facts.sockets.len().saturating_sub(MAX_SOCKETS)).unwrap_or(0);
        first_in_order(&mut facts.sockets, MAX_SOCKETS, |a, b| {
            // TCP sockets, which have a state, come first. Where numbers decide the order, the comparison is
            // cheap.
            (a.state.is_none(), &a.protocol, &a.state, &a.remote, a.inode).cmp(&(
                b.state.is_none(),
                &b.protocol,
                &b.state,
                &b.remote,
                b.inode,
            ))
        });
        let mut by_peer: Vec<CloseWaitPeer> =
            close_wait.into_iter().map(|(peer, count)| CloseWaitPeer { peer: peer.into(), count }).collect();
        by_peer.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.peer.cmp(&b.peer)));
        let first = by_peer.iter().map(|peer| peer.count).sum();
        let found = CloseWait { first, still_at_second: None, between_ms: None, by_peer };
        facts.close_wait = is_matched.then_some(found);
    }

    /// Puts all rows in order, most descriptors first.
    pub fn finish(mut self, facts: &mut Descriptors) {
        facts.targets_omitted =
            u64::try_from(self.targets.len().saturating_sub(MAX_TARGETS) + self.omitted).unwrap_or(0);
        first_in_order(&mut self.targets, MAX_TARGETS, |a, b| {
            b.count.cmp(&a.count).then_with(|| a.target.cmp(&b.target))
        });
        facts.sqlite = self.families.into_values().collect();
        facts.sqlite.sort_by(|a, b| b.handles().cmp(&a.handles()).then_with(|| a.path.cmp(&b.path)));
        facts.targets = self.targets;
        facts.by_kind = self.by_kind;
    }
}

/// Keeps the first `most` rows, in order. The rows that are dropped are not sorted.
pub fn first_in_order<T>(rows: &mut Vec<T>, most: usize, order: impl Fn(&T, &T) -> Ordering) {
    if rows.len() > most {
        rows.select_nth_unstable_by(most, &order);
        rows.truncate(most);
        // The rows live until the end of the run, and would keep the capacity of all of them.
        rows.shrink_to_fit();
    }
    rows.sort_unstable_by(order);
}

/// The row of a TCP socket.
pub fn tcp_row(socket: &TcpSocket, count: u64) -> SocketDescriptor {
    let is_listener = socket.state == TcpState::LISTEN;
    let unbound = socket.state == TcpState::CLOSED;
    SocketDescriptor {
        inode: socket.inode,
        protocol: "tcp".into(),
        local: Some(unmapped(socket.local).to_string().into()),
        remote: (!is_listener && !unbound).then(|| unmapped(socket.remote).to_string()).map(Into::into),
        state: Some(socket.state.name().to_owned().into()),
        count,
    }
}

/// The row of any other socket.
pub fn other_row(socket: &OtherSocket, count: u64) -> SocketDescriptor {
    SocketDescriptor {
        inode: socket.inode,
        protocol: socket.protocol.into(),
        local: socket.local.clone().map(Into::into),
        remote: socket.remote.clone().map(Into::into),
        state: None,
        count,
    }
}

/// Kind and target of a socket: connections are grouped by peer and state, listeners by address.
fn description(row: &SocketDescriptor) -> (Symbol, String) {
    match (&row.state, &row.remote, &row.local) {
        (Some(state), Some(remote), _) => {
            (format!("tcp-{}", state.to_ascii_lowercase()).into(), format!("tcp {state} to {remote}"))
        }
        (Some(state), None, Some(local)) => {
            (format!("tcp-{}", state.to_ascii_lowercase()).into(), format!("tcp {state} {local}"))
        }
        (_, Some(remote), _) => (row.protocol.clone(), format!("{} to {remote}", row.protocol)),
        (_, None, Some(local)) => (row.protocol.clone(), format!("{} {local}", row.protocol)),
        _ => (row.protocol.clone(), row.protocol.to_string()),
    }
}
