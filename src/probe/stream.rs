//! A TCP stream whose every read and write ends at one deadline, also when bytes drip.

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
    /// Wraps a connected stream; nothing is allowed before a deadline is set.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, deadline: Deadline::after(Duration::ZERO) }
    }

    /// Sets the deadline of all that follows.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.deadline = deadline;
    }

    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.remaining();
        if remaining.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(remaining) }
    }
}

impl Read for TimedStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // A socket with a time-out is interrupted by any signal, also by being stopped and continued (signal(7)).
        loop {
            self.stream.set_read_timeout(Some(self.remaining()?))?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

impl Write for TimedStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.remaining()?))?;
            match self.stream.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}
