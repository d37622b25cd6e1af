//! Opens foreign paths on Linux. A path is resolved with `O_PATH`, which opens nothing, and then checked. Only then the
//! file is opened for reading through this process's own `/proc/self/fd`, so that its name is not resolved a second
//! time.

use super::rights::{self, Rights};
use super::{Base, Failure, ForeignPath, Namer};
use crate::collect::linux::proc_dir::{ProcDir, own_mounts};
use crate::model::Identity;
use crate::parse::mounts::by_id;
use crate::parse::process::{mount_id, status};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, Stat, fstat, fstatfs, open, openat, openat2, readlinkat,
};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;

/// Largest number of links that are followed in one path, as in the kernel (path_resolution(7)).
const MAX_LINKS: u32 = 40;
/// Attempts to resolve a path while directories above it are renamed (openat2(2), `EAGAIN`).
const MAX_ATTEMPTS: u32 = 8;

/// How the last component of a path is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// A link there is followed.
    Followed,
    /// A link there is the result.
    Itself,
    /// As `Followed`, but every link in a directory of another user is refused: the path is one to connect to.
    Socket,
}

/// A file that was found and is not opened.
pub struct Found {
    descriptor: OwnedFd,
    stat: Stat,
}

/// Finds what a path leads to, with the rights of its namer. They apply until [`super::restore`].
///
/// # Errors
/// [`Failure`], an error of the system or a refusal. Nothing was opened.
pub fn find(path: &ForeignPath, last: Last) -> Result<Found, Failure> {
    let descriptor = descend(begin(path)?, path, last)?;
    let stat = fstat(&descriptor)?;
    if is_kernel_file(&descriptor)? {
        return Err(Failure::Kernel);
    }
    Ok(Found { descriptor, stat })
}

impl Found {
    /// Device of its filesystem.
    pub fn device(&self) -> u64 {
        self.stat.st_dev
    }

    /// Id of the mount that it is on, in any mount namespace (proc_pid_fdinfo(5)).
    pub fn mount(&self) -> Option<u64> {
        let name = format!("fdinfo/{}", self.descriptor.as_raw_fd());
        let read = ProcDir::open(std::process::id()).ok()?.read(&std::ffi::CString::new(name).ok()?).ok()?;
        mount_id(&read)
    }

    /// Inode number.
    pub fn inode(&self) -> u64 {
        self.stat.st_ino
    }

    /// User that owns it.
    pub fn owner(&self) -> u32 {
        self.stat.st_uid
    }

    /// Size in bytes.
    pub fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    /// Last modification in seconds since 1970 and nanoseconds.
    pub fn modified(&self) -> (i64, u64) {
        (self.stat.st_mtime, self.stat.st_mtime_nsec)
    }

    /// Type of the file.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens it for reading: regular files and directories only.
    ///
    /// # Errors
    /// [`Failure::Special`] for anything else; [`Failure::NotReadableBy`] where the user with the rights that apply may
    /// not read it.
    pub fn open(&self) -> Result<File, Failure> {
        let flags = match self.file_type() {
            FileType::RegularFile => OFlags::empty(),
            FileType::Directory => OFlags::DIRECTORY,
            _ => return Err(Failure::Special),
        };
        let flags = flags | OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let own = self.own_name();
        // `O_NOATIME` keeps the access time. Only the owner of the file may use it (open(2)), so a refusal is no error.
        rights::for_each_user(|| {
            let opened = match open(&*own, flags | OFlags::NOATIME, Mode::empty()) {
                Err(Errno::PERM) => open(&*own, flags, Mode::empty()),
                opened => opened,
            };
            opened.map(File::from).map_err(rights::refused)
        })
    }

    /// The text of a link.
    ///
    /// # Errors
    /// Those of readlinkat(2).
    pub fn link(&self) -> Result<Vec<u8>, Failure> {
        Ok(readlinkat(&self.descriptor, "", Vec::new())?.into_bytes())
    }

    /// The path by which the kernel names it. It contains no link.
    ///
    /// # Errors
    /// Those of readlink(2).
    pub fn name(&self) -> Result<Vec<u8>, Failure> {
        Ok(readlinkat(CWD, self.own_name(), Vec::new())?.into_bytes())
    }

    /// Its path below this process's own descriptors.
    pub fn own_name(&self) -> String {
        format!("/proc/self/fd/{}", self.descriptor.as_raw_fd())
    }
}

/// Where a path begins.
struct Start {
    /// The root directory. The path does not leave it.
    root: OwnedFd,
    /// Whether it differs from the doctor's root directory.
    is_elsewhere: bool,
    /// The directory or file at which the path begins.
    here: OwnedFd,
}

