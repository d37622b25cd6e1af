//! The definition of the command line: every command and option, and the help.

use crate::examine::Repetition;
use crate::examine::sampling::{ExercisePlan, SamplingPlan};
use crate::model::ServerKind;
use crate::parse::expect::Expect;
use crate::report::redact::Level;
use clap::builder::styling::{AnsiColor, Styles};
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;
use url::Url;

const AFTER_HELP: &str = "\
Examples:
  hermes-doctor                               every Hermes server of this host
  hermes-doctor --port 8787                   the server on that port
  hermes-doctor fds --pid 4711 --all          what its descriptors point to
  hermes-doctor report -o hermes-report.json  for a bug report, names hidden
  hermes-doctor --expect systemd:hermes-webui.service
  hermes-doctor explain state-db-handle-leak
  hermes-doctor demo                          see it work on its own servers

Exit status:
  0  examined, and healthy (information changes nothing)
  1  a warning holds
  2  something critical holds, or a server that was named is not there
  3  could not tell: bad arguments, nothing to examine, no permission for what
     decides, an answer that could not be written

It changes nothing: no signal is sent, no file is written that was not asked for, no database is opened. Fixes are printed, never run.";

/// What the parser's own messages are drawn in: colours that are read on light and on dark grounds, as in
/// `render::Style`; the rest is bold, underlined or plain.
const STYLES: Styles = Styles::styled()
    .error(AnsiColor::Red.on_default().bold())
    .valid(AnsiColor::Green.on_default().bold())
    .invalid(AnsiColor::Magenta.on_default().bold());

