//! Every demo scenario gives the expected verdict, and leaves nothing behind.

use crate::common;

use common::{doctor, finding, ids, roots, run, wait_for};
use rustix::process::Signal;
use std::process::Stdio;

fn demo(name: &str) -> serde_json::Value {
    let envelope = run(&format!("demo {name} --json")).json();
    assert_eq!(envelope["command"], "demo");
    envelope["servers"][0].clone()
}

#[test]
fn healthy() {
    let server = demo("healthy");
    assert_eq!(server["status"], "healthy");
    assert!(ids(&server).is_empty(), "{server:#}");
    assert_eq!(server["lineage"]["supervisor"]["kind"], "demo");
    assert_eq!(server["lineage"]["supervisor"]["claims_this"], true);
    assert_eq!(server["health"]["outcome"], "ok");
    for id in ["descriptor-ceiling", "state-db-handle-leak", "accept-stalled", "orphaned-server", "stale-pid-file"]
    {
        assert!(server["passed"].as_array().unwrap().iter().any(|passed| passed == id), "{id} in {server:#}");
    }
}

#[test]
fn leak() {
    let server = demo("leak");
    assert_eq!(server["status"], "critical");
    assert_eq!(roots(&server), ["state-db-handle-leak"]);
    assert_eq!(finding(&server, "descriptor-ceiling")["caused_by"][0], "state-db-handle-leak");
    let family = &server["descriptors"]["sqlite"][0];
    assert_eq!(
        (family["db"].as_u64(), family["wal"].as_u64(), family["shm"].as_u64()),
        (Some(119), Some(113), Some(1))
    );
    assert_eq!(family["connections"], 113);
    // Near the limit only one request is sent.
    assert_eq!(server["health"]["attempts"].as_array().unwrap().len(), 1);
}

#[test]
fn ceiling() {
    let server = demo("ceiling");
    assert_eq!(server["status"], "critical");
    assert_eq!(roots(&server), ["descriptor-ceiling"]);
    assert_eq!(finding(&server, "accept-stalled")["caused_by"][0], "descriptor-ceiling");
    assert!(server["descriptors"]["by_kind"]["tcp-established"].as_u64().unwrap() > 60);
}

#[test]
fn stopped() {
    let server = demo("stopped");
    assert_eq!(server["status"], "critical");
    assert_eq!(roots(&server), ["process-stopped"]);
    assert_eq!(finding(&server, "accept-stalled")["caused_by"][0], "process-stopped");
    assert_eq!(server["process"]["state"], "stopped");
}

#[test]
fn mute() {
    let server = demo("mute");
    assert_eq!(server["status"], "critical");
    assert_eq!(roots(&server), ["accept-stalled"]);
    let looks = server["listeners"]["looks"].as_array().unwrap();
    assert_eq!(looks.len(), 2, "{server:#}");
    for look in looks {
        assert_eq!((look["accept_queue"].as_u64(), look["probe_accepted"].as_bool()), (Some(4), Some(false)));
    }
    assert_eq!(server["listeners"]["connections"]["not_accepted"], 3);
}

#[test]
fn silent_close() {
    let server = demo("silent-close");
    assert_eq!((server["status"].as_str(), roots(&server)), (Some("critical"), vec!["reply-empty"]));
    assert_eq!(server["health"]["bytes_received"], 0);
}

#[test]
fn close_wait() {
    let server = demo("close-wait");
    assert_eq!((server["status"].as_str(), roots(&server)), (Some("warning"), vec!["close-wait-leak"]));
    let close_wait = &server["descriptors"]["close_wait"];
    assert_eq!((close_wait["first"].as_u64(), close_wait["still_at_second"].as_u64()), (Some(60), Some(60)));
    assert!(close_wait["between_ms"].as_u64().unwrap() >= 1000);
    assert_eq!(close_wait["by_peer"][0]["count"], 60);
}

#[test]
fn unsupervised() {
    let server = demo("unsupervised");
    assert_eq!(server["status"], "healthy");
    assert_eq!(finding(&server, "unsupervised-server")["severity"], "info");
    assert!(roots(&server).is_empty());
    assert_eq!(server["lineage"]["detached"], true);
}

#[test]
fn orphan() {
    let server = demo("orphan");
    assert_eq!((server["status"].as_str(), roots(&server)), (Some("critical"), vec!["orphaned-server"]));
    assert_eq!(finding(&server, "respawn-loop")["caused_by"][0], "orphaned-server");
    let relaunch = server["lineage"]["relaunch"]["pids"].as_array().unwrap();
    assert!(relaunch.len() >= 2 && relaunch[0] != relaunch[1], "{server:#}");
    assert_eq!(server["lineage"]["supervisor"]["claims_this"], false);
}

#[test]
fn foreign() {
    let server = demo("foreign");
    assert_eq!((server["status"].as_str(), roots(&server)), (Some("critical"), vec!["port-held-by-other-program"]));
}

#[test]
fn tls() {
    let server = demo("tls");
    assert_eq!(server["status"], "healthy");
    assert!(roots(&server).is_empty());
    assert!(server["health"]["url"].as_str().unwrap().starts_with("https://"));
    assert!(server["health"]["phases"].as_array().unwrap().iter().any(|phase| phase["name"] == "tls"));
}

#[test]
fn deadlock() {
    let server = demo("deadlock");
    assert_eq!(roots(&server), ["handlers-stuck"]);
}

#[test]
fn locked_route() {
    let server = demo("locked-route");
    assert_eq!(roots(&server), ["handlers-stuck"]);
    assert_eq!(server["health"]["outcome"], "ok");
    assert_eq!(finding(&server, "route-slow")["caused_by"][0], "handlers-stuck");
}

#[test]
fn full_pipe() {
    let server = demo("full-pipe");
    assert_eq!(roots(&server), ["output-pipe-full"]);
    assert_eq!(finding(&server, "handlers-stuck")["caused_by"][0], "output-pipe-full");
}

#[test]
fn all_in_turn() {
    let answer = run("demo");
    assert_eq!(answer.exit, 0, "{}", answer.stdout);
    assert!(answer.stdout.contains("All 14 verdicts are as expected"), "{}", answer.stdout);
    assert!(!answer.stdout.contains('\u{1b}'));
}

/// Processes with a test server of this home in their command line.
fn servers_below(parent: u32) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let ppid = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse::<u32>().ok());
            String::from_utf8_lossy(&line).contains("demo-server") && ppid == Some(parent)
        })
        .collect()
}

/// The test server ends with the demo, however the demo ends; on a signal its home is removed as well.
#[test]
fn nothing_is_left_after_a_signal() {
    for (signal, cleans) in [(Signal::INT, true), (Signal::TERM, true), (Signal::KILL, false)] {
        let temporary = tempfile::tempdir().unwrap();
        let mut child = doctor()
            .args(["demo", "mute", "--timeout", "8s", "--budget", "20s"])
            .env("TMPDIR", temporary.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let mut targets = Vec::new();
        wait_for("the target", || {
            targets = servers_below(child.id());
            targets.len() == 1 && std::fs::read_dir(temporary.path()).unwrap().count() == 1
        });
        // The examination has begun when its worker runs.
        wait_for("the examination", || common::children_of(child.id()).len() >= 2);
        common::signal_pid(child.id(), signal);
        child.wait().unwrap();
        let target = targets[0];
        wait_for("the end of the target", || {
            let state = std::fs::read_to_string(format!("/proc/{target}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        });
        let left = std::fs::read_dir(temporary.path()).unwrap().count();
        assert_eq!(left == 0, cleans, "{signal:?} left {left}");
    }
}
