//! Requests of a host to its workers, the same on every system. Processes and files have separate workers.

use super::foreign::{ForeignPath, Login, Peer};
use super::worker::wire::{FileContent, FileStat, HostNumbers, Output, Tool, Until};
use super::worker::{Answer, Request, Worker};
use super::{Deadline, FileKind, LogTail, SourceFile};
use crate::model::text::{kept, nul_separated, printable};
use crate::model::{Gap, GapDetail, GapReason, GapSubject};
use crate::parse::mounts::{self, Mount};
use serde_bytes::ByteBuf;
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Words of a command line that are kept. The first words identify the program, and any user can start a thousand
/// processes with 60,000 words each.
const MAX_WORDS: usize = 2048;

/// An account.
#[derive(Clone)]
pub struct User {
    /// Name, safe to print.
    pub name: String,
    /// Home directory.
    pub home: PathBuf,
}

/// The workers of one examination.
pub struct Workers {
    /// The deadline of the whole examination.
    pub deadline: Deadline,
    processes: RefCell<Worker>,
    /// Separate, so that homes on dead mounts do not use up the timeouts for reads of processes.
    files: RefCell<Worker>,
    /// Separate, because a tool such as systemctl(1) can take longer than all other reads.
    tools: RefCell<Worker>,
    users: RefCell<HashMap<u32, Option<User>>>,
    /// The mount table, and the remote mounts that timed out: each is tried once.
    mounts: OnceCell<Vec<Mount>>,
    host: OnceCell<Result<HostNumbers, Gap>>,
    silent_mounts: RefCell<HashSet<Vec<u8>>>,
}

impl Workers {
    /// Starts no worker process before the first request.
    pub fn new(deadline: Deadline) -> Self {
        let processes = Worker::new();
        let (files, tools) = (processes.sharing(), processes.separate());
        Self {
            deadline,
            processes: RefCell::new(processes),
            files: RefCell::new(files),
            tools: RefCell::new(tools),
            users: RefCell::new(HashMap::new()),
            mounts: OnceCell::new(),
            host: OnceCell::new(),
            silent_mounts: RefCell::new(HashSet::new()),
        }
    }

    /// Performs requests about processes.
    pub fn of_processes(&self, requests: &[Request]) -> Vec<Result<Answer, Gap>> {
        self.processes.borrow_mut().perform(requests, self.deadline)
    }

    /// Performs requests about processes; the answers are bytes.
    pub fn bytes_of_processes(&self, requests: &[Request]) -> Vec<Result<Vec<u8>, Gap>> {
        let answers = self.of_processes(requests).into_iter();
        answers.zip(requests).map(|(answer, request)| bytes(answer?, request)).collect()
    }

