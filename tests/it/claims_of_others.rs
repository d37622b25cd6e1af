//! Claims of another user count only for servers of that user: supervisors, files and filesystems of one user give
//! no facts about the servers of another user, take no time from them, and add no words to root's commands.

use crate::common;

use common::hung::{Fate, Hung};
use common::other_user::{NEIGHBOUR, PYTHON, Place, STRANGER, as_user, fifo, gaps, give, give_all, isolated, link};
use common::traced::traced;
use common::{Guard, run_with, skipped, start, wait_for};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A healthy server of a user, with a home of its own.
fn server(place: &Place, user: u32) -> (Guard, PathBuf) {
    let home = place.directory(&format!("home-{user}/.hermes"), user);
    give(home.parent().unwrap(), user);
    std::fs::write(home.join("config.yaml"), "").unwrap();
    give_all(&home, user);
    (place.server(user, &home), home)
}

/// The answer of `supervisor.getAllProcessInfo` with these members of one program each.
fn process_info(programs: &[&[(&str, &str)]]) -> Vec<u8> {
    let member = |(name, value): &(&str, &str)| {
        let kind = if value.parse::<u64>().is_ok() { "int" } else { "string" };
        format!("<member><name>{name}</name><value><{kind}>{value}</{kind}></value></member>")
    };
    let programs: String = programs
        .iter()
        .map(|members| {
            format!("<value><struct>{}</struct></value>", members.iter().map(member).collect::<String>())
        })
        .collect();
    let body = format!(
        "<?xml version='1.0'?><methodResponse><params><param><value><array><data>{programs}</data></array></value></param></params></methodResponse>"
    );
    format!("HTTP/1.0 200 OK\r\nContent-Type: text/xml\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        .into_bytes()
}

/// A process of the stranger that looks like a supervisord, is configured for one program, and returns these
/// responses.
fn supervisord(place: &Place, program: &str, answer: &[u8]) -> Guard {
    let directory = place.directory("supervisord", STRANGER);
    let (socket, record) = (directory.join("s.sock"), directory.join("record"));
    let text = format!("[unix_http_server]\nfile={}\n[program:webui]\n{program}\n", socket.display());
    std::fs::write(directory.join("supervisord.conf"), text).unwrap();
    std::fs::write(directory.join("answer"), answer).unwrap();
    give_all(&directory, STRANGER);
    let [socket, record] = [&socket, &record].map(|path| path.to_str().unwrap());
    let arguments = ["listen", socket, record, "answer", "-c", "supervisord.conf"];
    place.titled(STRANGER, "supervisord", &arguments, &directory)
}

fn steps(envelope: &Value) -> Vec<String> {
    let findings = envelope["servers"].as_array().unwrap().iter().flat_map(|server| {
        server["findings"].as_array().unwrap().iter().flat_map(|finding| finding["next"].as_array().unwrap())
    });
    findings.map(Value::to_string).collect()
}

/// It claims the neighbour's server in every state, by its port, by its home and by its pid.
#[test]
fn a_supervisor_claims_no_server_of_another_user() {
    isolated("a_supervisor_claims_no_server_of_another_user", |place| {
        let (server, home) = server(place, NEIGHBOUR);
        let pid = server.pid().to_string();
        let script = place.path("checkout-5000/hermes-webui/server.py");
        let program = format!(
            "command=python3 {}\nenvironment=HERMES_WEBUI_PORT=\"{}\",HERMES_HOME=\"{}\"",
            script.display(),
            server.port,
            home.display()
        );
        for (state, said) in [("RUNNING", pid.as_str()), ("RUNNING", "1"), ("BACKOFF", "0"), ("FATAL", "0")] {
            let answer = process_info(&[&[
                ("name", "webui"),
                ("group", "webui"),
                ("statename", state),
                ("pid", said),
                ("start", "1700000000"),
                ("now", "1700000001"),
            ]]);
            let _supervisor = supervisord(place, &program, &answer);
            for arguments in ["check --json".to_owned(), format!("check --json --port {}", server.port)] {
                let envelope = run_with(&mut place.doctor(&arguments)).json();
                let asked = std::fs::read(place.path("supervisord/record")).unwrap_or_default();
                assert!(!asked.is_empty(), "the supervisor was not asked");
                let servers = envelope["servers"].as_array().unwrap();
                let found = servers.iter().find(|found| found["pid"] == server.pid()).expect("the server");
                assert_eq!(found["status"], "healthy", "{state} {said}, {arguments}: {found:#}");
                assert!(!steps(&envelope).iter().any(|step| step.contains(&format!("kill {pid}"))), "{envelope:#}");
            }
        }
    });
}

/// The log of a program can have any name; in a command it is one word, or it is left out.
#[test]
fn no_text_of_a_supervisor_is_a_command() {
    isolated("no_text_of_a_supervisor_is_a_command", |place| {
        for log in ["journalctl -u x; touch /pwned #", "docker logs x; touch /pwned #", "/tmp/x; touch /pwned #"] {
            let answer = process_info(&[&[
                ("name", "webui"),
                ("group", "webui"),
                ("statename", "FATAL"),
                ("pid", "0"),
                ("start", "1700000000"),
                ("now", "1700000001"),
                ("stderr_logfile", log),
            ]]);
            let program = "command=/usr/bin/hermes dashboard --port 9555";
            let _supervisor = supervisord(place, program, &answer);
            let envelope = run_with(&mut place.doctor("check --json")).json();
            assert_eq!(envelope["servers"][0]["root_causes"][0], "supervisor-gave-up", "{envelope:#}");
            let steps = steps(&envelope);
            let naming: Vec<_> = steps.iter().filter(|step| step.contains("touch")).collect();
            let is_word = |step: &&String| step.contains("sudo -u '#4000' tail -n 100 '/tmp/x; touch /pwned #'");
            assert_eq!(!naming.is_empty(), log.starts_with('/'), "{naming:#?}");
            assert!(naming.iter().all(is_word), "{naming:#?}");
        }
    });
}

/// A service directory that is given with `--expect` belongs to its owner, and so do the commands for it.
#[test]
fn a_service_directory_that_is_named_belongs_to_its_owner() {
    isolated("a_service_directory_that_is_named_belongs_to_its_owner", |place| {
        let directory = place.directory("service", STRANGER);
        place.directory("service/supervise", STRANGER);
        // Down since 2002-02-02 and wanted up (runsv(8)).
        let status = b"\x40\0\0\0\x3c\x5b\x45\x0a\0\0\0\0\0\0\0\0\0u\0\0";
        std::fs::write(directory.join("supervise/status"), status).unwrap();
        std::fs::write(directory.join("run"), "#!/bin/sh\nexec /usr/bin/hermes dashboard --port 9555\n").unwrap();
        for owner in [STRANGER, 0] {
            give_all(&directory, owner);
            for (kind, command) in [("runit", "sv up"), ("s6", "s6-svc -u"), ("daemontools", "svc -u")] {
                let arguments = format!("check --json --expect {kind}:{}", directory.display());
                let answer = run_with(&mut place.doctor(&arguments));
                let steps = steps(&answer.json());
                let naming: Vec<_> = steps.iter().filter(|step| step.contains(command)).collect();
                assert!(kind != "runit" || !naming.is_empty(), "{kind}: {}", answer.stdout);
                for step in naming {
                    assert_eq!(step.contains(&format!("sudo -u '#4000' {command}")), owner == STRANGER, "{step}");
                }
            }
        }
    });
}

/// A file of one user names a port that a service of another user holds; the service is not a Hermes server.
#[test]
fn a_port_named_in_a_file_of_another_user_gets_no_request() {
    isolated("a_port_named_in_a_file_of_another_user_gets_no_request", |place| {
        let home = place.directory("home/.hermes", STRANGER);
        let account = format!("stranger:x:4000:4000::{}:/bin/sh", place.path("home").display());
        place.accounts(&[account.as_bytes()]);
        let record = place.path("record");
        std::fs::write(&record, "").unwrap();
        std::fs::set_permissions(&record, std::fs::Permissions::from_mode(0o666)).unwrap();
        let mut service = Command::new(PYTHON);
        let body = "import socket, sys\nl = socket.create_server(('127.0.0.1', 0))\n\
                    print('ready', l.getsockname()[1], flush=True)\n\
                    while True:\n  c, _ = l.accept()\n  open(sys.argv[1], 'ab').write(b'connected')\n  c.close()\n";
        service.args(["-c", body]).arg(&record).current_dir("/").env_clear();
        as_user(&mut service, NEIGHBOUR);
        let service = start(&mut service);
        for name in [".env", "webui.ctl.env"] {
            std::fs::write(home.join("config.yaml"), "").unwrap();
            std::fs::write(home.join(name), format!("HERMES_WEBUI_PORT={}\n", service.port)).unwrap();
            give_all(&home, STRANGER);
            let envelope = run_with(&mut place.doctor("check --json")).json();
            assert_eq!(std::fs::read_to_string(&record).unwrap(), "", "{name}: the service was asked");
            assert_eq!(envelope["servers"].as_array().unwrap().len(), 0, "{name}: {envelope:#}");
            if name == ".env" {
                let why = gaps(&envelope);
                assert!(why.iter().any(|gap| gap.0.contains(&format!("port {}", service.port))), "{why:#?}");
            }
            std::fs::remove_file(home.join(name)).unwrap();
        }
        // A file of the service's own user is enough.
        let account = format!("neighbour:x:5000:5000::{}:/bin/sh", place.path("home").display());
        place.accounts(&[account.as_bytes()]);
        std::fs::write(home.join(".env"), format!("HERMES_WEBUI_PORT={}\n", service.port)).unwrap();
        give_all(&place.path("home"), NEIGHBOUR);
        let envelope = run_with(&mut place.doctor("check --json")).json();
        assert_eq!(envelope["servers"][0]["port"], service.port, "{envelope:#}");
    });
}

/// The user that creates the file first could read the record of root's doctor, or supply false earlier records.
#[test]
fn a_record_of_another_user_is_refused() {
    isolated("a_record_of_another_user_is_refused", |place| {
        let (_server, _) = server(place, NEIGHBOUR);
        let shared = place.directory("shared", 0);
        std::fs::set_permissions(&shared, std::fs::Permissions::from_mode(0o1777)).unwrap();
        let record = shared.join("watch.jsonl");
        for (owner, mode, why) in
            [(STRANGER, 0o644, "belongs to uid 4000"), (0, 0o666, "is writable by every user")]
        {
            for name in ["watch.jsonl", "watch.jsonl.1"] {
                let file = shared.join(name);
                std::fs::write(&file, "").unwrap();
                give(&file, owner);
                std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
                let arguments = format!("watch --samples 1 --record {}", record.display());
                let answer = run_with(&mut place.doctor(&arguments));
                assert_eq!(std::fs::read_to_string(&file).unwrap(), "", "{name}");
                assert_ne!(answer.exit, 0, "{name}: {}", answer.stdout);
                assert!(answer.stderr.contains(&format!("{name} {why}")), "{name}: {}", answer.stderr);
                assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
                std::fs::remove_file(&file).unwrap();
            }
        }
    });
}

/// A filesystem of the stranger reports root as the owner of its directories and links.
#[test]
fn a_filesystem_of_a_user_does_not_say_whose_it_is() {
    isolated("a_filesystem_of_a_user_does_not_say_whose_it_is", |place| {
        if !Path::new("/dev/fuse").exists() {
            return skipped("a_filesystem_of_a_user", "there is no /dev/fuse");
        }
        let home = place.directory("home", STRANGER);
        place.accounts(&[format!("stranger:x:4000:4000::{}:/bin/sh", home.display()).as_bytes()]);
        let secret = place.secret("root/secret", b"HERMES_WEBUI_PORT=Canary-Passw0rd");
        let mut filesystem = Command::new(PYTHON);
        filesystem.arg(place.script("lying_fuse.py")).arg(&home).stderr(Stdio::null());
        filesystem.args(["webui.ctl.env", secret.to_str().unwrap(), "webui.pid", secret.to_str().unwrap()]);
        let own = place.directory("own", 0);
        filesystem.args(["state.db", secret.to_str().unwrap(), "away", own.to_str().unwrap()]);
        let _filesystem = start(&mut filesystem);
        for arguments in ["check --json".to_owned(), format!("db --json --home {}/.hermes", home.display())] {
            let (answer, trace) = traced(&place.doctor(&arguments), &[]);
            trace.assert_never_opened(&secret);
            assert!(answer.stdout.contains("uid 4000"), "{arguments}: {}", answer.stdout);
        }
        // It does not redirect the output of root's doctor either.
        let away = home.join(".hermes/away");
        let (server, _) = server(place, NEIGHBOUR);
        for arguments in [
            format!("report --yes --port {} --output {}/x.json", server.port, away.display()),
            format!("watch --port {} --samples 1 --record {}/record", server.port, away.display()),
        ] {
            let answer = run_with(&mut place.doctor(&arguments));
            assert_eq!(answer.exit, 3, "{arguments}: {} {}", answer.stdout, answer.stderr);
            let said = "it is on a FUSE filesystem mounted by uid 4000";
            assert!(answer.stderr.contains(said), "{arguments}: {}", answer.stderr);
            assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0, "{arguments}");
        }
    });
}

