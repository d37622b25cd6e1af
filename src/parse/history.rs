//! The flight recorder's file: JSON Lines, one object a line (jsonlines.org), the last of which can be torn.

use crate::model::{History, Record};

/// Lines that are kept; of a longer record the first ones are given up.
const MOST_RECORDS: usize = 200_000;
/// Longest line that is understood, in bytes.
const LONGEST_LINE: usize = 64 * 1024;

/// Reads a record. What is not understood is counted, and costs no more than its own line.
pub fn history(bytes: &[u8]) -> History {
    let mut found = History::default();
    let ends_complete = bytes.is_empty() || bytes.ends_with(b"\n");
    let mut lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
    while let Some(line) = lines.next() {
        let is_last = lines.peek().is_none();
        let record = (line.len() <= LONGEST_LINE).then(|| serde_json::from_slice::<Record>(line).ok()).flatten();
        match record {
            Some(record) => found.records.push(clean(record)),
            None if is_last && !ends_complete => found.ends_torn = true,
            None => found.lines_skipped += 1,
        }
    }
    let surplus = found.records.len().saturating_sub(MOST_RECORDS);
    found.records.drain(..surplus);
    found
}

/// Texts of a file that anybody may have written.
fn clean(record: Record) -> Record {
    let shown = |text: String| super::text::printable(text.as_bytes());
    Record {
        at: shown(record.at),
        server: shown(record.server),
        root_causes: record.root_causes.into_iter().map(shown).collect(),
        health: record.health.map(shown),
        events: record.events.into_iter().map(shown).collect(),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"at":"2026-11-24T20:00:00Z","server":"webui 8787","status":"healthy","pid":4711,"start_ticks":1,
        "open":92,"soft_limit":256,"database_handles":0,"close_wait":0,"accept_queue":0,"connected":0,"health":"ok",
        "health_ms":1.5,"resident_bytes":1,"restarts":null}"#;

    fn line() -> String {
        LINE.replace('\n', "") + "\n"
    }

    #[test]
    fn a_torn_last_line_costs_only_itself() {
        let whole = line();
        let torn = format!("{whole}{whole}{}", &whole[..whole.len() / 2]);
        let found = history(torn.as_bytes());
        assert_eq!((found.records.len(), found.lines_skipped, found.ends_torn), (2, 0, true));
        // The recorder has gone on after it.
        let mended = format!("{}\n{whole}", &whole[..40]);
        let found = history(mended.as_bytes());
        assert_eq!((found.records.len(), found.lines_skipped, found.ends_torn), (1, 1, false));
    }

    #[test]
    fn hostile_lines_are_counted() {
        let hostile = line().replace("webui 8787", "\\u001b[2Jx");
        let found = history(format!("{hostile}[]\n\u{0}\n{}\n{}", "[".repeat(100_000), line()).as_bytes());
        assert_eq!((found.records.len(), found.lines_skipped), (2, 3));
        assert!(!found.records[0].server.contains('\u{1b}'));
        assert_eq!(history(b""), History::default());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = history(&bytes);
        }
    }
}
