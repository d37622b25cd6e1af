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
mod tests {
    use super::*;
    use proptest::prelude::any;

    /// Written by SQLite 3.40.1 on a little-endian machine: 23 frames, a reader that holds frame 3, and a
    /// passive checkpoint. By page size: the database, the log, its index.
    const PINNED: [(u32, &str, &str, &str); 3] = [
        (
            512,
            "53514c69746520666f726d61742033000200020200402020000000020000000200000000000000000000000100000004 \
             000000000000000000000001000000000000000000000000000000000000000000000000000000000000000000000002 \
             002e6301",
            "377f0682002de21800000200000000008b37585e5de61a9333233a9e7e17f8a0",
            "18e22d0000000000160000000100000217000000020000005ce8bdd1d6e608a28b37585e5de61a93e8f7f4b96d3a9ace \
             18e22d0000000000160000000100000217000000020000005ce8bdd1d6e608a28b37585e5de61a93e8f7f4b96d3a9ace \
             03000000000000000300000016000000ffffffffffffffff00000000000000000300000000000000",
        ),
        (
            4096,
            "53514c69746520666f726d61742033001000020200402020000000020000000200000000000000000000000100000004 \
             000000000000000000000001000000000000000000000000000000000000000000000000000000000000000000000002 \
             002e6301",
            "377f0682002de218000010000000000037b92d712fc2e2db4614bc4ad9df561e",
            "18e22d000000000016000000010000101700000002000000ea16acc8c2531ad537b92d712fc2e2db9c43b85d6dfd242b \
             18e22d000000000016000000010000101700000002000000ea16acc8c2531ad537b92d712fc2e2db9c43b85d6dfd242b \
             03000000000000000300000016000000ffffffffffffffff00000000000000000300000000000000",
        ),
        (
            65_536,
            "53514c69746520666f726d61742033000001020200402020000000020000000200000000000000000000000100000004 \
             000000000000000000000001000000000000000000000000000000000000000000000000000000000000000000000002 \
             002e6301",
            "377f0682002de218000100000000000027582ed1ed2d7114a5f55d3a723e63cc",
            "18e22d000000000016000000010001001700000002000000ead20f69880d373f27582ed1ed2d71145214a5e8a7af25a9 \
             18e22d000000000016000000010001001700000002000000ead20f69880d373f27582ed1ed2d71145214a5e8a7af25a9 \
             03000000000000000300000016000000ffffffffffffffff00000000000000000300000000000000",
        ),
    ];
    /// The same SQLite, `journal_mode=DELETE`.
    const ROLLBACK_DATABASE: &str = "\
        53514c69746520666f726d61742033001000010100402020000000020000000200000000000000000000000100000004 \
        000000000000000000000001000000000000000000000000000000000000000000000000000000000000000000000002 \
        002e6301";
    /// The log of 4096-byte pages after a complete checkpoint and a restart with two frames.
    const STARTED_OVER_WAL: &str = "377f0682002de218000010000000000137b92d7272363d664814bc4a6739ca61";
    const STARTED_OVER_INDEX: &str = "\
        18e22d0000000000180000000100001002000000020000004acf57aea997b6ee37b92d7272363d66f4f7ab432022bb9a \
        18e22d0000000000180000000100001002000000020000004acf57aea997b6ee37b92d7272363d66f4f7ab432022bb9a \
        000000000000000001000000ffffffffffffffffffffffff00000000000000000000000000000000";
    /// Its first four frames: two of the new generation, two of the old.
    const STARTED_OVER_FRAMES: [&str; 4] = [
        "000000010000000237b92d7272363d66c6c8ec5a6edb7bcd",
        "000000010000000237b92d7272363d66ae57cf4aeeb697a9",
        "000000020000000237b92d712fc2e2dbacfcbcd66b681d33",
        "000000020000000237b92d712fc2e2db18b49efb58ae29dd",
    ];
    /// After a connection has read and before any has written.
    const INDEX_OF_EMPTY_LOG: &str = "\
        18e22d00000000000000000001000000000000000000000000000000000000000000000000000000380718063593db09 \
        18e22d00000000000000000001000000000000000000000000000000000000000000000000000000380718063593db09 \
        0000000000000000ffffffffffffffffffffffffffffffff00000000000000000000000000000000";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// A log of `size` bytes that is sparse except for its header; `frame(number)` makes up the frame headers.
    /// Returns the result, the error, and the number of reads.
    fn search(
        header: &[u8],
        size: u64,
        frame: impl Fn(u64) -> Option<Vec<u8>>,
    ) -> (WalFile, Option<ParseError>, usize) {
        let page_size_bytes = wal_header(header).map_or(4096, |header| header.page_size_bytes);
        let mut reads = 0;
        let (file, error) = wal_file(size, &mut |offset, length| {
            reads += 1;
            if offset == 0 {
                return Some(header.to_vec());
            }
            assert_eq!(length, FRAME_HEADER_BYTES);
            assert!(offset + length as u64 <= size);
            assert_eq!((offset - 32) % (u64::from(page_size_bytes) + 24), 0);
            frame((offset - 32) / (u64::from(page_size_bytes) + 24) + 1)
        });
        (file, error, reads)
    }

