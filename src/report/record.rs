//! The record file of `watch`: whole lines are appended, rotation bounds its size, and no other user may read
//! it.

use super::place::Place;
use crate::collect::Deadline;
use crate::collect::worker::{NamedFile, answers};
use crate::model::text::printable;
use crate::model::{Gap, GapReason, History, Record, Timestamp};
use crate::parse::history::{HEAD_BYTES, Lines, begins_with_record};
use crate::parse::locks::KernelLock;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum size of a record that is read, in bytes: the file and the rotated one before it.
const MAX_READ_BYTES: u64 = 256 * 1024 * 1024;

/// Maximum number of further reads if the record was rotated meanwhile.
const MAX_TRIES: u32 = 3;

/// Maximum duration of the read, for slow disks.
pub const MAX_LENGTH: Duration = Duration::from_secs(60);

/// Maximum number of attempts to open a record if its path leads to another file each time.
const MAX_OPENINGS: u32 = 16;

/// An open record: one file, locked as long as this value exists. This program locks nothing else. The lock is
/// that of flock(2) on the open record. It is taken on the new file before that on the old one is released, and
/// the creator of a record holds the lock of `FILE.1` meanwhile. So no second recorder can intervene while a
/// full record is renamed.
#[derive(Debug)]
pub struct Recorder {
    path: PathBuf,
    largest: u64,
    file: Option<File>,
}

impl Recorder {
    /// Appends to a file of at most `largest` bytes; a full file becomes `FILE.1`, and a new one begins.
    pub fn new(path: PathBuf, largest: u64) -> Self {
        Self { path, largest, file: None }
    }

    /// The last records of the file, so that a restarted recorder continues from them.
    ///
    /// # Errors
    /// When the file cannot be read; then earlier records are unknown.
    pub fn last(&self) -> io::Result<Vec<Record>> {
        read(&self.path, Deadline::after(MAX_LENGTH)).map(|history| history.records)
    }

    /// Appends one record with one write: a crash leaves at most one torn line, and the next record begins a
    /// new one.
    ///
    /// # Errors
    /// Those of the file system, and those of [`Recorder::begin`]; then only this record is lost.
    pub fn append(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let place = self.place()?;
        let largest = self.largest;
        let mut size = self.current(place.path())?.metadata()?.len();
        if size > 0 && size.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX)) > largest {
            self.rotate(place.path())?;
            size = self.current(place.path())?.metadata()?.len();
        }
        let mut file = self.current(place.path())?;
        if size > 0 {
            let mut last = [0_u8; 1];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                line.insert(0, b'\n');
            }
        }
        file.write_all(&line).inspect_err(|_| {
            // An incomplete line on a full disk is removed; the lock excludes other writers.
            let _ = file.set_len(size);
        })
    }

    /// Opens and locks the record; creates it if it does not exist.
    ///
    /// # Errors
    /// Those of the file system; `ResourceBusy` if another recorder has it locked; `AlreadyExists` if the file,
    /// or the one that a full record would replace, is not a record of this program.
    pub fn begin(&mut self) -> io::Result<()> {
        let place = self.place()?;
        // Checked now, since the first rotation may be a week later. A link is only refused when it would be
        // replaced; its target is not checked before.
        let older = older(place.path());
        if std::fs::symlink_metadata(&older).is_ok_and(|found| !found.is_symlink()) {
            open_older(&older)?;
        }
        self.current(place.path()).map(drop)
    }

    /// The present location of the record: its directory may have changed.
    fn place(&self) -> io::Result<Place> {
        answers(&self.path)?;
        Place::find(&self.path)
    }

    /// The locked file at the path. If the path leads to another file now, or to none, that file is opened,
    /// locked and checked.
    fn current(&mut self, path: &Path) -> io::Result<&File> {
        let held = self.file.take();
        let file = match held {
            Some(file) if is_at(&file, path)? => file,
            held => acquire(path, held.as_ref())?,
        };
        Ok(self.file.insert(file))
    }

    /// Makes the full record the older one and begins a new one. The lock of the old file is held until the new
    /// one is locked.
    fn rotate(&mut self, path: &Path) -> io::Result<()> {
        let older = older(path);
        // Locked until the rename: the file may be the record of another recorder.
        let replaced = open_older(&older)?;
        if let Some(replaced) = &replaced {
            lock(replaced, &older)?;
        }
        // If the path leads to another file, that file may not be full, and was not checked.
        if self.file.as_ref().map_or(Ok(false), |file| is_at(file, path))? {
            std::fs::rename(path, &older)?;
        }
        self.current(path).map(drop)
    }

    /// Atomically writes a report next to the record, with a new name.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn keep(&self, text: &str, at: &Timestamp) -> io::Result<PathBuf> {
        let stamp: String = at.as_str().chars().filter(char::is_ascii_alphanumeric).collect();
        let mut tries = 0;
        loop {
            tries += 1;
            // A clock that was set back can reach the same time again.
            let number = if tries == 1 { String::new() } else { format!("-{tries}") };
            let mut name = self.path.as_os_str().to_owned();
            name.push(format!(".{stamp}{number}.json"));
            let path = PathBuf::from(name);
            match super::write_new(&path, text.as_bytes(), false) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < MAX_OPENINGS => {}
                written => return written.map(|()| path),
            }
        }
    }
}

