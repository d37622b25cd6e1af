//! Every seed of the fuzz targets, and every fixture, through the functions that the fuzz targets call, on every
//! stable build: untrusted input of different forms, or input that once did harm.

#[path = "../../fuzz/families.rs"]
mod families;

use std::fs;
use std::path::{Path, PathBuf};

type Family = fn(&[u8]);

const FAMILIES: &[(&str, Family)] = &[
    ("commands", families::commands),
    ("darwin", families::darwin),
    ("databases", families::databases),
    ("http", families::http),
    ("kernel", families::kernel),
    ("logs", families::logs),
    ("pm2", families::pm2),
    ("reports", families::reports),
    ("sockets", families::sockets),
    ("sources", families::sources),
    ("supervisors", families::supervisors),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn run(family: Family, path: &Path, bytes: &[u8]) {
    let result = std::panic::catch_unwind(|| family(bytes));
    assert!(result.is_ok(), "{} did harm", path.display());
}

#[test]
fn every_seed_is_handled_without_a_panic() {
    for (name, family) in FAMILIES {
        let seeds = files(&root().join("fuzz/seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for path in seeds {
            let bytes = fs::read(&path).unwrap();
            run(*family, &path, &bytes);
            // Truncated input is as untrusted as the whole; at most 64 truncations for each seed.
            if *name != "reports" {
                for end in (0..bytes.len()).step_by(bytes.len() / 64 + 1) {
                    run(*family, &path, &bytes[..end]);
                }
            }
        }
    }
}

#[test]
fn every_fixture_is_handled_without_a_panic() {
    for path in files(&root().join("fixtures")).into_iter().chain(files(&root().join("tests/recorded"))) {
        run(families::reports, &path, &fs::read(&path).unwrap());
    }
}

#[test]
fn families_targets_and_seeds_are_the_same() {
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    let names: Vec<String> = FAMILIES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let of =
        |directory: &str| files(&root().join("fuzz").join(directory)).into_iter().map(stem).collect::<Vec<_>>();
    assert_eq!(of("fuzz_targets"), names);
    assert_eq!(of("seeds"), names);
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    for name in names {
        assert!(
            manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")),
            "{name} is not in fuzz/Cargo.toml"
        );
    }
}
