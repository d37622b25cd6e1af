//! The terminal output as the user sees it: help, colour, width, progress and errors, from the binary itself.

use crate::common;

use clap::{CommandFactory, Parser};
use common::tty::{self, Output};
use common::{doctor, run_with};
use hermes_doctor::command::Cli;
use std::process::Command;
use unicode_width::UnicodeWidthStr;

/// The arguments for each help page: that of the program, then those of the subcommands.
fn pages() -> Vec<(String, Vec<String>)> {
    let command = Cli::command();
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    let mut pages = vec![("program".to_owned(), Vec::new())];
    pages.extend(shown.map(|command| (command.get_name().to_owned(), vec![command.get_name().to_owned()])));
    assert!(pages.len() > 15, "{pages:?}");
    pages
}

fn help(words: &[String], option: &str) -> String {
    let answer = run_with(doctor().args(words).arg(option).env("COLUMNS", "80"));
    assert_eq!((answer.exit, answer.stderr.as_str()), (0, ""), "{words:?}");
    answer.stdout
}

fn longest(text: &str) -> usize {
    text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

#[test]
fn every_help_page_fits_80_columns() {
    for (name, words) in pages() {
        for option in ["--help", "-h"] {
            let page = help(&words, option);
            assert!(longest(&page) <= 80, "{name} {option}: {page}");
            assert!(!page.contains('\u{1b}'), "{name} {option}: {page}");
        }
        insta::assert_snapshot!(format!("help-{name}"), help(&words, "--help"));
    }
}

/// The parser wraps text anywhere, in commands too; so text with columns and commands to copy must fit without
/// wrapping.
#[test]
fn no_help_page_breaks_an_example() {
    let command = Cli::command();
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    for command in std::iter::once(&command).chain(shown) {
        let name = command.get_name();
        let text = command.get_after_help().unwrap_or_else(|| panic!("{name} has no examples")).to_string();
        for paragraph in text.split("\n\n") {
            let lines: Vec<&str> = paragraph.lines().collect();
            if lines[0].ends_with(':') {
                assert!(lines.len() > 1 && longest(paragraph) <= 80, "{name}: {paragraph}");
            } else {
                assert_eq!(lines.len(), 1, "{name}: running text is left to the parser to wrap: {paragraph}");
            }
        }
    }
}

#[test]
fn every_help_page_has_examples_that_parse() {
    for (name, words) in pages() {
        let page = help(&words, "--help");
        let (_, rest) = page.split_once("\nExamples:\n").unwrap_or_else(|| panic!("{name}: {page}"));
        let mut own = 0;
        for line in rest.lines().take_while(|line| !line.is_empty()) {
            let command = line.strip_prefix("  ").unwrap_or_else(|| panic!("{name}: {line}"));
            // The explanation is separated by spaces; other programs come before or after.
            let command = command.split("  ").next().unwrap();
            let Some(at) = command.rfind("hermes-doctor ").or((command == "hermes-doctor").then_some(0)) else {
                assert!(command.starts_with("check-jsonschema "), "{name}: {command}");
                continue;
            };
            let command = command[at..].split(['|', '>', ')']).next().unwrap();
            let given = shlex::split(command).unwrap();
            let parsed = Cli::try_parse_from(&given).and_then(|cli| cli.check());
            assert!(parsed.is_ok(), "{name}: {command}: {}", parsed.unwrap_err());
            own += usize::from(words.iter().all(|word| given.get(1) == Some(word)));
        }
        assert!(own > 0, "{name}: no example is of it: {rest}");
    }
}

/// The doctor in a modern terminal emulator.
fn at_home(arguments: &str) -> Command {
    let mut command = doctor();
    command.args(arguments.split_whitespace()).env("TERM", "xterm-256color");
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "LINES"] {
        command.env_remove(name);
    }
    command
}

const SICK: &str = "fixtures/leak-critical.json";
const HEALTHY: &str = "fixtures/healthy-pool.json";

