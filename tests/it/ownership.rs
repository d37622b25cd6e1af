//! The expected and the actual owner of a server and its port: `--expect`, several owners, containers, and
//! supervisors with wrong answers.

use crate::common;

use common::{
    Guard, finding, home, ids, program_file, roots, run, run_with, server, skipped, start, wait_for, webui,
};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn gap_words(server: &Value) -> String {
    server["gaps"].as_array().unwrap().iter().map(|gap| format!("{} {}\n", gap["what"], gap["detail"])).collect()
}

/// The process itself or its parent as the expected supervisor is accepted; with another process the server is an
/// orphan.
#[test]
fn an_expected_pid_decides() {
    let (target, other) = (webui(""), webui(""));
    let own = server(&format!("check --port {} --expect pid:{}", target.port, target.pid()));
    assert_eq!((own["status"].as_str(), ids(&own)), (Some("healthy"), vec![]), "{own:#}");
    assert_eq!(own["lineage"]["supervisor"]["claims_this"], true);
    assert_eq!(own["lineage"]["expected"]["named"], true);
    let parent = server(&format!("check --port {} --expect pid:{}", target.port, std::process::id()));
    assert_eq!(parent["status"], "healthy", "{parent:#}");
    let found = server(&format!("lineage --port {} --expect pid:{}", target.port, other.pid()));
    assert_eq!((found["status"].as_str(), roots(&found)), (Some("warning"), vec!["orphaned-server"]), "{found:#}");
    let evidence = finding(&found, "orphaned-server")["evidence"][0]["source"].as_str().unwrap();
    assert!(evidence.contains("--expect pid:"), "{evidence}");
}

/// Adds a time in milliseconds to every age.
fn make_older(value: &mut Value, by: u64) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields {
                match field.as_u64() {
                    Some(age) if name == "age_ms" => *field = (age + by).into(),
                    _ => make_older(field, by),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| make_older(item, by)),
        _ => {}
    }
}

/// Two WebUIs on one home, both older than a handover, are duplicates; a WebUI of another home is not.
#[test]
fn two_servers_of_one_home_are_duplicates() {
    let (first, other_home) = (webui(""), webui(""));
    let second = start(
        Command::new("python3")
            .arg(program_file("hermes-webui/server.py"))
            .stderr(Stdio::null())
            .env("HERMES_HOME", first.home()),
    );
    // One that takes over from the other is no duplicate.
    let young = server(&format!("lineage --pid {}", second.pid()));
    assert!(!ids(&young).contains(&"duplicate-servers".to_owned()), "{young:#}");
    // The same facts half a minute later, when a handover would be over.
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("older.json");
    for (pid, twin) in [(first.pid(), second.pid()), (second.pid(), first.pid())] {
        let mut report = run(&format!("lineage --pid {pid} --json")).json();
        make_older(&mut report, 31_000);
        std::fs::write(&file, report.to_string()).unwrap();
        let found = server(&format!("lineage --from {}", file.display()));
        let title = finding(&found, "duplicate-servers")["title"].as_str().unwrap().to_owned();
        assert!(title.starts_with("2 ") && title.contains(&twin.to_string()), "{title}");
    }
    let alone = server(&format!("lineage --pid {}", other_home.pid()));
    assert!(!ids(&alone).contains(&"duplicate-servers".to_owned()), "{alone:#}");
}

/// No supervisor is expected, so a server without one is healthy.
#[test]
fn no_supervisor_can_be_expected() {
    let target = webui("");
    let found = server(&format!("check --port {} --expect none", target.port));
    assert_eq!((found["status"].as_str(), ids(&found)), (Some("healthy"), vec![]), "{found:#}");
    assert!(found["passed"].as_array().unwrap().contains(&"unsupervised-server".into()));
    assert_eq!(found["expectation"]["supervisor"], "none");
}

/// If the expected supervisor cannot be queried, the result is unknown; without another selector there is nothing
/// to examine.
#[test]
fn an_expected_supervisor_that_cannot_be_queried_is_unknown() {
    let target = webui("");
    for expect in [
        "launchd:ai.hermes.gateway",
        "supervisord:no-such-program",
        "runit:/nonexistent",
        "pm2:x",
        "systemd:no-such",
    ] {
        let found = server(&format!("check --port {} --expect {expect}", target.port));
        assert_eq!(found["status"], "unknown", "{expect}: {found:#}");
        assert!(gap_words(&found).contains(&format!("--expect {expect}")), "{expect}: {}", gap_words(&found));
        let answer = run(&format!("check --expect {expect}"));
        assert_eq!((answer.exit, answer.stderr.trim().lines().count()), (3, 1), "{expect}: {}", answer.stderr);
    }
    for bad in ["systemd", "openrc:x", "pid:0", "systemd:-M"] {
        let answer = run(&format!("check --expect {bad}"));
        assert_eq!(answer.exit, 3, "{bad}");
        assert!(answer.stderr.contains("--expect"), "{bad}: {}", answer.stderr);
    }
}

