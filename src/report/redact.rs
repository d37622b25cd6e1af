//! Redaction: removes everything from an envelope that identifies the machine. Text of this program and names
//! that every Hermes host has are kept; everything else becomes a placeholder. Properties that a diagnosis
//! needs are kept: which texts are equal, their suffixes, and the class of an address.

use super::names::{Kind, Names, Text, numbered};
use super::vocabulary::{in_python_library, is_function, is_known_name, is_prose};
use super::{emptied, schema};
use crate::diagnose;
use crate::model::{Envelope, Finding, Hidden, Redaction, SCHEMA, Server, SupervisorKind, id};
use crate::parse::mask::MASK;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::LazyLock;

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

/// The redacted envelope, with the list of placeholders. If it cannot be read back, only a gap remains.
pub fn redacted(envelope: Envelope, level: Level, hosts: &[String]) -> Envelope {
    redacted_with_map(envelope, level, hosts).0
}

/// The same, and the map: each placeholder with the name that it replaces. The map must not leave the machine.
pub fn redacted_with_map(envelope: Envelope, level: Level, hosts: &[String]) -> (Envelope, Vec<(String, String)>) {
    let mut names = Names::new(level, hosts, envelope.started_at.time());
    let Some(mut hidden) = hide(&envelope, level, &mut names) else { return (emptied(envelope), Vec::new()) };
    if level != Level::None {
        judge_again(&mut hidden, &envelope);
    }
    let counted = serde_json::to_value(&hidden).map(|value| count(&value)).unwrap_or_default();
    hidden.redaction = Some(Redaction { level: level.word().to_owned(), hidden: counted });
    (hidden, names.map())
}

/// Whether names were redacted in a report, so that the same placeholder has another meaning in another report.
pub fn is_hidden(envelope: &Envelope) -> bool {
    envelope.redaction.as_ref().is_some_and(|redaction| redaction.level != Level::None.word())
}

/// Whether the name of a file is kept at the default level.
pub fn keeps_name(name: &str) -> bool {
    is_known_name(name)
}

fn hide(envelope: &Envelope, level: Level, names: &mut Names) -> Option<Envelope> {
    let mut plain = envelope.clone();
    plain.redaction = None;
    if level == Level::None {
        return Some(plain);
    }
    let mut value = serde_json::to_value(&plain).ok()?;
    strings(&value, "", &mut |_, text| names.learn_placeholders(text));
    // The server's own user first, so that `~` is the home of that user.
    let owners = envelope.servers.iter().filter_map(|server| server.process.as_ref()?.user.as_deref());
    owners.for_each(|user| names.learn_owner(user));
    strings(&value, "", &mut |key, text| {
        if key == "user" {
            names.learn_user(text);
        }
        names.learn_homes(text);
    });
    programs(&value, "", &mut |name| names.learn_program(name));
    strings(&value, "", &mut |key, text| {
        if is_path_key(key) && text.starts_with('/') {
            names.learn_path(text);
        }
    });
    walk(&mut value, &mut Vec::new(), names, level);
    let mut hidden: Envelope = serde_json::from_value(value).ok()?;
    hidden.schema = SCHEMA.to_owned();
    Some(hidden)
}

/// Diagnoses the redacted facts again, for findings in the text of this program. If these are not the same
/// findings, the original ones are kept, with their texts redacted.
fn judge_again(hidden: &mut Envelope, original: &Envelope) {
    for (server, before) in hidden.servers.iter_mut().zip(&original.servers) {
        let mut again = server.clone();
        diagnose::judge(&mut again);
        if verdict(&again) == verdict(before) {
            *server = again;
        }
    }
    let of_databases = |finding: &&Finding| id::DATABASES.contains(&finding.id.as_str());
    let again = diagnose::judge_host(&[], &hidden.databases);
    if again.len() == hidden.findings.iter().filter(of_databases).count() {
        hidden.findings.retain(|finding| !of_databases(&finding));
        hidden.findings.extend(again);
    }
}

fn verdict(server: &Server) -> impl PartialEq + use<> {
    let findings: Vec<_> = server.findings.iter().map(|found| (found.id.clone(), found.severity)).collect();
    (server.status, server.root_causes.clone(), findings, server.passed.clone())
}

