//! Healthy hosts that look faulty, and faulty hosts that look healthy: each once had a wrong verdict, or could have
//! one.

use crate::common;

use common::{
    Guard, doctor, finding, home, ids, program_file, roots, run, run_with, server, skipped, start, wait_for, webui,
};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// A copy of `plain.py` at a given path, so that its command line is as the test needs it.
fn placed(directory: &Path, name: &str) -> std::path::PathBuf {
    std::fs::create_dir_all(directory).unwrap();
    let path = directory.join(name);
    std::fs::copy(program_file("plain.py"), &path).unwrap();
    path
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The servers among these pids that a run without a selection finds.
fn discovered(pids: &[u32]) -> Vec<serde_json::Value> {
    let envelope = run("check --json").json();
    let servers = envelope["servers"].as_array().unwrap();
    servers.iter().filter(|server| pids.iter().any(|pid| server["pid"] == *pid)).cloned().collect()
}

/// An MCP server of the agent has the name server.py, is in the home, inherits HERMES_HOME and listens on no port.
#[test]
fn an_mcp_child_in_the_home_is_no_webui() {
    let home = home();
    let script = placed(&home.path().join(".hermes/mcp/notes"), "server.py");
    let child = start(Command::new("python3").arg(script).env("LISTEN", "no").env("HERMES_HOME", home.path()));
    assert!(discovered(&[child.pid()]).is_empty());
}

/// A blog of a user with the name hermes.
#[test]
fn a_program_of_a_user_called_hermes_is_no_webui() {
    let home = home();
    let script = placed(&home.path().join("hermes/blog"), "server.py");
    let guard = start(Command::new("python3").arg(script).args(["127.0.0.1", "0"]).env_remove("HERMES_HOME"));
    // Its path makes it a candidate, but it needs more evidence to be a WebUI. Examined by its port, it is healthy.
    let found = server(&format!("check --port {}", guard.port));
    assert_eq!(found["status"], "healthy", "{found:#}");
}

/// The server never bound its port, so an answer from that port is from another server.
#[test]
fn a_server_without_listener_does_not_borrow_an_answer() {
    let home = home();
    let script = placed(&home.path().join("hermes-webui"), "server.py");
    let child = start(Command::new("python3").arg(&script).env("LISTEN", "no").env("HERMES_HOME", home.path()));
    let found = server(&format!("check --pid {}", child.pid()));
    assert_eq!(found["kind"], "webui");
    assert!(found["health"]["attempts"].as_array().unwrap().is_empty(), "{found:#}");
    // It is so young that it may be starting, so its status is unknown.
    assert_eq!(found["status"], "unknown", "{found:#}");
}

#[test]
fn selectors_that_contradict_each_other_are_refused() {
    for arguments in [
        "check --url http://127.0.0.1:8787 --port 8799",
        "check --url http://host.invalid:8787 --pid 1",
        "check --url http://host.invalid:8787 --home /tmp",
        "check --url http://127.0.0.1:0",
        "port 8787 --port 8788",
        "--port 8788 port 8787",
    ] {
        let answer = run(arguments);
        assert_eq!(answer.exit, 3, "{arguments}: {}", answer.stdout);
        assert!(!answer.stderr.is_empty(), "{arguments}");
        assert_eq!(run(&format!("{arguments} --json")).json()["status"], "unknown", "{arguments}");
    }
    let port = free_port();
    assert_eq!(run(&format!("port {port} --port {port} --json")).json()["servers"][0]["port"], port);
}

/// A server is not reported as absent if there was no time for a search.
#[test]
fn no_time_for_a_search_is_not_reported_as_absence() {
    let _target = webui("");
    let answer = run("check --kind webui --budget 1ms --json");
    let envelope = answer.json();
    assert_ne!(envelope["status"], "critical", "{envelope:#}");
    assert_ne!(envelope["status"], "healthy", "{envelope:#}");
}

#[test]
fn a_server_of_another_kind_on_the_port_is_unexpected() {
    let target = webui("");
    let found = server(&format!("check --port {} --kind gateway", target.port));
    assert_eq!(roots(&found), ["port-owner-unexpected"], "{found:#}");
}

#[test]
fn a_server_of_another_home_on_the_port_is_unexpected() {
    let target = webui("");
    let other = home();
    std::fs::write(other.path().join("webui.ctl.env"), format!("PORT={}\n", target.port)).unwrap();
    for selection in [
        format!("--home {}", other.path().display()),
        format!("--home {} --port {}", other.path().display(), target.port),
    ] {
        let found = server(&format!("check {selection}"));
        assert_eq!(roots(&found), ["port-owner-unexpected"], "{selection}: {found:#}");
        assert_eq!(found["home"], target.home().to_str().unwrap());
    }
}

/// Another program on 127.0.0.1 and a Hermes server on ::1: a client of localhost reaches the other program.
#[test]
fn each_address_of_a_port_is_judged() {
    let port = free_port();
    let home = home();
    let script = placed(&home.path().join("hermes-webui"), "server.py");
    let hermes =
        start(Command::new("python3").arg(script).args(["::1", &port.to_string()]).env("HERMES_HOME", home.path()));
    let found = server(&format!("port --port {port} --kind webui"));
    assert_eq!(found["status"], "healthy", "{found:#}");
    let stranger =
        start(Command::new("python3").arg(program_file("plain.py")).args(["127.0.0.1", &port.to_string()]));
    let found = server(&format!("port --port {port} --kind webui"));
    assert_eq!(roots(&found), ["port-held-by-other-program"], "{found:#}");
    assert_eq!(finding(&found, "port-held-by-other-program")["evidence"][0]["value"], stranger.pid());
    drop(stranger);
    // Two Hermes servers, one for each address family: a client reaches either of them.
    let script = placed(&home.path().join("two/hermes-webui"), "server.py");
    let second = start(
        Command::new("python3").arg(script).args(["127.0.0.1", &port.to_string()]).env("HERMES_HOME", home.path()),
    );
    let found = server(&format!("check --pid {}", hermes.pid()));
    assert_eq!(roots(&found), ["port-owner-unexpected"], "{found:#}");
    assert_eq!(finding(&found, "port-owner-unexpected")["evidence"][0]["value"], second.pid());
}

/// A wildcard of IPv6 is reached over IPv4 as well.
#[test]
fn an_ipv6_wildcard_is_reached_over_ipv4() {
    let guard = start(Command::new("python3").arg(program_file("plain.py")).args(["::", "0"]));
    let found = server(&format!("check --port {}", guard.port));
    assert_eq!(
        (found["status"].as_str(), found["health"]["outcome"].as_str()),
        (Some("healthy"), Some("ok")),
        "{found:#}"
    );
    assert!(found["health"]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
}

/// A gateway without its API server may listen for other purposes, which is not HTTP that hangs.
#[test]
fn other_listeners_of_a_gateway_get_no_request() {
    let home = home();
    let script = placed(&home.path().join("bin"), "hermes-gateway");
    let guard = start(
        Command::new("python3")
            .arg(script)
            .args(["127.0.0.1", "0"])
            .env("SILENT", "yes")
            .env("HERMES_HOME", home.path()),
    );
    let found = server(&format!("check --pid {}", guard.pid()));
    assert_eq!(found["kind"], "gateway");
    assert_eq!(found["health"]["outcome"], "not_applicable", "{found:#}");
    assert_eq!(found["status"], "healthy");
}

/// A loop in a script of several lines is the supervisor of the server on its port, and of no other.
#[test]
fn a_loop_of_many_lines_is_recognised_with_its_port() {
    let home = home();
    let program = placed(&home.path().join("bin"), "hermes");
    let (own, other) = (free_port(), free_port());
    let text = format!("while true\ndo\n  python3 {} dashboard --port {own}\n  sleep 0.2\ndone", program.display());
    // plain.py does not accept these arguments, so every start fails, as on a port that is taken.
    let mut child = Command::new("bash")
        .args(["-c", &text])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let orphan = dashboard(home.path(), own);
    let found = server(&format!("lineage --pid {}", orphan.pid()));
    let unrelated = dashboard(home.path(), other);
    let other_found = server(&format!("lineage --pid {}", unrelated.pid()));
    let group = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
    child.wait().unwrap();
    assert_eq!(roots(&found), ["orphaned-server"], "{found:#}");
    assert!(ids(&found).contains(&"respawn-loop".to_owned()), "{found:#}");
    assert!(!ids(&other_found).contains(&"orphaned-server".to_owned()), "{other_found:#}");
}

/// A process with the command line of a dashboard on that port, outside of any loop.
fn dashboard(home: &Path, port: u16) -> Guard {
    let program = home.join(port.to_string()).join("hermes");
    std::fs::create_dir_all(program.parent().unwrap()).unwrap();
    std::fs::write(&program, "import signal; print('ready 1', flush=True); signal.pause()").unwrap();
    start(Command::new("python3").arg(program).args(["dashboard", "--port", &port.to_string()]))
}

/// Each phase has its own deadline: slow headers end with the phase, not with the whole budget.
#[test]
fn headers_that_drip_end_with_their_phase() {
    let guard = start(Command::new("python3").arg(program_file("hostile.py")).arg("drip"));
    let begun = std::time::Instant::now();
    let found = server(&format!("health --port {} --kind webui --timeout 300ms", guard.port));
    assert!(begun.elapsed() < std::time::Duration::from_secs(9), "{:?}", begun.elapsed());
    assert_eq!(found["health"]["outcome"], "incomplete", "{found:#}");
    assert!(found["health"]["bytes_received"].as_u64().unwrap() > 0);
}

/// A server in a pid and network namespace of its own, as in a container.
#[test]
fn a_server_in_other_namespaces_is_not_called_dead() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a_server_in_other_namespaces", "it takes root to make namespaces");
    }
    let home = home();
    let script = placed(&home.path().join("hermes-webui"), "server.py");
    let mut outer = Command::new("unshare")
        .args(["--pid", "--fork", "--net", "--kill-child", "sh", "-c"])
        .arg(format!("ip link set lo up 2>/dev/null; exec python3 {} 127.0.0.1 9119", script.display()))
        .env("HERMES_HOME", home.path())
        .env("PIDFILE", "yes")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the pid file", || home.path().join("webui.pid").exists());
    let answer = run(&format!("check --home {} --json", home.path().display()));
    let _ = outer.kill();
    outer.wait().unwrap();
    let found = answer.json()["servers"][0].clone();
    assert_eq!(std::fs::read_to_string(home.path().join("webui.pid")).unwrap(), "1");
    assert!(!ids(&found).contains(&"stale-pid-file".to_owned()), "{found:#}");
    assert!(!ids(&found).contains(&"connection-refused".to_owned()), "{found:#}");
    assert_eq!(found["process"]["foreign_network"], true);
    assert_eq!(found["health"]["outcome"], "not_probed");
    assert_eq!(found["status"], "unknown");
    assert_eq!(found["listeners"]["sockets"][0]["address"], "127.0.0.1", "{found:#}");
}

