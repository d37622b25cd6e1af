//! Logs: real errors, logs that are hard to parse, and the check that no text of a log is reported.

use crate::common;

use common::hung::Hung;
use common::{
    Guard, doctor, finding, home, ids, program_file, roots, run, run_with, server, skipped, start, webui,
};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// The test server that reaches real limits.
fn target(what: &str) -> Guard {
    let home = home();
    let mut guard = start(
        Command::new("python3")
            .arg(program_file("limits/hermes-webui/server.py"))
            .stderr(Stdio::null())
            .env("HERMES_HOME", home.path())
            .env("TEST_SERVER", what),
    );
    guard.home = Some(home);
    guard
}

fn check(target: &Guard) -> serde_json::Value {
    server(&format!("check --port {}", target.port))
}

/// RFC 3339 time, this many seconds from now.
fn stamp(seconds: i64) -> String {
    let now = SystemTime::now();
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let at = if seconds < 0 { now - distance } else { now + distance };
    humantime::format_rfc3339_millis(at).to_string()
}

fn lines(count: usize, stamp: &str, text: &str) -> String {
    (0..count).map(|_| format!("{stamp} ERROR state: {text}\n")).collect()
}

/// Class, lines and order of one log.
fn classes(log: &serde_json::Value) -> Vec<(String, u64, Option<u64>)> {
    let of = |class: &serde_json::Value| {
        (class["class"].as_str().unwrap().to_owned(), class["count"].as_u64().unwrap(), class["order"].as_u64())
    };
    log["classes"].as_array().unwrap().iter().map(of).collect()
}

const MALFORMED: &str = "database disk image is malformed";
const EMFILE: &str = "[Errno 24] Too many open files: '/dev/null'";

#[test]
fn real_errors_are_counted_in_the_order_in_which_they_began() {
    let target = target("malformed=7,locked=5,emfile=64");
    let server = check(&target);
    let log = &server["logs"][0];
    assert_eq!(log["source"], target.home().join("webui.log").to_str().unwrap());
    let expected = [
        ("database-malformed".to_owned(), 7, Some(1)),
        ("database-locked".to_owned(), 5, Some(2)),
        ("descriptors-exhausted".to_owned(), 3, Some(3)),
    ];
    assert_eq!(classes(log), expected, "{log:#}");
    for class in log["classes"].as_array().unwrap() {
        assert_eq!(class["since_start"], class["count"], "{class:#}");
        assert!(class["first_at"].as_str().unwrap() <= class["last_at"].as_str().unwrap());
    }
    // The descriptors ran out after the database was damaged.
    assert_eq!(roots(&server), ["database-malformed"], "{server:#}");
    let ceiling = finding(&server, "descriptor-ceiling");
    assert_eq!(ceiling["caused_by"][0], "database-malformed");
    let evidence = ceiling["evidence"].as_array().unwrap();
    let told = |fact: &str| evidence.iter().find(|item| item["fact"] == fact).map(|item| item["value"].clone());
    assert_eq!(told("log: lines \"too many open files\" since its start"), Some(3.into()), "{ceiling:#}");
    assert_eq!(told("log: earlier lines \"database is malformed\""), Some(7.into()), "{ceiling:#}");
    assert!(finding(&server, "database-malformed")["title"].as_str().unwrap().contains("in 7 lines"));
}

#[test]
fn thousands_of_malformed_lines_come_before_the_last_ones() {
    let target = webui("");
    let log = lines(2709, &stamp(0), MALFORMED) + &lines(58, &stamp(0), EMFILE);
    std::fs::write(target.home().join("webui.log"), &log).unwrap();
    let server = check(&target);
    assert_eq!(roots(&server), ["database-malformed"], "{server:#}");
    let found = finding(&server, "database-malformed");
    assert_eq!((found["severity"].as_str(), server["status"].as_str()), (Some("warning"), Some("warning")));
    let title = found["title"].as_str().unwrap();
    assert_eq!(title, "the log reports a malformed database in 2709 lines; then 58 times too many open files");
    assert_eq!(server["logs"][0]["bytes_read"], log.len());
}

#[test]
fn a_server_that_does_not_answer_well_makes_it_critical() {
    let target = webui("error");
    std::fs::write(target.home().join("webui.log"), lines(3, &stamp(0), MALFORMED)).unwrap();
    assert_eq!(finding(&check(&target), "database-malformed")["severity"], "critical");
}

#[test]
fn lines_of_the_process_before_are_no_alarm() {
    let target = webui("");
    let log =
        lines(2709, &stamp(-3600), MALFORMED) + &lines(58, &stamp(-3599), "RuntimeError: can't start new thread");
    // This process has written to the log since its start.
    std::fs::write(target.home().join("webui.log"), log + &stamp(0) + " INFO webui: starts\n").unwrap();
    let server = check(&target);
    assert_eq!(
        (server["status"].as_str(), ids(&server)),
        (Some("healthy"), vec!["unsupervised-server".to_owned()])
    );
    let expected = [("database-malformed".to_owned(), 2709, None), ("threads-exhausted".to_owned(), 58, None)];
    assert_eq!(classes(&server["logs"][0]), expected);
    assert_eq!(server["logs"][0]["classes"][0]["since_start"], 0);
}

