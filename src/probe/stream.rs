//! A TCP stream with one deadline for all its reads and writes, even if single bytes arrive slowly.

use crate::collect::Deadline;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A stream with a deadline.
pub struct TimedStream {
    stream: TcpStream,
    deadline: Deadline,
}

impl TimedStream {
    /// Wraps a connected stream. Reads and writes time out until a deadline is set.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, deadline: Deadline::after(Duration::ZERO) }
    }

    /// Sets the deadline of the following reads and writes.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    fn at_once(&self) -> io::Result<Duration> {
        let wait = self.deadline.at_once();
        if wait.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(wait) }
    }

    /// Whether an attempt that ended with this error is retried.
    fn goes_on(&self, error: &io::Error) -> bool {
        match error.kind() {
            // A socket with a timeout is interrupted by any signal, and by a stop and continue (signal(7)).
            io::ErrorKind::Interrupted => true,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.deadline.goes_on(),
            _ => false,
        }
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(self.at_once()?))?;
            match self.stream.read(buffer) {
                Err(error) if self.goes_on(&error) => {}
                done => return done,
            }
        }
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.at_once()?))?;
            match self.stream.write(bytes) {
                Err(error) if self.goes_on(&error) => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