/// Opens, locks and checks the record at a path, or creates it. `held` is a file that this recorder has already
/// locked.
fn acquire(path: &Path, held: Option<&File>) -> io::Result<File> {
    for _ in 0..MAX_OPENINGS {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return Err(io::Error::from_raw_os_error(libc::EISDIR)),
            // A link is refused, since it could lead to any file. Opening a device may have side effects.
            Ok(found) if !found.is_file() => return Err(no_file()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some(file) = create(path, held)? else { continue };
                return Ok(file);
            }
            Err(error) => return Err(error),
        }
        let file = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            opened => opened?,
        };
        lock(&file, path)?;
        // It may have been renamed before it was locked.
        if is_at(&file, path)? {
            return if is_record(&file)? { Ok(file) } else { Err(no_record(path)) };
        }
    }
    Err(io::Error::new(io::ErrorKind::ResourceBusy, "another program keeps replacing it"))
}

/// Creates the record and locks it; `None` if another program created it first.
fn create(path: &Path, held: Option<&File>) -> io::Result<Option<File>> {
    let older = older(path);
    // While a recorder renames a full record, the path has no file for a moment; then its lock is on the older
    // file.
    let renamed = open_older(&older).ok().flatten();
    let own = held.map(identity).transpose()?;
    if let Some(renamed) = &renamed
        && Some(identity(renamed)?) != own
    {
        lock(renamed, path)?;
    }
    let created = options().create_new(true).mode(0o600).open(path);
    let file = match created {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        created => created?,
    };
    lock(&file, path)?;
    Ok(is_at(&file, path)?.then_some(file))
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).append(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    options
}

fn open(path: &Path) -> io::Result<File> {
    let file = options().open(path)?;
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(no_file());
    }
    // In a directory like /tmp any user can create it first, to read the record or to supply false records.
    let me = rustix::process::geteuid().as_raw();
    let why = if found.uid() != me {
        format!("belongs to uid {}", found.uid())
    } else if found.mode() & 0o002 != 0 {
        "is writable by every user".to_owned()
    } else {
        return Ok(file);
    };
    let name = printable(path.file_name().unwrap_or_default().as_encoded_bytes());
    let detail = format!(
        "{name} {why}; a record must be a file of its recorder's user: choose another file, or remove this one"
    );
    Err(io::Error::new(io::ErrorKind::PermissionDenied, detail))
}

/// The file that a full record would replace, if there is one.
///
/// # Errors
/// `AlreadyExists` if it is not a record of this program, and those of the file system.
fn open_older(path: &Path) -> io::Result<Option<File>> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
        Ok(found) if !found.is_file() => return Err(no_record(path)),
        Ok(_) => {}
    }
    let file = open(path)?;
    if is_record(&file)? { Ok(Some(file)) } else { Err(no_record(path)) }
}

/// Takes the lock of a record without waiting.
fn lock(file: &File, path: &Path) -> io::Result<()> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder =
                holder(file).map_or("another recorder".to_owned(), |pid| format!("the recorder with pid {pid}"));
            let name = printable(path.file_name().unwrap_or_default().as_encoded_bytes());
            Err(io::Error::new(io::ErrorKind::ResourceBusy, format!("{holder} writes {name}")))
        }
        Err(error) => Err(error.into()),
    }
}

/// The process that holds the lock of a file, from the kernel's table (proc_locks(5)).
fn holder(file: &File) -> Option<u32> {
    let found = rustix::fs::fstat(file).ok()?;
    let (device, inode) = (found.st_dev, found.st_ino);
    let table = std::fs::read("/proc/locks").ok()?;
    let (rows, _) = crate::parse::locks::parse(&table);
    let of_file =
        |row: &&KernelLock| row.class == "FLOCK" && row.exclusive && !row.is_waiting && row.inode == inode;
    let rows: Vec<&KernelLock> = rows.iter().filter(of_file).collect();
    // On some file systems the device in the table differs from that of stat(2).
    let is_same = |row: &&&KernelLock| (row.major, row.minor) == device_numbers(device);
    let row = rows.iter().find(is_same).or(rows.first().filter(|_| rows.len() == 1))?;
    row.pid
}

