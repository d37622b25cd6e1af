//! Reads that can hang, made in a process that can be abandoned, and with the rights of other users.
//!
//! An open or stat of a file on a dead network mount can block in the kernel, where even SIGKILL does not end it. So
//! can a read of `cmdline` or `environ` of a process with a locked memory map. A *thread* that is stuck there keeps the
//! whole process from being reaped. So a worker process makes these reads: this program, executed again, with one
//! thread, no environment, and two pipes. A worker that exceeds its timeout is abandoned: nothing waits for it, and the
//! kernel ends it with its parent as soon as it can be ended.

mod connection;
mod file;
mod frame;
#[cfg(target_os = "linux")]
mod procfs;
mod serve;
mod shares;
mod tools;
pub mod wire;

pub use connection::reap;
pub use file::{NamedFile, answers};
pub use serve::{end_with_parent, serve};
pub use wire::{Answer, Request};

use super::Deadline;
use crate::collect::foreign::Failure;
use crate::model::{Gap, GapDetail, GapReason};
use connection::{Remaining, Running, has_ended, leave, remaining, start};
use frame::{frame, read_frame};
use shares::Shares;
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};
use wire::{Reply, Subject};

/// The hidden first argument that makes this program a worker.
pub const ARGUMENT: &str = "internal-worker";

/// Timeout of one read.
const READ_TIMEOUT: Duration = Duration::from_millis(500);
/// Timeout of a supervisor's answer on its socket.
const EXCHANGE_TIMEOUT: Duration = Duration::from_millis(1500);
/// Timeout of a tool, a name service or a resolver.
const TOOL_TIMEOUT: Duration = Duration::from_secs(2);
/// Timeout of reading an interpreter's memory.
const STACKS_TIMEOUT: Duration = Duration::from_secs(5);
/// Workers that may be abandoned in one examination; after that, every read is a gap at once.
const MAX_ABANDONED: usize = 16;
/// Workers that may remain from earlier examinations of this process.
const MAX_REMAINING: usize = 32;
/// Duration from which a read is long. On a loaded host most reads are shorter.
const LONG: Duration = Duration::from_millis(50);
/// Total duration of long reads after which they are charged to their users.
const LONG_TOGETHER: Duration = Duration::from_millis(250);
/// Largest number of requests in flight.
const WINDOW: usize = 64;
/// Largest number of bytes in flight. Pipes hold 64 KiB, so neither side blocks on a full pipe while the other does.
const WINDOW_BYTES: usize = 32 * 1024;
/// Largest content of an answer, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// A request and its index.
type Waiting<'r> = (usize, &'r Request);

/// The client side of workers: starts worker processes, runs one at a time, and abandons those that hang.
pub struct Worker {
    running: Rc<RefCell<Running>>,
    abandoned: Vec<Remaining>,
    /// Keys of the requests that timed out in this examination.
    unanswered: Vec<String>,
    failed_to_start: Option<io::ErrorKind>,
    read_timeout: Duration,
    /// Whether it starts no process while too many workers of earlier examinations remain.
    is_of_examination: bool,
    shares: Rc<RefCell<Shares>>,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.abandoned.drain(..).for_each(leave);
    }
}

impl Default for Worker {
    fn default() -> Self {
        Self::new()
    }
}

impl Worker {
    /// A worker that starts its process at the first request.
    pub fn new() -> Self {
        Self::with_timeout(READ_TIMEOUT)
    }

    /// A worker with another timeout for single reads, for callers that prefer a slow answer to none.
    pub fn with_timeout(read_timeout: Duration) -> Self {
        Self {
            running: Rc::default(),
            abandoned: Vec::new(),
            unanswered: Vec::new(),
            failed_to_start: None,
            read_timeout,
            is_of_examination: true,
            shares: Rc::default(),
        }
    }

    /// Whether no worker process could be started, for lack of processes or descriptors.
    pub fn cannot_start(&self) -> bool {
        self.failed_to_start.is_some()
    }

