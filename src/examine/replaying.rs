//! Diagnosis of a saved report: its facts, with the rules of this version.

use super::Request;
use crate::model::{
    Envelope, Gap, GapReason, OwnTerm, Part, PidFile, PidFileState, Replayed, Server, WordedFinding, id,
};
use crate::parse::version::is_newer;
use crate::redact;
use crate::report;
use crate::wording;
use std::collections::BTreeSet;
use std::time::Duration;

/// Diagnoses a report again, limited to the requested parts. The envelope keeps the time and host of the
/// recording. The program of the earlier diagnosis and its results go into [`Replayed`].
///
/// # Errors
/// When the report has no server that the request selects.
pub fn replay(recorded: Envelope, request: &Request) -> Result<Envelope, String> {
    let mut envelope = recorded;
    // Text of another program's run, not facts.
    envelope.demonstrations.clear();
    envelope.explanations.clear();
    // Before the diagnosis, so that no finding contains what is masked.
    redact::mask(&mut envelope);
    if envelope.pid_files.is_empty() {
        envelope.pid_files = envelope.findings.iter().filter_map(pid_file_of).collect();
    }
    let elapsed = Duration::from_millis(envelope.elapsed_ms);
    // If the report was diagnosed again and saved, its facts are still those of the first program.
    let first = envelope.replayed.take().map(|before| (before.tool, before.command));
    let (tool, command) = first.unwrap_or_else(|| (envelope.tool.clone(), envelope.command.clone()));
    let of_servers = envelope.servers.iter().flat_map(|server| server.root_causes.clone());
    let mut replayed = Replayed {
        is_newer: is_newer(&tool.version),
        tool,
        command,
        status: envelope.status,
        root_causes: of_servers.map(Into::into).collect(),
        newer_rules: Vec::new(),
    };
    let had = envelope.servers.len();
    envelope.servers.retain(|server| is_named(server, request));
    if envelope.servers.is_empty() && had > 0 {
        return Err(format!(
            "no server in the report matches the selection; select another one, or none to see all {had}"
        ));
    }
    let mut newer = BTreeSet::new();
    for server in &mut envelope.servers {
        let known = rules_of(server);
        narrow(server, &request.parts);
        wording::judge(server);
        newer.extend(rules_of(server).difference(&known).cloned());
    }
    replayed.newer_rules = newer.into_iter().map(Into::into).collect();
    super::reporting::judge_host(&mut envelope);
    envelope.tool = report::own_tool();
    envelope.command = request.command.to_owned().into();
    envelope.replayed = Some(replayed);
    Ok(report::seal(envelope, elapsed))
}

/// The pid file of a finding: older versions did not keep pid files without a server as facts.
fn pid_file_of(finding: &WordedFinding) -> Option<PidFile> {
    let path = finding.subject.as_deref().filter(|_| finding.id == id::STALE_PID_FILE)?;
    let [in_file, now] = finding.evidence.as_slice() else { return None };
    let state = match now.value.as_str()? {
        "no such process" => PidFileState::Dead,
        _ if finding.title.contains("another time") => PidFileState::OtherStart,
        _ => PidFileState::OtherProgram,
    };
    let pid = u32::try_from(in_file.value.as_u64()?).ok()?;
    Some(PidFile { path: path.into(), pid, state, detail: now.value.as_str()?.into() })
}

/// Ids of all findings that were checked for a server, including those that could not be decided.
fn rules_of(server: &Server) -> BTreeSet<String> {
    let found = server.findings.iter().map(|finding| finding.id.as_str());
    let open = server.gaps.iter().flat_map(|gap| &gap.blocks).map(|id| id.as_str());
    found.chain(server.passed.iter().map(String::as_str)).chain(open).map(str::to_owned).collect()
}

fn is_named(server: &Server, request: &Request) -> bool {
    let named = &request.selection;
    let home = named.home.as_ref().map(|home| crate::model::text::printable(home.as_os_str().as_encoded_bytes()));
    named.pid.is_none_or(|pid| server.pid == Some(pid))
        && named.port.is_none_or(|port| server.port == Some(port))
        && named.kind.is_none_or(|kind| server.kind == kind)
        && home.is_none_or(|home| server.home.as_deref() == Some(home.as_str()))
}

/// The findings that each part of an examination decides.
const BLOCKED: &[(Part, &[&str])] = &[
    (Part::Descriptors, id::DESCRIPTORS),
    (Part::Lineage, id::LINEAGE),
    (Part::Health, id::HTTP),
    (Part::Port, &[id::PORT_HELD]),
    (Part::Databases, id::DATABASES),
];

/// Keeps the requested parts; a part that the report does not have is a gap.
fn narrow(server: &mut Server, parts: &[Part]) {
    let has = server.examined.clone();
    // A full check of a partial report is a check of the parts that it has.
    let wanted: Vec<Part> = parts.iter().copied().filter(|part| has.contains(part)).collect();
    let lacks_all = wanted.is_empty();
    server.examined = if lacks_all { parts.to_vec() } else { wanted };
    let asks = |part| server.examined.contains(&part);
    // Gaps that block only other parts do not matter.
    let is_of_others = |blocked: &OwnTerm| {
        BLOCKED.iter().any(|(part, ids)| !asks(*part) && ids.contains(&blocked.as_str()))
            && !BLOCKED.iter().any(|(part, ids)| asks(*part) && ids.contains(&blocked.as_str()))
    };
    server.gaps.retain(|gap| gap.blocks.is_empty() || !gap.blocks.iter().all(is_of_others));
    if lacks_all {
        let ids: Vec<&str> =
            BLOCKED.iter().filter(|(part, _)| asks(*part)).flat_map(|(_, ids)| *ids).copied().collect();
        let detail = "the report was written by a command that does not examine it";
        let gap = Gap::new("this part of the server", GapReason::NotFound, detail).blocking(&ids);
        server.gaps.push(gap);
    }
    if !asks(Part::Descriptors) {
        server.descriptors = None;
        server.trend = None;
        server.exercise = None;
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
