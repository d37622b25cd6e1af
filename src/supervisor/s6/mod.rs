//! s6, through `s6-supervise` and `s6-svc`.

use super::service_directory::ServiceDirectories;
use crate::model::SupervisorKind;

/// See the documentation of the module.
pub const S6: ServiceDirectories = ServiceDirectories {
    kind: SupervisorKind::S6,
    process: &["s6-supervise"],
    tool: "s6-svc",
    start: "-u",
    stop: "-d",
    restart: "-r",
};
