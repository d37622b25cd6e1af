//! Parsers: bytes and text of kernels, servers and files to model types. No I/O: everything here is compiled
//! and tested on every system.

pub mod accounts;
pub mod amp;
pub mod cgroup;
pub mod command;
pub mod darwin;
pub mod descriptors;
pub mod health;
pub mod history;
pub mod home;
pub mod http;
pub mod limits;
pub mod link;
pub mod locks;
pub mod log;
pub mod markdown;
pub mod mask;
pub mod mounts;
pub mod process;
pub mod python_source;
pub mod resources;
#[cfg(target_os = "linux")]
pub mod socket_diagnostics;
pub mod sockets;
pub mod sqlite;
pub mod thread;
pub mod tree;
pub mod version;

use thiserror::Error;

/// An error of a parser. Its text names the part of the input and the problem.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("{what}: {why}")]
pub struct ParseError {
    /// Part of the input.
    pub what: &'static str,
    /// The problem with it.
    pub why: String,
}

impl ParseError {
    /// Builds an error.
    pub fn new(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self { what, why: why.to_string() }
    }
}
