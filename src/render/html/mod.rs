//! A report as one self-contained HTML page: no script, nothing loaded, every text escaped by maud.

mod facts;

use super::words;
use crate::model::{Envelope, Gap, GapDetail, NextStep, Redaction, Server, Severity, Status, WordedFinding};
use crate::wording::{self, Cause};
use maud::{DOCTYPE, Markup, PreEscaped, html as markup};
use serde_json::Value;

const STYLE: &str = include_str!("style.css");
/// The browser may show the page and load nothing else. Plots are images, in which scripts do not run.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";

/// The whole page.
pub fn html(envelope: &Envelope) -> String {
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="referrer" content="no-referrer";
                title { "hermes-doctor report: " (envelope.status.word()) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (heading(envelope))
                main {
                    @for server in &envelope.servers { (article(server)) }
                    (host(envelope))
                    @if let Some(redaction) = &envelope.redaction { (redacted(redaction)) }
                    details.card {
                        summary { "The report as JSON" }
                        pre { (super::json(envelope)) }
                    }
                }
                footer { "Written by hermes-doctor, which changes nothing on the host." }
            }
        }
    };
    // A saved report can contain any character, and browsers do not show control characters.
    page.into_string().replace(|character: char| character.is_control() && character != '\n', " ")
}

/// A section that is shown when its title is clicked.
fn folded(title: &str, body: Markup) -> Markup {
    markup! { details { summary { (title) } (body) } }
}

/// A table that scrolls sideways if it is wider than the screen. The class `number` aligns a column to the
/// right.
fn scrolled(table: Markup) -> Markup {
    markup! { div.scroll { (table) } }
}

fn class(status: Status) -> &'static str {
    match status {
        Status::Healthy => "healthy",
        Status::Warning => "warning",
        Status::Critical => "critical",
        Status::Unknown => "unknown",
    }
}

fn badge(status: Status) -> Markup {
    markup! { span.badge.(class(status)) { (status.word()) } }
}

fn heading(envelope: &Envelope) -> Markup {
    let host = &envelope.host;
    let mut parts = vec![
        format!("{} {}", envelope.tool.name, envelope.tool.version),
        format!("{} {} {}", host.os, host.kernel.as_deref().unwrap_or_default(), host.arch),
        envelope.started_at.to_string(),
        format!("examined in {}", words::duration(envelope.elapsed_ms)),
        if host.root { "as root" } else { "without root" }.to_owned(),
    ];
    if let Some(uptime) = host.uptime_ms {
        parts.push(format!("host up {}", words::duration(uptime)));
    }
    parts.extend(host.load.map(|load| format!("load {load:.2}")));
    if let (Some(available), Some(all)) = (host.memory_available_bytes, host.memory_bytes) {
        parts.push(format!("{} of {} memory available", words::bytes(available), words::bytes(all)));
    }
    if let Some(init) = &host.init {
        parts.push(format!("pid 1 is {init}"));
    }
    markup! {
        header {
            h1 { "hermes-doctor report " (badge(envelope.status)) }
            p { (parts.join(" · ")) }
            @if let Some(replayed) = &envelope.replayed {
                p {
                    "From a report of " (replayed.tool.name) " " (replayed.tool.version) " (" (replayed.command)
                    "), examined again by this program. The status in that report was " (replayed.status.word()) "."
                }
            }
        }
    }
}

fn article(server: &Server) -> Markup {
    let mut about = vec![server.pid.map_or("no process".to_owned(), |pid| format!("pid {pid}"))];
    if let Some(process) = &server.process {
        about.extend(process.age_ms.map(|age| format!("up {}", words::duration(age))));
        about.push(process.state.words().to_owned());
        about.extend(process.user.as_ref().map(|user| format!("user {user}")));
        let threads = |count| if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") };
        about.extend(process.threads.map(threads));
        about.extend(process.resident_bytes.map(|bytes| format!("{} resident", words::bytes(bytes))));
    }
    about.extend(server.port.map(|port| format!("port {port}")));
    about.extend(server.home.as_ref().map(|home| format!("home {home}")));
    let command = server.process.as_ref().and_then(|process| process.command.as_deref());
    markup! {
        article {
            h2 { (server.kind.title()) " " (badge(server.status)) }
            p.dim { (about.join(" · ")) }
            @if let Some(command) = command { p { code { (command) } } }
            (causes(server))
            (gaps(&server.gaps))
            (facts::sections(server))
            @if !server.passed.is_empty() {
                (folded(&format!("Checks that passed ({})", server.passed.len()), markup! {
                    p { @for id in &server.passed { code { (id) } " " } }
                }))
            }
        }
    }
}

