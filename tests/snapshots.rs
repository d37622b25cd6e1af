//! Every table and verdict as a person sees it, drawn from recorded hosts.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use hermes_doctor::collect::replay;
use hermes_doctor::model::{Demonstration, Envelope, Part};
use hermes_doctor::render::{self, Style, View};
use std::path::Path;

fn host(name: &str) -> Envelope {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.json"));
    replay::read(&std::fs::read(path).unwrap()).unwrap()
}

/// What a subcommand would have shown of a host.
fn part(name: &str, part: Part) -> Envelope {
    let mut envelope = host(name);
    for server in &mut envelope.servers {
        server.examined = vec![part];
        hermes_doctor::diagnose::judge(server);
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
    insta::assert_snapshot!("check-verbose-handler-stuck", shown(&host("handler-stuck"), &verbose));
}

#[test]
fn tables() {
    for (name, of) in [
        ("leak-critical", Part::Descriptors),
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

#[test]
fn every_line_fits() {
    for width in [80, 120] {
        for name in ["systemd-user-orphan", "pm2-errored", "systemd-duplicates", "two-owners", "supervisord-fatal"]
        {
            for envelope in [host(name), part(name, Part::Lineage)] {
                let text = shown(&envelope, &view(width, true));
                // A command is never broken: it is there to be copied.
                let is_command = |line: &str| line.starts_with("       ") && !line.contains("  ◀");
                let long = text
                    .lines()
                    .find(|line| unicode_width::UnicodeWidthStr::width(*line) > width && !is_command(line));
                assert_eq!(long, None, "{name} at {width}");
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

/// Text of strangers that came through a saved report must not reach the terminal as it is.
#[test]
fn colour_is_the_only_escape() {
    let colour = View { style: Style::new(true), ..view(80, true) };
    let text = render::people(&host("leak-critical"), &colour);
    for piece in text.split('\u{1b}').skip(1) {
        let end = piece.find('m').unwrap();
        assert!(piece[1..end].chars().all(|c| c.is_ascii_digit() || c == ';'), "{piece}");
    }
}
