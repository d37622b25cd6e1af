//! Facts of the host as a whole. The worker reads them, because in a container lxcfs can be mounted over these
//! files of `/proc`, and can hang.

use super::worker::wire::HostNumbers;
use super::workers::Workers;
use crate::model::text::printable;
use crate::model::{HostFacts, whole_milliseconds};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;
use sysinfo::{MemoryRefreshKind, System};

/// The facts of this host; `init` is the name of pid 1.
pub fn read(workers: &Workers, init: Option<String>) -> HostFacts {
    let numbers = workers.host_numbers().unwrap_or_default();
    HostFacts {
        os: std::env::consts::OS.into(),
        kernel: System::kernel_version().ok().map(|release| printable(release.as_bytes())).map(Into::into),
        arch: std::env::consts::ARCH.into(),
        uptime_ms: since_boot().map(whole_milliseconds),
        memory_bytes: numbers.memory_bytes,
        memory_available_bytes: numbers.memory_available_bytes,
        load: numbers.load_hundredths.map(|load| f64::from(load) / 100.0),
        root: rustix::process::geteuid().is_root(),
        init: init.map(Into::into),
    }
}

/// Time since this host booted, including suspended time, by the clock of the start times of processes
/// (`CLOCK_BOOTTIME`, proc_pid_stat(5)). It is read with clock_gettime(2), because `/proc/uptime` can be a file of
/// lxcfs, which counts from the start of the container.
pub fn since_boot() -> Option<Duration> {
    #[cfg(target_os = "linux")]
    let clock = ClockId::Boottime;
    // On macOS this clock runs during sleep.
    #[cfg(not(target_os = "linux"))]
    let clock = ClockId::Monotonic;
    Duration::try_from(clock_gettime(clock)).ok()
}

/// Reads the numbers of the host; for the worker. Numbers that cannot be read are `None`.
pub fn numbers() -> HostNumbers {
    let system = System::new().map(|mut system| {
        system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
        system
    });
    let memory = |bytes: fn(&System) -> u64| system.as_ref().ok().map(bytes).filter(|bytes| *bytes > 0);
    let found = HostNumbers {
        memory_bytes: memory(System::total_memory),
        memory_available_bytes: memory(System::available_memory),
        load_hundredths: System::load_average().ok().map(|load| (load.one * 100.0).round() as u32),
        ..HostNumbers::default()
    };
    with_limits(found)
}

#[cfg(target_os = "linux")]
fn with_limits(found: HostNumbers) -> HostNumbers {
    use procfs::Current;
    let files = procfs::sys::fs::file_nr().ok();
    HostNumbers {
        files: files.as_ref().map(|files| files.allocated),
        files_max: files.map(|files| files.max),
        tasks: procfs::LoadAverage::current().ok().map(|load| u64::from(load.max)),
        threads_max: procfs::sys::kernel::threads_max().ok().map(u64::from),
        pid_max: procfs::sys::kernel::pid_max().ok().and_then(|max| u64::try_from(max).ok()),
        ..found
    }
}

#[cfg(not(target_os = "linux"))]
fn with_limits(found: HostNumbers) -> HostNumbers {
    found
}
