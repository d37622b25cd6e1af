//! The verdict as text: heading, chain of causes, next steps, passed checks and gaps.

use super::table::{finish, right, table};
use super::{View, words};
use crate::model::{Envelope, Gap, NextStep, Server, Severity, SupervisorKind, WordedFinding};
use crate::wording::{self, Cause};
use comfy_table::{Cell, ColumnConstraint};
use std::collections::BTreeMap;
use unicode_width::UnicodeWidthStr;

/// Width of the labels.
const LABEL: usize = 13;

/// A table of all servers, if there are several: the supervisor of each, and the databases that each has open.
pub fn overview(envelope: &Envelope, view: &View) -> String {
    if envelope.servers.len() < 2 {
        return String::new();
    }
    // At 80 columns the root cause does not fit in the table; it is printed below, at each server.
    let is_wide = view.style.width() >= 110;
    let mut header = vec!["SERVER", "PID", "PORT", "SUPERVISOR", "HOME", "STATUS"];
    if is_wide {
        header.push("ROOT CAUSE");
    }
    let mut servers = table(view, &header);
    for server in &envelope.servers {
        let text = |value: Option<String>| view.style.locale(&value.unwrap_or_else(|| "-".to_owned()));
        let home = server.home.as_deref().map(|home| words::shorten(home, view.style.width() / 5));
        let mut row = vec![
            Cell::new(server.kind.word()),
            right(text(server.pid.map(|pid| pid.to_string()))),
            right(text(server.port.map(|port| port.to_string()))),
            Cell::new(text(supervised_by(server))),
            Cell::new(text(home)),
            Cell::new(server.status.word()),
        ];
        if is_wide {
            row.push(Cell::new(text(server.root_causes.first().cloned())));
        }
        servers.add_row(row);
    }
    servers.set_constraints(vec![ColumnConstraint::ContentWidth; header.len()]);
    format!("{}{}\n", finish(&servers, view), databases(envelope, view))
}

/// The supervisor of a server in short form: a unit or label by its name, the others by their kind.
fn supervised_by(server: &Server) -> Option<String> {
    let supervisor = &server.lineage.as_ref()?.supervisor;
    let word = match &supervisor.kind {
        kind @ (SupervisorKind::Systemd | SupervisorKind::SystemdUser | SupervisorKind::Launchd) => {
            supervisor.name.as_deref().unwrap_or(kind.word())
        }
        kind => kind.word(),
    };
    let word = words::shorten(word, 22);
    Some(match supervisor.claims_this {
        Some(true) => word,
        Some(false) if supervisor.kind == SupervisorKind::None => "none".to_owned(),
        Some(false) => format!("not {word}"),
        None => format!("{word}?"),
    })
}

/// The servers that have each database open, with their numbers of connections.
fn databases(envelope: &Envelope, view: &View) -> String {
    let mut holders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for server in &envelope.servers {
        let Some(pid) = server.pid else { continue };
        // In a container the same path is another file.
        let inside = server.process.as_ref().is_some_and(|process| process.foreign_mounts == Some(true));
        for family in server.descriptors.iter().flat_map(|facts| &facts.sqlite) {
            let place = if inside { ", in its container" } else { "" };
            let text = format!("{} {pid} ({} open{place})", server.kind.word(), family.connections);
            holders.entry(&*family.path).or_default().push(text);
        }
    }
    if holders.is_empty() {
        return String::new();
    }
    let mut rows = table(view, &["DATABASE", "HELD BY"]);
    for (path, held) in holders {
        let path = view.style.shorten(path, view.style.width() / 2);
        rows.add_row(vec![Cell::new(path), Cell::new(held.join(", "))]);
    }
    finish(&rows, view)
}

