//! Facts as tables: descriptors, lineage, health, port.

use super::databases::databases;
use super::logs::logs;
use super::resources::resources;
use super::table::{finish, right, table};
use super::tree::tree;
use super::{View, words};
use crate::model::{
    Descriptors, Health, Lineage, Listeners, Relaunch, Server, Supervisor, SupervisorKind, Symbol, id,
};
use comfy_table::Cell;

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "unknown".to_owned(), |value| value.to_string())
}

/// Output of `fds`.
pub fn descriptors(server: &Server, view: &View) -> String {
    let Some(facts) = &server.descriptors else { return String::new() };
    let mut out = format!("\n  {}\n", descriptor_summary(facts, server));
    if facts.by_kind.is_empty() {
        return out;
    }
    let mut kinds = table(view, &["COUNT", "KIND"]);
    let mut rows: Vec<(&Symbol, &u64)> = facts.by_kind.iter().collect();
    rows.sort_by(|a, b| b.1.cmp(a.1).then_with(|| a.0.cmp(b.0)));
    for (kind, count) in rows {
        kinds.add_row(vec![right(count), Cell::new(kind)]);
    }
    out.push_str(&finish(&kinds, view));
    if !facts.sqlite.is_empty() {
        let mut families = table(view, &["DB", "WAL", "SHM", "DELETED", "CONNECTIONS", "DATABASE"]);
        for family in &facts.sqlite {
            families.add_row(vec![
                right(family.db),
                right(family.wal),
                right(family.shm),
                right(family.deleted),
                right(family.connections),
                Cell::new(view.style.locale(&family.path)),
            ]);
        }
        out.push_str(&finish(&families, view));
    }
    let (gone, there): (Vec<_>, Vec<_>) = facts.targets.iter().partition(|target| target.deleted);
    let mut targets = table(view, &["COUNT", "KIND", "TARGET"]);
    for target in there.iter().take(view.top) {
        let shown = view.style.shorten(&target.target, view.style.width().saturating_sub(30).max(30));
        targets.add_row(vec![right(target.count), Cell::new(&target.kind), Cell::new(shown)]);
    }
    out.push_str(&finish(&targets, view));
    let left = there.len().saturating_sub(view.top);
    if left > 0 {
        out.push_str(&format!("  {left} more targets; --all shows them\n"));
    }
    if facts.targets_omitted > 0 {
        out.push_str(&format!("  {} more targets were counted and not kept\n", facts.targets_omitted));
    }
    if !gone.is_empty() {
        let mut unlinked = table(view, &["COUNT", "SIZE", "UNLINKED"]);
        for target in gone.iter().take(view.top) {
            let size = target.size_bytes.map_or_else(|| "unknown".to_owned(), words::bytes);
            unlinked.add_row(vec![right(target.count), right(size), Cell::new(view.style.locale(&target.target))]);
        }
        out.push_str(&finish(&unlinked, view));
    }
    if view.verbose && !facts.sockets.is_empty() {
        let mut sockets = table(view, &["INODE", "PROTOCOL", "STATE", "LOCAL", "REMOTE"]);
        for socket in facts.sockets.iter().take(view.top.max(50)) {
            let text = |value: Option<&str>| view.style.locale(value.unwrap_or(""));
            sockets.add_row(vec![
                right(socket.inode),
                Cell::new(socket.protocol.as_str()),
                Cell::new(text(socket.state.as_deref())),
                Cell::new(text(socket.local.as_deref())),
                Cell::new(text(socket.remote.as_deref())),
            ]);
        }
        out.push_str(&finish(&sockets, view));
    }
    out
}

/// Number of descriptors, limit and headroom on one line.
pub fn descriptor_line(server: &Server) -> String {
    server
        .descriptors
        .as_ref()
        .map_or_else(String::new, |facts| format!("\n  {}\n", descriptor_summary(facts, server)))
}

