//! Manual pages are valid, and completions work, each checked by the real program.

use crate::common;

use common::{doctor, run, run_with, skipped, tool};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The subcommands as the help lists them.
fn commands() -> Vec<String> {
    let help = run("--help").stdout;
    let below = help.lines().skip_while(|line| !line.starts_with("Commands:")).skip(1);
    // Commands are indented by two columns, their descriptions by more.
    let names = below.take_while(|line| !line.trim().is_empty()).filter_map(|line| {
        let entry = line.strip_prefix("  ")?;
        entry.starts_with(|first: char| first.is_ascii_lowercase()).then(|| entry.split(' ').next())?
    });
    let names: Vec<String> = names.filter(|name| *name != "help").map(str::to_owned).collect();
    assert!(["check", "completions", "man", "demo"].iter().all(|name| names.iter().any(|it| it == name)), "{help}");
    names
}

fn written(directory: &Path, more: &[&str]) -> common::Answer {
    run_with(doctor().arg("man").arg("--directory").arg(directory).args(more))
}

/// The output of a program about a page, on both streams.
fn said(command: &mut Command) -> (bool, String) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_command_has_its_page() {
    let directory = tempfile::tempdir().unwrap();
    // The directory is created if it does not exist.
    let pages = directory.path().join("share/man/man1");
    let answer = written(&pages, &[]);
    assert_eq!((answer.exit, answer.stdout.as_str(), answer.stderr.as_str()), (0, "", ""));
    let mut found: Vec<String> =
        fs::read_dir(&pages).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let mut wanted: Vec<String> = commands().iter().map(|command| format!("hermes-doctor-{command}.1")).collect();
    wanted.push("hermes-doctor.1".to_owned());
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);

    assert_eq!(run("man").stdout, fs::read_to_string(pages.join("hermes-doctor.1")).unwrap());
    for command in commands() {
        let path = pages.join(format!("hermes-doctor-{command}.1"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644, "every user reads it");
        let page = fs::read_to_string(&path).unwrap();
        assert_eq!(run(&format!("man {command}")).stdout, page, "{command}");
        let title = page.lines().find(|line| line.starts_with(".TH ")).unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(title.starts_with(&format!(".TH hermes-doctor-{command} 1 20")), "a date: {title}");
        assert!(title.ends_with(&format!("\"hermes-doctor {version}\" \"User Commands\"")), "{title}");
        assert!(page.contains("\n.SH EXAMPLES\n.nf\nhermes\\-doctor "), "{command}");
        // The page contains everything that the help contains.
        let plain = page.replace("\\-", "-");
        let help = run(&format!("{command} --help")).stdout;
        let option = |word: &str| word.trim_matches(|it: char| it != '-' && !it.is_ascii_lowercase()).to_owned();
        for option in help.split_whitespace().map(option).filter(|word| word.starts_with("--")) {
            assert!(plain.contains(&option), "{command}: {option}");
        }
        assert!(!plain.contains("demo-server"), "{command}");
    }
}

#[test]
fn pages_are_read_without_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(written(directory.path(), &[]).exit, 0);
    let pages: Vec<PathBuf> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    match tool("mandoc") {
        Some(mandoc) => {
            for page in &pages {
                let answer = said(Command::new(&mandoc).args(["-Tlint", "-W", "warning"]).arg(page));
                assert_eq!(answer, (true, String::new()), "{}", page.display());
            }
            // It detects an error in a faulty page.
            let bad = directory.path().join("bad.1");
            fs::write(&bad, ".TH bad 1 2026-01-01\n.SH NAME\nbad \\- page\n.NOSUCH\n").unwrap();
            assert!(!said(Command::new(&mandoc).args(["-Tlint", "-W", "warning"]).arg(&bad)).0);
        }
        None => skipped("pages_are_read_without_a_warning", "there is no mandoc"),
    }
    match tool("groff") {
        Some(groff) => {
            for page in &pages {
                let mut command = Command::new(&groff);
                let output = command.args(["-ww", "-man", "-Tutf8", "-Kutf8"]).arg(page).output().unwrap();
                let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
                assert_eq!((output.status.success(), warnings), (true, String::new()), "{}", page.display());
                assert!(String::from_utf8_lossy(&output.stdout).contains("hermes-doctor"), "{}", page.display());
            }
        }
        None => skipped("pages_are_read_without_a_warning", "there is no groff"),
    }
}

