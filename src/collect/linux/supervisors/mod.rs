//! Asking supervisors for their own claims: supervisord on its socket, runit, s6 and daemontools by their status files.

use super::LinuxHost;
use crate::collect::reader::Request;
use crate::collect::{Host, Program, SupervisorProcess};
use crate::model::{Gap, GapReason};
use crate::parse::service_status;
use crate::parse::supervisord::{Configuration, configuration, process_info};
use crate::parse::systemd::UnitState;
use crate::parse::text::printable;
use base64::Engine;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Largest configuration or run script that is read.
const LARGEST_FILE: usize = 256 * 1024;
/// Files of an include pattern that are read.
const MOST_INCLUDES: usize = 256;
/// Units that a manager is asked for.
const MOST_UNITS: usize = 16;
/// A service that is up for less than this has just been started.
const YOUNG: Duration = Duration::from_secs(2);

/// One way of asking.
trait Asks {
    /// The programs of the supervisor whose pid is `pid`.
    fn programs(&self, host: &LinuxHost, pid: u32) -> Result<Vec<Program>, Gap>;
}

/// Asks a supervisor.
pub fn programs(host: &LinuxHost, supervisor: &SupervisorProcess) -> Result<Vec<Program>, Gap> {
    let asks: &dyn Asks = match supervisor.kind.as_str() {
        "supervisord" => &Supervisord,
        "runit" | "s6" | "daemontools" => &ServiceDirectory,
        "systemd" => &Systemd { user: None },
        "systemd-user" => &Systemd { user: Some(rustix::process::geteuid().as_raw()) },
        other => {
            return Err(Gap::new(format!("programs of {other}"), GapReason::Unsupported, "it cannot be asked yet"));
        }
    };
    asks.programs(host, supervisor.pid)
}

