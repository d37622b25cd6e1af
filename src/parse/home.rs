//! Files of a HERMES_HOME that identify a server: pid files, the state of the WebUI control script, and the
//! port in environment files.

use crate::model::HostPath;
use crate::model::text::kept;
use serde_json::Value;

/// A server that a file of the home identifies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PidRecord {
    /// Pid of the server.
    pub pid: u32,
    /// Start time, if the file contains it (gateway records): on Linux in clock ticks after boot, field 22 of
    /// `/proc/PID/stat`; on macOS in hundredths of a second since 1970.
    pub start_ticks: Option<u64>,
}

/// Parses a pid file: a plain number, or a gateway's JSON record with `pid` and `start_time`.
pub fn pid_file(bytes: &[u8]) -> Option<PidRecord> {
    let text = std::str::from_utf8(bytes).ok()?.trim();
    if let Ok(pid) = text.parse() {
        return Some(PidRecord { pid, start_ticks: None }).filter(|record| record.pid != 0);
    }
    let record: Value = serde_json::from_str(text).ok()?;
    let pid = u32::try_from(record.get("pid")?.as_u64()?).ok().filter(|pid| *pid != 0)?;
    let start_ticks = record.get("start_time").and_then(Value::as_u64);
    Some(PidRecord { pid, start_ticks })
}

/// Contents of `webui.ctl.env`: the WebUI control script's record of the server that it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ControlState {
    /// `PID`.
    pub pid: Option<u32>,
    /// `PORT`.
    pub port: Option<u16>,
}

/// Parses `webui.ctl.env` (shell-quoted `KEY=VALUE` lines). Only the named keys are read.
pub fn control_state(bytes: &[u8]) -> ControlState {
    ControlState {
        pid: value_of(bytes, "PID").and_then(|pid| pid.parse().ok()).filter(|pid| *pid != 0),
        port: value_of(bytes, "PORT").and_then(|port| port.parse().ok()),
    }
}

/// The port that an environment file sets for a WebUI. No other key is read.
pub fn webui_port(bytes: &[u8]) -> Option<u16> {
    value_of(bytes, "HERMES_WEBUI_PORT")?.parse().ok()
}

/// The home that an environment file sets. No other key is read.
pub fn hermes_home(bytes: &[u8]) -> Option<HostPath> {
    value_of(bytes, "HERMES_HOME").filter(|home| home.starts_with('/')).map(|home| HostPath::from_kept(&home))
}

/// Last value of one key in a file of shell-quoted `KEY=VALUE` lines, as a shell would read it. The text is
/// lossless (see [`kept`]).
fn value_of(bytes: &[u8], key: &str) -> Option<String> {
    kept(bytes)
        .lines()
        .filter_map(|line| {
            let line = line.trim();
            let line = line.strip_prefix("export ").map_or(line, str::trim_start);
            let value = line.strip_prefix(key)?.strip_prefix('=')?;
            let words = shlex::split(value)?;
            Some(words.first().cloned().unwrap_or_default())
        })
        .next_back()
}

/// Last value that a shell script gives to a variable, by assignment, `export` or `env`. `None` where the value
/// contains other variables. No other variable is read.
pub fn variable(script: &[u8], name: &str) -> Option<String> {
    let text = kept(script);
    let mut values = text.lines().filter_map(|line| {
        let words = shlex::split(line)?;
        words.iter().find_map(|word| Some(word.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
    });
    let last = values.next_back()?;
    (!last.is_empty() && !last.contains(['$', '`'])).then_some(last)
}

/// Directories from which a run script reads its environment, one file per variable: `chpst -e DIR`, `envdir
/// DIR`, `s6-envdir DIR`.
pub fn variable_directories(script: &[u8]) -> Vec<String> {
    let text = kept(script).replace("\\\n", " ");
    let mut found = Vec::new();
    for line in text.lines() {
        let words = shlex::split(line).unwrap_or_default();
        let mut program = "";
        let mut rest = words.iter().map(String::as_str);
        while let Some(word) = rest.next() {
            let name = super::command::program_name(word);
            match (program, word) {
                (_, _) if matches!(name, "chpst" | "envdir" | "s6-envdir") => program = name,
                ("chpst", "-e") => found.extend(rest.next().map(str::to_owned)),
                ("envdir" | "s6-envdir", word) if !word.starts_with('-') => {
                    found.push(word.to_owned());
                    program = "";
                }
                _ => {}
            }
        }
    }
    found.retain(|directory| !directory.contains(['$', '`']));
    found.truncate(8);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_plain_and_json_records() {
        assert_eq!(pid_file(b" 4711\n"), Some(PidRecord { pid: 4711, start_ticks: None }));
        assert_eq!(
            pid_file(br#"{"pid": 12, "kind": "hermes-gateway", "argv": ["x"], "start_time": 918273}"#),
            Some(PidRecord { pid: 12, start_ticks: Some(918_273) })
        );
        for bad in [&b""[..], b"0", b"-1", b"99999999999", b"{}", b"{\"pid\":0}", b"\xff", b"[[[["] {
            assert_eq!(pid_file(bad), None, "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn reads_the_control_script_state() {
        let state = control_state(b"PID=77\nREPO_ROOT='/h/my webui'\nPORT=8790\nHOST=127.0.0.1\n");
        assert_eq!(state, ControlState { pid: Some(77), port: Some(8790) });
        assert_eq!(control_state(b"PID='\nPORT=x"), ControlState::default());
    }

    #[test]
    fn reads_only_the_port_of_an_environment_file() {
        assert_eq!(webui_port(b"API_KEY=secret\nexport HERMES_WEBUI_PORT=\"8788\" # home\n"), Some(8788));
        assert_eq!(webui_port(b"XHERMES_WEBUI_PORT=1\n#HERMES_WEBUI_PORT=2\n"), None);
    }

    #[test]
    fn finds_directories_of_variables() {
        let script = b"#!/bin/sh\nexec chpst -u hermes -e ./env python3 x\nexec s6-envdir -n /run/env \\\n  s6-setuidgid h y\nenvdir $X z";
        assert_eq!(variable_directories(script), ["./env", "/run/env"]);
    }

    #[test]
    fn reads_a_variable_of_a_script() {
        let script =
            b"#!/bin/sh\n# HERMES_HOME=/no\nexport A=1 HERMES_HOME='/srv/my home'\nexec env X=y python3 x\n";
        assert_eq!(variable(script, "HERMES_HOME").as_deref(), Some("/srv/my home"));
        assert_eq!(variable(b"HERMES_HOME=$HOME/.hermes", "HERMES_HOME"), None);
        assert_eq!(variable(b"XHERMES_HOME=/x\necho 'open", "HERMES_HOME"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = pid_file(&bytes);
            let _ = control_state(&bytes);
            let _ = webui_port(&bytes);
            let _ = variable_directories(&bytes);
        }
    }
}
