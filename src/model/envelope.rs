//! The report: one envelope for all subcommands.

use super::{
    DatabaseFile, Descriptors, Exercise, Gap, Growth, Health, History, HostPath, Lineage, Listeners, LogFacts,
    Note, OwnTerm, PidFile, Process, ProgramName, Redaction, Resources, Stacks, Status, Timestamp, Trend, Version,
    WordedFinding,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name and version of the report format. Within a version, fields may be added; none is renamed or removed.
pub const SCHEMA: &str = "hermes-doctor/1";

/// The kinds of Hermes server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// Hermes WebUI, `server.py`, port 8787.
    Webui,
    /// The gateway of Hermes Agent; HTTP on port 8642 only if its API server is enabled.
    Gateway,
    /// `hermes dashboard`, port 9119.
    Dashboard,
    /// `hermes serve`, the backend of the desktop application or of a remote client.
    Serve,
    /// The MCP child process of the WebUI, on standard input and output.
    Mcp,
    /// Any other program.
    Other,
}

impl ServerKind {
    /// The kind as written in JSON and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Webui => "webui",
            Self::Gateway => "gateway",
            Self::Dashboard => "dashboard",
            Self::Serve => "serve",
            Self::Mcp => "mcp",
            Self::Other => "other",
        }
    }

    /// The name in headings.
    pub fn title(self) -> &'static str {
        match self {
            Self::Webui => "hermes-webui",
            Self::Gateway => "hermes-gateway",
            Self::Dashboard => "hermes-dashboard",
            Self::Serve => "hermes-serve",
            Self::Mcp => "hermes-mcp",
            Self::Other => "server",
        }
    }

    /// Default port, if the kind has one.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Self::Webui => Some(8787),
            Self::Gateway => Some(8642),
            Self::Dashboard | Self::Serve => Some(9119),
            Self::Mcp | Self::Other => None,
        }
    }

    /// Whether it is a Hermes server.
    pub fn is_hermes(self) -> bool {
        self != Self::Other
    }
}

/// The program that wrote a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `hermes-doctor`.
    pub name: OwnTerm,
    /// Its version.
    pub version: Version,
}

/// Facts about the host, without anything that identifies it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// Operating system: `linux`, `macos`.
    pub os: OwnTerm,
    /// Kernel release.
    pub kernel: Option<Version>,
    /// Processor architecture.
    pub arch: OwnTerm,
    /// Time since boot in milliseconds, with a resolution of one second.
    pub uptime_ms: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory available to programs without swapping, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_available_bytes: Option<u64>,
    /// Load average of one minute (getloadavg(3)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Whether the doctor ran as root.
    pub root: bool,
    /// Name of pid 1.
    pub init: Option<ProgramName>,
}

/// The parts of an examination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Open descriptors.
    Descriptors,
    /// The process ancestry up to pid 1.
    Lineage,
    /// HTTP.
    Health,
    /// The listening port.
    Port,
    /// SQLite databases.
    Databases,
    /// Python stacks.
    Stacks,
}

/// Reads the parts that this version knows from a report that may be newer.
fn known_parts<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<Part>, D::Error> {
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};
    let words = Vec::<String>::deserialize(deserializer)?;
    let part = |word: &String| -> Result<Part, Error> {
        let word: StrDeserializer<'_, Error> = word.as_str().into_deserializer();
        Part::deserialize(word)
    };
    Ok(words.iter().filter_map(|word| part(word).ok()).collect())
}

/// Expectations about the server, and where they come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// How the user or the configuration of the host named the server, for example `--port 8787`; empty for a
    /// server that was found by a scan.
    pub named_by: Vec<Note>,
    /// Why a Hermes server is expected on its port, for example `default port of webui`.
    pub port_belongs_because: Option<Note>,
    /// Whether any program may be there: `--kind other`, or a port where no Hermes server is expected.
    pub any_program: bool,
    /// The kind given with `--kind`.
    pub kind: Option<ServerKind>,
    /// The home given with `--home`.
    pub home: Option<HostPath>,
    /// Whether it is on another host: only its HTTP can be examined.
    pub remote: bool,
    /// The supervisor given with `--expect`; `none` means that no supervisor is expected.
    #[serde(default)]
    pub supervisor: Option<Note>,
}

