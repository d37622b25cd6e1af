//! Tests in namespaces of their own, with processes and files of other users.

use super::{Answer, Guard, program_file, run_with, skipped, start, tool};
use rustix::fs::Mode;
use serde_json::Value;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The stranger: a user without an account and without any rights.
pub const STRANGER: u32 = 4000;
/// The neighbour: another such user.
pub const NEIGHBOUR: u32 = 5000;
/// The interpreter that every user may run.
pub const PYTHON: &str = "/usr/bin/python3";
/// Text that no output may contain.
pub const CANARY: &str = "Canary-Passw0rd";
/// Size of a secret file in bytes; no other file has this size.
const SECRET_SIZE: usize = 7_654_321;
/// Modification time of a secret file: 2001-09-09T01:46:40Z.
const SECRET_TIME: i64 = 1_000_000_000;
/// Forms in which size and time of a secret file could be printed.
const SECRET_FACTS: &[&str] = &["7654321", "7,654,321", "7.3 M", "7.7 M", "1000000000", "2001-09-09"];

/// Marks the copy of a test that runs in its own namespaces, and contains the directory that it may use.
const INSIDE: &str = "HERMES_DOCTOR_TEST_PLACE";

/// Runs a test in its own pid, mount and network namespaces, which end with all processes and mounts of the test.
///
/// The test binary runs itself once more for that; `test` is the name of the test function.
pub fn isolated(test: &str, body: impl FnOnce(&Place)) {
    if let Some(place) = std::env::var_os(INSIDE) {
        return body(&Place::prepare(Path::new(&place)));
    }
    if !rustix::process::geteuid().is_root() {
        return skipped(test, "it takes root to make namespaces");
    }
    if let Some(missing) = ["unshare", "ip", "strace", "setpriv", PYTHON].iter().find(|name| tool(name).is_none()) {
        return skipped(test, &format!("it takes {missing}"));
    }
    let directory = tempfile::Builder::new().prefix("hermes-doctor-test-").tempdir_in("/tmp").unwrap();
    // The shell is the init process of the pid namespace: it reaps processes, and the test is its child.
    let line = "ip link set lo up && \"$@\"; exit $?";
    let output = Command::new("unshare")
        .args(["--pid", "--mount", "--net", "--fork", "--kill-child", "--mount-proc", "sh", "-c", line, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &super::path_of(test), "--nocapture", "--test-threads=1"])
        .env(INSIDE, directory.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "in its namespaces: {stdout}\n{stderr}");
    assert!(stdout.contains("1 passed"), "no test has the name {test}: {stdout}");
    eprint!("{stderr}");
}

/// A directory of the test's own, on a filesystem of its own, that every user may enter.
pub struct Place {
    root: PathBuf,
}

impl Place {
    fn prepare(root: &Path) -> Self {
        mount(&["-t", "tmpfs", "-o", "mode=755", "place"], root);
        let place = Self { root: root.to_owned() };
        // Both may be in a directory that only root may enter.
        std::fs::write(place.program(), "").unwrap();
        mount(&["--bind", super::program()], &place.program());
        std::fs::create_dir(place.path("targets")).unwrap();
        mount(&["--bind", program_file("").to_str().unwrap()], &place.path("targets"));
        place
    }

    /// A name in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A copy of the program under test that every user may run.
    pub fn program(&self) -> PathBuf {
        self.path("hermes-doctor")
    }

    /// A copy of a file of `tests/programs` that every user may read.
    pub fn script(&self, name: &str) -> PathBuf {
        self.path("targets").join(name)
    }

    /// Makes a directory of a user.
    pub fn directory(&self, name: &str, owner: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(&path).unwrap();
        give(&path, owner);
        path
    }

    /// Creates a file that only root may read, with an unusual size and time. The secret is at its start and at its
    /// end.
    pub fn secret(&self, name: &str, content: &[u8]) -> PathBuf {
        let padding = vec![b'\n'; SECRET_SIZE - 2 * content.len()];
        self.secret_of(name, &[content, &padding, content].concat())
    }

    /// The same, of exactly these bytes.
    pub fn secret_of(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        age(&path);
        path
    }

    /// Starts a server of a user with this home; it answers `/health` and opens nothing in the home.
    pub fn server(&self, owner: u32, home: &Path) -> Guard {
        start(self.server_command(owner).env("HERMES_HOME", home))
    }

    /// The same, before it is started.
    pub fn server_command(&self, owner: u32) -> Command {
        let checkout = self.directory(&format!("checkout-{owner}/hermes-webui"), owner);
        let script = checkout.join("server.py");
        std::fs::copy(self.script("plain.py"), &script).unwrap();
        give(&script, owner);
        let mut command = Command::new(PYTHON);
        command.arg(script).args(["127.0.0.1", "0"]).current_dir("/").stderr(Stdio::null());
        command.env_clear().env("PATH", "/usr/bin:/bin");
        as_user(&mut command, owner);
        command
    }

