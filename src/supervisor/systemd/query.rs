//! systemd: the state of units (`systemctl show`), unit files on the disk, and the link in which a manager publishes
//! the current activation.

use super::wire::{PROPERTIES, UnitFile, UnitState, show, unit_file};
use crate::collect::host_facts::since_boot;
use crate::collect::worker::wire::Tool;
use crate::collect::workers::Workers;
use crate::collect::{Collected, ForeignPath, Host, LogTail};
use crate::model::text::printable;
use crate::model::{
    ClaimState, Gap, GapDetail, GapReason, GapSubject, HostPath, Supervisor, Timestamp, whole_milliseconds,
};
use crate::parse::cgroup::Unit;
use crate::parse::command::recognise_configured;
use crate::parse::home::{hermes_home, webui_port};
use crate::supervisor::Program;
use crate::supervisor::place::{MAX_FILE_BYTES, another_user};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Largest answer that is read.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Units that a manager is queried for.
const MAX_UNITS: usize = 32;
/// Unit files that are read from one directory.
const MAX_FILES: usize = 256;

/// Directories of a host's own units. Each of them can run a server, whatever its name is.
const OWN_UNITS: &[&str] = &["/etc/systemd/system", "/run/systemd/system"];
/// Directories of packaged units, hundreds of them: only those with `hermes` in their name are read.
const PACKAGED_UNITS: &[&str] =
    &["/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"];
/// The same for user managers.
const OWN_USER_UNITS: &[&str] = &["/etc/systemd/user"];
const PACKAGED_USER_UNITS: &[&str] = &["/usr/local/lib/systemd/user", "/usr/lib/systemd/user"];

/// A service unit's file on the disk: configuration that can be read without its manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitOnDisk {
    /// The unit, and the manager that it is for.
    pub unit: Unit,
    /// The path of the file.
    pub path: HostPath,
    /// Its content, parsed.
    pub file: UnitFile,
    /// The user that the files it names are read as; root for a system unit.
    pub owner: u32,
}

