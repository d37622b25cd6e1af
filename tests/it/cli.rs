//! The command line: every form of a request, and a one-line message for everything that cannot be examined.

use crate::common;

use common::{doctor, run, run_with, webui};
use std::process::Command;

#[test]
fn help_and_version_are_no_errors() {
    for arguments in
        ["--help", "-h", "--version", "fds --help", "lineage -h", "port --help", "explain --help", "demo -h"]
    {
        let answer = run(arguments);
        assert_eq!(answer.exit, 0, "{arguments}");
        assert!(answer.stderr.is_empty(), "{arguments}: {}", answer.stderr);
    }
    let help = run("--help").stdout;
    for word in [
        "Examples:",
        "Exit status:",
        "check",
        "fds",
        "lineage",
        "health",
        "port",
        "explain",
        "demo",
        "It changes nothing",
    ] {
        assert!(help.contains(word), "{word}");
    }
    assert!(!help.contains("demo-server"));
    assert!(run("fds --help").stdout.contains("Examples:"));
}

/// The parts of an argument that the parser repeats are masked, short and printable.
#[test]
fn usage_errors_repeat_nothing_harmful() {
    let long = format!("/{}", "x".repeat(100_000));
    for (path, why) in [
        ("/ü?key=canary", "letters beyond ASCII"),
        ("/a\u{1b}[2J?token=canary", "control characters"),
        ("relative?token=canary", "must begin with /"),
        (long.as_str(), "at most 2048 bytes"),
    ] {
        for json in [false, true] {
            let mut command = common::doctor();
            command.args(["check", "--route", path]);
            if json {
                command.arg("--json");
            }
            let answer = common::run_with(&mut command);
            let said = format!("{}{}", answer.stdout, answer.stderr);
            assert_eq!(answer.exit, 3, "{said}");
            assert!(!said.contains("canary") && !said.contains('\u{1b}') && said.len() < 4000, "{said}");
            assert!(said.contains(why), "{why}: {said}");
        }
    }
}

#[test]
fn usage_errors_exit_with_status_three_and_in_json_on_request() {
    for arguments in [
        "--nope",
        "--pid x",
        "--pid 0",
        "--port 70000",
        "frobnicate",
        "--budget 5",
        "--kind cat",
        "fds --top",
        "port 1 --port 2",
    ] {
        let answer = run(arguments);
        assert_eq!(answer.exit, 3, "{arguments}");
        assert!(answer.stdout.is_empty() && !answer.stderr.is_empty(), "{arguments}");
        for json in ["--json", "--format json", "--format=json"] {
            let answer = run(&format!("{json} {arguments}"));
            let envelope = answer.json();
            assert_eq!((answer.exit, envelope["status"].as_str()), (3, Some("unknown")), "{arguments}");
            assert_eq!(envelope["gaps"][0]["what"], "command line");
            assert!(!envelope["gaps"][0]["detail"].as_str().unwrap().is_empty());
        }
    }
}

/// One line on standard error, exit 3; with --json the same line in the envelope.
fn refused(arguments: &str, words: &str) {
    let answer = run(arguments);
    assert_eq!(answer.exit, 3, "{arguments}: {}", answer.stdout);
    assert!(answer.stdout.is_empty(), "{arguments}: {}", answer.stdout);
    assert_eq!(answer.stderr.trim().lines().count(), 1, "{arguments}: {}", answer.stderr);
    assert!(answer.stderr.contains(words), "{arguments}: {}", answer.stderr);
    let envelope = run(&format!("{arguments} --json")).json();
    assert!(envelope["gaps"][0]["detail"].as_str().unwrap().contains(words), "{envelope:#}");
}

#[test]
fn an_examination_error_is_one_clear_line() {
    refused("check --pid 4000000000", "there is no process 4000000000");
    refused("check --home /nonexistent", "no directory /nonexistent");
    refused("check --home /usr", "/usr is not a Hermes home");
    refused("check --home /etc/passwd", "is not a Hermes home");
    refused("check --url ftp://127.0.0.1/", "only http and https");
    refused("explain state-db-leak", "did you mean state-db-handle-leak");
    // kthreadd is process 2 of every Linux without a pid namespace of its own.
    if std::fs::read("/proc/2/cmdline").is_ok_and(|line| line.is_empty()) {
        refused("check --pid 2", "kernel thread");
    }
}

