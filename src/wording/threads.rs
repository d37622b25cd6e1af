//! Threads in words.

use super::{Context, Words};
use crate::model::{
    Doing, NextStep, ProcessFile, ProcessState, Row, SampledThread, Source, Thread, WaitsFor, WedgeFinding,
    WedgeProblem,
};

/// The text of a finding.
pub fn words(finding: &WedgeFinding, context: &Context) -> Words {
    let mut evidence = evidence(&finding.threads, finding.between_ms, context);
    let (title, next) = match &finding.problem {
        WedgeProblem::UninterruptibleSleep { is_throttled } => {
            (uninterruptible_title(&finding.threads), uninterruptible_steps(*is_throttled))
        }
        WedgeProblem::OutputPipeFull { descriptor, pipes } => {
            let pid = context.pid.unwrap_or(0);
            let (mut next, mut by) = (Vec::new(), String::new());
            for pipe in pipes {
                let source = Source::process(pid, ProcessFile::Descriptor(pipe.descriptor));
                evidence.push(Row::new("full pipe (inode)", pipe.inode, source));
                evidence.extend(pipe.readers.iter().map(|reader| {
                    let fact = format!("reader pid {} ({})", reader.pid, reader.name);
                    Row::new(fact, reader.state.words(), Source::descriptors(reader.pid))
                }));
                // The server itself has the other end open if it created the pipe.
                if let Some(reader) = pipe.readers.iter().find(|reader| reader.pid != pid) {
                    by = format!(
                        "; its reader, {} (pid {}, {}), does not read",
                        reader.name,
                        reader.pid,
                        reader.state.words()
                    );
                    let see = format!("hermes-doctor check --pid {}", reader.pid);
                    next.push(NextStep::run("examine the reader", see));
                    if reader.state == ProcessState::Stopped {
                        next.push(NextStep::run("continue the reader", format!("kill -CONT {}", reader.pid)));
                    }
                }
            }
            if !pipes.is_empty() && next.is_empty() {
                next.push(NextStep::say("Look for the reader: no visible process has the other end open"));
            }
            next.push(NextStep::say(
                "Make the server write its log to a file, or to a program that reads fast enough",
            ));
            let name = match descriptor {
                Some(1) => "standard output".to_owned(),
                Some(2) => "standard error".to_owned(),
                Some(other) => format!("a pipe (descriptor {other})"),
                None => "a pipe".to_owned(),
            };
            let count = counted(finding.threads.len(), "thread waits", "threads wait");
            (format!("{count} to write to {name}{by}"), next)
        }
        WedgeProblem::GilHeld { cpu_percent, waiting } => {
            let who = match finding.threads.first() {
                Some(holder) if !holder.is_main => format!("thread {} ({})", holder.tid, holder.name),
                _ => "the main thread".to_owned(),
            };
            let waiting = counted(*waiting, "thread waits", "threads wait");
            let title = format!("{who} holds the interpreter lock: {cpu_percent:.0} % CPU, while {waiting} for it");
            let why = "Look for a long regular expression or another call into C: it holds the interpreter lock until it returns";
            (title, vec![context.see_stacks("show what it runs"), NextStep::say(why)])
        }
        WedgeProblem::HandlersStuck { route, waits_for, pool, last, locked } => {
            let accepted = "the probe's connection was accepted";
            evidence.push(Row::new(accepted, true, Source::Sockets));
            evidence.push(Row::new("accept queue in the last sample", last.accept_queue, Source::Sockets));
            let unanswered = "accepted connections that were sent no byte";
            evidence.extend(last.unanswered.map(|count| Row::new(unanswered, count, Source::Sockets)));
            let fact = "threads that wait for a lock and make no progress";
            evidence.push(Row::new(fact, *locked, source(context)));
            let what = match pool {
                Some(workers) => format!("; all {workers} workers wait for {}", waiting(*waits_for)),
                None => format!("; the handler of this request waits for {}", waiting(*waits_for)),
            };
            let title = match route {
                None => {
                    let count = last.unanswered.unwrap_or(1).max(1);
                    let one = "accepted request has no answer";
                    format!("{}{what}", counted(count, one, "accepted requests have no answer"))
                }
                Some(route) => format!("{route}: accepted, no answer{what}"),
            };
            (title, vec![context.see_stacks("show the lock and its holder")])
        }
    };
    Words { title, evidence, next }
}

