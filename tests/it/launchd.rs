//! Servers under launchd: a Mac made of recorded facts, examined by the same code as a real one. The bytes of its
//! kernel are from `tests/darwin`, and the texts of its launchctl have the format of launchctl.

use hermes_doctor::collect::worker::wire::{Output, Tool};
use hermes_doctor::collect::workers::Workers;
use hermes_doctor::collect::{
    Collected, Databases, Deadline, DescriptorRead, Descriptors, FileKind, Files, ForeignPath, Host, LogTail,
    OutputFile, PidProblem, ProcessEntry, Processes, SocketTable, Sockets, SourceFile, Supervisors, ThreadEntry,
    Usage,
};
use hermes_doctor::examine::{Request, Routes, Silent, examine};
use hermes_doctor::model::{
    DatabaseFile, DatabaseHolder, Envelope, Gap, GapReason, Health, HostFacts, Identity, Outcome, Part, Phase,
    PhaseName, Process, ProcessState, PythonSample, Resources, SecondSample, Server, Status, SupervisorKind,
};
use hermes_doctor::parse::darwin::descriptor::{self, Record};
use hermes_doctor::parse::darwin::socket::{self, Socket};
use hermes_doctor::parse::process::environment;
use hermes_doctor::target::Selection;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

const VNODES: &[u8] = include_bytes!("../darwin/vnodes.bin");
const SOCKETS: &[u8] = include_bytes!("../darwin/sockets.bin");
const HOME: &str = "/Users/h/.hermes";
const AGENTS: &str = "/Users/h/Library/LaunchAgents";

/// A process of the Mac.
#[derive(Clone, Default)]
struct Mac {
    processes: Vec<Running>,
    jobs: Vec<Job>,
    /// Property lists in `~/Library/LaunchAgents`, by their names.
    files: Vec<(&'static str, Vec<u8>)>,
    /// Increases with every query, for jobs in a restart loop.
    questions: Cell<u32>,
    /// A pid with descriptors that make the program panic during the examination.
    broken: Option<u32>,
}

#[derive(Clone)]
struct Running {
    pid: u32,
    ppid: u32,
    argv: Vec<String>,
    age_ms: u64,
    environment: &'static [u8],
    threads: u64,
    records: Vec<Record>,
}

#[derive(Clone)]
struct Job {
    label: &'static str,
    /// Lines of `launchctl print` below the arguments, with `{n}` for the number of the question.
    body: String,
    pid: Option<u32>,
    command: String,
    is_flapping: bool,
}

fn file(path: &str) -> Record {
    let mut bytes = VNODES[..1200].to_vec();
    bytes[176..].fill(0);
    bytes[176..176 + path.len()].copy_from_slice(path.as_bytes());
    // Every path is a file of its own.
    let inode = path.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    bytes[32..40].copy_from_slice(&inode.to_le_bytes());
    Record { descriptor: 0, kind: 1, answer: Ok(bytes) }
}

fn listener(port: u16, handle: u64, waiting: u16) -> Record {
    let mut bytes = SOCKETS[..792].to_vec();
    bytes[160..168].copy_from_slice(&handle.to_le_bytes());
    bytes[194..196].copy_from_slice(&waiting.to_le_bytes());
    bytes[196..198].fill(0);
    bytes[268..270].copy_from_slice(&port.to_be_bytes());
    Record { descriptor: 3, kind: 2, answer: Ok(bytes) }
}

/// The other end is port 443 of 149.154.167.220.
fn close_wait(handle: u64) -> Record {
    let mut bytes = SOCKETS[792..2 * 792].to_vec();
    bytes[160..168].copy_from_slice(&handle.to_le_bytes());
    Record { descriptor: 9, kind: 2, answer: Ok(bytes) }
}

fn unix_socket(handle: u64) -> Record {
    let mut bytes = SOCKETS[4 * 792..5 * 792].to_vec();
    bytes[160..168].copy_from_slice(&handle.to_le_bytes());
    Record { descriptor: 9, kind: 2, answer: Ok(bytes) }
}

fn times(count: usize, record: impl Fn(usize) -> Record) -> Vec<Record> {
    (0..count).map(record).collect()
}

impl Mac {
    fn runs(mut self, pid: u32, ppid: u32, command: &str, records: Vec<Record>) -> Self {
        let argv = shlex::split(command).unwrap();
        self.processes.push(Running { pid, ppid, argv, age_ms: 3_600_000, environment: b"", threads: 8, records });
        self
    }

    fn last(mut self, change: impl FnOnce(&mut Running)) -> Self {
        change(self.processes.last_mut().unwrap());
        self
    }

    fn job(mut self, label: &'static str, command: &str, pid: Option<u32>, body: &str) -> Self {
        let (command, body) = (command.to_owned(), body.to_owned());
        self.jobs.push(Job { label, body, pid, command, is_flapping: false });
        self
    }

    fn flapping(mut self) -> Self {
        self.jobs.last_mut().unwrap().is_flapping = true;
        self
    }

