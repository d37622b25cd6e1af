//! No output is lost, and no wrong result is reported: output that cannot be written, a record with two recorders,
//! a clock that jumps, a client that does not read, and hosts without common parts.

use crate::common;

use common::{Answer, doctor, program, run, run_with, signal_pid, skipped, tool, wait_for, webui};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The output of a program that ended by itself and not by a signal.
fn ended(output: Output, what: &str) -> Answer {
    assert_eq!(output.status.signal(), None, "{what}: {}", String::from_utf8_lossy(&output.stderr));
    Answer {
        exit: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn words(arguments: &str) -> std::str::SplitWhitespace<'_> {
    arguments.split_whitespace()
}

/// Runs the program in a shell after some preparation: `$0` is the program, `$@` are its arguments.
fn prepared(shell: &str, arguments: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", shell, program()]).args(words(arguments));
    command.env("HOME", "/nonexistent").env_remove("HERMES_HOME").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether namespaces of its own can be made.
fn can_unshare(test: &str) -> bool {
    let made = Command::new("unshare").args(["-p", "-m", "-n", "-f", "--mount-proc", "true"]).output();
    let is_possible = made.is_ok_and(|output| output.status.success());
    if !is_possible {
        skipped(test, "it takes root and unshare(1)");
    }
    is_possible
}

fn names_in(directory: &Path) -> Vec<String> {
    let entries =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}

/// Bytes, mode, inode and modification time: if they are equal, the file was not changed.
fn untouched(path: &Path) -> (Vec<u8>, u32, u64, i64, i64) {
    let found = std::fs::symlink_metadata(path).unwrap();
    let bytes = if found.is_file() { std::fs::read(path).unwrap() } else { Vec::new() };
    (bytes, found.mode(), found.ino(), found.mtime(), found.mtime_nsec())
}

// Standard output and files.

/// Every command in every format, for a healthy server: only the write of the answer can fail.
fn every_command(port: u16, directory: &Path) -> Vec<String> {
    let shown = directory.display();
    let server = format!("--port {port}");
    let mut all: Vec<String> = [
        "check",
        "check --json",
        "check --format nagios",
        "check --format openmetrics",
        "check -q",
        "check -v",
        "fds",
        "fds --json",
        "fds --format nagios",
        "fds --samples 2 --every 50ms",
        "fds --samples 2 --every 50ms --json",
        "fds --exercise /health --requests 2 --batch 1",
        "lineage",
        "lineage --json",
        "health",
        "health --json",
        "health --repeat 2 --every 10ms",
        "port",
        "port --json",
        "port --format openmetrics",
        "db",
        "db --json",
        "stacks",
        "stacks --json",
        "report",
        "report --json",
        "report --markdown",
        "report --html",
    ]
    .iter()
    .map(|command| format!("{command} {server}"))
    .collect();
    all.push(format!("report {server} -o {shown}/report.json"));
    all.push(format!("watch {server} --samples 2 --every 50ms --record {shown}/other"));
    all.push(format!("watch {server} --samples 1 --json --record {shown}/other"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        all.push(format!("completions {shell}"));
    }
    all.extend(
        [
            "explain",
            "explain --json",
            "explain close-wait-leak",
            "explain nonsense --json",
            "schema",
            "man",
            "man fds",
            "demo healthy",
            "demo healthy --json",
            "--help",
            "--version",
            "fds --help",
            "watch --version",
            "check --nonsense --json",
            "check --nonsense --format nagios",
            "check --pid 4194304 --json",
            "check --pid 4194304 --format nagios",
            "check --pid 4194304 --format openmetrics",
            "check --from fixtures/healthy-pool.json",
            "report --from fixtures/healthy-pool.json",
        ]
        .map(str::to_owned),
    );
    all.push(format!("history {shown}/record"));
    all.push(format!("history {shown}/record --json"));
    all.push(format!("history {shown}/record --svg {shown}/record.svg"));
    all
}

#[test]
fn an_answer_that_cannot_be_written_is_unknown() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    assert_eq!(
        run(&format!("watch --port {} --samples 2 --every 50ms --record {}", target.port, record.display())).exit,
        0
    );
    for arguments in every_command(target.port, directory.path()) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = doctor();
        command.args(words(&arguments)).stdin(Stdio::null()).stdout(full);
        let answer = ended(command.output().unwrap(), &arguments);
        assert_eq!(answer.exit, 3, "{arguments}: {}", answer.stderr);
        let line = "hermes-doctor: cannot write standard output: No space left on device; ";
        assert_eq!(answer.stderr.matches(line).count(), 1, "{arguments}: {}", answer.stderr);
    }
    // Output to a file does not need standard output.
    let full = File::options().write(true).open("/dev/full").unwrap();
    let page = directory.path().join("man");
    let mut command = doctor();
    command.args(["man", "--directory", page.to_str().unwrap()]).stdout(full);
    assert_eq!(ended(command.output().unwrap(), "man --directory").exit, 0);
}

/// A descriptor that is not open for writing, a file that may not grow, and a full device: none of them is a closed
/// pipe.
#[test]
fn every_failed_write_except_to_a_closed_pipe_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("out");
    for (shell, error) in [
        ("exec \"$0\" \"$@\" 1</dev/null".to_owned(), "Bad file descriptor"),
        ("exec \"$0\" \"$@\" >/dev/full".to_owned(), "No space left on device"),
        (format!("ulimit -f 1; exec \"$0\" \"$@\" >{}", file.display()), "File too large"),
    ] {
        for arguments in [
            "schema",
            "explain",
            "explain --json",
            "completions zsh",
            "man",
            "report --from fixtures/healthy-pool.json",
        ] {
            let answer = ended(prepared(&shell, arguments).output().unwrap(), &shell);
            assert_eq!(answer.exit, 3, "{shell} {arguments}: {}", answer.stderr);
            let line = format!("cannot write standard output: {error}");
            assert!(answer.stderr.contains(&line), "{shell} {arguments}: {}", answer.stderr);
        }
    }
    // A reader that closed its end of the pipe causes no message.
    for (arguments, exit) in
        [("explain", 0), ("explain --json", 0), ("check --from fixtures/leak-critical.json", 2)]
    {
        let (read, write) = rustix::pipe::pipe().unwrap();
        drop(read);
        let mut command = doctor();
        command.args(words(arguments)).stdin(Stdio::null()).stdout(write);
        let answer = ended(command.output().unwrap(), arguments);
        assert_eq!((answer.exit, answer.stderr.as_str()), (exit, ""), "{arguments}");
    }
}

/// A terminal multiplexer or a job runner can leave its pipe non-blocking: a write to a full pipe is then an error.
#[test]
fn a_slow_pipe_that_does_not_wait_gets_all_of_it() {
    let whole = run("explain --json").stdout;
    let (read, write) = rustix::pipe::pipe().unwrap();
    rustix::io::ioctl_fionbio(&write, true).unwrap();
    assert!(whole.len() > rustix::pipe::fcntl_getpipe_size(&write).unwrap().min(16 * 1024));
    rustix::pipe::fcntl_setpipe_size(&write, 4096).unwrap();
    let mut child = doctor()
        .args(["explain", "--json"])
        .stdin(Stdio::null())
        .stdout(write)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The reader starts only when the pipe is full.
    wait_for("a pipe with something in it", || {
        rustix::io::ioctl_fionread(&read).unwrap() >= 4096 || child.try_wait().unwrap().is_some()
    });
    let mut got = String::new();
    File::from(read).read_to_string(&mut got).unwrap();
    let answer = ended(child.wait_with_output().unwrap(), "explain --json");
    let strip = |text: &str| {
        let mut value: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {} bytes", text.len()));
        value["started_at"] = Value::Null;
        value
    };
    assert_eq!((answer.exit, answer.stderr.as_str()), (0, ""));
    assert_eq!(strip(&got), strip(&whole));
}

