//! The worker's side: it reads requests from standard input and writes the answers to standard output, one after the
//! other.

use super::frame::{frame, read_from};
use super::procfs::{self, kernel_file};
use super::wire::{Account, Answer, FileContent, FileKind, FileStat, Reply, Request, Subject, Until};
use super::{MAX_ANSWER, tools};
use crate::collect::foreign::{self, Failure, ForeignPath, Found, Last};
use crate::model::MARKERS;
use crate::parse::accounts::{accounts, owner_of, owner_of_home};
use rustix::fs::{Dir, FileType};
use serde_bytes::ByteBuf;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::net::ToSocketAddrs;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// Largest answer of a supervisor, in bytes.
const MAX_EXCHANGE: u64 = 1024 * 1024;
/// Largest command line or environment that is read. The kernel's limit is much larger.
#[cfg(target_os = "linux")]
const MAX_BLOCK: u32 = 128 * 1024;

/// The worker's main function: answers requests until its input is closed.
pub fn serve() {
    isolate();
    // Own descriptors: those of the standard library are locked and line-buffered.
    let (Ok(input), Ok(output)) =
        (io::stdin().as_fd().try_clone_to_owned(), io::stdout().as_fd().try_clone_to_owned())
    else {
        return;
    };
    serve_on(File::from(input), File::from(output));
}

/// Answers requests on a pair of pipes.
pub fn serve_on(input: File, mut output: File) {
    let mut input = BufReader::new(input);
    while let Ok(request) = read_from::<Request>(&mut input) {
        // Rights that cannot be restored would apply to the next request.
        if foreign::restore().is_err() {
            return;
        }
        let reply: Reply = perform(request);
        let Ok(bytes) = frame(&reply).or_else(|_| frame(&Reply::Err(Failure::TooLarge))) else { return };
        if output.write_all(&bytes).is_err() {
            return;
        }
    }
}

/// Closes everything that was inherited except the two pipes, and requests that the kernel kills this process with its
/// parent.
fn isolate() {
    // Ctrl-C is for the parent, which may still need an answer for its summary.
    let _ = rustix::process::setsid();
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        close_inherited();
        // A core dump would contain what the worker has read.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        // The resolution of a path keeps a descriptor open for each component.
        let files = getrlimit(Resource::Nofile);
        let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files });
        end_with_parent();
    }
}

/// Requests that the kernel kills this process with its parent. A change of rights clears that request (prctl(2)).
pub fn end_with_parent() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
        static PARENT: std::sync::OnceLock<Option<Pid>> = std::sync::OnceLock::new();
        let parent = *PARENT.get_or_init(getppid);
        let _ = set_parent_process_death_signal(Some(Signal::KILL));
        if getppid() != parent {
            std::process::exit(0);
        }
    }
}

/// Closes all descriptors above the standard ones: with close_range(2), or one by one where it is missing (kernels
/// before 5.9, filters of system calls).
#[cfg(target_os = "linux")]
fn close_inherited() {
    #[allow(unsafe_code)]
    // SAFETY: it runs first in the worker's main, before anything is opened. See close_range(2).
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
    if closed == 0 {
        return;
    }
    let listed: Option<Vec<i32>> = std::fs::read_dir("/proc/self/fd")
        .ok()
        .map(|entries| entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect());
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    let all = || (3..i32::try_from(limit.min(65_536)).unwrap_or(65_536)).collect();
    for number in listed.unwrap_or_else(all).into_iter().filter(|number| *number > 2) {
        #[allow(unsafe_code)]
        // SAFETY: as above. See close(2).
        unsafe {
            libc::close(number);
        }
    }
}