    /// A worker that shares the running process, because starting one takes longer than most requests. It has its own
    /// count of abandoned processes.
    pub fn sharing(&self) -> Self {
        let mut other = self.separate();
        other.running = Rc::clone(&self.running);
        other
    }

    /// A worker with its own process, for the same examination.
    pub fn separate(&self) -> Self {
        let mut other = Self::with_timeout(self.read_timeout);
        other.shares = Rc::clone(&self.shares);
        other
    }

    /// Performs one request.
    ///
    /// # Errors
    /// A gap with the reason.
    pub fn ask(&mut self, request: Request, deadline: Deadline) -> Result<Answer, Gap> {
        let answer = self.perform(std::slice::from_ref(&request), deadline).pop();
        answer.unwrap_or_else(|| Err(Gap::new(request.what(), GapReason::Unsupported, GapDetail::WorkerSilent)))
    }

    /// Performs the requests and returns their answers in order. Each request has its timeout, and all have the
    /// deadline. A request is refused while an abandoned worker still waits for the same thing, and where its user has
    /// used up their share.
    pub fn perform(&mut self, requests: &[Request], deadline: Deadline) -> Vec<Result<Answer, Gap>> {
        let mut answers: Vec<Option<Result<Answer, Gap>>> = requests.iter().map(|_| None).collect();
        let mut waiting: Vec<Waiting> = requests.iter().enumerate().collect();
        while !waiting.is_empty() {
            for (index, gap) in self.refusals(&waiting, deadline) {
                answers[index] = Some(Err(gap));
            }
            waiting.retain(|(index, _)| answers[*index].is_none());
            // Requests for users with slow reads are made last and one at a time, so that no other request waits behind
            // them.
            let (last, first) = self.split_by_share(waiting, deadline);
            let (chosen, others, window) = if first.is_empty() { (last, first, 1) } else { (first, last, WINDOW) };
            let asked: Vec<&Request> = chosen.iter().map(|(_, request)| *request).collect();
            let had = self.perform_some(&asked, window, deadline);
            self.count(&asked, &had);
            for ((index, _), (answer, _)) in chosen.iter().zip(had) {
                answers[*index] = Some(answer);
            }
            waiting = chosen.into_iter().chain(others).filter(|(index, _)| answers[*index].is_none()).collect();
        }
        let nothing =
            |request: &Request| Gap::new(request.what(), GapReason::Unsupported, GapDetail::WorkerNothing);
        let answered = answers.into_iter().zip(requests);
        answered.map(|(answer, request)| answer.unwrap_or_else(|| Err(nothing(request)))).collect()
    }

