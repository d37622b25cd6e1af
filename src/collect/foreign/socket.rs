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
    use crate::collect::foreign::linux::{Last, find, held_sockets};
    use crate::collect::linux::proc_dir::ProcDir;
    use crate::collect::linux::sockets::{diagnostics_socket, unix_listeners};
    use crate::model::Identity;
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
        uids: [u32; 4],
        /// Files of the sockets that it holds; `None` where its descriptors may not be read.
        files: Option<Vec<u32>>,
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
        // Both are the lower half: the kernel tells no more of it.
        let file = u32::try_from(found.inode() & u64::from(u32::MAX)).unwrap_or(0);
        let is_proven = match holder.as_ref().map(|holder| &holder.files) {
            Some(Some(files)) if !files.contains(&file) => {
                return Err(not_asked("the supervisor does not hold the socket that listens there"));
            }
            Some(Some(_)) | None => true,
            Some(None) if super::super::rights::is_root() => {
                return Err(not_asked("the descriptors of the supervisor cannot be read"));
            }
            Some(None) => false,
        };
        // The socket that was looked at, by the descriptor: no second look at the name.
        let mut stream = UnixStream::connect(found.own_name())?;
        let uid = socket_peercred(&stream)?.uid.as_raw();
        let is_expected = match &holder {
            Some(holder) => holder.uids.contains(&uid),
            None => uid == 0 || uid == rustix::process::geteuid().as_raw(),
        };
        if !is_expected {
            return Err(not_asked(&format!("uid {uid} listens there, which is not the user of the supervisor")));
        }
        let login = login.filter(|login| is_proven && (login.owner == uid || uid == 0));
        stream.write_all(login.map_or(message, |login| &login.message))?;
        Ok(stream)
    }

    fn not_asked(why: &str) -> Failure {
        Failure::NotAsked(why.to_owned())
    }

    fn holder(identity: Identity) -> Result<Holder, Failure> {
        let directory = ProcDir::anchor(identity).map_err(|_| Failure::Vanished)?;
        let read = directory.read(c"status").map_err(|_| Failure::Vanished)?;
        let status = status(&read).map_err(|error| Failure::Malformed(error.to_string()))?;
        let files = match held_sockets(&directory) {
            None => None,
            Some(held) => {
                let listeners = listeners_of(&directory)
                    .map_err(|error| not_asked(&format!("the kernel does not list its Unix sockets: {error}")))?
                    .into_iter();
                let own = listeners.filter(|listener| held.contains(&listener.inode));
                Some(own.map(|listener| listener.file_inode).collect())
            }
        };
        Ok(Holder { uids: status.uids, files })
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
