//! A real systemd, as pid 1 of private namespaces: its units, healthy and orphaned.

use crate::common;

use common::{Answer, finding, ids, program_file, roots, run_with, skipped, wait_for};
use serde_json::Value;
use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A booted systemd, stopped with the test.
struct Systemd {
    outer: Child,
    init: u32,
    home: PathBuf,
}

/// Restarted for ever: the start limit belongs in the [Unit] section.
const ALWAYS: &str = "Restart=always\nRestartSec=300ms\n[Unit]\nStartLimitIntervalSec=0\n";

/// The parts to boot.
#[derive(Default)]
struct Boot<'a> {
    /// Units of the system; all are wanted at the start.
    units: Vec<(&'a str, String)>,
    /// A user with a running manager and a system bus.
    user: Option<u32>,
    /// Units of that user.
    user_units: Vec<(&'a str, String)>,
    /// Whether the output of units goes to a journal.
    journal: bool,
}

/// The home of a test: not below /tmp, because the booted system has its own /tmp.
fn home_of(test: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()))
}

impl Systemd {
    /// Boots with these service units; `None` with a message if this machine cannot do it.
    fn boot(test: &str, units: &[(&str, String)]) -> Option<Self> {
        Self::with(test, Boot { units: units.to_vec(), ..Boot::default() })
    }

