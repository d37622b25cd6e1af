//! A point in time after which nothing is waited for.

use std::time::{Duration, Instant};

/// The end of an examination or of one of its steps.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

impl Deadline {
    /// `duration` from now.
    pub fn after(duration: Duration) -> Self {
        let now = Instant::now();
        // A duration beyond what the clock can hold is as good as a day.
        Self(now.checked_add(duration).unwrap_or_else(|| now + Duration::from_secs(86_400)))
    }

    /// The earlier of this one and `duration` from now.
    #[must_use]
    pub fn within(self, duration: Duration) -> Self {
        Self(self.0.min(Self::after(duration).0))
    }

    /// Time left; zero when it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// Whether it has passed.
    pub fn is_over(self) -> bool {
        self.remaining().is_zero()
    }
}
