//! Every examination of a live target under strace(1): no signal, no lock, no write, no connection but the probe's.

use crate::common;

use common::{Guard, run_with, skipped, webui};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

/// System calls that change another process, a file or the host; none of them is ever made.
const FORBIDDEN: &[&str] = &[
    // Signals, and calls that stop, trace or enter another process.
    "kill",
    "tkill",
    "tgkill",
    "rt_sigqueueinfo",
    "rt_tgsigqueueinfo",
    "pidfd_send_signal",
    "ptrace",
    "process_vm_writev",
    "process_madvise",
    "process_mrelease",
    "pidfd_getfd",
    "kcmp",
    "setns",
    "unshare",
    "bpf",
    "perf_event_open",
    "sched_setaffinity",
    "sched_setscheduler",
    "setpriority",
    "ioprio_set",
    // Locks and watches.
    "flock",
    "fanotify_init",
    "inotify_add_watch",
    // Files and mounts.
    "creat",
    "truncate",
    "ftruncate",
    "fallocate",
    "unlink",
    "unlinkat",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "symlink",
    "symlinkat",
    "mkdir",
    "mkdirat",
    "rmdir",
    "mknod",
    "mknodat",
    "chmod",
    "fchmod",
    "fchmodat",
    "chown",
    "fchown",
    "lchown",
    "fchownat",
    "utimensat",
    "setxattr",
    "lsetxattr",
    "fsetxattr",
    "mount",
    "umount2",
    "listen",
];

/// Words that no call of any name may have: locks of fcntl(2), writable openings, another's memory, SQLite itself.
const FORBIDDEN_WORDS: &[&str] =
    &["F_SETLK", "F_OFD_SETLK", "F_SETLEASE", "F_NOTIFY", "libsqlite3.so", "_sqlite3."];

/// The name of the call in a line of strace, also in a resumed line.
fn call(line: &str) -> &str {
    let rest = line.split_once(' ').map_or(line, |(_, rest)| rest.trim_start());
    if let Some(resumed) = rest.strip_prefix("<... ") {
        return resumed.split(' ').next().unwrap();
    }
    rest.split('(').next().unwrap()
}

/// Calls with which a file is written and put in its place.
const WRITING: &[&str] = &[
    "open",
    "openat",
    "fchmod",
    "fchmodat",
    "chmod",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
];

/// Whether a call names only paths in the directory of the requested output file.
fn writes_only_requested_output(line: &str, directory: &str) -> bool {
    let quoted: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    let named = if quoted.is_empty() { line.contains(&format!("<{directory}/")) } else { true };
    WRITING.contains(&call(line)) && named && quoted.iter().all(|path| path.starts_with(&format!("{directory}/")))
}

/// Lines of strace(1), one for each call: strace splits a call if another process or thread runs meanwhile.
fn joined(calls: &str) -> Vec<String> {
    let mut begun: HashMap<&str, &str> = HashMap::new();
    let mut lines = Vec::new();
    for line in calls.lines() {
        let (pid, rest) = line.split_once(' ').unwrap_or((line, ""));
        if let Some(part) = line.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, part);
        } else if let (Some((_, end)), true) =
            (rest.split_once(" resumed>"), rest.trim_start().starts_with("<... "))
        {
            lines.push(begun.remove(pid).unwrap_or(pid).to_owned() + end);
        } else {
            lines.push(line.to_owned());
        }
    }
    // Calls without a result were started.
    lines.extend(begun.into_values().map(str::to_owned));
    lines
}

/// Replaces names below an open directory (`/proc/self/fd/N/…`) by their real paths.
fn resolved(lines: Vec<String>) -> Vec<String> {
    let mut open: HashMap<(String, String), String> = HashMap::new();
    let mut found = Vec::new();
    for mut line in lines {
        let pid = line.split(' ').next().unwrap_or_default().to_owned();
        for ((of, number), path) in &open {
            if *of == pid {
                line = line.replace(&format!("/proc/self/fd/{number}/"), &format!("{path}/"));
            }
        }
        if let Some((_, result)) = line.rsplit_once(" = ")
            && let Some((number, path)) = result.split_once('<')
            && let Some(path) = path.strip_suffix('>')
        {
            open.insert((pid, number.to_owned()), path.to_owned());
        }
        found.push(line);
    }
    found
}

