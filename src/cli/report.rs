//! `report`: the facts of `check`, redacted and in the form of an attachment.

use super::answer::{examined, refuse, refuse_with};
use super::terminal::{complain, emit};
use crate::collect::worker::answers;
use crate::command::{Cli, EXIT_UNKNOWN, ReportArguments, cause_of};
use crate::examine::redacted_with_map;
use crate::model::text::printable;
use crate::model::{Envelope, Redaction};
use crate::redact::{Level, host_names};
use crate::render::{self, View};
use crate::report;
use crate::report::place::Place;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;

/// Examines, redacts, asks for approval if requested, and writes. The status is that of the verdict, and
/// unknown if nothing was written.
pub fn write(cli: &Cli, view: &View, arguments: &ReportArguments) -> u8 {
    let Some(request) = cli.request() else { return EXIT_UNKNOWN };
    let file = cli.output.file();
    let level = Level::from(arguments.redact);
    // Errors that are predictable are reported before the examination.
    let refused = file.and_then(|file| unusable(file, arguments.force));
    if let Some(line) = refused.or_else(|| refuses_to_show(level, arguments.yes)) {
        return refuse(cli, request.command, &line);
    }
    let (envelope, map) = match examined(cli, &request) {
        Ok(envelope) => redacted_with_map(envelope, level, &host_names()),
        Err(gap) => return refuse_with(cli, request.command, gap),
    };
    let text = match (arguments.markdown, arguments.html) {
        (true, _) => render::markdown(&envelope),
        (_, true) => render::html(&envelope),
        _ => render::json(&envelope),
    };
    if arguments.review && !is_approved(&envelope, &map, &text, arguments, view) {
        complain("nothing was written");
        return EXIT_UNKNOWN;
    }
    let Some(file) = file else {
        emit(&text);
        return envelope.status.exit_code();
    };
    let name = printable(file.as_os_str().as_encoded_bytes());
    if let Err(error) = report::write_new(file, text.as_bytes(), arguments.force) {
        let line = match error.kind() {
            ErrorKind::AlreadyExists => already_there(&name),
            _ => format!("cannot write {name}: {}; choose another file with -o", cause_of(&error)),
        };
        return refuse(cli, request.command, &line);
    }
    if !cli.output.quiet && !cli.output.is_json() {
        emit(&written(&envelope, &name, text.len(), level));
    }
    envelope.status.exit_code()
}

fn already_there(name: &str) -> String {
    format!("{name} exists already; use --force to overwrite it")
}

/// Why a file cannot be written, as far as can be checked without writing.
fn unusable(file: &Path, force: bool) -> Option<String> {
    let name = printable(file.as_os_str().as_encoded_bytes());
    if let Err(error) = answers(file) {
        return Some(format!("cannot write {name}: {}; choose another file with -o", cause_of(&error)));
    }
    let place = match Place::find(file) {
        Ok(place) => place,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            let directory = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let directory = printable(directory.as_os_str().as_encoded_bytes());
            return Some(format!(
                "{directory} is not an existing directory; choose a file in an existing directory with -o"
            ));
        }
        Err(error) => {
            return Some(format!("cannot write {name}: {}; choose another file with -o", cause_of(&error)));
        }
    };
    // A link counts as an existing file, wherever it leads.
    match std::fs::symlink_metadata(place.path()) {
        Ok(found) if found.is_dir() => Some(format!("{name} is a directory; name a file in it with -o")),
        Ok(_) if !force => Some(already_there(&name)),
        _ => None,
    }
}

/// An unredacted report requires an explicit confirmation.
fn refuses_to_show(level: Level, yes: bool) -> Option<String> {
    if level != Level::None || yes {
        return None;
    }
    let question = "the report will contain names of people, hosts, files and addresses; write it?";
    match ask(question) {
        Some(true) => None,
        Some(false) => Some("nothing was written; without --redact none, names are redacted".to_owned()),
        None => Some(
            "--redact none needs a confirmation, and there is no terminal; add --yes to write the report"
                .to_owned(),
        ),
    }
}

