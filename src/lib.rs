//! hermes-doctor names the root cause of a wedged Hermes host and changes nothing on it.
//!
//! A fact travels one way: `cli` → `target` → `collect` → `model` → `diagnose` → `render`; `examine` walks it.

pub mod cli;
pub mod collect;
pub mod demo;
pub mod diagnose;
pub mod examine;
#[cfg(feature = "mcp")]
pub mod mcp;
pub mod model;
pub mod parse;
pub mod probe;
pub mod render;
pub mod report;
pub mod target;
