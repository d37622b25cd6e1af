//! Points in time as text: RFC 3339 in UTC. Every time that is written or read as RFC 3339 goes through here, because the clock of a
//! host can be anywhere: before a process's start, at 1970, or beyond the year 9999.

use jiff::SignedDuration;
use jiff::civil::{DateTime, date};
use std::time::{Duration, SystemTime};

/// The time with whole seconds; `None` before 1970 and from the year 10000 on.
pub fn rfc3339_seconds(at: SystemTime) -> Option<String> {
    date_time(at).map(|at| format!("{at:.0}Z"))
}

/// The time with milliseconds; `None` as in [`rfc3339_seconds`].
pub fn rfc3339_millis(at: SystemTime) -> Option<String> {
    date_time(at).map(|at| format!("{at:.3}Z"))
}

/// The time with milliseconds where a text is required: the nearest time that can be written stands in for one that cannot.
pub fn clamped_rfc3339_millis(at: SystemTime) -> String {
    let nearest = match at.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(_) => "9999-12-31T23:59:59.999Z",
        Err(_) => "1970-01-01T00:00:00.000Z",
    };
    rfc3339_millis(at).unwrap_or_else(|| nearest.to_owned())
}

/// The time that many seconds after 1970 with whole seconds; `None` as in [`rfc3339_seconds`].
pub fn rfc3339_of_unix(since_epoch: Duration) -> Option<String> {
    SystemTime::UNIX_EPOCH.checked_add(since_epoch).and_then(rfc3339_seconds)
}

/// The time of a text; `None` where it is not RFC 3339 in UTC, as this program writes it, or before 1970.
pub fn parse_rfc3339(text: &str) -> Option<SystemTime> {
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    // The library takes shorter forms of ISO 8601 as well.
    if day.len() != 10 || time.len() < 8 {
        return None;
    }
    let at: DateTime = format!("{day}T{time}").parse().ok()?;
    let since_epoch = Duration::try_from(at.duration_since(EPOCH)).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since_epoch)
}

/// 1970.
const EPOCH: DateTime = date(1970, 1, 1).at(0, 0, 0, 0);

/// The date and time in UTC, where it can be written. A [`jiff::Timestamp`] ends a day before the year 9999 does.
fn date_time(at: SystemTime) -> Option<DateTime> {
    let since_epoch = at.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let since_epoch = SignedDuration::try_from(since_epoch).ok()?;
    EPOCH.checked_add(since_epoch).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first second of the year 10000, which RFC 3339 has no digits for.
    const END_SECONDS: u64 = 253_402_300_800;

    /// What earlier versions wrote, byte for byte.
    #[test]
    fn times_are_written_as_humantime_writes_them() {
        for (seconds, nanoseconds) in [
            (0, 0),
            (0, 999_999_999),
            (951_782_400, 1_000_000),
            (1_795_601_250, 123_456_789),
            (4_102_444_800, 999_499_999),
            (END_SECONDS - 1, 999_999_999),
        ] {
            let at = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
            assert_eq!(rfc3339_seconds(at), Some(humantime::format_rfc3339_seconds(at).to_string()));
            assert_eq!(rfc3339_millis(at), Some(humantime::format_rfc3339_millis(at).to_string()));
            assert_eq!(clamped_rfc3339_millis(at), humantime::format_rfc3339_millis(at).to_string());
            let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(parse_rfc3339(&rfc3339_seconds(at).unwrap()), Some(whole));
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
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
        let read = |text| parse_rfc3339(text).and_then(rfc3339_millis);
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
            assert_eq!((rfc3339_seconds(at), rfc3339_millis(at)), (None, None), "{at:?}");
            assert_eq!(clamped_rfc3339_millis(at), "1970-01-01T00:00:00.000Z");
        }
        for seconds in [END_SECONDS, END_SECONDS * 100, i64::MAX.unsigned_abs()] {
            let after = Duration::from_secs(seconds);
            assert_eq!(rfc3339_of_unix(after), None, "{seconds}");
            if let Some(at) = epoch.checked_add(after) {
                assert_eq!((rfc3339_seconds(at), rfc3339_millis(at)), (None, None), "{at:?}");
                assert_eq!(clamped_rfc3339_millis(at), "9999-12-31T23:59:59.999Z");
            }
        }
        assert_eq!(rfc3339_of_unix(Duration::MAX), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(seconds in proptest::prelude::any::<u64>(), text in ".{0,40}") {
            let _ = rfc3339_of_unix(Duration::from_secs(seconds));
            let _ = parse_rfc3339(&text);
        }
    }
}
