//! Descriptors over time, requests that leave descriptors open, and the recorder.

use crate::common;

use common::{
    doctor, finding, ids, program_file, pythons, run, run_with, server, signal_pid, start, wait_for, webui,
    webui_of,
};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

fn growth<'a>(server: &'a Value, series: &str) -> &'a Value {
    let all = server["growth"].as_array().unwrap_or_else(|| panic!("no growth: {server:#}"));
    all.iter()
        .find(|growth| growth["series"].as_str().unwrap().starts_with(series))
        .unwrap_or_else(|| panic!("{server:#}"))
}

/// A real staircase: 100 connections per second, each with two descriptors that are never closed. The rate is
/// correct after ten samples.
#[test]
fn a_staircase_is_a_leak_with_its_rate() {
    let target = webui("steady=10");
    let found = server(&format!("fds --port {} --samples 10 --every 500ms", target.port));
    let grown = growth(&found, "family:");
    let rate = grown["per_hour"].as_f64().unwrap();
    assert!((rate - 720_000.0).abs() < 72_000.0, "{rate}: {grown:#}");
    assert!(grown["per_hour_low"].as_f64().unwrap() <= rate && rate <= grown["per_hour_high"].as_f64().unwrap());
    assert_eq!((grown["shape"].as_str(), grown["idle"].as_bool()), (Some("staircase"), Some(true)), "{grown:#}");
    let leak = finding(&found, "state-db-handle-leak");
    assert!(leak["title"].as_str().unwrap().contains("per hour"), "{leak:#}");
    assert!(leak["title"].as_str().unwrap().contains("no client is connected"), "{leak:#}");
    assert_eq!(found["trend"]["samples"].as_array().unwrap().len(), 10);
    let shown = run(&format!("fds --port {} --samples 4 --every 100ms", target.port)).stdout;
    assert!(shown.contains("CHANGE") && shown.contains("Growth"), "{shown}");
}

