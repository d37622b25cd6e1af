//! Paths that a process of another user names: root's doctor reads them with the rights of that user, opens only
//! regular files and directories, and resolves names in the root directory of the process.

use crate::common;

use common::other_user::{
    CANARY, NEIGHBOUR, PYTHON, Place, STRANGER, as_user, assert_refusal_is_a_gap, assert_secret, fifo, gaps, give,
    give_all, has_user_namespaces, is_refused_to, isolated, link, mount,
};
use common::traced::traced;
use common::{Answer, Guard, run_with, start};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// `supervise/status` of runit for a service that is up since 2002-02-02 (runsv(8)).
const STATUS: &[u8] = b"\x40\0\0\0\x3c\x5b\x45\x0a\0\0\0\0\0\0\0\0\0u\0\x01";
/// The same since 2001-09-09, a date that no other file contains.
const SECRET_STATUS: &[u8] = b"\x40\0\0\0\x3b\x9a\xca\x0a\0\0\0\0\0\0\0\0\0u\0\x01";

/// A service directory of a user, without a run script.
fn service(place: &Place, name: &str, owner: u32) -> PathBuf {
    let directory = place.directory(name, owner);
    for part in ["supervise", "env"] {
        place.directory(&format!("{name}/{part}"), owner);
    }
    std::fs::write(directory.join("supervise/status"), STATUS).unwrap();
    std::fs::write(directory.join("run"), "#!/bin/sh\nexec chpst -e ./env python3 /srv/hermes-webui/server.py\n")
        .unwrap();
    give_all(&directory, owner);
    directory
}

/// A server of the stranger with an ordinary home.
fn server(place: &Place) -> (Guard, PathBuf) {
    let home = place.directory("home/.hermes", STRANGER);
    give(home.parent().unwrap(), STRANGER);
    std::fs::write(home.join("config.yaml"), "").unwrap();
    give_all(&home, STRANGER);
    (place.server(STRANGER, &home), home)
}

/// Asserts that no view of a server contains any part of a secret file, that a gap gives the reason, and that the
/// file was never opened.
fn assert_kept(place: &Place, server: &Guard, home: &Path, secrets: &[&Path], words: &[&str]) {
    let answers = place.views(server, home);
    assert_secret(&answers, words);
    assert_refusal_is_a_gap(&answers, STRANGER);
    for arguments in ["check --json".to_owned(), format!("db --json --home {}", home.display())] {
        let (_, trace) = traced(&place.doctor(&arguments), &[]);
        for secret in secrets {
            trace.assert_never_opened(secret);
        }
    }
}

/// Three supervisors with run scripts that read a directory of variables; one variable file is a link.
#[test]
fn an_environment_directory_is_read_as_its_owner() {
    isolated("an_environment_directory_is_read_as_its_owner", |place| {
        let secret = place.secret("root/password", b"db.example:5432:prod:admin:Canary-Passw0rd\n");
        let (server, home) = server(place);
        for kind in ["runsv", "s6-supervise", "supervise"] {
            let directory = service(place, &format!("service-{kind}"), STRANGER);
            link(&secret, &directory.join("env/HERMES_HOME"), STRANGER);
            let _supervisor = place.titled(STRANGER, kind, &["hold"], &directory);
            assert_kept(place, &server, &home, &[&secret], &["db.example"]);
        }
    });
}

/// The directory of variables itself is a link to a directory that only root may enter.
#[test]
fn an_environment_directory_of_root_is_not_entered() {
    isolated("an_environment_directory_of_root_is_not_entered", |place| {
        let secret = place.secret("root/HERMES_HOME", b"/Canary-Passw0rd\n");
        // The files may be read; the directory may not be searched.
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(place.path("root"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let (server, home) = server(place);
        let directory = service(place, "service", STRANGER);
        std::fs::remove_dir(directory.join("env")).unwrap();
        link(&place.path("root"), &directory.join("env"), STRANGER);
        let _supervisor = place.titled(STRANGER, "runsv", &["hold"], &directory);
        assert_kept(place, &server, &home, &[&secret], &[]);
    });
}

#[test]
fn a_run_script_is_read_as_its_owner() {
    isolated("a_run_script_is_read_as_its_owner", |place| {
        let script = b"#!/bin/sh\nexport HERMES_HOME=/Canary-Passw0rd HERMES_WEBUI_PORT=45671\nexec python3 /srv/hermes-webui/server.py\n";
        let secret = place.secret("root/run", script);
        let (server, home) = server(place);
        let directory = service(place, "service", STRANGER);
        link(&secret, &directory.join("run"), STRANGER);
        let _supervisor = place.titled(STRANGER, "runsv", &["hold"], &directory);
        assert_kept(place, &server, &home, &[&secret], &["45671"]);
    });
}

#[test]
fn a_status_file_is_read_as_its_owner() {
    isolated("a_status_file_is_read_as_its_owner", |place| {
        let secret = place.secret_of("root/status", SECRET_STATUS);
        let (server, home) = server(place);
        let directory = service(place, "service", STRANGER);
        link(&secret, &directory.join("supervise/status"), STRANGER);
        let _supervisor = place.titled(STRANGER, "runsv", &["hold"], &directory);
        assert_kept(place, &server, &home, &[&secret], &[]);
    });
}

/// Root started the process in a directory that the process itself may not search.
#[test]
fn a_working_directory_is_searched_as_its_owner() {
    isolated("a_working_directory_is_searched_as_its_owner", |place| {
        let (server, home) = server(place);
        let directory = service(place, "service", 0);
        let script = "#!/bin/sh\nexport HERMES_HOME=/Canary-Passw0rd\nexec python3 /srv/hermes-webui/server.py\n";
        std::fs::write(directory.join("run"), script).unwrap();
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700)).unwrap();
        // The standard library changes the directory after the user.
        let line = "cd \"$0\" && exec setpriv --reuid 4000 --regid 4000 --clear-groups \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", line]).arg(&directory).args(["bash", "-c", "exec -a runsv \"$0\" \"$@\"", PYTHON]);
        command.arg(place.script("other_user.py")).arg("hold").stderr(Stdio::null());
        let _supervisor = start(&mut command);
        assert_kept(place, &server, &home, &[&directory.join("run")], &[]);
    });
}

/// The process has the rights of root or of root's group, and its real user chose its arguments, directory and environment.
#[test]
fn a_program_with_borrowed_rights_has_those_of_its_real_user() {
    isolated("a_program_with_borrowed_rights_has_those_of_its_real_user", |place| {
        let secret = place.secret("root/password", b"db.example:5432:prod:admin:Canary-Passw0rd\n");
        let (server, home) = server(place);
        let directory = service(place, "service", STRANGER);
        link(&secret, &directory.join("env/HERMES_HOME"), STRANGER);
        for (mode, mode_of_secret, line) in
            [(0o4755, 0o600, "Uid:\t4000\t0\t0\t0\n"), (0o2755, 0o640, "Gid:\t4000\t0\t0\t0\n")]
        {
            let program = place.path(&format!("borrowed-{mode:o}"));
            std::fs::copy("/usr/bin/sleep", &program).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).unwrap();
            std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(mode_of_secret)).unwrap();
            let mut command = Command::new(&program);
            command.arg0("runsv").arg("600").current_dir(&directory).stdin(Stdio::null());
            as_user(&mut command, STRANGER);
            let supervisor = Guard { child: command.spawn().unwrap(), port: 0, home: None };
            let status = std::fs::read_to_string(format!("/proc/{}/status", supervisor.pid())).unwrap();
            assert!(status.contains(line), "{status}");
            assert_kept(place, &server, &home, &[&secret], &["db.example"]);
        }
    });
}

