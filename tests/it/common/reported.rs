//! Hosts from public bug reports, converted to reports of this program: only what was measured. Unknown facts are
//! `null`, or a part that was not examined. Pids and inode numbers are invented, and names of units and paths are
//! the defaults where the bug report does not give them.

use hermes_doctor::collect::replay;
use hermes_doctor::model::{
    Activity, Attempt, ClaimState, CloseWait, CloseWaitPeer, Connections, DatabaseFile, DatabaseHolder,
    Descriptors, Envelope, Expected, Gap, GapReason, Health, Hop, Lineage, Listener, Listeners, Outcome, Part,
    Phase, PhaseName, PidFile, PidFileState, PortSample, ProcessState, Relaunch, Role, Route, SecondSample, Server,
    ServerKind, SqliteFamily, Status, Supervisor, SystemCall, Target, Thread, ThreadSample, WalFile,
};
use hermes_doctor::wording;
use std::path::Path;

/// One host of a report.
pub struct Reported {
    /// Its file in fixtures/, without `report-`.
    pub name: &'static str,
    /// Issue of NousResearch/hermes-agent (A) or nesquena/hermes-webui (W).
    pub source: &'static str,
    /// System and supervisor.
    pub platform: &'static str,
    /// What was measured.
    pub reported: &'static str,
    /// The cause that reporters and maintainers have found.
    pub cause: &'static str,
    /// Facts that were filled in, because a report of this program needs them.
    pub filled_in: &'static str,
    /// Sets the facts; `None` for a host that is recorded or made elsewhere.
    pub build: Option<fn(&mut Server)>,
}

/// The server's pid where the bug report does not give one.
const PID: u32 = 4711;
const HOME: &str = "/home/hermes/.hermes";
const STATE_DB: &str = "/home/hermes/.hermes/state.db";
const HOUR_MS: u64 = 3_600_000;

