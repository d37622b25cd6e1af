//! Order of the HTTP requests, and the choice of the deciding attempt.

use super::activity::{ActivitySamples, RequestSamples};
use super::{Examination, Routes};
use crate::model::{
    Attempt, Gap, GapDetail, GapReason, GapSubject, Health, Note, Outcome, Phase, ProcessState, Route, Server,
    ServerKind, id, whole_milliseconds,
};
use crate::parse::health::{health_path, usual_routes};
use crate::parse::sockets::unmapped;
use crate::probe::{self, ProbeRequest, Timeouts};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Share of the soft limit above which the probe is reduced: one request, no deep check.
pub const CAREFUL_SHARE: f64 = crate::model::CEILING_WARNING;

/// Maximum age of a server that may not listen yet, in milliseconds. A first start with migrations takes
/// longer, and its log shows it.
const START_GRACE_MS: u64 = 30_000;

/// Factor on the health path's timeout for other routes: they do more work, and five seconds are already a
/// warning.
const ROUTE_TIMEOUT_FACTOR: u32 = 3;

/// Time between two samples of the threads of a server that reports that it cannot serve.
const THREAD_SAMPLE_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two samples of a queue that accepts no more connections.
const QUEUE_SAMPLE_INTERVAL: Duration = Duration::from_millis(400);

