//! Saved reports instead of a host: the same verdict with every subcommand, and a one-line message for a file that
//! is not a report.

use crate::common;

use common::{doctor, program_file, roots, run, run_with, start, webui};
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

/// The verdict of a saved report is that of the host, for every subcommand.
#[test]
fn a_saved_report_has_the_same_verdict_as_the_host() {
    let target = webui("leak=60,limit=200");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report.json");
    let live = run(&format!("check --port {} --json", target.port));
    std::fs::write(&file, &live.stdout).unwrap();
    for command in ["check", "fds", "lineage", "health", "port", "db"] {
        let now = run(&format!("{command} --port {} --json", target.port)).json();
        let then = run(&format!("{command} --from {} --json", file.display())).json();
        assert_eq!(then["command"], command);
        assert_eq!(verdict(&servers(&then)[0]), verdict(&servers(&now)[0]), "{command}");
        assert_eq!(servers(&then)[0]["examined"], servers(&now)[0]["examined"], "{command}");
        // The facts of other parts are not shown.
        assert_eq!(servers(&then)[0]["descriptors"].is_null(), !matches!(command, "check" | "fds"), "{command}");
    }
    // This host is not read: the server may have ended.
    let pid = target.pid();
    drop(target);
    let answer = run(&format!("--from {}", file.display()));
    assert!(
        answer.stdout.starts_with("Report of ") && answer.stdout.contains(&format!("pid {pid}")),
        "{}",
        answer.stdout
    );
    assert_eq!(answer.exit, 1, "{}", answer.stdout);
}

/// Every recorded host gets the same verdict on the command line as in the library.
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

/// An older program had fewer checks: the new ones are listed, and its recorded facts decide.
#[test]
fn newer_rules_are_named() {
    let answer = run(&format!("check --from {} --json", fixture("leak-critical").display())).json();
    let newer = answer["replayed"]["newer_rules"].as_array().unwrap();
    assert!(newer.contains(&"gil-held".into()) && !newer.contains(&"state-db-handle-leak".into()), "{newer:?}");
    let text = run(&format!("check --from {}", fixture("leak-critical").display())).stdout;
    assert!(text.contains("Checks that it did not have:") && text.contains("gil-held"), "{text}");
    // Unknown fields of a newer report do no harm, and the output mentions them.
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

/// A part that the report does not have is unknown, not healthy.
#[test]
fn parts_missing_from_a_report_are_unknown() {
    let target = webui("");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("fds.json");
    std::fs::write(&file, run(&format!("fds --port {} --json", target.port)).stdout).unwrap();
    let answer = run(&format!("lineage --from {} --json", file.display())).json();
    assert_eq!(answer["status"], "unknown", "{answer:#}");
    let answer = run(&format!("check --from {} --json", file.display())).json();
    assert_eq!(
        (answer["status"].as_str(), &servers(&answer)[0]["examined"]),
        (Some("healthy"), &serde_json::json!(["descriptors"]))
    );
    let other = run(&format!("check --from {} --port 1", file.display()));
    assert_eq!(other.exit, 3);
    assert!(other.stderr.contains("no server in the report matches"), "{}", other.stderr);
}

/// Two reports are two samples of one server.
#[test]
fn two_reports_are_compared() {
    let target = webui("keeps");
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("1.json"), directory.path().join("2.json"));
    std::fs::write(&first, run(&format!("check --port {} --json", target.port)).stdout).unwrap();
    run(&format!("fds --port {} --exercise /api/sessions --requests 10 --quiet", target.port));
    std::fs::write(&second, run(&format!("check --port {} --json", target.port)).stdout).unwrap();
    let answer = run(&format!("fds --from {} --from {} --json", first.display(), second.display())).json();
    let samples = servers(&answer)[0]["trend"]["samples"].as_array().unwrap().clone();
    assert_eq!(samples.len(), 2, "{answer:#}");
    // Ten requests, and the one that each check sends itself: two descriptors a connection.
    assert!(samples[1]["open"].as_u64().unwrap() >= samples[0]["open"].as_u64().unwrap() + 20, "{samples:#?}");
    assert!(samples[1]["at_ms"].as_u64().unwrap() > 0);
    // In either order, the later report is the present state.
    let turned = run(&format!("fds --from {} --from {} --json", second.display(), first.display())).json();
    assert_eq!(verdict(&servers(&turned)[0]), verdict(&servers(&answer)[0]));
    assert_eq!(servers(&turned)[0]["trend"], servers(&answer)[0]["trend"]);
    // Reports of different servers are not compared.
    let other = run(&format!("fds --from {} --from {}", fixture("zombies").display(), second.display()));
    assert_eq!(other.exit, 3, "{}", other.stdout);
}

