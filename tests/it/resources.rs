//! Limits of tasks and memory with real control groups and real users, and healthy hosts that look similar.

use crate::common;

use common::{Guard, finding, home, ids, program_file, roots, server, skipped, start, wait_for};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A user id that no system uses.
const STRANGER: u32 = 54_321;

/// A control group of version 1 that is removed when it is dropped.
struct Group(PathBuf);

impl Group {
    /// Makes one below the root of a controller's hierarchy; `None` where that cannot be done.
    fn make(controller: &str, name: &str) -> Option<Self> {
        let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = table.lines().find_map(|line| {
            let (before, after) = line.split_once(" - cgroup ")?;
            let has_it = after.split(' ').nth(1)?.split(',').any(|word| word == controller);
            has_it.then(|| PathBuf::from(before.split(' ').nth(4).unwrap()))
        })?;
        let path = root.join(format!("hermes-doctor-test-{}-{name}", std::process::id()));
        std::fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    fn set(&self, file: &str, value: u64) {
        std::fs::write(self.0.join(file), value.to_string()).unwrap();
    }

    fn get(&self, file: &str) -> u64 {
        std::fs::read_to_string(self.0.join(file)).unwrap().trim().parse().unwrap()
    }

    fn name(&self) -> String {
        format!("/{}", self.0.file_name().unwrap().to_str().unwrap())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The removal is possible a moment after the last of its processes was reaped.
        wait_for("the removal of the control group", || std::fs::remove_dir(&self.0).is_ok());
    }
}

fn script() -> PathBuf {
    program_file("limits/hermes-webui/server.py")
}

/// The test server, in a control group from its first instruction on.
fn server_in(group: &Group, what: &str) -> Guard {
    let home = home();
    let script = format!("echo $$ > {}/cgroup.procs && exec python3 {}", group.0.display(), script().display());
    let mut guard =
        start(Command::new("sh").args(["-c", &script]).env("HERMES_HOME", home.path()).env("TEST_SERVER", what));
    guard.home = Some(home);
    guard
}

fn check(target: &Guard) -> serde_json::Value {
    server(&format!("check --port {}", target.port))
}

#[test]
fn a_reached_task_limit_is_the_cause_of_empty_replies() {
    let Some(group) = Group::make("pids", "tasks") else {
        return skipped("a_reached_task_limit", "no writable pids hierarchy of version 1");
    };
    group.set("pids.max", 12);
    let target = server_in(&group, "threads");
    assert_eq!(group.get("pids.current"), 12);
    let server = check(&target);
    assert_eq!(roots(&server), ["threads-exhausted"], "{server:#}");
    let found = finding(&server, "threads-exhausted");
    assert_eq!(found["severity"], "critical");
    assert!(found["title"].as_str().unwrap().ends_with("is reached: 12 of 12"), "{found:#}");
    assert!(
        found["evidence"].to_string().contains("log: lines \\\"cannot start a thread\\\" since its start"),
        "{found:#}"
    );
    let symptom = server["findings"]
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["caused_by"][0] == "threads-exhausted");
    let symptom = symptom.unwrap_or_else(|| panic!("{server:#}"));
    assert!(["reply-empty", "connection-reset"].contains(&symptom["id"].as_str().unwrap()), "{symptom:#}");
    // The second sample shows the effects of the probe.
    let facts = &server["resources"]["task_groups"][0];
    assert_eq!((facts["path"].as_str(), facts["is_own"].as_bool()), (Some(group.name().as_str()), Some(true)));
    assert!(facts["refused_since"].as_u64().unwrap() >= 1, "{facts:#}");
    assert!(server["resources"]["looked_again_after_ms"].as_u64().unwrap() >= 900);

    // The limit is raised: the log still shows the errors, and the server is healthy.
    group.set("pids.max", 1000);
    let server = check(&target);
    assert_eq!(server["health"]["outcome"], "ok", "{server:#}");
    let found = finding(&server, "threads-exhausted");
    assert_eq!((found["severity"].as_str(), server["status"].as_str()), (Some("warning"), Some("warning")));
}

#[test]
fn a_limit_above_the_own_group_counts_too() {
    let Some(group) = Group::make("pids", "above") else {
        return skipped("a_limit_above_the_own_group", "no writable pids hierarchy of version 1");
    };
    let inner = Group(group.0.join("inner"));
    std::fs::create_dir(&inner.0).unwrap();
    group.set("pids.max", 9);
    let target = server_in(&inner, "threads");
    let server = check(&target);
    assert_eq!(roots(&server), ["threads-exhausted"], "{server:#}");
    let groups = server["resources"]["task_groups"].as_array().unwrap();
    let told: Vec<_> = groups.iter().map(|group| (group["is_own"].as_bool(), group["max"].as_u64())).collect();
    assert_eq!(told, [(Some(true), None), (Some(false), Some(9))]);
    drop(target);
    drop(inner);
}

