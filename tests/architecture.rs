//! What a module of the program may do, read from its source.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Calls that open a file or a connection by its name, ask for what a name leads to, or start a program.
const CALLS: &[&str] = &[
    "File::open",
    "File::create",
    "OpenOptions",
    "fs::read",
    "fs::write",
    "fs::metadata",
    "fs::symlink_metadata",
    "fs::canonicalize",
    "fs::rename",
    "fs::remove",
    "fs::create_dir",
    "fs::copy",
    "read_link",
    "readlink",
    "openat",
    "fs::open",
    " open(",
    "ProcDir::open(",
    "statat(",
    "stat(\"",
    "statx(",
    "fstatfs(",
    ".exists()",
    ".is_file()",
    ".is_dir()",
    "Stream::connect",
    " Command::new",
    "exec(",
    "to_socket_addrs",
    "uzers::",
    "tempfile::",
    "temp_dir",
    "try_system",
];

/// Modules that make such calls, and what for. Everything else that a process, a configuration or a user has named goes through the
/// worker as a `ForeignPath`.
const MODULES: &[(&str, &str)] = &[
    ("collect/foreign/linux.rs", "the opener"),
    ("collect/foreign/macos.rs", "the opener"),
    ("collect/foreign/rights.rs", "passwd(5) and group(5), in the worker"),
    ("collect/foreign/socket.rs", "the opener's sockets"),
    ("collect/worker/connection.rs", "starts the worker: this program again"),
    ("collect/worker/procfs.rs", "procfs, in the worker"),
    ("collect/worker/serve.rs", "the worker's side"),
    ("collect/worker/tools.rs", "tools by absolute paths, in the worker"),
    ("collect/worker/file.rs", "this process's own descriptors: /dev/stdin and its like"),
    ("collect/stacks.rs", "procfs, and py-spy in the worker"),
    ("collect/linux/cgroup.rs", "control groups"),
    ("collect/linux/links.rs", "procfs"),
    ("collect/linux/proc_dir.rs", "procfs"),
    ("collect/linux/process.rs", "procfs"),
    ("collect/linux/sockets.rs", "procfs"),
    ("report/mod.rs", "output that a person has named"),
    ("report/place.rs", "the way to output that a person has named"),
    ("report/record.rs", "the record that a person has named"),
    ("cli/report.rs", "output that a person has named"),
    ("cli/pages.rs", "output that a person has named"),
    ("probe/mod.rs", "the connection to the server that is examined"),
    ("demo/stage.rs", "servers and files of its own"),
    ("demo/server.rs", "servers and files of its own"),
];

fn sources() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.clone()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path).unwrap();
            found.insert(name(&root, &path), without_tests(&text));
        }
    }
    found
}

fn name(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap().to_str().unwrap().to_owned()
}

/// The text without comments, and up to the tests at its end.
fn without_tests(text: &str) -> String {
    let end = text.find("\nmod tests {").unwrap_or(text.len());
    text[..end].lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

#[test]
fn names_are_opened_in_few_places() {
    let sources = sources();
    assert!(sources.len() > 100, "only {} sources were found", sources.len());
    let is_test = |name: &str| name.ends_with("tests.rs");
    let calls = |text: &str| CALLS.iter().filter(|call| text.contains(**call)).copied().collect::<Vec<_>>();
    let callers: BTreeMap<&str, Vec<&str>> = sources
        .iter()
        .filter(|(name, _)| !is_test(name))
        .map(|(name, text)| (name.as_str(), calls(text)))
        .filter(|(_, calls)| !calls.is_empty())
        .collect();
    let known: BTreeSet<&str> = MODULES.iter().map(|(name, _)| *name).collect();
    let strays: Vec<_> = callers.iter().filter(|(name, _)| !known.contains(*name)).collect();
    assert!(strays.is_empty(), "these open by name what others may have named; use the worker: {strays:#?}");
    let stale: Vec<_> = known.iter().filter(|name| !callers.contains_key(*name)).collect();
    assert!(stale.is_empty(), "these make no such call any more: {stale:?}");
}

/// A foreign path turns into a file in its own module only.
#[test]
fn foreign_paths_are_no_paths() {
    let text = &sources()["collect/foreign/mod.rs"];
    for conversion in ["AsRef<Path> for ForeignPath", "Deref for ForeignPath", "From<ForeignPath>", "pub fn path("]
    {
        assert!(!text.contains(conversion), "{conversion}");
    }
    assert!(text.contains("fn path(&self) -> &Path"), "the private way to its path has another name now");
}
