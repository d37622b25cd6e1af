use super::*;

fn of(line: &str) -> Option<HermesCommand> {
    recognise(&shlex::split(line).unwrap())
}

fn kind_and_role(line: &str) -> Option<(ServerKind, CommandRole)> {
    of(line).filter(|command| command.certain).map(|command| (command.kind, command.role))
}

#[test]
fn executables_that_run_other_programs_do_not_identify_a_process() {
    for path in [
        "/usr/bin/python3.13",
        "/nix/store/x-python3-3.12/bin/.python3.12-wrapped",
        "/usr/bin/python3.11 (deleted)",
        "/opt/pypy/bin/pypy3",
        "/opt/homebrew/Cellar/python@3.13/Frameworks/Python.framework/Versions/3.13/Resources/Python.app/Contents/MacOS/Python",
        "/usr/bin/node",
        "/bin/busybox",
        "/usr/bin/bash",
        "/lib64/ld-linux-x86-64.so.2",
        "/usr/bin/qemu-aarch64-static",
        "/opt/hermes-webui/hermes-webui",
        "/memfd:x (deleted)",
        "/usr/lib/systemd/systemd",
    ] {
        assert!(runs_others(path.as_bytes()), "{path}");
    }
    for path in
        ["/usr/sbin/nginx", "/usr/lib/postgresql/17/bin/postgres", "/usr/bin/sleep", "/opt/python/bin/tool", ""]
    {
        assert!(!runs_others(path.as_bytes()), "{path}");
    }
}

#[test]
fn recognises_the_shapes_of_hermes_hosts() {
    use CommandRole::{Launcher, RespawnLoop, Server};
    use ServerKind::{Dashboard, Gateway, Mcp, Serve, Webui};
    for (line, expected) in [
        ("/opt/venv/bin/python3 /home/h/hermes-webui/server.py", (Webui, Server)),
        ("/usr/bin/python3.13t -u -X dev /srv/Hermes-WebUI/server.py", (Webui, Server)),
        ("/nix/store/x/bin/.hermes-webui-wrapped", (Webui, Server)),
        ("python /h/hermes-webui/mcp_server.py --profile work", (Mcp, Server)),
        ("python -m hermes_cli.main --profile X gateway run --replace --external-supervisor", (Gateway, Server)),
        ("/usr/local/bin/hermes gateway run", (Gateway, Server)),
        (
            "/opt/hermes/.venv/bin/python3 /opt/hermes/.venv/bin/hermes dashboard --host 0.0.0.0 --port 9119",
            (Dashboard, Server),
        ),
        ("python -m hermes_cli.main serve --isolated --host 127.0.0.1 --port 0", (Serve, Server)),
        ("hermes-gateway", (Gateway, Server)),
        ("python /opt/hermes/gateway/run.py", (Gateway, Server)),
        ("nohup-less python /home/h/x", (Webui, Server)),
        ("bash -lc 'while true; do hermes dashboard --port 9119; sleep 3; done'", (Dashboard, RespawnLoop)),
        (
            "sh -c 'until FOO=1 exec python -m hermes_cli.main gateway run; do sleep 1; done'",
            (Gateway, RespawnLoop),
        ),
        ("bash -c 'exec hermes serve --port 0'", (Serve, Launcher)),
        ("bash /home/h/hermes-webui/start.sh --port 8788", (Webui, Launcher)),
        (
            "python /home/h/hermes-webui/bootstrap.py --no-browser --foreground --host 127.0.0.1 8790",
            (Webui, Launcher),
        ),
    ] {
        if line.starts_with("nohup-less") {
            assert_eq!(of(line), None);
        } else {
            assert_eq!(kind_and_role(line), Some(expected), "{line}");
        }
    }
}