/// All hosts.
pub const REPORTED: &[Reported] = &[
    Reported {
        name: "A88033-serve-handles",
        source: "A#88033",
        platform: "Ubuntu 26.04, systemd --user",
        reported: "limit 1024, 97 % of it open: 300 state.db, 296 state.db-wal, and /dev/null; the unit is active; the gateway on the same host has 73",
        cause: "a SQLite connection for each thread is never closed; fixed by a bounded pool",
        filled_in: "97 % as 993 descriptors, the rest of them on /dev/null",
        build: Some(|server| {
            is(server, ServerKind::Serve, None, "python -m hermes_cli.main serve");
            descriptors(server, 993, 1024, &[("regular", 596), ("device", 397)], (300, 296, 0));
            supervised(server, "systemd-user", "hermes-serve.service", "active (running)");
        }),
    },
    Reported {
        name: "A83512-gateway-handles",
        source: "A#83512",
        platform: "Linux, systemd",
        reported: "up 41.7 h, 1019 of 1024 open, 750 of these on state.db*; about 18 more an hour",
        cause: "one read connection for each thread is never closed, as in A#79742",
        filled_in: "750 as 375 on state.db and 375 on its log",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            up(server, 150_120_000);
            descriptors(server, 1019, 1024, &[("regular", 750)], (375, 375, 0));
            supervised(server, "systemd", "hermes-gateway.service", "active (running)");
        }),
    },
    Reported {
        name: "A84233-dashboard-handles",
        source: "A#84233",
        platform: "macOS",
        reported: "up 44 h, 199 of 256 open: 50 state.db, 48 state.db-wal; `[Errno 24]` for /dev/null; 8 after a restart",
        cause: "state.db connections are never closed, below a soft limit of 256",
        filled_in: "",
        build: Some(|server| {
            is(server, ServerKind::Dashboard, Some(9119), "hermes dashboard");
            up(server, 44 * HOUR_MS);
            descriptors(server, 199, 256, &[("regular", 98)], (50, 48, 0));
        }),
    },
    Reported {
        name: "A36899-dashboard-limit",
        source: "A#36899",
        platform: "macOS",
        reported: "soft limit 256, all of 0 to 255 open; `API call failed after 3 retries`",
        cause: "the limit of the job is too low; the symptom looks like an outage of the provider",
        filled_in: "",
        build: Some(|server| {
            is(server, ServerKind::Dashboard, Some(9119), "hermes dashboard");
            descriptors(server, 256, 256, &[], (0, 0, 0));
        }),
    },
    Reported {
        name: "A58790-telegram-close-wait",
        source: "A#58790",
        platform: "macOS",
        reported: "up 10 days, 289 open, 224 of these CLOSE_WAIT, 227 later, to the fallback address of Telegram",
        cause: "connections of a pool are never closed after the peer has closed them; fixed",
        filled_in: "the address",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            up(server, 240 * HOUR_MS);
            server.examined.push(Part::Descriptors);
            let peer = "149.154.167.220:443".to_owned();
            server.descriptors = Some(Descriptors {
                open: Some(289),
                by_kind: [("tcp-close-wait".into(), 224)].into(),
                targets: vec![Target {
                    target: format!("tcp CLOSE-WAIT to {peer}").into(),
                    kind: "tcp-close-wait".into(),
                    count: 224,
                    deleted: false,
                    size_bytes: None,
                }],
                close_wait: Some(CloseWait {
                    first: 224,
                    still_at_second: Some(224),
                    between_ms: None,
                    by_peer: vec![CloseWaitPeer { peer: peer.into(), count: 224 }],
                }),
                ..Descriptors::default()
            });
            let gap = Gap::new("descriptor limit", GapReason::Unsupported, "not reported");
            server.gaps.push(gap.blocking(&["descriptor-ceiling", "descriptor-limit-low"]));
        }),
    },
    Reported {
        name: "A91286-serve-six-close-wait",
        source: "A#91286",
        platform: "Linux",
        reported: "up 34 h, 6 CLOSE-WAIT with 25 unread bytes each; the event loop does not run",
        cause: "the event loop is stuck; the few sockets are not the cause",
        filled_in: "the deadline of the probe",
        build: Some(|server| {
            is(server, ServerKind::Serve, Some(9119), "python -m hermes_cli.main serve --port 9119");
            up(server, 34 * HOUR_MS);
            server.examined.push(Part::Descriptors);
            server.descriptors = Some(Descriptors {
                close_wait: Some(CloseWait { first: 6, ..CloseWait::default() }),
                by_kind: [("tcp-close-wait".into(), 6)].into(),
                ..Descriptors::default()
            });
            waits(server, None);
        }),
    },
    Reported {
        name: "A73379-tmux-loop",
        source: "A#73379",
        platform: "Linux, a loop in tmux",
        reported: "a dashboard outside of the loop answers 200 on 9119 for 7.5 h, with old code; each start in the loop ends with `[Errno 98]`",
        cause: "the orphan holds the port, and each start in the loop fails",
        filled_in: "three starts, the number in 10 s at `sleep 3`",
        build: Some(|server| {
            is(
                server,
                ServerKind::Dashboard,
                Some(9119),
                "hermes dashboard --host 127.0.0.1 --port 9119 --no-open",
            );
            up(server, 27_000_000);
            answers(server, "/api/status");
            let text = "bash -lc 'while true; do hermes dashboard --port 9119; sleep 3; done'";
            rival(server, "respawn-loop", text, None, Some(4650));
            let lineage = server.lineage.as_mut().unwrap();
            lineage.expected.as_mut().unwrap().pid = Some(900);
            lineage.supervisor.pid = Some(900);
            watched(lineage, &[], &[4620, 4635, 4650]);
        }),
    },
    Reported {
        name: "W5944-restart-always",
        source: "PR W#5944",
        platform: "Linux, systemd",
        reported: "Restart=always, RestartSec=5: the unit is in a restart loop for 1 h; a server that was started with ctl.sh holds the port; its pid file is stale",
        cause: "the server that was started outside of the unit holds the port; prevented since exp-v0.52.142",
        filled_in: "three starts, the number in 10 s",
        build: Some(|server| {
            is(server, ServerKind::Webui, Some(8787), "python /srv/hermes-webui/server.py");
            rival(server, "systemd", "hermes-webui.service", Some("activating (auto-restart)"), None);
            let lineage = server.lineage.as_mut().unwrap();
            lineage.supervisor.policy = Some("Restart=always RestartSec=5s".into());
            lineage.supervisor.restart_interval_ms = Some(5000);
            lineage.supervisor.claim_state = ClaimState::Restarting;
            lineage.supervisor.since = None;
            watched(lineage, &["activating (auto-restart)", "active (running)"], &[4620, 4635, 4650]);
            server.pid_files.push(PidFile {
                path: format!("{HOME}/webui.pid").into(),
                pid: 4000,
                state: PidFileState::Dead,
                detail: "no such process".into(),
            });
        }),
    },
    Reported {
        name: "A119467-unproven-pid",
        source: "A#119467",
        platform: "Linux, systemd",
        reported: "restart counter 83; each start ends with `Refusing --replace: PID cannot be proven`",
        cause: "a gateway outside of the unit keeps running, because the starts of the unit refuse to replace it",
        filled_in: "",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            rival(server, "systemd", "hermes-gateway.service", Some("activating (auto-restart)"), None);
            let supervisor = &mut server.lineage.as_mut().unwrap().supervisor;
            (supervisor.restarts, supervisor.claim_state) = (Some(83), ClaimState::Restarting);
        }),
    },
    Reported {
        name: "A32952-both-scopes",
        source: "A#32952",
        platform: "Linux, systemd and systemd --user",
        reported: "a system unit and a user unit both run `gateway run --replace` on one home, and keep ending each other's gateway",
        cause: "two supervisors for one gateway",
        filled_in: "three starts within 10 s",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run --replace");
            supervised(server, "systemd-user", "hermes-gateway.service", "active (running)");
            let lineage = server.lineage.as_mut().unwrap();
            lineage.supervisor.scope = Some("user".into());
            lineage.claims.push(Supervisor {
                scope: Some("system".into()),
                claims_this: Some(false),
                evidence: "ExecStart of hermes-gateway.service, the same home".into(),
                ..claim("systemd", "hermes-gateway.service", "activating (auto-restart)")
            });
            watched(lineage, &["active (running)", "activating (auto-restart)"], &[4620, 4650, PID]);
        }),
    },
    Reported {
        name: "A13655-start-limit",
        source: "A#13655",
        platform: "Linux, systemd",
        reported: "`PID file race lost` at each start, then StartLimitBurst: the unit is failed",
        cause: "the starts compete for the pid file until systemd gives up; fixed with a lock",
        filled_in: "",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "");
            server.pid = None;
            server.process = None;
            rival(server, "systemd", "hermes-gateway.service", Some("failed (failed)"), None);
            let lineage = server.lineage.as_mut().unwrap();
            lineage.hops.clear();
            lineage.detached_because = "it does not run".into();
            lineage.detached = false;
            lineage.supervisor.claim_state = ClaimState::GaveUp;
            lineage.supervisor.result = Some("start-limit-hit".into());
        }),
    },
    Reported {
        name: "A47510-zombies",
        source: "A#47510",
        platform: "Docker",
        reported: "57 children in state Z below the server",
        cause: "it is process 1 of its container and reaps no orphans",
        filled_in: "",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            zombies(server, 57);
        }),
    },
    Reported {
        name: "A111577-zombies",
        source: "A#111577",
        platform: "Docker, `entrypoint:` set",
        reported: "284 children in state Z after 2.8 h; process 1 is python",
        cause: "the init of the image is bypassed, and the dashboard as process 1 does not reap orphans",
        filled_in: "",
        build: Some(|server| {
            let command = "/opt/hermes/.venv/bin/python3 /opt/hermes/.venv/bin/hermes dashboard";
            is(server, ServerKind::Dashboard, Some(9119), command);
            up(server, 10_080_000);
            zombies(server, 284);
        }),
    },
    Reported {
        name: "W5210-thread-pile",
        source: "W#5210",
        platform: "Docker",
        reported: "2385 tasks, load 19 on 8 cores; the accept loop waits in Thread.start(); connections are not accepted",
        cause: "a thread for each connection without a bound; capped at 128 in v0.51.748",
        filled_in: "the queue in two samples, and the call in which the main thread waits",
        build: Some(|server| {
            is(server, ServerKind::Webui, Some(8787), "python server.py");
            server.process.as_mut().unwrap().threads = Some(2385);
            let look = ThreadSample {
                state: ProcessState::Sleeping,
                wait_channel: Some("futex_wait_queue".into()),
                system_call: Some(SystemCall { name: "futex".into(), descriptor: None, is_unlimited: Some(true) }),
            };
            let mut activity = threads(&[look], 2);
            activity.threads_omitted = 2384;
            waits(server, Some(activity));
            listens(server, &[254, 2034]);
        }),
    },
    Reported {
        name: "W1855-route-under-lock",
        source: "W#1855",
        platform: "Linux, systemd",
        reported: "/health in 2 ms; /api/sessions and /api/chat/start take about 125 s",
        cause: "the model catalog is rebuilt under a lock; fixed by PR W#2501",
        filled_in: "timeout of 6 s, the default",
        build: Some(|server| {
            is(server, ServerKind::Webui, Some(8787), "python /srv/hermes-webui/server.py");
            answers(server, "/health");
            let attempt = attempt(server, "/api/sessions", Outcome::NoAnswer, 6000.0);
            server.health.as_mut().unwrap().routes.push(Route {
                path: "/api/sessions".into(),
                named: true,
                deadline_ms: 6000,
                attempt,
                looks: Vec::new(),
                activity: None,
            });
        }),
    },
    Reported {
        name: "A113372-three-futexes",
        source: "A#113372",
        platform: "Linux, s6",
        reported: "up 30 h, three threads, all in futex_wait; /health gets no answer; the state file is that of the previous process",
        cause: "all threads of the gateway wait for a lock; which lock is unknown",
        filled_in: "the deadline of the probe",
        build: Some(|server| {
            is(server, ServerKind::Gateway, Some(8642), "python -m hermes_cli.main gateway run");
            up(server, 30 * HOUR_MS);
            server.process.as_mut().unwrap().threads = Some(3);
            let look = ThreadSample {
                state: ProcessState::Sleeping,
                wait_channel: Some("futex_wait".into()),
                system_call: None,
            };
            let mut activity = threads(&[look.clone(), look.clone(), look], 1);
            activity.threads.iter_mut().for_each(|thread| (thread.cpu_ms, thread.sleeps) = (None, None));
            waits(server, Some(activity));
            supervised(server, "s6", "/run/service/gateway-default", "up");
        }),
    },
    Reported {
        name: "A70800-memory-high",
        source: "A#70800",
        platform: "Ubuntu, systemd --user, MemoryHigh=1024M",
        reported: "port 9119 accepts connections, /api/status gets no byte; the main thread is in state D in mem_cgroup_handle_over_high",
        cause: "tests that a session started fill the memory of the unit, and the kernel throttles the dashboard too",
        filled_in: "a second sample equal to the first, without any progress",
        build: Some(|server| {
            is(server, ServerKind::Dashboard, Some(9119), "hermes dashboard --port 9119 --no-open");
            server.process.as_mut().unwrap().state = ProcessState::DiskSleep;
            let look = ThreadSample {
                state: ProcessState::DiskSleep,
                wait_channel: Some("mem_cgroup_handle_over_high".into()),
                system_call: None,
            };
            waits(server, Some(threads(&[look], 2)));
            supervised(server, "systemd-user", "hermes-dashboard.service", "active (running)");
        }),
    },
    Reported {
        name: "A2189-stopped",
        source: "A#2189",
        platform: "Linux",
        reported: "a gateway that was stopped with Ctrl-Z (state T) still counts as running",
        cause: "a stopped process keeps its pid and does not run",
        filled_in: "",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            server.process.as_mut().unwrap().state = ProcessState::Stopped;
            server.examined.push(Part::Health);
        }),
    },
    Reported {
        name: "A81547-malformed-first",
        source: "A#81547",
        platform: "macOS, LaunchAgent",
        reported: "connects, and resets every request; in the log 2,709 `malformed` errors, then 58 `[Errno 24]`",
        cause: "the damaged database is the cause; the descriptors run out later",
        filled_in: "",
        build: Some(|server| {
            is(server, ServerKind::Dashboard, Some(9119), "hermes dashboard --port 9119 --no-open");
            fails(server, Outcome::Reset, "Connection reset by peer");
        }),
    },
    Reported {
        name: "W4412-tls",
        source: "W#4412",
        platform: "Linux",
        reported: "the server uses TLS and is healthy; all probes of the launchers use HTTP and report that it is down",
        cause: "probes of the wrong scheme; fixed in v0.51.494",
        filled_in: "that HTTP gets no answer",
        build: Some(|server| {
            is(server, ServerKind::Webui, Some(8787), "python /srv/hermes-webui/server.py");
            answers(server, "/health");
            let mut plain = attempt(server, "/health", Outcome::Empty, 0.0);
            plain.phases.clear();
            let health = server.health.as_mut().unwrap();
            let secure = health.attempts.first_mut().unwrap();
            secure.url = secure.url.replace("http:", "https:").into();
            health.url = Some(secure.url.clone());
            health.attempts.insert(0, plain);
            health.decided_by = Some(1);
        }),
    },
    Reported {
        name: "A35201-wal-high-water",
        source: "A#35201",
        platform: "any",
        reported: "state.db-wal has more than 90 MB; wal_checkpoint(TRUNCATE) shrinks it to 4 KB",
        cause: "no problem: a passive checkpoint never shrinks the log (A#96976: a warning for its size alone was false)",
        filled_in: "90 MB as 94371840 bytes",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            database(server).wal = Some(WalFile {
                size_bytes: 94_371_840,
                header: None,
                frames_that_fit: 22_900,
                frames_of_this_generation: None,
                committed_frames: None,
                useful_bytes: None,
            });
        }),
    },
    Reported {
        name: "A110276-deleted-wal",
        source: "A#110276",
        platform: "Linux",
        reported: "a live `hermes --tui` holds an unlinked state.db-wal and state.db-shm; others refuse to start",
        cause: "another program opened and closed the database, and so unlinked the log that the live process uses",
        filled_in: "one descriptor on each of the three files",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            database(server).holders.push(holder(4800, "hermes --tui", (1, 1, 1), 2, None));
        }),
    },
    Reported {
        name: "A100368-lost-locks",
        source: "A#100368",
        platform: "Linux",
        reported: "14 descriptors on state.db and its files, and no lock of that inode in /proc/locks; after the fix the shared lock is there",
        cause: "the same process opened and closed the file without SQLite, which drops all its locks; fixed by PR A#100519",
        filled_in: "14 as 7 on the database, 6 on the log and 1 on its index; a second sample equal to the first",
        build: Some(|server| {
            is(server, ServerKind::Gateway, None, "python -m hermes_cli.main gateway run");
            let database = database(server);
            database.holders.push(holder(PID, "python -m hermes_cli.main gateway run", (7, 6, 1), 0, Some(false)));
            database.looked_again =
                Some(SecondSample { after_ms: 500, locks: Some(Vec::new()), ..SecondSample::default() });
        }),
    },
];

