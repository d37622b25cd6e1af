//! Command lines of Hermes servers, their launchers and respawn loops.
//!
//! argv is parsed as a command, never searched for a substring: `bash -c "while true; do hermes dashboard;
//! done"` is a respawn loop, not a dashboard, and `vim server.py` is an editor.

use crate::model::ServerKind;

/// What a recognised command does for its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandRole {
    /// The server itself.
    Server,
    /// Starts the server: a bootstrap or start script.
    Launcher,
    /// Starts the server again each time it ends.
    RespawnLoop,
}

/// A command line that belongs to a Hermes server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HermesCommand {
    /// Kind of server.
    pub kind: ServerKind,
    /// Role of the command.
    pub role: CommandRole,
    /// Port in the arguments; `Some(0)` requests any free port.
    pub port: Option<u16>,
    /// Profile in the arguments.
    pub profile: Option<String>,
    /// Home in the arguments (a demo scenario names it).
    pub home: Option<String>,
    /// The script, module or program by which the command was recognised.
    pub program: String,
    /// False where another program could have the same command line (`python server.py`). Other evidence must
    /// confirm it.
    pub certain: bool,
    /// A test server of a demo scenario: reported only when it is requested.
    pub demo: bool,
}

/// Hidden subcommand of this program that runs a test server.
pub const DEMO_SERVER: &str = "demo-server";

/// Recognises a command line; `None` for any other program.
pub fn recognise<S: AsRef<str>>(argv: &[S]) -> Option<HermesCommand> {
    let words: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
    recognise_words(&words)
}

/// Recognises a command as it is configured. Wrappers before it that set its user, limits or environment are
/// skipped. A running `sudo hermes dashboard` is not a dashboard, but a unit with this command runs one.
pub fn recognise_configured<S: AsRef<str>>(argv: &[S]) -> Option<HermesCommand> {
    let words: Vec<&str> = argv.iter().map(AsRef::as_ref).collect();
    let mut rest = words.as_slice();
    for _ in 0..MAX_WRAPPERS {
        match wrapped(rest) {
            Some(Wrapped::Words(inner)) => rest = inner,
            Some(Wrapped::Text(text)) => return shell_text(text),
            None => break,
        }
    }
    recognise_words(rest)
}

/// Maximum number of wrappers around one command that are skipped.
const MAX_WRAPPERS: usize = 8;

/// Programs that run another program: name, options that take a value as a separate word, and number of plain
/// words before the command (a user, a directory, a priority).
const WRAPPERS: &[(&str, &str, usize)] = &[
    ("caffeinate", "-t -w", 0),
    ("catatonit", "", 0),
    ("chpst", "-u -U -b -e -/ -n -l -L -m -d -o -p -f -c -r -t", 0),
    ("chrt", "-T -P -D", 1),
    ("command", "", 0),
    ("dumb-init", "-r --rewrite", 0),
    ("env", "-u --unset -C --chdir", 0),
    ("envdir", "", 1),
    ("exec", "-a", 0),
    ("gosu", "", 1),
    ("ionice", "-c --class -n --classdata", 0),
    ("nice", "-n --adjustment", 0),
    ("nohup", "", 0),
    ("prlimit", "", 0),
    ("runuser", "-u --user -g --group -G --supp-group -s --shell -w", 0),
    ("s6-envdir", "-c", 1),
    ("s6-setuidgid", "", 1),
    ("s6-softlimit", "-a -c -d -f -l -m -o -p -r -s -t", 0),
    (
        "setpriv",
        "--reuid --regid --ruid --euid --rgid --egid --groups --pdeathsig --ambient-caps --inh-caps --bounding-set --securebits",
        0,
    ),
    ("setsid", "", 0),
    ("setuidgid", "", 1),
    ("softlimit", "-a -c -d -f -l -m -o -p -r -s -t", 0),
    ("stdbuf", "-i -o -e --input --output --error", 0),
    ("su", "-s --shell -g --group -G --supp-group -w", 0),
    ("su-exec", "", 1),
    ("sudo", "-u --user -g --group -h --host -p --prompt -C -r -t -T -U -D --chdir", 0),
    ("systemd-cat", "-t -p --identifier --priority", 0),
    ("taskset", "", 1),
    ("time", "-f -o", 0),
    ("timeout", "-k --kill-after -s --signal", 1),
    ("tini", "-e -p", 0),
];

/// The command that a wrapper runs.
enum Wrapped<'w, 'a> {
    Words(&'w [&'a str]),
    /// Text after `-c`, for a shell.
    Text(&'a str),
}

