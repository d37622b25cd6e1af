//! `/proc/PID/stat`, `status` and `limits`. They are read for every process of a host, so only the fields that
//! are used are parsed, and nothing is copied.

use super::ParseError;
use crate::model::text::{nul_separated, printable};
use crate::model::{HostPath, OwnTerm, ProcessState, ProgramName};
use std::collections::BTreeMap;
use std::str::FromStr;

/// The fields of `/proc/PID/stat` that are used (proc_pid_stat(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatLine {
    /// Short name, 15 bytes at most.
    pub name: String,
    /// Scheduler state of the main thread.
    pub state: ProcessState,
    /// Parent.
    pub ppid: u32,
    /// Process group.
    pub process_group: i32,
    /// Session.
    pub session: i32,
    /// Start time after boot, in clock ticks.
    pub start_ticks: u64,
    /// `PF_*` flags of the kernel's task.
    pub flags: u32,
    /// CPU time so far, user and system together, in clock ticks.
    pub cpu_ticks: u64,
}

impl StatLine {
    /// Whether it is a kernel thread: `PF_KTHREAD` of the kernel's include/linux/sched.h.
    pub fn is_kernel_thread(&self) -> bool {
        const PF_KTHREAD: u32 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }
}

/// Parses `/proc/PID/stat`.
///
/// Only the fields that are used are parsed: a read with procfs's `Stat` takes 8.5 µs per process, and this one 7.5 µs.
///
/// # Errors
/// When the line does not have the form of proc_pid_stat(5).
pub fn stat(bytes: &[u8]) -> Result<StatLine, ParseError> {
    // The name may contain any byte, including parentheses and white space: it ends at the last parenthesis.
    let (head, fields) = bytes
        .iter()
        .rposition(|byte| *byte == b')')
        .and_then(|end| bytes.split_at_checked(end))
        .and_then(|(head, rest)| Some((head, rest.strip_prefix(b") ")?)))
        .ok_or_else(|| ParseError::new("stat", "no name in parentheses after a pid"))?;
    let (pid, name) = head
        .iter()
        .position(|byte| *byte == b'(')
        .and_then(|start| Some((head.get(..start)?, head.get(start + 1..)?)))
        .ok_or_else(|| ParseError::new("stat", "no name in parentheses after a pid"))?;
    number::<u32>(pid.strip_suffix(b" ").unwrap_or_default(), "pid of stat")?;
    let mut fields = fields.split(|byte| byte.is_ascii_whitespace());
    // Field numbers of proc_pid_stat(5), where the state is field 3.
    let mut at = 2;
    let mut field = |wanted: usize| {
        let skipped = wanted - at - 1;
        at = wanted;
        fields.nth(skipped).unwrap_or_default()
    };
    let state = match field(3) {
        [letter] if letter.is_ascii_alphabetic() => ProcessState::from_letter(char::from(*letter)),
        _ => return Err(ParseError::new("stat", "no state after the name")),
    };
    Ok(StatLine {
        name: printable(name),
        state,
        // A parent in an outer namespace is shown as 0.
        ppid: u32::try_from(number::<i32>(field(4), "ppid of stat")?).unwrap_or(0),
        process_group: number(field(5), "pgrp of stat")?,
        session: number(field(6), "session of stat")?,
        flags: number(field(9), "flags of stat")?,
        cpu_ticks: number::<u64>(field(14), "utime of stat")?.saturating_add(number(field(15), "stime of stat")?),
        start_ticks: number(field(22), "starttime of stat")?,
    })
}

fn number<T: FromStr>(digits: &[u8], what: &'static str) -> Result<T, ParseError> {
    std::str::from_utf8(digits)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| ParseError::new(what, format!("{} is not a valid number", printable(digits))))
}

/// The fields of `/proc/PID/status` that are used (proc_pid_status(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusLines {
    /// Short name, printable.
    pub name: String,
    /// Parent.
    pub ppid: Option<u32>,
    /// Thread group id: the process that a thread belongs to.
    pub tgid: u32,
    /// Pid of the debugger, if there is one.
    pub tracer_pid: Option<u32>,
    /// Real user id.
    pub uid: u32,
    /// Real, effective, saved and filesystem user ids.
    pub uids: [u32; 4],
    /// The same for the group.
    pub gids: [u32; 4],
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// Number of threads.
    pub threads: u64,
    /// Resident memory in bytes.
    pub resident_bytes: Option<u64>,
    /// Pid in each nested pid namespace, outermost first.
    pub namespace_pids: Vec<u32>,
}

