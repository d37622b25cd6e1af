//! The arguments of the tools: typed, described for a model, and converted to the corresponding command line, so
//! that both front ends have the same rules.

use crate::command::{Cli, Command, KindArgument};
use crate::examine::sampling::SamplingPlan;
use crate::supervisor::expect::forms_in_words;
use clap::ValueEnum;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::PathBuf;
use std::time::Duration;

/// Time limit of one call: a client of the protocol has a timeout, too.
const MAX_BUDGET: Duration = Duration::from_secs(120);
/// Rows of one table in an answer.
const MAX_ROWS: u32 = 200;

/// The arguments of all tools. Each tool has some of them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Arguments {
    /// Process id of the server.
    #[schemars(range(min = 1))]
    pid: Option<u32>,
    /// The server that listens on this TCP port of this host. Defaults: WebUI 8787, dashboard 9119, gateway 8642.
    #[schemars(range(min = 1))]
    port: Option<u16>,
    /// The server behind this URL, for example http://127.0.0.1:8787. On another host only HTTP is examined.
    url: Option<String>,
    /// The servers of this HERMES_HOME, for example /home/ann/.hermes.
    home: Option<PathBuf>,
    /// The kind of the server.
    kind: Option<KindArgument>,
    #[schemars(description = format!(
        "The supervisor that should run the server: {}. Default: inferred from the configuration of the host.",
        forms_in_words()
    ))]
    expect: Option<String>,
    /// Examine this saved report of hermes-doctor instead of this host: the path of a file. Two reports are compared.
    #[schemars(length(max = 2))]
    from: Vec<PathBuf>,
    /// Timeout of each phase of an HTTP request, like 500ms or 2s. Default: 2s.
    timeout: Option<String>,
    /// Time limit of the whole call, like 5s or 1m. Default: 10s, maximum: 2m. Checks that did not finish by then are listed.
    budget: Option<String>,
    /// Also read the Python stacks, from the memory of the server, without pausing it. Needs the permission to attach.
    stacks: bool,
    /// Observe the supervisor for this long, like 5s: restarts, pids, the port.
    observe: Option<String>,
    /// Search all processes of the host for the holders of the port, not only the likely ones.
    all_holders: bool,
    /// Take this many samples, then report whether the number grows. A leak is a trend, and one sample shows no trend.
    #[schemars(range(min = 2, max = 100))]
    samples: Option<u32>,
    /// Time between two samples, like 2s. Default: 2s. Needs samples.
    every: Option<String>,
    /// Rows of the table of targets. Default: 10.
    #[schemars(range(min = 1, max = 200))]
    top: Option<u32>,
    /// Examine this database file.
    file: Option<PathBuf>,
    /// Id of a finding, for example state-db-handle-leak. Default: all findings.
    id: Option<String>,
}

/// A valid call, as a parsed command line.
#[derive(Debug)]
pub struct Call {
    /// The parsed command line.
    pub cli: Cli,
    /// The sampling of `fds`; `None` for a single sample.
    pub sampling: Option<SamplingPlan>,
    /// Rows of a table.
    pub top: usize,
}

impl Call {
    /// The time limit of the call.
    pub fn budget(&self) -> Duration {
        let sampling = self.sampling.map_or(Duration::ZERO, |plan| {
            plan.every.saturating_mul(u32::try_from(plan.samples.unwrap_or(0)).unwrap_or(u32::MAX))
        });
        self.cli.budget().saturating_add(sampling)
    }
}

/// JSON Schema of the named arguments.
pub fn schema(names: &[&str]) -> Map<String, Value> {
    let settings = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.inline_subschemas = true;
            settings.meta_schema = None;
        })
        .with_transform(Plain);
    let mut schema = SchemaGenerator::new(settings).into_root_schema_for::<Arguments>();
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.retain(|name, _| names.contains(&name.as_str()));
    }
    schema.remove("title");
    schema.remove("description");
    schema.insert("additionalProperties".to_owned(), false.into());
    match Value::from(schema) {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

/// Simplifies a schema. It has no `null` and no defaults, because a caller leaves out the arguments that it does
/// not need. A choice is a list of words, because not every model's provider accepts more of the schema language.
/// Lines of doc comments are joined.
#[derive(Clone)]
struct Plain;

impl Transform for Plain {
    fn transform(&mut self, schema: &mut Schema) {
        if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
            choices.retain(|choice| choice != &serde_json::json!({"type": "null"}));
            if let [Value::Object(only)] = choices.as_slice() {
                let only = only.clone();
                schema.remove("anyOf");
                for (key, value) in only {
                    schema.ensure_object().entry(key).or_insert(value);
                }
            }
        }
        if let Some((words, meanings)) = schema.get("oneOf").and_then(words) {
            schema.remove("oneOf");
            schema.insert("type".to_owned(), "string".into());
            schema.insert("enum".to_owned(), words);
            let description = schema.get("description").and_then(Value::as_str).unwrap_or_default();
            let description = format!("{description} {meanings}");
            schema.insert("description".to_owned(), description.into());
        }
        transform_subschemas(self, schema);
        if let Some(Value::Array(types)) = schema.get_mut("type") {
            types.retain(|name| name != "null");
            if let [only] = types.as_slice() {
                let only = only.clone();
                schema.insert("type".to_owned(), only);
            }
        }
        schema.remove("default");
        schema.remove("format");
        if let Some(Value::String(text)) = schema.get_mut("description") {
            *text = text.replace('\n', " ");
        }
    }
}

