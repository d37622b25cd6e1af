//! The output of `launchctl print` and `launchctl list`: what launchd reports about its jobs (launchctl(1)).
//!
//! Apple does not treat the text of `print` as an interface and has changed it between releases. So the parser
//! requires as little as possible: a missing entry stays `None`, an unknown entry is skipped. The forms of
//! macOS 10.10 to 26 are known: `LABEL = {` and `gui/501/LABEL = {`, `properties` as a block of `name = 0` and
//! as one line.
//!
//! Text of the job's owner is not quoted in this output: an argument or a value may contain line ends, braces
//! and ` = `. So structure is parsed by indentation, not by counting braces. An entry of the job is a line with
//! exactly the outermost indentation. A block ends at the closing bracket with the same indentation as the line
//! that opened it.

use crate::model::text::printable;
use crate::parse::ParseError;

/// Maximum number of rows, arguments or conditions that are read from one output. A Mac has some hundreds of
/// jobs.
const MAX: usize = 4096;

const PRINT: &str = "launchctl print";
const LIST: &str = "launchctl list";

/// Result of a query to launchd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// The job or domain exists.
    Found(T),
    /// The domain exists and the job is not loaded in it. Its plist may still be on the disk.
    NoService,
    /// The domain does not exist: that user has no login session, or the session is not visible from here. This
    /// does not mean that the job is missing in another domain.
    NoDomain,
}

impl<T> Answer<T> {
    /// The result, if the job or domain exists.
    pub fn found(self) -> Option<T> {
        match self {
            Self::Found(found) => Some(found),
            Self::NoService | Self::NoDomain => None,
        }
    }
}

/// State of one loaded job (`launchctl print gui/501/LABEL`).
///
/// Of its environment only two variables are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// `gui/501`, `user/501`, `system` …; names of older releases are converted to these. Empty if none is
    /// printed.
    pub domain: String,
    /// Label of the job.
    pub label: String,
    /// Pid of the process that launchd itself started; `None` if there is none. With a wrapper it is the pid of
    /// the wrapper, and for a moment after a start that of the trampoline (state `xpcproxy`).
    pub pid: Option<u32>,
    /// State as printed: `running`, `not running`, `spawn scheduled` (delayed by the throttle), `xpcproxy`
    /// (being started); in older releases `waiting`.
    pub state: String,
    /// Job state as printed: `running`, `exited`, `spawn failed` …; newer releases only.
    pub job_state: Option<String>,
    /// Number of starts since it was loaded.
    pub runs: Option<u64>,
    /// How the latest finished run ended, as printed: `1`, `78: EX_CONFIG`, `(never exited)`, `Killed: 9`,
    /// `OS_REASON_CODESIGNING`. While there is a pid, this is the run before the present one.
    pub last_exit: Option<String>,
    /// Exit status of that run, if it exited.
    pub last_exit_code: Option<i32>,
    /// Signal that ended that run.
    pub last_signal: Option<i32>,
    /// Why a pending start is held back, as printed (`speculative`, `semaphore`, `inefficient` …): launchd does
    /// not start the job for now, whatever its `KeepAlive` is. Printed only while the job is down.
    pub pended_spawn: Option<String>,
    /// Program that is executed.
    pub program: Option<String>,
    /// Arguments, unmasked, the program's name first. They are recognised, and masked before they are printed.
    /// An argument may contain line ends; if such a line begins with two tabs, it counts as a separate
    /// argument.
    pub arguments: Vec<String>,
    /// `HERMES_HOME` of the job's own environment (not of the inherited, default or global one).
    pub home: Option<String>,
    /// `HERMES_WEBUI_PORT` of the same environment.
    pub webui_port: Option<u16>,
    /// Working directory, if one is configured.
    pub working_directory: Option<String>,
    /// File for its standard output.
    pub stdout_path: Option<String>,
    /// File for its standard error.
    pub stderr_path: Option<String>,
    /// The plist that it was loaded from; `None` for a job that a program submitted.
    pub plist: Option<String>,
    /// Whether it is always restarted: `KeepAlive` is true in its plist. `Some(false)` also means a `KeepAlive`
    /// with conditions, see [`Job::keep_alive_if`].
    pub keep_alive: Option<bool>,
    /// Conditions of its `KeepAlive`, as printed. For example, `successful exit => 0` restarts the job unless
    /// it ended with success.
    pub keep_alive_if: Vec<String>,
    /// Whether it is started when it is loaded (`RunAtLoad`).
    pub run_at_load: Option<bool>,
    /// Whether launchd has given up starting it.
    pub penalty_box: Option<bool>,
    /// Minimum time between two starts, in seconds (`ThrottleInterval`); 10 unless configured
    /// (launchd.plist(5)).
    pub minimum_runtime_s: Option<u64>,
    /// Soft limit of descriptors that its plist sets; `None` if it sets none or is unlimited.
    pub soft_descriptors: Option<u64>,
}