/// One line with the name of the server and its status.
pub fn heading(server: &Server, view: &View) -> String {
    let mut parts = vec![view.style.bold(server.kind.title())];
    let mut plain = vec![server.kind.title().to_owned()];
    let mut add = |text: String| {
        parts.push(text.clone());
        plain.push(text);
    };
    match server.pid {
        Some(pid) => add(format!("pid {pid}")),
        None if server.expectation.remote => {}
        None => add("no process".to_owned()),
    }
    if let Some(age) = server.process.as_ref().and_then(|process| process.age_ms) {
        add(format!("up {}", words::duration(age)));
    }
    if let Some(address) = address(server) {
        add(address);
    }
    let status = server.status.word();
    let width = view.style.width();
    let used = plain.join("  ").width() + status.width();
    if let Some(command) = server.process.as_ref().and_then(|process| process.command.as_deref()) {
        let width = width.saturating_sub(used + 4);
        if width >= 16 {
            let text = view.style.brief(command, width);
            parts.insert(2, text.clone());
            plain.insert(2, text);
        }
    }
    let gap = width.saturating_sub(plain.join("  ").width() + status.width()).max(2);
    let line = format!("{}{}{}\n", parts.join("  "), " ".repeat(gap), view.style.status(status, server.status));
    line
}

fn address(server: &Server) -> Option<String> {
    let port = server.port?;
    let first = server.listeners.as_ref().and_then(|listeners| listeners.sockets.first());
    Some(match first {
        Some(socket) if socket.family == "ipv6" => format!("[{}]:{port}", socket.address),
        Some(socket) => format!("{}:{port}", socket.address),
        None => format!("port {port}"),
    })
}

/// The text below the heading.
pub fn verdict(server: &Server, view: &View) -> String {
    let mut out = Block::new(view);
    let verdict = wording::verdict(server);
    out.gap();
    for (index, root) in verdict.roots.iter().enumerate() {
        let label = if index == 0 { "Root cause" } else { "Also" };
        out.finding(label, root.finding, !root.effects.is_empty());
        out.consequences(root, "");
        out.gap();
    }
    if verdict.roots.is_empty() {
        out.line("Verdict", verdict.summary);
    }
    for note in &verdict.notes {
        out.finding("Note", note, false);
    }
    if !view.quiet {
        out.next_steps(&verdict.steps, server);
        if view.verbose && !server.passed.is_empty() {
            out.line("Passed", &server.passed.join(view.style.pick(" · ", ", ")));
        } else if !server.passed.is_empty() {
            out.line("Passed", &fine(server, view));
        }
        out.gaps(&server.gaps);
        if would_stacks_help(server) {
            let label = if server.gaps.is_empty() { "Not checked" } else { "" };
            out.line(label, "Python stacks (use --stacks)");
        }
    }
    out.text
}

/// Whether a Python server runs, does not answer as expected, and its stacks were not read.
fn would_stacks_help(server: &Server) -> bool {
    use crate::model::{Outcome, Part};
    let Some(process) = &server.process else { return false };
    let is_python = [process.executable.as_deref(), process.command.as_deref()]
        .into_iter()
        .flatten()
        .any(|text| text.split(' ').next().is_some_and(|program| program.contains("python")));
    let answers_badly = server.health.as_ref().is_some_and(|health| {
        !matches!(
            health.outcome,
            Outcome::Ok | Outcome::Guarded | Outcome::NotApplicable | Outcome::NotProbed | Outcome::Refused
        )
    });
    let is_slow = server.findings.iter().any(|finding| finding.id == crate::model::id::ROUTE_SLOW);
    // Only the full check has the flag.
    let is_check = [Part::Lineage, Part::Health].iter().all(|part| server.examined.contains(part));
    is_check && is_python && !server.examined.contains(&Part::Stacks) && (answers_badly || is_slow)
}

