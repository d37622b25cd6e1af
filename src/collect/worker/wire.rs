//! The requests and answers that cross the pipes of a worker: postcard, a compact format of serde, in frames of a
//! length and that many bytes. Paths and other text of the host are bytes here.

use crate::collect::foreign::{Failure, ForeignPath, Login, Peer};
use crate::model::text::printable;
use crate::model::{GapSubject, HostPath, Identity};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::HashMap;
use std::net::IpAddr;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Numbers of the host as a whole. [`Answer::Host`].
    Host,
    /// Paths of control groups by their ids. [`Answer::Groups`].
    ControlGroups(GroupSearch),
    /// Arguments of a process, NUL-separated. [`Answer::Bytes`].
    CommandLine(u32),
    /// Supervisor markers and homes in the environment of a process, NUL-separated. No other variable leaves the
    /// worker. [`Answer::Bytes`].
    Markers(u32),
    /// First bytes of a kernel file, by a path that this program made: below `/proc` or a control group.
    /// [`Answer::Bytes`].
    KernelFile {
        /// The path.
        path: ByteBuf,
        /// Largest number of bytes.
        limit: u32,
    },
    /// Target of a kernel link, by a path that this program made: below `/proc/PID`. [`Answer::Bytes`].
    KernelLink(ByteBuf),
    /// The user that reads about a subject are charged to. [`Answer::User`].
    Accountable(Subject),
    /// Metadata of a kernel file, by a path as in [`Request::KernelFile`]. [`Answer::Stat`].
    KernelStat(ByteBuf),
    /// The numeric names in a kernel directory, such as the threads in `/proc/PID/task`. [`Answer::Numbers`].
    KernelNumbers(ByteBuf),
    /// Target of a descriptor's link. [`Answer::Bytes`].
    DescriptorLink(Identity, u32),
    /// Links of the descriptors of a process, as many as fit into one answer. [`Answer::Links`].
    DescriptorLinks {
        /// The process.
        pid: u32,
        /// The first descriptor.
        first: u32,
        /// The prefix of the targets to return; other links are counted and left out.
        beginning: ByteBuf,
    },
    /// Ids of the mounts that descriptors are on (proc_pid_fdinfo(5)), `None` for a descriptor that is closed.
    /// [`Answer::Mounts`].
    DescriptorMounts(Identity, Vec<u32>),
    /// What descriptors are open on, `None` for a descriptor that is closed or refused. [`Answer::Descriptors`].
    DescriptorStats(Identity, Vec<u32>),
    /// Records of all descriptors of a process on macOS ([`crate::parse::darwin::descriptor`]). A worker reads them,
    /// because a query for a file's path goes to its filesystem. [`Answer::Bytes`].
    DescriptorRecords(u32),
    /// Python stacks of a process, as JSON (`collect::stacks`). [`Answer::Bytes`].
    Stacks(Identity),
    /// The account of a user, from passwd(5) or a name service. [`Answer::Account`].
    Account(u32),
    /// Home directories of the accounts in passwd(5). [`Answer::Names`].
    Homes,
    /// Addresses of a host name. [`Answer::Addresses`].
    Resolve(String),
    /// Metadata of what a path leads to. [`Answer::Stat`].
    Stat(ForeignPath),
    /// Bytes of a regular file. [`Answer::File`].
    Read {
        /// The file.
        path: ForeignPath,
        /// Offset of the first byte.
        offset: u64,
        /// Largest number of bytes.
        limit: u32,
    },
    /// Names in a directory. [`Answer::Names`].
    List {
        /// The directory.
        path: ForeignPath,
        /// The text that each name contains.
        containing: String,
        /// Largest number of entries, matching or not.
        limit: u32,
    },
    /// Target of a link. [`Answer::Bytes`].
    Link(ForeignPath),
    /// The path of a file without links, as the links of descriptors have it. For a missing file it is the path of its
    /// directory, joined with its name. [`Answer::Name`].
    Name(ForeignPath),
    /// Locks on a file in these ranges of start and length, by `F_GETLK` of fcntl(2); no lock is taken. One line
    /// `START LENGTH w|r PID` for each lock. [`Answer::Bytes`].
    Locks(ForeignPath, Vec<(u64, u64)>),
    /// A message to a supervisor on its Unix socket, and the answer. [`Answer::Bytes`].
    Exchange {
        /// The socket.
        socket: ForeignPath,
        /// The process that must listen on it.
        peer: Peer,
        /// The message without credentials.
        message: ByteBuf,
        /// The message with credentials.
        login: Option<Login>,
        /// Where the answer ends.
        until: Until,
    },
    /// A system tool, run to its end. [`Answer::Output`].
    Run {
        /// The tool.
        tool: Tool,
        /// Its arguments.
        arguments: Vec<String>,
        /// The user that it runs as, with the manager and bus of that user; `None` for the doctor's own.
        user: Option<u32>,
        /// Bytes of its output that are kept, from the end.
        keep: u32,
    },
}

