//! The system calls, and all unsafe code of macOS: libproc and sysctl(3) fill buffers, and these functions return
//! bytes.
//!
//! The `libproc` crate wraps the same calls and is used where its result is enough. Here it is not: its errors are
//! texts without a number, it accepts a truncated result as complete, and its types exist on macOS only. The parsers of
//! the bytes are tested on every system.
#![allow(unsafe_code, reason = "C functions fill buffers; each call gets the buffer's own length")]

use crate::parse::darwin::layout::{
    KERN_PROC_ALL, KERN_PROC_PID, KERN_PROCARGS2, KINFO_PROC, PIPE_FDINFO, PROC_FDINFO, PROC_PIDFDPIPEINFO,
    PROC_PIDFDSOCKETINFO, PROC_PIDFDVNODEPATHINFO, PROC_PIDLISTFDS, PROC_PIDLISTTHREADS, PROC_PIDTASKINFO,
    PROC_PIDTHREADINFO, PROC_PIDVNODEPATHINFO, PROC_TASKINFO, PROC_THREADINFO, PROC_VNODEPATHINFO,
    PROX_FDTYPE_PIPE, PROX_FDTYPE_SOCKET, PROX_FDTYPE_VNODE, SOCKET_FDINFO, VNODE_FDINFOWITHPATH,
};
use std::io;

/// Attempts to read a list that grows meanwhile.
const TRIES: usize = 4;
/// Largest block of arguments: the system's limit (`kern.argmax`).
const MAX_ARGUMENTS_BYTES: usize = 1024 * 1024;

fn number(value: usize) -> libc::c_int {
    libc::c_int::try_from(value).unwrap_or(libc::c_int::MAX)
}

