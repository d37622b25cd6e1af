//! Reads of procfs in the worker. A process can delay them: one that is held up in execve(2) holds a lock that reads of
//! its `stat` and its links wait for (`exec_update_lock` of the kernel's include/linux/sched/signal.h).

use super::wire::{Answer, DescriptorLink, DescriptorLinks, DescriptorStat, FileKind, FileStat, Reply, Request};
use crate::collect::foreign::{self, Failure};
use crate::collect::linux::proc_dir::{ProcDir, numbers_in};
use crate::collect::linux::{cgroup, links};
use crate::model::Identity;
use crate::parse::process::mount_id;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, StatxFlags, open, readlinkat, statat, statx};
use rustix::path::DecInt;
use serde_bytes::ByteBuf;
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;

/// Descriptors that are scanned for one answer, so that it does not take long.
const MAX_SCANNED: u32 = 1024;
/// Bytes of targets in one answer; the last one can exceed it.
const MAX_TARGET_BYTES: usize = 64 * 1024;

/// Performs a request about procfs.
///
/// # Errors
/// [`Failure`].
pub fn perform(request: Request) -> Reply {
    match request {
        Request::KernelLink(path) => {
            Ok(Answer::Bytes(ByteBuf::from(readlinkat(CWD, &*path, Vec::new())?.into_bytes())))
        }
        Request::KernelStat(path) => Ok(Answer::Stat(kernel_stat(&path)?)),
        Request::KernelNumbers(path) => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            Ok(Answer::Numbers(numbers_in(open(&*path, flags, Mode::empty())?)?))
        }
        Request::DescriptorLink(process, number) => {
            Ok(Answer::Bytes(ByteBuf::from(held(process)?.link(&below("fd", number))?)))
        }
        Request::DescriptorLinks { pid, first, beginning } => {
            Ok(Answer::Links(descriptor_links(pid, first, &beginning)?))
        }
        Request::DescriptorStats(process, numbers) => Ok(Answer::Descriptors(descriptor_stats(process, &numbers)?)),
        Request::DescriptorMounts(process, numbers) => {
            let directory = held(process)?;
            let one = |number| directory.read(&below("fdinfo", number)).ok().and_then(|lines| mount_id(&lines));
            Ok(Answer::Mounts(numbers.into_iter().map(one).collect()))
        }
        Request::ControlGroups(search) => Ok(Answer::Groups(cgroup::search(search))),
        _ => Err(Failure::System(libc::ENOTSUP)),
    }
}

/// First bytes of a kernel file, which must be on a filesystem of the kernel.
///
/// # Errors
/// [`Failure`].
pub fn kernel_file(path: &[u8], limit: u32) -> Result<Vec<u8>, Failure> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty())?);
    if !foreign::is_kernel_file(&file)? {
        return Err(Failure::Malformed("not a file of the kernel: another file is at its path".to_owned()));
    }
    // Most of these files are shorter than a page.
    let mut bytes = Vec::with_capacity(4096);
    file.take(u64::from(limit)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn kernel_stat(path: &[u8]) -> Result<FileStat, Failure> {
    let found = statat(CWD, path, AtFlags::empty())?;
    Ok(FileStat {
        kind: match FileType::from_raw_mode(found.st_mode) {
            FileType::RegularFile => FileKind::Regular,
            FileType::Directory => FileKind::Directory,
            _ => FileKind::Other,
        },
        device: found.st_dev,
        inode: found.st_ino,
        owner: found.st_uid,
        size: u64::try_from(found.st_size).unwrap_or(0),
        modified_ns: 0,
    })
}

fn descriptor_links(pid: u32, first: u32, beginning: &[u8]) -> Result<DescriptorLinks, Failure> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = open(format!("/proc/{pid}/fd"), flags, Mode::empty())?;
    let mut found = DescriptorLinks::default();
    let mut scanned = 0;
    let next = links::each(&directory, first, |number, link| {
        if scanned == MAX_SCANNED || found.target_bytes() > MAX_TARGET_BYTES {
            return ControlFlow::Break(());
        }
        scanned += 1;
        let target = link.map_err(rustix::io::Errno::raw_os_error);
        if target.is_err() || target.is_ok_and(|target| target.starts_with(beginning)) {
            found.push(DescriptorLink { number, target });
        }
        ControlFlow::Continue(())
    })?;
    found.next = next;
    Ok(found)
}

/// What descriptors are open on, through their own links: no name is resolved, and `AT_STATX_DONT_SYNC` keeps the
/// kernel from querying a file server.
fn descriptor_stats(process: Identity, numbers: &[u32]) -> Result<Vec<Option<DescriptorStat>>, Failure> {
    let descriptors = held(process)?.directory(c"fd")?;
    let wanted = StatxFlags::TYPE | StatxFlags::NLINK | StatxFlags::SIZE;
    let one = |number: &u32| {
        let found = statx(&descriptors, DecInt::new(*number), AtFlags::STATX_DONT_SYNC, wanted).ok()?;
        Some(DescriptorStat { mode: found.stx_mode, links: found.stx_nlink, size: found.stx_size })
    };
    Ok(numbers.iter().map(one).collect())
}

fn held(process: Identity) -> Result<ProcDir, Failure> {
    ProcDir::anchor(process).map_err(|_| Failure::Vanished)
}

fn below(directory: &str, number: u32) -> CString {
    CString::new(format!("{directory}/{number}")).unwrap_or_default()
}