impl Job {
    /// The service target in the form of launchctl(1): `gui/501/LABEL`.
    pub fn target(&self) -> String {
        if self.domain.is_empty() { self.label.clone() } else { format!("{}/{}", self.domain, self.label) }
    }

    /// The log file: standard error, else standard output. `None` if both are discarded.
    pub fn log(&self) -> Option<&str> {
        log(self.stderr_path.as_deref(), self.stdout_path.as_deref())
    }
}

/// One job of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// Pid; `None` if it has no process.
    pub pid: Option<u32>,
    /// How its latest finished run ended: the exit status, or the negated signal number. `None` if no run has
    /// ended, or launchd prints another text (`(pe)`, `?`).
    pub last_status: Option<i32>,
    /// Label.
    pub label: String,
}

/// Output of `launchctl list LABEL` for one job of the caller's own domain. Without a pid the job is loaded and
/// has no process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// Label.
    pub label: String,
    /// `PID`; `None` when it is missing or 0.
    pub pid: Option<u32>,
    /// `LastExitStatus`, in the format of wait(2): 256 is exit status 1, 15 is SIGTERM.
    pub last_wait_status: Option<i32>,
    /// `Program`.
    pub program: Option<String>,
    /// `ProgramArguments`; unmasked, see [`Job::arguments`].
    pub arguments: Vec<String>,
    /// `StandardOutPath`.
    pub stdout_path: Option<String>,
    /// `StandardErrorPath`.
    pub stderr_path: Option<String>,
    /// `OnDemand`: false if `KeepAlive` is true, true also if it has conditions.
    pub on_demand: Option<bool>,
}

impl Listed {
    /// Exit status of the latest finished run, if it exited.
    pub fn last_exit_code(&self) -> Option<i32> {
        let status = self.last_wait_status?;
        (status & 0x7f == 0).then_some((status >> 8) & 0xff)
    }

    /// Signal that ended the latest finished run.
    pub fn last_signal(&self) -> Option<i32> {
        let signal = self.last_wait_status? & 0x7f;
        (signal != 0).then_some(signal)
    }

    /// The log file, as for [`Job::log`].
    pub fn log(&self) -> Option<&str> {
        log(self.stderr_path.as_deref(), self.stdout_path.as_deref())
    }
}

/// Parses the output of `launchctl print gui/501/LABEL`: standard output, or standard error if that is empty.
/// The refusals are on standard error, with exit status 113 for no service and 112 for no domain.
///
/// # Errors
/// When it is neither a job nor a known refusal, when it ends early, or has more entries than any job.
pub fn job(bytes: &[u8]) -> Result<Answer<Job>, ParseError> {
    let text = String::from_utf8_lossy(bytes);
    let (header, mut body) = match printed(&text)? {
        Answer::Found(found) => found,
        Answer::NoService => return Ok(Answer::NoService),
        Answer::NoDomain => return Ok(Answer::NoDomain),
    };
    let (domain, label) = split_target(header);
    let mut job = Job { domain: domain.unwrap_or_default(), label: shown(label), ..Job::default() };
    while let Some(entry) = body.entry()? {
        if let Some(name) = entry.strip_suffix(" = {").filter(|name| !name.contains(" = ")) {
            let block = body.block("}")?;
            take_block(&mut job, name, &block, &body)?;
        } else if let Some((key, value)) = entry.split_once(" = ") {
            take_value(&mut job, key, value);
        }
    }
    if job.state.is_empty() && job.pid.is_none() {
        return Err(ParseError::new(PRINT, "it contains no state of a job"));
    }
    Ok(Answer::Found(job))
}

/// An entry on one line.
fn take_value(job: &mut Job, key: &str, value: &str) {
    let text = || Some(shown(value)).filter(|text| !text.is_empty());
    match key {
        "path" => job.plist = text().filter(|path| path.starts_with('/')),
        "state" => job.state = shown(value),
        "job state" => job.job_state = text(),
        "program" => job.program = text(),
        "working directory" => job.working_directory = text(),
        "stdout path" => job.stdout_path = text(),
        "stderr path" => job.stderr_path = text(),
        // Older releases print only the label in the first line, and the domain here.
        "domain" if job.domain.is_empty() => job.domain = domain_name(value),
        "minimum runtime" => job.minimum_runtime_s = value.parse().ok(),
        "runs" => job.runs = value.parse().ok(),
        "pid" => job.pid = value.parse().ok().filter(|pid| *pid != 0),
        "pended spawn" | "pended nondemand spawn" => job.pended_spawn = text(),
        // Exactly one of these three is printed.
        "last exit code" => {
            job.last_exit = text();
            job.last_exit_code = value.split(':').next().and_then(|code| code.trim().parse().ok());
        }
        "last terminating signal" => {
            job.last_exit = text();
            job.last_signal = value.rsplit(": ").next().and_then(|number| number.trim().parse().ok());
        }
        "last exit reason" => job.last_exit = text(),
        "properties" => {
            let has = |name: &str| Some(value.split('|').any(|property| property.trim() == name));
            job.keep_alive = has("keepalive");
            job.run_at_load = has("runatload");
            job.penalty_box = has("penalty box");
        }
        _ => {}
    }
}