    fn with(test: &str, boot: Boot<'_>) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/lib/systemd/systemd").exists() {
            skipped(test, "it takes root and systemd");
            return None;
        }
        let user_parts = ["/usr/lib/systemd/user/dbus.socket", "/lib/systemd/systemd-logind"];
        if boot.user.is_some() && user_parts.iter().any(|path| !Path::new(path).exists()) {
            skipped(test, "a user manager takes Debian's dbus-user-session and libpam-systemd");
            return None;
        }
        let home = home_of(test);
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(home.join("units/user")).unwrap();
        std::fs::write(home.join("config.yaml"), "").unwrap();
        let mut target = String::from("[Unit]\nDescription=test\n");
        for (name, text) in &boot.units {
            std::fs::write(home.join("units").join(name), text).unwrap();
            let _ = writeln!(target, "Wants={name}");
        }
        for (name, text) in &boot.user_units {
            std::fs::write(home.join("units/user").join(name), text).unwrap();
        }
        if boot.journal {
            std::fs::write(home.join("units/journal"), "").unwrap();
        }
        // In a directory that another user may read.
        let scripts = home.join("units/home/hermes-webui");
        std::fs::create_dir_all(&scripts).unwrap();
        std::fs::create_dir_all(home.join("units/home/.hermes")).unwrap();
        for name in ["server.py", "bootstrap.py"] {
            std::fs::copy(program_file("hermes-webui").join(name), scripts.join(name)).unwrap();
        }
        std::fs::write(home.join("units/test.target"), target).unwrap();
        let outer = Command::new("unshare")
            .args(["--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc", "--kill-child"])
            .arg(program_file("../systemd/boot"))
            .arg(home.join("units"))
            .arg(env!("CARGO_MANIFEST_DIR"))
            .args(boot.user.map(|user| user.to_string()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut booted = Self { outer, init: 0, home };
        wait_for("systemd", || {
            booted.init = child_of(booted.outer.id()).unwrap_or(0);
            booted.init != 0 && booted.systemctl("show").0
        });
        if let Some(user) = boot.user {
            assert!(booted.systemctl(&format!("start user@{user}.service")).0);
        }
        Some(booted)
    }

    /// Whether systemctl ended with success, and what it printed.
    fn systemctl(&self, arguments: &str) -> (bool, String) {
        let mut command = self.inside("systemctl");
        let output = command.args(arguments.split_whitespace()).stderr(Stdio::null()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Waits until a unit is in a state, `ActiveState/SubState`.
    fn wait_for_state(&self, unit: &str, wanted: &str) {
        wait_for(wanted, || {
            let shown = self.systemctl(&format!("show -p ActiveState,SubState --value {unit}")).1;
            shown.split_whitespace().collect::<Vec<_>>().join("/") == wanted
        });
    }

    fn wait_for_restarts(&self, unit: &str, count: u32) {
        wait_for("some restarts", || {
            let shown = self.systemctl(&format!("show -p NRestarts --value {unit}")).1;
            shown.trim().parse::<u32>().is_ok_and(|restarts| restarts >= count)
        });
    }

    /// Pids inside of the launchers that run at this moment.
    fn launchers(&self) -> Vec<String> {
        let output = self.inside("ps").args(["-eo", "pid=,args="]).output().unwrap();
        let table = String::from_utf8_lossy(&output.stdout).into_owned();
        let launchers = table.lines().filter(|line| line.contains("bootstrap.py"));
        launchers.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
    }

    /// A command inside.
    fn inside(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-p", "-C", "-i", "-u"]).arg(program);
        command.env("HOME", "/nonexistent").env("LC_ALL", "C.UTF-8");
        command
    }

    /// The doctor inside.
    fn doctor(&self, arguments: &str) -> Answer {
        run_with(self.inside(common::program()).args(arguments.split_whitespace()).arg("--json"))
    }

    fn server(&self, arguments: &str) -> Value {
        let envelope = self.doctor(arguments).json();
        let servers = envelope["servers"].as_array().unwrap();
        assert_eq!(servers.len(), 1, "{envelope:#}");
        servers[0].clone()
    }

    /// The doctor inside as an ordinary user, who may not use the private socket of the manager.
    fn server_as(&self, user: u32, arguments: &str) -> Value {
        // A copy that every user may run.
        let place = "/run/hermes-doctor-copy";
        let copied = self.inside("install").args(["-m", "755", common::program(), place]).status();
        assert!(copied.unwrap().success());
        let user = user.to_string();
        let mut command = self.inside("setpriv");
        command.args(["--reuid", &user, "--regid", &user, "--clear-groups", place]);
        run_with(command.args(arguments.split_whitespace()).arg("--json")).json()["servers"][0].clone()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // --kill-child ends systemd with it, and the namespace's end ends everything in it.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn child_of(parent: u32) -> Option<u32> {
    std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn python() -> String {
    let output =
        Command::new("python3").args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"]).output();
    String::from_utf8(output.unwrap().stdout).unwrap().trim().to_owned()
}

/// A service unit of the WebUI's launcher.
fn unit(test: &str, port: u16, exec: bool, more: &str) -> String {
    let home = home_of(test);
    format!(
        "[Service]\nEnvironment=HERMES_HOME={} EXEC={}\nExecStart={} {} --no-browser 127.0.0.1 {port}\n{more}",
        home.display(),
        if exec { "yes" } else { "no" },
        python(),
        program_file("hermes-webui/bootstrap.py").display(),
    )
}

fn wait_for_port(port: u16) {
    wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
}

#[test]
fn an_exec_ing_launcher_is_healthy() {
    let port = free_port();
    let unit = unit("exec", port, true, "");
    let Some(systemd) = Systemd::boot("exec", &[("hermes-webui.service", unit)]) else { return };
    wait_for_port(port);
    let found = systemd.server(&format!("check --port {port}"));
    let supervisor = &found["lineage"]["supervisor"];
    assert_eq!(
        (found["status"].as_str(), supervisor["claims_this"].as_bool()),
        (Some("healthy"), Some(true)),
        "{found:#}"
    );
    assert_eq!(
        (supervisor["kind"].as_str(), supervisor["name"].as_str()),
        (Some("systemd"), Some("hermes-webui.service"))
    );
    assert_eq!(supervisor["claimed_pid"], found["pid"]);
    assert_eq!(found["lineage"]["hops"][0]["ppid"], 1);
    assert!(ids(&found).is_empty(), "{found:#}");
    // From outside of the pid namespace the manager cannot be queried, and there is no finding.
    let outside = common::server(&format!("check --port {port}"));
    assert!(!ids(&outside).contains(&"orphaned-server".to_owned()), "{outside:#}");
    assert_eq!(outside["lineage"]["unit"], "hermes-webui.service");
}

/// The log of a unit is its journal: each line has its time, and the lines belong to the server.
#[test]
fn the_journal_of_a_unit_is_its_log() {
    let port = free_port();
    let unit = format!(
        "[Service]\nEnvironment=HERMES_HOME={} PORT={port} TEST_SERVER=stderr,malformed=3,locked=2,canary=CANARYWORD\nExecStart={} {}\n",
        home_of("journal").display(),
        python(),
        program_file("limits/hermes-webui/server.py").display(),
    );
    let boot = Boot { units: vec![("hermes-webui.service", unit)], journal: true, ..Boot::default() };
    let Some(systemd) = Systemd::with("journal", boot) else { return };
    wait_for_port(port);
    let found = systemd.server(&format!("check --port {port}"));
    let log = &found["logs"][0];
    assert_eq!(log["source"], "journalctl -u hermes-webui.service", "{found:#}");
    let classes: Vec<_> = log["classes"].as_array().unwrap().iter().collect();
    let told: Vec<_> =
        classes.iter().map(|class| (class["class"].as_str().unwrap(), class["since_start"].as_u64())).collect();
    assert_eq!(told, [("database-malformed", Some(3)), ("database-locked", Some(2))], "{log:#}");
    assert_eq!(roots(&found), ["database-malformed"], "{found:#}");
    assert!(!found.to_string().contains("CANARYWORD"), "{found:#}");
}

/// Detached and healthy: the manager follows the server by its pid file.
#[test]
fn type_forking_is_healthy() {
    let port = free_port();
    let home = home_of("forking");
    let more = format!("Type=forking\nPIDFile={}/webui.pid\n", home.display());
    let unit = unit("forking", port, false, &more);
    let Some(systemd) = Systemd::boot("forking", &[("hermes-webui.service", unit)]) else { return };
    wait_for_port(port);
    let mut found = Value::Null;
    wait_for("the manager to follow the server", || {
        found = systemd.server(&format!("check --port {port}"));
        found["lineage"]["supervisor"]["state"] == "active (running)"
    });
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert_eq!(found["lineage"]["supervisor"]["claims_this"], true);
}

/// The launcher detaches, the manager restarts it, and the orphan holds the port. Its control group is still that
/// of the unit.
#[test]
fn a_detaching_launcher_leaves_an_orphan() {
    let port = free_port();
    let unit = unit("orphan", port, false, &format!("KillMode=process\n{ALWAYS}"));
    let Some(systemd) = Systemd::boot("orphan", &[("hermes-webui.service", unit)]) else { return };
    wait_for_port(port);
    systemd.wait_for_restarts("hermes-webui.service", 1);
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("critical"), vec!["orphaned-server"]), "{found:#}");
    assert_eq!(finding(&found, "respawn-loop")["caused_by"][0], "orphaned-server");
    assert_eq!(found["lineage"]["unit"], "hermes-webui.service");
    assert_eq!(found["lineage"]["supervisor"]["claims_this"], false);
    assert_eq!(found["health"]["outcome"], "ok");
}

/// Two units on one home and port: the unit that claims the server is reported, no server is an orphan, and the
/// starts of the other unit fail.
#[test]
fn two_units_on_one_home_are_duplicates() {
    let port = free_port();
    let test = "by-hand";
    let first = unit(test, port, true, "").replace("[Service]", "[Service]\nSlice=test.slice");
    let second = format!(
        "{}{ALWAYS}",
        unit(test, port, true, "").replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 0.5")
    );
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", second), ("other.service", first)]) else {
        return;
    };
    wait_for_port(port);
    systemd.wait_for_restarts("hermes-webui.service", 2);
    // While the starts of the other unit fail.
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!(
        (found["status"].as_str(), roots(&found)),
        (Some("critical"), vec!["duplicate-supervisors"]),
        "{found:#}"
    );
    assert_eq!(found["lineage"]["supervisor"]["name"], "other.service");
    assert_eq!(found["lineage"]["supervisor"]["claims_this"], true);
    assert_eq!(finding(&found, "duplicate-supervisors")["severity"], "warning");
    assert_eq!(finding(&found, "respawn-loop")["caused_by"][0], "duplicate-supervisors");
    assert!(found["lineage"]["relaunch"]["restarts"].as_u64().unwrap() >= 1, "{found:#}");
    // The whole host: still one server, and the server of the second unit is not reported as absent.
    assert_eq!(systemd.server("check")["pid"], found["pid"]);
}

/// Two units with separate homes for one port: the port is held by the one, and configured for the other.
#[test]
fn a_unit_of_another_home_on_the_port_is_unexpected() {
    let (port, test) = (free_port(), "rival");
    let first = unit(test, port, true, "");
    let second = format!(
        "{}{ALWAYS}",
        unit(test, port, true, "").replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 0.5")
    );
    let second = second.replace("HERMES_HOME=", "HERMES_HOME=/var/tmp/other");
    let Some(systemd) = Systemd::boot(test, &[("one.service", first), ("two.service", second)]) else { return };
    wait_for_port(port);
    systemd.wait_for_restarts("two.service", 2);
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!(roots(&found), ["port-owner-unexpected"], "{found:#}");
    assert!(finding(&found, "port-owner-unexpected")["title"].as_str().unwrap().contains("two.service"));
    assert_eq!(finding(&found, "respawn-loop")["caused_by"][0], "port-owner-unexpected");
    assert!(!ids(&found).contains(&"duplicate-supervisors".to_owned()), "{found:#}");
}

/// Another program holds the port, and the starts of the unit that needs the port fail.
#[test]
fn a_foreign_program_makes_a_unit_loop() {
    let (port, test) = (free_port(), "stranger");
    let stranger = format!(
        "[Service]\nEnvironment=PORT={port}\nExecStart={} {}\n",
        python(),
        program_file("other.py").display()
    );
    let webui = unit(test, port, true, ALWAYS).replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 0.5");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", webui), ("a.service", stranger)]) else {
        return;
    };
    wait_for_port(port);
    systemd.wait_for_restarts("hermes-webui.service", 2);
    for selection in [format!("check --port {port}"), "check".to_owned()] {
        let found = systemd.server(&selection);
        assert_eq!(roots(&found), ["port-held-by-other-program"], "{selection}: {found:#}");
        assert_eq!(finding(&found, "respawn-loop")["caused_by"][0], "port-held-by-other-program", "{found:#}");
    }
}

