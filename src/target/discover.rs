//! The servers of a host, where none is named.

use super::homes::{self, Home, same_path};
use super::owner::{home_of, is_confirmed, kind_of, listening, owner_of};
use super::program::KnownProgram;
use super::programs::ServerProfile;
use super::{Selected, Selection, Survey, Target};
use crate::model::{
    ClaimState, Expectation, Fit, Gap, GapDetail, GapReason, GapSubject, Identity, Note, ServerKind, SupervisorKind,
};
use crate::parse::command::{CommandRole, program_name, recognise_configured};
use crate::supervisor::Program;
use std::collections::BTreeMap;

use super::draft::{DEFAULT_PORTS, absent, absent_program, add_pid_files, expectation_of, names, speaks_of};

/// Servers of one user that are examined where none was named: any user can start a thousand processes with the
/// command line of a server.
const MAX_PER_USER: usize = 32;

pub(super) fn select_discovered_servers(survey: &Survey<'_>, selection: &Selection) -> Selected {
    let homes = homes::discover(survey);
    let mut selected = Selected::default();
    let mut of_users: BTreeMap<Option<u32>, usize> = BTreeMap::new();
    // Servers are ordered by turn: the first of each user, then the second of each, so that no user takes the time of
    // another.
    let mut order = Vec::new();
    for (pid, command) in survey.hermes_servers().iter().cloned() {
        let wanted = selection.kind.is_none_or(|kind| kind == command.kind);
        if command.role != CommandRole::Server || command.demo || !wanted {
            continue;
        }
        let process = survey.process_of(pid);
        let before = of_users.entry(process.as_ref().map(|process| process.uid)).or_default();
        *before += 1;
        if *before > MAX_PER_USER {
            continue;
        }
        let turn = *before;
        let Ok(identity) = survey.host.identify(pid) else { continue };
        let named = homes.iter().any(|home| names(survey, home, Some(identity)));
        if !named && !is_confirmed(survey, identity, &command) {
            continue;
        }
        let path = home_of(survey, identity, &command);
        // In a container the same path is another directory.
        let is_inside = process.as_ref().is_some_and(|process| process.foreign_mounts == Some(true));
        let home = homes
            .iter()
            .filter(|_| !is_inside)
            .find(|home| path.as_ref().is_some_and(|path| same_path(path, &home.path)));
        let kind = command.kind;
        let mut target = Target {
            identity: Some(identity),
            port: command.port.filter(|port| *port != 0),
            command: Some(command),
            ..absent(kind, path.clone(), selection)
        };
        // A home that only this server names is not in `homes`.
        let own = path
            .as_deref()
            .filter(|_| home.is_none())
            .and_then(|path| homes::of_server(survey, process.as_ref(), path));
        if let Some(home) = own.as_ref().or(home) {
            add_pid_files(&mut target, home);
        }
        selected.targets.push(target);
        order.push(turn);
    }
    let mut in_turn: Vec<_> = order.into_iter().zip(selected.targets).collect();
    in_turn.sort_by_key(|(turn, _)| *turn);
    selected.targets = in_turn.into_iter().map(|(_, target)| target).collect();
    for (uid, count) in of_users.into_iter().filter(|(_, count)| *count > MAX_PER_USER) {
        let whose = uid.map_or("unknown users".to_owned(), |uid| format!("uid {uid}"));
        let what = format!("{} more processes of {whose}", count - MAX_PER_USER);
        let detail = GapDetail::LooksLikeServers;
        selected.gaps.push(Gap::new(what, GapReason::NotAsked, detail));
    }
    add_ports(survey, selection, &homes, &mut selected);
    add_absent_programs(survey, selection, &mut selected);
    let known: Vec<Identity> = selected.targets.iter().filter_map(|target| target.identity).collect();
    selected.stray_pid_files = homes
        .iter()
        .flat_map(|home| home.pid_files.iter())
        .filter(|file| {
            file.names.is_none_or(|names| !known.contains(&names))
                && !selected
                    .targets
                    .iter()
                    .any(|target| target.pid_files.iter().any(|own| own.file.path == file.file.path))
        })
        .cloned()
        .collect();
    if selected.targets.is_empty() {
        match selection.kind {
            Some(kind) => selected.targets.push(absent(kind, None, selection)),
            None => selected.gaps.push(nothing_found(survey, &homes)),
        }
    }
    selected
}

