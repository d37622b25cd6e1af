//! Sockets of supervisors that other users run or imitate: which ones are queried, and which ones receive a
//! password.

use crate::common;

use common::other_user::{
    CANARY, NEIGHBOUR, PYTHON, Place, STRANGER, as_user, assert_refusal_is_a_gap, gaps, give, give_all,
    has_user_namespaces, isolated, link, mount,
};
use common::traced::{Trace, traced};
use common::{Answer, Guard, run_with, skipped, start, tool, wait_for};
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The configuration of supervisord without its programs.
fn configuration(socket: &Path) -> String {
    format!("[unix_http_server]\nfile={}\nusername=admin\npassword={CANARY}\n", socket.display())
}

/// The header in which the password would go over a socket.
fn login() -> String {
    // `admin:Canary-Passw0rd`.
    "YWRtaW46Q2FuYXJ5LVBhc3N3MHJk".to_owned()
}

fn write(path: &Path, text: &str, owner: u32, mode: u32) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
    give(path, owner);
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// Lets every user create and remove files in a directory.
fn everybodys(place: &Place, name: &str) -> PathBuf {
    let path = place.directory(name, 0);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
    path
}

/// Runs the doctor as root in the views that query supervisors; returns the JSON answers and the trace of one run.
fn examine(place: &Place) -> (Vec<(String, Answer)>, Trace) {
    let home = place.directory("home", STRANGER);
    std::fs::write(home.join("config.yaml"), "").unwrap();
    let server = place.server(STRANGER, &home);
    let answers = ["check --json", "check", "lineage --verbose"].map(|view| {
        let arguments = format!("{view} --pid {}", server.pid());
        let answer = run_with(&mut place.doctor(&arguments));
        (arguments, answer)
    });
    let (_, trace) = traced(&place.doctor("check --json"), &[]);
    (answers.into(), trace)
}

fn assert_nothing_was_sent(record: &Path) {
    let got = String::from_utf8_lossy(&std::fs::read(record).unwrap_or_default()).into_owned();
    assert!(!got.contains(&login()), "the password was sent: {got}");
    let sent: Vec<&str> = got.lines().filter(|line| *line != "connected").collect();
    assert!(sent.is_empty(), "something was sent: {got}");
}

fn assert_no_password(answers: &[(String, Answer)], record: &Path) {
    let got = String::from_utf8_lossy(&std::fs::read(record).unwrap_or_default()).into_owned();
    assert!(!got.contains(&login()) && !got.contains("Authorization"), "the password was sent: {got}");
    for (arguments, answer) in answers {
        assert!(!answer.stdout.contains(CANARY), "{arguments}: {}", answer.stdout);
    }
}

/// Asserts that no data is sent over a Unix socket before the user of the peer was read (`SO_PEERCRED`).
fn assert_peers_are_checked(trace: &Trace) -> usize {
    let mut sends = 0;
    let calls: Vec<_> = trace.of_doctor().collect();
    for (at, connect) in calls.iter().enumerate() {
        if connect.name != "connect" || !connect.arguments.contains("AF_UNIX") || !connect.result.starts_with('0') {
            continue;
        }
        let later = calls[at + 1..].iter().filter(|call| {
            call.process == connect.process
                && call.descriptor() == connect.descriptor()
                && matches!(
                    call.name.as_str(),
                    "getsockopt" | "sendto" | "sendmsg" | "write" | "writev" | "connect"
                )
        });
        let mut is_checked = false;
        for call in later {
            match call.name.as_str() {
                "connect" => break,
                "getsockopt" => is_checked |= call.arguments.contains("SO_PEERCRED"),
                _ => {
                    assert!(is_checked, "sent before SO_PEERCRED was read: {call:#?}");
                    sends += 1;
                }
            }
        }
    }
    sends
}