/// With the default KillMode=control-group there is no orphan: the server is killed each time its launcher exits,
/// and the port opens and closes. At every moment of the examination it is a restart loop.
#[test]
fn a_flapping_unit_is_a_loop_at_every_moment() {
    let (port, test) = (free_port(), "flapping");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", unit(test, port, false, ALWAYS))]) else {
        return;
    };
    systemd.wait_for_restarts("hermes-webui.service", 4);
    for (selection, state) in
        [("check", "activating"), ("check", "active"), ("lineage", "activating"), ("lineage", "active")]
    {
        wait_for("the state of the unit", || {
            systemd.systemctl("show -p ActiveState --value hermes-webui.service").1.trim() == state
        });
        let found = systemd.server(&format!("{selection} --port {port}"));
        assert_eq!(found["status"], "critical", "{selection}: {found:#}");
        assert_eq!(roots(&found), ["respawn-loop"], "{selection}: {found:#}");
        assert!(!ids(&found).contains(&"orphaned-server".to_owned()), "{found:#}");
        assert!(!ids(&found).contains(&"supervisor-gave-up".to_owned()), "{found:#}");
    }
    let found = systemd.server(&format!("lineage --port {port} --observe 3s"));
    let relaunch = &found["lineage"]["relaunch"];
    assert!(
        relaunch["port_changes"].as_u64().unwrap() >= 2 && relaunch["restarts"].as_u64().unwrap() >= 2,
        "{relaunch:#}"
    );
    assert!(relaunch["states"].as_array().unwrap().iter().any(|state| state == "activating (auto-restart)"));
    let next = finding(&found, "respawn-loop")["next"].to_string();
    assert!(next.contains("systemctl stop hermes-webui.service") && next.contains("exec"), "{next}");
}

