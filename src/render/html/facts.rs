//! Facts of a server on the page: tables, the tree of its lineage, bars, and drawings of what was sampled.

use super::{code, escape, folded};
use crate::model::{
    Activity, Attempt, DatabaseFile, Descriptors, Health, Hop, Lineage, Listeners, Look, Server, Supervisor, Thread,
};
use crate::render::{plot, words};
use base64::Engine;
use std::collections::HashSet;
use std::fmt::Write as _;

/// Rows of a table; the JSON has all.
const MOST_ROWS: usize = 40;
/// Deepest nesting that is shown; a saved report could hold a circle.
const DEEPEST: usize = 48;

/// Each part of the examination that has facts, folded up but for the lineage.
pub fn sections(server: &Server) -> String {
    let mut out = String::new();
    if let Some(facts) = &server.lineage {
        out.push_str(&folded("Lineage", &lineage(server, facts), "open"));
    }
    if let Some(trend) = &server.trend {
        let drawn: Vec<Drawing> = plot::trend(trend).into_iter().collect();
        out.push_str(&folded("Over time", &drawings(&drawn), "open"));
    }
    if let Some(facts) = &server.descriptors {
        out.push_str(&folded("Descriptors", &descriptors(facts), ""));
    }
    if let Some(facts) = &server.listeners {
        out.push_str(&folded("Port", &port(facts), ""));
    }
    if let Some(facts) = &server.health {
        out.push_str(&folded("HTTP", &health(facts), ""));
    }
    out.push_str(&databases(&server.databases));
    out
}

/// A heading and an SVG.
type Drawing = (String, String);

/// Drawings as pictures: within one nothing can act.
fn drawings(drawn: &[Drawing]) -> String {
    let mut out = String::from("<div class=\"plots\">\n");
    for (title, svg) in drawn {
        let data = base64::engine::general_purpose::STANDARD.encode(svg);
        let _ = writeln!(out, "<img alt=\"{}\" src=\"data:image/svg+xml;base64,{data}\">", escape(title));
    }
    out + "</div>\n"
}

