//! Paths of output files. A symbolic link of another user on the path could redirect what root writes. So only
//! links of root and of the caller are followed, and the directory is held open while the file is written.

use crate::model::text::printable;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Maximum number of links that are followed in one path, the same as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// The location of an output file: its directory, held open, and its name.
#[derive(Debug)]
pub struct Place {
    _directory: OwnedFd,
    path: PathBuf,
}

impl Place {
    /// Resolves the location of a file, which need not exist.
    ///
    /// # Errors
    /// `PermissionDenied` if a link of another user is on the path, and those of the file system.
    pub fn find(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(Errno::ISDIR)?;
        let directory = walk(path.parent().unwrap_or(Path::new("")), false)?;
        let path = name_of(&directory).map_or_else(|| path.to_owned(), |directory| directory.join(name));
        Ok(Self { _directory: directory, path })
    }

    /// A path of the file that stays valid while this value exists, even if a directory on the path is renamed.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Creates a directory and its missing parents.
///
/// # Errors
/// As [`Place::find`].
pub fn create_directories(path: &Path) -> io::Result<()> {
    walk(path, true).map(drop)
}

/// A path through the open descriptor; `None` if /proc is not mounted.
#[cfg(target_os = "linux")]
fn name_of(directory: &OwnedFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    let path = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    rustix::fs::stat(&path).is_ok().then_some(path)
}

/// The current path of the directory, without links (`F_GETPATH`, fcntl(2)): macOS has no paths through descriptors.
#[cfg(not(target_os = "linux"))]
fn name_of(directory: &OwnedFd) -> Option<PathBuf> {
    let path = rustix::fs::getpath(directory).ok()?;
    Some(PathBuf::from(OsString::from_vec(path.into_bytes())))
}

fn walk(path: &Path, creates: bool) -> io::Result<OwnedFd> {
    let mut rest: VecDeque<OsString> = names(path);
    let mut here = directory(CWD, if path.is_absolute() { "/" } else { "." })?;
    refuse_mount_of_others(&here)?;
    let mut links = 0;
    while let Some(name) = rest.pop_front() {
        match link_at(&here, &name) {
            Ok(Some(link)) => {
                if let Some(why) = link.objection(owner_of(&here, &fstat(&here)?)) {
                    let detail = format!("{} {why}, and is not followed", printable(name.as_bytes()));
                    return Err(io::Error::new(io::ErrorKind::PermissionDenied, detail));
                }
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let target = PathBuf::from(OsString::from_vec(link.target));
                if target.is_absolute() {
                    here = directory(CWD, "/")?;
                }
                names(&target).into_iter().rev().for_each(|name| rest.push_front(name));
            }
            Err(error) if creates && error.kind() == io::ErrorKind::NotFound => {
                match mkdirat(&here, &*name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                here = directory(&here, &*name)?;
            }
            Ok(None) => here = directory(&here, &*name)?,
            Err(error) => return Err(error),
        }
    }
    Ok(here)
}

/// The components of a path; `..` is one of them, and is resolved from the directory reached so far.
fn names(path: &Path) -> VecDeque<OsString> {
    let name = |component: Component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

fn directory(parent: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    #[cfg(target_os = "linux")]
    let access = OFlags::PATH;
    #[cfg(not(target_os = "linux"))]
    let access = OFlags::RDONLY;
    openat(parent, name, access | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

struct Link {
    owner: u32,
    has_one_name: bool,
    target: Vec<u8>,
}

impl Link {
    /// Why the link is not followed: its owner and the owner of its directory must be root or the caller.
    fn objection(&self, directory_owner: u32) -> Option<String> {
        if !is_own(self.owner) {
            return Some(format!("is a link of uid {}", self.owner));
        }
        if !is_own(directory_owner) {
            return Some(format!("is a link in a directory of uid {directory_owner}"));
        }
        // Another user may have created a hard link to it (link(2)).
        (!self.has_one_name).then(|| "is a link with several names".to_owned())
    }
}

fn is_own(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Reads a link; `None` if the name is not a link.
fn link_at(parent: &OwnedFd, name: &OsStr) -> io::Result<Option<Link>> {
    #[cfg(target_os = "linux")]
    {
        // The open descriptor ensures that owner and target are those of the same link.
        let held = openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        refuse_mount_of_others(&held)?;
        let found = fstat(&held)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        let target = readlinkat(&held, "", Vec::new())?.into_bytes();
        Ok(Some(Link { owner: owner_of(&held, &found), has_one_name: found.st_nlink == 1, target }))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let found = rustix::fs::statat(parent, name, rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
            return Ok(None);
        }
        let target = readlinkat(parent, name, Vec::new())?.into_bytes();
        Ok(Some(Link { owner: found.st_uid, has_one_name: found.st_nlink == 1, target }))
    }
}

#[cfg(target_os = "linux")]
use crate::collect::foreign::{mounted_by, owner_of};

/// Refuses a FUSE filesystem that another user mounted: its server decides which requests it answers, and can
/// hang this process.
fn refuse_mount_of_others(directory: &OwnedFd) -> io::Result<()> {
    match mounted_by(directory).filter(|uid| !is_own(*uid)) {
        Some(uid) => {
            let detail = format!("it is on a FUSE filesystem mounted by uid {uid}");
            Err(io::Error::new(io::ErrorKind::PermissionDenied, detail))
        }
        None => Ok(()),
    }
}

/// macOS does not report the user that mounted a filesystem in user space.
#[cfg(not(target_os = "linux"))]
fn owner_of(_file: &OwnedFd, stat: &rustix::fs::Stat) -> u32 {
    stat.st_uid
}

#[cfg(not(target_os = "linux"))]
fn mounted_by(_file: &OwnedFd) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn own_links_are_followed_and_the_directory_is_held() {
        let directory = tempfile::tempdir().unwrap();
        let (real, other) = (directory.path().join("real"), directory.path().join("other"));
        create_directories(&real.join("a/b")).unwrap();
        symlink("real/a", directory.path().join("link")).unwrap();
        let place = Place::find(&directory.path().join("link/b/../b/file")).unwrap();
        std::fs::rename(&real, &other).unwrap();
        #[cfg(target_os = "linux")]
        {
            std::fs::write(place.path(), "x").unwrap();
            assert!(std::fs::metadata(other.join("a/b/file")).unwrap().is_file());
        }
        drop(place);
        assert_eq!(Place::find(&real.join("file")).unwrap_err().kind(), io::ErrorKind::NotFound);
        symlink("round", directory.path().join("round")).unwrap();
        let round = Place::find(&directory.path().join("round/file")).unwrap_err();
        assert_eq!(round.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_link_is_trusted_by_its_owner_and_by_its_directory() {
        let me = rustix::process::geteuid().as_raw();
        let other = me.wrapping_add(4000);
        let link = |owner, has_one_name| Link { owner, has_one_name, target: Vec::new() };
        assert_eq!((link(me, true).objection(me), link(0, true).objection(0)), (None, None));
        assert_eq!(link(other, true).objection(me), Some(format!("is a link of uid {other}")));
        assert_eq!(link(me, true).objection(other), Some(format!("is a link in a directory of uid {other}")));
        assert!(link(me, false).objection(me).is_some());
    }
}