/// A set-user-id program of root, started by the stranger, listens in place of the stranger's supervisor.
#[test]
fn borrowed_rights_do_not_make_a_peer() {
    isolated("borrowed_rights_do_not_make_a_peer", |place| {
        let python = place.path("python3");
        std::fs::copy(std::fs::canonicalize(PYTHON).unwrap(), &python).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let directory = place.directory("evil", STRANGER);
        let (socket, record) = (directory.join("s.sock"), directory.join("record"));
        let text = format!("[unix_http_server]\nfile={}\nusername=a\npassword=b\n", socket.display());
        std::fs::write(directory.join("supervisord.conf"), text).unwrap();
        give_all(&directory, STRANGER);
        let mut command = Command::new(&python);
        command.arg0("supervisord").arg(place.script("other_user.py"));
        command.arg("listen").arg(&socket).arg(&record).args(["none", "-c", "supervisord.conf"]);
        command.current_dir(&directory).env_clear().env("PATH", "/usr/bin:/bin").stderr(Stdio::null());
        command.env("PYTHONHOME", "/usr");
        as_user(&mut command, STRANGER);
        let supervisor = start(&mut command);
        let status = std::fs::read_to_string(format!("/proc/{}/status", supervisor.pid())).unwrap();
        assert!(status.contains("Uid:\t4000\t0\t0\t0"), "it has no borrowed rights: {status}");
        let (server, _) = server(place, NEIGHBOUR);
        let envelope = run_with(&mut place.doctor(&format!("lineage --json --pid {}", server.pid()))).json();
        let got = std::fs::read_to_string(&record).unwrap_or_default();
        assert!(!got.contains("POST"), "{got}");
        assert!(gaps(&envelope).iter().any(|gap| format!("{gap:?}").contains("supervisord")), "{envelope:#}");
    });
}

