//! Responses of the kernel about TCP and Unix sockets over netlink (sock_diag(7), netlink(7)).

use crate::parse::sockets::{TcpSocket, TcpState, progress};
use netlink_packet_core::{NetlinkMessage, NetlinkPayload, Nla as _};
use netlink_packet_sock_diag::SockDiagMessage;
use netlink_packet_sock_diag::inet::InetResponse;
use netlink_packet_sock_diag::inet::nlas::Nla;
use netlink_packet_sock_diag::unix;
use std::io;
use std::net::SocketAddr;

/// `INET_DIAG_CGROUP_ID` of the kernel's include/uapi/linux/inet_diag.h: 64 bits, the inode number of the control
/// group's directory in the cgroup2 tree.
const INET_DIAG_CGROUP_ID: u16 = 21;

/// Type of the messages in response to a request for IPv4 and IPv6 at once (`TCPDIAG_GETSOCK`). Otherwise they
/// are like those of `SOCK_DIAG_BY_FAMILY`.
pub const BOTH_FAMILIES: u16 = 18;
/// `SOCK_DIAG_BY_FAMILY` (sock_diag(7)).
const BY_FAMILY: u16 = 20;

/// Parses one datagram of a dump and adds its sockets to `found`. True when the dump ends with it.
///
/// # Errors
/// The error that the kernel returns instead of sockets; `InvalidData` if the length of a message is not valid.
pub fn datagram(bytes: &[u8], found: &mut Vec<TcpSocket>) -> io::Result<bool> {
    each(bytes, |message| {
        if let SockDiagMessage::InetResponse(response) = message {
            found.push(tcp_socket(&response));
        }
    })
}

/// A listening Unix socket, and the file that it is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnixListener {
    /// Inode number of the socket.
    pub inode: u64,
    /// Inode number of its file; the kernel reports only the lower 32 bits.
    pub file_inode: u32,
    /// Device of that file's filesystem, major and minor.
    pub file_device: (u32, u32),
}

/// Does the same for the Unix sockets of a dump. Sockets that are not bound to a file are left out.
///
/// # Errors
/// Those of [`datagram`].
pub fn unix_datagram(bytes: &[u8], found: &mut Vec<UnixListener>) -> io::Result<bool> {
    each(bytes, |message| {
        if let SockDiagMessage::UnixResponse(response) = message {
            let file = response.nlas.iter().find_map(|attribute| match attribute {
                unix::nlas::Nla::Vfs(_) if attribute.value_len() == 8 => {
                    // The two numbers of `struct unix_diag_vfs` (include/uapi/linux/unix_diag.h).
                    let mut value = [0_u8; 8];
                    attribute.emit_value(&mut value);
                    let [a, b, c, d, e, f, g, h] = value;
                    Some((u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])))
                }
                _ => None,
            });
            let inode = u64::from(response.header.inode);
            // A device in the encoding of the kernel: 20 bits of minor number (include/linux/kdev_t.h).
            let listener = |(file_inode, device): (u32, u32)| UnixListener {
                inode,
                file_inode,
                file_device: (device >> 20, device & 0xf_ffff),
            };
            found.extend(file.map(listener));
        }
    })
}