/// A client that requests the session list until it is stopped.
struct Client {
    ended: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Client {
    fn start(port: u16, pause: Duration) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) {
                    let _ = stream.write_all(b"GET /api/sessions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                    let _ = stream.read_to_end(&mut Vec::new());
                }
                std::thread::sleep(pause);
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// Connections that CPython's garbage collector closes, under load: up and down, and no leak at any phase.
#[test]
fn connections_that_are_closed_late_are_no_leak() {
    let mut saw_teeth = 0;
    for _ in 0..4 {
        for python in pythons() {
            let target = webui_of(&python, "forgetful");
            let _client = Client::start(target.port, Duration::from_millis(4));
            let found = server(&format!("fds --port {} --samples 16 --every 150ms", target.port));
            for id in ["state-db-handle-leak", "descriptor-growth"] {
                assert!(!ids(&found).contains(&id.to_owned()), "{}: {found:#}", python.display());
            }
            assert_eq!(found["status"], "healthy", "{}: {found:#}", python.display());
            // If falls were sampled, the finding is `deferred-close`, with the peak.
            let has_handles = found["growth"].to_string().contains("family:");
            if has_handles && growth(&found, "family:")["shape"] == "saw-tooth" {
                let title = finding(&found, "deferred-close")["title"].as_str().unwrap();
                assert!(
                    title.contains("fall back to") && title.contains("at most"),
                    "{}: {title}",
                    python.display()
                );
                saw_teeth += 1;
            }
        }
        // The intervals of the garbage collector vary, so a saw-tooth can need several attempts.
        if saw_teeth > 0 {
            return;
        }
    }
    panic!("no interpreter here was seen to close late");
}

#[test]
fn too_few_samples_are_undecided_with_a_reason() {
    let target = webui("steady=5");
    let found = server(&format!("fds --port {} --samples 2 --every 300ms", target.port));
    let grown = growth(&found, "open");
    assert_eq!(grown["shape"], "undecided", "{grown:#}");
    assert!(!grown["missing"].as_str().unwrap().is_empty());
    assert!(!ids(&found).contains(&"descriptor-growth".to_owned()));
}

/// Runs until the user ends it, and then prints a summary.
#[test]
fn a_watch_ends_with_its_summary() {
    let target = webui("");
    let mut command = common::interruptible();
    command.args(["fds", "--port", &target.port.to_string(), "--watch", "100ms"]);
    let common::Answer { stdout: text, exit, .. } =
        common::run_until(&mut command, 4, |doctor| signal_pid(doctor, Signal::INT));
    assert_eq!(exit, 0, "{text}");
    assert!(text.lines().next().unwrap().contains("CLOSE-WAIT"), "{text}");
    assert!(text.contains(" samples ") && text.contains("Verdict"), "{text}");
    // A server that ends meanwhile ends the sampling, and the earlier samples are kept.
    let target = webui("");
    let mut command = doctor();
    command.args(["fds", "--port", &target.port.to_string(), "--samples", "50", "--every", "100ms"]);
    let answer = common::run_until(&mut command, 4, |_| signal_pid(target.pid(), Signal::KILL));
    let text = answer.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let samples = text.split(" samples ").next().and_then(|text| text.rsplit(' ').next()?.parse::<usize>().ok());
    assert!(samples.is_some_and(|samples| (3..20).contains(&samples)), "{text}");
    assert!(text.contains("it ended between two samples"), "{text}");
}

/// The request that leaves descriptors open is found.
#[test]
fn finds_the_request_that_leaves_descriptors_open() {
    let target = webui("keeps");
    let found =
        server(&format!("fds --port {} --exercise /health /api/sessions --requests 20 --batch 5", target.port));
    let paths = found["exercise"]["paths"].as_array().unwrap();
    assert_eq!(
        (paths[0]["path"].as_str(), paths[0]["left_open"].as_i64()),
        (Some("/health"), Some(0)),
        "{paths:#?}"
    );
    assert!(paths[1]["per_request"].as_f64().unwrap() >= 1.0, "{paths:#?}");
    assert!(paths[1]["left_database_handles"].as_i64().unwrap() >= 20, "{paths:#?}");
    let left = finding(&found, "descriptor-growth");
    assert!(left["title"].as_str().unwrap().starts_with("each request for /api/sessions left "), "{left:#}");
    assert_eq!((left["severity"].as_str(), found["status"].as_str()), (Some("info"), Some("healthy")));
    // The report has the descriptors after the requests, not before.
    assert_eq!(found["descriptors"]["open"], found["exercise"]["batches"][9]["open"]);
    assert_eq!(found["exercise"]["batches"].as_array().unwrap().len(), 10);
    assert!(found["exercise"]["stopped"].is_null());
    let shown = run(&format!("fds --port {} --exercise /health --requests 4 --batch 2", target.port));
    assert!(shown.stdout.contains("batch=1 fd=") && shown.stdout.contains("state_handles="), "{}", shown.stdout);
    assert!(shown.stderr.contains("puts load on it"), "{}", shown.stderr);
}

#[test]
fn requests_stop_before_the_server_does() {
    let target = webui("keeps,limit=64");
    let found = server(&format!("fds --port {} --exercise /api/sessions --requests 500 --batch 2", target.port));
    let stopped = found["exercise"]["stopped"].as_str().unwrap();
    assert!(stopped.contains("80 %"), "{stopped}");
    let last = found["exercise"]["batches"].as_array().unwrap().last().unwrap()["open"].as_u64().unwrap();
    assert!((51..=60).contains(&last), "{last}");
    // It still answers.
    assert_eq!(server(&format!("health --port {}", target.port))["health"]["outcome"], "ok");
    let target = webui("silent");
    let found =
        server(&format!("fds --port {} --exercise /health --requests 50 --batch 1 --timeout 200ms", target.port));
    assert!(found["exercise"]["stopped"].as_str().unwrap().contains("none of the last batch"), "{found:#}");
}

/// Requests to an address that is not a loopback address need an option.
#[test]
fn requests_go_to_loopback_only() {
    use hermes_doctor::examine::sampling::{ExerciseError, ExercisePlan, exercise};
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/healthy-pool.json");
    let mut envelope = hermes_doctor::collect::replay::read(&std::fs::read(path).unwrap()).unwrap();
    let server = &mut envelope.servers[0];
    server.listeners.as_mut().unwrap().sockets[0].address = "192.0.2.7".into();
    let plan = ExercisePlan {
        paths: vec!["/health".to_owned()],
        requests: 1,
        batch: 1,
        yes_remote: false,
        timeout: Duration::from_millis(100),
    };
    let refused = exercise(server, &plan, &|| false, &mut |_| panic!("a request was sent"));
    assert_eq!(refused, Err(ExerciseError::NotLoopback("192.0.2.7".parse().unwrap())));
    for bad in
        ["--exercise health", "--requests 5", "--exercise /x --requests 0", "--watch --samples 3", "--every 1s"]
    {
        assert_eq!(run(&format!("fds --port 1 {bad}")).exit, 3, "{bad}");
    }
}

/// A saved report counts as one sample; a report from before a restart is not compared.
#[test]
fn a_saved_report_is_compared() {
    let target = webui("steady=50");
    let directory = tempfile::tempdir().unwrap();
    let old = directory.path().join("old.json");
    std::fs::write(&old, run(&format!("check --port {} --json", target.port)).stdout).unwrap();
    let open = || std::fs::read_dir(format!("/proc/{}/fd", target.pid())).unwrap().count();
    let before = open();
    wait_for("more descriptors", || open() >= before + 20);
    let compare = format!("fds --port {} --compare {}", target.port, old.display());
    let found = server(&compare);
    let samples = found["trend"]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 2);
    let open = |index: usize| samples[index]["open"].as_u64().unwrap();
    assert!(open(1) >= open(0) + 15, "{samples:#?}");
    assert_eq!(growth(&found, "open")["shape"], "undecided");
    assert!(run(&compare).stdout.contains("AN HOUR"));
    // The same report of another process.
    let text = std::fs::read_to_string(&old).unwrap();
    let ticks =
        serde_json::from_str::<Value>(&text).unwrap()["servers"][0]["process"]["identity"]["start_ticks"].clone();
    std::fs::write(&old, text.replace(&format!("\"start_ticks\": {ticks}"), "\"start_ticks\": 1")).unwrap();
    let found = server(&compare);
    assert!(found["gaps"].to_string().contains("was restarted since then"), "{found:#}");
    for (text, words) in [("{}", "not a hermes-doctor report"), ("", "not a hermes-doctor report")] {
        std::fs::write(&old, text).unwrap();
        let answer = run(&compare);
        assert_eq!((answer.exit, answer.stderr.trim().lines().count()), (3, 1), "{}", answer.stderr);
        assert!(answer.stderr.contains(words), "{}", answer.stderr);
    }
    assert_eq!(run(&format!("fds --port {} --compare /dev/zero", target.port)).exit, 3);
}

/// A record of a server that leaks until its limit and is restarted: its changes, and the full report from before
/// the restart.
#[test]
fn the_recorder_keeps_the_report_from_before_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("flight.jsonl");
    let home = common::home();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = |what: &str| {
        start(
            Command::new("python3")
                .arg(program_file("hermes-webui/server.py"))
                .env("HERMES_HOME", home.path())
                .env("PORT", port.to_string())
                .env("TEST_SERVER", what),
        )
    };
    let watch = |samples: u32| {
        run_with(doctor().args(["watch", "--every", "300ms", "--samples", &samples.to_string()]).args([
            "--port",
            &port.to_string(),
            "--record",
            record.to_str().unwrap(),
        ]))
    };
    let ill = target("limit=100,steady=20");
    let answer = watch(14);
    let (first_pid, begun) = (ill.pid(), answer.stdout.clone());
    assert_eq!(answer.exit, 2, "{begun}");
    drop(ill);
    let well = target("");
    let answer = watch(3);
    assert_eq!(answer.exit, 0, "{}", answer.stdout);
    assert!(
        answer.stdout.contains(&format!("started again: pid {first_pid} became {}", well.pid())),
        "{}",
        answer.stdout
    );
    assert_eq!(std::fs::metadata(&record).unwrap().permissions().mode() & 0o777, 0o600);
    let reports: Vec<_> = std::fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report: Value = serde_json::from_slice(&std::fs::read(&reports[0]).unwrap()).unwrap();
    assert_eq!(
        (report["servers"][0]["pid"].as_u64(), report["status"].as_str()),
        (Some(u64::from(first_pid)), Some("critical"))
    );

