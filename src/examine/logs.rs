//! The logs that are read: those of the supervisor, of the process output, and of Hermes in its home.

use super::Examination;
use crate::collect::{ForeignPath, LogTail};
use crate::model::text::printable;
use crate::model::{Gap, GapDetail, GapReason, HostPath, LogFacts, Process, Server, ServerKind, Supervisor};
use crate::parse::cgroup::Unit;
use crate::parse::log::{self, Clock};
use crate::supervisor::systemd::query::journal;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Maximum number of logs that are read per server.
const MAX: usize = 8;
/// The system's time zone.
const LOCAL_TIME: &str = "/etc/localtime";
/// The directory with all time zone files.
const ZONES: &str = "/usr/share/zoneinfo";
/// Largest time zone file that is read.
const MAX_ZONE_BYTES: usize = 64 * 1024;

/// One log, before it is read.
enum Place {
    /// A file: its name, the path that is opened, the rotated file before it, and whether other servers write
    /// to it too.
    File { name: PathBuf, place: ForeignPath, rotated: Option<ForeignPath>, is_shared: bool },
    /// The journal of a unit, the command that prints it, and whether it is that of another process.
    Journal(Unit, String, bool),
}

impl Examination<'_> {
    /// Fills in `server.logs`.
    pub(super) fn logs(&self, server: &mut Server) {
        let process = server.process.clone();
        let clock = self.clock(process.as_ref());
        let host = self.survey.host;
        let (mut seen, mut is_refused) = (HashSet::new(), false);
        for place in self.places(server, process.as_ref()) {
            if server.logs.len() >= MAX {
                break;
            }
            let (source, is_shared, is_expected, read) = match place {
                Place::File { name, place, rotated, is_shared } => {
                    // One log can have several names, and one name can be different files in containers.
                    let source = printable(name.as_os_str().as_encoded_bytes());
                    let read = match host.directory_identity(&place) {
                        Ok(identity) if !seen.insert(identity) => continue,
                        Err(gap) if gap.reason == GapReason::Timeout => Err(gap),
                        _ => host.log_tail(&place, rotated.as_ref()),
                    };
                    (source, is_shared, false, read)
                }
                Place::Journal(unit, command, is_shared) => (command, is_shared, true, journal(host, &unit)),
            };
            match read {
                Ok(tail) => server.logs.push(facts(source, is_shared, &tail, &clock)),
                Err(gap) if gap.reason == GapReason::NotFound && !is_expected => {}
                // One such gap is enough: the other logs of a home have the same permissions.
                Err(gap) if gap.reason == GapReason::Permission && is_refused => {}
                // Other logs in the same place would hang too, and the time is needed for other files.
                Err(gap) if gap.reason == GapReason::Timeout => {
                    server.gaps.push(Gap { what: format!("log {source}").into(), ..gap });
                    break;
                }
                Err(gap) => {
                    is_refused |= gap.reason == GapReason::Permission;
                    server.gaps.push(Gap { what: format!("log {source}").into(), ..gap });
                }
            }
        }
    }

    /// Reference for the times in this server's logs. Another mount namespace can have another time zone.
    fn clock(&self, process: Option<&Process>) -> Clock {
        let started = process.and_then(|process| process.start_time.as_ref()?.as_str().parse::<Timestamp>().ok());
        let elsewhere = process.filter(|process| process.foreign_mounts == Some(true));
        let zone = match elsewhere {
            None => self.own_zone(),
            Some(process) => self.zone_of(&ForeignPath::of_process(process.identity, Path::new(LOCAL_TIME))),
        };
        // A clock can be set beyond the range of a timestamp.
        let now = Timestamp::try_from(SystemTime::now()).unwrap_or(Timestamp::MAX);
        Clock { zone, now, started }
    }

    /// The time zone of this program, from `TZ`, else from the system's file (tzset(3)). The worker process
    /// reads the files, since reading can hang.
    fn own_zone(&self) -> Option<TimeZone> {
        let variable = std::env::var("TZ").ok();
        let Some(said) = variable.as_deref().map(|said| said.strip_prefix(':').unwrap_or(said)) else {
            return self.zone_of(&ForeignPath::of_person(Path::new(LOCAL_TIME)));
        };
        if said.is_empty() {
            return Some(TimeZone::UTC);
        }
        TimeZone::posix(said).ok().or_else(|| self.zone_of(&ForeignPath::of_person(&Path::new(ZONES).join(said))))
    }

    /// The time zone in a file (tzfile(5)).
    fn zone_of(&self, file: &ForeignPath) -> Option<TimeZone> {
        match self.survey.host.read_file(file, MAX_ZONE_BYTES) {
            Ok(bytes) => TimeZone::tzif("localtime", &bytes).ok(),
            // Without that file the C library uses UTC (tzset(3)).
            Err(gap) if gap.reason == GapReason::NotFound => Some(TimeZone::UTC),
            Err(_) => None,
        }
    }

    fn places(&self, server: &mut Server, process: Option<&Process>) -> Vec<Place> {
        let mut places = Vec::new();
        let claim = server.lineage.as_ref().map(|lineage| &lineage.supervisor);
        if let Some(claim) = claim
            && let Some(log) = &claim.log
        {
            // The log of a supervisor that runs another process belongs to that process: it shows why its
            // starts fail.
            let is_shared = claim.claims_this == Some(false) && process.is_some();
            match &claim.kind {
                _ if log.starts_with("/dev/") => {}
                _ if log.starts_with('/') => {
                    let name: PathBuf = HostPath::from_kept(log).into();
                    let rotated = Some(self.log_of(claim, &crate::collect::logs::rotated(&name)));
                    places.push(Place::File { place: self.log_of(claim, &name), name, rotated, is_shared });
                }
                kind if kind.is_systemd() => places.extend(journal_of(log, is_shared)),
                kind if kind.is_container_runtime() => {
                    let detail = GapDetail::KeptByRuntime;
                    server.gaps.push(Gap::new(format!("log {log}"), GapReason::NotAsked, detail));
                }
                _ => {}
            }
        }
        let output = process.map_or_else(|| Ok(Vec::new()), |process| self.survey.host.output_files(process));
        let output = output.unwrap_or_else(|gap| {
            server.gaps.push(gap);
            Vec::new()
        });
        for file in output {
            let rotated = crate::collect::logs::rotated(&file.name);
            let rotated = process.map(|process| ForeignPath::of_link(process.identity, &rotated));
            places.push(Place::File { name: file.name, place: file.place, rotated, is_shared: false });
        }
        let Some(home) = &self.target.home else { return places };
        for (name, is_shared) in known_in(server.kind, server.port) {
            let name = home.join(name);
            let place = ForeignPath::of(process.map(|process| process.identity), &name);
            let rotated = Some(place.with_suffix(".1"));
            places.push(Place::File { name, place, rotated, is_shared });
        }
        places
    }
}