/// Finds the beginning of a path, and takes the rights of its namer.
fn begin(path: &ForeignPath) -> Result<Start, Failure> {
    let process = match path.namer {
        Namer::Person => None,
        Namer::User(uid) => {
            Rights::of_user(uid).take()?;
            None
        }
        Namer::Process(identity) => Some(identity),
    };
    let Some(identity) = process else {
        let root = path_only(CWD, "/")?;
        return Ok(Start { here: root.try_clone()?, root, is_elsewhere: false });
    };
    let directory = anchored(identity)?;
    let rights = rights_of(&directory)?;
    let is_own_namespace = is_own(&directory, c"ns/mnt") != Some(false);
    let root = match path.base {
        Base::Namespace if is_own_namespace => path_only(CWD, "/")?,
        _ => root_of(&directory)?,
    };
    let is_elsewhere = !is_own_namespace || !same_file(&fstat(&root)?, &rustix::fs::stat(c"/")?);
    let here = match path.base {
        Base::Root | Base::Namespace => root.try_clone()?,
        Base::WorkingDirectory => path_only(&directory, "cwd")?,
        Base::Descriptor(number) => path_only(&directory, format!("fd/{number}"))?,
    };
    rights.take()?;
    for uid in &path.lowered {
        Rights::of_user(*uid).take()?;
    }
    Ok(Start { root, is_elsewhere, here })
}

/// The root directory of a process. If it may not be read (an ordinary user's doctor, another user's process), the
/// doctor's own root directory is used, because nearly every process has it. In that case every open is limited by
/// the doctor's own rights.
fn root_of(directory: &ProcDir) -> Result<OwnedFd, Failure> {
    match path_only(directory, "root") {
        Err(Errno::ACCESS | Errno::PERM) => Ok(path_only(CWD, "/")?),
        root => Ok(root?),
    }
}

/// Opens `/proc/PID` of a process, so that everything read through it is of that process.
fn anchored(identity: Identity) -> Result<ProcDir, Failure> {
    ProcDir::anchor(identity).map_err(|_| Failure::Vanished)
}

/// The rights of a process. If one of its four user ids is not root's, that id is used: the user that started a
/// set-user-ID program has also chosen its arguments.
fn rights_of(directory: &ProcDir) -> Result<Rights, Failure> {
    let read = directory.read(c"status").map_err(|_| Failure::Vanished)?;
    let status = status(&read).map_err(|error| Failure::Malformed(error.to_string()))?;
    let (uid, gid) = (least_privileged(status.uids), least_privileged(status.gids));
    if uid == 0 && rights::is_root() && is_own(directory, c"ns/user") == Some(false) {
        return Err(Failure::OtherUserNamespace);
    }
    Ok(Rights { uid, gid, groups: status.groups })
}

/// The first of four ids that is not root's, or 0 if all are root's.
pub fn least_privileged(ids: [u32; 4]) -> u32 {
    ids.into_iter().find(|id| *id != 0).unwrap_or(0)
}

/// The user that the paths of a process are opened as. It is read from `status`, which the process cannot delay.
///
/// # Errors
/// [`Failure`] where the process has ended.
pub fn user_of(pid: u32) -> Result<u32, Failure> {
    let read = ProcDir::open(pid)?.read(c"status")?;
    let status = status(&read).map_err(|error| Failure::Malformed(error.to_string()))?;
    Ok(least_privileged(status.uids))
}

/// Takes the rights of a process, and returns its open `/proc/PID`.
///
/// # Errors
/// [`Failure`] where the process has ended, or its rights cannot be taken.
pub fn as_process(identity: Identity) -> Result<ProcDir, Failure> {
    let directory = anchored(identity)?;
    rights_of(&directory)?.take()?;
    Ok(directory)
}

/// Checks that the executable of a process can be opened for reading.
///
/// # Errors
/// [`Failure::NotReadableBy`] where the user with the rights that apply may execute the file but not read it.
pub fn program_is_readable(directory: &ProcDir) -> Result<(), Failure> {
    match openat(directory, "exe", OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) {
        Err(error @ (Errno::ACCESS | Errno::PERM)) if rights::are_lowered() => Err(rights::refused(error)),
        // The later read reports every other error.
        _ => Ok(()),
    }
}

/// Whether a namespace of a process is the doctor's own; `None` where that cannot be read.
pub fn is_own(directory: &ProcDir, name: &'static std::ffi::CStr) -> Option<bool> {
    let own = readlinkat(CWD, [b"/proc/self/", name.to_bytes()].concat(), Vec::new()).ok()?;
    Some(directory.link(name).ok()? == own.into_bytes())
}

