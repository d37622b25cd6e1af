use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn clock_at(started: &str) -> Clock {
    Clock {
        zone: Some(TimeZone::fixed(jiff::tz::offset(1))),
        now: at("2026-11-25T00:00:00Z"),
        started: Some(at(started)),
    }
}

fn read(text: &str) -> LogFacts {
    log(&[text.as_bytes()], false, &clock_at("2026-11-24T10:00:00Z"))
}

/// Classes and counts, in the order of their first line.
fn counted(text: &str) -> Vec<(LogClass, u64)> {
    read(text).classes.iter().map(|facts| (facts.class, facts.count)).collect()
}

#[test]
fn recognises_errors_in_real_log_lines() {
    use LogClass as C;
    for (line, class) in [
        ("OSError: [Errno 24] Too many open files", C::DescriptorsExhausted),
        ("OSError: [Errno 24] Too many open files: '/dev/null'", C::DescriptorsExhausted),
        (
            "2026-11-24 10:11:12,345 ERROR gateway.run: Failed to open x: [Errno 24] Too many open files: 'x'",
            C::DescriptorsExhausted,
        ),
        (
            "2026-11-24 10:11:12,345 ERROR asyncio: accept failed, OSError(24, 'Too many open files')",
            C::DescriptorsExhausted,
        ),
        ("OSError: [Errno 23] Too many open files in system", C::HostFilesExhausted),
        ("sqlite3.OperationalError: database is locked", C::DatabaseLocked),
        ("2026-11-24 10:11:12 - state - WARNING - save failed: database is locked", C::DatabaseLocked),
        ("ERROR:state:(sqlite3.OperationalError) database is locked", C::DatabaseLocked),
        ("sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) database is locked", C::DatabaseLocked),
        (r#"{"level": "error", "msg": "save failed", "error": "database is locked"}"#, C::DatabaseLocked),
        ("sqlite3.DatabaseError: database disk image is malformed", C::DatabaseMalformed),
        ("[webui] recovery failed: database disk image is malformed", C::DatabaseMalformed),
        ("OSError: [Errno 98] Address already in use", C::AddressInUse),
        ("OSError: [Errno 48] Address already in use", C::AddressInUse),
        (
            "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', 9119): address already in use",
            C::AddressInUse,
        ),
        ("MemoryError", C::MemoryError),
        ("numpy.core._exceptions._ArrayMemoryError: Unable to allocate 1 GiB", C::MemoryError),
        ("RuntimeError: can't start new thread", C::ThreadsExhausted),
        ("OSError: [Errno 28] No space left on device: '/x'", C::DiskFull),
        ("sqlite3.OperationalError: database or disk is full", C::DiskFull),
    ] {
        assert_eq!(counted(line), [(class, 1)], "{line}");
    }
}

#[test]
fn lines_that_only_mention_an_error_are_not_counted() {
    for line in [
        r#"127.0.0.1 - - [24/Nov/2026 10:11:12] "GET /search?q=database+is+locked HTTP/1.1" 200 -"#,
        r#"127.0.0.1 - - [24/Nov/2026 10:11:12] "GET /search?q=x: database is locked HTTP/1.1" 200 -"#,
        r#"2026-11-24 10:11:12 ERROR x: bad request "GET /q=: database is locked" from 1"#,
        r#"INFO:     127.0.0.1:4 - "GET /?q=sqlite3.OperationalError:%20database%20is%20locked HTTP/1.1" 200 OK"#,
        r#"[webui] {"ts": "2026-11-24T10:11:12Z", "method": "GET", "path": "/s?q=: database is locked", "status": 200}"#,
        "2026-11-24 10:11:12 INFO chat: user asks: database is locked",
        "2026-11-24 10:11:12 DEBUG chat: sqlite3.OperationalError: database is locked",
        "Why do I get sqlite3.OperationalError: database is locked",
        "my database is locked",
        "database is locked means that another connection writes",
        r#"{"level": "info", "text": "x", "error": "database is locked"}"#,
        r#"2026-11-24 10:11:12 ERROR chat: cannot answer "database is locked""#,
        "    raise RuntimeError(\"can't start new thread\")",
        "see MemoryErrors",
        "the word MemoryError",
    ] {
        assert_eq!(counted(line), [], "{line}");
    }
}

#[test]
fn a_traceback_counts_once_however_it_is_chained() {
    let text = "\
2026-11-24 12:11:12,345 ERROR state: could not save: database is locked
Traceback (most recent call last):
  File \"x.py\", line 1, in f
    raise sqlite3.OperationalError(\"database disk image is malformed\")
sqlite3.OperationalError: database is locked

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File \"x.py\", line 2, in g
    connect()
    ^^^^^^^^^
sqlite3.OperationalError: database is locked
2026-11-24 12:11:13,345 INFO state: next
Traceback (most recent call last):
  File \"x.py\", line 1, in f
sqlite3.OperationalError: database is locked
----------------------------------------
";
    assert_eq!(counted(text), [(LogClass::DatabaseLocked, 2)]);
    let facts = read(text);
    assert_eq!((facts.ends_in_traceback, facts.ends_with_traceback.as_deref()), (true, Some("OperationalError")));
    assert_eq!(facts.classes[0].last_at, Some("2026-11-24T11:11:13.345Z".into()));
    let after = format!("{text}2026-11-24 12:12:00,000 INFO state: goes on\n");
    assert!(!read(&after).ends_in_traceback);
}

#[test]
fn an_exception_name_is_reported_only_if_unambiguous() {
    let end = |line: &str| {
        let facts = read(&format!("Traceback (most recent call last):\n  File \"x\", line 1\n{line}\n"));
        (facts.ends_in_traceback, facts.ends_with_traceback)
    };
    assert_eq!(end("ValueError: my secret"), (true, Some("ValueError".into())));
    assert_eq!(end("a.b.HermesError"), (true, Some("HermesError".into())));
    assert_eq!(end("hunter2: x"), (true, None));
    assert_eq!(end("my secret is Error"), (true, None));
}

#[test]
fn a_traceback_that_a_user_pasted_is_not_the_servers() {
    let text = "\
2026-11-24 12:11:12 INFO chat: user says: Traceback (most recent call last):
  File \"x.py\", line 1
sqlite3.OperationalError: database is locked
and: MemoryError
2026-11-24 12:11:13 ERROR state: save: database is locked
";
    assert_eq!(counted(text), [(LogClass::DatabaseLocked, 1)]);
}

#[test]
fn tracebacks_of_exception_groups_and_of_stamped_lines_are_followed() {
    let group = "\
  + Exception Group Traceback (most recent call last):
  |   File \"x.py\", line 1, in <module>
  | ExceptionGroup: 2 errors (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | Traceback (most recent call last):
    |   File \"x.py\", line 2
    | OSError: [Errno 24] Too many open files
    +------------------------------------
";
    assert_eq!(counted(group), [(LogClass::DescriptorsExhausted, 1)]);
    let stamped = "\
2026-11-24T12:00:00.123456+0100 myhost python3[7]: Traceback (most recent call last):
2026-11-24T12:00:00.123457+0100 myhost python3[7]:   File \"x.py\", line 1
2026-11-24T12:00:00.123458+0100 myhost python3[7]: OSError: [Errno 98] Address already in use
";
    let facts = read(stamped);
    assert_eq!(facts.classes[0].class, LogClass::AddressInUse);
    assert_eq!(facts.classes[0].first_at, Some("2026-11-24T11:00:00.123Z".into()));
    assert_eq!(facts.ends_with_traceback.as_deref(), Some("OSError"));
}

#[test]
fn reads_every_usual_form_of_a_time() {
    for (line, expected) in [
        ("2026-11-24 11:11:12,345 ERROR x: database is locked", "2026-11-24T10:11:12.345Z"),
        ("2026-11-24T11:11:12Z ERROR x: database is locked", "2026-11-24T11:11:12.000Z"),
        ("2026-11-24T11:11:12.5+02:00 ERROR x: database is locked", "2026-11-24T09:11:12.500Z"),
        ("[2026-11-24 11:11:12 +0000] [7] [ERROR] x: database is locked", "2026-11-24T11:11:12.000Z"),
        ("127.0.0.1 - - [24/Nov/2026 11:11:12] x: database is locked", "2026-11-24T10:11:12.000Z"),
        ("127.0.0.1 - - [24/Nov/2026:11:11:12 +0000] x: database is locked", "2026-11-24T11:11:12.000Z"),
        ("ERROR 2026-11-24 11:11:12 x: database is locked", "2026-11-24T10:11:12.000Z"),
        (
            "[webui] {\"ts\": \"2026-11-24T11:11:12Z\", \"level\": \"error\", \"error\": \"database is locked\"}",
            "2026-11-24T11:11:12.000Z",
        ),
    ] {
        assert_eq!(read(line).classes[0].first_at, Some(expected.into()), "{line}");
    }
    assert_eq!(read("2026-13-44 11:11:12 ERROR x: database is locked").classes[0].first_at, None);
    // A line without a time has the time of the line before.
    let facts = read("2026-11-24 11:11:12 INFO x\nsqlite3.OperationalError: database is locked\n");
    assert_eq!(facts.classes[0].first_at, Some("2026-11-24T10:11:12.000Z".into()));
}

#[test]
fn only_lines_since_the_start_are_the_process_s() {
    let text = "\
2026-11-24 10:30:00 ERROR x: database disk image is malformed
2026-11-24 10:40:00 ERROR x: database is locked
2026-11-24 11:30:00 ERROR x: [Errno 24] Too many open files: 'y'
2026-11-24 11:40:00 ERROR x: database disk image is malformed
";
    // 10:00 UTC is 11:00 in this time zone.
    let facts = read(text);
    let of = |class| facts.class(class).unwrap();
    assert_eq!(of(LogClass::DescriptorsExhausted).order, Some(1));
    let malformed = of(LogClass::DatabaseMalformed);
    assert_eq!((malformed.count, malformed.since_start, malformed.order), (2, Some(1), Some(2)));
    assert_eq!(malformed.first_since_start_at, Some("2026-11-24T10:40:00.000Z".into()));
    assert_eq!((of(LogClass::DatabaseLocked).since_start, of(LogClass::DatabaseLocked).order), (Some(0), None));
}

#[test]
fn times_that_cannot_be_compared_are_not() {
    let text = "2026-11-24 11:30:00 ERROR x: database is locked\n";
    let unknown = Clock { zone: None, ..clock_at("2026-11-24T10:00:00Z") };
    let facts = log(&[text.as_bytes()], false, &unknown);
    assert_eq!(facts.classes[0].since_start, None);
    assert_eq!(facts.classes[0].first_at, Some("2026-11-24T11:30:00 (local, zone unknown)".into()));
    // A line from the future: written in another time zone.
    let future = "2026-11-24 11:30:00 ERROR x: database is locked\n2026-11-25 09:00:00 INFO x: y\n";
    assert_eq!(read(future).classes[0].since_start, None);
    // The same without any time, and without a process.
    assert_eq!(read("sqlite3.OperationalError: database is locked\n").classes[0].since_start, None);
    let absent = Clock { started: None, ..clock_at("2026-11-24T10:00:00Z") };
    assert_eq!(log(&[text.as_bytes()], false, &absent).classes[0].since_start, None);
}

#[test]
fn the_first_error_class_is_found_among_thousands_of_lines() {
    let mut text = String::new();
    for second in 0..2709 {
        let (minute, second) = (second / 60, second % 60);
        text.push_str(&format!(
            "2026-11-24 12:{minute:02}:{second:02},000 ERROR s: database disk image is malformed\n"
        ));
    }
    for second in 0..58 {
        text.push_str(&format!("2026-11-24 12:50:{second:02},000 ERROR s: [Errno 24] Too many open files: 'x'\n"));
    }
    let facts = read(&text);
    let found: Vec<_> = facts.classes.iter().map(|facts| (facts.class, facts.count, facts.order)).collect();
    let expected = [(LogClass::DatabaseMalformed, 2709, Some(1)), (LogClass::DescriptorsExhausted, 58, Some(2))];
    assert_eq!(found, expected);
}

#[test]
fn a_cut_log_begins_at_its_first_whole_line() {
    let text = b"Error: database is locked\nsqlite3.OperationalError: database is locked\n";
    let clock = clock_at("2026-11-24T10:00:00Z");
    assert_eq!(log(&[text], true, &clock).classes[0].count, 1);
    assert_eq!(log(&[text], false, &clock).classes[0].count, 2);
    assert!(log(&[b"no end of line, and cut: database is locked"], true, &clock).classes.is_empty());
}

proptest::proptest! {
    #[test]
    fn no_bytes_break_it(bytes: Vec<u8>, cut: bool) {
        let facts = log(&[&bytes], cut, &clock_at("2026-11-24T10:00:00Z"));
        proptest::prop_assert!(facts.classes.len() <= 8);
    }

    #[test]
    fn no_mixture_of_its_own_words_breaks_it(words in proptest::collection::vec(proptest::sample::select(vec![
        "Traceback (most recent call last):", "\n", "  ", "database is locked", "ERROR", "INFO", ": ", "[Errno 24]", "(", "'",
        "sqlite3.OperationalError", "MemoryError", "2026-11-24 12:00:00", "\"GET /", "+ Exception Group ", "| ", "\u{e9}", ")",
    ]), 0..60)) {
        let text = words.concat();
        let facts = log(&[text.as_bytes()], false, &clock_at("2026-11-24T10:00:00Z"));
        let lines = u64::try_from(text.lines().count()).unwrap();
        proptest::prop_assert!(facts.classes.iter().all(|class| class.count <= lines));
    }
}
