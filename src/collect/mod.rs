//! Reading the kernel, the supervisors' own tools and files. One trait, one room for each system.
//!
//! Every read has a deadline. Each answers with a value, or with a [`Gap`] that says why there is none. Nothing
//! here judges or prints.

mod databases;
mod deadline;
pub mod foreign;
mod host_facts;
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
    Resources, SecondSample, Supervisor, ThreadSample,
};
use crate::parse::cgroup::Unit;
use crate::parse::command::{CommandRole, recognise_configured};
use crate::parse::sockets::TcpSocket;
use crate::parse::systemd::UnitFile;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

/// A value and everything around it that could not be read.
#[derive(Clone, Debug, Default)]
pub struct Collected<T> {
    /// The value, as complete as it could be had.
    pub value: T,
    /// What is missing in it.
    pub gaps: Vec<Gap>,
}

/// One row of the process table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessEntry {
    /// Process id.
    pub pid: u32,
    /// Parent.
    pub ppid: u32,
    /// Short name.
    pub name: String,
    /// Ended and not reaped.
    pub zombie: bool,
}

/// What is not shown to everybody.
pub const HIDDEN: &str = "processes of other users";

/// The processes of a host by the programs that they run. Kernel threads and what has ended run none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByProgram {
    /// Those whose program may not be known.
    pub unknown: Vec<u32>,
    /// Where processes of other users are not shown at all.
    pub hidden: Option<Gap>,
    /// The path of each program, as the kernel tells it, and who runs it, in the order of their pids. In containers different
    /// programs can have one path.
    pub programs: Vec<(Vec<u8>, Vec<u32>)>,
}

/// Processes one by one, where the system has no table that tells of all at once.
pub trait SingleProcesses {
    /// One row of the process table; `None` for a kernel thread, and when it has ended or may not be looked at.
    fn entry(&self, pid: u32) -> Option<ProcessEntry>;

    /// Children of a process; `None` where only the whole table tells, or tells sooner.
    fn children(&self, pid: u32) -> Option<Vec<u32>>;

    /// All processes by their programs, without their command lines.
    ///
    /// # Errors
    /// A gap when no process can be seen at all.
    fn by_program(&self) -> Result<ByProgram, Gap>;
}

/// Why a pid that somebody named cannot be examined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PidProblem {
    /// There is none.
    #[error("there is no process {0}")]
    Absent(u32),
    /// A thread of a process.
    #[error("{pid} is a thread of process {process}; name the process: --pid {process}")]
    Thread {
        /// The thread.
        pid: u32,
        /// Its process.
        process: u32,
    },
    /// Ended, not reaped.
    #[error("process {pid} has ended and waits to be reaped by its parent, process {parent}")]
    Zombie {
        /// The zombie.
        pid: u32,
        /// Its parent.
        parent: u32,
    },
    /// Part of the kernel.
    #[error("process {0} is a kernel thread ({1}), not a server")]
    Kernel(u32, String),
    /// It could not be looked at.
    #[error("process {0} could not be looked at: {1}")]
    Unreadable(u32, String),
}

/// Descriptors of a process, with the inodes of its sockets.
#[derive(Clone, Debug, Default)]
pub struct DescriptorRead {
    /// What is reported.
    pub facts: Descriptors,
    /// Inodes of the sockets that it holds.
    pub sockets: HashSet<u64>,
}

/// The end of a log.
#[derive(Clone, Debug, Default)]
pub struct LogTail {
    /// What was read, oldest part first: the file before it, where that was read too, and the log itself.
    pub parts: Vec<Vec<u8>>,
    /// Whether there is more before that.
    pub is_cut: bool,
    /// Whether the file before it (`.1`) was read too.
    pub with_rotated: bool,
    /// Last modification in nanoseconds since 1970; 0 where a log has none.
    pub modified_ns: u64,
}

/// A file to which a process writes its output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Its name, as the process has it.
    pub name: PathBuf,
    /// What is opened, whatever has become of the name.
    pub place: ForeignPath,
}

/// What a process uses, had without looking at what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Open descriptors: the size of `/proc/PID/fd` since Linux 6.2; `None` where only a walk would tell.
    pub open: Option<u64>,
    /// CPU time so far in milliseconds, of user and system together.
    pub cpu_ms: u64,
}

/// One thread at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadEntry {
    /// The kernel's id of it.
    pub tid: u32,
    /// Short name.
    pub name: String,
    /// Whether the process began with it.
    pub is_main: bool,
    /// Time since it started, in milliseconds.
    pub age_ms: u64,
    /// CPU time so far in milliseconds, of user and system together.
    pub cpu_ms: u64,
    /// How often it went to sleep by itself so far; `None` where that could not be read.
    pub sleeps: Option<u64>,
    /// State, wait channel and system call.
    pub look: ThreadSample,
}

/// A source file as it lies on the disk now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceFile {
    /// Its text.
    pub bytes: Vec<u8>,
    /// When it was last changed, in seconds since 1970; `None` where that is not known.
    pub modified: Option<u64>,
}