    fn of(&self, pid: u32) -> Option<&Running> {
        self.processes.iter().find(|running| running.pid == pid)
    }

    fn launchctl(&self, words: &[&str]) -> Vec<u8> {
        let question = self.questions.get() + 1;
        self.questions.set(question);
        let pid_of = |job: &Job| job.pid.map(|pid| if job.is_flapping { pid + question } else { pid });
        let target = words.get(1).copied().unwrap_or_default();
        if words == ["print", "gui/501"] {
            let row = |job: &Job| {
                let pid = pid_of(job).unwrap_or(0);
                format!("\t\t{pid:8}      0 \t{}\n", job.label)
            };
            let rows: String = self.jobs.iter().map(row).collect();
            return format!("gui/501 = {{\n\ttype = login\n\tservices = {{\n{rows}\t}}\n}}\n").into_bytes();
        }
        let label = target.strip_prefix("gui/501/").filter(|_| words[0] == "print");
        let Some(job) = self.jobs.iter().find(|job| Some(job.label) == label) else {
            return b"Bad request.\nCould not find service \"x\" in domain for user gui: 501\n".to_vec();
        };
        let arguments: String =
            shlex::split(&job.command).unwrap().iter().map(|word| format!("\t\t{word}\n")).collect();
        let pid = pid_of(job).map_or(String::new(), |pid| format!("\tpid = {pid}\n"));
        let body = job.body.replace("{n}", &(100 + question).to_string());
        format!(
            "gui/501/{0} = {{\n\tpath = /Users/h/Library/LaunchAgents/{0}.plist\n\targuments = {{\n{arguments}\t}}\n\
             \tdomain = gui/501 [100010]\n{pid}{body}}}\n",
            job.label
        )
        .into_bytes()
    }

    fn sockets_of(&self, running: &Running) -> Vec<Socket> {
        let of_record = |record: &Record| socket::parse(record.answer.as_ref().ok()?).ok();
        running.records.iter().filter(|record| record.kind == 2).filter_map(of_record).collect()
    }
}

fn none<T>(what: &str) -> Result<T, Gap> {
    Err(Gap::new(what, GapReason::NotFound, "not on this Mac"))
}

impl Processes for Mac {
    fn process_table(&self) -> Result<Vec<ProcessEntry>, Gap> {
        let launchd = ProcessEntry { pid: 1, ppid: 0, name: "launchd".into(), zombie: false };
        let entry = |running: &Running| ProcessEntry {
            pid: running.pid,
            ppid: running.ppid,
            name: running.argv[0].rsplit('/').next().unwrap().to_owned(),
            zombie: false,
        };
        Ok(std::iter::once(launchd).chain(self.processes.iter().map(entry)).collect())
    }

    fn commands(&self, pids: &[u32]) -> Vec<Result<Vec<String>, Gap>> {
        let of = |pid: &u32| match self.of(*pid) {
            Some(running) => Ok(running.argv.clone()),
            None if *pid == 1 => Ok(vec!["/sbin/launchd".to_owned()]),
            None => Err(Gap::new("command line", GapReason::Vanished, "")),
        };
        pids.iter().map(of).collect()
    }

    fn identify(&self, pid: u32) -> Result<Identity, PidProblem> {
        let is_there = pid == 1 || self.of(pid).is_some();
        if is_there {
            Ok(Identity { pid, start_ticks: 179_000_000_000 + u64::from(pid) })
        } else {
            Err(PidProblem::Absent(pid))
        }
    }

    fn process(&self, identity: Identity) -> Result<Collected<Process>, Gap> {
        let pid = identity.pid;
        let launchd = Running {
            pid: 1,
            ppid: 0,
            argv: vec!["/sbin/launchd".into()],
            age_ms: 86_400_000,
            environment: b"",
            threads: 4,
            records: Vec::new(),
        };
        let running = self.of(pid).cloned().unwrap_or(launchd);
        let words: Vec<&[u8]> = running.argv.iter().map(String::as_bytes).collect();
        let environment = environment(running.environment);
        let value = Process {
            identity,
            ppid: running.ppid,
            name: running.argv[0].rsplit('/').next().unwrap().to_owned().into(),
            command: Some(hermes_doctor::parse::mask::command(&words).into()),
            executable: Some(running.argv[0].clone().into()),
            uid: if pid == 1 { 0 } else { 501 },
            user: Some(if pid == 1 { "root" } else { "h" }.into()),
            state: ProcessState::Sleeping,
            start_time: Some("2026-11-24T20:00:00Z".into()),
            age_ms: Some(running.age_ms),
            threads: Some(running.threads),
            resident_bytes: Some(73_400_320),
            session: i32::try_from(pid).unwrap(),
            process_group: i32::try_from(pid).unwrap(),
            tracer_pid: None,
            namespace_pids: Vec::new(),
            foreign_network: Some(false),
            network_namespace: None,
            foreign_mounts: Some(false),
            cgroup: None,
            zombie_children: Vec::new(),
            home: environment.hermes_home,
            user_home: None,
            markers: environment.markers,
        };
        Ok(Collected { value, gaps: Vec::new() })
    }

