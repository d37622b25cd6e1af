//! Turns the selection into the list of servers to examine.

use super::homes::{self, Home, same_path};
use super::owner::{explicit_home, home_of, is_confirmed, kind_of, listening, listens_anywhere, owner_of};
use super::program::KnownProgram;
use super::programs::{ServerProfile, kind_of_program, server_of};
use super::{SelectError, Selected, Selection, Survey, Target};
use crate::model::{
    ClaimState, Expectation, Fit, Gap, GapDetail, GapReason, GapSubject, Identity, Note, ServerKind, SupervisorKind,
};
use crate::parse::command::{CommandRole, HermesCommand, program_name, recognise, recognise_configured};
use crate::supervisor::Program;
use crate::supervisor::expect::Expect;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use url::Url;

/// Servers of one user that are examined where none was named: any user can start a thousand processes with the
/// command line of a server.
const MAX_PER_USER: usize = 32;

/// Default ports of Hermes servers.
const DEFAULT_PORTS: &[(u16, ServerKind)] =
    &[(8787, ServerKind::Webui), (9119, ServerKind::Dashboard), (8642, ServerKind::Gateway)];

/// Selects the servers to examine.
///
/// # Errors
/// When a named server cannot be examined.
pub fn select(survey: &Survey<'_>, selection: &Selection) -> Result<Selected, SelectError> {
    if let Some(url) = &selection.url {
        return by_url(survey, selection, url);
    }
    if let Some(pid) = selection.pid {
        return by_pid(survey, selection, pid);
    }
    let named_home = match &selection.home {
        Some(path) => Some(homes::named(survey, path)?),
        None => None,
    };
    match (selection.port, named_home, &selection.expect) {
        (Some(port), home, _) => Ok(by_port(survey, selection, port, home)),
        (None, Some(home), _) => Ok(by_home(survey, selection, home)),
        (None, None, Some(expect)) if *expect != Expect::NoSupervisor => by_expectation(survey, selection, expect),
        (None, None, _) => Ok(select_discovered_servers(survey, selection)),
    }
}

/// The server of the program that is expected to run it. Where the program has a port, the listener on that port is
/// examined, which can be another process.
fn by_expectation(survey: &Survey<'_>, selection: &Selection, expect: &Expect) -> Result<Selected, SelectError> {
    let known = survey.expected_program(expect, None).map_err(|gap| {
        SelectError::Expect(
            GapDetail::NameServerToo { subject: Box::new(gap.what.clone()), why: Box::new(gap.detail.clone()) }
                .to_string(),
        )
    })?;
    let Some(KnownProgram { program, .. }) = known else { return Ok(select_discovered_servers(survey, selection)) };
    let running = server_of(survey, &program);
    let port = program.claim.port.or_else(|| {
        let listening = survey.ports_below(program.claim.claimed_pid?);
        listening.into_iter().min()
    });
    let mut selected = match (port, running) {
        (Some(port), _) => {
            let kind = selection.kind.or_else(|| stated_kind(&program));
            by_port(survey, &Selection { kind, ..selection.clone() }, port, None)
        }
        (None, Some((pid, _))) => by_pid(survey, selection, pid)?,
        (None, None) => {
            let kind = kind_of_program(&program, selection);
            Selected { targets: vec![absent_program(selection, &program, kind)], ..Selected::default() }
        }
    };
    for target in &mut selected.targets {
        target.expectation.named_by = vec![expect.to_string().into()];
        target.home = target.home.take().or_else(|| program.claim.home.clone().map(PathBuf::from));
    }
    Ok(selected)
}

/// A server that a program is configured to run, and that is not running.
fn absent_program(selection: &Selection, program: &Program, kind: ServerKind) -> Target {
    let claim = &program.claim;
    Target {
        // Without a configured port the port is unknown, and the listener on the default port would prove nothing.
        port: claim.port,
        ..absent(kind, claim.home.clone().map(PathBuf::from), selection)
    }
}

/// The kind of server with this default port.
fn default_kind(port: u16) -> Option<ServerKind> {
    DEFAULT_PORTS.iter().find(|(known, _)| *known == port).map(|(_, kind)| *kind)
}

