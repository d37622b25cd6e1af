//! Runs what was asked and answers with an exit status.

use super::{Cli, Command, EXIT_UNKNOWN, When};
use crate::collect::{Deadline, this_host};
use crate::demo;
use crate::diagnose::catalogue;
use crate::examine::{Progress, Request, examine};
use crate::model::{Envelope, Explanation, Gap, GapReason, HostFacts, Status};
use crate::render::{self, Style, View};
use crate::report;
use clap::Parser;
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::time::{Duration, SystemTime};

/// Parses the arguments, does what they say, and returns the exit status.
pub fn run(arguments: &[OsString]) -> u8 {
    match Cli::try_parse_from(arguments).and_then(|cli| cli.check().map(|()| cli)) {
        Ok(cli) => execute(&cli),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            emit(&error.to_string());
            0
        }
        Err(error) => {
            if wants_json(arguments) {
                let text = error.to_string();
                let line = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                let gap = Gap::new("command line", GapReason::Malformed, line);
                emit(&render::json(&nothing_examined("usage", gap)));
            } else {
                let _ = error.print();
            }
            EXIT_UNKNOWN
        }
    }
}

/// Whether JSON was asked for, when the arguments as a whole cannot be parsed.
fn wants_json(arguments: &[OsString]) -> bool {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    words.iter().any(|word| matches!(*word, "--json" | "--format=json"))
        || words.windows(2).any(|pair| pair == ["--format", "json"])
}

fn execute(cli: &Cli) -> u8 {
    let style = Style::new(use_colour(cli.output.color));
    let view = View {
        style,
        verbose: cli.output.verbose,
        quiet: cli.output.quiet,
        top: match &cli.command {
            Some(Command::Fds(arguments)) if arguments.all => usize::MAX,
            Some(Command::Fds(arguments)) => arguments.top,
            _ => 10,
        },
    };
    match &cli.command {
        Some(Command::Explain { id }) => explain(cli, &view, id.as_deref()),
        Some(Command::DemoPatient { part }) => demo::play(*part, cli.selection.port, cli.selection.home.as_deref()),
        Some(Command::Demo { name: Some(name) }) => demonstrate(cli, &view, *name),
        Some(Command::Demo { name: None }) => demonstrate_all(cli, &view),
        _ => match cli.request() {
            Some(request) => {
                let spinner = Spinner::new(cli);
                let deadline = Deadline::after(request.budget);
                let host = this_host(deadline);
                let result = examine(&*host, &request, deadline, &spinner);
                spinner.clear();
                match result {
                    Ok(envelope) => answer(cli, &view, &envelope),
                    Err(error) => refuse(cli, request.command, &error.to_string()),
                }
            }
            None => EXIT_UNKNOWN,
        },
    }
}

/// Prints an envelope the way it was asked for.
fn answer(cli: &Cli, view: &View, envelope: &Envelope) -> u8 {
    if cli.output.is_json() {
        emit(&render::json(envelope));
    } else {
        emit(&render::people(envelope, view));
    }
    envelope.status.exit_code()
}

/// One clear line for what cannot be examined at all.
fn refuse(cli: &Cli, command: &'static str, line: &str) -> u8 {
    if cli.output.is_json() {
        emit(&render::json(&nothing_examined(command, Gap::new("selection", GapReason::NotFound, line))));
    } else {
        complain(line);
    }
    EXIT_UNKNOWN
}

fn nothing_examined(command: &str, gap: Gap) -> Envelope {
    let mut envelope = report::envelope(command, HostFacts::default(), SystemTime::now());
    envelope.host.os = std::env::consts::OS.to_owned();
    envelope.host.arch = std::env::consts::ARCH.to_owned();
    envelope.gaps.push(gap);
    report::seal(envelope, Duration::ZERO)
}

fn explain(cli: &Cli, view: &View, id: Option<&str>) -> u8 {
    let entries: Vec<&catalogue::Entry> = match id {
        None => catalogue::CATALOGUE.iter().collect(),
        Some(id) => match catalogue::entry(id) {
            Some(entry) => vec![entry],
            None => {
                let similar = catalogue::similar(id);
                let hint = if similar.is_empty() {
                    "`hermes-doctor explain` lists all".to_owned()
                } else {
                    format!("did you mean {}?", similar.join(", "))
                };
                let shown = crate::parse::text::printable(id.as_bytes());
                return refuse(cli, "explain", &format!("there is no finding {shown:?}; {hint}"));
            }
        },
    };
    let mut envelope = report::envelope("explain", HostFacts::default(), SystemTime::now());
    envelope.explanations = entries
        .into_iter()
        .map(|entry| Explanation {
            id: entry.id.to_owned(),
            heading: entry.heading.to_owned(),
            severity: entry.severity.to_owned(),
            decided_by: entry.decided_by.to_owned(),
            look_alike: entry.look_alike.to_owned(),
            why: entry.why.to_owned(),
            remedy: entry.remedy.to_owned(),
        })
        .collect();
    let mut envelope = report::seal(envelope, Duration::ZERO);
    envelope.status = Status::Healthy;
    answer(cli, view, &envelope)
}

fn demonstrate(cli: &Cli, view: &View, name: demo::Name) -> u8 {
    let spinner = Spinner::new(cli);
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let result = demo::show(name, &request, &spinner);
    spinner.clear();
    match result {
        Ok(envelope) => {
            if !cli.output.is_json() && !cli.output.quiet {
                emit(&render::demo_heading(name, view));
            }
            answer(cli, view, &envelope)
        }
        Err(error) => refuse(cli, "demo", &error.to_string()),
    }
}

fn demonstrate_all(cli: &Cli, view: &View) -> u8 {
    let spinner = Spinner::new(cli);
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let begun = std::time::Instant::now();
    let mut envelope = report::envelope("demo", HostFacts::default(), SystemTime::now());
    let deadline = Deadline::after(request.budget);
    for name in demo::Name::all() {
        spinner.step(&format!("demo {}", name.word()));
        let budget = deadline.remaining().min(Duration::from_secs(10));
        envelope.demonstrations.push(demo::check(*name, &Request { budget, ..request.clone() }, &spinner));
    }
    spinner.clear();
    let all_as_expected = envelope.demonstrations.iter().all(|shown| shown.as_expected);
    envelope.host = this_host(Deadline::after(request.budget)).facts();
    let mut envelope = report::seal(envelope, begun.elapsed());
    envelope.status = if all_as_expected { Status::Healthy } else { Status::Unknown };
    answer(cli, view, &envelope)
}

/// Colour on a terminal that can show it, unless told otherwise (no-color.org).
fn use_colour(when: When) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// Writes to standard output; a reader that went away is no error of ours.
fn emit(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    let _ = out.flush();
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "hermes-doctor: {line}");
}

/// Progress on standard error, on a terminal only, and only for what takes longer than a glance.
struct Spinner {
    bar: Option<indicatif::ProgressBar>,
}

impl Spinner {
    fn new(cli: &Cli) -> Self {
        let shows = std::io::stderr().is_terminal() && !cli.output.quiet;
        let bar = shows.then(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar }
    }

    fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Spinner {
    fn step(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(what.to_owned());
        }
    }
}