#[test]
fn input_without_a_report_is_refused_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let deep = format!("{{\"schema\":\"hermes-doctor/1\",\"servers\":{}", "[".repeat(200_000));
    let text = std::fs::read_to_string(fixture("leak-critical")).unwrap();
    // In a field where any JSON is valid, and in one that is ignored.
    let nested =
        text.replacen("\"value\": ", &format!("\"value\": {}{}, \"x\": ", "[".repeat(200), "]".repeat(200)), 1);
    let many = text.replacen("\"passed\": [", &format!("\"passed\": [{}", "\"\",".repeat(1_600_000)), 1);
    for (path, what) in [
        (file("empty", b""), "not a hermes-doctor report"),
        (file("text", b"it does not work, please help"), "neither JSON nor a Markdown block"),
        (file("deep", deep.as_bytes()), "not a hermes-doctor report"),
        (file("escape", b"{\"schema\":\"\\u001b[2J\"}"), "the format \"\\u{1b}[2J\""),
        (
            file("word", text.replacen("\"ok\"", "\"\\u001b[2J\\n\"", 1).as_bytes()),
            "unknown variant `\\u{1b}[2J\\u{a}`",
        ),
        (
            file("twice", text.replacen("\"elapsed_ms\"", "\"elapsed_ms\": 1, \"elapsed_ms\"", 1).as_bytes()),
            "duplicate field",
        ),
        (
            file("infinite", text.replacen("\"elapsed_ms\": ", "\"elapsed_ms\": 1e400, \"x\": ", 1).as_bytes()),
            "number out of range",
        ),
        (file("nested", nested.as_bytes()), "recursion limit exceeded"),
        (file("many", many.as_bytes()), "more values than that of any host"),
        (file("type", text.replace("\"port\"", "\"PORT\"").as_bytes()), "not a hermes-doctor report"),
        (
            file("huge", text.replacen("\"elapsed_ms\": ", "\"elapsed_ms\": 9e99", 1).as_bytes()),
            "not a hermes-doctor report",
        ),
        (file("other", text.replace("hermes-doctor/1", "hermes-doctor/7").as_bytes()), "hermes-doctor/7"),
        (PathBuf::from("/dev/zero"), "not a regular file"),
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
    let limited = format!("ulimit -v 262144; exec {} check --from {}", common::program(), large.display());
    let answer = run_with(Command::new("sh").arg("-c").arg(limited));
    assert!(answer.stderr.contains("larger than 64 MiB"), "{}", answer.stderr);
    // The largest number of the most expensive values that is still read, compressed to some kilobytes.
    let text = std::fs::read_to_string(fixture("leak-critical")).unwrap();
    let objects = |count| format!("\"value\": [{}1], \"x\": ", "{\"\":0},".repeat(count));
    let kinds: String = (0..1_400_000).map(|at| format!("\"{at}\":1,")).collect();
    let texts = "\"\",".repeat(1_400_000);
    for (name, text, what) in [
        ("objects", text.replacen("\"value\": ", &objects(160_000), 1), ""),
        ("kinds", text.replacen("\"by_kind\": {", &format!("\"by_kind\": {{{kinds}"), 1), ""),
        ("texts", text.replacen("\"passed\": [", &format!("\"passed\": [{texts}"), 1), ""),
        ("too-many", text.replacen("\"value\": ", &objects(6_400_000), 1), "more values than that of any host"),
    ] {
        let path = directory.path().join(name);
        let mut packed =
            flate2::write::GzEncoder::new(std::fs::File::create(&path).unwrap(), flate2::Compression::best());
        std::io::Write::write_all(&mut packed, text.as_bytes()).unwrap();
        packed.finish().unwrap();
        let limited =
            format!("ulimit -v 1048576; exec {} check --quiet --from {}", common::program(), path.display());
        let answer = run_with(Command::new("sh").arg("-c").arg(limited));
        assert!(answer.stderr.contains(what) && answer.exit >= 2 && answer.exit < 4, "{name}: {}", answer.stderr);
        assert!(!what.is_empty() || answer.stdout.contains("state-db-handle-leak"), "{name}: {}", answer.stdout);
    }
}

