//! Python stacks: the locks with waiting threads and their holders, then every distinct stack once.

use super::{View, words};
use crate::model::{LockWait, StackFrame, StackGroup, StackRole, StackThread, Stacks};
use crate::wording::stacks::{called_by, doing};
use unicode_width::UnicodeWidthStr;

/// Maximum number of frames per stack that are shown without `--verbose`.
const SHOWN_FRAMES: usize = 8;
/// Maximum number of threads per group that are named without `--verbose`.
const SHOWN_THREADS: usize = 4;

/// The complete output.
pub fn stacks(stacks: &Stacks, view: &View) -> String {
    let mut out = Text { view, text: String::new() };
    let threads: u64 = stacks.groups.iter().map(|group| group.count).sum::<u64>() + stacks.threads_omitted;
    let mut head = format!("Python {}, {threads} {}", stacks.interpreter, plural(threads, "thread"));
    if stacks.threads_omitted > 0 {
        head.push_str(&format!(", {} of them not shown", stacks.threads_omitted));
    }
    if !stacks.is_complete {
        head.push_str("; some stacks could not be read completely");
    }
    out.text.push('\n');
    out.beside("  ", &head);
    match stacks.gil_holder() {
        Some((group, thread)) => {
            let mut place = group.frames.first().map_or(String::new(), |frame| format!(", in {}", at(frame)));
            if let Some(frame) = called_by(&group.frames) {
                place.push_str(&format!(", called in {}", at(frame)));
            }
            out.beside("  ", &format!("The interpreter lock is held by {}{place}.", thread.title()));
        }
        None => out.beside("  ", "No thread holds the interpreter lock at this moment."),
    }
    if !stacks.locks.is_empty() {
        out.heading("LOCKS");
        stacks.locks.iter().for_each(|lock| out.lock(lock));
    }
    let (idle, others): (Vec<&StackGroup>, Vec<&StackGroup>) =
        stacks.groups.iter().partition(|group| group.role == StackRole::Idle);
    if !others.is_empty() {
        out.heading("THREADS");
        for (index, group) in others.into_iter().enumerate() {
            if index > 0 {
                out.text.push('\n');
            }
            out.group(group);
        }
    }
    if !idle.is_empty() {
        out.heading("IDLE");
        for group in idle {
            if view.verbose {
                out.group(group);
            } else {
                out.folded(group);
            }
        }
    }
    out.text
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// For example `Handler.do_GET at hermes-webui/server.py:127`.
fn at(frame: &StackFrame) -> String {
    format!("{} at {}", frame.function, place(frame))
}

/// A file without the common part of its path: the part before a package, or before the last directory.
fn place(frame: &StackFrame) -> String {
    let file = brief_path(&frame.file);
    frame.line.map_or_else(|| file.clone(), |line| format!("{file}:{line}"))
}

fn brief_path(path: &str) -> String {
    for marker in ["/site-packages/", "/dist-packages/"] {
        if let Some((_, rest)) = path.rsplit_once(marker) {
            return rest.to_owned();
        }
    }
    // `/usr/lib/python3.11/threading.py`: the standard library.
    let parts: Vec<&str> = path.split('/').collect();
    if let Some(library) = parts.iter().rposition(|part| part.starts_with("python3") || part.starts_with("python2"))
        && parts.get(library.saturating_sub(1)).is_some_and(|before| before.starts_with("lib"))
        && library + 1 < parts.len()
    {
        return parts.get(library + 1..).unwrap_or_default().join("/");
    }
    parts.get(parts.len().saturating_sub(2)..).unwrap_or_default().join("/").trim_start_matches('/').to_owned()
}

struct Text<'a> {
    view: &'a View,
    text: String,
}