/// The report of a host, judged by today's rules.
pub fn host(reported: &Reported) -> Option<Envelope> {
    let build = reported.build?;
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/unsupervised.json");
    let mut envelope = replay::read(&std::fs::read(base).unwrap()).unwrap();
    envelope.host.os = if reported.platform.contains("macOS") { "macos" } else { "linux" }.to_owned().into();
    envelope.host.arch = "unknown".into();
    (envelope.host.kernel, envelope.host.uptime_ms, envelope.host.init) = (None, None, None);
    envelope.host.root = false;
    envelope.elapsed_ms = 0;
    let server = &mut envelope.servers[0];
    (server.gaps, server.examined, server.pid_files) = (Vec::new(), Vec::new(), Vec::new());
    (server.descriptors, server.lineage, server.health, server.listeners) = (None, None, None, None);
    server.databases = Vec::new();
    build(server);
    wording::judge(server);
    envelope.status = server.status;
    assert_ne!(envelope.status, Status::Unknown, "{}", reported.name);
    Some(envelope)
}

/// Sets the identity of the server; of its process only the command line is known yet.
fn is(server: &mut Server, kind: ServerKind, port: Option<u16>, command: &str) {
    (server.kind, server.pid, server.port, server.home) = (kind, Some(PID), port, Some(HOME.into()));
    server.expectation.named_by = Vec::new();
    server.expectation.any_program = false;
    let process = server.process.as_mut().unwrap();
    process.identity.pid = PID;
    process.ppid = 1;
    process.command = Some(command.to_owned().into());
    process.namespace_pids = vec![PID];
    (process.session, process.process_group) = (4711, 4711);
    (process.executable, process.user, process.start_time, process.cgroup) = (None, None, None, None);
    (process.age_ms, process.threads, process.resident_bytes, process.home) = (None, None, None, None);
    (process.foreign_network, process.foreign_mounts, process.network_namespace) = (None, None, None);
}