/// A block. Only the blocks named here are parsed: others repeat keys of the job (`state` of a coalition,
/// `path` of a socket, `keepalive` of an event trigger), and the environments contain secrets.
fn take_block(job: &mut Job, name: &str, block: &[&str], body: &Body<'_>) -> Result<(), ParseError> {
    if name == "arguments" {
        job.arguments = words(block, body)?;
        return Ok(());
    }
    for line in block.iter().filter_map(|line| body.inner(line)) {
        match name {
            "environment" => match line.split_once(" => ") {
                Some(("HERMES_HOME", home)) => job.home = Some(shown(home)).filter(|home| !home.is_empty()),
                Some(("HERMES_WEBUI_PORT", port)) => job.webui_port = port.trim().parse().ok(),
                _ => {}
            },
            "semaphores" => push(&mut job.keep_alive_if, shown(line), PRINT)?,
            "resource limits" => {
                if let Some(("maxfiles (soft)", limit)) = line.split_once(" => ") {
                    job.soft_descriptors = limit.parse().ok();
                }
            }
            "properties" => match line.split_once(" = ") {
                Some(("keepalive", value)) => job.keep_alive = Some(value != "0"),
                Some(("runatload", value)) => job.run_at_load = Some(value != "0"),
                Some(("penalty box", value)) => job.penalty_box = Some(value != "0"),
                _ => {}
            },
            _ => {}
        }
    }
    Ok(())
}

/// Parses the output of `launchctl print gui/501`: every job that is loaded in a domain, from its `services`
/// block.
///
/// # Errors
/// When it is neither a domain nor a known refusal, when it ends early, or has more jobs than any Mac.
pub fn domain(bytes: &[u8]) -> Result<Answer<Vec<Row>>, ParseError> {
    let text = String::from_utf8_lossy(bytes);
    let (_, mut body) = match printed(&text)? {
        Answer::Found(found) => found,
        Answer::NoService => return Ok(Answer::NoService),
        Answer::NoDomain => return Ok(Answer::NoDomain),
    };
    let mut rows = None;
    while let Some(entry) = body.entry()? {
        if !entry.ends_with(" = {") {
            continue;
        }
        let block = body.block("}")?;
        if entry == "services = {" {
            let found: &mut Vec<Row> = rows.insert(Vec::new());
            for row in block.iter().filter_map(|line| row(line)) {
                push(found, row, PRINT)?;
            }
        }
    }
    rows.map(Answer::Found).ok_or_else(|| ParseError::new(PRINT, "it contains no jobs of a domain"))
}

/// Parses the table of `launchctl list`: the jobs of the caller's own domain.
///
/// # Errors
/// When it has no heading, or has more jobs than any Mac.
pub fn table(bytes: &[u8]) -> Result<Vec<Row>, ParseError> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    if !lines.any(|line| line.split_whitespace().eq(["PID", "Status", "Label"])) {
        return Err(refused(LIST, &text));
    }
    let mut rows = Vec::new();
    for row in lines.filter_map(row) {
        push(&mut rows, row, LIST)?;
    }
    Ok(rows)
}

/// A line `PID STATUS LABEL`; `None` for any other line.
fn row(line: &str) -> Option<Row> {
    let (pid, rest) = line.trim_start().split_once(char::is_whitespace)?;
    let (status, label) = rest.trim_start().split_once(char::is_whitespace)?;
    let label = label.trim();
    if label.is_empty() || !(pid == "-" || pid.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    Some(Row {
        pid: pid.parse().ok().filter(|pid| *pid != 0),
        last_status: status.parse().ok(),
        label: shown(label),
    })
}

/// Parses the output of `launchctl list LABEL`: standard output, or standard error if that is empty.
///
/// # Errors
/// When it is neither a job nor a known refusal, when it ends early, or has more entries than any job.
pub fn listed(bytes: &[u8]) -> Result<Answer<Listed>, ParseError> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines();
    loop {
        let Some(line) = lines.next() else { return Err(refused(LIST, &text)) };
        if line == "{" {
            break;
        }
        if let Some(answer) = refusal(line) {
            return Ok(answer);
        }
    }
    let mut body = Body { what: LIST, lines, indent: None, end: &["};", "}"] };
    let mut job = Listed::default();
    while let Some(entry) = body.entry()? {
        let Some((key, value)) = entry.strip_prefix('"').and_then(|rest| rest.split_once("\" = ")) else {
            continue;
        };
        match value {
            // Sockets, Mach services and similar blocks.
            "{" => drop(body.block("};")?),
            "(" => {
                let block = body.block(");")?;
                if key == "ProgramArguments" {
                    job.arguments = words(&block, &body)?.iter().map(|word| unquoted(word).to_owned()).collect();
                }
            }
            _ => take_listed(&mut job, key, value),
        }
    }
    Ok(Answer::Found(job))
}

