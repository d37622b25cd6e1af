//! Collects findings and passed checks while the rules run.

use crate::model::{Raised, Server};
use std::collections::BTreeSet;

/// Findings and passed checks of one server.
pub struct Verdict {
    findings: Vec<Raised>,
    passed: BTreeSet<&'static str>,
    blocked: BTreeSet<String>,
}

impl Verdict {
    /// Nothing decided yet; checks that a gap of the server blocks cannot pass.
    pub fn new(server: &Server) -> Self {
        let blocked = server.gaps.iter().flat_map(|gap| gap.blocks.iter().map(ToString::to_string)).collect();
        Self { findings: Vec::new(), passed: BTreeSet::new(), blocked }
    }

    /// Records the result of a check: a finding, or passed.
    pub fn decide(&mut self, id: &'static str, found: Option<Raised>) {
        match found {
            Some(found) => self.findings.push(found),
            None => self.pass(id),
        }
    }

    /// Records that a check passed, unless a gap blocks it.
    pub fn pass(&mut self, id: &'static str) {
        if !self.blocked.contains(id) {
            self.passed.insert(id);
        }
    }

    /// Adds a finding.
    pub fn raise(&mut self, found: Raised) {
        self.findings.push(found);
    }

    /// Whether a finding holds.
    pub fn holds(&self, id: &str) -> bool {
        self.findings.iter().any(|finding| finding.id() == id)
    }

    /// The result: most severe first, and no check both found and passed.
    pub fn into_parts(mut self) -> (Vec<Raised>, Vec<String>) {
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        let found: BTreeSet<&str> = self.findings.iter().map(Raised::id).collect();
        let passed = self.passed.iter().filter(|id| !found.contains(*id)).map(|id| (*id).to_owned()).collect();
        (self.findings, passed)
    }
}