/// Any value in place of a number, a text or a list is refused, or the report is diagnosed and printed.
#[test]
fn any_value_in_a_report_is_refused_or_diagnosed() {
    use clap::Parser;
    use hermes_doctor::collect::replay;
    use hermes_doctor::examine::replaying;
    use hermes_doctor::render::{self, Style, View};
    let requests = ["check", "fds", "lineage", "health", "port", "db"]
        .map(|command| hermes_doctor::command::Cli::parse_from(["hermes-doctor", command]).request().unwrap());
    let view = View { style: Style::new(false), verbose: true, quiet: false, top: 10 };
    let (mut refused, mut judged) = (0, 0);
    let mut seen = std::collections::BTreeSet::new();
    for name in ["leak-critical", "route-locked", "systemd-orphan", "database-locked", "close-wait", "unlinked-log"]
    {
        let report: Value = serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap();
        let mut places = Vec::new();
        leaves(&report, String::new(), &mut places);
        for place in places {
            let shape: Vec<&str> = place.split('/').filter(|part| part.parse::<u32>().is_err()).collect();
            if place.contains("/evidence/")
                || !seen.insert((shape.join("/"), report.pointer(&place).unwrap().is_null()))
            {
                continue;
            }
            for wrong in [
                Value::Null,
                0.into(),
                1.into(),
                u64::MAX.into(),
                u32::MAX.into(),
                i64::MIN.into(),
                i32::MIN.into(),
                f64::MAX.into(),
                "".into(),
                "/\u{e9}\u{1b}[2J".into(),
                "systemd".into(),
                Value::Array(Vec::new()),
            ] {
                let mut changed = report.clone();
                *changed.pointer_mut(&place).unwrap() = wrong;
                let Ok(envelope) = replay::read(changed.to_string().as_bytes()) else {
                    refused += 1;
                    continue;
                };
                for request in &requests {
                    let answer = replaying::replay(envelope.clone(), request).unwrap();
                    let shown = render::people(&answer, &view);
                    assert!(!shown.contains('\u{1b}'), "{name}: {place}");
                }
                judged += 1;
            }
        }
    }
    assert!(refused > 1000 && judged > 1000, "{refused} {judged}");
}

/// Paths of values that are not objects.
fn leaves(value: &Value, place: String, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                leaves(value, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        Value::Array(items) => {
            found.push(place.clone());
            for (at, value) in items.iter().enumerate() {
                leaves(value, format!("{place}/{at}"), found);
            }
        }
        _ => found.push(place),
    }
}