    fn working_directory(&self, _identity: Identity) -> Result<PathBuf, Gap> {
        Ok("/Users/h/hermes-webui".into())
    }

    fn usage(&self, _identity: Identity) -> Result<Usage, Gap> {
        Ok(Usage::default())
    }

    fn threads(&self, _identity: Identity) -> Result<Collected<(Vec<ThreadEntry>, u64)>, Gap> {
        none("threads")
    }

    fn python_stacks(&self, _identity: Identity) -> Result<PythonSample, Gap> {
        Err(Gap::new("Python stacks", GapReason::Permission, "root's on this system"))
    }

    fn resources(&self, _process: &Process) -> Collected<Resources> {
        Collected::default()
    }
}

impl Descriptors for Mac {
    fn descriptors(&self, process: &Process, _sockets: &SocketTable) -> Result<Collected<DescriptorRead>, Gap> {
        let pid = process.identity.pid;
        assert_ne!(self.broken, Some(pid), "an error that is staged");
        let records = self.of(pid).map(|running| running.records.clone()).unwrap_or_default();
        let (facts, sockets) = descriptor::read(&records);
        Ok(Collected { value: DescriptorRead { facts, sockets }, gaps: vec![descriptor::limit_gap(pid)] })
    }

    fn pipe_readers(&self, _identity: Identity, _descriptor: u32) -> Result<Option<(u64, Vec<u32>)>, Gap> {
        none("readers of a pipe")
    }

    fn output_files(&self, _process: &Process) -> Result<Vec<OutputFile>, Gap> {
        Ok(Vec::new())
    }
}

impl Sockets for Mac {
    fn sockets(&self, _of: Option<&Process>) -> Collected<SocketTable> {
        let sockets = self.processes.iter().flat_map(|running| self.sockets_of(running));
        let tcp = sockets.filter_map(|socket| match socket {
            Socket::Tcp(socket) => Some(socket),
            Socket::Other(_) => None,
        });
        let gap = Gap::new("sockets of all processes", GapReason::Permission, "212 processes of other users");
        let value = SocketTable { tcp: tcp.collect(), source: "proc_pidfdinfo".into(), is_partial: true };
        Collected { value, gaps: vec![gap] }
    }

    fn sockets_in_detail(&self, of: Option<&Process>) -> Collected<SocketTable> {
        self.sockets(of)
    }

    fn holders(&self, inodes: &HashSet<u64>, among: Option<&[u32]>) -> (HashMap<u64, Vec<u32>>, Result<(), Gap>) {
        let mut found: HashMap<u64, Vec<u32>> = HashMap::new();
        let asked = |running: &&Running| among.is_none_or(|pids| pids.contains(&running.pid));
        for running in self.processes.iter().filter(asked) {
            for socket in self.sockets_of(running) {
                if inodes.contains(&socket.handle()) {
                    found.entry(socket.handle()).or_default().push(running.pid);
                }
            }
        }
        (found, Ok(()))
    }

    fn cgroup_paths(&self, _ids: &HashSet<u64>, _hints: &[String]) -> Result<HashMap<u64, String>, Gap> {
        none("control groups")
    }

    fn own_addresses(&self) -> Vec<IpAddr> {
        vec![IpAddr::from([127, 0, 0, 1])]
    }

    fn resolve(&self, _name: &str) -> Option<Vec<IpAddr>> {
        None
    }
}

impl Databases for Mac {
    fn database(&self, path: &ForeignPath) -> Result<Collected<DatabaseFile>, Gap> {
        none(&path.shown())
    }

    fn database_again(&self, _path: &ForeignPath) -> SecondSample {
        SecondSample::default()
    }

    fn database_holders(
        &self,
        _seen_by: Option<&Process>,
        paths: &[ForeignPath],
        _among: Option<&[u32]>,
    ) -> Collected<Vec<Vec<DatabaseHolder>>> {
        Collected { value: vec![Vec::new(); paths.len()], gaps: Vec::new() }
    }
}

impl Files for Mac {
    fn resolved(&self, path: &ForeignPath) -> Result<ForeignPath, Gap> {
        Ok(path.clone())
    }

    fn source(&self, path: &ForeignPath, _limit: usize) -> Result<SourceFile, Gap> {
        none(&path.shown())
    }

    fn directory_identity(&self, path: &ForeignPath) -> Result<(u64, u64), Gap> {
        let sum = path.bytes().iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        Ok((1, sum))
    }

    fn read_file(&self, path: &ForeignPath, _limit: usize) -> Result<Vec<u8>, Gap> {
        if path.bytes().ends_with(b"/raised.log") {
            return Ok(b"[ok] Raised file descriptor soft limit 256 -> 4096\n".to_vec());
        }
        let of_path = self.files.iter().find(|(name, _)| path.bytes() == format!("{AGENTS}/{name}").as_bytes());
        of_path.map_or_else(|| none(&path.shown()), |(_, bytes)| Ok(bytes.clone()))
    }

