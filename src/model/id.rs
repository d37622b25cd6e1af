//! Stable ids of the findings. `wording::catalogue` describes each finding.

/// There is no process of that server, and no listener.
pub const SERVER_NOT_RUNNING: &str = "server-not-running";
/// The server runs outside its expected supervisor.
pub const ORPHANED_SERVER: &str = "orphaned-server";
/// A restart loop: each start fails.
pub const RESPAWN_LOOP: &str = "respawn-loop";
/// The supervisor no longer tries to start it.
pub const SUPERVISOR_GAVE_UP: &str = "supervisor-gave-up";
/// The supervised program ended and left its server running, or its server ended too.
pub const LAUNCHER_DETACHED: &str = "launcher-detached";
/// Two supervisors are configured for it.
pub const DUPLICATE_SUPERVISORS: &str = "duplicate-supervisors";
/// Two servers of its kind on its home.
pub const DUPLICATE_SERVERS: &str = "duplicate-servers";
/// No supervisor manages the server.
pub const UNSUPERVISED_SERVER: &str = "unsupervised-server";
/// Another program owns the port.
pub const PORT_HELD: &str = "port-held-by-other-program";
/// Another Hermes server owns the port.
pub const PORT_OWNER_UNEXPECTED: &str = "port-owner-unexpected";
/// A pid file names another process, or none.
pub const STALE_PID_FILE: &str = "stale-pid-file";
/// Children that ended were not reaped.
pub const ZOMBIE_CHILDREN: &str = "zombie-children";
/// Few or no descriptors are left.
pub const DESCRIPTOR_CEILING: &str = "descriptor-ceiling";
/// The limit is small.
pub const DESCRIPTOR_LIMIT_LOW: &str = "descriptor-limit-low";
/// Database handles are not closed.
pub const STATE_DB_HANDLE_LEAK: &str = "state-db-handle-leak";
/// The number of open descriptors grows.
pub const DESCRIPTOR_GROWTH: &str = "descriptor-growth";
/// Unreferenced database handles are closed late.
pub const DEFERRED_CLOSE: &str = "deferred-close";
/// Sockets are not closed after their peer has closed the connection.
pub const CLOSE_WAIT_LEAK: &str = "close-wait-leak";
/// Unlinked files are still open.
pub const DELETED_FILES_HELD: &str = "deleted-files-held";
/// An open log or index is not the file at its path.
pub const WAL_GENERATION_DELETED: &str = "wal-generation-deleted";
/// A reader prevents a checkpoint from continuing.
pub const WAL_CHECKPOINT_PINNED: &str = "wal-checkpoint-pinned";
/// The log is large.
pub const WAL_LARGE: &str = "wal-large";
/// A lock is held without progress.
pub const DATABASE_LOCK_HELD: &str = "database-lock-held";
/// A database is used without its lock.
pub const DATABASE_LOCKS_LOST: &str = "database-locks-lost";
/// The log reports that the database is damaged.
pub const DATABASE_MALFORMED: &str = "database-malformed";
/// No thread or process can be started.
pub const THREADS_EXHAUSTED: &str = "threads-exhausted";
/// Tasks wait for memory.
pub const MEMORY_PRESSURE: &str = "memory-pressure";
/// The kernel killed processes because memory ran out.
pub const MEMORY_KILLED: &str = "memory-killed";
/// The host can open no more files.
pub const HOST_FILES_EXHAUSTED: &str = "host-files-exhausted";
/// There is no listener on that address.
pub const CONNECTION_REFUSED: &str = "connection-refused";
/// The process is stopped.
pub const PROCESS_STOPPED: &str = "process-stopped";
/// Connections are pending, and none is accepted.
pub const ACCEPT_STALLED: &str = "accept-stalled";
/// The accept queue has exceeded its maximum length.
pub const BACKLOG_FULL: &str = "backlog-full";
/// One thread holds the interpreter lock (GIL) and does not release it.
pub const GIL_HELD: &str = "gil-held";
/// Requests were accepted, and their handlers wait.
pub const HANDLERS_STUCK: &str = "handlers-stuck";
/// Threads wait for a lock that another thread holds.
pub const THREADS_WAIT_FOR_LOCK: &str = "threads-wait-for-lock";
/// No process reads the pipe that it writes to.
pub const OUTPUT_PIPE_FULL: &str = "output-pipe-full";
/// It sleeps in the kernel and cannot be interrupted.
pub const UNINTERRUPTIBLE_SLEEP: &str = "uninterruptible-sleep";
/// A route other than the health path does not answer before its deadline.
pub const ROUTE_SLOW: &str = "route-slow";
/// The connection was closed without a byte.
pub const REPLY_EMPTY: &str = "reply-empty";
/// The connection was reset.
pub const CONNECTION_RESET: &str = "connection-reset";
/// Every worker is busy.
pub const WORKERS_EXHAUSTED: &str = "workers-exhausted";
/// The server reports that it is degraded.
pub const HEALTH_DEGRADED: &str = "health-degraded";
/// The other scheme answers.
pub const WRONG_SCHEME: &str = "wrong-scheme";
/// The other address family answers.
pub const WRONG_ADDRESS_FAMILY: &str = "wrong-address-family";
/// No byte was received, and no cause was found.
pub const HTTP_NO_ANSWER: &str = "http-no-answer";
/// A response with another status or form.
pub const HEALTH_UNEXPECTED_ANSWER: &str = "health-unexpected-answer";