/// Words that a later program has added. Where they do not decide, the report is read. A part that depends on them
/// is a gap, so the server is not reported as healthy. Where they decide, a one-line message names the newer
/// program.
#[test]
fn reports_with_words_of_a_newer_program_are_handled() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("newer.json");
    let ask = |name: &str, version: &str, changes: &[(&str, Value)]| {
        let mut report: Value = serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap();
        report["tool"]["version"] = version.into();
        for (place, word) in changes {
            *report.pointer_mut(place).unwrap_or_else(|| panic!("{name}: no {place}")) = word.clone();
        }
        std::fs::write(&file, report.to_string()).unwrap();
        (run(&format!("check --from {} --json", file.display())), run(&format!("check --from {}", file.display())))
    };
    // They do not decide.
    let (answer, shown) = ask(
        "systemd-orphan",
        "99.1.0",
        &[
            ("/status", "doomed".into()),
            ("/servers/0/examined", serde_json::json!(["descriptors", "lineage", "port", "health", "aura"])),
            ("/servers/0/lineage/hops/0/role", "sidecar".into()),
            ("/servers/0/findings/0/severity", "grave".into()),
        ],
    );
    let server = &servers(&answer.json())[0];
    assert_eq!(roots(server), ["orphaned-server"]);
    assert_eq!(server["examined"], serde_json::json!(["descriptors", "lineage", "port", "health"]));
    assert_eq!(server["lineage"]["hops"][0]["role"], "other");
    assert!(shown.stdout.contains("written by a newer hermes-doctor"), "{}", shown.stdout);
    // A part is lost.
    let wait = ("/servers/0/health/outcome", Value::from("answered_by_owl"));
    let (answer, shown) = ask("healthy-pool", "99.1.0", std::slice::from_ref(&wait));
    let answer = answer.json();
    assert_eq!(answer["status"], "unknown", "{answer:#}");
    let gap = servers(&answer)[0]["gaps"].as_array().unwrap().last().unwrap().clone();
    assert!(gap["detail"].as_str().unwrap().contains("answered_by_owl"), "{gap}");
    assert!(shown.stdout.contains("health in the report of a newer hermes-doctor"), "{}", shown.stdout);
    let (answer, _) = ask("leak-critical", "99.1.0", std::slice::from_ref(&wait));
    assert_eq!(roots(&servers(&answer.json())[0]), ["state-db-handle-leak"]);
    // They decide.
    let kind = ("/servers/0/kind", Value::from("oracle"));
    let (answer, shown) = ask("healthy-pool", "99.1.0", std::slice::from_ref(&kind));
    assert_eq!(answer.json()["status"], "unknown");
    assert!(
        shown.stderr.contains("the report was written by hermes-doctor 99.1.0, and this older version")
            && shown.stderr.contains("oracle")
            && shown.stderr.lines().count() == 1,
        "{}",
        shown.stderr
    );
    // In a report of this version or an older one, such words are errors.
    let (_, shown) = ask("healthy-pool", "0.0.1", &[wait]);
    assert!(shown.stderr.contains("not a hermes-doctor report: unknown variant"), "{}", shown.stderr);
}

