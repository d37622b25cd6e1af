//! Findings from the files, locks and holders of databases.

use crate::model::{
    DatabaseFile, DatabaseFinding, DatabaseHolder, DatabaseLock, DatabaseProblem, FileStamp, LockRole, Raised,
    SecondSample, Server, Severity,
};

/// Minimum number of frames that a checkpoint is behind before a pinning reader is reported: the default of
/// automatic checkpoints is 1000 pages.
const MANY_FRAMES: u32 = 1000;
/// Minimum size of a log that is reported, in bytes: `journal_size_limit` of newer Hermes versions.
const LARGE_WAL_BYTES: u64 = 64 * 1024 * 1024;

/// Whether the first sample is undecided and a second sample can decide.
pub fn needs_second_sample(database: &DatabaseFile) -> bool {
    !writing(&database.locks).is_empty()
        || pinning(database).is_some()
        || !lost(database, &database.locks).is_empty()
}

/// Whether a reader seems to pin a checkpoint. Then the second sample is taken later, since readers can run
/// long.
pub fn may_be_pinned(database: &DatabaseFile) -> bool {
    pinning(database).is_some()
}

/// The holder of a lock that keeps writers out. Its CPU time between the samples shows whether it works.
pub fn lock_holder(database: &DatabaseFile) -> Option<u32> {
    writing(&database.locks).into_iter().find_map(|lock| lock.pid)
}

/// Findings of one database.
pub fn of_database(database: &DatabaseFile, server: Option<&Server>) -> Vec<Raised> {
    let found = [
        generation_deleted(database),
        locks_lost(database),
        lock_held(database, server),
        checkpoint_pinned(database),
        wal_large(database),
    ];
    let raised =
        |(severity, problem)| Raised::new(severity, DatabaseFinding { database: database.clone(), problem });
    found.into_iter().flatten().map(raised).collect()
}

/// Whether a holder has a log and index open without their database: the database has been renamed. A program
/// that copies the files has only one of them open at a time.
fn is_renamed(holder: &DatabaseHolder) -> bool {
    holder.descriptors_db == 0 && holder.descriptors_wal > 0 && holder.descriptors_shm > 0
}

/// An open log or index that has no name any more, or that is not the file at its path.
fn generation_deleted(database: &DatabaseFile) -> Option<(Severity, DatabaseProblem)> {
    let is_old = |holder: &&DatabaseHolder| {
        !holder.reads_only && (holder.deleted > 0 || holder.replaced > 0 || is_renamed(holder))
    };
    let holders: Vec<DatabaseHolder> = database.holders.iter().filter(is_old).cloned().collect();
    (!holders.is_empty()).then_some((Severity::Critical, DatabaseProblem::GenerationDeleted { holders }))
}

/// Read slots that block a checkpoint: slot 0 blocks it completely, the others block it beyond their mark.
fn pinning(database: &DatabaseFile) -> Option<(u8, u32, Vec<u32>)> {
    let index = database.index.as_ref()?;
    if index.frames_behind() < MANY_FRAMES {
        return None;
    }
    let slots = database.locks.iter().filter(|lock| lock.role == LockRole::ReadSlot && !lock.is_waiting);
    let pins = slots.filter_map(|lock| {
        let slot = lock.slot?;
        let mark = if slot == 0 { 0 } else { (*index.read_marks.get(usize::from(slot))?)? };
        (slot == 0 || mark < index.max_frame).then_some((slot, mark))
    });
    // A checkpoint reaches the lowest mark first.
    let (slot, mark) = pins.min_by_key(|(_, mark)| *mark)?;
    Some((slot, mark, readers_of(&database.locks, slot)))
}

fn on_slot(locks: &[DatabaseLock], slot: u8) -> impl Iterator<Item = &DatabaseLock> {
    locks.iter().filter(move |lock| lock.role == LockRole::ReadSlot && lock.slot == Some(slot) && !lock.is_waiting)
}

fn readers_of(locks: &[DatabaseLock], slot: u8) -> Vec<u32> {
    on_slot(locks, slot).filter_map(|lock| lock.pid).collect()
}

fn checkpoint_pinned(database: &DatabaseFile) -> Option<(Severity, DatabaseProblem)> {
    let index = database.index.as_ref()?;
    let (slot, mark, pids) = pinning(database)?;
    let again = database.looked_again.as_ref()?;
    let later = again.locks.as_deref()?;
    // Different readers use one slot in turn, and each sets its mark again. A running checkpoint holds slot 0
    // itself.
    let same_pids = readers_of(later, slot).iter().any(|pid| pids.contains(pid))
        || (pids.is_empty() && on_slot(later, slot).next().is_some());
    let same_mark = slot == 0 || again.read_marks.get(usize::from(slot)).copied().flatten() == Some(mark);
    let stands_still = again.backfilled_frames == Some(index.backfilled_frames);
    let copies = |locks: &[DatabaseLock]| locks.iter().any(|lock| lock.role == LockRole::Checkpointer);
    if !same_pids || !same_mark || !stands_still || copies(&database.locks) || copies(later) {
        return None;
    }
    let problem =
        DatabaseProblem::CheckpointPinned { slot, mark, pids, index: index.clone(), after_ms: again.after_ms };
    Some((Severity::Warning, problem))
}

