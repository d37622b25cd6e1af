//! Parses, calls, and exits with the status.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod power;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|word| word == hermes_doctor::collect::reader::ARGUMENT) {
        hermes_doctor::collect::reader::serve();
        return ExitCode::SUCCESS;
    }
    ExitCode::from(hermes_doctor::cli::run(&arguments))
}