/// Parses `/proc/PID/status`.
///
/// # Errors
/// When a field that every kernel writes is missing or malformed.
pub fn status(bytes: &[u8]) -> Result<StatusLines, ParseError> {
    let (mut tgid, mut tracer_pid, mut uids, mut gids, mut threads) = (None, None, None, None, None);
    let (mut resident_bytes, mut namespace_pids, mut groups) = (None, Vec::new(), Vec::new());
    let (mut short_name, mut ppid) = (String::new(), None);
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let mut words = value.split(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
        let mut first = || words.next().unwrap_or_default();
        // The kernel escapes a newline in the name, which the process can choose.
        match name {
            b"Name" => short_name = printable(value.trim_ascii_start()),
            b"PPid" => ppid = Some(number(first(), "PPid of status")?),
            b"Tgid" => tgid = Some(number(first(), "Tgid of status")?),
            b"TracerPid" => tracer_pid = Some(number::<u32>(first(), "TracerPid of status")?),
            b"Uid" => uids = Some(four(words, "Uid of status")?),
            b"Gid" => gids = Some(four(words, "Gid of status")?),
            b"Groups" => groups = words.map(|word| number(word, "Groups of status")).collect::<Result<_, _>>()?,
            b"NSpid" => {
                namespace_pids = words.map(|word| number(word, "NSpid of status")).collect::<Result<_, _>>()?
            }
            b"VmRSS" => resident_bytes = Some(number::<u64>(first(), "VmRSS of status")?.saturating_mul(1024)),
            b"Threads" => threads = Some(number(first(), "Threads of status")?),
            _ => {}
        }
    }
    let missing = |name| move || ParseError::new("status", format!("no line {name}"));
    Ok(StatusLines {
        name: short_name,
        ppid,
        tgid: tgid.ok_or_else(missing("Tgid"))?,
        tracer_pid: Some(tracer_pid.ok_or_else(missing("TracerPid"))?).filter(|pid| *pid != 0),
        uid: uids.ok_or_else(missing("Uid"))?[0],
        uids: uids.ok_or_else(missing("Uid"))?,
        gids: gids.ok_or_else(missing("Gid"))?,
        groups,
        threads: threads.ok_or_else(missing("Threads"))?,
        resident_bytes,
        namespace_pids,
    })
}

fn four<'a>(words: impl Iterator<Item = &'a [u8]>, what: &'static str) -> Result<[u32; 4], ParseError> {
    let ids: Vec<u32> = words.map(|word| number(word, what)).collect::<Result<_, _>>()?;
    ids.try_into().map_err(|ids: Vec<u32>| ParseError::new(what, format!("{} ids instead of four", ids.len())))
}

/// The pid in a path of `/proc/PID`.
pub fn pid_in(path: &[u8]) -> Option<u32> {
    let first = path.strip_prefix(b"/proc/")?.split(|byte| *byte == b'/').next()?;
    std::str::from_utf8(first).ok()?.parse().ok()
}

/// The `mnt_id` of `/proc/PID/fdinfo/N` (proc_pid_fdinfo(5)).
pub fn mount_id(fdinfo: &[u8]) -> Option<u64> {
    fdinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let value = line.strip_prefix(b"mnt_id:")?;
        std::str::from_utf8(value).ok()?.trim().parse().ok()
    })
}

/// `ino` of `/proc/PID/fdinfo/N`, the inode of the open file (since Linux 5.14, proc_pid_fdinfo(5)).
pub fn descriptor_inode(bytes: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines().find_map(|line| line.strip_prefix("ino:")?.trim().parse().ok())
}