/// Observed for the given time, and not reported as a loop.
#[test]
fn observing_a_quiet_supervisor_finds_nothing() {
    let target = webui("");
    let found = server(&format!("lineage --port {} --expect pid:{} --observe 700ms", target.port, target.pid()));
    assert_eq!(found["status"], "healthy", "{found:#}");
    let relaunch = &found["lineage"]["relaunch"];
    assert!(relaunch["observed_ms"].as_u64().unwrap() >= 690, "{relaunch:#}");
    assert_eq!((relaunch["pids"].as_array().unwrap().len(), relaunch["port_changes"].as_u64()), (1, Some(0)));
}

/// A WebUI at a path that only it has, with SO_REUSEPORT.
fn sharing(home: &Path, name: &str, port: u16, mute: bool) -> Guard {
    let script = home.join(name).join("hermes-webui/server.py");
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    std::fs::copy(program_file("reuseport.py"), &script).unwrap();
    start(
        Command::new("python3")
            .arg(script)
            .arg(port.to_string())
            .env("HERMES_HOME", home)
            .env("MUTE", if mute { "yes" } else { "no" }),
    )
}

/// Two owners of one port: each is reported at the other, and the queue of the stalled one does not count for the
/// other.
#[test]
fn distinguishes_two_owners_of_one_port() {
    let home = home();
    let mute = sharing(home.path(), "a", 0, true);
    let lively = sharing(home.path(), "b", mute.port, false);
    let found = server(&format!("port --pid {}", mute.pid()));
    let sockets = found["listeners"]["sockets"].as_array().unwrap();
    assert_eq!(sockets.len(), 2, "{found:#}");
    assert_eq!(found["listeners"]["holders_complete"], true);
    let found = server(&format!("check --pid {}", lively.pid()));
    assert_eq!(roots(&found), ["port-owner-unexpected"], "{found:#}");
    assert_eq!(finding(&found, "port-owner-unexpected")["evidence"][0]["value"], mute.pid());
    assert!(!ids(&found).contains(&"accept-stalled".to_owned()), "{found:#}");
    let siblings = found["lineage"]["siblings"].as_array().unwrap();
    assert_eq!((siblings.len(), siblings[0]["pid"].as_u64()), (1, Some(u64::from(mute.pid()))), "{found:#}");
    assert_eq!((siblings[0]["same_port"].as_bool(), siblings[0]["same_home"].as_bool()), (Some(true), Some(true)));
    // The tree shows both.
    let shown = run(&format!("lineage --pid {}", lively.pid())).stdout;
    assert!(
        shown.contains(&format!("pid {}", mute.pid())) && shown.contains("with the same port and home"),
        "{shown}"
    );
}

