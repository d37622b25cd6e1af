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
        decided_by: "No process of that server, and nobody listens on its port.",
        look_alike: "A server that was started a moment ago: its process is there and has no listener yet. A host on which nobody named or configured a server.",
        why: "Nothing can answer: the server that was named or configured does not exist on this host.",
        remedy: "Read the end of its log before starting it again; then start it the way this host starts it.",
    },
    Entry {
        id: id::ORPHANED_SERVER,
        heading: "the server runs outside its supervisor",
        severity: "warning; critical with a respawn-loop",
        decided_by: "A supervisor is there for this server and claims another process, or none. Or it is a desktop's own backend on a port of its own (`--port 0`), was adopted, and the owner that its environment names is not above it. Its parent's pid alone never decides it.",
        look_alike: "A parent of 1 under systemd or launchd, a wrapper between supervisor and server, a detached start with nobody to respawn it, an update that replaces the program under the same pid, a backend that launchd itself keeps beside orphans of its kind.",
        why: "Stop, restart and updates through the supervisor do not reach this process: it can serve old code for days, and hold the port against the new one.",
        remedy: "Keep the evidence, end the orphan by its pid, then start the server through its supervisor; make the launcher replace itself by the server (exec) instead of detaching it.",
    },
    Entry {
        id: id::RESPAWN_LOOP,
        heading: "the server is started again and again in vain",
        severity: "critical",
        decided_by: "The supervisor's counter of restarts moves, or its process changes again and again, while it is looked on; from one look: it is starting it again just now, or its process is younger than the time between two starts, and the counter is high. Meanwhile another process holds the port, or the port opens and closes.",
        look_alike: "One restart long ago, or a restart that somebody has just made: the pid changes once, and no counter of automatic restarts moves.",
        why: "Each attempt ends soon, most often against a port that is taken. It fills the log, and the supervisor may give up, after which nothing restarts the server.",
        remedy: "Stop the loop first, then end the process that holds the port, then start the loop again.",
    },
    Entry {
        id: id::SUPERVISOR_GAVE_UP,
        heading: "the supervisor has given up",
        severity: "warning while the server runs; critical when it is down",
        decided_by: "The supervisor's own state of the program: FATAL of supervisord, failed of systemd (start-limit-hit among the results), errored of pm2.",
        look_alike: "A program that somebody stopped on purpose, or a unit that is disabled and inactive.",
        why: "When the server ends, nothing starts it again.",
        remedy: "Remove what made the starts fail (most often a port that is taken), then start the program through its supervisor.",
    },
    Entry {
        id: id::LAUNCHER_DETACHED,
        heading: "the launcher has left its server",
        severity: "warning while the server runs; critical when it went with the launcher",
        decided_by: "The main process of the unit or program ended by itself and with success, and nothing starts it again; its server runs on outside of it, or was ended with it (control-group kill) although the command is a launcher.",
        look_alike: "A oneshot unit that is meant to finish, Type=forking, and a server that somebody stopped: there the unit leaves its active state before its process ends.",
        why: "The supervisor takes the launcher for the server. When the launcher leaves, the server is ended with it or belongs to nobody, and Restart=on-failure sees no failure.",
        remedy: "Let the launcher replace itself by the server (exec), so that the supervisor holds the server itself.",
    },
    Entry {
        id: id::DUPLICATE_SUPERVISORS,
        heading: "two supervisors are configured for one server",
        severity: "warning",
        decided_by: "Besides the supervisor of this server another one that is not stopped has a program for the same port or home: a system and a user unit, two labels, a unit and a supervisord program.",
        look_alike: "One unit for each profile, a unit that is disabled, a supervisor that is itself run by another one.",
        why: "They fight for the port, the pid file and the lock: each start of one ends or blocks the other.",
        remedy: "Decide which of them is to run it; stop and disable the other.",
    },
    Entry {
        id: id::DUPLICATE_SERVERS,
        heading: "two servers of one kind share a home",
        severity: "warning",
        decided_by: "Two Hermes servers of the same kind, both older than half a minute, whose HERMES_HOME is the same directory.",
        look_alike: "Gateway, dashboard and WebUI share a home by design; one server takes over from another for some seconds; a desktop's own backend (--port 0) beside one that is served; the same path in two containers.",
        why: "Both write the same databases and answer the same channels.",
        remedy: "Decide which of them is to run, and end the other through its supervisor.",
    },
    Entry {
        id: id::UNSUPERVISED_SERVER,
        heading: "nobody keeps the server running",
        severity: "info",
        decided_by: "No supervisor among its parents, its control group is no service, and no loop on this host starts it.",
        look_alike: "None: it is a fact about the host, not a fault.",
        why: "When it ends, it stays down until somebody notices.",
        remedy: "Nothing, if that is meant. Otherwise run it under systemd, launchd or another supervisor in the foreground.",
    },
    Entry {
        id: id::PORT_HELD,
        heading: "another program has the port",
        severity: "critical; info where the program is a proxy or port forwarder",
        decided_by: "The listener's command is no Hermes server, its answer is not one's either, and a Hermes server belongs on that port.",
        look_alike: "A proxy or docker-proxy in front of the server by design. A port on which nobody expects a Hermes server.",
        why: "The server cannot bind its port, and clients talk to a stranger.",
        remedy: "Find out what that program is for; move one of the two to another port.",
    },
    Entry {
        id: id::PORT_OWNER_UNEXPECTED,
        heading: "another Hermes server has the port",
        severity: "critical",
        decided_by: "The listener is a Hermes server, but not the examined process, nor a parent or child of it; or the one that was found is of another kind or home than was asked for, or than a supervisor's program is configured for on that port.",
        look_alike: "A second profile on its own port, or on another address of the machine; a listening socket that a child has inherited.",
        why: "Clients reach the other server: old code, or another home's data.",
        remedy: "Decide which of the two should run, and end the other through its supervisor.",
    },
    Entry {
        id: id::STALE_PID_FILE,
        heading: "a pid file names something else",
        severity: "warning",
        decided_by: "The pid in it does not exist, is another program's, or is a server with another start time.",
        look_alike: "A server in another pid namespace, whose pids mean something else here: that is said to be unknown.",
        why: "Scripts that trust the file stop the wrong process, or refuse to start because they think that the server runs.",
        remedy: "When no server of that home runs, remove the file.",
    },
    Entry {
        id: id::ZOMBIE_CHILDREN,
        heading: "children are not reaped",
        severity: "warning from 10 on",
        decided_by: "Processes in state Z whose parent is the server.",
        look_alike: "One or two that are gone at the next look.",
        why: "Each keeps an entry of the process table. When the limit of processes is reached, no thread or process can be started.",
        remedy: "Restart the server when convenient; in a container run an init that reaps.",
    },
    Entry {
        id: id::DESCRIPTOR_CEILING,
        heading: "the descriptor limit is near or reached",
        severity: "warning from 80 % of the soft limit; critical from 95 %",
        decided_by: "Open descriptors against the soft limit of the live process.",
        look_alike: "A busy, stable server at 60 %.",
        why: "At the limit no connection is accepted and no file opened; errors then name whatever came last, not the cause.",
        remedy: "See what fills the table (`hermes-doctor fds`), keep the evidence, restart; raise the limit only as a stopgap.",
    },
    Entry {
        id: id::DESCRIPTOR_LIMIT_LOW,
        heading: "the descriptor limit is small",
        severity: "info; warning between 60 % and 80 % use (from there on see descriptor-ceiling)",
        decided_by: "A soft limit of 256 or less, the default of launchd.",
        look_alike: "None: it is a fact about the host.",
        why: "A server with many clients, profiles or tools reaches 256 without leaking anything.",
        remedy: "Raise the soft limit in the unit (LimitNOFILE=) or job (SoftResourceLimits).",
    },
    Entry {
        id: id::STATE_DB_HANDLE_LEAK,
        heading: "database handles leak",
        severity: "warning; critical when they fill 80 % of the limit",
        decided_by: "From samples over time: the handles of one database rise and are not given back (see descriptor-growth for what tells that from a saw-tooth). From one look: more than 30 descriptors on one database and its WAL, and at least a quarter of the soft limit; where the limit cannot be known (macOS), from 64 on and at least a quarter of what is open. That is a level, not yet a trend.",
        look_alike: "A pool of a dozen connections; several profiles with a database each; a count that falls again, as CPython from 3.11 closes forgotten connections late.",
        why: "Each connection that is not closed costs one to two descriptors. When they reach the limit, the server stops accepting.",
        remedy: "Keep the evidence, then restart: that gives the handles back. Update to a version that closes its connections.",
    },
    Entry {
        id: id::DESCRIPTOR_GROWTH,
        heading: "more and more descriptors are held",
        severity: "warning; critical when the limit is less than an hour away or 80 % of it is used",
        decided_by: "Three samples or more, clients' connections left out: it has risen further than any saw-tooth seen (170 descriptors at a limit of 512 or less, 440 above) and gave nothing back; or for two hours nothing was given back, at ten uneven samples or more; or it falls, and the floors rise by as much.",
        look_alike: "A saw-tooth that falls back to its floor, of which any few samples can lie on one rising flank; a burst of clients; a server that warms up and then stays.",
        why: "At the limit the server accepts no connection and opens no file, and what it then reports is not the cause.",
        remedy: "See which kind or database grows, keep the evidence, and restart before the limit is reached; raising the limit only buys time.",
    },
    Entry {
        id: id::DEFERRED_CLOSE,
        heading: "database handles are closed late",
        severity: "info",
        decided_by: "Samples over time: database and WAL handles rise by ten or more and fall back, and the floor does not rise.",
        look_alike: "A leak: its floors rise. Two samples on a rising flank look the same, so a fall must be seen.",
        why: "Connections are left for CPython's garbage collector (from 3.11 on) to close. Nothing is lost, but each peak needs room below the descriptor limit: up to about 150 handles under 3.11 and 3.12, and 400 under 3.13.",
        remedy: "Nothing while the peak stays well below the limit; otherwise raise the soft limit, or update to a version that closes its connections.",
    },
    Entry {
        id: id::CLOSE_WAIT_LEAK,
        heading: "closed connections are kept",
        severity: "warning",
        decided_by: "At least 50 CLOSE-WAIT sockets that the process owns, or a quarter of its soft limit, the same ones at two looks a second or more apart.",
        look_alike: "A burst of clients that left, gone at the second look.",
        why: "The peer has closed and the server has not: each such socket holds a descriptor for ever.",
        remedy: "The peer's address tells which client library does not close; restart to give them back, update that library or the server.",
    },
    Entry {
        id: id::DELETED_FILES_HELD,
        heading: "unlinked files are kept open",
        severity: "info",
        decided_by: "Descriptors on regular files without a name.",
        look_alike: "Temporary files, shared memory and asynchronous I/O rings are unlinked on purpose; a file can be named so that it looks unlinked, which its link count shows.",
        why: "Their space is not given back before they are closed; what is written to them is lost.",
        remedy: "For rotated logs, have the server reopen them. For a database or its WAL, copy it before any restart.",
    },
    Entry {
        id: id::WAL_GENERATION_DELETED,
        heading: "a database's log was taken away under its user",
        severity: "critical",
        decided_by: "A live descriptor on a database, -wal or -shm that is unlinked, or whose inode is not that of the file at its path. All holders are listed.",
        look_alike: "A backup that was rotated has a name of its own; a file can be named so that it looks unlinked, which its inode shows.",
        why: "The process goes on writing into files that nobody else sees, and that end with it; its health check stays well.",
        remedy: "Copy the files, the unlinked ones through /proc/PID/fd, before anything is stopped; then stop every holder together and start them again.",
    },
    Entry {
        id: id::WAL_CHECKPOINT_PINNED,
        heading: "a reader keeps the log from being copied back",
        severity: "warning",
        decided_by: "The WAL index: 1000 frames or more are committed and not copied back, and one process holds a read slot at two looks three seconds apart whose mark is below the last frame (slot 0 at any mark), while the mark and the frames copied back stay as they are and no checkpoint is under way; with the pid that holds it.",
        look_alike: "A large log that is fully copied back; readers that come and go on one slot; a checkpoint that is copying, which holds slot 0 itself.",
        why: "The log grows with every write for as long as that reader stays, and every read gets slower.",
        remedy: "Close the read transaction: a cursor that is not exhausted or a connection that is not closed.",
    },
    Entry {
        id: id::WAL_LARGE,
        heading: "the log is large",
        severity: "info",
        decided_by: "64 MiB or more, told with how much of it waits to be copied back.",
        look_alike: "None: the size is a high-water mark, and no fault by itself.",
        why: "Its room is used again; it shrinks only when somebody truncates it.",
        remedy: "Nothing, where it is copied back; else see wal-checkpoint-pinned.",
    },
    Entry {
        id: id::DATABASE_LOCK_HELD,
        heading: "a database lock is held and nothing is written",
        severity: "warning; critical when the server's own check of the database fails by it",
        decided_by: "The writer or recovery lock of the WAL index, or the reserved, pending or exclusive lock of the database, held by one process at two looks a second or more apart, while the last frame and the times of the log and journal (in rollback mode of the database too) have not moved. Information only where the holder computes meanwhile, or uses the database alone and exclusively.",
        look_alike: "A busy writer: its frames or files move; a transaction that fits into memory: its process computes; locking_mode=EXCLUSIVE at rest.",
        why: "Everybody else who writes waits until the busy time-out and then fails with `database is locked`.",
        remedy: "See what that process does: a transaction that was begun and neither committed nor rolled back.",
    },
    Entry {
        id: id::DATABASE_LOCKS_LOST,
        heading: "a database is used without its lock",
        severity: "critical",
        decided_by: "A process has a database in WAL mode, its log and its index open and no shared lock on it in the kernel's table, at two looks.",
        look_alike: "A connection before its first read, which has no log open yet; a database in rollback mode, which is locked only while it is read; a process in another pid namespace, whose locks the table does not name; a host whose table is hidden.",
        why: "The next program that opens and closes this database takes itself for the last user, and removes the log under this one.",
        remedy: "Copy the files and restart the process; find what opens and closes the file beside SQLite (POSIX locks are dropped when any descriptor of the file is closed).",
    },
    Entry {
        id: id::DATABASE_MALFORMED,
        heading: "the log says that the database is malformed",
        severity: "warning; critical when the server does not answer as it should",
        decided_by: "Lines \"database disk image is malformed\" in the log since the server's process started, and which other errors began after them.",
        look_alike: "Lines from before this process; texts of users or addresses of requests that mention the words; fewer than ten lines in a log that other servers write to as well.",
        why: "Code that meets a damaged database tends to open it again and again: thousands of such errors come before the descriptors run out, and only the last ones are noticed.",
        remedy: "Copy database, -wal and -shm; check the copy with SQLite's integrity_check; restore or recover it with every holder stopped.",
    },
    Entry {
        id: id::HOST_FILES_EXHAUSTED,
        heading: "the host's table of open files is full",
        severity: "critical",
        decided_by: "/proc/sys/fs/file-nr: 95 % of fs.file-max are open.",
        look_alike: "A process at its own limit: see descriptor-ceiling. Today's kernels set fs.file-max beyond reach.",
        why: "No process but root's can open a file, accept a connection or start a program.",
        remedy: "Find who holds most descriptors and end it; raise fs.file-max where the host really needs more.",
    },
    Entry {
        id: id::THREADS_EXHAUSTED,
        heading: "no thread can be started",
        severity: "critical; warning where only the log tells of it and the server answers",
        decided_by: "The limit of tasks is reached now: pids.max of its control group or one above, the user's limit of processes, or the host's. Or its log says \"can't start new thread\" since its start.",
        look_alike: "Root and holders of CAP_SYS_RESOURCE are not bound by the user's limit. Log lines from before this process.",
        why: "A server with a thread for each connection accepts it, cannot start the thread, and closes the connection without a byte.",
        remedy: "Find what keeps threads; raise TasksMax= of the unit, the container's --pids-limit or the user's nproc where it is too low.",
    },
    Entry {
        id: id::MEMORY_PRESSURE,
        heading: "the server waits for memory",
        severity: "warning",
        decided_by: "Its control group, or one above, uses 95 % of memory.high or its limit with memory that cannot be given back, and meets it between two looks; or its tasks waited for memory 10 % of the last ten seconds (all of them 5 %); the host's average counts where the group has none and the server does not answer as it should.",
        look_alike: "A group full of cached files, whose counters are at rest or which can be given back. A neighbour at its own limit, which raises the host's average.",
        why: "Every allocation waits until the kernel has found a page; requests take seconds for no reason of their own.",
        remedy: "Raise the limit, or find what grows in the group.",
    },
    Entry {
        id: id::MEMORY_KILLED,
        heading: "the kernel has killed for want of memory",
        severity: "warning",
        decided_by: "oom_kill of its own control group, if that is a service's, a container's or has a limit; or the supervisor's own word that its end was an oom-kill.",
        look_alike: "Kills in a login session, a slice or the root, which strangers share.",
        why: "What is killed writes no line and closes nothing: the server seems to have vanished without cause.",
        remedy: "The kernel's log says what was killed and how large it was; raise the limit or find what grows.",
    },
    Entry {
        id: id::CONNECTION_REFUSED,
        heading: "connections are refused",
        severity: "critical",
        decided_by: "The connection was refused on every address that was tried, though the process lives.",
        look_alike: "A server that listens on the other address family only; a server that has just been started.",
        why: "The process lives and does not listen: clients see a server that is down.",
        remedy: "Read its log for a failed bind or a start that hangs.",
    },
    Entry {
        id: id::PROCESS_STOPPED,
        heading: "the process is stopped",
        severity: "critical; info when a debugger has stopped it",
        decided_by: "State T (stopped by a signal), or t (traced) with the debugger's pid.",
        look_alike: "A process under a debugger.",
        why: "A stopped process runs nothing at all; its port goes on taking connections that nobody answers.",
        remedy: "Find out who stopped it (Ctrl-Z in a terminal, kill -STOP); continue it.",
    },
    Entry {
        id: id::ACCEPT_STALLED,
        heading: "connections wait and none is accepted",
        severity: "critical",
        decided_by: "The probe connects and gets no byte; its own connection and others wait in the accept queue, owned by nobody, at two looks, and the queue does not drain.",
        look_alike: "A burst that drains.",
        why: "The kernel completes connections by itself; the server does not take them. Its accept loop is stuck.",
        remedy: "Look for the cause that is named with it; without one, take the server's stacks before a restart.",
    },
    Entry {
        id: id::BACKLOG_FULL,
        heading: "the accept queue is full",
        severity: "critical",
        decided_by: "More connections wait than the backlog allows.",
        look_alike: "None: the kernel drops further connections from there on.",
        why: "New clients do not even get a connection; they see a time-out.",
        remedy: "See accept-stalled: the queue is full because nothing takes from it.",
    },
    Entry {
        id: id::REPLY_EMPTY,
        heading: "connections are closed without an answer",
        severity: "critical",
        decided_by: "The connection was accepted, the request written, and the connection closed without a byte.",
        look_alike: "A TLS server that was asked in plain HTTP: see wrong-scheme.",
        why: "The handler fails before it writes anything.",
        remedy: "The traceback is in the server's log.",
    },
    Entry {
        id: id::CONNECTION_RESET,
        heading: "connections are reset",
        severity: "critical",
        decided_by: "The connection was reset before an answer was complete.",
        look_alike: "A TLS server that was asked in plain HTTP: see wrong-scheme.",
        why: "The server, or the system on its behalf, throws connections away.",
        remedy: "Look at the descriptors and the log first; a server at its descriptor limit does this on some systems.",
    },
    Entry {
        id: id::WORKERS_EXHAUSTED,
        heading: "every worker is busy",
        severity: "critical",
        decided_by: "503 with an empty body and without a Server header: the answer of the overflow path.",
        look_alike: "A 503 with a JSON body is the server's own health check: see health-degraded.",
        why: "All request threads are taken, most likely stuck at one place.",
        remedy: "Take the server's stacks before a restart.",
    },
    Entry {
        id: id::HEALTH_DEGRADED,
        heading: "the server says that it is degraded",
        severity: "critical",
        decided_by: "Its own health answer, with the checks that failed.",
        look_alike: "A check that says `missing` for a store that was never made is no failure.",
        why: "The server can answer, and knows that a part of it does not work.",
        remedy: "The failed check names the part: a lock that is not released, or a database that cannot be opened.",
    },
    Entry {
        id: id::WRONG_SCHEME,
        heading: "it answers on the other scheme",
        severity: "info",
        decided_by: "The request failed as HTTP and is answered as HTTPS, or the reverse.",
        look_alike: "None.",
        why: "A client with the other scheme sees a dead server where there is a healthy one.",
        remedy: "Use the URL that answers.",
    },
    Entry {
        id: id::WRONG_ADDRESS_FAMILY,
        heading: "it listens on the other address family only",
        severity: "info",
        decided_by: "Refused on 127.0.0.1 and answered on ::1, or the reverse of what was asked for.",
        look_alike: "None.",
        why: "A client that uses the other family sees a dead server where there is a healthy one.",
        remedy: "Use the address that answers, or bind the server to the family that clients use.",
    },
    Entry {
        id: id::GIL_HELD,
        heading: "one thread keeps the interpreter",
        severity: "critical",
        decided_by: "While a request waits, one thread of the server runs on the CPU at two looks, and others, the main thread among them, wake every few milliseconds to ask for the interpreter and do not get it.",
        look_alike: "A thread that computes in Python: it gives the interpreter back every few milliseconds, and requests are answered. A main thread that waits for a lock: it does not wake.",
        why: "Python runs one thread at a time. A call into C that does not give the interpreter back stops every other thread, the accept loop too.",
        remedy: "Take the stacks: they name the line that runs. Bound the input of that call, or move it into another process.",
    },
    Entry {
        id: id::HANDLERS_STUCK,
        heading: "requests are accepted and their handlers wait",
        severity: "critical",
        decided_by: "The request's connection was accepted and has got no byte, the accept queue is empty, the main thread waits for connections at two looks, nobody else gets an answer meanwhile, and the request's own thread (of a pool: every worker, each with a request) waits at a lock or a full pipe and has not run between the looks.",
        look_alike: "Event streams and long polls that are meant to stay open: they have got bytes, and the health path answers. A handler that is late because it works, waits for another server, or for its turn: it comes on.",
        why: "Each new request takes another thread and a descriptor and waits with the others, most often for one lock that is never given back.",
        remedy: "Take the stacks before a restart: they name the line at which the handlers wait, and the thread that has the lock.",
    },
    Entry {
        id: id::OUTPUT_PIPE_FULL,
        heading: "nobody reads what the server writes",
        severity: "critical",
        decided_by: "While a request waits, threads of the server are in a write to a pipe at two looks, and none that writes to that pipe has come on between them.",
        look_alike: "A reader that is slow and reads: the writer comes on.",
        why: "A pipe holds 64 KiB. When nobody reads from it, the next line of the log stops the thread that writes it, and with it everybody who wants to log.",
        remedy: "Let the program at the other end read on, or let the server log to a file.",
    },
    Entry {
        id: id::UNINTERRUPTIBLE_SLEEP,
        heading: "the server waits in the kernel",
        severity: "critical",
        decided_by: "While a request waits, threads of the server are in state D in the same place of the kernel at two looks and have not run between them.",
        look_alike: "A disk at work: its threads are in state D for moments and run in between.",
        why: "Such a thread waits for a disk, a network mount or a device and cannot be ended, not even by a kill.",
        remedy: "Find out what it waits for (its wait channel, `dmesg`, the mounts of its files); a restart does not help before that answers.",
    },
    Entry {
        id: id::ROUTE_SLOW,
        heading: "the health path answers, another route does not",
        severity: "critical with no byte at its deadline; warning from 5 s on; info within two minutes of the start where it is at work or was answered, unless its cause is known",
        decided_by: "A request for another path than the health path, on a connection of its own and with a deadline of its own.",
        look_alike: "A first start that migrates its data, and is at work.",
        why: "Monitors that ask for the health path see a healthy server, and nobody can work with it.",
        remedy: "What that route waits for is its cause: a lock inside the server, a locked database, or work that takes long.",
    },
    Entry {
        id: id::THREADS_WAIT_FOR_LOCK,
        heading: "threads wait for a lock that another thread keeps",
        severity: "warning",
        decided_by: "Python stacks at two looks half a second apart: the same threads at the same line that takes a lock, waiting without a time limit and never woken in between, and one thread inside a block of that lock; or threads that wait for each other's.",
        look_alike: "A lock that is given back a moment later: its waiters are woken between the looks, though one of them may wait again. Workers that wait at a condition, a queue or a selector: those are no locks that somebody keeps.",
        why: "Whatever needs that lock stands still until its holder gives it back; where two threads wait for each other, that is never.",
        remedy: "Keep the stacks, look at the line at which the holder stands, then restart the server; take several locks in one order, and none around a call that can wait.",
    },
    Entry {
        id: id::HTTP_NO_ANSWER,
        heading: "connected, and no answer",
        severity: "critical; warning while others are served",
        decided_by: "The connection stands, and no complete answer came within the deadline; no other cause is established.",
        look_alike: "A server so busy that it answers late: its queue drains, or others get their answers, between two looks.",
        why: "Clients hang.",
        remedy: "Look at what its threads do (`check --verbose`), and take its stacks before a restart.",
    },
    Entry {
        id: id::HEALTH_UNEXPECTED_ANSWER,
        heading: "an answer that is not this server's health",
        severity: "5xx critical; 4xx, another shape or not HTTP warning; a login or redirect info",
        decided_by: "The status and shape of the answer against those of the kind of server.",
        look_alike: "Another kind of server: name it with --kind. A login or redirect in front of a live server.",
        why: "Something answers, but not as this kind of server does when it is well.",
        remedy: "Compare the answer with the server's version and kind; look at its log for the error behind a 5xx.",
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
