//! runit, s6 and daemontools: a supervising process stands in the service's directory and keeps `supervise/status` in it.

use super::{Asks, LARGEST_FILE, Place, milliseconds, shown, since, timestamp};
use crate::collect::linux::LinuxHost;
use crate::collect::{Host, Program, SupervisorProcess};
use crate::model::{Gap, GapReason, Supervisor};
use crate::parse::home::{variable, variable_directories};
use crate::parse::service_status::{self, ServiceStatus};
use crate::parse::text::printable;
use std::path::Path;
use std::time::Duration;

/// A service that is up for less than this has just been started.
const YOUNG: Duration = Duration::from_secs(2);
/// All three start a service that has ended at most once a second (runsv(8), s6-supervise, supervise(8)).
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// See the module.
pub struct ServiceDirectory;

impl Asks for ServiceDirectory {
    fn programs(&self, host: &LinuxHost, supervisor: &SupervisorProcess) -> Result<Vec<Program>, Gap> {
        let place = Place::of(host, supervisor.pid)?;
        let name = shown(&host.working_directory(place.process.identity)?);
        let mut program = read(host, &supervisor.kind, &place.working_directory(), &name)?;
        program.claim.pid = Some(supervisor.pid);
        program.claim.claimed_pid = program.claim.claimed_pid.and_then(|pid| place.pid(host, pid));
        Ok(vec![program])
    }
}

/// The service in a directory of the doctor's own mount namespace.
pub fn named(host: &LinuxHost, kind: &str, directory: &Path) -> Result<Program, Gap> {
    read(host, kind, directory, &shown(directory))
}

fn read(host: &LinuxHost, kind: &str, directory: &Path, name: &str) -> Result<Program, Gap> {
    let source = format!("{name}/supervise/status");
    // By its own name: the path that leads there goes through /proc.
    let status = host
        .read_file(&directory.join("supervise/status"), 64)
        .map_err(|gap| Gap { what: source.clone(), ..gap })?;
    let status = service_status::parse(&status).ok_or_else(|| {
        Gap::new(&source, GapReason::Malformed, format!("a status file of {} bytes is not known", status.len()))
    })?;
    // The run script is a program for the shell; what it runs is recognised in it like in `sh -c`.
    let script = host.read_file(&directory.join("run"), LARGEST_FILE).unwrap_or_default();
    let text = String::from_utf8_lossy(&script).into_owned();
    let has_log = host.read_file(&directory.join("log/run"), 1).is_ok();
    // Of such a directory no file but these two is opened.
    let of_directory = |name: &str| {
        let directories = variable_directories(&script).into_iter();
        let files = directories.filter_map(|path| host.read_file(&directory.join(path).join(name), 4096).ok());
        let text =
            files.last().map(|bytes| printable(bytes.split(|byte| *byte == b'\n').next().unwrap_or_default()));
        text.filter(|text| !text.is_empty())
    };
    let said = |name: &str| variable(&script, name).or_else(|| of_directory(name));
    let claim = Supervisor {
        port: said("HERMES_WEBUI_PORT").and_then(|port| port.trim().parse().ok()),
        home: said("HERMES_HOME"),
        log: has_log.then(|| format!("the log service in {name}/log")),
        configuration: Some(format!("{name}/run")),
        ..claim(kind, name, &status, source)
    };
    let command = vec!["sh".to_owned(), "-c".to_owned(), text];
    let mut program = Program { claim, command, ..Program::default() }.recognised();
    // A script sets variables, secrets among them: its place is named, its text is not shown.
    program.claim.command = None;
    Ok(program)
}

fn claim(kind: &str, name: &str, status: &ServiceStatus, evidence: String) -> Supervisor {
    let age = since(status.changed_at);
    let state = match (status.pid, status.wants_up) {
        (Some(_), true) => "up",
        (Some(_), false) => "up, want down",
        (None, true) => "down, want up",
        (None, false) => "down",
    };
    Supervisor {
        kind: kind.to_owned(),
        name: Some(name.to_owned()),
        claimed_pid: status.pid,
        evidence,
        state: Some(state.to_owned()),
        is_restarting: status.wants_up && (status.pid.is_none() || age < YOUNG),
        is_idle: status.pid.is_none() && !status.wants_up,
        since: timestamp(status.changed_at),
        claimed_age_ms: status.pid.map(|_| milliseconds(age)),
        restart_interval_ms: Some(milliseconds(RESTART_INTERVAL)),
        ..Supervisor::default()
    }
}
