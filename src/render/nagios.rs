//! A result in the format of the Monitoring Plugins Development Guidelines, for Nagios and compatible systems:
//! a line of status and text, `|`, performance data, then lines of detail.

use super::fleet::{self, Name};
use crate::model::{CEILING_CRITICAL, CEILING_WARNING, Envelope, Gap, Server, Severity, Status, WordedFinding};
use crate::wording;

/// The service name at the start of the output.
const SERVICE: &str = "HERMES";
/// Maximum length of one line, in characters.
const MAX_LINE: usize = 240;
/// Maximum number of detail lines.
const MAX_LINES: usize = 24;
/// Maximum length of performance data in characters. Nagios reads 8 KiB in all (`MAX_PLUGIN_OUTPUT_LENGTH`);
/// whole items are left out.
const MAX_DATA: usize = 4096;

/// The order of [`Status::worst`].
const WORST_FIRST: [Status; 4] = [Status::Critical, Status::Warning, Status::Unknown, Status::Healthy];

/// The output for a redacted envelope. `names` are the names of its servers, determined before the redaction.
pub fn nagios(envelope: &Envelope, names: &[Name]) -> String {
    let mut named: Vec<(&Name, &Server)> = names.iter().zip(&envelope.servers).collect();
    let rank = |status| WORST_FIRST.iter().position(|known| *known == status);
    named.sort_by(|(a_name, a), (b_name, b)| {
        rank(a.status).cmp(&rank(b.status)).then_with(|| a_name.server.cmp(&b_name.server))
    });
    let mut out =
        format!("{SERVICE} {} - {}", state(envelope.status), fleet::harmless(&summary(envelope, &named), MAX_LINE));
    let data = performance(envelope, &named);
    if !data.is_empty() {
        out.push_str(" | ");
        out.push_str(&data);
    }
    for line in detail(envelope, &named) {
        out.push('\n');
        out.push_str(&fleet::harmless(&line, MAX_LINE));
    }
    out.push('\n');
    out
}

/// The output if nothing could be examined, with the reason.
pub fn nothing(why: &str) -> String {
    format!("{SERVICE} {} - {}\n", state(Status::Unknown), fleet::harmless(why, MAX_LINE))
}

/// The status words of the guidelines for exit status 0 to 3.
fn state(status: Status) -> &'static str {
    match status {
        Status::Healthy => "OK",
        Status::Warning => "WARNING",
        Status::Critical => "CRITICAL",
        Status::Unknown => "UNKNOWN",
    }
}

/// The number of servers by status, and the worst problem.
fn summary(envelope: &Envelope, named: &[(&Name, &Server)]) -> String {
    let why = named
        .iter()
        .find(|(_, server)| server.status == envelope.status)
        .map(|(name, server)| format!("{}: {}", name.server, reason(server)))
        .or_else(|| envelope.findings.iter().max_by_key(|finding| finding.severity).map(line))
        .or_else(|| envelope.gaps.first().map(missing));
    let counts = match named {
        [] | [_] => None,
        _ => Some(counted(named)),
    };
    match (counts, why) {
        (Some(counts), Some(why)) if envelope.status != Status::Healthy => format!("{counts} - {why}"),
        (Some(counts), _) => counts,
        (None, Some(why)) => why,
        (None, None) => "nothing was examined".to_owned(),
    }
}

/// For example `3 servers: 1 critical, 2 ok`.
fn counted(named: &[(&Name, &Server)]) -> String {
    let of = |status: Status| named.iter().filter(|(_, server)| server.status == status).count();
    let parts: Vec<String> = WORST_FIRST
        .into_iter()
        .map(|status| (of(status), state(status).to_ascii_lowercase()))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    format!("{} servers: {}", named.len(), parts.join(", "))
}

fn roots(server: &Server) -> Vec<&WordedFinding> {
    wording::verdict(server).roots.into_iter().map(|root| root.finding).collect()
}

/// Why a server has its status: the first of its root causes, or a gap.
fn reason(server: &Server) -> String {
    match (server.status, roots(server).as_slice()) {
        (Status::Healthy, _) => "healthy".to_owned(),
        (_, [root]) => line(root),
        (_, [first, others @ ..]) => format!("{}, and {} more", line(first), others.len()),
        (Status::Unknown, []) => {
            let decides = |gap: &&Gap| !gap.blocks.is_empty();
            let gap = server.gaps.iter().find(decides).or_else(|| server.gaps.first());
            gap.map_or("inconclusive".to_owned(), missing)
        }
        (Status::Warning | Status::Critical, []) => {
            let worst = server.findings.iter().max_by_key(|finding| finding.severity);
            worst.map_or(String::new(), line)
        }
    }
}

fn line(finding: &WordedFinding) -> String {
    format!("{} [{}]", finding.title, finding.id)
}

fn missing(gap: &Gap) -> String {
    let detail = if gap.has_detail() { format!(" ({})", gap.detail) } else { String::new() };
    format!("{}: {}{detail}", gap.what, gap.reason.words())
}