/// The files of such a process in procfs belong to root.
#[test]
fn a_process_that_hides_its_memory_has_the_rights_of_its_user() {
    isolated("a_process_that_hides_its_memory_has_the_rights_of_its_user", |place| {
        let secret = place.secret("root/password", b"db.example:5432:prod:admin:Canary-Passw0rd\n");
        let (server, home) = server(place);
        let directory = service(place, "service", STRANGER);
        link(&secret, &directory.join("env/HERMES_HOME"), STRANGER);
        let supervisor = place.titled(STRANGER, "runsv", &["undumpable"], &directory);
        let owner = std::os::unix::fs::MetadataExt::uid(
            &std::fs::metadata(format!("/proc/{}/cmdline", supervisor.pid())).unwrap(),
        );
        assert_eq!(owner, 0, "procfs gives its files to root");
        assert_kept(place, &server, &home, &[&secret], &["db.example"]);
    });
}

/// If the kernel or a filter prevents the worker from dropping its rights, it reads nothing for another user.
#[test]
fn rights_that_cannot_be_given_up_are_a_gap() {
    isolated("rights_that_cannot_be_given_up_are_a_gap", |place| {
        let (server, home) = server(place);
        std::fs::write(home.join("webui.pid"), "3999999").unwrap();
        give(&home.join("webui.pid"), STRANGER);
        let arguments = format!("check --json --pid {}", server.pid());
        let (answer, _) = traced(&place.doctor(&arguments), &[]);
        assert!(answer.stdout.contains("3999999"), "its own file is not read: {}", answer.stdout);
        // The call is not executed and returns a value: the id that is read back is still root's.
        for injection in ["setfsuid:retval=0", "setfsgid:retval=0", "setgroups:error=EPERM"] {
            let inject = format!("inject={injection}");
            let (answer, trace) = traced(&place.doctor(&arguments), &["-e", &inject]);
            assert!(trace.injected() > 0, "{injection}: nothing was injected");
            trace.assert_never_opened(&home.join("webui.pid"));
            assert!(!answer.stdout.contains("3999999"), "{injection}: {}", answer.stdout);
            let why = gaps(&answer.json());
            assert!(why.iter().any(|gap| gap.0.contains(home.to_str().unwrap())), "{injection}: {why:#?}");
        }
    });
}

/// A process that is root in a user namespace of its own is the stranger outside of it.
#[test]
fn the_root_of_a_user_namespace_is_not_root() {
    isolated("the_root_of_a_user_namespace_is_not_root", |place| {
        if !has_user_namespaces("the_root_of_a_user_namespace_is_not_root") {
            return;
        }
        let secret = place.secret("root/password", b"db.example:5432:prod:admin:Canary-Passw0rd\n");
        let (server, home) = server(place);
        let directory = service(place, "service", STRANGER);
        link(&secret, &directory.join("env/HERMES_HOME"), STRANGER);
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "bash", "-c", "exec -a runsv \"$0\" \"$@\"", PYTHON]);
        command.arg(place.script("other_user.py")).arg("hold").current_dir(&directory);
        as_user(&mut command, STRANGER);
        let _supervisor = start(&mut command);
        assert_kept(place, &server, &home, &[&secret], &["db.example"]);
    });
}

/// The file of `-c` of a process that calls itself supervisord.
#[test]
fn a_configuration_is_read_as_the_owner_of_the_supervisor() {
    isolated("a_configuration_is_read_as_the_owner_of_the_supervisor", |place| {
        let configuration =
            b"[unix_http_server]\nfile=/run/Canary-Passw0rd.sock\nusername=u\npassword=Canary-Passw0rd\n";
        let secret = place.secret("root/supervisord.conf", configuration);
        let (server, home) = server(place);
        let directory = place.directory("supervisord", STRANGER);
        link(&secret, &directory.join("link.conf"), STRANGER);
        for named in [secret.to_str().unwrap(), "link.conf", "../root/supervisord.conf"] {
            let _supervisor = place.titled(STRANGER, "supervisord", &["hold", "-c", named], &directory);
            assert_kept(place, &server, &home, &[&secret], &[]);
        }
    });
}

