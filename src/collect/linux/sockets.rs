//! Socket tables: the kernel's socket diagnostics (sock_diag(7)), and `/proc/PID/net` where these are not available or
//! the process is in another network namespace.

use super::proc_dir::ProcDir;
use super::procfs;
use crate::collect::deadline::wait_readable;
use crate::collect::workers::Workers;
use crate::collect::{Collected, Deadline, SocketTable};
use crate::model::id;
use crate::model::{Gap, GapDetail, GapReason, GapSubject, Process};
use crate::parse::socket_diagnostics::{self, UnixListener};
use crate::parse::sockets::{OtherSocket, TcpSocket, inode_column, inode_in, tcp_table, udp_table, unix_table};
use foldhash::HashMap;
use netlink_packet_core::{Emitable, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6, IPPROTO_TCP};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_packet_sock_diag::unix::{self, UnixRequest};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::time::Duration;

/// Timeout of one dump.
const DUMP_TIMEOUT: Duration = Duration::from_secs(2);

/// The facts that are requested for each socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// Addresses, state, queues and owner.
    Plain,
    /// The byte counters as well.
    Progress,
}

/// TCP sockets of the network namespace of `process`, or of the doctor's own.
pub fn table(workers: &Workers, process: Option<&Process>, detail: Detail) -> Collected<SocketTable> {
    let mut gaps = Vec::new();
    let foreign = process.filter(|process| process.foreign_network == Some(true));
    if foreign.is_none() {
        match diagnostics(detail, workers.deadline.within(DUMP_TIMEOUT)) {
            Ok(tcp) => {
                return Collected {
                    value: SocketTable { tcp, source: "sock_diag".into(), is_partial: false },
                    gaps,
                };
            }
            Err(error) => gaps.push(Gap::from_io(GapSubject::SocketDiagnostics, &error)),
        }
    }
    let pid = foreign.map_or_else(|| "self".to_owned(), |process| process.identity.pid.to_string());
    let mut tcp = Vec::new();
    let mut source = String::new();
    for name in ["tcp", "tcp6"] {
        let path = format!("/proc/{pid}/net/{name}");
        match read_table(workers, foreign, name) {
            Ok(bytes) => {
                let (rows, bad) = tcp_table(&bytes);
                tcp.extend(rows);
                source = format!("/proc/{pid}/net/tcp");
                if bad > 0 {
                    gaps.push(Gap::new(&path, GapReason::Malformed, GapDetail::LinesUnparsed { count: bad }));
                }
            }
            // A kernel without IPv6 has no tcp6.
            Err(gap) if gap.reason == GapReason::NotFound && name == "tcp6" => {}
            Err(gap) => gaps.push(Gap { what: path.into(), ..gap }.blocking(&[
                id::ACCEPT_STALLED,
                id::CLOSE_WAIT_LEAK,
                id::PORT_HELD,
            ])),
        }
    }
    Collected { value: SocketTable { tcp, source, is_partial: false }, gaps }
}

/// One text table: that of a process, after a check that its pid still belongs to it, or this process's own.
fn read_table(workers: &Workers, process: Option<&Process>, name: &str) -> Result<Vec<u8>, Gap> {
    let name = format!("net/{name}");
    let Some(process) = process else { return own_table(&name).map_err(|error| Gap::from_io(name, &error)) };
    procfs::one_of(workers, process.identity, procfs::file(process.identity.pid, &name))
}

fn own_table(name: &str) -> io::Result<Vec<u8>> {
    ProcDir::open(std::process::id())?.read(&std::ffi::CString::new(name)?)
}