/// What a read is about, for the limits per user.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Subject {
    /// A process: charged to the user that its paths are opened as.
    Process(u32),
    /// A user id: a subordinate id is charged to its owner (subuid(5)).
    User(u32),
    /// A path by its text: below the home directory of an account it is charged to that account.
    Path(ByteBuf),
}

/// The end of an exchange's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Until {
    /// The peer closes the connection.
    Close,
    /// One message of pm2 is complete; its daemon keeps the connection open.
    Pm2Message,
}

/// A system tool that is run for its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Tool {
    /// systemctl(1).
    Systemctl,
    /// journalctl(1).
    Journalctl,
    /// launchctl(1).
    Launchctl,
}

impl Tool {
    /// Name of its executable.
    pub fn name(self) -> &'static str {
        match self {
            Self::Systemctl => "systemctl",
            Self::Journalctl => "journalctl",
            Self::Launchctl => "launchctl",
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Numbers of the host.
    Host(HostNumbers),
    /// The control groups that were found.
    Groups(GroupsFound),
    /// Bytes.
    Bytes(ByteBuf),
    /// Names.
    Names(Vec<ByteBuf>),
    /// The path of the same file without links, with the rights that applied when it was found.
    Name(ForeignPath),
    /// Metadata.
    Stat(FileStat),
    /// Content of a file.
    File(FileContent),
    /// What descriptors are open on.
    Descriptors(Vec<Option<DescriptorStat>>),
    /// Links of descriptors.
    Links(DescriptorLinks),
    /// Ids of mounts.
    Mounts(Vec<Option<u64>>),
    /// Numbers.
    Numbers(Vec<u32>),
    /// A user.
    User(u32),
    /// An account.
    Account(Account),
    /// Addresses.
    Addresses(Vec<IpAddr>),
    /// Output of a tool.
    Output(Output),
}

/// What a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileKind {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// Metadata of a file (stat(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStat {
    /// Kind of the file.
    pub kind: FileKind,
    /// Device of its filesystem.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// The user accountable for it: its owner or, where that is root, the user that it was opened as.
    pub owner: u32,
    /// Size in bytes.
    pub size: u64,
    /// Last modification in nanoseconds since 1970.
    pub modified_ns: u64,
}

/// Content of a file, and its metadata at the time of the open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileContent {
    /// The bytes.
    pub bytes: ByteBuf,
    /// Its owner.
    pub owner: u32,
    /// The user that the file was opened as.
    pub reader: u32,
    /// Last modification in nanoseconds since 1970.
    pub modified_ns: u64,
}

/// What one descriptor is open on (statx(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorStat {
    /// Type and mode bits.
    pub mode: u16,
    /// Links to the file.
    pub links: u32,
    /// Size in bytes.
    pub size: u64,
}

