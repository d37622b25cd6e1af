//! A real systemd, as pid 1 of private namespaces: its units, healthy and orphaned.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod common;

use common::{Answer, finding, ids, patient_file, roots, run_with, skipped, wait_for};
use std::fmt::Write as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A booted systemd, gone with the test.
struct Systemd {
    outer: Child,
    init: u32,
    home: PathBuf,
}

impl Systemd {
    /// Boots with these service units; `None`, and said, where this machine cannot.
    fn boot(test: &str, units: &[(&str, String)]) -> Option<Self> {
        if !rustix::process::geteuid().is_root() || !Path::new("/lib/systemd/systemd").exists() {
            skipped(test, "it takes root and systemd");
            return None;
        }
        // Not below /tmp, which is another one inside.
        let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&home);
        std::fs::create_dir_all(home.join("units")).unwrap();
        std::fs::write(home.join("config.yaml"), "").unwrap();
        let mut target = String::from("[Unit]\nDescription=test\n");
        for (name, text) in units {
            std::fs::write(home.join("units").join(name), text).unwrap();
            let _ = writeln!(target, "Wants={name}");
        }
        std::fs::write(home.join("units/test.target"), target).unwrap();
        let outer = Command::new("unshare")
            .args(["--pid", "--fork", "--mount", "--cgroup", "--uts", "--ipc", "--kill-child"])
            .arg(patient_file("../systemd/boot"))
            .arg(home.join("units"))
            .arg(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut booted = Self { outer, init: 0, home };
        wait_for("systemd", || {
            booted.init = child_of(booted.outer.id()).unwrap_or(0);
            booted.init != 0
                && booted
                    .inside("systemctl")
                    .arg("show")
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status()
                    .unwrap()
                    .success()
        });
        Some(booted)
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
        run_with(self.inside(env!("CARGO_BIN_EXE_hermes-doctor")).args(arguments.split_whitespace()).arg("--json"))
    }

    fn server(&self, arguments: &str) -> serde_json::Value {
        self.doctor(arguments).json()["servers"][0].clone()
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
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", std::process::id()));
    format!(
        "[Service]\nEnvironment=HERMES_HOME={} EXEC={}\nExecStart={} {} --no-browser 127.0.0.1 {port}\n{more}",
        home.display(),
        if exec { "yes" } else { "no" },
        python(),
        patient_file("hermes-webui/bootstrap.py").display(),
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
    // From outside its pid namespace its manager cannot be asked, and nobody is accused.
    let outside = common::server(&format!("check --port {port}"));
    assert!(!ids(&outside).contains(&"orphaned-server".to_owned()), "{outside:#}");
    assert_eq!(outside["lineage"]["unit"], "hermes-webui.service");
}

/// Detached and healthy: the manager follows the server by its pid file.
#[test]
fn type_forking_is_healthy() {
    let port = free_port();
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("forking-{}", std::process::id()));
    let more = format!("Type=forking\nPIDFile={}/webui.pid\n", home.display());
    let unit = unit("forking", port, false, &more);
    let Some(systemd) = Systemd::boot("forking", &[("hermes-webui.service", unit)]) else { return };
    wait_for_port(port);
    let mut found = serde_json::Value::Null;
    wait_for("the manager to follow the server", || {
        found = systemd.server(&format!("check --port {port}"));
        found["lineage"]["supervisor"]["state"] == "active (running)"
    });
    assert_eq!(found["status"], "healthy", "{found:#}");
    assert_eq!(found["lineage"]["supervisor"]["claims_this"], true);
}

/// The launcher detaches, the manager starts it again, and the orphan has the port. Its control group is still the unit's.
#[test]
fn a_detaching_launcher_leaves_an_orphan() {
    let port = free_port();
    let unit = unit(
        "orphan",
        port,
        false,
        "KillMode=process\nRestart=always\nRestartSec=300ms\nStartLimitIntervalSec=0\n",
    );
    let Some(systemd) = Systemd::boot("orphan", &[("hermes-webui.service", unit)]) else { return };
    wait_for_port(port);
    std::thread::sleep(std::time::Duration::from_millis(1200));
    let found = systemd.server(&format!("check --port {port}"));
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("critical"), vec!["orphaned-server"]), "{found:#}");
    assert_eq!(finding(&found, "respawn-loop")["caused_by"][0], "orphaned-server");
    assert_eq!(found["lineage"]["unit"], "hermes-webui.service");
    assert_eq!(found["lineage"]["supervisor"]["claims_this"], false);
    assert_eq!(found["health"]["outcome"], "ok");
}

/// Two units for one port: the one that has it claims its server, and nobody is called an orphan.
#[test]
fn the_unit_that_has_the_port_claims_its_server() {
    let port = free_port();
    let test = "by-hand";
    let more = "Restart=always\nRestartSec=300ms\nStartLimitIntervalSec=0\n";
    let by_hand = unit(test, port, true, "").replace("[Service]", "[Service]\nSlice=test.slice");
    let unit = format!(
        "{}{more}",
        unit(test, port, true, "").replace("[Service]", "[Service]\nExecStartPre=/bin/sleep 0.5")
    );
    let Some(systemd) = Systemd::boot(test, &[("hermes-webui.service", unit), ("other.service", by_hand)]) else {
        return;
    };
    wait_for_port(port);
    wait_for("some restarts", || {
        let shown =
            systemd.inside("systemctl").args(["show", "-p", "NRestarts", "hermes-webui.service"]).output().unwrap();
        String::from_utf8_lossy(&shown.stdout)
            .trim()
            .strip_prefix("NRestarts=")
            .is_some_and(|count| count.parse::<u32>().unwrap() >= 2)
    });
    // While the other unit is restarted in vain.
    let found = systemd.server(&format!("check --port {port}"));
    assert!(!ids(&found).contains(&"orphaned-server".to_owned()), "{found:#}");
    assert_eq!(found["lineage"]["supervisor"]["name"], "other.service");
}
