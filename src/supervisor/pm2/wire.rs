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
    /// `pm_id`, the number that pm2 assigned.
    pub id: Option<u64>,
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
    /// Number of runs that ended within [`min_uptime_ms`](Self::min_uptime_ms). pm2 counts them only for
    /// `min_uptime` times `max_restarts` after [`created_at_ms`](Self::created_at_ms). At `max_restarts` pm2
    /// gives up (`errored`) and resets it to 0. It is meaningful only while `restart_time` grows.
    pub unstable_restarts: Option<u64>,
    /// `pm_uptime`: time of the last start, in milliseconds since 1970; within a few milliseconds of the start
    /// time of the process. It is also set when nothing runs any more.
    pub started_at_ms: Option<u64>,
    /// Time of the first start, or of the last start by a user, in milliseconds since 1970; `None` after pm2
    /// gave up.
    pub created_at_ms: Option<u64>,
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
    /// Whether it is a worker of node's cluster (`exec_mode`). Such a worker shares the daemon's process group,
    /// and the daemon owns its listening socket.
    pub is_cluster: bool,
    /// Working directory.
    pub cwd: Option<String>,
    /// File for standard error; `/dev/null` and `NULL` discard it.
    pub error_log: Option<String>,
    /// File for standard output, likewise.
    pub output_log: Option<String>,
    /// The pid file, which exists while pm2 considers the program to be running.
    pub pid_file: Option<String>,
    /// Fixed delay before a restart, in milliseconds; without it and without backoff pm2 restarts at once.
    pub restart_delay_ms: Option<u64>,
    /// First delay of an exponential backoff (`exp_backoff_restart_delay`), in milliseconds.
    pub backoff_ms: Option<u64>,
    /// The current delay of the backoff (`prev_restart_delay`), in milliseconds; at most 15 seconds.
    pub backoff_reached_ms: Option<u64>,
    /// A shorter run counts as unstable, in milliseconds; the default of pm2 is 1000.
    pub min_uptime_ms: Option<u64>,
    /// Number of unstable runs after which pm2 gives up; the default of pm2 is 16.
    pub max_restarts: Option<u64>,
    /// Exit code of the last run. It is 0 also after a signal.
    pub exit_code: Option<i64>,
    /// Whether pm2 also ends its descendants when it stops the program, as far as their parents still lead to
    /// it (`treekill`).
    pub stops_descendants: bool,
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
    pm_id: Kept,
    status: Kept,
    restart_time: Kept,
    unstable_restarts: Kept,
    pm_uptime: Kept,
    created_at: Kept,
    autorestart: Kept,
    stop_exit_codes: Kept,
    exec_interpreter: Kept,
    node_args: Kept,
    pm_exec_path: Kept,
    args: Kept,
    exec_mode: Kept,
    pm_cwd: Kept,
    pm_err_log_path: Kept,
    pm_out_log_path: Kept,
    pm_pid_path: Kept,
    restart_delay: Kept,
    exp_backoff_restart_delay: Kept,
    prev_restart_delay: Kept,
    min_uptime: Kept,
    max_restarts: Kept,
    exit_code: Kept,
    treekill: Kept,
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
            id: fields.pm_id.count(),
            pid,
            state,
            restarts: fields.restart_time.count(),
            unstable_restarts: fields.unstable_restarts.count(),
            started_at_ms: fields.pm_uptime.count(),
            created_at_ms: fields.created_at.count(),
            autorestart: !fields.autorestart.is("false"),
            stop_exit_codes: fields.stop_exit_codes.numbers(),
            is_cluster: fields.exec_mode.is("cluster_mode"),
            cwd: fields.pm_cwd.text(),
            error_log: fields.pm_err_log_path.text(),
            output_log: fields.pm_out_log_path.text(),
            pid_file: fields.pm_pid_path.text(),
            restart_delay_ms: fields.restart_delay.count(),
            backoff_ms: fields.exp_backoff_restart_delay.count(),
            backoff_reached_ms: fields.prev_restart_delay.count().filter(|wait| *wait != 0),
            min_uptime_ms: fields.min_uptime.count(),
            max_restarts: fields.max_restarts.count(),
            exit_code: fields.exit_code.number(),
            stops_descendants: fields.treekill.is("true"),
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
mod tests {
    use super::*;

    fn message_length(bytes: &[u8]) -> Result<Option<usize>, ParseError> {
        Ok(amp::frame(bytes)?.map(|frame| frame.length))
    }

