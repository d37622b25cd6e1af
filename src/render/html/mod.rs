//! A report as one page that stands alone: no script, nothing from elsewhere, every text of a stranger escaped.

mod facts;

use super::words;
use crate::model::{Envelope, Finding, Gap, Server, Severity, Status};
use serde_json::Value;
use std::fmt::Write as _;

/// The looks of the page.
const STYLE: &str = include_str!("style.css");
/// What the browser may do with the page: show it. Drawings stand in it as data, where nothing in them can act.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
/// Deepest nesting that is shown.
const DEEPEST: usize = 32;

/// The whole page.
pub fn html(envelope: &Envelope) -> String {
    let mut page = String::new();
    let title = format!("hermes-doctor report: {}", envelope.status.word());
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n<title>{}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
        escape(POLICY),
        escape(&title)
    );
    page.push_str(&heading(envelope));
    page.push_str("<main>\n");
    for server in &envelope.servers {
        page.push_str(&article(server));
    }
    page.push_str(&host(envelope));
    page.push_str(&hidden(envelope));
    let json = super::json(envelope);
    page.push_str(&folded("The report as JSON", &format!("<pre>{}</pre>", escape(&json)), "class=\"card\""));
    page.push_str("</main>\n<footer>Written by hermes-doctor, which changes nothing on the host.</footer>\n</body>\n</html>\n");
    page
}

/// A text that stays one: in an element and in an attribute.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            character if character.is_control() && character != '\n' => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

fn code(text: &str) -> String {
    format!("<code>{}</code>", escape(text))
}

/// A part that is opened by those who want to read it. The body is markup already.
fn folded(title: &str, body: &str, attributes: &str) -> String {
    format!("<details {attributes}><summary>{}</summary>\n{body}</details>\n", escape(title))
}

fn class(status: Status) -> &'static str {
    match status {
        Status::Healthy => "healthy",
        Status::Warning => "warning",
        Status::Critical => "critical",
        Status::Unknown => "unknown",
    }
}

fn badge(status: Status) -> String {
    format!("<span class=\"badge {}\">{}</span>", class(status), status.word())
}

fn heading(envelope: &Envelope) -> String {
    let host = &envelope.host;
    let mut parts = vec![
        format!("{} {}", envelope.tool.name, envelope.tool.version),
        format!("{} {} {}", host.os, host.kernel.as_deref().unwrap_or_default(), host.arch),
        envelope.started_at.clone(),
        format!("examined in {}", words::duration(envelope.elapsed_ms)),
        if host.root { "as root" } else { "without root" }.to_owned(),
    ];
    if let Some(uptime) = host.uptime_ms {
        parts.push(format!("host up {}", words::duration(uptime)));
    }
    if let Some(init) = &host.init {
        parts.push(format!("pid 1 is {init}"));
    }
    let mut out = format!(
        "<header>\n<h1>hermes-doctor report {}</h1>\n<p>{}</p>\n",
        badge(envelope.status),
        escape(&parts.join(" · "))
    );
    if let Some(replayed) = &envelope.replayed {
        let said = format!(
            "A report of {} {} ({}), judged by the rules of this program; it said {}",
            replayed.tool.name,
            replayed.tool.version,
            replayed.command,
            replayed.status.word()
        );
        let _ = writeln!(out, "<p>{}</p>", escape(&said));
    }
    out + "</header>\n"
}

