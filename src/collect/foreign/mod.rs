//! Paths that another process or user has named, and the only module that opens them.
//!
//! A path is foreign when it came from arguments, an environment, a working directory, a descriptor, a configuration, a
//! unit, a pid file or a home. [`ForeignPath`] records which process or user named it, so that the worker opens it with
//! no more rights than that one has. It is not a [`std::path::Path`], and only this module turns it into a file.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod macos;
mod rights;
mod socket;

#[cfg(target_os = "linux")]
use linux as system;
#[cfg(not(target_os = "linux"))]
use macos as system;

pub use rights::{Rights, are_lowered, reader, restore};
pub use socket::{Login, Peer, exchange};
pub use system::user_of;
pub use system::{Found, Last, find};
#[cfg(target_os = "linux")]
pub use system::{as_process, is_kernel_file, is_own, mounted_by, owner_of, program_is_readable};

use crate::model::text::printable;
use crate::model::{Gap, GapDetail, GapReason, GapSubject, Identity};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The process or user that named a path. The path is opened with the rights of that user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Namer {
    /// The user at the command line, the system's own configuration, or this program. As root, root's rights end at the
    /// first directory or link that belongs to another user; that user's rights apply below it.
    Person,
    /// A process: the rights of its user and groups apply, below its root directory.
    Process(Identity),
    /// A user, in a configuration of their own.
    User(u32),
}

/// The directory or file at which a path of a process begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Base {
    /// Its root directory (`/proc/PID/root`), for names that the process itself uses.
    Root,
    /// The root of its mount namespace, for names that the kernel gives to its open files.
    Namespace,
    /// Its working directory (`/proc/PID/cwd`).
    WorkingDirectory,
    /// The file of one of its descriptors (`/proc/PID/fd/N`).
    Descriptor(u32),
}

/// A path and its namer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ForeignPath {
    namer: Namer,
    base: Base,
    path: ByteBuf,
    /// Owners of links on the way to the file, other than the namer: their rights must permit access as well.
    lowered: Vec<u32>,
}

impl ForeignPath {
    fn new(namer: Namer, base: Base, path: &Path) -> Self {
        Self { namer, base, path: ByteBuf::from(path.as_os_str().as_bytes()), lowered: Vec::new() }
    }

    /// A path that the user named, or that belongs to the system. A relative path is relative to the working directory
    /// of this program.
    pub fn of_person(path: &Path) -> Self {
        let absolute = std::path::absolute(path);
        Self::new(Namer::Person, Base::Root, absolute.as_deref().unwrap_or(path))
    }

    /// A path that a user's configuration names.
    pub fn of_user(uid: u32, path: &Path) -> Self {
        Self::new(Namer::User(uid), Base::Root, path)
    }

    /// A path that a process uses: below its root directory or, where it is relative, below its working directory.
    pub fn of_process(process: Identity, path: &Path) -> Self {
        let base = if path.is_absolute() { Base::Root } else { Base::WorkingDirectory };
        Self::new(Namer::Process(process), base, path)
    }

    /// A path of a process, or one of the user where `process` is `None`.
    pub fn of(process: Option<Identity>, path: &Path) -> Self {
        process.map_or_else(|| Self::of_person(path), |process| Self::of_process(process, path))
    }

    /// A path by which the kernel names an open file of a process.
    pub fn of_link(process: Identity, path: &Path) -> Self {
        Self::new(Namer::Process(process), Base::Namespace, path)
    }

    /// The working directory of a process.
    pub fn working_directory(process: Identity) -> Self {
        Self::new(Namer::Process(process), Base::WorkingDirectory, Path::new(""))
    }

    /// The file that a descriptor of a process is open on.
    pub fn descriptor(process: Identity, number: u32) -> Self {
        Self::new(Namer::Process(process), Base::Descriptor(number), Path::new(""))
    }

    /// A path that is named in a file of `owner`, which was read with the rights of `reader`. The namer is the owner,
    /// or the reader where the owner is root.
    pub fn of_file(owner: u32, reader: u32, path: &Path) -> Self {
        match (owner, reader) {
            (0, 0) => Self::of_person(path),
            (0, uid) | (uid, _) => Self::of_user(uid, path),
        }
    }

    /// The same file by the kernel's name for it, restricted to the rights that applied when it was found.
    #[must_use]
    pub fn resolved_to(&self, name: &Path) -> Self {
        let users = rights::users();
        match self.namer {
            Namer::Process(process) => {
                let own = user_of(process.pid).ok();
                let lowered = users.into_iter().filter(|uid| Some(*uid) != own).collect();
                Self { lowered, ..Self::of_link(process, name) }
            }
            Namer::Person | Namer::User(_) => match users.split_last() {
                None => Self::of_person(name),
                Some((last, others)) => Self { lowered: others.to_vec(), ..Self::of_user(*last, name) },
            },
        }
    }

