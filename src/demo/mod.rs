//! Demo scenarios: servers that the doctor starts itself, on loopback and in a temporary home, and examines
//! like any other server.
//!
//! Each server is a process of this program, so that a demo needs nothing installed. A server ends when the
//! pipe on its standard input closes, so no process remains, however the demo ends.

mod server;
mod stage;

pub use server::play;

use crate::collect::{Deadline, this_host};
use crate::examine::redacted;
use crate::examine::{Progress, Request, examine};
use crate::model::{Demonstration, Envelope, Severity, Status, id};
use crate::redact::{Level, host_names};
use crate::target::Selection;
use clap::ValueEnum;
use thiserror::Error;

/// Why a demo scenario could not run.
#[derive(Debug, Error)]
pub enum DemoError {
    /// The server could not be started.
    #[error("cannot start the server: {0}")]
    Start(#[from] std::io::Error),
    /// The server started and did not become ready.
    #[error("the server {0} did not become ready in time")]
    NotReady(&'static str),
    /// Earlier scenarios used up the budget.
    #[error("the time limit was reached (--budget)")]
    NoTime,
    /// The server could not be selected.
    #[error(transparent)]
    Select(#[from] crate::target::SelectError),
}

/// The demo scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Name {
    /// A healthy server
    Healthy,
    /// Hundreds of state.db and -wal descriptors under a low limit
    Leak,
    /// Sockets that use all descriptors
    Ceiling,
    /// A stopped process
    Stopped,
    /// A server that accepts no connections; its accept queue fills
    Mute,
    /// A server whose handlers wait for a lock that another thread holds
    Deadlock,
    /// A server that answers /health, but /api/sessions waits for a lock
    LockedRoute,
    /// A server that logs to a full pipe that no process reads
    FullPipe,
    /// A server that closes each connection without sending a byte
    SilentClose,
    /// Connections that the peer closed and the server did not (CLOSE-WAIT)
    CloseWait,
    /// A double-forked server that no supervisor claims
    Unsupervised,
    /// A double-forked server; its supervisor restarts the launcher in a loop
    Orphan,
    /// Another program listens on the port of a Hermes home
    Foreign,
    /// A healthy server that speaks TLS
    #[cfg(feature = "tls")]
    Tls,
}

/// The roles of a test server process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ServerPart {
    /// Answers like a healthy server.
    Healthy,
    /// Holds database handles.
    Leak,
    /// Holds sockets up to the limit.
    Ceiling,
    /// Answers until it is stopped.
    Stopped,
    /// Never accepts.
    Mute,
    /// Every handler waits for a lock.
    Deadlock,
    /// The handlers of one route wait for a lock.
    LockedRoute,
    /// Writes to a pipe without a reader before it answers.
    FullPipe,
    /// Closes without an answer.
    SilentClose,
    /// Keeps sockets that were closed by the peer.
    CloseWait,
    /// Leads a session of its own after its launcher has ended.
    Detached,
    /// Starts a detached server, waits for it and ends.
    Launcher,
    /// Starts the launcher again each time it ends.
    Respawner,
    /// Another program.
    Foreign,
    /// Serves TLS.
    #[cfg(feature = "tls")]
    Tls,
}

impl ServerPart {
    /// The role on the command line.
    fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Setup of a demo scenario, and the expected result.
struct Plan {
    name: Name,
    part: ServerPart,
    staged: &'static str,
    /// The expected finding: a root cause, or for an exit status of 0 any finding.
    expected: &'static [&'static str],
    exit: u8,
}

const PLANS: &[Plan] = &[
    Plan { name: Name::Healthy, part: ServerPart::Healthy, staged: "a healthy server", expected: &[], exit: 0 },
    Plan {
        name: Name::Leak,
        part: ServerPart::Leak,
        staged: "119 state.db and 113 state.db-wal descriptors of 256",
        expected: &[id::STATE_DB_HANDLE_LEAK],
        exit: 2,
    },
    Plan {
        name: Name::Ceiling,
        part: ServerPart::Ceiling,
        staged: "sockets up to the limit of 128",
        expected: &[id::DESCRIPTOR_CEILING],
        exit: 2,
    },
    Plan {
        name: Name::Stopped,
        part: ServerPart::Stopped,
        staged: "a stopped process",
        expected: &[id::PROCESS_STOPPED],
        exit: 2,
    },
    Plan {
        name: Name::Mute,
        part: ServerPart::Mute,
        staged: "accepts no connections; its queue fills",
        expected: &[id::ACCEPT_STALLED],
        exit: 2,
    },
    Plan {
        name: Name::Deadlock,
        part: ServerPart::Deadlock,
        staged: "handlers wait for a lock that is held",
        expected: &[id::HANDLERS_STUCK],
        exit: 2,
    },
    Plan {
        name: Name::LockedRoute,
        part: ServerPart::LockedRoute,
        staged: "/health answers, /api/sessions waits for a lock",
        expected: &[id::HANDLERS_STUCK],
        exit: 2,
    },
    Plan {
        name: Name::FullPipe,
        part: ServerPart::FullPipe,
        staged: "logs to a pipe that no process reads",
        expected: &[id::OUTPUT_PIPE_FULL],
        exit: 2,
    },
    Plan {
        name: Name::SilentClose,
        part: ServerPart::SilentClose,
        staged: "closes connections without sending a byte",
        expected: &[id::REPLY_EMPTY],
        exit: 2,
    },
    Plan {
        name: Name::CloseWait,
        part: ServerPart::CloseWait,
        staged: "keeps 60 connections that the peer closed",
        expected: &[id::CLOSE_WAIT_LEAK],
        exit: 1,
    },
    Plan {
        name: Name::Unsupervised,
        part: ServerPart::Launcher,
        staged: "double-forked, no supervisor claims it",
        expected: &[id::UNSUPERVISED_SERVER],
        exit: 0,
    },
    Plan {
        name: Name::Orphan,
        part: ServerPart::Respawner,
        staged: "double-forked; its launcher is in a restart loop",
        expected: &[id::ORPHANED_SERVER, id::RESPAWN_LOOP],
        exit: 2,
    },
    Plan {
        name: Name::Foreign,
        part: ServerPart::Foreign,
        staged: "another program listens on the port of the home",
        expected: &[id::PORT_HELD],
        exit: 2,
    },
    #[cfg(feature = "tls")]
    Plan {
        name: Name::Tls,
        part: ServerPart::Tls,
        staged: "a healthy server that speaks TLS",
        expected: &[],
        exit: 0,
    },
];

impl Name {
    /// All scenarios, in display order.
    pub fn all() -> &'static [Self] {
        Self::value_variants()
    }

