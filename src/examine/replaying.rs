//! A saved report instead of a host: its facts, judged by today's rules.

use super::Request;
use crate::diagnose;
use crate::model::{Envelope, Gap, GapReason, Part, Replayed, Server, id};
use crate::report;
use std::collections::BTreeSet;
use std::time::Duration;

/// Judges a report again, as far as the request asks for it. The envelope keeps when and where it was recorded.
///
/// # Errors
/// When the report has no server that the request names.
pub fn replay(recorded: Envelope, request: &Request) -> Result<Envelope, String> {
    let mut envelope = recorded;
    let elapsed = Duration::from_millis(envelope.elapsed_ms);
    let mut replayed = Replayed {
        tool: envelope.tool.clone(),
        command: envelope.command.clone(),
        status: envelope.status,
        root_causes: envelope.servers.iter().flat_map(|server| server.root_causes.clone()).collect(),
        newer_rules: Vec::new(),
        is_newer: version(&envelope.tool.version) > version(env!("CARGO_PKG_VERSION")),
    };
    let had = envelope.servers.len();
    envelope.servers.retain(|server| is_named(server, request));
    if envelope.servers.is_empty() && had > 0 {
        return Err(format!("none of the {had} servers in the report is the one that was named"));
    }
    let mut newer = BTreeSet::new();
    for server in &mut envelope.servers {
        let known = rules_of(server);
        narrow(server, &request.parts);
        diagnose::judge(server);
        newer.extend(rules_of(server).difference(&known).cloned());
    }
    replayed.newer_rules = newer.into_iter().collect();
    // Pid files without a server were not kept as facts; what was found of them stands.
    envelope.findings.retain(|finding| finding.id == id::STALE_PID_FILE || envelope.history.is_some());
    envelope.findings.extend(diagnose::judge_host(&[], &envelope.databases));
    envelope.command = request.command.to_owned();
    envelope.replayed = Some(replayed);
    Ok(report::seal(envelope, elapsed))
}

/// Everything that was decided of a server, or could not be.
fn rules_of(server: &Server) -> BTreeSet<String> {
    let found = server.findings.iter().map(|finding| &finding.id);
    let open = server.gaps.iter().flat_map(|gap| &gap.blocks);
    found.chain(&server.passed).chain(open).cloned().collect()
}

fn is_named(server: &Server, request: &Request) -> bool {
    let named = &request.selection;
    let home = named.home.as_ref().map(|home| crate::parse::text::printable(home.as_os_str().as_encoded_bytes()));
    named.pid.is_none_or(|pid| server.pid == Some(pid))
        && named.port.is_none_or(|port| server.port == Some(port))
        && named.kind.is_none_or(|kind| server.kind == kind)
        && home.is_none_or(|home| server.home.as_deref() == Some(home.as_str()))
}

/// Leaves the parts that were asked for; one that the report does not have is a gap.
fn narrow(server: &mut Server, parts: &[Part]) {
    let has = server.examined.clone();
    // A full check of a report of less is a check of what it has.
    let wanted: Vec<Part> = parts.iter().copied().filter(|part| has.contains(part)).collect();
    if wanted.is_empty() {
        let ids: &[&str] = match parts {
            [Part::Descriptors] => id::DESCRIPTORS,
            [Part::Lineage] => id::LINEAGE,
            [Part::Health] => id::HTTP,
            [Part::Databases] => id::DATABASES,
            _ => &[id::PORT_HELD],
        };
        let detail = "the report was written by a command that does not look at it";
        server.gaps.push(Gap::new("this part of the server", GapReason::NotFound, detail).blocking(ids));
        server.examined = parts.to_vec();
        return;
    }
    server.examined = wanted;
    let asks = |part| server.examined.contains(&part);
    if !asks(Part::Descriptors) {
        server.descriptors = None;
        server.trend = None;
    }
    if !asks(Part::Lineage) {
        server.lineage = None;
    }
    if !asks(Part::Port) && !asks(Part::Health) {
        server.listeners = None;
    }
    if !asks(Part::Health) {
        server.health = None;
    }
    if !asks(Part::Databases) {
        server.databases = Vec::new();
    }
}

/// Numbers of a version, as far as they are numbers.
fn version(text: &str) -> Vec<u64> {
    text.split(['.', '-', '+']).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn versions_are_numbers() {
        assert!(version("0.10.0") > version("0.9.9"));
        assert!(version("1.0.0-rc1") >= version("1.0.0"));
        assert!(version("x").is_empty());
    }
}
