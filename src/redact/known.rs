//! Names and words that identify no host: a report keeps them. They are fixed lists, so that no other change of the program
//! changes what a report hides.

use std::collections::HashSet;
use std::sync::LazyLock;

use crate::model::{MARKERS, SystemError, id};

/// The largest number of an error with a text, errno(3).
const LAST_ERROR: i32 = 133;

/// Terms of this program that reports contain as text: commands, settings, kinds of journals, systems, architectures.
const OWN_TERMS: &[&str] = &[
    "hermes-doctor",
    "check",
    "fds",
    "lineage",
    "port",
    "health",
    "db",
    "stacks",
    "logs",
    "watch",
    "history",
    "report",
    "replay",
    "explain",
    "demo",
    "mcp",
    "usage",
    "fleet",
    "none",
    "default",
    "paranoid",
    "wal",
    "rollback",
    "unknown",
    "-wal",
    "-shm",
    "-journal",
    "ipv4",
    "ipv6",
    "linux",
    "macos",
    "descriptors",
    "databases",
    "trend",
    "growth",
    "exercise",
    "healthy",
    "warning",
    "critical",
    "ok",
    "degraded",
    "guarded",
    "overloaded",
    "unexpected",
    "refused",
    "connect_timeout",
    "unreachable",
    "resolve_failed",
    "no_answer",
    "incomplete",
    "empty",
    "reset",
    "tls_failed",
    "not_http",
    "not_applicable",
    "not_probed",
    "x86_64",
    "aarch64",
    "x86",
    "arm",
    "riscv64",
    "powerpc64",
    "s390x",
    "loongarch64",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// Words in the output of other programs: states and settings of supervisors, errors, kernels.
const OTHER_WORDS: &[&str] = &[
    // systemd.unit(5), systemd.service(5), org.freedesktop.systemd1(5)
    "active inactive failed pre post sigterm sigkill sigabrt final queued before cleaning elapsed listening mounted bad \
     runtime generated resources protocol pinned removed removing yes true false always abnormal gui system user pid \
     restarting crashed ok degraded answer byte os tls end abort alias always autorestart control dbus disabled enabled exec exit forking group hit idle indirect linked \
     masked mixed notify oneshot plugged reload simple skip start static stop stopped success timeout transient trap \
     watchdog waiting deactivating activating reloading maintenance condition core dump oom kill killed killing signal",
    // supervisord, runit, s6, daemontools, pm2, launchd
    "stopping starting backoff exited fatal unknown running up down want got term paused finish online launching \
     errored normally unexpected keepalive runatload spawn scheduled not on demand job background interactive",
    "type restart restarts auto sec mode interval throttle soft resource limits number files keep alive code main says disabled \
     loaded after new pending creating created dead autostart ended unless stopped failure",
    "respawning failed unsupervised respawn max period delay unlimited",
    // Kinds of descriptors, and states of sockets (tcp(7))
    "regular directory character block close established listen wait time sent recv last closing closed dgram stream \
     seqpacket netlink packet raw udplite mptcp smc vsock kqueue unreadable other deleted sync fin",
    // rustls, httparse, getaddrinfo(3)
    "received corrupt message alert handshake failure certificate peer closed connection without sending close eof \
     invalid content type version protocol decode error bad record mac unexpected message token header name value \
     status failed to lookup address information temporary resolution service known node nor servname provided",
    // Errors, and names of exceptions and servers
    "econnrefused econnreset etimedout connect locked image errno thread utf digit operational integrity database value \
     key type runtime attribute import module index assertion unicode encode memory recursion permission found broken pipe \
     basehttp aiohttp werkzeug openresty gunicorn hypercorn uvicorn healthy unhealthy cluster fork mode throttled ex config",
    // Errors of parsers
    "expected value at line column trailing characters missing field data input parsing found short reads bytes number",
    // Kernel releases and architectures
    "generic lowlatency amd arm aarch cloud aws azure gcp oracle microsoft standard wsl lts pve rt arch fc el rpi \
     zen hardened virt android darwin xnu v",
    // Options of Hermes' commands, and common terms
    "browser open no yes host port profile replace external isolated verbose quiet config dir path ssh owner session",
    "ns us ms s min h d bytes kib mib gib kb mb gb",
    "py http https ipv tcp udp unix sqlite wal shm db pid uid gid rst fin syn ack",
];

/// Parts of names of files, directories, units, programs and arguments, on every system and of Hermes.
const SYSTEM_PARTS: &[&str] = &[
    "gui aio anon apps app applications bin boot bus cache class cgroup config core cpython data dbus dev devices dist etc \
     eventfd eventpoll event events exe fd fds fdinfo frameworks fs full gnu home hugepage include inotify io lib lib32 \
     lib64 library libexec linux local lock locks log logs maps media memfd mem misc mnt mqueue net node nodejs ns null \
     opt packages pipe proc private ptmx pts pty python random root run sbin share shm signalfd site socket srv stat \
     status self sys system task tcp temp timerfd tmp tty udp unix urandom user users usr var venv virtualenv virtualenvs \
     versions volumes x86 zero x aarch64 amd64 arm64 darwin deleted framework resources contents macos",
    // Supervisors and their files
    "systemd supervisor supervisord supervise runit runsv runsvdir svc service services s6 rc svscan daemontools pm2 god \
     launchd openrc launchctl launchagents launchdaemons init slice scope session machine docker podman containerd container rpc pub interactor daemon \
     containers kubepods lxc libpod buildkit conf d pids env envdir",
];

/// Files of proc(5) and of a control group: known below `/proc` and `/sys` only.
const KERNEL_PARTS: &[&str] = &[
    "children cmdline comm environ exe fdinfo limits mountinfo mounts oom_score pagemap sched schedstat smaps stack stat \
     status syscall tcp6 timers uid_map udp6 wchan current events high max oom pressure procs threads",
];

/// Words of sentences that are kept even if a name on the host is the same word.
const FUNCTION_WORDS: &[&str] = &[
    "a all an and any are as at be before but by can cannot could for from had has have if in is it its no none not of on \
     one or other since so than that the then there they this to too until up was were when which while with without",
];

/// Names of Hermes servers (hermes-webui and hermes-agent), and of programs around them.
const HERMES_PARTS: &[&str] = &[
    "hermes hermes_cli webui web ui agent gateway dashboard serve server mcp tui cli main api bootstrap ctl start \
     entrypoint dispatch wrapper doctor report stderr stdout error errors timestamp slash worker entry external kanban \
     board boards state response store memory profiles profile sessions config yaml auth models health cron desktop \
     studio workspace ai deep projects wal db sqlite sqlite3 pid exit diag starts retired malformed backup manifest \
     journal hermeswebui nousresearch static index demo target supervised",
    // Programs
    "bash sh dash zsh fish ash ksh env nohup setsid sudo su runuser setpriv gosu chpst setuidgid tini dumb catatonit \
     login sshd ssh tmux screen zellij cron crond atd nginx caddy haproxy envoy socat traefik proxy cloudflared \
     tailscaled pasta slirp4netns rootlessport uvicorn gunicorn hypercorn npm npx bun deno electron app bwrap cat tee \
     logger multilog svlogd conmon runc crun shim shim runc v2 journalctl systemctl master process title electron \
     supervisorctl sleep python uv pip pipx pyenv conda anaconda miniconda pypy nix",
];

/// Modules of CPython's own library that occur in stacks of servers, by their files and directories.
const PYTHON_MODULES: &[&str] = &[
    "__main__ _bootstrap _bootstrap_external _weakrefset abc ast asyncio base64 base_events base_futures base_subprocess \
     base_tasks bdb bisect calendar cgi client cmd code codecs collections command compileall concurrent config \
     configparser connection contextlib contextvars cookiejar cookies copy copyreg csv ctypes dataclasses datetime dbapi2 \
     decimal decoder dummy email encoder encodings enum error events exceptions feedparser fileinput fnmatch forkserver \
     fractions ftplib functools futures genericpath getpass glob gzip handlers hashlib heapq hmac html http imaplib \
     importlib inspect io ipaddress json keyword linecache locale locks log logging lzma mailbox managers message mimetypes \
     mixins multiprocessing netrc nturl2path opcode operator os parse parser pathlib pdb pickle pkgutil platform plistlib \
     poll pool popen_fork popen_forkserver popen_spawn_posix posixpath pprint process proactor_events protocols py pydoc \
     queue queues random re reduction request resource_sharer resource_tracker response runners runpy sched scanner \
     secrets selector_events selectors server shared_memory shelve shlex shutil signal site smtplib socket socketserver spawn \
     sqlite3 sre_compile sre_parse ssl sslproto staggered stat statistics streams string stringprep struct subprocess \
     synchronize sysconfig tarfile taskgroups tasks telnetlib tempfile textwrap thread threading threads timeouts timeit \
     token tokenize tomllib trace traceback transports trsock types typing unix_events urllib util utils uuid venv warnings \
     wave weakref webbrowser wsgiref xml xmlrpc zipapp zipfile zipimport zoneinfo",
];

/// Suffixes of files that show the kind of content and identify nothing.
const FILE_ENDINGS: &[&str] = &[
    "bak", "cfg", "conf", "db", "env", "gz", "html", "ini", "js", "json", "jsonl", "lock", "log", "md", "mjs",
    "pem", "pid", "plist", "py", "pyc", "sh", "so", "sock", "socket", "sqlite", "sqlite3", "toml", "ts", "txt",
    "xml", "yaml", "yml", "zip",
];
/// Words of shells and of Hermes commands that are kept as separate words of a command line.
const COMMAND_WORDS: &[&str] = &[
    "no such process detached uid unit user systemd while true false do done for in if then else fi until exec exit trap wait cd set export source respawner \
     localhost run up start stop restart status gateway dashboard serve server daemon node u m c e l lc ec",
    // Demo scenarios and roles of this program
    "demo healthy leak ceiling stopped mute deadlock locked route full pipe silent close unsupervised orphan foreign tls \
     respawner launcher",
];

static OTHER: LazyLock<HashSet<String>> = LazyLock::new(|| {
    let errors = (1..=LAST_ERROR).map(|number| SystemError(number).to_string());
    let ids = id::ALL.iter().map(|id| (*id).to_owned());
    let mut words: HashSet<String> = split(OTHER_WORDS).chain(split(FUNCTION_WORDS)).map(str::to_owned).collect();
    for text in errors.chain(ids) {
        let parts = text.split(|character: char| !character.is_ascii_alphabetic());
        words.extend(parts.filter(|word| word.len() > 1).map(str::to_ascii_lowercase));
    }
    words
});

static SYSTEM: LazyLock<HashSet<&'static str>> = LazyLock::new(|| split(SYSTEM_PARTS).collect());
static HERMES: LazyLock<HashSet<&'static str>> = LazyLock::new(|| split(HERMES_PARTS).collect());
static PYTHON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| split(PYTHON_MODULES).collect());
static KERNEL: LazyLock<HashSet<&'static str>> = LazyLock::new(|| split(KERNEL_PARTS).collect());
static FUNCTION: LazyLock<HashSet<&'static str>> = LazyLock::new(|| split(FUNCTION_WORDS).collect());
static COMMANDS: LazyLock<HashSet<&'static str>> = LazyLock::new(|| split(COMMAND_WORDS).collect());

