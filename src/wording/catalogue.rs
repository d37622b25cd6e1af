//! The catalogue of findings: the meaning of each id. `explain` and docs/findings.md print it.

use crate::model::id;

/// The constant description of one finding.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Stable id.
    pub id: &'static str,
    /// A short heading.
    pub heading: &'static str,
    /// Default severity, and what changes it.
    pub severity: &'static str,
    /// The facts that decide it.
    pub decided_by: &'static str,
    /// A healthy host with similar facts, and how it differs.
    pub look_alike: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What to do.
    pub remedy: &'static str,
}

/// Finds an entry.
pub fn entry(id: &str) -> Option<&'static Entry> {
    CATALOGUE.iter().find(|entry| entry.id == id)
}

/// Ids with a spelling similar to a word, nearest first.
pub fn similar(word: &str) -> Vec<&'static str> {
    let wanted: Vec<&str> = word.split('-').filter(|part| part.len() > 2).collect();
    let mut found: Vec<(usize, &'static str)> = CATALOGUE
        .iter()
        .map(|entry| (wanted.iter().filter(|part| entry.id.contains(**part)).count(), entry.id))
        .filter(|(shared, _)| *shared > 0)
        .collect();
    found.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    found.into_iter().map(|(_, id)| id).take(3).collect()
}