/// Forty processes of the stranger look like servers, and two supervisors of the stranger never answer.
#[test]
fn many_of_one_user_take_no_time_from_another() {
    isolated("many_of_one_user_take_no_time_from_another", |place| {
        // A script called `gateway`, by a shell that is called `hermes`.
        let scripts = place.directory("scripts", STRANGER);
        fifo(&scripts.join("never"));
        std::fs::write(scripts.join("gateway"), "echo ready 1; read line < never\n").unwrap();
        let many: Vec<Guard> = (0..40)
            .map(|index| {
                let mut command = Command::new("/bin/sh");
                command.arg0("hermes").args(["gateway", "run"]).current_dir(&scripts).env_clear();
                command.env("HERMES_HOME", place.path(&format!("home-{index}"))).stderr(Stdio::null());
                as_user(&mut command, STRANGER);
                start(&mut command)
            })
            .collect();
        let silent: Vec<Guard> = (0..4)
            .map(|index| {
                let directory = place.directory(&format!("silent-{index}"), STRANGER);
                let socket = directory.join("s.sock");
                let text = format!("[unix_http_server]\nfile={}\n", socket.display());
                std::fs::write(directory.join("supervisord.conf"), text).unwrap();
                let body = "import socket, sys, signal\nl = socket.socket(socket.AF_UNIX)\nl.bind(sys.argv[1])\n\
                            l.listen(8)\nprint('ready 1', flush=True)\nsignal.pause()\n";
                let mut command = Command::new(PYTHON);
                command.arg0("supervisord").args(["-c", body]).arg(&socket).args(["-c", "supervisord.conf"]);
                command.current_dir(&directory).env_clear().stderr(Stdio::null());
                as_user(&mut command, STRANGER);
                start(&mut command)
            })
            .collect();
        let (server, _) = server(place, NEIGHBOUR);
        let envelope = run_with(&mut place.doctor("check --json")).json();
        let servers = envelope["servers"].as_array().unwrap();
        let at = servers.iter().position(|found| found["pid"] == server.pid()).expect("the server");
        assert!(at <= 1, "it is number {at} of {}", servers.len());
        assert_eq!(servers[at]["status"], "healthy", "{:#}", servers[at]);
        let why = gaps(&envelope);
        let is_silent = |gap: &(String, String, String)| gap.0.contains("claims of 4 supervisors");
        assert!(gaps(&servers[at]).iter().any(is_silent) || why.iter().any(is_silent), "{:#}", servers[at]);
        let is_left = |gap: &(String, String, String)| gap.0.contains("8 more processes of uid 4000");
        assert!(servers.len() <= 33 && why.iter().any(is_left), "{} {why:#?}", servers.len());
        drop((many, silent));
    });
}

