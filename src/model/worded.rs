//! Findings in words, as a report has them.

use super::{Severity, Source, may_cause};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One row of evidence, before its source is named for an operating system.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// What was measured, with its unit.
    pub fact: String,
    /// The value.
    pub value: Value,
    /// Where it was read.
    pub source: Source,
}

impl Row {
    /// Builds one row.
    pub fn new(fact: impl Into<String>, value: impl Into<Value>, source: impl Into<Source>) -> Self {
        Self { fact: fact.into(), value: value.into(), source: source.into() }
    }
}

/// One fact that supports a finding.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// What was measured, with its unit.
    pub fact: String,
    /// The value: a number, or text if it is not a number.
    #[schemars(extend("type" = ["number", "string", "boolean", "null"]))]
    pub value: Value,
    /// Where it was read.
    pub source: String,
}

impl Evidence {
    /// Builds one item of evidence.
    pub fn new(fact: impl Into<String>, value: impl Into<Value>, source: impl Into<String>) -> Self {
        Self { fact: fact.into(), value: value.into(), source: source.into() }
    }
}

/// An action for the user. The doctor itself runs none of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextStep {
    /// Purpose of the action.
    pub what: String,
    /// The command, if there is one.
    pub command: Option<String>,
}

impl NextStep {
    /// A step with a command.
    pub fn run(what: impl Into<String>, command: impl Into<String>) -> Self {
        Self { what: what.into(), command: Some(command.into()) }
    }

    /// A step without a command.
    pub fn say(what: impl Into<String>) -> Self {
        Self { what: what.into(), command: None }
    }
}

/// A finding as it is printed and saved: a problem or a note, with everything that a reader needs to check it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub struct WordedFinding {
    /// Stable id, for example `state-db-handle-leak`.
    pub id: String,
    /// The object of the finding, if one id can occur twice (a database, a port, a pid file).
    pub subject: Option<String>,
    /// Severity in this case.
    pub severity: Severity,
    /// One line with the numbers.
    pub title: String,
    /// The facts that the finding follows from.
    pub evidence: Vec<Evidence>,
    /// Why it matters.
    pub why: String,
    /// What to do next.
    pub next: Vec<NextStep>,
    /// Ids of the findings that caused this one; empty for a root cause.
    pub caused_by: Vec<String>,
}

impl WordedFinding {
    /// Whether this finding can be the cause of another. A problem of one route is not the cause of a problem
    /// of another route.
    pub fn may_cause(&self, other: &Self) -> bool {
        may_cause((&self.id, self.subject.as_deref()), (&other.id, other.subject.as_deref()))
    }
}
