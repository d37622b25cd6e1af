//! Reads that can hang for ever, done where they can be abandoned.
//!
//! Opening or stating a file on a dead network mount, and `cmdline` or `environ` of a process whose memory map is
//! locked, can block in the kernel where not even a kill gets through; a *thread* that is stuck there keeps
//! the whole process from being reaped. So these reads are made by a second process: this program again, with its
//! own memory and descriptors, that shares nothing but two pipes. When it does not answer in time it is left
//! behind: nobody waits for it, and the kernel ends it with its parent as soon as it can be ended.
//!
//! On Linux the first one is a copy of this process, as long as that has one thread only: starting the program anew would
//! take longer than most looks. A copy of a process with more threads could find a lock taken by one that it does not have.

use super::{Deadline, FileKind};
use crate::model::{Gap, GapReason};
use rustix::buffer::spare_capacity;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The hidden first argument that makes this program a reader.
pub const ARGUMENT: &str = "internal-reader";

/// How long one read may take.
const PATIENCE: Duration = Duration::from_millis(500);
/// Readers that may be left behind in one run; after that, reads are gaps at once.
const MOST_ABANDONED: u32 = 4;
/// Those that may be there at once from earlier looks of the same process.
const MOST_LEFT: usize = 32;
/// Requests under way.
const WINDOW: usize = 64;
/// Bytes that are read of answers at least, where there are as many.
const PIECE: usize = 16 * 1024;
/// Bytes of requests under way. Pipes hold 64 KiB, so neither side blocks on a full pipe while the other does.
const WINDOW_BYTES: usize = 32 * 1024;
/// How long a supervisor may take to answer on its socket.
const EXCHANGE_PATIENCE: Duration = Duration::from_millis(1500);
/// How long the memory of an interpreter may take to be read.
const STACKS_PATIENCE: Duration = Duration::from_secs(5);
/// Most that is taken of such an answer.
const LARGEST_EXCHANGE: u64 = 1024 * 1024;
/// Largest answer that is taken.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;
/// Largest command line or environment that is read; the kernel's own limit is far above what is useful here.
#[cfg(target_os = "linux")]
const LARGEST_BLOCK: usize = 128 * 1024;

/// One read.
#[derive(Clone, Debug)]
pub enum Request {
    /// `/proc/PID/cmdline`.
    CommandLine(u32),
    /// Supervisor markers of `/proc/PID/environ`; no other variable leaves the reader.
    Markers(u32),
    /// A file's first bytes.
    File(PathBuf, u32),
    /// Bytes of a file: from where, and how many at most.
    Range(PathBuf, u64, u32),
    /// Size of a file in bytes, in decimal.
    Size(PathBuf),
    /// Names in a directory that have this in them, NUL-separated; of so many at most that are looked at.
    Directory(PathBuf, String, u32),
    /// What a path is: `f`, `d` or `o`.
    Kind(PathBuf),
    /// Target of a link.
    Link(PathBuf),
    /// Bytes sent to a Unix socket, and what comes back.
    Exchange(PathBuf, Vec<u8>, Until),
    /// Device and inode of a file, in decimal with a space between.
    Identity(PathBuf),
    /// Size in bytes and last modification in nanoseconds since 1970, in decimal with a space between.
    Stamp(PathBuf),
    /// The name that descriptors on this file have: no link is left in it. Where the file is not there, its directory's.
    Resolved(PathBuf),
    /// Python stacks of a process, as JSON (`collect::stacks`).
    Stacks(u32),
    /// Name, home and group id of a user by id, NUL-separated: the system's directory may be a remote one.
    User(u32),
    /// Records of the descriptors of a process of macOS ([`crate::parse::darwin::descriptor`]): asking for a file's path
    /// asks its filesystem.
    Descriptors(u32),
    /// Locks on a file, by questions of fcntl(2) about these ranges of first byte and length; no lock is taken.
    Locks(PathBuf, Vec<(u64, u64)>),
}

/// Where the answer of an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The other side closes the connection.
    Close,
    /// One message of pm2 is complete: its daemon keeps the connection open.
    Pm2Message,
}

