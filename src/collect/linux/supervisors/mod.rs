//! Queries supervisors for their claims, each in its own way: supervisord and pm2 on their sockets, runit, s6 and
//! daemontools by their status files, systemd through `systemctl show`, containers through their runtime's socket.

pub mod container;
mod pm2;
pub mod service_directory;
mod supervisord;
pub mod systemd;

use super::{LinuxHost, process};
use crate::collect::foreign::Peer;
use crate::collect::{Collected, ForeignPath, Processes, Program, SupervisorProcess};
use crate::model::text::printable;
use crate::model::{Gap, GapReason, Process, SupervisorKind, Timestamp};
use std::cell::OnceCell;
use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Largest configuration or run script that is read.
const MAX_FILE_BYTES: usize = 256 * 1024;

/// A way to query one kind of supervisor.
trait Backend {
    /// The programs of a supervisor. Claimed pids are those of the doctor's own pid namespace.
    fn programs(&self, host: &LinuxHost, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap>;
}

/// Queries a supervisor.
pub fn programs(host: &LinuxHost, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
    let asks: &dyn Backend = match &supervisor.kind {
        SupervisorKind::Supervisord => &supervisord::Supervisord,
        SupervisorKind::Pm2 => &pm2::Pm2,
        kind if kind.has_service_directories() => &service_directory::ServiceDirectory,
        kind if kind.is_systemd() => &systemd::Systemd,
        other => {
            return Err(Gap::new(
                format!("programs of {other}"),
                GapReason::Unsupported,
                "this version cannot query it",
            ));
        }
    };
    asks.programs(host, supervisor)
}

/// The namespaces of a supervisor: they translate its paths and pids to those of the doctor.
struct Place {
    process: Process,
    /// Pids of its children, by their pids in its own namespace.
    children: OnceCell<HashMap<u32, u32>>,
}

impl Place {
    fn of(host: &LinuxHost, pid: u32) -> Result<Self, Gap> {
        let identity = host
            .identify(pid)
            .map_err(|problem| Gap::new(format!("supervisor {pid}"), GapReason::Vanished, problem.to_string()))?;
        Ok(Self { process: host.process(identity)?.value, children: OnceCell::new() })
    }

    /// A path of the supervisor.
    fn path(&self, path: &Path) -> ForeignPath {
        ForeignPath::of_process(self.process.identity, path)
    }

    /// Its user, where it differs from the doctor's.
    fn owner(&self) -> Option<u32> {
        another_user(self.process.uid)
    }

    /// The process that must listen on its socket: the supervisor itself.
    fn peer(&self) -> Peer {
        Peer::Process(self.process.identity)
    }

    /// The pid in the doctor's namespace for a pid that the supervisor reports. In its own pid namespace the number
    /// differs.
    fn pid(&self, host: &LinuxHost, named: u32) -> Option<u32> {
        if self.process.namespace_pids.len() <= 1 {
            return Some(named);
        }
        let children = self.children.get_or_init(|| {
            let own = self.process.identity.pid;
            let table = host.process_table().unwrap_or_default().into_iter();
            let pids = table.filter(|entry| entry.ppid == own).map(|entry| entry.pid);
            pids.filter_map(|pid| Some((process::pid_inside(&host.workers, pid)?, pid))).collect()
        });
        children.get(&named).copied()
    }
}

/// The user, where it differs from the one that the doctor runs as.
fn another_user(uid: u32) -> Option<u32> {
    Some(uid).filter(|uid| *uid != rustix::process::geteuid().as_raw())
}

fn shown(path: &Path) -> String {
    printable(path.as_os_str().as_bytes())
}

/// The time at this number of seconds after 1970.
fn timestamp(seconds: u64) -> Option<Timestamp> {
    Timestamp::of_unix(Duration::from_secs(seconds))
}

/// Time since then, by this machine's clock.
fn since(seconds: u64) -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_secs(seconds))
}
