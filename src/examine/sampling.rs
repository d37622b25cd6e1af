//! Descriptors over time: repeated samples, comparison with saved reports, and requests between samples.

use crate::collect::{Deadline, Host, this_host};
use crate::model::{
    Batch, Descriptors, Envelope, Exercise, FamilySample, Gap, GapDetail, GapReason, GapSubject, Identity, Outcome,
    PathCost, Process, Sample, Server, Trend, id, whole_milliseconds,
};
use crate::parse::sockets::TcpState;
use crate::probe::{self, ProbeRequest, Timeouts};
use crate::redact;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

/// Time for one sample; a host that needs longer is not sampled more often.
const ONE_SAMPLE: Duration = Duration::from_secs(5);
/// Maximum number of samples that are kept; of a longer series every second sample of the older half is
/// dropped.
const MAX_SAMPLES: usize = 4096;
/// At least one of this many samples is a full walk: one kind can replace another while the number stays the
/// same.
const WALK_AT_LEAST: u64 = 8;
/// Interval of the check for an end.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Interval and number of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SamplingPlan {
    /// Number of samples; `None` until the user ends it.
    pub samples: Option<u64>,
    /// Time between two samples.
    pub every: Duration,
}

/// Receives each sample, and decides when to end.
pub trait Watcher {
    /// A sample was taken; `trend` includes it.
    fn sample(&mut self, sample: &Sample, trend: &Trend);
    /// Whether the user has ended the sampling.
    fn is_over(&self) -> bool;
}

/// Samples the descriptors of a server as planned. A full walk is made for the first and last sample, after a
/// change of their number, and at intervals; otherwise only the number is read. Returns whether the process
/// lived to the end.
pub fn sample(server: &mut Server, plan: SamplingPlan, watcher: &mut dyn Watcher) -> bool {
    let Some(process) = server.process.clone() else { return false };
    let mut is_there = true;
    let begun = Instant::now();
    let mut trend = Trend { soft_limit: None, samples: Vec::new() };
    let mut taken = 0_u64;
    loop {
        taken += 1;
        let is_last = plan.samples.is_some_and(|samples| taken >= samples) || watcher.is_over();
        let walks = is_last || taken.is_multiple_of(WALK_AT_LEAST);
        match sample_once(&process, server.port, begun, trend.samples.last().filter(|_| !walks)) {
            Ok((sample, facts)) => {
                if let Some(facts) = facts {
                    trend.soft_limit = facts.soft_limit;
                    server.descriptors = Some(facts);
                }
                trend.samples.push(sample);
            }
            Err(gap) => {
                is_there = gap.reason != GapReason::Vanished;
                server.gaps.push(gap);
                break;
            }
        }
        if let Some(sample) = trend.samples.last() {
            watcher.sample(sample, &trend);
        }
        if is_last {
            break;
        }
        thin_out(&mut trend.samples);
        let next = begun + moment(plan.every, taken);
        while Instant::now() < next && !watcher.is_over() {
            std::thread::sleep(POLL_INTERVAL.min(next.saturating_duration_since(Instant::now())));
        }
    }
    server.trend = Some(trend);
    is_there
}

/// Replaces a server that ended during sampling by the one that runs now. Earlier samples are kept.
pub fn replace_ended(server: &mut Server, now: Option<Server>) {
    let old = server.pid;
    let (trend, mut gaps) = (server.trend.take(), std::mem::take(&mut server.gaps));
    match now {
        Some(now) => *server = now,
        None => {
            server.process = None;
            server.descriptors = None;
        }
    }
    if let (Some(old), Some(new)) = (old, server.pid.filter(|_| server.process.is_some())) {
        let detail = GapDetail::Restarted { old, new };
        gaps.push(Gap::new("the server", GapReason::Vanished, detail).blocking(&[id::SERVER_NOT_RUNNING]));
    }
    server.trend = trend;
    server.gaps.append(&mut gaps);
}

/// Time of a sample since the start, so that the durations of samples do not add up. Intervals are uneven on
/// purpose: a series with a period near an even interval would look like a slow trend.
pub fn moment(every: Duration, taken: u64) -> Duration {
    let scattered =
        taken.wrapping_mul(6_364_136_223_846_793_005).rotate_left(29).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // Up to two fifths of the interval early or late.
    let share = (scattered >> 40) as f64 / f64::from(1 << 24) * 0.8 - 0.4;
    const MAX_LENGTH: Duration = Duration::from_secs(10 * 365 * 86_400);
    let seconds = every.as_secs_f64() * (taken as f64 + share).max(0.0);
    Duration::try_from_secs_f64(seconds).unwrap_or(MAX_LENGTH).min(MAX_LENGTH)
}

