//! The definition of the command line: every command and option, and the help.

use crate::examine::Repetition;
use crate::examine::sampling::{ExercisePlan, SamplingPlan};
use crate::model::ServerKind;
use crate::redact::Level;
use crate::supervisor::expect::{Expect, forms_in_words};
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
  hermes-doctor                               every Hermes server on this host
  hermes-doctor --port 8787                   the server on this port
  hermes-doctor fds --pid 4711 --all          its open files and sockets
  hermes-doctor report -o hermes-report.json  for a bug report, redacted
  hermes-doctor --expect systemd:hermes-webui.service
  hermes-doctor explain state-db-handle-leak
  hermes-doctor demo                          demo scenarios with test servers

Exit status:
  0  healthy (notes do not count)
  1  warning
  2  critical, or the selected server is not running
  3  inconclusive: wrong arguments, nothing to examine, a required check that
     could not run, or output that could not be written

It changes nothing: it sends no signals, opens no database through SQLite, and writes only the files that you name. Fixes are printed, never run.";

const AFTER_SHORT_HELP: &str = "Exit status: 0 healthy, 1 warning, 2 critical, 3 inconclusive\n\n`--help` lists all options with examples; `hermes-doctor help COMMAND` explains a command.";

/// Styles of the parser's messages: colours that are readable on light and on dark backgrounds, as in `render::Style`.
const STYLES: Styles = Styles::styled()
    .error(AnsiColor::Red.on_default().bold())
    .valid(AnsiColor::Green.on_default().bold())
    .invalid(AnsiColor::Magenta.on_default().bold());

/// Find the root cause of a failing Hermes server, and change nothing on the host
#[derive(Debug, Parser)]
#[command(name = "hermes-doctor", version, styles = STYLES, after_help = AFTER_SHORT_HELP, after_long_help = AFTER_HELP, propagate_version = true)]
pub struct Cli {
    /// The command; the default is `check`.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// The servers to examine.
    #[command(flatten)]
    pub selection: SelectionArguments,
    /// Options of the output.
    #[command(flatten)]
    pub output: OutputArguments,
    /// The extent of the examination.
    #[command(flatten)]
    pub examination: ExaminationArguments,
}