    /// Splits the requests into those for users with slow reads, and the others.
    fn split_by_share<'r>(
        &mut self,
        requests: Vec<Waiting<'r>>,
        deadline: Deadline,
    ) -> (Vec<Waiting<'r>>, Vec<Waiting<'r>>) {
        if self.shares.borrow().are_even() {
            return (Vec::new(), requests);
        }
        let users = self.users_of(&requests.iter().map(|(_, request)| *request).collect::<Vec<_>>(), deadline);
        let shares = self.shares.borrow();
        let mut users = users.into_iter();
        requests.into_iter().partition(|_| users.next().flatten().is_some_and(|user| shares.has(user)))
    }

    /// The requests that are not made, by index, each with the reason.
    fn refusals(&mut self, requests: &[Waiting], deadline: Deadline) -> Vec<(usize, Gap)> {
        let of_worker = |worker: &Remaining| (worker.waits_for.clone(), worker.user);
        let mut left: Vec<(Option<String>, Option<u32>)> =
            remaining(|workers| workers.iter().map(of_worker).collect());
        left.extend(self.abandoned.iter().map(of_worker));
        left.extend(self.unanswered.iter().map(|waits_for| (Some(waits_for.clone()), None)));
        if left.is_empty() && self.shares.borrow().are_even() {
            return Vec::new();
        }
        let users = self.users_of(&requests.iter().map(|(_, request)| *request).collect::<Vec<_>>(), deadline);
        let mut refused = Vec::new();
        for ((index, request), user) in requests.iter().zip(users) {
            let refuse = |detail: GapDetail| (*index, Gap::new(request.what(), GapReason::Timeout, detail));
            let waits_for = request.waits_for();
            if left.iter().any(|(unanswered, _)| unanswered.as_ref() == Some(&waits_for)) {
                refused.push(refuse(GapDetail::AlreadyWaiting));
            } else if let Some(user) = user {
                let waiting = left.iter().filter(|(_, of)| *of == Some(user)).count();
                let refusal = self.shares.borrow().refusal(user, waiting, deadline.remaining());
                refused.extend(refusal.map(refuse));
            }
        }
        refused
    }

    /// The user that each request is charged to; `None` where it is not charged.
    fn users_of(&mut self, requests: &[&Request], deadline: Deadline) -> Vec<Option<u32>> {
        let subjects: Vec<Option<Subject>> = requests.iter().map(|request| request.subject()).collect();
        let unknown: BTreeSet<&Subject> = subjects.iter().flatten().collect();
        let unknown: Vec<Subject> =
            unknown.into_iter().filter(|subject| !self.shares.borrow().knows(subject)).cloned().collect();
        let questions: Vec<Request> = unknown.iter().map(|subject| Request::Accountable(subject.clone())).collect();
        // After one timeout the table of accounts is not read again: each attempt would take another timeout.
        let has_answered = !self.shares.borrow().accounts_hang;
        let questions: Vec<&Request> = questions.iter().filter(|_| has_answered).collect();
        let answers = self.perform_some(&questions, WINDOW, deadline);
        let mut answers = answers.into_iter().map(|(answer, _)| answer);
        for subject in unknown {
            let answer = answers.next();
            let mut shares = self.shares.borrow_mut();
            shares.accounts_hang |= matches!(&answer, Some(Err(gap)) if gap.reason == GapReason::Timeout);
            let user = if let Some(Ok(Answer::User(user))) = answer { Some(user) } else { None };
            shares.know(subject, user);
        }
        let shares = self.shares.borrow();
        subjects.iter().map(|subject| shares.user_of(subject.as_ref()?)).collect()
    }

    /// Charges slow and unanswered requests to their users.
    fn count(&mut self, requests: &[&Request], had: &[(Result<Answer, Gap>, Duration)]) {
        let is_late = |answer: &Result<Answer, Gap>| matches!(answer, Err(gap) if gap.reason == GapReason::Timeout);
        let (slow, took): (Vec<&Request>, Vec<(bool, Duration)>) = requests
            .iter()
            .zip(had)
            .filter(|(request, (_, took))| Shares::is_slow(*took) || request.is_further_page())
            .map(|(request, (answer, took))| (*request, (!is_late(answer), *took)))
            .unzip();
        if slow.is_empty() {
            return;
        }
        let users = self.users_of(&slow, Deadline::after(self.read_timeout));
        for ((user, (is_answered, took)), request) in users.into_iter().zip(took).zip(slow) {
            let Some(user) = user else { continue };
            self.shares.borrow_mut().count(user, took, is_answered);
            let waits_for = Some(request.waits_for());
            self.abandoned
                .iter_mut()
                .filter(|worker| worker.waits_for == waits_for)
                .for_each(|worker| worker.user = Some(user));
        }
    }

    /// Performs requests until one times out, or until long reads have taken [`LONG_TOGETHER`]. Returns the answers so
    /// far, each with its duration. At most `window` requests are in flight.
    fn perform_some(
        &mut self,
        requests: &[&Request],
        window: usize,
        deadline: Deadline,
    ) -> Vec<(Result<Answer, Gap>, Duration)> {
        let mut answers = Vec::with_capacity(requests.len());
        // Lengths of the requests that were sent and not answered.
        let mut under_way: VecDeque<usize> = VecDeque::new();
        let mut next = 0;
        let mut long = Duration::ZERO;
        while let Some(request) = requests.get(answers.len()) {
            if long > LONG_TOGETHER {
                break;
            }
            let begun = Instant::now();
            if deadline.is_over() {
                answers.push((Err(timeout(request, GapDetail::TimeLimitOfExamination)), Duration::ZERO));
                continue;
            }
            match self.step(requests, &mut under_way, &mut next, window, answers.len(), deadline) {
                Ok(reply) => {
                    under_way.pop_front();
                    let took = begun.elapsed();
                    long += if took >= LONG { took } else { Duration::ZERO };
                    let gap = |failure: Failure| failure.gap(request.what()).after(took);
                    answers.push((reply.map_err(gap), took));
                }
                Err(error) => {
                    // The first request hangs, or the worker died of it.
                    let hangs = error.kind() == io::ErrorKind::TimedOut;
                    self.abandon(hangs.then(|| request.waits_for()));
                    under_way.clear();
                    let gap = match error.kind() {
                        io::ErrorKind::TimedOut => timeout(request, GapDetail::NoAnswerInTime),
                        _ => Gap::new(
                            request.what(),
                            GapReason::Unsupported,
                            GapDetail::WorkerGone { error: error.to_string().into() },
                        ),
                    };
                    let took = begun.elapsed();
                    answers.push((Err(gap.after(took)), took));
                    // The requests after it go to a new worker. After a timeout, its user is determined first.
                    next = answers.len();
                    if hangs {
                        break;
                    }
                }
            }
        }
        // Requests that are still in flight can be slow as well, and their answers must not be taken for later ones.
        if !under_way.is_empty() {
            self.abandon(None);
        }
        answers
    }

    /// Sends as many requests as the window allows, and receives the answer to the oldest one.
    fn step(
        &mut self,
        requests: &[&Request],
        under_way: &mut VecDeque<usize>,
        next: &mut usize,
        window: usize,
        oldest: usize,
        deadline: Deadline,
    ) -> io::Result<Reply> {
        *next = (*next).max(oldest);
        self.connect()?;
        let mut running = self.running.borrow_mut();
        let connection = running.0.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        // Many at once: a system call for each would take longer than the reads.
        if under_way.len() <= window / 2 {
            let mut bytes = Vec::new();
            let already: usize = under_way.iter().sum();
            while let Some(request) = requests.get(*next)
                && under_way.len() < window
            {
                let request = frame(*request)?;
                // A single request is always sent: the worker reads it while it is written.
                if !under_way.is_empty() && already + bytes.len() + request.len() > WINDOW_BYTES {
                    break;
                }
                under_way.push_back(request.len());
                bytes.extend_from_slice(&request);
                *next += 1;
            }
            connection.input.write_all(&bytes)?;
        }
        let timeout = match requests.get(oldest) {
            Some(Request::Exchange { .. }) => EXCHANGE_TIMEOUT,
            Some(Request::Stacks(_)) => STACKS_TIMEOUT,
            Some(Request::Run { .. } | Request::Resolve(_)) => TOOL_TIMEOUT,
            _ => self.read_timeout,
        };
        let deadline = deadline.within(timeout);
        read_frame(|buffer| connection.read_exact(buffer, deadline))
    }

    fn connect(&mut self) -> io::Result<()> {
        if self.running.borrow().0.is_some() {
            return Ok(());
        }
        if let Some(kind) = self.failed_to_start {
            return Err(kind.into());
        }
        // Workers that were only slow have ended since.
        self.abandoned.retain(|worker| !has_ended(worker.child));
        let are_too_many = || remaining(|workers| workers.len() >= MAX_REMAINING);
        if self.abandoned.len() >= MAX_ABANDONED || self.is_of_examination && are_too_many() {
            return Err(io::Error::other("too many reads were abandoned already"));
        }
        let connection = start().inspect_err(|error| self.failed_to_start = Some(error.kind()))?;
        self.running.borrow_mut().0 = Some(connection);
        Ok(())
    }

    /// Closes the pipes and does nothing else to the worker: no signal, no wait.
    fn abandon(&mut self, waits_for: Option<String>) {
        self.unanswered.extend(waits_for.clone());
        if let Some(connection) = self.running.borrow_mut().0.take() {
            self.abandoned.push(Remaining { child: connection.child, waits_for, user: None });
        }
    }
}