/// A file size limit (`ulimit -f`) does not end the program, and a failed write leaves neither a partial nor a
/// temporary file.
#[test]
fn a_file_that_cannot_be_written_leaves_nothing() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    run(&format!("watch --port {} --samples 2 --every 50ms --record {}", target.port, record.display()));
    let place = directory.path().join("place");
    let writes = |place: &Path| {
        let (port, place, record) = (target.port, place.display(), record.display());
        [
            (format!("report --port {port} -o {place}/out"), "out"),
            (format!("report --port {port} --html --force -o {place}/old"), "old"),
            (format!("report --from fixtures/healthy-pool.json --markdown -o {place}/out"), "out"),
            (format!("check --port {port} --format openmetrics -o {place}/out.prom"), "out.prom"),
            (format!("history {record} --svg {place}/out.svg"), "out.svg"),
            (format!("history {record} --force --svg {place}/old"), "old"),
            (format!("man --directory {place}"), "hermes-doctor.1"),
            (format!("man --force --directory {place}"), "hermes-doctor.1"),
        ]
    };
    let check = |place: &Path, wrap: &dyn Fn(&str) -> Command, error: &str| {
        for (arguments, _) in writes(place) {
            std::fs::write(place.join("old"), "old").unwrap();
            let answer = ended(wrap(&arguments).output().unwrap(), &arguments);
            assert_eq!(answer.exit, 3, "{arguments}: {}", answer.stderr);
            assert!(answer.stderr.contains(error), "{arguments}: {}", answer.stderr);
            assert_eq!(names_in(place), ["old"], "{arguments}");
            assert_eq!(std::fs::read_to_string(place.join("old")).unwrap(), "old", "{arguments}");
        }
    };
    std::fs::create_dir(&place).unwrap();
    check(&place, &|arguments| prepared("ulimit -f 1; exec \"$0\" \"$@\"", arguments), "File too large");
    // A full filesystem.
    if !is_root() {
        return skipped("a_file_that_cannot_be_written_leaves_nothing", "a full filesystem takes root");
    }
    let full = directory.path().join("full");
    std::fs::create_dir(&full).unwrap();
    let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8k", "full"]).arg(&full).status().unwrap();
    assert!(mount.success());
    let filled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // One page holds the old file, the other one an unlinked file that is still open.
        std::fs::write(full.join("old"), "old").unwrap();
        let keeper = File::create(full.join("filler")).unwrap();
        (&keeper).write_all(&[0; 4096]).unwrap();
        std::fs::remove_file(full.join("filler")).unwrap();
        check(
            &full,
            &|arguments| {
                let mut command = doctor();
                command.args(words(arguments)).stdin(Stdio::null());
                command
            },
            "No space left on device",
        );
        drop(keeper);
    }));
    assert!(Command::new("umount").arg("-l").arg(&full).status().unwrap().success());
    filled.unwrap();
}

/// The recorder with a file size limit: lost samples are reported, and the record contains only complete lines.
#[test]
fn a_record_that_may_not_grow_has_whole_lines() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    let arguments = format!("watch --port {} --samples 8 --every 20ms --record {}", target.port, record.display());
    let answer = ended(prepared("ulimit -f 2; exec \"$0\" \"$@\"", &arguments).output().unwrap(), "watch");
    assert!(answer.stderr.contains("File too large"), "{}", answer.stderr);
    assert!(answer.stderr.contains("of 8 samples written to"), "{}", answer.stderr);
    let text = std::fs::read_to_string(&record).unwrap();
    assert!(text.ends_with('\n'), "{text}");
    assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
    let lines = text.lines().count();
    assert!((1..8).contains(&lines), "{lines}");
    assert_eq!(names_in(directory.path()), ["record"]);
    let critical = directory.path().join("critical");
    let down = format!("watch --port 1 --samples 1 --record {}", critical.display());
    // No room for the full report: nothing of it stays.
    let answer = ended(prepared("ulimit -f 1; exec \"$0\" \"$@\"", &down).output().unwrap(), "watch");
    assert!(answer.exit >= 2, "{}", answer.stderr);
    assert!(names_in(directory.path()).iter().all(|name| !name.ends_with(".json") && !name.starts_with('.')));
}

#[test]
fn a_report_that_was_not_written_is_no_success() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let file = directory.path().join("report");
    let port = target.port;
    assert_eq!(run(&format!("report --port {port} -q")).exit, 0);
    for options in [
        "--review",
        "--review --json",
        "--review --html",
        "--review --markdown",
        "--redact none",
        "--redact none --json",
    ] {
        for output in [String::new(), format!("-o {}", file.display())] {
            let answer = run(&format!("report --port {port} {options} {output}"));
            assert_eq!(answer.exit, 3, "{options} {output}: {}", answer.stderr);
            assert!(
                answer.stderr.contains("--yes") || answer.stdout.contains("--yes"),
                "{options}: {}",
                answer.stderr
            );
            assert!(!answer.stdout.contains("\"servers\": [\n    {"), "{options}: {}", answer.stdout);
            assert_eq!(names_in(directory.path()), [""; 0], "{options}");
        }
    }
    for options in ["--review --yes", "--redact none --yes"] {
        let answer = run(&format!("report --port {port} {options} --force -o {}", file.display()));
        assert_eq!(answer.exit, 0, "{options}: {}", answer.stderr);
        assert_eq!(names_in(directory.path()), ["report"], "{options}");
    }
    // A review that could not be printed is no approval.
    std::fs::remove_file(&file).unwrap();
    let mut command = doctor();
    command.args(["report", "--port", &port.to_string(), "--review", "--yes", "-o"]).arg(&file);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::options().write(true).open("/dev/full").unwrap());
    assert_eq!(command.status().unwrap().code(), Some(3));
    assert!(!file.exists());
}

// The record.

/// A recorder that runs until it gets a signal.
struct Recorder {
    child: Child,
}