fn descriptor_summary(facts: &Descriptors, server: &Server) -> String {
    let is_unknown =
        server.gaps.iter().any(|gap| gap.blocks.iter().any(|blocked| blocked == id::DESCRIPTOR_CEILING));
    if facts.soft_limit.is_none() && is_unknown {
        return format!("{} open; limit unknown", number(facts.open));
    }
    let limit = facts.soft_limit.map_or_else(|| "unlimited or unknown".to_owned(), |limit| limit.to_string());
    let share = facts.share().map_or(String::new(), |share| format!(" ({:.0} %)", (share * 100.0).floor()));
    let left = facts.headroom().map_or(String::new(), |left| format!(", {left} left"));
    let hard = facts.hard_limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    format!("{} open of {limit}{share}{left}; hard limit {hard}", number(facts.open))
}

/// Output of `lineage`.
pub fn lineage(server: &Server, view: &View) -> String {
    let Some(facts) = &server.lineage else { return String::new() };
    let mut out = tree(server, facts, view);
    out.push_str(&lineage_lines(server, facts, view));
    out
}

fn lineage_lines(server: &Server, facts: &Lineage, view: &View) -> String {
    let supervisor = &facts.supervisor;
    let claims = match supervisor.claims_this {
        Some(true) => "claims this server",
        Some(false) if supervisor.kind == SupervisorKind::None => "no supervisor claims this server",
        Some(false) if server.pid.is_none() => "should be running this server",
        Some(false) => "does not claim this server",
        None => "it is not known whether it claims this server",
    };
    let mut rows =
        vec![("Supervisor".to_owned(), format!("{}: {claims} ({})", named(supervisor), supervisor.evidence))];
    let mut add = |label: &str, text: String| rows.push((label.to_owned(), text));
    match &facts.expected {
        Some(expected) => {
            add("Expected", format!("{} {} ({})", expected.kind, words::shorten(&expected.name, 60), expected.why))
        }
        None => add("Expected", "none: no visible unit, job or program is configured for it".to_owned()),
    }
    if let Some(state) = &supervisor.state {
        let restarts = supervisor.restarts.map_or(String::new(), |restarts| format!(", {restarts} restarts"));
        let since = supervisor.since.as_ref().map_or(String::new(), |since| format!(", since {since}"));
        let result = supervisor.result.as_deref().map_or(String::new(), |result| format!(", last end: {result}"));
        add("State", format!("{state}{restarts}{since}{result}"));
    }
    for (label, text) in [
        ("Command", supervisor.command.as_deref()),
        ("Policy", supervisor.policy.as_deref()),
        ("Configured in", supervisor.configuration.as_deref()),
        ("Log", supervisor.log.as_deref()),
    ] {
        if let Some(text) = text {
            add(label, text.to_owned());
        }
    }
    if let Some(relaunch) = &facts.relaunch {
        add("Observed", observed(relaunch));
    }
    for claim in &facts.claims {
        let verb = if claim.claims_this == Some(true) {
            "claims this server"
        } else {
            "is configured for this server too"
        };
        let state = claim.state.as_deref().map_or(String::new(), |state| format!(", {state}"));
        add("Also", format!("{}: {verb}{state} ({})", named(claim), claim.evidence));
    }
    if server.pid.is_some() {
        add("Detached", format!("{}: {}", if facts.detached { "yes" } else { "no" }, facts.detached_because));
        if let (Some(session), Some(group)) = (facts.session, facts.process_group) {
            add("Session", format!("{session}, process group {group}"));
        }
    }
    if let Some(cgroup) = &facts.cgroup {
        let unit = facts.unit.as_deref().unwrap_or("no service unit");
        add("Control group", format!("{cgroup} ({unit})"));
    }
    for (name, value) in &facts.markers {
        add("Marker", format!("{name}={value} (inherited; proves nothing alone)"));
    }
    labelled(&rows, view)
}

/// Kind, name and scope of a claim.
fn named(claim: &Supervisor) -> String {
    let name = claim.name.as_deref().map_or(String::new(), |name| format!(" {}", words::shorten(name, 60)));
    let scope = claim.scope.as_deref().map_or(String::new(), |scope| format!(" ({scope})"));
    format!("{}{name}{scope}", claim.kind)
}

