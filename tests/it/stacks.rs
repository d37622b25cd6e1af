//! Python stacks of live servers: the lock and its holder are reported, the process is not changed, and stacks that
//! cannot be read are a gap with the required permission.

use crate::common;

use common::{
    Guard, doctor, finding, ids, pythons, run, run_with, server, settled, skipped, threads, wait_channel, wait_for,
    webui, webui_of,
};
use serde_json::Value;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Sends requests and keeps their connections; the answers are left unread.
fn requests(target: &Guard, count: usize) -> Vec<TcpStream> {
    let one = || {
        let mut stream = TcpStream::connect(("127.0.0.1", target.port)).unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    (0..count).map(|_| one()).collect()
}

/// The line of the target's source with this text, counted from 1.
fn line_of(text: &str) -> u64 {
    let source = std::fs::read_to_string(common::program_file("hermes-webui/server.py")).unwrap();
    let at = source.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("no {text}"));
    u64::try_from(at + 1).unwrap()
}

fn lock<'a>(server: &'a Value, expression: &str) -> &'a Value {
    let locks = server["stacks"]["locks"].as_array().unwrap();
    let found = locks.iter().find(|lock| lock["expression"] == expression);
    found.unwrap_or_else(|| panic!("no lock {expression} in {server:#}"))
}

/// For every installed interpreter: file, line, lock and holder.
#[test]
fn a_deadlock_names_the_line_the_lock_and_its_holder() {
    for python in pythons() {
        let target = webui_of(&python, "deadlock");
        let _waiting = requests(&target, 5);
        settled(target.pid(), 7);
        let server = server(&format!("stacks --pid {}", target.pid()));
        let context = format!("{}: {server:#}", python.display());
        let lock = lock(&server, "STREAMS_LOCK");
        let place = (lock["line"].as_u64(), lock["waiters"].as_u64());
        assert_eq!(place, (Some(line_of("with STREAMS_LOCK:")), Some(5)), "{context}");
        assert!(lock["file"].as_str().unwrap().ends_with("/hermes-webui/server.py"), "{context}");
        assert!(lock["function"].as_str().unwrap().ends_with("do_GET"), "{context}");
        assert_eq!((&lock["is_still"], &lock["is_cycle"]), (&Value::Bool(true), &Value::Bool(false)), "{context}");
        let holder = &lock["held_by"];
        assert_eq!(
            (holder["name"].as_str(), holder["function"].as_str()),
            (Some("agent-sync"), Some("keep")),
            "{context}"
        );
        assert_eq!(holder["line"].as_u64(), Some(line_of("        wait_for_the_agent()")), "{context}");
        assert_eq!(holder["innermost"]["function"], "wait_for_the_agent", "{context}");
        assert_eq!(holder["role"], "waits", "{context}");
        let tid = holder["tid"].as_u64().unwrap();
        let name = std::fs::read_to_string(format!("/proc/{}/task/{tid}/comm", target.pid()));
        assert!(name.is_ok(), "{context}");
        assert_eq!(server["stacks"]["is_complete"], true, "{context}");
        let found = finding(&server, "threads-wait-for-lock");
        let title = found["title"].as_str().unwrap();
        assert!(
            title.contains("5 threads wait at server.py:")
                && title.contains(&format!("held by agent-sync ({tid})")),
            "{title}"
        );
        assert_eq!(server["status"], "warning", "{context}");
        let version = server["stacks"]["interpreter"].as_str().unwrap();
        let said = Command::new(&python).arg("--version").output().unwrap();
        assert_eq!(String::from_utf8_lossy(&said.stdout).trim(), format!("Python {version}"));
    }
}