#[test]
fn a_configured_command_is_found_behind_its_wrappers() {
    for line in [
        "chpst -u nobody -e /etc/env python3 /srv/hermes-webui/bootstrap.py 127.0.0.1 8787",
        "s6-setuidgid hermes python3 /srv/hermes-webui/server.py",
        "/usr/bin/nice -n 3 /usr/bin/env A=b python3 /srv/hermes-webui/server.py",
        "su -s /bin/bash -c 'exec python3 /srv/hermes-webui/server.py' hermeswebui",
        "su - hermes -c 'python3 /srv/hermes-webui/server.py'",
        "runuser -u hermes -- python3 /srv/hermes-webui/server.py",
        "setpriv --reuid=1000 --regid 1000 --clear-groups python3 /srv/hermes-webui/server.py",
        "sudo -u h HERMES_HOME=/x python3 /srv/hermes-webui/server.py",
        "timeout -k 5 1h python3 /srv/hermes-webui/server.py",
        "softlimit -m 1000000 setuidgid hermes python3 /srv/hermes-webui/server.py",
        "tini -- python3 /srv/hermes-webui/server.py",
        "sh -c 'export A=b\nexec chpst -u h \\\n python3 \\\n /srv/hermes-webui/bootstrap.py'",
    ] {
        let found = recognise_configured(&shlex::split(line).unwrap());
        assert_eq!(found.map(|command| command.kind), Some(ServerKind::Webui), "{line}");
    }
    for line in
        ["nice", "nice -n", "su", "chpst -u", "env A=b", "timeout 5", "nice vim /srv/hermes-webui/server.py", ""]
    {
        assert_eq!(recognise_configured(&shlex::split(line).unwrap()), None, "{line}");
    }
}

#[test]
fn other_programs_are_not_servers() {
    for line in [
        "vim /home/h/hermes-webui/server.py",
        "grep -r hermes dashboard",
        "hermes dashboard --stop",
        "hermes gateway status",
        "hermes --tui",
        "python -m http.server 8787",
        "python -c 'import hermes'",
        "python -m hermes_cli.stderr_timestamp --error-log x -- python -m hermes_cli.main gateway run",
        "sudo -u h hermes dashboard",
        "bash -c 'echo hermes'",
        "node /x/hermes-web-ui/index.js",
        "hermes-doctor check",
        "hermes-doctor demo-server foreign --port 1",
        "",
    ] {
        assert_eq!(of(line), None, "{line}");
    }
}

#[test]
fn ambiguous_command_lines_are_uncertain() {
    assert!(!of("python server.py").unwrap().certain);
    assert!(!of("python /app/server.py").unwrap().certain);
    assert!(!of("python /home/h/.hermes/mcp/notes/server.py").unwrap().certain);
    assert!(!of("python /home/hermes/blog/server.py").unwrap().certain);
    assert!(!of("hermes").unwrap().certain);
}

#[test]
fn keeps_ports_and_profiles() {
    let command = of("hermes --profile work dashboard --port=9121").unwrap();
    assert_eq!((command.port, command.profile.as_deref()), (Some(9121), Some("work")));
    let command = of("python /h/hermes-webui/bootstrap.py --host 127.0.0.1 8790").unwrap();
    assert_eq!(command.port, Some(8790));
    let command = of("hermes serve --port 70000").unwrap();
    assert_eq!(command.port, None);
}

#[test]
fn knows_its_own_demo_servers() {
    let command = of("/x/hermes-doctor demo-server leak --port 4242 --home /tmp/h").unwrap();
    assert!(command.demo);
    assert_eq!((command.port, command.home.as_deref()), (Some(4242), Some("/tmp/h")));
    assert!(of("/x/another-name demo-server healthy --port 1 --home /h").unwrap().demo);
    let command = of("/x/hermes-doctor demo-server respawner --port 1 --home /h").unwrap();
    assert_eq!(command.role, CommandRole::RespawnLoop);
}

#[test]
fn knows_fronts() {
    assert_eq!(front_program("nginx: master process /usr/sbin/nginx -g daemon on;"), Some("nginx"));
    assert_eq!(front_program("sshd: h@notty"), Some("sshd"));
    assert_eq!(front_program("/usr/bin/docker-proxy"), Some("docker-proxy"));
    assert_eq!(front_program("python3"), None);
}

proptest::proptest! {
    #[test]
    fn never_panics(words in proptest::collection::vec(".{0,40}", 0..8)) {
        let _ = recognise(&words);
        let _ = recognise_configured(&words);
    }
}
