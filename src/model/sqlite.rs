//! SQLite databases, from the bytes of their files and the kernel's lock table. SQLite itself is not used.

use super::{CommandLine, HostPath, OwnTerm};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One database with its companions, its locks and the processes that have it open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseFile {
    /// Path of the database file.
    pub path: HostPath,
    /// Size of the database file in bytes; `null` if it could not be read.
    pub size_bytes: Option<u64>,
    /// Its first 100 bytes; `null` for an empty file (`size_bytes` is 0 then), or if they could not be read.
    pub header: Option<DatabaseHeader>,
    /// `wal`, `rollback` (every journal mode but WAL), or `unknown`.
    pub journal_mode: OwnTerm,
    /// The `-wal` file, if there is one.
    pub wal: Option<WalFile>,
    /// The WAL index in the `-shm` file, if there is one that could be read.
    pub index: Option<WalIndex>,
    /// Last modification of its files. It advances while a file is being written.
    #[serde(default)]
    pub written: Vec<FileStamp>,
    /// Locks on the database and on its `-shm`, from the kernel's table.
    pub locks: Vec<DatabaseLock>,
    /// Processes with descriptors on any of the three files.
    pub holders: Vec<DatabaseHolder>,
    /// Changes at the second sample; `null` if no second sample was taken.
    pub looked_again: Option<SecondSample>,
    /// The user that it is read as, if neither a process nor the user that runs the doctor named it.
    /// It is only for reading the file and is not part of the report.
    #[serde(skip)]
    pub read_as: Option<u32>,
}

/// Size and time of one file of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileStamp {
    /// Suffix after the name of the database: empty, `-wal` or `-journal`.
    pub suffix: OwnTerm,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Last modification in nanoseconds since 1970 (`st_mtim`, stat(2)).
    pub modified_ns: u64,
}

/// The header of a database file: its first 100 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseHeader {
    /// Page size in bytes.
    pub page_size_bytes: u32,
    /// Required capability of a writer: 1 rollback journal, 2 write-ahead log.
    pub write_version: u8,
    /// Required capability of a reader: 1 rollback journal, 2 write-ahead log.
    pub read_version: u8,
    /// Unused bytes at the end of each page.
    pub reserved_bytes: u8,
    /// Number of changes of the file. In WAL mode it does not advance while the changes are in the log.
    pub change_counter: u32,
    /// Size of the database in pages, from the header; pages that are only in the log are not included.
    pub pages: u32,
    /// Whether `pages` was written together with `change_counter` and is therefore valid.
    pub pages_valid: bool,
    /// Number of changes of the schema.
    pub schema_cookie: u32,
    /// The application's own version number (`PRAGMA user_version`).
    pub user_version: u32,
    /// The application's own file type (`PRAGMA application_id`).
    pub application_id: u32,
    /// Version of the SQLite that last changed the file: 3040001 is 3.40.1.
    pub sqlite_version: u32,
}

impl DatabaseHeader {
    /// The journal mode by the two version numbers: `wal`, `rollback` or `unknown`.
    pub fn journal_mode(&self) -> &'static str {
        match (self.write_version, self.read_version) {
            (1, 1) => "rollback",
            (2, 2) => "wal",
            _ => "unknown",
        }
    }
}

/// A `-wal` file: one header, then frames of one page each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalFile {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Its header; `null` for an empty file (normal: the log is empty), or if it could not be read.
    pub header: Option<WalHeader>,
    /// Number of whole frames that fit in the file. It includes frames of an older generation, which stay until
    /// they are overwritten.
    pub frames_that_fit: u64,
    /// Number of frames from the start with the salts of the header, including those of an open or rolled-back
    /// transaction; `null` if it could not be determined.
    pub frames_of_this_generation: Option<u64>,
    /// Number of frames up to the last commit, determined without reading pages, so their checksums are not
    /// verified. If there is an index, its `max_frame` decides. `null` if no commit was found near the end.
    pub committed_frames: Option<u64>,
    /// Size of the header and the committed frames in bytes; the rest of the file is reused.
    pub useful_bytes: Option<u64>,
}

/// The header of a `-wal` file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalHeader {
    /// Whether checksums are computed over big-endian words: the byte order of the machine that created the
    /// log.
    pub big_endian_checksums: bool,
    /// Version of the format; only 3007000 exists.
    pub format: u32,
    /// Page size in bytes.
    pub page_size_bytes: u32,
    /// Number of the log's generation.
    pub checkpoint_sequence: u32,
    /// Identifies this generation: only frames with the same salts belong to it.
    pub salt: [u32; 2],
    /// Whether the checksum of the header is right. If not, SQLite treats the whole log as empty.
    pub checksum_is_right: bool,
}

/// The start of a `-shm` file: the state of the log that the connections share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalIndex {
    /// Version of the format: 3007000, or 0 if it is not initialised.
    pub version: u32,
    /// Whether a connection has filled it in. If not, the next reader rebuilds it from the log.
    pub is_initialised: bool,
    /// Page size in bytes; 0 if nothing was written to the log since the index was created.
    pub page_size_bytes: u32,
    /// Last committed frame (`mxFrame`); 0 is an empty log.
    pub max_frame: u32,
    /// Size of the database in pages, including pages in the log.
    pub pages: u32,
    /// Salts of the log that it describes, in the byte order of [`WalHeader::salt`].
    pub salt: [u32; 2],
    /// Number of transactions since the index was created (`iChange`).
    pub change: u32,
    /// Number of frames that have been copied into the database (`nBackfill`); equal to `max_frame` if all have
    /// been.
    pub backfilled_frames: u32,
    /// Number of frames that a checkpoint has started to copy. Above `backfilled_frames` while a checkpoint
    /// runs, after one died, and after the index was rebuilt. `null` for a SQLite too old to maintain it.
    pub backfill_attempted: Option<u32>,
    /// Last frame that readers of each slot may use; `null` is a slot never used. A mark is meaningful only if
    /// its slot is locked. Slot 0 is always 0 and means that the reader uses only the database file.
    pub read_marks: [Option<u32>; 5],
    /// Whether both copies of the header are equal. If not, a writer was changing them: read again.
    pub copies_agree: bool,
    /// Whether the checksum of the header is right.
    pub checksum_is_right: bool,
}

