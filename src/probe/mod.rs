//! The HTTP examination, phase by phase. It reports what happened; the checks interpret it.
//!
//! Each connection carries one request. Redirects are not followed, and proxies in the environment are not used. Every
//! phase has its own deadline, and all together have one. Certificates are not verified: the examination tests whether
//! the server answers, not whether it is trusted, and it sends no secret.

mod loopback;
mod stream;
#[cfg(feature = "tls")]
mod tls;
#[cfg(not(feature = "tls"))]
#[path = "no_tls.rs"]
mod tls;

use crate::collect::Deadline;
use crate::model::{Attempt, HealthAnswer, Outcome, Phase, PhaseName, ServerKind};
use crate::parse::mask;
use crate::parse::{health, http};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};
use stream::TimedStream;

/// Timeout of a phase, and the deadline of the examination.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For each of resolve, connect, TLS, request, first byte, headers, body.
    pub phase: Duration,
    /// The deadline of all phases together.
    pub total: Deadline,
}

/// The address to connect to, and the request to send.
#[derive(Clone, Debug)]
pub struct ProbeRequest {
    /// Address to connect to.
    pub address: SocketAddr,
    /// Whether to use TLS.
    pub tls: bool,
    /// `Host` header and TLS server name.
    pub host: String,
    /// Path and query.
    pub path: String,
    /// The kind of server that the answer is expected from.
    pub kind: ServerKind,
}

impl ProbeRequest {
    /// The URL of the request, secrets masked.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let usual = if self.tls { 443 } else { 80 };
        let host = match self.host.parse::<IpAddr>() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        let port = self.address.port();
        let port = if port == usual { String::new() } else { format!(":{port}") };
        mask::url(&format!("{scheme}://{host}{port}{}", self.path))
    }
}

/// A point during the wait for the first byte at which the server's side can be sampled.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// Address of the probe's end of the connection.
    pub local: SocketAddr,
    /// Address of the server's end.
    pub remote: SocketAddr,
    /// Time since the connection was established.
    pub since_connect: Duration,
}

/// Time without a byte after which the server's side is sampled first; a healthy answer arrives much earlier.
const FIRST_SAMPLE: Duration = Duration::from_millis(250);

/// Largest number of bytes that are read of one answer, with its framing.
const MAX_RECEIVED: usize = http::MAX_HEAD_BYTES + 2 * http::MAX_BODY_BYTES;

/// Resolves a host name; an IP address needs no lookup.
pub fn resolve(host: &str, port: u16, timeouts: Timeouts) -> (Phase, Result<Vec<SocketAddr>, Outcome>) {
    let begun = Instant::now();
    let at_port = |found: Vec<IpAddr>| found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return (phase(PhaseName::Resolve, begun, None), Ok(at_port(vec![address])));
    }
    match crate::collect::resolve(host, timeouts.total.within(timeouts.phase)) {
        Ok(found) if !found.is_empty() => (phase(PhaseName::Resolve, begun, None), Ok(at_port(found))),
        Ok(_) => (phase(PhaseName::Resolve, begun, Some("no addresses".to_owned())), Err(Outcome::ResolveFailed)),
        Err(error) => (phase(PhaseName::Resolve, begun, Some(error)), Err(Outcome::ResolveFailed)),
    }
}

/// Makes one request. `waiting` is called up to twice while no first byte arrives.
pub fn attempt(request: &ProbeRequest, timeouts: Timeouts, waiting: &mut dyn FnMut(Waiting)) -> Attempt {
    let mut attempt = Attempt {
        url: request.url().into(),
        address: Some(request.address.to_string().into()),
        outcome: Outcome::NotProbed,
        http_status: None,
        server_header: None,
        redirect_to: None,
        phases: Vec::new(),
        bytes_received: 0,
        answer: None,
    };
    attempt.outcome = run(request, timeouts, waiting, &mut attempt).unwrap_or_else(|outcome| outcome);
    attempt
}

