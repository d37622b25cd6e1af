//! Limits of tasks and memory, from the process up to the host.

use super::table::{finish, right, table};
use super::{View, words};
use crate::model::{Pressure, Server};
use comfy_table::Cell;

/// All limits of a server.
pub fn resources(server: &Server, view: &View) -> String {
    let Some(facts) = &server.resources else { return String::new() };
    let mut rows = table(view, &["IN USE", "LIMIT", "REFUSED", "SINCE", "WHAT"]);
    let number = |value: Option<u64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    let limit = |value: Option<u64>| value.map_or_else(|| "none".to_owned(), |value| value.to_string());
    let size = |value: Option<u64>| value.map_or_else(|| "none".to_owned(), words::bytes);
    let rest = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let mut add = |cells: [String; 4], what: String| {
        let mut row: Vec<Cell> = cells.into_iter().map(right).collect();
        row.push(Cell::new(view.style.locale(&what)));
        rows.add_row(row);
    };
    let host = &facts.host;
    let no = || "-".to_owned();
    if facts.process.is_bound == Some(true) {
        let used = rest(facts.process.user_tasks);
        add([used, limit(facts.process.tasks_max), no(), no()], "tasks of its user".to_owned());
    }
    for group in &facts.task_groups {
        let what = format!("tasks of {}", group.path);
        add([number(group.current), limit(group.max), rest(group.refused), rest(group.refused_since)], what);
    }
    let most = host.threads_max.into_iter().chain(host.pid_max).min();
    add([number(host.tasks), number(most), no(), no()], "tasks of the host".to_owned());
    for group in &facts.memory_groups {
        let cached =
            group.file_cache_bytes.map_or(String::new(), |bytes| format!(" ({} cached)", words::bytes(bytes)));
        let killed =
            group.oom_kills.filter(|kills| *kills > 0).map_or(String::new(), |kills| format!(", {kills} killed"));
        let what = format!("memory of {}{cached}{killed}", group.path);
        let most = group.high_bytes.into_iter().chain(group.max_bytes).min();
        let (met, since) = match group.high_bytes {
            Some(_) => (group.high_events, group.high_events_since),
            None => (group.max_events, group.max_events_since),
        };
        add([size(group.current_bytes), size(most), rest(met), rest(since)], what);
    }
    // Recent kernels set it to the largest possible number.
    let files_max = host.files_max.filter(|most| *most < 1 << 60);
    add([number(host.files), limit(files_max), no(), no()], "open files of the host".to_owned());
    let mut out = finish(&rows, view);
    let of_host = host.memory_pressure.map(|pressure| ("the host".to_owned(), pressure));
    let of_groups =
        facts.memory_groups.iter().filter_map(|group| Some((view.style.locale(&group.path), group.pressure?)));
    for (whose, pressure) in of_groups.chain(of_host) {
        out.push_str(&words::indented(&pressure_line(&whose, &pressure), view.style.width()));
    }
    out
}

fn pressure_line(whose: &str, pressure: &Pressure) -> String {
    let full = pressure.full_avg10.map_or(String::new(), |full| format!(", all at once {full:.1} %"));
    format!("waited for memory in the last ten seconds, {whose}: some {:.1} %{full}", pressure.some_avg10)
}
