//! pm2: the request for its programs on `$PM2_HOME/rpc.sock`, and the response.
//!
//! The daemon uses axon-rpc (npm `pm2-axon` and `pm2-axon-rpc`, part of pm2 itself since version 7) in messages
//! of npm `amp`: one byte with version and number of arguments, then each argument after its length. An
//! argument is `s:` and text or `j:` and JSON (npm `amp-message`). The last argument is an id, and the response
//! repeats it. The connection stays open, so the lengths in a response determine its end.
//!
//! `getMonitorData` is the request of `pm2 list`, and the daemon itself calls it every 30 seconds. It reads
//! `/proc/uptime` and `/proc/PID/stat`, and writes nothing. (On macOS it runs `ps`; on Linux it runs `getconf`
//! twice, only at the first call in a daemon's life.)
//!
//! pm2 merges the environment of every program into its own fields, in one object, and sends all of it. So only
//! named fields are parsed, and each of them may have any type. Of the environment only two variables are kept.

use crate::model::text::printable;
use crate::parse::{ParseError, amp};
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Maximum number of programs that are read.
const MAX_PROGRAMS: usize = 4096;
/// Maximum number of words of a command that are read.
const MAX_WORDS: usize = 4096;

/// The id of our request.
const ID: &[u8] = b"s:hermes-doctor:0";
const CALL: &[u8] = br#"j:{"type":"call","method":"getMonitorData","args":[{}]}"#;

const ANSWER: &str = "pm2 answer";

/// State of one program (`pm2_env` of `getMonitorData`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pm2Program {
    /// Name; several programs can have the same name.
    pub name: String,
    /// Pid of the process that pm2 started. `None` where pm2 has none, and in the states `waiting restart` and
    /// `stopped`, where pm2 still reports the pid of the process that ended.
    ///
    /// `online` without a pid is a failed start: pm2 could not run the interpreter, and does not try again.
    pub pid: Option<u32>,
    /// `online`, `launching`, `waiting restart`, `stopping`, `stopped`, `errored` (pm2 gave up, or could not
    /// stop it), `one-launch-status`. `stopped` is also the state for a moment between an exit and the next
    /// start.
    pub state: String,
    /// `restart_time`: number of starts after the first, by pm2 and by users.
    pub restarts: Option<u64>,
    /// `pm_uptime`: time of the last start, in milliseconds since 1970; within a few milliseconds of the start
    /// time of the process. It is also set when nothing runs any more.
    pub started_at_ms: Option<u64>,
    /// Whether pm2 restarts it when it ends.
    pub autorestart: bool,
    /// Exit codes after which it is not restarted (`stop_exit_codes`).
    pub stop_exit_codes: Vec<i64>,
    /// The command as configured: interpreter, its arguments, script, arguments. The words are unmasked. They
    /// are recognised first, and masked where they are printed.
    ///
    /// It is the argv of the process that pm2 starts, except for node: there pm2 runs a container script of its
    /// own in place of the script, and the process soon sets its title to `node SCRIPT`.
    pub command: Vec<String>,
    /// File for standard error; `/dev/null` and `NULL` discard it.
    pub error_log: Option<String>,
    /// File for standard output, likewise.
    pub output_log: Option<String>,
    /// Fixed delay before a restart, in milliseconds; without it and without backoff pm2 restarts at once.
    pub restart_delay_ms: Option<u64>,
    /// The current delay of the backoff (`prev_restart_delay`), in milliseconds; at most 15 seconds.
    pub backoff_reached_ms: Option<u64>,
    /// Exit code of the last run. It is 0 also after a signal.
    pub exit_code: Option<i64>,
    /// `HERMES_HOME` of its environment.
    pub home: Option<String>,
    /// `HERMES_WEBUI_PORT` of its environment.
    pub port: Option<u16>,
}

/// The complete request for all programs.
pub fn request() -> Vec<u8> {
    let arguments = [CALL, ID];
    let mut message = vec![(amp::VERSION << 4) | 2];
    for argument in arguments {
        message.extend_from_slice(&u32::try_from(argument.len()).unwrap_or(0).to_be_bytes());
        message.extend_from_slice(argument);
    }
    message
}

