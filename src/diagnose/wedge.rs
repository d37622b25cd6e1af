//! Why a request gets no response, from the activity of the server's threads while it waits.

use super::verdict::{Verdict, finding};
use crate::model::{
    Activity, Evidence, Finding, NextStep, Outcome, PortSample, ProcessState, Route, Server, Severity, Thread,
    ThreadSample, id,
};

/// Minimum share of CPU time for a thread or process to count as working.
const AT_WORK: f64 = 0.2;

/// Minimum share of CPU time for a thread that is runnable in both samples to count as running; on a busy host
/// it gets no more.
const RUNS: f64 = 0.1;

/// Minimum number of wakeups per second of a thread that waits for the interpreter lock (GIL): it wakes every 5
/// ms (`sys.getswitchinterval`) to request it again. A thread that waits for another lock or for a client does
/// not.
const WAKES_FOR_INTERPRETER: f64 = 20.0;

/// Minimum time between two samples that distinguish a lasting state from a momentary one, in milliseconds.
const MIN_BETWEEN_MS: u64 = 300;

/// Minimum time of a slow response, in milliseconds.
const SLOW_MS: f64 = 5_000.0;

/// Maximum age of a server that may be busy with its first start, in milliseconds.
const FIRST_START_MS: u64 = 120_000;

/// Adds the findings from samples that were taken while requests waited.
pub fn judge(server: &Server, verdict: &mut Verdict) {
    let Some(health) = &server.health else { return };
    // A server that is still starting is not expected to answer yet.
    if matches!(health.outcome, Outcome::NotApplicable | Outcome::NotProbed | Outcome::ResolveFailed)
        || super::http::is_undecided(server)
    {
        return;
    }
    let looks = server.listeners.as_ref().map_or(&[][..], |listeners| &listeners.looks);
    let main =
        PendingRequest { server, route: None, outcome: health.outcome, looks, activity: health.activity.as_ref() };
    let routes = health.routes.iter().map(|route| PendingRequest {
        server,
        route: Some(route),
        outcome: route.attempt.outcome,
        looks: &route.looks,
        activity: route.activity.as_ref(),
    });
    let flights: Vec<PendingRequest<'_>> =
        std::iter::once(main).chain(routes).filter(PendingRequest::waits).collect();
    // A server that answers is not stuck. For one that does not answer, nothing is decided if its threads could
    // not be sampled.
    let is_decided = flights.iter().all(|flight| flight.activity.is_some());
    for (id, found) in [
        (id::UNINTERRUPTIBLE_SLEEP, flights.iter().find_map(|flight| flight.uninterruptible())),
        (id::OUTPUT_PIPE_FULL, flights.iter().find_map(|flight| flight.pipe_full())),
        (id::GIL_HELD, flights.iter().find_map(|flight| flight.interpreter_held())),
    ] {
        match found {
            None if !is_decided => {}
            found => verdict.decide(id, found),
        }
    }
    if is_decided {
        verdict.decide(id::HANDLERS_STUCK, None);
    }
    let is_explained = [id::GIL_HELD, id::PROCESS_STOPPED].into_iter().any(|id| verdict.holds(id));
    let stuck = flights.iter().filter(|_| !is_explained).filter_map(|flight| flight.handlers_stuck());
    stuck.for_each(|found| verdict.raise(found));
    routes_slow(server, &health.routes, verdict);
}

/// Whether threads waited in the kernel, in both samples, for memory of their control group
/// (`mem_cgroup_handle_over_high` and similar functions, mm/memcontrol.c of the kernel).
pub fn waits_for_memory(server: &Server) -> bool {
    let activity = server.health.as_ref().and_then(|health| health.activity.as_ref());
    let waits = |look: &ThreadSample| {
        look.state == ProcessState::DiskSleep
            && look.wait_channel.as_deref().is_some_and(|channel| channel.contains("mem_cgroup"))
    };
    activity.is_some_and(|activity| activity.threads.iter().any(|thread| thread.always(waits)))
}