/// The text of a terminal without its escape sequences, which may only choose colours.
fn uncoloured(text: &str) -> String {
    let mut pieces = text.split('\u{1b}');
    let mut plain = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (parameters, rest) = piece.split_once('m').unwrap_or_else(|| panic!("{piece:?}"));
        let parameters = parameters.strip_prefix('[').unwrap_or_else(|| panic!("{piece:?}"));
        assert!(parameters.chars().all(|c| c.is_ascii_digit() || c == ';'), "{piece:?}");
        plain.push_str(rest);
    }
    plain
}

#[test]
fn colour_is_on_a_terminal_that_can_show_it_only() {
    let shown = |more: &str, set: &[(&str, &str)], stdout: Output| {
        let mut command = at_home(&format!("check --from {SICK} {more}"));
        command.envs(set.iter().copied());
        let seen = tty::run(command, stdout, Output::Terminal(80));
        assert_eq!(seen.exit, 2, "{}", seen.stderr);
        let plain = uncoloured(&seen.stdout);
        (seen.stdout != plain, plain)
    };
    let terminal = Output::Terminal(80);
    let (is_coloured, text) = shown("", &[], terminal);
    assert!(is_coloured && text.contains("CRITICAL"), "{text}");
    for (more, set, stdout, expected) in [
        ("", [("NO_COLOR", "1")].as_slice(), terminal, false),
        // An empty NO_COLOR has no effect (no-color.org).
        ("", &[("NO_COLOR", "")], terminal, true),
        ("", &[("TERM", "dumb")], terminal, false),
        ("--color never", &[], terminal, false),
        ("--color always", &[("NO_COLOR", "1"), ("TERM", "dumb")], terminal, true),
        ("--color auto", &[], terminal, true),
        // Standard error is a terminal still.
        ("", &[], Output::Pipe, false),
        ("--color always", &[], Output::Pipe, true),
    ] {
        let (is_coloured, plain) = shown(more, set, stdout);
        assert_eq!(is_coloured, expected, "{more} {set:?} {stdout:?}");
        assert_eq!(plain, text, "colour changes nothing else: {more} {set:?} {stdout:?}");
    }
}

/// Output for programs, wherever it goes.
#[test]
fn output_for_programs_has_no_colour() {
    for arguments in [
        format!("check --json --from {SICK}"),
        format!("check --format nagios --from {SICK}"),
        format!("check --format openmetrics --from {SICK}"),
        format!("report --yes --from {SICK}"),
        "schema".to_owned(),
        "completions bash".to_owned(),
        "man fds".to_owned(),
    ] {
        let seen = tty::run(at_home(&arguments), Output::Terminal(80), Output::Terminal(80));
        assert!(!seen.stdout.contains('\u{1b}') && !seen.stdout.is_empty(), "{arguments}: {}", seen.stdout);
    }
}

/// The visible rest of lines that were redrawn: nothing, if each was erased.
fn left_on_screen(text: &str) -> &str {
    text.rsplit("\u{1b}[2K").next().unwrap()
}

/// Commands that take some time, each with its progress text.
#[test]
fn a_long_examination_shows_progress_only_on_a_terminal() {
    let silent = common::webui("silent");
    let record = silent.home().join("flight.jsonl");
    let port = silent.port;
    for (arguments, words) in [
        (format!("check --port {port} --budget 60s --timeout 300ms"), "waiting for the HTTP answer"),
        (format!("check --port {port} --budget 60s --timeout 300ms --json"), "waiting for the HTTP answer"),
        (format!("health --port {port} --budget 60s --timeout 300ms --repeat 3 --every 100ms"), "request 3 of 3"),
        (format!("fds --port {port} --samples 3 --every 100ms"), "open of "),
        (
            format!(
                "watch --port {port} --budget 60s --timeout 300ms --every 100ms --samples 2 --record {}",
                record.display()
            ),
            "sample 2, ",
        ),
        ("demo healthy".to_owned(), "starting the server"),
        ("demo orphan --observe 1s".to_owned(), "for up to 1 s"),
    ] {
        let terminal = tty::run(at_home(&arguments), Output::Pipe, Output::Terminal(80));
        assert!(terminal.stderr.contains(words), "{arguments}: {:?}", terminal.stderr);
        assert_eq!(left_on_screen(&terminal.stderr), "", "{arguments}: {:?}", terminal.stderr);
        assert!(
            !terminal.stdout.contains('\u{1b}') && !terminal.stdout.is_empty(),
            "{arguments}: {}",
            terminal.stdout
        );
        // A redrawn line takes one line of the terminal.
        for line in terminal.stderr.split(['\r', '\n']) {
            let line = line.replace("\u{1b}[2K", "");
            assert!(line.width() <= 80, "{arguments}: {line:?}");
        }
        let both = tty::run(at_home(&arguments), Output::Terminal(80), Output::Pipe);
        assert_eq!(both.stderr, "", "{arguments}");
        let quiet = tty::run(at_home(&format!("{arguments} --quiet")), Output::Pipe, Output::Terminal(80));
        assert_eq!(quiet.stderr, "", "{arguments}");
    }
    let arguments = format!("check --port {port} --budget 60s --timeout 300ms");
    let mut command = at_home(&arguments);
    command.env("TERM", "dumb");
    let dumb = tty::run(command, Output::Terminal(80), Output::Terminal(80));
    assert_eq!(dumb.stderr, "");
    let mut command = at_home(&arguments);
    command.env("LC_ALL", "C");
    let ascii = tty::run(command, Output::Terminal(80), Output::Terminal(80));
    assert!(ascii.stderr.contains("waiting for the HTTP answer") && ascii.stderr.is_ascii(), "{:?}", ascii.stderr);
    assert!(ascii.stdout.is_ascii(), "{}", ascii.stdout);
}

