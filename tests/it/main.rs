//! Integration tests, one module for each part. `tests/run PART` runs one part; CONTRIBUTING.md says how long each takes.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, clippy::print_stderr, clippy::print_stdout)]

mod common;

mod architecture;
mod canaries;
#[cfg(target_os = "linux")]
mod claims_of_others;
mod cli;
mod databases;
mod demo;
mod docs;
mod fixtures;
mod fleet;
#[cfg(target_os = "linux")]
mod foreign;
#[cfg(target_os = "linux")]
mod foreign_supervisors;
#[cfg(target_os = "linux")]
mod hostile;
mod launchd;
mod live;
#[cfg(target_os = "linux")]
mod logs;
mod lookalikes;
#[cfg(target_os = "linux")]
mod lost;
#[cfg(all(target_os = "linux", feature = "mcp"))]
mod mcp;
#[cfg(target_os = "linux")]
mod names;
#[cfg(target_os = "linux")]
mod no_harm;
#[cfg(target_os = "linux")]
mod openrc;
mod over_time;
mod ownership;
mod pages;
mod replay;
mod report;
#[cfg(target_os = "linux")]
mod resources;
mod schema;
mod seeds;
mod shipping;
mod snapshots;
#[cfg(all(target_os = "linux", feature = "stacks"))]
mod stacks;
#[cfg(target_os = "linux")]
mod started;
mod supervisors;
mod systemd;
mod terminal;
mod unprivileged;
#[cfg(target_os = "linux")]
mod waiting;
mod wedges;
