//! The real `supervise-daemon` of OpenRC, in a mount namespace of its own: its package replaces the init scripts of the
//! machine, so it is unpacked and not installed (`tests/run`).

use crate::common;

use common::{finding, ids, program_file, roots, server, skipped, wait_for};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A service of OpenRC; its processes are those with its home in their environment.
struct Service {
    home: tempfile::TempDir,
    port: u16,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.processes("").into_iter().for_each(|pid| common::signal_pid(pid, rustix::process::Signal::KILL));
    }
}

impl Service {
    /// Starts a service with these settings; `None` if this machine cannot do it.
    fn start(test: &str, exec: &str, settings: &str) -> Option<Self> {
        let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/openrc");
        if !tree.join("sbin/supervise-daemon").exists() || !rustix::process::geteuid().is_root() {
            skipped(test, "it takes root and the unpacked package openrc (tests/run)");
            return None;
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let service = Self { home: common::home(), port };
        let home = service.home.path().display();
        let bootstrap = program_file("hermes-webui/bootstrap.py");
        let script = format!(
            "#!/sbin/openrc-run\nexport HERMES_HOME={home}\nexport EXEC={exec}\nsupervisor=supervise-daemon\n\
             command=/usr/bin/python3\ncommand_args=\"{} --no-browser 127.0.0.1 {port}\"\n{settings}\n",
            bootstrap.display()
        );
        let file = service.home.path().join("service");
        std::fs::write(&file, script).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(program_file("openrc.sh")).arg(tree).arg(file);
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(started.success(), "{started}");
        Some(service)
    }

    /// Its processes with this text in their command line.
    fn processes(&self, part: &str) -> Vec<u32> {
        let variable = format!("HERMES_HOME={}", self.home.path().display());
        let read = |pid: u32, name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
        let has = |bytes: Vec<u8>, part: &str| String::from_utf8_lossy(&bytes).contains(part);
        let names = std::fs::read_dir("/proc").unwrap().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| has(read(*pid, "environ"), &variable) && has(read(*pid, "cmdline"), part)).collect()
    }

    fn wait_for_its_server(&self) {
        wait_for("the server", || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// The namespace of its supervising process.
    fn inside(&self) -> PathBuf {
        format!("/proc/{}/ns/mnt", self.processes("supervise-daemon")[0]).into()
    }
}

fn check(service: &Service) -> serde_json::Value {
    let found = server(&format!("check --port {}", service.port));
    let supervisor = &found["lineage"]["supervisor"];
    assert_eq!(
        (supervisor["kind"].as_str(), supervisor["name"].as_str()),
        (Some("openrc"), Some("hermes")),
        "{found:#}"
    );
    found
}

#[test]
fn a_server_that_supervise_daemon_claims_is_healthy() {
    let Some(service) = Service::start("openrc", "yes", "respawn_delay=1") else { return };
    service.wait_for_its_server();
    let found = check(&service);
    let supervisor = &found["lineage"]["supervisor"];
    assert_eq!(
        (found["status"].as_str(), supervisor["claims_this"].as_bool()),
        (Some("healthy"), Some(true)),
        "{found:#}"
    );
    assert_eq!((&supervisor["claimed_pid"], &supervisor["restarts"]), (&found["pid"], &serde_json::json!(0)));
    assert!(ids(&found).is_empty(), "{found:#}");
    // The steps to start it again are those of OpenRC, and they work when typed.
    let restarted = Command::new("nsenter")
        .arg(format!("--mount={}", service.inside().display()))
        .args(["rc-service", "hermes", "restart"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(restarted.success());
    service.wait_for_its_server();
    assert_ne!(check(&service)["pid"], found["pid"]);
}

#[test]
fn an_orphan_beside_supervise_daemon_is_found() {
    let Some(service) = Service::start("openrc", "no", "respawn_delay=1\nrespawn_max=0") else { return };
    service.wait_for_its_server();
    wait_for("the end of the launcher", || common::is_launched(service.home.path()));
    let found = check(&service);
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("critical"), vec!["orphaned-server"]), "{found:#}");
    assert_eq!(finding(&found, "respawn-loop")["caused_by"][0], "orphaned-server");
    assert_eq!(found["lineage"]["expected"]["kind"], "openrc");
    let steps = finding(&found, "orphaned-server")["next"].to_string();
    assert!(steps.contains("rc-service hermes stop") && steps.contains("rc-service hermes start"), "{steps}");
}

/// After `respawn_max` starts the supervising process ends, and only `--expect` can name the service.
#[test]
fn a_service_that_supervise_daemon_gave_up_is_reported() {
    let settings = "command_args=\"-c 1/0\"\nrespawn_delay=1\nrespawn_max=1";
    let Some(service) = Service::start("openrc", "no", settings) else { return };
    // Opened now, because the namespace has no other process once the service has failed.
    let namespace = std::fs::File::open(service.inside()).unwrap();
    wait_for("the end of supervise-daemon", || service.processes("supervise-daemon").is_empty());
    let mut inside = Command::new("nsenter");
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&namespace);
    inside.arg(format!("--mount=/proc/{}/fd/{descriptor}", std::process::id()));
    inside.arg(common::program()).args(["check", "--json", "--expect", "openrc:hermes"]);
    let found = common::run_with(&mut inside).json()["servers"][0].clone();
    assert_eq!(roots(&found), ["supervisor-gave-up"], "{found:#}");
    let steps = finding(&found, "supervisor-gave-up")["next"].to_string();
    assert!(steps.contains("rc-service hermes start"), "{steps}");
}