#[test]
fn a_page_that_is_there_is_not_written_over() {
    let directory = tempfile::tempdir().unwrap();
    let (mine, other) = (directory.path().join("hermes-doctor-fds.1"), directory.path().join("hermes-doctor.1"));
    fs::write(&mine, "mine").unwrap();
    let answer = written(directory.path(), &[]);
    assert_eq!(answer.exit, 3);
    assert!(
        answer.stderr.contains("hermes-doctor-fds.1 exists already; use --force to overwrite it"),
        "{}",
        answer.stderr
    );
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "all or none");

    // A link is replaced, and its target is not changed.
    let elsewhere = directory.path().join("elsewhere");
    fs::write(&elsewhere, "elsewhere").unwrap();
    symlink(&elsewhere, &other).unwrap();
    assert_eq!(written(directory.path(), &["--force"]).exit, 0);
    assert!(fs::read_to_string(&mine).unwrap().contains(".SH SYNOPSIS"));
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "elsewhere");
    assert!(!fs::symlink_metadata(&other).unwrap().is_symlink());
}

#[test]
fn man_and_completions_report_what_cannot_be_printed() {
    for (arguments, why) in [
        ("man nosuch", "there is no command \"nosuch\"; the commands are check, "),
        ("man demo-server", "there is no command"),
        ("man --force", "--directory"),
        ("man fds --force", "cannot be used with"),
        ("man fds --directory /x", "cannot be used with"),
        ("man --directory /proc/nosuch", "cannot create"),
        ("completions", "<SHELL>"),
        ("completions nosuch", "possible values: bash, elvish, fish, powershell, zsh"),
    ] {
        let answer = run(arguments);
        assert_eq!((answer.exit, answer.stdout.as_str()), (3, ""), "{arguments}");
        assert!(answer.stderr.contains(why), "{arguments}: {}", answer.stderr);
    }
    let envelope = run("man nosuch --json").json();
    assert_eq!(envelope["gaps"][0]["reason"], "not_found");
}

/// A directory with the script of a shell.
fn script(shell: &str, file: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let answer = run(&format!("completions {shell}"));
    assert_eq!((answer.exit, answer.stderr.as_str()), (0, ""));
    assert!(!answer.stdout.contains("demo-server"));
    for command in commands() {
        assert!(answer.stdout.contains(&command), "{shell}: {command}");
    }
    fs::write(directory.path().join(file), answer.stdout).unwrap();
    directory
}

/// The output of a shell for a program in its language, in a directory that is also its home.
fn shell(command: &mut Command, home: &Path) -> Vec<String> {
    let child = command.current_dir(home).env("HOME", home).env("TERM", "dumb").env("LC_ALL", "C.UTF-8");
    let out = home.join("answer");
    let streams = child.stdin(Stdio::null()).stdout(fs::File::create(&out).unwrap()).stderr(Stdio::piped());
    let mut guard = common::Guard { child: streams.spawn().unwrap(), port: 0, home: None };
    common::wait_for("the end of the shell", || guard.child.try_wait().unwrap().is_some());
    let mut errors = String::new();
    std::io::Read::read_to_string(guard.child.stderr.as_mut().unwrap(), &mut errors).unwrap();
    assert_eq!(errors, "");
    fs::read_to_string(out).unwrap().lines().map(str::to_owned).collect()
}

/// A line that is typed, and words that complete it.
const TYPED: [(&str, &[&str]); 7] = [
    ("hermes-doctor lin", &["lineage"]),
    ("hermes-doctor fds --samp", &["--samples"]),
    ("hermes-doctor fds --format na", &["nagios"]),
    ("hermes-doctor explain accept-st", &["accept-stalled"]),
    ("hermes-doctor man lin", &["lineage"]),
    ("hermes-doctor completions pow", &["powershell"]),
    ("hermes-doctor demo-", &[]),
];

