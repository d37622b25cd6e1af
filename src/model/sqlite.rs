//! SQLite databases as their bytes and the kernel's lock table show them; nothing here was asked of SQLite.

use super::HostPath;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One database with its companions, its locks and the processes that have it open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseFile {
    /// Path of the database file.
    pub path: HostPath,
    /// Size of the database file in bytes; `null` where it could not be had.
    pub size_bytes: Option<u64>,
    /// Its first 100 bytes; `null` for an empty file (`size_bytes` is 0 then) and where they could not be read.
    pub header: Option<DatabaseHeader>,
    /// `wal`, `rollback` (every journal mode but WAL), or `unknown`.
    pub journal_mode: String,
    /// The `-wal` file, where there is one.
    pub wal: Option<WalFile>,
    /// The WAL index in the `-shm` file, where there is one that could be read.
    pub index: Option<WalIndex>,
    /// When its files were last written to: of a file that is being written to it moves.
    #[serde(default)]
    pub written: Vec<FileStamp>,
    /// Locks on the database and on its `-shm`, from the kernel's table.
    pub locks: Vec<DatabaseLock>,
    /// Processes with descriptors on any of the three files.
    pub holders: Vec<DatabaseHolder>,
    /// What had changed a moment later; `null` where no second look was made.
    pub looked_again: Option<SecondSample>,
    /// The user with whose rights it is read, where neither a process nor the doctor's own user has named it. It is a way to the file and
    /// no fact of the report.
    #[serde(skip)]
    pub read_as: Option<u32>,
}

/// Size and time of one file of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FileStamp {
    /// What stands behind the database's name: nothing, `-wal` or `-journal`.
    pub suffix: String,
    /// Size in bytes.
    pub size_bytes: u64,
    /// Last modification in nanoseconds since 1970 (`st_mtim`, stat(2)).
    pub modified_ns: u64,
}

/// The fixed part of a database file: what its first 100 bytes say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseHeader {
    /// Page size in bytes.
    pub page_size_bytes: u32,
    /// What a writer must be able to do: 1 rollback journal, 2 write-ahead log.
    pub write_version: u8,
    /// What a reader must be able to do: 1 rollback journal, 2 write-ahead log.
    pub read_version: u8,
    /// Bytes left free at the end of each page.
    pub reserved_bytes: u8,
    /// Counts changes of the file. In WAL mode it stands still while the changes are in the log.
    pub change_counter: u32,
    /// Size of the database in pages, as the header has it; what is only in the log is not in it.
    pub pages: u32,
    /// Whether `pages` was written together with `change_counter` and so may be believed.
    pub pages_valid: bool,
    /// Counts changes of the schema.
    pub schema_cookie: u32,
    /// The application's own version number (`PRAGMA user_version`).
    pub user_version: u32,
    /// The application's own file type (`PRAGMA application_id`).
    pub application_id: u32,
    /// Version of the SQLite that changed the file last: 3040001 is 3.40.1.
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
    /// Its header; `null` for an empty file (normal: nothing is in the log) and where it could not be read.
    pub header: Option<WalHeader>,
    /// Whole frames that the size has room for. Those of an older generation count: they stay until overwritten.
    pub frames_that_fit: u64,
    /// Frames from the start that carry the salts of the header, those of an open or rolled-back transaction
    /// included; `null` where that could not be found out.
    pub frames_of_this_generation: Option<u64>,
    /// Frames up to the last commit, found without reading pages, so their checksums are not verified. The
    /// index (`max_frame`) decides where there is one. `null` where no commit was found near the end.
    pub committed_frames: Option<u64>,
    /// Bytes of the header and the committed frames; the rest of the file is room to be written over.
    pub useful_bytes: Option<u64>,
}

/// The header of a `-wal` file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalHeader {
    /// Whether checksums are made of big-endian words: the byte order of the machine that began the log.
    pub big_endian_checksums: bool,
    /// Version of the format; 3007000 is the only one there is.
    pub format: u32,
    /// Page size in bytes.
    pub page_size_bytes: u32,
    /// Counts the generations of the log.
    pub checkpoint_sequence: u32,
    /// Marks this generation: only frames with the same salts belong to it.
    pub salt: [u32; 2],
    /// Whether the header's checksum holds. If not, SQLite takes the whole log for empty.
    pub checksum_is_right: bool,
}

