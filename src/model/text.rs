//! Conversion of untrusted strings to text that is safe to print and to keep.

use std::fmt::Write as _;

/// Maximum length of an untrusted string, in bytes of input. The rest is cut, and the text says so.
pub const MAX_LENGTH: usize = 4096;

/// Converts untrusted bytes to text that cannot move a cursor, change a colour or reverse the reading order.
///
/// Control characters (C0, DEL, C1), bidirectional marks, invisible separators and invalid UTF-8 become visible
/// escapes. Nothing is dropped except bytes after the first [`MAX_LENGTH`].
pub fn printable(bytes: &[u8]) -> String {
    let (kept, cut) = match bytes.get(..MAX_LENGTH) {
        Some(head) if bytes.len() > MAX_LENGTH => (head, bytes.len() - MAX_LENGTH),
        _ => (bytes, 0),
    };
    let mut out = String::with_capacity(kept.len());
    for chunk in kept.utf8_chunks() {
        if are_plain(chunk.valid().as_bytes()) {
            out.push_str(chunk.valid());
        } else {
            push_printable(&mut out, chunk.valid());
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
    if cut > 0 {
        let _ = write!(out, "… ({cut} more bytes)");
    }
    out
}

fn push_printable(out: &mut String, text: &str) {
    for character in text.chars() {
        if is_harmless(character) {
            out.push(character);
        } else if let Some(byte) = kept_byte(character) {
            let _ = write!(out, "\\x{byte:02x}");
        } else {
            let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
        }
    }
}

/// Whether it is a visible ASCII character or a space; nearly every byte is.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Whether [`printable`] would leave a text unchanged.
pub fn is_printable(text: &str) -> bool {
    are_plain(text.as_bytes()) || text.chars().all(is_harmless)
}

fn are_plain(bytes: &[u8]) -> bool {
    bytes.iter().copied().all(is_plain)
}

fn is_harmless(character: char) -> bool {
    !(character.is_control()
        || matches!(character,
            '\u{061c}'                  // Arabic letter mark
            | '\u{200b}'..='\u{200f}'   // zero width, left-to-right and right-to-left marks
            | '\u{2028}'..='\u{202e}'   // line and paragraph separators, bidirectional embeddings and overrides
            | '\u{2060}'..='\u{206f}'   // invisible operators, bidirectional isolates
            | '\u{fe00}'..='\u{fe0f}'   // variation selectors
            | '\u{feff}'                // byte order mark
            | '\u{fff9}'..='\u{fffb}'   // interlinear annotation
            | '\u{e0000}'..='\u{e0fff}' // tags
            | FIRST_KEPT..=LAST_KEPT))
}

/// Characters that represent single bytes in [`kept`] text: the last 256 of private use, which Unicode leaves
/// undefined.
const FIRST_KEPT: char = '\u{10fe00}';
const LAST_KEPT: char = '\u{10feff}';

fn kept_byte(character: char) -> Option<u8> {
    u8::try_from(u32::from(character).checked_sub(u32::from(FIRST_KEPT))?).ok()
}

/// Text from which the bytes can be restored. A byte that is not valid UTF-8 becomes a private use character,
/// like `surrogateescape` of Python (PEP 383). [`printable`] shows such a byte as an escape.
pub fn kept(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    let push_byte = |out: &mut String, byte: u8| {
        out.extend(char::from_u32(u32::from(FIRST_KEPT) + u32::from(byte)));
    };
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            // A character that represents a byte in such a text cannot represent itself.
            if kept_byte(character).is_some() {
                character.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_byte(&mut out, byte));
            } else {
                out.push(character);
            }
        }
        chunk.invalid().iter().for_each(|byte| push_byte(&mut out, *byte));
    }
    out
}

/// Restores the bytes of [`kept`] text.
pub fn raw(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for character in text.chars() {
        match kept_byte(character) {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out
}

/// Splits a NUL-separated block (`/proc/PID/cmdline`, `/proc/PID/environ`) into its words, without the empty
/// tail.
pub fn nul_separated(block: &[u8]) -> Vec<&[u8]> {
    let body = block.strip_suffix(b"\0").unwrap_or(block);
    if body.is_empty() { Vec::new() } else { body.split(|byte| *byte == 0).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_terminal_control_characters() {
        assert_eq!(printable(b"\x1b[31mred\x07"), "\\u{1b}[31mred\\u{7}");
        assert_eq!(printable("a\u{9b}31m".as_bytes()), "a\\u{9b}31m");
        assert_eq!(printable("evil\u{202e}txt".as_bytes()), "evil\\u{202e}txt");
        assert_eq!(printable(b"\xff\xfe ok"), "\\xff\\xfe ok");
        assert_eq!(printable("größe 日本".as_bytes()), "größe 日本");
    }

    #[test]
    fn kept_text_has_every_byte() {
        for bytes in [&b"plain"[..], b"jos\xe9", b"\xff\xfe\0\n", "\u{10fe41}\u{10feff}A".as_bytes(), b"\xf4\x8f"] {
            assert_eq!(raw(&kept(bytes)), bytes);
        }
        assert_eq!(printable(kept(b"jos\xe9").as_bytes()), "jos\\xe9");
        assert!(!is_printable(&kept(b"\xe9")));
    }

    #[test]
    fn truncates_long_text_to_the_limit() {
        let long = vec![b'x'; MAX_LENGTH + 10];
        let text = printable(&long);
        assert!(text.ends_with("… (10 more bytes)"));
        assert!(text.len() < MAX_LENGTH + 40);
    }

    #[test]
    fn splits_nul_separated_blocks() {
        assert_eq!(nul_separated(b"a\0b c\0"), vec![&b"a"[..], b"b c"]);
        assert_eq!(nul_separated(b"a\0\0"), vec![&b"a"[..], b""]);
        assert!(nul_separated(b"").is_empty());
    }
}
