//! supervisord: its configuration file, and the response of its XML-RPC method `supervisor.getAllProcessInfo`
//! (the "XML-RPC API Documentation" of Supervisor).

use crate::model::HostPath;
use crate::model::text::{kept, printable};
use crate::parse::ParseError;
use quick_xml::Reader;
use quick_xml::events::Event;
use std::collections::BTreeMap;

/// State of one program, as supervisord reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramInfo {
    /// Name.
    pub name: String,
    /// Group; the same as the name for a program without a group.
    pub group: String,
    /// `RUNNING`, `STARTING`, `BACKOFF`, `EXITED`, `FATAL`, `STOPPED` …
    pub state: String,
    /// Pid; `None` if it has no process.
    pub pid: Option<u32>,
    /// Time of the last start, in seconds since 1970.
    pub started_at: Option<u64>,
    /// Time of the last exit, in seconds since 1970.
    pub stopped_at: Option<u64>,
    /// Status of the last exit.
    pub exit_status: Option<i32>,
    /// `stdout_logfile`.
    pub log: Option<String>,
    /// `stderr_logfile`.
    pub error_log: Option<String>,
}

/// A `[program:x]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfiguredProgram {
    /// `command`.
    pub command: String,
    /// `autostart`, as written.
    pub autostart: Option<String>,
    /// `autorestart`, as written.
    pub autorestart: Option<String>,
    /// `HERMES_HOME` of `environment`. Only this variable and the next are read.
    pub home: Option<HostPath>,
    /// `HERMES_WEBUI_PORT` of `environment`.
    pub webui_port: Option<u16>,
}

/// How to query supervisord, and its programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// `[unix_http_server] file`.
    pub socket: Option<String>,
    /// User and password of that socket; never printed.
    pub login: Option<(String, String)>,
    /// Its programs, by printable name: the names in the response are compared with it.
    pub programs: BTreeMap<String, ConfiguredProgram>,
    /// Patterns of `[include] files`.
    pub includes: Vec<String>,
}

/// Parses a configuration file (Supervisor, "Configuration File"). `here` replaces `%(here)s`.
pub fn configuration(bytes: &[u8], here: &str) -> Configuration {
    let text = kept(bytes);
    let mut found = Configuration::default();
    let mut section = String::new();
    let (mut user, mut password) = (None, None);
    for line in text.lines() {
        let line = line.split(" ;").next().unwrap_or(line).trim_end();
        if line.starts_with([';', '#']) || line.trim().is_empty() {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.trim().to_owned();
            continue;
        }
        let Some((key, value)) = line.split_once('=') else { continue };
        let value = value.trim().replace("%(here)s", here);
        match (section.as_str(), key.trim()) {
            ("unix_http_server", "file") => found.socket = Some(value),
            ("unix_http_server", "username") => user = Some(value),
            ("unix_http_server", "password") => password = Some(value),
            ("include", "files") => found.includes.extend(value.split_whitespace().map(str::to_owned)),
            (program, key) => {
                let Some(name) = program.strip_prefix("program:") else { continue };
                let program = found.programs.entry(printable(name.trim().as_bytes())).or_default();
                match key {
                    "command" => program.command = value,
                    "autostart" => program.autostart = Some(printable(value.to_lowercase().as_bytes())),
                    "autorestart" => program.autorestart = Some(printable(value.to_lowercase().as_bytes())),
                    "environment" => {
                        program.home = environment(&value, "HERMES_HOME").map(HostPath::from_kept);
                        program.webui_port =
                            environment(&value, "HERMES_WEBUI_PORT").and_then(|port| port.parse().ok());
                    }
                    _ => {}
                }
            }
        }
    }
    found.login = user.zip(password);
    found
}

/// The value of one variable in `KEY="value",KEY2='value',KEY3=value`; no other variable is read.
fn environment<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    // Commas within quotes belong to the value. shlex would keep other commas as part of a word.
    let mut quote = None;
    let parts = text.split(|character: char| {
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), close) if open == close => quote = None,
            _ => {}
        }
        quote.is_none() && character == ','
    });
    parts.into_iter().find_map(|part| {
        let value = part.trim().strip_prefix(name)?.trim_start().strip_prefix('=')?.trim();
        let value = value.trim_matches(['"', '\'']);
        (!value.is_empty()).then_some(value)
    })
}

