//! The main process makes no call that can hang, and all started processes are reaped.

use crate::common;

use common::hung::{Fate, Hung};
use common::other_user::{NEIGHBOUR, Place, bounded, fifo, gaps, give_all, isolated, mount};
use common::traced::{Call, traced};
use common::{Guard, signal_pid, skipped, wait_for};
use rustix::process::Signal;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Budget of an examination, and how long it may take until the process can be reaped.
const BUDGET: &str = "4s";
const LIMIT: Duration = Duration::from_secs(10);

/// A server of a user, with a log without a time zone, and an account.
fn server(place: &Place) -> (Guard, PathBuf) {
    let user = place.directory("user", NEIGHBOUR);
    let home = place.directory("user/.hermes", NEIGHBOUR);
    std::fs::write(home.join("config.yaml"), "").unwrap();
    let log = "2026-01-01 00:00:00,000 ERROR root: boom\nTraceback (most recent call last):\n  File \"x.py\", line 1, in <module>\nOSError: [Errno 24] Too many open files\n";
    std::fs::write(home.join("webui.log"), log).unwrap();
    let connection = rusqlite::Connection::open(home.join("state.db")).unwrap();
    connection.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(connection);
    give_all(&user, NEIGHBOUR);
    (place.server(NEIGHBOUR, &home), home)
}

/// Calls that name a file or start a program.
const NAMING: &[&str] = &[
    "open",
    "openat",
    "openat2",
    "creat",
    "execve",
    "execveat",
    "stat",
    "lstat",
    "newfstatat",
    "statx",
    "access",
    "faccessat",
    "faccessat2",
    "readlink",
    "readlinkat",
    "statfs",
    "chdir",
    "fchdir",
    "inotify_add_watch",
];

/// Files of `/proc/self` that the main process may open. The worker reads all other system files, because lxcfs or
/// another filesystem can be mounted over a file of `/proc` or a control group.
const OWN_FILES: [&str; 6] = ["maps", "mountinfo", "stat", "children", "net/fib_trie", "net/if_inet6"];
/// Links of `/proc/self` that it may read; to read a link is not to follow it.
const OWN_LINKS: [&str; 4] = ["exe", "cwd", "ns/mnt", "ns/net"];

/// Whether the main process may make this call: in procfs its own files, and files that the loader and the C
/// library read at the start.
fn may_be_of_main(call: &Call, main: u32, program: &Path) -> bool {
    if call.name == "connect" {
        return !call.arguments.contains("AF_UNIX");
    }
    if !NAMING.contains(&call.name.as_str()) {
        return true;
    }
    let Some(path) = call.path() else { return call.name != "fchdir" };
    // The descriptor itself (AT_EMPTY_PATH).
    if call.quoted() == Some("") && call.name != "execve" {
        return true;
    }
    let Some(text) = path.to_str() else { return false };
    if call.name.starts_with("exec") {
        return text == "/proc/self/exe" || path == program;
    }
    if matches!(text, "/" | "/proc") {
        return true;
    }
    let reads_link = call.name.starts_with("readlink");
    if let Some(rest) = text.strip_prefix("/proc/") {
        let (process, file) = rest.split_once('/').unwrap_or((rest, ""));
        let is_own = matches!(process, "self" | "thread-self") || process.parse() == Ok(main);
        return is_own && (file.is_empty() || OWN_FILES.contains(&file) || reads_link && OWN_LINKS.contains(&file));
    }
    let is_library = text.starts_with("/lib") || text.starts_with("/usr/lib") || text.starts_with("/usr/local/lib");
    let is_of_loader = text.starts_with("/etc/ld.so.")
        || text.starts_with("/etc/ld-musl-")
        || is_library && (text.contains(".so") || text.contains("glibc-hwcaps") || !call.is_ok());
    is_of_loader
        || text == "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"
        || text == "/sys/kernel/mm/transparent_hugepage/enabled"
        || path == program && reads_link
}

