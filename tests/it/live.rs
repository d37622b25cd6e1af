//! The binary against live processes: Python servers with real SQLite handles, and their surroundings.

use crate::common;

use common::{
    doctor, finding, ids, program_file, roots, run, run_with, server, signal_pid, skipped, start, tool, wait_for,
    webui,
};
use rustix::process::Signal;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Asserts the finding and its severity, and that it is the only root cause.
fn verdict(what: &str, id: &str, severity: &str) -> serde_json::Value {
    let target = webui(what);
    let server = server(&format!("check --port {}", target.port));
    let found = finding(&server, id);
    assert_eq!(found["severity"], severity, "{what}: {server:#}");
    if severity == "info" {
        assert_eq!(server["status"], "healthy", "{what}: {server:#}");
    } else {
        assert_eq!(roots(&server), [id], "{what}: {server:#}");
    }
    assert!(!found["evidence"].as_array().unwrap().is_empty());
    server
}

#[test]
fn a_healthy_server_gets_no_alarm() {
    let target = webui("leak=13");
    for selection in [
        format!("--port {}", target.port),
        format!("--pid {}", target.pid()),
        format!("--home {}", target.home().display()),
        format!("--url http://127.0.0.1:{}", target.port),
        format!("--port {} --home {} --kind webui", target.port, target.home().display()),
    ] {
        let server = server(&format!("check {selection}"));
        assert_eq!(server["status"], "healthy", "{selection}: {server:#}");
        assert_eq!(server["kind"], "webui");
        assert_eq!(server["pid"], target.pid());
        assert_eq!(server["port"], target.port);
        assert_eq!(server["home"], target.home().to_str().unwrap());
        assert_eq!(ids(&server), ["unsupervised-server"], "{selection}: {server:#}");
        let family = &server["descriptors"]["sqlite"][0];
        assert_eq!(
            (family["db"].as_u64(), family["wal"].as_u64(), family["shm"].as_u64()),
            (Some(13), Some(13), Some(1))
        );
        assert_eq!(server["health"]["answer"]["status"], "ok");
        assert!(server["health"]["answer"]["accepted_total"].as_u64().unwrap() >= 1);
        assert_eq!(server["listeners"]["sockets"][0]["backlog"], 64);
        assert_eq!(server["listeners"]["sockets"][0]["holders"][0], target.pid());
    }
    // The server's files are unchanged: the same inodes, none unlinked.
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        assert!(target.home().join(name).exists(), "{name}");
    }
}

#[test]
fn an_open_discovery_finds_it_by_its_command_line() {
    let target = webui("");
    let envelope = run("check --json").json();
    let own = envelope["servers"].as_array().unwrap().iter().find(|server| server["pid"] == target.pid());
    let own = own.unwrap_or_else(|| panic!("{envelope:#}"));
    assert_eq!((own["kind"].as_str(), own["port"].as_u64()), (Some("webui"), Some(u64::from(target.port))));
    // Its home is examined, although only the server names it.
    assert_eq!(own["pid_files"][0]["state"], "live", "{own:#}");
}

/// Dozens of waiting interpreters look like servers; the one server among them is found.
#[test]
fn a_server_is_found_among_many_interpreters() {
    const MANY: &str = "\
import ctypes, os, signal
for _ in range(60):
    if os.fork() == 0:
        # They end with it (prctl(2), PR_SET_PDEATHSIG).
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
        signal.pause()
print('ready 1', flush=True)
signal.pause()
";
    let _many = start(Command::new("python3").args(["-c", MANY]));
    let target = webui("");
    let envelope = run("check --json").json();
    let found = envelope["servers"].as_array().unwrap().iter().any(|server| server["pid"] == target.pid());
    assert!(found, "{envelope:#}");
}