/// After interrupts at any moment, `demo` leaves neither test servers nor homes.
#[test]
fn an_interrupted_round_of_demonstrations_leaves_nothing() {
    for wait in [150, 700, 2600, 3400] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = doctor()
            .arg("demo")
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(wait));
        common::signal_pid(child.id(), rustix::process::Signal::INT);
        child.wait().unwrap();
        wait_for("the end of all targets", || {
            !std::fs::read_dir("/proc").unwrap().flatten().any(|entry| {
                let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&line).contains(temporary.path().to_str().unwrap())
            })
        });
        assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0, "after {wait} ms");
    }
}

/// The program recognises its own test servers under any name of the program.
#[test]
fn a_renamed_program_gives_the_same_demonstration() {
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("hd");
    std::fs::copy(common::program(), &copy).unwrap();
    let answer = run_with(Command::new(copy).args(["demo", "healthy", "--json"]));
    assert_eq!(answer.exit, 0, "{}", answer.stdout);
}

/// A unit file of this host contains the port, so a Hermes server is expected there.
#[test]
fn a_port_that_a_unit_names_belongs_to_hermes() {
    let guard = start(Command::new("python3").arg(program_file("other.py")));
    let user = tempfile::tempdir().unwrap();
    let units = user.path().join(".config/systemd/user");
    std::fs::create_dir_all(&units).unwrap();
    let unit = format!("[Service]\nExecStart=/usr/bin/hermes dashboard --port {}\n", guard.port);
    std::fs::write(units.join("hermes-dashboard.service"), unit).unwrap();
    let answer =
        run_with(doctor().args(["check", "--json", "--port", &guard.port.to_string()]).env("HOME", user.path()));
    let found = answer.json()["servers"][0].clone();
    assert_eq!(roots(&found), ["port-held-by-other-program"], "{found:#}");
}

