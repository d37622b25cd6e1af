//! Whether the loopback interface works.

/// Whether the loopback interface exists and is down, as in a network namespace that was not set up. Packets to it are
/// dropped then, which appears as a server that accepts no connection. See getifaddrs(3) and netdevice(7).
pub fn is_down() -> bool {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    #[allow(unsafe_code)]
    // SAFETY: the first call creates the list, which is read until it is freed once.
    unsafe {
        if libc::getifaddrs(&raw mut first) != 0 {
            return false;
        }
        let (mut has_loopback, mut is_up, mut entry) = (false, false, first);
        while let Some(interface) = entry.as_ref() {
            // The flags are an unsigned integer with the bits of signed constants.
            if interface.ifa_flags & libc::IFF_LOOPBACK.unsigned_abs() != 0 {
                has_loopback = true;
                is_up |= interface.ifa_flags & libc::IFF_UP.unsigned_abs() != 0;
            }
            entry = interface.ifa_next;
        }
        libc::freeifaddrs(first);
        has_loopback && !is_up
    }
}