/// The answer of the user; `None` without a terminal.
fn ask(question: &str) -> Option<bool> {
    let (stdin, mut stderr) = (std::io::stdin(), std::io::stderr());
    if !stdin.is_terminal() || !stderr.is_terminal() {
        return None;
    }
    let _ = write!(stderr, "hermes-doctor: {question} [y/N] ").and_then(|()| stderr.flush());
    let mut answer = String::new();
    let is_read = stdin.read_line(&mut answer).is_ok();
    Some(is_read && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Shows the report and its placeholders, and asks for approval. Without a terminal nothing is written.
fn is_approved(
    envelope: &Envelope,
    map: &[(String, String)],
    text: &str,
    arguments: &ReportArguments,
    view: &View,
) -> bool {
    let redaction = envelope.redaction.clone().unwrap_or_default();
    let mut shown = review(envelope, &redaction, text, view);
    // Elsewhere the names could be sent with the report.
    if std::io::stderr().is_terminal() {
        shown.push_str(&meanings(map, text, view));
    }
    let shown = std::io::stderr().lock().write_all(shown.as_bytes());
    // A text that was not shown was not reviewed.
    if shown.is_err() {
        return false;
    }
    if arguments.yes {
        return true;
    }
    ask("write it?").unwrap_or_else(|| {
        complain("there is no terminal for the question; add --yes to write the report");
        false
    })
}

fn review(envelope: &Envelope, redaction: &Redaction, text: &str, view: &View) -> String {
    let gaps = envelope.gaps.len() + envelope.servers.iter().map(|server| server.gaps.len()).sum::<usize>();
    let findings =
        envelope.findings.len() + envelope.servers.iter().map(|server| server.findings.len()).sum::<usize>();
    let mut out = format!(
        "The report: {} bytes; {}, {}, {}\n",
        text.len(),
        counted(envelope.servers.len(), "server"),
        counted(findings, "finding"),
        counted(gaps, "gap")
    );
    for server in &envelope.servers {
        let parts = [
            ("process", server.process.is_some()),
            ("lineage", server.lineage.is_some()),
            ("port", server.listeners.is_some()),
            ("descriptors", server.descriptors.is_some()),
            ("databases", !server.databases.is_empty()),
            ("HTTP", server.health.is_some()),
            ("samples", server.trend.is_some()),
        ];
        let has: Vec<&str> = parts.into_iter().filter(|(_, has)| *has).map(|(part, _)| part).collect();
        let pid = server.pid.map_or("no process".to_owned(), |pid| format!("pid {pid}"));
        out.push_str(&format!("  {} {pid}: {}\n", server.kind.title(), has.join(", ")));
    }
    out.push_str(&format!("Redacted (--redact {}):\n", redaction.level));
    for hidden in &redaction.hidden {
        let placeholder = match (hidden.placeholder.as_str(), hidden.distinct) {
            (alone @ ("~" | crate::parse::mask::MASK), _) => alone.to_owned(),
            (prefix, 1) => format!("{prefix}-N"),
            (prefix, distinct) => format!("{prefix}-N ({distinct} different)"),
        };
        let times = if hidden.times == 1 { "once".to_owned() } else { format!("{} times", hidden.times) };
        let line = format!("  {placeholder:<26} {}, {times}", hidden.stands_for);
        out.push_str(&format!("{}\n", view.style.locale(&line)));
    }
    if redaction.hidden.is_empty() {
        out.push_str("  nothing\n");
    }
    out
}

/// A number with its noun.
fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// The placeholders in the report with the names that they replace.
fn meanings(map: &[(String, String)], text: &str, view: &View) -> String {
    let lines: Vec<String> = map
        .iter()
        .filter(|(placeholder, _)| text.contains(placeholder.as_str()))
        .map(|(placeholder, name)| {
            format!("  {placeholder:<26} {}\n", view.style.locale(&printable(name.as_bytes())))
        })
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("Names of the placeholders (only on this terminal, not in the report):\n{}", lines.concat())
}

/// A summary of the findings, and the path of the report.
fn written(envelope: &Envelope, name: &str, bytes: usize, level: Level) -> String {
    let roots: Vec<&str> =
        envelope.servers.iter().flat_map(|server| &server.root_causes).map(String::as_str).collect();
    let roots = if roots.is_empty() { String::new() } else { format!(" ({})", roots.join(", ")) };
    let hidden = match level {
        Level::None => "names are NOT redacted",
        _ => "names, addresses and secrets are redacted",
    };
    format!(
        "{}{roots}\n{name}: {} KiB; {hidden}; read it before you send it",
        envelope.status.word(),
        bytes.div_ceil(1024)
    )
}