/// Programs of a response to [`request`]. Bytes after the first message are ignored.
///
/// # Errors
/// When it is not a whole message, an error of pm2, not the response to this request, or not in the form of
/// `getMonitorData`.
pub fn programs(message: &[u8]) -> Result<Vec<Pm2Program>, ParseError> {
    let frame = amp::frame(message)?.ok_or_else(|| ParseError::new(amp::MESSAGE, "it ends early"))?;
    let [body, id] = frame.arguments[..] else {
        return Err(ParseError::new(ANSWER, format!("{} arguments instead of 2", frame.arguments.len())));
    };
    if id != ID {
        return Err(ParseError::new(ANSWER, "it answers another request"));
    }
    let json = body.strip_prefix(b"j:").ok_or_else(|| ParseError::new(ANSWER, "it is not JSON"))?;
    let answer: Answer = serde_json::from_slice(json)
        // The text of the error can repeat a value of the response; its position cannot.
        .map_err(|error| ParseError::new(ANSWER, format!("unexpected JSON at column {}", error.column())))?;
    if let Some(error) = answer.error {
        let why = error.text().unwrap_or_else(|| "no reason given".to_owned());
        return Err(ParseError::new(ANSWER, format!("pm2 failed: {why}")));
    }
    match answer.args {
        Some((Programs(programs),)) => Ok(programs),
        None => Err(ParseError::new(ANSWER, "neither programs nor an error")),
    }
}

/// `PM2_HOME` in the title of the daemon, `PM2 v5.4.2: God Daemon (/home/h/.pm2)`.
///
/// `None` for a path that is not absolute, and for a title that was cut: it must fit into the space of the
/// daemon's arguments. A daemon of `pm2 --no-daemon` or `pm2-runtime` has no such title. All of them listen on
/// `rpc.sock` in it.
pub fn home_of_title(title: &str) -> Option<&str> {
    let (_, home) = title.strip_prefix("PM2 ")?.split_once(": God Daemon (")?;
    let home = home.trim_end_matches(['\0', ' ']).strip_suffix(')')?;
    home.starts_with('/').then_some(home)
}

/// Response of `pm2-axon-rpc`: the arguments of the method's callback, or its error.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    args: Option<(Programs,)>,
    #[serde(default)]
    error: Option<Kept>,
}

struct Programs(Vec<Pm2Program>);

impl<'de> Deserialize<'de> for Programs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Rows;
        impl<'de> Visitor<'de> for Rows {
            type Value = Programs;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("programs")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<Programs, A::Error> {
                let mut programs = Vec::new();
                while let Some(row) = rows.next_element::<Row>()? {
                    if programs.len() == MAX_PROGRAMS {
                        return Err(A::Error::custom("more programs than any host has"));
                    }
                    programs.push(row.program());
                }
                Ok(Programs(programs))
            }
        }
        deserializer.deserialize_seq(Rows)
    }
}

/// One element of the response. Fields that are not named here are never kept.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    pid: Kept,
    pm2_env: Fields,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Fields {
    name: Kept,
    status: Kept,
    restart_time: Kept,
    pm_uptime: Kept,
    autorestart: Kept,
    stop_exit_codes: Kept,
    exec_interpreter: Kept,
    node_args: Kept,
    pm_exec_path: Kept,
    args: Kept,
    pm_err_log_path: Kept,
    pm_out_log_path: Kept,
    restart_delay: Kept,
    prev_restart_delay: Kept,
    exit_code: Kept,
    // From the environment, which is merged into the other fields: the values that the process was started
    // with.
    #[serde(rename = "HERMES_HOME")]
    home: Kept,
    #[serde(rename = "HERMES_WEBUI_PORT")]
    port: Kept,
}

