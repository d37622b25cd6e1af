//! `/proc/PID/task/TID/syscall` and `wchan`, and the context switches of `status`.

use crate::model::SystemCall;
use crate::model::text::printable;

/// System calls with a descriptor as first argument, in which a server can wait for a long time.
const ON_DESCRIPTOR: &[&str] = &[
    "accept",
    "accept4",
    "connect",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "fcntl",
    "fdatasync",
    "flock",
    "fsync",
    "pread64",
    "preadv",
    "preadv2",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readv",
    "recvfrom",
    "recvmsg",
    "sendfile",
    "sendmsg",
    "sendto",
    "splice",
    "write",
    "writev",
];

/// Operations of futex(2) that wait, without the flags for private futexes and the real-time clock
/// (include/uapi/linux/futex.h of the kernel): `FUTEX_WAIT`, `FUTEX_WAIT_BITSET`.
const FUTEX_WAITS: [u64; 2] = [0, 9];
/// `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME`.
const FUTEX_FLAGS: u64 = 128 | 256;

/// Parses `/proc/PID/task/TID/syscall` (proc_pid_syscall(5)): number and six arguments in hexadecimal. `None`
/// for a thread that is `running`, or blocked outside of a system call (number -1).
pub fn system_call(bytes: &[u8], arch: &str) -> Option<SystemCall> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut words = text.split_ascii_whitespace();
    let number: u32 = words.next()?.parse().ok()?;
    let arguments: Vec<u64> =
        words.map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()).collect();
    let number_as_index = usize::try_from(number).ok()?;
    let known = match arch {
        "x86_64" => syscalls::x86_64::Sysno::new(number_as_index).map(|call| call.name()),
        "aarch64" => syscalls::aarch64::Sysno::new(number_as_index).map(|call| call.name()),
        _ => None,
    };
    let name = known.map_or_else(|| format!("system call {number}"), str::to_owned);
    let descriptor = ON_DESCRIPTOR
        .contains(&name.as_str())
        .then(|| u32::try_from(*arguments.first()? & 0xffff_ffff).ok())
        .flatten();
    let is_unlimited = match (name.as_str(), arguments.as_slice()) {
        ("futex", [_, operation, _, limit, ..])
            if FUTEX_WAITS.contains(&(operation & !FUTEX_FLAGS & 0xffff_ffff)) =>
        {
            Some(*limit == 0)
        }
        _ => None,
    };
    Some(SystemCall { name: name.into(), descriptor, is_unlimited })
}

/// Parses `/proc/PID/task/TID/wchan` (proc_pid_wchan(5)): `0` is no wait, or no permission to read it. Suffixes
/// that the compiler adds to the name of a function (`.constprop.0`, `.isra.0`, `.part.0`) are removed.
pub fn wait_channel(bytes: &[u8]) -> Option<String> {
    let name = printable(bytes);
    let name = name.trim().split('.').next().unwrap_or_default();
    (!name.is_empty() && name != "0").then(|| name.to_owned())
}

/// `voluntary_ctxt_switches` of `/proc/PID/task/TID/status` (proc_pid_status(5)).
pub fn voluntary_switches(status: &[u8]) -> Option<u64> {
    String::from_utf8_lossy(status)
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
}

/// Whether a descriptor is open for reading, by the `flags` of `/proc/PID/fdinfo/N` (proc_pid_fdinfo(5)), which
/// are octal: `O_ACCMODE` is 3 and `O_WRONLY` 1.
pub fn is_open_for_reading(fdinfo: &[u8]) -> bool {
    String::from_utf8_lossy(fdinfo)
        .lines()
        .find_map(|line| u32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok())
        .is_some_and(|flags| flags & 3 != 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_without_a_limit_and_the_interpreter_with_one() {
        let lock = system_call(
            b"202 0x7f2c5c000b70 0x189 0x0 0x0 0x0 0xffffffff 0x7f2c4bffe9b0 0x7f2c61a4a7b9\n",
            "x86_64",
        );
        let expected = SystemCall { name: "futex".into(), descriptor: None, is_unlimited: Some(true) };
        assert_eq!(lock, Some(expected.clone()));
        let interpreter =
            system_call(b"202 0x7f2c61f7a6a8 0x189 0x0 0x7f2c4bffe8a0 0x0 0xffffffff 0x1 0x2\n", "x86_64");
        assert_eq!(interpreter, Some(SystemCall { is_unlimited: Some(false), ..expected.clone() }));
        let arm = system_call(b"98 0x7f2c5c000b70 0x80 0x0 0x0 0x0 0x0 0x1 0x2\n", "aarch64");
        assert_eq!(arm, Some(expected));
        // FUTEX_WAKE does not wait.
        let wake = system_call(b"202 0x7f2c5c000b70 0x81 0x1 0x0 0x0 0x0 0x1 0x2", "x86_64");
        assert_eq!(wake.unwrap().is_unlimited, None);
    }

    #[test]
    fn a_write_names_its_descriptor() {
        let write = system_call(b"1 0x1 0x55d0 0x1000 0x0 0x0 0x0 0x7ffe 0x7f2c\n", "x86_64").unwrap();
        assert_eq!((write.name.as_str(), write.descriptor), ("write", Some(1)));
        let poll = system_call(b"7 0x7ffe 0x1 0x1f4 0x0 0x0 0x0 0x7ffe 0x7f2c\n", "x86_64").unwrap();
        assert_eq!((poll.name.as_str(), poll.descriptor), ("poll", None));
    }

    #[test]
    fn invalid_system_calls_are_none_and_unknown_numbers_are_kept() {
        for text in [&b"running\n"[..], b"-1 0x7ffc 0x7f2c\n", b"", b"\xff\xfe", b"99999999999999999999 0x0"] {
            assert_eq!(system_call(text, "x86_64"), None, "{text:?}");
        }
        assert_eq!(system_call(b"4000000000 0x1", "x86_64").unwrap().name, "system call 4000000000");
        assert_eq!(system_call(b"1 0x1", "riscv64").unwrap().name, "system call 1");
        assert_eq!(system_call(b"1", "x86_64").unwrap().descriptor, None);
    }

    #[test]
    fn ends_of_a_pipe() {
        assert!(is_open_for_reading(b"pos:\t0\nflags:\t00\nmnt_id:\t15\n"));
        assert!(is_open_for_reading(b"flags:\t02000002\n"));
        assert!(!is_open_for_reading(b"pos:\t0\nflags:\t0100001\n"));
        assert!(!is_open_for_reading(b""));
    }

    #[test]
    fn channels_and_switches() {
        assert_eq!(wait_channel(b"futex_wait_queue"), Some("futex_wait_queue".to_owned()));
        assert_eq!(wait_channel(b"poll_schedule_timeout.constprop.0"), Some("poll_schedule_timeout".to_owned()));
        assert_eq!(wait_channel(b"0"), None);
        assert_eq!(wait_channel(b""), None);
        assert_eq!(
            voluntary_switches(b"Name:\tx\nvoluntary_ctxt_switches:\t42\nnonvoluntary_ctxt_switches:\t7\n"),
            Some(42)
        );
        assert_eq!(voluntary_switches(b"Name:\tx\n"), None);
    }
}
