//! Findings from logs. Logs describe the past, so alone they decide little: only lines since the start of the
//! process count, and of these the class that began first.

use super::verdict::Verdict;
use crate::model::{LogClass, LogClassFacts, LogFacts, MalformedFinding, Raised, Server, Severity, id};

/// Minimum number of lines in a shared log for a finding about a database in use: a single line can be about
/// another file that a user opened.
const MANY_IN_SHARED: u64 = 10;

/// Adds the findings from the logs.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    // Without a process there is no start time to compare the lines with.
    if server.logs.is_empty() || server.pid.is_none() {
        return;
    }
    verdict.decide(id::DATABASE_MALFORMED, malformed(server));
}

/// Whether the server answers as expected, as far as it was examined.
pub fn answers_well(server: &Server) -> bool {
    use crate::model::Outcome;
    server.health.as_ref().is_none_or(|health| {
        matches!(health.outcome, Outcome::Ok | Outcome::Guarded | Outcome::NotApplicable | Outcome::NotProbed)
    })
}

/// The log with the most lines of a class since the start, and its counts. The same line can be in several
/// logs, so the counts are not added.
pub fn since_start(server: &Server, class: LogClass) -> Option<(&LogFacts, &LogClassFacts)> {
    let facts = server.logs.iter().filter_map(|log| Some((log, log.class(class)?)));
    facts
        .filter(|(_, facts)| facts.since_start.is_some_and(|count| count > 0))
        .max_by_key(|(_, facts)| facts.since_start)
}

/// The same for logs that only this server writes.
pub fn own_since_start(server: &Server, class: LogClass) -> Option<(&LogFacts, &LogClassFacts)> {
    since_start(server, class).filter(|(log, _)| !log.is_shared).or_else(|| {
        let own = server.logs.iter().filter(|log| !log.is_shared).filter_map(|log| Some((log, log.class(class)?)));
        own.filter(|(_, facts)| facts.since_start.is_some_and(|count| count > 0))
            .max_by_key(|(_, facts)| facts.since_start)
    })
}

/// Whether lines of one class began before those of another, both since the start. Within one log their order
/// decides, else their times.
pub fn began_before(server: &Server, class: LogClass, other: LogClass) -> bool {
    let in_one = server.logs.iter().find_map(|log| {
        let (one, two) = (log.class(class)?, log.class(other)?);
        (one.since_start? > 0 && two.since_start? > 0).then_some(one.order < two.order)
    });
    in_one.unwrap_or_else(|| {
        let first = |class| {
            let of_logs = server.logs.iter().filter_map(|log| log.class(class)?.first_since_start_at.as_ref());
            of_logs.min()
        };
        // Times in RFC 3339, UTC and with equal precision compare as text.
        first(class).zip(first(other)).is_some_and(|(one, two)| one < two)
    })
}