fn hostile(what: &str) -> Guard {
    start(Command::new("python3").arg(program_file("hostile.py")).arg(what))
}

/// Rare but healthy answers.
#[test]
fn interim_and_unmarked_answers_are_healthy() {
    for what in ["interim", "unmarked"] {
        let guard = hostile(what);
        let found = server(&format!("health --port {} --kind webui --timeout 700ms", guard.port));
        assert_eq!(
            (found["health"]["outcome"].as_str(), found["health"]["http_status"].as_u64()),
            (Some("ok"), Some(200)),
            "{what}: {found:#}"
        );
    }
}

#[test]
fn a_reset_within_the_answer_is_a_reset() {
    let guard = hostile("reset");
    let found = server(&format!("health --port {}", guard.port));
    assert_eq!(roots(&found), ["connection-reset"], "{found:#}");
    assert!(found["health"]["bytes_received"].as_u64().unwrap() > 50);
}

/// The queue is always full and always moves: busy, not stalled.
#[test]
fn a_queue_that_moves_is_not_stalled() {
    let guard = hostile("drain");
    // 20 clients connect; the queue holds them until they are accepted.
    wait_for("a full queue", || common::established(guard.port) >= 10);
    let found = server(&format!("check --port {} --kind webui --timeout 2s", guard.port));
    assert!(!ids(&found).contains(&"accept-stalled".to_owned()), "{found:#}");
    let looks = found["listeners"]["looks"].as_array().unwrap();
    assert!(looks.is_empty() || looks.last().unwrap()["accepted_since"].as_u64().unwrap() > 0, "{found:#}");
}

