//! The links of `/proc/PID/fd`.
//!
//! `procfs::process::Process::fd` would read the same links with 1.9 times the CPU time: 93 ms instead of 49 ms for 19,900
//! descriptors, since it allocates a path for each and reads its mode.

use rustix::fd::OwnedFd;
use rustix::fs::{RawDir, SeekFrom, readlinkat_raw, seek};
use rustix::io::Errno;
use rustix::path::DecInt;
use std::collections::VecDeque;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;

/// Longest target of a link: the kernel makes it in one page (`do_proc_readlink` of fs/proc/base.c).
const MAX_LENGTH: usize = 4096;

/// Calls `take` with the number and the link target of each open descriptor in the directory, starting at descriptor
/// `first`, until it breaks; returns the descriptor at which it broke. A descriptor that is closed meanwhile is left
/// out.
///
/// A new descriptor has the lowest free number (open(2)), so the next number usually exists, and the directory is
/// listed only where one does not. To list all takes a tenth of the time.
///
/// # Errors
/// When the directory cannot be listed (getdents64(2)).
pub fn each(
    held: &OwnedFd,
    first: u32,
    mut take: impl FnMut(u32, Result<&[u8], Errno>) -> ControlFlow<()>,
) -> io::Result<Option<u32>> {
    let mut text = [MaybeUninit::<u8>::uninit(); MAX_LENGTH];
    let mut listed = VecDeque::new();
    let mut next = first;
    loop {
        let from_listing = listed.pop_front();
        let number = from_listing.unwrap_or(next);
        let link = readlinkat_raw(held, DecInt::new(number), &mut text).map(|(target, _)| &*target);
        match link {
            // It does not exist, or it is not known whether it does.
            Err(_) if from_listing.is_none() => {
                listed = listed_from(held, number)?;
                if listed.is_empty() {
                    return Ok(None);
                }
                continue;
            }
            Err(Errno::NOENT) => {}
            link => {
                if take(number, link).is_break() {
                    return Ok(Some(number));
                }
            }
        }
        next = number.saturating_add(1);
    }
}

/// The next open descriptors from a number on, as many as fit into the buffer; none at the end.
fn listed_from(held: &OwnedFd, number: u32) -> io::Result<VecDeque<u32>> {
    // Position N + 2 is descriptor N, after `.` and `..` (`proc_readfd_common` of the kernel's fs/proc/fd.c).
    seek(held, SeekFrom::Start(u64::from(number) + 2))?;
    let mut entries = [MaybeUninit::<u8>::uninit(); 4096];
    let mut listing = RawDir::new(held, &mut entries);
    let mut found = VecDeque::new();
    while let Some(entry) = listing.next() {
        found.extend(entry?.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        if listing.is_buffer_empty() {
            break;
        }
    }
    Ok(found)
}

/// Whether a link may not be read. Without permission to trace a process (ptrace(2)), its descriptors can be listed but
/// not read.
pub fn is_refused(error: i32) -> bool {
    matches!(error, libc::EACCES | libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::super::proc_dir::ProcDir;
    use super::*;
    use rustix::io::fcntl_dupfd_cloexec;
    use std::collections::BTreeMap;
    use std::fs::File;

    fn own(first: u32) -> BTreeMap<u32, String> {
        let held = ProcDir::open(std::process::id()).unwrap().directory(c"fd").unwrap();
        let mut found = BTreeMap::new();
        let end = each(&held, first, |number, link| {
            let before = found.insert(number, String::from_utf8_lossy(link.unwrap()).into_owned());
            assert_eq!(before, None, "each descriptor is reported once");
            ControlFlow::Continue(())
        });
        assert_eq!(end.unwrap(), None);
        found
    }

    #[test]
    fn lists_sparse_descriptors_and_resumes_at_any_number() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("apart");
        let file = File::create(&path).unwrap();
        let apart: Vec<OwnedFd> = [300, 900, 905].map(|least| fcntl_dupfd_cloexec(&file, least).unwrap()).into();
        let path = path.to_string_lossy();
        let count = |first| own(first).values().filter(|link| **link == path).count();
        assert_eq!((count(0), count(300), count(301), count(905), count(906)), (4, 3, 2, 1, 0));
        drop(apart);
        assert_eq!(count(0), 1);
    }

    #[test]
    fn breaks_off() {
        let held = ProcDir::open(std::process::id()).unwrap().directory(c"fd").unwrap();
        let mut numbers = Vec::new();
        let next = each(&held, 0, |number, _| {
            numbers.push(number);
            if numbers.len() == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(next.unwrap(), numbers.get(1).copied(), "the descriptor at the break is not done");
        assert_eq!(numbers.len(), 2);
    }
}