fn split(lists: &'static [&'static str]) -> impl Iterator<Item = &'static str> {
    lists.iter().flat_map(|list| list.split_ascii_whitespace())
}

/// Whether a text is a term of this program.
pub fn is_own_term(text: &str) -> bool {
    [OWN_TERMS, MARKERS, id::ALL].iter().any(|terms| terms.contains(&text))
}

/// Whether a token in the text of another program identifies nothing: known words, short numbers, and combinations
/// (`python3.11`, `300ms`, `MainPID`).
pub fn is_word(token: &str) -> bool {
    is_made_of(token, |word| OTHER.contains(&word.to_ascii_lowercase()) || camel(word))
}

/// Whether a name consists of parts that every system or Hermes host has.
pub fn is_known_name(name: &str) -> bool {
    is_made_of(name, |part| {
        let part = part.to_ascii_lowercase();
        SYSTEM.contains(part.as_str()) || HERMES.contains(part.as_str()) || is_ending(&part)
    })
}

/// Whether a component of a path below `/proc` or `/sys` is the same on every host.
pub fn is_kernel_name(name: &str) -> bool {
    is_made_of(name, |part| KERNEL.contains(part) || SYSTEM.contains(part))
}

/// Whether a word identifies nothing, even if a user, a host or a program has this name: a word that every sentence
/// needs, or a name that every system or Hermes host has.
pub fn identifies_nothing(word: &str) -> bool {
    FUNCTION.contains(word.to_ascii_lowercase().as_str()) || is_known_name(word)
}

