//! How descriptors change over time: the samples of a watch, and what each series was judged to do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// The descriptors of one process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Time since the first sample, in milliseconds.
    pub at_ms: u64,
    /// How many descriptors are open; `null` where not even the number could be read.
    pub open: Option<u64>,
    /// Whether every descriptor was looked at, not only counted.
    pub walked: bool,
    /// Number of descriptors by kind, as [`super::Descriptors::by_kind`]; empty when not walked.
    pub kinds: BTreeMap<String, u64>,
    /// Handles of SQLite files, one row a database; empty when not walked.
    pub families: Vec<FamilySample>,
    /// Clients connected to the server's port; `null` where they could not be counted.
    pub connected: Option<u64>,
    /// CPU time that the process has used since it started, in milliseconds.
    pub cpu_ms: Option<u64>,
}

/// Descriptors on one database and its companions at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FamilySample {
    /// Path of the database file.
    pub path: String,
    /// Descriptors on the database.
    pub db: u64,
    /// Descriptors on `-wal`.
    pub wal: u64,
    /// Descriptors on `-shm`.
    pub shm: u64,
}

/// Samples of one process, in the order of time.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trend {
    /// Soft limit of descriptors of the live process; `null` is unlimited or unknown.
    pub soft_limit: Option<u64>,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// What was counted. In JSON a string: `open`, `family:PATH`, `kind:KIND`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(from = "String", into = "String")]
pub enum Series {
    /// All descriptors.
    Open,
    /// Database and WAL descriptors of the database with this path.
    Family(String),
    /// Descriptors of one kind, a key of [`super::Descriptors::by_kind`]; `regular` without those of databases.
    Kind(String),
}

impl From<String> for Series {
    fn from(text: String) -> Self {
        match text.split_once(':') {
            Some(("family", path)) => Self::Family(path.to_owned()),
            Some(("kind", kind)) => Self::Kind(kind.to_owned()),
            _ if text == "open" => Self::Open,
            _ => Self::Kind(text),
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

/// As a person says it: `all descriptors`, `state.db`, `pipe`.
impl fmt::Display for Series {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Open => "all descriptors",
            Self::Family(path) => path.rsplit('/').next().unwrap_or(path),
            Self::Kind(kind) => kind,
        })
    }
}

/// What a series does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// It stays where it is.
    Flat,
    /// It rises and falls back, again and again.
    SawTooth,
    /// It rises and never gives anything back.
    Staircase,
    /// It falls, but each time less far down: the floor rises.
    RisingFloor,
    /// It rose and fell back once.
    Burst,
    /// The samples do not tell, or the reader does not know the word.
    #[serde(other)]
    Undecided,
}

impl Shape {
    /// Whether more and more is held.
    pub fn is_growth(self) -> bool {
        matches!(self, Self::Staircase | Self::RisingFloor)
    }
}

/// The judgement of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Growth {
    /// What was counted.
    #[schemars(regex(pattern = "^(open$|family:|kind:)"))]
    pub series: Series,
    /// What it does.
    pub shape: Shape,
    /// Descriptors at the first sample.
    pub first: u64,
    /// Descriptors at the last sample.
    pub last: u64,
    /// Most descriptors at any sample.
    pub peak: u64,
    /// The level that it started from: lowest of the first floors.
    pub floor_first: u64,
    /// The level below which it does not fall at the end: lowest of the last floors.
    pub floor_last: u64,
    /// Falls that were seen, of three descriptors and more.
    pub falls: u64,
    /// Descriptors an hour that are not given back; `null` where none are, or where it is undecided.
    pub per_hour: Option<f64>,
    /// Lower end of the 95 % interval of `per_hour`, in descriptors an hour.
    pub per_hour_low: Option<f64>,
    /// Upper end of that interval.
    pub per_hour_high: Option<f64>,
    /// Time until the soft limit of the process is reached at this rate, in milliseconds from the last sample.
    pub to_limit_ms: Option<u64>,
    /// Samples that were compared.
    pub samples: u64,
    /// Time between the first and the last of them, in milliseconds.
    pub span_ms: u64,
    /// What would decide it, where it is undecided.
    pub missing: Option<String>,
    /// Whether no client was connected at any sample; `null` where clients were not counted at every sample.
    pub idle: Option<bool>,
}
