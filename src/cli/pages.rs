//! Shell completions and manual pages, generated from the definition of the command line, so that they agree
//! with `--help`.

use super::answer::refuse;
use super::terminal::emit;
use crate::collect::worker::answers;
use crate::command::{Cli, ManArguments, cause_of, definition};
use crate::model::text::printable;
use crate::report;
use crate::wording::catalogue::CATALOGUE;
use clap::builder::{PossibleValuesParser, Resettable};
use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};
use std::io::{self, ErrorKind};
use std::path::Path;

/// `completions`: the script for this shell.
pub fn completions(shell: Shell) -> u8 {
    let mut command = completed();
    let script = match shell {
        // For a program with a hyphen in its name, the generator for bash completes no subcommand
        // (clap-rs/clap#6421). So it gets a name without a hyphen; the last word of the script is the real name.
        Shell::Bash => generated(shell, &mut command, PLAIN_NAME)
            .replace(&format!(" {PLAIN_NAME}\n"), &format!(" {}\n", env!("CARGO_PKG_NAME"))),
        Shell::Fish => generated(shell, &mut command, env!("CARGO_PKG_NAME")) + &fish_values(&command),
        _ => generated(shell, &mut command, env!("CARGO_PKG_NAME")),
    };
    emit(&script);
    0
}

/// The name of the program as a valid name of a shell function.
const PLAIN_NAME: &str = "hermes_doctor";

fn generated(shell: Shell, command: &mut Command, name: &str) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Completions of positional values (`explain ID`): the generator for fish only supports those of options.
fn fish_values(command: &Command) -> String {
    let program = env!("CARGO_PKG_NAME");
    let of = |command: &Command| {
        let values: Vec<String> = command
            .get_positionals()
            .flat_map(Arg::get_possible_values)
            .filter(|value| !value.is_hide_set())
            .map(|value| value.get_name().to_owned())
            .collect();
        let name = command.get_name();
        let condition = format!("__fish_seen_subcommand_from {name}");
        (!values.is_empty())
            .then(|| format!("complete -c {program} -n \"{condition}\" -f -a \"{}\"\n", values.join(" ")))
    };
    command.get_subcommands().filter_map(of).collect()
}

/// `man`: one page to standard output, or all of them into a directory.
pub fn man(cli: &Cli, arguments: &ManArguments) -> u8 {
    let pages = match pages() {
        Ok(pages) => pages,
        Err(error) => return refuse(cli, "man", &format!("cannot write the pages: {error}")),
    };
    match (&arguments.directory, &arguments.command) {
        (Some(directory), _) => match write_all(&pages, directory, arguments.force) {
            Ok(()) => 0,
            Err(line) => refuse(cli, "man", &line),
        },
        (None, wanted) => {
            let wanted = wanted.as_deref();
            let Some(page) = pages.iter().find(|page| page.command.as_deref() == wanted) else {
                let shown = printable(wanted.unwrap_or_default().as_bytes());
                let all: Vec<&str> = pages.iter().filter_map(|page| page.command.as_deref()).collect();
                return refuse(
                    cli,
                    "man",
                    &format!("there is no command {shown:?}; the commands are {}", all.join(", ")),
                );
            };
            emit(&page.text);
            0
        }
    }
}

/// Date of the last change of the pages; man(7) requires a date, and builds must be reproducible.
const CHANGED: &str = "2026-11-28";

/// A manual page.
struct Page {
    /// The subcommand; `None` for the program as a whole.
    command: Option<String>,
    /// File name in the form that `man` expects: `hermes-doctor-fds.1`.
    file: String,
    /// Text in the language of man(7).
    text: String,
}

/// The command line without hidden subcommands: neither pages nor completions contain them.
fn shown_definition() -> Command {
    let whole = definition();
    let mut shown = Command::new(whole.get_name().to_owned())
        .disable_help_subcommand(true)
        .propagate_version(true)
        .args(whole.get_arguments().cloned().map(|option| option.hide_short_help(false)))
        .subcommands(whole.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    if let Some(version) = whole.get_version() {
        shown = shown.version(version.to_owned());
    }
    if let Some(about) = whole.get_about() {
        shown = shown.about(about.clone());
    }
    if let Some(text) = whole.get_after_long_help() {
        shown = shown.after_help(text.clone());
    }
    shown
}

/// The definition for completions: arguments have possible values that the normal definition leaves out, because
/// other code reports a better error for wrong values.
fn completed() -> Command {
    let definition = shown_definition();
    let ids: Vec<&str> = CATALOGUE.iter().map(|entry| entry.id).collect();
    let names: Vec<String> = definition.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let values = |command: Command, argument: &'static str, values: PossibleValuesParser| {
        command.mut_arg(argument, |argument| argument.value_parser(values))
    };
    definition
        .mut_subcommand("explain", |command| values(command, "id", PossibleValuesParser::new(ids)))
        .mut_subcommand("man", |command| values(command, "command", PossibleValuesParser::new(names)))
}

