//! The server's side of a request in flight: the states of its connections, and the activity of its threads.

use super::Examination;
use crate::collect::ThreadEntry;
use crate::model::{Activity, Gap, Identity, Pipe, PipeReader, PortSample, Server, Thread, id, whole_milliseconds};
use crate::parse::sockets::{TcpSocket, TcpState, unmapped};
use crate::probe::Waiting;
use crate::target::listening;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Maximum number of pipes that are checked for readers; a server has two.
const MAX_PIPES: usize = 4;

/// Maximum number of threads that a report lists.
const MAX_KEPT: usize = 512;

/// Collects the samples that are taken while one request waits.
pub(super) struct RequestSamples<'a> {
    examination: &'a Examination<'a>,
    server: &'a Server,
    looks: Vec<PortSample>,
    /// Peers of the pending connections, and of those without a response, at the first sample.
    first: Option<(HashSet<SocketAddr>, HashSet<SocketAddr>)>,
    threads: Vec<ThreadTable>,
    gaps: Vec<Gap>,
}

/// The threads at one moment.
struct ThreadTable {
    at: Instant,
    since_connect: Duration,
    cpu_ms: u64,
    entries: Vec<ThreadEntry>,
    omitted: u64,
}

/// The samples of one request.
#[derive(Default)]
pub(super) struct ActivitySamples {
    pub looks: Vec<PortSample>,
    pub activity: Option<Activity>,
    pub gaps: Vec<Gap>,
}

impl<'a> RequestSamples<'a> {
    pub fn new(examination: &'a Examination<'a>, server: &'a Server) -> Self {
        Self { examination, server, looks: Vec::new(), first: None, threads: Vec::new(), gaps: Vec::new() }
    }

    /// Takes one sample. `waiting` is the request's own connection, if there is one.
    pub fn sample(&mut self, waiting: Option<Waiting>, after: Duration) {
        let begun = Instant::now();
        self.sample_connections(waiting, after);
        self.sample_threads(begun, after);
    }

    fn sample_connections(&mut self, waiting: Option<Waiting>, after: Duration) {
        let Some(port) = self.server.port else { return };
        let table = self.examination.survey.host.sockets_in_detail(self.server.process.as_ref()).value;
        if table.source.is_empty() {
            return;
        }
        // The server's end of the probe's connection has the probe's addresses swapped.
        let own = waiting.and_then(|waiting| {
            let is_its = |socket: &&TcpSocket| {
                unmapped(socket.local) == waiting.remote && unmapped(socket.remote) == waiting.local
            };
            table.tcp.iter().find(is_its)
        });
        let here = || table.tcp.iter().filter(|socket| socket.local.port() == port);
        let waits: HashSet<SocketAddr> =
            here().filter(|socket| is_waiting(socket)).map(|socket| socket.remote).collect();
        let is_told = here().any(|socket| socket.progress.is_some());
        let unanswered: HashSet<SocketAddr> =
            here().filter(|socket| is_unanswered(socket)).map(|socket| socket.remote).collect();
        let (waited, was_unanswered) = self.first.get_or_insert_with(|| (waits.clone(), unanswered.clone()));
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        // A connection that is gone may have been closed by its client, which leaves no CLOSE-WAIT socket here. So
        // only sockets that have sent data count.
        let has_got_bytes = |remote: &&SocketAddr| {
            here().any(|socket| {
                socket.remote == **remote && socket.progress.is_some_and(|progress| progress.has_sent)
            })
        };
        self.looks.push(PortSample {
            after_connect_ms: whole_milliseconds(after),
            accept_queue: listening(&table, port)
                .filter(|socket| {
                    let known = self.server.listeners.as_ref();
                    known.is_none_or(|known| known.is_served_by(self.server.pid, socket.inode))
                })
                .map(|socket| u64::from(socket.receive_queue))
                .sum(),
            not_accepted: count(waits.len()),
            probe_accepted: own.map(|socket| socket.inode != 0),
            accepted_since: count(waited.difference(&waits).count()),
            unanswered: is_told.then(|| count(unanswered.len())),
            answered_since: count(was_unanswered.difference(&unanswered).filter(has_got_bytes).count()),
        });
    }

    fn sample_threads(&mut self, begun: Instant, after: Duration) {
        let Some(identity) = self.server.process.as_ref().map(|process| process.identity) else { return };
        let host = self.examination.survey.host;
        match (host.threads(identity), host.usage(identity)) {
            (Ok(read), Ok(usage)) => {
                if self.threads.is_empty() {
                    self.gaps.extend(read.gaps);
                }
                let (entries, omitted) = read.value;
                // Ages are relative to this moment: the thread of this request is not older than its
                // connection.
                let since_connect = after.saturating_add(begun.elapsed());
                self.threads.push(ThreadTable {
                    at: Instant::now(),
                    since_connect,
                    cpu_ms: usage.cpu_ms,
                    entries,
                    omitted,
                });
            }
            (Err(gap), _) | (_, Err(gap)) if self.gaps.is_empty() => {
                self.gaps.push(gap.blocking(&[id::GIL_HELD, id::OUTPUT_PIPE_FULL, id::UNINTERRUPTIBLE_SLEEP]));
            }
            _ => {}
        }
    }

