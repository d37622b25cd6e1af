//! An envelope for other people: its facts are redacted, then diagnosed.

use crate::model::{Envelope, Os};
use crate::redact::{self, Level};
use crate::wording;

/// The redacted envelope, with the kinds of its placeholders.
pub fn redacted(envelope: Envelope, level: Level, hosts: &[String]) -> Envelope {
    redacted_with_map(envelope, level, hosts).0
}

/// The same, and the map: each placeholder with the name that it replaces. The map must not leave the machine.
pub fn redacted_with_map(
    mut envelope: Envelope,
    level: Level,
    hosts: &[String],
) -> (Envelope, Vec<(String, String)>) {
    let map = redact::hide(&mut envelope, level, hosts);
    if level != Level::None {
        envelope.servers.iter_mut().for_each(wording::judge);
        judge_host(&mut envelope);
    }
    envelope.redaction = Some(redact::summary(&envelope, level));
    (envelope, map)
}

/// Fills in the findings of the host as a whole.
pub(super) fn judge_host(envelope: &mut Envelope) {
    let os = Os::named(&envelope.host.os);
    envelope.findings = wording::judge_host(os, &envelope.pid_files, &envelope.databases);
    envelope.findings.extend(envelope.history.iter().flat_map(|history| wording::judge_history(history, os)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Gap, GapDetail, GapReason, GapSubject, HostFacts, RawClaim, Server, Supervisor, SupervisorKind, id,
    };
    use serde_json::Value;
    use std::time::SystemTime;

    /// Each text, as text of another program in a redacted report.
    fn shown(texts: &[&str]) -> Vec<String> {
        let mut envelope = crate::report::envelope("check", HostFacts::default(), SystemTime::UNIX_EPOCH);
        envelope.gaps = texts.iter().map(|text| gap(text)).collect();
        let hidden = redacted(envelope, Level::Default, &["annbox".to_owned()]);
        hidden.gaps.into_iter().map(|gap| gap.detail.to_string()).collect()
    }

    fn gap(text: &str) -> Gap {
        Gap::new(GapSubject::Http, GapReason::Timeout, GapDetail::Text(text.into()))
    }

    fn verdict(server: &Server) -> impl PartialEq + use<> {
        let findings: Vec<_> = server.findings.iter().map(|found| (found.id.clone(), found.severity)).collect();
        (server.status, server.root_causes.clone(), findings, server.passed.clone())
    }

    /// Every string of an envelope.
    fn texts_of(envelope: &Envelope) -> Vec<String> {
        fn visit(value: Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => map.into_iter().for_each(|(_, value)| visit(value, found)),
                Value::Array(values) => values.into_iter().for_each(|value| visit(value, found)),
                Value::String(text) => found.push(text),
                _ => {}
            }
        }
        let mut found = Vec::new();
        visit(serde_json::to_value(envelope).unwrap(), &mut found);
        found
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
                "word-1 2026-11-24T20:00:00Z, sqlite 3.45.1, /root/.hermes",
                "/tmp/home/state.db, /tmp/home/webui.pid and /proc/7/root/home/user-3/x",
            ]
        );
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
                    wording::judge(hidden);
                    wording::judge(&mut server);
                    let ids =
                        |server: &Server| server.findings.iter().map(|found| found.id.clone()).collect::<Vec<_>>();
                    let (ids, of_hidden) = (ids(&server), ids(hidden));
                    assert!(
                        verdict(hidden) == verdict(&server),
                        "{} at {}: {of_hidden:?}, not {ids:?}",
                        path.display(),
                        level.word()
                    );
                }
            }
            seen += 1;
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn addresses_are_hidden_in_every_form() {
        for text in [
            "ssh -N -L 9119:10.11.12.13:9119 box",
            "::ffff:10.11.12.13:443",
            "ipv4:10.11.12.13:443",
            "host:10.11.12.13",
            "host-10-11-12-13",
            "/net/10.11.12.13/acme/.hermes",
            "hermes-webui@10.11.12.13.service",
            "hermes-10.11.12.13 of uid 4",
            "//10.11.12.13/login",
            "http://10.11.12.13/x",
            "eth0:10.11.12.13",
            "openresty/10.11.12.13",
            "peer:2001:db8::5",
            "[2001:db8::5]:443",
        ] {
            let mut server = host_of("user", "ann").0.servers.remove(0);
            let process = server.process.as_mut().unwrap();
            process.command = Some(text.into());
            process.name = text.into();
            process.cgroup = Some(text.into());
            server.health.as_mut().unwrap().server_header = Some(text.into());
            server.health.as_mut().unwrap().redirect_to = Some(text.into());
            let mut envelope = crate::report::envelope("check", HostFacts::default(), SystemTime::UNIX_EPOCH);
            envelope.gaps = vec![gap(text)];
            envelope.servers.push(server);
            let hidden = serde_json::to_string(&redacted(envelope, Level::Default, &[])).unwrap();
            for address in ["10.11.12.13", "10-11-12-13", "2001:db8"] {
                let at = hidden
                    .find(address)
                    .map(|at| hidden[at.saturating_sub(120)..].chars().take(160).collect::<String>());
                assert_eq!(at, None, "{text}");
            }
        }
    }

    /// A user whose name is a word, in a name that consists of words.
    #[test]
    fn a_user_is_hidden_inside_of_known_names() {
        let (mut envelope, _) = host_of("user", "oracle");
        let text = "oracle-db, /srv/oracle/standard, oracle/standard and http://127.0.0.1/oracle/x";
        envelope.gaps = vec![gap(text)];
        let hidden = redacted(envelope, Level::Default, &[]).gaps.remove(0).detail.to_string();
        assert!(!hidden.contains("oracle"), "{hidden}");
    }

    /// Kind and name of the observed supervisor are hidden by other rules in one text than apart.
    #[test]
    fn the_observed_supervisor_is_found_after_redaction() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/launchd-respawn.json");
        let mut envelope = crate::collect::replay::read(&std::fs::read(path).unwrap()).unwrap();
        let server = &mut envelope.servers[0];
        let lineage = server.lineage.as_mut().unwrap();
        lineage.raw_claims.clear();
        lineage.supervisor.kind = SupervisorKind::Other("tmux: server".to_owned());
        lineage.supervisor.name = Some("tmux new-session -d acme".into());
        lineage.relaunch.as_mut().unwrap().of = Some(lineage.supervisor.title().into());
        wording::judge(server);
        assert!(server.findings.iter().any(|finding| finding.id == id::RESPAWN_LOOP));
        let hidden = redacted(envelope.clone(), Level::Default, &[]);
        assert!(verdict(&hidden.servers[0]) == verdict(&envelope.servers[0]));
    }

    /// States, policies and results in the terms of supervisors are kept: with them, a maintainer sees what the supervisor
    /// does.
    #[test]
    fn terms_of_supervisors_are_kept() {
        let texts = [
            "active (running)",
            "active (exited)",
            "inactive (dead)",
            "failed (failed)",
            "activating (auto-restart)",
            "activating (auto-restart-queued)",
            "activating (start-pre)",
            "activating (start-post)",
            "deactivating (stop-sigterm)",
            "deactivating (stop-sigkill)",
            "deactivating (final-sigterm)",
            "reloading (reload)",
            "maintenance (cleaning)",
            "exit-code, exit status 2",
            "core-dump",
            "oom-kill",
            "start-limit-hit",
            "watchdog",
            "resources",
            "protocol",
            "exec-condition",
            "signal, killed by signal 9",
            "Type=simple Restart=on-failure RestartSec=300ms KillMode=control-group, static",
            "Type=notify Restart=on-abnormal RestartSec=1m 30s KillMode=mixed, enabled-runtime",
            "Type=oneshot Restart=no KillMode=process, masked",
            "Type=forking Restart=always KillMode=none, not installed",
            "KeepAlive=true ThrottleInterval=10 no SoftResourceLimits",
            "KeepAlive=false RunAtLoad=true SoftResourceLimits.NumberOfFiles=4096",
            "spawn scheduled",
            "not running",
            "RUNNING",
            "STARTING",
            "BACKOFF",
            "FATAL",
            "EXITED",
            "STOPPED",
            "UNKNOWN",
            "autorestart=true",
            "autorestart=unexpected",
            "autorestart=false",
            "online",
            "errored",
            "launching",
            "waiting restart",
            "up",
            "down, want up",
            "down, normally up",
            "restart=unless-stopped",
            "restart=always",
            "created",
            "restarting",
            "paused",
            "system",
            "user",
            "user 1000",
            "gui/501",
            "exit status 1",
            "exit code 0",
        ];
        let mut server = host_of("user", "ann").0.servers.remove(0);
        let claim = server.lineage.as_ref().unwrap().supervisor.clone();
        let claims: Vec<Supervisor> =
            texts.iter().map(|text| Supervisor { state: Some((*text).into()), ..claim.clone() }).collect();
        server.lineage.as_mut().unwrap().claims = claims.clone();
        server.lineage.as_mut().unwrap().raw_claims.clear();
        let mut envelope = crate::report::envelope("check", HostFacts::default(), SystemTime::UNIX_EPOCH);
        envelope.servers.push(server);
        redact::hide(&mut envelope, Level::Default, &[]);
        let hidden = &envelope.servers[0].lineage.as_ref().unwrap().claims;
        let hidden: Vec<&str> = hidden.iter().map(|claim| claim.state.as_deref().unwrap()).collect();
        assert_eq!(hidden, texts);
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
                "word-2 of pid 4711: Connection refused",
                "host-1 word-3 so, host-2 too",
                "word-4 unit-1.service, hermes-unit-2.service and hermes-webui.service",
                "host-3, number-1 and id-1",
                "the file /srv/dir-1/Q3 host-4",
                "? word-5",
                "http://localhost:8787/api/sessions/word-1?q=***",
            ]
        );
    }

    #[test]
    fn the_strict_level_moves_times_and_hides_directories_of_hermes() {
        let mut envelope = crate::report::envelope("check", HostFacts::default(), SystemTime::now());
        let started = envelope.started_at.clone();
        envelope.gaps =
            ["/opt/hermes/profiles/state.db", "hermes-webui.service", started.as_str()].map(gap).to_vec();
        let started_ns = started.time().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/database-locked.json");
        let recorded = crate::collect::replay::read(&std::fs::read(path).unwrap()).unwrap();
        envelope.databases.extend(recorded.servers.into_iter().flat_map(|server| server.databases));
        let stamp = &mut envelope.databases[0].written[0];
        stamp.modified_ns = u64::try_from(started_ns.as_nanos()).unwrap() + 5;
        let hidden = redacted(envelope, Level::Paranoid, &[]);
        assert_eq!(hidden.databases[0].written[0].modified_ns, 946_684_800_000_000_005);
        let texts: Vec<String> = hidden.gaps.iter().map(|gap| gap.detail.to_string()).collect();
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
        wording::judge(server);
        envelope.gaps = [
            format!("addresses of {host}; {host}.example.org does not answer; root@{host}: refused"),
            format!("tcp {host}:8787, http://{host}:8787/health, ({host}), \"{host}\", {host}'s, name={host}"),
            format!("no such program; supervisord has {program}, {program}:{program} and {program}.service"),
            format!("/srv/{directory}/x cannot be read; in /srv/{directory} is nothing"),
            format!("of user {user}, /home/{user}/y, ~{user}/z, {user}@localhost, user={user}"),
        ]
        .map(|text| gap(&text))
        .to_vec();
        (envelope, vec![host])
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
            wording::judge(server);
            assert!(server.findings.iter().any(|finding| finding.id == id::ORPHANED_SERVER));
            let mut hidden = redacted(envelope.clone(), level, &hosts).servers.remove(0);
            assert!(!serde_json::to_string(&hidden).unwrap().contains("ann"));
            wording::judge(&mut hidden);
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