#[test]
fn names_of_open_directories_are_resolved() {
    let lines = [
        "7 openat(AT_FDCWD, \"/o\", O_PATH) = 3</o>",
        "8 rename(\"/proc/self/fd/3/a\", \"/proc/self/fd/3/b\") = 0",
        "7 rename(\"/proc/self/fd/3/a\", \"/proc/self/fd/3/b\") = 0",
    ];
    let found = resolved(lines.map(str::to_owned).into());
    assert_eq!(found[1..], [lines[1], "7 rename(\"/o/a\", \"/o/b\") = 0"]);
}

#[test]
fn calls_are_joined() {
    let calls = "7 fchmod(4</o/a>, 0644 <unfinished ...>\n8 close(3) = 0\n7 <... fchmod resumed>) = 0\n8 kill(7, 9 <unfinished ...>";
    assert_eq!(joined(calls), ["8 close(3) = 0", "7 fchmod(4</o/a>, 0644) = 0", "8 kill(7, 9"]);
}

/// One harmful thing in a line, if there is one.
fn harm(line: &str, reads_memory: bool, port: Option<u16>) -> Option<String> {
    let name = call(line);
    let opens = matches!(name, "open" | "openat" | "openat2");
    let writable = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"].iter().any(|flag| line.contains(flag));
    let shared = name == "mmap" && line.contains("MAP_SHARED") && line.contains("PROT_WRITE");
    let internet = name == "connect" && line.contains("AF_INET");
    let allowed = port.is_some_and(|port| {
        line.contains(&format!("htons({port})")) && (line.contains("\"127.0.0.1\"") || line.contains("\"::1\""))
    });
    let other =
        name == "connect" && !["AF_INET", "AF_UNIX", "AF_NETLINK"].iter().any(|family| line.contains(family));
    let memory = opens && line.contains("/proc/") && line.contains("/mem\"");
    let limits = name == "prlimit64" && !line.contains(" NULL,") && !line.contains("prlimit64(0,");
    // The first part of a call has its arguments; a resumed part has only its name.
    let begins = !line.contains(" resumed>");
    [
        (FORBIDDEN.contains(&name), "forbidden call"),
        (FORBIDDEN_WORDS.iter().any(|word| line.contains(word)), "forbidden word"),
        (begins && opens && writable && !line.contains("\"/dev/null\""), "opened for writing"),
        (begins && shared && line.contains("</"), "file mapped for writing"),
        (name.starts_with("process_vm") && !reads_memory, "memory read"),
        (begins && internet && !allowed, "connection to elsewhere"),
        (begins && other, "connection of another family"),
        (begins && name == "bind" && !line.contains("AF_NETLINK"), "address taken"),
        (begins && memory, "memory opened"),
        (begins && limits, "limits of another process"),
    ]
    .into_iter()
    .find_map(|(is_so, what)| is_so.then(|| format!("{what}: {line}")))
}