#[test]
fn two_locks_that_wait_for_each_other_are_a_cycle() {
    for python in pythons() {
        let target = webui_of(&python, "crossed");
        let _waiting = requests(&target, 2);
        settled(target.pid(), 5);
        let server = server(&format!("stacks --pid {}", target.pid()));
        let context = format!("{}: {server:#}", python.display());
        let handlers = lock(&server, "STREAMS_LOCK");
        assert_eq!(handlers["held_by"]["name"], "stream-reaper", "{context}");
        assert_eq!(
            (&handlers["is_cycle"], &handlers["waiters"]),
            (&Value::Bool(true), &Value::from(2)),
            "{context}"
        );
        let waits_for = handlers["held_by"]["waits_for"].as_str().unwrap();
        assert!(waits_for.starts_with("AGENT_LOCK at server.py:"), "{context}");
        // The same line waits for two locks.
        let locks = server["stacks"]["locks"].as_array().unwrap();
        let pairs: Vec<(&str, &str)> = locks
            .iter()
            .filter(|lock| lock["expression"] == "second")
            .map(|lock| (lock["given_as"].as_str().unwrap(), lock["held_by"]["name"].as_str().unwrap()))
            .collect();
        assert!(
            pairs.contains(&("AGENT_LOCK", "agent-sync")) && pairs.contains(&("STREAMS_LOCK", "stream-reaper")),
            "{context}"
        );
        assert_eq!(ids(&server).iter().filter(|id| *id == "threads-wait-for-lock").count(), 1, "{context}");
        assert!(
            finding(&server, "threads-wait-for-lock")["title"].as_str().unwrap().ends_with("a deadlock"),
            "{context}"
        );
    }
}

#[test]
fn the_holder_of_the_interpreter_is_named_with_its_line() {
    for python in pythons() {
        let target = webui_of(&python, "gil");
        wait_for("the search", || {
            let pid = target.pid();
            threads(pid).into_iter().any(|tid| tid != pid && wait_channel(pid, tid) == "0")
        });
        // It has used CPU time, so it is already in the search.
        let ticks = |tid: u32| {
            let stat =
                std::fs::read_to_string(format!("/proc/{}/task/{tid}/stat", target.pid())).unwrap_or_default();
            let fields = stat.rsplit(") ").next().unwrap_or_default().to_owned();
            fields.split(' ').nth(11).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0)
        };
        wait_for("the search", || {
            threads(target.pid()).into_iter().any(|tid| tid != target.pid() && ticks(tid) >= 10)
        });
        let server = server(&format!("stacks --pid {}", target.pid()));
        let groups = server["stacks"]["groups"].as_array().unwrap();
        let holds =
            |group: &&Value| group["threads"].as_array().unwrap().iter().any(|thread| thread["holds_gil"] == true);
        let holder = groups.iter().find(holds).unwrap_or_else(|| panic!("{}: {server:#}", python.display()));
        assert_eq!(
            (&holder["role"], &holder["threads"][0]["name"]),
            (&Value::from("running"), &Value::from("search"))
        );
        let frames = holder["frames"].as_array().unwrap();
        assert_eq!(frames[1]["function"], "run_in_c", "{holder:#}");
        assert_eq!(frames[1]["line"].as_u64(), Some(line_of("re.match(")), "{holder:#}");
        assert!(server["stacks"]["locks"].as_array().unwrap().is_empty(), "{server:#}");
    }
}

