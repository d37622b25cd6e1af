//! What a tool answers: the envelope, with names hidden and of a size that an agent can take in, and its verdict as text.

use crate::model::{Envelope, Gap, GapReason};
use crate::render::{self, Style, View};
use crate::report::redact::{Level, host_names, redacted};
use serde_json::Value;
use std::collections::BTreeMap;

/// Largest structured answer, in bytes of JSON: about 16,000 tokens.
const MAX_BYTES: usize = 64 * 1024;
/// Largest text.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Columns of the text.
const WIDTH: usize = 100;
/// Longest string of a fact that has to be shortened.
const MAX_STRING: usize = 400;

/// An answer, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The verdict, or what was wrong, for the model to read.
    pub text: String,
    /// The envelope; none where the call itself made no sense.
    pub envelope: Option<Value>,
    /// Whether nothing could be examined as it was asked for.
    pub is_error: bool,
}

impl Answer {
    /// An answer to a call that makes no sense.
    pub fn refusal(line: impl Into<String>) -> Self {
        Self { text: line.into(), envelope: None, is_error: true }
    }

    /// What was examined.
    pub fn examined(envelope: Envelope, level: Level, top: usize) -> Self {
        // The catalogue is this program's own text.
        let is_foreign = envelope.explanations.is_empty();
        let envelope = if is_foreign { redacted(envelope, level, &host_names()) } else { envelope };
        // Many an agent shows the text alone, so that the status stands in it whatever was examined.
        let status = envelope.status.word().to_lowercase();
        let people = render::people(&envelope, &view(top));
        let text =
            if is_foreign { format!("status: {status}\n\n{}", people.trim_start_matches('\n')) } else { people };
        let (value, left_out) = bounded(&envelope, MAX_BYTES);
        let mut text = cut(&text, MAX_TEXT_BYTES);
        if let Some(left_out) = left_out {
            text.push_str(&format!("\n{left_out}\n"));
        }
        Self { text, envelope: Some(value), is_error: false }
    }

    /// Nothing could be examined: an envelope whose gap says why.
    pub fn nothing(envelope: Envelope, level: Level) -> Self {
        let envelope = redacted(envelope, level, &host_names());
        let lines: Vec<&str> = envelope.gaps.iter().map(|gap| gap.detail.as_str()).collect();
        let text = format!("status: {}\n\n{}", envelope.status.word().to_lowercase(), lines.join("\n"));
        Self { text, envelope: serde_json::to_value(envelope).ok(), is_error: true }
    }
}

fn view(top: usize) -> View {
    View { style: Style::plain(WIDTH, true), verbose: false, quiet: false, top }
}

/// The lines that fit, and how many do not.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut lines = text.lines();
    for line in lines.by_ref() {
        if kept.len() + line.len() > most {
            break;
        }
        kept.push_str(line);
        kept.push('\n');
    }
    kept.push_str(&format!("… {} more lines; the structured content has the facts\n", lines.count() + 1));
    kept
}

/// The envelope as JSON of at most so many bytes, and what was left out for that. Findings, gaps and what was examined go
/// last: rows of facts go first, then facts, then servers that are well.
fn bounded(envelope: &Envelope, most: usize) -> (Value, Option<String>) {
    let Ok(mut value) = serde_json::to_value(envelope) else { return (Value::Null, None) };
    if size(&value) <= most {
        return (value, None);
    }
    let mut left_out = BTreeMap::new();
    // Room for the gap that says so.
    let most = most.saturating_sub(2048);
    let steps: [fn(&mut Value, &mut Omitted); 8] = [
        |value, left_out| shorten_facts(value, 50, left_out),
        |value, left_out| shorten_facts(value, 15, left_out),
        |value, left_out| shorten_facts(value, 5, left_out),
        |value, left_out| drop_facts(value, true, left_out),
        |value, left_out| drop_facts(value, false, left_out),
        |value, left_out| shorten_words(value, 10, left_out),
        |value, left_out| shorten_words(value, 2, left_out),
        |value, left_out| drop_servers(value, 20, left_out),
    ];
    for step in steps {
        step(&mut value, &mut left_out);
        if size(&value) <= most {
            break;
        }
    }
    if size(&value) > most {
        drop_servers(&mut value, 0, &mut left_out);
    }
    let mut what: Vec<String> =
        left_out.iter().take(12).map(|(name, count)| format!("{count} of {name}")).collect();
    if left_out.len() > 12 {
        what.push(format!("and parts of {} more", left_out.len() - 12));
    }
    let detail = format!(
        "left out, so that the answer fits into the context of an agent: {}; name one server, or ask the tool for that \
         part",
        what.join(", ")
    );
    let gap = Gap::new("parts of this answer", GapReason::Unsupported, detail.clone());
    if let (Some(Value::Array(gaps)), Ok(gap)) = (value.get_mut("gaps"), serde_json::to_value(gap)) {
        gaps.push(gap);
    }
    (value, Some(format!("From the structured content was {detail}.")))
}

