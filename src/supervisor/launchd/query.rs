//! Queries launchd through launchctl(1), and reads the property lists of its jobs.

use super::jobs::{self, LaunchdFacts, OnDisk};
use super::plist::job_file;
use crate::collect::worker::wire::Tool;
use crate::collect::{ForeignPath, Host};
use crate::model::text::printable;
use crate::model::{Gap, GapDetail, GapReason, GapSubject, Process};
use crate::parse::command::{recognise, recognise_configured};
use crate::supervisor::Program;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::Path;

/// Largest answer that is read; a domain with hundreds of jobs prints some 100 KiB.
const MAX_ANSWER: usize = 2 * 1024 * 1024;
/// Largest property list that is read.
const MAX_FILE_BYTES: usize = 256 * 1024;
/// Property lists that are read from one directory.
const MAX_FILES: usize = 512;
/// Ancestors of a Hermes server that a job may have started: wrappers.
const MAX_ANCESTORS: usize = 3;

/// Every job that runs, or should run, a Hermes server.
///
/// # Errors
/// A gap when the process table cannot be read, or no domain answers.
pub fn programs(host: &dyn Host) -> Result<Vec<Program>, Gap> {
    let (pids, users) = hermes_processes(host)?;
    let files = files(host, &users);
    let known = LaunchdFacts { users: &users, pids: &pids, files: &files };
    let found = jobs::programs(&|words| ask(host, words), &known)?;
    Ok(found.into_iter().map(|program| with_age(host, program)).collect())
}

/// One job, by its label or its target (`gui/501/LABEL`).
///
/// # Errors
/// A gap when no domain has the job, or none answers.
pub fn one(host: &dyn Host, name: &str) -> Result<Program, Gap> {
    let users = users_of(host, HashSet::new());
    let files = files(host, &users);
    jobs::one(&|words| ask(host, words), name, &users, &files).map(|program| with_age(host, program))
}

/// launchd does not report the start time of a job's process; the process table does.
fn with_age(host: &dyn Host, mut program: Program) -> Program {
    let process = program.claim.claimed_pid.and_then(|pid| process_of(host, pid));
    program.claim.claimed_age_ms = process.and_then(|process| process.age_ms);
    program
}

fn process_of(host: &dyn Host, pid: u32) -> Option<Process> {
    Some(host.process(host.identify(pid).ok()?).ok()?.value)
}

/// Hermes processes with their ancestors, and the users that they run as.
fn hermes_processes(host: &dyn Host) -> Result<(HashSet<u32>, Vec<u32>), Gap> {
    let table = host.process_table()?;
    let parents: HashMap<u32, u32> = table.iter().map(|entry| (entry.pid, entry.ppid)).collect();
    let pids: Vec<u32> = table.iter().filter(|entry| !entry.zombie).map(|entry| entry.pid).collect();
    let (mut found, mut owners) = (HashSet::new(), HashSet::new());
    for (pid, argv) in pids.iter().zip(host.commands(&pids)) {
        if argv.ok().as_deref().and_then(recognise).is_none() {
            continue;
        }
        owners.extend(process_of(host, *pid).map(|process| process.uid));
        let mut current = *pid;
        for _ in 0..=MAX_ANCESTORS {
            if current <= 1 {
                break;
            }
            found.insert(current);
            current = parents.get(&current).copied().unwrap_or(0);
        }
    }
    Ok((found, users_of(host, owners)))
}

/// Users with domains to query: those of Hermes processes, and those with a home that is read. Without root that is the
/// user of the doctor.
fn users_of(host: &dyn Host, mut users: HashSet<u32>) -> Vec<u32> {
    users.extend(host.user_homes().value.iter().filter_map(|home| host.owner_of(&ForeignPath::of_person(home))));
    users.remove(&0);
    let me = rustix::process::geteuid();
    if users.is_empty() && !me.is_root() {
        users.insert(me.as_raw());
    }
    let mut users: Vec<u32> = users.into_iter().collect();
    users.sort_unstable();
    users
}

/// Property lists that run a Hermes server: those of the users, and those that an administrator installed. Agents of
/// the machine belong to every user; they are queried in the session of the first one.
fn files(host: &dyn Host, users: &[u32]) -> Vec<OnDisk> {
    let mut found = Vec::new();
    for user in users {
        if let Some(home) = host.user_home(*user) {
            read_directory(
                host,
                &ForeignPath::of_user(*user, &home.join("Library/LaunchAgents")),
                Some(*user),
                &mut found,
            );
        }
    }
    let of_system = |path| ForeignPath::of_person(Path::new(path));
    read_directory(host, &of_system("/Library/LaunchAgents"), users.first().copied(), &mut found);
    read_directory(host, &of_system("/Library/LaunchDaemons"), None, &mut found);
    found
}

fn read_directory(host: &dyn Host, directory: &ForeignPath, user: Option<u32>, found: &mut Vec<OnDisk>) {
    let names = host.list_directory(directory, 4096).unwrap_or_default();
    let is_list = |name: &OsString| {
        let name = name.as_encoded_bytes();
        name.ends_with(b".plist") && !name.starts_with(b"com.apple.")
    };
    for name in names.into_iter().filter(is_list).take(MAX_FILES) {
        let path = directory.join(&name);
        let Some(file) = host.read_file(&path, MAX_FILE_BYTES).ok().and_then(|bytes| job_file(&bytes).ok()) else {
            continue;
        };
        if recognise_configured(&file.arguments).is_some() {
            found.push(OnDisk { path: path.shown(), user, file });
        }
    }
}

/// Runs `launchctl` in a worker that can be abandoned.
fn ask(host: &dyn Host, words: &[&str]) -> Result<Vec<u8>, Gap> {
    let what = || GapSubject::LaunchctlOf { arguments: printable(words.join(" ").as_bytes()).into() };
    let arguments = words.iter().map(|word| (*word).to_owned()).collect();
    let output =
        host.run_tool(Tool::Launchctl, arguments, None, MAX_ANSWER).map_err(|gap| Gap { what: what(), ..gap })?;
    if output.total > u64::try_from(MAX_ANSWER).unwrap_or(u64::MAX) {
        return Err(Gap::new(what(), GapReason::Malformed, GapDetail::AnswerTooLarge));
    }
    Ok(output.bytes.into_vec())
}
