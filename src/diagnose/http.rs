//! Findings from the HTTP examination and the accept queue of the port.

use super::verdict::{Verdict, finding};
use super::wedge::{after_accept, counted, main_thread, main_thread_instead, see_stacks};
use crate::model::{
    Attempt, Evidence, Finding, Health, NextStep, Outcome, Phase, PortSample, Server, Severity, id,
};

/// Adds the findings from the HTTP examination.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    let Some(health) = &server.health else { return };
    if matches!(health.outcome, Outcome::NotApplicable | Outcome::NotProbed | Outcome::ResolveFailed) {
        return;
    }
    let facts = Facts::of(server, health);
    // Undecided: the server may be starting, or be healthy with the other scheme, which was not tried.
    let undecided = is_undecided(server);
    let decided = |found: Option<Finding>| found.filter(|_| !undecided);
    if !verdict.holds(id::SERVER_NOT_RUNNING) {
        verdict.decide(id::CONNECTION_REFUSED, decided(facts.refused()));
    }
    // Without samples of the queue it is unknown whether a server that does not answer accepts connections.
    let looked = health.outcome.is_answer() || !facts.looks.is_empty() || health.outcome == Outcome::Refused;
    if looked || !matches!(health.outcome, Outcome::NoAnswer | Outcome::ConnectTimeout) {
        verdict.decide(id::ACCEPT_STALLED, decided(facts.accept_stalled(server)));
    }
    verdict.decide(id::REPLY_EMPTY, decided(facts.reply_empty()));
    verdict.decide(id::CONNECTION_RESET, decided(facts.reset()));
    verdict.decide(id::WORKERS_EXHAUSTED, facts.workers_exhausted());
    verdict.decide(id::HEALTH_DEGRADED, facts.degraded());
    verdict.decide(id::HEALTH_UNEXPECTED_ANSWER, decided(facts.unexpected(server)));
    verdict.decide(id::WRONG_SCHEME, wrong_scheme(health));
    verdict.decide(id::WRONG_ADDRESS_FAMILY, wrong_family(server, health));
    let established = [id::ACCEPT_STALLED, id::BACKLOG_FULL, id::HANDLERS_STUCK, id::GIL_HELD]
        .into_iter()
        .any(|id| verdict.holds(id));
    verdict.decide(id::HTTP_NO_ANSWER, decided(facts.no_answer(server)).filter(|_| !established));
    facts.now_and_then().into_iter().chain(facts.left_open(server)).for_each(|found| verdict.raise(found));
}

/// Whether a gap leaves the result of the HTTP examination undecided.
pub fn is_undecided(server: &Server) -> bool {
    server.gaps.iter().any(|gap| gap.blocks.iter().any(|blocked| blocked == id::CONNECTION_REFUSED))
}

struct Facts<'a> {
    health: &'a Health,
    looks: &'a [PortSample],
    /// ` --pid N`, for commands in next steps.
    selector: String,
}

impl<'a> Facts<'a> {
    fn of(server: &'a Server, health: &'a Health) -> Self {
        let looks = server.listeners.as_ref().map_or(&[][..], |listeners| &listeners.looks);
        Self { health, looks, selector: super::selector(server) }
    }

    fn evidence(&self) -> Vec<Evidence> {
        let mut evidence = vec![
            Evidence::new("request", format!("GET {}", self.health.url.as_deref().unwrap_or("")), "HTTP probe"),
            Evidence::new("outcome", self.health.outcome.words(), "HTTP probe"),
            Evidence::new("bytes received", self.health.bytes_received, "HTTP probe"),
        ];
        if let Some(status) = self.health.http_status {
            evidence.push(Evidence::new("HTTP status", status, "HTTP probe"));
        }
        for phase in &self.health.phases {
            evidence.push(Evidence::new(phase_fact(phase), phase.ms, "HTTP probe"));
        }
        evidence
    }

    fn raise(&self, id: &'static str, severity: Severity, title: String, next: Vec<NextStep>) -> Finding {
        finding(id, severity, title, self.evidence(), next)
    }

    fn failed(&self) -> Option<&Phase> {
        self.health.phases.iter().find(|phase| phase.error.is_some())
    }

