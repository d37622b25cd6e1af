//! The framing of npm `amp`, which pm2 uses: one byte with version and number of arguments, then each argument after its
//! length.

use super::ParseError;

/// Largest message that is accepted, in bytes. A program takes about twice the size of its environment.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;

/// Version of the framing, in the upper half of a message's first byte (npm `amp`, `lib/encode.js`).
pub const VERSION: u8 = 1;
/// The part that an error of the framing names.
pub const MESSAGE: &str = "pm2 message";

/// The first message of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its length in bytes.
    pub length: usize,
    /// Its arguments.
    pub arguments: Vec<&'a [u8]>,
}

/// The first message, or `None` while it is incomplete.
///
/// # Errors
/// When the bytes cannot become a message, or it is larger than [`MAX_MESSAGE_BYTES`].
pub fn frame(bytes: &[u8]) -> Result<Option<Frame<'_>>, ParseError> {
    let Some((meta, mut rest)) = bytes.split_first() else { return Ok(None) };
    if meta >> 4 != VERSION {
        return Err(ParseError::new(MESSAGE, format!("framing of version {} instead of {VERSION}", meta >> 4)));
    }
    let count = usize::from(meta & 0xf);
    if count == 0 {
        return Err(ParseError::new(MESSAGE, "it has no arguments"));
    }
    let mut length = 1_usize;
    let mut arguments = Vec::with_capacity(count);
    for _ in 0..count {
        let Some((head, tail)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let size = usize::try_from(u32::from_be_bytes(*head)).unwrap_or(usize::MAX);
        length = length.saturating_add(4).saturating_add(size);
        if length > MAX_MESSAGE_BYTES {
            return Err(ParseError::new(MESSAGE, format!("larger than {MAX_MESSAGE_BYTES} bytes")));
        }
        let Some((argument, tail)) = tail.split_at_checked(size) else { return Ok(None) };
        arguments.push(argument);
        rest = tail;
    }
    Ok(Some(Frame { length, arguments }))
}
