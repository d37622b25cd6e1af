//! Limits of tasks and memory: `/proc/sys`, `/proc/loadavg`, `/proc/pressure`, and the files of control groups.

use super::mounts::{Mount, mounts};
use crate::model::{MemoryGroup, Pressure, TaskGroup};
use std::collections::BTreeMap;

/// The controllers with limits that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Number of tasks.
    Pids,
    /// Memory.
    Memory,
}

impl Controller {
    /// Its name in the kernel's tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pids => "pids",
            Self::Memory => "memory",
        }
    }
}

/// Mount of a hierarchy of control groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// Version of the hierarchy.
    pub version: u8,
    /// Controllers of version 1; in version 2 each group has its own.
    pub controllers: Vec<String>,
    /// The group at the mount point.
    pub root: String,
    /// The mount point.
    pub point: String,
}

/// Hierarchies of `/proc/self/mountinfo`.
pub fn hierarchies(mountinfo: &[u8]) -> Vec<Hierarchy> {
    let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let of_mount = |mount: Mount| {
        let version = match &*mount.filesystem {
            "cgroup" => 1,
            "cgroup2" => 2,
            _ => return None,
        };
        let options = if version == 1 { &*mount.options } else { "" };
        let controllers = options.split(',').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        Some(Hierarchy { version, controllers, root: text(&mount.root), point: text(&mount.point) })
    };
    mounts(mountinfo).filter_map(of_mount).collect()
}

/// The group of a controller in `/proc/PID/cgroup` (cgroups(7)): version and path. It is that of version 1 if a
/// version 1 hierarchy has the controller, else that of the unified hierarchy.
pub fn group_of(cgroup: &[u8], controller: Controller) -> Option<(u8, String)> {
    let text = String::from_utf8_lossy(cgroup);
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        Some((fields.next()?, fields.next()?, fields.next()?))
    });
    let mut unified = None;
    for (hierarchy, controllers, path) in lines {
        if controllers.split(',').any(|name| name == controller.name()) {
            return Some((1, path.to_owned()));
        }
        if hierarchy == "0" && controllers.is_empty() {
            unified = Some((2, path.to_owned()));
        }
    }
    unified
}

/// The directory of a group below its mount point and its parents up to the mount point, each with its path.
/// `None` if the group is not below the mounted group, as in another cgroup namespace.
pub fn directories(mount: &Hierarchy, path: &str) -> Option<Vec<(String, String)>> {
    if path.split('/').any(|part| part == "..") || mount.root.split('/').any(|part| part == "..") {
        return None;
    }
    let root = mount.root.trim_end_matches('/');
    let below = path.strip_prefix(root).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
    let mut below = below.trim_end_matches('/');
    let mut found = Vec::new();
    loop {
        let path = format!("{root}{below}");
        let path = if path.is_empty() { "/".to_owned() } else { path };
        found.push((path, format!("{}{below}", mount.point.trim_end_matches('/'))));
        let Some(end) = below.rfind('/') else { break };
        below = below.get(..end)?;
    }
    Some(found)
}

/// A file with one number; `max` and text that is not a number are `None`.
pub fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.trim().parse().ok()
}

/// A limit in bytes of version 1, where "no limit" is the largest number of whole pages: values that exceed any
/// machine are `None`.
pub fn limit(bytes: &[u8]) -> Option<u64> {
    number(bytes).filter(|bytes| *bytes < 1 << 60)
}

/// One value of a file of keys and numbers, such as `pids.events` and `memory.stat`.
pub fn keyed(bytes: &[u8], key: &str) -> Option<u64> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.lines().find_map(|line| {
        let (name, value) = line.split_once(' ')?;
        (name == key).then(|| value.trim().parse().ok())?
    })
}

/// A file of `/proc/pressure`, or a group's `memory.pressure` (the kernel's accounting/psi document).
pub fn pressure(bytes: &[u8]) -> Option<Pressure> {
    let text = std::str::from_utf8(bytes).ok()?;
    let average = |kind: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        line.split(' ').find_map(|word| word.strip_prefix("avg10="))?.parse().ok()
    };
    let is_share = |share: &f64| share.is_finite() && (0.0..=100.0).contains(share);
    Some(Pressure { some_avg10: average("some ").filter(is_share)?, full_avg10: average("full ").filter(is_share) })
}

/// Files of one group by name; files that do not exist are missing.
pub type GroupFiles = BTreeMap<&'static str, Vec<u8>>;

/// Names of the files of a group that a controller has.
pub fn files_of(controller: Controller, version: u8) -> &'static [&'static str] {
    match (controller, version) {
        (Controller::Pids, _) => &["pids.current", "pids.max", "pids.events"],
        (Controller::Memory, 1) => &[
            "memory.usage_in_bytes",
            "memory.limit_in_bytes",
            "memory.stat",
            "memory.oom_control",
            "memory.failcnt",
        ],
        (Controller::Memory, _) => &[
            "memory.current",
            "memory.high",
            "memory.max",
            "memory.stat",
            "memory.events",
            "memory.events.local",
            "memory.pressure",
        ],
    }
}

