//! Metrics in the text format of OpenMetrics 1.0, limited to the part that the older text format of Prometheus
//! has too, which the textfile collector of node_exporter reads: gauges only, names that end in their unit, no
//! timestamps.

use super::fleet::{self, Name};
use crate::model::{Envelope, Gap, GapReason, Outcome, PhaseName, Server, Severity, SupervisorKind, Timestamp};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};
use std::collections::BTreeMap;
use std::fmt;
use std::time::SystemTime;

/// The start of the file, which identifies an earlier file of this program.
pub const BEGIN: &str = "# HELP hermes_doctor_";

/// Prefix of all names.
const PREFIX: &str = "hermes_doctor";

/// One family of metrics. Names and labels are part of the interface: alerts and dashboards rely on them.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// Name without the prefix and the unit.
    name: &'static str,
    unit: Option<Base>,
    /// Meaning of the value.
    pub help: &'static str,
    of: Of,
}

/// Units of OpenMetrics that are used.
#[derive(Clone, Copy, Debug)]
enum Base {
    Seconds,
    Bytes,
}

/// Source of the samples of a family.
#[derive(Clone, Copy, Debug)]
enum Of {
    Run(fn(&Envelope, &mut Samples)),
    Server(fn(&Server, &mut Samples)),
}

impl Family {
    /// The full name.
    pub fn full_name(&self) -> String {
        match self.unit {
            Some(Base::Seconds) => format!("{PREFIX}_{}_seconds", self.name),
            Some(Base::Bytes) => format!("{PREFIX}_{}_bytes", self.name),
            None => format!("{PREFIX}_{}", self.name),
        }
    }
}

const fn run(
    name: &'static str,
    unit: Option<Base>,
    help: &'static str,
    of: fn(&Envelope, &mut Samples),
) -> Family {
    Family { name, unit, help, of: Of::Run(of) }
}

const fn server(
    name: &'static str,
    unit: Option<Base>,
    help: &'static str,
    of: fn(&Server, &mut Samples),
) -> Family {
    Family { name, unit, help, of: Of::Server(of) }
}

