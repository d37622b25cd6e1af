//! The program of each process, from the link `/proc/PID/exe` (proc_pid_exe(5)), which is shorter than a command line.

use super::{process, procfs};
use crate::collect::ByProgram;
use crate::collect::worker::Request;
use crate::collect::workers::Workers;
use crate::model::{Gap, GapReason};
use std::collections::BTreeMap;

/// The processes of this host by the program that they run.
///
/// # Errors
/// A gap where `/proc` is not mounted.
pub fn by_program(workers: &Workers) -> Result<ByProgram, Gap> {
    let pids = process::all_pids()?;
    let requests: Vec<Request> = pids.iter().map(|pid| procfs::link(*pid, "exe")).collect();
    let (mut unknown, mut programs) = (Vec::new(), BTreeMap::<Vec<u8>, Vec<u32>>::new());
    for (pid, answer) in pids.into_iter().zip(workers.bytes_of_processes(&requests)) {
        match answer {
            Ok(link) => programs.entry(link).or_default().push(pid),
            // A process without a program is a kernel thread, or has ended.
            Err(gap) if matches!(gap.reason, GapReason::NotFound | GapReason::Vanished) => {}
            Err(_) => unknown.push(pid),
        }
    }
    Ok(ByProgram { unknown, hidden: process::hidden(workers), programs: programs.into_iter().collect() })
}
