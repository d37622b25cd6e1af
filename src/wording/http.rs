//! Findings from the HTTP examination.

use super::threads::{counted, doing, main_thread, one_line, source};
use super::{Context, Words};
use crate::model::{
    Attempt, Doing, Exchange, HttpFinding, HttpProblem, NextStep, Outcome, OutcomeCount, Phase, PortSample,
    RouteFinding, RouteProblem, Row, Source, id,
};

/// The text of a finding about the health path.
pub fn words(finding: &HttpFinding, context: &Context) -> Words {
    let exchange = &finding.exchange;
    let with = |title: String, next: Vec<NextStep>| Words { title, evidence: evidence(exchange), next };
    let text = |title: &str, next: &str| with(title.to_owned(), vec![NextStep::say(next)]);
    match &finding.problem {
        HttpProblem::Refused { addresses } => {
            let title = match addresses.as_slice() {
                [] => "the process is running but does not listen on a TCP port".to_owned(),
                addresses => format!("connections are refused on {}", addresses.join(" and ")),
            };
            text(&title, "Check its log for a failed bind or a start that hangs")
        }
        HttpProblem::AcceptStalled { port, first, last, instead, main } => {
            let mut next = vec![NextStep::run("show the queue", format!("hermes-doctor port --port {port}"))];
            next.extend(instead.map(|_| context.see_stacks("show where the main thread is")));
            let mut words = with(accept_stalled_title(last, *instead), next);
            words.evidence.extend([("first", first), ("last", last)].into_iter().flat_map(queue));
            words.evidence.extend(main_thread(main.as_ref(), context));
            words
        }
        HttpProblem::NoAnswer { is_late, is_busy, last, instead, main } => {
            let see = |pid| {
                NextStep::run("show what the server does", format!("hermes-doctor check --pid {pid} --verbose"))
            };
            let accepted = last.as_ref().and_then(|last| last.probe_accepted);
            let title = no_answer_title(exchange, *is_late, (*is_busy, accepted == Some(true)), *instead);
            let mut words = with(title, context.pid.map(see).into_iter().collect());
            if let Some(last) = last {
                words.evidence.push(Row::new(
                    "accept queue in the last sample",
                    last.accept_queue,
                    Source::Sockets,
                ));
                let fact = "the probe's connection was accepted";
                words.evidence.extend(accepted.map(|accepted| Row::new(fact, accepted, Source::Sockets)));
            }
            words.evidence.extend(main_thread(main.as_ref(), context));
            words
        }
        HttpProblem::SomeUnanswered { requests, unanswered } => {
            let count: u64 = unanswered.iter().map(|known| known.count).fold(0, u64::saturating_add);
            let command = format!("hermes-doctor check{}", context.selector());
            let mut words = with(
                format!("{count} of {requests} requests were not answered"),
                vec![NextStep::run("show its descriptors and its accept queue", command)],
            );
            let row = |known: &OutcomeCount| Row::new(known.outcome.words(), known.count, Source::HttpProbe);
            words.evidence.extend(unanswered.iter().map(row));
            words
        }
        HttpProblem::Empty => text(
            "the server closed the connection without sending a byte",
            "Find the traceback in the server's log: the handler failed before it sent anything",
        ),
        HttpProblem::Reset => {
            let phase = exchange.failed().map_or("", |phase| phase.name.words());
            let command = format!("hermes-doctor fds{}", context.selector());
            with(
                format!("the connection was reset at {phase}, after {} bytes", exchange.bytes_received),
                vec![NextStep::run("list its descriptors", command)],
            )
        }
        HttpProblem::WorkersExhausted => text(
            "every worker is busy: 503 without a body",
            "Take the server's stacks before a restart: they show where the workers wait",
        ),
        HttpProblem::Degraded { checks, failed } => {
            let failed = if failed.is_empty() { String::new() } else { format!(": {}", failed.join(", ")) };
            let command = format!("hermes-doctor health --deep{}", context.selector());
            let next = vec![NextStep::run("run the deep check of the server", command)];
            let mut words = with(format!("the server reports that it is degraded{failed}"), next);
            words.evidence.extend(
                checks.iter().map(|(name, status)| {
                    Row::new(format!("check {name}"), status.clone(), "answer of the server")
                }),
            );
            words
        }
        HttpProblem::Unexpected { redirect_to } => text(
            &unexpected_title(exchange, redirect_to.as_deref()),
            "If it is another kind of server, specify it with --kind",
        ),
        HttpProblem::WrongScheme { failed, answered } => wrong_scheme(failed, answered),
        HttpProblem::WrongFamily { refused_at, answers_at, outcome } => Words {
            title: format!("the server answers on {answers_at}, not on {refused_at}"),
            evidence: vec![
                Row::new(format!("connection to {refused_at}"), "refused", Source::HttpProbe),
                Row::new(format!("connection to {answers_at}"), outcome.words(), Source::HttpProbe),
            ],
            next: vec![NextStep::say(format!("Use {answers_at}"))],
        },
        HttpProblem::OnlyIpv6 { answers_at, listens_on } => Words {
            title: format!("the server listens on {answers_at} only; connections to 127.0.0.1 are refused"),
            evidence: listens_on
                .iter()
                .map(|address| Row::new("listens on", address.clone(), Source::Sockets))
                .collect(),
            next: vec![NextStep::say(format!("Use {answers_at}"))],
        },
    }
}

fn evidence(exchange: &Exchange) -> Vec<Row> {
    let mut evidence = vec![
        Row::new("request", format!("GET {}", exchange.url), Source::HttpProbe),
        Row::new("outcome", exchange.outcome.words(), Source::HttpProbe),
        Row::new("bytes received", exchange.bytes_received, Source::HttpProbe),
    ];
    evidence.extend(exchange.http_status.map(|status| Row::new("HTTP status", status, Source::HttpProbe)));
    evidence.extend(exchange.phases.iter().map(|phase| Row::new(phase_fact(phase), phase.ms, Source::HttpProbe)));
    evidence
}

