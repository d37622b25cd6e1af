//! macOS: libproc, sysctl(3) and launchctl(1), all of them public interfaces. The calls are in `calls`. `parse/darwin`
//! parses their results, and compiles and is tested on every system.
//!
//! A user's own processes are read without root. Of other users' processes only the process table and the path of the
//! program can be read.

mod calls;
mod databases;
mod process;
mod sockets;

use super::worker::Request;
use super::worker::wire::{Output, Tool};
use super::workers::Workers;
use super::{
    Collected, Deadline, DescriptorRead, FileKind, ForeignPath, Host, LogTail, OutputFile, PidProblem,
    ProcessEntry, SocketTable, SourceFile, ThreadEntry, Usage,
};
use crate::collect::{Databases, Descriptors, Files, Processes, Sockets, Supervisors, host_facts};
use crate::model::{
    DatabaseFile, DatabaseHolder, Gap, GapDetail, GapReason, GapSubject, HostFacts, Identity, Process,
    PythonSample, Resources, SecondSample, id,
};
use crate::parse::darwin::descriptor::{self, Record};
use crate::parse::darwin::{procargs, process as parse};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Checks that need the descriptors.
const DESCRIPTORS_DECIDE: &[&str] = &[id::STATE_DB_HANDLE_LEAK, id::CLOSE_WAIT_LEAK, id::DELETED_FILES_HELD];

/// Time of one thread in the last sample: the lower bits of user and system time, and their sum so far.
#[derive(Clone, Copy, Default)]
struct ThreadTime {
    user_ns: u32,
    system_ns: u32,
    total_ns: u64,
}

/// The running system.
pub struct MacHost {
    workers: Workers,
    /// Nanoseconds per unit of the machine's clock, as a fraction.
    timebase: (u32, u32),
    thread_times: RefCell<HashMap<(Identity, u64), ThreadTime>>,
}

impl MacHost {
    /// Reads nothing yet.
    pub fn new(deadline: Deadline) -> Self {
        Self {
            workers: Workers::new(deadline),
            timebase: calls::timebase(),
            thread_times: RefCell::new(HashMap::new()),
        }
    }

    /// Records of the descriptors of a process.
    fn descriptor_records(&self, pid: u32) -> Result<Vec<u8>, Gap> {
        self.workers.bytes_of_process(Request::DescriptorRecords(pid))
    }

    /// CPU time of a thread in nanoseconds since its first sample, from counters that wrap around.
    fn thread_time(&self, identity: Identity, handle: u64, thread: &parse::Thread) -> u64 {
        let mut times = self.thread_times.borrow_mut();
        let first = ThreadTime { user_ns: thread.user_ns, system_ns: thread.system_ns, total_ns: 0 };
        let time = times.entry((identity, handle)).or_insert(first);
        let more = u64::from(thread.user_ns.wrapping_sub(time.user_ns))
            + u64::from(thread.system_ns.wrapping_sub(time.system_ns));
        let total_ns = time.total_ns.saturating_add(more);
        *time = ThreadTime { total_ns, ..first };
        total_ns
    }
}

/// Arguments and environment of a process, each NUL-separated. Called by the worker.
pub(super) fn arguments(pid: u32) -> io::Result<(Vec<u8>, Vec<u8>)> {
    let block = calls::arguments(pid)?;
    let found = procargs::parse(&block).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let joined = |words: Vec<&[u8]>| words.into_iter().flat_map(|word| [word, b"\0"]).flatten().copied().collect();
    Ok((joined(found.arguments), joined(found.environment)))
}

/// The user of a process, where the pid still belongs to it. Called by the worker.
pub(super) fn owner_of(identity: Identity) -> Option<u32> {
    let found = process::kernel_process(identity.pid).ok().flatten()?;
    (found.start_ticks() == identity.start_ticks).then_some(found.uid)
}

/// The user of the process that now has a pid. Called by the worker.
pub(super) fn user_of(pid: u32) -> Option<u32> {
    process::kernel_process(pid).ok().flatten().map(|found| found.uid)
}

