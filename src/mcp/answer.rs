//! The result of a tool: the envelope, redacted and bounded in size for an agent, and its verdict as text.

use crate::examine::redacted;
use crate::model::{Envelope, Gap, GapReason};
use crate::redact::{Level, host_names};
use crate::render::{self, Style, View};
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum size of the structured content, in bytes of JSON: about 16,000 tokens.
const MAX_BYTES: usize = 64 * 1024;
/// Maximum size of the text in bytes.
const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Width of the text in columns.
const WIDTH: usize = 100;
/// Maximum length of a string in facts that must be shortened.
const MAX_STRING: usize = 400;

/// A result, ready to be sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The verdict or the error, for the model to read.
    pub text: String,
    /// The envelope; `None` if the call itself was not valid.
    pub envelope: Option<Value>,
    /// Whether the examination could not be made as requested.
    pub is_error: bool,
}

impl Answer {
    /// The result of a call that is not valid.
    pub fn refusal(line: impl Into<String>) -> Self {
        Self { text: line.into(), envelope: None, is_error: true }
    }

    /// The result of an examination.
    pub fn examined(envelope: Envelope, level: Level, top: usize) -> Self {
        // The catalogue is text of this program.
        let is_foreign = envelope.explanations.is_empty();
        let envelope = if is_foreign { redacted(envelope, level, &host_names()) } else { envelope };
        // Many agents show only the text, so it always contains the status.
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

    /// The result when nothing could be examined: an envelope with a gap that has the reason.
    pub fn nothing(envelope: Envelope, level: Level) -> Self {
        let envelope = redacted(envelope, level, &host_names());
        let lines: Vec<String> = envelope.gaps.iter().map(|gap| gap.detail.to_string()).collect();
        let text = format!("status: {}\n\n{}", envelope.status.word().to_lowercase(), lines.join("\n"));
        Self { text, envelope: serde_json::to_value(envelope).ok(), is_error: true }
    }
}

fn view(top: usize) -> View {
    View { style: Style::plain(WIDTH, true), verbose: false, quiet: false, top }
}

/// The lines that fit, and the number of those that do not.
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

/// The envelope as JSON of at most `most` bytes, and a note about omissions. Rows of facts are dropped first,
/// then facts, then healthy servers; findings, gaps and the list of examined parts are dropped last.
fn bounded(envelope: &Envelope, most: usize) -> (Value, Option<String>) {
    let Ok(mut value) = serde_json::to_value(envelope) else { return (Value::Null, None) };
    if size(&value) <= most {
        return (value, None);
    }
    let mut left_out = BTreeMap::new();
    // Reserves space for the gap with the note.
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
        "left out so that the answer fits into the context of an agent: {}; select one server, or call the tool for that \
         part",
        what.join(", ")
    );
    let gap = Gap::new("parts of this answer", GapReason::Unsupported, detail.clone());
    if let (Some(Value::Array(gaps)), Ok(gap)) = (value.get_mut("gaps"), serde_json::to_value(gap)) {
        gaps.push(gap);
    }
    (value, Some(format!("Parts of the structured content were {detail}.")))
}

/// Numbers of omitted items by name.
type Omitted = BTreeMap<String, usize>;

fn size(value: &Value) -> usize {
    serde_json::to_string(value).map_or(usize::MAX, |text| text.len())
}

/// Fields of the verdict.
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

/// Shortens long lists and strings of the facts, of servers and of databases without a server.
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
                // In a time series the last items are the present ones; other lists are sorted with the largest
                // first.
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

/// Drops the facts; those of healthy servers first.
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

/// Shortens evidence, gaps and lists of examined parts.
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

/// Drops all but the first servers, where worse ones come before healthy ones.
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
    fn an_answer_that_fits_is_the_unchanged_envelope() {
        let envelope = recorded("database-locked");
        let answer = Answer::examined(envelope.clone(), Level::None, 10);
        let mut value = answer.envelope.unwrap();
        assert_eq!(value["redaction"]["level"], "none");
        value.as_object_mut().unwrap().remove("redaction");
        assert_eq!(value, serde_json::to_value(envelope).unwrap());
        assert!(answer.text.starts_with("status: critical\n") && answer.text.contains("database-lock-held"));
        assert!(!answer.text.contains('\u{1b}'));
    }

    /// At any size it stays a valid report, and lists its omissions.
    #[test]
    fn an_answer_that_does_not_fit_is_shortened_and_lists_omissions() {
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
    fn truncated_text_ends_with_the_number_of_omitted_lines() {
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