/// A search for control groups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupSearch {
    /// Mount point of the tree.
    pub root: ByteBuf,
    /// Inode numbers of the groups' directories.
    pub ids: Vec<u64>,
    /// Paths below the root that are tried first.
    pub hints: Vec<String>,
}

/// The result of a search for control groups.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupsFound {
    /// Ids and paths, relative to the root.
    pub paths: HashMap<u64, String>,
    /// Number of groups that were read when the search was stopped early.
    pub stopped_after: Option<u32>,
}

/// Numbers of the host; `None` where one cannot be read, or does not exist on this system.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostNumbers {
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Available memory in bytes.
    pub memory_available_bytes: Option<u64>,
    /// Load average of one minute, in hundredths.
    pub load_hundredths: Option<u32>,
    /// Open files, proc_sys_fs(5).
    pub files: Option<u64>,
    /// Limit of open files.
    pub files_max: Option<u64>,
    /// Processes and threads, proc_loadavg(5).
    pub tasks: Option<u64>,
    /// `kernel.threads-max`.
    pub threads_max: Option<u64>,
    /// `kernel.pid_max`.
    pub pid_max: Option<u64>,
}

/// Links of the descriptors of a process; all targets are in one buffer, since there can be a million of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DescriptorLinks {
    /// Numbers of the descriptors, with the length of the target or the error number of readlink(2).
    links: Vec<(u32, Result<u32, i32>)>,
    /// The targets one after another.
    targets: ByteBuf,
    /// The descriptor at which the next page begins; `None` where these links were the last.
    pub next: Option<u32>,
}

/// The link of one descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DescriptorLink<'a> {
    /// Number of the descriptor.
    pub number: u32,
    /// Its target, or the error number of readlink(2).
    pub target: Result<&'a [u8], i32>,
}

impl DescriptorLinks {
    /// Adds a link at the end.
    pub fn push(&mut self, link: DescriptorLink<'_>) {
        let length = link.target.map(|target| {
            self.targets.extend_from_slice(target);
            u32::try_from(target.len()).unwrap_or(u32::MAX)
        });
        self.links.push((link.number, length));
    }

    /// Bytes of all targets.
    pub fn target_bytes(&self) -> usize {
        self.targets.len()
    }

    /// The links in their order.
    pub fn iter(&self) -> impl Iterator<Item = DescriptorLink<'_>> {
        let mut rest: &[u8] = &self.targets;
        self.links.iter().map(move |(number, length)| {
            let target = length.map(|length| {
                let (target, after) = rest.split_at(rest.len().min(usize::try_from(length).unwrap_or(usize::MAX)));
                rest = after;
                target
            });
            DescriptorLink { number: *number, target }
        })
    }
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Login name.
    pub name: ByteBuf,
    /// Home directory.
    pub home: ByteBuf,
}

/// Output of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Output {
    /// The last bytes of its standard output, or of its standard error where its standard output is empty.
    pub bytes: ByteBuf,
    /// Total size of standard output in bytes.
    pub total: u64,
    /// Whether it exited with status 0.
    pub is_success: bool,
}

impl Request {
    /// The path that the request is about.
    pub fn path(&self) -> Option<&ForeignPath> {
        match self {
            Self::Stat(path)
            | Self::Read { path, .. }
            | Self::List { path, .. }
            | Self::Link(path)
            | Self::Name(path)
            | Self::Locks(path, _) => Some(path),
            Self::Exchange { socket, .. } => Some(socket),
            _ => None,
        }
    }

