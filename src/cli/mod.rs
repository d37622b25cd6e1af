//! The command line, turned into one typed request, and what is made of it. What it says is defined in `arguments`, what it means
//! in `request`; neither reads anything of the host. Before something is written, a reader asks whether its place answers.

mod arguments;
mod fleet;
mod over_time;
mod pages;
mod report;
mod request;
mod run;
mod terminal;
mod usage;

pub use arguments::*;
pub use run::run;
#[cfg(feature = "mcp")]
pub(crate) use run::{examined_until, explained, nothing_examined, refusal};
#[cfg(feature = "mcp")]
pub(crate) use terminal::unwritten_output;
#[cfg(feature = "mcp")]
pub(crate) use usage::harmless;

/// Exit status when nothing could be told: bad arguments, nothing to examine, no permission for what decides.
pub const EXIT_UNKNOWN: u8 = 3;