/// All families, in output order.
pub const FAMILIES: &[Family] = &[
    run("build_info", None, "The program and the system that it examined. Always 1.", |envelope, out| {
        let os = known(&envelope.host.os, &["linux", "macos"]);
        let arch = known(&envelope.host.arch, &["aarch64", "x86_64"]);
        out.add(&[("version", env!("CARGO_PKG_VERSION")), ("os", os), ("arch", arch)], 1);
    }),
    run(
        "status",
        None,
        "Status of the host: 0 healthy, 1 warning, 2 critical, 3 inconclusive.",
        |envelope, out| {
            out.add(&[], u64::from(envelope.status.exit_code()));
        },
    ),
    run(
        "last_run_timestamp",
        Some(Base::Seconds),
        "When the examination began, in seconds since 1970.",
        |envelope, out| {
            out.real(&[], since_1970(&envelope.started_at));
        },
    ),
    run("run_duration", Some(Base::Seconds), "Duration of the examination.", |envelope, out| {
        out.real(&[], Some(fleet::in_seconds(envelope.elapsed_ms as f64)));
    }),
    run("servers", None, "Examined servers.", |envelope, out| {
        out.add(&[], count(envelope.servers.len()));
    }),
    run(
        "servers_omitted",
        None,
        "Number of examined servers beyond the first 64; these have no other metrics.",
        |envelope, out| {
            out.add(&[], count(envelope.servers.len().saturating_sub(fleet::MAX_SERVERS)));
        },
    ),
    run("gaps", None, "Facts of the host that could not be read, by reason.", |envelope, out| {
        gaps(&envelope.gaps, out)
    }),
    run(
        "host_finding",
        None,
        "A finding of the host as a whole; the value is the number of findings with this id.",
        |envelope, out| {
            let found = envelope.findings.iter().map(|finding| (finding.id.as_str(), finding.severity, false));
            findings(found, &["id", "severity"], out);
        },
    ),
    server(
        "server_status",
        None,
        "Status of the server: 0 healthy, 1 warning, 2 critical, 3 inconclusive.",
        |server, out| {
            out.add(&[], u64::from(server.status.exit_code()));
        },
    ),
    server("server_info", None, "The kind of the supervisor. Always 1.", |server, out| {
        let supervisor = match &server.lineage {
            None => "not_examined",
            Some(lineage) => supervisor_label(&lineage.supervisor.kind),
        };
        out.add(&[("supervisor", supervisor)], 1);
    }),
    server("server_gaps", None, "Facts of the server that could not be read, by reason.", |server, out| {
        gaps(&server.gaps, out)
    }),
    server(
        "finding",
        None,
        "A finding of the server; the value is the number of findings with this id, and the label root shows whether it is a root cause.",
        |server, out| {
            let found = server
                .findings
                .iter()
                .map(|finding| (finding.id.as_str(), finding.severity, server.root_causes.contains(&finding.id)));
            findings(found, &["id", "severity", "root"], out);
        },
    ),
    server(
        "process_start_time",
        Some(Base::Seconds),
        "When the process started, in seconds since 1970.",
        |server, out| {
            let started = server.process.as_ref().and_then(|process| process.start_time.as_ref());
            out.real(&[], started.and_then(since_1970));
        },
    ),
    server("process_resident", Some(Base::Bytes), "Resident memory of the process.", |server, out| {
        out.maybe(&[], server.process.as_ref().and_then(|process| process.resident_bytes));
    }),
    server("process_threads", None, "Threads of the process.", |server, out| {
        out.maybe(&[], server.process.as_ref().and_then(|process| process.threads));
    }),
    server("descriptors_open", None, "Open descriptors.", |server, out| {
        out.maybe(&[], server.descriptors.as_ref().and_then(|descriptors| descriptors.open));
    }),
    server(
        "descriptors_limit",
        None,
        "Soft limit of descriptors of the running process; absent without a limit.",
        |server, out| {
            out.maybe(&[], server.descriptors.as_ref().and_then(|descriptors| descriptors.soft_limit));
        },
    ),
    server("close_wait_sockets", None, "Sockets that the peer closed and the server did not.", |server, out| {
        let descriptors = server.descriptors.as_ref();
        out.maybe(
            &[],
            descriptors.and_then(|descriptors| descriptors.close_wait.as_ref()).map(|sockets| sockets.first),
        );
    }),
    server("database_handles", None, "Descriptors on a SQLite database and its companions.", |server, out| {
        for (database, handles) in fleet::handles(server) {
            for (file, count) in [("db", handles.db), ("wal", handles.wal), ("shm", handles.shm)] {
                out.add(&[("database", database), ("file", file)], count);
            }
        }
    }),
    server("database_connections", None, "Estimated SQLite connections of these handles.", |server, out| {
        for (database, handles) in fleet::handles(server) {
            out.add(&[("database", database)], handles.connections);
        }
    }),
    server(
        "database_size",
        Some(Base::Bytes),
        "Size of a SQLite database and of its write-ahead log.",
        |server, out| {
            for (database, sizes) in fleet::sizes(&server.databases) {
                out.maybe(&[("database", database), ("file", "db")], sizes.db);
                out.maybe(&[("database", database), ("file", "wal")], sizes.wal);
            }
        },
    ),
    server("accept_queue", None, "Pending connections in the accept queue.", |server, out| {
        let listeners = server.listeners.as_ref().filter(|listeners| !listeners.sockets.is_empty());
        out.maybe(&[], listeners.map(crate::model::Listeners::queued));
    }),
    server(
        "accept_queue_limit",
        None,
        "Limit of the accept queue, for all listening sockets of the port.",
        |server, out| {
            let sockets = server.listeners.iter().flat_map(|listeners| &listeners.sockets);
            let backlogs: Option<Vec<u64>> = sockets.map(|socket| socket.backlog.map(u64::from)).collect();
            out.maybe(&[], backlogs.filter(|backlogs| !backlogs.is_empty()).map(|backlogs| backlogs.iter().sum()));
        },
    ),
    server("connections", None, "Connections of the port, by state.", |server, out| {
        if let Some(listeners) = &server.listeners {
            let connections = listeners.connections;
            out.add(&[("state", "established")], connections.established);
            out.add(&[("state", "close_wait")], connections.close_wait);
            out.add(&[("state", "not_accepted")], connections.not_accepted);
        }
    }),
    server(
        "health_ok",
        None,
        "Whether the health path returns a good answer or a login page: 1 or 0.",
        |server, out| {
            out.maybe(&[], server.health.as_ref().and_then(fleet::is_answering).map(u64::from));
        },
    ),
    server("health_outcome", None, "Outcome of the request for the health path. Always 1.", |server, out| {
        if let Some(health) = &server.health {
            out.add(&[("outcome", outcome(health.outcome))], 1);
        }
    }),
    server("health_http_status", None, "HTTP status of the answer.", |server, out| {
        out.maybe(&[], server.health.as_ref().and_then(|health| health.http_status).map(u64::from));
    }),
    server(
        "health_phase",
        Some(Base::Seconds),
        "Duration of each phase of the request for the health path.",
        |server, out| {
            for phase in server.health.iter().flat_map(|health| &health.phases) {
                out.real(&[("phase", phase_word(phase.name))], Some(fleet::in_seconds(phase.ms)));
            }
        },
    ),
    server(
        "health_duration",
        Some(Base::Seconds),
        "Duration of that request, or the time until it failed.",
        |server, out| {
            out.real(&[], server.health.as_ref().and_then(|health| fleet::seconds(&health.phases)));
        },
    ),
    server(
        "route_duration",
        Some(Base::Seconds),
        "Longest duration of a request for another path, or the time until it failed.",
        |server, out| {
            let times = server
                .health
                .iter()
                .flat_map(|health| &health.routes)
                .map(|route| fleet::in_seconds(route.took_ms()));
            out.real(&[], times.reduce(f64::max));
        },
    ),
    server(
        "supervisor_claims",
        None,
        "Whether a supervisor claims the process: 1 or 0; absent if unknown.",
        |server, out| {
            out.maybe(
                &[],
                server.lineage.as_ref().and_then(|lineage| lineage.supervisor.claims_this).map(u64::from),
            );
        },
    ),
    server(
        "supervisor_restarts",
        None,
        "Automatic restarts that the supervisor counted; reset when the supervisor restarts.",
        |server, out| {
            out.maybe(&[], server.lineage.as_ref().and_then(fleet::restarts));
        },
    ),
];