    /// The process that can delay the answer. It cannot delay its `status`, which takes no lock.
    pub fn process(&self) -> Option<u32> {
        match self {
            Self::CommandLine(pid)
            | Self::Markers(pid)
            | Self::DescriptorRecords(pid)
            | Self::DescriptorLinks { pid, .. } => Some(*pid),
            Self::Stacks(process)
            | Self::DescriptorLink(process, _)
            | Self::DescriptorStats(process, _)
            | Self::DescriptorMounts(process, _) => Some(process.pid),
            Self::KernelFile { path, .. }
            | Self::KernelLink(path)
            | Self::KernelStat(path)
            | Self::KernelNumbers(path) => {
                crate::parse::process::pid_in(path).filter(|_| !path.ends_with(b"/status"))
            }
            Self::Accountable(_) => None,
            _ => Some(self.path()?.process()?.pid),
        }
    }

    /// Whether the request is for more than the first page of the descriptors of a process. Each page is short, but a
    /// process can have very many pages.
    pub fn is_further_page(&self) -> bool {
        matches!(self, Self::DescriptorLinks { first, .. } if *first > 0)
    }

    /// The subject that the request is charged to.
    pub fn subject(&self) -> Option<Subject> {
        let of_path = |path: &ForeignPath| {
            path.user().map_or_else(|| Subject::Path(ByteBuf::from(path.bytes())), Subject::User)
        };
        self.process().map(Subject::Process).or_else(|| self.path().map(of_path))
    }

    /// A key for what the answer waits for. While one request with this key is unanswered, no other with this key is
    /// made. The key includes the namer, because two processes can have different files with the same name.
    pub fn waits_for(&self) -> String {
        self.path().map_or_else(|| self.what().to_string(), |path| format!("{path:?}"))
    }

    /// What the request is for, as a gap names it.
    pub fn what(&self) -> GapSubject {
        match self {
            Self::CommandLine(pid) => GapSubject::CommandLine { pid: *pid },
            Self::Markers(pid) => GapSubject::SupervisorMarkers { pid: *pid },
            Self::Accountable(Subject::Process(pid)) => GapSubject::UserOf { pid: *pid },
            Self::Accountable(Subject::User(uid)) => GapSubject::SubordinateUser { uid: *uid },
            Self::Accountable(Subject::Path(path)) => GapSubject::HomeAccount { path: printable(path).into() },
            Self::Account(uid) => GapSubject::User { uid: *uid },
            Self::ControlGroups(_) => GapSubject::ControlGroupsOfSockets,
            Self::Host => GapSubject::HostNumbers,
            Self::Homes => GapSubject::HomeDirectories,
            Self::Resolve(name) => GapSubject::HostAddresses { name: printable(name.as_bytes()).into() },
            Self::Stacks(process) => GapSubject::PythonStacksOf { pid: process.pid },
            Self::DescriptorRecords(pid) => GapSubject::DescriptorsOf { pid: *pid },
            Self::DescriptorLink(process, number) => GapSubject::DescriptorOf { number: *number, pid: process.pid },
            Self::DescriptorLinks { pid, .. } => GapSubject::DescriptorsOf { pid: *pid },
            Self::DescriptorStats(process, _) => GapSubject::DescriptorFiles { pid: process.pid },
            Self::DescriptorMounts(process, _) => GapSubject::DescriptorMounts { pid: process.pid },
            Self::KernelFile { path, .. }
            | Self::KernelLink(path)
            | Self::KernelStat(path)
            | Self::KernelNumbers(path) => GapSubject::Path { path: HostPath::new(path.to_vec()) },
            Self::Exchange { socket, .. } => GapSubject::Answer { path: socket.shown().into() },
            Self::Run { tool, user: None, .. } => tool.name().into(),
            // A timeout of one user's manager must not block requests to another user's manager.
            Self::Run { tool, user: Some(user), .. } => GapSubject::ToolOf { name: tool.name().into(), uid: *user },
            Self::Stat(path)
            | Self::Read { path, .. }
            | Self::List { path, .. }
            | Self::Link(path)
            | Self::Name(path)
            | Self::Locks(path, _) => GapSubject::Path { path: path.shown().into() },
        }
    }
}

/// What a worker sends back for a request.
pub type Reply = Result<Answer, Failure>;

#[cfg(test)]
mod tests;
