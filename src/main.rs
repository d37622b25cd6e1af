//! Parses, calls, and exits with the status.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod power;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(without_unwind_tables)]
    leave_backtraces();
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == hermes_doctor::collect::worker::ARGUMENT) {
        hermes_doctor::collect::worker::serve();
        return ExitCode::SUCCESS;
    }
    ExitCode::from(hermes_doctor::cli::run(&arguments))
}

/// This program has no tables of unwinding (`build.rs`): the unwinder aborts whoever asks it for a backtrace, as errors of libraries do
/// where the environment has one of these.
#[cfg(without_unwind_tables)]
fn leave_backtraces() {
    for name in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        #[allow(unsafe_code)]
        // SAFETY: there is no other thread yet that could read the environment.
        unsafe {
            std::env::remove_var(name);
        }
    }
}