    // Only the torn last line is lost.
    let text = std::fs::read(&record).unwrap();
    std::fs::write(&record, [&text[..], &text[..60]].concat()).unwrap();
    let svg = directory.path().join("flight.svg");
    let show = |more: &str| run(&format!("history {} {more}", record.display()));
    let shown = show(&format!("--svg {}", svg.display()));
    for words in ["17 samples", "full report:", "became critical", "started again", "last line is incomplete"] {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(
        drawn.starts_with("<svg") && drawn.contains("open descriptors") && drawn.contains("polyline"),
        "{drawn}"
    );
    assert!(!drawn.contains("<script") && !drawn.contains("href"));
    let again = show(&format!("--svg {}", svg.display()));
    assert_eq!((again.exit, again.stderr.contains("--force")), (3, true), "{}", again.stderr);
    assert_eq!(show(&format!("--svg {} --force", svg.display())).exit, shown.exit);
    let envelope = show("--json").json();
    assert_eq!(envelope["history"]["records"].as_array().unwrap().len(), 17);
    assert_eq!(envelope["history"]["ends_torn"], true);
    // The recorder continues after it.
    assert_eq!(watch(1).exit, 0);
    let envelope = show("--json").json();
    assert_eq!(
        (envelope["history"]["records"].as_array().unwrap().len(), envelope["history"]["lines_skipped"].as_u64()),
        (18, Some(1))
    );
}

/// A server that ends during the sampling is not healthy, and the earlier samples are kept.
#[test]
fn a_server_that_ends_while_it_is_watched_is_down() {
    let target = webui("");
    let mut command = doctor();
    command.args(["fds", "--port", &target.port.to_string(), "--samples", "30", "--every", "300ms", "--verbose"]);
    let answer = common::run_until(&mut command, 4, |_| signal_pid(target.pid(), Signal::KILL));
    let text = answer.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(answer.exit, 2, "{text}");
    assert!(text.contains("server-not-running") && !text.contains("UNKNOWN"), "{text}");
    let samples = text.split(" samples ").next().and_then(|text| text.rsplit(' ').next()?.parse::<usize>().ok());
    assert!(samples.is_some_and(|samples| samples >= 3), "{text}");
    assert!(text.contains("it ended between two samples"), "{text}");
}

/// The end of a server is an event of that server only, whether it was selected or found.
#[test]
fn the_end_of_a_server_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("flight.jsonl");
    let target = webui("");
    let (pid, port) = (target.pid(), target.port);
    let watch = format!("watch --port {port} --samples 2 --every 100ms --record {}", record.display());
    assert_eq!(run(&watch).exit, 0);
    drop(target);
    let answer = run(&watch);
    assert_eq!(answer.exit, 2);
    assert!(answer.stdout.contains(&format!("port {port}  ended: pid {pid}")), "{}", answer.stdout);
    let envelope = run(&format!("history {} --json", record.display())).json();
    let records = envelope["history"]["records"].as_array().unwrap();
    assert!(records.iter().all(|line| line["server"] == format!("port {port}").as_str()), "{records:#?}");

