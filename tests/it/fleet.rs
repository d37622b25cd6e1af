//! Output for monitoring systems: the format of a plugin, and metrics that the real promtool, node_exporter and
//! Prometheus read.

use crate::common;

use clap::Parser;
use common::{Answer, doctor, run, run_with, skipped, tool, wait_for, webui};
use hermes_doctor::command::Cli;
use hermes_doctor::render::openmetrics::FAMILIES;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A file of the repository.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn fixtures() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(file("fixtures")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|is| is == "json")).collect();
    found.sort();
    assert!(found.len() > 50);
    found
}

fn told(command: &str, form: &str, of: &Path) -> Answer {
    run_with(doctor().args(command.split_whitespace()).args(["--format", form, "--from"]).arg(of))
}

/// One item of performance data: label, value, unit, and the four numbers after it.
#[derive(Debug, PartialEq)]
struct Item {
    label: String,
    value: f64,
    unit: String,
    range: Vec<Option<f64>>,
}

/// Reads an answer as the guidelines describe it, strictly, and checks the exit status with it.
fn plugin(answer: &Answer) -> (String, Vec<Item>, Vec<String>) {
    assert!(answer.stderr.is_empty(), "{}", answer.stderr);
    let allowed = |character: char| character == '\n' || (' '..='~').contains(&character);
    assert!(answer.stdout.chars().all(allowed), "{}", answer.stdout);
    assert!(answer.stdout.len() < 8192, "{}", answer.stdout.len());
    let mut lines = answer.stdout.lines();
    let first = lines.next().unwrap();
    let details: Vec<String> = lines.map(str::to_owned).collect();
    assert!(details.iter().all(|line| !line.contains('|')), "{details:?}");
    let (said, data) = first.split_once(" | ").unwrap_or((first, ""));
    let words = ["OK", "WARNING", "CRITICAL", "UNKNOWN"];
    let state = said.strip_prefix("HERMES ").unwrap().split(' ').next().unwrap();
    assert_eq!(words.iter().position(|word| *word == state), usize::try_from(answer.exit).ok(), "{said}");
    let items = data.split(' ').filter(|item| !item.is_empty()).map(|item| {
        let (label, rest) = item.split_once('=').unwrap();
        assert!(!label.is_empty() && !label.contains(['\'', '"', '|']), "{item}");
        let mut parts = rest.split(';');
        let measured = parts.next().unwrap();
        let end = measured.find(|character: char| !(character.is_ascii_digit() || character == '.'));
        let (value, unit) = measured.split_at(end.unwrap_or(measured.len()));
        assert!(matches!(unit, "" | "s" | "B" | "c"), "{item}");
        let number = |part: &str| (!part.is_empty()).then(|| part.parse().unwrap());
        let range: Vec<Option<f64>> = parts.map(number).collect();
        assert!(range.len() <= 4, "{item}");
        Item { label: label.to_owned(), value: value.parse().unwrap(), unit: unit.to_owned(), range }
    });
    (said.to_owned(), items.collect(), details)
}

/// Passes a text to promtool; returns its complaints.
fn promtool(program: &Path, arguments: &[&str], input: &str) -> Result<(), String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if output.status.success() { Ok(()) } else { Err(said) }
}

/// Names in an expression or text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (at, _) in text.match_indices("hermes_doctor_") {
        let end = text[at..].find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        names.insert(text[at..end.map_or(text.len(), |end| at + end)].to_owned());
    }
    names
}

fn metrics() -> BTreeSet<String> {
    FAMILIES.iter().map(|family| family.full_name()).collect()
}

/// On every recorded host, the status and the exit status are the same in every format.
#[test]
fn every_host_has_one_status_in_every_form() {
    let promtool_program = tool("promtool");
    if promtool_program.is_none() {
        skipped("every_host_has_one_status_in_every_form", "promtool is not here");
    }
    for path in fixtures() {
        let name = path.display();
        let envelope = told("check", "json", &path);
        let json = envelope.json();
        let answer = told("check", "nagios", &path);
        assert_eq!(answer.exit, envelope.exit, "{name}");
        let (said, items, _) = plugin(&answer);
        for id in
            json["servers"].as_array().unwrap().iter().flat_map(|server| server["root_causes"].as_array()).flatten()
        {
            assert!(answer.stdout.contains(&format!("[{}]", id.as_str().unwrap())), "{name}: {}", answer.stdout);
        }
        assert!(items.iter().any(|item| item.label == "time" && item.unit == "s"), "{name}: {said}");
        let metrics = told("check", "openmetrics", &path);
        assert_eq!((metrics.exit, metrics.stderr.as_str()), (envelope.exit, ""), "{name}");
        assert!(metrics.stdout.ends_with("\n# EOF\n"), "{name}");
        assert!(metrics.stdout.contains(&format!("\nhermes_doctor_status {}\n", envelope.exit)), "{name}");
        if let Some(program) = &promtool_program {
            assert_eq!(promtool(program, &["check", "metrics"], &metrics.stdout), Ok(()), "{name}");
        }
    }
}

