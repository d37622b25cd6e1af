//! An open `/proc/PID`: everything read through it is of the same process, even if its pid is used again.

use crate::model::{Gap, GapDetail, GapReason, Identity};
use crate::parse::process::{StatLine, stat};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, RawDir, openat};
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;

/// Files of `/proc/PID` are small; this bounds the few that are not (`/proc/PID/net/tcp`, `mountinfo`).
const MAX_FILE_BYTES: usize = 32 * 1024 * 1024;

/// An open `/proc/PID` directory.
pub struct ProcDir {
    directory: OwnedFd,
}

impl ProcDir {
    /// Opens the directory of a pid.
    pub fn open(pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// Opens the directory of a known process; a gap when the process has ended, even if its pid is used again.
    pub fn anchor(identity: Identity) -> Result<Self, Gap> {
        let gone = |detail: String| Gap::new(format!("process {}", identity.pid), GapReason::Vanished, detail);
        let directory = Self::open(identity.pid).map_err(|error| gone(error.to_string()))?;
        let line = directory.stat().map_err(|error| gone(error.to_string()))?;
        if line.start_ticks != identity.start_ticks {
            return Err(gone(GapDetail::AnotherProcess.to_string()));
        }
        Ok(directory)
    }

    /// Reads a whole file.
    pub fn read(&self, name: &CStr) -> io::Result<Vec<u8>> {
        let file = openat(&self.directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        read_all(&file)
    }

    /// Opens a subdirectory.
    pub fn directory(&self, name: &CStr) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(openat(&self.directory, name, flags, Mode::empty())?)
    }

    /// Target of a link in it.
    pub fn link(&self, name: &CStr) -> io::Result<Vec<u8>> {
        Ok(rustix::fs::readlinkat(&self.directory, name, Vec::new())?.into_bytes())
    }

    /// The `stat` line.
    pub fn stat(&self) -> io::Result<StatLine> {
        stat_below(&self.directory, c"stat")
    }
}

impl AsFd for ProcDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

/// The doctor's own `mountinfo`; empty where `/proc` is not mounted.
pub fn own_mounts() -> Vec<u8> {
    ProcDir::open(std::process::id()).and_then(|directory| directory.read(c"mountinfo")).unwrap_or_default()
}

/// A `stat` line by its path below a directory. One read is enough, because the kernel writes it in one piece.
pub fn stat_below(directory: impl AsFd, name: impl rustix::path::Arg) -> io::Result<StatLine> {
    let file = openat(directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    // 52 numbers and 64 bytes of name at most (proc_pid_stat(5)).
    let mut line = [0_u8; 2048];
    let length = rustix::io::read(&file, &mut line)?;
    stat(line.get(..length).unwrap_or_default()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// The numeric names in an open directory: processes in `/proc`, threads in `/proc/PID/task`.
pub fn numbers_in(directory: impl AsFd) -> io::Result<Vec<u32>> {
    let mut numbers = Vec::new();
    let mut buffer = [MaybeUninit::<u8>::uninit(); 16 * 1024];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        numbers.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
    }
    Ok(numbers)
}

/// Reads a descriptor to its end, up to a limit.
pub fn read_all(file: impl AsFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        // Most files are shorter than a page, and some tables are many pages long.
        bytes.reserve(bytes.len().max(4096));
        match rustix::io::read(&file, rustix::buffer::spare_capacity(&mut bytes)) {
            Ok(0) => return Ok(bytes),
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if bytes.len() > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "larger than 32 MiB"));
        }
    }
}
