//! Findings, their evidence, and the status that follows from them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How grave a finding is. Ordered: `Info < Warning < Critical`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; the status does not change.
    Info,
    /// It works, and will not for long, or not as it should.
    Warning,
    /// It does not do its work.
    Critical,
}

/// The answer of an examination, and with it the exit status of the program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Examined, and nothing worse than information was found.
    Healthy,
    /// A warning holds, nothing critical.
    Warning,
    /// Something critical holds.
    Critical,
    /// What decides could not be examined, or there was nothing to examine. A word that a reader does not know means this.
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

    /// The worse of two, in the order critical, warning, unknown, healthy.
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

    /// The status as it stands in headings.
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
    /// What was measured; numbers carry their unit here.
    pub fact: String,
    /// The value: a number where it is one, else text.
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

/// Something that a person may do. The doctor runs none of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NextStep {
    /// What it is for.
    pub what: String,
    /// The command to type, where there is one.
    pub command: Option<String>,
}

impl NextStep {
    /// A step with a command.
    pub fn run(what: impl Into<String>, command: impl Into<String>) -> Self {
        Self { what: what.into(), command: Some(command.into()) }
    }

    /// A step in words only.
    pub fn say(what: impl Into<String>) -> Self {
        Self { what: what.into(), command: None }
    }
}

/// One thing that is so, with everything that a reader needs to check it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Stable id, for example `state-db-handle-leak`.
    pub id: String,
    /// What it is about, where one id can occur twice (which database, which port, which pid file).
    pub subject: Option<String>,
    /// How grave it is here.
    pub severity: Severity,
    /// One line, with the numbers in it.
    pub title: String,
    /// What proves it.
    pub evidence: Vec<Evidence>,
    /// Why it matters.
    pub why: String,
    /// What to do next.
    pub next: Vec<NextStep>,
    /// Ids of the findings that caused this one; empty at a root.
    pub caused_by: Vec<String>,
}

impl Finding {
    /// Whether this can be the cause of another: what is wrong with one route is not the cause of another's trouble.
    pub fn may_cause(&self, other: &Self) -> bool {
        let route = |finding: &Self| finding.subject.clone().filter(|_| ROUTE_IDS.contains(&finding.id.as_str()));
        match (route(self), route(other)) {
            (Some(cause), Some(effect)) => cause == effect,
            _ => true,
        }
    }
}

/// Findings whose subject is a route.
const ROUTE_IDS: &[&str] = &[
    super::id::HANDLERS_STUCK,
    super::id::ROUTE_SLOW,
    super::id::REPLY_EMPTY,
    super::id::CONNECTION_RESET,
    super::id::HEALTH_UNEXPECTED_ANSWER,
];