/// In its own mount, pid and network namespaces, below its own root directory, as in a container: found from the
/// host with the right paths, pids and sockets; its probe is a gap with the reason.
#[test]
fn a_server_in_a_container_is_examined_from_the_host() {
    if !rustix::process::geteuid().is_root() {
        return skipped("a_server_in_a_container", "it takes root to make namespaces");
    }
    // On the host, /opt/data is another directory than inside.
    let outside = home();
    let data = outside.path().join("data");
    std::fs::create_dir_all(data.join("webui")).unwrap();
    let app = outside.path().join("hermes-webui");
    std::fs::create_dir_all(&app).unwrap();
    std::fs::copy(program_file("hermes-webui/server.py"), app.join("server.py")).unwrap();
    let script = format!(
        "mount --make-rprivate / && mount -t tmpfs tmpfs /opt && mkdir -p /opt/data /opt/hermes-webui && \
         mount --bind {} /opt/data && mount --bind {} /opt/hermes-webui && ip link set lo up && \
         cd /opt/hermes-webui && exec python3 server.py",
        data.display(),
        app.display()
    );
    let mut outer = Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "--net", "--kill-child", "sh", "-c", &script])
        .env("HERMES_HOME", "/opt/data")
        .env("PORT", "8787")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the server", || data.join("webui.pid").exists());
    let pid = child_of(outer.id());
    let (by_pid, all, shown) = (
        run(&format!("check --pid {pid} --json")),
        run("check --json"),
        run(&format!("lineage --pid {pid}")).stdout,
    );
    let _ = outer.kill();
    outer.wait().unwrap();
    for answer in [by_pid, all] {
        let envelope = answer.json();
        let servers = envelope["servers"].as_array().unwrap();
        let found = servers.iter().find(|server| server["pid"] == pid).unwrap_or_else(|| panic!("{envelope:#}"));
        assert_eq!(found["kind"], "webui");
        assert_eq!((found["home"].as_str(), found["port"].as_u64()), (Some("/opt/data"), Some(8787)), "{found:#}");
        // Pid 1 of its own namespace is this process, and the file in its own /opt/data contains 1.
        let file = &found["pid_files"][0];
        assert_eq!(
            (file["path"].as_str(), file["pid"].as_u64()),
            (Some("/opt/data/webui.pid"), Some(1)),
            "{found:#}"
        );
        assert_eq!(file["state"], "live", "{found:#}");
        assert_eq!(found["descriptors"]["sqlite"][0]["path"], "/opt/data/state.db", "{found:#}");
        let socket = &found["listeners"]["sockets"][0];
        assert_eq!(
            (socket["address"].as_str(), socket["holders"][0].as_u64()),
            (Some("127.0.0.1"), Some(u64::from(pid)))
        );
        assert_eq!(found["health"]["outcome"], "not_probed");
        assert!(found["health"]["note"].as_str().unwrap().contains("namespace"), "{found:#}");
        assert_eq!(found["process"]["namespace_pids"].as_array().unwrap().len(), 2);
        // Only the HTTP answer is missing, and the host's own /opt is not reported.
        assert_eq!((found["status"].as_str(), roots(found).len()), (Some("unknown"), 0), "{found:#}");
    }
    assert!(shown.contains("/opt/data"), "{shown}");
}

fn child_of(parent: u32) -> u32 {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).unwrap().split_whitespace().next().unwrap().parse().unwrap()
}

/// The answer of the runtime for a container, if its socket may be used.
#[test]
fn a_container_runtime_is_queried_on_its_socket() {
    let Some(group) = container_group() else {
        return skipped("a_container_runtime", "it takes root, and a writable cgroup2 tree");
    };
    let home = home();
    let script = format!(
        "echo $$ > {}/cgroup.procs && exec python3 {}",
        group.0.display(),
        program_file("hermes-webui/server.py").display()
    );
    let target = start(Command::new("sh").args(["-c", &script]).env("HERMES_HOME", home.path()));
    let run_directory = tempfile::tempdir().unwrap();
    let answer = run_directory.path().join("answer.json");
    let text = format!(
        "{{\"Name\":\"/hermes-webui\",\"Path\":\"python\",\"Args\":[\"server.py\"],\"RestartCount\":2,\
         \"State\":{{\"Status\":\"running\",\"Pid\":{},\"ExitCode\":0,\"StartedAt\":\"2026-08-01T00:00:00Z\"}},\
         \"HostConfig\":{{\"RestartPolicy\":{{\"Name\":\"unless-stopped\"}}}},\"Config\":{{\"Env\":[\"K=canary-env\"]}}}}",
        target.pid()
    );
    std::fs::write(&answer, text).unwrap();
    let runtime = start(
        Command::new("python3")
            .arg(program_file("socket_server.py"))
            .env("ANSWER_SOCKET", run_directory.path().join("docker.sock"))
            .env("ANSWER", format!("file={}", answer.display())),
    );
    let ask = |pid: u32| {
        let mut command = Command::new("unshare");
        let script = format!(
            "mount --bind {} /run && exec {} check --pid {pid} --json",
            run_directory.path().display(),
            common::program()
        );
        let answer = run_with(command.args(["--mount", "sh", "-c", &script]).env("HOME", "/nonexistent"));
        answer.json()["servers"][0].clone()
    };
    let found = ask(target.pid());
    let supervisor = &found["lineage"]["supervisor"];
    assert_eq!((supervisor["kind"].as_str(), supervisor["name"].as_str()), (Some("docker"), Some("hermes-webui")));
    assert_eq!((supervisor["claims_this"].as_bool(), supervisor["restarts"].as_u64()), (Some(true), Some(2)));
    assert_eq!((found["status"].as_str(), ids(&found)), (Some("healthy"), vec![]), "{found:#}");
    assert!(!found.to_string().contains("canary-env"));
    // Without an answer the control group still identifies the runtime and the container, and a gap reports that
    // the runtime was not queried.
    drop(runtime);
    let found = ask(target.pid());
    assert_eq!(found["lineage"]["supervisor"]["kind"], "docker", "{found:#}");
    assert!(gap_words(&found).contains("docker on container 0123456789ab"), "{}", gap_words(&found));
    drop(target);
}

