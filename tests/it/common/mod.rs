//! Starts test servers, runs the doctor on them, and kills them by their pids.
#![allow(dead_code)]

#[cfg(target_os = "linux")]
pub mod hung;
#[cfg(target_os = "linux")]
pub mod other_user;
pub mod reported;
#[cfg(target_os = "linux")]
pub mod traced;
pub mod tty;

use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The program under test: that of this build, or the one in `HERMES_DOCTOR_PROGRAM` (for example a release build).
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let named = std::env::var("HERMES_DOCTOR_PROGRAM").ok();
        let named = named.as_deref().unwrap_or(built_program());
        // Tests run the program in other directories.
        let path = Path::new(named).canonicalize().unwrap_or_else(|error| panic!("{named}: {error}"));
        path.into_os_string().into_string().expect("the path of the program is UTF-8")
    })
}

/// The program that is built with the tests.
fn built_program() -> &'static str {
    // `cargo xtask` is not an integration test, so this variable is not set for it.
    option_env!("CARGO_BIN_EXE_hermes-doctor")
        .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/target/debug/hermes-doctor"))
}

/// The program under test, to be run with arguments.
pub fn doctor() -> Command {
    doctor_of(program())
}

/// The program that is built with the tests, for tests that preload a library: the static program loads none.
pub fn dynamic_doctor() -> Command {
    doctor_of(built_program())
}

fn doctor_of(program: &str) -> Command {
    let mut command = Command::new(program);
    // The developer's own environment must not change the result.
    command.env("HOME", "/nonexistent").env_remove("HERMES_HOME").env("LC_ALL", "C.UTF-8");
    command
}

/// The same, with the default action for SIGINT, which is ignored if the tests were started in the background (GNU
/// env).
pub fn interruptible() -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal=INT").arg(program());
    command.env("HOME", "/nonexistent").env_remove("HERMES_HOME").env("LC_ALL", "C.UTF-8");
    command
}

