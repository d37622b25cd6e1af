//! The ancestry of a server, and the supervisors that claim it.

use super::{
    ClaimState, CommandLine, HostPath, LogSource, Note, OwnTerm, ProgramName, RawClaim, SupervisorKind,
    SupervisorTerm, Timestamp, UserName,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The role of one process between the server and pid 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The examined server.
    Server,
    /// A program that starts a server and waits for it, or replaces itself with it.
    Launcher,
    /// A program between supervisor and server that runs the server (log prefixer, privilege dropper).
    Wrapper,
    /// A shell.
    Shell,
    /// A shell or program that starts the server again each time it ends.
    RespawnLoop,
    /// A program that starts other programs and restarts them.
    Supervisor,
    /// A container runtime or its shim.
    ContainerRuntime,
    /// tmux, screen or a similar program.
    TerminalMultiplexer,
    /// A remote login.
    RemoteLogin,
    /// cron or a similar program.
    Scheduler,
    /// The first process of the system or container.
    Init,
    /// A demo scenario of the doctor.
    Demo,
    /// None of these, or a role that the reader does not know.
    #[serde(other)]
    Other,
}

impl Role {
    /// The role in words for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Launcher => "launcher",
            Self::Wrapper => "wrapper",
            Self::Shell => "shell",
            Self::RespawnLoop => "respawn loop",
            Self::Supervisor => "supervisor",
            Self::ContainerRuntime => "container runtime",
            Self::TerminalMultiplexer => "terminal multiplexer",
            Self::RemoteLogin => "remote login",
            Self::Scheduler => "scheduler",
            Self::Init => "init",
            Self::Demo => "demo",
            Self::Other => "other",
        }
    }
}

/// One process in the ancestry of the server, up to pid 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// Process id.
    pub pid: u32,
    /// Pid of its parent.
    pub ppid: u32,
    /// Start time, RFC 3339.
    pub start_time: Option<Timestamp>,
    /// Time since the start, in milliseconds.
    pub age_ms: Option<u64>,
    /// User.
    pub user: Option<UserName>,
    /// Role.
    pub role: Role,
    /// Name of the program, for example `supervisord`.
    pub name: Option<ProgramName>,
    /// Command line, secrets masked.
    pub command: CommandLine,
    /// Evidence for the role.
    pub evidence: Note,
}

/// The claim of a supervisor about one program, and whether that program is the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Supervisor {
    /// The word of its kind; `none` if no supervisor claims it.
    pub kind: SupervisorKind,
    /// Unit, label, program, service directory or container.
    pub name: Option<ProgramName>,
    /// The pid that the supervisor itself claims, in the doctor's own pid namespace.
    pub claimed_pid: Option<u32>,
    /// Whether that is this server or an ancestor of it; `null` is unknown.
    pub claims_this: Option<bool>,
    /// Evidence for the claim.
    pub evidence: Note,
    /// State of the program as the supervisor prints it, for example `active (running)`.
    pub state: Option<SupervisorTerm>,
    /// Automatic restarts that the supervisor counted.
    pub restarts: Option<u64>,
    /// That state as one of a few that all supervisors have.
    #[serde(flatten)]
    pub claim_state: ClaimState,
    /// Scope of the manager: `system`, `user` (the user that runs the doctor), `user 1000`, `gui/501`; `null`
    /// if the supervisor has no scopes.
    #[serde(default)]
    pub scope: Option<SupervisorTerm>,
    /// The supervising process, if there is one.
    #[serde(default)]
    pub pid: Option<u32>,
    /// Time when it entered this state, RFC 3339.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Its command as configured, secrets masked.
    #[serde(default)]
    pub command: Option<CommandLine>,
    /// The file or directory that configures it.
    #[serde(default)]
    pub configuration: Option<HostPath>,
    /// Its log: a path, or the command that prints it.
    #[serde(default)]
    pub log: Option<LogSource>,
    /// Its restart policy in the terms of the supervisor, for example `Type=simple Restart=always`.
    #[serde(default)]
    pub policy: Option<SupervisorTerm>,
    /// How its main process ended last, in the terms of the supervisor.
    #[serde(default)]
    pub result: Option<SupervisorTerm>,
    /// Run time of its main process before it ended, in milliseconds; `null` while it runs.
    #[serde(default)]
    pub ran_ms: Option<u64>,
    /// Delay between two starts, in milliseconds.
    #[serde(default)]
    pub restart_interval_ms: Option<u64>,
    /// Time since the claimed process started, in milliseconds.
    #[serde(default)]
    pub claimed_age_ms: Option<u64>,
    /// Whether stopping it ends every process in its control group.
    #[serde(default)]
    pub stops_group: Option<bool>,
    /// The configured port, if the configuration contains one.
    #[serde(default)]
    pub port: Option<u16>,
    /// The configured HERMES_HOME, if the configuration contains one.
    #[serde(default)]
    pub home: Option<HostPath>,
    /// User id of the supervising process, or of the user of its user manager; `null` if it is the user that
    /// runs the doctor, or the system, or unknown. Commands for the supervisor are run as that user.
    #[serde(default)]
    pub owner: Option<u32>,
    /// Whether the configured command is a launcher, not the server itself.
    #[serde(default)]
    pub is_launcher: bool,
}