fn take_listed(job: &mut Listed, key: &str, value: &str) {
    let value = unquoted(value);
    let text = || Some(shown(value)).filter(|text| !text.is_empty());
    match key {
        "Label" => job.label = shown(value),
        "PID" => job.pid = value.parse().ok().filter(|pid| *pid != 0),
        "LastExitStatus" => job.last_wait_status = value.parse().ok(),
        "Program" => job.program = text(),
        "StandardOutPath" => job.stdout_path = text(),
        "StandardErrorPath" => job.stderr_path = text(),
        "OnDemand" => {
            job.on_demand = match value {
                "true" | "1" => Some(true),
                "false" | "0" => Some(false),
                _ => None,
            }
        }
        _ => {}
    }
}

/// `"a"b";` to `a"b`: launchd does not escape quotes inside a value.
fn unquoted(value: &str) -> &str {
    let value = value.strip_suffix(';').unwrap_or(value);
    value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value)
}

/// Splits an output of `launchctl print` into its first name and its lines.
fn printed(text: &str) -> Result<Answer<(&str, Body<'_>)>, ParseError> {
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        // A warning may come first.
        if let Some(name) = line.strip_suffix(" = {").filter(|name| !name.starts_with([' ', '\t'])) {
            return Ok(Answer::Found((name, Body { what: PRINT, lines, indent: None, end: &["}"] })));
        }
        if let Some(answer) = refusal(line) {
            return Ok(answer);
        }
    }
    Err(refused(PRINT, text))
}

/// The known refusals, with or without a line `Bad request.` above them.
fn refusal<T>(line: &str) -> Option<Answer<T>> {
    if line.contains("Could not find service") || line.contains("Could not find specified service") {
        Some(Answer::NoService)
    } else if line.contains("Could not find domain") {
        Some(Answer::NoDomain)
    } else {
        None
    }
}

/// An error for any other message, with the text of launchctl.
fn refused(what: &'static str, text: &str) -> ParseError {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let first = lines.next().unwrap_or("it printed nothing");
    let telling = if first == "Bad request." { lines.next().unwrap_or(first) } else { first };
    ParseError::new(what, shown(telling))
}

/// Lines of an output after the line that opened it.
struct Body<'a> {
    /// The command, for errors.
    what: &'static str,
    lines: std::str::Lines<'a>,
    /// Indentation of the outermost entries, from the first of them (a tab).
    indent: Option<&'a str>,
    /// Lines that close it.
    end: &'static [&'static str],
}

impl<'a> Body<'a> {
    fn line(&mut self) -> Result<&'a str, ParseError> {
        self.lines.next().ok_or_else(|| ParseError::new(self.what, "it ends early"))
    }

    /// The next outermost entry without its indentation; `None` at the end.
    fn entry(&mut self) -> Result<Option<&'a str>, ParseError> {
        loop {
            let line = self.line()?;
            if self.end.contains(&line) {
                return Ok(None);
            }
            if line.trim().is_empty() {
                continue;
            }
            let indent = match self.indent {
                Some(indent) => indent,
                None => line.split_at(line.len() - line.trim_start().len()).0,
            };
            if indent.is_empty() {
                return Err(ParseError::new(self.what, "its entries are not indented"));
            }
            self.indent = Some(indent);
            if let Some(entry) = line.strip_prefix(indent).filter(|entry| !entry.starts_with([' ', '\t'])) {
                return Ok(Some(entry));
            }
        }
    }

    /// Lines up to the one that closes the block of the entry just read.
    fn block(&mut self, end: &str) -> Result<Vec<&'a str>, ParseError> {
        let mut block = Vec::new();
        loop {
            let line = self.line()?;
            if self.indent.and_then(|indent| line.strip_prefix(indent)) == Some(end) {
                return Ok(block);
            }
            block.push(line);
        }
    }

    /// A line of a block without its indentation; `None` for a line that continues the line before it.
    fn inner<'l>(&self, line: &'l str) -> Option<&'l str> {
        let indent = self.indent?;
        line.strip_prefix(indent)?.strip_prefix(indent)
    }
}

/// One word per line. A line that is not indented like a word belongs to the word before it.
fn words(block: &[&str], body: &Body<'_>) -> Result<Vec<String>, ParseError> {
    let mut words: Vec<String> = Vec::new();
    for line in block {
        match (body.inner(line), words.last_mut()) {
            (Some(word), _) => push(&mut words, word.to_owned(), body.what)?,
            (None, Some(last)) => {
                last.push('\n');
                last.push_str(line);
            }
            (None, None) => {}
        }
    }
    Ok(words)
}

/// Domain and label of the name in the first line: `gui/501/LABEL`, `system/LABEL`; in older releases the label
/// alone.
fn split_target(name: &str) -> (Option<String>, &str) {
    if let Some((kind, rest)) = name.split_once('/') {
        match kind {
            "system" => return (Some(kind.to_owned()), rest),
            "gui" | "user" | "login" | "session" | "pid" => {
                if let Some((number, label)) = rest.split_once('/') {
                    return (Some(shown(&format!("{kind}/{number}"))), label);
                }
            }
            _ if kind.starts_with(OLD_DOMAIN) => return (Some(domain_name(kind)), rest),
            _ => {}
        }
    }
    (None, name)
}