impl Examination<'_> {
    /// A log that a supervisor names: a path of the supervising process, or of the user of the user manager.
    pub(super) fn log_of(&self, claim: &Supervisor, path: &Path) -> ForeignPath {
        let owner = claim.owner.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        // The pid may have been reused by another user's process.
        let is_its = |process: &Process| process.uid == owner;
        match claim.pid.and_then(|pid| self.survey.process_of(pid)).filter(is_its) {
            Some(supervisor) => ForeignPath::of_process(supervisor.identity, path),
            _ => claim.owner.map_or_else(|| ForeignPath::of_person(path), |user| ForeignPath::of_user(user, path)),
        }
    }
}

/// Logs that Hermes writes in a home for a kind of server; several servers share those of the whole agent.
fn known_in(kind: ServerKind, port: Option<u16>) -> Vec<(String, bool)> {
    let own: &[&str] = match kind {
        ServerKind::Webui => &["webui.log", "webui/launchd-stderr.log", "webui/launchd-stdout.log"],
        ServerKind::Gateway => &["logs/gateway.log"],
        ServerKind::Dashboard | ServerKind::Serve => &["logs/dashboard.error.log"],
        ServerKind::Mcp | ServerKind::Other => &[],
    };
    let shared: &[&str] = match kind {
        ServerKind::Gateway | ServerKind::Dashboard | ServerKind::Serve => &["logs/errors.log", "logs/agent.log"],
        _ => &[],
    };
    let of_start = port.filter(|_| kind == ServerKind::Webui).map(|port| format!("webui/bootstrap-{port}.log"));
    own.iter()
        .map(|name| ((*name).to_owned(), false))
        .chain(of_start.map(|name| (name, false)))
        .chain(shared.iter().map(|name| ((*name).to_owned(), true)))
        .collect()
}