/// Parses the messages of one datagram. True when the dump ends with it.
fn each(bytes: &[u8], mut take: impl FnMut(SockDiagMessage)) -> io::Result<bool> {
    let mut rest = bytes;
    while rest.len() >= 16 {
        let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < 16 || length > rest.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "broken netlink message"));
        }
        // A socket that does not parse must not discard the table.
        let mut message = rest[..length].to_vec();
        if message[4..6] == BOTH_FAMILIES.to_ne_bytes() {
            message[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
        }
        if let Ok(message) = NetlinkMessage::<SockDiagMessage>::deserialize(&message) {
            match message.payload {
                NetlinkPayload::InnerMessage(message) => take(message),
                NetlinkPayload::Done(_) => return Ok(true),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
        }
        // Messages are padded to 4 bytes (netlink(7)).
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn tcp_socket(response: &InetResponse) -> TcpSocket {
    let header = &response.header;
    let identity = &header.socket_id;
    let cgroup_id = response.nlas.iter().find_map(|attribute| match attribute {
        Nla::Other(other) if other.kind() == INET_DIAG_CGROUP_ID && other.value_len() == 8 => {
            let mut value = [0_u8; 8];
            other.emit_value(&mut value);
            Some(u64::from_ne_bytes(value))
        }
        _ => None,
    });
    TcpSocket {
        local: SocketAddr::new(identity.source_address, identity.source_port),
        remote: SocketAddr::new(identity.destination_address, identity.destination_port),
        state: TcpState(header.state),
        receive_queue: header.recv_queue,
        send_queue: Some(header.send_queue),
        uid: header.uid,
        inode: u64::from(header.inode),
        cgroup_id,
        progress: response.nlas.iter().find_map(|attribute| match attribute {
            Nla::TcpInfo(info) => progress(info),
            _ => None,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    /// One socket as a kernel reports it: 127.0.0.1:8787, listening, 3 of 128 pending, uid 1000, inode 4711.
    fn listening() -> Vec<u8> {
        let mut message = Vec::new();
        message.extend_from_slice(&[2, 10, 0, 0]);
        for port in [8787_u16, 0] {
            message.extend_from_slice(&port.to_be_bytes());
        }
        for address in [[127, 0, 0, 1], [0; 4]] {
            message.extend_from_slice(&address);
            message.extend_from_slice(&[0; 12]);
        }
        for value in [0_u32, 0x77, 0, 0, 3, 128, 1000, 4711] {
            message.extend_from_slice(&value.to_ne_bytes());
        }
        // The attribute of the control group: 12 bytes long, no padding needed.
        message.extend_from_slice(&12_u16.to_ne_bytes());
        message.extend_from_slice(&INET_DIAG_CGROUP_ID.to_ne_bytes());
        message.extend_from_slice(&9_u64.to_ne_bytes());
        framed(20, &message)
    }

    /// A netlink message of this kind.
    fn framed(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut message = u32::try_from(16 + body.len()).unwrap().to_ne_bytes().to_vec();
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&2_u16.to_ne_bytes());
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(body);
        message
    }

    #[test]
    fn a_datagram_of_sockets_goes_on() {
        let mut found = Vec::new();
        let two = [listening(), listening()].concat();
        assert!(!datagram(&two, &mut found).unwrap());
        assert_eq!(found.len(), 2);
        let socket = &found[0];
        assert_eq!(socket.local, SocketAddr::from((Ipv4Addr::LOCALHOST, 8787)));
        assert_eq!((socket.receive_queue, socket.send_queue), (3, Some(128)));
        assert_eq!((socket.uid, socket.inode, socket.cgroup_id), (1000, 4711, Some(9)));
    }

    #[test]
    fn an_answer_for_both_families_is_the_same() {
        let mut of_both = listening();
        of_both[4..6].copy_from_slice(&BOTH_FAMILIES.to_ne_bytes());
        let (mut found, mut expected) = (Vec::new(), Vec::new());
        assert!(!datagram(&of_both, &mut found).unwrap() && !datagram(&listening(), &mut expected).unwrap());
        assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn distinguishes_the_end_message_from_errors() {
        let mut found = Vec::new();
        let end = [listening(), framed(3, &0_i32.to_ne_bytes())].concat();
        assert!(datagram(&end, &mut found).unwrap());
        assert_eq!(found.len(), 1);
        let refused = framed(2, &[&(-13_i32).to_ne_bytes()[..], &[0; 16]].concat());
        assert_eq!(datagram(&refused, &mut found).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn broken_lengths_are_an_error_and_cut_sockets_are_left_out() {
        let mut found = Vec::new();
        for length in [0_u32, 15, 4096, u32::MAX] {
            let mut message = listening();
            message[..4].copy_from_slice(&length.to_ne_bytes());
            assert!(datagram(&message, &mut found).is_err(), "{length}");
        }
        let cut = framed(20, &listening()[16..40]);
        assert!(!datagram(&[cut, listening()].concat(), &mut found).unwrap());
        assert_eq!(found.len(), 1);
        assert!(!datagram(&[], &mut found).unwrap());
    }
}