    // A server that was not selected is found, and its end is recorded, also if each recorder takes only one
    // sample.
    let record = directory.path().join("all.jsonl");
    let target = webui("");
    let pid = target.pid();
    let look = format!("watch --samples 1 --record {}", record.display());
    run(&look);
    drop(target);
    run(&look);
    let ended = |text: String| text.matches(&format!("ended: pid {pid}")).count();
    assert_eq!(ended(std::fs::read_to_string(&record).unwrap()), 1);
    run(&look);
    assert_eq!(ended(std::fs::read_to_string(&record).unwrap()), 1, "it ends once");
}

#[test]
fn a_record_that_is_none_gets_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty");
    std::fs::write(&empty, "{}\n[]\nnonsense").unwrap();
    for path in ["/nonexistent", "/dev/zero", directory.path().to_str().unwrap(), empty.to_str().unwrap()] {
        let answer = run(&format!("history {path}"));
        assert_eq!((answer.exit, answer.stderr.trim().lines().count()), (3, 1), "{path}: {}", answer.stderr);
    }
    // A descriptor that is already open is read by the main process, and so is a file if no worker can be started.
    let record = directory.path().join("record");
    assert_eq!(run(&format!("watch --port 1 --samples 1 --record {}", record.display())).exit, 2);
    for line in ["exec $0 history /dev/stdin --json < $1", "ulimit -n 4; exec $0 history $1 --json"] {
        let answer = run_with(Command::new("sh").args(["-c", line]).arg(doctor().get_program()).arg(&record));
        assert!(answer.exit < 3, "{line}: {}", answer.stderr);
        assert_eq!(answer.json()["history"]["records"].as_array().unwrap().len(), 1, "{line}: {}", answer.stdout);
    }
    // A link at the path of the record is not followed.
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path().join("target"), &link).unwrap();
    let answer = run(&format!("watch --port 1 --samples 1 --record {}", link.display()));
    assert!(answer.exit == 3 && answer.stderr.contains("cannot write"), "{}", answer.stderr);
    assert!(!directory.path().join("target").exists());
    let answer = run("watch --port 1 --samples 1 --record /nonexistent/flight.jsonl");
    assert_eq!((answer.exit, answer.stderr.trim().lines().count()), (3, 1), "{}", answer.stderr);
}