/// Prefix of domain names in older releases.
const OLD_DOMAIN: &str = "com.apple.xpc.launchd.";

/// Converts domain names to the form of launchctl(1): `gui/501 [100010]` (with its audit session), and the
/// older `com.apple.xpc.launchd.domain.system`, `….domain.user.501` and `….user.domain.501.100009.Aqua`. Others
/// stay as printed.
fn domain_name(printed: &str) -> String {
    let name = printed.split(' ').next().unwrap_or(printed);
    let Some(old) = name.strip_prefix(OLD_DOMAIN) else { return shown(name) };
    if old == "domain.system" {
        return "system".to_owned();
    }
    let user = old.strip_prefix("domain.user.").or_else(|| old.strip_prefix("user.domain."));
    let (uid, session) = user.map(|user| user.split_once('.').unwrap_or((user, ""))).unwrap_or_default();
    if !uid.is_empty() && uid.bytes().all(|byte| byte.is_ascii_digit()) {
        if session.is_empty() {
            return format!("user/{uid}");
        }
        // Aqua is the graphical session of a user; others (Background, LoginWindow) have no domain name with a
        // uid.
        if session.ends_with(".Aqua") {
            return format!("gui/{uid}");
        }
    }
    shown(name)
}

fn log<'a>(stderr: Option<&'a str>, stdout: Option<&'a str>) -> Option<&'a str> {
    [stderr, stdout].into_iter().flatten().find(|path| *path != "/dev/null")
}

fn shown(text: &str) -> String {
    printable(text.as_bytes())
}