/// Parses the body of the response: an array of flat structs.
///
/// # Errors
/// When it is not XML, or is a fault.
pub fn process_info(body: &[u8]) -> Result<Vec<ProgramInfo>, ParseError> {
    let mut reader = Reader::from_reader(body);
    let mut path: Vec<Vec<u8>> = Vec::new();
    let (mut member, mut text) = (String::new(), String::new());
    let mut current = ProgramInfo::default();
    let mut programs = Vec::new();
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match reader.read_event_into(&mut buffer).map_err(|error| ParseError::new("XML-RPC answer", error))? {
            Event::Start(tag) => {
                if path.len() > 32 {
                    return Err(ParseError::new("XML-RPC answer", "nested too deep"));
                }
                if tag.name().as_ref() == b"fault" {
                    return Err(ParseError::new("XML-RPC answer", "supervisord answered with a fault"));
                }
                path.push(tag.name().as_ref().to_vec());
                text.clear();
            }
            Event::Text(part) => text.push_str(&String::from_utf8_lossy(&part)),
            Event::End(tag) => {
                path.pop();
                match tag.name().as_ref() {
                    b"name" => member = text.trim().to_owned(),
                    b"value" => set(&mut current, &member, text.trim()),
                    b"struct" if !current.name.is_empty() => programs.push(std::mem::take(&mut current)),
                    b"string" | b"int" | b"i4" | b"member" => continue,
                    _ => {}
                }
            }
            Event::Eof if path.is_empty() => return Ok(programs),
            Event::Eof => return Err(ParseError::new("XML-RPC answer", "it ends early")),
            _ => {}
        }
        if programs.len() > 4096 {
            return Err(ParseError::new("XML-RPC answer", "more programs than any host has"));
        }
    }
}

fn set(program: &mut ProgramInfo, member: &str, value: &str) {
    match member {
        "name" => program.name = printable(value.as_bytes()),
        "group" => program.group = printable(value.as_bytes()),
        "statename" => program.state = printable(value.as_bytes()),
        "pid" => program.pid = value.parse().ok().filter(|pid| *pid != 0),
        "start" => program.started_at = value.parse().ok().filter(|at| *at != 0),
        "stop" => program.stopped_at = value.parse().ok().filter(|at| *at != 0),
        "exitstatus" => program.exit_status = value.parse().ok(),
        "stdout_logfile" => program.log = Some(printable(value.as_bytes())).filter(|path| !path.is_empty()),
        "stderr_logfile" => program.error_log = Some(printable(value.as_bytes())).filter(|path| !path.is_empty()),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_configuration() {
        let found = configuration(
            b"[unix_http_server]\nfile=%(here)s/s.sock ; comment\nusername = u\npassword = p\n\
              [program:hermes-webui]\ncommand=/usr/bin/python3 server.py\nautorestart = True\n\
              environment=KEY=\"canary,HERMES_HOME=/no\",HERMES_HOME='/srv/h,1' , HERMES_WEBUI_PORT=8790\n[include]\nfiles = a.conf b/*.conf\n",
            "/etc",
        );
        assert_eq!(found.socket.as_deref(), Some("/etc/s.sock"));
        assert_eq!(found.login, Some(("u".into(), "p".into())));
        let program = &found.programs["hermes-webui"];
        assert_eq!(program.command, "/usr/bin/python3 server.py");
        assert_eq!((program.home.as_deref(), program.webui_port), (Some("/srv/h,1"), Some(8790)));
        assert_eq!(program.autorestart.as_deref(), Some("true"));
        assert!(!format!("{found:?}").contains("canary"));
        assert_eq!(found.includes, ["a.conf", "b/*.conf"]);
    }

    #[test]
    fn reads_an_answer() {
        let body = b"<?xml version='1.0'?><methodResponse><params><param><value><array><data><value><struct>\
            <member><name>name</name><value><string>hermes-webui</string></value></member>\
            <member><name>statename</name><value><string>FATAL</string></value></member>\
            <member><name>pid</name><value><int>0</int></value></member>\
            <member><name>start</name><value><int>1795462484</int></value></member>\
            </struct></value></data></array></value></param></params></methodResponse>";
        let programs = process_info(body).unwrap();
        assert_eq!(programs.len(), 1);
        assert_eq!(
            (programs[0].name.as_str(), programs[0].state.as_str(), programs[0].pid),
            ("hermes-webui", "FATAL", None)
        );
        assert_eq!(programs[0].started_at, Some(1_795_462_484));
    }

    #[test]
    fn hostile_answers_are_errors() {
        assert!(process_info(b"<fault></fault>").is_err());
        assert!(process_info(b"<a><b>").is_err());
        assert!(process_info("<a>".repeat(100).as_bytes()).is_err());
        assert!(process_info(b"<a></b>").is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = process_info(&bytes);
            let _ = configuration(&bytes, "/");
        }
    }
}
