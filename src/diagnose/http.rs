//! Findings from the HTTP examination and the accept queue of the port.

use super::verdict::Verdict;
use super::wedge::{after_accept, main_thread, main_thread_instead};
use crate::model::{
    Attempt, DescriptorFinding, Exchange, Health, HttpFinding, HttpProblem, Outcome, Phase, PortSample, Raised,
    Server, Severity, id,
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
    let decided = |found: Option<Raised>| found.filter(|_| !undecided);
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
    verdict.decide(id::WRONG_SCHEME, facts.wrong_scheme());
    verdict.decide(id::WRONG_ADDRESS_FAMILY, facts.wrong_family(server));
    let established = [id::ACCEPT_STALLED, id::BACKLOG_FULL, id::HANDLERS_STUCK, id::GIL_HELD]
        .into_iter()
        .any(|id| verdict.holds(id));
    verdict.decide(id::HTTP_NO_ANSWER, decided(facts.no_answer()).filter(|_| !established));
    facts.now_and_then().into_iter().chain(facts.left_open(server)).for_each(|found| verdict.raise(found));
}

/// Whether a gap leaves the result of the HTTP examination undecided.
pub fn is_undecided(server: &Server) -> bool {
    server.gaps.iter().any(|gap| gap.blocks.iter().any(|blocked| blocked == id::CONNECTION_REFUSED))
}

struct Facts<'a> {
    health: &'a Health,
    looks: &'a [PortSample],
}

impl<'a> Facts<'a> {
    fn of(server: &'a Server, health: &'a Health) -> Self {
        let looks = server.listeners.as_ref().map_or(&[][..], |listeners| &listeners.looks);
        Self { health, looks }
    }

    fn raise(&self, severity: Severity, problem: HttpProblem) -> Raised {
        let exchange = Exchange {
            url: self.health.url.as_deref().unwrap_or("").to_owned(),
            outcome: self.health.outcome,
            http_status: self.health.http_status,
            bytes_received: self.health.bytes_received,
            phases: self.health.phases.clone(),
        };
        Raised::new(severity, HttpFinding { exchange, problem })
    }

    fn is_late(&self) -> bool {
        let failed: Option<&Phase> = self.health.phases.iter().find(|phase| phase.error.is_some());
        failed.and_then(|phase| phase.error.as_deref()).is_some_and(is_time_out)
    }

    fn refused(&self) -> Option<Raised> {
        if self.health.outcome != Outcome::Refused {
            return None;
        }
        let addresses = self.health.attempts.iter().filter_map(|attempt| attempt.address.as_ref());
        let addresses = addresses.map(ToString::to_string).collect();
        Some(self.raise(Severity::Critical, HttpProblem::Refused { addresses }))
    }

    /// The queue did not drain while the probe waited, and the connection of the probe was never accepted.
    fn accept_stalled(&self, server: &Server) -> Option<Raised> {
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
        let problem = HttpProblem::AcceptStalled {
            port: server.port.unwrap_or(0),
            first: first.clone(),
            last: last.clone(),
            instead: main_thread_instead(self.health.activity.as_ref(), self.looks),
            main: main_thread(self.health.activity.as_ref()),
        };
        Some(self.raise(Severity::Critical, problem))
    }

    fn no_answer(&self) -> Option<Raised> {
        if !matches!(
            self.health.outcome,
            Outcome::NoAnswer | Outcome::ConnectTimeout | Outcome::TlsFailed | Outcome::Incomplete
        ) {
            return None;
        }
        let is_busy = match self.looks {
            [first, .., last] => {
                last.accept_queue < first.accept_queue || last.accepted_since > 0 || last.answered_since > 0
            }
            _ => false,
        };
        let severity = if is_busy { Severity::Warning } else { Severity::Critical };
        let problem = HttpProblem::NoAnswer {
            is_late: self.is_late(),
            is_busy,
            last: self.looks.last().cloned(),
            instead: after_accept(self.health.activity.as_ref()),
            main: main_thread(self.health.activity.as_ref()),
        };
        Some(self.raise(severity, problem))
    }

    /// Answered first, but not every time.
    fn now_and_then(&self) -> Option<Raised> {
        let series = self.health.series.as_ref().filter(|_| self.health.outcome.is_answer())?;
        let unanswered: Vec<_> =
            series.outcomes.iter().filter(|known| !known.outcome.is_answer() && known.count > 0).cloned().collect();
        (!unanswered.is_empty()).then(|| {
            self.raise(Severity::Warning, HttpProblem::SomeUnanswered { requests: series.requests, unanswered })
        })
    }

