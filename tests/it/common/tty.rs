//! Runs the doctor with its outputs on pseudo-terminals.

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

/// Where an output leads.
#[derive(Clone, Copy, Debug)]
pub enum Output {
    Pipe,
    /// A terminal of this many columns.
    Terminal(u16),
}

/// The output; on a terminal with the escape sequences that it received.
pub struct Seen {
    pub exit: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Both ends of a pseudo-terminal: what is written to the second is read from the first.
fn pair(columns: u16) -> (File, File) {
    let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    rustix::io::fcntl_setfd(&near, rustix::io::FdFlags::CLOEXEC).unwrap();
    grantpt(&near).unwrap();
    unlockpt(&near).unwrap();
    let name = ptsname(&near, Vec::new()).unwrap();
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(name.as_bytes()));
    let flags = i32::try_from(rustix::fs::OFlags::NOCTTY.bits()).unwrap();
    let far = OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).unwrap();
    tcsetwinsize(&far, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(near), far)
}

/// The whole output, read while the program runs: pipes and terminals have small buffers.
fn drained(mut from: impl Read + Send + 'static) -> JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        // When the other end of a terminal is closed, Linux returns EIO, not an end of file.
        let _ = from.read_to_end(&mut all);
        String::from_utf8_lossy(&all).replace("\r\n", "\n")
    })
}

/// Runs a prepared command.
pub fn run(mut command: Command, stdout: Output, stderr: Output) -> Seen {
    let prepare = |output: Output| match output {
        Output::Pipe => {
            let (reader, writer) = std::io::pipe().unwrap();
            (File::from(OwnedFd::from(reader)), Stdio::from(writer))
        }
        Output::Terminal(columns) => {
            let (near, far) = pair(columns);
            (near, Stdio::from(far))
        }
    };
    let (out, out_end) = prepare(stdout);
    let (errors, errors_end) = prepare(stderr);
    let mut child = command.stdin(Stdio::null()).stdout(out_end).stderr(errors_end).spawn().unwrap();
    // Closes our copies of the other ends.
    drop(command);
    let (out, errors) = (drained(out), drained(errors));
    let exit = child.wait().unwrap().code().unwrap_or(-1);
    Seen { exit, stdout: out.join().unwrap(), stderr: errors.join().unwrap() }
}