impl Request {
    fn what(&self) -> String {
        match self {
            Self::CommandLine(pid) => format!("command line of pid {pid}"),
            Self::Markers(pid) => format!("supervisor markers of pid {pid}"),
            Self::User(uid) => format!("user {uid}"),
            Self::Stacks(pid) => format!("Python stacks of pid {pid}"),
            Self::Descriptors(pid) => format!("descriptors of pid {pid}"),
            Self::Exchange(path, ..) => {
                format!("answer on {}", crate::parse::text::printable(path.as_os_str().as_bytes()))
            }
            Self::File(path, _)
            | Self::Range(path, ..)
            | Self::Size(path)
            | Self::Directory(path, ..)
            | Self::Kind(path)
            | Self::Link(path)
            | Self::Stamp(path)
            | Self::Resolved(path)
            | Self::Locks(path, _)
            | Self::Identity(path) => crate::parse::text::printable(path.as_os_str().as_bytes()),
        }
    }

    fn encode(&self) -> Vec<u8> {
        let (tag, number, path) = match self {
            Self::CommandLine(pid) => (b'c', *pid, None),
            Self::Markers(pid) => (b'm', *pid, None),
            Self::File(path, limit) => (b'f', *limit, Some(path)),
            Self::Directory(path, _, limit) => (b'd', *limit, Some(path)),
            Self::Range(path, _, length) => (b'r', *length, Some(path)),
            Self::Size(path) => (b's', 0, Some(path)),
            Self::Kind(path) => (b'k', 0, Some(path)),
            Self::Link(path) => (b'l', 0, Some(path)),
            Self::User(uid) => (b'u', *uid, None),
            Self::Stacks(pid) => (b'p', *pid, None),
            Self::Identity(path) => (b'i', 0, Some(path)),
            Self::Stamp(path) => (b't', 0, Some(path)),
            Self::Resolved(path) => (b'n', 0, Some(path)),
            Self::Descriptors(pid) => (b'D', *pid, None),
            Self::Locks(path, _) => (b'L', 0, Some(path)),
            Self::Exchange(path, _, until) => (b'x', u32::from(*until == Until::Pm2Message), Some(path)),
        };
        let mut path = path.map_or(Vec::new(), |path| path.as_os_str().as_bytes().to_vec());
        if let Self::Exchange(_, message, _) = self {
            path.push(0);
            path.extend_from_slice(message);
        }
        if let Self::Directory(_, part, _) = self {
            path.push(0);
            path.extend_from_slice(part.as_bytes());
        }
        if let Self::Range(_, offset, _) = self {
            path.push(0);
            path.extend_from_slice(&offset.to_le_bytes());
        }
        if let Self::Locks(_, ranges) = self {
            path.push(0);
            path.extend(
                ranges.iter().flat_map(|(start, length)| [start.to_le_bytes(), length.to_le_bytes()]).flatten(),
            );
        }
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(path.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&path);
        bytes
    }