/// The path of a file within CPython's own library: `http/server.py`. Installed packages (`site-packages`) are
/// not part of that library.
pub fn in_python_library(path: &str) -> Option<&str> {
    let (_, version_and_rest) =
        path.rsplit_once("/lib/python3.").or_else(|| path.rsplit_once("/lib64/python3."))?;
    let (version, rest) = version_and_rest.split_once('/')?;
    let modules = rest.strip_suffix(".py")?;
    let is_version = version.trim_end_matches('t').parse::<u8>().is_ok();
    (is_version && modules.split('/').all(|module| module == "__init__" || PYTHON.contains(module))).then_some(rest)
}

/// Whether it is the name of a function in the form of CPython (`Handler.do_GET`, `run.<locals>.<lambda>`),
/// without a number that could be foreign.
pub fn is_function(name: &str) -> bool {
    let is_plain = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && part.bytes().filter(u8::is_ascii_digit).count() <= 3
    };
    let is_special = |part: &str| {
        let inner = part.strip_prefix('<').and_then(|part| part.strip_suffix('>'));
        inner.is_some_and(|inner| {
            matches!(inner, "locals" | "lambda" | "module" | "listcomp" | "genexpr" | "dictcomp" | "setcomp")
        })
    };
    name.len() <= 80 && name.split('.').all(|part| is_plain(part) || is_special(part))
}

