//! Parses the arguments, runs the command, and exits with its status.

use std::process::ExitCode;

/// Stack size of the program in bytes: the default of the main thread without a lower limit.
const STACK_BYTES: usize = 8 * 1024 * 1024;

fn main() -> ExitCode {
    ignore_file_size_signal();
    if has_small_stack() {
        // `ulimit -s` applies only to the main thread.
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(run);
        if let Ok(thread) = thread {
            return thread.join().unwrap_or(ExitCode::from(hermes_doctor::command::EXIT_UNKNOWN));
        }
    }
    run()
}

/// Ignores SIGXFSZ, so that a write beyond the file size limit (`ulimit -f`) fails like on a full disk and does
/// not end the program.
fn ignore_file_size_signal() {
    #[allow(unsafe_code)]
    // SAFETY: no handler is installed, so nothing of this program runs in one. See signal(7).
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
    }
}

fn has_small_stack() -> bool {
    use rustix::process::{Resource, getrlimit};
    let bytes = u64::try_from(STACK_BYTES).unwrap_or(u64::MAX);
    getrlimit(Resource::Stack).current.is_some_and(|limit| limit < bytes)
}

fn run() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == hermes_doctor::collect::worker::ARGUMENT) {
        hermes_doctor::collect::worker::serve();
        return ExitCode::SUCCESS;
    }
    ExitCode::from(hermes_doctor::run(&arguments))
}