    fn list_directory(&self, path: &ForeignPath, _limit: usize) -> Result<Vec<OsString>, Gap> {
        if path.bytes() == HOME.as_bytes() {
            return Ok(vec!["config.yaml".into(), "state.db".into()]);
        }
        if path.bytes() == AGENTS.as_bytes() {
            return Ok(self.files.iter().map(|(name, _)| (*name).into()).collect());
        }
        none(&path.shown())
    }

    fn file_kind(&self, path: &ForeignPath) -> Result<FileKind, Gap> {
        if path.bytes() == HOME.as_bytes() {
            return Ok(FileKind::Directory);
        }
        none(&path.shown())
    }

    fn owner_of(&self, _path: &ForeignPath) -> Option<u32> {
        Some(501)
    }

    fn log_tail(&self, path: &ForeignPath, _rotated: Option<&ForeignPath>) -> Result<LogTail, Gap> {
        none(&path.shown())
    }
}

impl Supervisors for Mac {
    fn workers(&self) -> Result<&Workers, Gap> {
        none("programs of a supervisor")
    }

    fn run_tool(
        &self,
        tool: Tool,
        arguments: Vec<String>,
        _user: Option<u32>,
        _keep: usize,
    ) -> Result<Output, Gap> {
        assert_eq!(tool, Tool::Launchctl);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let bytes = self.launchctl(&words);
        Ok(Output { total: bytes.len() as u64, bytes: bytes.into(), is_success: true })
    }

    fn pid_inside(&self, _pid: u32) -> Option<u32> {
        None
    }
}

impl Host for Mac {
    fn facts(&self) -> HostFacts {
        HostFacts {
            os: "macos".into(),
            kernel: Some("25.0.0".into()),
            arch: "aarch64".into(),
            uptime_ms: Some(86_400_000),
            root: false,
            init: Some("launchd".into()),
            ..HostFacts::default()
        }
    }

    fn user_home(&self, _uid: u32) -> Option<PathBuf> {
        Some("/Users/h".into())
    }

