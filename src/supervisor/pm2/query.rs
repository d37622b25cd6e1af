//! pm2 answers on `rpc.sock` in its home, which the title of its daemon contains.

use super::wire::{self, Pm2Program};
use crate::collect::worker::wire::Until;
use crate::collect::{Collected, Host, SocketTable};
use crate::model::text::printable;
use crate::model::{
    ClaimState, Gap, GapDetail, GapReason, GapSubject, HostPath, Supervisor, SupervisorKind, whole_milliseconds,
};
use crate::supervisor::place::{Place, since, timestamp};
use crate::supervisor::{Program, SupervisorProcess};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum number of queries while a program may be between two starts.
const MAX_QUERIES: u32 = 4;
/// Time between two such queries.
const BETWEEN_QUERIES: Duration = Duration::from_millis(50);
/// Time that must remain for such a query.
const MIN_REMAINING: Duration = Duration::from_millis(500);
/// Age of the last start from which a program without a process is taken as stopped on purpose.
const YOUNG: Duration = Duration::from_secs(60);

/// The programs of a daemon.
///
/// # Errors
/// A gap when the daemon's home is not found, or the daemon gives no answer.
pub fn programs(host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
    let place = Place::of(host, supervisor.pid)?;
    let Some(home) = home(host, &place) else {
        let what = GapSubject::HomeOfPm2 { pid: supervisor.pid };
        return Err(Gap::new(what, GapReason::NotFound, GapDetail::HomeOfPm2Unknown));
    };
    let socket = home.join("rpc.sock");
    let source = printable(socket.as_os_str().as_encoded_bytes());
    let what = GapSubject::AnswerOfPm2 { path: source.as_str().into() };
    let workers = host.workers()?;
    let query = || {
        let answer = workers
            .exchange(&place.path(&socket), place.peer(), wire::request(), None, Until::Pm2Message)
            .map_err(|gap| Gap { what: what.clone(), ..gap })?;
        wire::programs(&answer).map_err(|error| Gap::new(&what, GapReason::Malformed, error.to_string()))
    };
    let mut found = query()?;
    for _ in 1..MAX_QUERIES {
        if !found.iter().any(may_be_between_starts) || workers.deadline.remaining() < MIN_REMAINING {
            break;
        }
        std::thread::sleep(BETWEEN_QUERIES);
        // An error is no reason to lose the answer before it.
        let Ok(next) = query() else { break };
        found = next;
    }
    let value = found.into_iter().map(|found| program(host, &place, &home, &source, found)).collect();
    Ok(Collected { value, gaps: Vec::new() })
}

/// The home of a daemon. Every daemon listens on `rpc.sock` in its home. Where its descriptors cannot be read, its
/// title contains the home, unless the title was cut. Else it is the default home of its user.
fn home(host: &dyn Host, place: &Place) -> Option<PathBuf> {
    let read = host.descriptors(&place.process, &SocketTable::default()).map(|read| read.value.facts.sockets);
    let of_socket = read.unwrap_or_default().into_iter().find_map(|socket| {
        let path = socket.local.filter(|_| socket.protocol == "unix")?;
        Some(PathBuf::from(path.strip_suffix("/rpc.sock").filter(|home| home.starts_with('/'))?))
    });
    let title = host.commands(&[place.process.identity.pid]).pop().and_then(Result::ok).unwrap_or_default();
    of_socket
        .or_else(|| title.first().and_then(|title| wire::home_of_title(title)).map(PathBuf::from))
        .or_else(|| host.user_home(place.process.uid).map(|home| home.join(".pm2")))
}

/// Whether pm2 may be about to start a program again: its state is `stopped` for a moment between an exit and the next
/// start, as it is after `pm2 stop`.
fn may_be_between_starts(found: &Pm2Program) -> bool {
    let is_young = found.started_at_ms.is_some_and(|at| since(at / 1000) < YOUNG);
    found.state == "stopped" && found.pid.is_none() && !stays_down(found) && is_young
}

/// Whether pm2 leaves a program down after the exit status that it had last.
fn stays_down(found: &Pm2Program) -> bool {
    !found.autorestart || found.stop_exit_codes.contains(&found.exit_code.unwrap_or(i64::MIN))
}

fn program(host: &dyn Host, place: &Place, home: &Path, source: &str, found: Pm2Program) -> Program {
    let started = found.started_at_ms.map(|at| at / 1000);
    let waits = found.backoff_reached_ms.or(found.restart_delay_ms).unwrap_or(0);
    let ended_well = found.exit_code == Some(0);
    let stays_down = stays_down(&found);
    // Its interpreter could not be run. pm2 still reports it as online, and does not retry.
    let never_ran = found.state == "online" && found.pid.is_none();
    let state = if never_ran { "online, without a process".to_owned() } else { found.state.clone() };
    let claim = Supervisor {
        kind: SupervisorKind::Pm2,
        claimed_pid: found.pid.and_then(|pid| place.pid(host, pid)),
        evidence: format!("pm2 on {source}").into(),
        restarts: found.restarts,
        claim_state: match found.state.as_str() {
            "waiting restart" | "launching" => ClaimState::Restarting,
            "errored" => ClaimState::GaveUp,
            _ if never_ran => ClaimState::GaveUp,
            // The state is `stopped` also between an exit and the next start. After a manual stop it has no pid either,
            // but pm2 does not start it again, so its counter does not change.
            "stopped" if stays_down && ended_well => ClaimState::Finished,
            "stopped" => ClaimState::Idle,
            "online" | "stopping" => ClaimState::Running,
            _ => ClaimState::Unknown,
        },
        pid: Some(place.process.identity.pid),
        owner: place.owner(),
        since: started.and_then(timestamp),
        claimed_age_ms: found.pid.and(started).map(|at| whole_milliseconds(since(at))),
        restart_interval_ms: Some(waits.max(1000)),
        configuration: Some(printable(home.as_os_str().as_encoded_bytes()).into()),
        log: [found.error_log, found.output_log]
            .into_iter()
            .flatten()
            .find(|path| path.starts_with('/') && path != "/dev/null")
            .map(Into::into),
        policy: Some(format!("autorestart={}", found.autorestart).into()),
        result: found
            .exit_code
            .filter(|_| found.pid.is_none())
            .map(|code| format!("exit code {code}"))
            .map(Into::into),
        port: found.port,
        home: found.home.map(HostPath::from),
        state: Some(state.into()),
        name: Some(found.name.into()),
        ..Supervisor::default()
    };
    Program { claim, command: found.command, ..Program::default() }.recognised()
}
