//! System calls of the doctor and of all processes that it starts, as strace(1) reports them.

use super::{Answer, run_with, tool};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Calls that open or name files, start programs, change rights or send data.
const CALLS: &str = "trace=open,openat,openat2,creat,execve,execveat,stat,lstat,newfstatat,statx,access,faccessat,faccessat2,\
readlink,readlinkat,statfs,chdir,fchdir,inotify_add_watch,connect,getsockopt,socket,sendto,sendmsg,write,writev,setsid,\
setfsuid,setfsgid,setgroups,setresuid,setresgid,setuid,setgid,clone,clone3,fork,vfork,exit_group,dup2,dup3";

/// One call, after it returned or at the end of its process.
#[derive(Clone, Debug)]
pub struct Call {
    /// The process; threads are part of it.
    pub process: u32,
    /// Name of the call.
    pub name: String,
    /// The text between the parentheses.
    pub arguments: String,
    /// The text after ` = `.
    pub result: String,
    /// Whether the process is a child before its execve(2).
    pub is_before_exec: bool,
    /// Path of the program that runs in the process.
    pub program: String,
}

impl Call {
    /// Whether it succeeded.
    pub fn is_ok(&self) -> bool {
        self.result.starts_with(|first: char| first.is_ascii_digit())
    }

    /// Whether it opens a file in some way.
    pub fn is_open(&self) -> bool {
        matches!(self.name.as_str(), "open" | "openat" | "openat2" | "creat")
    }

    /// Whether it opens a file for use, not only as a location (`O_PATH`).
    pub fn is_real_open(&self) -> bool {
        self.is_open() && !self.arguments.contains("O_PATH")
    }

    /// First quoted argument.
    pub fn quoted(&self) -> Option<&str> {
        let (_, rest) = self.arguments.split_once('"')?;
        Some(rest.split_once('"')?.0)
    }

    /// The path that it names; a relative one below the descriptor that it starts at.
    pub fn path(&self) -> Option<PathBuf> {
        let name = self.quoted()?;
        let start = self.arguments.split_once('"')?.0;
        let directory = start.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>')).map(|(path, _)| path);
        Some(Path::new(directory.unwrap_or("")).join(name))
    }

    /// Path of the descriptor that it returned.
    pub fn opened(&self) -> Option<&str> {
        let (_, rest) = self.result.split_once('<')?;
        Some(rest.rsplit_once('>')?.0)
    }

    /// The descriptor in its first argument.
    pub fn descriptor(&self) -> Option<u32> {
        self.arguments.split(|end: char| !end.is_ascii_digit()).next()?.parse().ok()
    }
}

/// All calls of one run, in the order in which they returned.
pub struct Trace {
    /// See [`Call`].
    pub calls: Vec<Call>,
    /// The process that was started first.
    pub main: u32,
    /// Parent of each other process.
    pub parents: HashMap<u32, u32>,
    /// The text of strace.
    pub text: String,
    program: String,
}

/// Runs a prepared command under strace(1), with further options of it.
pub fn traced(command: &Command, options: &[&str]) -> (Answer, Trace) {
    let directory = tempfile::Builder::new().prefix("strace-").tempdir_in("/tmp").unwrap();
    let log = directory.path().join("log");
    let mut strace = Command::new(tool("strace").unwrap());
    strace
        .args(["-f", "-y", "-qq", "-s", "300", "-e", CALLS, "-e", "signal=none"])
        .args(options)
        .arg("-o")
        .arg(&log);
    strace.arg(command.get_program()).args(command.get_args()).current_dir("/").env_clear();
    strace.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let answer = run_with(&mut strace);
    let text = String::from_utf8_lossy(&std::fs::read(&log).unwrap()).into_owned();
    let trace = Trace::parse(&text, &command.get_program().to_string_lossy());
    assert!(trace.calls.iter().any(Call::is_open), "nothing was traced: {} {}", answer.stdout, answer.stderr);
    (answer, trace)
}