fn working_directory(host: &LinuxHost, pid: u32) -> Result<PathBuf, Gap> {
    let identity = host
        .identify(pid)
        .map_err(|problem| Gap::new(format!("supervisor {pid}"), GapReason::Vanished, problem.to_string()))?;
    host.working_directory(identity)
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// runsv, s6-supervise and supervise stand in the service's directory and keep `supervise/status` in it.
struct ServiceDirectory;

impl Asks for ServiceDirectory {
    fn programs(&self, host: &LinuxHost, pid: u32) -> Result<Vec<Program>, Gap> {
        let directory = working_directory(host, pid)?;
        let path = directory.join("supervise/status");
        let bytes = host.read_file(&path, 64)?;
        let source = shown(&path);
        let status = service_status::parse(&bytes).ok_or_else(|| {
            Gap::new(&source, GapReason::Malformed, format!("a status file of {} bytes is not known", bytes.len()))
        })?;
        // The run script is a program for the shell; what it runs is recognised in it like in `sh -c`.
        let script = host.read_file(&directory.join("run"), LARGEST_FILE).unwrap_or_default();
        let command = vec!["sh".to_owned(), "-c".to_owned(), String::from_utf8_lossy(&script).into_owned()];
        let changed = Duration::from_secs(status.changed_at);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let is_young = now.saturating_sub(changed) < YOUNG;
        let state = match (status.pid, status.wants_up) {
            (Some(_), true) => "up",
            (Some(_), false) => "up, want down",
            (None, true) => "down, want up",
            (None, false) => "down",
        };
        Ok(vec![Program {
            name: shown(&directory),
            pid: status.pid,
            state: state.to_owned(),
            is_restarting: status.wants_up && (status.pid.is_none() || is_young),
            is_idle: status.pid.is_none() && !status.wants_up,
            restarts: None,
            gave_up: false,
            command,
            source,
        }])
    }
}

/// A systemd manager, asked for the units whose files say that they are Hermes'.
struct Systemd {
    user: Option<u32>,
}

impl Asks for Systemd {
    fn programs(&self, host: &LinuxHost, _pid: u32) -> Result<Vec<Program>, Gap> {
        let directories: Vec<PathBuf> = match self.user {
            None => ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"]
                .iter()
                .map(PathBuf::from)
                .collect(),
            Some(user) => host.user_home(user).map(|home| home.join(".config/systemd/user")).into_iter().collect(),
        };
        let mut found: Vec<Program> = Vec::new();
        for directory in directories {
            for name in host.list_directory(&directory, 4096).unwrap_or_default() {
                let is_known = found.iter().any(|program| program.name == name);
                if !name.contains("hermes") || !name.ends_with(".service") || is_known || found.len() >= MOST_UNITS
                {
                    continue;
                }
                let bytes = host.read_file(&directory.join(&name), LARGEST_FILE).unwrap_or_default();
                let command = crate::parse::systemd::unit_file(&bytes).command.unwrap_or_default();
                let unit = crate::parse::cgroup::Unit { name, user_manager: self.user };
                found.push(unit_program(&unit, &host.systemd_unit(&unit)?, command));
            }
        }
        Ok(found)
    }
}

/// What a manager says of a unit, as a program.
fn unit_program(unit: &crate::parse::cgroup::Unit, state: &UnitState, command: Vec<String>) -> Program {
    Program {
        name: unit.name.clone(),
        pid: state.main_pid.or(state.control_pid),
        state: state.state.clone(),
        is_restarting: state.state.contains("auto-restart"),
        is_idle: state.state.starts_with("inactive"),
        restarts: state.restarts,
        gave_up: state.state.starts_with("failed"),
        command,
        source: format!("systemctl show {}", unit.name),
    }
}

/// supervisord answers XML-RPC on the socket that its configuration names.
struct Supervisord;

impl Asks for Supervisord {
    fn programs(&self, host: &LinuxHost, pid: u32) -> Result<Vec<Program>, Gap> {
        let (path, configuration) = find_configuration(host, pid)?;
        let Some(socket) = &configuration.socket else {
            let detail = format!("{} names no unix_http_server", shown(&path));
            return Err(Gap::new("supervisord", GapReason::Unsupported, detail));
        };
        let answer = host.perform_one(Request::Exchange(PathBuf::from(socket), request(&configuration)))?;
        let malformed = |why: String| Gap::new(printable(socket.as_bytes()), GapReason::Malformed, why);
        let head = crate::parse::http::head(&answer)
            .map_err(|error| malformed(error.to_string()))?
            .ok_or_else(|| malformed("the answer has no end of headers".to_owned()))?;
        if head.status != 200 {
            let reason = if head.status == 401 { GapReason::Permission } else { GapReason::Malformed };
            return Err(Gap::new(
                printable(socket.as_bytes()),
                reason,
                format!("supervisord answers {}", head.status),
            ));
        }
        let body = answer.get(head.length..).unwrap_or_default();
        let found = process_info(body).map_err(|error| malformed(error.to_string()))?;
        Ok(found
            .into_iter()
            .map(|program| Program {
                command: configuration
                    .commands
                    .get(&program.name)
                    .or_else(|| configuration.commands.get(&program.group))
                    .and_then(|command| shlex::split(command))
                    .unwrap_or_default(),
                is_restarting: matches!(program.state.as_str(), "STARTING" | "BACKOFF"),
                is_idle: program.state == "STOPPED",
                restarts: None,
                gave_up: program.state == "FATAL",
                pid: program.pid,
                state: program.state,
                source: format!("supervisord on {}", printable(socket.as_bytes())),
                name: if program.group.is_empty() || program.group == program.name {
                    program.name
                } else {
                    format!("{}:{}", program.group, program.name)
                },
            })
            .collect())
    }
}

/// HTTP/1.0, so that the end of the answer is the end of the connection.
fn request(configuration: &Configuration) -> Vec<u8> {
    let body =
        "<?xml version='1.0'?><methodCall><methodName>supervisor.getAllProcessInfo</methodName></methodCall>";
    let login = configuration.login.as_ref().map_or_else(String::new, |(user, password)| {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        format!("Authorization: Basic {pair}\r\n")
    });
    format!("POST /RPC2 HTTP/1.0\r\nContent-Type: text/xml\r\n{login}Content-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// The file of `-c`, else the places where supervisord looks (Supervisor, "Configuration File").
fn find_configuration(host: &LinuxHost, pid: u32) -> Result<(PathBuf, Configuration), Gap> {
    let argv = host.commands(&[pid]).pop().and_then(Result::ok).unwrap_or_default();
    let here = working_directory(host, pid).unwrap_or_else(|_| PathBuf::from("/"));
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
        Some(path) => vec![here.join(path)],
        None => ["supervisord.conf", "etc/supervisord.conf"]
            .iter()
            .map(|name| here.join(name))
            .chain(["/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"].map(PathBuf::from))
            .collect(),
    };
    let mut last = Gap::new("supervisord's configuration", GapReason::NotFound, "in none of its usual places");
    for path in candidates {
        match host.read_file(&path, LARGEST_FILE) {
            Ok(bytes) => {
                let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
                let mut found = configuration(&bytes, &shown(&directory));
                for file in included(host, &directory, &found.includes.clone()) {
                    if let Ok(bytes) = host.read_file(&file, LARGEST_FILE) {
                        found.commands.extend(configuration(&bytes, &shown(&directory)).commands);
                    }
                }
                return Ok((path, found));
            }
            Err(gap) => last = gap,
        }
    }
    Err(last)
}

/// Files of include patterns; a `*` is understood in the last part of a path, where it is used.
fn included(host: &LinuxHost, directory: &Path, patterns: &[String]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for pattern in patterns {
        let path = directory.join(pattern);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            continue;
        };
        match name.split_once('*') {
            None => found.push(path.clone()),
            Some((start, end)) => {
                let names = host.list_directory(parent, MOST_INCLUDES).unwrap_or_default();
                let fits = |name: &&String| name.starts_with(start) && name.ends_with(end);
                found.extend(names.iter().filter(fits).map(|name| parent.join(name)));
            }
        }
    }
    found
}
