//! The role of a process between the server and pid 1, by its name and command line.

use super::{BACKENDS, SupervisorBackend};
use crate::model::text::printable;
use crate::model::{Note, Role, SupervisorKind};
use crate::parse::command::{CommandRole, is_python, is_shell, program_name, recognise};

/// A role, a name, and the evidence for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Classified {
    /// The role.
    pub role: Role,
    /// For a supervisor the text of `Supervisor::kind`, else the program.
    pub name: Option<String>,
    /// Evidence.
    pub evidence: String,
}

/// Supervisors that this version cannot query, by the name of their process, which is also that of their kind.
const NOT_QUERIED: &[(&str, &str)] = &[
    ("circusd", "circus"),
    ("monit", "monit"),
    ("god", "god"),
    ("foreman", "foreman"),
    ("honcho", "honcho"),
    ("overmind", "overmind"),
    ("process-compose", "process-compose"),
];

/// Parents of those supervisors, and other programs that start processes on behalf of users.
const OTHERS: &[(&str, Role)] = &[
    ("runsvdir", Role::Supervisor),
    ("s6-svscan", Role::Supervisor),
    ("svscan", Role::Supervisor),
    ("svscanboot", Role::Supervisor),
    ("containerd-shim", Role::ContainerRuntime),
    ("containerd-shim-runc-v2", Role::ContainerRuntime),
    ("conmon", Role::ContainerRuntime),
    ("crun", Role::ContainerRuntime),
    ("runc", Role::ContainerRuntime),
    ("tmux", Role::TerminalMultiplexer),
    ("tmux: server", Role::TerminalMultiplexer),
    ("screen", Role::TerminalMultiplexer),
    ("SCREEN", Role::TerminalMultiplexer),
    ("zellij", Role::TerminalMultiplexer),
    ("dtach", Role::TerminalMultiplexer),
    ("abduco", Role::TerminalMultiplexer),
    ("sshd", Role::RemoteLogin),
    ("sshd-session", Role::RemoteLogin),
    ("mosh-server", Role::RemoteLogin),
    ("login", Role::RemoteLogin),
    ("dropbear", Role::RemoteLogin),
    ("cron", Role::Scheduler),
    ("crond", Role::Scheduler),
    ("anacron", Role::Scheduler),
    ("atd", Role::Scheduler),
    ("tini", Role::Init),
    ("dumb-init", Role::Init),
    ("docker-init", Role::Init),
    ("catatonit", Role::Init),
    ("su", Role::Wrapper),
    ("sudo", Role::Wrapper),
    ("runuser", Role::Wrapper),
    ("setpriv", Role::Wrapper),
    ("gosu", Role::Wrapper),
    ("su-exec", Role::Wrapper),
    ("s6-setuidgid", Role::Wrapper),
    ("setuidgid", Role::Wrapper),
    ("chpst", Role::Wrapper),
    ("nohup", Role::Wrapper),
    ("setsid", Role::Wrapper),
    ("env", Role::Wrapper),
    ("nice", Role::Wrapper),
    ("ionice", Role::Wrapper),
    ("timeout", Role::Wrapper),
    ("caffeinate", Role::Wrapper),
    ("unshare", Role::Wrapper),
    ("bwrap", Role::Wrapper),
];

/// Classifies one ancestor of the server.
pub fn classify(pid: u32, name: &str, argv: &[String]) -> Classified {
    let found = |role, name: &str, evidence: String| Classified {
        role,
        name: Some(printable(name.as_bytes())),
        evidence: printable(evidence.as_bytes()),
    };
    if let Some(command) = recognise(argv).filter(|command| command.certain) {
        let role = match command.role {
            CommandRole::Server => Role::Server,
            CommandRole::Launcher => Role::Launcher,
            CommandRole::RespawnLoop => Role::RespawnLoop,
        };
        return found(
            role,
            command.kind.word(),
            format!("its command line is a {} of {}", role.words(), command.kind.word()),
        );
    }
    let program = argv.first().map_or(name, |first| program_name(first));
    let module = python_module(argv);
    if module.is_some_and(|module| module == "hermes_cli.stderr_timestamp") {
        return found(Role::Wrapper, "stderr_timestamp", Note::LogPrefixer.to_string());
    }
    // A daemon that sets its own title, and one that an interpreter runs.
    let is_interpreter = is_python(program) || matches!(program, "node" | "nodejs" | "bun");
    let script = argv.get(1).map(|script| program_name(script)).filter(|_| is_interpreter);
    let recognised =
        |backend: &&'static dyn SupervisorBackend| Some((backend.kind(), backend.recognise(name, argv, script)?));
    if let Some((kind, evidence)) = BACKENDS.iter().find_map(recognised) {
        return found(Role::Supervisor, kind.word(), evidence.into());
    }
    let title = argv.first().map_or("", String::as_str);
    for candidate in [name, program, module.unwrap_or(""), script.unwrap_or(""), title] {
        let backend = BACKENDS.iter().find(|backend| backend.process_names().contains(&candidate));
        let other = || {
            NOT_QUERIED.iter().find(|(known, _)| *known == candidate).map(|(_, kind)| SupervisorKind::from(*kind))
        };
        if let Some(kind) = backend.map(|backend| backend.kind()).or_else(other) {
            return found(Role::Supervisor, kind.word(), format!("process name {candidate:?}"));
        }
    }
    if pid == 1 {
        return found(Role::Init, program, Note::FirstProcess.to_string());
    }
    for candidate in [name, program] {
        let candidate = candidate.strip_suffix(':').unwrap_or(candidate);
        if let Some((known, role)) = OTHERS.iter().find(|(known, _)| *known == candidate) {
            return found(*role, known, format!("process name {candidate:?}"));
        }
    }
    if program == "systemd" && argv.iter().any(|word| word == "--user") {
        return found(Role::Init, "systemd --user", Note::UserManager.to_string());
    }
    if program == "systemd" {
        return found(Role::Init, "systemd", Note::ManagerBelowInit.to_string());
    }
    if is_shell(program) {
        return found(Role::Shell, program, format!("process name {program:?}"));
    }
    found(Role::Other, program, Note::NoKnownKind.to_string())
}

