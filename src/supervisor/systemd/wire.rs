//! Output of `systemctl show`, one `Key=Value` per line (systemctl(1), org.freedesktop.systemd1(5)), and unit
//! files.

use crate::model::HostPath;
use crate::model::text::{kept, printable};
use std::time::Duration;

/// State of one service, as a systemd manager reports it. Properties that it does not print stay empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `Id`.
    pub id: String,
    /// `LoadState`: `loaded`, `not-found`, `masked` …
    pub load_state: String,
    /// `UnitFileState`: `enabled`, `disabled`, `static` …
    pub unit_file_state: String,
    /// `ActiveState`.
    pub active: String,
    /// `SubState`.
    pub sub: String,
    /// `Result`: `success`, `exit-code`, `start-limit-hit`, `oom-kill` …
    pub result: String,
    /// `Type`.
    pub service_type: String,
    /// `Restart`.
    pub restart: String,
    /// `RestartUSec`.
    pub restart_interval: Option<Duration>,
    /// `KillMode`.
    pub kill_mode: String,
    /// `MainPID`; `None` when it is 0.
    pub main_pid: Option<u32>,
    /// `ControlPID`; `None` when it is 0.
    pub control_pid: Option<u32>,
    /// `NRestarts`: automatic restarts since the unit was last started or reset by hand.
    pub restarts: Option<u64>,
    /// `InvocationID`.
    pub invocation_id: Option<String>,
    /// The arguments of `ExecStart`, as printed: separated by spaces and not quoted.
    pub exec_start: String,
    /// `ExecMainCode` and `ExecMainStatus` (waitid(2): code 1 is an exit, 2 and 3 are signals).
    pub main_exit: Option<(u32, i32)>,
    /// `RemainAfterExit`.
    pub remains: bool,
    /// `ExecMainStartTimestampMonotonic`, in microseconds since boot.
    pub main_started_at_us: u64,
    /// `ExecMainExitTimestampMonotonic`, in microseconds since boot.
    pub main_exited_at_us: u64,
    /// `ActiveExitTimestampMonotonic`, in microseconds since boot.
    pub inactive_since_us: u64,
    /// `StateChangeTimestampMonotonic`, in microseconds since boot.
    pub state_changed_at_us: u64,
    /// `FragmentPath`.
    pub fragment: String,
    /// `HERMES_HOME` of `Environment`. Only this variable and the next are kept.
    pub home: Option<HostPath>,
    /// `HERMES_WEBUI_PORT` of `Environment`.
    pub webui_port: Option<u16>,
}

/// The properties that are requested.
pub const PROPERTIES: &str = "Id,LoadState,UnitFileState,ActiveState,SubState,Result,Type,Restart,RestartUSec,KillMode,\
MainPID,ControlPID,NRestarts,InvocationID,ExecStart,RemainAfterExit,ExecMainCode,ExecMainStatus,\
ExecMainStartTimestampMonotonic,ExecMainExitTimestampMonotonic,\
ActiveExitTimestampMonotonic,StateChangeTimestampMonotonic,FragmentPath,Environment";

impl UnitState {
    /// `ActiveState` and `SubState`, for example `active (running)`.
    pub fn state(&self) -> String {
        format!("{} ({})", self.active, self.sub)
    }

    /// Whether the main process of a unit that is down ended first, and the state of the unit followed. When a
    /// user stops a unit the order is reversed: the unit leaves its active state, and then its main process
    /// ends. (An end by `systemctl kill` cannot be distinguished from an exit of its own.)
    ///
    /// False where this cannot be determined: a oneshot unit, which was never active; a unit that remains
    /// active after the exit; one with `Restart=always`, which is down with success only when it was stopped
    /// between two starts; and one that the manager has unloaded and has no more data about.
    pub fn ended_by_itself(&self) -> bool {
        self.main_exited_at_us > 0
            && self.main_exited_at_us <= self.inactive_since_us
            && !self.remains
            && self.restart != "always"
    }

    /// Run time of its main process, if it has ended.
    pub fn ran_for(&self) -> Option<Duration> {
        let has_ended = self.main_started_at_us > 0 && self.main_exited_at_us > 0;
        has_ended.then(|| Duration::from_micros(self.main_exited_at_us.saturating_sub(self.main_started_at_us)))
    }