/// In its mount namespace, the stranger has another socket at the path that root's configuration names.
#[test]
fn a_password_is_not_sent_into_a_mount_namespace() {
    isolated("a_password_is_not_sent_into_a_mount_namespace", |place| {
        if !has_user_namespaces("a_password_is_not_sent_into_a_mount_namespace") {
            return;
        }
        place.own_etc();
        mount(&["-t", "tmpfs", "run"], Path::new("/run"));
        let socket = Path::new("/run/supervisor.sock");
        let file = Path::new("/etc/supervisor/supervisord.conf");
        for (options, mode) in
            [(&["-c", "/etc/supervisor/supervisord.conf"][..], 0o600), (&[], 0o600), (&[], 0o644)]
        {
            write(file, &configuration(socket), 0, mode);
            let record = place.directory("evil", STRANGER).join("record");
            let line = "mount -t tmpfs e /run && exec -a supervisord \"$0\" \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--mount", "bash", "-c", line, PYTHON]);
            command.arg(place.script("other_user.py")).arg("listen").arg(socket).arg(&record).args(options);
            as_user(command.current_dir("/").stderr(Stdio::null()), STRANGER);
            let _supervisor = start(&mut command);
            let (answers, trace) = examine(place);
            assert_no_password(&answers, &record);
            if mode == 0o600 {
                assert_nothing_was_sent(&record);
                assert_refusal_is_a_gap(&answers, STRANGER);
                trace.assert_never_opened(file);
            }
            assert_peers_are_checked(&trace);
        }
    });
}

/// The socket is in a world-writable directory, as in the sample configuration of supervisord, and the stranger
/// created it first.
#[test]
fn a_password_is_not_sent_to_a_socket_of_another_user() {
    isolated("a_password_is_not_sent_to_a_socket_of_another_user", |place| {
        let socket = everybodys(place, "shared").join("supervisor.sock");
        let file = place.path("root/supervisord.conf");
        let record = place.directory("evil", STRANGER).join("record");
        let named = ["-c", file.to_str().unwrap()];
        let listen = ["listen", socket.to_str().unwrap(), record.to_str().unwrap()];
        for mode in [0o600, 0o644] {
            write(&file, &configuration(&socket), 0, mode);
            let arguments = [&listen[..], &named].concat();
            let _supervisor = place.titled(STRANGER, "supervisord", &arguments, Path::new("/"));
            let (answers, trace) = examine(place);
            assert_no_password(&answers, &record);
            if mode == 0o600 {
                assert_nothing_was_sent(&record);
                assert_refusal_is_a_gap(&answers, STRANGER);
                trace.assert_never_opened(&file);
            }
            assert_peers_are_checked(&trace);
        }
    });
}

/// The process is root's, so that its configuration is read; the socket has been replaced.
#[test]
fn a_password_is_not_sent_to_a_socket_that_was_replaced() {
    isolated("a_password_is_not_sent_to_a_socket_that_was_replaced", |place| {
        let shared = everybodys(place, "shared");
        let socket = shared.join("supervisor.sock");
        let file = place.path("root/supervisord.conf");
        write(&file, &configuration(&socket), 0, 0o600);
        let record = place.directory("evil", STRANGER).join("record");
        let named = ["-c", file.to_str().unwrap()];
        let of_root = [&["listen", socket.to_str().unwrap(), "/dev/null"], &named[..]].concat();
        let _supervisor = place.titled(0, "supervisord", &of_root, Path::new("/"));
        let listen = ["listen", socket.to_str().unwrap(), record.to_str().unwrap()];
        let _listener = place.titled(STRANGER, "listener", &listen, Path::new("/"));
        let (answers, trace) = examine(place);
        assert_nothing_was_sent(&record);
        assert_no_password(&answers, &record);
        assert_peers_are_checked(&trace);
        let said: Vec<_> = answers.iter().filter(|(view, _)| view.contains("--json")).collect();
        let why = gaps(&said[0].1.json());
        assert!(why.iter().any(|gap| format!("{gap:?}").contains("supervisord")), "nothing is said: {why:#?}");
        // A link in the world-writable directory also leads to such a socket.
        std::fs::remove_file(&socket).unwrap();
        let other = place.path("evil/other.sock");
        let listen = ["listen", other.to_str().unwrap(), record.to_str().unwrap()];
        let _listener = place.titled(STRANGER, "listener", &listen, Path::new("/"));
        link(&other, &socket, STRANGER);
        let (answers, _) = examine(place);
        assert_nothing_was_sent(&record);
        assert_no_password(&answers, &record);
    });
}