/// Whether a suffix shows the kind of content and identifies nothing.
pub fn is_ending(part: &str) -> bool {
    FILE_ENDINGS.contains(&part)
}

/// Whether a name consists of parts that every system has, with or without Hermes.
pub fn is_system_name(name: &str) -> bool {
    is_made_of(name, |part| SYSTEM.contains(part.to_ascii_lowercase().as_str()))
}

/// Whether a word of a command line identifies nothing.
pub fn is_command_word(word: &str) -> bool {
    is_known_name(word)
        || is_made_of(word, |part| COMMANDS.contains(part.to_ascii_lowercase().as_str()) || is_known_name(part))
}

/// Whether all parts of a word such as `HermesWebUI` are known words.
fn camel(word: &str) -> bool {
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut before = ' ';
    for character in word.chars() {
        if character.is_ascii_uppercase() && before.is_ascii_lowercase() {
            parts.push(std::mem::take(&mut part));
        }
        part.push(character.to_ascii_lowercase());
        before = character;
    }
    parts.push(part);
    parts.len() > 1 && parts.iter().all(|part| OTHER.contains(part))
}

/// Whether every piece between punctuation is a known word, a number, or a known word next to a number. Letters and
/// digits that alternate are the form of a random token.
fn is_made_of(text: &str, is_known: impl Fn(&str) -> bool) -> bool {
    if holds_address(text) || is_long_number(text) {
        return false;
    }
    let mut has_any = false;
    for piece in text.split(['-', '_', '.', '@', '+', ':', ',', ' ']).filter(|piece| !piece.is_empty()) {
        has_any = true;
        let letters = piece.trim_start_matches(|character: char| character.is_ascii_digit());
        let leading = piece.len() - letters.len();
        let word = letters.trim_end_matches(|character: char| character.is_ascii_digit());
        let trailing = letters.len() - word.len();
        // A number with the length of a pid, a port, a size or a date, not of a token.
        if leading.max(trailing) > MAX_NUMBER || (leading > 0 && trailing > 0 && !word.is_empty()) {
            return false;
        }
        let is_letter = word.len() == 1 && text.len() <= 2 + leading.max(trailing) && word.is_ascii();
        let is_whole = is_known(piece) || word.is_empty() || is_known(word) || is_letter;
        if !is_whole {
            return false;
        }
    }
    has_any
}

