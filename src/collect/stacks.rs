//! Python stacks. The `py-spy` crate reads the interpreter's memory in a worker that can be abandoned. It opens
//! binaries by itself, so it runs with the rights of the owner of the process.
//!
//! The process is never paused. `py-spy` is used without its locking (no ptrace(2), no signal), so the only access to
//! the process is process_vm_readv(2). It reads the interpreter's own data (threads, frames, code objects) and the
//! names of the threads, but no variable of the program. The process keeps running during the read, so a stack can be
//! inconsistent. Such a sample is taken again, up to three times.

use super::Deadline;
use super::foreign::Failure;
use super::worker::{Answer as Reply, Request, Worker};
use crate::model::{Gap, GapReason, Identity, PythonSample, id};
use serde::{Deserialize, Serialize};

/// The answer of the worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The stacks.
    PortSample(PythonSample),
    /// Why the stacks could not be read: the reason, and the error text.
    Failed(GapReason, String),
}

/// Attempts to get a consistent sample.
const TRIES: usize = 3;

/// Reads the stacks of a process in a separate worker.
///
/// # Errors
/// A gap: no permission, not Python, an unknown interpreter, or a timeout.
pub fn read(identity: Identity, deadline: Deadline) -> Result<PythonSample, Gap> {
    let pid = identity.pid;
    let what = format!("Python stacks of pid {pid}");
    // On macOS only root may call task_for_pid, and its error does not report that.
    if cfg!(target_os = "macos") && !rustix::process::geteuid().is_root() {
        return Err(Gap::new(what, GapReason::Permission, missing_permission(pid)).blocking(id::STACKS));
    }
    let mut worker = Worker::new();
    let mut answer = None;
    // An inconsistent structure can crash the worker; the next sample usually succeeds.
    for _ in 0..TRIES {
        answer = Some(worker.ask(Request::Stacks(identity), deadline));
        if !matches!(&answer, Some(Err(gap)) if gap.reason == GapReason::Unsupported) {
            break;
        }
    }
    let result = match answer {
        Some(Ok(Reply::Bytes(bytes))) => match serde_json::from_slice(&bytes) {
            Ok(Answer::PortSample(look)) => Ok(look),
            Ok(Answer::Failed(reason, detail)) => Err(Gap::new(what, reason, detail)),
            Err(error) => Err(Gap::new(what, GapReason::Malformed, error.to_string())),
        },
        // Inconsistent data can end the worker: it exceeds its limits, or crashes.
        Some(Err(gap)) if gap.reason == GapReason::Unsupported => {
            let detail = format!("the worker ended while it read the interpreter's memory ({})", gap.detail);
            Err(Gap { what: what.into(), reason: GapReason::Malformed, detail: detail.into(), ..gap })
        }
        Some(Err(gap)) => Err(Gap { what: what.into(), ..gap }),
        Some(Ok(_)) | None => Err(Gap::new(what, GapReason::Unsupported, "the worker gave no answer")),
    };
    result.map_err(|gap| gap.blocking(id::STACKS))
}

/// The permission that is missing.
fn missing_permission(pid: u32) -> String {
    if cfg!(target_os = "macos") {
        return format!(
            "reading another process's memory needs root on macOS: `sudo hermes-doctor stacks --pid {pid}`; an ordinary user \
             can run `sample {pid}`, which shows the native stacks"
        );
    }
    // The setting exists only where the kernel was built with Yama (Documentation/admin-guide/LSM/Yama.rst).
    let scope = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").ok();
    let scope = scope.as_deref().map(str::trim).filter(|scope| scope.len() <= 2);
    let yama = scope.map_or_else(String::new, |scope| {
        format!(
            " (with kernel.yama.ptrace_scope 0; here it is {})",
            crate::model::text::printable(scope.as_bytes())
        )
    });
    format!("run it as the server's own user{yama}, as root, or with CAP_SYS_PTRACE")
}

/// The worker's side: the answer for one process, as JSON.
///
/// # Errors
/// When the process has ended, its rights cannot be taken, or the answer cannot be encoded as JSON.
pub fn answer(process: Identity) -> Result<Vec<u8>, Failure> {
    let pid = process.pid;
    #[cfg(target_os = "linux")]
    let refusal = binaries::refusal(process)?;
    #[cfg(not(target_os = "linux"))]
    let refusal: Option<String> = None;
    let looked = match refusal {
        Some(why) => Err((GapReason::NotAsked, why)),
        None => read_stacks(pid),
    };
    let answer = match looked {
        Ok(look) => Answer::PortSample(look),
        // Named in the worker, since the setting is in a file over which another filesystem can be mounted.
        Err((GapReason::Permission, _)) => Answer::Failed(GapReason::Permission, missing_permission(pid)),
        Err((reason, detail)) => {
            Answer::Failed(reason, crate::model::text::printable(detail.as_bytes()).chars().take(500).collect())
        }
    };
    serde_json::to_vec(&answer).map_err(|error| Failure::Malformed(error.to_string()))
}

