//! What is known of all processes, read at most once and only when somebody asks.

use super::programs::Programs;
use crate::collect::{Collected, Host, ProcessEntry, SocketTable, UnitOnDisk};
use crate::model::{Gap, Identity, Process, ServerKind};
use crate::parse::command::{CommandRole, HermesCommand, recognise};
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// How long a process that was read is not read again.
const FRESH: Duration = Duration::from_millis(200);

/// Which processes hold sockets by inode, and whether everybody could be asked.
pub type Holders = (HashMap<u64, Vec<u32>>, Result<(), Gap>);

/// A lazy view of the host.
pub struct Survey<'a> {
    /// The host.
    pub host: &'a dyn Host,
    processes: OnceCell<Vec<ProcessEntry>>,
    commands: OnceCell<HashMap<u32, Vec<String>>>,
    /// Command lines that were read one by one.
    single_commands: RefCell<HashMap<u32, Vec<String>>>,
    /// Processes that were read whole, and when.
    whole: RefCell<HashMap<u32, (Instant, Collected<Process>)>>,
    sockets: OnceCell<SocketTable>,
    pub(super) programs: OnceCell<Programs>,
    unit_files: OnceCell<Vec<UnitOnDisk>>,
    /// Of the sockets that were asked for last: every process of the host was read for it.
    holders: RefCell<Option<(HashSet<u64>, Holders)>>,
    /// Whether every process is asked who holds a port, without a guess at the likely ones first.
    pub(super) asks_everybody: bool,
    gaps: RefCell<Vec<Gap>>,
}

impl<'a> Survey<'a> {
    /// Reads nothing yet.
    pub fn new(host: &'a dyn Host) -> Self {
        Self {
            host,
            processes: OnceCell::new(),
            commands: OnceCell::new(),
            single_commands: RefCell::default(),
            whole: RefCell::default(),
            sockets: OnceCell::new(),
            programs: OnceCell::new(),
            unit_files: OnceCell::new(),
            holders: RefCell::new(None),
            asks_everybody: false,
            gaps: RefCell::new(Vec::new()),
        }
    }

    /// The same, and every process is asked who holds a port.
    pub fn asking_everybody(host: &'a dyn Host) -> Self {
        Self { asks_everybody: true, ..Self::new(host) }
    }

    /// Who of the whole host holds these sockets. That reads every descriptor there is, so the answer is kept.
    pub fn holders(&self, inodes: &HashSet<u64>) -> Holders {
        if let Some((known, holders)) = self.holders.borrow().as_ref()
            && known == inodes
        {
            return holders.clone();
        }
        let found = self.host.holders(inodes, None);
        *self.holders.borrow_mut() = Some((inodes.clone(), found.clone()));
        found
    }

    /// What could not be read so far.
    pub fn take_gaps(&self) -> Vec<Gap> {
        self.gaps.take()
    }

    /// The process table.
    pub fn processes(&self) -> &[ProcessEntry] {
        self.processes.get_or_init(|| {
            let mut entries = self.host.process_table().unwrap_or_else(|gap| {
                self.gaps.borrow_mut().push(gap);
                Vec::new()
            });
            entries.sort_unstable_by_key(|entry| entry.pid);
            entries
        })
    }

    /// One row of it.
    pub fn entry(&self, pid: u32) -> Option<&ProcessEntry> {
        let entries = self.processes();
        entries.get(entries.binary_search_by_key(&pid, |entry| entry.pid).ok()?)
    }

    /// Children of a process.
    pub fn children(&self, pid: u32) -> impl Iterator<Item = &ProcessEntry> {
        self.processes().iter().filter(move |entry| entry.ppid == pid)
    }

    /// Whether some process or command line could not be read, so that a server could be there unseen.
    pub fn is_incomplete(&self) -> bool {
        let commands = self.commands();
        self.processes().is_empty()
            || self.gaps.borrow().iter().any(|gap| gap.what.starts_with("command line"))
            || commands.is_empty()
    }

    /// Command lines by pid, as they are: recognised first, made printable where they are shown. Kernel threads
    /// (theirs are empty), zombies and vanished processes are not among them.
    pub fn commands(&self) -> &HashMap<u32, Vec<String>> {
        self.commands.get_or_init(|| {
            let pids: Vec<u32> =
                self.processes().iter().filter(|entry| !entry.zombie).map(|entry| entry.pid).collect();
            let mut found = HashMap::new();
            let mut unread: Vec<Gap> = Vec::new();
            for (pid, answer) in pids.iter().zip(self.host.commands(&pids)) {
                match answer {
                    Ok(argv) if !argv.is_empty() => drop(found.insert(*pid, argv)),
                    Ok(_) => {}
                    Err(gap) if is_worth_telling(&gap) => unread.push(gap),
                    Err(_) => {}
                }
            }
            // A host has thousands of processes; a wedged one must not answer with as many lines.
            if let [first, _, _, ..] = unread.as_slice() {
                let what = format!("command lines of {} processes", unread.len());
                unread = vec![Gap { what, ..first.clone() }];
            }
            self.gaps.borrow_mut().extend(unread);
            found
        })
    }

