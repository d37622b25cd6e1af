//! Steps that come before a server is ended, and the commands for its supervisor.

pub use crate::supervisor::advice::{Verb, command, log_command, quoted};

use crate::model::{NextStep, Server, Supervisor};

/// Steps that save what is lost when the process ends. They come before any step that ends it.
pub fn before_it_ends(server: &Server) -> Vec<NextStep> {
    let mut steps = Vec::new();
    let deleted = server.descriptors.iter().flat_map(|facts| &facts.sqlite).find(|family| family.deleted > 0);
    if let (Some(family), Some(pid)) = (deleted, server.pid) {
        steps.push(NextStep::say(format!(
            "Before it ends, copy what it holds unlinked of {} (below /proc/{pid}/fd): with the process that is lost",
            family.path
        )));
    }
    let answer = server.health.as_ref().and_then(|health| health.answer.as_ref());
    if let Some(streams) = answer.and_then(|answer| answer.active_streams).filter(|streams| *streams > 0) {
        steps.push(NextStep::say(format!("It has {streams} open streams, which end with it")));
    }
    steps
}

/// The warning that stopping a unit also ends the server, which is not its main process.
pub fn stop_takes_all(claim: &Supervisor) -> Option<NextStep> {
    (claim.stops_group == Some(true) && claim.kind.is_systemd()).then(|| {
        NextStep::say("Stopping the unit ends every process of its control group, the server that answers now too")
    })
}
