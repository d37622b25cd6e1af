//! pm2: its daemon answers on `rpc.sock` in its home.

mod advice;
mod query;
pub mod wire;

use super::advice::Verb;
use super::{Program, SupervisorBackend, SupervisorProcess};
use crate::collect::{Collected, Host};
use crate::model::{Gap, Supervisor, SupervisorKind};

/// See the documentation of the module.
pub struct Pm2;

impl SupervisorBackend for Pm2 {
    fn kind(&self) -> SupervisorKind {
        SupervisorKind::Pm2
    }

    fn recognise(&self, name: &str, argv: &[String], script: Option<&str>) -> Option<&'static str> {
        let title = argv.first().map_or("", String::as_str);
        if title == "PM2" || title.starts_with("PM2 ") || name.starts_with("PM2 ") {
            return Some("its title is PM2's daemon");
        }
        let stays = argv.iter().any(|word| word == "--no-daemon");
        let is_in_foreground = script == Some("pm2-runtime") || stays && matches!(script, Some("pm2" | "pm2-dev"));
        is_in_foreground.then_some("its command line is pm2 in the foreground")
    }

    fn expected_name_placeholder(&self) -> Option<&'static str> {
        Some("NAME")
    }

    fn programs(&self, host: &dyn Host, supervisor: &SupervisorProcess) -> Result<Collected<Vec<Program>>, Gap> {
        query::programs(host, supervisor)
    }

    fn command(&self, claim: &Supervisor, verb: Verb) -> Option<String> {
        advice::command(claim, verb)
    }
}