/// The files that the library opens by name: the executable and the library of the interpreter.
#[cfg(target_os = "linux")]
mod binaries {
    use crate::collect::foreign::{self, Failure, ForeignPath, Last};
    use crate::model::Identity;
    use crate::model::text::printable;
    use crate::parse::process::mapped_files;
    use rustix::fs::FileType;
    use std::os::unix::ffi::OsStrExt;

    /// Takes the rights of the owner of a process and returns a reason to read no stacks, if any. Every mapped Python
    /// library must be a file that can be opened here under the same name as in the table of mappings.
    pub(super) fn refusal(process: Identity) -> Result<Option<String>, Failure> {
        let directory = foreign::as_process(process)?;
        foreign::program_is_readable(&directory)?;
        // If the mappings cannot be read, the memory cannot be read either, and the library reports why.
        let Ok(maps) = directory.read(c"maps") else { return Ok(None) };
        let files = mapped_files(&maps);
        // The table writes a newline as `\012` (proc_pid_maps(5)). The library takes that text as the name, and another
        // file can have it.
        if let Some(file) = files.iter().find(|file| file.contains(&b'\\')) {
            return Ok(Some(format!("{} is mapped, and its name is ambiguous", printable(file))));
        }
        for file in files.into_iter().filter(|path| is_interpreter(path)) {
            foreign::restore()?;
            let path = ForeignPath::of_process(process, std::path::Path::new(std::ffi::OsStr::from_bytes(file)));
            let found = foreign::find(&path, Last::Followed);
            if !found.is_ok_and(|found| found.file_type() == FileType::RegularFile) {
                let shown = printable(file);
                return Ok(Some(format!("the mapped file {shown} may not be opened, or is not a regular file")));
            }
        }
        foreign::restore()?;
        foreign::as_process(process)?;
        Ok(None)
    }

    /// Whether the file is an interpreter or its library, by its name. Python's own modules below `lib/python3.11` are
    /// not opened.
    fn is_interpreter(path: &[u8]) -> bool {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        name.starts_with(b"python") || memchr::memmem::find(name, b"libpython").is_some()
    }
}

/// Without the feature `stacks` no stack is read.
#[cfg(not(feature = "stacks"))]
fn read_stacks(pid: u32) -> Result<PythonSample, (GapReason, String)> {
    Err((
        GapReason::Unsupported,
        format!(
            "this build reads no Python stacks (cargo feature `stacks`); `py-spy dump --nonblocking --pid {pid}` does"
        ),
    ))
}

#[cfg(all(test, not(feature = "stacks")))]
mod tests {
    use crate::collect::{Deadline, this_host};
    use std::time::Duration;

    #[test]
    fn a_build_without_python_stacks_reports_unsupported() {
        let host = this_host(Deadline::after(Duration::from_secs(10)));
        let own = host.identify(std::process::id()).unwrap();
        let answer = String::from_utf8(super::answer(own).unwrap()).unwrap();
        assert!(answer.contains("unsupported") && answer.contains("this build reads no Python stacks"), "{answer}");
    }
}

#[cfg(feature = "stacks")]
use interpreter::read_stacks;

/// Everything that uses `py-spy`.
#[cfg(feature = "stacks")]
mod interpreter {
    use super::TRIES;
    use crate::model::text::printable;
    use crate::model::{GapReason, MAX_THREADS, PythonSample, PythonStack, PythonThread, StackFrame};
    use py_spy::config::{Config, LineNo, LockingStrategy};
    use py_spy::{PythonSpy, StackTrace};
    use std::collections::HashMap;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Frames returned for one stack; the frame that holds a lock can be one of the outermost.
    const MAX_FRAMES: usize = 256;
    /// Bytes of names in an answer, so that it stays below the largest frame.
    const MAX_TEXT: usize = 2 * 1024 * 1024;
    /// Memory limit of the worker: inconsistent data can request any amount.
    #[cfg(target_os = "linux")]
    const MAX_MEMORY: u64 = 2 * 1024 * 1024 * 1024;

    type Failure = (GapReason, String);

    fn config(pid: i32) -> Config {
        Config {
            pid: Some(pid),
            blocking: LockingStrategy::NonBlocking,
            native: false,
            dump_locals: 0,
            lineno: LineNo::LastInstruction,
            collect_thread_names: true,
            subprocesses: false,
            gil_only: false,
            // For short names the library would search for files.
            full_filenames: true,
            ..Config::default()
        }
    }

