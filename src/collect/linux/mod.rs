//! Linux: procfs, socket diagnostics, control groups and systemd.

pub mod cgroup;
mod databases;
mod descriptors;
mod executables;
pub mod links;
pub mod proc_dir;
mod process;
mod procfs;
mod resources;
pub mod sockets;
mod threads;

use super::worker::Request;
use super::worker::wire::{Output, Tool};
use super::workers::Workers;
use super::{
    ByProgram, Collected, Deadline, DescriptorRead, FileKind, ForeignPath, Host, LogTail, OutputFile, PidProblem,
    ProcessEntry, SingleProcesses, SocketTable, SourceFile, ThreadEntry, Usage,
};
use crate::collect::{Databases, Descriptors, Files, Processes, Sockets, Supervisors, host_facts};
use crate::model::{
    DatabaseFile, DatabaseHolder, Gap, GapDetail, GapReason, GapSubject, HostFacts, Identity, Process,
    PythonSample, Resources, SecondSample,
};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The running system.
pub struct LinuxHost {
    workers: Workers,
    programs: OnceCell<ByProgram>,
}

impl LinuxHost {
    /// Reads nothing yet.
    pub fn new(deadline: Deadline) -> Self {
        Self { workers: Workers::new(deadline), programs: OnceCell::new() }
    }
}

impl SingleProcesses for LinuxHost {
    fn entry(&self, pid: u32) -> Option<ProcessEntry> {
        process::entry(&self.workers, pid)
    }

    fn children(&self, pid: u32) -> Option<Vec<u32>> {
        process::children(&self.workers, pid)
    }

    fn by_program(&self) -> Result<ByProgram, Gap> {
        if let Some(known) = self.programs.get() {
            return Ok(known.clone());
        }
        let read = executables::by_program(&self.workers)?;
        Ok(self.programs.get_or_init(|| read).clone())
    }
}

impl Processes for LinuxHost {
    fn single_processes(&self) -> Option<&dyn SingleProcesses> {
        Some(self)
    }

    fn process_table(&self) -> Result<Vec<ProcessEntry>, Gap> {
        process::table(&self.workers)
    }

    fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
        self.workers.commands(pids)
    }

    fn identify(&self, pid: u32) -> Result<Identity, PidProblem> {
        process::identify(&self.workers, pid)
    }

    fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap> {
        let mut read = process::read(identity, &self.workers)?;
        read.value.user = self.workers.user(read.value.uid).map(|user| user.name).map(Into::into);
        Ok(read)
    }

    fn working_directory(&self, identity: Identity) -> Result<PathBuf, Gap> {
        let link = procfs::one_of(&self.workers, identity, procfs::link(identity.pid, "cwd"))
            .map_err(|gap| Gap { what: GapSubject::WorkingDirectory { pid: identity.pid }, ..gap })?;
        Ok(PathBuf::from(OsString::from_vec(link)))
    }

    fn usage(&self, identity: Identity) -> Result<Usage, Gap> {
        let line = procfs::prove(&self.workers, identity)?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let cpu_ms = line.cpu_ticks.saturating_mul(1000) / per_second;
        Ok(Usage { open: descriptors::counted(&self.workers, identity.pid), cpu_ms })
    }

    fn threads(&self, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap> {
        threads::read(self, identity)
    }

    fn python_stacks(&self, identity: Identity) -> Result<PythonSample, Gap> {
        // The memory map is read by pid: the checks before and after prove that it belongs to this process.
        procfs::prove(&self.workers, identity)?;
        let look = super::stacks::read(identity, self.workers.deadline)?;
        procfs::prove(&self.workers, identity)?;
        Ok(look)
    }

    fn resources(&self, process: &Process) -> Collected<Resources> {
        resources::read(self, process)
    }
}

impl Descriptors for LinuxHost {
    fn descriptors(&self, process: &Process, table: &SocketTable) -> Result<Collected<DescriptorRead>, Gap> {
        descriptors::read(process, table, &self.workers)
    }

    fn descriptors_in_brief(&self, process: &Process) -> Result<Collected<DescriptorRead>, Gap> {
        descriptors::in_brief(process, &self.workers)
    }

    fn pipe_readers(&self, identity: Identity, descriptor: u32) -> Result<Option<(u64, Vec<u32>)>, Gap> {
        threads::pipe_readers(&self.workers, identity, descriptor)
    }

