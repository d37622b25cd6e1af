//! Containers: the runtime answers on its own socket, where that socket may be used.

pub mod query;
pub mod wire;

use super::SupervisorBackend;
use super::advice::{Verb, quoted_name};
use crate::model::{Supervisor, SupervisorKind};

/// A container runtime.
pub struct Runtime {
    kind: SupervisorKind,
}

/// Docker.
pub const DOCKER: Runtime = Runtime { kind: SupervisorKind::Docker };

/// Podman.
pub const PODMAN: Runtime = Runtime { kind: SupervisorKind::Podman };

impl SupervisorBackend for Runtime {
    fn kind(&self) -> SupervisorKind {
        self.kind.clone()
    }

    fn counts_automatic_restarts_only(&self) -> bool {
        true
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        claim.name.as_ref()?;
        Some(format!("{} {} {}", self.kind, verb.plain_word()?, quoted_name(claim)))
    }

    fn log_command(&self, _claim: &Supervisor, name: &str) -> Option<String> {
        Some(format!("{} logs {name} --tail 100", self.kind))
    }
}
