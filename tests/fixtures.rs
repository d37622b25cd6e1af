//! Diagnosis on recorded hosts: each file in fixtures/ is a report, judged again from its facts alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod common;
#[path = "common/reported.rs"]
mod reported;

use common::{patient_file, run, webui};
use hermes_doctor::collect::replay;
use hermes_doctor::diagnose;
use hermes_doctor::model::{Envelope, Role, Status};
use std::path::{Path, PathBuf};
use std::process::Command;

/// File, status, root causes.
const HOSTS: &[(&str, Status, &[&str])] = &[
    ("accept-stalled", Status::Critical, &["accept-stalled"]),
    ("ceiling-by-sockets", Status::Critical, &["descriptor-ceiling"]),
    ("close-wait", Status::Warning, &["close-wait-leak"]),
    ("degraded", Status::Critical, &["health-degraded"]),
    ("foreign-program", Status::Critical, &["port-held-by-other-program"]),
    ("accept-loop-locked", Status::Critical, &["accept-stalled"]),
    ("backlog-full", Status::Critical, &["accept-stalled"]),
    ("ceiling-by-handles", Status::Critical, &["state-db-handle-leak"]),
    ("computation", Status::Healthy, &[]),
    ("database-locked", Status::Critical, &["database-lock-held"]),
    ("gil-held", Status::Critical, &["gil-held"]),
    ("handlers-and-computation", Status::Critical, &["handlers-stuck"]),
    ("handlers-deadlocked", Status::Critical, &["handlers-stuck"]),
    ("output-pipe-full", Status::Critical, &["output-pipe-full"]),
    ("route-late", Status::Healthy, &[]),
    ("route-locked", Status::Critical, &["handlers-stuck"]),
    ("state-d", Status::Critical, &["uninterruptible-sleep"]),
    ("workers-free", Status::Healthy, &[]),
    // Recorded before threads were looked at: then no cause is established.
    ("handler-stuck", Status::Critical, &["http-no-answer"]),
    ("healthy-pool", Status::Healthy, &[]),
    ("healthy-supervised", Status::Healthy, &[]),
    ("healthy-tls", Status::Healthy, &[]),
    ("ipv6-only", Status::Healthy, &[]),
    // Macs under launchd, made of the numbers of real reports by tests/launchd.rs, each with its maintainers' verdict:
    // A#79742, A#80204 (twice), W#1458 (its first and its third way), W#1494, W#3289, A#96027, A#87005.
    ("launchd-ceiling", Status::Warning, &["state-db-handle-leak"]),
    ("launchd-orphan-backend", Status::Warning, &["orphaned-server"]),
    ("launchd-supervised-backend", Status::Healthy, &[]),
    ("launchd-respawn", Status::Critical, &["orphaned-server"]),
    ("launchd-mute", Status::Critical, &["http-no-answer"]),
    ("launchd-leak-reset", Status::Critical, &["state-db-handle-leak"]),
    ("launchd-second-start", Status::Critical, &["orphaned-server"]),
    ("launchd-two-leaks", Status::Warning, &["state-db-handle-leak", "close-wait-leak"]),
    ("launchd-wrapper", Status::Healthy, &[]),
    ("leak-critical", Status::Critical, &["state-db-handle-leak"]),
    ("malformed-first", Status::Critical, &["database-malformed"]),
    ("memory-killed", Status::Warning, &["memory-killed"]),
    ("leak-level", Status::Warning, &["state-db-handle-leak"]),
    ("not-running", Status::Critical, &["server-not-running"]),
    ("orphan", Status::Critical, &["orphaned-server"]),
    ("pm2-errored", Status::Warning, &["orphaned-server"]),
    ("runit-orphan", Status::Critical, &["orphaned-server"]),
    ("s6-orphan", Status::Critical, &["orphaned-server"]),
    ("supervisord-fatal", Status::Warning, &["orphaned-server"]),
    ("systemd-duplicates", Status::Critical, &["duplicate-supervisors"]),
    ("systemd-failed", Status::Critical, &["supervisor-gave-up"]),
    ("systemd-flapping", Status::Critical, &["respawn-loop"]),
    ("systemd-forking", Status::Healthy, &[]),
    ("systemd-launcher-gone", Status::Critical, &["launcher-detached"]),
    ("systemd-launcher-left", Status::Warning, &["launcher-detached"]),
    ("systemd-orphan", Status::Critical, &["orphaned-server"]),
    ("systemd-rival", Status::Critical, &["port-owner-unexpected"]),
    ("systemd-stranger", Status::Critical, &["port-held-by-other-program"]),
    ("systemd-user-orphan", Status::Critical, &["orphaned-server"]),
    ("two-owners", Status::Critical, &["port-owner-unexpected"]),
    ("threads-exhausted", Status::Critical, &["threads-exhausted"]),
    ("overload", Status::Critical, &["workers-exhausted"]),
    ("reply-empty", Status::Critical, &["reply-empty"]),
    ("report-A100368-lost-locks", Status::Critical, &["database-locks-lost"]),
    ("report-A110276-deleted-wal", Status::Critical, &["wal-generation-deleted"]),
    ("report-A111577-zombies", Status::Warning, &["zombie-children"]),
    ("report-A113372-three-futexes", Status::Critical, &["http-no-answer"]),
    ("report-A119467-unproven-pid", Status::Critical, &["orphaned-server"]),
    ("report-A13655-start-limit", Status::Critical, &["supervisor-gave-up"]),
    ("report-A2189-stopped", Status::Critical, &["process-stopped"]),
    ("report-A32952-both-scopes", Status::Critical, &["duplicate-supervisors"]),
    ("report-A35201-wal-high-water", Status::Healthy, &[]),
    ("report-A36899-dashboard-limit", Status::Critical, &["descriptor-ceiling"]),
    ("report-A47510-zombies", Status::Warning, &["zombie-children"]),
    ("report-A58790-telegram-close-wait", Status::Warning, &["close-wait-leak"]),
    ("report-A70800-memory-high", Status::Critical, &["uninterruptible-sleep"]),
    ("report-A73379-tmux-loop", Status::Critical, &["orphaned-server"]),
    ("report-A81547-malformed-first", Status::Critical, &["connection-reset"]),
    ("report-A83512-gateway-handles", Status::Critical, &["state-db-handle-leak"]),
    ("report-A84233-dashboard-handles", Status::Warning, &["state-db-handle-leak"]),
    ("report-A88033-serve-handles", Status::Critical, &["state-db-handle-leak"]),
    ("report-A91286-serve-six-close-wait", Status::Critical, &["http-no-answer"]),
    ("report-W1855-route-under-lock", Status::Critical, &["route-slow"]),
    ("report-W4412-tls", Status::Healthy, &[]),
    ("report-W5210-thread-pile", Status::Critical, &["accept-stalled"]),
    ("report-W5944-restart-always", Status::Critical, &["orphaned-server", "stale-pid-file"]),
    ("stopped", Status::Critical, &["process-stopped"]),
    ("unlinked-log", Status::Healthy, &[]),
    ("unsupervised", Status::Healthy, &[]),
    ("zombies", Status::Warning, &["zombie-children"]),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.json"))
}

