//! The HTTP examination, phase by phase.

use super::{Activity, Address, LogText, Note, OwnTerm, ProgramName, ServerVersion, Url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The phases of a request, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PhaseName {
    /// Resolving the name to an address.
    Resolve,
    /// TCP connection.
    Connect,
    /// TLS handshake.
    Tls,
    /// Writing the request.
    Request,
    /// Waiting for the first byte of the response.
    FirstByte,
    /// Reading the head of the response.
    Headers,
    /// Reading the body, up to the largest size that is read.
    Body,
}

impl PhaseName {
    /// The phase in words for the user.
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

/// One phase and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// Name of the phase.
    pub name: PhaseName,
    /// Duration in milliseconds.
    pub ms: f64,
    /// The exact error if it failed.
    pub error: Option<LogText>,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A healthy response of the expected form.
    Ok,
    /// The server itself reports that it is degraded.
    Degraded,
    /// The server is alive: it requires a login, or redirects.
    Guarded,
    /// 503 without body and without `Server` header: every worker slot is taken.
    Overloaded,
    /// An HTTP response with another status or form.
    Unexpected,
    /// The connection was refused.
    Refused,
    /// The connection was not established before the deadline.
    ConnectTimeout,
    /// No route to the host, no such address, and similar errors.
    Unreachable,
    /// The name could not be resolved.
    ResolveFailed,
    /// Connected, and no byte was received before the deadline.
    NoAnswer,
    /// Some bytes were received, and the rest not before the deadline.
    Incomplete,
    /// Closed without a byte.
    Empty,
    /// Reset by the other side.
    Reset,
    /// The TLS handshake failed.
    TlsFailed,
    /// The response is not HTTP.
    NotHttp,
    /// This kind of server does not use HTTP.
    NotApplicable,
    /// No request could be sent (a gap gives the reason).
    #[default]
    NotProbed,
}

impl Outcome {
    /// Whether an HTTP response was received.
    pub fn is_answer(self) -> bool {
        matches!(self, Self::Ok | Self::Degraded | Self::Guarded | Self::Overloaded | Self::Unexpected)
    }

    /// The outcome in words for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Ok => "healthy answer",
            Self::Degraded => "reports that it is degraded",
            Self::Guarded => "alive, behind a login or a redirect",
            Self::Overloaded => "every worker is busy",
            Self::Unexpected => "unexpected answer",
            Self::Refused => "connection refused",
            Self::ConnectTimeout => "no connection in time",
            Self::Unreachable => "unreachable",
            Self::ResolveFailed => "name not resolved",
            Self::NoAnswer => "connected, no byte received",
            Self::Incomplete => "incomplete answer",
            Self::Empty => "closed without a byte",
            Self::Reset => "connection reset",
            Self::TlsFailed => "TLS handshake failed",
            Self::NotHttp => "not HTTP",
            Self::NotApplicable => "speaks no HTTP",
            Self::NotProbed => "not probed",
        }
    }
}

/// The fields of a health response, with the same names for all kinds and versions of servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthAnswer {
    /// `status` of the server.
    pub status: Option<LogText>,
    /// Version of the server, from the response or its `Server` header.
    pub version: Option<ServerVersion>,
    /// `platform` of a gateway.
    pub platform: Option<ProgramName>,
    /// Number of open streams.
    pub active_streams: Option<u64>,
    /// Number of sessions in memory.
    pub sessions: Option<u64>,
    /// `accept_loop.requests_total`: accepted connections since the start.
    pub accepted_total: Option<u64>,
    /// Uptime in seconds by the clock of the server.
    pub uptime_seconds: Option<f64>,
    /// `checks`: status by name.
    pub checks: BTreeMap<LogText, LogText>,
    /// Names of the checks with a status other than `ok` or `missing`.
    pub failed_checks: Vec<LogText>,
}