    fn user_homes(&self) -> Collected<Vec<PathBuf>> {
        Collected { value: vec!["/Users/h".into()], gaps: Vec::new() }
    }
}

/// Examines without HTTP, which would query this machine and not the Mac.
fn examined(mac: &Mac, selection: Selection) -> Envelope {
    let request = Request {
        command: "check",
        selection,
        parts: vec![Part::Descriptors, Part::Lineage, Part::Port],
        deep: false,
        repetition: None,
        routes: Routes::None,
        all_holders: false,
        file: None,
        observe: None,
        timeout: Duration::from_secs(1),
        budget: Duration::from_secs(3),
    };
    examine(mac, &request, Deadline::after(request.budget), &Silent).unwrap()
}

/// A panic during the examination of one server makes that server unknown, and the other server is examined.
#[test]
fn an_error_of_the_program_costs_one_server() {
    let mut mac = orphans();
    let statuses = |envelope: &Envelope| envelope.servers.iter().map(|server| server.status).collect::<Vec<_>>();
    let whole = examined(&mac, Selection::default());
    assert!(whole.servers.len() > 2, "{}", whole.servers.len());
    mac.broken = whole.servers[0].pid;
    let found = examined(&mac, Selection::default());
    assert_eq!((found.servers[0].status, found.servers[0].process.is_none()), (Status::Unknown, true));
    assert!(found.servers[0].gaps.iter().any(|gap| gap.detail.to_string().contains("error of hermes-doctor")));
    assert_eq!(statuses(&found)[1..], statuses(&whole)[1..]);
}

fn by_pid(pid: u32) -> Selection {
    Selection { pid: Some(pid), ..Selection::default() }
}

fn server(mac: &Mac, pid: u32) -> Server {
    examined(mac, by_pid(pid)).servers.remove(0)
}

fn verdict(server: &Server) -> (Status, Vec<&str>) {
    (server.status, server.root_causes.iter().map(String::as_str).collect())
}

const WEBUI: &str = "/Users/h/venv/bin/python /Users/h/hermes-webui/server.py";
const GATEWAY: &str = "/Users/h/venv/bin/python -m hermes_cli.main gateway run --replace";
const RUNNING: &str =
    "\tstate = running\n\truns = 1\n\tlast exit code = (never exited)\n\tproperties = keepalive | runatload\n";

fn webui_files() -> Vec<Record> {
    let mut records = vec![listener(8787, 0x11, 0), file("/dev/null"), file("/Users/h/.hermes/webui.log")];
    records.extend(times(4, |_| file("/Users/h/.hermes/state.db")));
    records.extend(times(4, |_| file("/Users/h/.hermes/state.db-wal")));
    records
}

#[test]
fn a_supervised_server_is_healthy_although_its_parent_is_pid_1() {
    let mac = Mac::default()
        .runs(48213, 1, WEBUI, webui_files())
        .last(|running| {
            running.environment = b"XPC_SERVICE_NAME=com.example.hermes-webui\0HERMES_HOME=/Users/h/.hermes"
        })
        .job(
            "com.example.hermes-webui",
            WEBUI,
            Some(48213),
            &format!("{RUNNING}\tstderr path = /Users/h/raised.log\n"),
        );
    let found = server(&mac, 48213);
    assert_eq!(verdict(&found), (Status::Healthy, vec![]), "{:?}", found.findings);
    let lineage = found.lineage.as_ref().unwrap();
    assert_eq!((lineage.supervisor.kind.word(), lineage.supervisor.claims_this), ("launchd", Some(true)));
    assert_eq!(lineage.supervisor.scope.as_deref(), Some("gui/501"));
    assert!(found.passed.contains(&"orphaned-server".to_owned()));
    // The limit is not known, and the gap contains the related facts.
    assert!(!found.passed.contains(&"descriptor-ceiling".to_owned()));
    let gap = found.gaps.iter().find(|gap| gap.what == "descriptor limit of pid 48213").unwrap();
    for known in ["launchd starts its jobs with 256", "its job sets none", "raised the soft limit from 256 to 4096"]
    {
        assert!(gap.detail.to_string().contains(known), "{}", gap.detail);
    }
    // The server can also be selected by its launchd job.
    let named = examined(
        &mac,
        Selection { expect: Some("launchd:com.example.hermes-webui".parse().unwrap()), ..Selection::default() },
    );
    assert_eq!(named.servers[0].pid, Some(48213));
}

/// A#87005: launchd's process is a wrapper, and the server is its child, with `XPC_SERVICE_NAME=0`.
fn wrapped() -> Mac {
    let wrapper =
        format!("/Users/h/venv/bin/python -m hermes_cli.stderr_timestamp --error-log /Users/h/x -- {GATEWAY}");
    Mac::default()
        .runs(700, 1, &wrapper, Vec::new())
        .runs(701, 700, &format!("{GATEWAY} --external-supervisor"), vec![file("/Users/h/.hermes/state.db")])
        .last(|running| running.environment = b"XPC_SERVICE_NAME=0\0HERMES_HOME=/Users/h/.hermes")
        .job("ai.hermes.gateway", &wrapper, Some(700), RUNNING)
}

#[test]
fn a_server_below_a_wrapper_is_the_jobs_own() {
    let found = server(&wrapped(), 701);
    assert_eq!(verdict(&found), (Status::Healthy, vec![]), "{:?}", found.findings);
    let lineage = found.lineage.unwrap();
    assert_eq!((lineage.supervisor.claimed_pid, lineage.supervisor.claims_this), (Some(700), Some(true)));
    assert!(
        lineage.supervisor.evidence.to_string().ends_with("says pid 700, its parent"),
        "{}",
        lineage.supervisor.evidence
    );
    assert!(lineage.markers.is_empty(), "{:?} is noise", lineage.markers);
}

/// A terminal window, an application that the user opened and a remote login are jobs of launchd too; a server that
/// was started there does not belong to them.
#[test]
fn a_server_from_a_terminal_is_not_the_terminals() {
    for (label, above, environment) in [
        (
            "application.com.apple.Terminal.1152921500311879726",
            "/System/Applications/Utilities/Terminal.app/Contents/MacOS/Terminal",
            &b"XPC_SERVICE_NAME=application.com.apple.Terminal.1152921500311879726"[..],
        ),
        ("com.openssh.sshd.A4B2", "sshd-session: h", &b"XPC_SERVICE_NAME=0"[..]),
        ("com.example.editor", "/Users/h/bin/editor", &b""[..]),
    ] {
        let mac = Mac::default()
            .runs(400, 1, above, Vec::new())
            .runs(401, 400, "-zsh", Vec::new())
            .runs(402, 401, WEBUI, webui_files())
            .last(|running| running.environment = environment)
            .job(label, above, Some(400), RUNNING);
        let found = server(&mac, 402);
        assert_eq!(verdict(&found), (Status::Healthy, vec![]), "{label}: {:?}", found.findings);
        let lineage = found.lineage.unwrap();
        assert_eq!(lineage.supervisor.kind, SupervisorKind::None, "{label}");
        assert!(lineage.markers.is_empty(), "{label}: {:?}", lineage.markers);
    }
}

/// W#3289: a second server was started by hand and holds the port, and the starts by launchd fail with `[Errno
/// 48]`.
fn second_start() -> Mac {
    Mac::default()
        .runs(9000, 1, WEBUI, webui_files())
        .last(|running| running.environment = b"HERMES_HOME=/Users/h/.hermes")
        .job(
            "com.parantoux.hermes-webui",
            WEBUI,
            None,
            "\tstate = spawn scheduled\n\truns = {n}\n\tlast exit code = 1\n\tproperties = keepalive | runatload\n\
             \tstderr path = /Users/h/.hermes/webui/launchd-stderr.log\n",
        )
}

#[test]
fn a_second_start_by_hand_is_an_orphan_of_the_job() {
    let found = server(&second_start(), 9000);
    assert_eq!(verdict(&found), (Status::Critical, vec!["orphaned-server"]), "{:?}", found.findings);
    let orphan = found.findings.iter().find(|finding| finding.id == "orphaned-server").unwrap();
    let commands: Vec<&str> = orphan.next.iter().filter_map(|step| step.command.as_deref()).collect();
    assert!(commands.contains(&"launchctl bootout gui/501/com.parantoux.hermes-webui"), "{commands:?}");
    let file = "/Users/h/Library/LaunchAgents/com.parantoux.hermes-webui.plist";
    assert!(commands.contains(&format!("launchctl bootstrap gui/501 {file}").as_str()), "{commands:?}");
    assert!(orphan.evidence.iter().all(|evidence| !evidence.source.contains("/proc")));
}

/// W#1458, its first failure: `bootstrap.py` detaches the server and exits, and launchd restarts it in a loop.
fn respawn() -> Mac {
    let launcher = "/Users/h/venv/bin/python /Users/h/hermes-webui/bootstrap.py --no-browser";
    Mac::default()
        .runs(9000, 1, WEBUI, webui_files())
        .last(|running| running.environment = b"HERMES_HOME=/Users/h/.hermes")
        .job(
            "com.example.hermes-webui",
            launcher,
            Some(12_000),
            "\tstate = running\n\truns = {n}\n\tlast exit code = 0\n\tproperties = keepalive | runatload\n",
        )
        .flapping()
}

#[test]
fn a_launcher_that_detaches_is_started_for_ever() {
    let found = server(&respawn(), 9000);
    assert_eq!(verdict(&found), (Status::Critical, vec!["orphaned-server"]), "{:?}", found.findings);
    let ids: Vec<&str> = found.findings.iter().map(|finding| finding.id.as_str()).collect();
    assert!(ids.contains(&"respawn-loop"), "{ids:?}");
    assert!(found.lineage.unwrap().relaunch.unwrap().restarts >= 2);
}

/// A#80204: seven backends without their application, and one that launchd manages; all of them have pid 1 as
/// parent.
fn orphans() -> Mac {
    let orphan = "/Users/h/venv/bin/python -m hermes_cli.main serve --isolated --host 127.0.0.1 --port 0";
    let served = "/Users/h/venv/bin/python -m hermes_cli.main serve --host 100.64.0.7 --port 9119";
    let mut mac = Mac::default()
        .runs(600, 1, served, vec![listener(9119, 0x600, 0)])
        .last(|running| running.environment = b"HERMES_HOME=/Users/h/.hermes")
        .job("ai.hermes.serve", served, Some(600), RUNNING);
    for at in 0..7_u16 {
        mac = mac.runs(900 + u32::from(at), 1, orphan, vec![listener(50_000 + at, 0x900 + u64::from(at), 0)]).last(
            |running| {
                running.environment = b"HERMES_DESKTOP=1\0HERMES_PARENT_PID=77\0HERMES_HOME=/Users/h/.hermes";
                running.age_ms = 43_200_000;
            },
        );
    }
    mac
}

#[test]
fn distinguishes_a_supervised_backend_from_orphans() {
    let found = server(&orphans(), 600);
    assert_eq!(verdict(&found), (Status::Healthy, vec![]), "{:?}", found.findings);
    let orphan = server(&orphans(), 903);
    let lineage = orphan.lineage.as_ref().unwrap();
    assert_eq!(
        lineage.supervisor.kind,
        SupervisorKind::None,
        "the job's pid is another one, and the job is content"
    );
    assert_eq!(verdict(&orphan), (Status::Warning, vec!["orphaned-server"]), "{:?}", orphan.findings);
    assert!(orphan.findings[0].title.ends_with("app that has ended (pid 77)"), "{}", orphan.findings[0].title);
    // The application runs: the backend is its child.
    let owned = "/Users/h/venv/bin/python -m hermes_cli.main serve --isolated --host 127.0.0.1 --port 0";
    let mac = Mac::default()
        .runs(77, 1, "/Applications/Hermes.app/Contents/MacOS/Hermes", Vec::new())
        .runs(950, 77, owned, vec![listener(50_100, 0x950, 0)])
        .last(|running| {
            running.environment = b"HERMES_DESKTOP=1\0HERMES_PARENT_PID=77\0HERMES_HOME=/Users/h/.hermes"
        })
        .job(
            "application.com.nousresearch.hermes.1",
            "/Applications/Hermes.app/Contents/MacOS/Hermes",
            Some(77),
            RUNNING,
        );
    let found = server(&mac, 950);
    assert_eq!(verdict(&found), (Status::Healthy, vec![]), "{:?}", found.findings);
}

/// A property list that keeps the gateway alive; with the home of the server, it is also started at login.
fn list(label: &str, has_home: bool) -> Vec<u8> {
    let words: String =
        shlex::split(GATEWAY).unwrap().iter().map(|word| format!("<string>{word}</string>")).collect();
    let home = format!(
        "<key>RunAtLoad</key><true/>\
         <key>EnvironmentVariables</key><dict><key>HERMES_HOME</key><string>{HOME}</string></dict>"
    );
    let home = if has_home { home } else { String::new() };
    format!(
        "<plist version=\"1.0\"><dict><key>Label</key><string>{label}</string><key>KeepAlive</key><true/>{home}\
         <key>ProgramArguments</key><array>{words}</array></dict></plist>"
    )
    .into_bytes()
}

/// A#73368: the job was not loaded for 24 days, and the user did not notice it.
#[test]
fn an_unloaded_job_is_reported() {
    let mac = Mac { files: vec![("ai.hermes.gateway.plist", list("ai.hermes.gateway", true))], ..Mac::default() };
    let expect = Some("launchd:ai.hermes.gateway".parse().unwrap());
    let found = examined(&mac, Selection { expect, ..Selection::default() }).servers.remove(0);
    assert_eq!(verdict(&found), (Status::Critical, vec!["server-not-running"]), "{:?}", found.findings);
    let commands: Vec<&str> = found.findings[0].next.iter().filter_map(|step| step.command.as_deref()).collect();
    let bootstrap = "launchctl bootstrap gui/501 /Users/h/Library/LaunchAgents/ai.hermes.gateway.plist";
    assert!(commands.contains(&bootstrap), "{commands:?}");
    // The user did not select it: this may be intended, but it is reported.
    let found = examined(&mac, Selection::default()).servers.remove(0);
    assert_eq!(verdict(&found), (Status::Warning, vec!["server-not-running"]), "{:?}", found.findings);
    assert!(found.findings[0].title.contains("launchd ai.hermes.gateway"), "{}", found.findings[0].title);
}

/// The job exists, ended with an error, and is not started again; and a job between two starts.
#[test]
fn a_job_without_a_process_is_found_without_being_named() {
    let body = "\tstate = not running\n\truns = 1\n\tlast exit code = 78: EX_CONFIG\n\tproperties = runatload\n";
    let mac = Mac::default().job("ai.hermes.gateway", GATEWAY, None, body);
    let found = examined(&mac, Selection::default()).servers.remove(0);
    assert_eq!(verdict(&found), (Status::Critical, vec!["supervisor-gave-up"]), "{:?}", found.findings);
    let body = "\tstate = spawn scheduled\n\truns = {n}\n\tlast exit code = 1\n\tproperties = keepalive\n";
    let mac = Mac::default().job("ai.hermes.gateway", GATEWAY, None, body);
    let found = examined(&mac, Selection::default()).servers.remove(0);
    assert_eq!(verdict(&found), (Status::Critical, vec!["respawn-loop"]), "{:?}", found.findings);
}

/// Two jobs for one gateway (A#21549): the starts of the second job fail.
#[test]
fn two_jobs_for_one_server_are_duplicates() {
    let list = list("com.bruce.birkin.gateway", false);
    let mac = Mac { files: vec![("com.bruce.birkin.gateway.plist", list)], ..Mac::default() }
        .runs(800, 1, GATEWAY, Vec::new())
        .last(|running| running.environment = b"HERMES_HOME=/Users/h/.hermes")
        .job(
            "ai.hermes.gateway",
            GATEWAY,
            Some(800),
            &format!("{RUNNING}\tenvironment = {{\n\t\tHERMES_HOME => {HOME}\n\t}}\n"),
        )
        .job(
            "com.bruce.birkin.gateway",
            GATEWAY,
            None,
            &format!(
                "\tstate = spawn scheduled\n\truns = {{n}}\n\tlast exit code = 1\n\tproperties = keepalive\n\
                 \tenvironment = {{\n\t\tHERMES_HOME => {HOME}\n\t}}\n"
            ),
        );
    let found = server(&mac, 800);
    assert_eq!(verdict(&found), (Status::Critical, vec!["duplicate-supervisors"]), "{:?}", found.findings);
}

/// A port that another user's process holds: its socket is not visible, and nothing follows from that.
#[test]
fn a_port_held_by_another_user_is_a_permission_gap() {
    let found = examined(&Mac::default(), Selection { port: Some(8787), ..Selection::default() }).servers.remove(0);
    let gap = found.gaps.iter().find(|gap| gap.what == "listener of port 8787").unwrap();
    assert_eq!(gap.reason, GapReason::Permission);
    assert!(gap.blocks.contains(&"port-held-by-other-program".into()), "{gap:?}");
}

fn dead(outcome: Outcome, error: &str) -> Health {
    let phase = |name, ms, error: Option<&str>| Phase { name, ms, error: error.map(str::to_owned).map(Into::into) };
    Health {
        url: Some("http://127.0.0.1:8787/health".into()),
        outcome,
        phases: vec![
            phase(PhaseName::Connect, 0.1, None),
            phase(PhaseName::Request, 0.1, None),
            phase(PhaseName::FirstByte, 2000.0, Some(error)),
        ],
        ..Health::default()
    }
}

/// The recorded hosts: file, the Mac, the examined pid, and the outcome of its HTTP request.
fn recorded() -> Vec<(&'static str, Mac, u32, Option<Health>)> {
    let job = |mac: Mac, pid| mac.job("com.example.hermes-webui", WEBUI, Some(pid), RUNNING);
    let home = |mac: Mac| mac.last(|running| running.environment = b"HERMES_HOME=/Users/h/.hermes");
    let db =
        |count, suffix: &'static str| times(count, move |_| file(&format!("/Users/h/.hermes/state.db{suffix}")));
    let others = |count| times(count, |at| file(&format!("/Users/h/.hermes/webui/sessions/{at}.json")));
    // W#1458, its third failure: it runs and listens, and no byte is received. The report does not give the length
    // of the queue.
    let mute = vec![listener(8787, 0x11, 0), file("/dev/null"), file("/Users/h/.hermes/webui.log")];
    // W#1494: 366 descriptors, 238 of them on state.db; the report does not separate its parts.
    let w1494 = [vec![listener(8787, 0x11, 0)], db(119, ""), db(118, "-wal"), db(1, "-shm"), others(127)].concat();
    // A#79742: 254 open, 95 + 86, sixty threads.
    let a79742 = [db(95, ""), db(86, "-wal"), db(1, "-shm"), others(72)].concat();
    // A#96027: 138 IPv4 (133 in CLOSE-WAIT), 127 files (48 + 46 of state.db), 5 Unix sockets.
    let a96027 = [
        times(133, |at| close_wait(0x1000 + at as u64)),
        times(5, |at| listener(40_000 + at as u16, 0x2000 + at as u64, 0)),
        db(48, ""),
        db(46, "-wal"),
        others(33),
        times(5, |at| unix_socket(0x3000 + at as u64)),
    ]
    .concat();
    let gateway = |mac: Mac, pid| home(mac).job("ai.hermes.gateway", GATEWAY, Some(pid), RUNNING);
    vec![
        ("launchd-respawn", respawn(), 9000, None),
        (
            "launchd-mute",
            job(home(Mac::default().runs(48213, 1, WEBUI, mute)), 48213),
            48213,
            Some(dead(Outcome::NoAnswer, "no byte in time")),
        ),
        (
            "launchd-leak-reset",
            job(home(Mac::default().runs(48213, 1, WEBUI, w1494)), 48213),
            48213,
            Some(dead(Outcome::Reset, "connection reset by peer")),
        ),
        (
            "launchd-ceiling",
            gateway(Mac::default().runs(501, 1, GATEWAY, a79742).last(|running| running.threads = 60), 501),
            501,
            None,
        ),
        (
            "launchd-two-leaks",
            gateway(
                Mac::default().runs(501, 1, GATEWAY, a96027).last(|running| running.age_ms = 1_976_400_000),
                501,
            ),
            501,
            None,
        ),
        ("launchd-orphan-backend", orphans(), 903, None),
        ("launchd-supervised-backend", orphans(), 600, None),
        ("launchd-second-start", second_start(), 9000, None),
        ("launchd-wrapper", wrapped(), 701, None),
    ]
}

fn host_of(mac: &Mac, pid: u32, health: Option<Health>) -> Envelope {
    let mut envelope = examined(mac, by_pid(pid));
    let found = &mut envelope.servers[0];
    if let Some(health) = health {
        found.health = Some(health);
        found.examined.push(Part::Health);
    }
    hermes_doctor::wording::judge(found);
    envelope.status = found.status;
    envelope
}

/// The numbers of the reports, after conversion from bytes.
#[test]
fn recorded_macs_have_the_numbers_of_their_reports() {
    for (name, mac, pid, health) in recorded() {
        let envelope = host_of(&mac, pid, health);
        let found = &envelope.servers[0];
        let facts = found.descriptors.as_ref().unwrap();
        let family = |at: usize| facts.sqlite.get(at).map(|family| (family.db, family.wal, family.shm));
        match name {
            "launchd-leak-reset" => {
                assert_eq!((facts.open, family(0)), (Some(365 + 1), Some((119, 118, 1))), "{name}");
                assert_eq!(verdict(found), (Status::Critical, vec!["state-db-handle-leak"]), "{name}");
            }
            "launchd-ceiling" => {
                assert_eq!((facts.open, family(0)), (Some(254), Some((95, 86, 1))), "{name}");
                assert_eq!(found.process.as_ref().unwrap().threads, Some(60));
            }
            "launchd-two-leaks" => {
                assert_eq!((facts.open, family(0)), (Some(270), Some((48, 46, 0))), "{name}");
                assert_eq!(facts.by_kind["tcp-close-wait"], 133);
                let close_wait = facts.close_wait.as_ref().unwrap();
                assert_eq!((close_wait.first, close_wait.still_at_second), (133, Some(133)));
            }
            _ => {}
        }
    }
}

/// The recorded Macs as reports, by the names of their fixtures.
#[allow(dead_code)]
pub fn recorded_hosts() -> Vec<(&'static str, Envelope)> {
    recorded().into_iter().map(|(name, mac, pid, health)| (name, host_of(&mac, pid, health))).collect()
}
