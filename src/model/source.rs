//! Where a fact was read: the interface of the operating system, a file, a supervisor, or an exchange.

use super::{Lineage, Process, Server, SupervisorKind};
use std::fmt;

/// The operating system on which the facts were read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Os {
    /// Linux: procfs and sock_diag.
    #[default]
    Linux,
    /// macOS: libproc and sysctl(3).
    MacOs,
}

impl Os {
    /// The system with this name in `HostFacts`. Without a name, as in a record, it is that of the doctor.
    pub fn named(name: &str) -> Self {
        let name = if name.is_empty() { std::env::consts::OS } else { name };
        if name == "macos" { Self::MacOs } else { Self::Linux }
    }

    /// The system of the facts of a server. On Linux every process has a pid namespace and a control group.
    pub fn of(server: &Server) -> Self {
        let is_process = |process: &Process| process.namespace_pids.is_empty() && process.cgroup.is_none();
        let is_lineage = |lineage: &Lineage| lineage.supervisor.kind == SupervisorKind::Launchd;
        let is_mac = match &server.process {
            Some(process) => is_process(process),
            None => server.lineage.as_ref().is_some_and(is_lineage),
        };
        if is_mac { Self::MacOs } else { Self::Linux }
    }
}

/// A part of what the kernel reports about one process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessFile {
    /// Whether it exists, and what it is (`/proc/PID`).
    Itself,
    /// State, parent and CPU time (`stat`).
    Stat,
    /// State, threads and tracer (`status`).
    Status,
    /// Its arguments (`cmdline`).
    CommandLine,
    /// Its environment (`environ`).
    Environment,
    /// Its resource limits (`limits`). No public interface of macOS reports them.
    Limits,
    /// Its open descriptors (`fd`).
    Descriptors,
    /// One open descriptor.
    Descriptor(u32),
    /// Its threads (`task`).
    Threads,
}

/// Where a fact was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel, about the process with this pid; `None` if the pid is unknown.
    Process(Option<u32>, ProcessFile),
    /// The descriptors of a process, and the sockets that they belong to.
    OwnSockets(Option<u32>),
    /// The descriptors of a process, and the table of file locks.
    OwnLocks(u32),
    /// The sockets of the host.
    Sockets,
    /// The sockets of the host, and the processes that have them open.
    SocketHolders,
    /// The table of file locks.
    Locks,
    /// A file of the Linux kernel about the whole host.
    Kernel(&'static str),
    /// A control group: its path and the version of the hierarchy, which can be mounted at any place.
    ControlGroup(String, u8),
    /// All processes.
    ProcessTable,
    /// The HTTP request of the doctor.
    HttpProbe,
    /// The clock of the doctor.
    Clock,
    /// A file of a database: its name with the suffix.
    DatabaseFile(String),
    /// A log file or journal.
    Log(String),
    /// The answer of a supervisor to a query.
    Supervisor(String),
    /// Anything else, in words.
    Words(String),
    /// A source that was sampled more than once, with when or how.
    Sampled(Box<Source>, String),
}

impl Source {
    /// The kernel, about one process.
    pub fn process(pid: impl Into<Option<u32>>, file: ProcessFile) -> Self {
        Self::Process(pid.into(), file)
    }

    /// The descriptors of a process.
    pub fn descriptors(pid: impl Into<Option<u32>>) -> Self {
        Self::process(pid, ProcessFile::Descriptors)
    }

    /// The resource limits of a process.
    pub fn limits(pid: impl Into<Option<u32>>) -> Self {
        Self::process(pid, ProcessFile::Limits)
    }

    /// The same source, with when or how it was sampled.
    #[must_use]
    pub fn sampled(self, how: impl Into<String>) -> Self {
        Self::Sampled(Box::new(self), how.into())
    }