/// The configuration belongs to a third user, and every user may read it.
#[test]
fn a_password_is_sent_only_to_the_owner_of_its_configuration() {
    isolated("a_password_is_sent_only_to_the_owner_of_its_configuration", |place| {
        let socket = everybodys(place, "shared").join("supervisor.sock");
        let file = place.path("neighbour/supervisord.conf");
        write(&file, &configuration(&socket), NEIGHBOUR, 0o644);
        let record = place.directory("evil", STRANGER).join("record");
        let listen = ["listen", socket.to_str().unwrap(), record.to_str().unwrap(), "-c", file.to_str().unwrap()];
        let _supervisor = place.titled(STRANGER, "supervisord", &listen, Path::new("/"));
        let (answers, trace) = examine(place);
        assert_no_password(&answers, &record);
        assert_peers_are_checked(&trace);
        // The same through an included file of a configuration of the stranger's own.
        let own = place.path("evil/supervisord.conf");
        write(&own, &format!("[include]\nfiles = {}\n", file.display()), STRANGER, 0o644);
        let listen = ["listen", socket.to_str().unwrap(), record.to_str().unwrap(), "-c", own.to_str().unwrap()];
        let _supervisor = place.titled(STRANGER, "supervisord", &listen, Path::new("/"));
        let (answers, _) = examine(place);
        assert_no_password(&answers, &record);
    });
}

/// The stranger's supervisor names a socket of root's: by its name, by a link, and by a link in its path.
#[test]
fn another_user_cannot_make_root_connect_to_another_socket() {
    isolated("another_user_cannot_make_root_connect_to_another_socket", |place| {
        let record = place.directory("root", 0).join("record");
        let socket = place.path("root/control.sock");
        let listen = ["listen", socket.to_str().unwrap(), record.to_str().unwrap()];
        let _listener = place.titled(0, "control", &listen, Path::new("/"));
        let evil = place.directory("evil", STRANGER);
        link(&socket, &evil.join("link.sock"), STRANGER);
        link(&place.path("root"), &evil.join("directory"), STRANGER);
        let sockets = [socket.clone(), evil.join("link.sock"), evil.join("directory/control.sock")];
        for named in &sockets {
            let file = evil.join("supervisord.conf");
            write(&file, &configuration(named), STRANGER, 0o644);
            let _supervisor =
                place.titled(STRANGER, "supervisord", &["hold", "-c", file.to_str().unwrap()], Path::new("/"));
            let (_, trace) = examine(place);
            assert_nothing_was_sent(&record);
            let got = std::fs::read_to_string(&record).unwrap_or_default();
            if *named != socket {
                assert_eq!(got, "", "connected through a link in the stranger's directory: {}", named.display());
            }
            assert_peers_are_checked(&trace);
            let _ = std::fs::remove_file(&record);
        }
        // The title of pm2 contains its home; the socket has a fixed name in it.
        link(&socket, &evil.join("rpc.sock"), STRANGER);
        let title = format!("PM2 v5.3.0: God Daemon ({})", evil.display());
        let _supervisor = place.titled(STRANGER, &title, &["hold"], Path::new("/"));
        let (_, trace) = examine(place);
        let asked = trace.of_doctor().any(|call| call.quoted().is_some_and(|path| path.contains("rpc.sock")));
        assert!(asked || !gaps_of(place).is_empty(), "pm2 was not noticed");
        assert_eq!(std::fs::read_to_string(&record).unwrap_or_default(), "", "connected for pm2");
    });
}

