use super::*;

/// As macOS 11 and later print it.
const RUNNING: &str = "gui/501/com.example.hermes-webui = {\n\
    \tactive count = 1\n\
    \tpath = /Users/h/Library/LaunchAgents/com.example.hermes-webui.plist\n\
    \ttype = LaunchAgent\n\
    \tstate = running\n\
    \n\
    \tprogram = /bin/bash\n\
    \targuments = {\n\
    \t\t/bin/bash\n\
    \t\t/Users/h/hermes-webui/start.sh\n\
    \t\t--title\n\
    \t\t\n\
    \t\ta = { b }\n\
    \t}\n\
    \n\
    \tworking directory = /Users/h/hermes = webui\n\
    \n\
    \tstdout path = /Users/h/.hermes/webui/launchd-stdout.log\n\
    \tstderr path = /Users/h/.hermes/webui/launchd-stderr.log\n\
    \tinherited environment = {\n\
    \t\tHERMES_HOME => /inherited\n\
    \t}\n\
    \n\
    \tdefault environment = {\n\
    \t\tHERMES_WEBUI_PORT => 1\n\
    \t}\n\
    \n\
    \tenvironment = {\n\
    \t\tOPENAI_API_KEY => sk-secret\n\
    \t\tHERMES_HOME => /Users/h/my => hermes\n\
    \t\tHERMES_WEBUI_PORT => 8790\n\
    \t\tXPC_SERVICE_NAME => com.example.hermes-webui\n\
    \t}\n\
    \n\
    \tdomain = gui/501 [100010]\n\
    \tasid = 100010\n\
    \tminimum runtime = 30\n\
    \texit timeout = 5\n\
    \truns = 312\n\
    \tpid = 9820\n\
    \timmediate reason = semaphore\n\
    \tlast exit code = 78: EX_CONFIG\n\
    \n\
    \tresource coalition = {\n\
    \t\tID = 397\n\
    \t\tstate = active\n\
    \t}\n\
    \n\
    \tevent triggers = {\n\
    \t\tcom.example.trigger => {\n\
    \t\t\tkeepalive = 0\n\
    \t\t\tstate = 0\n\
    \t\t\tdescriptor = {\n\
    \t\t\t\t\"pid\" => 1\n\
    \t\t\t}\n\
    \t\t}\n\
    \t}\n\
    \n\
    \tendpoints = {\n\
    \t\t\"com.example.hermes\" = {\n\
    \t\t\tport = 0x1b03\n\
    \t\t}\n\
    \t}\n\
    \n\
    \tresource limits = {\n\
    \t\tmaxfiles (soft) => 4096\n\
    \t\tmaxfiles (hard) => 8192\n\
    \t}\n\
    \n\
    \tjob state = running\n\
    \tproperties = keepalive | runatload | inferred program\n\
    }\n";

fn found(text: &str) -> Job {
    job(text.as_bytes()).unwrap().found().unwrap()
}

#[test]
fn reads_a_running_job() {
    let job = found(RUNNING);
    assert_eq!((job.domain.as_str(), job.label.as_str()), ("gui/501", "com.example.hermes-webui"));
    assert_eq!(job.target(), "gui/501/com.example.hermes-webui");
    assert_eq!((job.pid, job.state.as_str(), job.runs), (Some(9820), "running", Some(312)));
    assert_eq!(job.job_state.as_deref(), Some("running"));
    assert_eq!((job.last_exit.as_deref(), job.last_exit_code), (Some("78: EX_CONFIG"), Some(78)));
    assert_eq!((job.last_signal, job.pended_spawn.as_deref()), (None, None));
    assert_eq!(job.program.as_deref(), Some("/bin/bash"));
    assert_eq!(job.arguments, ["/bin/bash", "/Users/h/hermes-webui/start.sh", "--title", "", "a = { b }"]);
    assert_eq!(job.working_directory.as_deref(), Some("/Users/h/hermes = webui"));
    assert_eq!(job.log(), Some("/Users/h/.hermes/webui/launchd-stderr.log"));
    assert_eq!(job.plist.as_deref(), Some("/Users/h/Library/LaunchAgents/com.example.hermes-webui.plist"));
    assert_eq!((job.keep_alive, job.run_at_load, job.penalty_box), (Some(true), Some(true), Some(false)));
    assert_eq!((job.minimum_runtime_s, job.soft_descriptors), (Some(30), Some(4096)));
}

#[test]
fn keeps_two_variables_of_the_own_environment() {
    let job = found(RUNNING);
    assert_eq!((job.home.as_deref(), job.webui_port), (Some("/Users/h/my => hermes"), Some(8790)));
    assert!(!format!("{job:?}").contains("sk-secret"));
}

