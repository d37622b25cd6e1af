//! runit, through `runsv` and sv(8).

use super::service_directory::ServiceDirectories;
use crate::model::SupervisorKind;

/// See the documentation of the module.
pub const RUNIT: ServiceDirectories = ServiceDirectories {
    kind: SupervisorKind::Runit,
    process: &["runsv"],
    tool: "sv",
    start: "up",
    stop: "down",
    restart: "restart",
};