/// Restart=on-failure does not apply when a launcher exits with success.
#[test]
fn a_launcher_that_detaches_takes_its_server_along() {
    let (port, test) = (free_port(), "detached");
    let webui = unit(test, port, false, "Restart=on-failure\n");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", webui)]) else { return };
    systemd.wait_for_state("hermes-webui.service", "inactive/dead");
    for selection in
        [format!("check --port {port}"), "check".to_owned(), "check --expect systemd:hermes-webui".to_owned()]
    {
        let found = systemd.server(&selection);
        assert_eq!(
            (found["status"].as_str(), roots(&found)),
            (Some("critical"), vec!["launcher-detached"]),
            "{selection}: {found:#}"
        );
        assert_eq!(finding(&found, "launcher-detached")["severity"], "critical");
        assert_eq!(finding(&found, "server-not-running")["caused_by"][0], "launcher-detached");
        assert_eq!((found["pid"].as_u64(), found["port"].as_u64()), (None, Some(u64::from(port))));
    }
}

/// The same with KillMode=process: the server keeps running, and no supervisor claims it.
#[test]
fn a_launcher_that_detaches_leaves_its_server() {
    let (port, test) = (free_port(), "left");
    let webui = unit(test, port, false, "Restart=on-failure\nKillMode=process\n");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", webui)]) else { return };
    systemd.wait_for_state("hermes-webui.service", "inactive/dead");
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!(
        (found["status"].as_str(), roots(&found)),
        (Some("warning"), vec!["launcher-detached"]),
        "{found:#}"
    );
    assert_eq!(finding(&found, "orphaned-server")["caused_by"][0], "launcher-detached");
    assert!(found["health"]["outcome"] == "ok" && found["lineage"]["relaunch"].is_null(), "{found:#}");
}

