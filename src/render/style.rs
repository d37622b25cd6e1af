//! Colour, width and the characters that a terminal can show.

use super::words;
use anstyle::{AnsiColor, Effects, Style as Ansi};
use unicode_width::UnicodeWidthStr;

/// Widest text that is read with ease.
const WIDEST: usize = 120;
/// Width when nobody says otherwise.
const USUAL: usize = 80;

/// What the output may use.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
    unicode: bool,
    width: usize,
}

impl Style {
    /// Reads width and locale of the environment.
    pub fn new(colour: bool) -> Self {
        let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = terminal.or(columns).unwrap_or(USUAL).clamp(40, WIDEST);
        Self { colour, unicode: locale_is_unicode(), width }
    }

    /// A fixed style, for tests.
    pub fn plain(width: usize, unicode: bool) -> Self {
        Self { colour: false, unicode, width }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One of two spellings.
    pub fn pick<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }

    /// Text in the characters of the locale. Foreign text is safe already; here only the drawing characters of
    /// this program and what the locale cannot show are replaced.
    pub fn locale(&self, text: &str) -> String {
        if self.unicode {
            return text.to_owned();
        }
        text.chars()
            .map(|character| match character {
                '…' => "...".to_owned(),
                '·' => "-".to_owned(),
                '→' => "->".to_owned(),
                character if character.is_ascii() => character.to_string(),
                character => format!("\\u{{{:x}}}", u32::from(character)),
            })
            .collect()
    }

    /// A text cut in its middle to a width, in the characters of the locale.
    pub fn shorten(&self, text: &str, width: usize) -> String {
        self.cut(words::shorten, text, width)
    }

    /// A command line for a heading, in the characters of the locale.
    pub fn brief(&self, command: &str, width: usize) -> String {
        self.cut(words::brief, command, width)
    }

    fn cut(&self, cut: fn(&str, usize) -> String, text: &str, width: usize) -> String {
        let text = self.locale(text);
        let short = self.locale(&cut(&text, width));
        // A locale without "…" takes three characters for it.
        if short.width() <= width { short } else { self.locale(&cut(&text, width.saturating_sub(2))) }
    }

    fn paint(&self, text: &str, style: Ansi) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Headings.
    pub fn bold(&self, text: &str) -> String {
        self.paint(text, Ansi::new().effects(Effects::BOLD))
    }

    /// What matters less.
    pub fn dim(&self, text: &str) -> String {
        self.paint(text, Ansi::new().effects(Effects::DIMMED))
    }

    /// A status or severity in its colour. Colours of the 16, so that light and dark themes both show them.
    pub fn status(&self, text: &str, status: crate::model::Status) -> String {
        use crate::model::Status;
        let colour = match status {
            Status::Healthy => AnsiColor::Green,
            Status::Warning => AnsiColor::Yellow,
            Status::Critical => AnsiColor::Red,
            Status::Unknown => AnsiColor::Magenta,
        };
        self.paint(text, Ansi::new().fg_color(Some(colour.into())).effects(Effects::BOLD))
    }
}

/// Whether the locale's characters are UTF-8 (locale(7): LC_ALL before LC_CTYPE before LANG).
fn locale_is_unicode() -> bool {
    let named = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|value| !value.is_empty());
    match named {
        Some(value) => {
            let value = value.to_ascii_lowercase();
            value.contains("utf-8") || value.contains("utf8")
        }
        None => cfg!(target_os = "macos"),
    }
}
