//! Secrets in every place that the program reads: no form of a report contains one.

use crate::common;

use base64::Engine;
use common::{Guard, doctor, program_file, run, run_with, signal_pid, skipped, start, tool, wait_for};
use hermes_doctor::collect::replay;
use hermes_doctor::examine::redacted;
use hermes_doctor::model::Envelope;
use hermes_doctor::redact::Level;
use hermes_doctor::render::{html, json, markdown};
use rustix::process::Signal;
use serde_json::Value;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The prefix of every secret in these tests.
const CANARY: &str = "zq";

fn assert_none(text: &str, what: &str) {
    // The HTML page contains its drawings as base64.
    let mut parts = text.split("base64,");
    let mut unpacked = parts.next().unwrap().to_owned();
    for part in parts {
        let (data, rest) = part.split_once('"').unwrap();
        let svg = base64::engine::general_purpose::STANDARD.decode(data).unwrap();
        unpacked.push_str(&String::from_utf8(svg).unwrap());
        unpacked.push_str(rest);
    }
    let lower = unpacked.to_lowercase();
    if let Some(at) = lower.find(CANARY) {
        let from = (0..=at.saturating_sub(200)).rev().find(|at| lower.is_char_boundary(*at)).unwrap();
        panic!("{what}: {}", lower[from..].chars().take(400).collect::<String>());
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    assert!(host.len() < 6 || !text.contains(&host), "{what}: the name of this host");
}

/// Every form at every level that redacts, of the live server and of an unredacted report of it. Returns the
/// unredacted report.
fn reports(selection: &str) -> String {
    let plain = run(&format!("report {selection} --redact none --yes"));
    assert_ne!(plain.exit, 3, "{} {}", plain.stdout, plain.stderr);
    let directory = tempfile::tempdir().unwrap();
    let saved = directory.path().join("plain.json");
    std::fs::write(&saved, &plain.stdout).unwrap();
    for level in ["default", "paranoid"] {
        for form in ["", "--markdown", "--html"] {
            for of in [selection.to_owned(), format!("--from {}", saved.display())] {
                let mut command = doctor();
                command.args(["report", "--redact", level, "--review", "--yes"]).args(form.split_whitespace());
                let answer = run_with(command.args(of.split_whitespace()));
                assert!(answer.stdout.len() > 2000, "{} {}", answer.stdout, answer.stderr);
                assert_none(&answer.stdout, &format!("{level} {form} {of}"));
                assert_none(&answer.stderr, &format!("what {level} {form} {of} shows"));
            }
        }
    }
    for form in ["nagios", "openmetrics"] {
        for of in [selection.to_owned(), format!("--from {}", saved.display())] {
            let answer = run(&format!("check {of} --format {form}"));
            assert!(answer.stdout.len() > 100 && answer.stderr.is_empty(), "{} {}", answer.stdout, answer.stderr);
            assert_none(&answer.stdout, &format!("{form} {of}"));
        }
    }
    plain.stdout
}

/// The server in a directory with a secret name, with a home below it.
struct Nest {
    directory: tempfile::TempDir,
}

impl Nest {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("zqdirectory-").tempdir().unwrap();
        let nest = Self { directory };
        std::fs::create_dir_all(nest.program().parent().unwrap()).unwrap();
        std::fs::copy(program_file("canaries.py"), nest.program()).unwrap();
        std::fs::create_dir_all(nest.home()).unwrap();
        std::fs::write(nest.home().join("config.yaml"), "token: zqconfig\n").unwrap();
        nest
    }

    fn program(&self) -> PathBuf {
        self.directory.path().join("zq acme/hermes-webui/server.py")
    }

    fn home(&self) -> PathBuf {
        self.directory.path().join("zqowner/.hermes")
    }

    fn start(&self, mode: &str) -> Guard {
        let work = self.directory.path().join(format!("zqwork {mode}"));
        std::fs::create_dir_all(&work).unwrap();
        start(
            Command::new("python3")
                .arg(self.program())
                .args(["0", "--token", "zqtoken", "--api-key=zqkey", "-pzqshort", "zqpositional", "--zqflag"])
                .args([
                    "--url",
                    "https://zquser:zqpass@zqhost.example:8443/zqroute?zqname=zqvalue",
                    "zqann@zqmail.example",
                ])
                .args([
                    "ZQNAME=zqvalue",
                    "/srv/zqfolder/zqfile.txt",
                    "zq two words",
                    "zqabcdef0123456789abcdef0123456789",
                ])
                .current_dir(work)
                .env("HERMES_HOME", self.home())
                .env("CANARY", mode)
                .env("OPENAI_API_KEY", "zqenvironment")
                .env("ZQVARIABLE", "1"),
        )
    }
}

