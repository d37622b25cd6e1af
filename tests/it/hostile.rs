//! Malicious or broken hosts: an answer within the budget, gaps with their reason, and no control characters for
//! the terminal.

use crate::common;

use common::hung::{Fate, Hung};
use common::other_user::isolated;
use common::{Answer, Guard, doctor, program_file, run_with, signal_pid, skipped, start, wait_for, webui};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Characters that a terminal, a log viewer or an editor would interpret, or that change the reading order.
const EVIL: &[u8] = b"\x1b]0;owned\x07\x1b[31m\nroot: \xff\xfe\xc2\x9b2J\xe2\x80\xae\xe2\x80\x8f\r\x7f";

/// Every view of a server.
const VIEWS: &[&str] = &[
    "check",
    "check --verbose",
    "check --json",
    "fds",
    "fds --verbose",
    "fds --json",
    "lineage",
    "lineage --verbose",
    "lineage --json",
    "port",
    "port --verbose",
    "port --json",
    "health",
    "health --verbose",
    "health --json",
];

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Both outputs contain only lines of printable characters.
fn is_clean(answer: &Answer, context: &str) {
    for output in [&answer.stdout, &answer.stderr] {
        let stray = output.split('\n').find(|line| !hermes_doctor::model::text::is_printable(line));
        assert_eq!(stray, None, "{context}");
    }
    assert!((0..=3).contains(&answer.exit), "{context}: {}", answer.stderr);
    assert!(!answer.stderr.contains("panic"), "{context}: {}", answer.stderr);
}

