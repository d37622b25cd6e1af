//! Errors of the operating system.

use std::fmt;
use std::str::FromStr;

/// The largest number of an error on Linux and macOS, errno(3).
const LAST: i32 = 133;

/// An error of a system call by its number, errno(3). Its text is that of strerror(3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SystemError(pub i32);

impl fmt::Display for SystemError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = std::io::Error::from_raw_os_error(self.0).to_string();
        // The standard library appends the number, which adds nothing to the text.
        formatter.write_str(text.split(" (os error ").next().unwrap_or_default())
    }
}

impl FromStr for SystemError {
    type Err = ();

    /// The error with this text.
    ///
    /// # Errors
    /// The text is that of no error.
    fn from_str(text: &str) -> Result<Self, ()> {
        (1..=LAST).map(Self).find(|error| error.to_string() == text).ok_or(())
    }
}
