//! HERMES_HOME directories, and the files in them that identify a server.

use super::{SelectError, Survey};
use crate::collect::{FileKind, ForeignPath, PidProblem};
use crate::model::text::printable;
use crate::model::{Gap, GapReason, GapSubject, HostPath, Identity, PidFile, PidFileState, Process, ServerKind};
use crate::parse::command::{recognise, recognise_configured};
use crate::parse::home::{PidRecord, control_state, pid_file, webui_port};
use crate::supervisor::systemd::query::UnitOnDisk;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Largest configuration or pid file that is read.
const MAX_FILE_BYTES: usize = 64 * 1024;
/// Environment files that are read for one unit.
const MAX_ENVIRONMENT_FILES: usize = 8;
/// Profiles that are read in one home.
const MAX_PROFILES: usize = 64;

/// A pid file and the kind of server that it is for.
#[derive(Clone, Debug)]
pub struct PidFileRead {
    /// The kind.
    pub kind: ServerKind,
    /// The home that contains it.
    pub home: PathBuf,
    /// The file, compared with the process table.
    pub file: PidFile,
    /// The running server that it names.
    pub names: Option<Identity>,
}

/// One home.
#[derive(Clone, Debug)]
pub struct Home {
    /// Path of its directory.
    pub path: PathBuf,
    /// The user accountable for its files; `None` where it cannot be determined.
    pub owner: Option<u32>,
    /// Pid files in it.
    pub pid_files: Vec<PidFileRead>,
    /// Port of its WebUI, from the control script's state or an environment file, and the file that contains it.
    pub webui_port: Option<(u16, String)>,
    /// Kinds of server that have left files in it.
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

/// Whether two paths are spellings of the same directory.
pub fn same_path(a: &Path, b: &Path) -> bool {
    a.components().eq(b.components())
}

/// Checks that a directory that the user named is a home, and reads it.
pub fn named(survey: &Survey<'_>, path: &Path) -> Result<Home, SelectError> {
    seen_by(survey, None, path)
}

/// As [`named`], for a directory in the mount namespace of a server, which can be in a container.
pub fn seen_by(survey: &Survey<'_>, process: Option<&Process>, path: &Path) -> Result<Home, SelectError> {
    let place = Place { process, path };
    let unreadable = |gap: Gap| SelectError::HomeUnreadable(Gap { what: shown(path).into(), ..gap });
    match survey.host.file_kind(&place.reached()) {
        Ok(FileKind::Directory) => {}
        Ok(_) => return Err(SelectError::NotAHome(shown(path))),
        Err(gap) if gap.reason == GapReason::NotFound => return Err(SelectError::NoSuchHome(shown(path))),
        Err(gap) => return Err(unreadable(gap)),
    }
    match landmarks(survey, &place.reached()) {
        Ok(found) if !found.is_empty() => Ok(read(survey, place, &found)),
        // The user named it, and its environment file contains the port of a WebUI, so it is a home.
        Ok(_) => Some(read(survey, place, &[]))
            .filter(|home| home.webui_port.is_some())
            .ok_or_else(|| SelectError::NotAHome(shown(path))),
        Err(gap) => Err(unreadable(gap)),
    }
}

/// The home that a server names; `None` where it does not exist, because a server need not have created it yet. A home
/// that cannot be read is returned with a gap.
pub fn of_server(survey: &Survey<'_>, process: Option<&Process>, path: &Path) -> Option<Home> {
    match seen_by(survey, process, path) {
        Ok(home) => Some(home),
        Err(SelectError::HomeUnreadable(gap)) => {
            survey.note(Gap { what: format!("home {}", gap.what).into(), ..gap });
            let path = path.to_owned();
            Some(Home { path, owner: None, pid_files: Vec::new(), webui_port: None, kinds: Vec::new() })
        }
        Err(_) => None,
    }
}

/// A directory, and the process in the mount namespace of which the path is valid.
#[derive(Clone, Copy)]
struct Place<'a> {
    process: Option<&'a Process>,
    path: &'a Path,
}

impl Place<'_> {
    fn reached(self) -> ForeignPath {
        ForeignPath::of(self.process.map(|process| process.identity), self.path)
    }

    /// The pid in the doctor's namespace for a pid in a file there; `None` where it cannot be determined.
    fn pid(self, survey: &Survey<'_>, named: u32) -> Option<u32> {
        let Some(process) = self.process.filter(|process| process.namespace_pids.len() > 1) else {
            return Some(named);
        };
        if process.namespace_pids.last() == Some(&named) {
            return Some(process.identity.pid);
        }
        survey.hermes().into_iter().map(|(pid, _)| pid).find(|pid| {
            let other = survey.process_of(*pid);
            other.is_some_and(|other| {
                other.namespace_pids.len() > 1
                    && other.namespace_pids.last() == Some(&named)
                    && super::survey::same_network(&other, process)
            })
        })
    }
}

