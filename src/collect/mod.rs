//! Reads the kernel, the tools of supervisors, and files. One trait, [`Host`], with a module for each system.
//!
//! Every read has a deadline and returns a value, or a [`Gap`] with the reason why it has none. This module neither
//! judges nor prints.

mod databases;
mod deadline;
pub mod foreign;
pub mod host_facts;
pub mod launchd;
#[cfg(target_os = "linux")]
mod linux;
pub mod logs;
#[cfg(not(target_os = "linux"))]
mod macos;
pub mod replay;
pub mod stacks;
pub mod worker;
mod workers;

pub use deadline::Deadline;
pub use foreign::ForeignPath;
pub use worker::wire::FileKind;
pub use workers::resolve;

use crate::model::{
    DatabaseFile, DatabaseHolder, Descriptors, Gap, HostFacts, HostPath, Identity, Process, PythonSample,
    Resources, SecondSample, Supervisor, SupervisorKind, ThreadSample,
};
use crate::parse::cgroup::Unit;
use crate::parse::command::{CommandRole, recognise_configured};
use crate::parse::sockets::TcpSocket;
use crate::parse::systemd::UnitFile;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::IpAddr;
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

/// [`Gap::what`] of the gap for processes that this user may not see.
pub const HIDDEN: &str = "processes of other users";

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
    pub facts: Descriptors,
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

/// A supervisor that can be queried for its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorProcess {
    /// Its pid.
    pub pid: u32,
    /// Its kind, one that can be queried.
    pub kind: SupervisorKind,
    /// The user of a `systemd-user` manager.
    pub user: Option<u32>,
}

/// A program of a supervisor: the supervisor's claim, and what identifies the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The supervisor's claim. Whether it is about the examined server is decided later.
    pub claim: Supervisor,
    /// The configured command. It is recognised first and masked before it is shown.
    pub command: Vec<String>,
    /// Id of the current activation, where the supervisor gives one.
    pub invocation: Option<String>,
    /// Whether it is enabled at boot, where the supervisor has such a setting.
    pub is_enabled: Option<bool>,
    /// Whether the program is meant to finish (a oneshot unit): its supervisor does not restart it.
    pub is_oneshot: bool,
    /// Configuration files that could not be read.
    pub gaps: Vec<Gap>,
}

impl Program {
    /// Adds what the command contains: port, home, whether it is a launcher, and the masked command line.
    #[must_use]
    pub fn recognised(mut self) -> Self {
        if let Some(found) = recognise_configured(&self.command) {
            self.claim.is_launcher = found.role != CommandRole::Server;
            self.claim.port = found.port.filter(|port| *port != 0).or(self.claim.port);
            self.claim.home = found.home.map(|home| HostPath::from_kept(&home)).or(self.claim.home.take());
        }
        let words: Vec<&[u8]> = self.command.iter().map(String::as_bytes).collect();
        self.claim.command = Some(crate::parse::mask::command(&words)).filter(|line| !line.is_empty());
        self
    }
}

/// A service unit's file on the disk: configuration that can be read without its manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitOnDisk {
    /// The unit, and the manager that it is for.
    pub unit: Unit,
    /// The path of the file.
    pub path: HostPath,
    /// Its content, parsed.
    pub file: UnitFile,
    /// The user that the files it names are read as; root for a system unit.
    pub owner: u32,
}

/// The host that is examined.
pub trait Host {
    /// The machine itself.
    fn facts(&self) -> HostFacts;

    /// Reads of single processes; `None` where reading the whole table is no slower.
    fn single_processes(&self) -> Option<&dyn SingleProcesses> {
        None
    }

    /// All processes, without their command lines.
    ///
    /// # Errors
    /// A gap when the table cannot be read.
    fn process_table(&self) -> Result<Vec<ProcessEntry>, Gap>;

    /// Command lines in the order of `pids`, unmodified: make them printable before they are shown. Empty for kernel
    /// threads and zombies.
    fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>>;