fn read(name: &str) -> Envelope {
    replay::read(&std::fs::read(path(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

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
        diagnose::judge(server);
        assert_eq!(
            (server.status, server.root_causes.as_slice()),
            (*status, roots.map_strings().as_slice()),
            "{name}"
        );
        // Titles and advice may improve on an old report; what was found and why may not change.
        let facts = |server: &hermes_doctor::model::Server| -> Vec<_> {
            let findings = server.findings.iter();
            findings.map(|found| (found.id.clone(), found.severity, found.caused_by.clone())).collect()
        };
        assert_eq!(facts(server), facts(&recorded), "{name}");
        // Rules that are newer than the report may pass besides.
        assert!(recorded.passed.iter().all(|id| server.passed.contains(id)), "{name}: {:?}", server.passed);
    }
}

trait Strings {
    fn map_strings(&self) -> Vec<String>;
}

impl Strings for &[&str] {
    fn map_strings(&self) -> Vec<String> {
        self.iter().map(|id| (*id).to_owned()).collect()
    }
}

/// The same delay two minutes after the start is a warning; and where the thread of the request stands still, nobody
/// waits for a migration.
#[test]
fn a_late_route_is_a_warning_of_a_server_that_has_started() {
    for (age_ms, status) in [(119_000, Status::Healthy), (3_600_000, Status::Warning)] {
        let mut envelope = read("route-late");
        let server = &mut envelope.servers[0];
        server.process.as_mut().unwrap().age_ms = Some(age_ms);
        diagnose::judge(server);
        assert_eq!(server.status, status);
        assert!(server.findings.iter().any(|finding| finding.id == "route-slow"));
    }
}

/// What is known of threads decides: without a second look, or with a thread that has come on, nothing is named.
#[test]
fn a_thread_that_has_come_on_is_not_stuck() {
    for name in ["state-d", "output-pipe-full"] {
        let mut envelope = read(name);
        let server = &mut envelope.servers[0];
        let activity = server.health.as_mut().unwrap().activity.as_mut().unwrap();
        activity.threads.iter_mut().for_each(|thread| thread.sleeps = thread.sleeps.map(|sleeps| sleeps + 40));
        diagnose::judge(server);
        let ids: Vec<&str> = server.findings.iter().map(|finding| finding.id.as_str()).collect();
        assert!(!ids.contains(&"uninterruptible-sleep") && !ids.contains(&"output-pipe-full"), "{name}: {ids:?}");
        assert_eq!(server.status, Status::Critical, "{name}");
    }
    // Others get their answers meanwhile: late, and not stuck.
    let mut envelope = read("handlers-deadlocked");
    let server = &mut envelope.servers[0];
    server.listeners.as_mut().unwrap().looks.last_mut().unwrap().answered_since = 3;
    diagnose::judge(server);
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
    looks.for_each(|look| look.wait_channel = Some("mem_cgroup_handle_over_high".to_owned()));
    diagnose::judge(server);
    assert_eq!(
        (server.status, server.root_causes.as_slice()),
        (Status::Critical, &["memory-pressure".to_owned()][..])
    );
}

/// A low limit that other things fill is its own cause; one that would do without the leaked handles is not.
#[test]
fn a_low_limit_is_low_by_itself_or_by_a_leak() {
    let roots = |handles: u64| {
        let mut envelope = read("report-A84233-dashboard-handles");
        let server = &mut envelope.servers[0];
        let family = &mut server.descriptors.as_mut().unwrap().sqlite[0];
        (family.db, family.wal) = (handles / 2, handles - handles / 2);
        diagnose::judge(server);
        server.root_causes.clone()
    };
    assert_eq!(roots(98), ["state-db-handle-leak"]);
    assert_eq!(roots(64), ["state-db-handle-leak"]);
    // As many for sockets and tools, with a pool of connections as it should be.
    assert_eq!(roots(40), ["descriptor-limit-low"]);
    assert_eq!(roots(13), ["descriptor-limit-low"]);
}

/// What the kernel throttles for its memory is not sent to look for a disk.
#[test]
fn a_throttled_thread_waits_for_no_disk() {
    for (name, says) in [("report-A70800-memory-high", "memory.high"), ("state-d", "network mount")] {
        let mut envelope = read(name);
        let server = &mut envelope.servers[0];
        diagnose::judge(server);
        let found = server.findings.iter().find(|finding| finding.id == "uninterruptible-sleep").unwrap();
        assert_eq!(found.next.iter().filter(|step| step.what.contains(says)).count(), 1, "{name}");
        assert!(!found.next.iter().any(|step| step.what.contains("mount") && step.what.contains("memory")));
    }
}

/// A debugger that holds the process is information by itself, and the cause of the silence all the same.
#[test]
fn a_debugger_is_the_cause_of_the_silence() {
    let mut envelope = read("stopped");
    let server = &mut envelope.servers[0];
    let process = server.process.as_mut().unwrap();
    process.state = hermes_doctor::model::ProcessState::Traced;
    process.tracer_pid = Some(4711);
    diagnose::judge(server);
    assert_eq!(
        (server.status, server.root_causes.as_slice()),
        (Status::Critical, &["process-stopped".to_owned()][..])
    );
    let stopped = server.findings.iter().find(|finding| finding.id == "process-stopped").unwrap();
    assert_eq!(stopped.severity, hermes_doctor::model::Severity::Info);
    assert!(stopped.title.contains("4711"));
}

/// Alive, and nobody listens: refused once it is old enough, not known while it may be starting.
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
        diagnose::judge(server);
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
    diagnose::judge(server);
    (server.status, server.findings.iter().map(|found| found.id.clone()).collect())
}

/// Two of a kind on one home: not while one takes over from the other, not for different kinds, and not a desktop's own
/// backend beside one that is served.
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

/// A loop from one look, and what only looks like one: a restart that somebody has just made changes the pid once, and
/// restarts of long ago are no loop.
#[test]
fn one_restart_is_no_loop() {
    let looping = |found: &(Status, Vec<String>)| found.1.iter().any(|id| id == "respawn-loop");
    // Just being started again, often before; without any look at it.
    assert!(looping(&judged("systemd-orphan", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        lineage.relaunch = None;
        (lineage.supervisor.restarts, lineage.supervisor.is_restarting) = (Some(312), true);
    })));
    // Its process is younger than the time between two starts.
    assert!(looping(&judged("systemd-orphan", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        lineage.relaunch = None;
        lineage.supervisor.restarts = Some(312);
        lineage.supervisor.is_restarting = false;
        lineage.supervisor.claimed_age_ms = Some(200);
    })));
    let found = judged("systemd-orphan", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        let relaunch = lineage.relaunch.as_mut().unwrap();
        relaunch.pids.truncate(2);
        (relaunch.restarts, relaunch.port_changes) = (0, 0);
        (lineage.supervisor.restarts, lineage.supervisor.is_restarting) = (Some(1), false);
    });
    assert!(!looping(&found) && found.0 == Status::Warning, "{found:?}");
    let found = judged("systemd-forking", |server| {
        let lineage = server.lineage.as_mut().unwrap();
        lineage.supervisor.restarts = Some(312);
        lineage.supervisor.claimed_age_ms = Some(86_400_000);
    });
    assert_eq!(found, (Status::Healthy, Vec::new()));
}