/// The tasks of a group (the kernel's cgroup-v1/pids and cgroup-v2 documents). `None` for a parent group
/// without a limit, and where the controller is missing.
pub fn task_group(path: String, version: u8, is_own: bool, files: &GroupFiles) -> Option<TaskGroup> {
    let file = |name: &str| files.get(name).map(Vec::as_slice);
    let group = TaskGroup {
        path: path.into(),
        version,
        is_own,
        current: file("pids.current").and_then(number),
        max: file("pids.max").and_then(number),
        refused: file("pids.events").and_then(|bytes| keyed(bytes, "max")),
        refused_since: None,
    };
    (group.max.is_some() || is_own && group.current.is_some()).then_some(group)
}

/// The memory of a group (the kernel's cgroup-v1/memory and cgroup-v2 documents), likewise.
pub fn memory_group(path: String, version: u8, is_own: bool, files: &GroupFiles) -> Option<MemoryGroup> {
    let file = |name: &str| files.get(name).map(Vec::as_slice);
    let entry = |name: &str, key: &str| keyed(file(name)?, key);
    let cached = |active: &str, inactive: &str| {
        Some(entry("memory.stat", active)?.saturating_add(entry("memory.stat", inactive)?))
    };
    let group = MemoryGroup { path: path.into(), version, is_own, ..MemoryGroup::default() };
    let group = match version {
        1 => MemoryGroup {
            current_bytes: file("memory.usage_in_bytes").and_then(number),
            file_cache_bytes: cached("total_active_file", "total_inactive_file"),
            max_bytes: file("memory.limit_in_bytes").and_then(limit),
            oom_kills: entry("memory.oom_control", "oom_kill"),
            max_events: file("memory.failcnt").and_then(number),
            ..group
        },
        _ => MemoryGroup {
            current_bytes: file("memory.current").and_then(number),
            file_cache_bytes: cached("active_file", "inactive_file"),
            high_bytes: file("memory.high").and_then(number),
            max_bytes: file("memory.max").and_then(number),
            oom_kills: entry("memory.events.local", "oom_kill").or_else(|| entry("memory.events", "oom_kill")),
            high_events: entry("memory.events", "high"),
            max_events: entry("memory.events", "max"),
            pressure: file("memory.pressure").and_then(pressure),
            ..group
        },
    };
    let is_limited = group.max_bytes.is_some() || group.high_bytes.is_some();
    (is_limited || is_own && group.current_bytes.is_some()).then_some(group)
}