/// All findings that the HTTP examination decides.
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

/// All findings that the descriptors decide.
pub const DESCRIPTORS: &[&str] = &[
    DESCRIPTOR_CEILING,
    DESCRIPTOR_LIMIT_LOW,
    STATE_DB_HANDLE_LEAK,
    DESCRIPTOR_GROWTH,
    CLOSE_WAIT_LEAK,
    DELETED_FILES_HELD,
];

/// All findings that the Python stacks decide.
pub const STACKS: &[&str] = &[THREADS_WAIT_FOR_LOCK];

/// All findings that the lineage decides.
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

/// All findings that the claims of supervisors decide.
pub const CLAIMS: &[&str] = &[ORPHANED_SERVER, UNSUPERVISED_SERVER, DUPLICATE_SUPERVISORS];

/// All findings that the databases decide.
pub const DATABASES: &[&str] =
    &[WAL_GENERATION_DELETED, WAL_CHECKPOINT_PINNED, WAL_LARGE, DATABASE_LOCK_HELD, DATABASE_LOCKS_LOST];

/// All ids.
pub const ALL: &[&str] = &[
    SERVER_NOT_RUNNING,
    ORPHANED_SERVER,
    RESPAWN_LOOP,
    SUPERVISOR_GAVE_UP,
    LAUNCHER_DETACHED,
    DUPLICATE_SUPERVISORS,
    DUPLICATE_SERVERS,
    UNSUPERVISED_SERVER,
    PORT_HELD,
    PORT_OWNER_UNEXPECTED,
    STALE_PID_FILE,
    ZOMBIE_CHILDREN,
    DESCRIPTOR_CEILING,
    DESCRIPTOR_LIMIT_LOW,
    STATE_DB_HANDLE_LEAK,
    DESCRIPTOR_GROWTH,
    DEFERRED_CLOSE,
    CLOSE_WAIT_LEAK,
    DELETED_FILES_HELD,
    WAL_GENERATION_DELETED,
    WAL_CHECKPOINT_PINNED,
    WAL_LARGE,
    DATABASE_LOCK_HELD,
    DATABASE_LOCKS_LOST,
    DATABASE_MALFORMED,
    THREADS_EXHAUSTED,
    MEMORY_PRESSURE,
    MEMORY_KILLED,
    HOST_FILES_EXHAUSTED,
    CONNECTION_REFUSED,
    PROCESS_STOPPED,
    ACCEPT_STALLED,
    BACKLOG_FULL,
    GIL_HELD,
    HANDLERS_STUCK,
    THREADS_WAIT_FOR_LOCK,
    OUTPUT_PIPE_FULL,
    UNINTERRUPTIBLE_SLEEP,
    ROUTE_SLOW,
    REPLY_EMPTY,
    CONNECTION_RESET,
    WORKERS_EXHAUSTED,
    HEALTH_DEGRADED,
    WRONG_SCHEME,
    WRONG_ADDRESS_FAMILY,
    HTTP_NO_ANSWER,
    HEALTH_UNEXPECTED_ANSWER,
];
