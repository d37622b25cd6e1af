//! Reads that can hang for ever, done where they can be abandoned.
//!
//! Opening or stating a file on a dead network mount, and `cmdline` or `environ` of a process whose memory map is
//! locked, can block in the kernel where not even a kill gets through; a *thread* that is stuck there keeps
//! the whole process from being reaped. So these reads are made by a second process: this program again, with its
//! own memory and descriptors, that shares nothing but two pipes. When it does not answer in time it is left
//! behind: nobody waits for it, and the kernel ends it with its parent as soon as it can be ended.
//!
//! On Linux a reader is a copy of this process, where that has one thread only: starting the program anew would
//! take longer than most looks. A copy of a process with more threads could find a lock taken by one that it does not have.

mod file;
mod request;

pub use file::{NamedFile, answers};
pub use request::{Request, Until, file_kind};

use super::Deadline;
use crate::model::{Gap, GapReason};
use rustix::buffer::spare_capacity;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
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
/// Largest answer that is taken.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

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
            // Ctrl-C goes to both: the original may still want an answer for its summary, and ends the copy with itself.
            unsafe {
                libc::signal(signal, libc::SIG_IGN);
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
    left.retain(|child| !has_ended(*child));
    left.len()
}

/// Takes a reader away that has ended, without waiting.
fn has_ended(child: Pid) -> bool {
    !matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None))
}

/// The near end: starts readers, keeps one at a time, and leaves behind those that hang.
pub struct Reader {
    running: Rc<RefCell<Running>>,
    abandoned: Vec<Pid>,
    failed_to_start: Option<io::ErrorKind>,
    patience: Duration,
    /// Whether none is started while too many of earlier looks are left behind.
    is_of_looks: bool,
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
        Self::with_patience(PATIENCE)
    }

    /// The same, and each read may take so long: where a slow answer is better than none.
    pub fn with_patience(patience: Duration) -> Self {
        Self { running: Rc::default(), abandoned: Vec::new(), failed_to_start: None, patience, is_of_looks: true }
    }

    /// Whether no reader could be started for want of processes or descriptors.
    pub fn cannot_start(&self) -> bool {
        self.failed_to_start.is_some()
    }

    /// One that shares the running reader, since starting one costs more than most of what it is asked, and has its own
    /// number of them that may be left behind.
    pub fn beside(&self) -> Self {
        Self {
            running: Rc::clone(&self.running),
            abandoned: Vec::new(),
            failed_to_start: None,
            patience: self.patience,
            is_of_looks: self.is_of_looks,
        }
    }

    /// Performs the requests and answers in their order. Each has the patience, all have the deadline.
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
            _ => self.patience,
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
        let are_own_too_many = u32::try_from(self.abandoned.len()).unwrap_or(u32::MAX) >= MOST_ABANDONED;
        if are_own_too_many || self.is_of_looks && left() >= MOST_LEFT {
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

/// One that was started before it was asked for.
static EARLY: Mutex<Option<Connection>> = Mutex::new(None);

/// Starts a reader for the first that is needed, at the start of a look: there is no other thread yet, which on a terminal there will
/// be, and little memory that both would copy page by page.
pub fn start_early() {
    #[cfg(target_os = "linux")]
    if is_alone()
        && let Ok(connection) = copied()
    {
        *EARLY.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection);
    }
}

fn start() -> io::Result<Connection> {
    if let Some(connection) = EARLY.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Ok(connection);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
