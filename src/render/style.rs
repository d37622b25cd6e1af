//! Colour, width and the characters that a terminal can display.

use super::words;
use crate::model::Status;
use anstyle::{AnsiColor, Effects, Style as Ansi};
use unicode_width::UnicodeWidthStr;

/// Maximum width that is easy to read.
const MAX_WIDTH: usize = 120;
/// Default width.
const DEFAULT_WIDTH: usize = 80;

/// Minimum length of a shortened text; fewer characters are useless.
const MIN_CUT: usize = 8;

const HEADING: Ansi = Ansi::new().effects(Effects::BOLD);
const DIM: Ansi = Ansi::new().effects(Effects::DIMMED);

/// Only the first 8 colours, which a theme makes readable on its background, light or dark. Bright colours,
/// black and white are unreadable on one of the two, and yellow must be bold to be readable on white.
fn of_status(status: Status) -> Ansi {
    let colour = match status {
        Status::Healthy => AnsiColor::Green,
        Status::Warning => AnsiColor::Yellow,
        Status::Critical => AnsiColor::Red,
        Status::Unknown => AnsiColor::Magenta,
    };
    Ansi::new().fg_color(Some(colour.into())).effects(Effects::BOLD)
}

/// Colour, characters and width of the output.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    colour: bool,
    unicode: bool,
    width: usize,
}

impl Style {
    /// Reads width and locale from the environment.
    pub fn new(colour: bool) -> Self {
        let terminal = terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
        let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = terminal.or(columns).unwrap_or(DEFAULT_WIDTH).clamp(40, MAX_WIDTH);
        Self { colour, unicode: locale_is_unicode(), width }
    }

    /// A fixed style, for tests.
    pub fn plain(width: usize, unicode: bool) -> Self {
        Self { colour: false, unicode, width }
    }

    /// Width in columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// One of two spellings, depending on the locale.
    pub fn pick<'a>(&self, unicode: &'a str, ascii: &'a str) -> &'a str {
        if self.unicode { unicode } else { ascii }
    }

    /// Text in the characters of the locale. Untrusted text is already safe; this only replaces drawing
    /// characters of this program and characters outside of the locale.
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
        // A locale without "…" needs three characters for it, and some characters are two columns wide.
        let mut shorter = (MIN_CUT..=width).rev().map(|width| self.locale(&cut(&text, width)));
        shorter.find(|short| short.width() <= width).unwrap_or_else(|| self.locale(&cut(&text, MIN_CUT.min(width))))
    }

    fn paint(&self, text: &str, style: Ansi) -> String {
        if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A heading.
    pub fn bold(&self, text: &str) -> String {
        self.paint(text, HEADING)
    }

    /// A less important text.
    pub fn dim(&self, text: &str) -> String {
        self.paint(text, DIM)
    }

    /// A status or severity in its colour.
    pub fn status(&self, text: &str, status: Status) -> String {
        self.paint(text, of_status(status))
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

#[cfg(test)]
mod tests {
    use super::*;
    use anstyle::Color;

    /// Whether it is readable on a light and on a dark background.
    fn is_readable(style: Ansi) -> bool {
        let is_bold = style.get_effects().contains(Effects::BOLD);
        let is_foreground_fine = match style.get_fg_color() {
            None | Some(Color::Ansi(AnsiColor::Red | AnsiColor::Green | AnsiColor::Magenta)) => true,
            Some(Color::Ansi(AnsiColor::Yellow)) => is_bold,
            Some(_) => false,
        };
        is_foreground_fine && style.get_bg_color().is_none() && !style.get_effects().contains(Effects::INVERT)
    }

    #[test]
    fn colours_are_read_on_light_and_on_dark_grounds() {
        let of_all = [Status::Healthy, Status::Warning, Status::Critical, Status::Unknown].map(of_status);
        for style in of_all.into_iter().chain([HEADING, DIM]) {
            assert!(is_readable(style), "{style:?}");
        }
        for (at, style) in of_all.iter().enumerate() {
            assert!(style.get_effects().contains(Effects::BOLD), "seen without colour, too: {style:?}");
            assert!(!of_all[..at].contains(style), "two of one colour: {style:?}");
        }
        for lost in [AnsiColor::BrightWhite, AnsiColor::Black, AnsiColor::White, AnsiColor::BrightBlack] {
            assert!(!is_readable(Ansi::new().fg_color(Some(lost.into())).effects(Effects::BOLD)));
        }
        assert!(!is_readable(AnsiColor::Yellow.on_default()) && !is_readable(AnsiColor::Red.on(AnsiColor::White)));
    }

    #[test]
    fn shortened_text_fits_the_width() {
        for unicode in [true, false] {
            let style = Style::plain(80, unicode);
            for width in 12..40 {
                let path = style.shorten("/home/hermes/.hermes/profiles/w\u{f6}rk/state.db-wal", width);
                assert!(path.width() <= width && path.ends_with("db-wal"), "{width}: {path}");
                let command = style.brief("/usr/bin/python3 /srv/hermes-webui/server.py --port 8787", width);
                assert!(command.width() <= width && command.starts_with("python3"), "{width}: {command}");
                let wide = format!("/srv/{}", "\u{670d}\u{52a1}\u{5668}".repeat(8));
                for short in [style.shorten(&wide, width + 8), style.brief(&format!("python3 {wide}"), width + 8)] {
                    assert!(short.width() <= width + 8 && short.width() > 8, "{width}: {short}");
                }
            }
        }
    }
}