#[test]
fn reads_a_job_of_an_older_release() {
    let job = found(
        "ai.hermes.gateway = {\n\
         \tactive count = 0\n\
         \tpath = (submitted by hermes.3066)\n\
         \tstate = waiting\n\
         \tstdout path = /var/log/hermes.log\n\
         \tstderr path = /dev/null\n\
         \tdomain = com.apple.xpc.launchd.user.domain.501.100009.Aqua\n\
         \tlast exit code = (never exited)\n\
         \tsemaphores = {\n\
         \t\tsuccessful exit => 0\n\
         \t\tafter crash => 1\n\
         \t}\n\
         \tproperties = {\n\
         \t\tkeepalive = 0\n\
         \t\trunatload = 1\n\
         \t\tpenalty box = 0\n\
         \t}\n\
         }\n",
    );
    assert_eq!(job.target(), "gui/501/ai.hermes.gateway");
    assert_eq!((job.pid, job.plist.as_deref(), job.state.as_str()), (None, None, "waiting"));
    assert_eq!((job.last_exit.as_deref(), job.last_exit_code), (Some("(never exited)"), None));
    assert_eq!((job.keep_alive, job.run_at_load, job.penalty_box), (Some(false), Some(true), Some(false)));
    assert_eq!(job.keep_alive_if, ["successful exit => 0", "after crash => 1"]);
    assert_eq!(job.log(), Some("/var/log/hermes.log"));
}

#[test]
fn reads_how_a_job_ended_and_why_it_waits() {
    let job = found(
        "system/ai.hermes.serve = {\n\tstate = not running\n\truns = 24991\n\
         \tpended nondemand spawn = inefficient\n\tlast terminating signal = Killed: 9\n\
         \tresource limits = {\n\t\tmaxfiles (soft) => (infinity)\n\t}\n\tproperties = penalty box\n}\n",
    );
    assert_eq!((job.domain.as_str(), job.label.as_str()), ("system", "ai.hermes.serve"));
    assert_eq!((job.last_exit.as_deref(), job.last_signal), (Some("Killed: 9"), Some(9)));
    assert_eq!(job.last_exit_code, None);
    assert_eq!(job.pended_spawn.as_deref(), Some("inefficient"));
    assert_eq!((job.soft_descriptors, job.penalty_box), (None, Some(true)));
    let job = found("x = {\n\tstate = spawn scheduled\n\tlast exit reason = OS_REASON_CODESIGNING\n}\n");
    assert_eq!((job.target().as_str(), job.state.as_str()), ("x", "spawn scheduled"));
    assert_eq!(job.last_exit.as_deref(), Some("OS_REASON_CODESIGNING"));
}

#[test]
fn free_text_closes_no_block() {
    let job = found(
        "gui/501/ai.hermes.gateway = {\n\tstate = running\n\targuments = {\n\t\tbash\n\t\t-c\n\t\tf() {\n\
         \x20 state = no\n}\n\nf\n\t}\n\tenvironment = {\n\t\tTOKEN => a\n}\npid = 1\n\t\tHERMES_HOME => /h\n\t}\n\
         \tpid = 7\n}\nHERMES_HOME => /later\n",
    );
    assert_eq!(job.arguments, ["bash", "-c", "f() {\n  state = no\n}\n\nf"]);
    assert_eq!((job.pid, job.state.as_str(), job.home.as_deref()), (Some(7), "running", Some("/h")));
}

#[test]
fn an_argument_is_kept_as_it_is_and_the_rest_is_printable() {
    let job = found(
        "gui/501/a\x1b[2J = {\n\tstate = run\x07ning\n\targuments = {\n\t\t\x1b[31m\n\t}\n\
         \tenvironment = {\n\t\tHERMES_HOME => /h\u{202e}\n\t\tHERMES_WEBUI_PORT => 70000\n\t}\n}\n",
    );
    assert_eq!((job.label.as_str(), job.state.as_str()), ("a\\u{1b}[2J", "run\\u{7}ning"));
    assert_eq!(job.arguments, ["\x1b[31m"]);
    assert_eq!((job.home.as_deref(), job.webui_port), (Some("/h\\u{202e}"), None));
}

#[test]
fn turns_old_names_of_domains_into_targets() {
    for (printed, expected) in [
        ("gui/501 [100010]", "gui/501"),
        ("user/501", "user/501"),
        ("system", "system"),
        ("com.apple.xpc.launchd.domain.system", "system"),
        ("com.apple.xpc.launchd.domain.user.501", "user/501"),
        ("com.apple.xpc.launchd.user.domain.501.100009.Aqua", "gui/501"),
        (
            "com.apple.xpc.launchd.user.domain.501.100009.Background",
            "com.apple.xpc.launchd.user.domain.501.100009.Background",
        ),
    ] {
        assert_eq!(domain_name(printed), expected);
    }
    let (domain, label) = split_target("com.apple.xpc.launchd.user.domain.501.1.Aqua/ai.hermes.gateway");
    assert_eq!((domain.as_deref(), label), (Some("gui/501"), "ai.hermes.gateway"));
    assert_eq!(split_target("a/b"), (None, "a/b"));
}

