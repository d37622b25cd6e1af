//! The attachment: each format has the verdict of the host, is harmless where it is pasted, and is written safely.

use crate::common;

use common::{doctor, run, run_with, skipped, tool, webui};
use hermes_doctor::collect::replay;
use hermes_doctor::examine::redacted;
use hermes_doctor::model::Envelope;
use hermes_doctor::redact::Level;
use hermes_doctor::render::{html, markdown};
use hermes_doctor::wording;
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(format!("{name}.json"))
}

fn fixtures() -> Vec<(String, Envelope)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.display().to_string(), replay::read(&std::fs::read(&path).unwrap()).unwrap())).collect()
}

/// Status and root causes of each server after its facts were diagnosed again.
fn verdicts(envelope: &Envelope) -> Vec<Value> {
    let mut servers = envelope.servers.clone();
    servers.iter_mut().for_each(hermes_doctor::wording::judge);
    servers.iter().map(|server| serde_json::json!([server.status, server.root_causes])).collect()
}

/// A report that was pasted into an issue has the verdict of the host, with or without redacted names.
#[test]
fn a_comment_is_judged_as_the_host_was() {
    let all = fixtures();
    assert!(all.len() > 40);
    for (name, envelope) in all {
        for level in [Level::Default, Level::Paranoid] {
            let comment = markdown(&redacted(envelope.clone(), level, &[]));
            assert!(comment.chars().count() < 60_000, "{name}: {}", comment.chars().count());
            let again = replay::read(comment.as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(verdicts(&again), verdicts(&envelope), "{name}");
            let quoted = format!("It hangs again, see below.\n\n{comment}\nThanks\n").replace('\n', "\r\n");
            assert_eq!(replay::read(quoted.as_bytes()).unwrap(), again, "{name}");
        }
    }
}

/// A host with many servers: the comment stays short and lists the omitted parts.
#[test]
fn a_comment_never_grows_too_long() {
    let mut envelope =
        redacted(replay::read(&std::fs::read(fixture("close-wait")).unwrap()).unwrap(), Level::Default, &[]);
    let server = envelope.servers[0].clone();
    for count in [3, 20, 1000] {
        envelope.servers = vec![server.clone(); count];
        let comment = markdown(&envelope);
        assert!(comment.chars().count() < 60_000 && comment.contains("Not in this comment"), "{count}");
        assert!(comment.contains("close-wait-leak"));
        assert!(comment.contains("```json") || comment.contains("hermes-doctor report -o"));
        let structure = structure(&comment);
        assert_eq!(structure.opened, structure.closed);
    }
}

/// Texts that try to end their context, to create links, and to mention users.
const HOSTILE: &[&str] = &[
    "</details></summary></pre></code></td><script>document.title='owned'</script>",
    "```\n</details>\n# owned @torvalds #123 GH-7",
    "`` `` @everyone #1 org/repo#4 https://evil.example/x www.evil.example",
    "]]> --> <!-- <![CDATA[ <img src=x onerror=\"document.title='owned'\">",
    "' onmouseover='document.title=1' \" autofocus onfocus=\"document.title='owned'",
    "[click](javascript:alert(1)) ![x](https://evil.example/p.png) | a | b |",
    "~~~\n```json\n{\"schema\":\"hermes-doctor/1\"}\n```\n<details>",
    "&lt;script&gt; &#60;script&#62; 0123456789abcdef0123456789abcdef01234567",
];

/// A host with such a text as every name, path, argument and unit.
fn hostile(level: Level) -> Envelope {
    let mut envelope = replay::read(&std::fs::read(fixture("systemd-duplicates")).unwrap()).unwrap();
    let mut next = HOSTILE.iter().cycle().map(|text| (*text).to_owned());
    let mut text = || next.next().unwrap();
    envelope.host.kernel = Some(text().into());
    envelope.host.init = Some(text().into());
    for server in &mut envelope.servers {
        let process = server.process.as_mut().unwrap();
        process.name = text().into();
        process.command = Some(text().into());
        process.user = Some(text().into());
        process.cgroup = Some(text().into());
        let lineage = server.lineage.as_mut().unwrap();
        for hop in lineage.hops.iter_mut().chain(&mut lineage.relatives) {
            (hop.name, hop.command, hop.evidence) = (Some(text().into()), text().into(), text().into());
        }
        for claim in lineage.claims.iter_mut().chain([&mut lineage.supervisor]) {
            (claim.name, claim.configuration, claim.log, claim.evidence) =
                (Some(text().into()), Some(text().into()), Some(text().into()), text().into());
        }
        lineage.markers.insert(text().into(), text().into());
        lineage.unit = Some(text().into());
        server.home = Some(text().into());
        let descriptors = server.descriptors.as_mut().unwrap();
        for target in &mut descriptors.targets {
            target.target = text().into();
        }
        for family in &mut descriptors.sqlite {
            family.path = text().into();
        }
        for database in &mut server.databases {
            database.path = text().into();
        }
        for pid_file in &mut server.pid_files {
            (pid_file.path, pid_file.detail) = (text().into(), text().into());
        }
        let health = server.health.as_mut().unwrap();
        health.server_header = Some(text().into());
        for attempt in &mut health.attempts {
            attempt.url = text().into();
        }
        for holder in server.listeners.iter_mut().flat_map(|listeners| &mut listeners.holders) {
            holder.command = text().into();
        }
        server.gaps.extend(
            HOSTILE.iter().map(|text| {
                hermes_doctor::model::Gap::new(*text, hermes_doctor::model::GapReason::Malformed, *text)
            }),
        );
        hermes_doctor::wording::judge(server);
    }
    let sealed = hermes_doctor::report::seal(envelope, std::time::Duration::ZERO);
    redacted(sealed, level, &[])
}

#[derive(Default)]
struct Structure {
    opened: usize,
    closed: usize,
    tags: Vec<String>,
    links: usize,
    /// Text outside of code.
    text: String,
}

/// The HTML of a Markdown renderer.
fn structure(comment: &str) -> Structure {
    let mut found = Structure::default();
    let mut in_code = false;
    for event in Parser::new_ext(comment, Options::all()) {
        match event {
            Event::Start(Tag::CodeBlock(_)) => in_code = true,
            Event::End(TagEnd::CodeBlock) => in_code = false,
            Event::Start(Tag::Link { .. } | Tag::Image { .. }) => found.links += 1,
            Event::Html(tags) | Event::InlineHtml(tags) => {
                found.opened += tags.matches("<details>").count();
                found.closed += tags.matches("</details>").count();
                found.tags.push(tags.to_string());
            }
            Event::Text(text) if !in_code => found.text.push_str(&text),
            _ => {}
        }
    }
    found
}

#[test]
fn untrusted_text_stays_plain_text_in_markdown() {
    for level in [Level::None, Level::Default, Level::Paranoid] {
        let envelope = hostile(level);
        let comment = markdown(&envelope);
        let found = structure(&comment);
        assert!(found.opened > 3 && found.opened == found.closed, "{} {}", found.opened, found.closed);
        assert_eq!(found.links, 0);
        for tags in &found.tags {
            let rest = tags.replace("<details>", "").replace("</details>", "");
            let rest = rest.replace("<summary>", "").replace("</summary>", "");
            assert!(!rest.contains('<'), "{tags}");
        }
        for bad in ["@", "#", "owned", "http", "www.", "0123456789abcdef", "<", "javascript"] {
            assert!(!found.text.contains(bad), "{bad} in {}", found.text);
        }
        // The JSON is still that of the report, whatever precedes it.
        let json = |envelope: &Envelope| serde_json::to_value(envelope).unwrap();
        assert_eq!(json(&replay::read(comment.as_bytes()).unwrap()), json(&envelope));
    }
}

#[test]
fn untrusted_text_stays_plain_text_in_html() {
    const TAGS: &[&str] = &[
        "!DOCTYPE", "article", "body", "code", "dd", "details", "div", "dl", "dt", "footer", "h1", "h2", "h3",
        "head", "header", "html", "img", "li", "main", "meta", "ol", "p", "pre", "span", "style", "summary",
        "table", "td", "th", "title", "tr", "ul",
    ];
    let page = html(&hostile(Level::None));
    for (at, _) in page.match_indices('<') {
        let tag: String = page[at + 1..]
            .trim_start_matches('/')
            .chars()
            .take_while(|character| character.is_ascii_alphanumeric() || *character == '!')
            .collect();
        assert!(TAGS.contains(&tag.as_str()), "{}", &page[at..(at + 80).min(page.len())]);
    }
    for bad in ["<script", "<img src=x", "<!--", "<![CDATA[", "http-equiv=\"refresh\""] {
        assert!(!page.contains(bad), "{bad}");
    }
    // Nothing is loaded from elsewhere.
    for (at, _) in page.match_indices(" src=\"").chain(page.match_indices(" href=\"")) {
        assert!(page[at..].starts_with(" src=\"data:image/svg+xml;base64,"), "{}", &page[at..at + 60]);
    }
    assert!(page.contains("&lt;script&gt;") && page.contains("Content-Security-Policy"));
}

/// The page in a real browser, at the width of a phone and of a desktop.
#[test]
fn a_browser_shows_the_page() {
    let Some(chromium) = tool("chromium") else {
        return skipped("a_browser_shows_the_page", "there is no chromium");
    };
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trend.json");
    std::fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recorded/staircase.json"), &path).unwrap();
    let over_time = run(&format!("report --html --from {}", path.display())).stdout;
    let pages = [
        ("hostile", html(&hostile(Level::None)), 0),
        ("deadlock", run(&format!("report --html --from {}", fixture("handlers-deadlocked").display())).stdout, 1),
        ("time", over_time, 3),
    ];
    for (name, page, pictures) in pages {
        std::fs::write(directory.path().join(format!("{name}.html")), page).unwrap();
        for width in [390, 1280] {
            let seen = look(&chromium, directory.path(), name, width);
            let number = |key: &str| seen[key].as_u64().unwrap_or_else(|| panic!("{key} in {seen}"));
            assert_eq!(seen["title"], "hermes-doctor report: CRITICAL", "{seen}");
            assert_eq!((number("scripts"), number("acting"), number("loaded")), (0, 0, 0), "{seen}");
            // With everything opened nothing is wider than the screen.
            assert!(number("wide") <= number("width"), "{name} at {width}: {seen}");
            assert_eq!(number("width"), width, "{seen}");
            assert!(number("pictures") >= pictures && number("broken") == 0, "{name}: {seen}");
            assert!(number("nodes") > 0 || name == "time", "{name}: {seen}");
            assert!(number("folded") > 3 && number("height") > 800, "{name}: {seen}");
        }
    }
}

/// Opens a page in a frame of that width, unfolds it, and returns its properties.
fn look(chromium: &Path, directory: &Path, name: &str, width: u64) -> Value {
    let script = "
        const frame = document.querySelector('iframe');
        frame.onload = () => {
            const page = frame.contentDocument, root = page.documentElement;
            const folded = page.querySelectorAll('details');
            folded.forEach(part => part.open = true);
            const all = [...page.querySelectorAll('*')];
            const pictures = [...page.querySelectorAll('img')];
            document.body.textContent = 'SEEN' + JSON.stringify({
                title: page.title, width: root.clientWidth, wide: root.scrollWidth, height: root.scrollHeight,
                scripts: page.querySelectorAll('script, iframe, object, embed, link, base, form').length,
                acting: all.filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length,
                loaded: frame.contentWindow.performance.getEntriesByType('resource')
                    .filter(e => !e.name.startsWith('data:')).length,
                pictures: pictures.length, broken: pictures.filter(p => p.naturalWidth === 0).length,
                nodes: page.querySelectorAll('ul.tree li').length, folded: folded.length,
            }) + 'NEES';
        };
        frame.src = FILE;";
    let script = script.replace("FILE", &format!("'{name}.html'"));
    let frame = format!(
        "<!doctype html><body style='margin:0'><iframe width={width} height=900 style='border:0'></iframe><script>{script}</script></body>"
    );
    let file = directory.join(format!("frame-{name}-{width}.html"));
    std::fs::write(&file, frame).unwrap();
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(chromium)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--hide-scrollbars",
        ])
        .args(["--disable-component-update", "--disable-sync", "--allow-file-access-from-files"])
        .args(["--virtual-time-budget=10000", "--window-size=1400,1000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("file://{}", file.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = dom.split("SEEN").nth(1).and_then(|rest| rest.split("NEES").next());
    let seen = seen.unwrap_or_else(|| panic!("{dom} {}", String::from_utf8_lossy(&output.stderr)));
    serde_json::from_str(&seen.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">")).unwrap()
}