#[cfg(target_os = "linux")]
fn device_numbers(device: u64) -> (u32, u32) {
    (rustix::fs::major(device), rustix::fs::minor(device))
}

/// This system has no table of locks.
#[cfg(not(target_os = "linux"))]
fn device_numbers<T>(_device: T) -> (u32, u32) {
    (0, 0)
}

/// Device and inode.
fn identity(file: &File) -> io::Result<(u64, u64)> {
    file.metadata().map(|found| (found.dev(), found.ino()))
}

/// Whether a path leads to this open file directly, and not through a symbolic link.
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    match std::fs::symlink_metadata(path) {
        Ok(found) => Ok((found.dev(), found.ino()) == identity(file)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether a file is empty or begins like a record.
fn is_record(file: &File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    let mut head = Vec::new();
    let mut file = file;
    file.seek(SeekFrom::Start(0))?;
    file.take(u64::try_from(HEAD_BYTES).unwrap_or(u64::MAX)).read_to_end(&mut head)?;
    Ok(begins_with_record(&head))
}

fn no_record(path: &Path) -> io::Error {
    let name = printable(path.file_name().unwrap_or_default().as_encoded_bytes());
    io::Error::new(io::ErrorKind::AlreadyExists, format!("{name} is not a record of `hermes-doctor watch`"))
}

/// The path of a full record after rotation.
fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// Reads a record, with the rotated one before it first.
///
/// # Errors
/// When the file cannot be read before the deadline, or is not a regular file.
pub fn read(path: &Path, deadline: Deadline) -> io::Result<History> {
    let mut tries = MAX_TRIES;
    loop {
        tries -= 1;
        match read_once(path, deadline) {
            // A rotation during the read left out a part, or there was no file for a moment.
            Ok((_, false)) if tries > 0 => {}
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(1));
            }
            found => return found.map(|(history, _)| history),
        }
    }
}

/// Reads both files, and returns whether the newer one was the same at the end.
fn read_once(path: &Path, deadline: Deadline) -> io::Result<(History, bool)> {
    let as_error = |gap: Gap| {
        let kind = if gap.reason == GapReason::NotFound { io::ErrorKind::NotFound } else { io::ErrorKind::Other };
        io::Error::new(kind, gap.text().to_owned())
    };
    let mut newer = NamedFile::find(path, deadline).map_err(as_error)?.ok_or_else(no_file)?;
    let before = newer.identity().map_err(as_error)?;
    // Before the first rotation there is none.
    let older = match NamedFile::find(&older(path), deadline) {
        Ok(older) => older,
        Err(gap) if gap.reason == GapReason::NotFound => None,
        Err(gap) => return Err(as_error(gap)),
    };
    let found = history(older, &mut newer)?;
    Ok((found, newer.identity().map_err(as_error)? == before))
}

fn no_file() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn history(older: Option<impl Read>, newer: impl Read) -> io::Result<History> {
    let mut lines = Lines::default();
    if let Some(older) = older {
        lines.take_from(BufReader::new(older.take(MAX_READ_BYTES)))?;
    }
    lines.take_from(BufReader::new(newer.take(MAX_READ_BYTES)))?;
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

    /// Reads without a worker process, which runs the program itself.
    fn read_here(path: &Path) -> History {
        history(File::open(older(path)).ok(), File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn appends_rotates_and_reads_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flight.jsonl");
        let mut recorder = Recorder::new(path.clone(), 4096);
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
        let mut recorder = Recorder::new(path.clone(), 1 << 20);
        recorder.append(&record(1)).unwrap();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [&whole[..], &whole[..30]].concat()).unwrap();
        assert!(read_here(&path).ends_torn);
        recorder.append(&record(2)).unwrap();
        let found = read_here(&path);
        assert_eq!((found.records.len(), found.lines_skipped, found.ends_torn), (2, 1, false));
    }

    #[test]
    fn refuses_links_and_directories() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();
        assert!(Recorder::new(link, 4096).append(&record(1)).is_err());
        assert!(Recorder::new(directory.path().to_owned(), 4096).append(&record(1)).is_err());
        let recorder = Recorder::new(directory.path().join("f"), 4096);
        let kept = recorder.keep("{}", &"2026-11-24T20:00:00Z".into()).unwrap();
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        let again = recorder.keep("{}", &"2026-11-24T20:00:00Z".into()).unwrap();
        assert_ne!(again, kept);
    }
}