/// Whether four numbers of an IPv4 address are side by side, with dots or hyphens between them.
pub fn holds_address(text: &str) -> bool {
    ['.', '-'].iter().any(|separator| {
        let runs = text.split(|character: char| !character.is_ascii_digit() && character != *separator);
        runs.map(|run| run.trim_matches(*separator)).any(|run| {
            let is_byte = |part: &str| part.len() <= 3 && part.parse::<u8>().is_ok();
            let parts: Vec<&str> = run.split(*separator).collect();
            parts.windows(4).any(|four| four.iter().all(|part| is_byte(part)))
        })
    })
}

/// Whether it consists of numbers with more digits together than a date has, as a telephone number.
fn is_long_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits > MAX_NUMBER && !text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Maximum number of digits in a number that is kept.
pub const MAX_NUMBER: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_words_that_identify_nothing() {
        for known in
            ["KillMode", "300ms", "state_db", "Connection", "auto-restart", "3.45.1", "RestartSec", "exit-code"]
        {
            assert!(is_word(known), "{known}");
        }
        for word in ["swordfish", "ann", "a1b2c3d4", "bob-laptop", "1234567890123", "é", "x1y2", ""] {
            assert!(!is_word(word), "{word}");
        }
        for known in
            ["hermes-webui", ".hermes", "state.db-wal", "python3.11", "site-packages", "webui.ctl.env", "4711"]
        {
            assert!(is_known_name(known), "{known}");
        }
        for word in ["acme", "hermes-acme", "secret.db", "deadbeef01", "2fa3bc"] {
            assert!(!is_known_name(word), "{word}");
        }
        assert!(is_system_name("usr") && !is_system_name("hermes"));
    }

    #[test]
    fn distinguishes_cpython_library_files_from_others() {
        for (path, place) in [
            ("/usr/lib/python3.11/socketserver.py", "socketserver.py"),
            ("/home/ann/.pyenv/versions/3.13.1/lib/python3.13/http/server.py", "http/server.py"),
            ("/usr/lib/python3.14t/asyncio/__init__.py", "asyncio/__init__.py"),
        ] {
            assert_eq!(in_python_library(path), Some(place), "{path}");
        }
        for path in [
            "/usr/lib/python3.11/site-packages/annas/server.py",
            "/usr/lib/python3.11/annas.py",
            "/lib/python3.ann/queue.py",
            "/home/ann/hermes-webui/server.py",
        ] {
            assert_eq!(in_python_library(path), None, "{path}");
        }
        for name in ["Handler.do_GET", "<module>", "run.<locals>.<lambda>", "_handle_request_noblock", "uuid4"] {
            assert!(is_function(name), "{name}");
        }
        for name in ["", "a b", "<ann>", "token_8817336", "é", &"x".repeat(81), "a..b"] {
            assert!(!is_function(name), "{name}");
        }
    }
}
