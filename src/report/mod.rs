//! Reports: the envelope, sealed so that it contains no secret of a command line or URL.

pub mod place;
pub mod record;
pub mod schema;

use crate::collect::worker::answers;
use crate::model::{
    DatabaseFile, Envelope, Gap, HostFacts, SCHEMA, Server, Status, Timestamp, Tool, id, whole_milliseconds,
};
use crate::redact;
use place::Place;
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tempfile::NamedTempFile;

/// An envelope without servers.
pub fn envelope(command: &str, host: HostFacts, started_at: SystemTime) -> Envelope {
    Envelope {
        schema: SCHEMA.to_owned(),
        tool: own_tool(),
        command: command.to_owned().into(),
        host,
        started_at: Timestamp::clamped_millis(started_at),
        elapsed_ms: 0,
        status: Status::Unknown,
        servers: Vec::new(),
        databases: Vec::new(),
        pid_files: Vec::new(),
        findings: Vec::new(),
        gaps: Vec::new(),
        history: None,
        demonstrations: Vec::new(),
        replayed: None,
        explanations: Vec::new(),
        redaction: None,
    }
}

/// This program.
pub fn own_tool() -> Tool {
    Tool { name: env!("CARGO_PKG_NAME").to_owned().into(), version: env!("CARGO_PKG_VERSION").to_owned().into() }
}

/// Completes an envelope: its duration, its status (the worst of all), and a last check that every text is printable and
/// masked.
pub fn seal(mut envelope: Envelope, elapsed: Duration) -> Envelope {
    envelope.elapsed_ms = whole_milliseconds(elapsed);
    envelope.status = overall(&envelope.servers, &envelope);
    redact::mask(&mut envelope);
    envelope
}

/// Writes a new file, or with `force` replaces one. The write is atomic: a sibling file is written and renamed.
/// A symbolic link at the path is replaced, never followed.
///
/// # Errors
/// `AlreadyExists` without `force`, and those of the file system.
pub fn write_new(path: &Path, bytes: &[u8], force: bool) -> io::Result<()> {
    answers(path)?;
    let place = Place::find(path)?;
    persist(written(&place, bytes, None)?, &place, force)
}

/// Mode of a file that every user may read.
const FOR_ALL: u32 = 0o644;

/// A completely written file that is not yet at its final path. It is removed on drop unless it was published.
pub struct Staged {
    file: NamedTempFile,
    path: PathBuf,
    place: Place,
}

/// Writes a file that every user may read (mode 0644) next to its final path.
///
/// # Errors
/// Those of the file system.
pub fn stage(path: PathBuf, bytes: &[u8]) -> io::Result<Staged> {
    answers(&path)?;
    let place = Place::find(&path)?;
    Ok(Staged { file: written(&place, bytes, Some(FOR_ALL))?, path, place })
}

impl Staged {
    /// The final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves it to its final path. With `force` it replaces an existing file.
    ///
    /// # Errors
    /// `AlreadyExists` without `force`, and those of the file system.
    pub fn publish(self, force: bool) -> io::Result<()> {
        persist(self.file, &self.place, force)
    }
}

fn persist(file: NamedTempFile, place: &Place, force: bool) -> io::Result<()> {
    let kept = if force { file.persist(place.path()) } else { file.persist_noclobber(place.path()) };
    kept.map(drop).map_err(|error| error.error)
}

fn written(place: &Place, bytes: &[u8], mode: Option<u32>) -> io::Result<NamedTempFile> {
    let directory = place.path().parent().unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".hermes-doctor-").tempfile_in(directory)?;
    file.write_all(bytes)?;
    if let Some(mode) = mode {
        // Set on the open file, so that the caller's umask does not count; the manager of a timer may have set
        // it to 077.
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    }
    file.as_file().sync_all()?;
    Ok(file)
}

/// Atomically writes a file that every user may read (mode 0644), and replaces an earlier one that begins with
/// the same bytes. A reader sees either the old file or the new one.
///
/// # Errors
/// `AlreadyExists` if any other file is at the path, and those of the file system.
pub fn publish(path: &Path, bytes: &[u8], begin: &str) -> io::Result<()> {
    answers(path)?;
    let place = Place::find(path)?;
    let is_taken = match std::fs::symlink_metadata(place.path()) {
        Ok(found) => !found.is_file() || (found.len() > 0 && !begins_with(place.path(), begin)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(error),
    };
    if is_taken {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    persist(written(&place, bytes, Some(FOR_ALL))?, &place, true)
}

/// The flags prevent following a link, and waiting for a pipe, that replaced the file a moment ago.
fn begins_with(path: &Path, begin: &str) -> io::Result<bool> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = std::fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let mut found = Vec::with_capacity(begin.len());
    file.take(u64::try_from(begin.len()).unwrap_or(u64::MAX)).read_to_end(&mut found)?;
    Ok(found == begin.as_bytes())
}

fn overall(servers: &[Server], envelope: &Envelope) -> Status {
    let servers = servers.iter().map(|server| server.status);
    let own = envelope.findings.iter().map(|finding| finding.severity.status());
    // Databases without a server, and records, count as examined whatever the findings.
    let is_read = |database: &DatabaseFile| database.header.is_some() || database.size_bytes == Some(0);
    let has_examined = envelope.databases.iter().any(is_read) || envelope.history.is_some();
    let decides = |gap: &Gap| gap.blocks.iter().any(|blocked| id::DATABASES.contains(&blocked.as_str()));
    let is_undecided = !envelope.databases.is_empty() && envelope.gaps.iter().any(decides);
    let examined = has_examined.then_some(if is_undecided { Status::Unknown } else { Status::Healthy });
    servers.chain(own).chain(examined).reduce(Status::worst).unwrap_or(Status::Unknown)
}
