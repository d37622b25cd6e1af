//! The documents agree with the program.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod common;

use hermes_doctor::diagnose::catalogue::CATALOGUE;
use std::fmt::Write as _;
use std::path::Path;

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// docs/findings.md from the catalogue that `explain` prints.
fn findings() -> String {
    let mut text = String::from(
        "# The findings\n\nStable ids: scripts and dashboards may rely on them. This page and `hermes-doctor explain` come from one \
         source, `src/diagnose/catalogue.rs`.\n",
    );
    for entry in CATALOGUE {
        let _ = write!(
            text,
            "\n## {}\n\n**{}** · severity: {}\n\n- Decided by: {}\n- Looks alike: {}\n- Why it matters: {}\n- What to do: {}\n",
            entry.id, entry.heading, entry.severity, entry.decided_by, entry.look_alike, entry.why, entry.remedy
        );
    }
    text
}

/// To write it anew: `UPDATE_DOCS=1 cargo test --test docs`.
#[test]
fn the_findings_page_is_the_catalogue() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, findings()).unwrap();
    }
    assert_eq!(document("docs/findings.md"), findings());
}

#[test]
fn the_pages_name_every_command_and_option() {
    let page = document("docs/commands.md");
    let commands = ["", "fds", "db", "health", "watch", "history", "mcp"];
    let help: String = commands.iter().map(|command| common::run(&format!("{command} --help")).stdout).collect();
    for option in help.split_whitespace().filter(|word| word.starts_with("--")) {
        let option = option.trim_end_matches([',', '.', ')', '`', ';']);
        assert!(page.contains(option), "docs/commands.md does not name {option}");
    }
    let readme = document("README.md");
    for command in [
        "check", "fds", "db", "lineage", "health", "port", "stacks", "watch", "history", "explain", "schema",
        "demo",
    ] {
        assert!(
            readme.contains(&format!("`{command}")) || readme.contains(&format!("hermes-doctor {command}")),
            "{command}"
        );
        assert!(page.contains(&format!("hermes-doctor {command}")), "{command}");
    }
    for code in ["0", "1", "2", "3"] {
        assert!(readme.contains(&format!("| {code} |")), "exit status {code}");
    }
}

/// Every field that an envelope has is explained.
#[test]
fn the_json_page_names_every_field() {
    let page = document("docs/json.md");
    let patient = common::webui("");
    let mut envelope = common::run(&format!("check --json --port {}", patient.port)).json();
    let over_time = common::run(&format!("fds --json --port {} --samples 2 --every 50ms", patient.port)).json();
    let exercise =
        common::run(&format!("fds --json --port {} --exercise /health --requests 1", patient.port)).json();
    let stuck = common::webui("deadlock");
    let stuck = common::run(&format!("check --json --port {} --timeout 800ms", stuck.port)).json();
    let repeated = common::run(&format!("health --json --port {} --repeat 2 --every 1ms", patient.port)).json();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/orphan.json");
    let replayed = common::run(&format!("check --json --from {}", fixture.display())).json();
    let reader = tempfile::tempdir().unwrap();
    let _locked = common::start(
        std::process::Command::new("python3")
            .arg(common::patient_file("database.py"))
            .arg(reader.path().join("state.db"))
            .arg("reader"),
    );
    let database = common::run(&format!("db --json --file {}", reader.path().join("state.db").display())).json();
    let stacks = common::run(&format!("stacks --json --pid {}", patient.pid())).json();
    envelope["others"] = serde_json::json!([over_time, exercise, database, stuck, repeated, replayed, stacks]);
    let mut missing = Vec::new();
    names(&envelope, &mut |name| {
        if name != "others" && !page.contains(&format!("`{name}`")) && !missing.contains(&name.to_owned()) {
            missing.push(name.to_owned());
        }
    });
    assert!(missing.is_empty(), "docs/json.md does not name {missing:?}");
}

/// Field names, those of maps with names from the host left out.
fn names(value: &serde_json::Value, tell: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                tell(name);
                if !matches!(name.as_str(), "by_kind" | "kinds" | "markers" | "checks") {
                    names(value, tell);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, tell)),
        _ => {}
    }
}