fn malformed(server: &Server) -> Option<Raised> {
    let (log, facts) = since_start(server, LogClass::DatabaseMalformed)?;
    let count = facts.since_start?;
    if log.is_shared && count < MANY_IN_SHARED {
        return None;
    }
    let well = answers_well(server);
    let severity = if well { Severity::Warning } else { Severity::Critical };
    let is_later =
        |other: &&LogClassFacts| other.class != facts.class && other.order.is_some() && other.order > facts.order;
    let finding = MalformedFinding {
        source: log.source.to_string(),
        lines: facts.clone(),
        followed: log.classes.iter().filter(is_later).cloned().collect(),
        bytes_read: log.is_cut.then_some(log.bytes_read),
    };
    Some(Raised::new(severity, finding))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(class: LogClass, since: Option<u64>, order: Option<u32>, first: &str) -> LogClassFacts {
        LogClassFacts {
            class,
            count: 5,
            first_at: None,
            last_at: None,
            since_start: since,
            first_since_start_at: Some(first.to_owned())
                .filter(|_| since.is_some_and(|count| count > 0))
                .map(Into::into),
            order,
        }
    }

    fn server(logs: Vec<LogFacts>) -> Server {
        let report = include_bytes!("../../fixtures/ceiling-by-sockets.json");
        let envelope: serde_json::Value = serde_json::from_slice(report).unwrap();
        let envelope = envelope.get("report").unwrap_or(&envelope);
        let mut server: Server = serde_json::from_value(envelope["servers"][0].clone()).unwrap();
        server.logs = logs;
        server
    }

    fn log(source: &str, classes: Vec<LogClassFacts>) -> LogFacts {
        LogFacts { source: source.into(), classes, ..LogFacts::default() }
    }

    const MALFORMED: LogClass = LogClass::DatabaseMalformed;
    const EMFILE: LogClass = LogClass::DescriptorsExhausted;

    #[test]
    fn the_class_that_began_first_causes_the_ceiling() {
        let judged = |logs| {
            let mut server = server(logs);
            crate::wording::judge(&mut server);
            let ceiling = server.findings.iter().find(|found| found.id == id::DESCRIPTOR_CEILING).unwrap();
            ceiling.caused_by.contains(&id::DATABASE_MALFORMED.to_owned())
        };
        let (early, late) = ("2026-11-24T10:00:00.000Z", "2026-11-24T11:00:00.000Z");
        // In one log.
        let both = |one: u32, two: u32| {
            vec![log(
                "a",
                vec![class(MALFORMED, Some(9), Some(one), early), class(EMFILE, Some(2), Some(two), early)],
            )]
        };
        assert!(judged(both(1, 2)) && !judged(both(2, 1)));
        // In two logs, by their times.
        let apart = |one, two| {
            vec![
                log("a", vec![class(MALFORMED, Some(9), Some(1), one)]),
                log("b", vec![class(EMFILE, Some(2), Some(1), two)]),
            ]
        };
        assert!(judged(apart(early, late)) && !judged(apart(late, early)));
        // Older than the process, or with an unknown time.
        assert!(!judged(vec![log(
            "a",
            vec![class(MALFORMED, Some(0), None, early), class(EMFILE, Some(2), Some(1), late)]
        )]));
        assert!(!judged(vec![log(
            "a",
            vec![class(MALFORMED, None, Some(1), early), class(EMFILE, None, Some(2), late)]
        )]));
    }

    #[test]
    fn a_shared_log_does_not_prove_that_this_server_is_out_of_threads() {
        let threads = |is_shared| {
            let classes = vec![class(LogClass::ThreadsExhausted, Some(4), Some(1), "2026-11-24T10:00:00.000Z")];
            let mut server = server(vec![LogFacts { is_shared, ..log("a", classes) }]);
            crate::wording::judge(&mut server);
            server.findings.iter().any(|found| found.id == id::THREADS_EXHAUSTED)
        };
        assert!(threads(false) && !threads(true));
    }

    #[test]
    fn a_few_lines_that_others_wrote_are_no_damaged_database() {
        let holds = |is_shared, count| {
            let classes = vec![class(MALFORMED, Some(count), Some(1), "2026-11-24T10:00:00.000Z")];
            let mut server = server(vec![LogFacts { is_shared, ..log("a", classes) }]);
            crate::wording::judge(&mut server);
            server.findings.iter().any(|found| found.id == id::DATABASE_MALFORMED)
        };
        assert!(holds(false, 1) && holds(true, 2709) && !holds(true, 9));
    }

    #[test]
    fn lines_of_unknown_time_are_evidence_and_decide_nothing() {
        let mut server =
            server(vec![log("a", vec![class(MALFORMED, None, Some(1), ""), class(EMFILE, None, Some(2), "")])]);
        crate::wording::judge(&mut server);
        assert!(server.findings.iter().all(|found| found.id != id::DATABASE_MALFORMED));
        let ceiling = server.findings.iter().find(|found| found.id == id::DESCRIPTOR_CEILING).unwrap();
        assert!(ceiling.evidence.iter().any(|item| item.fact.ends_with("an unknown time")), "{ceiling:?}");
    }
}