    /// The name of the source on this operating system.
    pub fn on(&self, os: Os) -> String {
        match (self, os) {
            (Self::Process(pid, file), Os::Linux) => linux_file(*pid, *file),
            (Self::Process(pid, file), Os::MacOs) => mac_call(*pid, *file),
            (Self::OwnSockets(pid), Os::Linux) => {
                format!("{} and sock_diag", linux_file(*pid, ProcessFile::Descriptors))
            }
            (Self::OwnSockets(pid), Os::MacOs) => mac_call(*pid, ProcessFile::Descriptors),
            (Self::OwnLocks(pid), Os::Linux) => format!("/proc/{pid}/fd and /proc/locks"),
            (Self::OwnLocks(pid), Os::MacOs) => {
                format!("{} and fcntl(F_GETLK)", mac_call(Some(*pid), ProcessFile::Descriptors))
            }
            (Self::Sockets, Os::Linux) => "sock_diag".to_owned(),
            (Self::SocketHolders, Os::Linux) => "sock_diag and /proc/PID/fd".to_owned(),
            (Self::Sockets | Self::SocketHolders, Os::MacOs) => "proc_pidfdinfo".to_owned(),
            (Self::Locks, Os::Linux) => "/proc/locks".to_owned(),
            (Self::Locks, Os::MacOs) => "fcntl(F_GETLK)".to_owned(),
            (Self::Kernel(file), _) => (*file).to_owned(),
            (Self::ControlGroup(path, version), _) => format!("control group {path} (version {version})"),
            (Self::ProcessTable, _) => "process table".to_owned(),
            (Self::HttpProbe, _) => "HTTP probe".to_owned(),
            (Self::Clock, _) => "clock".to_owned(),
            (Self::DatabaseFile(name) | Self::Log(name) | Self::Supervisor(name) | Self::Words(name), _) => {
                name.clone()
            }
            (Self::Sampled(source, how), os) => format!("{}, {how}", source.on(os)),
        }
    }
}

/// The name on Linux.
impl fmt::Display for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.on(Os::Linux))
    }
}

impl From<&str> for Source {
    fn from(words: &str) -> Self {
        Self::Words(words.to_owned())
    }
}

impl From<String> for Source {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

/// The file below `/proc` (proc(5)).
fn linux_file(pid: Option<u32>, file: ProcessFile) -> String {
    let pid = pid_text(pid);
    match file {
        ProcessFile::Itself => format!("/proc/{pid}"),
        ProcessFile::Stat => format!("/proc/{pid}/stat"),
        ProcessFile::Status => format!("/proc/{pid}/status"),
        ProcessFile::CommandLine => format!("/proc/{pid}/cmdline"),
        ProcessFile::Environment => format!("/proc/{pid}/environ"),
        ProcessFile::Limits => format!("/proc/{pid}/limits"),
        ProcessFile::Descriptors => format!("/proc/{pid}/fd"),
        ProcessFile::Descriptor(number) => format!("/proc/{pid}/fd/{number}"),
        ProcessFile::Threads => format!("/proc/{pid}/task"),
    }
}

/// The call of libproc (libproc.h) or sysctl(3) that `collect/macos` makes for the same fact.
fn mac_call(pid: Option<u32>, file: ProcessFile) -> String {
    let call = match file {
        ProcessFile::Itself | ProcessFile::Stat => "sysctl KERN_PROC of",
        ProcessFile::Status => "proc_pidinfo of",
        ProcessFile::CommandLine | ProcessFile::Environment => "sysctl KERN_PROCARGS2 of",
        ProcessFile::Limits => "no public interface reports the limits of",
        ProcessFile::Descriptors | ProcessFile::Descriptor(_) => "proc_pidfdinfo of",
        ProcessFile::Threads => "proc_pidinfo of the threads of",
    };
    format!("{call} pid {}", pid_text(pid).trim_start_matches("PID"))
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| "PID".to_owned(), |pid| pid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_its_name_on_each_system() {
        let twice = |source: Source| source.sampled("sampled twice");
        for (source, linux, mac) in [
            (Source::descriptors(7), "/proc/7/fd", "proc_pidfdinfo of pid 7"),
            (Source::OwnSockets(Some(7)), "/proc/7/fd and sock_diag", "proc_pidfdinfo of pid 7"),
            (Source::OwnLocks(7), "/proc/7/fd and /proc/locks", "proc_pidfdinfo of pid 7 and fcntl(F_GETLK)"),
            (Source::process(7, ProcessFile::Stat), "/proc/7/stat", "sysctl KERN_PROC of pid 7"),
            (Source::process(7, ProcessFile::CommandLine), "/proc/7/cmdline", "sysctl KERN_PROCARGS2 of pid 7"),
            (
                twice(Source::process(7, ProcessFile::Threads)),
                "/proc/7/task, sampled twice",
                "proc_pidinfo of the threads of pid 7, sampled twice",
            ),
            (twice(Source::Locks), "/proc/locks, sampled twice", "fcntl(F_GETLK), sampled twice"),
            (Source::SocketHolders, "sock_diag and /proc/PID/fd", "proc_pidfdinfo"),
            (Source::Sockets, "sock_diag", "proc_pidfdinfo"),
            (Source::HttpProbe, "HTTP probe", "HTTP probe"),
        ] {
            assert_eq!((source.on(Os::Linux).as_str(), source.on(Os::MacOs).as_str()), (linux, mac));
        }
    }
}
