//! Output of `systemctl show`: one `Key=Value` a line (systemctl(1)).

/// What a systemd manager says of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitState {
    /// `MainPID`; `None` when it is 0.
    pub main_pid: Option<u32>,
    /// `ControlPID`; `None` when it is 0.
    pub control_pid: Option<u32>,
    /// `ActiveState` and `SubState`, for example `active (running)`.
    pub state: String,
    /// `NRestarts`.
    pub restarts: Option<u64>,
    /// `InvocationID`.
    pub invocation_id: Option<String>,
    /// `ExecStart`, as printed.
    pub exec_start: String,
    /// `LoadState`.
    pub load_state: String,
}

/// The properties that are asked for.
pub const PROPERTIES: &str = "LoadState,ActiveState,SubState,MainPID,ControlPID,NRestarts,InvocationID,ExecStart";

/// Parses the answer; properties that are missing stay empty.
pub fn show(bytes: &[u8]) -> UnitState {
    let text = String::from_utf8_lossy(bytes);
    let mut unit = UnitState::default();
    let (mut active, mut sub) = ("", "");
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        let pid = || value.parse().ok().filter(|pid| *pid != 0);
        match key {
            "MainPID" => unit.main_pid = pid(),
            "ControlPID" => unit.control_pid = pid(),
            "NRestarts" => unit.restarts = value.parse().ok(),
            "InvocationID" => unit.invocation_id = Some(value.to_owned()).filter(|id| !id.is_empty()),
            "ExecStart" => unit.exec_start = super::text::printable(value.as_bytes()),
            "LoadState" => unit.load_state = super::text::printable(value.as_bytes()),
            "ActiveState" => active = value,
            "SubState" => sub = value,
            _ => {}
        }
    }
    unit.state = super::text::printable(format!("{active} ({sub})").as_bytes());
    unit
}

/// What a unit file says of a server (systemd.service(5), systemd.exec(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitFile {
    /// Words of the last `ExecStart=`, its prefix characters taken off.
    pub command: Option<Vec<String>>,
    /// `HERMES_WEBUI_PORT` of an `Environment=`; no other variable is looked at.
    pub webui_port: Option<u16>,
    /// Paths of `EnvironmentFile=`.
    pub environment_files: Vec<String>,
}

/// Parses a unit file as far as it is needed here; lines that are continued with a backslash are joined.
pub fn unit_file(bytes: &[u8]) -> UnitFile {
    let text = String::from_utf8_lossy(bytes).replace("\\\n", " ");
    let mut unit = UnitFile::default();
    for line in text.lines() {
        let Some((key, value)) = line.split_once('=') else { continue };
        match key.trim() {
            "ExecStart" => {
                let command = value.trim_start().trim_start_matches(['@', '-', ':', '+', '!']);
                unit.command = shlex::split(command).filter(|words| !words.is_empty()).or(unit.command);
            }
            "Environment" => {
                let ports = shlex::split(value).unwrap_or_default();
                let mut port =
                    ports.iter().filter_map(|word| word.strip_prefix("HERMES_WEBUI_PORT=")?.parse().ok());
                unit.webui_port = port.next_back().or(unit.webui_port);
            }
            "EnvironmentFile" => unit.environment_files.push(value.trim().trim_start_matches('-').to_owned()),
            _ => {}
        }
    }
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_unit_file() {
        let unit = unit_file(
            b"[Service]\nEnvironment=\"HERMES_WEBUI_PORT=8790\" API_KEY=x\nEnvironmentFile=-/etc/hermes.env\n\
              ExecStart=-/usr/bin/python3 \\\n /srv/hermes-webui/server.py\n",
        );
        assert_eq!(unit.webui_port, Some(8790));
        assert_eq!(unit.environment_files, ["/etc/hermes.env"]);
        assert_eq!(unit.command.unwrap(), ["/usr/bin/python3", "/srv/hermes-webui/server.py"]);
        assert_eq!(unit_file(b"\xff=\n[x\nExecStart=\n"), UnitFile::default());
    }

    #[test]
    fn reads_an_answer() {
        let unit = show(
            b"MainPID=9820\nControlPID=0\nNRestarts=312\nActiveState=activating\nSubState=auto-restart\n\
              InvocationID=abc\nExecStart={ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 server.py ; x=y }\n",
        );
        assert_eq!((unit.main_pid, unit.control_pid, unit.restarts), (Some(9820), None, Some(312)));
        assert_eq!(unit.state, "activating (auto-restart)");
        assert!(unit.exec_start.contains("server.py"));
    }

    #[test]
    fn garbage_is_empty() {
        assert_eq!(show(b"\xff\xff\nno equals\nMainPID=x\n").main_pid, None);
    }
}