/// Whether a thread was writing to a pipe in both samples without progress between them.
pub fn writes_to_full_pipe(thread: &Thread) -> bool {
    thread.always(writes) && is_idle(thread)
}

/// Whether it is in a write to a pipe: `pipe_write`, and `anon_pipe_write` of newer kernels (fs/pipe.c).
fn writes(look: &ThreadSample) -> bool {
    let is_channel = look.wait_channel.as_deref().is_some_and(|channel| channel.contains("pipe_write"));
    let is_call = look.system_call.as_ref().is_none_or(|call| call.name.contains("write"));
    is_channel && is_call
}

/// Whether it neither ran nor woke between the samples.
fn is_idle(thread: &Thread) -> bool {
    thread.looks.len() >= 2
        && thread.cpu_ms.is_some_and(|cpu| cpu <= 10)
        && thread.sleeps.is_none_or(|sleeps| sleeps == 0)
}

fn is_futex(look: &ThreadSample) -> bool {
    look.wait_channel.as_deref().is_some_and(|channel| channel.contains("futex"))
        || look.system_call.as_ref().is_some_and(|call| call.name == "futex")
}

/// Whether it waits for connections, or for data on them.
fn polls(look: &ThreadSample) -> bool {
    const CALLS: &[&str] =
        &["accept", "accept4", "epoll_pwait", "epoll_pwait2", "epoll_wait", "poll", "ppoll", "pselect6", "select"];
    const CHANNELS: &[&str] =
        &["ep_poll", "poll_schedule_timeout", "do_select", "do_poll", "inet_csk_accept", "do_epoll_wait"];
    look.system_call.as_ref().is_some_and(|call| CALLS.contains(&call.name.as_str()))
        || look
            .wait_channel
            .as_deref()
            .is_some_and(|channel| CHANNELS.iter().any(|known| channel.starts_with(known)))
}

/// What a thread without progress waits for, if this prevents a handler from answering.
fn stuck_at(thread: &Thread) -> Option<&'static str> {
    let what = thread.last().and_then(waits_for).filter(|_| is_idle(thread))?;
    (what == LOCK || what == READER).then_some(what)
}

/// What a thread waits for that writes to a full pipe.
const READER: &str = "somebody to read what it writes";

/// What a thread waits for that is blocked by a Python lock.
const LOCK: &str = "a lock";

/// What a thread waits for, in words for the user.
fn waits_for(look: &ThreadSample) -> Option<&'static str> {
    let call = look.system_call.as_ref();
    let channel = look.wait_channel.as_deref().unwrap_or_default();
    let name = call.map_or("", |call| call.name.as_str());
    if call.is_some_and(|call| call.is_unlimited == Some(true)) || name.is_empty() && channel.contains("futex") {
        Some(LOCK)
    } else if channel.contains("pipe_write") {
        Some(READER)
    } else if matches!(name, "nanosleep" | "clock_nanosleep") || channel.contains("nanosleep") {
        Some("time to pass")
    } else if look.state == ProcessState::DiskSleep {
        Some("the kernel")
    } else if matches!(name, "recvfrom" | "recvmsg" | "read") || polls(look) {
        Some("something to read")
    } else {
        None
    }
}

/// A description of one thread on one line.
fn words(thread: &Thread, between_ms: u64) -> String {
    let Some(last) = thread.last() else { return String::new() };
    let mut text = last.state.words().to_owned();
    if let Some(channel) = &last.wait_channel {
        text.push_str(&format!(" in {channel}"));
    }
    if let Some(call) = &last.system_call {
        let limit = match call.is_unlimited {
            Some(true) => ", without a time limit",
            Some(false) => ", with a time limit",
            None => "",
        };
        let on = call.descriptor.map_or(String::new(), |descriptor| format!(" on descriptor {descriptor}"));
        text.push_str(&format!(" ({}{on}{limit})", call.name));
    }
    if let Some(cpu) = thread.cpu_ms {
        let sleeps = thread.sleeps.map_or(String::new(), |sleeps| format!(", went to sleep {sleeps} times"));
        text.push_str(&format!(", {cpu} ms CPU{sleeps} in {between_ms} ms"));
    }
    text
}

