//! Findings and facts as a person or a program reads them. It decides nothing.

mod check;
mod demo;
mod explain;
mod facts;
mod style;
mod table;
mod tree;
mod words;

pub use demo::heading as demo_heading;
pub use style::Style;

use crate::model::{Envelope, Part};

/// How a person wants to see it.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Colour, width and characters.
    pub style: Style,
    /// Every fact with its source.
    pub verbose: bool,
    /// The verdict only.
    pub quiet: bool,
    /// Rows of targets.
    pub top: usize,
}

/// One envelope as JSON, indented: attachments are read by people too.
pub fn json(envelope: &Envelope) -> String {
    serde_json::to_string_pretty(envelope).unwrap_or_else(|error| {
        // Cannot happen with these types; still not a reason to print nothing.
        format!(
            "{{\"schema\":\"{}\",\"status\":\"unknown\",\"gaps\":[{{\"what\":\"JSON\",\"detail\":\"{error}\"}}]}}",
            envelope.schema
        )
    })
}

/// One envelope for people.
pub fn people(envelope: &Envelope, view: &View) -> String {
    let mut out = String::new();
    if !envelope.explanations.is_empty() {
        return explain::show(&envelope.explanations, view);
    }
    if !envelope.demonstrations.is_empty() {
        return demo::table(&envelope.demonstrations, view);
    }
    out.push_str(&check::overview(envelope, view));
    for server in &envelope.servers {
        if !out.is_empty() && !out.ends_with("\n\n") {
            out.push('\n');
        }
        out.push_str(&check::heading(server, view));
        if !view.quiet {
            match server.examined.as_slice() {
                [Part::Descriptors] => out.push_str(&facts::descriptors(server, view)),
                [Part::Lineage] => out.push_str(&facts::lineage(server, view)),
                [Part::Health] => out.push_str(&facts::health(server, view)),
                [Part::Port] => out.push_str(&facts::port(server, view)),
                _ if view.verbose => out.push_str(&facts::everything(server, view)),
                _ => {}
            }
        }
        out.push_str(&check::verdict(server, view));
    }
    out.push_str(&check::host(envelope, view));
    out
}
