//! Findings from the files, locks and holders of databases.

use super::verdict::finding;
use crate::model::{
    DatabaseFile, DatabaseHolder, DatabaseLock, Evidence, FileStamp, Finding, LockRole, NextStep, SecondSample,
    Server, Severity, id,
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
pub fn of_database(database: &DatabaseFile, server: Option<&Server>) -> Vec<Finding> {
    let found = [
        generation_deleted(database),
        locks_lost(database),
        lock_held(database, server),
        checkpoint_pinned(database),
        wal_large(database),
    ];
    found
        .into_iter()
        .flatten()
        .map(|finding| Finding { subject: Some(database.path.to_string()), ..finding })
        .collect()
}

fn name(database: &DatabaseFile) -> &str {
    database.path.rsplit('/').next().unwrap_or(&database.path)
}

fn holder_text(database: &DatabaseFile, pid: u32) -> String {
    let command = database.holders.iter().find(|holder| holder.pid == pid).map(|holder| holder.command.as_str());
    match command.filter(|command| !command.is_empty()) {
        Some(command) => {
            let words: Vec<&str> =
                command.split(' ').map(|word| word.rsplit('/').next().unwrap_or(word)).take(3).collect();
            format!("pid {pid} ({})", words.join(" "))
        }
        None => format!("pid {pid}"),
    }
}

/// Whether a holder has a log and index open without their database: the database has been renamed. A program
/// that copies the files has only one of them open at a time.
fn is_renamed(holder: &DatabaseHolder) -> bool {
    holder.descriptors_db == 0 && holder.descriptors_wal > 0 && holder.descriptors_shm > 0
}

/// An open log or index that has no name any more, or that is not the file at its path.
fn generation_deleted(database: &DatabaseFile) -> Option<Finding> {
    let on_old: Vec<&DatabaseHolder> = database
        .holders
        .iter()
        .filter(|holder| !holder.reads_only)
        .filter(|holder| holder.deleted > 0 || holder.replaced > 0 || is_renamed(holder))
        .collect();
    let first = on_old.first()?;
    let name = name(database);
    let pids = on_old.iter().map(|holder| holder.pid.to_string()).collect::<Vec<_>>().join(", ");
    let title = format!("pid {pids} holds files of {name} that are not the ones at its path any more");
    let mut evidence: Vec<Evidence> = Vec::new();
    for holder in &database.holders {
        let fact = format!("{} of {name}", holder_text(database, holder.pid));
        let value = format!(
            "{} database, {} -wal, {} -shm; {} unlinked, {} replaced",
            holder.descriptors_db, holder.descriptors_wal, holder.descriptors_shm, holder.deleted, holder.replaced
        );
        evidence.push(Evidence::new(fact, value, format!("/proc/{}/fd", holder.pid)));
    }
    let next = vec![
        NextStep::say(format!(
            "Before anything is stopped, copy {name}, {name}-wal and {name}-shm, and the unlinked ones through \
             /proc/{}/fd/N: what is only in them ends with the process",
            first.pid
        )),
        NextStep::run(
            "see which descriptors",
            format!("ls -l /proc/{}/fd | grep -F -- {}", first.pid, super::advice::quoted(name)),
        ),
        NextStep::say(format!(
            "Then stop every holder together (pid {}), and start them again",
            all_pids(database)
        )),
    ];
    Some(finding(id::WAL_GENERATION_DELETED, Severity::Critical, title, evidence, next))
}

fn all_pids(database: &DatabaseFile) -> String {
    database.holders.iter().map(|holder| holder.pid.to_string()).collect::<Vec<_>>().join(", ")
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

fn checkpoint_pinned(database: &DatabaseFile) -> Option<Finding> {
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
    let name = name(database);
    let by = match pids.as_slice() {
        [] => "a process of another namespace".to_owned(),
        pids => pids.iter().map(|pid| holder_text(database, *pid)).collect::<Vec<_>>().join(", "),
    };
    let title = format!(
        "the checkpoint of {name} is stuck at frame {} of {}, pinned by read slot {slot}, held by {by}",
        index.backfilled_frames, index.max_frame
    );
    let source = format!("{name}-shm");
    let mut evidence = vec![
        Evidence::new("committed frames (mxFrame)", index.max_frame, &source),
        Evidence::new("frames copied back (nBackfill)", index.backfilled_frames, &source),
        Evidence::new(format!("mark of read slot {slot}"), mark, &source),
        Evidence::new("holder of the slot", by, "/proc/locks"),
        Evidence::new("all of it the same after, in ms", again.after_ms, format!("{source}, looked at twice")),
    ];
    if let Some(wal) = &database.wal {
        evidence.push(Evidence::new("size of the log in bytes", wal.size_bytes, format!("{name}-wal")));
    }
    let next = vec![
        NextStep::say("A read transaction stays open there: find the cursor or connection that is not closed"),
        match pids.first() {
            Some(pid) => NextStep::run("see that process", format!("hermes-doctor check --pid {pid}")),
            None => NextStep::say("Look for it where its pid namespace is seen"),
        },
    ];
    Some(finding(id::WAL_CHECKPOINT_PINNED, Severity::Warning, title, evidence, next))
}

/// The size alone is a high-water mark; it matters only how many frames are not yet checkpointed.
fn wal_large(database: &DatabaseFile) -> Option<Finding> {
    let wal = database.wal.as_ref().filter(|wal| wal.size_bytes >= LARGE_WAL_BYTES)?;
    let name = name(database);
    let mib = wal.size_bytes / (1024 * 1024);
    let state = match &database.index {
        Some(index) if index.frames_behind() == 0 => "fully copied back; the room is used again".to_owned(),
        Some(index) => format!("{} of {} frames wait to be copied back", index.frames_behind(), index.max_frame),
        None => match wal.committed_frames {
            Some(frames) => format!("{frames} committed frames; no index to tell how many are copied back"),
            None => "no index to tell how much of it is copied back".to_owned(),
        },
    };
    let mut evidence = vec![Evidence::new("size of the log in bytes", wal.size_bytes, format!("{name}-wal"))];
    if let Some(useful) = wal.useful_bytes {
        evidence.push(Evidence::new("of these in use, in bytes", useful, format!("{name}-wal")));
    }
    let next =
        vec![NextStep::say("Nothing for its size alone: it is a high-water mark (journal_size_limit bounds it)")];
    Some(finding(id::WAL_LARGE, Severity::Info, format!("the log of {name} is {mib} MiB; {state}"), evidence, next))
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
fn lock_held(database: &DatabaseFile, server: Option<&Server>) -> Option<Finding> {
    let again = database.looked_again.as_ref()?;
    let later = writing(again.locks.as_deref()?);
    let held = writing(&database.locks)
        .into_iter()
        .find(|lock| later.iter().any(|other| other.pid == lock.pid && other.role == lock.role))?;
    if was_written(database, again) {
        return None;
    }
    let name = name(database);
    let by =
        held.pid.map_or("a process that the lock table does not name".to_owned(), |pid| holder_text(database, pid));
    let seconds = again.after_ms as f64 / 1000.0;
    // Held together they keep out all other processes. A single user does this for speed
    // (`locking_mode=EXCLUSIVE`).
    let is_exclusive = held.role == LockRole::Shared || later.iter().any(|lock| lock.role == LockRole::Shared);
    let others = database.holders.iter().any(|holder| Some(holder.pid) != held.pid);
    // A transaction that fits in memory writes nothing before it ends.
    let is_at_work = again.holder_cpu_ms.is_some_and(|cpu| cpu as f64 >= again.after_ms as f64 * AT_WORK);
    let (lock, what) = (held.words(), format!("of {name} was held for at least {seconds:.1} s by {by}"));
    let title = if is_exclusive {
        format!("the exclusive lock {what}; nobody else can use it, by a transaction or locking_mode=EXCLUSIVE")
    } else if is_at_work {
        format!("the {lock} lock {what}, which is at work; others cannot write meanwhile")
    } else {
        format!("the {lock} lock {what}, and nothing was written")
    };
    let mut evidence = vec![
        Evidence::new("lock", held.words(), "/proc/locks"),
        Evidence::new("held for at least, in ms", again.after_ms, "/proc/locks, looked at twice"),
    ];
    if let Some(pid) = held.pid {
        evidence.push(Evidence::new("pid that holds it", pid, "/proc/locks"));
    }
    if let (Some(pid), Some(cpu)) = (held.pid, again.holder_cpu_ms) {
        evidence.push(Evidence::new("CPU time of that process meanwhile, in ms", cpu, format!("/proc/{pid}/stat")));
    }
    if let (Some(first), Some(frame)) = (database.index.as_ref(), again.max_frame) {
        evidence.push(Evidence::new(
            "committed frames at both looks",
            format!("{} and {frame}", first.max_frame),
            format!("{name}-shm"),
        ));
    }
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
    let next = vec![match held.pid {
        Some(pid) => NextStep::run("see that process", format!("hermes-doctor check --pid {pid}")),
        None => NextStep::say(
            "Look for it where its pid namespace is seen, or among programs with open file description locks",
        ),
    }];
    Some(finding(id::DATABASE_LOCK_HELD, severity, title, evidence, next))
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

fn locks_lost(database: &DatabaseFile) -> Option<Finding> {
    let again = database.looked_again.as_ref()?;
    let at_first = lost(database, &database.locks);
    let still: Vec<&DatabaseHolder> = lost(database, again.locks.as_deref()?)
        .into_iter()
        .filter(|holder| at_first.iter().any(|first| first.pid == holder.pid))
        .collect();
    let first = still.first()?;
    let name = name(database);
    let pids = still.iter().map(|holder| holder.pid.to_string()).collect::<Vec<_>>().join(", ");
    let title = format!("pid {pids} uses {name} without the lock that keeps others from its log");
    let evidence = still
        .iter()
        .flat_map(|holder| {
            let source = format!("/proc/{}/fd and /proc/locks", holder.pid);
            let open = holder.descriptors_db + holder.descriptors_wal + holder.descriptors_shm;
            [
                Evidence::new(format!("descriptors of pid {} on it", holder.pid), open, source.clone()),
                Evidence::new(format!("its shared locks on {name}"), 0, source),
            ]
        })
        .collect();
    let next = vec![
        NextStep::say(format!("Start nothing that opens {name}: as its last user it would take the log away")),
        NextStep::say(format!(
            "Copy {name}, {name}-wal and {name}-shm, then restart pid {}: the new process takes its locks",
            first.pid
        )),
        NextStep::say(
            "Something in that process opens and closes the file beside SQLite, which drops the locks of all; or it \
             was forked with a connection open, and its parent has ended",
        ),
    ];
    Some(finding(id::DATABASE_LOCKS_LOST, Severity::Critical, title, evidence, next))
}