/// The subcommands.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run all checks and print the verdict (the default)
    #[command(
        after_help = "Examples:\n  hermes-doctor check\n  hermes-doctor check --port 8787 --home ~/.hermes --json\n  hermes-doctor check --format nagios\n  hermes-doctor check --format openmetrics -o hermes-doctor.prom"
    )]
    Check,
    /// Count open descriptors, and show which of them grow
    ///
    /// Shows descriptors by kind and by file or socket, and how many more can be opened. The files of one SQLite database are shown in one row.
    #[command(
        after_help = "Examples:\n  hermes-doctor fds --pid 4711\n  hermes-doctor fds --port 8787 --all --json\n  hermes-doctor fds --port 8787 --samples 30 --every 10s\n  hermes-doctor fds --port 8787 --watch\n  hermes-doctor fds --port 8787 --compare hermes-check.json\n  hermes-doctor fds --port 8787 --exercise /health /api/sessions --requests 100"
    )]
    Fds(FdsArguments),
    /// Show the process tree and the supervisor
    ///
    /// Shows the processes from the server up to pid 1, the supervisor that claims the server, and the expected supervisor.
    #[command(
        after_help = "Examples:\n  hermes-doctor lineage --port 8787\n  hermes-doctor lineage --pid 4711 --json\n  hermes-doctor lineage --expect systemd-user:hermes-webui.service\n  hermes-doctor lineage --port 8787 --expect none --observe 10s"
    )]
    Lineage,
    /// Time each phase of an HTTP request
    ///
    /// Requests the health path and one other cheap path. The other path shows whether the server also answers requests that are not health checks.
    #[command(
        after_help = "Examples:\n  hermes-doctor health --url http://127.0.0.1:8787\n  hermes-doctor health --port 8787 --deep --timeout 5s\n  hermes-doctor health --port 8787 --route /api/sessions --route /api/projects\n  hermes-doctor health --port 8787 --repeat 100 --every 200ms"
    )]
    Health(HealthArguments),
    /// List the listeners of a port and their owners
    ///
    /// Also shows pending connections, and whether the owner of the port is the expected server.
    #[command(after_help = "Examples:\n  hermes-doctor port 8787\n  hermes-doctor port --pid 4711 --all-holders")]
    Port(PortArguments),
    /// Write a redacted report to attach to an issue
    ///
    /// The report holds everything that `check` found. Names, addresses and secrets are redacted.
    #[command(
        after_help = "Examples:\n  hermes-doctor report -o hermes-report.json\n  hermes-doctor report --pid 4711 --markdown > comment.md      (for an issue)\n  hermes-doctor report --port 8787 --html -o report.html --review\n  hermes-doctor report --from hermes-report.json --html -o report.html\n\nLevels of --redact:\n  default   users, hosts, addresses, secrets, and every name that is specific to\n            this host\n  paranoid  also Hermes directories and units, server versions, and absolute\n            times\n  none      only secrets in command lines and URLs"
    )]
    Report(ReportArguments),
    /// Write samples to a record file until Ctrl-C
    ///
    /// Writes one line per sample, and a complete report at the first critical finding.
    #[command(
        after_help = "Examples:\n  hermes-doctor watch --every 30s --record /var/lib/hermes-doctor/flight.jsonl\n  hermes-doctor watch --port 8787 --record flight.jsonl\n\nSee docs/watch.md for a systemd unit and a launchd job."
    )]
    Watch(WatchArguments),
    /// Summarize a record file of `watch`
    ///
    /// Shows changes and rates, and draws a plot with --svg.
    #[command(
        after_help = "Examples:\n  hermes-doctor history flight.jsonl\n  hermes-doctor history flight.jsonl --svg flight.svg"
    )]
    History(HistoryArguments),
    /// Read the SQLite databases as plain files
    ///
    /// Shows the write-ahead log, the checkpoint, the locks by role, and the processes that have the database open. Databases are never opened through SQLite.
    #[command(
        after_help = "Examples:\n  hermes-doctor db\n  hermes-doctor db --home ~/.hermes\n  hermes-doctor db --file ~/.hermes/state.db --json"
    )]
    Db(DbArguments),
    /// Print the Python stacks of all threads
    #[command(
        after_help = "Examples:\n  hermes-doctor stacks --pid 4711\n  hermes-doctor stacks --port 8787 --json\n  hermes-doctor check --stacks\n\nIt also prints the lock that threads wait for, and the thread that holds it. It reads the memory of the server without pausing it. Run it as root, with CAP_SYS_PTRACE, or as the user of the server (with kernel.yama.ptrace_scope 0)."
    )]
    Stacks,
    /// Explain a finding
    ///
    /// Prints what the finding means, which fact decides it, and which healthy host looks similar.
    #[command(
        after_help = "Examples:\n  hermes-doctor explain descriptor-ceiling\n  hermes-doctor explain            (all findings)"
    )]
    Explain {
        /// Id of the finding (default: all)
        #[arg(value_name = "ID")]
        id: Option<String>,
    },
    /// Print the JSON Schema of the `--json` output
    #[command(
        after_help = "Examples:\n  hermes-doctor schema > hermes-doctor-1.json\n  check-jsonschema --schemafile hermes-doctor-1.json hermes-check.json\n\nSee docs/json.md for the compatibility rules."
    )]
    Schema,
    /// Serve the commands as tools for an AI agent (MCP)
    #[cfg(feature = "mcp")]
    #[command(
        after_help = "Examples:\n  hermes-doctor mcp --redact paranoid\n  claude mcp add hermes-doctor -- hermes-doctor mcp\n\nIt speaks the Model Context Protocol on standard input and output. At the end of input it exits with status 0. Tools: check, fds, lineage, health, port, db, stacks, explain. They change nothing. See docs/agents.md for the agent configuration.\n\nAnswers are redacted, because they go to the model and its provider. The levels are the same as in `report`."
    )]
    Mcp(McpArguments),
    /// Print completions for a shell
    #[command(
        after_help = "Examples:\n  hermes-doctor completions fish > ~/.config/fish/completions/hermes-doctor.fish\n  hermes-doctor completions zsh > ~/.zfunc/_hermes-doctor      (in fpath)\n  eval \"$(hermes-doctor completions bash)\"      (a line for ~/.bashrc)"
    )]
    Completions {
        /// The shell
        #[arg(value_enum, value_name = "SHELL")]
        shell: clap_complete::Shell,
    },
    /// Print a manual page, or write all of them
    #[command(
        after_help = "Examples:\n  hermes-doctor man fds | man -l -           (mandoc -a on macOS)\n  hermes-doctor man --directory ~/.local/share/man/man1"
    )]
    Man(ManArguments),
    /// Examine test servers with known problems
    ///
    /// Starts small test servers, examines each of them like any other server, and stops them.
    #[command(
        after_help = "Examples:\n  hermes-doctor demo           all scenarios\n  hermes-doctor demo leak      one scenario, with the complete verdict\n  hermes-doctor demo leak --json"
    )]
    Demo {
        /// Scenario to run (default: all)
        #[arg(value_enum, value_name = "NAME")]
        name: Option<crate::demo::Name>,
    },
    /// Run the server of a `demo` scenario
    #[command(name = crate::parse::command::DEMO_SERVER, hide = true)]
    DemoServer {
        /// The role of this process
        #[arg(value_enum)]
        part: crate::demo::ServerPart,
    },
}