/// For every command: with a supervisor that is queried, with logs, with accounts and with a time zone.
#[test]
fn the_main_process_names_no_file_that_can_hang() {
    isolated("the_main_process_names_no_file_that_can_hang", |place| {
        let (server, home) = server(place);
        place.accounts(&[format!("user:x:5000:5000::{}:/bin/sh", place.path("user").display()).as_bytes()]);
        let (pid, port, home) = (server.pid(), server.port, home.display());
        for arguments in [
            "check".to_owned(),
            "check --json".to_owned(),
            format!("check --verbose --pid {pid}"),
            format!("check --json --port {port} --expect systemd:x.service"),
            format!("check --port {port} --expect systemd-user:x.service"),
            format!("check --url http://localhost:{port}/"),
            format!("check --home {home}"),
            format!("check --pid {pid} --format nagios"),
            format!("fds --all --pid {pid}"),
            format!("lineage --verbose --pid {pid}"),
            format!("port --verbose --port {port}"),
            format!("health --verbose --port {port}"),
            format!("db --home {home}"),
            format!("db --file {home}/state.db"),
            format!("report --pid {pid}"),
            format!("stacks --pid {pid}"),
        ] {
            let mut command = place.doctor(&arguments);
            command.env("TZ", ":/usr/share/zoneinfo/Europe/Paris").env("TMPDIR", place.path("tmp"));
            command.env("HERMES_HOME", place.path("user/.hermes")).env("HOME", place.path("user"));
            let (answer, trace) = traced(&command, &[]);
            assert!((0..=3).contains(&answer.exit), "{arguments}: {}", answer.stderr);
            let program = place.program();
            let strays: Vec<String> = trace
                .of_main()
                .filter(|call| !may_be_of_main(call, trace.main, &program))
                .map(|call| format!("{}({}) = {}", call.name, call.arguments, call.result))
                .collect();
            let first: Vec<&String> = strays.iter().take(8).collect();
            assert!(strays.is_empty(), "{arguments}: {} calls, among them {first:#?}", strays.len());
        }
    });
}

/// Every child of the main process becomes a worker at once: a copy of the main process does no work.
#[test]
fn every_child_of_the_main_process_is_a_worker() {
    isolated("every_child_of_the_main_process_is_a_worker", |place| {
        let (server, _) = server(place);
        let arguments = format!("check --json --pid {} --expect systemd:x.service", server.pid());
        let (_, trace) = traced(&place.doctor(&arguments), &[]);
        let children: HashSet<u32> =
            trace.parents.iter().filter(|(_, parent)| **parent == trace.main).map(|(child, _)| *child).collect();
        assert!(!children.is_empty(), "there is no worker");
        for child in children {
            let calls: Vec<&Call> = trace.calls.iter().filter(|call| call.process == child).collect();
            let exec = calls.iter().find(|call| call.name.starts_with("execve") && call.is_ok());
            let is_worker = exec.is_some_and(|call| call.quoted() == Some("/proc/self/exe"));
            assert!(is_worker, "a child that is no worker: {exec:#?}");
            let before = calls.iter().find(|call| call.is_before_exec && call.is_open());
            assert!(before.is_none(), "it opens something before it is a worker: {before:#?}");
            // A worker has one thread.
            let thread = calls.iter().find(|call| call.arguments.contains("CLONE_THREAD"));
            assert!(thread.is_none(), "a worker starts a thread: {thread:#?}");
        }
    });
}

/// Mounts a filesystem that does not answer; `None` if that is not possible.
fn hung(place: &Place, fate: Fate) -> Option<(Hung, PathBuf)> {
    let directory = place.directory("hung", 0);
    let mut hung = Hung::serving(&directory, fate, Path::new("/bin/sleep"))?;
    hung.hang();
    Some((hung, directory))
}

/// Variables that name a directory or a file.
#[test]
fn paths_of_the_environment_are_not_waited_for() {
    isolated("paths_of_the_environment_are_not_waited_for", |place| {
        let (server, _) = server(place);
        for fate in [Fate::Unread, Fate::Unanswered] {
            let Some((hung, directory)) = hung(place, fate) else {
                return skipped("paths_of_the_environment", "it takes /dev/fuse");
            };
            let there = directory.display().to_string();
            let cases = [
                ("PATH", format!("{there}/bin:/usr/bin:/bin")),
                ("TZ", format!(":{there}/zone")),
                ("TZDIR", there.clone()),
                ("TMPDIR", there.clone()),
                ("HOME", there.clone()),
                ("HERMES_HOME", format!("{there}/home")),
                ("XDG_RUNTIME_DIR", there.clone()),
                ("LOCPATH", there.clone()),
            ];
            for (name, value) in cases {
                for view in ["check --json", "lineage --json", "health --json"] {
                    let arguments =
                        format!("{view} --port {} --expect systemd:x.service --budget {BUDGET}", server.port);
                    let arguments = if view.starts_with("health") {
                        arguments.replace(" --expect systemd:x.service", "")
                    } else {
                        arguments
                    };
                    let mut command = place.doctor(&arguments);
                    command.env(name, &value);
                    let answer = bounded(&mut command, LIMIT, &format!("{fate:?} {name}={value} {view}"));
                    let envelope = answer.json();
                    assert_eq!(envelope["servers"][0]["pid"], server.pid(), "{fate:?} {name}: {envelope:#}");
                }
            }
            drop(hung);
        }
    });
}

