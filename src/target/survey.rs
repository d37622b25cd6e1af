//! Facts of all processes of a host, each read at most once and only when it is needed.

use super::program::Programs;
use crate::collect::{ByProgram, Collected, Host, ProcessEntry, SocketTable};
use crate::model::{Gap, GapReason, GapSubject, Identity, Process, ServerKind};
use crate::parse::command::{CommandRole, HermesCommand, recognise, runs_others};
use crate::supervisor::role::can_be_of_a_server;
use crate::supervisor::systemd::query::{self, UnitOnDisk};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// Time for which a process that was read is not read again.
const CACHE_LIFETIME: Duration = Duration::from_millis(200);

/// Processes of one program that are sampled to learn what the program is. A larger group is sampled, because a server
/// runs once or twice, and a supervisor once for each of its services.
const SAMPLE_SIZE: usize = 32;

/// Single reads of processes and their children before the whole table is read instead.
const MAX_SINGLE_READS: usize = 64;

/// The processes that hold sockets, by inode, and a gap where some process could not be read.
pub type Holders = (HashMap<u64, Vec<u32>>, Result<(), Gap>);

/// A lazy view of the host.
pub struct Survey<'a> {
    /// The host.
    pub host: &'a dyn Host,
    processes: OnceCell<Vec<ProcessEntry>>,
    /// Indices of the children of each process in `processes`.
    by_parent: OnceCell<HashMap<u32, Vec<usize>>>,
    /// Rows that were read one by one.
    single_processes: RefCell<HashMap<u32, Option<ProcessEntry>>>,
    single_children: RefCell<HashMap<u32, Option<Vec<u32>>>>,
    commands: OnceCell<HashMap<u32, Vec<String>>>,
    /// Hermes servers, from the command lines.
    servers: OnceCell<Vec<(u32, HermesCommand)>>,
    single_commands: RefCell<HashMap<u32, Vec<String>>>,
    /// Processes that were read in full, and when.
    whole: RefCell<HashMap<u32, (Instant, Collected<Process>)>>,
    sockets: OnceCell<SocketTable>,
    pub(super) programs: OnceCell<Programs>,
    unit_files: OnceCell<Vec<UnitOnDisk>>,
    /// The sockets of the last query and their holders; it read every process of the host.
    holders: RefCell<Option<(HashSet<u64>, Holders)>>,
    /// Whether every process is read for the owner of a port, instead of the likely ones first.
    pub(super) scans_all: bool,
    /// Number of processes with unread command lines, because a sample of their program is not a server.
    alike: Cell<usize>,
    /// Whether a directory that can be a home could not be read.
    pub(super) has_unread_homes: Cell<bool>,
    gaps: RefCell<Vec<Gap>>,
}

impl<'a> Survey<'a> {
    /// Reads nothing yet.
    pub fn new(host: &'a dyn Host) -> Self {
        Self {
            host,
            processes: OnceCell::new(),
            by_parent: OnceCell::new(),
            single_processes: RefCell::default(),
            single_children: RefCell::default(),
            commands: OnceCell::new(),
            servers: OnceCell::new(),
            single_commands: RefCell::default(),
            whole: RefCell::default(),
            sockets: OnceCell::new(),
            programs: OnceCell::new(),
            unit_files: OnceCell::new(),
            holders: RefCell::new(None),
            scans_all: false,
            alike: Cell::new(0),
            has_unread_homes: Cell::new(false),
            gaps: RefCell::new(Vec::new()),
        }
    }

    /// The same, with every process read for the owner of a port.
    pub fn scanning_all(host: &'a dyn Host) -> Self {
        Self { scans_all: true, ..Self::new(host) }
    }

    /// The processes of the whole host that hold these sockets. The scan reads every descriptor of the host, so the
    /// result is kept.
    pub fn holders(&self, inodes: &HashSet<u64>) -> Holders {
        if let Some((_, holders)) = self.holders.borrow().as_ref().filter(|(known, _)| known == inodes) {
            return holders.clone();
        }
        let found = self.host.holders(inodes, None);
        *self.holders.borrow_mut() = Some((inodes.clone(), found.clone()));
        found
    }

