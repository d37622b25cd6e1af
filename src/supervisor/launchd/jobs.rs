//! launchd: its jobs that run Hermes servers, and its claims about them. The caller runs `launchctl`; everything else
//! compiles, and is tested, on every system.

use super::plist::JobFile;
use super::wire::{Answer, Job, Row, domain, job};
use crate::model::{ClaimState, Gap, GapDetail, GapReason, GapSubject, HostPath, Note, Supervisor, SupervisorKind};
use crate::parse::command::recognise_configured;
use crate::supervisor::Program;
use crate::supervisor::place::another_user;
use std::collections::HashSet;

/// Jobs that are queried one by one.
const MAX_JOBS: usize = 48;
/// Default seconds between two starts (launchd.plist(5)).
const THROTTLE_S: u64 = 10;

/// Runs `launchctl` with these arguments; returns standard output, or standard error where that is empty.
pub type Launchctl<'a> = &'a dyn Fn(&[&str]) -> Result<Vec<u8>, Gap>;

/// A job's property list on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnDisk {
    /// Path of the file.
    pub path: String,
    /// Its user; `None` for the system's daemons.
    pub user: Option<u32>,
    /// Its content, parsed.
    pub file: JobFile,
}

impl OnDisk {
    /// The domain that the job is loaded into.
    fn domain(&self) -> String {
        self.user.map_or("system".to_owned(), |user| format!("gui/{user}"))
    }
}

/// What is read before launchd is queried.
pub struct LaunchdFacts<'a> {
    /// Users with sessions that may have jobs.
    pub users: &'a [u32],
    /// Hermes processes and their ancestors: a job may have started any of them.
    pub pids: &'a HashSet<u32>,
    /// Property lists that run a Hermes server.
    pub files: &'a [OnDisk],
}

/// Queries launchd for every job that runs, or should run, a Hermes server.
///
/// # Errors
/// A gap when no domain answers.
pub fn programs(launchctl: Launchctl<'_>, known: &LaunchdFacts<'_>) -> Result<Vec<Program>, Gap> {
    let mut found = Vec::new();
    let mut loaded: HashSet<String> = HashSet::new();
    let mut last = None;
    let mut answered: HashSet<String> = HashSet::new();
    for name in domains(known.users) {
        let rows = match launchctl(&["print", &name]).and_then(|text| understood(&name, domain(&text))) {
            Ok(Answer::Found(rows)) => rows,
            Ok(_) => {
                answered.insert(name);
                continue;
            }
            Err(gap) => {
                last = Some(gap);
                continue;
            }
        };
        for label in candidates(&rows, known) {
            let target = format!("{name}/{label}");
            if loaded.contains(&label) || loaded.len() >= MAX_JOBS {
                continue;
            }
            let printed = launchctl(&["print", &target]).and_then(|text| understood(&target, job(&text)));
            match printed {
                Ok(Answer::Found(job)) => {
                    loaded.insert(label);
                    if is_about_hermes(&job, known) {
                        found.push(program(&job, &name));
                    }
                }
                // Unloaded between the two queries.
                Ok(_) => {}
                Err(gap) => last = Some(gap),
            }
        }
        answered.insert(name);
    }
    if let Some(gap) = last.filter(|_| answered.is_empty()) {
        return Err(gap);
    }
    // The loaded jobs of a domain that did not answer are unknown.
    let is_known =
        |on_disk: &&OnDisk| answered.contains(&on_disk.domain()) && !loaded.contains(&on_disk.file.label);
    for on_disk in known.files.iter().filter(is_known) {
        found.push(not_loaded(on_disk, is_disabled(launchctl, on_disk)));
    }
    Ok(found)
}

/// Queries launchd for one job: `LABEL` in the domains of these users and of the system, or `gui/501/LABEL` in that
/// domain.
///
/// # Errors
/// A gap when no domain has the job, or none answers.
pub fn one(launchctl: Launchctl<'_>, name: &str, users: &[u32], files: &[OnDisk]) -> Result<Program, Gap> {
    let said = name.rsplit_once('/');
    let label = said.map_or(name, |(_, label)| label);
    let domains = said.map_or_else(|| domains(users), |(domain, _)| vec![domain.to_owned()]);
    let mut last = None;
    for domain in domains {
        let target = format!("{domain}/{label}");
        match launchctl(&["print", &target]).and_then(|text| understood(&target, job(&text))) {
            Ok(Answer::Found(job)) => return Ok(program(&job, &domain)),
            Ok(_) => {}
            Err(gap) => last = Some(gap),
        }
    }
    if let Some(on_disk) = files.iter().find(|on_disk| on_disk.file.label == label) {
        return Ok(not_loaded(on_disk, is_disabled(launchctl, on_disk)));
    }
    let detail = GapDetail::NoJob;
    Err(last.unwrap_or_else(|| Gap::new(name, GapReason::NotFound, detail)))
}

