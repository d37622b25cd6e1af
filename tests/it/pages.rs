//! Pages and tables that are made of the program and of the fixtures. Tests compare them, and `cargo xtask` writes them.
#![allow(dead_code)]

use crate::common::reported;
use hermes_doctor::collect::replay;
use hermes_doctor::model::{Envelope, Status};
use hermes_doctor::wording::catalogue::CATALOGUE;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// File, status, root causes.
pub const HOSTS: &[(&str, Status, &[&str])] = &[
    ("accept-stalled", Status::Critical, &["accept-stalled"]),
    ("ceiling-by-sockets", Status::Critical, &["descriptor-ceiling"]),
    ("close-wait", Status::Warning, &["close-wait-leak"]),
    ("degraded", Status::Critical, &["health-degraded"]),
    ("foreign-program", Status::Critical, &["port-held-by-other-program"]),
    ("accept-loop-locked", Status::Critical, &["accept-stalled"]),
    ("backlog-full", Status::Critical, &["accept-stalled"]),
    ("ceiling-by-handles", Status::Critical, &["state-db-handle-leak"]),
    ("computation", Status::Healthy, &[]),
    ("database-locked", Status::Critical, &["database-lock-held"]),
    ("gil-held", Status::Critical, &["gil-held"]),
    ("handlers-and-computation", Status::Critical, &["handlers-stuck"]),
    ("handlers-deadlocked", Status::Critical, &["handlers-stuck"]),
    ("output-pipe-full", Status::Critical, &["output-pipe-full"]),
    ("route-late", Status::Healthy, &[]),
    ("route-locked", Status::Critical, &["handlers-stuck"]),
    ("state-d", Status::Critical, &["uninterruptible-sleep"]),
    ("workers-free", Status::Healthy, &[]),
    // Recorded before threads were sampled, so no cause is established.
    ("handler-stuck", Status::Critical, &["http-no-answer"]),
    ("healthy-pool", Status::Healthy, &[]),
    ("healthy-supervised", Status::Healthy, &[]),
    ("healthy-tls", Status::Healthy, &[]),
    ("ipv6-only", Status::Healthy, &[]),
    // Macs under launchd, made of the numbers of real reports by tests/it/launchd.rs, each with its maintainers' verdict:
    // A#79742, A#80204 (twice), W#1458 (its first and its third way), W#1494, W#3289, A#96027, A#87005.
    ("launchd-ceiling", Status::Warning, &["state-db-handle-leak"]),
    ("launchd-orphan-backend", Status::Warning, &["orphaned-server"]),
    ("launchd-supervised-backend", Status::Healthy, &[]),
    ("launchd-respawn", Status::Critical, &["orphaned-server"]),
    ("launchd-mute", Status::Critical, &["http-no-answer"]),
    ("launchd-leak-reset", Status::Critical, &["state-db-handle-leak"]),
    ("launchd-second-start", Status::Critical, &["orphaned-server"]),
    ("launchd-two-leaks", Status::Warning, &["state-db-handle-leak", "close-wait-leak"]),
    ("launchd-wrapper", Status::Healthy, &[]),
    ("leak-critical", Status::Critical, &["state-db-handle-leak"]),
    ("malformed-first", Status::Critical, &["database-malformed"]),
    ("memory-killed", Status::Warning, &["memory-killed"]),
    ("leak-level", Status::Warning, &["state-db-handle-leak"]),
    ("not-running", Status::Critical, &["server-not-running"]),
    ("orphan", Status::Critical, &["orphaned-server"]),
    ("pm2-errored", Status::Warning, &["orphaned-server"]),
    ("runit-orphan", Status::Critical, &["orphaned-server"]),
    ("s6-orphan", Status::Critical, &["orphaned-server"]),
    ("supervisord-fatal", Status::Warning, &["orphaned-server"]),
    ("systemd-duplicates", Status::Critical, &["duplicate-supervisors"]),
    ("systemd-failed", Status::Critical, &["supervisor-gave-up"]),
    ("systemd-flapping", Status::Critical, &["respawn-loop"]),
    ("systemd-forking", Status::Healthy, &[]),
    ("systemd-launcher-gone", Status::Critical, &["launcher-detached"]),
    ("systemd-launcher-left", Status::Warning, &["launcher-detached"]),
    ("systemd-orphan", Status::Critical, &["orphaned-server"]),
    ("systemd-rival", Status::Critical, &["port-owner-unexpected"]),
    ("systemd-stranger", Status::Critical, &["port-held-by-other-program"]),
    ("systemd-user-orphan", Status::Critical, &["orphaned-server"]),
    ("two-owners", Status::Critical, &["port-owner-unexpected"]),
    ("threads-exhausted", Status::Critical, &["threads-exhausted"]),
    ("overload", Status::Critical, &["workers-exhausted"]),
    ("reply-empty", Status::Critical, &["reply-empty"]),
    ("report-A100368-lost-locks", Status::Critical, &["database-locks-lost"]),
    ("report-A110276-deleted-wal", Status::Critical, &["wal-generation-deleted"]),
    ("report-A111577-zombies", Status::Warning, &["zombie-children"]),
    ("report-A113372-three-futexes", Status::Critical, &["http-no-answer"]),
    ("report-A119467-unproven-pid", Status::Critical, &["orphaned-server"]),
    ("report-A13655-start-limit", Status::Critical, &["supervisor-gave-up"]),
    ("report-A2189-stopped", Status::Critical, &["process-stopped"]),
    ("report-A32952-both-scopes", Status::Critical, &["duplicate-supervisors"]),
    ("report-A35201-wal-high-water", Status::Healthy, &[]),
    ("report-A36899-dashboard-limit", Status::Critical, &["descriptor-ceiling"]),
    ("report-A47510-zombies", Status::Warning, &["zombie-children"]),
    ("report-A58790-telegram-close-wait", Status::Warning, &["close-wait-leak"]),
    ("report-A70800-memory-high", Status::Critical, &["uninterruptible-sleep"]),
    ("report-A73379-tmux-loop", Status::Critical, &["orphaned-server"]),
    ("report-A81547-malformed-first", Status::Critical, &["connection-reset"]),
    ("report-A83512-gateway-handles", Status::Critical, &["state-db-handle-leak"]),
    ("report-A84233-dashboard-handles", Status::Warning, &["state-db-handle-leak"]),
    ("report-A88033-serve-handles", Status::Critical, &["state-db-handle-leak"]),
    ("report-A91286-serve-six-close-wait", Status::Critical, &["http-no-answer"]),
    ("report-W1855-route-under-lock", Status::Critical, &["route-slow"]),
    ("report-W4412-tls", Status::Healthy, &[]),
    ("report-W5210-thread-pile", Status::Critical, &["accept-stalled"]),
    ("report-W5944-restart-always", Status::Critical, &["orphaned-server", "stale-pid-file"]),
    ("stopped", Status::Critical, &["process-stopped"]),
    ("unlinked-log", Status::Healthy, &[]),
    ("unsupervised", Status::Healthy, &[]),
    ("zombies", Status::Warning, &["zombie-children"]),
];

