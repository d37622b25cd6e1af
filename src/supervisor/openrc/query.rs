//! Reads the state of a service below `/run/openrc`, with the rights of its supervising process.

use super::wire;
use crate::collect::workers::Workers;
use crate::collect::{Collected, ForeignPath, Host};
use crate::model::text::printable;
use crate::model::{ClaimState, Gap, GapDetail, GapReason, HostPath, Note, Process, Supervisor, SupervisorKind};
use crate::parse::home::variable;
use crate::supervisor::Program;
use crate::supervisor::place::{MAX_FILE_BYTES, Place, another_user};
use std::path::Path;

/// Directory of the state of all services.
const STATE: &str = "/run/openrc";
/// Largest file that is read with one value.
const MAX_VALUE_BYTES: usize = 4096;
/// A service that has been up for less than this has just been started.
const YOUNG_MS: u64 = 2000;

/// The one service of a supervising process.
///
/// # Errors
/// A gap when the state of the service cannot be read.
pub fn programs(host: &dyn Host, pid: u32) -> Result<Collected<Vec<Program>>, Gap> {
    let argv = host.commands(&[pid]).pop().unwrap_or_else(|| Ok(Vec::new()))?;
    let Some(found) = wire::supervising(&argv) else { return Ok(Collected::default()) };
    let place = Place::of(host, pid)?;
    let mut program = supervised(host, &place, &found.service)?;
    program.claim.log = found.log.map(Into::into);
    Ok(Collected { value: vec![program], gaps: Vec::new() })
}

/// A service by its name, in the mount namespace of the doctor.
///
/// # Errors
/// A gap when OpenRC has no such service, or its state cannot be read.
pub fn named(host: &dyn Host, name: &str) -> Result<Program, Gap> {
    let workers = host.workers()?;
    let shown = printable(name.as_bytes());
    let script = ForeignPath::of_person(&Path::new("/etc/init.d").join(name));
    if !wire::is_service_name(name) || !exists(workers, &script)? {
        return Err(Gap::new(shown, GapReason::NotFound, GapDetail::NoOpenRcService));
    }
    let at = |path: &str| ForeignPath::of_person(&Path::new(STATE).join(path));
    let pid_file = content(workers, &at(&format!("options/{name}/pidfile")))?.as_deref().and_then(wire::pid_file);
    let supervising = pid_file.and_then(|path| {
        let bytes = workers.content(&ForeignPath::of_person(path.path()), MAX_VALUE_BYTES).ok()?.bytes;
        let pid = wire::number(&bytes).and_then(|pid| u32::try_from(pid).ok())?;
        let argv = host.commands(&[pid]).pop()?.ok()?;
        wire::supervising(&argv).filter(|found| found.service == name).map(|_| pid)
    });
    if let Some(pid) = supervising {
        let found = programs(host, pid)?.value.pop();
        return found.ok_or_else(|| Gap::new(shown, GapReason::Vanished, GapDetail::NoSuperviseDaemon));
    }
    let has = |directory: &str| exists(workers, &at(&format!("{directory}/{name}")));
    let (state, claim_state) = if has("failed")? {
        ("failed", ClaimState::GaveUp)
    } else if has("options")? || has("started")? {
        ("unsupervised", ClaimState::Unknown)
    } else {
        ("stopped", ClaimState::Idle)
    };
    let claim = Supervisor { state: Some(state.into()), claim_state, ..claim_of(name) };
    Ok(with_script(workers, &script, &script_of_settings(name), Program { claim, ..Program::default() }))
}

/// Whether a file exists.
///
/// # Errors
/// A gap when that is not known: a file that cannot be seen may exist.
fn exists(workers: &Workers, path: &ForeignPath) -> Result<bool, Gap> {
    match workers.stat(path) {
        Ok(_) => Ok(true),
        Err(gap) if gap.reason == GapReason::NotFound => Ok(false),
        Err(gap) => Err(gap),
    }
}