/// Activity of the main thread, for findings about the accept loop.
pub fn main_thread(activity: Option<&Activity>, pid: Option<u32>) -> Option<Evidence> {
    let activity = activity?;
    let pid = pid?;
    Some(Evidence::new("main thread", words(activity.main()?, activity.between_ms), source(pid)))
}

/// What the main thread does or waits for, if it is the thread that should accept: no other thread waited for
/// connections, and no accepted connection waits for a response.
pub fn main_thread_instead(activity: Option<&Activity>, looks: &[PortSample]) -> Option<String> {
    let activity = activity?;
    let main = activity.main()?;
    let others_accept = activity.threads.iter().any(|thread| !thread.is_main && thread.looks.iter().any(polls));
    let has_accepted = looks.iter().any(|look| look.unanswered.unwrap_or(0) > 0);
    if others_accept || has_accepted || main.last().is_some_and(polls) {
        return None;
    }
    let percent = main.cpu_ms? as f64 * 100.0 / activity.between_ms.max(1) as f64;
    match main.last().and_then(waits_for).filter(|_| is_idle(main)) {
        Some(what) => Some(format!("the main thread waits for {what}")),
        None if percent >= AT_WORK * 100.0 => Some(format!("the main thread uses {percent:.0} % of a CPU instead")),
        None => None,
    }
}

/// State of an accepted request, for a title.
pub fn after_accept(activity: Option<&Activity>) -> Option<String> {
    let activity = activity?;
    let percent = activity.cpu_ms as f64 * 100.0 / activity.between_ms.max(1) as f64;
    let own = activity.threads.iter().find(|thread| thread.is_new);
    let waits = own.filter(|thread| is_idle(thread)).and_then(|thread| thread.last()).and_then(waits_for);
    let main = activity.main().filter(|main| is_idle(main) && !main.last().is_some_and(polls));
    match (waits, main.and_then(|main| main.last()).and_then(waits_for)) {
        (Some(what), _) => Some(format!("its handler waits for {what}")),
        (None, Some(what)) => Some(format!("the main thread waits for {what}")),
        (None, None) if percent >= AT_WORK * 100.0 => {
            Some(format!("the server is at work, {percent:.0} % of a CPU"))
        }
        (None, None) => None,
    }
}

fn source(pid: u32) -> String {
    format!("/proc/{pid}/task, looked at twice")
}

/// One request that waited.
struct PendingRequest<'a> {
    server: &'a Server,
    /// `None` is the health path.
    route: Option<&'a Route>,
    outcome: Outcome,
    looks: &'a [PortSample],
    activity: Option<&'a Activity>,
}