/// The answer of `supervisor.getAllProcessInfo` with one program.
fn process_info(name: &str, pid: u32) -> Vec<u8> {
    let member = |name: &str, kind: &str, value: &str| {
        format!("<member><name>{name}</name><value><{kind}>{value}</{kind}></value></member>")
    };
    let body = format!(
        "<?xml version='1.0'?><methodResponse><params><param><value><array><data><value><struct>{}{}{}{}{}{}</struct></value></data></array></value></param></params></methodResponse>",
        member("name", "string", name),
        member("group", "string", name),
        member("statename", "string", "RUNNING"),
        member("pid", "int", &pid.to_string()),
        member("start", "int", "1700000000"),
        member("exitstatus", "int", "0"),
    );
    format!("HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// Files that a configuration includes: a link to a file of root's, and names in a directory that only root may list.
#[test]
fn included_files_are_read_as_the_owner_of_the_supervisor() {
    isolated("included_files_are_read_as_the_owner_of_the_supervisor", |place| {
        let (server, home) = server(place);
        let script = place.path("checkout-4000/hermes-webui/server.py");
        let program = format!("[program:x]\ncommand=python3 {}\nautorestart=Canary-Passw0rd\n", script.display())
            .into_bytes();
        let program = program.as_slice();
        let secret = place.secret("root/program.conf", program);
        let listed = place.secret("listed/Canary-Passw0rd.conf", program);
        std::fs::set_permissions(&listed, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::fs::set_permissions(place.path("listed"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let directory = place.directory("supervisord", STRANGER);
        link(&secret, &directory.join("program.conf"), STRANGER);
        std::fs::write(directory.join("answer"), process_info("x", server.pid())).unwrap();
        let (socket, record) = (directory.join("s.sock"), directory.join("record"));
        let arguments = [socket.to_str().unwrap(), record.to_str().unwrap()];
        for included in ["program.conf".to_owned(), format!("{}/*.conf", place.path("listed").display())] {
            let configuration =
                format!("[unix_http_server]\nfile={}\n[include]\nfiles = {included}\n", socket.display());
            std::fs::write(directory.join("supervisord.conf"), configuration).unwrap();
            give_all(&directory.join("supervisord.conf"), STRANGER);
            let answer = directory.join("answer");
            let supervisor = [&["listen"], &arguments[..], &[answer.to_str().unwrap(), "-c", "supervisord.conf"]];
            let _supervisor = place.titled(STRANGER, "supervisord", &supervisor.concat(), &directory);
            assert_kept(place, &server, &home, &[&secret, &listed], &["canary-passw0rd"]);
            assert!(std::fs::read_to_string(&record).unwrap().contains("getAllProcessInfo"), "it was not asked");
        }
    });
}

/// Small files of a home, each a link to a file of root's.
#[test]
fn files_of_a_home_are_read_as_its_owner() {
    isolated("files_of_a_home_are_read_as_its_owner", |place| {
        let (server, home) = server(place);
        let cases: &[(&str, &[u8], &[&str])] = &[
            (".env", b"HERMES_WEBUI_PORT=45671\nA=Canary-Passw0rd\n", &["45671"]),
            ("webui.pid", b"3999999\n", &["3999999"]),
            ("webui.ctl.env", b"PID=3999998\nPORT=45672\n", &["3999998", "45672"]),
            ("gateway.pid", b"3999997\n", &["3999997"]),
        ];
        for (name, content, words) in cases {
            // A pid file is read completely, and must be short.
            let secret = place.secret_of(&format!("root/{name}"), content);
            link(&secret, &home.join(name), STRANGER);
            assert_kept(place, &server, &home, &[&secret], words);
            std::fs::remove_file(home.join(name)).unwrap();
        }
    });
}

#[test]
fn logs_of_a_home_are_read_as_its_owner() {
    isolated("logs_of_a_home_are_read_as_its_owner", |place| {
        let line = b"2001-09-09 01:46:40,000 ERROR root: boom\nTraceback (most recent call last):\n  File \"x.py\", line 1, in <module>\nOSError: [Errno 24] Too many open files: 'Canary-Passw0rd'\n";
        let secret = place.secret("root/webui.log", line);
        let (server, home) = server(place);
        for name in ["webui.log", "webui/launchd-stderr.log", &format!("webui/bootstrap-{}.log", server.port)] {
            place.directory("home/.hermes/webui", STRANGER);
            link(&secret, &home.join(name), STRANGER);
            assert_kept(place, &server, &home, &[&secret], &["Too many open files", "Errno 24"]);
            std::fs::remove_file(home.join(name)).unwrap();
        }
        // The file before the log was rotated.
        std::fs::write(home.join("webui.log"), "").unwrap();
        give(&home.join("webui.log"), STRANGER);
        link(&secret, &home.join("webui.log.1"), STRANGER);
        assert_secret(&place.views(&server, &home), &["Too many open files", "Errno 24"]);
        let (_, trace) = traced(&place.doctor("check --json"), &[]);
        trace.assert_never_opened(&secret);
    });
}

/// A database with its log and index, each of them a link to a file of root's.
#[test]
fn databases_of_a_home_are_read_as_its_owner() {
    isolated("databases_of_a_home_are_read_as_its_owner", |place| {
        let (server, home) = server(place);
        let made = place.path("root/made.db");
        std::fs::create_dir_all(made.parent().unwrap()).unwrap();
        let connection = rusqlite::Connection::open(&made).unwrap();
        connection.execute_batch("PRAGMA page_size=32768; PRAGMA user_version=45671; CREATE TABLE t (a)").unwrap();
        drop(connection);
        let mut bytes = std::fs::read(&made).unwrap();
        bytes.resize(7_654_321, 0);
        let secret = place.secret_of("root/state.db", &bytes);
        for name in ["state.db", "kanban.db", "response_store.db"] {
            link(&secret, &home.join(name), STRANGER);
            assert_kept(place, &server, &home, &[&secret], &["32768", "45671"]);
            std::fs::remove_file(home.join(name)).unwrap();
        }
        // The database itself is the stranger's.
        std::fs::copy(&made, home.join("state.db")).unwrap();
        give(&home.join("state.db"), STRANGER);
        for suffix in ["-wal", "-shm", "-journal"] {
            link(&secret, &home.join(format!("state.db{suffix}")), STRANGER);
        }
        assert_kept(place, &server, &home, &[&secret], &[]);
        // The files of the boards may be read, but their directory may not be searched.
        let boards = place.directory("root/boards/Canary-Passw0rd", 0);
        std::fs::copy(&made, boards.join("kanban.db")).unwrap();
        std::fs::set_permissions(boards.parent().unwrap(), std::fs::Permissions::from_mode(0o700)).unwrap();
        place.directory("home/.hermes/kanban", STRANGER);
        link(boards.parent().unwrap(), &home.join("kanban/boards"), STRANGER);
        assert_kept(place, &server, &home, &[&secret, &boards.join("kanban.db")], &[]);
    });
}

/// The same without a server, where only the home leads to the database: the target of a link is opened with the
/// rights with which the link was followed, also for the second sample.
#[test]
fn databases_without_a_server_are_read_as_the_owner_of_the_home() {
    isolated("databases_without_a_server_are_read_as_the_owner_of_the_home", |place| {
        let home = place.directory("home/.hermes", STRANGER);
        place.accounts(&[format!("stranger:x:4000:4000::{}:/bin/sh", place.path("home").display()).as_bytes()]);
        let secret = place.secret_of("root/state.db", &[b"SQLite format 3\0".to_vec(), vec![0; 8176]].concat());
        std::fs::write(home.join("config.yaml"), "").unwrap();
        give_all(&home, STRANGER);
        for name in ["state.db", "kanban.db"] {
            link(&secret, &home.join(name), STRANGER);
            for arguments in [
                "db --json".to_owned(),
                format!("db --json --home {}", home.display()),
                format!("check --json --home {}", home.display()),
                format!("db --json --file {}", home.join(name).display()),
            ] {
                let (answer, trace) = traced(&place.doctor(&arguments), &[]);
                trace.assert_never_opened(&secret);
                let why = gaps(&answer.json());
                assert!(why.iter().any(|gap| is_refused_to(STRANGER, gap)), "{arguments}: {why:#?}");
            }
            std::fs::remove_file(home.join(name)).unwrap();
        }
    });
}

/// The home of the environment is a directory of root's, or a name below one.
#[test]
fn a_home_is_entered_as_the_owner_of_the_server() {
    isolated("a_home_is_entered_as_the_owner_of_the_server", |place| {
        let home = place.directory("root/.hermes/profiles/Canary-Passw0rd", 0);
        let home = home.parent().unwrap().parent().unwrap().to_owned();
        let connection = rusqlite::Connection::open(home.join("state.db")).unwrap();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        drop(connection);
        std::fs::write(home.join(".env"), "HERMES_WEBUI_PORT=45671\n").unwrap();
        std::fs::write(home.join("webui.pid"), "3999999").unwrap();
        let link_to_it = place.path("link");
        link(&home, &link_to_it, STRANGER);
        std::fs::set_permissions(place.path("root"), std::fs::Permissions::from_mode(0o700)).unwrap();
        for named in [&home, &link_to_it] {
            let server = place.server(STRANGER, named);
            let pid = server.pid();
            let answers: Vec<(String, Answer)> = [
                format!("check --json --pid {pid}"),
                "check --json".to_owned(),
                format!("report --pid {pid}"),
                format!("check --verbose --pid {pid}"),
            ]
            .map(|arguments| {
                let answer = run_with(&mut place.doctor(&arguments));
                (arguments, answer)
            })
            .into();
            assert_secret(&answers, &["state.db", "45671", "3999999"]);
            assert_refusal_is_a_gap(&answers, STRANGER);
            let (_, trace) = traced(&place.doctor("check --json"), &[]);
            for name in ["state.db", ".env", "webui.pid"] {
                trace.assert_never_opened(&home.join(name));
            }
        }
    });
}

/// Root names a directory that belongs to another user, which leads to files of root's.
#[test]
fn a_directory_of_another_user_is_read_as_that_user_even_if_root_names_it() {
    isolated("a_directory_of_another_user_is_read_as_that_user_even_if_root_names_it", |place| {
        let secret_home = place.directory("root/.hermes", 0);
        let connection = rusqlite::Connection::open(secret_home.join("state.db")).unwrap();
        connection.execute_batch("PRAGMA user_version=45671; CREATE TABLE t (a)").unwrap();
        drop(connection);
        std::fs::write(secret_home.join(".env"), "HERMES_WEBUI_PORT=45671\n").unwrap();
        std::fs::set_permissions(place.path("root"), std::fs::Permissions::from_mode(0o700)).unwrap();
        let user = place.directory("user", STRANGER);
        link(&secret_home, &user.join("home"), STRANGER);
        link(&secret_home.join("state.db"), &user.join("x.db"), STRANGER);
        let own = place.directory("user/own", STRANGER);
        link(&secret_home.join("state.db"), &own.join("state.db"), STRANGER);
        link(&secret_home.join(".env"), &own.join(".env"), STRANGER);
        let user = user.display();
        let named = [
            format!("db --json --home {user}/home"),
            format!("db --json --home {user}/own"),
            format!("db --json --file {user}/x.db"),
            format!("db --verbose --home {user}/own"),
            format!("check --json --home {user}/own"),
            format!("check --home {user}/home"),
            format!("db --json --home {user}/home/../home"),
        ];
        for arguments in named {
            let (answer, trace) = traced(&place.doctor(&arguments), &[]);
            // A readable home with an absent server is critical.
            let expected = if arguments.contains("/own") { 2..=3 } else { 3..=3 };
            assert!(expected.contains(&answer.exit), "{arguments}: {} {}", answer.stdout, answer.stderr);
            let said =
                format!("{} {}", answer.stdout, answer.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains("not readable by its owner, uid 4000"), "{arguments}: {said}");
            for name in ["state.db", ".env"] {
                trace.assert_never_opened(&secret_home.join(name));
            }
            let answers = [(arguments, answer)];
            assert_secret(&answers, &["45671"]);
        }
        // The doctor's own HERMES_HOME gives such a home too.
        for home in ["home", "own"] {
            let mut command = place.doctor("check --json");
            command.env("HERMES_HOME", format!("{user}/{home}"));
            let (answer, trace) = traced(&command, &[]);
            for name in ["state.db", ".env"] {
                trace.assert_never_opened(&secret_home.join(name));
            }
            let refused = gaps(&answer.json()).iter().any(|gap| is_refused_to(STRANGER, gap));
            assert!(refused, "HERMES_HOME={user}/{home}: {}", answer.stdout);
        }
        // A home of root that root itself gives is read.
        let answer = run_with(&mut place.doctor(&format!("db --json --home {}", secret_home.display())));
        let databases = answer.json()["servers"][0]["databases"].as_array().map_or(0, Vec::len);
        assert_eq!(databases, 1, "{}", answer.stdout);
    });
}

/// A server of the neighbour has its home in a directory of the stranger, in which a link leads to a database that
/// only the neighbour may read. The stranger chose this target.
#[test]
fn a_link_of_another_user_is_followed_as_that_user() {
    isolated("a_link_of_another_user_is_followed_as_that_user", |place| {
        let private = place.directory("private", NEIGHBOUR);
        let secret = private.join("secret.db");
        let connection = rusqlite::Connection::open(&secret).unwrap();
        connection.execute_batch("PRAGMA page_size=32768; CREATE TABLE t (a)").unwrap();
        drop(connection);
        // A second link, of the neighbour, does not restore rights.
        link(&secret, &private.join("second"), NEIGHBOUR);
        give_all(&private, NEIGHBOUR);
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o711)).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let home = place.directory("theirs/home", STRANGER);
        give(home.parent().unwrap(), STRANGER);
        std::fs::write(home.join("config.yaml"), "").unwrap();
        for target in ["secret.db", "second"] {
            link(&private.join(target), &home.join("state.db"), STRANGER);
            let server = place.server(NEIGHBOUR, &home);
            let arguments = format!("check --json --pid {}", server.pid());
            let (answer, trace) = traced(&place.doctor(&arguments), &[]);
            trace.assert_never_opened(&secret);
            let found = gaps(&answer.json());
            assert!(found.iter().any(|gap| is_refused_to(STRANGER, gap)), "{target}: {found:?}");
            // The doctor of the neighbour reads the files that the neighbour may read.
            let own = run_with(&mut place.doctor_as(NEIGHBOUR, &arguments)).json();
            assert_eq!(own["servers"][0]["databases"][0]["header"]["page_size_bytes"], 32768, "{target}: {own:#}");
        }
        // A link in the neighbour's own home does not lead root's doctor there through the stranger's directory
        // either.
        let account = place.directory("account", NEIGHBOUR);
        link(&home, &account.join(".hermes"), NEIGHBOUR);
        place.accounts(&[format!("neighbour:x:5000:5000::{}:/bin/sh", account.display()).as_bytes()]);
        for arguments in [
            "check --json".to_owned(),
            format!("db --json --home {}/.hermes", account.display()),
            format!("db --json --file {}/.hermes/state.db", account.display()),
        ] {
            let (answer, trace) = traced(&place.doctor(&arguments), &[]);
            trace.assert_never_opened(&secret);
            let is_said = answer.stdout.contains("not readable by its owner, uid 4000");
            assert!(is_said || arguments.starts_with("check"), "{arguments}: {}", answer.stdout);
        }
        // Links of root and of the neighbour are followed as before.
        let honest = place.directory("honest/home", NEIGHBOUR);
        std::fs::write(honest.join("config.yaml"), "").unwrap();
        give_all(&honest, NEIGHBOUR);
        link(&secret, &honest.join("state.db"), NEIGHBOUR);
        link(&honest, &place.path("honest/link"), 0);
        let server = place.server(NEIGHBOUR, &place.path("honest/link"));
        let answer = run_with(&mut place.doctor(&format!("check --json --pid {}", server.pid()))).json();
        assert_eq!(answer["servers"][0]["databases"][0]["header"]["page_size_bytes"], 32768, "{answer:#}");
        assert!(gaps(&answer).iter().all(|gap| gap.1 != "permission"), "{:?}", gaps(&answer));
    });
}

/// Units of a user's manager: the file itself, and the file of its `EnvironmentFile=`.
#[test]
fn units_of_a_user_are_read_as_that_user() {
    isolated("units_of_a_user_are_read_as_that_user", |place| {
        let home = place.directory("user", STRANGER);
        let units = place.directory("user/.config/systemd/user", STRANGER);
        give_all(&home, STRANGER);
        place.accounts(&[format!("stranger:x:4000:4000::{}:/bin/sh", home.display()).as_bytes()]);
        let command = "ExecStart=/usr/bin/python3 /srv/hermes-webui/server.py";
        let environment = place.secret("root/env", b"HERMES_WEBUI_PORT=45671\nHERMES_HOME=/Canary-Passw0rd\n");
        let unit = place.secret(
            "root/hermes.service",
            format!("[Service]\n{command} --port 45671\nEnvironment=HERMES_HOME=/Canary-Passw0rd\n").as_bytes(),
        );
        // The listeners of a port are searched only if a unit names the port.
        let listener = std::net::TcpListener::bind("127.0.0.1:45671").unwrap();
        let port_of_listener = "45671";
        let (server, hermes_home) = server(place);
        for is_unit in [true, false] {
            let file = units.join("hermes.service");
            if is_unit {
                link(&unit, &file, STRANGER);
            } else {
                std::fs::remove_file(&file).unwrap();
                let text = format!("[Service]\n{command}\nEnvironmentFile={}\n", environment.display());
                std::fs::write(&file, text).unwrap();
                give(&file, STRANGER);
            }
            let (answer, trace) = traced(&place.doctor("check --json"), &[]);
            trace.assert_never_opened(&unit);
            trace.assert_never_opened(&environment);
            assert!(!answer.stdout.contains(port_of_listener), "{}", answer.stdout);
            assert!(gaps(&answer.json()).iter().any(|gap| is_refused_to(STRANGER, gap)), "{}", answer.stdout);
            assert_secret(&place.views(&server, &hermes_home), &[port_of_listener]);
        }
        drop(listener);
    });
}

/// Standard error is a file that root opened for the server and that the server's user may not read. Its size is no
/// secret, because the server can query it (fstat(2)).
#[test]
fn output_files_are_read_as_the_owner_of_the_server() {
    isolated("output_files_are_read_as_the_owner_of_the_server", |place| {
        let line = b"2002-02-02 01:46:40,000 ERROR root: boom\nTraceback (most recent call last):\n  File \"x.py\", line 1, in <module>\nOSError: [Errno 24] Too many open files: 'Canary-Passw0rd'\n";
        let home = place.directory("home/.hermes", STRANGER);
        std::fs::write(home.join("config.yaml"), "").unwrap();
        give_all(&home, STRANGER);
        for is_deleted in [false, true] {
            let secret = place.secret("root/webui.log", line);
            let log = std::fs::File::options().append(true).open(&secret).unwrap();
            let mut command = place.server_command(STRANGER);
            command.env("HERMES_HOME", &home).stderr(log);
            let server = start(&mut command);
            drop(command);
            if is_deleted {
                std::fs::remove_file(&secret).unwrap();
            }
            let answers = place.views(&server, &home);
            for (arguments, answer) in &answers {
                for word in ["2002-02-02", "oo many open files", CANARY] {
                    assert!(!answer.stdout.contains(word), "{arguments}: {word}: {}", answer.stdout);
                }
            }
            assert_refusal_is_a_gap(&answers, STRANGER);
            let (_, trace) = traced(&place.doctor("check --json"), &[]);
            trace.assert_never_opened(&secret);
        }
    });
}

/// The groups of the process apply, not those of the account.
#[test]
fn groups_of_a_process_give_it_rights() {
    const GROUP: u32 = 4242;
    isolated("groups_of_a_process_give_it_rights", |place| {
        let home = place.directory("home/.hermes", STRANGER);
        std::fs::write(home.join("config.yaml"), "").unwrap();
        give_all(&home, STRANGER);
        let file = place.path("shared/state.db");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        let connection = rusqlite::Connection::open(&file).unwrap();
        connection.execute_batch("CREATE TABLE t (a)").unwrap();
        drop(connection);
        std::os::unix::fs::chown(&file, Some(0), Some(GROUP)).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
        link(&file, &home.join("state.db"), STRANGER);
        for (groups, may) in [("--groups=4242", true), ("--clear-groups", false)] {
            let command = place.server_command(STRANGER);
            let mut with_groups = Command::new("setpriv");
            with_groups.args(["--reuid", "4000", "--regid", "4000", groups]).arg(command.get_program());
            with_groups.args(command.get_args()).env("HERMES_HOME", &home).stderr(Stdio::null());
            let server = start(&mut with_groups);
            let (answer, trace) = traced(&place.doctor(&format!("check --json --pid {}", server.pid())), &[]);
            let envelope = answer.json();
            let databases = envelope["servers"][0]["databases"].as_array().map_or(0, Vec::len);
            let refused = gaps(&envelope).iter().any(|gap| is_refused_to(STRANGER, gap));
            assert_eq!((databases, refused), (usize::from(may), !may), "{groups}: {envelope:#}");
            if !may {
                trace.assert_never_opened(&file);
            }
        }
    });
}

/// The files of an honest user are read without a gap, by root and by that user.
#[test]
fn an_honest_server_is_examined_completely() {
    isolated("an_honest_server_is_examined_completely", |place| {
        let user = place.directory("honest", NEIGHBOUR);
        let home = place.directory("honest/.hermes", NEIGHBOUR);
        place.directory("honest/.hermes/webui", NEIGHBOUR);
        std::fs::write(home.join("config.yaml"), "").unwrap();
        std::fs::write(home.join(".env"), "A=b\n").unwrap();
        place.accounts(&[format!("honest:x:5000:5000::{}:/bin/sh", user.display()).as_bytes()]);
        let log = home.join("webui.log");
        std::fs::write(&log, "2026-01-01 00:00:00,000 ERROR root: boom\n").unwrap();
        let checkout = place.directory("honest/hermes-webui", NEIGHBOUR);
        std::fs::copy(place.script("hermes-webui/server.py"), checkout.join("server.py")).unwrap();
        give_all(&user, NEIGHBOUR);
        for path in [&user, &home, &checkout] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        for file in [home.join(".env"), log.clone()] {
            std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let mut command = Command::new(PYTHON);
        command.arg(checkout.join("server.py")).env_clear().env("HERMES_HOME", &home).current_dir(&home);
        command.stderr(std::fs::File::options().append(true).open(&log).unwrap());
        as_user(&mut command, NEIGHBOUR);
        let server = start(&mut command);
        let examine = |user: u32, arguments: &str| {
            let answer = run_with(&mut place.doctor_as(user, arguments));
            let envelope = answer.json();
            assert_eq!(envelope["servers"].as_array().unwrap().len(), 1, "uid {user}: {envelope:#}");
            let gaps: Vec<_> = gaps(&envelope).into_iter().filter(|gap| gap.1 == "permission").collect();
            let server = envelope["servers"][0].clone();
            let texts = |key: &str, field: &str| -> Vec<String> {
                let list = server[key].as_array().cloned().unwrap_or_default();
                let mut texts: Vec<String> =
                    list.iter().filter_map(|one| one[field].as_str().map(str::to_owned)).collect();
                texts.sort();
                texts
            };
            (gaps, texts("databases", "path"), texts("logs", "source"), texts("pid_files", "path"), server)
        };
        for arguments in
            [format!("check --json --pid {}", server.pid()), format!("check --json --home {}", home.display())]
        {
            let as_root = examine(0, &arguments);
            let as_owner = examine(NEIGHBOUR, &arguments);
            assert_eq!(as_root.0, [], "{arguments}: gaps of root: {:#}", as_root.4);
            assert_eq!(as_root.1, [home.join("state.db").to_str().unwrap()], "{arguments}: {:#}", as_root.4);
            assert_eq!(as_root.2, [log.to_str().unwrap()], "{arguments}: {:#}", as_root.4);
            assert_eq!(as_root.4["databases"][0]["journal_mode"], "wal", "{:#}", as_root.4);
            assert_eq!(as_root.4["status"], "healthy", "{arguments}: {:#}", as_root.4);
            assert_eq!((as_owner.1, as_owner.2, as_owner.3), (as_root.1, as_root.2, as_root.3), "{arguments}");
        }
    });
}

/// Every file type except regular files that a link in a home can lead to. Opening some of them has effects: it
/// consumes messages, starts a device, or blocks.
fn unusual_files(place: &Place) -> Vec<PathBuf> {
    let pipe = place.path("pipe");
    fifo(&pipe);
    let device = place.path("device");
    let kind = rustix::fs::FileType::CharacterDevice;
    let null = rustix::fs::makedev(1, 3);
    rustix::fs::mknodat(rustix::fs::CWD, &device, kind, rustix::fs::Mode::from_raw_mode(0o666), null).unwrap();
    let block = place.path("block");
    let kind = rustix::fs::FileType::BlockDevice;
    // A device number without a driver.
    let none = rustix::fs::makedev(259, 4_000);
    rustix::fs::mknodat(rustix::fs::CWD, &block, kind, rustix::fs::Mode::from_raw_mode(0o666), none).unwrap();
    let mut found = vec![pipe, device, block];
    for (kind, name) in [("tracefs", "trace_pipe"), ("debugfs", "tracing/trace_pipe"), ("cgroup2", "cgroup.procs")]
    {
        let directory = place.path(kind);
        std::fs::create_dir(&directory).unwrap();
        let mounted = Command::new("mount").args(["-t", kind, kind]).arg(&directory).stderr(Stdio::null()).status();
        if mounted.unwrap().success() && directory.join(name).exists() {
            found.push(directory.join(name));
        }
    }
    let others = [
        "/proc/kmsg",
        "/proc/self/environ",
        "/proc/self/fd/0",
        "/proc/sys/kernel/random/uuid",
        "/proc/1/environ",
        "/proc/1/mem",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_seqnum",
        "/dev/kmsg",
        "/dev/ptmx",
        "/dev/tty",
        "/dev/random",
        "/dev/full",
    ];
    found.extend(others.iter().map(PathBuf::from).filter(|path| std::fs::symlink_metadata(path).is_ok()));
    found
}

/// Files of a home that the doctor reads.
const READ_IN_A_HOME: &[&str] = &[
    ".env",
    "webui.pid",
    "webui.ctl.env",
    "gateway.pid",
    "webui.log",
    "state.db",
    "state.db-wal",
    "state.db-shm",
    "kanban.db",
    "memory_store.db",
    "response_store.db",
    "webui/launchd-stderr.log",
    "webui/launchd-stdout.log",
];

/// A home in which every file is a link to the same target.
fn home_of_links(place: &Place, name: &str, target: &Path, owner: u32) -> PathBuf {
    let home = place.directory(name, owner);
    std::fs::create_dir(home.join("webui")).unwrap();
    for file in READ_IN_A_HOME {
        link(target, &home.join(file), owner);
    }
    give(&home.join("webui"), owner);
    home
}

/// The only answer of a process that may be anything.
fn view_of_links(place: &Place, server: &Guard, home: &Path) -> Vec<String> {
    vec![
        format!("check --json --pid {} --budget 6s", server.pid()),
        format!("db --json --home {} --budget 6s", home.display()),
        format!("db --json --file {} --budget 6s", place.path("one.db").display()),
    ]
}

/// Also for a server of root, whose rights would be sufficient.
#[test]
fn only_regular_files_are_opened() {
    isolated("only_regular_files_are_opened", |place| {
        for (index, target) in unusual_files(place).iter().enumerate() {
            for owner in [STRANGER, 0] {
                let home = home_of_links(place, &format!("home-{index}-{owner}"), target, owner);
                link(target, &place.path("one.db"), owner);
                let server = place.server(owner, &home);
                for arguments in view_of_links(place, &server, &home) {
                    let (answer, trace) = traced(&place.doctor(&arguments), &[]);
                    assert!((0..=3).contains(&answer.exit), "{arguments}: {}", answer.stderr);
                    trace.assert_opened_by_place(&place.path(""));
                    let named = target.to_str().unwrap();
                    // Other code of the doctor opens files of procfs by name.
                    let found = trace.of_doctor().find(|call| {
                        let is_by_name = call.quoted() == Some(named);
                        call.is_real_open()
                            && call.is_ok()
                            && call.opened() == Some(named)
                            && !(is_by_name && named.starts_with("/proc/"))
                    });
                    assert!(found.is_none(), "{} of uid {owner}, {arguments}: {found:#?}", target.display());
                    let why = gaps(&answer.json());
                    assert!(!why.is_empty(), "{} of uid {owner}, {arguments}: nothing is said", target.display());
                }
            }
        }
    });
}

/// The variables of the doctor's own process, and its descriptors, are no files of a home.
#[test]
fn links_to_the_doctor_itself_are_not_followed() {
    isolated("links_to_the_doctor_itself_are_not_followed", |place| {
        let own = place.secret("root/input", b"HERMES_WEBUI_PORT=45671\n");
        for (index, target) in
            ["/proc/self/environ", "/proc/self/fd/0", "/proc/thread-self/environ"].iter().enumerate()
        {
            let home = place.directory(&format!("home-{index}"), STRANGER);
            std::fs::write(home.join("config.yaml"), "").unwrap();
            for name in [".env", "webui.ctl.env", "webui.pid"] {
                link(Path::new(target), &home.join(name), STRANGER);
            }
            let server = place.server(STRANGER, &home);
            let mut command = place.doctor(&format!("check --json --verbose --pid {}", server.pid()));
            command.env("A", "\nHERMES_WEBUI_PORT=45672\nPID=3999999\n");
            command.stdin(std::fs::File::open(&own).unwrap());
            let output = command.output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            for word in ["45671", "45672", "3999999"] {
                assert!(!text.contains(word), "{target}: {word}: {text}");
            }
            let (_, trace) = traced(&place.doctor(&format!("check --json --pid {}", server.pid())), &[]);
            trace.assert_opened_by_place(&place.path(""));
        }
    });
}

/// The owner keeps exchanging files and FIFOs: the file that was checked is the file that is opened.
#[test]
fn a_file_cannot_be_exchanged_between_check_and_use() {
    isolated("a_file_cannot_be_exchanged_between_check_and_use", |place| {
        let pipe = place.path("pipe");
        fifo(&pipe);
        let home = place.directory("home", STRANGER);
        std::fs::create_dir(home.join("webui")).unwrap();
        for name in READ_IN_A_HOME {
            std::fs::write(home.join(name), "7\n").unwrap();
        }
        give_all(&home, STRANGER);
        let other = home_of_links(place, "other", &pipe, STRANGER);
        give(&place.path(""), STRANGER);
        let server = place.server(STRANGER, &home);
        let exchange = ["exchange", home.to_str().unwrap(), other.to_str().unwrap()];
        let _exchange = place.titled(STRANGER, "exchange", &exchange, Path::new("/"));
        for _ in 0..5 {
            for arguments in [
                format!("check --json --pid {} --budget 6s", server.pid()),
                format!("db --json --home {} --budget 6s", home.display()),
            ] {
                let (answer, trace) = traced(&place.doctor(&arguments), &[]);
                assert!((0..=3).contains(&answer.exit), "{arguments}: {}", answer.stderr);
                trace.assert_opened_by_place(&place.path(""));
                trace.assert_never_opened(&pipe);
            }
        }
    });
}

/// Descriptors of a process refer to objects that are not regular files, and to unlinked regular files.
#[test]
fn descriptors_of_a_process_are_opened_by_their_place() {
    isolated("descriptors_of_a_process_are_opened_by_their_place", |place| {
        let home = place.directory("home", STRANGER);
        std::fs::write(home.join("config.yaml"), "").unwrap();
        give_all(&home, STRANGER);
        let pipe = place.path("pipe");
        fifo(&pipe);
        // Opening a FIFO for reading and writing does not block.
        let both = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
        let log = place.path("deleted.log");
        std::fs::write(&log, "2026-01-01 00:00:00,000 ERROR root: boom\n").unwrap();
        give(&log, STRANGER);
        let log_file = std::fs::File::options().append(true).open(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        for (output, is_regular) in [(both, false), (log_file, true)] {
            let mut command = place.server_command(STRANGER);
            command.env("HERMES_HOME", &home).stderr(output);
            let server = start(&mut command);
            drop(command);
            let (answer, trace) = traced(&place.doctor(&format!("check --json --pid {}", server.pid())), &[]);
            trace.assert_opened_by_place(&place.path(""));
            trace.assert_never_opened(&pipe);
            let logs = answer.json()["servers"][0]["logs"].as_array().map_or(0, Vec::len);
            assert_eq!(logs, usize::from(is_regular), "{}", answer.stdout);
        }
    });
}

/// A container: a server in a mount namespace of its own, in which `inside` is mounted; its shell runs `line` first.
fn container(place: &Place, inside: &Path, line: &str, home: &Path) -> Guard {
    std::fs::create_dir_all(inside).unwrap();
    let script = place.directory("checkout/hermes-webui", 0).join("server.py");
    std::fs::copy(place.script("plain.py"), &script).unwrap();
    let line = format!("mount -t tmpfs inside {} && {line} && exec \"$@\"", inside.display());
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-e", "-c", &line, "sh", PYTHON]).arg(script).args(["127.0.0.1", "0"]);
    command.env("HERMES_HOME", home).stderr(Stdio::null());
    start(&mut command)
}

/// A database that only has a size and a format.
const DATABASE: &str = "printf 'SQLite format 3\\0'; head -c 4080 /dev/zero";

fn databases(server: &Value) -> Vec<(String, u64)> {
    let found = server["databases"].as_array().cloned().unwrap_or_default();
    let mut found: Vec<(String, u64)> = found
        .iter()
        .map(|one| (one["path"].as_str().unwrap().to_owned(), one["size_bytes"].as_u64().unwrap_or(0)))
        .collect();
    found.sort();
    found
}

/// Absolute links, links with `..` and links to links in a container lead to files of the container.
#[test]
fn links_of_a_container_lead_to_its_own_files() {
    isolated("links_of_a_container_lead_to_its_own_files", |place| {
        let inside = place.path("inside");
        // The host has the same names.
        for name in ["real/webui", "up/webui"] {
            place.directory(&format!("inside/{name}"), 0);
        }
        std::fs::write(inside.join("real/webui.pid"), "1").unwrap();
        std::fs::write(inside.join("real/state.db"), "SQLite format 3\0of the host").unwrap();
        std::fs::write(inside.join("real/kanban.db"), "SQLite format 3\0of the host").unwrap();
        let real = inside.join("real");
        let targets = [
            real.display().to_string(),
            format!("../../../../../../../..{}", real.display()),
            format!("{}/second", inside.display()),
        ];
        for target in targets {
            let line = format!(
                "cd {0} && mkdir -p real/webui && {{ {DATABASE}; }} >real/state.db && ln -s {0}/real second && ln -s {target} link && cd /",
                inside.display()
            );
            let server = container(place, &inside, &line, &inside.join("link"));
            let arguments = format!("check --json --pid {}", server.pid());
            let (answer, trace) = traced(&place.doctor(&arguments), &[]);
            let found = answer.json()["servers"][0].clone();
            assert!(
                !answer.stdout.contains("stale-pid-file"),
                "{target}: the file of the host was read: {found:#}"
            );
            let sizes: Vec<u64> = databases(&found).into_iter().map(|(_, size)| size).collect();
            assert_eq!(sizes, [4096], "{target}: {found:#}");
            trace.assert_opened_by_place(&inside);
            for name in ["webui.pid", "state.db", "kanban.db"] {
                let host = format!("host:{name}");
                // openat2(2) resolves below the root directory of the container.
                let found = trace.of_doctor().find(|call| {
                    call.is_open()
                        && !call.arguments.contains("RESOLVE_IN_ROOT")
                        && call.quoted().is_some_and(|path| Path::new(path) == real.join(name))
                });
                assert!(found.is_none(), "{host}: opened by its absolute name: {found:#?}");
            }
        }
    });
}

/// Links of a container to magic links of procfs would lead out of it.
#[test]
fn magic_links_of_a_container_are_not_followed() {
    isolated("magic_links_of_a_container_are_not_followed", |place| {
        let inside = place.path("inside");
        let home = place.directory("host", 0);
        std::fs::write(home.join("webui.pid"), "3999999").unwrap();
        std::fs::write(home.join("state.db"), vec![b'S'; 7_654_321]).unwrap();
        for target in [
            format!("/proc/1/root{}", home.display()),
            format!("/proc/self/root{}", home.display()),
            format!("/proc/1/cwd/../../../../../..{}", home.display()),
        ] {
            let line = format!("ln -s {target} {}/link", inside.display());
            let server = container(place, &inside, &line, &inside.join("link"));
            let arguments = format!("check --json --pid {}", server.pid());
            let (answer, trace) = traced(&place.doctor(&arguments), &[]);
            let envelope = answer.json();
            let why = gaps(&envelope);
            for word in ["3999999", "7654321", "stale-pid-file"] {
                assert!(!answer.stdout.contains(word), "{target}: {word}: {envelope:#}");
            }
            assert!(why.iter().any(|gap| gap.0.contains("link")), "{target}: nothing is said: {why:#?}");
            trace.assert_opened_by_place(&inside);
            trace.assert_never_opened(&home.join("webui.pid"));
        }
    });
}

/// A server that has changed its root directory and shares the mount namespace of the doctor. Its home is `/mnt/link`.
fn changed_root(place: &Place, owner: u32) -> Guard {
    let name = format!("newroot-{owner}");
    let root = place.directory(&name, 0);
    for directory in ["usr", "srv/hermes-webui", "mnt/home/webui", "proc"] {
        place.directory(&format!("{name}/{directory}"), owner);
    }
    mount(&["--bind", "/usr"], &root.join("usr"));
    for directory in ["bin", "lib", "lib64"] {
        if std::fs::symlink_metadata(format!("/{directory}")).is_ok_and(|found| found.is_symlink()) {
            link(Path::new(&format!("usr/{directory}")), &root.join(directory), 0);
        } else {
            std::fs::create_dir(root.join(directory)).unwrap();
            mount(&["--bind", &format!("/{directory}")], &root.join(directory));
        }
    }
    std::fs::copy(place.script("plain.py"), root.join("srv/hermes-webui/server.py")).unwrap();
    std::fs::write(root.join("mnt/home/state.db"), [b"SQLite format 3\0".to_vec(), vec![0; 4080]].concat())
        .unwrap();
    link(Path::new("/mnt/home"), &root.join("mnt/link"), owner);
    give_all(&root.join("mnt"), owner);
    let mut command = Command::new("/usr/sbin/chroot");
    command.arg(format!("--userspec={owner}:{owner}")).arg("--groups=").arg(&root);
    command.args([PYTHON, "/srv/hermes-webui/server.py", "127.0.0.1", "0"]);
    command.env_clear().env("HERMES_HOME", "/mnt/link").stderr(Stdio::null());
    start(&mut command)
}

/// Names of such a process are names below its root directory, and so are the targets of links.
#[test]
fn names_stay_below_a_changed_root_directory() {
    isolated("names_stay_below_a_changed_root_directory", |place| {
        // The host has the same names.
        mount(&["-t", "tmpfs", "none"], Path::new("/mnt"));
        std::fs::create_dir_all("/mnt/home/webui").unwrap();
        std::fs::write("/mnt/home/webui.pid", "3999999").unwrap();
        std::fs::write("/mnt/home/state.db", vec![0; 7_654_321]).unwrap();
        link(Path::new("/mnt/home"), Path::new("/mnt/link"), 0);
        for owner in [STRANGER, 0] {
            let server = changed_root(place, owner);
            let (answer, trace) = traced(&place.doctor(&format!("check --json --pid {}", server.pid())), &[]);
            let envelope = answer.json();
            let found = envelope["servers"][0].clone();
            let sizes: Vec<u64> = databases(&found).into_iter().map(|(_, size)| size).collect();
            assert_eq!(sizes, [4096], "uid {owner}: {found:#}");
            for word in ["3999999", "7654321"] {
                assert!(!answer.stdout.contains(word), "uid {owner}: a file of the host was read: {found:#}");
            }
            trace.assert_opened_by_place(&place.path(""));
            let refused: Vec<_> = gaps(&envelope).into_iter().filter(|gap| gap.1 == "permission").collect();
            assert_eq!(refused, [], "uid {owner}");
        }
    });
}

/// If openat2(2) is missing, is filtered, or returns EAGAIN, the results are the same.
#[test]
fn names_are_resolved_the_same_without_openat2() {
    isolated("names_are_resolved_the_same_without_openat2", |place| {
        let inside = place.path("inside");
        place.directory("inside/real/webui", 0);
        std::fs::write(inside.join("real/webui.pid"), "1").unwrap();
        let line = format!(
            "cd {0} && mkdir -p real/webui x/y && {{ {DATABASE}; }} >real/state.db && echo 7 >real/webui.pid && ln -s /proc/1/environ real/.env && ln -s {0}/real x/y/absolute && ln -s y/../y/absolute x/around && ln -s loop loop && ln -s {0}/loop real/kanban.db && ln -s {0}/real/state.db real/memory_store.db && ln -s x/around link && cd /",
            inside.display()
        );
        let server = container(place, &inside, &line, &inside.join("link"));
        let examine = |injection: &[&str]| {
            let options: Vec<String> = injection.iter().map(|what| format!("inject=openat2:{what}")).collect();
            let options: Vec<&str> = options.iter().flat_map(|option| ["-e", option.as_str()]).collect();
            let (answer, trace) = traced(&place.doctor(&format!("check --json --pid {}", server.pid())), &options);
            let envelope = answer.json();
            let found = envelope["servers"][0].clone();
            let mut why = gaps(&envelope);
            why.sort();
            trace.assert_opened_by_place(&inside);
            ((databases(&found), found["pid_files"].clone(), found["logs"].clone(), why), trace)
        };
        let (expected, trace) = examine(&[]);
        assert_eq!(expected.0.len(), 1, "two names of one database: {expected:#?}");
        assert_eq!(expected.0[0].1, 4096);
        assert!(trace.of_doctor().any(|call| call.name == "openat2" && call.is_ok()), "openat2 is not used");
        let resolves = trace.of_doctor().any(|call| {
            call.name == "openat2"
                && call.arguments.contains("RESOLVE_IN_ROOT")
                && call.arguments.contains("RESOLVE_NO_MAGICLINKS")
        });
        assert!(resolves, "nothing is resolved in the root of the container");
        for injection in
            [&["error=ENOSYS"][..], &["error=EPERM"], &["error=EAGAIN:when=1..2"], &["error=EAGAIN:when=3+7"]]
        {
            let (found, trace) = examine(injection);
            assert!(trace.injected() > 0, "{injection:?}: nothing was injected");
            assert_eq!(found, expected, "{injection:?}");
        }
        // If the call never succeeds, there is a gap and no endless loop.
        let (found, trace) = examine(&["error=EAGAIN"]);
        assert!(trace.injected() < 2000, "{} attempts", trace.injected());
        assert_ne!(found.3, [], "nothing is said");
    });
}

/// Stacks need the program and the libraries of a process; they are opened with the rights of its owner too.
#[cfg(feature = "stacks")]
#[test]
fn programs_of_a_process_are_opened_as_its_owner() {
    isolated("programs_of_a_process_are_opened_as_its_owner", |place| {
        // Every user may run it, and only root may read it.
        let unreadable = place.path("python3.11");
        std::fs::copy(std::fs::canonicalize(PYTHON).unwrap(), &unreadable).unwrap();
        std::fs::set_permissions(&unreadable, std::fs::Permissions::from_mode(0o711)).unwrap();
        let home = place.directory("home", STRANGER);
        for (program, is_readable) in [(Path::new(PYTHON), true), (&unreadable, false)] {
            let with_script = place.server_command(STRANGER);
            let mut command = Command::new(program);
            command.args(with_script.get_args()).current_dir("/").stderr(Stdio::null());
            command.env_clear().env("HERMES_HOME", &home).env("PYTHONHOME", "/usr");
            as_user(&mut command, STRANGER);
            let server = start(&mut command);
            let pid = server.pid();
            let (answer, trace) = traced(&place.doctor(&format!("stacks --json --pid {pid} --budget 6s")), &[]);
            let envelope = answer.json();
            let groups = envelope["servers"][0]["stacks"]["groups"].as_array().map_or(0, Vec::len);
            assert_eq!(groups > 0, is_readable, "{envelope:#}");
            for (call, rights) in trace.with_rights().filter(|(call, _)| call.is_real_open() && call.is_ok()) {
                let opened = call.opened().unwrap_or_default();
                let is_program = opened == unreadable.to_str().unwrap() || opened.starts_with("/usr/bin/python3");
                assert!(!is_program || rights == STRANGER, "opened with the rights of uid {rights}: {call:#?}");
            }
            if !is_readable {
                trace.assert_never_opened(&unreadable);
                assert!(gaps(&envelope).iter().any(|gap| is_refused_to(STRANGER, gap)), "{envelope:#}");
            }
        }
    });
}

/// Tests the check itself: a foreign file may be opened with `O_PATH` and then through that descriptor, and in no
/// other way.
#[test]
fn openings_are_judged() {
    let head = "7 execve(\"/d/hermes-doctor\", [\"hermes-doctor\"], 0x7 /* 1 var */) = 0\n\
                7 clone3({flags=CLONE_VM|CLONE_VFORK, exit_signal=SIGCHLD}, 88 <unfinished ...>\n\
                8 execve(\"/proc/self/exe\", [\"hermes-doctor\"], 0x7 /* 0 vars */) = 0\n\
                7 <... clone3 resumed>) = 8\n";
    let place = |name: &str| {
        format!(
            "8 openat2(5</>, \"{name}\", {{flags=O_RDONLY|O_CLOEXEC|O_PATH, resolve=RESOLVE_IN_ROOT}}, 24) = 6</x/{name}>\n"
        )
    };
    let again = "8 openat(AT_FDCWD</>, \"/proc/self/fd/6\", O_RDONLY|O_NOCTTY|O_NONBLOCK|O_CLOEXEC) = 9</x/.env>\n";
    let judge = |calls: &str| {
        let trace = common::traced::Trace::parse(&format!("{head}{calls}"), "/d/hermes-doctor");
        assert_eq!((trace.main, trace.parents.get(&8)), (7, Some(&7)));
        assert!(trace.of_doctor().any(|call| call.process == 8), "the worker is the doctor's");
        std::panic::catch_unwind(|| trace.assert_opened_by_place(Path::new("/x"))).is_ok()
    };
    for harmless in [
        place("x/.env") + again,
        place("x/.env") + &again.replace("/proc/self/", "/proc/8/"),
        again.replace("9</x/.env>", "-1 EACCES (Permission denied)"),
        "8 openat(6</x/home>, \".\", O_RDONLY|O_DIRECTORY|O_CLOEXEC) = 9</x/home>\n".to_owned(),
        "8 openat(AT_FDCWD</>, \"/proc/12/root\", O_RDONLY|O_PATH) = 9</>\n".to_owned(),
        "8 openat(AT_FDCWD</>, \"/proc/12/status\", O_RDONLY) = 9</proc/12/status>\n".to_owned(),
        "8 openat(9</proc/12>, \"fd\", O_RDONLY|O_DIRECTORY) = 9</proc/12/fd>\n".to_owned(),
    ] {
        assert!(judge(&harmless), "{harmless}");
    }
    for harmful in [
        "8 openat(AT_FDCWD</>, \"/x/.env\", O_RDONLY|O_NONBLOCK|O_NOCTTY) = 9</x/.env>\n".to_owned(),
        "8 openat(AT_FDCWD</>, \"/x/.env\", O_RDONLY) = -1 EACCES (Permission denied)\n".to_owned(),
        "8 openat(6</x>, \".env\", O_RDONLY) = 9</x/.env>\n".to_owned(),
        "8 openat2(6</>, \"x/.env\", {flags=O_RDONLY, resolve=RESOLVE_IN_ROOT}, 24) = 9</x/.env>\n".to_owned(),
        "8 openat(AT_FDCWD</>, \"/proc/12/fd/1\", O_RDONLY|O_NONBLOCK|O_NOCTTY) = 9</x/log>\n".to_owned(),
        "8 openat(AT_FDCWD</>, \"/proc/12/root/y\", O_RDONLY|O_NONBLOCK|O_NOCTTY) = 9</y>\n".to_owned(),
        "8 openat(9</proc/12>, \"cwd/run\", O_RDONLY) = 9</y/run>\n".to_owned(),
        place("x/.env") + &again.replace("|O_NONBLOCK", ""),
        place("x/.env") + &again.replace("|O_NOCTTY", "").replace("O_NOCTTY|", ""),
        "7 openat(AT_FDCWD</>, \"/x/.env\", O_RDONLY <unfinished ...>\n8 exit_group(0) = ?\n7 <... openat resumed>) = 9</x/.env>\n"
            .to_owned(),
    ] {
        assert!(!judge(&harmful), "{harmful}");
    }
}
