//! The report: one envelope for every subcommand.

use super::{
    DatabaseFile, Descriptors, Exercise, Finding, Gap, Growth, Health, History, Lineage, Listeners, LogFacts,
    PidFile, Process, Redaction, Resources, Stacks, Status, Timestamp, Trend,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Name and version of the envelope's format. Fields may be added within it; none is renamed or removed.
pub const SCHEMA: &str = "hermes-doctor/1";

/// The kinds of server that Hermes hosts run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// Hermes WebUI, `server.py`, port 8787.
    Webui,
    /// Hermes Agent's gateway; HTTP on 8642 only when its API server is enabled.
    Gateway,
    /// `hermes dashboard`, port 9119.
    Dashboard,
    /// `hermes serve`, the desktop's or a remote backend.
    Serve,
    /// The WebUI's MCP child, on standard input and output.
    Mcp,
    /// Any other program.
    Other,
}

impl ServerKind {
    /// The kind as it stands in the JSON and on the command line.
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

    /// Default port, where the kind has one.
    pub fn default_port(self) -> Option<u16> {
        match self {
            Self::Webui => Some(8787),
            Self::Gateway => Some(8642),
            Self::Dashboard | Self::Serve => Some(9119),
            Self::Mcp | Self::Other => None,
        }
    }

    /// Whether it is one of Hermes' own.
    pub fn is_hermes(self) -> bool {
        self != Self::Other
    }
}

/// The program that wrote a report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Tool {
    /// `hermes-doctor`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// The machine, without anything that names it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HostFacts {
    /// Operating system: `linux`, `macos`.
    pub os: String,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Processor architecture.
    pub arch: String,
    /// Time since boot in milliseconds, with the precision of a second.
    pub uptime_ms: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Memory that programs can have without swapping, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_available_bytes: Option<u64>,
    /// Load average of one minute (getloadavg(3)).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f64>,
    /// Whether the doctor ran as root.
    pub root: bool,
    /// Name of pid 1.
    pub init: Option<String>,
}

/// The parts of an examination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Open descriptors.
    Descriptors,
    /// The way up to pid 1.
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

/// The parts that this program knows, in a report of one that may know more.
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

/// What was expected of the server, and by whom it was named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// How the person or the host's configuration named it, for example `--port 8787`; empty for a server
    /// that was found by looking around.
    pub named_by: Vec<String>,
    /// Why a Hermes server belongs on its port, for example `default port of webui`.
    pub port_belongs_because: Option<String>,
    /// `--kind other`, or a port that nobody expects a Hermes server on: any program may be there.
    pub any_program: bool,
    /// The kind that was said with `--kind`.
    pub kind: Option<ServerKind>,
    /// The home that was said with `--home`.
    pub home: Option<String>,
    /// It is on another host: only its HTTP can be examined.
    pub remote: bool,
    /// Who should be running it, as it was said with `--expect`; `none` for nobody.
    #[serde(default)]
    pub supervisor: Option<String>,
}

/// One examined server: its facts, and what follows from them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Server {
    /// What it is.
    pub kind: ServerKind,
    /// Its pid; `null` if it is not there.
    pub pid: Option<u32>,
    /// Its port.
    pub port: Option<u16>,
    /// Its HERMES_HOME.
    pub home: Option<String>,
    /// What follows from the findings.
    pub status: Status,
    /// Ids of the findings at the root of the trouble (warnings and worse).
    pub root_causes: Vec<String>,
    /// What is so.
    pub findings: Vec<Finding>,
    /// Ids of the findings that were examined and do not hold.
    pub passed: Vec<String>,
    /// What could not be read.
    pub gaps: Vec<Gap>,
    /// What was asked for; a reader leaves out the parts that it does not know.
    #[serde(deserialize_with = "known_parts")]
    pub examined: Vec<Part>,
    /// What was expected of it.
    pub expectation: Expectation,
    /// The process.
    pub process: Option<Process>,
    /// Its descriptors.
    pub descriptors: Option<Descriptors>,
    /// Its way up to pid 1.
    pub lineage: Option<Lineage>,
    /// Its HTTP examination.
    pub health: Option<Health>,
    /// Its port.
    pub listeners: Option<Listeners>,
    /// Pid files that claim to name it.
    pub pid_files: Vec<PidFile>,
    /// Databases of its home, and others that it has open.
    #[serde(default)]
    pub databases: Vec<DatabaseFile>,
    /// Its Python stacks, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stacks: Option<Stacks>,
    /// Its descriptors over time, where they were looked at more than once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trend: Option<Trend>,
    /// What the trend says of everything that is counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub growth: Vec<Growth>,
    /// What requests left behind that were sent on purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exercise: Option<Exercise>,
    /// What its logs say, and its supervisor's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<LogFacts>,
    /// What bounds it besides its descriptors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
}

/// The whole answer of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Envelope {
    /// Name and version of the format.
    #[schemars(extend("const" = SCHEMA))]
    pub schema: String,
    /// The program whose verdict it has.
    pub tool: Tool,
    /// Subcommand that was run.
    pub command: String,
    /// Where it ran.
    pub host: HostFacts,
    /// When the examination began, RFC 3339.
    #[schemars(extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// How long it took, in milliseconds.
    pub elapsed_ms: u64,
    /// The worst of its servers and of the findings of the host.
    pub status: Status,
    /// One for each examined server.
    pub servers: Vec<Server>,
    /// Databases that were examined without a server.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub databases: Vec<DatabaseFile>,
    /// Findings of the host as a whole.
    pub findings: Vec<Finding>,
    /// What could not be read of the host, and what was looked for and not found.
    pub gaps: Vec<Gap>,
    /// What `history` has read; absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history: Option<History>,
    /// What `demo` without a name found; absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub demonstrations: Vec<Demonstration>,
    /// The saved report that was judged again (`--from`); absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replayed: Option<Replayed>,
    /// What `explain` explains; absent otherwise.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub explanations: Vec<Explanation>,
    /// What was hidden before the report was written (`report`, and what `watch` keeps); absent otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
}

/// What a saved report said before this program judged its facts again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Replayed {
    /// The program that looked at the host.
    pub tool: Tool,
    /// Subcommand that it was run with.
    pub command: String,
    /// The status that it had.
    pub status: Status,
    /// Root causes that it named, of all servers.
    pub root_causes: Vec<String>,
    /// Checks that this program makes and that one did not.
    pub newer_rules: Vec<String>,
    /// Whether it was written by a newer program: what this one does not know is left out.
    pub is_newer: bool,
}

/// One scenario of `demo`, and whether the verdict was the expected one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Demonstration {
    /// Name of the scenario.
    pub name: String,
    /// What was staged.
    pub staged: String,
    /// The finding that must be found; `null` for a healthy server.
    pub expected: Option<String>,
    /// The exit status that must follow.
    pub expected_exit: u8,
    /// Root causes that were found; for a scenario without one the findings.
    pub found: Vec<String>,
    /// The exit status that followed.
    pub exit: u8,
    /// Whether both agree.
    pub as_expected: bool,
}

/// The catalogue's entry of one finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// Stable id.
    pub id: String,
    /// A few words.
    pub heading: String,
    /// Usual severity, and what changes it.
    pub severity: String,
    /// What decides it.
    pub decided_by: String,
    /// The healthy host that looks alike.
    pub look_alike: String,
    /// Why it matters.
    pub why: String,
    /// What to do.
    pub remedy: String,
}