/// Names of proxy settings that other clients obey.
const PROXIES: &[&str] = &["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];

/// The request, before an address is chosen.
pub(super) struct Plan {
    host: Option<String>,
    addresses: Vec<SocketAddr>,
    /// `Some` if the user gave the scheme.
    tls: Option<bool>,
    path: String,
    resolve: Option<Phase>,
}

impl Plan {
    pub(super) fn knock(&self, address: SocketAddr, kind: ServerKind) -> ProbeRequest {
        ProbeRequest {
            address,
            tls: self.tls.unwrap_or(false),
            host: self.host.clone().unwrap_or_else(|| address.ip().to_string()),
            path: self.path.clone(),
            kind,
        }
    }
}

impl Examination<'_> {
    /// Sends the requests and fills in `server.health`.
    pub(super) fn probe(&self, server: &mut Server, sockets_held: Option<&HashSet<u64>>) {
        let ignored_proxies =
            PROXIES.iter().filter(|name| std::env::var_os(name).is_some()).map(|name| (*name).into()).collect();
        let careful =
            server.descriptors.as_ref().and_then(|facts| facts.share()).is_some_and(|share| share >= CAREFUL_SHARE);
        let deep = self.request.deep && !careful && server.kind == ServerKind::Webui;
        let mut health = Health { ignored_proxies, deep, ..Health::default() };
        if careful {
            health.note = Some(Note::OneRequestOnly.to_owned());
        }
        if let Some((outcome, note)) = self.not_probed(server) {
            health.outcome = outcome;
            health.note = Some(note);
            note_start(server, outcome);
            server.health = Some(health);
            return;
        }
        let timeouts = Timeouts { phase: self.request.timeout, total: self.deadline };
        let plan = match self.plan(server, sockets_held, deep, timeouts) {
            Ok(plan) => plan,
            Err(attempt) => {
                // A name that does not resolve shows nothing about the server.
                server.gaps.push(
                    Gap::new(GapSubject::Http, GapReason::NotFound, GapDetail::NotResolved).blocking(id::HTTP),
                );
                health.attempts.push(*attempt);
                settle(&mut health);
                server.health = Some(health);
                return;
            }
        };
        self.progress.step("waiting for the HTTP answer");
        let mut gaps = Vec::new();
        let seen = self.ask_for_health(server, &plan, timeouts, careful, &mut health, &mut gaps);
        settle(&mut health);
        health.activity = seen.activity;
        server.gaps.extend(gaps.into_iter().chain(seen.gaps));
        if let Some(listeners) = server.listeners.as_mut() {
            listeners.looks = seen.looks;
        }
        note_start(server, health.outcome);
        if health.outcome == Outcome::Unreachable {
            let detail = GapDetail::Unreachable;
            server.gaps.push(Gap::new(GapSubject::Http, GapReason::Unsupported, detail).blocking(id::HTTP));
        }
        if health.attempts.iter().any(probe::is_unspoken) {
            let detail = GapDetail::NoTls;
            server.gaps.push(Gap::new(GapSubject::Http, GapReason::Unsupported, detail).blocking(id::HTTP));
        } else if matches!(health.outcome, Outcome::NotProbed) {
            server.gaps.push(
                Gap::new(GapSubject::Http, GapReason::Timeout, GapDetail::NoTimeForRequest).blocking(id::HTTP),
            );
        }
        let attempt = health.decided_by.and_then(|index| health.attempts.get(index)).cloned();
        server.gaps.extend(first_start(server, &health));
        server.health = Some(health);
        if let Some(attempt) = attempt {
            self.ask_for_routes(server, &plan, &attempt);
            self.repeat(server, &plan, &attempt);
        }
    }

    /// Requests the health path, one address after the other until one accepts the connection.
    fn ask_for_health(
        &self,
        server: &Server,
        plan: &Plan,
        timeouts: Timeouts,
        careful: bool,
        health: &mut Health,
        gaps: &mut Vec<Gap>,
    ) -> ActivitySamples {
        let mut flight = RequestSamples::new(self, server);
        for address in &plan.addresses {
            let mut knock = plan.knock(*address, server.kind);
            let mut attempt = probe::attempt(&knock, timeouts, &mut |waiting| {
                flight.sample(Some(waiting), waiting.since_connect);
            });
            if let Some(resolve) = &plan.resolve {
                attempt.phases.insert(0, resolve.clone());
            }
            let (outcome, http_status) = (attempt.outcome, attempt.http_status);
            health.attempts.push(attempt);
            if wants_other_scheme(outcome, http_status, knock.tls) {
                if careful {
                    // It may be a healthy server with the other scheme, so nothing is decided.
                    let detail = GapDetail::NotTriedNearLimit;
                    let gap = Gap::new(GapSubject::OtherScheme, GapReason::NotAsked, detail);
                    gaps.push(gap.blocking(id::HTTP));
                } else {
                    knock.tls = !knock.tls;
                    health.attempts.push(probe::attempt(&knock, timeouts, &mut |_| {}));
                }
            }
            // The kernel drops new connections when the queue is full, so no sample was taken during the request;
            // it is taken now. If the server itself reports that it cannot serve, only the threads matter.
            let between = match outcome {
                Outcome::ConnectTimeout => Some(QUEUE_SAMPLE_INTERVAL),
                Outcome::Overloaded | Outcome::Degraded => Some(THREAD_SAMPLE_INTERVAL),
                _ => None,
            };
            for after in between.into_iter().flat_map(|between| [Duration::ZERO, between]) {
                std::thread::sleep(after.min(self.deadline.remaining()));
                flight.sample(None, after);
            }
            // Another address is tried only if no connection was made.
            if !matches!(outcome, Outcome::Refused | Outcome::Unreachable) {
                break;
            }
        }
        flight.end(&plan.path)
    }

    /// Requests paths other than the health path, one after the other, each on a new connection with its own
    /// deadline. A server can answer its health path in a millisecond while the list of sessions hangs.
    fn ask_for_routes(&self, server: &mut Server, plan: &Plan, health: &Attempt) {
        let (paths, named) = match &self.request.routes {
            Routes::None => return,
            Routes::Usual => (usual_routes(server.kind).iter().map(|path| (*path).to_owned()).collect(), false),
            Routes::Named(paths) => (paths.clone(), true),
        };
        if paths.is_empty() {
            return;
        }
        let share = server.descriptors.as_ref().and_then(|facts| facts.share());
        let answers = health.outcome.is_answer() && health.outcome != Outcome::Overloaded;
        let refusal = if !answers {
            // If the health path is not answered, another route adds nothing, unless the user named it.
            named.then_some(GapDetail::NotRequested)
        } else if share.is_some_and(|share| share >= CAREFUL_SHARE) {
            Some(GapDetail::NotRequestedNearLimit)
        } else if share.is_none() && !named {
            Some(GapDetail::NotRequestedUnknownShare)
        } else {
            None
        };
        let is_refused = refusal.is_some();
        if let Some(detail) = refusal {
            server
                .gaps
                .push(Gap::new(GapSubject::OtherRoutes, GapReason::NotAsked, detail).blocking(&[id::ROUTE_SLOW]));
        }
        let Some(address) = health.address.as_deref().and_then(|address| address.parse().ok()) else { return };
        if is_refused || !answers {
            return;
        }
        let tls = health.url.starts_with("https:");
        for path in paths {
            let timeouts = Timeouts { phase: self.request.timeout * ROUTE_TIMEOUT_FACTOR, total: self.deadline };
            let shown = crate::parse::mask::url(&path);
            if self.deadline.is_over() {
                let gap =
                    Gap::new(GapSubject::RouteOf { path: shown.into() }, GapReason::Timeout, GapDetail::TimeLimit);
                server.gaps.push(gap.blocking(&[id::ROUTE_SLOW]));
                continue;
            }
            self.progress.step(&format!("waiting for {shown}"));
            // Any response counts: the form of this one is unknown.
            let knock = ProbeRequest { path, tls, ..plan.knock(address, ServerKind::Other) };
            let mut flight = RequestSamples::new(self, server);
            let deadline = timeouts.phase.min(self.deadline.remaining());
            let attempt = probe::attempt(&knock, timeouts, &mut |waiting| {
                flight.sample(Some(waiting), waiting.since_connect);
            });
            // Less than its own deadline is not enough to judge it.
            if deadline < timeouts.phase && !attempt.outcome.is_answer() {
                let gap = Gap::new(
                    GapSubject::RouteOf { path: shown.into() },
                    GapReason::Timeout,
                    GapDetail::TooLittleTime,
                );
                server.gaps.push(gap.blocking(&[id::ROUTE_SLOW]));
                continue;
            }
            let ActivitySamples { looks, activity, gaps } = flight.end(&shown);
            let activity = activity.filter(|_| !attempt.outcome.is_answer());
            server.gaps.extend(gaps.into_iter().filter(|_| activity.is_some()));
            let deadline_ms = whole_milliseconds(deadline);
            let route = Route { path: shown.into(), named, deadline_ms, attempt, looks, activity };
            server.health.iter_mut().for_each(|health| health.routes.push(route.clone()));
        }
    }

    /// Servers that are not probed, and the reason.
    fn not_probed(&self, server: &mut Server) -> Option<(Outcome, Note)> {
        if server.process.as_ref().is_some_and(|process| process.foreign_network == Some(true)) {
            let detail = GapDetail::OtherNetwork;
            server.gaps.push(Gap::new(GapSubject::Http, GapReason::Unsupported, &detail).blocking(id::HTTP));
            return Some((Outcome::NotProbed, Note::OfGap { detail }));
        }
        let listens = server.listeners.as_ref().is_some_and(|listeners| !listeners.sockets.is_empty());
        let was_named = server.expectation.named_by.iter().any(|by| by.is_port() || by.is_url());
        if server.process.is_some() {
            let unreadable = server.descriptors.as_ref().is_none_or(|facts| {
                // Without the right to trace the process, its descriptors can be listed and none of their links
                // read.
                facts.by_kind.keys().all(|kind| kind == "unreadable")
            });
            if unreadable && server.port.is_none() {
                let detail = GapDetail::NoPort;
                server.gaps.push(Gap::new(GapSubject::Http, GapReason::Permission, &detail).blocking(id::HTTP));
                return Some((Outcome::NotProbed, Note::OfGap { detail }));
            }
            // A response from there would come from another server.
            let somebody_elses = server.listeners.as_ref().is_some_and(|listeners| {
                let holders = &listeners.holders;
                !unreadable && !holders.is_empty() && holders.iter().all(|holder| holder.in_lineage == Some(false))
            });
            if somebody_elses {
                let detail = GapDetail::BelongsToAnother;
                server.gaps.push(Gap::new(GapSubject::Http, GapReason::NotFound, &detail).blocking(id::HTTP));
                return Some((Outcome::NotProbed, Note::OfGap { detail }));
            }
            let has_http = matches!(server.kind, ServerKind::Webui | ServerKind::Dashboard | ServerKind::Serve);
            if has_http && server.port.is_none() {
                return Some((Outcome::Refused, Note::NoTcpPort));
            }
        }
        if server.process.is_none() && server.port.is_none() && self.target.url.is_none() {
            return Some((Outcome::NotProbed, Note::PortUnknown));
        }
        // A connection would start the service, which the user must decide.
        if listens && !was_named_by_url(server) && is_socket_activation(server) {
            let note = Note::SocketActivation;
            return Some((Outcome::NotProbed, note));
        }
        match server.kind {
            ServerKind::Mcp => Some((Outcome::NotApplicable, Note::StandardStreams)),
            ServerKind::Gateway if !listens && !was_named => {
                Some((Outcome::NotApplicable, Note::GatewayWithoutApi))
            }
            ServerKind::Other if !listens && server.port.is_none() => {
                Some((Outcome::NotApplicable, Note::ListensNowhere))
            }
            _ => None,
        }
    }

    fn plan(
        &self,
        server: &Server,
        sockets_held: Option<&HashSet<u64>>,
        deep: bool,
        timeouts: Timeouts,
    ) -> Result<Plan, Box<Attempt>> {
        let path = health_path(server.kind, deep).to_owned();
        if let Some(url) = &self.target.url {
            let host = url.host_str().unwrap_or_default().to_owned();
            let port = url.port_or_known_default().unwrap_or(80);
            let tls = url.scheme() == "https";
            let said = match (url.path(), url.query()) {
                ("" | "/", None) => path,
                (said, None) => said.to_owned(),
                (said, Some(query)) => format!("{said}?{query}"),
            };
            let (phase, resolved) = probe::resolve(&host, port, timeouts);
            return match resolved {
                Ok(found) => {
                    let addresses = with_other_loopback(one_of_each_family(found));
                    Ok(Plan { host: Some(host), addresses, tls: Some(tls), path: said, resolve: Some(phase) })
                }
                Err(outcome) => Err(Box::new(Attempt {
                    url: crate::parse::mask::url(url.as_str()).into(),
                    address: None,
                    outcome,
                    http_status: None,
                    server_header: None,
                    redirect_to: None,
                    phases: vec![phase],
                    bytes_received: 0,
                    answer: None,
                })),
            };
        }
        let port = server.port.or_else(|| server.kind.default_port()).unwrap_or(0);
        let own: Vec<SocketAddr> = match &server.listeners {
            Some(listeners) => {
                let mine = |inode: u64| {
                    self.target.expectation.port_belongs_because.is_some()
                        || sockets_held.is_none_or(|held| held.is_empty() || held.contains(&inode))
                };
                let mut rows: Vec<SocketAddr> = listeners
                    .sockets
                    .iter()
                    .filter(|socket| mine(socket.inode))
                    .filter_map(|socket| Some(SocketAddr::new(socket.address.parse().ok()?, port)))
                    .flat_map(reachable)
                    .collect();
                rows.sort_by_key(|address| (!address.is_ipv4(), !address.ip().is_loopback()));
                rows.dedup();
                rows
            }
            None => Vec::new(),
        };
        let addresses = if own.is_empty() { both_loopbacks(port) } else { own };
        Ok(Plan { host: None, addresses, tls: None, path, resolve: None })
    }
}

