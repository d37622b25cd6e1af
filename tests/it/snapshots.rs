//! Every table and verdict as the user sees it, printed from recorded hosts.

use hermes_doctor::collect::replay;
use hermes_doctor::model::{Demonstration, Envelope, Part};
use hermes_doctor::render::{self, Style, View};
use std::path::Path;

fn host(name: &str) -> Envelope {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.json"));
    let mut envelope = replay::read(&std::fs::read(path).unwrap()).unwrap();
    // The findings in a fixture are those of the program that recorded it.
    for server in &mut envelope.servers {
        (server.findings, server.passed) = (Vec::new(), Vec::new());
        hermes_doctor::wording::judge(server);
    }
    let elapsed = std::time::Duration::from_millis(envelope.elapsed_ms);
    hermes_doctor::report::seal(envelope, elapsed)
}

/// The output of a subcommand for a host.
fn part(name: &str, part: Part) -> Envelope {
    let mut envelope = host(name);
    for server in &mut envelope.servers {
        server.examined = vec![part];
        hermes_doctor::wording::judge(server);
    }
    envelope
}

fn view(width: usize, unicode: bool) -> View {
    View { style: Style::plain(width, unicode), verbose: false, quiet: false, top: 10 }
}

fn shown(envelope: &Envelope, view: &View) -> String {
    let text = render::people(envelope, view);
    assert!(!text.contains('\u{1b}'));
    text
}

#[test]
fn verdicts_at_80_columns() {
    for name in [
        "launchd-leak-reset",
        "launchd-respawn",
        "leak-critical",
        "ceiling-by-sockets",
        "stopped",
        "orphan",
        "foreign-program",
        "close-wait",
        "healthy-pool",
        "not-running",
        "unlinked-log",
        "ipv6-only",
        "systemd-duplicates",
        "systemd-failed",
        "systemd-flapping",
        "systemd-launcher-gone",
        "systemd-rival",
        "systemd-user-orphan",
        "accept-loop-locked",
        "backlog-full",
        "database-locked",
        "gil-held",
        "handlers-deadlocked",
        "output-pipe-full",
        "route-locked",
        "state-d",
    ] {
        insta::assert_snapshot!(format!("check-80-{name}"), shown(&host(name), &view(80, true)));
    }
}

#[test]
fn a_verdict_at_120_columns_and_in_ascii() {
    insta::assert_snapshot!("check-120-leak-critical", shown(&host("leak-critical"), &view(120, true)));
    insta::assert_snapshot!("check-ascii-leak-critical", shown(&host("leak-critical"), &view(80, false)));
}

#[test]
fn several_servers_begin_with_a_table() {
    let mut several = host("leak-critical");
    several.servers.extend(host("orphan").servers);
    several.servers.extend(host("healthy-pool").servers);
    several.servers.extend(host("systemd-user-orphan").servers);
    several.servers.extend(host("systemd-forking").servers);
    insta::assert_snapshot!("several-80", shown(&several, &view(80, true)));
    let quiet = View { quiet: true, ..view(120, true) };
    insta::assert_snapshot!("several-120", shown(&several, &quiet));
}

#[test]
fn quiet_and_verbose() {
    let quiet = View { quiet: true, ..view(80, true) };
    insta::assert_snapshot!("check-quiet-orphan", shown(&host("orphan"), &quiet));
    let verbose = View { verbose: true, ..view(100, true) };
    let text = shown(&host("handlers-deadlocked"), &verbose);
    insta::assert_snapshot!("check-verbose-handlers-deadlocked", text);
    insta::assert_snapshot!("check-verbose-handler-stuck", shown(&host("handler-stuck"), &verbose));
}

/// Limits and logs come after the other facts.
#[test]
fn causes_that_http_does_not_show() {
    for name in ["malformed-first", "memory-killed", "threads-exhausted"] {
        insta::assert_snapshot!(format!("check-80-{name}"), shown(&host(name), &view(80, true)));
        let verbose = View { verbose: true, ..view(100, true) };
        let text = shown(&host(name), &verbose);
        let below = text.find("\nLIMITS").unwrap();
        let end = text[below..].find("\n  Root cause").unwrap();
        insta::assert_snapshot!(format!("limits-and-logs-{name}"), &text[below..below + end]);
    }
}

