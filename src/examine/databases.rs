//! The SQLite databases of a home, and the processes that use them.

use super::Examination;
use crate::collect::{Deadline, ForeignPath, Host};
use crate::diagnose;
use crate::model::{
    DatabaseFile, Gap, GapDetail, GapReason, GapSubject, Identity, Process, SecondSample, Server, id,
    whole_milliseconds,
};
use crate::target::Survey;
use std::collections::HashSet;
use std::time::{Duration, Instant};

/// Databases that Hermes creates in a home.
const KNOWN: &[&str] = &["state.db", "response_store.db", "kanban.db", "memory_store.db"];
/// Maximum number of databases that are read in one examination.
const MAX: usize = 64;
/// Minimum time between two samples that distinguish a lasting state from a momentary one.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(1000);
/// The same for readers, since their transactions can last a second.
const READER_SAMPLE_INTERVAL: Duration = Duration::from_millis(3000);
/// Minimum time for which the CPU time of a lock holder is measured.
const WATCH_HOLDER: Duration = Duration::from_millis(500);
/// Findings that stay undecided without a second sample.
const SECOND_SAMPLE_DECIDES: &[&str] =
    &[id::DATABASE_LOCK_HELD, id::DATABASE_LOCKS_LOST, id::WAL_CHECKPOINT_PINNED];

impl Examination<'_> {
    /// Fills in the databases of the server's home, and other databases that it has open.
    pub(super) fn databases(&self, server: &mut Server) {
        let process = server.process.clone();
        let host = self.survey.host;
        let identity = process.as_ref().map(|process| process.identity);
        let mut paths: Vec<ForeignPath> = Vec::new();
        if let Some(home) = &self.target.home {
            let home = ForeignPath::of(identity, home);
            paths = known_in(host, &home, self.request.command == "db", &mut server.gaps);
        }
        if let Some(identity) = identity {
            let families = server.descriptors.iter().flat_map(|facts| &facts.sqlite).take(MAX);
            let absolute = families.map(|family| family.path.path()).filter(|path| path.is_absolute());
            paths.extend(absolute.map(|path| ForeignPath::of_link(identity, path)));
        }
        self.progress.step("reading the databases");
        // All processes are scanned only by the subcommand `db`.
        let everybody = self.request.command == "db";
        let (databases, gaps) = read(self.survey, process.as_ref(), &paths, everybody);
        server.gaps.extend(gaps);
        server.databases = databases;
    }

    /// Takes a second sample. A lock that is held in both without progress is stuck; one sample cannot
    /// distinguish it from the lock of a busy writer.
    pub(super) fn sample_databases_again(&self, server: &mut Server, first_look: Instant) {
        let process = server.process.clone();
        let gaps = sample_again(self.survey, process.as_ref(), &mut server.databases, first_look, self.deadline);
        server.gaps.extend(gaps);
    }
}

/// Known databases that exist in a home; with `with_profiles` also those of its profiles, which are homes
/// themselves. A path that could not be checked gives a gap, since a database could be there.
pub(super) fn known_in(
    host: &dyn Host,
    home: &ForeignPath,
    with_profiles: bool,
    gaps: &mut Vec<Gap>,
) -> Vec<ForeignPath> {
    let mut list = |path: &ForeignPath, most| {
        host.list_directory(path, most).unwrap_or_else(|gap| {
            if gap.reason != GapReason::NotFound {
                gaps.push(
                    Gap { what: GapSubject::DatabasesIn { path: path.shown().into() }, ..gap }
                        .blocking(id::DATABASES),
                );
            }
            Vec::new()
        })
    };
    let mut found: Vec<ForeignPath> = Vec::new();
    let mut homes = vec![home.clone()];
    if with_profiles {
        let profiles = home.join("profiles");
        homes.extend(list(&profiles, MAX).into_iter().map(|name| profiles.join(name)));
    }
    for home in homes {
        let names = list(&home, 4096);
        found.extend(
            KNOWN.iter().filter(|name| names.iter().any(|there| there == *name)).map(|name| home.join(name)),
        );
        let boards = home.join("kanban/boards");
        for board in list(&boards, MAX) {
            let path = boards.join(board).join("kanban.db");
            // A path that cannot be checked is read like an existing one; the read reports the reason.
            if host.file_kind(&path).map_or_else(|gap| gap.reason != GapReason::NotFound, |_| true) {
                found.push(path);
            }
        }
    }
    found.truncate(MAX);
    found
}