/// Tests the check itself: forbidden calls are found, necessary ones are not.
#[test]
fn harm_is_recognised() {
    let harmless = [
        r#"12 openat(AT_FDCWD</>, "/proc/7/fd", O_RDONLY|O_CLOEXEC|O_DIRECTORY) = 4</proc/7/fd>"#,
        r#"12 openat(AT_FDCWD</>, "/dev/null", O_RDWR|O_CLOEXEC) = 4</dev/null>"#,
        r#"12 fcntl(4</x/state.db-shm>, F_GETLK, {l_type=F_WRLCK}) = 0"#,
        r#"12 connect(5<TCP:[1]>, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"12 <... read resumed>"x", 9) = 1"#,
        "12 prlimit64(7, RLIMIT_NOFILE, NULL,  <unfinished ...>",
        "12 <... prlimit64 resumed>{rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0",
        "12 <... connect resumed>) = 0",
        "12 <... bind resumed>) = 0",
    ];
    for line in harmless {
        assert_eq!(harm(line, false, Some(80)), None, "{line}");
    }
    let harmful = [
        "12 kill(7, SIGTERM) = 0",
        "12 tgkill(7, 8, SIGCONT <unfinished ...>",
        "12 ptrace(PTRACE_SEIZE, 7, NULL, 0) = 0",
        "12 <... flock resumed>) = 0",
        "12 fcntl(4</x>, F_SETLKW, {l_type=F_RDLCK}) = 0",
        r#"12 openat(AT_FDCWD</>, "/x/state.db", O_RDWR) = 4"#,
        r#"12 openat(AT_FDCWD</>, "/usr/lib/libsqlite3.so.0", O_RDONLY) = 4"#,
        r#"12 openat(AT_FDCWD</>, "/proc/7/mem", O_RDONLY) = 4"#,
        "12 process_vm_readv(7, [], 1, [], 1, 0) = 8",
        "12 prlimit64(7, RLIMIT_NOFILE, {rlim_cur=9, rlim_max=9}, NULL) = 0",
        "12 prlimit64(7, RLIMIT_NOFILE, {rlim_cur=9, rlim_max=9}, {rlim_cur=8, rlim_max=9}) = 0",
        "12 mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 4</x/state.db-shm>, 0) = 0x7f",
        r#"12 connect(5, {sa_family=AF_INET, sin_port=htons(81), sin_addr=inet_addr("127.0.0.1")}, 16) = 0"#,
        r#"12 connect(5, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("9.9.9.9")}, 16) = 0"#,
    ];
    for line in harmful {
        assert!(harm(line, false, Some(80)).is_some(), "{line}");
        assert!(!writes_only_requested_output(line, "/tmp/out"), "{line}");
    }
    for line in [
        r#"12 openat(AT_FDCWD</>, "/tmp/out/.a", O_RDWR|O_CREAT|O_EXCL, 0600) = 4</tmp/out/.a>"#,
        r#"12 renameat2(AT_FDCWD</>, "/tmp/out/.a", AT_FDCWD</>, "/tmp/out/r.json", RENAME_NOREPLACE) = 0"#,
        "12 fchmod(4</tmp/out/.a>, 0644) = 0",
    ] {
        assert!(writes_only_requested_output(line, "/tmp/out"), "{line}");
        assert!(!writes_only_requested_output(line, "/tmp/other"), "{line}");
    }
    let away = r#"12 renameat2(AT_FDCWD</>, "/tmp/out/.a", AT_FDCWD</>, "/x/state.db", 0) = 0"#;
    assert!(!writes_only_requested_output(away, "/tmp/out"));
}

/// Everything that an examination could change in a server: its files with their times, its state, its limits and
/// its start.
fn outside(target: &Guard) -> String {
    let files = std::fs::read_dir(target.home()).unwrap().map(|entry| {
        let (path, file) = entry.map(|entry| (entry.path(), entry.metadata().unwrap())).unwrap();
        format!("{} {} {} {} {}", path.display(), file.ino(), file.size(), file.mtime_nsec(), file.mode())
    });
    let mut files: Vec<String> = files.collect();
    files.sort();
    let proc = |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", target.pid())).unwrap();
    let status = proc("status");
    let kept = ["TracerPid", "SigPnd", "ShdPnd", "Cpus_allowed"];
    let kept: Vec<&str> = status.lines().filter(|line| kept.iter().any(|start| line.starts_with(start))).collect();
    format!("{files:#?}\n{kept:#?}\n{}", proc("limits"))
}