    /// A message with the framing of pm2 7.0.4 and 5.4.2.
    fn message(arguments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = vec![0x10 | u8::try_from(arguments.len()).unwrap()];
        for argument in arguments {
            bytes.extend_from_slice(&u32::try_from(argument.len()).unwrap().to_be_bytes());
            bytes.extend_from_slice(argument);
        }
        bytes
    }

    fn answer(json: &str) -> Vec<u8> {
        message(&[format!("j:{json}").as_bytes(), ID])
    }

    /// The only program of a response with these fields in `pm2_env`.
    fn program(pid: &str, fields: &str) -> Pm2Program {
        let json = format!(r#"{{"args":[[{{"pid":{pid},"name":"x","pm2_env":{{{fields}}},"pm_id":0}}]]}}"#);
        let mut programs = programs(&answer(&json)).unwrap();
        assert_eq!(programs.len(), 1);
        programs.remove(0)
    }

    /// A response of pm2 7.0.4, shortened. Names and paths are invented, and the environment is small.
    const ONLINE: &str = r#"{"args":[[{"pid":7784,"name":"hermes-webui","pm2_env":{"name":"hermes-webui","filter_env":[],
        "namespace":"default","args":["--host","127.0.0.1"],"exec_interpreter":"/srv/hermes-webui/.venv/bin/python3",
        "env":{"API_KEY":"canary-secret","HERMES_HOME":"/home/h/.hermes","PM2_HOME":"/home/h/.pm2","hermes-webui":{},
        "unique_id":"ca374d8b-a5ef-469c-abb4-febfb46310e4"},"merge_logs":true,"autostart":true,"autorestart":true,
        "watch":false,"instance_var":"NODE_APP_INSTANCE","treekill":true,"username":"h","kill_retry_time":100,
        "node_args":["-u"],"pm_exec_path":"/srv/hermes-webui/server.py","pm_cwd":"/srv/hermes-webui",
        "exec_mode":"fork_mode","instances":1,"pm_out_log_path":"/home/h/.pm2/logs/hermes-webui-out.log",
        "pm_err_log_path":"/home/h/.pm2/logs/hermes-webui-error.log","restart_delay":3000,
        "pm_pid_path":"/home/h/.pm2/pids/hermes-webui-0.pid","km_link":false,"NODE_APP_INSTANCE":0,
        "API_KEY":"canary-secret","HERMES_HOME":"/home/h/.hermes","HERMES_WEBUI_PORT":8787,"PM2_HOME":"/home/h/.pm2",
        "status":"online","pm_uptime":1795554282083,"axm_actions":[],"axm_monitor":{},"created_at":1795554282000,
        "pm_id":0,"restart_time":3,"unstable_restarts":1,"exit_code":1},"pm_id":0,
        "monit":{"memory":13778944,"cpu":0.2}}]]}"#;

    #[test]
    fn the_request_has_the_bytes_that_pm2_expects() {
        assert_eq!(
            request(),
            b"\x12\x00\x00\x007j:{\"type\":\"call\",\"method\":\"getMonitorData\",\"args\":[{}]}\x00\x00\x00\x11s:hermes-doctor:0"
        );
        assert_eq!(message_length(&request()), Ok(Some(request().len())));
    }

    #[test]
    fn reads_a_program() {
        let found = programs(&answer(ONLINE)).unwrap();
        let expected = Pm2Program {
            name: "hermes-webui".into(),
            id: Some(0),
            pid: Some(7784),
            state: "online".into(),
            restarts: Some(3),
            unstable_restarts: Some(1),
            started_at_ms: Some(1_795_554_282_083),
            created_at_ms: Some(1_795_554_282_000),
            autorestart: true,
            command: [
                "/srv/hermes-webui/.venv/bin/python3",
                "-u",
                "/srv/hermes-webui/server.py",
                "--host",
                "127.0.0.1",
            ]
            .map(str::to_owned)
            .to_vec(),
            cwd: Some("/srv/hermes-webui".into()),
            error_log: Some("/home/h/.pm2/logs/hermes-webui-error.log".into()),
            output_log: Some("/home/h/.pm2/logs/hermes-webui-out.log".into()),
            pid_file: Some("/home/h/.pm2/pids/hermes-webui-0.pid".into()),
            restart_delay_ms: Some(3000),
            exit_code: Some(1),
            stops_descendants: true,
            home: Some("/home/h/.hermes".into()),
            port: Some(8787),
            ..Pm2Program::default()
        };
        assert_eq!(found, [expected]);
    }

    #[test]
    fn the_rest_of_the_environment_is_not_kept() {
        let found = programs(&answer(ONLINE)).unwrap();
        assert!(!format!("{found:?}").contains("canary-secret"));
        // An error does not repeat it either.
        let broken = ONLINE.replace(r#""pm2_env":{"#, r#""pm2_env":"canary-secret","x":{"#);
        assert!(!programs(&answer(&broken)).unwrap_err().to_string().contains("canary"));
    }

    #[test]
    fn the_pid_of_a_process_that_ended_is_no_claim() {
        for (pid, state, expected) in [
            ("7784", "online", Some(7784)),
            ("7784", "launching", Some(7784)),
            ("7784", "stopping", Some(7784)),
            // pm2 could not stop it.
            ("7784", "errored", Some(7784)),
            ("0", "errored", None),
            // pm2 reports the pid of the process that ended.
            ("7784", "waiting restart", None),
            ("7784", "stopped", None),
            ("0", "stopped", None),
            ("null", "online", None),
            ("-1", "online", None),
            ("99999999999", "online", None),
        ] {
            let found = program(pid, &format!(r#""status":"{state}""#));
            assert_eq!((found.pid, found.state.as_str()), (expected, state), "{pid}");
        }
        // pm2 could not run the interpreter: it has no pid and reports `online`.
        let json = r#"{"args":[[{"name":"x","pm2_env":{"status":"online","restart_time":1}}]]}"#;
        assert_eq!(programs(&answer(json)).unwrap()[0].pid, None);
    }

    #[test]
    fn puts_the_command_together_as_pm2_does() {
        for (fields, expected) in [
            (
                r#""exec_interpreter":"python3","node_args":["-u","-X","dev"],"pm_exec_path":"/srv/s.py","args":["a","b c"]"#,
                &["python3", "-u", "-X", "dev", "/srv/s.py", "a", "b c"][..],
            ),
            // pm2 start "python3 s.py --flag 'x y'"
            (
                r#""exec_interpreter":"none","node_args":["x"],"pm_exec_path":"/usr/bin/bash","args":["-c","python3 s.py"]"#,
                &["/usr/bin/bash", "-c", "python3 s.py"],
            ),
            (r#""exec_interpreter":"bash","pm_exec_path":"/srv/start.sh""#, &["bash", "/srv/start.sh"]),
            (
                r#""pm_exec_path":"/srv/app.js","exec_mode":"cluster_mode","args":[8787]"#,
                &["node", "/srv/app.js", "8787"],
            ),
            // pm2 passes an environment variable called `args` as one word.
            (r#""exec_interpreter":"none","pm_exec_path":"/srv/s","args":"one word""#, &["/srv/s", "one word"]),
            (r#""exec_interpreter":"none","pm_exec_path":"/srv/s","args":{"a":[1,{}]}"#, &["/srv/s"]),
        ] {
            assert_eq!(program("1", fields).command, expected, "{fields}");
        }
        assert!(program("1", r#""exec_mode":"cluster_mode""#).is_cluster);
    }

    #[test]
    fn fields_of_an_unexpected_type_are_read_as_pm2_does() {
        let found = program(
            r#""12""#,
            r#""autorestart":"false","restart_delay":"500ms","min_uptime":{},"exit_code":-2,"created_at":null,
               "stop_exit_codes":["0",3],"pm_uptime":1.5,"max_restarts":[[]],"HERMES_WEBUI_PORT":"8788",
               "HERMES_HOME":"","restart_time":-1,"name":7,"exp_backoff_restart_delay":100,"prev_restart_delay":150"#,
        );
        assert_eq!((found.autorestart, found.restart_delay_ms, found.min_uptime_ms), (false, Some(500), None));
        assert_eq!((found.exit_code, found.created_at_ms, found.started_at_ms), (Some(-2), None, None));
        assert_eq!(
            (found.stop_exit_codes.as_slice(), found.max_restarts, found.restarts),
            (&[0, 3][..], None, None)
        );
        assert_eq!((found.port, found.home, found.name.as_str(), found.pid), (Some(8788), None, "7", Some(12)));
        assert_eq!((found.backoff_ms, found.backoff_reached_ms), (Some(100), Some(150)));
        assert_eq!(program("1", r#""stop_exit_codes":0"#).stop_exit_codes, [0]);
        assert!(program("1", "").autorestart);
    }

    #[test]
    fn shown_text_is_printable_and_words_are_not_touched() {
        let found = program("1", r#""name":"a\u001b[31mb","exec_interpreter":"none","pm_exec_path":"/s\u001b""#);
        assert_eq!(found.name, "a\\u{1b}[31mb");
        assert_eq!(found.command, ["/s\u{1b}"]);
    }

    #[test]
    fn a_message_is_whole_when_its_lengths_say_so() {
        let whole = answer(r#"{"args":[[]]}"#);
        for length in 0..whole.len() {
            assert_eq!(message_length(&whole[..length]), Ok(None), "{length}");
            assert!(programs(&whole[..length]).is_err(), "{length}");
        }
        let more = [&whole[..], b"\x12"].concat();
        assert_eq!(message_length(&more), Ok(Some(whole.len())));
        assert_eq!(programs(&more), Ok(Vec::new()));
    }

    #[test]
    fn hostile_messages_are_errors() {
        // Version 2, version 0, no arguments, lengths beyond the limit in one argument and in sum.
        for bytes in [
            &b"\x22"[..],
            b"\x02\x00\x00\x00\x00",
            b"\x10",
            b"\x12\xff\xff\xff\xff",
            b"\x11\x00\x40\x00\x00",
            b"HTTP/1.1 200 OK\r\n",
        ] {
            assert!(message_length(bytes).is_err(), "{bytes:?}");
            assert!(programs(bytes).is_err(), "{bytes:?}");
        }
        let half = vec![b'x'; 3 * 1024 * 1024];
        assert!(message_length(&message(&[&half, &half])).is_err());
        for body in [
            r#"{"error":"method \"getMonitorData\" does not exist"}"#,
            r#"{"args":[[{"pid":1}]]}"#,
            r#"{"args":[{"msg":"pong"}]}"#,
            r#"{"args":[]}"#,
            r#"{"args":[[],[]]}"#,
            r#"{"args":null}"#,
            "{}",
            "[]",
            "",
            "{",
        ] {
            assert!(programs(&answer(body)).is_err(), "{body}");
        }
        let deep = format!(r#"{{"args":[[{{"pid":1,"pm2_env":{{"args":{}}}}}]]}}"#, "[".repeat(10_000));
        assert!(programs(&answer(&deep)).is_err());
        let many = format!(r#"{{"args":[[{}]]}}"#, vec![r#"{"pm2_env":{}}"#; MAX_PROGRAMS + 1].join(","));
        assert!(programs(&answer(&many)).is_err());
        let good = br#"j:{"args":[[]]}"#;
        assert!(programs(&message(&[good])).is_err());
        assert!(programs(&message(&[good, b"s:1:0"])).is_err());
        assert!(programs(&message(&[good, good, ID])).is_err());
        assert!(programs(&message(&[&good[2..], ID])).is_err());
        assert!(programs(&message(&[b"", ID])).is_err());
        assert_eq!(
            programs(&answer(r#"{"error":"no\u0007"}"#)).unwrap_err().to_string(),
            "pm2 answer: pm2 failed: no\\u{7}"
        );
    }

    #[test]
    fn reads_the_home_in_a_title() {
        for (title, expected) in [
            ("PM2 v5.4.2: God Daemon (/home/h/.pm2)", Some("/home/h/.pm2")),
            ("PM2 v7.0.4: God Daemon (/home/h/.pm2)\0\0\0", Some("/home/h/.pm2")),
            ("PM2 v7.0.4: God Daemon (/srv/a (b)/.pm2)", Some("/srv/a (b)/.pm2")),
            // Cut at the end of the space for the arguments, and cut to a command name.
            ("PM2 v5.4.2: God Daemon (/srv/a-long-way-to/the-ho", None),
            ("PM2 v7.0.4: God", None),
            ("PM2 v7.0.4: God Daemon (relative)", None),
            ("PM2 v7.0.4: God Daemon ()", None),
            ("node /usr/bin/pm2-runtime server.py", None),
            ("", None),
        ] {
            assert_eq!(home_of_title(title), expected, "{title}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), at in 0_usize..2000) {
            let _ = message_length(&bytes);
            let _ = programs(&bytes);
            let _ = programs(&message(&[&bytes, ID]));
            let mut damaged = answer(ONLINE);
            damaged.splice(at.min(damaged.len()).., bytes.clone());
            let _ = programs(&damaged);
            let mut damaged = ONLINE.as_bytes().to_vec();
            let end = damaged.len().min(at + bytes.len().min(3));
            damaged.splice(at.min(end)..end, bytes.iter().copied().take(3));
            let _ = programs(&message(&[&[b"j:", &damaged[..]].concat(), ID]));
            let _ = home_of_title(&String::from_utf8_lossy(&bytes));
        }
    }
}
