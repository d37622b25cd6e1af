//! The target of `/proc/PID/fd/N`, from the text of the link alone (proc_pid_fd(5)). Nothing is opened or
//! passed to stat(2).

/// Target of a descriptor, as the link names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link<'a> {
    /// A path, without the kernel's mark of an unlinked file.
    Path {
        /// The path.
        path: &'a [u8],
        /// The text ended in ` (deleted)`: the file is unlinked, or its name ends so.
        marked_deleted: bool,
    },
    /// A socket by its inode.
    Socket(u64),
    /// A pipe by its inode.
    Pipe(u64),
    /// An anonymous inode such as eventfd or epoll, with the name of its kind in the output.
    Anonymous(&'static str),
    /// A memory file.
    Memory,
    /// A namespace, or a target of an unknown kind.
    Other,
}

/// The mark that the kernel appends to the path of an unlinked file (d_path in fs/d_path.c).
pub const DELETED_MARK: &[u8] = b" (deleted)";

/// Parses the text of one link.
pub fn classify(link: &[u8]) -> Link<'_> {
    if link.first() == Some(&b'/') {
        if link.starts_with(b"/memfd:") {
            return Link::Memory;
        }
        return match link.strip_suffix(DELETED_MARK) {
            Some(path) => Link::Path { path, marked_deleted: true },
            None => Link::Path { path: link, marked_deleted: false },
        };
    }
    if let Some(inode) = bracketed(link, b"socket:[") {
        return Link::Socket(inode);
    }
    if let Some(inode) = bracketed(link, b"pipe:[") {
        return Link::Pipe(inode);
    }
    match link {
        b"anon_inode:[eventfd]" => Link::Anonymous("eventfd"),
        b"anon_inode:[eventpoll]" => Link::Anonymous("epoll"),
        b"anon_inode:[timerfd]" => Link::Anonymous("timerfd"),
        b"anon_inode:[signalfd]" => Link::Anonymous("signalfd"),
        b"anon_inode:[pidfd]" => Link::Anonymous("pidfd"),
        b"anon_inode:inotify" | b"anon_inode:[inotify]" => Link::Anonymous("inotify"),
        // Since Linux 6.9 a pidfd has an inode in a filesystem of its own.
        _ if link.starts_with(b"pidfd:[") => Link::Anonymous("pidfd"),
        _ => Link::Other,
    }
}

fn bracketed(link: &[u8], prefix: &[u8]) -> Option<u64> {
    let digits = link.strip_prefix(prefix)?.strip_suffix(b"]")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a path is that of a device file. Shared memory and message queues below `/dev` are not devices.
pub fn is_device_path(path: &[u8]) -> bool {
    path.starts_with(b"/dev/") && !path.starts_with(b"/dev/shm/") && !path.starts_with(b"/dev/mqueue/")
}

/// Whether a file is unlinked by design: shared memory, asynchronous I/O rings, anonymous shared maps and
/// unnamed temporary files (`O_TMPFILE` shows as `/dir/#INODE`, open(2)).
pub fn is_unlinked_by_design(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    path.starts_with(b"/SYSV")
        || path.starts_with(b"/[aio]")
        || path.starts_with(b"/dev/")
        || is_directly_in(path, b"/tmp/")
        || is_directly_in(path, b"/var/tmp/")
        || path.starts_with(b"/anon_hugepage")
        || (name.first() == Some(&b'#') && name.len() > 1 && name[1..].iter().all(u8::is_ascii_digit))
}

/// Libraries create their unnamed files directly in the temporary directory, not below it.
fn is_directly_in(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory).is_some_and(|name| !name.contains(&b'/'))
}

/// The part of a SQLite database that a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SqlitePart {
    /// The database file.
    Database,
    /// The write-ahead log.
    Wal,
    /// The WAL index.
    Shm,
}

/// The database that a path belongs to, and its part: `X`, `X-wal` and `X-shm` are one family if X ends in
/// `.db`, `.sqlite` or `.sqlite3` (the suffixes `-wal` and `-shm` are those of the SQLite WAL documentation).
pub fn sqlite_family(path: &[u8]) -> Option<(&[u8], SqlitePart)> {
    let (base, part) = if let Some(base) = path.strip_suffix(b"-wal") {
        (base, SqlitePart::Wal)
    } else if let Some(base) = path.strip_suffix(b"-shm") {
        (base, SqlitePart::Shm)
    } else {
        (path, SqlitePart::Database)
    };
    [&b".db"[..], b".sqlite", b".sqlite3"]
        .iter()
        .any(|suffix| base.ends_with(suffix) && base.len() > suffix.len())
        .then_some((base, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinguishes_link_kinds() {
        assert_eq!(classify(b"socket:[123]"), Link::Socket(123));
        assert_eq!(classify(b"pipe:[9]"), Link::Pipe(9));
        assert_eq!(classify(b"anon_inode:[eventpoll]"), Link::Anonymous("epoll"));
        assert_eq!(classify(b"anon_inode:inotify"), Link::Anonymous("inotify"));
        assert_eq!(classify(b"/memfd:x (deleted)"), Link::Memory);
        assert_eq!(classify(b"net:[4026531840]"), Link::Other);
        assert_eq!(classify(b"socket:[x]"), Link::Other);
        assert_eq!(classify(b"/a b"), Link::Path { path: b"/a b", marked_deleted: false });
        assert_eq!(classify(b"/a (deleted)"), Link::Path { path: b"/a", marked_deleted: true });
        assert_eq!(classify(b""), Link::Other);
    }

    #[test]
    fn recognises_files_that_are_unlinked_by_design() {
        for path in [&b"/SYSV00000000"[..], b"/[aio]", b"/dev/zero", b"/tmp/x", b"/srv/#1234"] {
            assert!(is_unlinked_by_design(path), "{}", String::from_utf8_lossy(path));
        }
        assert!(!is_unlinked_by_design(b"/home/h/.hermes/state.db-wal"));
        assert!(!is_unlinked_by_design(b"/srv/#notes"));
        assert!(!is_unlinked_by_design(b"/tmp/home/webui.log"));
    }

    #[test]
    fn groups_database_files() {
        assert_eq!(sqlite_family(b"/h/state.db"), Some((&b"/h/state.db"[..], SqlitePart::Database)));
        assert_eq!(sqlite_family(b"/h/state.db-wal"), Some((&b"/h/state.db"[..], SqlitePart::Wal)));
        assert_eq!(sqlite_family(b"/h/x.sqlite3-shm"), Some((&b"/h/x.sqlite3"[..], SqlitePart::Shm)));
        assert_eq!(sqlite_family(b"/h/state.db.bak"), None);
        assert_eq!(sqlite_family(b".db"), None);
        assert_eq!(sqlite_family(b"/h/notes-wal"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            let _ = classify(&bytes);
            let _ = sqlite_family(&bytes);
            let _ = is_unlinked_by_design(&bytes);
        }
    }
}