fn wrapped<'w, 'a>(words: &'w [&'a str]) -> Option<Wrapped<'w, 'a>> {
    let (program, mut rest) = words.split_first()?;
    let name = program_name(program);
    let (_, with_value, plain) = WRAPPERS.iter().find(|(known, ..)| *known == name)?;
    let takes_text = matches!(name, "su" | "runuser");
    while let Some((word, after)) = rest.split_first() {
        match *word {
            "--" => {
                rest = after;
                break;
            }
            "-c" | "--command" if takes_text => return after.first().map(|text| Wrapped::Text(text)),
            option if with_value.split(' ').any(|known| known == option) => rest = after.get(1..)?,
            option if option.starts_with('-') && option.len() > 1 => rest = after,
            // `su hermes -c TEXT`, `su - hermes -c TEXT`: the command follows the user.
            _ if takes_text && after.iter().any(|word| matches!(*word, "-c" | "--command")) => rest = after,
            assignment if matches!(name, "env" | "sudo" | "exec") && is_assignment(assignment) => rest = after,
            _ => break,
        }
    }
    let inner = rest.get(*plain..)?;
    (!inner.is_empty()).then_some(Wrapped::Words(inner))
}

fn recognise_words(words: &[&str]) -> Option<HermesCommand> {
    let (program, rest) = words.split_first()?;
    let name = program_name(program);
    if is_python(name) {
        return python(rest);
    }
    if is_shell(name) {
        return shell(rest);
    }
    script(program, rest)
}

/// Base name of a program, without directories, the dash of a login shell and the affixes of a Nix wrapper.
pub fn program_name(program: &str) -> &str {
    let name = program.rsplit('/').next().unwrap_or(program);
    let name = name.strip_prefix('-').unwrap_or(name);
    match name.strip_prefix('.').and_then(|name| name.strip_suffix("-wrapped")) {
        Some(wrapped) => wrapped,
        None => name,
    }
}

/// Whether a base name is that of a Python interpreter.
pub fn is_python(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    ["python", "pypy"].iter().any(|stem| {
        lower.strip_prefix(stem).is_some_and(|version| {
            version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b't')
        })
    })
}

/// Whether a base name is that of a shell.
pub fn is_shell(name: &str) -> bool {
    matches!(name, "sh" | "bash" | "dash" | "zsh" | "fish" | "ksh" | "ash" | "busybox")
}

/// Whether an executable runs other programs, so that the command line identifies the program and the path of
/// the executable does not: interpreters, loaders, emulators, and programs that every user or service has an
/// instance of.
pub fn runs_others(executable: &[u8]) -> bool {
    let path = String::from_utf8_lossy(executable).to_ascii_lowercase();
    let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
    let name = program_name(path);
    let others =
        ["python", "pypy", "hermes", "node", "bun", "deno", "ld-", "ld.so", "qemu-", "box64", "memfd:", "systemd"];
    is_shell(name) || others.iter().any(|part| name.contains(part))
}

/// Finds the script or module of a Python command line (the interpreter's options are those of python(1)).
fn python(mut rest: &[&str]) -> Option<HermesCommand> {
    loop {
        let (word, after) = rest.split_first()?;
        match *word {
            "-m" => {
                let (module, arguments) = after.split_first()?;
                return python_module(module, arguments);
            }
            "-c" | "-" => return None,
            "-X" | "-W" | "--check-hash-based-pycs" => rest = after.get(1..)?,
            option if option.starts_with('-') => rest = after,
            path => return script(path, after),
        }
    }
}

fn python_module(module: &str, arguments: &[&str]) -> Option<HermesCommand> {
    match module {
        "hermes_cli.main" | "hermes_cli" => hermes(module, arguments),
        "gateway.run" => Some(server(ServerKind::Gateway, module, arguments)),
        _ => None,
    }
}

/// A program or script by its path.
fn script(path: &str, arguments: &[&str]) -> Option<HermesCommand> {
    if arguments.first() == Some(&DEMO_SERVER) {
        return demo_server(path, arguments);
    }
    match program_name(path) {
        "hermes" => hermes(path, arguments),
        "hermes-webui" => Some(server(ServerKind::Webui, path, arguments)),
        "hermes-gateway" => Some(server(ServerKind::Gateway, path, arguments)),
        "server.py" => {
            Some(HermesCommand { certain: is_in_webui(path), ..server(ServerKind::Webui, path, arguments) })
        }
        "mcp_server.py" if is_in_webui(path) => Some(server(ServerKind::Mcp, path, arguments)),
        "run.py" if path.ends_with("gateway/run.py") => {
            // The path is .../hermes-agent/gateway/run.py.
            let above = path.rsplit('/').nth(2).unwrap_or_default().to_ascii_lowercase();
            Some(HermesCommand {
                certain: above.contains("hermes"),
                ..server(ServerKind::Gateway, path, arguments)
            })
        }
        "bootstrap.py" | "start.sh" | "ctl.sh" if is_in_webui(path) => Some(HermesCommand {
            role: CommandRole::Launcher,
            port: option(arguments, "--port").and_then(|port| port.parse().ok()).or_else(|| {
                // bootstrap.py takes the port as its last positional argument.
                arguments.iter().rev().find(|word| !word.starts_with('-'))?.parse().ok()
            }),
            ..server(ServerKind::Webui, path, arguments)
        }),
        "hermeswebui_init.bash" => {
            Some(HermesCommand { role: CommandRole::Launcher, ..server(ServerKind::Webui, path, arguments) })
        }
        _ => None,
    }
}