/// System files that libraries read: their filesystem hangs, or a FIFO is at their path.
#[test]
fn files_of_the_system_are_not_waited_for() {
    isolated("files_of_the_system_are_not_waited_for", |place| {
        place.own_etc();
        let (server, _) = server(place);
        let pipe = place.path("pipe");
        fifo(&pipe);
        let names = ["passwd", "localtime", "group", "nsswitch.conf", "hosts", "resolv.conf", "timezone", "shadow"];
        for fate in [None, Some(Fate::Unread), Some(Fate::Unanswered)] {
            let (source, mut mounted) = match fate {
                None => (pipe.clone(), None),
                Some(fate) => {
                    let directory = place.directory("hung", 0);
                    let Some(mounted) = Hung::serving(&directory, fate, Path::new("/bin/sleep")) else {
                        return skipped("files_of_the_system", "it takes /dev/fuse");
                    };
                    (directory.join("file"), Some(mounted))
                }
            };
            let over: Vec<PathBuf> = names.iter().map(|name| Path::new("/etc").join(name)).collect();
            for path in &over {
                // A link to a time zone would be followed by mount(8).
                let _ = std::fs::remove_file(path);
                std::fs::write(path, "").unwrap();
                mount(&["--no-canonicalize", "--bind", source.to_str().unwrap()], path);
            }
            if let Some(mounted) = &mut mounted {
                mounted.hang();
            }
            for view in ["check", "check --json", "lineage --json"] {
                for name in [format!("--port {}", server.port), format!("--pid {}", server.pid()), String::new()] {
                    let arguments = format!("{view} {name} --budget {BUDGET}");
                    let answer = bounded(&mut place.doctor(&arguments), LIMIT, &format!("{fate:?} {arguments}"));
                    assert!((0..=3).contains(&answer.exit), "{fate:?} {arguments}: {}", answer.stderr);
                    if view.ends_with("json") {
                        let envelope = answer.json();
                        assert_eq!(
                            envelope["servers"][0]["pid"],
                            server.pid(),
                            "{fate:?} {arguments}: {envelope:#}"
                        );
                    }
                }
            }
            for path in &over {
                let status = Command::new("umount").args(["--no-canonicalize", "--lazy"]).arg(path).status();
                assert!(status.unwrap().success());
            }
            drop(mounted);
        }
    });
}

/// Kernel files over which lxcfs mounts its own in a container (README of lxcfs), and control groups; its daemon
/// hangs.
#[test]
fn files_of_lxcfs_are_not_waited_for() {
    isolated("files_of_lxcfs_are_not_waited_for", |place| {
        let (server, _) = server(place);
        let names = ["cpuinfo", "diskstats", "meminfo", "stat", "swaps", "uptime", "loadavg", "pressure/memory"];
        let over: Vec<PathBuf> =
            names.iter().map(|name| Path::new("/proc").join(name)).filter(|path| path.exists()).collect();
        assert!(over.len() >= 7, "{over:?}");
        for fate in [Fate::Unread, Fate::Unanswered] {
            let directory = place.directory("hung", 0);
            let Some(mut mounted) = Hung::serving(&directory, fate, Path::new("/bin/sleep")) else {
                return skipped("files_of_lxcfs", "it takes /dev/fuse");
            };
            for path in &over {
                mount(&["--bind", directory.join("file").to_str().unwrap()], path);
            }
            mount(&["--bind", directory.to_str().unwrap()], Path::new("/sys/fs/cgroup"));
            mounted.hang();
            for view in
                ["check", "check --json", "check --verbose", "lineage --json", "port --verbose", "fds --json"]
            {
                let arguments = format!("{view} --port {} --budget {BUDGET}", server.port);
                let answer = bounded(&mut place.doctor(&arguments), LIMIT, &format!("{fate:?} {arguments}"));
                assert!((0..=3).contains(&answer.exit), "{fate:?} {arguments}: {}", answer.stderr);
                if view.ends_with("json") {
                    let envelope = answer.json();
                    assert_eq!(envelope["servers"][0]["pid"], server.pid(), "{fate:?} {arguments}: {envelope:#}");
                    // The clock is read without a file.
                    if view.starts_with("check") {
                        // What was not read did not pass.
                        let passed = envelope["servers"][0]["passed"].to_string();
                        assert!(!passed.contains("host-files-exhausted"), "{fate:?} {arguments}: {passed}");
                        let missing = format!("{:?}", gaps(&envelope));
                        assert!(missing.contains("numbers of the host"), "{fate:?} {arguments}: {missing}");
                    }
                    assert!(envelope["host"]["uptime_ms"].is_u64(), "{fate:?} {arguments}: {envelope:#}");
                }
            }
            for path in over.iter().map(PathBuf::as_path).chain([Path::new("/sys/fs/cgroup")]) {
                let status = Command::new("umount").args(["--no-canonicalize", "--lazy"]).arg(path).status();
                assert!(status.unwrap().success());
            }
            drop(mounted);
        }
    });
}