    /// Starts a process of a user in a directory, with `title` as its first argument and these arguments after it.
    pub fn titled(&self, owner: u32, title: &str, arguments: &[&str], directory: &Path) -> Guard {
        let mut command = Command::new(PYTHON);
        command.arg0(title).arg(self.script("other_user.py")).args(arguments);
        command.current_dir(directory).env_clear().env("PATH", "/usr/bin:/bin").stderr(Stdio::null());
        as_user(&mut command, owner);
        start(&mut command)
    }

    /// Runs the doctor as root with these arguments.
    pub fn doctor(&self, arguments: &str) -> Command {
        let mut command = Command::new(self.program());
        command.args(arguments.split_whitespace()).current_dir("/");
        command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin").env("HOME", "/nonexistent");
        command.env("LC_ALL", "C.UTF-8");
        command
    }

    /// Runs the doctor as another user.
    pub fn doctor_as(&self, user: u32, arguments: &str) -> Command {
        let mut command = self.doctor(arguments);
        as_user(&mut command, user);
        command
    }

    /// Gives accounts their home directories, in the whole namespace.
    pub fn accounts(&self, lines: &[&[u8]]) {
        let path = self.path("passwd");
        let mut text = b"root:x:0:0:root:/root:/bin/sh\n".to_vec();
        for line in lines {
            text.extend_from_slice(line);
            text.push(b'\n');
        }
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        mount(&["--bind", path.to_str().unwrap()], Path::new("/etc/passwd"));
    }

    /// Makes everything below `/etc` writable for the test, only in its namespaces.
    pub fn own_etc(&self) {
        let (upper, work) = (self.directory("etc-upper", 0), self.directory("etc-work", 0));
        let layers = format!("lowerdir=/etc,upperdir={},workdir={}", upper.display(), work.display());
        mount(&["-t", "overlay", "-o", &layers, "etc"], Path::new("/etc"));
    }

    /// Replaces `/usr/bin/systemctl` or `/usr/bin/journalctl` by a program that records how it was started; see
    /// `tests/programs/tool.py`. Returns false if the program is not installed.
    pub fn replace_tool(&self, name: &str, wait: &str, answer: &str) -> bool {
        let script = self.path(&format!("tool-{name}"));
        self.write_tool(&script, name, wait, answer);
        let real = [format!("/usr/bin/{name}"), format!("/bin/{name}")];
        let mut is_replaced = false;
        for path in real.iter().filter_map(|path| std::fs::canonicalize(path).ok()) {
            if path.starts_with(&self.root) {
                continue;
            }
            mount(&["--bind", script.to_str().unwrap()], &path);
            is_replaced = true;
        }
        is_replaced
    }

    /// Writes such a program.
    pub fn write_tool(&self, path: &Path, name: &str, wait: &str, answer: &str) {
        let record = self.tool_record(name);
        if !record.exists() {
            std::fs::write(&record, "").unwrap();
            std::fs::set_permissions(&record, std::fs::Permissions::from_mode(0o666)).unwrap();
        }
        let words = [("NAME", name), ("RECORD", record.to_str().unwrap()), ("ANSWER", answer), ("WAIT", wait)];
        let words = words.map(|(name, value)| format!("{name} = {}\n", Value::from(value)));
        let body = std::fs::read_to_string(program_file("tool.py")).unwrap();
        std::fs::write(path, format!("#!{PYTHON} -IS\n{}{body}", words.concat())).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn tool_record(&self, name: &str) -> PathBuf {
        self.path(&format!("record-{name}"))
    }

    /// All recorded starts of such a program.
    pub fn tool_starts(&self, name: &str) -> Vec<Value> {
        let text = std::fs::read_to_string(self.tool_record(name)).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Runs the doctor as root in every view of a server and of its home, and returns each with its arguments.
    pub fn views(&self, server: &Guard, home: &Path) -> Vec<(String, Answer)> {
        let (pid, port, home) = (server.pid(), server.port, home.display());
        let views = [
            "check".to_owned(),
            "check --json".to_owned(),
            format!("check --verbose --pid {pid}"),
            format!("check --json --pid {pid}"),
            format!("check --json --home {home}"),
            format!("report --pid {pid}"),
            format!("db --home {home}"),
            format!("db --json --home {home}"),
            format!("lineage --verbose --pid {pid}"),
            format!("lineage --json --pid {pid}"),
            format!("fds --json --all --pid {pid}"),
            format!("health --verbose --port {port}"),
        ];
        let answers = views.map(|arguments| {
            let answer = run_with(&mut self.doctor(&arguments));
            assert!((0..=3).contains(&answer.exit), "{arguments}: {} {}", answer.stdout, answer.stderr);
            (arguments, answer)
        });
        answers.into()
    }
}

/// Runs a command until it can be reaped; kills it and panics at the timeout.
pub fn bounded(command: &mut Command, limit: Duration, context: &str) -> Answer {
    let (output, errors) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(errors.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let end = Instant::now() + limit;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() > end {
            let read =
                |name: &str| std::fs::read_to_string(format!("/proc/{}/{name}", child.id())).unwrap_or_default();
            let waits = format!("{} {}", read("wchan"), read("syscall"));
            let _ = child.kill();
            panic!("{context}: not ended after {limit:?}, waits in {waits}");
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let text = |mut file: std::fs::File| {
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Answer { exit: status.code().unwrap_or(-1), stdout: text(output), stderr: text(errors) }
}

/// Mounts a filesystem in the namespace of the test.
pub fn mount(arguments: &[&str], at: &Path) {
    let status = Command::new("mount").args(arguments).arg(at).status().unwrap();
    assert!(status.success(), "mount {arguments:?} {}", at.display());
}

/// Gives a file or directory to a user and to the group with the same number; a link itself, not its target.
pub fn give(path: &Path, owner: u32) {
    std::os::unix::fs::lchown(path, Some(owner), Some(owner)).unwrap();
}

/// The same for everything below a directory.
pub fn give_all(path: &Path, owner: u32) {
    give(path, owner);
    if std::fs::symlink_metadata(path).unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give_all(&entry.unwrap().path(), owner);
        }
    }
}

/// Makes a link that belongs to a user.
pub fn link(target: &Path, link: &Path, owner: u32) {
    let _ = std::fs::remove_file(link);
    symlink(target, link).unwrap();
    give(link, owner);
}

/// Creates a FIFO that every user may use.
pub fn fifo(path: &Path) {
    rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666)).unwrap();
}

/// Sets the modification time of a secret file.
pub fn age(path: &Path) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(u64::try_from(SECRET_TIME).unwrap());
    std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
}