/// The start of a `-shm` file: what the connections have agreed on about the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WalIndex {
    /// Version of the format: 3007000, or 0 while it is not initialised.
    pub version: u32,
    /// Whether a connection has filled it in. If not, the next reader rebuilds it from the log.
    pub is_initialised: bool,
    /// Page size in bytes; 0 as long as nothing was written to the log since the index was made.
    pub page_size_bytes: u32,
    /// Last committed frame (`mxFrame`); 0 is an empty log.
    pub max_frame: u32,
    /// Size of the database in pages, what is in the log included.
    pub pages: u32,
    /// Salts of the log that it describes, in the byte order of [`WalHeader::salt`].
    pub salt: [u32; 2],
    /// Counts transactions since the index was made (`iChange`).
    pub change: u32,
    /// Frames that have been copied back into the database (`nBackfill`); all of them are when this is `max_frame`.
    pub backfilled_frames: u32,
    /// Frames that a checkpoint has set out to copy back. Above `backfilled_frames` while one runs, after one died,
    /// and after the index was rebuilt. `null` for a SQLite too old to keep it.
    pub backfill_attempted: Option<u32>,
    /// Last frame that readers of each slot may use; `null` is a slot never used. A mark says nothing unless its
    /// slot is locked; slot 0 is always 0 and means: reads the database file only.
    pub read_marks: [Option<u32>; 5],
    /// Whether both copies of the header are the same. If not, a writer was at it: read again.
    pub copies_agree: bool,
    /// Whether the header's checksum holds.
    pub checksum_is_right: bool,
}

impl WalIndex {
    /// Frames that are committed and not yet copied back into the database.
    pub fn frames_behind(&self) -> u32 {
        self.max_frame.saturating_sub(self.backfilled_frames)
    }
}

/// What a locked byte of a database or its `-shm` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LockRole {
    /// Database: a reader of the file, or in WAL mode an open connection; held exclusively, nobody else may read.
    Shared,
    /// Database: the one transaction that means to write (rollback journal).
    Reserved,
    /// Database: a writer that lets no new reader in (rollback journal).
    Pending,
    /// Index: the one write transaction.
    Writer,
    /// Index: the one checkpoint.
    Checkpointer,
    /// Index: it is being rebuilt from the log.
    Recovery,
    /// Index: readers of one slot; held exclusively while its mark is moved or the log is started over.
    ReadSlot,
    /// Index: a process has the `-shm` in use; who finds it free throws the content away.
    DeadManSwitch,
}

impl LockRole {
    /// The role as a person reads it.
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

/// One role that one process holds or waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DatabaseLock {
    /// Which.
    pub role: LockRole,
    /// A write lock; else a read lock, which others may hold as well.
    pub exclusive: bool,
    /// Process that holds it; `null` for locks of an open file description and of other pid namespaces.
    pub pid: Option<u32>,
    /// It is waited for, not held. SQLite itself asks and does not wait, unless it was built to.
    pub is_waiting: bool,
    /// Number of the read slot, 0 to 4.
    pub slot: Option<u8>,
}

impl DatabaseLock {
    /// The lock as a person reads it, for example `read slot 1`.
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
    /// Command line, secrets masked, or the process's short name.
    pub command: String,
    /// Descriptors on the database.
    pub descriptors_db: u64,
    /// Descriptors on `-wal`.
    pub descriptors_wal: u64,
    /// Descriptors on `-shm`.
    pub descriptors_shm: u64,
    /// Of all these, descriptors on unlinked files.
    pub deleted: u64,
    /// Of all these, descriptors on a file that is not the one at its path now (another inode).
    pub replaced: u64,
    /// Whether it holds the shared lock of the database. In WAL mode a process that has `-wal` open must: a
    /// connection that has read nothing yet has neither. A forked child has the descriptors and none of the locks.
    /// `null` where the lock table cannot tell.
    pub has_shared_lock: Option<bool>,
    /// Whether it lives in the doctor's pid namespace; if not, the lock table may not show its pid.
    pub same_pid_namespace: bool,
    /// Whether none of these descriptors is open for writing, as those of SQLite are: then it copies or reads the files and is no
    /// connection.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_only: bool,
}

impl DatabaseHolder {
    /// A process of which no descriptor has been counted yet.
    pub fn new(pid: u32, same_pid_namespace: bool) -> Self {
        Self {
            pid,
            command: String::new(),
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

/// The same database a moment later: what stands still under a held lock is stuck, what moves is busy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecondSample {
    /// Time after the first look in milliseconds.
    pub after_ms: u64,
    /// `max_frame` then.
    pub max_frame: Option<u32>,
    /// `change` then.
    pub change: Option<u32>,
    /// `backfilled_frames` then.
    #[serde(default)]
    pub backfilled_frames: Option<u32>,
    /// `read_marks` then.
    #[serde(default)]
    pub read_marks: Vec<Option<u32>>,
    /// `written` then.
    #[serde(default)]
    pub written: Vec<FileStamp>,
    /// Locks then; `null` where the table could not be read.
    pub locks: Option<Vec<DatabaseLock>>,
    /// CPU time that the holder of a write lock has used meanwhile, in milliseconds: a transaction that fits into its
    /// memory writes nothing before it ends.
    #[serde(default)]
    pub holder_cpu_ms: Option<u64>,
}
