//! Databases as tables: the contents of file, log and index, and the holders of the locks.

use super::table::{finish, right, table};
use super::{View, words};
use crate::model::{DatabaseFile, DatabaseLock, LockRole};
use comfy_table::Cell;

/// All databases of a server or host.
pub fn databases(databases: &[DatabaseFile], view: &View) -> String {
    if databases.is_empty() {
        return String::new();
    }
    let mut rows = table(view, &["MODE", "SIZE", "LOG", "IN USE", "FRAMES", "BEHIND", "DATABASE"]);
    for database in databases {
        let size = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), words::bytes);
        let index = database.index.as_ref();
        let behind = index.map_or_else(|| "-".to_owned(), |index| index.frames_behind().to_string());
        let frames = match (index, &database.wal) {
            (Some(index), _) => index.max_frame.to_string(),
            (None, Some(wal)) => wal.committed_frames.map_or_else(|| "?".to_owned(), |frames| frames.to_string()),
            (None, None) => "-".to_owned(),
        };
        let width = view.style.width().saturating_sub(58).max(20);
        rows.add_row(vec![
            Cell::new(&database.journal_mode),
            right(size(database.size_bytes)),
            right(size(database.wal.as_ref().map(|wal| wal.size_bytes))),
            right(size(database.wal.as_ref().and_then(|wal| wal.useful_bytes))),
            right(frames),
            right(behind),
            Cell::new(view.style.shorten(&database.path, width)),
        ]);
    }
    let mut out = finish(&rows, view);
    for database in databases {
        out.push_str(&one(database, view));
    }
    out
}

/// Locks and holders of one database; empty if no process has it open.
fn one(database: &DatabaseFile, view: &View) -> String {
    if database.holders.is_empty() && database.locks.is_empty() && !view.verbose {
        return String::new();
    }
    let mut out = String::from("\n");
    // The full path, so that it can be copied; the table above may have shortened it.
    for part in words::wrap(&view.style.locale(&database.path), view.style.width().saturating_sub(2).max(20)) {
        out.push_str(&format!("  {}\n", view.style.bold(&part)));
    }
    let mut line = |label: &str, text: String| {
        let head = format!("    {label:<10}  ");
        let width = view.style.width().saturating_sub(head.len()).max(20);
        for (index, part) in words::wrap(&view.style.locale(&text), width).iter().enumerate() {
            let start = if index == 0 { head.clone() } else { " ".repeat(head.len()) };
            out.push_str(&format!("{start}{part}\n"));
        }
    };
    if let Some(header) = database.header.as_ref().filter(|_| view.verbose) {
        let valid = if header.pages_valid { "" } else { " (not valid)" };
        line(
            "Header",
            format!(
                "pages of {} bytes, {}{valid}; change counter {}, written by SQLite {}",
                header.page_size_bytes,
                header.pages,
                header.change_counter,
                version(header.sqlite_version)
            ),
        );
    }
    if let Some(wal) = &database.wal
        && let Some(header) = wal.header.as_ref().filter(|_| view.verbose)
    {
        line(
            "Log",
            format!(
                "generation {} with salts {:08x} {:08x}; capacity {} frames, {} of this generation",
                header.checkpoint_sequence,
                header.salt[0],
                header.salt[1],
                wal.frames_that_fit,
                wal.frames_of_this_generation.map_or_else(|| "?".to_owned(), |frames| frames.to_string())
            ),
        );
    }
    if let Some(index) = &database.index {
        let marks: Vec<String> = index
            .read_marks
            .iter()
            .enumerate()
            .map(|(slot, mark)| format!("{slot}:{}", mark.map_or_else(|| "-".to_owned(), |mark| mark.to_string())))
            .collect();
        line(
            "Index",
            format!(
                "frame {} committed, {} checkpointed; read marks {}",
                index.max_frame,
                index.backfilled_frames,
                marks.join(" ")
            ),
        );
    }
    let locks = locks(&database.locks);
    if !locks.is_empty() {
        line("Locks", locks.join(view.style.pick(" · ", ", ")));
    }
    if let Some(again) = &database.looked_again {
        let frame = again.max_frame.map_or_else(|| "?".to_owned(), |frame| frame.to_string());
        let still = again.locks.as_ref().map_or_else(
            || "locks could not be read".to_owned(),
            |still| self::locks(still).join(view.style.pick(" · ", ", ")),
        );
        line("Later", format!("after {} ms: frame {frame}; {still}", again.after_ms));
    }
    if !database.holders.is_empty() {
        let mut rows = table(view, &["PID", "DB", "WAL", "SHM", "UNLINKED", "REPLACED", "SHARED LOCK", "COMMAND"]);
        for holder in &database.holders {
            let lock = match holder.has_shared_lock {
                Some(true) => "yes",
                Some(false) => "no",
                None => "?",
            };
            let width = view.style.width().saturating_sub(62).max(16);
            rows.add_row(vec![
                right(holder.pid),
                right(holder.descriptors_db),
                right(holder.descriptors_wal),
                right(holder.descriptors_shm),
                right(holder.deleted),
                right(holder.replaced),
                Cell::new(lock),
                Cell::new(view.style.brief(&holder.command, width)),
            ]);
        }
        out.push_str(finish(&rows, view).trim_start_matches('\n'));
    }
    out
}

/// Locks by role, each with its holders.
fn locks(locks: &[DatabaseLock]) -> Vec<String> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    for lock in locks.iter().filter(|lock| lock.role != LockRole::DeadManSwitch) {
        let waits = if lock.is_waiting { " waited for" } else { "" };
        let exclusive = if lock.exclusive && lock.role == LockRole::ReadSlot { " (exclusive)" } else { "" };
        let name = format!("{}{exclusive}{waits}", lock.words());
        let pid = lock
            .pid
            .map_or_else(|| "another namespace or an open file description".to_owned(), |pid| format!("pid {pid}"));
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, pids)) if !pids.contains(&pid) => pids.push(pid),
            Some(_) => {}
            None => found.push((name, vec![pid])),
        }
    }
    found.into_iter().map(|(name, pids)| format!("{name}: {}", pids.join(", "))).collect()
}

/// `3040001` is 3.40.1.
fn version(number: u32) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000)
}