/// Takes one sample. Without a walk, the kinds are those of the sample before, which has the same number of
/// descriptors.
fn sample_once(
    process: &Process,
    port: Option<u16>,
    begun: Instant,
    before: Option<&Sample>,
) -> Result<(Sample, Option<Descriptors>), Gap> {
    let host = this_host(Deadline::after(ONE_SAMPLE));
    still_there(&*host, process.identity)?;
    let usage = host.usage(process.identity)?;
    let table = host.sockets(Some(process)).value;
    let clients = table
        .tcp
        .iter()
        .filter(|socket| socket.state == TcpState::ESTABLISHED && Some(socket.local.port()) == port)
        .count();
    let mut sample = Sample {
        at_ms: whole_milliseconds(begun.elapsed()),
        open: usage.open,
        connected: port.filter(|_| !table.source.is_empty()).map(|_| u64::try_from(clients).unwrap_or(u64::MAX)),
        cpu_ms: Some(usage.cpu_ms),
        ..Sample::default()
    };
    if let Some(before) = before.filter(|before| before.open.is_some() && before.open == usage.open) {
        sample.families.clone_from(&before.families);
        sample.kinds.clone_from(&before.kinds);
        return Ok((sample, None));
    }
    let facts = host.descriptors(process, &table)?.value.facts;
    still_there(&*host, process.identity)?;
    let of = of_descriptors(&facts);
    Ok((Sample { open: of.open, walked: true, kinds: of.kinds, families: of.families, ..sample }, Some(facts)))
}

fn still_there(host: &dyn Host, identity: Identity) -> Result<(), Gap> {
    if host.identify(identity.pid) == Ok(identity) {
        return Ok(());
    }
    let detail = GapDetail::EndedBetweenSamples;
    Err(Gap::new(format!("process {}", identity.pid), GapReason::Vanished, detail))
}

/// Converts the result of a walk to a sample.
fn of_descriptors(facts: &Descriptors) -> Sample {
    let families = facts.sqlite.iter().map(|family| FamilySample {
        path: family.path.clone(),
        db: family.db,
        wal: family.wal,
        shm: family.shm,
    });
    Sample {
        open: facts.open,
        walked: true,
        kinds: facts.by_kind.clone(),
        families: families.collect(),
        ..Sample::default()
    }
}

fn thin_out(samples: &mut Vec<Sample>) {
    if samples.len() < MAX_SAMPLES {
        return;
    }
    let half = samples.len() / 2;
    let mut index = 0;
    samples.retain(|_| {
        index += 1;
        index > half || index % 2 == 1
    });
}

/// Why a report cannot be compared with the present state.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompareError {
    /// The report has no server like this one.
    #[error(
        "{0} has no descriptors of a server with this kind and the same home or port; compare a report of `check` or `fds`"
    )]
    NoSuchServer(String),
    /// The time of the report does not parse.
    #[error("{0} has no valid start time")]
    NoTime(String),
}

/// Puts saved reports before the present state. Each counts as one sample. Reports of another process (the
/// server was restarted in between) are skipped, with a note. `is_hidden` is whether names of this server were
/// redacted too.
///
/// # Errors
/// When a report has nothing to compare.
pub fn compare(
    server: &mut Server,
    now: SystemTime,
    is_hidden: bool,
    reports: &[(String, Envelope)],
) -> Result<(), CompareError> {
    let Some(facts) = server.descriptors.clone() else { return Ok(()) };
    let age = |server: &Server| server.process.as_ref().and_then(|process| process.age_ms);
    let mut moments = vec![Moment { at: now, age_ms: age(server), sample: of_descriptors(&facts) }];
    let mut is_hidden = is_hidden;
    for (name, report) in reports {
        let is_it = |old: &&Server| {
            old.kind == server.kind
                && old.descriptors.is_some()
                && (old.home == server.home || old.port == server.port)
        };
        let old = report.servers.iter().filter(is_it).max_by_key(|old| old.pid == server.pid);
        let Some((old, then)) = old.and_then(|old| Some((old, old.descriptors.as_ref()?))) else {
            return Err(CompareError::NoSuchServer(name.clone()));
        };
        let at = report.started_at.time().ok_or_else(|| CompareError::NoTime(name.clone()))?;
        let identity = |server: &Server| server.process.as_ref().map(|process| process.identity);
        if identity(old) != identity(server) {
            let pid = old.pid.map_or("no process".to_owned(), |pid| format!("pid {pid}"));
            let detail = format!(
                "{name} is a report of {pid}, and the server was restarted since then, so it is not compared"
            );
            server.gaps.push(Gap::new(GapSubject::GrowthSinceReport, GapReason::Vanished, detail));
            continue;
        }
        is_hidden |= redact::is_hidden(report);
        moments.push(Moment { at, age_ms: age(old), sample: of_descriptors(then) });
    }
    if is_hidden {
        by_known_names(&facts, &mut moments);
    }
    server.trend = Some(Trend { soft_limit: facts.soft_limit, samples: in_order(moments) });
    Ok(())
}

