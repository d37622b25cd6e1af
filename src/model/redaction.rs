//! What was redacted in a report.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The placeholders in a report.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redaction {
    /// `paranoid`, `default` or `none`.
    pub level: String,
    /// The placeholders. A placeholder has the same meaning in the whole report, and another meaning in another
    /// report.
    pub hidden: Vec<Hidden>,
}

/// Placeholders of one kind, for example `dir-1`, `dir-2`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hidden {
    /// The placeholder without its number; `~` for the home directory of the server's user, `***` for secrets.
    pub placeholder: String,
    /// Meaning of the placeholder, in words.
    pub stands_for: String,
    /// Number of distinct values of that kind.
    pub distinct: u64,
    /// Number of occurrences in the report.
    pub times: u64,
}
