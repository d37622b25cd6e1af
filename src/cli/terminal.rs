//! What is written for a person, and how it is shown that something goes on.

use super::{Cli, When};
use crate::examine::Progress;
use crate::model::Envelope;
use crate::render::{self, Style};
use std::io::{BufWriter, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Colour on a terminal that can show it, unless told otherwise (no-color.org).
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

/// Writes to standard output; a reader that went away is no error of ours.
pub fn emit(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out
        .write_all(text.as_bytes())
        .and_then(|()| if text.ends_with('\n') { Ok(()) } else { out.write_all(b"\n") });
    let _ = out.flush();
}

/// The same for an envelope as JSON.
pub fn emit_json(envelope: &Envelope) {
    let mut out = BufWriter::with_capacity(16 * 1024, std::io::stdout().lock());
    let _ = render::write_json(envelope, &mut out).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// An error of the system in words, without its number and what is said after it.
pub fn said(error: &dyn std::fmt::Display) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or_default().to_owned()
}

/// One line on standard error.
pub fn complain(line: &str) {
    let line = Style::new(false).locale(line);
    let _ = writeln!(std::io::stderr().lock(), "hermes-doctor: {line}");
}

/// A line on standard error that is drawn again and again, in characters of the locale.
pub fn bar() -> indicatif::ProgressBar {
    let bar = indicatif::ProgressBar::new_spinner();
    // The last one is that of a line that is over.
    let drawn = Style::new(false).pick("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ", "-\\|/ ");
    bar.with_style(indicatif::ProgressStyle::default_spinner().tick_chars(drawn))
}

/// Set by Ctrl-C and its like, so that what was seen until then is summed up.
pub fn ends_on_signal() -> Result<Arc<AtomicBool>, String> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let ended = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // As `nohup` does, and a shell for what it starts in the background.
        if is_ignored(signal) {
            continue;
        }
        signal_hook::flag::register(signal, Arc::clone(&ended))
            .map_err(|error| format!("signals cannot be caught: {error}"))?;
    }
    Ok(ended)
}

/// Whether this program was started with a signal ignored.
fn is_ignored(signal: i32) -> bool {
    #[allow(unsafe_code)]
    // SAFETY: only asks, with room for the answer. See sigaction(2).
    unsafe {
        let mut set: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut set) == 0 && set.sa_sigaction == libc::SIG_IGN
    }
}

/// Progress on standard error, on a terminal only, for what is not over at once.
pub struct Spinner {
    bar: Option<indicatif::ProgressBar>,
    /// Set when Ctrl-C ends the look.
    pub ended: Option<Arc<AtomicBool>>,
}

impl Spinner {
    /// Drawn from now on.
    pub fn new(cli: &Cli) -> Self {
        let shows = std::io::stderr().is_terminal() && !cli.output.quiet && cli.selection.from.is_empty();
        let bar = shows.then(|| {
            let bar = bar();
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { bar, ended: None }
    }

    /// Takes it away.
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
