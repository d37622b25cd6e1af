//! SQLite databases of other processes, read as bytes: each problem, and a healthy database that looks similar.

use crate::common;

use common::{Guard, doctor, ids, program_file, run, run_with, skipped, start, webui};
use serde_json::Value;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// A process that has a database of its own open.
struct TestServer {
    guard: Guard,
    path: PathBuf,
    _directory: tempfile::TempDir,
}

fn target(state: &str) -> TestServer {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let guard = start(Command::new("python3").arg(program_file("database.py")).arg(&path).arg(state));
    TestServer { guard, path, _directory: directory }
}

impl TestServer {
    fn pid(&self) -> u64 {
        u64::from(self.guard.pid())
    }

    /// The output of `db --file` for it, and its finding ids.
    fn examine(&self) -> (Value, Vec<String>) {
        let envelope = run(&format!("db --file {} --json", self.path.display())).json();
        let found = envelope["findings"].as_array().unwrap();
        let ids = found.iter().map(|finding| finding["id"].as_str().unwrap().to_owned()).collect();
        (envelope, ids)
    }
}

fn finding<'a>(envelope: &'a Value, id: &str) -> &'a Value {
    let found = envelope["findings"].as_array().unwrap().iter().find(|finding| finding["id"] == id);
    found.unwrap_or_else(|| panic!("no {id} in {envelope:#}"))
}

/// Healthy databases, each similar to one with a problem: many connections, one before its first read, a busy
/// writer, a large log that is copied back, and rollback-journal mode.
#[test]
fn healthy_databases_get_no_alarm() {
    for (state, information) in [
        ("pool", None),
        ("idle", None),
        ("busy", None),
        ("busy-rollback", None),
        ("readers", None),
        ("long-write", Some("database-lock-held")),
        ("exclusive", Some("database-lock-held")),
        ("rollback", None),
        ("large", Some("wal-large")),
    ] {
        let target = target(state);
        let (envelope, ids) = target.examine();
        assert_eq!(envelope["status"], "healthy", "{state}: {envelope:#}");
        assert_eq!(ids, information.into_iter().collect::<Vec<_>>(), "{state}: {envelope:#}");
        let database = &envelope["databases"][0];
        assert_eq!(database["holders"][0]["pid"], target.pid(), "{state}: {database:#}");
        assert_eq!(database["journal_mode"], if state.ends_with("rollback") { "rollback" } else { "wal" });
    }
}

/// The path is a link, or ends like the kernel's mark of an unlinked file.
#[test]
fn a_name_hides_no_holder() {
    let taken = target("deleted");
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("home");
    std::os::unix::fs::symlink(taken.path.parent().unwrap(), &link).unwrap();
    let through = run(&format!("db --file {} --json", link.join("state.db").display())).json();
    assert_eq!(through["databases"][0]["holders"][0]["pid"], taken.pid(), "{through:#}");
    finding(&through, "wal-generation-deleted");

    let odd = directory.path().join("state.db (deleted)");
    let guard = start(Command::new("python3").arg(program_file("database.py")).arg(&odd).arg("pool"));
    let mut command = doctor();
    command.args(["db", "--json", "--file"]).arg(&odd);
    let envelope = run_with(&mut command).json();
    assert_eq!(envelope["status"], "healthy", "{envelope:#}");
    let holder = &envelope["databases"][0]["holders"][0];
    assert_eq!((holder["pid"].as_u64(), holder["descriptors_db"].as_u64()), (Some(guard.pid().into()), Some(13)));
}

/// A hidden lock table shows nothing about any locks.
#[test]
fn hidden_locks_are_unknown() {
    let target = target("pool");
    let inside = "mount --bind /dev/null /proc/locks && exec \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", inside, "sh", common::program()]);
    command.args(["db", "--json", "--file"]).arg(&target.path);
    let answer = run_with(&mut command);
    if answer.stderr.contains("unshare") || answer.stderr.contains("mount:") {
        return skipped("hidden_locks_are_unknown", "a mount namespace takes root");
    }
    let envelope = answer.json();
    assert_eq!((answer.exit, envelope["findings"].as_array().unwrap().len()), (3, 0), "{envelope:#}");
    assert!(envelope["gaps"].to_string().contains("not a file of the kernel"), "{envelope:#}");
    assert_eq!(envelope["databases"][0]["holders"][0]["has_shared_lock"], Value::Null);
}