/// A descriptor that was opened before the server got its own mount namespace, like the log of a container.
#[test]
fn descriptors_from_outside_of_a_namespace_are_placed() {
    if !rustix::process::geteuid().is_root() {
        return skipped("descriptors_from_outside_of_a_namespace", "it takes root to make a namespace");
    }
    let home = common::home();
    let log = home.path().join("server.log");
    let target = common::start(
        Command::new("unshare")
            .args(["--mount", "--propagation", "private", "python3"])
            .arg(common::program_file("hermes-webui/server.py"))
            .stderr(std::fs::File::create(&log).unwrap())
            .env("HERMES_HOME", home.path())
            .env("TEST_SERVER", ""),
    );
    std::fs::remove_file(&log).unwrap();
    let server = common::server(&format!("fds --pid {}", target.pid()));
    assert_eq!(server["gaps"], serde_json::json!([]), "{server:#}");
    // The descriptor itself was queried: its size is known.
    let targets = server["descriptors"]["targets"].as_array().unwrap();
    let log = targets.iter().find(|target| target["deleted"] == true).unwrap_or_else(|| panic!("{server:#}"));
    assert_eq!(
        (&log["kind"], &log["size_bytes"]),
        (&serde_json::Value::from("regular"), &serde_json::Value::from(0)),
        "{server:#}"
    );
}

/// For a program that runs many times and is not a server, a sample of the processes is read, and the output
/// reports this. For a supervisor, which each service runs once, all processes are read.
#[test]
fn omitted_command_lines_are_reported() {
    if !rustix::process::geteuid().is_root() {
        return skipped("omitted_command_lines", "it takes root to make a namespace");
    }
    let directory = tempfile::tempdir().unwrap();
    for name in ["worker", "s6-supervise"] {
        let copied = Command::new("cp").arg("/bin/sleep").arg(directory.path().join(name)).status().unwrap();
        assert!(copied.success());
    }
    let look = |names: &str, command: &str| {
        let line = format!(
            "for name in {names}; do for number in $(seq 40); do {}/$name 60 & done; done; sleep 0.3; $0 {command} --json",
            directory.path().display()
        );
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--net", "--kill-child", "sh", "-c", &line]);
        let answer =
            run_with(command.arg(doctor().get_program()).env("HOME", "/nonexistent").env_remove("HERMES_HOME"));
        answer.json().to_string()
    };
    let checked = |gaps: &str| -> u64 {
        let (_, rest) = gaps.split_once("checked ").unwrap_or_else(|| panic!("{gaps}"));
        rest.split(' ').next().unwrap().parse().unwrap()
    };
    let (both, supervisors) = (look("worker s6-supervise", "check"), look("s6-supervise", "check"));
    assert!(both.contains("(not those of 8 processes that run the same program as many others)"), "{both}");
    assert!(supervisors.contains("command lines, the pid files"), "{supervisors}");
    assert!(checked(&supervisors) > 40, "{supervisors}");
    assert_eq!(checked(&both), checked(&supervisors) + 32);
    // An absent server that was selected could be one of them.
    let absent = look("worker", "check --kind webui");
    assert!(absent.contains("server-not-running") && absent.contains("command lines of 8 processes"), "{absent}");
}

#[test]
fn a_leak_is_a_level_then_critical() {
    let server = verdict("leak=40,limit=200", "state-db-handle-leak", "warning");
    assert!(finding(&server, "state-db-handle-leak")["title"].as_str().unwrap().contains("no trend yet"));
    let server = verdict("leak=105,limit=256", "state-db-handle-leak", "critical");
    assert_eq!(finding(&server, "descriptor-ceiling")["caused_by"][0], "state-db-handle-leak");
}

#[test]
fn thirty_handles_or_a_small_share_are_no_leak() {
    for what in ["leak=15,limit=100", "leak=40,limit=1000"] {
        let target = webui(what);
        let server = server(&format!("check --port {}", target.port));
        assert!(!ids(&server).contains(&"state-db-handle-leak".to_owned()), "{what}: {server:#}");
    }
}