fn observed(relaunch: &Relaunch) -> String {
    let mut text = format!("for {}", words::duration(relaunch.observed_ms));
    if let Some(of) = &relaunch.of {
        text.push_str(&format!(" ({})", words::shorten(&of.to_string(), 60)));
    }
    let pids: Vec<String> = relaunch.pids.iter().take(8).map(u32::to_string).collect();
    text.push_str(&match relaunch.pids.len() {
        0 => ": no pid".to_owned(),
        1 => format!(": one pid, {}", pids.join(", ")),
        count => format!(": {count} pids, {}", pids.join(", ")),
    });
    if relaunch.restarts > 0 {
        text.push_str(&format!("; restarts +{}", relaunch.restarts));
    }
    if !relaunch.states.is_empty() {
        let states: Vec<&str> = relaunch.states.iter().take(8).map(|state| state.as_str()).collect();
        text.push_str(&format!("; {}", states.join(", ")));
    }
    if relaunch.port_changes > 0 {
        text.push_str(&format!("; the port opened or closed {} times", relaunch.port_changes));
    }
    text
}

/// Labels, each with a wrapped text.
fn labelled(rows: &[(String, String)], view: &View) -> String {
    let mut out = String::from("\n");
    let widest = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or(0);
    for (label, text) in rows {
        let head = format!("  {label:<widest$}  ");
        let indent = " ".repeat(widest + 4);
        let width = view.style.width().saturating_sub(head.chars().count()).max(20);
        for (index, line) in words::wrap(&view.style.locale(text), width).iter().enumerate() {
            let start = if index == 0 { view.style.bold(&head) } else { indent.clone() };
            out.push_str(&format!("{start}{line}\n"));
        }
    }
    out
}

/// Output of `health`.
pub fn health(server: &Server, view: &View) -> String {
    let Some(facts) = &server.health else { return String::new() };
    let mut out = String::new();
    for (index, attempt) in facts.attempts.iter().enumerate() {
        let address = attempt.address.as_deref().map_or(String::new(), |address| format!(" at {address}"));
        let decides = if facts.attempts.len() > 1 && facts.decided_by == Some(index) { " (decides)" } else { "" };
        out.push_str(&format!("\n  GET {}{address}{decides}\n", view.style.locale(&attempt.url)));
        let mut phases = table(view, &["TIME", "PHASE", "ERROR"]);
        for phase in &attempt.phases {
            phases.add_row(vec![
                right(words::milliseconds(phase.ms)),
                Cell::new(phase.name.words()),
                Cell::new(view.style.locale(phase.error.as_deref().unwrap_or(""))),
            ]);
        }
        out.push_str(&finish(&phases, view));
    }
    out.push_str(&labelled(&health_rows(facts), view));
    out.push_str(&super::health::routes(facts, view));
    out.push_str(&super::health::series(facts, view));
    if view.verbose {
        let activities =
            facts.activity.iter().chain(facts.routes.iter().filter_map(|route| route.activity.as_ref()));
        activities.for_each(|activity| out.push_str(&super::health::activity(activity, view)));
    }
    out
}

fn health_rows(facts: &Health) -> Vec<(String, String)> {
    let status = facts.http_status.map_or(String::new(), |status| format!("HTTP {status}, "));
    let mut rows =
        vec![("Outcome".to_owned(), format!("{status}{}, {} bytes", facts.outcome.words(), facts.bytes_received))];
    let mut add = |label: &str, text: String| rows.push((label.to_owned(), text));
    if let Some(server) = &facts.server_header {
        add("Server", server.clone().to_string());
    }
    if let Some(to) = &facts.redirect_to {
        add("Redirects to", format!("{to} (not followed)"));
    }
    if let Some(answer) = &facts.answer {
        if let Some(status) = &answer.status {
            add("Says", status.clone().to_string());
        }
        if let Some(version) = &answer.version {
            add("Version", version.clone().to_string());
        }
        if let Some(streams) = answer.active_streams {
            add("Streams", streams.to_string());
        }
        if let Some(total) = answer.accepted_total {
            let word = if total == 1 { "connection" } else { "connections" };
            add("Accepted", format!("{total} {word} since its start"));
        }
        for (name, status) in &answer.checks {
            add(&format!("Check {name}"), status.clone().to_string());
        }
    }
    if let Some(note) = &facts.note {
        add("Note", note.clone().to_string());
    }
    if !facts.ignored_proxies.is_empty() {
        add("Ignored", format!("proxy settings of the environment: {}", facts.ignored_proxies.join(", ")));
    }
    rows
}