fn article(server: &Server) -> String {
    let pid = server.pid.map_or("no process".to_owned(), |pid| format!("pid {pid}"));
    let mut about = vec![pid];
    if let Some(process) = &server.process {
        about.extend(process.age_ms.map(|age| format!("up {}", words::duration(age))));
        about.push(process.state.words().to_owned());
        about.extend(process.user.as_ref().map(|user| format!("user {user}")));
        about.extend(
            process
                .threads
                .map(|threads| if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") }),
        );
        about.extend(process.resident_bytes.map(|bytes| format!("{} resident", words::bytes(bytes))));
    }
    about.extend(server.port.map(|port| format!("port {port}")));
    about.extend(server.home.as_ref().map(|home| format!("home {home}")));
    let mut out = format!(
        "<article>\n<h2>{} {}</h2>\n<p class=\"dim\">{}</p>\n",
        server.kind.title(),
        badge(server.status),
        escape(&about.join(" · "))
    );
    if let Some(command) = server.process.as_ref().and_then(|process| process.command.as_deref()) {
        let _ = writeln!(out, "<p>{}</p>", code(command));
    }
    out.push_str(&chain(server));
    out.push_str(&gaps("Not seen", &server.gaps));
    out.push_str(&facts::sections(server));
    if !server.passed.is_empty() {
        let passed: Vec<String> = server.passed.iter().map(|id| code(id)).collect();
        let title = format!("Examined and fine ({})", passed.len());
        out.push_str(&folded(&title, &format!("<p>{}</p>\n", passed.join(" ")), ""));
    }
    out + "</article>\n"
}

/// Root causes with what each has caused, what to do, and notes.
fn chain(server: &Server) -> String {
    let is_root = |finding: &&Finding| server.root_causes.contains(&finding.id) && finding.caused_by.is_empty();
    let roots: Vec<&Finding> = server.findings.iter().filter(is_root).collect();
    let mut out = String::new();
    if roots.is_empty() {
        let verdict = match server.status {
            Status::Unknown => "What decides could not be examined; see below.",
            _ => "No trouble found.",
        };
        let _ = writeln!(out, "<p>{verdict}</p>");
    } else {
        out.push_str("<ul class=\"chain\">\n");
        for (index, root) in roots.iter().enumerate() {
            let label = if index == 0 { "Root cause:" } else { "Also:" };
            link(&mut out, label, root, server, &mut vec![root.id.as_str()]);
        }
        out.push_str("</ul>\n");
    }
    out.push_str(&steps(&roots));
    let is_note = |finding: &&Finding| {
        finding.severity == Severity::Info
            && finding.caused_by.is_empty()
            && !server.root_causes.contains(&finding.id)
    };
    let notes: Vec<&Finding> = server.findings.iter().filter(is_note).collect();
    if !notes.is_empty() {
        out.push_str("<h3>Notes</h3>\n<ul class=\"chain\">\n");
        for note in notes {
            let _ = writeln!(out, "<li>{}</li>", finding(note, ""));
        }
        out.push_str("</ul>\n");
    }
    out
}

/// One finding and, below it, what it has caused.
fn link<'f>(out: &mut String, label: &str, cause: &'f Finding, server: &'f Server, path: &mut Vec<&'f str>) {
    let _ = write!(out, "<li>{}", finding(cause, label));
    // Two findings of one id have the same effects; a saved report could even hold a circle.
    let effects: Vec<&Finding> = server
        .findings
        .iter()
        .filter(|effect| effect.caused_by.first() == Some(&cause.id) && !path.contains(&effect.id.as_str()))
        .collect();
    if !effects.is_empty() && path.len() < DEEPEST {
        out.push_str("\n<ul class=\"chain\">\n");
        for effect in effects {
            path.push(effect.id.as_str());
            link(out, "so", effect, server, path);
            path.pop();
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</li>\n");
}

fn finding(finding: &Finding, label: &str) -> String {
    let class = match finding.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    let mut rows = String::new();
    for item in &finding.evidence {
        let value = match &item.value {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td class=\"dim\">{}</td></tr>",
            escape(&item.fact),
            escape(&value),
            escape(&item.source)
        );
    }
    let evidence = if rows.is_empty() {
        String::new()
    } else {
        let table = format!(
            "<div class=\"scroll\"><table class=\"evidence\"><tr><th>Fact</th><th>Value</th><th>Read from</th></tr>\n{rows}</table></div>\n"
        );
        folded(&format!("Evidence ({})", finding.evidence.len()), &table, "")
    };
    let why = if finding.why.is_empty() { String::new() } else { format!("<p>{}</p>", escape(&finding.why)) };
    format!(
        "<div class=\"finding {class}\"><p class=\"title\"><span class=\"label\">{}</span> {}</p>\
         <p class=\"id\">{} · <span class=\"{class}\">{class}</span></p>{why}{evidence}</div>",
        escape(label),
        escape(&finding.title),
        escape(&finding.id)
    )
}

fn steps(roots: &[&Finding]) -> String {
    let seen = super::distinct_steps(roots);
    if seen.is_empty() {
        return String::new();
    }
    let mut out = String::from("<h3>Do next</h3>\n<ol class=\"steps\">\n");
    for step in seen {
        let command = step.command.as_deref().map_or(String::new(), code);
        let _ = writeln!(out, "<li>{} {command}</li>", escape(&step.what));
    }
    out + "</ol>\n"
}

fn gaps(title: &str, gaps: &[Gap]) -> String {
    if gaps.is_empty() {
        return String::new();
    }
    let mut out = format!(
        "<h3>{title}</h3>\n<div class=\"scroll\"><table><tr><th>What</th><th>Why</th><th>Undecided without it</th>\
         <th class=\"number\">Tried for</th></tr>\n"
    );
    for gap in gaps {
        let why = match gap.detail.as_str() {
            "" => gap.reason.words().to_owned(),
            detail => format!("{}: {detail}", gap.reason.words()),
        };
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td class=\"number\">{} ms</td></tr>",
            escape(&gap.what),
            escape(&why),
            escape(&gap.blocks.join(", ")),
            gap.elapsed_ms
        );
    }
    out + "</table></div>\n"
}

/// Findings, gaps and databases of the host as a whole.
fn host(envelope: &Envelope) -> String {
    if envelope.findings.is_empty() && envelope.gaps.is_empty() && envelope.databases.is_empty() {
        return String::new();
    }
    let mut out = String::from("<article>\n<h2>The host</h2>\n<ul class=\"chain\">\n");
    for found in &envelope.findings {
        let _ = writeln!(out, "<li>{}</li>", finding(found, ""));
    }
    out.push_str("</ul>\n");
    out.push_str(&steps(&envelope.findings.iter().collect::<Vec<_>>()));
    out.push_str(&gaps("Not seen, or not found", &envelope.gaps));
    out.push_str(&facts::databases(&envelope.databases));
    out + "</article>\n"
}

/// What placeholders stand for.
fn hidden(envelope: &Envelope) -> String {
    let Some(redaction) = &envelope.redaction else { return String::new() };
    let mut rows = String::new();
    for hidden in &redaction.hidden {
        let placeholder = match hidden.placeholder.as_str() {
            alone @ ("~" | "***") => alone.to_owned(),
            prefix => format!("{prefix}-1 …"),
        };
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td></tr>",
            code(&placeholder),
            escape(&hidden.stands_for),
            hidden.distinct,
            hidden.times
        );
    }
    let table = format!(
        "<div class=\"scroll\"><table><tr><th>Placeholder</th><th>Stands for</th><th class=\"number\">Different</th>\
         <th class=\"number\">Times</th></tr>\n{rows}</table></div>\n"
    );
    folded(&format!("What was hidden (level: {})", redaction.level), &table, "class=\"card\"")
}
