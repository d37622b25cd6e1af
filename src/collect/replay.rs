//! Facts from a saved report, instead of a host.

use crate::collect::Deadline;
use crate::collect::worker::NamedFile;
use crate::model::text::printable;
use crate::model::{Envelope, Gap, GapReason, GapSubject, SCHEMA, id};
use crate::parse::markdown;
use crate::parse::version::is_newer;
use serde::Deserialize;
use serde_json::Value;
use std::borrow::Cow;
use std::path::Path;
use thiserror::Error;

/// The first bytes of a gzip file (RFC 1952, 2.3.1).
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Largest report that is read, in bytes.
pub const MAX_REPORT_BYTES: usize = 64 * 1024 * 1024;

/// Limit for the memory of a report's values, in units of [`cost`] of some hundred bytes each: about a gigabyte at
/// most. A whole host costs about ten thousand units, and one with twenty databases that was watched for weeks about a
/// million.
const MAX_COST: usize = 1_500_000;

/// Longest excerpt of a report in an error, in characters.
const MAX_QUOTE: usize = 160;

/// A report that cannot be used.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file could not be read.
    #[error("{}", .0.text())]
    Unreadable(Gap),
    /// A directory, device or pipe.
    #[error("not a regular file")]
    NotAFile,
    /// Larger than [`MAX_REPORT_BYTES`] when unpacked.
    #[error("the report is larger than 64 MiB")]
    TooLarge,
    /// More values than the report of any host has.
    #[error("the report has more values than that of any host")]
    TooMany,
    /// A damaged gzip file.
    #[error("it cannot be unpacked: {0}")]
    Packed(std::io::Error),
    /// Text without a report.
    #[error("not a hermes-doctor report: it has neither JSON nor a Markdown block with JSON")]
    Nothing,
    /// Not JSON, or JSON of another structure.
    #[error("not a hermes-doctor report: {0}")]
    Malformed(String),
    /// Written by a newer program, with an unknown value in a part that decides the result.
    #[error("the report was written by hermes-doctor {version}, and this older version ({own}) cannot read it: {what}", own = env!("CARGO_PKG_VERSION"))]
    Newer {
        /// The program's version.
        version: String,
        /// The unknown value.
        what: String,
    },
    /// A report of another format.
    #[error("the report has the format \"{0}\", this program reads \"{SCHEMA}\"")]
    Format(String),
}

/// Reads a saved report from a file that the user named. A worker opens it, because its filesystem can hang.
///
/// # Errors
/// When the file cannot be read by the deadline or is not a regular file, and those of [`read`].
pub fn read_file(path: &Path, deadline: Deadline) -> Result<Envelope, ReplayError> {
    let found = NamedFile::find(path, deadline).map_err(ReplayError::Unreadable)?;
    let mut file = found.ok_or(ReplayError::NotAFile)?;
    let largest = u64::try_from(MAX_REPORT_BYTES).unwrap_or(u64::MAX);
    if file.size().map_err(ReplayError::Unreadable)?.is_some_and(|size| size > largest) {
        return Err(ReplayError::TooLarge);
    }
    let mut bytes = Vec::new();
    loop {
        let piece = file.next_piece().map_err(ReplayError::Unreadable)?;
        if piece.is_empty() || bytes.len() > MAX_REPORT_BYTES {
            return read(&bytes);
        }
        bytes.extend_from_slice(&piece);
    }
}

/// Reads a saved report: plain, packed with gzip, or as a block of JSON in a pasted comment.
///
/// # Errors
/// When it is too large, contains no report, or has another format.
pub fn read(bytes: &[u8]) -> Result<Envelope, ReplayError> {
    if bytes.len() > MAX_REPORT_BYTES {
        return Err(ReplayError::TooLarge);
    }
    let unpacked;
    let bytes = if bytes.starts_with(&GZIP) {
        unpacked = unpack(bytes)?;
        &unpacked
    } else {
        bytes
    };
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    let block = match (block_of_json(bytes), bytes.iter().find(|byte| !byte.is_ascii_whitespace())) {
        (Some(block), _) => block,
        (None, Some(b'{' | b'[') | None) => Cow::Borrowed(bytes),
        (None, Some(_)) => return Err(ReplayError::Nothing),
    };
    if cost(&block) > MAX_COST {
        return Err(ReplayError::TooMany);
    }
    parse(&block)
}

/// Memory cost of the values of a JSON text; a small text can have many values. Each value but the first has one of
/// these characters before it. A `BTreeMap` node allocates space for eleven fields, so an object is expensive.
fn cost(json: &[u8]) -> usize {
    let of = |byte: &u8| match byte {
        b'{' => 8,
        b',' | b'[' => 1,
        _ => 0,
    };
    json.iter().map(of).sum()
}

/// The fields that are read first: they decide how the rest is read.
#[derive(Deserialize)]
struct Head {
    schema: String,
    tool: Option<Writer>,
}

#[derive(Deserialize)]
struct Writer {
    version: String,
}

fn parse(block: &[u8]) -> Result<Envelope, ReplayError> {
    let malformed = |error: serde_json::Error| ReplayError::Malformed(quoted(&error.to_string()));
    let head: Head = serde_json::from_slice(block).map_err(malformed)?;
    if head.schema != SCHEMA {
        return Err(ReplayError::Format(quoted(&head.schema)));
    }
    let newer = head.tool.map(|writer| writer.version).filter(|version| is_newer(version));
    // Always deserialized from the tree: a second way would compile the code for all types twice.
    let tree = || crate::parse::tree::tree(block);
    match (tree().and_then(serde_json::from_value), newer) {
        (Ok(envelope), _) => Ok(envelope),
        (Err(error), None) => Err(malformed(error)),
        (Err(error), Some(version)) => {
            let known = tree().ok().and_then(remove_unknown_parts);
            known.ok_or_else(|| ReplayError::Newer { version: quoted(&version), what: quoted(&error.to_string()) })
        }
    }
}