    fn made_up_frame(page: u32, pages_after_commit: u32, salt: [u32; 2]) -> Vec<u8> {
        [page, pages_after_commit, salt[0], salt[1], 1, 2].into_iter().flat_map(u32::to_be_bytes).collect()
    }

    #[test]
    fn reads_database_headers() {
        for (page_size_bytes, database, _, _) in PINNED {
            let header = database_header(&bytes(database)).unwrap().unwrap();
            let expected = DatabaseHeader {
                page_size_bytes,
                write_version: 2,
                read_version: 2,
                reserved_bytes: 0,
                change_counter: 2,
                pages: 2,
                pages_valid: true,
                schema_cookie: 1,
                user_version: 0,
                application_id: 0,
                sqlite_version: 3_040_001,
            };
            assert_eq!((header.journal_mode(), header), ("wal", expected));
        }
        let rollback = database_header(&bytes(ROLLBACK_DATABASE)).unwrap().unwrap();
        assert_eq!((rollback.journal_mode(), rollback.page_size_bytes), ("rollback", 4096));
    }

    #[test]
    fn an_empty_file_is_a_database_and_other_files_are_not() {
        assert_eq!(database_header(b""), Ok(None));
        let whole = bytes(ROLLBACK_DATABASE);
        assert!(database_header(&whole[..99]).is_err());
        assert!(database_header(&[0; 100]).is_err());
        for size in [[0, 0], [0, 3], [0xff, 0xff], [1, 0]] {
            let mut changed = whole.clone();
            changed[16..18].copy_from_slice(&size);
            assert!(database_header(&changed).is_err(), "{size:?}");
        }
        // Written by a SQLite so old that it does not maintain the size.
        let mut changed = whole;
        changed[92..96].copy_from_slice(&[0; 4]);
        assert!(!database_header(&changed).unwrap().unwrap().pages_valid);
    }

    #[test]
    fn reads_wal_headers() {
        for (page_size_bytes, _, wal, _) in PINNED {
            let header = wal_header(&bytes(wal)).unwrap();
            assert_eq!((header.page_size_bytes, header.checkpoint_sequence), (page_size_bytes, 0));
            assert!(header.checksum_is_right && !header.big_endian_checksums);
        }
        let before = wal_header(&bytes(PINNED[1].2)).unwrap();
        let after = wal_header(&bytes(STARTED_OVER_WAL)).unwrap();
        assert_eq!((after.checkpoint_sequence, after.salt[0]), (1, before.salt[0] + 1));
        assert!(after.checksum_is_right);
    }

