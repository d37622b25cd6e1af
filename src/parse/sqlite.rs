//! SQLite files as plain bytes: the database header, the write-ahead log, its index, and the meaning of locked
//! bytes.
//!
//! Sources: "Database File Format" (sqlite.org/fileformat2.html), section 1.3 for the database header and
//! section 4 for the log; "WAL-mode File Format" (sqlite.org/walformat.html) for the index, its locks and its
//! checkpoint fields. Details that both leave open (byte order of the salts in the index, the dead-man switch)
//! were determined from the files and locks of running programs (SQLite 3.40.1).

use super::ParseError;
use crate::model::{DatabaseHeader, LockRole, WalFile, WalHeader, WalIndex};

/// Bytes of a database that [`database_header`] needs.
pub const DATABASE_HEADER_BYTES: usize = 100;
/// Bytes of a `-wal` file that [`wal_header`] needs.
pub const WAL_HEADER_BYTES: usize = 32;
/// Bytes before the page in each frame.
pub const FRAME_HEADER_BYTES: usize = 24;
/// Bytes of a `-shm` file that [`wal_index`] needs.
pub const WAL_INDEX_BYTES: usize = 136;
/// Maximum number of frames that are searched, from the end, for the last commit. A transaction of more frames
/// is rare; then only the last commit stays unknown.
pub const COMMIT_SEARCH_FRAMES: u64 = 4096;

const DATABASE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// The lowest bit is the byte order of the checksums.
const WAL_MAGIC: u32 = 0x377f_0682;
/// The only version of the log and of its index.
const WAL_FORMAT: u32 = 3_007_000;
const UNUSED_READ_MARK: u32 = 0xffff_ffff;
/// Size of each of the two copies of the index header.
const INDEX_COPY_BYTES: usize = 48;

/// Locking range of a database file: section 1.4 of "Database File Format" ("The Lock-Byte Page"), and
/// "File Locking And Concurrency" for the three parts.
const PENDING_BYTE: u64 = 0x4000_0000;
const RESERVED_BYTE: u64 = PENDING_BYTE + 1;
const SHARED_FIRST: u64 = PENDING_BYTE + 2;
const SHARED_LAST: u64 = PENDING_BYTE + 511;

/// Locking bytes of the index: the eight bytes that walformat.html reserves for them, and the next byte, which
/// every process that uses the file has locked.
const WRITER_BYTE: u64 = 120;
const CHECKPOINTER_BYTE: u64 = 121;
const RECOVERY_BYTE: u64 = 122;
const FIRST_READ_SLOT_BYTE: u64 = 123;
const READ_SLOTS: u8 = 5;
const DEAD_MAN_SWITCH_BYTE: u64 = 128;

/// Four bytes at an offset. The callers have checked the length, so the fallback to zeros is never used.
fn four(bytes: &[u8], at: usize) -> [u8; 4] {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or_default()
}

fn big(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(four(bytes, at))
}

fn native(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(four(bytes, at))
}

fn at_least<'a>(bytes: &'a [u8], length: usize, what: &'static str) -> Result<&'a [u8], ParseError> {
    bytes.get(..length).ok_or_else(|| ParseError::new(what, format!("{} of {length} bytes", bytes.len())))
}

fn page_size(bytes: u32, what: &'static str) -> Result<u32, ParseError> {
    if bytes.is_power_of_two() && (512..=65_536).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(ParseError::new(what, format!("page size of {bytes} bytes")))
    }
}

/// Page size in a two-byte field: 65536 does not fit and is stored as 1.
fn short_page_size(value: u16, what: &'static str) -> Result<u32, ParseError> {
    page_size(if value == 1 { 65_536 } else { u32::from(value) }, what)
}

/// The two running sums of section 4.2, over pairs of words that `word` reads.
fn checksum(bytes: &[u8], word: fn([u8; 4]) -> u32) -> [u32; 2] {
    bytes.chunks_exact(8).fold([0, 0], |[first, second], pair| {
        let first = first.wrapping_add(word(four(pair, 0))).wrapping_add(second);
        [first, second.wrapping_add(word(four(pair, 4))).wrapping_add(first)]
    })
}