/// Performs a request.
///
/// # Errors
/// [`Failure`].
pub fn perform(request: Request) -> Reply {
    let bytes = |bytes: Vec<u8>| Ok(Answer::Bytes(ByteBuf::from(bytes)));
    match request {
        Request::CommandLine(pid) => bytes(command_line(pid)?),
        Request::Markers(pid) => bytes(markers(&environment(pid)?)),
        Request::Accountable(subject) => Ok(Answer::User(accountable(subject)?)),
        Request::KernelFile { path, limit } => bytes(kernel_file(&path, limit)?),
        Request::KernelLink(_)
        | Request::KernelStat(_)
        | Request::KernelNumbers(_)
        | Request::DescriptorLink(..)
        | Request::DescriptorLinks { .. }
        | Request::DescriptorStats(..)
        | Request::DescriptorMounts(..)
        | Request::ControlGroups(_) => procfs::perform(request),
        Request::DescriptorRecords(pid) => bytes(descriptor_records(pid)?),
        Request::Stacks(process) => bytes(crate::collect::stacks::answer(process)?),
        Request::Host => Ok(Answer::Host(crate::collect::host_facts::numbers())),
        Request::Account(uid) => Ok(Answer::Account(account_of(uid)?)),
        Request::Homes => {
            let text = std::fs::read("/etc/passwd")?;
            Ok(Answer::Names(homes(&text)))
        }
        Request::Resolve(name) => {
            let found =
                (name.as_str(), 0).to_socket_addrs().map_err(|error| Failure::Malformed(error.to_string()))?;
            Ok(Answer::Addresses(found.map(|address| address.ip()).collect()))
        }
        Request::Stat(path) => Ok(Answer::Stat(stat(&path)?)),
        Request::Read { path, offset, limit } => Ok(Answer::File(read(&path, offset, limit)?)),
        Request::List { path, containing, limit } => {
            Ok(Answer::Names(list(&path, containing.as_bytes(), usize::try_from(limit).unwrap_or(0))?))
        }
        Request::Link(path) => bytes(foreign::find(&path, Last::Itself)?.link()?),
        Request::Name(path) => {
            let name = name(&path)?;
            Ok(Answer::Name(path.resolved_to(Path::new(OsStr::from_bytes(&name)))))
        }
        Request::Locks(path, ranges) => bytes(locks(&path, &ranges)?),
        Request::Exchange { socket, peer, message, login, until } => {
            let stream = foreign::exchange(&socket, peer, &message, login.as_ref())?;
            bytes(answer_of(stream, until)?)
        }
        Request::Run { tool, arguments, user, keep } => {
            Ok(Answer::Output(tools::run(tool, &arguments, user, usize::try_from(keep).unwrap_or(0))?))
        }
    }
}

fn answer_of(mut stream: impl Read, until: Until) -> io::Result<Vec<u8>> {
    let mut answer = Vec::new();
    match until {
        Until::Close => drop(stream.take(MAX_EXCHANGE).read_to_end(&mut answer)?),
        Until::Pm2Message => read_pm2_message(&mut stream, &mut answer)?,
    }
    Ok(answer)
}

fn read_pm2_message(stream: &mut impl Read, answer: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0_u8; 16 * 1024];
    loop {
        match crate::parse::amp::frame(answer) {
            Ok(Some(_)) => return Ok(()),
            Ok(None) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            count => answer.extend_from_slice(buffer.get(..count).unwrap_or_default()),
        }
    }
}

/// Metadata of what a path leads to. It is not returned for a regular file that the user with the rights that apply may
/// not read.
fn stat(path: &ForeignPath) -> Result<FileStat, Failure> {
    let found = foreign::find(path, Last::Followed)?;
    if found.file_type() == FileType::RegularFile && foreign::are_lowered() {
        found.open()?;
    }
    Ok(stat_of(&found))
}

fn stat_of(found: &Found) -> FileStat {
    let (seconds, nanoseconds) = found.modified();
    FileStat {
        kind: match found.file_type() {
            FileType::RegularFile => FileKind::Regular,
            FileType::Directory => FileKind::Directory,
            _ => FileKind::Other,
        },
        device: found.device(),
        inode: found.inode(),
        owner: if found.owner() == 0 && foreign::are_lowered() { foreign::reader() } else { found.owner() },
        size: found.size(),
        modified_ns: modified(seconds, nanoseconds),
    }
}

/// Nanoseconds since 1970; 0 for an earlier time.
fn modified(seconds: i64, nanoseconds: u64) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