/// Container runtimes that are not queried, by the words of [`SupervisorKind::Other`].
const OTHER_RUNTIMES: &[&str] = &["containerd", "cri-o"];

/// The label of a supervisor: a fixed word, never the name of a program of the host.
fn supervisor_label(kind: &SupervisorKind) -> &'static str {
    match kind {
        SupervisorKind::Other(name) => known(name, OTHER_RUNTIMES),
        SupervisorKind::Process | SupervisorKind::Demo => fleet::OTHER,
        kind => kind.own_word().unwrap_or(fleet::OTHER),
    }
}

/// The complete text, with its last line `# EOF`. Every label is a fixed word of this program, a kind, or a
/// port.
///
/// # Errors
/// When a value cannot be written in the format.
pub fn openmetrics(envelope: &Envelope) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Measured::of(envelope)));
    let mut out = String::new();
    prometheus_client::encoding::text::encode(&mut out, &registry)?;
    Ok(out)
}

type Labels = Vec<(&'static str, String)>;

/// The samples of one family.
#[derive(Debug, Default)]
struct Samples {
    /// Labels of the server.
    of: Labels,
    all: Vec<(Labels, Value)>,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Whole(i64),
    Real(f64),
}

impl Samples {
    fn add(&mut self, labels: &[(&'static str, &'static str)], value: u64) {
        self.push(labels, Value::Whole(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn maybe(&mut self, labels: &[(&'static str, &'static str)], value: Option<u64>) {
        if let Some(value) = value {
            self.add(labels, value);
        }
    }

    /// Adds a floating-point value; values that are not finite are left out.
    fn real(&mut self, labels: &[(&'static str, &'static str)], value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.push(labels, Value::Real(value));
        }
    }

    fn push(&mut self, labels: &[(&'static str, &'static str)], value: Value) {
        let own = labels.iter().map(|(name, value)| (*name, (*value).to_owned()));
        self.all.push((self.of.iter().cloned().chain(own).collect(), value));
    }
}

/// The measured values of an envelope.
#[derive(Debug)]
struct Measured(Vec<(Family, Samples)>);

impl Measured {
    fn of(envelope: &Envelope) -> Self {
        let mut named: Vec<(Name, &Server)> = fleet::names(envelope).into_iter().zip(&envelope.servers).collect();
        // The output has the same order, whatever the order of discovery.
        named.sort_by(|(a, _), (b, _)| a.server.cmp(&b.server));
        named.truncate(fleet::MAX_SERVERS);
        let measure = |family: &Family| {
            let mut samples = Samples::default();
            match family.of {
                Of::Run(measure) => measure(envelope, &mut samples),
                Of::Server(measure) => {
                    for (name, server) in &named {
                        samples.of = vec![("server", name.server.clone()), ("kind", server.kind.word().to_owned())];
                        samples.of.extend(name.port.map(|port| ("port", port.to_string())));
                        measure(server, &mut samples);
                    }
                }
            }
            (*family, samples)
        };
        Self(FAMILIES.iter().map(measure).filter(|(_, samples)| !samples.all.is_empty()).collect())
    }
}

impl Collector for Measured {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for (family, samples) in &self.0 {
            let unit = family.unit.map(|unit| match unit {
                Base::Seconds => Unit::Seconds,
                Base::Bytes => Unit::Bytes,
            });
            let name = format!("{PREFIX}_{}", family.name);
            let mut metrics = encoder.encode_descriptor(&name, family.help, unit.as_ref(), MetricType::Gauge)?;
            for (labels, value) in &samples.all {
                // A metric without labels has no braces.
                if labels.is_empty() {
                    write(&mut metrics, *value)?;
                } else {
                    write(&mut metrics.encode_family(labels)?, *value)?;
                }
            }
        }
        Ok(())
    }
}

fn write(encoder: &mut MetricEncoder<'_>, value: Value) -> fmt::Result {
    match value {
        Value::Whole(value) => encoder.encode_gauge(&value),
        Value::Real(value) => encoder.encode_gauge(&value),
    }
}

fn findings<'a>(found: impl Iterator<Item = (&'a str, Severity, bool)>, names: &[&'static str], out: &mut Samples) {
    let mut counted: BTreeMap<(&'static str, Severity, bool), u64> = BTreeMap::new();
    for (id, severity, is_root) in found {
        *counted.entry((fleet::known_id(id), severity, is_root)).or_default() += 1;
    }
    for ((id, severity, is_root), count) in counted {
        let severity = match severity {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Critical => "critical",
        };
        let values = [id, severity, if is_root { "true" } else { "false" }];
        let labels: Vec<(&'static str, &'static str)> = names.iter().copied().zip(values).collect();
        out.add(&labels, count);
    }
}

/// Writes all reasons, including those that do not occur: alerts need series that do not disappear.
fn gaps(gaps: &[Gap], out: &mut Samples) {
    for (reason, word) in [
        (GapReason::Permission, "permission"),
        (GapReason::Vanished, "vanished"),
        (GapReason::Timeout, "timeout"),
        (GapReason::NotFound, "not_found"),
        (GapReason::Malformed, "malformed"),
        (GapReason::NotAsked, "not_asked"),
        (GapReason::Unsupported, "unsupported"),
    ] {
        out.add(&[("reason", word)], count(gaps.iter().filter(|gap| gap.reason == reason).count()));
    }
}

fn known(word: &str, words: &'static [&'static str]) -> &'static str {
    words.iter().copied().find(|known| *known == word).unwrap_or(fleet::OTHER)
}

