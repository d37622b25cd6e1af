//! Code blocks in a Markdown text, as users paste them into issues.

use std::ops::Range;

/// Fenced code blocks without their fences, in order (CommonMark 0.31, 4.5). Blocks within one level of
/// quotation count too, and keep their quotation marks. If the text was cut off, its last block ends with it.
pub fn fenced_blocks(text: &[u8]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, u8, usize)> = None;
    let mut at = 0;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len();
        match (open, fence(line)) {
            // Only a fence of the same kind, at least as long and without text after it, closes a block.
            (Some((start, mark, length)), Some((other, long, rest)))
                if other == mark && long >= length && rest.is_empty() =>
            {
                blocks.push(start..at);
                open = None;
            }
            // The info string after a fence of backticks contains no backticks; otherwise it is inline code.
            (None, Some((mark, length, rest))) if mark != b'`' || !rest.contains(&b'`') => {
                open = Some((end, mark, length));
            }
            _ => {}
        }
        at = end;
    }
    blocks.extend(open.map(|(start, ..)| start..text.len()));
    blocks
}

/// A quoted block without its quotation marks.
pub fn unquoted(block: &[u8]) -> Vec<u8> {
    let plain = |line: &[u8]| line.trim_ascii_start().strip_prefix(b">").unwrap_or(line).to_vec();
    block.split_inclusive(|byte| *byte == b'\n').flat_map(plain).collect()
}

/// Mark, length, and the text after it.
fn fence(line: &[u8]) -> Option<(u8, usize, &[u8])> {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b">").map_or(line, <[u8]>::trim_ascii_start);
    let mark = *line.first().filter(|byte| matches!(byte, b'`' | b'~'))?;
    let length = line.iter().take_while(|byte| **byte == mark).count();
    (length >= 3).then(|| (mark, length, line.get(length..).unwrap_or_default().trim_ascii()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Vec<&str> {
        fenced_blocks(text.as_bytes()).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn blocks_end_at_their_own_fence() {
        assert_eq!(blocks("a\n```json\n{}\n```\nb\n~~~\nx\n~~~\n"), ["{}\n", "x\n"]);
        assert_eq!(blocks("````\n```\nlog\n```\n````\n```\n1\n```"), ["```\nlog\n```\n", "1\n"]);
        assert_eq!(blocks("```\nlog\n~~~\n```json\n"), ["log\n~~~\n```json\n"]);
        assert_eq!(blocks("use ```code``` so\n```not``` this\n  ```\r\n1\r\n  ```\r\n"), ["1\r\n"]);
        assert_eq!(blocks("no block"), Vec::<&str>::new());
    }

    #[test]
    fn quoted_blocks_are_blocks() {
        let text = "> He wrote:\n> ```json\n> {\n>  1}\n> ```\n\nYes.\n";
        assert_eq!(blocks(text), ["> {\n>  1}\n"]);
        assert_eq!(unquoted(blocks(text)[0].as_bytes()), b" {\n  1}\n");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[`~> a\n]{0,60}") {
            for range in fenced_blocks(text.as_bytes()) {
                proptest::prop_assert!(text.get(range.clone()).is_some());
                let _ = unquoted(&text.as_bytes()[range]);
            }
        }
    }
}