/// A counter that is moved by a person's restart as well must move twice.
#[test]
fn counters_differ_in_what_they_count() {
    use hermes_doctor::model::{Relaunch, Supervisor};
    let repeated = |kind: &str, pids: usize, restarts: u64, states: &[&str]| {
        let claim = Supervisor { kind: kind.into(), restarts: Some(0), ..Supervisor::default() };
        let relaunch = Relaunch {
            pids: (1..).take(pids).collect(),
            restarts,
            states: states.map_strings(),
            ..Relaunch::default()
        };
        diagnose::is_repeated(&claim, &relaunch)
    };
    assert!(repeated("systemd", 1, 1, &[]) && !repeated("systemd", 2, 0, &[]));
    assert!(!repeated("pm2", 2, 1, &[]) && repeated("pm2", 2, 2, &[]));
    assert!(!repeated("launchd", 2, 1, &[]) && !repeated("runit", 2, 0, &["up", "down, want up", "up"]));
    assert!(repeated("runit", 3, 0, &[]) && repeated("respawn-loop", 2, 0, &[]));
    assert!(repeated("supervisord", 2, 0, &["STARTING", "BACKOFF"]));
    // Three restarts by hand, and the manager's own counter has not moved.
    assert!(!repeated("systemd", 4, 0, &["active (running)", "inactive (dead)", "active (running)"]));
}

