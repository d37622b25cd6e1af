//! Where a server comes from, and who claims it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What one process on the way to pid 1 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// None of these.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// Process id.
    pub pid: u32,
    /// Its parent's pid.
    pub ppid: u32,
    /// Start time, RFC 3339.
    pub start_time: Option<String>,
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

/// Who keeps the server running, as far as it could be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supervisor {
    /// `systemd`, `systemd-user`, `supervisord`, `runit`, `s6`, `daemontools`, `respawn-loop`, a container runtime …;
    /// `none` where nobody claims it.
    pub kind: String,
    /// Unit, program or directory.
    pub name: Option<String>,
    /// The pid that the supervisor itself claims.
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
}

/// Who should be running the server, and why that is expected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expected {
    /// Same words as [`Supervisor::kind`].
    pub kind: String,
    /// Unit, program, directory or command.
    pub name: String,
    /// Pid of the supervising process, where it is one.
    pub pid: Option<u32>,
    /// Why.
    pub why: String,
}

/// Attempts to start the same server again, seen while looking on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relaunch {
    /// How long the look took, in milliseconds.
    pub observed_ms: u64,
    /// Pids that were started for the same server by the expected supervisor, in the order seen.
    pub pids: Vec<u32>,
    /// By how much the supervisor's own counter of restarts rose meanwhile, where it has one.
    #[serde(default)]
    pub restarts: u64,
}

impl Relaunch {
    /// Whether attempts were seen to follow each other.
    pub fn is_repeated(&self) -> bool {
        self.pids.len() >= 2 || self.restarts >= 1
    }
}

/// The way up from the server, and what it proves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Session id.
    pub session: i32,
    /// Process group id.
    pub process_group: i32,
    /// Control group path.
    pub cgroup: Option<String>,
    /// The systemd unit of that control group.
    pub unit: Option<String>,
    /// Supervisor markers of the environment, noise left out. Inherited, so they prove nothing alone.
    pub markers: BTreeMap<String, String>,
    /// What was seen of an expected supervisor that does not claim this server.
    pub relaunch: Option<Relaunch>,
}
