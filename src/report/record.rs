//! The flight recorder's file: lines appended whole, bounded by rotation, readable by nobody else.

use crate::collect::Deadline;
use crate::collect::worker::{NamedFile, answers};
use crate::model::{Gap, GapReason, History, Record};
use crate::parse::history::Lines;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Largest record that is read back, in bytes: the file and the one before it.
const LARGEST_READ: u64 = 256 * 1024 * 1024;

/// How often it is read anew where it was rotated meanwhile.
const MOST_TRIES: u32 = 3;

/// How long that may take, on a slow disk.
pub const LONGEST: Duration = Duration::from_secs(60);

/// A record under way.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    largest: u64,
}

impl Recorder {
    /// Appends to a file of at most `largest` bytes; then it becomes `FILE.1`, and a new one begins.
    pub fn new(path: PathBuf, largest: u64) -> Self {
        Self { path, largest }
    }

    /// The last records of what is there, so that a recorder that was started again goes on where it was.
    ///
    /// # Errors
    /// When it cannot be read, so that nothing is known of what was before.
    pub fn last(&self) -> io::Result<Vec<Record>> {
        read(&self.path, Deadline::after(LONGEST)).map(|history| history.records)
    }

    /// Appends one record, in one write: a crash leaves at most one torn line, behind which the next begins anew.
    ///
    /// # Errors
    /// Those of the file system; the record is lost then, and nothing else.
    pub fn append(&self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        answers(&self.path)?;
        let mut file = self.open()?;
        let size = file.metadata()?.len();
        if size > 0 && size.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX)) > self.largest {
            drop(file);
            std::fs::rename(&self.path, older(&self.path))?;
            file = self.open()?;
        } else if size > 0 {
            let mut last = [0_u8; 1];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                line.insert(0, b'\n');
            }
        }
        file.write_all(&line)
    }

    /// Whether it can be written to at all; makes the file.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn begin(&self) -> io::Result<()> {
        answers(&self.path)?;
        self.open().map(drop)
    }

    /// A link in its place is refused: it could lead anywhere.
    fn open(&self) -> io::Result<File> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(&self.path)?;
        if !file.metadata()?.is_file() {
            return Err(no_file());
        }
        Ok(file)
    }

    /// Writes a report beside the record, to a name that did not exist.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(&self, text: &str, at: &str) -> io::Result<PathBuf> {
        let stamp: String = at.chars().filter(char::is_ascii_alphanumeric).collect();
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{stamp}.json"));
        let path = PathBuf::from(name);
        answers(&path)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        Ok(path)
    }
}

/// The file that a full record becomes.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// Reads a record back, the one before it first.
///
/// # Errors
/// When the file cannot be read by the deadline, or is no regular one.
pub fn read(path: &Path, deadline: Deadline) -> io::Result<History> {
    let mut tries = MOST_TRIES;
    loop {
        tries -= 1;
        match read_once(path, deadline) {
            // A recorder that began a new file meanwhile left a part out, or there was none for a moment.
            Ok((_, false)) if tries > 0 => {}
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(1));
            }
            found => return found.map(|(history, _)| history),
        }
    }
}

/// Reads both files, and tells whether the newer was the same at the end.
fn read_once(path: &Path, deadline: Deadline) -> io::Result<(History, bool)> {
    let told = |gap: Gap| {
        let kind = if gap.reason == GapReason::NotFound { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
        io::Error::new(kind, gap.told().to_owned())
    };
    let mut newer = NamedFile::find(path, deadline).map_err(told)?.ok_or_else(no_file)?;
    let before = newer.identity().map_err(told)?;
    // Before the first rotation there is none.
    let older = match NamedFile::find(&older(path), deadline) {
        Ok(older) => older,
        Err(gap) if gap.reason == GapReason::NotFound => None,
        Err(gap) => return Err(told(gap)),
    };
    let found = history(older, &mut newer)?;
    Ok((found, newer.identity().map_err(told)? == before))
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")
}

fn history(older: Option<impl Read>, newer: impl Read) -> io::Result<History> {
    let mut lines = Lines::default();
    if let Some(older) = older {
        lines.take_from(BufReader::new(older.take(LARGEST_READ)))?;
    }
    lines.take_from(BufReader::new(newer.take(LARGEST_READ)))?;
    Ok(lines.history())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Status;
    use std::os::unix::fs::PermissionsExt;

    fn record(open: u64) -> Record {
        Record {
            at: "2026-11-24T20:00:00Z".into(),
            server: "webui 8787".into(),
            status: Status::Healthy,
            pid: Some(1),
            start_ticks: Some(1),
            open: Some(open),
            soft_limit: Some(256),
            ..Record::default()
        }
    }

    /// Without a reader, which is the program itself.
    fn read_here(path: &Path) -> History {
        history(File::open(older(path)).ok(), File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn appends_rotates_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flight.jsonl");
        let recorder = Recorder::new(path.clone(), 4096);
        for open in 0..40 {
            recorder.append(&record(open)).unwrap();
        }
        assert!(std::fs::metadata(&path).unwrap().len() <= 4096);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let found = read_here(&path);
        let opened: Vec<u64> = found.records.iter().filter_map(|record| record.open).collect();
        assert_eq!(opened.last(), Some(&39));
        assert!(opened.windows(2).all(|pair| pair[1] == pair[0] + 1), "{opened:?}");
        assert!(opened.len() > 15 && std::fs::read_dir(directory.path()).unwrap().count() == 2);
    }

    #[test]
    fn goes_on_behind_a_torn_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flight.jsonl");
        let recorder = Recorder::new(path.clone(), 1 << 20);
        recorder.append(&record(1)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..30]].concat()).unwrap();
        assert!(read_here(&path).ends_torn);
        recorder.append(&record(2)).unwrap();
        let found = read_here(&path);
        assert_eq!((found.records.len(), found.lines_skipped, found.ends_torn), (2, 1, false));
    }

    #[test]
    fn refuses_links_and_what_is_no_file() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(Recorder::new(link, 4096).append(&record(1)).is_err());
        assert!(Recorder::new(directory.path().to_owned(), 4096).append(&record(1)).is_err());
        let recorder = Recorder::new(directory.path().join("f"), 4096);
        let kept = recorder.keep("{}", "2026-11-24T20:00:00Z").unwrap();
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(recorder.keep("{}", "2026-11-24T20:00:00Z").is_err());
    }
}