/// Only its owner can read the file; no existing file is lost, and no link is followed.
#[test]
fn the_file_is_written_with_care() {
    let directory = tempfile::tempdir().unwrap();
    let from = fixture("leak-critical");
    let report = |file: &Path, more: &str| {
        let mut command = doctor();
        command.arg("report").arg("--from").arg(&from).arg("-o").arg(file).args(more.split_whitespace());
        run_with(&mut command)
    };
    let file = directory.path().join("hermes-report.json");
    let answer = report(&file, "");
    assert_eq!(answer.exit, 2, "{}", answer.stderr);
    assert!(answer.stdout.contains("CRITICAL (state-db-handle-leak)"), "{}", answer.stdout);
    assert!(answer.stdout.contains("names, addresses and secrets are redacted"), "{}", answer.stdout);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let written: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&written["command"], &written["redaction"]["level"]), (&"report".into(), &"default".into()));
    let again = run(&format!("check --from {} --json", file.display())).json();
    assert_eq!(again["servers"][0]["root_causes"], written["servers"][0]["root_causes"]);

    std::fs::write(&file, "precious").unwrap();
    let answer = report(&file, "");
    assert_eq!((answer.exit, answer.stderr.lines().count()), (3, 1), "{}", answer.stderr);
    assert!(answer.stderr.contains("use --force to overwrite it"), "{}", answer.stderr);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(report(&file, "--force --quiet").stdout, "");
    assert!(std::fs::read_to_string(&file).unwrap().contains("hermes-doctor/1"));

    // A link is refused, and replaced with --force; its target is not changed.
    let (link, target) = (directory.path().join("link.json"), directory.path().join("target"));
    std::fs::write(&target, "precious").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    assert_eq!(report(&link, "").exit, 3);
    assert_eq!(report(&link, "--force").exit, 2);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_file());
    let dangling = directory.path().join("dangling");
    std::os::unix::fs::symlink(directory.path().join("nowhere"), &dangling).unwrap();
    assert_eq!(report(&dangling, "").exit, 3);
    assert!(!directory.path().join("nowhere").exists());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");

    for (place, says) in [
        (directory.path().to_owned(), "is a directory"),
        (directory.path().join("no/such"), "is not an existing directory"),
    ] {
        let answer = report(&place, "--force");
        assert_eq!((answer.exit, answer.stderr.lines().count()), (3, 1), "{}", answer.stderr);
        assert!(answer.stderr.contains(says) && answer.stderr.contains("-o"), "{}", answer.stderr);
    }
    // Only the requested file is there.
    let mut left: Vec<_> = std::fs::read_dir(directory.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["dangling", "hermes-report.json", "link.json", "target"]);
}