    #[test]
    fn checks_the_wal_header() {
        let whole = bytes(STARTED_OVER_WAL);
        assert!(wal_header(&whole[..31]).is_err());
        assert!(wal_header(&[0; 32]).is_err());
        for (at, value) in [(0, 0), (4, 3_007_001), (8, 0), (8, 3), (8, 131_072), (8, u32::MAX)] {
            let mut changed = whole.clone();
            changed[at..at + 4].copy_from_slice(&u32::to_be_bytes(value));
            assert!(wal_header(&changed).is_err(), "{value} at {at}");
        }
        let mut changed = whole.clone();
        changed[16] ^= 1;
        assert!(!wal_header(&changed).unwrap().checksum_is_right);
        // The same header as a big-endian machine writes it: only the sums differ.
        let mut other = whole;
        other[3] = 0x83;
        let sums = checksum(&other[..24], u32::from_be_bytes);
        other[24..28].copy_from_slice(&sums[0].to_be_bytes());
        other[28..32].copy_from_slice(&sums[1].to_be_bytes());
        let header = wal_header(&other).unwrap();
        assert!(header.checksum_is_right && header.big_endian_checksums);
    }

    #[test]
    fn distinguishes_wal_generations() {
        let header = wal_header(&bytes(STARTED_OVER_WAL)).unwrap();
        let frames = STARTED_OVER_FRAMES.map(|frame| frame_header(&bytes(frame), &header).unwrap());
        assert_eq!(frames.map(|frame| frame.is_of_this_generation), [true, true, false, false]);
        assert_eq!((frames[0].page, frames[0].pages_after_commit), (1, 2));
        assert!(frame_header(&bytes(STARTED_OVER_FRAMES[0])[..23], &header).is_err());

        let old = bytes(STARTED_OVER_FRAMES[3]);
        let (file, error, reads) = search(&bytes(STARTED_OVER_WAL), 94_792, |number| {
            Some(
                usize::try_from(number - 1)
                    .ok()
                    .and_then(|at| STARTED_OVER_FRAMES.get(at))
                    .map_or(old.clone(), |f| bytes(f)),
            )
        });
        assert_eq!((error, file.frames_that_fit), (None, 23));
        assert_eq!((file.frames_of_this_generation, file.committed_frames), (Some(2), Some(2)));
        assert_eq!(file.useful_bytes, Some(32 + 2 * 4120));
        assert!(reads <= 8, "{reads}");
    }

    #[test]
    fn searches_a_large_log_with_few_reads() {
        const GIB: u64 = 1 << 30;
        let header = bytes(STARTED_OVER_WAL);
        let salt = wal_header(&header).unwrap().salt;
        let fit = frames_that_fit(4096, GIB);
        for last in [0, 1, 2, 1000, fit - 1, fit] {
            let (file, error, reads) = search(&header, GIB, |number| {
                Some(if number <= last { made_up_frame(7, 9, salt) } else { vec![0; 24] })
            });
            assert_eq!((file.frames_of_this_generation, file.committed_frames), (Some(last), Some(last)));
            assert_eq!(error, None);
            assert!(reads < 30, "{reads}");
        }
        // One uncommitted transaction, with the commit before it within and beyond the search limit.
        for (commit, found) in [(0, None), (fit - COMMIT_SEARCH_FRAMES, None), (fit - 4000, Some(fit - 4000))] {
            let (file, error, reads) =
                search(&header, GIB, |number| Some(made_up_frame(7, u32::from(number == commit), salt)));
            assert_eq!((file.frames_of_this_generation, file.committed_frames), (Some(fit), found));
            assert_eq!((error.is_none(), file.useful_bytes.is_some()), (found.is_some(), found.is_some()));
            assert!(reads < 4096 + 64, "{reads}");
        }
        let (file, _, reads) = search(&header, u64::MAX, |_| Some(vec![0xff; 24]));
        assert_eq!(file.frames_of_this_generation, Some(0));
        assert!(reads <= 66, "{reads}");
    }