fn evidence(threads: &[Thread], between_ms: u64, context: &Context) -> Vec<Row> {
    let mut evidence = vec![Row::new("time between the samples, in ms", between_ms, source(context))];
    evidence.extend(threads.iter().take(4).map(|thread| {
        let role = if thread.is_main { "main thread" } else { "thread" };
        let fact = format!("{role} {} ({})", thread.tid, thread.name);
        Row::new(fact, one_line(thread, between_ms), source(context))
    }));
    if threads.len() > 4 {
        evidence.push(Row::new("further threads in the same state", threads.len() - 4, source(context)));
    }
    evidence
}

fn uninterruptible_title(threads: &[Thread]) -> String {
    let sample = threads.first().and_then(|thread| thread.last());
    let channel = sample.and_then(|sample| sample.wait_channel.as_deref());
    let place = channel.map_or(String::new(), |channel| format!(" in {channel}"));
    let who = match threads {
        [only] if only.is_main => "the main thread waits".to_owned(),
        [_] => "a thread waits".to_owned(),
        many => format!("{} threads wait", many.len()),
    };
    format!("{who}{place} and cannot be interrupted (state D)")
}

fn uninterruptible_steps(is_throttled: bool) -> Vec<NextStep> {
    if is_throttled {
        return vec![
            NextStep::say(
                "List the processes of its control group (`systemd-cgls`): together they use more memory than \
                 memory.high (MemoryHigh=) allows, and the kernel throttles each of them",
            ),
            NextStep::say(
                "End the other processes first: while they run, a restarted server reaches the same limit",
            ),
        ];
    }
    vec![
        NextStep::say("Check the disk or network mount of its files (`dmesg`, `mount`)"),
        NextStep::say("Do not expect a restart to help: the wait ends when the disk or file server responds"),
    ]
}

/// The main thread, as evidence about the accept loop.
pub fn main_thread(main: Option<&SampledThread>, context: &Context) -> Option<Row> {
    let main = main.filter(|_| context.pid.is_some())?;
    Some(Row::new("main thread", one_line(&main.thread, main.between_ms), source(context)))
}

/// Source of the states of threads.
pub fn source(context: &Context) -> Source {
    Source::process(context.pid.unwrap_or(0), ProcessFile::Threads).sampled("sampled twice")
}

/// A thread on one line.
pub fn one_line(thread: &Thread, between_ms: u64) -> String {
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

/// What the server does instead of answering, as part of a title.
pub fn doing(doing: Doing) -> String {
    match doing {
        Doing::HandlerWaits(what) => format!("its handler waits for {}", waiting(what)),
        Doing::MainWaits(what) => format!("the main thread waits for {}", waiting(what)),
        Doing::MainWorks(percent) => format!("the main thread uses {percent:.0} % of a CPU"),
        Doing::ServerWorks(percent) => format!("the server uses {percent:.0} % of a CPU"),
    }
}

fn waiting(what: WaitsFor) -> &'static str {
    match what {
        WaitsFor::Lock => "a lock",
        WaitsFor::Reader => "its output to be read",
        WaitsFor::Time => "a timer",
        WaitsFor::Kernel => "the kernel",
        WaitsFor::Data => "input",
    }
}

/// A number with its noun.
pub fn counted(count: impl TryInto<u64>, one: &str, many: &str) -> String {
    match count.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {one}"),
        count => format!("{count} {many}"),
    }
}