/// Threads have ids in the number space of pids on Linux only.
#[cfg(target_os = "linux")]
#[test]
fn a_zombie_and_a_thread_are_named() {
    let mut child = Command::new("true").spawn().unwrap();
    common::wait_for("the zombie", || {
        std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap().contains(") Z ")
    });
    refused(&format!("check --pid {}", child.id()), "waits to be reaped");
    child.wait().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let (id_sender, id_receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        id_sender.send(rustix::thread::gettid().as_raw_nonzero().get()).unwrap();
        let _ = receiver.recv();
    });
    let thread_id = id_receiver.recv().unwrap();
    refused(&format!("check --pid {thread_id}"), &format!("is a thread of process {}", std::process::id()));
    drop(sender);
    thread.join().unwrap();
}

/// In a separate pid namespace, without the servers of other tests.
#[test]
fn an_empty_result_lists_the_searched_places() {
    if !rustix::process::geteuid().is_root() {
        return common::skipped(
            "an_empty_result_lists_the_searched_places",
            "it takes root to make a pid namespace",
        );
    }
    let alone = |arguments: &[&str]| {
        let program = common::program();
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--net", program]).args(arguments);
        run_with(command.env("HOME", "/nonexistent").env("PATH", std::env::var("PATH").unwrap()))
    };
    let answer = alone(&[]);
    assert_eq!(answer.exit, 3, "{}", answer.stdout);
    for words in ["not found", "command lines", "pid files", "8787", "--port", "demo"] {
        assert!(answer.stdout.contains(words), "{words}: {}", answer.stdout);
    }
    let envelope = alone(&["--json"]).json();
    assert_eq!(
        (envelope["servers"].as_array().unwrap().len(), &envelope["gaps"][0]["reason"]),
        (0, &"not_found".into())
    );
    // A server that was selected by its kind is reported as absent.
    let envelope = alone(&["--json", "--kind", "dashboard"]).json();
    assert_eq!(envelope["servers"][0]["root_causes"][0], "server-not-running", "{envelope:#}");
}

#[test]
fn only_json_on_standard_output() {
    let target = webui("");
    for command in ["check", "fds", "lineage", "health", "port", ""] {
        let answer = run(&format!("{command} --json --port {}", target.port));
        let envelope = answer.json();
        assert_eq!(envelope["command"], if command.is_empty() { "check" } else { command });
        assert!(answer.stderr.is_empty(), "{command}: {}", answer.stderr);
        for field in ["schema", "tool", "host", "started_at", "elapsed_ms", "status", "servers", "findings", "gaps"]
        {
            assert!(!envelope[field].is_null(), "{command}: {field}");
        }
        let server = &envelope["servers"][0];
        for (part, owner) in
            [("descriptors", "fds"), ("lineage", "lineage"), ("health", "health"), ("listeners", "port")]
        {
            let filled = !server[part].is_null();
            let expected =
                matches!(command, "check" | "") || command == owner || (part == "listeners" && command == "health");
            assert_eq!(filled, expected, "{command}: {part}");
        }
    }
    let envelope = run("explain --json").json();
    assert!(envelope["explanations"].as_array().unwrap().len() > 20);
}