#[test]
fn bash_completes() {
    let Some(bash) = tool("bash") else { return skipped("bash_completes", "there is no bash") };
    let home = script("bash", "script");
    // Like readline, which gets the name of the function from `complete`.
    let program = r#"
        source ./script
        [[ $(complete -p hermes-doctor) =~ -F\ ([^ ]+) ]] && function=${BASH_REMATCH[1]}
        read -ra COMP_WORDS <<<"$1"
        COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        "$function" hermes-doctor "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    for (line, wanted) in TYPED {
        let answer =
            shell(Command::new(&bash).args(["--norc", "--noprofile", "-c", program, "bash", line]), home.path());
        let answer: Vec<&str> = answer.iter().map(String::as_str).filter(|word| !word.is_empty()).collect();
        assert_eq!(answer, wanted, "{line}");
    }
}

#[test]
fn fish_completes() {
    let Some(fish) = tool("fish") else { return skipped("fish_completes", "there is no fish") };
    let home = script("fish", "script");
    for (line, wanted) in TYPED {
        let program = "source ./script; complete -C $argv[1]";
        let answer = shell(Command::new(&fish).args(["--no-config", "-c", program, line]), home.path());
        // The meaning follows each word.
        let answer: Vec<&str> = answer.iter().filter_map(|word| word.split('\t').next()).collect();
        assert_eq!(answer, wanted, "{line}");
    }
}

/// Completion in zsh is a part of its line editor, so the line is typed into a terminal.
#[test]
fn zsh_completes() {
    let Some(zsh) = tool("zsh") else { return skipped("zsh_completes", "there is no zsh") };
    let home = script("zsh", "_hermes-doctor");
    let program = r#"
        zmodload zsh/zpty
        zpty inner "$1 -f -i"
        # What stands in the line at its end is told by the command itself; an echo of the definition is none.
        zpty -w inner 'fpath=($PWD $fpath); autoload -Uz compinit && compinit -u -D; hermes-doctor() { print -r -- "TO""LD<hermes-doctor $*>" }'
        zpty -n -w inner "$2"$'\t\n'
        zpty -r -m inner out '*TOLD<*>*'
        print -r -- "${${out##*TOLD<}%%>*}"
        zpty -d inner
    "#;
    for (line, wanted) in TYPED {
        let mut command = Command::new(&zsh);
        command.args(["-f", "-c", program, "zsh"]).arg(&zsh).arg(line);
        let answer = shell(command.env_remove("ZDOTDIR"), home.path());
        let whole = match wanted {
            [] => line.to_owned(),
            [word, ..] => format!("{} {word}", line.rsplit_once(' ').unwrap().0),
        };
        assert_eq!(answer, [whole], "{line}");
    }
}

/// A script of `packaging/`.
fn packaging(name: &str) -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name))
}

/// Every target that the release workflow packs.
const TARGETS: [&str; 4] =
    ["aarch64-apple-darwin", "x86_64-apple-darwin", "aarch64-unknown-linux-musl", "x86_64-unknown-linux-musl"];