#[test]
fn answers_of_recorded_hosts() {
    for name in [
        "leak-critical",
        "healthy-pool",
        "launchd-two-leaks",
        "not-running",
        "route-locked",
        "systemd-user-orphan",
        "report-A119467-unproven-pid",
    ] {
        let path = file(&format!("fixtures/{name}.json"));
        insta::assert_snapshot!(format!("nagios-{name}"), told("check", "nagios", &path).stdout);
    }
    for name in ["leak-critical", "not-running", "launchd-two-leaks", "systemd-duplicates"] {
        let path = file(&format!("fixtures/{name}.json"));
        let metrics = told("check", "openmetrics", &path).stdout;
        let metrics = metrics.replace(env!("CARGO_PKG_VERSION"), "VERSION");
        insta::assert_snapshot!(format!("openmetrics-{name}"), metrics);
    }
    let path = file("fixtures/leak-critical.json");
    for command in ["fds", "lineage", "health", "port"] {
        insta::assert_snapshot!(format!("nagios-{command}"), told(command, "nagios", &path).stdout);
    }
}

/// Several servers: the worst one is named first, each has one line and its own data labels, and the labels are the
/// same if the servers are found in another order.
#[test]
fn several_servers_share_an_answer() {
    let read = |name: &str| -> Value { serde_json::from_str(&text(&format!("fixtures/{name}.json"))).unwrap() };
    let mut envelope = read("leak-critical");
    let servers: Vec<Value> = ["healthy-pool", "leak-critical", "healthy-pool", "systemd-user-orphan", "degraded"]
        .iter()
        .map(|name| read(name)["servers"][0].clone())
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("several.json");
    let mut told_in = |order: &[usize], form: &str| {
        envelope["servers"] = order.iter().map(|at| servers[*at].clone()).collect();
        std::fs::write(&path, envelope.to_string()).unwrap();
        let answer = told("check", form, &path);
        assert_eq!(answer.exit, 2, "{}", answer.stdout);
        answer
    };
    let answer = told_in(&[0, 1, 2, 3, 4], "nagios");
    let (said, items, details) = plugin(&answer);
    assert!(said.contains("5 servers: 3 critical, 2 ok"), "{said}");
    let labels: BTreeSet<&str> = items.iter().map(|item| item.label.as_str()).collect();
    assert_eq!(labels.len(), items.len(), "{labels:?}");
    let names: Vec<&str> =
        details.iter().filter(|line| !line.contains(" so: ")).map(|line| line.as_str()).collect();
    assert_eq!(names.len(), 5, "{details:?}");
    insta::assert_snapshot!("nagios-several", answer.stdout);
    for form in ["nagios", "openmetrics"] {
        assert_eq!(told_in(&[4, 3, 2, 1, 0], form).stdout, told_in(&[0, 1, 2, 3, 4], form).stdout, "{form}");
    }
    let many: Vec<usize> = (0..200).map(|at| at % 5).collect();
    let (_, _, details) = plugin(&told_in(&many, "nagios"));
    assert!(details.last().unwrap().contains("more lines"), "{details:?}");
    let metrics = told_in(&many, "openmetrics").stdout;
    assert!(metrics.contains("\nhermes_doctor_servers 200\n"));
    assert!(metrics.contains("\nhermes_doctor_servers_omitted 136\n"));
    assert_eq!(metrics.lines().filter(|line| line.starts_with("hermes_doctor_server_status{")).count(), 64);
}

/// The thresholds of the data are those of the finding.
#[test]
fn thresholds_alert_where_the_finding_begins() {
    let (_, items, _) = plugin(&told("check", "nagios", &file("fixtures/leak-critical.json")));
    let open = items.iter().find(|item| item.label.ends_with("_descriptors")).unwrap();
    // 80 % and 95 % of 256 are 204.8 and 243.2: 205 and 244 are the first that reach them.
    assert_eq!(open.range, [Some(204.0), Some(243.0), Some(0.0), Some(256.0)]);
}