/// The claim of a supervising process.
fn supervised(host: &dyn Host, place: &Place, name: &str) -> Result<Program, Gap> {
    let workers = host.workers()?;
    let at = |path: &str| place.path(&Path::new(STATE).join(path));
    let option = |key: &str| -> Result<Option<u64>, Gap> {
        Ok(content(workers, &at(&format!("options/{name}/{key}")))?.as_deref().and_then(wire::number))
    };
    let own = place.process.identity.pid;
    // The file keeps the pid of a process that has ended until the next start.
    let child = option("child_pid")?
        .and_then(|pid| place.pid(host, u32::try_from(pid).ok()?))
        .and_then(|pid| process_of(host, pid))
        .filter(|process| process.ppid == own);
    let restarts = option("start_count")?;
    let delay_s = option("respawn_delay")?.unwrap_or(0);
    let age_ms = child.as_ref().and_then(|process| process.age_ms);
    let is_young = age_ms.is_some_and(|age| age < YOUNG_MS);
    let (state, claim_state) = match &child {
        None => ("respawning", ClaimState::Restarting),
        Some(_) if is_young && restarts.is_some_and(|count| count > 0) => ("running", ClaimState::Restarting),
        Some(_) => ("running", ClaimState::Running),
    };
    let most = option("respawn_max")?.filter(|most| *most > 0);
    let most = most.map_or_else(|| "unlimited".to_owned(), |most| most.to_string());
    let period_s = option("respawn_period")?.unwrap_or(0);
    let claim = Supervisor {
        claimed_pid: child.map(|process| process.identity.pid),
        pid: Some(own),
        owner: place.owner(),
        state: Some(state.into()),
        claim_state,
        restarts,
        claimed_age_ms: age_ms,
        restart_interval_ms: Some(delay_s.saturating_mul(1000)),
        policy: Some(format!("respawn_max={most} respawn_period={period_s} respawn_delay={delay_s}").into()),
        ..claim_of(name)
    };
    let command = content(workers, &at(&format!("daemons/{name}/001")))?.as_deref().map(wire::command);
    let program = Program { claim, command: command.unwrap_or_default(), ..Program::default() };
    let [script, settings] = ["/etc/init.d", "/etc/conf.d"].map(|path| place.path(&Path::new(path).join(name)));
    Ok(with_script(workers, &script, &settings, program))
}

fn claim_of(name: &str) -> Supervisor {
    Supervisor {
        kind: SupervisorKind::OpenRc,
        name: Some(printable(name.as_bytes()).into()),
        evidence: Note::ByPath { path: HostPath::from(&*Path::new(STATE).join("options").join(name)) },
        configuration: Some(HostPath::from(&*Path::new("/etc/init.d").join(name))),
        owner: another_user(0),
        ..Supervisor::default()
    }
}

/// The settings of a service that its script reads (openrc-run(8)).
fn script_of_settings(name: &str) -> ForeignPath {
    ForeignPath::of_person(&Path::new("/etc/conf.d").join(name))
}

/// Adds the home and the port that the script of the service or its settings export. A file that cannot be read is a gap.
fn with_script(workers: &Workers, script: &ForeignPath, settings: &ForeignPath, mut program: Program) -> Program {
    for path in [settings, script] {
        match workers.content(path, MAX_FILE_BYTES) {
            Ok(content) => {
                let home = variable(&content.bytes, "HERMES_HOME").map(|home| HostPath::from_kept(&home));
                let port = variable(&content.bytes, "HERMES_WEBUI_PORT").and_then(|port| port.parse().ok());
                program.claim.home = program.claim.home.or(home);
                program.claim.port = program.claim.port.or(port);
            }
            Err(gap) if gap.reason == GapReason::NotFound => {}
            Err(gap) => program.gaps.push(gap),
        }
    }
    program.recognised()
}

/// A small file; `None` if it does not exist.
fn content(workers: &Workers, path: &ForeignPath) -> Result<Option<Vec<u8>>, Gap> {
    match workers.content(path, MAX_VALUE_BYTES) {
        Ok(content) => Ok(Some(content.bytes.into_vec())),
        Err(gap) if gap.reason == GapReason::NotFound => Ok(None),
        Err(gap) => Err(gap),
    }
}

fn process_of(host: &dyn Host, pid: u32) -> Option<Process> {
    Some(host.process(host.identify(pid).ok()?).ok()?.value)
}
