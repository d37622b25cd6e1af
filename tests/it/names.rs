//! Names are bytes: objects with any name are examined and printed safely, and everything that could not be read is
//! reported.

use crate::common;

use common::hung::{Fate, Hung};
use common::other_user::{NEIGHBOUR, PYTHON, Place, STRANGER, bounded, gaps, give, give_all, isolated};
use common::{Answer, Guard, run_with, skipped, tool, wait_for};
use serde_json::Value;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Names of one directory, two of which look alike when they are printed.
const NAMES: &[&[u8]] = &[
    b"plain",
    b"caf\xe9",
    b"caf\\xe9",
    b"tab\tx",
    b"tab\\tx",
    b"new\nline",
    b"zero\xe2\x80\x8bwidth",
    b"left\xe2\x80\xaeright",
    b"\x1b[31mred\x1b[0m",
    b"c1\xc2\x9b31m",
    b"-json",
    b" spaces ",
    b"quotes\"'`$(x);&",
    b"%s%n%00",
    b"back\\slash\\",
    b"...",
    b"\xff\xfe\xfd",
    b"(deleted)",
    b"state.db (deleted)",
    b"\xef\xbf\xbd",
];

fn named(place: &Path, name: &[u8]) -> PathBuf {
    place.join(OsStr::from_bytes(name))
}

/// A database with a unique size; returns the size.
fn database(path: &Path, index: usize) -> u64 {
    let scratch = tempfile::tempdir_in("/tmp").unwrap();
    let made = scratch.path().join("made.db");
    let connection = rusqlite::Connection::open(&made).unwrap();
    let blob = 4096 * (index + 1);
    connection.execute_batch(&format!("CREATE TABLE t (a); INSERT INTO t VALUES (zeroblob({blob}))")).unwrap();
    drop(connection);
    std::fs::copy(&made, path).unwrap();
    std::fs::metadata(path).unwrap().len()
}

/// A home of a user under a name, with a log and a database; the size of the database is returned.
fn home(path: &Path, index: usize, owner: u32) -> u64 {
    std::fs::create_dir_all(path).unwrap();
    std::fs::write(path.join("config.yaml"), "").unwrap();
    std::fs::write(path.join("webui.log"), "2026-01-01 00:00:00,000 ERROR root: boom\n").unwrap();
    let size = database(&path.join("state.db"), index);
    give_all(path, owner);
    size
}

fn assert_printable(answer: &Answer, context: &str) {
    for output in [&answer.stdout, &answer.stderr] {
        let stray = output.split('\n').find(|line| !hermes_doctor::model::text::is_printable(line));
        assert_eq!(stray, None, "{context}");
    }
}

fn sizes(server: &Value) -> Vec<u64> {
    let found = server["databases"].as_array().cloned().unwrap_or_default();
    let mut sizes: Vec<u64> = found.iter().filter_map(|one| one["size_bytes"].as_u64()).collect();
    sizes.sort_unstable();
    sizes
}

