//! One HTTP examination, phase by phase.

use super::Activity;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The parts of a request in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Name to address.
    Resolve,
    /// TCP connection.
    Connect,
    /// TLS handshake.
    Tls,
    /// The request was written.
    Request,
    /// The first byte of the answer came.
    FirstByte,
    /// The head of the answer was complete.
    Headers,
    /// The body was complete, or as much of it as is read.
    Body,
}

impl PhaseName {
    /// The phase as a person reads it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "TLS handshake",
            Self::Request => "request written",
            Self::FirstByte => "first byte",
            Self::Headers => "headers",
            Self::Body => "body",
        }
    }
}

/// One phase and how it went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// Which.
    pub name: PhaseName,
    /// Time it took, in milliseconds.
    pub ms: f64,
    /// The exact error where it failed.
    pub error: Option<String>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A healthy answer of the expected shape.
    Ok,
    /// The server itself says that it is degraded.
    Degraded,
    /// Alive: it wants a login, or sends elsewhere.
    Guarded,
    /// 503 without body and without `Server` header: every worker slot is taken.
    Overloaded,
    /// An HTTP answer of another status or shape.
    Unexpected,
    /// The connection was refused.
    Refused,
    /// The connection was not made in time.
    ConnectTimeout,
    /// No route, no such address, and the like.
    Unreachable,
    /// The name could not be resolved.
    ResolveFailed,
    /// Connected, and no byte came in time.
    NoAnswer,
    /// Some bytes came, and then no more in time.
    Incomplete,
    /// Closed without a byte.
    Empty,
    /// Reset by the other side.
    Reset,
    /// The TLS handshake failed.
    TlsFailed,
    /// What came is not HTTP.
    NotHttp,
    /// This kind of server speaks no HTTP.
    NotApplicable,
    /// No request could be made (a gap tells why).
    #[default]
    NotProbed,
}

impl Outcome {
    /// Whether any HTTP answer came.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Ok | Self::Degraded | Self::Guarded | Self::Overloaded | Self::Unexpected)
    }

    /// The outcome as a person reads it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ok => "healthy answer",
            Self::Degraded => "answers that it is degraded",
            Self::Guarded => "alive, behind a login or a redirect",
            Self::Overloaded => "every worker is busy",
            Self::Unexpected => "unexpected answer",
            Self::Refused => "connection refused",
            Self::ConnectTimeout => "no connection in time",
            Self::Unreachable => "unreachable",
            Self::ResolveFailed => "name not resolved",
            Self::NoAnswer => "connected, then no byte",
            Self::Incomplete => "the answer broke off",
            Self::Empty => "closed without a byte",
            Self::Reset => "connection reset",
            Self::TlsFailed => "TLS handshake failed",
            Self::NotHttp => "not HTTP",
            Self::NotApplicable => "speaks no HTTP",
            Self::NotProbed => "not probed",
        }
    }
}

/// What a health answer said, in the words of all kinds and versions of servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthAnswer {
    /// The server's own `status`.
    pub status: Option<String>,
    /// The server's version, from the answer or its `Server` header.
    pub version: Option<String>,
    /// `platform` of a gateway.
    pub platform: Option<String>,
    /// Streams now open.
    pub active_streams: Option<u64>,
    /// Sessions in memory.
    pub sessions: Option<u64>,
    /// `accept_loop.requests_total`: accepted connections since the start.
    pub accepted_total: Option<u64>,
    /// Uptime in seconds by the server's own clock.
    pub uptime_seconds: Option<f64>,
    /// `checks`: name to status.
    pub checks: BTreeMap<String, String>,
    /// Of these, the ones that are not `ok` (nor `missing`).
    pub failed_checks: Vec<String>,
}

/// One request, or the try of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// What was asked, secrets masked.
    pub url: String,
    /// Address that was connected to.
    pub address: Option<String>,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status of the answer.
    pub http_status: Option<u16>,
    /// `Server` header.
    pub server_header: Option<String>,
    /// Where a redirect points to; not followed.
    pub redirect_to: Option<String>,
    /// Its phases up to the one that failed.
    pub phases: Vec<Phase>,
    /// Bytes that came before the end or the error.
    pub bytes_received: u64,
    /// What the answer said.
    pub answer: Option<HealthAnswer>,
}

/// The HTTP examination of one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// The URL of the attempt that decides.
    pub url: Option<String>,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its HTTP status.
    pub http_status: Option<u16>,
    /// Its phases.
    pub phases: Vec<Phase>,
    /// Bytes that came in it.
    pub bytes_received: u64,
    /// Its answer.
    pub answer: Option<HealthAnswer>,
    /// Its `Server` header.
    pub server_header: Option<String>,
    /// Where it redirects to.
    pub redirect_to: Option<String>,
    /// Which attempt decides; an index into `attempts`.
    pub decided_by: Option<usize>,
    /// All attempts in order, the deciding one among them.
    pub attempts: Vec<Attempt>,
    /// `--deep` was asked and sent.
    pub deep: bool,
    /// Proxy settings of the environment that were ignored, by name.
    pub ignored_proxies: Vec<String>,
    /// What limited the examination, in words.
    pub note: Option<String>,
    /// What the server's threads did while the deciding request waited; `null` where it did not wait.
    #[serde(default)]
    pub activity: Option<Activity>,
    /// Other paths that were asked for, each with its own deadline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Many requests for the health path, one after the other (`health --repeat`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<HealthSeries>,
}

/// One request for another path than the health path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Path and query, secrets masked.
    pub path: String,
    /// Whether it was asked for with `--route`.
    pub named: bool,
    /// Its deadline for the first byte, in milliseconds.
    pub deadline_ms: u64,
    /// How it went.
    pub attempt: Attempt,
    /// Looks at the server's connections while it waited.
    pub looks: Vec<super::PortSample>,
    /// What the server's threads did meanwhile; `null` where it did not wait.
    pub activity: Option<Activity>,
}

impl Route {
    /// Time from the connection to the end of the answer, or to where it was given up, in milliseconds.
    pub fn took_ms(&self) -> f64 {
        self.attempt.phases.iter().map(|phase| phase.ms).sum()
    }
}

/// The same request again and again.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthSeries {
    /// Requests that were made.
    pub requests: u64,
    /// Requests that were asked for.
    pub planned: u64,
    /// Time from the begin of one request to the begin of the next, in milliseconds.
    pub every_ms: u64,
    /// Requests by outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Times of each phase over the requests that got through it, and of the whole request.
    pub phases: Vec<PhaseTimes>,
    /// Requests that were answered, by the time that the whole request took.
    pub histogram: Vec<TimeBucket>,
    /// Open descriptors of the server before the requests, and after them; `null` where they could not be counted.
    #[serde(default)]
    pub open_before: Option<u64>,
    /// See `open_before`.
    #[serde(default)]
    pub open_after: Option<u64>,
}

/// How many requests ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeCount {
    /// How.
    pub outcome: Outcome,
    /// Requests.
    pub count: u64,
}

/// Times of one phase in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseTimes {
    /// Which; `null` is the whole request.
    pub phase: Option<PhaseName>,
    /// Requests that got through it.
    pub count: u64,
    /// Shortest.
    pub min_ms: f64,
    /// Median.
    pub median_ms: f64,
    /// The time that 99 % do not exceed (nearest rank).
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

/// Requests that took no longer than this, and longer than the bucket before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeBucket {
    /// Upper bound in milliseconds; `null` for all that took longer than the last bound.
    pub up_to_ms: Option<f64>,
    /// Requests.
    pub count: u64,
}
