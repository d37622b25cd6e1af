//! The verdict of a server as a tree, for every output format: root causes with their consequences, notes, steps.

use super::steps::is_about_reports;
use crate::model::{NextStep, Server, Severity, Status, WordedFinding};

/// Maximum depth of the tree: a saved report could be hostile.
const MAX_DEPTH: usize = 32;

/// The verdict of one server.
pub struct WordedVerdict<'a> {
    /// Root causes, most severe first.
    pub roots: Vec<Cause<'a>>,
    /// Findings that are only notes.
    pub notes: Vec<&'a WordedFinding>,
    /// The steps of all root causes, without duplicates, and where to read more.
    pub steps: Vec<NextStep>,
    /// What to print if there is no root cause.
    pub summary: &'static str,
}

/// A finding with its consequences.
pub struct Cause<'a> {
    /// The finding.
    pub finding: &'a WordedFinding,
    /// What it causes.
    pub effects: Vec<Cause<'a>>,
}

/// Builds the tree from the causes of each finding.
pub fn verdict(server: &Server) -> WordedVerdict<'_> {
    let is_root =
        |finding: &&WordedFinding| server.root_causes.contains(&finding.id) && finding.caused_by.is_empty();
    let is_note = |finding: &&WordedFinding| {
        finding.severity == Severity::Info
            && finding.caused_by.is_empty()
            && !server.root_causes.contains(&finding.id)
    };
    let roots: Vec<&WordedFinding> = server.findings.iter().filter(is_root).collect();
    let mut steps = distinct_steps(&roots);
    steps.extend(
        roots.first().map(|first| NextStep::run("what this means", format!("hermes-doctor explain {}", first.id))),
    );
    WordedVerdict {
        roots: roots.into_iter().map(|root| cause(root, server, &mut vec![root.id.as_str()])).collect(),
        notes: server.findings.iter().filter(is_note).collect(),
        steps,
        summary: match server.status {
            Status::Unknown => "Inconclusive: a required check could not run (see Not checked).",
            _ => "No problems found.",
        },
    }
}

impl WordedVerdict<'_> {
    /// The steps for a reader of a report, who has a report already.
    pub fn steps_in_report(&self) -> Vec<&NextStep> {
        self.steps.iter().filter(|step| !is_about_reports(step)).collect()
    }
}

/// The steps of several findings, without duplicates.
pub fn distinct_steps(findings: &[&WordedFinding]) -> Vec<NextStep> {
    let mut seen: Vec<NextStep> = Vec::new();
    for step in findings.iter().flat_map(|finding| &finding.next) {
        if !seen.contains(step) {
            seen.push(step.clone());
        }
    }
    seen
}

/// One finding with its consequences. `path` has the ids above it: two findings with one id have the same effects,
/// and a saved report could even contain a cycle.
fn cause<'a>(finding: &'a WordedFinding, server: &'a Server, path: &mut Vec<&'a str>) -> Cause<'a> {
    let mut effects = Vec::new();
    for effect in &server.findings {
        let is_effect = effect.caused_by.first() == Some(&finding.id) && finding.may_cause(effect);
        if is_effect && path.len() < MAX_DEPTH && !path.contains(&effect.id.as_str()) {
            path.push(&effect.id);
            effects.push(cause(effect, server, path));
            path.pop();
        }
    }
    Cause { finding, effects }
}