    /// Whether the last scan of the whole host was for these sockets.
    pub fn knows_holders(&self, inodes: &HashSet<u64>) -> bool {
        self.holders.borrow().as_ref().is_some_and(|(known, _)| known == inodes)
    }

    /// Records a gap, once.
    pub(super) fn note(&self, gap: Gap) {
        let mut gaps = self.gaps.borrow_mut();
        if !gaps.contains(&gap) {
            gaps.push(gap);
        }
    }

    /// Records gaps of one kind. A host has thousands of accounts, so of many gaps only the first and their number are
    /// recorded.
    pub(super) fn note_many(&self, gaps: Vec<Gap>, kind: &str) {
        const FEW_GAPS: usize = 3;
        match gaps.first() {
            Some(first) if gaps.len() > FEW_GAPS => {
                self.note(Gap {
                    what: format!("{} {kind}, the first {}", gaps.len(), first.what).into(),
                    ..first.clone()
                });
            }
            _ => gaps.into_iter().for_each(|gap| self.note(gap)),
        }
    }

    /// The gaps recorded so far.
    pub fn take_gaps(&self) -> Vec<Gap> {
        self.gaps.take()
    }

    /// The process table. Where single processes can be read, reading all of them takes longer than most requests.
    fn processes(&self) -> &[ProcessEntry] {
        self.processes.get_or_init(|| {
            let mut entries = self.host.process_table().unwrap_or_else(|gap| {
                self.note(gap);
                Vec::new()
            });
            entries.sort_unstable_by_key(|entry| entry.pid);
            entries
        })
    }

    /// One row of the process table.
    pub fn entry(&self, pid: u32) -> Option<ProcessEntry> {
        match self.host.single_processes() {
            Some(single) if self.processes.get().is_none() => {
                let mut known = self.single_processes.borrow_mut();
                known.entry(pid).or_insert_with(|| single.entry(pid)).clone()
            }
            _ => {
                let entries = self.processes();
                entries.get(entries.binary_search_by_key(&pid, |entry| entry.pid).ok()?).cloned()
            }
        }
    }

    /// Children of a process.
    pub fn children(&self, pid: u32) -> Vec<ProcessEntry> {
        let single = self.host.single_processes().filter(|_| self.processes.get().is_none());
        let children = single.and_then(|single| {
            let mut known = self.single_children.borrow_mut();
            known.entry(pid).or_insert_with(|| single.children(pid)).clone()
        });
        match children {
            Some(children) if children.len() <= MAX_SINGLE_READS => {
                children.into_iter().filter_map(|child| self.entry(child)).collect()
            }
            _ => self.children_in_table(pid),
        }
    }

    fn children_in_table(&self, pid: u32) -> Vec<ProcessEntry> {
        let entries = self.processes();
        let by_parent = self.by_parent.get_or_init(|| {
            let mut found: HashMap<u32, Vec<usize>> = HashMap::new();
            for (index, entry) in entries.iter().enumerate() {
                found.entry(entry.ppid).or_default().push(index);
            }
            found
        });
        let children = by_parent.get(&pid).into_iter().flatten();
        children.filter_map(|index| entries.get(*index)).cloned().collect()
    }

    /// Why some process or command line could not be read, so that a server can be missing from the results.
    pub fn incomplete(&self) -> Option<GapReason> {
        let has_none = self.commands().is_empty();
        let gaps = self.gaps.borrow();
        let found = gaps.iter().find(|gap| {
            matches!(
                gap.what,
                GapSubject::CommandLine { .. } | GapSubject::CommandLines { .. } | GapSubject::HiddenProcesses
            )
        });
        found.map(|gap| gap.reason).or_else(|| has_none.then_some(GapReason::NotFound))
    }