impl Trace {
    /// Parses the output of strace(1) with `-f -y`.
    pub fn parse(text: &str, program: &str) -> Self {
        let lines = joined(text);
        let main = lines.first().map_or(0, |(pid, _)| *pid);
        let mut threads: HashMap<u32, u32> = HashMap::new();
        let mut parents: HashMap<u32, u32> = HashMap::new();
        let split: Vec<(u32, &str, &str, &str)> =
            lines.iter().filter_map(|(pid, line)| parts(line).map(|(a, b, c)| (*pid, a, b, c))).collect();
        for (pid, name, arguments, result) in &split {
            if !matches!(*name, "clone" | "clone3" | "fork" | "vfork") {
                continue;
            }
            let Some(child) =
                result.split(|end: char| !end.is_ascii_digit()).next().and_then(|text| text.parse().ok())
            else {
                continue;
            };
            if arguments.contains("CLONE_THREAD") {
                threads.insert(child, *pid);
            } else {
                parents.insert(child, *pid);
            }
        }
        let process_of = |mut pid: u32| {
            while let Some(leader) = threads.get(&pid) {
                pid = *leader;
            }
            pid
        };
        let parents = parents.into_iter().map(|(child, parent)| (child, process_of(parent))).collect();
        let mut programs: HashMap<u32, String> = HashMap::new();
        let calls = split
            .into_iter()
            .map(|(pid, name, arguments, result)| {
                let process = process_of(pid);
                let is_exec = name.starts_with("execve") && result.starts_with('0');
                let before = programs.get(&process).cloned();
                let is_before_exec = process != main && before.is_none();
                if is_exec {
                    let path = arguments.split('"').nth(1).unwrap_or_default();
                    let path = if path.starts_with("/proc/self/exe") { program } else { path };
                    programs.insert(process, path.to_owned());
                }
                Call {
                    process,
                    name: name.to_owned(),
                    arguments: arguments.to_owned(),
                    result: result.to_owned(),
                    is_before_exec,
                    program: before
                        .or_else(|| programs.get(&process).cloned())
                        .unwrap_or_else(|| program.to_owned()),
                }
            })
            .collect();
        Self { calls, main, parents, text: text.to_owned(), program: program.to_owned() }
    }