impl Recorder {
    fn start(record: &Path, arguments: &str) -> Self {
        let child = doctor()
            .arg("watch")
            .args(words(arguments))
            .arg("--record")
            .arg(record)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it between two samples; returns its messages.
    fn end(mut self) -> (Option<i32>, String) {
        signal_pid(self.pid(), Signal::TERM);
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.child.wait().unwrap().code(), text)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines_of(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

fn older(record: &Path) -> PathBuf {
    PathBuf::from(format!("{}.1", record.display()))
}

fn second(record: &Path, arguments: &str) -> Answer {
    run(&format!("watch --samples 1 --record {} {arguments}", record.display()))
}

/// Fills a record to its maximum size, so that the next line does not fit. Returns the number of lines.
fn filled(record: &Path, port: u16) -> usize {
    assert_eq!(second(record, &format!("--port {port}")).exit, 0);
    let line = std::fs::read_to_string(record).unwrap();
    let count = 1024 * 1024 / line.len() + 1;
    std::fs::write(record, line.repeat(count)).unwrap();
    count
}

#[test]
fn a_record_has_one_recorder_and_the_second_names_it() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    let server = format!("--port {}", target.port);
    let first = Recorder::start(&record, &format!("{server} --every 50ms"));
    wait_for("a look", || lines_of(&record) > 0);
    for arguments in [server.clone(), format!("{server} --json"), String::new(), format!("{server} --largest 1")] {
        let answer = second(&record, &arguments);
        let said = format!("{}{}", answer.stdout, answer.stderr);
        assert_eq!(answer.exit, 3, "{arguments}: {said}");
        assert!(said.contains(&format!("pid {}", first.pid())), "{arguments}: {said}");
    }
    // By another path, too.
    let link = directory.path().join("same");
    std::os::unix::fs::symlink(directory.path(), &link).unwrap();
    let answer = second(&link.join("record"), &server);
    assert!(answer.exit == 3 && answer.stderr.contains(&format!("pid {}", first.pid())), "{}", answer.stderr);
    assert!(!older(&record).exists());
    // `history` can read it meanwhile; a recorder that has ended or was killed leaves no lock.
    assert_eq!(run(&format!("history {}", record.display())).exit, 0);
    assert_eq!(first.end().0, Some(0));
    assert_eq!(second(&record, &server).exit, 0);
    let killed = Recorder::start(&record, &format!("{server} --every 50ms"));
    let before = lines_of(&record);
    wait_for("another look", || lines_of(&record) > before);
    signal_pid(killed.pid(), Signal::KILL);
    drop(killed);
    assert_eq!(second(&record, &server).exit, 0);
    let history = run(&format!("history {} --json", record.display())).json();
    assert_eq!(
        (history["history"]["lines_skipped"].as_u64(), history["history"]["ends_torn"].as_bool()),
        (Some(0), Some(false))
    );
}

#[test]
fn the_lock_survives_the_rotation_and_no_line_is_lost() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    let server = format!("--port {}", target.port);
    let before = filled(&record, target.port);
    let first = Recorder::start(&record, &format!("{server} --every 30ms --largest 1"));
    wait_for("the rotation", || older(&record).exists() && lines_of(&record) >= 2);
    for _ in 0..3 {
        let answer = second(&record, &format!("{server} --largest 1"));
        assert_eq!(answer.exit, 3, "{}", answer.stderr);
        assert!(answer.stderr.contains(&format!("pid {}", first.pid())), "{}", answer.stderr);
    }
    // The older file is now locked by no recorder, so another recorder can use it; the next rotation must not lose
    // its lines.
    let (status, errors) = first.end();
    assert_eq!((status, errors.as_str()), (Some(0), ""));
    assert!(lines_of(&older(&record)) >= before);
    let all = lines_of(&record) + lines_of(&older(&record));
    let history = run(&format!("history {} --json", record.display())).json();
    assert_eq!(history["history"]["records"].as_array().unwrap().len(), all);
    // A recorder that uses the older file keeps it.
    let other = Recorder::start(&older(&record), &format!("{server} --every 1h"));
    let held = lines_of(&older(&record));
    wait_for("its look", || lines_of(&older(&record)) > held);
    let line = std::fs::read_to_string(&record).unwrap().lines().next().unwrap().to_owned() + "\n";
    std::fs::write(&record, line.repeat(1024 * 1024 / line.len() + 1)).unwrap();
    let answer = second(&record, &format!("{server} --largest 1"));
    assert_eq!(answer.exit, 3, "{}", answer.stderr);
    assert!(answer.stderr.contains(&format!("pid {}", other.pid())), "{}", answer.stderr);
    assert_eq!(lines_of(&older(&record)), held + 1);
}

/// The process that holds the lock of a file, from the kernel's table.
fn holder(inode: u64) -> Option<u32> {
    let table = std::fs::read_to_string("/proc/locks").unwrap();
    let line = table.lines().find(|line| line.contains("FLOCK") && line.contains(&format!(":{inode} ")))?;
    line.split_whitespace().nth(4)?.parse().ok()
}

/// The state of a process, as one letter.
fn state(pid: u32) -> String {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().unwrap_or_default().split(' ').next().unwrap_or_default().to_owned()
}

/// The moment between the rename of the old file and the creation of the new one, extended by strace: a second
/// recorder must wait or be refused.
#[test]
fn two_recorders_at_the_moment_of_the_rotation_lose_nothing() {
    let Some(strace) = tool("strace") else {
        return skipped("two_recorders_at_the_moment_of_the_rotation_lose_nothing", "there is no strace");
    };
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let server = format!("--port {} --largest 1", target.port);
    for (name, inject) in [("before", "rename:delay_enter=3000000"), ("behind", "rename:delay_exit=3000000")] {
        let record = directory.path().join(name);
        let before = filled(&record, target.port);
        let log = directory.path().join("strace");
        let mut child = Command::new(&strace)
            .args(["-f", "-e", "trace=rename", "-e", &format!("inject={inject}"), "-o"])
            .arg(&log)
            .args([program(), "watch", "--samples", "1", "--record"])
            .arg(&record)
            .args(words(&server))
            .env("HOME", "/nonexistent")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The recorder that holds the lock is stopped by strace.
        let inode = std::fs::metadata(&record).unwrap().ino();
        let mut looks = 0;
        wait_for("the rename", || {
            std::thread::sleep(Duration::from_millis(60));
            let is_held = holder(inode).is_some_and(|pid| state(pid) == "t");
            looks = if is_held { looks + 1 } else { 0 };
            looks >= 4 && (name == "before" || older(&record).exists())
        });
        assert_eq!(record.exists(), name == "before");
        let answer = second(&record, &server);
        assert!(child.try_wait().unwrap().is_none(), "{name}: the moment was over");
        let status = child.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{name}");
        assert_eq!(answer.exit, 3, "{name}: {}", answer.stderr);
        assert!(answer.stderr.contains("the recorder with pid "), "{name}: {}", answer.stderr);
        assert_eq!((lines_of(&older(&record)), lines_of(&record)), (before, 1), "{name}");
    }
}

/// A crash between the two steps leaves only the older file. If its lock is still held, its recorder is about to
/// continue.
#[test]
fn a_record_whose_newer_half_is_missing_begins_anew() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    let server = format!("--port {}", target.port);
    let before = filled(&record, target.port);
    std::fs::rename(&record, older(&record)).unwrap();
    let kept = untouched(&older(&record));
    let held = File::open(older(&record)).unwrap();
    rustix::fs::flock(&held, rustix::fs::FlockOperation::NonBlockingLockExclusive).unwrap();
    let answer = second(&record, &server);
    assert_eq!(answer.exit, 3, "{}", answer.stderr);
    assert!(answer.stderr.contains(&format!("pid {}", std::process::id())), "{}", answer.stderr);
    assert!(!record.exists());
    drop(held);
    assert_eq!(second(&record, &server).exit, 0);
    assert_eq!(untouched(&older(&record)), kept);
    let history = run(&format!("history {} --json", record.display())).json();
    assert_eq!(history["history"]["records"].as_array().unwrap().len(), before + 1);
}

/// `rm` and `logrotate` remove the file while it is in use: the recorder continues at the path, with the lock.
#[test]
fn a_record_that_was_taken_away_goes_on_at_its_path() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    let server = format!("--port {}", target.port);
    let first = Recorder::start(&record, &format!("{server} --every 30ms"));
    wait_for("a look", || lines_of(&record) > 0);
    let moved = directory.path().join("moved");
    std::fs::rename(&record, &moved).unwrap();
    wait_for("a look in the new file", || lines_of(&record) > 1);
    let kept = untouched(&moved);
    let answer = second(&record, &server);
    assert!(answer.exit == 3 && answer.stderr.contains(&format!("pid {}", first.pid())), "{}", answer.stderr);
    // Another file at its path is not written to, and blocks the recorder only as long as it exists.
    std::fs::remove_file(&record).unwrap();
    let foreign = directory.path().join("foreign");
    std::fs::write(&foreign, "port: 8787\n").unwrap();
    std::fs::rename(&foreign, &record).unwrap();
    let strange = untouched(&record);
    let seen = Instant::now();
    wait_for("some looks", || seen.elapsed() > Duration::from_millis(300) || untouched(&record) != strange);
    assert_eq!(untouched(&record), strange);
    std::fs::remove_file(&record).unwrap();
    wait_for("a look in the third file", || lines_of(&record) > 0);
    let (_, errors) = first.end();
    assert!(errors.contains("is not a record of `hermes-doctor watch`"), "{errors}");
    assert_eq!(untouched(&moved), kept);
}