fn by_url(survey: &Survey<'_>, selection: &Selection, url: &Url) -> Result<Selected, SelectError> {
    let shown = crate::parse::mask::url(url.as_str());
    if !matches!(url.scheme(), "http" | "https") {
        return Err(SelectError::Url(shown, "only http and https are examined"));
    }
    let (Some(host), Some(port)) = (url.host_str(), url.port_or_known_default()) else {
        return Err(SelectError::Url(shown, "it has no host"));
    };
    if port == 0 {
        return Err(SelectError::Url(shown, "no server listens on port 0"));
    }
    if let Some(other) = selection.port.filter(|other| *other != port) {
        return Err(SelectError::Conflict(shown, format!("--port {other}")));
    }
    if is_own_host(survey, host) {
        let narrowed = Selection { url: None, port: Some(selection.port.unwrap_or(port)), ..selection.clone() };
        let mut selected = select(survey, &narrowed)?;
        for target in &mut selected.targets {
            target.url = Some(url.clone());
            target.expectation.named_by.insert(0, Note::NamedByUrl { url: shown.as_str().into() });
        }
        return Ok(selected);
    }
    if let Some(pid) = selection.pid {
        return Err(SelectError::Conflict(shown, format!("--pid {pid} (the URL is on another host)")));
    }
    if let Some(home) = &selection.home {
        return Err(SelectError::Conflict(
            shown,
            format!("--home {} (the URL is on another host)", homes::shown(home)),
        ));
    }
    let kind = selection.kind.or_else(|| default_kind(port)).unwrap_or(ServerKind::Other);
    let target = Target {
        kind,
        identity: None,
        command: None,
        port: Some(port),
        home: None,
        url: Some(url.clone()),
        expectation: Expectation {
            named_by: vec![Note::NamedByUrl { url: shown.into() }],
            any_program: kind == ServerKind::Other,
            kind: selection.kind,
            home: selection.home.as_deref().map(homes::shown).map(Into::into),
            remote: true,
            ..Expectation::default()
        },
        pid_files: Vec::new(),
    };
    Ok(Selected { targets: vec![target], ..Selected::default() })
}

fn is_own_host(survey: &Survey<'_>, host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(address) => {
            address.is_loopback() || address.is_unspecified() || survey.host.own_addresses().contains(&address)
        }
        Err(_) if host.eq_ignore_ascii_case("localhost") || host.to_ascii_lowercase().ends_with(".localhost") => {
            true
        }
        // A name of this machine is this machine, by whatever address it resolves to.
        Err(_) => survey.host.resolve(host).is_some_and(|found| {
            let own = survey.host.own_addresses();
            !found.is_empty() && found.iter().all(|address| address.is_loopback() || own.contains(address))
        }),
    }
}

fn by_pid(survey: &Survey<'_>, selection: &Selection, pid: u32) -> Result<Selected, SelectError> {
    let identity = survey.host.identify(pid)?;
    let command = recognise(&survey.command(pid));
    let kind = kind_of(survey, identity, command.as_ref(), selection, None);
    let mut expectation = expectation_of(selection, kind);
    expectation.named_by.push(format!("--pid {pid}").into());
    if let Some(port) = selection.port {
        expectation.named_by.push(format!("--port {port}").into());
        expectation.port_belongs_because = kind.is_hermes().then_some(Note::PortByPid { port, pid });
    }
    expectation.any_program = kind == ServerKind::Other;
    let mut target = Target {
        kind,
        identity: Some(identity),
        port: selection.port.or_else(|| command.as_ref()?.port.filter(|port| *port != 0)),
        command,
        home: selection.home.clone(),
        url: None,
        expectation,
        pid_files: Vec::new(),
    };
    if let Some(path) = &selection.home {
        let home = homes::named(survey, path)?;
        let about = Home {
            pid_files: home.pid_files.into_iter().filter(|file| is_about(file.names, Some(identity))).collect(),
            ..home
        };
        add_pid_files(&mut target, &about);
        take_own_home(survey, &mut target, selection);
    } else {
        find_home(survey, &mut target);
    }
    Ok(Selected { targets: vec![target], ..Selected::default() })
}

