//! A record of `watch` as text.

use super::View;
use super::samples::{growth_lines, sparkline};
use super::table::{finish, right, table};
use crate::model::{History, Note, Record, Status};
use crate::wording::history::{ServerHistory, servers};
use comfy_table::Cell;

/// Maximum number of events that are shown without `--verbose`, the last ones.
const MAX_EVENTS: usize = 40;

/// Maximum width of an event in columns.
const MAX_EVENT: usize = 300;

/// Servers, their changes, and series that grow.
pub fn show(history: &History, view: &View) -> String {
    let mut out = String::new();
    for ServerHistory { server, records, clock, growth } in servers(history) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { continue };
        let word = last.status.word();
        let title = view.style.shorten(server, view.style.width().saturating_sub(word.len() + 2));
        let gap =
            view.style.width().saturating_sub(unicode_width::UnicodeWidthStr::width(title.as_str()) + word.len());
        out.push_str(&format!(
            "{}{}{}\n\n",
            view.style.bold(&title),
            " ".repeat(gap.max(2)),
            view.style.status(word, last.status)
        ));
        out.push_str(&format!("  {} samples from {} to {}\n", records.len(), first.at, last.at));
        out.push_str(&clock.map_or(String::new(), |text| line("Clock", text)));
        out.push_str(&line("Critical", critical(&records)));
        for (name, value) in [
            ("Open", &(|record: &Record| record.open) as &dyn Fn(&Record) -> Option<u64>),
            ("Database", &|record: &Record| record.database_handles),
            ("Queue", &|record: &Record| record.accept_queue),
        ] {
            let values: Vec<u64> = records.iter().filter_map(|record| value(record)).collect();
            if let (Some(least), Some(most)) = (values.iter().min(), values.iter().max()) {
                let drawn = sparkline(&thinned(&values), view.style);
                out.push_str(&line(name, format!("{least} to {most}  {drawn}")));
            }
        }
        out.push_str(&growth_lines(&growth, view));
        out.push_str(&events(&records, view));
    }
    if history.lines_skipped > 0 {
        out.push_str(&format!("  {} lines could not be parsed\n", history.lines_skipped));
    }
    if history.ends_torn {
        out.push_str("  The last line is incomplete: the recorder ended during a write\n");
    }
    out
}

fn line(label: &str, text: String) -> String {
    format!("  {label:<10}  {text}\n")
}

fn critical(records: &[&Record]) -> String {
    let count = records.iter().filter(|record| record.status == Status::Critical).count();
    match count {
        0 => "in no sample".to_owned(),
        count => format!("in {count} of {} samples", records.len()),
    }
}

/// The largest value of each stretch, so that no peak is lost.
fn thinned(values: &[u64]) -> Vec<u64> {
    let stretch = values.len().div_ceil(24).max(1);
    values.chunks(stretch).filter_map(|chunk| chunk.iter().max().copied()).collect()
}

fn events(records: &[&Record], view: &View) -> String {
    let all: Vec<(&str, &Note)> =
        records.iter().flat_map(|record| record.events.iter().map(|event| (record.at.as_str(), event))).collect();
    if all.is_empty() {
        return String::new();
    }
    let hidden = if view.verbose { 0 } else { all.len().saturating_sub(MAX_EVENTS) };
    let mut rows = table(view, &["AT", "WHAT"]);
    for (at, event) in all.iter().skip(hidden) {
        let at = at.split('.').next().unwrap_or(at).trim_end_matches('Z').replace('T', " ");
        rows.add_row(vec![right(at), Cell::new(view.style.shorten(&event.to_string(), MAX_EVENT))]);
    }
    let mut out = finish(&rows, view);
    if hidden > 0 {
        out.push_str(&format!("  {hidden} earlier changes are not shown; --verbose and --json have all\n"));
    }
    out.push('\n');
    out
}
