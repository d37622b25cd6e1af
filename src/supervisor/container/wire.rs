//! The response to `GET /containers/ID/json` (Docker Engine API, "Inspect a container"; Podman returns the
//! same).

use crate::model::text::printable;
use crate::parse::ParseError;
use serde::Deserialize;

/// State of a container, as its runtime reports it. Its environment is not read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ContainerState {
    /// Name without the leading slash.
    pub name: String,
    /// `State.Status`: `running`, `restarting`, `exited` …
    pub status: String,
    /// Pid of its first process, in the runtime's pid namespace.
    pub pid: Option<u32>,
    /// `State.ExitCode` of its last exit.
    pub exit_code: i64,
    /// `RestartCount`: automatic restarts.
    pub restarts: Option<u64>,
    /// `HostConfig.RestartPolicy.Name`: `no`, `always`, `unless-stopped`, `on-failure`.
    pub restart_policy: String,
    /// `State.StartedAt`, RFC 3339.
    pub started_at: String,
    /// `Path` and `Args`. They are recognised first, and masked where they are printed.
    pub command: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspect {
    name: Option<String>,
    state: Option<State>,
    restart_count: Option<u64>,
    host_config: Option<HostConfig>,
    path: Option<String>,
    args: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: Option<String>,
    pid: Option<u32>,
    exit_code: Option<i64>,
    started_at: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    restart_policy: Option<RestartPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    name: Option<String>,
}

/// Parses the body.
///
/// # Errors
/// When it is not JSON of this form.
pub fn inspect(body: &[u8]) -> Result<ContainerState, ParseError> {
    let found: Inspect = serde_json::from_slice(body).map_err(|error| ParseError::new("container", error))?;
    let state = found.state.ok_or_else(|| ParseError::new("container", "it has no State"))?;
    let text = |value: Option<String>| value.map_or_else(String::new, |value| printable(value.as_bytes()));
    let policy = found.host_config.and_then(|config| config.restart_policy).and_then(|policy| policy.name);
    Ok(ContainerState {
        name: text(found.name).trim_start_matches('/').to_owned(),
        status: text(state.status),
        pid: state.pid.filter(|pid| *pid != 0),
        exit_code: state.exit_code.unwrap_or(0),
        restarts: found.restart_count,
        restart_policy: text(policy),
        started_at: text(state.started_at),
        command: found.path.into_iter().chain(found.args.unwrap_or_default()).take(4096).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_answer() {
        let body = br#"{"Id":"0123","Name":"/hermes-webui","Path":"python","Args":["server.py"],"RestartCount":3,
            "State":{"Status":"running","Running":true,"Pid":4711,"ExitCode":0,"StartedAt":"2026-08-01T00:00:00Z"},
            "HostConfig":{"RestartPolicy":{"Name":"unless-stopped","MaximumRetryCount":0}},
            "Config":{"Env":["API_KEY=canary"]}}"#;
        let found = inspect(body).unwrap();
        assert_eq!((found.name.as_str(), found.pid, found.restarts), ("hermes-webui", Some(4711), Some(3)));
        assert_eq!((found.restart_policy.as_str(), found.status.as_str()), ("unless-stopped", "running"));
        assert_eq!(found.command, ["python", "server.py"]);
        assert!(!format!("{found:?}").contains("canary"));
    }

    #[test]
    fn hostile_answers_are_errors() {
        for bad in [&b""[..], b"{}", b"[]", b"{\"State\":3}", b"{\"message\":\"No such container: x\"}", b"\xff"] {
            assert!(inspect(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
        let found = inspect(b"{\"Name\":\"\\u001b[31m\",\"State\":{}}").unwrap();
        assert!(!found.name.contains('\u{1b}'));
    }
}
