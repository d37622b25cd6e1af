//! What a host asks of its readers in the same way on every system: processes apart from everything else.

use super::reader::{self, Reader, Request};
use super::{Deadline, FileKind, LogTail, SourceFile};
use crate::model::{Gap, GapReason};
use crate::parse::text::{nul_separated, printable};
use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a name of a host may take to be resolved.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(2);

/// An account.
#[derive(Clone)]
pub struct User {
    /// Its name, safe to print.
    pub name: String,
    /// Its home directory.
    pub home: PathBuf,
    /// Its primary group, where the system says it.
    // Only systemd's user managers are asked as somebody else.
    #[cfg_attr(target_os = "macos", allow(dead_code))]
    pub group: Option<u32>,
}

/// The readers of one examination.
pub struct Readers {
    /// When all of it is over.
    pub deadline: Deadline,
    processes: RefCell<Reader>,
    /// Apart: homes on dead mounts must not use up the patience that processes deserve.
    files: RefCell<Reader>,
    users: RefCell<HashMap<u32, Option<User>>>,
}

impl Readers {
    /// Starts none before the first request.
    pub fn new(deadline: Deadline) -> Self {
        let processes = Reader::new();
        let files = processes.beside();
        Self {
            deadline,
            processes: RefCell::new(processes),
            files: RefCell::new(files),
            users: RefCell::new(HashMap::new()),
        }
    }

    /// Requests about processes.
    pub fn of_processes(&self, requests: &[Request]) -> Vec<Result<Vec<u8>, Gap>> {
        self.processes.borrow_mut().perform(requests, self.deadline)
    }

    /// One request about anything else.
    pub fn of_file(&self, request: Request) -> Result<Vec<u8>, Gap> {
        let mut answers = self.of_files(std::slice::from_ref(&request));
        answers
            .pop()
            .unwrap_or_else(|| Err(Gap::new("a read", GapReason::Unsupported, "the reader gave no answer")))
    }

    fn of_files(&self, requests: &[Request]) -> Vec<Result<Vec<u8>, Gap>> {
        self.files.borrow_mut().perform(requests, self.deadline)
    }

    /// A user's account. A directory service can hang, so this goes through the reader too.
    pub fn user(&self, uid: u32) -> Option<User> {
        if let Some(known) = self.users.borrow().get(&uid) {
            return known.clone();
        }
        let found = self.of_file(Request::User(uid)).ok().and_then(|answer| {
            let words = nul_separated(&answer);
            let home = OsString::from_vec(words.get(1)?.to_vec());
            let group = words.get(2).and_then(|word| std::str::from_utf8(word).ok()?.parse().ok());
            Some(User { name: printable(words.first()?), home: PathBuf::from(home), group })
        });
        self.users.borrow_mut().insert(uid, found.clone());
        found
    }

    /// Command lines, a word each argument.
    pub fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
        let requests: Vec<Request> = pids.iter().map(|pid| Request::CommandLine(*pid)).collect();
        let words = |block: Vec<u8>| {
            nul_separated(&block).into_iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect()
        };
        self.of_processes(&requests).into_iter().map(|answer| answer.map(words)).collect()
    }

    /// A file's first bytes.
    pub fn start_of_file(&self, path: &Path, limit: usize) -> Result<Vec<u8>, Gap> {
        self.of_file(Request::File(path.to_owned(), u32::try_from(limit).unwrap_or(u32::MAX)))
    }

    /// Names in a directory, safe to print.
    pub fn names_in(&self, path: &Path, limit: usize) -> Result<Vec<String>, Gap> {
        self.names_with(path, "", limit)
    }

    /// Those that have this in them, of so many at most that are looked at.
    pub fn names_with(&self, path: &Path, part: &str, limit: usize) -> Result<Vec<String>, Gap> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let answer = self.of_file(Request::Directory(path.to_owned(), part.to_owned(), limit))?;
        Ok(nul_separated(&answer).into_iter().map(printable).collect())
    }

    /// What a path is.
    pub fn kind_of(&self, path: &Path) -> Result<FileKind, Gap> {
        Ok(reader::file_kind(&self.of_file(Request::Kind(path.to_owned()))?))
    }

    /// Device and inode number.
    pub fn identity_of(&self, path: PathBuf) -> Result<(u64, u64), Gap> {
        let name = printable(path.as_os_str().as_encoded_bytes());
        let answer = self.of_file(Request::Identity(path))?;
        let text = String::from_utf8_lossy(&answer);
        let numbers = text.split_once(' ').and_then(|(dev, ino)| Some((dev.parse().ok()?, ino.parse().ok()?)));
        numbers.ok_or_else(|| Gap::new(name, GapReason::Malformed, ""))
    }

    /// The name that descriptors on this file have.
    pub fn resolved(&self, path: PathBuf) -> Option<PathBuf> {
        Some(PathBuf::from(OsString::from_vec(self.of_file(Request::Resolved(path)).ok()?)))
    }

    /// A file's first bytes, and when it was last written.
    pub fn source(&self, path: &Path, limit: usize) -> Result<SourceFile, Gap> {
        let stamp = self.of_file(Request::Stamp(path.to_owned()))?;
        let text = String::from_utf8_lossy(&stamp);
        let nanoseconds = text.split_once(' ').and_then(|(_, modified)| modified.parse::<u128>().ok());
        let modified = nanoseconds.and_then(|modified| u64::try_from(modified / 1_000_000_000).ok());
        Ok(SourceFile { bytes: self.start_of_file(path, limit)?, modified })
    }

    /// The end of a log.
    pub fn log_tail(&self, path: &Path, rotated: Option<&Path>) -> Result<LogTail, Gap> {
        super::logs::tail(path, rotated, |requests| self.of_files(requests))
    }

    /// Addresses of a host.
    pub fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        super::resolve(name, self.deadline.within(RESOLVE_PATIENCE)).ok()
    }
}