/// A container's supervisor names a socket by an absolute link: the link leads to a socket of the container, even
/// if the host has the same path.
#[test]
fn a_container_cannot_make_root_speak_to_a_socket_of_the_host() {
    isolated("a_container_cannot_make_root_speak_to_a_socket_of_the_host", |place| {
        let record = place.directory("host", 0).join("record");
        let socket = place.path("host/control.sock");
        let listen = ["listen", socket.to_str().unwrap(), record.to_str().unwrap()];
        let _listener = place.titled(0, "control", &listen, Path::new("/"));
        let inside = place.directory("inside", 0);
        write(&inside.join("supervisord.conf"), &configuration(&socket), 0, 0o600);
        let file = inside.join("supervisord.conf");
        for (named, line) in [
            (
                inside.join("link.sock"),
                "mount -t tmpfs hidden HOST && ln -s HOST/control.sock link.sock".to_owned(),
            ),
            (
                inside.join("up.sock"),
                "mount -t tmpfs hidden HOST && ln -s ../../../../../../../..HOST/control.sock up.sock".to_owned(),
            ),
            // In the container the path does not exist.
            (socket.clone(), "mount -t tmpfs hidden HOST".to_owned()),
        ] {
            let text = configuration(&named).replace('\n', "\\n");
            let line = line.replace("HOST", place.path("host").to_str().unwrap());
            let line = format!(
                "mount -t tmpfs inside {0} && cd {0} && {line} && printf '{text}' >supervisord.conf && exec -a supervisord \"$0\" \"$@\"",
                inside.display()
            );
            let mut command = Command::new("unshare");
            command.args(["--mount", "bash", "-e", "-c", &line, PYTHON]).arg(place.script("other_user.py"));
            command.args(["hold", "-c"]).arg(&file).stderr(Stdio::null());
            let _supervisor = start(&mut command);
            let (answers, trace) = examine(place);
            let got = std::fs::read_to_string(&record).unwrap_or_default();
            assert_eq!(got, "", "connected to a socket of the host for {}", named.display());
            let why = gaps(&answers[0].1.json());
            assert!(why.iter().any(|gap| format!("{gap:?}").contains("supervisord")), "nothing is said: {why:#?}");
            trace.assert_opened_by_place(&inside);
        }
    });
}

fn gaps_of(place: &Place) -> Vec<(String, String, String)> {
    gaps(&run_with(&mut place.doctor("check --json")).json())
}

/// A file that is not a socket is neither connected to nor opened.
#[test]
fn only_sockets_are_connected_to() {
    isolated("only_sockets_are_connected_to", |place| {
        let evil = place.directory("evil", STRANGER);
        let pipe = evil.join("pipe");
        common::other_user::fifo(&pipe);
        give(&pipe, STRANGER);
        for name in ["pipe", ".", "supervisord.conf", "missing"] {
            let file = evil.join("supervisord.conf");
            write(&file, &configuration(&evil.join(name)), STRANGER, 0o644);
            let _supervisor =
                place.titled(STRANGER, "supervisord", &["hold", "-c", file.to_str().unwrap()], Path::new("/"));
            let (answers, trace) = examine(place);
            trace.assert_never_opened(&pipe);
            let connects = trace
                .of_doctor()
                .filter(|call| call.name == "connect" && call.arguments.contains(evil.to_str().unwrap()));
            assert_eq!(connects.count(), 0, "{name}: connected by a name");
            let why = gaps(&answers[0].1.json());
            assert!(why.iter().any(|gap| format!("{gap:?}").contains("supervisord")), "{name}: {why:#?}");
        }
    });
}

/// A supervisord of a user, with one program.
struct Supervised {
    _supervisor: Guard,
    port: u16,
    file: PathBuf,
}

/// Starts the real supervisord with a password in a configuration that only its user may read.
fn supervisord(place: &Place, owner: u32, is_detached: bool, server_options: &str) -> Option<Supervised> {
    let installed = tool("supervisord")?;
    let directory = place.directory(&format!("supervised-{owner}"), owner);
    let home = place.directory(&format!("supervised-{owner}/.hermes"), owner);
    write(&home.join("config.yaml"), "", owner, 0o644);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (file, socket) = (directory.join("supervisord.conf"), directory.join("supervisor.sock"));
    let exec = if is_detached { "no" } else { "yes" };
    let launcher = place.script("hermes-webui/bootstrap.py");
    let text = format!(
        "{}{server_options}[supervisord]\nnodaemon=true\nlogfile={directory}/log\npidfile={directory}/pid\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n\
         [program:hermes-webui]\ncommand={PYTHON} {launcher} 127.0.0.1 {port}\nstartsecs=0\nautorestart=true\n\
         environment=HERMES_HOME=\"{home}\",EXEC=\"{exec}\"\n",
        configuration(&socket),
        directory = directory.display(),
        launcher = launcher.display(),
        home = home.display(),
    );
    write(&file, &text, owner, 0o600);
    if server_options.contains("chmod=0777") {
        // A supervisor that every user may query: without a password, and with a file that every user may read.
        let text = text.replace(&format!("username=admin\npassword={CANARY}\n"), "");
        write(&file, &text, owner, 0o644);
    }
    // The installation can be in a directory of root; it is pure Python, so any interpreter of that version can run
    // it.
    let packages = installed.parent().unwrap().parent().unwrap().join("lib");
    let packages = std::fs::read_dir(packages).into_iter().flatten().flatten().map(|entry| entry.path());
    let packages = packages.map(|path| path.join("site-packages")).find(|path| path.join("supervisor").exists());
    let script = place.path("supervisord");
    std::fs::copy(&installed, &script).unwrap();
    let mut command = Command::new(PYTHON);
    command.arg(&script).arg("-c").arg(&file).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin");
    if let Some(packages) = packages {
        let public = place.directory("packages", 0);
        if std::fs::read_dir(&public).unwrap().next().is_none() {
            mount(&["--bind", packages.to_str().unwrap()], &public);
        }
        command.env("PYTHONPATH", public);
    }
    as_user(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()), owner);
    let supervisor = Guard { child: command.spawn().unwrap(), port, home: None };
    wait_for("the server of supervisord", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Some(Supervised { _supervisor: supervisor, port, file })
}

