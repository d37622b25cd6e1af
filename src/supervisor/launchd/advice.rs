//! The commands of launchctl(1).

use crate::model::{ClaimState, Supervisor};
use crate::supervisor::advice::{Verb, quoted};

/// The command for an action.
pub fn command(claim: &Supervisor, verb: Verb) -> Option<String> {
    let scope = claim.scope.as_deref().unwrap_or_default();
    let target = quoted(&format!("{scope}/{}", claim.name.as_deref().unwrap_or_default()));
    Some(match (verb, &claim.configuration) {
        (Verb::ResetFailed, _) => return None,
        (Verb::Stop, _) => format!("launchctl bootout {target}"),
        (Verb::Start, Some(plist)) if claim.claim_state == ClaimState::Idle => {
            format!("launchctl bootstrap {} {}", quoted(scope), quoted(plist))
        }
        (Verb::Start, _) => format!("launchctl kickstart {target}"),
        (Verb::Restart, _) => format!("launchctl kickstart -k {target}"),
    })
}
