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

#[cfg(test)]
mod tests {
    use super::*;

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