    fn refused(&self) -> Option<Finding> {
        if self.health.outcome != Outcome::Refused {
            return None;
        }
        let addresses: Vec<&str> =
            self.health.attempts.iter().filter_map(|attempt| attempt.address.as_deref()).collect();
        let title = match addresses.as_slice() {
            [] => "the process lives and listens on no TCP port".to_owned(),
            addresses => format!("connections are refused on {}", addresses.join(" and ")),
        };
        let next = vec![NextStep::say("Read its log for a failed bind or a start that hangs")];
        Some(self.raise(id::CONNECTION_REFUSED, Severity::Critical, title, next))
    }

    /// The queue did not drain while the probe waited, and the connection of the probe was never accepted.
    fn accept_stalled(&self, server: &Server) -> Option<Finding> {
        if !matches!(self.health.outcome, Outcome::NoAnswer | Outcome::ConnectTimeout) {
            return None;
        }
        let (first, last) = (self.looks.first()?, self.looks.last()?);
        // A queue of the same length can hold other connections: it matters whether any of them was accepted.
        let waits =
            self.looks.len() >= 2 && first.accept_queue > 0 && last.accept_queue > 0 && last.accepted_since == 0;
        let could_connect = self.health.outcome == Outcome::NoAnswer;
        let probe_waits = self.looks.iter().all(|look| look.probe_accepted == Some(false));
        if !waits || could_connect && !probe_waits {
            return None;
        }
        let mut next =
            vec![NextStep::run("see the queue", format!("hermes-doctor port --port {}", server.port.unwrap_or(0)))];
        if main_thread_instead(self.health.activity.as_ref(), self.looks).is_some() {
            next.push(see_stacks(server, "see where the main thread is"));
        }
        let mut found = self.raise(
            id::ACCEPT_STALLED,
            Severity::Critical,
            format!(
                "nothing is accepted: {}, owned by nobody{}",
                counted(last.not_accepted.max(last.accept_queue), "connection waits", "connections wait"),
                main_thread_instead(self.health.activity.as_ref(), self.looks)
                    .map_or(String::new(), |what| format!("; {what}"))
            ),
            next,
        );
        for (name, look) in [("first", first), ("last", last)] {
            let when = format!("sock_diag, {} ms after the probe's connection", look.after_connect_ms);
            found.evidence.push(Evidence::new(
                format!("accept queue at the {name} look"),
                look.accept_queue,
                &when,
            ));
            found.evidence.push(Evidence::new(
                format!("connections owned by nobody at the {name} look"),
                look.not_accepted,
                when,
            ));
        }
        found.evidence.extend(main_thread(self.health.activity.as_ref(), server.pid));
        Some(found)
    }

    fn no_answer(&self, server: &Server) -> Option<Finding> {
        let what = match self.health.outcome {
            Outcome::NoAnswer => "connected, no byte received".to_owned(),
            Outcome::ConnectTimeout => "no connection".to_owned(),
            Outcome::TlsFailed => "the TLS handshake failed".to_owned(),
            Outcome::Incomplete => {
                let bytes = counted(self.health.bytes_received, "byte", "bytes");
                // The server closed the response early, or has not finished it yet.
                let is_late = self.failed().is_some_and(|phase| phase.error.as_deref().is_some_and(is_time_out));
                match is_late {
                    true => format!("no whole answer, {bytes}"),
                    false => format!("the answer broke off after {bytes}"),
                }
            }
            _ => return None,
        };
        let draining = match self.looks {
            [first, .., last] => {
                last.accept_queue < first.accept_queue || last.accepted_since > 0 || last.answered_since > 0
            }
            _ => false,
        };
        let accepted = self.looks.last().and_then(|look| look.probe_accepted) == Some(true);
        let where_ = match (draining, accepted) {
            (true, _) => "; others are served meanwhile, so it is busy".to_owned(),
            (false, true) => match after_accept(self.health.activity.as_ref()) {
                Some(what) => format!("; the connection was accepted, and {what}"),
                None => "; the connection was accepted, so its handler is slow or stuck".to_owned(),
            },
            (false, false) => String::new(),
        };
        let seconds = self.failed().map_or(0.0, |phase| phase.ms / 1000.0);
        let severity = if draining { Severity::Warning } else { Severity::Critical };
        let next = match server.pid {
            Some(pid) => {
                vec![NextStep::run("see what it does", format!("hermes-doctor check --pid {pid} --verbose"))]
            }
            None => Vec::new(),
        };
        let mut found = self.raise(id::HTTP_NO_ANSWER, severity, format!("{what} in {seconds:.1} s{where_}"), next);
        if let Some(look) = self.looks.last() {
            found.evidence.push(Evidence::new("accept queue at the last look", look.accept_queue, "sock_diag"));
            if let Some(accepted) = look.probe_accepted {
                found.evidence.push(Evidence::new("the probe's connection was accepted", accepted, "sock_diag"));
            }
        }
        found.evidence.extend(main_thread(self.health.activity.as_ref(), server.pid));
        Some(found)
    }

