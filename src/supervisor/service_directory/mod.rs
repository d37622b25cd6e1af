//! Service directories, the base of runit, s6 and daemontools: the supervising process has the directory of its service as
//! its working directory, and writes `supervise/status` in it.

pub mod query;
pub mod wire;

use super::advice::{Verb, as_owner, quoted_name};
use crate::model::Supervisor;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Time between two queries while a supervisor is observed. A status file is small.
pub const QUERY_INTERVAL: Duration = Duration::from_millis(40);

/// The path that `--expect` gives, as an absolute one.
pub fn absolute(path: &str) -> String {
    let absolute = std::path::absolute(Path::new(path)).unwrap_or_else(|_| PathBuf::from(path));
    absolute.into_os_string().into_string().unwrap_or_else(|_| path.to_owned())
}

/// The command of a tool that takes a word or option and the directory.
pub fn command(tool: &str, [start, stop, restart]: [&str; 3], claim: &Supervisor, verb: Verb) -> Option<String> {
    let word = match verb {
        Verb::Start => start,
        Verb::Stop => stop,
        Verb::Restart => restart,
        Verb::ResetFailed => return None,
    };
    Some(format!("{}{tool} {word} {}", as_owner(claim), quoted_name(claim)))
}
