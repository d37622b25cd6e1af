//! Diagnosis of recorded hosts: each file in fixtures/ is a report, diagnosed again from its facts.

use crate::common::reported;
use crate::pages::{HOSTS, fixtures_page, path, read};
use hermes_doctor::collect::replay;
use hermes_doctor::model::{ClaimState, Envelope, Status};
use hermes_doctor::wording;
use serde_json::Value;
use std::path::Path;

#[test]
fn every_recorded_host_gets_its_verdict_from_its_facts() {
    for (name, status, roots) in HOSTS {
        let mut envelope = read(name);
        let server = &mut envelope.servers[0];
        let recorded = server.clone();
        server.findings.clear();
        server.passed.clear();
        server.root_causes.clear();
        server.status = Status::Unknown;
        wording::judge(server);
        assert_eq!(
            (server.status, server.root_causes.as_slice()),
            (*status, roots.map_strings().as_slice()),
            "{name}"
        );
        // Titles and advice may differ from those in an old report; findings and their causes may not.
        let facts = |server: &hermes_doctor::model::Server| -> Vec<_> {
            let findings = server.findings.iter();
            findings.map(|found| (found.id.clone(), found.severity, found.caused_by.clone())).collect()
        };
        assert_eq!(facts(server), facts(&recorded), "{name}");
        // Checks that are newer than the report may pass too.
        assert!(recorded.passed.iter().all(|id| server.passed.contains(id)), "{name}: {:?}", server.passed);
    }
}

/// What was recorded is written again unchanged, whatever the types between: reading loses nothing, and sentences of other
/// versions keep their text.
#[test]
fn every_recorded_fact_is_written_again_unchanged() {
    fn compare(recorded: &Value, written: &Value, path: &str, compared: &mut usize) {
        match (recorded, written) {
            (Value::Object(recorded), Value::Object(written)) => {
                for (key, value) in recorded {
                    // What follows from the facts, and what older versions wrote and this one does not.
                    let found = written.get(key);
                    assert!(found.is_some() || value.is_null(), "{path}.{key} is gone");
                    found.into_iter().for_each(|found| compare(value, found, &format!("{path}.{key}"), compared));
                }
            }
            (Value::Array(recorded), Value::Array(written)) => {
                assert_eq!(recorded.len(), written.len(), "{path}");
                recorded.iter().zip(written).for_each(|(a, b)| compare(a, b, path, compared));
            }
            (Value::Number(a), Value::Number(b)) => assert_eq!(a.as_f64(), b.as_f64(), "{path}"),
            _ => {
                assert_eq!(recorded, written, "{path}");
                *compared += 1;
            }
        }
    }
    let mut compared = 0;
    for (name, _, _) in HOSTS {
        let recorded: Value = serde_json::from_slice(&std::fs::read(path(name)).unwrap()).unwrap();
        let written = serde_json::to_value(read(name)).unwrap();
        compare(&recorded, &written, name, &mut compared);
    }
    assert!(compared > 10_000, "{compared}");
}

trait Strings {
    fn map_strings(&self) -> Vec<String>;
}

impl Strings for &[&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|id| (*id).to_owned()).collect()
    }
}

/// Two minutes after the start the same delay is a warning. If the thread of the request does not run, the delay is
/// not a migration.
#[test]
fn a_late_route_is_a_warning_of_a_server_that_has_started() {
    for (age_ms, status) in [(119_000, Status::Healthy), (3_600_000, Status::Warning)] {
        let mut envelope = read("route-late");
        let server = &mut envelope.servers[0];
        server.process.as_mut().unwrap().age_ms = Some(age_ms);
        wording::judge(server);
        assert_eq!(server.status, status);
        assert!(server.findings.iter().any(|finding| finding.id == "route-slow"));
    }
}