/// A lock table that a user has made longer than the size limit.
#[test]
fn a_table_of_locks_without_end_is_a_gap() {
    isolated("a_table_of_locks_without_end_is_a_gap", |place| {
        let body = "import fcntl, sys, signal\nfiles = [open(f'{sys.argv[1]}/{n}', 'w') for n in range(200)]\n\
                    for file in files:\n  for byte in range(500):\n    fcntl.lockf(file, fcntl.LOCK_EX, 1, byte * 2)\n\
                    print('ready 1', flush=True)\nsignal.pause()\n";
        let mut command = Command::new(PYTHON);
        command.args(["-c", body]).arg(place.directory("locked", STRANGER)).env_clear();
        as_user(&mut command, STRANGER);
        let _locks = start(&mut command);
        let home = place.directory("home/.hermes", NEIGHBOUR);
        let made =
            "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('create table t(x)')\nc.close()";
        assert!(Command::new(PYTHON).args(["-c", made]).arg(home.join("state.db")).status().unwrap().success());
        let arguments = format!("db --json --file {}", home.join("state.db").display());
        let answer = run_with(&mut place.doctor(&arguments));
        let why = gaps(&answer.json());
        // On a busy host even the locks up to the limit can take too long.
        let is_it = |gap: &(String, String, String)| {
            gap.0 == "/proc/locks" && (gap.2.contains("larger than the size limit") || gap.1 == "timeout")
        };
        assert!(why.iter().any(is_it), "{why:#?}");
    });
}