/// Reads databases, and the processes that have them open.
pub(super) fn read(
    survey: &Survey<'_>,
    seen_by: Option<&Process>,
    paths: &[ForeignPath],
    everybody: bool,
) -> (Vec<DatabaseFile>, Vec<Gap>) {
    let host = survey.host;
    // Descriptors have paths without symbolic links, so the paths are resolved.
    let mut seen = HashSet::new();
    // A path that cannot be resolved is read as given; the read reports the reason.
    let resolved = paths.iter().map(|path| host.resolved(path).unwrap_or_else(|_| path.clone()));
    let paths: Vec<ForeignPath> = resolved.filter(|path| seen.insert(path.clone())).collect();
    let (mut databases, mut gaps, mut there) = (Vec::new(), Vec::new(), Vec::new());
    for path in paths.iter().take(MAX) {
        match host.database(path) {
            Ok(read) => {
                gaps.extend(read.gaps);
                databases.push(read.value);
                there.push(path.clone());
            }
            // It was removed after it was listed, or a process has it open under a removed name. In that case its
            // descriptors give the facts.
            Err(gap) if gap.reason == GapReason::NotFound => {}
            Err(gap) => gaps.push(gap.blocking(id::DATABASES)),
        }
    }
    if databases.is_empty() {
        return (databases, gaps);
    }
    let mut likely: Vec<u32> = survey.hermes().into_iter().map(|(pid, _)| pid).collect();
    likely.extend(seen_by.map(|process| process.identity.pid));
    likely.extend(databases.iter().flat_map(|database| &database.locks).filter_map(|lock| lock.pid));
    likely.sort_unstable();
    likely.dedup();
    let holders = host.database_holders(seen_by, &there, if everybody { None } else { Some(&likely) });
    gaps.extend(holders.gaps);
    let locks_are_told = !gaps.iter().any(|gap| gap.blocks.iter().any(|block| block == id::DATABASE_LOCKS_LOST));
    for (database, mut holders) in databases.iter_mut().zip(holders.value) {
        let pids: Vec<u32> = holders.iter().map(|holder| holder.pid).collect();
        for holder in &mut holders {
            let has = database.locks.iter().any(|lock| {
                lock.pid == Some(holder.pid) && !lock.is_waiting && lock.role == crate::model::LockRole::Shared
            });
            // A forked child has its parent's descriptors and none of its locks, which is healthy.
            let is_forked = !has && survey.ancestors(holder.pid).iter().any(|ancestor| pids.contains(ancestor));
            holder.has_shared_lock = (locks_are_told && holder.same_pid_namespace && !is_forked).then_some(has);
        }
        holders.sort_by_key(|holder| holder.pid);
        database.holders = holders;
    }
    (databases, gaps)
}

/// The path for reading a database again: the name that descriptors have, with the rights of the first read.
fn place_of(process: Option<Identity>, database: &DatabaseFile) -> ForeignPath {
    let path = database.path.path();
    match (process, database.read_as) {
        (Some(process), _) => ForeignPath::of_link(process, path),
        (None, Some(user)) => ForeignPath::of_user(user, path),
        (None, None) => ForeignPath::of_person(path),
    }
}

/// Takes the second sample of databases that the first sample leaves undecided.
pub(super) fn sample_again(
    survey: &Survey<'_>,
    seen_by: Option<&Process>,
    databases: &mut [DatabaseFile],
    first_look: Instant,
    deadline: Deadline,
) -> Vec<Gap> {
    if !databases.iter().any(diagnose::needs_second_sample) {
        return Vec::new();
    }
    let host = survey.host;
    let between =
        if databases.iter().any(diagnose::may_be_pinned) { READER_SAMPLE_INTERVAL } else { SAMPLE_INTERVAL };
    // The CPU time of the holder is measured only from here on.
    let wait = between.saturating_sub(first_look.elapsed()).max(WATCH_HOLDER);
    if wait > deadline.remaining() {
        let gap = Gap::new(GapSubject::DatabasesAgain, GapReason::Timeout, GapDetail::TimeLimit);
        return vec![gap.blocking(SECOND_SAMPLE_DECIDES)];
    }
    let wanted: Vec<&mut DatabaseFile> =
        databases.iter_mut().filter(|database| diagnose::needs_second_sample(database)).collect();
    let cpu_of = |pid: u32| Some(host.usage(host.identify(pid).ok()?).ok()?.cpu_ms);
    let writers: Vec<Option<(u32, u64)>> = wanted
        .iter()
        .map(|database| diagnose::lock_holder(database).and_then(|pid| Some((pid, cpu_of(pid)?))))
        .collect();
    std::thread::sleep(wait);
    let mut gaps = Vec::new();
    for (database, writer) in wanted.into_iter().zip(writers) {
        let again = host.database_again(&place_of(seen_by.map(|process| process.identity), database));
        if again.locks.is_none() {
            let detail = GapDetail::ReadAgain;
            gaps.push(
                Gap::new(GapSubject::LocksOfDatabases, GapReason::Malformed, detail)
                    .blocking(SECOND_SAMPLE_DECIDES),
            );
        }
        database.looked_again = Some(SecondSample {
            after_ms: whole_milliseconds(first_look.elapsed()),
            holder_cpu_ms: writer.and_then(|(pid, before)| Some(cpu_of(pid)?.saturating_sub(before))),
            ..again
        });
    }
    gaps
}