/// The activity of the threads decides: without a second sample, or with a thread that has made progress, no cause
/// is reported.
#[test]
fn a_thread_that_has_come_on_is_not_stuck() {
    for name in ["state-d", "output-pipe-full"] {
        let mut envelope = read(name);
        let server = &mut envelope.servers[0];
        let activity = server.health.as_mut().unwrap().activity.as_mut().unwrap();
        activity.threads.iter_mut().for_each(|thread| thread.sleeps = thread.sleeps.map(|sleeps| sleeps + 40));
        wording::judge(server);
        let ids: Vec<&str> = server.findings.iter().map(|finding| finding.id.as_str()).collect();
        assert!(!ids.contains(&"uninterruptible-sleep") && !ids.contains(&"output-pipe-full"), "{name}: {ids:?}");
        assert_eq!(server.status, Status::Critical, "{name}");
    }
    // Other requests are answered in the meantime: late, but not stuck.
    let mut envelope = read("handlers-deadlocked");
    let server = &mut envelope.servers[0];
    server.listeners.as_mut().unwrap().looks.last_mut().unwrap().answered_since = 3;
    wording::judge(server);
    assert_eq!(
        (server.status, server.root_causes.as_slice()),
        (Status::Warning, &["http-no-answer".to_owned()][..])
    );
}

/// Threads in state D that wait for memory of their control group (the report: `mem_cgroup_handle_over_high`).
#[test]
fn a_wait_for_memory_of_the_group_is_its_cause() {
    let mut envelope = read("state-d");
    let server = &mut envelope.servers[0];
    server.resources = Some(hermes_doctor::model::Resources::default());
    let activity = server.health.as_mut().unwrap().activity.as_mut().unwrap();
    let looks = activity.threads.iter_mut().flat_map(|thread| &mut thread.looks);
    looks.for_each(|look| look.wait_channel = Some("mem_cgroup_handle_over_high".into()));
    wording::judge(server);
    assert_eq!(
        (server.status, server.root_causes.as_slice()),
        (Status::Critical, &["memory-pressure".to_owned()][..])
    );
}

/// A low limit is a cause by itself if other descriptors fill it, but not if it would be sufficient without the
/// leaked handles.
#[test]
fn a_low_limit_is_low_by_itself_or_by_a_leak() {
    let roots = |handles: u64| {
        let mut envelope = read("report-A84233-dashboard-handles");
        let server = &mut envelope.servers[0];
        let family = &mut server.descriptors.as_mut().unwrap().sqlite[0];
        (family.db, family.wal) = (handles / 2, handles - handles / 2);
        wording::judge(server);
        server.root_causes.clone()
    };
    assert_eq!(roots(98), ["state-db-handle-leak"]);
    assert_eq!(roots(64), ["state-db-handle-leak"]);
    // The same number of descriptors on sockets and tools, with a normal pool of connections.
    assert_eq!(roots(40), ["descriptor-limit-low"]);
    assert_eq!(roots(13), ["descriptor-limit-low"]);
}

/// The advice for a process that the kernel throttles for its memory does not mention a disk.
#[test]
fn a_throttled_thread_waits_for_no_disk() {
    for (name, says) in [("report-A70800-memory-high", "memory.high"), ("state-d", "network mount")] {
        let mut envelope = read(name);
        let server = &mut envelope.servers[0];
        wording::judge(server);
        let found = server.findings.iter().find(|finding| finding.id == "uninterruptible-sleep").unwrap();
        assert_eq!(found.next.iter().filter(|step| step.what.contains(says)).count(), 1, "{name}");
        assert!(!found.next.iter().any(|step| step.what.contains("mount") && step.what.contains("memory")));
    }
}

/// A debugger that holds the process is a note by itself, and also the cause if the server does not answer.
#[test]
fn a_debugger_is_the_cause_of_the_silence() {
    let mut envelope = read("stopped");
    let server = &mut envelope.servers[0];
    let process = server.process.as_mut().unwrap();
    process.state = hermes_doctor::model::ProcessState::Traced;
    process.tracer_pid = Some(4711);
    wording::judge(server);
    assert_eq!(
        (server.status, server.root_causes.as_slice()),
        (Status::Critical, &["process-stopped".to_owned()][..])
    );
    let stopped = server.findings.iter().find(|finding| finding.id == "process-stopped").unwrap();
    assert_eq!(stopped.severity, hermes_doctor::model::Severity::Info);
    assert!(stopped.title.contains("4711"));
}

