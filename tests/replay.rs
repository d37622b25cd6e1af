//! Saved reports in the place of a host: the same verdict with every subcommand, and one clear line for what is no report.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod common;

use common::{doctor, patient_file, roots, run, run_with, start, webui};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.json"))
}

fn servers(answer: &Value) -> Vec<Value> {
    answer["servers"].as_array().unwrap().clone()
}

/// Findings, their causes and the status of a server.
fn verdict(server: &Value) -> Value {
    let findings = server["findings"].as_array().unwrap().iter();
    let findings: Vec<Value> = findings
        .map(|finding| {
            serde_json::json!([finding["id"], finding["severity"], finding["title"], finding["caused_by"]])
        })
        .collect();
    serde_json::json!([server["status"], server["root_causes"], findings])
}

/// What the host said, the report says, whatever is asked.
#[test]
fn a_report_says_what_the_host_said() {
    let patient = webui("leak=60,limit=200");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let live = run(&format!("check --port {} --json", patient.port));
    std::fs::write(&file, &live.stdout).unwrap();
    for command in ["check", "fds", "lineage", "health", "port", "db"] {
        let now = run(&format!("{command} --port {} --json", patient.port)).json();
        let then = run(&format!("{command} --from {} --json", file.display())).json();
        assert_eq!(then["command"], command);
        assert_eq!(verdict(&servers(&then)[0]), verdict(&servers(&now)[0]), "{command}");
        assert_eq!(servers(&then)[0]["examined"], servers(&now)[0]["examined"], "{command}");
        // The facts of other parts are not shown.
        assert_eq!(servers(&then)[0]["descriptors"].is_null(), !matches!(command, "check" | "fds"), "{command}");
    }
    // Nothing of this host is looked at: the patient may be gone.
    let pid = patient.pid();
    drop(patient);
    let answer = run(&format!("--from {}", file.display()));
    assert!(
        answer.stdout.starts_with("Report of ") && answer.stdout.contains(&format!("pid {pid}")),
        "{}",
        answer.stdout
    );
    assert_eq!(answer.exit, 1, "{}", answer.stdout);
}

/// Every recorded host gets on the command line the verdict that it gets in the library.
#[test]
fn every_fixture_is_a_report() {
    let mut seen = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
        let path = entry.unwrap().path();
        let recorded: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let answer = run(&format!("check --from {} --json", path.display())).json();
        assert_eq!(answer["status"], recorded["status"], "{}", path.display());
        assert_eq!(roots(&servers(&answer)[0]), roots(&servers(&recorded)[0]), "{}", path.display());
        assert_eq!(answer["replayed"]["status"], recorded["status"]);
        assert_eq!(answer["started_at"], recorded["started_at"]);
        seen += 1;
    }
    assert!(seen > 40);
}

/// An older program knew fewer checks: they are named, and what it recorded decides.
#[test]
fn newer_rules_are_named() {
    let answer = run(&format!("check --from {} --json", fixture("leak-critical").display())).json();
    let newer = answer["replayed"]["newer_rules"].as_array().unwrap();
    assert!(newer.contains(&"gil-held".into()) && !newer.contains(&"state-db-handle-leak".into()), "{newer:?}");
    let text = run(&format!("check --from {}", fixture("leak-critical").display())).stdout;
    assert!(text.contains("Checks that it did not make:") && text.contains("gil-held"), "{text}");
    // Unknown fields of a newer one do no harm, and it is said.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("newer.json");
    let mut report: Value = serde_json::from_slice(&std::fs::read(fixture("leak-critical")).unwrap()).unwrap();
    report["tool"]["version"] = "99.1.0".into();
    report["servers"][0]["auras"] = serde_json::json!({"blue": 3});
    std::fs::write(&file, report.to_string()).unwrap();
    let answer = run(&format!("check --from {}", file.display()));
    assert_eq!(answer.exit, 2);
    assert!(answer.stdout.contains("written by a newer hermes-doctor"), "{}", answer.stdout);
}

/// A part that the report does not have is not seen, rather than well.
#[test]
fn what_a_report_lacks_is_unknown() {
    let patient = webui("");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fds.json");
    std::fs::write(&file, run(&format!("fds --port {} --json", patient.port)).stdout).unwrap();
    let answer = run(&format!("lineage --from {} --json", file.display())).json();
    assert_eq!(answer["status"], "unknown", "{answer:#}");
    let answer = run(&format!("check --from {} --json", file.display())).json();
    assert_eq!(
        (answer["status"].as_str(), &servers(&answer)[0]["examined"]),
        (Some("healthy"), &serde_json::json!(["descriptors"]))
    );
    let other = run(&format!("check --from {} --port 1", file.display()));
    assert_eq!(other.exit, 3);
    assert!(other.stderr.contains("none of the 1 servers in the report"), "{}", other.stderr);
}