#[test]
fn a_server_full_of_secrets_keeps_them() {
    for mode in ["ok", "sick", "redirect", "garbage"] {
        let nest = Nest::new();
        let target = nest.start(mode);
        let selection = format!("--pid {} --port {}", target.pid(), target.port);
        let plain = reports(&selection);
        // The report contains them before redaction.
        let seen = [
            "zqpositional",
            "zqflag",
            "zqfolder",
            "zqclients.db",
            "zqclients two.db",
            "zqunlinked.log",
            "zqletter to zqann.txt",
            "zqowner",
            "zqdirectory-",
            "zq acme",
            "zqprocess",
            "zqheader",
        ];
        for canary in seen {
            assert!(plain.contains(canary), "{canary} is nowhere in {plain}");
        }
        // These are not collected at all.
        for canary in [
            "zqenvironment",
            "zqvariable",
            "zqlocal",
            "zqlogline",
            "zqbody",
            "zqpage",
            "zqcrumb",
            "zqtoken",
            "zqkey",
            "zqpass",
        ] {
            assert!(!plain.contains(canary), "{canary} was collected");
        }
        // A user that requests the stacks gets names of functions and threads, but no value of a variable.
        if mode == "ok" && cfg!(feature = "stacks") {
            let stacks = reports(&format!("{selection} --stacks"));
            assert!(stacks.contains("zqfunction") && stacks.contains("zqnamed"), "{stacks}");
            for canary in ["zqvariable", "zqframe", "zqlocal", "zqargument"] {
                assert!(!stacks.contains(canary), "{canary} was collected");
            }
        }
        if mode == "sick" {
            assert!(plain.contains("zqcheck") && plain.contains("zqversion"), "{plain}");
        }
    }
}

/// Paths on the command line of the doctor are redacted too.
#[test]
fn the_selection_is_hidden_too() {
    let nest = Nest::new();
    let target = nest.start("ok");
    for form in ["", "--markdown", "--html"] {
        let mut command = doctor();
        command.arg("report").args(form.split_whitespace()).arg("--home").arg(nest.home());
        let answer = run_with(command.args(["--port", &target.port.to_string()]));
        assert!(answer.stdout.len() > 2000, "{}", answer.stderr);
        assert_none(&answer.stdout, form);
        let mut command = doctor();
        command.arg("report").args(form.split_whitespace()).args(["--expect", "systemd:zqunit.service"]);
        let answer = run_with(command.args(["--port", &target.port.to_string()]));
        assert_none(&answer.stdout, form);
    }
}

/// A supervisor that ends its server when it is ended.
struct Supervised {
    child: Child,
}

