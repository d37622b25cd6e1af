//! An ordinary user and a server of another user: no crash, gaps with their reason, and all public facts.

use crate::common;

use common::{Answer, ids, run_with, skipped, webui};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The overflow user and group that every Linux has: nobody, nogroup.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A copy of the program that every user may run.
fn public_copy(directory: &Path) -> PathBuf {
    let copy = directory.join("hermes-doctor");
    std::fs::copy(common::program(), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    copy
}

fn as_nobody(program: &Path, arguments: &str) -> Answer {
    run_with(
        Command::new(program)
            .args(arguments.split_whitespace())
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .uid(NOBODY)
            .gid(NOBODY),
    )
}

#[test]
fn a_server_of_another_user_is_examined_as_far_as_it_goes() {
    if !is_root() {
        return skipped("a_server_of_another_user", "it takes root to become another user");
    }
    let directory = tempfile::tempdir().unwrap();
    let program = public_copy(directory.path());
    let target = webui("leak=3");
    let answer = as_nobody(&program, &format!("check --port {} --json", target.port));
    let server = &answer.json()["servers"][0];
    let gaps: Vec<(String, String)> = server["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|gap| (gap["what"].as_str().unwrap().to_owned(), gap["reason"].as_str().unwrap().to_owned()))
        .collect();
    // The process can only be guessed, and only if no other server of that user runs; in both cases a gap reports
    // it.
    let about_the_holder =
        |what: &str| what.starts_with("holders of sockets") || what.starts_with("the process that listens");
    assert!(gaps.iter().any(|(what, reason)| about_the_holder(what) && reason == "permission"), "{gaps:?}");
    // Every user can use HTTP, and its answer is sufficient for a verdict.
    assert_eq!(server["health"]["outcome"], "ok", "{server:#}");
    assert_eq!(server["status"], "healthy", "{server:#}");
    assert!(!ids(server).iter().any(|id| id == "server-not-running"));

    let answer = as_nobody(&program, &format!("fds --pid {} --json", target.pid()));
    let server = &answer.json()["servers"][0];
    assert_eq!((answer.exit, server["status"].as_str()), (3, Some("unknown")));
    let gap = server["gaps"]
        .as_array()
        .unwrap()
        .iter()
        .find(|gap| gap["what"].as_str().unwrap().starts_with("descriptors"))
        .unwrap();
    assert_eq!(gap["reason"], "permission");
    assert!(gap["detail"].as_str().unwrap().contains("root"));
    // Number and limit are public: the size of the directory (Linux 6.2), and /proc/PID/limits.
    let counts_by_size = rustix::fs::stat("/proc/self/fd").is_ok_and(|stat| stat.st_size > 0);
    assert_eq!(server["descriptors"]["open"].is_u64(), counts_by_size, "{server:#}");
    assert!(server["descriptors"]["soft_limit"].is_u64());

    for arguments in ["", "--json", "lineage --verbose", "port --verbose", "fds", "health"] {
        let answer = as_nobody(&program, &format!("{arguments} --port {}", target.port));
        assert!(matches!(answer.exit, 0 | 1 | 3), "{arguments}: {} {}", answer.stdout, answer.stderr);
        assert!(!answer.stderr.contains("panic"), "{}", answer.stderr);
    }
}

/// The control group of a socket is public, and identifies the unit even if its process cannot be read.
#[test]
fn the_unit_of_a_port_is_shown_without_root() {
    let Some(root) = cgroup2() else {
        return skipped("the_unit_of_a_port", "no writable cgroup2 tree");
    };
    if !is_root() {
        return skipped("the_unit_of_a_port", "it takes root to make a control group");
    }
    let group = Group(root.join(format!("hermes-doctor-test-{}.slice/hermes-webui.service", std::process::id())));
    if let Err(error) = std::fs::create_dir_all(&group.0) {
        return skipped("the_unit_of_a_port", &error.to_string());
    }
    let directory = tempfile::tempdir().unwrap();
    let program = public_copy(directory.path());
    // The shell joins the group before the server makes its socket.
    let home = common::home();
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec python3 {}",
        group.0.display(),
        common::program_file("hermes-webui/server.py").display()
    );
    let target = common::start(Command::new("sh").args(["-c", &script]).env("HERMES_HOME", home.path()));
    let answer = as_nobody(&program, &format!("port --port {} --json", target.port));
    let server = answer.json()["servers"][0].clone();
    drop(target);
    let socket = &server["listeners"]["sockets"][0];
    assert_eq!(socket["unit"], "hermes-webui.service", "{server:#}");
    assert!(socket["holders"].as_array().unwrap().is_empty());
    assert_eq!(server["listeners"]["holders_complete"], false);
}

fn cgroup2() -> Option<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| PathBuf::from(before.split(' ').nth(4).unwrap()))
    })
}

/// Removed when the test ends; a group without processes can be.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let _ = self.0.parent().map(std::fs::remove_dir);
    }
}
