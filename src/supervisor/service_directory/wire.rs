//! The status files of runit, s6 and daemontools: the state of one service, as its supervisor records it.
//!
//! All begin with a TAI64N label (12 bytes, big-endian) of the last change of state. The layouts were
//! determined from the running programs: runit 2.1.2 (20 bytes), daemontools 0.76 (18 bytes), s6 2.11 (35
//! bytes; from 2.12 on 43, with the process group after the pid).

/// Contents of a status file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// Pid of the service; `None` while it is down.
    pub pid: Option<u32>,
    /// Whether the service should be up.
    pub wants_up: bool,
    /// Last change of state, in seconds since 1970 (leap seconds make it uncertain by half a minute).
    pub changed_at: u64,
}

/// TAI64 labels count from 2^62.
const TAI64_EPOCH: u64 = 1 << 62;
/// TAI was 10 s ahead in 1970. s6 also counts leap seconds; the others do not.
const TAI_OFFSET: u64 = 10;
/// Flag of s6 that the service should be up.
const S6_WANTS_UP: u8 = 4;

/// Parses a status file; its length determines the format.
pub fn parse(bytes: &[u8]) -> Option<ServiceStatus> {
    let label = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
    let changed_at = label.checked_sub(TAI64_EPOCH)?.checked_sub(TAI_OFFSET)?;
    let (pid, wants_up) = match bytes.len() {
        18 | 20 => (u32::from_le_bytes(bytes.get(12..16)?.try_into().ok()?), bytes.get(17)? == &b'u'),
        35 | 43 => {
            let pid = u64::from_be_bytes(bytes.get(24..32)?.try_into().ok()?);
            (u32::try_from(pid).ok()?, bytes.last()? & S6_WANTS_UP != 0)
        }
        _ => return None,
    };
    Some(ServiceStatus { pid: Some(pid).filter(|pid| *pid != 0), wants_up, changed_at })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn reads_status_files_of_real_supervisors() {
        let runit = parse(&bytes("4000 0000 6b04 955e 31e2 e59c 4d3c 0000 0075 0001")).unwrap();
        assert_eq!((runit.pid, runit.wants_up, runit.changed_at), (Some(15437), true, 1_795_462_484));
        let daemontools = parse(&bytes("4000 0000 6b04 955e 3205 abf4 4c3c 0000 0075")).unwrap();
        assert_eq!((daemontools.pid, daemontools.wants_up), (Some(15436), true));
        let s6 = "4000 0000 6b04 9579 320b c720 4000 0000 6b04 9579 31fc 6f67 0000 0000 0000 3c4e 0000 04";
        let s6 = parse(&bytes(s6)).unwrap();
        assert_eq!((s6.pid, s6.wants_up), (Some(15438), true));
        let down = "4000 0000 6b04 957a 33ce d06c 4000 0000 6b04 957a 33d5 b94b 0000 0000 0000 0000 000f 08";
        assert_eq!(
            parse(&bytes(down)).unwrap(),
            ServiceStatus { pid: None, wants_up: false, changed_at: 1_795_462_512 }
        );
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..50)) {
            let _ = parse(&bytes);
        }
    }
}