impl Drop for Supervised {
    fn drop(&mut self) {
        signal_pid(self.child.id(), Signal::TERM);
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn supervised(program: &Path, argument: &[&str], port: u16) -> Supervised {
    let mut command = Command::new(program);
    command.args(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let running = Supervised { child: command.env("ZQSUPERVISOR", "zqsupervisor").spawn().unwrap() };
    wait_for("the server", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    running
}

#[test]
fn supervisords_configuration_stays_at_home() {
    let Some(program) = tool("supervisord") else {
        return skipped("supervisord", "it is not installed (tests/run installs it)");
    };
    let (nest, port) = (Nest::new(), free_port());
    let directory = nest.directory.path().display().to_string();
    let configuration = format!(
        "[supervisord]\nnodaemon=true\nlogfile={directory}/zqsupervisord.log\npidfile={directory}/zq.pid\n\
         [unix_http_server]\nfile={directory}/zq.sock\nusername=zquser\npassword=zqpassword\n\
         [rpcinterface:supervisor]\nsupervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n\
         ; zqcomment\n[program:zqprogram]\ndirectory={directory}\n\
         command=python3 \"{}\" {port} --zqoption zqargument\n\
         environment=HERMES_HOME=\"{}\",API_TOKEN=\"zqsecret\"\nstdout_logfile={directory}/zqout.log\n",
        nest.program().display(),
        nest.home().display()
    );
    let file = nest.directory.path().join("zqsupervisord.conf");
    std::fs::write(&file, configuration).unwrap();
    let _running = supervised(&program, &["-c", file.to_str().unwrap()], port);
    let plain = reports(&format!("--port {port}"));
    assert!(plain.contains("zqsupervisord.conf") || plain.contains("zqprogram"), "{plain}");
    assert!(
        !plain.contains("zqpassword") && !plain.contains("zqsecret") && !plain.contains("zqcomment"),
        "{plain}"
    );
}

#[test]
fn runits_configuration_stays_at_home() {
    let Some(program) = tool("runsv") else {
        return skipped("runit", "it is not installed (Debian package runit)");
    };
    let (nest, port) = (Nest::new(), free_port());
    let service = nest.directory.path().join("zqservice");
    std::fs::create_dir(&service).unwrap();
    let script = format!(
        "#!/bin/sh\n# zqcomment\nexport HERMES_HOME='{}' API_TOKEN=zqsecret\ncd '{}' || exit 1\nexec python3 '{}' {port} zqargument\n",
        nest.home().display(),
        nest.directory.path().display(),
        nest.program().display()
    );
    std::fs::write(service.join("run"), script).unwrap();
    std::fs::set_permissions(service.join("run"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let _running = supervised(&program, &[service.to_str().unwrap()], port);
    let plain = reports(&format!("--port {port}"));
    assert!(plain.contains("zqservice") && plain.contains("runit"), "{plain}");
    assert!(!plain.contains("zqsecret") && !plain.contains("zqcomment"), "{plain}");
}

/// Secrets in fields that a later recorder may fill: in each recorded host, each text is replaced by a secret once.
/// A value that can no longer be parsed as a report (a state, a kind) cannot be a secret.
#[test]
fn no_field_lets_a_secret_through() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let mut planted = 0;
    for name in
        ["systemd-duplicates", "pm2-errored", "database-locked", "degraded", "close-wait", "output-pipe-full"]
    {
        let text = std::fs::read(directory.join(format!("{name}.json"))).unwrap();
        let recorded = replay::read(&text).unwrap();
        for pattern in [
            "zqsecret",
            "/srv/zqsecret/a",
            "zqsecret two words",
            "--zqsecret=1",
            "zqsecret.service",
            "a: zqsecret (b)",
        ] {
            let mut value = serde_json::to_value(&recorded).unwrap();
            planted += plant(&mut value, pattern, &[]);
            let envelope: Envelope = serde_json::from_value(value).unwrap();
            for level in [Level::Default, Level::Paranoid] {
                let hidden = redacted(envelope.clone(), level, &[]);
                assert!(!hidden.servers.is_empty(), "{name}: nothing is left");
                for (form, text) in
                    [("JSON", json(&hidden)), ("Markdown", markdown(&hidden)), ("HTML", html(&hidden))]
                {
                    assert_none(&text, &format!("{name} {pattern} {form}"));
                }
            }
        }
    }
    assert!(planted > 3000, "{planted}");
}

/// Puts a secret into every text that can have any value, and into the keys of maps.
fn plant(value: &mut Value, secret: &str, path: &[&str]) -> usize {
    const CLOSED: &[&str] =
        &["schema", "status", "severity", "reason", "outcome", "examined", "role", "state", "shape", "series"];
    let key = path.last().copied().unwrap_or_default();
    let parent = path.len().checked_sub(2).and_then(|at| path.get(at)).copied().unwrap_or_default();
    match value {
        Value::Object(map) => {
            let mut count = 0;
            for (name, value) in map.iter_mut() {
                let path: Vec<&str> = path.iter().copied().chain([name.as_str()]).collect();
                count += plant(value, secret, &path);
            }
            if matches!(key, "by_kind" | "markers" | "checks" | "kinds") {
                let value = if key == "by_kind" || key == "kinds" { 1.into() } else { secret.into() };
                map.insert(secret.to_owned(), value);
                count += 1;
            }
            count
        }
        Value::Array(values) => values.iter_mut().map(|value| plant(value, secret, path)).sum(),
        Value::String(text) => {
            let is_enum = CLOSED.contains(&key)
                && !matches!(parent, "answer" | "supervisor" | "claims" | "sockets")
                || key == "name" && matches!(parent, "phases" | "system_call")
                // The kernel's own names of its functions.
                || key == "wait_channel"
                || key == "kind" && !matches!(parent, "targets" | "supervisor" | "claims" | "expected");
            if !is_enum {
                *text = secret.to_owned();
            }
            usize::from(!is_enum)
        }
        _ => 0,
    }
}
