//! Commands for the user: the right command for each supervisor and scope. The doctor itself runs none of them.

use crate::model::{ClaimState, NextStep, Server, Supervisor, SupervisorKind};

/// An action on a supervisor's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start it.
    Start,
    /// Stop it and prevent further starts.
    Stop,
    /// Stop it and start it again.
    Restart,
    /// Make its manager forget its failed starts, so that it can be started again.
    ResetFailed,
}

/// The command for an action; `None` if no command is known for this supervisor.
pub fn command(claim: &Supervisor, verb: Verb) -> Option<String> {
    let name = quoted(claim.name.as_deref().unwrap_or_default());
    // Only systemd refuses to start a unit because of its failed starts.
    if verb == Verb::ResetFailed && !claim.kind.is_systemd() {
        return None;
    }
    let of = |start, stop, restart| match verb {
        Verb::Start => start,
        Verb::Stop => stop,
        Verb::Restart => restart,
        Verb::ResetFailed => "reset-failed",
    };
    let word = of("start", "stop", "restart");
    let scope = claim.scope.as_deref().unwrap_or_default();
    let own = as_owner(claim);
    Some(match &claim.kind {
        SupervisorKind::Systemd => format!("systemctl {word} {name}"),
        SupervisorKind::SystemdUser => match manager_of(claim) {
            Some(user) => {
                format!("sudo -u '#{user}' XDG_RUNTIME_DIR=/run/user/{user} systemctl --user {word} {name}")
            }
            None => format!("systemctl --user {word} {name}"),
        },
        SupervisorKind::Launchd => {
            let target = quoted(&format!("{scope}/{}", claim.name.as_deref().unwrap_or_default()));
            match (verb, &claim.configuration) {
                (Verb::Stop, _) => format!("launchctl bootout {target}"),
                (Verb::Start, Some(plist)) if claim.claim_state == ClaimState::Idle => {
                    format!("launchctl bootstrap {} {}", quoted(scope), quoted(plist))
                }
                (Verb::Start, _) => format!("launchctl kickstart {target}"),
                _ => format!("launchctl kickstart -k {target}"),
            }
        }
        SupervisorKind::Supervisord => {
            // supervisorctl reads these paths by default (Supervisor, "Configuration File").
            let usual = ["/etc/supervisord.conf", "/etc/supervisor/supervisord.conf"];
            let file = claim.configuration.as_deref().filter(|file| !usual.contains(file));
            let option = file.map_or(String::new(), |file| format!("-c {} ", quoted(file)));
            format!("{own}supervisorctl {option}{word} {name}")
        }
        SupervisorKind::Runit => format!("{own}sv {} {name}", of("up", "down", "restart")),
        SupervisorKind::S6 => format!("{own}s6-svc {} {name}", of("-u", "-d", "-r")),
        SupervisorKind::Daemontools => format!("{own}svc {} {name}", of("-u", "-d", "-t")),
        SupervisorKind::Pm2 => {
            // sudo does not keep HOME, where pm2 searches for its daemon.
            let home = claim.configuration.as_deref().filter(|_| claim.owner.is_some());
            let home = home.map_or(String::new(), |home| format!("PM2_HOME={} ", quoted(home)));
            format!("{own}{home}pm2 {word} {name}")
        }
        kind if kind.is_container_runtime() && claim.name.is_some() => format!("{kind} {word} {name}"),
        SupervisorKind::RespawnLoop if verb == Verb::Stop => format!("kill {}", claim.pid?),
        _ => return None,
    })
}

/// The command that prints the end of the log with the reason of the failed starts. Text of a supervisor is
/// quoted as one word: a log may be called `x; reboot`.
pub fn log_command(claim: &Supervisor) -> Option<String> {
    let log = claim.log.as_deref()?;
    if log.starts_with('/') {
        return Some(format!("{}tail -n 100 {}", as_owner(claim), quoted(log)));
    }
    let name = claim.name.as_deref().filter(|name| !name.starts_with('-')).map(quoted)?;
    match &claim.kind {
        kind if kind.is_container_runtime() => Some(format!("{kind} logs {name} --tail 100")),
        SupervisorKind::Systemd => Some(format!("journalctl -u {name} -n 100 --no-pager")),
        SupervisorKind::SystemdUser => Some(match manager_of(claim) {
            Some(user) => format!("journalctl _UID={user} _SYSTEMD_USER_UNIT={name} -n 100 --no-pager"),
            None => format!("journalctl --user -u {name} -n 100 --no-pager"),
        }),
        _ => None,
    }
}

/// The user of the systemd user manager, if it is not the user that runs the doctor.
fn manager_of(claim: &Supervisor) -> Option<u32> {
    claim.scope.as_deref()?.strip_prefix("user ")?.parse().ok()
}

/// Prefix that runs a command as the user that runs the supervisor. As root it would use root's configuration
/// instead of that user's; as an ordinary user it would not reach the supervisor of another user.
pub fn as_owner(claim: &Supervisor) -> String {
    match claim.owner {
        None => String::new(),
        Some(0) => "sudo ".to_owned(),
        Some(uid) => format!("sudo -u '#{uid}' "),
    }
}

