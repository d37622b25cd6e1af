//! Runs what was asked and answers with an exit status.

use super::terminal::{Spinner, complain, emit, emit_json, ends_on_signal, is_output_lost, use_colour};
use super::{Cli, Command, EXIT_UNKNOWN, Format, over_time, usage};
use crate::collect::replay::ReplayError;
use crate::collect::{Deadline, replay, this_host};
use crate::demo;
use crate::diagnose::{self, catalogue};
use crate::examine::replaying;
use crate::examine::sampling;
use crate::examine::{Progress, Request, examine};
use crate::model::{Envelope, Explanation, Gap, GapReason, HostFacts, Status, time};
use crate::parse::text::printable;
use crate::render::{self, Style, View};
use crate::report;
#[cfg(feature = "mcp")]
use crate::report::redact::Level;
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Parses the arguments, does what they say, and returns the exit status.
pub fn run(arguments: &[OsString]) -> u8 {
    let status = match usage::parsed(arguments) {
        Ok(cli) => execute(&cli),
        Err(error) => usage::answer(arguments, &error),
    };
    if is_output_lost() { EXIT_UNKNOWN } else { status }
}

fn execute(cli: &Cli) -> u8 {
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
        Some(Command::Completions { shell }) => super::pages::completions(*shell),
        Some(Command::Man(arguments)) => super::pages::man(cli, arguments),
        Some(Command::DemoServer { part }) => demo::play(*part, cli.selection.port, cli.selection.home.as_deref()),
        Some(Command::Demo { name: Some(name) }) => demonstrate(cli, &view, *name),
        Some(Command::Demo { name: None }) => demonstrate_all(cli, &view),
        Some(Command::Fds(arguments)) => over_time::fds(cli, &view, arguments),
        Some(Command::Watch(arguments)) => over_time::watch(cli, arguments),
        Some(Command::History(arguments)) => over_time::history(cli, &view, arguments),
        Some(Command::Report(arguments)) => super::report::write(cli, &view, arguments),
        #[cfg(feature = "mcp")]
        Some(Command::Mcp(arguments)) => crate::mcp::serve(Level::from(arguments.redact)),
        _ => match cli.request() {
            Some(request) => match examined(cli, &request) {
                Ok(envelope) => answer(cli, &view, envelope),
                Err(gap) => refuse_with(cli, request.command, gap),
            },
            None => EXIT_UNKNOWN,
        },
    }
}

pub(super) fn examined(cli: &Cli, request: &Request) -> Result<Envelope, Gap> {
    let mut spinner = Spinner::new(cli);
    // What many requests have shown until Ctrl-C is summed up.
    spinner.ended = request.repetition.and_then(|_| ends_on_signal().ok());
    let result = examined_until(cli, request, Deadline::after(request.budget), &spinner);
    spinner.clear();
    result
}

/// What the request names, on this host or in a saved report.
///
/// # Errors
/// A gap with one line for a person, when nothing can be examined at all.
pub(crate) fn examined_until(
    cli: &Cli,
    request: &Request,
    deadline: Deadline,
    progress: &dyn Progress,
) -> Result<Envelope, Gap> {
    if !cli.selection.from.is_empty() {
        return replayed(cli, request).map_err(refusal);
    }
    let host = this_host(deadline);
    examine(&*host, request, deadline, progress)
        .map_err(|error| Gap { reason: error.reason(), ..refusal(error.to_string()) })
}

/// What stands in the place of an examination that could not be made.
pub(crate) fn refusal(line: String) -> Gap {
    Gap::new("selection", GapReason::NotFound, line)
}

/// A saved report in the place of the host; of two, the second, with what has grown since the first.
fn replayed(cli: &Cli, request: &Request) -> Result<Envelope, String> {
    let mut reports = saved_reports(&cli.selection.from, cli.budget())?;
    // Whichever was named first, the later one is what is there now. RFC 3339 in UTC sorts by time.
    reports.sort_by(|(_, a), (_, b)| a.started_at.cmp(&b.started_at));
    let Some((name, last)) = reports.pop() else { return Err("no report was named".to_owned()) };
    let mut envelope = replaying::replay(last, request).map_err(|error| format!("{name}: {error}"))?;
    if !reports.is_empty() {
        let now = time::parse_rfc3339(&envelope.started_at)
            .ok_or_else(|| format!("{name}: the time of the report is not understood"))?;
        let is_hidden = report::redact::is_hidden(&envelope);
        for server in &mut envelope.servers {
            sampling::compare(server, now, is_hidden, &reports).map_err(|error| error.to_string())?;
            diagnose::judge(server);
        }
        let elapsed = Duration::from_millis(envelope.elapsed_ms);
        envelope = report::seal(envelope, elapsed);
    }
    Ok(envelope)
}