/// It has replaced itself by the server, which then ended.
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

/// The manager knows that its server was killed for want of memory: that is why it has given up, and why nobody listens.
#[test]
fn a_killed_server_is_down_because_of_memory() {
    let mut envelope = read("systemd-failed");
    let server = &mut envelope.servers[0];
    server.lineage.as_mut().unwrap().supervisor.result = Some("oom-kill, signal 9".to_owned());
    diagnose::judge(server);
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

/// Records the hosts anew: `cargo test --test fixtures -- --ignored record`. Needs Python; look at the change
/// before it is kept.
#[test]
#[ignore = "writes fixtures/"]
fn record() {
    for (name, demo) in [
        ("healthy-supervised", "healthy"),
        ("leak-critical", "leak"),
        ("ceiling-by-sockets", "ceiling"),
        ("stopped", "stopped"),
        ("accept-stalled", "mute"),
        ("close-wait", "close-wait"),
        ("orphan", "orphan"),
        ("foreign-program", "foreign"),
        ("healthy-tls", "tls"),
    ] {
        keep(name, &run(&format!("demo {demo} --json")).stdout);
    }
    for (name, what) in [
        ("healthy-pool", "leak=13"),
        ("leak-level", "leak=40,limit=200"),
        ("degraded", "degraded"),
        ("handler-stuck", "silent"),
        ("ipv6-only", "ipv6"),
        ("overload", "overload"),
        ("reply-empty", "empty"),
        ("unlinked-log", "unlink"),
        ("unsupervised", ""),
        ("zombies", "zombies=12"),
    ] {
        let patient = webui(what);
        keep(name, &run(&format!("check --json --port {}", patient.port)).stdout);
    }
    keep("not-running", &run("check --json --port 8787").stdout);
}

/// The wedged ones of tests/wedges.rs: `cargo test --test fixtures -- --ignored record_wedges`.
#[test]
#[ignore = "writes fixtures/"]
fn record_wedges() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (name, what) in [
        ("handlers-deadlocked", "deadlock"),
        ("handlers-and-computation", "busy,deadlock"),
        ("route-locked", "route-lock"),
        ("accept-loop-locked", "accept-lock"),
        ("gil-held", "gil"),
        ("computation", "busy"),
        ("ceiling-by-handles", "fill=db,limit=64"),
        ("route-late", "slow-route=5100"),
        ("state-d", &format!("dstate={}", fifo.display())),
    ] {
        let patient = webui(what);
        std::thread::sleep(std::time::Duration::from_secs(1));
        keep(name, &run(&format!("check --json --port {}", patient.port)).stdout);
        if what.starts_with("dstate") {
            drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
        }
    }
    let patient = webui("writes");
    let path = patient.home().join("state.db");
    let database = patient_file("database.py");
    let _writer = common::start(Command::new("python3").arg(database).arg(&path).arg("writer"));
    keep("database-locked", &run(&format!("check --json --port {}", patient.port)).stdout);
}

