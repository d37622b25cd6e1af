//! Runs a command up to its envelope, which the front ends print.

use super::Cli;
use crate::collect::replay::ReplayError;
use crate::collect::{Deadline, replay, this_host};
use crate::examine::{Progress, Request, examine, replaying, sampling};
use crate::model::text::printable;
use crate::model::{Envelope, Explanation, Gap, GapReason, GapSubject, HostFacts, Status};
use crate::report;
use crate::wording::{self, catalogue};
use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Examines the servers of the request, on this host or in a saved report.
///
/// # Errors
/// A gap with a one-line message, when nothing can be examined at all.
pub fn examine_until(
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

/// The gap of an examination that could not be made.
pub fn refusal(line: String) -> Gap {
    Gap::new("selection", GapReason::NotFound, line)
}

/// Diagnoses a saved report instead of the host; of two reports the later, with the growth since the earlier.
fn replayed(cli: &Cli, request: &Request) -> Result<Envelope, String> {
    let mut reports = saved_reports(&cli.selection.from, cli.budget())?;
    // The later report is the current one, whatever the order of the arguments.
    reports.sort_by_key(|(_, report)| report.started_at.time());
    let Some((name, last)) = reports.pop() else { return Err("no report was named".to_owned()) };
    let mut envelope = replaying::replay(last, request).map_err(|error| format!("{name}: {error}"))?;
    if !reports.is_empty() {
        let now = envelope.started_at.time().ok_or_else(|| format!("{name}: invalid `started_at`"))?;
        let is_hidden = crate::redact::is_hidden(&envelope);
        for server in &mut envelope.servers {
            sampling::compare(server, now, is_hidden, &reports).map_err(|error| error.to_string())?;
            crate::redact::mask(server);
            wording::judge(server);
        }
        let elapsed = Duration::from_millis(envelope.elapsed_ms);
        envelope = report::seal(envelope, elapsed);
    }
    Ok(envelope)
}

/// The name that means standard input instead of a saved report.
pub const STANDARD_INPUT: &str = "-";

/// Maximum time without data on standard input: the other end may be examining a host, or asking for a
/// password.
const INPUT_TIMEOUT: Duration = Duration::from_secs(120);

/// Reads a saved report from standard input.
fn read_input() -> Result<Envelope, ReplayError> {
    let unread = |error: &std::io::Error| ReplayError::Unreadable(Gap::from_io(GapSubject::StandardInput, error));
    let mut bytes = Vec::new();
    while bytes.len() <= replay::MAX_REPORT_BYTES {
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

/// Reads saved reports, each with the name of its file.
pub fn saved_reports(paths: &[PathBuf], budget: Duration) -> Result<Vec<(String, Envelope)>, String> {
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

/// The envelope of a run that could not examine anything.
pub fn nothing_examined(command: &str, gap: Gap) -> Envelope {
    let mut envelope = report::envelope(command, HostFacts::default(), SystemTime::now());
    envelope.host.os = std::env::consts::OS.to_owned().into();
    envelope.host.arch = std::env::consts::ARCH.to_owned().into();
    envelope.gaps.push(gap);
    report::seal(envelope, Duration::ZERO)
}

/// The catalogue entry of one finding, or all entries.
///
/// # Errors
/// A one-line message with similar ids.
pub fn explained(id: Option<&str>) -> Result<Envelope, String> {
    let entries: Vec<&catalogue::Entry> = match id {
        None => catalogue::CATALOGUE.iter().collect(),
        Some(id) => match catalogue::entry(id) {
            Some(entry) => vec![entry],
            None => {
                let similar = catalogue::similar(id);
                let hint = if similar.is_empty() {
                    "`hermes-doctor explain` lists all ids".to_owned()
                } else {
                    format!("did you mean {}?", similar.join(", "))
                };
                let shown = crate::model::text::printable(id.as_bytes());
                let shown = if id.is_empty() { "\"\"".to_owned() } else { format!("{shown:?}") };
                return Err(format!("no finding has the id {shown}; {hint}"));
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
