//! Runs what was asked and answers with an exit status.

use super::{
    Cli, Command, DbArguments, EXIT_UNKNOWN, ExaminationArguments, FdsArguments, Format, HealthArguments,
    HistoryArguments, OutputArguments, PortArguments, ReportArguments, SelectionArguments, WatchArguments, When,
};
use crate::collect::{Deadline, replay, this_host};
use crate::demo;
use crate::diagnose::{self, catalogue};
use crate::examine::recording::{self, RecordingPlan};
use crate::examine::replaying;
use crate::examine::sampling::{self, ExercisePlan, SamplingPlan, Watcher};
use crate::examine::{Progress, Request, examine};
use crate::model::{
    Batch, Envelope, Explanation, Gap, GapReason, History, HostFacts, Record, Sample, Server, Status, Trend,
};
use crate::patient::Selection;
use crate::render::{self, Style, View};
use crate::report;
#[cfg(feature = "mcp")]
use crate::report::redact::Level;
use crate::sort;
use clap::error::ErrorKind;
use clap::{Args, FromArgMatches, Parser};
use std::ffi::OsString;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Parses the arguments, does what they say, and returns the exit status.
pub fn run(arguments: &[OsString]) -> u8 {
    let parsed = parsed_by_its_command(arguments).map_or_else(|| Cli::try_parse_from(arguments), Ok);
    match parsed.and_then(|cli| cli.check().map(|()| cli)) {
        Ok(cli) => execute(&cli),
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            emit(&error.to_string());
            0
        }
        Err(error) => {
            let wanted = wanted_form(arguments);
            if matches!(wanted, Some(Format::Json | Format::Nagios)) {
                let text = harmless(&error.to_string());
                let line = in_one_line(&text);
                if wanted == Some(Format::Nagios) {
                    emit(&render::nagios::nothing(&line));
                    return EXIT_UNKNOWN;
                }
                let gap = Gap::new("command line", GapReason::Malformed, line);
                emit(&render::json(&nothing_examined("usage", gap)));
            } else {
                let text = error.to_string();
                let shown = harmless(&text);
                let is_coloured = use_colour(wanted_colour(arguments), std::io::stderr().is_terminal());
                // As it is it may have the parser's colours.
                let shown = if shown == text && is_coloured {
                    error.render().ansi().to_string()
                } else {
                    Style::new(false).locale(&shown)
                };
                let _ = std::io::stderr().lock().write_all(shown.as_bytes());
            }
            EXIT_UNKNOWN
        }
    }
}

/// The arguments of a look, read with its command alone: of all commands each would be made, and be given each option of all,
/// which takes longer than to read them. `None` for other commands, and where they do not fit, or ask for help: what is then said
/// takes all commands.
fn parsed_by_its_command(arguments: &[OsString]) -> Option<Cli> {
    let name = arguments.get(1)?.to_str()?;
    let command = clap::Command::new(name.to_owned());
    let command = match name {
        "check" | "lineage" | "stacks" => command,
        "db" => DbArguments::augment_args(command),
        "fds" => FdsArguments::augment_args(command),
        "health" => HealthArguments::augment_args(command),
        "port" => PortArguments::augment_args(command),
        "report" => ReportArguments::augment_args(command),
        "watch" => WatchArguments::augment_args(command),
        _ => return None,
    };
    let alone = SelectionArguments::augment_args(clap::Command::new("").subcommand(command));
    let alone = OutputArguments::augment_args(ExaminationArguments::augment_args(alone));
    Cli::from_arg_matches(&alone.try_get_matches_from(arguments).ok()?).ok()
}

/// What the parser says, without how the command is called: what is wrong, what would do, what is similar.
fn in_one_line(text: &str) -> String {
    let paragraphs = text.trim_start_matches("error: ").split("\n\n");
    let told = paragraphs.filter(|part| !part.starts_with("Usage: ") && !part.starts_with("For more information"));
    let lines = told.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The parser repeats what was given: secrets in it are masked, and neither length nor characters do any harm.
pub(crate) fn harmless(text: &str) -> String {
    const LONGEST: usize = 300;
    let line = |line: &str| {
        let words: Vec<String> = line
            .split(' ')
            .map(|word| {
                let word = if word.contains('?') && word.contains('/') {
                    report::mask::url(word)
                } else {
                    word.to_owned()
                };
                match word.char_indices().nth(LONGEST) {
                    Some((at, _)) => format!("{}…", word.get(..at).unwrap_or_default()),
                    None => word,
                }
            })
            .collect();
        crate::parse::text::printable(report::mask::text(&words.join(" ")).as_bytes()) + "\n"
    };
    text.lines().map(line).collect()
}

/// The form that was asked for, when the arguments as a whole cannot be parsed: a program gets what it can read.
fn wanted_form(arguments: &[OsString]) -> Option<Format> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let says = |form: Format| {
        let word = form.word();
        words.iter().any(|given| given.strip_prefix("--format=") == Some(word))
            || words.windows(2).any(|pair| pair == ["--format", word])
    };
    let short = words.contains(&"--json").then_some(Format::Json);
    [Format::Nagios, Format::Json].into_iter().find(|form| says(*form)).or(short)
}