    fn decode(input: &mut impl Read) -> io::Result<Self> {
        let mut head = [0_u8; 9];
        input.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut path = vec![0_u8; usize::try_from(number(5)).unwrap_or(0).min(LARGEST_ANSWER)];
        input.read_exact(&mut path)?;
        let message = if matches!(head[0], b'x' | b'r' | b'L' | b'd') {
            let at = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            let message = path.get(at + 1..).unwrap_or_default().to_vec();
            path.truncate(at);
            message
        } else {
            Vec::new()
        };
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        match head[0] {
            b'c' => Ok(Self::CommandLine(number(1))),
            b'm' => Ok(Self::Markers(number(1))),
            b'f' => Ok(Self::File(path, number(1))),
            b'd' => {
                let part = String::from_utf8(message).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                Ok(Self::Directory(path, part, number(1)))
            }
            b'r' => {
                let offset = message.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                Ok(Self::Range(path, u64::from_le_bytes(offset), number(1)))
            }
            b's' => Ok(Self::Size(path)),
            b'k' => Ok(Self::Kind(path)),
            b'l' => Ok(Self::Link(path)),
            b'u' => Ok(Self::User(number(1))),
            b'p' => Ok(Self::Stacks(number(1))),
            b'i' => Ok(Self::Identity(path)),
            b't' => Ok(Self::Stamp(path)),
            b'n' => Ok(Self::Resolved(path)),
            b'D' => Ok(Self::Descriptors(number(1))),
            b'L' => {
                let (numbers, _) = message.as_chunks::<8>();
                let (ranges, _) = numbers.as_chunks::<2>();
                let range = |range: &[[u8; 8]; 2]| (u64::from_le_bytes(range[0]), u64::from_le_bytes(range[1]));
                Ok(Self::Locks(path, ranges.iter().map(range).collect()))
            }
            b'x' => {
                let until = if number(1) == 1 { Until::Pm2Message } else { Until::Close };
                Ok(Self::Exchange(path, message, until))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    fn perform(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::CommandLine(pid) => command_line(*pid),
            Self::Markers(pid) => Ok(markers(&environment(*pid)?)),
            Self::Descriptors(pid) => descriptors(*pid),
            Self::Locks(path, ranges) => locks(path, ranges),
            Self::File(path, limit) => read_start(path, usize::try_from(*limit).unwrap_or(0)),
            Self::Range(path, offset, length) => read_range(path, *offset, usize::try_from(*length).unwrap_or(0)),
            Self::Size(path) => Ok(std::fs::metadata(path)?.len().to_string().into_bytes()),
            Self::Directory(path, part, limit) => {
                let mut names = Vec::new();
                for entry in std::fs::read_dir(path)?.take(usize::try_from(*limit).unwrap_or(0)) {
                    let name = entry?.file_name();
                    if memchr::memmem::find(name.as_bytes(), part.as_bytes()).is_some() {
                        names.extend_from_slice(name.as_bytes());
                        names.push(0);
                    }
                }
                Ok(names)
            }
            Self::Link(path) => Ok(std::fs::read_link(path)?.into_os_string().into_vec()),
            Self::User(uid) => user(*uid),
            Self::Stacks(pid) => super::stacks::answer(*pid),
            Self::Identity(path) => {
                let metadata = std::fs::metadata(path)?;
                Ok(format!("{} {}", metadata.dev(), metadata.ino()).into_bytes())
            }
            Self::Stamp(path) => {
                let metadata = std::fs::metadata(path)?;
                let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
                Ok(format!("{} {}", metadata.len(), modified.max(0)).into_bytes())
            }
            Self::Resolved(path) => resolved(path),
            Self::Exchange(path, message, until) => {
                let mut socket = std::os::unix::net::UnixStream::connect(path)?;
                socket.write_all(message)?;
                let mut answer = Vec::new();
                match until {
                    Until::Close => drop(socket.take(LARGEST_EXCHANGE).read_to_end(&mut answer)?),
                    Until::Pm2Message => read_pm2_message(&mut socket, &mut answer)?,
                }
                Ok(answer)
            }
            Self::Kind(path) => {
                let kind = std::fs::metadata(path)?;
                Ok(vec![if kind.is_file() {
                    b'f'
                } else if kind.is_dir() {
                    b'd'
                } else {
                    b'o'
                }])
            }
        }
    }
}

fn read_pm2_message(socket: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0_u8; 16 * 1024];
    loop {
        match crate::parse::pm2::message_length(answer) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        match socket.read(&mut buffer)? {
            0 => return Ok(()),
            count => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

fn resolved(path: &Path) -> io::Result<Vec<u8>> {
    match descriptor_name(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            Ok([&descriptor_name(directory)?, &b"/"[..], name.as_bytes()].concat())
        }
        name => name,
    }
}

/// What the kernel calls the file, as it does in `/proc/PID/fd`: right below the root of another process too, where
/// realpath(3) would lose that root. Nothing is opened for reading (`O_PATH`, open(2)).
#[cfg(target_os = "linux")]
fn descriptor_name(path: &Path) -> io::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags, open};
    use std::os::fd::AsRawFd;
    let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(name.into_os_string().into_vec())
}

#[cfg(not(target_os = "linux"))]
fn descriptor_name(path: &Path) -> io::Result<Vec<u8>> {
    Ok(std::fs::canonicalize(path)?.into_os_string().into_vec())
}

#[cfg(target_os = "linux")]
fn command_line(pid: u32) -> io::Result<Vec<u8>> {
    read_block(&format!("/proc/{pid}/cmdline"))
}

#[cfg(target_os = "linux")]
fn environment(pid: u32) -> io::Result<Vec<u8>> {
    read_block(&format!("/proc/{pid}/environ"))
}

/// One of the kernel's own files, which is what its name says.
#[cfg(target_os = "linux")]
fn read_block(path: &str) -> io::Result<Vec<u8>> {
    // A page is what most of them are shorter than.
    let mut bytes = Vec::with_capacity(4096);
    File::open(path)?.take(u64::try_from(LARGEST_BLOCK).unwrap_or(0)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(target_os = "linux")]
fn descriptors(_pid: u32) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn command_line(pid: u32) -> io::Result<Vec<u8>> {
    Ok(super::macos::arguments(pid)?.0)
}

#[cfg(not(target_os = "linux"))]
fn environment(pid: u32) -> io::Result<Vec<u8>> {
    let environment = super::macos::arguments(pid)?.1;
    // The system hides that of its own protected programs. A server's never is, so an empty one is not what it has.
    if environment.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(environment)
}

#[cfg(not(target_os = "linux"))]
fn descriptors(pid: u32) -> io::Result<Vec<u8>> {
    super::macos::descriptor_records(pid, LARGEST_ANSWER)
}

/// Asks for each range who would be in the way of a write lock: a line `START LENGTH w|r PID` for each lock that is. No
/// lock is taken, and this process has none on the file that closing it could drop.
fn locks(path: &Path, ranges: &[(u64, u64)]) -> io::Result<Vec<u8>> {
    use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let file = File::open(path)?;
    let mut answer = Vec::new();
    for (start, length) in ranges {
        let mut question = Flock::from(FlockType::WriteLock);
        (question.start, question.length, question.offset_type) = (*start, *length, FlockOffsetType::Set);
        let Some(found) = fcntl_getlk(&file, &question)? else { continue };
        let kind = if found.typ == FlockType::WriteLock { 'w' } else { 'r' };
        let pid = found.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        answer.extend_from_slice(format!("{} {} {kind} {pid}\n", found.start, found.length).as_bytes());
    }
    Ok(answer)
}

fn user(uid: u32) -> io::Result<Vec<u8>> {
    use uzers::os::unix::UserExt;
    let user = uzers::get_user_by_uid(uid).ok_or(io::ErrorKind::NotFound)?;
    let group = user.primary_group_id().to_string();
    Ok([user.name().as_encoded_bytes(), b"\0", user.home_dir().as_os_str().as_bytes(), b"\0", group.as_bytes()]
        .concat())
}

/// Environment variables that may be read: markers that supervisors leave, and the home, which tells servers of
/// one host apart. All of them are names, numbers and paths; none can hold a secret.
const MARKERS: &[&str] = &[
    "HERMES_DESKTOP",
    "HERMES_GATEWAY_EXTERNAL_SUPERVISOR",
    "HERMES_HOME",
    "HERMES_PARENT_PID",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "STY",
    "SUPERVISOR_ENABLED",
    "SUPERVISOR_GROUP_NAME",
    "SUPERVISOR_PROCESS_NAME",
    "SYSTEMD_EXEC_PID",
    "TMUX",
    "XPC_SERVICE_NAME",
    "pm_id",
];

fn markers(block: &[u8]) -> Vec<u8> {
    crate::parse::text::nul_separated(block)
        .into_iter()
        .filter(|entry| {
            entry
                .split(|byte| *byte == b'=')
                .next()
                .is_some_and(|name| MARKERS.iter().any(|marker| marker.as_bytes() == name))
        })
        .flat_map(|entry| entry.iter().copied().chain(std::iter::once(0)))
        .collect()
}

/// Reads at most `limit` bytes of a regular file or a file of /proc. A pipe or device in its place is refused,
/// since opening it could do something.
fn read_start(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit.min(LARGEST_ANSWER)).unwrap_or(0)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads at most `length` bytes of a regular file from an offset on; fewer where it ends.
fn read_range(path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a regular file"));
    }
    let file = File::open(path)?;
    let mut bytes = vec![0; length.min(LARGEST_ANSWER)];
    let mut had = 0;
    while let Some(room) = bytes.get_mut(had..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset.saturating_add(u64::try_from(had).unwrap_or(u64::MAX)))? {
            0 => break,
            count => had += count,
        }
    }
    bytes.truncate(had);
    Ok(bytes)
}

