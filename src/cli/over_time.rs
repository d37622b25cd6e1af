//! The commands that run for some time: `fds` over time, `watch`, and `history`, which reads the record of
//! `watch`.

use super::answer::{answer, examined, refuse, refuse_with};
use super::terminal::{bar, complain, emit, emit_json, ends_on_signal, is_output_lost};
use crate::collect::Deadline;
use crate::command::{Cli, EXIT_UNKNOWN, FdsArguments, HistoryArguments, WatchArguments, cause_of, saved_reports};
use crate::diagnose;
use crate::examine::Request;
use crate::examine::recording::{self, RecordingPlan};
use crate::examine::sampling::{self, ExercisePlan, SamplingPlan, Watcher};
use crate::model::{Batch, Envelope, History, HostFacts, Os, Record, Sample, Server, Trend};
use crate::render::{self, Style, View};
use crate::report;
use crate::target::Selection;
use crate::wording;
use std::collections::HashMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// `fds`: once, or over time.
pub fn fds(cli: &Cli, view: &View, arguments: &FdsArguments) -> u8 {
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let begun = Instant::now();
    let mut envelope = match examined(cli, &request) {
        Ok(envelope) => envelope,
        Err(gap) => return refuse_with(cli, request.command, gap),
    };
    let (sampling, exercise) = (arguments.sampling(), arguments.exercise(cli.examination.timeout));
    if sampling.is_none() && exercise.is_none() && arguments.compare.is_empty() {
        return answer(cli, view, envelope);
    }
    let several = envelope.servers.len();
    let [server] = envelope.servers.as_mut_slice() else {
        let line = match several {
            0 => "there is no server to examine; name one with --pid, --port or --home".to_owned(),
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
    crate::redact::mask(server);
    wording::judge(server);
    let envelope = report::seal(envelope, begun.elapsed());
    answer(cli, view, envelope)
}

fn watch_descriptors(
    cli: &Cli,
    view: &View,
    server: &mut Server,
    plan: SamplingPlan,
    request: &Request,
) -> Result<(), String> {
    if server.process.is_none() {
        return Err("there is no process with descriptors to examine".to_owned());
    }
    let ended = ends_on_signal()?;
    let mut watcher = Rows { cli, style: view.style, bar: None, ended, is_first: true };
    // On a terminal, rows are not needed besides the progress line and the summary.
    if std::io::stderr().is_terminal() && !cli.output.quiet {
        watcher.bar = Some(bar());
    }
    let is_there = sampling::sample(server, plan, &mut watcher);
    if let Some(bar) = &watcher.bar {
        bar.finish_and_clear();
    }
    if !is_there {
        // After a restart the pid differs; port and home are the same.
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
    sampling::exercise(server, plan, &|| ended.load(Ordering::Relaxed) || is_output_lost(), &mut each)
        .map_err(|error| error.to_string())?;
    let last = server.exercise.as_ref().and_then(|exercise| exercise.batches.last());
    // The server answered before the requests and did not answer the last batch, so its present state is examined.
    if last.is_some_and(|batch| batch.requests > 0 && batch.answered == 0)
        && let Ok(mut found) = examined(cli, request)
        && let ([now], exercise) = (found.servers.as_mut_slice(), server.exercise.take())
    {
        now.exercise = exercise;
        std::mem::swap(server, now);
    }
    Ok(())
}

fn compare_reports(server: &mut Server, paths: &[PathBuf], budget: Duration) -> Result<(), String> {
    let reports = saved_reports(paths, budget)?;
    sampling::compare(server, SystemTime::now(), false, &reports).map_err(|error| error.to_string())
}

/// Prints samples as they are taken: one line that is redrawn on a terminal, else one row each.
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
        // Sampling ends if its rows cannot be written.
        self.ended.load(Ordering::Relaxed) || is_output_lost()
    }
}

/// `watch`: prints changes, one line each, and returns the status of the last sample.
pub fn watch(cli: &Cli, arguments: &WatchArguments) -> u8 {
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
    let shown = crate::model::text::printable(plan.file.as_os_str().as_encoded_bytes());
    let shows = std::io::stderr().is_terminal() && !cli.output.quiet;
    let mut printer =
        ChangePrinter { cli, bar: shows.then(bar), ended, samples: 0, written: 0, failures: HashMap::new() };
    let last = recording::record(&request, &plan, &mut printer);
    if let Some(bar) = &printer.bar {
        bar.finish_and_clear();
    }
    let last = match last {
        Ok(last) => last,
        Err(error) => {
            return refuse(
                cli,
                "watch",
                &format!("cannot write {shown}: {}; choose another file with --record", cause_of(&error)),
            );
        }
    };
    if printer.written < printer.samples {
        complain(&format!("{} of {} samples written to {shown}", printer.written, printer.samples));
    } else if printer.samples > 0 && !cli.output.is_json() && !cli.output.quiet {
        emit(&format!("{} samples written to {shown}; see `hermes-doctor history {shown}`", printer.samples));
    }
    let Some(envelope) = last else {
        return refuse(cli, "watch", "the last sample failed; run `hermes-doctor check` to see the reason");
    };
    if cli.output.is_json() {
        emit_json(&envelope);
    }
    // Without a single written record, the run has failed.
    if printer.written == 0 && printer.samples > 0 { EXIT_UNKNOWN } else { envelope.status.exit_code() }
}

/// Maximum number of distinct failures that are counted.
const MAX_FAILURES: usize = 32;

/// Prints changes during a recording.
struct ChangePrinter<'a> {
    cli: &'a Cli,
    bar: Option<indicatif::ProgressBar>,
    ended: Arc<AtomicBool>,
    samples: u64,
    written: u64,
    /// Number of occurrences of each failure, printed or not.
    failures: HashMap<String, u64>,
}