fn up(server: &mut Server, age_ms: u64) {
    server.process.as_mut().unwrap().age_ms = Some(age_ms);
}

/// Open descriptors, their soft limit, the known kinds, and those on state.db, its log and its index.
fn descriptors(server: &mut Server, open: u64, limit: u64, kinds: &[(&str, u64)], of_state: (u64, u64, u64)) {
    let (db, wal, shm) = of_state;
    let family = SqliteFamily { path: STATE_DB.into(), db, wal, shm, deleted: 0, connections: wal };
    server.examined.push(Part::Descriptors);
    server.descriptors = Some(Descriptors {
        open: Some(open),
        soft_limit: Some(limit),
        by_kind: kinds.iter().map(|(kind, count)| ((*kind).into(), *count)).collect(),
        sqlite: Some(family).filter(|family| family.db > 0).into_iter().collect(),
        ..Descriptors::default()
    });
}

fn claim(kind: &str, name: &str, state: &str) -> Supervisor {
    Supervisor { kind: kind.into(), name: Some(name.into()), state: Some(state.into()), ..Supervisor::default() }
}

fn lineage_of(server: &Server, supervisor: Supervisor) -> Lineage {
    let command = server.process.as_ref().and_then(|process| process.command.clone()).unwrap_or_default();
    Lineage {
        hops: vec![Hop {
            pid: PID,
            ppid: 1,
            start_time: None,
            age_ms: server.process.as_ref().and_then(|process| process.age_ms),
            user: None,
            role: Role::Server,
            name: Some(server.kind.word().into()),
            command,
            evidence: "its command line".into(),
        }],
        supervisor,
        expected: None,
        detached: true,
        detached_because: "its parent is pid 1".into(),
        session: None,
        process_group: None,
        cgroup: None,
        unit: None,
        markers: Default::default(),
        relaunch: None,
        raw_claims: Vec::new(),
        claims: Vec::new(),
        relatives: Vec::new(),
        siblings: Vec::new(),
    }
}