#[test]
fn a_reader_that_pins_a_checkpoint_is_named() {
    let target = target("reader");
    let (envelope, ids) = target.examine();
    assert_eq!((envelope["status"].as_str(), ids), (Some("warning"), vec!["wal-checkpoint-pinned".to_owned()]));
    let found = finding(&envelope, "wal-checkpoint-pinned");
    let title = found["title"].as_str().unwrap();
    let index = &envelope["databases"][0]["index"];
    let (frames, back) = (index["max_frame"].as_u64().unwrap(), index["backfilled_frames"].as_u64().unwrap());
    assert!(frames > 2000 && back < 10, "{index:#}");
    assert!(
        title.contains(&format!("stuck at frame {back} of {frames}, pinned by read slot 1"))
            && title.contains(&format!("held by pid {}", target.pid())),
        "{title}"
    );
    let shown = run(&format!("db --file {}", target.path.display()));
    assert!(shown.stdout.contains("read slot 1: pid"), "{}", shown.stdout);
    assert_eq!(shown.exit, 1);
}

#[test]
fn a_lock_that_is_held_while_nothing_moves_is_named() {
    for (state, lock) in [("writer", "writer"), ("reserved", "reserved")] {
        let target = target(state);
        let (envelope, ids) = target.examine();
        assert_eq!(ids, ["database-lock-held"], "{state}: {envelope:#}");
        let title = finding(&envelope, "database-lock-held")["title"].as_str().unwrap().to_owned();
        assert!(
            title.contains(&format!("the {lock} lock")) && title.contains("was held for at least "),
            "{state}: {title}"
        );
        assert!(title.contains(&format!("pid {}", target.pid())), "{title}");
    }
}

#[test]
fn a_log_that_was_taken_away_is_critical() {
    for state in ["deleted", "replaced"] {
        let target = target(state);
        let (envelope, ids) = target.examine();
        assert_eq!(
            (envelope["status"].as_str(), ids),
            (Some("critical"), vec!["wal-generation-deleted".to_owned()]),
            "{state}"
        );
        let found = finding(&envelope, "wal-generation-deleted");
        // The step to copy the files comes before any step that ends the process.
        assert!(
            found["next"][0]["what"].as_str().unwrap().starts_with("Before you stop anything, copy"),
            "{found:#}"
        );
        assert!(found["title"].as_str().unwrap().contains(&target.pid().to_string()));
    }
}

/// The file was opened and closed without SQLite: the locks are lost, and the next program that opens the database
/// unlinks the log.
#[test]
fn a_database_without_its_lock_is_critical() {
    let target = target("lost");
    let (envelope, ids) = target.examine();
    assert_eq!(
        (envelope["status"].as_str(), ids),
        (Some("critical"), vec!["database-locks-lost".to_owned()]),
        "{envelope:#}"
    );
    assert_eq!(envelope["databases"][0]["holders"][0]["has_shared_lock"], false);
}

/// A backup, or another user: it has some of the files open, none for writing, and takes no lock.
#[test]
fn a_reader_of_the_files_is_no_connection() {
    let reads = "import sys, time\nfiles = [open(name, 'rb') for name in sys.argv[1:]]\nprint('ready 1', flush=True)\ntime.sleep(600)";
    let target = target("pool");
    let name = |suffix: &str| format!("{}{suffix}", target.path.display());
    for files in [[name("-wal"), name("-shm")], [name(""), name("-wal")]] {
        let reader = start(Command::new("python3").args(["-c", reads]).args(&files));
        let (envelope, ids) = target.examine();
        assert_eq!((envelope["status"].as_str(), ids), (Some("healthy"), vec![]), "{files:?}: {envelope:#}");
        let holders = envelope["databases"][0]["holders"].as_array().unwrap();
        let found = holders.iter().find(|holder| holder["pid"] == reader.pid()).expect("the reader is named");
        assert_eq!(found["reads_only"], true, "{found:#}");
        let other = holders.iter().find(|holder| holder["pid"] == target.pid()).expect("so is the server");
        assert_eq!(other["reads_only"], Value::Null, "{other:#}");
    }
}

