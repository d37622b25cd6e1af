//! The sections of a server on the HTML page: its process tree, tables, bars, and plots of samples.

use super::{folded, scrolled};
use crate::model::{
    Activity, Attempt, DatabaseFile, Descriptors, Health, HealthSeries, Hop, Lineage, Listeners, PortSample,
    Server, SqliteFamily, Supervisor, SupervisorKind, Symbol, Target, Thread,
};
use crate::render::{plot, words};
use base64::Engine;
use maud::{Markup, html as markup};
use std::collections::HashSet;

/// Maximum number of rows of a table; the JSON has all.
const MAX_ROWS: usize = 40;
/// Maximum nesting that is shown; a saved report could contain a cycle.
const MAX_DEPTH: usize = 48;

/// One section for each part that has facts.
pub fn sections(server: &Server) -> Markup {
    markup! {
        @if let Some(facts) = &server.lineage {
            details open { summary { "Lineage" } (lineage(server, facts)) }
        }
        @if let Some(trend) = &server.trend {
            details open { summary { "Over time" } (plots(plot::trend(trend))) }
        }
        @if let Some(facts) = &server.descriptors { (folded("Descriptors", descriptors(facts))) }
        @if let Some(facts) = &server.listeners { (folded("Port", port(facts))) }
        @if let Some(facts) = &server.health { (folded("HTTP", health(facts))) }
        (databases(&server.databases))
    }
}

/// Plots as images, each with its title.
fn plots(drawn: impl IntoIterator<Item = (String, String)>) -> Markup {
    let encoded = |svg: String| base64::engine::general_purpose::STANDARD.encode(svg);
    markup! {
        div.plots {
            @for (title, svg) in drawn { img alt=(title) src={ "data:image/svg+xml;base64," (encoded(svg)) }; }
        }
    }
}

fn table(header: &[&str], rows: &[Vec<String>]) -> Markup {
    let is_number = |cell: &String| {
        let number = cell.strip_suffix(" ms").unwrap_or(cell);
        number == "-" || number.parse::<f64>().is_ok_and(f64::is_finite)
    };
    let is_aligned_right = |index: usize| rows.iter().all(|row| row.get(index).is_some_and(is_number));
    let class = |index| is_aligned_right(index).then_some("number");
    markup! {
        (scrolled(markup! {
            table {
                tr { @for (index, name) in header.iter().enumerate() { th class=[class(index)] { (name) } } }
                @for row in rows.iter().take(MAX_ROWS) {
                    tr { @for (index, cell) in row.iter().enumerate() { td class=[class(index)] { (cell) } } }
                }
            }
        }))
        @if rows.len() > MAX_ROWS {
            p.dim { (rows.len() - MAX_ROWS) " more rows are in the JSON." }
        }
    }
}

fn list(rows: &[(&str, String)]) -> Markup {
    markup! { dl { @for (label, text) in rows { dt { (label) } dd { (text) } } } }
}

/// One bar: its label, its length in any unit, its text, and whether it is marked as an error.
struct Bar {
    label: String,
    length: f64,
    text: String,
    is_error: bool,
}

fn bars(bars: &[Bar]) -> Markup {
    let max = bars.iter().map(|bar| bar.length).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    markup! {
        div.bars {
            @for bar in bars.iter().take(MAX_ROWS) {
                span { (bar.label) }
                div.bar.critical[bar.is_error] style=(width(bar.length / max)) {}
                span.number { (bar.text) }
            }
        }
    }
}

/// A width in CSS from a fraction of 1.
fn width(part: f64) -> String {
    format!("width:{:.1}%", (part * 100.0).clamp(0.0, 100.0))
}

