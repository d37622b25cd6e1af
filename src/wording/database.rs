//! Findings about databases.

use super::steps::NO_COPY;
use super::{Context, Words};
use crate::model::{
    DatabaseFile, DatabaseFinding, DatabaseHolder, DatabaseLock, DatabaseProblem, NextStep, Os, ProcessFile, Row,
    SecondSample, Source, WalFile, WalIndex,
};
use crate::supervisor::advice::quoted;

/// The text of a finding.
pub fn words(finding: &DatabaseFinding, context: &Context) -> Words {
    let database = &finding.database;
    match &finding.problem {
        DatabaseProblem::GenerationDeleted { holders } => generation_deleted(database, holders, context.os),
        DatabaseProblem::CheckpointPinned { slot, mark, pids, index, after_ms } => {
            checkpoint_pinned(database, (*slot, *mark), pids, index, *after_ms)
        }
        DatabaseProblem::LogLarge { wal } => log_large(database, wal),
        DatabaseProblem::LockHeld { lock, is_exclusive, is_at_work, again } => {
            lock_held(database, lock, (*is_exclusive, *is_at_work), again)
        }
        DatabaseProblem::LocksLost { holders } => locks_lost(database, holders),
    }
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

fn pids(holders: &[DatabaseHolder]) -> String {
    holders.iter().map(|holder| holder.pid.to_string()).collect::<Vec<_>>().join(", ")
}

fn wal_source(name: &str) -> Source {
    Source::DatabaseFile(format!("{name}-wal"))
}

fn index_source(name: &str) -> Source {
    Source::DatabaseFile(format!("{name}-shm"))
}

fn see_process(pid: Option<u32>, otherwise: &str) -> NextStep {
    match pid {
        Some(pid) => NextStep::run("examine that process", format!("hermes-doctor check --pid {pid}")),
        None => NextStep::say(otherwise),
    }
}

fn generation_deleted(database: &DatabaseFile, on_old: &[DatabaseHolder], os: Os) -> Words {
    let name = name(database);
    let row = |holder: &DatabaseHolder| {
        let fact = format!("descriptors of {} on {name}", holder_text(database, holder.pid));
        let value = format!(
            "{} database, {} -wal, {} -shm; {} unlinked, {} replaced",
            holder.descriptors_db, holder.descriptors_wal, holder.descriptors_shm, holder.deleted, holder.replaced
        );
        Row::new(fact, value, Source::descriptors(holder.pid))
    };
    let first = on_old.first().map_or(0, |holder| holder.pid);
    let word = quoted(name);
    let (copy, list) = match os {
        Os::Linux => (
            format!(
                "Before you stop anything, copy {name}, {name}-wal and {name}-shm, and the unlinked files through \
                 /proc/{first}/fd/N: their content is lost when the process ends"
            ),
            format!("ls -l /proc/{first}/fd | grep -F -- {word}"),
        ),
        Os::MacOs => (NO_COPY.to_owned(), format!("lsof -p {first} | grep -F -- {word}")),
    };
    Words {
        title: format!("pid {} has open files of {name} that were unlinked or replaced", pids(on_old)),
        evidence: database.holders.iter().map(row).collect(),
        next: vec![
            NextStep::say(copy),
            NextStep::run("list the descriptors", list),
            NextStep::say(format!(
                "Then stop all holders (pid {}) before you start any of them again",
                pids(&database.holders)
            )),
        ],
    }
}

fn checkpoint_pinned(
    database: &DatabaseFile,
    (slot, mark): (u8, u32),
    pids: &[u32],
    index: &WalIndex,
    after_ms: u64,
) -> Words {
    let name = name(database);
    let by = match pids {
        [] => "a process in another pid namespace".to_owned(),
        pids => pids.iter().map(|pid| holder_text(database, *pid)).collect::<Vec<_>>().join(", "),
    };
    let title = format!(
        "the checkpoint of {name} is stuck at frame {} of {}, pinned by read slot {slot}, held by {by}",
        index.backfilled_frames, index.max_frame
    );
    let twice = index_source(name).sampled("sampled twice");
    let mut evidence = vec![
        Row::new("committed frames (mxFrame)", index.max_frame, index_source(name)),
        Row::new("checkpointed frames (nBackfill)", index.backfilled_frames, index_source(name)),
        Row::new(format!("mark of read slot {slot}"), mark, index_source(name)),
        Row::new("holder of the slot", by, Source::Locks),
        Row::new("unchanged after, in ms", after_ms, twice),
    ];
    evidence.extend(
        database.wal.iter().map(|wal| Row::new("size of the log in bytes", wal.size_bytes, wal_source(name))),
    );
    let next = vec![
        NextStep::say("Find the cursor or connection that is not closed: it keeps a read transaction open"),
        see_process(pids.first().copied(), "Look for the process from a pid namespace that contains it"),
    ];
    Words { title, evidence, next }
}

fn log_large(database: &DatabaseFile, wal: &WalFile) -> Words {
    let name = name(database);
    let mib = wal.size_bytes / (1024 * 1024);
    let state = match &database.index {
        Some(index) if index.frames_behind() == 0 => "fully checkpointed; its space is reused".to_owned(),
        Some(index) => format!("{} of {} frames are not checkpointed", index.frames_behind(), index.max_frame),
        None => match wal.committed_frames {
            Some(frames) => format!("{frames} committed frames; no index, so the checkpointed part is unknown"),
            None => "no index, so the checkpointed part is unknown".to_owned(),
        },
    };
    let mut evidence = vec![Row::new("size of the log in bytes", wal.size_bytes, wal_source(name))];
    evidence
        .extend(wal.useful_bytes.map(|useful| Row::new("part of it in use, in bytes", useful, wal_source(name))));
    Words {
        title: format!("the log of {name} is {mib} MiB; {state}"),
        evidence,
        next: vec![NextStep::say(
            "No action for the size alone: it is a high-water mark (journal_size_limit bounds it)",
        )],
    }
}

fn lock_held(
    database: &DatabaseFile,
    lock: &DatabaseLock,
    (is_exclusive, is_at_work): (bool, bool),
    again: &SecondSample,
) -> Words {
    let name = name(database);
    let by =
        lock.pid.map_or("a process that the lock table does not name".to_owned(), |pid| holder_text(database, pid));
    let seconds = again.after_ms as f64 / 1000.0;
    let (kind, what) = (lock.words(), format!("of {name} was held for at least {seconds:.1} s by {by}"));
    let title = if is_exclusive {
        format!(
            "the exclusive lock {what}; no other process can use the database (transaction or locking_mode=EXCLUSIVE)"
        )
    } else if is_at_work {
        format!("the {kind} lock {what}; the holder is working, and no other process can write")
    } else {
        format!("the {kind} lock {what}; nothing was written")
    };
    let mut evidence = vec![
        Row::new("lock", lock.words(), Source::Locks),
        Row::new("held for at least, in ms", again.after_ms, Source::Locks.sampled("sampled twice")),
    ];
    evidence.extend(lock.pid.map(|pid| Row::new("pid of the holder", pid, Source::Locks)));
    if let (Some(pid), Some(cpu)) = (lock.pid, again.holder_cpu_ms) {
        let source = Source::process(pid, ProcessFile::Stat);
        evidence.push(Row::new("CPU time of the holder between the samples, in ms", cpu, source));
    }
    if let (Some(first), Some(frame)) = (database.index.as_ref(), again.max_frame) {
        let both = format!("{} and {frame}", first.max_frame);
        evidence.push(Row::new("committed frames in both samples", both, index_source(name)));
    }
    let otherwise = "Look for the holder from a pid namespace that contains it, or among programs with open file description locks";
    Words { title, evidence, next: vec![see_process(lock.pid, otherwise)] }
}

fn locks_lost(database: &DatabaseFile, holders: &[DatabaseHolder]) -> Words {
    let name = name(database);
    let rows = |holder: &DatabaseHolder| {
        let source = || Source::OwnLocks(holder.pid);
        let open =
            holder.descriptors_db.saturating_add(holder.descriptors_wal).saturating_add(holder.descriptors_shm);
        [
            Row::new(format!("descriptors of pid {} on {name}", holder.pid), open, source()),
            Row::new(format!("shared locks of pid {} on {name}", holder.pid), 0, source()),
        ]
    };
    let first = holders.first().map_or(0, |holder| holder.pid);
    Words {
        title: format!("pid {} uses {name} without the shared lock that protects its log", pids(holders)),
        evidence: holders.iter().flat_map(rows).collect(),
        next: vec![
            NextStep::say(format!(
                "Do not start a program that opens {name}: it would delete the log when it closes the database"
            )),
            NextStep::say(format!(
                "Copy {name}, {name}-wal and {name}-shm, then restart pid {first}: the new process acquires the locks again"
            )),
            NextStep::say(
                "Find the cause: code in that process opens and closes the file outside SQLite, which drops all locks of \
                 the process on it; or the process was forked with an open connection, and its parent has ended",
            ),
        ],
    }
}
