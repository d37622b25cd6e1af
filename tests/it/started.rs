//! Programs that the doctor starts: which ones, by which path, and what they inherit.

use crate::common;

use common::other_user::{NEIGHBOUR, Place, STRANGER, give_all, isolated, mount};
use common::traced::traced;
use common::{Guard, run_with, skipped, wait_for};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Answer of `systemctl show` for a unit that has failed, with its log in the journal.
const FAILED: &str = "Id=x.service\nLoadState=loaded\nUnitFileState=enabled\nActiveState=failed\nSubState=failed\n\
Result=exit-code\nType=simple\nRestart=on-failure\nRestartUSec=100ms\nKillMode=control-group\nMainPID=0\nControlPID=0\n\
NRestarts=5\nExecMainCode=1\nExecMainStatus=1\nFragmentPath=\n\
ExecStart={ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 /srv/hermes-webui/server.py ; ignore_errors=no }\n";

/// Variables of the doctor that a program may inherit; all others are removed.
const VARIABLES: &[&str] = &["LC_ALL", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS"];

/// Directories in which the programs are.
const DIRECTORIES: &[&str] = &[
    "/usr/bin/",
    "/bin/",
    "/usr/local/bin/",
    "/usr/sbin/",
    "/sbin/",
    "/run/current-system/sw/bin/",
    "/run/current-system/systemd/bin/",
];

/// A server of root's in an ordinary home.
fn server(place: &Place) -> Guard {
    let home = place.directory("home", 0);
    std::fs::write(home.join("config.yaml"), "").unwrap();
    place.server(0, &home)
}

fn replace_both(place: &Place) -> bool {
    let line = "2026-01-01T00:00:00.000000+00:00 host python3[1]: ERROR boom\n";
    place.replace_tool("systemctl", "no", FAILED) && place.replace_tool("journalctl", "no", line)
}

/// Programs with these names come first on the path; each of them records that it ran.
fn stubs(place: &Place) -> (PathBuf, PathBuf) {
    let (directory, record) = (place.directory("path", STRANGER), place.path("ran"));
    std::fs::write(&record, "").unwrap();
    std::fs::set_permissions(&record, std::fs::Permissions::from_mode(0o666)).unwrap();
    for name in ["systemctl", "journalctl", "launchctl", "loginctl", "getent", "id", "ps", "sudo", "runuser", "sh"]
    {
        let stub = directory.join(name);
        std::fs::write(&stub, format!("#!/bin/bash\nenv >>{0}; echo \"$0\" >>{0}\n", record.display())).unwrap();
        std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    (directory, record)
}

/// A directory on the path can be another user's.
#[test]
fn programs_are_not_searched_on_the_path() {
    isolated("programs_are_not_searched_on_the_path", |place| {
        let server = server(place);
        let (stubs, record) = stubs(place);
        for arguments in [
            format!("check --pid {} --expect systemd:x.service", server.pid()),
            format!("check --pid {} --expect systemd-user:x.service", server.pid()),
            format!("lineage --port {}", server.port),
            format!("report --pid {}", server.pid()),
            "check".to_owned(),
            "check --format nagios".to_owned(),
        ] {
            let mut command = place.doctor(&arguments);
            command.env("PATH", format!("{}:/usr/bin:/bin", stubs.display())).env("SECRET", "of-root");
            let (_, trace) = traced(&command, &[]);
            assert_eq!(std::fs::read_to_string(&record).unwrap(), "", "{arguments}");
            let named = trace
                .calls
                .iter()
                .find(|call| call.quoted().is_some_and(|path| Path::new(path).starts_with(&stubs)));
            assert!(named.is_none(), "{arguments}: {named:#?}");
            for call in trace.calls.iter().filter(|call| call.name.starts_with("execve")) {
                let path = call.quoted().unwrap();
                let is_own = path == place.program().to_str().unwrap() || path.starts_with("/proc/");
                let is_fixed = DIRECTORIES.iter().any(|directory| path.starts_with(directory));
                assert!(is_own || is_fixed, "{arguments}: {call:#?}");
            }
        }
    });
}

/// Asserts that a program was given nothing of the doctor; `user` is the one that it runs as.
fn assert_given_nothing(start: &Value, user: u32, main: u32) {
    let mut variables: Vec<&str> =
        start["environment"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    variables.sort_unstable();
    let names: Vec<&str> = variables.iter().map(|variable| variable.split('=').next().unwrap()).collect();
    let others: Vec<&&str> = names.iter().filter(|name| !VARIABLES.contains(name)).collect();
    assert!(others.is_empty(), "variables {others:?}: {start:#}");
    assert!(variables.iter().any(|variable| matches!(*variable, "LC_ALL=C" | "LC_ALL=C.UTF-8")), "{variables:?}");
    if user != 0 {
        assert!(variables.contains(&format!("XDG_RUNTIME_DIR=/run/user/{user}").as_str()), "{variables:?}");
        let bus = format!("DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/{user}/bus");
        assert!(variables.contains(&bus.as_str()), "{variables:?}");
    }
    assert_eq!(start["session"], true, "it is in the session of the doctor: {start:#}");
    assert_eq!(start["terminal"], false, "it has the terminal: {start:#}");
    assert_eq!(start["directory"], "/", "{start:#}");
    let descriptors = start["descriptors"].as_object().unwrap();
    let inherited: Vec<_> =
        descriptors.iter().filter(|(number, _)| !matches!(number.as_str(), "0" | "1" | "2")).collect();
    assert!(inherited.is_empty(), "descriptors {inherited:?}");
    assert_eq!((&start["input_is_pipe"], &start["input"]), (&Value::Bool(true), &Value::from("")), "{start:#}");
    for number in ["0", "1", "2"] {
        let link = descriptors.get(number).and_then(Value::as_str).unwrap_or_default();
        let is_harmless =
            link.starts_with("pipe:") || link.starts_with("socket:") || number == "2" && link == "/dev/null";
        assert!(is_harmless, "descriptor {number} is {link}");
    }
    assert_ne!(start["parent"].as_u64(), Some(u64::from(main)), "the main process started it: {start:#}");
    let words: Vec<&str> = start["arguments"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let is_machine =
        |word: &&&str| word.starts_with("--machine") || word.starts_with("-M") || word.starts_with("--host");
    assert!(!words.iter().any(|word| is_machine(&word)), "{words:?}");
    let status = start["status"].to_string();
    for key in ["Uid", "Gid"] {
        let line = format!("{key}:\\t{user}\\t{user}\\t{user}\\t{user}");
        assert!(status.contains(&line), "{status}");
    }
}

/// Root's doctor starts both programs from a terminal, with its own variables, descriptors and directory.
#[test]
fn a_started_program_inherits_nothing_from_the_doctor() {
    isolated("a_started_program_inherits_nothing_from_the_doctor", |place| {
        let server = server(place);
        if !replace_both(place) {
            return skipped("a_started_program_inherits_nothing", "there is no systemctl or journalctl");
        }
        let secret = place.secret("root/secret", b"Canary-Passw0rd\n");
        let secret = std::fs::File::open(secret).unwrap();
        let output = place.path("output");
        // script(1) is a terminal; the shell leaves descriptors open.
        let line = format!(
            "exec 7</proc/self/fd/0 8>>{0} 9<{1}; exec {2} check --pid {3} --expect systemd:x.service >{0} 2>&1",
            output.display(),
            place.path("root/secret").display(),
            place.program().display(),
            server.pid()
        );
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(place.path("root"));
        command.env("SECRET", "of-root").env("SUDO_USER", "someone").env("LD_LIBRARY_PATH", "/nonexistent");
        command
            .env("SYSTEMD_PAGER", "evil")
            .env("SYSTEMD_LOG_LEVEL", "debug")
            .env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/x");
        command.stdin(secret).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_err() {
            return skipped("a_started_program_inherits_nothing", "it takes script(1) (Debian package bsdutils)");
        }
        let text = std::fs::read_to_string(&output).unwrap_or_default();
        for name in ["systemctl", "journalctl"] {
            let starts = place.tool_starts(name);
            assert!(!starts.is_empty(), "{name} was not started: {text}");
            for start in &starts {
                assert_given_nothing(start, 0, 0);
            }
        }
    });
}

/// The worker starts the program, and the doctor's calls show the order: first its own session, then the program.
#[test]
fn a_program_is_started_by_the_worker() {
    isolated("a_program_is_started_by_the_worker", |place| {
        let server = server(place);
        if !replace_both(place) {
            return skipped("a_program_is_started_by_the_worker", "there is no systemctl or journalctl");
        }
        let arguments = format!("check --json --pid {} --expect systemd:x.service", server.pid());
        let (answer, trace) = traced(&place.doctor(&arguments), &[]);
        let mut started = 0;
        for (at, call) in trace.calls.iter().enumerate() {
            let path = call.quoted().unwrap_or_default();
            if call.name != "execve" || !(path.ends_with("/systemctl") || path.ends_with("/journalctl")) {
                continue;
            }
            started += 1;
            let parent = trace.parents.get(&call.process).copied();
            assert!(parent.is_some_and(|parent| parent != trace.main), "started by the main process: {call:#?}");
            let worker = trace.calls.iter().find(|other| Some(other.process) == parent && other.name == "execve");
            assert!(
                worker.is_some_and(|worker| worker.quoted().is_some_and(|path| path.starts_with("/proc/"))),
                "the process that started it is no worker: {worker:#?}"
            );
            let has_session =
                trace.calls[..at].iter().any(|other| other.process == call.process && other.name == "setsid");
            assert!(has_session, "not in a session of its own before: {call:#?}");
        }
        assert!(started > 0, "{}", answer.stdout);
        let starts = [place.tool_starts("systemctl"), place.tool_starts("journalctl")].concat();
        for start in &starts {
            assert_given_nothing(start, 0, trace.main);
        }
    });
}

/// The visible parts of a user's manager: a process of that name with `--user`, and a unit in the home.
fn manager(place: &Place, user: u32) -> Guard {
    let home = place.directory("user", user);
    let units = place.directory("user/.config/systemd/user", user);
    let text = "[Service]\nExecStart=/usr/bin/python3 /srv/hermes-webui/server.py\n";
    std::fs::write(units.join("x.service"), text).unwrap();
    give_all(&home, user);
    place.accounts(&[format!("user:x:{user}:{user}::{}:/bin/sh", home.display()).as_bytes()]);
    place.titled(user, "/usr/lib/systemd/systemd", &["named", "systemd", "--user"], Path::new("/"))
}

/// Root queries the manager of another user as that user, without any group or capability of root.
#[test]
fn the_manager_of_a_user_is_queried_as_that_user() {
    isolated("the_manager_of_a_user_is_queried_as_that_user", |place| {
        if !replace_both(place) {
            return skipped("the_manager_of_a_user", "there is no systemctl or journalctl");
        }
        let server = server(place);
        let _manager = manager(place, NEIGHBOUR);
        // Groups of root's own are not to be passed on.
        let command = place.doctor(&format!("check --json --pid {}", server.pid()));
        let mut with_groups = Command::new("setpriv");
        with_groups.args(["--groups", "0,4,27,4242"]).arg(command.get_program()).args(command.get_args());
        with_groups.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).current_dir("/");
        let (answer, trace) = traced(&with_groups, &[]);
        let starts = place.tool_starts("systemctl");
        let of_user: Vec<&Value> =
            starts.iter().filter(|start| start["arguments"].to_string().contains("--user")).collect();
        assert!(!of_user.is_empty(), "the manager was not asked: {starts:#?} {}", answer.stdout);
        for start in of_user {
            assert_given_nothing(start, NEIGHBOUR, trace.main);
            let status = start["status"].as_array().unwrap();
            let line =
                |key: &str| status.iter().filter_map(Value::as_str).find(|line| line.starts_with(key)).unwrap();
            let groups = line("Groups").split_whitespace().skip(1).filter(|group| *group != "5000").count();
            assert_eq!(groups, 0, "{}", line("Groups"));
            for capabilities in ["CapPrm", "CapEff"] {
                assert!(line(capabilities).ends_with("\t0000000000000000"), "{}", line(capabilities));
            }
        }
        // All three are dropped before the program starts.
        let asked = trace.calls.iter().position(|call| {
            call.name == "execve" && call.arguments.contains("systemctl") && call.arguments.contains("--user")
        });
        let before = &trace.calls[..asked.unwrap()];
        let process = trace.calls[asked.unwrap()].process;
        let at = |name: &str| before.iter().position(|call| call.process == process && call.name.starts_with(name));
        let (groups, group, user) =
            (at("setgroups"), at("setresgid").or(at("setgid")), at("setresuid").or(at("setuid")));
        assert!(
            groups.is_some() && groups < user && group.is_some() && group < user,
            "{groups:?} {group:?} {user:?}"
        );
    });
}

/// A user queries their own manager, without any change of rights.
#[test]
fn a_user_queries_their_own_manager() {
    isolated("a_user_queries_their_own_manager", |place| {
        if !replace_both(place) {
            return skipped("a_user_queries_their_own_manager", "there is no systemctl or journalctl");
        }
        let home = place.directory("home", NEIGHBOUR);
        std::fs::write(home.join("config.yaml"), "").unwrap();
        let server = place.server(NEIGHBOUR, &home);
        let _manager = manager(place, NEIGHBOUR);
        let arguments = format!("check --json --pid {} --expect systemd-user:x.service", server.pid());
        let answer = run_with(&mut place.doctor_as(NEIGHBOUR, &arguments));
        let starts = place.tool_starts("systemctl");
        assert!(!starts.is_empty(), "{}", answer.stdout);
        for start in &starts {
            assert_given_nothing(start, NEIGHBOUR, 0);
        }
    });
}

/// Another user's manager answers only that user; an ordinary user's doctor starts nothing for it.
#[test]
fn a_user_does_not_query_the_manager_of_another_user() {
    isolated("a_user_does_not_query_the_manager_of_another_user", |place| {
        if !replace_both(place) {
            return skipped("a_user_does_not_query", "there is no systemctl or journalctl");
        }
        let _manager = manager(place, NEIGHBOUR);
        let _ = run_with(&mut place.doctor_as(STRANGER, "check --json"));
        let starts = place.tool_starts("systemctl");
        let of_user = starts.iter().find(|start| start["arguments"].to_string().contains("--user"));
        assert!(of_user.is_none(), "{of_user:#?}");
    });
}

/// NixOS has no programs in `/usr/bin`.
#[test]
fn programs_are_found_in_the_places_of_other_systems() {
    isolated("programs_are_found_in_the_places_of_other_systems", |place| {
        let server = server(place);
        let (upper, work) = (place.directory("bin-upper", 0), place.directory("bin-work", 0));
        let layers = format!("lowerdir=/usr/bin,upperdir={},workdir={}", upper.display(), work.display());
        mount(&["-t", "overlay", "-o", &layers, "bin"], Path::new("/usr/bin"));
        for path in ["/usr/bin/systemctl", "/usr/bin/journalctl", "/bin/systemctl", "/bin/journalctl"] {
            let _ = std::fs::remove_file(path);
            if Path::new(path).exists() {
                return skipped("places_of_other_systems", "/bin is another directory than /usr/bin");
            }
        }
        mount(&["-t", "tmpfs", "run"], Path::new("/run"));
        let programs = Path::new("/run/current-system/sw/bin");
        std::fs::create_dir_all(programs).unwrap();
        for name in ["systemctl", "journalctl"] {
            place.write_tool(&programs.join(name), name, "no", FAILED);
        }
        let arguments = format!("check --json --pid {} --expect systemd:x.service", server.pid());
        let (answer, trace) = traced(&place.doctor(&arguments), &[]);
        let starts = place.tool_starts("systemctl");
        assert!(!starts.is_empty(), "{}", answer.stdout);
        for start in &starts {
            assert_given_nothing(start, 0, trace.main);
        }
    });
}

/// All started programs have ended when the doctor has ended, even if they do not answer.
#[test]
fn no_program_is_left_when_the_doctor_has_ended() {
    isolated("no_program_is_left_when_the_doctor_has_ended", |place| {
        if !place.replace_tool("systemctl", "hung", "") {
            return skipped("no_program_is_left", "there is no systemctl");
        }
        let server = server(place);
        let arguments = format!("check --json --pid {} --expect systemd:x.service --budget 5s", server.pid());
        let answer = common::other_user::bounded(
            &mut place.doctor(&arguments),
            std::time::Duration::from_secs(12),
            &arguments,
        );
        assert_eq!(place.tool_starts("systemctl").len(), 1, "{}", answer.stdout);
        wait_for("the end of systemctl", || {
            let found = std::fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
                let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                String::from_utf8_lossy(&command).contains("/systemctl\0")
            });
            found.count() == 0
        });
    });
}
