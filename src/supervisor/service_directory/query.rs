//! runit, s6 and daemontools: the supervising process has the service's directory as its working directory, and writes
//! `supervise/status` in it.

use super::wire::{self, ServiceStatus};
use crate::collect::{Collected, FileKind, ForeignPath, Host};
use crate::model::text::kept;
use crate::model::{
    ClaimState, Gap, GapDetail, GapReason, HostPath, Supervisor, SupervisorKind, whole_milliseconds,
};
use crate::parse::home::{variable, variable_directories};
use crate::supervisor::place::{MAX_FILE_BYTES, Place, another_user, shown, since, timestamp};
use crate::supervisor::{Program, SupervisorProcess};
use std::time::Duration;

/// A service that has been up for less than this has just been started.
const YOUNG: Duration = Duration::from_secs(2);
/// All three restart a service at most once a second (runsv(8), s6-supervise, supervise(8)).
const RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// The one service of a supervising process.
///
/// # Errors
/// A gap when its status cannot be read.
pub fn programs(host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
    let place = Place::of(host, supervisor.pid)?;
    let name = shown(&host.working_directory(place.process.identity)?);
    let directory = ForeignPath::working_directory(place.process.identity);
    let mut program = read(host, &supervisor.kind, &directory, &name)?;
    program.claim.pid = Some(supervisor.pid);
    program.claim.owner = place.owner();
    program.claim.claimed_pid = program.claim.claimed_pid.and_then(|pid| place.pid(host, pid));
    Ok(Collected { value: vec![program], gaps: Vec::new() })
}

/// The service in a directory of the doctor's own mount namespace.
///
/// # Errors
/// A gap when its status cannot be read.
pub fn named(host: &dyn Host, kind: &SupervisorKind, directory: &ForeignPath) -> Result<Program, Gap> {
    let mut program = read(host, kind, directory, &directory.shown())?;
    // An owner of the directory can replace it by a link, and so redirect a command that root runs on it.
    let workers = host.workers()?;
    let owners = ["", "supervise"].map(|name| workers.stat(&directory.join(name)).map(|stat| stat.owner));
    program.claim.owner = owners.into_iter().filter_map(|owner| another_user(owner.ok()?)).max();
    Ok(program)
}

fn read(host: &dyn Host, kind: &SupervisorKind, directory: &ForeignPath, name: &str) -> Result<Program, Gap> {
    let workers = host.workers()?;
    let source = format!("{name}/supervise/status");
    // The gap names the file by the path of the service, because the path that is opened goes through /proc.
    let status = host
        .read_file(&directory.join("supervise/status"), 64)
        .map_err(|gap| Gap { what: source.clone().into(), ..gap })?;
    let status = wire::parse(&status)
        .ok_or_else(|| Gap::new(&source, GapReason::Malformed, GapDetail::UnknownStatus { bytes: status.len() }))?;
    // The supervisor's claim is complete here; a file that cannot be read is only a gap.
    let mut gaps: Vec<Gap> = Vec::new();
    let mut content = |file: &str, path: &ForeignPath, limit| match workers.content(path, limit) {
        Ok(content) => Some(content.bytes.into_vec()),
        Err(gap) => {
            if gap.reason != GapReason::NotFound {
                gaps.push(Gap { what: format!("{name}/{file}").into(), ..gap });
            }
            None
        }
    };
    // The run script is a shell program; its command is recognised as that of `sh -c`.
    let script = content("run", &directory.join("run"), MAX_FILE_BYTES).unwrap_or_default();
    let text = kept(&script);
    let has_log = workers.kind_of(&directory.join("log/run")).is_ok_and(|kind| kind == FileKind::Regular);
    // In a directory of variables only the files of these two variables are opened. If several directories set the
    // same variable, the last one counts.
    let mut said = |name: &str| {
        if let Some(value) = variable(&script, name) {
            return Some(HostPath::from_kept(&value));
        }
        let directories = variable_directories(&script).into_iter();
        let files = directories.filter_map(|path| {
            let file = directory.join(HostPath::from_kept(&path).path()).join(name);
            content(&format!("{path}/{name}"), &file, 4096)
        });
        let last = files.last()?;
        let line = last.split(|byte| *byte == b'\n').next().unwrap_or_default();
        (!line.is_empty()).then(|| HostPath::new(line))
    };
    let (port, home) = (said("HERMES_WEBUI_PORT"), said("HERMES_HOME"));
    let claim = Supervisor {
        port: port.and_then(|port| port.trim().parse().ok()),
        home,
        log: has_log.then(|| format!("the log service in {name}/log")).map(Into::into),
        configuration: Some(format!("{name}/run").into()),
        ..claim(kind, name, &status, source)
    };
    let command = vec!["sh".to_owned(), "-c".to_owned(), text];
    let mut program = Program { claim, command, gaps, ..Program::default() }.recognised();
    // The script sets variables, which can be secrets. So its path is shown, and its text is not.
    program.claim.command = None;
    Ok(program)
}

fn claim(kind: &SupervisorKind, name: &str, status: &ServiceStatus, evidence: String) -> Supervisor {
    let age = since(status.changed_at);
    let state = match (status.pid, status.wants_up) {
        (Some(_), true) => "up",
        (Some(_), false) => "up, want down",
        (None, true) => "down, want up",
        (None, false) => "down",
    };
    Supervisor {
        kind: kind.clone(),
        name: Some(name.to_owned().into()),
        claimed_pid: status.pid,
        evidence: evidence.into(),
        state: Some(state.to_owned().into()),
        claim_state: match (status.pid, status.wants_up) {
            (None, true) => ClaimState::Restarting,
            (Some(_), true) if age < YOUNG => ClaimState::Restarting,
            (None, false) => ClaimState::Idle,
            (Some(_), _) => ClaimState::Running,
        },
        since: timestamp(status.changed_at),
        claimed_age_ms: status.pid.map(|_| whole_milliseconds(age)),
        restart_interval_ms: Some(whole_milliseconds(RESTART_INTERVAL)),
        ..Supervisor::default()
    }
}
