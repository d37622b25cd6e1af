//! A visit of every text of the facts, by its kind.

use super::host_text::TextKind;
use super::*;
use std::collections::BTreeMap;

/// Visits every text of the facts, by its kind. The visitor may change it.
pub trait Visitor {
    /// A text of this kind.
    fn text(&mut self, kind: TextKind, text: &mut String);

    /// A path.
    fn path(&mut self, path: &mut HostPath);

    /// A point in time.
    fn time(&mut self, time: &mut Timestamp);

    /// Nanoseconds since 1970.
    fn nanoseconds(&mut self, at: &mut u64);

    /// A function of Python and the file that contains it.
    fn function(&mut self, function: &mut PythonSymbol, file: &mut HostPath);
}

/// A value whose texts can be visited. `String` is none: a field with text must have a type that says what the text is.
pub trait Visited {
    /// Visits every text of this value, in the order of its fields.
    fn accept(&mut self, visitor: &mut dyn Visitor);
}

/// Types without text.
macro_rules! without_text {
    ($($name:ty),* $(,)?) => {
        $(impl Visited for $name {
            fn accept(&mut self, _: &mut dyn Visitor) {}
        })*
    };
}

/// Visits every field of a struct. A new field does not compile until it is listed here, and its type has to be one
/// that can be visited.
macro_rules! visit_fields {
    ($($name:ident { $($field:ident),* $(,)? })*) => {
        $(impl Visited for $name {
            fn accept(&mut self, visitor: &mut dyn Visitor) {
                let Self { $($field),* } = self;
                $($field.accept(visitor);)*
            }
        })*
    };
}

without_text!(bool, u8, u16, u32, u64, u128, i32, i64, usize, f64, SystemError, Status);
without_text!(
    Fit,
    ClaimState,
    ServerKind,
    Part,
    GapReason,
    PhaseName,
    Outcome,
    Role,
    LogClass,
    PidFileState,
    LockRole,
    StackRole,
    Shape
);

impl<T: Visited> Visited for Option<T> {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        self.iter_mut().for_each(|value| value.accept(visitor));
    }
}

impl<T: Visited> Visited for Vec<T> {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        self.iter_mut().for_each(|value| value.accept(visitor));
    }
}

impl<T: Visited, const N: usize> Visited for [T; N] {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        self.iter_mut().for_each(|value| value.accept(visitor));
    }
}

impl<T: Visited> Visited for Box<T> {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        (**self).accept(visitor);
    }
}

impl<K: Visited + Ord, V: Visited> Visited for BTreeMap<K, V> {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        let all = std::mem::take(self).into_iter();
        self.extend(all.map(|(mut key, mut value)| {
            key.accept(visitor);
            value.accept(visitor);
            (key, value)
        }));
    }
}

impl Visited for Timestamp {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        visitor.time(self);
    }
}

impl Visited for HostPath {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        visitor.path(self);
    }
}

impl Visited for SupervisorKind {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        if let Self::Other(name) = self {
            visitor.text(TextKind::ProgramName, name);
        }
    }
}

impl Visited for ProcessState {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        if let Self::Other(letter) = self {
            letter.accept(visitor);
        }
    }
}

impl Visited for Series {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        match self {
            Self::Open => {}
            Self::Family(path) => path.accept(visitor),
            Self::Kind(kind) => kind.accept(visitor),
        }
    }
}

impl Visited for StackFrame {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        let Self { function, file, line } = self;
        visitor.function(function, file);
        line.accept(visitor);
    }
}

impl Visited for LockWait {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        let Self {
            function,
            file,
            line,
            expression,
            given_as,
            waiters,
            threads,
            held_by,
            no_holder,
            is_cycle,
            is_probable,
            is_still,
        } = self;
        visitor.function(function, file);
        line.accept(visitor);
        expression.accept(visitor);
        given_as.accept(visitor);
        waiters.accept(visitor);
        threads.accept(visitor);
        held_by.accept(visitor);
        no_holder.accept(visitor);
        is_cycle.accept(visitor);
        is_probable.accept(visitor);
        is_still.accept(visitor);
    }
}

impl Visited for LockHolder {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        let Self { function, file, tid, name, line, role, innermost, waits_for } = self;
        visitor.function(function, file);
        tid.accept(visitor);
        name.accept(visitor);
        line.accept(visitor);
        role.accept(visitor);
        innermost.accept(visitor);
        waits_for.accept(visitor);
    }
}

