//! Findings as data: what a rule found, with the facts that decided it. `wording` makes sentences of them.

#![allow(clippy::large_enum_variant, reason = "`Finding` boxes each family")]

mod database;
mod descriptors;
mod evidence;
mod http;
mod lineage;
mod port;
mod process;
mod resources;
mod wedge;

use super::id;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use database::{DatabaseFinding, DatabaseProblem};
pub use descriptors::{DescriptorFinding, LevelOf, TrendFacts, Watched};
pub use evidence::{LockFinding, MalformedFinding};
pub use http::{Doing, Exchange, HttpFinding, HttpProblem, SampledThread, WaitsFor};
pub use lineage::LineageFinding;
pub use port::{PortFinding, PortProblem};
pub use process::ProcessFinding;
pub use resources::{ResourceFinding, TaskLimit};
pub use wedge::{RouteFinding, RouteProblem, WedgeFinding, WedgeProblem};

/// What a rule found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Finding {
    /// About open descriptors.
    Descriptors(Box<DescriptorFinding>),
    /// About a database.
    Database(Box<DatabaseFinding>),
    /// About limits of tasks, memory and files.
    Resources(Box<ResourceFinding>),
    /// About the process and its pid files.
    Process(Box<ProcessFinding>),
    /// About the port.
    Port(Box<PortFinding>),
    /// About the supervisor.
    Lineage(Box<LineageFinding>),
    /// From the HTTP examination.
    Http(Box<HttpFinding>),
    /// About a request that waits.
    Wedge(Box<WedgeFinding>),
    /// About a route other than the health path.
    Route(Box<RouteFinding>),
    /// The log says that a database is damaged.
    Malformed(Box<MalformedFinding>),
    /// Threads wait for a lock.
    Lock(Box<LockFinding>),
}

/// `From` for the findings of one family.
macro_rules! families {
    ($($family:ident: $finding:ty),*) => {
        $(impl From<$finding> for Finding {
            fn from(finding: $finding) -> Self {
                Self::$family(Box::new(finding))
            }
        })*
    };
}

families!(
    Descriptors: DescriptorFinding,
    Database: DatabaseFinding,
    Resources: ResourceFinding,
    Process: ProcessFinding,
    Port: PortFinding,
    Lineage: LineageFinding,
    Http: HttpFinding,
    Wedge: WedgeFinding,
    Route: RouteFinding,
    Malformed: MalformedFinding,
    Lock: LockFinding
);

impl Finding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self {
            Self::Descriptors(finding) => finding.id(),
            Self::Database(finding) => finding.id(),
            Self::Resources(finding) => finding.id(),
            Self::Process(finding) => finding.id(),
            Self::Port(finding) => finding.id(),
            Self::Lineage(finding) => finding.id(),
            Self::Http(finding) => finding.id(),
            Self::Wedge(finding) => finding.id(),
            Self::Route(finding) => finding.problem.id(),
            Self::Malformed(_) => id::DATABASE_MALFORMED,
            Self::Lock(_) => id::THREADS_WAIT_FOR_LOCK,
        }
    }

    /// The object of the finding, if one id can occur twice (a database, a port, a pid file).
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Descriptors(finding) => finding.subject(),
            Self::Database(finding) => finding.subject(),
            Self::Process(finding) => finding.subject(),
            Self::Wedge(finding) => finding.subject(),
            Self::Lineage(finding) => finding.subject(),
            Self::Route(finding) => Some(&finding.route.path),
            Self::Lock(finding) => Some(&finding.subject),
            Self::Resources(_) | Self::Port(_) | Self::Http(_) | Self::Malformed(_) => None,
        }
    }
}

/// A finding with its severity in this case and its place in the tree of causes.
#[derive(Clone, Debug, PartialEq)]
pub struct Raised {
    /// What was found.
    pub finding: Finding,
    /// How severe it is in this case.
    pub severity: Severity,
    /// Ids of the findings that caused this one; empty for a root cause.
    pub caused_by: Vec<&'static str>,
}

impl Raised {
    /// A finding without a cause.
    pub fn new(severity: Severity, finding: impl Into<Finding>) -> Self {
        Self { finding: finding.into(), severity, caused_by: Vec::new() }
    }

    /// The stable id.
    pub fn id(&self) -> &'static str {
        self.finding.id()
    }

    /// The id with the subject, for [`may_cause`].
    pub fn key(&self) -> (&'static str, Option<&str>) {
        (self.finding.id(), self.finding.subject())
    }
}

/// Whether the first finding can be the cause of the second. Each is an id with its subject.
pub fn may_cause(cause: (&str, Option<&str>), effect: (&str, Option<&str>)) -> bool {
    let route =
        |(id, subject): (&str, Option<&str>)| subject.filter(|_| ROUTE_IDS.contains(&id)).map(str::to_owned);
    match (route(cause), route(effect)) {
        (Some(cause), Some(effect)) => cause == effect,
        _ => true,
    }
}

/// Findings with a route as subject.
const ROUTE_IDS: &[&str] =
    &[id::HANDLERS_STUCK, id::ROUTE_SLOW, id::REPLY_EMPTY, id::CONNECTION_RESET, id::HEALTH_UNEXPECTED_ANSWER];

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
