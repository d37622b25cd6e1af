//! Sockets: the kernel's text tables (`/proc/net/tcp` and related files), and the types that socket diagnostics
//! are converted to as well.

use crate::model::text::printable;
use procfs_core::net::{TcpNetEntries, UdpNetEntries, UnixNetEntries};
use procfs_core::{ExplicitSystemInfo, FromBufRead, FromBufReadSI};
use std::net::SocketAddr;

/// TCP states by number (include/net/tcp_states.h of the kernel), in the spelling of ss(8).
const TCP_STATES: [&str; 13] = [
    "UNKNOWN",
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
    "NEW-SYN-RECV",
];

/// A TCP state by its kernel number; unknown numbers are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TcpState(pub u8);

impl TcpState {
    /// Data can flow.
    pub const ESTABLISHED: Self = Self(1);
    /// No connection.
    pub const CLOSED: Self = Self(7);
    /// The peer has closed the connection, and the owner has not.
    pub const CLOSE_WAIT: Self = Self(8);
    /// Listening.
    pub const LISTEN: Self = Self(10);

    /// The name in the spelling of ss(8).
    pub fn name(self) -> &'static str {
        TCP_STATES.get(usize::from(self.0)).copied().unwrap_or("UNKNOWN")
    }
}

/// One TCP socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// Local address.
    pub local: SocketAddr,
    /// Remote address; unspecified for a listener.
    pub remote: SocketAddr,
    /// State.
    pub state: TcpState,
    /// For a listener the length of its accept queue, else unread bytes.
    pub receive_queue: u32,
    /// For a listener the backlog, which only socket diagnostics report; else unsent bytes.
    pub send_queue: Option<u32>,
    /// User id of the owner.
    pub uid: u32,
    /// Inode; 0 for a connection that no process has open.
    pub inode: u64,
    /// Id of the control group where it was created (`INET_DIAG_CGROUP_ID`).
    pub cgroup_id: Option<u64>,
    /// Data transferred so far, if it was requested and the kernel reports it.
    pub progress: Option<Progress>,
}

/// Whether a connection has transferred data so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Whether bytes were received.
    pub has_received: bool,
    /// Whether data was sent.
    pub has_sent: bool,
}

/// Parses `tcpi_bytes_received` and `tcpi_data_segs_out` of `struct tcp_info` (include/uapi/linux/tcp.h of the
/// kernel; since Linux 4.6). `None` for a shorter structure.
pub fn progress(tcp_info: &[u8]) -> Option<Progress> {
    const BYTES_RECEIVED: usize = 128;
    const DATA_SEGMENTS_OUT: usize = 156;
    let received = tcp_info.get(BYTES_RECEIVED..BYTES_RECEIVED + 8)?;
    let sent = tcp_info.get(DATA_SEGMENTS_OUT..DATA_SEGMENTS_OUT + 4)?;
    let is_some = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
    Some(Progress { has_received: is_some(received), has_sent: is_some(sent) })
}

/// A socket that is not TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherSocket {
    /// `udp`, `unix`, `netlink`, `packet`, `raw`.
    pub protocol: &'static str,
    /// Inode.
    pub inode: u64,
    /// Local address or bound path.
    pub local: Option<String>,
    /// Remote address.
    pub remote: Option<String>,
}

fn native() -> ExplicitSystemInfo {
    ExplicitSystemInfo {
        boot_time_secs: 0,
        ticks_per_second: 100,
        page_size: 4096,
        is_little_endian: cfg!(target_endian = "little"),
    }
}

/// Passes each line after the header to a parser that would reject the whole table for one bad line. Returns
/// the rows and the number of lines that did not parse.
fn by_line<T>(table: &[u8], parse: impl Fn(&[u8]) -> Option<Vec<T>>) -> (Vec<T>, usize) {
    let mut rows = Vec::new();
    let mut bad = 0;
    for line in table.split(|byte| *byte == b'\n').skip(1).filter(|line| !line.is_empty()) {
        let mut block = b"header\n".to_vec();
        block.extend_from_slice(line);
        match parse(&block) {
            Some(parsed) => rows.extend(parsed),
            None => bad += 1,
        }
    }
    (rows, bad)
}