/// Visits every string with the name of its field.
fn strings(value: &Value, key: &str, found: &mut dyn FnMut(&str, &str)) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| strings(value, key, found)),
        Value::Array(values) => values.iter().for_each(|value| strings(value, key, found)),
        Value::String(text) => found(key, text),
        _ => {}
    }
}

/// Visits the names that supervisors use.
fn programs(value: &Value, parent: &str, found: &mut dyn FnMut(&str)) {
    match value {
        Value::Object(map) => {
            let name = map.get("name").and_then(Value::as_str);
            let is_claim = matches!(parent, "supervisor" | "claims" | "claim" | "expected");
            name.filter(|_| is_claim).into_iter().for_each(&mut *found);
            map.iter().for_each(|(key, value)| programs(value, key, found));
        }
        Value::Array(values) => values.iter().for_each(|value| programs(value, parent, found)),
        _ => {}
    }
}

/// Values of the fields that have a list of values, by the field, and the ids of findings.
static OWN_VALUES: LazyLock<HashMap<String, HashSet<String>>> = LazyLock::new(|| {
    let mut found: HashMap<String, HashSet<String>> = HashMap::new();
    schema::each_list_of_values(&mut |field, value| {
        found.entry(field.to_owned()).or_default().insert(value.to_owned());
    });
    found.entry("kind".to_owned()).or_default().extend(SupervisorKind::words());
    let ids = || diagnose::catalogue::CATALOGUE.iter().map(|entry| entry.id.to_owned());
    for field in ["id", "root_causes", "passed", "blocks", "caused_by", "newer_rules", "expected", "found"] {
        found.entry(field.to_owned()).or_default().extend(ids());
    }
    found
});

/// Whether a text is one of the values that a field can have: a word of this program, whatever the names on the host. A `name` is
/// that only for the phases of a request; elsewhere it comes from the host.
fn is_own_word(fields: &[String], text: &str) -> bool {
    let Some((field, around)) = fields.split_last() else { return false };
    let is_name = field == "name" && around.last().is_none_or(|parent| parent != "phases");
    !is_name && OWN_VALUES.get(field).is_some_and(|values| values.contains(text))
}

/// Redacts every string, depending on its field. A field that is not known here contains prose: only words of
/// this program are kept. The key of a map can be untrusted text too.
///
/// `fields` is the path to the value, the innermost last. It is a list because LLVM 21 and 22 miscompile
/// arguments that move up one position at each recursion, as if all were those of the first call (llvm-project
/// issue 219503).
fn walk(value: &mut Value, fields: &mut Vec<String>, names: &mut Names, level: Level) {
    match value {
        Value::Object(map) => {
            let mut hidden = Map::new();
            let function = function_of_python(map).filter(|_| level != Level::Paranoid);
            for (name, mut value) in std::mem::take(map) {
                fields.push(name);
                walk(&mut value, fields, names, level);
                let name = fields.pop().unwrap_or_default();
                let name = if is_prose(&name) { name } else { names.text(&name, Text::Prose) };
                hidden.insert(name, value);
            }
            if let Some(function) = function {
                hidden.insert("function".to_owned(), function);
            }
            *map = hidden;
        }
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, fields, names, level)),
        Value::String(text) if is_own_word(fields, text) => {}
        Value::String(text) => {
            let mut innermost = fields.iter().rev().map(String::as_str);
            let key = innermost.next().unwrap_or_default();
            *text = field(text, innermost.next().unwrap_or_default(), key, names, level);
        }
        Value::Number(number) if fields.last().is_some_and(|key| key == "modified_ns") => {
            if let Some(at) = number.as_u64() {
                *number = names.nanoseconds(at).into();
            }
        }
        _ => {}
    }
}

/// The function of a frame in CPython's own library, which is public. Elsewhere file and line identify it.
fn function_of_python(frame: &Map<String, Value>) -> Option<Value> {
    let (file, function) = (frame.get("file")?.as_str()?, frame.get("function")?.as_str()?);
    (in_python_library(file).is_some() && is_function(function)).then(|| function.into())
}

