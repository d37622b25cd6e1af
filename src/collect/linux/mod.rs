//! Linux: procfs, socket diagnostics, control groups and systemd.

mod cgroup;
mod descriptors;
mod proc_dir;
mod process;
mod sockets;
mod supervisors;
mod systemd;

use super::reader::{Reader, Request};
use super::{Collected, Deadline, DescriptorRead, FileKind, Host, PidProblem, ProcessEntry, SocketTable};
use crate::model::{Gap, GapReason, HostFacts, Identity, Process};
use crate::parse::cgroup::Unit;
use crate::parse::text::{nul_separated, printable};
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The running system.
pub struct LinuxHost {
    deadline: Deadline,
    /// For /proc.
    reader: RefCell<Reader>,
    /// For everything else: homes on dead mounts must not use up the patience that /proc deserves.
    files: RefCell<Reader>,
    users: RefCell<HashMap<u32, Option<(String, PathBuf)>>>,
}

impl LinuxHost {
    /// Reads nothing yet.
    pub fn new(deadline: Deadline) -> Self {
        Self {
            deadline,
            reader: RefCell::new(Reader::new()),
            files: RefCell::new(Reader::new()),
            users: RefCell::new(HashMap::new()),
        }
    }

    fn perform(&self, requests: &[Request]) -> Vec<Result<Vec<u8>, Gap>> {
        self.reader.borrow_mut().perform(requests, self.deadline)
    }

    fn perform_one(&self, request: Request) -> Result<Vec<u8>, Gap> {
        let mut answers = self.files.borrow_mut().perform(std::slice::from_ref(&request), self.deadline);
        answers
            .pop()
            .unwrap_or_else(|| Err(Gap::new("a read", GapReason::Unsupported, "the reader gave no answer")))
    }

    /// Name and home of a user. A directory service can hang, so this goes through the reader too.
    fn user(&self, uid: u32) -> Option<(String, PathBuf)> {
        use std::os::unix::ffi::OsStringExt;
        if let Some(known) = self.users.borrow().get(&uid) {
            return known.clone();
        }
        let found = self.perform_one(Request::User(uid)).ok().and_then(|answer| {
            let words = nul_separated(&answer);
            let home = std::ffi::OsString::from_vec(words.get(1)?.to_vec());
            Some((printable(words.first()?), PathBuf::from(home)))
        });
        self.users.borrow_mut().insert(uid, found.clone());
        found
    }
}

impl Host for LinuxHost {
    fn facts(&self) -> HostFacts {
        let uname = rustix::system::uname();
        HostFacts {
            os: "linux".into(),
            kernel: Some(printable(uname.release().to_bytes())),
            arch: std::env::consts::ARCH.into(),
            uptime_ms: process::uptime().map(|uptime| u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX)),
            root: rustix::process::geteuid().is_root(),
            init: process::name_of(1),
        }
    }

    fn process_table(&self) -> Result<Vec<ProcessEntry>, Gap> {
        process::table()
    }

    fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
        let requests: Vec<Request> = pids.iter().map(|pid| Request::CommandLine(*pid)).collect();
        self.perform(&requests)
            .into_iter()
            .map(|answer| {
                let words = |block: Vec<u8>| {
                    nul_separated(&block)
                        .into_iter()
                        .map(|word| String::from_utf8_lossy(word).into_owned())
                        .collect()
                };
                answer.map(words)
            })
            .collect()
    }

    fn identify(&self, pid: u32) -> Result<Identity, PidProblem> {
        process::identify(pid)
    }

    fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap> {
        let mut read = process::read(identity, |requests| self.perform(requests))?;
        read.value.user = self.user(read.value.uid).map(|(name, _)| name);
        Ok(read)
    }

    fn working_directory(&self, identity: Identity) -> Result<PathBuf, Gap> {
        use std::os::unix::ffi::OsStringExt;
        let what = format!("working directory of pid {}", identity.pid);
        let link = proc_dir::ProcDir::anchor(identity)?.link(c"cwd").map_err(|error| Gap::from_io(what, &error))?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(link)))
    }

    fn descriptors(&self, process: &Process, table: &SocketTable) -> Result<Collected<DescriptorRead>, Gap> {
        let directory = proc_dir::ProcDir::anchor(process.identity)?;
        Ok(descriptors::read(&directory, process, table))
    }

    fn sockets(&self, of: Option<&Process>) -> Collected<SocketTable> {
        sockets::table(of, self.deadline)
    }

    fn holders(&self, inodes: &HashSet<u64>, among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
        process::holders(inodes, among, self.deadline)
    }

    fn cgroup_paths(&self, ids: &HashSet<u64>, hints: &[String]) -> Result<HashMap<u64, String>, Gap> {
        cgroup::paths(ids, hints, self.deadline)
    }

    fn systemd_unit(&self, unit: &Unit) -> Result<crate::parse::systemd::UnitState, Gap> {
        systemd::show(unit, self.deadline)
    }

    fn unit_invocation(&self, unit: &Unit) -> Option<String> {
        let link = self.perform_one(Request::Link(systemd::invocation_link(unit))).ok()?;
        Some(printable(&link))
    }

    fn programs(&self, supervisor: &super::SupervisorProcess) -> Result<Vec<super::Program>, Gap> {
        supervisors::programs(self, supervisor)
    }

    fn read_file(&self, path: &Path, limit: usize) -> Result<Vec<u8>, Gap> {
        self.perform_one(Request::File(path.to_owned(), u32::try_from(limit).unwrap_or(u32::MAX)))
    }

    fn list_directory(&self, path: &Path, limit: usize) -> Result<Vec<String>, Gap> {
        let answer =
            self.perform_one(Request::Directory(path.to_owned(), u32::try_from(limit).unwrap_or(u32::MAX)))?;
        Ok(nul_separated(&answer).into_iter().map(printable).collect())
    }

    fn file_kind(&self, path: &Path) -> Result<FileKind, Gap> {
        Ok(super::reader::file_kind(&self.perform_one(Request::Kind(path.to_owned()))?))
    }

    fn user_home(&self, uid: u32) -> Option<PathBuf> {
        self.user(uid).map(|(_, home)| home)
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        process::own_addresses()
    }

    fn resolve(&self, name: &str) -> Option<Vec<IpAddr>> {
        super::resolve(name, self.deadline.within(std::time::Duration::from_secs(2))).ok()
    }

    fn user_homes(&self) -> Vec<PathBuf> {
        process::user_homes()
    }
}