fn path_only(directory: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    openat(directory, name, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

fn descend(start: Start, path: &ForeignPath, last: Last) -> Result<OwnedFd, Failure> {
    let Start { root, is_elsewhere, here } = start;
    // Where the rights can change along the path, or the path does not begin at the root, each component is resolved by
    // itself.
    let is_settled = !rights::is_root() || rights::are_lowered();
    let is_from_root = matches!(path.base, Base::Root | Base::Namespace);
    if is_settled && is_from_root && last != Last::Socket && path.lowered.is_empty() {
        // Root's worker checks the owner of each link.
        let links = if rights::is_root() { ResolveFlags::NO_SYMLINKS } else { ResolveFlags::empty() };
        match in_root(&root, &path.path, last, links) {
            Err(error) if is_missing(error) || error == Errno::LOOP => {}
            found => return found.map_err(rights::refused),
        }
    }
    let walked = walk(&root, here, &path.path, last)?;
    if !is_from_root || !is_elsewhere {
        return Ok(walked);
    }
    // In another root directory, openat2(2) must find the same file, if the kernel has that call.
    match in_root(&root, &path.path, last, ResolveFlags::empty()) {
        Err(error) if is_missing(error) => Ok(walked),
        found => {
            let is_same = same_file(&fstat(found.map_err(rights::refused)?)?, &fstat(&walked)?);
            is_same.then_some(walked).ok_or(Failure::System(libc::EAGAIN))
        }
    }
}

/// Whether openat2(2) is missing: a kernel before 5.6, or a filter of system calls.
fn is_missing(error: Errno) -> bool {
    matches!(error, Errno::NOSYS | Errno::PERM | Errno::INVAL)
}

/// Resolves a path by openat2(2), which does not leave the root directory.
fn in_root(root: &OwnedFd, path: &[u8], last: Last, links: ResolveFlags) -> Result<OwnedFd, Errno> {
    let no_link = if last == Last::Itself { OFlags::NOFOLLOW } else { OFlags::empty() };
    let flags = OFlags::PATH | OFlags::CLOEXEC | no_link;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | links;
    let mut attempts = 0;
    loop {
        attempts += 1;
        match openat2(root, path, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) if attempts < MAX_ATTEMPTS => {}
            found => return found,
        }
    }
}

/// Resolves a path component by component.
///
/// Root's rights are lowered at the first directory or link of another user. The rights of any user are lowered at a
/// link that another user has made, because the target of that link was not the namer's choice. `..` goes back along
/// the directories of the walk, and from a working directory upwards to the root directory at most.
fn walk(root: &OwnedFd, start: OwnedFd, path: &[u8], last: Last) -> Result<OwnedFd, Failure> {
    let mut rest: VecDeque<Vec<u8>> = components(path).collect();
    let mut way = Way { here: start, above: Vec::new() };
    let mut links = 0;
    enter(&way.here)?;
    while let Some(name) = rest.pop_front() {
        match &*name {
            b"." => continue,
            b".." => {
                way.up(root)?;
                continue;
            }
            _ => {}
        }
        let is_last = rest.is_empty();
        let found = component(&way.here, &name, is_last)?;
        let stat = fstat(&found)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink && !(is_last && last == Last::Itself) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            // A link of procfs can lead out of every root directory.
            if is_kernel_file(&found)? {
                return Err(Failure::Kernel);
            }
            if last == Last::Socket && is_of_others(fstat(&way.here)?.st_uid) {
                return Err(Failure::LinkOfOthers);
            }
            let directory = fstat(&way.here)?;
            for uid in [owner_of(&found, &stat), owner_of(&way.here, &directory)] {
                if uid != 0 && !rights::users().contains(&uid) {
                    Rights::of_user(uid).take()?;
                }
            }
            let target = readlinkat(&found, "", Vec::new()).map_err(rights::refused)?.into_bytes();
            if target.starts_with(b"/") {
                way = Way { here: root.try_clone()?, above: Vec::new() };
            }
            for name in components(&target).rev() {
                rest.push_front(name);
            }
        } else if is_last {
            enter(&found)?;
            return Ok(found);
        } else {
            enter(&found)?;
            way.down(found);
        }
    }
    Ok(way.here)
}

/// The current directory of a walk, and the directories that led to it.
struct Way {
    here: OwnedFd,
    above: Vec<OwnedFd>,
}

impl Way {
    fn down(&mut self, directory: OwnedFd) {
        self.above.push(std::mem::replace(&mut self.here, directory));
    }