/// The reader's own main: answers requests on its standard input until it is closed.
pub fn serve() {
    isolate();
    // Descriptors of its own: the standard ones may be locked in a copy, and go by lines, which answers do not.
    let (Ok(input), Ok(output)) =
        (io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned())
    else {
        return;
    };
    let mut input = BufReader::new(File::from(input));
    let mut output = File::from(output);
    while let Ok(request) = Request::decode(&mut input) {
        let (code, bytes) = match request.perform() {
            Ok(bytes) => (0_i32, bytes),
            Err(error) => (error.raw_os_error().unwrap_or(libc::EINVAL), Vec::new()),
        };
        let length = u32::try_from(bytes.len()).unwrap_or(0);
        let answer = [&code.to_le_bytes()[..], &length.to_le_bytes(), &bytes].concat();
        if output.write_all(&answer).is_err() {
            return;
        }
    }
}

/// Lets go of everything that was inherited beyond the two pipes, and asks to be ended with the parent.
fn isolate() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
        close_inherited();
        // The memory of a copy has command lines as they are.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            #[allow(unsafe_code)]
            // SAFETY: what the original has set for these is given up; nothing runs in their place. See signal(2).
            unsafe {
                libc::signal(signal, libc::SIG_DFL);
            }
        }
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
    }
}

