//! Start and cleanup of a test server.

use super::{DemoError, Plan};
use crate::collect::worker::answers;
use crate::collect::{Deadline, this_host};
use crate::parse::command::DEMO_SERVER;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Maximum time until a server is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(10);

/// Process and directory to remove when the demo ends, however it ends.
#[derive(Default)]
struct Cleanup {
    child: Option<u32>,
    home: Option<PathBuf>,
}

impl Cleanup {
    /// Kills the child, which belongs to the demo, and removes the home.
    fn clear(&mut self) {
        if let Some(pid) = self.child.take().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
            // The child was not reaped yet, so the pid still belongs to it.
            let _ = kill_process(pid, Signal::KILL);
        }
        let Some(home) = self.home.take() else { return };
        // The killed process may still be finishing a write there.
        let end = Instant::now() + Duration::from_secs(2);
        while std::fs::remove_dir_all(&home).is_err() && home.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A running server.
pub struct DemoServer {
    child: Child,
    /// Closing it ends servers that are no longer our own children.
    control: Option<ChildStdin>,
    remains: Arc<Mutex<Cleanup>>,
    server: u32,
    port: u16,
    home: PathBuf,
}

impl DemoServer {
    /// Its home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Starts the server of a plan and waits until it is in the planned state.
pub fn start(plan: &Plan) -> Result<DemoServer, DemoError> {
    let remains = Arc::new(Mutex::new(Cleanup::default()));
    clear_on_signal(&remains)?;
    // Locked until everything is noted and written, so that a signal in between leaves nothing behind.
    let mut noted = lock(&remains);
    // Without this check the process would hang if $TMPDIR is on a filesystem that does not answer.
    answers(&std::env::temp_dir().join("hermes-doctor-demo"))?;
    let home = tempfile::Builder::new().prefix("hermes-doctor-demo-").tempdir()?.keep();
    noted.home = Some(home.clone());
    // An empty file is a valid, empty database; it makes the directory a Hermes home.
    std::fs::write(home.join("state.db"), b"").inspect_err(|_| noted.clear())?;
    // The port is free now. If another program takes it meanwhile, the server does not become ready and reports
    // it.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    std::fs::write(home.join("webui.ctl.env"), format!("PORT={port}\n")).inspect_err(|_| noted.clear())?;
    let mut child = Command::new(std::env::current_exe()?)
        .arg(DEMO_SERVER)
        .arg(plan.part.word())
        .args(["--port", &port.to_string(), "--home"])
        .arg(&home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .inspect_err(|_| noted.clear())?;
    noted.child = Some(child.id());
    drop(noted);
    let control = child.stdin.take();
    let output = child.stdout.take();
    let mut server = DemoServer { child, control, remains, server: 0, port, home };
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if let Some(output) = output {
            let _ = BufReader::new(output).read_line(&mut line);
        }
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(READY_TIMEOUT).unwrap_or_default();
    let ready = line.trim().strip_prefix("ready ").and_then(|pid| pid.parse().ok());
    server.server = ready.ok_or(DemoError::NotReady("process"))?;
    settle(plan, &mut server)?;
    Ok(server)
}

/// Brings the server into the state of the scenario.
fn settle(plan: &Plan, server: &mut DemoServer) -> Result<(), DemoError> {
    match plan.part {
        super::ServerPart::Stopped => {
            let pid = i32::try_from(server.child.id()).ok().and_then(Pid::from_raw);
            if let Some(pid) = pid {
                kill_process(pid, Signal::STOP).map_err(std::io::Error::from)?;
            }
        }
        // Only after the launcher has ended is the server an orphan.
        super::ServerPart::Launcher => {
            let end = Instant::now() + READY_TIMEOUT;
            while server.child.try_wait()?.is_none() {
                if Instant::now() > end {
                    return Err(DemoError::NotReady("launcher"));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            lock(&server.remains).child = None;
        }
        // The first launcher must have ended, or the server is still below its supervisor.
        super::ServerPart::Respawner => {
            let end = Instant::now() + READY_TIMEOUT;
            let host = this_host(Deadline::after(READY_TIMEOUT));
            let parent = |pid| Some(host.process(host.identify(pid).ok()?).ok()?.value.ppid);
            while parent(server.server).and_then(parent) == Some(server.child.id()) {
                if Instant::now() > end {
                    return Err(DemoError::NotReady("orphan"));
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        _ => {}
    }
    Ok(())
}

impl Drop for DemoServer {
    fn drop(&mut self) {
        drop(self.control.take());
        lock(&self.remains).clear();
        let _ = self.child.wait();
        // Servers that are not our children end when their pipe closes; wait for that.
        let end = Instant::now() + Duration::from_secs(2);
        while self.server != 0 && is_alive(self.server, self.port) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether the server still listens on its port; its pid may have been reused.
fn is_alive(pid: u32, port: u16) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // Signal 0 only checks for the process and sends nothing (kill(2)).
    let is_there = pid.is_some_and(|pid| rustix::process::test_kill_process(pid).is_ok());
    is_there && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

fn lock(remains: &Mutex<Cleanup>) -> std::sync::MutexGuard<'_, Cleanup> {
    remains.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Cleans up when the user ends the demo. One handler serves all servers, one after the other: with several
/// handlers, the first to wake could end the program before the right one has cleaned up.
fn clear_on_signal(remains: &Arc<Mutex<Cleanup>>) -> std::io::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    static CURRENT: Mutex<Option<Arc<Mutex<Cleanup>>>> = Mutex::new(None);
    let previous = CURRENT.lock().unwrap_or_else(PoisonError::into_inner).replace(Arc::clone(remains));
    if previous.is_some() {
        return Ok(());
    }
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            if let Some(remains) = CURRENT.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
                lock(remains).clear();
            }
            // By the convention of shells: 128 plus the signal number.
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