/// Its supervisor claims it.
fn supervised(server: &mut Server, kind: &str, name: &str, state: &str) {
    let supervisor = Supervisor {
        claimed_pid: Some(PID),
        claims_this: Some(true),
        evidence: format!("{kind} names its pid").into(),
        ..claim(kind, name, state)
    };
    server.examined.push(Part::Lineage);
    server.lineage = Some(lineage_of(server, supervisor));
}

/// A supervisor that should run it, and claims another process or none.
fn rival(server: &mut Server, kind: &str, name: &str, state: Option<&str>, claimed_pid: Option<u32>) {
    let mut supervisor = Supervisor {
        claimed_pid,
        claims_this: Some(false),
        evidence: "this process is not the one that it names".into(),
        ..claim(kind, name, state.unwrap_or_default())
    };
    supervisor.state = state.map(str::to_owned).map(Into::into);
    let mut lineage = lineage_of(server, supervisor);
    lineage.expected = Some(Expected {
        kind: kind.into(),
        name: name.into(),
        pid: None,
        why: "its command is this server".into(),
        named: false,
    });
    server.examined.push(Part::Lineage);
    server.lineage = Some(lineage);
}

fn watched(lineage: &mut Lineage, states: &[&str], pids: &[u32]) {
    lineage.relaunch = Some(Relaunch {
        of: Some(lineage.supervisor.title().into()),
        observed_ms: 10_000,
        pids: pids.to_vec(),
        states: states.iter().map(|state| (*state).into()).collect(),
        ..Relaunch::default()
    });
}

