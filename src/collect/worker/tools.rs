//! System tools that are run for their output: by absolute paths, with their own environment and session, and with
//! empty input.

use super::wire::{Output, Tool};
use crate::collect::foreign::{Failure, Rights};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use serde_bytes::ByteBuf;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Directories of system tools; the last one is that of NixOS.
const DIRECTORIES: &[&str] = &["/usr/bin", "/bin", "/run/current-system/sw/bin"];
/// Bytes of standard error that are kept.
const MAX_ERRORS: usize = 64 * 1024;

/// Runs a tool to its end.
///
/// # Errors
/// Where there is no such tool, it cannot be started, or the rights of the user cannot be taken.
pub fn run(tool: Tool, arguments: &[String], user: Option<u32>, keep: usize) -> Result<Output, Failure> {
    let place = |directory: &&str| Path::new(directory).join(tool.name());
    let program = DIRECTORIES.iter().map(place).find(|path| path.is_file()).ok_or(Failure::System(libc::ENOENT))?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("LC_ALL", "C").current_dir("/");
    let me = rustix::process::geteuid().as_raw();
    if let Some(user) = user {
        command
            .env("XDG_RUNTIME_DIR", format!("/run/user/{user}"))
            .env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path=/run/user/{user}/bus"));
        if user != me {
            // `uid` also drops the groups: std::os::unix::process::CommandExt::uid.
            command.uid(user).gid(Rights::of_user(user).gid);
        }
    }
    // A pipe at its end is the empty input, because there may be no /dev/null.
    let (nothing, _) = io::pipe()?;
    command.stdin(nothing).stdout(Stdio::piped()).stderr(Stdio::piped());
    detach(&mut command);
    let mut child = command.spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(Failure::System(libc::EIO));
    };
    let mut streams = [Tail::new(stdout.into(), keep), Tail::new(stderr.into(), MAX_ERRORS)];
    while streams.iter().any(|stream| stream.source.is_some()) {
        read_ready(&mut streams)?;
    }
    let [printed, errors] = streams;
    let is_success = child.wait()?.success();
    let bytes = if printed.total == 0 { errors.bytes } else { printed.bytes };
    Ok(Output { bytes: ByteBuf::from(Vec::from(bytes)), total: printed.total, is_success })
}

/// The end of the data from a pipe.
struct Tail {
    /// `None` after the end of the data.
    source: Option<File>,
    bytes: VecDeque<u8>,
    keep: usize,
    total: u64,
}

impl Tail {
    fn new(source: OwnedFd, keep: usize) -> Self {
        Self { source: Some(File::from(source)), bytes: VecDeque::new(), keep, total: 0 }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0_u8; 8192];
        let Some(source) = &mut self.source else { return Ok(()) };
        let count = source.read(&mut buffer)?;
        if count == 0 {
            self.source = None;
        }
        self.total += u64::try_from(count).unwrap_or(0);
        self.bytes.extend(&buffer[..count]);
        self.bytes.drain(..self.bytes.len().saturating_sub(self.keep));
        Ok(())
    }
}

/// Waits for both pipes at once: a tool must not block on one of them while the other is read.
fn read_ready(streams: &mut [Tail]) -> io::Result<()> {
    let mut open: Vec<&mut Tail> = streams.iter_mut().filter(|stream| stream.source.is_some()).collect();
    let mut waits: Vec<PollFd<'_>> =
        open.iter().filter_map(|stream| Some(PollFd::new(stream.source.as_ref()?, PollFlags::IN))).collect();
    match poll(&mut waits, None) {
        Err(Errno::INTR) => return Ok(()),
        polled => polled?,
    };
    let is_ready: Vec<bool> = waits.iter().map(|wait| !wait.revents().is_empty()).collect();
    for (stream, is_ready) in open.iter_mut().zip(is_ready) {
        if is_ready {
            stream.read()?;
        }
    }
    Ok(())
}

/// Gives the tool its own session, and requests that the kernel kills it with the worker, so that a tool that hangs is
/// not left behind.
fn detach(command: &mut Command) {
    #[allow(unsafe_code)]
    // SAFETY: two system calls between fork and exec, which allocate nothing (setsid(2), prctl(2)).
    unsafe {
        command.pre_exec(|| {
            rustix::process::setsid()?;
            #[cfg(target_os = "linux")]
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
}