/// Many threads that wait, but none for a lock that another thread keeps.
#[test]
fn healthy_waiting_is_no_lock() {
    let script = "
import concurrent.futures, queue, threading, time
pool = concurrent.futures.ThreadPoolExecutor(4)
list(pool.map(time.sleep, [0.05] * 4))
work, event, condition, lock = queue.Queue(), threading.Event(), threading.Condition(), threading.Lock()
def wait_for_condition():
    with condition:
        condition.wait()
def wait_inside():
    with lock:
        event.wait()
def briefly():
    while True:
        with condition:
            time.sleep(0.02)
        time.sleep(0.001)
for target in [work.get, event.wait, wait_for_condition, wait_inside, briefly, briefly, threading.Semaphore(0).acquire]:
    threading.Thread(target=target, daemon=True).start()
time.sleep(0.3)
print('ready 1', flush=True)
time.sleep(600)
";
    for python in pythons() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("healthy.py");
        std::fs::write(&file, script).unwrap();
        let target = common::start(Command::new(&python).arg(&file));
        for _ in 0..3 {
            let server = server(&format!("stacks --pid {}", target.pid()));
            let context = format!("{}: {server:#}", python.display());
            assert_eq!((&server["status"], ids(&server).len()), (&Value::from("healthy"), 0), "{context}");
            let idle: u64 = server["stacks"]["groups"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|group| group["role"] == "idle")
                .map(|group| group["count"].as_u64().unwrap())
                .sum();
            assert!(idle >= 5, "{context}");
        }
    }
    let pool = webui("workers=4");
    let server = server(&format!("stacks --pid {}", pool.pid()));
    assert_eq!(server["status"], "healthy", "{server:#}");
    assert!(server["stacks"]["locks"].as_array().unwrap().is_empty(), "{server:#}");
}

fn gap<'a>(server: &'a Value, what: &str) -> &'a Value {
    let gaps = server["gaps"].as_array().unwrap();
    gaps.iter().find(|gap| gap["what"].as_str().unwrap().starts_with(what)).unwrap_or_else(|| panic!("{server:#}"))
}

#[test]
fn a_process_without_python_is_a_gap() {
    let child = Command::new("sleep").arg("600").stdout(Stdio::null()).spawn().unwrap();
    let target = Guard { child, port: 0, home: None };
    // The developer's environment can request backtraces in errors.
    for variable in ["NOTHING", "RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        let mut look = doctor();
        look.args(["stacks", "--json", "--pid", &target.pid().to_string()]).env(variable, "1");
        let server = run_with(&mut look).json()["servers"][0].clone();
        let gap = gap(&server, "Python stacks");
        assert_eq!(
            (&gap["reason"], &server["status"]),
            (&Value::from("unsupported"), &Value::from("unknown")),
            "{variable}: {server:#}"
        );
        assert!(gap["detail"].as_str().unwrap().contains("no Python interpreter"), "{variable}: {server:#}");
        assert_eq!(server["stacks"], Value::Null);
    }
}

/// Another user may not read the memory: status 3, and the required permission.
#[test]
fn a_missing_permission_is_decisive_if_only_stacks_are_requested() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a_missing_permission_is_decisive", "it takes root to become another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("hermes-doctor");
    std::fs::copy(common::program(), &program).unwrap();
    for path in [directory.path(), &program] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let target = webui("");
    let as_nobody = |arguments: &str| {
        let mut command = Command::new(&program);
        run_with(command.args(arguments.split(' ')).current_dir("/").env_clear().uid(65534).gid(65534))
    };
    let answer = as_nobody(&format!("stacks --pid {} --json", target.pid()));
    let server = answer.json()["servers"][0].clone();
    assert_eq!(answer.exit, 3, "{server:#}");
    let gap = gap(&server, "Python stacks");
    assert_eq!(gap["reason"], "permission", "{server:#}");
    let detail = gap["detail"].as_str().unwrap();
    assert!(["own user", "root", "CAP_SYS_PTRACE"].iter().all(|word| detail.contains(word)), "{detail}");
    if let Ok(scope) = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope") {
        assert!(detail.contains(&format!("here it is {}", scope.trim())), "{detail}");
    }
    // In a full check it is a gap like any other.
    let answer = as_nobody(&format!("check --stacks --port {} --json", target.port));
    assert_eq!(answer.exit, 0, "{}", answer.stdout);
}

#[test]
fn a_stopped_process_shows_its_stacks() {
    let target = webui("");
    // It prints that it is ready a moment before its loop begins.
    wait_for("the loop", || wait_channel(target.pid(), target.pid()).contains("poll"));
    target.signal(rustix::process::Signal::STOP);
    wait_for("the stop", || wait_channel(target.pid(), target.pid()) == "do_signal_stop");
    let server = server(&format!("stacks --pid {}", target.pid()));
    assert_eq!(ids(&server), ["process-stopped"], "{server:#}");
    let frames = server["stacks"]["groups"][0]["frames"].to_string();
    assert!(frames.contains("serve_forever"), "{server:#}");
    assert_eq!(server["stacks"]["groups"][0]["threads"][0]["state"], "stopped", "{server:#}");
}

