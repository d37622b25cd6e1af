//! Control groups and the systemd units and containers that they name.

use crate::model::SupervisorKind;
use procfs_core::{FromBufRead, ProcessCGroups};

/// The path that names the unit, from `/proc/PID/cgroup` (cgroups(7)): that of the unified hierarchy or, on a
/// hybrid host where the unified path is the root, that of systemd's named hierarchy.
pub fn path_of(bytes: &[u8]) -> Option<String> {
    let mut unified = None;
    let mut named = None;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // A line that does not parse must not discard the other lines.
        let Ok(groups) = ProcessCGroups::from_buf_read(line) else { continue };
        for group in groups.0 {
            let path = crate::model::text::printable(group.pathname.as_bytes());
            if group.hierarchy == 0 {
                unified = Some(path);
            } else if group.controllers.iter().any(|name| name == "name=systemd") {
                named = Some(path);
            }
        }
    }
    match (unified, named) {
        (Some(path), Some(named)) if path == "/" => Some(named),
        (Some(path), _) | (None, Some(path)) => Some(path),
        (None, None) => None,
    }
}

/// A systemd unit, and the manager that runs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Unit name, for example `hermes-webui.service`.
    pub name: String,
    /// Uid of the user manager that runs it; `None` for the system manager.
    pub user_manager: Option<u32>,
}

impl Unit {
    /// The supervisor kind of the unit's manager.
    pub fn kind(&self) -> SupervisorKind {
        if self.user_manager.is_some() { SupervisorKind::SystemdUser } else { SupervisorKind::Systemd }
    }
}

/// The service unit of a control group path. Scopes (logins, terminals, containers) and slices do not restart
/// processes, so they are not supervisors.
///
/// Paths have the form `/system.slice/X.service` or
/// `/user.slice/user-1000.slice/user@1000.service/app.slice/X.service`. A service may have control groups of
/// its own below that of its unit.
pub fn unit_of(path: &str) -> Option<Unit> {
    let mut user_manager = None;
    let mut unit = None;
    for part in path.split('/') {
        let manager = part.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service"));
        // Below a user manager, and below a unit, the user chooses the names.
        let is_manager = user_manager.is_none() && unit.is_none();
        if let Some(uid) = manager.and_then(|uid| uid.parse().ok()).filter(|_| is_manager) {
            user_manager = Some(uid);
        } else if part.ends_with(".service") && unit.is_none() {
            unit = Some(part.to_owned());
        } else if part.ends_with(".scope") {
            // A process below a scope belongs to the creator of the scope, not to a service above it.
            unit = None;
            break;
        }
    }
    unit.map(|name| Unit { name, user_manager })
}

/// The user of the user manager in a control group path. That user chooses the names below it.
pub fn delegated_to(path: &str) -> Option<u32> {
    path.split('/').find_map(|part| part.strip_prefix("user@")?.strip_suffix(".service")?.parse().ok())
}

/// The container of a control group path: the name of its runtime and its short id.
pub fn container_of(path: &str) -> Option<(SupervisorKind, String)> {
    for part in path.rsplit('/') {
        let name = part.strip_suffix(".scope").unwrap_or(part);
        let found =
            [("docker-", "docker"), ("libpod-", "podman"), ("cri-containerd-", "containerd"), ("crio-", "cri-o")]
                .into_iter()
                .find_map(|(prefix, runtime)| Some((runtime, name.strip_prefix(prefix)?)));
        if let Some((runtime, id)) = found.filter(|(_, id)| is_container_id(id)) {
            return Some((SupervisorKind::from(runtime), id.chars().take(12).collect()));
        }
    }
    // cgroup v1 with the cgroupfs driver: /docker/ID
    let (parent, id) = path.rsplit_once('/')?;
    (parent.ends_with("/docker") && is_container_id(id))
        .then(|| (SupervisorKind::Docker, id.chars().take(12).collect()))
}

fn is_container_id(id: &str) -> bool {
    id.len() >= 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefers_the_unified_hierarchy_unless_it_is_the_root() {
        assert_eq!(path_of(b"0::/system.slice/a.service\n").as_deref(), Some("/system.slice/a.service"));
        assert_eq!(
            path_of(b"4:memory:/x\n1:name=systemd:/system.slice/a.service\n0::/\n").as_deref(),
            Some("/system.slice/a.service")
        );
        assert_eq!(path_of(b"garbage\n"), None);
    }

    #[test]
    fn names_units_of_both_managers() {
        let unit = unit_of("/system.slice/hermes-webui.service").unwrap();
        assert_eq!((unit.name.as_str(), unit.user_manager), ("hermes-webui.service", None));
        let unit = unit_of("/user.slice/user-1000.slice/user@1000.service/app.slice/hermes-webui.service").unwrap();
        assert_eq!((unit.name.as_str(), unit.user_manager), ("hermes-webui.service", Some(1000)));
        let forged = "/user.slice/user-4000.slice/user@4000.service/app.slice/user@0.service/app.slice/x.service";
        assert_eq!(unit_of(forged).unwrap().user_manager, Some(4000));
        assert_eq!(delegated_to(forged), Some(4000));
        let forged = unit_of("/system.slice/of-4000.service/user@0.service/app.slice/x.service").unwrap();
        assert_eq!((forged.name.as_str(), forged.user_manager), ("of-4000.service", None));
        let unit = unit_of("/system.slice/x.service/worker").unwrap();
        assert_eq!(unit.name, "x.service");
    }

    #[test]
    fn logins_and_terminals_are_no_services() {
        assert_eq!(unit_of("/user.slice/user-1000.slice/session-3.scope"), None);
        assert_eq!(unit_of("/user.slice/user-0.slice/user@0.service/init.scope"), None);
        assert_eq!(unit_of("/user.slice/user-0.slice/user@0.service/app.slice/tmux-spawn-1.scope"), None);
        assert_eq!(unit_of("/"), None);
    }

    #[test]
    fn names_containers() {
        let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(
            container_of(&format!("/system.slice/docker-{id}.scope")),
            Some((SupervisorKind::Docker, "0123456789ab".into()))
        );
        assert_eq!(container_of(&format!("/docker/{id}")), Some((SupervisorKind::Docker, "0123456789ab".into())));
        assert_eq!(container_of("/system.slice/docker.service"), None);
    }
}
