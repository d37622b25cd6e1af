//! Changes of descriptors over time: the samples, and the classification of each series.

use super::{HostPath, Note, Symbol};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The descriptors of one process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Time since the first sample, in milliseconds.
    pub at_ms: u64,
    /// Number of open descriptors; `null` if not even the number could be read.
    pub open: Option<u64>,
    /// Whether every descriptor was read, not only counted.
    pub walked: bool,
    /// Number of descriptors by kind, as in [`super::Descriptors::by_kind`]; empty if not walked.
    pub kinds: BTreeMap<Symbol, u64>,
    /// Handles of SQLite files, one row per database; empty if not walked.
    pub families: Vec<FamilySample>,
    /// Clients connected to the server's port; `null` if they could not be counted.
    pub connected: Option<u64>,
    /// CPU time that the process has used since it started, in milliseconds.
    pub cpu_ms: Option<u64>,
}

/// Descriptors on one database and its companion files at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FamilySample {
    /// Path of the database file.
    pub path: HostPath,
    /// Descriptors on the database.
    pub db: u64,
    /// Descriptors on `-wal`.
    pub wal: u64,
    /// Descriptors on `-shm`.
    pub shm: u64,
}

/// Samples of one process, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// Soft limit of descriptors of the live process; `null` is unlimited or unknown.
    pub soft_limit: Option<u64>,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// The series that was counted. In JSON a string: `open`, `family:PATH`, `kind:KIND`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
pub enum Series {
    /// All descriptors.
    Open,
    /// Database and WAL descriptors of the database with this path.
    Family(HostPath),
    /// Descriptors of one kind, a key of [`super::Descriptors::by_kind`]; `regular` without those of databases.
    Kind(Symbol),
}

impl From<String> for Series {
    fn from(text: String) -> Self {
        match text.split_once(':') {
            Some(("family", path)) => Self::Family(path.into()),
            Some(("kind", kind)) => Self::Kind(kind.into()),
            _ if text == "open" => Self::Open,
            _ => Self::Kind(text.into()),
        }
    }
}

impl From<Series> for String {
    fn from(series: Series) -> Self {
        match series {
            Series::Open => "open".into(),
            Series::Family(path) => format!("family:{path}"),
            Series::Kind(kind) => format!("kind:{kind}"),
        }
    }
}

/// The series in words for the user: `all descriptors`, `state.db`, `pipe`.
impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "all descriptors",
            Self::Family(path) => path.rsplit('/').next().unwrap_or(path),
            Self::Kind(kind) => kind,
        })
    }
}

/// The shape of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// It stays at its level.
    Flat,
    /// It rises and falls back repeatedly.
    SawTooth,
    /// It rises and never falls.
    Staircase,
    /// It falls back, but to a higher level each time: the floor rises.
    RisingFloor,
    /// It rose and fell back once.
    Burst,
    /// The samples do not show a shape, or the reader does not know the value.
    #[serde(other)]
    Undecided,
}

impl Shape {
    /// Whether the number of open descriptors grows.
    pub fn is_growth(self) -> bool {
        matches!(self, Self::Staircase | Self::RisingFloor)
    }
}

/// The classification of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// The series.
    #[schemars(regex(pattern = "^(open$|family:|kind:)"))]
    pub series: Series,
    /// Its shape.
    pub shape: Shape,
    /// Number of descriptors at the first sample.
    pub first: u64,
    /// Number of descriptors at the last sample.
    pub last: u64,
    /// Largest number of descriptors in any sample.
    pub peak: u64,
    /// The level at the start: the lowest of the first floors.
    pub floor_first: u64,
    /// The level that it does not fall below at the end: the lowest of the last floors.
    pub floor_last: u64,
    /// Number of falls by three or more descriptors.
    pub falls: u64,
    /// Growth in descriptors per hour; `null` if there is none, or if it is undecided.
    pub per_hour: Option<f64>,
    /// Lower end of the 95 % interval of `per_hour`, in descriptors per hour.
    pub per_hour_low: Option<f64>,
    /// Upper end of that interval.
    pub per_hour_high: Option<f64>,
    /// Time until the soft limit of the process is reached at this rate, in milliseconds from the last sample.
    pub to_limit_ms: Option<u64>,
    /// Samples that were compared.
    pub samples: u64,
    /// Time between the first and the last of them, in milliseconds.
    pub span_ms: u64,
    /// What is missing for a decision, if it is undecided.
    pub missing: Option<Note>,
    /// Whether no client was connected at any sample; `null` if clients were not counted at every sample.
    pub idle: Option<bool>,
}