/// Options of `fds`.
#[derive(Clone, Debug, Args)]
pub struct FdsArguments {
    /// Show this many files and sockets
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = |text: &str| number::<usize>(text, 0..=u64::MAX))]
    pub top: usize,
    /// Show all files and sockets
    #[arg(long, conflicts_with = "top")]
    pub all: bool,
    /// Take samples until Ctrl-C (default: every 2s)
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "2s", value_parser = duration, conflicts_with_all = ["samples", "every"], help_heading = "Over time")]
    pub watch: Option<Duration>,
    /// Take this many samples, then report whether the count grows
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u64>(text, 2..=100_000), help_heading = "Over time")]
    pub samples: Option<u64>,
    /// Time between two samples (default: 2s)
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "samples", help_heading = "Over time")]
    pub every: Option<Duration>,
    /// Compare with a saved report (`check --json` or `fds --json`); can be repeated
    #[arg(long, value_name = "REPORT", conflicts_with_all = ["samples", "watch"], help_heading = "Over time")]
    pub compare: Vec<PathBuf>,
    /// Request these paths, and count the descriptors that each path leaves open. This puts load on the server
    #[arg(long, value_name = "PATH", num_args = 1.., value_parser = request_path, conflicts_with_all = ["samples", "watch", "compare"], help_heading = "With requests")]
    pub exercise: Vec<String>,
    /// Number of requests for each path
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = |text: &str| number::<u64>(text, 1..=10_000), requires = "exercise", help_heading = "With requests")]
    pub requests: u64,
    /// Number of requests between two samples
    #[arg(long, value_name = "K", default_value_t = 10, value_parser = |text: &str| number::<u64>(text, 1..=10_000), requires = "exercise", help_heading = "With requests")]
    pub batch: u64,
    /// Also allow an address that is not a loopback address
    #[arg(long, requires = "exercise", help_heading = "With requests")]
    pub yes_remote: bool,
}

impl FdsArguments {
    /// The sampling; `None` for a single sample.
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

    /// The requests of `--exercise`, if any.
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
    /// Write Markdown for an issue comment (at most 60,000 characters); the JSON is included if it fits
    #[arg(long, conflicts_with = "html")]
    pub markdown: bool,
    /// Write one self-contained HTML page
    #[arg(long)]
    pub html: bool,
    /// Level of redaction
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = RedactArgument::Default)]
    pub redact: RedactArgument,
    /// Show the report and what was redacted, and ask for confirmation before writing
    #[arg(long)]
    pub review: bool,
    /// Write without asking
    #[arg(long)]
    pub yes: bool,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

/// Options of `mcp`.
#[cfg(feature = "mcp")]
#[derive(Clone, Copy, Debug, Args)]
pub struct McpArguments {
    /// Level of redaction of the tool answers
    #[arg(long, value_enum, value_name = "LEVEL", default_value_t = RedactArgument::Default)]
    pub redact: RedactArgument,
}