/// Finds the homes of this host: `$HERMES_HOME`, `~/.hermes` of each user with a readable home, and their profiles.
/// Each directory that cannot be read is a gap, because it can be a home.
pub fn discover(survey: &Survey<'_>) -> Vec<Home> {
    let mut candidates: Vec<PathBuf> = std::env::var_os("HERMES_HOME").map(PathBuf::from).into_iter().collect();
    let users = survey.host.user_homes();
    users.gaps.into_iter().for_each(|gap| survey.note(gap));
    candidates.extend(users.value.into_iter().map(|home| home.join(".hermes")));
    let mut found: Vec<Home> = Vec::new();
    let mut unseen: Vec<Gap> = Vec::new();
    for path in candidates {
        if !path.is_absolute() || found.iter().any(|home| same_path(&home.path, &path)) {
            continue;
        }
        let place = ForeignPath::of_person(&path);
        let landmarks = match landmarks(survey, &place) {
            Ok(landmarks) => landmarks,
            Err(gap) => {
                unseen.push(Gap { what: format!("home {}", shown(&path)).into(), ..gap });
                continue;
            }
        };
        if landmarks.is_empty() {
            continue;
        }
        if landmarks.contains(&"profiles") {
            match survey.host.list_directory(&place.join("profiles"), MAX_PROFILES) {
                Ok(profiles) => {
                    for name in profiles {
                        let profile = path.join("profiles").join(name);
                        match self::landmarks(survey, &ForeignPath::of_person(&profile)) {
                            Ok(marks) if marks.is_empty() => {}
                            Ok(marks) => found.push(read(survey, Place { process: None, path: &profile }, &marks)),
                            Err(gap) => unseen
                                .push(Gap { what: GapSubject::Profile { path: (shown(&profile)).into() }, ..gap }),
                        }
                    }
                }
                Err(gap) => {
                    unseen.push(Gap { what: GapSubject::ProfilesOf { path: (shown(&path)).into() }, ..gap })
                }
            }
        }
        found.push(read(survey, Place { process: None, path: &path }, &landmarks));
    }
    if !unseen.is_empty() {
        survey.has_unread_homes.set(true);
    }
    survey.note_many(unseen, "homes and profiles");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Paths of the homes of this host.
pub fn paths(survey: &Survey<'_>) -> Vec<PathBuf> {
    discover(survey).into_iter().map(|home| home.path).collect()
}

/// The landmarks of a home that a directory contains; empty where the directory does not exist.
fn landmarks(survey: &Survey<'_>, path: &ForeignPath) -> Result<Vec<&'static str>, Gap> {
    let names = match survey.host.list_directory(path, 4096) {
        Ok(names) => names,
        Err(gap) if gap.reason == GapReason::NotFound => return Ok(Vec::new()),
        Err(gap) => return Err(gap),
    };
    Ok(LANDMARKS.iter().copied().filter(|mark| names.iter().any(|name| name == mark)).collect())
}

fn read(survey: &Survey<'_>, place: Place<'_>, landmarks: &[&str]) -> Home {
    let path = place.path;
    let reached = place.reached();
    let has = |name: &str| landmarks.contains(&name);
    let owner = survey.host.owner_of(&reached);
    let mut home =
        Home { path: path.to_owned(), owner, pid_files: Vec::new(), webui_port: None, kinds: Vec::new() };
    let file = |name: &str| match survey.host.read_file(&reached.join(name), MAX_FILE_BYTES) {
        Ok(bytes) => Some(bytes),
        Err(gap) => {
            if gap.reason != GapReason::NotFound {
                survey.note(Gap { what: shown(&path.join(name)).into(), ..gap });
            }
            None
        }
    };
    if has("webui.pid")
        && let Some(record) = file("webui.pid").and_then(|bytes| pid_file(&bytes))
    {
        home.pid_files.push(compare(survey, place, "webui.pid", ServerKind::Webui, &record));
    }
    if has("webui.ctl.env")
        && let Some(bytes) = file("webui.ctl.env")
    {
        let state = control_state(&bytes);
        if let Some(pid) = state.pid.filter(|pid| home.pid_files.iter().all(|other| other.file.pid != *pid)) {
            let record = PidRecord { pid, start_ticks: None };
            home.pid_files.push(compare(survey, place, "webui.ctl.env", ServerKind::Webui, &record));
        }
        home.webui_port = state.port.map(|port| (port, shown(&path.join("webui.ctl.env"))));
    }
    if has("gateway.pid")
        && let Some(record) = file("gateway.pid").and_then(|bytes| pid_file(&bytes))
    {
        home.pid_files.push(compare(survey, place, "gateway.pid", ServerKind::Gateway, &record));
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

/// Compares a pid file with the process that has the pid now.
fn compare(survey: &Survey<'_>, place: Place<'_>, name: &str, kind: ServerKind, record: &PidRecord) -> PidFileRead {
    let home = place.path;
    let file = |state, detail: String| PidFile {
        path: shown(&home.join(name)).into(),
        pid: record.pid,
        state,
        detail: detail.into(),
    };
    let Some(pid) = place.pid(survey, record.pid) else {
        let detail = "a pid of the container's own namespace".to_owned();
        return PidFileRead { kind, home: home.to_owned(), file: file(PidFileState::Unknown, detail), names: None };
    };
    let (state, detail, names) = match survey.host.identify(pid) {
        Err(PidProblem::Unreadable(_, why)) => (PidFileState::Unknown, why, None),
        Err(problem @ (PidProblem::Thread { .. } | PidProblem::Kernel(..))) => {
            (PidFileState::OtherProgram, problem.to_string(), None)
        }
        Err(problem) => (PidFileState::Dead, problem.to_string(), None),
        Ok(identity) => {
            let argv = survey.command(pid);
            let command = crate::parse::mask::command(&argv.iter().map(String::as_bytes).collect::<Vec<_>>());
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
    let inner = if is_stale && place.process.is_none() { inner_pid(survey, kind, record.pid) } else { None };
    let (state, detail) = match inner {
        Some(outer) => (PidFileState::Unknown, format!("pid {outer} has that pid in a namespace of its own")),
        None => (state, detail),
    };
    PidFileRead { kind, home: home.to_owned(), file: file(state, detail), names }
}

/// A server of that kind in another pid namespace that has this pid there.
fn inner_pid(survey: &Survey<'_>, kind: ServerKind, pid: u32) -> Option<u32> {
    survey.hermes().into_iter().find_map(|(outer, command)| {
        let process = survey.process(survey.host.identify(outer).ok()?).ok()?.value;
        let nested = process.namespace_pids.len() > 1 && process.namespace_pids.last() == Some(&pid);
        (nested && command.kind == kind).then_some(outer)
    })
}

/// A port that a service unit assigns to a Hermes server.
#[derive(Clone, Debug)]
pub struct UnitPort {
    /// The port.
    pub port: u16,
    /// The kind of server.
    pub kind: ServerKind,
    /// The unit's file.
    pub file: String,
    /// The user accountable for it.
    pub owner: Option<u32>,
}

/// Ports that the unit files of this host assign to Hermes servers (systemd.service(5)): in the command, in
/// `Environment=` or in an `EnvironmentFile=`.
pub fn unit_ports(survey: &Survey<'_>) -> Vec<UnitPort> {
    let of_unit = |unit: &UnitOnDisk| {
        let command = unit.file.command.as_deref().and_then(recognise_configured)?;
        let of_environment = || {
            let files = unit.file.environment_files.iter().take(MAX_ENVIRONMENT_FILES);
            let files =
                files.map(|file| ForeignPath::of_file(unit.owner, unit.owner, HostPath::from_kept(file).path()));
            let read = files.filter_map(|file| match survey.host.read_file(&file, MAX_FILE_BYTES) {
                Ok(bytes) => webui_port(&bytes),
                Err(gap) => {
                    // A file with a `-` before its name is optional (systemd.exec(5)).
                    if gap.reason != GapReason::NotFound {
                        survey.note(gap);
                    }
                    None
                }
            });
            read.last().or(unit.file.webui_port)
        };
        let port = command.port.or_else(|| (command.kind == ServerKind::Webui).then(of_environment).flatten());
        let port = port.filter(|port| *port != 0)?;
        Some(UnitPort { port, kind: command.kind, file: unit.path.to_string(), owner: Some(unit.owner) })
    };
    survey.unit_files().iter().filter_map(of_unit).collect()
}

/// Compares two start times in clock ticks. A difference of one tick is a rounding error.
fn is_same_start(record: u64, now: u64) -> bool {
    record.abs_diff(now) <= 1
}
