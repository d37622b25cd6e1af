//! Asking a supervisor on its Unix socket: only where it is one, and with a login only where the login comes from it.
//!
//! A path says nothing of who listens behind it. Before the first byte is sent, three things are known: the file is a socket and no
//! link of another user led to it; the supervising process itself holds the socket that listens on that file (the kernel's socket
//! diagnostics join the two); and the user of the peer (`SO_PEERCRED`, unix(7)) is the user of that process.

use super::{Failure, ForeignPath};
use crate::model::Identity;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// Who must be at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// This process, which holds the listening socket.
    Process(Identity),
    /// A service of the system or of the doctor's own user.
    Service,
}

/// A message with credentials in it, and whose they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The whole message, sent in the place of the one without credentials.
    pub message: ByteBuf,
    /// The user that owns the configuration in which the credentials stand.
    pub owner: u32,
}

/// Connects, sends a message and hands over the connection for the answer to be read.
///
/// # Errors
/// [`Failure`], most often [`Failure::NotAsked`] with the reason. Nothing was sent then.
#[cfg(not(target_os = "linux"))]
pub fn exchange(
    _socket: &ForeignPath,
    _peer: Peer,
    _message: &[u8],
    _login: Option<&Login>,
) -> Result<std::os::unix::net::UnixStream, Failure> {
    Err(Failure::NotAsked("no supervisor is asked on a socket on this system".to_owned()))
}

#[cfg(target_os = "linux")]
pub use unix::exchange;

#[cfg(target_os = "linux")]
mod unix {
    use super::{Failure, ForeignPath, Login, Peer};
    use crate::collect::Deadline;
    use crate::collect::foreign::linux::{Found, Last, find, held_sockets, least_privileged};
    use crate::collect::linux::proc_dir::{ProcDir, own_mounts};
    use crate::collect::linux::sockets::{diagnostics_socket, unix_listeners};
    use crate::model::Identity;
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

    /// How long the kernel may take to list its Unix sockets.
    const LIST_TIMEOUT: Duration = Duration::from_secs(1);

    /// What is known of a supervising process before its socket is looked for.
    struct Holder {
        uid: u32,
        /// Listening sockets that it holds; `None` where its descriptors may not be read.
        sockets: Option<Vec<UnixListener>>,
        /// Its table of mounts.
        mounts: Vec<u8>,
    }

    /// See the module.
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
            return Err(not_asked("it is no socket"));
        }
        let is_proven = match &holder {
            None => true,
            Some(holder) => match &holder.sockets {
                Some(sockets) if !holds(sockets, &found, &holder.mounts) => {
                    return Err(not_asked("the supervisor does not hold the socket that listens there"));
                }
                Some(_) => true,
                None if crate::collect::foreign::rights::is_root() => {
                    return Err(not_asked("the descriptors of the supervisor cannot be read"));
                }
                None => false,
            },
        };
        // The socket that was looked at, by the descriptor: no second look at the name.
        let mut stream = UnixStream::connect(found.own_name())?;
        let uid = socket_peercred(&stream)?.uid.as_raw();
        let is_expected = match &holder {
            Some(holder) => holder.uid == uid,
            None => uid == 0 || uid == rustix::process::geteuid().as_raw(),
        };
        if !is_expected {
            return Err(not_asked(&format!("uid {uid} listens there, which is not the user of the supervisor")));
        }
        let login = login.filter(|login| is_proven && (login.owner == uid || uid == 0));
        stream.write_all(login.map_or(message, |login| &login.message))?;
        Ok(stream)
    }

    /// Whether one of the sockets is bound to the file. Its device is that of stat(2), or that of the mount where these differ (btrfs,
    /// overlayfs).
    fn holds(sockets: &[UnixListener], file: &Found, mounts: &[u8]) -> bool {
        // The kernel tells the lower half of the number.
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

    fn not_asked(why: &str) -> Failure {
        Failure::NotAsked(why.to_owned())
    }

    fn holder(identity: Identity) -> Result<Holder, Failure> {
        let directory = ProcDir::anchor(identity).map_err(|_| Failure::Vanished)?;
        let read = directory.read(c"status").map_err(|_| Failure::Vanished)?;
        let status = status(&read).map_err(|error| Failure::Malformed(error.to_string()))?;
        let sockets = match held_sockets(&directory) {
            None => None,
            Some(held) => {
                let listeners = listeners_of(&directory)
                    .map_err(|error| not_asked(&format!("the kernel does not list its Unix sockets: {error}")))?
                    .into_iter();
                Some(listeners.filter(|listener| held.contains(&listener.inode)).collect())
            }
        };
        let mounts = directory.read(c"mountinfo").unwrap_or_default();
        Ok(Holder { uid: least_privileged(status.uids), sockets, mounts })
    }

    /// Listening Unix sockets of the network namespace of a process: the kernel lists those of one namespace at a time.
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
            // What is asked next would be asked in the wrong network.
            std::process::exit(1);
        }
        unix_listeners(&socket?, deadline)
    }
}