/// A saved report needs no progress line.
#[test]
fn immediate_output_shows_no_progress() {
    for arguments in [format!("check --from {SICK}"), "explain".to_owned(), "check --pid 4000000000".to_owned()] {
        let seen = tty::run(at_home(&arguments), Output::Pipe, Output::Terminal(80));
        let shown = left_on_screen(&seen.stderr);
        assert!(!shown.contains('\u{1b}'), "{arguments}: {:?}", seen.stderr);
        assert_eq!(shown.is_empty(), seen.exit != 3, "{arguments}: {:?}", seen.stderr);
    }
}

/// Lines that are wider than the terminal, except commands, which are on their own lines so that they can be
/// copied.
fn too_wide(text: &str, columns: usize) -> Vec<&str> {
    let programs = ["hermes-doctor ", "systemctl ", "sudo "];
    let is_command = |line: &str| {
        let own = line.strip_prefix("       ");
        own.is_some_and(|line| programs.iter().any(|program| line.starts_with(program)))
    };
    text.lines().filter(|line| line.width() > columns && !is_command(line)).collect()
}

#[test]
fn the_width_is_that_of_the_terminal() {
    let target = common::webui("leak=40,limit=100");
    let port = target.port;
    for command in
        ["check", "check --verbose", "fds --all", "lineage", "health", "port", "db", "db --verbose", "stacks"]
    {
        for columns in [80, 120] {
            let mut command = at_home(&format!("{command} --port {port} --budget 60s"));
            // An exported COLUMNS has the earlier width, not the present one.
            command.env("COLUMNS", "300");
            let seen = tty::run(command, Output::Terminal(columns), Output::Pipe);
            let text = uncoloured(&seen.stdout);
            let heading = text.lines().find(|line| line.starts_with("hermes-webui  pid")).unwrap();
            assert_eq!(heading.width(), usize::from(columns), "the status stands at the right: {text}");
            assert_eq!(too_wide(&text, usize::from(columns)), [""; 0], "{columns}: {text}");
        }
    }
    for columns in [80, 120] {
        for arguments in ["explain", "explain descriptor-ceiling", "demo leak", "--help", "fds -h", "demo --help"] {
            let seen = tty::run(at_home(arguments), Output::Terminal(columns), Output::Pipe);
            let text = uncoloured(&seen.stdout);
            assert!(text.lines().count() > 5, "{arguments}: {text}");
            assert_eq!(too_wide(&text, usize::from(columns)), [""; 0], "{arguments} at {columns}: {text}");
        }
    }
    // More than 120 columns are hard to read. A pipe has the given width, or 80.
    let width = |set: Option<&str>, stdout: Output, stderr: Output| {
        let mut command = at_home(&format!("check --from {SICK}"));
        command.envs(set.map(|columns| ("COLUMNS", columns)));
        let text = uncoloured(&tty::run(command, stdout, stderr).stdout);
        text.lines().find(|line| line.ends_with("CRITICAL")).unwrap().width()
    };
    assert_eq!(width(None, Output::Terminal(200), Output::Pipe), 120);
    assert_eq!(width(None, Output::Pipe, Output::Pipe), 80);
    assert_eq!(width(Some("100"), Output::Pipe, Output::Pipe), 100);
    // A pager shows it on the same terminal.
    assert_eq!(width(None, Output::Pipe, Output::Terminal(100)), 100);
    assert_eq!(width(Some("none"), Output::Pipe, Output::Pipe), 80);
}