    fn output_files(&self, process: &Process) -> Result<Vec<OutputFile>, Gap> {
        let identity = process.identity;
        let mut files = Vec::new();
        for number in [1, 2] {
            let name = match self.workers.bytes_of_process(Request::DescriptorLink(identity, number)) {
                Ok(name) => name,
                // Closed, which is not an error.
                Err(gap) if gap.reason == GapReason::NotFound => continue,
                Err(gap) => return Err(Gap { what: GapSubject::Output { pid: identity.pid }, ..gap }),
            };
            if !name.starts_with(b"/") || name.starts_with(b"/dev/") {
                continue;
            }
            let place = ForeignPath::descriptor(identity, number);
            let name = PathBuf::from(OsString::from_vec(name));
            match self.workers.kind_of(&place) {
                Ok(FileKind::Regular) => files.push(OutputFile { name, place }),
                Ok(_) => {}
                Err(gap) => return Err(Gap { what: GapSubject::Output { pid: identity.pid }, ..gap }),
            }
        }
        Ok(files)
    }
}

impl Sockets for LinuxHost {
    fn sockets(&self, of: Option<&Process>) -> Collected<SocketTable> {
        sockets::table(&self.workers, of, sockets::Detail::Plain)
    }

    fn sockets_in_detail(&self, of: Option<&Process>) -> Collected<SocketTable> {
        sockets::table(&self.workers, of, sockets::Detail::Progress)
    }

    fn holders(&self, inodes: &HashSet<u64>, among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
        match among.map_or_else(process::all_pids, |pids| Ok(pids.to_vec())) {
            Ok(pids) => process::holders(&self.workers, inodes, &pids),
            Err(gap) => (HashMap::new(), Err(process::no_holders(gap))),
        }
    }

    fn cgroup_paths(&self, ids: &HashSet<u64>, hints: &[String]) -> Result<HashMap<u64, String>, Gap> {
        cgroup::paths(&self.workers, ids, hints)
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        process::own_addresses()
    }

    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.workers.resolve(name)
    }
}

impl Databases for LinuxHost {
    fn database(&self, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap> {
        databases::read(self, path)
    }

    fn database_again(&self, path: &ForeignPath) -> SecondSample {
        databases::again(self, path)
    }

    fn database_holders(
        &self,
        seen_by: Option<&Process>,
        paths: &[ForeignPath],
        among: Option<&[u32]>,
    ) -> Collected<Vec<Vec<DatabaseHolder>>> {
        databases::holders(self, seen_by, paths, among)
    }
}

impl Files for LinuxHost {
    fn source(&self, path: &ForeignPath, limit: usize) -> Result<SourceFile, Gap> {
        self.workers.source(path, limit)
    }

    fn resolved(&self, path: &ForeignPath) -> Result<ForeignPath, Gap> {
        self.workers.name_of(path)
    }

    fn directory_identity(&self, path: &ForeignPath) -> Result<(u64, u64), Gap> {
        self.workers.identity_of(path)
    }

    fn read_file(&self, path: &ForeignPath, limit: usize) -> Result<Vec<u8>, Gap> {
        Ok(self.workers.content(path, limit)?.bytes.into_vec())
    }

    fn list_directory(&self, path: &ForeignPath, limit: usize) -> Result<Vec<OsString>, Gap> {
        self.workers.names(path, "", limit)
    }

    fn file_kind(&self, path: &ForeignPath) -> Result<FileKind, Gap> {
        self.workers.kind_of(path)
    }

    fn owner_of(&self, path: &ForeignPath) -> Option<u32> {
        self.workers.stat(path).ok().map(|stat| stat.owner)
    }

    fn log_tail(&self, path: &ForeignPath, rotated: Option<&ForeignPath>) -> Result<LogTail, Gap> {
        self.workers.log_tail(path, rotated)
    }
}

impl Supervisors for LinuxHost {
    fn workers(&self) -> Result<&Workers, Gap> {
        Ok(&self.workers)
    }

    fn run_tool(&self, tool: Tool, arguments: Vec<String>, user: Option<u32>, keep: usize) -> Result<Output, Gap> {
        match tool {
            Tool::Systemctl | Tool::Journalctl => self.workers.run(tool, arguments, user, keep),
            Tool::Launchctl => Err(Gap::new(tool.name(), GapReason::Unsupported, GapDetail::NoLaunchdHere)),
        }
    }

    fn pid_inside(&self, pid: u32) -> Option<u32> {
        process::pid_inside(&self.workers, pid)
    }
}

impl Host for LinuxHost {
    fn facts(&self) -> HostFacts {
        host_facts::read(&self.workers, process::name_of(&self.workers, 1))
    }

    fn user_home(&self, uid: u32) -> Option<PathBuf> {
        self.workers.user(uid).map(|user| user.home)
    }

    fn user_homes(&self) -> Collected<Vec<PathBuf>> {
        let mut homes: Vec<PathBuf> = std::env::var_os("HOME").map(PathBuf::from).into_iter().collect();
        let mut gaps = Vec::new();
        if rustix::process::geteuid().is_root() {
            match self.workers.homes() {
                Ok(found) => homes.extend(found),
                Err(gap) => gaps.push(gap),
            }
        }
        homes.retain(|home| home.is_absolute() && home != Path::new("/"));
        homes.sort_unstable();
        homes.dedup();
        Collected { value: homes, gaps }
    }
}