/// Failed and down: critical, with the log and the steps to start it again.
#[test]
fn a_unit_that_failed_for_good_has_given_up() {
    let (port, test) = (free_port(), "failed");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", failing(test, port))]) else { return };
    systemd.wait_for_state("hermes-webui.service", "failed/failed");
    for selection in ["check".to_owned(), format!("check --port {port}")] {
        let found = systemd.server(&selection);
        assert_eq!(roots(&found), ["supervisor-gave-up"], "{selection}: {found:#}");
        let gave_up = finding(&found, "supervisor-gave-up");
        assert_eq!(gave_up["severity"], "critical", "{found:#}");
        assert_eq!(finding(&found, "server-not-running")["caused_by"][0], "supervisor-gave-up");
        let next = gave_up["next"].to_string();
        for words in ["journalctl -u hermes-webui.service", "systemctl reset-failed", "systemctl start"] {
            assert!(next.contains(words), "{words}: {next}");
        }
    }
}

/// A WebUI that does not exist and so cannot start.
fn failing(test: &str, port: u16) -> String {
    let there = program_file("hermes-webui").display().to_string();
    unit(test, port, true, "Restart=always\nRestartSec=100ms\n").replace(&there, "/nonexistent/hermes-webui")
}

/// Stopped on purpose: a unit that is not enabled is not expected to run; one that is enabled is reported as
/// absent.
#[test]
fn a_stopped_unit_is_missed_only_when_it_is_enabled() {
    let (port, test) = (free_port(), "stopped");
    let webui = unit(test, port, true, "Restart=on-failure\n[Install]\nWantedBy=multi-user.target\n");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", webui)]) else { return };
    wait_for_port(port);
    assert!(systemd.systemctl("stop hermes-webui.service").0);
    let envelope = systemd.doctor("check").json();
    assert_eq!((envelope["status"].as_str(), envelope["servers"].as_array().unwrap().len()), (Some("unknown"), 0));
    assert!(systemd.systemctl("enable hermes-webui.service").0);
    // Without a selection the stopped unit is a warning; with a selection it is critical.
    let found = systemd.server("check");
    assert_eq!(
        (found["status"].as_str(), roots(&found)),
        (Some("warning"), vec!["server-not-running"]),
        "{found:#}"
    );
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!(
        (found["status"].as_str(), roots(&found)),
        (Some("critical"), vec!["server-not-running"]),
        "{found:#}"
    );
    let next = finding(&found, "server-not-running")["next"].to_string();
    assert!(next.contains("systemctl start hermes-webui.service"), "{next}");
}

/// Units that are meant to finish: a process that a oneshot unit has started is not an orphan, and is not
/// restarted.
#[test]
fn a_oneshot_unit_is_meant_to_finish() {
    let (kept, left) = (free_port(), free_port());
    let test = "oneshot";
    let stays = unit(test, kept, false, "Type=oneshot\nRemainAfterExit=yes\n");
    let ends = unit(test, left, false, "Type=oneshot\nKillMode=process\n").replace(test, "oneshot");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", stays), ("hermes-two.service", ends)])
    else {
        return;
    };
    systemd.wait_for_state("hermes-webui.service", "active/exited");
    systemd.wait_for_state("hermes-two.service", "inactive/dead");
    for port in [kept, left] {
        let found = systemd.server(&format!("lineage --port {port}"));
        assert_eq!(found["status"], "healthy", "{found:#}");
        assert!(!ids(&found).iter().any(|id| id == "orphaned-server" || id == "launcher-detached"), "{found:#}");
    }
}