impl Row {
    fn program(self) -> Pm2Program {
        let fields = self.pm2_env;
        let state = fields.status.text().unwrap_or_default();
        let has_ended = matches!(state.as_str(), "waiting restart" | "stopped");
        let pid = self.pid.number().and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0 && !has_ended);
        Pm2Program {
            name: fields.name.text().unwrap_or_default(),
            pid,
            state,
            restarts: fields.restart_time.count(),
            started_at_ms: fields.pm_uptime.count(),
            autorestart: !fields.autorestart.is("false"),
            stop_exit_codes: fields.stop_exit_codes.numbers(),
            error_log: fields.pm_err_log_path.text(),
            output_log: fields.pm_out_log_path.text(),
            restart_delay_ms: fields.restart_delay.count(),
            backoff_reached_ms: fields.prev_restart_delay.count().filter(|wait| *wait != 0),
            exit_code: fields.exit_code.number(),
            home: fields.home.text(),
            port: fields.port.count().and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
            command: command(fields.exec_interpreter, fields.node_args, fields.pm_exec_path, fields.args),
        }
    }
}

/// Builds the command like `lib/God/ForkMode.js`.
fn command(interpreter: Kept, interpreter_arguments: Kept, script: Kept, arguments: Kept) -> Vec<String> {
    let mut words = Vec::new();
    if !interpreter.is("none") {
        match interpreter {
            Kept::Text(interpreter) if !interpreter.is_empty() => words.push(interpreter),
            _ => words.push("node".to_owned()),
        }
        // pm2 ignores a string here, unlike one for the arguments of the script.
        if let Kept::Words(arguments) = interpreter_arguments {
            words.extend(arguments);
        }
    }
    words.extend(script.words());
    words.extend(arguments.words());
    words
}

/// A value of any type: an environment variable with the name of a field replaces that field.
#[derive(Debug, Default)]
enum Kept {
    /// `null`, absent, an object, a fraction.
    #[default]
    Nothing,
    Number(i64),
    /// Also `true` and `false`.
    Text(String),
    Words(Vec<String>),
}

impl Kept {
    fn is(&self, expected: &str) -> bool {
        matches!(self, Self::Text(text) if text == expected)
    }

    fn text(&self) -> Option<String> {
        match self {
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) if !text.is_empty() => Some(printable(text.as_bytes())),
            _ => None,
        }
    }

    /// A number, also one at the start of a string, as pm2 itself reads it.
    fn number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => {
                let text = text.trim_start();
                let digits = text.strip_prefix('-').unwrap_or(text);
                let end = digits.find(|character: char| !character.is_ascii_digit()).unwrap_or(digits.len());
                text.get(..text.len() - digits.len() + end)?.parse().ok()
            }
            _ => None,
        }
    }

    fn count(&self) -> Option<u64> {
        self.number().and_then(|number| u64::try_from(number).ok())
    }

    fn numbers(&self) -> Vec<i64> {
        match self {
            Self::Words(words) => words.iter().filter_map(|word| word.parse().ok()).collect(),
            other => other.number().into_iter().collect(),
        }
    }

    /// Words of a command, unchanged.
    fn words(self) -> Vec<String> {
        match self {
            Self::Nothing => Vec::new(),
            Self::Number(number) => vec![number.to_string()],
            Self::Text(text) if text.is_empty() => Vec::new(),
            Self::Text(text) => vec![text],
            Self::Words(words) => words,
        }
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Anything;
        impl<'de> Visitor<'de> for Anything {
            type Value = Kept;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("anything")
            }

            fn visit_unit<E: Error>(self) -> Result<Kept, E> {
                Ok(Kept::Nothing)
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Kept, E> {
                Ok(Kept::Text(value.to_string()))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Kept, E> {
                Ok(Kept::Number(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Kept, E> {
                Ok(i64::try_from(value).map_or(Kept::Nothing, Kept::Number))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<Kept, E> {
                Ok(Kept::Nothing)
            }

            fn visit_str<E: Error>(self, value: &str) -> Result<Kept, E> {
                Ok(Kept::Text(value.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Kept, A::Error> {
                let mut words = Vec::new();
                while let Some(element) = elements.next_element::<Kept>()? {
                    match element {
                        Kept::Number(number) => words.push(number.to_string()),
                        Kept::Text(text) => words.push(text),
                        Kept::Nothing | Kept::Words(_) => {}
                    }
                    if words.len() > MAX_WORDS {
                        return Err(A::Error::custom("more words than any command has"));
                    }
                }
                Ok(Kept::Words(words))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Kept, A::Error> {
                while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Kept::Nothing)
            }
        }
        deserializer.deserialize_any(Anything)
    }
}

#[cfg(test)]
mod tests;
