//! The rules for the modules of the program, checked in its source.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Calls that open a file or a connection by its name, query the file at a path, or start a program.
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
    " ::procfs::",
    "sysinfo::",
];

/// Modules that may make such calls, each with the reason. All other modules open the paths that a process, a
/// configuration or a user names through the worker, as a `ForeignPath`.
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
    ("collect/macos/mod.rs", "addresses of this Mac, by sysinfo"),
    ("collect/linux/cgroup.rs", "control groups"),
    ("collect/linux/links.rs", "procfs"),
    ("collect/linux/proc_dir.rs", "procfs"),
    ("collect/linux/process.rs", "procfs"),
    ("collect/linux/sockets.rs", "procfs"),
    ("collect/host_facts.rs", "the host's own numbers, by sysinfo"),
    ("report/mod.rs", "output file given by the user"),
    ("report/place.rs", "path of the output file given by the user"),
    ("report/record.rs", "record file given by the user"),
    ("cli/report.rs", "output file given by the user"),
    ("cli/pages.rs", "output file given by the user"),
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
            if !path.ends_with("tests.rs") {
                found.insert(name(&root, &path), without_tests(&text));
            }
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
    let calls = |text: &str| CALLS.iter().filter(|call| text.contains(**call)).copied().collect::<Vec<_>>();
    let callers: BTreeMap<&str, Vec<&str>> = sources
        .iter()
        .map(|(name, text)| (name.as_str(), calls(text)))
        .filter(|(_, calls)| !calls.is_empty())
        .collect();
    let known: BTreeSet<&str> = MODULES.iter().map(|(name, _)| *name).collect();
    let strays: Vec<_> = callers.iter().filter(|(name, _)| !known.contains(*name)).collect();
    assert!(strays.is_empty(), "these open by name what others may have named; use the worker: {strays:#?}");
    let stale: Vec<_> = known.iter().filter(|name| !callers.contains_key(*name)).collect();
    assert!(stale.is_empty(), "these make no such call any more: {stale:?}");
}

/// Only its own module converts a foreign path to a file.
#[test]
fn foreign_paths_are_no_paths() {
    let text = &sources()["collect/foreign/mod.rs"];
    for conversion in ["AsRef<Path> for ForeignPath", "Deref for ForeignPath", "From<ForeignPath>", "pub fn path("]
    {
        assert!(!text.contains(conversion), "{conversion}");
    }
    assert!(text.contains("fn path(&self) -> &Path"), "the private way to its path has another name now");
}

/// The top-level modules, each with the modules that it may use. Data moves from the last to the first; no module
/// uses a front end.
const EDGES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("parse", &["model"]),
    ("redact", &["model", "parse"]),
    ("collect", &["model", "parse"]),
    ("supervisor", &["collect", "model", "parse"]),
    ("probe", &["collect", "model", "parse"]),
    ("target", &["collect", "model", "parse", "supervisor"]),
    ("diagnose", &["model", "parse", "supervisor"]),
    ("wording", &["diagnose", "model", "parse", "supervisor"]),
    ("report", &["collect", "model", "parse", "redact"]),
    ("render", &["model", "wording"]),
    (
        "examine",
        &["collect", "diagnose", "model", "parse", "probe", "redact", "report", "supervisor", "target", "wording"],
    ),
    ("demo", &["collect", "examine", "model", "parse", "redact", "report", "target"]),
    (
        "command",
        &[
            "collect",
            "demo",
            "diagnose",
            "examine",
            "model",
            "parse",
            "redact",
            "report",
            "supervisor",
            "target",
            "wording",
        ],
    ),
    (
        "cli",
        &[
            "collect", "command", "demo", "diagnose", "examine", "model", "parse", "redact", "render", "report",
            "target", "wording",
        ],
    ),
    (
        "mcp",
        &[
            "collect",
            "command",
            "diagnose",
            "examine",
            "model",
            "parse",
            "redact",
            "render",
            "report",
            "supervisor",
            "wording",
        ],
    ),
    ("lib.rs", &["cli", "command", "mcp"]),
    ("main.rs", &[]),
];

