//! Output to the terminal, and progress.

use crate::command::{Cli, When, unwritten_output};
use crate::examine::Progress;
use crate::model::Envelope;
use crate::render::{self, Style};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether to use colour: on a terminal that supports it, unless the user chose otherwise (no-color.org).
pub fn use_colour(when: When, is_terminal: bool) -> bool {
    match when {
        When::Always => true,
        When::Never => false,
        When::Auto => {
            is_terminal
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
                && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        }
    }
}

/// Writes a text to standard output, with a final newline.
pub fn emit(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    note_output(StandardOutput.write_all(text.as_bytes()).and_then(|()| StandardOutput.write_all(end.as_bytes())));
}

/// The same for an envelope as JSON.
pub fn emit_json(envelope: &Envelope) {
    let mut out = BufWriter::with_capacity(16 * 1024, StandardOutput);
    let written =
        render::write_json(envelope, &mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    // Dropping the buffer would write the rest of the output after the lost part.
    let _ = out.into_parts();
    note_output(written);
}

/// Whether a part of the output was lost.
static IS_OUTPUT_LOST: AtomicBool = AtomicBool::new(false);

/// Whether standard output could not be written. A command with lost output ends with status 3, whatever its
/// result.
pub fn is_output_lost() -> bool {
    IS_OUTPUT_LOST.load(Ordering::Relaxed)
}

/// Reports a failed write to standard output, once. A closed pipe is not reported: its reader needs no more output.
fn note_output(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() != io::ErrorKind::BrokenPipe
        && !IS_OUTPUT_LOST.swap(true, Ordering::Relaxed)
    {
        complain(&unwritten_output(&error));
    }
}

/// Standard output without the buffer of the standard library. That buffer treats a descriptor that cannot be
/// written like a pipe without a reader, and returns an error for a full non-blocking pipe.
struct StandardOutput;

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use rustix::event::{PollFd, PollFlags, poll};
        use rustix::io::Errno;
        let out = rustix::stdio::stdout();
        loop {
            match rustix::io::write(out, bytes) {
                Err(Errno::INTR) => {}
                // Another process that shares the pipe has made it non-blocking.
                Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&out, PollFlags::OUT)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                },
                written => return Ok(written?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Prints one line on standard error.
pub fn complain(line: &str) {
    // One write, so that lines of two programs on one terminal are not mixed.
    let line = format!("hermes-doctor: {}\n", Style::new(false).locale(line));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// A progress line on standard error, in characters of the locale.
pub fn bar() -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new_spinner();
    // The last character is for a finished line.
    let drawn = Style::new(false).pick("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ", "-\\|/ ");
    bar.with_style(indicatif::ProgressStyle::default_spinner().tick_chars(drawn))
}

/// A flag that Ctrl-C and similar signals set, so that the results so far are summarised.
pub fn ends_on_signal() -> Result<Arc<AtomicBool>, String> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // `nohup` ignores it, and so does a shell for background jobs.
        if is_ignored(signal) {
            continue;
        }
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| format!("cannot catch signals: {error}"))?;
    }
    Ok(ended)
}

/// Whether this program was started with a signal ignored.
fn is_ignored(signal: i32) -> bool {
    #[allow(unsafe_code)]
    // SAFETY: only reads the action, into a valid buffer. See sigaction(2).
    unsafe {
        let mut set: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut set) == 0 && set.sa_sigaction == libc::SIG_IGN
    }
}

/// Progress on standard error, only on a terminal, and only for steps that take some time.
pub struct Spinner {
    bar: Option<indicatif::ProgressBar>,
    /// Set when Ctrl-C ends the run.
    pub ended: Option<Arc<AtomicBool>>,
}

impl Spinner {
    /// Starts the progress line.
    pub fn new(cli: &Cli) -> Self {
        let shows = std::io::stderr().is_terminal() && !cli.output.quiet && cli.selection.from.is_empty();
        let bar = shows.then(|| {
            let bar = bar();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, ended: None }
    }

    /// Removes the progress line.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Spinner {
    fn step(&self, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(Style::new(false).locale(what));
        }
    }

    fn is_over(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.load(Ordering::Relaxed))
    }
}