/// Runs a command until its process is reaped, not only until its last output.
fn reaped(command: &mut Command, limit: Duration) -> Answer {
    let output = tempfile::NamedTempFile::new().unwrap();
    let errors = tempfile::NamedTempFile::new().unwrap();
    command.stdin(Stdio::null()).stdout(output.reopen().unwrap()).stderr(errors.reopen().unwrap());
    let mut child = command.spawn().unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > limit {
            let waits = std::fs::read_dir(format!("/proc/{}/task", child.id())).unwrap().flatten().map(|task| {
                let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
                read("comm") + &read("wchan") + " " + &read("syscall") + &read("stack")
            });
            let waits: Vec<String> = waits.collect();
            let _ = child.kill();
            panic!("{waits:#?}: not reaped after {limit:?}: {}", std::fs::read_to_string(output.path()).unwrap());
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    Answer {
        exit: status.code().unwrap_or(-1),
        stdout: std::fs::read_to_string(output.path()).unwrap(),
        stderr: std::fs::read_to_string(errors.path()).unwrap(),
    }
}

fn gaps(value: &Value) -> Vec<(String, String)> {
    let text = |gap: &Value, key: &str| gap[key].as_str().unwrap().to_owned();
    let of = |value: &Value| -> Vec<(String, String)> {
        let gaps = value["gaps"].as_array().cloned().unwrap_or_default();
        gaps.iter().map(|gap| (text(gap, "what"), text(gap, "reason"))).collect()
    };
    let servers = value["servers"].as_array().cloned().unwrap_or_default();
    of(value).into_iter().chain(servers.iter().flat_map(of)).collect()
}

/// Name, arguments, files, working directory, home, headers and answers, in every view.
#[test]
fn no_untrusted_text_reaches_the_terminal_unescaped() {
    let home = common::home();
    let own = home.path().join(OsStr::from_bytes(EVIL));
    std::fs::create_dir(&own).unwrap();
    std::fs::write(own.join("config.yaml"), EVIL).unwrap();
    let target = start(
        Command::new("python3")
            .arg(program_file("texts/hermes-webui/server.py"))
            .arg(OsStr::from_bytes(EVIL))
            .arg("x".repeat(128 * 1024 - 1))
            .env("HERMES_HOME", &own),
    );
    for view in VIEWS {
        for name in [format!("--port {}", target.port), format!("--pid {}", target.pid())] {
            let begun = Instant::now();
            let answer = common::run(&format!("{view} {name} --timeout 1s"));
            assert!(begun.elapsed() < Duration::from_secs(16), "{view} {name}: {:?}", begun.elapsed());
            is_clean(&answer, view);
            assert!(answer.stdout.len() < 1024 * 1024, "{view}: {} bytes", answer.stdout.len());
        }
    }
    let answer = run_with(doctor().arg("db").arg("--home").arg(&own));
    is_clean(&answer, "db --home");
    let answer = run_with(doctor().arg("check").arg("--json"));
    is_clean(&answer, "a discovery");
    let found = answer.json()["servers"].as_array().unwrap().iter().any(|server| server["pid"] == target.pid());
    assert!(found, "its name hides it: {}", answer.stdout);
}

/// One byte per second, headers and bodies without an end, and a body with an announced length of 10 GB.
#[test]
fn endless_answers_end_with_the_budget() {
    for what in ["second", "headers", "body", "claims"] {
        let target = start(Command::new("python3").arg(program_file("hostile.py")).arg(what));
        let begun = Instant::now();
        let arguments = format!("check --port {} --kind webui --timeout 1s --budget 4s --json", target.port);
        // The memory is bounded too: however much is sent, the address space is limited to this size.
        let limited = format!("ulimit -v 131072; exec {} {arguments}", common::program());
        let answer = reaped(Command::new("sh").args(["-c", &limited]), Duration::from_secs(14));
        is_clean(&answer, what);
        let envelope = answer.json();
        assert_ne!(envelope["status"], "healthy", "{what} after {:?}: {envelope:#}", begun.elapsed());
    }
}

/// Ten thousand processes that end before they can be read.
#[test]
fn processes_that_come_and_go_by_the_thousand() {
    const CHURN: &str = "\
import os
print('ready 1', flush=True)
while True:
    born = [os.posix_spawn('/bin/true', ['true'], {}) for _ in range(20)]
    for child in born:
        os.waitpid(child, 0)
";
    let target = webui("");
    let last = || -> u64 {
        let text = std::fs::read_to_string("/proc/stat").unwrap();
        text.lines().find_map(|line| line.strip_prefix("processes ")).unwrap().parse().unwrap()
    };
    let before = last();
    let _churners: Vec<Guard> = (0..2).map(|_| start(Command::new("python3").args(["-c", CHURN]))).collect();
    let looks = [format!("check --port {}", target.port), "check".into(), "lineage".into(), "fds".into()];
    let mut rounds = 0;
    while rounds < 3 || last() - before < 10_000 {
        rounds += 1;
        assert!(rounds < 60, "only {} processes came and went", last() - before);
        for arguments in &looks {
            let arguments = format!("{arguments} --json --budget 5s");
            let answer = reaped(doctor().args(arguments.split(' ')), Duration::from_secs(15));
            is_clean(&answer, &arguments);
            let envelope = answer.json();
            let found = envelope["servers"].as_array().unwrap();
            let own = found.iter().find(|server| server["pid"] == target.pid());
            assert!(own.is_some(), "{arguments}: {envelope:#}");
        }
    }
}

/// Descendants of this process: its workers.
fn descendants(of: u32) -> Vec<u32> {
    let mut found = vec![of];
    let mut at = 0;
    while let Some(pid) = found.get(at).copied() {
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        found.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        at += 1;
    }
    found
}

/// Starts a process with this pid, which was free a moment ago; `None` if another process has taken it.
fn born_as(pid: u32, arguments: &[&OsStr]) -> Option<Guard> {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).ok()?;
    let mut command = Command::new(arguments[0]);
    let child = command.args(&arguments[1..]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let guard = Guard { child, port: 0, home: None };
    (guard.pid() == pid).then_some(guard)
}

/// The process ends, and another process gets its pid while the doctor is stopped between two of its reads: its
/// report is about one of the two processes, not both. The n-th open of a file stops the doctor, for n over the
/// whole examination.
#[test]
fn a_pid_that_is_recycled_is_never_half_of_two_processes() {
    const FIRST: &str = "import sys, time\nfiles = [open(sys.argv[1]) for _ in range(7)]\nprint('ready 1', flush=True)\ntime.sleep(600)";
    if !is_root() || common::tool("strace").is_none() {
        return skipped("a_recycled_pid", "it takes root, to choose a pid, and strace");
    }
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = ["first-life", "second-life"].map(|name| {
        let path = directory.path().join(name);
        std::fs::write(&path, "").unwrap();
        path
    });
    let (mut recycled, mut seen) = (0, [0, 0]);
    for nth in (2..200).step_by(9) {
        let mut old = start(Command::new("python3").args(["-c", FIRST]).arg(&first));
        let pid = old.pid();
        let output = tempfile::NamedTempFile::new().unwrap();
        let mut doctor = Command::new("strace")
            .args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=openat"])
            .args(["-e", &format!("inject=openat:signal=STOP:when={nth}")])
            .arg(common::program())
            .args(["check", "--json", "--kind", "other", "--pid", &pid.to_string()])
            .env("HOME", "/nonexistent")
            .stdout(output.reopen().unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut new = None;
        let mut looks: HashMap<u32, u32> = HashMap::new();
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = doctor.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > Duration::from_secs(60) {
                descendants(doctor.id()).into_iter().rev().for_each(|pid| signal_pid(pid, Signal::KILL));
                doctor.wait().unwrap();
                panic!("{nth}: it does not end");
            }
            for stopped in descendants(doctor.id()) {
                let stat = std::fs::read_to_string(format!("/proc/{stopped}/stat")).unwrap_or_default();
                let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
                if stopped == doctor.id() || !matches!(state, Some('T' | 't')) {
                    looks.remove(&stopped);
                    continue;
                }
                // strace itself stops it for a moment at each call; a longer stop is from the signal.
                let seen = looks.entry(stopped).or_default();
                *seen += 1;
                if *seen < 10 {
                    continue;
                }
                if new.is_none() {
                    old.child.kill().unwrap();
                    old.child.wait().unwrap();
                    let script = "import sys, time\nfiles = [open(sys.argv[1]) for _ in range(3)]\ntime.sleep(600)";
                    let arguments = ["python3", "-c", script].map(OsStr::new);
                    new = born_as(pid, &[&arguments[..], &[second.as_os_str()]].concat());
                    if let Some(new) = &new {
                        common::wait_for("the second life", || {
                            common::wait_channel(new.pid(), new.pid()).contains("nanosleep")
                        });
                    }
                }
                // A worker that was abandoned meanwhile may have ended.
                let stopped_pid = rustix::process::Pid::from_raw(i32::try_from(stopped).unwrap()).unwrap();
                let _ = rustix::process::kill_process(stopped_pid, Signal::CONT);
                looks.remove(&stopped);
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let answer = std::fs::read_to_string(output.path()).unwrap();
        assert!(matches!(status.code(), Some(0..=3)), "{nth}: {status:?}");
        let lives = ["first-life", "second-life"].map(|name| answer.contains(name));
        assert_ne!(lives, [true, true], "{nth}: {answer}");
        recycled += u32::from(new.is_some());
        for (count, is_there) in seen.iter_mut().zip(lives) {
            *count += u32::from(is_there);
        }
    }
    assert!(recycled >= 5 && seen[0] >= 1 && seen[1] >= 1, "{recycled} were recycled, seen were {seen:?}");
}

/// Descriptors and the working directory of a server on a filesystem that does not answer, both ways.
#[test]
fn a_working_directory_and_descriptors_on_a_hung_mount() {
    for fate in [Fate::Unread, Fate::Unanswered] {
        let directory = tempfile::tempdir().unwrap();
        let Some(mut hung) = Hung::serving(directory.path(), fate, Path::new("/bin/sleep")) else {
            return skipped("a_hung_mount", "it takes root and /dev/fuse");
        };
        let home = common::home();
        let file = std::fs::File::open(directory.path().join("file")).unwrap();
        let target = start(
            Command::new("sh")
                .args(["-c", "exec 7</proc/self/fd/2 2>/dev/null; exec python3 \"$0\""])
                .arg(program_file("hermes-webui/server.py"))
                .env("HERMES_HOME", home.path())
                .stderr(file)
                .current_dir(directory.path()),
        );
        // Only the first close sends a FLUSH: it is refused, and the kernel sends no more.
        drop(std::fs::File::open(directory.path().join("file")).unwrap());
        hung.hang();
        for view in VIEWS {
            for name in [format!("--port {}", target.port), format!("--pid {}", target.pid())] {
                let arguments = format!("{view} {name} --budget 6s");
                let answer = reaped(doctor().args(arguments.split(' ')), Duration::from_secs(14));
                is_clean(&answer, &arguments);
                if view.ends_with("json") {
                    let envelope = answer.json();
                    assert_eq!(envelope["servers"][0]["pid"], target.pid(), "{fate:?} {arguments}: {envelope:#}");
                }
            }
        }
        // The wait of a process that was killed ends with the mount.
        drop(hung);
        drop(target);
    }
}

/// The same for a server with its program, output and working directory on that filesystem.
#[test]
fn an_executable_on_a_hung_mount() {
    for fate in [Fate::Unread, Fate::Unanswered] {
        let directory = tempfile::tempdir().unwrap();
        let Some(mut hung) = Hung::serving(directory.path(), fate, Path::new("/bin/sleep")) else {
            return skipped("an_executable_on_a_hung_mount", "it takes root and /dev/fuse");
        };
        let program = directory.path().join("file");
        let mut command = Command::new(&program);
        command.arg0("hermes").arg("3600").current_dir(directory.path());
        let child = command.stdin(std::fs::File::open(&program).unwrap()).stdout(Stdio::null()).spawn().unwrap();
        drop(command);
        let target = Guard { child, port: 0, home: None };
        common::wait_for("the sleep", || {
            let state = std::fs::read_to_string(format!("/proc/{}/wchan", target.pid()));
            state.is_ok_and(|state| state.contains("nanosleep"))
        });
        drop(std::fs::File::open(&program).unwrap());
        hung.hang();
        for command in ["check", "fds", "lineage", "stacks"] {
            if command == "stacks" && !cfg!(feature = "stacks") {
                continue;
            }
            let arguments = format!("{command} --pid {} --kind other --json --budget 6s", target.pid());
            let answer = reaped(doctor().args(arguments.split(' ')), Duration::from_secs(15));
            is_clean(&answer, &arguments);
            let envelope = answer.json();
            assert_eq!(envelope["servers"][0]["pid"], target.pid(), "{fate:?} {arguments}: {envelope:#}");
        }
        // The wait of a process that was killed ends with the mount.
        drop(hung);
        drop(target);
    }
}

/// The doctor does not wait for a report on a filesystem that does not answer.
#[test]
fn a_report_on_a_hung_mount() {
    for fate in [Fate::Unread, Fate::Unanswered] {
        let directory = tempfile::tempdir().unwrap();
        let report = common::program_file("../../fixtures");
        let report = std::fs::read_dir(report).unwrap().flatten().next().unwrap().path();
        let Some(mut hung) = Hung::serving(directory.path(), fate, &report) else {
            return skipped("a_report_on_a_hung_mount", "it takes root and /dev/fuse");
        };
        hung.hang();
        let file = directory.path().join("file");
        let answer = reaped(doctor().arg("check").arg("--from").arg(&file), Duration::from_secs(14));
        is_clean(&answer, "a report");
        assert_eq!(answer.exit, 3, "{fate:?}: {}", answer.stderr);
        assert!(answer.stderr.contains("the read was abandoned"), "{fate:?}: {}", answer.stderr);
    }
}

/// The same for a record, and for the locations of output files.
#[test]
fn records_and_places_on_a_hung_mount() {
    let target = webui("");
    for fate in [Fate::Unread, Fate::Unanswered] {
        let (directory, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let record = own.path().join("record");
        let watch = format!("watch --port {} --samples 2 --every 100ms --record {}", target.port, record.display());
        assert_eq!(reaped(doctor().args(watch.split(' ')), Duration::from_secs(14)).exit, 0);
        let Some(mut hung) = Hung::serving(directory.path(), fate, &record) else {
            return skipped("records_and_places_on_a_hung_mount", "it takes root and /dev/fuse");
        };
        let there = directory.path().join("file");
        let answer = reaped(doctor().arg("history").arg(&there), Duration::from_secs(14));
        assert_eq!(answer.exit, 0, "while it answers: {}", answer.stderr);
        hung.hang();
        let (there, record) = (there.display(), record.display());
        for (arguments, said) in [
            (format!("history {there}"), "the read was abandoned"),
            (format!("history {record} --svg {there}/x.svg"), "does not answer"),
            (format!("report --port {} --yes --output {there}/x.json", target.port), "does not answer"),
            (format!("report --port {} --yes --force --output {there}", target.port), "does not answer"),
            (format!("watch --port {} --samples 1 --record {there}", target.port), "does not answer"),
            (format!("check --port {} --format openmetrics --output {there}", target.port), "does not answer"),
            (format!("man --directory {there}/pages"), "does not answer"),
        ] {
            let answer = reaped(doctor().args(arguments.split(' ')), Duration::from_secs(14));
            is_clean(&answer, &arguments);
            assert_eq!(answer.exit, 3, "{fate:?} {arguments}: {}", answer.stderr);
            assert!(answer.stderr.contains(said), "{fate:?} {arguments}: {}", answer.stderr);
        }
        drop(hung);
    }
}

/// When the filesystem of the record hangs, the examinations continue, and only one worker waits for it, not one
/// more at each examination. The test runs in its own namespaces, because other hanging mounts delay examinations
/// too.
#[test]
fn a_record_on_a_mount_that_hangs_stops_no_examination() {
    isolated("a_record_on_a_mount_that_hangs_stops_no_examination", |place| {
        let home = place.directory("home", 0);
        let server = place.server(0, &home);
        let (directory, copy) = (place.directory("hung", 0), place.path("copy"));
        let record = directory.join("record");
        let pid = server.pid().to_string();
        let mut watch = place.doctor("watch --json --samples 60 --every 100ms");
        watch.args(["--pid", &pid, "--record"]).arg(&record);
        let watch = watch.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        wait_for("the first record", || std::fs::metadata(&record).is_ok_and(|found| found.len() > 0));
        std::fs::copy(&record, &copy).unwrap();
        let Some(mut hung) = Hung::serving(&directory, Fate::Unread, &copy) else {
            signal_pid(watch.id(), Signal::KILL);
            let _ = watch.wait_with_output();
            return skipped("a_record_on_a_mount_that_hangs", "it takes /dev/fuse");
        };
        hung.hang();
        let begun = Instant::now();
        let output = watch.wait_with_output().unwrap();
        // Each examination that waited for the record would take four seconds.
        assert!(begun.elapsed() < Duration::from_secs(100), "each of them waited: {:?}", begun.elapsed());
        assert_eq!(output.status.code(), Some(0), "the last examination was healthy");
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(errors.matches("does not answer").count(), 3, "told again and again: {errors}");
    });
}

/// Runs a shell line with its own mounts, the program as its last words.
fn with_mounts(line: &str, arguments: &str, program: &Path) -> Answer {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", line, "sh"]).arg(program);
    command.args(arguments.split(' ')).env("HOME", "/nonexistent").current_dir("/");
    reaped(&mut command, Duration::from_secs(18))
}

/// Without /proc no facts of the process can be read, but HTTP works.
#[test]
fn a_host_without_proc_is_unknown() {
    if !is_root() {
        return skipped("a_host_without_proc", "it takes root to make a namespace");
    }
    let target = webui("");
    let program = Path::new(common::program());
    for arguments in ["check", "fds", "lineage", "port", "db", "health"] {
        for view in ["--json", "--verbose"] {
            let name = if arguments == "db" { String::new() } else { format!(" --port {}", target.port) };
            let arguments = format!("{arguments} {view}{name}");
            let answer = with_mounts("mount -t tmpfs none /proc && exec \"$@\"", &arguments, program);
            is_clean(&answer, &arguments);
            assert_ne!(answer.exit, 2, "{arguments}: nobody could look: {}", answer.stdout);
            if view == "--json" {
                let found = gaps(&answer.json());
                assert!(!found.is_empty(), "{arguments}: no gap: {}", answer.stdout);
            }
        }
    }
}

/// With `hidepid=2` /proc does not even contain other users' processes.
#[test]
fn hidden_processes_are_not_called_absent() {
    if !is_root() {
        return skipped("hidden_processes", "it takes root to make a namespace");
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("hermes-doctor");
    std::fs::copy(common::program(), &program).unwrap();
    for path in [program.as_path(), directory.path()] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let target = webui("");
    let line =
        "mount -t proc -o hidepid=2 proc /proc && exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$@\"";
    for arguments in ["check", "fds", "lineage", "port", "health"] {
        let arguments = format!("{arguments} --json --port {}", target.port);
        let answer = with_mounts(line, &arguments, &program);
        is_clean(&answer, &arguments);
        assert_ne!(answer.exit, 2, "{arguments}: {}", answer.stdout);
        let envelope = answer.json();
        let found = gaps(&envelope);
        // The health examination decides by the answer alone.
        assert!(!found.is_empty(), "{arguments}: {envelope:#}");
    }
    let answer = with_mounts(line, &format!("check --json --pid {}", target.pid()), &program);
    is_clean(&answer, "a hidden pid");
    assert_eq!(answer.exit, 3, "{}", answer.stdout);
    // Any server of this kind could be one of the hidden processes: those that are missing, and those that cannot
    // be read.
    for line in [line.to_owned(), line.replace("hidepid=2", "hidepid=1")] {
        for arguments in ["check --json --kind gateway", "check --json"] {
            let answer = with_mounts(&line, arguments, &program);
            is_clean(&answer, arguments);
            assert_eq!(answer.exit, 3, "{line}, {arguments}: {}", answer.stdout);
            assert!(
                gaps(&answer.json()).iter().any(|gap| gap.0 == "processes of other users"),
                "{}",
                answer.stdout
            );
        }
    }
}

/// Kernels before Linux 5.9 do not have close_range(2), and a filter of system calls may deny it. A worker that
/// kept both ends of its own pipes would never see the end of its input, and would wait for ever.
#[test]
fn readers_end_without_close_range() {
    let Some(strace) = common::tool("strace") else {
        return skipped("readers_end_without_close_range", "it takes strace");
    };
    let target = webui("");
    let (log, record) = (target.home().join("strace"), target.home().join("record"));
    let status = Command::new(strace)
        .args([
            "-f",
            "-qq",
            "-e",
            "trace=close_range",
            "-e",
            "inject=close_range:error=ENOSYS",
            "-e",
            "signal=all",
            "-o",
        ])
        .arg(&log)
        .arg(doctor().get_program())
        .args(["watch", "--pid", &target.pid().to_string(), "--every", "1ms", "--samples", "40", "--record"])
        .arg(&record)
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success(), "{status}");
    let log = std::fs::read_to_string(&log).unwrap();
    let denied = log.lines().filter(|line| line.contains("ENOSYS")).count();
    assert!(denied >= 40, "{denied} readers were denied the call");
    // A worker that waits for ever is killed when the program ends; one or two workers may be about to exit.
    let killed = log.lines().filter(|line| line.contains("killed by SIGKILL")).count();
    assert!(killed <= 2, "{killed} readers had to be ended:\n{log}");
}