#[test]
fn a_rotated_log_is_joined_to_the_one_after_it() {
    let target = webui("");
    std::fs::write(target.home().join("webui.log.1"), lines(20, &stamp(0), MALFORMED)).unwrap();
    std::fs::write(target.home().join("webui.log"), lines(4, &stamp(0), EMFILE)).unwrap();
    let server = check(&target);
    let log = &server["logs"][0];
    assert_eq!((log["with_rotated"].as_bool(), log["is_cut"].as_bool()), (Some(true), Some(false)));
    let expected =
        [("database-malformed".to_owned(), 20, Some(1)), ("descriptors-exhausted".to_owned(), 4, Some(2))];
    assert_eq!(classes(log), expected);
}

#[test]
fn a_log_under_two_names_is_read_once() {
    let target = webui("");
    std::fs::create_dir(target.home().join("webui")).unwrap();
    std::fs::write(target.home().join("webui.log"), lines(2, &stamp(0), MALFORMED)).unwrap();
    std::os::unix::fs::symlink("../webui.log", target.home().join("webui/launchd-stderr.log")).unwrap();
    let other = format!("webui/bootstrap-{}.log", target.port);
    std::fs::write(target.home().join(other), lines(1, &stamp(0), EMFILE)).unwrap();
    let server = check(&target);
    assert_eq!(server["logs"].as_array().unwrap().len(), 2, "{:#}", server["logs"]);
}

/// The output file of the process is its log, whatever its name, and even after it was unlinked.
#[test]
fn the_output_of_the_process_is_read() {
    let home = home();
    let path = home.path().join("some name.txt");
    let output = std::fs::File::create(&path).unwrap();
    let target = start(
        Command::new("python3")
            .arg(program_file("hermes-webui/server.py"))
            .env("HERMES_HOME", home.path())
            .stderr(output.try_clone().unwrap()),
    );
    (&output).write_all(lines(3, &stamp(0), MALFORMED).as_bytes()).unwrap();
    assert_eq!(roots(&check(&target)), ["database-malformed"]);
    std::fs::remove_file(&path).unwrap();
    let server = check(&target);
    assert_eq!(server["logs"][0]["source"], format!("{} (deleted)", path.display()));
    assert_eq!(classes(&server["logs"][0]), [("database-malformed".to_owned(), 3, Some(1))]);
}

#[test]
fn a_pipe_in_the_place_of_a_log_is_not_opened() {
    let target = webui("");
    let path = target.home().join("webui.log");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let begun = Instant::now();
    let server = check(&target);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let gap =
        server["gaps"].as_array().unwrap().iter().find(|gap| gap["what"] == format!("log {}", path.display()));
    assert_eq!(gap.unwrap()["reason"], "not_asked", "{server:#}");
    assert_eq!(server["status"], "healthy");
}

/// A filesystem with a daemon that never answers: every access to it blocks for ever.
#[test]
fn a_log_on_a_hung_filesystem_is_abandoned() {
    let target = webui("");
    let place = target.home().join("webui");
    std::fs::create_dir(&place).unwrap();
    let Some(hung) = Hung::mounted(&place) else {
        return skipped("a_log_on_a_hung_filesystem", "it takes root and /dev/fuse");
    };
    let begun = Instant::now();
    let server = check(&target);
    let elapsed = begun.elapsed();
    drop(hung);
    assert!(elapsed < Duration::from_secs(8), "{elapsed:?}");
    let of_logs = |gap: &&serde_json::Value| gap["what"].as_str().unwrap().starts_with("log ");
    let gaps: Vec<_> = server["gaps"].as_array().unwrap().iter().filter(of_logs).collect();
    assert_eq!((gaps.len(), gaps[0]["reason"].as_str()), (1, Some("timeout")), "{server:#}");
    assert_eq!(server["health"]["outcome"], "ok");
    assert_eq!(server["status"], "healthy", "{server:#}");
}

#[test]
fn a_huge_log_is_read_from_its_end_only() {
    let target = webui("");
    let mut log = std::fs::File::create(target.home().join("webui.log")).unwrap();
    log.write_all(lines(5, &stamp(0), EMFILE).as_bytes()).unwrap();
    log.set_len(2 << 30).unwrap();
    log.seek(SeekFrom::End(0)).unwrap();
    log.write_all(format!("\n{}", lines(9, &stamp(0), MALFORMED)).as_bytes()).unwrap();
    std::fs::write(target.home().join("webui.log.1"), lines(5, &stamp(0), EMFILE)).unwrap();
    let begun = Instant::now();
    let server = check(&target);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let log = &server["logs"][0];
    assert_eq!((log["bytes_read"].as_u64(), log["is_cut"].as_bool()), (Some(1 << 20), Some(true)));
    assert_eq!(classes(log), [("database-malformed".to_owned(), 9, Some(1))]);
    assert_eq!(log["with_rotated"], false);
}