/// Names the root cause of a wedged Hermes host, and changes nothing on it.
#[derive(Debug, Parser)]
#[command(name = "hermes-doctor", version, styles = STYLES, after_help = AFTER_HELP, propagate_version = true, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; without one, the full check.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Which server.
    #[command(flatten)]
    pub selection: SelectionArguments,
    /// How to answer.
    #[command(flatten)]
    pub output: OutputArguments,
    /// How much is looked at.
    #[command(flatten)]
    pub examination: ExaminationArguments,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// The full examination and the verdict (the same as no subcommand)
    #[command(
        after_help = "Examples:\n  hermes-doctor check\n  hermes-doctor check --port 8787 --home ~/.hermes --json\n  hermes-doctor check --format nagios\n  hermes-doctor check --format openmetrics -o hermes-doctor.prom"
    )]
    Check,
    /// Open descriptors by kind and target, SQLite files as families, and the distance to the limit
    #[command(
        after_help = "Examples:\n  hermes-doctor fds --pid 4711\n  hermes-doctor fds --port 8787 --all --json\n  hermes-doctor fds --port 8787 --samples 30 --every 10s\n  hermes-doctor fds --port 8787 --watch\n  hermes-doctor fds --port 8787 --compare hermes-check.json\n  hermes-doctor fds --port 8787 --exercise /health /api/sessions --requests 100"
    )]
    Fds(FdsArguments),
    /// The processes above the server, what each is, and who claims it
    #[command(
        after_help = "Examples:\n  hermes-doctor lineage --port 8787\n  hermes-doctor lineage --pid 4711 --json\n  hermes-doctor lineage --expect systemd-user:hermes-webui.service\n  hermes-doctor lineage --port 8787 --expect none --observe 10s"
    )]
    Lineage,
    /// HTTP phase by phase: the health path, and cheap routes that show whether more than that answers
    #[command(
        after_help = "Examples:\n  hermes-doctor health --url http://127.0.0.1:8787\n  hermes-doctor health --port 8787 --deep --timeout 5s\n  hermes-doctor health --port 8787 --route /api/sessions --route /api/projects\n  hermes-doctor health --port 8787 --repeat 100 --every 200ms"
    )]
    Health(HealthArguments),
    /// Everyone who listens on a port, what waits there, and whether the owner is the server
    #[command(after_help = "Examples:\n  hermes-doctor port 8787\n  hermes-doctor port --pid 4711 --all-holders")]
    Port(PortArguments),
    /// Everything that check knows, names hidden, as an attachment for a bug report
    #[command(
        after_help = "Examples:\n  hermes-doctor report -o hermes-report.json\n  hermes-doctor report --pid 4711 --markdown > comment.md      (for an issue)\n  hermes-doctor report --port 8787 --html -o report.html --review\n  hermes-doctor report --from hermes-report.json --html -o report.html\n\nLevels of --redact:\n  default   people, hosts, addresses, secrets, and every name that not every\n            Hermes host has\n  paranoid  directories and units of Hermes, versions of the server, and\n            absolute times, too\n  none      secrets in command lines and URLs only"
    )]
    Report(ReportArguments),
    /// Looks again and again and keeps a record: each change, and one full report at the first critical finding
    #[command(
        after_help = "Examples:\n  hermes-doctor watch --every 30s --record /var/lib/hermes-doctor/flight.jsonl\n  hermes-doctor watch --port 8787 --record flight.jsonl\n\ndocs/watch.md has units for systemd and launchd."
    )]
    Watch(WatchArguments),
    /// What a record of `watch` tells: changes, rates, and a plot
    #[command(
        after_help = "Examples:\n  hermes-doctor history flight.jsonl\n  hermes-doctor history flight.jsonl --svg flight.svg"
    )]
    History(HistoryArguments),
    /// The SQLite databases as bytes: log, checkpoint, locks and holders; never opened through SQLite
    #[command(
        after_help = "Examples:\n  hermes-doctor db\n  hermes-doctor db --home ~/.hermes\n  hermes-doctor db --file ~/.hermes/state.db --json"
    )]
    Db(DbArguments),
    /// Python stacks of all threads, and who holds the lock that they wait for; the server is not paused
    #[command(
        after_help = "Examples:\n  hermes-doctor stacks --pid 4711\n  hermes-doctor stacks --port 8787 --json\n  hermes-doctor check --stacks\n\nIt reads the memory of the server, so it takes the server's own user (with kernel.yama.ptrace_scope 0), root, or CAP_SYS_PTRACE."
    )]
    Stacks,
    /// What a finding means, what decides it, and the healthy host that looks alike
    #[command(
        after_help = "Examples:\n  hermes-doctor explain descriptor-ceiling\n  hermes-doctor explain            (all of them)"
    )]
    Explain {
        /// Id of the finding; without one, all
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// The JSON Schema of what `--json` prints
    #[command(
        after_help = "Examples:\n  hermes-doctor schema > hermes-doctor-1.json\n  check-jsonschema --schemafile hermes-doctor-1.json hermes-check.json\n\ndocs/json.md has the rules by which it may change."
    )]
    Schema,
    /// Serves an agent: the examinations as tools of the Model Context Protocol, on standard input and output
    #[cfg(feature = "mcp")]
    #[command(
        after_help = "Examples:\n  hermes-doctor mcp --redact paranoid\n  claude mcp add hermes-doctor -- hermes-doctor mcp\n\nTools: check, fds, lineage, health, port, db, stacks, explain. They change nothing. An agent starts it itself; it ends with its input (status 0). docs/agents.md has the configuration of agents.\n\nThe levels of --redact are those of `report`. What a tool answers goes to the model and its provider, so names are hidden."
    )]
    Mcp(McpArguments),
    /// The completions for a shell, to standard output
    #[command(
        after_help = "Examples:\n  hermes-doctor completions fish > ~/.config/fish/completions/hermes-doctor.fish\n  hermes-doctor completions zsh > ~/.zfunc/_hermes-doctor      (in fpath)\n  eval \"$(hermes-doctor completions bash)\"      (a line for ~/.bashrc)"
    )]
    Completions {
        /// Which shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// The manual page of a command, to standard output, or all pages into a directory
    #[command(
        after_help = "Examples:\n  hermes-doctor man fds | man -l -           (mandoc -a on macOS)\n  hermes-doctor man --directory ~/.local/share/man/man1"
    )]
    Man(ManArguments),
    /// Starts a small server of its own, examines it as any other server, and cleans up
    #[command(
        after_help = "Examples:\n  hermes-doctor demo           each scenario in turn\n  hermes-doctor demo leak      one of them, with the whole verdict\n  hermes-doctor demo leak --json"
    )]
    Demo {
        /// Which scenario; without one, each in turn
        #[arg(value_enum, value_name = "NAME")]
        name: Option<crate::demo::Name>,
    },
    /// Plays the server of a `demo` scenario
    #[command(name = crate::parse::command::DEMO_SERVER, hide = true)]
    DemoServer {
        /// The part to play
        #[arg(value_enum)]
        part: crate::demo::ServerPart,
    },
}

