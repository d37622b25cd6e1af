//! What a reader can be asked, as it goes through its pipes, and how each is read there.

use super::LARGEST_ANSWER;
use crate::collect::FileKind;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most that is taken of such an answer.
const LARGEST_EXCHANGE: u64 = 1024 * 1024;
/// Largest command line or environment that is read; the kernel's own limit is far above what is useful here.
#[cfg(target_os = "linux")]
const LARGEST_BLOCK: usize = 128 * 1024;

/// One read.
#[derive(Clone, Debug)]
pub enum Request {
    /// `/proc/PID/cmdline`.
    CommandLine(u32),
    /// Supervisor markers of `/proc/PID/environ`; no other variable leaves the reader.
    Markers(u32),
    /// A file's first bytes.
    File(PathBuf, u32),
    /// Bytes of a file: from where, and how many at most.
    Range(PathBuf, u64, u32),
    /// Size of a file in bytes, in decimal.
    Size(PathBuf),
    /// Names in a directory that have this in them, NUL-separated; of so many at most that are looked at.
    Directory(PathBuf, String, u32),
    /// What a path is: `f`, `d` or `o`.
    Kind(PathBuf),
    /// Target of a link.
    Link(PathBuf),
    /// Bytes sent to a Unix socket, and what comes back.
    Exchange(PathBuf, Vec<u8>, Until),
    /// Device and inode of a file, in decimal with a space between.
    Identity(PathBuf),
    /// Size in bytes and last modification in nanoseconds since 1970, in decimal with a space between.
    Stamp(PathBuf),
    /// The name that descriptors on this file have: no link is left in it. Where the file is not there, its directory's.
    Resolved(PathBuf),
    /// Python stacks of a process, as JSON (`collect::stacks`).
    Stacks(u32),
    /// Name, home and group id of a user by id, NUL-separated: the system's directory may be a remote one.
    User(u32),
    /// Records of the descriptors of a process of macOS ([`crate::parse::darwin::descriptor`]): asking for a file's path
    /// asks its filesystem.
    Descriptors(u32),
    /// Locks on a file, by questions of fcntl(2) about these ranges of first byte and length; no lock is taken.
    Locks(PathBuf, Vec<(u64, u64)>),
}

/// Where the answer of an exchange ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The other side closes the connection.
    Close,
    /// One message of pm2 is complete: its daemon keeps the connection open.
    Pm2Message,
}

impl Request {
    pub(super) fn what(&self) -> String {
        match self {
            Self::CommandLine(pid) => format!("command line of pid {pid}"),
            Self::Markers(pid) => format!("supervisor markers of pid {pid}"),
            Self::User(uid) => format!("user {uid}"),
            Self::Stacks(pid) => format!("Python stacks of pid {pid}"),
            Self::Descriptors(pid) => format!("descriptors of pid {pid}"),
            Self::Exchange(path, ..) => {
                format!("answer on {}", crate::parse::text::printable(path.as_os_str().as_bytes()))
            }
            Self::File(path, _)
            | Self::Range(path, ..)
            | Self::Size(path)
            | Self::Directory(path, ..)
            | Self::Kind(path)
            | Self::Link(path)
            | Self::Stamp(path)
            | Self::Resolved(path)
            | Self::Locks(path, _)
            | Self::Identity(path) => crate::parse::text::printable(path.as_os_str().as_bytes()),
        }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (tag, number, path) = match self {
            Self::CommandLine(pid) => (b'c', *pid, None),
            Self::Markers(pid) => (b'm', *pid, None),
            Self::File(path, limit) => (b'f', *limit, Some(path)),
            Self::Directory(path, _, limit) => (b'd', *limit, Some(path)),
            Self::Range(path, _, length) => (b'r', *length, Some(path)),
            Self::Size(path) => (b's', 0, Some(path)),
            Self::Kind(path) => (b'k', 0, Some(path)),
            Self::Link(path) => (b'l', 0, Some(path)),
            Self::User(uid) => (b'u', *uid, None),
            Self::Stacks(pid) => (b'p', *pid, None),
            Self::Identity(path) => (b'i', 0, Some(path)),
            Self::Stamp(path) => (b't', 0, Some(path)),
            Self::Resolved(path) => (b'n', 0, Some(path)),
            Self::Descriptors(pid) => (b'D', *pid, None),
            Self::Locks(path, _) => (b'L', 0, Some(path)),
            Self::Exchange(path, _, until) => (b'x', u32::from(*until == Until::Pm2Message), Some(path)),
        };
        let mut path = path.map_or(Vec::new(), |path| path.as_os_str().as_bytes().to_vec());
        if let Self::Exchange(_, message, _) = self {
            path.push(0);
            path.extend_from_slice(message);
        }
        if let Self::Directory(_, part, _) = self {
            path.push(0);
            path.extend_from_slice(part.as_bytes());
        }
        if let Self::Range(_, offset, _) = self {
            path.push(0);
            path.extend_from_slice(&offset.to_le_bytes());
        }
        if let Self::Locks(_, ranges) = self {
            path.push(0);
            path.extend(
                ranges.iter().flat_map(|(start, length)| [start.to_le_bytes(), length.to_le_bytes()]).flatten(),
            );
        }
        let mut bytes = vec![tag];
        bytes.extend_from_slice(&number.to_le_bytes());
        bytes.extend_from_slice(&u32::try_from(path.len()).unwrap_or(0).to_le_bytes());
        bytes.extend_from_slice(&path);
        bytes
    }