/// Other systems have no procfs.
#[cfg(not(target_os = "linux"))]
mod procfs {
    use super::wire::{Reply, Request};
    use crate::collect::foreign::Failure;

    pub fn perform(_request: Request) -> Reply {
        Err(Failure::System(libc::ENOTSUP))
    }

    pub fn kernel_file(_path: &[u8], _limit: u32) -> Result<Vec<u8>, Failure> {
        Err(Failure::System(libc::ENOTSUP))
    }
}

fn timeout(request: &Request, detail: GapDetail) -> Gap {
    Gap::new(request.what(), GapReason::Timeout, detail)
}

#[cfg(test)]
mod tests {
    use super::connection::Connection;
    use super::*;
    use rustix::process::Pid;
    use std::process::{Command, Stdio};

    /// Few processes can have a `cmdline` that cannot be read, so this test uses a worker that reads requests and
    /// never answers.
    #[test]
    fn a_command_line_that_never_comes_is_a_gap_and_the_worker_is_abandoned() {
        let mut child = Command::new("sleep");
        let mut child = child.arg("60").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let pid = Pid::from_child(&child);
        let mut worker = Worker::new();
        worker.running.borrow_mut().0 = Some(Connection::new(input.into(), output.into(), pid));
        let begun = Instant::now();
        let answers = worker.perform(&[Request::CommandLine(7)], Deadline::after(Duration::from_secs(20)));
        assert!(begun.elapsed() < READ_TIMEOUT * 4, "{:?}", begun.elapsed());
        let gap = answers[0].as_ref().unwrap_err();
        assert_eq!(
            (&gap.what, gap.reason),
            (&crate::model::GapSubject::CommandLine { pid: 7 }, GapReason::Timeout)
        );
        assert!(worker.running.borrow().0.as_ref().is_none_or(|connection| connection.child != pid));
        assert_eq!(worker.abandoned.pop().map(|worker| worker.child), Some(pid));
        assert_eq!(child.try_wait().unwrap(), None, "it was neither ended nor waited for");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// A worker with slow answers that stay within the timeout.
    #[test]
    fn a_batch_of_slow_reads_is_abandoned_before_its_end() {
        let (mut requests, input) = io::pipe().unwrap();
        let (output, mut answers) = io::pipe().unwrap();
        let far_end = std::thread::spawn(move || {
            while frame::read_from::<Request>(&mut requests).is_ok() {
                std::thread::sleep(LONG + Duration::from_millis(10));
                let reply: Reply = Ok(Answer::Numbers(Vec::new()));
                if answers.write_all(&frame(&reply).unwrap()).is_err() {
                    break;
                }
            }
        });
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        child.wait().unwrap();
        let mut worker = Worker::with_timeout(Duration::from_secs(20));
        let connection = Connection::new(input.into(), output.into(), pid);
        worker.running.borrow_mut().0 = Some(connection);
        let all: Vec<Request> = (0..WINDOW as u32).map(Request::CommandLine).collect();
        let all: Vec<&Request> = all.iter().collect();
        let had = worker.perform_some(&all, WINDOW, Deadline::after(Duration::from_secs(60)));
        assert!((1..=5).contains(&had.len()), "{} were read", had.len());
        assert!(had.iter().all(|(answer, took)| answer.is_ok() && *took >= LONG));
        assert!(worker.running.borrow().0.is_none(), "the others are read by another worker");
        far_end.join().unwrap();
    }
}