impl PendingRequest<'_> {
    fn waits(&self) -> bool {
        matches!(self.outcome, Outcome::NoAnswer | Outcome::ConnectTimeout | Outcome::Incomplete)
    }

    /// The activity, if its two samples are far enough apart.
    fn activity(&self) -> Option<&Activity> {
        self.activity.filter(|activity| activity.between_ms >= MIN_BETWEEN_MS)
    }

    fn share(&self, thread: &Thread, activity: &Activity) -> f64 {
        thread.cpu_ms.map_or(0.0, |cpu| cpu as f64 / activity.between_ms.max(1) as f64)
    }

    fn evidence(&self, activity: &Activity, threads: &[&Thread]) -> Vec<Evidence> {
        let source = source(self.server.pid.unwrap_or(0));
        let mut evidence =
            vec![Evidence::new("time between the looks, in ms", activity.between_ms, source.clone())];
        evidence.extend(threads.iter().take(4).map(|thread| {
            let role = if thread.is_main { "main thread" } else { "thread" };
            Evidence::new(
                format!("{role} {} ({})", thread.tid, thread.name),
                words(thread, activity.between_ms),
                &source,
            )
        }));
        if threads.len() > 4 {
            evidence.push(Evidence::new("further threads like these", threads.len() - 4, source));
        }
        evidence
    }

    /// State D in both samples, in the same place and without progress. A working disk wakes its threads.
    fn uninterruptible(&self) -> Option<Finding> {
        let activity = self.activity()?;
        let is_so = |thread: &&Thread| {
            let same =
                thread.looks.first().map(|look| &look.wait_channel) == thread.last().map(|look| &look.wait_channel);
            thread.always(|look| look.state == ProcessState::DiskSleep) && same && is_idle(thread)
        };
        let threads: Vec<&Thread> = activity.threads.iter().filter(is_so).collect();
        let first = threads.first()?;
        // mm/memcontrol.c: it sleeps because it has used more memory than memory.high allows.
        let is_throttled = |look: &ThreadSample| {
            look.wait_channel.as_deref().is_some_and(|channel| channel.contains("mem_cgroup_handle_over_high"))
        };
        let next = if first.always(is_throttled) {
            vec![
                NextStep::say(
                    "Look at what else runs in its control group (`systemd-cgls`): together they have more memory than \
                     memory.high (MemoryHigh=) allows, and the kernel slows each of them down",
                ),
                NextStep::say("End those first: a restart that leaves them in the group meets the same limit"),
            ]
        } else {
            vec![
                NextStep::say("Look at the disk or network mount that its files are on (`dmesg`, `mount`)"),
                NextStep::say("A restart does not end it: it ends when the kernel gets its answer"),
            ]
        };
        let place = first.last()?.wait_channel.as_deref().map_or(String::new(), |channel| format!(" in {channel}"));
        let who = match threads.as_slice() {
            [only] if only.is_main => "the main thread waits".to_owned(),
            [_] => "a thread waits".to_owned(),
            many => format!("{} threads wait", many.len()),
        };
        Some(finding(
            id::UNINTERRUPTIBLE_SLEEP,
            Severity::Critical,
            format!("{who}{place} and cannot be interrupted (state D)"),
            self.evidence(activity, &threads),
            next,
        ))
    }

    fn pipe_full(&self) -> Option<Finding> {
        let activity = self.activity()?;
        let writers: Vec<&Thread> =
            activity.threads.iter().filter(|thread| thread.last().is_some_and(writes)).collect();
        // If one of them made progress, a process does read, if slowly.
        if writers.iter().any(|thread| thread.looks.len() >= 2 && !is_idle(thread)) {
            return None;
        }
        let threads: Vec<&Thread> = writers.into_iter().filter(|thread| writes_to_full_pipe(thread)).collect();
        let first = threads.first()?;
        let descriptor = first.last()?.system_call.as_ref().and_then(|call| call.descriptor);
        let name = match descriptor {
            Some(1) => "standard output".to_owned(),
            Some(2) => "standard error".to_owned(),
            Some(other) => format!("a pipe (descriptor {other})"),
            None => "a pipe".to_owned(),
        };
        let pid = self.server.pid.unwrap_or(0);
        let mut evidence = self.evidence(activity, &threads);
        let mut next = Vec::new();
        let (mut by, mut knows_readers) = (String::new(), false);
        for pipe in activity.pipes.iter().filter(|pipe| Some(pipe.descriptor) == descriptor) {
            knows_readers = true;
            evidence.push(Evidence::new(
                "pipe that is full",
                pipe.inode,
                format!("/proc/{pid}/fd/{}", pipe.descriptor),
            ));
            for reader in &pipe.readers {
                let state = reader.state.words();
                evidence.push(Evidence::new(
                    format!("pid {} can read it ({})", reader.pid, reader.name),
                    state,
                    format!("/proc/{}/fd", reader.pid),
                ));
            }
            // The server itself has the other end open if it created the pipe.
            let others: Vec<_> = pipe.readers.iter().filter(|reader| reader.pid != pid).collect();
            if let Some(reader) = others.first() {
                by = format!(", which {} (pid {}, {}) should read", reader.name, reader.pid, reader.state.words());
                next.push(NextStep::run("see its reader", format!("hermes-doctor check --pid {}", reader.pid)));
                if reader.state == ProcessState::Stopped {
                    next.push(NextStep::run("let it read on", format!("kill -CONT {}", reader.pid)));
                }
            }
        }
        if knows_readers && next.is_empty() {
            next.push(NextStep::say("No other process that could be seen has its other end open"));
        }
        next.push(NextStep::say("Let the server write its log to a file, or to a reader that keeps up"));
        Some(finding(
            id::OUTPUT_PIPE_FULL,
            Severity::Critical,
            format!("{} to write to {name}{by}", counted(threads.len(), "thread waits", "threads wait")),
            evidence,
            next,
        ))
    }

    /// One thread runs all the time while others request the interpreter lock every 5 ms and never get it.
    fn interpreter_held(&self) -> Option<Finding> {
        let activity = self.activity()?;
        let per_second = |thread: &Thread| {
            thread.sleeps.map_or(0.0, |sleeps| sleeps as f64 * 1000.0 / activity.between_ms.max(1) as f64)
        };
        let asks = |thread: &&Thread| {
            let is_limited = |look: &ThreadSample| {
                is_futex(look) && look.system_call.as_ref().is_none_or(|call| call.is_unlimited != Some(true))
            };
            thread.always(is_limited) && per_second(thread) >= WAKES_FOR_INTERPRETER
        };
        let holder = activity
            .threads
            .iter()
            .filter(|thread| {
                thread.always(|look| look.state == ProcessState::Running) && self.share(thread, activity) >= RUNS
            })
            .max_by(|a, b| a.cpu_ms.cmp(&b.cpu_ms))?;
        let waiting: Vec<&Thread> = activity.threads.iter().filter(asks).collect();
        let main = activity.main()?;
        // The threads of the accept loop wait for the lock, or hold it.
        if waiting.is_empty()
            || !(asks(&main) || holder.is_main)
            || waiting.iter().any(|thread| thread.tid == holder.tid)
        {
            return None;
        }
        let mut threads = vec![holder];
        threads.extend(&waiting);
        let percent = self.share(holder, activity) * 100.0;
        let who = if holder.is_main {
            "the main thread".to_owned()
        } else {
            format!("thread {} ({})", holder.tid, holder.name)
        };
        Some(finding(
            id::GIL_HELD,
            Severity::Critical,
            format!(
                "{who} keeps the interpreter: {percent:.0} % CPU, while {} for it",
                counted(waiting.len(), "thread waits", "threads wait")
            ),
            self.evidence(activity, &threads),
            vec![
                see_stacks(self.server, "see what it runs"),
                NextStep::say(
                    "Long regular expressions and other calls into C keep the interpreter until they return",
                ),
            ],
        ))
    }

    /// Accepted, with a request and no response, while the accept loop is free and no other request is
    /// answered.
    fn handlers_stuck(&self) -> Option<Finding> {
        // For another program it is unknown whether it waits for more data from its client.
        if self.outcome != Outcome::NoAnswer || !self.server.kind.is_hermes() {
            return None;
        }
        let activity = self.activity()?;
        let last = self.looks.last()?;
        let is_accepted = last.probe_accepted == Some(true) && last.accept_queue == 0;
        let others_are_served = self.looks.iter().any(|look| look.answered_since > 0);
        if !is_accepted || others_are_served || !activity.main()?.always(polls) {
            return None;
        }
        let own: Vec<&Thread> = activity.threads.iter().filter(|thread| thread.is_new).collect();
        let locked: Vec<&Thread> =
            activity.threads.iter().filter(|thread| !thread.is_main && stuck_at(thread) == Some(LOCK)).collect();
        // In a pool, the thread of this request is unknown: then every worker must be stuck, and have a
        // request.
        let workers = activity.threads.iter().filter(|thread| !thread.is_main).count();
        let waits =
            u64::try_from(workers).is_ok_and(|workers| last.unanswered.is_some_and(|waits| waits >= workers));
        let is_pool_stuck = own.is_empty() && workers > 0 && locked.len() == workers && waits;
        // A handler that sleeps for a time, waits for another server, or works makes progress; one that waits
        // for a lock or a full pipe does not.
        let what = own.iter().find_map(|thread| stuck_at(thread)).or(is_pool_stuck.then_some(LOCK))?;
        let what = match own.is_empty() {
            true => format!("; all {workers} workers wait for {what}"),
            false => format!("; this one's handler waits for {what}"),
        };
        let waiting = last.unanswered.unwrap_or(1).max(1);
        let title = match self.route {
            None => {
                let one = "request was accepted and is not answered";
                format!("{}{what}", counted(waiting, one, "requests were accepted and are not answered"))
            }
            Some(route) => format!("{}: accepted and not answered{what}", route.path),
        };
        let mut threads: Vec<&Thread> = activity.main().into_iter().collect();
        threads.extend(&own);
        let mut evidence = self.evidence(activity, &threads);
        let pid = self.server.pid.unwrap_or(0);
        evidence.push(Evidence::new("the probe's connection was accepted", true, "sock_diag"));
        evidence.push(Evidence::new("accept queue at the last look", last.accept_queue, "sock_diag"));
        if let Some(unanswered) = last.unanswered {
            evidence.push(Evidence::new("accepted connections that have got no byte", unanswered, "sock_diag"));
        }
        evidence.push(Evidence::new("threads that wait for a lock and do not come on", locked.len(), source(pid)));
        Some(Finding {
            subject: self.route.map(|route| route.path.clone()).map(|text| text.to_string()),
            ..finding(
                id::HANDLERS_STUCK,
                Severity::Critical,
                title,
                evidence,
                vec![see_stacks(self.server, "see which lock, and who holds it")],
            )
        })
    }
}