    /// Command lines by pid, unmodified: they are recognised first, and made printable before they are shown. Kernel
    /// threads, zombies and vanished processes are left out. So are the other processes of a program that is not a
    /// server, as a sample of `SAMPLE_SIZE` shows.
    pub fn commands(&self) -> &HashMap<u32, Vec<String>> {
        self.commands.get_or_init(|| {
            let mut found = HashMap::new();
            let mut unread: Vec<Gap> = Vec::new();
            let (mut pids, many) = self.by_program();
            pids.extend(many.iter().flat_map(|pids| pids.iter().take(SAMPLE_SIZE)));
            // Where reads hang, later processes can be left unread, so the order must not depend on the program.
            pids.sort_unstable();
            self.read_commands(&pids, &mut found, &mut unread);
            let (mut pids, mut alike) = (Vec::new(), 0);
            for many in &many {
                let (sample, others) = many.split_at(SAMPLE_SIZE);
                let sample: Vec<_> = sample.iter().filter_map(|pid| found.get(pid)).collect();
                // A sample with few readable command lines does not represent the other processes.
                if sample.len() < SAMPLE_SIZE / 2 || sample.iter().any(|argv| can_be_of_a_server(argv)) {
                    pids.extend_from_slice(others);
                } else {
                    alike += others.len();
                }
            }
            pids.sort_unstable();
            self.read_commands(&pids, &mut found, &mut unread);
            self.alike.set(alike);
            // A host has thousands of processes; if their reads hang, one gap covers all of them.
            if let [first, _, _, ..] = unread.as_slice() {
                let what = GapSubject::CommandLines { count: unread.len() };
                unread = vec![Gap { what, ..first.clone() }];
            }
            self.gaps.borrow_mut().extend(unread);
            found
        })
    }

    /// Processes to read the command lines of, and groups of more than [`SAMPLE_SIZE`] that run the same program.
    fn by_program(&self) -> (Vec<u32>, Vec<Vec<u32>>) {
        let Some(single) = self.host.single_processes() else {
            let entries = self.processes().iter().filter(|entry| !entry.zombie);
            return (entries.map(|entry| entry.pid).collect(), Vec::new());
        };
        let by_program = single.by_program().unwrap_or_else(|gap| {
            self.note(gap);
            ByProgram::default()
        });
        by_program.hidden.into_iter().for_each(|gap| self.note(gap));
        // Kernel threads are among the processes without a readable program.
        let mut each = by_program.unknown;
        each.retain(|pid| self.entry(*pid).is_some_and(|entry| !entry.zombie));
        let mut many = Vec::new();
        for (program, pids) in by_program.programs {
            if pids.len() <= SAMPLE_SIZE || runs_others(&program) {
                each.extend(pids);
            } else {
                many.push(pids);
            }
        }
        (each, many)
    }

    fn read_commands(&self, pids: &[u32], found: &mut HashMap<u32, Vec<String>>, unread: &mut Vec<Gap>) {
        for (pid, answer) in pids.iter().zip(self.host.commands(pids)) {
            match answer {
                Ok(argv) if !argv.is_empty() => drop(found.insert(*pid, argv)),
                Ok(_) => {}
                Err(gap) if is_reportable(&gap) => unread.push(gap),
                Err(_) => {}
            }
        }
    }

    /// Number of processes that were left out because a sample of their program is not a server.
    pub fn alike(&self) -> usize {
        self.commands();
        self.alike.get()
    }

    /// Command line of one process; those of the others are not read.
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

    /// One process, read in full. The selection of a server reads the same process repeatedly, so it is cached for
    /// `CACHE_LIFETIME`.
    ///
    /// # Errors
    /// A gap where the process has ended or cannot be read.
    pub fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap> {
        if let Some((at, read)) = self.whole.borrow().get(&identity.pid)
            && read.value.identity == identity
            && at.elapsed() < CACHE_LIFETIME
        {
            return Ok(read.clone());
        }
        let read = self.host.process(identity)?;
        self.whole.borrow_mut().insert(identity.pid, (Instant::now(), read.clone()));
        Ok(read)
    }