/// Options of `fds`.
#[derive(Clone, Debug, Args)]
pub struct FdsArguments {
    /// Show this many targets
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = |text: &str| number::<usize>(text, 0..=u64::MAX))]
    pub top: usize,
    /// Show all targets
    #[arg(long, conflicts_with = "top")]
    pub all: bool,
    /// Look again and again until Ctrl-C, every 2 s or as said
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "2s", value_parser = duration, conflicts_with_all = ["samples", "every"], help_heading = "Over time")]
    pub watch: Option<Duration>,
    /// Look this many times, then judge what grows
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u64>(text, 2..=100_000), help_heading = "Over time")]
    pub samples: Option<u64>,
    /// Time between two samples (2s)
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "samples", help_heading = "Over time")]
    pub every: Option<Duration>,
    /// Compare with a saved report (`check --json` or `fds --json`); each counts as one sample. Can be repeated
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["samples", "watch"], help_heading = "Over time")]
    pub compare: Vec<PathBuf>,
    /// Send requests for these paths to the server's own loopback address, and show what each leaves open. This puts
    /// load on the server
    #[arg(long, value_name = "PATH", num_args = 1.., value_parser = request_path, conflicts_with_all = ["samples", "watch", "compare"], help_heading = "With requests")]
    pub exercise: Vec<String>,
    /// Requests for each path
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = |text: &str| number::<u64>(text, 1..=10_000), requires = "exercise", help_heading = "With requests")]
    pub requests: u64,
    /// Requests between two looks
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = |text: &str| number::<u64>(text, 1..=10_000), requires = "exercise", help_heading = "With requests")]
    pub batch: u64,
    /// Send them to an address that is no loopback one, too
    #[arg(long, requires = "exercise", help_heading = "With requests")]
    pub yes_remote: bool,
}

impl FdsArguments {
    /// How often is looked, when more than once.
    pub fn sampling(&self) -> Option<SamplingPlan> {
        const DEFAULT_INTERVAL: Duration = Duration::from_secs(2);
        match (self.watch, self.samples) {
            (Some(every), _) => Some(SamplingPlan { samples: None, every }),
            (None, Some(samples)) => {
                Some(SamplingPlan { samples: Some(samples), every: self.every.unwrap_or(DEFAULT_INTERVAL) })
            }
            (None, None) => None,
        }
    }

    /// What is sent, when something is.
    pub fn exercise(&self, timeout: Duration) -> Option<ExercisePlan> {
        (!self.exercise.is_empty()).then(|| ExercisePlan {
            paths: self.exercise.clone(),
            requests: self.requests,
            batch: self.batch,
            yes_remote: self.yes_remote,
            timeout,
        })
    }
}

/// Options of `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportArguments {
    /// As a comment on an issue (under 60,000 characters), the JSON in it where it fits; without, JSON
    #[arg(long, conflicts_with = "html")]
    pub markdown: bool,
    /// As one page that stands alone
    #[arg(long)]
    pub html: bool,
    /// How much is hidden
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = RedactArgument::Default)]
    pub redact: RedactArgument,
    /// Show what leaves and what was hidden, and ask, before it is written
    #[arg(long)]
    pub review: bool,
    /// Ask nothing
    #[arg(long)]
    pub yes: bool,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
}

/// Options of `mcp`.
#[cfg(feature = "mcp")]
#[derive(Clone, Copy, Debug, Args)]
pub struct McpArguments {
    /// How much is hidden in what the tools answer
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = RedactArgument::Default)]
    pub redact: RedactArgument,
}

