//! Limits per user: the processes and files of any user can be slow to read, or can hang.

use super::wire::Subject;
use crate::model::GapDetail;
use rustix::process::geteuid;
use std::collections::HashMap;
use std::time::Duration;

/// Unanswered reads for each user. Each of them takes a timeout and leaves a worker process behind.
pub const MAX_UNANSWERED: usize = 3;
/// Shorter reads are not charged.
const SLOW: Duration = Duration::from_millis(1);

/// Time and timeouts charged to other users in one examination. Root and the doctor's own user are not charged.
#[derive(Debug, Default)]
pub struct Shares {
    by_user: HashMap<u32, Share>,
    /// The user that each subject is charged to, as far as resolved.
    users: HashMap<Subject, Option<u32>>,
    /// Whether the table of accounts, which that needs, timed out.
    pub accounts_hang: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    unanswered: usize,
    spent: Duration,
}

impl Shares {
    /// Whether nothing was charged so far.
    pub fn are_even(&self) -> bool {
        self.by_user.is_empty()
    }

    /// Whether a user was charged for a read.
    pub fn has(&self, user: u32) -> bool {
        self.by_user.contains_key(&user)
    }

    /// Whether a read of this duration is charged.
    pub fn is_slow(took: Duration) -> bool {
        took >= SLOW
    }

    /// Charges a read to a user.
    pub fn count(&mut self, user: u32, took: Duration, is_answered: bool) {
        let share = self.by_user.entry(user).or_default();
        share.spent = share.spent.saturating_add(took);
        share.unanswered += usize::from(!is_answered);
    }

    /// Why no more reads are made for a user. `waiting` is the number of workers that still wait for a file of that
    /// user. The reads of one user may take no longer than the remaining time, so that other users get their share.
    pub fn refusal(&self, user: u32, waiting: usize, left: Duration) -> Option<GapDetail> {
        let share = self.by_user.get(&user).copied().unwrap_or_default();
        if share.unanswered.max(waiting) >= MAX_UNANSWERED {
            return Some(GapDetail::Reads { count: MAX_UNANSWERED, uid: user });
        }
        let spent = share.spent.as_millis();
        (share.spent > left).then_some(GapDetail::ReadsTook { uid: user, ms: spent })
    }

    /// Whether the user of a subject is resolved.
    pub fn knows(&self, subject: &Subject) -> bool {
        self.users.contains_key(subject)
    }

    /// The user that a subject is charged to; `None` where it is not charged.
    pub fn user_of(&self, subject: &Subject) -> Option<u32> {
        self.users.get(subject).copied().flatten()
    }

    /// Stores the user of a subject.
    pub fn know(&mut self, subject: Subject, user: Option<u32>) {
        self.users.insert(subject, user.filter(|user| *user != 0 && *user != geteuid().as_raw()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_user_takes_no_more_than_is_left() {
        let other = geteuid().as_raw().wrapping_add(4000);
        let mut shares = Shares::default();
        assert!(shares.are_even());
        for (subject, user) in [(Subject::Process(1), 0), (Subject::Process(2), other), (Subject::User(3), other)] {
            assert!(!shares.knows(&subject));
            shares.know(subject.clone(), Some(user));
            assert_eq!(shares.user_of(&subject), Some(user).filter(|user| *user != 0));
        }
        shares.count(other, 4 * SECOND, true);
        assert_eq!(shares.refusal(other, 0, 6 * SECOND), None);
        assert!(shares.refusal(other, 0, 3 * SECOND).is_some());
        assert_eq!(shares.refusal(other + 1, 0, 3 * SECOND), None);
    }

    #[test]
    fn unanswered_reads_of_one_user_are_few() {
        let other = geteuid().as_raw().wrapping_add(4000);
        let mut shares = Shares::default();
        for _ in 0..MAX_UNANSWERED {
            assert_eq!(shares.refusal(other, 0, 9 * SECOND), None);
            shares.count(other, SLOW, false);
        }
        assert!(shares.refusal(other, 0, 9 * SECOND).is_some());
        // Workers of earlier examinations count as well.
        assert!(shares.refusal(other + 1, MAX_UNANSWERED, 9 * SECOND).is_some());
    }
}
