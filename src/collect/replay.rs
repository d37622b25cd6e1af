//! Facts from a saved report instead of a host.

use crate::model::{Envelope, SCHEMA};
use std::path::Path;
use thiserror::Error;

/// Largest report that is read, in bytes.
pub const LARGEST_REPORT: usize = 64 * 1024 * 1024;

/// A report that cannot be used.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// It could not be read.
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// A directory, device or pipe.
    #[error("it is no regular file")]
    NotAFile,
    /// More than [`LARGEST_REPORT`].
    #[error("the report is larger than 64 MiB")]
    TooLarge,
    /// Not JSON, or not of this shape.
    #[error("not a hermes-doctor report: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Another format.
    #[error("the report has the format {0:?}, this program reads {SCHEMA:?}")]
    Format(String),
}

/// Reads a saved report from a file that a person named.
///
/// # Errors
/// When it cannot be read, is no regular file, or as [`read`].
pub fn read_file(path: &Path) -> Result<Envelope, ReplayError> {
    use std::io::Read;
    if !std::fs::metadata(path)?.is_file() {
        return Err(ReplayError::NotAFile);
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(LARGEST_REPORT).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    read(&bytes)
}

/// Reads a saved report.
///
/// # Errors
/// When it is too large, not JSON, or of another format.
pub fn read(bytes: &[u8]) -> Result<Envelope, ReplayError> {
    if bytes.len() > LARGEST_REPORT {
        return Err(ReplayError::TooLarge);
    }
    let envelope: Envelope = serde_json::from_slice(bytes)?;
    if envelope.schema != SCHEMA {
        return Err(ReplayError::Format(crate::parse::text::printable(envelope.schema.as_bytes())));
    }
    Ok(envelope)
}