    /// Answered first, but not every time.
    fn now_and_then(&self) -> Option<Finding> {
        let series = self.health.series.as_ref().filter(|_| self.health.outcome.is_answer())?;
        let unanswered = series.outcomes.iter().filter(|known| !known.outcome.is_answer());
        let count: u64 = unanswered.clone().map(|known| known.count).fold(0, u64::saturating_add);
        (count > 0).then(|| {
            let title = format!("{count} of {} requests were not answered", series.requests);
            let next = vec![NextStep::run(
                "see its descriptors and queue",
                format!("hermes-doctor check{}", self.selector),
            )];
            let mut found = self.raise(id::HTTP_NO_ANSWER, Severity::Warning, title, next);
            let each = unanswered.map(|known| Evidence::new(known.outcome.words(), known.count, "HTTP probe"));
            found.evidence.extend(each);
            found
        })
    }

    /// A series of requests that leave descriptors open.
    fn left_open(&self, server: &Server) -> Option<Finding> {
        let series = self.health.series.as_ref()?;
        let (before, after) = (series.open_before?, series.open_after?);
        let left = after.saturating_sub(before);
        // Connections of the last requests may not be closed yet.
        if left < 10 || left.saturating_mul(2) < series.requests {
            return None;
        }
        let limit = server.descriptors.as_ref().and_then(|facts| facts.soft_limit);
        let of = limit.map_or(String::new(), |limit| format!(" of {limit}"));
        let title =
            format!("{} requests left {left} descriptors open: {before} became {after}{of}", series.requests);
        let evidence = vec![
            Evidence::new("open descriptors before the requests", before, "/proc/PID/fd"),
            Evidence::new("open descriptors after the requests", after, "/proc/PID/fd"),
            Evidence::new("requests", series.requests, "HTTP probe"),
        ];
        let next = vec![NextStep::run("see what they are", format!("hermes-doctor fds --all{}", self.selector))];
        Some(finding(id::DESCRIPTOR_GROWTH, Severity::Warning, title, evidence, next))
    }

    fn reply_empty(&self) -> Option<Finding> {
        (self.health.outcome == Outcome::Empty).then(|| {
            self.raise(
                id::REPLY_EMPTY,
                Severity::Critical,
                "the connection is closed without a byte".to_owned(),
                vec![NextStep::say("The handler failed before it wrote: its traceback is in the server's log")],
            )
        })
    }

    fn reset(&self) -> Option<Finding> {
        (self.health.outcome == Outcome::Reset).then(|| {
            let phase = self.failed().map_or("", |phase| phase.name.words());
            self.raise(
                id::CONNECTION_RESET,
                Severity::Critical,
                format!("the connection is reset at {phase}, after {} bytes", self.health.bytes_received),
                vec![NextStep::run("look at its descriptors", format!("hermes-doctor fds{}", self.selector))],
            )
        })
    }

    fn workers_exhausted(&self) -> Option<Finding> {
        (self.health.outcome == Outcome::Overloaded).then(|| {
            self.raise(
                id::WORKERS_EXHAUSTED,
                Severity::Critical,
                "every worker is busy: 503 without a body".to_owned(),
                vec![NextStep::say("Take the server's stacks before a restart: they show where the workers wait")],
            )
        })
    }

    fn degraded(&self) -> Option<Finding> {
        if self.health.outcome != Outcome::Degraded {
            return None;
        }
        let failed = self.health.answer.as_ref().map_or(&[][..], |answer| &answer.failed_checks);
        let title = if failed.is_empty() {
            "the server says that it is degraded".to_owned()
        } else {
            format!("the server says that it is degraded: {}", failed.join(", "))
        };
        let mut found = self.raise(id::HEALTH_DEGRADED, Severity::Critical, title, Vec::new());
        for (name, status) in self.health.answer.iter().flat_map(|answer| &answer.checks) {
            found.evidence.push(Evidence::new(format!("check {name}"), status.clone(), "the server's own answer"));
        }
        let command = format!("hermes-doctor health --deep{}", self.selector);
        found.next.push(NextStep::run("ask for its own deep check", command));
        Some(found)
    }

