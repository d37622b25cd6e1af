//! Where a server comes from, and who claims it.

use super::{HostPath, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one process on the way to pid 1 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The examined server.
    Server,
    /// A program that starts a server and waits, or replaces itself by it.
    Launcher,
    /// A program between supervisor and server that passes it through (log prefixer, privilege dropper).
    Wrapper,
    /// A command interpreter.
    Shell,
    /// A shell or program that starts the server again whenever it ends.
    RespawnLoop,
    /// A program whose job is to keep others running.
    Supervisor,
    /// A container's runtime or shim.
    ContainerRuntime,
    /// tmux, screen and the like.
    TerminalMultiplexer,
    /// A remote login.
    RemoteLogin,
    /// cron and the like.
    Scheduler,
    /// The first process of the system or container.
    Init,
    /// The doctor's own demonstration.
    Demo,
    /// None of these, or none that the reader knows.
    #[serde(other)]
    Other,
}

impl Role {
    /// The role as a person reads it.
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

/// One process on the way from the server up to pid 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hop {
    /// Process id.
    pub pid: u32,
    /// Its parent's pid.
    pub ppid: u32,
    /// Start time, RFC 3339.
    pub start_time: Option<Timestamp>,
    /// Time since the start, in milliseconds.
    pub age_ms: Option<u64>,
    /// User.
    pub user: Option<String>,
    /// What it is.
    pub role: Role,
    /// Name of that thing, for example `supervisord`.
    pub name: Option<String>,
    /// Command line, secrets masked.
    pub command: String,
    /// Why it is held for that.
    pub evidence: String,
}

/// What a supervisor says of one program, and whether that program is the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Supervisor {
    /// `systemd`, `systemd-user`, `launchd`, `supervisord`, `runit`, `s6`, `daemontools`, `pm2`, `respawn-loop`,
    /// `pid-file`, a container runtime …; `none` where nobody claims it.
    pub kind: String,
    /// Unit, label, program, service directory or container.
    pub name: Option<String>,
    /// The pid that the supervisor itself claims, in the doctor's own pid namespace.
    pub claimed_pid: Option<u32>,
    /// Whether that is this server, or a process through which this server is its child; `null` is unknown.
    pub claims_this: Option<bool>,
    /// What decided it.
    pub evidence: String,
    /// The supervisor's own state of it, for example `active (running)`.
    pub state: Option<String>,
    /// Automatic restarts that the supervisor counted.
    pub restarts: Option<u64>,
    /// It is being started again just now, in the supervisor's own words (auto-restart, BACKOFF, down and wanted up).
    #[serde(default)]
    pub is_restarting: bool,
    /// The supervisor has given up starting it.
    #[serde(default)]
    pub gave_up: bool,
    /// It is down and nobody wants it up: stopped on purpose, disabled, or never started.
    #[serde(default)]
    pub is_idle: bool,
    /// Its main process ended by itself with success, and the supervisor leaves it at that.
    #[serde(default)]
    pub finished: bool,
    /// Whose manager it is: `system`, `user` (the doctor's own user), `user 1000`, `gui/501`; `null` where a supervisor
    /// has no scopes.
    #[serde(default)]
    pub scope: Option<String>,
    /// The supervising process, where it is one.
    #[serde(default)]
    pub pid: Option<u32>,
    /// When it entered this state, RFC 3339.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// Its command as configured, secrets masked.
    #[serde(default)]
    pub command: Option<String>,
    /// The file or directory that configures it.
    #[serde(default)]
    pub configuration: Option<String>,
    /// Where its output goes: a path, or the command that shows it.
    #[serde(default)]
    pub log: Option<String>,
    /// How it is to be run, in the supervisor's own words, for example `Type=simple Restart=always`.
    #[serde(default)]
    pub policy: Option<String>,
    /// How its main process ended last, in the supervisor's own words.
    #[serde(default)]
    pub result: Option<String>,
    /// How long its main process ran before it ended, in milliseconds; `null` while it runs.
    #[serde(default)]
    pub ran_ms: Option<u64>,
    /// Time that the supervisor waits between two starts, in milliseconds.
    #[serde(default)]
    pub restart_interval_ms: Option<u64>,
    /// Time since the claimed process started, in milliseconds.
    #[serde(default)]
    pub claimed_age_ms: Option<u64>,
    /// Whether stopping it ends every process of its control group.
    #[serde(default)]
    pub stops_group: Option<bool>,
    /// The port that it is configured for, where the configuration says one.
    #[serde(default)]
    pub port: Option<u16>,
    /// The HERMES_HOME that it is configured for, where the configuration says one.
    #[serde(default)]
    pub home: Option<HostPath>,
    /// User id of the supervising process, or of the user whose manager it is; `null` where that is the doctor's own, the system's, or
    /// not known. Commands for it are run as that user.
    #[serde(default)]
    pub owner: Option<u32>,
    /// Whether the configured command is a launcher, not the server itself.
    #[serde(default)]
    pub is_launcher: bool,
}