#[test]
fn standard_output_is_the_default() {
    let from = fixture("healthy-pool").display().to_string();
    let plain = run(&format!("report --from {from}"));
    assert_eq!(plain.exit, 0);
    assert_eq!(plain.json()["servers"][0]["kind"], "webui");
    assert_eq!(run(&format!("report --from {from} -o -")).stdout, plain.stdout);
    assert_eq!(run(&format!("report --json --from {from}")).stdout, plain.stdout);
    assert!(run(&format!("report --markdown --from {from}")).stdout.starts_with("### hermes-doctor: HEALTHY"));
    assert!(run(&format!("report --html --from {from} -o -")).stdout.starts_with("<!DOCTYPE html>"));
    for bad in ["--json --html", "--markdown --html", "--force", "--redact some", "--from /nonexistent"] {
        let answer = run(&format!("report {bad}"));
        assert!(answer.exit == 3 && (answer.stdout.is_empty() != bad.contains("--json")), "{bad}");
    }
}

/// Without a terminal, neither an unredacted report nor a report with --review is written.
#[test]
fn without_a_terminal_no_report_is_written_unconfirmed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("r.json");
    let all = format!("report --from {} -o {}", fixture("systemd-duplicates").display(), file.display());
    let answer = run(&format!("{all} --redact none"));
    assert!(answer.exit == 3 && answer.stderr.contains("--yes") && !file.exists(), "{}", answer.stderr);
    let answer = run(&format!("{all} --review"));
    assert!(answer.exit == 3 && !file.exists(), "{}", answer.stderr);
    for shown in ["The report:", "lineage", "Redacted (--redact default):", "unit-N", "names of units", "--yes"] {
        assert!(answer.stderr.contains(shown), "{shown} in {}", answer.stderr);
    }
    // What is not a terminal can be a file that is sent with the report.
    assert!(!answer.stderr.contains("other.service"), "{}", answer.stderr);
    let answer = run(&format!("{all} --review --yes"));
    assert!(answer.exit == 2 && file.exists() && answer.stderr.contains("The report:"), "{}", answer.stderr);
    let answer = run(&format!("{all} --redact none --yes --force"));
    assert!(answer.stdout.contains("names are NOT redacted"), "{}", answer.stdout);
    assert!(std::fs::read_to_string(&file).unwrap().contains("other.service"));
}

