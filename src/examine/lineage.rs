//! The way up from a server to pid 1.

use super::Examination;
use crate::collect::no_supervisor;
use crate::model::{Gap, GapReason, Hop, Lineage, Process, Role, Server, Supervisor};
use crate::parse::cgroup::unit_of;
use crate::parse::role::{Classified, classify};

/// Hops that are followed; a host nests a handful.
const MOST_HOPS: usize = 32;

impl Examination<'_> {
    /// Fills in `server.lineage`.
    pub(super) fn lineage(&self, server: &mut Server) {
        let Some(process) = server.process.clone() else { return };
        let hops = self.hops(server, &process);
        let unit = process.cgroup.as_deref().and_then(unit_of);
        let (mut supervisor, mut expected) = self.supervisor(server, &process, &hops, unit.as_ref());
        let mut relaunch = None;
        if supervisor.claims_this != Some(true) {
            // Its own unit comes first; it was asked already, and is looked at for longer now.
            let of_unit = expected.as_ref().and_then(|expected| self.program_of_unit(expected));
            if let Some(program) = of_unit {
                let looked = self.watch_program(&program);
                supervisor =
                    Supervisor { evidence: supervisor.evidence, ..program.claim(looked.pids.last().copied()) };
                relaunch = Some(looked);
            } else if let Some(program) = self.program_elsewhere(server, &process, &hops) {
                let looked = self.watch_program(&program);
                expected = Some(program.expected());
                supervisor = program.claim(looked.pids.last().copied());
                relaunch = Some(looked);
            } else if let Some((pid, of_loop)) = self.respawn_loop(server, &hops) {
                let looked = self.watch(pid, server);
                supervisor = Supervisor {
                    kind: of_loop.kind.clone(),
                    name: Some(of_loop.name.clone()),
                    claimed_pid: looked.pids.last().copied(),
                    evidence: format!("pid {pid} starts this server, and this process is not below it"),
                    ..no_supervisor("")
                };
                relaunch = Some(looked);
                expected = Some(of_loop);
            }
        }
        let (detached, detached_because) = detachment(&process, &hops);
        server.lineage = Some(Lineage {
            hops,
            supervisor,
            expected,
            detached,
            detached_because,
            session: process.session,
            process_group: process.process_group,
            cgroup: process.cgroup.clone(),
            unit: unit.map(|unit| unit.name),
            markers: process.markers.clone(),
            relaunch,
        });
    }

    fn hops(&self, server: &mut Server, process: &Process) -> Vec<Hop> {
        let mut hops = vec![Hop {
            pid: process.identity.pid,
            ppid: process.ppid,
            start_time: process.start_time.clone(),
            age_ms: process.age_ms,
            user: process.user.clone(),
            role: Role::Server,
            name: Some(server.kind.word().to_owned()),
            command: process.command.clone().unwrap_or_else(|| format!("[{}]", process.name)),
            evidence: "the examined process".to_owned(),
        }];
        let mut current = process.ppid;
        while current != 0 && hops.len() < MOST_HOPS && hops.iter().all(|hop| hop.pid != current) {
            match self.hop(current) {
                Ok(hop) => {
                    current = hop.ppid;
                    hops.push(hop);
                }
                Err(gap) => {
                    server.gaps.push(gap);
                    break;
                }
            }
        }
        hops
    }

    fn hop(&self, pid: u32) -> Result<Hop, Gap> {
        let host = self.survey.host;
        let identity = host
            .identify(pid)
            .map_err(|problem| Gap::new(format!("parent {pid}"), GapReason::Vanished, problem.to_string()))?;
        let process = host.process(identity)?.value;
        let argv = self.survey.command(pid);
        let Classified { role, name, evidence } = if pid == std::process::id() {
            Classified {
                role: Role::Demo,
                name: Some("demo".into()),
                evidence: "this program's demonstration".into(),
            }
        } else {
            classify(pid, &process.name, &argv)
        };
        Ok(Hop {
            pid,
            ppid: process.ppid,
            start_time: process.start_time,
            age_ms: process.age_ms,
            user: process.user,
            role,
            name,
            command: process.command.unwrap_or_else(|| format!("[{}]", process.name)),
            evidence,
        })
    }
}

/// Whether the server left its parent, and how that is known. Not a judgement: see [`Lineage::detached`].
fn detachment(process: &Process, hops: &[Hop]) -> (bool, String) {
    let adopted = hops.get(1).is_some_and(|parent| parent.role == Role::Init) || process.ppid <= 1;
    let leads_session = process.session == i32::try_from(process.identity.pid).unwrap_or(-1);
    let reason = match (adopted, leads_session) {
        (true, true) => "its parent is the init or user manager, and it leads a session of its own",
        (true, false) => "its parent is the init or user manager",
        (false, true) => "it leads a session of its own, and its parent still waits for it",
        (false, false) => "it is in its parent's session",
    };
    (adopted, reason.to_owned())
}