/// One result of sysctl(3), at most as long as the buffer.
fn sysctl(name: &mut [libc::c_int], buffer: &mut Vec<u8>) -> io::Result<()> {
    let mut length = buffer.len();
    let names = libc::c_uint::try_from(name.len()).unwrap_or(0);
    // SAFETY: `name` has `names` elements and `buffer` `length` bytes; nothing is set.
    let result = unsafe {
        let (name, size) = (name.as_mut_ptr(), buffer.as_mut_ptr().cast());
        libc::sysctl(name, names, size, &raw mut length, std::ptr::null_mut(), 0)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    buffer.truncate(length);
    Ok(())
}

/// Size that a result would have.
fn sysctl_size(name: &mut [libc::c_int]) -> io::Result<usize> {
    let mut length = 0;
    let names = libc::c_uint::try_from(name.len()).unwrap_or(0);
    // SAFETY: no buffer is given, so only the size is returned; nothing is set.
    let result = unsafe {
        let (size, set) = (std::ptr::null_mut(), std::ptr::null_mut());
        libc::sysctl(name.as_mut_ptr(), names, size, &raw mut length, set, 0)
    };
    if result == 0 { Ok(length) } else { Err(io::Error::last_os_error()) }
}

/// All processes, as `struct kinfo_proc`.
pub fn process_table() -> io::Result<Vec<u8>> {
    let mut name = [libc::CTL_KERN, libc::KERN_PROC, number(KERN_PROC_ALL), 0];
    let mut last = io::Error::from(io::ErrorKind::OutOfMemory);
    for _ in 0..TRIES {
        let mut buffer = vec![0; sysctl_size(&mut name)? + 64 * KINFO_PROC];
        match sysctl(&mut name, &mut buffer) {
            Ok(()) => return Ok(buffer),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// One process, as `struct kinfo_proc`; empty when there is none.
pub fn process(pid: u32) -> io::Result<Vec<u8>> {
    let pid = libc::c_int::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut buffer = vec![0; KINFO_PROC];
    sysctl(&mut [libc::CTL_KERN, libc::KERN_PROC, number(KERN_PROC_PID), pid], &mut buffer)?;
    Ok(buffer)
}

/// The `KERN_PROCARGS2` block of a process.
pub fn arguments(pid: u32) -> io::Result<Vec<u8>> {
    let pid = libc::c_int::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut buffer = vec![0; MAX_ARGUMENTS_BYTES];
    sysctl(&mut [libc::CTL_KERN, number(KERN_PROCARGS2), pid], &mut buffer)?;
    Ok(buffer)
}

/// The bytes that `proc_pidinfo` filled in. It returns 0 for an error and for an empty list, so the error number is
/// cleared before the call.
fn pid_info(pid: u32, flavor: usize, argument: u64, size: usize) -> io::Result<Vec<u8>> {
    let pid = libc::c_int::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut buffer = vec![0_u8; size];
    // SAFETY: `buffer` has `size` bytes; the error number is this thread's own.
    let filled = unsafe {
        *libc::__error() = 0;
        libc::proc_pidinfo(pid, number(flavor), argument, buffer.as_mut_ptr().cast(), number(size))
    };
    finished(filled, buffer)
}

fn descriptor_info(pid: u32, descriptor: i32, flavor: usize, size: usize) -> io::Result<Vec<u8>> {
    let pid = libc::c_int::try_from(pid).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut buffer = vec![0_u8; size];
    // SAFETY: `buffer` has `size` bytes; the error number is this thread's own.
    let filled = unsafe {
        *libc::__error() = 0;
        libc::proc_pidfdinfo(pid, descriptor, number(flavor), buffer.as_mut_ptr().cast(), number(size))
    };
    finished(filled, buffer)
}

fn finished(filled: libc::c_int, mut buffer: Vec<u8>) -> io::Result<Vec<u8>> {
    let error = io::Error::last_os_error();
    match usize::try_from(filled) {
        Ok(0) | Err(_) if error.raw_os_error() != Some(0) => Err(error),
        filled => {
            buffer.truncate(filled.unwrap_or(0));
            Ok(buffer)
        }
    }
}

/// A list of unknown length: it is read again with a larger buffer if it filled the buffer.
fn pid_list(pid: u32, flavor: usize, entry: usize) -> io::Result<Vec<u8>> {
    let mut size = 256 * entry;
    loop {
        let found = pid_info(pid, flavor, 0, size)?;
        if found.len() < size || size >= 1 << 24 {
            return Ok(found);
        }
        size *= 4;
    }
}

/// Descriptors with their kinds, as `struct proc_fdinfo`.
pub fn descriptor_list(pid: u32) -> io::Result<Vec<u8>> {
    pid_list(pid, PROC_PIDLISTFDS, PROC_FDINFO)
}

/// What one descriptor is open on; empty for kinds that are not queried.
pub fn descriptor(pid: u32, descriptor: i32, kind: u32) -> io::Result<Vec<u8>> {
    let (flavor, size) = match usize::try_from(kind).unwrap_or(usize::MAX) {
        PROX_FDTYPE_VNODE => (PROC_PIDFDVNODEPATHINFO, VNODE_FDINFOWITHPATH),
        PROX_FDTYPE_SOCKET => (PROC_PIDFDSOCKETINFO, SOCKET_FDINFO),
        PROX_FDTYPE_PIPE => (PROC_PIDFDPIPEINFO, PIPE_FDINFO),
        _ => return Ok(Vec::new()),
    };
    descriptor_info(pid, descriptor, flavor, size)
}

/// `struct proc_taskinfo`.
pub fn task(pid: u32) -> io::Result<Vec<u8>> {
    pid_info(pid, PROC_PIDTASKINFO, 0, PROC_TASKINFO)
}

/// Handles of threads.
pub fn thread_list(pid: u32) -> io::Result<Vec<u8>> {
    pid_list(pid, PROC_PIDLISTTHREADS, size_of::<u64>())
}

/// `struct proc_threadinfo` of a thread by its handle.
pub fn thread(pid: u32, handle: u64) -> io::Result<Vec<u8>> {
    pid_info(pid, PROC_PIDTHREADINFO, handle, PROC_THREADINFO)
}

/// Working and root directory, as `struct proc_vnodepathinfo`.
pub fn directories(pid: u32) -> io::Result<Vec<u8>> {
    pid_info(pid, PROC_PIDVNODEPATHINFO, 0, PROC_VNODEPATHINFO)
}

/// Nanoseconds per unit of the machine's clock, as a fraction.
#[allow(deprecated, reason = "libc names another crate for it, which this one call does not need")]
pub fn timebase() -> (u32, u32) {
    let mut base = libc::mach_timebase_info { numer: 1, denom: 1 };
    // SAFETY: the call only fills the structure, whatever it returns.
    unsafe {
        libc::mach_timebase_info(&raw mut base);
    }
    (base.numer, base.denom)
}
