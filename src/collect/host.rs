//! What the program reads of a host, one trait for each subject. [`Host`] is all of them; there is an implementation for each system.

use super::worker::wire::{Output, Tool};
use super::workers::Workers;
use super::{
    Collected, DescriptorRead, FileKind, ForeignPath, LogTail, OutputFile, PidProblem, ProcessEntry,
    SingleProcesses, SocketTable, SourceFile, ThreadEntry, Usage,
};
use crate::model::{
    DatabaseFile, DatabaseHolder, Gap, HostFacts, Identity, Process, PythonSample, Resources, SecondSample,
};
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;

/// Processes, their threads and their limits.
pub trait Processes {
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

    /// The Python stacks of a process. They are read from its memory, so only on the user's request.
    ///
    /// # Errors
    /// A gap: no permission, not Python, an unknown interpreter, or a timeout.
    fn python_stacks(&self, identity: Identity) -> Result<PythonSample, Gap>;

    /// Task and memory limits of a process, its control groups and the host.
    fn resources(&self, process: &Process) -> Collected<Resources>;
}

/// Open descriptors.
pub trait Descriptors {
    /// Open descriptors of a process, its sockets matched with `sockets`.
    ///
    /// # Errors
    /// A gap when the process has ended. Descriptors that may not be read are a gap in the result.
    fn descriptors(&self, process: &Process, sockets: &SocketTable) -> Result<Collected<DescriptorRead>, Gap>;

    /// Number of descriptors, their limit, and the sockets among them; nothing else is resolved.
    ///
    /// # Errors
    /// As [`Descriptors::descriptors`].
    fn descriptors_in_brief(&self, process: &Process) -> Result<Collected<DescriptorRead>, Gap> {
        self.descriptors(process, &SocketTable::default())
    }

    /// The inode of the pipe behind a descriptor of this process, and the pids that can read from it; `None` where the
    /// descriptor is not a pipe.
    ///
    /// # Errors
    /// A gap when the descriptor cannot be read.
    fn pipe_readers(&self, identity: Identity, descriptor: u32) -> Result<Option<(u64, Vec<u32>)>, Gap>;

    /// Regular files that standard output and standard error of a process are open on.
    ///
    /// # Errors
    /// A gap when the descriptors may not be read.
    fn output_files(&self, process: &Process) -> Result<Vec<OutputFile>, Gap>;
}

/// Sockets, their holders, and addresses.
pub trait Sockets {
    /// TCP sockets of the network namespace of a process, or of the doctor's own.
    fn sockets(&self, of: Option<&Process>) -> Collected<SocketTable>;

    /// The same with the byte counters of each connection. It is slower, so it is called only while a request waits.
    fn sockets_in_detail(&self, of: Option<&Process>) -> Collected<SocketTable>;

    /// The processes that hold these sockets: those among `among`, or those of the whole host. The second value is a
    /// gap where some process could not be read.
    fn holders(&self, inodes: &HashSet<u64>, among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>);

    /// Paths of control groups by their ids. The paths in `hints` are tried first.
    fn cgroup_paths(&self, ids: &HashSet<u64>, hints: &[String]) -> Result<HashMap<u64, String>, Gap>;

    /// Addresses of this machine.
    fn own_addresses(&self) -> Vec<IpAddr>;

    /// Addresses of a host name; `None` where the name cannot be resolved in time.
    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>>;
}

/// SQLite databases, read as bytes.
pub trait Databases {
    /// A database and its companion files as bytes, with the locks on them. It is never opened through SQLite,
    /// and no lock is taken. For the holders see [`Databases::database_holders`].
    ///
    /// # Errors
    /// A gap when the file does not exist, or cannot be read.
    fn database(&self, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap>;

    /// Index, locks and modification times of a database, read a second time.
    fn database_again(&self, path: &ForeignPath) -> SecondSample;

    /// Processes that have descriptors on these databases, or on their unlinked or replaced files: those among `among`,
    /// or those of the whole host. One list for each path.
    fn database_holders(
        &self,
        seen_by: Option<&Process>,
        paths: &[ForeignPath],
        among: Option<&[u32]>,
    ) -> Collected<Vec<Vec<DatabaseHolder>>>;
}

/// Files and directories that other processes or the user name.
pub trait Files {
    /// A source file of a process, and its last modification. The read is abandoned when it hangs.
    ///
    /// # Errors
    /// A gap with the reason.
    fn source(&self, path: &ForeignPath, limit: usize) -> Result<SourceFile, Gap>;

    /// The path of a file without links, as the links of descriptors have it, with the rights that applied when it was
    /// found.
    ///
    /// # Errors
    /// A gap with the reason.
    fn resolved(&self, path: &ForeignPath) -> Result<ForeignPath, Gap>;

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

    /// The end of a log and, where it is short, of the rotated file too. The size is bounded, and the read is abandoned
    /// when it hangs.
    ///
    /// # Errors
    /// A gap with the reason; only a regular file is opened.
    fn log_tail(&self, path: &ForeignPath, rotated: Option<&ForeignPath>) -> Result<LogTail, Gap>;
}

/// What the queries of supervisors need in addition to the other traits.
pub trait Supervisors {
    /// The workers that read the files and sockets of supervisors.
    ///
    /// # Errors
    /// A gap on a system where no supervisor is queried through its files or sockets.
    fn workers(&self) -> Result<&Workers, Gap>;

    /// Runs a tool of a supervisor as a user, and keeps at most `keep` bytes of its output.
    ///
    /// # Errors
    /// A gap when the system has no such tool, or it cannot be run, or times out.
    fn run_tool(&self, tool: Tool, arguments: Vec<String>, user: Option<u32>, keep: usize) -> Result<Output, Gap>;

    /// The pid of a process in its innermost pid namespace; `None` where it cannot be read, or the system has no
    /// namespaces.
    fn pid_inside(&self, pid: u32) -> Option<u32>;
}

/// The host that is examined.
pub trait Host: Processes + Descriptors + Sockets + Databases + Files + Supervisors {
    /// The machine itself.
    fn facts(&self) -> HostFacts;

    /// Home directory of a user; `None` where the account does not exist or its lookup times out.
    fn user_home(&self, uid: u32) -> Option<PathBuf>;

    /// Home directories that can contain a Hermes home: that of the doctor's user, and as root those of the other
    /// users.
    fn user_homes(&self) -> Collected<Vec<PathBuf>>;
}