    /// Whether its main process exited with status 0.
    pub fn exited_with_success(&self) -> bool {
        self.main_exit == Some((1, 0))
    }
}

/// Parses the output: one block of properties per unit, separated by empty lines.
pub fn show(bytes: &[u8]) -> Vec<UnitState> {
    let text = kept(bytes);
    text.split("\n\n").filter(|block| !block.trim().is_empty()).map(block).collect()
}

fn block(text: &str) -> UnitState {
    let mut unit = UnitState::default();
    let (mut code, mut status) = (None, None);
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let shown = || printable(value.as_bytes());
        let pid = || value.parse().ok().filter(|pid| *pid != 0);
        let microseconds = || value.parse().unwrap_or(0);
        match key {
            "Id" => unit.id = shown(),
            "LoadState" => unit.load_state = shown(),
            "UnitFileState" => unit.unit_file_state = shown(),
            "ActiveState" => unit.active = shown(),
            "SubState" => unit.sub = shown(),
            "Result" => unit.result = shown(),
            "Type" => unit.service_type = shown(),
            "Restart" => unit.restart = shown(),
            "RestartUSec" => unit.restart_interval = humantime::parse_duration(value).ok(),
            "KillMode" => unit.kill_mode = shown(),
            "MainPID" => unit.main_pid = pid(),
            "ControlPID" => unit.control_pid = pid(),
            "NRestarts" => unit.restarts = value.parse().ok(),
            "InvocationID" => unit.invocation_id = Some(shown()).filter(|id| !id.is_empty()),
            "ExecStart" => unit.exec_start = exec_arguments(value).unwrap_or_default().to_owned(),
            "ExecMainCode" => code = value.parse().ok(),
            "ExecMainStatus" => status = value.parse().ok(),
            "RemainAfterExit" => unit.remains = value == "yes",
            "ExecMainStartTimestampMonotonic" => unit.main_started_at_us = microseconds(),
            "ExecMainExitTimestampMonotonic" => unit.main_exited_at_us = microseconds(),
            "ActiveExitTimestampMonotonic" => unit.inactive_since_us = microseconds(),
            "StateChangeTimestampMonotonic" => unit.state_changed_at_us = microseconds(),
            "FragmentPath" => unit.fragment = value.to_owned(),
            "Environment" => (unit.home, unit.webui_port) = hermes_variables(value),
            _ => {}
        }
    }
    unit.main_exit = code.zip(status).filter(|(code, _)| *code != 0);
    unit
}

/// The `argv[]=…` of `{ path=… ; argv[]=… ; ignore_errors=… }`.
fn exec_arguments(value: &str) -> Option<&str> {
    let (_, rest) = value.split_once("argv[]=")?;
    Some(rest.split(" ; ignore_errors=").next().unwrap_or(rest).trim())
}

/// Home and port of an `Environment`, the only variables that are read.
fn hermes_variables(value: &str) -> (Option<HostPath>, Option<u16>) {
    let words = shlex::split(value).unwrap_or_default();
    let last = |name: &str| words.iter().filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')).next_back();
    (last("HERMES_HOME").map(HostPath::from_kept), last("HERMES_WEBUI_PORT").and_then(|port| port.parse().ok()))
}

/// The settings of a unit file that describe a server (systemd.service(5), systemd.exec(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFile {
    /// Words of the last `ExecStart=`, without its prefix characters.
    pub command: Option<Vec<String>>,
    /// `HERMES_WEBUI_PORT` of an `Environment=`. Only this variable and the next are read.
    pub webui_port: Option<u16>,
    /// `HERMES_HOME` of an `Environment=`.
    pub home: Option<HostPath>,
    /// Paths of `EnvironmentFile=`.
    pub environment_files: Vec<String>,
    /// File of `StandardError=`, else of `StandardOutput=`; `systemctl show` prints only that it is a file.
    pub output_file: Option<String>,
}