/// Output of `port`.
pub fn port(server: &Server, view: &View) -> String {
    let Some(facts) = &server.listeners else { return String::new() };
    if facts.sockets.is_empty() {
        return format!("\n  No process listens on port {}.\n", facts.port);
    }
    let mut sockets = table(view, &["ADDRESS", "QUEUE", "BACKLOG", "INODE", "UNIT", "HELD BY"]);
    for socket in &facts.sockets {
        let held = socket.holders.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
        sockets.add_row(vec![
            Cell::new(&socket.address),
            right(socket.accept_queue),
            right(socket.backlog.map_or_else(|| "?".to_owned(), |backlog| backlog.to_string())),
            right(socket.inode),
            Cell::new(view.style.locale(socket.unit.as_deref().unwrap_or("-"))),
            Cell::new(if held.is_empty() { format!("uid {}, not readable", socket.uid) } else { held }),
        ]);
    }
    let mut out = finish(&sockets, view);
    let mut holders = table(view, &["PID", "PROGRAM", "IN LINEAGE", "COMMAND"]);
    for holder in &facts.holders {
        let program = holder
            .kind
            .map(|kind| kind.title().to_owned())
            .or_else(|| holder.front.clone().map(|text| text.to_string()));
        let in_lineage = match holder.in_lineage {
            Some(true) => "yes",
            Some(false) => "no",
            None => "-",
        };
        let command = view.style.shorten(&holder.command, view.style.width().saturating_sub(38).max(30));
        holders.add_row(vec![
            right(holder.pid),
            Cell::new(program.unwrap_or_else(|| "other".to_owned())),
            Cell::new(in_lineage),
            Cell::new(command),
        ]);
    }
    if !facts.holders.is_empty() {
        out.push_str(&finish(&holders, view));
    }
    out.push_str(&labelled(&port_rows(facts), view));
    out
}

fn port_rows(facts: &Listeners) -> Vec<(String, String)> {
    let connections = &facts.connections;
    let asked = if facts.holders_complete {
        "all processes were searched"
    } else if facts.sockets.iter().any(|socket| socket.holders.is_empty()) {
        "processes of other users could not be read"
    } else {
        "only the likely processes were searched; use --all-holders to search all"
    };
    vec![
        (
            "Connections".to_owned(),
            format!(
                "{} established, {} CLOSE-WAIT, {} not accepted yet",
                connections.established, connections.close_wait, connections.not_accepted
            ),
        ),
        ("Holders".to_owned(), asked.to_owned()),
    ]
}

/// All facts, for `check --verbose`.
pub fn everything(server: &Server, view: &View) -> String {
    let mut out = String::new();
    for (title, text) in [
        ("LINEAGE", lineage(server, view)),
        ("PORT", port(server, view)),
        ("DESCRIPTORS", descriptors(server, view)),
        ("DATABASES", databases(&server.databases, view)),
        ("HEALTH", health(server, view)),
        ("LIMITS", resources(server, view)),
        ("LOGS", logs(server, view)),
        ("STACKS", server.stacks.as_ref().map_or(String::new(), |found| super::stacks::stacks(found, view))),
    ] {
        if !text.is_empty() {
            out.push_str(&format!("\n{}\n{}", view.style.bold(title), text.trim_start_matches('\n')));
        }
    }
    out
}