    /// A series of requests that leave descriptors open.
    fn left_open(&self, server: &Server) -> Option<Raised> {
        let series = self.health.series.as_ref()?;
        let (before, after) = (series.open_before?, series.open_after?);
        let left = after.saturating_sub(before);
        // Connections of the last requests may not be closed yet.
        if left < 10 || left.saturating_mul(2) < series.requests {
            return None;
        }
        let limit = server.descriptors.as_ref().and_then(|facts| facts.soft_limit);
        let finding = DescriptorFinding::LeftByHealthRequests { requests: series.requests, before, after, limit };
        Some(Raised::new(Severity::Warning, finding))
    }

    fn reply_empty(&self) -> Option<Raised> {
        (self.health.outcome == Outcome::Empty).then(|| self.raise(Severity::Critical, HttpProblem::Empty))
    }

    fn reset(&self) -> Option<Raised> {
        (self.health.outcome == Outcome::Reset).then(|| self.raise(Severity::Critical, HttpProblem::Reset))
    }

    fn workers_exhausted(&self) -> Option<Raised> {
        (self.health.outcome == Outcome::Overloaded)
            .then(|| self.raise(Severity::Critical, HttpProblem::WorkersExhausted))
    }

    fn degraded(&self) -> Option<Raised> {
        if self.health.outcome != Outcome::Degraded {
            return None;
        }
        let answer = self.health.answer.clone().unwrap_or_default();
        let checks = answer.checks.iter().map(|(name, status)| (name.to_string(), status.to_string())).collect();
        let failed = answer.failed_checks.iter().map(ToString::to_string).collect();
        let problem = HttpProblem::Degraded { checks, failed };
        Some(self.raise(Severity::Critical, problem))
    }

    fn unexpected(&self, server: &Server) -> Option<Raised> {
        let is_error = self.health.http_status.is_some_and(|status| status >= 500);
        let severity = match self.health.outcome {
            Outcome::Guarded => Severity::Info,
            Outcome::Unexpected if is_error => Severity::Critical,
            // For other programs, HTTP is only an assumption.
            Outcome::NotHttp if !server.kind.is_hermes() => Severity::Info,
            Outcome::Unexpected | Outcome::NotHttp => Severity::Warning,
            _ => return None,
        };
        let redirect_to = self.health.redirect_to.as_ref().map(ToString::to_string);
        Some(self.raise(severity, HttpProblem::Unexpected { redirect_to }))
    }

    fn wrong_scheme(&self) -> Option<Raised> {
        let is_answer = |attempt: &&Attempt| attempt.outcome.is_answer() && attempt.http_status != Some(400);
        let answered = self.health.attempts.iter().find(is_answer)?;
        let failed = self.health.attempts.iter().find(|attempt| scheme(attempt) != scheme(answered))?;
        let problem = HttpProblem::WrongScheme { failed: failed.clone(), answered: answered.clone() };
        Some(self.raise(Severity::Info, problem))
    }

    /// Refused on one address family and answered on the other; or a listener on the loopback of one family only,
    /// which clients with the address `127.0.0.1` never reach.
    fn wrong_family(&self, server: &Server) -> Option<Raised> {
        let is_v6 = |attempt: &&Attempt| attempt.address.as_deref().is_some_and(|address| address.starts_with('['));
        let attempts = &self.health.attempts;
        let answered = attempts.iter().find(|attempt| attempt.outcome.is_answer())?;
        let is_other =
            |attempt: &&Attempt| attempt.outcome == Outcome::Refused && is_v6(attempt) != is_v6(&answered);
        let address = |attempt: &Attempt| attempt.address.as_deref().unwrap_or_default().to_owned();
        let answers_at = address(answered);
        if let Some(refused) = attempts.iter().find(is_other) {
            let refused_at = address(refused);
            let problem = HttpProblem::WrongFamily { refused_at, answers_at, outcome: answered.outcome };
            return Some(self.raise(Severity::Info, problem));
        }
        let sockets = &server.listeners.as_ref()?.sockets;
        let only_v6 =
            !sockets.is_empty() && sockets.iter().all(|socket| socket.family == "ipv6" && socket.address != "::");
        (only_v6 && server.expectation.named_by.iter().all(|by| !by.is_url())).then(|| {
            let listens_on = sockets.iter().map(|socket| socket.address.to_string()).collect();
            self.raise(Severity::Info, HttpProblem::OnlyIpv6 { answers_at, listens_on })
        })
    }
}

/// Whether an error is a timeout, in the words of this program or of the system.
fn is_time_out(error: &str) -> bool {
    error.contains("timed out") || error.contains("in time") || error.contains("temporarily unavailable")
}

fn scheme(attempt: &Attempt) -> &str {
    attempt.url.split("://").next().unwrap_or_default()
}