/// The step that reads the stacks, if it is a Python program.
pub fn see_stacks(server: &Server, what: &str) -> NextStep {
    let executable = server.process.as_ref().and_then(|process| process.executable.as_deref());
    match server.pid.filter(|_| executable.is_none_or(|path| path.contains("python"))) {
        Some(pid) => NextStep::run(what, format!("hermes-doctor stacks --pid {pid}")),
        None => NextStep::say("Take its stacks with a debugger of its language before a restart"),
    }
}

/// A number with its noun.
pub fn counted(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}

/// Whether a route waited in a way that is also how SQLite waits for a lock of another process.
pub fn route_waits_for_database(server: &Server) -> bool {
    let routes = server.health.iter().flat_map(|health| &health.routes);
    let mut slow = routes.filter(|route| !route.attempt.outcome.is_answer() || route.took_ms() >= SLOW_MS);
    slow.any(|route| {
        let own = route.activity.iter().flat_map(|activity| &activity.threads).filter(|thread| thread.is_new);
        let mut own = own.peekable();
        own.peek().is_none() || own.any(|thread| !is_idle(thread))
    })
}

/// Whether the activity of a late route can be a first start: it was answered at last, or works. A thread that
/// only waits does not migrate.
fn may_migrate(route: &Route) -> bool {
    if route.attempt.outcome.is_answer() {
        return true;
    }
    let Some(activity) = &route.activity else { return false };
    let mut own = activity.threads.iter().filter(|thread| thread.is_new).peekable();
    match own.peek() {
        Some(_) => own.any(|thread| !is_idle(thread)),
        None => activity.cpu_ms as f64 >= activity.between_ms as f64 * AT_WORK,
    }
}