/// `--expect` with the right unit, and with another one.
#[test]
fn an_expected_unit_decides() {
    let (port, test) = (free_port(), "expected");
    let idle = "[Service]\nExecStart=/bin/sleep 1000\n".to_owned();
    let Some(systemd) =
        Systemd::boot(test, &[("hermes-webui.service", unit(test, port, true, "")), ("idle.service", idle)])
    else {
        return;
    };
    wait_for_port(port);
    let by_unit = systemd.server("check --expect systemd:hermes-webui.service");
    assert_eq!(
        (by_unit["status"].as_str(), by_unit["port"].as_u64()),
        (Some("healthy"), Some(u64::from(port))),
        "{by_unit:#}"
    );
    let supervisor = &by_unit["lineage"]["supervisor"];
    for (field, value) in [
        ("scope", "system"),
        ("state", "active (running)"),
        ("configuration", "/etc/systemd/system/hermes-webui.service"),
        ("log", "journalctl -u hermes-webui.service"),
    ] {
        assert_eq!(supervisor[field], value, "{field}: {supervisor:#}");
    }
    assert!(supervisor["policy"].as_str().unwrap().starts_with("Type=simple Restart=no"), "{supervisor:#}");
    assert!(supervisor["since"].as_str().unwrap().ends_with('Z'));
    let found = systemd.server(&format!("check --port {port} --expect systemd:idle"));
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("warning"), vec!["orphaned-server"]), "{found:#}");
    assert_eq!(found["lineage"]["expected"]["why"], "--expect systemd:idle.service");
}

/// A healthy unit in a user's manager, queried by root as that user; the manager is the parent of the server.
#[test]
fn a_user_manager_is_queried_as_its_user() {
    for user in [0, 1000] {
        let (port, test) = (free_port(), format!("user-{user}"));
        let Some(systemd) = user_unit(&test, user, port, true, "") else { return };
        wait_for_port(port);
        let found = systemd.server(&format!("check --port {port}"));
        let supervisor = &found["lineage"]["supervisor"];
        assert_eq!(found["status"], "healthy", "{found:#}");
        assert_eq!(supervisor["kind"], "systemd-user", "{found:#}");
        assert_eq!((supervisor["claims_this"].as_bool(), &supervisor["claimed_pid"]), (Some(true), &found["pid"]));
        assert_eq!(supervisor["scope"], if user == 0 { "user" } else { "user 1000" });
        assert_eq!(found["lineage"]["hops"][1]["name"], "systemd --user");
        assert_eq!(ids(&found), Vec::<String>::new(), "{found:#}");
        if user != 0 {
            // That user sees the same; for another user a gap names the user that can query the manager.
            let own = systemd.server_as(user, &format!("lineage --port {port}"));
            assert_eq!(own["lineage"]["supervisor"]["scope"], "user", "{own:#}");
            assert_eq!(own["lineage"]["supervisor"]["claims_this"], true);
            let other = systemd.server_as(65534, &format!("lineage --port {port}"));
            assert!(other["lineage"]["supervisor"]["claims_this"].is_null(), "{other:#}");
            assert_eq!(
                (other["status"].as_str(), other["lineage"]["unit"].as_str()),
                (Some("unknown"), Some("hermes-webui.service"))
            );
            assert!(other["gaps"].to_string().contains("answers only that user"), "{other:#}");
        }
    }
}

/// An orphan is adopted by the user manager, which is the subreaper: its parent looks healthy.
#[test]
fn an_orphan_below_a_user_manager_is_found() {
    let (port, test, user) = (free_port(), "user-orphan", 1000);
    let more = format!("KillMode=process\n{ALWAYS}");
    let Some(systemd) = user_unit(test, user, port, false, &more) else { return };
    wait_for_port(port);
    // The manager starts the launcher again when the first one has left.
    let mut launchers = std::collections::BTreeSet::new();
    wait_for("a second launcher", || {
        launchers.extend(systemd.launchers());
        launchers.len() >= 2
    });
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("critical"), vec!["orphaned-server"]), "{found:#}");
    assert_eq!(found["lineage"]["hops"][1]["name"], "systemd --user");
    assert!(found["lineage"]["supervisor"]["evidence"].as_str().unwrap().contains("an earlier one"), "{found:#}");
    let next = finding(&found, "orphaned-server")["next"].to_string();
    assert!(next.contains("sudo -u '#1000' XDG_RUNTIME_DIR=/run/user/1000 systemctl --user stop"), "{next}");
}