/// The words of a choice and their meanings; `None` if not every value is a word.
fn words(choices: &Value) -> Option<(Value, String)> {
    let choices = choices.as_array()?;
    let words: Vec<Value> = choices.iter().map(|choice| choice.get("const").cloned()).collect::<Option<_>>()?;
    let meaning = |choice: &Value| {
        Some(format!("{}: {}", choice.get("const")?.as_str()?, choice.get("description")?.as_str()?))
    };
    let meanings: Vec<String> = choices.iter().filter_map(meaning).collect();
    Some((Value::Array(words), meanings.join("; ") + "."))
}

/// Parses a call of the tool `command`, which takes the arguments `names`.
///
/// # Errors
/// One or more lines for a model: the mistake, and a correct form.
pub fn parse(command: &str, names: &[&str], mut given: Map<String, Value>) -> Result<Call, String> {
    // Callers often send null for arguments that they do not set.
    given.retain(|_, value| !value.is_null());
    if let Some(unknown) = given.keys().find(|name| !names.contains(&name.as_str())) {
        let unknown = crate::model::text::printable(unknown.as_bytes());
        return Err(format!("{command} has no argument {unknown:?}; it takes {}", names.join(", ")));
    }
    let arguments = typed(given).map_err(|line| crate::command::sanitized(&line).trim_end().to_owned())?;
    // Standard input belongs to the protocol.
    if arguments.from.iter().any(|path| path.as_os_str() == "-") {
        return Err("from takes the paths of files; - is not one".to_owned());
    }
    let words = arguments.words(command);
    let cli = Cli::of_arguments(words).map_err(|error| {
        // The parser's first line is the error; what follows is how to call the program.
        let text = crate::command::sanitized(&error.render().to_string());
        let lines: Vec<&str> = text.lines().take_while(|line| !line.starts_with("Usage:")).collect();
        lines.join("\n").trim_start_matches("error: ").trim_end().to_owned()
    })?;
    let sampling = match (&cli.command, arguments.samples) {
        (Some(Command::Fds(fds)), Some(_)) => fds.sampling(),
        _ => None,
    };
    let top = arguments.top.unwrap_or(10);
    if !(1..=MAX_ROWS).contains(&top) {
        return Err(format!("top is 1 to {MAX_ROWS}, not {top}"));
    }
    if sampling.is_some_and(|plan| plan.samples.is_some_and(|samples| samples > 100)) {
        return Err("samples is 2 to 100 in one call; `hermes-doctor watch` records for longer".to_owned());
    }
    let call = Call { cli, sampling, top: usize::try_from(top).unwrap_or(10) };
    if call.budget() > MAX_BUDGET || call.cli.examination.timeout > MAX_BUDGET {
        let seconds = MAX_BUDGET.as_secs();
        return Err(format!(
            "one call takes {seconds}s at most, with budget, timeout, observe and samples together"
        ));
    }
    Ok(call)
}

/// Each value is parsed alone, so that the error names its argument.
fn typed(given: Map<String, Value>) -> Result<Arguments, String> {
    for (name, value) in &given {
        let alone = Value::Object(Map::from_iter([(name.clone(), value.clone())]));
        if let Err(error) = Arguments::deserialize(alone) {
            return Err(format!("{name}: {error}"));
        }
    }
    Arguments::deserialize(Value::Object(given)).map_err(|error| error.to_string())
}

