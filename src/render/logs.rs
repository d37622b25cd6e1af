//! Logs as tables: their errors, the number and time of each, and the one that began first.

use super::table::{finish, right, table};
use super::{View, words};
use crate::model::{LogFacts, Server, Timestamp};
use comfy_table::Cell;

/// All logs of a server.
pub fn logs(server: &Server, view: &View) -> String {
    server.logs.iter().map(|log| one(log, view)).collect()
}

fn one(log: &LogFacts, view: &View) -> String {
    let width = view.style.width().saturating_sub(40).max(30);
    let source = view.style.bold(&view.style.shorten(&log.source, width));
    let mut notes = vec![match log.is_cut {
        true => format!("the last {}", words::bytes(log.bytes_read)),
        false => format!("all of it, {}", words::bytes(log.bytes_read)),
    }];
    if log.with_rotated {
        notes.push("with the rotated file".to_owned());
    }
    if log.is_shared {
        notes.push("other servers write to it too".to_owned());
    }
    if log.ends_in_traceback {
        let name = log.ends_with_traceback.as_deref().map_or(String::new(), |name| format!(" of {name}"));
        notes.push(format!("ends with a traceback{name}"));
    }
    let mut out = format!("\n  {source}\n");
    for line in words::wrap(&notes.join(", "), view.style.width().saturating_sub(4)) {
        out.push_str(&format!("    {line}\n"));
    }
    if log.classes.is_empty() {
        return out;
    }
    let mut rows = table(view, &["LINES", "SINCE START", "ORDER", "FIRST (UTC)", "LAST (UTC)", "CLASS"]);
    for class in &log.classes {
        let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
        let time =
            |at: Option<&Timestamp>| at.map_or_else(|| "no time".to_owned(), |at| to_the_second(at.as_str()));
        rows.add_row(vec![
            right(class.count),
            right(number(class.since_start)),
            right(class.order.map_or_else(|| "before start".to_owned(), |order| order.to_string())),
            Cell::new(time(class.first_at.as_ref())),
            Cell::new(time(class.last_at.as_ref())),
            Cell::new(class.class.words()),
        ]);
    }
    out.push_str(&finish(&rows, view));
    out
}

/// `2026-11-24T10:11:12.345Z` to the second and without `T` and `Z`; a time in an unknown zone unchanged.
fn to_the_second(at: &str) -> String {
    match at.split_once('.') {
        Some((second, _)) if at.ends_with('Z') => second.replace('T', " "),
        _ => at.to_owned(),
    }
}