fn was_named_by_url(server: &Server) -> bool {
    server.expectation.named_by.iter().any(Note::is_url)
}

/// Whether only a service manager has the listening sockets open (systemd.socket(5)).
fn is_socket_activation(server: &Server) -> bool {
    let holders = server.listeners.as_ref().map(|listeners| listeners.holders.as_slice()).unwrap_or_default();
    !holders.is_empty() && holders.iter().all(|holder| holder.front.as_deref() == Some("systemd"))
}

/// Adds a gap for a server that was started a moment ago and does not listen yet: its health is undecided.
fn note_start(server: &mut Server, outcome: Outcome) {
    if let (Outcome::Refused, Some(age)) = (outcome, server.process.as_ref().and_then(|process| process.age_ms))
        && age < START_GRACE_MS
    {
        let detail = GapDetail::NotListeningYet { seconds: age / 1000 };
        server.gaps.push(Gap::new(GapSubject::HttpOfStart, GapReason::NotFound, detail).blocking(id::HTTP));
    }
}

/// A gap for a server that listens and does not accept yet, because its first start is still at work.
fn first_start(server: &Server, health: &Health) -> Option<Gap> {
    let age = server.process.as_ref()?.age_ms.filter(|age| *age < START_GRACE_MS)?;
    if !matches!(health.outcome, Outcome::NoAnswer | Outcome::ConnectTimeout) {
        return None;
    }
    let activity = health.activity.as_ref()?;
    // A server at its descriptor limit retries accept(2), which is not a start.
    let is_full = server
        .descriptors
        .as_ref()
        .and_then(|facts| facts.share())
        .is_some_and(|share| share >= crate::model::CEILING_CRITICAL);
    let listeners = server.listeners.as_ref()?;
    let has_accepted =
        |look: &crate::model::PortSample| look.probe_accepted == Some(true) || look.unanswered.unwrap_or(0) > 0;
    let was_accepted = listeners.connections.established > 0 || listeners.looks.iter().any(has_accepted);
    let main = activity.main()?;
    // On an overloaded host it is ready to run and gets no CPU time.
    let is_ready = main.sleeps == Some(0) && main.always(|look| look.state == ProcessState::Running);
    let is_at_work = is_ready || main.cpu_ms?.saturating_mul(5) >= activity.between_ms;
    (is_at_work && !is_full && !was_accepted).then(|| {
        let detail = GapDetail::AcceptsLater { seconds: age / 1000 };
        Gap::new(GapSubject::HttpOfStart, GapReason::NotFound, detail).blocking(id::HTTP)
    })
}