/// The table of mappings writes a newline in a name as `\012`; a pipe has these four characters in its own name.
#[test]
fn a_mapped_name_that_is_ambiguous_is_not_opened() {
    isolated("a_mapped_name_that_is_ambiguous_is_not_opened", |place| {
        let (one, other) = (place.directory("a\nb", STRANGER), place.directory("a\\012b", STRANGER));
        std::fs::copy("/bin/true", one.join("libpython3.11.so.1.0")).unwrap();
        give_all(&one, STRANGER);
        let pipe = other.join("libpython3.11.so.1.0");
        fifo(&pipe);
        give(&pipe, STRANGER);
        let body = "import mmap, os, signal, sys\nf = os.open(sys.argv[1], os.O_RDONLY)\n\
                    m = mmap.mmap(f, 0, prot=mmap.PROT_READ | mmap.PROT_EXEC, flags=mmap.MAP_PRIVATE)\n\
                    print('ready 1', flush=True)\nsignal.pause()\n";
        let mut command = Command::new(PYTHON);
        command.args(["-c", body]).arg(one.join("libpython3.11.so.1.0")).env_clear();
        as_user(&mut command, STRANGER);
        let process = start(&mut command);
        let (answer, trace) = traced(&place.doctor(&format!("stacks --json --pid {}", process.pid())), &[]);
        trace.assert_never_opened(&pipe);
        assert!(answer.stdout.contains("its name is ambiguous"), "{}", answer.stdout);
    });
}