/// The output for a recorded host, in a pipe of this width, in this locale.
fn recorded(arguments: &str, columns: usize, locale: &str) -> String {
    let mut command = at_home(arguments);
    command.env_remove("LC_ALL").env_remove("LC_CTYPE").env("LANG", locale).env("COLUMNS", columns.to_string());
    let answer = run_with(&mut command);
    assert_eq!(answer.stderr, "", "{arguments}");
    assert!(!answer.stdout.contains('\u{1b}'), "{arguments}: {}", answer.stdout);
    assert_eq!(too_wide(&answer.stdout, columns), [""; 0], "{arguments} at {columns}");
    format!("exit {}\n{}", answer.exit, answer.stdout)
}

/// Without the lists of all rules, which grow with every new one.
fn without_lists(text: &str) -> String {
    const LISTS: [&str; 2] = ["Checks that it did not have:", "  Passed  "];
    let mut is_list = false;
    let mut kept = String::new();
    for line in text.lines() {
        if let Some(begin) = LISTS.iter().find(|begin| line.starts_with(**begin)) {
            kept.push_str(&format!("{begin} ...\n"));
            is_list = true;
            continue;
        }
        is_list = is_list && line.starts_with("  ");
        if !is_list {
            kept.push_str(&format!("{line}\n"));
        }
    }
    kept
}

#[test]
fn a_sick_and_a_healthy_host_as_they_are_seen() {
    for (host, file) in [("sick", SICK), ("healthy", HEALTHY)] {
        for columns in [80, 120] {
            for (name, option) in [("plain", ""), ("quiet", "--quiet"), ("verbose", "--verbose")] {
                let text = recorded(&format!("check --from {file} {option}"), columns, "C.UTF-8");
                insta::assert_snapshot!(format!("{host}-{name}-{columns}"), without_lists(&text));
            }
            let text = recorded(&format!("check --from {file}"), columns, "C");
            insta::assert_snapshot!(format!("{host}-ascii-{columns}"), without_lists(&text));
        }
    }
}

/// `LANG=C`: only ASCII characters, for every command and every level of detail.
#[test]
fn every_view_is_ascii_in_an_ascii_locale() {
    for command in ["check", "fds", "lineage", "health", "port", "db", "stacks"] {
        for file in [SICK, HEALTHY, "fixtures/systemd-duplicates.json", "tests/recorded/stacks-deadlock.json"] {
            for option in ["", "--quiet", "--verbose"] {
                let text = recorded(&format!("{command} --from {file} {option}"), 80, "C");
                assert!(text.is_ascii(), "{command} {option} of {file}: {text}");
            }
        }
    }
    insta::assert_snapshot!("fds-ascii-80", recorded(&format!("fds --from {SICK}"), 80, "C"));
    insta::assert_snapshot!(
        "lineage-ascii-80",
        recorded("lineage --from fixtures/systemd-duplicates.json", 80, "C")
    );
    for arguments in ["explain", "explain state-db-handle-leak", "--help", "fds --help"] {
        assert!(recorded(arguments, 80, "C").is_ascii(), "{arguments}");
    }
}

/// The same on a terminal, with bold, dim and coloured text.
#[test]
fn colours_as_they_are_sent() {
    for (host, file) in [("sick", SICK), ("healthy", HEALTHY)] {
        let seen = tty::run(at_home(&format!("check --from {file}")), Output::Terminal(80), Output::Terminal(80));
        let plain = recorded(&format!("check --from {file}"), 80, "C.UTF-8");
        assert_eq!(format!("exit {}\n{}", seen.exit, uncoloured(&seen.stdout)), plain);
        let (notice, rest) = seen.stdout.split_once("\n\n").unwrap();
        assert!(notice.starts_with("\u{1b}[2mReport of "), "{notice}");
        insta::assert_snapshot!(format!("{host}-colour-80"), rest.replace('\u{1b}', "␛"));
    }
}

