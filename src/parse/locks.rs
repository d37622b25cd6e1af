//! The kernel's table of file locks, `/proc/locks` (proc_locks(5)), and the results of single lock queries on
//! systems without this table.

use super::link::SqlitePart;
use super::sqlite::{lock_roles_of_database, lock_roles_of_index};
use crate::model::DatabaseLock;
use crate::model::text::printable;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelLock {
    /// Id of the lock; a waiter has the id of the lock that it waits for.
    pub id: u64,
    /// Whether the lock is waited for (`->`) and not held.
    pub is_waiting: bool,
    /// `POSIX`, `FLOCK`, `OFDLCK`, `LEASE` …
    pub class: String,
    /// Whether it is a write lock.
    pub exclusive: bool,
    /// Holder; `None` where the table shows no process of this pid namespace: locks of an open file description
    /// (-1), of another pid namespace (0), of an NFS client (negative).
    pub pid: Option<u32>,
    /// Major number of the filesystem's device. On btrfs and overlayfs it differs from the one of stat(2).
    pub major: u32,
    /// Minor number of that device.
    pub minor: u32,
    /// Inode.
    pub inode: u64,
    /// First byte of the range.
    pub start: u64,
    /// Last byte of the range, inclusive; `None` is the end of the file, even if the file grows.
    pub end: Option<u64>,
}

impl KernelLock {
    /// Whether it is a byte-range lock, the kind that SQLite uses.
    pub fn is_range(&self) -> bool {
        matches!(self.class.as_str(), "POSIX" | "OFDLCK")
    }
}

/// Parses the table. The second value is the number of lines that did not parse.
pub fn parse(table: &[u8]) -> (Vec<KernelLock>, usize) {
    let mut rows = Vec::new();
    let mut bad = 0;
    for line in table.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        match parse_line(line) {
            Some(row) => rows.push(row),
            None => bad += 1,
        }
    }
    (rows, bad)
}

/// `1: -> POSIX  ADVISORY  WRITE 4711 fe:00:789 1073741826 1073742335`
fn parse_line(line: &[u8]) -> Option<KernelLock> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace().peekable();
    let id = words.next()?.strip_suffix(':')?.parse().ok()?;
    let is_waiting = words.next_if_eq(&"->").is_some();
    let class = printable(words.next()?.as_bytes());
    let _enforcement = words.next()?;
    let exclusive = match words.next()? {
        "WRITE" | "RW" => true,
        // A lease that is being released shows UNLCK, an old mandatory share mode NONE.
        "READ" | "UNLCK" | "NONE" => false,
        _ => return None,
    };
    let pid: i64 = words.next()?.parse().ok()?;
    let mut file = words.next()?.split(':');
    let major = u32::from_str_radix(file.next()?, 16).ok()?;
    let minor = u32::from_str_radix(file.next()?, 16).ok()?;
    let inode = file.next()?.parse().ok()?;
    let start = words.next()?.parse().ok()?;
    let end = match words.next()? {
        "EOF" => None,
        number => Some(number.parse().ok()?),
    };
    if file.next().is_some() || words.next().is_some() || end.is_some_and(|end| end < start) {
        return None;
    }
    let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0);
    Some(KernelLock { id, is_waiting, class, exclusive, pid, major, minor, inode, start, end })
}

/// Ranges of a database file, as first byte and length, that are queried with fcntl(2) on systems without a
/// lock table: its pending, reserved and shared bytes (the lock bytes of the SQLite file format).
pub const DATABASE_QUESTIONS: &[(u64, u64)] = &[(0x4000_0000, 1), (0x4000_0001, 1), (0x4000_0002, 510)];
/// The same for a `-shm` file: writer, checkpointer, recovery, five read slots and the dead-man switch (wal.c,
/// os_unix.c).
pub const INDEX_QUESTIONS: &[(u64, u64)] =
    &[(120, 1), (121, 1), (122, 1), (123, 1), (124, 1), (125, 1), (126, 1), (127, 1), (128, 1)];