/// What was left out, by name, and how many.
type Omitted = BTreeMap<String, usize>;

fn size(value: &Value) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
}

/// What a verdict consists of.
const VERDICT: &[&str] = &[
    "kind",
    "pid",
    "port",
    "home",
    "status",
    "root_causes",
    "findings",
    "passed",
    "gaps",
    "examined",
    "expectation",
];

fn servers(value: &mut Value) -> impl Iterator<Item = &mut serde_json::Map<String, Value>> {
    value.get_mut("servers").and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

/// Long lists and strings of the facts, of servers and of databases without one.
fn shorten_facts(value: &mut Value, most: usize, left_out: &mut Omitted) {
    for server in servers(value) {
        for (name, fact) in server.iter_mut().filter(|(name, _)| !VERDICT.contains(&name.as_str())) {
            shorten(fact, name, most, left_out);
        }
    }
    if let Some(databases) = value.get_mut("databases") {
        shorten(databases, "databases", most, left_out);
    }
}

fn shorten(value: &mut Value, name: &str, most: usize, left_out: &mut Omitted) {
    match value {
        Value::Array(items) => {
            if items.len() > most {
                *left_out.entry(name.to_owned()).or_default() += items.len() - most;
                // Of what goes with time the last is what is so now; the rest is sorted with the most first.
                if matches!(name, "samples" | "batches" | "buckets") {
                    items.drain(..items.len() - most);
                } else {
                    items.truncate(most);
                }
            }
            items.iter_mut().for_each(|item| shorten(item, name, most, left_out));
        }
        Value::Object(fields) => {
            fields.iter_mut().for_each(|(name, field)| shorten(field, name, most, left_out));
        }
        Value::String(text) if text.len() > MAX_STRING => {
            if let Some((at, _)) = text.char_indices().take_while(|(at, _)| *at <= MAX_STRING).last() {
                text.truncate(at);
                text.push('…');
            }
        }
        _ => {}
    }
}

/// The facts below the findings; those of servers that are well first.
fn drop_facts(value: &mut Value, only_healthy: bool, left_out: &mut Omitted) {
    for server in servers(value) {
        if only_healthy && server.get("status").is_none_or(|status| status != "healthy") {
            continue;
        }
        for (name, fact) in server.iter_mut().filter(|(name, _)| !VERDICT.contains(&name.as_str())) {
            let empty = if fact.is_array() { Value::Array(Vec::new()) } else { Value::Null };
            if *fact != empty {
                *left_out.entry(name.clone()).or_default() += 1;
                *fact = empty;
            }
        }
    }
}

/// Evidence, gaps and lists of what was examined.
fn shorten_words(value: &mut Value, most: usize, left_out: &mut Omitted) {
    for key in ["gaps", "findings", "databases", "explanations"] {
        if let Some(list) = value.get_mut(key) {
            shorten(list, key, most, left_out);
        }
    }
    for server in servers(value) {
        for key in ["gaps", "findings", "passed", "expectation"] {
            if let Some(list) = server.get_mut(key) {
                shorten(list, key, most, left_out);
            }
        }
    }
}

/// All but the first servers, those that are worse before those that are well.
fn drop_servers(value: &mut Value, most: usize, left_out: &mut Omitted) {
    let Some(Value::Array(servers)) = value.get_mut("servers") else { return };
    let rank = |server: &Value| match server.get("status").and_then(Value::as_str) {
        Some("critical") => 0,
        Some("warning") => 1,
        Some("healthy") => 3,
        _ => 2,
    };
    servers.sort_by_key(rank);
    if servers.len() > most {
        *left_out.entry("servers".to_owned()).or_default() += servers.len() - most;
        servers.truncate(most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn recorded(name: &str) -> Envelope {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{name}.json"));
        crate::collect::replay::read(&std::fs::read(path).unwrap()).unwrap()
    }

    fn is_valid(value: &Value) {
        let schema: Value = serde_json::from_str(&crate::report::schema::text()).unwrap();
        let validator = jsonschema::validator_for(&schema).unwrap();
        if let Err(error) = validator.validate(value) {
            panic!("{error}");
        }
    }

    #[test]
    fn what_fits_is_the_envelope_itself() {
        let envelope = recorded("database-locked");
        let answer = Answer::examined(envelope.clone(), Level::None, 10);
        let mut value = answer.envelope.unwrap();
        assert_eq!(value["redaction"]["level"], "none");
        value.as_object_mut().unwrap().remove("redaction");
        assert_eq!(value, serde_json::to_value(envelope).unwrap());
        assert!(answer.text.starts_with("status: critical\n") && answer.text.contains("database-lock-held"));
        assert!(!answer.text.contains('\u{1b}'));
    }

    /// However small it has to be, it stays a report, and says what it lacks.
    #[test]
    fn what_does_not_fit_is_shortened_and_said() {
        let mut envelope = recorded("leak-critical");
        let whole = size(&serde_json::to_value(&envelope).unwrap());
        let (value, left_out) = bounded(&envelope, whole - 1);
        assert!(size(&value) < whole, "{} of {whole}", size(&value));
        is_valid(&value);
        assert_eq!(value["servers"][0]["findings"], serde_json::to_value(&envelope.servers[0].findings).unwrap());
        assert!(left_out.unwrap().contains(" of "));
        assert_eq!(value["gaps"].as_array().unwrap().last().unwrap()["what"], "parts of this answer");

        let server = envelope.servers[0].clone();
        let mut healthy = recorded("healthy-pool").servers.remove(0);
        healthy.gaps = vec![Gap::new("x".repeat(500), GapReason::Timeout, "y"); 40];
        envelope.servers = [vec![healthy; 60], vec![server; 3]].concat();
        for most in [512 * 1024, MAX_BYTES, 16 * 1024] {
            let (value, left_out) = bounded(&envelope, most);
            assert!(size(&value) <= most, "{} of {most}", size(&value));
            is_valid(&value);
            assert!(left_out.is_some());
        }
        let (value, _) = bounded(&envelope, MAX_BYTES);
        let kept = value["servers"].as_array().unwrap();
        assert!(!kept.is_empty() && kept[0]["status"] == "critical", "{value:#}");
        assert_eq!(kept[0]["root_causes"][0], "state-db-handle-leak");
    }

    #[test]
    fn a_text_ends_with_what_it_lacks() {
        let text = "line\n".repeat(1000);
        let kept = cut(&text, 100);
        assert!(kept.len() < 200 && kept.ends_with("more lines; the structured content has the facts\n"), "{kept}");
        assert_eq!(cut("line\n", 100), "line\n");
    }

    #[test]
    fn the_catalogue_is_not_hidden_from_anybody() {
        let envelope = crate::command::explained(Some("state-db-handle-leak")).unwrap();
        let answer = Answer::examined(envelope.clone(), Level::Paranoid, 10);
        assert_eq!(answer.envelope.unwrap(), serde_json::to_value(&envelope).unwrap());
    }
}