    /// Calls of the main process, and of its children before their execve(2).
    pub fn of_main(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| {
            call.process == self.main || call.is_before_exec && self.parents.get(&call.process) == Some(&self.main)
        })
    }

    /// Calls of the doctor's processes, without those of other programs that they start.
    pub fn of_doctor(&self) -> impl Iterator<Item = &Call> {
        self.calls.iter().filter(|call| call.program == self.program)
    }

    /// The same, each with the user whose rights count for files (setfsuid(2)).
    pub fn with_rights(&self) -> impl Iterator<Item = (&Call, u32)> {
        let mut rights: HashMap<u32, u32> = HashMap::new();
        self.of_doctor().map(move |call| {
            if matches!(call.name.as_str(), "setfsuid" | "setuid" | "setresuid")
                && let Some(user) = call.arguments.rsplit(", ").next().and_then(|user| user.parse().ok())
            {
                rights.insert(call.process, user);
            }
            (call, rights.get(&call.process).copied().unwrap_or(0))
        })
    }

    /// Processes of the doctor.
    pub fn processes(&self) -> HashSet<u32> {
        self.of_doctor().map(|call| call.process).collect()
    }

    /// Number of calls that strace made fail or wait.
    pub fn injected(&self) -> usize {
        self.text.lines().filter(|line| line.contains("(INJECTED)")).count()
    }

    /// Asserts that no process opened a file for reading.
    pub fn assert_never_opened(&self, path: &Path) {
        let path = path.to_str().unwrap();
        let found = self.of_doctor().find(|call| {
            let opened = call.opened().map(|opened| opened.trim_end_matches(" (deleted)"));
            call.is_real_open() && call.is_ok() && opened == Some(path)
        });
        assert!(found.is_none(), "{path} was opened: {found:#?}");
    }

    /// Asserts that every file below this directory, or behind a link of another process, is opened by name only
    /// with `O_PATH`, and opened for reading only through the doctor's own descriptor of it.
    pub fn assert_opened_by_place(&self, foreign: &Path) {
        for call in self.of_doctor().filter(|call| call.is_real_open()) {
            let Some(path) = call.path() else { continue };
            // The doctor's own files are no foreign ones.
            if path == Path::new(&self.program) || path.starts_with(foreign.join("targets")) {
                continue;
            }
            let is_own_descriptor = self.is_own_descriptor(&path);
            let leads_there = call.opened().is_some_and(|opened| Path::new(opened).starts_with(foreign));
            let is_magic = is_magic(&path) && !is_own_descriptor && path != Path::new("/proc/self/exe");
            // A directory that is already open, opened again for listing.
            let is_again = call.quoted() == Some(".") && call.arguments.contains("O_DIRECTORY");
            assert!(
                !(path.starts_with(foreign) || is_magic) || is_again,
                "opened by its name, and not as a place: {call:#?}"
            );
            if leads_there && !is_again {
                assert!(is_own_descriptor, "opened neither as a place nor through one: {call:#?}");
                let is_directory = call.arguments.contains("O_DIRECTORY");
                let has = |flag: &str| call.arguments.contains(flag);
                assert!(
                    has("O_NONBLOCK") && (has("O_NOCTTY") || is_directory),
                    "opened again without O_NONBLOCK or O_NOCTTY: {call:#?}"
                );
            }
        }
    }

    /// Whether a path is a descriptor of the doctor's own.
    fn is_own_descriptor(&self, path: &Path) -> bool {
        let Some(path) = path.to_str() else { return false };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let Some((holder, number)) = path.strip_prefix("/proc/").and_then(|rest| rest.split_once("/fd/")) else {
            return false;
        };
        let is_own = matches!(holder, "self" | "thread-self")
            || holder.parse().is_ok_and(|pid: u32| self.processes().contains(&pid));
        is_own && is_number(number)
    }
}

/// Whether a path goes through a link of procfs that leads out of it.
fn is_magic(path: &Path) -> bool {
    let mut parts = path.iter().filter_map(|part| part.to_str()).skip(1);
    if parts.next() != Some("proc") {
        return false;
    }
    let parts: Vec<&str> = parts.collect();
    let at = |name: &str| parts.iter().position(|part| *part == name);
    at("root").is_some()
        || at("cwd").is_some()
        || at("exe").is_some()
        || ["fd", "map_files"].iter().any(|name| at(name).is_some_and(|at| parts.len() > at + 1))
}

/// Lines with their process or thread, each with the whole of its call.
fn joined(text: &str) -> Vec<(u32, String)> {
    let mut begun: HashMap<u32, String> = HashMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let Some((pid, rest)) = line.split_once(' ') else { continue };
        let (Ok(pid), rest) = (pid.parse(), rest.trim_start()) else { continue };
        if let Some(part) = rest.strip_suffix(" <unfinished ...>") {
            begun.insert(pid, part.to_owned());
        } else if let Some((_, end)) = rest.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>")) {
            lines.push((pid, begun.remove(&pid).unwrap_or_default() + end));
        } else {
            lines.push((pid, rest.to_owned()));
        }
    }
    // Calls without a result were started.
    lines.extend(begun.into_iter().map(|(pid, line)| (pid, line + ") = ?")));
    lines
}

/// Name, arguments and result of a call.
fn parts(line: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = line.split_once('(')?;
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let (arguments, result) = rest.rsplit_once(") = ").or_else(|| {
        // strace aligns short lines.
        let at = rest.rfind(" = ")?;
        Some((rest[..at].trim_end().strip_suffix(')')?, &rest[at + 3..]))
    })?;
    Some((name, arguments, result))
}