/// The unit in a command that prints its journal, in the forms that claims have.
fn journal_of(command: &str, is_shared: bool) -> Option<Place> {
    let words: Vec<&str> = command.split(' ').collect();
    let me = rustix::process::geteuid().as_raw();
    let (name, user_manager) = match words.as_slice() {
        ["journalctl", "-u", name] => (*name, None),
        ["journalctl", "--user", "-u", name] => (*name, Some(me)),
        ["journalctl", uid, name] => {
            let uid = uid.strip_prefix("_UID=").and_then(|uid| uid.parse().ok())?;
            (name.strip_prefix("_SYSTEMD_USER_UNIT=")?, Some(uid))
        }
        _ => return None,
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte);
    let is_unit = !name.starts_with('-') && name.bytes().all(is_name);
    is_unit.then(|| Place::Journal(Unit { name: name.to_owned(), user_manager }, command.to_owned(), is_shared))
}

fn facts(source: String, is_shared: bool, tail: &LogTail, clock: &Clock) -> LogFacts {
    let parts: Vec<&[u8]> = tail.parts.iter().map(Vec::as_slice).collect();
    let mut facts = log::log(&parts, tail.is_cut, clock);
    // Not written since the process started, so no line is from this process, whatever its time.
    let modified = Timestamp::from_nanosecond(i128::from(tail.modified_ns)).ok().filter(|_| tail.modified_ns > 0);
    if modified.zip(clock.started).is_some_and(|(modified, started)| modified < started) {
        log::all_older(&mut facts);
    }
    let bytes_read = parts.iter().map(|part| u64::try_from(part.len()).unwrap_or(u64::MAX)).sum();
    LogFacts { source: source.into(), is_shared, bytes_read, with_rotated: tail.with_rotated, ..facts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_journalctl_command_forms_are_accepted() {
        let unit = |command: &str| match journal_of(command, false) {
            Some(Place::Journal(unit, ..)) => Some((unit.name, unit.user_manager.is_some())),
            _ => None,
        };
        assert_eq!(unit("journalctl -u a.service"), Some(("a.service".into(), false)));
        assert_eq!(unit("journalctl --user -u a@1.service"), Some(("a@1.service".into(), true)));
        assert_eq!(unit("journalctl _UID=7 _SYSTEMD_USER_UNIT=a.service"), Some(("a.service".into(), true)));
        for command in ["journalctl -u --vacuum-size=1", "journalctl -u a;b", "journalctl --rotate", "journalctl"] {
            assert_eq!(unit(command), None, "{command}");
        }
    }

    #[test]
    fn a_log_that_was_not_written_since_the_start_is_of_another_process() {
        let started: Timestamp = "2026-11-24T10:00:00Z".parse().unwrap();
        let clock = Clock { zone: Some(TimeZone::UTC), now: started, started: Some(started) };
        let tail = |modified_ns| LogTail {
            parts: vec![b"sqlite3.DatabaseError: database disk image is malformed\n".to_vec()],
            modified_ns,
            ..LogTail::default()
        };
        let since = |tail: &LogTail| facts("x".into(), false, tail, &clock).classes[0].since_start;
        assert_eq!(since(&tail(1)), Some(0));
        assert_eq!(since(&tail(u64::MAX / 2)), None);
    }
}
