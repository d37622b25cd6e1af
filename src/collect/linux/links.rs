//! The links of `/proc/PID/fd`, each read once.

use rustix::fd::OwnedFd;
use rustix::fs::{RawDir, SeekFrom, fstat, readlinkat_raw, seek};
use rustix::io::Errno;
use rustix::path::DecInt;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::ops::ControlFlow;

/// Numbers that may be free before the directory is listed after all: some, and a part of those that are taken.
const FEW_FREE: u64 = 16;

/// Tells `look` of each open descriptor of the directory, its number and what it links to, until it breaks off. One that is closed
/// meanwhile is left out.
///
/// Descriptors mostly have the lowest numbers (open(2) takes the lowest that is free), and since Linux 6.2 the size of the
/// directory is how many there are. So they are asked one number after the other, and a seventh of the time of listing them first
/// is saved. Where many numbers are free, or the kernel does not tell how many there are, the rest is listed.
///
/// # Errors
/// When the directory cannot be listed: getdents64(2).
pub fn each(
    held: &OwnedFd,
    mut look: impl FnMut(&CStr, Result<&[u8], Errno>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut target = [MaybeUninit::<u8>::uninit(); 4096];
    let open = u64::try_from(fstat(held)?.st_size).unwrap_or(0);
    let (mut number, mut taken) = (0_u64, 0_u64);
    while taken < open && number - taken <= FEW_FREE + taken / 8 {
        let name = DecInt::new(number);
        number += 1;
        if let Some(went_on) = tell(held, name.as_c_str(), &mut target, &mut look) {
            taken += 1;
            if went_on.is_break() {
                return Ok(());
            }
        }
    }
    // To the end even where as many were told of as there were: one that was opened meanwhile may have been among them, and the last
    // that was open all the time not.
    listed(held, number, look)
}

/// Those from a number on, from the directory's list.
fn listed(
    held: &OwnedFd,
    least: u64,
    mut look: impl FnMut(&CStr, Result<&[u8], Errno>) -> ControlFlow<()>,
) -> io::Result<()> {
    // Position N + 2 is descriptor N, behind `.` and `..` (`proc_readfd_common` of the kernel's fs/proc/fd.c).
    seek(held, SeekFrom::Start(least + 2))?;
    let mut target = [MaybeUninit::<u8>::uninit(); 4096];
    // Not on the stack, where the mere room for it is touched page by page.
    let mut entries = Vec::with_capacity(32 * 1024);
    let mut listing = RawDir::new(held, entries.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name();
        // `.` and `..` too are no numbers; a lower one has been told of.
        if name.to_str().ok().and_then(|name| name.parse().ok()).is_none_or(|number: u64| number < least) {
            continue;
        }
        if tell(held, name, &mut target, &mut look).is_some_and(|went_on| went_on.is_break()) {
            break;
        }
    }
    Ok(())
}

/// Tells of one descriptor; `None` where it is not open. In line: called, it is a sixth slower.
#[inline(always)]
fn tell(
    held: &OwnedFd,
    name: &CStr,
    target: &mut [MaybeUninit<u8>],
    look: &mut impl FnMut(&CStr, Result<&[u8], Errno>) -> ControlFlow<()>,
) -> Option<ControlFlow<()>> {
    match readlinkat_raw(held, name, target) {
        Ok((text, _)) => Some(look(name, Ok(text))),
        Err(Errno::NOENT) => None,
        Err(error) => Some(look(name, Err(error))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::proc_dir::ProcDir;
    use super::*;
    use rustix::io::fcntl_dupfd_cloexec;
    use std::collections::BTreeMap;
    use std::fs::File;

    fn own() -> BTreeMap<u64, String> {
        let held = ProcDir::open(std::process::id()).unwrap().directory(c"fd").unwrap();
        let mut found = BTreeMap::new();
        each(&held, |name, link| {
            let before = found.insert(
                name.to_str().unwrap().parse().unwrap(),
                String::from_utf8_lossy(link.unwrap()).into_owned(),
            );
            assert_eq!(before, None, "none is told of twice");
            ControlFlow::Continue(())
        })
        .unwrap();
        found
    }

    #[test]
    fn finds_what_lies_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("apart");
        let file = File::create(&path).unwrap();
        // More numbers are free below the second than are asked one by one.
        let apart: Vec<OwnedFd> = [300, 900, 905].map(|least| fcntl_dupfd_cloexec(&file, least).unwrap()).into();
        let found = own();
        let path = path.to_string_lossy();
        assert_eq!(found.values().filter(|link| **link == path).count(), 1 + apart.len());
        drop(apart);
        assert_eq!(own().values().filter(|link| **link == path).count(), 1);
    }

    #[test]
    fn breaks_off() {
        let held = ProcDir::open(std::process::id()).unwrap().directory(c"fd").unwrap();
        let mut told = 0;
        each(&held, |_, _| {
            told += 1;
            ControlFlow::Break(())
        })
        .unwrap();
        assert_eq!(told, 1);
    }
}