/// A table; cells are text.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    // A column of numbers stands to the right.
    let is_one = |cell: &String| {
        let number = cell.strip_suffix(" ms").unwrap_or(cell);
        number == "-" || number.parse::<f64>().is_ok_and(f64::is_finite)
    };
    let is_number = |index: usize| rows.iter().all(|row| row.get(index).is_some_and(is_one));
    let class = |index| if is_number(index) { " class=\"number\"" } else { "" };
    let mut out = String::from("<div class=\"scroll\"><table>\n<tr>");
    for (index, name) in header.iter().enumerate() {
        let _ = write!(out, "<th{}>{}</th>", class(index), escape(name));
    }
    out.push_str("</tr>\n");
    for row in rows.iter().take(MOST_ROWS) {
        out.push_str("<tr>");
        for (index, cell) in row.iter().enumerate() {
            let _ = write!(out, "<td{}>{}</td>", class(index), escape(cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table></div>\n");
    if rows.len() > MOST_ROWS {
        let _ = writeln!(out, "<p class=\"dim\">{} more rows are in the JSON.</p>", rows.len() - MOST_ROWS);
    }
    out
}

/// Labels with texts beside them.
fn list(rows: &[(&str, String)]) -> String {
    let mut out = String::from("<dl>\n");
    for (label, text) in rows {
        let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(label), escape(text));
    }
    out + "</dl>\n"
}

/// Lengths beside each other: label, length, words.
fn bars(rows: &[(String, f64, String, bool)]) -> String {
    let most = rows.iter().map(|row| row.1).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let mut out = String::from("<div class=\"bars\">\n");
    for (label, length, words, is_bad) in rows.iter().take(MOST_ROWS) {
        let class = if *is_bad { "bar critical" } else { "bar" };
        let _ = writeln!(
            out,
            "<span>{}</span><div class=\"{class}\" style=\"width:{:.1}%\"></div><span class=\"number\">{}</span>",
            escape(label),
            (length / most * 100.0).clamp(0.0, 100.0),
            escape(words)
        );
    }
    out + "</div>\n"
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_else(|| "-".to_owned())
}

fn number(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

fn lineage(server: &Server, facts: &Lineage) -> String {
    let mut nodes: Vec<&Hop> = Vec::new();
    for hop in facts.hops.iter().chain(&facts.relatives) {
        if nodes.iter().all(|known| known.pid != hop.pid) {
            nodes.push(hop);
        }
    }
    nodes.sort_by_key(|hop| hop.pid);
    let pids: HashSet<u32> = nodes.iter().map(|hop| hop.pid).collect();
    let mut out = String::from("<ul class=\"tree\">\n");
    let mut drawn = HashSet::new();
    let is_top = |hop: &&&Hop| !pids.contains(&hop.ppid) || hop.ppid == hop.pid;
    // Whatever hangs in a circle has no top.
    for hop in nodes.iter().filter(is_top).chain(&nodes) {
        node(&mut out, server, hop, &nodes, &mut drawn, 0);
    }
    out.push_str("</ul>\n");
    let claim = &facts.supervisor;
    let claims = match claim.claims_this {
        Some(true) => "claims this server",
        Some(false) if claim.kind == "none" => "nobody claims this server",
        Some(false) => "does not claim this server",
        None => "it is not known whether it claims this server",
    };
    let mut rows = vec![("Supervisor", format!("{}: {claims} ({})", claim.title(), claim.evidence))];
    rows.push((
        "Expected",
        facts.expected.as_ref().map_or("nobody".to_owned(), |expected| {
            format!("{} {} ({})", expected.kind, expected.name, expected.why)
        }),
    ));
    rows.extend(about(claim));
    rows.push(("Detached", format!("{}: {}", if facts.detached { "yes" } else { "no" }, facts.detached_because)));
    if let Some(cgroup) = &facts.cgroup {
        rows.push(("Control group", format!("{cgroup} ({})", facts.unit.as_deref().unwrap_or("no service unit"))));
    }
    if let Some(relaunch) = &facts.relaunch {
        rows.push((
            "Looked on",
            format!(
                "for {} at {}: {} pids, restarts +{}, the port opened or closed {} times; {}",
                words::duration(relaunch.observed_ms),
                relaunch.of.as_deref().unwrap_or("the supervisor"),
                relaunch.pids.len(),
                relaunch.restarts,
                relaunch.port_changes,
                relaunch.states.join(", ")
            ),
        ));
    }
    for claim in &facts.claims {
        rows.push(("Also for it", format!("{} ({})", claim.title(), claim.evidence)));
    }
    for (name, value) in &facts.markers {
        rows.push(("Marker", format!("{name}={value}")));
    }
    out + &list(&rows)
}

fn about(claim: &Supervisor) -> Vec<(&'static str, String)> {
    let fields = [
        ("State", &claim.state),
        ("Since", &claim.since),
        ("Last end", &claim.result),
        ("Command", &claim.command),
        ("Policy", &claim.policy),
        ("Configured in", &claim.configuration),
        ("Log", &claim.log),
    ];
    let mut rows: Vec<(&str, String)> =
        fields.into_iter().filter_map(|(label, value)| Some((label, value.clone()?))).collect();
    rows.extend(claim.restarts.map(|restarts| ("Restarts", restarts.to_string())));
    rows
}

/// One process and those below it.
fn node(out: &mut String, server: &Server, hop: &Hop, nodes: &[&Hop], drawn: &mut HashSet<u32>, depth: usize) {
    if depth > DEEPEST || !drawn.insert(hop.pid) {
        return;
    }
    let is_examined = server.pid == Some(hop.pid);
    let name = hop.name.as_deref().filter(|name| *name != hop.role.words());
    let name = name.map_or(String::new(), |name| format!(" {name}"));
    let mut first = format!("{}{name} · pid {}", hop.role.words(), hop.pid);
    if let Some(age) = hop.age_ms {
        let _ = write!(first, " · up {}", words::duration(age));
    }
    if let Some(user) = &hop.user {
        let _ = write!(first, " · {user}");
    }
    let (class, mark) = match is_examined {
        true => ("examined", " <span class=\"mark\">◀ examined</span>"),
        false => ("hop", ""),
    };
    let _ = write!(
        out,
        "<li><div class=\"{class}\">{}{mark}</div><div>{}</div><div class=\"dim\">{}</div>",
        escape(&first),
        code(&hop.command),
        escape(&hop.evidence)
    );
    let children: Vec<&&Hop> =
        nodes.iter().filter(|other| other.ppid == hop.pid && !drawn.contains(&other.pid)).collect();
    if !children.is_empty() {
        out.push_str("\n<ul>\n");
        for child in children {
            node(out, server, child, nodes, drawn, depth + 1);
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</li>\n");
}

fn descriptors(facts: &Descriptors) -> String {
    let share = facts.share().unwrap_or(0.0);
    let class = match share {
        share if share >= 0.95 => "critical",
        share if share >= 0.8 => "warning",
        _ => "healthy",
    };
    let mut out = format!(
        "<p>{} open of {} (hard limit {})</p>\n<div class=\"meter\"><div class=\"{class}\" style=\"width:{:.1}%\"></div></div>\n",
        escape(&number(facts.open)),
        escape(&number(facts.soft_limit)),
        escape(&number(facts.hard_limit)),
        (share * 100.0).clamp(0.0, 100.0)
    );
    let mut kinds: Vec<(&String, u64)> = facts.by_kind.iter().map(|(kind, count)| (kind, *count)).collect();
    kinds.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    let rows: Vec<_> =
        kinds.into_iter().map(|(kind, count)| (kind.clone(), count as f64, count.to_string(), false)).collect();
    out.push_str(&bars(&rows));
    if !facts.sqlite.is_empty() {
        let row = |family: &crate::model::SqliteFamily| {
            let counts = [family.db, family.wal, family.shm, family.deleted, family.connections];
            let mut row: Vec<String> = counts.iter().map(u64::to_string).collect();
            row.push(family.path.to_string());
            row
        };
        let rows: Vec<_> = facts.sqlite.iter().map(row).collect();
        out.push_str(&table(&["db", "wal", "shm", "deleted", "connections", "Database"], &rows));
    }
    let rows: Vec<_> = facts
        .targets
        .iter()
        .map(|target| {
            let deleted = match (target.deleted, target.size_bytes) {
                (true, Some(size)) => format!(" (unlinked, {})", words::bytes(size)),
                (true, None) => " (unlinked)".to_owned(),
                _ => String::new(),
            };
            vec![target.count.to_string(), target.kind.to_string(), format!("{}{deleted}", target.target)]
        })
        .collect();
    out.push_str(&table(&["Count", "Kind", "Target"], &rows));
    if let Some(close_wait) = facts.close_wait.as_ref().filter(|close_wait| !close_wait.by_peer.is_empty()) {
        let rows: Vec<_> =
            close_wait.by_peer.iter().map(|peer| vec![peer.count.to_string(), peer.peer.clone()]).collect();
        out.push_str(&table(&["CLOSE-WAIT", "Peer"], &rows));
    }
    out
}

fn port(facts: &Listeners) -> String {
    let sockets: Vec<_> = facts
        .sockets
        .iter()
        .map(|socket| {
            let held: Vec<String> = socket.holders.iter().map(u32::to_string).collect();
            vec![
                socket.address.clone(),
                socket.accept_queue.to_string(),
                number(socket.backlog),
                text(socket.unit.as_ref()),
                if held.is_empty() { format!("uid {}, not readable", socket.uid) } else { held.join(", ") },
            ]
        })
        .collect();
    let mut out = table(&["Address", "Queue", "Backlog", "Unit", "Held by"], &sockets);
    let holders: Vec<_> = facts
        .holders
        .iter()
        .map(|holder| {
            let program = holder.kind.map(|kind| kind.title().to_owned()).or_else(|| holder.front.clone());
            vec![holder.pid.to_string(), program.unwrap_or_else(|| "other".to_owned()), holder.command.clone()]
        })
        .collect();
    out.push_str(&table(&["Pid", "Program", "Command"], &holders));
    let connections = &facts.connections;
    out.push_str(&list(&[(
        "Connections",
        format!(
            "{} established, {} CLOSE-WAIT, {} not accepted",
            connections.established, connections.close_wait, connections.not_accepted
        ),
    )]));
    out + &looks("while the health request waited", &facts.looks)
}

/// What waited at the port while a request did.
fn looks(title: &str, looks: &[Look]) -> String {
    if looks.is_empty() {
        return String::new();
    }
    let rows: Vec<_> = looks
        .iter()
        .map(|look| {
            let accepted = match look.probe_accepted {
                Some(true) => "yes",
                Some(false) => "no",
                None => "not seen",
            };
            vec![
                format!("{} ms", look.after_connect_ms),
                look.accept_queue.to_string(),
                look.not_accepted.to_string(),
                number(look.unanswered),
                look.accepted_since.to_string(),
                look.answered_since.to_string(),
                accepted.to_owned(),
            ]
        })
        .collect();
    let header = [
        "After",
        "Queue",
        "Owned by nobody",
        "Unanswered",
        "Accepted since",
        "Answered since",
        "Our request accepted",
    ];
    let drawn: Vec<Drawing> = plot::looks(looks, title).into_iter().collect();
    format!("<h3>The port {}</h3>\n{}{}", escape(title), drawings(&drawn), table(&header, &rows))
}

fn health(facts: &Health) -> String {
    let mut rows = vec![("Outcome", facts.outcome.words().to_owned())];
    rows.extend(facts.http_status.map(|status| ("HTTP status", status.to_string())));
    for (label, value) in
        [("Server", &facts.server_header), ("Redirects to", &facts.redirect_to), ("Note", &facts.note)]
    {
        rows.extend(value.clone().map(|value| (label, value)));
    }
    if let Some(answer) = &facts.answer {
        rows.extend(answer.status.clone().map(|status| ("Says", status)));
        rows.extend(answer.version.clone().map(|version| ("Version", version)));
        rows.extend(answer.active_streams.map(|streams| ("Streams", streams.to_string())));
        rows.extend(
            answer.accepted_total.map(|total| ("Accepted", format!("{total} connections since its start"))),
        );
        rows.extend(answer.checks.iter().map(|(name, status)| ("Check", format!("{name}: {status}"))));
    }
    let mut out = list(&rows);
    for (index, attempt) in facts.attempts.iter().enumerate() {
        let decides = if facts.decided_by == Some(index) && facts.attempts.len() > 1 { " (decides)" } else { "" };
        out.push_str(&phases(attempt, decides));
    }
    for route in &facts.routes {
        out.push_str(&phases(&route.attempt, &format!(" (deadline {} ms)", route.deadline_ms)));
        out.push_str(&looks("while that route waited", &route.looks));
        out.push_str(&route.activity.as_ref().map_or(String::new(), activity));
    }
    out.push_str(&facts.activity.as_ref().map_or(String::new(), activity));
    if let Some(series) = &facts.series {
        let rows: Vec<_> = series
            .histogram
            .iter()
            .map(|bucket| {
                let label =
                    bucket.up_to_ms.map_or("longer".to_owned(), |ms| format!("up to {}", words::milliseconds(ms)));
                (label, bucket.count as f64, bucket.count.to_string(), false)
            })
            .collect();
        let _ = writeln!(out, "<h3>{} of {} requests</h3>", series.requests, series.planned);
        out.push_str(&bars(&rows));
    }
    out
}

/// The phases of a request as bars of their time.
fn phases(attempt: &Attempt, remark: &str) -> String {
    let rows: Vec<_> = attempt
        .phases
        .iter()
        .map(|phase| {
            let error = phase.error.as_deref().map_or(String::new(), |error| format!(": {error}"));
            (
                phase.name.words().to_owned(),
                phase.ms,
                format!("{}{error}", words::milliseconds(phase.ms)),
                phase.error.is_some(),
            )
        })
        .collect();
    let address = attempt.address.as_deref().map_or(String::new(), |address| format!(" at {address}"));
    let status = attempt.http_status.map_or(String::new(), |status| format!(", HTTP {status}"));
    format!(
        "<h3>GET {}</h3>\n<p class=\"dim\">{}</p>\n{}",
        escape(&attempt.url),
        escape(&format!("{}{status}, {} bytes{address}{remark}", attempt.outcome.words(), attempt.bytes_received)),
        bars(&rows)
    )
}

fn activity(facts: &Activity) -> String {
    let row = |thread: &Thread| {
        let last = thread.last();
        let call = last.and_then(|look| look.system_call.as_ref()).map(|call| {
            let on = call.descriptor.map_or(String::new(), |descriptor| format!(" on {descriptor}"));
            format!("{}{on}", call.name)
        });
        vec![
            thread.tid.to_string(),
            thread.name.clone(),
            if thread.is_main {
                "main"
            } else if thread.is_new {
                "new"
            } else {
                ""
            }
            .to_owned(),
            last.map_or(String::new(), |look| look.state.words().to_owned()),
            text(last.and_then(|look| look.wait_channel.as_ref())),
            text(call.as_ref()),
            number(thread.cpu_ms),
        ]
    };
    let rows: Vec<_> = facts.threads.iter().map(row).collect();
    format!(
        "<h3>Threads while {} waited</h3>\n<p class=\"dim\">two looks, {} ms apart; {} ms CPU of the process</p>\n{}",
        escape(&facts.path),
        facts.between_ms,
        facts.cpu_ms,
        table(&["Thread", "Name", "Which", "State", "Sleeps in", "System call", "CPU ms"], &rows)
    )
}

/// Databases with their logs, locks and holders.
pub fn databases(databases: &[DatabaseFile]) -> String {
    if databases.is_empty() {
        return String::new();
    }
    let mut out = String::new();
    for database in databases {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), words::bytes);
        let mut rows = vec![("Journal", database.journal_mode.clone()), ("Size", size(database.size_bytes))];
        if let Some(wal) = &database.wal {
            rows.push((
                "Log",
                format!("{}, of which {} in use", words::bytes(wal.size_bytes), size(wal.useful_bytes)),
            ));
        }
        if let Some(index) = &database.index {
            rows.push((
                "Index",
                format!(
                    "frame {} committed, {} copied back, {} behind",
                    index.max_frame,
                    index.backfilled_frames,
                    index.frames_behind()
                ),
            ));
        }
        for lock in &database.locks {
            let how = if lock.is_waiting { "is waited for" } else { "is held" };
            let pid = lock.pid.map_or("a process that is not shown".to_owned(), |pid| format!("pid {pid}"));
            rows.push(("Lock", format!("{} {how} by {pid}", lock.words())));
        }
        let _ = write!(out, "<h3>{}</h3>\n{}", escape(&database.path), list(&rows));
        let holders: Vec<_> = database
            .holders
            .iter()
            .map(|holder| {
                let counts =
                    [holder.descriptors_db, holder.descriptors_wal, holder.descriptors_shm, holder.deleted];
                let mut row = vec![holder.pid.to_string()];
                row.extend(counts.iter().map(u64::to_string));
                row.push(holder.command.clone());
                row
            })
            .collect();
        if !holders.is_empty() {
            out.push_str(&table(&["Pid", "db", "wal", "shm", "deleted", "Command"], &holders));
        }
    }
    folded(&format!("Databases ({})", databases.len()), &out, "")
}