impl Arguments {
    /// The command line. Each value is part of the same word as its option, so that none is taken for an option.
    fn words(&self, command: &str) -> Vec<std::ffi::OsString> {
        let mut words: Vec<std::ffi::OsString> = ["hermes-doctor", command, "--quiet"].map(Into::into).to_vec();
        let mut add = |name: &str, value: &std::ffi::OsStr| {
            let mut word = std::ffi::OsString::from(format!("--{name}="));
            word.push(value);
            words.push(word);
        };
        for (name, number) in [("pid", self.pid), ("port", self.port.map(u32::from)), ("samples", self.samples)] {
            if let Some(number) = number {
                add(name, number.to_string().as_ref());
            }
        }
        for (name, text) in [
            ("url", &self.url),
            ("expect", &self.expect),
            ("timeout", &self.timeout),
            ("budget", &self.budget),
            ("observe", &self.observe),
            ("every", &self.every),
        ] {
            if let Some(text) = text {
                add(name, text.as_ref());
            }
        }
        for path in &self.from {
            add("from", path.as_os_str());
        }
        for (name, path) in [("home", &self.home), ("file", &self.file)] {
            if let Some(path) = path {
                add(name, path.as_os_str());
            }
        }
        if let Some(kind) = self.kind.and_then(|kind| kind.to_possible_value()) {
            add("kind", kind.get_name().as_ref());
        }
        for (flag, is_set) in [("--stacks", self.stacks), ("--all-holders", self.all_holders)] {
            if is_set {
                words.push(flag.into());
            }
        }
        if let Some(id) = &self.id {
            words.extend(["--".into(), id.into()]);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::DbArguments;
    use serde_json::json;

    const ALL: &[&str] = &[
        "pid",
        "port",
        "url",
        "home",
        "kind",
        "expect",
        "from",
        "timeout",
        "budget",
        "stacks",
        "observe",
        "all_holders",
        "samples",
        "every",
        "top",
        "file",
        "id",
    ];

    fn given(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn a_call_is_parsed_like_its_command_line() {
        let call = parse("check", ALL, given(json!({"port": 8787, "kind": "webui", "budget": "5s", "pid": null})));
        let request = call.unwrap().cli.request().unwrap();
        assert_eq!((request.command, request.selection.port), ("check", Some(8787)));
        assert_eq!(request.selection.kind, Some(crate::model::ServerKind::Webui));
        assert_eq!(request.budget, Duration::from_secs(5));
        let call = parse("fds", ALL, given(json!({"pid": 7, "samples": 3, "every": "1s", "top": 50}))).unwrap();
        let plan = call.sampling.unwrap();
        assert_eq!((plan.samples, plan.every, call.top), (Some(3), Duration::from_secs(1), 50));
        assert_eq!(call.budget(), Duration::from_secs(13));
    }

    /// Whatever a model writes into a value stays in that value.
    #[test]
    fn no_value_becomes_an_option() {
        let call = parse("db", ALL, given(json!({"file": "--from=/etc/passwd"}))).unwrap();
        assert!(call.cli.selection.from.is_empty());
        let Some(Command::Db(DbArguments { file: Some(file) })) = call.cli.command else {
            panic!("{:?}", call.cli)
        };
        assert_eq!(file, PathBuf::from("--from=/etc/passwd"));
        let call = parse("explain", ALL, given(json!({"id": "--json"}))).unwrap();
        assert!(matches!(call.cli.command, Some(Command::Explain { id: Some(id) }) if id == "--json"));
        let call = parse("check", ALL, given(json!({"home": ""})));
        assert!(call.is_err() || call.unwrap().cli.selection.home.is_some());
    }

    #[test]
    fn argument_errors_show_the_valid_values() {
        for (value, needed) in [
            (json!({"prot": 1}), "\"prot\"; it takes pid, port"),
            (json!({"port": "8787"}), "port: "),
            (json!({"port": 0}), "port"),
            (json!({"port": 70000}), "port: "),
            (json!({"kind": "nginx"}), "webui"),
            (json!({"budget": "5"}), "500ms, 2s or 5m"),
            (json!({"budget": "1h"}), "120s at most"),
            (json!({"samples": 100, "every": "1m"}), "120s at most"),
            (json!({"samples": 101, "every": "1ms"}), "2 to 100"),
            (json!({"every": "1s"}), "--samples"),
            (json!({"expect": "\u{1b}[31mfoo"}), "systemd"),
            (json!({"top": 0}), "1 to 200"),
            (json!({"from": ["a"], "expect": "none"}), "live host"),
        ] {
            let line = parse("fds", ALL, given(value.clone())).unwrap_err();
            assert!(line.contains(needed), "{value}: {line}");
            assert!(!line.contains('\u{1b}') && !line.contains("Usage"), "{value}: {line}");
        }
    }

    #[test]
    fn the_schema_is_plain_and_has_only_the_arguments_of_the_tool() {
        let schema = Value::Object(schema(&["port", "kind", "from"]));
        assert_eq!(schema["properties"].as_object().unwrap().len(), 3);
        assert_eq!(schema["properties"]["port"]["type"], "integer");
        assert_eq!(schema["additionalProperties"], false);
        assert_eq!(
            schema["properties"]["kind"]["enum"],
            json!(["webui", "gateway", "dashboard", "serve", "other"])
        );
        let text = schema.to_string();
        for never in ["null", "$ref", "default", "anyOf", "oneOf"] {
            assert!(!text.contains(&format!("\"{never}\"")), "{never} in {text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,80}", number in proptest::num::i64::ANY) {
            for name in ALL {
                for value in [json!(text), json!(number), json!([text])] {
                    let _ = parse("fds", ALL, Map::from_iter([((*name).to_owned(), value)]));
                }
            }
        }
    }
}