/// The file of a fixture.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.json"))
}

/// A fixture.
pub fn read(name: &str) -> Envelope {
    replay::read(&std::fs::read(path(name)).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// docs/findings.md.
pub fn findings_page() -> String {
    let mut text = String::from(
        "# The findings\n\nStable ids: scripts and dashboards may rely on them. This page and `hermes-doctor explain` come from one \
         source, `src/wording/catalogue.rs`.\n",
    );
    for entry in CATALOGUE {
        let _ = write!(
            text,
            "\n## {}\n\n**{}** · severity: {}\n\n- Decided by: {}\n- Looks alike: {}\n- Why it matters: {}\n- What to do: {}\n",
            entry.id, entry.heading, entry.severity, entry.decided_by, entry.look_alike, entry.why, entry.remedy
        );
    }
    text
}

/// docs/fixtures.md: every host, its source, and the expected findings.
pub fn fixtures_page() -> String {
    let verdict = |status: Status, roots: &[&str]| {
        let roots = if roots.is_empty() { "nothing".to_owned() } else { roots.join(", ") };
        format!("{} | {roots}", status.word().to_lowercase())
    };
    let mut page = String::from(
        "# The fixtures\n\nEach file of `fixtures/` is a report (`hermes-doctor check --from fixtures/NAME.json`) of a host with a known cause. \
         Tests judge it again from its facts, and it must come to that cause. This page is written by `cargo xtask docs`.\n\n\
         ## Hosts of reports\n\nMade from measurements in public bug reports (A#: NousResearch/hermes-agent, W#: nesquena/hermes-webui), by \
         `tests/it/common/reported.rs`. What is not known is `null`, or a part that was not examined; pids are made up, names of units and paths \
         the usual ones. Where the cause stands in the log only (A81547), or in what nobody has measured (A113372, A91286, W1855, W5210), \
         what is found is what the facts prove of it.\n\n\
         | fixture | source | platform | reported | cause by reporters and maintainers | filled in | status | root causes found |\n|---|---|---|---|---|---|---|---|\n",
    );
    let mut lines: Vec<String> = Vec::new();
    for reported in reported::REPORTED {
        let name = format!("report-{}", reported.name);
        let (_, status, roots) = HOSTS.iter().find(|(host, ..)| *host == name).unwrap_or_else(|| panic!("{name}"));
        let cells = [reported.source, reported.platform, reported.reported, reported.cause, reported.filled_in];
        lines.push(format!("| `{name}` | {} | {} |\n", cells.join(" | "), verdict(*status, roots)));
    }
    lines.sort();
    page.push_str(&lines.concat());
    page.push_str(
        "\n## Recorded hosts\n\nRecorded from servers that tests and demonstrations have started, below real supervisors where one is named.\n\n\
         | fixture | platform | supervisor | status | root causes found |\n|---|---|---|---|---|\n",
    );
    let mut lines: Vec<String> = Vec::new();
    let is_recorded = |name: &str| !name.starts_with("report-") && !name.starts_with("launchd-");
    for (name, status, roots) in HOSTS.iter().filter(|(name, ..)| is_recorded(name)) {
        let envelope = read(name);
        let lineage = envelope.servers[0].lineage.as_ref();
        let supervisor = lineage.map_or("not examined", |lineage| lineage.supervisor.kind.word());
        lines.push(format!("| `{name}` | {} | {supervisor} | {} |\n", envelope.host.os, verdict(*status, roots)));
    }
    lines.sort();
    page.push_str(&lines.concat());
    page.push_str(
        "\n## Hosts below launchd\n\nMade from the bytes and texts that a Mac would give, with the numbers of reports, by `tests/it/launchd.rs`, which \
         names the report of each.\n\n| fixture | status | root causes found |\n|---|---|---|\n",
    );
    let mut lines: Vec<String> = HOSTS
        .iter()
        .filter(|(name, ..)| name.starts_with("launchd-"))
        .map(|(name, status, roots)| format!("| `{name}` | {} |\n", verdict(*status, roots)))
        .collect();
    lines.sort();
    page + &lines.concat()
}
