//! A point in time at which every wait ends.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The end of an examination or of one of its steps.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    end: Instant,
    /// Set when the result is no longer needed.
    called_off: Option<&'static AtomicBool>,
}

impl Deadline {
    /// `duration` from now.
    pub fn after(duration: Duration) -> Self {
        let now = Instant::now();
        // A duration that the clock cannot represent becomes one day.
        let end = now.checked_add(duration).unwrap_or_else(|| now + Duration::from_secs(86_400));
        Self { end, called_off: None }
    }

    /// The same deadline, which also ends when `called_off` is set.
    #[must_use]
    pub fn unless(self, called_off: &'static AtomicBool) -> Self {
        Self { called_off: Some(called_off), ..self }
    }

    /// The earlier of this one and `duration` from now.
    #[must_use]
    pub fn within(self, duration: Duration) -> Self {
        Self { end: self.end.min(Self::after(duration).end), ..self }
    }

    /// Time left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        if self.called_off.is_some_and(|called_off| called_off.load(Ordering::Relaxed)) {
            return Duration::ZERO;
        }
        self.end.saturating_duration_since(Instant::now())
    }

    /// Longest single wait: the remaining time, or a shorter one where the wait can be called off.
    pub fn at_once(self) -> Duration {
        const MOMENT: Duration = Duration::from_millis(200);
        let remaining = self.remaining();
        if self.called_off.is_some() { remaining.min(MOMENT) } else { remaining }
    }

    /// Whether to continue after a wait of [`Self::at_once`] has ended.
    pub fn goes_on(self) -> bool {
        self.called_off.is_some() && !self.is_over()
    }

    /// Whether it has passed.
    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }
}

/// Waits until a descriptor is readable.
///
/// # Errors
/// `TimedOut` at the deadline.
pub fn wait_readable(source: impl AsFd, deadline: Deadline) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    loop {
        let wait = deadline.at_once();
        if wait.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let timeout = Timespec::try_from(wait).map_err(|_| io::ErrorKind::TimedOut)?;
        let mut fds = [PollFd::new(&source, PollFlags::IN)];
        match poll(&mut fds, Some(&timeout)) {
            Ok(0) if deadline.goes_on() => {}
            Ok(0) => return Err(io::ErrorKind::TimedOut.into()),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_deadline_is_over_in_each_of_its_steps() {
        static CANCELLED: AtomicBool = AtomicBool::new(false);
        let whole = Deadline::after(Duration::from_secs(1000)).unless(&CANCELLED);
        let step = whole.within(Duration::from_secs(500));
        assert!(!whole.is_over() && step.remaining() <= Duration::from_secs(500));
        assert!(step.goes_on() && step.at_once() < Duration::from_secs(1));
        CANCELLED.store(true, Ordering::Relaxed);
        assert!(whole.is_over() && step.is_over() && !step.goes_on());
        let plain = Deadline::after(Duration::from_secs(1000));
        assert!(!plain.goes_on() && plain.at_once() > Duration::from_secs(900));
    }
}