fn phase_fact(phase: &Phase) -> String {
    match &phase.error {
        Some(error) => format!("{} in ms, failed: {error}", phase.name.words()),
        None => format!("{} in ms", phase.name.words()),
    }
}

fn accept_stalled_title(last: &PortSample, instead: Option<Doing>) -> String {
    let one = "connection is pending; the server has not accepted it";
    let many = "connections are pending; the server has not accepted them";
    let pending = counted(last.not_accepted.max(last.accept_queue), one, many);
    let instead = instead.map_or(String::new(), |what| format!("; {}", doing(what)));
    format!("{pending}{instead}")
}

fn queue((name, sample): (&str, &PortSample)) -> [Row; 2] {
    let when = format!("{} ms after the probe's connection", sample.after_connect_ms);
    let source = || Source::Sockets.sampled(when.clone());
    [
        Row::new(format!("accept queue in the {name} sample"), sample.accept_queue, source()),
        Row::new(format!("pending connections in the {name} sample"), sample.not_accepted, source()),
    ]
}

fn no_answer_title(
    exchange: &Exchange,
    is_late: bool,
    (is_busy, is_accepted): (bool, bool),
    instead: Option<Doing>,
) -> String {
    let bytes = || counted(exchange.bytes_received, "byte", "bytes");
    let what = match exchange.outcome {
        Outcome::ConnectTimeout => "no connection".to_owned(),
        Outcome::TlsFailed => "the TLS handshake failed".to_owned(),
        Outcome::Incomplete if is_late => format!("no complete answer, {}", bytes()),
        Outcome::Incomplete => format!("the answer ended early, after {}", bytes()),
        _ => "connected, no byte received".to_owned(),
    };
    let state = match (is_busy, is_accepted, instead) {
        (true, ..) => "; other requests are answered meanwhile, so the server is busy".to_owned(),
        (false, true, Some(what)) => format!("; the connection was accepted, and {}", doing(what)),
        (false, true, None) => "; the connection was accepted, so its handler is slow or stuck".to_owned(),
        (false, false, _) => String::new(),
    };
    let seconds = exchange.failed().map_or(0.0, |phase| phase.ms / 1000.0);
    format!("{what} in {seconds:.1} s{state}")
}

fn unexpected_title(exchange: &Exchange, redirect_to: Option<&str>) -> String {
    let status = exchange.http_status.unwrap_or(0);
    match exchange.outcome {
        Outcome::Guarded => {
            let to = redirect_to.map_or(String::new(), |to| format!(" to {to}"));
            format!("the server is up and answers {status}{to}")
        }
        Outcome::NotHttp => "the server answers, but not in HTTP".to_owned(),
        _ if status >= 500 => format!("the server answers {status}"),
        _ => format!("the server answers {status}, but not in the format of this kind of server"),
    }
}

fn wrong_scheme(failed: &Attempt, answered: &Attempt) -> Words {
    let scheme = |attempt: &Attempt| attempt.url.split("://").next().unwrap_or_default().to_owned();
    let row =
        |attempt: &Attempt| Row::new(format!("GET {}", attempt.url), attempt.outcome.words(), Source::HttpProbe);
    Words {
        title: format!("the server speaks {}, not {}", scheme(answered), scheme(failed)),
        evidence: vec![row(failed), row(answered)],
        next: vec![NextStep::say(format!("Use {}", answered.url))],
    }
}

/// The text of a finding about another route.
pub fn route(finding: &RouteFinding, context: &Context) -> Words {
    let route = &finding.route;
    let (path, took) = (&route.path, route.took_ms());
    let seconds = took / 1000.0;
    let mut title = match finding.problem {
        RouteProblem::NoAnswer => {
            format!("{path}: no byte in {seconds:.1} s; the health path was answered before")
        }
        RouteProblem::Incomplete => {
            format!("{path}: no complete answer in {seconds:.1} s; the health path was answered before")
        }
        RouteProblem::Slow => format!("{path}: answered after {seconds:.1} s"),
        RouteProblem::Empty => format!("{path}: the connection was closed without a byte"),
        RouteProblem::Reset => format!("{path}: the connection was reset"),
        RouteProblem::Error => format!("{path} answers {}", route.attempt.http_status.unwrap_or(0)),
        RouteProblem::NotHttp => format!("{path} answers, but not in HTTP"),
    };
    if let Some(age) = finding.first_start_age_ms {
        title.push_str(&format!("; the server started {} s ago, and a first start can take that long", age / 1000));
    }
    let mut evidence = vec![
        Row::new("request", format!("GET {}", route.attempt.url), Source::HttpProbe),
        Row::new("outcome", route.attempt.outcome.words(), Source::HttpProbe),
        Row::new("time, in ms", (took * 10.0).round() / 10.0, Source::HttpProbe),
        Row::new("deadline for the first byte, in ms", route.deadline_ms, Source::HttpProbe),
    ];
    if let Some(activity) = &route.activity {
        let threads = activity.threads.iter().filter(|thread| thread.is_new).take(4);
        evidence.extend(threads.map(|thread| {
            let fact = format!("thread {} of this request", thread.tid);
            Row::new(fact, one_line(thread, activity.between_ms), source(context))
        }));
    }
    let next = match context.pid {
        Some(_) if finding.problem.id() == id::ROUTE_SLOW => context.see_stacks("show where it waits"),
        _ => NextStep::say("Find the error in the server's log"),
    };
    Words { title, evidence, next: vec![next] }
}