/// One request, or the attempt to send one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// URL of the request, secrets masked.
    pub url: Url,
    /// Address of the connection.
    pub address: Option<Address>,
    /// How it ended.
    pub outcome: Outcome,
    /// HTTP status of the response.
    pub http_status: Option<u16>,
    /// `Server` header.
    pub server_header: Option<ServerVersion>,
    /// Target of a redirect; not followed.
    pub redirect_to: Option<Url>,
    /// Phases up to the one that failed.
    pub phases: Vec<Phase>,
    /// Bytes received before the end or the error.
    pub bytes_received: u64,
    /// The fields of the response.
    pub answer: Option<HealthAnswer>,
}

/// The HTTP examination of one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// URL of the deciding attempt.
    pub url: Option<Url>,
    /// Its outcome.
    pub outcome: Outcome,
    /// Its HTTP status.
    pub http_status: Option<u16>,
    /// Its phases.
    pub phases: Vec<Phase>,
    /// Bytes received in it.
    pub bytes_received: u64,
    /// The fields of its response.
    pub answer: Option<HealthAnswer>,
    /// Its `Server` header.
    pub server_header: Option<ServerVersion>,
    /// Target of its redirect.
    pub redirect_to: Option<Url>,
    /// The deciding attempt, as an index into `attempts`.
    pub decided_by: Option<usize>,
    /// All attempts in order, including the deciding one.
    pub attempts: Vec<Attempt>,
    /// Whether `--deep` was requested and sent.
    pub deep: bool,
    /// Names of the proxy settings in the environment that were ignored.
    pub ignored_proxies: Vec<OwnTerm>,
    /// A limitation of the examination, in words.
    pub note: Option<Note>,
    /// Activity of the server's threads while the deciding request waited; `null` if it did not wait.
    #[serde(default)]
    pub activity: Option<Activity>,
    /// Other paths that were requested, each with its own deadline.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// A series of requests for the health path (`health --repeat`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<HealthSeries>,
}

/// One request for a path other than the health path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Route {
    /// Path and query, secrets masked.
    pub path: Url,
    /// Whether it was given with `--route`.
    pub named: bool,
    /// Deadline for the first byte, in milliseconds.
    pub deadline_ms: u64,
    /// The attempt.
    pub attempt: Attempt,
    /// Samples of the server's connections while it waited.
    pub looks: Vec<super::PortSample>,
    /// Activity of the server's threads during the wait; `null` if it did not wait.
    pub activity: Option<Activity>,
}

impl Route {
    /// Time from the start of the connection to the end of the response or to the deadline, in milliseconds.
    pub fn took_ms(&self) -> f64 {
        self.attempt.phases.iter().map(|phase| phase.ms).sum()
    }
}

/// A series of equal requests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HealthSeries {
    /// Requests that were sent.
    pub requests: u64,
    /// Requests that were planned.
    pub planned: u64,
    /// Interval between the starts of two requests, in milliseconds.
    pub every_ms: u64,
    /// Requests by outcome.
    pub outcomes: Vec<OutcomeCount>,
    /// Times of each phase over the requests that completed it, and of the whole request.
    pub phases: Vec<PhaseTimes>,
    /// Answered requests by the duration of the whole request.
    pub histogram: Vec<TimeBucket>,
    /// Open descriptors of the server before the requests; `null` if they could not be counted.
    #[serde(default)]
    pub open_before: Option<u64>,
    /// Open descriptors of the server after the requests; `null` if they could not be counted.
    #[serde(default)]
    pub open_after: Option<u64>,
}

/// Number of requests with one outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeCount {
    /// The outcome.
    pub outcome: Outcome,
    /// Number of requests.
    pub count: u64,
}

/// Times of one phase in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PhaseTimes {
    /// Name of the phase; `null` is the whole request.
    pub phase: Option<PhaseName>,
    /// Requests that completed it.
    pub count: u64,
    /// Shortest.
    pub min_ms: f64,
    /// Median.
    pub median_ms: f64,
    /// 99th percentile (nearest rank).
    pub p99_ms: f64,
    /// Longest.
    pub max_ms: f64,
}

/// Requests that took at most this time, and longer than the bucket before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct TimeBucket {
    /// Upper bound in milliseconds; `null` for requests above the last bound.
    pub up_to_ms: Option<f64>,
    /// Number of requests.
    pub count: u64,
}