impl ChangePrinter<'_> {
    /// Prints above the progress line.
    fn above(&self, say: impl FnOnce()) {
        match &self.bar {
            Some(bar) => bar.suspend(say),
            None => say(),
        }
    }
}

impl recording::Listener for ChangePrinter<'_> {
    fn recorded(&mut self, record: &Record, is_written: bool) {
        self.samples += 1;
        self.written += u64::from(is_written);
        if !self.cli.output.is_json() && !self.cli.output.quiet {
            for event in &record.events {
                self.above(|| emit(&format!("{}  {}  {event}", record.at, record.server)));
            }
        }
        if let Some(bar) = &self.bar {
            let (at, server, status) = (&record.at, &record.server, record.status.word());
            let line = format!("sample {}, {at}: {server} {status}; Ctrl-C ends it", self.samples);
            bar.set_message(Style::new(false).locale(&line));
            bar.tick();
        }
    }

    fn text_of(&self, report: &Envelope) -> String {
        render::json(report)
    }

    fn failed(&mut self, what: &str) {
        // Bounds the number of distinct messages, whatever text an error contains.
        if self.failures.len() >= MAX_FAILURES {
            self.failures.clear();
        }
        let times = self.failures.entry(what.to_owned()).or_default();
        *times += 1;
        // A full disk would cause the same message at every sample.
        if *times <= 3 || times.is_multiple_of(100) {
            self.above(|| complain(&crate::model::text::printable(what.as_bytes())));
        }
    }

    fn is_over(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// `history`: reads, diagnoses and plots a record.
pub fn history(cli: &Cli, view: &View, arguments: &HistoryArguments) -> u8 {
    let begun = Instant::now();
    let name = crate::model::text::printable(arguments.file.as_os_str().as_encoded_bytes());
    let history = match report::record::read(&arguments.file, Deadline::after(report::record::MAX_LENGTH)) {
        Ok(history) if history.records.is_empty() => {
            let line = format!(
                "{name} contains no sample of `hermes-doctor watch`; give the file that `watch --record` has written"
            );
            return refuse(cli, "history", &line);
        }
        Ok(history) => history,
        Err(error) => {
            let line = format!(
                "cannot read {name}: {}; give the file that `hermes-doctor watch --record` has written",
                cause_of(&error)
            );
            return refuse(cli, "history", &line);
        }
    };
    if let Some(svg) = &arguments.svg
        && let Err(line) = draw(&history, svg, arguments.force)
    {
        return refuse(cli, "history", &line);
    }
    let mut envelope = report::envelope("history", HostFacts::default(), SystemTime::now());
    envelope.findings = wording::judge_history(&history, Os::named(std::env::consts::OS));
    envelope.history = Some(history);
    let envelope = report::seal(envelope, begun.elapsed());
    answer(cli, view, envelope)
}

/// Plots the server with the most samples.
fn draw(history: &History, path: &Path, force: bool) -> Result<(), String> {
    let name = crate::model::text::printable(path.as_os_str().as_encoded_bytes());
    let servers = diagnose::history::by_server(history);
    let most = servers.into_iter().max_by_key(|(_, records)| records.len());
    let (server, records) = most.ok_or_else(|| "the record has no sample to plot".to_owned())?;
    let text = render::plot::svg(server, &records)?;
    report::write_new(path, text.as_bytes(), force).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => format!("{name} exists already; use --force to overwrite it"),
        _ => format!("cannot write {name}: {}; choose another file with --svg", cause_of(&error)),
    })
}
