//! A report as a comment on an issue: the verdict, the facts in folded sections, and the JSON for a later
//! diagnosis.
//!
//! Untrusted text is in code only, where nothing mentions a user, links or ends a block. It has no backticks,
//! which alone could end code (CommonMark, 4.5 and 6.1).

use super::{Style, View, databases, facts, samples, words};
use crate::model::{Envelope, Gap, NextStep, Server};
use crate::wording::{self, Cause};
use serde_json::Value;

/// Maximum length of the comment in characters; GitHub accepts 65,536.
const MAX_LENGTH: usize = 60_000;
/// Space reserved for the note that something did not fit, in characters.
const RESERVE: usize = 600;
/// Maximum length of a list of findings, steps or gaps.
const MAX: usize = 60;
/// Maximum length of untrusted text on a line.
const MAX_LINE: usize = 400;
/// Width of the tables.
const WIDTH: usize = 100;

/// The whole comment.
pub fn markdown(envelope: &Envelope) -> String {
    let mut page = Page { text: heading(envelope), length: 0, left_out: Vec::new() };
    page.length = page.text.chars().count();
    for server in &envelope.servers {
        page.add(&verdict(server), "the verdict of a server");
    }
    page.add(&host(envelope), "the findings of the host");
    // The JSON matters more than the tables, which can be rendered from it.
    let json = json_block(envelope);
    let json_fits = page.fits(&json);
    let reserved = if json_fits { json.chars().count() } else { 0 };
    page.length += reserved;
    for server in &envelope.servers {
        for (title, text) in sections(server) {
            page.add(&folded(&format!("{title}: {}", name(server)), &fence("text", &text)), title);
        }
    }
    if !envelope.databases.is_empty() {
        page.add(
            &folded("Databases", &fence("text", &databases::databases(&envelope.databases, &view()))),
            "Databases",
        );
    }
    page.length -= reserved;
    if json_fits {
        page.text.push_str(&json);
    } else {
        page.left_out.insert(
            0,
            "the JSON (attach the file that `hermes-doctor report -o hermes-report.json` writes)".into(),
        );
    }
    if !page.left_out.is_empty() {
        let left_out: String = page.left_out.join(", ").chars().take(RESERVE - 100).collect();
        page.text.push_str(&format!("\nNot in this comment, which would be too long: {left_out}.\n"));
    }
    page.text
}

/// The comment under construction.
struct Page {
    text: String,
    /// In characters, including reserved space.
    length: usize,
    left_out: Vec<String>,
}

impl Page {
    fn fits(&self, text: &str) -> bool {
        self.length + text.chars().count() + RESERVE <= MAX_LENGTH
    }

    fn add(&mut self, text: &str, what: &str) {
        if self.fits(text) {
            self.text.push_str(text);
            self.length += text.chars().count();
        } else if !self.left_out.iter().any(|known| known == what) {
            self.left_out.push(what.to_owned());
        }
    }
}

fn view() -> View {
    View { style: Style::plain(WIDTH, true), verbose: true, quiet: false, top: 20 }
}

/// Untrusted text within a line.
fn code(text: &str) -> String {
    let plain: String = text
        .chars()
        .map(|character| match character {
            '`' => '\'',
            character if character.is_control() => ' ',
            character => character,
        })
        .take(MAX_LINE)
        .collect();
    let plain = plain.trim();
    if plain.is_empty() { "`-`".to_owned() } else { format!("`{plain}`") }
}

/// A block of untrusted text.
fn fence(language: &str, text: &str) -> String {
    format!("```{language}\n{}\n```\n", text.trim_matches('\n').replace('`', "'"))
}

/// A folded section.
fn folded(title: &str, body: &str) -> String {
    format!("\n<details>\n<summary>{}</summary>\n\n{body}\n</details>\n", escape(title))
}

/// It is only used for titles of this program and names of kinds; escaped for safety.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn heading(envelope: &Envelope) -> String {
    let host = &envelope.host;
    let kernel = host.kernel.as_deref().map_or(String::new(), |kernel| format!(" {kernel}"));
    let hidden = match envelope.redaction.as_ref().map(|redaction| redaction.level.as_str()) {
        Some("default") => "; names, addresses and secrets are redacted",
        Some("paranoid") => "; names, addresses, secrets and times are redacted",
        _ => "; **names are not redacted**",
    };
    format!(
        "### hermes-doctor: {}\n\n{} on {}, {}, examined in {}{hidden}\n",
        envelope.status.word(),
        code(&format!("{} {}", envelope.tool.name, envelope.tool.version)),
        code(&format!("{}{kernel} {}", host.os, host.arch)),
        code(envelope.started_at.as_str()),
        words::duration(envelope.elapsed_ms),
    )
}

