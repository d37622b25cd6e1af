//! Opens foreign paths on macOS, which has no `O_PATH`. Every component is checked with fstatat(2) relative to its open
//! directory, the system follows no link, and the opened file must be the one that was checked.

use super::rights::{self, Rights};
use super::{Base, Failure, ForeignPath, Namer};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat, fstat, getpath, openat, readlinkat, statat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;

/// Largest number of links that are followed in one path (`MAXSYMLINKS`, sys/param.h).
const MAX_LINKS: u32 = 32;

/// How the last component of a path is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last {
    /// A link there is followed.
    Followed,
    /// A link there is the result.
    Itself,
}

/// A file that was found and is not opened.
pub struct Found {
    directory: OwnedFd,
    name: Vec<u8>,
    stat: Stat,
}

/// Finds what a path leads to, with the rights of its namer. They apply until [`super::restore`].
///
/// # Errors
/// [`Failure`]. Only directories were opened.
pub fn find(path: &ForeignPath, last: Last) -> Result<Found, Failure> {
    let mut rest: VecDeque<Vec<u8>> = components(&path.path).collect();
    match path.namer {
        Namer::Person => {}
        Namer::User(uid) => Rights::of_user(uid).take()?,
        Namer::Process(identity) => {
            let uid = crate::collect::macos::owner_of(identity).ok_or(Failure::Vanished)?;
            if path.base == Base::WorkingDirectory {
                let directory = crate::collect::macos::directory_of(identity)?;
                for name in components(&directory).rev() {
                    rest.push_front(name);
                }
            }
            Rights::of_user(uid).take()?;
        }
    }
    if matches!(path.base, Base::Descriptor(_)) {
        return Err(Failure::System(libc::ENOTSUP));
    }
    walk(rest, last)
}

/// The user that the paths of a process are opened as.
///
/// # Errors
/// [`Failure`] where the process has ended.
pub fn user_of(pid: u32) -> Result<u32, Failure> {
    crate::collect::macos::user_of(pid).ok_or(Failure::Vanished)
}

impl Found {
    /// Type of the file.
    pub fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Device of its filesystem.
    pub fn device(&self) -> u64 {
        u64::from(u32::from_ne_bytes(self.stat.st_dev.to_ne_bytes()))
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
        (self.stat.st_mtime, u64::try_from(self.stat.st_mtime_nsec).unwrap_or(0))
    }

    /// Opens it for reading: regular files and directories only.
    ///
    /// # Errors
    /// [`Failure::Special`] for anything else; [`Failure::NotReadableBy`] where the user with the rights that apply may
    /// not read it.
    pub fn open(&self) -> Result<File, Failure> {
        if !matches!(self.file_type(), FileType::RegularFile | FileType::Directory) {
            return Err(Failure::Special);
        }
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(&self.directory, &*self.name, flags, Mode::empty()).map_err(rights::refused)?;
        let stat = fstat(&opened)?;
        // The name now belongs to another file.
        if (stat.st_dev, stat.st_ino) != (self.stat.st_dev, self.stat.st_ino) {
            return Err(Errno::AGAIN.into());
        }
        Ok(File::from(opened))
    }

    /// The text of a link.
    ///
    /// # Errors
    /// Those of readlinkat(2).
    pub fn link(&self) -> Result<Vec<u8>, Failure> {
        Ok(readlinkat(&self.directory, &*self.name, Vec::new())?.into_bytes())
    }

    /// The path by which the kernel names it. It contains no link.
    ///
    /// # Errors
    /// Those of fcntl(2), `F_GETPATH`, and of [`Self::open`].
    pub fn name(&self) -> Result<Vec<u8>, Failure> {
        Ok(getpath(self.open()?)?.into_bytes())
    }
}

/// Names of a path, without empty ones.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec)
}

/// `O_SEARCH` of fcntl.h: a directory in which names can be resolved, and which cannot be listed.
const SEARCH: OFlags = OFlags::from_bits_retain(0x4000_0000);

fn directory(above: impl rustix::fd::AsFd, name: &[u8]) -> Result<OwnedFd, Failure> {
    let flags = SEARCH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(above, name, flags, Mode::empty()).map_err(rights::refused)?;
    rights::lower_to(fstat(&opened)?.st_uid)?;
    Ok(opened)
}

/// Resolves a path component by component, as on Linux.
fn walk(mut rest: VecDeque<Vec<u8>>, last: Last) -> Result<Found, Failure> {
    let mut here = directory(CWD, b"/")?;
    let mut above: Vec<OwnedFd> = Vec::new();
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        if name == b"." {
            continue;
        }
        if name == b".." {
            here = above.pop().unwrap_or(here);
            continue;
        }
        let is_last = rest.is_empty();
        let stat = statat(&here, &*name, AtFlags::SYMLINK_NOFOLLOW).map_err(rights::refused)?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink && !(is_last && last == Last::Itself) {
            links += 1;
            if links > MAX_LINKS {
                return Err(Errno::LOOP.into());
            }
            rights::lower_to(stat.st_uid)?;
            let target = readlinkat(&here, &*name, Vec::new()).map_err(rights::refused)?.into_bytes();
            if target.starts_with(b"/") {
                here = directory(CWD, b"/")?;
                above.clear();
            }
            for name in components(&target).rev() {
                rest.push_front(name);
            }
        } else if is_last {
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                rights::lower_to(stat.st_uid)?;
            }
            return Ok(Found { directory: here, name, stat });
        } else {
            let below = directory(&here, &name)?;
            above.push(std::mem::replace(&mut here, below));
        }
    }
    let stat = fstat(&here)?;
    Ok(Found { directory: here, name: b".".to_vec(), stat })
}
