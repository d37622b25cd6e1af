//! The binary against servers that do not answer, each for another reason, and for each one a healthy server that
//! looks similar.

use crate::common;

use common::{
    Guard, finding, home, ids, program_file, roots, run, run_with, server, signal_pid, start, wait_for, webui,
};
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Short deadlines: a stuck server stays stuck.
const QUICK: &str = "--timeout 800ms";

fn check(target: &Guard) -> Value {
    server(&format!("check --port {} {QUICK}", target.port))
}

/// A client that has sent its request and waits.
fn ask(port: u16, path: &str) -> TcpStream {
    let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    client.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
    client
}

fn evidence<'a>(finding: &'a Value, fact: &str) -> &'a Value {
    let all = finding["evidence"].as_array().unwrap();
    let found = all.iter().find(|item| item["fact"].as_str().unwrap().starts_with(fact));
    &found.unwrap_or_else(|| panic!("no {fact} in {finding:#}"))["value"]
}

/// Every handler waits for one lock; the accept loop is free.
#[test]
fn handlers_that_wait_for_one_lock_are_stuck() {
    let target = webui("deadlock");
    let mut clients: Vec<TcpStream> = (0..4).map(|_| ask(target.port, "/health")).collect();
    // A client that has closed its connection: the server keeps the socket, in CLOSE-WAIT.
    drop(clients.pop());
    let found = check(&target);
    assert_eq!(roots(&found), ["handlers-stuck"], "{found:#}");
    let stuck = finding(&found, "handlers-stuck");
    assert_eq!(stuck["title"], "5 accepted requests have no answer; the handler of this request waits for a lock");
    assert_eq!(*evidence(stuck, "accepted connections that were sent no byte"), 5);
    assert_eq!(*evidence(stuck, "threads that wait for a lock"), 5);
    assert!(!ids(&found).contains(&"http-no-answer".to_owned()), "{found:#}");
    let activity = &found["health"]["activity"];
    assert!(activity["between_ms"].as_u64().unwrap() >= 400, "{activity:#}");
    assert!(
        activity["threads"][0]["is_main"] == true && activity["cpu_ms"].as_u64().unwrap() < 200,
        "{activity:#}"
    );
}

/// Two locks taken in opposite order look the same from outside.
#[test]
fn crossed_locks_stick_the_handlers_too() {
    let target = webui("crossed");
    assert_eq!(roots(&check(&target)), ["handlers-stuck"]);
}

/// Streams and long polls stay open by design: some bytes were received, and the server is healthy.
#[test]
fn open_streams_are_healthy() {
    let target = webui("");
    let mut clients: Vec<TcpStream> = (0..12).map(|_| ask(target.port, "/api/stream")).collect();
    for client in &mut clients {
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        client.read_exact(&mut [0; 1]).unwrap();
    }
    let found = check(&target);
    assert_eq!((found["status"].as_str(), ids(&found)), (Some("healthy"), vec!["unsupervised-server".to_owned()]));
    assert_eq!(found["listeners"]["connections"]["established"], 12, "{found:#}");
    // If handlers are stuck too, the streams are not counted with them.
    drop(target);
    let target = webui("deadlock");
    let mut streams: Vec<TcpStream> = (0..6).map(|_| ask(target.port, "/api/stream")).collect();
    streams.iter_mut().for_each(|client| client.read_exact(&mut [0; 1]).unwrap());
    let waiting = ask(target.port, "/health");
    let found = check(&target);
    assert_eq!(*evidence(finding(&found, "handlers-stuck"), "accepted connections that were sent no byte"), 2);
    drop((streams, waiting));
}

