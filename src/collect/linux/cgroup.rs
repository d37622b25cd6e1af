//! Control groups by id: the id in socket diagnostics is the inode number of the group's directory.

use super::proc_dir::own_mounts;
use crate::collect::Deadline;
use crate::model::text::printable;
use crate::model::{Gap, GapReason};
use crate::parse::mounts::mounts;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Directories that are read; a host has a few hundred.
const MAX_DIRECTORIES: usize = 20_000;
/// Timeout of the walk.
const READ_TIMEOUT: Duration = Duration::from_millis(500);

/// Finds the paths of groups, relative to the root of the cgroup2 tree. A group that no longer exists is not in the
/// result.
pub fn paths(ids: &HashSet<u64>, hints: &[String], deadline: Deadline) -> Result<HashMap<u64, String>, Gap> {
    let deadline = deadline.within(READ_TIMEOUT);
    let mut found = HashMap::new();
    let Some(root) = mount_point() else {
        return Err(Gap::new("control groups of sockets", GapReason::Unsupported, "no cgroup2 tree is mounted"));
    };
    for hint in hints {
        if let Ok(metadata) = std::fs::metadata(root.join(hint.trim_start_matches('/')))
            && ids.contains(&metadata.ino())
        {
            found.insert(metadata.ino(), hint.clone());
        }
    }
    if let Ok(metadata) = std::fs::metadata(&root)
        && ids.contains(&metadata.ino())
    {
        found.insert(metadata.ino(), "/".to_owned());
    }
    let mut waiting = VecDeque::from([root.clone()]);
    let mut seen = 0_usize;
    while found.len() < ids.len() {
        let Some(directory) = waiting.pop_front() else { break };
        seen += 1;
        if seen > MAX_DIRECTORIES || deadline.is_over() {
            let detail = format!("stopped after {seen} control groups");
            return if found.is_empty() {
                Err(Gap::new("control groups of sockets", GapReason::Timeout, detail))
            } else {
                Ok(found)
            };
        }
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if ids.contains(&entry.ino()) {
                found.insert(entry.ino(), relative(&root, &path));
            }
            waiting.push_back(path);
        }
    }
    Ok(found)
}

fn relative(root: &Path, path: &Path) -> String {
    let tail = path.strip_prefix(root).unwrap_or(path);
    format!("/{}", printable(tail.as_os_str().as_bytes()))
}

/// Mount point of the cgroup2 tree.
fn mount_point() -> Option<PathBuf> {
    let found = mounts(&own_mounts()).find(|mount| mount.filesystem == "cgroup2")?;
    Some(PathBuf::from(OsString::from_vec(found.point)))
}