/// A report with names and texts chosen by an attacker: none of them is printed, and none breaks the format.
#[test]
fn untrusted_text_is_not_printed_in_fleet_formats() {
    const HOSTILE: &str = "zqevil|zqlabel=1;2;3\n# EOF\nzq_metric{a=\"b\"} 1\\\"}\u{1b}[2J$(zq)`zq`\u{202e}'";
    fn spoil(value: &mut Value, key: &str) {
        match value {
            Value::String(text) => {
                // Words that decide the findings stay, and so do times.
                let is_word = (text.len() < 40 && text.chars().all(|c| c.is_ascii_lowercase() || "_-".contains(c)))
                    || key == "schema"
                    || key.ends_with("_at")
                    || key.ends_with("_time");
                if !is_word || matches!(key, "name" | "kernel" | "init" | "arch" | "os" | "user" | "version") {
                    text.push_str(HOSTILE);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| spoil(item, key)),
            Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| {
                // Enumerations would not be read any more.
                if name != "phases" {
                    spoil(value, name);
                }
            }),
            _ => {}
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let mut seen = 0;
    for path in fixtures() {
        let mut envelope: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        spoil(&mut envelope, "");
        let spoiled = directory.path().join("spoiled.json");
        std::fs::write(&spoiled, envelope.to_string()).unwrap();
        let answer = told("check", "nagios", &spoiled);
        plugin(&answer);
        let metrics = told("check", "openmetrics", &spoiled);
        assert_eq!(metrics.exit, answer.exit);
        for shown in [&answer.stdout, &metrics.stdout, &metrics.stderr] {
            assert!(!shown.contains("zq"), "{}: {shown}", path.display());
        }
        seen += usize::from(metrics.stdout.contains("\nhermes_doctor_server_status{"));
        assert_eq!(metrics.stdout.matches("# EOF").count(), 1);
        if let Some(program) = tool("promtool") {
            assert_eq!(promtool(&program, &["check", "metrics"], &metrics.stdout), Ok(()), "{}", path.display());
        }
    }
    assert!(seen > 50, "{seen}");
}

/// The plugin format gives the reason on standard output; a metrics file gives it with its status.
#[test]
fn a_failed_examination_is_unknown_in_fleet_formats() {
    for (arguments, why) in [
        ("--pid 4000000000", "there is no process 4000000000"),
        ("check --home /nonexistent", "no directory /nonexistent"),
        ("--frobnicate", "unexpected argument --frobnicate found"),
        ("port 1 --port 2", "the port is given twice"),
        ("report", "--format nagios belongs to"),
        ("check --json", "--json is short for"),
    ] {
        let answer = run(&format!("{arguments} --format nagios"));
        assert_eq!(answer.exit, 3, "{arguments}");
        let (said, items, details) = plugin(&answer);
        assert!(items.is_empty() && details.is_empty(), "{arguments}");
        assert!(said.contains(why), "{arguments}: {said}");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("h.prom");
    let answer = run(&format!("--pid 4000000000 --format openmetrics -o {}", path.display()));
    assert_eq!((answer.exit, answer.stdout.as_str()), (3, ""));
    assert!(answer.stderr.contains("there is no process"), "{}", answer.stderr);
    assert!(std::fs::read_to_string(&path).unwrap().contains("\nhermes_doctor_status 3\n"));
}

/// The file is replaced atomically and readable for node_exporter, whatever the umask of the caller; files of other
/// programs are not replaced.
#[test]
fn the_file_is_replaced_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hermes.prom");
    let of = file("fixtures/healthy-pool.json");
    let write = |path: &Path| {
        let program = common::program();
        let line = "umask 077; exec \"$0\" --format openmetrics -o \"$1\" --from \"$2\"";
        run_with(Command::new("sh").args(["-c", line, program]).arg(path).arg(&of))
    };
    let answer = write(&path);
    assert_eq!((answer.exit, answer.stdout.as_str(), answer.stderr.as_str()), (0, "", ""));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
    // A reader sees a complete file at any moment.
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || {
            for _ in 0..2000 {
                let read = std::fs::read_to_string(&path).unwrap();
                assert!(read.starts_with("# HELP hermes_doctor_") && read.ends_with("# EOF\n"), "{read}");
            }
        })
    };
    for _ in 0..10 {
        assert_eq!(write(&path).exit, 0);
    }
    reader.join().unwrap();
    let names = |directory: &Path| std::fs::read_dir(directory).unwrap().count();
    assert_eq!(names(directory.path()), 1);

    let precious = directory.path().join("precious");
    std::fs::write(&precious, "hermes_doctor is not how this begins").unwrap();
    let link = directory.path().join("link.prom");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let pipe = directory.path().join("pipe.prom");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for taken in [&precious, &link, &pipe, &directory.path().to_owned()] {
        let answer = write(taken);
        assert_eq!(answer.exit, 3, "{}", taken.display());
        assert!(answer.stderr.contains("not written by hermes-doctor"), "{}", answer.stderr);
    }
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "hermes_doctor is not how this begins");
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
    let answer = write(&directory.path().join("nowhere/x.prom"));
    assert!(answer.exit == 3 && answer.stderr.contains("cannot write"), "{}", answer.stderr);
    assert_eq!(names(directory.path()), 4);
    // `install` or `touch` can leave an empty file there.
    std::fs::write(&path, "").unwrap();
    assert_eq!(write(&path).exit, 0);
}