/// Domains in which jobs of these users can be: their graphical sessions, their background sessions, and the system.
fn domains(users: &[u32]) -> Vec<String> {
    let of_users = users.iter().flat_map(|user| [format!("gui/{user}"), format!("user/{user}")]);
    of_users.chain(["system".to_owned()]).collect()
}

fn understood<T>(what: &str, parsed: Result<T, crate::parse::ParseError>) -> Result<T, Gap> {
    parsed.map_err(|error| {
        Gap::new(
            GapSubject::LaunchctlOf { arguments: format!("print {what}").into() },
            GapReason::Malformed,
            error.to_string(),
        )
    })
}

/// Labels of the jobs to query: the job started one of the processes, its property list runs a Hermes server, or its
/// label contains "hermes". An opened application is a job too (`application.…`), but it does not supervise what runs
/// in it: a server in a terminal window is not supervised by the terminal.
fn candidates(rows: &[Row], known: &LaunchdFacts<'_>) -> Vec<String> {
    let is_it = |row: &&Row| {
        let runs_one = row.pid.is_some_and(|pid| known.pids.contains(&pid));
        let is_configured = known.files.iter().any(|on_disk| on_disk.file.label == row.label);
        let is_opened = row.label.starts_with("application.") || row.label.starts_with("com.apple.");
        (runs_one && !is_opened) || is_configured || row.label.to_ascii_lowercase().contains("hermes") && !is_opened
    };
    rows.iter().filter(is_it).map(|row| row.label.clone()).take(MAX_JOBS).collect()
}

fn is_about_hermes(job: &Job, known: &LaunchdFacts<'_>) -> bool {
    recognise_configured(&job.arguments).is_some() || job.pid.is_some_and(|pid| known.pids.contains(&pid))
}

/// The claim of a loaded job, as a program of a supervisor.
pub fn program(job: &Job, asked_in: &str) -> Program {
    let scope = if job.domain.is_empty() { asked_in.to_owned() } else { job.domain.clone() };
    let target = format!("{scope}/{}", job.label);
    // A domain: `gui/501`, `user/501` or `system`.
    let owner = scope.split('/').nth(1).and_then(|user| user.parse().ok()).and_then(another_user);
    let is_down = job.pid.is_none();
    let was_started = job.runs.unwrap_or(0) > 0;
    let ended_well = job.last_exit_code == Some(0);
    // A signal that requests a program to exit: the job was stopped on purpose.
    let was_given = matches!(job.last_signal, Some(libc::SIGTERM | libc::SIGINT | libc::SIGHUP));
    let failed = job.last_exit_code.is_some_and(|code| code != 0) || job.last_signal.is_some() && !was_given;
    let is_held_back = job.pended_spawn.is_some() || job.penalty_box == Some(true);
    let is_wanted = was_started && is_kept_alive(job);
    let is_being_started = matches!(job.state.as_str(), "spawn scheduled" | "xpcproxy");
    let gave_up =
        is_down && (job.penalty_box == Some(true) || failed && was_started && !is_wanted && !is_being_started);
    let is_restarting =
        is_being_started && job.runs.is_some_and(|runs| runs > 1) || is_down && is_wanted && !is_held_back;
    let finished = is_down && was_started && ended_well && !is_wanted && !is_restarting;
    let claim = Supervisor {
        kind: SupervisorKind::Launchd,
        name: Some(job.label.clone().into()),
        claimed_pid: job.pid,
        evidence: Note::ByLaunchctl { claim: target.into() },
        state: Some(job.state.clone().into()),
        // The first start is not a restart. A manual start is counted like any other.
        restarts: job.runs.map(|runs| runs.saturating_sub(1)),
        claim_state: match job.pid {
            // A job in the penalty box can be scheduled all the same.
            _ if gave_up => ClaimState::GaveUp,
            _ if is_restarting => ClaimState::Restarting,
            _ if finished => ClaimState::Finished,
            Some(_) if is_being_started => ClaimState::Starting,
            Some(_) => ClaimState::Running,
            None => ClaimState::Idle,
        },
        scope: Some(scope.into()),
        configuration: job.plist.clone().map(Into::into),
        log: job.log().map(str::to_owned).map(Into::into),
        owner,
        policy: Some(policy(job).into()),
        result: job
            .last_exit
            .clone()
            .filter(|text| is_down && !text.starts_with('('))
            .map(|text| match job.last_exit_code {
                Some(_) => format!("exit code {text}"),
                None => text,
            })
            .map(Into::into),
        restart_interval_ms: Some(job.minimum_runtime_s.unwrap_or(THROTTLE_S).saturating_mul(1000)),
        port: job.webui_port,
        home: job.home.clone().map(HostPath::from),
        ..Supervisor::default()
    };
    let mut command = job.arguments.clone();
    if command.is_empty() {
        command.extend(job.program.clone());
    }
    let is_enabled = job.run_at_load == Some(true) || job.keep_alive == Some(true) || !job.keep_alive_if.is_empty();
    Program { claim, command, is_enabled: Some(is_enabled), ..Program::default() }.recognised()
}

