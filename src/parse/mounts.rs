//! Mount tables: `/proc/PID/mountinfo` (proc_pid_mountinfo(5)). The parser of procfs expects UTF-8 text, but a
//! mount point can contain any byte.

use std::collections::HashMap;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Mount id, unique in the whole system.
    pub id: u64,
    /// Device, as in the table of locks. On btrfs and overlayfs it differs from the device of stat(2).
    pub device: (u32, u32),
    /// The directory of its filesystem that is mounted.
    pub root: Vec<u8>,
    /// Mount point.
    pub point: Vec<u8>,
    /// Type of the filesystem.
    pub filesystem: String,
    /// Superblock options, separated by commas.
    pub options: String,
}

impl Mount {
    /// Whether its filesystem is in memory or on a local disk. Files on other mounts are never read: their
    /// server may be down, and the read would hang.
    pub fn is_local(&self) -> bool {
        LOCAL.contains(&&*self.filesystem)
    }

    /// The value of a superblock option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.split(',').find_map(|option| option.strip_prefix(name)?.strip_prefix('='))
    }

    /// The user that mounted a filesystem in user space (`user_id`, mount.fuse3(8)).
    pub fn mounted_by(&self) -> Option<u32> {
        self.option("user_id")?.parse().ok()
    }

    /// Whether a path is below its mount point, by its text.
    fn is_above(&self, path: &[u8]) -> bool {
        let rest = path.strip_prefix(&*self.point);
        self.point == b"/" || rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    }
}

/// The mounts of a table, in its order. A line that does not parse is skipped.
pub fn mounts(table: &[u8]) -> impl DoubleEndedIterator<Item = Mount> {
    table.split(|byte| *byte == b'\n').filter_map(mount)
}

/// Mounts by id, each with whether it is local.
pub fn local_mounts(table: &[u8]) -> HashMap<u64, bool> {
    mounts(table).map(|mount| (mount.id, mount.is_local())).collect()
}

/// The mount with an id.
pub fn by_id(table: &[u8], id: u64) -> Option<Mount> {
    mounts(table).find(|mount| mount.id == id)
}

/// The mount that contains a path, by its text. Of two mounts on one point the later one is on top.
pub fn of_path<'m>(mounts: &'m [Mount], path: &[u8]) -> Option<&'m Mount> {
    mounts.iter().filter(|mount| mount.is_above(path)).max_by_key(|mount| mount.point.len())
}

/// Whether `/proc` hides the processes of other users (proc(5), `hidepid`), and the group that is exempt.
/// Kernels before 5.8 show the mode as a number.
pub fn hidepid(table: &[u8]) -> Option<Option<u32>> {
    // The last mount on `/proc` is the visible one.
    let proc = mounts(table).rev().find(|mount| mount.point == b"/proc" && mount.filesystem == "proc")?;
    match proc.option("hidepid")? {
        "0" | "off" => None,
        // In this mode a process is visible only to those that may trace it, and the group does not matter.
        "4" | "ptraceable" => Some(None),
        _ => Some(proc.option("gid").and_then(|gid| gid.parse().ok())),
    }
}

fn mount(line: &[u8]) -> Option<Mount> {
    let separator = memchr::memmem::find(line, b" - ")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    let mut before = line.get(..separator)?.split(|byte| *byte == b' ');
    let (id, _parent, device) = (before.next()?, before.next()?, before.next()?);
    let (root, point) = (before.next()?, before.next()?);
    let mut after = line.get(separator + 3..)?.split(|byte| *byte == b' ');
    let (filesystem, _source) = (after.next()?, after.next());
    let (major, minor) = std::str::from_utf8(device).ok()?.split_once(':')?;
    Some(Mount {
        id: number(id)?,
        device: (major.parse().ok()?, minor.parse().ok()?),
        root: unescaped(root),
        point: unescaped(point),
        filesystem: text(filesystem),
        options: after.next().map(text).unwrap_or_default(),
    })
}

/// A name with its escapes decoded: the table writes space, tab, newline and backslash as `\ooo`.
fn unescaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    out
}