/// The programs to start are on a filesystem that hangs: their start never returns.
#[test]
fn a_program_that_cannot_be_loaded_is_not_waited_for() {
    isolated("a_program_that_cannot_be_loaded_is_not_waited_for", |place| {
        let (server, _) = server(place);
        let Ok(real) = std::fs::canonicalize("/usr/bin/systemctl") else {
            return skipped("a_program_that_cannot_be_loaded", "there is no systemctl");
        };
        for fate in [Fate::Unread, Fate::Unanswered] {
            let directory = place.directory("hung", 0);
            let Some(mut hung) = Hung::serving(&directory, fate, Path::new("/bin/sleep")) else {
                return skipped("a_program_that_cannot_be_loaded", "it takes /dev/fuse");
            };
            mount(&["--bind", directory.join("file").to_str().unwrap()], &real);
            hung.hang();
            let arguments =
                format!("check --json --port {} --expect systemd:x.service --budget {BUDGET}", server.port);
            let answer = bounded(&mut place.doctor(&arguments), LIMIT, &format!("{fate:?}"));
            let envelope = answer.json();
            assert_eq!(envelope["servers"][0]["pid"], server.pid(), "{fate:?}: {envelope:#}");
            let why = gaps(&envelope);
            assert!(why.iter().any(|gap| format!("{gap:?}").contains("systemd:x.service")), "{fate:?}: {why:#?}");
            assert!(Command::new("umount").arg("--lazy").arg(&real).status().unwrap().success());
            drop(hung);
        }
    });
}

/// Processes that existed while a command ran.
#[derive(Default)]
struct Seen {
    /// Most processes of a program at one time.
    most: usize,
    /// For each ended process, the number of samples in which it was not reaped.
    zombies: HashMap<u32, (usize, usize)>,
    samples: usize,
}

/// Fields of `/proc/PID/stat`: pid, name, state, parent.
fn processes() -> Vec<(u32, String, char, u32)> {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (name, rest) = (stat.split_once('(')?.1.rsplit_once(')')?.0.to_owned(), stat.rsplit_once(") ")?.1);
            let mut fields = rest.split(' ');
            Some((pid, name, fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
        })
        .collect()
}

fn is_program(pid: u32, name: &str) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&command).contains(&format!("/{name}\0"))
}

/// Runs `watch` for 60 samples while a program is slow or hangs, and samples the processes all the time.
fn watch(place: &Place, name: &str, server: &Guard) -> Seen {
    let output = place.path("samples");
    let mut command = place.doctor(&format!(
        "watch --json --samples 60 --every 50ms --pid {} --expect systemd:x.service --record {}",
        server.pid(),
        place.path("record-of-watch").display()
    ));
    command.stdin(Stdio::null()).stdout(std::fs::File::create(&output).unwrap()).stderr(Stdio::null());
    let mut child: Child = command.spawn().unwrap();
    let mut seen = Seen::default();
    let end = std::time::Instant::now() + Duration::from_secs(240);
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        let record = std::fs::read(place.path("record-of-watch")).unwrap_or_default();
        seen.samples = record.iter().filter(|byte| **byte == b'\n').count();
        let all = processes();
        // Workers can have their own children.
        let mut ours = HashSet::from([child.id()]);
        while all.iter().any(|(pid, _, _, parent)| ours.contains(parent) && ours.insert(*pid)) {}
        let programs = all.iter().filter(|(pid, _, state, _)| *state != 'Z' && is_program(*pid, name)).count();
        seen.most = seen.most.max(programs);
        for (pid, _, _, _) in
            all.iter().filter(|(pid, _, state, _)| *state == 'Z' && ours.contains(pid) && *pid != child.id())
        {
            let (_, last) = seen.zombies.entry(*pid).or_insert((seen.samples, seen.samples));
            *last = seen.samples;
        }
        let stays = seen.zombies.values().any(|(first, last)| last - first >= 3);
        let is_over = std::time::Instant::now() > end;
        if seen.most > 1 || stays || is_over {
            let _ = child.kill();
            let _ = child.wait();
            assert!(!is_over, "watch does not end");
            return seen;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.code().is_some_and(|code| (0..=3).contains(&code)), "{status}");
    let text = std::fs::read_to_string(&output).unwrap();
    assert!(!text.is_empty(), "no sample was printed");
    seen
}

