//! Diagnosis on recorded hosts: each file in fixtures/ is a report, judged again from its facts alone.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod common;

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
    ("handler-stuck", Status::Critical, &["http-no-answer"]),
    ("healthy-pool", Status::Healthy, &[]),
    ("healthy-supervised", Status::Healthy, &[]),
    ("healthy-tls", Status::Healthy, &[]),
    ("ipv6-only", Status::Healthy, &[]),
    ("leak-critical", Status::Critical, &["state-db-handle-leak"]),
    ("leak-level", Status::Warning, &["state-db-handle-leak"]),
    ("not-running", Status::Critical, &["server-not-running"]),
    ("orphan", Status::Critical, &["orphaned-server"]),
    ("overload", Status::Critical, &["workers-exhausted"]),
    ("reply-empty", Status::Critical, &["reply-empty"]),
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

/// Takes everything out that belongs to the machine it was recorded on.
fn keep(name: &str, json: &str) {
    let mut envelope = replay::read(json.as_bytes()).unwrap();
    let python = Command::new("python3")
        .args(["-c", "import os, sys; print(sys.executable, os.path.realpath(sys.executable))"])
        .output()
        .unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    for server in &mut envelope.servers {
        if let Some(lineage) = &mut server.lineage {
            // Between the server's side and init stands only who ran the test.
            let keeps = |role| matches!(role, Role::Server | Role::Launcher | Role::RespawnLoop | Role::Demo);
            let shown: Vec<_> = lineage.hops.iter().filter(|hop| keeps(hop.role)).cloned().collect();
            let init = lineage.hops.iter().filter(|hop| hop.pid == 1).map(|hop| {
                let mut init = hop.clone();
                init.command = "/sbin/init".into();
                init.name = Some("init".into());
                init
            });
            lineage.hops = shown.into_iter().chain(init).collect();
        }
        if let Some(descriptors) = &mut server.descriptors {
            descriptors.targets.retain(|target| target.kind != "pipe" && !target.target.contains("bash_jobs"));
        }
    }
    envelope.host.kernel = Some("6.12.0".into());
    envelope.host.init = Some("init".into());
    let mut text = serde_json::to_string_pretty(&envelope).unwrap();
    for (from, to) in [
        (patient_file("hermes-webui/server.py").to_str().unwrap(), "/srv/hermes-webui/server.py"),
        (env!("CARGO_BIN_EXE_hermes-doctor"), "/usr/local/bin/hermes-doctor"),
        ("target/debug/hermes-doctor", "/usr/local/bin/hermes-doctor"),
        (python.split_whitespace().next().unwrap(), "/usr/bin/python3"),
        (python.split_whitespace().nth(1).unwrap(), "/usr/bin/python3"),
    ] {
        text = text.replace(from, to);
    }
    for server in &envelope.servers {
        for home in server.home.iter().chain(server.process.iter().filter_map(|process| process.home.as_ref())) {
            text = text.replace(home.as_str(), "/home/hermes/.hermes");
        }
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