    /// The result of all samples for a request for `path`.
    pub fn end(mut self, path: &str) -> ActivitySamples {
        let identity = self.server.process.as_ref().map(|process| process.identity);
        let activity = match (self.threads.as_slice(), identity) {
            ([first, .., last], Some(identity)) => Some(self.joined(path, first, last, identity)),
            _ => None,
        };
        ActivitySamples { looks: std::mem::take(&mut self.looks), activity, gaps: std::mem::take(&mut self.gaps) }
    }

    fn joined(&self, path: &str, first: &ThreadTable, last: &ThreadTable, identity: Identity) -> Activity {
        let mut threads: Vec<Thread> = last
            .entries
            .iter()
            .map(|entry| {
                let before =
                    first.entries.iter().find(|before| before.tid == entry.tid && before.age_ms <= entry.age_ms);
                // Both are counted from boot, in hundredths of a second.
                let is_new =
                    entry.age_ms <= whole_milliseconds(last.since_connect).saturating_add(10) && !entry.is_main;
                let looks = before.iter().map(|before| before.look.clone()).chain([entry.look.clone()]).collect();
                Thread {
                    tid: entry.tid,
                    name: entry.name.clone().into(),
                    is_main: entry.is_main,
                    is_new,
                    looks,
                    cpu_ms: before.map(|before| entry.cpu_ms.saturating_sub(before.cpu_ms)),
                    sleeps: before.and_then(|before| Some(entry.sleeps?.saturating_sub(before.sleeps?))),
                }
            })
            .collect();
        let pipes = self.pipes(&threads, identity);
        // Of very many threads a report keeps those with activity before those that only wait.
        threads.sort_by_key(|thread| (!thread.is_main, !thread.is_new, !is_informative(thread), thread.tid));
        let left_out = threads.len().saturating_sub(MAX_KEPT);
        threads.truncate(MAX_KEPT);
        Activity {
            path: path.to_owned().into(),
            between_ms: whole_milliseconds(last.at.saturating_duration_since(first.at)),
            cpu_ms: last.cpu_ms.saturating_sub(first.cpu_ms),
            threads,
            threads_omitted: last.omitted.saturating_add(u64::try_from(left_out).unwrap_or(u64::MAX)),
            pipes,
        }
    }

    /// Pipes that threads waited on in both samples. Mostly it is standard output or standard error.
    fn pipes(&self, threads: &[Thread], identity: Identity) -> Vec<Pipe> {
        let mut descriptors: Vec<u32> = threads
            .iter()
            .filter(|thread| crate::diagnose::writes_to_full_pipe(thread))
            .filter_map(|thread| thread.last()?.system_call.as_ref()?.descriptor)
            .collect();
        descriptors.sort_unstable();
        descriptors.dedup();
        let survey = self.examination.survey;
        descriptors
            .into_iter()
            .take(MAX_PIPES)
            .filter_map(|descriptor| {
                let (inode, readers) = survey.host.pipe_readers(identity, descriptor).ok()??;
                let readers = readers.into_iter().filter_map(|pid| {
                    let identity = survey.host.identify(pid).ok()?;
                    let process = survey.host.process(identity).ok()?.value;
                    Some(PipeReader { pid, name: process.name, state: process.state })
                });
                Some(Pipe { descriptor, inode, readers: readers.collect() })
            })
            .collect()
    }
}

/// Whether the thread runs, has run or woken, or is in an uninterruptible sleep.
fn is_informative(thread: &Thread) -> bool {
    use crate::model::ProcessState;
    let is_special = |look: &crate::model::ThreadSample| {
        matches!(look.state, ProcessState::Running | ProcessState::DiskSleep)
            || look.wait_channel.as_deref().is_some_and(|channel| channel.contains("pipe_write"))
    };
    thread.looks.iter().any(is_special)
        || thread.cpu_ms.is_some_and(|cpu| cpu > 0)
        || thread.sleeps.is_some_and(|sleeps| sleeps > 0)
}

/// Whether the connection is pending: the kernel has completed it, and no process has accepted it.
fn is_waiting(socket: &TcpSocket) -> bool {
    socket.inode == 0 && matches!(socket.state, TcpState::ESTABLISHED | TcpState::CLOSE_WAIT)
}

/// Whether the connection was accepted, has sent a request, and has received nothing.
fn is_unanswered(socket: &TcpSocket) -> bool {
    socket.inode != 0
        && matches!(socket.state, TcpState::ESTABLISHED | TcpState::CLOSE_WAIT)
        && socket.progress.is_some_and(|progress| progress.has_received && !progress.has_sent)
}