/// Closes what is above the standard descriptors: a copy has both ends of its own pipes, and would never see their end.
#[cfg(target_os = "linux")]
fn close_inherited() {
    #[allow(unsafe_code)]
    // SAFETY: closes descriptors that nothing in this process uses: it runs first in main, before any file is
    // opened, or in a copy that returns to nothing that has some. See close_range(2).
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed == 0 {
        return;
    }
    // A kernel before 5.9, or a filter of system calls.
    let listed: Option<Vec<i32>> = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect());
    let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let all = || (3..i32::try_from(most.min(65_536)).unwrap_or(65_536)).collect();
    for number in listed.unwrap_or_else(all).into_iter().filter(|number| *number > 2) {
        #[allow(unsafe_code)]
        // SAFETY: as above. See close(2).
        unsafe {
            libc::close(number);
        }
    }
}

struct Connection {
    input: File,
    output: File,
    /// What has been read of it, and how much of that has been taken.
    read: Vec<u8>,
    taken: usize,
    child: Pid,
}

impl Connection {
    fn new(input: File, output: File, child: Pid) -> Self {
        Self { input, output, read: Vec::new(), taken: 0, child }
    }

    /// `read_exact` that gives up at a deadline. As much is read as is there: answers come many at once.
    fn read_exact(&mut self, buffer: &mut [u8], deadline: Deadline) -> io::Result<()> {
        while self.read.len() - self.taken < buffer.len() {
            wait_readable(&self.output, deadline)?;
            self.read.drain(..std::mem::take(&mut self.taken));
            self.read.reserve(PIECE);
            match rustix::io::read(&self.output, spare_capacity(&mut self.read)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let end = self.taken + buffer.len();
        buffer.copy_from_slice(self.read.get(self.taken..end).ok_or(io::ErrorKind::UnexpectedEof)?);
        self.taken = end;
        Ok(())
    }
}

/// The reader that runs now, if any.
#[derive(Default)]
struct Running(Option<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            // It sees the end of its input and leaves.
            drop(connection.input);
            let_go(connection.child);
        }
    }
}

/// Readers that were let go and have not ended yet, of this whole process: one that looks for days must take away those that
/// have, and stop starting more when they do not end.
static LEFT: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

fn let_go(child: Pid) {
    LEFT.lock().unwrap_or_else(PoisonError::into_inner).push(child);
}

/// Takes away those that have ended, without waiting; how many are left.
fn left() -> usize {
    let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
    left.retain(|child| matches!(waitpid(Some(*child), WaitOptions::NOHANG), Ok(None)));
    left.len()
}