/// Whether launchd starts the job again after its last exit. `KeepAlive` with conditions is printed with one line for
/// each, for example `successful exit => 0`: restart unless the exit status was 0.
fn is_kept_alive(job: &Job) -> bool {
    let ended_well = job.last_exit_code == Some(0);
    job.keep_alive == Some(true)
        || job.keep_alive_if.iter().any(|condition| match condition.as_str() {
            "successful exit => 0" => !ended_well,
            "successful exit => 1" => ended_well,
            "crashed => 1" => job.last_signal.is_some(),
            "crashed => 0" => job.last_signal.is_none(),
            _ => false,
        })
}

fn policy(job: &Job) -> String {
    let keep_alive = match job.keep_alive {
        _ if !job.keep_alive_if.is_empty() => format!("if {}", job.keep_alive_if.join(", ")),
        Some(keep_alive) => keep_alive.to_string(),
        None => "unknown".to_owned(),
    };
    let throttle = job.minimum_runtime_s.unwrap_or(THROTTLE_S);
    let limit = job.soft_descriptors.map_or_else(
        || "no SoftResourceLimits".to_owned(),
        |limit| format!("SoftResourceLimits.NumberOfFiles={limit}"),
    );
    format!("KeepAlive={keep_alive} ThrottleInterval={throttle} {limit}")
}

/// A property list on the disk that is not loaded: nothing starts the job, whatever the list contains.
fn not_loaded(on_disk: &OnDisk, disabled: bool) -> Program {
    let file = &on_disk.file;
    let scope = on_disk.domain();
    let claim = Supervisor {
        kind: SupervisorKind::Launchd,
        name: Some(file.label.clone().into()),
        evidence: Note::ByFile {
            path: on_disk.path.clone().into(),
            claim: format!("{scope}/{}", file.label).into(),
        },
        state: Some(if disabled { "disabled" } else { "not loaded" }.to_owned().into()),
        claim_state: ClaimState::Idle,
        scope: Some(scope.into()),
        configuration: Some(on_disk.path.clone().into()),
        log: file.log.clone().map(Into::into),
        owner: on_disk.user.and_then(another_user),
        port: file.webui_port,
        home: file.home.clone().map(HostPath::from),
        ..Supervisor::default()
    };
    let is_enabled = Some(file.is_enabled() && !disabled);
    Program { claim, command: file.arguments.clone(), is_enabled, ..Program::default() }.recognised()
}