/// The TCP sockets of one network namespace.
#[derive(Clone, Debug, Default)]
pub struct SocketTable {
    /// All but TIME-WAIT.
    pub tcp: Vec<TcpSocket>,
    /// Where they were read.
    pub source: String,
    /// Sockets of some processes could not be read, so that one which is missing here may be there all the same.
    pub is_partial: bool,
}

/// A supervisor that can be asked for its programs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SupervisorProcess {
    /// Its pid.
    pub pid: u32,
    /// `systemd`, `systemd-user`, `launchd`, `supervisord`, `runit`, `s6`, `daemontools`, `pm2`.
    pub kind: String,
    /// Whose manager a `systemd-user` is.
    pub user: Option<u32>,
}

/// A program of a supervisor: what the supervisor says of it, and by what it is recognised.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The supervisor's own word; whether that is the examined server is not decided yet.
    pub claim: Supervisor,
    /// Its command as configured: recognised first, masked where it is shown.
    pub command: Vec<String>,
    /// Id of the current activation, where the supervisor gives one.
    pub invocation: Option<String>,
    /// Whether it is to be started with the system, where the supervisor has such a setting.
    pub is_enabled: Option<bool>,
    /// A program that is meant to finish (a oneshot unit): nothing restarts what it leaves.
    pub is_oneshot: bool,
    /// Files of its configuration that could not be read.
    pub gaps: Vec<Gap>,
}

impl Program {
    /// Adds what the command itself says: its port, whether it is a launcher, and the masked line.
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

/// A service unit's file, as it lies on the disk: configuration, whether or not its manager can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitOnDisk {
    /// The unit, and whose manager it is for.
    pub unit: Unit,
    /// The file.
    pub path: HostPath,
    /// What it says.
    pub file: UnitFile,
    /// The user with whose rights the files that it names are read; root for the system's own.
    pub owner: u32,
}

/// The host that is examined.
pub trait Host {
    /// The machine itself.
    fn facts(&self) -> HostFacts;

    /// Processes one by one, where reading all is dearer than those that are asked for.
    fn single_processes(&self) -> Option<&dyn SingleProcesses> {
        None
    }

    /// All processes, without command lines.
    ///
    /// # Errors
    /// A gap when the table cannot be read at all.
    fn process_table(&self) -> Result<Vec<ProcessEntry>, Gap>;

    /// Command lines, in the order asked, as the process set them: not to be shown before they are made printable.
    /// Empty for kernel threads and zombies.
    fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>>;

    /// Looks at one process by pid.
    ///
    /// # Errors
    /// What the pid is instead of a process that can be examined.
    fn identify(&self, pid: u32) -> Result<Identity, PidProblem>;

    /// Everything that is said of one process, its command line and markers included.
    ///
    /// # Errors
    /// A gap when it is gone.
    fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap>;

    /// Working directory of a process.
    ///
    /// # Errors
    /// A gap when it may not be read.
    fn working_directory(&self, identity: Identity) -> Result<PathBuf, Gap>;

    /// Open descriptors of a process, sockets matched with the table.
    ///
    /// # Errors
    /// A gap when it is gone; what is not permitted is a gap beside the rest.
    fn descriptors(&self, process: &Process, sockets: &SocketTable) -> Result<Collected<DescriptorRead>, Gap>;

    /// Their number, the limit, and which sockets are among them, without what each of them is.
    ///
    /// # Errors
    /// As above.
    fn descriptors_in_brief(&self, process: &Process) -> Result<Collected<DescriptorRead>, Gap> {
        self.descriptors(process, &SocketTable::default())
    }

    /// How much a process uses, in a few reads.
    ///
    /// # Errors
    /// A gap when it is gone.
    fn usage(&self, identity: Identity) -> Result<Usage, Gap>;