/// On a terminal the program asks, and follows the answer.
#[test]
fn a_report_is_written_only_after_confirmation_on_a_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let from = fixture("systemd-duplicates").display().to_string();
    for (flags, answer, written) in [
        ("--redact none", "n", false),
        ("--redact none", "", false),
        ("--redact none", "y", true),
        ("--review", "n", false),
        ("--review", "yes", true),
    ] {
        let file = directory.path().join(format!("{}-{answer}", flags.trim_start_matches('-').replace(' ', "")));
        let program = "import os, pty, sys\n\
            pid, terminal = pty.fork()\n\
            if pid == 0: os.execv(sys.argv[2], sys.argv[2:])\n\
            seen = b''\n\
            while b'[y/N]' not in seen: seen += os.read(terminal, 4096)\n\
            sys.stdout.buffer.write(seen)\n\
            os.write(terminal, sys.argv[1].encode() + b'\\n')\n\
            try:\n\
            \x20   while True:\n\
            \x20       chunk = os.read(terminal, 4096)\n\
            \x20       if not chunk: break\n\
            except OSError: pass\n\
            sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n";
        let mut command = Command::new("python3");
        command.args(["-c", program, answer]).arg(common::program());
        command.args(["report", "--from", &from, "-o"]).arg(&file).args(flags.split(' '));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let (status, seen) = (output.status, String::from_utf8_lossy(&output.stdout).into_owned());
        assert_eq!(file.exists(), written, "{flags} {answer}");
        if flags == "--review" {
            // The map is on the terminal, and not in the report.
            let line = seen.lines().find(|line| line.contains("other.service")).unwrap_or_else(|| panic!("{seen}"));
            assert!(line.trim_start().starts_with("unit-"), "{line}");
            assert!(!written || !std::fs::read_to_string(&file).unwrap().contains("other.service"));
        }
        // A report that was not written has no verdict.
        assert_eq!(status.code(), Some(if written { 2 } else { 3 }), "{flags} {answer}");
    }
}

