//! The record that `watch` writes: JSON Lines, one object per line (jsonlines.org). The last line can be torn.

use crate::model::{History, Record, Timestamp};
use std::collections::VecDeque;
use std::io::{self, BufRead, Read};

/// Maximum number of lines that are kept; of a longer record the first lines are dropped. With one sample in 30
/// seconds it covers five weeks.
const MAX_RECORDS: usize = 100_000;
/// Longest line that is parsed, in bytes.
const MAX_LINE: usize = 64 * 1024;
/// Number of bytes at the start of a record that [`begins_with_record`] needs: space for a torn line and the
/// line after it.
pub const HEAD_BYTES: usize = 2 * MAX_LINE;
/// The start of every line of a record.
const LINE_START: &[u8] = b"{\"at\":\"";

/// Whether the first [`HEAD_BYTES`] bytes of a file are those of a record: its first line is a line of a
/// record. A line that a crash has torn counts if the file ends with it, or if a line of a record follows.
pub fn begins_with_record(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).peekable();
    while let Some(line) = lines.next() {
        match serde_json::from_slice::<Record>(line) {
            Ok(_) => return true,
            Err(error) if error.is_eof() && is_torn(line) => {
                // The last line of the file is followed by nothing, or by an empty rest after its line end.
                if lines.peek().is_none_or(|rest| rest.is_empty()) {
                    return true;
                }
            }
            Err(_) => return false,
        }
    }
    false
}

fn is_torn(line: &[u8]) -> bool {
    let length = line.len().min(LINE_START.len());
    !line.is_empty() && line.len() < MAX_LINE && line.get(..length) == LINE_START.get(..length)
}

/// The last lines of a record, collected while it is read. Memory is bounded by their number.
#[derive(Debug, Default)]
pub struct Lines {
    last: VecDeque<Vec<u8>>,
    /// Whether the last line has no line end.
    ends_open: bool,
    too_long: u64,
}

impl Lines {
    /// Reads the lines of a file, which follow those of the file before it.
    ///
    /// # Errors
    /// Those of the reader.
    pub fn take_from(&mut self, mut file: impl BufRead) -> io::Result<()> {
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let mut is_rest = false;
        loop {
            let mut line = Vec::new();
            if file.by_ref().take(most).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            let is_whole = line.last() == Some(&b'\n');
            self.ends_open = !is_whole;
            let is_long = !is_whole && line.len() == MAX_LINE;
            // A line that is too long counts once, however many pieces it is read in.
            if is_long && !is_rest {
                self.too_long += 1;
            }
            if !is_long && !is_rest {
                if is_whole {
                    line.pop();
                }
                self.keep(line);
            }
            is_rest = !is_whole && (is_long || is_rest);
        }
    }

    fn keep(&mut self, line: Vec<u8>) {
        if line.is_empty() {
            return;
        }
        if self.last.len() >= MAX_RECORDS {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// Parses the lines. A line that does not parse is counted and skipped.
    pub fn history(self) -> History {
        let mut found = History { lines_skipped: self.too_long, ..History::default() };
        let count = self.last.len();
        for (index, line) in self.last.into_iter().enumerate() {
            match serde_json::from_slice::<Record>(&line) {
                Ok(record) => found.records.push(clean(record)),
                Err(_) if index + 1 == count && self.ends_open => found.ends_torn = true,
                Err(_) => found.lines_skipped += 1,
            }
        }
        found
    }
}

/// Makes texts printable: any user may have written the file.
fn clean(record: Record) -> Record {
    let shown = |text: String| crate::model::text::printable(text.as_bytes());
    Record {
        at: Timestamp::from(shown(record.at.to_string())),
        server: shown(record.server.to_string()).into(),
        root_causes: record.root_causes.into_iter().map(|id| shown(id.to_string()).into()).collect(),
        health: record.health.map(|health| shown(health.to_string()).into()),
        events: record.events.into_iter().map(|event| shown(event.to_string()).into()).collect(),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"at":"2026-11-24T20:00:00Z","server":"webui 8787","status":"healthy","pid":4711,"start_ticks":1,
        "open":92,"soft_limit":256,"database_handles":0,"close_wait":0,"accept_queue":0,"connected":0,"health":"ok",
        "health_ms":1.5,"resident_bytes":1,"restarts":null}"#;

    fn history(bytes: &[u8]) -> History {
        let mut lines = Lines::default();
        lines.take_from(bytes).unwrap();
        lines.history()
    }

    fn line() -> String {
        LINE.replace('\n', "") + "\n"
    }

    #[test]
    fn a_torn_last_line_costs_only_itself() {
        let whole = line();
        let torn = format!("{whole}{whole}{}", &whole[..whole.len() / 2]);
        let found = history(torn.as_bytes());
        assert_eq!((found.records.len(), found.lines_skipped, found.ends_torn), (2, 0, true));
        // The recorder went on after the torn line.
        let mended = format!("{}\n{whole}", &whole[..40]);
        let found = history(mended.as_bytes());
        assert_eq!((found.records.len(), found.lines_skipped, found.ends_torn), (1, 1, false));
    }

    #[test]
    fn a_record_is_known_by_its_first_line() {
        let whole = line().replace(" ", "");
        let torn = &whole[..whole.len() / 2];
        for good in [
            whole.clone(),
            whole.trim_end().to_owned(),
            format!("{whole}nonsense"),
            torn.to_owned(),
            "{\"a".to_owned(),
            format!("{torn}\n{whole}"),
            format!("{torn}\n{torn}\n{whole}"),
        ] {
            assert!(begins_with_record(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            "\n",
            "{}\n",
            "[]",
            "port: 8787\n",
            "SQLite format 3\0",
            "{\"at\":\"2026-11-24T20:00:00Z\",\"message\":\"of another program\"}\n",
            "{\"level\":\"inf",
            "{\"at\":\"2026-11-24T20\nport: 8787\n",
        ] {
            assert!(!begins_with_record(bad.as_bytes()), "{bad}");
        }
        assert!(!begins_with_record(&[0; 4096]));
    }

    #[test]
    fn hostile_lines_are_counted() {
        let hostile = line().replace("webui 8787", "\\u001b[2Jx");
        let found = history(format!("{hostile}[]\n\u{0}\n{}\n{}", "[".repeat(100_000), line()).as_bytes());
        assert_eq!((found.records.len(), found.lines_skipped), (2, 3));
        assert!(!found.records[0].server.contains('\u{1b}'));
        assert_eq!(history(b""), History::default());
    }

    #[test]
    fn of_a_long_record_the_last_lines_are_kept() {
        let mut lines = Lines::default();
        let whole = line();
        for pid in 0..MAX_RECORDS + 7 {
            lines.take_from(whole.replace("4711", &pid.to_string()).as_bytes()).unwrap();
        }
        let found = lines.history();
        assert_eq!((found.records.len(), found.records[0].pid), (MAX_RECORDS, Some(7)));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
            let _ = history(&bytes);
        }
    }
}