/// Three hundred processes of the stranger have 65,000 arguments each.
#[test]
fn long_command_lines_take_little_memory() {
    isolated("long_command_lines_take_little_memory", |place| {
        let body = "import os, signal, sys\nfor _ in range(300):\n  if os.fork() == 0:\n    os.setsid()\n    \
                    os.execve('/bin/sh', ['a', '-c', 'read line < never', *['a'] * 65000], {})\n\
                    print('ready 1', flush=True)\nsignal.pause()\n";
        let directory = place.directory("many", STRANGER);
        fifo(&directory.join("never"));
        let mut command = Command::new(PYTHON);
        command.args(["-c", body]).current_dir(&directory).env_clear();
        as_user(&mut command, STRANGER);
        let _many = start(&mut command);
        let (server, _) = server(place, NEIGHBOUR);
        let mut bounded = Command::new("/bin/sh");
        let line =
            format!("ulimit -v 1000000; exec {} check --json --port {}", place.program().display(), server.port);
        bounded.args(["-c", &line]).current_dir("/").env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
        let answer = run_with(&mut bounded);
        assert_eq!(answer.exit, 0, "{} {}", answer.stdout, answer.stderr);
        assert_eq!(answer.json()["servers"][0]["status"], "healthy", "{}", answer.stdout);
    });
}

/// Eight servers of the stranger have homes that do not answer.
#[test]
fn homes_of_one_user_that_hang_leave_time_for_others() {
    isolated("homes_of_one_user_that_hang_leave_time_for_others", |place| {
        let directory = place.directory("hung", STRANGER);
        let Some(mut hung) = Hung::serving(&directory, Fate::Unanswered, Path::new("/bin/sleep")) else {
            return skipped("homes_of_one_user_that_hang", "it takes /dev/fuse");
        };
        let strangers: Vec<Guard> =
            (0..8).map(|index| place.server(STRANGER, &directory.join(format!("home-{index}")))).collect();
        hung.hang();
        let (server, _) = server(place, NEIGHBOUR);
        let envelope = run_with(&mut place.doctor("check --json")).json();
        let servers = envelope["servers"].as_array().unwrap();
        let found = servers.iter().find(|found| found["pid"] == server.pid()).expect("the server");
        assert_eq!(found["status"], "healthy", "{found:#}");
        let said = "3 reads of files and processes of uid 4000 have not been answered";
        assert!(envelope.to_string().contains(said), "{envelope:#}");
        drop(strangers);
    });
}

/// The server of the neighbour in an answer.
fn neighbour<'a>(envelope: &'a Value, server: &Guard) -> &'a Value {
    let servers = envelope["servers"].as_array().unwrap();
    servers.iter().find(|found| found["pid"] == server.pid()).unwrap_or_else(|| panic!("no server: {envelope:#}"))
}

/// Processes of the stranger are held in execve(2) for ever; on newer kernels a read of their `stat` blocks.
#[test]
fn processes_that_are_held_up_in_execve_hold_up_no_examination() {
    isolated("processes_that_are_held_up_in_execve_hold_up_no_examination", |place| {
        let directory = place.directory("unflushed", 0);
        let Some(_hung) = Hung::serving(&directory, Fate::Unflushed, Path::new("/bin/sleep")) else {
            return skipped("processes_that_are_held_up", "it takes /dev/fuse");
        };
        let mut held_up = Command::new(PYTHON);
        held_up.arg(place.script("held_up.py")).arg(STRANGER.to_string()).arg(directory.join("file")).arg("6");
        let _held_up = start(&mut held_up);
        let (server, _) = server(place, NEIGHBOUR);
        for arguments in ["check --json".to_owned(), format!("check --json --pid {}", server.pid())] {
            let envelope = run_with(&mut place.doctor(&arguments)).json();
            assert_eq!(neighbour(&envelope, &server)["status"], "healthy", "{envelope:#}");
        }
        let mut watch = place.doctor("watch --samples 3 --every 100ms --port");
        watch.arg(server.port.to_string()).arg("--record").arg(place.path("record"));
        let answer = run_with(&mut watch);
        assert_eq!(answer.exit, 0, "{} {}", answer.stdout, answer.stderr);
    });
}