/// Adds ports that a Hermes server should have: the ones that homes name, and the default ports of a host that has a
/// home. On a host without Hermes, a program on port 9119 is not examined.
fn add_ports(survey: &Survey<'_>, selection: &Selection, homes: &[Home], selected: &mut Selected) {
    let of_home = |home: &Home| {
        let (port, file) = home.webui_port.clone()?;
        Some((port, ServerKind::Webui, Note::from(format!("{file} names the port")), home.owner))
    };
    let mut ports: Vec<(u16, ServerKind, Note, Option<u32>)> = homes.iter().filter_map(of_home).collect();
    for (port, kind) in DEFAULT_PORTS {
        let is_used = homes.iter().any(|home| home.kinds.contains(kind) && home.webui_port.is_none());
        if is_used {
            ports.push((*port, *kind, Note::PortByDefault { kind: kind.title().into() }, Some(0)));
        }
    }
    for unit in configured_ports(survey) {
        ports.push((unit.port, unit.kind, Note::from(format!("{} names the port", unit.file)), unit.owner));
    }
    for (port, kind, because, said_by) in ports {
        if selection.kind.is_some_and(|wanted| wanted != kind) {
            continue;
        }
        let taken: Vec<Identity> = selected.targets.iter().filter_map(|target| target.identity).collect();
        let Some((identity, command)) = owner_of(survey, port).filter(|(owner, _)| !taken.contains(owner)) else {
            continue;
        };
        if command.as_ref().is_some_and(|command| command.demo) {
            continue;
        }
        if !speaks_of(survey, said_by, Some(identity)) {
            let what = GapSubject::PortOf { port, pid: identity.pid };
            let detail = GapDetail::HoldsPort { because: Box::new(because.clone()), port };
            selected.gaps.push(Gap::new(what, GapReason::NotAsked, detail));
            continue;
        }
        let kind = kind_of(survey, identity, command.as_ref(), selection, Some(kind));
        selected.targets.push(Target {
            kind,
            identity: Some(identity),
            command,
            port: Some(port),
            home: None,
            url: None,
            expectation: Expectation { port_belongs_because: Some(because), ..expectation_of(selection, kind) },
            pid_files: Vec::new(),
        });
    }
}

/// Ports that supervisors' programs and unit files assign to Hermes servers.
pub(super) fn configured_ports(survey: &Survey<'_>) -> Vec<homes::UnitPort> {
    let mut found = homes::unit_ports(survey);
    for KnownProgram { program, .. } in &survey.programs().known {
        let is_new = |port: u16| found.iter().all(|known| known.port != port);
        if let Some(port) = program.claim.port.filter(|port| is_new(*port))
            && let Some(kind) = stated_kind(program)
            && !(program.claim.claim_state == ClaimState::Idle && program.is_enabled != Some(true))
        {
            let file = program
                .claim
                .configuration
                .as_ref()
                .map_or_else(|| program.claim.evidence.to_string(), ToString::to_string);
            let me = rustix::process::geteuid().as_raw();
            found.push(homes::UnitPort { port, kind, file, owner: program.claim.owner.or(Some(me)) });
        }
    }
    found
}

pub(super) fn stated_kind(program: &Program) -> Option<ServerKind> {
    recognise_configured(&program.command).map(|command| command.kind)
}

