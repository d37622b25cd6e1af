//! Findings, their evidence, and the status that follows from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Severity of a finding. Ordered: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// A note; the status does not change.
    Info,
    /// The server works, but not as it should, or not for much longer.
    Warning,
    /// The server does not do its work.
    Critical,
}

impl Severity {
    /// The status that follows from one finding of this severity alone.
    pub fn status(self) -> Status {
        match self {
            Self::Info => Status::Healthy,
            Self::Warning => Status::Warning,
            Self::Critical => Status::Critical,
        }
    }
}

/// The result of an examination, which determines the exit status of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The checks ran, and found nothing worse than a note.
    Healthy,
    /// There is a warning and nothing critical.
    Warning,
    /// There is a critical finding.
    Critical,
    /// Inconclusive: a required check could not run, or there was nothing to examine. A reader treats an
    /// unknown value as this one.
    #[default]
    #[serde(other)]
    Unknown,
}

impl Status {
    /// Exit status, by the convention of monitoring plugins (0 ok, 1 warning, 2 critical, 3 unknown).
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Warning => 1,
            Self::Critical => 2,
            Self::Unknown => 3,
        }
    }

    /// The worse of the two, in the order critical, warning, unknown, healthy.
    #[must_use]
    pub fn worst(self, other: Self) -> Self {
        if self.rank() >= other.rank() { self } else { other }
    }

    fn rank(self) -> u8 {
        match self {
            Self::Healthy => 0,
            Self::Unknown => 1,
            Self::Warning => 2,
            Self::Critical => 3,
        }
    }

    /// The status as printed in headings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Healthy => "HEALTHY",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
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

/// A problem or a note, with everything that a reader needs to check it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
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

impl Finding {
    /// Whether this finding can be the cause of another. A problem of one route is not the cause of a problem
    /// of another route.
    pub fn may_cause(&self, other: &Self) -> bool {
        let route = |finding: &Self| finding.subject.clone().filter(|_| ROUTE_IDS.contains(&finding.id.as_str()));
        match (route(self), route(other)) {
            (Some(cause), Some(effect)) => cause == effect,
            _ => true,
        }
    }
}

/// Findings with a route as subject.
const ROUTE_IDS: &[&str] = &[
    super::id::HANDLERS_STUCK,
    super::id::ROUTE_SLOW,
    super::id::REPLY_EMPTY,
    super::id::CONNECTION_RESET,
    super::id::HEALTH_UNEXPECTED_ANSWER,
];