impl Supervisor {
    /// No supervisor, with the evidence for it.
    pub fn none(evidence: impl Into<Note>) -> Self {
        Self { claims_this: Some(false), evidence: evidence.into(), ..Self::default() }
    }

    /// Kind and name in words for the user.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name}", self.kind),
            None => self.kind.to_string(),
        }
    }
}

/// The supervisor that should manage the server, and why it is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// Same values as [`Supervisor::kind`].
    pub kind: SupervisorKind,
    /// Unit, program, directory or command.
    pub name: ProgramName,
    /// Pid of the supervising process, if there is one.
    pub pid: Option<u32>,
    /// Why it is expected.
    pub why: Note,
    /// Whether the user gave it with `--expect`.
    #[serde(default)]
    pub named: bool,
}

/// Another server with the same port or home as the examined one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sibling {
    /// Process id.
    pub pid: u32,
    /// Kind of server.
    pub kind: super::ServerKind,
    /// Command line, secrets masked.
    pub command: CommandLine,
    /// Whether it listens on the same port.
    pub same_port: bool,
    /// Whether it has the same HERMES_HOME: the same directory, not only the same name.
    pub same_home: bool,
    /// Whether it requests any free port (`--port 0`), as the backend of the desktop application does.
    pub any_port: bool,
}

/// Actions of a supervisor while it was observed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relaunch {
    /// The supervisor that was observed; `null` in older reports, where it was the expected supervisor.
    #[serde(default)]
    pub of: Option<Note>,
    /// Duration of the observation, in milliseconds.
    pub observed_ms: u64,
    /// Pids that the expected supervisor started for the same server, in the order observed.
    pub pids: Vec<u32>,
    /// Increase of the supervisor's restart counter during the observation, if it has one.
    #[serde(default)]
    pub restarts: u64,
    /// States of the program as the supervisor prints them, one for each change, in the order observed.
    #[serde(default)]
    pub states: Vec<SupervisorTerm>,
    /// Number of times that the port started or stopped listening.
    #[serde(default)]
    pub port_changes: u64,
}

/// The ancestry of the server, and what follows from it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lineage {
    /// From the server (first) to pid 1, or to the last ancestor that could be read.
    pub hops: Vec<Hop>,
    /// The supervisor that claims the server.
    pub supervisor: Supervisor,
    /// The supervisor that should manage the server.
    pub expected: Option<Expected>,
    /// Whether it has left the session of its parent: it leads a session of its own, or init or a subreaper
    /// adopted it. This is healthy under launchd and systemd, and after a deliberate detached start.
    pub detached: bool,
    /// Evidence for `detached`.
    pub detached_because: Note,
    /// Session id; `null` without a process.
    pub session: Option<i32>,
    /// Process group id; `null` without a process.
    pub process_group: Option<i32>,
    /// Control group path.
    pub cgroup: Option<HostPath>,
    /// The systemd unit of that control group.
    pub unit: Option<ProgramName>,
    /// Environment variables that indicate a supervisor, without noise. They are inherited, so they prove
    /// nothing alone.
    pub markers: BTreeMap<OwnTerm, ProgramName>,
    /// Actions of the supervisor while it was observed.
    pub relaunch: Option<Relaunch>,
    /// All other supervisors and pid files for this server, besides `supervisor`.
    #[serde(default)]
    pub claims: Vec<Supervisor>,
    /// Claims as they were read. `supervisor`, `expected` and `claims` follow from them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub raw_claims: Vec<RawClaim>,
    /// Processes outside the ancestry: the process that the supervisor claims instead, and servers with the
    /// same port or home, each with its ancestors up to a process that is already listed.
    #[serde(default)]
    pub relatives: Vec<Hop>,
    /// Other servers with the same port or home.
    #[serde(default)]
    pub siblings: Vec<Sibling>,
}