/// Parses the first 100 bytes of a database (more may follow). `None` is an empty file, which is a valid
/// database that nothing was written to yet.
///
/// # Errors
/// When it is not empty and not a database: another kind of file, an encrypted database, or one cut short.
pub fn database_header(bytes: &[u8]) -> Result<Option<DatabaseHeader>, ParseError> {
    const WHAT: &str = "database header";
    if bytes.is_empty() {
        return Ok(None);
    }
    let bytes = at_least(bytes, DATABASE_HEADER_BYTES, WHAT)?;
    let (magic, _) = bytes.split_at(DATABASE_MAGIC.len());
    if magic != DATABASE_MAGIC {
        return Err(ParseError::new(WHAT, "does not begin like a database (it may be encrypted)"));
    }
    let [high, low, write_version, read_version] = four(bytes, 16);
    let [reserved_bytes, ..] = four(bytes, 20);
    let (change_counter, pages) = (big(bytes, 24), big(bytes, 28));
    Ok(Some(DatabaseHeader {
        page_size_bytes: short_page_size(u16::from_be_bytes([high, low]), WHAT)?,
        write_version,
        read_version,
        reserved_bytes,
        change_counter,
        pages,
        pages_valid: pages > 0 && big(bytes, 92) == change_counter,
        schema_cookie: big(bytes, 40),
        user_version: big(bytes, 60),
        application_id: big(bytes, 68),
        sqlite_version: big(bytes, 96),
    }))
}

/// Parses the first 32 bytes of a `-wal` file (more may follow). An empty file has no header: check its size
/// first.
///
/// # Errors
/// When it is not the header of a log. A wrong checksum is reported in the result and is not an error.
pub fn wal_header(bytes: &[u8]) -> Result<WalHeader, ParseError> {
    const WHAT: &str = "wal header";
    let bytes = at_least(bytes, WAL_HEADER_BYTES, WHAT)?;
    let magic = big(bytes, 0);
    if magic & !1 != WAL_MAGIC {
        return Err(ParseError::new(WHAT, format!("magic number {magic:#010x}")));
    }
    let format = big(bytes, 4);
    if format != WAL_FORMAT {
        return Err(ParseError::new(WHAT, format!("format {format}")));
    }
    let big_endian_checksums = magic & 1 == 1;
    let word = if big_endian_checksums { u32::from_be_bytes } else { u32::from_le_bytes };
    let (summed, _) = bytes.split_at(24);
    Ok(WalHeader {
        big_endian_checksums,
        format,
        page_size_bytes: page_size(big(bytes, 8), WHAT)?,
        checkpoint_sequence: big(bytes, 12),
        salt: [big(bytes, 16), big(bytes, 20)],
        checksum_is_right: checksum(summed, word) == [big(bytes, 24), big(bytes, 28)],
    })
}

/// Size of one frame in bytes.
fn frame_bytes(page_size_bytes: u32) -> u64 {
    u64::from(page_size_bytes).saturating_add(FRAME_HEADER_BYTES as u64)
}

/// Offset of frame `number`; the first frame is 1, as in `max_frame`.
pub fn frame_offset(page_size_bytes: u32, number: u64) -> u64 {
    number.saturating_sub(1).saturating_mul(frame_bytes(page_size_bytes)).saturating_add(WAL_HEADER_BYTES as u64)
}

/// Number of whole frames that fit in a `-wal` file of this size.
pub fn frames_that_fit(page_size_bytes: u32, size_bytes: u64) -> u64 {
    size_bytes.saturating_sub(WAL_HEADER_BYTES as u64) / frame_bytes(page_size_bytes)
}

/// The 24 bytes before a page in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// Number of the page in the database.
    pub page: u32,
    /// In a commit frame: size of the database in pages after it. 0 in every other frame.
    pub pages_after_commit: u32,
    /// Salts of the generation that wrote it.
    pub salt: [u32; 2],
    /// Running checksum over all frames up to this one. Not verified: this would require reading every page
    /// before it.
    pub checksum: [u32; 2],
    /// Whether its salts match those of the header.
    pub is_of_this_generation: bool,
}

impl FrameHeader {
    /// Whether it ends a transaction.
    pub fn commits(&self) -> bool {
        self.pages_after_commit != 0
    }
}