#[test]
fn tables() {
    for (name, of) in [
        ("leak-critical", Part::Descriptors),
        ("launchd-leak-reset", Part::Descriptors),
        ("launchd-second-start", Part::Lineage),
        ("launchd-wrapper", Part::Lineage),
        ("close-wait", Part::Descriptors),
        ("unlinked-log", Part::Descriptors),
        ("orphan", Part::Lineage),
        ("unsupervised", Part::Lineage),
        ("pm2-errored", Part::Lineage),
        ("runit-orphan", Part::Lineage),
        ("systemd-duplicates", Part::Lineage),
        ("systemd-flapping", Part::Lineage),
        ("systemd-user-orphan", Part::Lineage),
        ("two-owners", Part::Lineage),
        ("healthy-tls", Part::Health),
        ("degraded", Part::Health),
        ("handler-stuck", Part::Health),
        ("route-locked", Part::Health),
        ("accept-stalled", Part::Port),
        ("foreign-program", Part::Port),
    ] {
        insta::assert_snapshot!(format!("table-{of:?}-{name}"), shown(&part(name, of), &view(80, true)));
    }
}

#[test]
fn a_tree_in_ascii_and_wide() {
    let envelope = part("systemd-orphan", Part::Lineage);
    let ascii = shown(&envelope, &view(80, false));
    assert!(ascii.is_ascii(), "{ascii}");
    insta::assert_snapshot!("lineage-ascii-systemd-orphan", ascii);
    insta::assert_snapshot!("lineage-120-systemd-orphan", shown(&envelope, &view(120, true)));
}

/// All recorded hosts.
fn recorded() -> Vec<(String, Envelope)> {
    let mut found = Vec::new();
    for directory in ["fixtures", "tests/recorded"] {
        for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let envelope = replay::read(&std::fs::read(&path).unwrap()).unwrap();
                found.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), envelope));
            }
        }
    }
    assert!(found.len() > 80, "{}", found.len());
    found
}

/// Commands in the findings of a host.
fn commands(envelope: &Envelope) -> Vec<String> {
    let findings = envelope.servers.iter().flat_map(|server| &server.findings).chain(&envelope.findings);
    findings.flat_map(|finding| &finding.next).filter_map(|step| step.command.clone()).collect()
}

#[test]
fn every_line_fits() {
    let parts = [Part::Descriptors, Part::Lineage, Part::Port, Part::Databases, Part::Health, Part::Stacks];
    for (name, envelope) in recorded() {
        let mut looks = vec![("check".to_owned(), envelope.clone())];
        looks.extend(parts.map(|part| {
            let mut envelope = envelope.clone();
            for server in &mut envelope.servers {
                server.examined = vec![part];
                hermes_doctor::wording::judge(server);
            }
            (format!("{part:?}"), envelope)
        }));
        for (look, envelope) in looks {
            let commands = commands(&envelope);
            for (width, unicode) in [(80, true), (80, false), (120, true), (120, false)] {
                for (verbose, quiet) in [(false, false), (true, false), (false, true)] {
                    let text = shown(&envelope, &View { verbose, quiet, ..view(width, unicode) });
                    assert!(unicode || text.is_ascii(), "{look} of {name}: {text}");
                    // A command is never broken, so that it can be copied.
                    let is_command = |line: &str| {
                        line.strip_prefix("       ")
                            .is_some_and(|line| commands.iter().any(|command| command == line))
                    };
                    let long = text
                        .lines()
                        .find(|line| unicode_width::UnicodeWidthStr::width(*line) > width && !is_command(line));
                    assert_eq!(long, None, "{look} of {name} at {width}, {verbose} {quiet} {unicode}");
                }
            }
        }
    }
}