/// Whether a descriptor is open only for reading, by the `flags` of `/proc/PID/fdinfo/N` (proc_pid_fdinfo(5),
/// open(2)).
pub fn is_read_only(fdinfo: &[u8]) -> bool {
    let flags = fdinfo.split(|byte| *byte == b'\n').find_map(|line| {
        let digits = std::str::from_utf8(line.strip_prefix(b"flags:")?).ok()?;
        u32::from_str_radix(digits.trim(), 8).ok()
    });
    flags.is_some_and(|flags| flags & 3 == 0)
}

/// Paths of the files that a process has mapped as executable, without duplicates, from `/proc/PID/maps`
/// (proc_pid_maps(5)).
pub fn mapped_files(maps: &[u8]) -> Vec<&[u8]> {
    let mut found: Vec<&[u8]> = maps
        .split(|byte| *byte == b'\n')
        .filter_map(|line| {
            let mut fields = line.splitn(6, |byte| *byte == b' ');
            let is_code = fields.nth(1)?.contains(&b'x');
            let path = fields.nth(3)?.trim_ascii_start();
            (is_code && path.starts_with(b"/")).then_some(path)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// Inode number of a namespace link, `net:[4026531840]` (namespaces(7)).
pub fn namespace_inode(link: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(link).ok()?;
    text.split_once(":[")?.1.strip_suffix(']')?.parse().ok()
}

/// The variables of an environment that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Environment {
    /// `HERMES_HOME`, if it is not empty.
    pub hermes_home: Option<HostPath>,
    /// `HOME`, if it is not empty.
    pub home: Option<HostPath>,
    /// Variables that indicate a supervisor, without noise.
    pub markers: BTreeMap<OwnTerm, ProgramName>,
}

/// Parses the variables of an environment that are used.
pub fn environment(block: &[u8]) -> Environment {
    let mut found = Environment::default();
    for entry in nul_separated(block) {
        let path = |name: &[u8]| entry.strip_prefix(name).filter(|value| !value.is_empty()).map(HostPath::new);
        if entry.starts_with(b"HERMES_HOME=") {
            found.hermes_home = path(b"HERMES_HOME=");
        } else if entry.starts_with(b"HOME=") {
            found.home = path(b"HOME=");
        } else if let Some((name, value)) = printable(entry).split_once('=')
            && !is_noise(name, value)
        {
            found.markers.insert(name.into(), value.into());
        }
    }
    found
}

/// Values that launchd and desktops set in every process: they indicate no supervisor.
fn is_noise(name: &str, value: &str) -> bool {
    value.is_empty() || (name == "XPC_SERVICE_NAME" && (value == "0" || value.starts_with("application.")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_no_marker() {
        let found = environment(
            b"XPC_SERVICE_NAME=0\0XPC_SERVICE_NAME=application.com.apple.Terminal\0INVOCATION_ID=\0SUPERVISOR_ENABLED=1\0HOME=\0\
            HERMES_HOME=/h\xe9\0",
        );
        assert_eq!((found.home, found.hermes_home), (None, Some(HostPath::new(&b"/h\xe9"[..]))));
        assert_eq!(
            found.markers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>(),
            [("SUPERVISOR_ENABLED", "1")]
        );
    }

    const STAT: &[u8] = b"4711 (py) (th\xff on) S 1 4711 4711 0 -1 4194560 1500 0 0 0 10 5 0 0 20 0 3 0 918273 \
        37000000 2300 18446744073709551615 1 1 0 0 0 0 0 0 0 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n";

    #[test]
    fn reads_a_stat_line_with_a_hostile_name() {
        let line = stat(STAT).unwrap();
        assert_eq!(line.name, "py) (th\\xff on");
        assert_eq!((line.ppid, line.session, line.start_ticks), (1, 4711, 918_273));
        assert_eq!(line.state, ProcessState::Sleeping);
        assert!(!line.is_kernel_thread());
    }

    #[test]
    fn misplaced_parentheses_are_an_error() {
        for line in [
            "1 )python( S 1 1 1 0",
            "(python) S 1",
            "1 (python)",
            "1 (python) S)",
            "é(python) S 1",
            "1 (x)é 1",
            "1(python) S 1 4711 4711 0 -1 4194560 1500 0 0 0 10 5 0 0 20 0 3 0 918273",
            "1 (python) SS 1 4711 4711 0 -1 4194560 1500 0 0 0 10 5 0 0 20 0 3 0 918273",
            "1 (python) S 1 4711 4711 0 -1 4194560 1500 0 0 0 10 5 0 0 20 0 3 0",
        ] {
            assert!(stat(line.as_bytes()).is_err(), "{line}");
        }
    }

    const STATUS: &str = "Name:\tpy\\nTgid:\t1\nUmask:\t0022\nState:\tS (sleeping)\nTgid:\t4711\nNgid:\t0\nPid:\t4711\n\
        PPid:\t1\nTracerPid:\t99\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\nGroups:\t4 27 \nNSpid:\t4711\t12\t1\nVmRSS:\t   20480 kB\nThreads:\t3\n";

    #[test]
    fn reads_the_lines_of_a_status() {
        let lines = status(STATUS.as_bytes()).unwrap();
        let expected = StatusLines {
            name: "py\\nTgid:\\u{9}1".into(),
            ppid: Some(1),
            tgid: 4711,
            tracer_pid: Some(99),
            uid: 1000,
            uids: [1000, 1001, 1002, 1003],
            gids: [5, 6, 7, 8],
            groups: vec![4, 27],
            threads: 3,
            resident_bytes: Some(20_480 * 1024),
            namespace_pids: vec![4711, 12, 1],
        };
        assert_eq!(lines, expected);
        // A zombie has no memory, an old kernel has no namespaces, and most processes have no tracer.
        let short = "Tgid:\t7\nTracerPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\nGroups:\t\nThreads:\t1\n";
        let lines = status(short.as_bytes()).unwrap();
        assert_eq!((lines.tracer_pid, lines.resident_bytes, lines.namespace_pids), (None, None, vec![]));
        for (from, to) in [
            ("Threads:\t3", "Threads:\tx"),
            ("Uid:", "Xid:"),
            ("\t1003", ""),
            ("4 27", "4 x"),
            ("Tgid:\t4711", "Tgid:\t-1"),
            ("12\t1", "12\ty"),
            ("PPid:\t1", "PPid:\tx"),
        ] {
            assert!(status(STATUS.replace(from, to).as_bytes()).is_err(), "{to}");
        }
    }

    #[test]
    fn garbage_is_an_error() {
        assert!(stat(b"").is_err());
        assert!(stat(b"1 (x").is_err());
        assert!(status(b"Name: x\n").is_err());
    }

    #[test]
    fn reads_the_mount_mode_and_inode_of_a_descriptor() {
        assert_eq!(mount_id(b"pos:\t0\nflags:\t0100002\nmnt_id:\t28\nino:\t7\n"), Some(28));
        assert_eq!(mount_id(b"pos:\t0\n"), None);
        let is_read_only = |flags: &str| is_read_only(format!("pos:\t0\nflags:\t{flags}\n").as_bytes());
        assert!(is_read_only("0100000") && !is_read_only("0100002") && !is_read_only("0100001"));
        assert!(!is_read_only("x") && !super::is_read_only(b""));
        assert_eq!(descriptor_inode(b"pos:\t0\nflags:\t02\nmnt_id:\t29\nino:\t789\n"), Some(789));
        assert_eq!(descriptor_inode(b"ino:\tx\n"), None);
    }

    #[test]
    fn reads_mapped_files() {
        let maps = b"00400000-0040b000 r-xp 00000000 08:01 77   /usr/bin/python3.11\n\
            0060a000-0060b000 r--p 0000a000 08:01 77   /usr/bin/python3.11\n7f-80 r-xp 0 08:01 9 /my lib/libpython.so (deleted)\n\
            7fff-8000 r-xp 00000000 00:00 0   [vdso]\nbroken\n";
        assert_eq!(mapped_files(maps), [&b"/my lib/libpython.so (deleted)"[..], b"/usr/bin/python3.11"]);
    }

    #[test]
    fn reads_namespace_links() {
        assert_eq!(namespace_inode(b"net:[4026531840]"), Some(4_026_531_840));
        for bad in [&b"net:[x]"[..], b"net:[1", b"", b"\xff:[1]"] {
            assert_eq!(namespace_inode(bad), None);
        }
    }
}