    /// The user that named it; `None` for a process, the command line and the system.
    pub fn user(&self) -> Option<u32> {
        match self.namer {
            Namer::User(uid) => Some(uid),
            Namer::Person | Namer::Process(_) => None,
        }
    }

    /// A path below this one. An absolute `name` begins at the root directory, as it does for a process.
    #[must_use]
    pub fn join(&self, name: impl AsRef<Path>) -> Self {
        let name = name.as_ref();
        let base = match self.base {
            Base::WorkingDirectory | Base::Descriptor(_) if name.is_absolute() => Base::Root,
            base => base,
        };
        Self { lowered: self.lowered.clone(), ..Self::new(self.namer, base, &self.path().join(name)) }
    }

    /// The path with a suffix to its last name, such as `-wal`.
    #[must_use]
    pub fn with_suffix(&self, suffix: &str) -> Self {
        let mut found = self.clone();
        found.path.extend_from_slice(suffix.as_bytes());
        found
    }

    /// The directory of this path, and the name in it; `None` for a root directory and for a path without a name.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        let path = self.path();
        let name = path.file_name()?.as_bytes();
        Some((Self { lowered: self.lowered.clone(), ..Self::new(self.namer, self.base, path.parent()?) }, name))
    }

    /// Its text, safe to print.
    pub fn shown(&self) -> String {
        match (self.namer, self.base) {
            (Namer::Process(process), Base::Descriptor(number)) => {
                GapSubject::DescriptorOf { number, pid: process.pid }.to_string()
            }
            (Namer::Process(process), Base::WorkingDirectory) if self.path.is_empty() => {
                GapSubject::WorkingDirectory { pid: process.pid }.to_string()
            }
            _ => printable(&self.path),
        }
    }

    /// The process that named it.
    pub fn process(&self) -> Option<Identity> {
        match self.namer {
            Namer::Process(process) => Some(process),
            Namer::Person | Namer::User(_) => None,
        }
    }

    /// Its bytes, only for comparison with other names.
    pub fn bytes(&self) -> &[u8] {
        &self.path
    }

    fn path(&self) -> &Path {
        Path::new(std::ffi::OsStr::from_bytes(&self.path))
    }
}

/// Why a foreign path was not opened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Failure {
    /// An error of the system, by its number.
    System(i32),
    /// The user with the rights that apply may not read it.
    NotReadableBy(u32),
    /// Neither a regular file nor a directory: an open of it can have effects.
    Special,
    /// A file of the kernel (procfs, sysfs, tracefs …): a read of it can have effects.
    Kernel,
    /// This process could not take the rights of this user, so it opened nothing.
    Rights(u32),
    /// A process of root in another user namespace: it does not have root's rights here.
    OtherUserNamespace,
    /// A link in a directory of another user, on the way to a socket.
    LinkOfOthers,
    /// A socket that was not queried, and the reason.
    NotAsked(String),
    /// The process that named it has ended, or its pid belongs to another process.
    Vanished,
    /// Larger than the limit.
    TooLarge,
    /// The content cannot be parsed.
    Malformed(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::System(error.raw_os_error().unwrap_or(libc::EINVAL))
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(error: rustix::io::Errno) -> Self {
        Self::System(error.raw_os_error())
    }
}

impl Failure {
    /// The gap that it leaves, where `what` names the missing fact.
    pub fn gap(&self, what: impl Into<GapSubject>) -> Gap {
        match self {
            Self::System(libc::EACCES | libc::EPERM) => Gap::new(what, GapReason::Permission, ""),
            Self::System(libc::ENOTDIR) => Gap::new(what, GapReason::NotFound, GapDetail::ComponentIsNoDirectory),
            Self::System(code) => Gap::from_io(what, &io::Error::from_raw_os_error(*code)),
            Self::NotReadableBy(uid) => {
                Gap::new(what, GapReason::Permission, GapDetail::NotReadableByOwner { uid: *uid })
            }
            Self::Special => Gap::new(what, GapReason::NotAsked, GapDetail::SpecialFile),
            Self::Kernel => Gap::new(what, GapReason::NotAsked, GapDetail::KernelFile),
            Self::Rights(uid) => {
                let detail = GapDetail::RightsOf { uid: *uid };
                Gap::new(what, GapReason::Permission, detail)
            }
            Self::OtherUserNamespace => {
                let detail = GapDetail::OtherUserNamespace;
                Gap::new(what, GapReason::Permission, detail)
            }
            Self::LinkOfOthers => Gap::new(what, GapReason::NotAsked, GapDetail::LinkOfOthers),
            Self::NotAsked(why) => Gap::new(what, GapReason::NotAsked, why.clone()),
            Self::Vanished => Gap::new(what, GapReason::Vanished, GapDetail::Vanished),
            Self::TooLarge => Gap::new(what, GapReason::Malformed, GapDetail::LargerThanLimit),
            Self::Malformed(why) => Gap::new(what, GapReason::Malformed, why.clone()),
        }
    }
}