/// Makes the hosts of reports anew: `cargo test --test fixtures -- --ignored record_reported`.
#[test]
#[ignore = "writes fixtures/"]
fn record_reported() {
    for reported in reported::REPORTED {
        if let Some(envelope) = reported::host(reported) {
            let text = serde_json::to_string_pretty(&envelope).unwrap();
            std::fs::write(path(&format!("report-{}", reported.name)), text + "\n").unwrap();
        }
    }
}

/// The files are what was reported: nobody has changed them by hand, or the facts without the files.
#[test]
fn hosts_of_reports_have_the_reported_facts() {
    let facts = |mut envelope: Envelope| {
        envelope.tool.version = String::new();
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

/// docs/fixtures.md: every host, where it is from, and what must be found of it.
fn fixtures_page() -> String {
    let verdict = |status: Status, roots: &[&str]| {
        let roots = if roots.is_empty() { "nothing".to_owned() } else { roots.join(", ") };
        format!("{} | {roots}", status.word().to_lowercase())
    };
    let mut page = String::from(
        "# The fixtures\n\nEach file of `fixtures/` is a report (`hermes-doctor check --from fixtures/NAME.json`) of a host with a known cause. \
         Tests judge it again from its facts, and it must come to that cause. This page is written by `UPDATE_DOCS=1 cargo test --test fixtures`.\n\n\
         ## Hosts of reports\n\nMade of what people have measured on their hosts (A#: NousResearch/hermes-agent, W#: nesquena/hermes-webui), by \
         `tests/common/reported.rs`. What is not known is `null`, or a part that was not examined; pids are made up, names of units and paths \
         the usual ones. Where the cause stands in the log only (A81547), or in what nobody has measured (A113372, A91286, W1855, W5210), \
         what is found is what the facts prove of it.\n\n\
         | fixture | source | platform | reported | cause by reporters and maintainers | filled in | status | root causes found |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut lines: Vec<String> = Vec::new();
    for reported in reported::REPORTED {
        let name = format!("report-{}", reported.name);
        let (_, status, roots) = HOSTS.iter().find(|(host, ..)| *host == name).unwrap_or_else(|| panic!("{name}"));
        let cells = [reported.source, reported.platform, reported.reported, reported.cause, reported.filled_in];
        lines.push(format!("| `{name}` | {} | {} |\n", cells.join(" | "), verdict(*status, roots)));
    }
    lines.sort();
    page.push_str(&lines.concat());
    page.push_str(
        "\n## Recorded hosts\n\nRecorded from servers that tests and demonstrations have started, below real supervisors where one is named.\n\n\
         | fixture | platform | supervisor | status | root causes found |\n|---|---|---|---|---|\n",
    );
    let mut lines: Vec<String> = Vec::new();
    let is_recorded = |name: &str| !name.starts_with("report-") && !name.starts_with("launchd-");
    for (name, status, roots) in HOSTS.iter().filter(|(name, ..)| is_recorded(name)) {
        let envelope = read(name);
        let lineage = envelope.servers[0].lineage.as_ref();
        let supervisor = lineage.map_or("not looked at", |lineage| &lineage.supervisor.kind);
        lines.push(format!("| `{name}` | {} | {supervisor} | {} |\n", envelope.host.os, verdict(*status, roots)));
    }
    lines.sort();
    page.push_str(&lines.concat());
    page.push_str(
        "\n## Hosts below launchd\n\nMade from the bytes and texts that a Mac would give, with the numbers of reports, by `tests/launchd.rs`, which \
         names the report of each.\n\n| fixture | status | root causes found |\n|---|---|---|\n",
    );
    let mut lines: Vec<String> = HOSTS
        .iter()
        .filter(|(name, ..)| name.starts_with("launchd-"))
        .map(|(name, status, roots)| format!("| `{name}` | {} |\n", verdict(*status, roots)))
        .collect();
    lines.sort();
    page + &lines.concat()
}

#[test]
fn the_fixtures_page_is_true() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/fixtures.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, fixtures_page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(file).unwrap(), fixtures_page());
    let made = HOSTS.iter().filter(|(name, ..)| name.starts_with("report-"));
    for (name, ..) in made {
        let is_it = |reported: &reported::Reported| format!("report-{}", reported.name) == *name;
        assert!(reported::REPORTED.iter().any(is_it), "{name} has no source in tests/common/reported.rs");
    }
}

/// Recorded below real supervisors and limits: the last answers of tests, kept with HERMES_DOCTOR_KEEP=DIR while they ran.
/// Those that were not run keep their record.
const OF_TESTS: &[(&str, &str)] = &[
    ("systemd-orphan", "a_detaching_launcher_leaves_an_orphan"),
    ("systemd-user-orphan", "an_orphan_below_a_user_manager_is_found"),
    ("systemd-flapping", "a_flapping_unit_is_a_loop_at_every_moment"),
    ("systemd-duplicates", "two_units_on_one_home_are_duplicates"),
    ("systemd-rival", "a_unit_of_another_home_on_the_port_is_unexpected"),
    ("systemd-stranger", "a_foreign_program_makes_a_unit_loop"),
    ("systemd-launcher-gone", "a_launcher_that_detaches_takes_its_server_along"),
    ("systemd-launcher-left", "a_launcher_that_detaches_leaves_its_server"),
    ("systemd-failed", "a_unit_that_failed_for_good_has_given_up"),
    ("systemd-forking", "type_forking_is_healthy"),
    ("supervisord-fatal", "supervisord_that_has_given_up"),
    ("runit-orphan", "runit"),
    ("s6-orphan", "s6"),
    ("pm2-errored", "pm2_by_its_own_socket"),
    ("malformed-first", "real_errors_are_counted_in_the_order_in_which_they_began"),
    ("memory-killed", "what_the_kernel_killed_is_told"),
    ("threads-exhausted", "a_limit_above_the_own_group_counts_too"),
    ("two-owners", "two_owners_of_one_port_are_told_apart"),
    ("backlog-full", "an_accept_loop_that_waits_for_a_lock"),
    ("output-pipe-full", "a_pipe_that_nobody_reads_is_named_with_its_reader"),
    ("workers-free", "workers_that_are_all_busy"),
];

/// `cargo test --test fixtures -- --ignored record_of_tests`, with the same HERMES_DOCTOR_KEEP.
#[test]
#[ignore = "writes fixtures/"]
fn record_of_tests() {
    let directory = std::env::var("HERMES_DOCTOR_KEEP").expect("the directory in which the answers were kept");
    for (name, test) in OF_TESTS {
        if let Ok(kept) = std::fs::read_to_string(Path::new(&directory).join(format!("{test}.json"))) {
            keep(name, &kept);
        }
    }
}

/// Replaces a prefix together with the word that follows it.
fn replaced(text: &str, prefix: &str, to: &str) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(to);
        out.push_str(
            part.trim_start_matches(|character: char| character.is_ascii_alphanumeric() || character == '_'),
        );
    }
    out
}

