//! Sentences of facts other than gaps: evidence of a role or claim, reasons, events.

use super::sentence::sentences;
use super::{CommandLine, GapDetail, HostPath, LogText, ProgramName, SupervisorKind, SupervisorTerm, Url};

impl Note {
    /// Whether it is an option that named the server.
    pub fn is_option(&self) -> bool {
        matches!(
            self,
            Self::NamedByExpect { .. }
                | Self::NamedByHome { .. }
                | Self::NamedByKind { .. }
                | Self::NamedByPid { .. }
                | Self::NamedByPort { .. }
                | Self::NamedByUrl { .. }
        )
    }

    /// Whether it is `--port`.
    pub fn is_port(&self) -> bool {
        matches!(self, Self::NamedByPort { .. })
    }

    /// Whether it is `--url`.
    pub fn is_url(&self) -> bool {
        matches!(self, Self::NamedByUrl { .. })
    }
}

sentences! {
    /// A sentence of a fact. A text is the first of them that it fits.
    pub enum Note {
        Nothing => "",
        NoSupervisor => "none",
        // How a server was named, and why it is expected on its port.
        NamedByHome { path: HostPath } => "--home {path}",
        NamedByKind { kind: ProgramName } => "--kind {kind}",
        NamedByPid { pid: u32 } => "--pid {pid}",
        NamedByPort { port: u16 } => "--port {port}",
        NamedByUrl { url: Url } => "--url {url}",
        NamedByExpect { kind: SupervisorKind, name: ProgramName } => "--expect {kind}:{name}",
        NamedByClaim { kind: SupervisorKind, name: ProgramName, evidence: Box<Note> } => "{kind} {name} ({evidence})",
        PortByDefault { kind: ProgramName } => "the default port of {kind}",
        PortByFile { file: HostPath } => "{file} names the port",
        PortByClaim { claim: Box<Note> } => "{claim} names the port",
        PortByPid { port: u16, pid: u32 } => "--port {port} was given with --pid {pid}",
        // The role of a process.
        ExaminedProcess => "the examined process",
        Demonstration => "this program's demonstration",
        CommandLineAlone => "its command line",
        CommandOfServer { kind: ProgramName } => "its command line is a server of {kind}",
        CommandOfLauncher { kind: ProgramName } => "its command line is a launcher of {kind}",
        CommandOfLoop { kind: ProgramName } => "its command line is a respawn loop of {kind}",
        LogPrefixer => "its command line is a log prefixer around another command",
        Pm2Title => "its title is PM2's daemon",
        Pm2Foreground => "its command line is pm2 in the foreground",
        ProcessName { name: ProgramName } => "process name \"{name}\"",
        FirstProcess => "pid 1",
        UserManager => "the user's service manager; it adopts that user's orphans",
        ManagerBelowInit => "a service manager below another init",
        NoKnownKind => "none of the known kinds",
        // The decision about a claim. These sentences contain others, so they come first.
        SamePort { evidence: Box<Note> } => "{evidence}, configured for the same port",
        NotQueried { why: GapDetail } => "it could not be asked: {why}",
        NoneExpected => "none was expected",
        NoParentNoService => "no supervisor among its parents, and its control group is no service",
        NoParentNoName => "no supervisor among its parents, and none names it",
        NotConfigured => "no supervisor of this host is configured for it",
        ItClaims { evidence: Box<Note> } => "it claims this server: {evidence}",
        CommandIsServer { evidence: Box<Note> } => "its command is this server ({evidence})",
        CommandIsServerAlone => "its command is this server",
        LoopStarts { pid: u32 } => "pid {pid} starts this server, and this process is not below it",
        LoopOfServer { pid: u32 } => "pid {pid} is a loop whose command is this server",
        IsParent { pid: u32, evidence: Box<Note> } => "pid {pid} ({evidence}) is its parent",
        IsParentThrough { pid: u32, evidence: Box<Note> } => "pid {pid} ({evidence}) is its parent through wrappers",
        SaysPid { evidence: Box<Note>, pid: u32 } => "{evidence} says pid {pid}",
        SaysPidParent { evidence: Box<Note>, pid: u32 } => "{evidence} says pid {pid}, its parent",
        SaysPidAbove { evidence: Box<Note>, pid: u32 } => "{evidence} says pid {pid}, above it through wrappers",
        SaysState { evidence: Box<Note>, state: SupervisorTerm } => "{evidence} says {state}",
        MainPid { unit: ProgramName, pid: u32 } => "MainPID of {unit} is {pid}",
        MainPidOther { unit: ProgramName, pid: u32 } => "MainPID of {unit} is {pid}, not this process",
        MainPidNone { unit: ProgramName } => "MainPID of {unit} is none, not this process",
        MainPidOtherEarlier { unit: ProgramName, pid: u32 } => "MainPID of {unit} is {pid}, not this process; its INVOCATION_ID is an earlier one of the unit",
        MainPidNoneEarlier { unit: ProgramName } => "MainPID of {unit} is none, not this process; its INVOCATION_ID is an earlier one of the unit",
        StartedBelow { unit: ProgramName } => "it was started below {unit}, which runs something else",
        OneshotActive { unit: ProgramName } => "{unit} is a oneshot unit that has started it and remains active; nothing restarts it",
        OneshotFinished { unit: ProgramName } => "it was started by {unit}, a oneshot unit that has finished",
        InItsControlGroup => "it is in that unit's control group, and the unit's command is this server",
        ControlGroupOfUnit => "its control group is that unit's",
        ManagerNotQueried { unit: ProgramName } => "its control group is that of {unit}, whose manager could not be asked",
        CurrentInvocation { unit: ProgramName } => "its INVOCATION_ID is the current one of {unit}",
        EarlierInvocation { unit: ProgramName } => "its INVOCATION_ID is an earlier one of {unit}",
        FirstOfContainer => "it is the first process of its container",
        InContainer => "its control group is a container's",
        ContainerNotQueried { evidence: Box<Note>, why: GapDetail } => "{evidence}, {why}",
        ContainerRunsOther { evidence: Box<Note>, claim: Box<Note> } => "{evidence}, and {claim} runs another process",
        ContainerNames { evidence: Box<Note>, claim: Box<Note> } => "{evidence}, and {claim} names it",
        NotTheNamed => "this process is not the one that it names",
        NamesItsPid { kind: SupervisorKind } => "{kind} names its pid",
        // What was read of a claim.
        ByFile { path: HostPath, claim: CommandLine } => "{path}, and launchctl print {claim} finds no such job",
        ByLaunchctl { claim: CommandLine } => "launchctl print {claim}",
        ByProcess { pid: u32 } => "process {pid}",
        BySocket { kind: SupervisorKind, path: HostPath } => "{kind} on {path}",
        BySystemctl { unit: ProgramName } => "systemctl show {unit}",
        BySystemctlOfUser { unit: ProgramName } => "systemctl --user show {unit}",
        ByPath { path: HostPath } => "{path}",
        NotReported => "not reported",
        NoSuchProcess => "no such process",
        // Why a server counts as detached.
        NoProcess => "there is no process",
        DoesNotRun => "it does not run",
        AdoptedLeader => "its parent is the init or user manager, and it leads a session of its own",
        Adopted => "its parent is the init or user manager",
        ParentIsFirst => "its parent is pid 1",
        LeadsSession => "it leads a session of its own, and its parent still waits for it",
        InParentsSession => "it is in its parent's session",
        // Limitations of an HTTP examination.
        OneRequestOnly => "over 80 % of the descriptor limit: one request only, because each accepted connection takes a descriptor",
        NoTcpPort => "the process listens on no TCP port",
        PortUnknown => "it does not run, and its port is not known",
        SocketActivation => "the service manager holds the port and starts the service at the first connection; no request was sent",
        StandardStreams => "it uses standard input and output",
        GatewayWithoutApi => "a gateway without its API server listens on no port",
        ListensNowhere => "it listens on no TCP port",
        // What is missing for a decision about a trend.
        ThreeSamples { count: usize } => "three samples at least; there are {count}",
        LongerOneStep => "a longer look: it rose at one step, which may be the last",
        LongerCeased => "a longer look: it has risen and ceased to",
        UnevenSamples => "samples at uneven intervals: at even ones a saw-tooth can look like this",
        LongerFlank { rise: u64 } => "a longer look: +{rise} and nothing given back yet, as on the rising flank of a saw-tooth",
        MoreFalls { rise: u64, falls: usize } => "more falls to compare: the floor has risen by {rise}, over {falls}",
        AtThisPace { missing: Box<Note>, limit: u64, time: LogText } => "{missing}; at this pace {limit} is reached in {time}",
        // Why no holder of a lock is reported.
        AnotherLockEachTime => "its expression can give another lock each time",
        WaiterInside => "only a thread that waits stands inside a block of that name: it took the lock twice, or that is another object's",
        NobodyInside => "no thread stands inside a block of that lock",
        SeveralInside { count: usize } => "{count} threads stand inside blocks of a lock of that name; it can be any of them",
        // Changes between two samples of a record.
        FirstSample { state: LogText } => "first sample: {state}",
        StartedAgain { old: u32, new: u32 } => "started again: pid {old} became {new}",
        Ended { pid: u32 } => "ended: pid {pid}",
        Started { pid: u32 } => "started: pid {pid}",
        Restarts { new: u64, more: u64 } => "{new} restarts by its supervisor, {more} more",
        Became { before: LogText, now: LogText } => "{before} became {now}",
        FullReport { path: HostPath } => "full report: {path}",
        // Why no request was sent.
        OfGap { detail: GapDetail } => "{detail}",
        // A supervisor and its program.
        Title { kind: SupervisorKind, name: ProgramName } => "{kind} {name}",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_in_a_sentence_is_found() {
        let launchctl = Note::ByLaunchctl { claim: "gui/501/ai.hermes".into() };
        let systemctl = Note::BySystemctl { unit: "a.service".into() };
        let socket = Note::BySocket { kind: SupervisorKind::Docker, path: "/run/docker.sock".into() };
        for note in [
            Note::SaysPid { evidence: Box::new(launchctl.clone()), pid: 7 },
            Note::SaysPidParent { evidence: Box::new(launchctl.clone()), pid: 7 },
            Note::SaysState { evidence: Box::new(systemctl.clone()), state: "active (running)".into() },
            Note::SamePort { evidence: Box::new(systemctl.clone()) },
            Note::ItClaims { evidence: Box::new(Note::SaysPid { evidence: Box::new(launchctl), pid: 7 }) },
            Note::CommandIsServer { evidence: Box::new(systemctl) },
            Note::IsParent { pid: 7, evidence: Box::new(Note::ProcessName { name: "runsv".into() }) },
            Note::ContainerNames { evidence: Box::new(Note::InContainer), claim: Box::new(socket) },
            Note::OfGap { detail: GapDetail::OtherNetwork },
            Note::NotQueried { why: GapDetail::RuntimeBelow { uid: 1000 } },
        ] {
            assert_eq!(Note::from(note.to_string()), note);
        }
        let foreign = "ann says hello";
        assert_eq!(Note::from(foreign), Note::Text(foreign.into()));
    }
}