/// The examination is that of `check`.
#[test]
fn a_live_server_is_reported() {
    let target = webui("leak=60,limit=200");
    let check = run(&format!("check --port {} --json", target.port)).json();
    let report = run(&format!("report --port {}", target.port)).json();
    let (check, report) = (&check["servers"][0], &report["servers"][0]);
    for field in ["root_causes", "status", "examined", "pid", "port"] {
        assert_eq!(report[field], check[field], "{field}");
    }
    for part in ["process", "descriptors", "lineage", "health", "listeners"] {
        assert!(!report[part].is_null(), "{part}");
    }
    let step =
        report["findings"].as_array().unwrap().iter().find_map(|finding| finding["next"][0]["command"].as_str());
    assert_eq!(step, Some(format!("hermes-doctor report --pid {} -o hermes-report.json", target.pid()).as_str()));
    // Two attachments are compared by the names that are not redacted.
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (directory.path().join("1.json"), directory.path().join("2.md"));
    for (file, form) in [(&first, ""), (&second, "--markdown")] {
        run(&format!("report --port {} -o {} {form}", target.port, file.display()));
    }
    let compared = run(&format!("fds --from {} --from {} --json", first.display(), second.display())).json();
    let samples = compared["servers"][0]["trend"]["samples"].as_array().unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(samples[0]["families"][0]["path"], samples[1]["families"][0]["path"]);
}