impl WalIndex {
    /// Number of committed frames that are not yet copied into the database.
    pub fn frames_behind(&self) -> u32 {
        self.max_frame.saturating_sub(self.backfilled_frames)
    }
}

/// The meaning of a locked byte of a database or its `-shm`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockRole {
    /// Database: a reader of the file, or in WAL mode an open connection. If held exclusively, no other process
    /// may read.
    Shared,
    /// Database: the one transaction that intends to write (rollback journal).
    Reserved,
    /// Database: a writer that admits no new readers (rollback journal).
    Pending,
    /// Index: the one write transaction.
    Writer,
    /// Index: the one checkpoint.
    Checkpointer,
    /// Index: it is being rebuilt from the log.
    Recovery,
    /// Index: readers of one slot; held exclusively while its mark is changed or the log is restarted.
    ReadSlot,
    /// Index: a process uses the `-shm`. A process that finds this lock free discards the content.
    DeadManSwitch,
}

impl LockRole {
    /// The role in words for the user.
    pub fn words(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Reserved => "reserved",
            Self::Pending => "pending",
            Self::Writer => "writer",
            Self::Checkpointer => "checkpointer",
            Self::Recovery => "recovery",
            Self::ReadSlot => "read slot",
            Self::DeadManSwitch => "dead-man switch",
        }
    }
}

/// One role that a process holds or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseLock {
    /// Role of the lock.
    pub role: LockRole,
    /// Whether it is a write lock; if not, it is a read lock, which other processes may hold too.
    pub exclusive: bool,
    /// Process that holds it; `null` for locks of an open file description and of other pid namespaces.
    pub pid: Option<u32>,
    /// Whether it is waited for and not held. SQLite itself tries a lock and does not wait, unless it was built
    /// to.
    pub is_waiting: bool,
    /// Number of the read slot, 0 to 4.
    pub slot: Option<u8>,
}

impl DatabaseLock {
    /// The lock in words for the user, for example `read slot 1`.
    pub fn words(&self) -> String {
        match (self.role, self.exclusive, self.slot) {
            (LockRole::Shared, true, _) => "exclusive".to_owned(),
            (role, _, Some(slot)) => format!("{} {slot}", role.words()),
            (role, _, None) => role.words().to_owned(),
        }
    }
}

/// One process that has the database open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseHolder {
    /// Process id in the doctor's own pid namespace.
    pub pid: u32,
    /// Command line, secrets masked, or the short name of the process.
    pub command: CommandLine,
    /// Descriptors on the database.
    pub descriptors_db: u64,
    /// Descriptors on `-wal`.
    pub descriptors_wal: u64,
    /// Descriptors on `-shm`.
    pub descriptors_shm: u64,
    /// Descriptors on unlinked files, among all of these.
    pub deleted: u64,
    /// Descriptors on a file that is no longer the one at its path (another inode), among all of these.
    pub replaced: u64,
    /// Whether it holds the shared lock of the database. In WAL mode a process that has `-wal` open must hold
    /// it; a connection that has not read anything has neither. A forked child has the descriptors and none of
    /// the locks. `null` if the lock table cannot show it.
    pub has_shared_lock: Option<bool>,
    /// Whether it is in the pid namespace of the doctor; if not, the lock table may not show its pid.
    pub same_pid_namespace: bool,
    /// Whether none of these descriptors is open for writing, unlike those of SQLite. Then the process copies
    /// or reads the files and has no connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_only: bool,
}

impl DatabaseHolder {
    /// A process without any counted descriptors.
    pub fn new(pid: u32, same_pid_namespace: bool) -> Self {
        Self {
            pid,
            command: String::new().into(),
            descriptors_db: 0,
            descriptors_wal: 0,
            descriptors_shm: 0,
            deleted: 0,
            replaced: 0,
            has_shared_lock: None,
            same_pid_namespace,
            reads_only: false,
        }
    }
}

/// Second sample of the same database. A held lock without progress is stuck; with progress it is busy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecondSample {
    /// Time after the first sample, in milliseconds.
    pub after_ms: u64,
    /// `max_frame` at the second sample.
    pub max_frame: Option<u32>,
    /// `change` at the second sample.
    pub change: Option<u32>,
    /// `backfilled_frames` at the second sample.
    #[serde(default)]
    pub backfilled_frames: Option<u32>,
    /// `read_marks` at the second sample.
    #[serde(default)]
    pub read_marks: Vec<Option<u32>>,
    /// `written` at the second sample.
    #[serde(default)]
    pub written: Vec<FileStamp>,
    /// Locks at the second sample; `null` if the table could not be read.
    pub locks: Option<Vec<DatabaseLock>>,
    /// CPU time that the holder of a write lock used between the samples, in milliseconds. A transaction that
    /// fits in its memory writes nothing before it ends.
    #[serde(default)]
    pub holder_cpu_ms: Option<u64>,
}
