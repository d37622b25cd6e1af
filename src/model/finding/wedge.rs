//! Findings about requests that wait, from the threads of the server and from its other routes.

use super::http::WaitsFor;
use crate::model::{Pipe, PortSample, Route, Thread, id};
use serde::{Deserialize, Serialize};

/// Why a request waits, by the threads of the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WedgeFinding {
    /// Time between the two samples of the threads, in milliseconds.
    pub between_ms: u64,
    /// The threads that show it.
    pub threads: Vec<Thread>,
    /// What they show.
    pub problem: WedgeProblem,
}

/// What the threads of a server show while a request waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WedgeProblem {
    /// Threads sleep in the kernel and cannot be interrupted.
    UninterruptibleSleep {
        /// Whether they exceed `memory.high` of their control group.
        is_throttled: bool,
    },
    /// No process reads the pipe that they write to.
    OutputPipeFull {
        /// The descriptor that they write to.
        descriptor: Option<u32>,
        /// The pipe, if it was found.
        pipes: Vec<Pipe>,
    },
    /// One thread, the first, keeps the interpreter lock (GIL).
    GilHeld {
        /// Its share of a CPU, in percent.
        cpu_percent: f64,
        /// Number of threads that wait for the lock.
        waiting: usize,
    },
    /// Requests were accepted, and their handlers wait.
    HandlersStuck {
        /// Path of the request; `None` is the health path.
        route: Option<String>,
        /// What the handler waits for.
        waits_for: WaitsFor,
        /// Number of workers, if all of a pool wait.
        pool: Option<usize>,
        /// The last sample of the accept queue.
        last: PortSample,
        /// Number of threads that wait for a lock without progress.
        locked: usize,
    },
}

/// A route other than the health path that is answered late, not at all, or with an error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteFinding {
    /// The route with its request.
    pub route: Route,
    /// What is wrong with it.
    pub problem: RouteProblem,
    /// Age of the server in milliseconds, if it may be busy with its first start.
    pub first_start_age_ms: Option<u64>,
}

/// What is wrong with a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RouteProblem {
    /// No byte within the deadline.
    NoAnswer,
    /// No complete response within the deadline.
    Incomplete,
    /// A late response.
    Slow,
    /// Closed without a byte.
    Empty,
    /// Reset.
    Reset,
    /// An error.
    Error,
    /// A response that is not HTTP.
    NotHttp,
}

impl WedgeFinding {
    /// The stable id.
    pub fn id(&self) -> &'static str {
        match self.problem {
            WedgeProblem::UninterruptibleSleep { .. } => id::UNINTERRUPTIBLE_SLEEP,
            WedgeProblem::OutputPipeFull { .. } => id::OUTPUT_PIPE_FULL,
            WedgeProblem::GilHeld { .. } => id::GIL_HELD,
            WedgeProblem::HandlersStuck { .. } => id::HANDLERS_STUCK,
        }
    }

    /// The path of the route, if it is about one.
    pub fn subject(&self) -> Option<&str> {
        match &self.problem {
            WedgeProblem::HandlersStuck { route, .. } => route.as_deref(),
            _ => None,
        }
    }
}

impl RouteProblem {
    /// The stable id.
    pub fn id(self) -> &'static str {
        match self {
            Self::NoAnswer | Self::Incomplete | Self::Slow => id::ROUTE_SLOW,
            Self::Empty => id::REPLY_EMPTY,
            Self::Reset => id::CONNECTION_RESET,
            Self::Error | Self::NotHttp => id::HEALTH_UNEXPECTED_ANSWER,
        }
    }
}