/// `--redact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RedactArgument {
    /// Directories and units of Hermes, versions of the server, and absolute times, too
    Paranoid,
    /// People, hosts, addresses, secrets, and every name that not every Hermes host has
    Default,
    /// Secrets in command lines and URLs only
    None,
}

impl From<RedactArgument> for Level {
    fn from(argument: RedactArgument) -> Self {
        match argument {
            RedactArgument::Paranoid => Self::Paranoid,
            RedactArgument::Default => Self::Default,
            RedactArgument::None => Self::None,
        }
    }
}

/// Options of `watch`.
#[derive(Clone, Debug, Args)]
pub struct WatchArguments {
    /// Time between two looks
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub every: Duration,
    /// The record, one JSON object a line; FILE.1 is the one before it
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
    /// End after this many looks
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u64>(text, 1..=u64::MAX))]
    pub samples: Option<u64>,
    /// Largest size of the record in MiB; at 30 s, 8 MiB are about a week
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = |text: &str| number::<u64>(text, 1..=1024))]
    pub largest: u64,
}

/// Options of `history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArguments {
    /// A record of `watch`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Draw descriptors, database handles, the accept queue and the health request over time
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long, requires = "svg")]
    pub force: bool,
}

/// Options of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArguments {
    /// Whose page; without one, that of the program
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    pub command: Option<String>,
    /// Write all pages into this directory, which is made where it is not there
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Write over files that are there
    #[arg(long, requires = "directory", conflicts_with = "command")]
    pub force: bool,
}

/// What `port` asks for.
#[derive(Clone, Debug, Args)]
pub struct PortArguments {
    /// The port (the same as --port)
    #[arg(value_name = "PORT", value_parser = |text: &str| number::<u16>(text, 1..=65_535))]
    pub number: Option<u16>,
}

/// What `db` asks for.
#[derive(Clone, Debug, Args)]
pub struct DbArguments {
    /// This database, whosever it is
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Options of `health`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct HealthArguments {
    /// Ask this many times, one request after the other, each on a new connection
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u64>(text, 2..=10_000), help_heading = "Many requests")]
    pub repeat: Option<u64>,
    /// Time from the begin of one request to the begin of the next (1s)
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "repeat", help_heading = "Many requests")]
    pub every: Option<Duration>,
}

impl HealthArguments {
    /// How often is asked, when more than once.
    pub fn repetition(&self) -> Option<Repetition> {
        let requests = self.repeat?;
        Some(Repetition { requests, every: self.every.unwrap_or(Duration::from_secs(1)) })
    }
}

