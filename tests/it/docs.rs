//! The documents agree with the program.

use crate::common;
use crate::pages::findings_page;

use clap::{CommandFactory, Parser as _};
use hermes_doctor::command::Cli;
use hermes_doctor::supervisor::expect;
use hermes_doctor::wording::catalogue::{CATALOGUE, entry};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

fn document(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name))
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// docs/findings.md from the catalogue that `explain` prints.
#[test]
fn the_findings_page_is_the_catalogue() {
    assert_eq!(document("docs/findings.md"), findings_page(), "cargo xtask docs");
}

#[test]
fn the_pages_name_every_command_and_option() {
    let page = document("docs/commands.md");
    let commands = ["", "fds", "db", "health", "watch", "history", "mcp"];
    let help: String = commands.iter().map(|command| common::run(&format!("{command} --help")).stdout).collect();
    for option in help.split_whitespace().filter(|word| word.starts_with("--")) {
        let option = option.trim_end_matches([',', '.', ')', '`', ';']);
        assert!(page.contains(option), "docs/commands.md does not name {option}");
    }
    let readme = document("README.md");
    for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let command = command.get_name();
        assert!(readme.contains(&format!("`{command}")), "README.md does not name {command}");
        let heading = format!("\n### hermes-doctor {command}\n");
        assert!(page.contains(&heading), "docs/commands.md has no section of {command}");
    }
    for code in ["0", "1", "2", "3"] {
        assert!(readme.contains(&format!("| {code} |")), "exit status {code}");
    }
}

/// Every field that an envelope has is explained.
#[test]
fn the_json_page_names_every_field() {
    let page = document("docs/json.md");
    let target = common::webui("");
    let mut envelope = common::run(&format!("check --json --port {}", target.port)).json();
    let over_time = common::run(&format!("fds --json --port {} --samples 2 --every 50ms", target.port)).json();
    let exercise =
        common::run(&format!("fds --json --port {} --exercise /health --requests 1", target.port)).json();
    let stuck = common::webui("deadlock");
    let stuck = common::run(&format!("check --json --port {} --timeout 800ms", stuck.port)).json();
    let repeated = common::run(&format!("health --json --port {} --repeat 2 --every 1ms", target.port)).json();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/orphan.json");
    let replayed = common::run(&format!("check --json --from {}", fixture.display())).json();
    let reader = tempfile::tempdir().unwrap();
    let _locked = common::start(
        std::process::Command::new("python3")
            .arg(common::program_file("database.py"))
            .arg(reader.path().join("state.db"))
            .arg("reader"),
    );
    let database = common::run(&format!("db --json --file {}", reader.path().join("state.db").display())).json();
    let stacks = common::run(&format!("stacks --json --pid {}", target.pid())).json();
    envelope["others"] = serde_json::json!([over_time, exercise, database, stuck, repeated, replayed, stacks]);
    let mut missing = Vec::new();
    names(&envelope, &mut |name| {
        if name != "others" && !page.contains(&format!("`{name}`")) && !missing.contains(&name.to_owned()) {
            missing.push(name.to_owned());
        }
    });
    assert!(missing.is_empty(), "docs/json.md does not name {missing:?}");
}

/// Field names, except those of maps with names from the host.
fn names(value: &serde_json::Value, tell: &mut impl FnMut(&str)) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, value) in fields {
                tell(name);
                if !matches!(name.as_str(), "by_kind" | "kinds" | "markers" | "checks") {
                    names(value, tell);
                }
            }
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| names(item, tell)),
        _ => {}
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a directory with the extension `.{extension}`.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|ending| ending == extension) {
            found.push(path);
        }
    }
    found
}