/// Adds servers that a supervisor of this host should keep running and that are not among those found. A program that
/// was stopped on purpose, or is not enabled, is not expected to run.
fn add_absent_programs(survey: &Survey<'_>, selection: &Selection, selected: &mut Selected) {
    for known in &survey.programs().known {
        let (program, claim) = (&known.program, &known.program.claim);
        let Some(kind) = stated_kind(program).filter(|kind| selection.kind.is_none_or(|wanted| wanted == *kind))
        else {
            continue;
        };
        let has_setting = claim.kind.is_systemd() || claim.kind == SupervisorKind::Launchd;
        let is_wanted = claim.claim_state != ClaimState::Idle || program.is_enabled == Some(true) && has_setting;
        let is_certain =
            recognise_configured(&program.command).is_some_and(|command| command.certain && !command.demo);
        // A oneshot unit is done.
        if !is_wanted || !is_certain || program.is_oneshot {
            continue;
        }
        let is_found = selected.targets.iter().any(|target| is_run_by(survey, target, known));
        if !is_found {
            let mut target = absent_program(selection, program, kind);
            target.expectation.named_by.push(format!("{} ({})", claim.title(), claim.evidence).into());
            selected.targets.push(target);
        }
    }
}

/// Whether a server that was found is the one that a program is for.
fn is_run_by(survey: &Survey<'_>, target: &Target, known: &KnownProgram) -> bool {
    let process = target.identity.and_then(|identity| survey.process_of(identity.pid));
    let listening = process.as_ref().map(|process| survey.ports_below(process.identity.pid)).unwrap_or_default();
    let mut ports: Vec<Option<u16>> = target.port.into_iter().chain(listening).map(Some).collect();
    if ports.is_empty() {
        ports.push(target.kind.default_port());
    }
    let fits = |port: &Option<u16>| {
        let wanted = ServerProfile {
            kind: target.kind,
            port: *port,
            home: target.home.as_deref(),
            command: target.command.as_ref(),
            process: process.as_ref(),
        };
        let fitting = survey.programs_for(&wanted);
        // A program that took its port counts, but a server of another home does not.
        let is_it = |fit: Fit| fit != Fit::Rival || !target.kind.is_hermes();
        fitting.iter().any(|(fit, fitting)| is_it(*fit) && *fitting == known)
    };
    let is_below = |pid: u32| {
        let claimed = known.program.claim.claimed_pid;
        claimed.is_some_and(|claimed| claimed == pid || survey.ancestors(pid).contains(&claimed))
    };
    target.identity.is_some_and(|identity| is_below(identity.pid)) || ports.iter().any(fits)
}

fn nothing_found(survey: &Survey<'_>, homes: &[Home]) -> Gap {
    let held: Vec<String> = DEFAULT_PORTS
        .iter()
        .filter_map(|(port, _)| {
            let Some((identity, _)) = owner_of(survey, *port) else {
                listening(survey.sockets(), *port).next()?;
                return Some(format!("{port} is held by a process that could not be read"));
            };
            let argv = survey.command(identity.pid);
            Some(format!("{port} is held by pid {} ({})", identity.pid, program_name(argv.first()?)))
        })
        .collect();
    let homes = match homes {
        [] if survey.has_unread_homes.get() => "homes that could not be read".to_owned(),
        [] => "no Hermes home ($HERMES_HOME, ~/.hermes)".to_owned(),
        homes => homes.iter().map(|home| homes::shown(&home.path)).collect::<Vec<_>>().join(", "),
    };
    let ports = if held.is_empty() { "none on 8787, 9119, 8642".to_owned() } else { held.join(", ") };
    let alike = match survey.alike() {
        0 => String::new(),
        count => format!(" (not those of {count} processes that run the same program as many others)"),
    };
    let detail = format!(
        "checked {} command lines{alike}, the pid files of: {homes}; listeners: {ports}. Name one with --pid, --port, --url or --home, or try `hermes-doctor demo`",
        survey.commands().len()
    );
    Gap::new(GapSubject::AnyServer, GapReason::NotFound, detail)
}
