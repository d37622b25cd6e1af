//! Logs of Python servers: errors of known classes, counted, with their times. The texts are those of CPython,
//! SQLite, asyncio and uvicorn as they appear in logs. No line is kept.

mod time;

use crate::model::{LogClass, LogClassFacts, LogFacts};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use memchr::memmem;
use time::{Written, split_time};

/// Maximum length of a line that is scanned. The relevant text is at its start, and a line can be megabytes
/// long.
const MAX_LINE: usize = 8 * 1024;
/// The level of a line is within this many bytes.
const LEVEL_WITHIN: usize = 160;
/// Maximum difference between clocks. A line further in the future is taken to be in another time zone.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(2);

/// Reference for the times of a log.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Time zone of lines without a zone; `None` if it is unknown.
    pub zone: Option<TimeZone>,
    /// The present time: no line is newer.
    pub now: Timestamp,
    /// Start of the server process, with a resolution of one second.
    pub started: Option<Timestamp>,
}

/// Scans the parts of a log that were read, oldest part first. `is_cut` is whether an earlier part is missing:
/// then the first line is incomplete and is skipped. The caller fills in source, sizes and sharing.
pub fn log(parts: &[&[u8]], is_cut: bool, clock: &Clock) -> LogFacts {
    let mut scan = Scan::new(clock);
    for (index, part) in parts.iter().enumerate() {
        let mut rest = *part;
        if index == 0 && is_cut {
            rest = memchr::memchr(b'\n', rest).map_or(&[][..], |end| rest.get(end + 1..).unwrap_or_default());
        }
        while !rest.is_empty() {
            let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            scan.line(rest.get(..end.min(MAX_LINE)).unwrap_or_default());
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    let mut facts = scan.facts();
    facts.is_cut = is_cut;
    facts
}

#[derive(Default)]
struct Tally {
    count: u64,
    first: Option<Written>,
    last: Option<Written>,
    first_line: u64,
    since: u64,
    is_comparable: bool,
    first_since: Option<(Timestamp, u64)>,
}

/// Exceptions of one chain: each was raised while another was handled.
#[derive(Default)]
struct Chain {
    counted: Vec<LogClass>,
    in_stack: bool,
    is_linked: bool,
}

struct Scan<'a> {
    clock: &'a Clock,
    zone: Option<TimeZone>,
    line: u64,
    time: Option<Written>,
    chain: Option<Chain>,
    /// Whether the traceback is part of a message, and not an error of this server.
    is_quoted: bool,
    counted_before: Option<LogClass>,
    tallies: Vec<(LogClass, Tally)>,
    ends_in_traceback: bool,
    last_exception: Option<String>,
    orderly_end: Option<Option<Written>>,
}

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
/// Messages of servers that end on request: those of uvicorn, and of CPython on Ctrl-C.
const ORDERLY: &[&[u8]] = &[b"Finished server process", b"Application shutdown complete", b"KeyboardInterrupt"];

impl<'a> Scan<'a> {
    fn new(clock: &'a Clock) -> Self {
        Self {
            clock,
            zone: clock.zone.clone(),
            line: 0,
            time: None,
            chain: None,
            is_quoted: false,
            counted_before: None,
            tallies: Vec::new(),
            ends_in_traceback: false,
            last_exception: None,
            orderly_end: None,
        }
    }

    fn line(&mut self, line: &[u8]) {
        self.line += 1;
        let (time, message) = split_time(line.strip_suffix(b"\r").unwrap_or(line));
        if let Some(time) = time {
            self.time = Some(time);
            // A line from the future was written in another time zone.
            if let Written::Local(local) = time
                && self.absolute(Written::Local(local)).is_some_and(|at| at > self.limit())
            {
                self.zone = None;
            }
        }
        if message.trim_ascii().is_empty() {
            return;
        }
        let message = without_margin(message);
        let level = level(line);
        self.is_quoted &= time.is_none() && level.is_none();
        if self.is_quoted {
            return;
        }
        if self.traceback(message, level) {
            return;
        }
        self.ends_in_traceback = false;
        self.counted_before = None;
        if ORDERLY.iter().any(|words| memmem::find(message, words).is_some()) {
            self.orderly_end = Some(self.time);
        }
        if message.first().is_some_and(u8::is_ascii_whitespace) || level == Some(Level::Information) {
            return;
        }
        if let Some(class) = class_of_line(message, level.is_some()) {
            self.count(class);
            self.counted_before = Some(class);
        }
    }

    /// Tracks tracebacks; returns whether the line is part of one.
    fn traceback(&mut self, message: &[u8], level: Option<Level>) -> bool {
        if let Some(at) = memmem::find(message, TRACEBACK) {
            let is_own = message.get(..at).is_some_and(|before| before.iter().all(|byte| b" +|".contains(byte)))
                || level == Some(Level::Trouble)
                || memmem::find(message, b"Exception Group").is_some();
            if !is_own {
                self.is_quoted = true;
                return true;
            }
            let linked = self.chain.take().filter(|chain| chain.is_linked);
            let mut chain = linked.unwrap_or_else(|| Chain {
                // The line that introduces a traceback often contains the same error.
                counted: self.counted_before.into_iter().collect(),
                ..Chain::default()
            });
            (chain.in_stack, chain.is_linked) = (true, false);
            self.chain = Some(chain);
            return true;
        }
        let Some(chain) = self.chain.as_mut() else { return false };
        if chain.in_stack {
            if message.first().is_some_and(u8::is_ascii_whitespace) {
                return true;
            }
            chain.in_stack = false;
            let (name, text) = exception(message);
            let class = class_of_exception(name, text).filter(|class| !chain.counted.contains(class));
            chain.counted.extend(class);
            self.ends_in_traceback = true;
            self.last_exception = usual_name(name);
            if let Some(class) = class {
                self.count(class);
            }
            return true;
        }
        if message.starts_with(b"During handling of the above exception")
            || message.starts_with(b"The above exception was the direct cause")
        {
            chain.is_linked = true;
            return true;
        }
        // The rule that socketserver prints after a traceback, and the frame of an exception group.
        if message.iter().all(|byte| b"-+ |0123456789".contains(byte)) {
            return true;
        }
        self.chain = None;
        false
    }

    fn count(&mut self, class: LogClass) {
        let absolute = self.time.and_then(|time| self.absolute(time));
        let (time, line, started) = (self.time, self.line, self.clock.started);
        if !self.tallies.iter().any(|(known, _)| *known == class) {
            self.tallies.push((class, Tally { first: time, first_line: line, ..Tally::default() }));
        }
        let Some((_, tally)) = self.tallies.iter_mut().find(|(known, _)| *known == class) else { return };
        tally.count += 1;
        tally.last = time.or(tally.last);
        if let (Some(at), Some(started)) = (absolute, started) {
            tally.is_comparable = true;
            if at >= started {
                tally.since += 1;
                tally.first_since.get_or_insert((at, line));
            }
        }
    }

    fn limit(&self) -> Timestamp {
        self.clock.now.checked_add(CLOCKS_DIFFER).unwrap_or(Timestamp::MAX)
    }

    fn absolute(&self, written: Written) -> Option<Timestamp> {
        match written {
            Written::Absolute(at) => Some(at),
            Written::Local(local) => self.zone.as_ref()?.to_timestamp(local).ok(),
        }
    }

    fn shown(&self, written: Option<Written>) -> Option<String> {
        let written = written?;
        Some(match (self.absolute(written), written) {
            (Some(at), _) => format!("{at:.3}"),
            (None, Written::Local(local)) => format!("{local} (local, zone unknown)"),
            (None, Written::Absolute(at)) => format!("{at:.3}"),
        })
    }

    fn facts(mut self) -> LogFacts {
        // The time zone was found to be wrong after some lines, so earlier comparisons with local times are not
        // valid.
        let is_wrong = self.clock.zone.is_some() && self.zone.is_none();
        for (_, tally) in &mut self.tallies {
            if is_wrong && matches!(tally.first, Some(Written::Local(_))) {
                (tally.is_comparable, tally.since, tally.first_since) = (false, 0, None);
            }
        }
        let started = |tally: &Tally| tally.first_since.map_or(tally.first_line, |(_, line)| line);
        let is_older = |tally: &Tally| tally.is_comparable && tally.since == 0;
        self.tallies.sort_by_key(|(_, tally)| (is_older(tally), started(tally)));
        let mut rank = 0;
        let classes = self.tallies.iter().map(|(class, tally)| {
            rank += u32::from(!is_older(tally));
            LogClassFacts {
                class: *class,
                count: tally.count,
                first_at: self.shown(tally.first).map(Into::into),
                last_at: self.shown(tally.last).map(Into::into),
                since_start: tally.is_comparable.then_some(tally.since),
                first_since_start_at: tally.first_since.map(|(at, _)| format!("{at:.3}")).map(Into::into),
                order: (!is_older(tally)).then_some(rank),
            }
        });
        LogFacts {
            classes: classes.collect(),
            ends_in_traceback: self.ends_in_traceback,
            ends_with_traceback: self.last_exception.clone().filter(|_| self.ends_in_traceback).map(Into::into),
            last_orderly_end_at: self.orderly_end.and_then(|time| self.shown(time)).map(Into::into),
            ..LogFacts::default()
        }
    }
}

/// Marks every class as older than the process, for a log that was not written since the start of the process.
pub fn all_older(facts: &mut LogFacts) {
    for class in &mut facts.classes {
        (class.since_start, class.first_since_start_at, class.order) = (Some(0), None, None);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Information,
    Trouble,
}

/// The level of a line, in the words of Python's logging, or as a key of a structured line.
fn level(line: &[u8]) -> Option<Level> {
    const WORDS: &[(&[u8], Level)] = &[
        (b"DEBUG", Level::Information),
        (b"INFO", Level::Information),
        (b"NOTICE", Level::Information),
        (b"TRACE", Level::Information),
        (b"WARNING", Level::Trouble),
        (b"WARN", Level::Trouble),
        (b"ERROR", Level::Trouble),
        (b"CRITICAL", Level::Trouble),
        (b"FATAL", Level::Trouble),
    ];
    let head = line.get(..line.len().min(LEVEL_WITHIN))?;
    let mut rest = head;
    while let Some(at) = rest.iter().position(u8::is_ascii_alphabetic) {
        rest = rest.get(at..)?;
        let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if let Some((_, level)) = WORDS.iter().find(|(known, _)| *known == word) {
            return Some(*level);
        }
        if word == b"level" || word == b"levelname" || word == b"lvl" {
            let value = after.trim_ascii_start();
            let value: Vec<u8> = value
                .iter()
                .skip_while(|byte| b"\"=: '".contains(byte))
                .take_while(|byte| byte.is_ascii_alphabetic())
                .map(u8::to_ascii_uppercase)
                .collect();
            return WORDS.iter().find(|(known, _)| *known == value).map(|(_, level)| *level);
        }
        rest = after;
    }
    None
}

/// Texts that identify an error in an exception or message, and the class of each.
const TEXTS: &[(&[u8], LogClass)] = &[
    (b"[Errno 24] Too many open files", LogClass::DescriptorsExhausted),
    (b"OSError(24, 'Too many open files')", LogClass::DescriptorsExhausted),
    (b"EMFILE: too many open files", LogClass::DescriptorsExhausted),
    (b"[Errno 23] Too many open files in system", LogClass::HostFilesExhausted),
    (b"database is locked", LogClass::DatabaseLocked),
    (b"database table is locked", LogClass::DatabaseLocked),
    (b"database disk image is malformed", LogClass::DatabaseMalformed),
    (b"can't start new thread", LogClass::ThreadsExhausted),
    (b"[Errno 28] No space left on device", LogClass::DiskFull),
    (b"database or disk is full", LogClass::DiskFull),
];

/// The error text in a message: its class, its start and its end.
fn find_text(message: &[u8]) -> Option<(LogClass, usize, usize)> {
    for (text, class) in TEXTS {
        if let Some(at) = memmem::find(message, text) {
            return Some((*class, at, at + text.len()));
        }
    }
    // asyncio puts the address between the number and the text.
    for number in [&b"[Errno 98]"[..], b"[Errno 48]"] {
        if let Some(at) = memmem::find(message, number)
            && memmem::find(message.get(at..).unwrap_or_default(), b"ddress already in use").is_some()
        {
            return Some((LogClass::AddressInUse, at, message.len()));
        }
    }
    let at = memmem::find(message, b"MemoryError")?;
    let begin = identifier_before(message.get(..at).unwrap_or_default());
    let after = message.get(at + 11..).unwrap_or_default();
    matches!(after.first(), None | Some(b':' | b'(')).then_some((LogClass::MemoryError, begin, message.len()))
}

/// Start of the identifier at the end of the text.
fn identifier_before(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte == b'.';
    text.iter().rposition(|byte| !is_part(byte)).map_or(0, |at| at + 1)
}

fn is_exception(name: &[u8]) -> bool {
    let last = name.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    last.ends_with(b"Error") || last.ends_with(b"Exception")
}

/// The class of a line outside of tracebacks. The text must have the form of an error message: the text of the
/// error after a colon or an exception's name. It does not count in the middle of a sentence or in the address
/// of a request.
fn class_of_line(message: &[u8], is_trouble: bool) -> Option<LogClass> {
    find_text(message)?;
    let message = without_request(message);
    let (class, begin, end) = find_text(&message)?;
    let before = message.get(..begin)?.trim_ascii_end();
    let after = message.get(end..)?.trim_ascii_end();
    let ends_the_line = after.is_empty()
        || after.starts_with(b": '")
        || after.starts_with(b": \"")
        || after.starts_with(b", open ");
    let of_key = before.strip_suffix(b"\"").and_then(key_before);
    if let Some(key) = of_key {
        return matches!(key, b"error" | b"err" | b"exc" | b"exception" | b"detail").then_some(class);
    }
    let (outer, is_named) = before_exception(before);
    // A repr contains the name of the exception.
    let is_named = is_named || message.get(begin..).is_some_and(|text| text.starts_with(b"OSError("));
    let is_said = match is_trouble {
        true => is_named || is_boundary(outer, true),
        false => ends_the_line && is_boundary(outer, false),
    };
    is_said.then_some(class)
}

/// The key of a JSON value that begins here.
fn key_before(text: &[u8]) -> Option<&[u8]> {
    let text = text.trim_ascii_end().strip_suffix(b":")?.trim_ascii_end().strip_suffix(b"\"")?;
    text.get(identifier_before(text)..)
}

/// The text before the name of the exception with the text that begins here, in the forms `Name: text`, `(Name) text`
/// and `Name('text`; and whether there is a name.
fn before_exception(before: &[u8]) -> (&[u8], bool) {
    let forms: [(&[&[u8]], &[u8]); 3] = [(&[b":"], b""), (&[b")"], b"("), (&[b"('", b"(\""], b"")];
    for (closings, opening) in forms {
        let Some(inner) = closings.iter().find_map(|closing| before.strip_suffix(*closing)) else { continue };
        let (outer, name) = inner.split_at(identifier_before(inner));
        if is_exception(name) && outer.ends_with(opening) {
            let outer = outer.strip_suffix(opening).unwrap_or(outer).trim_ascii_end();
            // SQLAlchemy prints its own exception before that of the database.
            return if outer.ends_with(b":") && !opening.is_empty() {
                (before_exception(outer).0, true)
            } else {
                (outer, true)
            };
        }
    }
    (before, false)
}

/// Whether a message can begin after this text.
fn is_boundary(before: &[u8], is_trouble: bool) -> bool {
    let Some(last) = before.last() else { return true };
    if matches!(last, b':' | b']') {
        return true;
    }
    is_trouble
        && (matches!(last, b'-' | b'(' | b'|' | b'=')
            || [&b"ERROR"[..], b"WARNING", b"CRITICAL", b"FATAL", b"WARN", b"exception"]
                .iter()
                .any(|word| before.ends_with(word)))
}

/// The message without the address of a request, which any client can choose.
fn without_request(message: &[u8]) -> Vec<u8> {
    const METHODS: &[&[u8]] = &[b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"PATCH", b"OPTIONS"];
    let mut out = message.to_vec();
    for method in METHODS {
        let Some(at) = memmem::find(message, method) else { continue };
        let after = at + method.len();
        let is_request = message.get(after) == Some(&b' ')
            && matches!(message.get(after + 1), Some(b'/' | b'h' | b'*'))
            && !at.checked_sub(1).and_then(|at| message.get(at)).is_some_and(u8::is_ascii_alphanumeric);
        if is_request {
            let rest = message.get(after..).unwrap_or_default();
            // The request line ends at its version, its quotation mark, or the end of the line.
            let length =
                memmem::find(rest, b" HTTP/").or_else(|| memchr::memchr2(b'"', b'\'', rest)).unwrap_or(rest.len());
            out.get_mut(after..after + length).unwrap_or_default().fill(b'_');
        }
    }
    out
}

/// Name and text of the exception in the last line of a traceback.
fn exception(message: &[u8]) -> (&[u8], &[u8]) {
    let end = message
        .iter()
        .position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_' && *byte != b'.')
        .unwrap_or(message.len());
    let (name, rest) = message.split_at(end);
    match rest.strip_prefix(b":") {
        Some(text) => (name, text.trim_ascii_start()),
        None if rest.trim_ascii().is_empty() => (name, b""),
        // The line does not have the form of an exception.
        None => (b"", message),
    }
}

/// The class of an exception. The whole text must be that of the error; a part is not enough.
fn class_of_exception(name: &[u8], text: &[u8]) -> Option<LogClass> {
    if name.ends_with(b"MemoryError") {
        return Some(LogClass::MemoryError);
    }
    let (class, begin, _) = find_text(text)?;
    let before = text.get(..begin)?.trim_ascii_end();
    let (outer, is_named) = before_exception(before);
    (is_exception(name) && class != LogClass::MemoryError && (before.is_empty() || is_named && outer.is_empty()))
        .then_some(class)
}

/// The last part of an exception's name, if its ending is one that only exceptions have.
fn usual_name(name: &[u8]) -> Option<String> {
    const ENDINGS: &[&[u8]] =
        &[b"Error", b"Exception", b"Warning", b"Interrupt", b"Exit", b"Timeout", b"ExceptionGroup"];
    let last = name.rsplit(|byte| *byte == b'.').next()?;
    let is_identifier = last.first().is_some_and(u8::is_ascii_alphabetic) && last.len() <= 64;
    let is_usual = ENDINGS.iter().any(|ending| last.ends_with(ending));
    (is_identifier && is_usual).then(|| String::from_utf8_lossy(last).into_owned())
}

/// The message without the margin of an exception group.
fn without_margin(message: &[u8]) -> &[u8] {
    let trimmed = message.trim_ascii_start();
    trimmed.strip_prefix(b"| ").unwrap_or(message)
}

#[cfg(test)]
mod tests;