/// A control group as Docker creates it; removed with the test.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn container_group() -> Option<Group> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let root = table.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        after.starts_with("cgroup2 ").then(|| PathBuf::from(before.split(' ').nth(4).unwrap()))
    })?;
    let group = Group(root.join(format!("docker-0123456789ab{:052x}.scope", std::process::id())));
    std::fs::create_dir(&group.0).ok()?;
    Some(group)
}

/// A program that looks like supervisord and answers as `what` selects; its program is the WebUI on `port`.
fn supervisord(home: &Path, port: u16, what: &str, program: &str) -> Guard {
    let script = home.join("supervisord");
    std::fs::copy(program_file("socket_server.py"), &script).unwrap();
    let configuration = format!(
        "[unix_http_server]\nfile=%(here)s/supervisor.sock\n[program:{program}]\n\
         command=python3 /srv/hermes-webui/bootstrap.py --no-browser 127.0.0.1 {port}\n"
    );
    std::fs::write(home.join("supervisord.conf"), configuration).unwrap();
    let _ = std::fs::remove_file(home.join("supervisor.sock"));
    start(
        Command::new("python3")
            .arg(script)
            .arg("-c")
            .arg(home.join("supervisord.conf"))
            .env("ANSWER_SOCKET", home.join("supervisor.sock"))
            .env("ANSWER", what),
    )
}

/// Answers that are huge, malformed, refused or endless: a gap with the reason within the deadline, and no finding.
#[test]
fn a_hostile_supervisord_ends_in_a_gap() {
    let target = webui("");
    for (what, reason) in [
        ("huge", "malformed"),
        ("drip", "timeout"),
        ("silent", "timeout"),
        ("garbage", "malformed"),
        ("status=401", "permission"),
        ("status=500", "malformed"),
    ] {
        let home = home();
        let _supervisor = supervisord(home.path(), target.port, what, "hermes-webui");
        let begun = Instant::now();
        let found = server(&format!("lineage --port {}", target.port));
        assert!(begun.elapsed() < Duration::from_secs(10), "{what}: {:?}", begun.elapsed());
        let gap = found["gaps"]
            .as_array()
            .unwrap()
            .iter()
            .find(|gap| gap["what"].as_str().unwrap().starts_with("the claims of"))
            .unwrap_or_else(|| panic!("{what}: {found:#}"));
        assert_eq!(gap["reason"], reason, "{what}: {gap:#}");
        assert!(!ids(&found).contains(&"orphaned-server".to_owned()), "{what}: {found:#}");
        assert!(!found.to_string().contains('\u{1b}'), "{what}");
    }
}

/// Names with control characters, in the answer and in the configuration.
#[test]
fn hostile_names_do_not_reach_the_terminal() {
    let (target, home) = (webui(""), home());
    let name = "\u{1b}]0;owned\u{7}web\u{202e}iu";
    let answer = home.path().join("answer.xml");
    let program =
        |member: &str, value: String| format!("<member><name>{member}</name><value>{value}</value></member>");
    // XML cannot contain the escape character itself; the rest of the name is unchanged.
    let sent = name.replace(['\u{1b}', '\u{7}'], "");
    let text = format!(
        "<?xml version='1.0'?><methodResponse><params><param><value><array><data><value><struct>{}{}{}{}</struct></value>\
         </data></array></value></param></params></methodResponse>",
        program("name", format!("<string>{sent}</string>")),
        program("group", format!("<string>{sent}</string>")),
        program("statename", "<string>BACK\u{202e}OFF</string>".to_owned()),
        program("pid", "<int>4294967295</int>".to_owned()),
    );
    std::fs::write(&answer, text).unwrap();
    let what = format!("file={}", answer.display());
    let _supervisor = supervisord(home.path(), target.port, &what, &sent);
    for arguments in ["lineage", "lineage --verbose", "check", "lineage --json"] {
        let answer = run(&format!("{arguments} --port {}", target.port));
        assert!(matches!(answer.exit, 0..=2), "{arguments}: {}", answer.stderr);
        assert!(!answer.stdout.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{arguments}: {}", answer.stdout);
        if arguments == "lineage" {
            assert!(answer.stdout.contains("\\u{202e}"), "{}", answer.stdout);
        }
    }
}