/// One of the two programs is `slow` or `hung`, and the other answers at once.
fn is_reaped(place: &Place, name: &str, wait: &str) {
    let answer = "Id=x.service\nLoadState=loaded\nActiveState=failed\nSubState=failed\nResult=exit-code\nType=simple\nRestart=on-failure\nMainPID=0\n";
    let waits = |tool: &str| if tool == name { wait } else { "no" };
    let is_there = place.replace_tool("systemctl", waits("systemctl"), answer)
        && place.replace_tool(
            "journalctl",
            waits("journalctl"),
            "2026-01-01T00:00:00.000000+00:00 h p[1]: ERROR x\n",
        );
    if !is_there {
        return skipped("programs of watch", "there is no systemctl or journalctl");
    }
    let (server, _) = server(place);
    let seen = watch(place, name, &server);
    assert!(!place.tool_starts(name).is_empty(), "{name} was never started");
    assert!(seen.most <= 1, "{} processes of {name} at one time", seen.most);
    let stayed: Vec<_> = seen.zombies.iter().filter(|(_, (first, last))| last - first >= 3).collect();
    assert!(
        stayed.is_empty(),
        "ended and not reaped for three samples: {stayed:?}, after {} samples",
        seen.samples
    );
    wait_for("the end of the program", || !processes().iter().any(|(pid, ..)| is_program(*pid, name)));
}

#[test]
fn a_slow_systemctl_is_reaped_by_watch() {
    isolated("a_slow_systemctl_is_reaped_by_watch", |place| is_reaped(place, "systemctl", "slow"));
}

#[test]
fn watch_abandons_a_hung_systemctl_only_once() {
    isolated("watch_abandons_a_hung_systemctl_only_once", |place| is_reaped(place, "systemctl", "hung"));
}

#[test]
fn a_slow_journalctl_is_reaped_by_watch() {
    isolated("a_slow_journalctl_is_reaped_by_watch", |place| is_reaped(place, "journalctl", "slow"));
}

#[test]
fn watch_abandons_a_hung_journalctl_only_once() {
    isolated("watch_abandons_a_hung_journalctl_only_once", |place| is_reaped(place, "journalctl", "hung"));
}

/// If a home does not answer, the number of waiting workers does not grow with each sample.
#[test]
fn workers_that_wait_for_a_home_do_not_add_up() {
    /// Twice the number that one examination may leave behind.
    const MAX_WORKERS: usize = 8;
    isolated("workers_that_wait_for_a_home_do_not_add_up", |place| {
        let home = place.directory("hung", 0);
        let Some(mut hung) = Hung::serving(&home, Fate::Unanswered, Path::new("/bin/sleep")) else {
            return skipped("workers_that_wait", "it takes /dev/fuse");
        };
        let server = place.server(0, &home);
        hung.hang();
        let record = place.path("record");
        let mut command = place.doctor(&format!(
            "watch --samples 60 --every 50ms --budget 2s --pid {} --record {}",
            server.pid(),
            record.display()
        ));
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let samples = || {
            let record = std::fs::read(&record).unwrap_or_default();
            record.iter().filter(|byte| **byte == b'\n').count()
        };
        let mut most = 0;
        let end = std::time::Instant::now() + Duration::from_secs(120);
        while child.try_wait().unwrap().is_none() && samples() < 60 && most <= MAX_WORKERS {
            assert!(std::time::Instant::now() < end, "{} samples in two minutes", samples());
            // An abandoned worker has another parent only after its own parent has ended. A program that is started
            // as /proc/self/exe has the name `exe`.
            let is_worker = |name: &str| name.starts_with("hermes-doctor") || name == "exe";
            let all = processes();
            let workers = all.iter().filter(|(pid, name, _, _)| *pid != child.id() && is_worker(name)).count();
            most = most.max(workers);
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_none() {
            signal_pid(child.id(), Signal::KILL);
        }
        // When its daemon ends, every wait for the filesystem ends.
        drop(hung);
        let _ = child.wait();
        assert!(most <= MAX_WORKERS, "{most} workers at one time");
        drop(server);
    });
}