/// Parses `/proc/net/tcp` or `tcp6` (proc_pid_net(5)). The second value is the number of lines that did not
/// parse.
pub fn tcp_table(table: &[u8]) -> (Vec<TcpSocket>, usize) {
    let (rows, bad) = by_line(table, |line| TcpNetEntries::from_buf_read(line, &native()).ok().map(|rows| rows.0));
    let rows = rows
        .into_iter()
        .map(|row| TcpSocket {
            local: row.local_address,
            remote: row.remote_address,
            state: TcpState(row.state.to_u8()),
            receive_queue: row.rx_queue,
            // The text table does not contain the backlog of listeners.
            send_queue: (row.state.to_u8() != TcpState::LISTEN.0).then_some(row.tx_queue),
            uid: row.uid,
            inode: row.inode,
            cgroup_id: None,
            progress: None,
        })
        .collect();
    (rows, bad)
}

/// Parses `/proc/net/udp` or `udp6`.
pub fn udp_table(table: &[u8]) -> (Vec<OtherSocket>, usize) {
    let (rows, bad) = by_line(table, |line| UdpNetEntries::from_buf_read(line, &native()).ok().map(|rows| rows.0));
    let rows = rows
        .into_iter()
        .map(|row| OtherSocket {
            protocol: "udp",
            inode: row.inode,
            local: Some(row.local_address.to_string()),
            remote: (row.remote_address.port() != 0).then(|| row.remote_address.to_string()),
        })
        .collect();
    (rows, bad)
}

/// Parses `/proc/net/unix`.
pub fn unix_table(table: &[u8]) -> (Vec<OtherSocket>, usize) {
    let (rows, bad) = by_line(table, |line| UnixNetEntries::from_buf_read(line).ok().map(|rows| rows.0));
    let rows = rows
        .into_iter()
        .map(|row| OtherSocket {
            protocol: "unix",
            inode: row.inode,
            local: row.path.map(|path| printable(path.as_os_str().as_encoded_bytes())),
            remote: None,
        })
        .collect();
    (rows, bad)
}

/// Inodes of a table that contains no useful addresses, from the given column (`/proc/net/netlink`,
/// `/proc/net/packet`).
pub fn inode_column(table: &[u8], protocol: &'static str, column: usize) -> Vec<OtherSocket> {
    table
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            Some(OtherSocket { protocol, inode: inode_in(line, column)?, local: None, remote: None })
        })
        .collect()
}

/// The inode in a column of a line, counted from 0.
pub fn inode_in(line: &[u8], column: usize) -> Option<u64> {
    let mut columns = line.split(u8::is_ascii_whitespace).filter(|column| !column.is_empty());
    std::str::from_utf8(columns.nth(column)?).ok()?.parse().ok()
}

/// An IPv4-mapped IPv6 address (`::ffff:127.0.0.1`) as IPv4.
pub fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TCP: &[u8] = b"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
        0: 0100007F:2253 00000000:0000 0A 00000000:00000003 00:00000000 00000000  1000        0 5150 1 0000000000000000 100 0 0 10 0\n   \
        1: 0100007F:2253 0100007F:9C40 01 00000000:00000010 00:00000000 00000000     0        0 0 1 0000000000000000 20 4 30 10 -1\n   \
        broken line\n";

    #[cfg(target_endian = "little")]
    #[test]
    fn one_bad_line_does_not_cost_the_table() {
        let (rows, bad) = tcp_table(TCP);
        assert_eq!(bad, 1);
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].local, "127.0.0.1:8787".parse().unwrap());
        assert_eq!((rows[0].state, rows[0].receive_queue, rows[0].inode), (TcpState::LISTEN, 3, 5150));
        assert_eq!(rows[0].send_queue, None);
        assert_eq!((rows[1].state.name(), rows[1].inode), ("ESTABLISHED", 0));
    }

    #[test]
    fn reads_unix_and_netlink_tables() {
        let unix = b"Num       RefCount Protocol Flags    Type St Inode Path\n\
            0000000000000000: 00000002 00000000 00010000 0001 01 1234 /run/x.sock\n";
        let (rows, bad) = unix_table(unix);
        assert_eq!((rows.len(), bad), (1, 0));
        assert_eq!(rows[0].local.as_deref(), Some("/run/x.sock"));
        let netlink = b"sk Eth Pid Groups Rmem Wmem Dump Locks Drops Inode\n0000000000000000 0 1 0 0 0 0 2 0 77\n";
        assert_eq!(inode_column(netlink, "netlink", 9)[0].inode, 77);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = tcp_table(&bytes);
            let _ = udp_table(&bytes);
            let _ = unix_table(&bytes);
            let _ = inode_column(&bytes, "netlink", 9);
        }
    }
}