/// Kind, pid and port, none of which is untrusted text.
fn name(server: &Server) -> String {
    let pid = server.pid.map_or(", no process".to_owned(), |pid| format!(" pid {pid}"));
    let port = server.port.map_or(String::new(), |port| format!(", port {port}"));
    format!("{}{pid}{port}", server.kind.title())
}

fn verdict(server: &Server) -> String {
    let mut out = format!("\n#### {}: {}\n\n", name(server), server.status.word());
    let verdict = wording::verdict(server);
    for (index, root) in verdict.roots.iter().take(MAX).enumerate() {
        let label = if index == 0 { "Root cause" } else { "Also" };
        out.push_str(&format!("- **{label}** {} ({})\n", code(&root.finding.title), code(&root.finding.id)));
        consequences(&mut out, root, 1);
    }
    if verdict.roots.is_empty() {
        out.push_str(&format!("- {}\n", verdict.summary));
    }
    for note in verdict.notes.iter().take(MAX) {
        out.push_str(&format!("- Note: {} ({})\n", code(&note.title), code(&note.id)));
    }
    out.push_str(&steps(&verdict.steps_in_report()));
    out.push_str(&not_seen(&server.gaps));
    out
}

fn consequences(out: &mut String, cause: &Cause<'_>, depth: usize) {
    for effect in cause.effects.iter().take(MAX) {
        let indent = "  ".repeat(depth.min(12));
        out.push_str(&format!("{indent}- so {} ({})\n", code(&effect.finding.title), code(&effect.finding.id)));
        consequences(out, effect, depth + 1);
    }
}

fn steps(seen: &[&NextStep]) -> String {
    if seen.is_empty() {
        return String::new();
    }
    let mut out = String::from("\nNext steps:\n\n");
    for (index, step) in seen.iter().take(MAX).enumerate() {
        let command = step.command.as_deref().map_or(String::new(), |command| format!(": {}", code(command)));
        out.push_str(&format!("{}. {}{command}\n", index + 1, code(&step.what)));
    }
    out
}

fn not_seen(gaps: &[Gap]) -> String {
    if gaps.is_empty() {
        return String::new();
    }
    let mut out = String::from("\nNot checked:\n\n");
    for gap in gaps.iter().take(MAX) {
        let detail = if gap.has_detail() { format!(" ({})", code(&gap.detail.to_string())) } else { String::new() };
        out.push_str(&format!("- {}: {}{detail}\n", code(&gap.what.to_string()), gap.reason.words()));
    }
    if gaps.len() > MAX {
        out.push_str(&format!("- and {} more\n", gaps.len() - MAX));
    }
    out
}

/// Findings and gaps of the host as a whole.
fn host(envelope: &Envelope) -> String {
    let mut out = String::new();
    if !envelope.findings.is_empty() {
        out.push_str("\n#### The host\n\n");
        for finding in envelope.findings.iter().take(MAX) {
            out.push_str(&format!("- {} ({})\n", code(&finding.title), code(&finding.id)));
        }
    }
    out.push_str(&not_seen(&envelope.gaps));
    out
}

/// Facts of one server, each in the format of its subcommand.
fn sections(server: &Server) -> Vec<(&'static str, String)> {
    let view = view();
    let over_time = server.trend.as_ref().map_or(String::new(), |trend| {
        format!("{}\n{}", samples::trend(trend, &view), samples::growth_lines(&server.growth, &view))
    });
    let mut found = vec![
        ("Evidence", evidence(server)),
        ("Lineage", facts::lineage(server, &view)),
        ("Port", facts::port(server, &view)),
        ("Descriptors", facts::descriptors(server, &view)),
        ("Databases", databases::databases(&server.databases, &view)),
        ("HTTP", facts::health(server, &view)),
        ("Over time", over_time),
        ("Passed", words::wrap(&server.passed.join(", "), WIDTH).join("\n")),
    ];
    found.retain(|(_, text)| !text.trim().is_empty());
    found
}

fn evidence(server: &Server) -> String {
    let mut out = String::new();
    for finding in &server.findings {
        out.push_str(&format!("{} ({:?})\n", finding.id, finding.severity));
        for item in &finding.evidence {
            let value = match &item.value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            for line in words::wrap(&format!("{}: {value}   [{}]", item.fact, item.source), WIDTH - 2) {
                out.push_str(&format!("  {line}\n"));
            }
        }
    }
    out
}

/// The report as JSON on one line. Characters that could end the block, or be read as a tag where the block is
/// not shown as code, are written as numeric escapes, which have the same meaning in JSON.
fn json_block(envelope: &Envelope) -> String {
    let json = serde_json::to_string(envelope).unwrap_or_default();
    let json = json
        .replace('`', "\\u0060")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('@', "\\u0040");
    folded("The report as JSON, for hermes-doctor --from", &format!("```json\n{json}\n```\n"))
}
