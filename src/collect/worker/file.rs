//! Files that a person named: their filesystem may be one that hangs.

use super::connection::has_ended;
use super::wire::{FileKind, FileStat};
use super::{Answer, Request, Worker};
use crate::collect::Deadline;
use crate::collect::foreign::ForeignPath;
use crate::model::{Gap, GapReason};
use rustix::process::Pid;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bytes that are read at a time: few enough for a slow disk.
const PIECE: u32 = 1024 * 1024;

/// How long a filesystem may take to answer one question: what is slow is read nevertheless.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A regular file, read by a worker; by this process itself where it is one of its own descriptors, or no worker can be started.
pub struct NamedFile {
    source: Source,
    offset: u64,
    piece: Vec<u8>,
    taken: usize,
}

enum Source {
    Worker {
        worker: Worker,
        path: ForeignPath,
        deadline: Deadline,
    },
    /// Opened for each piece: where no worker can be started, descriptors may be few.
    Here(PathBuf),
}

impl NamedFile {
    /// A file by its path; nothing is read of it yet. `None` where something else than a regular file is.
    ///
    /// # Errors
    /// A gap when it is not there, or its filesystem does not answer.
    pub fn find(path: &Path, deadline: Deadline) -> Result<Option<Self>, Gap> {
        // Descriptors of a worker are its own.
        let is_own = ["/dev/fd", "/dev/stdin", "/proc/self"].into_iter().any(|own| path.starts_with(own));
        if is_own {
            return Self::open_here(path);
        }
        let worker = Worker::with_timeout(TIMEOUT);
        let mut found = Self::new(Source::Worker { worker, path: ForeignPath::of_person(path), deadline });
        match found.stat() {
            Ok(stat) => Ok(stat.is_none_or(|stat| stat.kind == FileKind::Regular).then_some(found)),
            // Without processes or descriptors for a worker, a person still gets the file that they named.
            Err(_) if found.has_no_worker() => Self::open_here(path),
            Err(gap) => Err(gap),
        }
    }

    /// The same in this process.
    fn open_here(path: &Path) -> Result<Option<Self>, Gap> {
        let is_regular = opened(path)?.metadata().is_ok_and(|found| found.is_file());
        Ok(is_regular.then(|| Self::new(Source::Here(path.to_owned()))))
    }

    fn has_no_worker(&self) -> bool {
        matches!(&self.source, Source::Worker { worker, .. } if worker.cannot_start())
    }

    fn new(source: Source) -> Self {
        Self { source, offset: 0, piece: Vec::new(), taken: 0 }
    }

    /// Its size in bytes, where that can be had.
    ///
    /// # Errors
    /// A gap when its filesystem does not answer.
    pub fn size(&mut self) -> Result<Option<u64>, Gap> {
        Ok(self.stat()?.map(|stat| stat.size))
    }

    /// Which file has the path now: device and inode.
    ///
    /// # Errors
    /// As above.
    pub fn identity(&mut self) -> Result<Option<(u64, u64)>, Gap> {
        Ok(self.stat()?.map(|stat| (stat.device, stat.inode)))
    }

    fn stat(&mut self) -> Result<Option<FileStat>, Gap> {
        let (worker, path, deadline) = match &mut self.source {
            Source::Worker { worker, path, deadline } => (worker, path, deadline),
            Source::Here(_) => return Ok(None),
        };
        match worker.ask(Request::Stat(path.clone()), *deadline)? {
            Answer::Stat(stat) => Ok(Some(stat)),
            _ => Err(Gap::new(path.shown(), GapReason::Malformed, "")),
        }
    }

    /// The next bytes; none at its end.
    ///
    /// # Errors
    /// A gap when it cannot be read by the deadline.
    pub fn next_piece(&mut self) -> Result<Vec<u8>, Gap> {
        let piece = match &mut self.source {
            Source::Worker { worker, path, deadline } => {
                let request = Request::Read { path: path.clone(), offset: self.offset, limit: PIECE };
                match worker.ask(request, *deadline)? {
                    Answer::File(content) => content.bytes.into_vec(),
                    _ => return Err(Gap::new(path.shown(), GapReason::Malformed, "")),
                }
            }
            Source::Here(path) => {
                let mut piece = vec![0; usize::try_from(PIECE).unwrap_or(0)];
                let count = opened(path)?
                    .read_at(&mut piece, self.offset)
                    .map_err(|error| Gap::from_io("a file", &error))?;
                piece.truncate(count);
                piece
            }
        };
        self.offset = self.offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(piece)
    }
}

/// A file, opened by this process; a pipe in its place is not waited for.
fn opened(path: &Path) -> Result<File, Gap> {
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    opened.map_err(|error| Gap::from_io(crate::model::text::printable(path.as_os_str().as_encoded_bytes()), &error))
}

impl Read for NamedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            self.piece = self.next_piece().map_err(|gap| io::Error::other(gap.text().to_owned()))?;
            self.taken = 0;
        }
        let rest = self.piece.get(self.taken..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}

/// Workers that were asked about a directory and have not answered, apart from those of examinations: what writes to a place for days
/// has one that waits, and not one more each time.
static WAITING: Mutex<Vec<(PathBuf, Pid)>> = Mutex::new(Vec::new());

/// Whether the filesystem of a path answers at all: what is written to it is written by this process itself, which would wait.
///
/// # Errors
/// `TimedOut` when it does not, and at once while an earlier question about the same directory has no answer. Whatever else is
/// wrong with the path shows when it is used.
pub fn answers(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(&path).to_owned();
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.retain(|(_, worker)| !has_ended(*worker));
    if waiting.iter().any(|(asked, _)| *asked == directory) {
        return Err(no_answer());
    }
    let mut worker = Worker::with_timeout(TIMEOUT);
    worker.is_of_examination = false;
    let answer = worker.ask(Request::Stat(ForeignPath::of_person(&path)), Deadline::after(TIMEOUT));
    let is_late = matches!(answer, Err(gap) if gap.reason == GapReason::Timeout);
    if is_late {
        waiting.extend(worker.abandoned.drain(..).map(|worker| (directory.clone(), worker.child)));
        return Err(no_answer());
    }
    Ok(())
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "its filesystem does not answer")
}
