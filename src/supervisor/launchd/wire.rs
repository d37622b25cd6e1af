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
mod tests;
