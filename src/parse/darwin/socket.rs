//! One socket as the kernel of macOS describes it (`struct socket_fdinfo`).

use super::Image;
use super::layout::*;
use crate::model::text::printable;
use crate::parse::ParseError;
use crate::parse::sockets::{OtherSocket, TcpSocket, TcpState};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// TCP states in the order of Apple's numbers (`TSI_S_*` of `sys/proc_info.h`), as [`TcpState`] numbers.
const TCP_STATES: [u8; 11] = [7, 10, 2, 3, 1, 8, 4, 11, 9, 5, 6];

/// Address families and protocols (`sys/socket.h`, `netinet/in.h`) that are named in the output.
const FAMILIES: &[(u32, &str)] =
    &[(1, "unix"), (17, "route"), (27, "ndrv"), (29, "key"), (32, "system"), (40, "vsock")];
const IPPROTO_UDP: u32 = 17;

/// A socket. Where Linux has an inode number, macOS has an opaque handle. It is the same for every descriptor
/// of the socket in every process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Socket {
    /// TCP.
    Tcp(TcpSocket),
    /// Anything else.
    Other(OtherSocket),
}

impl Socket {
    /// Its handle.
    pub fn handle(&self) -> u64 {
        match self {
            Self::Tcp(socket) => socket.inode,
            Self::Other(socket) => socket.inode,
        }
    }
}

/// Parses `struct socket_fdinfo`.
///
/// # Errors
/// When it is too short.
pub fn parse(bytes: &[u8]) -> Result<Socket, ParseError> {
    let image = Image::new(bytes, SOCKET_FDINFO, "struct socket_fdinfo")?;
    let inode = image.u64(SOI_SO);
    let other = |protocol, local, remote| Socket::Other(OtherSocket { protocol, inode, local, remote });
    Ok(match usize::try_from(image.u32(SOI_KIND)).unwrap_or(0) {
        SOCKINFO_TCP => Socket::Tcp(tcp(image)),
        SOCKINFO_IN => {
            let protocol = if image.u32(SOI_PROTOCOL) == IPPROTO_UDP { "udp" } else { "raw" };
            let remote = address(image, INSI_FADDR, INSI_FPORT);
            let remote = (remote.port() != 0).then(|| remote.to_string());
            other(protocol, Some(address(image, INSI_LADDR, INSI_LPORT).to_string()), remote)
        }
        SOCKINFO_UN => other("unix", unix_path(image, UNSI_ADDR), unix_path(image, UNSI_CADDR)),
        _ => {
            let family = image.u32(SOI_FAMILY);
            let known = FAMILIES.iter().find(|(number, _)| *number == family);
            other(known.map_or("socket", |(_, name)| name), None, None)
        }
    })
}

fn tcp(image: Image<'_>) -> TcpSocket {
    let number = usize::try_from(image.u32(TCPSI_STATE)).ok();
    let state = TcpState(number.and_then(|number| TCP_STATES.get(number)).copied().unwrap_or(0));
    let is_listener = state == TcpState::LISTEN;
    let (receive_queue, send_queue) = if is_listener {
        // `soi_qlen` includes incomplete connections, which no process can accept yet.
        let complete = image.u16(SOI_QLEN).saturating_sub(image.u16(SOI_INCQLEN));
        (u32::from(complete), u32::from(image.u16(SOI_QLIMIT)))
    } else {
        (image.u32(SOI_RCV_CC), image.u32(SOI_SND_CC))
    };
    TcpSocket {
        local: address(image, INSI_LADDR, INSI_LPORT),
        remote: address(image, INSI_FADDR, INSI_FPORT),
        state,
        receive_queue,
        send_queue: Some(send_queue),
        uid: image.u32(SOI_UID),
        inode: image.u64(SOI_SO),
        cgroup_id: None,
        progress: None,
    }
}

/// An address and port of `struct in_sockinfo`. The port is in network byte order in the lower half of an
/// `int`.
fn address(image: Image<'_>, address: usize, port: usize) -> SocketAddr {
    let port = u16::from_be_bytes(image.array(port));
    let [flags] = image.array::<1>(INSI_VFLAG);
    let ip = if usize::from(flags) & INI_IPV4 != 0 {
        IpAddr::from(Ipv4Addr::from(image.array::<4>(address + I46A_ADDR4)))
    } else {
        IpAddr::from(Ipv6Addr::from(image.array::<16>(address)))
    };
    SocketAddr::new(ip, port)
}

