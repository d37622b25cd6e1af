//! Determines which process is the server: the owner of a port, the kind of a process, and its home.

use super::{Selection, Survey};
use crate::collect::SocketTable;
use crate::model::{GapSubject, HostPath, Identity, ServerKind};
use crate::parse::command::{CommandRole, HermesCommand, front_program, recognise};
use crate::parse::sockets::{TcpSocket, TcpState};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Listening sockets of a port.
pub fn listening(table: &SocketTable, port: u16) -> impl Iterator<Item = &TcpSocket> {
    table.tcp.iter().filter(move |socket| socket.state == TcpState::LISTEN && socket.local.port() == port)
}

/// The process that holds the listening sockets of a port. Of several holders it is the Hermes server, and of related
/// ones the topmost.
pub fn owner_of(survey: &Survey<'_>, port: u16) -> Option<(Identity, Option<HermesCommand>)> {
    let inodes: HashSet<u64> = listening(survey.sockets(), port).map(|socket| socket.inode).collect();
    if inodes.is_empty() {
        return None;
    }
    // Hermes servers first; all other processes only where none of those holds the port.
    let mut found = HashMap::new();
    if !survey.scans_all {
        let likely: Vec<u32> = survey.hermes().into_iter().map(|(pid, _)| pid).collect();
        (found, _) = survey.host.holders(&inodes, Some(&likely));
    }
    if found.is_empty() {
        (found, _) = survey.holders(&inodes);
    }
    let mut holders: Vec<u32> = found.into_values().flatten().collect();
    holders.sort_unstable();
    holders.dedup();
    let rank = |pid: &u32| {
        let command = recognise(&survey.command(*pid));
        let is_server = command.as_ref().is_some_and(|command| command.role == CommandRole::Server);
        let has_holder_above = survey.ancestors(*pid).iter().any(|ancestor| holders.contains(ancestor));
        (!is_server, has_holder_above, *pid)
    };
    let pid = match holders.iter().copied().min_by_key(rank) {
        Some(pid) => pid,
        None => likely_owner(survey, port)?,
    };
    let identity = survey.host.identify(pid).ok()?;
    Some((identity, recognise(&survey.command(pid))))
}

/// The likely owner of a port where no descriptors could be read: a Hermes server of the socket's user that has the
/// port in its command line, or the only one that can have it. Every user can read command lines and users.
fn likely_owner(survey: &Survey<'_>, port: u16) -> Option<u32> {
    let owner = listening(survey.sockets(), port).next()?;
    let candidates: Vec<(u32, HermesCommand)> = survey
        .hermes()
        .into_iter()
        .filter(|(pid, command)| {
            let uid =
                survey.host.identify(*pid).ok().and_then(|id| survey.process(id).ok()).map(|read| read.value.uid);
            command.role == CommandRole::Server && uid == Some(owner.uid)
        })
        .collect();
    let says_port = candidates.iter().find(|(_, command)| command.port == Some(port));
    let open: Vec<_> = candidates.iter().filter(|(_, command)| command.port.is_none_or(|port| port == 0)).collect();
    match (says_port, open.as_slice()) {
        (Some((pid, _)), _) => Some(*pid),
        (None, [(pid, command)]) if command.certain => Some(*pid),
        _ => None,
    }
}

/// Whether a process listens on any TCP port of its own network namespace.
pub fn listens_anywhere(survey: &Survey<'_>, pid: u32) -> bool {
    let process = survey.host.identify(pid).ok().and_then(|identity| survey.process(identity).ok());
    let inodes: HashSet<u64> = survey
        .sockets_of(process.as_ref().map(|read| &read.value))
        .tcp
        .iter()
        .filter(|socket| socket.state == TcpState::LISTEN)
        .map(|socket| socket.inode)
        .collect();
    !survey.host.holders(&inodes, Some(&[pid])).0.is_empty()
}