#[test]
fn only_records_of_this_program_are_appended_to_or_replaced() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let server = format!("--port {}", target.port);
    let database = directory.path().join("state.db");
    rusqlite::Connection::open(&database).unwrap().execute("create table t(x)", ()).unwrap();
    let foreign: Vec<(&str, Vec<u8>)> = vec![
        ("config.yaml", b"port: 8787\n".to_vec()),
        ("other.jsonl", b"{\"at\":\"2026-11-24T20:00:00Z\",\"message\":\"of another program\"}\n".to_vec()),
        ("envelope.json", run("explain --json").stdout.into_bytes()),
        ("empty-line", b"\n".to_vec()),
        ("one-byte", b"x".to_vec()),
        ("zeros", vec![0; 4096]),
        ("no-end", vec![b'{'; 300 * 1024]),
    ];
    let mut paths = vec![database];
    for (name, bytes) in &foreign {
        paths.push(directory.path().join(name));
        std::fs::write(paths.last().unwrap(), bytes).unwrap();
    }
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let subdirectory = directory.path().join("directory");
    std::fs::create_dir(&subdirectory).unwrap();
    paths.extend([pipe, subdirectory]);
    for path in &paths {
        let before = untouched(path);
        let answer = second(path, &server);
        assert_eq!((answer.exit, answer.stderr.lines().count()), (3, 1), "{}: {}", path.display(), answer.stderr);
        assert!(answer.stderr.contains("cannot write"), "{}", answer.stderr);
        assert_eq!(untouched(path), before, "{}", path.display());
        assert!(!older(path).exists());
        // The same for a file that a full record would replace: reported before the first sample.
        let record = directory.path().join("record");
        let taken = older(&record);
        std::fs::rename(path, &taken).unwrap();
        let before = untouched(&taken);
        let answer = second(&record, &server);
        assert_eq!((answer.exit, answer.stderr.lines().count()), (3, 1), "{}: {}", path.display(), answer.stderr);
        assert!(answer.stderr.contains("record.1"), "{}", answer.stderr);
        assert_eq!(untouched(&taken), before, "{}", path.display());
        std::fs::rename(&taken, path).unwrap();
        let _ = std::fs::remove_file(&record);
    }
    // A file or link that appears there later is not replaced either.
    for kind in ["file", "link"] {
        let record = directory.path().join(format!("later-{kind}"));
        filled(&record, target.port);
        let full = untouched(&record);
        let recorder = Recorder::start(&record, &format!("{server} --every 1h --largest 1024"));
        drop(recorder);
        if kind == "file" {
            std::fs::write(older(&record), "port: 8787\n").unwrap();
        } else {
            std::os::unix::fs::symlink("/nonexistent/elsewhere", older(&record)).unwrap();
        }
        let before = untouched(&older(&record));
        let answer = second(&record, &format!("{server} --largest 1"));
        assert_eq!(answer.exit, 3, "{kind}: {}", answer.stderr);
        assert_eq!(untouched(&older(&record)), before, "{kind}");
        assert!(untouched(&record).0.starts_with(&full.0), "{kind}");
    }
    // An empty file, a torn first line, and a record are fine.
    for bytes in ["", "{\"at\":\"2026-11-24T20:00:0"] {
        let record = directory.path().join("fine");
        std::fs::write(&record, bytes).unwrap();
        let answer = second(&record, &server);
        assert_eq!(answer.exit, 0, "{bytes}: {}", answer.stderr);
        assert_eq!(second(&record, &server).exit, 0, "{bytes}");
        assert_eq!(
            run(&format!("history {} --json", record.display())).json()["history"]["records"]
                .as_array()
                .unwrap()
                .len(),
            2
        );
    }
}

/// Seconds since the epoch as RFC 3339, of a day in 2026.
fn at(seconds: f64) -> String {
    let whole = seconds.floor();
    let (whole, milliseconds) = (whole as u64, ((seconds - whole) * 1000.0).round() as u64);
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    format!("2026-11-24T{hours:02}:{minutes:02}:{rest:02}.{milliseconds:03}Z")
}

/// A line of a record of a server with that many database handles.
fn line(at_seconds: f64, since_boot_seconds: Option<f64>, handles: u64) -> String {
    let mut line = json!({
        "at": at(at_seconds), "server": "webui 8787", "status": "healthy", "pid": 4711, "start_ticks": 100,
        "open": 20 + handles, "soft_limit": 20_000, "database_handles": handles, "wal_handles": handles / 2,
        "close_wait": 0, "accept_queue": 0, "connected": 0, "health": "ok", "health_ms": 1.5, "resident_bytes": 1,
        "restarts": null,
    });
    if let Some(since_boot) = since_boot_seconds {
        line["since_boot_ms"] = ((since_boot * 1000.0).round() as u64).into();
    }
    line.to_string() + "\n"
}

fn history_of(lines: impl Iterator<Item = String>) -> (Answer, Value) {
    let directory = tempfile::tempdir().unwrap();
    let record = directory.path().join("record");
    std::fs::write(&record, lines.collect::<String>()).unwrap();
    let shown = run(&format!("history {}", record.display()));
    let told = run(&format!("history {} --json", record.display())).json();
    let svg = run(&format!("history {} --svg {}/plot.svg", record.display(), directory.path().display()));
    assert_eq!(svg.exit, shown.exit, "{}", svg.stderr);
    (shown, told)
}

fn found_in(told: &Value) -> Vec<&str> {
    told["findings"].as_array().unwrap().iter().map(|finding| finding["id"].as_str().unwrap()).collect()
}

/// The record of two recorders of an earlier version: each line has the start time of its sample and is written at
/// the end of the sample. The clock was not set, and three hours of a steady rise are a leak.
#[test]
fn interleaved_lines_are_no_clock_that_was_set_back() {
    for late in [0.003, 0.04, 0.7, 6.0] {
        let lines = (0..240_u32).flat_map(|look| {
            let (time, handles) = (f64::from(look) * 45.0, u64::from(look) * 2);
            // Sometimes the second sample started later and ended first.
            let mut pair = [line(time + late, None, handles + 2), line(time, None, handles)];
            if look % 3 == 0 {
                pair.reverse();
            }
            pair
        });
        let (shown, told) = history_of(lines);
        assert!(!shown.stdout.contains("set back"), "{late}: {}", shown.stdout);
        assert!(found_in(&told).contains(&"state-db-handle-leak"), "{late}: {:?}", found_in(&told));
    }
    // A clock that was really set back is reported, and samples after that step are not compared with earlier ones.
    for back in [60.0, 3600.0] {
        let lines = (0..240_u32).map(|look| {
            let step = if look < 120 { 0.0 } else { back };
            line(7200.0 + f64::from(look) * 45.0 - step, None, u64::from(look) * 2)
        });
        let (shown, _) = history_of(lines);
        assert!(shown.stdout.contains("set back 1 times"), "{back}: {}", shown.stdout);
    }
}

