//! Facts of the host as a whole.

use crate::model::HostFacts;
use crate::model::text::printable;
use sysinfo::{MemoryRefreshKind, System};

/// Reads the facts; `init` is the name of pid 1.
pub fn read(init: Option<String>) -> HostFacts {
    let system = System::new().map(|mut system| {
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        system
    });
    let memory = |bytes: fn(&System) -> u64| system.as_ref().ok().map(bytes).filter(|bytes| *bytes > 0);
    HostFacts {
        os: std::env::consts::OS.into(),
        kernel: System::kernel_version().ok().map(|release| printable(release.as_bytes())),
        arch: std::env::consts::ARCH.into(),
        uptime_ms: System::uptime().ok().map(|seconds| seconds.saturating_mul(1000)),
        memory_bytes: memory(System::total_memory),
        memory_available_bytes: memory(System::available_memory),
        load: System::load_average().ok().map(|load| load.one),
        root: rustix::process::geteuid().is_root(),
        init,
    }
}
