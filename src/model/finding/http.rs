//! Findings from the HTTP examination.

use crate::model::{Attempt, Outcome, OutcomeCount, Phase, PortSample, Thread, id};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A finding from the HTTP examination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpFinding {
    /// The request for the health path, and its result.
    pub exchange: Exchange,
    /// What is wrong.
    pub problem: HttpProblem,
}

/// One request and its result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The URL.
    pub url: String,
    /// The result.
    pub outcome: Outcome,
    /// The status of the response.
    pub http_status: Option<u16>,
    /// Bytes of the response.
    pub bytes_received: u64,
    /// The phases with their times.
    pub phases: Vec<Phase>,
}

impl Exchange {
    /// The phase that failed.
    pub fn failed(&self) -> Option<&Phase> {
        self.phases.iter().find(|phase| phase.error.is_some())
    }
}

/// What is wrong with the response of a server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HttpProblem {
    /// There is no listener.
    Refused {
        /// The addresses that were tried; empty if it has no port.
        addresses: Vec<String>,
    },
    /// Connections are pending, and none is accepted.
    AcceptStalled {
        /// The port.
        port: u16,
        /// The first sample of the accept queue.
        first: PortSample,
        /// The last sample.
        last: PortSample,
        /// What the main thread does instead.
        instead: Option<Doing>,
        /// The main thread.
        main: Option<SampledThread>,
    },
    /// No complete response, and no other cause.
    NoAnswer {
        /// Whether the deadline passed while the response was incomplete.
        is_late: bool,
        /// Whether other requests are served meanwhile.
        is_busy: bool,
        /// The last sample of the accept queue.
        last: Option<PortSample>,
        /// What the server does instead.
        instead: Option<Doing>,
        /// The main thread.
        main: Option<SampledThread>,
    },
    /// Some requests of a series were not answered.
    SomeUnanswered {
        /// Number of requests.
        requests: u64,
        /// Results that are no response.
        unanswered: Vec<OutcomeCount>,
    },
    /// The connection was closed without a byte.
    Empty,
    /// The connection was reset.
    Reset,
    /// Every worker is busy.
    WorkersExhausted,
    /// The server reports that it is degraded.
    Degraded {
        /// Its checks, with their status.
        checks: BTreeMap<String, String>,
        /// The checks that failed.
        failed: Vec<String>,
    },
    /// A response with another status or form.
    Unexpected {
        /// Target of a redirect.
        redirect_to: Option<String>,
    },
    /// The other scheme answers.
    WrongScheme {
        /// The request that failed.
        failed: Attempt,
        /// The request that was answered.
        answered: Attempt,
    },
    /// The other address family answers.
    WrongFamily {
        /// The address that refuses connections.
        refused_at: String,
        /// The address that answers.
        answers_at: String,
        /// The result there.
        outcome: Outcome,
    },
    /// It listens on the loopback address of IPv6 only.
    OnlyIpv6 {
        /// The address that answers.
        answers_at: String,
        /// The addresses that it listens on.
        listens_on: Vec<String>,
    },
}

/// What a thread waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WaitsFor {
    /// A Python lock.
    Lock,
    /// A reader of the pipe that it writes to.
    Reader,
    /// The end of a pause.
    Time,
    /// The kernel, uninterruptibly.
    Kernel,
    /// Data or connections.
    Data,
}

/// What a server does instead of answering.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Doing {
    /// The handler of the request waits.
    HandlerWaits(WaitsFor),
    /// The main thread waits.
    MainWaits(WaitsFor),
    /// The main thread works: share of a CPU in percent.
    MainWorks(f64),
    /// The process works: share of a CPU in percent.
    ServerWorks(f64),
}

/// A thread that was sampled twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampledThread {
    /// The thread.
    pub thread: Thread,
    /// Time between the samples, in milliseconds.
    pub between_ms: u64,
}

impl HttpFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self.problem {
            HttpProblem::Refused { .. } => id::CONNECTION_REFUSED,
            HttpProblem::AcceptStalled { .. } => id::ACCEPT_STALLED,
            HttpProblem::NoAnswer { .. } | HttpProblem::SomeUnanswered { .. } => id::HTTP_NO_ANSWER,
            HttpProblem::Empty => id::REPLY_EMPTY,
            HttpProblem::Reset => id::CONNECTION_RESET,
            HttpProblem::WorkersExhausted => id::WORKERS_EXHAUSTED,
            HttpProblem::Degraded { .. } => id::HEALTH_DEGRADED,
            HttpProblem::Unexpected { .. } => id::HEALTH_UNEXPECTED_ANSWER,
            HttpProblem::WrongScheme { .. } => id::WRONG_SCHEME,
            HttpProblem::WrongFamily { .. } | HttpProblem::OnlyIpv6 { .. } => id::WRONG_ADDRESS_FAMILY,
        }
    }
}
