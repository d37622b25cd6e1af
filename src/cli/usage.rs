//! Parsing of the command line, and messages for usage errors.

use super::terminal::{emit, use_colour};
use crate::command::{Cli, EXIT_UNKNOWN, Format, When, nothing_examined, sanitized};
use crate::model::{Gap, GapReason};
use crate::render::{self, Style};
use clap::error::ErrorKind;
use std::ffi::OsString;
use std::io::{IsTerminal, Write};

/// The parsed command line.
///
/// # Errors
/// The message of the parser, which may be the requested help: see [`answer`].
pub fn parsed(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    Cli::of_arguments(arguments)
}

/// Prints the message of the parser in the requested format, and returns the exit status.
pub fn answer(arguments: &[OsString], error: &clap::Error) -> u8 {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        emit(&error.to_string());
        return 0;
    }
    let text = error.to_string();
    let shown = sanitized(&text);
    match requested_format(arguments) {
        Some(Format::Nagios) => emit(&render::nagios::nothing(&in_one_line(&shown))),
        Some(Format::Json) => {
            let gap = Gap::new("command line", GapReason::Malformed, in_one_line(&shown));
            emit(&render::json(&nothing_examined("usage", gap)));
        }
        _ => {
            let is_coloured = use_colour(requested_colour(arguments), std::io::stderr().is_terminal());
            // The message may contain the colours of the parser.
            let shown = if shown == text && is_coloured {
                error.render().ansi().to_string()
            } else {
                Style::new(false).locale(&shown)
            };
            let _ = std::io::stderr().lock().write_all(shown.as_bytes());
        }
    }
    EXIT_UNKNOWN
}

/// The message of the parser without the usage: the error, accepted values, and similar names.
fn in_one_line(text: &str) -> String {
    let paragraphs = text.trim_start_matches("error: ").split("\n\n");
    let kept = paragraphs.filter(|part| !part.starts_with("Usage: ") && !part.starts_with("For more information"));
    let lines = kept.map(|part| part.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The requested format if the arguments cannot be parsed as a whole, so that a program gets output that it can
/// read.
fn requested_format(arguments: &[OsString]) -> Option<Format> {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let says = |form: Format| {
        let word = form.word();
        words.iter().any(|given| given.strip_prefix("--format=") == Some(word))
            || words.windows(2).any(|pair| pair == ["--format", word])
    };
    let short = words.contains(&"--json").then_some(Format::Json);
    [Format::Nagios, Format::Json].into_iter().find(|form| says(*form)).or(short)
}

/// The requested colour, as far as it can be determined.
fn requested_colour(arguments: &[OsString]) -> When {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    let says = |value: &str| {
        words.iter().any(|given| given.strip_prefix("--color=") == Some(value))
            || words.windows(2).any(|pair| pair == ["--color", value])
    };
    if says("never") {
        When::Never
    } else if says("always") {
        When::Always
    } else {
        When::Auto
    }
}
