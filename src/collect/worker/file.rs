//! Files that the user named. Their filesystem can hang.

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

/// Size of one read in bytes: small enough for a slow disk.
const PIECE: u32 = 1024 * 1024;

/// Timeout of one request: a slow filesystem is still read.
const TIMEOUT: Duration = Duration::from_secs(4);

/// A regular file, read by a worker. This process reads it itself where it is one of its own descriptors, or where no
/// worker can be started.
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
    /// Opened for each piece, because descriptors may be scarce where no worker can be started.
    Here(PathBuf),
}

impl NamedFile {
    /// A file by its path; nothing is read yet. `None` where it is not a regular file.
    ///
    /// # Errors
    /// A gap when the file does not exist, or its filesystem does not answer.
    pub fn find(path: &Path, deadline: Deadline) -> Result<Option<Self>, Gap> {
        // A worker has other descriptors than this process.
        let is_own = ["/dev/fd", "/dev/stdin", "/proc/self"].into_iter().any(|own| path.starts_with(own));
        if is_own {
            return Self::open_here(path);
        }
        let worker = Worker::with_timeout(TIMEOUT);
        let mut found = Self::new(Source::Worker { worker, path: ForeignPath::of_person(path), deadline });
        match found.stat() {
            Ok(stat) => Ok(stat.is_none_or(|stat| stat.kind == FileKind::Regular).then_some(found)),
            // Without processes or descriptors for a worker, this process reads the file itself.
            Err(_) if found.has_no_worker() => Self::open_here(path),
            Err(gap) => Err(gap),
        }
    }

    /// Opens a file in this process.
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

    /// Its size in bytes; `None` where it is not known.
    ///
    /// # Errors
    /// A gap when its filesystem does not answer.
    pub fn size(&mut self) -> Result<Option<u64>, Gap> {
        Ok(self.stat()?.map(|stat| stat.size))
    }

    /// Device and inode of the file that now has the path.
    ///
    /// # Errors
    /// As [`Self::size`].
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

    /// The next bytes; empty at the end of the file.
    ///
    /// # Errors
    /// A gap when the file cannot be read by the deadline.
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

/// Opens a file in this process; an open of a pipe does not block.
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

/// Workers that still wait for a directory, separate from those of examinations. A program that writes to a directory
/// for days has one waiting worker, and not one more for each write.
static WAITING: Mutex<Vec<(PathBuf, Pid)>> = Mutex::new(Vec::new());

/// Checks that the filesystem of a path answers. This process writes to the path itself, and would block.
///
/// # Errors
/// `TimedOut` when the filesystem does not answer, and at once while an earlier request for the same directory is
/// unanswered. Every other problem with the path is reported when it is used.
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