/// The units of a manager that run a Hermes server. `user` is the user of a user manager.
///
/// # Errors
/// A gap when the manager gives no answer.
pub fn programs(host: &dyn Host, user: Option<u32>) -> Result<Collected<Vec<Program>>, Gap> {
    let mut on_disk: Vec<UnitOnDisk> = Vec::new();
    let Collected { value, gaps } = files_of(host, user);
    for found in value {
        // A unit in an earlier directory hides a unit of the same name in a later one.
        if on_disk.len() < MAX_UNITS && on_disk.iter().all(|known| known.unit != found.unit) {
            on_disk.push(found);
        }
    }
    // A template is not a unit. The pattern matches those of its instances that the manager has loaded.
    let names: Vec<String> =
        on_disk.iter().map(|found| found.unit.name.replace("@.service", "@*.service")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if names.is_empty() {
        return Ok(Collected { value: Vec::new(), gaps });
    }
    let states = ask(host, user, &names)?;
    let known = states.iter().filter(|state| state.load_state != "not-found");
    let value = known
        .map(|state| {
            let template = state.id.split_once('@').map(|(name, _)| format!("{name}@.service"));
            let is_its = |name: &String| *name == state.id || Some(name) == template.as_ref();
            let file = on_disk.iter().find(|found| is_its(&found.unit.name));
            let file = file.map(|found| (&found.file, found.owner));
            program(host, user, state, file)
        })
        .collect();
    Ok(Collected { value, gaps })
}

/// Queries the manager for one unit.
///
/// # Errors
/// A gap when the manager gives no answer, or does not know the unit.
pub fn one(host: &dyn Host, unit: &Unit) -> Result<Program, Gap> {
    let states = ask(host, unit.user_manager, &[&unit.name])?;
    let state = states.first().filter(|state| !matches!(state.load_state.as_str(), "" | "not-found"));
    let Some(state) = state else {
        let detail = GapDetail::ManagerKnowsNot;
        return Err(Gap::new(
            GapSubject::UnitFromManager { name: unit.name.as_str().into() },
            GapReason::NotFound,
            detail,
        ));
    };
    let fragment = Some(state.fragment.as_str()).filter(|path| path.starts_with('/'));
    let read = fragment.map(|path| {
        let path = HostPath::from_kept(path);
        host.workers()?.content(&of_manager(unit.user_manager, path.path()), MAX_FILE_BYTES)
    });
    // The manager's answer contains the command too; the file adds environment and output.
    let (content, gap) = match read.transpose() {
        Ok(content) => (content, None),
        Err(gap) => (None, Some(gap)),
    };
    let file = content.map(|content| (unit_file(&content.bytes), content.owner));
    let mut found = program(host, unit.user_manager, state, file.as_ref().map(|(file, owner)| (file, *owner)));
    found.gaps.extend(gap);
    Ok(found)
}

/// Unit files, of the system and of users with a readable home, that run a Hermes server.
pub fn files(host: &dyn Host) -> Collected<Vec<UnitOnDisk>> {
    let mut found = files_of(host, None);
    let homes = host.user_homes();
    found.gaps.extend(homes.gaps);
    let Ok(workers) = host.workers() else { return found };
    for home in homes.value {
        let directory = ForeignPath::of_person(&home.join(".config/systemd/user"));
        // Only configured ports are read from these, so the manager does not matter.
        read_directory(workers, &directory, None, false, &mut found);
    }
    found
}

fn files_of(host: &dyn Host, user: Option<u32>) -> Collected<Vec<UnitOnDisk>> {
    let mut found = Collected::default();
    let Ok(workers) = host.workers() else { return found };
    let own = user.and_then(|user| host.user_home(user)).map(|home| home.join(".config/systemd/user"));
    let (usual, packaged) = match user {
        None => (OWN_UNITS, PACKAGED_UNITS),
        Some(_) => (OWN_USER_UNITS, PACKAGED_USER_UNITS),
    };
    let own = own.map(|directory| of_manager(user, &directory));
    for directory in own.into_iter().chain(usual.iter().map(|path| ForeignPath::of_person(Path::new(path)))) {
        read_directory(workers, &directory, user, false, &mut found);
    }
    // `/lib` is usually a link to `/usr/lib`; then it is not read a second time.
    let is_lib = |directory: &&str| directory.starts_with("/lib/");
    let leads_to_usr =
        || workers.link(&ForeignPath::of_person(Path::new("/lib"))).is_ok_and(|to| to.ends_with(b"usr/lib"));
    let is_merged = packaged.iter().any(is_lib) && leads_to_usr();
    for directory in packaged.iter().filter(|directory| !is_merged || !is_lib(directory)) {
        read_directory(workers, &ForeignPath::of_person(Path::new(directory)), user, true, &mut found);
    }
    found
}

/// A path that the system's manager, or a user's manager, uses.
fn of_manager(user: Option<u32>, path: &Path) -> ForeignPath {
    user.map_or_else(|| ForeignPath::of_person(path), |user| ForeignPath::of_user(user, path))
}

fn read_directory(
    workers: &Workers,
    directory: &ForeignPath,
    user: Option<u32>,
    only_called_so: bool,
    found: &mut Collected<Vec<UnitOnDisk>>,
) {
    // A system has hundreds of units, and two or three are relevant.
    let part = if only_called_so { "hermes" } else { ".service" };
    let names = workers.names(directory, part, 4096).unwrap_or_else(|gap| {
        if gap.reason != GapReason::NotFound {
            let what = GapSubject::UnitsIn { path: directory.shown().into() };
            found.gaps.push(Gap { what, ..gap });
        }
        Vec::new()
    });
    // A unit's name is ASCII (systemd.unit(5)).
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    for name in names.filter(|name| name.ends_with(".service")).take(MAX_FILES) {
        let path = directory.join(&name);
        let content = match workers.content(&path, MAX_FILE_BYTES) {
            Ok(content) => content,
            Err(gap) => {
                // A link to a missing file or to /dev/null is a masked unit (systemctl(1)).
                if !matches!(gap.reason, GapReason::NotFound | GapReason::NotAsked) {
                    found.gaps.push(gap);
                }
                continue;
            }
        };
        let file = unit_file(&content.bytes);
        if file.command.as_deref().and_then(recognise_configured).is_some() {
            let owner = if content.owner == 0 { content.reader } else { content.owner };
            let path = HostPath::new(path.bytes());
            found.value.push(UnitOnDisk { unit: Unit { name, user_manager: user }, path, file, owner });
        }
    }
}

/// The state of a unit, as a program. The file has the words of the command, which `systemctl` prints without quotes.
/// Where a drop-in changes the command, the printed one is used.
fn program(host: &dyn Host, user: Option<u32>, state: &UnitState, file: Option<(&UnitFile, u32)>) -> Program {
    let unit = Unit { name: state.id.clone(), user_manager: user };
    let of_file =
        file.and_then(|(file, _)| file.command.clone()).filter(|words| words.join(" ") == state.exec_start);
    let command = of_file.unwrap_or_else(|| state.exec_start.split_whitespace().map(str::to_owned).collect());
    let is_down = state.active == "inactive";
    // Such units stay active after their process has exited, or are done: systemd does not restart them.
    let is_oneshot = state.service_type == "oneshot" || state.remains && state.sub == "exited";
    let finished = is_down
        && state.result == "success"
        && state.exited_with_success()
        && state.ended_by_itself()
        && !is_oneshot
        && state.service_type != "forking";
    let is_enabled = state.unit_file_state.starts_with("enabled");
    let uptime = since_boot().unwrap_or_default();
    let changed = Duration::from_micros(state.state_changed_at_us);
    let since = (!changed.is_zero()).then(|| uptime.saturating_sub(changed));
    let mut gaps = Vec::new();
    let (home, port) =
        file.map_or((None, None), |(file, owner)| of_environment_files(host, file, owner, &mut gaps));
    let own_user = user == Some(rustix::process::geteuid().as_raw());
    let claim = Supervisor {
        kind: unit.kind(),
        name: Some(state.id.clone().into()),
        claimed_pid: state.main_pid.or(state.control_pid),
        evidence: format!("systemctl {}show {}", if user.is_some() { "--user " } else { "" }, state.id).into(),
        state: Some(state.state().into()),
        restarts: state.restarts,
        claim_state: match state.active.as_str() {
            _ if state.sub == "auto-restart" => ClaimState::Restarting,
            "failed" => ClaimState::GaveUp,
            "inactive" if finished => ClaimState::Finished,
            "inactive" => ClaimState::Idle,
            "activating" => ClaimState::Starting,
            "active" | "reloading" | "deactivating" => ClaimState::Running,
            _ => ClaimState::Unknown,
        },
        scope: Some(match user {
            None => "system".into(),
            Some(_) if own_user => "user".into(),
            Some(user) => format!("user {user}").into(),
        }),
        since: since.and_then(|age| SystemTime::now().checked_sub(age)).and_then(Timestamp::seconds),
        configuration: Some(state.fragment.clone()).filter(|path| !path.is_empty()).map(Into::into),
        log: Some(log(&unit, file.map(|(file, _)| file)).into()),
        owner: user.and_then(another_user),
        ran_ms: state.ran_for().map(whole_milliseconds),
        policy: Some(policy(state).into()),
        // An active unit has no result yet.
        result: Some(result(state)).filter(|text| state.active != "active" && !text.is_empty()).map(Into::into),
        restart_interval_ms: state.restart_interval.map(whole_milliseconds),
        stops_group: Some(matches!(state.kill_mode.as_str(), "control-group" | "mixed")),
        port: port.or(state.webui_port),
        home: home.or_else(|| state.home.clone()),
        ..Supervisor::default()
    };
    let invocation = state.invocation_id.clone();
    Program { claim, command, invocation, is_enabled: Some(is_enabled), is_oneshot, gaps }.recognised()
}

/// Home and port in a unit's environment files, which override its `Environment=`. No other key is read.
fn of_environment_files(
    host: &dyn Host,
    file: &UnitFile,
    owner: u32,
    gaps: &mut Vec<Gap>,
) -> (Option<HostPath>, Option<u16>) {
    let files = file.environment_files.iter().take(8).map(|path| HostPath::from_kept(path));
    let places = files.map(|path| ForeignPath::of_file(owner, owner, path.path()));
    let mut read: Vec<Vec<u8>> = Vec::new();
    for path in places {
        match host.read_file(&path, MAX_FILE_BYTES) {
            Ok(bytes) => read.push(bytes),
            // A file with a `-` before its name is optional (systemd.exec(5)).
            Err(gap) if gap.reason == GapReason::NotFound => {}
            Err(gap) => gaps.push(gap),
        }
    }
    (
        read.iter().filter_map(|bytes| hermes_home(bytes)).next_back(),
        read.iter().filter_map(|bytes| webui_port(bytes)).next_back(),
    )
}

fn policy(state: &UnitState) -> String {
    let interval = state
        .restart_interval
        .map_or(String::new(), |interval| format!(" RestartSec={}", humantime::format_duration(interval)));
    let enabled = if state.unit_file_state.is_empty() { "not installed" } else { &state.unit_file_state };
    format!(
        "Type={} Restart={}{interval} KillMode={}, {enabled}",
        state.service_type, state.restart, state.kill_mode
    )
}

fn result(state: &UnitState) -> String {
    let end = match state.main_exit {
        Some((1, status)) => format!(", exit status {status}"),
        Some((_, signal)) => format!(", signal {signal}"),
        None => String::new(),
    };
    format!("{}{end}", state.result)
}

fn log(unit: &Unit, file: Option<&UnitFile>) -> String {
    let me = rustix::process::geteuid().as_raw();
    match (file.and_then(|file| file.output_file.clone()), unit.user_manager) {
        (Some(path), _) => path,
        (None, None) => format!("journalctl -u {}", unit.name),
        (None, Some(user)) if user == me => format!("journalctl --user -u {}", unit.name),
        (None, Some(user)) => format!("journalctl _UID={user} _SYSTEMD_USER_UNIT={}", unit.name),
    }
}

/// Lines of a unit's journal that are requested.
const JOURNAL_LINES: usize = 5000;
/// Bytes of them that are kept, from the end.
const MAX_JOURNAL_BYTES: usize = 1024 * 1024;

/// The end of a unit's journal, each line with its time and zone. Root reads every journal; journald decides what
/// another user may read.
///
/// # Errors
/// A gap when the journal has no readable line, or cannot be read.
pub fn journal(host: &dyn Host, unit: &Unit) -> Result<LogTail, Gap> {
    let what = GapSubject::JournalOf { unit: unit.name.as_str().into() };
    let mut arguments: Vec<String> = match unit.user_manager {
        None => vec!["--unit".to_owned(), unit.name.clone()],
        Some(user) if user == rustix::process::geteuid().as_raw() => {
            vec!["--user".to_owned(), "--unit".to_owned(), unit.name.clone()]
        }
        Some(user) => vec![format!("_UID={user}"), format!("_SYSTEMD_USER_UNIT={}", unit.name)],
    };
    let options = ["--quiet", "--no-pager", "--output=short-iso-precise", "--lines"];
    arguments.extend(options.map(str::to_owned));
    arguments.push(JOURNAL_LINES.to_string());
    let begun = Instant::now();
    let output = host
        .run_tool(Tool::Journalctl, arguments, None, MAX_JOURNAL_BYTES)
        .map_err(|gap| Gap { what: what.clone(), ..gap })?;
    // Without standard output, the output is standard error.
    if output.total == 0 {
        let (reason, detail) = if output.is_success {
            (GapReason::NotFound, GapDetail::NoLine)
        } else {
            (GapReason::Unsupported, GapDetail::JournalctlSilent)
        };
        return Err(Gap::new(what, reason, detail).after(begun.elapsed()));
    }
    let bytes = output.bytes.into_vec();
    let lines = bytes.iter().filter(|byte| **byte == b'\n').count();
    let is_cut = output.total > u64::try_from(bytes.len()).unwrap_or(u64::MAX) || lines >= JOURNAL_LINES;
    Ok(LogTail { parts: vec![bytes], is_cut, with_rotated: false, modified_ns: 0 })
}

/// Runs `systemctl show` for some units of a manager. A user's manager answers only that user, so root runs it as that
/// user. It starts no manager.
fn ask(host: &dyn Host, user: Option<u32>, names: &[&str]) -> Result<Vec<UnitState>, Gap> {
    let what = match (names, user) {
        ([name], _) => GapSubject::UnitFromManager { name: (*name).into() },
        (_, None) => GapSubject::SystemdUnits,
        (_, Some(user)) => GapSubject::UnitsOfUser { uid: user },
    };
    let me = rustix::process::geteuid();
    if let Some(user) = user.filter(|user| *user != me.as_raw() && !me.is_root()) {
        let detail = GapDetail::ManagerAnswersOnly { uid: user };
        return Err(Gap::new(what, GapReason::Permission, detail));
    }
    let mut arguments: Vec<String> = user.map(|_| "--user".to_owned()).into_iter().collect();
    arguments.extend(["show", "--no-pager", "--property", PROPERTIES, "--"].map(str::to_owned));
    arguments.extend(names.iter().map(|name| (*name).to_owned()));
    let begun = Instant::now();
    let output = host
        .run_tool(Tool::Systemctl, arguments, user, MAX_ANSWER_BYTES)
        .map_err(|gap| Gap { what: what.clone(), ..gap })?;
    if output.total > u64::try_from(MAX_ANSWER_BYTES).unwrap_or(u64::MAX) {
        return Err(Gap::new(what, GapReason::Malformed, GapDetail::AnswerTooLarge).after(begun.elapsed()));
    }
    let answer = if output.total == 0 { &[][..] } else { &output.bytes[..] };
    let states = show(answer);
    // Only patterns were queried, and no loaded unit matches.
    if states.is_empty() && names.iter().all(|name| name.contains('*')) && output.is_success {
        return Ok(states);
    }
    if states.iter().all(|state| state.load_state.is_empty()) {
        let detail = GapDetail::ManagerSilent;
        return Err(Gap::new(what, GapReason::Unsupported, detail).after(begun.elapsed()));
    }
    Ok(states)
}

/// Id of the current activation of a unit, by the link of [`invocation_link`].
pub fn invocation(host: &dyn Host, unit: &Unit) -> Option<String> {
    Some(printable(&host.workers().ok()?.link(&invocation_link(unit)).ok()?))
}

/// The link with the `InvocationID` of the current activation as its target. The manager maintains it, and it can be
/// read without a bus. A user can mount filesystems in their runtime directory, so a worker reads it.
fn invocation_link(unit: &Unit) -> ForeignPath {
    let directory = match unit.user_manager {
        None => "/run/systemd/units".to_owned(),
        Some(user) => format!("/run/user/{user}/systemd/units"),
    };
    of_manager(unit.user_manager, &Path::new(&directory).join(format!("invocation:{}", unit.name)))
}