/// A word quoted for a shell. A printable text cannot contain a NUL, which no shell accepts.
pub fn quoted(word: &str) -> String {
    shlex::try_quote(word).map_or_else(|_| word.to_owned(), std::borrow::Cow::into_owned)
}

/// Steps that save what is lost when the process ends. They come before any step that ends it.
pub fn before_it_ends(server: &Server) -> Vec<NextStep> {
    let mut steps = Vec::new();
    let deleted = server.descriptors.iter().flat_map(|facts| &facts.sqlite).find(|family| family.deleted > 0);
    if let (Some(family), Some(pid)) = (deleted, server.pid) {
        steps.push(NextStep::say(format!(
            "Before it ends, copy what it holds unlinked of {} (below /proc/{pid}/fd): with the process that is lost",
            family.path
        )));
    }
    let answer = server.health.as_ref().and_then(|health| health.answer.as_ref());
    if let Some(streams) = answer.and_then(|answer| answer.active_streams).filter(|streams| *streams > 0) {
        steps.push(NextStep::say(format!("It has {streams} open streams, which end with it")));
    }
    steps
}

/// The warning that stopping a unit also ends the server, which is not its main process.
pub fn stop_takes_all(claim: &Supervisor) -> Option<NextStep> {
    (claim.stops_group == Some(true) && claim.kind.is_systemd()).then(|| {
        NextStep::say("Stopping the unit ends every process of its control group, the server that answers now too")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(kind: &str, name: &str, scope: Option<&str>) -> Supervisor {
        Supervisor {
            kind: kind.into(),
            name: Some(name.into()),
            scope: scope.map(str::to_owned).map(Into::into),
            pid: Some(7),
            ..Supervisor::default()
        }
    }

    #[test]
    fn every_supervisor_has_its_own_words() {
        for (kind, name, scope, expected) in [
            ("systemd", "a.service", Some("system"), "systemctl restart a.service"),
            ("systemd-user", "a.service", Some("user"), "systemctl --user restart a.service"),
            (
                "systemd-user",
                "a.service",
                Some("user 1000"),
                "sudo -u '#1000' XDG_RUNTIME_DIR=/run/user/1000 systemctl --user restart a.service",
            ),
            ("launchd", "ai.hermes.gateway", Some("gui/501"), "launchctl kickstart -k gui/501/ai.hermes.gateway"),
            ("supervisord", "hermes:webui", None, "supervisorctl restart hermes:webui"),
            ("runit", "/etc/service/my hermes", None, "sv restart '/etc/service/my hermes'"),
            ("s6", "/run/service/x", None, "s6-svc -r /run/service/x"),
            ("daemontools", "/service/x", None, "svc -t /service/x"),
            ("pm2", "hermes", None, "pm2 restart hermes"),
            ("docker", "webui", None, "docker restart webui"),
        ] {
            assert_eq!(command(&claim(kind, name, scope), Verb::Restart).as_deref(), Some(expected));
        }
        assert_eq!(command(&claim("respawn-loop", "x", None), Verb::Stop).as_deref(), Some("kill 7"));
        assert_eq!(command(&claim("none", "", None), Verb::Restart), None);
        for (kind, scope, expected) in [
            ("systemd", "system", Some("systemctl reset-failed a.service")),
            ("systemd-user", "user", Some("systemctl --user reset-failed a.service")),
            (
                "systemd-user",
                "user 1000",
                Some("sudo -u '#1000' XDG_RUNTIME_DIR=/run/user/1000 systemctl --user reset-failed a.service"),
            ),
            ("supervisord", "", None),
            ("launchd", "gui/501", None),
        ] {
            let reset = command(&claim(kind, "a.service", Some(scope)), Verb::ResetFailed);
            assert_eq!(reset.as_deref(), expected, "{kind} {scope}");
        }
        let of_user = |kind| Supervisor { owner: Some(1000), ..claim(kind, "x", None) };
        for (claim, expected) in [
            (of_user("runit"), "sudo -u '#1000' sv restart x"),
            (
                Supervisor { configuration: Some("/home/h/s.conf".into()), ..of_user("supervisord") },
                "sudo -u '#1000' supervisorctl -c /home/h/s.conf restart x",
            ),
            (
                Supervisor { configuration: Some("/home/h/.pm2".into()), ..of_user("pm2") },
                "sudo -u '#1000' PM2_HOME=/home/h/.pm2 pm2 restart x",
            ),
            (Supervisor { owner: Some(0), ..claim("s6", "x", None) }, "sudo s6-svc -r x"),
        ] {
            assert_eq!(command(&claim, Verb::Restart).as_deref(), Some(expected));
        }
        let elsewhere = Supervisor { configuration: Some("/srv/s.conf".into()), ..claim("supervisord", "x", None) };
        assert_eq!(command(&elsewhere, Verb::Stop).as_deref(), Some("supervisorctl -c /srv/s.conf stop x"));
    }
}
