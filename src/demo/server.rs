//! The test servers: the behaviour of each process until its standard input closes.

use super::ServerPart;
use crate::parse::command::DEMO_SERVER;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit, setsid};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

/// Descriptors of the leaking server: the numbers of a real report, 119 on the database and 113 on its WAL.
const LEAKED: [(&str, usize); 3] = [("state.db", 119), ("state.db-wal", 113), ("state.db-shm", 1)];

/// Runs a role and returns the exit status.
pub fn play(part: ServerPart, port: Option<u16>, home: Option<&Path>) -> u8 {
    let (Some(port), Some(home)) = (port, home) else { return 1 };
    end_with_standard_input();
    // A stopped server does not notice the end of its input. Detached servers lose their parent early and must
    // not end with it.
    #[cfg(target_os = "linux")]
    if part != ServerPart::Detached {
        let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    }
    match perform(part, port, home) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// Ends the process when the pipe closes, which happens however the demo ends.
fn end_with_standard_input() {
    std::thread::spawn(|| {
        let mut buffer = [0_u8; 64];
        while io::stdin().read(&mut buffer).is_ok_and(|count| count > 0) {}
        std::process::exit(0);
    });
}

fn perform(part: ServerPart, port: u16, home: &Path) -> io::Result<()> {
    match part {
        ServerPart::Launcher => return launch(port, home),
        ServerPart::Respawner => return respawn(port, home),
        ServerPart::Detached => drop(setsid()),
        ServerPart::Leak => limit(256)?,
        ServerPart::Ceiling => limit(128)?,
        ServerPart::CloseWait => limit(1024)?,
        _ => {}
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    if part != ServerPart::Foreign {
        std::fs::write(home.join("webui.pid"), format!("{}\n", std::process::id()))?;
    }
    let started = Instant::now();
    match part {
        ServerPart::Leak => {
            let held = leak(home)?;
            ready();
            serve(&listener, started, held.len())
        }
        ServerPart::Ceiling => {
            let held = fill_with_sockets(&listener);
            ready();
            spin_at_the_ceiling(&listener, &held)
        }
        ServerPart::Mute => {
            let clients: Vec<TcpStream> =
                (0..3).map(|_| TcpStream::connect((Ipv4Addr::LOCALHOST, port))).collect::<io::Result<_>>()?;
            ready();
            sleep_for_ever(&clients)
        }
        ServerPart::Deadlock => serve_locked(&listener, started, |_| true),
        ServerPart::LockedRoute => serve_locked(&listener, started, |path| path.starts_with("/api/sessions")),
        ServerPart::FullPipe => serve_into_a_pipe(&listener, started),
        ServerPart::SilentClose => {
            ready();
            for stream in listener.incoming().flatten() {
                // Read first: closing with unread bytes would reset the connection instead.
                let _ = read_request(&stream);
            }
            Ok(())
        }
        ServerPart::CloseWait => {
            let held = connections_that_the_peer_closed(60)?;
            ready();
            serve(&listener, started, held.len())
        }
        ServerPart::Foreign => {
            ready();
            for stream in listener.incoming().flatten() {
                let _ = read_request(&stream);
                let _ = (&stream)
                    .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            Ok(())
        }
        #[cfg(feature = "tls")]
        ServerPart::Tls => serve_tls(&listener, started),
        _ => {
            ready();
            serve(&listener, started, 0)
        }
    }
}

/// Reports to the demo that the server is ready.
fn ready() {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "ready {}", std::process::id());
    let _ = out.flush();
}

fn limit(soft: u64) -> io::Result<()> {
    let old = getrlimit(Resource::Nofile);
    let soft = old.maximum.map_or(soft, |hard| soft.min(hard));
    setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum: old.maximum })?;
    Ok(())
}

fn leak(home: &Path) -> io::Result<Vec<File>> {
    let mut held = Vec::new();
    for (name, count) in LEAKED {
        let path = home.join(name);
        if !path.exists() {
            std::fs::write(&path, b"")?;
        }
        for _ in 0..count {
            held.push(File::open(&path)?);
        }
    }
    Ok(held)
}

/// Connects to itself until no descriptor is left.
fn fill_with_sockets(listener: &TcpListener) -> Vec<TcpStream> {
    let mut held = Vec::new();
    let Ok(address) = listener.local_addr() else { return held };
    while let Ok(client) = TcpStream::connect(address) {
        held.push(client);
        match listener.accept() {
            Ok((stream, _)) => held.push(stream),
            Err(_) => break,
        }
    }
    // Uses the remaining descriptors one by one: the last one blocks the server.
    while let Ok(copy) = listener.try_clone() {
        if held.len() > 100_000 {
            break;
        }
        // A copy is a full descriptor; it stays open as long as the server lives.
        std::mem::forget(copy);
    }
    held
}