fn by_port(survey: &Survey<'_>, selection: &Selection, port: u16, home: Option<Home>) -> Selected {
    // A survey that reads every process does so first: the same scan determines which programs run here.
    let early_owner = survey.scans_all.then(|| owner_of(survey, port));
    let homes = match &home {
        Some(home) => vec![home.clone()],
        None => homes::discover(survey),
    };
    let units = if home.is_some() { Vec::new() } else { configured_ports(survey) };
    let (identity, command) = match early_owner.unwrap_or_else(|| owner_of(survey, port)) {
        Some((identity, command)) => (Some(identity), command),
        None => match not_listening(survey, selection, port, home.as_ref()) {
            Some((identity, command)) => (Some(identity), Some(command)),
            None => (None, None),
        },
    };
    let configured = homes
        .iter()
        .filter_map(|home| {
            home.webui_port.as_ref().map(|(port, file)| (*port, ServerKind::Webui, file, home.owner))
        })
        .chain(units.iter().map(|unit| (unit.port, unit.kind, &unit.file, unit.owner)))
        .find(|(known, _, _, said_by)| *known == port && (home.is_some() || speaks_of(survey, *said_by, identity)));
    let belongs = if selection.kind == Some(ServerKind::Other) {
        None
    } else if let Some(kind) = selection.kind {
        Some(Note::NamedByKind { kind: kind.word().into() })
    } else if let Some(home) = &home {
        Some(Note::NamedByHome { path: (homes::shown(&home.path)).into() })
    } else if let Some((_, _, file, _)) = configured {
        Some(Note::from(format!("{file} names the port")))
    } else {
        default_kind(port).map(|kind| Note::PortByDefault { kind: kind.title().into() })
    };
    let expected_kind = selection
        .kind
        .or_else(|| configured.map(|(_, kind, ..)| kind))
        .or_else(|| default_kind(port))
        .or_else(|| home.as_ref().and_then(|home| home.kinds.first().copied()));
    let kind = match identity {
        Some(identity) => kind_of(survey, identity, command.as_ref(), selection, expected_kind),
        None => expected_kind.unwrap_or(ServerKind::Other),
    };
    let any_program = belongs.is_none();
    let mut target = Target {
        kind,
        identity,
        command,
        port: Some(port),
        home: selection.home.clone(),
        url: None,
        expectation: Expectation {
            named_by: vec![format!("--port {port}").into()],
            port_belongs_because: belongs,
            any_program,
            ..expectation_of(selection, kind)
        },
        pid_files: Vec::new(),
    };
    // The files of a named home belong to this server; of the other homes only those that name it.
    for home in &homes {
        if target.home.is_some() || names(survey, home, identity) {
            target.home.get_or_insert_with(|| home.path.clone());
            add_pid_files(&mut target, home);
        }
    }
    take_own_home(survey, &mut target, selection);
    find_home(survey, &mut target);
    Selected { targets: vec![target], ..Selected::default() }
}

/// Whether a pid file of a home that was discovered, not named, is about a process.
fn names(survey: &Survey<'_>, home: &Home, identity: Option<Identity>) -> bool {
    home.pid_files.iter().any(|file| is_about(file.names, identity)) && speaks_of(survey, home.owner, identity)
}

/// Whether a file of a user counts for a process. For root's doctor it counts only for processes of that same user: any
/// user can write the port or the pid of another user's server into a file.
fn speaks_of(survey: &Survey<'_>, said_by: Option<u32>, identity: Option<Identity>) -> bool {
    let Some(identity) = identity.filter(|_| said_by != Some(0) && rustix::process::geteuid().is_root()) else {
        return true;
    };
    survey.process(identity).is_ok_and(|read| said_by == Some(read.value.uid))
}

fn is_about(names: Option<Identity>, identity: Option<Identity>) -> bool {
    names.is_some() && names == identity
}

fn add_pid_files(target: &mut Target, home: &Home) {
    target.pid_files.extend(
        home.pid_files.iter().filter(|file| file.kind == target.kind || target.kind == ServerKind::Other).cloned(),
    );
}

/// A server with its own home keeps it instead of the named one; the difference is checked later.
fn take_own_home(survey: &Survey<'_>, target: &mut Target, selection: &Selection) {
    if let (Some(identity), Some(command), Some(named)) = (target.identity, &target.command, &selection.home)
        && !target.pid_files.iter().any(|file| is_about(file.names, Some(identity)))
        && let Some(own) = explicit_home(survey, identity, command).filter(|own| !same_path(own, named))
    {
        target.home = Some(own);
    }
}