/// Ten samples over five minutes on one rising flank of a saw-tooth: with a gap of three hours that never happened,
/// it would be a leak.
#[test]
fn a_clock_that_jumps_makes_no_growth() {
    let flank = |jump: f64, since_boot: bool| {
        (0..12_u32).map(move |look| {
            let real = f64::from(look) * 30.0;
            let step = if look < 6 { 0.0 } else { jump };
            line(18_000.0 + real + step, since_boot.then_some(500.0 + real), 10 + 3 * u64::from(look))
        })
    };
    let (_, still) = history_of(flank(0.0, true));
    assert_eq!(found_in(&still), [""; 0]);
    for jump in [10_800.0, 21_600.0, -10_800.0, 5.0, -5.0] {
        let (shown, told) = history_of(flank(jump, true));
        assert_eq!(found_in(&told), [""; 0], "{jump}: {}", shown.stdout);
        let way = if jump > 0.0 { "set forward 1 times" } else { "set back 1 times" };
        assert!(shown.stdout.contains(way), "{jump}: {}", shown.stdout);
        assert_eq!(told["status"], "healthy", "{jump}");
    }
    // Lines of earlier versions cannot distinguish a jump from a pause: in both cases the time in between was not
    // sampled.
    for jump in [10_800.0, 86_400.0 / 4.0] {
        let (shown, told) = history_of(flank(jump, false));
        assert_eq!(found_in(&told), [""; 0], "{jump}: {}", shown.stdout);
    }
    // Growth over three hours is decided across a step of the clock.
    let steps = (0..240_u32).map(|look| {
        let real = f64::from(look) * 45.0;
        let step = if look < 200 { 0.0 } else { 7200.0 };
        line(18_000.0 + real - step, Some(500.0 + real), u64::from(look) * 2)
    });
    let (shown, told) = history_of(steps);
    assert!(found_in(&told).contains(&"state-db-handle-leak"), "{}", shown.stdout);
    assert!(shown.stdout.contains("set back 1 times"), "{}", shown.stdout);
    // A host that was booted in between: its time since boot begins anew, and so does the process.
    let reboot = (0..20_u32).map(|look| {
        let real = f64::from(look) * 30.0;
        let text = line(18_000.0 + real, Some(if look < 10 { 90_000.0 + real } else { real }), 5);
        if look < 10 { text } else { text.replace("\"start_ticks\":100", "\"start_ticks\":101") }
    });
    let (shown, _) = history_of(reboot);
    assert!(!shown.stdout.contains("Clock"), "{}", shown.stdout);
}

// The clock.

fn faketime(test: &str) -> Option<PathBuf> {
    let places = ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib"];
    let found =
        places.iter().map(|place| Path::new(place).join("faketime/libfaketime.so.1")).find(|path| path.exists());
    if found.is_none() {
        skipped(test, "there is no libfaketime (package faketime)");
    }
    found
}

/// Every time in an envelope is RFC 3339 in UTC, or is missing.
fn times_are_sound(value: &Value, what: &str) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                if let (true, Some(text)) =
                    (matches!(name.as_str(), "started_at" | "start_time" | "since" | "at"), field.as_str())
                {
                    let is_sound = text.len() >= 20
                        && text.ends_with('Z')
                        && text.as_bytes()[10] == b'T'
                        && humantime::parse_rfc3339(text).is_ok();
                    assert!(is_sound, "{what}: {name} {text}");
                }
                times_are_sound(field, what);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| times_are_sound(item, what)),
        _ => {}
    }
}

#[test]
fn no_clock_ends_a_command() {
    let Some(library) = faketime("no_clock_ends_a_command") else { return };
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let shown = directory.path().display();
    let server = format!("--port {}", target.port);
    for (index, clock) in [
        "@1970-01-01 00:00:01",
        "@1969-12-31 23:00:00",
        "@1970-01-01 00:00:00",
        "-100d",
        "@9998-06-01 00:00:00",
        "+5000y",
        "+20y",
    ]
    .iter()
    .enumerate()
    {
        let record = format!("{shown}/record-{index}");
        for arguments in [
            format!("check {server} --json"),
            format!("check {server}"),
            format!("check {server} --format openmetrics"),
            format!("fds {server} --samples 3 --every 20ms --json"),
            format!("lineage {server} --json"),
            format!("health {server} --json"),
            format!("port {server} --json"),
            format!("db {server} --json"),
            format!("stacks {server} --json"),
            format!("report {server} --json"),
            format!("report {server} --redact paranoid"),
            format!("report {server} --html"),
            format!("report {server} --markdown"),
            "report --from fixtures/leak-critical.json --redact paranoid --json".to_owned(),
            "check --from fixtures/leak-critical.json --from fixtures/leak-critical.json --json".to_owned(),
            "explain --json".to_owned(),
            format!("watch {server} --samples 2 --every 20ms --json --record {record}"),
            format!("watch --port 1 --samples 1 --record {record}"),
            format!("watch --port 1 --samples 1 --record {record}"),
            format!("history {record} --json"),
            format!("history {record} --svg {record}.svg"),
        ] {
            let mut command = common::dynamic_doctor();
            command
                .args(words(&arguments))
                .env("LD_PRELOAD", &library)
                .env("FAKETIME", clock)
                .env("DONT_FAKE_MONOTONIC", "1");
            command.env("TZ", "UTC").stdin(Stdio::null());
            let answer = ended(command.output().unwrap(), &format!("{clock}: {arguments}"));
            assert!((0..=3).contains(&answer.exit), "{clock}: {arguments}: {}", answer.stderr);
            assert!(!answer.stderr.contains("panicked"), "{clock}: {arguments}: {}", answer.stderr);
            if arguments.contains("--json") && !arguments.contains("paranoid") {
                times_are_sound(&answer.json(), &format!("{clock}: {arguments}"));
            }
            if arguments.starts_with("watch") && !arguments.contains("--port 1") {
                assert_eq!(answer.exit, 0, "{clock}: {}", answer.stderr);
            }
        }
        let clock_of_record = std::fs::read_to_string(&record).unwrap();
        assert_eq!(clock_of_record.lines().count(), 4, "{clock}");
    }
}

/// The clock steps in the lines of a record, as `history` prints them.
fn clock_steps_in(record: &Path) -> String {
    let text = std::fs::read_to_string(record).unwrap();
    let lines = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        let at: jiff::Timestamp = line["at"].as_str().unwrap().parse().unwrap();
        at.as_millisecond() - line["since_boot_ms"].as_i64().unwrap()
    });
    let offsets: Vec<i64> = lines.collect();
    let steps = |is_step: fn(i64) -> bool| offsets.windows(2).filter(|pair| is_step(pair[1] - pair[0])).count();
    let counted = [("set back", steps(|by| by < -1000)), ("set forward", steps(|by| by > 1000))];
    let shown = counted.iter().filter(|(_, count)| *count > 0).map(|(way, count)| format!("{way} {count} times"));
    shown.collect::<Vec<_>>().join(", ")
}