/// The near end: starts readers, keeps one at a time, and leaves behind those that hang.
pub struct Reader {
    running: Rc<RefCell<Running>>,
    abandoned: Vec<Pid>,
    failed_to_start: Option<io::ErrorKind>,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.abandoned.drain(..).for_each(let_go);
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Reader {
    /// No reader is started before the first request.
    pub fn new() -> Self {
        Self { running: Rc::default(), abandoned: Vec::new(), failed_to_start: None }
    }

    /// One that shares the running reader, since starting one costs more than most of what it is asked, and has its own
    /// number of them that may be left behind.
    pub fn beside(&self) -> Self {
        Self { running: Rc::clone(&self.running), abandoned: Vec::new(), failed_to_start: None }
    }

    /// Performs the requests and answers in their order. Each has [`PATIENCE`], all have the deadline.
    pub fn perform(&mut self, requests: &[Request], deadline: Deadline) -> Vec<Result<Vec<u8>, Gap>> {
        let mut answers = Vec::with_capacity(requests.len());
        // Lengths of the requests that are sent and not answered.
        let mut under_way: VecDeque<usize> = VecDeque::new();
        let mut next = 0;
        while answers.len() < requests.len() {
            let begun = Instant::now();
            if deadline.is_over() {
                let at = answers.len();
                answers.push(Err(timeout(&requests[at], "the time of the whole examination was over")));
                continue;
            }
            let result = self.step(requests, &mut under_way, &mut next, answers.len(), deadline);
            let at = answers.len();
            let request = &requests[at];
            match result {
                Ok(answer) => {
                    under_way.pop_front();
                    answers.push(answer.map_err(|error| {
                        let error = io::Error::from_raw_os_error(error);
                        Gap::from_io(request.what(), &error).after(begun.elapsed())
                    }));
                }
                Err(error) => {
                    // The request at the head hangs, or the reader died of it. Those behind it get a new reader.
                    self.abandon();
                    under_way.clear();
                    next = at + 1;
                    let gap = match error.kind() {
                        io::ErrorKind::TimedOut => {
                            timeout(request, "the read did not come back and was left behind")
                        }
                        _ => Gap::new(request.what(), GapReason::Unsupported, format!("no reader: {error}")),
                    };
                    answers.push(Err(gap.after(begun.elapsed())));
                }
            }
        }
        // What the time was over for may still be answered, and would be taken for the answer to what is asked next.
        if !under_way.is_empty() {
            self.abandon();
        }
        answers
    }

    /// Sends what the window allows and takes the answer of the oldest request.
    fn step(
        &mut self,
        requests: &[Request],
        under_way: &mut VecDeque<usize>,
        next: &mut usize,
        oldest: usize,
        deadline: Deadline,
    ) -> io::Result<Result<Vec<u8>, i32>> {
        *next = (*next).max(oldest);
        self.connect()?;
        let mut running = self.running.borrow_mut();
        let connection = running.0.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // Many at once: a system call for each would cost more than what is read.
        if under_way.len() <= WINDOW / 2 {
            let mut bytes = Vec::new();
            let already: usize = under_way.iter().sum();
            while *next < requests.len() && under_way.len() < WINDOW {
                let request = requests[*next].encode();
                // One alone is always sent: the reader takes it in while it is written.
                if !under_way.is_empty() && already + bytes.len() + request.len() > WINDOW_BYTES {
                    break;
                }
                under_way.push_back(request.len());
                bytes.extend_from_slice(&request);
                *next += 1;
            }
            connection.input.write_all(&bytes)?;
        }
        let patience = match requests[oldest] {
            Request::Exchange(..) => EXCHANGE_PATIENCE,
            Request::Stacks(_) => STACKS_PATIENCE,
            _ => PATIENCE,
        };
        let deadline = deadline.within(patience);
        let mut head = [0_u8; 8];
        connection.read_exact(&mut head, deadline)?;
        let code = i32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > LARGEST_ANSWER {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut bytes = vec![0_u8; length];
        connection.read_exact(&mut bytes, deadline)?;
        Ok(if code == 0 { Ok(bytes) } else { Err(code) })
    }

    fn connect(&mut self) -> io::Result<()> {
        if self.running.borrow().0.is_some() {
            return Ok(());
        }
        if let Some(kind) = self.failed_to_start {
            return Err(kind.into());
        }
        if u32::try_from(self.abandoned.len()).unwrap_or(u32::MAX) >= MOST_ABANDONED || left() >= MOST_LEFT {
            return Err(io::Error::other("too many reads were left behind already"));
        }
        let connection = start().inspect_err(|error| self.failed_to_start = Some(error.kind()))?;
        self.running.borrow_mut().0 = Some(connection);
        Ok(())
    }

    fn abandon(&mut self) {
        if let Some(connection) = self.running.borrow_mut().0.take() {
            // Dropping the pipes is all that is done to it: no signal, no wait.
            self.abandoned.push(connection.child);
        }
    }
}

fn start() -> io::Result<Connection> {
    #[cfg(target_os = "linux")]
    if is_alone() {
        return copied();
    }
    executed()
}

fn executed() -> io::Result<Connection> {
    // The file that runs now, even when it was replaced or unlinked meanwhile.
    let program =
        if cfg!(target_os = "linux") { PathBuf::from("/proc/self/exe") } else { std::env::current_exe()? };
    let mut child = Command::new(program)
        .arg(ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok(Connection::new(
            File::from(OwnedFd::from(input)),
            File::from(OwnedFd::from(output)),
            Pid::from_child(&child),
        )),
        _ => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// Whether this process has one thread: links of `/proc/self/task` are its own two and one of each.
#[cfg(target_os = "linux")]
fn is_alone() -> bool {
    rustix::fs::stat("/proc/self/task").is_ok_and(|found| found.st_nlink == 3)
}

/// A reader that is a copy of this process (fork(2)).
#[cfg(target_os = "linux")]
fn copied() -> io::Result<Connection> {
    use rustix::pipe::{PipeFlags, pipe_with};
    let (requests, input) = pipe_with(PipeFlags::CLOEXEC)?;
    let (output, answers) = pipe_with(PipeFlags::CLOEXEC)?;
    let nowhere = std::fs::OpenOptions::new().write(true).open("/dev/null")?;
    #[allow(unsafe_code)]
    // SAFETY: there is one thread, so the copy finds no lock taken and no memory half changed; it never returns from here,
    // and leaves by `_exit`, which runs nothing of what the original has still to do at its end.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let is_ready = rustix::stdio::dup2_stdin(&requests).is_ok()
            && rustix::stdio::dup2_stdout(&answers).is_ok()
            && rustix::stdio::dup2_stderr(&nowhere).is_ok()
            && std::env::set_current_dir("/").is_ok();
        if is_ready {
            // Where a panic does not end a program at once, it must not go on into what the original was doing.
            let _ = std::panic::catch_unwind(serve);
        }
        #[allow(unsafe_code)]
        // SAFETY: ends this process at once.
        unsafe {
            libc::_exit(0)
        }
    }
    if child < 0 {
        return Err(io::Error::last_os_error());
    }
    let child = Pid::from_raw(child).ok_or(io::ErrorKind::InvalidData)?;
    Ok(Connection::new(File::from(input), File::from(output), child))
}

/// Waits until a descriptor can be read.
///
/// # Errors
/// `TimedOut` at the deadline.
pub fn wait_readable(source: impl std::os::fd::AsFd, deadline: Deadline) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        let wait = deadline.at_once();
        if wait.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Timespec::try_from(wait).map_err(|_| io::ErrorKind::TimedOut)?;
        let mut fds = [PollFd::new(&source, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) if deadline.goes_on() => {}
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn timeout(request: &Request, detail: &str) -> Gap {
    Gap::new(request.what(), GapReason::Timeout, detail)
}

/// Turns the reader's answer to [`Request::Kind`] into a kind.
pub fn file_kind(answer: &[u8]) -> FileKind {
    match answer.first() {
        Some(b'f') => FileKind::Regular,
        Some(b'd') => FileKind::Directory,
        _ => FileKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        for request in [
            Request::CommandLine(7),
            Request::Markers(8),
            Request::File("/a b".into(), 100),
            Request::Directory("/x".into(), "hermes".to_owned(), 5),
            Request::Kind("/y".into()),
            Request::Link("/z".into()),
            Request::User(9),
            Request::Stacks(10),
            Request::Exchange("/s".into(), b"POST /\0x".to_vec(), Until::Close),
            Request::Exchange("/s".into(), b"x".to_vec(), Until::Pm2Message),
            Request::Identity("/x".into()),
            Request::Range("/y z".into(), u64::MAX - 1, 24),
            Request::Size("/z".into()),
            Request::Descriptors(10),
            Request::Locks("/z".into(), vec![(0x4000_0000, 1), (u64::MAX, 0)]),
        ] {
            let bytes = request.encode();
            let decoded = Request::decode(&mut &bytes[..]).unwrap();
            assert_eq!(format!("{request:?}"), format!("{decoded:?}"));
        }
        assert!(Request::decode(&mut &b"zzzzzzzzz"[..]).is_err());
    }

    /// The holder is another process, as a patient always is: its own locks a process is not told of.
    #[test]
    fn a_question_names_who_holds_a_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db-shm");
        std::fs::write(&path, [0; 200]).unwrap();
        let program = "import fcntl, sys\n\
            file = open(sys.argv[1], 'r+b')\n\
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 120)\n\
            fcntl.lockf(file, fcntl.LOCK_SH, 1, 124)\n\
            print('held', flush=True)\n\
            sys.stdin.read()\n";
        let mut holder = Command::new("python3");
        let mut holder =
            holder.args(["-c", program]).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 5];
        holder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let ask = || Request::Locks(path.clone(), crate::parse::locks::INDEX_QUESTIONS.to_vec()).perform().unwrap();
        let pid = holder.id();
        assert_eq!(String::from_utf8(ask()).unwrap(), format!("120 1 w {pid}\n124 1 r {pid}\n"));
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert_eq!(ask(), b"", "the question has taken no lock");
        assert!(Request::Locks("/dev/zero".into(), vec![(0, 1)]).perform().is_err());
    }

    /// Staged, since the kernel lets few processes make a `cmdline` that cannot be read: a reader that takes requests and
    /// never answers.
    #[test]
    fn a_command_line_that_never_comes_is_a_gap_and_the_reader_is_left_behind() {
        let mut child = Command::new("sleep");
        let mut child = child.arg("60").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = File::from(OwnedFd::from(child.stdin.take().unwrap()));
        let output = File::from(OwnedFd::from(child.stdout.take().unwrap()));
        let pid = Pid::from_child(&child);
        let mut reader = Reader::new();
        reader.running.borrow_mut().0 = Some(Connection::new(input, output, pid));
        let begun = Instant::now();
        let answers = reader.perform(&[Request::CommandLine(7)], Deadline::after(Duration::from_secs(20)));
        assert!(begun.elapsed() < PATIENCE * 4, "{:?}", begun.elapsed());
        let gap = answers[0].as_ref().unwrap_err();
        assert_eq!((gap.what.as_str(), gap.reason), ("command line of pid 7", GapReason::Timeout));
        assert!(reader.running.borrow().0.is_none());
        assert_eq!(reader.abandoned.pop(), Some(pid));
        assert_eq!(child.try_wait().unwrap(), None, "it was neither ended nor waited for");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn only_markers_leave_the_environment() {
        let block = b"API_KEY=secret\0INVOCATION_ID=abc\0HERMES_HOME=/h\0HERMES_HOMEX=no\0PATH=/bin\0";
        assert_eq!(markers(block), b"INVOCATION_ID=abc\0HERMES_HOME=/h\0");
    }

    #[test]
    fn only_names_that_were_asked_for_come_back() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.service", "hermes-webui.service", "b"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let names = |part: &str| {
            let bytes = Request::Directory(directory.path().into(), part.to_owned(), 10).perform().unwrap();
            let mut names: Vec<_> =
                bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).map(String::from).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names("hermes"), ["", "hermes-webui.service"]);
        assert_eq!(names(""), ["", "a.service", "b", "hermes-webui.service"]);
    }

    #[test]
    fn refuses_what_is_not_a_regular_file() {
        assert!(read_start(Path::new("/dev/zero"), 10).is_err());
        assert!(read_start(Path::new("/nonexistent"), 10).is_err());
        assert_eq!(read_start(&std::env::current_exe().unwrap(), 3).unwrap().len(), 3);
    }
}