/// The parts of a page that are checked.
#[derive(Default)]
struct Page {
    /// Targets of links and pictures.
    links: Vec<String>,
    /// Anchors of its headings, as GitHub makes them.
    anchors: Vec<String>,
    /// Blocks of code.
    blocks: Vec<String>,
    /// Code within the text.
    spans: Vec<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let mut page = Self::default();
        let (mut heading, mut block) = (None::<String>, None::<String>);
        let mut seen: HashMap<String, usize> = HashMap::new();
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let anchor = anchor(&heading.take().unwrap_or_default());
                    let before = seen.entry(anchor.clone()).or_default();
                    page.anchors.push(if *before == 0 { anchor } else { format!("{anchor}-{before}") });
                    *before += 1;
                }
                Event::Start(Tag::CodeBlock(_)) => block = Some(String::new()),
                Event::End(TagEnd::CodeBlock) => page.blocks.extend(block.take()),
                Event::Text(text) => {
                    if let Some(part) = block.as_mut().or(heading.as_mut()) {
                        part.push_str(&text);
                    }
                }
                Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                    page.spans.push(text.into_string());
                }
                _ => {}
            }
        }
        page
    }
}

/// Lower case, spaces as hyphens, without other punctuation.
fn anchor(heading: &str) -> String {
    let kept = |character: char| character.is_alphanumeric() || matches!(character, '-' | '_' | ' ');
    heading.trim().to_lowercase().chars().filter(|character| kept(*character)).collect::<String>().replace(' ', "-")
}

