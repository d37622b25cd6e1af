//! The JSON Schema agrees with the program, with every saved report and with the output of the commands; it detects
//! mistakes, and permits added fields.

use crate::common;

use common::{run, webui};
use hermes_doctor::collect::replay;
use hermes_doctor::wording;
use jsonschema::Validator;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Objects whose field names come from the host.
const MAPS: &[&str] = &["by_kind", "kinds", "markers", "checks"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn kept() -> PathBuf {
    root().join("docs/schema/hermes-doctor-1.json")
}

fn schema() -> Value {
    serde_json::from_str(&hermes_doctor::report::schema::text()).unwrap()
}

fn validator() -> Validator {
    jsonschema::draft202012::options().should_validate_formats(true).build(&schema()).unwrap()
}

fn valid(validator: &Validator, name: &str, report: &Value) {
    let wrong: Vec<String> = validator
        .iter_errors(report)
        .map(|error| {
            format!("{}: {}", error.instance_path(), error.to_string().chars().take(200).collect::<String>())
        })
        .collect();
    assert!(wrong.is_empty(), "{name}: {wrong:#?}");
}

fn reports(directory: &str) -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root().join(directory)).unwrap() {
        let path = entry.unwrap().path();
        let value: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        found.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), value));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

fn fixture(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(root().join(format!("fixtures/{name}.json"))).unwrap()).unwrap()
}

#[test]
fn the_kept_schema_is_the_one_of_the_program() {
    let made = hermes_doctor::report::schema::text();
    assert_eq!(std::fs::read_to_string(kept()).unwrap(), made, "cargo xtask schema");
    let answer = run("schema");
    assert_eq!((answer.exit, answer.stdout), (0, made));
    assert!(jsonschema::meta::is_valid(&schema()));
    assert!(run("schema --help").stdout.contains("hermes-doctor schema > "));
}

#[test]
fn every_kept_report_is_valid() {
    let validator = validator();
    let fixtures = reports("fixtures");
    assert!(fixtures.len() > 40);
    fixtures.iter().for_each(|(name, report)| valid(&validator, name, report));
    let recorded = reports("tests/recorded").into_iter().filter(|(_, report)| report.get("schema").is_some());
    let count = recorded.map(|(name, report)| valid(&validator, &name, &report)).count();
    assert!(count >= 3);
}

/// The output of the commands on this host, including errors.
#[test]
fn every_answer_is_valid() {
    let validator = validator();
    let target = webui("leak=40,limit=200");
    let port = target.port;
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("flight.jsonl");
    run(&format!("watch --port {port} --samples 3 --every 50ms --record {}", record.display()));
    let kept = directory.path().join("report.json");
    std::fs::write(&kept, run(&format!("check --json --port {port}")).stdout).unwrap();
    for command in [
        format!("check --port {port}"),
        format!("fds --port {port}"),
        format!("fds --port {port} --samples 3 --every 20ms"),
        format!("fds --port {port} --exercise /health --requests 2"),
        format!("fds --port {port} --compare {}", kept.display()),
        format!("lineage --port {port}"),
        format!("health --port {port}"),
        format!("health --port {port} --repeat 3 --every 1ms"),
        format!("port {port}"),
        format!("db --port {port}"),
        format!("db --home {}", target.home().display()),
        format!("check --from {}", kept.display()),
        format!("history {}", record.display()),
        format!("watch --port {port} --samples 1 --every 50ms --record {}", record.display()),
        "explain".to_owned(),
        "explain no-such-finding".to_owned(),
        "demo stopped".to_owned(),
        "check --port 70000".to_owned(),
        "check --pid 4194304".to_owned(),
        "check --from /nonexistent".to_owned(),
    ] {
        valid(&validator, &command, &run(&format!("{command} --json")).json());
    }
    let stuck = webui("deadlock");
    let stuck = run(&format!("check --json --port {} --timeout 800ms", stuck.port)).json();
    valid(&validator, "a request that waits", &stuck);
}

