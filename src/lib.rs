//! hermes-doctor identifies the root cause of a Hermes host that hangs, and changes nothing on it.
//!
//! Data moves one way: `cli` and `mcp` → `command` → `target` → `collect` → `model` → `diagnose` → `wording` →
//! `render`; `examine` sequences the steps. tests/it/architecture.rs has the table of allowed edges between modules.

pub mod cli;
pub mod collect;
pub mod command;
pub mod demo;
pub mod diagnose;
pub mod examine;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod model;
pub mod parse;
pub mod probe;
pub mod redact;
pub mod render;
pub mod report;
pub mod supervisor;
pub mod target;
pub mod wording;

/// Runs the program with these arguments, and returns its exit status.
pub fn run(arguments: &[std::ffi::OsString]) -> u8 {
    #[cfg(feature = "mcp")]
    let serve = mcp::serve;
    // Without the feature the command `mcp` is unknown.
    #[cfg(not(feature = "mcp"))]
    let serve = |_| command::EXIT_UNKNOWN;
    cli::run(arguments, serve)
}
