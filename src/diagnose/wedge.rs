//! Why a request gets no response, from the activity of the server's threads while it waits.

use super::verdict::Verdict;
use crate::model::{
    Activity, Doing, Outcome, PortSample, ProcessState, Raised, Route, RouteFinding, RouteProblem, SampledThread,
    Server, Severity, Thread, ThreadSample, WaitsFor, WedgeFinding, WedgeProblem, id,
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
        verdict.pass(id::HANDLERS_STUCK);
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
fn stuck_at(thread: &Thread) -> Option<WaitsFor> {
    let what = thread.last().and_then(waits_for).filter(|_| is_idle(thread))?;
    matches!(what, WaitsFor::Lock | WaitsFor::Reader).then_some(what)
}

/// What a thread waits for.
fn waits_for(look: &ThreadSample) -> Option<WaitsFor> {
    let call = look.system_call.as_ref();
    let channel = look.wait_channel.as_deref().unwrap_or_default();
    let name = call.map_or("", |call| call.name.as_str());
    if call.is_some_and(|call| call.is_unlimited == Some(true)) || name.is_empty() && channel.contains("futex") {
        Some(WaitsFor::Lock)
    } else if channel.contains("pipe_write") {
        Some(WaitsFor::Reader)
    } else if matches!(name, "nanosleep" | "clock_nanosleep") || channel.contains("nanosleep") {
        Some(WaitsFor::Time)
    } else if look.state == ProcessState::DiskSleep {
        Some(WaitsFor::Kernel)
    } else if matches!(name, "recvfrom" | "recvmsg" | "read") || polls(look) {
        Some(WaitsFor::Data)
    } else {
        None
    }
}

/// The main thread, for findings about the accept loop.
pub fn main_thread(activity: Option<&Activity>) -> Option<SampledThread> {
    let activity = activity?;
    Some(SampledThread { thread: activity.main()?.clone(), between_ms: activity.between_ms })
}

/// What the main thread does or waits for, if it is the thread that should accept: no other thread waited for
/// connections, and no accepted connection waits for a response.
pub fn main_thread_instead(activity: Option<&Activity>, looks: &[PortSample]) -> Option<Doing> {
    let activity = activity?;
    let main = activity.main()?;
    let others_accept = activity.threads.iter().any(|thread| !thread.is_main && thread.looks.iter().any(polls));
    let has_accepted = looks.iter().any(|look| look.unanswered.unwrap_or(0) > 0);
    if others_accept || has_accepted || main.last().is_some_and(polls) {
        return None;
    }
    let percent = main.cpu_ms? as f64 * 100.0 / activity.between_ms.max(1) as f64;
    match main.last().and_then(waits_for).filter(|_| is_idle(main)) {
        Some(what) => Some(Doing::MainWaits(what)),
        None => (percent >= AT_WORK * 100.0).then_some(Doing::MainWorks(percent)),
    }
}

/// What the server does while an accepted request waits.
pub fn after_accept(activity: Option<&Activity>) -> Option<Doing> {
    let activity = activity?;
    let percent = activity.cpu_ms as f64 * 100.0 / activity.between_ms.max(1) as f64;
    let own = activity.threads.iter().find(|thread| thread.is_new);
    let waits = own.filter(|thread| is_idle(thread)).and_then(|thread| thread.last()).and_then(waits_for);
    let main = activity.main().filter(|main| is_idle(main) && !main.last().is_some_and(polls));
    match (waits, main.and_then(|main| main.last()).and_then(waits_for)) {
        (Some(what), _) => Some(Doing::HandlerWaits(what)),
        (None, Some(what)) => Some(Doing::MainWaits(what)),
        (None, None) => (percent >= AT_WORK * 100.0).then_some(Doing::ServerWorks(percent)),
    }
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

    /// A critical finding that these threads show.
    fn raised(activity: &Activity, threads: &[&Thread], problem: WedgeProblem) -> Raised {
        let threads = threads.iter().map(|thread| (*thread).clone()).collect();
        let finding = WedgeFinding { between_ms: activity.between_ms, threads, problem };
        Raised::new(Severity::Critical, finding)
    }

    /// State D in both samples, in the same place and without progress. A working disk wakes its threads.
    fn uninterruptible(&self) -> Option<Raised> {
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
        let is_throttled = first.always(is_throttled);
        Some(Self::raised(activity, &threads, WedgeProblem::UninterruptibleSleep { is_throttled }))
    }

    fn pipe_full(&self) -> Option<Raised> {
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
        let pipes = activity.pipes.iter().filter(|pipe| Some(pipe.descriptor) == descriptor).cloned().collect();
        Some(Self::raised(activity, &threads, WedgeProblem::OutputPipeFull { descriptor, pipes }))
    }

    /// One thread runs all the time while others request the interpreter lock every 5 ms and never get it.
    fn interpreter_held(&self) -> Option<Raised> {
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
        let cpu_percent = self.share(holder, activity) * 100.0;
        let problem = WedgeProblem::GilHeld { cpu_percent, waiting: waiting.len() };
        Some(Self::raised(activity, &threads, problem))
    }

    /// Accepted, with a request and no response, while the accept loop is free and no other request is
    /// answered.
    fn handlers_stuck(&self) -> Option<Raised> {
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
        let locked: Vec<&Thread> = activity
            .threads
            .iter()
            .filter(|thread| !thread.is_main && stuck_at(thread) == Some(WaitsFor::Lock))
            .collect();
        // In a pool, the thread of this request is unknown: then every worker must be stuck, and have a
        // request.
        let workers = activity.threads.iter().filter(|thread| !thread.is_main).count();
        let waits =
            u64::try_from(workers).is_ok_and(|workers| last.unanswered.is_some_and(|waits| waits >= workers));
        let is_pool_stuck = own.is_empty() && workers > 0 && locked.len() == workers && waits;
        // A handler that sleeps for a time, waits for another server, or works makes progress; one that waits
        // for a lock or a full pipe does not.
        let waits_for =
            own.iter().find_map(|thread| stuck_at(thread)).or(is_pool_stuck.then_some(WaitsFor::Lock))?;
        let mut threads: Vec<&Thread> = activity.main().into_iter().collect();
        threads.extend(&own);
        let problem = WedgeProblem::HandlersStuck {
            route: self.route.map(|route| route.path.to_string()),
            waits_for,
            pool: own.is_empty().then_some(workers),
            last: last.clone(),
            locked: locked.len(),
        };
        Some(Self::raised(activity, &threads, problem))
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
        verdict.pass(id::ROUTE_SLOW);
    }
    // A first start with migrations is busy; a server without activity does not migrate.
    let age = server.process.as_ref().and_then(|process| process.age_ms);
    let is_young = age.is_some_and(|age| age < FIRST_START_MS);
    for route in routes {
        let is_late = route.took_ms() >= SLOW_MS;
        let problem = match route.attempt.outcome {
            Outcome::NoAnswer | Outcome::ConnectTimeout => RouteProblem::NoAnswer,
            Outcome::Incomplete => RouteProblem::Incomplete,
            Outcome::Empty => RouteProblem::Empty,
            Outcome::Reset => RouteProblem::Reset,
            outcome if outcome.is_answer() && is_late => RouteProblem::Slow,
            Outcome::Unexpected | Outcome::Overloaded | Outcome::Degraded => RouteProblem::Error,
            Outcome::NotHttp | Outcome::TlsFailed => RouteProblem::NotHttp,
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
        let is_first_start = problem.id() == id::ROUTE_SLOW && is_young && !is_explained && may_migrate(route);
        let severity = match problem {
            _ if is_first_start => Severity::Info,
            RouteProblem::Slow | RouteProblem::Error | RouteProblem::NotHttp => Severity::Warning,
            RouteProblem::NoAnswer | RouteProblem::Incomplete | RouteProblem::Empty | RouteProblem::Reset => {
                Severity::Critical
            }
        };
        let first_start_age_ms = is_first_start.then(|| age.unwrap_or(0));
        verdict.raise(Raised::new(severity, RouteFinding { route: route.clone(), problem, first_start_age_ms }));
    }
}
