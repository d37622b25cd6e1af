//! `--expect`: the supervisor that should manage the server, as the user writes it.

use super::{BACKENDS, backend_of};
use crate::model::SupervisorKind;
use crate::model::text::printable;
use std::str::FromStr;

/// The supervisor that should manage the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// A program of a supervisor.
    Program {
        /// The supervisor.
        kind: SupervisorKind,
        /// The name of the program, for that supervisor: a unit with its suffix, a label, an absolute path.
        name: String,
    },
    /// This process, or a descendant of it.
    Pid(u32),
    /// No supervisor: the server is started by hand, on purpose.
    NoSupervisor,
}

/// The accepted forms, such as `systemd:UNIT`.
pub fn forms() -> Vec<String> {
    let of_programs = BACKENDS
        .iter()
        .filter_map(|backend| Some(format!("{}:{}", backend.kind(), backend.expected_name_placeholder()?)));
    of_programs.chain(["pid:N".to_owned(), "none".to_owned()]).collect()
}

/// The accepted forms as a phrase, for help and messages.
pub fn forms_in_words() -> String {
    let forms = forms();
    let (last, others) =
        forms.split_last().map_or(("", forms.as_slice()), |(last, others)| (last.as_str(), others));
    format!("{} or {last}", others.join(", "))
}

impl Expect {
    /// The supervisor kind, as in `lineage.supervisor.kind`.
    pub fn kind(&self) -> SupervisorKind {
        match self {
            Self::Program { kind, .. } => kind.clone(),
            Self::Pid(_) => SupervisorKind::Process,
            Self::NoSupervisor => SupervisorKind::None,
        }
    }

    /// The name that the supervisor uses.
    pub fn name(&self) -> String {
        match self {
            Self::Program { name, .. } => printable(name.as_bytes()),
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
        let forms = forms_in_words();
        let (word, name) = text.split_once(':').ok_or_else(|| format!("write it as {forms}"))?;
        if name.is_empty() || name.starts_with('-') || name.contains(char::is_control) || name.len() > 4096 {
            return Err(format!("{word}: needs a valid name after the colon; write it as {forms}"));
        }
        let kind = SupervisorKind::from(word);
        if kind == SupervisorKind::Process {
            return match name.parse() {
                Ok(1) => Err("pid 1 is an ancestor of every process, so it identifies no supervisor".to_owned()),
                Ok(pid) if pid > 1 => Ok(Self::Pid(pid)),
                _ => Err(format!("{name:?} is not a pid")),
            };
        }
        let backend = backend_of(&kind).filter(|backend| backend.expected_name_placeholder().is_some());
        let backend = backend.ok_or_else(|| format!("{word:?} is not a known supervisor; write it as {forms}"))?;
        Ok(Self::Program { kind, name: backend.expected_name(name) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use SupervisorKind as K;

    fn program(kind: K, name: &str) -> Expect {
        Expect::Program { kind, name: name.into() }
    }

    #[test]
    fn reads_every_form() {
        for (text, expected) in [
            ("systemd:hermes-webui", program(K::Systemd, "hermes-webui.service")),
            ("systemd-user:a@b.service", program(K::SystemdUser, "a@b.service")),
            ("launchd:ai.hermes.gateway", program(K::Launchd, "ai.hermes.gateway")),
            ("supervisord:hermes:webui", program(K::Supervisord, "hermes:webui")),
            ("runit:/etc/service/hermes", program(K::Runit, "/etc/service/hermes")),
            ("s6:/run/service/x", program(K::S6, "/run/service/x")),
            ("daemontools:/service/x", program(K::Daemontools, "/service/x")),
            ("pm2:hermes", program(K::Pm2, "hermes")),
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
            ["", "systemd", "systemd:", "systemd:-H", "launchctl:x", "pid:x", "pid:0", "pid:1", "runit:\u{1b}[31m"]
        {
            assert!(bad.parse::<Expect>().is_err(), "{bad}");
        }
        assert!("launchctl:x".parse::<Expect>().unwrap_err().contains("systemd:UNIT"));
    }
}