/// One examined server: its facts and findings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// Kind of server.
    pub kind: ServerKind,
    /// Pid; `null` if there is no process.
    pub pid: Option<u32>,
    /// Port.
    pub port: Option<u16>,
    /// HERMES_HOME.
    pub home: Option<HostPath>,
    /// Status that follows from the findings.
    pub status: Status,
    /// Ids of the root cause findings (warnings and worse).
    pub root_causes: Vec<String>,
    /// Findings.
    pub findings: Vec<WordedFinding>,
    /// Ids of the findings that were checked and do not hold.
    pub passed: Vec<String>,
    /// Facts that could not be read.
    pub gaps: Vec<Gap>,
    /// The parts that were requested. A reader leaves out the parts that it does not know.
    #[serde(deserialize_with = "known_parts")]
    pub examined: Vec<Part>,
    /// Expectations about the server.
    pub expectation: Expectation,
    /// The process.
    pub process: Option<Process>,
    /// Its descriptors.
    pub descriptors: Option<Descriptors>,
    /// The process ancestry up to pid 1.
    pub lineage: Option<Lineage>,
    /// The HTTP examination.
    pub health: Option<Health>,
    /// Listeners of its port.
    pub listeners: Option<Listeners>,
    /// Pid files that name it.
    pub pid_files: Vec<PidFile>,
    /// Databases of its home, and other databases that it has open.
    #[serde(default)]
    pub databases: Vec<DatabaseFile>,
    /// Its Python stacks, if requested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stacks: Option<Stacks>,
    /// Its descriptors over time, if they were sampled more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
    /// What the trend shows for each series.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<Growth>,
    /// Descriptors left open by requests that were sent for this purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exercise: Option<Exercise>,
    /// Errors in its logs and in those of its supervisor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogFacts>,
    /// Its limits other than descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// The complete report of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Name and version of the report format.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// The program that made the verdict.
    pub tool: Tool,
    /// Subcommand that was run.
    pub command: OwnTerm,
    /// The host where it ran.
    pub host: HostFacts,
    /// Start of the examination, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// Duration in milliseconds.
    pub elapsed_ms: u64,
    /// The worst status of its servers and of the findings of the host.
    pub status: Status,
    /// One entry for each examined server.
    pub servers: Vec<Server>,
    /// Databases that were examined without a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<DatabaseFile>,
    /// Pid files of homes without an examined server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pid_files: Vec<PidFile>,
    /// Findings of the host as a whole.
    pub findings: Vec<WordedFinding>,
    /// Facts of the host that could not be read, and things that were searched for and not found.
    pub gaps: Vec<Gap>,
    /// The record that `history` has read; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// The results of `demo` without a name; absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demonstrations: Vec<Demonstration>,
    /// The saved report that was diagnosed again (`--from`); absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
    /// The entries of `explain`; absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanations: Vec<Explanation>,
    /// What was redacted before the report was written (`report`, and the record of `watch`); absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
}

/// Contents of a saved report before this program diagnosed its facts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// The program that examined the host.
    pub tool: Tool,
    /// Subcommand of that run.
    pub command: OwnTerm,
    /// The status in the saved report.
    pub status: Status,
    /// The root causes in the saved report, of all servers.
    pub root_causes: Vec<OwnTerm>,
    /// Checks of this program that the other program did not make.
    pub newer_rules: Vec<OwnTerm>,
    /// Whether it was written by a newer program. Fields and values that this program does not know are left
    /// out.
    pub is_newer: bool,
}

/// One scenario of `demo`, and whether the verdict was the expected one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Demonstration {
    /// Name of the scenario.
    pub name: String,
    /// What was set up.
    pub staged: String,
    /// The finding that is expected; `null` for a healthy server.
    pub expected: Option<String>,
    /// The expected exit status.
    pub expected_exit: u8,
    /// Root causes that were found; for a scenario without a root cause, all findings.
    pub found: Vec<String>,
    /// The actual exit status.
    pub exit: u8,
    /// Whether the findings and the exit status are as expected.
    pub as_expected: bool,
}

/// The entry of the catalogue for one finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// Stable id.
    pub id: String,
    /// A short heading.
    pub heading: String,
    /// Default severity, and what changes it.
    pub severity: String,
    /// The facts that decide it.
    pub decided_by: String,
    /// A healthy host with similar facts.
    pub look_alike: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub remedy: String,
}