    /// Performs one request about a process; the answer is bytes.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn bytes_of_process(&self, request: Request) -> Result<Vec<u8>, Gap> {
        let answer = self.processes.borrow_mut().ask(request.clone(), self.deadline)?;
        bytes(answer, &request)
    }

    /// Performs one request about anything else.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn of_file(&self, request: Request) -> Result<Answer, Gap> {
        let mount = request.path().and_then(|path| self.remote_mount(path));
        if let Some(mount) = &mount
            && self.silent_mounts.borrow().contains(mount)
        {
            let detail = GapDetail::FilesystemSilent { path: printable(mount).into() };
            return Err(Gap::new(request.what(), GapReason::Timeout, detail));
        }
        let answer = self.files.borrow_mut().ask(request, self.deadline);
        if answer.as_ref().is_err_and(|gap| gap.reason == GapReason::Timeout) {
            self.silent_mounts.borrow_mut().extend(mount);
        }
        answer
    }

    /// The mount point of the network or FUSE filesystem that contains a path, by the text of the path. Paths of
    /// processes are excluded, because they can be in other namespaces.
    fn remote_mount(&self, path: &ForeignPath) -> Option<Vec<u8>> {
        if path.process().is_some() {
            return None;
        }
        let found = mounts::of_path(self.mounts(), path.bytes())?;
        (!found.is_local()).then(|| found.point.clone())
    }

    /// Numbers of the host, read once.
    ///
    /// # Errors
    /// A gap when they could not be read in time.
    pub fn host_numbers(&self) -> Result<HostNumbers, Gap> {
        let read = || match self.of_processes(&[Request::Host]).pop() {
            Some(Ok(Answer::Host(numbers))) => Ok(numbers),
            Some(Err(gap)) => Err(Gap { what: GapSubject::HostNumbers, ..gap }),
            Some(Ok(_)) | None => {
                Err(Gap::new(GapSubject::HostNumbers, GapReason::Unsupported, GapDetail::WorkerSilent))
            }
        };
        self.host.get_or_init(read).clone()
    }

    /// The doctor's own mounts, read once: any user can make the table long.
    pub fn mounts(&self) -> &[Mount] {
        self.mounts.get_or_init(|| mounts::mounts(&own_mounts()).collect())
    }

    fn bytes_of_file(&self, request: Request) -> Result<Vec<u8>, Gap> {
        let answer = self.of_file(request.clone())?;
        bytes(answer, &request)
    }

    /// A user's account. A worker reads it, because a directory service can hang.
    pub fn user(&self, uid: u32) -> Option<User> {
        if let Some(known) = self.users.borrow().get(&uid) {
            return known.clone();
        }
        let found = match self.of_file(Request::Account(uid)) {
            Ok(Answer::Account(account)) => {
                let home = PathBuf::from(OsString::from_vec(account.home.into_vec()));
                Some(User { name: printable(&account.name), home })
            }
            _ => None,
        };
        self.users.borrow_mut().insert(uid, found.clone());
        found
    }

    /// Home directories in passwd(5).
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn homes(&self) -> Result<Vec<PathBuf>, Gap> {
        let request = Request::Homes;
        let found = names(self.of_file(request.clone())?, &request)?;
        Ok(found.into_iter().map(PathBuf::from).collect())
    }

    /// Command lines, one word for each argument, at most `MAX_WORDS` words. [`kept`] preserves every byte.
    pub fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
        let requests: Vec<Request> = pids.iter().map(|pid| Request::CommandLine(*pid)).collect();
        let words = |block: Vec<u8>| nul_separated(&block).into_iter().take(MAX_WORDS).map(kept).collect();
        self.bytes_of_processes(&requests).into_iter().map(|answer| answer.map(words)).collect()
    }

    /// Content of a file from its start.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn content(&self, path: &ForeignPath, limit: usize) -> Result<FileContent, Gap> {
        self.range(path, 0, limit)
    }

    /// Content of a file from an offset.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn range(&self, path: &ForeignPath, offset: u64, limit: usize) -> Result<FileContent, Gap> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let request = Request::Read { path: path.clone(), offset, limit };
        match self.of_file(request.clone())? {
            Answer::File(content) => Ok(content),
            _ => Err(mismatch(&request)),
        }
    }

    /// Names in a directory that contain `containing`; at most `limit` entries are read.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn names(&self, path: &ForeignPath, containing: &str, limit: usize) -> Result<Vec<OsString>, Gap> {
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        let request = Request::List { path: path.clone(), containing: containing.to_owned(), limit };
        names(self.of_file(request.clone())?, &request)
    }

    /// Metadata of what a path leads to.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn stat(&self, path: &ForeignPath) -> Result<FileStat, Gap> {
        let request = Request::Stat(path.clone());
        match self.of_file(request.clone())? {
            Answer::Stat(stat) => Ok(stat),
            _ => Err(mismatch(&request)),
        }
    }

    /// Kind of what a path leads to.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn kind_of(&self, path: &ForeignPath) -> Result<FileKind, Gap> {
        Ok(self.stat(path)?.kind)
    }

    /// Device and inode number.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn identity_of(&self, path: &ForeignPath) -> Result<(u64, u64), Gap> {
        self.stat(path).map(|stat| (stat.device, stat.inode))
    }

    /// Target of a link.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn link(&self, path: &ForeignPath) -> Result<Vec<u8>, Gap> {
        self.bytes_of_file(Request::Link(path.clone()))
    }

    /// The path of a file as the links of descriptors have it. It keeps the rights that applied when the file was
    /// found, because a link can lead anywhere.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn name_of(&self, path: &ForeignPath) -> Result<ForeignPath, Gap> {
        let request = Request::Name(path.clone());
        match self.of_file(request.clone())? {
            Answer::Name(found) => Ok(found),
            _ => Err(mismatch(&request)),
        }
    }

    /// Locks on a file in these ranges.
    ///
    /// # Errors
    /// A gap with the reason.
    // On Linux `/proc/locks` has all locks.
    #[cfg_attr(target_os = "linux", allow(dead_code))]
    pub fn locks(&self, path: &ForeignPath, ranges: &[(u64, u64)]) -> Result<Vec<u8>, Gap> {
        self.bytes_of_file(Request::Locks(path.clone(), ranges.to_vec()))
    }

    /// A file's first bytes, and its last modification.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn source(&self, path: &ForeignPath, limit: usize) -> Result<SourceFile, Gap> {
        let content = self.content(path, limit)?;
        let modified = Some(content.modified_ns / 1_000_000_000).filter(|seconds| *seconds > 0);
        Ok(SourceFile { bytes: content.bytes.into_vec(), modified })
    }

    /// The end of a log.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn log_tail(&self, path: &ForeignPath, rotated: Option<&ForeignPath>) -> Result<LogTail, Gap> {
        super::logs::tail(self, path, rotated)
    }

    /// A supervisor's answer on its socket.
    ///
    /// # Errors
    /// A gap with the reason.
    // On macOS no supervisor is queried on a socket.
    #[cfg_attr(not(target_os = "linux"), allow(dead_code))]
    pub fn exchange(
        &self,
        socket: &ForeignPath,
        peer: Peer,
        message: Vec<u8>,
        login: Option<Login>,
        until: Until,
    ) -> Result<Vec<u8>, Gap> {
        let message = ByteBuf::from(message);
        self.bytes_of_file(Request::Exchange { socket: socket.clone(), peer, message, login, until })
    }

    /// Runs a system tool, as another user where `user` is set.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn run(&self, tool: Tool, arguments: Vec<String>, user: Option<u32>, keep: usize) -> Result<Output, Gap> {
        let request = Request::Run { tool, arguments, user, keep: u32::try_from(keep).unwrap_or(u32::MAX) };
        match self.tools.borrow_mut().ask(request.clone(), self.deadline)? {
            Answer::Output(output) => Ok(output),
            _ => Err(mismatch(&request)),
        }
    }

    /// Addresses of a host.
    pub fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        resolve(name, self.deadline).ok()
    }
}