impl Visited for FileStamp {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        let Self { suffix, size_bytes, modified_ns } = self;
        visitor.nanoseconds(modified_ns);
        suffix.accept(visitor);
        size_bytes.accept(visitor);
    }
}

/// What a diagnosis computes from the facts is not visited.
impl Visited for Server {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        let Self {
            kind,
            pid,
            port,
            home,
            status: _,
            root_causes: _,
            findings: _,
            passed: _,
            gaps,
            examined,
            expectation,
            process,
            descriptors,
            lineage,
            health,
            listeners,
            pid_files,
            databases,
            stacks,
            trend,
            growth,
            exercise,
            logs,
            resources,
        } = self;
        kind.accept(visitor);
        pid.accept(visitor);
        port.accept(visitor);
        home.accept(visitor);
        gaps.accept(visitor);
        examined.accept(visitor);
        expectation.accept(visitor);
        process.accept(visitor);
        descriptors.accept(visitor);
        lineage.accept(visitor);
        health.accept(visitor);
        listeners.accept(visitor);
        pid_files.accept(visitor);
        databases.accept(visitor);
        stacks.accept(visitor);
        trend.accept(visitor);
        growth.accept(visitor);
        exercise.accept(visitor);
        logs.accept(visitor);
        resources.accept(visitor);
    }
}

/// What this program computes from the facts, or says of itself, is not visited.
impl Visited for Envelope {
    fn accept(&mut self, visitor: &mut dyn Visitor) {
        let Self {
            schema: _,
            tool,
            command,
            host,
            started_at,
            elapsed_ms,
            status: _,
            servers,
            databases,
            pid_files,
            findings: _,
            gaps,
            history,
            demonstrations: _,
            replayed,
            explanations: _,
            redaction: _,
        } = self;
        tool.accept(visitor);
        command.accept(visitor);
        host.accept(visitor);
        started_at.accept(visitor);
        elapsed_ms.accept(visitor);
        servers.accept(visitor);
        databases.accept(visitor);
        pid_files.accept(visitor);
        gaps.accept(visitor);
        history.accept(visitor);
        replayed.accept(visitor);
    }
}