/// The behaviour of an accept loop when accept fails: it retries at once.
fn spin_at_the_ceiling(listener: &TcpListener, _held: &[TcpStream]) -> io::Result<()> {
    loop {
        if listener.accept().is_ok() {
            return Err(io::Error::other("the descriptor limit was not reached"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn sleep_for_ever(_clients: &[TcpStream]) -> io::Result<()> {
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn connections_that_the_peer_closed(count: usize) -> io::Result<Vec<TcpStream>> {
    let peer = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = peer.local_addr()?;
    let mut held = Vec::new();
    for _ in 0..count {
        let client = TcpStream::connect(address)?;
        // Accepted and dropped: the peer closes, this end does not.
        drop(peer.accept()?);
        held.push(client);
    }
    Ok(held)
}

/// One thread per connection; the handlers of the chosen paths wait for a lock that another thread holds.
fn serve_locked(listener: &TcpListener, started: Instant, is_locked: fn(&str) -> bool) -> io::Result<()> {
    let lock = Arc::new(Mutex::new(()));
    let (keeper, (sender, receiver)) = (Arc::clone(&lock), mpsc::channel());
    std::thread::spawn(move || {
        let _kept = keeper.lock();
        let _ = sender.send(());
        std::thread::sleep(Duration::from_secs(3600));
    });
    let _ = receiver.recv();
    ready();
    for stream in listener.incoming().flatten() {
        let lock = Arc::clone(&lock);
        std::thread::spawn(move || {
            let head = read_request(&stream).unwrap_or_default();
            let head = String::from_utf8_lossy(&head);
            let _taken = is_locked(head.split(' ').nth(1).unwrap_or_default()).then(|| lock.lock());
            let _ = (&stream).write_all(answer(started, 1).as_bytes());
        });
    }
    Ok(())
}

/// Each handler first writes a line to the log, a pipe without a reader.
fn serve_into_a_pipe(listener: &TcpListener, started: Instant) -> io::Result<()> {
    let (reader, writer) = io::pipe()?;
    ready();
    for stream in listener.incoming().flatten() {
        let mut log = writer.try_clone()?;
        std::thread::spawn(move || {
            let _ = read_request(&stream);
            let _ = log.write_all(&vec![b'.'; 256 * 1024]);
            let _ = (&stream).write_all(answer(started, 1).as_bytes());
        });
    }
    drop(reader);
    Ok(())
}

fn read_request(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    read_head(&mut stream)
}

fn read_head(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut buffer = [0_u8; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < 64 * 1024 {
        match stream.read(&mut buffer)? {
            0 => break,
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(head)
}

/// The health response of a real WebUI, with the fields that matter here.
fn answer(started: Instant, served: u64) -> String {
    let body = format!(
        "{{\"status\": \"ok\", \"sessions\": 1, \"active_streams\": 0, \"uptime_seconds\": {:.1}, \"accept_loop\": {{\"requests_total\": {served}}}}}",
        started.elapsed().as_secs_f64()
    );
    format!(
        "HTTP/1.1 200 OK\r\nServer: HermesWebUI/demo\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

fn serve(listener: &TcpListener, started: Instant, _held: usize) -> io::Result<()> {
    let mut served = 0;
    for stream in listener.incoming().flatten() {
        served += 1;
        if read_request(&stream).is_ok() {
            let _ = (&stream).write_all(answer(started, served).as_bytes());
        }
    }
    Ok(())
}

#[cfg(feature = "tls")]
fn serve_tls(listener: &TcpListener, started: Instant) -> io::Result<()> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).map_err(io::Error::other)?;
    let key =
        rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    let config = Arc::new(config);
    ready();
    let mut served = 0;
    for stream in listener.incoming().flatten() {
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let connection = rustls::ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(connection, stream);
        if read_head(&mut stream).is_ok() {
            served += 1;
            let _ = stream.write_all(answer(started, served).as_bytes());
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
    }
    Ok(())
}

/// Starts a server in a session of its own, waits until the port answers, and ends. Its exit status is success
/// whichever process answered, as with the real launcher.
fn launch(port: u16, home: &Path) -> io::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if !answers(address) {
        // The server inherits both pipes: it reports that it is ready, and ends when the first closes.
        Command::new(std::env::current_exe()?)
            .arg(DEMO_SERVER)
            .arg(ServerPart::Detached.word())
            .args(["--port", &port.to_string(), "--home"])
            .arg(home)
            .stderr(Stdio::null())
            .spawn()?;
    }
    let end = Instant::now() + Duration::from_secs(5);
    while !answers(address) && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    // A real launcher takes seconds; this is long enough to appear in the process table.
    std::thread::sleep(Duration::from_millis(250));
    Ok(())
}

fn answers(address: SocketAddr) -> bool {
    let ask = || -> io::Result<usize> {
        let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_read_timeout(Some(Duration::from_millis(500)))?;
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.read(&mut [0_u8; 64])
    };
    ask().is_ok_and(|count| count > 0)
}

/// A small supervisor: each time the launcher has ended, it starts it again.
fn respawn(port: u16, home: &Path) -> io::Result<()> {
    loop {
        Command::new(std::env::current_exe()?)
            .arg(DEMO_SERVER)
            .arg(ServerPart::Launcher.word())
            .args(["--port", &port.to_string(), "--home"])
            .arg(home)
            .stderr(Stdio::null())
            .status()?;
        std::thread::sleep(Duration::from_millis(250));
    }
}
