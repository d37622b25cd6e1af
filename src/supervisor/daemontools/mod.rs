//! daemontools, through `supervise` and `svc`.

use super::service_directory::ServiceDirectories;
use crate::model::SupervisorKind;

/// See the documentation of the module.
pub const DAEMONTOOLS: ServiceDirectories = ServiceDirectories {
    kind: SupervisorKind::Daemontools,
    process: &["supervise"],
    tool: "svc",
    start: "-u",
    stop: "-d",
    restart: "-t",
};
