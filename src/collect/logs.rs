//! The ends of logs: how much of a file is read, and how a rotated file is added.

use super::foreign::ForeignPath;
use super::workers::Workers;
use super::{FileKind, LogTail};
use crate::model::{Gap, GapDetail, GapReason};
use std::path::{Path, PathBuf};

/// Largest number of bytes that are read of one file.
const MAX_TAIL: u64 = 1024 * 1024;

/// Reads the end of a file and, where that is the whole file, the end of the rotated one. A pipe or device in place of
/// the file is never opened.
///
/// # Errors
/// A gap when the file does not exist, is not a regular file, or cannot be read.
pub fn tail(workers: &Workers, path: &ForeignPath, rotated: Option<&ForeignPath>) -> Result<LogTail, Gap> {
    let mut file = path.clone();
    let mut stat = workers.stat(&file)?;
    // svlogd, s6-log and multilog have a directory, and write to `current` in it.
    if stat.kind == FileKind::Directory {
        file = file.join("current");
        stat = workers.stat(&file).map_err(|gap| match gap.reason {
            GapReason::NotFound => Gap::new(path.shown(), GapReason::NotAsked, GapDetail::DirectoryWithoutCurrent),
            _ => gap,
        })?;
    }
    if stat.kind != FileKind::Regular {
        return Err(Gap::new(path.shown(), GapReason::NotAsked, GapDetail::NotRegular));
    }
    let last = end_of(workers, &file, stat.size)?;
    let is_cut = stat.size > MAX_TAIL;
    let mut tail = LogTail { parts: vec![last], is_cut, with_rotated: false, modified_ns: stat.modified_ns };
    let before = rotated.filter(|_| !is_cut).and_then(|rotated| {
        let stat = workers.stat(rotated).ok().filter(|stat| stat.kind == FileKind::Regular)?;
        Some((end_of(workers, rotated, stat.size).ok()?, stat.size > MAX_TAIL))
    });
    if let Some((bytes, is_cut)) = before {
        tail.parts.insert(0, bytes);
        (tail.is_cut, tail.with_rotated) = (is_cut, true);
    }
    Ok(tail)
}

fn end_of(workers: &Workers, path: &ForeignPath, size: u64) -> Result<Vec<u8>, Gap> {
    let length = usize::try_from(size.min(MAX_TAIL)).unwrap_or(0);
    Ok(workers.range(path, size.saturating_sub(MAX_TAIL), length)?.bytes.into_vec())
}

/// The name of the previous file after log rotation.
pub fn rotated(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}
