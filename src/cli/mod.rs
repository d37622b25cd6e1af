//! The command line: runs a command and prints its result.

mod answer;
mod fleet;
mod over_time;
mod pages;
mod report;
mod run;
mod terminal;
mod usage;

pub use run::run;