/// When colour was asked for, as far as that can be told.
fn wanted_colour(arguments: &[OsString]) -> When {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let says = |value: &str| {
        words.iter().any(|given| given.strip_prefix("--color=") == Some(value))
            || words.windows(2).any(|pair| pair == ["--color", value])
    };
    if says("never") {
        When::Never
    } else if says("always") {
        When::Always
    } else {
        When::Auto
    }
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
            emit(&report::schema::kept());
            0
        }
        Some(Command::Completions { shell }) => super::pages::completions(*shell),
        Some(Command::Man(arguments)) => super::pages::man(cli, arguments),
        Some(Command::DemoPatient { part }) => demo::play(*part, cli.selection.port, cli.selection.home.as_deref()),
        Some(Command::Demo { name: Some(name) }) => demonstrate(cli, &view, *name),
        Some(Command::Demo { name: None }) => demonstrate_all(cli, &view),
        Some(Command::Fds(arguments)) => over_time(cli, &view, arguments),
        Some(Command::Watch(arguments)) => watch(cli, arguments),
        Some(Command::History(arguments)) => show_history(cli, &view, arguments),
        Some(Command::Report(arguments)) => super::report::write(cli, &view, arguments),
        #[cfg(feature = "mcp")]
        Some(Command::Mcp(arguments)) => crate::mcp::serve(Level::from(arguments.redact)),
        _ => match cli.request() {
            Some(request) => match examined(cli, &request) {
                Ok(envelope) => answer(cli, &view, &envelope),
                Err(error) => refuse(cli, request.command, &error),
            },
            None => EXIT_UNKNOWN,
        },
    }
}