fn diagnostics(detail: Detail, deadline: Deadline) -> io::Result<Vec<TcpSocket>> {
    let extensions = match detail {
        Detail::Plain => ExtensionFlags::empty(),
        Detail::Progress => ExtensionFlags::INFO,
    };
    // A TIME-WAIT socket has no owner, and they can be most of the table.
    let states = StateFlags::all() - StateFlags::TIME_WAIT;
    let mut found = Vec::new();
    if dump(&diagnostics_socket()?, &both_families(&extensions, &states), deadline, &mut found).is_ok() {
        return Ok(found);
    }
    // A new socket: the rest of an incomplete answer would be taken for the next one.
    let socket = diagnostics_socket()?;
    found.clear();
    for (family, socket_id) in [(AF_INET, SocketId::new_v4()), (AF_INET6, SocketId::new_v6())] {
        let (extensions, states) = (extensions.clone(), states.clone());
        let request = InetRequest { family, protocol: IPPROTO_TCP, extensions, states, socket_id };
        match dump(&socket, &one_family(request), deadline, &mut found) {
            Ok(()) => {}
            // A kernel without IPv6 has no such family.
            Err(error) if family == AF_INET6 && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// A netlink socket for socket diagnostics, of the network namespace of this thread.
///
/// # Errors
/// Those of socket(2).
pub fn diagnostics_socket() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.set_non_blocking(true)?;
    Ok(socket)
}

fn one_family(request: InetRequest) -> Vec<u8> {
    encoded(SockDiagMessage::InetRequest(request))
}

fn encoded(request: SockDiagMessage) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut message = NetlinkMessage::new(header, request.into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// The older form of the request (`TCPDIAG_GETSOCK` and `struct inet_diag_req` of the kernel's
/// include/uapi/linux/inet_diag.h), which returns IPv4 and IPv6 in one dump. Each dump goes through the whole hash
/// table of connections, even where there are few.
fn both_families(extensions: &ExtensionFlags, states: &StateFlags) -> Vec<u8> {
    // Family, lengths of prefixes, extensions; socket id (48 bytes), states, and where to continue.
    let mut bytes = vec![0; LENGTH_OF_HEADER];
    bytes.extend_from_slice(&[AF_INET, 0, 0, extensions.bits()]);
    bytes.extend_from_slice(&[0; 48]);
    bytes.extend_from_slice(&states.bits().to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.message_type = socket_diagnostics::BOTH_FAMILIES;
    header.length = u32::try_from(bytes.len()).unwrap_or(0);
    header.emit(&mut bytes);
    bytes
}

/// Length of a netlink header (netlink(7)).
const LENGTH_OF_HEADER: usize = 16;

fn dump(socket: &Socket, request: &[u8], deadline: Deadline, found: &mut Vec<TcpSocket>) -> io::Result<()> {
    receive(socket, request, deadline, |bytes| socket_diagnostics::datagram(bytes, found))
}

/// Listening Unix sockets that are bound to a file, in the network namespace in which `socket` was created.
///
/// # Errors
/// Those of netlink(7), and `TimedOut`.
pub fn unix_listeners(socket: &Socket, deadline: Deadline) -> io::Result<Vec<UnixListener>> {
    let request = UnixRequest {
        state_flags: unix::StateFlags::LISTEN,
        inode: 0,
        show_flags: unix::ShowFlags::VFS,
        cookie: [u8::MAX; 8],
    };
    let mut found = Vec::new();
    receive(socket, &encoded(SockDiagMessage::UnixRequest(request)), deadline, |bytes| {
        socket_diagnostics::unix_datagram(bytes, &mut found)
    })?;
    Ok(found)
}

/// Sends a request, and passes on datagrams until the last one.
fn receive(
    socket: &Socket,
    request: &[u8],
    deadline: Deadline,
    mut take: impl FnMut(&[u8]) -> io::Result<bool>,
) -> io::Result<()> {
    socket.send(request, 0)?;
    // The kernel puts up to 32 KiB into a datagram.
    let mut buffer = Vec::with_capacity(64 * 1024);
    loop {
        wait_readable(netlink_fd(socket), deadline)?;
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error),
        }
        if take(&buffer)? {
            return Ok(());
        }
    }
}

fn netlink_fd(socket: &Socket) -> impl rustix::fd::AsFd {
    use std::os::fd::{AsRawFd, BorrowedFd};
    #[allow(unsafe_code)]
    // SAFETY: the descriptor is open for as long as `socket` lives, and the borrow is used only by callers that
    // hold `socket`; netlink-sys offers no safe borrow.
    unsafe {
        BorrowedFd::borrow_raw(socket.as_raw_fd())
    }
}

/// Sockets other than TCP, from the text tables of the process's network namespace.
pub fn other_sockets(
    workers: &Workers,
    process: &Process,
    wanted: &HashMap<u64, u64>,
) -> HashMap<u64, OtherSocket> {
    let mut found = HashMap::default();
    let foreign = Some(process).filter(|process| process.foreign_network == Some(true));
    for (name, column, parse) in OTHER_TABLES {
        // A table that cannot be read adds no socket.
        let Ok(table) = read_table(workers, foreign, name) else { continue };
        // Each line is a socket of the host; few of them belong to the process.
        for line in table.split(|byte| *byte == b'\n') {
            if inode_in(line, *column).is_some_and(|inode| wanted.contains_key(&inode)) {
                found.extend(parse(&[b"header\n", line].concat()).into_iter().map(|row| (row.inode, row)));
            }
        }
    }
    found
}

/// Parses a table.
type Parse = fn(&[u8]) -> Vec<OtherSocket>;

/// Socket tables, the column of the inode in each, and their parsers (proc_pid_net(5)).
const OTHER_TABLES: &[(&str, usize, Parse)] = &[
    ("unix", 6, |table| unix_table(table).0),
    ("udp", 9, |table| udp_table(table).0),
    ("udp6", 9, |table| udp_table(table).0),
    ("netlink", 9, |table| inode_column(table, "netlink", 9)),
    ("packet", 8, |table| inode_column(table, "packet", 8)),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn one_question_is_answered_for_both_families() {
        let listeners = ["127.0.0.1:0", "[::1]:0"].map(|address| TcpListener::bind(address).ok());
        let wanted: Vec<_> = listeners.iter().flatten().map(|listener| listener.local_addr().unwrap()).collect();
        let socket = diagnostics_socket().unwrap();
        let deadline = Deadline::after(Duration::from_secs(10));
        for detail in [ExtensionFlags::empty(), ExtensionFlags::INFO] {
            let is_detailed = detail != ExtensionFlags::empty();
            let mut found = Vec::new();
            let states = StateFlags::all() - StateFlags::TIME_WAIT;
            dump(&socket, &both_families(&detail, &states), deadline, &mut found).unwrap();
            for address in &wanted {
                let its: Vec<_> = found.iter().filter(|socket| socket.local == *address).collect();
                assert_eq!(its.len(), 1, "{address}");
                assert_eq!((its[0].uid, its[0].send_queue), (rustix::process::getuid().as_raw(), Some(128)));
                assert!(!is_detailed || its[0].progress.is_some());
            }
        }
    }
}