    /// The threads of a process at this moment, and how many were left out.
    ///
    /// # Errors
    /// A gap when it is gone, or its threads cannot be read.
    fn threads(&self, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap>;

    /// Pids that can read from the pipe behind a descriptor of this process, and the pipe's inode number.
    ///
    /// # Errors
    /// A gap when the descriptor cannot be read; `None` when it is no pipe.
    fn pipe_readers(&self, identity: Identity, descriptor: u32) -> Result<Option<(u64, Vec<u32>)>, Gap>;

    /// The Python stacks of a process. Its memory is read: only where a person asked for it.
    ///
    /// # Errors
    /// A gap: no permission, not Python, an interpreter that is not known, no answer in time.
    fn python_stacks(&self, identity: Identity) -> Result<PythonSample, Gap>;

    /// A source file of a process, and when it was last changed; abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason.
    fn source(&self, path: &ForeignPath, limit: usize) -> Result<SourceFile, Gap>;

    /// TCP sockets of the network namespace of a process, or of the doctor's own.
    fn sockets(&self, of: Option<&Process>) -> Collected<SocketTable>;

    /// The same with what each connection has carried: dearer, so only where a request waits.
    fn sockets_in_detail(&self, of: Option<&Process>) -> Collected<SocketTable>;

    /// Which processes hold these sockets: those of `among`, or of the whole host. The second value says whether
    /// every process that was asked could be read.
    fn holders(&self, inodes: &HashSet<u64>, among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>);

    /// Paths of control groups by their ids, tried first below `hints`.
    fn cgroup_paths(&self, ids: &HashSet<u64>, hints: &[String]) -> Result<HashMap<u64, String>, Gap>;

    /// Asks a systemd manager for a unit; the supervisor's own claim.
    ///
    /// # Errors
    /// A gap when the manager cannot be asked, or does not know the unit.
    fn unit(&self, unit: &Unit) -> Result<Program, Gap>;

    /// Service units on the disk whose command is a Hermes server's.
    fn unit_files(&self) -> Collected<Vec<UnitOnDisk>>;

    /// Id of the unit's current activation, which the manager publishes as a file.
    fn unit_invocation(&self, unit: &Unit) -> Option<String>;

    /// Asks a supervisor for its programs, in its own way: the claim that no process table shows.
    ///
    /// # Errors
    /// A gap when it cannot be asked.
    fn programs(&self, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap>;

    /// Asks launchd for a job, by its label or by its target (`gui/501/LABEL`).
    ///
    /// # Errors
    /// A gap when there is no such job, or no launchd.
    fn job(&self, name: &str) -> Result<Program, Gap>;

    /// Asks for a service by its directory: the claim of the `runit`, `s6` or `daemontools` that keeps it.
    ///
    /// # Errors
    /// A gap when its status cannot be read.
    fn service(&self, kind: &str, directory: &ForeignPath) -> Result<Program, Gap>;

    /// Asks a container's runtime for it, where its socket may be used.
    ///
    /// # Errors
    /// A gap when there is no such socket, or it may not be used.
    fn container(&self, runtime: &str, id: &str) -> Result<Program, Gap>;

    /// A database and its companions as bytes, with the locks on them; never through SQLite, and no lock is taken. Who has
    /// it open is asked for with [`Host::database_holders`].
    ///
    /// # Errors
    /// A gap when there is no such file, or it cannot be read.
    fn database(&self, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap>;

    /// Index, locks and times of a database once more: what moves, and what stands still.
    fn database_again(&self, path: &ForeignPath) -> SecondSample;

    /// The path of a file without links in it, as descriptors on it have it, and with the rights with which it was found.
    ///
    /// # Errors
    /// A gap with the reason.
    fn resolved(&self, path: &ForeignPath) -> Result<ForeignPath, Gap>;

    /// Processes that have descriptors on these databases, on their unlinked or replaced files too: those of `among`, or
    /// of the whole host. One list for each path.
    fn database_holders(
        &self,
        seen_by: Option<&Process>,
        paths: &[ForeignPath],
        among: Option<&[u32]>,
    ) -> Collected<Vec<Vec<DatabaseHolder>>>;

    /// Device and inode of a directory: two names of one directory are the same, two directories of one name in different containers
    /// are not.
    ///
    /// # Errors
    /// A gap with the reason.
    fn directory_identity(&self, path: &ForeignPath) -> Result<(u64, u64), Gap>;

    /// Contents of a small file, at most `limit` bytes; abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason.
    fn read_file(&self, path: &ForeignPath, limit: usize) -> Result<Vec<u8>, Gap>;

    /// Names in a directory, at most `limit`; abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason.
    fn list_directory(&self, path: &ForeignPath, limit: usize) -> Result<Vec<OsString>, Gap>;

    /// Kind of a file; abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason, `not_found` among them.
    fn file_kind(&self, path: &ForeignPath) -> Result<FileKind, Gap>;

    /// The user who answers for what a path leads to: its owner, or where that is root, the user whose directory the path leads through.
    /// `None` where that cannot be told.
    fn owner_of(&self, path: &ForeignPath) -> Option<u32>;

    /// Regular files that standard output and standard error of a process go to.
    ///
    /// # Errors
    /// A gap when that may not be read.
    fn output_files(&self, process: &Process) -> Result<Vec<OutputFile>, Gap>;

    /// The end of a log and, where that is all of it, of the file before it; bounded, and abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason; what is no regular file is not opened.
    fn log_tail(&self, path: &ForeignPath, rotated: Option<&ForeignPath>) -> Result<LogTail, Gap>;

    /// The end of a unit's journal.
    ///
    /// # Errors
    /// A gap when it may not be read, or does not answer in time.
    fn journal(&self, unit: &Unit) -> Result<LogTail, Gap>;

    /// Limits of tasks and memory of a process, its control groups and the host.
    fn resources(&self, process: &Process) -> Collected<Resources>;

    /// Home directory of a user, where the system's directory knows one and answers.
    fn user_home(&self, uid: u32) -> Option<PathBuf>;

    /// Addresses of this machine.
    fn own_addresses(&self) -> Vec<IpAddr>;

    /// Addresses of a host name; `None` where the resolver does not answer in time or does not know it.
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>>;

    /// Home directories in which a Hermes home may lie: of the doctor's user, and of the others as root.
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