/// Routes that are answered late or not at all, with an error, or incompletely.
fn routes_slow(server: &Server, routes: &[Route], verdict: &mut Verdict) {
    if !routes.is_empty() {
        verdict.decide(id::ROUTE_SLOW, None);
    }
    // A first start with migrations is busy; a server without activity does not migrate.
    let age = server.process.as_ref().and_then(|process| process.age_ms);
    let is_young = age.is_some_and(|age| age < FIRST_START_MS);
    for route in routes {
        let took = route.took_ms();
        let seconds = took / 1000.0;
        let path = &route.path;
        let (id, mut severity, title) = match route.attempt.outcome {
            Outcome::NoAnswer | Outcome::Incomplete | Outcome::ConnectTimeout => {
                let what = if route.attempt.outcome == Outcome::Incomplete { "no whole answer" } else { "no byte" };
                let title = format!("{path}: {what} in {seconds:.1} s; the health path was answered before");
                (id::ROUTE_SLOW, Severity::Critical, title)
            }
            Outcome::Empty => (id::REPLY_EMPTY, Severity::Critical, format!("{path}: closed without a byte")),
            Outcome::Reset => {
                (id::CONNECTION_RESET, Severity::Critical, format!("{path}: the connection is reset"))
            }
            outcome if outcome.is_answer() && took >= SLOW_MS => {
                (id::ROUTE_SLOW, Severity::Warning, format!("{path}: answered after {seconds:.1} s"))
            }
            Outcome::Unexpected | Outcome::Overloaded | Outcome::Degraded => {
                let status = route.attempt.http_status.unwrap_or(0);
                (id::HEALTH_UNEXPECTED_ANSWER, Severity::Warning, format!("{path} answers {status}"))
            }
            Outcome::NotHttp | Outcome::TlsFailed => {
                (id::HEALTH_UNEXPECTED_ANSWER, Severity::Warning, format!("{path} answers, but not in HTTP"))
            }
            _ => continue,
        };
        let is_explained = [
            id::GIL_HELD,
            id::HANDLERS_STUCK,
            id::OUTPUT_PIPE_FULL,
            id::UNINTERRUPTIBLE_SLEEP,
            id::DATABASE_LOCK_HELD,
        ]
        .into_iter()
        .any(|id| verdict.holds(id));
        let mut title = title;
        if id == id::ROUTE_SLOW && is_young && !is_explained && may_migrate(route) {
            severity = Severity::Info;
            title.push_str(&format!(
                "; the server is {} s old, and a first start can take that long",
                age.unwrap_or(0) / 1000
            ));
        }
        let mut evidence = vec![
            Evidence::new("request", format!("GET {}", route.attempt.url), "HTTP probe"),
            Evidence::new("outcome", route.attempt.outcome.words(), "HTTP probe"),
            Evidence::new("time, in ms", (took * 10.0).round() / 10.0, "HTTP probe"),
            Evidence::new("deadline for the first byte, in ms", route.deadline_ms, "HTTP probe"),
        ];
        if let Some(activity) = &route.activity {
            let threads = activity.threads.iter().filter(|thread| thread.is_new).take(4);
            evidence.extend(threads.map(|thread| {
                let text = words(thread, activity.between_ms);
                Evidence::new(
                    format!("thread {} of this request", thread.tid),
                    text,
                    source(server.pid.unwrap_or(0)),
                )
            }));
        }
        let next = match (id, server.pid) {
            (id::ROUTE_SLOW, Some(_)) => vec![see_stacks(server, "see where it waits")],
            _ => vec![NextStep::say("The server's log has the error behind it")],
        };
        verdict.raise(Finding {
            subject: Some(path.clone().to_string()),
            ..finding(id, severity, title, evidence, next)
        });
    }
}