pub(super) fn examined(cli: &Cli, request: &Request) -> Result<Envelope, String> {
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
/// One line for a person, when nothing can be examined at all.
pub(crate) fn examined_until(
    cli: &Cli,
    request: &Request,
    deadline: Deadline,
    progress: &dyn Progress,
) -> Result<Envelope, String> {
    if !cli.selection.from.is_empty() {
        return replayed(cli, request);
    }
    let host = this_host(deadline);
    examine(&*host, request, deadline, progress).map_err(|error| error.to_string())
}

/// A saved report in the place of the host; of two, the second, with what has grown since the first.
fn replayed(cli: &Cli, request: &Request) -> Result<Envelope, String> {
    let mut reports = saved_reports(&cli.selection.from, cli.budget())?;
    // Whichever was named first, the later one is what is there now. RFC 3339 in UTC sorts by time.
    sort::by(&mut reports, |(_, a), (_, b)| a.started_at.cmp(&b.started_at));
    let Some((name, last)) = reports.pop() else { return Err("no report was named".to_owned()) };
    let mut envelope = replaying::replay(last, request).map_err(|error| format!("{name}: {error}"))?;
    if !reports.is_empty() {
        let now = humantime::parse_rfc3339(&envelope.started_at)
            .map_err(|_| format!("{name}: the time of the report is not understood"))?;
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

/// `fds`: once, or over time.
fn over_time(cli: &Cli, view: &View, arguments: &FdsArguments) -> u8 {
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let begun = Instant::now();
    let mut envelope = match examined(cli, &request) {
        Ok(envelope) => envelope,
        Err(error) => return refuse(cli, request.command, &error.to_string()),
    };
    let (sampling, exercise) = (arguments.sampling(), arguments.exercise(cli.examination.timeout));
    if sampling.is_none() && exercise.is_none() && arguments.compare.is_empty() {
        return answer(cli, view, &envelope);
    }
    let several = envelope.servers.len();
    let [server] = envelope.servers.as_mut_slice() else {
        let line = match several {
            0 => "there is no server to look at; name one with --pid, --port or --home".to_owned(),
            count => format!("{count} servers run here; name one of them with --pid or --port"),
        };
        return refuse(cli, request.command, &line);
    };
    let done = match (sampling, exercise) {
        (Some(plan), _) => watch_descriptors(cli, view, server, plan, &request),
        (None, Some(plan)) => exercise_server(cli, server, &plan, &request),
        (None, None) => compare_reports(server, &arguments.compare, cli.budget()),
    };
    if let Err(line) = done {
        return refuse(cli, request.command, &line);
    }
    diagnose::judge(server);
    let envelope = report::seal(envelope, begun.elapsed());
    answer(cli, view, &envelope)
}

fn watch_descriptors(
    cli: &Cli,
    view: &View,
    server: &mut Server,
    plan: SamplingPlan,
    request: &Request,
) -> Result<(), String> {
    if server.process.is_none() {
        return Err("there is no process whose descriptors could be looked at".to_owned());
    }
    let ended = ends_on_signal()?;
    let mut watcher = Rows { cli, style: view.style, bar: None, ended, is_first: true };
    // A look that is over in a moment needs no rows beside its summary.
    if std::io::stderr().is_terminal() && !cli.output.quiet {
        watcher.bar = Some(bar());
    }
    let is_there = sampling::sample(server, plan, &mut watcher);
    if let Some(bar) = &watcher.bar {
        bar.finish_and_clear();
    }
    if !is_there {
        // A restart gives it another pid; where it listens and what is its home stay.
        let mut again = request.clone();
        again.selection = Selection {
            pid: None,
            port: request.selection.port.or(server.port),
            kind: Some(server.kind),
            ..request.selection.clone()
        };
        let names_it = again.selection.port.is_some() || again.selection.home.is_some();
        let found = if names_it { examined(cli, &again).ok() } else { None };
        let now = found.and_then(|mut found| (found.servers.len() == 1).then(|| found.servers.remove(0)));
        sampling::replace_ended(server, now);
    }
    Ok(())
}

fn exercise_server(cli: &Cli, server: &mut Server, plan: &ExercisePlan, request: &Request) -> Result<(), String> {
    let ended = ends_on_signal()?;
    let total = plan.requests.saturating_mul(u64::try_from(plan.paths.len()).unwrap_or(1));
    if !cli.output.quiet {
        complain(&format!("sending {total} requests to the server, which puts load on it; Ctrl-C ends it"));
    }
    let shows_rows = cli.output.is_text() && !cli.output.quiet;
    let mut each = |batch: &Batch| {
        if shows_rows {
            emit(&render::samples::batch(batch));
        }
    };
    sampling::exercise(server, plan, &|| ended.load(Ordering::Relaxed), &mut each)
        .map_err(|error| error.to_string())?;
    let last = server.exercise.as_ref().and_then(|exercise| exercise.batches.last());
    // It has answered before; whether it does now decides.
    if last.is_some_and(|batch| batch.requests > 0 && batch.answered == 0)
        && let Ok(mut found) = examined(cli, request)
        && let ([now], exercise) = (found.servers.as_mut_slice(), server.exercise.take())
    {
        now.exercise = exercise;
        std::mem::swap(server, now);
    }
    Ok(())
}

/// Saved reports, each with the name of its file.
fn saved_reports(paths: &[PathBuf], budget: Duration) -> Result<Vec<(String, Envelope)>, String> {
    let deadline = Deadline::after(budget);
    let read = |path: &PathBuf| {
        let name = crate::parse::text::printable(path.as_os_str().as_encoded_bytes());
        match replay::read_file(path, deadline) {
            Ok(report) => Ok((name, report)),
            Err(error) => {
                Err(format!("{name}: {error}; name a report that `hermes-doctor report -o FILE` has written"))
            }
        }
    };
    paths.iter().map(read).collect()
}

fn compare_reports(server: &mut Server, paths: &[PathBuf], budget: Duration) -> Result<(), String> {
    let reports = saved_reports(paths, budget)?;
    sampling::compare(server, SystemTime::now(), false, &reports).map_err(|error| error.to_string())
}

/// `watch`: changes as they come, one line each; the status of the last look.
fn watch(cli: &Cli, arguments: &WatchArguments) -> u8 {
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let ended = match ends_on_signal() {
        Ok(ended) => ended,
        Err(line) => return refuse(cli, "watch", &line),
    };
    let file = std::path::absolute(&arguments.record).unwrap_or_else(|_| arguments.record.clone());
    let plan = RecordingPlan {
        every: arguments.every,
        samples: arguments.samples,
        file,
        largest: arguments.largest.saturating_mul(1024 * 1024),
    };
    let shown = crate::parse::text::printable(plan.file.as_os_str().as_encoded_bytes());
    let shows = std::io::stderr().is_terminal() && !cli.output.quiet;
    let mut told = Told { cli, bar: shows.then(bar), ended, looks: 0, written: 0, failures: 0 };
    let last = recording::record(&request, &plan, &mut told);
    if let Some(bar) = &told.bar {
        bar.finish_and_clear();
    }
    let last = match last {
        Ok(last) => last,
        Err(error) => {
            return refuse(
                cli,
                "watch",
                &format!("{shown} cannot be written: {}; name another with --record", said(&error)),
            );
        }
    };
    let Some(envelope) = last else { return EXIT_UNKNOWN };
    if cli.output.is_json() {
        emit_json(&envelope);
    } else if told.written < told.looks {
        complain(&format!("{} of {} looks written to {shown}", told.written, told.looks));
    } else if !cli.output.quiet {
        emit(&format!("{} looks written to {shown}; see `hermes-doctor history {shown}`", told.looks));
    }
    // A record that was not kept is what it was all about.
    if told.written == 0 && told.looks > 0 { EXIT_UNKNOWN } else { envelope.status.exit_code() }
}

/// Tells what changes while it is recorded.
struct Told<'a> {
    cli: &'a Cli,
    bar: Option<indicatif::ProgressBar>,
    ended: Arc<AtomicBool>,
    looks: u64,
    written: u64,
    failures: u64,
}

impl Told<'_> {
    /// Says something above the line that shows that it is alive.
    fn above(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

impl recording::Listener for Told<'_> {
    fn recorded(&mut self, record: &Record, is_written: bool) {
        self.looks += 1;
        self.written += u64::from(is_written);
        if !self.cli.output.is_json() && !self.cli.output.quiet {
            for event in &record.events {
                self.above(|| emit(&format!("{}  {}  {event}", record.at, record.server)));
            }
        }
        if let Some(bar) = &self.bar {
            let (at, server, status) = (&record.at, &record.server, record.status.word());
            let line = format!("look {}, {at}: {server} {status}; Ctrl-C ends it", self.looks);
            bar.set_message(Style::new(false).locale(&line));
            bar.tick();
        }
    }

    fn failed(&mut self, what: &str) {
        self.failures += 1;
        // A full disk would say the same at every look.
        if self.failures <= 3 || self.failures.is_multiple_of(100) {
            self.above(|| complain(&crate::parse::text::printable(what.as_bytes())));
        }
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// `history`: a record read back, judged, and drawn.
fn show_history(cli: &Cli, view: &View, arguments: &HistoryArguments) -> u8 {
    let begun = Instant::now();
    let name = crate::parse::text::printable(arguments.file.as_os_str().as_encoded_bytes());
    let history = match report::record::read(&arguments.file) {
        Ok(history) if history.records.is_empty() => {
            let line = format!("{name} has no look of `hermes-doctor watch` in it; name the file of its --record");
            return refuse(cli, "history", &line);
        }
        Ok(history) => history,
        Err(error) => {
            let line =
                format!("{name} cannot be read: {}; name the file of `hermes-doctor watch --record`", said(&error));
            return refuse(cli, "history", &line);
        }
    };
    if let Some(svg) = &arguments.svg
        && let Err(line) = draw(&history, svg, arguments.force)
    {
        return refuse(cli, "history", &line);
    }
    let mut envelope = report::envelope("history", HostFacts::default(), SystemTime::now());
    envelope.findings = diagnose::history::judge(&history).0;
    envelope.history = Some(history);
    let envelope = report::seal(envelope, begun.elapsed());
    answer(cli, view, &envelope)
}

/// Draws the server that was looked at most.
fn draw(history: &History, path: &Path, force: bool) -> Result<(), String> {
    let name = crate::parse::text::printable(path.as_os_str().as_encoded_bytes());
    let servers = diagnose::history::by_server(history);
    let most = servers.into_iter().max_by_key(|(_, records)| records.len());
    let (server, records) = most.ok_or_else(|| "there is nothing to draw".to_owned())?;
    let text = render::plot::svg(server, &records)?;
    report::write_new(path, text.as_bytes(), force).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{name} is there already; --force writes over it"),
        _ => format!("{name} cannot be written: {}; name another with --svg", said(&error)),
    })
}

/// Set by Ctrl-C and its like, so that what was seen until then is summed up.
fn ends_on_signal() -> Result<Arc<AtomicBool>, String> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| format!("signals cannot be caught: {error}"))?;
    }
    Ok(ended)
}