/// Processes of the stranger look like servers and have many descriptors on a long path: reading all of them takes
/// longer than an examination.
#[test]
fn descriptors_of_one_user_leave_time_for_others() {
    isolated("descriptors_of_one_user_leave_time_for_others", |place| {
        let (server, _) = server(place, NEIGHBOUR);
        let directory = place.directory("deep", STRANGER);
        let mut holders = Command::new(PYTHON);
        holders.arg(place.script("many_descriptors.py")).arg(STRANGER.to_string()).args(["200", "19000"]);
        let _holders = start(holders.current_dir(&directory));
        let envelope = run_with(&mut place.doctor(&format!("check --json --port {}", server.port))).json();
        let found = neighbour(&envelope, &server);
        assert_eq!(found["status"], "healthy", "{envelope:#}");
        let holders = &found["listeners"]["sockets"][0]["holders"];
        assert_eq!(*holders, serde_json::json!([server.pid()]), "{found:#}");
    });
}

/// Homes of the stranger hang, and each examination finds new ones: workers wait for them from one examination to
/// the next.
#[test]
fn homes_that_hang_anew_do_not_make_watch_blind() {
    isolated("homes_that_hang_anew_do_not_make_watch_blind", |place| {
        let directory = place.directory("hung", STRANGER);
        let Some(mut hung) = Hung::serving(&directory, Fate::Unanswered, Path::new("/bin/sleep")) else {
            return skipped("homes_that_hang_anew", "it takes /dev/fuse");
        };
        hung.hang();
        let (server, _) = server(place, NEIGHBOUR);
        let record = place.path("record");
        let mut watch = place.doctor("watch --samples 40 --every 100ms --json --record");
        let mut watch = watch.arg(&record).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let read = || std::fs::read_to_string(&record).unwrap_or_default();
        let of_server = |text: &str| text.matches(&format!("\"pid\":{},", server.pid())).count();
        let (mut homes, mut seen) = (0, 0);
        let mut strangers: Vec<Guard> = Vec::new();
        while watch.try_wait().unwrap().is_none() {
            homes += 4;
            let start = |home| place.server(STRANGER, &directory.join(format!("home-{home}")));
            strangers = (homes - 4..homes).map(start).collect();
            wait_for("the next examination", || {
                of_server(&read()) > seen + 1 || watch.try_wait().unwrap().is_some()
            });
            seen = of_server(&read());
        }
        drop(strangers);
        let text = read();
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let of_neighbour: Vec<Value> = records.filter(|record| record["pid"] == server.pid()).collect();
        assert_eq!(of_neighbour.len(), 40, "{text}");
        assert!(of_neighbour.iter().all(|record| record["status"] == "healthy"), "{of_neighbour:#?}");
    });
}

/// Root's output is not written through a link of the stranger.
#[test]
fn links_of_another_user_lead_no_output_away() {
    isolated("links_of_another_user_lead_no_output_away", |place| {
        let (server, _) = server(place, NEIGHBOUR);
        let (own, kept) = (place.directory("own", 0), place.directory("kept", 0));
        let record = kept.join("record");
        let watch = format!("watch --port {} --samples 1 --record {}", server.port, record.display());
        assert_eq!(run_with(&mut place.doctor(&watch)).exit, 0);
        let directory = place.directory("theirs", STRANGER);
        link(&own, &directory.join("link"), STRANGER);
        // Also a link that root has created there, because the stranger can replace it.
        std::os::unix::fs::symlink(&own, directory.join("of-root")).unwrap();
        for name in ["link", "of-root"] {
            let (port, place_of) = (server.port, directory.join(name).display().to_string());
            for arguments in [
                format!("report --port {port} --yes --output {place_of}/x.json"),
                format!("report --port {port} --yes --force --output {place_of}/./x.json"),
                format!("watch --port {port} --samples 1 --record {place_of}/record"),
                format!("history {} --svg {place_of}/x.svg", record.display()),
                format!("check --port {port} --format openmetrics --output {place_of}/x.prom"),
                format!("man --directory {place_of}/pages"),
            ] {
                let answer = run_with(&mut place.doctor(&arguments));
                assert_eq!(answer.exit, 3, "{arguments}: {} {}", answer.stdout, answer.stderr);
                assert!(answer.stderr.contains("is not followed"), "{arguments}: {}", answer.stderr);
                assert_eq!(std::fs::read_dir(&own).unwrap().count(), 0, "{arguments}");
            }
        }
        // In a directory of the stranger without a link it is written, and a link of root's own is followed.
        std::os::unix::fs::symlink(&own, kept.join("link")).unwrap();
        for file in [directory.join("x.json"), kept.join("link/x.json")] {
            let arguments = format!("report --port {} --yes --output {}", server.port, file.display());
            assert_eq!(run_with(&mut place.doctor(&arguments)).exit, 0);
            assert!(file.exists());
        }
    });
}