/// Ctrl-C ends the recorder between two samples, and the samples are kept.
#[test]
fn the_recorder_ends_on_a_signal() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("flight.jsonl");
    let child = doctor()
        .args(["watch", "--every", "1h", "--port", &target.port.to_string(), "--record"])
        .arg(&record)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the first sample", || std::fs::read(&record).is_ok_and(|text| text.ends_with(b"\n")));
    signal_pid(child.id(), Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 samples written to"));
}

/// `nohup` ignores the signal, and so does a shell for the background processes of a script.
#[test]
fn the_recorder_goes_on_where_a_signal_was_ignored() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("flight.jsonl");
    let child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" \"$@\"", common::program(), "watch", "--every", "100ms"])
        .args(["--samples", "12", "--port", &target.port.to_string(), "--record"])
        .arg(&record)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let looks = || std::fs::read_to_string(&record).map_or(0, |text| text.lines().count());
    wait_for("the first look", || looks() > 0);
    signal_pid(child.id(), Signal::HUP);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(0));
    assert_eq!(looks(), 12);
}

/// A terminal sends Ctrl-C to the worker too, which still has to answer for the summary.
#[test]
fn an_interrupted_series_of_requests_has_its_summary_whole() {
    let target = webui("");
    let child = common::interruptible()
        .args(["health", "--repeat", "50", "--json", "--port", &target.port.to_string()])
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The first request has a connection, and others follow each second.
    wait_for("a request", || common::was_connected(target.port));
    let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    let envelope: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((envelope["status"].as_str(), output.status.code()), (Some("healthy"), Some(0)), "{envelope:#}");
    assert_eq!(envelope["servers"][0]["gaps"], serde_json::json!([]), "{envelope:#}");
}

/// The earlier samples of the present servers are unknown, and all servers that appear later are new.
#[test]
fn servers_that_appear_after_an_unreadable_record_are_new() {
    let (there, directory) = (webui(""), tempfile::tempdir().unwrap());
    let (record, older) = (directory.path().join("flight.jsonl"), directory.path().join("flight.jsonl.1"));
    std::os::unix::fs::symlink(&older, &older).unwrap();
    let child = doctor()
        .args(["watch", "--every", "200ms", "--record"])
        .arg(&record)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines_of = |target: &common::Guard| -> Vec<String> {
        let text = std::fs::read_to_string(&record).unwrap_or_default();
        let home = target.home().to_str().unwrap().to_owned();
        text.lines().filter(|line| line.contains(&home)).map(str::to_owned).collect()
    };
    wait_for("the first look", || !lines_of(&there).is_empty());
    let later = webui("");
    wait_for("a look at the second", || !lines_of(&later).is_empty());
    signal_pid(child.id(), Signal::TERM);
    let errors = String::from_utf8(child.wait_with_output().unwrap().stderr).unwrap();
    assert!(errors.contains("so changes since then are not reported"), "{errors}");
    assert!(lines_of(&later)[0].contains("first sample: "), "{:?}", lines_of(&later));
    assert!(!lines_of(&there)[0].contains("first sample: "), "{:?}", lines_of(&there));
}

/// A sample of a stuck server takes longer than the interval: a signal is handled all the same.
#[test]
fn the_recorder_of_a_stuck_server_ends_on_a_signal() {
    let (target, directory) = (webui("deadlock"), tempfile::tempdir().unwrap());
    let record = directory.path().join("flight.jsonl");
    let child = doctor()
        .args(["watch", "--every", "100ms", "--timeout", "400ms", "--port", &target.port.to_string(), "--record"])
        .arg(&record)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("three looks", || std::fs::read_to_string(&record).is_ok_and(|text| text.lines().count() >= 3));
    let told = std::time::Instant::now();
    signal_pid(child.id(), Signal::TERM);
    let output = child.wait_with_output().unwrap();
    // One sample may have been in progress.
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert_eq!(output.status.code(), Some(2));
}

/// A recorder runs for weeks: it reaps the workers of each sample.
#[cfg(target_os = "linux")]
#[test]
fn many_samples_leave_no_zombie_processes() {
    let target = webui("");
    let record = target.home().join("record");
    let mut watch = doctor()
        .args(["watch", "--pid", &target.pid().to_string(), "--every", "1ms", "--samples", "60", "--record"])
        .arg(&record)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let pid = watch.id();
    let looks = || std::fs::read_to_string(&record).unwrap_or_default().lines().count();
    let mut most = 0;
    while watch.try_wait().unwrap().is_none() {
        most = most.max(common::zombies_of(pid));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(looks(), 60);
    // The worker of the last sample may just have ended.
    assert!(most <= 3, "{most} children that have ended and were not taken away");
}