#[test]
fn modules_use_only_those_below_them() {
    let mut found: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for (name, text) in sources() {
        let top = name.split('/').next().unwrap().to_owned();
        assert!(
            !text.contains("super::super::"),
            "{name} names a module by super::super::, which this test cannot follow"
        );
        assert!(
            !text.contains("crate::{"),
            "{name} uses several modules in one line, which this test cannot follow"
        );
        for (at, _) in text.match_indices("crate::") {
            let is_of_macro = text[..at].ends_with('$');
            let module: String = text[at + "crate::".len()..]
                .chars()
                .take_while(|character| character.is_ascii_alphanumeric() || *character == '_')
                .collect();
            if module != top && !is_of_macro {
                found.entry((top.clone(), module)).or_default().insert(name.clone());
            }
        }
    }
    let is_allowed = |from: &str, to: &str| EDGES.iter().any(|(name, below)| *name == from && below.contains(&to));
    let wrong: Vec<_> = found.iter().filter(|((from, to), _)| !is_allowed(from, to)).collect();
    assert!(wrong.is_empty(), "these uses go against the direction of data: {wrong:#?}");
    let tops: BTreeSet<String> = sources().keys().map(|name| name.split('/').next().unwrap().to_owned()).collect();
    let listed: BTreeSet<String> = EDGES.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(tops, listed, "modules at the top, and those of the table");
}

/// Of a supervisor only its query, and what all queries share, may read the host; its parsers and its commands are pure.
#[test]
fn only_queries_of_supervisors_read_the_host() {
    let mut found = BTreeSet::new();
    for (name, text) in sources() {
        let Some(file) = name.strip_prefix("supervisor/").and_then(|path| path.rsplit('/').next()) else {
            continue;
        };
        found.insert(file.to_owned());
        if !["mod.rs", "query.rs", "place.rs"].contains(&file) {
            assert!(!text.contains("crate::collect"), "{name} uses collect");
        }
    }
    for file in ["advice.rs", "wire.rs", "query.rs", "place.rs"] {
        assert!(found.contains(file), "no {file} below src/supervisor");
    }
}

/// The files of one top-level module also use each other in one direction only.
#[test]
fn files_of_a_module_use_each_other_in_one_direction() {
    for top in ["cli", "command", "mcp", "target"] {
        let files: BTreeMap<String, String> = sources()
            .into_iter()
            .filter_map(|(name, text)| {
                Some((name.strip_prefix(top)?.strip_prefix('/')?.strip_suffix(".rs")?.to_owned(), text))
            })
            .filter(|(name, _)| name != "mod")
            .collect();
        let all = sources();
        let exports = &all[&format!("{top}/mod.rs")];
        // `mod.rs` lists the exports of its files: a use of such a name is a use of that file.
        let file_of = |name: &str| {
            let exports_it = |file: &&String| {
                listed_in_braces(exports, &format!("pub use {file}::{{")).contains(name)
                    || exports.contains(&format!("pub use {file}::{name};"))
            };
            files.keys().find(exports_it).cloned().or_else(|| files.contains_key(name).then(|| name.to_owned()))
        };
        let uses = |own: &str, text: &str| -> BTreeSet<String> {
            let mut names: BTreeSet<&str> = BTreeSet::new();
            for beginning in ["super::", &format!("crate::{top}::")] {
                names.extend(listed_in_braces(text, &format!("{beginning}{{")));
                let is_of_name = |character: char| character.is_ascii_alphanumeric() || character == '_';
                names.extend(
                    text.split(beginning).skip(1).filter_map(|rest| rest.split(|it| !is_of_name(it)).next()),
                );
            }
            names.into_iter().filter_map(file_of).filter(|file| file != own).collect()
        };
        let mut left: BTreeMap<String, BTreeSet<String>> =
            files.iter().map(|(name, text)| (name.clone(), uses(name, text))).collect();
        while let Some(free) = left.iter().find(|(_, uses)| uses.is_empty()).map(|(name, _)| name.clone()) {
            left.remove(&free);
            for uses in left.values_mut() {
                uses.remove(&free);
            }
        }
        assert!(left.is_empty(), "a circle in {top}: {left:?}");
    }
}

/// The names in the braces of such a line.
fn listed_in_braces<'t>(text: &'t str, beginning: &str) -> BTreeSet<&'t str> {
    let lists = text.split(beginning).skip(1).filter_map(|rest| rest.split('}').next());
    lists.flat_map(|list| list.split([',', '\n', ' '])).map(str::trim).filter(|name| !name.is_empty()).collect()
}
