//! Facts from a saved report instead of a host.

use crate::model::{Envelope, SCHEMA};
use thiserror::Error;

/// Largest report that is read, in bytes.
pub const LARGEST_REPORT: usize = 64 * 1024 * 1024;

/// A report that cannot be used.
#[derive(Debug, Error)]
pub enum ReplayError {
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