/// The program that examined the host is kept, however often its report is diagnosed again and saved.
#[test]
fn a_report_of_a_report_is_the_report() {
    let directory = tempfile::tempdir().unwrap();
    let (first, again) = (directory.path().join("1.json"), directory.path().join("2.json"));
    let mut report: Value = serde_json::from_slice(&std::fs::read(fixture("systemd-orphan")).unwrap()).unwrap();
    report["tool"]["version"] = "0.0.7".into();
    std::fs::write(&first, report.to_string()).unwrap();
    let once = run(&format!("check --from {} --json", first.display())).json();
    std::fs::write(&again, once.to_string()).unwrap();
    let twice = run(&format!("lineage --from {} --json", again.display())).json();
    for (answer, command) in [(&once, "check"), (&twice, "lineage")] {
        assert_eq!(answer["tool"]["version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(answer["replayed"]["tool"]["version"], "0.0.7");
        assert_eq!((&answer["replayed"]["command"], &answer["command"]), (&"check".into(), &command.into()));
        assert_eq!(answer["started_at"], report["started_at"]);
    }
    // Gaps of another part do not matter for a command that does not examine that part.
    report["servers"][0]["gaps"] = serde_json::json!([
        {"what": "HTTP", "reason": "permission", "detail": "", "blocks": ["http-no-answer"], "elapsed_ms": 0},
        {"what": "who", "reason": "permission", "detail": "", "blocks": ["orphaned-server", "http-no-answer"], "elapsed_ms": 0},
    ]);
    std::fs::write(&first, report.to_string()).unwrap();
    let answer = run(&format!("lineage --from {} --json", first.display())).json();
    assert_eq!(servers(&answer)[0]["gaps"].as_array().unwrap().len(), 1);
}

/// The text of a hostile report is printed safely.
#[test]
fn untrusted_text_of_a_report_is_printed_safely() {
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
    let _reader = start(Command::new("python3").arg(program_file("database.py")).arg(&path).arg("reader"));
    let live = run(&format!("db --file {} --json", path.display()));
    let saved = directory.path().join("db.json");
    std::fs::write(&saved, &live.stdout).unwrap();
    let answer = run(&format!("db --from {} --json", saved.display())).json();
    assert_eq!(answer["status"], live.json()["status"]);
    assert_eq!(answer["findings"][0]["id"], "wal-checkpoint-pinned", "{answer:#}");
}

/// For one part, a report gives the same result as in the whole, and nothing about other parts.
#[test]
fn each_part_of_a_report_is_judged_as_in_the_whole() {
    use clap::Parser;
    use hermes_doctor::collect::replay;
    use hermes_doctor::examine::replaying;
    let request = |command| hermes_doctor::command::Cli::parse_from(["hermes-doctor", command]).request().unwrap();
    let whole_request = request("check");
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")).unwrap() {
        let path = entry.unwrap().path();
        let report = replay::read(&std::fs::read(&path).unwrap()).unwrap();
        let whole = replaying::replay(report.clone(), &whole_request).unwrap();
        let mut of_parts = std::collections::BTreeSet::new();
        for command in ["fds", "lineage", "health", "port", "db"] {
            let part = replaying::replay(report.clone(), &request(command)).unwrap();
            for found in part.servers.iter().flat_map(|server| &server.findings) {
                let known = |other: &&hermes_doctor::model::WordedFinding| {
                    (&other.id, &other.subject) == (&found.id, &found.subject)
                };
                let of_whole = whole.servers[0].findings.iter().find(known);
                assert!(of_whole.is_some(), "{}: {command} finds {}", path.display(), found.title);
                of_parts.insert(found.id.clone());
            }
        }
        // The claim of another home's supervisor on the port needs the lineage and the port together.
        for found in whole.servers[0].findings.iter().filter(|found| found.id != "port-owner-unexpected") {
            assert!(of_parts.contains(&found.id), "{}: no part finds {}", path.display(), found.title);
        }
    }
}

/// A saved report has the same findings as the host: for each demo scenario, and each way to save the report.
#[test]
fn every_demonstration_is_found_again_in_its_report() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("report");
    for name in
        ["leak", "ceiling", "stopped", "mute", "deadlock", "full-pipe", "close-wait", "orphan", "foreign", "tls"]
    {
        let live = run(&format!("demo {name} --json"));
        let host = live.json();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packed, live.stdout.as_bytes()).unwrap();
        let pasted = format!("It hangs:\n\n```json\n{}\n```\nWhat now?\n", live.stdout);
        for kept in [live.stdout.clone().into_bytes(), packed.finish().unwrap(), pasted.into_bytes()] {
            std::fs::write(&file, kept).unwrap();
            let answer = run(&format!("check --from {} --json", file.display())).json();
            assert_eq!(verdict(&servers(&answer)[0]), verdict(&servers(&host)[0]), "{name}");
            assert_eq!(servers(&answer)[0]["passed"], servers(&host)[0]["passed"], "{name}");
            assert_eq!(answer["replayed"]["newer_rules"], serde_json::json!([]), "{name}");
        }
    }
}