visit_fields! {
    Activity { path, between_ms, cpu_ms, threads, threads_omitted, pipes }
    Pipe { descriptor, inode, readers }
    PipeReader { pid, name, state }
    Thread { tid, name, is_main, is_new, looks, cpu_ms, sleeps }
    ThreadSample { state, wait_channel, system_call }
    SystemCall { name, descriptor, is_unlimited }
    RawClaim { claim, fit, is_expected, is_of_control_group, is_current_activation, runs, runs_certainly, names_command, is_named_after_server, is_oneshot, is_enabled, not_queried }
    Descriptors { open, soft_limit, hard_limit, by_kind, targets, targets_omitted, sqlite, sockets, sockets_omitted, close_wait }
    Target { target, kind, count, deleted, size_bytes }
    SqliteFamily { path, db, wal, shm, deleted, connections }
    SocketDescriptor { inode, protocol, local, remote, state, count }
    CloseWait { first, still_at_second, between_ms, by_peer }
    CloseWaitPeer { peer, count }
    Tool { name, version }
    HostFacts { os, kernel, arch, uptime_ms, memory_bytes, memory_available_bytes, load, root, init }
    Expectation { named_by, port_belongs_because, any_program, kind, home, remote, supervisor }
    Replayed { tool, command, status, root_causes, newer_rules, is_newer }
    Exercise { to, batches, paths, stopped }
    Batch { path, batch, requests, answered, open, database_handles }
    PathCost { path, requests, left_open, left_database_handles, per_request }
    Gap { what, reason, detail, blocks, elapsed_ms }
    Phase { name, ms, error }
    HealthAnswer { status, version, platform, active_streams, sessions, accepted_total, uptime_seconds, checks, failed_checks }
    Attempt { url, address, outcome, http_status, server_header, redirect_to, phases, bytes_received, answer }
    Health { url, outcome, http_status, phases, bytes_received, answer, server_header, redirect_to, decided_by, attempts, deep, ignored_proxies, note, activity, routes, series }
    Route { path, named, deadline_ms, attempt, looks, activity }
    HealthSeries { requests, planned, every_ms, outcomes, phases, histogram, open_before, open_after }
    OutcomeCount { outcome, count }
    PhaseTimes { phase, count, min_ms, median_ms, p99_ms, max_ms }
    TimeBucket { up_to_ms, count }
    Record { at, since_boot_ms, server, status, root_causes, pid, start_ticks, open, soft_limit, database_handles, wal_handles, close_wait, accept_queue, connected, health, health_ms, resident_bytes, restarts, events }
    History { records, lines_skipped, ends_torn }
    Hop { pid, ppid, start_time, age_ms, user, role, name, command, evidence }
    Supervisor { kind, name, claimed_pid, claims_this, evidence, state, restarts, claim_state, scope, pid, since, command, configuration, log, policy, result, ran_ms, restart_interval_ms, claimed_age_ms, stops_group, port, home, owner, is_launcher }
    Expected { kind, name, pid, why, named }
    Sibling { pid, kind, command, same_port, same_home, any_port }
    Relaunch { of, observed_ms, pids, restarts, states, port_changes }
    Lineage { hops, supervisor, expected, detached, detached_because, session, process_group, cgroup, unit, markers, relaunch, claims, raw_claims, relatives, siblings }
    LogClassFacts { class, count, first_at, last_at, since_start, first_since_start_at, order }
    LogFacts { source, bytes_read, is_cut, with_rotated, is_shared, classes, ends_in_traceback, ends_with_traceback, last_orderly_end_at }
    Listeners { port, sockets, holders_complete, holders, connections, looks }
    Listener { address, family, inode, accept_queue, backlog, unit, cgroup, uid, holders }
    Holder { pid, command, kind, front, in_lineage }
    Connections { established, close_wait, not_accepted }
    PortSample { after_connect_ms, accept_queue, not_accepted, probe_accepted, accepted_since, unanswered, answered_since }
    Identity { pid, start_ticks }
    Process { identity, ppid, name, command, executable, uid, user, state, start_time, age_ms, threads, resident_bytes, session, process_group, tracer_pid, namespace_pids, foreign_network, network_namespace, foreign_mounts, cgroup, zombie_children, home, user_home, markers }
    PidFile { path, pid, state, detail }
    Resources { host, process, task_groups, memory_groups, looked_again_after_ms }
    HostLimits { files, files_max, tasks, threads_max, pid_max, memory_pressure }
    ProcessLimits { tasks_max, is_bound, user_tasks }
    TaskGroup { path, version, is_own, current, max, refused, refused_since }
    MemoryGroup { path, version, is_own, current_bytes, file_cache_bytes, high_bytes, max_bytes, oom_kills, oom_kills_since, high_events, high_events_since, max_events, max_events_since, pressure }
    Pressure { some_avg10, full_avg10 }
    DatabaseFile { path, size_bytes, header, journal_mode, wal, index, written, locks, holders, looked_again, read_as }
    DatabaseHeader { page_size_bytes, write_version, read_version, reserved_bytes, change_counter, pages, pages_valid, schema_cookie, user_version, application_id, sqlite_version }
    WalFile { size_bytes, header, frames_that_fit, frames_of_this_generation, committed_frames, useful_bytes }
    WalHeader { big_endian_checksums, format, page_size_bytes, checkpoint_sequence, salt, checksum_is_right }
    WalIndex { version, is_initialised, page_size_bytes, max_frame, pages, salt, change, backfilled_frames, backfill_attempted, read_marks, copies_agree, checksum_is_right }
    DatabaseLock { role, exclusive, pid, is_waiting, slot }
    DatabaseHolder { pid, command, descriptors_db, descriptors_wal, descriptors_shm, deleted, replaced, has_shared_lock, same_pid_namespace, reads_only }
    SecondSample { after_ms, max_frame, change, backfilled_frames, read_marks, written, locks, holder_cpu_ms }
    Stacks { interpreter, groups, locks, threads_omitted, is_complete, between_ms }
    StackGroup { count, role, threads, frames, frames_omitted }
    StackThread { tid, name, state, wait_channel, system_call, holds_gil }
    Sample { at_ms, open, walked, kinds, families, connected, cpu_ms }
    FamilySample { path, db, wal, shm }
    Trend { soft_limit, samples }
    Growth { series, shape, first, last, peak, floor_first, floor_last, falls, per_hour, per_hour_low, per_hour_high, to_limit_ms, samples, span_ms, missing, idle }
}