/// The fields that the contract names, on a server that has them all.
#[test]
fn the_contract_is_kept() {
    let target = webui("leak=3");
    let server = common::server(&format!("check --port {}", target.port));
    for field in [
        "kind",
        "pid",
        "port",
        "home",
        "status",
        "root_causes",
        "findings",
        "passed",
        "gaps",
        "descriptors",
        "lineage",
        "health",
        "listeners",
    ] {
        assert!(server.as_object().unwrap().contains_key(field), "{field}");
    }
    let has = |object: &serde_json::Value, fields: &[&str]| {
        for field in fields {
            assert!(
                object.as_object().unwrap_or_else(|| panic!("{object}")).contains_key(*field),
                "{field} in {object:#}"
            );
        }
    };
    has(&server["findings"][0], &["id", "subject", "severity", "title", "evidence", "why", "next", "caused_by"]);
    has(&server["findings"][0]["evidence"][0], &["fact", "value", "source"]);
    let descriptors = &server["descriptors"];
    has(descriptors, &["open", "soft_limit", "hard_limit", "by_kind", "targets", "sqlite"]);
    has(&descriptors["targets"][0], &["target", "kind", "count", "deleted"]);
    has(&descriptors["sqlite"][0], &["path", "db", "wal", "shm", "deleted", "connections"]);
    let lineage = &server["lineage"];
    has(lineage, &["hops", "supervisor", "expected", "detached"]);
    has(&lineage["hops"][0], &["pid", "ppid", "start_time", "role", "command", "evidence"]);
    has(&lineage["supervisor"], &["kind", "name", "claimed_pid", "claims_this"]);
    has(&server["health"], &["url", "outcome", "http_status", "phases", "bytes_received"]);
    has(&server["health"]["phases"][0], &["name", "ms", "error"]);
    let listeners = &server["listeners"];
    has(listeners, &["port", "sockets", "holders_complete", "connections"]);
    has(&listeners["sockets"][0], &["address", "family", "inode", "accept_queue", "backlog", "unit", "holders"]);
    has(&listeners["connections"], &["established", "close_wait", "not_accepted"]);
    let gap = run("check --pid 4000000000 --json").json()["gaps"][0].clone();
    has(&gap, &["what", "reason", "detail", "blocks", "elapsed_ms"]);
}

#[test]
fn colour_only_on_request() {
    let target = webui("");
    let arguments = ["check", "--port", &target.port.to_string()].map(str::to_owned);
    let plain = run_with(doctor().args(&arguments));
    assert!(!plain.stdout.contains('\u{1b}'));
    let always = run_with(doctor().args(&arguments).args(["--color", "always"]));
    assert!(always.stdout.contains('\u{1b}'));
    let never = run_with(doctor().args(&arguments).args(["--color", "never"]));
    assert!(!never.stdout.contains('\u{1b}'));
}

#[test]
fn an_ascii_locale_gets_ascii() {
    let target = webui("leak=40,limit=100");
    for command in ["check", "fds", "lineage", "health", "port"] {
        let answer = run_with(doctor().args([command, "--port", &target.port.to_string()]).env("LC_ALL", "C"));
        assert!(answer.stdout.is_ascii(), "{command}: {}", answer.stdout);
    }
}

#[test]
fn lines_fit_the_width() {
    let target = webui("leak=40,limit=100");
    for columns in [80_usize, 120] {
        for command in ["check", "fds", "lineage", "health", "port"] {
            let answer = run_with(
                doctor().args([command, "--port", &target.port.to_string()]).env("COLUMNS", columns.to_string()),
            );
            for line in answer.stdout.lines() {
                let width = line.chars().count();
                // A command to copy is never cut.
                assert!(width <= columns || line.contains("hermes-doctor check"), "{command}: {width}: {line}");
            }
        }
    }
}

#[test]
fn top_reports_omitted_targets_and_all_shows_them() {
    let target = webui("leak=3");
    let few = run(&format!("fds --port {} --top 2", target.port)).stdout;
    assert!(few.contains("more targets; --all shows them"), "{few}");
    let all = run(&format!("fds --port {} --all", target.port)).stdout;
    assert!(!all.contains("more targets"), "{all}");
    assert!(all.contains("state.db-shm"));
}

#[test]
fn a_budget_that_is_too_short_still_gives_an_answer() {
    let target = webui("silent");
    let answer = run(&format!("check --port {} --budget 300ms --json", target.port));
    let envelope = answer.json();
    assert!(envelope["elapsed_ms"].as_u64().unwrap() < 3000, "{envelope:#}");
    assert_eq!(envelope["servers"][0]["pid"], target.pid());
    let answer = run(&format!("check --port {} --budget 1ms --json", target.port));
    let envelope = answer.json();
    assert!(answer.exit == 3 || answer.exit == 2, "{envelope:#}");
}