/// Root causes with their consequences, the next steps, and notes.
fn causes(server: &Server) -> Markup {
    let verdict = wording::verdict(server);
    markup! {
        @if !verdict.roots.is_empty() {
            ul.chain {
                @for (index, root) in verdict.roots.iter().enumerate() {
                    @let label = if index == 0 { "Root cause:" } else { "Also:" };
                    (cause(label, root))
                }
            }
        } @else {
            p { (verdict.summary) }
        }
        (steps(&verdict.steps_in_report()))
        @if !verdict.notes.is_empty() {
            h3 { "Notes" }
            ul.chain { @for note in &verdict.notes { li { (finding("", note)) } } }
        }
    }
}

/// One finding with its consequences.
fn cause(label: &str, cause_of: &Cause<'_>) -> Markup {
    markup! {
        li {
            (finding(label, cause_of.finding))
            @if !cause_of.effects.is_empty() {
                ul.chain { @for effect in &cause_of.effects { (cause("so", effect)) } }
            }
        }
    }
}

fn finding(label: &str, finding: &WordedFinding) -> Markup {
    let class = match finding.severity {
        Severity::Critical => "critical",
        Severity::Warning => "warning",
        Severity::Info => "info",
    };
    markup! {
        div.finding.(class) {
            p.title { span.label { (label) } " " (finding.title) }
            p.id { (finding.id) " · " span.(class) { (class) } }
            @if !finding.why.is_empty() { p { (finding.why) } }
            @if !finding.evidence.is_empty() {
                (folded(&format!("Evidence ({})", finding.evidence.len()), evidence(finding)))
            }
        }
    }
}

fn evidence(finding: &WordedFinding) -> Markup {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    scrolled(markup! {
        table.evidence {
            tr { th { "Fact" } th { "Value" } th { "Read from" } }
            @for item in &finding.evidence {
                tr { td { (item.fact) } td { (text(&item.value)) } td.dim { (item.source) } }
            }
        }
    })
}

fn steps(steps: &[&NextStep]) -> Markup {
    markup! {
        @if !steps.is_empty() {
            h3 { "Next steps" }
            ol.steps {
                @for step in steps {
                    li { (step.what) @if let Some(command) = &step.command { " " code { (command) } } }
                }
            }
        }
    }
}

fn gaps(gaps: &[Gap]) -> Markup {
    let why = |gap: &Gap| match &gap.detail {
        GapDetail::Nothing => gap.reason.words().to_owned(),
        detail => format!("{}: {detail}", gap.reason.words()),
    };
    markup! {
        @if !gaps.is_empty() {
            h3 { "Not checked" }
            (scrolled(markup! {
                table {
                    tr { th { "What" } th { "Reason" } th { "Checks that it blocks" } th.number { "Time" } }
                    @for gap in gaps {
                        tr {
                            td { (gap.what) }
                            td { (why(gap)) }
                            td { (gap.blocks.join(", ")) }
                            td.number { (gap.elapsed_ms) " ms" }
                        }
                    }
                }
            }))
        }
    }
}

/// Findings, gaps and databases of the host as a whole.
fn host(envelope: &Envelope) -> Markup {
    let of_host = wording::distinct_steps(&envelope.findings.iter().collect::<Vec<_>>());
    let is_empty = envelope.findings.is_empty() && envelope.gaps.is_empty() && envelope.databases.is_empty();
    markup! {
        @if !is_empty {
            article {
                h2 { "The host" }
                ul.chain { @for found in &envelope.findings { li { (finding("", found)) } } }
                (steps(&of_host.iter().collect::<Vec<_>>()))
                (gaps(&envelope.gaps))
                (facts::databases(&envelope.databases))
            }
        }
    }
}

/// The placeholders of a redacted report.
fn redacted(redaction: &Redaction) -> Markup {
    let placeholder = |name: &str| match name {
        "~" | "***" => name.to_owned(),
        prefix => format!("{prefix}-1 …"),
    };
    markup! {
        details.card {
            summary { "What was redacted (level: " (redaction.level) ")" }
            (scrolled(markup! {
                table {
                    tr { th { "Placeholder" } th { "Stands for" } th.number { "Different values" } th.number { "Times" } }
                    @for hidden in &redaction.hidden {
                        tr {
                            td { code { (placeholder(&hidden.placeholder)) } }
                            td { (hidden.stands_for) }
                            td.number { (hidden.distinct) }
                            td.number { (hidden.times) }
                        }
                    }
                }
            }))
        }
    }
}
