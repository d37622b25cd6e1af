use super::*;
use crate::collect::replay;
use crate::model::{Status, id};
use crate::wording::judge;

fn server_of(fixture: &str) -> Server {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/{fixture}.json"));
    replay::read(&std::fs::read(path).unwrap()).unwrap().servers.remove(0)
}

/// The supervised server of a fixture, whose claim was read again with another pid and another fit.
fn with_claim(change: impl Fn(&mut RawClaim)) -> Server {
    let mut server = server_of("systemd-orphan");
    let lineage = server.lineage.as_mut().unwrap();
    let mut raw = RawClaim {
        claim: Supervisor { claims_this: None, ..lineage.supervisor.clone() },
        fit: Fit::This,
        ..RawClaim::default()
    };
    change(&mut raw);
    lineage.relaunch = None;
    lineage.raw_claims = vec![raw];
    judge(&mut server);
    server
}

fn is_orphan(server: &Server) -> bool {
    server.findings.iter().any(|finding| finding.id == id::ORPHANED_SERVER)
}

#[test]
fn a_saved_decision_is_not_believed() {
    let pid = server_of("systemd-orphan").pid;
    // The unit claims another process, and the saved decision is that it claims this one.
    let mut server = with_claim(|raw| raw.is_of_control_group = true);
    assert!(is_orphan(&server));
    server.lineage.as_mut().unwrap().supervisor.claims_this = Some(true);
    judge(&mut server);
    assert!(is_orphan(&server) && server.status != Status::Healthy, "{:#?}", server.lineage);
    // The other way round, the unit claims this process.
    let mut server = with_claim(|raw| (raw.is_of_control_group, raw.claim.claimed_pid) = (true, pid));
    assert!(!is_orphan(&server));
    let lineage = server.lineage.as_mut().unwrap();
    lineage.supervisor.claims_this = Some(false);
    judge(&mut server);
    assert!(!is_orphan(&server));
    assert_eq!(server.lineage.as_ref().unwrap().supervisor.claims_this, Some(true));
}

#[test]
fn a_server_that_ended_during_the_examination_keeps_its_supervisor() {
    let mut server = with_claim(|raw| (raw.is_of_control_group, raw.fit) = (true, Fit::Other));
    let before = server.lineage.clone().unwrap();
    (server.process, server.pid) = (None, None);
    judge(&mut server);
    let after = server.lineage.unwrap();
    assert_eq!((after.supervisor, after.expected), (before.supervisor, before.expected));
}

#[test]
fn a_decision_without_claims_is_compared_with_the_pid() {
    let mut server = server_of("systemd-orphan");
    let pid = server.pid;
    let lineage = server.lineage.as_mut().unwrap();
    lineage.relaunch = None;
    (lineage.supervisor.claimed_pid, lineage.supervisor.claims_this) = (pid, Some(false));
    judge(&mut server);
    assert!(!is_orphan(&server), "{:#?}", server.findings);
}

#[test]
fn a_matching_command_alone_makes_no_second_supervisor() {
    let others = |fit| {
        let mut server = with_claim(|raw| raw.is_of_control_group = true);
        let pid = server.pid;
        let lineage = server.lineage.as_mut().unwrap();
        lineage.raw_claims[0].claim.claimed_pid = pid;
        let mut second = lineage.raw_claims[0].clone();
        (second.fit, second.is_of_control_group) = (fit, false);
        (second.claim.name, second.claim.claimed_pid) = (Some("other.service".into()), Some(1));
        lineage.raw_claims.push(second);
        judge(&mut server);
        server.lineage.unwrap().claims.len()
    };
    assert_eq!([Fit::This, Fit::Rival, Fit::Likely, Fit::Other].map(others), [1, 1, 0, 0]);
}

#[test]
fn one_program_of_several_is_the_active_one() {
    let mut server = with_claim(|_| ());
    let lineage = server.lineage.as_mut().unwrap();
    let named = |name: &str, claim_state| RawClaim {
        claim: Supervisor { name: Some(name.into()), claim_state, ..lineage.raw_claims[0].claim.clone() },
        ..lineage.raw_claims[0].clone()
    };
    lineage.raw_claims = vec![
        named("idle", ClaimState::Idle),
        named("restarting", ClaimState::Restarting),
        named("gave-up", ClaimState::GaveUp),
    ];
    judge(&mut server);
    assert_eq!(server.lineage.unwrap().supervisor.name.as_deref(), Some("restarting"));
}
