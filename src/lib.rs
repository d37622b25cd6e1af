//! hermes-doctor names the root cause of a wedged Hermes host and changes nothing on it.
//!
//! A fact travels one way: `cli` → `patient` → `collect` → `model` → `diagnose` → `render`; `examine` walks it.

pub mod model;
pub mod parse;
