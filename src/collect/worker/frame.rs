//! Frames: each message between the worker and its parent, after its length.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read};

/// Bytes of the length before a message.
const LENGTH_BYTES: usize = 4;
/// Largest frame, in bytes: the largest answer and its overhead.
pub const MAX_FRAME: usize = 4 * 1024 * 1024 + 64 * 1024;

/// A message as a frame.
///
/// # Errors
/// `EFBIG` where it is larger than [`MAX_FRAME`]; `InvalidData` where it cannot be encoded.
pub fn frame(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = postcard::to_extend(message, vec![0; LENGTH_BYTES]).map_err(invalid)?;
    let length = bytes.len() - LENGTH_BYTES;
    if length > MAX_FRAME {
        return Err(io::Error::from_raw_os_error(libc::EFBIG));
    }
    let length = u32::try_from(length).map_err(invalid)?.to_le_bytes();
    bytes.splice(..LENGTH_BYTES, length);
    Ok(bytes)
}

/// Reads the message of a frame. `read` fills a buffer.
///
/// # Errors
/// Those of `read`; `InvalidData` where the frame is too large or contains no such message.
pub fn read_frame<T: DeserializeOwned>(mut read: impl FnMut(&mut [u8]) -> io::Result<()>) -> io::Result<T> {
    let mut length = [0_u8; LENGTH_BYTES];
    read(&mut length)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FRAME {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = vec![0_u8; length];
    read(&mut bytes)?;
    postcard::from_bytes(&bytes).map_err(invalid)
}

/// Reads the message of a frame from a stream.
///
/// # Errors
/// As [`read_frame`].
pub fn read_from<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<T> {
    read_frame(|buffer| input.read_exact(buffer))
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
