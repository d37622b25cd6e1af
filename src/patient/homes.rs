//! HERMES_HOME directories: what lies in them that names a server.

use super::{SelectError, Survey};
use crate::collect::{FileKind, Host, PidProblem};
use crate::model::{GapReason, Identity, PidFile, PidFileState, ServerKind};
use crate::parse::command::recognise;
use crate::parse::home::{PidRecord, control_state, pid_file, webui_port};
use crate::parse::text::printable;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest configuration or pid file that is read.
const LARGEST_FILE: usize = 64 * 1024;
/// Profiles that are looked at in one home.
const MOST_PROFILES: usize = 64;

/// A pid file and the kind of server that it is for.
#[derive(Clone, Debug)]
pub struct PidFileRead {
    /// The kind.
    pub kind: ServerKind,
    /// The home that it lies in.
    pub home: PathBuf,
    /// The file, compared with the process table.
    pub file: PidFile,
    /// The live server that it names.
    pub names: Option<Identity>,
}

/// One home.
#[derive(Clone, Debug)]
pub struct Home {
    /// Where.
    pub path: PathBuf,
    /// Pid files in it.
    pub pid_files: Vec<PidFileRead>,
    /// Port of its WebUI by the control script's state or an environment file, and the file that says so.
    pub webui_port: Option<(u16, String)>,
    /// Kinds of server that have left something in it.
    pub kinds: Vec<ServerKind>,
}

/// Files and directories that make a directory a Hermes home.
const LANDMARKS: &[&str] = &[
    "kanban.db",
    "response_store.db",
    "memory_store.db",
    "state.db",
    "config.yaml",
    "webui",
    "profiles",
    "gateway.pid",
    "webui.pid",
    "webui.ctl.env",
    "gateway_state.json",
];

