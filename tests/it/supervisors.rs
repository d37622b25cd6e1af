//! Real supervisors, each with a launcher that double-forks (orphan and loop found) and one that replaces itself by the
//! server (healthy).

use crate::common;

use common::{finding, ids, program_file, roots, server, signal_pid, skipped, tool, wait_for};
use rustix::process::Signal;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A supervisor, and the server that its launcher may have left behind.
struct Supervised {
    supervisor: Child,
    home: tempfile::TempDir,
    end: Signal,
}

impl Supervised {
    /// Starts `program` in `home` and waits for the server's port.
    fn start(home: tempfile::TempDir, port: u16, mut program: Command, end: Signal) -> Self {
        let supervisor = program.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let started = Self { supervisor, home, end };
        wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        started
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        signal_pid(self.supervisor.id(), self.end);
        common::within(std::time::Duration::from_secs(2), || !matches!(self.supervisor.try_wait(), Ok(None)));
        end_all_of(self.home.path());
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
    }
}

/// All processes with the home in their command line are the launcher or the server, and are killed by their pids.
fn end_all_of(home: &Path) {
    let wanted = format!("HERMES_HOME={}", home.display());
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let is_of_home = environment.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes());
        if let Some(pid) = rustix::process::Pid::from_raw(pid).filter(|_| is_of_home) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// The launcher as a run script; `exec` decides whether it replaces itself.
