//! Files that a person named: their filesystem may be one that hangs.

use super::{Reader, Request, file_kind, has_ended};
use crate::collect::{Deadline, FileKind};
use crate::model::{Gap, GapReason};
use rustix::process::Pid;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Bytes that are read at a time: few enough for a slow disk.
const PIECE: u32 = 1024 * 1024;

/// How long a filesystem may take to answer one question: what is slow is read nevertheless.
const PATIENCE: Duration = Duration::from_secs(4);

/// A regular file, read by a reader; by this process itself where it has it open already, or where no reader can be started.
pub struct NamedFile {
    source: Source,
    path: PathBuf,
    deadline: Deadline,
    offset: u64,
    piece: Vec<u8>,
    taken: usize,
}

enum Source {
    Reader(Reader),
    Here,
}

impl NamedFile {
    /// A file by its path; nothing is read of it yet. `None` where something else than a regular file is.
    ///
    /// # Errors
    /// A gap when it is not there, or its filesystem does not answer.
    pub fn find(path: &Path, deadline: Deadline) -> Result<Option<Self>, Gap> {
        // `/dev/stdin` of a reader is its own.
        let is_own = ["/dev/fd", "/dev/stdin", "/proc/self"].into_iter().any(|own| path.starts_with(own));
        let source = if is_own { Source::Here } else { Source::Reader(Reader::with_patience(PATIENCE)) };
        // A reader can have another working directory.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut found = Self { source, path, deadline, offset: 0, piece: Vec::new(), taken: 0 };
        let kind = found.ask(Request::Kind(found.path.clone()))?;
        Ok((file_kind(&kind) == FileKind::Regular).then_some(found))
    }

    /// Its size in bytes, where that can be told.
    ///
    /// # Errors
    /// A gap when its filesystem does not answer.
    pub fn size(&mut self) -> Result<Option<u64>, Gap> {
        let size = self.ask(Request::Size(self.path.clone()))?;
        Ok(std::str::from_utf8(&size).ok().and_then(|size| size.parse().ok()))
    }

    /// Which file has the path now: device and inode.
    ///
    /// # Errors
    /// As above.
    pub fn identity(&mut self) -> Result<Vec<u8>, Gap> {
        self.ask(Request::Identity(self.path.clone()))
    }

    /// The next bytes; none at its end.
    ///
    /// # Errors
    /// A gap when it cannot be read by the deadline.
    pub fn next_piece(&mut self) -> Result<Vec<u8>, Gap> {
        let piece = self.ask(Request::Range(self.path.clone(), self.offset, PIECE))?;
        self.offset = self.offset.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Ok(piece)
    }

    fn ask(&mut self, request: Request) -> Result<Vec<u8>, Gap> {
        if let Source::Reader(reader) = &mut self.source {
            let answer = reader.perform(std::slice::from_ref(&request), self.deadline).into_iter().next();
            if answer.as_ref().is_some_and(Result::is_ok) || !reader.cannot_start() {
                return answer.unwrap_or_else(|| Ok(Vec::new()));
            }
            self.source = Source::Here;
        }
        request.perform().map_err(|error| Gap::from_io(request.what(), &error))
    }
}

impl Read for NamedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            self.piece = self.next_piece().map_err(|gap| io::Error::other(gap.told().to_owned()))?;
            self.taken = 0;
        }
        let rest = self.piece.get(self.taken..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.taken += length;
        Ok(length)
    }
}

/// Readers that were asked about a directory and have not answered, apart from those of looks: who writes to a place for days has
/// one that waits, and not one more each time.
static WAITING: Mutex<Vec<(PathBuf, Pid)>> = Mutex::new(Vec::new());

/// Whether the filesystem of a path answers at all: what is written to it is written by this process itself, which would wait.
///
/// # Errors
/// `TimedOut` when it does not, and at once while an earlier question about the same directory has no answer. Whatever else is
/// wrong with the path is told by who uses it.
pub fn answers(path: &Path) -> io::Result<()> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let directory = path.parent().unwrap_or(&path).to_owned();
    let mut waiting = WAITING.lock().unwrap_or_else(PoisonError::into_inner);
    waiting.retain(|(_, reader)| !has_ended(*reader));
    if waiting.iter().any(|(asked, _)| *asked == directory) {
        return Err(no_answer());
    }
    let mut reader = Reader::with_patience(PATIENCE);
    reader.is_of_looks = false;
    let answer = reader.perform(&[Request::Kind(path)], Deadline::after(PATIENCE)).pop();
    let is_late = matches!(answer, Some(Err(gap)) if gap.reason == GapReason::Timeout);
    if is_late {
        waiting.extend(reader.abandoned.drain(..).map(|reader| (directory.clone(), reader)));
        return Err(no_answer());
    }
    Ok(())
}

fn no_answer() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "its filesystem does not answer")
}