    /// Command line of one process, without reading those of all others.
    pub fn command(&self, pid: u32) -> Vec<String> {
        if let Some(commands) = self.commands.get()
            && let Some(argv) = commands.get(&pid)
        {
            return argv.clone();
        }
        if let Some(argv) = self.single_commands.borrow().get(&pid) {
            return argv.clone();
        }
        let argv = self.host.commands(&[pid]).pop().and_then(Result::ok);
        if let Some(argv) = &argv {
            self.single_commands.borrow_mut().insert(pid, argv.clone());
        }
        argv.unwrap_or_default()
    }

    /// One process, read whole: whoever chooses the server asks for the same one again and again, so it is kept for a moment.
    ///
    /// # Errors
    /// A gap, where it is gone or cannot be read.
    pub fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap> {
        if let Some((at, read)) = self.whole.borrow().get(&identity.pid)
            && read.value.identity == identity
            && at.elapsed() < FRESH
        {
            return Ok(read.clone());
        }
        let read = self.host.process(identity)?;
        self.whole.borrow_mut().insert(identity.pid, (Instant::now(), read.clone()));
        Ok(read)
    }

    /// All processes whose command line belongs to a Hermes server, uncertain ones among them.
    pub fn hermes(&self) -> Vec<(u32, HermesCommand)> {
        let mut found: Vec<_> =
            self.commands().iter().filter_map(|(pid, argv)| Some((*pid, recognise(argv)?))).collect();
        found.sort_unstable_by_key(|(pid, _)| *pid);
        found
    }

    /// Of those, the ones without a server of their kind above them: a child that a server has forked keeps its command
    /// line and is part of it.
    pub fn hermes_servers(&self) -> Vec<(u32, HermesCommand)> {
        let all = self.hermes();
        let is_server = |pid: u32, kind: ServerKind| {
            all.iter().any(|(other, command)| {
                *other == pid && command.kind == kind && command.role == CommandRole::Server
            })
        };
        let has_server_above =
            |pid: u32, kind: ServerKind| self.ancestors(pid).into_iter().any(|ancestor| is_server(ancestor, kind));
        all.iter().filter(|(pid, command)| !has_server_above(*pid, command.kind)).cloned().collect()
    }

    /// TCP sockets of the doctor's own network namespace.
    pub fn sockets(&self) -> &SocketTable {
        self.sockets.get_or_init(|| {
            let read = self.host.sockets(None);
            self.gaps.borrow_mut().extend(read.gaps);
            read.value
        })
    }

    /// Whether a process is systemd, the system's or a user's, under whatever name it was started.
    pub fn is_service_manager(&self, pid: u32) -> bool {
        self.entry(pid).is_some_and(|entry| entry.name == "systemd")
            && (pid == 1 || self.command(pid).iter().any(|word| word == "--user" || word == "--system"))
    }

    /// Unit files of this host whose command is a Hermes server's.
    pub fn unit_files(&self) -> &[UnitOnDisk] {
        self.unit_files.get_or_init(|| self.host.unit_files())
    }

    /// TCP sockets as a process sees them.
    pub fn sockets_of(&self, process: Option<&Process>) -> SocketTable {
        match process {
            Some(process) if process.foreign_network == Some(true) => {
                let read = self.host.sockets(Some(process));
                self.gaps.borrow_mut().extend(read.gaps);
                read.value
            }
            _ => self.sockets().clone(),
        }
    }

    /// The processes above a pid, nearest first.
    pub fn ancestors(&self, pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut current = self.entry(pid).map_or(0, |entry| entry.ppid);
        while current != 0 && found.len() < 64 && !found.contains(&current) {
            found.push(current);
            current = self.entry(current).map_or(0, |entry| entry.ppid);
        }
        found
    }

    /// A pid, what is above it and what is below it.
    pub fn relatives(&self, pid: u32) -> Vec<u32> {
        let mut found = vec![pid];
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            found.extend(self.children(parent).map(|entry| entry.pid).filter(|child| *child != parent));
            at += 1;
            if at > 4096 {
                break;
            }
        }
        found.extend(self.ancestors(pid).into_iter().filter(|ancestor| *ancestor != 1));
        found
    }
}

/// A process that ended between two reads is the normal course of a host.
fn is_worth_telling(gap: &Gap) -> bool {
    !matches!(gap.reason, crate::model::GapReason::Vanished | crate::model::GapReason::NotFound)
}