/// The passed checks, by area of the host.
fn fine(server: &Server, view: &View) -> String {
    use crate::model::id;
    let passed = |wanted: &str| server.passed.iter().any(|passed| passed == wanted);
    let mut areas = Vec::new();
    if let Some(lineage) = &server.lineage
        && passed(id::ORPHANED_SERVER)
        && lineage.supervisor.claims_this == Some(true)
    {
        let name = lineage.supervisor.name.as_deref().filter(|name| name.len() <= 40);
        areas.push(format!(
            "supervised by {}{}",
            lineage.supervisor.kind,
            name.map_or(String::new(), |name| format!(" ({name})"))
        ));
    }
    let plain = [
        (id::PROCESS_STOPPED, "process runs"),
        (id::DESCRIPTOR_CEILING, "descriptors"),
        (id::STATE_DB_HANDLE_LEAK, "database handles"),
        (id::CLOSE_WAIT_LEAK, "CLOSE-WAIT"),
        (id::DATABASE_LOCKS_LOST, "databases"),
        (id::ACCEPT_STALLED, "accept queue"),
        (id::STALE_PID_FILE, "pid files"),
        (id::ZOMBIE_CHILDREN, "children reaped"),
    ];
    let own_port = !server.findings.iter().any(|finding| finding.id == id::PORT_OWNER_UNEXPECTED);
    if passed(id::PORT_HELD) && own_port {
        areas.push("port owner".to_owned());
    }
    for (id, text) in plain.into_iter().filter(|(id, _)| passed(id)) {
        let text = match (&server.descriptors, id) {
            (Some(facts), id::DESCRIPTOR_CEILING) => {
                format!("{text} {} of {}", facts.open.unwrap_or(0), facts.soft_limit.unwrap_or(0))
            }
            _ => text.to_owned(),
        };
        areas.push(text);
    }
    if server.health.as_ref().is_some_and(|health| health.outcome == crate::model::Outcome::Ok) {
        areas.push("HTTP answers".to_owned());
    }
    if areas.is_empty() {
        areas.push(format!("{} checks passed", server.passed.len()));
    }
    areas.join(view.style.pick(" · ", ", "))
}

/// Findings and gaps of the host as a whole.
pub fn host(envelope: &Envelope, view: &View) -> String {
    let mut out = Block::new(view);
    for finding in &envelope.findings {
        out.gap();
        out.titled("Also", &finding.title, &finding.id);
        // The title of a pid file finding is complete.
        if !view.quiet && finding.severity > Severity::Info && finding.id != crate::model::id::STALE_PID_FILE {
            out.beside(&format!("  {:<LABEL$}", ""), &finding.why);
            for (index, step) in finding.next.iter().enumerate() {
                out.step(index + 1, &step.what, step.command.as_deref());
            }
        }
    }
    if envelope.servers.is_empty() && envelope.databases.is_empty() {
        for gap in &envelope.gaps {
            out.text
                .push_str(&format!("{}\n", view.style.locale(&format!("{}: {}", gap.what, gap.reason.words()))));
            out.wrapped("  ", &gap.detail.to_string());
        }
    } else if !view.quiet {
        out.gaps(&envelope.gaps);
    }
    out.text
}

/// Lines under construction.
struct Block<'a> {
    view: &'a View,
    text: String,
}

impl<'a> Block<'a> {
    fn new(view: &'a View) -> Self {
        Self { view, text: String::new() }
    }

    fn gap(&mut self) {
        if !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }

    /// Adds a label and a wrapped text.
    fn line(&mut self, label: &str, text: &str) {
        let head = format!("  {label:<LABEL$}");
        self.beside(&head, text);
    }

    fn beside(&mut self, head: &str, text: &str) {
        let style = self.view.style;
        let indent = " ".repeat(head.width());
        let width = style.width().saturating_sub(head.width()).max(20);
        for (index, line) in words::wrap(&style.locale(text), width).iter().enumerate() {
            let start = if index == 0 { style.bold(head) } else { indent.clone() };
            self.text.push_str(format!("{start}{line}").trim_end());
            self.text.push('\n');
        }
    }

    fn wrapped(&mut self, indent: &str, text: &str) {
        let style = self.view.style;
        let width = style.width().saturating_sub(indent.len()).max(20);
        for line in words::wrap(&style.locale(text), width) {
            self.text.push_str(&format!("{indent}{line}\n"));
        }
    }