/// The process ends between any two reads: an answer, never a panic, and never stacks of another process.
#[test]
fn a_process_that_ends_during_the_stack_read_is_a_gap() {
    for wait in [20_u64, 60, 120, 250] {
        let mut target = webui("deadlock");
        let _waiting = requests(&target, 2);
        settled(target.pid(), 4);
        let mut doctor = common::doctor();
        doctor.args(["stacks", "--json", "--pid", &target.pid().to_string()]);
        let running = doctor.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        target.child.kill().unwrap();
        target.child.wait().unwrap();
        let output = running.wait_with_output().unwrap();
        assert!(matches!(output.status.code(), Some(0..=3)), "{wait}: {output:?}");
        assert!(output.stderr.is_empty(), "{wait}: {}", String::from_utf8_lossy(&output.stderr));
        let envelope: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_ne!(envelope["status"], "healthy", "{wait}: {envelope:#}");
    }
}

/// A check reads the stacks only on request, and suggests them if they would help.
#[test]
fn a_check_reads_stacks_only_on_request() {
    let sick = webui("deadlock");
    let without = run(&format!("check --port {} --timeout 500ms", sick.port));
    assert!(without.stdout.contains("Python stacks (use --stacks)"), "{}", without.stdout);
    let with = server(&format!("check --stacks --port {} --timeout 500ms", sick.port));
    assert!(with["examined"].to_string().contains("stacks"), "{with:#}");
    assert_eq!(lock(&with, "STREAMS_LOCK")["held_by"]["name"], "agent-sync");
    assert_eq!(with["status"], "critical", "{with:#}");
    let evidence = with["findings"].to_string();
    assert!(evidence.contains("wait at server.py:") && evidence.contains("thread agent-sync"), "{with:#}");
    let shown = run(&format!("check --stacks --port {} --timeout 500ms", sick.port));
    assert!(
        shown.stdout.contains("held by agent-sync") && !shown.stdout.contains("use --stacks"),
        "{}",
        shown.stdout
    );

    let well = webui("");
    let without = server(&format!("check --port {}", well.port));
    assert_eq!(without.get("stacks"), None);
    let shown = run(&format!("check --port {}", well.port));
    assert!(!shown.stdout.contains("Python stacks"), "{}", shown.stdout);
    let with = server(&format!("check --stacks --port {}", well.port));
    assert_eq!(with["status"], "healthy", "{with:#}");
    assert!(with["stacks"]["groups"].to_string().contains("serve_forever"), "{with:#}");
}

/// Only the memory of the process is read: it is not traced, stopped or signalled; without the flag even its memory
/// is not read.
#[test]
fn reading_stacks_only_reads_the_memory_of_the_process() {
    let Some(strace) = common::tool("strace") else {
        return skipped("reading_stacks_only_reads_the_memory_of_the_process", "it takes strace");
    };
    let target = webui("deadlock");
    let _waiting = requests(&target, 3);
    settled(target.pid(), 5);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("strace");
    for (arguments, reads) in
        [("stacks", true), ("check --timeout 300ms", false), ("check --stacks --timeout 300ms", true)]
    {
        let mut command = Command::new(&strace);
        command.args(["-f", "-s", "0", "-o"]).arg(&log).arg(common::program());
        command.args(arguments.split(' ')).args(["--pid", &target.pid().to_string(), "--budget", "30s"]);
        let answer = run_with(command.env("HOME", "/nonexistent"));
        assert!((1..=2).contains(&answer.exit), "{arguments}: {} {}", answer.stdout, answer.stderr);
        let calls = std::fs::read_to_string(&log).unwrap();
        assert_eq!(calls.contains("process_vm_readv("), reads, "{arguments}");
        for line in calls.lines() {
            let forbidden = [
                "ptrace(",
                " kill(",
                "tkill(",
                "tgkill(",
                "pidfd_send_signal(",
                "process_vm_writev(",
                "rt_sigqueueinfo(",
                "setns(",
                "process_madvise(",
                "kcmp(",
            ];
            assert!(!forbidden.iter().any(|call| line.contains(call)), "{arguments}: {line}");
            assert!(!(line.contains("/mem\"") && line.contains("/proc/")), "{arguments}: {line}");
        }
    }
}

