//! Claims of supervisors as they were read, before any of them is compared with the server.

use super::{GapDetail, ServerKind, Supervisor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the configuration of a program relates to the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// It is for this server, by its port or its home.
    This,
    /// It is for this server by its command alone, and nothing contradicts that.
    Likely,
    /// It is for another server that should have the port of this one.
    Rival,
    /// It is for something else, or for something that the reader does not know.
    #[default]
    #[serde(other)]
    Other,
}

/// The claim of a supervisor about one program, with the facts that decide whether that program is the server.
/// `diagnose::ownership` decides.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RawClaim {
    /// The claim; `claims_this` is `null` here.
    pub claim: Supervisor,
    /// How its configuration relates to the server.
    #[serde(default)]
    pub fit: Fit,
    /// Whether the user named it with `--expect`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_expected: bool,
    /// Whether the control group of the server is that of this unit or container.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_of_control_group: bool,
    /// Whether the activation of this unit that started the server is the current one, by its INVOCATION_ID
    /// (systemd.exec(5)); `null` is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_current_activation: Option<bool>,
    /// Kind of server that its configured command starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs: Option<ServerKind>,
    /// Whether its configured command is certainly that of a Hermes server.
    #[serde(default, skip_serializing_if = "is_false")]
    pub runs_certainly: bool,
    /// Whether its configured command names the script or program of the server.
    #[serde(default, skip_serializing_if = "is_false")]
    pub names_command: bool,
    /// Whether its name is that of a unit for this kind of server. Kept as a fact, since the name itself can be redacted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_named_after_server: bool,
    /// Whether the program is meant to finish (a oneshot unit): its supervisor does not restart it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_oneshot: bool,
    /// Whether it is enabled at boot; `null` if the supervisor has no such setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_enabled: Option<bool>,
    /// Why the supervisor was not queried, or gave no answer; `null` if it answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_queried: Option<GapDetail>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