/// Wrong command lines, and the next step in each message. DIR contains `there`, a file that is not a report,
/// `empty`, and `cut`, the beginning of a report.
const MISTAKES: &[(&str, &str)] = &[
    ("chek", "'check'"),
    ("frobnicate", "--help"),
    ("check extra", "--help"),
    ("--nope", "--help"),
    ("--budgt 5s", "'--budget'"),
    ("fds --sample 3", "'--samples'"),
    ("--budget 5", "like 500ms, 2s or 5m"),
    ("--budget 0s", "--help"),
    ("--timeout soon", "like 500ms, 2s or 5m"),
    ("--observe 1y1", "like 500ms, 2s or 5m"),
    ("--port 0", "write a whole number from 1 to 65535"),
    ("--port 70000", "write a whole number from 1 to 65535"),
    ("--port http", "write a whole number from 1 to 65535"),
    ("port 0", "write a whole number from 1 to 65535"),
    ("port 8787 --port 8788", "--help"),
    ("--pid 0", "write a whole number from 1 to 4294967295"),
    ("--pid self", "write a whole number from 1 to 4294967295"),
    ("--pid 4000000000", "without --pid"),
    ("stacks --pid 4000000000", "without --pid"),
    ("--url 127.0.0.1:8787", "http://127.0.0.1:8787"),
    ("--url nope", "write http://nope"),
    ("--url http://", "write it like http://127.0.0.1:8787"),
    ("--url ftp://127.0.0.1/", "only http and https"),
    ("--home DIR/nothing", "the directory that contains state.db"),
    ("--home DIR", "the directory that contains state.db"),
    ("--home DIR/there", "the directory that contains state.db"),
    ("--kind cat", "webui, gateway, dashboard, serve, other"),
    ("--expect nobody", "systemd:UNIT"),
    ("--expect systemd:", "systemd:UNIT"),
    ("--format xml", "text, json, nagios, openmetrics"),
    ("--color pink", "auto, always, never"),
    ("--quiet --verbose", "--help"),
    ("check -o x", "standard output"),
    ("--from DIR/nothing", "hermes-doctor report -o FILE"),
    ("--from DIR", "hermes-doctor report -o FILE"),
    ("--from DIR/empty", "hermes-doctor report -o FILE"),
    ("--from DIR/cut", "hermes-doctor report -o FILE"),
    ("--from DIR/there", "hermes-doctor report -o FILE"),
    ("--from REPORT --port 1", "select another"),
    ("--from REPORT --from REPORT --from REPORT", "one report, or two to compare"),
    ("watch --record DIR/new --from REPORT", "give --from twice"),
    ("lineage --from REPORT --from REPORT", "use `check` or `fds`"),
    ("fds --compare DIR --from REPORT", "give --from twice"),
    ("fds --top few", "write a whole number, 0 or more"),
    ("fds --samples 1", "write a whole number from 2 to 100000"),
    ("fds --every 2s", "--samples <N>"),
    ("fds --all --top 3", "--help"),
    ("fds --exercise health", "the path must begin with /, like /health"),
    ("health --route health", "the path must begin with /, like /health"),
    ("fds --stacks", "`check`, `report`, `watch` and `stacks`"),
    ("report --from REPORT -o DIR/there", "--force"),
    ("report --from REPORT -o DIR", "name a file in it"),
    ("report --from REPORT -o DIR/nothing/x", "choose a file in an existing directory"),
    ("report --redact much", "paranoid, default, none"),
    ("report --markdown --html", "--help"),
    ("report --force", "-o FILE"),
    ("--from REPORT --format openmetrics -o DIR/nothing/x", "choose another file with -o"),
    ("--from REPORT --format openmetrics -o DIR/there", "choose another file with -o"),
    ("explain state-db-leak", "did you mean state-db-handle-leak"),
    ("explain frobnicate", "`hermes-doctor explain` lists all ids"),
    ("history", "<FILE>"),
    ("history DIR/nothing", "hermes-doctor watch --record"),
    ("history DIR", "hermes-doctor watch --record"),
    ("history DIR/there", "--record"),
    ("watch", "--record <FILE>"),
    ("watch --record DIR --samples 1", "choose another file with --record"),
    ("watch --record DIR/nothing/x --samples 1", "choose another file with --record"),
    ("man frobnicate", "the commands are check, fds"),
    ("man --directory DIR/there", "choose another directory"),
    ("completions tcsh", "'zsh'"),
    ("demo frobnicate", "healthy, leak"),
    ("mcp --port 8787", "`hermes-doctor help mcp` lists its options"),
    ("schema --pid 4", "`hermes-doctor help schema` lists its options"),
    ("--port 8787 explain", "`hermes-doctor help explain` lists its options"),
    ("8787", "`--port 8787` examines"),
    ("fds 4711", "`--pid 4711` the process"),
    ("check 99999", "`--pid 99999` examines the process"),
    ("status", "`check` runs all checks"),
    ("--url localhost:8787", "write http://localhost:8787"),
];