/// In a container the thread ids of the interpreter differ from those of the kernel outside.
#[test]
fn threads_of_another_pid_namespace_are_found() {
    if !rustix::process::geteuid().is_root() {
        return skipped("threads_of_another_pid_namespace", "it takes root to make a namespace");
    }
    let home = common::home();
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child=KILL", "python3"]);
    command.arg(common::program_file("hermes-webui/server.py"));
    let target = common::start(command.env("HERMES_HOME", home.path()).env("TEST_SERVER", "deadlock"));
    let _waiting = requests(&target, 3);
    let inside = common::children_of(target.pid());
    settled(inside[0], 5);
    let server = server(&format!("stacks --port {}", target.port));
    let lock = lock(&server, "STREAMS_LOCK");
    assert_eq!(
        (&lock["waiters"], &lock["held_by"]["name"]),
        (&Value::from(3), &Value::from("agent-sync")),
        "{server:#}"
    );
    let (pid, tid) = (server["pid"].as_u64().unwrap(), lock["held_by"]["tid"].as_u64().unwrap());
    let name = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap();
    assert!(name.contains("NSpid"), "{name}");
    assert_eq!(lock["is_still"], true, "{server:#}");
}

/// Hundreds of threads, deep recursion, and a source file that was changed later.
#[test]
fn large_and_odd_processes_are_bounded() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("odd.py");
    let script = "
import sys, threading, time
sys.setrecursionlimit(5000)
lock = threading.Lock()
def deep(n):
    return deep(n - 1) if n else time.sleep(600)
def wait(x):
    with lock:
        pass
lock.acquire()
threading.Thread(target=deep, args=(500,), daemon=True).start()
for n in range(600):
    threading.Thread(target=wait, args=(n,), daemon=True).start()
time.sleep(0.3)
print('ready 1', flush=True)
time.sleep(600)
";
    std::fs::write(&file, script).unwrap();
    let target = common::start(Command::new("python3").arg(&file));
    let begun = Instant::now();
    let answer = server(&format!("stacks --pid {}", target.pid()));
    assert!(begun.elapsed() < Duration::from_secs(16), "{:?}", begun.elapsed());
    let stacks = &answer["stacks"];
    let groups = stacks["groups"].as_array().unwrap();
    let shown: u64 = groups.iter().map(|group| group["count"].as_u64().unwrap()).sum();
    assert_eq!(shown + stacks["threads_omitted"].as_u64().unwrap(), 602);
    assert!(shown <= 512 && groups.iter().all(|group| group["frames"].as_array().unwrap().len() <= 64));
    let lock = lock(&answer, "lock");
    assert_eq!(lock["held_by"], Value::Null, "{lock:#}");
    assert!(lock["no_holder"].as_str().unwrap().contains("no thread stands inside"), "{lock:#}");
    assert!(ids(&answer).is_empty(), "{answer:#}");

    std::fs::write(&file, format!("# one line more\n{script}")).unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(60);
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(later).unwrap();
    let changed = server(&format!("stacks --pid {}", target.pid()));
    assert!(changed["stacks"]["locks"].as_array().unwrap().is_empty(), "{changed:#}");
    assert!(gap(&changed, "source of ")["detail"].as_str().unwrap().contains("changed"), "{changed:#}");
}