/// The name of a report that stands for standard input.
pub(super) const STANDARD_INPUT: &str = "-";

/// How long standard input may bring nothing: at its other end a host may be examined, and a person may be asked for a password.
const INPUT_TIMEOUT: Duration = Duration::from_secs(120);

/// A saved report from standard input.
fn read_input() -> Result<Envelope, ReplayError> {
    let unread = |error: &std::io::Error| ReplayError::Unreadable(Gap::from_io("standard input", error));
    let mut bytes = Vec::new();
    while bytes.len() <= replay::LARGEST_REPORT {
        let wait = Timespec::try_from(INPUT_TIMEOUT).unwrap_or_default();
        let input = rustix::stdio::stdin();
        let read = match poll(&mut [PollFd::new(&input, PollFlags::IN)], Some(&wait)) {
            Ok(0) => return Err(unread(&std::io::ErrorKind::TimedOut.into())),
            Ok(_) => {
                bytes.reserve(64 * 1024);
                rustix::io::read(input, spare_capacity(&mut bytes))
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(unread(&error.into())),
        }
    }
    replay::read(&bytes)
}

/// Saved reports, each with the name of its file.
pub(super) fn saved_reports(paths: &[PathBuf], budget: Duration) -> Result<Vec<(String, Envelope)>, String> {
    let deadline = Deadline::after(budget);
    let read = |path: &PathBuf| {
        let is_input = path.as_path() == Path::new(STANDARD_INPUT);
        let name =
            if is_input { "standard input".to_owned() } else { printable(path.as_os_str().as_encoded_bytes()) };
        let report = if is_input { read_input() } else { replay::read_file(path, deadline) };
        match report {
            Ok(report) => Ok((name, report)),
            Err(error) => {
                Err(format!("{name}: {error}; name a report that `hermes-doctor report -o FILE` has written"))
            }
        }
    };
    paths.iter().map(read).collect()
}

/// Prints an envelope the way it was asked for.
pub(super) fn answer(cli: &Cli, view: &View, envelope: Envelope) -> u8 {
    let envelope = &envelope;
    match cli.output.form() {
        Format::Json => emit_json(envelope),
        Format::Text => emit(&render::people(envelope, view)),
        Format::Nagios => return super::fleet::plugin(envelope),
        Format::Openmetrics => return super::fleet::metrics(cli, envelope),
    }
    envelope.status.exit_code()
}

/// One clear line for what cannot be examined at all.
pub(super) fn refuse(cli: &Cli, command: &'static str, line: &str) -> u8 {
    refuse_with(cli, command, refusal(line.to_owned()))
}

/// The same with its reason.
pub(super) fn refuse_with(cli: &Cli, command: &'static str, gap: Gap) -> u8 {
    let line = &gap.detail;
    let nothing = || nothing_examined(command, gap.clone());
    match cli.output.form() {
        Format::Json => emit(&render::json(&nothing())),
        Format::Text => complain(line),
        Format::Nagios => emit(&render::nagios::nothing(line)),
        Format::Openmetrics => {
            complain(line);
            // Old numbers must not stand for a host that could not be looked at.
            return super::fleet::metrics(cli, &nothing());
        }
    }
    EXIT_UNKNOWN
}

/// The answer when nothing could be examined.
pub(crate) fn nothing_examined(command: &str, gap: Gap) -> Envelope {
    let mut envelope = report::envelope(command, HostFacts::default(), SystemTime::now());
    envelope.host.os = std::env::consts::OS.to_owned();
    envelope.host.arch = std::env::consts::ARCH.to_owned();
    envelope.gaps.push(gap);
    report::seal(envelope, Duration::ZERO)
}

fn explain(cli: &Cli, view: &View, id: Option<&str>) -> u8 {
    match explained(id) {
        Ok(envelope) => answer(cli, view, envelope),
        Err(line) => refuse(cli, "explain", &line),
    }
}

/// The catalogue's entry of one finding, or all.
///
/// # Errors
/// One line that names similar ones.
pub(crate) fn explained(id: Option<&str>) -> Result<Envelope, String> {
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
                let shown = if id.is_empty() { "\"\"".to_owned() } else { format!("{shown:?}") };
                return Err(format!("there is no finding {shown}; {hint}"));
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
    Ok(envelope)
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