    fn unexpected(&self, server: &Server) -> Option<Finding> {
        let status = self.health.http_status.unwrap_or(0);
        let (severity, title) = match self.health.outcome {
            Outcome::Guarded => {
                let to = self.health.redirect_to.as_deref().map_or(String::new(), |to| format!(" to {to}"));
                (Severity::Info, format!("alive: it answers {status}{to}"))
            }
            Outcome::Unexpected if status >= 500 => (Severity::Critical, format!("it answers {status}")),
            Outcome::Unexpected => {
                (Severity::Warning, format!("it answers {status}, not in the shape of this kind of server"))
            }
            // For other programs, HTTP is only an assumption.
            Outcome::NotHttp if !server.kind.is_hermes() => {
                (Severity::Info, "it answers, but not in HTTP".to_owned())
            }
            Outcome::NotHttp => (Severity::Warning, "it answers, but not in HTTP".to_owned()),
            _ => return None,
        };
        let next = vec![NextStep::say("If it is another kind of server, name it with --kind")];
        Some(self.raise(id::HEALTH_UNEXPECTED_ANSWER, severity, title, next))
    }
}

/// Whether an error is a timeout, in the words of this program or of the system.
fn is_time_out(error: &str) -> bool {
    error.contains("timed out") || error.contains("in time") || error.contains("temporarily unavailable")
}

fn phase_fact(phase: &Phase) -> String {
    match &phase.error {
        Some(error) => format!("{} in ms, failed: {error}", phase.name.words()),
        None => format!("{} in ms", phase.name.words()),
    }
}

fn scheme(attempt: &Attempt) -> &str {
    attempt.url.split("://").next().unwrap_or_default()
}

fn wrong_scheme(health: &Health) -> Option<Finding> {
    let answered =
        health.attempts.iter().find(|attempt| attempt.outcome.is_answer() && attempt.http_status != Some(400))?;
    let failed = health.attempts.iter().find(|attempt| scheme(attempt) != scheme(answered))?;
    Some(finding(
        id::WRONG_SCHEME,
        Severity::Info,
        format!("it speaks {}, not {}", scheme(answered), scheme(failed)),
        vec![
            Evidence::new(format!("GET {}", failed.url), failed.outcome.words(), "HTTP probe"),
            Evidence::new(format!("GET {}", answered.url), answered.outcome.words(), "HTTP probe"),
        ],
        vec![NextStep::say(format!("Use {}", answered.url))],
    ))
}

/// Refused on one address family and answered on the other; or a listener on the loopback of one family only,
/// which clients with the address `127.0.0.1` never reach.
fn wrong_family(server: &Server, health: &Health) -> Option<Finding> {
    let is_v6 = |attempt: &&Attempt| attempt.address.as_deref().is_some_and(|address| address.starts_with('['));
    let answered = health.attempts.iter().find(|attempt| attempt.outcome.is_answer())?;
    let refused = health
        .attempts
        .iter()
        .find(|attempt| attempt.outcome == Outcome::Refused && is_v6(attempt) != is_v6(&answered));
    let answers_at = answered.address.clone().unwrap_or_default();
    if let Some(refused) = refused {
        let refused_at = refused.address.clone().unwrap_or_default();
        return Some(finding(
            id::WRONG_ADDRESS_FAMILY,
            Severity::Info,
            format!("it answers on {answers_at}, not on {refused_at}"),
            vec![
                Evidence::new(format!("connection to {refused_at}"), "refused", "HTTP probe"),
                Evidence::new(format!("connection to {answers_at}"), answered.outcome.words(), "HTTP probe"),
            ],
            vec![NextStep::say(format!("Use {answers_at}"))],
        ));
    }
    let sockets = &server.listeners.as_ref()?.sockets;
    let only_v6 =
        !sockets.is_empty() && sockets.iter().all(|socket| socket.family == "ipv6" && socket.address != "::");
    (only_v6 && server.expectation.named_by.iter().all(|by| !by.is_url())).then(|| {
        finding(
            id::WRONG_ADDRESS_FAMILY,
            Severity::Info,
            format!("it listens on {answers_at} only: 127.0.0.1 is refused"),
            sockets.iter().map(|socket| Evidence::new("listens on", socket.address.clone(), "sock_diag")).collect(),
            vec![NextStep::say(format!("Use {answers_at}"))],
        )
    })
}