/// A forked child has its parent's descriptors and none of its locks, which is healthy.
#[test]
fn a_forked_child_has_lost_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let code = "import os, sqlite3, sys, time, ctypes\nc = sqlite3.connect(sys.argv[1])\nc.execute('PRAGMA journal_mode=WAL')\n\
                c.execute('CREATE TABLE t (a)')\nc.execute('SELECT * FROM t').fetchall()\nif os.fork() == 0:\n    \
                ctypes.CDLL(None).prctl(1, 9)\n    time.sleep(3600)\nprint('ready 1', flush=True)\ntime.sleep(3600)";
    let _guard = start(Command::new("python3").arg("-c").arg(code).arg(&path));
    let envelope = run(&format!("db --file {} --json", path.display())).json();
    assert_eq!(envelope["databases"][0]["holders"].as_array().unwrap().len(), 2, "{envelope:#}");
    assert_eq!(envelope["status"], "healthy", "{envelope:#}");
}

/// Compares the decoder with the result of the PRAGMA in the process of the database.
#[test]
fn the_decoded_wal_index_agrees_with_the_pragma() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let mut child = Command::new("python3")
        .arg(program_file("database.py"))
        .arg(&path)
        .arg("checkpoint")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Kept to the end: the child would end at a write to a pipe without a reader.
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let mut said = String::new();
    std::io::BufRead::read_line(&mut output, &mut said).unwrap();
    let numbers: Vec<u64> = said.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let envelope = run(&format!("db --file {} --json", path.display())).json();
    let _ = child.kill();
    child.wait().unwrap();
    let database = &envelope["databases"][0];
    // busy, frames in the log, frames copied back
    assert_eq!(database["index"]["max_frame"], numbers[1], "{said} {database:#}");
    assert_eq!(database["index"]["backfilled_frames"], numbers[2]);
    assert_eq!(database["wal"]["committed_frames"], numbers[1]);
    assert_eq!(database["wal"]["size_bytes"], std::fs::metadata(path.with_extension("db-wal")).unwrap().len());
    assert_eq!(database["index"]["copies_agree"], true);
}