/// A path of a request, as it goes on the wire.
fn request_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        Err("a path begins with /".to_owned())
    } else if text.len() > 2048 {
        Err(format!("a path has at most 2048 bytes, this one {}", text.len()))
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("a path has no spaces, control characters or letters beyond ASCII; write them as %20 and the like"
            .to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// Which server is examined. Options combine; without any, all Hermes servers of the host are found.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Which server")]
pub struct SelectionArguments {
    /// The process
    #[arg(long, global = true, value_name = "PID", value_parser = |text: &str| number::<u32>(text, 1..=4_294_967_295))]
    pub pid: Option<u32>,
    /// The server that listens on this port
    #[arg(long, global = true, value_name = "PORT", value_parser = |text: &str| number::<u16>(text, 1..=65_535))]
    pub port: Option<u16>,
    /// The server behind this URL; on another host only its HTTP is examined
    #[arg(long, global = true, value_name = "URL", value_parser = url)]
    pub url: Option<Url>,
    /// The servers of this HERMES_HOME
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub home: Option<PathBuf>,
    /// What the server should be
    #[arg(long, global = true, value_enum, value_name = "KIND")]
    pub kind: Option<KindArgument>,
    /// Who should be running it: systemd:UNIT, systemd-user:UNIT, launchd:LABEL, supervisord:PROGRAM, runit:DIR,
    /// s6:DIR, daemontools:DIR, pm2:NAME, pid:N or none; without, it is inferred from this host's configuration
    #[arg(long, global = true, value_name = "WHO", value_parser = expectation)]
    pub expect: Option<Expect>,
    /// Examine a saved report instead of this host: JSON, packed with gzip, or a comment with its JSON block; - reads
    /// standard input. Twice: what has grown from the first to the second
    #[arg(long, global = true, value_name = "REPORT")]
    pub from: Vec<PathBuf>,
}

/// `--kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindArgument {
    /// Hermes WebUI (port 8787)
    Webui,
    /// Hermes Agent's gateway (8642 with its API server)
    Gateway,
    /// `hermes dashboard` (9119)
    Dashboard,
    /// `hermes serve`
    Serve,
    /// Any other program
    Other,
}

impl From<KindArgument> for ServerKind {
    fn from(kind: KindArgument) -> Self {
        match kind {
            KindArgument::Webui => Self::Webui,
            KindArgument::Gateway => Self::Gateway,
            KindArgument::Dashboard => Self::Dashboard,
            KindArgument::Serve => Self::Serve,
            KindArgument::Other => Self::Other,
        }
    }
}

/// How much is looked at.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Examination")]
pub struct ExaminationArguments {
    /// Ask a WebUI for its own deep check (it opens state.db inside the server)
    #[arg(long, global = true)]
    pub deep: bool,
    /// Read the Python stacks of the server too, from its memory, without pausing it (takes the permission to attach)
    #[arg(long, global = true)]
    pub stacks: bool,
    /// Ask every process of the host for the sockets of the port, not only the likely ones
    #[arg(long, global = true)]
    pub all_holders: bool,
    /// Ask for this path too, with a deadline three times as long (can be repeated); without, a cheap one of that kind of
    /// server
    #[arg(long = "route", global = true, value_name = "PATH", value_parser = request_path)]
    pub routes: Vec<String>,
    /// Look on for this long at what the supervisor does: restarts, pids, states, the port (without, only where the
    /// supervisor and the server do not agree)
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub observe: Option<Duration>,
    /// Longest wait for each phase of an HTTP request (500ms, 2s, 5m)
    #[arg(long, global = true, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
    /// Longest time for everything, 10s (60s for all demonstrations); what is not seen by then is said to be not seen
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub budget: Option<Duration>,
}

/// How the answer is given.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// For people (text, as without this option), for programs, or for a monitoring system
    #[arg(long, global = true, value_enum)]
    pub format: Option<Format>,
    /// The same as --format json
    #[arg(long, global = true)]
    pub json: bool,
    /// Write it to this file, whole or not at all: `report` one that only you can read, --format openmetrics one for all in
    /// the place of the last; - and no -o are standard output
    #[arg(short, long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Every fact with the place it was read from
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Only the verdict: no progress, no advice
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// When to use colour (NO_COLOR is respected)
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    pub color: When,
}

impl OutputArguments {
    /// The form of the answer.
    pub fn form(&self) -> Format {
        let usual = if self.json { Format::Json } else { Format::Text };
        self.format.unwrap_or(usual)
    }

    /// Whether it is the JSON envelope.
    pub fn is_json(&self) -> bool {
        self.form() == Format::Json
    }

    /// Whether a person reads it.
    pub fn is_text(&self) -> bool {
        self.form() == Format::Text
    }

    /// The file that it is written to, where it is one.
    pub fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    Text,
    /// One JSON envelope, and nothing else on standard output
    Json,
    /// A line of status and performance data, as a plugin of Nagios gives it, then details
    Nagios,
    /// Metrics, for the textfile collector of node_exporter and others
    Openmetrics,
}

impl Format {
    /// As it is said on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
            Self::Nagios => "nagios",
            Self::Openmetrics => "openmetrics",
        }
    }
}

/// `--color`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum When {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

fn expectation(text: &str) -> Result<Expect, String> {
    text.parse()
}

/// A whole number; what is none or out of range is told what would do.
fn number<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match (range.start(), *range.end()) {
        (least, u64::MAX) => format!("write a whole number, {least} or more"),
        (least, most) => format!("write a whole number from {least} to {most}"),
    })
}

fn url(text: &str) -> Result<Url, String> {
    Url::parse(text).map_err(|error| format!("{error}; write it like http://127.0.0.1:8787"))
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write it like 500ms, 2s or 5m".to_owned()),
    }
}
