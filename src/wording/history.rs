//! A record of `watch`, server by server.

use crate::diagnose::history::{by_server, clock_steps, growth_of};
use crate::model::{Growth, History, Record};

/// The record of one server.
pub struct ServerHistory<'a> {
    /// Name of the server in the record.
    pub server: &'a str,
    /// Its samples, oldest first.
    pub records: Vec<&'a Record>,
    /// The clock steps in the record, if there are any, and how growth is judged across them.
    pub clock: Option<String>,
    /// What the samples of its last process show.
    pub growth: Vec<Growth>,
}

/// The servers of a record.
pub fn servers(history: &History) -> Vec<ServerHistory<'_>> {
    let of_server = |(server, records): (_, Vec<_>)| ServerHistory {
        server,
        clock: clock(&records),
        growth: growth_of(&records),
        records,
    };
    by_server(history).into_iter().map(of_server).collect()
}

fn clock(records: &[&Record]) -> Option<String> {
    let steps = clock_steps(records);
    let counted = [(steps.back, "back"), (steps.forward, "forward")];
    let counted = counted.iter().filter(|(count, _)| *count > 0);
    let counted: Vec<String> = counted.map(|(count, way)| format!("set {way} {count} times")).collect();
    let judged = if steps.cuts_trend {
        "growth is judged since the last step back"
    } else {
        "growth is judged by the time since boot"
    };
    (!counted.is_empty()).then(|| format!("{}; {judged}", counted.join(", ")))
}
