//! Parts of messages that all front ends print.

use crate::parse::mask;
use std::io;

/// A message of the parser that is safe to print. The parser repeats the arguments, so secrets are masked, and
/// length and characters are limited.
pub fn sanitized(text: &str) -> String {
    const MAX_LENGTH: usize = 300;
    let line = |line: &str| {
        let words: Vec<String> = line
            .split(' ')
            .map(|word| {
                let word = if word.contains('?') && word.contains('/') { mask::url(word) } else { word.to_owned() };
                match word.char_indices().nth(MAX_LENGTH) {
                    Some((at, _)) => format!("{}…", word.get(..at).unwrap_or_default()),
                    None => word,
                }
            })
            .collect();
        crate::model::text::printable(mask::text(&words.join(" ")).as_bytes()) + "\n"
    };
    text.lines().map(line).collect()
}

/// The line about a failed write to standard output.
pub fn unwritten_output(error: &io::Error) -> String {
    format!("cannot write standard output: {}; free space there, or redirect it to another file", cause_of(error))
}

/// The text of a system error, without its number and the text after it.
pub fn cause_of(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}