/// Every page of the documentation, by its path.
fn pages() -> Vec<(PathBuf, Page)> {
    let mut paths = files(&root().join("docs"), "md");
    paths.extend(["README.md", "CONTRIBUTING.md"].map(|name| root().join(name)));
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), Page::read(&path))).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut broken = Vec::new();
    let pages = pages();
    for (path, page) in &pages {
        for link in page.links.iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            let is_there = target.exists();
            let has_anchor = anchor.is_empty() || Page::read(&target).anchors.iter().any(|known| known == anchor);
            if !is_there || !has_anchor {
                broken.push(format!("{}: {link}", path.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
    assert!(pages.iter().map(|(_, page)| page.links.len()).sum::<usize>() > 50);
}

/// The index has every page, and its order is the one in which they are needed.
#[test]
fn the_index_names_every_page() {
    let docs = root().join("docs");
    let index = Page::read(&docs.join("README.md"));
    for path in files(&docs, "md") {
        let name = path.strip_prefix(&docs).unwrap().to_str().unwrap();
        assert!(name == "README.md" || index.links.iter().any(|link| link == name), "docs/README.md: no {name}");
    }
}

/// The parser of this program accepts every command on a page.
#[test]
fn every_command_of_the_pages_parses() {
    let mut checked = 0;
    let mut wrong = Vec::new();
    for (path, page) in pages() {
        let lines = page.blocks.iter().flat_map(|block| block.lines()).chain(page.spans.iter().map(String::as_str));
        for line in lines.map(str::trim) {
            let line = line.strip_prefix("$ ").unwrap_or(line);
            let rest = line.strip_prefix("hermes-doctor").or_else(|| {
                line.strip_prefix("cargo run --release").map(|rest| rest.strip_prefix(" --").unwrap_or(rest))
            });
            // `hermes-doctor-metrics.service`, `hermes-doctor/1`, and the general form are no commands.
            let Some(rest) = rest.filter(|rest| (rest.is_empty() || rest.starts_with(' ')) && !rest.contains('['))
            else {
                continue;
            };
            let words = shlex::split(rest).unwrap_or_else(|| panic!("{}: {line}", path.display()));
            // A command that is only mentioned may lack required arguments, and NAME stands for any demo scenario.
            if words.len() == 1 && Cli::command().find_subcommand(&words[0]).is_some() {
                continue;
            }
            let words = words.into_iter().map(|word| if word == "NAME" { "leak".to_owned() } else { word });
            let words = std::iter::once("hermes-doctor".to_owned()).chain(words);
            if let Err(error) = Cli::try_parse_from(words).and_then(|cli| cli.check()) {
                wrong.push(format!("{}: {line}\n{error}", path.display()));
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 40, "only {checked} commands were found");
}

/// Files and functions that the pages on contributing and on security name must exist.
#[test]
fn names_of_files_and_functions_in_pages_exist() {
    let sources: String = ["src", "tests", "fuzz"]
        .iter()
        .flat_map(|directory| files(&root().join(directory), "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let is_place = |word: &str| {
        let directories = ["src/", "tests/", "docs/", "fuzz/", "fixtures/", ".ci/", ".github/"];
        directories.iter().any(|directory| word.starts_with(directory)) && !word.contains("NAME")
    };
    let is_function = |word: &str| {
        word.contains('_') && word.chars().all(|character| character.is_ascii_lowercase() || character == '_')
    };
    let mut missing = Vec::new();
    let (mut places, mut functions) = (0, 0);
    for (path, page) in pages() {
        let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        if !name.to_lowercase().contains("contributing") && name != "docs/security.md" {
            continue;
        }
        let words = page.spans.iter().map(|span| span.trim_end_matches('/'));
        for word in words {
            if is_place(word) {
                places += 1;
                if !root().join(word).exists() {
                    missing.push(format!("{name}: {word}"));
                }
            } else if is_function(word) {
                functions += 1;
                if !sources.contains(word) {
                    missing.push(format!("{name}: {word}"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    assert!(places > 60 && functions > 20, "{places} files, {functions} functions");
}

/// A finding without an entry would have no reason, and `explain` would not know it.
#[test]
fn every_id_has_its_entry() {
    let source = document("src/model/id.rs");
    let ids: Vec<&str> = source
        .lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \"")?.1.strip_suffix("\";"))
        .collect();
    assert!(ids.len() >= CATALOGUE.len());
    for id in ids {
        assert!(entry(id).is_some(), "src/wording/catalogue.rs has no entry of {id}");
    }
}

#[test]
fn every_form_of_expect_is_explained() {
    let help = common::run("--help").stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let forms = expect::forms();
    assert!(forms.len() >= 10, "{forms:?}");
    for form in forms {
        for page in ["docs/supervisors.md", "docs/commands.md"] {
            assert!(document(page).contains(&format!("`{form}`")), "{page} does not explain --expect {form}");
        }
        assert!(help.contains(&form), "--help does not name --expect {form}");
    }
}

/// A text without the parts that differ between runs: numbers and line breaks.
#[cfg(target_os = "linux")]
fn wording(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_whitespace() {
        let plain: String =
            word.chars().map(|character| if character.is_ascii_digit() { '0' } else { character }).collect();
        let mut last = None;
        out.extend(plain.chars().filter(|character| last.replace(*character) != Some('0') || *character != '0'));
        out.push(' ');
    }
    out
}

/// The picture of the README matches the present output of the program; `docs/pictures/record` creates it.
#[cfg(target_os = "linux")]
#[test]
fn the_picture_is_of_this_program() {
    use std::os::unix::process::CommandExt;
    let picture = document("docs/pictures/leak.svg");
    for fetched in ["@font-face", "href", "src=", "/root", "/home"] {
        assert!(!picture.contains(fetched), "{fetched}");
    }
    let mut shown = String::new();
    let drawn = picture.split_once("-matrix\">").unwrap().1;
    for part in drawn.split('<') {
        let text = part.split_once('>').map_or("", |(_, text)| text);
        shown
            .push_str(&text.replace("&#160;", " ").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">"));
    }
    let answer = common::doctor().arg0("hermes-doctor").args(["demo", "leak"]).output().unwrap();
    let said = String::from_utf8(answer.stdout).unwrap();
    // The lines above identify the process, and the lines below depend on the permissions on this host.
    let verdict = |text: &str| {
        let from = text.find("Root cause").unwrap_or_else(|| panic!("no root cause: {text}"));
        let to = text.find("  Passed ").unwrap_or_else(|| panic!("nothing is fine: {text}"));
        wording(&text[from..to])
    };
    assert_eq!(verdict(&shown), verdict(&said));
    assert!(shown.contains("$ hermes-doctor demo leak"));
}

/// The example in docs/start.md matches the present output of the program for that report.
#[test]
fn the_example_is_of_this_program() {
    let page = Page::read(&root().join("docs/start.md"));
    let example = page.blocks.iter().find(|block| block.starts_with("hermes-serve")).expect("an example");
    let said =
        common::run(&format!("--from {}", root().join("fixtures/report-A88033-serve-handles.json").display()));
    assert!(said.stdout.contains(example.trim_end()), "docs/start.md has another text than:\n{}", said.stdout);
}
