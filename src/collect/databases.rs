//! SQLite databases as plain bytes, read by the worker on every system.
//!
//! No file is opened through SQLite: even a reader that only opens and closes a database can unlink a live write-ahead
//! log. Plain reads of another process's files take no lock and release none.

use super::workers::Workers;
use super::{Collected, ForeignPath};
use crate::model::{
    DatabaseFile, DatabaseHolder, FileStamp, Gap, GapReason, GapSubject, HostPath, SecondSample, WalFile, WalIndex,
    id,
};
use crate::parse::link::SqlitePart;
use crate::parse::sqlite;

/// Checks that need the locks.
pub const LOCKS_DECIDE: &[&str] = &[id::DATABASE_LOCK_HELD, id::DATABASE_LOCKS_LOST, id::WAL_CHECKPOINT_PINNED];
/// Bytes of the index that are read.
const INDEX_START: usize = 136;
/// Attempts to read an index while a writer changes it.
const INDEX_TRIES: usize = 4;

/// The files of a database: the main file and its companions.
pub struct Files {
    database: ForeignPath,
    wal: ForeignPath,
    shm: ForeignPath,
    journal: ForeignPath,
}

impl Files {
    /// The files of the database at this path.
    pub fn of(path: &ForeignPath) -> Self {
        let with = |suffix| path.with_suffix(suffix);
        Self { database: path.clone(), wal: with("-wal"), shm: with("-shm"), journal: with("-journal") }
    }

    /// One of its files.
    pub fn part(&self, part: SqlitePart) -> &ForeignPath {
        match part {
            SqlitePart::Database => &self.database,
            SqlitePart::Wal => &self.wal,
            SqlitePart::Shm => &self.shm,
        }
    }
}

/// Reads a database, without its locks.
///
/// # Errors
/// A gap when the file does not exist, or cannot be read.
pub fn read(workers: &Workers, files: &Files) -> Result<Collected<DatabaseFile>, Gap> {
    let path = HostPath::new(files.database.bytes());
    let shown = path.to_string();
    let mut gaps = Vec::new();
    let named = |gap: Gap, suffix: &str| Gap { what: format!("{shown}{suffix}").into(), ..gap };
    let size_bytes = size(workers, &files.database).map_err(|gap| named(gap, ""))?;
    let mut file = DatabaseFile {
        path,
        size_bytes: Some(size_bytes),
        header: None,
        journal_mode: "unknown".into(),
        wal: None,
        index: None,
        written: written(workers, files),
        locks: Vec::new(),
        holders: Vec::new(),
        looked_again: None,
        read_as: files.database.user(),
    };
    let first = workers.content(&files.database, 100).map_err(|gap| named(gap, ""))?.bytes;
    match sqlite::database_header(&first) {
        Ok(header) => {
            file.journal_mode = header.as_ref().map_or("unknown", |header| header.journal_mode()).to_owned().into();
            file.header = header;
        }
        Err(error) => gaps.push(Gap::new(&shown, GapReason::Malformed, error.to_string())),
    }
    match wal(workers, &files.wal) {
        Ok(Some((wal, error))) => {
            file.wal = Some(wal);
            if let Some(error) = error {
                gaps.push(Gap::new(format!("{shown}-wal"), GapReason::Malformed, error));
            }
        }
        Ok(None) => {}
        Err(gap) => gaps.push(named(gap, "-wal")),
    }
    match index(workers, &files.shm) {
        Ok(index) => file.index = index,
        Err(gap) => gaps.push(named(gap, "-shm")),
    }
    Ok(Collected { value: file, gaps })
}

/// The values that change, read a second time, without the locks. The caller knows the interval, and what the holder
/// did meanwhile.
pub fn again(workers: &Workers, files: &Files) -> SecondSample {
    let index = index(workers, &files.shm).ok().flatten();
    SecondSample {
        after_ms: 0,
        max_frame: index.as_ref().map(|index| index.max_frame),
        change: index.as_ref().map(|index| index.change),
        backfilled_frames: index.as_ref().map(|index| index.backfilled_frames),
        read_marks: index.map(|index| index.read_marks.to_vec()).unwrap_or_default(),
        written: written(workers, files),
        locks: None,
        holder_cpu_ms: None,
    }
}

/// Time of the last write to each of its files except the index: the index is mapped, and a mapped file keeps its
/// modification time.
fn written(workers: &Workers, files: &Files) -> Vec<FileStamp> {
    [("", &files.database), ("-wal", &files.wal), ("-journal", &files.journal)]
        .into_iter()
        .filter_map(|(suffix, path)| {
            let stat = workers.stat(path).ok()?;
            Some(FileStamp {
                suffix: suffix.to_owned().into(),
                size_bytes: stat.size,
                modified_ns: stat.modified_ns,
            })
        })
        .collect()
}

fn size(workers: &Workers, path: &ForeignPath) -> Result<u64, Gap> {
    Ok(workers.stat(path)?.size)
}

/// The log, with the error where it could not be parsed completely; `None` where the file does not exist.
fn wal(workers: &Workers, path: &ForeignPath) -> Result<Option<(WalFile, Option<String>)>, Gap> {
    let size_bytes = match size(workers, path) {
        Ok(size) => size,
        Err(gap) if gap.reason == GapReason::NotFound => return Ok(None),
        Err(gap) => return Err(gap),
    };
    let mut read = |offset: u64, length: usize| Some(workers.range(path, offset, length).ok()?.bytes.into_vec());
    let (file, error) = sqlite::wal_file(size_bytes, &mut read);
    Ok(Some((file, error.map(|error| error.to_string()))))
}

/// The index; read again while a writer changes it. `None` where the file does not exist, or is not initialized yet.
fn index(workers: &Workers, path: &ForeignPath) -> Result<Option<WalIndex>, Gap> {
    let mut last = None;
    for _ in 0..INDEX_TRIES {
        let bytes = match workers.content(path, INDEX_START) {
            Ok(content) => content.bytes,
            Err(gap) if gap.reason == GapReason::NotFound => return Ok(None),
            Err(gap) => return Err(gap),
        };
        if bytes.len() < 8 {
            return Ok(None);
        }
        let found = sqlite::wal_index(&bytes)
            .map_err(|error| Gap::new(GapSubject::WalIndex, GapReason::Malformed, error.to_string()))?;
        let is_whole = found.copies_agree && (found.checksum_is_right || !found.is_initialised);
        last = Some(found);
        if is_whole {
            break;
        }
    }
    Ok(last)
}
/// Counts descriptors on one part of a database.
pub fn count(holder: &mut DatabaseHolder, part: SqlitePart, descriptors: u64) {
    match part {
        SqlitePart::Database => holder.descriptors_db += descriptors,
        SqlitePart::Wal => holder.descriptors_wal += descriptors,
        SqlitePart::Shm => holder.descriptors_shm += descriptors,
    }
}