#[test]
fn demonstrations() {
    let row = |name: &str, expected: Option<&str>, found: &[&str], exit, as_expected| Demonstration {
        name: name.into(),
        staged: "what was staged".into(),
        expected: expected.map(str::to_owned),
        expected_exit: exit,
        found: found.iter().map(|id| (*id).to_owned()).collect(),
        exit,
        as_expected,
    };
    let mut envelope = host("unsupervised");
    envelope.demonstrations = vec![
        row("healthy", None, &[], 0, true),
        row("leak", Some("state-db-handle-leak"), &["state-db-handle-leak"], 2, true),
        row("mute", Some("accept-stalled"), &["http-no-answer"], 2, false),
    ];
    insta::assert_snapshot!("demo-table", shown(&envelope, &view(80, true)));
}

/// Untrusted text from a saved report must not reach the terminal unescaped.
#[test]
fn colour_is_the_only_escape() {
    let mut used = std::collections::BTreeSet::new();
    for (name, envelope) in recorded() {
        for verbose in [false, true] {
            let colour = View { style: Style::new(true), verbose, ..view(80, true) };
            let text = render::people(&envelope, &colour);
            for piece in text.split('\u{1b}').skip(1) {
                let end = piece.find('m').unwrap();
                assert!(piece.starts_with('['), "{name}: {piece}");
                // Bold, dim, red, green, yellow, magenta, and reset (ECMA-48, SGR): readable on light and on dark
                // backgrounds.
                assert!(["0", "1", "2", "31", "32", "33", "35"].contains(&&piece[1..end]), "{name}: {piece}");
                used.insert(piece[1..end].to_owned());
            }
            let yellow = |before: &str| text.matches(&format!("{before}\u{1b}[33m")).count();
            assert_eq!(yellow(""), yellow("\u{1b}[1m"), "{name}: plain yellow");
        }
    }
    assert!(["1", "2", "31", "32", "33"].iter().all(|code| used.contains(*code)), "{used:?}");
}

/// Samples over time, and a database without a server; diagnosed again from the facts first.
#[test]
fn over_time_and_databases() {
    for name in ["staircase", "exercise", "pinned"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded").join(format!("{name}.json"));
        let mut envelope = replay::read(&std::fs::read(path).unwrap()).unwrap();
        let ids = |envelope: &Envelope| -> Vec<String> {
            let of_servers = envelope.servers.iter().flat_map(|server| &server.findings);
            of_servers.chain(&envelope.findings).map(|finding| finding.id.clone()).collect()
        };
        let recorded = ids(&envelope);
        assert!(!recorded.is_empty(), "{name}");
        envelope.servers.iter_mut().for_each(hermes_doctor::wording::judge);
        envelope.findings =
            hermes_doctor::wording::judge_host(hermes_doctor::model::Os::Linux, &[], &envelope.databases);
        assert_eq!(ids(&envelope), recorded, "{name}");
        for width in [80, 120] {
            insta::assert_snapshot!(format!("over-time-{width}-{name}"), shown(&envelope, &view(width, true)));
        }
        insta::assert_snapshot!(format!("over-time-ascii-{name}"), shown(&envelope, &view(80, false)));
    }
}

/// Many requests: the table by phase and the bars, wide, narrow and in ASCII.
#[test]
fn many_requests() {
    use hermes_doctor::model::{HealthSeries, Outcome, OutcomeCount, PhaseName, PhaseTimes, TimeBucket};
    let times = |phase, count, min_ms, median_ms, p99_ms, max_ms| PhaseTimes {
        phase,
        count,
        min_ms,
        median_ms,
        p99_ms,
        max_ms,
    };
    let mut envelope = part("healthy-pool", Part::Health);
    let series = HealthSeries {
        requests: 200,
        planned: 200,
        every_ms: 100,
        outcomes: vec![
            OutcomeCount { outcome: Outcome::Ok, count: 197 },
            OutcomeCount { outcome: Outcome::NoAnswer, count: 3 },
        ],
        phases: vec![
            times(Some(PhaseName::Connect), 200, 0.05, 0.08, 0.3, 1.2),
            times(Some(PhaseName::FirstByte), 197, 0.9, 1.6, 40.0, 1900.0),
            times(None, 197, 1.0, 1.8, 41.0, 1900.5),
        ],
        histogram: vec![
            TimeBucket { up_to_ms: Some(1.0), count: 2 },
            TimeBucket { up_to_ms: Some(2.0), count: 150 },
            TimeBucket { up_to_ms: Some(5.0), count: 40 },
            TimeBucket { up_to_ms: None, count: 5 },
        ],
        open_before: Some(13),
        open_after: Some(14),
    };
    let server = &mut envelope.servers[0];
    server.health.as_mut().unwrap().series = Some(series);
    hermes_doctor::wording::judge(server);
    assert_eq!(server.root_causes, ["http-no-answer"]);
    insta::assert_snapshot!("health-series-80", shown(&envelope, &view(80, true)));
    let ascii = shown(&envelope, &view(80, false));
    assert!(ascii.is_ascii(), "{ascii}");
    insta::assert_snapshot!("health-series-ascii", ascii);
}

