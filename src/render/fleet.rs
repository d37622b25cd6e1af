//! Common parts of the output for monitoring systems: stable names of servers, counts by known names, and safe
//! text.

use crate::model::{DatabaseFile, Envelope, Health, HostPath, Lineage, Outcome, Phase, Server};
use crate::wording::catalogue;

/// Maximum number of servers that are listed; more are only counted, so that no host can flood a monitoring
/// system.
pub const MAX_SERVERS: usize = 64;

/// The lowest port that systems assign to programs that request any port: 32768 on Linux (ip(7),
/// `ip_local_port_range`), 49152 on macOS.
const FIRST_EPHEMERAL: u16 = 32_768;

/// Databases of Hermes that are listed by name; all others are `other`.
const DATABASES: &[&str] = &["kanban.db", "memory_store.db", "response_store.db", "state.db"];

/// Any database without a known name.
pub const OTHER: &str = "other";

/// Name of a server in all its series: the same in every run, as long as the same servers run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// Kind and port, and a number if several servers have the same: `webui-8787`, `gateway`, `gateway-n2`.
    pub server: String,
    /// Port, if it is a stable one.
    pub port: Option<u16>,
}

/// One name for each server of the envelope, in the same order. Servers with the same kind and port are numbered by
/// home, then by pid; the first one has no number.
pub fn names(envelope: &Envelope) -> Vec<Name> {
    let plain: Vec<Name> = envelope.servers.iter().map(plain_name).collect();
    let order = |index: usize| envelope.servers.get(index).map(|server| (server.home.clone(), server.pid));
    let number = |index: usize, name: &Name| {
        let others = plain
            .iter()
            .enumerate()
            .filter(|(other, other_name)| *other_name == name && (order(*other), *other) < (order(index), index));
        others.count() + 1
    };
    let name = |(index, name): (usize, &Name)| match number(index, name) {
        1 => name.clone(),
        number => Name { server: format!("{}-n{number}", name.server), ..name.clone() },
    };
    plain.iter().enumerate().map(name).collect()
}

/// A port that the system has chosen changes at each start, so it is left out unless it was given.
fn plain_name(server: &Server) -> Name {
    let expectation = &server.expectation;
    let is_named = expectation.port_belongs_because.is_some()
        || expectation.named_by.iter().any(|option| option.is_port() || option.is_url());
    let port = server.port.filter(|port| *port < FIRST_EPHEMERAL || is_named);
    let kind = server.kind.word();
    Name { server: port.map_or_else(|| kind.to_owned(), |port| format!("{kind}-{port}")), port }
}

/// An id of the catalogue; [`OTHER`] for any other, such as one in a report of a newer program.
pub fn known_id(id: &str) -> &'static str {
    catalogue::entry(id).map_or(OTHER, |entry| entry.id)
}

/// The known name of a database by its path.
pub fn database_name(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    DATABASES.iter().copied().find(|known| *known == name).unwrap_or(OTHER)
}

/// Numbers of descriptors on databases with one known name and their companion files, for all their paths
/// together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handles {
    /// On the database.
    pub db: u64,
    /// On `-wal`.
    pub wal: u64,
    /// On `-shm`.
    pub shm: u64,
    /// Number of connections that they imply.
    pub connections: u64,
}

/// Handles by known name, sorted by name.
pub fn handles(server: &Server) -> Vec<(&'static str, Handles)> {
    let families = server.descriptors.iter().flat_map(|descriptors| &descriptors.sqlite);
    by_name(
        families,
        |family| &family.path,
        |sum: &mut Handles, family| {
            sum.db = sum.db.saturating_add(family.db);
            sum.wal = sum.wal.saturating_add(family.wal);
            sum.shm = sum.shm.saturating_add(family.shm);
            sum.connections = sum.connections.saturating_add(family.connections);
        },
    )
}

/// Sizes in bytes of databases with one known name and of their logs, for all their paths together; `None` if
/// none was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Of the databases.
    pub db: Option<u64>,
    /// Of the write-ahead logs.
    pub wal: Option<u64>,
}

/// Sizes by known name, sorted by name.
pub fn sizes(databases: &[DatabaseFile]) -> Vec<(&'static str, Sizes)> {
    let add = |sum: Option<u64>, size: Option<u64>| match (sum, size) {
        (Some(sum), Some(size)) => Some(sum.saturating_add(size)),
        (sum, size) => sum.or(size),
    };
    by_name(
        databases,
        |database| &database.path,
        |sum: &mut Sizes, database| {
            sum.db = add(sum.db, database.size_bytes);
            sum.wal = add(sum.wal, database.wal.as_ref().map(|wal| wal.size_bytes));
        },
    )
}