/// The rules and their own tests: no rule is without a test.
#[test]
fn alert_rules_are_sound_and_tested() {
    let (rules, tests) = (text("docs/fleet/alerts.yml"), text("docs/fleet/alerts_test.yml"));
    let known = metrics();
    for name in metrics_in(&rules).union(&metrics_in(&tests)) {
        assert!(known.contains(name), "{name}");
    }
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 10, "{alerts:?}");
    let page = text("docs/fleet.md");
    for alert in &alerts {
        // One that fires in its test: with a label, not the empty list.
        let fires = tests
            .split(&format!("alertname: {alert}\n"))
            .skip(1)
            .any(|rest| rest.lines().nth(1).is_some_and(|line| line.trim() == "exp_alerts:"));
        assert!(fires, "{alert} has no test in which it fires");
        assert!(page.contains(&format!("`{alert}`")), "docs/fleet.md does not name {alert}");
    }
    let Some(program) = tool("promtool") else {
        return skipped("alert_rules_are_sound_and_tested", "promtool is not here");
    };
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]] {
        let output = Command::new(&program).args(arguments).current_dir(file("docs/fleet")).output().unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

/// Each query of the dashboard is valid for Prometheus and uses existing metrics.
#[test]
fn dashboard_queries_are_valid_and_use_existing_metrics() {
    let dashboard: Value = serde_json::from_str(&text("docs/fleet/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let known = metrics();
    let (mut ids, mut rules) = (BTreeSet::new(), String::from("groups:\n- name: dashboard\n  rules:\n"));
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        assert!(!panel["title"].as_str().unwrap().is_empty() && panel["gridPos"]["w"].as_u64().unwrap() <= 24);
        for target in panel["targets"].as_array().unwrap() {
            let expression = target["expr"].as_str().unwrap();
            let names = metrics_in(expression);
            assert!(!names.is_empty() && names.is_subset(&known), "{expression}");
            let quoted = serde_json::to_string(&expression.replace("$instance", ".*")).unwrap();
            rules.push_str(&format!(
                "  - record: panel_{}_{}\n    expr: {quoted}\n",
                panel["id"],
                target["refId"].as_str().unwrap()
            ));
        }
    }
    assert!(panels.len() > 10 && dashboard["schemaVersion"].is_u64() && dashboard["uid"] == "hermes-doctor");
    for variable in dashboard["templating"]["list"].as_array().unwrap() {
        let asked = variable["definition"].as_str().unwrap_or_default();
        assert!(metrics_in(asked).is_subset(&known), "{variable}");
    }
    let Some(program) = tool("promtool") else {
        return skipped("dashboard_queries_are_valid_and_use_existing_metrics", "promtool is not here");
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("dashboard.yml");
    std::fs::write(&path, rules).unwrap();
    assert_eq!(promtool(&program, &["check", "rules", path.to_str().unwrap()], ""), Ok(()));
}

/// The page has every metric with its meaning.
#[test]
fn the_page_names_every_metric() {
    let page = text("docs/fleet.md");
    for family in FAMILIES {
        let row = format!("| `{}` |", family.full_name());
        assert!(page.contains(&row), "docs/fleet.md has no {row}");
        assert!(page.contains(family.help.trim_end_matches('.')), "docs/fleet.md does not say: {}", family.help);
    }
    for name in metrics_in(&page) {
        let is_known = FAMILIES.iter().any(|family| family.full_name() == name);
        assert!(is_known || name == "hermes_doctor_", "docs/fleet.md names {name}");
    }
}

/// The command lines of the units are valid for this program.
#[test]
fn the_units_are_sound() {
    let understood = |words: &[String]| {
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        cli.check().unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert!(cli.output.file().unwrap().extension().is_some_and(|ending| ending == "prom"), "{words:?}");
    };
    let service = text("docs/fleet/hermes-doctor-metrics.service");
    let line = service.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    understood(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
    let job = plist::Value::from_file(file("docs/fleet/hermes-doctor.metrics.plist")).unwrap();
    let job = job.as_dictionary().unwrap();
    let words = job.get("ProgramArguments").and_then(plist::Value::as_array).unwrap();
    understood(&words.iter().map(|word| word.as_string().unwrap().to_owned()).collect::<Vec<_>>());
    assert_eq!(job.get("Label").and_then(plist::Value::as_string), Some("hermes-doctor.metrics"));
    assert_eq!(job.get("StartInterval").and_then(plist::Value::as_unsigned_integer), Some(60));
    // A verdict must not fail the unit, and a private mount namespace would hide the servers' paths.
    assert!(service.contains("\nSuccessExitStatus=1 2 3\n"));
    for mounts in ["ProtectSystem", "ProtectHome", "PrivateTmp", "ReadWritePaths", "ProtectProc"] {
        assert!(!service.lines().any(|line| line.starts_with(mounts)), "{mounts}");
    }
    let Some(program) = tool("systemd-analyze") else {
        return skipped("the_units_are_sound", "systemd-analyze is not here");
    };
    let directory = tempfile::tempdir().unwrap();
    for name in ["hermes-doctor-metrics.service", "hermes-doctor-metrics.timer"] {
        let unit = text(&format!("docs/fleet/{name}"));
        let unit = unit.replace("/usr/local/bin/hermes-doctor", common::program());
        std::fs::write(directory.path().join(name), unit).unwrap();
    }
    let paths =
        ["hermes-doctor-metrics.service", "hermes-doctor-metrics.timer"].map(|name| directory.path().join(name));
    let output = Command::new(program).arg("verify").args(&paths).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // It may also complain about other units of the host.
    assert!(!said.contains("hermes-doctor-metrics"), "{said}");
}

/// A daemon of these tests, ended by its pid.
struct Engine {
    child: Child,
    port: u16,
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a daemon on a free port of 127.0.0.1 and waits until it answers. If another test takes the port first,
/// the daemon ends, and another port is tried.
fn engine(path: &str, mut command: impl FnMut(u16) -> Command) -> Engine {
    for _ in 0..5 {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = command(port);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut engine = Engine { child, port };
        let mut has_ended = false;
        wait_long_for("the engine's answer", || {
            has_ended = engine.child.try_wait().unwrap().is_some();
            has_ended || get(port, path).is_some_and(|(status, _)| status == 200)
        });
        if !has_ended {
            return engine;
        }
    }
    panic!("no engine could be started");
}

/// As [`wait_for`], for programs that begin slowly on a busy machine.
fn wait_long_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(180);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not come in time");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Status and body of a GET.
fn get(port: u16, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

/// The result of Prometheus for an expression.
fn query(port: u16, expression: &str) -> Vec<Value> {
    let encoded: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
    let Some((200, body)) = get(port, &format!("/api/v1/query?query={encoded}")) else { return Vec::new() };
    let answer: Value = serde_json::from_str(&body).unwrap();
    answer["data"]["result"].as_array().unwrap().clone()
}

/// Serves one file as OpenMetrics, so that Prometheus parses it by the rules of that format; ends with the process
/// of the test.
fn serve_openmetrics(path: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|length| length > 2) {
                line.clear();
            }
            let body = std::fs::read_to_string(&path).unwrap();
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            let _ = (&stream).write_all(format!("{head}{body}").as_bytes());
        }
    });
    port
}

/// A live leak from end to end: the file of the doctor, the textfile collector, Prometheus, an alert.
#[test]
fn a_live_leak_arrives_in_prometheus_and_alerts() {
    let (Some(prometheus), Some(exporter)) = (tool("prometheus"), tool("prometheus-node-exporter")) else {
        return skipped("a_live_leak_arrives_in_prometheus_and_alerts", "prometheus or node_exporter is not here");
    };
    let target = webui("leak=119,limit=256");
    let directory = tempfile::tempdir().unwrap();
    let textfiles = directory.path().join("textfiles");
    std::fs::create_dir(&textfiles).unwrap();
    let metrics = textfiles.join("hermes.prom");
    let answer = run(&format!("--port {} --format openmetrics -o {}", target.port, metrics.display()));
    assert_eq!((answer.exit, answer.stderr.as_str()), (2, ""));

    let exporter = engine("/metrics", |port| {
        let mut command = Command::new(&exporter);
        command
            .args(["--collector.disable-defaults", "--collector.textfile", "--web.disable-exporter-metrics"])
            .arg(format!("--collector.textfile.directory={}", textfiles.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command
    });
    let (_, exported) = get(exporter.port, "/metrics").unwrap();
    assert!(exported.contains("\nnode_textfile_scrape_error 0\n"), "{exported}");
    let exported_names: BTreeSet<String> = metrics_in(&exported);
    assert_eq!(exported_names, metrics_in(&std::fs::read_to_string(&metrics).unwrap()));

    let strict = serve_openmetrics(metrics.clone());
    let configuration = directory.path().join("prometheus.yml");
    let rules = file("docs/fleet/alerts.yml");
    std::fs::write(
        &configuration,
        format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: [{:?}]\nscrape_configs:\n\
             - job_name: node\n  static_configs: [{{targets: ['127.0.0.1:{}']}}]\n\
             - job_name: strict\n  static_configs: [{{targets: ['127.0.0.1:{strict}']}}]\n",
            rules.display().to_string(),
            exporter.port
        ),
    )
    .unwrap();
    let prometheus = engine("/-/ready", |port| {
        let mut command = Command::new(&prometheus);
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command
    });
    let ask = |expression: &str| query(prometheus.port, expression);
    // Through both paths, with the expected labels.
    let leak = format!("hermes_doctor_finding{{id=\"state-db-handle-leak\",server=\"webui-{}\"}}", target.port);
    wait_long_for("the leak in Prometheus", || ask(&leak).len() == 2);
    for found in ask(&leak) {
        let labels = &found["metric"];
        assert_eq!(
            (&labels["severity"], &labels["root"], &labels["kind"]),
            (&"critical".into(), &"true".into(), &"webui".into())
        );
        assert_eq!((&labels["port"], &found["value"][1]), (&target.port.to_string().into(), &"1".into()));
    }
    for (expression, expected) in [
        ("hermes_doctor_server_status == 2", 2),
        ("hermes_doctor_descriptors_limit == 256", 2),
        ("hermes_doctor_database_handles{database=\"state.db\",file=\"db\"} >= 119", 2),
        ("time() - hermes_doctor_last_run_timestamp_seconds < 3600", 2),
        ("up{job=\"strict\"} == 1", 1),
        ("node_textfile_scrape_error == 0", 1),
    ] {
        // On a busy machine a scrape can miss the value; the next scrape has it.
        wait_long_for(expression, || ask(expression).len() == expected);
    }
    // The alert fires after three minutes, which promtool's tests of the rules check.
    let alert = format!("ALERTS{{alertname=\"HermesServerCritical\",server=\"webui-{}\"}}", target.port);
    wait_long_for("the alert", || ask(&alert).len() == 2);
    let (_, body) = get(prometheus.port, "/api/v1/rules").unwrap();
    let answer: Value = serde_json::from_str(&body).unwrap();
    for rule in answer["data"]["groups"][0]["rules"].as_array().unwrap() {
        assert_ne!(rule["health"], "err", "{rule:#}");
    }

    // The server ends: the next run replaces the file, and another finding replaces the first.
    let port = target.port;
    drop(target);
    wait_for("the end of the server", || TcpStream::connect(("127.0.0.1", port)).is_err());
    let answer = run(&format!("--port {port} --kind webui --format openmetrics -o {}", metrics.display()));
    assert_eq!((answer.exit, answer.stderr.as_str()), (2, ""));
    wait_long_for("the end of the leak in Prometheus", || {
        ask("hermes_doctor_finding{id=\"server-not-running\"}").len() == 2 && ask(&leak).is_empty()
    });

    // A healthy server causes no alert, and the old alert does not remain.
    let healthy = webui("");
    let answer = run(&format!("--port {} --format openmetrics -o {}", healthy.port, metrics.display()));
    assert_eq!((answer.exit, answer.stderr.as_str()), (0, ""));
    wait_long_for("the healthy server in Prometheus, without an alert", || {
        let is_well = ask(&format!("hermes_doctor_server_status{{port=\"{}\"}} == 0", healthy.port)).len() == 2;
        is_well && ask("ALERTS{alertname=~\"HermesServer.*\"}").is_empty()
    });
}