/// A path as text.
pub fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// Two spellings of one directory.
pub fn same_path(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

/// Checks that a directory that somebody named is a home, and reads it.
pub fn named(survey: &Survey<'_>, path: &Path) -> Result<Home, SelectError> {
    match survey.host.file_kind(path) {
        Ok(FileKind::Directory) => {}
        Ok(_) => return Err(SelectError::NotAHome(shown(path))),
        Err(gap) if gap.reason == GapReason::NotFound => return Err(SelectError::NoSuchHome(shown(path))),
        Err(gap) => return Err(SelectError::HomeUnreadable(shown(path), gap.detail)),
    }
    match landmarks(survey.host, path) {
        Ok(found) if !found.is_empty() => Ok(read(survey, path, &found)),
        // Somebody says that it is one, and its environment file names a WebUI's port.
        Ok(_) => Some(read(survey, path, &[]))
            .filter(|home| home.webui_port.is_some())
            .ok_or_else(|| SelectError::NotAHome(shown(path))),
        Err(detail) => Err(SelectError::HomeUnreadable(shown(path), detail)),
    }
}

/// Finds the homes of this host: `$HERMES_HOME`, `~/.hermes` of each user that may be looked at, and their profiles.
pub fn discover(survey: &Survey<'_>) -> Vec<Home> {
    let mut candidates: Vec<PathBuf> = std::env::var_os("HERMES_HOME").map(PathBuf::from).into_iter().collect();
    candidates.extend(survey.host.user_homes().into_iter().map(|home| home.join(".hermes")));
    let mut found: Vec<Home> = Vec::new();
    for path in candidates {
        if !path.is_absolute() || found.iter().any(|home| same_path(&home.path, &path)) {
            continue;
        }
        let Ok(landmarks) = landmarks(survey.host, &path) else { continue };
        if landmarks.is_empty() {
            continue;
        }
        if landmarks.iter().any(|name| name == "profiles") {
            for profile in survey.host.list_directory(&path.join("profiles"), MOST_PROFILES).unwrap_or_default() {
                let profile = path.join("profiles").join(profile);
                let marks = self::landmarks(survey.host, &profile).unwrap_or_default();
                if !marks.is_empty() {
                    found.push(read(survey, &profile, &marks));
                }
            }
        }
        found.push(read(survey, &path, &landmarks));
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn landmarks(host: &dyn Host, path: &Path) -> Result<Vec<String>, String> {
    let names = host.list_directory(path, 4096).map_err(|gap| gap.detail)?;
    Ok(names.into_iter().filter(|name| LANDMARKS.contains(&name.as_str())).collect())
}

fn read(survey: &Survey<'_>, path: &Path, landmarks: &[String]) -> Home {
    let has = |name: &str| landmarks.iter().any(|landmark| landmark == name);
    let mut home = Home { path: path.to_owned(), pid_files: Vec::new(), webui_port: None, kinds: Vec::new() };
    let file = |name: &str| survey.host.read_file(&path.join(name), LARGEST_FILE).ok();
    if has("webui.pid")
        && let Some(record) = file("webui.pid").and_then(|bytes| pid_file(&bytes))
    {
        home.pid_files.push(compare(survey, path, "webui.pid", ServerKind::Webui, &record));
    }
    if has("webui.ctl.env")
        && let Some(bytes) = file("webui.ctl.env")
    {
        let state = control_state(&bytes);
        if let Some(pid) = state.pid.filter(|pid| home.pid_files.iter().all(|other| other.file.pid != *pid)) {
            let record = PidRecord { pid, start_ticks: None };
            home.pid_files.push(compare(survey, path, "webui.ctl.env", ServerKind::Webui, &record));
        }
        home.webui_port = state.port.map(|port| (port, shown(&path.join("webui.ctl.env"))));
    }
    if has("gateway.pid")
        && let Some(record) = file("gateway.pid").and_then(|bytes| pid_file(&bytes))
    {
        home.pid_files.push(compare(survey, path, "gateway.pid", ServerKind::Gateway, &record));
    }
    if home.webui_port.is_none()
        && let Some(port) = file(".env").and_then(|bytes| webui_port(&bytes))
    {
        home.webui_port = Some((port, shown(&path.join(".env"))));
    }
    if has("webui") || has("webui.pid") || has("webui.ctl.env") || home.webui_port.is_some() {
        home.kinds.push(ServerKind::Webui);
    }
    if has("gateway.pid") || has("gateway_state.json") {
        home.kinds.push(ServerKind::Gateway);
    }
    home
}

/// Compares what a pid file says with what the pid is now.
fn compare(survey: &Survey<'_>, home: &Path, name: &str, kind: ServerKind, record: &PidRecord) -> PidFileRead {
    let file = |state, detail: String| PidFile { path: shown(&home.join(name)), pid: record.pid, state, detail };
    let (state, detail, names) = match survey.host.identify(record.pid) {
        Err(PidProblem::Unreadable(_, why)) => (PidFileState::Unknown, why, None),
        Err(problem @ (PidProblem::Thread { .. } | PidProblem::Kernel(..))) => {
            (PidFileState::OtherProgram, problem.to_string(), None)
        }
        Err(problem) => (PidFileState::Dead, problem.to_string(), None),
        Ok(identity) => {
            let argv = survey.command(record.pid);
            let command = crate::report::mask::command(&argv.iter().map(String::as_bytes).collect::<Vec<_>>());
            let is_other_start =
                record.start_ticks.is_some_and(|ticks| !is_same_start(ticks, identity.start_ticks));
            match recognise(&argv) {
                _ if argv.is_empty() => (PidFileState::Unknown, "its command line could not be read".into(), None),
                None => (PidFileState::OtherProgram, command, None),
                Some(found) if found.kind != kind && found.certain => (PidFileState::OtherProgram, command, None),
                Some(_) if is_other_start => (PidFileState::OtherStart, command, None),
                Some(_) => (PidFileState::Live, command, Some(identity)),
            }
        }
    };
    let is_stale = !matches!(state, PidFileState::Live | PidFileState::Unknown);
    let inner = if is_stale { inner_pid(survey, kind, record.pid) } else { None };
    let (state, detail) = match inner {
        Some(outer) => (PidFileState::Unknown, format!("pid {outer} has that pid in a namespace of its own")),
        None => (state, detail),
    };
    PidFileRead { kind, home: home.to_owned(), file: file(state, detail), names }
}

/// A server of that kind that lives in another pid namespace and has this pid there.
fn inner_pid(survey: &Survey<'_>, kind: ServerKind, pid: u32) -> Option<u32> {
    survey.hermes().into_iter().find_map(|(outer, command)| {
        let process = survey.host.process(survey.host.identify(outer).ok()?).ok()?.value;
        let nested = process.namespace_pids.len() > 1 && process.namespace_pids.last() == Some(&pid);
        (nested && command.kind == kind).then_some(outer)
    })
}

/// A port that a service unit gives to a Hermes server.
#[derive(Clone, Debug)]
pub struct UnitPort {
    /// The port.
    pub port: u16,
    /// The kind of server.
    pub kind: ServerKind,
    /// The unit's file.
    pub file: String,
}

/// Ports that the unit files of this host give to Hermes servers (systemd.service(5)): in the command, in
/// `Environment=` or in an `EnvironmentFile=`.
pub fn unit_ports(survey: &Survey<'_>) -> Vec<UnitPort> {
    let mut directories =
        vec![PathBuf::from("/etc/systemd/system"), PathBuf::from("/usr/local/lib/systemd/system")];
    directories.extend(survey.host.user_homes().into_iter().map(|home| home.join(".config/systemd/user")));
    let mut found = Vec::new();
    for directory in directories {
        let names = survey.host.list_directory(&directory, 4096).unwrap_or_default();
        for name in names.iter().filter(|name| name.contains("hermes") && name.ends_with(".service")).take(32) {
            let path = directory.join(name);
            let Ok(bytes) = survey.host.read_file(&path, LARGEST_FILE) else { continue };
            let unit = crate::parse::systemd::unit_file(&bytes);
            let Some(command) = unit.command.as_deref().and_then(recognise) else { continue };
            let of_environment = || {
                let files = unit
                    .environment_files
                    .iter()
                    .filter_map(|file| survey.host.read_file(Path::new(file), LARGEST_FILE).ok());
                files.filter_map(|bytes| webui_port(&bytes)).next_back().or(unit.webui_port)
            };
            let port = command.port.or_else(|| (command.kind == ServerKind::Webui).then(of_environment).flatten());
            if let Some(port) = port.filter(|port| *port != 0) {
                found.push(UnitPort { port, kind: command.kind, file: shown(&path) });
            }
        }
    }
    found
}

/// Records keep the kernel's clock ticks; a tick of rounding is no other process.
fn is_same_start(record: u64, now: u64) -> bool {
    record.abs_diff(now) <= 1
}
