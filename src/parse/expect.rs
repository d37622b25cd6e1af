//! `--expect`: the supervisor that should manage the server, as the user writes it.

use crate::model::SupervisorKind;
use std::path::PathBuf;
use std::str::FromStr;

/// The supervisor that should manage the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A unit of the system manager or of a user manager of systemd.
    Systemd {
        /// Unit name with its suffix; `.service` is added if there is none.
        unit: String,
        /// Whether it is a unit of the user manager.
        user: bool,
    },
    /// A job of launchd.
    Launchd(String),
    /// A program of supervisord, `GROUP:NAME` within a group.
    Supervisord(String),
    /// A pm2 program.
    Pm2(String),
    /// A service directory and its kind of supervisor.
    ServiceDirectory(SupervisorKind, PathBuf),
    /// This process, or a descendant of it.
    Pid(u32),
    /// No supervisor: the server is started by hand, on purpose.
    NoSupervisor,
}

/// The accepted forms, for messages.
pub const FORMS: &str = "systemd:UNIT, systemd-user:UNIT, launchd:LABEL, supervisord:PROGRAM, runit:DIR, s6:DIR, daemontools:DIR, pm2:NAME, pid:N or none";

impl Expect {
    /// The supervisor kind, as in `lineage.supervisor.kind`.
    pub fn kind(&self) -> SupervisorKind {
        match self {
            Self::Systemd { user: false, .. } => SupervisorKind::Systemd,
            Self::Systemd { user: true, .. } => SupervisorKind::SystemdUser,
            Self::Launchd(_) => SupervisorKind::Launchd,
            Self::Supervisord(_) => SupervisorKind::Supervisord,
            Self::Pm2(_) => SupervisorKind::Pm2,
            Self::ServiceDirectory(kind, _) => kind.clone(),
            Self::Pid(_) => SupervisorKind::Process,
            Self::NoSupervisor => SupervisorKind::None,
        }
    }

    /// The name that the supervisor uses.
    pub fn name(&self) -> String {
        match self {
            Self::Systemd { unit: name, .. } | Self::Launchd(name) | Self::Supervisord(name) | Self::Pm2(name) => {
                crate::model::text::printable(name.as_bytes())
            }
            Self::ServiceDirectory(_, directory) => {
                crate::model::text::printable(directory.as_os_str().as_encoded_bytes())
            }
            Self::Pid(pid) => pid.to_string(),
            Self::NoSupervisor => String::new(),
        }
    }
}

impl std::fmt::Display for Expect {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSupervisor => out.write_str("--expect none"),
            _ => write!(out, "--expect {}:{}", self.kind(), self.name()),
        }
    }
}

impl FromStr for Expect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == SupervisorKind::None.word() {
            return Ok(Self::NoSupervisor);
        }
        let (word, name) = text.split_once(':').ok_or_else(|| format!("write it as {FORMS}"))?;
        if name.is_empty() || name.starts_with('-') || name.contains(char::is_control) || name.len() > 4096 {
            return Err(format!("{word}: needs a valid name after the colon; write it as {FORMS}"));
        }
        let kind = SupervisorKind::from(word);
        Ok(match kind {
            SupervisorKind::Systemd | SupervisorKind::SystemdUser => {
                let has_suffix = name.rsplit_once('.').is_some_and(|(_, suffix)| suffix == "service");
                let unit = if has_suffix { name.to_owned() } else { format!("{name}.service") };
                Self::Systemd { unit, user: kind == SupervisorKind::SystemdUser }
            }
            SupervisorKind::Launchd => Self::Launchd(name.to_owned()),
            SupervisorKind::Supervisord => Self::Supervisord(name.to_owned()),
            SupervisorKind::Pm2 => Self::Pm2(name.to_owned()),
            _ if kind.has_service_directories() => {
                let path = PathBuf::from(name);
                Self::ServiceDirectory(kind, std::path::absolute(&path).unwrap_or(path))
            }
            SupervisorKind::Process => match name.parse() {
                Ok(1) => {
                    return Err("pid 1 is an ancestor of every process, so it identifies no supervisor".to_owned());
                }
                Ok(pid) if pid > 1 => Self::Pid(pid),
                _ => return Err(format!("{name:?} is not a pid")),
            },
            _ => return Err(format!("{word:?} is not a known supervisor; write it as {FORMS}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_form() {
        for (text, expected) in [
            ("systemd:hermes-webui", Expect::Systemd { unit: "hermes-webui.service".into(), user: false }),
            ("systemd-user:a@b.service", Expect::Systemd { unit: "a@b.service".into(), user: true }),
            ("launchd:ai.hermes.gateway", Expect::Launchd("ai.hermes.gateway".into())),
            ("supervisord:hermes:webui", Expect::Supervisord("hermes:webui".into())),
            (
                "runit:/etc/service/hermes",
                Expect::ServiceDirectory(SupervisorKind::Runit, "/etc/service/hermes".into()),
            ),
            ("s6:/run/service/x", Expect::ServiceDirectory(SupervisorKind::S6, "/run/service/x".into())),
            ("daemontools:/service/x", Expect::ServiceDirectory(SupervisorKind::Daemontools, "/service/x".into())),
            ("pm2:hermes", Expect::Pm2("hermes".into())),
            ("pid:4711", Expect::Pid(4711)),
            ("none", Expect::NoSupervisor),
        ] {
            assert_eq!(text.parse(), Ok(expected.clone()), "{text}");
            if !text.contains("hermes-webui") {
                assert_eq!(expected.to_string(), format!("--expect {text}"));
            }
        }
    }

    #[test]
    fn a_parse_error_shows_the_expected_syntax() {
        for bad in
            ["", "systemd", "systemd:", "systemd:-H", "openrc:x", "pid:x", "pid:0", "pid:1", "runit:\u{1b}[31m"]
        {
            assert!(bad.parse::<Expect>().is_err(), "{bad}");
        }
        assert!("openrc:x".parse::<Expect>().unwrap_err().contains("systemd:UNIT"));
    }
}