/// The process runs and no process listens: refused if the server is old enough, unknown while it may be starting.
#[test]
fn refused_is_a_finding_only_of_a_server_that_has_started() {
    for (age_ms, starting) in [(3_600_000, false), (2_000, true)] {
        let mut envelope = read("healthy-pool");
        let server = &mut envelope.servers[0];
        server.process.as_mut().unwrap().age_ms = Some(age_ms);
        let health = server.health.as_mut().unwrap();
        health.outcome = hermes_doctor::model::Outcome::Refused;
        health.http_status = None;
        health.answer = None;
        server.listeners.as_mut().unwrap().sockets.clear();
        server.listeners.as_mut().unwrap().holders.clear();
        if starting {
            let gap = hermes_doctor::model::Gap::new("HTTP", hermes_doctor::model::GapReason::NotFound, "young");
            server.gaps.push(gap.blocking(hermes_doctor::model::id::HTTP));
        }
        wording::judge(server);
        if starting {
            assert_eq!((server.status, server.root_causes.len()), (Status::Unknown, 0), "{:?}", server.findings);
        } else {
            assert_eq!(server.status, Status::Critical);
            assert_eq!(server.root_causes, ["connection-refused"]);
        }
    }
}

/// Findings of a server after its facts were changed.
fn judged(name: &str, change: impl FnOnce(&mut hermes_doctor::model::Server)) -> (Status, Vec<String>) {
    let mut envelope = read(name);
    let server = &mut envelope.servers[0];
    change(server);
    wording::judge(server);
    (server.status, server.findings.iter().map(|found| found.id.clone()).collect())
}

/// Two servers of one kind on one home are duplicates, but not during a handover, not if they are of different
/// kinds, and not if one of them is a desktop's own backend.
#[test]
fn two_of_a_kind_on_one_home_are_duplicates() {
    let old = |server: &mut hermes_doctor::model::Server| {
        server.process.as_mut().unwrap().age_ms = Some(3_600_000);
        let lineage = server.lineage.as_mut().unwrap();
        lineage.relatives.iter_mut().for_each(|hop| hop.age_ms = Some(3_600_000));
    };
    let has = |found: &(Status, Vec<String>)| found.1.iter().any(|id| id == "duplicate-servers");
    assert!(has(&judged("two-owners", old)));
    assert!(!has(&judged("two-owners", |_| {})), "both are younger than half a minute");
    for change in [
        |sibling: &mut hermes_doctor::model::Sibling| sibling.kind = hermes_doctor::model::ServerKind::Gateway,
        |sibling: &mut hermes_doctor::model::Sibling| sibling.any_port = true,
        |sibling: &mut hermes_doctor::model::Sibling| sibling.same_home = false,
    ] {
        let found = judged("two-owners", |server| {
            old(server);
            server.lineage.as_mut().unwrap().siblings.iter_mut().for_each(change);
        });
        assert!(!has(&found), "{found:?}");
    }
}

/// A restart loop in one sample, and similar cases: a single restart by the user changes the pid once, and old
/// restarts are no loop.
#[test]
fn one_restart_is_no_loop() {
    let looping = |found: &(Status, Vec<String>)| found.1.iter().any(|id| id == "respawn-loop");
    // The server is being started again and was restarted often; without an observation.
    assert!(looping(&judged("systemd-orphan", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        lineage.relaunch = None;
        (lineage.supervisor.restarts, lineage.supervisor.claim_state) = (Some(312), ClaimState::Restarting);
    })));
    // Its process is younger than the time between two starts.
    assert!(looping(&judged("systemd-orphan", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        lineage.relaunch = None;
        lineage.supervisor.restarts = Some(312);
        lineage.supervisor.claim_state = ClaimState::Running;
        lineage.supervisor.claimed_age_ms = Some(200);
    })));
    let found = judged("systemd-orphan", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        let relaunch = lineage.relaunch.as_mut().unwrap();
        relaunch.pids.truncate(2);
        (relaunch.restarts, relaunch.port_changes) = (0, 0);
        (lineage.supervisor.restarts, lineage.supervisor.claim_state) = (Some(1), ClaimState::Running);
    });
    assert!(!looping(&found) && found.0 == Status::Warning, "{found:?}");
    let found = judged("systemd-forking", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        lineage.supervisor.restarts = Some(312);
        lineage.supervisor.claimed_age_ms = Some(86_400_000);
    });
    assert_eq!(found, (Status::Healthy, Vec::new()));
}