/// Redacts one string, by the name of its field and that of the object or list around it.
fn field(text: &str, parent: &str, key: &str, names: &mut Names, level: Level) -> String {
    let is_address = |text: &str| !text.starts_with(['/', '@']);
    match (parent, key) {
        (_, "user") => names.user(text),
        // Consists only of words and numbers (fields of the kernel's tables and of system calls).
        (_, "wait_channel") | ("system_call", "name") if is_symbol(text) => text.to_owned(),
        ("" | "replayed", "command") | ("next", _) | ("tool" | "phases", "name") => names.text(text, Text::Prose),
        ("activity" | "routes" | "batches" | "paths", "path") | (_, "url" | "redirect_to") => names.url(text),
        ("answer", "version") | (_, "server_header") if level == Level::Paranoid => MASK.to_owned(),
        ("answer", "version") if is_version(text) => text.to_owned(),
        ("host", "kernel") if level == Level::Paranoid => {
            text.chars().take_while(|character| character.is_ascii_digit() || *character == '.').collect()
        }
        (_, "series") => match text.split_once(':') {
            Some(("family", path)) => format!("family:{}", names.path(path)),
            _ => names.text(text, Text::Prose),
        },
        ("threads" | "held_by", "name") => match text.split_once(" (") {
            Some((thread, target)) if is_unnamed_thread(thread) => {
                format!("{thread} ({})", names.name(target.trim_end_matches(')')))
            }
            None if is_unnamed_thread(text) => text.to_owned(),
            _ => names.name(text),
        },
        ("markers", _) | (_, "name" | "unit") => names.name(text),
        (_, "of" | "supervisor") => names.titled(text),
        (_, "local" | "remote" | "address" | "peer") if is_address(text) => names.text(text, Text::Prose),
        (_, key) if is_path_key(key) && text.starts_with(['/', '@', '~']) => names.path(text),
        ("pid_files", "detail") if text.split_whitespace().all(is_prose) => text.to_owned(),
        ("pid_files", "detail") | (_, "command") => names.text(text, Text::Command),
        _ => names.text(text, Text::Prose),
    }
}

/// Whether a field contains only a path, if it begins like one.
fn is_path_key(key: &str) -> bool {
    matches!(
        key,
        "address"
            | "cgroup"
            | "configuration"
            | "executable"
            | "home"
            | "local"
            | "log"
            | "path"
            | "remote"
            | "subject"
            | "target"
    )
}

/// Whether it is a default name of a thread in CPython: `MainThread`, `Thread-7`, `ThreadPoolExecutor-0_3`,
/// `asyncio_2`.
fn is_unnamed_thread(name: &str) -> bool {
    let number =
        ["Thread-", "Dummy-", "ThreadPoolExecutor-", "asyncio_"].iter().find_map(|kind| name.strip_prefix(kind));
    let is_number = |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    name == "MainThread" || number.is_some_and(|number| number.splitn(2, '_').all(is_number))
}

/// Whether it is the name of a kernel function or a system call.
fn is_symbol(text: &str) -> bool {
    text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_. ".contains(&byte))
}