/// Whether the limit of processes applies to a process: it is not root and has neither `CAP_SYS_RESOURCE` nor
/// `CAP_SYS_ADMIN` (capabilities(7); the check is `copy_process` of the kernel's kernel/fork.c). From
/// `/proc/PID/status`.
pub fn is_bound(status: &[u8]) -> Option<bool> {
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_SYS_RESOURCE: u32 = 24;
    let text = String::from_utf8_lossy(status);
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let capabilities = u64::from_str_radix(field("CapEff:")?, 16).ok()?;
    let uid: u32 = field("Uid:")?.split_ascii_whitespace().next()?.parse().ok()?;
    let mighty = 1_u64 << CAP_SYS_ADMIN | 1_u64 << CAP_SYS_RESOURCE;
    Some(uid != 0 && capabilities & mighty == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_hierarchies_wherever_they_are_mounted() {
        let table = b"\
25 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n\
36 31 0:33 /docker/abc /mnt/my\\040groups rw - cgroup cgroup rw,cpu,pids\n\
41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = hierarchies(table);
        assert_eq!(found.len(), 3);
        assert_eq!((found[0].version, found[0].controllers.last().map(String::as_str)), (1, Some("memory")));
        assert_eq!((found[1].root.as_str(), found[1].point.as_str()), ("/docker/abc", "/mnt/my groups"));
        assert_eq!((found[2].version, found[2].controllers.len()), (2, 0));
    }

    #[test]
    fn a_controller_is_in_one_hierarchy_only() {
        let cgroup = b"8:cpu,pids:/a\n4:memory:/b:c\n1:name=systemd:/s\n0::/u\n";
        assert_eq!(group_of(cgroup, Controller::Pids), Some((1, "/a".into())));
        assert_eq!(group_of(cgroup, Controller::Memory), Some((1, "/b:c".into())));
        assert_eq!(group_of(b"0::/u\n", Controller::Memory), Some((2, "/u".into())));
        assert_eq!(group_of(b"1:name=systemd:/s\n", Controller::Memory), None);
    }

    #[test]
    fn goes_up_to_the_mount_point() {
        let mount =
            |root: &str| Hierarchy { version: 2, controllers: Vec::new(), root: root.into(), point: "/c".into() };
        let paths = |root: &str, path: &str| {
            directories(&mount(root), path)
                .map(|found| found.into_iter().map(|(path, directory)| format!("{path}={directory}")).collect())
        };
        assert_eq!(paths("/", "/a/b"), Some(vec!["/a/b=/c/a/b".to_owned(), "/a=/c/a".into(), "/=/c".into()]));
        assert_eq!(paths("/", "/"), Some(vec!["/=/c".to_owned()]));
        assert_eq!(
            paths("/docker/x", "/docker/x/y"),
            Some(vec!["/docker/x/y=/c/y".to_owned(), "/docker/x=/c".into()])
        );
        assert_eq!(paths("/docker/x", "/docker/xy"), None);
        assert_eq!(paths("/", "/../other"), None);
    }

    #[test]
    fn no_limit_is_not_a_number() {
        assert_eq!((number(b"max\n"), number(b"512\n"), number(b"")), (None, Some(512), None));
        assert_eq!((limit(b"9223372036854771712\n"), limit(b"104857600\n")), (None, Some(104_857_600)));
        let events = b"low 0\nhigh 3\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(
            (keyed(events, "oom_kill"), keyed(events, "max"), keyed(events, "x")),
            (Some(1), Some(12), None)
        );
        assert_eq!(keyed(b"\xff", "max"), None);
    }

    #[test]
    fn reads_pressure() {
        let text =
            b"some avg10=12.50 avg60=1.00 avg300=0.10 total=99\nfull avg10=3.25 avg60=0.00 avg300=0.00 total=1\n";
        assert_eq!(pressure(text), Some(Pressure { some_avg10: 12.5, full_avg10: Some(3.25) }));
        assert_eq!(pressure(b"some avg10=1.00 total=9\n"), Some(Pressure { some_avg10: 1.0, full_avg10: None }));
        assert_eq!((pressure(b""), pressure(b"some avg10=NaN\n")), (None, None));
    }

    #[test]
    fn finds_whether_a_process_is_bound_by_the_process_limit() {
        let status = |uid: u32, capabilities: &str| {
            format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities}\n")
        };
        assert_eq!(is_bound(status(1000, "0000000000000000").as_bytes()), Some(true));
        assert_eq!(is_bound(status(0, "0000000000000000").as_bytes()), Some(false));
        assert_eq!(is_bound(status(1000, "0000000001000000").as_bytes()), Some(false));
        assert_eq!(is_bound(status(1000, "0000000000200000").as_bytes()), Some(false));
        assert_eq!(is_bound(b"Uid: x"), None);
    }

    fn files(had: &[(&'static str, &str)]) -> GroupFiles {
        had.iter().map(|(name, text)| (*name, text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn a_group_of_version_2_in_its_own_words() {
        let had = files(&[
            ("memory.current", "104857600\n"),
            ("memory.high", "max\n"),
            ("memory.max", "209715200\n"),
            ("memory.stat", "anon 1\nfile 9\ninactive_file 100\nactive_file 20\n"),
            ("memory.events", "low 0\nhigh 0\nmax 7\noom 2\noom_kill 5\n"),
            ("memory.events.local", "low 0\nhigh 0\nmax 7\noom 1\noom_kill 1\n"),
            (
                "memory.pressure",
                "some avg10=1.50 avg60=0 avg300=0 total=0\nfull avg10=0.50 avg60=0 avg300=0 total=0\n",
            ),
        ]);
        let group = memory_group("/a".into(), 2, true, &had).unwrap();
        assert_eq!(
            (group.current_bytes, group.high_bytes, group.max_bytes),
            (Some(100 << 20), None, Some(200 << 20))
        );
        // Kills in child groups do not count for this group.
        assert_eq!((group.oom_kills, group.max_events, group.file_cache_bytes), (Some(1), Some(7), Some(120)));
        assert_eq!(group.pressure.map(|pressure| pressure.some_avg10), Some(1.5));
        // A missing value is not zero.
        let bare = memory_group("/a".into(), 2, true, &files(&[("memory.current", "1\n")])).unwrap();
        assert_eq!(
            (bare.oom_kills, bare.max_events, bare.file_cache_bytes, bare.pressure),
            (None, None, None, None)
        );
        assert_eq!(memory_group("/".into(), 2, true, &GroupFiles::new()), None);
        let above = files(&[("memory.current", "1\n"), ("memory.max", "max\n"), ("memory.high", "max\n")]);
        assert_eq!(memory_group("/".into(), 2, false, &above), None);
    }

    #[test]
    fn a_group_of_version_1_in_its_own_words() {
        let had = files(&[
            ("memory.usage_in_bytes", "67108864\n"),
            ("memory.limit_in_bytes", "67108864\n"),
            ("memory.stat", "cache 1\ntotal_inactive_file 30\ntotal_active_file 12\n"),
            ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n"),
            ("memory.failcnt", "119\n"),
        ]);
        let group = memory_group("/a".into(), 1, true, &had).unwrap();
        assert_eq!((group.max_bytes, group.oom_kills, group.max_events), (Some(64 << 20), Some(3), Some(119)));
        assert_eq!((group.file_cache_bytes, group.high_events), (Some(42), None));
        let tasks = files(&[("pids.current", "9\n"), ("pids.max", "max\n"), ("pids.events", "max 4\n")]);
        let group = task_group("/a".into(), 1, true, &tasks).unwrap();
        assert_eq!((group.current, group.max, group.refused), (Some(9), None, Some(4)));
        assert_eq!(task_group("/".into(), 1, false, &tasks), None);
    }
}
