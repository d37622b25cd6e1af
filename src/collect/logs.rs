//! The ends of logs: how much of a file is read, and how a rotated one is joined to it. The reads themselves are the host's.

use super::reader::{Request, file_kind};
use super::{FileKind, LogTail};
use crate::model::{Gap, GapReason};
use crate::parse::text::printable;
use std::path::{Path, PathBuf};

/// Most that is read of one file.
const LARGEST_TAIL: u64 = 1024 * 1024;

/// Reads the end of a file and, where that is the whole of it, the end of the one before it. `perform` makes the reads where they
/// can be abandoned; a pipe or device in the file's place is never opened.
///
/// # Errors
/// A gap when there is no such file, it is no regular one, or it cannot be read.
pub fn tail(
    path: &Path,
    rotated: Option<&Path>,
    perform: impl Fn(&[Request]) -> Vec<Result<Vec<u8>, Gap>>,
) -> Result<LogTail, Gap> {
    let one = |request: Request| {
        let nothing = || Err(Gap::new(shown(path), GapReason::Unsupported, "the reader gave no answer"));
        perform(std::slice::from_ref(&request)).pop().unwrap_or_else(nothing)
    };
    let mut file = path.to_owned();
    match file_kind(&one(Request::Kind(file.clone()))?) {
        FileKind::Regular => {}
        // svlogd, s6-log and multilog keep a directory, and write to `current` in it.
        FileKind::Directory => {
            file.push("current");
            if file_kind(&one(Request::Kind(file.clone()))?) != FileKind::Regular {
                return Err(no_file(path));
            }
        }
        FileKind::Other => return Err(no_file(path)),
    }
    let (size, modified_ns) = stamp(&one(Request::Stamp(file.clone()))?).ok_or_else(|| no_file(path))?;
    let last = one(range(&file, size))?;
    let mut tail = LogTail { parts: vec![last], is_cut: size > LARGEST_TAIL, with_rotated: false, modified_ns };
    let rotated = rotated.filter(|_| !tail.is_cut);
    let before = rotated.and_then(|rotated| {
        let is_file = file_kind(&one(Request::Kind(rotated.to_owned())).ok()?) == FileKind::Regular;
        let (size, _) = stamp(&one(Request::Stamp(rotated.to_owned())).ok().filter(|_| is_file)?)?;
        Some((one(range(rotated, size)).ok()?, size > LARGEST_TAIL))
    });
    if let Some((bytes, is_cut)) = before {
        tail.parts.insert(0, bytes);
        (tail.is_cut, tail.with_rotated) = (is_cut, true);
    }
    Ok(tail)
}

/// The name that log rotation gives the file before this one.
pub fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

fn range(path: &Path, size: u64) -> Request {
    let length = u32::try_from(size.min(LARGEST_TAIL)).unwrap_or(0);
    Request::Range(path.to_owned(), size.saturating_sub(LARGEST_TAIL), length)
}

fn stamp(answer: &[u8]) -> Option<(u64, u64)> {
    let (size, modified) = std::str::from_utf8(answer).ok()?.split_once(' ')?;
    Some((size.parse().ok()?, modified.parse().ok()?))
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

fn no_file(path: &Path) -> Gap {
    Gap::new(shown(path), GapReason::NotAsked, "it is no regular file, so it is not opened")
}
