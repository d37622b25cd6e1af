//! Output for monitoring systems. It leaves the host automatically and repeatedly, so it is redacted first.

use super::terminal::{complain, emit};
use crate::command::{Cli, EXIT_UNKNOWN, cause_of};
use crate::examine::redacted;
use crate::model::Envelope;
use crate::model::text::printable;
use crate::redact::{Level, host_names};
use crate::render::{self, fleet, openmetrics};
use crate::report;
use std::io::ErrorKind;

/// `--format nagios`: the output of a plugin. Its exit status is the one in the text.
pub fn plugin(envelope: &Envelope) -> u8 {
    // Placeholders are numbered again in each report; the names of servers are stable.
    let names = fleet::names(envelope);
    let hidden = redacted(envelope.clone(), Level::Default, &host_names());
    emit(&render::nagios(&hidden, &names));
    hidden.status.exit_code()
}

/// `--format openmetrics`, to standard output, or to a file that replaces the one of the last run.
pub fn metrics(cli: &Cli, envelope: &Envelope) -> u8 {
    let Ok(text) = render::openmetrics(envelope) else {
        complain("cannot write the numbers as metrics");
        return EXIT_UNKNOWN;
    };
    let Some(file) = cli.output.file() else {
        emit(&text);
        return envelope.status.exit_code();
    };
    let name = printable(file.as_os_str().as_encoded_bytes());
    match report::publish(file, text.as_bytes(), openmetrics::BEGIN) {
        Ok(()) => envelope.status.exit_code(),
        Err(error) => {
            complain(&match error.kind() {
                ErrorKind::AlreadyExists => {
                    format!(
                        "refusing to overwrite {name}: not written by hermes-doctor; choose another file with -o"
                    )
                }
                _ => format!("cannot write {name}: {}; choose another file with -o", cause_of(&error)),
            });
            EXIT_UNKNOWN
        }
    }
}