    /// The most complete of up to three samples.
    pub(super) fn read_stacks(pid: u32) -> Result<PythonSample, Failure> {
        bound_memory();
        let raw = i32::try_from(pid).map_err(|_| (GapReason::NotFound, "no such process".to_owned()))?;
        // An inconsistent structure can make the library index out of bounds. It is a failed attempt like any other.
        let tried = |what: &mut dyn FnMut() -> Result<Vec<StackTrace>, Failure>| {
            catch_unwind(AssertUnwindSafe(what)).unwrap_or_else(|_| {
                Err((GapReason::Malformed, "the interpreter's memory was inconsistent".to_owned()))
            })
        };
        let mut spy: Option<PythonSpy> = None;
        let mut best: Option<Vec<StackTrace>> = None;
        let mut failure = None;
        for _ in 0..TRIES {
            let found = tried(&mut || {
                if spy.is_none() {
                    spy = Some(PythonSpy::new(raw, &config(raw)).map_err(|error| classify(&error, pid))?);
                }
                match spy.as_mut() {
                    Some(spy) => spy.get_stack_traces().map_err(|error| classify(&error, pid)),
                    None => Err((GapReason::Unsupported, String::new())),
                }
            });
            match found {
                Ok(mut traces) => {
                    traces.iter_mut().for_each(|trace| trace.frames.retain(|frame| !is_shim(frame)));
                    let is_whole = is_whole(&traces);
                    if best.as_ref().is_none_or(|best| worth(best) <= worth(&traces)) {
                        best = Some(traces);
                    }
                    if is_whole {
                        break;
                    }
                }
                Err((reason @ (GapReason::Permission | GapReason::Vanished), detail)) => {
                    return Err((reason, detail));
                }
                Err(other) => failure = Some(other),
            }
        }
        match (best, spy, failure) {
            (Some(traces), Some(spy), _) => Ok(gathered(&traces, &spy, pid)),
            (_, _, Some(failure)) => Err(failure),
            _ => Err((GapReason::Malformed, "no stack could be read".to_owned())),
        }
    }

    /// Whether the frame is one that the interpreter inserts between two of the program's: CPython 3.13 inserts one
    /// around an `__init__` that it calls without a C frame.
    fn is_shim(frame: &py_spy::Frame) -> bool {
        frame.line <= 0 && frame.filename == frame.name
    }

    /// Whether every thread has a stack, and every frame a line.
    fn is_whole(traces: &[StackTrace]) -> bool {
        !traces.is_empty()
            && traces
                .iter()
                .all(|trace| !trace.frames.is_empty() && trace.frames.iter().all(|frame| frame.line > 0))
    }

    /// How complete a sample is: threads with a stack, then frames with a line.
    fn worth(traces: &[StackTrace]) -> (usize, usize) {
        let stacks = traces.iter().filter(|trace| !trace.frames.is_empty()).count();
        (stacks, traces.iter().flat_map(|trace| &trace.frames).filter(|frame| frame.line > 0).count())
    }

    /// The reason for an error, from its text: the library's errors have no kinds.
    fn classify(error: &impl std::fmt::Debug, pid: u32) -> Failure {
        let text = format!("{error:?}");
        let line = text.lines().next().unwrap_or_default().trim().to_owned();
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if has(&["ermission denied", "not permitted"]) {
            return (GapReason::Permission, line);
        }
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() && cfg!(target_os = "linux")
            || has(&["No such process"])
        {
            return (GapReason::Vanished, "it ended during the examination".to_owned());
        }
        if has(&["Unsupported version"]) {
            return (GapReason::Unsupported, line);
        }
        if has(&["Failed to find python version", "Failed to parse python binary"]) {
            return (GapReason::Unsupported, "no Python interpreter was recognised in it".to_owned());
        }
        if has(&["Failed to find a python interpreter"]) {
            let detail = "no running Python interpreter was recognised in it";
            return (GapReason::Unsupported, detail.to_owned());
        }
        (GapReason::Malformed, line)
    }

    /// Limits memory and CPU time of this worker, and disables its core dump.
    fn bound_memory() {
        #[cfg(target_os = "linux")]
        {
            use rustix::process::{Resource, Rlimit, setrlimit};
            for (resource, most) in [(Resource::As, MAX_MEMORY), (Resource::Cpu, 20), (Resource::Core, 0)] {
                let _ = setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
            }
        }
    }