/// All pages, that of the program first.
fn pages() -> io::Result<Vec<Page>> {
    let mut whole = shown_definition();
    whole.build();
    let mut pages = vec![page(&whole, None)?];
    for command in whole.get_subcommands() {
        pages.push(page(command, Some(command.get_name().to_owned()))?);
    }
    Ok(pages)
}

fn page(command: &Command, name: Option<String>) -> io::Result<Page> {
    let notes = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    // The text after the options becomes separate sections; the version is in the footer.
    let rest = command
        .clone()
        .after_help(Resettable::Reset)
        .version(Resettable::Reset)
        .subcommand_help_heading("COMMANDS")
        .subcommand_value_name("COMMAND");
    let source = concat!("hermes-doctor ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(rest).date(CHANGED).source(source).manual("User Commands");
    let file = man.get_filename();
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut sections = Roff::new();
    append_notes(&mut sections, &notes);
    if name.is_some() {
        sections.control("SH", ["SEE ALSO"]);
        sections.text([bold("hermes-doctor"), roman("(1)")]);
    }
    // Linters reject a blank line between two breaks.
    let text = String::from_utf8_lossy(&text).replace(".br\n\n.br\n", ".sp\n") + &sections.to_roff();
    // Typesetters would turn these characters into accents, which shells do not understand (groff_char(7)).
    let text = text.replace('~', "\\(ti").replace('`', "\\(ga");
    Ok(Page { command: name, file, text })
}

/// Converts the text after the options: a paragraph with a heading (`Examples:`) becomes a section with its
/// lines unchanged, one without a heading becomes a note.
fn append_notes(sections: &mut Roff, text: &str) {
    let mut is_noted = false;
    for paragraph in text.split("\n\n") {
        let mut lines = paragraph.lines();
        let first = lines.next().unwrap_or_default();
        if let Some(heading) = first.strip_suffix(':') {
            sections.control("SH", [heading.to_uppercase().as_str()]);
            sections.control("nf", []);
            for line in lines {
                sections.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
            sections.control("fi", []);
        } else if !paragraph.trim().is_empty() {
            if std::mem::replace(&mut is_noted, true) {
                sections.control("PP", []);
            } else {
                sections.control("SH", ["NOTES"]);
            }
            for line in paragraph.lines() {
                sections.text([roman(line)]);
            }
        }
    }
}

/// Writes all pages, or none if a file exists that may not be replaced.
fn write_all(pages: &[Page], directory: &Path, force: bool) -> Result<(), String> {
    let shown = |path: &Path| printable(path.as_os_str().as_encoded_bytes());
    let already_there = |path: &Path| format!("{} exists already; use --force to overwrite it", shown(path));
    answers(directory).and_then(|()| report::place::create_directories(directory)).map_err(|error| {
        format!("cannot create {}: {}; choose another directory", shown(directory), cause_of(&error))
    })?;
    let paths: Vec<_> = pages.iter().map(|page| directory.join(&page.file)).collect();
    // A link counts as an existing file, wherever it leads.
    if let Some(path) = paths.iter().find(|path| !force && std::fs::symlink_metadata(path).is_ok()) {
        return Err(already_there(path));
    }
    let refused = |path: &Path, error: io::Error| match error.kind() {
        ErrorKind::AlreadyExists => already_there(path),
        _ => format!("cannot write {}: {}; choose another directory", shown(path), cause_of(&error)),
    };
    // If the disk is too full for all pages, none is written.
    let mut staged = Vec::with_capacity(pages.len());
    for (page, path) in pages.iter().zip(paths) {
        let written = report::stage(path.clone(), page.text.as_bytes());
        staged.push(written.map_err(|error| refused(&path, error))?);
    }
    for page in staged {
        let path = page.path().to_owned();
        page.publish(force).map_err(|error| refused(&path, error))?;
    }
    Ok(())
}