/// Facts that were read after the end of a process do not belong to it.
#[test]
fn a_process_that_ends_during_the_examination_is_not_diagnosed() {
    let target = webui("silent");
    let pid = target.pid();
    let port = target.port;
    let killer = std::thread::spawn(move || {
        wait_for("the request", || common::established(port) > 0);
        common::signal_pid(pid, rustix::process::Signal::KILL);
    });
    let found = server(&format!("check --pid {pid}"));
    killer.join().unwrap();
    assert_eq!(found["status"], "unknown", "{found:#}");
    assert!(!ids(&found).contains(&"reply-empty".to_owned()), "{found:#}");
    assert!(found["gaps"].as_array().unwrap().iter().any(|gap| gap["reason"] == "vanished"), "{found:#}");
}

/// A child that a server has forked keeps its command line and is no server of its own.
#[test]
fn a_forked_child_is_part_of_its_server() {
    let home = home();
    let script = home.path().join("hermes-webui/server.py");
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    let code = format!(
        "import os, signal\nif os.fork() == 0:\n    import ctypes\n    ctypes.CDLL(None).prctl(1, 9)\n    signal.pause()\nexec(open({:?}).read())\n",
        program_file("plain.py")
    );
    std::fs::write(&script, code).unwrap();
    let guard =
        start(Command::new("python3").arg(&script).args(["127.0.0.1", "0"]).env("HERMES_HOME", home.path()));
    let envelope = run("check --json").json();
    let servers = envelope["servers"].as_array().unwrap();
    let of_home: Vec<_> = servers.iter().filter(|server| server["home"] == home.path().to_str().unwrap()).collect();
    assert_eq!(of_home.len(), 1, "{of_home:#?}");
    assert_eq!(of_home[0]["pid"], guard.pid());
}

#[test]
fn a_process_of_a_home_other_than_the_selected_one_is_reported() {
    let (target, other) = (webui(""), webui(""));
    let found = server(&format!("check --pid {} --home {}", target.pid(), other.home().display()));
    assert_eq!(found["home"], target.home().to_str().unwrap());
    assert_eq!(roots(&found), ["port-owner-unexpected"], "{found:#}");
}