/// Parses the 24 bytes before a page.
///
/// # Errors
/// When there are fewer bytes.
pub fn frame_header(bytes: &[u8], header: &WalHeader) -> Result<FrameHeader, ParseError> {
    let bytes = at_least(bytes, FRAME_HEADER_BYTES, "frame header")?;
    let (page, salt) = (big(bytes, 0), [big(bytes, 8), big(bytes, 12)]);
    Ok(FrameHeader {
        page,
        pages_after_commit: big(bytes, 4),
        salt,
        checksum: [big(bytes, 16), big(bytes, 20)],
        // No page has the number 0, so an area of zeros never counts, whatever the salts.
        is_of_this_generation: page != 0 && salt == header.salt,
    })
}

/// Describes a `-wal` file of this size from its header and as few frame headers as possible.
///
/// `read(offset, length)` returns bytes of the file. It is called at most 64 times to find the end of this
/// generation (a log is written from its start, so the frames of one generation are a prefix), then at most
/// [`COMMIT_SEARCH_FRAMES`] times for the last commit before that end. Pages and their checksums are not read:
/// after a crash a frame may count here that SQLite leaves out.
///
/// A transaction too large for the cache writes frames before it commits. They count for this generation, also
/// after a rollback, unless the transaction wrote a page twice: after that its frames have no salts until it
/// commits.
///
/// The second value is the error if some fields could not be determined. The fields of the first value that are
/// set are right.
pub fn wal_file(
    size_bytes: u64,
    read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>,
) -> (WalFile, Option<ParseError>) {
    let mut file = WalFile {
        size_bytes,
        header: None,
        frames_that_fit: 0,
        frames_of_this_generation: None,
        committed_frames: None,
        useful_bytes: None,
    };
    if size_bytes == 0 {
        file.frames_of_this_generation = Some(0);
        file.committed_frames = Some(0);
        file.useful_bytes = Some(0);
        return (file, None);
    }
    let error = fill(&mut file, read).err();
    (file, error)
}

fn fill(file: &mut WalFile, read: &mut dyn FnMut(u64, usize) -> Option<Vec<u8>>) -> Result<(), ParseError> {
    let unreadable = || ParseError::new("wal file", "could not be read");
    let first = read(0, WAL_HEADER_BYTES).ok_or_else(unreadable)?;
    let header = file.header.insert(wal_header(&first)?);
    file.frames_that_fit = frames_that_fit(header.page_size_bytes, file.size_bytes);
    if !header.checksum_is_right {
        return Err(ParseError::new("wal header", "its checksum is wrong"));
    }
    let page_size_bytes = header.page_size_bytes;
    let mut frame = |number| {
        let bytes = read(frame_offset(page_size_bytes, number), FRAME_HEADER_BYTES)?;
        frame_header(&bytes, header).ok()
    };
    let of_this_generation = last_of_generation(file.frames_that_fit, &mut frame).ok_or_else(unreadable)?;
    let committed = last_commit(of_this_generation, &mut frame);
    // If the log was restarted during the search, its frames changed.
    if read(0, WAL_HEADER_BYTES).is_none_or(|again| again != first) {
        return Err(ParseError::new("wal file", "was restarted or truncated while it was read"));
    }
    file.frames_of_this_generation = Some(of_this_generation);
    let committed = committed?;
    file.committed_frames = Some(committed);
    file.useful_bytes = Some(frame_offset(page_size_bytes, committed.saturating_add(1)));
    Ok(())
}

/// Number of the last frame of this generation, 0 if there is none; `None` if a frame could not be read.
fn last_of_generation(fit: u64, frame: &mut dyn FnMut(u64) -> Option<FrameHeader>) -> Option<u64> {
    let (mut within, mut beyond) = (0, fit.saturating_add(1));
    while beyond - within > 1 {
        let middle = within + (beyond - within) / 2;
        if frame(middle)?.is_of_this_generation {
            within = middle;
        } else {
            beyond = middle;
        }
    }
    Some(within)
}

fn last_commit(last: u64, frame: &mut dyn FnMut(u64) -> Option<FrameHeader>) -> Result<u64, ParseError> {
    let lowest = last.saturating_sub(COMMIT_SEARCH_FRAMES);
    for number in (lowest..last).rev().map(|before| before + 1) {
        let header = frame(number).ok_or_else(|| ParseError::new("wal file", "could not be read"))?;
        if header.is_of_this_generation && header.commits() {
            return Ok(number);
        }
    }
    if lowest == 0 {
        Ok(0)
    } else {
        Err(ParseError::new("wal file", format!("no commit in the last {COMMIT_SEARCH_FRAMES} frames")))
    }
}

