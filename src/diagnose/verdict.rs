//! Collects findings and passed checks while the rules run.

use super::catalogue;
use crate::model::{Evidence, Finding, NextStep, Server, Severity};
use std::collections::BTreeSet;

/// Findings and passed checks of one server.
pub struct Verdict {
    findings: Vec<Finding>,
    passed: BTreeSet<&'static str>,
    blocked: BTreeSet<String>,
}

/// A finding with the text of the catalogue.
pub fn finding(
    id: &'static str,
    severity: Severity,
    title: String,
    evidence: Vec<Evidence>,
    next: Vec<NextStep>,
) -> Finding {
    Finding {
        id: id.to_owned(),
        subject: None,
        severity,
        title,
        evidence,
        why: catalogue::entry(id).map_or_else(String::new, |entry| entry.why.to_owned()),
        next,
        caused_by: Vec::new(),
    }
}

impl Verdict {
    /// Nothing decided yet; checks that a gap of the server blocks cannot pass.
    pub fn new(server: &Server) -> Self {
        let blocked = server.gaps.iter().flat_map(|gap| gap.blocks.iter().map(ToString::to_string)).collect();
        Self { findings: Vec::new(), passed: BTreeSet::new(), blocked }
    }

    /// Records the result of a check: a finding, or passed.
    pub fn decide(&mut self, id: &'static str, found: Option<Finding>) {
        match found {
            Some(found) => self.findings.push(found),
            None if !self.blocked.contains(id) => drop(self.passed.insert(id)),
            None => {}
        }
    }

    /// Adds a finding.
    pub fn raise(&mut self, found: Finding) {
        self.findings.push(found);
    }

    /// Whether a finding holds.
    pub fn holds(&self, id: &str) -> bool {
        self.findings.iter().any(|finding| finding.id == id)
    }

    /// The result: most severe first, and no check both found and passed.
    pub fn into_parts(mut self) -> (Vec<Finding>, Vec<String>) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let found: BTreeSet<&str> = self.findings.iter().map(|finding| finding.id.as_str()).collect();
        let passed = self.passed.iter().filter(|id| !found.contains(*id)).map(|id| (*id).to_owned()).collect();
        (self.findings, passed)
    }
}