/// All findings of this version.
pub const CATALOGUE: &[Entry] = &[
    Entry {
        id: id::SERVER_NOT_RUNNING,
        heading: "the server is not running",
        severity: "critical",
        decided_by: "The server has no process, and its port has no listener.",
        look_alike: "A server that has just been started: its process exists and does not listen yet. A host on which no server was selected or configured.",
        why: "No request is answered: the server that was selected or configured has no process on this host.",
        remedy: "Read the end of its log; then start it through its unit, job, program or ctl.sh.",
    },
    Entry {
        id: id::ORPHANED_SERVER,
        heading: "the server runs outside its supervisor",
        severity: "warning; critical with a respawn-loop",
        decided_by: "The supervisor of this server claims another process, or none. Or the server is the backend of a desktop app (`--port 0`), was adopted, and the owner in its environment is not among its ancestors. The pid of the parent alone is never sufficient.",
        look_alike: "A parent of 1 under systemd or launchd, a wrapper between supervisor and server, a detached start without a supervisor, an update that replaces the program under the same pid, a backend that launchd itself manages, next to orphaned backends.",
        why: "Stops, restarts and updates through the supervisor do not affect this process: it can serve old code for days, and it blocks the port for the new process.",
        remedy: "Save a report, end the orphan by its pid, then start the server through its supervisor; make the launcher replace itself with the server (exec) instead of detaching it.",
    },
    Entry {
        id: id::RESPAWN_LOOP,
        heading: "restart loop: the server is started repeatedly and ends",
        severity: "critical",
        decided_by: "During the observation, the restart counter of the supervisor rises or its process changes repeatedly. From one sample: the supervisor is restarting the server now, or the process is younger than the time between two starts, and the counter is high. At the same time, another process holds the port, or the port opens and closes.",
        look_alike: "One restart long ago, or a manual restart: the pid changes once, and the counter of automatic restarts does not rise.",
        why: "Each attempt ends after a short time, most often because the port is in use. The attempts fill the log, and the supervisor may give up; then nothing restarts the server.",
        remedy: "Stop the loop first, then end the process that holds the port, then start the loop again.",
    },
    Entry {
        id: id::SUPERVISOR_GAVE_UP,
        heading: "the supervisor has given up",
        severity: "warning while the server runs; critical when it is down",
        decided_by: "The state that the supervisor reports: FATAL (supervisord), failed (systemd, for example with the result start-limit-hit), errored (pm2).",
        look_alike: "A program that was stopped on purpose, or a unit that is disabled and inactive.",
        why: "When the server ends, nothing starts it again.",
        remedy: "Fix the cause of the failed starts (most often a port in use), then start the program through its supervisor.",
    },
    Entry {
        id: id::LAUNCHER_DETACHED,
        heading: "the launcher has exited and left its server",
        severity: "warning while the server runs; critical when it ended with the launcher",
        decided_by: "The main process of the unit or program exited successfully and is not restarted. Its server still runs outside the supervisor, or was ended with it (control-group kill) although the command is a launcher.",
        look_alike: "A oneshot unit, which finishes by design; Type=forking; a server that was stopped on purpose: its unit leaves the active state before its process ends.",
        why: "The supervisor treats the launcher as the server. When the launcher exits, the server is ended with it or has no supervisor, and Restart=on-failure detects no failure.",
        remedy: "Make the launcher replace itself with the server (exec), so that the supervisor manages the server itself.",
    },
    Entry {
        id: id::DUPLICATE_SUPERVISORS,
        heading: "two supervisors are configured for one server",
        severity: "warning",
        decided_by: "Another supervisor, which is not stopped, has a program for the same port or home: a system and a user unit, two labels, a unit and a supervisord program.",
        look_alike: "One unit for each profile, a unit that is disabled, a supervisor that is itself managed by another one.",
        why: "They compete for the port, the pid file and the lock: each start of one ends or blocks the other.",
        remedy: "Decide which of them should run the server; stop and disable the other.",
    },
    Entry {
        id: id::DUPLICATE_SERVERS,
        heading: "two servers of one kind share a home",
        severity: "warning",
        decided_by: "Two Hermes servers of the same kind, both older than half a minute, whose HERMES_HOME is the same directory.",
        look_alike: "Gateway, dashboard and WebUI share a home by design; one server replaces another, and both run for some seconds; the backend of a desktop app (--port 0) next to another server; the same path in two containers.",
        why: "Both servers write the same databases and answer the same channels.",
        remedy: "Decide which of them should run; stop the other through its supervisor.",
    },
    Entry {
        id: id::UNSUPERVISED_SERVER,
        heading: "no supervisor manages the server",
        severity: "info",
        decided_by: "It has no supervisor among its parents, its control group is not a service, and no loop on this host starts it.",
        look_alike: "None: it is a fact about the host, not a fault.",
        why: "When it ends, nothing restarts it.",
        remedy: "No action if this is intended. Otherwise run it in the foreground under systemd, launchd or another supervisor.",
    },
    Entry {
        id: id::PORT_HELD,
        heading: "another program holds the port",
        severity: "critical; info where the program is a proxy or port forwarder",
        decided_by: "The listener is not a Hermes server, by its command and by its answer, and a Hermes server is expected on that port.",
        look_alike: "A proxy or docker-proxy in front of the server by design. A port on which no Hermes server is expected.",
        why: "The server cannot bind its port, and clients reach another program.",
        remedy: "Find out the purpose of that program; move one of the two to another port.",
    },
    Entry {
        id: id::PORT_OWNER_UNEXPECTED,
        heading: "another Hermes server holds the port",
        severity: "critical",
        decided_by: "The listener is a Hermes server, but not the examined process and not its parent or child. Or its kind or home differs from the requested one, or from the one that a supervisor configures for that port.",
        look_alike: "A second profile on its own port, or on another address of the host; a listening socket that a child has inherited.",
        why: "Clients reach the other server: old code, or the data of another home.",
        remedy: "Decide which of the two should run; stop the other through its supervisor.",
    },
    Entry {
        id: id::STALE_PID_FILE,
        heading: "a pid file contains the pid of another process, or of none",
        severity: "warning",
        decided_by: "The pid in the file does not exist, belongs to another program, or belongs to a server with a different start time.",
        look_alike: "A server in another pid namespace, in which the pid has another meaning: the state is reported as unknown.",
        why: "Scripts that trust the file stop the wrong process, or do not start the server because they assume that it runs.",
        remedy: "When no server of that home runs, remove the file.",
    },
    Entry {
        id: id::ZOMBIE_CHILDREN,
        heading: "child processes are not reaped",
        severity: "warning from 10 on",
        decided_by: "Processes in state Z whose parent is the server.",
        look_alike: "One or two zombies that are gone in the next sample.",
        why: "Each zombie keeps an entry of the process table. When the process limit is reached, no thread or process can be started.",
        remedy: "Restart the server when convenient; in a container, run an init that reaps its children.",
    },
    Entry {
        id: id::DESCRIPTOR_CEILING,
        heading: "the descriptor limit is near or reached",
        severity: "warning from 80 % of the soft limit; critical from 95 %",
        decided_by: "Open descriptors against the soft limit of the live process.",
        look_alike: "A busy, stable server at 60 %.",
        why: "At the limit, no connection is accepted and no file is opened; the errors then name the last failed operation, not the cause.",
        remedy: "List the open descriptors (`hermes-doctor fds`), save a report, restart; raise the limit only as a stopgap.",
    },
    Entry {
        id: id::DESCRIPTOR_LIMIT_LOW,
        heading: "the descriptor limit is small",
        severity: "info; warning between 60 % and 80 % use (from 80 % on, see descriptor-ceiling)",
        decided_by: "A soft limit of 256 or less, the default of launchd.",
        look_alike: "None: it is a fact about the host.",
        why: "A server with many clients, profiles or tools reaches 256 without leaking anything.",
        remedy: "Raise the soft limit in the unit (LimitNOFILE=) or job (SoftResourceLimits).",
    },
    Entry {
        id: id::STATE_DB_HANDLE_LEAK,
        heading: "database handles leak",
        severity: "warning; critical when they fill 80 % of the limit",
        decided_by: "From samples over time: the handles of one database rise and are not closed (descriptor-growth describes the difference from a saw-tooth). From one sample: more than 30 descriptors on one database and its WAL, and at least a quarter of the soft limit; where the limit cannot be read (macOS), 64 or more and at least a quarter of the open descriptors. One sample shows a level and no trend.",
        look_alike: "A pool of a dozen connections; several profiles with a database each; a count that falls again, because CPython 3.11 and later closes unused connections late.",
        why: "Each connection that is not closed costs one to two descriptors. When they reach the limit, the server stops accepting.",
        remedy: "Save a report, then restart: this closes the handles. Update to a version that closes its connections.",
    },
    Entry {
        id: id::DESCRIPTOR_GROWTH,
        heading: "the number of open descriptors grows",
        severity: "warning; critical when the limit is less than an hour away or 80 % of it is used",
        decided_by: "At least three samples, without the connections of clients: the count has risen further than any known saw-tooth (170 descriptors at a limit of 512 or less, 440 above) and has not fallen; or it has not fallen for two hours, with at least ten uneven samples; or it falls, and the floors rise by as much.",
        look_alike: "A saw-tooth that falls back to its floor: a few samples can all lie on one rising flank. A burst of clients. A server that warms up and then stays at one level.",
        why: "At the limit, the server accepts no connection and opens no file, and the errors that it then reports are not the cause.",
        remedy: "Find the kind or database that grows, save a report, and restart before the limit is reached; a higher limit only delays the failure.",
    },
    Entry {
        id: id::DEFERRED_CLOSE,
        heading: "database handles are closed late",
        severity: "info",
        decided_by: "Samples over time: database and WAL handles rise by ten or more and fall back, and the floor does not rise.",
        look_alike: "A leak: its floors rise. Two samples on a rising flank show the same increase, so at least one fall must be sampled.",
        why: "The garbage collector of CPython (3.11 and later) closes these connections. Nothing is lost, but each peak must stay below the descriptor limit: up to about 150 handles under 3.11 and 3.12, and 400 under 3.13.",
        remedy: "No action while the peak stays well below the limit; otherwise raise the soft limit, or update to a version that closes its connections.",
    },
    Entry {
        id: id::CLOSE_WAIT_LEAK,
        heading: "connections closed by the peer are kept open",
        severity: "warning",
        decided_by: "At least 50 CLOSE-WAIT sockets that the process owns, or a quarter of its soft limit, the same ones in two samples at least a second apart.",
        look_alike: "A burst of clients that disconnected: the sockets are gone in the second sample.",
        why: "The peer has closed the connection and the server has not: each such socket holds a descriptor until the server ends.",
        remedy: "The address of the peer shows which client library does not close; restart to close the sockets, and update that library or the server.",
    },
    Entry {
        id: id::DELETED_FILES_HELD,
        heading: "unlinked files are kept open",
        severity: "info",
        decided_by: "Descriptors refer to regular files without a name.",
        look_alike: "Temporary files, shared memory and asynchronous I/O rings are unlinked on purpose. A file name can end like that of an unlinked file; the link count shows the difference.",
        why: "Their space is not released until they are closed; data written to them is lost.",
        remedy: "For rotated logs, have the server reopen them. For a database or its WAL, copy it before any restart.",
    },
    Entry {
        id: id::WAL_GENERATION_DELETED,
        heading: "a database file was unlinked or replaced while in use",
        severity: "critical",
        decided_by: "A live descriptor on a database, -wal or -shm that is unlinked, or whose inode is not that of the file at its path. All holders are listed.",
        look_alike: "A rotated backup has a different name. A file name can end like that of an unlinked file; the inode shows the difference.",
        why: "The process writes to files that no other process can open and that are lost when it ends; its health check still passes.",
        remedy: "Copy the files, the unlinked ones through /proc/PID/fd, before you stop anything; then stop all holders before you start any of them again.",
    },
    Entry {
        id: id::WAL_CHECKPOINT_PINNED,
        heading: "a read transaction blocks the checkpoint",
        severity: "warning",
        decided_by: "The WAL index: 1000 frames or more are committed and not checkpointed. In two samples three seconds apart, one process holds a read slot whose mark is below the last frame (slot 0 at any mark), the mark and the number of checkpointed frames do not change, and no checkpoint is running. The finding names the pid of the holder.",
        look_alike: "A large log that is fully checkpointed; several short reads on one slot; a running checkpoint, which holds slot 0 itself.",
        why: "The log grows with every write until that transaction ends, and every read becomes slower.",
        remedy: "Close the read transaction: a cursor that is not exhausted or a connection that is not closed.",
    },
    Entry {
        id: id::WAL_LARGE,
        heading: "the log is large",
        severity: "info",
        decided_by: "64 MiB or more; the part that is not checkpointed is reported with it.",
        look_alike: "None: the size is a high-water mark and not a fault.",
        why: "Its space is reused; it shrinks only when it is truncated.",
        remedy: "No action if it is checkpointed; otherwise see wal-checkpoint-pinned.",
    },
    Entry {
        id: id::DATABASE_LOCK_HELD,
        heading: "a database lock is held and nothing is written",
        severity: "warning; critical when the database check of the server fails because of it",
        decided_by: "The writer or recovery lock of the WAL index, or the reserved, pending or exclusive lock of the database, held by one process in two samples at least a second apart, while the last frame and the modification times of the log and the journal (in rollback mode, also of the database) do not change. Info if the holder uses CPU time, or is the only user of the database and has locked it exclusively.",
        look_alike: "A busy writer: its frames or files change. A transaction that fits into memory: its process uses CPU time. An idle connection with locking_mode=EXCLUSIVE.",
        why: "Every other writer waits until the busy timeout and then fails with `database is locked`.",
        remedy: "Examine that process: find the transaction that was neither committed nor rolled back.",
    },
    Entry {
        id: id::DATABASE_LOCKS_LOST,
        heading: "a database is used without its lock",
        severity: "critical",
        decided_by: "A process has a database in WAL mode, its log and its index open, and has no shared lock on it in the lock table of the kernel, in two samples.",
        look_alike: "A connection before its first read, which has not opened the log yet; a database in rollback mode, which is locked only during a read; a process in another pid namespace, whose locks are not in the table; a host on which the table cannot be read.",
        why: "The next program that opens and closes this database detects no other user, and deletes the log that this process uses.",
        remedy: "Copy the files and restart the process; find the code that opens and closes the file outside SQLite (POSIX locks are dropped when any descriptor of the file is closed).",
    },
    Entry {
        id: id::DATABASE_MALFORMED,
        heading: "the log reports a malformed database",
        severity: "warning; critical when the server does not answer as it should",
        decided_by: "Lines \"database disk image is malformed\" in the log since the process started; the finding also names other errors that began after them.",
        look_alike: "Lines from before this process; texts of users or request paths that contain these words; fewer than ten lines in a log that other servers also write to.",
        why: "After such an error, programs tend to open the database repeatedly: thousands of these errors precede the exhaustion of the descriptors, and only the last ones are noticed.",
        remedy: "Copy the database, -wal and -shm; check the copy with SQLite's integrity_check; restore or recover it with every holder stopped.",
    },
    Entry {
        id: id::HOST_FILES_EXHAUSTED,
        heading: "the open file table of the host is full",
        severity: "critical",
        decided_by: "/proc/sys/fs/file-nr: 95 % of fs.file-max are open.",
        look_alike: "A process at its own limit: see descriptor-ceiling. Current kernels set fs.file-max so high that it is rarely reached.",
        why: "Only processes of root can open a file, accept a connection or start a program.",
        remedy: "Find the process with the most descriptors and end it; raise fs.file-max if the host needs more.",
    },
    Entry {
        id: id::THREADS_EXHAUSTED,
        heading: "no thread can be started",
        severity: "critical; warning if only the log reports it and the server answers",
        decided_by: "The task limit is reached now: pids.max of its control group or of one above, the process limit of the user, or that of the host. Or its log contains \"can't start new thread\" since its start.",
        look_alike: "Root and processes with CAP_SYS_RESOURCE, to which the limit of the user does not apply. Log lines from before this process.",
        why: "A server with a thread for each connection accepts it, cannot start the thread, and closes the connection without a byte.",
        remedy: "Find the process that keeps its threads; if the limit is too low, raise TasksMax= of the unit, --pids-limit of the container or nproc of the user.",
    },
    Entry {
        id: id::MEMORY_PRESSURE,
        heading: "the server waits for memory",
        severity: "warning",
        decided_by: "Its control group, or one above, uses 95 % of memory.high or of its limit with memory that cannot be reclaimed, and reaches it between two samples. Or its tasks waited for memory during 10 % of the last ten seconds (all of them: 5 %). If the group has no average, that of the host is used, if the server does not answer correctly.",
        look_alike: "A group full of cached files, which can be reclaimed, or whose counters do not change. Another group at its limit, which raises the average of the host.",
        why: "Every allocation waits until the kernel has reclaimed a page; each request can take seconds.",
        remedy: "Raise the limit, or find the process in the group whose memory grows.",
    },
    Entry {
        id: id::MEMORY_KILLED,
        heading: "the kernel killed a process because memory ran out",
        severity: "warning",
        decided_by: "oom_kill of its control group, if the group belongs to a service or a container, or has a limit. Or the supervisor reports that the server ended by an OOM kill.",
        look_alike: "Kills in a login session, a slice or the root group, which other programs share.",
        why: "A killed process writes no log line and closes nothing: the server ends without a visible cause.",
        remedy: "The log of the kernel shows the killed process and its size; raise the limit, or find the process whose memory grows.",
    },
    Entry {
        id: id::CONNECTION_REFUSED,
        heading: "connections are refused",
        severity: "critical",
        decided_by: "The connection was refused on every address that was tried, although the process is running.",
        look_alike: "A server that listens on the other address family only; a server that has just been started.",
        why: "The process is running but does not listen: for clients, the server is down.",
        remedy: "Check its log for a failed bind or a start that hangs.",
    },
    Entry {
        id: id::PROCESS_STOPPED,
        heading: "the process is stopped",
        severity: "critical; info when a debugger has stopped it",
        decided_by: "State T (stopped by a signal), or t (traced) with the debugger's pid.",
        look_alike: "A process under a debugger.",
        why: "A stopped process does not run; the kernel still completes connections to its port, and they are not answered.",
        remedy: "Find out what stopped it (Ctrl-Z in a terminal, kill -STOP); continue it.",
    },
    Entry {
        id: id::ACCEPT_STALLED,
        heading: "pending connections are not accepted",
        severity: "critical",
        decided_by: "The probe connects and gets no byte; its connection and others are pending in the accept queue in two samples, and the queue does not drain.",
        look_alike: "A burst that drains.",
        why: "The kernel completes the connections, but the server does not accept them: its accept loop is stuck.",
        remedy: "Check the cause that is reported with it. If there is none, take the stacks of the server before a restart.",
    },
    Entry {
        id: id::BACKLOG_FULL,
        heading: "the accept queue is full",
        severity: "critical",
        decided_by: "More connections are pending than the backlog allows.",
        look_alike: "None: the kernel drops further connections.",
        why: "New clients cannot connect; their connections time out.",
        remedy: "See accept-stalled: the queue is full because the server does not accept.",
    },
    Entry {
        id: id::REPLY_EMPTY,
        heading: "connections are closed without an answer",
        severity: "critical",
        decided_by: "The connection was accepted, the request was written, and the server closed the connection without sending a byte.",
        look_alike: "A TLS server that received plain HTTP: see wrong-scheme.",
        why: "The handler fails before it writes anything.",
        remedy: "Find the traceback in the log of the server.",
    },
    Entry {
        id: id::CONNECTION_RESET,
        heading: "connections are reset",
        severity: "critical",
        decided_by: "The connection was reset before an answer was complete.",
        look_alike: "A TLS server that received plain HTTP: see wrong-scheme.",
        why: "The server, or the kernel for it, drops connections.",
        remedy: "Check the descriptors and the log first: on some systems, a server at its descriptor limit resets connections.",
    },
    Entry {
        id: id::WORKERS_EXHAUSTED,
        heading: "every worker is busy",
        severity: "critical",
        decided_by: "503 with an empty body and without a Server header: the answer of the overflow path.",
        look_alike: "A 503 with a JSON body is the server's own health check: see health-degraded.",
        why: "All request threads are busy, probably blocked at one place.",
        remedy: "Take the server's stacks before a restart.",
    },
    Entry {
        id: id::HEALTH_DEGRADED,
        heading: "the server reports that it is degraded",
        severity: "critical",
        decided_by: "The health answer of the server, with the checks that failed.",
        look_alike: "A check with the status `missing`, for a store that was never created, is not a failure.",
        why: "The server answers, and reports that a part of it does not work.",
        remedy: "The failed check names the part: a lock that is not released, or a database that cannot be opened.",
    },
    Entry {
        id: id::WRONG_SCHEME,
        heading: "the server answers on the other scheme",
        severity: "info",
        decided_by: "The request failed over HTTP and was answered over HTTPS, or the reverse.",
        look_alike: "None.",
        why: "For a client with the wrong scheme, a healthy server seems to be down.",
        remedy: "Use the URL that answers.",
    },
    Entry {
        id: id::WRONG_ADDRESS_FAMILY,
        heading: "the server listens on the other address family only",
        severity: "info",
        decided_by: "The connection to 127.0.0.1 was refused and the request to ::1 was answered, or the reverse.",
        look_alike: "None.",
        why: "For a client that uses the wrong family, a healthy server seems to be down.",
        remedy: "Use the address that answers, or bind the server to the family that clients use.",
    },
    Entry {
        id: id::GIL_HELD,
        heading: "one thread holds the interpreter lock",
        severity: "critical",
        decided_by: "While a request waits, one thread of the server runs on the CPU in two samples. Other threads, including the main thread, wake every few milliseconds to request the interpreter lock and do not get it.",
        look_alike: "A thread that computes in Python: it releases the interpreter lock every few milliseconds, and requests are answered. A main thread that waits for a lock: it does not wake.",
        why: "Python runs one thread at a time. A call into C that does not release the interpreter lock blocks every other thread, including the accept loop.",
        remedy: "Take the stacks: they show the line that runs. Limit the input of that call, or move it into another process.",
    },
    Entry {
        id: id::HANDLERS_STUCK,
        heading: "requests are accepted and their handlers wait",
        severity: "critical",
        decided_by: "The connection of the request was accepted and was sent no byte, and the accept queue is empty. In two samples, the main thread waits for connections, and no other request is answered between them. The thread of the request (in a pool: every worker, each with a request) waits for a lock or a full pipe and has not run between the samples.",
        look_alike: "Event streams and long polls, which stay open by design: they were sent bytes, and the health path answers. A handler that is late because it computes, waits for another server or is queued: it makes progress.",
        why: "Each new request uses another thread and descriptor and waits like the others, most often for one lock that is never released.",
        remedy: "Take the stacks before a restart: they show the line at which the handlers wait, and the thread that holds the lock.",
    },
    Entry {
        id: id::OUTPUT_PIPE_FULL,
        heading: "the output of the server is not read",
        severity: "critical",
        decided_by: "While a request waits, threads of the server are in a write to a pipe in two samples, and no thread that writes to that pipe has made progress between them.",
        look_alike: "A slow reader that still reads: the writer makes progress.",
        why: "A pipe holds 64 KiB. If it is not read, the next log line blocks the thread that writes it, and then every thread that writes to the log.",
        remedy: "Make the program at the other end read again, or make the server log to a file.",
    },
    Entry {
        id: id::UNINTERRUPTIBLE_SLEEP,
        heading: "the server waits in the kernel",
        severity: "critical",
        decided_by: "While a request waits, threads of the server are in state D at the same place in the kernel in two samples and have not run between them.",
        look_alike: "A busy disk: threads that use it are in state D for short times and run in between.",
        why: "Such a thread waits for a disk, a network mount or a device and cannot be ended, not even by SIGKILL.",
        remedy: "Find out what it waits for (its wait channel, `dmesg`, the mounts of its files); a restart does not help until that device or file server responds.",
    },
    Entry {
        id: id::ROUTE_SLOW,
        heading: "the health path answers, another route does not",
        severity: "critical with no byte at its deadline; warning from 5 s on; info within two minutes of the start if the route is at work or was answered, unless its cause is known",
        decided_by: "A request for another path than the health path, on a separate connection and with a separate deadline.",
        look_alike: "A first start that migrates data and is still working.",
        why: "Monitors that request the health path report a healthy server, but users cannot work with it.",
        remedy: "Find out what that route waits for: a lock inside the server, a locked database, or work that takes long.",
    },
    Entry {
        id: id::THREADS_WAIT_FOR_LOCK,
        heading: "threads wait for a lock that another thread holds",
        severity: "warning",
        decided_by: "Python stacks in two samples half a second apart: the same threads at the same line that acquires a lock, waiting without a time limit and not woken in between, and one thread inside a block of that lock. Or threads that wait for the locks of each other.",
        look_alike: "A lock that is released soon: its waiters are woken between the samples, although one of them may wait again. Workers that wait for a condition, a queue or a selector: no thread holds these.",
        why: "Every thread that needs that lock is blocked until its holder releases it; if two threads wait for each other, it is never released.",
        remedy: "Save the stacks, check the line at which the holder waits, then restart the server. In the code, acquire several locks in one order, and hold none during a call that can block.",
    },
    Entry {
        id: id::HTTP_NO_ANSWER,
        heading: "connected, but no answer",
        severity: "critical; warning while other requests are answered",
        decided_by: "The connection is established, and no complete answer was received within the deadline; no other cause is established.",
        look_alike: "A server so busy that it answers late: its queue drains, or other requests are answered, between two samples.",
        why: "Clients wait until they time out.",
        remedy: "Check what its threads do (`check --verbose`), and take its stacks before a restart.",
    },
    Entry {
        id: id::HEALTH_UNEXPECTED_ANSWER,
        heading: "an unexpected answer to the health request",
        severity: "5xx critical; 4xx, another format or not HTTP warning; a login or redirect info",
        decided_by: "The status and the format of the answer, compared with those of this kind of server.",
        look_alike: "Another kind of server: specify it with --kind. A login or redirect in front of a live server.",
        why: "A program answers, but not as a healthy server of this kind does.",
        remedy: "Compare the answer with the version and kind of the server; for a 5xx, find the error in its log.",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_and_every_text_is_there() {
        let mut seen = std::collections::HashSet::new();
        for entry in CATALOGUE {
            assert!(seen.insert(entry.id), "{} twice", entry.id);
            for text in [entry.heading, entry.severity, entry.decided_by, entry.look_alike, entry.why, entry.remedy]
            {
                assert!(!text.is_empty(), "{}", entry.id);
            }
        }
        for id in id::HTTP.iter().chain(id::DESCRIPTORS).chain(id::LINEAGE) {
            assert!(entry(id).is_some(), "{id} is not in the catalogue");
        }
    }

    #[test]
    fn helps_with_a_misspelled_id() {
        assert_eq!(similar("state-db-leak").first(), Some(&id::STATE_DB_HANDLE_LEAK));
        assert!(similar("zzz").is_empty());
    }
}