/// For example `0.51.900`, `exp-v0.52.167`.
fn is_version(text: &str) -> bool {
    let number = text.trim_start_matches("exp-").trim_start_matches('v');
    text.len() <= 24
        && number.contains('.')
        && number.split('.').all(|part| part.len() <= 5 && part.parse::<u32>().is_ok())
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
    strings(value, "", &mut |_, text| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Gap, GapReason, HostFacts, RawClaim, Supervisor};
    use std::time::SystemTime;

    fn shown(texts: &[&str]) -> Vec<String> {
        let mut envelope = crate::report::envelope("check", HostFacts::default(), SystemTime::UNIX_EPOCH);
        envelope.gaps = texts.iter().map(|text| Gap::new(*text, GapReason::Timeout, "x")).collect();
        redacted(envelope, Level::Default, &["annbox".to_owned()])
            .gaps
            .into_iter()
            .map(|gap| gap.what.to_string())
            .collect()
    }

    #[test]
    fn people_hosts_and_addresses_are_hidden_and_stay_apart() {
        assert_eq!(
            shown(&[
                "/home/ann/.hermes/state.db",
                "python3 /Users/bob/hermes-webui/server.py --home=/home/ann/.hermes",
                "/srv/ann/x and /srv/annex",
                "10.0.0.5:443, 192.168.1.2 and 10.0.0.5.",
                "[2001:db8::1]:443 to 93.184.216.34:80 from [::1]:8787, 127.0.0.1:8787 and 0.0.0.0",
                "https://box.example.org:8443/health and http://localhost:8787",
                "started 2026-11-24T20:00:00Z, sqlite 3.45.1, /root/.hermes",
                "/tmp/home/state.db, /tmp/home/webui.pid and /proc/7/root/home/eve/x",
            ]),
            [
                "~/.hermes/state.db",
                "python3 ~user-2/hermes-webui/server.py --home=~/.hermes",
                "/srv/user-1/x and /srv/dir-1",
                "private-1:443, private-2 and private-1.",
                "[public-1]:443 to public-2:80 from [::1]:8787, 127.0.0.1:8787 and 0.0.0.0",
                "https://host-1:8443/health and http://localhost:8787",
                "started 2026-11-24T20:00:00Z, sqlite 3.45.1, /root/.hermes",
                "/tmp/home/state.db, /tmp/home/webui.pid and /proc/7/root/home/user-3/x",
            ]
        );
    }

    #[test]
    fn default_thread_names_are_not_redacted() {
        for name in ["MainThread", "Thread-7", "ThreadPoolExecutor-0_3", "asyncio_2", "Dummy-1"] {
            assert!(is_unnamed_thread(name), "{name}");
        }
        for name in ["Thread-", "Thread-ann", "Thread-1234567", "asyncio_1_2_3", "ann", "MainThread2"] {
            assert!(!is_unnamed_thread(name), "{name}");
        }
        let mut names = Names::new(Level::Default, &[], None);
        let shown = field("Thread-7 (anna)", "threads", "name", &mut names, Level::Default);
        assert!(shown.starts_with("Thread-7 (") && !shown.contains("anna"), "{shown}");
    }

    /// The diagnosis of a redacted report has the same result.
    #[test]
    fn a_redacted_host_is_judged_the_same() {
        let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
        let mut seen = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let envelope = crate::collect::replay::read(&std::fs::read(&path).unwrap()).unwrap();
            for level in [Level::Default, Level::Paranoid, Level::None] {
                let mut hidden = redacted(envelope.clone(), level, &[]);
                assert_eq!(hidden.servers.len(), envelope.servers.len(), "{}", path.display());
                for (hidden, mut server) in hidden.servers.iter_mut().zip(envelope.servers.clone()) {
                    diagnose::judge(hidden);
                    diagnose::judge(&mut server);
                    assert!(verdict(hidden) == verdict(&server), "{} at {}", path.display(), level.word());
                }
            }
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }

    /// A report that is redacted again stays the same.
    #[test]
    fn a_redacted_report_is_redacted_already() {
        for name in ["two-owners", "pm2-errored", "systemd-user-orphan", "database-locked"] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.json"));
            let envelope = crate::collect::replay::read(&std::fs::read(path).unwrap()).unwrap();
            let once = redacted(envelope, Level::Default, &[]);
            assert_eq!(redacted(once.clone(), Level::Default, &[]), once, "{name}");
        }
    }

    #[test]
    fn a_placeholder_that_was_there_is_not_given_again() {
        assert_eq!(shown(&["/srv/dir-1/x", "/srv/acme/x"]), ["/srv/dir-1/x", "/srv/dir-2/x"]);
    }

    #[test]
    fn redacts_text_not_written_by_this_program() {
        assert_eq!(
            shown(&[
                "swordfish",
                "descriptors of pid 4711: Connection refused",
                "ANNBOX said so, annbox.example.org too",
                "unit acme-billing.service, hermes-acme.service and hermes-webui.service",
                "ann@acme.example, 4915112345678 and deadbeef0123",
                "the file /srv/acme/Q3 plan.xlsx",
                "\u{1f600} caf\u{e9}",
                "http://localhost:8787/api/sessions/swordfish?q=tuna",
            ]),
            [
                "word-1",
                "descriptors of pid 4711: Connection refused",
                "host-1 said so, host-2 too",
                "unit unit-1.service, hermes-unit-2.service and hermes-webui.service",
                "host-3, number-1 and id-1",
                "the file /srv/dir-1/Q3 host-4",
                "? word-2",
                "http://localhost:8787/api/sessions/word-1?q=***",
            ]
        );
    }

    #[test]
    fn the_strict_level_moves_times_and_hides_directories_of_hermes() {
        let mut envelope = crate::report::envelope("check", HostFacts::default(), SystemTime::now());
        let started = envelope.started_at.clone();
        envelope.gaps = ["/opt/hermes/profiles/state.db", "hermes-webui.service", started.as_str()]
            .map(|text| Gap::new(text, GapReason::Timeout, "x"))
            .to_vec();
        let started_ns = started.time().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/database-locked.json");
        let recorded = crate::collect::replay::read(&std::fs::read(path).unwrap()).unwrap();
        envelope.databases.extend(recorded.servers.into_iter().flat_map(|server| server.databases));
        let stamp = &mut envelope.databases[0].written[0];
        stamp.modified_ns = u64::try_from(started_ns.as_nanos()).unwrap() + 5;
        let hidden = redacted(envelope, Level::Paranoid, &[]);
        assert_eq!(hidden.databases[0].written[0].modified_ns, 946_684_800_000_000_005);
        let texts: Vec<String> = hidden.gaps.iter().map(|gap| gap.what.to_string()).collect();
        let millennium = "2000-01-01T00:00:00.000Z";
        assert_eq!(texts[1..], ["hermes-unit-1.service", millennium]);
        assert!(texts[0].starts_with("/opt/dir-") && texts[0].ends_with("/state.db"), "{texts:?}");
        assert!(!texts[0].contains("hermes") && !texts[0].contains("profiles"), "{texts:?}");
        assert_eq!(hidden.started_at.as_str(), millennium);
    }

    /// Names that are words of this program too.
    const WORDS: [&str; 12] =
        ["delta", "rose", "apple", "mark", "will", "max", "page", "case", "pat", "may", "field", "long"];

    const ROLES: [&str; 4] = ["user", "host", "program", "directory"];

    /// A host where one of these has this name: the user, the host, the unit and a program, or a directory.
    fn host_of(role: &str, word: &str) -> (Envelope, Vec<String>) {
        let name = |of: &str| if role == of { word.to_owned() } else { format!("zq{of}") };
        let (user, host, program, directory) = (name("user"), name("host"), name("program"), name("directory"));
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/systemd-orphan.json");
        let text = std::fs::read_to_string(path).unwrap();
        let text = text.replace("/home/hermes/", &format!("/srv/{directory}/hermes/"));
        let mut envelope = crate::collect::replay::read(text.as_bytes()).unwrap();
        let server = &mut envelope.servers[0];
        server.process.as_mut().unwrap().user = Some(user.clone().into());
        let lineage = server.lineage.as_mut().unwrap();
        lineage.supervisor.name = Some(format!("{program}.service").into());
        lineage.expected.as_mut().unwrap().name = format!("{program}.service").into();
        lineage.unit = Some(format!("{program}.service").into());
        let mut second = lineage.supervisor.clone();
        (second.kind, second.name) = (SupervisorKind::Supervisord, Some(format!("{program}:{program}").into()));
        lineage.claims.push(second);
        diagnose::judge(server);
        envelope.gaps = [
            format!("addresses of {host}; {host}.example.org does not answer; root@{host}: refused"),
            format!("tcp {host}:8787, http://{host}:8787/health, ({host}), \"{host}\", {host}'s, name={host}"),
            format!("no such program; supervisord has {program}, {program}:{program} and {program}.service"),
            format!("/srv/{directory}/x cannot be read; in /srv/{directory} is nothing"),
            format!("of user {user}, /home/{user}/y, ~{user}/z, {user}@localhost, user={user}"),
        ]
        .map(|text| Gap::new(text.clone(), GapReason::Timeout, text))
        .to_vec();
        (envelope, vec![host])
    }

    fn texts_of(envelope: &Envelope) -> Vec<String> {
        let mut found = Vec::new();
        strings(&serde_json::to_value(envelope).unwrap(), "", &mut |_, text| found.push(text.to_owned()));
        found
    }

    #[test]
    fn a_name_is_hidden_even_if_it_is_a_word_of_this_program() {
        for (level, role) in
            [Level::Default, Level::Paranoid].into_iter().flat_map(|level| ROLES.map(move |role| (level, role)))
        {
            // With a name that is no word of this program, the report is the same but for words in its own sentences.
            let (plain, hosts) = host_of(role, "zqzq");
            let other = redacted(plain, level, &hosts);
            assert!(!serde_json::to_string(&other).unwrap().contains("zq"));
            for word in WORDS {
                let (envelope, hosts) = host_of(role, word);
                let hidden = redacted(envelope.clone(), level, &hosts);
                assert_eq!(hidden.servers.len(), 1, "{word}");
                assert!(verdict(&hidden.servers[0]) == verdict(&envelope.servers[0]), "{word}");
                let (hidden, expected) = (texts_of(&hidden), texts_of(&other));
                assert_eq!(hidden.len(), expected.len(), "{word}");
                for (text, expected) in hidden.iter().zip(&expected).filter(|(text, expected)| text != expected) {
                    let mut tokens = text.split(|character: char| !character.is_ascii_alphanumeric());
                    assert!(tokens.all(|token| token != word), "{role} {word}: {text}, expected {expected}");
                }
            }
        }
    }

    /// A unit whose command is not recognised is that of the server by its name, which is redacted.
    #[test]
    fn claims_are_judged_the_same_after_redaction() {
        for level in [Level::Default, Level::Paranoid] {
            let (mut envelope, hosts) = host_of("user", "ann");
            let server = &mut envelope.servers[0];
            let lineage = server.lineage.as_mut().unwrap();
            let name = "hermes-webui-ann.service".to_owned();
            let claim =
                Supervisor { name: Some(name.clone().into()), claims_this: None, ..lineage.supervisor.clone() };
            (lineage.unit, lineage.relaunch) = (Some(name.into()), None);
            lineage.raw_claims = vec![RawClaim {
                claim,
                is_of_control_group: true,
                is_named_after_server: true,
                ..RawClaim::default()
            }];
            diagnose::judge(server);
            assert!(server.findings.iter().any(|finding| finding.id == id::ORPHANED_SERVER));
            let mut hidden = redacted(envelope.clone(), level, &hosts).servers.remove(0);
            assert!(!serde_json::to_string(&hidden).unwrap().contains("ann"));
            diagnose::judge(&mut hidden);
            assert!(verdict(&hidden) == verdict(&envelope.servers[0]), "{level:?}: {:#?}", hidden.lineage);
        }
    }

    /// Phases of a request have the same words as programs can have.
    #[test]
    fn a_program_with_the_name_of_a_phase_is_hidden() {
        let (mut envelope, hosts) = host_of("program", "connect");
        envelope.servers[0].lineage.as_mut().unwrap().claims[0].name = Some("connect".into());
        let phases = |envelope: &Envelope| {
            let health = envelope.servers[0].health.as_ref().unwrap();
            health.phases.iter().map(|phase| phase.name).collect::<Vec<_>>()
        };
        assert!(!phases(&envelope).is_empty());
        let hidden = redacted(envelope.clone(), Level::Default, &hosts);
        assert_eq!(phases(&hidden), phases(&envelope));
        let lineage = serde_json::to_string(&hidden.servers[0].lineage).unwrap();
        assert!(!lineage.contains("connect"), "{lineage}");
    }

    #[test]
    fn values_of_the_format_are_no_names() {
        for (role, word) in ROLES.into_iter().zip(["healthy", "webui", "systemd", "critical"]) {
            let (envelope, hosts) = host_of(role, word);
            let hidden = redacted(envelope.clone(), Level::Default, &hosts);
            assert_eq!(hidden.servers.len(), 1, "{word}");
            assert_eq!(hidden.servers[0].status, envelope.servers[0].status, "{word}");
            assert_eq!(hidden.servers[0].lineage.as_ref().unwrap().supervisor.kind, SupervisorKind::Systemd);
        }
    }

    proptest::proptest! {
        #[test]
        fn unknown_words_are_always_redacted(word in "[b-df-hj-np-tv-xz]{9,14}", around in "[ =:;,'\"(/@.-]{1,2}") {
            for text in [format!("x{around}{word}{around}y"), format!("/srv/{word}/a"), format!("--{word}"), word.clone()] {
                for shown in shown(&[&text]) {
                    proptest::prop_assert!(!shown.contains(&word), "{text}: {shown}");
                }
            }
        }

        #[test]
        fn never_panics(text in ".{0,200}") {
            let _ = shown(&[&text, &format!("/home/{text}"), &format!("http://{text}")]);
        }
    }
}
