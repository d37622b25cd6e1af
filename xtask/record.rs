//! Records fixtures from real servers. Check each change before you commit it.

use crate::common::{self, program_file, reported, run, webui};
use crate::launchd;
use crate::pages::path;
use hermes_doctor::collect::replay;
use hermes_doctor::model::Role;
use std::path::Path;
use std::process::Command;

/// Hosts of test servers and demo scenarios. Needs Python.
pub fn servers() {
    for (name, demo) in [
        ("healthy-supervised", "healthy"),
        ("leak-critical", "leak"),
        ("ceiling-by-sockets", "ceiling"),
        ("stopped", "stopped"),
        ("accept-stalled", "mute"),
        ("close-wait", "close-wait"),
        ("orphan", "orphan"),
        ("foreign-program", "foreign"),
        ("healthy-tls", "tls"),
    ] {
        keep(name, &run(&format!("demo {demo} --json")).stdout);
    }
    for (name, what) in [
        ("healthy-pool", "leak=13"),
        ("leak-level", "leak=40,limit=200"),
        ("degraded", "degraded"),
        ("handler-stuck", "silent"),
        ("ipv6-only", "ipv6"),
        ("overload", "overload"),
        ("reply-empty", "empty"),
        ("unlinked-log", "unlink"),
        ("unsupervised", ""),
        ("zombies", "zombies=12"),
    ] {
        let target = webui(what);
        keep(name, &run(&format!("check --json --port {}", target.port)).stdout);
    }
    keep("not-running", &run("check --json --port 8787").stdout);
}

/// Wedged servers, as in tests/it/wedges.rs.
pub fn wedges() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for (name, what) in [
        ("handlers-deadlocked", "deadlock"),
        ("handlers-and-computation", "busy,deadlock"),
        ("route-locked", "route-lock"),
        ("accept-loop-locked", "accept-lock"),
        ("gil-held", "gil"),
        ("computation", "busy"),
        ("ceiling-by-handles", "fill=db,limit=64"),
        ("route-late", "slow-route=5100"),
        ("state-d", &format!("dstate={}", fifo.display())),
    ] {
        let target = webui(what);
        std::thread::sleep(std::time::Duration::from_secs(1));
        keep(name, &run(&format!("check --json --port {}", target.port)).stdout);
        if what.starts_with("dstate") {
            drop(std::fs::OpenOptions::new().write(true).open(&fifo).unwrap());
        }
    }
    let target = webui("writes");
    let path = target.home().join("state.db");
    let database = program_file("database.py");
    let _writer = common::start(Command::new("python3").arg(database).arg(&path).arg("writer"));
    keep("database-locked", &run(&format!("check --json --port {}", target.port)).stdout);
}

/// Hosts of public reports, from tests/it/common/reported.rs.
pub fn reported_hosts() {
    for reported in reported::REPORTED {
        if let Some(envelope) = reported::host(reported) {
            let text = serde_json::to_string_pretty(&envelope).unwrap();
            std::fs::write(path(&format!("report-{}", reported.name)), text + "\n").unwrap();
        }
    }
}

/// Fixtures that tests with real supervisors and limits record, each with its test. A test that did not run leaves its fixture as it is.
const OF_TESTS: &[(&str, &str)] = &[
    ("systemd-orphan", "a_detaching_launcher_leaves_an_orphan"),
    ("systemd-user-orphan", "an_orphan_below_a_user_manager_is_found"),
    ("systemd-flapping", "a_flapping_unit_is_a_loop_at_every_moment"),
    ("systemd-duplicates", "two_units_on_one_home_are_duplicates"),
    ("systemd-rival", "a_unit_of_another_home_on_the_port_is_unexpected"),
    ("systemd-stranger", "a_foreign_program_makes_a_unit_loop"),
    ("systemd-launcher-gone", "a_launcher_that_detaches_takes_its_server_along"),
    ("systemd-launcher-left", "a_launcher_that_detaches_leaves_its_server"),
    ("systemd-failed", "a_unit_that_failed_for_good_has_given_up"),
    ("systemd-forking", "type_forking_is_healthy"),
    ("supervisord-fatal", "supervisord_that_has_given_up"),
    ("runit-orphan", "runit"),
    ("s6-orphan", "s6"),
    ("pm2-errored", "pm2_by_its_own_socket"),
    ("malformed-first", "real_errors_are_counted_in_the_order_in_which_they_began"),
    ("memory-killed", "processes_killed_by_the_kernel_are_reported"),
    ("threads-exhausted", "a_limit_above_the_own_group_counts_too"),
    ("two-owners", "distinguishes_two_owners_of_one_port"),
    ("backlog-full", "an_accept_loop_that_waits_for_a_lock"),
    ("output-pipe-full", "a_full_output_pipe_is_reported_with_its_reader"),
    ("workers-free", "workers_that_are_all_busy"),
];

/// The last answers of tests, which were kept in this directory (HERMES_DOCTOR_KEEP) while they ran.
pub fn of_tests(directory: &Path) {
    for (name, test) in OF_TESTS {
        if let Ok(kept) = std::fs::read_to_string(directory.join(format!("{test}.json"))) {
            keep(name, &kept);
        }
    }
}

/// Replaces a prefix together with the word that follows it.
fn replaced(text: &str, prefix: &str, to: &str) -> String {
    let mut parts = text.split(prefix);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str(to);
        out.push_str(
            part.trim_start_matches(|character: char| character.is_ascii_alphanumeric() || character == '_'),
        );
    }
    out
}

