//! Model types: plain facts, findings and the report, shared by all modules. No I/O and no diagnosis here.
//!
//! No field depends on the operating system, so the JSON has one form on all systems. A fact that a system
//! cannot provide is `null`, with a [`Gap`].

mod activity;
mod claim;
mod claim_state;
mod descriptors;
mod envelope;
mod exercise;
mod finding;
mod gap;
mod gap_detail;
mod gap_subject;
mod health;
mod history;
mod host_path;
mod host_text;
pub mod id;
mod lineage;
mod log;
mod note;
mod port;
mod process;
mod redaction;
mod resources;
mod sentence;
mod source;
mod sqlite;
mod stacks;
mod supervisor_kind;
mod system_error;
pub mod text;
mod time;
mod trend;
mod visit;
mod worded;

pub use activity::{Activity, Pipe, PipeReader, SystemCall, Thread, ThreadSample};
pub use claim::{Fit, RawClaim};
pub use claim_state::ClaimState;
pub use descriptors::{
    CEILING_CRITICAL, CEILING_WARNING, CloseWait, CloseWaitPeer, Descriptors, SocketDescriptor, SqliteFamily,
    Target,
};
pub use envelope::{
    Demonstration, Envelope, Expectation, Explanation, HostFacts, Part, Replayed, SCHEMA, Server, ServerKind, Tool,
};
pub use exercise::{Batch, Exercise, PathCost};
pub use finding::{
    DatabaseFinding, DatabaseProblem, DescriptorFinding, Doing, Exchange, Finding, HttpFinding, HttpProblem,
    LevelOf, LineageFinding, LockFinding, MalformedFinding, PortFinding, PortProblem, ProcessFinding, Raised,
    ResourceFinding, RouteFinding, RouteProblem, SampledThread, Severity, Status, TaskLimit, TrendFacts, WaitsFor,
    Watched, WedgeFinding, WedgeProblem, may_cause,
};
pub use gap::{Gap, GapReason};
pub use gap_detail::GapDetail;
pub use gap_subject::GapSubject;
pub use health::{
    Attempt, Health, HealthAnswer, HealthSeries, Outcome, OutcomeCount, Phase, PhaseName, PhaseTimes, Route,
    TimeBucket,
};
pub use history::{History, Record};
pub use host_path::HostPath;
pub use host_text::{
    Address, CommandLine, DescriptorTarget, HostName, KernelSymbol, LogSource, LogText, OwnTerm, ProgramName,
    PythonSymbol, ServerVersion, SupervisorTerm, Symbol, TextKind, ThreadName, Url, UserName, Version,
};
pub use lineage::{Expected, Hop, Lineage, Relaunch, Role, Sibling, Supervisor};
pub use log::{LogClass, LogClassFacts, LogFacts};
pub use note::Note;
pub use port::{Connections, Holder, Listener, Listeners, PortSample};
pub use process::{Identity, MARKERS, PidFile, PidFileState, Process, ProcessState};
pub use redaction::{Hidden, Redaction};
pub use resources::{HostLimits, MemoryGroup, Pressure, ProcessLimits, Resources, TaskGroup};
pub use source::{Os, ProcessFile, Source};
pub use sqlite::{
    DatabaseFile, DatabaseHeader, DatabaseHolder, DatabaseLock, FileStamp, LockRole, SecondSample, WalFile,
    WalHeader, WalIndex,
};
pub use stacks::{
    LockHolder, LockWait, MAX_FRAMES, MAX_THREADS, PythonSample, PythonStack, PythonThread, StackFrame, StackGroup,
    StackRole, StackThread, Stacks,
};
pub use supervisor_kind::SupervisorKind;
pub use system_error::SystemError;
pub use time::{Timestamp, whole_milliseconds};
pub use trend::{FamilySample, Growth, Sample, Series, Shape, Trend};
pub use visit::{Visited, Visitor};
pub use worded::{Evidence, NextStep, Row, WordedFinding};
