//! The commands for the user: the right command for each supervisor and scope. The doctor itself runs none of them.

use super::backend_of;
use crate::model::Supervisor;

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

impl Verb {
    /// Its word, as most supervisors have it; `None` for [`Verb::ResetFailed`], which only systemd needs.
    pub fn plain_word(self) -> Option<&'static str> {
        match self {
            Self::Start => Some("start"),
            Self::Stop => Some("stop"),
            Self::Restart => Some("restart"),
            Self::ResetFailed => None,
        }
    }
}

/// The command for an action; `None` if no command is known for this supervisor.
pub fn command(claim: &Supervisor, verb: Verb) -> Option<String> {
    backend_of(&claim.kind)?.command(claim, verb)
}

/// The command that prints the end of the log with the reason of the failed starts. Text of a supervisor is
/// quoted as one word: a log may be called `x; reboot`.
pub fn log_command(claim: &Supervisor) -> Option<String> {
    let log = claim.log.as_deref()?;
    if log.starts_with('/') {
        return Some(format!("{}tail -n 100 {}", as_owner(claim), quoted(log)));
    }
    let name = claim.name.as_deref().filter(|name| !name.starts_with('-')).map(quoted)?;
    backend_of(&claim.kind)?.log_command(claim, &name)
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

/// The name of a program, quoted for a shell.
pub fn quoted_name(claim: &Supervisor) -> String {
    quoted(claim.name.as_deref().unwrap_or_default())
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
