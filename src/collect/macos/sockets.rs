//! TCP sockets, read from every process that may be read: the kernel has no public table of all sockets.

use super::calls;
use crate::collect::{Collected, Deadline, SocketTable};
use crate::model::{Gap, GapDetail, GapReason, GapSubject};
use crate::parse::darwin::descriptor;
use crate::parse::darwin::layout::PROX_FDTYPE_SOCKET;
use crate::parse::darwin::process as parse;
use crate::parse::darwin::socket::{Socket, parse as parse_socket};
use std::collections::{HashMap, HashSet};
use std::io;

/// Sockets of a set of processes.
#[derive(Default)]
struct SocketScan {
    tcp: HashMap<u64, crate::parse::sockets::TcpSocket>,
    holders: HashMap<u64, Vec<u32>>,
    refused: usize,
    unasked: usize,
}

fn all_pids() -> io::Result<Vec<u32>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    let table = parse::table(&calls::process_table()?).map_err(invalid)?;
    Ok(table.into_iter().map(|process| process.pid).filter(|pid| *pid != 0).collect())
}

fn walk(pids: &[u32], deadline: Deadline) -> SocketScan {
    let mut found = SocketScan::default();
    for (index, pid) in pids.iter().enumerate() {
        if deadline.is_over() {
            found.unasked = pids.len() - index;
            break;
        }
        let list = match calls::descriptor_list(*pid) {
            Ok(list) => list,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                found.refused += 1;
                continue;
            }
            // The process has ended.
            Err(_) => continue,
        };
        for (number, kind) in descriptor::list(&list) {
            if usize::try_from(kind).ok() != Some(PROX_FDTYPE_SOCKET) {
                continue;
            }
            let socket = calls::descriptor(*pid, number, kind).ok().and_then(|bytes| parse_socket(&bytes).ok());
            let Some(socket) = socket else { continue };
            let holders = found.holders.entry(socket.handle()).or_default();
            if holders.last() != Some(pid) {
                holders.push(*pid);
            }
            if let Socket::Tcp(socket) = socket {
                found.tcp.insert(socket.inode, socket);
            }
        }
    }
    found
}

impl SocketScan {
    fn gap(&self, what: GapSubject) -> Option<Gap> {
        if self.unasked > 0 {
            let detail = GapDetail::ProcessesNotRead { count: self.unasked };
            return Some(Gap::new(what, GapReason::Timeout, detail));
        }
        let detail = GapDetail::ProcessesOfOthers { count: self.refused };
        (self.refused > 0).then(|| Gap::new(what, GapReason::Permission, detail))
    }
}

/// TCP sockets of this host. A pending connection belongs to no process and is not included; the accept queue of its
/// listener counts it.
pub fn table(deadline: Deadline) -> Collected<SocketTable> {
    let pids = match all_pids() {
        Ok(pids) => pids,
        Err(error) => {
            let gaps = vec![Gap::from_io(GapSubject::SocketTable, &error)];
            return Collected { value: SocketTable::default(), gaps };
        }
    };
    let found = walk(&pids, deadline);
    let gap = found.gap(GapSubject::SocketsOfAll);
    let is_partial = gap.is_some();
    let mut tcp: Vec<_> = found.tcp.into_values().collect();
    tcp.sort_unstable_by_key(|socket| socket.inode);
    Collected {
        value: SocketTable { tcp, source: "proc_pidfdinfo".to_owned(), is_partial },
        gaps: gap.into_iter().collect(),
    }
}

/// The processes that hold these sockets: those among `among`, or those of the whole host.
pub fn holders(
    handles: &HashSet<u64>,
    among: Option<&[u32]>,
    deadline: Deadline,
) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
    let listed;
    let pids = match among {
        Some(pids) => pids,
        None => match all_pids() {
            Ok(pids) => {
                listed = pids;
                &listed
            }
            Err(error) => return (HashMap::new(), Err(Gap::from_io(GapSubject::HoldersOfSockets, &error))),
        },
    };
    let mut found = walk(pids, deadline);
    let gap = found.gap(GapSubject::HoldersOfSockets);
    found.holders.retain(|handle, _| handles.contains(handle));
    (found.holders, gap.map_or(Ok(()), Err))
}
