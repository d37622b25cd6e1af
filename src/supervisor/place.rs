//! The namespaces of a supervisor, and what the queries of several supervisors share.

use crate::collect::foreign::Peer;
use crate::collect::{ForeignPath, Host};
use crate::model::text::printable;
use crate::model::{Gap, GapReason, GapSubject, Process, Timestamp};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Largest configuration or run script that is read.
pub const MAX_FILE_BYTES: usize = 256 * 1024;

/// The namespaces of a supervisor: they translate its paths and pids to those of the doctor.
pub struct Place {
    /// The supervising process.
    pub process: Process,
    /// Pids of its children, by their pids in its own namespace.
    children: OnceCell<HashMap<u32, u32>>,
}

impl Place {
    /// The namespaces of the process with this pid.
    ///
    /// # Errors
    /// A gap when the process has ended.
    pub fn of(host: &dyn Host, pid: u32) -> Result<Self, Gap> {
        let identity = host.identify(pid).map_err(|problem| {
            Gap::new(GapSubject::Supervisor { pid }, GapReason::Vanished, problem.to_string())
        })?;
        Ok(Self { process: host.process(identity)?.value, children: OnceCell::new() })
    }

    /// A path of the supervisor.
    pub fn path(&self, path: &Path) -> ForeignPath {
        ForeignPath::of_process(self.process.identity, path)
    }

    /// Its user, where it differs from the doctor's.
    pub fn owner(&self) -> Option<u32> {
        another_user(self.process.uid)
    }

    /// The process that must listen on its socket: the supervisor itself.
    pub fn peer(&self) -> Peer {
        Peer::Process(self.process.identity)
    }

    /// The pid in the doctor's namespace for a pid that the supervisor reports. In its own pid namespace the number
    /// differs.
    pub fn pid(&self, host: &dyn Host, named: u32) -> Option<u32> {
        if self.process.namespace_pids.len() <= 1 {
            return Some(named);
        }
        let children = self.children.get_or_init(|| {
            let own = self.process.identity.pid;
            let table = host.process_table().unwrap_or_default().into_iter();
            let pids = table.filter(|entry| entry.ppid == own).map(|entry| entry.pid);
            pids.filter_map(|pid| Some((host.pid_inside(pid)?, pid))).collect()
        });
        children.get(&named).copied()
    }
}

/// The user, where it differs from the one that the doctor runs as.
pub fn another_user(uid: u32) -> Option<u32> {
    Some(uid).filter(|uid| *uid != rustix::process::geteuid().as_raw())
}

/// A path as it is printed.
pub fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// The time at this number of seconds after 1970.
pub fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::of_unix(Duration::from_secs(seconds))
}

/// Time since then, by this machine's clock.
pub fn since(seconds: u64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_secs(seconds))
}
