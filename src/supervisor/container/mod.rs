//! Containers: the runtime answers on its own socket, where that socket may be used.

pub mod query;
pub mod wire;

use super::SupervisorBackend;
use super::advice::{Verb, quoted_name};
use crate::model::{Supervisor, SupervisorKind};

/// Docker.
pub struct Docker;

/// Podman.
pub struct Podman;

impl SupervisorBackend for Docker {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::Docker
    }

    fn counts_automatic_restarts_only(&self) -> bool {
        true
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        command(claim, verb)
    }

    fn log_command(&self, _claim: &Supervisor, name: &str) -> Option<String> {
        Some(format!("docker logs {name} --tail 100"))
    }
}

impl SupervisorBackend for Podman {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::Podman
    }

    fn counts_automatic_restarts_only(&self) -> bool {
        true
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        command(claim, verb)
    }

    fn log_command(&self, _claim: &Supervisor, name: &str) -> Option<String> {
        Some(format!("podman logs {name} --tail 100"))
    }
}

fn command(claim: &Supervisor, verb: Verb) -> Option<String> {
    claim.name.as_ref()?;
    Some(format!("{} {} {}", claim.kind, verb.plain_word()?, quoted_name(claim)))
}
