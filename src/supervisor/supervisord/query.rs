//! supervisord answers XML-RPC on the socket that its configuration names.

use super::wire::{Configuration, ProgramInfo, configuration, process_info};
use crate::collect::foreign::Login;
use crate::collect::worker::wire::Until;
use crate::collect::{Collected, Host};
use crate::model::text::{printable, raw};
use crate::model::{
    ClaimState, Gap, GapDetail, GapReason, GapSubject, HostPath, Supervisor, SupervisorKind, whole_milliseconds,
};
use crate::parse::http;
use crate::supervisor::place::{MAX_FILE_BYTES, Place, shown, since, timestamp};
use crate::supervisor::{Program, SupervisorProcess};
use base64::Engine;
use serde_bytes::ByteBuf;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Files of an include pattern that are read.
const MAX_INCLUDES: usize = 256;
/// Configuration files of supervisord without `-c` (Supervisor, "Configuration File").
const DEFAULT_CONFIGURATIONS: [&str; 4] =
    ["supervisord.conf", "etc/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"];

/// The programs of a supervisord.
///
/// # Errors
/// A gap when its configuration cannot be read, has no socket, or supervisord gives no answer.
pub fn programs(host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
    let place = Place::of(host, supervisor.pid)?;
    let (path, configuration, configuration_owner, gaps) = find_configuration(host, &place)?;
    let Some(socket) = &configuration.socket else {
        let detail = GapDetail::NoUnixServer { path: (shown(&path)).into() };
        return Err(Gap::new("supervisord", GapReason::Unsupported, detail));
    };
    let source = printable(socket.as_bytes());
    let login = configuration
        .login
        .as_ref()
        .map(|login| Login { message: ByteBuf::from(request(Some(login))), owner: configuration_owner });
    let answer = host
        .workers()?
        .exchange(&place.path(HostPath::from_kept(socket).path()), place.peer(), request(None), login, Until::Close)
        .map_err(|gap| Gap { what: GapSubject::SupervisordAnswer { path: source.as_str().into() }, ..gap })?;
    let malformed = |why: String| Gap::new(&source, GapReason::Malformed, why);
    let head = http::head(&answer)
        .map_err(|error| malformed(error.to_string()))?
        .ok_or_else(|| malformed(GapDetail::NoEndOfHeaders.to_string()))?;
    if head.status == 401 {
        return Err(Gap::new(&source, GapReason::Permission, GapDetail::SupervisordRefuses));
    }
    let body = http::complete(&answer).map_err(|error| malformed(error.to_string()))?;
    let found = process_info(&body).map_err(|error| malformed(error.to_string()))?;
    let program = |info| program(&place, host, &configuration, &path, &source, info);
    Ok(Collected { value: found.into_iter().map(program).collect(), gaps })
}

fn program(
    place: &Place,
    host: &dyn Host,
    configuration: &Configuration,
    path: &Path,
    source: &str,
    info: ProgramInfo,
) -> Program {
    let configured = [&info.name, &info.group].into_iter().find_map(|name| configuration.programs.get(name));
    let configured = configured.cloned().unwrap_or_default();
    let name = if info.group.is_empty() || info.group == info.name {
        info.name
    } else {
        format!("{}:{}", info.group, info.name)
    };
    let has_exited = info.state == "EXITED";
    // The state is EXITED also between two starts. By default (`unexpected`) it stays EXITED after a success.
    let always =
        configured.autorestart.as_deref().is_some_and(|value| matches!(value, "true" | "1" | "yes" | "on"));
    let claim = Supervisor {
        kind: SupervisorKind::Supervisord,
        name: Some(name.into()),
        claimed_pid: info.pid.and_then(|pid| place.pid(host, pid)),
        evidence: format!("supervisord on {source}").into(),
        claim_state: match info.state.as_str() {
            "STARTING" | "BACKOFF" => ClaimState::Restarting,
            "EXITED" if always => ClaimState::Restarting,
            "EXITED" if info.exit_status == Some(0) => ClaimState::Finished,
            "STOPPED" => ClaimState::Idle,
            "FATAL" => ClaimState::GaveUp,
            "RUNNING" | "STOPPING" => ClaimState::Running,
            _ => ClaimState::Unknown,
        },
        result: has_exited.then(|| format!("exit status {}", info.exit_status.unwrap_or(-1))).map(Into::into),
        since: info.stopped_at.max(info.started_at).and_then(timestamp),
        claimed_age_ms: info.pid.and(info.started_at).map(|at| whole_milliseconds(since(at))),
        ran_ms: info.stopped_at.zip(info.started_at).map(|(end, start)| end.saturating_sub(start) * 1000),
        state: Some(info.state.into()),
        pid: Some(place.process.identity.pid),
        owner: place.owner(),
        // `syslog`, and other values that a daemon of another user can return, are not files.
        log: [info.error_log, info.log].into_iter().flatten().find(|path| path.starts_with('/')).map(Into::into),
        configuration: Some(shown(path).into()),
        policy: configured.autorestart.map(|value| format!("autorestart={value}")).map(Into::into),
        port: configured.webui_port,
        home: configured.home,
        ..Supervisor::default()
    };
    let command = shlex::split(&configured.command).unwrap_or_default();
    let is_enabled = Some(configured.autostart.as_deref().is_none_or(|value| value != "false"));
    Program { claim, command, is_enabled, ..Program::default() }.recognised()
}

