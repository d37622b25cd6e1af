//! Prints the result of a command, or the reason why there is none.

use super::fleet;
use super::terminal::{Spinner, complain, emit, emit_json, ends_on_signal};
use crate::collect::Deadline;
use crate::command::{Cli, EXIT_UNKNOWN, Format, examine_until, nothing_examined, refusal};
use crate::examine::Request;
use crate::model::{Envelope, Gap};
use crate::render::{self, View};

/// Examines, with progress on a terminal.
///
/// # Errors
/// A gap with a one-line message, when nothing can be examined at all.
pub fn examined(cli: &Cli, request: &Request) -> Result<Envelope, Gap> {
    let mut spinner = Spinner::new(cli);
    // On Ctrl-C the results so far are summarised.
    spinner.ended = request.repetition.and_then(|_| ends_on_signal().ok());
    let result = examine_until(cli, request, Deadline::after(request.budget), &spinner);
    spinner.clear();
    result
}

/// Prints an envelope in the requested format.
pub fn answer(cli: &Cli, view: &View, envelope: Envelope) -> u8 {
    let envelope = &envelope;
    match cli.output.form() {
        Format::Json => emit_json(envelope),
        Format::Text => emit(&render::people(envelope, view)),
        Format::Nagios => return fleet::plugin(envelope),
        Format::Openmetrics => return fleet::metrics(cli, envelope),
    }
    envelope.status.exit_code()
}

/// Prints a one-line message when nothing can be examined at all.
pub fn refuse(cli: &Cli, command: &'static str, line: &str) -> u8 {
    refuse_with(cli, command, refusal(line.to_owned()))
}

/// Does the same as [`refuse`], with a gap that contains the message and the reason.
pub fn refuse_with(cli: &Cli, command: &'static str, gap: Gap) -> u8 {
    let line = gap.detail.to_string();
    let nothing = || nothing_examined(command, gap.clone());
    match cli.output.form() {
        Format::Json => emit(&render::json(&nothing())),
        Format::Text => complain(&line),
        Format::Nagios => emit(&render::nagios::nothing(&line)),
        Format::Openmetrics => {
            complain(&line);
            // Old numbers must not remain for a host that could not be examined.
            return fleet::metrics(cli, &nothing());
        }
    }
    EXIT_UNKNOWN
}
