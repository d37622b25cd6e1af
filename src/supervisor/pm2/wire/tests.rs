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
        pid: Some(7784),
        state: "online".into(),
        restarts: Some(3),
        started_at_ms: Some(1_795_554_282_083),
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
        error_log: Some("/home/h/.pm2/logs/hermes-webui-error.log".into()),
        output_log: Some("/home/h/.pm2/logs/hermes-webui-out.log".into()),
        restart_delay_ms: Some(3000),
        exit_code: Some(1),
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
}

#[test]
fn fields_of_an_unexpected_type_are_read_as_pm2_does() {
    let found = program(
        r#""12""#,
        r#""autorestart":"false","restart_delay":"500ms","min_uptime":{},"exit_code":-2,"created_at":null,
           "stop_exit_codes":["0",3],"pm_uptime":1.5,"max_restarts":[[]],"HERMES_WEBUI_PORT":"8788",
           "HERMES_HOME":"","restart_time":-1,"name":7,"exp_backoff_restart_delay":100,"prev_restart_delay":150"#,
    );
    assert_eq!((found.autorestart, found.restart_delay_ms), (false, Some(500)));
    assert_eq!((found.exit_code, found.started_at_ms), (Some(-2), None));
    assert_eq!((found.stop_exit_codes.as_slice(), found.restarts), (&[0, 3][..], None));
    assert_eq!((found.port, found.home, found.name.as_str(), found.pid), (Some(8788), None, "7", Some(12)));
    assert_eq!(found.backoff_reached_ms, Some(150));
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
