//! Processes, tasks and threads as the kernel of macOS describes them.

use super::Image;
use super::layout::*;
use crate::model::ProcessState;
use crate::model::text::printable;
use crate::parse::ParseError;
use std::path::PathBuf;

/// One process of the kernel's table (`struct kinfo_proc`), which every user can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelProcess {
    /// Process id.
    pub pid: u32,
    /// Parent; while a debugger is attached, the debugger.
    pub ppid: u32,
    /// Process group.
    pub process_group: i32,
    /// Real user id.
    pub uid: u32,
    /// Short name, 16 bytes at most.
    pub name: String,
    /// Stopped, traced or zombie; `None` for a live process, where the states of its threads count.
    pub state: Option<ProcessState>,
    /// Whether a debugger is attached.
    pub is_traced: bool,
    /// Start in microseconds since 1970.
    pub started_us: u64,
}

impl KernelProcess {
    /// Start in hundredths of a second since 1970: the value of `start_ticks` on macOS, and in the pid file of
    /// a gateway there.
    pub fn start_ticks(&self) -> u64 {
        self.started_us / 10_000
    }
}

/// Parses the result of `sysctl` with `KERN_PROC`: an array of structures.
///
/// # Errors
/// When it ends within a structure.
pub fn table(bytes: &[u8]) -> Result<Vec<KernelProcess>, ParseError> {
    bytes.chunks(KINFO_PROC).map(kernel_process).collect()
}

fn kernel_process(bytes: &[u8]) -> Result<KernelProcess, ParseError> {
    let image = Image::new(bytes, KINFO_PROC, "struct kinfo_proc")?;
    let is_traced = usize::try_from(image.u32(P_FLAG)).is_ok_and(|flags| flags & P_TRACED != 0);
    let [status] = image.array(P_STAT);
    let state = match usize::from(status) {
        SSTOP if is_traced => Some(ProcessState::Traced),
        SSTOP => Some(ProcessState::Stopped),
        SZOMB => Some(ProcessState::Zombie),
        _ => None,
    };
    let seconds = image.u64(P_STARTTIME_SECONDS);
    // A negative time_t is not valid.
    let seconds = if seconds > u64::MAX / 2 { 0 } else { seconds };
    Ok(KernelProcess {
        pid: image.u32(P_PID),
        ppid: image.u32(E_PPID),
        process_group: image.i32(E_PGID),
        uid: image.u32(P_RUID),
        name: printable(image.text(P_COMM, COMM_SIZE)),
        state,
        is_traced,
        started_us: seconds.saturating_mul(1_000_000).saturating_add(image.u32(P_STARTTIME_MICROSECONDS).into()),
    })
}

/// Memory, CPU time and threads of a process (`struct proc_taskinfo`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task {
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// CPU time so far, user and system together, in the units of the machine's clock (mach_timebase_info).
    pub cpu_units: u64,
    /// Number of threads.
    pub threads: u64,
}

/// Parses `struct proc_taskinfo`.
///
/// # Errors
/// When it is too short.
pub fn task(bytes: &[u8]) -> Result<Task, ParseError> {
    let image = Image::new(bytes, PROC_TASKINFO, "struct proc_taskinfo")?;
    Ok(Task {
        resident_bytes: image.u64(PTI_RESIDENT_SIZE),
        cpu_units: image.u64(PTI_TOTAL_USER).saturating_add(image.u64(PTI_TOTAL_SYSTEM)),
        threads: u64::try_from(image.i32(PTI_THREADNUM)).unwrap_or(0),
    })
}

/// Converts units of the machine's clock to milliseconds. One unit is `numerator / denominator` nanoseconds: 1
/// on Intel, 125/3 on Apple silicon.
pub fn milliseconds(units: u64, (numerator, denominator): (u32, u32)) -> u64 {
    let nanoseconds = u128::from(units) * u128::from(numerator) / u128::from(denominator.max(1));
    u64::try_from(nanoseconds / 1_000_000).unwrap_or(u64::MAX)
}

/// One thread (`struct proc_threadinfo`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// State.
    pub state: ProcessState,
    /// Name, where the program has set one.
    pub name: String,
    /// The lowest 32 bits of its CPU time in user mode, in nanoseconds. The kernel multiplies seconds in 32
    /// bits, so the upper bits are meaningless (XNU's `osfmk/kern/bsd_kern.c`). The difference of two samples
    /// is right if the thread used less than four seconds of CPU time between them.
    pub user_ns: u32,
    /// The same for system mode.
    pub system_ns: u32,
}

/// Parses `struct proc_threadinfo`.
///
/// # Errors
/// When it is too short.
pub fn thread(bytes: &[u8]) -> Result<Thread, ParseError> {
    let image = Image::new(bytes, PROC_THREADINFO, "struct proc_threadinfo")?;
    let state = match usize::try_from(image.u32(PTH_RUN_STATE)).unwrap_or(0) {
        TH_STATE_RUNNING => ProcessState::Running,
        TH_STATE_STOPPED | TH_STATE_HALTED => ProcessState::Stopped,
        TH_STATE_WAITING => ProcessState::Sleeping,
        TH_STATE_UNINTERRUPTIBLE => ProcessState::DiskSleep,
        other => ProcessState::Other(format!("thread state {other}").into()),
    };
    Ok(Thread {
        state,
        name: printable(image.text(PTH_NAME, THREAD_NAME_SIZE)),
        user_ns: image.u32(PTH_USER_TIME),
        system_ns: image.u32(PTH_SYSTEM_TIME),
    })
}

