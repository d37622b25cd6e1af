//! Turns the selection into the list of servers to examine.

use super::discover::{configured_ports, select_discovered_servers, stated_kind};
use super::draft::{
    absent, absent_program, add_pid_files, default_kind, expectation_of, find_home, is_about, names, speaks_of,
    take_own_home,
};
use super::homes::{self, Home, same_path};
use super::owner::{home_of, is_confirmed, kind_of, listens_anywhere, owner_of};
use super::program::KnownProgram;
use super::programs::{kind_of_program, server_of};
use super::{SelectError, Selected, Selection, Survey, Target};
use crate::model::{Expectation, GapDetail, Identity, Note, ServerKind};
use crate::parse::command::{CommandRole, HermesCommand, recognise};
use crate::supervisor::expect::Expect;
use std::net::IpAddr;
use std::path::PathBuf;
use url::Url;

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