/// Whether an outcome is typical of a server with the other scheme: reset, closed, a TLS record or another
/// protocol, and the plain 400 that some servers send to HTTP on a TLS port.
fn wants_other_scheme(outcome: Outcome, http_status: Option<u16>, tls: bool) -> bool {
    match outcome {
        Outcome::TlsFailed => tls,
        Outcome::Reset | Outcome::Empty | Outcome::NotHttp => !tls,
        Outcome::Unexpected => !tls && http_status == Some(400),
        _ => false,
    }
}

/// Chooses the deciding attempt: a response first, else the first attempt with a connection.
fn settle(health: &mut Health) {
    let rank = |attempt: &Attempt| match attempt.outcome {
        Outcome::Ok => 0,
        outcome if outcome.is_answer() => 1,
        Outcome::Refused => 4,
        Outcome::Unreachable | Outcome::ResolveFailed | Outcome::NotProbed => 5,
        Outcome::TlsFailed => 3,
        _ => 2,
    };
    let best = health.attempts.iter().enumerate().min_by_key(|(index, attempt)| (rank(attempt), *index));
    if let Some((index, attempt)) = best.map(|(index, attempt)| (index, attempt.clone())) {
        health.decided_by = Some(index);
        health.url = Some(attempt.url);
        health.outcome = attempt.outcome;
        health.http_status = attempt.http_status;
        health.phases = attempt.phases;
        health.bytes_received = attempt.bytes_received;
        health.answer = attempt.answer;
        health.server_header = attempt.server_header;
        health.redirect_to = attempt.redirect_to;
    }
}