    /// Merges equal stacks and limits their number. Thread ids are those of the doctor's own pid namespace.
    fn gathered(traces: &[StackTrace], spy: &PythonSpy, pid: u32) -> PythonSample {
        let ids = thread_ids(traces, spy, pid);
        let mut stacks: Vec<PythonStack> = Vec::new();
        let mut known: HashMap<Vec<StackFrame>, usize> = HashMap::new();
        let (mut text, mut threads, mut is_cut) = (0, 0, false);
        for (trace, tid) in traces.iter().zip(ids) {
            if threads >= MAX_THREADS || text > MAX_TEXT {
                is_cut = true;
                break;
            }
            threads += 1;
            let all: Vec<StackFrame> = trace.frames.iter().map(frame).collect();
            let thread = PythonThread {
                tid,
                name: trace.thread_name.as_deref().map(|name| short(name, 64)).map(Into::into),
                holds_gil: trace.owns_gil,
                is_active: trace.active,
            };
            if let Some(stack) = known.get(&all).and_then(|at| stacks.get_mut(*at)) {
                stack.threads.push(thread);
                continue;
            }
            let frames: Vec<StackFrame> = all.iter().take(MAX_FRAMES).cloned().collect();
            text += frames.iter().map(|frame| frame.file.len() + frame.function.len() + 64).sum::<usize>();
            let frames_omitted = u64::try_from(all.len() - frames.len()).unwrap_or(u64::MAX);
            known.insert(all, stacks.len());
            stacks.push(PythonStack { frames, frames_omitted, threads: vec![thread] });
        }
        PythonSample {
            interpreter: printable(spy.version.to_string().as_bytes()).into(),
            stacks,
            threads_omitted: u64::try_from(traces.len() - threads).unwrap_or(u64::MAX),
            is_complete: is_whole(traces) && !is_cut,
        }
    }

    fn frame(frame: &py_spy::Frame) -> StackFrame {
        StackFrame {
            function: short(&frame.name, 200).into(),
            file: short(&frame.filename, 1024).into(),
            line: u32::try_from(frame.line).ok().filter(|line| *line > 0),
        }
    }

    fn short(text: &str, most: usize) -> String {
        printable(text.as_bytes()).chars().take(most).collect()
    }

    /// The kernel's thread id of each thread.
    ///
    /// Since 3.11 the interpreter stores the id, as counted in its own pid namespace. Before 3.11 it stores only the
    /// result of pthread_self(3): the address of the C library's block of the thread, which contains the id.
    fn thread_ids(traces: &[StackTrace], spy: &PythonSpy, pid: u32) -> Vec<Option<u32>> {
        let threads = threads_of(pid);
        let outside: HashMap<u32, u32> = threads.iter().map(|(tid, inside)| (*inside, *tid)).collect();
        let said: Vec<Option<u32>> =
            traces.iter().map(|trace| trace.os_thread_id.and_then(|id| u32::try_from(id).ok())).collect();
        if said.iter().any(Option::is_some) {
            return said.into_iter().map(|id| outside.get(&id?).copied()).collect();
        }
        from_thread_blocks(traces, spy, &outside).unwrap_or_else(|| vec![None; traces.len()])
    }

    /// Offset of the thread id in the block of a thread: glibc (`struct pthread`, nptl/descr.h) on x86_64 and on
    /// aarch64, musl (`struct pthread`, src/internal/pthread_impl.h).
    const ID_OFFSETS: &[u64] = &[720, 208, 48, 56];

    /// Ids of the threads, from the offset at which the block of every thread contains the id of another thread of this
    /// process.
    fn from_thread_blocks(
        traces: &[StackTrace],
        spy: &PythonSpy,
        outside: &HashMap<u32, u32>,
    ) -> Option<Vec<Option<u32>>> {
        use remoteprocess::ProcessMemory;
        ID_OFFSETS.iter().find_map(|offset| {
            let mut seen = std::collections::HashSet::new();
            let ids: Option<Vec<Option<u32>>> = traces
                .iter()
                .map(|trace| {
                    let at = usize::try_from(trace.thread_id.checked_add(*offset)?).ok()?;
                    let inside = spy.process.copy_struct::<u32>(at).ok()?;
                    let tid = *outside.get(&inside)?;
                    seen.insert(tid).then_some(Some(tid))
                })
                .collect();
            ids.filter(|ids| !ids.is_empty())
        })
    }

    /// Threads of the process: their ids here, and their ids in its own pid namespace (`NSpid`, proc_pid_status(5)).
    fn threads_of(pid: u32) -> Vec<(u32, u32)> {
        let Ok(entries) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        names
            .map(|tid| {
                let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap_or_default();
                let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                let inside = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
                (tid, inside.unwrap_or(tid))
            })
            .collect()
    }
}