/// The output of one run.
pub struct Answer {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    fn of(output: Output) -> Self {
        Self {
            exit: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).expect("standard output is UTF-8"),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// The envelope; the exit status must agree with it.
    pub fn json(&self) -> Value {
        let envelope: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {}\n{}", self.stdout, self.stderr));
        assert_eq!(envelope["schema"], "hermes-doctor/1");
        let code = match envelope["status"].as_str().unwrap() {
            "healthy" => 0,
            "warning" => 1,
            "critical" => 2,
            "unknown" => 3,
            other => panic!("status {other}"),
        };
        assert_eq!(self.exit, code, "exit status and envelope disagree: {}", self.stdout);
        // The last answer of each test, for `cargo xtask fixtures --of-tests`.
        if let (Some(directory), Some(name)) =
            (std::env::var_os("HERMES_DOCTOR_KEEP"), std::thread::current().name())
        {
            let name = name.rsplit("::").next().unwrap_or_default();
            std::fs::write(Path::new(&directory).join(format!("{name}.json")), &self.stdout).unwrap();
        }
        envelope
    }
}

/// The path of a test in this binary, `module::name`, by its name. A test that runs its own binary again needs it.
pub fn path_of(test: &str) -> String {
    static LIST: OnceLock<String> = OnceLock::new();
    let list = LIST.get_or_init(|| {
        let own = std::env::current_exe().expect("the path of the test binary");
        let output = Command::new(own).args(["--list", "--format", "terse"]).output().expect("the list of tests");
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    let paths = list.lines().filter_map(|line| line.strip_suffix(": test"));
    let mut found = paths.filter(|path| path.rsplit("::").next() == Some(test));
    let path = found.next().unwrap_or_else(|| panic!("no test has the name {test}"));
    assert!(found.next().is_none(), "two tests have the name {test}");
    path.to_owned()
}

/// Runs the doctor with these arguments, separated by spaces.
pub fn run(arguments: &str) -> Answer {
    run_with(doctor().args(arguments.split_whitespace()))
}

/// Runs a prepared command.
pub fn run_with(command: &mut Command) -> Answer {
    Answer::of(command.stdin(Stdio::null()).output().expect("the doctor runs"))
}

/// Runs the doctor with `--json` and returns its only server.
pub fn server(arguments: &str) -> Value {
    let envelope = run(&format!("{arguments} --json")).json();
    let servers = envelope["servers"].as_array().unwrap();
    assert_eq!(servers.len(), 1, "{envelope:#}");
    servers[0].clone()
}

/// Ids of the findings of a server.
pub fn ids(server: &Value) -> Vec<String> {
    server["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| finding["id"].as_str().unwrap().to_owned())
        .collect()
}

/// One finding of a server.
pub fn finding<'a>(server: &'a Value, id: &str) -> &'a Value {
    server["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["id"] == id)
        .unwrap_or_else(|| panic!("no finding {id} in {server:#}"))
}

/// Root causes of a server.
pub fn roots(server: &Value) -> Vec<&str> {
    server["root_causes"].as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect()
}

/// A process that is killed by its pid and reaped when the test ends.
pub struct Guard {
    pub child: Child,
    pub port: u16,
    pub home: Option<tempfile::TempDir>,
}

impl Guard {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn home(&self) -> &Path {
        self.home.as_ref().unwrap().path()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        signal_pid(self.pid(), signal);
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that a test has started.
pub fn signal_pid(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Starts a command that prints `ready PORT` when it is up.
pub fn start(command: &mut Command) -> Guard {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the target starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim().strip_prefix("ready ").and_then(|port| port.parse().ok());
    let guard = Guard { child, port: port.unwrap_or(0), home: None };
    assert!(port.is_some(), "the target said {line:?}");
    guard
}

/// Path of a file in `tests/programs`.
pub fn program_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

/// A home as Hermes leaves it.
pub fn home() -> tempfile::TempDir {
    let home = tempfile::Builder::new().prefix("hermes-doctor-test-").tempdir().unwrap();
    std::fs::write(home.path().join("config.yaml"), "").unwrap();
    home
}

/// A Python server with the structure of the real one and CPython's sqlite3; `what` selects its problem.
pub fn webui(what: &str) -> Guard {
    webui_of(Path::new("python3"), what)
}

/// The same under another interpreter.
pub fn webui_of(python: &Path, what: &str) -> Guard {
    let home = home();
    let mut guard = start(
        Command::new(python)
            .arg(program_file("hermes-webui/server.py"))
            // The output file of a test run is not a log of the server.
            .stderr(Stdio::null())
            .env("HERMES_HOME", home.path())
            .env("TEST_SERVER", what),
    );
    guard.home = Some(home);
    guard
}

/// Every installed CPython from 3.10 on: first the one on the PATH, then those of a version manager.
pub fn pythons() -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("python3")];
    let versions = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".pyenv/versions"));
    for entry in versions.and_then(|path| std::fs::read_dir(path).ok()).into_iter().flatten().flatten() {
        let program = entry.path().join("bin/python3");
        let is_new = entry.file_name().to_str().is_some_and(|name| name.starts_with("3.1"));
        if is_new && program.exists() {
            found.push(program);
        }
    }
    found.extend(["/usr/bin/python3"].map(PathBuf::from).into_iter().filter(|path| path.exists()));
    found
}

/// Waits for a condition, with a timeout for a busy machine; panics with `what` at the timeout.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a condition holds within a time limit, for a destructor, which must not panic.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !condition() {
        if Instant::now() > end {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}

/// Runs a program, calls `action` with its pid when it has printed this many lines, and returns all of its output.
pub fn run_until(command: &mut Command, lines: usize, action: impl FnOnce(u32)) -> Answer {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut output = BufReader::new(child.stdout.take().expect("its output is a pipe"));
    let mut text = String::new();
    for _ in 0..lines {
        assert!(output.read_line(&mut text).unwrap() > 0, "only these lines came: {text}");
    }
    action(child.id());
    output.read_to_string(&mut text).unwrap();
    let ended = child.wait_with_output().unwrap();
    Answer { stdout: text, ..Answer::of(ended) }
}

/// Connections on a local TCP port of this host that are in state ESTABLISHED.
pub fn established(port: u16) -> usize {
    sockets(|local, _, state| local == port && state == "01")
}

/// Whether a TCP port of this host has, or has had, a connection: TIME-WAIT, the last state of either end, lasts a minute.
pub fn was_connected(port: u16) -> bool {
    sockets(|local, remote, state| (local == port || remote == port) && state != "0A") > 0
}

/// TCP sockets of this host, by local port, remote port and state in hexadecimal (proc_net(5)).
fn sockets(is_wanted: impl Fn(u16, u16, &str) -> bool) -> usize {
    let is_one = |line: &&str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = |at: usize| u16::from_str_radix(fields.get(at)?.rsplit_once(':')?.1, 16).ok();
        let ports = port(1).zip(port(2)).zip(fields.get(3));
        ports.is_some_and(|((local, remote), state)| is_wanted(local, remote, state))
    };
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|name| std::fs::read_to_string(name).unwrap_or_default());
    tables.iter().map(|table| table.lines().filter(is_one).count()).sum()
}

