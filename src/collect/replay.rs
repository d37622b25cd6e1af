//! Facts from a saved report instead of a host.

use crate::model::{Envelope, SCHEMA};
use std::path::Path;
use thiserror::Error;

/// The first bytes of a gzip file (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Largest report that is read, in bytes.
pub const LARGEST_REPORT: usize = 64 * 1024 * 1024;

/// A report that cannot be used.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It could not be read.
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// A directory, device or pipe.
    #[error("it is no regular file")]
    NotAFile,
    /// More than [`LARGEST_REPORT`], unpacked.
    #[error("the report is larger than 64 MiB")]
    TooLarge,
    /// A damaged gzip file.
    #[error("it cannot be unpacked: {0}")]
    Packed(std::io::Error),
    /// Text in which no report stands.
    #[error("there is no hermes-doctor report in it: neither JSON nor a block of JSON in Markdown")]
    Nothing,
    /// Not JSON, or not of this shape.
    #[error("not a hermes-doctor report: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another format.
    #[error("the report has the format {0:?}, this program reads {SCHEMA:?}")]
    Format(String),
}

/// Reads a saved report from a file that a person named.
///
/// # Errors
/// When it cannot be read, is no regular file, or as [`read`].
pub fn read_file(path: &Path) -> Result<Envelope, ReplayError> {
    use std::io::Read;
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReplayError::NotAFile);
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(LARGEST_REPORT).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    read(&bytes)
}

/// Reads a saved report: plain, packed with gzip, or as the block of JSON in a comment that somebody has pasted.
///
/// # Errors
/// When it is too large, holds no report, or one of another format.
pub fn read(bytes: &[u8]) -> Result<Envelope, ReplayError> {
    if bytes.len() > LARGEST_REPORT {
        return Err(ReplayError::TooLarge);
    }
    let unpacked;
    let bytes = if bytes.starts_with(&GZIP) {
        unpacked = unpack(bytes)?;
        &unpacked
    } else {
        bytes
    };
    let block = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') | None => bytes,
        Some(_) => block_of_json(bytes).ok_or(ReplayError::Nothing)?,
    };
    let envelope: Envelope = serde_json::from_slice(block)?;
    if envelope.schema != SCHEMA {
        return Err(ReplayError::Format(crate::parse::text::printable(envelope.schema.as_bytes())));
    }
    Ok(envelope)
}

/// Unpacks as much as a report may be long; what unpacks to more is none.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>, ReplayError> {
    use std::io::Read;
    let mut unpacked = Vec::new();
    let limit = u64::try_from(LARGEST_REPORT).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut unpacked).map_err(ReplayError::Packed)?;
    if unpacked.len() > LARGEST_REPORT { Err(ReplayError::TooLarge) } else { Ok(unpacked) }
}

/// The first fenced block of Markdown that is a JSON object with this program's format (CommonMark, 4.5).
fn block_of_json(bytes: &[u8]) -> Option<&[u8]> {
    let mut blocks = Vec::new();
    let (mut at, mut open) = (0, None);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let end = at + line.len();
        let is_fence = line.trim_ascii_start().starts_with(b"```");
        match open {
            Some(start) if is_fence => {
                blocks.push(start..at);
                open = None;
            }
            None if is_fence => open = Some(end),
            _ => {}
        }
        at = end;
    }
    // A comment that was cut off ends within its block; the parser says so.
    blocks.extend(open.map(|start| start..bytes.len()));
    let is_report =
        |block: &&[u8]| block.trim_ascii_start().starts_with(b"{") && memchr_in(block, b"\"hermes-doctor/");
    blocks.into_iter().filter_map(|block| bytes.get(block)).find(is_report)
}

fn memchr_in(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).take(4096).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn fixture() -> Vec<u8> {
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/healthy-pool.json")).unwrap()
    }

    fn packed(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn plain_packed_and_pasted_are_the_same() {
        let plain = read(&fixture()).unwrap();
        assert_eq!(read(&packed(&fixture())).unwrap(), plain);
        let text = String::from_utf8(fixture()).unwrap();
        let comment = format!(
            "It died again.\n\n```\nsome log\n```\n\n<details><summary>report</summary>\n\n```json\n{text}\n```\n\n</details>\nThanks!\n"
        );
        assert_eq!(read(comment.as_bytes()).unwrap(), plain);
        assert_eq!(read(&packed(comment.as_bytes())).unwrap(), plain);
        assert_eq!(read(comment.replace('\n', "\r\n").as_bytes()).unwrap(), plain);
    }

    #[test]
    fn what_holds_no_report_is_refused_in_bounded_memory() {
        // A bomb: 200 MiB of zeros in 200 KiB.
        assert!(matches!(read(&packed(&vec![0; 200 << 20])), Err(ReplayError::TooLarge)));
        let mut damaged = packed(&fixture());
        damaged.truncate(damaged.len() / 2);
        assert!(matches!(read(&damaged), Err(ReplayError::Packed(_))));
        for text in ["hello", "```json\n{\"a\": 1}\n```", "```\n```\n", "> quoted", "\u{fffd}"] {
            assert!(matches!(read(text.as_bytes()), Err(ReplayError::Nothing)), "{text}");
        }
        let text = String::from_utf8(fixture()).unwrap();
        let cut = format!("```json\n{}", &text[..text.len() / 2]);
        assert!(matches!(read(cut.as_bytes()), Err(ReplayError::Malformed(_))));
    }
}