/// An excerpt of a report for an error: safe on a terminal, and one or two lines long.
fn quoted(text: &str) -> String {
    let text = printable(text.as_bytes());
    match text.char_indices().nth(MAX_QUOTE) {
        Some((cut, _)) => format!("{}…", text.get(..cut).unwrap_or_default()),
        None => text,
    }
}

/// Optional parts of a server, each with the checks that are inconclusive without it.
const PARTS: &[(&str, &[&str])] = &[
    ("descriptors", id::DESCRIPTORS),
    ("lineage", id::LINEAGE),
    ("health", id::HTTP),
    ("databases", id::DATABASES),
    ("trend", &[id::DESCRIPTOR_GROWTH]),
    ("growth", &[id::DESCRIPTOR_GROWTH]),
    ("exercise", &[id::DESCRIPTOR_GROWTH]),
    // Findings are computed again from the facts.
    ("findings", &[]),
];

/// A report of a newer program without the parts that have an unknown value. Each removed part is a gap, so that the
/// server is not reported as healthy. `None` where the report is still not readable.
fn remove_unknown_parts(mut report: Value) -> Option<Envelope> {
    for server in report.get_mut("servers")?.as_array_mut()? {
        let mut lost = Vec::new();
        for (name, ids) in PARTS {
            let Some(part) = server.get_mut(*name) else { continue };
            let taken = part.take();
            match why_not(name, &taken) {
                None => *part = taken,
                Some(why) => {
                    *part = match name {
                        &"databases" | &"growth" | &"findings" => Value::Array(Vec::new()),
                        _ => Value::Null,
                    };
                    if ids.is_empty() {
                        continue;
                    }
                    let what = GapSubject::NewerReport { name: (*name).into() };
                    let gap = Gap::new(what, GapReason::Malformed, quoted(&why));
                    lost.push(gap.blocking(ids).blocking(&[id::SERVER_NOT_RUNNING]));
                }
            }
        }
        let gaps = server.get_mut("gaps")?.as_array_mut()?;
        for gap in lost {
            gaps.push(serde_json::to_value(gap).ok()?);
        }
    }
    serde_json::from_value(report).ok()
}

/// Why this program cannot read a part of a server; `None` where it can.
fn why_not(name: &str, part: &Value) -> Option<String> {
    use crate::model::{DatabaseFile, Descriptors, Exercise, Growth, Health, Lineage, Trend, WordedFinding};
    fn read<T: serde::de::DeserializeOwned>(part: &Value) -> Result<(), serde_json::Error> {
        serde_json::from_value::<T>(part.clone()).map(drop)
    }
    let read = match name {
        "descriptors" => read::<Option<Descriptors>>(part),
        "lineage" => read::<Option<Lineage>>(part),
        "health" => read::<Option<Health>>(part),
        "databases" => read::<Vec<DatabaseFile>>(part),
        "trend" => read::<Option<Trend>>(part),
        "growth" => read::<Vec<Growth>>(part),
        "exercise" => read::<Option<Exercise>>(part),
        "findings" => read::<Vec<WordedFinding>>(part),
        _ => Ok(()),
    };
    read.err().map(|error| error.to_string())
}

/// Unpacks a report, up to the size limit.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>, ReplayError> {
    use std::io::Read;
    let mut unpacked = Vec::new();
    let limit = u64::try_from(MAX_REPORT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    flate2::read::MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut unpacked).map_err(ReplayError::Packed)?;
    if unpacked.len() > MAX_REPORT_BYTES { Err(ReplayError::TooLarge) } else { Ok(unpacked) }
}

/// The first fenced block of Markdown that contains a JSON object with this program's format.
fn block_of_json(bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
    let names_us = |block: &[u8]| {
        const NAME: &[u8] = b"\"hermes-doctor/";
        block.windows(NAME.len()).any(|window| window == NAME)
    };
    markdown::fenced_blocks(bytes).into_iter().filter_map(|block| bytes.get(block)).find_map(|block| {
        match block.trim_ascii_start().first()? {
            b'{' if names_us(block) => Some(Cow::Borrowed(block)),
            b'>' if names_us(block) => Some(Cow::Owned(markdown::unquoted(block))),
            _ => None,
        }
    })
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
        // Before it, another block that contains fences; a reply that quotes it; a comment that begins like JSON; keys
        // in another order; and the byte order mark that some editors put first.
        let log = format!("[see](x)\n````\n```json\n{{\"a\": 1}}\n```\n````\n{comment}");
        assert_eq!(read(log.as_bytes()).unwrap(), plain);
        let quoted: String = comment.lines().map(|line| format!("> {line}\n")).collect();
        assert_eq!(read(quoted.as_bytes()).unwrap(), plain);
        let (head, rest) = text.split_once("\"schema\": \"hermes-doctor/1\",").unwrap();
        let last = format!(
            "{head}{},\n\"schema\": \"hermes-doctor/1\"}}",
            rest.trim_end().trim_end_matches('}').trim_end()
        );
        assert_eq!(read(format!("```\n{last}\n```").as_bytes()).unwrap(), plain);
        assert_eq!(read(format!("\u{feff}{text}").as_bytes()).unwrap(), plain);
    }

    #[test]
    fn input_without_a_report_is_refused_in_bounded_memory() {
        // A decompression bomb: 200 MiB of zeros in 200 KiB.
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