#[test]
fn distinguishes_http_answers() {
    let server = verdict("degraded", "health-degraded", "critical");
    assert!(finding(&server, "health-degraded")["title"].as_str().unwrap().contains("state_db"));
    verdict("empty", "reply-empty", "critical");
    verdict("overload", "workers-exhausted", "critical");
    verdict("error", "health-unexpected-answer", "critical");
    verdict("html", "health-unexpected-answer", "warning");
    let server = verdict("redirect", "health-unexpected-answer", "info");
    assert!(!server.to_string().contains("canary-secret"), "{server:#}");
    verdict("ipv6", "wrong-address-family", "info");
}

#[test]
fn a_silent_handler_is_no_stalled_accept() {
    let target = webui("silent");
    let server = server(&format!("check --port {} --timeout 700ms", target.port));
    assert_eq!(roots(&server), ["http-no-answer"], "{server:#}");
    let title = finding(&server, "http-no-answer")["title"].as_str().unwrap();
    assert!(title.ends_with("the connection was accepted, and its handler waits for a timer"), "{title}");
    let look = &server["listeners"]["looks"].as_array().unwrap().last().unwrap().clone();
    assert_eq!((look["probe_accepted"].as_bool(), look["accept_queue"].as_u64()), (Some(true), Some(0)));
}

#[test]
fn a_url_of_the_other_family_or_scheme_is_information() {
    let target = webui("ipv6");
    let found = server(&format!("check --url http://127.0.0.1:{}", target.port));
    assert_eq!(finding(&found, "wrong-address-family")["severity"], "info");
    assert_eq!(found["status"], "healthy");
    let target = webui("");
    let found = server(&format!("health --url https://127.0.0.1:{}", target.port));
    assert_eq!(finding(&found, "wrong-scheme")["severity"], "info");
    assert_eq!(found["status"], "healthy");
}

#[test]
fn a_stopped_process_is_the_cause_of_its_silence() {
    let target = webui("");
    target.signal(Signal::STOP);
    let server = server(&format!("check --port {} --timeout 600ms", target.port));
    assert_eq!(roots(&server), ["process-stopped"], "{server:#}");
}

#[test]
fn zombies_count_from_ten_on() {
    verdict("zombies=12", "zombie-children", "warning");
    let target = webui("zombies=2");
    assert!(!ids(&server(&format!("check --port {}", target.port))).contains(&"zombie-children".to_owned()));
}

#[test]
fn unlinked_files_are_information() {
    let server = verdict("unlink", "deleted-files-held", "info");
    let target =
        server["descriptors"]["targets"].as_array().unwrap().iter().find(|target| target["deleted"] == true);
    assert_eq!(target.unwrap()["size_bytes"], 4096);
}

#[test]
fn a_file_named_deleted_is_not_unlinked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notes (deleted)");
    std::fs::write(&path, "x").unwrap();
    let file = std::fs::File::open(&path).unwrap();
    let mut child = Command::new("sleep").arg("60").stdin(Stdio::from(file)).spawn().unwrap();
    let found = server(&format!("fds --pid {}", child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!ids(&found).contains(&"deleted-files-held".to_owned()));
    let target =
        found["descriptors"]["targets"].as_array().unwrap().iter().find(|t| t["target"] == path.to_str().unwrap());
    assert_eq!(target.unwrap()["deleted"], false, "{found:#}");
}