/// Filesystems in memory or on a local disk.
const LOCAL: &[&str] = &[
    "bcachefs",
    "btrfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "devtmpfs",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "hugetlbfs",
    "iso9660",
    "jfs",
    "mqueue",
    "overlay",
    "proc",
    "ramfs",
    "reiserfs",
    "rootfs",
    "squashfs",
    "sysfs",
    "tmpfs",
    "vfat",
    "xfs",
    "zfs",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_how_processes_are_hidden() {
        let table = |options: &str| {
            format!("25 1 0:24 / /sys rw - sysfs sysfs rw\n26 1 0:23 / /proc rw,nosuid - proc proc {options}\n")
        };
        for (options, expected) in [
            ("rw", None),
            ("rw,hidepid=off", None),
            ("rw,hidepid=0", None),
            ("rw,hidepid=2", Some(None)),
            ("rw,hidepid=invisible", Some(None)),
            ("rw,gid=27,hidepid=noaccess", Some(Some(27))),
            ("rw,gid=27,hidepid=ptraceable", Some(None)),
        ] {
            assert_eq!(hidepid(table(options).as_bytes()), expected, "{options}");
        }
        // A mount on top of `/proc` counts; a mount at another place does not.
        let two = table("rw,hidepid=2")
            + "90 26 0:50 / /proc rw - proc proc rw\n91 1 0:51 / /c/proc rw - proc proc rw,hidepid=2\n";
        assert_eq!(hidepid(two.as_bytes()), None);
        for damaged in [&b""[..], b" - ", b"\xff - proc", b"1 2 3 4 /proc - proc"] {
            assert_eq!(hidepid(damaged), None);
        }
    }

    #[test]
    fn local_mounts_leave_out_network_and_fuse() {
        let table = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
            40 22 0:44 / /mnt/nfs rw shared:5 - nfs4 server:/x rw\n\
            41 22 0:45 / /mnt/f rw - fuse.sshfs s rw\n23 22 0:5 / /dev rw - devtmpfs dev rw\nbroken\n";
        let mut found: Vec<_> = local_mounts(table).into_iter().collect();
        found.sort_unstable();
        assert_eq!(found, [(22, true), (23, true), (40, false), (41, false)]);
    }

    #[test]
    fn finds_the_device_of_a_path() {
        let table = b"1 0 0:30 / / rw - btrfs /dev/sda rw\n2 1 0:31 / /home rw - btrfs x rw\n\
            3 2 8:1 / /home/h/my\\040disk rw - ext4 x rw\ngarbage\n4 1 0:99 / /homestead rw - x x rw\n\
            5 1 0:40 / /n\xe9 rw - nfs4 x rw\n";
        let all = |table: &[u8]| mounts(table).collect::<Vec<_>>();
        let device_of_mount =
            |table: &[u8], path: &[u8]| of_path(&all(table), path).map(|found| (found.device, found.is_local()));
        assert_eq!(device_of_mount(table, b"/etc/x"), Some(((0, 30), true)));
        assert_eq!(device_of_mount(table, b"/home/h/.hermes/state.db"), Some(((0, 31), true)));
        assert_eq!(device_of_mount(table, b"/home/h/my disk/state.db"), Some(((8, 1), true)));
        assert_eq!(device_of_mount(table, b"/n\xe9/x"), Some(((0, 40), false)));
        assert_eq!(device_of_mount(b"", b"/x"), None);
    }

    #[test]
    fn splits_a_mount_line_into_fields() {
        let table = b"36 31 0:33 /docker/abc /mnt/my\\040groups rw,relatime shared:9 - fuse.x some rw,user_id=4000,group_id=0\n7 1 0:1 / /x rw - tmpfs x\n";
        let mount = by_id(table, 36).unwrap();
        assert_eq!((&*mount.root, &*mount.point), (&b"/docker/abc"[..], &b"/mnt/my groups"[..]));
        assert_eq!((mount.device, &*mount.filesystem), ((0, 33), "fuse.x"));
        assert_eq!((mount.mounted_by(), mount.option("user")), (Some(4000), None));
        assert_eq!(by_id(table, 7).map(|mount| (mount.is_local(), mount.mounted_by())), Some((true, None)));
        assert_eq!(by_id(table, 3), None);
        assert_eq!(mounts(b"garbage - cgroup\n - cgroup2\n").count(), 0);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(table in "[-0-9:/ a-z\\\\\n]{0,80}") {
            mounts(table.as_bytes()).for_each(drop);
        }
    }
}