/// Every path of a value once, whatever the index of its list item.
fn places(value: &Value) -> Vec<String> {
    fn walk(value: &Value, place: String, seen: &mut BTreeSet<String>, found: &mut Vec<String>) {
        let shape: String =
            place.split('/').map(|part| if part.parse::<u32>().is_ok() { "/N" } else { part }).collect();
        if seen.insert(format!("{shape} {}", value.is_null())) {
            found.push(place.clone());
        }
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    walk(value, format!("{place}/{name}"), seen, found);
                }
            }
            Value::Array(items) => {
                for (at, value) in items.iter().enumerate() {
                    walk(value, format!("{place}/{at}"), seen, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk(value, String::new(), &mut BTreeSet::new(), &mut found);
    found
}

fn is_in_map(place: &str) -> bool {
    place.rsplit('/').nth(1).is_some_and(|name| MAPS.contains(&name))
}

/// Fields that were added after the first reports of the format, or exist only if they have a value.
const MAY_BE_MISSING: &[&str] = &[
    "accepted_since",
    "activity",
    "answered_since",
    "any_port",
    "backfilled_frames",
    "claim_state",
    "claimed_age_ms",
    "claims",
    "command",
    "configuration",
    "databases",
    "finished",
    "gave_up",
    "holder_cpu_ms",
    "home",
    "is_idle",
    "is_launcher",
    "is_restarting",
    "log",
    "named",
    "network_namespace",
    "of",
    "pid",
    "pipes",
    "policy",
    "port",
    "port_changes",
    "ran_ms",
    "read_marks",
    "relatives",
    "restart_interval_ms",
    "restarts",
    "result",
    "routes",
    "scope",
    "series",
    "siblings",
    "since",
    "states",
    "stops_group",
    "supervisor",
    "trend",
    "unanswered",
    "written",
];

/// A missing field is an error, each type is checked, and words that are not in the list are refused.
#[test]
fn mistakes_are_caught() {
    let validator = validator();
    let (mut removed, mut retyped, mut reworded, mut open) = (0, 0, 0, BTreeSet::new());
    for name in ["systemd-orphan", "handlers-deadlocked", "database-locked"] {
        let report = fixture(name);
        for place in places(&report).iter().filter(|place| !place.is_empty()) {
            let (parent, field) = place.rsplit_once('/').unwrap();
            let mut changed = report.clone();
            // A value of another type: an object is valid only where an object is expected.
            let old = changed.pointer_mut(place).unwrap();
            let is_scalar = !old.is_object();
            *old = json!({});
            if is_scalar {
                assert!(!validator.is_valid(&changed), "{name}: {place} may be an object");
                retyped += 1;
            }
            let mut changed = report.clone();
            if let Some(Value::Object(fields)) = changed.pointer_mut(parent)
                && !is_in_map(place)
            {
                fields.remove(field);
                if validator.is_valid(&changed) {
                    open.insert(field.to_owned());
                } else {
                    removed += 1;
                }
            }
            let is_word = match field {
                "status" => parent.is_empty() || parent.ends_with("servers/0"),
                "kind" => {
                    parent.ends_with("servers/0") || parent.contains("siblings") || parent.contains("holders")
                }
                "state" => parent.ends_with("process") || parent.contains("looks"),
                "name" => parent.contains("phases"),
                field => {
                    matches!(field, "severity" | "outcome" | "role" | "reason" | "schema")
                        || parent.ends_with("examined")
                }
            };
            if is_word && report.pointer(place).unwrap().is_string() {
                let mut changed = report.clone();
                *changed.pointer_mut(place).unwrap() = "no-such-word".into();
                assert!(!validator.is_valid(&changed), "{name}: {place} may be any word");
                reworded += 1;
            }
        }
    }
    let unknown: Vec<&String> = open.iter().filter(|field| !MAY_BE_MISSING.contains(&field.as_str())).collect();
    assert!(unknown.is_empty(), "may be missing, and must not: {unknown:?}");
    assert!(removed > 300 && retyped > 300 && reworded > 20, "{removed} {retyped} {reworded}");
    for (place, wrong) in [
        ("/started_at", json!("yesterday")),
        ("/servers/0/port", json!(70_000)),
        ("/servers/0/pid", json!(-1)),
        ("/servers/0/pid", json!(1.5)),
        ("/servers/0/findings/0/evidence/0/value", json!([1])),
        ("/schema", json!("hermes-doctor/2")),
    ] {
        let mut changed = fixture("systemd-orphan");
        *changed.pointer_mut(place).unwrap() = wrong;
        assert!(!validator.is_valid(&changed), "{place}");
    }
}

/// A later program of the same format adds fields anywhere.
#[test]
fn added_fields_are_no_mistakes() {
    let validator = validator();
    for name in ["systemd-orphan", "handlers-deadlocked", "database-locked"] {
        let mut report = fixture(name);
        for place in places(&fixture(name)) {
            if let Some(Value::Object(fields)) = report.pointer_mut(&place)
                && !MAPS.iter().any(|map| place.ends_with(map))
            {
                fields.insert("auras".into(), json!([{"blue": 3}]));
            }
        }
        valid(&validator, name, &report);
        assert!(replay::read(report.to_string().as_bytes()).is_ok());
    }
}

/// Removes all fields that the schema does not require.
fn strip(value: &mut Value, schema: &Value, whole: &Value, taken: &mut usize) {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => whole.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    if let Some(choices) = schema["anyOf"].as_array() {
        let it = choices.iter().find(|choice| choice.get("$ref").is_some()).filter(|_| !value.is_null());
        it.into_iter().for_each(|choice| strip(value, choice, whole, taken));
    }
    match value {
        Value::Object(fields) => {
            let required: Vec<&str> =
                schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if let Some(known) = schema["properties"].as_object() {
                let before = fields.len();
                fields.retain(|name, _| !known.contains_key(name) || required.contains(&name.as_str()));
                *taken += before - fields.len();
                for (name, value) in fields {
                    known.get(name).into_iter().for_each(|schema| strip(value, schema, whole, taken));
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| strip(item, &schema["items"], whole, taken)),
        _ => {}
    }
}

/// A reader does not need the fields that the schema does not require, so the oldest reports of the format can be
/// read. Missing facts cause no finding that the complete report does not have.
#[test]
fn the_oldest_reports_are_still_read() {
    let (whole, validator) = (schema(), validator());
    let mut taken = 0;
    for (name, mut report) in reports("fixtures") {
        let full = replay::read(report.to_string().as_bytes()).unwrap();
        strip(&mut report, &whole, &whole, &mut taken);
        valid(&validator, &name, &report);
        let mut old = replay::read(report.to_string().as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
        for (old, full) in old.servers.iter_mut().zip(&full.servers) {
            wording::judge(old);
            // Without samples of the threads the reason for a waiting request is unknown, so the wait itself is the
            // finding.
            let news =
                old.findings.iter().filter(|found| found.id != "http-no-answer" && found.id != "accept-stalled");
            for found in news.filter(|found| found.severity > hermes_doctor::model::Severity::Info) {
                assert!(full.findings.iter().any(|known| known.id == found.id), "{name}: {}", found.id);
            }
        }
    }
    assert!(taken > 500, "{taken}");
}