/// A configuration of the stranger includes files by three thousand patterns.
#[test]
fn included_files_without_end_are_a_gap() {
    isolated("included_files_without_end_are_a_gap", |place| {
        let answer =
            process_info(&[&[("name", "webui"), ("group", "webui"), ("statename", "RUNNING"), ("pid", "1")]]);
        let patterns: String = (0..3000).map(|number| format!(" included/{number}*.conf")).collect();
        let _supervisor = supervisord(place, &format!("command=/bin/true\n[include]\nfiles ={patterns}"), &answer);
        place.directory("supervisord/included", STRANGER);
        let (server, _) = server(place, NEIGHBOUR);
        let envelope = run_with(&mut place.doctor(&format!("check --json --port {}", server.port))).json();
        assert_eq!(envelope["servers"][0]["status"], "healthy", "{envelope:#}");
        assert!(envelope.to_string().contains("more than 256 are not read"), "{envelope:#}");
    });
}

/// A server of root has its home in a directory of the stranger, where a link leads to a file of root.
#[test]
fn a_home_of_root_in_a_directory_of_another_user_is_read_as_that_user() {
    isolated("a_home_of_root_in_a_directory_of_another_user_is_read_as_that_user", |place| {
        let secret = place.secret_of("root/state.db", &[b"SQLite format 3\0".to_vec(), vec![0; 8176]].concat());
        let home = place.directory("user/.hermes", STRANGER);
        give(home.parent().unwrap(), STRANGER);
        std::fs::write(home.join("config.yaml"), "").unwrap();
        give_all(&home, STRANGER);
        for name in ["state.db", "kanban.db", "webui.ctl.env"] {
            link(&secret, &home.join(name), STRANGER);
        }
        let server = place.server(0, &home);
        for view in ["check", "db", "report"] {
            let (answer, trace) = traced(&place.doctor(&format!("{view} --pid {}", server.pid())), &[]);
            trace.assert_never_opened(&secret);
            assert!((0..=3).contains(&answer.exit), "{view}: {}", answer.stderr);
        }
    });
}

/// With `no_setuid_fixup` the kernel keeps root's capabilities over files when the filesystem user changes.
#[test]
fn capabilities_that_stay_are_refused() {
    isolated("capabilities_that_stay_are_refused", |place| {
        let home = place.directory("user/.hermes", STRANGER);
        give(home.parent().unwrap(), STRANGER);
        place.accounts(&[format!("stranger:x:4000:4000::{}:/bin/sh", place.path("user").display()).as_bytes()]);
        let secret = place.secret("root/secret", b"HERMES_WEBUI_PORT=8787");
        std::fs::write(home.join("config.yaml"), "").unwrap();
        give_all(&home, STRANGER);
        link(&secret, &home.join("webui.ctl.env"), STRANGER);
        let doctor = place.doctor("check --json");
        let mut kept = Command::new("setpriv");
        kept.arg("--securebits=+no_setuid_fixup").arg(doctor.get_program()).args(doctor.get_args());
        kept.envs(doctor.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
        let (answer, trace) = traced(&kept, &[]);
        trace.assert_never_opened(&secret);
        assert!(answer.stdout.contains("uid 4000"), "{}", answer.stdout);
    });
}