impl Supervisor {
    /// Nobody, and why that is so.
    pub fn none(evidence: impl Into<String>) -> Self {
        Self { kind: "none".into(), claims_this: Some(false), evidence: evidence.into(), ..Self::default() }
    }

    /// Kind and name as a person says them.
    pub fn title(&self) -> String {
        match &self.name {
            Some(name) => format!("{} {name}", self.kind),
            None => self.kind.clone(),
        }
    }
}

/// Who should be running the server, and why that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Expected {
    /// Same words as [`Supervisor::kind`].
    pub kind: String,
    /// Unit, program, directory or command.
    pub name: String,
    /// Pid of the supervising process, where it is one.
    pub pid: Option<u32>,
    /// Why.
    pub why: String,
    /// Whether a person said it with `--expect`.
    #[serde(default)]
    pub named: bool,
}

/// Another server that has something in common with the examined one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Sibling {
    /// Process id.
    pub pid: u32,
    /// Kind of server.
    pub kind: super::ServerKind,
    /// Command line, secrets masked.
    pub command: String,
    /// It listens on the same port.
    pub same_port: bool,
    /// It has the same HERMES_HOME: the same directory, not only the same name.
    pub same_home: bool,
    /// It asks for any free port (`--port 0`), as a desktop's backend does.
    pub any_port: bool,
}

/// What a supervisor did while it was looked on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Relaunch {
    /// Who was looked on; `null` in older reports, where it was the expected supervisor.
    #[serde(default)]
    pub of: Option<String>,
    /// How long the look took, in milliseconds.
    pub observed_ms: u64,
    /// Pids that were started for the same server by the expected supervisor, in the order seen.
    pub pids: Vec<u32>,
    /// By how much the supervisor's own counter of restarts rose meanwhile, where it has one.
    #[serde(default)]
    pub restarts: u64,
    /// The supervisor's states of the program, in the order seen, each at its change.
    #[serde(default)]
    pub states: Vec<String>,
    /// How often the port began or ceased to be listened on.
    #[serde(default)]
    pub port_changes: u64,
}

/// The way up from the server, and what it proves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Lineage {
    /// From the server (first) to pid 1 or to where it could not be followed.
    pub hops: Vec<Hop>,
    /// Who claims the server.
    pub supervisor: Supervisor,
    /// Who should.
    pub expected: Option<Expected>,
    /// Whether it has left its parent's session: it leads a session of its own, or was adopted by init or a
    /// subreaper. Healthy under launchd, systemd and after a deliberate detached start.
    pub detached: bool,
    /// Why `detached` says so.
    pub detached_because: String,
    /// Session id; `null` without a process.
    pub session: Option<i32>,
    /// Process group id; `null` without a process.
    pub process_group: Option<i32>,
    /// Control group path.
    pub cgroup: Option<String>,
    /// The systemd unit of that control group.
    pub unit: Option<String>,
    /// Supervisor markers of the environment, noise left out. Inherited, so they prove nothing alone.
    pub markers: BTreeMap<String, String>,
    /// What was seen of the supervisor while it was looked on.
    pub relaunch: Option<Relaunch>,
    /// Every supervisor, and every pid file, that is for this server besides `supervisor`.
    #[serde(default)]
    pub claims: Vec<Supervisor>,
    /// Processes beside the way up: what the supervisor claims instead, and servers that share port or home, each
    /// with its own way up to a process that is known already.
    #[serde(default)]
    pub relatives: Vec<Hop>,
    /// Other servers on the same port or home.
    #[serde(default)]
    pub siblings: Vec<Sibling>,
}