#[test]
fn distinguishes_launchctl_errors() {
    let service = "Could not find service \"ai.hermes.gateway\" in domain for";
    for text in [
        format!("Bad request.\n{service} user gui: 501\n"),
        format!("{service} system\n"),
        format!("{service} port\n"),
    ] {
        assert_eq!(job(text.as_bytes()), Ok(Answer::NoService));
    }
    let no_domain = b"Bad request.\nCould not find domain for user gui: 999\n";
    assert_eq!(job(no_domain), Ok(Answer::NoDomain));
    assert_eq!(domain(no_domain), Ok(Answer::NoDomain));
    assert_eq!(job(b"Bad request.\nNot \x1bprivileged\n").unwrap_err().why, "Not \\u{1b}privileged");
    assert_eq!(job(b"Bad request.\n").unwrap_err().why, "Bad request.");
    assert_eq!(job(b"").unwrap_err().why, "it printed nothing");
}

#[test]
fn broken_answers_are_errors() {
    for end in 1..RUNNING.len() - 2 {
        assert!(job(&RUNNING.as_bytes()[..end]).is_err(), "{end}");
    }
    assert!(job(b"gui/501/x = {\n}\n").is_err());
    assert!(job(b"gui/501 = {\n\ttype = login\n\tservices = {\n\t}\n}\n").is_err());
    assert!(job(b"gui/501/x = {\nstate = running\n}\n").is_err());
    assert!(domain(RUNNING.as_bytes()).is_err());
    let many = format!("x = {{\n\tstate = running\n\targuments = {{\n{}\t}}\n}}\n", "\t\ta\n".repeat(MAX + 1));
    assert!(job(many.as_bytes()).is_err());
}

#[test]
fn deep_nesting_costs_nothing() {
    let deep: String = (1..20_000).map(|_| "\t\t\tx = {\n").collect();
    let text = format!("x = {{\n\tevent triggers = {{\n{deep}\t}}\n\tstate = running\n}}\n");
    assert_eq!(found(&text).state, "running");
}

#[test]
fn reads_the_jobs_of_a_domain() {
    let rows = domain(
        b"gui/501 = {\n\ttype = login\n\thandle = 100017\n\tsecurity context = {\n\t\tuid = 501\n\t}\n\n\
          \tservices = {\n\
          \t\t     887      - \tai.hermes.gateway\n\
          \t\t       0     78 \tcom.example.hermes-webui\n\
          \t\t       -     -9 \tai.hermes.serve\n\
          \t\t       0   (pe) \ta label with spaces\n\
          \t\tgarbage\n\
          \t}\n\n\
          \tunmanaged processes = {\n\t\tx = {\n\t\t\tservices = {\n\t\t\t}\n\t\t}\n\t}\n\
          \tdisabled services = {\n\t\t\"ai.hermes.mobile-tunnel\" => disabled\n\t}\n\tproperties = gui\n}\n",
    )
    .unwrap()
    .found()
    .unwrap();
    let expected = [
        (Some(887), None, "ai.hermes.gateway"),
        (None, Some(78), "com.example.hermes-webui"),
        (None, Some(-9), "ai.hermes.serve"),
        (None, None, "a label with spaces"),
    ];
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        assert_eq!((row.pid, row.last_status, row.label.as_str()), expected);
    }
    assert_eq!(domain(b"user/1 = {\n\tservices = {\n\t}\n}\n"), Ok(Answer::Found(Vec::new())));
}

proptest::proptest! {
    #[test]
    fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        let _ = job(&bytes);
        let _ = domain(&bytes);
    }

    #[test]
    fn never_panics_on_shuffled_lines(lines in proptest::collection::vec(proptest::sample::select(vec![
        "gui/501/x = {", "/ = {", " = {", "{", "\t", "\t\t", "\u{a0}\u{2003}x", "\targuments = {", "\t\ta", "\tservices = {",
        "\t\t1 0 x", "\tenvironment = {", "\t\tHERMES_HOME => /h", "\tproperties = {", "\t\tkeepalive = ", "\t}",
        "\t};", "\t);", "}", "};", "\tstate = running", "\tdomain = com.apple.xpc.launchd.user.domain..",
        "\tlast exit code = :", "\tlast terminating signal = : ", "\t\"ProgramArguments\" = (", "\t\t\"a\";", "\t\t\"",
        "\t\"PID\" = ;", "\t\"Label\" = \"", "\t\"LastExitStatus\" = -2147483648;", "PID Status Label", "- - -",
    ]), 0..40)) {
        let text = lines.join("\n");
        let _ = job(text.as_bytes());
        let _ = domain(text.as_bytes());
    }
}