fn push<T>(list: &mut Vec<T>, item: T, what: &'static str) -> Result<(), ParseError> {
    if list.len() >= MAX {
        return Err(ParseError::new(what, format!("more than {MAX} entries in one list")));
    }
    list.push(item);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As macOS 11 and later print it.
    const RUNNING: &str = "gui/501/com.example.hermes-webui = {\n\
        \tactive count = 1\n\
        \tpath = /Users/h/Library/LaunchAgents/com.example.hermes-webui.plist\n\
        \ttype = LaunchAgent\n\
        \tstate = running\n\
        \n\
        \tprogram = /bin/bash\n\
        \targuments = {\n\
        \t\t/bin/bash\n\
        \t\t/Users/h/hermes-webui/start.sh\n\
        \t\t--title\n\
        \t\t\n\
        \t\ta = { b }\n\
        \t}\n\
        \n\
        \tworking directory = /Users/h/hermes = webui\n\
        \n\
        \tstdout path = /Users/h/.hermes/webui/launchd-stdout.log\n\
        \tstderr path = /Users/h/.hermes/webui/launchd-stderr.log\n\
        \tinherited environment = {\n\
        \t\tHERMES_HOME => /inherited\n\
        \t}\n\
        \n\
        \tdefault environment = {\n\
        \t\tHERMES_WEBUI_PORT => 1\n\
        \t}\n\
        \n\
        \tenvironment = {\n\
        \t\tOPENAI_API_KEY => sk-secret\n\
        \t\tHERMES_HOME => /Users/h/my => hermes\n\
        \t\tHERMES_WEBUI_PORT => 8790\n\
        \t\tXPC_SERVICE_NAME => com.example.hermes-webui\n\
        \t}\n\
        \n\
        \tdomain = gui/501 [100010]\n\
        \tasid = 100010\n\
        \tminimum runtime = 30\n\
        \texit timeout = 5\n\
        \truns = 312\n\
        \tpid = 9820\n\
        \timmediate reason = semaphore\n\
        \tlast exit code = 78: EX_CONFIG\n\
        \n\
        \tresource coalition = {\n\
        \t\tID = 397\n\
        \t\tstate = active\n\
        \t}\n\
        \n\
        \tevent triggers = {\n\
        \t\tcom.example.trigger => {\n\
        \t\t\tkeepalive = 0\n\
        \t\t\tstate = 0\n\
        \t\t\tdescriptor = {\n\
        \t\t\t\t\"pid\" => 1\n\
        \t\t\t}\n\
        \t\t}\n\
        \t}\n\
        \n\
        \tendpoints = {\n\
        \t\t\"com.example.hermes\" = {\n\
        \t\t\tport = 0x1b03\n\
        \t\t}\n\
        \t}\n\
        \n\
        \tresource limits = {\n\
        \t\tmaxfiles (soft) => 4096\n\
        \t\tmaxfiles (hard) => 8192\n\
        \t}\n\
        \n\
        \tjob state = running\n\
        \tproperties = keepalive | runatload | inferred program\n\
        }\n";

    fn found(text: &str) -> Job {
        job(text.as_bytes()).unwrap().found().unwrap()
    }

    #[test]
    fn reads_a_running_job() {
        let job = found(RUNNING);
        assert_eq!((job.domain.as_str(), job.label.as_str()), ("gui/501", "com.example.hermes-webui"));
        assert_eq!(job.target(), "gui/501/com.example.hermes-webui");
        assert_eq!((job.pid, job.state.as_str(), job.runs), (Some(9820), "running", Some(312)));
        assert_eq!(job.job_state.as_deref(), Some("running"));
        assert_eq!((job.last_exit.as_deref(), job.last_exit_code), (Some("78: EX_CONFIG"), Some(78)));
        assert_eq!((job.last_signal, job.pended_spawn.as_deref()), (None, None));
        assert_eq!(job.program.as_deref(), Some("/bin/bash"));
        assert_eq!(job.arguments, ["/bin/bash", "/Users/h/hermes-webui/start.sh", "--title", "", "a = { b }"]);
        assert_eq!(job.working_directory.as_deref(), Some("/Users/h/hermes = webui"));
        assert_eq!(job.log(), Some("/Users/h/.hermes/webui/launchd-stderr.log"));
        assert_eq!(job.plist.as_deref(), Some("/Users/h/Library/LaunchAgents/com.example.hermes-webui.plist"));
        assert_eq!((job.keep_alive, job.run_at_load, job.penalty_box), (Some(true), Some(true), Some(false)));
        assert_eq!((job.minimum_runtime_s, job.soft_descriptors), (Some(30), Some(4096)));
    }

    #[test]
    fn keeps_two_variables_of_the_own_environment() {
        let job = found(RUNNING);
        assert_eq!((job.home.as_deref(), job.webui_port), (Some("/Users/h/my => hermes"), Some(8790)));
        assert!(!format!("{job:?}").contains("sk-secret"));
    }

    #[test]
    fn reads_a_job_of_an_older_release() {
        let job = found(
            "ai.hermes.gateway = {\n\
             \tactive count = 0\n\
             \tpath = (submitted by hermes.3066)\n\
             \tstate = waiting\n\
             \tstdout path = /var/log/hermes.log\n\
             \tstderr path = /dev/null\n\
             \tdomain = com.apple.xpc.launchd.user.domain.501.100009.Aqua\n\
             \tlast exit code = (never exited)\n\
             \tsemaphores = {\n\
             \t\tsuccessful exit => 0\n\
             \t\tafter crash => 1\n\
             \t}\n\
             \tproperties = {\n\
             \t\tkeepalive = 0\n\
             \t\trunatload = 1\n\
             \t\tpenalty box = 0\n\
             \t}\n\
             }\n",
        );
        assert_eq!(job.target(), "gui/501/ai.hermes.gateway");
        assert_eq!((job.pid, job.plist.as_deref(), job.state.as_str()), (None, None, "waiting"));
        assert_eq!((job.last_exit.as_deref(), job.last_exit_code), (Some("(never exited)"), None));
        assert_eq!((job.keep_alive, job.run_at_load, job.penalty_box), (Some(false), Some(true), Some(false)));
        assert_eq!(job.keep_alive_if, ["successful exit => 0", "after crash => 1"]);
        assert_eq!(job.log(), Some("/var/log/hermes.log"));
    }

    #[test]
    fn reads_how_a_job_ended_and_why_it_waits() {
        let job = found(
            "system/ai.hermes.serve = {\n\tstate = not running\n\truns = 24991\n\
             \tpended nondemand spawn = inefficient\n\tlast terminating signal = Killed: 9\n\
             \tresource limits = {\n\t\tmaxfiles (soft) => (infinity)\n\t}\n\tproperties = penalty box\n}\n",
        );
        assert_eq!((job.domain.as_str(), job.label.as_str()), ("system", "ai.hermes.serve"));
        assert_eq!((job.last_exit.as_deref(), job.last_signal), (Some("Killed: 9"), Some(9)));
        assert_eq!(job.last_exit_code, None);
        assert_eq!(job.pended_spawn.as_deref(), Some("inefficient"));
        assert_eq!((job.soft_descriptors, job.penalty_box), (None, Some(true)));
        let job = found("x = {\n\tstate = spawn scheduled\n\tlast exit reason = OS_REASON_CODESIGNING\n}\n");
        assert_eq!((job.target().as_str(), job.state.as_str()), ("x", "spawn scheduled"));
        assert_eq!(job.last_exit.as_deref(), Some("OS_REASON_CODESIGNING"));
    }

    #[test]
    fn free_text_closes_no_block() {
        let job = found(
            "gui/501/ai.hermes.gateway = {\n\tstate = running\n\targuments = {\n\t\tbash\n\t\t-c\n\t\tf() {\n\
             \x20 state = no\n}\n\nf\n\t}\n\tenvironment = {\n\t\tTOKEN => a\n}\npid = 1\n\t\tHERMES_HOME => /h\n\t}\n\
             \tpid = 7\n}\nHERMES_HOME => /later\n",
        );
        assert_eq!(job.arguments, ["bash", "-c", "f() {\n  state = no\n}\n\nf"]);
        assert_eq!((job.pid, job.state.as_str(), job.home.as_deref()), (Some(7), "running", Some("/h")));
    }

    #[test]
    fn an_argument_is_kept_as_it_is_and_the_rest_is_printable() {
        let job = found(
            "gui/501/a\x1b[2J = {\n\tstate = run\x07ning\n\targuments = {\n\t\t\x1b[31m\n\t}\n\
             \tenvironment = {\n\t\tHERMES_HOME => /h\u{202e}\n\t\tHERMES_WEBUI_PORT => 70000\n\t}\n}\n",
        );
        assert_eq!((job.label.as_str(), job.state.as_str()), ("a\\u{1b}[2J", "run\\u{7}ning"));
        assert_eq!(job.arguments, ["\x1b[31m"]);
        assert_eq!((job.home.as_deref(), job.webui_port), (Some("/h\\u{202e}"), None));
    }

    #[test]
    fn turns_old_names_of_domains_into_targets() {
        for (printed, expected) in [
            ("gui/501 [100010]", "gui/501"),
            ("user/501", "user/501"),
            ("system", "system"),
            ("com.apple.xpc.launchd.domain.system", "system"),
            ("com.apple.xpc.launchd.domain.user.501", "user/501"),
            ("com.apple.xpc.launchd.user.domain.501.100009.Aqua", "gui/501"),
            (
                "com.apple.xpc.launchd.user.domain.501.100009.Background",
                "com.apple.xpc.launchd.user.domain.501.100009.Background",
            ),
        ] {
            assert_eq!(domain_name(printed), expected);
        }
        let (domain, label) = split_target("com.apple.xpc.launchd.user.domain.501.1.Aqua/ai.hermes.gateway");
        assert_eq!((domain.as_deref(), label), (Some("gui/501"), "ai.hermes.gateway"));
        assert_eq!(split_target("a/b"), (None, "a/b"));
    }

    #[test]
    fn distinguishes_launchctl_errors() {
        let service = "Could not find service \"ai.hermes.gateway\" in domain for";
        for text in [
            format!("Bad request.\n{service} user gui: 501\n"),
            format!("{service} system\n"),
            format!("{service} port\n"),
        ] {
            assert_eq!(job(text.as_bytes()), Ok(Answer::NoService));
            assert_eq!(listed(text.as_bytes()), Ok(Answer::NoService));
        }
        let no_domain = b"Bad request.\nCould not find domain for user gui: 999\n";
        assert_eq!(job(no_domain), Ok(Answer::NoDomain));
        assert_eq!(domain(no_domain), Ok(Answer::NoDomain));
        assert_eq!(job(b"Bad request.\nNot \x1bprivileged\n").unwrap_err().why, "Not \\u{1b}privileged");
        assert_eq!(job(b"Bad request.\n").unwrap_err().why, "Bad request.");
        assert_eq!(job(b"").unwrap_err().why, "it printed nothing");
    }

    #[test]
    fn broken_answers_are_errors() {
        for end in 1..RUNNING.len() - 2 {
            assert!(job(&RUNNING.as_bytes()[..end]).is_err(), "{end}");
        }
        assert!(job(b"gui/501/x = {\n}\n").is_err());
        assert!(job(b"gui/501 = {\n\ttype = login\n\tservices = {\n\t}\n}\n").is_err());
        assert!(job(b"gui/501/x = {\nstate = running\n}\n").is_err());
        assert!(domain(RUNNING.as_bytes()).is_err());
        assert!(table(b"1\t0\tx\n").is_err());
        assert!(listed(b"{\n\t\"PID\" = 1;\n").is_err());
        let many = format!("x = {{\n\tstate = running\n\targuments = {{\n{}\t}}\n}}\n", "\t\ta\n".repeat(MAX + 1));
        assert!(job(many.as_bytes()).is_err());
        assert!(table(format!("PID\tStatus\tLabel\n{}", "1\t0\tx\n".repeat(MAX + 1)).as_bytes()).is_err());
    }

    #[test]
    fn deep_nesting_costs_nothing() {
        let deep: String = (1..20_000).map(|_| "\t\t\tx = {\n").collect();
        let text = format!("x = {{\n\tevent triggers = {{\n{deep}\t}}\n\tstate = running\n}}\n");
        assert_eq!(found(&text).state, "running");
    }

    #[test]
    fn reads_the_jobs_of_a_domain() {
        let rows = domain(
            b"gui/501 = {\n\ttype = login\n\thandle = 100017\n\tsecurity context = {\n\t\tuid = 501\n\t}\n\n\
              \tservices = {\n\
              \t\t     887      - \tai.hermes.gateway\n\
              \t\t       0     78 \tcom.example.hermes-webui\n\
              \t\t       -     -9 \tai.hermes.serve\n\
              \t\t       0   (pe) \ta label with spaces\n\
              \t\tgarbage\n\
              \t}\n\n\
              \tunmanaged processes = {\n\t\tx = {\n\t\t\tservices = {\n\t\t\t}\n\t\t}\n\t}\n\
              \tdisabled services = {\n\t\t\"ai.hermes.mobile-tunnel\" => disabled\n\t}\n\tproperties = gui\n}\n",
        )
        .unwrap()
        .found()
        .unwrap();
        let expected = [
            (Some(887), None, "ai.hermes.gateway"),
            (None, Some(78), "com.example.hermes-webui"),
            (None, Some(-9), "ai.hermes.serve"),
            (None, None, "a label with spaces"),
        ];
        assert_eq!(rows.len(), expected.len());
        for (row, expected) in rows.iter().zip(expected) {
            assert_eq!((row.pid, row.last_status, row.label.as_str()), expected);
        }
        assert_eq!(domain(b"user/1 = {\n\tservices = {\n\t}\n}\n"), Ok(Answer::Found(Vec::new())));
    }

    #[test]
    fn reads_the_table() {
        let rows = table(
            b"PID\tStatus\tLabel\n9820\t0\tai.hermes.gateway\n-\t-15\tcom.example.hermes-webui\n-\t0\t\nx\ty\tz\n",
        )
        .unwrap();
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].pid, rows[0].last_status), (Some(9820), Some(0)));
        assert_eq!((rows[1].pid, rows[1].last_status), (None, Some(-15)));
        assert_eq!(rows[1].label, "com.example.hermes-webui");
    }

    #[test]
    fn reads_one_job_of_the_list() {
        let job = listed(
            b"{\n\
              \t\"StandardOutPath\" = \"/Users/h/.hermes/logs/gateway.log\";\n\
              \t\"MachServices\" = {\n\t\t\"PID\" = mach-port-object;\n\t};\n\
              \t\"Label\" = \"ai.hermes.gateway\";\n\
              \t\"OnDemand\" = false;\n\
              \t\"LastExitStatus\" = 256;\n\
              \t\"PID\" = 9820;\n\
              \t\"Program\" = \"/usr/bin/python3\";\n\
              \t\"ProgramArguments\" = (\n\
              \t\t\"/usr/bin/python3\";\n\t\t\"say \"x\";\nand y\";\n\t\t\"\";\n\
              \t);\n};\n",
        )
        .unwrap()
        .found()
        .unwrap();
        assert_eq!((job.label.as_str(), job.pid, job.on_demand), ("ai.hermes.gateway", Some(9820), Some(false)));
        assert_eq!((job.last_wait_status, job.last_exit_code(), job.last_signal()), (Some(256), Some(1), None));
        assert_eq!(job.program.as_deref(), Some("/usr/bin/python3"));
        assert_eq!(job.arguments, ["/usr/bin/python3", "say \"x\";\nand y", ""]);
        assert_eq!(job.log(), Some("/Users/h/.hermes/logs/gateway.log"));
    }

    #[test]
    fn a_listed_job_without_pid_is_loaded_only() {
        let job = listed(
            b"{\n\t\"Label\" = \"ai.hermes.gateway\";\n\t\"OnDemand\" = true;\n\t\"LastExitStatus\" = 15;\n\
              \t\"ProgramArguments\" = ();\n};\n",
        )
        .unwrap()
        .found()
        .unwrap();
        assert_eq!((job.pid, job.on_demand), (None, Some(true)));
        assert_eq!((job.last_exit_code(), job.last_signal()), (None, Some(15)));
        assert!(job.arguments.is_empty() && job.log().is_none());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = job(&bytes);
            let _ = domain(&bytes);
            let _ = table(&bytes);
            let _ = listed(&bytes);
        }

        #[test]
        fn never_panics_on_shuffled_lines(lines in proptest::collection::vec(proptest::sample::select(vec![
            "gui/501/x = {", "/ = {", " = {", "{", "\t", "\t\t", "\u{a0}\u{2003}x", "\targuments = {", "\t\ta", "\tservices = {",
            "\t\t1 0 x", "\tenvironment = {", "\t\tHERMES_HOME => /h", "\tproperties = {", "\t\tkeepalive = ", "\t}",
            "\t};", "\t);", "}", "};", "\tstate = running", "\tdomain = com.apple.xpc.launchd.user.domain..",
            "\tlast exit code = :", "\tlast terminating signal = : ", "\t\"ProgramArguments\" = (", "\t\t\"a\";", "\t\t\"",
            "\t\"PID\" = ;", "\t\"Label\" = \"", "\t\"LastExitStatus\" = -2147483648;", "PID Status Label", "- - -",
        ]), 0..40)) {
            let text = lines.join("\n");
            let _ = job(text.as_bytes());
            let _ = domain(text.as_bytes());
            let _ = table(text.as_bytes());
            if let Ok(Answer::Found(job)) = listed(text.as_bytes()) {
                let _ = (job.last_exit_code(), job.last_signal());
            }
        }
    }
}