/// Each form of a report shows every step but the one that writes a report.
#[test]
fn every_form_shows_the_same_steps() {
    for (name, mut envelope) in fixtures() {
        envelope.servers.iter_mut().for_each(wording::judge);
        let (markdown, html) = (markdown(&envelope), html(&envelope));
        for server in &envelope.servers {
            let verdict = wording::verdict(server);
            let steps = verdict.steps_in_report();
            assert!(steps.len() >= verdict.steps.len().saturating_sub(1), "{name}");
            for step in steps {
                assert!(step.command.as_ref().is_none_or(|command| !command.starts_with("hermes-doctor report")));
                let escaped = step.what.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                assert!(html.contains(&escaped.replace('"', "&quot;")), "{name}: {}", step.what);
                let beginning: String = step.what.chars().take(60).take_while(|at| *at != '`').collect();
                assert!(markdown.contains(&beginning), "{name}: {}", step.what);
            }
        }
    }
}

/// Only `demo` and `explain` have such texts, of this program. In a saved report they can be anything.
#[test]
fn texts_of_demonstrations_in_a_saved_report_are_not_printed() {
    let scratch = tempfile::tempdir().unwrap();
    let mut report: serde_json::Value = serde_json::from_slice(&std::fs::read(fixture("orphan")).unwrap()).unwrap();
    let text = "zqann\u{1b}[31m --token zqsecret";
    report["explanations"] = serde_json::json!([{
        "id": text, "heading": text, "severity": text, "decided_by": text, "look_alike": text, "why": text, "remedy": text
    }]);
    report["demonstrations"] = serde_json::json!([{
        "name": text, "staged": text, "expected": text, "expected_exit": 0, "found": [text], "exit": 0, "as_expected": true
    }]);
    let file = scratch.path().join("report.json");
    std::fs::write(&file, report.to_string()).unwrap();
    for command in ["check", "check --json", "report", "report --markdown", "report --redact none --yes"] {
        let answer = run(&format!("{command} --from {}", file.display()));
        assert!(!answer.stdout.is_empty() && !answer.stdout.contains("zqann"), "{command}: {}", answer.stdout);
    }
}