/// Recorded interpreters, diagnosed again from their stacks: a lock, a deadlock cycle, and a thread that holds the
/// interpreter lock.
#[test]
fn stacks_and_locks() {
    for name in ["deadlock", "crossed", "gil"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recorded/stacks-{name}.json"));
        let mut envelope = replay::read(&std::fs::read(path).unwrap()).unwrap();
        // The wording may differ from that in an old report; findings, their causes and their evidence may not.
        let facts = |envelope: &Envelope| -> Vec<_> {
            let findings = envelope.servers[0].findings.iter().cloned();
            findings.map(|it| (it.id, it.subject, it.severity, it.caused_by, it.evidence.len())).collect()
        };
        let recorded = facts(&envelope);
        envelope.servers.iter_mut().for_each(hermes_doctor::wording::judge);
        assert_eq!(facts(&envelope), recorded, "{name}");
        for width in [80, 120] {
            let text = shown(&envelope, &view(width, true));
            let fits = |line: &&str| unicode_width::UnicodeWidthStr::width(*line) <= width;
            assert_eq!(text.lines().find(|line| !fits(line)), None, "{name} at {width}");
            insta::assert_snapshot!(format!("stacks-{width}-{name}"), text);
        }
        let ascii = shown(&envelope, &view(80, false));
        assert!(ascii.is_ascii(), "{ascii}");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/stacks-deadlock.json");
    let envelope = replay::read(&std::fs::read(path).unwrap()).unwrap();
    insta::assert_snapshot!("stacks-ascii-deadlock", shown(&envelope, &view(80, false)));
    let verbose = View { verbose: true, ..view(100, true) };
    insta::assert_snapshot!("stacks-verbose-deadlock", shown(&envelope, &verbose));
}

/// A record of `watch`: growth, a restart, and a full report.
#[test]
fn a_record_read_back() {
    let line = |minute: u64, pid: u32, open: u64, status: &str, events: &str| {
        format!(
            r#"{{"at":"2026-11-24T20:{minute:02}:00Z","server":"port 8787","status":"{status}","root_causes":[],"pid":{pid},"start_ticks":{pid},"open":{open},"soft_limit":256,"database_handles":{handles},"wal_handles":{wal},"close_wait":0,"accept_queue":0,"connected":0,"health":"ok","health_ms":1.5,"resident_bytes":1,"restarts":null,"events":[{events}]}}"#,
            handles = open - 10,
            wal = (open - 10) / 2,
        )
    };
    let mut lines: Vec<String> = (0..20).map(|at| line(at, 10, 12 + at * 12, "healthy", "")).collect();
    lines.push(line(
        20,
        10,
        250,
        "critical",
        r#""healthy became critical (state-db-handle-leak)","full report: flight.json""#,
    ));
    lines.push(line(21, 11, 12, "healthy", r#""started again: pid 10 became 11""#));
    let mut read = hermes_doctor::parse::history::Lines::default();
    read.take_from(lines.join("\n").as_bytes()).unwrap();
    let history = read.history();
    assert_eq!((history.records.len(), history.lines_skipped), (22, 0));
    let mut envelope = Envelope { command: "history".into(), servers: Vec::new(), ..host("healthy-pool") };
    envelope.findings = hermes_doctor::wording::judge_history(&history, hermes_doctor::model::Os::Linux);
    envelope.history = Some(history);
    insta::assert_snapshot!("history-80", shown(&envelope, &view(80, true)));
}
