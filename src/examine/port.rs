//! The port of a server: its number, its listeners, and its pending connections.

use super::Examination;
use crate::collect::SocketTable;
use crate::model::{
    Connections, Gap, GapDetail, GapReason, GapSubject, Holder, Listener, Listeners, Note, Server, id,
};
use crate::parse::cgroup::unit_of;
use crate::parse::command::{CommandRole, front_program, recognise};
use crate::parse::mask;
use crate::parse::sockets::{TcpSocket, TcpState, unmapped};
use crate::target::listening;
use std::collections::{HashMap, HashSet};

impl Examination<'_> {
    /// Determines the port: the given one, else one that the process listens on.
    pub(super) fn find_port(&self, server: &mut Server, table: &SocketTable, sockets_held: Option<&HashSet<u64>>) {
        if server.port.is_some() && self.target.command.as_ref().is_none_or(|command| command.port != Some(0)) {
            let listens_there = |port| {
                sockets_held.is_some_and(|held| listening(table, port).any(|socket| held.contains(&socket.inode)))
            };
            // If only its own command line names the port, another program may have taken it; its listeners are
            // better evidence.
            let was_named = self.target.expectation.named_by.iter().any(Note::is_port);
            if was_named || self.target.identity.is_none() || server.port.is_some_and(listens_there) {
                return;
            }
        }
        let mut own: Vec<u16> = match sockets_held {
            Some(held) => table
                .tcp
                .iter()
                .filter(|socket| socket.state == TcpState::LISTEN && held.contains(&socket.inode))
                .map(|socket| socket.local.port())
                .collect(),
            None => Vec::new(),
        };
        own.sort_unstable();
        own.dedup();
        let usual = server.kind.default_port();
        // Other listeners of a gateway (such as webhooks) are not its API server.
        let others = own.first().copied().filter(|_| server.kind != crate::model::ServerKind::Gateway);
        let found = usual.filter(|port| own.contains(port)).or(others);
        server.port = found.or(server.port).or_else(|| {
            // If its descriptors cannot be read, its default port is used, if a process of the same user has it
            // open and no other server of its kind could be that process.
            let process = server.process.as_ref().filter(|_| sockets_held.is_none_or(HashSet::is_empty))?;
            let is_only = self.survey.hermes_servers().iter().all(|(pid, command)| {
                *pid == process.identity.pid || command.kind != server.kind || command.role != CommandRole::Server
            });
            usual.filter(|port| is_only && listening(table, *port).any(|socket| socket.uid == process.uid))
        });
    }

    /// Fills in the listeners and the pending connections.
    pub(super) fn listeners(&self, server: &mut Server, table: &SocketTable, sockets_held: Option<&HashSet<u64>>) {
        let Some(port) = server.port else { return };
        if table.source.is_empty() {
            return;
        }
        let sockets: Vec<&TcpSocket> = listening(table, port).collect();
        let inodes: HashSet<u64> = sockets.iter().map(|socket| socket.inode).collect();
        let (holders, complete) = self.holders(server, &inodes, sockets_held);
        let units = self.units(server, &sockets);
        let rows: Vec<Listener> = sockets
            .iter()
            .map(|socket| {
                let path = socket.cgroup_id.and_then(|id| units.get(&id)).cloned();
                Listener {
                    address: unmapped(socket.local).ip().to_string().into(),
                    family: if socket.local.is_ipv4() { "ipv4" } else { "ipv6" }.to_owned().into(),
                    inode: socket.inode,
                    accept_queue: socket.receive_queue,
                    backlog: socket.send_queue,
                    unit: path.as_deref().and_then(unit_of).map(|unit| unit.name).map(Into::into),
                    cgroup: path.map(Into::into),
                    uid: socket.uid,
                    holders: holders.get(&socket.inode).cloned().unwrap_or_default(),
                }
            })
            .collect();
        if server.process.is_none() && !rows.is_empty() {
            let detail = GapDetail::ServerUnread;
            let gap = Gap::new(GapSubject::PortHolder { port }, GapReason::Permission, detail);
            server.gaps.push(gap.blocking(id::LINEAGE).blocking(id::DESCRIPTORS).blocking(&[id::PORT_HELD]));
        }
        if server.process.is_none() && rows.is_empty() && table.is_partial {
            let detail = GapDetail::SocketsOfOthers;
            let gap = Gap::new(GapSubject::ListenerOf { port }, GapReason::Permission, detail);
            server.gaps.push(gap.blocking(id::LINEAGE).blocking(id::DESCRIPTORS).blocking(&[id::PORT_HELD]));
        }
        server.listeners = Some(Listeners {
            port,
            sockets: rows,
            holders_complete: complete,
            holders: self.describe_holders(server, &holders),
            connections: connections(table, port),
            looks: Vec::new(),
        });
    }

    /// Finds the holders: first the likely ones, which are the server and its relatives. All processes, if a
    /// socket is left without a holder, or on request.
    fn holders(
        &self,
        server: &mut Server,
        inodes: &HashSet<u64>,
        sockets_held: Option<&HashSet<u64>>,
    ) -> (HashMap<u64, Vec<u32>>, bool) {
        if inodes.is_empty() {
            return (HashMap::new(), true);
        }
        let host = self.survey.host;
        if let Some(pid) = server.pid.filter(|_| !self.request.all_holders) {
            let holds_all = sockets_held.is_some_and(|held| inodes.is_subset(held));
            if holds_all && !self.survey.knows_holders(inodes) {
                let (mut found, _) = host.holders(inodes, Some(&self.survey.relatives(pid)));
                found.values_mut().for_each(|pids| pids.sort_unstable());
                return (found, false);
            }
        }
        self.progress.step("searching all processes for the port");
        let (mut found, complete) = self.survey.holders(inodes);
        found.values_mut().for_each(|pids| pids.sort_unstable());
        let is_complete = complete.is_ok();
        if let Err(gap) = complete
            && server.process.is_some()
            && inodes.iter().any(|inode| !found.contains_key(inode))
        {
            server.gaps.push(gap.blocking(&[id::PORT_HELD, id::PORT_OWNER_UNEXPECTED]));
        }
        (found, is_complete)
    }

    /// Control groups of the sockets, by id.
    fn units(&self, server: &mut Server, sockets: &[&TcpSocket]) -> HashMap<u64, String> {
        let ids: HashSet<u64> = sockets.iter().filter_map(|socket| socket.cgroup_id).collect();
        if ids.is_empty() {
            return HashMap::new();
        }
        let hints: Vec<String> =
            server.process.iter().filter_map(|process| process.cgroup.as_ref().map(ToString::to_string)).collect();
        match self.survey.host.cgroup_paths(&ids, &hints) {
            Ok(paths) => {
                let gone = ids.iter().filter(|id| !paths.contains_key(id)).count();
                if gone > 0 {
                    server.gaps.push(Gap::new(
                        GapSubject::ControlGroupOfSocket,
                        GapReason::Vanished,
                        GapDetail::ControlGroupGone,
                    ));
                }
                paths
            }
            Err(gap) => {
                server.gaps.push(gap);
                HashMap::new()
            }
        }
    }

    fn describe_holders(&self, server: &Server, holders: &HashMap<u64, Vec<u32>>) -> Vec<Holder> {
        let mut pids: Vec<u32> = holders.values().flatten().copied().collect();
        pids.sort_unstable();
        pids.dedup();
        pids.into_iter()
            .map(|pid| {
                let argv = self.survey.command(pid);
                let words: Vec<&[u8]> = argv.iter().map(String::as_bytes).collect();
                let own = server.pid == Some(pid);
                let recognised = recognise(&argv).filter(|command| {
                    command.role == CommandRole::Server && (command.certain || own && server.kind == command.kind)
                });
                Holder {
                    pid,
                    command: mask::command(&words).into(),
                    kind: recognised.map(|command| command.kind),
                    front: argv
                        .first()
                        .and_then(|program| front_program(program))
                        .or_else(|| self.survey.is_service_manager(pid).then_some("systemd"))
                        .map(str::to_owned)
                        .map(Into::into),
                    in_lineage: server.pid.map(|own| self.survey.are_relatives(own, pid)),
                }
            })
            .collect()
    }
}

/// Counts the connections of a local port. A connection without an inode was never accepted. This holds for
/// ESTABLISHED and CLOSE-WAIT only, since a socket that was accepted and closed has no inode either.
fn connections(table: &SocketTable, port: u16) -> Connections {
    let mut found = Connections::default();
    for socket in table.tcp.iter().filter(|socket| socket.local.port() == port) {
        match (socket.state, socket.inode) {
            (TcpState::ESTABLISHED, 0) => found.not_accepted += 1,
            (TcpState::ESTABLISHED, _) => found.established += 1,
            (TcpState::CLOSE_WAIT, inode) => {
                found.close_wait += 1;
                found.not_accepted += u64::from(inode == 0);
            }
            _ => {}
        }
    }
    found
}
