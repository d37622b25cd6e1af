//! Queries a supervisor on its Unix socket. Credentials are sent only to their owner or to root.
//!
//! A path does not identify the process that listens on it. So three things are checked before the first byte is sent.
//! The file is a socket, and no link of another user led to it. The supervising process itself holds the socket that
//! listens on that file (the kernel's socket diagnostics connect the two). The user of the peer (`SO_PEERCRED`,
//! unix(7)) is the user of that process.

use super::{Failure, ForeignPath};
use crate::model::Identity;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The process that must be at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// This process, which holds the listening socket.
    Process(Identity),
    /// A service of the system or of the doctor's own user.
    Service,
}

/// A message with credentials, and their owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The whole message, which replaces the one without credentials.
    pub message: ByteBuf,
    /// The user that owns the configuration with the credentials.
    pub owner: u32,
}

/// Connects, sends a message, and returns the connection so that the answer can be read.
///
/// # Errors
/// [`Failure`], usually [`Failure::NotAsked`] with the reason. Nothing was sent then.
#[cfg(not(target_os = "linux"))]
pub fn exchange(
    _socket: &ForeignPath,
    _peer: Peer,
    _message: &[u8],
    _login: Option<&Login>,
) -> Result<std::os::unix::net::UnixStream, Failure> {
    Err(Failure::NotAsked("supervisors are not queried on a socket on this system".to_owned()))
}

#[cfg(target_os = "linux")]
pub use unix::exchange;

#[cfg(target_os = "linux")]
mod unix {
    use super::{Failure, ForeignPath, Login, Peer};
    use crate::collect::Deadline;
    use crate::collect::foreign::linux::{Found, Last, find, least_privileged};
    use crate::collect::linux::links;
    use crate::collect::linux::proc_dir::{ProcDir, own_mounts};
    use crate::collect::linux::sockets::{diagnostics_socket, unix_listeners};
    use crate::model::Identity;
    use crate::parse::link::{Link, classify};
    use crate::parse::mounts::by_id;
    use crate::parse::process::status;
    use crate::parse::socket_diagnostics::UnixListener;
    use rustix::fs::{FileType, Mode, OFlags, open, openat};
    use rustix::net::sockopt::socket_peercred;
    use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
    use std::io::{self, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// Timeout of the kernel's list of Unix sockets.
    const LIST_TIMEOUT: Duration = Duration::from_secs(1);

    /// Facts of a supervising process, read before its socket is resolved.
    struct Holder {
        uid: u32,
        /// Its listening sockets; `None` where its descriptors may not be read.
        sockets: Option<Vec<UnixListener>>,
        /// Its mount table.
        mounts: Vec<u8>,
    }

    /// See the documentation of the module.
    pub fn exchange(
        socket: &ForeignPath,
        peer: Peer,
        message: &[u8],
        login: Option<&Login>,
    ) -> Result<UnixStream, Failure> {
        let holder = match peer {
            Peer::Process(identity) => Some(holder(identity)?),
            Peer::Service => None,
        };
        let found = find(socket, Last::Socket)?;
        if found.file_type() != FileType::Socket {
            return Err(not_queried("it is not a socket"));
        }
        let is_proven = match &holder {
            None => true,
            Some(holder) => match &holder.sockets {
                Some(sockets) if !holds(sockets, &found, &holder.mounts) => {
                    return Err(not_queried("the supervisor does not hold the socket that listens there"));
                }
                Some(_) => true,
                None if crate::collect::foreign::rights::is_root() => {
                    return Err(not_queried("the descriptors of the supervisor cannot be read"));
                }
                None => false,
            },
        };
        // Connects through the descriptor, so that the name is not resolved again.
        let mut stream = UnixStream::connect(found.own_name())?;
        let uid = socket_peercred(&stream)?.uid.as_raw();
        let is_expected = match &holder {
            Some(holder) => holder.uid == uid,
            None => uid == 0 || uid == rustix::process::geteuid().as_raw(),
        };
        if !is_expected {
            return Err(not_queried(&format!(
                "the listener belongs to uid {uid}, which is not the user of the supervisor"
            )));
        }
        let login = login.filter(|login| is_proven && (login.owner == uid || uid == 0));
        stream.write_all(login.map_or(message, |login| &login.message))?;
        Ok(stream)
    }

    /// Whether one of the sockets is bound to the file. Its device is that of stat(2), or that of the mount where the
    /// two differ (btrfs, overlayfs).
    fn holds(sockets: &[UnixListener], file: &Found, mounts: &[u8]) -> bool {
        // The kernel reports the lower half of the inode number.
        let inode = u32::try_from(file.inode() & u64::from(u32::MAX)).unwrap_or(0);
        let of_stat = (rustix::fs::major(file.device()), rustix::fs::minor(file.device()));
        let of_mount = file
            .mount()
            .and_then(|id| [mounts, &own_mounts()].into_iter().find_map(|table| by_id(table, id)))
            .map(|mount| mount.device);
        sockets.iter().any(|socket| {
            let device = socket.file_device;
            socket.file_inode == inode && (device == of_stat || Some(device) == of_mount)
        })
    }

    fn not_queried(why: &str) -> Failure {
        Failure::NotAsked(why.to_owned())
    }

    /// Inodes of the sockets of a process; `None` where its descriptors may not be read.
    fn held_sockets(directory: &ProcDir) -> Option<Vec<u64>> {
        let held = directory.directory(c"fd").ok()?;
        let (mut found, mut is_refused) = (Vec::new(), false);
        links::each(&held, 0, |_, link| {
            match link.map(classify) {
                Ok(Link::Socket(inode)) => found.push(inode),
                Err(error) => is_refused |= links::is_refused(error.raw_os_error()),
                Ok(_) => {}
            }
            std::ops::ControlFlow::Continue(())
        })
        .ok()?;
        (!is_refused).then_some(found)
    }

    fn holder(identity: Identity) -> Result<Holder, Failure> {
        let directory = ProcDir::anchor(identity).map_err(|_| Failure::Vanished)?;
        let read = directory.read(c"status").map_err(|_| Failure::Vanished)?;
        let status = status(&read).map_err(|error| Failure::Malformed(error.to_string()))?;
        let sockets = match held_sockets(&directory) {
            None => None,
            Some(held) => {
                let listeners = listeners_of(&directory)
                    .map_err(|error| not_queried(&format!("the kernel does not list its Unix sockets: {error}")))?
                    .into_iter();
                Some(listeners.filter(|listener| held.contains(&listener.inode)).collect())
            }
        };
        let mounts = directory.read(c"mountinfo").unwrap_or_default();
        Ok(Holder { uid: least_privileged(status.uids), sockets, mounts })
    }

    /// Listening Unix sockets of the network namespace of a process. The kernel lists one namespace at a time.
    fn listeners_of(directory: &ProcDir) -> io::Result<Vec<UnixListener>> {
        let deadline = Deadline::after(LIST_TIMEOUT);
        let own = open("/proc/self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let other = openat(directory, "ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        if rustix::fs::fstat(&own)?.st_ino == rustix::fs::fstat(&other)?.st_ino {
            return unix_listeners(&diagnostics_socket()?, deadline);
        }
        let into = |namespace: &rustix::fd::OwnedFd| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        };
        into(&other)?;
        let socket = diagnostics_socket();
        if into(&own).is_err() {
            // All later queries would go to the wrong network namespace.
            std::process::exit(1);
        }
        unix_listeners(&socket?, deadline)
    }
}
