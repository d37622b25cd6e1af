//! Points in time. Every time in RFC 3339 format is read and written here, because the clock of a host can have
//! any value: before the start of a process, at 1970, or beyond the year 9999.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::{Duration, SystemTime};

/// A point in time as RFC 3339 text in UTC. A time that was read keeps its text, whatever its precision: the
/// text can be from another program (a container runtime), from another version, or redacted.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Timestamp(String);

/// A duration in whole milliseconds, as every field `…_ms` of the JSON gives it.
pub fn whole_milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Timestamp {
    /// The time with whole seconds; `None` before 1970 and from the year 10000 on.
    pub fn seconds(at: SystemTime) -> Option<Self> {
        date_time(at).map(|at| Self(format!("{at:.0}Z")))
    }

    /// The time with milliseconds; `None` as in [`Self::seconds`].
    pub fn millis(at: SystemTime) -> Option<Self> {
        date_time(at).map(|at| Self(format!("{at:.3}Z")))
    }

    /// The time with milliseconds, or the nearest time that can be represented.
    pub fn clamped_millis(at: SystemTime) -> Self {
        let nearest = match at.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(_) => "9999-12-31T23:59:59.999Z",
            Err(_) => "1970-01-01T00:00:00.000Z",
        };
        Self::millis(at).unwrap_or_else(|| Self(nearest.to_owned()))
    }

    /// The time at this duration after 1970, with whole seconds; `None` as in [`Self::seconds`].
    pub fn of_unix(since_epoch: Duration) -> Option<Self> {
        SystemTime::UNIX_EPOCH.checked_add(since_epoch).and_then(Self::seconds)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The time; `None` if the text is not RFC 3339 in UTC, or is before 1970.
    pub fn time(&self) -> Option<SystemTime> {
        let (day, time) = self.0.strip_suffix('Z')?.split_once('T')?;
        // jiff also accepts shorter forms of ISO 8601.
        if day.len() != 10 || time.len() < 8 {
            return None;
        }
        let at: DateTime = format!("{day}T{time}").parse().ok()?;
        let since_epoch = Duration::try_from(at.duration_since(EPOCH)).ok()?;
        SystemTime::UNIX_EPOCH.checked_add(since_epoch)
    }
}

/// Keeps the text of another program unchanged.
impl From<&str> for Timestamp {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Timestamp {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<Timestamp> for serde_json::Value {
    fn from(time: Timestamp) -> Self {
        Self::String(time.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// 1970.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// The date and time in UTC, if it can be represented. A [`jiff::Timestamp`] ends a day before the end of the
/// year 9999.
fn date_time(at: SystemTime) -> Option<DateTime> {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let since_epoch = SignedDuration::try_from(since_epoch).ok()?;
    EPOCH.checked_add(since_epoch).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first second of the year 10000, which RFC 3339 cannot represent.
    const END_SECONDS: u64 = 253_402_300_800;

    fn seconds(at: SystemTime) -> Option<String> {
        Timestamp::seconds(at).map(|at| at.0)
    }

    fn millis(at: SystemTime) -> Option<String> {
        Timestamp::millis(at).map(|at| at.0)
    }

    /// The format of earlier versions, byte for byte.
    #[test]
    fn times_are_written_as_humantime_writes_them() {
        for (whole, nanoseconds) in [
            (0, 0),
            (0, 999_999_999),
            (951_782_400, 1_000_000),
            (1_795_601_250, 123_456_789),
            (4_102_444_800, 999_499_999),
            (END_SECONDS - 1, 999_999_999),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::new(whole, nanoseconds);
            assert_eq!(seconds(at), Some(humantime::format_rfc3339_seconds(at).to_string()));
            assert_eq!(millis(at), Some(humantime::format_rfc3339_millis(at).to_string()));
            assert_eq!(Timestamp::clamped_millis(at).as_str(), humantime::format_rfc3339_millis(at).to_string());
            let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(whole);
            assert_eq!(Timestamp::seconds(at).unwrap().time(), Some(whole));
        }
    }

    #[test]
    fn texts_of_other_forms_are_no_times() {
        for text in [
            "",
            "2026-11-28",
            "2026-11-28T12:00Z",
            "2026-11-28T12:00:00",
            "2026-11-28T12:00:00+01:00",
            "2026-11-28 12:00:00Z",
            "2026-11-28T120000Z",
            "2026-13-28T12:00:00Z",
            "2026-11-28T25:00:00Z",
            "-002026-11-28T12:00:00Z",
            "1969-12-31T23:59:59Z",
        ] {
            assert_eq!(Timestamp::from(text).time(), None, "{text}");
        }
        let read = |text: &str| Timestamp::from(text).time().and_then(millis);
        assert_eq!(read("2026-11-28T12:00:00.250Z").as_deref(), Some("2026-11-28T12:00:00.250Z"));
        assert_eq!(read("9999-12-31T23:59:59.999Z").as_deref(), Some("9999-12-31T23:59:59.999Z"));
        assert_eq!(read("1970-01-01T00:00:00Z").as_deref(), Some("1970-01-01T00:00:00.000Z"));
    }

    #[test]
    fn times_that_cannot_be_written_are_none_or_clamped() {
        let epoch = SystemTime::UNIX_EPOCH;
        let before =
            [Duration::from_nanos(1), Duration::from_secs(1), Duration::from_secs(i64::MAX.unsigned_abs())];
        for at in before.into_iter().filter_map(|age| epoch.checked_sub(age)) {
            assert_eq!((seconds(at), millis(at)), (None, None), "{at:?}");
            assert_eq!(Timestamp::clamped_millis(at).as_str(), "1970-01-01T00:00:00.000Z");
        }
        for number in [END_SECONDS, END_SECONDS * 100, i64::MAX.unsigned_abs()] {
            let after = Duration::from_secs(number);
            assert_eq!(Timestamp::of_unix(after), None, "{number}");
            if let Some(at) = epoch.checked_add(after) {
                assert_eq!((seconds(at), millis(at)), (None, None), "{at:?}");
                assert_eq!(Timestamp::clamped_millis(at).as_str(), "9999-12-31T23:59:59.999Z");
            }
        }
        assert_eq!(Timestamp::of_unix(Duration::MAX), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(seconds in proptest::prelude::any::<u64>(), text in ".{0,40}") {
            let _ = Timestamp::of_unix(Duration::from_secs(seconds));
            let _ = Timestamp::from(text.as_str()).time();
        }
    }
}
