//! Runs the command and returns the exit status.

use super::answer::{answer, examined, refuse, refuse_with};
use super::terminal::{Spinner, emit, is_output_lost, use_colour};
use super::{over_time, pages, usage};
use crate::collect::{Deadline, this_host};
use crate::command::{Cli, Command, EXIT_UNKNOWN, explained};
use crate::demo;
use crate::examine::{Progress, Request};
use crate::model::{HostFacts, Status};
use crate::redact::Level;
use crate::render::{self, Style, View};
use crate::report;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime};

/// Parses the arguments, runs the command, and returns the exit status. `serve` is the other front end, which
/// the subcommand `mcp` starts.
pub fn run(arguments: &[OsString], serve: fn(Level) -> u8) -> u8 {
    let status = match usage::parsed(arguments) {
        Ok(cli) => execute(&cli, serve),
        Err(error) => usage::answer(arguments, &error),
    };
    if is_output_lost() { EXIT_UNKNOWN } else { status }
}

fn execute(cli: &Cli, serve: fn(Level) -> u8) -> u8 {
    let style = Style::new(use_colour(cli.output.color, std::io::stdout().is_terminal()));
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
        Some(Command::Schema) => {
            emit(report::schema::kept());
            0
        }
        Some(Command::Completions { shell }) => pages::completions(*shell),
        Some(Command::Man(arguments)) => pages::man(cli, arguments),
        Some(Command::DemoServer { part }) => demo::play(*part, cli.selection.port, cli.selection.home.as_deref()),
        Some(Command::Demo { name: Some(name) }) => demonstrate(cli, &view, *name),
        Some(Command::Demo { name: None }) => demonstrate_all(cli, &view),
        Some(Command::Fds(arguments)) => over_time::fds(cli, &view, arguments),
        Some(Command::Watch(arguments)) => over_time::watch(cli, arguments),
        Some(Command::History(arguments)) => over_time::history(cli, &view, arguments),
        Some(Command::Report(arguments)) => super::report::write(cli, &view, arguments),
        #[cfg(feature = "mcp")]
        Some(Command::Mcp(arguments)) => serve(Level::from(arguments.redact)),
        _ => match cli.request() {
            Some(request) => match examined(cli, &request) {
                Ok(envelope) => answer(cli, &view, envelope),
                Err(gap) => refuse_with(cli, request.command, gap),
            },
            None => EXIT_UNKNOWN,
        },
    }
}

fn explain(cli: &Cli, view: &View, id: Option<&str>) -> u8 {
    match explained(id) {
        Ok(envelope) => answer(cli, view, envelope),
        Err(line) => refuse(cli, "explain", &line),
    }
}

fn demonstrate(cli: &Cli, view: &View, name: demo::Name) -> u8 {
    let spinner = Spinner::new(cli);
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let result = demo::show(name, &request, &spinner);
    spinner.clear();
    match result {
        Ok(envelope) => {
            if !cli.output.is_json() && !cli.output.quiet {
                emit(&render::demo_heading(&name.word(), name.staged(), view));
            }
            answer(cli, view, envelope)
        }
        Err(error) => refuse(cli, "demo", &error.to_string()),
    }
}

fn demonstrate_all(cli: &Cli, view: &View) -> u8 {
    let spinner = Spinner::new(cli);
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let begun = Instant::now();
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
    answer(cli, view, envelope)
}