/// All at the same time: each server is found with its own home, not with another home that looks the same.
#[test]
fn homes_of_any_name_are_examined() {
    isolated("homes_of_any_name_are_examined", |place| {
        for owner in [0, NEIGHBOUR] {
            let root = place.directory(&format!("homes-{owner}"), owner);
            let servers: Vec<(Guard, u64, &[u8])> = NAMES
                .iter()
                .enumerate()
                .map(|(index, name)| {
                    let path = named(&root, name);
                    let size = home(&path, index, owner);
                    (place.server(owner, &path), size, *name)
                })
                .collect();
            let answer = run_with(&mut place.doctor("check --json --budget 30s"));
            assert_printable(&answer, "check --json");
            let envelope = answer.json();
            let found: HashMap<u64, &Value> = envelope["servers"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(|server| Some((server["pid"].as_u64()?, server)))
                .collect();
            for (server, size, name) in &servers {
                let shown = String::from_utf8_lossy(name);
                let found =
                    found.get(&u64::from(server.pid())).unwrap_or_else(|| panic!("{shown:?} was not found"));
                assert_eq!(sizes(found), [*size], "{shown:?} of uid {owner}: {found:#}");
                let logs = found["logs"].as_array().map_or(0, Vec::len);
                assert_eq!(logs, 1, "{shown:?} of uid {owner}: {found:#}");
                assert_eq!(gaps(found), [], "{shown:?} of uid {owner}");
                for view in ["check --verbose", "report", "lineage", "fds"] {
                    let answer = run_with(&mut place.doctor(&format!("{view} --pid {}", server.pid())));
                    assert_printable(&answer, view);
                }
            }
        }
    });
}

/// The same if the user gives the home, or a database in it.
#[test]
fn homes_and_databases_of_any_name_can_be_named() {
    isolated("homes_and_databases_of_any_name_can_be_named", |place| {
        let root = place.directory("homes", 0);
        for (index, name) in NAMES.iter().enumerate() {
            let path = named(&root, name);
            let size = home(&path, index, 0);
            let shown = String::from_utf8_lossy(name);
            let argument = |path: &Path| {
                let mut argument = std::ffi::OsString::from("--home=");
                argument.push(path);
                argument
            };
            let answer = run_with(place.doctor("db --json").arg(argument(&path)));
            assert_printable(&answer, "db --json");
            assert_eq!(
                sizes(&answer.json()["servers"][0]),
                [size],
                "{shown:?}: {} {}",
                answer.stdout,
                answer.stderr
            );
            // A database can have any name too.
            let mut file = path.join(OsStr::from_bytes(name)).into_os_string();
            file.push(".db");
            let size = database(Path::new(&file), index + 40);
            let mut argument = std::ffi::OsString::from("--file=");
            argument.push(&file);
            let answer = run_with(place.doctor("db --json").arg(argument));
            assert_printable(&answer, "db --json --file");
            let text = &answer.stdout;
            assert!(text.contains(&format!("\"size_bytes\": {size}")), "{shown:?}: {text} {}", answer.stderr);
        }
    });
}

#[test]
fn profiles_and_boards_of_any_name_are_examined() {
    isolated("profiles_and_boards_of_any_name_are_examined", |place| {
        let root = place.directory("home", 0);
        let mut expected = vec![home(&root, 0, 0)];
        for (index, name) in NAMES.iter().enumerate() {
            expected.push(home(&named(&root.join("profiles"), name), index + 1, 0));
            let board = named(&root.join("kanban/boards"), name);
            std::fs::create_dir_all(&board).unwrap();
            expected.push(database(&board.join("kanban.db"), index + 41));
        }
        expected.sort_unstable();
        let answer = run_with(&mut place.doctor(&format!("db --json --budget 30s --home {}", root.display())));
        assert_printable(&answer, "db --json");
        let envelope = answer.json();
        let mut found: Vec<u64> = envelope["servers"].as_array().unwrap().iter().flat_map(sizes).collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{:#?}", gaps(&envelope));
        // A database with such a name that a process has open is found by its descriptors.
        for name in NAMES {
            let directory = named(&root.join("open"), name);
            std::fs::create_dir_all(&directory).unwrap();
            let size = database(&directory.join("x.db"), 90);
            let script = place.directory("checkout/hermes-webui", 0).join("server.py");
            let text = "import sys\nfiles = [open(name, 'r+b') for name in sys.argv[1:]]\nprint('ready 1', flush=True)\nimport time\ntime.sleep(600)\n";
            std::fs::write(&script, text).unwrap();
            let mut command = Command::new(PYTHON);
            command.arg(&script).arg(directory.join("x.db")).current_dir("/").stderr(Stdio::null());
            let server = common::start(command.env("HERMES_HOME", place.path("none")));
            let answer = run_with(&mut place.doctor(&format!("check --json --pid {}", server.pid())));
            let found = answer.json()["servers"][0].clone();
            assert_eq!(sizes(&found), [size], "{:?}: {found:#}", String::from_utf8_lossy(name));
        }
    });
}

/// Names of units contain escapes (systemd.unit(5)), which are kept. A name that systemd does not allow is not
/// converted to one that it allows.
#[test]
fn units_are_queried_by_their_exact_names() {
    isolated("units_are_queried_by_their_exact_names", |place| {
        if !place.replace_tool("systemctl", "no", "") {
            return skipped("units_are_queried", "there is no systemctl");
        }
        let user = place.directory("user", NEIGHBOUR);
        let units = place.directory("user/.config/systemd/user", NEIGHBOUR);
        let names: &[&[u8]] = &[b"hermes\\x2dwebui.service", b"hermes-webui@a\\x20b.service", b"hermes:1.service"];
        for name in names.iter().chain(&[&b"hermes\xe9.service"[..]]) {
            let text = "[Service]\nExecStart=/usr/bin/python3 /srv/hermes-webui/server.py\n";
            std::fs::write(named(&units, name), text).unwrap();
        }
        give_all(&user, NEIGHBOUR);
        place.accounts(&[format!("user:x:5000:5000::{}:/bin/sh", user.display()).as_bytes()]);
        let _manager =
            place.titled(NEIGHBOUR, "/usr/lib/systemd/systemd", &["named", "systemd", "--user"], Path::new("/"));
        let server = place.server(NEIGHBOUR, &user);
        let answer = run_with(&mut place.doctor(&format!("check --json --pid {}", server.pid())));
        let starts = place.tool_starts("systemctl");
        let asked: Vec<Vec<u8>> = starts
            .iter()
            .flat_map(|start| start["arguments"].as_array().cloned().unwrap_or_default())
            // A character for each byte.
            .filter_map(|word| {
                Some(word.as_str()?.chars().map(|byte| u8::try_from(u32::from(byte)).unwrap()).collect())
            })
            .collect();
        for name in names {
            let shown = String::from_utf8_lossy(name);
            assert!(asked.iter().any(|word| word == name), "{shown:?}: {starts:#?} {}", answer.stdout);
        }
        assert!(!asked.iter().any(|word| word == b"hermes\\xe9.service"), "{starts:#?}");
    });
}

/// The file of a unit and its environment file are in a directory of such a name.
#[test]
fn unit_files_in_directories_of_any_name_are_read() {
    isolated("unit_files_in_directories_of_any_name_are_read", |place| {
        let server = place.server(0, &place.directory("home", 0));
        for (index, name) in
            [&b"plain"[..], b"caf\xe9", b"tab\tx", b"zero\xe2\x80\x8bwidth"].into_iter().enumerate()
        {
            let directory = named(&place.path(""), name);
            std::fs::create_dir(&directory).unwrap();
            let port = 45671 + index;
            std::fs::write(directory.join("env"), format!("HERMES_WEBUI_PORT={port}\n")).unwrap();
            let bytes = directory.as_os_str().as_bytes();
            let unit = b"[Service]\nExecStart=/usr/bin/python3 /srv/hermes-webui/server.py\nEnvironmentFile=";
            std::fs::write(directory.join("x.service"), [unit, bytes, b"/env\n"].concat()).unwrap();
            let bytes: String = bytes.iter().map(|byte| char::from(*byte)).collect();
            let answer = format!(
                "Id=x.service\nLoadState=loaded\nActiveState=active\nSubState=running\nResult=success\nType=simple\nMainPID={}\nFragmentPath={bytes}/x.service\nExecStart={{ path=/usr/bin/python3 ; argv[]=/usr/bin/python3 /srv/hermes-webui/server.py ; ignore_errors=no }}\n",
                server.pid()
            );
            if !place.replace_tool("systemctl", "no", &answer) {
                return skipped("unit_files", "there is no systemctl");
            }
            let arguments = format!("check --json --pid {} --expect systemd:x.service", server.pid());
            let answer = run_with(&mut place.doctor(&arguments));
            let found = answer.json()["servers"][0]["lineage"]["supervisor"].clone();
            assert_eq!(found["port"], port, "{:?}: {}", String::from_utf8_lossy(name), answer.stdout);
            assert_printable(&answer, &arguments);
        }
    });
}

/// The real runit in a directory of such a name.
#[test]
fn service_directories_of_any_name_are_read() {
    isolated("service_directories_of_any_name_are_read", |place| {
        let Some(runsv) = tool("runsv") else {
            return skipped("service_directories_of_any_name", "runit is not installed (Debian package runit)");
        };
        for (index, name) in [&b"caf\xe9"[..], b"tab\tx", b"new\nline", b"caf\\xe9"].into_iter().enumerate() {
            let directory = named(&place.directory("services", 0), name);
            let data = place.directory(&format!("data-{index}"), 0);
            home(&data, index, 0);
            std::fs::create_dir(&directory).unwrap();
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let script = format!(
                "#!/bin/sh\nexport HERMES_HOME={} EXEC=yes\nexec {PYTHON} {} 127.0.0.1 {port}\n",
                data.display(),
                place.script("hermes-webui/bootstrap.py").display()
            );
            std::fs::write(directory.join("run"), script).unwrap();
            std::fs::set_permissions(directory.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
            let mut command = Command::new(&runsv);
            command.arg(&directory).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            let running = Guard { child: command.spawn().unwrap(), port, home: None };
            wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
            let mut found = Value::Null;
            let shown = String::from_utf8_lossy(name);
            let asked = || {
                let answer = run_with(&mut place.doctor(&format!("check --json --port {port}")));
                assert_printable(&answer, "check --json");
                answer.json()["servers"][0].clone()
            };
            wait_for("the claim of runsv", || {
                found = asked();
                found["lineage"]["supervisor"]["claims_this"] == true || found["status"] != "healthy"
            });
            let supervisor = &found["lineage"]["supervisor"];
            assert_eq!(supervisor["claims_this"], true, "{shown:?}: {found:#}");
            assert_eq!(supervisor["claimed_pid"], found["pid"], "{shown:?}: {found:#}");
            // runsv ends its service with itself.
            common::signal_pid(running.pid(), rustix::process::Signal::TERM);
            wait_for("the end of the server", || TcpStream::connect(("127.0.0.1", port)).is_err());
        }
    });
}

/// A home of an account whose WebUI has left a pid file behind.
fn stale(place: &Place, name: &[u8], owner: u32) -> PathBuf {
    let user = named(&place.path(""), name);
    std::fs::create_dir_all(user.join(".hermes/webui")).unwrap();
    std::fs::write(user.join(".hermes/webui.ctl.env"), "PID=99999\nPORT=20120\n").unwrap();
    give_all(&user, owner);
    user
}

/// A malformed line hides only its own account, or none.
#[test]
fn one_account_that_cannot_be_parsed_hides_no_other() {
    isolated("one_account_that_cannot_be_parsed_hides_no_other", |place| {
        let jo = stale(place, b"jo", 6001);
        let jose = stale(place, b"jos\xe9", 6002);
        let last = format!("last:x:6001:6001::{}:/bin/sh", jo.display()).into_bytes();
        let with_byte_in_name = [&b"jos\xe9:x:6002:6002::"[..], jose.as_os_str().as_bytes(), b":/bin/sh"].concat();
        let with_byte_in_comment =
            [&b"jose:x:6002:6002:Jos\xe9,,,:"[..], jose.as_os_str().as_bytes(), b":/bin/sh"].concat();
        let cases: Vec<(Vec<u8>, bool)> = vec![
            (with_byte_in_name, true),
            (with_byte_in_comment, true),
            (b"few:x:7000".to_vec(), false),
            (b"".to_vec(), false),
            (b"+::::::".to_vec(), false),
            (b"# comment".to_vec(), false),
            (b"zero\0byte:x:7001:7001::/nonexistent:/bin/sh".to_vec(), false),
            (b"number:x:many:7002::/nonexistent:/bin/sh".to_vec(), false),
            (
                [b"long:x:7003:7003:".to_vec(), vec![b'x'; 300_000], b":/nonexistent:/bin/sh".to_vec()].concat(),
                false,
            ),
            (b"relative:x:7004:7004::home:/bin/sh".to_vec(), false),
        ];
        for (line, has_home) in cases {
            let shown = String::from_utf8_lossy(&line).chars().take(60).collect::<String>();
            place.accounts(&[&line, &last]);
            let answer = run_with(&mut place.doctor("check --json"));
            assert_printable(&answer, &shown);
            let expected = format!("{}/.hermes/webui.ctl.env", jo.display());
            assert!(answer.stdout.contains("stale-pid-file"), "{shown:?}: {}", answer.stdout);
            assert!(answer.stdout.contains(&expected), "{shown:?}: {}", answer.stdout);
            let of_jose = answer.stdout.contains(&format!("{}s", jo.display()));
            assert_eq!(of_jose, has_home, "{shown:?}: the home with that byte: {}", answer.stdout);
            assert!(Command::new("umount").arg("/etc/passwd").status().unwrap().success());
        }
    });
}

/// Asserts that nothing is reported as absent without a search.
fn assert_absence_is_not_claimed(answer: &Answer, context: &str) {
    let text = format!("{} {}", answer.stdout, answer.stderr);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for claim in ["no Hermes home", "not_found", "not found", "no directory", "No such file"] {
        assert!(!text.contains(claim), "{context}: {claim:?} is said: {text}");
    }
}

/// Homes of accounts on a filesystem that does not answer.
#[test]
fn homes_that_do_not_answer_are_gaps() {
    isolated("homes_that_do_not_answer_are_gaps", |place| {
        for count in [1_usize, 2, 20] {
            for fate in [Fate::Unread, Fate::Unanswered] {
                let directory = place.directory("hung", 0);
                let Some(mut hung) = Hung::serving(&directory, fate, Path::new("/bin/sleep")) else {
                    return skipped("homes_that_do_not_answer", "it takes /dev/fuse");
                };
                hung.hang();
                let jo = stale(place, b"jo", 6001);
                let mut lines = vec![format!("jo:x:6001:6001::{}:/bin/sh", jo.display())];
                let hung_home = |number: usize| directory.join(format!("user-{number}"));
                lines.extend((0..count).map(|number| {
                    format!("u{number}:x:{0}:{0}::{1}:/bin/sh", 7000 + number, hung_home(number).display())
                }));
                let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
                for accounts in [&lines[..], &lines[1..]] {
                    place.accounts(accounts);
                    for view in ["check --json --budget 6s", "check --budget 6s"] {
                        let context = format!("{count} homes, {fate:?}, {} accounts, {view}", accounts.len());
                        let answer = bounded(&mut place.doctor(view), Duration::from_secs(14), &context);
                        if accounts.len() > count {
                            assert!(answer.stdout.contains("stale-pid-file"), "{context}: {}", answer.stdout);
                        }
                        let text = answer.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
                        assert!(!text.contains("no Hermes home"), "{context}: {}", answer.stdout);
                        if view.contains("json") {
                            let why = gaps(&answer.json());
                            let late: Vec<_> =
                                why.iter().filter(|gap| gap.1 == "timeout" || gap.1 == "unsupported").collect();
                            let said = format!("{late:?}");
                            let named = (0..count).filter(|number| {
                                said.contains(&format!("{}\"", hung_home(*number).display()))
                                    || said.contains(&format!("{}/", hung_home(*number).display()))
                                    || said.contains(&format!("{} ", hung_home(*number).display()))
                            });
                            let named = named.count();
                            // One gap counts all homes, or those that are not listed.
                            let counted = [count, count - named].map(|number| said.contains(&format!("{number} ")));
                            assert!(
                                named == count || count > 2 && counted.contains(&true),
                                "{context}: {named} are named: {why:#?}"
                            );
                            // A host has thousands of accounts: one line for each would hide everything else.
                            assert!(late.len() <= 8, "{context}: {} gaps", late.len());
                        } else {
                            let is_named = text.contains(directory.to_str().unwrap());
                            assert!(is_named || count > 2, "{context}: {}", answer.stdout);
                        }
                    }
                    assert!(Command::new("umount").arg("/etc/passwd").status().unwrap().success());
                }
                drop(hung);
            }
        }
    });
}

/// A home that was named and does not answer, or may not be entered.
#[test]
fn a_home_that_could_not_be_read_is_not_absent() {
    isolated("a_home_that_could_not_be_read_is_not_absent", |place| {
        let closed = place.directory("closed/home/.hermes", 0);
        home(&closed, 1, 0);
        std::fs::set_permissions(place.path("closed"), std::fs::Permissions::from_mode(0o700)).unwrap();
        for view in ["db", "db --json", "check", "check --json"] {
            let arguments = format!("{view} --home {}", closed.display());
            let answer = run_with(&mut place.doctor_as(STRANGER, &arguments));
            assert_eq!(answer.exit, 3, "{arguments}: {} {}", answer.stdout, answer.stderr);
            assert_absence_is_not_claimed(&answer, &arguments);
            let text = format!("{} {}", answer.stdout, answer.stderr);
            assert!(text.contains("permission"), "{arguments}: {text}");
        }
        for fate in [Fate::Unread, Fate::Unanswered] {
            let directory = place.directory("hung", 0);
            let Some(mut hung) = Hung::serving(&directory, fate, Path::new("/bin/sleep")) else {
                return skipped("a_home_that_could_not_be_read", "it takes /dev/fuse");
            };
            let server = place.server(0, &directory.join("home"));
            hung.hang();
            let named = directory.join("home");
            for view in ["db --json", "db", "check --json", "check"] {
                let arguments = format!("{view} --budget 5s --home {}", named.display());
                let answer = bounded(&mut place.doctor(&arguments), Duration::from_secs(13), &arguments);
                assert_eq!(answer.exit, 3, "{fate:?} {arguments}: {} {}", answer.stdout, answer.stderr);
                assert_absence_is_not_claimed(&answer, &format!("{fate:?} {arguments}"));
            }
            let arguments = format!("check --json --budget 5s --pid {}", server.pid());
            let answer = bounded(&mut place.doctor(&arguments), Duration::from_secs(13), &arguments);
            let why = gaps(&answer.json());
            assert!(
                why.iter().any(|gap| gap.1 == "timeout" && gap.0.contains(named.to_str().unwrap())),
                "{fate:?}: {why:#?}"
            );
            drop(hung);
        }
    });
}

/// Every file in a home that cannot be read is reported.
#[test]
fn unreadable_files_in_a_home_are_reported() {
    isolated("unreadable_files_in_a_home_are_reported", |place| {
        let cases: &[(&str, bool)] = &[
            ("profiles", true),
            ("kanban/boards", true),
            (".env", false),
            ("webui.pid", false),
            ("webui.ctl.env", false),
            ("gateway.pid", false),
            ("webui.log", false),
            ("state.db-wal", false),
        ];
        for (index, (name, is_directory)) in cases.iter().enumerate() {
            for is_closed in [true, false] {
                let path = place.directory(&format!("home-{index}-{is_closed}"), STRANGER);
                home(&path, 1, STRANGER);
                let file = path.join(name);
                let _ = std::fs::remove_file(&file);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                // Not readable for its owner, or of another file type.
                if *is_directory == is_closed {
                    std::fs::create_dir(&file).unwrap();
                } else {
                    std::fs::write(&file, "").unwrap();
                }
                give_all(&path, STRANGER);
                if is_closed {
                    give(&file, 0);
                    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
                }
                let mut why = Vec::new();
                let server = place.server(STRANGER, &path);
                let pid = server.pid();
                for arguments in [
                    format!("check --json --pid {pid}"),
                    format!("check --json --home {}", path.display()),
                    format!("db --json --home {}", path.display()),
                ] {
                    let answer = run_with(&mut place.doctor(&arguments));
                    why.extend(gaps(&answer.json()));
                }
                let last = Path::new(name).file_name().unwrap().to_str().unwrap();
                let said = why.iter().find(|gap| gap.0.contains(last));
                assert!(said.is_some(), "{name}, closed: {is_closed}: {why:#?}");
                if is_closed {
                    assert_eq!(said.unwrap().1, "permission", "{name}: {why:#?}");
                }
            }
        }
    });
}

/// Arguments and variables of any bytes do not make the program fail.
#[test]
fn arguments_and_variables_of_any_bytes_are_taken() {
    isolated("arguments_and_variables_of_any_bytes_are_taken", |place| {
        let path = named(&place.path(""), b"caf\xe9");
        let size = home(&path, 3, 0);
        let mut command = place.doctor("db --json");
        command
            .env("HERMES_HOME", &path)
            .env("HOME", OsStr::from_bytes(b"/\xff"))
            .env(OsStr::from_bytes(b"\xff"), OsStr::from_bytes(b"\xfe"));
        let answer = run_with(&mut command);
        assert_printable(&answer, "db");
        // No server runs there.
        assert_eq!(sizes(&answer.json()), [size], "{} {}", answer.stdout, answer.stderr);
        // The working directory has such a name too.
        let mut command = place.doctor("check --json");
        command.current_dir(&path);
        let answer = run_with(&mut command);
        assert!((0..=3).contains(&answer.exit), "{}", answer.stderr);
        assert_printable(&answer, "check");
    });
}
