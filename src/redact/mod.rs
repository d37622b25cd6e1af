//! Redaction: hides everything in the facts of an envelope that identifies the machine, by the type of the text. Names that
//! every Hermes host has are kept; everything else becomes a placeholder. Properties that a diagnosis needs are kept: which
//! texts are equal, their suffixes, and the class of an address.
//!
//! Findings are not redacted: whoever redacts the facts diagnoses them again.

mod hide;
mod known;
mod names;
mod path;
mod secrets;
mod text;

use crate::model::{Envelope, Hidden, Redaction, SCHEMA, Server, Status, Supervisor, Visited};
use crate::parse::mask::MASK;
use names::{Kind, Names, numbered};
pub use secrets::mask;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Level of redaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// As [`Level::Default`]; also directories and units of Hermes, the versions of the server, and all
    /// absolute times.
    Paranoid,
    /// Users, hosts, addresses, secrets, and every name that is not on every Hermes host.
    #[default]
    Default,
    /// Only secrets in command lines and URLs, which are masked where they are read.
    None,
}

impl Level {
    /// The level as written on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Paranoid => "paranoid",
            Self::Default => "default",
            Self::None => "none",
        }
    }
}

/// The names of this machine, as they appear in logs and prompts (uname(2)): in full and without the domain.
pub fn host_names() -> Vec<String> {
    let full = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let short = full.split('.').next().unwrap_or_default().to_owned();
    let mut names = vec![full, short];
    names.retain(|name| name.len() > 1);
    names.dedup();
    names
}

/// Replaces the names in the facts of an envelope, and removes what was concluded from these facts. Returns each placeholder
/// with the name that it replaces; this map must not leave the machine.
pub fn hide(envelope: &mut Envelope, level: Level, hosts: &[String]) -> Vec<(String, String)> {
    SCHEMA.clone_into(&mut envelope.schema);
    envelope.redaction = None;
    if level == Level::None {
        return Vec::new();
    }
    envelope.findings.clear();
    for server in &mut envelope.servers {
        server.status = Status::Unknown;
        server.findings.clear();
        server.root_causes.clear();
        server.passed.clear();
    }
    let mut names = Names::new(level, hosts, envelope.started_at.time());
    // The server's own user first, so that `~` is the home of that user.
    let owners = envelope.servers.iter().filter_map(|server| server.process.as_ref()?.user.as_deref());
    owners.for_each(|user| names.learn_owner(user));
    envelope.accept(&mut hide::Learn(&mut names));
    let observed: Vec<Option<usize>> = envelope.servers.iter().map(observed).collect();
    envelope.accept(&mut hide::Hide(&mut names));
    for (server, observed) in envelope.servers.iter_mut().zip(observed) {
        name_observed(server, observed);
    }
    names.map()
}

/// The claim whose supervisor was observed: 0 for the first one, then the others.
fn observed(server: &Server) -> Option<usize> {
    let lineage = server.lineage.as_ref()?;
    let of = lineage.relaunch.as_ref()?.of.as_ref()?.to_string();
    std::iter::once(&lineage.supervisor).chain(&lineage.claims).position(|claim| claim.title() == of)
}

/// Names the observed supervisor as its claim does: a kind and a name in one text are hidden by other rules than apart.
fn name_observed(server: &mut Server, observed: Option<usize>) {
    let Some(lineage) = &mut server.lineage else { return };
    let claim = observed.and_then(|at| std::iter::once(&lineage.supervisor).chain(&lineage.claims).nth(at));
    if let (Some(title), Some(relaunch)) = (claim.map(Supervisor::title), &mut lineage.relaunch) {
        relaunch.of = Some(title.into());
    }
}

/// The level, and the placeholders of an envelope by kind.
pub fn summary(envelope: &Envelope, level: Level) -> Redaction {
    let hidden = serde_json::to_value(envelope).map(|value| count(&value)).unwrap_or_default();
    Redaction { level: level.word().to_owned(), hidden }
}

/// Whether names were redacted in a report, so that the same placeholder has another meaning in another report.
pub fn is_hidden(envelope: &Envelope) -> bool {
    envelope.redaction.as_ref().is_some_and(|redaction| redaction.level != Level::None.word())
}

/// Whether the name of a file is kept at the default level.
pub fn keeps_name(name: &str) -> bool {
    known::is_known_name(name)
}

/// Counts the placeholders by kind.
fn count(value: &Value) -> Vec<Hidden> {
    #[derive(Default)]
    struct Seen {
        distinct: BTreeSet<String>,
        times: u64,
    }
    let mut seen: BTreeMap<(usize, &str), Seen> = BTreeMap::new();
    let mut note = |order: usize, prefix: &'static str, word: &str| {
        let seen = seen.entry((order, prefix)).or_default();
        seen.distinct.insert(word.to_owned());
        seen.times += 1;
    };
    strings(value, &mut |text| {
        for word in text.split(|character: char| !(character.is_alphanumeric() || "-~*".contains(character))) {
            let name = word.trim_start_matches('~');
            let name = name.strip_prefix("hermes-").unwrap_or(name);
            let name = ["-wal", "-shm"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
            if word == "~" {
                note(0, "~", word);
            } else if word == MASK {
                note(1, MASK, word);
            } else if let Some(at) = Kind::ALL.iter().position(|kind| numbered(name, *kind).is_some()) {
                note(at + 2, Kind::ALL[at].prefix(), name);
            }
        }
    });
    seen.into_iter()
        .map(|((order, prefix), seen)| Hidden {
            placeholder: prefix.to_owned(),
            stands_for: match order {
                0 => "the home of the server's user".to_owned(),
                1 => "secrets in command lines and URLs".to_owned(),
                order => Kind::ALL.get(order - 2).map_or(String::new(), |kind| kind.words().to_owned()),
            },
            distinct: u64::try_from(seen.distinct.len()).unwrap_or(u64::MAX),
            times: seen.times,
        })
        .collect()
}

/// Visits every string.
fn strings(value: &Value, found: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(map) => map.values().for_each(|value| strings(value, found)),
        Value::Array(values) => values.iter().for_each(|value| strings(value, found)),
        Value::String(text) => found(text),
        _ => {}
    }
}