/// `Err` is an outcome too: the attempt ended before the answer was complete.
fn run(
    request: &ProbeRequest,
    timeouts: Timeouts,
    waiting: &mut dyn FnMut(Waiting),
    attempt: &mut Attempt,
) -> Result<Outcome, Outcome> {
    let limit = timeouts.phase.min(timeouts.total.remaining());
    if limit.is_zero() {
        attempt.phases.push(phase(PhaseName::Connect, Instant::now(), Some("no time was left".to_owned())));
        return Err(Outcome::NotProbed);
    }
    let begun = Instant::now();
    let connected = TcpStream::connect_timeout(&request.address, limit).map_err(|error| {
        // A timeout on a loopback interface that is down is not evidence about the server.
        let is_late = matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock);
        let is_down = is_late && request.address.ip().is_loopback() && loopback::is_down();
        if is_down { io::Error::new(io::ErrorKind::NetworkDown, "the loopback interface is down") } else { error }
    });
    let tcp = record(attempt, PhaseName::Connect, begun, connected).map_err(|error| match error.kind() {
        io::ErrorKind::ConnectionRefused => Outcome::Refused,
        io::ErrorKind::ConnectionReset => Outcome::Reset,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::ConnectTimeout,
        _ => Outcome::Unreachable,
    })?;
    let connected = Instant::now();
    let local = tcp.local_addr().ok();
    let mut stream = TimedStream::new(tcp);

    let mut stream: Box<dyn Timed> = if request.tls {
        let begun = Instant::now();
        stream.set_deadline(timeouts.total.within(timeouts.phase));
        let handshake = tls::handshake(stream, &request.host);
        Box::new(record(attempt, PhaseName::Tls, begun, handshake).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => Outcome::NotProbed,
            _ => Outcome::TlsFailed,
        })?)
    } else {
        Box::new(stream)
    };

    let begun = Instant::now();
    stream.set_deadline(timeouts.total.within(timeouts.phase));
    let sent = stream.write_all(request_text(request).as_bytes()).and_then(|()| stream.flush());
    record(attempt, PhaseName::Request, begun, sent).map_err(|error| early_end(&error))?;

    let begun = Instant::now();
    let mut received = Vec::new();
    let first = first_byte(
        &mut *stream,
        &mut received,
        timeouts,
        connected,
        local.map(|local| (local, request.address)),
        waiting,
    );
    attempt.bytes_received = length(&received);
    record(attempt, PhaseName::FirstByte, begun, first).map_err(|error| early_end(&error))?;

    read_answer(request, &mut *stream, received, timeouts, attempt)
}

/// Whether the server speaks TLS and this build does not: its answers are unknown then.
pub fn is_unspoken(attempt: &Attempt) -> bool {
    attempt.outcome == Outcome::NotProbed && attempt.phases.iter().any(|phase| phase.name == PhaseName::Tls)
}

fn early_end(error: &io::Error) -> Outcome {
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::NoAnswer,
        io::ErrorKind::UnexpectedEof => Outcome::Empty,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            Outcome::Reset
        }
        _ => Outcome::Incomplete,
    }
}

