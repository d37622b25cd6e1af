//! macOS: not read yet. Every question is answered with a gap that says so, never with an empty list that
//! would look like a healthy host.

use super::{
    Collected, Deadline, DescriptorRead, FileKind, Host, LogTail, OutputFile, PidProblem, ProcessEntry, Program,
    SocketTable, SupervisorProcess, ThreadEntry, UnitOnDisk, Usage,
};
use crate::model::id;
use crate::model::{
    DatabaseFile, DatabaseHolder, Gap, GapReason, HostFacts, Identity, Process, PythonLook, Resources, SecondLook,
};
use crate::parse::cgroup::Unit;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The running system.
pub struct MacHost {
    deadline: Deadline,
}

impl MacHost {
    /// Reads nothing.
    pub fn new(deadline: Deadline) -> Self {
        Self { deadline }
    }
}

fn unsupported(what: &str) -> Gap {
    Gap::new(what, GapReason::Unsupported, "this version does not read it on this system yet")
}

impl Host for MacHost {
    fn facts(&self) -> HostFacts {
        let uname = rustix::system::uname();
        HostFacts {
            os: std::env::consts::OS.into(),
            kernel: Some(crate::parse::text::printable(uname.release().to_bytes())),
            arch: std::env::consts::ARCH.into(),
            uptime_ms: None,
            root: rustix::process::geteuid().is_root(),
            init: None,
        }
    }

    fn process_table(&self) -> Result<Vec<ProcessEntry>, Gap> {
        Err(unsupported("process table").blocking(&[id::SERVER_NOT_RUNNING]))
    }

    fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
        pids.iter().map(|_| Err(unsupported("command lines"))).collect()
    }

    fn identify(&self, pid: u32) -> Result<Identity, PidProblem> {
        Err(PidProblem::Unreadable(pid, "this version does not read processes on this system yet".into()))
    }

    fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap> {
        Err(unsupported(&format!("process {}", identity.pid)))
    }

    fn working_directory(&self, _identity: Identity) -> Result<PathBuf, Gap> {
        Err(unsupported("working directory"))
    }

    fn descriptors(&self, _process: &Process, _sockets: &SocketTable) -> Result<Collected<DescriptorRead>, Gap> {
        Err(unsupported("descriptors"))
    }

    fn usage(&self, identity: Identity) -> Result<Usage, Gap> {
        Err(unsupported(&format!("usage of process {}", identity.pid)))
    }

    fn threads(&self, identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap> {
        Err(unsupported(&format!("threads of process {}", identity.pid)))
    }

    fn pipe_readers(&self, _identity: Identity, _descriptor: u32) -> Result<Option<(u64, Vec<u32>)>, Gap> {
        Err(unsupported("readers of a pipe"))
    }

    fn sockets_in_detail(&self, of: Option<&Process>) -> Collected<SocketTable> {
        self.sockets(of)
    }

    fn python_stacks(&self, identity: Identity) -> Result<PythonLook, Gap> {
        super::stacks::read(identity, self.deadline)
    }

    fn sockets(&self, _of: Option<&Process>) -> Collected<SocketTable> {
        Collected {
            value: SocketTable::default(),
            gaps: vec![unsupported("socket table").blocking(&[id::PORT_HELD, id::ACCEPT_STALLED])],
        }
    }

    fn holders(&self, _inodes: &HashSet<u64>, _among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
        (HashMap::new(), Err(unsupported("holders of sockets")))
    }

    fn cgroup_paths(&self, _ids: &HashSet<u64>, _hints: &[String]) -> Result<HashMap<u64, String>, Gap> {
        Err(unsupported("control groups"))
    }

    fn unit(&self, _unit: &Unit) -> Result<Program, Gap> {
        Err(Gap::new("systemd", GapReason::Unsupported, "there is none on this system"))
    }

    fn unit_files(&self) -> Vec<UnitOnDisk> {
        Vec::new()
    }

    fn unit_invocation(&self, _unit: &Unit) -> Option<String> {
        None
    }

    fn programs(&self, supervisor: &SupervisorProcess) -> Result<Vec<Program>, Gap> {
        Err(unsupported(&format!("programs of {}", supervisor.kind)))
    }

    fn service(&self, kind: &str, directory: &Path) -> Result<Program, Gap> {
        Err(unsupported(&format!("{kind} service {}", directory.display())))
    }

    fn container(&self, runtime: &str, id: &str) -> Result<Program, Gap> {
        Err(unsupported(&format!("{runtime} container {id}")))
    }

    fn database(&self, _seen_by: Option<&Process>, path: &Path) -> Result<Collected<DatabaseFile>, Gap> {
        Err(unsupported(&path.display().to_string()))
    }

    fn database_again(&self, _seen_by: Option<&Process>, _path: &Path) -> SecondLook {
        SecondLook::default()
    }

    fn resolved(&self, _seen_by: Option<&Process>, path: &Path) -> PathBuf {
        path.to_owned()
    }

    fn database_holders(
        &self,
        _seen_by: Option<&Process>,
        paths: &[PathBuf],
        _among: Option<&[u32]>,
    ) -> Collected<Vec<Vec<DatabaseHolder>>> {
        Collected { value: vec![Vec::new(); paths.len()], gaps: vec![unsupported("holders of databases")] }
    }

    fn directory_identity(&self, _seen_by: Option<&Process>, path: &Path) -> Result<(u64, u64), Gap> {
        Err(unsupported(&path.display().to_string()))
    }

    fn read_file(&self, path: &Path, _limit: usize) -> Result<Vec<u8>, Gap> {
        Err(unsupported(&path.display().to_string()))
    }

    fn list_directory(&self, path: &Path, _limit: usize) -> Result<Vec<String>, Gap> {
        Err(unsupported(&path.display().to_string()))
    }

    fn file_kind(&self, path: &Path) -> Result<FileKind, Gap> {
        Err(unsupported(&path.display().to_string()))
    }

    fn output_files(&self, process: &Process) -> Result<Vec<OutputFile>, Gap> {
        Err(unsupported(&format!("output of process {}", process.identity.pid)))
    }

    fn log_tail(&self, path: &Path, _rotated: Option<&Path>) -> Result<LogTail, Gap> {
        Err(unsupported(&path.display().to_string()))
    }

    fn journal(&self, _unit: &Unit) -> Result<LogTail, Gap> {
        Err(Gap::new("journal", GapReason::Unsupported, "there is none on this system"))
    }

    fn resources(&self, _process: &Process) -> Collected<Resources> {
        Collected { value: Resources::default(), gaps: vec![unsupported("limits of tasks and memory")] }
    }

    fn user_home(&self, _uid: u32) -> Option<PathBuf> {
        None
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        vec![IpAddr::from([127, 0, 0, 1]), IpAddr::V6(std::net::Ipv6Addr::LOCALHOST)]
    }

    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        super::resolve(name, self.deadline.within(std::time::Duration::from_secs(2))).ok()
    }

    fn user_homes(&self) -> Vec<PathBuf> {
        std::env::var_os("HOME").map(PathBuf::from).into_iter().collect()
    }
}