/// Parses the first 136 bytes of a `-shm` file (more may follow). It is memory that live processes share, in
/// the byte order of this machine. Read it in one call, and again if the copies disagree or the checksum is
/// wrong. While no process holds the dead-man switch, the file is left over, and the next reader creates it
/// again.
///
/// # Errors
/// When it is too short (a file of 3 bytes is one that the next reader has yet to fill) or of an unknown
/// version.
pub fn wal_index(bytes: &[u8]) -> Result<WalIndex, ParseError> {
    const WHAT: &str = "wal index";
    let bytes = at_least(bytes, WAL_INDEX_BYTES, WHAT)?;
    let (first, rest) = bytes.split_at(INDEX_COPY_BYTES);
    let (second, _) = rest.split_at(INDEX_COPY_BYTES);
    let version = native(first, 0);
    let [initialised, _, size_first, size_second] = four(first, 12);
    let is_initialised = initialised != 0;
    if !(version == WAL_FORMAT || version == 0 && !is_initialised) {
        return Err(ParseError::new(WHAT, format!("version {version}")));
    }
    let max_frame = native(first, 16);
    // The page size is copied from the log: an index that was created for an empty log has none yet.
    let page_size_bytes = match u16::from_ne_bytes([size_first, size_second]) {
        0 if max_frame == 0 => 0,
        _ if !is_initialised => 0,
        size => short_page_size(size, WHAT)?,
    };
    let (summed, _) = first.split_at(40);
    let backfilled_frames = native(bytes, 96);
    let attempted = native(bytes, 128);
    Ok(WalIndex {
        version,
        is_initialised,
        page_size_bytes,
        max_frame,
        pages: native(first, 20),
        // Copied from the log as bytes, so they keep its byte order.
        salt: [big(first, 32), big(first, 36)],
        change: native(first, 8),
        backfilled_frames,
        // It is set before a checkpoint copies frames: if it is smaller, this SQLite does not maintain it.
        backfill_attempted: (attempted >= backfilled_frames).then_some(attempted),
        read_marks: [100, 104, 108, 112, 116]
            .map(|at| Some(native(bytes, at)).filter(|mark| *mark != UNUSED_READ_MARK)),
        copies_agree: first == second,
        checksum_is_right: checksum(summed, u32::from_ne_bytes) == [native(first, 40), native(first, 44)],
    })
}

/// Roles on the database file that a locked range covers; `end` is the last byte, `None` the end of the file.
///
/// The kernel joins adjacent ranges of one process, so one range can be several roles. A lock on the whole file
/// (by another program, such as a backup) covers all of them.
pub fn lock_roles_of_database(start: u64, end: Option<u64>) -> Vec<LockRole> {
    [
        (PENDING_BYTE, PENDING_BYTE, LockRole::Pending),
        (RESERVED_BYTE, RESERVED_BYTE, LockRole::Reserved),
        (SHARED_FIRST, SHARED_LAST, LockRole::Shared),
    ]
    .into_iter()
    .filter(|(first, last, _)| overlaps(start, end, *first, *last))
    .map(|(_, _, role)| role)
    .collect()
}

/// Roles on the `-shm` file that a locked range covers, with the number of each read slot; `end` as for
/// [`lock_roles_of_database`].
pub fn lock_roles_of_index(start: u64, end: Option<u64>) -> Vec<(LockRole, Option<u8>)> {
    let slots = (FIRST_READ_SLOT_BYTE..).zip(0..READ_SLOTS).map(|(at, slot)| (at, LockRole::ReadSlot, Some(slot)));
    [
        (WRITER_BYTE, LockRole::Writer, None),
        (CHECKPOINTER_BYTE, LockRole::Checkpointer, None),
        (RECOVERY_BYTE, LockRole::Recovery, None),
    ]
    .into_iter()
    .chain(slots)
    .chain([(DEAD_MAN_SWITCH_BYTE, LockRole::DeadManSwitch, None)])
    .filter(|(at, _, _)| overlaps(start, end, *at, *at))
    .map(|(_, role, slot)| (role, slot))
    .collect()
}

fn overlaps(start: u64, end: Option<u64>, first: u64, last: u64) -> bool {
    start <= last && end.is_none_or(|end| end >= first)
}

#[cfg(test)]
mod tests;