/// The working directory of a process. Called by the worker.
pub(super) fn directory_of(identity: Identity) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let path = parse::working_directory(&calls::directories(identity.pid)?);
    let path = path.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    Ok(path.into_os_string().into_vec())
}

/// Records of all descriptors of a process; `EFBIG` where they are longer than `limit` bytes. Called by the worker.
pub(super) fn descriptor_records(pid: u32, limit: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    for (number, kind) in descriptor::list(&calls::descriptor_list(pid)?) {
        let answer = calls::descriptor(pid, number, kind);
        let answer = answer.map_err(|error| error.raw_os_error().unwrap_or(libc::EINVAL));
        // Closed between the two calls, so not counted.
        if answer == Err(libc::EBADF) {
            continue;
        }
        descriptor::encode(&Record { descriptor: number, kind, answer }, &mut out);
        if out.len() > limit {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
    }
    Ok(out)
}

fn unsupported(what: GapSubject, why: GapDetail) -> Gap {
    Gap::new(what, GapReason::Unsupported, why)
}

impl Processes for MacHost {
    fn process_table(&self) -> Result<Vec<ProcessEntry>, Gap> {
        process::table()
    }

    fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
        process::commands(self, pids)
    }

    fn identify(&self, pid: u32) -> Result<Identity, PidProblem> {
        process::identify(pid)
    }

    fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap> {
        let mut read = process::read(self, identity)?;
        read.value.user = self.workers.user(read.value.uid).map(|user| user.name.into());
        Ok(read)
    }

    fn working_directory(&self, identity: Identity) -> Result<PathBuf, Gap> {
        let what = GapSubject::WorkingDirectory { pid: identity.pid };
        let bytes = calls::directories(identity.pid).map_err(|error| Gap::from_io(&what, &error))?;
        parse::working_directory(&bytes).map_err(|error| Gap::new(what, GapReason::Malformed, error.to_string()))
    }

    fn usage(&self, identity: Identity) -> Result<Usage, Gap> {
        process::usage(self, identity)
    }

    fn threads(&self, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap> {
        process::threads(self, identity)
    }

    fn python_stacks(&self, identity: Identity) -> Result<PythonSample, Gap> {
        super::stacks::read(identity, self.workers.deadline)
    }

    fn resources(&self, _process: &Process) -> Collected<Resources> {
        let gap = unsupported(GapSubject::LimitsHere, GapDetail::NotReadHere);
        Collected { value: Resources::default(), gaps: vec![gap] }
    }
}

impl Descriptors for MacHost {
    fn descriptors(&self, process: &Process, _sockets: &SocketTable) -> Result<Collected<DescriptorRead>, Gap> {
        let pid = process.identity.pid;
        let records = self.descriptor_records(pid).and_then(|bytes| {
            let what = GapSubject::DescriptorsOf { pid };
            descriptor::decode(&bytes).map_err(|error| Gap::new(what, GapReason::Malformed, error.to_string()))
        });
        if self.identify(pid) != Ok(process.identity) {
            return Err(Gap::new(GapSubject::DescriptorsOf { pid }, GapReason::Vanished, GapDetail::Ended));
        }
        match records {
            Ok(records) => {
                let (facts, sockets) = descriptor::read(&records);
                let gaps = vec![descriptor::limit_gap(pid)];
                Ok(Collected { value: DescriptorRead { facts, sockets }, gaps })
            }
            Err(mut gap) => {
                if gap.reason == GapReason::Permission {
                    gap.detail = GapDetail::RunAsOwner;
                }
                let gaps = vec![gap.blocking(DESCRIPTORS_DECIDE), descriptor::limit_gap(pid)];
                Ok(Collected { value: DescriptorRead::default(), gaps })
            }
        }
    }

    fn pipe_readers(&self, _identity: Identity, _descriptor: u32) -> Result<Option<(u64, Vec<u32>)>, Gap> {
        Err(unsupported(GapSubject::PipeReaders, GapDetail::MacPipes))
    }

    fn output_files(&self, process: &Process) -> Result<Vec<OutputFile>, Gap> {
        let pid = process.identity.pid;
        let what = GapSubject::Output { pid };
        let bytes = self.descriptor_records(pid)?;
        let records =
            descriptor::decode(&bytes).map_err(|error| Gap::new(what, GapReason::Malformed, error.to_string()))?;
        // A file can only be opened by its path, and another file can have that path by now.
        let files = descriptor::output_files(&records).into_iter();
        Ok(files.map(|name| OutputFile { place: ForeignPath::of_link(process.identity, &name), name }).collect())
    }
}

impl Sockets for MacHost {
    fn sockets(&self, _of: Option<&Process>) -> Collected<SocketTable> {
        sockets::table(self.workers.deadline)
    }

    fn sockets_in_detail(&self, of: Option<&Process>) -> Collected<SocketTable> {
        self.sockets(of)
    }

    fn holders(&self, inodes: &HashSet<u64>, among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
        sockets::holders(inodes, among, self.workers.deadline)
    }

    fn cgroup_paths(&self, _ids: &HashSet<u64>, _hints: &[String]) -> Result<HashMap<u64, String>, Gap> {
        Err(unsupported(GapSubject::ControlGroupsHere, GapDetail::NoGroupsHere))
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        let mut own = vec![IpAddr::from([127, 0, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)];
        if let Ok(networks) = sysinfo::Networks::new_with_refreshed_list() {
            own.extend(networks.values().flat_map(|network| network.ip_networks()).map(|found| found.addr));
        }
        own.sort_unstable();
        own.dedup();
        own
    }

    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.workers.resolve(name)
    }
}

impl Databases for MacHost {
    fn database(&self, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap> {
        databases::read(self, path)
    }

    fn database_again(&self, path: &ForeignPath) -> SecondSample {
        databases::again(self, path)
    }

    fn database_holders(
        &self,
        _seen_by: Option<&Process>,
        paths: &[ForeignPath],
        among: Option<&[u32]>,
    ) -> Collected<Vec<Vec<DatabaseHolder>>> {
        databases::holders(self, paths, among)
    }
}

impl Files for MacHost {
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

impl Supervisors for MacHost {
    fn workers(&self) -> Result<&Workers, Gap> {
        Err(unsupported(GapSubject::ProgramsOfSupervisor, GapDetail::NotQueriedHere))
    }

    fn run_tool(&self, tool: Tool, arguments: Vec<String>, user: Option<u32>, keep: usize) -> Result<Output, Gap> {
        match tool {
            Tool::Launchctl => self.workers.run(tool, arguments, user, keep),
            Tool::Systemctl | Tool::Journalctl => Err(unsupported(tool.name().into(), GapDetail::NoSystemdHere)),
        }
    }

    fn pid_inside(&self, _pid: u32) -> Option<u32> {
        None
    }
}

impl Host for MacHost {
    fn facts(&self) -> HostFacts {
        host_facts::read(&self.workers, process::kernel_process(1).ok().flatten().map(|process| process.name))
    }

    fn user_home(&self, uid: u32) -> Option<PathBuf> {
        self.workers.user(uid).map(|user| user.home)
    }

    fn user_homes(&self) -> Collected<Vec<PathBuf>> {
        let mut homes: Vec<PathBuf> = std::env::var_os("HOME").map(PathBuf::from).into_iter().collect();
        let mut gaps = Vec::new();
        if rustix::process::geteuid().is_root() {
            match self.list_directory(&ForeignPath::of_person(Path::new("/Users")), 1024) {
                Ok(names) => homes.extend(
                    names.into_iter().filter(|name| name != "Shared").map(|name| Path::new("/Users").join(name)),
                ),
                Err(gap) => gaps.push(gap),
            }
        }
        homes.retain(|home| home.is_absolute() && home != Path::new("/"));
        homes.sort_unstable();
        homes.dedup();
        Collected { value: homes, gaps }
    }
}
