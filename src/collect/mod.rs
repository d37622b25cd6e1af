//! Reads the kernel, the tools of supervisors, and files. One trait, [`Host`], with a module for each system.
//!
//! Every read has a deadline and returns a value, or a [`Gap`] with the reason why it has none. This module neither
//! judges nor prints.

mod databases;
mod deadline;
pub mod foreign;
mod host;
pub mod host_facts;
#[cfg(target_os = "linux")]
mod linux;
pub mod logs;
#[cfg(not(target_os = "linux"))]
mod macos;
pub mod replay;
pub mod stacks;
pub mod worker;
pub mod workers;

pub use deadline::Deadline;
pub use foreign::ForeignPath;
pub use host::{Databases, Descriptors, Files, Host, Processes, Sockets, Supervisors};
pub use worker::wire::FileKind;
pub use workers::resolve;

use crate::model::{Gap, ThreadSample};
use crate::parse::sockets::TcpSocket;
use std::collections::HashSet;
use std::path::PathBuf;

/// A value and the parts of it that could not be read.
#[derive(Clone, Debug, Default)]
pub struct Collected<T> {
    /// The value, as complete as it could be read.
    pub value: T,
    /// The missing parts.
    pub gaps: Vec<Gap>,
}

/// One row of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Process id.
    pub pid: u32,
    /// Parent process id.
    pub ppid: u32,
    /// Short name.
    pub name: String,
    /// Whether it has ended and is not reaped.
    pub zombie: bool,
}

/// The processes of a host by the program that each one runs. Kernel threads and processes that have ended run none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByProgram {
    /// Processes with a program that could not be read.
    pub unknown: Vec<u32>,
    /// The gap where processes of other users are not shown at all.
    pub hidden: Option<Gap>,
    /// The path of each program as the kernel reports it, and the processes that run it in the order of their pids. In
    /// containers different programs can have the same path.
    pub programs: Vec<(Vec<u8>, Vec<u32>)>,
}

/// Reads of single processes, for a system without a table of all processes in one read.
pub trait SingleProcesses {
    /// One row of the process table; `None` for a kernel thread, and for a process that has ended or may not be read.
    fn entry(&self, pid: u32) -> Option<ProcessEntry>;

    /// Children of a process; `None` where only the whole table has them, or where reading that table is faster.
    fn children(&self, pid: u32) -> Option<Vec<u32>>;

    /// All processes by their programs; no command line is read.
    ///
    /// # Errors
    /// A gap when no process can be read at all.
    fn by_program(&self) -> Result<ByProgram, Gap>;
}

/// Why the process with a given pid cannot be examined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PidProblem {
    /// No such process.
    #[error("there is no process {0}")]
    Absent(u32),
    /// The pid is that of a thread.
    #[error("{pid} is a thread of process {process}; name the process: --pid {process}")]
    Thread {
        /// The thread.
        pid: u32,
        /// Its process.
        process: u32,
    },
    /// It has ended and is not reaped.
    #[error("process {pid} has ended and waits to be reaped by its parent, process {parent}")]
    Zombie {
        /// The zombie.
        pid: u32,
        /// Its parent.
        parent: u32,
    },
    /// A kernel thread.
    #[error("process {0} is a kernel thread ({1}), not a server")]
    Kernel(u32, String),
    /// It could not be read.
    #[error("cannot examine process {0}: {1}")]
    Unreadable(u32, String),
}

/// Descriptors of a process, and the inodes of its sockets.
#[derive(Clone, Debug, Default)]
pub struct DescriptorRead {
    /// The facts for the report.
    pub facts: crate::model::Descriptors,
    /// Inodes of its open sockets.
    pub sockets: HashSet<u64>,
}

/// The end of a log.
#[derive(Clone, Debug, Default)]
pub struct LogTail {
    /// The bytes, oldest part first: the rotated file where it was read, then the log.
    pub parts: Vec<Vec<u8>>,
    /// Whether earlier lines were left out.
    pub is_cut: bool,
    /// Whether the rotated file (`.1`) was read too.
    pub with_rotated: bool,
    /// Last modification in nanoseconds since 1970; 0 where it is not known.
    pub modified_ns: u64,
}

/// A file to which a process writes its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Its name, as the link of the descriptor has it.
    pub name: PathBuf,
    /// What is opened: the descriptor, even where the name now leads to another file.
    pub place: ForeignPath,
}

/// What a process uses, as cheap to read as possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of open descriptors: the size of `/proc/PID/fd` since Linux 6.2; `None` where only a scan can count them.
    pub open: Option<u64>,
    /// CPU time so far in milliseconds, user and system together.
    pub cpu_ms: u64,
}

/// One thread in one sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadEntry {
    /// Its thread id in the kernel.
    pub tid: u32,
    /// Short name.
    pub name: String,
    /// Whether it is the main thread.
    pub is_main: bool,
    /// Time since it started, in milliseconds.
    pub age_ms: u64,
    /// CPU time so far in milliseconds, user and system together.
    pub cpu_ms: u64,
    /// Number of voluntary context switches so far; `None` where that could not be read.
    pub sleeps: Option<u64>,
    /// State, wait channel and system call.
    pub look: ThreadSample,
}

/// A source file as it is on the disk now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// Its text.
    pub bytes: Vec<u8>,
    /// Last modification in seconds since 1970; `None` where it is not known.
    pub modified: Option<u64>,
}

/// The TCP sockets of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct SocketTable {
    /// All sockets except those in TIME-WAIT.
    pub tcp: Vec<TcpSocket>,
    /// The source that they were read from.
    pub source: String,
    /// Whether the sockets of some processes could not be read: a socket that is missing here can still exist.
    pub is_partial: bool,
}

/// The host that this program runs on.
pub fn this_host(deadline: Deadline) -> Box<dyn Host> {
    #[cfg(target_os = "linux")]
    {
        Box::new(linux::LinuxHost::new(deadline))
    }
    #[cfg(not(target_os = "linux"))]
    {
        Box::new(macos::MacHost::new(deadline))
    }
}
