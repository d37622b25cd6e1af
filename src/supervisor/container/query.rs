//! Containers: the answer of Docker or Podman on its own socket, where that socket may be used.

use super::wire::{ContainerState, inspect};
use crate::collect::foreign::Peer;
use crate::collect::worker::wire::Until;
use crate::collect::{ForeignPath, Host};
use crate::model::{
    ClaimState, Gap, GapDetail, GapReason, GapSubject, Note, Supervisor, SupervisorKind, Timestamp,
};
use crate::parse::http;
use crate::supervisor::Program;
use std::path::PathBuf;

/// Queries the runtime of a container.
pub fn named(host: &dyn Host, runtime: &SupervisorKind, id: &str) -> Result<Program, Gap> {
    let what = GapSubject::ContainerClaim { runtime: runtime.clone(), id: id.into() };
    let me = rustix::process::geteuid().as_raw();
    let sockets: [PathBuf; 2] = match runtime {
        SupervisorKind::Docker => ["/run/docker.sock".into(), format!("/run/user/{me}/docker.sock").into()],
        SupervisorKind::Podman => {
            ["/run/podman/podman.sock".into(), format!("/run/user/{me}/podman/podman.sock").into()]
        }
        _ => return Err(Gap::new(what, GapReason::Unsupported, GapDetail::RuntimeUnknown)),
    };
    // HTTP/1.0, so that the end of the answer is the end of the connection.
    let request = format!("GET /containers/{id}/json HTTP/1.0\r\nHost: localhost\r\n\r\n").into_bytes();
    let workers = host.workers()?;
    let mut last = None;
    for socket in sockets {
        let source = socket.display().to_string();
        let socket = ForeignPath::of_person(&socket);
        match workers.exchange(&socket, Peer::Service, request.clone(), None, Until::Close) {
            Ok(answer) => {
                let malformed = |why: String| Gap::new(&what, GapReason::Malformed, why);
                let body = http::complete(&answer).map_err(|error| malformed(error.to_string()))?;
                let state = inspect(&body).map_err(|error| malformed(error.to_string()))?;
                return Ok(program(runtime, id, state, source));
            }
            // The error of a socket that exists is a better reason than that of a socket that does not.
            Err(gap) if gap.reason == GapReason::NotFound => drop(last.get_or_insert(gap)),
            Err(gap) => last = Some(gap),
        }
    }
    let last = last.unwrap_or_else(|| Gap::new(&what, GapReason::NotFound, ""));
    let detail = GapDetail::About { subject: Box::new(last.what), detail: Box::new(last.detail) };
    Err(Gap { what, detail, ..last })
}

fn program(runtime: &SupervisorKind, id: &str, state: ContainerState, source: String) -> Program {
    let name = if state.name.is_empty() { id.to_owned() } else { state.name };
    let has_ended = state.status == "exited";
    let restarts_it = !matches!(state.restart_policy.as_str(), "" | "no");
    let claim = Supervisor {
        kind: runtime.clone(),
        claimed_pid: state.pid,
        evidence: Note::BySocket { kind: runtime.clone(), path: source.into() },
        claim_state: match state.status.as_str() {
            "restarting" => ClaimState::Restarting,
            "exited" if !restarts_it => ClaimState::Idle,
            "created" => ClaimState::Idle,
            "running" | "paused" => ClaimState::Running,
            _ => ClaimState::Unknown,
        },
        state: Some(state.status.into()),
        restarts: state.restarts,
        since: Some(state.started_at).filter(|at| !at.is_empty()).map(Timestamp::from),
        log: Some(format!("{runtime} logs {name}").into()),
        policy: Some(format!("restart={}", state.restart_policy).into()),
        result: has_ended.then(|| format!("exit status {}", state.exit_code)).map(Into::into),
        name: Some(name.into()),
        ..Supervisor::default()
    };
    Program { claim, command: state.command, ..Program::default() }.recognised()
}