/// Roles of the locks that such queries found. Each line is `START LENGTH w|r PID`; a length of 0 means the end
/// of the file. Each query is about one role, so one lock that covers several roles is reported several times.
/// Lines that do not parse are skipped.
pub fn roles_of_answers(answer: &[u8], part: SqlitePart) -> Vec<DatabaseLock> {
    let text = String::from_utf8_lossy(answer);
    let mut found: Vec<DatabaseLock> = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let [start, length, kind, pid] = words.as_slice() else { continue };
        let (Ok(start), Ok(length), Ok(pid)) = (start.parse::<u64>(), length.parse::<u64>(), pid.parse::<i64>())
        else {
            continue;
        };
        let end = (length > 0).then(|| start.saturating_add(length - 1));
        let roles = match part {
            SqlitePart::Shm => lock_roles_of_index(start, end),
            _ => lock_roles_of_database(start, end).into_iter().map(|role| (role, None)).collect(),
        };
        for (role, slot) in roles {
            let pid = u32::try_from(pid).ok().filter(|pid| *pid != 0);
            let lock = DatabaseLock { role, exclusive: *kind == "w", pid, is_waiting: false, slot };
            if !found.contains(&lock) {
                found.push(lock);
            }
        }
    }
    found.sort_by_key(|lock| (lock.role, lock.slot, lock.pid));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"1: POSIX  ADVISORY  READ 5287 00:29:21 128 128\n\
        1: -> POSIX  ADVISORY  WRITE 5300 00:29:21 128 128\n\
        1:     -> POSIX  ADVISORY  WRITE 5301 00:29:21 120 128\n\
        2: POSIX  ADVISORY  READ 5287 fe:00:18446744073709551615 1073741826 1073742335\n\
        3: OFDLCK ADVISORY  WRITE -1 08:1a:789 0 EOF\n\
        4: FLOCK  ADVISORY  WRITE 0 103:100000:5 0 EOF\n\
        5: LEASE  BREAKING  UNLCK 77 00:0a:6 0 EOF\n\
        6: POSIX  *NOINODE* READ 77 <none>:0 0 EOF\n\
        7: POSIX  ADVISORY  READ 12 00:29:21 1\n\
        what\xff is this\n\n";

    #[test]
    fn one_bad_line_does_not_cost_the_table() {
        let (rows, bad) = parse(TABLE);
        assert_eq!((rows.len(), bad), (7, 3));
        assert_eq!(
            rows[0],
            KernelLock {
                id: 1,
                is_waiting: false,
                class: "POSIX".to_owned(),
                exclusive: false,
                pid: Some(5287),
                major: 0,
                minor: 0x29,
                inode: 21,
                start: 128,
                end: Some(128),
            }
        );
        assert!(rows[1].is_waiting && rows[1].exclusive && rows[1].id == 1);
        assert!(rows[2].is_waiting && rows[2].pid == Some(5301));
        assert_eq!((rows[3].major, rows[3].inode), (0xfe, u64::MAX));
        assert_eq!((rows[4].pid, rows[4].minor, rows[4].end), (None, 0x1a, None));
        assert_eq!((rows[5].pid, rows[5].major, rows[5].minor), (None, 0x103, 0x10_0000));
        assert!(rows[4].is_range() && !rows[5].is_range() && !rows[6].is_range());
    }

    #[test]
    fn refuses_malformed_input() {
        for line in [
            "1: POSIX ADVISORY READ 5 00:29:21 9 8",
            "1: POSIX ADVISORY READ 5 00:29:21 -1 8",
            "1: POSIX ADVISORY READ 5 00:29:21:4 1 8",
            "1: POSIX ADVISORY READ 5 00:29:21 1 8 9",
            "1: POSIX ADVISORY LATER 5 00:29:21 1 8",
            "1 POSIX ADVISORY READ 5 00:29:21 1 8",
            "->",
        ] {
            assert_eq!(parse(line.as_bytes()), (Vec::new(), 1), "{line}");
        }
    }

    #[test]
    fn answers_about_single_locks_have_roles() {
        let words = |answer: &[u8], part| -> Vec<String> {
            let found = roles_of_answers(answer, part);
            found.iter().map(|lock| format!("{} {:?}", lock.words(), lock.pid)).collect()
        };
        let index = b"120 1 w 4711\n124 1 r 12\n128 1 r 12\n128 1 r 12\n";
        assert_eq!(
            words(index, SqlitePart::Shm),
            ["writer Some(4711)", "read slot 1 Some(12)", "dead-man switch Some(12)",]
        );
        assert_eq!(words(b"1073741826 510 w 5\n", SqlitePart::Database), ["exclusive Some(5)"]);
        // A lock to the end of the file, one of an open file description, and a line that does not parse.
        assert_eq!(
            words(b"1073741824 0 r -1\n", SqlitePart::Database),
            ["shared None", "reserved None", "pending None"]
        );
        assert_eq!(words(b"x\n1 2 w\n-1 1 r 5\n18446744073709551615 9 w 5\n", SqlitePart::Database).len(), 0);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = parse(&bytes);
            let _ = roles_of_answers(&bytes, SqlitePart::Shm);
        }

        #[test]
        fn never_panics_on_nearly_right_lines(
            line in "[0-9]{1,3}: (-> )?POSIX  [A-Z]{4} (READ|WRITE) -?[0-9]{1,22} \
                [0-9a-f]{0,9}:[0-9a-f]{2}:[0-9]{1,22} [0-9]{1,22} ([0-9]{1,22}|EOF)"
        ) {
            let (rows, bad) = parse(line.as_bytes());
            proptest::prop_assert_eq!(rows.len() + bad, 1);
        }
    }
}