/// A process in one report.
struct Moment {
    /// Time by the clock of the host.
    at: SystemTime,
    /// Age of the process, which setting the clock does not change.
    age_ms: Option<u64>,
    sample: Sample,
}

/// The samples, oldest first: by the age of the process if all have it, since the clock may have been set in
/// between.
fn in_order(mut moments: Vec<Moment>) -> Vec<Sample> {
    let ages: Option<Vec<u64>> = moments.iter().map(|moment| moment.age_ms).collect();
    let youngest = ages.and_then(|ages| ages.into_iter().min());
    let earliest = moments.iter().map(|moment| moment.at).min();
    let since_first = |moment: &Moment| match (youngest, moment.age_ms) {
        (Some(youngest), Some(age)) => age.saturating_sub(youngest),
        _ => {
            let since = earliest.and_then(|earliest| moment.at.duration_since(earliest).ok()).unwrap_or_default();
            whole_milliseconds(since)
        }
    };
    moments.sort_by_key(since_first);
    moments.into_iter().map(|moment| Sample { at_ms: since_first(&moment), ..moment.sample }).collect()
}

/// If one of the reports has redacted names, databases are matched by the file names that every Hermes host
/// has. The other databases are counted with all other files, in every sample.
fn by_known_names(now: &Descriptors, moments: &mut [Moment]) {
    let name = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    for Moment { sample, .. } in moments {
        let mut known: BTreeMap<String, FamilySample> = BTreeMap::new();
        for family in sample.families.drain(..).filter(|family| redact::keeps_name(&name(&family.path))) {
            let sum = known.entry(name(&family.path)).or_default();
            sum.db = sum.db.saturating_add(family.db);
            sum.wal = sum.wal.saturating_add(family.wal);
            sum.shm = sum.shm.saturating_add(family.shm);
        }
        sample.families = known
            .into_iter()
            .map(|(file, sum)| {
                let mut own = now.sqlite.iter().filter(|own| name(&own.path) == file);
                let path = match (own.next(), own.next()) {
                    (Some(only), None) => only.path.to_string(),
                    _ => file,
                };
                FamilySample { path: path.into(), ..sum }
            })
            .collect();
    }
}

/// Why no request is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExerciseError {
    /// No process runs.
    #[error("there is no process to send requests to")]
    NoProcess,
    /// The process does not listen.
    #[error("no listening port of the server was found; give it with --port")]
    NoListener,
    /// The process is in another network namespace.
    #[error("the server is in another network namespace: run hermes-doctor there")]
    OtherNetwork,
    /// Requests would leave the loopback interface.
    #[error(
        "the server listens only on {0}, which is not a loopback address; use --yes-remote to send the requests there"
    )]
    NotLoopback(IpAddr),
}

/// Requests for `--exercise`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExercisePlan {
    /// Paths; each gets the same number of requests.
    pub paths: Vec<String>,
    /// Requests for each path.
    pub requests: u64,
    /// Requests between two samples.
    pub batch: u64,
    /// Allow an address that is not a loopback address.
    pub yes_remote: bool,
    /// Time for each phase of a request.
    pub timeout: Duration,
}

/// Share of the soft limit at which requests stop: the rest is left to the server.
const ENOUGH: f64 = 0.8;
/// Time for handlers to end before their descriptors are counted.
const SETTLE: Duration = Duration::from_millis(150);

