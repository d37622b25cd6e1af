//! Findings and evidence from logs.

use super::{Context, Words};
use crate::diagnose::log::{began_before, since_start};
use crate::model::{LogClass, LogClassFacts, LogFacts, MalformedFinding, NextStep, Row, Server, Source, id};

/// The text of a finding.
pub fn words(finding: &MalformedFinding, context: &Context) -> Words {
    let count = finding.lines.since_start.unwrap_or(finding.lines.count);
    let after: Vec<String> = finding
        .followed
        .iter()
        .map(|after| format!("{} times {}", after.since_start.unwrap_or(after.count), after.class.words()))
        .collect();
    let then = if after.is_empty() { String::new() } else { format!("; then {}", after.join(", ")) };
    let lines = if count == 1 { "line" } else { "lines" };
    let classes = std::iter::once(&finding.lines).chain(&finding.followed);
    let mut evidence: Vec<Row> = classes.flat_map(|facts| of_class(&finding.source, facts)).collect();
    if let Some(bytes_read) = finding.bytes_read {
        let fact = "log: bytes read from the end (earlier lines were not read)";
        evidence.push(Row::new(fact, bytes_read, Source::Log(finding.source.clone())));
    }
    Words {
        title: format!("the log reports a malformed database in {count} {lines}{then}"),
        evidence,
        next: vec![
            NextStep::say(
                "Copy the database with its -wal and -shm before you restart or repair anything; then check the copy with \
                 SQLite (PRAGMA integrity_check)",
            ),
            NextStep::run(
                "list the processes that have it open",
                format!("hermes-doctor db{}", context.selector()),
            ),
        ],
    }
}

/// Number and times of a class.
fn of_class(source: &str, facts: &LogClassFacts) -> Vec<Row> {
    let words = facts.class.words();
    let source = || Source::Log(source.to_owned());
    let count = facts.since_start.unwrap_or(facts.count);
    let first = facts.first_since_start_at.as_ref().or(facts.first_at.as_ref());
    let mut evidence = vec![Row::new(format!("log: lines \"{words}\""), count, source())];
    for (name, at) in [("first", first), ("last", facts.last_at.as_ref())] {
        evidence.extend(at.map(|at| Row::new(format!("log: {name} \"{words}\""), at.to_string(), source())));
    }
    evidence
}

/// Evidence from the logs for a finding on the same subject.
pub fn related(server: &Server, id: &str) -> Vec<Row> {
    let classes: &[LogClass] = match id {
        id::DESCRIPTOR_CEILING => &[LogClass::DescriptorsExhausted],
        id::HOST_FILES_EXHAUSTED => &[LogClass::HostFilesExhausted],
        id::DATABASE_LOCK_HELD => &[LogClass::DatabaseLocked],
        id::RESPAWN_LOOP | id::SUPERVISOR_GAVE_UP | id::SERVER_NOT_RUNNING => &[LogClass::AddressInUse],
        id::MEMORY_KILLED | id::MEMORY_PRESSURE => &[LogClass::MemoryError],
        id::REPLY_EMPTY | id::CONNECTION_RESET | id::HTTP_NO_ANSWER | id::ACCEPT_STALLED => {
            &[LogClass::DescriptorsExhausted, LogClass::ThreadsExhausted, LogClass::MemoryError, LogClass::DiskFull]
        }
        _ => &[],
    };
    let mut rows: Vec<Row> = classes.iter().filter_map(|class| lines_of(server, *class)).collect();
    if id == id::DESCRIPTOR_CEILING
        && began_before(server, LogClass::DatabaseMalformed, LogClass::DescriptorsExhausted)
        && let Some((log, facts)) = since_start(server, LogClass::DatabaseMalformed)
    {
        let count = facts.since_start.unwrap_or(facts.count);
        let fact = "log: earlier lines \"database is malformed\"";
        rows.push(Row::new(fact, count, Source::Log(log.source.to_string())));
    }
    let is_unexplained = matches!(
        id,
        id::REPLY_EMPTY | id::CONNECTION_RESET | id::SERVER_NOT_RUNNING | id::SUPERVISOR_GAVE_UP | id::RESPAWN_LOOP
    );
    if is_unexplained && let Some(log) = server.logs.iter().find(|log| log.ends_in_traceback && !log.is_shared) {
        let name = log.ends_with_traceback.as_deref().unwrap_or("an exception of the program");
        rows.push(Row::new("log: ends with a traceback of", name, Source::Log(log.source.to_string())));
    }
    rows
}

/// Lines of a class: those since the start if known, and none if all are older.
fn lines_of(server: &Server, class: LogClass) -> Option<Row> {
    let source = |log: &LogFacts| Source::Log(log.source.to_string());
    if let Some((log, facts)) = since_start(server, class) {
        let fact = format!("log: lines \"{}\" since its start", class.words());
        return Some(Row::new(fact, facts.since_start.unwrap_or(facts.count), source(log)));
    }
    let untimed = server.logs.iter().filter_map(|log| Some((log, log.class(class)?)));
    let (log, facts) =
        untimed.filter(|(_, facts)| facts.since_start.is_none()).max_by_key(|(_, facts)| facts.count)?;
    let last = facts.last_at.as_ref().map_or(", at an unknown time".to_owned(), |at| format!(", the last at {at}"));
    Some(Row::new(format!("log: lines \"{}\"{last}", class.words()), facts.count, source(log)))
}