#[test]
fn bytes_that_are_no_text_and_endless_lines_cost_nothing() {
    let target = webui("");
    let mut log = b"\xff\xfe\x00 ERROR \xc3: nothing\n".to_vec();
    log.extend(std::iter::repeat_n(b'x', 700 * 1024));
    log.extend(b": database is locked\n");
    log.extend(format!("{} ERROR \u{202e}state \x1b[31m: ", stamp(0)).as_bytes());
    log.extend(b"\xff\xff: database is locked\n");
    std::fs::write(target.home().join("webui.log"), &log).unwrap();
    let server = check(&target);
    assert_eq!(classes(&server["logs"][0]), [("database-locked".to_owned(), 1, Some(1))]);
    assert_eq!(server["status"], "healthy", "{server:#}");
}

/// Whatever the log contains, only the class of a line, its number and its time are reported.
#[test]
fn nothing_of_a_lines_text_leaves() {
    let target = target("canary=CANARYWORD,malformed=2,locked=2,emfile=64");
    let hostile = format!(
        "{now} ERROR CANARYWORD: [Errno 24] Too many open files: '/CANARYWORD'\n\
         {now} ERROR CANARYWORD: database is locked CANARYWORD\n\
         CANARYWORD: MemoryError\n\
         Traceback (most recent call last):\n  File \"/CANARYWORD.py\", line 1, in CANARYWORD\n\
         CANARYWORDError: CANARYWORD\n\
         {now} INFO Finished server process [CANARYWORD]\n\
         Traceback (most recent call last):\n  File \"x\", line 1\nCANARYWORD: database is locked\n",
        now = stamp(0),
    );
    let mut log = std::fs::OpenOptions::new().append(true).open(target.home().join("webui.log")).unwrap();
    log.write_all(hostile.as_bytes()).unwrap();
    for arguments in ["check --json", "check --verbose", "check", "health --json", "health --verbose"] {
        let answer = run(&format!("{arguments} --port {}", target.port));
        assert!(
            !answer.stdout.contains("CANARYWORD") && !answer.stderr.contains("CANARYWORD"),
            "{}",
            answer.stdout
        );
    }
    let shown = run(&format!("check --verbose --port {}", target.port)).stdout;
    assert!(
        shown.contains("LOGS") && shown.contains("ORDER") && shown.contains("database is malformed"),
        "{shown}"
    );
    let server = check(&target);
    assert!(server["logs"][0]["last_orderly_end_at"].is_string());
}

#[test]
fn an_empty_reply_names_the_traceback_at_the_end_of_the_log() {
    let target = webui("empty");
    let log = format!(
        "{} INFO x: y\nTraceback (most recent call last):\n  File \"x\", line 1\nValueError: secret\n",
        stamp(0)
    );
    std::fs::write(target.home().join("webui.log"), log).unwrap();
    let server = check(&target);
    let evidence = finding(&server, "reply-empty")["evidence"].as_array().unwrap().clone();
    let item = evidence.iter().find(|item| item["fact"] == "log: ends with a traceback of");
    assert_eq!(item.unwrap()["value"], "ValueError", "{evidence:#?}");
}

/// The log of a server that is down because its port is taken shows this, without a process whose start time could
/// be compared.
#[test]
fn a_server_that_is_down_has_its_log_read() {
    let home = home();
    let log = "OSError: [Errno 98] Address already in use\n".repeat(3);
    std::fs::write(home.path().join("webui.log"), stamp(-60) + " INFO webui: starts\n" + &log).unwrap();
    std::fs::write(home.path().join(".env"), "HERMES_WEBUI_PORT=9\n").unwrap();
    let server = server(&format!("check --home {} --kind webui", home.path().display()));
    let found = finding(&server, "server-not-running");
    let item = found["evidence"].as_array().unwrap().iter().find(|item| {
        item["fact"].as_str().unwrap().starts_with("log: lines \"address already in use\", the last at ")
    });
    assert_eq!(item.unwrap_or_else(|| panic!("{server:#}"))["value"], 3);
}

/// Times without a zone are of the host's zone, which may be any.
#[test]
fn times_without_a_zone_are_local() {
    let target = webui("");
    let local = |zone: &str| {
        let mut command = Command::new("date");
        let output = command.args(["+%Y-%m-%d %H:%M:%S,123"]).env("TZ", zone).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let since = |zone: &str, written_in: &str| {
        let log = format!("{} ERROR state: {MALFORMED}\n", local(written_in));
        std::fs::write(target.home().join("webui.log"), log).unwrap();
        let arguments = ["check", "--json", "--port", &target.port.to_string()].map(str::to_owned);
        let envelope = run_with(doctor().args(arguments).env("TZ", zone)).json();
        envelope["servers"][0]["logs"][0]["classes"][0]["since_start"].clone()
    };
    if Path::new("/usr/share/zoneinfo/Asia/Tokyo").exists() {
        assert_eq!(since("Asia/Tokyo", "Asia/Tokyo"), 1);
        // Written by a clock that is ahead: these times are in the future and are not compared.
        assert_eq!(since("UTC", "Asia/Tokyo"), serde_json::Value::Null);
    }
    assert_eq!(since("UTC", "UTC"), 1);
}