/// The kind of a process: as selected, else by its command line, else as expected on the port.
pub fn kind_of(
    survey: &Survey<'_>,
    identity: Identity,
    command: Option<&HermesCommand>,
    selection: &Selection,
    expected: Option<ServerKind>,
) -> ServerKind {
    if let Some(command) = command {
        let fits = selection.kind.or(expected).is_none_or(|kind| kind == command.kind);
        if command.role == CommandRole::Server
            && (command.certain || fits && is_confirmed_or(survey, identity, command, expected))
        {
            return command.kind;
        }
    }
    selection.kind.or(expected.filter(|_| is_front(survey, identity))).unwrap_or(ServerKind::Other)
}

fn is_front(survey: &Survey<'_>, identity: Identity) -> bool {
    survey.command(identity.pid).first().is_some_and(|program| front_program(program).is_some())
}

fn is_confirmed_or(
    survey: &Survey<'_>,
    identity: Identity,
    command: &HermesCommand,
    expected: Option<ServerKind>,
) -> bool {
    expected == Some(command.kind) || is_confirmed(survey, identity, command)
}

/// Whether a command line that other programs have too is a Hermes server's. It is one if the process holds the default
/// port of its kind, if it listens and its directory or environment is that of Hermes, or if its unit has the name of
/// Hermes. Every child of an agent inherits the home, so for a process that does not listen the home proves nothing.
pub fn is_confirmed(survey: &Survey<'_>, identity: Identity, command: &HermesCommand) -> bool {
    if command.certain {
        return true;
    }
    let usual = command.kind.default_port();
    if usual.and_then(|port| owner_of(survey, port)).is_some_and(|(owner, _)| owner == identity) {
        return true;
    }
    let Ok(process) = survey.process(identity) else { return false };
    let process = process.value;
    let unit = process.cgroup.as_deref().and_then(crate::parse::cgroup::unit_of);
    if unit.is_some_and(|unit| unit.name.contains("hermes") && unit.name.contains(command.kind.word())) {
        return true;
    }
    let is_place = |path: &Path| path.to_string_lossy().to_ascii_lowercase().contains("hermes");
    let place = || survey.host.working_directory(identity).is_ok_and(|path| is_place(&path));
    let script = Path::new(&command.program).parent().is_some_and(is_place);
    listens_anywhere(survey, identity.pid) && (process.home.is_some() || script || place())
}

/// Home that a server's command line or environment names; `None` where it would be the default of its user.
pub fn explicit_home(survey: &Survey<'_>, identity: Identity, command: &HermesCommand) -> Option<PathBuf> {
    let said = command.home.as_deref().map(HostPath::from_kept);
    said.or_else(|| survey.process(identity).ok()?.value.home).map(PathBuf::from)
}

/// Home of a server: the one in its command line or environment, else the default of its user.
pub fn home_of(survey: &Survey<'_>, identity: Identity, command: &HermesCommand) -> Option<PathBuf> {
    if let Some(home) = &command.home {
        return Some(HostPath::from_kept(home).into());
    }
    let read = survey.process(identity).ok()?;
    let base = match read.value.home {
        Some(home) => PathBuf::from(home),
        // Its environment could not be read, so it may have another home than the default.
        None if read.gaps.iter().any(|gap| matches!(gap.what, GapSubject::SupervisorMarkers { .. })) => {
            return None;
        }
        // As Python's `Path.home`: the variable, else the account's home.
        None => match read.value.user_home.filter(|home| home.starts_with('/')) {
            Some(home) => PathBuf::from(home),
            None => survey.host.user_home(read.value.uid)?,
        }
        .join(".hermes"),
    };
    match &command.profile {
        Some(profile) if profile != "default" => {
            let profile = HostPath::from_kept(profile);
            let is_of_profile = base.ends_with(profile.path());
            Some(if is_of_profile { base } else { base.join("profiles").join(profile.path()) })
        }
        _ => Some(base),
    }
}