/// `--redact`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RedactArgument {
    /// Everything in `default`, and also Hermes directories and units, server versions, and absolute times
    Paranoid,
    /// Users, hosts, addresses, secrets, and every name that is specific to this host
    Default,
    /// Only secrets in command lines and URLs
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
    /// Time between two samples
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub every: Duration,
    /// Record file, one JSON object per line; when it is full, it is renamed to FILE.1
    #[arg(long, value_name = "FILE")]
    pub record: PathBuf,
    /// End after this many samples
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u64>(text, 1..=u64::MAX))]
    pub samples: Option<u64>,
    /// Maximum size of the record in MiB; 8 MiB hold about a week at one sample per 30 s
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = |text: &str| number::<u64>(text, 1..=1024))]
    pub largest: u64,
}

/// Options of `history`.
#[derive(Clone, Debug, Args)]
pub struct HistoryArguments {
    /// A record of `watch`
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Plot descriptors, database handles, the accept queue and the health request over time
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long, requires = "svg")]
    pub force: bool,
}

/// Options of `man`.
#[derive(Clone, Debug, Args)]
pub struct ManArguments {
    /// Command to document (default: the overview page)
    #[arg(value_name = "COMMAND", conflicts_with = "directory")]
    pub command: Option<String>,
    /// Write all pages into this directory, and create it if necessary
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Overwrite existing files
    #[arg(long, requires = "directory", conflicts_with = "command")]
    pub force: bool,
}

/// Options of `port`.
#[derive(Clone, Debug, Args)]
pub struct PortArguments {
    /// The port (the same as --port)
    #[arg(value_name = "PORT", value_parser = |text: &str| number::<u16>(text, 1..=65_535))]
    pub number: Option<u16>,
}

/// Options of `db`.
#[derive(Clone, Debug, Args)]
pub struct DbArguments {
    /// Read this database file
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// Options of `health`.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct HealthArguments {
    /// Send this many requests one after the other, each on a new connection
    #[arg(long, value_name = "N", value_parser = |text: &str| number::<u64>(text, 2..=10_000), help_heading = "Many requests")]
    pub repeat: Option<u64>,
    /// Time from the start of one request to the start of the next (default: 1s)
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "repeat", help_heading = "Many requests")]
    pub every: Option<Duration>,
}

impl HealthArguments {
    /// The repetition; `None` for a single request.
    pub fn repetition(&self) -> Option<Repetition> {
        let requests = self.repeat?;
        Some(Repetition { requests, every: self.every.unwrap_or(Duration::from_secs(1)) })
    }
}

/// The path of a request, as it is sent.
fn request_path(text: &str) -> Result<String, String> {
    if !text.starts_with('/') {
        Err("the path must begin with /, like /health".to_owned())
    } else if text.len() > 2048 {
        Err(format!("a path has at most 2048 bytes, this one {}", text.len()))
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Err("a path must not contain spaces, control characters or letters beyond ASCII; percent-encode them, for example %20"
            .to_owned())
    } else {
        Ok(text.to_owned())
    }
}

/// The servers to examine. Options combine; without any, all Hermes servers of the host are examined.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Server selection")]
pub struct SelectionArguments {
    /// Examine the process with this id
    #[arg(long, global = true, value_name = "PID", value_parser = |text: &str| number::<u32>(text, 1..=4_294_967_295))]
    pub pid: Option<u32>,
    /// Examine the server that listens on this port
    #[arg(long, global = true, value_name = "PORT", value_parser = |text: &str| number::<u16>(text, 1..=65_535))]
    pub port: Option<u16>,
    /// Examine the server at this URL; on another host, only over HTTP
    #[arg(long, global = true, value_name = "URL", value_parser = url)]
    pub url: Option<Url>,
    /// Examine the servers of this HERMES_HOME
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub home: Option<PathBuf>,
    /// Expected kind of the server
    #[arg(long, global = true, value_enum, value_name = "KIND")]
    pub kind: Option<KindArgument>,
    /// The supervisor that should run the server, in one of the forms of the help
    #[arg(
        long,
        global = true,
        value_name = "SUPERVISOR",
        value_parser = expectation,
        help = format!(
            "The supervisor that should run the server: {} (default: inferred from the configuration of the host)",
            forms_in_words()
        )
    )]
    pub expect: Option<Expect>,
    /// Examine a saved report instead of this host: JSON, gzip, or Markdown with a JSON block; - reads standard input. Use
    /// the option twice to compare two reports
    #[arg(long, global = true, value_name = "REPORT")]
    pub from: Vec<PathBuf>,
}