/// Whether a script is directly in a checkout or package of the WebUI. The name of a home or user `hermes`
/// proves nothing: it contains other programs too.
fn is_in_webui(path: &str) -> bool {
    let directory = path.rsplit('/').nth(1).unwrap_or_default().to_ascii_lowercase().replace(['_', '.'], "-");
    directory.contains("hermes-webui") || directory.contains("hermeswebui")
}

/// The `hermes` program: recognises the subcommands that are servers.
fn hermes(program: &str, arguments: &[&str]) -> Option<HermesCommand> {
    if arguments.is_empty() {
        // In a unit that configures everything by environment the gateway is a bare `hermes`, and so is an
        // interactive chat.
        return Some(HermesCommand { certain: false, ..server(ServerKind::Gateway, program, arguments) });
    }
    let mut rest = arguments;
    let subcommand = loop {
        let (word, after) = rest.split_first()?;
        rest = after;
        match *word {
            "--profile" | "-p" => rest = after.get(1..)?,
            option if option.starts_with('-') => {}
            subcommand => break subcommand,
        }
    };
    let is_client =
        |rest: &[&str]| rest.iter().any(|word| matches!(*word, "--stop" | "--status" | "--help" | "-h"));
    let kind = match subcommand {
        "dashboard" if !is_client(rest) => ServerKind::Dashboard,
        "serve" if !is_client(rest) => ServerKind::Serve,
        "gateway" if rest.iter().find(|word| !word.starts_with('-')) == Some(&"run") => ServerKind::Gateway,
        _ => return None,
    };
    Some(server(kind, program, arguments))
}

fn server(kind: ServerKind, program: &str, arguments: &[&str]) -> HermesCommand {
    HermesCommand {
        kind,
        role: CommandRole::Server,
        port: option(arguments, "--port").and_then(|port| port.parse().ok()),
        profile: option(arguments, "--profile").or_else(|| option(arguments, "-p")).map(str::to_owned),
        home: None,
        program: program.to_owned(),
        certain: true,
        demo: false,
    }
}

fn demo_server(program: &str, arguments: &[&str]) -> Option<HermesCommand> {
    let (word, rest) = arguments.split_first()?;
    if *word != DEMO_SERVER {
        return None;
    }
    let role = match *rest.first()? {
        "foreign" => return None,
        "launcher" => CommandRole::Launcher,
        "respawner" => CommandRole::RespawnLoop,
        _ => CommandRole::Server,
    };
    Some(HermesCommand {
        role,
        home: option(rest, "--home").map(str::to_owned),
        demo: true,
        ..server(ServerKind::Webui, program, rest)
    })
}

/// Value of `--name VALUE` or `--name=VALUE`.
fn option<'a>(arguments: &[&'a str], name: &str) -> Option<&'a str> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if *word == name {
            return words.next().copied();
        }
        if let Some(value) = word.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) {
            return Some(value);
        }
    }
    None
}

/// A shell: a script file, or text after `-c`.
fn shell(rest: &[&str]) -> Option<HermesCommand> {
    let mut rest = rest;
    while let Some((word, after)) = rest.split_first() {
        if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.starts_with('-')) {
            if letters.contains('c') {
                return shell_text(after.first()?);
            }
            rest = after;
        } else if word.starts_with("--") || matches!(*word, "sh" | "ash") {
            rest = after;
        } else {
            return script(word, after).map(|command| HermesCommand { role: CommandRole::Launcher, ..command });
        }
    }
    None
}

/// Text after `-c`: each of its simple commands is recognised like a separate argv.
fn shell_text(text: &str) -> Option<HermesCommand> {
    let mut looping = false;
    let mut found = None;
    // Joins continued lines.
    let text = text.replace("\\\n", " ");
    for part in text.split(['\n', ';', '|', '&', '(', ')', '{', '}']) {
        let Some(words) = shlex::split(part) else { continue };
        let mut words: &[String] = &words;
        while let Some((word, after)) = words.split_first() {
            match word.as_str() {
                "while" | "until" | "for" => looping = true,
                "do" | "then" | "else" | "if" | "!" => {}
                assignment if is_assignment(assignment) => {}
                _ => break,
            }
            words = after;
        }
        found = found.or_else(|| recognise_configured(words));
    }
    found.map(|command| HermesCommand {
        role: if looping { CommandRole::RespawnLoop } else { CommandRole::Launcher },
        ..command
    })
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

/// A reverse proxy or similar front program: it owns the port, and a server behind it answers.
pub fn front_program(name: &str) -> Option<&'static str> {
    const FRONTS: &[&str] = &[
        "caddy",
        "cloudflared",
        "docker-proxy",
        "envoy",
        "haproxy",
        "nginx",
        "pasta",
        "rootlessport",
        "slirp4netns",
        "socat",
        "ssh",
        "sshd",
        "tailscaled",
        "traefik",
    ];
    // Some programs set a title: `nginx: master process /usr/sbin/nginx`, `sshd: user@notty`.
    let name = program_name(name.split([':', ' ']).next().unwrap_or(name));
    FRONTS.iter().copied().find(|front| *front == name)
}

#[cfg(test)]
mod tests;