    /// Goes to the parent directory; that of the root directory is itself.
    fn up(&mut self, root: &OwnedFd) -> Result<(), Failure> {
        self.here = match self.above.pop() {
            Some(above) => above,
            None if same_file(&fstat(root)?, &fstat(&self.here)?) => return Ok(()),
            None => {
                let above = component(&self.here, b"..", false)?;
                enter(&above)?;
                above
            }
        };
        Ok(())
    }
}

/// Names of a path, without empty ones.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

/// Resolves one component. A directory in the middle is opened with `O_DIRECTORY`, which triggers an automount
/// (autofs).
fn component(directory: &OwnedFd, name: &[u8], is_last: bool) -> Result<OwnedFd, Failure> {
    rights::for_each_user(|| component_with_these_rights(directory, name, is_last))
}

fn component_with_these_rights(directory: &OwnedFd, name: &[u8], is_last: bool) -> Result<OwnedFd, Failure> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    if !is_last {
        match openat(directory, name, flags | OFlags::DIRECTORY, Mode::empty()) {
            Err(Errno::NOTDIR) => {}
            found => return found.map_err(rights::refused),
        }
    }
    openat(directory, name, flags, Mode::empty()).map_err(rights::refused)
}

/// Lowers root's rights to those of a directory's owner.
fn enter(directory: &OwnedFd) -> Result<(), Failure> {
    let stat = fstat(directory)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if is_directory { rights::lower_to(owner_of(directory, &stat)) } else { Ok(()) }
}

/// The owner of a file. A FUSE filesystem can report any owner, so for its files it is the user that mounted it
/// (`user_id=`, mount.fuse3(8)). For a mount that is not in the doctor's own table it is a user that owns nothing.
pub fn owner_of(file: &OwnedFd, stat: &Stat) -> u32 {
    /// `FUSE_SUPER_MAGIC` of linux/magic.h.
    const FUSE: i64 = 0x6573_5546;
    const OVERFLOW_UID: u32 = 65_534;
    // A filesystem on which fstatfs(2) fails can be a FUSE filesystem too.
    if fstatfs(file).is_ok_and(|found| found.f_type != FUSE) {
        return stat.st_uid;
    }
    mounted_by(file).unwrap_or(OVERFLOW_UID)
}

/// The user that mounted the FUSE filesystem of a file. It is read from the kernel's mount table, not from the
/// filesystem.
pub fn mounted_by(file: &OwnedFd) -> Option<u32> {
    let information = std::fs::read(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    by_id(&own_mounts(), mount_id(&information)?)?.mounted_by()
}

fn is_of_others(uid: u32) -> bool {
    uid != 0 && uid != rustix::process::geteuid().as_raw()
}

fn same_file(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

/// Whether a file is on a filesystem that the kernel generates, where a read can have effects. The constants are those
/// of statfs(2) and of the kernel's include/uapi/linux/magic.h.
///
/// # Errors
/// Those of fstatfs(2).
pub fn is_kernel_file(descriptor: impl AsFd) -> Result<bool, Failure> {
    const MADE_UP: &[u32] = &[
        0x9fa0,      // proc
        0x6265_6572, // sysfs
        0x7472_6163, // tracefs
        0x6462_6720, // debugfs
        0x0027_e0eb, // cgroup
        0x6367_7270, // cgroup2
        0x7363_6673, // securityfs
        0xf97c_ff8c, // selinuxfs
        0x4341_5d53, // smackfs
        0x5a3c_69f0, // AppArmor
        0xcafe_4a11, // bpf
        0x6265_6570, // configfs
        0xde5e_81e4, // efivarfs
        0x6165_676c, // pstore
        0x1cd1,      // devpts
        0x1980_0202, // mqueue
        0x4249_4e4d, // binfmt_misc
        0x6573_5543, // fusectl
        0x6e73_6673, // nsfs
        0x9584_58f6, // hugetlbfs
        0x0765_5821, // resctrl
        0x6759_6969, // rpc_pipefs
        0x6e66_7364, // nfsd
        0xabba_1974, // xenfs
        0x6c6f_6f70, // binder
        0x0904_1934, // anonymous inodes
    ];
    let found = match fstatfs(descriptor) {
        // A FUSE server that does not implement the query; the kernel's filesystems all do.
        Err(Errno::NOSYS) => return Ok(false),
        found => found?,
    };
    // The type is a machine word with the constant in its lower half.
    let [a, b, c, d, ..] = found.f_type.to_le_bytes();
    Ok(MADE_UP.contains(&u32::from_le_bytes([a, b, c, d])))
}