/// The path of a `sockaddr_un`; `None` for a socket without a name.
fn unix_path(image: Image<'_>, at: usize) -> Option<String> {
    let path = image.text(at + SUN_PATH, SUN_PATH_SIZE);
    (!path.is_empty()).then(|| printable(path))
}

/// The two ends of a pipe (`struct pipe_fdinfo`): the handle of this end, and that of the other end.
///
/// # Errors
/// When it is too short.
pub fn pipe(bytes: &[u8]) -> Result<(u64, u64), ParseError> {
    let image = Image::new(bytes, PIPE_FDINFO, "struct pipe_fdinfo")?;
    Ok((image.u64(PIPE_HANDLE), image.u64(PIPE_PEERHANDLE)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKETS: &[u8] = include_bytes!("../../../tests/darwin/sockets.bin");

    fn socket(index: usize) -> Socket {
        parse(&SOCKETS[index * SOCKET_FDINFO..]).unwrap()
    }

    fn tcp_socket(index: usize) -> TcpSocket {
        match socket(index) {
            Socket::Tcp(found) => found,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_a_listener_with_its_queue() {
        let found = tcp_socket(0);
        assert_eq!((found.local, found.state), ("127.0.0.1:8787".parse().unwrap(), TcpState::LISTEN));
        assert_eq!((found.receive_queue, found.send_queue), (2, Some(64)), "one of three is not complete");
        assert_eq!((found.uid, found.inode), (501, 0xfeed_face_0000_0001));
    }

    #[test]
    fn reads_connections_of_both_families() {
        let found = tcp_socket(1);
        assert_eq!((found.state, found.remote), (TcpState::CLOSE_WAIT, "149.154.167.220:443".parse().unwrap()));
        assert_eq!((found.receive_queue, found.send_queue), (25, Some(7)));
        assert_eq!(found.local, "192.168.1.20:50123".parse().unwrap());
        let found = tcp_socket(2);
        assert_eq!((found.state, found.remote), (TcpState::ESTABLISHED, "[::1]:40000".parse().unwrap()));
    }

    #[test]
    fn reads_other_sockets() {
        let other = |index| match socket(index) {
            Socket::Other(found) => (found.protocol, found.local, found.remote),
            tcp => panic!("{tcp:?}"),
        };
        assert_eq!(other(3), ("udp", Some("0.0.0.0:5353".into()), None));
        assert_eq!(other(4), ("unix", Some("/tmp/hermes.sock".into()), None));
        assert_eq!(other(5), ("route", None, None));
        let pipe = pipe(include_bytes!("../../../tests/darwin/pipe.bin")).unwrap();
        assert_eq!(pipe, (0xabcd_ef01_0000_0001, 0xabcd_ef01_0000_0002));
    }

    /// Built by hand from the headers: every state that Apple numbers, and one that it does not number.
    #[test]
    fn states_have_their_names() {
        let names = [
            "CLOSED",
            "LISTEN",
            "SYN-SENT",
            "SYN-RECV",
            "ESTABLISHED",
            "CLOSE-WAIT",
            "FIN-WAIT-1",
            "CLOSING",
            "LAST-ACK",
            "FIN-WAIT-2",
            "TIME-WAIT",
            "UNKNOWN",
        ];
        for (number, name) in (0_u32..).zip(names) {
            let mut bytes = SOCKETS[..SOCKET_FDINFO].to_vec();
            bytes[344..348].copy_from_slice(&number.to_le_bytes());
            let Socket::Tcp(found) = parse(&bytes).unwrap() else { panic!() };
            assert_eq!(found.state.name(), name);
        }
    }

    #[test]
    fn hostile_answers() {
        assert!(parse(&SOCKETS[..791]).is_err() && pipe(&[0; 183]).is_err());
        // All bits set: a queue that is shorter than its incomplete part, a path without a terminator.
        let Socket::Other(found) = parse(&[0xff; 792]).unwrap() else { panic!() };
        assert_eq!(found.protocol, "socket");
        let mut bytes = vec![b'x'; 792];
        bytes[256..260].copy_from_slice(&3_u32.to_le_bytes());
        let Socket::Other(found) = parse(&bytes).unwrap() else { panic!() };
        assert_eq!(found.local.map(|path| path.len()), Some(SUN_PATH_SIZE));
        let mut bytes = SOCKETS[..SOCKET_FDINFO].to_vec();
        bytes[194..198].copy_from_slice(&[1, 0, 9, 0]);
        let Socket::Tcp(found) = parse(&bytes).unwrap() else { panic!() };
        assert_eq!(found.receive_queue, 0);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 780..800)) {
            let _ = parse(&bytes);
            let _ = pipe(&bytes);
        }
    }
}