    /// The name on the command line.
    pub fn word(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Description of the scenario.
    pub fn staged(self) -> &'static str {
        self.plan().staged
    }

    fn plan(self) -> &'static Plan {
        // The first plan replaces a missing one; a test checks that none is missing.
        PLANS.iter().find(|plan| plan.name == self).unwrap_or(&PLANS[0])
    }
}

/// Starts a server, examines it, and cleans up.
///
/// # Errors
/// When the server cannot be started or examined.
pub fn show(name: Name, request: &Request, progress: &dyn Progress) -> Result<Envelope, DemoError> {
    let plan = name.plan();
    if request.budget.is_zero() {
        return Err(DemoError::NoTime);
    }
    progress.step("starting the server");
    let server = stage::start(plan)?;
    let selection = if name == Name::Foreign {
        Selection { home: Some(server.home().to_owned()), ..Selection::default() }
    } else {
        Selection { port: Some(server.port()), home: Some(server.home().to_owned()), ..Selection::default() }
    };
    let request = Request { selection, ..request.clone() };
    let deadline = Deadline::after(request.budget);
    let host = this_host(deadline);
    let result = examine(&*host, &request, deadline, progress);
    progress.step("cleaning up");
    drop(server);
    Ok(result?)
}

/// Runs one scenario and compares the redacted report with the expected result. So the test covers everything
/// from the examination to the attachment.
pub fn check(name: Name, request: &Request, progress: &dyn Progress) -> Demonstration {
    let plan = name.plan();
    let (found, exit) = match show(name, request, progress) {
        Ok(envelope) => {
            let reported = redacted(envelope, Level::Default, &host_names());
            (found(&reported, plan), reported.status.exit_code())
        }
        Err(error) => (vec![error.to_string()], Status::Unknown.exit_code()),
    };
    let agrees = match plan.expected {
        [] => found.is_empty(),
        expected => expected.iter().any(|id| found.iter().any(|found| found == id)),
    };
    Demonstration {
        name: name.word(),
        staged: plan.staged.to_owned(),
        expected: plan.expected.first().map(|id| (*id).to_owned()),
        expected_exit: plan.exit,
        as_expected: agrees && exit == plan.exit,
        found,
        exit,
    }
}

/// Root causes; for a healthy server with an expected note, the note.
fn found(envelope: &Envelope, plan: &Plan) -> Vec<String> {
    let roots: Vec<String> = envelope.servers.iter().flat_map(|server| server.root_causes.clone()).collect();
    if !roots.is_empty() || plan.expected.is_empty() {
        return roots;
    }
    envelope
        .servers
        .iter()
        .flat_map(|server| &server.findings)
        .filter(|finding| finding.severity == Severity::Info)
        .map(|finding| finding.id.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_its_plan() {
        for name in Name::all() {
            assert_eq!(PLANS.iter().filter(|plan| plan.name == *name).count(), 1, "{name:?}");
        }
    }
}