/// Every server with all warnings and worse, causes before consequences. For one server with one cause the
/// first line is enough.
fn detail(envelope: &Envelope, named: &[(&Name, &Server)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, server) in named {
        if named.len() > 1 {
            lines.push(format!("{} {}: {}", name.server, state(server.status), reason(server)));
        }
        for root in roots(server).into_iter().skip(1) {
            lines.push(format!("{} and: {}", name.server, line(root)));
        }
        let is_consequence = |finding: &&WordedFinding| {
            finding.severity > Severity::Info && !server.root_causes.contains(&finding.id)
        };
        for finding in server.findings.iter().filter(is_consequence) {
            lines.push(format!("{} so: {}", name.server, line(finding)));
        }
    }
    lines.extend(envelope.findings.iter().filter(|finding| finding.severity > Severity::Info).map(line));
    let omitted = lines.len().saturating_sub(MAX_LINES);
    if omitted > 0 {
        lines.truncate(MAX_LINES);
        lines.push(format!("and {omitted} more lines"));
    }
    lines
}

/// `label=value[UOM];warn;crit;min;max`, sorted by the names of the servers, so that graphs stay stable.
fn performance(envelope: &Envelope, named: &[(&Name, &Server)]) -> String {
    let mut items = vec![
        format!("servers={};;;0", named.len()),
        format!("time={:.3}s;;;0", envelope.elapsed_ms as f64 / 1000.0),
    ];
    let mut named = named.to_vec();
    named.sort_by(|(a, _), (b, _)| a.server.cmp(&b.server));
    for (name, server) in named.into_iter().take(fleet::MAX_SERVERS) {
        of_server(&name.server, server, &mut items);
    }
    let mut out = String::new();
    for item in items {
        if out.len() + item.len() < MAX_DATA {
            out.push_str(if out.is_empty() { "" } else { " " });
            out.push_str(&item);
        }
    }
    out
}

fn of_server(name: &str, server: &Server, items: &mut Vec<String>) {
    if let Some(descriptors) = &server.descriptors {
        if let Some(open) = descriptors.open {
            let limit = descriptors.soft_limit.filter(|limit| *limit > 0);
            let range = limit.map_or(";;;0".to_owned(), |limit| {
                // A plugin alerts above its threshold, a finding begins at its threshold.
                let below = |share: f64| ((limit as f64 * share).ceil() as u64).saturating_sub(1);
                format!(";{};{};0;{limit}", below(CEILING_WARNING), below(CEILING_CRITICAL))
            });
            items.push(format!("{name}_descriptors={open}{range}"));
        }
        for (database, handles) in fleet::handles(server) {
            items.push(format!("{name}_{database}_handles={};;;0", handles.db.saturating_add(handles.wal)));
        }
        if let Some(close_wait) = &descriptors.close_wait {
            items.push(format!("{name}_close_wait={};;;0", close_wait.first));
        }
    }
    if let Some(listeners) = server.listeners.as_ref().filter(|listeners| !listeners.sockets.is_empty()) {
        items.push(format!("{name}_accept_queue={};;;0", listeners.queued()));
    }
    if let Some(seconds) = server.health.as_ref().and_then(|health| fleet::seconds(&health.phases)) {
        items.push(format!("{name}_health={seconds:.6}s;;;0"));
    }
    if let Some(resident) = server.process.as_ref().and_then(|process| process.resident_bytes) {
        items.push(format!("{name}_resident={resident}B;;;0"));
    }
    if let Some(restarts) = server.lineage.as_ref().and_then(fleet::restarts) {
        items.push(format!("{name}_restarts={restarts}c;;;0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::replay;
    use crate::model::{GapReason, id};

    fn host(name: &str) -> Envelope {
        let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        replay::read(&std::fs::read(path).unwrap()).unwrap()
    }

    fn first_line(envelope: &Envelope) -> String {
        let answer = nagios(envelope, &fleet::names(envelope));
        let line = answer.lines().next().unwrap_or_default();
        line.split(" | ").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn an_unknown_status_names_the_failed_check() {
        let mut envelope = host("healthy-pool");
        envelope.status = Status::Unknown;
        let server = &mut envelope.servers[0];
        server.status = Status::Unknown;
        server.gaps = vec![
            Gap::new("stacks", GapReason::Unsupported, ""),
            Gap::new("descriptors of pid 7", GapReason::Permission, "ask root").blocking(&[id::DESCRIPTOR_CEILING]),
        ];
        let name = fleet::names(&envelope)[0].server.clone();
        let expected = format!("HERMES UNKNOWN - {name}: descriptors of pid 7: no permission (ask root)");
        assert_eq!(first_line(&envelope), expected);
        envelope.servers.clear();
        envelope.gaps.clear();
        assert_eq!(first_line(&envelope), "HERMES UNKNOWN - nothing was examined");
        envelope.gaps.push(Gap::new("servers", GapReason::NotFound, ""));
        assert_eq!(first_line(&envelope), "HERMES UNKNOWN - servers: not found");
    }

    #[test]
    fn reports_host_findings_even_if_all_servers_are_healthy() {
        let mut envelope = host("healthy-pool");
        let finding = host("close-wait").servers[0]
            .findings
            .iter()
            .find(|finding| finding.severity == Severity::Warning)
            .cloned();
        envelope.findings.extend(finding);
        envelope.status = Status::Warning;
        let line = first_line(&envelope);
        assert!(line.starts_with("HERMES WARNING - ") && line.ends_with("[close-wait-leak]"), "{line}");
    }
}