    pub(super) fn decode(input: &mut impl Read) -> io::Result<Self> {
        let mut head = [0_u8; 9];
        input.read_exact(&mut head)?;
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut path = vec![0_u8; usize::try_from(number(5)).unwrap_or(0).min(LARGEST_ANSWER)];
        input.read_exact(&mut path)?;
        let message = if matches!(head[0], b'x' | b'r' | b'L' | b'd') {
            let at = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            let message = path.get(at + 1..).unwrap_or_default().to_vec();
            path.truncate(at);
            message
        } else {
            Vec::new()
        };
        let path = PathBuf::from(std::ffi::OsString::from_vec(path));
        match head[0] {
            b'c' => Ok(Self::CommandLine(number(1))),
            b'm' => Ok(Self::Markers(number(1))),
            b'f' => Ok(Self::File(path, number(1))),
            b'd' => {
                let part = String::from_utf8(message).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                Ok(Self::Directory(path, part, number(1)))
            }
            b'r' => {
                let offset = message.try_into().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
                Ok(Self::Range(path, u64::from_le_bytes(offset), number(1)))
            }
            b's' => Ok(Self::Size(path)),
            b'k' => Ok(Self::Kind(path)),
            b'l' => Ok(Self::Link(path)),
            b'u' => Ok(Self::User(number(1))),
            b'p' => Ok(Self::Stacks(number(1))),
            b'i' => Ok(Self::Identity(path)),
            b't' => Ok(Self::Stamp(path)),
            b'n' => Ok(Self::Resolved(path)),
            b'D' => Ok(Self::Descriptors(number(1))),
            b'L' => {
                let (numbers, _) = message.as_chunks::<8>();
                let (ranges, _) = numbers.as_chunks::<2>();
                let range = |range: &[[u8; 8]; 2]| (u64::from_le_bytes(range[0]), u64::from_le_bytes(range[1]));
                Ok(Self::Locks(path, ranges.iter().map(range).collect()))
            }
            b'x' => {
                let until = if number(1) == 1 { Until::Pm2Message } else { Until::Close };
                Ok(Self::Exchange(path, message, until))
            }
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    pub(super) fn perform(&self) -> io::Result<Vec<u8>> {
        match self {
            Self::CommandLine(pid) => command_line(*pid),
            Self::Markers(pid) => Ok(markers(&environment(*pid)?)),
            Self::Descriptors(pid) => descriptors(*pid),
            Self::Locks(path, ranges) => locks(path, ranges),
            Self::File(path, limit) => read_start(path, usize::try_from(*limit).unwrap_or(0)),
            Self::Range(path, offset, length) => read_range(path, *offset, usize::try_from(*length).unwrap_or(0)),
            Self::Size(path) => Ok(std::fs::metadata(path)?.len().to_string().into_bytes()),
            Self::Directory(path, part, limit) => {
                let mut names = Vec::new();
                for entry in std::fs::read_dir(path)?.take(usize::try_from(*limit).unwrap_or(0)) {
                    let name = entry?.file_name();
                    if memchr::memmem::find(name.as_bytes(), part.as_bytes()).is_some() {
                        names.extend_from_slice(name.as_bytes());
                        names.push(0);
                    }
                }
                Ok(names)
            }
            Self::Link(path) => Ok(std::fs::read_link(path)?.into_os_string().into_vec()),
            Self::User(uid) => user(*uid),
            Self::Stacks(pid) => crate::collect::stacks::answer(*pid),
            Self::Identity(path) => {
                let metadata = std::fs::metadata(path)?;
                Ok(format!("{} {}", metadata.dev(), metadata.ino()).into_bytes())
            }
            Self::Stamp(path) => {
                let metadata = std::fs::metadata(path)?;
                let modified = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
                Ok(format!("{} {}", metadata.len(), modified.max(0)).into_bytes())
            }
            Self::Resolved(path) => resolved(path),
            Self::Exchange(path, message, until) => {
                let mut socket = std::os::unix::net::UnixStream::connect(path)?;
                socket.write_all(message)?;
                let mut answer = Vec::new();
                match until {
                    Until::Close => drop(socket.take(LARGEST_EXCHANGE).read_to_end(&mut answer)?),
                    Until::Pm2Message => read_pm2_message(&mut socket, &mut answer)?,
                }
                Ok(answer)
            }
            Self::Kind(path) => {
                let kind = std::fs::metadata(path)?;
                Ok(vec![if kind.is_file() {
                    b'f'
                } else if kind.is_dir() {
                    b'd'
                } else {
                    b'o'
                }])
            }
        }
    }
}

fn read_pm2_message(socket: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0_u8; 16 * 1024];
    loop {
        match crate::parse::pm2::message_length(answer) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        match socket.read(&mut buffer)? {
            0 => return Ok(()),
            count => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

fn resolved(path: &Path) -> io::Result<Vec<u8>> {
    match descriptor_name(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
            Ok([&descriptor_name(directory)?, &b"/"[..], name.as_bytes()].concat())
        }
        name => name,
    }
}

/// What the kernel calls the file, as it does in `/proc/PID/fd`: right below the root of another process too, where
/// realpath(3) would lose that root. Nothing is opened for reading (`O_PATH`, open(2)).
#[cfg(target_os = "linux")]
fn descriptor_name(path: &Path) -> io::Result<Vec<u8>> {
    use rustix::fs::{Mode, OFlags, open};
    use std::os::fd::AsRawFd;
    let file = open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let name = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(name.into_os_string().into_vec())
}

#[cfg(not(target_os = "linux"))]
fn descriptor_name(path: &Path) -> io::Result<Vec<u8>> {
    Ok(std::fs::canonicalize(path)?.into_os_string().into_vec())
}

#[cfg(target_os = "linux")]
fn command_line(pid: u32) -> io::Result<Vec<u8>> {
    read_block(&format!("/proc/{pid}/cmdline"))
}

#[cfg(target_os = "linux")]
fn environment(pid: u32) -> io::Result<Vec<u8>> {
    read_block(&format!("/proc/{pid}/environ"))
}

/// One of the kernel's own files, which is what its name says.
#[cfg(target_os = "linux")]
fn read_block(path: &str) -> io::Result<Vec<u8>> {
    // A page is what most of them are shorter than.
    let mut bytes = Vec::with_capacity(4096);
    File::open(path)?.take(u64::try_from(LARGEST_BLOCK).unwrap_or(0)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(target_os = "linux")]
fn descriptors(_pid: u32) -> io::Result<Vec<u8>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn command_line(pid: u32) -> io::Result<Vec<u8>> {
    Ok(crate::collect::macos::arguments(pid)?.0)
}

#[cfg(not(target_os = "linux"))]
fn environment(pid: u32) -> io::Result<Vec<u8>> {
    let environment = crate::collect::macos::arguments(pid)?.1;
    // The system hides that of its own protected programs. A server's never is, so an empty one is not what it has.
    if environment.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    Ok(environment)
}

#[cfg(not(target_os = "linux"))]
fn descriptors(pid: u32) -> io::Result<Vec<u8>> {
    crate::collect::macos::descriptor_records(pid, LARGEST_ANSWER)
}

/// Asks for each range who would be in the way of a write lock: a line `START LENGTH w|r PID` for each lock that is. No
/// lock is taken, and this process has none on the file that closing it could drop.
fn locks(path: &Path, ranges: &[(u64, u64)]) -> io::Result<Vec<u8>> {
    use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
    regular(path)?;
    let file = File::open(path)?;
    let mut answer = Vec::new();
    for (start, length) in ranges {
        let mut question = Flock::from(FlockType::WriteLock);
        (question.start, question.length, question.offset_type) = (*start, *length, FlockOffsetType::Set);
        let Some(found) = fcntl_getlk(&file, &question)? else { continue };
        let kind = if found.typ == FlockType::WriteLock { 'w' } else { 'r' };
        let pid = found.pid.map_or(0, |pid| pid.as_raw_nonzero().get());
        answer.extend_from_slice(format!("{} {} {kind} {pid}\n", found.start, found.length).as_bytes());
    }
    Ok(answer)
}

/// Name, home directory and primary group of an account, NUL-separated. The file is asked first, as name services are
/// told to nearly everywhere: to start those takes longer than all else that is read of a process.
fn user(uid: u32) -> io::Result<Vec<u8>> {
    use uzers::os::unix::UserExt;
    let accounts = std::fs::read("/etc/passwd").unwrap_or_default();
    if let Some([name, home, group]) = crate::parse::process::account(&accounts, uid) {
        return Ok([name, b"\0", home, b"\0", group].concat());
    }
    let user = uzers::get_user_by_uid(uid).ok_or(io::ErrorKind::NotFound)?;
    let group = user.primary_group_id().to_string();
    Ok([user.name().as_encoded_bytes(), b"\0", user.home_dir().as_os_str().as_bytes(), b"\0", group.as_bytes()]
        .concat())
}

/// Environment variables that may be read: markers that supervisors leave, and the homes, which tell servers of
/// one host apart. All of them are names, numbers and paths; none can hold a secret.
const MARKERS: &[&str] = &[
    "HERMES_DESKTOP",
    "HERMES_GATEWAY_EXTERNAL_SUPERVISOR",
    "HERMES_HOME",
    "HERMES_PARENT_PID",
    "HOME",
    "INVOCATION_ID",
    "JOURNAL_STREAM",
    "STY",
    "SUPERVISOR_ENABLED",
    "SUPERVISOR_GROUP_NAME",
    "SUPERVISOR_PROCESS_NAME",
    "SYSTEMD_EXEC_PID",
    "TMUX",
    "XPC_SERVICE_NAME",
    "pm_id",
];

fn markers(block: &[u8]) -> Vec<u8> {
    crate::parse::text::nul_separated(block)
        .into_iter()
        .filter(|entry| {
            entry
                .split(|byte| *byte == b'=')
                .next()
                .is_some_and(|name| MARKERS.iter().any(|marker| marker.as_bytes() == name))
        })
        .flat_map(|entry| entry.iter().copied().chain(std::iter::once(0)))
        .collect()
}

/// Refuses what is no regular file. Only the number of an error goes over the pipe.
fn regular(path: &Path) -> io::Result<()> {
    let kind = std::fs::metadata(path)?;
    match (kind.is_file(), kind.is_dir()) {
        (true, _) => Ok(()),
        (_, true) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
        _ => Err(io::Error::from_raw_os_error(libc::EINVAL)),
    }
}

/// Reads at most `limit` bytes of a regular file or a file of /proc. A pipe or device in its place is refused,
/// since opening it could do something.
fn read_start(path: &Path, limit: usize) -> io::Result<Vec<u8>> {
    regular(path)?;
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(limit.min(LARGEST_ANSWER)).unwrap_or(0)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads at most `length` bytes of a regular file from an offset on; fewer where it ends.
fn read_range(path: &Path, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    regular(path)?;
    let file = File::open(path)?;
    let mut bytes = vec![0; length.min(LARGEST_ANSWER)];
    let mut had = 0;
    while let Some(room) = bytes.get_mut(had..).filter(|room| !room.is_empty()) {
        match file.read_at(room, offset.saturating_add(u64::try_from(had).unwrap_or(u64::MAX)))? {
            0 => break,
            count => had += count,
        }
    }
    bytes.truncate(had);
    Ok(bytes)
}

/// Turns the reader's answer to [`Request::Kind`] into a kind.
pub fn file_kind(answer: &[u8]) -> FileKind {
    match answer.first() {
        Some(b'f') => FileKind::Regular,
        Some(b'd') => FileKind::Directory,
        _ => FileKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn requests_survive_the_wire() {
        for request in [
            Request::CommandLine(7),
            Request::Markers(8),
            Request::File("/a b".into(), 100),
            Request::Directory("/x".into(), "hermes".to_owned(), 5),
            Request::Kind("/y".into()),
            Request::Link("/z".into()),
            Request::User(9),
            Request::Stacks(10),
            Request::Exchange("/s".into(), b"POST /\0x".to_vec(), Until::Close),
            Request::Exchange("/s".into(), b"x".to_vec(), Until::Pm2Message),
            Request::Identity("/x".into()),
            Request::Range("/y z".into(), u64::MAX - 1, 24),
            Request::Size("/z".into()),
            Request::Descriptors(10),
            Request::Locks("/z".into(), vec![(0x4000_0000, 1), (u64::MAX, 0)]),
        ] {
            let bytes = request.encode();
            let decoded = Request::decode(&mut &bytes[..]).unwrap();
            assert_eq!(format!("{request:?}"), format!("{decoded:?}"));
        }
        assert!(Request::decode(&mut &b"zzzzzzzzz"[..]).is_err());
    }

    /// The holder is another process, as a patient always is: its own locks a process is not told of.
    #[test]
    fn a_question_names_who_holds_a_lock() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.db-shm");
        std::fs::write(&path, [0; 200]).unwrap();
        let program = "import fcntl, sys\n\
            file = open(sys.argv[1], 'r+b')\n\
            fcntl.lockf(file, fcntl.LOCK_EX, 1, 120)\n\
            fcntl.lockf(file, fcntl.LOCK_SH, 1, 124)\n\
            print('held', flush=True)\n\
            sys.stdin.read()\n";
        let mut holder = Command::new("python3");
        let mut holder =
            holder.args(["-c", program]).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = [0; 5];
        holder.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let ask = || Request::Locks(path.clone(), crate::parse::locks::INDEX_QUESTIONS.to_vec()).perform().unwrap();
        let pid = holder.id();
        assert_eq!(String::from_utf8(ask()).unwrap(), format!("120 1 w {pid}\n124 1 r {pid}\n"));
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert_eq!(ask(), b"", "the question has taken no lock");
        assert!(Request::Locks("/dev/zero".into(), vec![(0, 1)]).perform().is_err());
    }

    #[test]
    fn only_markers_leave_the_environment() {
        let block =
            b"API_KEY=secret\0INVOCATION_ID=abc\0HERMES_HOME=/h\0HERMES_HOMEX=no\0HOMEX=no\0HOME=/u\0PATH=/bin\0";
        assert_eq!(markers(block), b"INVOCATION_ID=abc\0HERMES_HOME=/h\0HOME=/u\0");
    }

    #[test]
    fn only_names_that_were_asked_for_come_back() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.service", "hermes-webui.service", "b"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let names = |part: &str| {
            let bytes = Request::Directory(directory.path().into(), part.to_owned(), 10).perform().unwrap();
            let mut names: Vec<_> =
                bytes.split(|byte| *byte == 0).map(String::from_utf8_lossy).map(String::from).collect();
            names.sort_unstable();
            names
        };
        assert_eq!(names("hermes"), ["", "hermes-webui.service"]);
        assert_eq!(names(""), ["", "a.service", "b", "hermes-webui.service"]);
    }

    #[test]
    fn refuses_what_is_not_a_regular_file() {
        assert!(read_start(Path::new("/dev/zero"), 10).is_err());
        assert!(read_start(Path::new("/nonexistent"), 10).is_err());
        assert_eq!(read_start(&std::env::current_exe().unwrap(), 3).unwrap().len(), 3);
    }
}
