//! Targets before their processes, homes and ports are completed.

use super::homes::{self, Home, same_path};
use super::owner::{explicit_home, home_of};
use super::{Selection, Survey, Target};
use crate::model::{Expectation, Identity, Note, ServerKind};
use crate::supervisor::Program;
use crate::supervisor::expect::Expect;
use std::path::PathBuf;

/// Default ports of Hermes servers.
pub(super) const DEFAULT_PORTS: &[(u16, ServerKind)] =
    &[(8787, ServerKind::Webui), (9119, ServerKind::Dashboard), (8642, ServerKind::Gateway)];

/// A server that a program is configured to run, and that is not running.
pub(super) fn absent_program(selection: &Selection, program: &Program, kind: ServerKind) -> Target {
    let claim = &program.claim;
    Target {
        // Without a configured port the port is unknown, and the listener on the default port would prove nothing.
        port: claim.port,
        ..absent(kind, claim.home.clone().map(PathBuf::from), selection)
    }
}

/// The kind of server with this default port.
pub(super) fn default_kind(port: u16) -> Option<ServerKind> {
    DEFAULT_PORTS.iter().find(|(known, _)| *known == port).map(|(_, kind)| *kind)
}

/// Whether a pid file of a home that was discovered, not named, is about a process.
pub(super) fn names(survey: &Survey<'_>, home: &Home, identity: Option<Identity>) -> bool {
    home.pid_files.iter().any(|file| is_about(file.names, identity)) && speaks_of(survey, home.owner, identity)
}

/// Whether a file of a user counts for a process. For root's doctor it counts only for processes of that same user: any
/// user can write the port or the pid of another user's server into a file.
pub(super) fn speaks_of(survey: &Survey<'_>, said_by: Option<u32>, identity: Option<Identity>) -> bool {
    let Some(identity) = identity.filter(|_| said_by != Some(0) && rustix::process::geteuid().is_root()) else {
        return true;
    };
    survey.process(identity).is_ok_and(|read| said_by == Some(read.value.uid))
}

pub(super) fn is_about(names: Option<Identity>, identity: Option<Identity>) -> bool {
    names.is_some() && names == identity
}

pub(super) fn add_pid_files(target: &mut Target, home: &Home) {
    target.pid_files.extend(
        home.pid_files.iter().filter(|file| file.kind == target.kind || target.kind == ServerKind::Other).cloned(),
    );
}

/// A server with its own home keeps it instead of the named one; the difference is checked later.
pub(super) fn take_own_home(survey: &Survey<'_>, target: &mut Target, selection: &Selection) {
    if let (Some(identity), Some(command), Some(named)) = (target.identity, &target.command, &selection.home)
        && !target.pid_files.iter().any(|file| is_about(file.names, Some(identity)))
        && let Some(own) = explicit_home(survey, identity, command).filter(|own| !same_path(own, named))
    {
        target.home = Some(own);
    }
}

/// Adds the home that a server's command line or environment names, and the pid files in it.
pub(super) fn find_home(survey: &Survey<'_>, target: &mut Target) {
    let (None, Some(identity), Some(command)) = (&target.home, target.identity, &target.command) else { return };
    if !target.kind.is_hermes() {
        return;
    }
    let Some(path) = home_of(survey, identity, command) else { return };
    if let Some(home) = homes::of_server(survey, survey.process_of(identity.pid).as_ref(), &path) {
        target.home = Some(path);
        add_pid_files(target, &home);
    }
}

pub(super) fn absent(kind: ServerKind, home: Option<PathBuf>, selection: &Selection) -> Target {
    Target {
        kind,
        identity: None,
        command: None,
        port: None,
        home,
        url: None,
        expectation: expectation_of(selection, kind),
        pid_files: Vec::new(),
    }
}

pub(super) fn expectation_of(selection: &Selection, kind: ServerKind) -> Expectation {
    let named_by = selection.kind.map(|kind| Note::NamedByKind { kind: kind.word().into() }).into_iter().collect();
    Expectation {
        named_by,
        any_program: kind == ServerKind::Other && selection.kind.is_none_or(|kind| kind == ServerKind::Other),
        kind: selection.kind,
        home: selection.home.as_deref().map(homes::shown).map(Into::into),
        supervisor: named_supervisor(selection).map(Into::into),
        ..Expectation::default()
    }
}

pub(super) fn named_supervisor(selection: &Selection) -> Option<String> {
    selection.expect.as_ref().map(|expect| match expect {
        Expect::NoSupervisor => expect.kind().to_string(),
        expect => format!("{} {}", expect.kind(), expect.name()),
    })
}