/// Adds the home that a server's command line or environment names, and the pid files in it.
fn find_home(survey: &Survey<'_>, target: &mut Target) {
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

/// A server that should listen on the port and does not.
fn not_listening(
    survey: &Survey<'_>,
    selection: &Selection,
    port: u16,
    home: Option<&Home>,
) -> Option<(Identity, HermesCommand)> {
    let wanted = selection.kind.or_else(|| default_kind(port));
    survey.hermes().into_iter().find_map(|(pid, command)| {
        let says_port = command.port == Some(port);
        let is_default =
            command.port.is_none() && command.kind.default_port() == Some(port) && wanted == Some(command.kind);
        let named =
            home.is_some_and(|home| home.pid_files.iter().any(|file| file.names.is_some_and(|id| id.pid == pid)));
        let fits = command.role == CommandRole::Server && command.certain && (!command.demo || says_port);
        if !fits || !(says_port || is_default || named) || listens_anywhere(survey, pid) {
            return None;
        }
        Some((survey.host.identify(pid).ok()?, command))
    })
}

fn by_home(survey: &Survey<'_>, selection: &Selection, home: Home) -> Selected {
    let mut targets = Vec::new();
    for (pid, command) in survey.hermes_servers().iter().cloned() {
        if command.role != CommandRole::Server || selection.kind.is_some_and(|kind| kind != command.kind) {
            continue;
        }
        let Ok(identity) = survey.host.identify(pid) else { continue };
        let is_named = home.pid_files.iter().any(|file| is_about(file.names, Some(identity)));
        let is_in = home_of(survey, identity, &command).is_some_and(|path| same_path(&path, &home.path));
        if is_named || is_in && is_confirmed(survey, identity, &command) {
            targets.push(server_of_home(selection, &home, identity, command));
        }
    }
    // The port that the home names, where none of its servers has it.
    let kind = selection.kind.unwrap_or(ServerKind::Webui);
    let port = home.webui_port.as_ref().filter(|_| kind == ServerKind::Webui);
    if let Some((port, file)) = port
        && !targets.iter().any(|target| target.kind == ServerKind::Webui)
    {
        let mut selected = by_port(survey, selection, *port, Some(home.clone()));
        for target in &mut selected.targets {
            target.expectation.named_by = vec![Note::NamedByHome { path: (homes::shown(&home.path)).into() }];
            target.expectation.port_belongs_because = Some(Note::from(format!("{file} names the port")));
            target.expectation.any_program = false;
        }
        targets.extend(selected.targets);
    }
    if targets.is_empty() {
        let kinds = match selection.kind {
            Some(kind) => vec![kind],
            None if home.kinds.is_empty() => vec![ServerKind::Other],
            None => home.kinds.clone(),
        };
        for kind in kinds {
            let mut target = absent(kind, Some(home.path.clone()), selection);
            target.expectation.named_by.push(Note::NamedByHome { path: (homes::shown(&home.path)).into() });
            add_pid_files(&mut target, &home);
            targets.push(target);
        }
    }
    // Pid files of kinds that do not run here belong to no examined server.
    let is_taken =
        |path: &str| targets.iter().any(|target| target.pid_files.iter().any(|own| own.file.path == path));
    let stray_pid_files = home.pid_files.iter().filter(|file| !is_taken(&file.file.path)).cloned().collect();
    Selected { targets, stray_pid_files, ..Selected::default() }
}

fn server_of_home(selection: &Selection, home: &Home, identity: Identity, command: HermesCommand) -> Target {
    let kind = command.kind;
    let mut target = Target {
        identity: Some(identity),
        port: command.port.filter(|port| *port != 0),
        command: Some(command),
        ..absent(kind, Some(home.path.clone()), selection)
    };
    target.expectation.named_by = vec![Note::NamedByHome { path: (homes::shown(&home.path)).into() }];
    add_pid_files(&mut target, home);
    target
}

fn absent(kind: ServerKind, home: Option<PathBuf>, selection: &Selection) -> Target {
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

fn expectation_of(selection: &Selection, kind: ServerKind) -> Expectation {
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

fn named_supervisor(selection: &Selection) -> Option<String> {
    selection.expect.as_ref().map(|expect| match expect {
        Expect::NoSupervisor => expect.kind().to_string(),
        expect => format!("{} {}", expect.kind(), expect.name()),
    })
}

fn select_discovered_servers(survey: &Survey<'_>, selection: &Selection) -> Selected {
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
fn configured_ports(survey: &Survey<'_>) -> Vec<homes::UnitPort> {
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

fn stated_kind(program: &Program) -> Option<ServerKind> {
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