/// The same of a newer SQLite, in a process of this program.
#[test]
fn the_index_of_a_bundled_sqlite_is_read_as_well() {
    if let Ok(path) = std::env::var("BUNDLED_SQLITE_PATH") {
        return play_bundled(&path);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kanban.db");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &common::path_of("the_index_of_a_bundled_sqlite_is_read_as_well"), "--nocapture"])
        .env("BUNDLED_SQLITE_PATH", &path)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    let said =
        lines.find_map(|line| line.unwrap().split_once("checkpoint ").map(|(_, rest)| rest.to_owned())).unwrap();
    let envelope = run(&format!("db --file {} --json", path.display())).json();
    let _ = child.kill();
    child.wait().unwrap();
    let numbers: Vec<u64> = said.split_whitespace().map(|word| word.parse().unwrap()).collect();
    let database = &envelope["databases"][0];
    assert_eq!(database["index"]["max_frame"], numbers[1], "{said} {database:#}");
    assert_eq!(database["index"]["backfilled_frames"], numbers[2]);
    assert_eq!(database["header"]["page_size_bytes"], 512);
    assert!(database["header"]["sqlite_version"].as_u64().unwrap() >= 3_045_000, "{database:#}");
    let locks = database["locks"].to_string();
    assert!(locks.contains("read-slot") && locks.contains(&child.id().to_string()), "{locks}");
}

fn play_bundled(path: &str) {
    let connect = || rusqlite::Connection::open(path).unwrap();
    let writer = connect();
    writer
        .execute_batch(
            "PRAGMA page_size=512; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE t (a)",
        )
        .unwrap();
    let reader = connect();
    reader.execute_batch("BEGIN; SELECT count(*) FROM t").unwrap();
    for number in 0..300 {
        writer.execute("INSERT INTO t VALUES (?1)", [number]).unwrap();
    }
    let row = writer
        .query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        })
        .unwrap();
    println!("checkpoint {} {} {}", row.0, row.1, row.2);
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Examined in every way while it is in use: no file is opened for writing, no lock is taken, no database library
/// is loaded, and the log and the index are the same files afterwards.
#[test]
fn the_examination_does_not_change_a_live_database() {
    let Some(strace) = common::tool("strace") else {
        return skipped("the_examination_does_not_change_a_live_database", "it takes strace");
    };
    let target = webui("leak=5");
    let home = target.home().to_owned();
    let inodes = || -> Vec<(u64, u64)> {
        ["state.db", "state.db-wal", "state.db-shm"]
            .iter()
            .map(|name| std::fs::metadata(home.join(name)).map(|file| (file.ino(), file.len())).unwrap())
            .collect()
    };
    let before = inodes();
    let directory = tempfile::tempdir().unwrap();
    for arguments in [
        format!("db --home {}", home.display()),
        format!("db --file {}", home.join("state.db").display()),
        format!("check --port {}", target.port),
        format!("fds --port {} --samples 3 --every 100ms", target.port),
    ] {
        let log = directory.path().join("strace");
        let mut command = Command::new(&strace);
        command.args(["-f", "-y", "-o"]).arg(&log).arg(common::program());
        let answer = run_with(command.args(arguments.split_whitespace()).env("HOME", "/nonexistent"));
        assert!((0..=1).contains(&answer.exit), "{arguments}: {} {}", answer.stdout, answer.stderr);
        let calls = std::fs::read_to_string(&log).unwrap();
        assert!(calls.contains("state.db"), "{arguments}: nothing of it was looked at");
        for line in calls.lines() {
            let touches = line.contains("state.db");
            let writes = ["O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"].iter().any(|flag| line.contains(flag));
            assert!(!(touches && writes), "{arguments}: {line}");
            let changes =
                ["unlink", "rename", "ftruncate", "fchmod", "pwrite", "mmap(", "flock(", "F_SETLK", "F_OFD"];
            let is_change = changes.iter().any(|call| line.contains(call)) && touches;
            assert!(!is_change, "{arguments}: {line}");
            assert!(!line.contains("F_SETLK") && !line.contains("flock("), "{arguments}: {line}");
            assert!(
                !line.contains("ptrace(") && !line.contains(" kill(") && !line.contains("tgkill("),
                "{arguments}: {line}"
            );
        }
    }
    assert_eq!(inodes(), before);
}

/// 1 GiB of log, nearly all of it a hole: read in bounded time.
#[test]
fn a_huge_log_is_read_in_bounded_time() {
    let target = target("pool");
    let copy = target.path.with_file_name("copy.db");
    for suffix in ["", "-wal", "-shm"] {
        let with = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
        std::fs::copy(with(&target.path), with(&copy)).unwrap();
    }
    let log = PathBuf::from(format!("{}-wal", copy.display()));
    let mut file = std::fs::OpenOptions::new().write(true).open(&log).unwrap();
    file.seek(SeekFrom::Start((1 << 30) - 1)).unwrap();
    file.write_all(&[0]).unwrap();
    drop(file);
    let begun = Instant::now();
    let envelope = run(&format!("db --file {} --json", copy.display())).json();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let wal = &envelope["databases"][0]["wal"];
    assert_eq!((wal["size_bytes"].as_u64(), wal["committed_frames"].as_u64()), (Some(1 << 30), Some(3)), "{wal:#}");
    assert_eq!(finding(&envelope, "wal-large")["severity"], "info");
}