#[test]
fn every_error_is_short_and_names_the_next_step() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().to_str().unwrap();
    for (name, text) in [("there", "x\n"), ("empty", ""), ("cut", "{\"schema\": \"hermes-doctor/1\",")] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let mut all = String::new();
    for (mistake, next) in MISTAKES {
        let arguments = mistake.replace("DIR", place).replace("REPORT", HEALTHY);
        let answer = run_with(&mut at_home(&arguments));
        let said = answer.stderr.replace(place, "DIR");
        assert_eq!((answer.exit, answer.stdout.as_str()), (3, ""), "{mistake}: {said}");
        assert!(said.contains(next), "{mistake} names no next step: {said}");
        assert!(said.ends_with('\n') && said.lines().count() <= 8 && said.len() < 500, "{mistake}: {said}");
        for noise in ["panicked", "os error", "Error {", "Some(", "kind:", "RUST_BACKTRACE", "\u{1b}"] {
            assert!(!said.contains(noise), "{mistake}: {said}");
        }
        // The JSON output has the same next step, in one line.
        if next != &"--help" && !mistake.contains("--format") {
            let answer = run_with(&mut at_home(&format!("{arguments} --json")));
            let envelope = answer.json();
            let detail = envelope["gaps"][0]["detail"].as_str().unwrap();
            assert!(detail.replace(place, "DIR").contains(next) && !detail.contains('\n'), "{mistake}: {detail}");
        }
        all.push_str(&format!("$ hermes-doctor {mistake}\n{said}\n"));
    }
    insta::assert_snapshot!("errors", all);
    // No file was created or overwritten.
    let mut left: Vec<_> = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["cut", "empty", "there"]);
    assert_eq!(std::fs::read_to_string(directory.path().join("there")).unwrap(), "x\n");
}

/// A message has colour where it goes to a terminal, and only there.
#[test]
fn errors_have_colour_on_a_terminal_only() {
    let said = |arguments: &str, set: &[(&str, &str)], stderr: Output| {
        let mut command = at_home(arguments);
        command.envs(set.iter().copied());
        let seen = tty::run(command, Output::Terminal(80), stderr);
        assert_eq!((seen.exit, seen.stdout.as_str()), (3, ""), "{arguments}");
        let plain = uncoloured(&seen.stderr);
        assert!(plain.starts_with("error: unexpected argument '--nope' found\n"), "{arguments}: {plain}");
        seen.stderr != plain
    };
    let terminal = Output::Terminal(80);
    for (arguments, set, stderr, expected) in [
        ("--nope", [("NO_COLOR", "")].as_slice(), terminal, true),
        ("--nope", &[("NO_COLOR", "1")], terminal, false),
        ("--nope", &[("TERM", "dumb")], terminal, false),
        ("--color never --nope", &[], terminal, false),
        ("--color=never --nope", &[], terminal, false),
        ("--nope", &[], Output::Pipe, false),
        ("--color always --nope", &[], Output::Pipe, true),
    ] {
        assert_eq!(said(arguments, set, stderr), expected, "{arguments} {set:?} {stderr:?}");
    }
}
