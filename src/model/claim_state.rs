//! The state of a program, by its supervisor.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a program, by its supervisor. The supervisor's own words are in [`super::Supervisor::state`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "Fields", into = "Fields")]
#[schemars(with = "Fields")]
pub enum ClaimState {
    /// It runs.
    Running,
    /// It is being started for the first time.
    Starting,
    /// The supervisor is restarting it (auto-restart, BACKOFF, down and wanted up).
    Restarting,
    /// The supervisor has given up starting it.
    GaveUp,
    /// It is down and should be down: stopped on purpose, disabled, or never started.
    Idle,
    /// Its main process exited with success without a request, and the supervisor does not restart it.
    Finished,
    /// The supervisor was not queried, or its answer is none of these.
    #[default]
    Unknown,
}

impl ClaimState {
    /// Whether it is down, and the supervisor does not start it by itself.
    pub fn is_at_rest(self) -> bool {
        matches!(self, Self::GaveUp | Self::Idle | Self::Finished)
    }
}

/// The state in JSON: fields of [`super::Supervisor`].
#[derive(Serialize, Deserialize, JsonSchema)]
struct Fields {
    /// Whether the supervisor is restarting it now (auto-restart, BACKOFF, down and wanted up).
    #[serde(default)]
    is_restarting: bool,
    /// Whether the supervisor has given up starting it.
    #[serde(default)]
    gave_up: bool,
    /// Whether it is down and should be down: stopped on purpose, disabled, or never started.
    #[serde(default)]
    is_idle: bool,
    /// Whether its main process exited with success without a request, and the supervisor does not restart it.
    #[serde(default)]
    finished: bool,
    /// The same in one word.
    #[serde(default)]
    claim_state: Word,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(inline)]
enum Word {
    Running,
    Starting,
    Restarting,
    GaveUp,
    Idle,
    Finished,
    /// Unknown, or a state that the reader does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl From<Fields> for ClaimState {
    /// Reports of versions before 1.1 have no word.
    fn from(fields: Fields) -> Self {
        match fields {
            Fields { gave_up: true, .. } => Self::GaveUp,
            Fields { is_restarting: true, .. } => Self::Restarting,
            Fields { finished: true, .. } => Self::Finished,
            Fields { is_idle: true, .. } => Self::Idle,
            Fields { claim_state: Word::Running, .. } => Self::Running,
            Fields { claim_state: Word::Starting, .. } => Self::Starting,
            _ => Self::Unknown,
        }
    }
}

impl From<ClaimState> for Fields {
    fn from(state: ClaimState) -> Self {
        Self {
            is_restarting: state == ClaimState::Restarting,
            gave_up: state == ClaimState::GaveUp,
            is_idle: state == ClaimState::Idle,
            finished: state == ClaimState::Finished,
            claim_state: match state {
                ClaimState::Running => Word::Running,
                ClaimState::Starting => Word::Starting,
                ClaimState::Restarting => Word::Restarting,
                ClaimState::GaveUp => Word::GaveUp,
                ClaimState::Idle => Word::Idle,
                ClaimState::Finished => Word::Finished,
                ClaimState::Unknown => Word::Unknown,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_state_survives_json() {
        use ClaimState as S;
        for state in [S::Running, S::Starting, S::Restarting, S::GaveUp, S::Idle, S::Finished, S::Unknown] {
            let json = serde_json::to_value(state).unwrap();
            assert_eq!(serde_json::from_value::<S>(json).unwrap(), state);
        }
        // A report of an older version, and one of a newer version.
        assert_eq!(serde_json::from_value::<S>(json!({"gave_up": true})).unwrap(), S::GaveUp);
        assert_eq!(serde_json::from_value::<S>(json!({"claim_state": "paused"})).unwrap(), S::Unknown);
    }
}