    /// Identifies a process by its pid.
    ///
    /// # Errors
    /// The reason why the pid cannot be examined.
    fn identify(&self, pid: u32) -> Result<Identity, PidProblem>;

    /// Everything that is read of one process, with its command line and supervisor markers.
    ///
    /// # Errors
    /// A gap when the process has ended.
    fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap>;

    /// Working directory of a process.
    ///
    /// # Errors
    /// A gap when it may not be read.
    fn working_directory(&self, identity: Identity) -> Result<PathBuf, Gap>;

    /// Open descriptors of a process, its sockets matched with `sockets`.
    ///
    /// # Errors
    /// A gap when the process has ended. Descriptors that may not be read are a gap in the result.
    fn descriptors(&self, process: &Process, sockets: &SocketTable) -> Result<Collected<DescriptorRead>, Gap>;

    /// Number of descriptors, their limit, and the sockets among them; nothing else is resolved.
    ///
    /// # Errors
    /// As [`Host::descriptors`].
    fn descriptors_in_brief(&self, process: &Process) -> Result<Collected<DescriptorRead>, Gap> {
        self.descriptors(process, &SocketTable::default())
    }

    /// What a process uses, in a few reads.
    ///
    /// # Errors
    /// A gap when the process has ended.
    fn usage(&self, identity: Identity) -> Result<Usage, Gap>;

