//! Stable ids of the findings. What each means stands in `diagnose::catalogue`.

/// No process of that server, and nobody listens.
pub const SERVER_NOT_RUNNING: &str = "server-not-running";
/// It runs outside the supervisor that should run it.
pub const ORPHANED_SERVER: &str = "orphaned-server";
/// Somebody starts it again and again in vain.
pub const RESPAWN_LOOP: &str = "respawn-loop";
/// The supervisor has stopped trying to start it.
pub const SUPERVISOR_GAVE_UP: &str = "supervisor-gave-up";
/// The supervisor's program left its server behind, or took it along, and ended.
pub const LAUNCHER_DETACHED: &str = "launcher-detached";
/// Two supervisors are configured for it.
pub const DUPLICATE_SUPERVISORS: &str = "duplicate-supervisors";
/// Two servers of its kind on its home.
pub const DUPLICATE_SERVERS: &str = "duplicate-servers";
/// Nobody keeps it running.
pub const UNSUPERVISED_SERVER: &str = "unsupervised-server";
/// Another program has the port.
pub const PORT_HELD: &str = "port-held-by-other-program";
/// Another Hermes server has the port.
pub const PORT_OWNER_UNEXPECTED: &str = "port-owner-unexpected";
/// A pid file names something else.
pub const STALE_PID_FILE: &str = "stale-pid-file";
/// Children that ended were not reaped.
pub const ZOMBIE_CHILDREN: &str = "zombie-children";
/// Few or no descriptors are left.
pub const DESCRIPTOR_CEILING: &str = "descriptor-ceiling";
/// The limit is small.
pub const DESCRIPTOR_LIMIT_LOW: &str = "descriptor-limit-low";
/// Database handles are not given back.
pub const STATE_DB_HANDLE_LEAK: &str = "state-db-handle-leak";
/// More and more descriptors are held.
pub const DESCRIPTOR_GROWTH: &str = "descriptor-growth";
/// Forgotten database handles are closed late.
pub const DEFERRED_CLOSE: &str = "deferred-close";
/// Sockets whose peer has closed are not closed.
pub const CLOSE_WAIT_LEAK: &str = "close-wait-leak";
/// Unlinked files are kept open.
pub const DELETED_FILES_HELD: &str = "deleted-files-held";
/// A log or index that is held open is not the one at its path.
pub const WAL_GENERATION_DELETED: &str = "wal-generation-deleted";
/// A reader keeps a checkpoint from going on.
pub const WAL_CHECKPOINT_PINNED: &str = "wal-checkpoint-pinned";
/// The log is large.
pub const WAL_LARGE: &str = "wal-large";
/// A lock is held and nothing moves.
pub const DATABASE_LOCK_HELD: &str = "database-lock-held";
/// A database is used without its lock.
pub const DATABASE_LOCKS_LOST: &str = "database-locks-lost";
/// The log says that the database is damaged.
pub const DATABASE_MALFORMED: &str = "database-malformed";
/// No thread or process can be started.
pub const THREADS_EXHAUSTED: &str = "threads-exhausted";
/// Tasks wait for memory.
pub const MEMORY_PRESSURE: &str = "memory-pressure";
/// The kernel has killed for want of memory.
pub const MEMORY_KILLED: &str = "memory-killed";
/// The host can open no more files.
pub const HOST_FILES_EXHAUSTED: &str = "host-files-exhausted";
/// Nobody listens on that address.
pub const CONNECTION_REFUSED: &str = "connection-refused";
/// The process is stopped.
pub const PROCESS_STOPPED: &str = "process-stopped";
/// Connections wait and none is accepted.
pub const ACCEPT_STALLED: &str = "accept-stalled";
/// The accept queue is over its length.
pub const BACKLOG_FULL: &str = "backlog-full";
/// One thread has the interpreter and does not give it back.
pub const GIL_HELD: &str = "gil-held";
/// Requests were accepted and their handlers wait.
pub const HANDLERS_STUCK: &str = "handlers-stuck";
/// Nobody reads what it writes.
pub const OUTPUT_PIPE_FULL: &str = "output-pipe-full";
/// It waits in the kernel and cannot be interrupted.
pub const UNINTERRUPTIBLE_SLEEP: &str = "uninterruptible-sleep";
/// Another route than the health path does not answer in time.
pub const ROUTE_SLOW: &str = "route-slow";
/// Closed without a byte.
pub const REPLY_EMPTY: &str = "reply-empty";
/// Reset.
pub const CONNECTION_RESET: &str = "connection-reset";
/// Every worker is busy.
pub const WORKERS_EXHAUSTED: &str = "workers-exhausted";
/// The server says that it is degraded.
pub const HEALTH_DEGRADED: &str = "health-degraded";
/// The other scheme answers.
pub const WRONG_SCHEME: &str = "wrong-scheme";
/// The other address family answers.
pub const WRONG_ADDRESS_FAMILY: &str = "wrong-address-family";
/// No byte, and no cause established.
pub const HTTP_NO_ANSWER: &str = "http-no-answer";
/// An answer of another status or shape.
pub const HEALTH_UNEXPECTED_ANSWER: &str = "health-unexpected-answer";

/// Everything that an HTTP examination decides.
pub const HTTP: &[&str] = &[
    CONNECTION_REFUSED,
    ACCEPT_STALLED,
    BACKLOG_FULL,
    GIL_HELD,
    HANDLERS_STUCK,
    OUTPUT_PIPE_FULL,
    UNINTERRUPTIBLE_SLEEP,
    REPLY_EMPTY,
    CONNECTION_RESET,
    WORKERS_EXHAUSTED,
    HEALTH_DEGRADED,
    WRONG_SCHEME,
    WRONG_ADDRESS_FAMILY,
    HTTP_NO_ANSWER,
    HEALTH_UNEXPECTED_ANSWER,
];

/// Everything that the descriptors decide.
pub const DESCRIPTORS: &[&str] = &[
    DESCRIPTOR_CEILING,
    DESCRIPTOR_LIMIT_LOW,
    STATE_DB_HANDLE_LEAK,
    DESCRIPTOR_GROWTH,
    CLOSE_WAIT_LEAK,
    DELETED_FILES_HELD,
];

/// Everything that the lineage decides.
pub const LINEAGE: &[&str] = &[
    ORPHANED_SERVER,
    RESPAWN_LOOP,
    SUPERVISOR_GAVE_UP,
    LAUNCHER_DETACHED,
    DUPLICATE_SUPERVISORS,
    DUPLICATE_SERVERS,
    UNSUPERVISED_SERVER,
    ZOMBIE_CHILDREN,
];

/// Everything that the claims of supervisors decide.
pub const CLAIMS: &[&str] = &[ORPHANED_SERVER, UNSUPERVISED_SERVER, DUPLICATE_SUPERVISORS];

/// Everything that the databases decide.
pub const DATABASES: &[&str] =
    &[WAL_GENERATION_DELETED, WAL_CHECKPOINT_PINNED, WAL_LARGE, DATABASE_LOCK_HELD, DATABASE_LOCKS_LOST];