/// Two reports are two samples of one server.
#[test]
fn two_reports_are_compared() {
    let patient = webui("keeps");
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("1.json"), directory.path().join("2.json"));
    std::fs::write(&first, run(&format!("check --port {} --json", patient.port)).stdout).unwrap();
    run(&format!("fds --port {} --exercise /api/sessions --requests 10 --quiet", patient.port));
    std::fs::write(&second, run(&format!("check --port {} --json", patient.port)).stdout).unwrap();
    let answer = run(&format!("fds --from {} --from {} --json", first.display(), second.display())).json();
    let samples = servers(&answer)[0]["trend"]["samples"].as_array().unwrap().clone();
    assert_eq!(samples.len(), 2, "{answer:#}");
    // Ten requests, and the one that each check sends itself: two descriptors a connection.
    assert!(samples[1]["open"].as_u64().unwrap() >= samples[0]["open"].as_u64().unwrap() + 20, "{samples:#?}");
    assert!(samples[1]["at_ms"].as_u64().unwrap() > 0);
    // Of another server nothing is compared.
    let other = run(&format!("fds --from {} --from {}", fixture("zombies").display(), second.display()));
    assert_eq!(other.exit, 3, "{}", other.stdout);
}

#[test]
fn what_is_no_report_is_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let deep = format!("{{\"schema\":\"hermes-doctor/1\",\"servers\":{}", "[".repeat(200_000));
    let text = std::fs::read_to_string(fixture("leak-critical")).unwrap();
    for (path, what) in [
        (file("empty", b""), "not a hermes-doctor report"),
        (file("text", b"it does not work, please help"), "neither JSON nor a block of JSON"),
        (file("deep", deep.as_bytes()), "not a hermes-doctor report"),
        (file("escape", b"{\"schema\":\"\\u001b[2J\"}"), "not a hermes-doctor report"),
        (file("type", text.replace("\"port\"", "\"PORT\"").as_bytes()), "not a hermes-doctor report"),
        (
            file("huge", text.replacen("\"elapsed_ms\": ", "\"elapsed_ms\": 9e99", 1).as_bytes()),
            "not a hermes-doctor report",
        ),
        (file("other", text.replace("hermes-doctor/1", "hermes-doctor/7").as_bytes()), "hermes-doctor/7"),
        (PathBuf::from("/dev/zero"), "no regular file"),
        (PathBuf::from("/nonexistent"), "No such file"),
    ] {
        let answer = run(&format!("check --from {}", path.display()));
        assert_eq!(answer.exit, 3, "{what}");
        assert!(answer.stderr.contains(what) && answer.stderr.lines().count() == 1, "{what}: {}", answer.stderr);
        assert!(!answer.stderr.contains('\u{1b}') && answer.stdout.is_empty());
    }
    // A sparse gigabyte is refused by its size, in little memory.
    let large = directory.path().join("large");
    std::fs::File::create(&large).unwrap().set_len(1 << 30).unwrap();
    let limited =
        format!("ulimit -v 262144; exec {} check --from {}", env!("CARGO_BIN_EXE_hermes-doctor"), large.display());
    let answer = run_with(Command::new("sh").arg("-c").arg(limited));
    assert!(answer.stderr.contains("larger than 64 MiB"), "{}", answer.stderr);
}

/// A hostile report reaches the terminal as text.
#[test]
fn text_of_strangers_is_made_harmless() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hostile.json");
    let text = std::fs::read_to_string(fixture("systemd-orphan")).unwrap();
    let hostile = text
        .replace("hermes-webui.service", "hermes\\u001b]0;owned\\u0007\\u202e.service")
        .replace("/usr/bin/python3", "\\u001b[2Jpython3");
    std::fs::write(&path, hostile).unwrap();
    for command in ["check --verbose", "lineage", "port", "fds --all", "health", "check --json"] {
        let answer = run_with(doctor().args(command.split(' ')).arg("--from").arg(&path));
        let bad = answer.stdout.chars().find(|c| matches!(c, '\u{1b}' | '\u{7}' | '\u{202e}'));
        assert!(bad.is_none() && answer.exit != 101, "{command}: {bad:?} {}", answer.stderr);
    }
}

/// A database without a server is judged again as well.
#[test]
fn a_database_alone_is_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let _reader = start(Command::new("python3").arg(patient_file("database.py")).arg(&path).arg("reader"));
    let live = run(&format!("db --file {} --json", path.display()));
    let saved = directory.path().join("db.json");
    std::fs::write(&saved, &live.stdout).unwrap();
    let answer = run(&format!("db --from {} --json", saved.display())).json();
    assert_eq!(answer["status"], live.json()["status"]);
    assert_eq!(answer["findings"][0]["id"], "wal-checkpoint-pinned", "{answer:#}");
}
