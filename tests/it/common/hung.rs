//! Filesystems with a daemon that does not answer; unmounted when the test ends.

use super::program_file;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

/// How the daemon handles a request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    /// The request is never read: a waiting process can still be killed.
    Unread,
    /// The request is read and never answered: not even SIGKILL ends the wait.
    Unanswered,
    /// All requests except FLUSH are answered: a process that closes the file waits, and so does an execve(2) that
    /// closes it.
    Unflushed,
}

/// A mounted filesystem; dropping it releases all waiting processes.
pub struct Hung {
    daemon: Child,
    output: BufReader<ChildStdout>,
    place: PathBuf,
}

impl Hung {
    /// Mounts a filesystem that never answers; `None` if that is not possible (it needs root and /dev/fuse).
    pub fn mounted(place: &Path) -> Option<Self> {
        Self::start(place, Fate::Unread, None)
    }

    /// Mounts a filesystem with one file, `file`, that has the bytes of `source`; it answers until [`Self::hang`].
    pub fn serving(place: &Path, fate: Fate, source: &Path) -> Option<Self> {
        Self::start(place, fate, Some(source))
    }

    fn start(place: &Path, fate: Fate, source: Option<&Path>) -> Option<Self> {
        let how = match fate {
            Fate::Unread => "unread",
            Fate::Unanswered => "unanswered",
            Fate::Unflushed => "unflushed",
        };
        let mut daemon = Command::new("python3")
            .arg(program_file("fuse.py"))
            .arg(place)
            .arg(how)
            .args(source)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = BufReader::new(daemon.stdout.take().unwrap());
        let mut hung = Self { daemon, output, place: place.to_owned() };
        (hung.said() == "ready 1").then_some(hung)
    }

    fn said(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// From now on nothing is answered.
    pub fn hang(&mut self) {
        self.daemon.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        assert_eq!(self.said(), "hung");
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        // The last descriptor of /dev/fuse closes with the daemon, which aborts every request.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
        let _ = Command::new("umount").arg("-l").arg(&self.place).stderr(Stdio::null()).status();
    }
}