/// A unit of a user, with scripts in that user's home.
fn user_unit(test: &str, user: u32, port: u16, exec: bool, more: &str) -> Option<Systemd> {
    let (home, python) = match user {
        0 => (home_of(test), python()),
        // Not every user may read root's Python.
        user => (PathBuf::from(format!("/run/home/{user}")), "/usr/bin/python3".to_owned()),
    };
    if user != 0 && !Path::new(&python).exists() {
        skipped(test, "it takes /usr/bin/python3, which another user may run");
        return None;
    }
    let scripts = if user == 0 { program_file("hermes-webui") } else { home.join("hermes-webui") };
    let data = if user == 0 { home } else { home.join(".hermes") };
    let text = format!(
        "[Service]\nEnvironment=HERMES_HOME={} EXEC={}\nExecStart={python} {}/bootstrap.py --no-browser 127.0.0.1 {port}\n{more}",
        data.display(),
        if exec { "yes" } else { "no" },
        scripts.display()
    );
    Systemd::with(
        test,
        Boot { user: Some(user), user_units: vec![("hermes-webui.service", text)], ..Boot::default() },
    )
}

/// An ordinary user and a service of the system: with a bus the manager answers every user. Without a bus the unit
/// is identified, and a gap reports that its manager was not queried.
#[test]
fn the_unit_is_reported_to_an_ordinary_user() {
    for bus in [true, false] {
        let (port, test) = (free_port(), format!("ordinary-{bus}"));
        let boot = Boot {
            units: vec![("hermes-webui.service", unit(&test, port, true, ""))],
            user: bus.then_some(0),
            ..Boot::default()
        };
        let Some(systemd) = Systemd::with(&test, boot) else { return };
        wait_for_port(port);
        let found = systemd.server_as(65534, &format!("lineage --port {port}"));
        assert_eq!(found["lineage"]["unit"], "hermes-webui.service", "{found:#}");
        assert_eq!(found["lineage"]["supervisor"]["name"], "hermes-webui.service");
        if bus {
            assert_eq!(found["lineage"]["supervisor"]["claims_this"], true, "{found:#}");
        } else {
            assert!(found["lineage"]["supervisor"]["claims_this"].is_null(), "{found:#}");
            assert!(found["gaps"].to_string().contains("bus cannot be reached"), "{found:#}");
            assert!(!ids(&found).contains(&"orphaned-server".to_owned()));
        }
    }
}

/// A unit with control characters in its name, which must be escaped.
#[test]
fn a_hostile_unit_name_is_harmless() {
    let (port, test) = (free_port(), "hostile");
    // systemd allows only ASCII names; its escapes must not be decoded.
    let name = r"hermes-web-\x1b\xe2\x80\xae.service";
    let text = format!(
        "{}[Unit]\nDescription=\u{1b}]0;owned\u{7}\u{202e}txt\n[Service]\nEnvironment=NOTE={}\n",
        unit(test, port, true, ""),
        "y".repeat(100_000)
    );
    let Some(systemd) = Systemd::boot(test, &[(name, text)]) else { return };
    systemd.systemctl("daemon-reload");
    wait_for_port(port);
    for arguments in
        [format!("lineage --port {port}"), format!("check --verbose --port {port}"), "check".to_owned()]
    {
        let answer = run_with(systemd.inside(common::program()).args(arguments.split_whitespace()));
        assert!(arguments == "check" || answer.stdout.contains("hermes-w"), "{}", answer.stdout);
        assert!((0..=3).contains(&answer.exit), "{}", answer.stderr);
        assert!(!answer.stdout.contains(['\u{1b}', '\u{202e}']), "{}", answer.stdout);
    }
}

/// Other settings in the unit file are not in any form of a report.
#[test]
fn the_secrets_of_a_unit_stay_at_home() {
    let (port, test) = (free_port(), "secrets");
    let name = "hermes-zqunit.service";
    let text = unit(test, port, true, "")
        .replace(&format!("127.0.0.1 {port}"), &format!("--token zqtoken zqpositional 127.0.0.1 {port}"))
        + "Environment=API_TOKEN=zqsecret ZQNAME=zqvalue\n[Unit]\nDescription=zqdescription\nDocumentation=https://zquser:zqpass@zqhost.example/\n";
    let Some(systemd) = Systemd::boot(test, &[(name, text)]) else { return };
    wait_for_port(port);
    let report = |arguments: String| {
        let words = arguments.split_whitespace();
        let answer = run_with(systemd.inside(common::program()).args(words));
        assert!(answer.stdout.len() > 100, "{arguments}: {} {}", answer.stdout, answer.stderr);
        answer.stdout
    };
    let plain = report(format!("report --redact none --yes --port {port}"));
    assert!(plain.contains("hermes-zqunit.service") && plain.contains("zqpositional"), "{plain}");
    assert!(
        !plain.contains("zqsecret") && !plain.contains("zqtoken") && !plain.contains("zqdescription"),
        "{plain}"
    );
    for form in
        ["report", "report --markdown", "report --html", "check --format nagios", "check --format openmetrics"]
    {
        let shown = report(format!("{form} --port {port}"));
        assert!(!shown.contains("zq"), "{form}: {shown}");
    }
}