/// A counter that a manual restart also increases must increase twice.
#[test]
fn restart_counters_are_judged_by_supervisor() {
    use hermes_doctor::model::{Relaunch, Supervisor};
    let repeated = |kind: &str, pids: usize, restarts: u64, states: &[&str]| {
        let claim = Supervisor { kind: kind.into(), restarts: Some(0), ..Supervisor::default() };
        let relaunch = Relaunch {
            pids: (1..).take(pids).collect(),
            restarts,
            states: states.map_strings().into_iter().map(Into::into).collect(),
            ..Relaunch::default()
        };
        hermes_doctor::diagnose::is_repeated(&claim, &relaunch)
    };
    assert!(repeated("systemd", 1, 1, &[]) && !repeated("systemd", 2, 0, &[]));
    assert!(!repeated("pm2", 2, 1, &[]) && repeated("pm2", 2, 2, &[]));
    assert!(!repeated("launchd", 2, 1, &[]) && !repeated("runit", 2, 0, &["up", "down, want up", "up"]));
    assert!(repeated("runit", 3, 0, &[]) && repeated("respawn-loop", 2, 0, &[]));
    assert!(repeated("supervisord", 2, 0, &["STARTING", "BACKOFF"]));
    // Three restarts by hand, and the manager's own counter has not moved.
    assert!(!repeated("systemd", 4, 0, &["active (running)", "inactive (dead)", "active (running)"]));
}

/// The launcher has replaced itself by the server, which then ended.
#[test]
fn a_launcher_that_ran_for_long_was_the_server() {
    let gone = |ran_ms| {
        judged("systemd-launcher-gone", |server| server.lineage.as_mut().unwrap().supervisor.ran_ms = Some(ran_ms))
            .1
    };
    assert!(gone(2_000).contains(&"launcher-detached".to_owned()));
    assert!(!gone(7_200_000).contains(&"launcher-detached".to_owned()));
    assert!(gone(7_200_000).contains(&"server-not-running".to_owned()));
}

/// The manager knows that its server was killed because memory ran out. This is why it has given up, and why no
/// process listens.
#[test]
fn a_killed_server_is_down_because_of_memory() {
    let mut envelope = read("systemd-failed");
    let server = &mut envelope.servers[0];
    server.lineage.as_mut().unwrap().supervisor.result = Some("oom-kill, signal 9".into());
    wording::judge(server);
    assert_eq!(server.root_causes, ["memory-killed"], "{:?}", server.findings);
    let caused =
        |id: &str| server.findings.iter().find(|found| found.id == id).map(|found| found.caused_by.clone());
    assert_eq!(caused("supervisor-gave-up"), Some(vec!["memory-killed".to_owned()]));
    assert_eq!(caused("memory-killed"), Some(Vec::new()));
}

#[test]
fn every_fixture_is_tested() {
    let mut files: Vec<String> = std::fs::read_dir(path("x").parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    files.sort();
    let mut known: Vec<&str> = HOSTS.iter().map(|(name, ..)| *name).collect();
    known.sort_unstable();
    assert_eq!(files, known);
}

#[test]
fn hostile_reports_are_refused() {
    let deep = format!("{{\"servers\":{}", "[".repeat(100_000));
    for bytes in
        [&b""[..], b"{}", b"[]", b"null", b"\xff\xfe", b"{\"schema\":\"hermes-doctor/1\"}", deep.as_bytes()]
    {
        assert!(replay::read(bytes).is_err());
    }
    let other =
        std::fs::read_to_string(path("unsupervised")).unwrap().replace("hermes-doctor/1", "hermes-doctor/99");
    assert!(replay::read(other.as_bytes()).unwrap_err().to_string().contains("hermes-doctor/99"));
}

/// The files contain the reported facts: neither the files nor the facts were changed alone.
#[test]
fn hosts_of_reports_have_the_reported_facts() {
    let facts = |mut envelope: Envelope| {
        envelope.tool.version = String::new().into();
        for server in &mut envelope.servers {
            (server.findings, server.passed) = (Vec::new(), Vec::new());
        }
        envelope
    };
    for reported in reported::REPORTED {
        if let Some(made) = reported::host(reported) {
            assert_eq!(facts(read(&format!("report-{}", reported.name))), facts(made), "{}", reported.name);
        }
    }
}

#[test]
fn the_fixtures_page_is_true() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fixtures.md");
    assert_eq!(std::fs::read_to_string(file).unwrap(), fixtures_page(), "cargo xtask docs");
    let made = HOSTS.iter().filter(|(name, ..)| name.starts_with("report-"));
    for (name, ..) in made {
        let is_it = |reported: &reported::Reported| format!("report-{}", reported.name) == *name;
        assert!(reported::REPORTED.iter().any(is_it), "{name} has no source in tests/it/common/reported.rs");
    }
}