    /// Adds a title with its id at the right, or below if it does not fit.
    fn titled(&mut self, label: &str, title: &str, id: &str) {
        self.with_id(&format!("  {label:<LABEL$}"), title, id);
    }

    fn with_id(&mut self, head: &str, title: &str, id: &str) {
        let style = self.view.style;
        let title = style.locale(title);
        let width = style.width().saturating_sub(head.width());
        if title.width() + 2 + id.width() <= width {
            let space = " ".repeat(width - title.width() - id.width());
            self.text.push_str(&format!("{}{title}{space}{}\n", style.bold(head), style.dim(id)));
        } else {
            self.beside(head, &title);
            let space = " ".repeat(style.width().saturating_sub(id.width()));
            self.text.push_str(&format!("{space}{}\n", style.dim(id)));
        }
    }

    fn finding(&mut self, label: &str, finding: &WordedFinding, has_effects: bool) {
        self.titled(label, &finding.title, &finding.id);
        if self.view.quiet {
            return;
        }
        let rail = if has_effects { self.view.style.pick("│", "|") } else { " " };
        let most = if self.view.verbose { usize::MAX } else { 0 };
        for evidence in finding.evidence.iter().take(most) {
            let value = match &evidence.value {
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let head = format!("  {rail:<LABEL$}");
            let text = format!("{}: {value}   [{}]", evidence.fact, evidence.source);
            self.beside(&head, &text);
        }
        if self.view.verbose || finding.severity > Severity::Info {
            let head = format!("  {rail:<LABEL$}");
            self.beside(&head, &finding.why);
        }
    }

    /// Adds the consequences of a finding below it.
    fn consequences(&mut self, cause: &Cause<'_>, indent: &str) {
        let style = self.view.style;
        for (index, effect) in cause.effects.iter().enumerate() {
            let is_last = index + 1 == cause.effects.len();
            let branch = if is_last { style.pick("└─ so", "`- so") } else { style.pick("├─ so", "|- so") };
            let head = format!("  {:<LABEL$}", format!("{indent}{branch}"));
            self.with_id(&head, &effect.finding.title, &effect.finding.id);
            let below = if is_last { "   ".to_owned() } else { format!("{}  ", style.pick("│", "|")) };
            self.consequences(effect, &format!("{indent}{below}"));
        }
    }

    fn next_steps(&mut self, steps: &[NextStep], server: &Server) {
        if steps.is_empty() {
            return;
        }
        self.gap();
        self.text.push_str(&format!("  {}\n", self.view.style.bold("Next steps")));
        for (index, step) in steps.iter().enumerate() {
            self.step(index + 1, &step.what, step.command.as_deref());
        }
        if !server.passed.is_empty() || !server.gaps.is_empty() {
            self.gap();
        }
    }

    /// Adds a step. A command that does not fit next to its description gets a line of its own, so that it can
    /// be copied.
    fn step(&mut self, number: usize, what: &str, command: Option<&str>) {
        let head = format!("    {number}  ");
        let Some(command) = command.map(|command| self.view.style.locale(command)) else {
            return self.beside(&head, what);
        };
        let column = 24;
        if what.width() <= column && head.width() + column + 2 + command.width() <= self.view.style.width() {
            self.text.push_str(&format!("{}{what:<column$}  {command}\n", self.view.style.bold(&head)));
        } else {
            self.beside(&head, what);
            self.text.push_str(&format!("{}{command}\n", " ".repeat(head.width())));
        }
    }

    fn gaps(&mut self, gaps: &[Gap]) {
        for (index, gap) in gaps.iter().enumerate() {
            let label = if index == 0 { "Not checked" } else { "" };
            let mut text = format!("{}: {}", gap.what, gap.reason.words());
            if gap.has_detail() {
                text.push_str(&format!(" ({})", gap.detail));
            }
            if self.view.verbose && !gap.blocks.is_empty() {
                text.push_str(&format!("; undecided: {}", gap.blocks.join(", ")));
            }
            self.line(label, &text);
        }
    }
}