/// Whether the server of a home runs, and no launcher is its parent.
pub fn is_launched(home: &Path) -> bool {
    let read = |pid: &str, name: &str| std::fs::read(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let variable = format!("HERMES_HOME={}", home.display());
    let pids =
        std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut servers = pids.filter(|pid| {
        let command = text(read(pid, "cmdline"));
        command.contains("server.py") && text(read(pid, "environ")).split('\0').any(|entry| entry == variable)
    });
    servers.any(|pid| {
        let stat = text(read(&pid, "stat"));
        let parent = stat.rsplit(") ").next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
        !text(read(&parent, "cmdline")).contains("bootstrap.py")
    })
}

/// The kernel function in which a thread waits (wchan); `0` if it does not wait.
#[cfg(target_os = "linux")]
pub fn wait_channel(pid: u32, tid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/wchan")).unwrap_or_default()
}

/// Ids of the threads of a process.
#[cfg(target_os = "linux")]
pub fn threads(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()).collect()
}

/// Children of the main thread of a process (proc_tid_children(5)).
pub fn children_of(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// Children of a process that have ended and were not reaped.
#[cfg(target_os = "linux")]
pub fn zombies_of(parent: u32) -> usize {
    let stat = |entry: std::fs::DirEntry| std::fs::read_to_string(entry.path().join("stat")).ok();
    let is_one = |line: &String| {
        let fields: Vec<&str> = line.rsplit(") ").next().unwrap().split(' ').collect();
        fields[0] == "Z" && fields[1] == parent.to_string()
    };
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(stat).filter(is_one).count()
}

/// Waits until a process has at least this many threads, and all of them wait in three samples in a row.
#[cfg(target_os = "linux")]
pub fn settled(pid: u32, count: usize) {
    let mut looks = 0;
    wait_for("threads that all wait", || {
        std::thread::sleep(Duration::from_millis(60));
        let threads = threads(pid);
        let all_wait = threads.len() >= count && threads.iter().all(|tid| wait_channel(pid, *tid) != "0");
        looks = if all_wait { looks + 1 } else { 0 };
        looks == 3
    });
}

/// Prints on standard error that a test is skipped, and why.
pub fn skipped(test: &str, why: &str) {
    assert!(std::env::var_os("HERMES_DOCTOR_NO_SKIP").is_none(), "{test} must not be skipped here: {why}");
    eprintln!("skipped: {test}: {why}");
}

/// A program that `tests/run` has installed, or that is on the PATH.
pub fn tool(name: &str) -> Option<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools/bin").join(name);
    if own.exists() {
        return Some(own);
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.exists())
}