/// The health path answers in a moment, the list of sessions waits for a lock.
#[test]
fn one_locked_route_is_found_although_the_health_path_answers() {
    let target = webui("route-lock");
    let found = check(&target);
    assert_eq!(found["health"]["outcome"], "ok");
    assert_eq!(roots(&found), ["handlers-stuck"], "{found:#}");
    let (stuck, slow) = (finding(&found, "handlers-stuck"), finding(&found, "route-slow"));
    assert_eq!(
        (stuck["subject"].as_str(), slow["subject"].as_str()),
        (Some("/api/sessions"), Some("/api/sessions"))
    );
    assert_eq!(
        (slow["severity"].as_str(), slow["caused_by"][0].as_str()),
        (Some("critical"), Some("handlers-stuck"))
    );
    assert_eq!(found["health"]["routes"][0]["deadline_ms"], 2400);
    // Only the given routes are requested.
    let named = server(&format!("check --port {} {QUICK} --route /health --route /api/nothing", target.port));
    assert_eq!(named["status"], "healthy", "{named:#}");
    let paths: Vec<&str> =
        named["health"]["routes"].as_array().unwrap().iter().map(|route| route["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["/health", "/api/nothing"]);
}

/// A late route within two minutes of the start is a first start with migrations; later it is a warning
/// (tests/it/fixtures.rs).
#[test]
fn a_first_start_that_takes_long_is_information() {
    let target = webui("slow-route=2500");
    let found = server(&format!("check --port {} --timeout 700ms", target.port));
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert_eq!(finding(&found, "route-slow")["severity"], "info");
}

/// A waiting thread does not migrate: a route without an answer is critical, however young the server.
#[test]
fn a_route_that_only_waits_is_no_first_start() {
    let target = webui("waiting-route=60000");
    let found = check(&target);
    assert_eq!(roots(&found), ["route-slow"], "{found:#}");
    assert_eq!(finding(&found, "route-slow")["severity"], "critical");
}

/// A deadline that the budget has shortened shows nothing about the route.
#[test]
fn a_route_without_its_time_is_not_judged() {
    let target = webui("waiting-route=1500");
    let found = server(&format!("health --port {} --timeout 2s --budget 1s", target.port));
    assert!(!ids(&found).contains(&"route-slow".to_owned()), "{found:#}");
    assert!(found["gaps"].to_string().contains("too little time"), "{found:#}");
}

/// The problem of one route is not the cause of another route's delay.
#[test]
fn each_route_has_its_own_cause() {
    let target = webui("route-lock");
    let routes = "--route /api/sessions --route /api/stuck --timeout 500ms";
    let found = server(&format!("check --port {} {routes}", target.port));
    let slow: Vec<&Value> =
        found["findings"].as_array().unwrap().iter().filter(|finding| finding["id"] == "route-slow").collect();
    let causes: Vec<(&str, usize)> = slow
        .iter()
        .map(|finding| (finding["subject"].as_str().unwrap(), finding["caused_by"].as_array().unwrap().len()))
        .collect();
    assert!(causes.contains(&("/api/sessions", 1)) && causes.contains(&("/api/stuck", 0)), "{found:#}");
    let text = run(&format!("check --port {} {routes}", target.port)).stdout;
    assert_eq!(text.matches("/api/stuck: no byte").count(), 1, "{text}");
}

/// Late is not stuck: a handler that waits for a time, or for the CPU, makes progress.
#[test]
fn slow_handlers_are_not_stuck() {
    let target = webui("slow=60000");
    let found = check(&target);
    assert_eq!(roots(&found), ["http-no-answer"], "{found:#}");
    assert!(finding(&found, "http-no-answer")["title"].as_str().unwrap().contains("waits for a timer"));
    // Several handlers that compute share one interpreter; each runs, though none for long.
    let target = webui("slow-route=60000");
    let clients: Vec<TcpStream> = (0..6).map(|_| ask(target.port, "/api/sessions")).collect();
    let found = server(&format!("check --port {} {QUICK} --route /api/sessions", target.port));
    assert!(!ids(&found).contains(&"handlers-stuck".to_owned()), "{found:#}");
    drop(clients);
}

/// A slow reader that keeps reading.
#[test]
fn a_slow_reader_is_no_full_pipe() {
    let code = "import os, time\nwhile os.read(0, 65536): time.sleep(0.4)";
    let (target, mut reader, _home) = piped(Command::new("python3").args(["-c", code]));
    let clients: Vec<TcpStream> = (0..6).map(|_| ask(target.port, "/health")).collect();
    let found = server(&format!("check --port {} --timeout 1500ms", target.port));
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert!(!ids(&found).contains(&"output-pipe-full".to_owned()), "{found:#}");
    drop(clients);
}

/// If it is stopped and continued while it waits (Ctrl-Z and fg), an interrupted read is not reported as a problem
/// of the server.
#[test]
fn an_interruption_is_no_reset() {
    let target = webui("slow=1200");
    let doctor = common::doctor()
        .args(["check", "--json", "--port", &target.port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the request", || common::established(target.port) > 0);
    signal_pid(doctor.id(), Signal::STOP);
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", doctor.id())).unwrap_or_default();
    wait_for("the stop", || state().contains(") T "));
    signal_pid(doctor.id(), Signal::CONT);
    let output = doctor.wait_with_output().unwrap();
    let envelope: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(envelope["servers"][0]["health"]["outcome"], "ok", "{envelope:#}");
}

/// It listens, works, and accepts only after that: unknown until it is old enough.
#[test]
fn a_first_start_that_works_before_it_accepts_is_unknown() {
    let target = webui("first-start=6000");
    let found = check(&target);
    assert_eq!((found["status"].as_str(), roots(&found).len()), (Some("unknown"), 0), "{found:#}");
    let gap = found["gaps"].as_array().unwrap().iter().find(|gap| gap["what"] == "HTTP of a server that starts");
    assert!(gap.unwrap()["detail"].as_str().unwrap().contains("examine it again in half a minute"), "{found:#}");
    wait_for("its start", || check(&target)["status"] == "healthy");
}

/// A stream that was named as a route is answered by its first bytes: it has no end.
#[test]
fn the_first_bytes_of_a_requested_stream_are_an_answer() {
    let target = webui("");
    let found = server(&format!("check --port {} {QUICK} --route /api/stream", target.port));
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert_eq!(found["health"]["routes"][0]["attempt"]["outcome"], "ok");
}

/// A program that is not a Hermes server may wait for more data from its client: its waiting handler is not stuck.
#[test]
fn handlers_of_another_program_are_not_judged() {
    let code = "import socketserver\nclass H(socketserver.BaseRequestHandler):\n    def handle(self):\n        while self.request.recv(100): pass\n\
                class S(socketserver.ThreadingMixIn, socketserver.TCPServer): daemon_threads = True\n\
                s = S(('127.0.0.1', 0), H)\nprint('ready', s.server_address[1], flush=True)\ns.serve_forever()";
    let target = start(Command::new("python3").arg("-c").arg(code));
    let found = check(&target);
    assert_eq!(found["kind"], "other");
    assert_eq!(roots(&found), ["http-no-answer"], "{found:#}");
}

/// The list of sessions is the route that leaked, so it is not requested near the limit.
#[test]
fn routes_are_not_requested_near_the_descriptor_limit() {
    let target = webui("leak=50,limit=120");
    let found = check(&target);
    assert!(found["health"]["routes"].is_null(), "{found:#}");
    let gap = found["gaps"].as_array().unwrap().iter().find(|gap| gap["what"] == "other routes").unwrap();
    assert!(gap["detail"].as_str().unwrap().contains("near the descriptor limit"), "{gap}");
    let named = server(&format!("check --port {} {QUICK} --route /api/sessions", target.port));
    assert!(named["health"]["routes"].is_null(), "{named:#}");
}

/// The accept loop itself waits for a lock; with enough clients its queue is full.
#[test]
fn an_accept_loop_that_waits_for_a_lock() {
    let target = webui("accept-lock");
    let clients: Vec<TcpStream> = (0..3).map(|_| ask(target.port, "/health")).collect();
    let found = check(&target);
    assert_eq!(roots(&found), ["accept-stalled"], "{found:#}");
    let stalled = finding(&found, "accept-stalled");
    assert_eq!(
        stalled["title"],
        "4 connections are pending; the server has not accepted them; the main thread waits for a lock"
    );
    assert!(evidence(stalled, "main thread").as_str().unwrap().contains("futex"), "{stalled:#}");
    // The kernel drops connections that do not fit into the queue, so these clients do not wait for the connection.
    let more: Vec<Child> = (0..70)
        .map(|_| {
            let code = "import socket,sys,time\ns=socket.socket()\ns.setblocking(False)\ntry: s.connect(('127.0.0.1',int(sys.argv[1])))\nexcept BlockingIOError: pass\ntime.sleep(60)";
            Command::new("python3").args(["-S", "-c", code, &target.port.to_string()]).spawn().unwrap()
        })
        .collect();
    wait_for("a full queue", || {
        let found = server(&format!("port {}", target.port));
        found["listeners"]["sockets"][0]["accept_queue"].as_u64().unwrap() > 64
    });
    let found = check(&target);
    for mut child in more {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert_eq!(roots(&found), ["accept-stalled"], "{found:#}");
    assert_eq!(finding(&found, "backlog-full")["caused_by"][0], "accept-stalled");
    drop(clients);
}

/// A regular expression that never ends holds the interpreter lock; a computation in Python releases it.
#[test]
fn a_call_into_c_keeps_the_interpreter() {
    let target = webui("gil");
    wait_for("the call", || {
        let mut client = ask(target.port, "/health");
        client.set_read_timeout(Some(Duration::from_millis(400))).unwrap();
        client.read(&mut [0; 1]).is_err()
    });
    // On an overloaded machine neither the holder nor the waiting threads run as usual, so the result is undecided.
    let mut found = check(&target);
    for _ in 0..4 {
        assert!(["gil-held", "accept-stalled"].contains(&roots(&found)[0]), "{found:#}");
        if roots(&found) == ["gil-held"] {
            break;
        }
        found = check(&target);
    }
    assert_eq!(roots(&found), ["gil-held"], "{found:#}");
    assert_eq!(finding(&found, "accept-stalled")["caused_by"][0], "gil-held");
    let target = webui("busy");
    let found = check(&target);
    assert_eq!(found["status"], "healthy", "{found:#}");
    // A busy server and a deadlock are different: the handlers do not wait for the computation.
    let target = webui("busy,deadlock");
    assert_eq!(roots(&check(&target)), ["handlers-stuck"]);
}

/// No number below the limit is free; an inherited descriptor may be above it.
fn all_taken(target: &Guard, limit: u32) -> bool {
    (0..limit).all(|fd| Path::new(&format!("/proc/{}/fd/{fd}", target.pid())).is_symlink())
}

/// The descriptors that fill the limit are the cause: handles of a database, or anything else.
#[test]
fn the_cause_of_the_ceiling_is_the_kind_of_descriptor_that_fills_it() {
    let target = webui("fill=db,limit=64");
    wait_for("the ceiling", || all_taken(&target, 64));
    let found = check(&target);
    assert_eq!(roots(&found), ["state-db-handle-leak"], "{found:#}");
    assert_eq!(finding(&found, "accept-stalled")["caused_by"][0], "descriptor-ceiling");
    let main = evidence(finding(&found, "accept-stalled"), "main thread").as_str().unwrap().to_owned();
    assert!(main.contains(" CPU"), "{main}");
    let target = webui("fill=sockets,limit=64");
    wait_for("the ceiling", || all_taken(&target, 64));
    let found = check(&target);
    assert_eq!(roots(&found), ["descriptor-ceiling"], "{found:#}");
    assert_eq!(finding(&found, "accept-stalled")["caused_by"][0], "descriptor-ceiling");
}

/// A server whose standard output is a pipe to another program.
fn piped(reader: &mut Command) -> (Guard, Child, tempfile::TempDir) {
    let home = home();
    let mut child = Command::new("python3")
        .arg(program_file("hermes-webui/server.py"))
        .env("HERMES_HOME", home.path())
        .env("TEST_SERVER", "chatty")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let port = line.trim().strip_prefix("ready ").unwrap().parse().unwrap();
    let reader = reader.stdin(Stdio::from(output.into_inner())).stdout(Stdio::null()).spawn().unwrap();
    (Guard { child, port, home: None }, reader, home)
}

#[test]
fn a_full_output_pipe_is_reported_with_its_reader() {
    let (target, mut reader, _home) = piped(Command::new("cat").arg("-"));
    let found = check(&target);
    assert_eq!(found["status"], "healthy", "{found:#}");
    signal_pid(reader.id(), Signal::STOP);
    let clients: Vec<TcpStream> = (0..2).map(|_| ask(target.port, "/health")).collect();
    let found = check(&target);
    let pid = reader.id();
    signal_pid(pid, Signal::CONT);
    reader.kill().unwrap();
    reader.wait().unwrap();
    assert_eq!(roots(&found), ["output-pipe-full"], "{found:#}");
    let full = finding(&found, "output-pipe-full");
    let expected = format!("to write to standard output; its reader, cat (pid {pid}, stopped), does not read");
    assert!(full["title"].as_str().unwrap().ends_with(&expected), "{full:#}");
    assert!(full["next"].to_string().contains(&format!("kill -CONT {pid}")), "{full:#}");
    assert_eq!(finding(&found, "handlers-stuck")["caused_by"][0], "output-pipe-full");
    drop(clients);
}

/// The child of a vfork has not reached its exec: its parent waits in the kernel, in state D.
#[test]
fn a_thread_that_waits_in_the_kernel() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let target = webui(&format!("dstate={}", fifo.display()));
    let stat = format!("/proc/{}/stat", target.pid());
    wait_for("state D", || std::fs::read_to_string(&stat).unwrap().contains(") D "));
    let found = check(&target);
    // The child opens the other end, goes on and ends.
    drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
    assert_eq!(roots(&found), ["uninterruptible-sleep"], "{found:#}");
    assert_eq!(finding(&found, "accept-stalled")["caused_by"][0], "uninterruptible-sleep");
    wait_for("an answer", || check(&target)["status"] == "healthy");
}

/// A lock on state.db that another process holds for the whole examination makes the route wait, but not the health
/// path.
#[test]
fn a_locked_database_is_the_cause_of_a_slow_route() {
    let target = webui("writes");
    let path = target.home().join("state.db");
    let writer = start(Command::new("python3").arg(program_file("database.py")).arg(&path).arg("writer"));
    let found = check(&target);
    assert_eq!(found["health"]["outcome"], "ok");
    assert_eq!(roots(&found), ["database-lock-held"], "{found:#}");
    let held = finding(&found, "database-lock-held");
    assert_eq!(held["severity"], "critical");
    assert!(held["title"].as_str().unwrap().contains(&writer.pid().to_string()), "{held:#}");
    assert_eq!(finding(&found, "route-slow")["caused_by"][0], "database-lock-held");
    // The lock is held, and no request waits for it: a warning.
    let target = webui("");
    let path = target.home().join("state.db");
    let _writer = start(Command::new("python3").arg(program_file("database.py")).arg(&path).arg("writer"));
    let found = check(&target);
    assert_eq!(finding(&found, "database-lock-held")["severity"], "warning", "{found:#}");
}

/// Every worker slot is in use: the overflow path answers without a body.
#[test]
fn workers_that_are_all_busy() {
    let target = webui("workers=128");
    let clients: Vec<TcpStream> = (0..128).map(|_| ask(target.port, "/api/stuck")).collect();
    wait_for("every worker", || std::fs::read_dir(format!("/proc/{}/task", target.pid())).unwrap().count() >= 129);
    let found = check(&target);
    assert_eq!(roots(&found), ["workers-exhausted"], "{found:#}");
    let activity = &found["health"]["activity"];
    assert!(activity["threads"].as_array().unwrap().len() >= 129, "{activity:#}");
    drop(clients);
    // One slot fewer in use is a healthy server.
    let target = webui("workers=4");
    let clients: Vec<TcpStream> = (0..2).map(|_| ask(target.port, "/api/stuck")).collect();
    assert_eq!(check(&target)["status"], "healthy");
    drop(clients);
}

#[test]
fn many_requests_are_summed_up() {
    let target = webui("");
    let found = server(&format!("health --port {} --repeat 25 --every 10ms", target.port));
    let series = &found["health"]["series"];
    assert_eq!((series["requests"].as_u64(), series["planned"].as_u64()), (Some(25), Some(25)), "{series:#}");
    assert_eq!(series["outcomes"][0]["outcome"], "ok");
    let whole = series["phases"].as_array().unwrap().last().unwrap();
    assert!(whole["phase"].is_null() && whole["count"] == 25);
    let times: Vec<f64> =
        ["min_ms", "median_ms", "p99_ms", "max_ms"].iter().map(|name| whole[name].as_f64().unwrap()).collect();
    assert!(times.is_sorted() && times[0] > 0.0, "{times:?}");
    let text = run(&format!("health --port {} --repeat 3 --every 1ms", target.port)).stdout;
    assert!(text.contains("3 of 3 requests: 3 healthy answer") && text.contains("MEDIAN"), "{text}");
}

/// Many requests could exhaust a server that leaks: they stop before its limit, and the descriptors that they left
/// open are reported.
#[test]
fn many_requests_do_not_drive_a_leak_to_its_limit() {
    let target = webui("leak-fds=3,limit=128");
    let found = server(&format!("health --port {} --repeat 60 --every 10ms", target.port));
    assert_eq!(roots(&found), ["descriptor-growth"], "{found:#}");
    let open = found["health"]["series"]["open_after"].as_u64().unwrap();
    assert!((102..120).contains(&open), "{open}");
    assert!(found["gaps"].to_string().contains("near its descriptor limit"), "{found:#}");
    // A server that ends meanwhile gets no more requests, and is reported as not running.
    let target = webui("die=5");
    let answer = run(&format!("health --port {} --repeat 60 --every 10ms --json", target.port)).json();
    let found = &answer["servers"][0];
    assert_eq!(found["status"], "critical", "{found:#}");
    assert!(ids(found).contains(&"server-not-running".to_owned()), "{found:#}");
    assert!(found["health"]["series"]["requests"].as_u64().unwrap() < 20, "{found:#}");
}

/// For every problem there is an answer within the budget, and with a short budget a partial one.
#[test]
fn a_wedged_server_is_examined_within_the_budget() {
    // Generous: on an overloaded machine processes start and are reaped slowly.
    const ALLOWANCE: Duration = Duration::from_secs(6);
    for what in ["deadlock", "accept-lock", "route-lock", "fill=sockets,limit=64"] {
        let target = webui(what);
        let begun = Instant::now();
        let found = server(&format!("check --port {}", target.port));
        assert!(begun.elapsed() < Duration::from_secs(10) + ALLOWANCE, "{what} took {:?}", begun.elapsed());
        assert_eq!(found["status"], "critical", "{what}: {found:#}");
        let begun = Instant::now();
        let answer = run(&format!("check --port {} --budget 700ms --json", target.port));
        assert!(begun.elapsed() < Duration::from_millis(700) + ALLOWANCE, "{what} took {:?}", begun.elapsed());
        // A busy machine may not even find the process in that time, and then reports this.
        let envelope = answer.json();
        let server = &envelope["servers"][0];
        assert_eq!(server["port"], target.port, "{what}: {envelope:#}");
        assert!(server["pid"] == target.pid() || !server["gaps"].as_array().unwrap().is_empty(), "{envelope:#}");
    }
}

/// A host at its own limits: few descriptors, a full disk for temporary files, hardly any memory.
#[test]
fn it_answers_on_a_machine_at_its_own_limits() {
    let target = webui("deadlock");
    let program = common::program();
    for limits in ["ulimit -n 24", "ulimit -v 65536", "ulimit -n 24; ulimit -v 65536; ulimit -f 0"] {
        let line = format!("{limits}; exec {program} check --port {} {QUICK} --json", target.port);
        let answer = run_with(
            Command::new("sh").arg("-c").arg(&line).env("TMPDIR", "/nonexistent").env("HOME", "/nonexistent"),
        );
        let envelope = answer.json();
        assert_eq!(roots(&envelope["servers"][0]), ["handlers-stuck"], "{limits}: {} {envelope:#}", answer.stderr);
    }
    let full = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("full-{}", std::process::id()));
    std::fs::create_dir_all(&full).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "none"]).arg(&full).status();
    if mount.is_ok_and(|status| status.success()) {
        let _ = std::fs::write(full.join("rest"), vec![0; 64 * 1024]);
        let answer = run_with(
            common::doctor()
                .args(["check", "--json", "--timeout", "800ms", "--port"])
                .arg(target.port.to_string())
                .env("TMPDIR", &full),
        );
        let envelope = answer.json();
        Command::new("umount").arg(&full).status().unwrap();
        assert_eq!(roots(&envelope["servers"][0]), ["handlers-stuck"], "{envelope:#}");
    } else {
        common::skipped(
            "it_answers_on_a_machine_at_its_own_limits",
            "a full filesystem takes the right to mount one",
        );
    }
    let _ = std::fs::remove_dir(&full);
}