/// A manual restart during the observation changes pid and port once, and is not a loop.
#[test]
fn a_restart_by_hand_is_no_loop() {
    let (port, test) = (free_port(), "restarted");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", unit(test, port, true, ALWAYS))]) else {
        return;
    };
    wait_for_port(port);
    let mut restart = systemd.inside("sh");
    restart.args(["-c", "sleep 0.8; systemctl restart hermes-webui.service"]).stdout(Stdio::null());
    let mut restart = restart.spawn().unwrap();
    let found = systemd.server(&format!("lineage --port {port} --observe 3s"));
    restart.wait().unwrap();
    assert!(!ids(&found).contains(&"respawn-loop".to_owned()), "{found:#}");
}

/// A server that is being started is unknown: a launcher that works before it becomes the server, and a command
/// before the start.
#[test]
fn a_unit_that_is_being_started_is_not_called_down() {
    let (port, test) = (free_port(), "starting");
    let slow = unit(test, port, true, "").replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 30");
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", slow)]) else { return };
    systemd.wait_for_state("hermes-webui.service", "activating/start-pre");
    for selection in ["check".to_owned(), format!("check --port {port}")] {
        let found = systemd.server(&selection);
        assert_eq!((found["status"].as_str(), ids(&found)), (Some("unknown"), vec![]), "{selection}: {found:#}");
        assert!(found["gaps"].to_string().contains("a server that is being started"), "{found:#}");
    }
}

/// The manager holds the socket of a service without a connection so far: this is healthy, and a request of the
/// doctor would start the service.
#[test]
fn the_examination_does_not_start_a_socket_activated_service() {
    let (port, test) = (free_port(), "socket");
    let socket = format!("[Socket]\nListenStream=127.0.0.1:{port}\n");
    let service = unit(test, port, true, "");
    let Some(systemd) = Systemd::boot(
        test,
        &[("hermes-webui.socket", socket), ("idle.service", "[Service]\nExecStart=/bin/sleep 99\n".into())],
    ) else {
        return;
    };
    drop(service);
    let install = systemd.home.join("units/later.service");
    std::fs::write(&install, unit(test, port, true, "")).unwrap();
    let place = "/etc/systemd/system/hermes-webui.service";
    assert!(systemd.inside("cp").arg(&install).arg(place).status().unwrap().success());
    systemd.systemctl("daemon-reload");
    assert!(systemd.systemctl("start hermes-webui.socket").0);
    let found = systemd.server(&format!("check --port {port} --kind webui"));
    assert_ne!(found["status"], "critical", "{found:#}");
    assert_eq!(found["health"]["outcome"], "not_probed", "{found:#}");
    assert_eq!(finding(&found, "port-held-by-other-program")["severity"], "info");
    let shown = systemd.systemctl("show -p ActiveState --value hermes-webui.service").1;
    assert_eq!(shown.trim(), "inactive");
}

/// An old failed unit next to a healthy server, and a failed instance of a template.
#[test]
fn leftovers_and_templates() {
    let (port, test) = (free_port(), "leftover");
    let healthy = unit(test, port, true, "");
    let gateway = format!("[Service]\nExecStart={} -m hermes_cli.main --profile %i gateway run\n", python());
    let Some(systemd) = Systemd::boot(
        test,
        &[
            ("hermes-webui.service", healthy),
            ("old.service", failing(test, port)),
            ("hermes-gateway@.service", gateway),
        ],
    ) else {
        return;
    };
    wait_for_port(port);
    systemd.wait_for_state("old.service", "failed/failed");
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!((found["status"].as_str(), ids(&found)), (Some("healthy"), vec![]), "{found:#}");
    // The systemd target test.target wants it, and passes its own name to the instance.
    systemd.wait_for_state("hermes-gateway@test.service", "failed/failed");
    let envelope = systemd.doctor("check").json();
    let gateway = envelope["servers"].as_array().unwrap().iter().find(|server| server["kind"] == "gateway");
    let gateway = gateway.unwrap_or_else(|| panic!("{envelope:#}"));
    assert_eq!(roots(gateway), ["supervisor-gave-up"], "{gateway:#}");
    assert_eq!(gateway["lineage"]["supervisor"]["name"], "hermes-gateway@test.service");
}
