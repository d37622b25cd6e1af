//! Which program each process runs, by the link `/proc/PID/exe` (proc_pid_exe(5)). It takes half of what a command line does and needs
//! no memory map, so that nothing can hang.

use super::proc_dir::numbers_in;
use super::process;
use crate::collect::ByProgram;
use crate::model::{Gap, GapReason};
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::readlinkat_raw;
use rustix::io::Errno;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};

/// How long a list of all processes is the one of now.
const FRESH: Duration = Duration::from_millis(200);
/// Longest text of a link: the kernel makes it in one page (`do_proc_readlink` of fs/proc/base.c).
const LONGEST: usize = 4096;

/// The processes of this host by the program that they run.
pub struct Executables {
    listed_at: Instant,
    /// All that were listed.
    pub pids: Vec<u32>,
    refused: Vec<u32>,
    by_link: HashMap<Box<[u8]>, Vec<u32>>,
}

impl Executables {
    /// All processes, of none of which it is known yet.
    ///
    /// # Errors
    /// A gap where there is no `/proc`.
    pub fn list() -> Result<Self, Gap> {
        let listed_at = Instant::now();
        let pids = numbers_in(process::proc_directory()?)
            .map_err(|error| process::no_table(GapReason::Unsupported, &error.to_string()))?;
        Ok(Self { listed_at, pids, refused: Vec::new(), by_link: HashMap::new() })
    }

    /// The same, with each of them looked at.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn read() -> Result<Self, Gap> {
        let mut found = Self::list()?;
        let proc = process::proc_directory()?;
        for index in 0..found.pids.len() {
            let pid = found.pids[index];
            found.look(pid, &proc, &format!("{pid}/exe"));
        }
        Ok(found)
    }

    /// All processes, where they were listed a moment ago.
    pub fn fresh(&self) -> Option<&[u32]> {
        (self.listed_at.elapsed() < FRESH).then_some(&*self.pids)
    }

    /// Looks at the program of one process, from the open directory of its descriptors where that was not refused.
    pub fn look_beside(&mut self, pid: u32, held: &Result<OwnedFd, Errno>) {
        match held {
            Ok(held) => self.look(pid, held, "../exe"),
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(_) => self.refused.push(pid),
        }
    }

    /// The link of one process. What has none is a kernel thread, or has ended.
    fn look(&mut self, pid: u32, directory: impl AsFd, path: &str) {
        let mut text = [MaybeUninit::<u8>::uninit(); LONGEST];
        match readlinkat_raw(directory, path, &mut text) {
            Ok((link, _)) => match self.by_link.get_mut(&*link) {
                Some(pids) => pids.push(pid),
                None => drop(self.by_link.insert((&*link).into(), vec![pid])),
            },
            Err(Errno::NOENT | Errno::SRCH) => {}
            Err(_) => self.refused.push(pid),
        }
    }

    /// The processes by their programs.
    pub fn by_program(&self) -> ByProgram {
        let programs = self.by_link.iter().map(|(link, pids)| (link.to_vec(), pids.clone()));
        ByProgram { unknown: self.refused.clone(), hidden: process::hidden(), programs: programs.collect() }
    }
}
