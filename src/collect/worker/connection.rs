//! Worker processes: how they are started, the pipes to them, and those that remain after the examination.

#[cfg(not(test))]
use super::ARGUMENT;
use crate::collect::Deadline;
use crate::collect::deadline::wait_readable;
use rustix::buffer::spare_capacity;
use rustix::process::{Pid, WaitOptions, waitpid};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
#[cfg(not(test))]
use std::path::PathBuf;
use std::process::Command;
#[cfg(not(test))]
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Time for an idle worker to end.
const END_TIMEOUT: Duration = Duration::from_millis(100);
/// Smallest read of answers in bytes.
const PIECE: usize = 16 * 1024;

/// A worker process and the pipes to it.
pub struct Connection {
    pub input: File,
    output: File,
    /// Bytes that were read, and how many of them were taken.
    read: Vec<u8>,
    taken: usize,
    pub child: Pid,
}

impl Connection {
    pub fn new(input: OwnedFd, output: OwnedFd, child: Pid) -> Self {
        Self { input: File::from(input), output: File::from(output), read: Vec::new(), taken: 0, child }
    }

    /// `read_exact` with a deadline. It reads as many bytes as are available, because many answers arrive at once.
    pub fn read_exact(&mut self, buffer: &mut [u8], deadline: Deadline) -> io::Result<()> {
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

/// The current worker, if any.
#[derive(Default)]
pub struct Running(pub Option<Connection>);

impl Drop for Running {
    fn drop(&mut self) {
        let Some(connection) = self.0.take() else { return };
        // The worker ends when its input closes. The wait for it avoids a zombie that would remain until the next
        // request.
        drop(connection.input);
        let deadline = Deadline::after(END_TIMEOUT);
        let _ = wait_readable(&connection.output, deadline);
        while !has_ended(connection.child) {
            if deadline.is_over() {
                return leave(Remaining { child: connection.child, waits_for: None, user: None });
            }
            std::thread::yield_now();
        }
    }
}

/// A worker that is no longer used and has not ended yet.
pub struct Remaining {
    pub child: Pid,
    /// What it waits for ([`super::Request::waits_for`]).
    pub waits_for: Option<String>,
    /// The user that this is charged to.
    pub user: Option<u32>,
}

/// The remaining workers of this process. A process that takes samples for days must reap those that have ended, make
/// no request that one of them still waits for, and start no more when too many remain.
static REMAINING: Mutex<Vec<Remaining>> = Mutex::new(Vec::new());

pub fn leave(worker: Remaining) {
    REMAINING.lock().unwrap_or_else(PoisonError::into_inner).push(worker);
}

/// Reaps workers that have ended, without waiting, and runs a function on the others.
pub fn remaining<T>(look: impl FnOnce(&[Remaining]) -> T) -> T {
    let mut remaining = REMAINING.lock().unwrap_or_else(PoisonError::into_inner);
    remaining.retain(|worker| !has_ended(worker.child));
    look(&remaining)
}

/// Reaps workers that have ended since they were abandoned, without waiting.
pub fn reap() {
    remaining(|_| ());
}

/// Reaps a worker that has ended, without waiting.
pub fn has_ended(child: Pid) -> bool {
    !matches!(waitpid(Some(child), WaitOptions::NOHANG), Ok(None))
}

/// Executes this program again, as a worker. The main process starts no other program.
#[cfg(not(test))]
pub fn start() -> io::Result<Connection> {
    let program = own_program()?;
    // Its error messages go to a closed pipe, which needs no /dev/null.
    let (_, nowhere) = io::pipe()?;
    let mut child = Command::new(program)
        .arg(ARGUMENT)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(nowhere)
        .spawn()?;
    let pid = Pid::from_child(&child);
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok(Connection::new(input.into(), output.into(), pid)),
        _ => Err(io::ErrorKind::NotConnected.into()),
    }
}

/// The program of unit tests cannot be a worker: a thread serves the requests, and a process that ends at once provides
/// the pid.
#[cfg(test)]
pub fn start() -> io::Result<Connection> {
    let (requests, input) = io::pipe()?;
    let (output, answers) = io::pipe()?;
    let (requests, answers) = (OwnedFd::from(requests), OwnedFd::from(answers));
    std::thread::spawn(move || super::serve::serve_on(File::from(requests), File::from(answers)));
    let child = Command::new("true").spawn()?;
    Ok(Connection::new(input.into(), output.into(), Pid::from_child(&child)))
}

/// The file of this program, even where it was replaced or unlinked.
#[cfg(all(target_os = "linux", not(test)))]
fn own_program() -> io::Result<PathBuf> {
    let link = |name: &str| rustix::fs::readlink(name, Vec::new());
    // For the kernel, an instrumenting loader (valgrind) is the program. It returns the program's name for this link
    // only.
    let is_instrumented = link("/proc/self/exe")? != link("/proc/thread-self/exe")?;
    if is_instrumented { std::env::current_exe() } else { Ok(PathBuf::from("/proc/self/exe")) }
}

/// The file that this program was started from.
#[cfg(all(not(target_os = "linux"), not(test)))]
fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}