/// Whether a command line can be that of a server, or of a supervisor or launcher of one: it is recognised as
/// one, or it is an interpreter, whatever the name of its file.
pub fn can_be_of_a_server(argv: &[String]) -> bool {
    let is_interpreter = argv.first().is_some_and(|program| is_python(program_name(program)));
    is_interpreter || recognise(argv).is_some() || !matches!(classify(0, "", argv).role, Role::Init | Role::Other)
}

fn python_module(argv: &[String]) -> Option<&str> {
    let at = argv.iter().position(|word| word == "-m")?;
    is_python(program_name(argv.first()?)).then(|| argv.get(at + 1).map(String::as_str))?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, line: &str) -> (Role, String) {
        let argv = shlex::split(line).unwrap();
        let found = classify(77, name, &argv);
        (found.role, found.name.unwrap_or_default())
    }

    #[test]
    fn arguments_decide_whether_a_process_can_belong_to_a_server() {
        let can = |line: &str| can_be_of_a_server(&shlex::split(line).unwrap());
        for line in [
            "ksh -c 'while true; do hermes dashboard; sleep 5; done'",
            "python3 -c 'import time'",
            "s6-supervise hermes",
            "runsv hermes",
            "/opt/x/hermes gateway run",
        ] {
            assert!(can(line), "{line}");
        }
        for line in ["postgres: writer", "sleep 600", "worker", ""] {
            assert!(!can(line), "{line}");
        }
    }

    #[test]
    fn knows_the_hops_of_real_hosts() {
        for (name, line, expected, called) in [
            ("supervisord", "/usr/bin/python3 /usr/bin/supervisord -n", Role::Supervisor, "supervisord"),
            (
                "python3",
                "/home/h/.pyenv/versions/3.12/bin/python3 /home/h/.pyenv/versions/3.12/bin/supervisord -c x",
                Role::Supervisor,
                "supervisord",
            ),
            ("runsv", "runsv hermes", Role::Supervisor, "runit"),
            ("s6-supervise", "s6-supervise gateway-default", Role::Supervisor, "s6"),
            ("node", "PM2 v5.4.2: God Daemon (/home/h/.pm2)", Role::Supervisor, "pm2"),
            ("node", "node /usr/bin/pm2-runtime start ecosystem.config.js", Role::Supervisor, "pm2"),
            ("node", "node /usr/lib/node_modules/pm2/bin/pm2 start x.py --no-daemon", Role::Supervisor, "pm2"),
            ("node", "node /usr/bin/pm2 list", Role::Other, "node"),
            ("supervise", "supervise hermes", Role::Supervisor, "daemontools"),
            ("tmux: server", "tmux new -d", Role::TerminalMultiplexer, "tmux: server"),
            ("sshd", "sshd: h@pts/0", Role::RemoteLogin, "sshd"),
            ("bash", "-bash", Role::Shell, "bash"),
            ("bash", "bash -c 'while true; do hermes dashboard; done'", Role::RespawnLoop, "dashboard"),
            ("su", "su -s /bin/bash -c x hermeswebui", Role::Wrapper, "su"),
            (
                "python3",
                "python -m hermes_cli.stderr_timestamp --error-log x -- python -m hermes_cli.main gateway run",
                Role::Wrapper,
                "stderr_timestamp",
            ),
            ("systemd", "/usr/lib/systemd/systemd --user", Role::Init, "systemd --user"),
            ("systemd", "/lib/systemd/systemd --system", Role::Init, "systemd"),
            (
                "containerd-shim",
                "/usr/bin/containerd-shim-runc-v2 -id x",
                Role::ContainerRuntime,
                "containerd-shim",
            ),
            ("vim", "vim supervisord", Role::Other, "vim"),
        ] {
            assert_eq!(role(name, line), (expected, called.to_owned()), "{line}");
        }
        assert_eq!(classify(1, "systemd", &["/sbin/init".into()]).role, Role::Init);
    }
}