/// The doctor's own table of mounts; empty where the system has none.
fn own_mounts() -> Vec<u8> {
    #[cfg(target_os = "linux")]
    return super::linux::proc_dir::own_mounts();
    #[cfg(not(target_os = "linux"))]
    Vec::new()
}

/// Queries the system's resolver in a separate worker, because it waits for the network and reads files that can hang.
///
/// # Errors
/// The resolver's error, or a timeout.
pub fn resolve(name: &str, deadline: Deadline) -> Result<Vec<IpAddr>, String> {
    match Worker::new().ask(Request::Resolve(name.to_owned()), deadline) {
        Ok(Answer::Addresses(found)) => Ok(found),
        Ok(_) => Err(GapDetail::WorkerUnclear.to_string()),
        Err(gap) => Err(gap.text().to_owned()),
    }
}

fn bytes(answer: Answer, request: &Request) -> Result<Vec<u8>, Gap> {
    match answer {
        Answer::Bytes(bytes) => Ok(bytes.into_vec()),
        _ => Err(mismatch(request)),
    }
}

fn names(answer: Answer, request: &Request) -> Result<Vec<OsString>, Gap> {
    match answer {
        Answer::Names(names) => Ok(names.into_iter().map(|name| OsString::from_vec(name.into_vec())).collect()),
        _ => Err(mismatch(request)),
    }
}

/// An answer of a wrong kind: the worker is not this program.
fn mismatch(request: &Request) -> Gap {
    Gap::new(request.what(), GapReason::Malformed, GapDetail::WorkerUnclear)
}