fn count(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn since_1970(at: &Timestamp) -> Option<f64> {
    Some(at.time()?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs_f64())
}

fn phase_word(phase: PhaseName) -> &'static str {
    match phase {
        PhaseName::Resolve => "resolve",
        PhaseName::Connect => "connect",
        PhaseName::Tls => "tls",
        PhaseName::Request => "request",
        PhaseName::FirstByte => "first_byte",
        PhaseName::Headers => "headers",
        PhaseName::Body => "body",
    }
}

/// The name in the JSON.
fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Ok => "ok",
        Outcome::Degraded => "degraded",
        Outcome::Guarded => "guarded",
        Outcome::Overloaded => "overloaded",
        Outcome::Unexpected => "unexpected",
        Outcome::Refused => "refused",
        Outcome::ConnectTimeout => "connect_timeout",
        Outcome::Unreachable => "unreachable",
        Outcome::ResolveFailed => "resolve_failed",
        Outcome::NoAnswer => "no_answer",
        Outcome::Incomplete => "incomplete",
        Outcome::Empty => "empty",
        Outcome::Reset => "reset",
        Outcome::TlsFailed => "tls_failed",
        Outcome::NotHttp => "not_http",
        Outcome::NotApplicable => "not_applicable",
        Outcome::NotProbed => "not_probed",
    }
}
