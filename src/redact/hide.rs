//! Which redaction each kind of text has.

use super::Level;
use super::known::{in_python_library, is_function, is_own_term, is_word};
use super::names::{Names, Words};
use crate::model::{HostPath, PythonSymbol, TextKind, Timestamp, Visited, Visitor};
use crate::parse::mask::MASK;

/// The end of a time of a log whose zone is unknown.
const NO_ZONE: &str = " (local, zone unknown)";

/// Collects the names that must be recognised inside other texts, before any text is hidden.
pub struct Learn<'n>(pub &'n mut Names);

impl Visitor for Learn<'_> {
    fn text(&mut self, kind: TextKind, text: &mut String) {
        self.0.learn_placeholders(text);
        match kind {
            TextKind::UserName => self.0.learn_user(text),
            TextKind::ProgramName => self.0.learn_program(text),
            _ => {}
        }
        self.0.learn_homes(text);
    }

    fn path(&mut self, path: &mut HostPath) {
        self.0.learn_placeholders(path);
        self.0.learn_homes(path);
    }

    fn time(&mut self, _: &mut Timestamp) {}

    fn nanoseconds(&mut self, _: &mut u64) {}

    fn function(&mut self, function: &mut PythonSymbol, file: &mut HostPath) {
        function.accept(self);
        file.accept(self);
    }
}

/// Replaces names by placeholders.
pub struct Hide<'n>(pub &'n mut Names);

impl Visitor for Hide<'_> {
    fn text(&mut self, kind: TextKind, text: &mut String) {
        let names = &mut *self.0;
        *text = match kind {
            TextKind::UserName => names.user(text),
            TextKind::HostName => names.host(text),
            TextKind::CommandLine => names.text(text, Words::OfCommands),
            TextKind::ProgramName => names.name(text),
            TextKind::ThreadName => thread(text, names),
            TextKind::Url => names.url(text),
            TextKind::Address | TextKind::DescriptorTarget if is_path(text) => names.path(text),
            TextKind::LogSource if is_path(text) => names.path(text),
            TextKind::LogSource => names.text(text, Words::OfCommands),
            TextKind::KernelSymbol if is_symbol(text) => return,
            // A program can have the same name.
            TextKind::Symbol if is_word(text) => return,
            TextKind::OwnTerm if is_own_term(text) => return,
            TextKind::ServerVersion if names.level() == Level::Paranoid => MASK.to_owned(),
            TextKind::Version if names.level() == Level::Paranoid => numeric_part(text),
            TextKind::ServerVersion | TextKind::Version if is_version(text) => return,
            TextKind::Version if !is_word(text) && text.starts_with(|first: char| first.is_ascii_digit()) => {
                numeric_part(text)
            }
            _ => names.text(text, Words::OfPrograms),
        };
    }

    fn path(&mut self, path: &mut HostPath) {
        *path = self.0.path(path).into();
    }

    fn time(&mut self, time: &mut Timestamp) {
        let is_time = |character: char| character.is_ascii_digit() || "TZ:.-+".contains(character);
        let text = time.as_str().trim_end_matches(NO_ZONE);
        let is_date = text.len() >= 10
            && text.bytes().enumerate().all(|(at, byte)| (byte == b'-') == (at == 4 || at == 7) || at >= 10);
        *time = if is_date && text.chars().all(is_time) { self.0.time(time) } else { MASK.into() };
    }

    fn nanoseconds(&mut self, at: &mut u64) {
        *at = self.0.nanoseconds(*at);
    }

    /// A function of CPython's own library is public. Elsewhere file and line identify it.
    fn function(&mut self, function: &mut PythonSymbol, file: &mut HostPath) {
        let is_public = in_python_library(file).is_some() && is_function(function);
        if !is_public || self.0.level() == Level::Paranoid {
            function.accept(self);
        }
        file.accept(self);
    }
}

/// The number at the beginning of a version.
fn numeric_part(text: &str) -> String {
    text.chars().take_while(|character| character.is_ascii_digit() || *character == '.').collect()
}

fn is_path(text: &str) -> bool {
    text.starts_with(['/', '@', '~'])
}

/// Redacts the name of a thread. CPython's default names are kept; the target that it appends is redacted.
fn thread(name: &str, names: &mut Names) -> String {
    match name.split_once(" (") {
        Some((thread, target)) if is_unnamed_thread(thread) => {
            format!("{thread} ({})", names.name(target.trim_end_matches(')')))
        }
        None if is_unnamed_thread(name) => name.to_owned(),
        _ => names.name(name),
    }
}

/// Whether it is a default name of a thread in CPython: `MainThread`, `Thread-7`, `ThreadPoolExecutor-0_3`,
/// `asyncio_2`.
fn is_unnamed_thread(name: &str) -> bool {
    let number =
        ["Thread-", "Dummy-", "ThreadPoolExecutor-", "asyncio_"].iter().find_map(|kind| name.strip_prefix(kind));
    let is_number = |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    name == "MainThread" || number.is_some_and(|number| number.splitn(2, '_').all(is_number))
}

/// Whether it has the form of the name of a kernel function or a system call.
fn is_symbol(text: &str) -> bool {
    text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_. ".contains(&byte))
}

/// For example `0.51.900`, `exp-v0.52.167`.
fn is_version(text: &str) -> bool {
    let number = text.trim_start_matches("exp-").trim_start_matches('v');
    text.len() <= 24
        && number.contains('.')
        && number.split('.').all(|part| part.len() <= 5 && part.parse::<u32>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_thread_names_are_not_redacted() {
        for name in ["MainThread", "Thread-7", "ThreadPoolExecutor-0_3", "asyncio_2", "Dummy-1"] {
            assert!(is_unnamed_thread(name), "{name}");
        }
        for name in ["Thread-", "Thread-ann", "Thread-1234567", "asyncio_1_2_3", "ann", "MainThread2"] {
            assert!(!is_unnamed_thread(name), "{name}");
        }
        let mut names = Names::new(Level::Default, &[], None);
        let shown = thread("Thread-7 (anna)", &mut names);
        assert!(shown.starts_with("Thread-7 (") && !shown.contains("anna"), "{shown}");
    }
}