/// Handles of the threads of a process (`PROC_PIDLISTTHREADS`); each thread is queried by its handle.
pub fn thread_handles(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks().0.iter().map(|handle| u64::from_le_bytes(*handle)).collect()
}

/// Working directory (`struct proc_vnodepathinfo`).
///
/// # Errors
/// When the structure is too short, or contains no path.
pub fn working_directory(bytes: &[u8]) -> Result<PathBuf, ParseError> {
    use std::os::unix::ffi::OsStrExt;
    let image = Image::new(bytes, PROC_VNODEPATHINFO, "struct proc_vnodepathinfo")?;
    let path = image.text(PVI_CDIR_PATH, PATH_SIZE);
    if path.is_empty() {
        return Err(ParseError::new("working directory", "the kernel names none"));
    }
    Ok(PathBuf::from(std::ffi::OsStr::from_bytes(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROCESSES: &[u8] = include_bytes!("../../../tests/darwin/processes.bin");
    const TASK: &[u8] = include_bytes!("../../../tests/darwin/task.bin");
    const THREADS: &[u8] = include_bytes!("../../../tests/darwin/threads.bin");
    const DIRECTORIES: &[u8] = include_bytes!("../../../tests/darwin/directories.bin");

    #[test]
    fn reads_the_process_table() {
        let found = table(PROCESSES).unwrap();
        assert_eq!((found[0].pid, found[0].ppid, found[0].name.as_str()), (1, 0, "launchd"));
        assert_eq!(
            found[1],
            KernelProcess {
                pid: 48213,
                ppid: 1,
                process_group: 48213,
                uid: 501,
                name: "python3.13".into(),
                state: None,
                is_traced: false,
                started_us: 1_790_000_100_250_000,
            }
        );
        assert_eq!(found[1].start_ticks(), 179_000_010_025);
        assert_eq!((&found[2].state, found[2].ppid), (&Some(ProcessState::Traced), 499));
        assert_eq!(found[2].name, "sixteen-bytes-ok");
        assert_eq!((&found[3].state, found[3].ppid), (&Some(ProcessState::Zombie), 48213));
    }

    /// Built by hand from the headers, in the layout of a little-endian Mac.
    #[test]
    fn reads_a_handwritten_process_record() {
        let mut bytes = vec![0_u8; 648];
        bytes[..8].copy_from_slice(&1_790_000_000_u64.to_le_bytes());
        bytes[36] = 4;
        bytes[40..44].copy_from_slice(&77_u32.to_le_bytes());
        bytes[243..260].fill(b'x');
        bytes[560..564].copy_from_slice(&1_u32.to_le_bytes());
        let found = &table(&bytes).unwrap()[0];
        assert_eq!((found.pid, found.ppid, &found.state), (77, 1, &Some(ProcessState::Stopped)));
        assert_eq!(found.name, "x".repeat(17), "a name that is not terminated");
        bytes[..8].fill(0xff);
        assert_eq!(table(&bytes).unwrap()[0].started_us, 0);
    }

    #[test]
    fn reads_task_and_threads() {
        let found = task(TASK).unwrap();
        assert_eq!((found.resident_bytes, found.threads, found.cpu_units), (73_400_320, 60, 26_400_000));
        assert_eq!(milliseconds(found.cpu_units, (125, 3)), 1100);
        assert_eq!(milliseconds(found.cpu_units, (1, 1)), 26);
        assert_eq!(milliseconds(u64::MAX, (u32::MAX, 0)), u64::MAX);
        let threads: Vec<Thread> = THREADS.chunks(PROC_THREADINFO).map(|bytes| thread(bytes).unwrap()).collect();
        assert_eq!((threads[0].name.as_str(), &threads[0].state), ("MainThread", &ProcessState::Sleeping));
        assert_eq!((threads[0].user_ns, threads[0].system_ns), (4_000_000, 1_000_000));
        assert_eq!((threads[1].user_ns, &threads[1].state), (0xee6b_2800, &ProcessState::Running));
        assert_eq!((threads[2].name.as_str(), &threads[2].state), ("worker\\u{1b}[31m", &ProcessState::DiskSleep));
        assert_eq!(thread_handles(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0]), [1]);
        assert_eq!(working_directory(DIRECTORIES).unwrap(), PathBuf::from("/Users/h/hermes-agent"));
    }

    #[test]
    fn refuses_short_answers() {
        assert!(table(&PROCESSES[..700]).is_err());
        assert!(task(&TASK[..95]).is_err() && task(&[]).is_err());
        assert!(thread(&THREADS[..111]).is_err());
        assert!(working_directory(&DIRECTORIES[..2351]).is_err());
        assert!(working_directory(&[0; 2352]).is_err());
        // An unterminated path fills its field and no more.
        let path = working_directory(&[b'x'; 2352]).unwrap();
        assert_eq!(path.as_os_str().len(), PATH_SIZE);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..1400)) {
            let _ = table(&bytes);
            let _ = task(&bytes);
            let _ = thread(&bytes);
            let _ = working_directory(&bytes);
            let _ = thread_handles(&bytes);
        }
    }
}