#[test]
fn archives_and_their_formula_agree() {
    let directory = tempfile::tempdir().unwrap();
    let (dist, program) = (directory.path().join("dist"), directory.path().join("hermes-doctor"));
    // Packing the program with its symbols would take a minute; this script calls it instead.
    let wrapper = format!("#!/bin/sh\nexec '{}' \"$@\"\n", common::program());
    fs::write(&program, wrapper).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let formula = || packaging("formula").args([version, "someone/hermes-doctor"]).arg(&dist).output().unwrap();

    let mut sums = Vec::new();
    for target in TARGETS {
        // While an archive is missing there is no formula.
        let unfinished = formula();
        assert!(!unfinished.status.success() && unfinished.stdout.is_empty());
        let (is_packed, archive) = said(packaging("archive").arg(&program).arg(target).arg(&dist));
        let archive = PathBuf::from(archive.trim());
        assert!(is_packed, "{}", archive.display());
        assert_eq!(archive, dist.join(format!("hermes-doctor-{version}-{target}.tar.gz")));
        let (is_listed, list) = said(Command::new("tar").arg("-tzf").arg(&archive));
        assert!(is_listed, "{list}");
        let name = format!("hermes-doctor-{version}-{target}");
        for file in [
            "hermes-doctor",
            "LICENSE-MIT",
            "LICENSE-APACHE",
            "README.md",
            "man/hermes-doctor.1",
            "man/hermes-doctor-fds.1",
            "completions/hermes-doctor",
            "completions/_hermes-doctor",
            "completions/hermes-doctor.fish",
        ] {
            assert!(list.lines().any(|line| line == format!("{name}/{file}")), "{file}: {list}");
        }
        let (_, sum) = said(Command::new("sha256sum").arg(&archive));
        sums.push((target, sum.split(' ').next().unwrap().to_owned()));
    }
    let filled = formula();
    let text = String::from_utf8(filled.stdout).unwrap();
    assert!(filled.status.success() && text.starts_with("class HermesDoctor < Formula\n"), "{text}");
    assert!(!text.contains('@'), "{text}");
    for (target, sum) in sums {
        let url = format!(
            "      url \"https://github.com/someone/hermes-doctor/releases/download/v{version}/hermes-doctor-{version}-{target}.tar.gz\"\n      sha256 \"{sum}\"\n"
        );
        assert!(text.contains(&url), "{target}: {text}");
    }
}

/// Cargo.toml packs the files that `packaging/assets` creates, and the release workflow packs every target of the
/// formula.
#[test]
fn packages_name_existing_files() {
    let directory = tempfile::tempdir().unwrap();
    let made = said(packaging("assets").arg(common::program()).arg(directory.path()));
    assert_eq!(made, (true, String::new()));
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let manifest = read("Cargo.toml");
    let assets: Vec<&str> = manifest.split('"').filter_map(|word| word.strip_prefix("target/package/")).collect();
    assert_eq!(assets.len(), 5, "{assets:?}");
    for asset in assets {
        let path = directory.path().join(asset.replace("*.1", "hermes-doctor.1"));
        assert!(fs::metadata(&path).is_ok_and(|found| found.len() > 0), "{}", path.display());
    }
    let workflow = read(".github/workflows/release.yml");
    for target in TARGETS {
        assert!(workflow.contains(&format!("target: {target} }}")), "{target}");
    }
}

/// An action given by a tag can change later; one given by a commit cannot.
#[test]
fn actions_are_named_by_their_commit() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(".github/workflows");
    let mut count = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for action in text.lines().filter_map(|line| line.split("uses: ").nth(1)) {
            let commit = action.split('@').nth(1).unwrap().split(' ').next().unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
            assert!(action.contains(" # v"), "{action} does not name its version");
            count += 1;
        }
    }
    assert!(count > 8, "only {count} actions");
}

/// Release notes are the section of one version, not the whole changelog.
#[test]
fn release_notes_are_those_of_one_version() {
    let copy = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/notes");
    fs::create_dir(copy.path().join("packaging")).unwrap();
    let copied = copy.path().join("packaging/notes");
    fs::copy(script, &copied).unwrap();
    let log =
        "# Changelog\n\n## 1.10.0 (2026-02-01)\n\n- ten\n\n## 1.1.0 (2026-01-01)\n\n- one\n\n## 1.0.0\n\n- none\n";
    fs::write(copy.path().join("CHANGELOG.md"), log).unwrap();
    let notes = |version: &str| said(Command::new(&copied).arg(version));
    assert_eq!(notes("1.1.0"), (true, "\n- one\n".to_owned()));
    assert_eq!(notes("1.10.0"), (true, "\n- ten\n".to_owned()));
    let (is_found, text) = notes("1.2.0");
    assert!(!is_found && text.contains("no section 1.2.0"), "{text}");
    // The next release has its notes.
    let version = env!("CARGO_PKG_VERSION");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/notes");
    assert!(said(Command::new(own).arg(version)).0, "CHANGELOG.md has no section {version}");
}