/// The clock is set while the program takes samples.
#[test]
fn a_clock_that_is_set_meanwhile_makes_no_growth() {
    let Some(library) = faketime("a_clock_that_is_set_meanwhile_makes_no_growth") else { return };
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let clock = directory.path().join("clock");
    let set = |text: &str| {
        let new = directory.path().join("clock.new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &clock).unwrap();
    };
    let under_clock = |arguments: &str| {
        let mut command = common::dynamic_doctor();
        command.args(words(arguments)).env("LD_PRELOAD", &library).env("FAKETIME_TIMESTAMP_FILE", &clock);
        command.env("FAKETIME_NO_CACHE", "1").env("DONT_FAKE_MONOTONIC", "1").stdin(Stdio::null());
        command
    };
    for (jump, way) in [("+3h", "set forward"), ("-3h", "set back")] {
        set("+0");
        let record = directory.path().join(format!("record{jump}"));
        let arguments = format!("watch --port {} --every 40ms --record {}", target.port, record.display());
        let mut child = under_clock(&arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for("three looks", || lines_of(&record) >= 3);
        set(jump);
        let jumped = lines_of(&record);
        wait_for("three more looks", || lines_of(&record) >= jumped + 4);
        signal_pid(child.id(), Signal::TERM);
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let answer = run(&format!("history {}", record.display()));
        assert_eq!(answer.exit, 0, "{}", answer.stdout);
        assert!(answer.stdout.contains(way), "{jump}: {}", answer.stdout);
        // On a loaded machine the library can give the real time between two settings: the steps are those of the lines.
        let steps = clock_steps_in(&record);
        assert!(answer.stdout.contains(&steps), "{jump}: {steps}: {}", answer.stdout);
        let told = run(&format!("history {} --json", record.display())).json();
        assert_eq!(found_in(&told), [""; 0], "{jump}");
    }
    // Samples use a clock that cannot be set.
    set("+0");
    let arguments = format!("fds --port {} --samples 8 --every 60ms --json", target.port);
    let child = under_clock(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    set("+3h");
    let answer = ended(child.wait_with_output().unwrap(), &arguments);
    let samples = answer.json()["servers"][0]["trend"]["samples"].as_array().unwrap().clone();
    assert!(samples.last().unwrap()["at_ms"].as_u64().unwrap() < 60_000, "{samples:#?}");
    // The distance of two reports with a clock step between them is the difference of the ages of the process.
    set("+0");
    let reports = ["a", "b"].map(|name| directory.path().join(name));
    for (report, clock) in reports.iter().zip(["+0", "-5h"]) {
        set(clock);
        let text =
            ended(under_clock(&format!("fds --port {} --json", target.port)).output().unwrap(), "fds").stdout;
        std::fs::write(report, text).unwrap();
    }
    set("+0");
    for arguments in [
        format!("fds --from {} --from {} --json", reports[0].display(), reports[1].display()),
        format!(
            "fds --port {} --compare {} --compare {} --json",
            target.port,
            reports[0].display(),
            reports[1].display()
        ),
    ] {
        let told = ended(under_clock(&arguments).output().unwrap(), &arguments).json();
        let samples = told["servers"][0]["trend"]["samples"].as_array().unwrap().clone();
        assert!(
            samples.len() >= 2 && samples.iter().all(|sample| sample["at_ms"].as_u64().unwrap() < 60_000),
            "{samples:#?}"
        );
    }
}

// A client that does not read, small stacks, and standard input.

/// The MCP server with a client that decides when it writes and reads.
struct Tools {
    child: Child,
    input: Option<File>,
    output: BufReader<File>,
}

impl Tools {
    fn start() -> Self {
        let mut child = doctor()
            .arg("mcp")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let input = File::from(OwnedFd::from(child.stdin.take().unwrap()));
        let output = BufReader::new(File::from(OwnedFd::from(child.stdout.take().unwrap())));
        let mut tools = Self { child, input: Some(input), output };
        tools.send(&json!({"jsonrpc": "2.0", "id": "first", "method": "initialize", "params": {
            "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}));
        assert_eq!(tools.read()["id"], "first");
        tools.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        tools
    }

    fn send(&mut self, message: &Value) {
        self.input.as_mut().unwrap().write_all(format!("{message}\n").as_bytes()).unwrap();
    }

    fn read(&mut self) -> Value {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// Resident memory in kilobytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client that reads nothing sends thousands of requests: the server stops reading, and the client gets every
/// answer when it reads again.
#[test]
fn a_client_that_does_not_read_takes_bounded_memory_and_loses_nothing() {
    const REQUESTS: usize = 6000;
    let calls: [fn(usize) -> Value; 3] = [
        |id| json!({"jsonrpc": "2.0", "id": id, "method": "tools/list", "params": {}}),
        |id| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "explain", "arguments": {}}}),
        |id| json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "nonsense", "arguments": {}}}),
    ];
    for (which, call) in calls.into_iter().enumerate() {
        let mut tools = Tools::start();
        let before = tools.resident();
        let mut input = tools.input.take().unwrap();
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = std::sync::Arc::clone(&sent);
        let writer = std::thread::spawn(move || {
            for id in 0..REQUESTS {
                input.write_all(format!("{}\n", call(id)).as_bytes()).unwrap();
                count.store(id + 1, std::sync::atomic::Ordering::Relaxed);
            }
        });
        // The server stalls: it reads no more requests and uses no CPU time.
        let (mut last, mut looks) = ((0, 0), 0);
        let cpu = |pid: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields: Vec<u64> = stat
                .rsplit(") ")
                .next()
                .unwrap()
                .split(' ')
                .skip(11)
                .take(2)
                .map(|text| text.parse().unwrap())
                .collect();
            fields[0] + fields[1]
        };
        wait_for("a server that stands still", || {
            std::thread::sleep(Duration::from_millis(80));
            let now = (sent.load(std::sync::atomic::Ordering::Relaxed), cpu(tools.child.id()));
            looks = if now == last { looks + 1 } else { 0 };
            last = now;
            looks >= 4
        });
        assert!(last.0 < REQUESTS, "{which}: it has read all {REQUESTS} requests of a client that reads nothing");
        let grown = tools.resident().saturating_sub(before);
        assert!(grown < 48 * 1024, "{which}: {grown} KiB more");
        let mut answered: Vec<u64> = (0..REQUESTS).map(|_| tools.read()["id"].as_u64().unwrap()).collect();
        writer.join().unwrap();
        answered.sort_unstable();
        assert!(answered.iter().enumerate().all(|(id, answer)| *answer == id as u64), "{which}");
        // Its input has ended, so it ends.
        assert_eq!(tools.child.wait().unwrap().code(), Some(0));
    }
}

/// The slot of a request is released, whatever its result.
#[test]
fn places_of_requests_are_given_back() {
    let mut tools = Tools::start();
    for id in 0..120 {
        // Cancelled at once; the same id again; an unknown method; invalid arguments.
        tools.send(&json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": "explain", "arguments": {}}}));
        tools.send(&json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}));
        tools.send(&json!({"jsonrpc": "2.0", "id": "same", "method": "tools/list", "params": {}}));
        tools.send(&json!({"jsonrpc": "2.0", "id": "same", "method": "tools/list", "params": {}}));
        tools.send(&json!({"jsonrpc": "2.0", "id": 1000 + id, "method": "nonsense", "params": {}}));
        tools.send(&json!({"jsonrpc": "2.0", "id": 2000 + id, "method": "tools/call", "params": {"name": "check", "arguments": {"pid": "x"}}}));
        tools.send(&json!({"jsonrpc": "2.0", "id": 3000 + id, "method": "tools/call", "params": {"name": "check", "arguments": {"from": ["-"]}}}));
        tools.send(&json!({"jsonrpc": "2.0", "id": 4000 + id, "method": "ping"}));
        let mut awaited = vec![3000 + id, 4000 + id];
        while !awaited.is_empty() {
            let answer = tools.read();
            if answer["id"] == 3000 + id {
                let text = answer["result"]["content"][0]["text"].as_str().unwrap();
                assert!(text.contains("from takes the paths of files"), "{answer}");
            }
            awaited.retain(|waited| answer["id"] != *waited);
        }
    }
    tools.send(&json!({"jsonrpc": "2.0", "id": "last", "method": "tools/list", "params": {}}));
    wait_for("the last answer", || tools.read()["id"] == "last");
}

#[test]
fn a_failed_write_of_an_mcp_answer_is_reported() {
    let mut child = doctor()
        .arg("mcp")
        .stdin(Stdio::piped())
        .stdout(File::options().write(true).open("/dev/full").unwrap())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Its input stays open: it ends because no answer can be written.
    let mut input = child.stdin.take().unwrap();
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    let _ = input.write_all(format!("{hello}\n").as_bytes());
    let _ = input.write_all(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}\n{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n");
    wait_for("its end", || child.try_wait().unwrap().is_some());
    drop(input);
    let answer = ended(child.wait_with_output().unwrap(), "mcp");
    assert_eq!(answer.exit, 3, "{}", answer.stderr);
    assert!(answer.stderr.contains("cannot write standard output: No space left on device"), "{}", answer.stderr);
}

/// A stack of 256 KiB (`ulimit -s 256`, hard and soft) is enough for every command, with the same answer.
#[test]
fn a_small_stack_is_enough() {
    let (target, directory) = (webui(""), tempfile::tempdir().unwrap());
    let record = directory.path().join("record");
    run(&format!("watch --port {} --samples 2 --every 50ms --record {}", target.port, record.display()));
    for arguments in every_command(target.port, directory.path()) {
        let usual = run(&arguments);
        for name in ["report.json", "record.svg"] {
            let _ = std::fs::remove_file(directory.path().join(name));
        }
        let answer = ended(prepared("ulimit -s 256; exec \"$0\" \"$@\"", &arguments).output().unwrap(), &arguments);
        assert_eq!(answer.exit, usual.exit, "{arguments}: {}", answer.stderr);
        for name in ["report.json", "record.svg"] {
            let _ = std::fs::remove_file(directory.path().join(name));
        }
        if arguments.starts_with("check") && arguments.contains("--json") && !arguments.contains("nonsense") {
            let (usual, answer) = (usual.json(), answer.json());
            for key in ["findings", "passed"] {
                assert_eq!(usual["servers"][0][key], answer["servers"][0][key], "{arguments}");
            }
            assert_eq!(
                usual["servers"][0]["gaps"].as_array().map(Vec::len),
                answer["servers"][0]["gaps"].as_array().map(Vec::len)
            );
        }
    }
    let mut child = prepared("ulimit -s 256; exec \"$0\" \"$@\"", "mcp")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let call = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{{\"name\":\"check\",\"arguments\":{{\"port\":{}}}}}}}\n",
        target.port
    );
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}});
    input
        .write_all(
            format!("{hello}\n{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}}\n{call}").as_bytes(),
        )
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("serverInfo"));
    assert!(lines.next().unwrap().unwrap().contains("status: healthy"));
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// `--from -` reads standard input for every command that takes a report, in every form of one.
#[test]
fn a_report_is_read_from_standard_input() {
    let fixture = "fixtures/leak-critical.json";
    let plain = std::fs::read(fixture).unwrap();
    let gzip = Command::new("gzip").args(["-c", fixture]).output().unwrap().stdout;
    let comment =
        format!("It hangs.\n\n```json\n{}\n```\n", String::from_utf8(plain.clone()).unwrap()).into_bytes();
    let given = |arguments: &str, bytes: &[u8]| {
        let mut child = doctor()
            .args(words(arguments))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || {
            // In two pieces, as a network has them.
            let (first, rest) = bytes.split_at(bytes.len() / 2);
            let _ = input.write_all(first);
            std::thread::sleep(Duration::from_millis(20));
            let _ = input.write_all(rest);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        ended(output, arguments)
    };
    let strip =
        |text: &str| text.lines().filter(|line| !line.contains("\"elapsed_ms\"")).collect::<Vec<_>>().join("\n");
    for command in [
        "check",
        "",
        "fds",
        "lineage",
        "port",
        "health",
        "db",
        "stacks",
        "report",
        "check --json",
        "report --html",
        "check --format nagios",
    ] {
        let usual = run(&format!("{command} --from {fixture}"));
        for bytes in [&plain, &gzip, &comment] {
            let answer = given(&format!("{command} --from -"), bytes);
            assert_eq!(answer.exit, usual.exit, "{command}: {}", answer.stderr);
            if !command.contains("report") {
                assert_eq!(strip(&answer.stdout), strip(&usual.stdout), "{command}");
            }
        }
    }
    // The other of two reports is a file, in either order; and a report is compared with a live server.
    for arguments in [format!("fds --from - --from {fixture}"), format!("check --from - --from {fixture}")] {
        let usual = run(&arguments.replace(" - ", &format!(" {fixture} ")));
        assert_eq!(given(&arguments, &plain).exit, usual.exit, "{arguments}");
    }
    for (arguments, bytes, words) in [
        ("check --from -", &b""[..], "standard input: "),
        ("check --from -", b"hello", "standard input: not a hermes-doctor report: it has neither"),
        ("check --from -", &gzip[..gzip.len() / 2], "standard input: it cannot be unpacked"),
        ("check --from - --from -", &plain, "standard input (-) can be only one of the reports"),
        ("fds --port 1 --compare - --compare -", &plain, "standard input (-) can be only one of the reports"),
        ("check --from ./-", &plain, "./-"),
    ] {
        let answer = given(arguments, bytes);
        assert_eq!(answer.exit, 3, "{arguments}: {}", answer.stdout);
        assert!(answer.stderr.contains(words), "{arguments}: {}", answer.stderr);
    }
    let endless = prepared("exec \"$0\" \"$@\" </dev/zero", "check --from -").output().unwrap();
    let answer = ended(endless, "/dev/zero");
    assert!(answer.exit == 3 && answer.stderr.contains("64 MiB"), "{}", answer.stderr);
}

// Hosts that lack something.

/// Runs a server in its own namespaces, and in them `script` as root: `$0` is the program, `$1` the port, `$2` the
/// pid of the server, `$3` its home.
fn host(address: &str, owner: u32, script: &str) -> Answer {
    let home = common::home();
    std::os::unix::fs::chown(home.path(), Some(owner), Some(owner)).unwrap();
    let mut permissions = std::fs::metadata(home.path()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o755);
    std::fs::set_permissions(home.path(), permissions).unwrap();
    let checkout = home.path().join("hermes-webui");
    std::fs::create_dir(&checkout).unwrap();
    let family = if address.contains(':') { "AF_INET6" } else { "AF_INET" };
    let text = format!(
        "import socket, sys\n\
         server = socket.create_server((\"{address}\", 20123), family=socket.{family})\n\
         open(sys.argv[1], \"w\").close()\n\
         body = b'{{\"status\":\"ok\",\"sessions\":0,\"active_streams\":0,\"uptime_seconds\":1.0}}'\n\
         while True:\n\
         \x20   client, _ = server.accept()\n\
         \x20   client.recv(9999)\n\
         \x20   client.sendall(b'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body) + body)\n\
         \x20   client.close()\n"
    );
    std::fs::write(checkout.join("server.py"), text).unwrap();
    let python = Command::new("python3")
        .args(["-c", "import os, sys; print(os.path.realpath(sys.executable))"])
        .output()
        .unwrap();
    let python = if owner == 0 {
        String::from_utf8(python.stdout).unwrap().trim().to_owned()
    } else {
        "/usr/bin/python3".to_owned()
    };
    // Outside of root's home, so that another user can run it.
    let whole = format!(
        "ip link set lo up; cd /\n\
         HERMES_HOME=$3 setpriv --reuid {owner} --regid {owner} --clear-groups {python} $3/hermes-webui/server.py $3/ready >/dev/null 2>&1 </dev/null &\n\
         server=$!; while ! [ -e $3/ready ]; do sleep 0.02; done\n\
         set -- 20123 $server $3\n{script}"
    );
    let mut command = Command::new("unshare");
    command.args([
        "-p",
        "-m",
        "-n",
        "-u",
        "-f",
        "--kill-child",
        "--mount-proc",
        "sh",
        "-c",
        &whole,
        program(),
        "",
        "",
    ]);
    command.arg(home.path()).env("HOME", "/nonexistent").env_remove("HERMES_HOME").env("LC_ALL", "C.UTF-8");
    run_with(&mut command)
}

/// The answers of a script that prints envelopes, one behind the other, each followed by its exit status.
fn envelopes(answer: &Answer) -> Vec<Value> {
    let values = serde_json::Deserializer::from_str(&answer.stdout).into_iter::<Value>();
    let all: Vec<Value> = values
        .map(|value| value.unwrap_or_else(|error| panic!("{error}: {}\n{}", answer.stdout, answer.stderr)))
        .collect();
    assert!(!all.is_empty() && all.len().is_multiple_of(2), "{}\n{}", answer.stdout, answer.stderr);
    all.chunks(2)
        .map(|pair| {
            let expected = ["healthy", "warning", "critical", "unknown"][pair[1].as_u64().unwrap() as usize];
            assert_eq!(pair[0]["status"], expected);
            pair[0].clone()
        })
        .collect()
}

fn ids_of(envelope: &Value) -> Vec<String> {
    envelope["servers"].as_array().unwrap().iter().flat_map(common::ids).collect()
}

#[test]
fn a_loopback_interface_that_is_down_is_no_server_that_is_down() {
    if !can_unshare("a_loopback_interface_that_is_down_is_no_server_that_is_down") {
        return;
    }
    let script = "ip link set lo down; for what in \"check --port $1\" \"check --pid $2\" \"health --port $1\" \"health --url http://127.0.0.1:$1\" \
        \"check --home $3\" \"health --url http://[::1]:$1\"; do $0 $what --json; echo $?; done";
    for answer in envelopes(&host("127.0.0.1", 0, script)) {
        assert_eq!(answer["status"], "unknown", "{answer:#}");
        let found = ids_of(&answer);
        for wrong in ["server-not-running", "connection-refused", "http-no-answer"] {
            assert!(!found.contains(&wrong.to_owned()), "{answer:#}");
        }
        assert!(
            answer["servers"].to_string().contains("none of its addresses can be reached from this host"),
            "{answer:#}"
        );
    }
}

#[test]
fn a_server_on_the_other_family_is_found_by_its_address() {
    if !can_unshare("a_server_on_the_other_family_is_found_by_its_address") {
        return;
    }
    let script = "for what in \"check --url http://[::1]:$1\" \"health --url http://[::1]:$1\" \"check --port $1\" \"fds --url http://[::1]:$1\" \
        \"port --url http://[::1]:$1\"; do $0 $what --json; echo $?; done";
    for answer in envelopes(&host("::1", 0, script)) {
        assert_eq!(answer["status"], "healthy", "{answer:#}");
        assert_eq!(answer["servers"].as_array().unwrap().len(), 1, "{answer:#}");
        assert_eq!(
            (&answer["servers"][0]["kind"], answer["servers"][0]["pid"].is_u64()),
            (&json!("webui"), true),
            "{answer:#}"
        );
    }
    // No process listens at that address and port: another server does not count.
    let script = "for what in \"check --url http://[::1]:9\" \"health --url http://[::1]:9\"; do $0 $what --json; echo $?; done";
    for answer in envelopes(&host("::1", 0, script)) {
        assert_eq!(answer["status"], "critical", "{answer:#}");
    }
}

/// Root in a container does not have CAP_SYS_PTRACE: it can list the descriptors of other users' processes but not
/// read them.
#[test]
fn checks_of_facts_unreadable_without_a_capability_do_not_pass() {
    if !can_unshare("checks_of_facts_unreadable_without_a_capability_do_not_pass") {
        return;
    }
    if !Path::new("/usr/bin/python3").exists() {
        return skipped(
            "checks_of_facts_unreadable_without_a_capability_do_not_pass",
            "there is no /usr/bin/python3",
        );
    }
    let bare = "setpriv --bounding-set=-sys_ptrace --inh-caps=-sys_ptrace $0";
    let script = format!(
        "for what in \"fds --port $1\" \"check --port $1\" \"check --home $3\" \"health --home $3\" \"stacks --port $1\" \
         \"fds --port $1 --samples 2 --every 20ms\" \"lineage --port $1\"; do {bare} $what --json; echo $?; done"
    );
    let answers = envelopes(&host("127.0.0.1", 4000, &script));
    // Stacks are read with the rights of the server's own user, which needs no capability.
    for (answer, status) in
        answers.iter().zip(["unknown", "healthy", "unknown", "unknown", "healthy", "unknown", "healthy"])
    {
        assert_eq!(answer["status"], status, "{answer:#}");
        let server = &answer["servers"][0];
        for unseen in ["state-db-handle-leak", "close-wait-leak", "deleted-files-held"] {
            assert!(!server["passed"].as_array().unwrap().contains(&json!(unseen)), "{unseen}: {answer:#}");
        }
        for wrong in ["server-not-running", "connection-refused"] {
            assert!(!ids_of(answer).contains(&wrong.to_owned()), "{answer:#}");
        }
        for text in ["listens on no TCP port", "does not listen on a TCP port"] {
            assert!(!answer.to_string().contains(text), "{answer:#}");
        }
        assert!(server["gaps"].to_string().contains("\"permission\""), "{answer:#}");
    }
    // A saved report of it has the same gaps.
    let script = format!("{bare} check --port $1 --json > $3/saved; $0 fds --from $3/saved --json; echo $?");
    let told = envelopes(&host("127.0.0.1", 4000, &script)).remove(0);
    assert_eq!(told["status"], "unknown", "{told:#}");
    // With the capability, all facts are read.
    let told = envelopes(&host("127.0.0.1", 4000, "$0 fds --port $1 --json; echo $?")).remove(0);
    assert_eq!(
        (told["status"].as_str(), told["servers"][0]["gaps"].as_array().map(Vec::len)),
        (Some("healthy"), Some(0)),
        "{told:#}"
    );
}

#[test]
fn a_host_without_a_null_device_is_examined() {
    if !can_unshare("a_host_without_a_null_device_is_examined") {
        return;
    }
    let script = "mkdir $3/dev && mount -t tmpfs dev $3/dev && mount --move $3/dev /dev; [ -e /dev/null ] && exit 9\n\
        for what in \"check --port $1\" \"lineage --port $1\" \"fds --port $1\" \"health --port $1\" \"port --port $1\" \"stacks --port $1\"; do $0 $what --json; echo $?; done";
    for answer in envelopes(&host("127.0.0.1", 0, script)) {
        let server = &answer["servers"][0];
        assert_eq!(server["kind"], "webui", "{answer:#}");
        assert!(!answer.to_string().contains("no reader"), "{answer:#}");
        assert!(!ids_of(&answer).contains(&"server-not-running".to_owned()), "{answer:#}");
    }
    let told = host(
        "127.0.0.1",
        0,
        "mkdir $3/dev && mount -t tmpfs dev $3/dev && mount --move $3/dev /dev; $0 demo healthy; echo $?",
    );
    assert!(!told.stderr.contains("panicked"), "{}", told.stderr);
    assert!(
        told.stdout.trim().ends_with('0') || told.stderr.contains("cannot start the server"),
        "{}{}",
        told.stdout,
        told.stderr
    );
}