/// Addresses for reaching a listener from this host: loopback for a wildcard. A wildcard of IPv6 usually
/// accepts IPv4 too, so both are tried: IPv6 can be disabled on a host.
fn reachable(address: SocketAddr) -> Vec<SocketAddr> {
    let port = address.port();
    match unmapped(address).ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port))],
        IpAddr::V6(ip) if ip.is_unspecified() => both_loopbacks(port),
        ip => vec![SocketAddr::new(ip, port)],
    }
}

fn both_loopbacks(port: u16) -> Vec<SocketAddr> {
    vec![SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SocketAddr::from((Ipv6Addr::LOCALHOST, port))]
}

/// One address of each family is enough to find out whether a host answers.
fn one_of_each_family(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v4 = found.iter().find(|address| address.is_ipv4());
    let v6 = found.iter().find(|address| address.is_ipv6());
    let mut both: Vec<SocketAddr> = v4.into_iter().chain(v6).copied().flat_map(reachable).collect();
    // A client would try them in the order of the resolver.
    both.sort_by_key(|address| found.first().is_some_and(|first| first.is_ipv4() != address.is_ipv4()));
    both
}

/// Adds the loopback address of the other family: refused on one and answered on the other is a finding.
fn with_other_loopback(mut addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    if let [only] = addresses.as_slice()
        && only.ip().is_loopback()
    {
        let port = only.port();
        addresses.extend(both_loopbacks(port).into_iter().find(|twin| twin.is_ipv4() != addresses[0].is_ipv4()));
    }
    addresses
}
