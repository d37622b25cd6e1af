//! Formatting of numbers and texts for users.

/// For example `7 h 06 m`, `3 d 02 h`, `12 s`.
pub fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days} d {:02} h", hours % 24),
        () if hours > 0 => format!("{hours} h {:02} m", minutes % 60),
        () if minutes > 0 => format!("{minutes} m {:02} s", seconds % 60),
        () if seconds >= 10 => format!("{seconds} s"),
        () => format!("{:.1} s", ms as f64 / 1000.0),
    }
}

/// For example `1.5 ms`, `2.00 s`.
pub fn milliseconds(ms: f64) -> String {
    if ms >= 1000.0 { format!("{:.2} s", ms / 1000.0) } else { format!("{ms:.1} ms") }
}

/// For example `4.0 KiB`, `12.3 MiB`.
pub fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value < 1024.0 {
            return if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1024.0;
    }
    format!("{value:.1} TiB")
}

/// The lines of a text at a width. Words are never split at a hyphen: commands and ids must stay whole.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let options = textwrap::Options::new(width).word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).into_iter().map(std::borrow::Cow::into_owned).collect()
}

/// A text as separate lines, indented by two columns.
pub fn indented(text: &str, width: usize) -> String {
    wrap(text, width.saturating_sub(2).max(20)).iter().map(|line| format!("  {line}\n")).collect()
}

/// A text shortened in its middle to a width, so that both the program and the end of a path remain.
pub fn shorten(text: &str, width: usize) -> String {
    use unicode_width::UnicodeWidthStr;
    if text.width() <= width || width < 8 {
        return text.to_owned();
    }
    let head = width / 3;
    let tail = width - head - 1;
    let characters: Vec<char> = text.chars().collect();
    let (start, end): (String, String) = (
        characters.iter().take(head).collect(),
        characters.iter().skip(characters.len().saturating_sub(tail)).collect(),
    );
    format!("{start}…{end}")
}

/// A command line for a heading: words without directories, cut at the end.
pub fn brief(command: &str, width: usize) -> String {
    let words: Vec<&str> = command
        .split(' ')
        .map(|word| if word.starts_with('-') { word } else { word.rsplit('/').next().unwrap_or(word) })
        .collect();
    let text = words.join(" ");
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain(std::iter::once('…')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_durations_and_sizes() {
        assert_eq!(duration(25_560_000), "7 h 06 m");
        assert_eq!(duration(266_400_000), "3 d 02 h");
        assert_eq!(duration(1500), "1.5 s");
        assert_eq!(duration(61_000), "1 m 01 s");
        assert_eq!((bytes(512), bytes(4096)), ("512 B".to_owned(), "4.0 KiB".to_owned()));
        assert_eq!(milliseconds(2003.0), "2.00 s");
    }

    #[test]
    fn a_heading_shows_the_program() {
        assert_eq!(brief("/usr/bin/python3 /srv/hermes-webui/server.py", 40), "python3 server.py");
        assert_eq!(brief("/usr/bin/python3 /srv/server.py --a --b", 20), "python3 server.py -…");
    }

    #[test]
    fn keeps_both_ends() {
        assert_eq!(shorten("/home/h/.hermes/profiles/work/state.db-wal", 20), "/home/…/state.db-wal");
        assert_eq!(shorten("short", 20), "short");
    }
}
