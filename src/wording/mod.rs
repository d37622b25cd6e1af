//! Wording: findings to sentences. All prose that a user reads about a finding is in this module, one file for each
//! family of findings. A text is a function of the finding and of the server's facts.

pub mod catalogue;
mod database;
mod descriptors;
pub mod history;
mod http;
mod lineage;
mod log;
mod port;
mod process;
mod resources;
pub mod stacks;
mod steps;
mod threads;
mod trend;
mod verdict;

use crate::diagnose;
use crate::model::{
    DatabaseFile, Evidence, Finding, History, NextStep, Os, PidFile, Raised, Row, Server, WordedFinding,
};

pub use verdict::{Cause, WordedVerdict, distinct_steps, verdict};

/// The text of one finding without what other findings have in common with it.
pub(crate) struct Words {
    /// One line with the numbers.
    title: String,
    /// The facts that the finding follows from.
    evidence: Vec<Row>,
    /// What to do next.
    next: Vec<NextStep>,
}

/// What a text needs besides its finding.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// The operating system of the facts.
    os: Os,
    /// Pid of the server.
    pid: Option<u32>,
    /// Whether it can be a Python program.
    is_python: bool,
    /// Steps that save what is lost when the process ends.
    before_end: Vec<NextStep>,
}

impl Context {
    fn of(server: &Server) -> Self {
        let executable = server.process.as_ref().and_then(|process| process.executable.as_deref());
        let is_python = executable.is_none_or(|path| path.contains("python"));
        Self { os: Os::of(server), pid: server.pid, is_python, before_end: steps::before_it_ends(server) }
    }

    fn host(os: Os) -> Self {
        Self { os, pid: None, is_python: true, before_end: Vec::new() }
    }

    /// ` --pid N`, so that commands in next steps examine exactly this server.
    fn selector(&self) -> String {
        self.pid.map_or_else(String::new, |pid| format!(" --pid {pid}"))
    }

    /// The step that reads the stacks, if it is a Python program.
    fn see_stacks(&self, what: &str) -> NextStep {
        match self.pid.filter(|_| self.is_python) {
            Some(pid) => NextStep::run(what, format!("hermes-doctor stacks --pid {pid}")),
            None => NextStep::say("Take its stacks with a debugger of its language before a restart"),
        }
    }
}

/// Diagnoses a server and words its findings. Existing results are replaced, so a saved report can be diagnosed
/// again.
pub fn judge(server: &mut Server) {
    let raised = diagnose::judge(server);
    let context = Context::of(server);
    server.findings = raised.iter().map(|raised| of_server(raised, server, &context)).collect();
}

/// Findings of pid files and databases that belong to no examined server, on this operating system.
pub fn judge_host(os: Os, stray: &[PidFile], databases: &[DatabaseFile]) -> Vec<WordedFinding> {
    let context = Context::host(os);
    diagnose::judge_host(stray, databases)
        .iter()
        .map(|raised| worded(raised, words(raised, &context), os))
        .collect()
}

/// Findings of all servers of a record that was written on this operating system.
pub fn judge_history(history: &History, os: Os) -> Vec<WordedFinding> {
    let found = diagnose::history::judge(history);
    let worded = |(pid, raised): (Option<u32>, Raised)| {
        let context = Context { pid, ..Context::host(os) };
        worded(&raised, words(&raised, &context), os)
    };
    found.into_iter().map(worded).collect()
}

/// A finding of a server, with the evidence and the steps that it has in common with others.
fn of_server(raised: &Raised, server: &Server, context: &Context) -> WordedFinding {
    let mut words = words(raised, context);
    let id = raised.id();
    words.evidence.extend(log::related(server, id));
    words.evidence.extend(server.stacks.iter().flat_map(|found| stacks::related(found, id)));
    if server.root_causes.iter().any(|root| root == id) {
        steps::keep_the_evidence_first(server, &mut words.next);
        steps::restart_at_last(server, id, &mut words.next);
    }
    worded(raised, words, context.os)
}

fn words(raised: &Raised, context: &Context) -> Words {
    match &raised.finding {
        Finding::Descriptors(finding) => descriptors::words(finding, raised.severity, context),
        Finding::Database(finding) => database::words(finding, context),
        Finding::Resources(finding) => resources::words(finding, context),
        Finding::Process(finding) => process::words(finding),
        Finding::Port(finding) => port::words(finding),
        Finding::Lineage(finding) => lineage::words(finding, context),
        Finding::Http(finding) => http::words(finding, context),
        Finding::Wedge(finding) => threads::words(finding, context),
        Finding::Route(finding) => http::route(finding, context),
        Finding::Malformed(finding) => log::words(finding, context),
        Finding::Lock(finding) => stacks::words(finding, context),
    }
}

fn worded(raised: &Raised, words: Words, os: Os) -> WordedFinding {
    let evidence = words.evidence.into_iter().map(|row| Evidence::new(row.fact, row.value, row.source.on(os)));
    WordedFinding {
        id: raised.id().to_owned(),
        subject: raised.finding.subject().map(str::to_owned),
        severity: raised.severity,
        title: words.title,
        evidence: evidence.collect(),
        why: catalogue::entry(raised.id()).map_or_else(String::new, |entry| entry.why.to_owned()),
        next: words.next,
        caused_by: raised.caused_by.iter().map(|id| (*id).to_owned()).collect(),
    }
}

#[cfg(test)]
mod values;