fn service(home: &Path, port: u16, exec: bool) -> std::path::PathBuf {
    let directory = home.join("service");
    std::fs::create_dir(&directory).unwrap();
    let script = format!(
        "#!/bin/sh\nexport HERMES_HOME={} EXEC={}\nexec python3 {} --no-browser 127.0.0.1 {port}\n",
        home.display(),
        if exec { "yes" } else { "no" },
        program_file("hermes-webui/bootstrap.py").display()
    );
    std::fs::write(directory.join("run"), script).unwrap();
    std::fs::set_permissions(directory.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The pair of tests for supervisors that keep a service directory.
fn service_directory(program: &str, kind: &str, end: Signal) {
    let Some(path) = tool(program) else {
        return skipped(program, "it is not installed (Debian packages runit, s6, daemontools)");
    };
    for exec in [true, false] {
        let (home, port) = (common::home(), free_port());
        let directory = service(home.path(), port, exec);
        let mut command = Command::new(&path);
        command.arg(&directory);
        let running = Supervised::start(home, port, command, end);
        wait_for("the end of the launcher", || common::is_launched(running.home.path()));
        let found = server(&format!("check --port {port}"));
        drop(running);
        check(&found, kind, directory.to_str().unwrap(), exec);
    }
}

fn check(found: &serde_json::Value, kind: &str, name: &str, exec: bool) {
    let supervisor = &found["lineage"]["supervisor"];
    assert_eq!((supervisor["kind"].as_str(), supervisor["name"].as_str()), (Some(kind), Some(name)), "{found:#}");
    if exec {
        assert_eq!(
            (found["status"].as_str(), supervisor["claims_this"].as_bool()),
            (Some("healthy"), Some(true)),
            "{found:#}"
        );
        assert_eq!(supervisor["claimed_pid"], found["pid"]);
        assert!(ids(found).is_empty(), "{found:#}");
    } else {
        assert_eq!(
            (found["status"].as_str(), roots(found)),
            (Some("critical"), vec!["orphaned-server"]),
            "{found:#}"
        );
        assert_eq!(finding(found, "respawn-loop")["caused_by"][0], "orphaned-server");
        assert_eq!(supervisor["claims_this"], false);
        assert_eq!(found["lineage"]["expected"]["kind"], kind);
        assert!(found["lineage"]["relaunch"]["pids"].as_array().unwrap().len() >= 2);
        // The orphan answers, which hides the problem.
        assert_eq!(found["health"]["outcome"], "ok");
    }
}

#[test]
fn runit() {
    service_directory("runsv", "runit", Signal::TERM);
}

#[test]
fn s6() {
    service_directory("s6-supervise", "s6", Signal::TERM);
}

#[test]
fn daemontools() {
    service_directory("supervise", "daemontools", Signal::TERM);
}

fn supervisord(exec: bool, fails: bool) -> Option<(Supervised, u16)> {
    let program = tool("supervisord")?;
    let (home, port) = (common::home(), free_port());
    let configuration = format!(
        "[supervisord]\nnodaemon=true\nlogfile={home}/supervisord.log\npidfile={home}/supervisord.pid\n\
         [unix_http_server]\nfile=%(here)s/supervisor.sock\nusername=u\npassword=canary-password\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:hermes-webui]\ncommand=python3 {launcher} 127.0.0.1 {port}\nstartsecs=0\nautorestart=true\n{extra}\
         environment=HERMES_HOME=\"{home}\",EXEC=\"{exec}\",FAIL=\"{fail}\"\n",
        home = home.path().display(),
        launcher = program_file("hermes-webui/bootstrap.py").display(),
        exec = if exec { "yes" } else { "no" },
        fail = if fails { "yes" } else { "no" },
        extra = if fails { "startsecs=5\nstartretries=1\n" } else { "" },
    );
    let configuration = if fails { configuration.replacen("startsecs=0\n", "", 1) } else { configuration };
    let file = home.path().join("supervisord.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(file);
    Some((Supervised::start(home, port, command, Signal::TERM), port))
}

#[test]
fn supervisord_by_its_own_socket() {
    for exec in [true, false] {
        let Some((running, port)) = supervisord(exec, false) else {
            return skipped("supervisord", "it is not installed (tests/run installs it)");
        };
        wait_for("the end of the launcher", || common::is_launched(running.home.path()));
        let found = server(&format!("check --port {port}"));
        drop(running);
        check(&found, "supervisord", "hermes-webui", exec);
        assert!(!found.to_string().contains("canary-password"));
        if exec {
            assert_eq!(found["lineage"]["supervisor"]["state"], "RUNNING");
        }
    }
}

/// The program is FATAL while the port still answers.
#[test]
fn supervisord_that_has_given_up() {
    let Some((running, port)) = supervisord(false, true) else {
        return skipped("supervisord", "it is not installed (tests/run installs it)");
    };
    let mut found = serde_json::Value::Null;
    wait_for("the end of the attempts", || {
        found = server(&format!("lineage --port {port}"));
        found["lineage"]["supervisor"]["state"] == "FATAL"
    });
    drop(running);
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("warning"), vec!["orphaned-server"]), "{found:#}");
    assert_eq!(finding(&found, "supervisor-gave-up")["severity"], "warning");
}

/// Two profiles from one checkout: one under runit on its port, one started by hand on another port. Both are
/// healthy, and the second is not an orphan of the first one's supervisor.
#[test]
fn a_second_profile_is_no_orphan() {
    let Some(runsv) = tool("runsv") else {
        return skipped("runit", "it is not installed (Debian package runit)");
    };
    let (home, port) = (common::home(), free_port());
    let mut command = Command::new(runsv);
    command.arg(service(home.path(), port, true));
    let running = Supervised::start(home, port, command, Signal::TERM);
    let second = common::webui("");
    let found = server(&format!("check --port {}", second.port));
    drop(running);
    assert_eq!(
        (found["status"].as_str(), ids(&found)),
        (Some("healthy"), vec!["unsupervised-server".to_owned()]),
        "{found:#}"
    );
}

/// A service that was stopped is down on purpose: no server is expected, and a server that is started by hand
/// meanwhile is not an orphan.
#[test]
fn a_service_that_was_stopped_expects_nothing() {
    let (Some(runsv), Some(sv)) = (tool("runsv"), tool("sv")) else {
        return skipped("runit", "it is not installed (Debian package runit)");
    };
    let (home, port) = (common::home(), free_port());
    let directory = service(home.path(), port, true);
    let mut command = Command::new(runsv);
    command.arg(&directory);
    let running = Supervised::start(home, port, command, Signal::TERM);
    assert!(Command::new(sv).arg("down").arg(&directory).stdout(Stdio::null()).status().unwrap().success());
    wait_for("the end of the server", || TcpStream::connect(("127.0.0.1", port)).is_err());
    let absent = server(&format!("check --port {port} --kind webui"));
    let by_hand = common::start(
        Command::new("python3")
            .arg(program_file("hermes-webui/server.py"))
            .env("HERMES_HOME", running.home.path())
            .env("PORT", port.to_string()),
    );
    let found = server(&format!("check --port {port}"));
    let expected = server(&format!("check --expect runit:{}", directory.display()));
    drop(by_hand);
    drop(running);
    assert_eq!(roots(&absent), ["server-not-running"], "{absent:#}");
    assert_eq!(
        (found["status"].as_str(), ids(&found)),
        (Some("healthy"), vec!["unsupervised-server".to_owned()]),
        "{found:#}"
    );
    // Unless --expect says that the service should run it.
    assert_eq!(roots(&expected), ["orphaned-server"], "{expected:#}");
    assert_eq!(expected["lineage"]["supervisor"]["state"], "down");
}

/// By default supervisord does not restart a program that ended with success: a launcher that detaches stays down,
/// and no supervisor claims its server.
#[test]
fn supervisord_leaves_a_launcher_at_its_exit() {
    let Some(program) = tool("supervisord") else {
        return skipped("supervisord", "it is not installed (tests/run installs it)");
    };
    let (home, port) = (common::home(), free_port());
    let configuration = format!(
        "[supervisord]\nnodaemon=true\nlogfile={home}/supervisord.log\npidfile={home}/supervisord.pid\n\
         [unix_http_server]\nfile=%(here)s/supervisor.sock\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:hermes-webui]\ncommand=python3 {launcher} 127.0.0.1 {port}\nstartsecs=0\n\
         stderr_logfile={home}/webui.err\nenvironment=HERMES_HOME=\"{home}\",EXEC=\"no\"\n",
        home = home.path().display(),
        launcher = program_file("hermes-webui/bootstrap.py").display(),
    );
    let file = home.path().join("supervisord.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(&file);
    let running = Supervised::start(home, port, command, Signal::TERM);
    let mut found = serde_json::Value::Null;
    wait_for("the end of the launcher", || {
        found = server(&format!("lineage --port {port}"));
        found["lineage"]["supervisor"]["state"] == "EXITED"
    });
    let by_program = server(&format!("lineage --port {port} --expect supervisord:hermes-webui"));
    let log = running.home.path().join("webui.err");
    drop(running);
    assert_eq!(
        (found["status"].as_str(), roots(&found)),
        (Some("warning"), vec!["launcher-detached"]),
        "{found:#}"
    );
    assert_eq!(finding(&found, "orphaned-server")["caused_by"][0], "launcher-detached");
    assert_eq!(found["lineage"]["supervisor"]["log"], log.to_str().unwrap());
    assert_eq!(roots(&by_program), ["launcher-detached"], "{by_program:#}");
    let next = finding(&found, "launcher-detached")["next"].to_string();
    assert!(next.contains(&format!("supervisorctl -c {} start hermes-webui", file.display())), "{next}");
}

/// A pm2 daemon of the test's own.
struct Pm2 {
    program: std::path::PathBuf,
    home: tempfile::TempDir,
    data: tempfile::TempDir,
}

impl Pm2 {
    /// Starts the launcher under it; `None` with a message if pm2 is not installed.
    fn start(port: u16, exec: bool) -> Option<Self> {
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/pm2/node_modules/.bin/pm2");
        if !program.exists() {
            skipped("pm2", "it is not installed (tests/run installs it where there is npm)");
            return None;
        }
        // The path of a socket has 107 bytes at most.
        let home = tempfile::Builder::new().prefix("pm2-").tempdir_in("/tmp").unwrap();
        let pm2 = Self { program, home, data: common::home() };
        let launcher = program_file("hermes-webui/bootstrap.py");
        let started = pm2
            .command()
            .env("HERMES_HOME", pm2.data.path())
            .env("EXEC", if exec { "yes" } else { "no" })
            .env("API_KEY", "canary-of-pm2")
            .arg("start")
            .arg(launcher)
            .args(["--name", "hermes-webui", "--interpreter", "python3", "--", "127.0.0.1", &port.to_string()])
            .status()
            .unwrap();
        assert!(started.success());
        wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(pm2)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("PM2_HOME", self.home.path())
            .env("PM2_DISCRETE_MODE", "true")
            .env("PM2_DISABLE_VERSION_CHECK", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
    }
}

impl Drop for Pm2 {
    fn drop(&mut self) {
        let _ = self.command().arg("kill").status();
        end_all_of(self.data.path());
    }
}

#[test]
fn pm2_by_its_own_socket() {
    for exec in [true, false] {
        let port = free_port();
        let Some(pm2) = Pm2::start(port, exec) else { return };
        wait_for("the end of the launcher", || common::is_launched(pm2.data.path()));
        let found = server(&format!("check --port {port}"));
        if !exec {
            // After this many starts pm2 gives up.
            let mut given_up = serde_json::Value::Null;
            wait_for("the end of the attempts", || {
                given_up = server(&format!("lineage --port {port}"));
                given_up["lineage"]["supervisor"]["state"] == "errored"
            });
            assert_eq!(roots(&given_up), ["orphaned-server"], "{given_up:#}");
            assert_eq!(finding(&given_up, "supervisor-gave-up")["severity"], "warning");
        }
        let by_name = server("lineage --expect pm2:hermes-webui");
        drop(pm2);
        check(&found, "pm2", "hermes-webui", exec);
        assert!(!found.to_string().contains("canary-of-pm2"));
        assert_eq!(by_name["port"], port, "{by_name:#}");
        let supervisor = &found["lineage"]["supervisor"];
        assert!(supervisor["command"].as_str().unwrap().contains("bootstrap.py"), "{supervisor:#}");
        assert!(supervisor["log"].as_str().unwrap().ends_with("hermes-webui-error.log"), "{supervisor:#}");
    }
}

/// The launcher after wrappers, over several lines, with its home in a directory of variables.
#[test]
fn a_run_script_with_wrappers_is_recognised() {
    let (Some(runsv), Some(_)) = (tool("runsv"), tool("chpst")) else {
        return skipped("runit", "it is not installed (Debian package runit)");
    };
    let (home, port) = (common::home(), free_port());
    let directory = service(home.path(), port, false);
    let variables = home.path().join("env");
    std::fs::create_dir(&variables).unwrap();
    std::fs::write(variables.join("HERMES_HOME"), format!("{}\n", home.path().display())).unwrap();
    std::fs::write(variables.join("API_KEY"), "canary-of-the-directory").unwrap();
    let script = format!(
        "#!/bin/sh\nexec chpst -e {} \\\n  nice -n 1 env EXEC=no python3 \\\n  {} --no-browser 127.0.0.1 {port}\n",
        variables.display(),
        program_file("hermes-webui/bootstrap.py").display()
    );
    std::fs::write(directory.join("run"), script).unwrap();
    let mut command = Command::new(runsv);
    command.arg(&directory);
    let running = Supervised::start(home, port, command, Signal::TERM);
    wait_for("the end of the launcher", || common::is_launched(running.home.path()));
    let found = server(&format!("check --port {port}"));
    let home = running.home.path().to_owned();
    drop(running);
    check(&found, "runit", directory.to_str().unwrap(), false);
    assert_eq!(found["lineage"]["supervisor"]["home"], home.to_str().unwrap());
    assert!(!found.to_string().contains("canary-of-the-directory"));
}

/// Two programs of one supervisord: one runs, and the other, of another home and port, has given up.
#[test]
fn a_failed_program_is_reported_although_another_is_healthy() {
    let Some(program) = tool("supervisord") else {
        return skipped("supervisord", "it is not installed (tests/run installs it)");
    };
    let (home, well, ill) = (common::home(), free_port(), free_port());
    let configuration = format!(
        "[supervisord]\nnodaemon=true\nlogfile={home}/supervisord.log\npidfile={home}/supervisord.pid\n\
         [unix_http_server]\nfile=%(here)s/supervisor.sock\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:well]\ncommand=python3 {launcher} 127.0.0.1 {well}\nenvironment=HERMES_HOME=\"{home}\",EXEC=\"yes\"\n\
         [program:ill]\ncommand=python3 /nonexistent/hermes-webui/server.py\nstartretries=0\n\
         environment=HERMES_HOME=\"{home}/profiles/ill\",HERMES_WEBUI_PORT=\"{ill}\"\n",
        home = home.path().display(),
        launcher = program_file("hermes-webui/bootstrap.py").display(),
    );
    let file = home.path().join("supervisord.conf");
    std::fs::write(&file, configuration).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(&file);
    let running = Supervised::start(home, well, command, Signal::TERM);
    let mut found = Vec::new();
    wait_for("the program to be given up", || {
        let envelope = common::run("check --json").json();
        found = envelope["servers"].as_array().unwrap().clone();
        found.iter().any(|server| server["lineage"]["supervisor"]["state"] == "FATAL")
    });
    drop(running);
    let of = |port: u16| found.iter().find(|server| server["port"] == port).unwrap_or_else(|| panic!("{found:#?}"));
    assert_eq!((roots(of(ill)), of(ill)["pid"].as_u64()), (vec!["supervisor-gave-up"], None), "{:#}", of(ill));
    assert_eq!(of(well)["status"], "healthy", "{:#}", of(well));
}