/// Waits for the first bytes in two steps, so that the server's side is sampled early and again at the end.
fn first_byte(
    stream: &mut dyn Timed,
    received: &mut Vec<u8>,
    timeouts: Timeouts,
    connected: Instant,
    ends: Option<(SocketAddr, SocketAddr)>,
    waiting: &mut dyn FnMut(Waiting),
) -> io::Result<()> {
    let last = timeouts.total.within(timeouts.phase);
    for deadline in [last.within(FIRST_SAMPLE), last] {
        stream.set_deadline(deadline);
        match read_some(stream, received) {
            Err(error) if matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => {
                if let Some((local, remote)) = ends {
                    waiting(Waiting { local, remote, since_connect: connected.elapsed() });
                }
            }
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without a byte")),
            Ok(_) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(io::ErrorKind::TimedOut, "no byte in time"))
}

fn read_answer(
    request: &ProbeRequest,
    stream: &mut dyn Timed,
    mut received: Vec<u8>,
    timeouts: Timeouts,
    attempt: &mut Attempt,
) -> Result<Outcome, Outcome> {
    let begun = Instant::now();
    stream.set_deadline(timeouts.total.within(timeouts.phase));
    let head = loop {
        match http::head(&received) {
            // A final response follows an interim one such as 100 Continue (RFC 9110, 15.2).
            Ok(Some(head)) if (100..200).contains(&head.status) && head.status != 101 => {
                received.drain(..head.length);
                continue;
            }
            Ok(Some(head)) => break Ok(head),
            Ok(None) => {}
            Err(error) => break Err((error.to_string(), Outcome::NotHttp)),
        }
        match read_some(stream, &mut received) {
            Ok(0) => break Err(("closed within the headers".to_owned(), Outcome::Incomplete)),
            Ok(_) => {}
            Err(error) => break Err((error.to_string(), broken_off(&error))),
        }
    };
    attempt.bytes_received = length(&received);
    let head = match head {
        Ok(head) => {
            attempt.phases.push(phase(PhaseName::Headers, begun, None));
            head
        }
        Err((error, outcome)) => {
            // A TLS record begins with its type and the first byte of the version, 3 (RFC 8446, 5.1).
            let is_tls = matches!(received.as_slice(), [0x14..=0x17, 0x03, ..]);
            let error = if is_tls { "the answer is a TLS record".to_owned() } else { error };
            attempt.phases.push(phase(PhaseName::Headers, begun, Some(error)));
            return Err(outcome);
        }
    };
    attempt.http_status = Some(head.status);
    attempt.server_header = head.server.clone().map(Into::into);
    attempt.redirect_to = head.location.as_deref().map(mask::url).map(Into::into);

    // An event stream has no end, so the examination does not wait for it.
    if head.is_event_stream && head.status == 200 {
        return Ok(Outcome::Ok);
    }

    let begun = Instant::now();
    stream.set_deadline(timeouts.total.within(timeouts.phase));
    let mut at_end = false;
    let body = loop {
        match http::body(&head, received.get(head.length..).unwrap_or_default(), at_end) {
            Ok(http::Body::Complete(body)) => break Ok(body),
            Ok(http::Body::Partial) => {}
            Err(error) => break Err((error.to_string(), Outcome::Incomplete)),
        }
        match read_some(stream, &mut received) {
            Ok(0) => at_end = true,
            Ok(_) => {}
            // Without a length, the answer ends when the connection closes, but the server keeps this one open. The
            // body is complete anyway.
            Err(_) if http::is_unmarked(&head) && is_json(received.get(head.length..)) => at_end = true,
            Err(error) => break Err((error.to_string(), broken_off(&error))),
        }
    };
    attempt.bytes_received = length(&received);
    let body = match body {
        Ok(body) => body,
        Err((error, outcome)) => {
            attempt.phases.push(phase(PhaseName::Body, begun, Some(error)));
            return Err(outcome);
        }
    };
    attempt.phases.push(phase(PhaseName::Body, begun, None));
    let (outcome, mut answer) = health::read_answer(request.kind, head.status, head.server.as_deref(), &body);
    if let Some(version) = head.server.as_deref().and_then(|server| server.strip_prefix("HermesWebUI/")) {
        let answer = answer.get_or_insert_with(HealthAnswer::default);
        answer.version.get_or_insert_with(|| version.split(' ').next().unwrap_or(version).to_owned().into());
    }
    attempt.answer = answer;
    Ok(outcome)
}

/// The outcome of an answer that ends early.
fn broken_off(error: &io::Error) -> Outcome {
    if error.kind() == io::ErrorKind::ConnectionReset { Outcome::Reset } else { Outcome::Incomplete }
}

fn is_json(body: Option<&[u8]>) -> bool {
    body.is_some_and(|body| serde_json::from_slice::<serde_json::Value>(body).is_ok())
}

/// A stream with a deadline for its reads and writes.
trait Timed: Read + Write {
    fn set_deadline(&mut self, deadline: Deadline);
}

impl Timed for TimedStream {
    fn set_deadline(&mut self, deadline: Deadline) {
        TimedStream::set_deadline(self, deadline);
    }
}

#[cfg(feature = "tls")]
impl Timed for tls::TlsStream {
    fn set_deadline(&mut self, deadline: Deadline) {
        self.sock.set_deadline(deadline);
    }
}

fn read_some(stream: &mut dyn Timed, received: &mut Vec<u8>) -> io::Result<usize> {
    let mut buffer = [0_u8; 16 * 1024];
    let count = match stream.read(&mut buffer) {
        // A TLS peer that closes without `close_notify` counts as closed.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => 0,
        other => other?,
    };
    received.extend_from_slice(&buffer[..count]);
    if received.len() > MAX_RECEIVED {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more bytes than any health answer has"));
    }
    Ok(count)
}

fn request_text(request: &ProbeRequest) -> String {
    let host = match request.host.parse::<IpAddr>() {
        Ok(IpAddr::V6(address)) => format!("[{address}]"),
        _ => request.host.clone(),
    };
    format!(
        "GET {} HTTP/1.1\r\nHost: {host}:{}\r\nUser-Agent: hermes-doctor/{}\r\nAccept: application/json, */*\r\nConnection: close\r\n\r\n",
        request.path,
        request.address.port(),
        env!("CARGO_PKG_VERSION")
    )
}

fn record<T>(attempt: &mut Attempt, name: PhaseName, begun: Instant, result: io::Result<T>) -> io::Result<T> {
    attempt.phases.push(phase(name, begun, result.as_ref().err().map(ToString::to_string)));
    result
}

fn phase(name: PhaseName, begun: Instant, error: Option<String>) -> Phase {
    // Microseconds are precise enough.
    let ms = (begun.elapsed().as_secs_f64() * 1e6).round() / 1e3;
    Phase { name, ms, error: error.map(|error| crate::model::text::printable(error.as_bytes())).map(Into::into) }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