#[test]
fn no_examination_changes_the_host_or_the_server() {
    let Some(strace) = common::tool("strace") else {
        return skipped("no_examination_changes_the_host_or_the_server", "it takes strace");
    };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("strace");
    let written = tempfile::tempdir().unwrap();
    for what in ["leak=5", "deadlock"] {
        let target = webui(what);
        let (pid, port, home) = (target.pid(), target.port, target.home().display());
        let before = outside(&target);
        // Whether the command may send requests to the server, and whether it may read its memory.
        let mut commands = vec![
            (format!("check --pid {pid}"), true, false),
            (format!("check --port {port} --verbose"), true, false),
            (format!("fds --pid {pid} --samples 3 --every 100ms"), false, false),
            (format!("db --home {home}"), false, false),
            (format!("db --file {home}/state.db"), false, false),
            (format!("lineage --pid {pid}"), false, false),
            (format!("port --port {port}"), true, false),
            (format!("health --port {port}"), true, false),
        ];
        let (report, metrics) = (written.path().join(format!("{what}.json")), written.path().join("metrics.prom"));
        let html = written.path().join(format!("{what}.html"));
        commands.push((format!("report --pid {pid} --markdown"), true, false));
        commands.push((format!("report --port {port} -o {}", report.display()), true, false));
        commands.push((format!("report --pid {pid} --html -o {}", html.display()), true, false));
        commands.push((format!("check --pid {pid} --format nagios"), true, false));
        commands.push((format!("check --pid {pid} --format openmetrics -o {}", metrics.display()), true, false));
        if cfg!(feature = "stacks") {
            commands.push((format!("stacks --pid {pid}"), false, true));
        }
        for (arguments, asks, reads_memory) in commands {
            let mut command = Command::new(&strace);
            // strace prints no data (`-s 0`): the memory map of the server, which is read, contains libsqlite3.
            command.args(["-f", "-y", "-s", "0", "-o"]).arg(&log).arg(common::program());
            command.args(arguments.split_whitespace()).args(["--budget", "30s"]);
            let answer = run_with(
                command.env("HOME", "/nonexistent").env_remove("HERMES_HOME").env_remove("LD_LIBRARY_PATH"),
            );
            assert!((0..=3).contains(&answer.exit), "{arguments}: {} {}", answer.stdout, answer.stderr);
            let calls = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
            assert!(calls.lines().any(|line| call(line) == "openat"), "{arguments}: nothing was traced");
            let place = written.path().to_str().unwrap();
            for line in resolved(joined(&calls)) {
                if arguments.contains(" -o ") && writes_only_requested_output(&line, place) {
                    continue;
                }
                let found = harm(&line, reads_memory, asks.then_some(port));
                assert!(found.is_none(), "{what}, {arguments}: {found:?}");
            }
            assert_eq!(calls.contains("process_vm_readv("), reads_memory, "{what}, {arguments}");
        }
        assert_eq!(outside(&target), before, "{what}");
    }
}

/// The same for the tools of an agent, all in one run: requests go only to the server.
#[cfg(feature = "mcp")]
#[test]
fn an_mcp_call_changes_nothing_on_the_host() {
    use serde_json::{Value, json};
    use std::io::{BufRead, BufReader, Write};
    let Some(strace) = common::tool("strace") else {
        return skipped("an_mcp_call_changes_nothing_on_the_host", "it takes strace");
    };
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("strace");
    let target = webui("leak=5");
    let (pid, port) = (target.pid(), target.port);
    let before = outside(&target);
    let mut child = Command::new(&strace)
        .args(["-f", "-y", "-o"])
        .arg(&log)
        .args([common::program(), "mcp"])
        .env("HOME", "/nonexistent")
        .env_remove("HERMES_HOME")
        .env_remove("LD_LIBRARY_PATH")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut send = |message: Value| writeln!(input, "{message}").unwrap();
    let mut receive = || -> Value { serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap() };
    send(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}));
    receive();
    send(json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
    let calls = [
        ("check", json!({"pid": pid, "port": port, "budget": "60s"})),
        ("fds", json!({"pid": pid, "samples": 3, "every": "100ms", "budget": "60s"})),
        ("lineage", json!({"pid": pid, "budget": "60s"})),
        ("health", json!({"port": port, "budget": "60s"})),
        ("port", json!({"port": port, "all_holders": true, "budget": "60s"})),
        ("db", json!({"home": target.home(), "budget": "60s"})),
        ("explain", json!({})),
    ];
    for (id, (name, arguments)) in calls.iter().enumerate() {
        send(
            json!({"jsonrpc": "2.0", "id": id + 1, "method": "tools/call", "params": {"name": name, "arguments": arguments}}),
        );
        let answer = receive();
        assert_eq!(answer["result"]["isError"], false, "{name}: {answer:#}");
    }
    drop(input);
    assert!(child.wait().unwrap().success());
    let calls = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    assert!(calls.lines().any(|line| call(line) == "openat"), "nothing was traced");
    for line in calls.lines() {
        let found = harm(line, false, Some(port));
        assert!(found.is_none(), "{found:?}");
    }
    assert_eq!(outside(&target), before);
}