    /// All processes with the command line of a Hermes server, uncertain ones too.
    pub fn hermes(&self) -> Vec<(u32, HermesCommand)> {
        let mut found: Vec<_> =
            self.commands().iter().filter_map(|(pid, argv)| Some((*pid, recognise(argv)?))).collect();
        found.sort_unstable_by_key(|(pid, _)| *pid);
        found
    }

    /// The processes of [`Self::hermes`] without a server of the same kind among their ancestors. A forked child of a
    /// server keeps its command line and is part of that server.
    pub fn hermes_servers(&self) -> &[(u32, HermesCommand)] {
        self.servers.get_or_init(|| {
            let all = self.hermes();
            let servers: HashSet<(u32, ServerKind)> = all
                .iter()
                .filter(|(_, command)| command.role == CommandRole::Server)
                .map(|(pid, command)| (*pid, command.kind))
                .collect();
            // Reading many single rows takes longer than reading the whole table.
            if all.len() > MAX_SINGLE_READS {
                self.processes();
            }
            let has_server_above = |pid: u32, kind: ServerKind| {
                self.ancestors(pid).into_iter().any(|ancestor| servers.contains(&(ancestor, kind)))
            };
            all.into_iter().filter(|(pid, command)| !has_server_above(*pid, command.kind)).collect()
        })
    }

    /// TCP sockets of the doctor's own network namespace.
    pub fn sockets(&self) -> &SocketTable {
        self.sockets.get_or_init(|| {
            let read = self.host.sockets(None);
            self.gaps.borrow_mut().extend(read.gaps);
            read.value
        })
    }

    /// Whether a process is systemd, as the system's or a user's manager, by any name it was started under.
    pub fn is_service_manager(&self, pid: u32) -> bool {
        self.entry(pid).is_some_and(|entry| entry.name == "systemd")
            && (pid == 1 || self.command(pid).iter().any(|word| word == "--user" || word == "--system"))
    }

    /// Unit files of this host that run a Hermes server.
    pub fn unit_files(&self) -> &[UnitOnDisk] {
        self.unit_files.get_or_init(|| {
            let read = query::files(self.host);
            self.note_many(read.gaps, "directories and files of units");
            read.value
        })
    }

    /// TCP sockets in the network namespace of a process.
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

    /// The ancestors of a pid, nearest first.
    pub fn ancestors(&self, pid: u32) -> Vec<u32> {
        let mut found = Vec::new();
        let mut current = self.entry(pid).map_or(0, |entry| entry.ppid);
        while current != 0 && found.len() < 64 && !found.contains(&current) {
            found.push(current);
            current = self.entry(current).map_or(0, |entry| entry.ppid);
        }
        found
    }

    /// Whether two processes are the same, or one is an ancestor of the other. Pid 1 as `other` does not count, because
    /// it is an ancestor of every process.
    pub fn are_relatives(&self, pid: u32, other: u32) -> bool {
        let is_above = |above: u32, below: u32| self.ancestors(below).contains(&above);
        pid == other || is_above(pid, other) || other != 1 && is_above(other, pid)
    }

    /// A pid with its descendants, and its ancestors except pid 1.
    pub fn relatives(&self, pid: u32) -> Vec<u32> {
        let mut found = vec![pid];
        let mut at = 0;
        while let Some(parent) = found.get(at).copied() {
            let children = self.children(parent).into_iter().map(|entry| entry.pid);
            found.extend(children.filter(|child| *child != parent));
            at += 1;
            if at == MAX_SINGLE_READS {
                self.processes();
            }
            if at > 4096 {
                break;
            }
        }
        found.extend(self.ancestors(pid).into_iter().filter(|ancestor| *ancestor != 1));
        found
    }
}

/// That a process ends between two reads is normal on every host.
fn is_reportable(gap: &Gap) -> bool {
    !matches!(gap.reason, crate::model::GapReason::Vanished | crate::model::GapReason::NotFound)
}

/// Whether two processes are in the same network namespace, and so share their ports.
pub fn same_network(a: &Process, b: &Process) -> bool {
    match (a.network_namespace, b.network_namespace) {
        (Some(a), Some(b)) => a == b,
        _ => a.foreign_network == b.foreign_network,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