/// Sends requests in batches to the server's own address and counts the descriptors that each batch leaves
/// open. It stops at 80 % of the soft limit, when the server stops answering, and when the user ends it.
///
/// # Errors
/// When there is no address, or it is not a loopback address.
pub fn exercise(
    server: &mut Server,
    plan: &ExercisePlan,
    is_over: &dyn Fn() -> bool,
    each: &mut dyn FnMut(&Batch),
) -> Result<(), ExerciseError> {
    let process = server.process.clone().ok_or(ExerciseError::NoProcess)?;
    let (address, tls) = target(server, plan)?;
    let host = address.ip().to_string();
    let kind = server.kind;
    let scheme = if tls { "https" } else { "http" };
    let mut exercise = Exercise { to: format!("{scheme}://{address}").into(), ..Exercise::default() };
    'paths: for path in &plan.paths {
        let shown = crate::parse::mask::url(&crate::model::text::printable(path.as_bytes()));
        let mut before = None;
        let mut sent = 0_u64;
        let mut batch = 0_u64;
        loop {
            let requests = if before.is_none() { 0 } else { plan.batch.min(plan.requests - sent) };
            let mut answered = 0_u64;
            for _ in 0..requests {
                if is_over() {
                    exercise.stopped = Some("interrupted".into());
                    break;
                }
                let knock = ProbeRequest { address, tls, host: host.clone(), path: path.clone(), kind };
                let timeouts =
                    Timeouts { phase: plan.timeout, total: Deadline::after(plan.timeout.saturating_mul(4)) };
                let attempt = probe::attempt(&knock, timeouts, &mut |_| {});
                sent += 1;
                answered += u64::from(attempt.outcome.is_answer() || attempt.outcome == Outcome::Unexpected);
            }
            std::thread::sleep(SETTLE);
            let looked = open_of(&process);
            let (facts, soft_limit) = match looked {
                Ok(descriptors) => {
                    let looked = (of_descriptors(&descriptors), descriptors.soft_limit);
                    server.descriptors = Some(descriptors);
                    looked
                }
                Err(gap) => {
                    exercise.stopped = Some(format!("{}: {}", gap.what, gap.detail).into());
                    server.gaps.push(gap);
                    break 'paths;
                }
            };
            let handles = facts.families.iter().map(|family| family.db + family.wal).sum();
            let row = Batch {
                path: shown.clone().into(),
                batch,
                requests,
                answered,
                open: facts.open.unwrap_or(0),
                database_handles: handles,
            };
            each(&row);
            let (open, first) = (row.open, *before.get_or_insert((row.open, handles)));
            exercise.batches.push(row);
            let share = soft_limit.filter(|limit| *limit > 0).map(|limit| open as f64 / limit as f64);
            if share.is_some_and(|share| share >= ENOUGH) {
                exercise.stopped = Some(GapDetail::ManyOpen { open });
            } else if requests > 0 && answered == 0 && exercise.stopped.is_none() {
                exercise.stopped = Some(GapDetail::NoneAnswered);
            }
            batch += 1;
            if sent >= plan.requests || exercise.stopped.is_some() {
                exercise.paths.push(cost(shown, sent, first, (open, handles)));
                if exercise.stopped.is_some() {
                    break 'paths;
                }
                break;
            }
        }
    }
    server.exercise = Some(exercise);
    Ok(())
}

fn cost(path: String, requests: u64, before: (u64, u64), after: (u64, u64)) -> PathCost {
    let more = |after: u64, before: u64| {
        i64::try_from(after).unwrap_or(i64::MAX).saturating_sub(i64::try_from(before).unwrap_or(i64::MAX))
    };
    let left_open = more(after.0, before.0);
    let per_request = if requests == 0 { 0.0 } else { left_open as f64 / requests as f64 };
    PathCost { path: path.into(), requests, left_open, left_database_handles: more(after.1, before.1), per_request }
}

fn open_of(process: &Process) -> Result<Descriptors, Gap> {
    let host = this_host(Deadline::after(ONE_SAMPLE));
    still_there(&*host, process.identity)?;
    let table = host.sockets(Some(process)).value;
    Ok(host.descriptors(process, &table)?.value.facts)
}

/// The address that the server listens on, over loopback if possible.
fn target(server: &Server, plan: &ExercisePlan) -> Result<(SocketAddr, bool), ExerciseError> {
    let listeners = server.listeners.as_ref().ok_or(ExerciseError::NoListener)?;
    let bound: Vec<IpAddr> = listeners
        .sockets
        .iter()
        .filter(|socket| listeners.is_served_by(server.pid, socket.inode))
        .filter_map(|socket| socket.address.parse().ok())
        .collect();
    let addresses: Vec<IpAddr> = bound
        .iter()
        .map(|address| match *address {
            IpAddr::V4(address) if address.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            // It may not accept IPv4.
            IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(std::net::Ipv6Addr::LOCALHOST),
            address => address,
        })
        .collect();
    if server.process.as_ref().is_some_and(|process| process.foreign_network == Some(true)) {
        return Err(ExerciseError::OtherNetwork);
    }
    // The address that has just answered is preferred.
    let url = server.health.as_ref().and_then(|health| url::Url::parse(health.url.as_deref()?).ok());
    let answered: Option<IpAddr> = url.as_ref().and_then(|url| match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    });
    let is_its = |address: &IpAddr| bound.iter().any(|own| own == address || own.is_unspecified());
    let answered = answered.filter(|address| address.is_loopback() && is_its(address));
    let chosen = answered.as_ref().or(addresses.iter().find(|address| address.is_loopback())).or(addresses.first());
    let chosen = *chosen.ok_or(ExerciseError::NoListener)?;
    if !chosen.is_loopback() && !plan.yes_remote {
        return Err(ExerciseError::NotLoopback(chosen));
    }
    let tls = url.is_some_and(|url| url.scheme() == "https");
    Ok((SocketAddr::new(chosen, listeners.port), tls))
}

#[cfg(test)]
mod tests;
