//! Times at the start of lines, as Python's logging, journald and web servers write them.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::Offset;
use memchr::memmem;

/// The time is within this many bytes of a line; the address of a client may come before it.
const TIME_WITHIN: usize = 96;

/// A time as written in a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Written {
    /// With a time zone.
    Absolute(Timestamp),
    /// Without a time zone.
    Local(DateTime),
}

/// The time of a line and the text after it, without the host and program names of journald.
pub fn split_time(line: &[u8]) -> (Option<Written>, &[u8]) {
    let head = line.len().min(TIME_WITHIN);
    let mut at = 0;
    while at < head {
        let is_start = line.get(at).is_some_and(u8::is_ascii_digit)
            && !at.checked_sub(1).and_then(|before| line.get(before)).is_some_and(u8::is_ascii_alphanumeric);
        if is_start {
            let rest = line.get(at..).unwrap_or_default();
            if let Some((time, length)) = iso(rest).or_else(|| common_log(rest)) {
                let message = rest.get(length..).unwrap_or_default();
                let message = message.strip_prefix(b"]").unwrap_or(message);
                let message = message.strip_prefix(b":").unwrap_or(message);
                let message = message.strip_prefix(b" ").unwrap_or(message);
                return (Some(time), without_origin(message));
            }
        }
        at += 1;
    }
    (None, line)
}

/// `host program[123]: ` of journald and syslog.
fn without_origin(message: &[u8]) -> &[u8] {
    let Some(end) = memmem::find(message.get(..message.len().min(160)).unwrap_or_default(), b"]: ") else {
        return message;
    };
    let origin = message.get(..end).unwrap_or_default();
    let Some(open) = origin.iter().rposition(|byte| *byte == b'[') else { return message };
    let (names, pid) = origin.split_at(open);
    let is_pid = pid.len() > 1 && pid.iter().skip(1).all(u8::is_ascii_digit);
    let is_origin = is_pid && names.iter().filter(|byte| **byte == b' ').count() == 1;
    if is_origin { message.get(end + 3..).unwrap_or_default() } else { message }
}

/// A number with exactly `count` digits.
fn digits(text: &[u8], at: usize, count: usize) -> Option<i32> {
    let part = text.get(at..at + count)?;
    part.iter()
        .all(u8::is_ascii_digit)
        .then(|| part.iter().fold(0, |number, digit| number * 10 + i32::from(digit - b'0')))
}

/// `hh:mm:ss` at an offset.
fn clock(text: &[u8], at: usize) -> Option<(i32, i32, i32)> {
    (text.get(at + 2) == Some(&b':') && text.get(at + 5) == Some(&b':')).then_some(())?;
    Some((digits(text, at, 2)?, digits(text, at + 3, 2)?, digits(text, at + 6, 2)?))
}

/// `Z`, `+02:00` or `+0200` at an offset: seconds east of Greenwich, and length of the text.
fn zone(text: &[u8], at: usize) -> Option<(i32, usize)> {
    let sign = match text.get(at)? {
        b'Z' => return Some((0, 1)),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = digits(text, at + 1, 2)?;
    let (minutes, length) = match text.get(at + 3) {
        Some(b':') => (digits(text, at + 4, 2)?, 6),
        _ => (digits(text, at + 3, 2)?, 5),
    };
    Some((sign * (hours * 3600 + minutes * 60), length))
}

fn written(
    (year, month, day): (i32, i32, i32),
    (hour, minute, second): (i32, i32, i32),
    millisecond: i32,
    zone: Option<i32>,
) -> Option<Written> {
    let small = |number: i32| i8::try_from(number).ok();
    let date =
        Date::new(i16::try_from(year).ok().filter(|year| (1970..2200).contains(year))?, small(month)?, small(day)?);
    // A leap second counts as the second before it.
    let time = Time::new(small(hour)?, small(minute)?, small(second.min(59))?, millisecond * 1_000_000);
    let local = DateTime::from_parts(date.ok()?, time.ok()?);
    match zone {
        Some(seconds) => Some(Written::Absolute(Offset::from_seconds(seconds).ok()?.to_timestamp(local).ok()?)),
        None => Some(Written::Local(local)),
    }
}

/// `2026-11-24T10:11:12.345+01:00`; or with a space and a comma, as Python's logging writes it.
fn iso(text: &[u8]) -> Option<(Written, usize)> {
    (text.get(4) == Some(&b'-') && text.get(7) == Some(&b'-') && matches!(text.get(10), Some(b'T' | b' ')))
        .then_some(())?;
    let date = (digits(text, 0, 4)?, digits(text, 5, 2)?, digits(text, 8, 2)?);
    let time = clock(text, 11)?;
    let (mut at, mut millisecond) = (19, 0);
    if matches!(text.get(at), Some(b',' | b'.')) {
        let fraction = text.get(at + 1..).unwrap_or_default();
        let length = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digit =
            |index: usize| fraction.get(index).filter(|_| index < length).map_or(0, |byte| i32::from(byte - b'0'));
        millisecond = digit(0) * 100 + digit(1) * 10 + digit(2);
        at += 1 + length;
    }
    let spaced = usize::from(text.get(at) == Some(&b' ') && matches!(text.get(at + 1), Some(b'+' | b'-')));
    let offset = zone(text, at + spaced);
    let length = at + offset.map_or(0, |(_, length)| length + spaced);
    Some((written(date, time, millisecond, offset.map(|(seconds, _)| seconds))?, length))
}

/// `24/Nov/2026:10:11:12 +0000` of the common log format, or `24/Nov/2026 10:11:12` of Python's http.server.
fn common_log(text: &[u8]) -> Option<(Written, usize)> {
    const MONTHS: &[&[u8]] =
        &[b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
    (text.get(2) == Some(&b'/') && text.get(6) == Some(&b'/') && matches!(text.get(11), Some(b':' | b' ')))
        .then_some(())?;
    let name = text.get(3..6)?;
    let month = i32::try_from(MONTHS.iter().position(|month| *month == name)?).ok()? + 1;
    let date = (digits(text, 7, 4)?, month, digits(text, 0, 2)?);
    let time = clock(text, 12)?;
    let offset = if text.get(20) == Some(&b' ') { zone(text, 21) } else { None };
    let length = 20 + offset.map_or(0, |(_, length)| length + 1);
    Some((written(date, time, 0, offset.map(|(seconds, _)| seconds))?, length))
}
