//! Source of the facts, if they are from a saved report.

use super::{View, words};
use crate::model::{Envelope, Replayed};

/// When, where and by which program the report was recorded, and what the rules of this version change.
pub fn notice(envelope: &Envelope, replayed: &Replayed, view: &View) -> String {
    let host = &envelope.host;
    let kernel = host.kernel.as_deref().map_or(String::new(), |kernel| format!(" {kernel}"));
    let mut lines = vec![format!(
        "Report of {}, {} {}, on {}{kernel} {}",
        envelope.started_at, replayed.tool.name, replayed.tool.version, host.os, host.arch
    )];
    if view.quiet {
        lines.clear();
    }
    let own: Vec<&str> =
        envelope.servers.iter().flat_map(|server| &server.root_causes).map(String::as_str).collect();
    if !own.iter().copied().eq(replayed.root_causes.iter().map(|id| id.as_str()))
        && replayed.command == envelope.command
    {
        let said = if replayed.root_causes.is_empty() {
            "no problems".to_owned()
        } else {
            replayed.root_causes.join(", ")
        };
        lines.push(format!(
            "Its status was {} ({said}); the verdict below follows from the rules of this program",
            replayed.status.word()
        ));
    }
    if !replayed.newer_rules.is_empty() && !view.quiet {
        lines.push(format!("Checks that it did not have: {}", replayed.newer_rules.join(", ")));
    }
    if replayed.is_newer {
        lines.push("It was written by a newer hermes-doctor; fields and values that this version does not know are left out".to_owned());
    }
    let mut out = String::new();
    for line in lines {
        for (index, part) in
            words::wrap(&view.style.locale(&line), view.style.width().saturating_sub(2)).iter().enumerate()
        {
            out.push_str(&format!("{}{}\n", if index == 0 { "" } else { "  " }, view.style.dim(part)));
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}
