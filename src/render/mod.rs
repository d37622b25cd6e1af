//! Output of findings and facts for users and programs. It decides nothing.

mod check;
mod databases;
mod demo;
mod explain;
mod facts;
pub mod fleet;
mod health;
mod history;
mod html;
mod logs;
mod markdown;
pub mod nagios;
pub mod openmetrics;
pub mod plot;
mod replay;
mod resources;
pub mod samples;
mod stacks;
mod style;
mod table;
mod tree;
mod words;

pub use demo::heading as demo_heading;
pub use html::html;
pub use markdown::markdown;
pub use nagios::nagios;
pub use openmetrics::openmetrics;
pub use style::Style;

use crate::model::{Envelope, Part};
use std::io::{self, Write};

/// Display options.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Colour, width and characters.
    pub style: Style,
    /// Every fact with its source.
    pub verbose: bool,
    /// Only the verdict.
    pub quiet: bool,
    /// Maximum number of target rows.
    pub top: usize,
}

/// One envelope as indented JSON, since users read attachments too.
pub fn json(envelope: &Envelope) -> String {
    let mut out = Vec::new();
    let written = write_json(envelope, &mut out);
    written.and_then(|()| String::from_utf8(out).map_err(io::Error::other)).unwrap_or_else(|error| {
        // This cannot happen with these types; if it did, an output is still required.
        format!(
            "{{\"schema\":\"{}\",\"status\":\"unknown\",\"gaps\":[{{\"what\":\"JSON\",\"detail\":\"{error}\"}}]}}",
            envelope.schema
        )
    })
}

/// Writes the JSON in pieces: as one text it would need as much memory again as the envelope.
///
/// # Errors
/// Those of `out`.
pub fn write_json(envelope: &Envelope, out: &mut dyn Write) -> io::Result<()> {
    Ok(serde_json::to_writer_pretty(out, envelope)?)
}

/// One envelope as text for users.
pub fn people(envelope: &Envelope, view: &View) -> String {
    let mut out = String::new();
    if !envelope.explanations.is_empty() {
        return explain::show(&envelope.explanations, view);
    }
    if !envelope.demonstrations.is_empty() {
        return demo::table(&envelope.demonstrations, view);
    }
    if let Some(replayed) = &envelope.replayed {
        out.push_str(&replay::notice(envelope, replayed, view));
    }
    if let Some(history) = &envelope.history {
        out.push_str(&history::show(history, view));
        out.push_str(&check::host(envelope, view));
        return out;
    }
    out.push_str(&check::overview(envelope, view));
    for server in &envelope.servers {
        if !out.is_empty() && !out.ends_with("\n\n") {
            out.push('\n');
        }
        out.push_str(&check::heading(server, view));
        if !view.quiet {
            match server.examined.as_slice() {
                // For a trend the changes are shown, not all targets.
                [Part::Descriptors] if server.trend.is_some() && !view.verbose => {
                    out.push_str(&facts::descriptor_line(server));
                }
                [Part::Descriptors] => out.push_str(&facts::descriptors(server, view)),
                [Part::Lineage] => out.push_str(&facts::lineage(server, view)),
                [Part::Health] => out.push_str(&facts::health(server, view)),
                [Part::Port] => out.push_str(&facts::port(server, view)),
                // They were requested explicitly, in a check too.
                parts if parts.contains(&Part::Stacks) && (parts.len() == 1 || !view.verbose) => {
                    out.push_str(
                        &server.stacks.as_ref().map_or(String::new(), |found| stacks::stacks(found, view)),
                    );
                }
                [Part::Databases] if server.databases.is_empty() => {
                    out.push_str("\n  It has no database, and none is in its home.\n");
                }
                [Part::Databases] => out.push_str(&databases::databases(&server.databases, view)),
                _ if view.verbose => out.push_str(&facts::everything(server, view)),
                _ => {}
            }
        }
        if let Some(trend) = server.trend.as_ref().filter(|_| !view.quiet) {
            out.push_str(&samples::trend(trend, view));
            out.push('\n');
            out.push_str(&samples::growth_lines(&server.growth, view));
        }
        if let Some(exercise) = server.exercise.as_ref().filter(|_| !view.quiet) {
            out.push_str(&samples::exercise(exercise, view));
        }
        out.push_str(&check::verdict(server, view));
    }
    if !envelope.databases.is_empty() && !view.quiet {
        out.push_str(&databases::databases(&envelope.databases, view));
    }
    out.push_str(&check::host(envelope, view));
    out
}
