//! The lineage as a tree: supervisor, wrappers, server, and related processes.

use super::{View, words};
use crate::model::{Hop, Lineage, Role, Server, Supervisor, SupervisorKind};
use std::collections::HashSet;
use unicode_width::UnicodeWidthStr;

/// Maximum nesting that is drawn; a saved report could contain a cycle.
const MAX_DEPTH: usize = 64;

/// The tree of all processes in the lineage, with the examined one marked.
pub fn tree(server: &Server, lineage: &Lineage, view: &View) -> String {
    let mut nodes: Vec<&Hop> = Vec::new();
    for hop in lineage.hops.iter().chain(&lineage.relatives) {
        if nodes.iter().all(|known| known.pid != hop.pid) {
            nodes.push(hop);
        }
    }
    nodes.sort_by_key(|hop| hop.pid);
    let pids: HashSet<u32> = nodes.iter().map(|hop| hop.pid).collect();
    let mut drawing =
        Drawing { server, lineage, view, nodes: &nodes, drawn: HashSet::new(), out: String::from("\n") };
    for root in nodes.iter().filter(|hop| !pids.contains(&hop.ppid) || hop.ppid == hop.pid) {
        drawing.node(root, "  ", "  ", 0);
    }
    // A cycle has no root.
    for hop in &nodes {
        drawing.node(hop, "  ", "  ", 0);
    }
    drawing.out
}

struct Drawing<'a> {
    server: &'a Server,
    lineage: &'a Lineage,
    view: &'a View,
    nodes: &'a [&'a Hop],
    drawn: HashSet<u32>,
    out: String,
}

impl Drawing<'_> {
    /// One process and its descendants. `head` comes before its first line, `indent` before the others.
    fn node(&mut self, hop: &Hop, head: &str, indent: &str, depth: usize) {
        if depth > MAX_DEPTH || !self.drawn.insert(hop.pid) {
            return;
        }
        let style = self.view.style;
        let children: Vec<&Hop> = self
            .nodes
            .iter()
            .copied()
            .filter(|other| other.ppid == hop.pid && other.pid != hop.pid && !self.drawn.contains(&other.pid))
            .collect();
        let is_examined = self.server.pid == Some(hop.pid);
        let mut first = format!("{}  pid {}", self.title(hop), hop.pid);
        if let Some(age) = hop.age_ms {
            first.push_str(&format!(", up {}", words::duration(age)));
        }
        if let Some(user) = &hop.user {
            first.push_str(&format!(", {user}"));
        }
        let mark = if is_examined { style.pick("  ◀ examined", "  <- examined") } else { "" };
        let width = style.width().saturating_sub(head.width() + mark.width());
        let first = style.shorten(&first, width);
        let line = format!("{head}{}{mark}", if is_examined { style.bold(&first) } else { first });
        self.out.push_str(line.trim_end());
        self.out.push('\n');
        let rail = if children.is_empty() { "   " } else { style.pick("│  ", "|  ") };
        let below = format!("{indent}{rail}");
        let width = style.width().saturating_sub(below.width()).max(20);
        if hop.role != Role::Init || self.view.verbose {
            let command = if self.view.verbose {
                hop.command.clone()
            } else {
                style.shorten(&hop.command, width.saturating_sub(2)).into()
            };
            self.wrapped(&below, &command, width);
        }
        if self.view.verbose {
            self.wrapped(&below, &hop.evidence.to_string(), width);
        }
        for note in self.notes(hop) {
            self.wrapped(&below, &note, width);
        }
        for (index, child) in children.iter().enumerate() {
            let is_last = index + 1 == children.len();
            let branch = if is_last { style.pick("└─ ", "`- ") } else { style.pick("├─ ", "|- ") };
            let next = if is_last { "   " } else { style.pick("│  ", "|  ") };
            self.node(child, &format!("{indent}{branch}"), &format!("{indent}{next}"), depth + 1);
        }
    }

    fn wrapped(&mut self, indent: &str, text: &str, width: usize) {
        let style = self.view.style;
        for line in words::wrap(&style.locale(text), width) {
            self.out.push_str(format!("{indent}{}", style.dim(&line)).trim_end());
            self.out.push('\n');
        }
    }

    /// Role of a process, with its name if the role alone is not enough.
    fn title(&self, hop: &Hop) -> String {
        match (hop.role, hop.name.as_deref()) {
            (Role::Supervisor | Role::Init | Role::TerminalMultiplexer | Role::RemoteLogin, Some(name)) => {
                name.to_owned()
            }
            (Role::Other, Some(name)) => name.to_owned(),
            (role, Some(name)) if name != role.words() => format!("{} {name}", role.words()),
            (role, _) => role.words().to_owned(),
        }
    }

    /// Claims about a process, and its relation to the server.
    fn notes(&self, hop: &Hop) -> Vec<String> {
        let lineage = self.lineage;
        let is_examined = self.server.pid == Some(hop.pid);
        let mut notes = Vec::new();
        for claim in std::iter::once(&lineage.supervisor).chain(&lineage.claims) {
            if is_claiming_supervisor(claim, hop) {
                let pid = claim.claimed_pid.map_or("no pid".to_owned(), |pid| format!("pid {pid}"));
                notes.push(format!("reports {}: {}{pid}", short_name(claim), state_of(claim)));
            }
            if claim.claimed_pid == Some(hop.pid)
                && claim.kind != SupervisorKind::None
                && !is_claiming_supervisor(claim, hop)
            {
                notes.push(format!("claimed by {} {}", claim.kind, short_name(claim)));
            }
        }
        if let Some(sibling) = lineage.siblings.iter().find(|sibling| sibling.pid == hop.pid) {
            let shares = match (sibling.same_port, sibling.same_home) {
                (true, true) => "port and home",
                (true, false) => "port",
                _ => "home",
            };
            notes.push(format!("{} with the same {shares}", sibling.kind.title()));
        }
        if is_examined {
            let port = self.server.port.map(|port| format!("port {port}"));
            let home = self.server.home.as_ref().map(|home| format!("home {home}"));
            let place: Vec<String> = port.into_iter().chain(home).collect();
            if !place.is_empty() {
                notes.push(place.join(", "));
            }
            match lineage.supervisor.claims_this {
                Some(true) if lineage.supervisor.claimed_pid == Some(hop.pid) => {}
                Some(true) => notes.push("claimed through the processes above".to_owned()),
                Some(false) => notes.push("no supervisor claims it".to_owned()),
                None => notes.push("unknown whether a supervisor claims it".to_owned()),
            }
        }
        notes
    }
}

/// Whether a process is the supervisor that made a claim. The system manager is pid 1, in a container too.
fn is_claiming_supervisor(claim: &Supervisor, hop: &Hop) -> bool {
    match claim.kind {
        SupervisorKind::Systemd | SupervisorKind::Launchd => hop.pid == 1,
        SupervisorKind::SystemdUser => hop.name.as_deref() == Some("systemd --user"),
        _ => claim.pid == Some(hop.pid),
    }
}

fn state_of(claim: &Supervisor) -> String {
    let mut text = claim.state.as_deref().map_or(String::new(), |state| format!("{state}, "));
    if let Some(restarts) = claim.restarts {
        text.push_str(&format!("{restarts} restarts, "));
    }
    text
}

fn short_name(claim: &Supervisor) -> String {
    words::shorten(claim.name.as_deref().unwrap_or(claim.kind.word()), 48)
}
