//! What was hidden in a report before it left.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How much was hidden, and what.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Redaction {
    /// `paranoid`, `default` or `none`.
    pub level: String,
    /// What stands in the place of something else; a placeholder means the same thing in the whole report, and
    /// something else in another report.
    pub hidden: Vec<Hidden>,
}

/// Placeholders of one kind, for example `dir-1`, `dir-2`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Hidden {
    /// The placeholder without its number; `~` for the home of the server's user, `***` for secrets.
    pub placeholder: String,
    /// What it stands for, in words.
    pub stands_for: String,
    /// Different things of that kind.
    pub distinct: u64,
    /// How often they stood in the report.
    pub times: u64,
}
