//! The links of `/proc/PID/fd`, each read once.

use rustix::fd::OwnedFd;
use rustix::fs::{RawDir, SeekFrom, fstat, readlinkat_raw, seek};
use rustix::io::Errno;
use rustix::path::DecInt;
use std::io;
use std::ops::ControlFlow;

/// Numbers that may be free before the directory is listed after all: some, and a part of those that are taken.
const FEW_FREE: u64 = 16;
/// Longest text of a link: the kernel makes it in one page (`do_proc_readlink` of fs/proc/base.c).
const LONGEST: usize = 4096;
/// Bytes of text that are read before any of it is looked at, besides the last.
const BATCH_BYTES: usize = 8192;
/// Links of the first batch, which is short since many walks end at one of the first; each is twice as long as that before.
const FIRST_BATCH: usize = 8;
/// Links of the longest batch.
const LONGEST_BATCH: usize = 256;

/// Tells `look` of each open descriptor of the directory, its number and what it links to, until it breaks off. One that is closed
/// meanwhile is left out.
///
/// Descriptors mostly have the lowest numbers (open(2) takes the lowest that is free), and since Linux 6.2 the size of the
/// directory is how many there are. So they are asked one number after the other, and a seventh of the time of listing them first
/// is saved. Where many numbers are free, or the kernel does not tell how many there are, the rest is listed.
///
/// # Errors
/// When the directory cannot be listed: getdents64(2).
pub fn each(held: &OwnedFd, mut look: impl FnMut(u32, Result<&[u8], Errno>) -> ControlFlow<()>) -> io::Result<()> {
    let mut batch = Batch::default();
    let open = u64::try_from(fstat(held)?.st_size).unwrap_or(0);
    let (mut number, mut taken) = (0_u32, 0_u64);
    while taken < open && u64::from(number) - taken <= FEW_FREE + taken / 8 {
        taken += u64::from(batch.read(held, number));
        number += 1;
        if batch.is_full() && batch.tell(&mut look).is_break() {
            return Ok(());
        }
    }
    // To the end even where as many were told of as there were: one that was opened meanwhile may have been among them, and the last
    // that was open all the time not.
    if read_listed(held, number, &mut batch, &mut look)?.is_continue() {
        let _ = batch.tell(&mut look);
    }
    Ok(())
}

/// Whether a link may not be read: without the right to trace a process (ptrace(2)) its descriptors can be listed and not read.
pub fn is_refused(link: Result<&[u8], Errno>) -> bool {
    matches!(link, Err(Errno::ACCESS | Errno::PERM))
}

/// Those from a number on, from the directory's list.
fn read_listed(
    held: &OwnedFd,
    least: u32,
    batch: &mut Batch,
    look: &mut impl FnMut(u32, Result<&[u8], Errno>) -> ControlFlow<()>,
) -> io::Result<ControlFlow<()>> {
    // Position N + 2 is descriptor N, behind `.` and `..` (`proc_readfd_common` of the kernel's fs/proc/fd.c).
    seek(held, SeekFrom::Start(u64::from(least) + 2))?;
    // Not on the stack, where the mere room for it is touched page by page.
    let mut entries = Vec::with_capacity(32 * 1024);
    let mut listing = RawDir::new(held, entries.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry?;
        // `.` and `..` are no numbers; a lower one was asked for.
        let number = entry.file_name().to_str().ok().and_then(|name| name.parse().ok());
        let Some(number) = number.filter(|number| *number >= least) else { continue };
        batch.read(held, number);
        if batch.is_full() && batch.tell(look).is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Links that were read and not yet looked at. The loop that reads has nothing but the system call in it: among other work each
/// call takes up to a third longer.
struct Batch {
    texts: Vec<u8>,
    used: usize,
    /// Numbers with the lengths of their texts.
    read: Vec<(u32, Result<usize, Errno>)>,
    most: usize,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            texts: vec![0; BATCH_BYTES + LONGEST],
            used: 0,
            read: Vec::with_capacity(FIRST_BATCH),
            most: FIRST_BATCH,
        }
    }
}

impl Batch {
    /// Reads one link; whether it is open. The batch must not be full.
    #[inline(always)]
    fn read(&mut self, held: &OwnedFd, number: u32) -> bool {
        let read = readlinkat_raw(held, DecInt::new(number).as_c_str(), &mut self.texts[self.used..]);
        if read == Err(Errno::NOENT) {
            return false;
        }
        self.used += read.unwrap_or(0);
        self.read.push((number, read));
        true
    }

    fn is_full(&self) -> bool {
        self.read.len() == self.most || self.used > BATCH_BYTES
    }

    /// Tells of all that was read, and is empty again.
    fn tell(&mut self, look: &mut impl FnMut(u32, Result<&[u8], Errno>) -> ControlFlow<()>) -> ControlFlow<()> {
        let mut start = 0;
        for (number, read) in self.read.drain(..) {
            let end = start + read.unwrap_or(0);
            look(number, read.map(|_| &self.texts[start..end]))?;
            start = end;
        }
        self.used = 0;
        self.most = (2 * self.most).min(LONGEST_BATCH);
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::proc_dir::ProcDir;
    use super::*;
    use rustix::io::fcntl_dupfd_cloexec;
    use std::collections::BTreeMap;
    use std::fs::File;

    fn own() -> BTreeMap<u32, String> {
        let held = ProcDir::open(std::process::id()).unwrap().directory(c"fd").unwrap();
        let mut found = BTreeMap::new();
        each(&held, |number, link| {
            let before = found.insert(number, String::from_utf8_lossy(link.unwrap()).into_owned());
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