    #[test]
    fn an_open_transaction_is_not_committed() {
        let header = bytes(STARTED_OVER_WAL);
        let salt = wal_header(&header).unwrap().salt;
        // Three committed frames, four of an open transaction, then four after it rewrote a page: no salts yet.
        let (file, error, _) = search(&header, 32 + 20 * 4120, |number| {
            Some(match number {
                1..=3 => made_up_frame(1, 2, salt),
                4..=7 => made_up_frame(2, 0, salt),
                8..=11 => made_up_frame(3, 0, [0, 0]),
                _ => made_up_frame(4, 5, [1, 2]),
            })
        });
        assert_eq!((file.frames_of_this_generation, file.committed_frames), (Some(7), Some(3)));
        assert_eq!(error, None);
    }

    #[test]
    fn reports_unreadable_wal_parts() {
        let header = bytes(STARTED_OVER_WAL);
        assert_eq!(wal_file(0, &mut |_, _| None).0.committed_frames, Some(0));
        assert_eq!(wal_file(0, &mut |_, _| None).1, None);
        let (file, error) = wal_file(1 << 20, &mut |_, _| None);
        assert!(file.header.is_none() && file.committed_frames.is_none() && error.is_some());
        // Cut in the header, after it, and within a frame.
        assert!(search(&header[..20], 20, |_| None).1.is_some());
        for size in [32, 33, 32 + 4119] {
            let (file, error, _) = search(&header, size, |_| None);
            assert_eq!((file.frames_that_fit, file.committed_frames, error), (0, Some(0), None));
        }
        // Short reads, and bytes that cannot be read.
        for answer in [None, Some(Vec::new()), Some(vec![0; 23])] {
            let (file, error, reads) = search(&header, 1 << 20, |_| answer.clone());
            assert!(file.header.is_some() && file.frames_of_this_generation.is_none() && error.is_some());
            assert!(reads <= 2);
        }
        let mut wrong = header.clone();
        wrong[31] ^= 1;
        let (file, error, _) = search(&wrong, 1 << 20, |_| Some(vec![0; 24]));
        assert!(file.header.is_some() && file.committed_frames.is_none() && error.is_some());
        // Restarted during the search.
        let mut headers = 0;
        let (file, error) = wal_file(1 << 20, &mut |offset, length| {
            headers += usize::from(offset == 0);
            Some(if offset > 0 {
                vec![0; length]
            } else {
                bytes(if headers == 1 { PINNED[1].2 } else { STARTED_OVER_WAL })
            })
        });
        assert!(file.header.is_some() && file.frames_of_this_generation.is_none() && error.is_some());
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn reads_wal_indexes() {
        for (page_size_bytes, _, wal, index) in PINNED {
            let index = wal_index(&bytes(index)).unwrap();
            let expected = WalIndex {
                version: 3_007_000,
                is_initialised: true,
                page_size_bytes,
                max_frame: 23,
                pages: 2,
                salt: wal_header(&bytes(wal)).unwrap().salt,
                change: 22,
                backfilled_frames: 3,
                backfill_attempted: Some(3),
                read_marks: [Some(0), Some(3), Some(22), None, None],
                copies_agree: true,
                checksum_is_right: true,
            };
            assert_eq!((index.frames_behind(), index), (20, expected));
        }
        let index = wal_index(&bytes(STARTED_OVER_INDEX)).unwrap();
        assert_eq!(index.salt, wal_header(&bytes(STARTED_OVER_WAL)).unwrap().salt);
        assert_eq!((index.max_frame, index.backfilled_frames, index.change), (2, 0, 24));
        let empty = wal_index(&bytes(INDEX_OF_EMPTY_LOG)).unwrap();
        assert!(empty.is_initialised && empty.copies_agree && empty.checksum_is_right);
        assert_eq!((empty.page_size_bytes, empty.max_frame, empty.read_marks[1]), (0, 0, None));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn checks_the_wal_index() {
        let whole = bytes(PINNED[1].3);
        assert!(wal_index(&whole[..135]).is_err());
        assert!(wal_index(&[0; 3]).is_err());
        let blank = wal_index(&[0; 136]).unwrap();
        assert_eq!((blank.version, blank.is_initialised, blank.max_frame), (0, false, 0));
        for (at, value) in [(0, 3_007_001), (0, 0), (12, 0x0003_0001), (12, 1), (12, 0xffff_0001)] {
            let mut changed = whole.clone();
            changed[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
            assert!(wal_index(&changed).is_err(), "{value:#x} at {at}");
        }
        // A writer fills in the second copy first.
        let mut torn = whole.clone();
        torn[48 + 16] = 24;
        let index = wal_index(&torn).unwrap();
        assert!(!index.copies_agree && index.checksum_is_right && index.max_frame == 23);
        let mut wrong = whole.clone();
        wrong[16] = 24;
        assert!(!wal_index(&wrong).unwrap().checksum_is_right);
        // A SQLite that does not maintain this field leaves zeros there.
        let mut old = whole;
        old[128..132].copy_from_slice(&[0; 4]);
        assert_eq!(wal_index(&old).unwrap().backfill_attempted, None);
    }

    #[test]
    fn names_the_locks_of_a_database() {
        use LockRole::{Pending, Reserved, Shared};
        let cases: &[(u64, Option<u64>, &[LockRole])] = &[
            (1_073_741_826, Some(1_073_742_335), &[Shared]),
            (1_073_741_825, Some(1_073_741_825), &[Reserved]),
            (1_073_741_824, Some(1_073_741_824), &[Pending]),
            (1_073_741_824, Some(1_073_741_825), &[Pending, Reserved]),
            (1_073_741_824, Some(1_073_742_335), &[Pending, Reserved, Shared]),
            (1_073_742_335, Some(1_073_742_335), &[Shared]),
            (0, None, &[Pending, Reserved, Shared]),
            (0, Some(1_073_741_823), &[]),
            (1_073_742_336, None, &[]),
        ];
        for (start, end, roles) in cases {
            assert_eq!(lock_roles_of_database(*start, *end), *roles, "{start} {end:?}");
        }
    }

    #[test]
    fn names_the_locks_of_an_index() {
        use LockRole::{Checkpointer, DeadManSwitch, ReadSlot, Recovery, Writer};
        assert_eq!(lock_roles_of_index(120, Some(120)), [(Writer, None)]);
        assert_eq!(lock_roles_of_index(123, Some(124)), [(ReadSlot, Some(0)), (ReadSlot, Some(1))]);
        assert_eq!(lock_roles_of_index(127, Some(128)), [(ReadSlot, Some(4)), (DeadManSwitch, None)]);
        assert_eq!(lock_roles_of_index(120, Some(122)), [(Writer, None), (Checkpointer, None), (Recovery, None)]);
        assert_eq!(lock_roles_of_index(0, None).len(), 9);
        assert!(lock_roles_of_index(0, Some(119)).is_empty());
        assert!(lock_roles_of_index(129, None).is_empty());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200), start: u64, end: Option<u64>) {
            let _ = database_header(&noise);
            let _ = wal_header(&noise);
            let _ = wal_index(&noise);
            let _ = lock_roles_of_database(start, end);
            let _ = lock_roles_of_index(start, end);
        }

        #[test]
        fn never_panics_on_a_damaged_file(
            at in 0_usize..136,
            value: u8,
            size: u64,
            noise in proptest::collection::vec(any::<u8>(), 0..40)
        ) {
            let (_, database, wal, index) = PINNED[1];
            let [database, wal, index] = [database, wal, index].map(|hex| {
                let mut whole = bytes(hex);
                if let Some(byte) = whole.get_mut(at) {
                    *byte = value;
                }
                whole
            });
            let _ = database_header(&database);
            let _ = wal_index(&index);
            let mut reads = 0;
            let _ = wal_file(size, &mut |offset, _| {
                reads += 1;
                Some(if offset == 0 { wal.clone() } else { noise.clone() })
            });
            proptest::prop_assert!(reads <= 66 + 4096);
        }

        #[test]
        fn frame_arithmetic_does_not_overflow(page_size: u32, number: u64, size: u64) {
            let _ = frame_offset(page_size, number);
            proptest::prop_assert!(frames_that_fit(page_size, size) <= size);
        }
    }
}
