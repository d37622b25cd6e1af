//! Python stacks: two samples if threads wait for a lock, each joined with the kernel's thread states and the
//! source.

use super::Examination;
use crate::collect::ForeignPath;
use crate::diagnose::stacks::{self as deciding, Sleeps, SourceText};
use crate::model::{
    Gap, GapDetail, GapReason, GapSubject, HostPath, Identity, Process, PythonSample, Server, Stacks, ThreadSample,
    id, whole_milliseconds,
};
use crate::parse::python_source;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Time between two samples that distinguish a lock that is held from one that is released after a moment.
const STACK_SAMPLE_INTERVAL: Duration = Duration::from_millis(500);
/// Largest source file that is read, in bytes.
const MAX_SOURCE_BYTES: usize = 4 * 1024 * 1024;
/// Maximum number of source files that are read.
const MAX_SOURCES: usize = 16;

impl Examination<'_> {
    /// Reads the stacks and fills in `server.stacks`.
    pub(super) fn stacks(&self, server: &mut Server) {
        let Some(process) = server.process.clone() else { return };
        let identity = process.identity;
        self.progress.step("reading the Python stacks");
        let begun = Instant::now();
        let (look, kernel, sleeps) = match self.sample_stacks(identity, &mut server.gaps) {
            Ok(found) => found,
            Err(gap) => return server.gaps.push(gap),
        };
        let sources = self.sources(&process, &look, &kernel, &mut server.gaps);
        let mut stacks = deciding::join(&look, &kernel, &sources);
        if !look.is_complete {
            let detail = GapDetail::KeptRunning;
            server.gaps.push(Gap::new(GapSubject::SomeStacks, GapReason::Malformed, detail));
        }
        if !stacks.locks.is_empty() {
            self.sample_stacks_again(identity, &sources, (begun, &sleeps), &mut stacks, &mut server.gaps);
        }
        server.stacks = Some(stacks);
    }

    fn sample_stacks(
        &self,
        identity: Identity,
        gaps: &mut Vec<Gap>,
    ) -> Result<(PythonSample, HashMap<u32, ThreadSample>, Sleeps), Gap> {
        let look = self.survey.host.python_stacks(identity)?;
        let entries = match self.survey.host.threads(identity) {
            Ok(read) => {
                for gap in read.gaps {
                    if !gaps.iter().any(|known| known.what == gap.what) {
                        gaps.push(gap);
                    }
                }
                read.value.0
            }
            Err(gap) => {
                gaps.push(gap);
                Vec::new()
            }
        };
        let sleeps = entries.iter().map(|entry| (entry.tid, entry.sleeps)).collect();
        Ok((look, entries.into_iter().map(|entry| (entry.tid, entry.look)).collect(), sleeps))
    }

    /// Takes a second sample, since a lock that is released a moment later does not matter.
    fn sample_stacks_again(
        &self,
        identity: Identity,
        sources: &HashMap<HostPath, SourceText>,
        (begun, before): (Instant, &Sleeps),
        stacks: &mut Stacks,
        gaps: &mut Vec<Gap>,
    ) {
        let missed = |reason, detail: GapDetail| {
            Gap::new(GapSubject::PythonStacksAgain, reason, detail).blocking(&[id::THREADS_WAIT_FOR_LOCK])
        };
        let first = begun.elapsed();
        if STACK_SAMPLE_INTERVAL + first > self.deadline.remaining() {
            gaps.push(missed(GapReason::Timeout, GapDetail::TimeLimit));
            return;
        }
        self.progress.step("waiting for a second sample of the Python stacks");
        std::thread::sleep(STACK_SAMPLE_INTERVAL);
        match self.sample_stacks(identity, gaps) {
            Ok((look, kernel, after)) => {
                let again = deciding::join(&look, &kernel, sources);
                let between = whole_milliseconds(begun.elapsed().saturating_sub(first));
                deciding::compare(stacks, &again, between, (before, &after));
            }
            Err(gap) => gaps.push(missed(gap.reason, gap.detail)),
        }
    }

    /// Source of the files in which threads wait, in the mount namespace of the process.
    fn sources(
        &self,
        process: &Process,
        look: &PythonSample,
        kernel: &HashMap<u32, ThreadSample>,
        gaps: &mut Vec<Gap>,
    ) -> HashMap<HostPath, SourceText> {
        let started = process
            .age_ms
            .and_then(|age| SystemTime::now().checked_sub(Duration::from_millis(age)))
            .and_then(|start| start.duration_since(SystemTime::UNIX_EPOCH).ok())
            .map(|start| start.as_secs());
        let mut files = deciding::files_of_waiters(look, kernel);
        files.truncate(MAX_SOURCES);
        let mut found = HashMap::new();
        for file in files {
            let text = self.source(process, &file, started);
            if let SourceText::Unknown(why) = &text {
                let what = GapSubject::SourceOf { file: file.clone() };
                gaps.push(Gap::new(what, GapReason::NotFound, why.clone()).blocking(&[id::THREADS_WAIT_FOR_LOCK]));
            }
            found.insert(file, text);
        }
        found
    }

    fn source(&self, process: &Process, file: &str, started: Option<u64>) -> SourceText {
        // `<string>`, `<frozen importlib._bootstrap>`: not a file.
        if file.is_empty() || file.starts_with('<') {
            return SourceText::Unknown("it is not a file".to_owned());
        }
        // Before Python 3.9 the script has the path that it was started with, which can be relative.
        let path = ForeignPath::of_process(process.identity, Path::new(file));
        match self.survey.host.source(&path, MAX_SOURCE_BYTES) {
            // It may differ from the text that the interpreter read, and its lines could name another lock.
            Ok(read)
                if started
                    .zip(read.modified)
                    .is_some_and(|(started, modified)| modified > started.saturating_add(1)) =>
            {
                SourceText::Unknown(GapDetail::ChangedSource.to_string())
            }
            Ok(read) => SourceText::Read(python_source::parse(&String::from_utf8_lossy(&read.bytes))),
            Err(gap) => SourceText::Unknown(format!("{} {}", gap.reason.words(), gap.detail).trim_end().to_owned()),
        }
    }
}