/// Lets a command run as a user, without any other group.
pub fn as_user(command: &mut Command, user: u32) {
    // The standard library drops the groups if a uid is set.
    if user != 0 {
        command.uid(user).gid(user);
    }
}

/// Whether an ordinary user may create a user namespace here; prints that a test is skipped if not.
pub fn has_user_namespaces(test: &str) -> bool {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "true"]).current_dir("/").stderr(Stdio::null());
    as_user(&mut command, STRANGER);
    let is_allowed = command.status().is_ok_and(|status| status.success());
    if !is_allowed {
        skipped(test, "an ordinary user may not make user namespaces");
    }
    is_allowed
}

/// Gaps of an envelope and of its servers: what, reason, detail.
pub fn gaps(envelope: &Value) -> Vec<(String, String, String)> {
    let of = |value: &Value| -> Vec<(String, String, String)> {
        let text = |gap: &Value, key: &str| gap[key].as_str().unwrap().to_owned();
        let gaps = value["gaps"].as_array().cloned().unwrap_or_default();
        gaps.iter().map(|gap| (text(gap, "what"), text(gap, "reason"), text(gap, "detail"))).collect()
    };
    let servers = envelope["servers"].as_array().cloned().unwrap_or_default();
    of(envelope).into_iter().chain(servers.iter().flat_map(of)).collect()
}

/// Whether a gap reports that the owner of a process or directory may not read it.
pub fn is_refused_to(user: u32, gap: &(String, String, String)) -> bool {
    gap.1 == "permission" && gap.2.contains(&format!("not readable by its owner, uid {user}"))
}

/// Asserts that the output contains neither content, size nor time of a secret file; `words` are further texts that
/// only that file has.
pub fn assert_secret(answers: &[(String, Answer)], words: &[&str]) {
    for (arguments, answer) in answers {
        for output in [&answer.stdout, &answer.stderr] {
            let found = words.iter().chain(&[CANARY]).chain(SECRET_FACTS).find(|word| output.contains(**word));
            let context = found.map(|word| {
                let at = output.find(*word).unwrap();
                let start = output[..at].rfind('\n').unwrap_or(0);
                output[start..].lines().take(2).collect::<Vec<_>>().join("\n")
            });
            assert_eq!(found, None, "{arguments}: a file that only root may read has leaked: {context:?}");
        }
    }
}

/// Asserts that the JSON views have a gap with the reason for the missing facts.
pub fn assert_refusal_is_a_gap(answers: &[(String, Answer)], user: u32) {
    let envelopes: Vec<Value> = answers
        .iter()
        .filter(|(arguments, _)| arguments.starts_with("check --json"))
        .map(|(_, answer)| answer.json())
        .collect();
    let all: Vec<_> = envelopes.iter().flat_map(gaps).collect();
    assert!(
        all.iter().any(|gap| is_refused_to(user, gap)),
        "no gap says `not readable by its owner, uid {user}`: {all:#?}"
    );
}