fn by_name<'a, T: 'a, S: Default>(
    items: impl IntoIterator<Item = &'a T>,
    path: impl Fn(&T) -> &HostPath,
    add: impl Fn(&mut S, &T),
) -> Vec<(&'static str, S)> {
    let mut sums = std::collections::BTreeMap::new();
    for item in items {
        add(sums.entry(database_name(path(item))).or_default(), item);
    }
    sums.into_iter().collect()
}

/// Whether the health path is answered as expected, or with a login; `None` if it was not requested.
pub fn is_answering(health: &Health) -> Option<bool> {
    match health.outcome {
        Outcome::NotApplicable | Outcome::NotProbed => None,
        outcome => Some(matches!(outcome, Outcome::Ok | Outcome::Guarded)),
    }
}

/// Duration of a request, or time until it failed, in seconds; `None` if none was sent.
pub fn seconds(phases: &[Phase]) -> Option<f64> {
    (!phases.is_empty()).then(|| in_seconds(phases.iter().map(|phase| phase.ms).sum()))
}

/// Milliseconds in seconds, rounded to the microsecond, which is the precision of the measurement.
pub fn in_seconds(ms: f64) -> f64 {
    (ms * 1000.0).round() / 1_000_000.0
}

/// Restarts counted by the supervisor of the server, else by the expected one.
pub fn restarts(lineage: &Lineage) -> Option<u64> {
    let expected = lineage.expected.as_ref().and_then(|expected| {
        lineage
            .claims
            .iter()
            .find(|claim| claim.kind == expected.kind && claim.name.as_ref() == Some(&expected.name))
    });
    lineage.supervisor.restarts.or_else(|| expected?.restarts)
}

/// A text in printable ASCII on one line, with at most `length` characters. It contains no character with a
/// meaning for the reader of a plugin (`|`) or for a shell that handles a notification.
pub fn harmless(text: &str, length: usize) -> String {
    let is_harmless =
        |character: char| character.is_ascii_alphanumeric() || " .,:/%+-_()=#*~@[]!?".contains(character);
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            character if is_harmless(character) => shown.push(character),
            ';' => shown.push(','),
            '\'' | '"' | '`' => {}
            '…' => shown.push_str("..."),
            '·' | '→' => shown.push('-'),
            character if character.is_whitespace() => shown.push(' '),
            _ => shown.push('?'),
        }
    }
    if shown.len() > length {
        shown.truncate(length.saturating_sub(3));
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::replay;

    fn host(name: &str) -> Envelope {
        let path = format!("{}/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        replay::read(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn a_name_does_not_depend_on_the_order_in_which_servers_were_found() {
        let mut envelope = host("healthy-pool");
        let first = envelope.servers[0].clone();
        let with = |home: &str, port: u16| {
            let mut server = first.clone();
            (server.home, server.port) = (Some(home.into()), Some(port));
            server.expectation.named_by.clear();
            server.expectation.port_belongs_because = None;
            server
        };
        let servers = [with("/b", 8787), with("/a", 8787), with("/c", 9000), with("/c", 41_000)];
        envelope.servers = servers.to_vec();
        let shown = |envelope: &Envelope| -> Vec<(Option<String>, String)> {
            let homes = envelope.servers.iter().map(|server| server.home.as_ref().map(ToString::to_string));
            homes.zip(names(envelope).into_iter().map(|name| name.server)).collect()
        };
        let mut forward = shown(&envelope);
        let of: Vec<&str> = forward.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(of, ["webui-8787-n2", "webui-8787", "webui-9000", "webui"]);
        envelope.servers.reverse();
        forward.reverse();
        assert_eq!(shown(&envelope), forward);
        // A high port that was given by the user is stable.
        envelope.servers[0].expectation.named_by.push("--port 41000".into());
        assert_eq!(names(&envelope)[0].server, "webui-41000");
    }

    #[test]
    fn databases_have_known_names_only() {
        assert_eq!(database_name("/home/ann/.hermes/state.db"), "state.db");
        for word in ["/srv/acme.db", "/srv/state.db/acme", "state.db-2024", ""] {
            assert_eq!(database_name(word), OTHER, "{word}");
        }
    }

    #[test]
    fn marks_of_plugins_and_shells_do_not_stay() {
        let hostile = "a|b;c\n$(id) `x` 'y' \"z\" \\ 91\u{a0}% … é";
        assert_eq!(harmless(hostile, 200), "a?b,c ?(id) x y z ? 91 % ... ?");
        assert_eq!(harmless("0123456789", 8), "01234...");
    }

    proptest::proptest! {
        #[test]
        fn harmless_text_is_one_line_of_ascii(text in ".{0,80}", length in 3_usize..60) {
            let shown = harmless(&text, length);
            proptest::prop_assert!(shown.len() <= length && shown.is_ascii());
            proptest::prop_assert!(!shown.contains(['|', '\n', '\r', '\'', '"', '`', '$', ';', '<', '>', '&', '\\']));
        }
    }
}