/// Children that it does not reap, as process 1 of its container.
fn zombies(server: &mut Server, count: u32) {
    let process = server.process.as_mut().unwrap();
    process.namespace_pids = vec![PID, 1];
    process.zombie_children = (5000..5000 + count).collect();
    supervised(server, "docker", "hermes", "running");
}

fn attempt(server: &Server, path: &str, outcome: Outcome, first_byte_ms: f64) -> Attempt {
    let port = server.port.unwrap_or(8787);
    let error = match outcome {
        Outcome::Ok => None,
        _ => Some("no byte".to_owned()),
    };
    Attempt {
        url: format!("http://127.0.0.1:{port}{path}").into(),
        address: Some(format!("127.0.0.1:{port}").into()),
        outcome,
        http_status: (outcome == Outcome::Ok).then_some(200),
        server_header: None,
        redirect_to: None,
        phases: vec![Phase { name: PhaseName::FirstByte, ms: first_byte_ms, error: error.map(Into::into) }],
        bytes_received: 0,
        answer: None,
    }
}

fn asked(server: &mut Server, attempt: Attempt) {
    server.examined.push(Part::Health);
    server.health = Some(Health {
        url: Some(attempt.url.clone()),
        outcome: attempt.outcome,
        http_status: attempt.http_status,
        phases: attempt.phases.clone(),
        bytes_received: attempt.bytes_received,
        decided_by: Some(0),
        attempts: vec![attempt],
        ..Health::default()
    });
}