/// Parses the settings of a unit file that are used; lines that end in a backslash are joined.
pub fn unit_file(bytes: &[u8]) -> UnitFile {
    let text = kept(bytes).replace("\\\n", " ");
    let mut unit = UnitFile::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        match key.trim() {
            "ExecStart" => {
                let command = value.trim_start().trim_start_matches(['@', '-', ':', '+', '!']);
                unit.command = shlex::split(command).filter(|words| !words.is_empty()).or(unit.command);
            }
            "Environment" => {
                let (home, port) = hermes_variables(value);
                unit.home = home.or(unit.home);
                unit.webui_port = port.or(unit.webui_port);
            }
            "StandardError" => unit.output_file = output_file(value).or(unit.output_file),
            "StandardOutput" => unit.output_file = unit.output_file.or_else(|| output_file(value)),
            "EnvironmentFile" => unit.environment_files.push(value.trim().trim_start_matches('-').to_owned()),
            _ => {}
        }
    }
    unit
}

/// The path of `file:/path`, `append:/path` or `truncate:/path`.
fn output_file(value: &str) -> Option<String> {
    let (how, path) = value.trim().split_once(':')?;
    let is_file = matches!(how, "file" | "append" | "truncate") && path.starts_with('/');
    is_file.then(|| printable(path.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_unit_file() {
        let unit = unit_file(
            b"[Service]\nEnvironment=\"HERMES_WEBUI_PORT=8790\" API_KEY=x\nEnvironmentFile=-/etc/hermes.env\n\
              StandardOutput=append:/var/log/hermes.log\nStandardError=inherit\n\
              ExecStart=-/usr/bin/python3 \\\n /srv/hermes-webui/server.py\n",
        );
        assert_eq!(unit.webui_port, Some(8790));
        assert_eq!(unit.environment_files, ["/etc/hermes.env"]);
        assert_eq!(unit.output_file.as_deref(), Some("/var/log/hermes.log"));
        assert_eq!(unit.command.unwrap(), ["/usr/bin/python3", "/srv/hermes-webui/server.py"]);
        assert_eq!(unit_file(b"\xff=\n[x\nExecStart=\n"), UnitFile::default());
    }

    #[test]
    fn reads_an_answer() {
        let units = show(
            b"Id=hermes-webui.service\nMainPID=9820\nControlPID=0\nNRestarts=312\nActiveState=activating\n\
              SubState=auto-restart\nInvocationID=abc\nRestartUSec=1min 30s\nExecMainCode=1\nExecMainStatus=0\n\
              ExecStart={ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 server.py --a ; ignore_errors=no ; pid=0 }\n\
              Environment=HERMES_HOME=/srv/h \"API_KEY=canary a\" HERMES_WEBUI_PORT=8790\n\
              \nId=nosuch.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n",
        );
        assert_eq!(units.len(), 2);
        let unit = &units[0];
        assert_eq!((unit.main_pid, unit.control_pid, unit.restarts), (Some(9820), None, Some(312)));
        assert_eq!(unit.state(), "activating (auto-restart)");
        assert_eq!(unit.exec_start, "/usr/bin/python3 server.py --a");
        assert_eq!(unit.restart_interval, Some(Duration::from_secs(90)));
        assert_eq!((unit.home.as_deref(), unit.webui_port), (Some("/srv/h"), Some(8790)));
        assert!(unit.exited_with_success() && !format!("{unit:?}").contains("canary"));
        assert_eq!(units[1].load_state, "not-found");
    }

    /// Values of a real manager: a launcher that ended without a request, and a server that a user stopped.
    #[test]
    fn distinguishes_an_exit_from_a_stop() {
        let unit = |exited: u64, inactive: u64| UnitState {
            main_exited_at_us: exited,
            inactive_since_us: inactive,
            ..UnitState::default()
        };
        assert!(unit(1_000_100, 1_000_900).ended_by_itself());
        assert!(!unit(1_000_900, 1_000_100).ended_by_itself());
        assert!(!unit(0, 1_000_100).ended_by_itself());
        // Stopped between two starts, and one that stays active after its exit.
        let always = UnitState { restart: "always".into(), ..unit(1_000_100, 1_000_900) };
        assert!(!always.ended_by_itself());
        assert!(!UnitState { remains: true, ..unit(1_000_100, 1_000_900) }.ended_by_itself());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = show(&bytes);
            let _ = unit_file(&bytes);
        }
    }

    #[test]
    fn garbage_is_empty() {
        assert_eq!(show(b"\xff\xff\nno equals\nMainPID=x\n")[0].main_pid, None);
        assert!(show(b"\n\n\n").is_empty());
    }
}