impl Text<'_> {
    fn heading(&mut self, title: &str) {
        self.text.push_str(&format!("\n  {}\n", self.view.style.bold(title)));
    }

    /// Adds a text after a head, wrapped with a hanging indent.
    fn beside(&mut self, head: &str, text: &str) {
        let style = self.view.style;
        let width = style.width().saturating_sub(head.width()).max(20);
        for (index, line) in words::wrap(&style.locale(text), width).iter().enumerate() {
            let start = if index == 0 { head.to_owned() } else { " ".repeat(head.width()) };
            self.text.push_str(format!("{start}{line}").trim_end());
            self.text.push('\n');
        }
    }

    fn lock(&mut self, lock: &LockWait) {
        let style = self.view.style;
        let name = match (&lock.expression, &lock.given_as) {
            (Some(text), Some(given)) => format!("{given} (called {text} there)"),
            (Some(text), None) => text.clone().to_string(),
            _ => "a lock".to_owned(),
        };
        let name = style.shorten(&name, style.width().saturating_sub(4));
        self.text.push_str(&format!("  {}\n", style.bold(&name)));
        let line = StackFrame { function: lock.function.clone(), file: lock.file.clone(), line: Some(lock.line) };
        let looks = match lock.is_still {
            Some(true) => ", the same in both samples",
            Some(false) => ", but no longer at the second sample",
            None => "",
        };
        let waits = if lock.waiters == 1 { "thread waits" } else { "threads wait" };
        self.beside("    ", &format!("{} {waits} in {}{looks}", lock.waiters, at(&line)));
        let probably = if lock.is_probable { "probably " } else { "" };
        match (&lock.held_by, &lock.no_holder) {
            (Some(holder), _) => {
                let inside = StackFrame {
                    function: holder.function.clone(),
                    file: holder.file.clone(),
                    line: Some(holder.line),
                };
                let mut text = format!("{probably}held by {}, inside the block in {}", holder.title(), at(&inside));
                match &holder.waits_for {
                    Some(other) => text.push_str(&format!("; it waits for {other}")),
                    None => text.push_str(&format!("; it {} in {}", doing(holder.role), at(&holder.innermost))),
                }
                self.beside("    ", &text);
                if lock.is_cycle {
                    self.beside("    ", "deadlock: it waits, through other threads, for its own lock");
                }
            }
            (None, Some(why)) => self.beside("    ", &format!("holder unknown: {why}")),
            (None, None) => {}
        }
    }

    fn group(&mut self, group: &StackGroup) {
        let style = self.view.style;
        let how = kernel(group).map_or(String::new(), |how| format!(" ({how})"));
        let head = format!("  {:>3}  ", group.count);
        // One thread holds the interpreter lock (GIL) at a time; the other runnable threads wait for it.
        let is_turn = |thread: &StackThread| thread.system_call.as_ref().is_some_and(|call| call.name == "futex");
        let role = match group.role {
            StackRole::Running if group.threads.iter().all(is_turn) => "waits for the interpreter lock",
            role => role.words(),
        };
        self.beside(&head, &format!("{role}{how}: {}", self.names(group)));
        let most = if self.view.verbose { usize::MAX } else { SHOWN_FRAMES };
        let shown: Vec<&StackFrame> = group.frames.iter().take(most).collect();
        let widest = (style.width().saturating_sub(12)) / 2;
        let function = |frame: &StackFrame| style.shorten(&frame.function, widest.saturating_sub(2));
        let column = shown.iter().map(|frame| function(frame).width()).max().unwrap_or(0);
        for frame in &shown {
            let function = function(frame);
            let width = style.width().saturating_sub(11 + column).max(16);
            let place =
                if self.view.verbose { style.locale(&full(frame)) } else { style.shorten(&place(frame), width) };
            let space = " ".repeat((column + 2).saturating_sub(function.width()));
            let mut head = format!("       {function}{space}");
            // Not shortened; it may take several lines.
            for part in words::wrap(&place, width) {
                self.text.push_str(&format!("{head}{part}\n"));
                head = " ".repeat(head.width());
            }
        }
        let more = u64::try_from(group.frames.len() - shown.len()).unwrap_or(u64::MAX) + group.frames_omitted;
        if more > 0 {
            let line = style.locale(&format!("… {more} more"));
            self.text.push_str(&format!("       {}\n", style.dim(&line)));
        }
        if self.view.verbose {
            for thread in &group.threads {
                self.beside("       ", &one(thread));
            }
        }
    }

    /// A group on one line.
    fn folded(&mut self, group: &StackGroup) {
        let innermost = group.frames.first().map_or_else(|| "no Python frame".to_owned(), at);
        let head = format!("  {:>3}  ", group.count);
        self.beside(&head, &format!("{}, in {innermost}", self.names(group)));
    }

    fn names(&self, group: &StackGroup) -> String {
        let most = if self.view.verbose { 0 } else { SHOWN_THREADS };
        let mut named: Vec<String> = group.threads.iter().take(most.max(1)).map(StackThread::title).collect();
        if group.threads.len() > named.len() {
            named.push(format!("{} more", group.threads.len() - named.len()));
        }
        named.join(", ")
    }
}

fn full(frame: &StackFrame) -> String {
    frame.line.map_or_else(|| frame.file.clone(), |line| format!("{}:{line}", frame.file).into()).to_string()
}

/// State, wait channel and system call of a group, if they are the same for all threads.
fn kernel(group: &StackGroup) -> Option<String> {
    let word = |thread: &StackThread| {
        let call = thread.system_call.as_ref().map(|call| call.name.clone());
        call.or_else(|| thread.wait_channel.clone())
            .or_else(|| Some(thread.state.as_ref()?.words().to_owned().into()))
    };
    let first = word(group.threads.first()?)?;
    group.threads.iter().all(|thread| word(thread).as_ref() == Some(&first)).then_some(first.to_string())
}

/// One thread with its facts from the kernel.
fn one(thread: &StackThread) -> String {
    let mut parts = vec![thread.title()];
    parts.extend(thread.state.as_ref().map(|state| state.words().to_owned()));
    parts.extend(thread.wait_channel.as_ref().map(|channel| format!("wait channel {channel}")));
    if let Some(call) = &thread.system_call {
        let limit = match call.is_unlimited {
            Some(true) => " without a time limit",
            Some(false) => " with a time limit",
            None => "",
        };
        parts.push(format!("system call {}{limit}", call.name));
    }
    if thread.holds_gil {
        parts.push("holds the interpreter lock".to_owned());
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_paths_keep_their_distinguishing_parts() {
        for (path, expected) in [
            ("/usr/lib/python3.11/threading.py", "threading.py"),
            ("/usr/lib64/python3.12/concurrent/futures/thread.py", "concurrent/futures/thread.py"),
            ("/srv/venv/lib/python3.12/site-packages/uvicorn/server.py", "uvicorn/server.py"),
            ("/usr/lib/python3/dist-packages/yaml/reader.py", "yaml/reader.py"),
            ("/srv/hermes-webui/server.py", "hermes-webui/server.py"),
            ("/srv/python3/server.py", "python3/server.py"),
            ("/server.py", "server.py"),
            ("server.py", "server.py"),
            ("<string>", "<string>"),
        ] {
            assert_eq!(brief_path(path), expected);
        }
    }
}