/// HTTP/1.0, so that the end of the answer is the end of the connection.
fn request(login: Option<&(String, String)>) -> Vec<u8> {
    let body =
        "<?xml version='1.0'?><methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>";
    let login = login.map_or_else(String::new, |(user, password)| {
        let pair = base64::engine::general_purpose::STANDARD.encode(raw(&format!("{user}:{password}")));
        format!("Authorization: Basic {pair}\r\n")
    });
    format!("POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\n{login}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// The configuration: its path, its content, its owner, and included files that could not be read. It is the file of
/// `-c`, else the first of the default places (Supervisor, "Configuration File").
fn find_configuration(host: &dyn Host, place: &Place) -> Result<(PathBuf, Configuration, u32, Vec<Gap>), Gap> {
    let identity = place.process.identity;
    let argv = host.commands(&[identity.pid]).pop().and_then(Result::ok).unwrap_or_default();
    let mut words = argv.iter();
    let mut named = None;
    while let Some(word) = words.next() {
        if word == "-c" || word == "--configuration" {
            named = words.next().cloned();
        } else if let Some(path) = word.strip_prefix("--configuration=") {
            named = Some(path.to_owned());
        }
    }
    let candidates: Vec<PathBuf> = match named {
        Some(path) => vec![HostPath::from_kept(&path).into()],
        None => DEFAULT_CONFIGURATIONS.map(PathBuf::from).into(),
    };
    // Only shown: files are opened relative to the directory itself, whatever its path is.
    let here = host.working_directory(identity).unwrap_or_default();
    let mut last =
        Gap::new(GapSubject::SupervisordConfiguration, GapReason::NotFound, GapDetail::NoDefaultLocation);
    for path in candidates {
        match host.workers()?.content(&place.path(&path), MAX_FILE_BYTES) {
            Ok(content) => {
                let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
                let shown_directory = HostPath::from(&*here.join(&directory)).kept();
                let mut found = configuration(&content.bytes, &shown_directory);
                let mut gaps = Vec::new();
                for file in included(host, place, &directory, &found.includes.clone(), &mut gaps) {
                    match host.workers()?.content(&place.path(&file), MAX_FILE_BYTES) {
                        Ok(read) => found.programs.extend(configuration(&read.bytes, &shown_directory).programs),
                        Err(gap) => gaps.push(gap),
                    }
                }
                return Ok((here.join(path), found, content.owner, gaps));
            }
            // Another default location may have it. A file that cannot be read ends the search, because it takes
            // precedence.
            Err(gap) if gap.reason == GapReason::NotFound => last = gap,
            Err(gap) => return Err(gap),
        }
    }
    Err(last)
}

/// Files of include patterns. A `*` is supported in the last part of a path, where it is used.
fn included(
    host: &dyn Host,
    place: &Place,
    directory: &Path,
    patterns: &[String],
    gaps: &mut Vec<Gap>,
) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (at, pattern) in patterns.iter().enumerate() {
        if at >= MAX_INCLUDES || found.len() >= MAX_INCLUDES {
            let what = GapSubject::IncludedFiles { path: shown(directory).into() };
            gaps.push(Gap::new(what, GapReason::NotAsked, GapDetail::MoreNotRead { count: MAX_INCLUDES }));
            found.truncate(MAX_INCLUDES);
            break;
        }
        let path = directory.join(HostPath::from_kept(pattern).path());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let name = name.as_bytes();
        let Some(star) = name.iter().position(|byte| *byte == b'*') else {
            found.push(path.clone());
            continue;
        };
        let (start, end) = (&name[..star], &name[star + 1..]);
        let names = match host.list_directory(&place.path(parent), MAX_INCLUDES) {
            Ok(names) => names,
            // A pattern may match nothing.
            Err(gap) if gap.reason == GapReason::NotFound => continue,
            Err(gap) => {
                gaps.push(gap);
                continue;
            }
        };
        let fits = |name: &&OsString| name.as_bytes().starts_with(start) && name.as_bytes().ends_with(end);
        found.extend(names.iter().filter(fits).map(|name| parent.join(name)));
    }
    found
}