/// `--kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KindArgument {
    /// Hermes WebUI (port 8787)
    Webui,
    /// Hermes Agent's gateway (port 8642 if its API server is enabled)
    Gateway,
    /// `hermes dashboard` (port 9119)
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

/// The extent of the examination.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Examination")]
pub struct ExaminationArguments {
    /// Also request the deep health check of a WebUI (it makes the server open state.db)
    #[arg(long, global = true)]
    pub deep: bool,
    /// Also read the Python stacks from the memory of the server, which is not paused (needs ptrace permission)
    #[arg(long, global = true)]
    pub stacks: bool,
    /// Search all processes of the host for the holders of the port, not only the likely ones
    #[arg(long, global = true)]
    pub all_holders: bool,
    /// Also request this path, with three times the timeout (can be repeated; default: a cheap path that depends on the kind of server)
    #[arg(long = "route", global = true, value_name = "PATH", value_parser = request_path)]
    pub routes: Vec<String>,
    /// Observe restarts, pids, states and the port for this long (by default, only if the supervisor does not claim the
    /// server)
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub observe: Option<Duration>,
    /// Timeout of each phase of an HTTP request (500ms, 2s, 5m)
    #[arg(long, global = true, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
    /// Time limit of the whole run (default: 10s; for `demo` without a name: 60s). Checks that did not finish are listed
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub budget: Option<Duration>,
}

/// Options of the output.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArguments {
    /// Output format
    #[arg(long, global = true, value_enum)]
    pub format: Option<Format>,
    /// Print JSON (the same as --format json)
    #[arg(long, global = true)]
    pub json: bool,
    /// Write to this file instead of standard output, completely or not at all (only with `report` and --format openmetrics)
    #[arg(short, long, global = true, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Print every fact with its source
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Print only the verdict: no progress, no next steps
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// When to use colour (NO_COLOR is respected)
    #[arg(long, global = true, value_enum, default_value_t = When::Auto)]
    pub color: When,
}

impl OutputArguments {
    /// The format of the output; text by default.
    pub fn form(&self) -> Format {
        let usual = if self.json { Format::Json } else { Format::Text };
        self.format.unwrap_or(usual)
    }

    /// Whether it is the JSON envelope.
    pub fn is_json(&self) -> bool {
        self.form() == Format::Json
    }

    /// Whether the output is text for people.
    pub fn is_text(&self) -> bool {
        self.form() == Format::Text
    }

    /// The output file; `None` for standard output.
    pub fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| *path != Path::new("-"))
    }
}

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Text for people
    Text,
    /// One JSON object (see docs/json.md)
    Json,
    /// Output of a Nagios plugin: status and performance data
    Nagios,
    /// Metrics, for example for the textfile collector of node_exporter
    Openmetrics,
}

impl Format {
    /// The word on the command line.
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

/// A whole number in a range; the error names the range.
fn number<T: TryFrom<u64>>(text: &str, range: RangeInclusive<u64>) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| match (range.start(), *range.end()) {
        (min, u64::MAX) => format!("write a whole number, {min} or more"),
        (min, max) => format!("write a whole number from {min} to {max}"),
    })
}

fn url(text: &str) -> Result<Url, String> {
    // `localhost:8787` is a URL with the scheme `localhost`.
    let with_scheme =
        Url::parse(&format!("http://{text}")).ok().filter(|url| url.has_host() && !text.contains("://"));
    match (Url::parse(text), with_scheme) {
        (Ok(url), _) if url.has_host() => Ok(url),
        (_, Some(_)) => Err(format!("the scheme is missing; write http://{text}")),
        (Ok(_), None) => Err("it has no host; write it like http://127.0.0.1:8787".to_owned()),
        (Err(error), None) => Err(format!("{error}; write it like http://127.0.0.1:8787")),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be greater than zero; try 5s".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a number and a unit, like 500ms, 2s or 5m".to_owned()),
    }
}
