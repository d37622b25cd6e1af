//! Observation of a supervisor for a few seconds: its starts of the server, and changes of the port.

use super::Examination;
use super::claims::ObservedSupervisor;
use crate::diagnose;
use crate::model::{Relaunch, Server, Supervisor, whole_milliseconds};
use crate::parse::command::{CommandRole, recognise};
use crate::supervisor::query_interval;
use crate::target::listening;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Default duration. A supervisor may wait some seconds between two starts.
const DEFAULT_DURATION: Duration = Duration::from_secs(5);
/// Time between two samples of processes.
const INTERVAL: Duration = Duration::from_millis(40);
/// Time between two samples of the port.
const EVERY_PORT: Duration = Duration::from_millis(200);
/// Maximum number of changes that are kept.
const MAX_CHANGES: usize = 64;

/// One sample.
#[derive(Default)]
struct SupervisorSample {
    pids: Vec<u32>,
    restarts: Option<u64>,
    state: Option<String>,
}

impl Examination<'_> {
    /// Observes until repeated starts are detected, or until the time is over. With `--observe` always for the
    /// whole time.
    pub(super) fn observe(&self, server: &Server, watched: &ObservedSupervisor, claim: &Supervisor) -> Relaunch {
        let name = claim.name.as_deref().filter(|name| name.len() <= 40).unwrap_or(claim.kind.word());
        let timeouts = self.request.observe.unwrap_or(DEFAULT_DURATION);
        self.progress.step(&format!("observing {name} for up to {} s", timeouts.as_secs().max(1)));
        let begun = Instant::now();
        let end = self.deadline.within(timeouts);
        let mut known_children = HashMap::new();
        let mut relaunch = Relaunch { of: Some(claim.title().into()), ..Relaunch::default() };
        let mut port = None;
        let mut port_looked_at: Option<Instant> = None;
        let mut first_count = claim.restarts;
        let mut now = SupervisorSample {
            pids: claim
                .claimed_pid
                .filter(|_| matches!(watched, ObservedSupervisor::Program(_)))
                .into_iter()
                .collect(),
            restarts: claim.restarts,
            state: claim.state.clone().map(|text| text.to_string()),
        };
        loop {
            for pid in now.pids.drain(..) {
                if relaunch.pids.last() != Some(&pid) && relaunch.pids.len() < MAX_CHANGES {
                    relaunch.pids.push(pid);
                }
            }
            if let Some(state) = now.state.take()
                && relaunch.states.last().is_none_or(|last| *last != *state.as_str())
                && relaunch.states.len() < MAX_CHANGES
            {
                relaunch.states.push(state.into());
            }
            first_count = first_count.or(now.restarts);
            let more = now.restarts.zip(first_count).map_or(0, |(now, first)| now.saturating_sub(first));
            relaunch.restarts = relaunch.restarts.max(more);
            if port_looked_at.is_none_or(|at| at.elapsed() >= EVERY_PORT) {
                port_looked_at = Some(Instant::now());
                let is_open = self.is_listened_on(server);
                relaunch.port_changes += u64::from(port.is_some() && port != is_open);
                port = is_open;
            }
            let is_settled = self.request.observe.is_none() && diagnose::is_repeated(claim, &relaunch);
            if is_settled || end.is_over() {
                break;
            }
            let every = match watched {
                ObservedSupervisor::Loop(_) => INTERVAL,
                ObservedSupervisor::Program(_) => query_interval(&claim.kind),
            };
            std::thread::sleep(every.min(end.remaining()));
            now = match watched {
                ObservedSupervisor::Program(known) => {
                    let again = known.again(self.survey.host).map(|program| program.claim).unwrap_or_default();
                    SupervisorSample {
                        pids: again.claimed_pid.into_iter().collect(),
                        restarts: again.restarts,
                        state: again.state.map(|text| text.to_string()),
                    }
                }
                ObservedSupervisor::Loop(parent) => SupervisorSample {
                    pids: self.attempts_of(*parent, server, &mut known_children),
                    ..SupervisorSample::default()
                },
            };
        }
        relaunch.observed_ms = whole_milliseconds(begun.elapsed());
        relaunch
    }

    /// Whether the server's port has a listener; `None` if this cannot be read.
    fn is_listened_on(&self, server: &Server) -> Option<bool> {
        let port = server.port?;
        let table = self.survey.host.sockets(server.process.as_ref()).value;
        (!table.source.is_empty()).then(|| listening(&table, port).next().is_some())
    }

    /// New children of a loop that start the server.
    fn attempts_of(&self, parent: u32, server: &Server, seen: &mut HashMap<u32, bool>) -> Vec<u32> {
        let mut found = Vec::new();
        for entry in self.survey.host.process_table().unwrap_or_default() {
            if entry.ppid != parent || entry.zombie || seen.get(&entry.pid) == Some(&true) {
                continue;
            }
            let argv = self.survey.host.commands(&[entry.pid]).pop().and_then(Result::ok).unwrap_or_default();
            let starts_it = recognise(&argv)
                .is_some_and(|command| command.kind == server.kind && command.role != CommandRole::RespawnLoop);
            seen.insert(entry.pid, starts_it);
            if starts_it {
                found.push(entry.pid);
            }
        }
        found
    }
}