/// Whether the job is disabled (`launchctl disable`). The setting survives reboots and is in no property list.
fn is_disabled(launchctl: Launchctl<'_>, on_disk: &OnDisk) -> bool {
    let answer = launchctl(&["print-disabled", &on_disk.domain()]).unwrap_or_default();
    let quoted = format!("\"{}\"", on_disk.file.label);
    String::from_utf8_lossy(&answer).lines().any(|line| {
        let said = line.trim().split_once(" => ").filter(|(label, _)| *label == quoted);
        // Releases before macOS 13 print `true` for disabled.
        said.is_some_and(|(_, value)| matches!(value, "disabled" | "true"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const PLIST: &str = "/Users/h/Library/LaunchAgents/ai.hermes.gateway.plist";

    fn printed(label: &str, body: &str) -> String {
        format!("gui/501/{label} = {{\n{body}}}\n")
    }

    fn gateway(body: &str) -> String {
        let arguments = "\targuments = {\n\t\t/Users/h/venv/bin/python\n\t\t-m\n\t\thermes_cli.main\n\t\tgateway\n\t\trun\n\t}\n";
        printed("ai.hermes.gateway", &format!("\tpath = {PLIST}\n{arguments}\tdomain = gui/501 [100010]\n{body}"))
    }

    fn claim_of(body: &str) -> Supervisor {
        let text = gateway(body);
        program(&job(text.as_bytes()).unwrap().found().unwrap(), "gui/501").claim
    }

    /// A launchd with these answers; it has no other job.
    fn asked(answers: &[(&str, &str)], known: &LaunchdFacts<'_>) -> Result<Vec<Program>, Gap> {
        let answers: HashMap<&str, &str> = answers.iter().copied().collect();
        let ask = |words: &[&str]| {
            let target = words.join(" ");
            let missing = "Bad request.\nCould not find service \"x\" in domain for user gui: 501\n";
            Ok(answers.get(target.as_str()).copied().unwrap_or(missing).as_bytes().to_vec())
        };
        programs(&ask, known)
    }

    fn on_disk() -> OnDisk {
        let words = ["/Users/h/venv/bin/python", "-m", "hermes_cli.main", "gateway", "run"];
        let file = JobFile {
            label: "ai.hermes.gateway".into(),
            arguments: words.map(str::to_owned).to_vec(),
            keep_alive: true,
            ..JobFile::default()
        };
        OnDisk { path: PLIST.into(), user: Some(501), file }
    }

    const DOMAIN: &str = "gui/501 = {\n\ttype = login\n\tservices = {\n\
        \t\t    9820      - \tai.hermes.gateway\n\
        \t\t     500      - \tapplication.com.apple.Terminal.1152921500311879726\n\
        \t\t     700      - \tcom.example.web\n\
        \t\t     701      - \tcom.example.other\n\
        \t\t       0     78 \tcom.bruce.birkin.gateway\n\
        \t}\n}\n";

    #[test]
    fn finds_jobs_by_pid_by_file_and_by_name() {
        let pids = HashSet::from([9820, 500, 700]);
        let known = LaunchdFacts { users: &[501], pids: &pids, files: &[] };
        let running = gateway("\tstate = running\n\tpid = 9820\n\truns = 1\n");
        let wrapped = printed(
            "com.example.web",
            "\targuments = {\n\t\t/Users/h/run-hermes\n\t}\n\tstate = running\n\tpid = 700\n",
        );
        let found = asked(
            &[
                ("print gui/501", DOMAIN),
                ("print gui/501/ai.hermes.gateway", &running),
                ("print gui/501/com.example.web", &wrapped),
            ],
            &known,
        );
        let found = found.unwrap();
        let names: Vec<_> = found.iter().map(|program| program.claim.name.as_deref().unwrap()).collect();
        // The terminal window is a job and an ancestor of the server, but does not supervise it.
        assert_eq!(names, ["ai.hermes.gateway", "com.example.web"]);
        assert_eq!((found[0].claim.claimed_pid, found[0].claim.scope.as_deref()), (Some(9820), Some("gui/501")));
        assert_eq!(found[0].claim.restarts, Some(0));
    }

    #[test]
    fn a_job_file_that_is_not_loaded_is_an_idle_claim() {
        let pids = HashSet::new();
        let files = [on_disk()];
        let known = LaunchdFacts { users: &[501], pids: &pids, files: &files };
        let found = asked(&[("print gui/501", "gui/501 = {\n\tservices = {\n\t}\n}\n")], &known).unwrap();
        assert_eq!(found[0].claim.state.as_deref(), Some("not loaded"));
        assert!(found[0].claim.claim_state == ClaimState::Idle && found[0].is_enabled == Some(true));
        let disabled = "disabled services = {\n\t\"ai.hermes.gateway\" => disabled\n\t\"x\" => enabled\n}\n";
        let found = asked(&[("print-disabled gui/501", disabled)], &known).unwrap();
        assert_eq!((found[0].is_enabled, found[0].claim.state.as_deref()), (Some(false), Some("disabled")));
        let enabled = disabled.replace("disabled\n", "enabled\n");
        let found = asked(&[("print-disabled gui/501", &enabled)], &known).unwrap();
        assert_eq!(found[0].is_enabled, Some(true));
    }

    #[test]
    fn no_domain_that_answers_is_a_gap() {
        let pids = HashSet::new();
        let known = LaunchdFacts { users: &[501], pids: &pids, files: &[] };
        let refuse = |_: &[&str]| Err(Gap::new("launchctl", GapReason::NotFound, "no such program"));
        assert_eq!(programs(&refuse, &known).unwrap_err().reason, GapReason::NotFound);
        let garbage = |_: &[&str]| Ok(b"\xff{{{".to_vec());
        assert_eq!(programs(&garbage, &known).unwrap_err().reason, GapReason::Malformed);
        // An ssh login of a user without a graphical session: no job is known there, and that is a valid answer.
        let missing = |_: &[&str]| Ok(b"Bad request.\nCould not find domain for user gui: 501\n".to_vec());
        assert_eq!(programs(&missing, &known), Ok(Vec::new()));
        assert!(one(&missing, "ai.hermes.gateway", &[501], &[]).is_err());
        // The system's domain answers and the user's does not: whether the user's job is loaded is unknown.
        let files = [on_disk()];
        let known = LaunchdFacts { files: &files, ..known };
        let half = |words: &[&str]| match words {
            ["print", "system"] => Ok(b"system = {\n\tservices = {\n\t}\n}\n".to_vec()),
            _ => Err(Gap::new("launchctl", GapReason::Timeout, "")),
        };
        assert_eq!(programs(&half, &known), Ok(Vec::new()));
    }

    #[test]
    fn one_job_by_its_label_or_its_target() {
        let running = gateway("\tstate = running\n\tpid = 9820\n\truns = 3\n");
        let ask = |words: &[&str]| match words {
            ["print", "user/501/ai.hermes.gateway"] => Ok(running.clone().into_bytes()),
            _ => Ok(b"Could not find service \"x\"\n".to_vec()),
        };
        assert_eq!(one(&ask, "ai.hermes.gateway", &[501], &[]).unwrap().claim.claimed_pid, Some(9820));
        assert!(one(&ask, "user/501/ai.hermes.gateway", &[], &[]).is_ok());
        assert_eq!(one(&ask, "system/ai.hermes.gateway", &[501], &[]).unwrap_err().reason, GapReason::NotFound);
        let file = [on_disk()];
        assert!(
            one(&ask, "system/ai.hermes.gateway", &[501], &file).unwrap().claim.claim_state == ClaimState::Idle
        );
    }

    #[test]
    fn derives_the_claim_state_of_a_launchd_job() {
        use crate::model::ClaimState as State;
        for (body, expected) in [
            ("\tstate = running\n\tpid = 5\n\truns = 1\n\tproperties = keepalive | runatload\n", State::Running),
            (
                "\tstate = spawn scheduled\n\truns = 312\n\tlast exit code = 1\n\tproperties = keepalive\n",
                State::Restarting,
            ),
            (
                "\tstate = not running\n\truns = 9\n\tlast exit code = 0\n\tproperties = keepalive\n",
                State::Restarting,
            ),
            (
                "\tstate = not running\n\truns = 9\n\tlast exit code = 0\n\tpended spawn = semaphore\n\tproperties = keepalive\n",
                State::Idle,
            ),
            (
                "\tstate = not running\n\truns = 1\n\tlast exit code = 0\n\tproperties = runatload\n",
                State::Finished,
            ),
            (
                "\tstate = not running\n\truns = 1\n\tlast exit code = 78: EX_CONFIG\n\tproperties = runatload\n",
                State::GaveUp,
            ),
            (
                "\tstate = not running\n\truns = 1\n\tlast terminating signal = Terminated: 15\n\tproperties = runatload\n",
                State::Idle,
            ),
            (
                "\tstate = not running\n\truns = 1\n\tlast terminating signal = Killed: 9\n\tproperties = runatload\n",
                State::GaveUp,
            ),
            (
                "\tstate = not running\n\truns = 0\n\tlast exit code = (never exited)\n\tproperties = runatload\n",
                State::Idle,
            ),
            (
                "\tstate = not running\n\truns = 2\n\tlast exit code = 0\n\tsemaphores = {\n\t\tsuccessful exit => 0\n\t}\n\tproperties = runatload\n",
                State::Finished,
            ),
            (
                "\tstate = not running\n\truns = 2\n\tlast exit code = 1\n\tsemaphores = {\n\t\tsuccessful exit => 0\n\t}\n\tproperties = runatload\n",
                State::Restarting,
            ),
            (
                "\tstate = not running\n\truns = 90\n\tlast exit code = 1\n\tproperties = keepalive | penalty box\n",
                State::GaveUp,
            ),
        ] {
            assert_eq!(claim_of(body).claim_state, expected, "{body}");
        }
    }

    #[test]
    fn the_policy_includes_the_descriptor_limit_of_the_job() {
        let claim =
            claim_of("\tstate = running\n\tpid = 5\n\tresource limits = {\n\t\tmaxfiles (soft) => 4096\n\t}\n");
        assert!(claim.policy.unwrap().ends_with("SoftResourceLimits.NumberOfFiles=4096"));
        assert!(claim_of("\tstate = running\n\tpid = 5\n").policy.unwrap().ends_with("no SoftResourceLimits"));
    }
}