/// Waits until the supervisor reports the program as running, and returns its server.
fn claimed(place: &Place, user: u32, port: u16) -> Value {
    let mut found = Value::Null;
    let end = std::time::Instant::now() + std::time::Duration::from_secs(15);
    while found["lineage"]["supervisor"]["state"] != "RUNNING" && std::time::Instant::now() < end {
        let answer = run_with(&mut place.doctor_as(user, &format!("check --json --port {port}")));
        found = answer.json()["servers"][0].clone();
    }
    found
}

/// Root queries its own supervisord and that of a user, and a user its own: each with the password of its
/// configuration.
#[test]
fn a_regular_supervisord_is_queried_completely() {
    isolated("a_regular_supervisord_is_queried_completely", |place| {
        for owner in [0, NEIGHBOUR] {
            let Some(running) = supervisord(place, owner, false, "") else {
                return skipped("a_regular_supervisord", "supervisord is not installed (tests/run installs it)");
            };
            for user in [0, NEIGHBOUR] {
                if owner == 0 && user != 0 {
                    continue;
                }
                let found = claimed(place, user, running.port);
                let supervisor = &found["lineage"]["supervisor"];
                assert_eq!(
                    (
                        supervisor["kind"].as_str(),
                        supervisor["state"].as_str(),
                        supervisor["claims_this"].as_bool()
                    ),
                    (Some("supervisord"), Some("RUNNING"), Some(true)),
                    "uid {user} asks that of uid {owner}: {found:#}"
                );
                assert_eq!(found["status"], "healthy", "uid {user} asks that of uid {owner}: {found:#}");
                // A user cannot see other processes that have a database open.
                let is_expected = |gap: &(String, String, String)| user != 0 && gap.2.contains("of other users");
                let refused: Vec<_> =
                    gaps(&found).into_iter().filter(|gap| gap.1 == "permission" && !is_expected(gap)).collect();
                assert!(refused.is_empty(), "uid {user} asks that of uid {owner}: {refused:#?}");
            }
            let (answer, trace) = traced(&place.doctor(&format!("check --json --port {}", running.port)), &[]);
            assert!(assert_peers_are_checked(&trace) > 0, "uid {owner}: nothing was sent: {}", answer.stdout);
            assert!(!answer.stdout.contains(CANARY));
            // Connected through the `O_PATH` descriptor, not by a name that could be another socket by then.
            let by_name = trace.of_doctor().find(|call| {
                call.name == "connect"
                    && call.arguments.contains("AF_UNIX")
                    && !call.arguments.contains("/proc/self/fd/")
                    // The name services of the C library, in a worker, connect by name.
                    && !call.arguments.contains("/nscd/socket")
            });
            assert!(by_name.is_none(), "{by_name:#?}");
        }
    });
}

