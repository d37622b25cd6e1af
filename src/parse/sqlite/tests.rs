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
