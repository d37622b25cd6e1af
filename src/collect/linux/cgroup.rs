//! Control groups by id: the id in socket diagnostics is the inode number of the group's directory. The worker
//! searches the tree, because in a container lxcfs can be mounted over a part of it.

use crate::collect::worker::Request;
use crate::collect::worker::wire::{Answer, GroupSearch, GroupsFound};
use crate::collect::workers::Workers;
use crate::model::text::printable;
use crate::model::{Gap, GapDetail, GapReason, GapSubject};
use serde_bytes::ByteBuf;
use std::collections::{HashMap, HashSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Directories that are read; a host has a few hundred.
const MAX_DIRECTORIES: u32 = 20_000;
/// Timeout of the search. It is shorter than that of a request to the worker, so that what was found by then is not lost.
const SEARCH_TIMEOUT: Duration = Duration::from_millis(300);

/// Finds the paths of groups, relative to the root of the cgroup2 tree; `hints` are tried first. A group that no
/// longer exists is not in the result.
///
/// # Errors
/// A gap where no cgroup2 tree is mounted, or no group was found in time.
pub fn paths(workers: &Workers, ids: &HashSet<u64>, hints: &[String]) -> Result<HashMap<u64, String>, Gap> {
    let gap = |reason, detail| Gap::new(GapSubject::ControlGroupsOfSockets, reason, detail);
    let Some(root) = workers.mounts().iter().find(|mount| mount.filesystem == "cgroup2") else {
        return Err(gap(GapReason::Unsupported, GapDetail::NoCgroupTree));
    };
    let search = GroupSearch {
        root: ByteBuf::from(root.point.clone()),
        ids: ids.iter().copied().collect(),
        hints: hints.to_vec(),
    };
    match workers.of_processes(&[Request::ControlGroups(search)]).pop() {
        Some(Ok(Answer::Groups(found))) => match found.stopped_after.filter(|_| found.paths.is_empty()) {
            Some(seen) => Err(gap(GapReason::Timeout, GapDetail::StoppedAfter { count: seen.into() })),
            None => Ok(found.paths),
        },
        Some(Err(failed)) => Err(gap(failed.reason, failed.detail)),
        Some(Ok(_)) | None => Err(gap(GapReason::Unsupported, GapDetail::WorkerSilent)),
    }
}

/// The worker's side.
pub fn search(search: GroupSearch) -> GroupsFound {
    let begun = Instant::now();
    let ids: HashSet<u64> = search.ids.into_iter().collect();
    let root = PathBuf::from(OsString::from_vec(search.root.into_vec()));
    let mut found = GroupsFound::default();
    let named = search.hints.into_iter().map(|hint| (root.join(hint.trim_start_matches('/')), hint));
    for (path, name) in named.chain([(root.clone(), "/".to_owned())]) {
        if let Ok(metadata) = std::fs::metadata(path)
            && ids.contains(&metadata.ino())
        {
            found.paths.insert(metadata.ino(), name);
        }
    }
    let mut waiting = VecDeque::from([root.clone()]);
    let mut seen = 0;
    while found.paths.len() < ids.len() {
        let Some(directory) = waiting.pop_front() else { break };
        seen += 1;
        if seen > MAX_DIRECTORIES || begun.elapsed() > SEARCH_TIMEOUT {
            found.stopped_after = Some(seen);
            break;
        }
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for entry in entries.flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let path = entry.path();
            if ids.contains(&entry.ino()) {
                found.paths.insert(entry.ino(), relative(&root, &path));
            }
            waiting.push_back(path);
        }
    }
    found
}

fn relative(root: &Path, path: &Path) -> String {
    let tail = path.strip_prefix(root).unwrap_or(path);
    format!("/{}", printable(tail.as_os_str().as_bytes()))
}