    /// The threads of a process, and the number of threads that were left out.
    ///
    /// # Errors
    /// A gap when the process has ended, or its threads cannot be read.
    fn threads(&self, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap>;

    /// The inode of the pipe behind a descriptor of this process, and the pids that can read from it; `None` where the
    /// descriptor is not a pipe.
    ///
    /// # Errors
    /// A gap when the descriptor cannot be read.
    fn pipe_readers(&self, identity: Identity, descriptor: u32) -> Result<Option<(u64, Vec<u32>)>, Gap>;

    /// The Python stacks of a process. They are read from its memory, so only on the user's request.
    ///
    /// # Errors
    /// A gap: no permission, not Python, an unknown interpreter, or a timeout.
    fn python_stacks(&self, identity: Identity) -> Result<PythonSample, Gap>;

    /// A source file of a process, and its last modification. The read is abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason.
    fn source(&self, path: &ForeignPath, limit: usize) -> Result<SourceFile, Gap>;

    /// TCP sockets of the network namespace of a process, or of the doctor's own.
    fn sockets(&self, of: Option<&Process>) -> Collected<SocketTable>;

    /// The same with the byte counters of each connection. It is slower, so it is called only while a request waits.
    fn sockets_in_detail(&self, of: Option<&Process>) -> Collected<SocketTable>;

    /// The processes that hold these sockets: those among `among`, or those of the whole host. The second value is a
    /// gap where some process could not be read.
    fn holders(&self, inodes: &HashSet<u64>, among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>);

    /// Paths of control groups by their ids. The paths in `hints` are tried first.
    fn cgroup_paths(&self, ids: &HashSet<u64>, hints: &[String]) -> Result<HashMap<u64, String>, Gap>;

    /// Queries a systemd manager for a unit: the supervisor's claim.
    ///
    /// # Errors
    /// A gap when the manager cannot be queried, or does not know the unit.
    fn unit(&self, unit: &Unit) -> Result<Program, Gap>;

    /// Service units on the disk that run a Hermes server.
    fn unit_files(&self) -> Collected<Vec<UnitOnDisk>>;

    /// Id of the unit's current activation, from the link that the manager publishes.
    fn unit_invocation(&self, unit: &Unit) -> Option<String>;

    /// Queries a supervisor for its programs. The process table does not contain this claim.
    ///
    /// # Errors
    /// A gap when the supervisor cannot be queried.
    fn programs(&self, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap>;

    /// Queries launchd for a job, by its label or its target (`gui/501/LABEL`).
    ///
    /// # Errors
    /// A gap when the job does not exist, or the host has no launchd.
    fn job(&self, name: &str) -> Result<Program, Gap>;

    /// Reads the status of a service by its directory: the claim of `runit`, `s6` or `daemontools`.
    ///
    /// # Errors
    /// A gap when its status cannot be read.
    fn service(&self, kind: &SupervisorKind, directory: &ForeignPath) -> Result<Program, Gap>;

    /// Queries a container's runtime for the container, where its socket may be used.
    ///
    /// # Errors
    /// A gap when the socket does not exist, or may not be used.
    fn container(&self, runtime: &SupervisorKind, id: &str) -> Result<Program, Gap>;

    /// A database and its companion files as bytes, with the locks on them. It is never opened through SQLite,
    /// and no lock is taken. For the holders see [`Host::database_holders`].
    ///
    /// # Errors
    /// A gap when the file does not exist, or cannot be read.
    fn database(&self, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap>;

    /// Index, locks and modification times of a database, read a second time.
    fn database_again(&self, path: &ForeignPath) -> SecondSample;

    /// The path of a file without links, as the links of descriptors have it, with the rights that applied when it was
    /// found.
    ///
    /// # Errors
    /// A gap with the reason.
    fn resolved(&self, path: &ForeignPath) -> Result<ForeignPath, Gap>;

    /// Processes that have descriptors on these databases, or on their unlinked or replaced files: those among `among`,
    /// or those of the whole host. One list for each path.
    fn database_holders(
        &self,
        seen_by: Option<&Process>,
        paths: &[ForeignPath],
        among: Option<&[u32]>,
    ) -> Collected<Vec<Vec<DatabaseHolder>>>;

    /// Device and inode of a directory. Two names of one directory have the same identity; directories with the same
    /// name in different containers do not.
    ///
    /// # Errors
    /// A gap with the reason.
    fn directory_identity(&self, path: &ForeignPath) -> Result<(u64, u64), Gap>;

    /// Contents of a small file, at most `limit` bytes. The read is abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason.
    fn read_file(&self, path: &ForeignPath, limit: usize) -> Result<Vec<u8>, Gap>;

    /// Names in a directory, at most `limit`. The read is abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason.
    fn list_directory(&self, path: &ForeignPath, limit: usize) -> Result<Vec<OsString>, Gap>;

    /// Kind of a file. The read is abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason, such as `not_found`.
    fn file_kind(&self, path: &ForeignPath) -> Result<FileKind, Gap>;

    /// The user accountable for what a path leads to: its owner or, where that is root, the user that it was opened as.
    /// `None` where it cannot be determined.
    fn owner_of(&self, path: &ForeignPath) -> Option<u32>;

    /// Regular files that standard output and standard error of a process are open on.
    ///
    /// # Errors
    /// A gap when the descriptors may not be read.
    fn output_files(&self, process: &Process) -> Result<Vec<OutputFile>, Gap>;

    /// The end of a log and, where it is short, of the rotated file too. The size is bounded, and the read is abandoned
    /// when it hangs.
    ///
    /// # Errors
    /// A gap with the reason; only a regular file is opened.
    fn log_tail(&self, path: &ForeignPath, rotated: Option<&ForeignPath>) -> Result<LogTail, Gap>;

    /// The end of a unit's journal.
    ///
    /// # Errors
    /// A gap when the journal may not be read, or the read times out.
    fn journal(&self, unit: &Unit) -> Result<LogTail, Gap>;

    /// Task and memory limits of a process, its control groups and the host.
    fn resources(&self, process: &Process) -> Collected<Resources>;

    /// Home directory of a user; `None` where the account does not exist or its lookup times out.
    fn user_home(&self, uid: u32) -> Option<PathBuf>;

    /// Addresses of this machine.
    fn own_addresses(&self) -> Vec<IpAddr>;

    /// Addresses of a host name; `None` where the name cannot be resolved in time.
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>>;

    /// Home directories that can contain a Hermes home: that of the doctor's user, and as root those of the other
    /// users.
    fn user_homes(&self) -> Collected<Vec<PathBuf>>;
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