#[test]
fn a_group_below_its_task_limit_is_healthy() {
    let Some(group) = Group::make("pids", "room") else {
        return skipped("a_group_below_its_task_limit", "no writable pids hierarchy of version 1");
    };
    group.set("pids.max", 64);
    let target = server_in(&group, "");
    let server = check(&target);
    assert_eq!(
        (server["status"].as_str(), ids(&server)),
        (Some("healthy"), vec!["unsupervised-server".to_owned()])
    );
    assert!(server["passed"].as_array().unwrap().iter().any(|id| id == "threads-exhausted"));
}

/// A home and a copy of the test server that every user may use.
fn public_place() -> (tempfile::TempDir, PathBuf) {
    let home = home();
    std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let directory = home.path().join("hermes-webui");
    std::fs::create_dir(&directory).unwrap();
    let copy = directory.join("server.py");
    std::fs::copy(script(), &copy).unwrap();
    (home, copy)
}

#[test]
fn the_users_limit_of_processes_binds_an_ordinary_user() {
    if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/python3").exists() {
        return skipped(
            "the_users_limit_of_processes",
            "it takes root to become another user, and a system's python3",
        );
    }
    let (home, copy) = public_place();
    let start_as = |user: u32| {
        start(
            Command::new("prlimit")
                .args(["--nproc=20", "/usr/bin/python3"])
                .arg(&copy)
                .env("HERMES_HOME", home.path())
                .env("TEST_SERVER", if user == 0 { "" } else { "threads" })
                .current_dir("/")
                .uid(user)
                .gid(user),
        )
    };
    let target = start_as(STRANGER);
    let found = check(&target);
    assert_eq!(roots(&found), ["threads-exhausted"], "{found:#}");
    assert!(
        finding(&found, "threads-exhausted")["title"]
            .as_str()
            .unwrap()
            .contains("of user 54321 is reached: 20 of 20")
    );
    assert_eq!(found["resources"]["process"]["is_bound"], true);
    drop(target);
    // The limit does not apply to root, however many processes root has.
    std::fs::remove_file(home.path().join("webui.log")).unwrap();
    let target = start_as(0);
    let found = check(&target);
    assert_eq!(
        found["resources"]["process"],
        serde_json::json!({"tasks_max": 20, "is_bound": false, "user_tasks": null})
    );
    assert_eq!(found["status"], "healthy", "{found:#}");
}

const MIB: u64 = 1024 * 1024;

#[test]
fn a_limit_full_of_cached_files_is_healthy() {
    let Some(group) = Group::make("memory", "cache") else {
        return skipped("a_limit_full_of_cached_files", "no writable memory hierarchy of version 1");
    };
    group.set("memory.limit_in_bytes", 64 * MIB);
    let target = server_in(&group, "cache=160");
    assert!(group.get("memory.failcnt") > 0 && group.get("memory.usage_in_bytes") > 50 * MIB);
    let server = check(&target);
    assert_eq!(server["status"], "healthy", "{server:#}");
    let facts = &server["resources"]["memory_groups"][0];
    assert_eq!(
        (facts["path"].as_str(), facts["max_bytes"].as_u64()),
        (Some(group.name().as_str()), Some(64 * MIB))
    );
    assert!(facts["file_cache_bytes"].as_u64().unwrap() > 20 * MIB, "{facts:#}");
    assert_eq!(facts["oom_kills"], 0);
    for id in ["memory-pressure", "memory-killed"] {
        assert!(server["passed"].as_array().unwrap().iter().any(|passed| passed == id), "{id}: {server:#}");
    }
}

#[test]
fn memory_that_cannot_be_given_back_is_pressure() {
    let Some(group) = Group::make("memory", "pressure") else {
        return skipped("memory_that_cannot_be_given_back", "no writable memory hierarchy of version 1");
    };
    group.set("memory.limit_in_bytes", 128 * MIB);
    let target = server_in(&group, "hold=100,cache=160,stream");
    let server = check(&target);
    let found = finding(&server, "memory-pressure");
    assert_eq!(
        (found["severity"].as_str(), server["status"].as_str()),
        (Some("warning"), Some("warning")),
        "{server:#}"
    );
    assert!(found["title"].as_str().unwrap().contains("of 128 MiB"), "{found:#}");
    assert!(server["resources"]["memory_groups"][0]["max_events_since"].as_u64().unwrap() > 0);
}

#[test]
fn processes_killed_by_the_kernel_are_reported() {
    let Some(group) = Group::make("memory", "killed") else {
        return skipped("processes_killed_by_the_kernel", "no writable memory hierarchy of version 1");
    };
    group.set("memory.limit_in_bytes", 64 * MIB);
    let target = server_in(&group, "killed");
    let server = check(&target);
    assert_eq!(roots(&server), ["memory-killed"], "{server:#}");
    let found = finding(&server, "memory-killed");
    assert_eq!(found["severity"], "warning");
    assert!(found["title"].as_str().unwrap().contains("killed 1 process of its control group"), "{found:#}");
    assert!(found["evidence"].to_string().contains("log: last line of a clean shutdown"), "{found:#}");
    assert_eq!(server["health"]["outcome"], "ok");
}