/// Truncated, zeroed, random, and no files at all: an answer or a gap, never a panic.
#[test]
fn hostile_files_end_in_a_gap() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let wal = directory.path().join("state.db-wal");
    let shm = directory.path().join("state.db-shm");
    let mut seed = 0x9e37_79b9_u64;
    let mut random = |length: usize| -> Vec<u8> {
        (0..length)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (seed >> 56) as u8
            })
            .collect()
    };
    let whole = target("pool");
    let of = |suffix: &str| std::fs::read(format!("{}{suffix}", whole.path.display())).unwrap();
    let (good_db, good_wal, good_shm) = (of(""), of("-wal"), of("-shm"));
    let cases: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = vec![
        (Vec::new(), Vec::new(), Vec::new()),
        (vec![0; 100], vec![0; 32], vec![0; 136]),
        (good_db[..50].to_vec(), good_wal[..20].to_vec(), good_shm[..100].to_vec()),
        (random(4096), random(65536), random(32768)),
        (good_db.clone(), random(9000), good_shm.clone()),
        (good_db.clone(), good_wal[..good_wal.len() - 1000].to_vec(), random(136)),
        (b"SQLite format 3\0".iter().copied().chain(random(84)).collect(), good_wal, good_shm),
    ];
    for (index, (db, log, shared)) in cases.into_iter().enumerate() {
        std::fs::write(&path, db).unwrap();
        std::fs::write(&wal, log).unwrap();
        std::fs::write(&shm, shared).unwrap();
        for arguments in ["--json", "--verbose", ""] {
            let answer = run(&format!("db --file {} {arguments}", path.display()));
            assert!((0..=3).contains(&answer.exit), "case {index}: {}", answer.stderr);
            assert!(!answer.stderr.contains("panic"), "case {index}: {}", answer.stderr);
        }
    }
    for bad in ["/nonexistent/state.db", "/proc", "/dev/zero"] {
        let answer = run(&format!("db --file {bad} --json"));
        let envelope = answer.json();
        assert_eq!(
            (answer.exit, envelope["gaps"].as_array().unwrap().is_empty()),
            (3, false),
            "{bad}: {envelope:#}"
        );
    }
}

/// In `check`, for a server with this home; and without any server.
#[test]
fn a_home_has_its_databases_examined() {
    let target = webui("leak=3");
    let found = common::server(&format!("check --port {}", target.port));
    let database = &found["databases"][0];
    assert_eq!(database["path"], target.home().join("state.db").to_str().unwrap(), "{found:#}");
    assert_eq!(
        (database["holders"][0]["pid"].as_u64(), database["index"]["copies_agree"].as_bool()),
        (Some(u64::from(target.pid())), Some(true))
    );
    assert!(found["passed"].as_array().unwrap().contains(&"wal-generation-deleted".into()));
    std::fs::remove_file(target.home().join("state.db-wal")).unwrap();
    let found = common::server(&format!("check --port {}", target.port));
    assert_eq!(
        (common::roots(&found), ids(&found).contains(&"unsupervised-server".to_owned())),
        (vec!["wal-generation-deleted"], true)
    );
    // Without a server and with only a user's home, its databases are examined too.
    let user = tempfile::tempdir().unwrap();
    std::fs::create_dir(user.path().join(".hermes")).unwrap();
    std::fs::copy(target.home().join("state.db"), user.path().join(".hermes/state.db")).unwrap();
    let alone = |arguments: &str| {
        let mut command = Command::new("unshare");
        command.args(["--pid", "--fork", "--mount-proc", "--net", common::program()]);
        run_with(command.args(arguments.split_whitespace()).env("HOME", user.path()))
    };
    if rustix::process::geteuid().is_root() {
        let answer = alone("db --json");
        let envelope = answer.json();
        assert_eq!((answer.exit, envelope["databases"].as_array().unwrap().len()), (0, 1), "{envelope:#}");
    }
    assert_eq!(run_with(doctor().args(["db", "--file", "/etc/passwd"])).exit, 3);
}