/// Removes everything that identifies the recording machine, and saves the fixture.
fn keep(name: &str, json: &str) {
    let mut envelope = replay::read(json.as_bytes()).unwrap();
    let python = Command::new("python3")
        .args(["-c", "import os, sys; print(sys.executable, os.path.realpath(sys.executable))"])
        .output()
        .unwrap();
    let python = String::from_utf8(python.stdout).unwrap();
    for server in &mut envelope.servers {
        let account = |user: &mut Option<hermes_doctor::model::UserName>| {
            if user.as_deref().is_some_and(|name| name != "root") {
                *user = Some("hermes".into());
            }
        };
        if let Some(process) = &mut server.process {
            account(&mut process.user);
        }
        let hops =
            server.lineage.iter_mut().flat_map(|lineage| lineage.hops.iter_mut().chain(&mut lineage.relatives));
        hops.for_each(|hop| account(&mut hop.user));
        if let Some(lineage) = &mut server.lineage {
            // Between the server's side and init there are only processes of the user that ran the test.
            let keeps = |hop: &&hermes_doctor::model::Hop| {
                matches!(
                    hop.role,
                    Role::Server | Role::Launcher | Role::RespawnLoop | Role::Demo | Role::Supervisor
                ) || hop.name.as_deref() == Some("systemd --user")
                    || hop.command.contains("hermes-webui/")
            };
            lineage.relatives =
                lineage.relatives.iter().filter(|hop| keeps(hop) && hop.pid != 1).cloned().collect();
            let shown: Vec<_> = lineage.hops.iter().filter(keeps).cloned().collect();
            let init = lineage.hops.iter().filter(|hop| hop.pid == 1).map(|hop| {
                let mut init = hop.clone();
                init.command = "/sbin/init".into();
                init.name = Some("init".into());
                init
            });
            lineage.hops = shown.into_iter().chain(init).collect();
        }
        if let Some(resources) = &mut server.resources {
            // The groups of the user that ran the test.
            let is_of_test = |path: &str| path.starts_with("/hermes-doctor-test-");
            resources.task_groups.retain(|group| is_of_test(&group.path));
            resources.memory_groups.retain(|group| is_of_test(&group.path));
        }
        if let Some(descriptors) = &mut server.descriptors {
            descriptors.targets.retain(|target| target.kind != "pipe" && !target.target.contains("bash_jobs"));
        }
    }
    envelope.host.kernel = Some("6.12.0".into());
    envelope.host.init = Some("init".into());
    let mut text = serde_json::to_string_pretty(&envelope).unwrap();
    for (from, to) in [
        (program_file("limits/hermes-webui").to_str().unwrap(), "/srv/hermes-webui"),
        (program_file("hermes-webui").to_str().unwrap(), "/srv/hermes-webui"),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/bin"), "/usr/bin"),
        (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/programs"), "/srv"),
        (common::program(), "/usr/local/bin/hermes-doctor"),
        ("target/debug/hermes-doctor", "/usr/local/bin/hermes-doctor"),
        // A version manager's shim is no part of a real host.
        ("bash /root/.pyenv/libexec/pyenv exec python3", "python3"),
        ("bash /root/.pyenv/libexec/pyenv-exec python3", "python3"),
        (python.split_whitespace().next().unwrap(), "/usr/bin/python3"),
        (python.split_whitespace().nth(1).unwrap(), "/usr/bin/python3"),
    ] {
        text = text.replace(from, to);
    }
    let groups = envelope.servers.iter().filter_map(|server| server.resources.as_ref()).flat_map(|resources| {
        let tasks = resources.task_groups.iter().map(|group| group.path.clone());
        tasks.chain(resources.memory_groups.iter().map(|group| group.path.clone())).collect::<Vec<_>>()
    });
    for group in groups {
        let first = group.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        text = text.replace(&format!("/{first}"), "/hermes");
    }
    // The programs of a server that is down, and of rival supervisors.
    let others: Vec<String> = envelope
        .servers
        .iter()
        .filter_map(|server| server.lineage.as_ref())
        .flat_map(|lineage| {
            lineage
                .claims
                .iter()
                .chain([&lineage.supervisor])
                .filter_map(|claim| claim.home.as_ref().map(ToString::to_string))
        })
        .collect();
    for home in others {
        let place = if home.starts_with("/var/tmp/other") { "/home/other/.hermes" } else { "/home/hermes/.hermes" };
        text = text.replace(&home, place);
    }
    for server in &envelope.servers {
        for home in server
            .home
            .as_deref()
            .into_iter()
            .chain(server.process.iter().filter_map(|process| process.home.as_deref()))
        {
            text = text.replace(home, "/home/hermes/.hermes");
        }
    }
    for (from, to) in [
        ("/hermes-doctor-test-", ""),
        ("/tmp/pm2-", "/home/hermes/.pm2"),
        ("/tmp/hermes-webui-stderr---supervisor-", "/var/log/supervisor/hermes-webui-stderr"),
    ] {
        text = replaced(&text, from, to);
    }
    // The home of another program is known only from the configuration of its port.
    while let Some(at) = text.find("/tmp/hermes-doctor-") {
        let end = text[at..].find(['"', ' ', '/']).map_or(text.len(), |_| {
            let tail = &text[at + 5..];
            at + 5 + tail.find(['"', ' ', '/']).unwrap_or(tail.len())
        });
        text.replace_range(at..end, "/home/hermes/.hermes");
    }
    std::fs::write(path(name), text + "\n").unwrap();
}

/// Macs below launchd, from the numbers of reports: tests/it/launchd.rs.
pub fn macs() {
    for (name, envelope) in launchd::recorded_hosts() {
        std::fs::write(path(name), serde_json::to_string_pretty(&envelope).unwrap() + "\n").unwrap();
    }
}
