//! Asking launchd through its own tool, launchctl(1), and the property lists of its jobs.

use super::{MacHost, process};
use crate::collect::launchd::{self, Known, OnDisk};
use crate::collect::{Deadline, Host, Program};
use crate::model::{Gap, GapReason};
use crate::parse::command::{recognise, recognise_configured};
use crate::parse::launchd_plist::job_file;
use crate::parse::text::printable;
use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long launchd may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Largest answer that is read; a domain with its hundreds of jobs prints some 100 KiB.
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;
/// Largest property list that is read.
const LARGEST_FILE: usize = 256 * 1024;
/// Property lists that are read of one directory.
const MOST_FILES: usize = 512;
/// Processes above a Hermes server that a job may have started: wrappers.
const MOST_ABOVE: usize = 3;

/// Every job that runs a Hermes server, or should.
pub fn programs(host: &MacHost) -> Result<Vec<Program>, Gap> {
    let (pids, users) = hermes_processes(host)?;
    let files = files(host, &users);
    let known = Known { users: &users, pids: &pids, files: &files };
    let found = launchd::programs(&|words| ask(host.readers.deadline, words), &known)?;
    Ok(found.into_iter().map(with_age).collect())
}

/// One job.
pub fn one(host: &MacHost, name: &str) -> Result<Program, Gap> {
    let users = users_of(host, HashSet::new());
    let files = files(host, &users);
    launchd::one(&|words| ask(host.readers.deadline, words), name, &users, &files).map(with_age)
}

/// launchd does not say since when a job's process runs; the process table does.
fn with_age(mut program: Program) -> Program {
    let age = program.claim.claimed_pid.and_then(process::age);
    program.claim.claimed_age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
    program
}

/// Hermes processes with those above them, and the users that they run as.
fn hermes_processes(host: &MacHost) -> Result<(HashSet<u32>, Vec<u32>), Gap> {
    let table = host.process_table()?;
    let parents: HashMap<u32, u32> = table.iter().map(|entry| (entry.pid, entry.ppid)).collect();
    let pids: Vec<u32> = table.iter().filter(|entry| !entry.zombie).map(|entry| entry.pid).collect();
    let (mut found, mut owners) = (HashSet::new(), HashSet::new());
    for (pid, argv) in pids.iter().zip(host.commands(&pids)) {
        if argv.ok().as_deref().and_then(recognise).is_none() {
            continue;
        }
        owners.extend(process::kernel_process(*pid).ok().flatten().map(|kernel| kernel.uid));
        let mut current = *pid;
        for _ in 0..=MOST_ABOVE {
            if current <= 1 {
                break;
            }
            found.insert(current);
            current = parents.get(&current).copied().unwrap_or(0);
        }
    }
    Ok((found, users_of(host, owners)))
}

/// Users whose domains are asked: the doctor's own, those of Hermes processes, and as root those with a home.
fn users_of(host: &MacHost, mut users: HashSet<u32>) -> Vec<u32> {
    let me = rustix::process::geteuid();
    if me.is_root() {
        let homes = host.user_homes();
        users.extend(homes.iter().filter_map(|home| host.owner_of(home)));
    } else {
        users.insert(me.as_raw());
    }
    users.remove(&0);
    let mut users: Vec<u32> = users.into_iter().collect();
    users.sort_unstable();
    users
}

/// Property lists whose command is a Hermes server's: the users' own, and those that an administrator has installed.
/// Agents of the machine belong to every user; they are looked for in the first one's session.
fn files(host: &MacHost, users: &[u32]) -> Vec<OnDisk> {
    let mut found = Vec::new();
    for user in users {
        if let Some(home) = host.user_home(*user) {
            read_directory(host, &home.join("Library/LaunchAgents"), Some(*user), &mut found);
        }
    }
    read_directory(host, Path::new("/Library/LaunchAgents"), users.first().copied(), &mut found);
    read_directory(host, Path::new("/Library/LaunchDaemons"), None, &mut found);
    found
}

fn read_directory(host: &MacHost, directory: &Path, user: Option<u32>, found: &mut Vec<OnDisk>) {
    let names = host.list_directory(directory, 4096).unwrap_or_default();
    let lists = names.into_iter().filter(|name| name.ends_with(".plist") && !name.starts_with("com.apple."));
    for name in lists.take(MOST_FILES) {
        let path: PathBuf = directory.join(&name);
        let Some(file) = host.read_file(&path, LARGEST_FILE).ok().and_then(|bytes| job_file(&bytes).ok()) else {
            continue;
        };
        if recognise_configured(&file.arguments).is_some() {
            found.push(OnDisk { path: printable(path.as_os_str().as_encoded_bytes()), user, file });
        }
    }
}

/// Runs `launchctl`. A tool that hangs is left behind, never signalled.
fn ask(deadline: Deadline, words: &[&str]) -> Result<Vec<u8>, Gap> {
    let begun = Instant::now();
    let what = || printable(format!("launchctl {}", words.join(" ")).as_bytes());
    if deadline.is_over() {
        return Err(Gap::new(what(), GapReason::Timeout, "no time was left for it"));
    }
    let mut command = Command::new("/bin/launchctl");
    command.args(words).env("LC_ALL", "C").current_dir("/");
    output(&mut command, deadline.within(PATIENCE))
        .map_err(|error| Gap::from_io(what(), &error).after(begun.elapsed()))
}

/// Standard output, or standard error where that is empty: its refusals come there.
fn output(command: &mut Command, deadline: Deadline) -> io::Result<Vec<u8>> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else { return Ok(Vec::new()) };
    let mut bytes = read_to_end(stdout, deadline)?;
    if bytes.is_empty() {
        // A refusal is one or two lines, which the pipe holds.
        bytes = read_to_end(stderr, deadline)?;
    }
    // It has closed its output, so it is ending; reaped if that is immediate, else left to launchd.
    let _ = child.try_wait();
    Ok(bytes)
}

fn read_to_end(mut source: impl Read + std::os::fd::AsFd, deadline: Deadline) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0_u8; 16 * 1024];
    loop {
        crate::collect::reader::wait_readable(&source, deadline)?;
        match source.read(&mut buffer)? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
        if bytes.len() > LARGEST_ANSWER {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too large"));
        }
    }
}