fn text(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn lineage(server: &Server, facts: &Lineage) -> Markup {
    let mut nodes: Vec<&Hop> = Vec::new();
    for hop in facts.hops.iter().chain(&facts.relatives) {
        if nodes.iter().all(|known| known.pid != hop.pid) {
            nodes.push(hop);
        }
    }
    nodes.sort_by_key(|hop| hop.pid);
    let pids: HashSet<u32> = nodes.iter().map(|hop| hop.pid).collect();
    let is_top = |hop: &&&Hop| !pids.contains(&hop.ppid) || hop.ppid == hop.pid;
    let mut drawn = HashSet::new();
    markup! {
        ul.tree {
            // A cycle has no top, so its processes come last.
            @for hop in nodes.iter().filter(is_top).chain(&nodes) { (node(server, hop, &nodes, &mut drawn, 0)) }
        }
        (list(&supervision(facts)))
    }
}

fn supervision(facts: &Lineage) -> Vec<(&'static str, String)> {
    let claim = &facts.supervisor;
    let claims = match claim.claims_this {
        Some(true) => "claims this server",
        Some(false) if claim.kind == SupervisorKind::None => "no supervisor claims this server",
        Some(false) => "does not claim this server",
        None => "it is not known whether it claims this server",
    };
    let expected = facts.expected.as_ref();
    let expected = expected.map(|expected| format!("{} {} ({})", expected.kind, expected.name, expected.why));
    let mut rows = vec![
        ("Supervisor", format!("{}: {claims} ({})", claim.title(), claim.evidence)),
        ("Expected", expected.unwrap_or_else(|| "none".to_owned())),
    ];
    rows.extend(about(claim));
    rows.push(("Detached", format!("{}: {}", if facts.detached { "yes" } else { "no" }, facts.detached_because)));
    if let Some(cgroup) = &facts.cgroup {
        rows.push(("Control group", format!("{cgroup} ({})", facts.unit.as_deref().unwrap_or("no service unit"))));
    }
    if let Some(relaunch) = &facts.relaunch {
        let observed = format!(
            "{} for {}: {} pids, restarts +{}, the port opened or closed {} times; {}",
            relaunch.of.as_ref().map_or("the supervisor".to_owned(), ToString::to_string),
            words::duration(relaunch.observed_ms),
            relaunch.pids.len(),
            relaunch.restarts,
            relaunch.port_changes,
            relaunch.states.join(", ")
        );
        rows.push(("Observed", observed));
    }
    rows.extend(
        facts.claims.iter().map(|claim| ("Other claim", format!("{} ({})", claim.title(), claim.evidence))),
    );
    rows.extend(facts.markers.iter().map(|(name, value)| ("Marker", format!("{name}={value}"))));
    rows
}

fn about(claim: &Supervisor) -> Vec<(&'static str, String)> {
    let fields = [
        ("State", claim.state.as_ref().map(ToString::to_string)),
        ("Since", claim.since.as_ref().map(ToString::to_string)),
        ("Last end", claim.result.as_ref().map(ToString::to_string)),
        ("Command", claim.command.as_ref().map(ToString::to_string)),
        ("Policy", claim.policy.as_ref().map(ToString::to_string)),
        ("Configured in", claim.configuration.as_ref().map(ToString::to_string)),
        ("Log", claim.log.as_ref().map(ToString::to_string)),
    ];
    let mut rows: Vec<(&str, String)> =
        fields.into_iter().filter_map(|(label, value)| Some((label, value?))).collect();
    rows.extend(claim.restarts.map(|restarts| ("Restarts", restarts.to_string())));
    rows
}

/// One process and its descendants.
fn node(server: &Server, hop: &Hop, nodes: &[&Hop], drawn: &mut HashSet<u32>, depth: usize) -> Markup {
    if depth > MAX_DEPTH || !drawn.insert(hop.pid) {
        return Markup::default();
    }
    let is_examined = server.pid == Some(hop.pid);
    let name = hop.name.as_deref().filter(|name| *name != hop.role.words());
    let children: Vec<&&Hop> =
        nodes.iter().filter(|other| other.ppid == hop.pid && !drawn.contains(&other.pid)).collect();
    markup! {
        li {
            div.(if is_examined { "examined" } else { "hop" }) {
                (hop.role.words())
                @if let Some(name) = name { " " (name) }
                " · pid " (hop.pid)
                @if let Some(age) = hop.age_ms { " · up " (words::duration(age)) }
                @if let Some(user) = &hop.user { " · " (user) }
                @if is_examined { " " span.mark { "◀ examined" } }
            }
            div { code { (hop.command) } }
            div.dim { (hop.evidence) }
            @if !children.is_empty() {
                ul { @for child in children { (node(server, child, nodes, drawn, depth + 1)) } }
            }
        }
    }
}

fn descriptors(facts: &Descriptors) -> Markup {
    let share = facts.share().unwrap_or(0.0);
    let class = match share {
        share if share >= 0.95 => "critical",
        share if share >= 0.8 => "warning",
        _ => "healthy",
    };
    let mut kinds: Vec<(&Symbol, u64)> = facts.by_kind.iter().map(|(kind, count)| (kind, *count)).collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let bar = |(kind, count): (&Symbol, u64)| Bar {
        label: kind.clone().to_string(),
        length: count as f64,
        text: count.to_string(),
        is_error: false,
    };
    let kinds: Vec<Bar> = kinds.into_iter().map(bar).collect();
    let family = |family: &SqliteFamily| {
        let counts = [family.db, family.wal, family.shm, family.deleted, family.connections];
        counts.iter().map(u64::to_string).chain([family.path.to_string()]).collect()
    };
    let families: Vec<Vec<String>> = facts.sqlite.iter().map(family).collect();
    let target = |target: &Target| {
        let unlinked = match (target.deleted, target.size_bytes) {
            (true, Some(size)) => format!(" (unlinked, {})", words::bytes(size)),
            (true, None) => " (unlinked)".to_owned(),
            _ => String::new(),
        };
        vec![target.count.to_string(), target.kind.to_string(), format!("{}{unlinked}", target.target)]
    };
    let targets: Vec<Vec<String>> = facts.targets.iter().map(target).collect();
    let close_wait = facts.close_wait.iter().flat_map(|close_wait| &close_wait.by_peer);
    let peers: Vec<Vec<String>> =
        close_wait.map(|peer| vec![peer.count.to_string(), peer.peer.clone().to_string()]).collect();
    markup! {
        p { (text(facts.open)) " open of " (text(facts.soft_limit)) " (hard limit " (text(facts.hard_limit)) ")" }
        div.meter { div.(class) style=(width(share)) {} }
        (bars(&kinds))
        @if !families.is_empty() {
            (table(&["db", "wal", "shm", "deleted", "connections", "Database"], &families))
        }
        (table(&["Count", "Kind", "Target"], &targets))
        @if !peers.is_empty() { (table(&["CLOSE-WAIT", "Peer"], &peers)) }
    }
}

fn port(facts: &Listeners) -> Markup {
    let mut sockets = Vec::new();
    for socket in &facts.sockets {
        let held: Vec<String> = socket.holders.iter().map(u32::to_string).collect();
        sockets.push(vec![
            socket.address.to_string(),
            socket.accept_queue.to_string(),
            text(socket.backlog),
            text(socket.unit.as_ref()),
            if held.is_empty() { format!("uid {}, not readable", socket.uid) } else { held.join(", ") },
        ]);
    }
    let mut holders = Vec::new();
    for holder in &facts.holders {
        let program = holder
            .kind
            .map(|kind| kind.title().to_owned())
            .or_else(|| holder.front.clone().map(|text| text.to_string()));
        let program = program.unwrap_or_else(|| "other".to_owned());
        holders.push(vec![holder.pid.to_string(), program, holder.command.clone().to_string()]);
    }
    let connections = &facts.connections;
    let connections = format!(
        "{} established, {} CLOSE-WAIT, {} pending",
        connections.established, connections.close_wait, connections.not_accepted
    );
    markup! {
        (table(&["Address", "Queue", "Backlog", "Unit", "Holders"], &sockets))
        (table(&["Pid", "Program", "Command"], &holders))
        (list(&[("Connections", connections)]))
        (samples("while the health request waited", &facts.looks))
    }
}

/// Samples of the port while a request waited.
fn samples(title: &str, samples: &[PortSample]) -> Markup {
    let row = |sample: &PortSample| {
        let is_accepted = match sample.probe_accepted {
            Some(true) => "yes",
            Some(false) => "no",
            None => "unknown",
        };
        vec![
            format!("{} ms", sample.after_connect_ms),
            sample.accept_queue.to_string(),
            sample.not_accepted.to_string(),
            text(sample.unanswered),
            sample.accepted_since.to_string(),
            sample.answered_since.to_string(),
            is_accepted.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = samples.iter().map(row).collect();
    let header =
        ["After", "Queue", "Pending", "Unanswered", "Accepted since", "Answered since", "Own request accepted"];
    markup! {
        @if !rows.is_empty() {
            h3 { "The port " (title) }
            (plots(plot::port_samples(samples, title)))
            (table(&header, &rows))
        }
    }
}

fn health(facts: &Health) -> Markup {
    let mut rows = vec![("Outcome", facts.outcome.words().to_owned())];
    rows.extend(facts.http_status.map(|status| ("HTTP status", status.to_string())));
    for (label, value) in [
        ("Server", facts.server_header.as_ref().map(ToString::to_string)),
        ("Redirects to", facts.redirect_to.as_ref().map(ToString::to_string)),
        ("Note", facts.note.as_ref().map(ToString::to_string)),
    ] {
        rows.extend(value.map(|value| (label, value)));
    }
    if let Some(answer) = &facts.answer {
        rows.extend(answer.status.clone().map(|status| ("Status in the answer", status.to_string())));
        rows.extend(answer.version.clone().map(|version| ("Version", version.to_string())));
        rows.extend(answer.active_streams.map(|streams| ("Streams", streams.to_string())));
        let accepted = answer.accepted_total.map(|total| format!("{total} connections since its start"));
        rows.extend(accepted.map(|accepted| ("Accepted", accepted)));
        rows.extend(answer.checks.iter().map(|(name, status)| ("Check", format!("{name}: {status}"))));
    }
    let decides = |index| facts.decided_by == Some(index) && facts.attempts.len() > 1;
    markup! {
        (list(&rows))
        @for (index, attempt) in facts.attempts.iter().enumerate() {
            (phases(attempt, if decides(index) { " (decides)" } else { "" }))
        }
        @for route in &facts.routes {
            (phases(&route.attempt, &format!(" (deadline {} ms)", route.deadline_ms)))
            (self::samples("while that route waited", &route.looks))
            @if let Some(facts) = &route.activity { (activity(facts)) }
        }
        @if let Some(facts) = &facts.activity { (activity(facts)) }
        @if let Some(facts) = &facts.series { (series(facts)) }
    }
}

/// Requests by duration.
fn series(facts: &HealthSeries) -> Markup {
    let mut buckets = Vec::new();
    for bucket in &facts.histogram {
        let up_to = bucket.up_to_ms.map(|ms| format!("up to {}", words::milliseconds(ms)));
        buckets.push(Bar {
            label: up_to.unwrap_or_else(|| "longer".to_owned()),
            length: bucket.count as f64,
            text: bucket.count.to_string(),
            is_error: false,
        });
    }
    markup! {
        h3 { (facts.requests) " of " (facts.planned) " requests" }
        (bars(&buckets))
    }
}

/// The phases of a request as bars.
fn phases(attempt: &Attempt, remark: &str) -> Markup {
    let mut phases = Vec::new();
    for phase in &attempt.phases {
        let error = phase.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
        phases.push(Bar {
            label: phase.name.words().to_owned(),
            length: phase.ms,
            text: format!("{}{error}", words::milliseconds(phase.ms)),
            is_error: phase.error.is_some(),
        });
    }
    markup! {
        h3 { "GET " (attempt.url) }
        p.dim {
            (attempt.outcome.words())
            @if let Some(status) = attempt.http_status { ", HTTP " (status) }
            ", " (attempt.bytes_received) " bytes"
            @if let Some(address) = &attempt.address { " at " (address) }
            (remark)
        }
        (bars(&phases))
    }
}

fn activity(facts: &Activity) -> Markup {
    let row = |thread: &Thread| {
        let last = thread.last();
        let call = last.and_then(|sample| sample.system_call.as_ref()).map(|call| {
            let on = call.descriptor.map_or(String::new(), |descriptor| format!(" on {descriptor}"));
            format!("{}{on}", call.name)
        });
        let which = match (thread.is_main, thread.is_new) {
            (true, _) => "main",
            (false, true) => "new",
            (false, false) => "",
        };
        vec![
            thread.tid.to_string(),
            thread.name.clone().to_string(),
            which.to_owned(),
            last.map_or(String::new(), |sample| sample.state.words().to_owned()),
            text(last.and_then(|sample| sample.wait_channel.as_ref())),
            text(call),
            text(thread.cpu_ms),
        ]
    };
    let rows: Vec<Vec<String>> = facts.threads.iter().map(row).collect();
    markup! {
        h3 { "Threads while " (facts.path) " waited" }
        p.dim { "two samples, " (facts.between_ms) " ms apart; " (facts.cpu_ms) " ms CPU of the process" }
        (table(&["Thread", "Name", "Which", "State", "Sleeps in", "System call", "CPU ms"], &rows))
    }
}

/// Databases with their logs, locks and holders.
pub fn databases(databases: &[DatabaseFile]) -> Markup {
    markup! {
        @if !databases.is_empty() {
            (folded(&format!("Databases ({})", databases.len()), markup! {
                @for facts in databases { (database(facts)) }
            }))
        }
    }
}

fn database(facts: &DatabaseFile) -> Markup {
    let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), words::bytes);
    let mut rows = vec![("Journal", facts.journal_mode.to_string()), ("Size", size(facts.size_bytes))];
    if let Some(wal) = &facts.wal {
        let log = format!("{}, of which {} in use", words::bytes(wal.size_bytes), size(wal.useful_bytes));
        rows.push(("Log", log));
    }
    if let Some(index) = &facts.index {
        let frames = format!(
            "frame {} committed, {} checkpointed, {} behind",
            index.max_frame,
            index.backfilled_frames,
            index.frames_behind()
        );
        rows.push(("Index", frames));
    }
    for lock in &facts.locks {
        let state = if lock.is_waiting { "waited for" } else { "held" };
        let pid = lock.pid.map_or("a process that is not shown".to_owned(), |pid| format!("pid {pid}"));
        rows.push(("Lock", format!("{}, {state} by {pid}", lock.words())));
    }
    let mut holders = Vec::new();
    for holder in &facts.holders {
        let counts = [holder.descriptors_db, holder.descriptors_wal, holder.descriptors_shm, holder.deleted];
        let mut row = vec![holder.pid.to_string()];
        row.extend(counts.iter().map(u64::to_string));
        row.push(holder.command.clone().to_string());
        holders.push(row);
    }
    markup! {
        h3 { (facts.path) }
        (list(&rows))
        @if !holders.is_empty() {
            (table(&["Pid", "db", "wal", "shm", "deleted", "Command"], &holders))
        }
    }
}
