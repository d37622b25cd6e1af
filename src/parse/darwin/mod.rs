//! Structures that the kernel of macOS fills in for sysctl(3) and libproc, read as bytes by the offsets of
//! Apple's public headers.
//!
//! The calls are in `collect/macos/`. The code that interprets their results is here, and is compiled and
//! tested on every system. All supported Macs are little-endian and have 64-bit layouts.

pub mod descriptor;
pub(crate) mod layout;
pub mod procargs;
pub mod process;
pub mod socket;

use super::ParseError;

/// One structure as the kernel filled it in, with the size from the headers. A newer kernel may append fields.
#[derive(Clone, Copy)]
struct Image<'a>(&'a [u8]);

impl<'a> Image<'a> {
    fn new(bytes: &'a [u8], size: usize, what: &'static str) -> Result<Self, ParseError> {
        let short = || ParseError::new(what, format!("{} bytes instead of {size}", bytes.len()));
        bytes.get(..size).map(Self).ok_or_else(short)
    }

    fn array<const N: usize>(self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(|rest| rest.first_chunk()).copied().unwrap_or([0; N])
    }

    fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.array(at))
    }

    fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }

    fn i32(self, at: usize) -> i32 {
        i32::from_le_bytes(self.array(at))
    }

    fn u64(self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }

    /// A string in a field of fixed size. Without a terminator it fills the whole field.
    fn text(self, at: usize, size: usize) -> &'a [u8] {
        let field = self.0.get(at..).map_or(&[][..], |rest| rest.get(..size).unwrap_or(rest));
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}