fn answers(server: &mut Server, path: &str) {
    let attempt = attempt(server, path, Outcome::Ok, 2.0);
    asked(server, attempt);
}

fn fails(server: &mut Server, outcome: Outcome, error: &str) {
    let mut attempt = attempt(server, "/api/status", outcome, 0.0);
    attempt.phases[0].error = Some(error.to_owned().into());
    asked(server, attempt);
}

/// Connected, no byte received within the default timeout of 2 s, and the activity of its threads in that time.
fn waits(server: &mut Server, activity: Option<Activity>) {
    let path = if server.kind == ServerKind::Dashboard { "/api/status" } else { "/health" };
    let attempt = attempt(server, path, Outcome::NoAnswer, 2000.0);
    asked(server, attempt);
    server.health.as_mut().unwrap().activity = activity.map(|activity| Activity { path: path.into(), ..activity });
}

/// Threads, the main one first, each in this many samples without any progress.
fn threads(seen: &[ThreadSample], looks: usize) -> Activity {
    let threads = (PID..).zip(seen).map(|(tid, look)| Thread {
        tid,
        name: "python".into(),
        is_main: tid == PID,
        is_new: false,
        looks: vec![look.clone(); looks],
        cpu_ms: Some(0),
        sleeps: Some(0),
    });
    Activity { between_ms: 1500, threads: threads.collect(), ..Activity::default() }
}

/// It listens and accepts no connection; sampled after these milliseconds.
fn listens(server: &mut Server, after_ms: &[u64]) {
    let port = server.port.unwrap();
    server.listeners = Some(Listeners {
        port,
        sockets: vec![Listener {
            address: "0.0.0.0".into(),
            family: "ipv4".into(),
            inode: 1,
            accept_queue: 1,
            backlog: None,
            unit: None,
            cgroup: None,
            uid: 0,
            holders: Vec::new(),
        }],
        holders_complete: false,
        holders: Vec::new(),
        connections: Connections::default(),
        looks: after_ms
            .iter()
            .map(|after| PortSample {
                after_connect_ms: *after,
                accept_queue: 1,
                not_accepted: 1,
                probe_accepted: Some(false),
                accepted_since: 0,
                unanswered: None,
                answered_since: 0,
            })
            .collect(),
    });
}

/// Its state.db, in WAL mode.
fn database(server: &mut Server) -> &mut DatabaseFile {
    server.examined.push(Part::Databases);
    server.databases.push(DatabaseFile {
        path: STATE_DB.into(),
        size_bytes: None,
        header: None,
        journal_mode: "wal".into(),
        wal: None,
        index: None,
        written: Vec::new(),
        locks: Vec::new(),
        holders: Vec::new(),
        looked_again: None,
        read_as: None,
    });
    server.databases.last_mut().unwrap()
}

fn holder(
    pid: u32,
    command: &str,
    open: (u64, u64, u64),
    deleted: u64,
    has_shared_lock: Option<bool>,
) -> DatabaseHolder {
    DatabaseHolder {
        pid,
        command: command.into(),
        descriptors_db: open.0,
        descriptors_wal: open.1,
        descriptors_shm: open.2,
        deleted,
        replaced: 0,
        has_shared_lock,
        same_pid_namespace: true,
        reads_only: false,
    }
}