/// Bytes of a regular file; fewer where it ends.
fn read(path: &ForeignPath, offset: u64, limit: u32) -> Result<FileContent, Failure> {
    let found = foreign::find(path, Last::Followed)?;
    if found.file_type() == FileType::Directory {
        return Err(Failure::System(libc::EISDIR));
    }
    let file = found.open()?;
    let metadata = file.metadata()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX).min(MAX_ANSWER);
    // The size, and one byte more: the file can grow during the read.
    let expected = usize::try_from(metadata.len().saturating_sub(offset)).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = vec![0; limit.min(expected)];
    let mut had = 0;
    while let Some(rest) = bytes.get_mut(had..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, offset.saturating_add(u64::try_from(had).unwrap_or(u64::MAX))) {
            Ok(0) => break,
            Ok(count) => had += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(had);
    Ok(FileContent {
        bytes: ByteBuf::from(bytes),
        owner: metadata.uid(),
        reader: foreign::reader(),
        modified_ns: modified(metadata.mtime(), u64::try_from(metadata.mtime_nsec()).unwrap_or(0)),
    })
}

fn list(path: &ForeignPath, containing: &[u8], limit: usize) -> Result<Vec<ByteBuf>, Failure> {
    let found = foreign::find(path, Last::Followed)?;
    if found.file_type() != FileType::Directory {
        return Err(Failure::Malformed("it is no directory".to_owned()));
    }
    let mut names = Vec::new();
    let entries = Dir::new(found.open()?)?
        .filter(|entry| !entry.as_ref().is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")));
    for entry in entries.take(limit) {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if memchr::memmem::find(name, containing).is_some() {
            names.push(ByteBuf::from(name));
        }
    }
    Ok(names)
}

fn name(path: &ForeignPath) -> Result<Vec<u8>, Failure> {
    match foreign::find(path, Last::Followed) {
        Err(Failure::System(libc::ENOENT)) => {
            let Some((directory, name)) = path.split() else { return Err(Failure::System(libc::ENOENT)) };
            foreign::restore()?;
            Ok([&foreign::find(&directory, Last::Followed)?.name()?, &b"/"[..], name].concat())
        }
        found => found?.name(),
    }
}

/// For each range, the lock that would block a write lock, one line for each. No lock is taken. This process has no
/// lock on the file, so closing it releases none.
fn locks(path: &ForeignPath, ranges: &[(u64, u64)]) -> Result<Vec<u8>, Failure> {
    use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};
    let found = foreign::find(path, Last::Followed)?;
    if found.file_type() == FileType::Directory {
        return Err(Failure::System(libc::EISDIR));
    }
    let file = found.open()?;
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

/// The account of a user, from the name services of the host (nsswitch.conf(5)).
fn account_of(uid: u32) -> Result<Account, Failure> {
    use uzers::os::unix::UserExt;
    let user = uzers::get_user_by_uid(uid).ok_or(Failure::System(libc::ENOENT))?;
    Ok(Account {
        name: ByteBuf::from(user.name().as_bytes()),
        home: ByteBuf::from(user.home_dir().as_os_str().as_bytes()),
    })
}

/// The user that reads of a subject are charged to. A user can have processes and files of all their subordinate ids
/// (newuidmap(1)).
fn accountable(subject: Subject) -> Result<u32, Failure> {
    let read = |path| std::fs::read(path).unwrap_or_default();
    let passwd = read("/etc/passwd");
    let uid = match subject {
        Subject::Process(pid) => foreign::user_of(pid)?,
        Subject::User(uid) => uid,
        Subject::Path(path) => owner_of_home(&passwd, &path).ok_or(Failure::System(libc::ENOENT))?,
    };
    Ok(owner_of(&read("/etc/subuid"), &passwd, uid).unwrap_or(uid))
}

/// Homes of people and of services that may run Hermes. System users below 1000 have homes in `/var` and
/// `/nonexistent`.
fn homes(text: &[u8]) -> Vec<ByteBuf> {
    let is_likely = |uid: u32, home: &[u8]| {
        uid == 0 || uid >= 1000 || home.starts_with(b"/home/") || memchr::memmem::find(home, b"hermes").is_some()
    };
    let found = accounts(text).filter(|account| is_likely(account.uid, account.home));
    found.map(|account| ByteBuf::from(account.home)).collect()
}

fn markers(block: &[u8]) -> Vec<u8> {
    crate::model::text::nul_separated(block)
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

#[cfg(target_os = "linux")]
fn command_line(pid: u32) -> Result<Vec<u8>, Failure> {
    kernel_file(format!("/proc/{pid}/cmdline").as_bytes(), MAX_BLOCK)
}

#[cfg(target_os = "linux")]
fn environment(pid: u32) -> Result<Vec<u8>, Failure> {
    kernel_file(format!("/proc/{pid}/environ").as_bytes(), MAX_BLOCK)
}

#[cfg(target_os = "linux")]
fn descriptor_records(_pid: u32) -> Result<Vec<u8>, Failure> {
    Err(Failure::System(libc::ENOTSUP))
}

#[cfg(not(target_os = "linux"))]
fn command_line(pid: u32) -> Result<Vec<u8>, Failure> {
    Ok(crate::collect::macos::arguments(pid)?.0)
}

#[cfg(not(target_os = "linux"))]
fn environment(pid: u32) -> Result<Vec<u8>, Failure> {
    let environment = crate::collect::macos::arguments(pid)?.1;
    // The system hides the environment of its own protected programs. A server's environment is never empty, so an
    // empty one is a refusal.
    if environment.is_empty() {
        return Err(Failure::System(libc::EPERM));
    }
    Ok(environment)
}

#[cfg(not(target_os = "linux"))]
fn descriptor_records(pid: u32) -> Result<Vec<u8>, Failure> {
    Ok(crate::collect::macos::descriptor_records(pid, MAX_ANSWER)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;
    use std::process::{Command, Stdio};

    fn bytes(request: Request) -> Vec<u8> {
        match perform(request).unwrap() {
            Answer::Bytes(bytes) => bytes.into_vec(),
            other => panic!("{other:?}"),
        }
    }

    /// The holder is another process, as a server always is: the kernel does not report a process's own locks to it.
    #[test]
    fn a_lock_query_returns_the_pid_of_the_holder() {
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
        let questions = crate::parse::locks::INDEX_QUESTIONS;
        let ask = || bytes(Request::Locks(ForeignPath::of_person(&path), questions.to_vec()));
        let pid = holder.id();
        assert_eq!(String::from_utf8(ask()).unwrap(), format!("120 1 w {pid}\n124 1 r {pid}\n"));
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert_eq!(ask(), b"", "the question has taken no lock");
        let device = ForeignPath::of_person(Path::new("/dev/zero"));
        assert_eq!(perform(Request::Locks(device, vec![(0, 1)])), Err(Failure::Special));
    }

    #[test]
    fn only_markers_leave_the_environment() {
        let block =
            b"API_KEY=secret\0INVOCATION_ID=abc\0HERMES_HOME=/h\0HERMES_HOMEX=no\0HOMEX=no\0HOME=/u\0PATH=/bin\0";
        assert_eq!(markers(block), b"INVOCATION_ID=abc\0HERMES_HOME=/h\0HOME=/u\0");
    }

    #[test]
    fn a_directory_listing_returns_only_the_requested_names() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["a.service", "hermes-webui.service", "b"] {
            std::fs::write(directory.path().join(name), "").unwrap();
        }
        let names = |containing: &str, limit| {
            let path = ForeignPath::of_person(directory.path());
            match perform(Request::List { path, containing: containing.to_owned(), limit }) {
                Ok(Answer::Names(names)) => {
                    let mut names: Vec<_> =
                        names.into_iter().map(|name| String::from_utf8(name.into_vec()).unwrap()).collect();
                    names.sort_unstable();
                    names
                }
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(names("hermes", 10), ["hermes-webui.service"]);
        assert_eq!(names("", 10), ["a.service", "b", "hermes-webui.service"]);
        assert_eq!(names("", 2).len(), 2);
    }

    #[test]
    fn only_regular_files_are_read() {
        let read = |path: &Path| {
            let path = ForeignPath::of_person(path);
            perform(Request::Read { path, offset: 1, limit: 3 }).map(|answer| match answer {
                Answer::File(content) => content.bytes.len(),
                other => panic!("{other:?}"),
            })
        };
        assert_eq!(read(Path::new("/dev/zero")), Err(Failure::Special));
        assert_eq!(read(Path::new("/nonexistent")), Err(Failure::System(libc::ENOENT)));
        assert_eq!(read(Path::new("/tmp")), Err(Failure::System(libc::EISDIR)));
        assert_eq!(read(&std::env::current_exe().unwrap()), Ok(3));
        #[cfg(target_os = "linux")]
        assert_eq!(read(Path::new("/proc/self/environ")), Err(Failure::Kernel));
        #[cfg(target_os = "linux")]
        assert!(matches!(
            perform(Request::KernelFile { path: ByteBuf::from("/etc/passwd"), limit: 9 }),
            Err(Failure::Malformed(_))
        ));
    }
}