/// Takes everything out that belongs to the machine it was recorded on.
fn keep(name: &str, json: &str) {
    let mut envelope = replay::read(json.as_bytes()).unwrap();
    let python = Command::new("python3")
        .args(["-c", "import os, sys; print(sys.executable, os.path.realpath(sys.executable))"])
        .output()
        .unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    for server in &mut envelope.servers {
        let account = |user: &mut Option<String>| {
            if user.as_deref().is_some_and(|name| name != "root") {
                *user = Some("hermes".to_owned());
            }
        };
        if let Some(process) = &mut server.process {
            account(&mut process.user);
        }
        let hops =
            server.lineage.iter_mut().flat_map(|lineage| lineage.hops.iter_mut().chain(&mut lineage.relatives));
        hops.for_each(|hop| account(&mut hop.user));
        if let Some(lineage) = &mut server.lineage {
            // Between the server's side and init stands only who ran the test.
            let keeps = |hop: &&hermes_doctor::model::Hop| {
                matches!(
                    hop.role,
                    Role::Server | Role::Launcher | Role::RespawnLoop | Role::Demo | Role::Supervisor
                ) || hop.name.as_deref() == Some("systemd --user")
                    || hop.command.contains("hermes-webui/")
            };
            lineage.relatives =
                lineage.relatives.iter().filter(|hop| keeps(hop) && hop.pid != 1).cloned().collect();
            let shown: Vec<_> = lineage.hops.iter().filter(keeps).cloned().collect();
            let init = lineage.hops.iter().filter(|hop| hop.pid == 1).map(|hop| {
                let mut init = hop.clone();
                init.command = "/sbin/init".into();
                init.name = Some("init".into());
                init
            });
            lineage.hops = shown.into_iter().chain(init).collect();
        }
        if let Some(resources) = &mut server.resources {
            // The groups of whoever ran the test.
            let is_of_test = |path: &str| path.starts_with("/hermes-doctor-test-");
            resources.task_groups.retain(|group| is_of_test(&group.path));
            resources.memory_groups.retain(|group| is_of_test(&group.path));
        }
        if let Some(descriptors) = &mut server.descriptors {
            descriptors.targets.retain(|target| target.kind != "pipe" && !target.target.contains("bash_jobs"));
        }
    }
    envelope.host.kernel = Some("6.12.0".into());
    envelope.host.init = Some("init".into());
    let mut text = serde_json::to_string_pretty(&envelope).unwrap();
    for (from, to) in [
        (patient_file("limits/hermes-webui").to_str().unwrap(), "/srv/hermes-webui"),
        (patient_file("hermes-webui").to_str().unwrap(), "/srv/hermes-webui"),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/bin"), "/usr/bin"),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/patients"), "/srv"),
        (common::program(), "/usr/local/bin/hermes-doctor"),
        ("target/debug/hermes-doctor", "/usr/local/bin/hermes-doctor"),
        // A version manager's shim is no part of a real host.
        ("bash /root/.pyenv/libexec/pyenv exec python3", "python3"),
        ("bash /root/.pyenv/libexec/pyenv-exec python3", "python3"),
        (python.split_whitespace().next().unwrap(), "/usr/bin/python3"),
        (python.split_whitespace().nth(1).unwrap(), "/usr/bin/python3"),
    ] {
        text = text.replace(from, to);
    }
    let groups = envelope.servers.iter().filter_map(|server| server.resources.as_ref()).flat_map(|resources| {
        let tasks = resources.task_groups.iter().map(|group| group.path.clone());
        tasks.chain(resources.memory_groups.iter().map(|group| group.path.clone())).collect::<Vec<_>>()
    });
    for group in groups {
        let first = group.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        text = text.replace(&format!("/{first}"), "/hermes");
    }
    // Of a server that is down, and of its rivals.
    let others: Vec<String> = envelope
        .servers
        .iter()
        .filter_map(|server| server.lineage.as_ref())
        .flat_map(|lineage| {
            lineage
                .claims
                .iter()
                .chain([&lineage.supervisor])
                .filter_map(|claim| claim.home.as_ref().map(ToString::to_string))
        })
        .collect();
    for home in others {
        let place = if home.starts_with("/var/tmp/other") { "/home/other/.hermes" } else { "/home/hermes/.hermes" };
        text = text.replace(&home, place);
    }
    for server in &envelope.servers {
        for home in server
            .home
            .as_deref()
            .into_iter()
            .chain(server.process.iter().filter_map(|process| process.home.as_deref()))
        {
            text = text.replace(home, "/home/hermes/.hermes");
        }
    }
    for (from, to) in [
        ("/hermes-doctor-test-", ""),
        ("/tmp/pm2-", "/home/hermes/.pm2"),
        ("/tmp/hermes-webui-stderr---supervisor-", "/var/log/supervisor/hermes-webui-stderr"),
    ] {
        text = replaced(&text, from, to);
    }
    // The home of a foreign program is known by its port's configuration only.
    while let Some(at) = text.find("/tmp/hermes-doctor-") {
        let end = text[at..].find(['"', ' ', '/']).map_or(text.len(), |_| {
            let tail = &text[at + 5..];
            at + 5 + tail.find(['"', ' ', '/']).unwrap_or(tail.len())
        });
        text.replace_range(at..end, "/home/hermes/.hermes");
    }
    std::fs::write(path(name), text + "\n").unwrap();
}