/// The size alone is a high-water mark; it matters only how many frames are not yet checkpointed.
fn wal_large(database: &DatabaseFile) -> Option<(Severity, DatabaseProblem)> {
    let wal = database.wal.clone().filter(|wal| wal.size_bytes >= LARGE_WAL_BYTES)?;
    Some((Severity::Info, DatabaseProblem::LogLarge { wal }))
}

/// Locks that keep out all other writers, or all readers.
fn writing(locks: &[DatabaseLock]) -> Vec<&DatabaseLock> {
    let is_writing = |lock: &&DatabaseLock| {
        let of_one =
            matches!(lock.role, LockRole::Writer | LockRole::Recovery | LockRole::Reserved | LockRole::Pending);
        lock.exclusive && !lock.is_waiting && (of_one || lock.role == LockRole::Shared)
    };
    locks.iter().filter(is_writing).collect()
}

/// Minimum share of CPU time between the samples for a holder to count as working: an idle server uses less.
const AT_WORK: f64 = 0.02;

/// Whether the database was written between the samples: frames, or sizes and times of its files. In WAL mode
/// the database file itself does not count, since a checkpoint can write to it while a writer is stuck.
fn was_written(database: &DatabaseFile, again: &SecondSample) -> bool {
    let index_moved = database.index.as_ref().is_some_and(|first| {
        again.max_frame.is_some_and(|frame| frame != first.max_frame)
            || again.change.is_some_and(|change| change != first.change)
    });
    let is_wal = database.journal_mode == "wal";
    let of_writer = |stamps: &[FileStamp]| -> Vec<FileStamp> {
        stamps.iter().filter(|stamp| !is_wal || !stamp.suffix.is_empty()).cloned().collect()
    };
    index_moved || of_writer(&database.written) != of_writer(&again.written)
}

/// The same lock of the same process at both samples, while nothing was written: a busy writer changes the log.
fn lock_held(database: &DatabaseFile, server: Option<&Server>) -> Option<(Severity, DatabaseProblem)> {
    let again = database.looked_again.as_ref()?;
    let later = writing(again.locks.as_deref()?);
    let held = writing(&database.locks)
        .into_iter()
        .find(|lock| later.iter().any(|other| other.pid == lock.pid && other.role == lock.role))?;
    if was_written(database, again) {
        return None;
    }
    // Held together they keep out all other processes. A single user does this for speed
    // (`locking_mode=EXCLUSIVE`).
    let is_exclusive = held.role == LockRole::Shared || later.iter().any(|lock| lock.role == LockRole::Shared);
    let others = database.holders.iter().any(|holder| Some(holder.pid) != held.pid);
    // A transaction that fits in memory writes nothing before it ends.
    let is_at_work = again.holder_cpu_ms.is_some_and(|cpu| cpu as f64 >= again.after_ms as f64 * AT_WORK);
    let waits = server.is_some_and(|server| {
        let health = server.health.as_ref().and_then(|health| health.answer.as_ref());
        health.is_some_and(|answer| answer.failed_checks.iter().any(|check| check == "state_db"))
            || held.pid != server.pid && super::wedge::route_waits_for_database(server)
    });
    let severity = match (waits, is_exclusive) {
        (true, _) => Severity::Critical,
        (false, true) if !others => Severity::Info,
        (false, false) if is_at_work => Severity::Info,
        _ => Severity::Warning,
    };
    let problem = DatabaseProblem::LockHeld { lock: held.clone(), is_exclusive, is_at_work, again: again.clone() };
    Some((severity, problem))
}

/// Holders that use a database in WAL mode without the lock that a live connection holds, shared or exclusive.
/// A connection that has not read yet has neither the log open nor the lock. A forked child has the descriptors
/// and none of the locks of its parent, which still holds them (`has_shared_lock` is `None` for it).
fn lost<'d>(database: &'d DatabaseFile, locks: &[DatabaseLock]) -> Vec<&'d DatabaseHolder> {
    let has = |pid: u32| {
        locks.iter().any(|lock| lock.pid == Some(pid) && !lock.is_waiting && lock.role == LockRole::Shared)
    };
    // A lock without a pid in this namespace could belong to any process.
    let is_told = locks.iter().all(|lock| lock.pid.is_some());
    database
        .holders
        .iter()
        .filter(|holder| {
            let uses = holder.descriptors_db > 0 && holder.descriptors_wal > 0;
            database.journal_mode == "wal"
                && is_told
                && holder.same_pid_namespace
                && !holder.reads_only
                && holder.has_shared_lock == Some(false)
                && uses
                && holder.deleted == 0
                && !has(holder.pid)
        })
        .collect()
}

fn locks_lost(database: &DatabaseFile) -> Option<(Severity, DatabaseProblem)> {
    let again = database.looked_again.as_ref()?;
    let at_first = lost(database, &database.locks);
    let is_still = |holder: &&DatabaseHolder| at_first.iter().any(|first| first.pid == holder.pid);
    let holders: Vec<DatabaseHolder> =
        lost(database, again.locks.as_deref()?).into_iter().filter(is_still).cloned().collect();
    (!holders.is_empty()).then_some((Severity::Critical, DatabaseProblem::LocksLost { holders }))
}
