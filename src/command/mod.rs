//! Commands as data: the arguments, the typed request, and its execution up to the envelope. Both front ends,
//! the command line and MCP, use it.

mod arguments;
mod definition;
mod message;
mod request;
mod run;

pub use arguments::*;
pub use definition::definition;
pub use message::{cause_of, sanitized, unwritten_output};
pub use run::{STANDARD_INPUT, examine_until, explained, nothing_examined, refusal, saved_reports};

pub use crate::parse::command::DEMO_SERVER;

/// Exit status of a run without a verdict: invalid arguments, nothing to examine, a required check that could
/// not run, or lost output.
pub const EXIT_UNKNOWN: u8 = 3;