/// A supervisord without a password answers every user.
#[test]
fn every_user_can_query_a_supervisord_without_a_password() {
    isolated("every_user_can_query_a_supervisord_without_a_password", |place| {
        let Some(running) = supervisord(place, NEIGHBOUR, false, "chmod=0777\n") else {
            return skipped(
                "a_supervisord_without_a_password",
                "supervisord is not installed (tests/run installs it)",
            );
        };
        let asked = format!("lineage --json --port {} --expect supervisord:hermes-webui", running.port);
        let mut found = Value::Null;
        let end = std::time::Instant::now() + std::time::Duration::from_secs(15);
        while found["lineage"]["supervisor"]["state"] != "RUNNING" && std::time::Instant::now() < end {
            let answer = run_with(&mut place.doctor_as(STRANGER, &asked));
            found = answer.json()["servers"][0].clone();
        }
        let supervisor = &found["lineage"]["supervisor"];
        assert_eq!(
            (supervisor["kind"].as_str(), supervisor["state"].as_str()),
            (Some("supervisord"), Some("RUNNING")),
            "{found:#}"
        );
    });
}

/// A step that root runs must not load another user's configuration as root.
#[test]
fn commands_for_the_supervisor_of_another_user_run_as_that_user() {
    isolated("commands_for_the_supervisor_of_another_user_run_as_that_user", |place| {
        for (owner, examiner, prefix) in
            [(NEIGHBOUR, 0, "sudo -u '#5000' "), (NEIGHBOUR, NEIGHBOUR, ""), (0, 0, "")]
        {
            let Some(running) = supervisord(place, owner, true, "") else {
                return skipped("commands", "supervisord is not installed (tests/run installs it)");
            };
            let arguments = format!("check --json --port {}", running.port);
            let mut found = Value::Null;
            wait_for("the orphan", || {
                found = run_with(&mut place.doctor_as(examiner, &arguments)).json()["servers"][0].clone();
                found["root_causes"][0] == "orphaned-server"
            });
            let command = format!("supervisorctl -c {}", running.file.display());
            let findings = found["findings"].as_array().unwrap();
            let steps: Vec<String> = findings
                .iter()
                .flat_map(|finding| finding["next"].as_array().cloned().unwrap_or_default())
                .map(|step| step.to_string())
                .filter(|step| step.contains("supervisorctl"))
                .collect();
            assert!(!steps.is_empty(), "no step names {command}: {found:#}");
            for step in &steps {
                let expected = format!("{prefix}{command}");
                assert!(step.contains(&expected), "uid {examiner} on that of uid {owner}: {step}");
                assert_eq!(step.contains("sudo"), !prefix.is_empty(), "uid {examiner}: {step}");
            }
            // The server has left its supervisor.
            let pid = found["pid"].as_u64().unwrap();
            drop(running);
            common::signal_pid(u32::try_from(pid).unwrap(), rustix::process::Signal::KILL);
            give_all(&place.path(&format!("supervised-{owner}")), owner);
        }
    });
}

/// The same for a service directory, because the commands read files in it.
#[test]
fn commands_for_a_service_directory_of_another_user_run_as_that_user() {
    isolated("commands_for_a_service_directory_of_another_user_run_as_that_user", |place| {
        let (Some(runsv), Some(_)) = (tool("runsv"), tool("sv")) else {
            return skipped("commands_for_a_service_directory", "runit is not installed (Debian package runit)");
        };
        let directory = place.directory("service", NEIGHBOUR);
        let home = place.directory("home", NEIGHBOUR);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let script = format!(
            "#!/bin/sh\nexport HERMES_HOME={} EXEC=no\nexec {PYTHON} {} 127.0.0.1 {port}\n",
            home.display(),
            place.script("hermes-webui/bootstrap.py").display()
        );
        write(&directory.join("run"), &script, NEIGHBOUR, 0o755);
        let mut command = Command::new(runsv);
        command.arg(&directory).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin");
        as_user(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()), NEIGHBOUR);
        let running = Guard { child: command.spawn().unwrap(), port, home: None };
        wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        let mut found = Value::Null;
        wait_for("the orphan", || {
            found =
                run_with(&mut place.doctor(&format!("check --json --port {port}"))).json()["servers"][0].clone();
            found["root_causes"][0] == "orphaned-server"
        });
        let findings = found["findings"].as_array().unwrap();
        let steps: Vec<String> = findings
            .iter()
            .flat_map(|finding| finding["next"].as_array().cloned().unwrap_or_default())
            .map(|step| step.to_string())
            .filter(|step| step.contains("sv ") && step.contains(directory.to_str().unwrap()))
            .collect();
        assert!(!steps.is_empty(), "{found:#}");
        for step in &steps {
            assert!(step.contains("sudo -u '#5000' sv "), "{step}");
        }
        drop(running);
    });
}