/// One of each kind, made by a child of its own.
#[test]
fn every_kind_of_descriptor_is_counted() {
    let guard = start(Command::new("python3").arg(program_file("kinds.py")));
    let found = server(&format!("fds --pid {}", guard.pid()));
    let kinds = found["descriptors"]["by_kind"].as_object().unwrap();
    for (kind, least) in [
        ("regular", 1),
        ("directory", 1),
        ("device", 1),
        ("pipe", 2),
        ("unix", 2),
        ("tcp-listen", 1),
        ("tcp-established", 2),
        ("udp", 1),
        ("netlink", 1),
        ("eventfd", 1),
        ("epoll", 1),
        ("timerfd", 1),
        ("signalfd", 1),
        ("inotify", 1),
        ("memfd", 1),
        ("pidfd", 1),
    ] {
        assert!(kinds.get(kind).and_then(|count| count.as_u64()).unwrap_or(0) >= least, "{kind}: {kinds:#?}");
    }
    let total: u64 = kinds.values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(found["descriptors"]["open"], total);
    let socket =
        found["descriptors"]["sockets"].as_array().unwrap().iter().find(|s| s["state"] == "ESTABLISHED").unwrap();
    assert!(socket["local"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert!(socket["remote"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[test]
fn a_server_that_is_gone_is_critical_when_it_was_named() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = server(&format!("check --port {port}"));
    assert_eq!((server["status"].as_str(), roots(&server)), (Some("critical"), vec!["server-not-running"]));
    assert!(server["pid"].is_null());
    let home = common::home();
    std::fs::write(home.path().join("webui.pid"), "4000000\n").unwrap();
    let answer = run(&format!("check --home {} --json", home.path().display()));
    let server = &answer.json()["servers"][0];
    assert_eq!(roots(server), ["server-not-running"]);
    assert_eq!(finding(server, "stale-pid-file")["caused_by"][0], "server-not-running");
}

#[test]
fn a_pid_file_of_another_program_is_stale() {
    let target = webui("");
    std::fs::write(target.home().join("webui.pid"), std::process::id().to_string()).unwrap();
    let found = server(&format!("check --port {} --home {}", target.port, target.home().display()));
    assert_eq!(roots(&found), ["stale-pid-file"], "{found:#}");
    std::fs::write(target.home().join("webui.pid"), target.pid().to_string()).unwrap();
    let found = server(&format!("check --port {} --home {}", target.port, target.home().display()));
    assert_eq!(found["status"], "healthy");
    let record = format!("{{\"pid\": {}, \"start_time\": 12}}", target.pid());
    std::fs::write(target.home().join("webui.pid"), record).unwrap();
    let found = server(&format!("check --port {} --home {}", target.port, target.home().display()));
    assert!(
        finding(&found, "stale-pid-file")["title"].as_str().unwrap().contains("start time differs"),
        "{found:#}"
    );
}

/// A program that is not a Hermes server: no finding by itself, but a finding on a port where a Hermes server is
/// expected.
#[test]
fn another_program_is_an_alarm_only_where_a_hermes_server_belongs() {
    let guard = start(Command::new("python3").arg(program_file("other.py")));
    let found = server(&format!("check --port {}", guard.port));
    assert_eq!((found["kind"].as_str(), found["status"].as_str()), (Some("other"), Some("healthy")), "{found:#}");
    let found = server(&format!("check --pid {}", guard.pid()));
    assert_eq!((found["kind"].as_str(), found["status"].as_str()), (Some("other"), Some("healthy")), "{found:#}");
    let found = server(&format!("check --port {} --kind other", guard.port));
    assert_eq!(found["status"], "healthy");
    let found = server(&format!("check --port {} --kind webui", guard.port));
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("critical"), vec!["port-held-by-other-program"]));
    let home = common::home();
    std::fs::write(home.path().join(".env"), format!("HERMES_WEBUI_PORT={}\nSECRET=canary\n", guard.port)).unwrap();
    let found = server(&format!("check --home {}", home.path().display()));
    assert_eq!(roots(&found), ["port-held-by-other-program"], "{found:#}");
    assert!(!found.to_string().contains("canary"));
}

#[test]
fn a_pid_that_does_not_hold_the_port_is_examined_and_the_owner_reported() {
    let (asked, owner) = (webui(""), webui(""));
    let found = server(&format!("check --pid {} --port {}", asked.pid(), owner.port));
    assert_eq!(found["pid"], asked.pid());
    assert_eq!(roots(&found), ["port-owner-unexpected"], "{found:#}");
    let holder = &found["listeners"]["holders"][0];
    assert_eq!(
        (holder["pid"].as_u64(), holder["in_lineage"].as_bool()),
        (Some(u64::from(owner.pid())), Some(false))
    );
}

/// A listening socket that a child has inherited is held by both, and that is healthy.
#[test]
fn an_inherited_listener_has_two_holders() {
    let guard = start(Command::new("python3").arg(program_file("inherited.py")));
    let found = server(&format!("port --port {} --all-holders", guard.port));
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert_eq!(found["listeners"]["sockets"][0]["holders"].as_array().unwrap().len(), 2);
    assert_eq!(found["listeners"]["holders_complete"], true);
    assert_eq!(found["pid"], guard.pid());
    let likely = server(&format!("port --port {}", guard.port));
    assert_eq!(likely["listeners"]["sockets"][0]["holders"].as_array().unwrap().len(), 2);
    // To find the owner of the port of another program, all processes were read already; for a Hermes server only
    // the likely ones are read.
    assert_eq!(likely["listeners"]["holders_complete"], true);
    let target = webui("");
    let likely = server(&format!("port --port {}", target.port));
    assert_eq!(likely["listeners"]["sockets"][0]["holders"].as_array().unwrap().len(), 1);
    assert_eq!(likely["listeners"]["holders_complete"], false);
}

#[test]
fn connections_are_counted_by_state() {
    let guard = start(Command::new("python3").arg(program_file("queue.py")));
    let mut clients: Vec<TcpStream> =
        (0..3).map(|_| TcpStream::connect(("127.0.0.1", guard.port)).unwrap()).collect();
    // The server accepts one connection and leaves the others in its queue.
    clients[0].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    clients[0].read_exact(&mut [0; 1]).unwrap();
    clients.pop();
    wait_for("the connections", || {
        let found = server(&format!("port --port {}", guard.port));
        let counts = &found["listeners"]["connections"];
        counts["established"] == 1 && counts["close_wait"] == 1 && counts["not_accepted"] == 2
    });
}

/// Without HERMES_HOME the home is below the HOME variable of the server, not below that of its account.
#[test]
fn the_default_home_is_below_the_servers_own() {
    let user = tempfile::tempdir().unwrap();
    let home = user.path().join(".hermes");
    std::fs::create_dir(&home).unwrap();
    std::fs::write(home.join("config.yaml"), "").unwrap();
    let mut command = Command::new("python3");
    command.arg(program_file("hermes-webui/server.py")).env_remove("HERMES_HOME").env("HOME", user.path());
    let guard = start(&mut command);
    for command in ["check", "fds"] {
        let found = server(&format!("{command} --pid {}", guard.pid()));
        assert_eq!(found["home"], home.to_str().unwrap(), "{command}: {found:#}");
    }
    // The HOME that was read for this is not part of the report.
    assert!(!run(&format!("check --json --pid {}", guard.pid())).stdout.contains("user_home"));
}

/// Double-forked: its launcher has ended, no supervisor claims it, and the pid of its parent proves nothing.
#[test]
fn a_double_forked_server_is_unsupervised() {
    let home = common::home();
    let launcher = format!(
        "setsid python3 {} > {}/out 2>&1 & sleep 0.1",
        program_file("hermes-webui/server.py").display(),
        home.path().display()
    );
    Command::new("sh").args(["-c", &launcher]).env("HERMES_HOME", home.path()).status().unwrap();
    let mut port = 0;
    wait_for("the server", || {
        let text = std::fs::read_to_string(home.path().join("out")).unwrap_or_default();
        port = text.trim().strip_prefix("ready ").and_then(|port| port.parse().ok()).unwrap_or(0);
        port != 0
    });
    let found = server(&format!("check --port {port}"));
    signal_pid(u32::try_from(found["pid"].as_u64().unwrap()).unwrap(), Signal::KILL);
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert_eq!(ids(&found), ["unsupervised-server"]);
    assert_eq!(found["lineage"]["supervisor"]["kind"], "none");
    assert_eq!(found["lineage"]["hops"][0]["ppid"], found["lineage"]["hops"][1]["pid"]);
}

/// A shell loop that starts the server again is its supervisor, not a dashboard.
#[test]
fn a_shell_loop_is_a_supervisor() {
    let home = common::home();
    let script =
        format!("while true; do python3 {}; sleep 1; done", program_file("hermes-webui/server.py").display());
    let guard = start(Command::new("bash").args(["-c", &script]).env("HERMES_HOME", home.path()).process_group(0));
    let found = server(&format!("check --port {}", guard.port));
    let group = rustix::process::Pid::from_raw(i32::try_from(guard.pid()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, Signal::KILL).unwrap();
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert_eq!(found["lineage"]["supervisor"]["kind"], "respawn-loop");
    assert_eq!(found["lineage"]["supervisor"]["claims_this"], true);
    assert!(ids(&found).is_empty());
}

#[test]
fn a_real_supervisord_claims_its_program() {
    let Some(supervisord) = tool("supervisord") else {
        return skipped(
            "a_real_supervisord_claims_its_program",
            "supervisord is not installed (tests/run installs it)",
        );
    };
    let home = common::home();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let configuration = format!(
        "[supervisord]\nnodaemon=true\nlogfile={home}/supervisord.log\npidfile={home}/supervisord.pid\n\
         [program:hermes-webui]\ncommand=python3 {server}\nenvironment=HERMES_HOME=\"{home}\",PORT=\"{port}\"\n\
         stdout_logfile={home}/out\nstderr_logfile={home}/err\n",
        home = home.path().display(),
        server = program_file("hermes-webui/server.py").display(),
    );
    std::fs::write(home.path().join("supervisord.conf"), configuration).unwrap();
    let mut child = Command::new(supervisord)
        .args(["-c", home.path().join("supervisord.conf").to_str().unwrap()])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the server under supervisord", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    let found = server(&format!("check --port {port}"));
    signal_pid(child.id(), Signal::TERM);
    child.wait().unwrap();
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert!(ids(&found).is_empty(), "{found:#}");
    let supervisor = &found["lineage"]["supervisor"];
    assert_eq!(
        (supervisor["kind"].as_str(), supervisor["name"].as_str()),
        (Some("supervisord"), Some("hermes-webui"))
    );
    assert_eq!((supervisor["claims_this"].as_bool(), &supervisor["claimed_pid"]), (Some(true), &found["pid"]));
    assert_eq!(found["lineage"]["hops"][1]["role"], "supervisor");
    assert_eq!(found["lineage"]["markers"]["SUPERVISOR_ENABLED"], "1");
}

#[test]
fn another_host_is_examined_by_http_alone() {
    // A name under .invalid never resolves (RFC 6761).
    let found = server("check --url http://host.invalid:8787/health");
    assert_eq!(found["status"], "unknown", "{found:#}");
    assert_eq!(found["health"]["outcome"], "resolve_failed");
    let gaps: Vec<&str> =
        found["gaps"].as_array().unwrap().iter().map(|gap| gap["what"].as_str().unwrap()).collect();
    assert!(gaps.contains(&"descriptors") && gaps.contains(&"lineage"), "{gaps:?}");
}

/// Responses that arrive slowly, never end, or are not HTTP: an answer within the budget, with bounded memory.
#[test]
fn hostile_answers_end_in_time() {
    for (what, least) in [
        ("drip", "http-no-answer"),
        ("endless", "http-no-answer"),
        ("escape", "health-unexpected-answer"),
        ("garbage", "health-unexpected-answer"),
    ] {
        let guard = start(Command::new("python3").arg(program_file("hostile.py")).arg(what));
        let begun = std::time::Instant::now();
        let answer = run(&format!("check --port {} --kind webui --timeout 500ms --budget 3s", guard.port));
        assert!(begun.elapsed() < Duration::from_secs(10), "{what} took {:?}", begun.elapsed());
        assert!(!answer.stdout.contains('\u{1b}'), "{what}");
        let json = run(&format!("check --port {} --kind webui --timeout 500ms --budget 3s --json", guard.port));
        let server = &json.json()["servers"][0];
        assert!(ids(server).contains(&least.to_owned()), "{what}: {server:#}");
    }
}

/// Descriptors of a process that keeps opening and closing them, and a process that ends during the examination.
#[test]
fn processes_may_change_during_the_examination() {
    let guard = start(Command::new("python3").arg(program_file("churn.py")));
    for _ in 0..5 {
        let answer = run(&format!("fds --pid {} --json", guard.pid()));
        assert!(matches!(answer.exit, 0..=3), "{}", answer.stderr);
        answer.json();
    }
    for _ in 0..5 {
        let mut short = Command::new("sleep").arg("0.01").spawn().unwrap();
        let answer = run(&format!("check --pid {} --json", short.id()));
        answer.json();
        short.wait().unwrap();
    }
}

#[test]
fn proxies_of_the_environment_are_ignored_and_reported() {
    let target = webui("");
    let answer = run_with(
        doctor()
            .args(["health", "--json", "--port", &target.port.to_string()])
            .env("http_proxy", "http://user:canary@127.0.0.1:9"),
    );
    let server = &answer.json()["servers"][0];
    assert_eq!(server["health"]["outcome"], "ok");
    assert_eq!(server["health"]["ignored_proxies"][0], "http_proxy");
    assert!(!answer.stdout.contains("canary"));
}

#[test]
fn secrets_of_command_lines_do_not_leave() {
    let home = common::home();
    let guard = start(
        Command::new("python3")
            .arg(program_file("hermes-webui/server.py"))
            .args([
                "--token",
                "canary-one",
                "--api-key=canary-two",
                "https://u:canary-three@h/?q=canary-four",
                "MY_SECRET=canary-five",
            ])
            .env("HERMES_HOME", home.path())
            .env("OPENAI_API_KEY", "canary-six"),
    );
    for arguments in ["--json", "--verbose", "lineage --verbose", "port --json"] {
        let answer = run(&format!("{arguments} --port {}", guard.port));
        assert!(!answer.stdout.contains("canary"), "{arguments}: {}", answer.stdout);
        assert!(answer.stdout.contains("--token ***") || arguments.starts_with("port"), "{}", answer.stdout);
    }
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    let target = webui("");
    let mut child = doctor()
        .args(["check", "--json", "--port", &target.port.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    child.wait().unwrap();
    assert!(!stderr.contains("panic"), "{stderr}");
    std::io::stdout().flush().unwrap();
}

/// A descriptor that cannot be read is a row with its reason, and still counted.
#[test]
fn an_unreadable_descriptor_is_a_row() {
    let directory = tempfile::tempdir().unwrap();
    let guard = start(Command::new("python3").arg(program_file("deep.py")).arg(directory.path()));
    let found = server(&format!("fds --pid {}", guard.pid()));
    assert_eq!(found["descriptors"]["by_kind"]["unreadable"], 1, "{found:#}");
    let rows = found["descriptors"]["targets"].as_array().unwrap();
    let row = rows.iter().find(|row| row["kind"] == "unreadable").unwrap();
    assert!(row["target"].as_str().unwrap().contains("name too long"), "{row}");
    let total: u64 =
        found["descriptors"]["by_kind"].as_object().unwrap().values().map(|n| n.as_u64().unwrap()).sum();
    assert_eq!(found["descriptors"]["open"], total);
}