/// Samples as they come: one line that is drawn anew on a terminal, a row each otherwise.
struct Rows<'a> {
    cli: &'a Cli,
    style: Style,
    bar: Option<indicatif::ProgressBar>,
    ended: Arc<AtomicBool>,
    is_first: bool,
}

impl Watcher for Rows<'_> {
    fn sample(&mut self, sample: &Sample, trend: &Trend) {
        if let Some(bar) = &self.bar {
            bar.set_message(render::samples::live(sample, trend, self.style));
            bar.tick();
        } else if self.cli.output.is_text() && !self.cli.output.quiet {
            if std::mem::take(&mut self.is_first) {
                emit(&render::samples::heading());
            }
            emit(&render::samples::row(sample, trend));
        }
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// Prints an envelope the way it was asked for.
fn answer(cli: &Cli, view: &View, envelope: &Envelope) -> u8 {
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
    let nothing = || nothing_examined(command, Gap::new("selection", GapReason::NotFound, line));
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
        Ok(envelope) => answer(cli, view, &envelope),
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
            answer(cli, view, &envelope)
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
    answer(cli, view, &envelope)
}

/// Colour on a terminal that can show it, unless told otherwise (no-color.org).
fn use_colour(when: When, is_terminal: bool) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            is_terminal
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// Writes to standard output; a reader that went away is no error of ours.
pub(super) fn emit(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    let _ = out.flush();
}

/// The same for an envelope as JSON.
fn emit_json(envelope: &Envelope) {
    let mut out = BufWriter::with_capacity(16 * 1024, std::io::stdout().lock());
    let _ = render::write_json(envelope, &mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// An error of the system in words, without its number and what is said after it.
pub(super) fn said(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

pub(super) fn complain(line: &str) {
    let line = Style::new(false).locale(line);
    let _ = writeln!(std::io::stderr().lock(), "hermes-doctor: {line}");
}

/// A line on standard error that is drawn again and again, in characters of the locale.
fn bar() -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new_spinner();
    // The last one is that of a line that is over.
    let drawn = Style::new(false).pick("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ", "-\\|/ ");
    bar.with_style(indicatif::ProgressStyle::default_spinner().tick_chars(drawn))
}

/// Progress on standard error, on a terminal only, for what is not over at once.
struct Spinner {
    bar: Option<indicatif::ProgressBar>,
    ended: Option<Arc<AtomicBool>>,
}

impl Spinner {
    fn new(cli: &Cli) -> Self {
        let shows = std::io::stderr().is_terminal() && !cli.output.quiet && cli.selection.from.is_empty();
        let bar = shows.then(|| {
            let bar = bar();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, ended: None }
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
            bar.set_message(Style::new(false).locale(what));
        }
    }

    fn is_over(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_alone_is_read_as_among_all() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for line in [
            "hermes-doctor check",
            "hermes-doctor fds --pid 7 --all --json",
            "hermes-doctor fds --samples 3 --every 1s --home /h --kind webui --color never -v",
            "hermes-doctor health --url http://127.0.0.1:8787 --route /a --route /b --timeout 1s --budget 3s --deep",
            "hermes-doctor port 8787 --all-holders -q -o x",
            "hermes-doctor report --from a.json --redact paranoid --markdown",
            "hermes-doctor lineage --expect none --observe 2s",
            "hermes-doctor watch --record x",
            "hermes-doctor db --file x",
            "hermes-doctor stacks --pid 7 --from a --from b",
        ] {
            let alone = parsed_by_its_command(&words(line)).unwrap_or_else(|| panic!("{line}"));
            let among_all = Cli::try_parse_from(words(line)).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(format!("{alone:?}"), format!("{among_all:?}"), "{line}");
        }
        // What the whole parser has to say something about.
        for line in [
            "hermes-doctor",
            "hermes-doctor --port 8787 fds",
            "hermes-doctor --version",
            "hermes-doctor fds --help",
            "hermes-doctor fds --version",
            "hermes-doctor fds --nonsense",
            "hermes-doctor fds check",
            "hermes-doctor fdss",
            "hermes-doctor explain close-wait-leak --format json",
            "hermes-doctor fds --all --top 3",
        ] {
            assert!(parsed_by_its_command(&words(line)).is_none(), "{line}");
        }
    }
}
