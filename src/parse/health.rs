//! The health responses of each kind and version of Hermes server.
//!
//! WebUI `/health`: `status`, `sessions`, `active_streams`, `uptime_seconds`; from v0.50.297 `accept_loop` and,
//! with `?deep=1`, `checks`. Gateway `/health`: `status`, `platform`. Dashboard and serve `/api/status`:
//! `version` and, depending on the version, `gateway_running`, `hermes_home` …

use crate::model::text::printable;
use crate::model::{HealthAnswer, Outcome, ServerKind};
use serde_json::Value;

/// Health path of each kind.
pub fn health_path(kind: ServerKind, deep: bool) -> &'static str {
    match kind {
        ServerKind::Webui if deep => "/health?deep=1",
        ServerKind::Webui | ServerKind::Gateway => "/health",
        ServerKind::Dashboard | ServerKind::Serve => "/api/status",
        ServerKind::Mcp | ServerKind::Other => "/",
    }
}

/// Other paths that are cheap for each kind of server and write nothing: the list where a user would first see
/// that the server hangs. The other paths of a dashboard or a gateway are expensive or require a key.
pub fn usual_routes(kind: ServerKind) -> &'static [&'static str] {
    match kind {
        ServerKind::Webui => &["/api/sessions"],
        _ => &[],
    }
}

/// Classifies one complete HTTP response.
///
/// This reads the protocol and gives no verdict. `diagnose` decides what the outcome means for the server.
pub fn read_answer(
    kind: ServerKind,
    status: u16,
    server_header: Option<&str>,
    body: &[u8],
) -> (Outcome, Option<HealthAnswer>) {
    if matches!(status, 401 | 403) || (300..400).contains(&status) {
        return (Outcome::Guarded, None);
    }
    if status == 503 && body.is_empty() && server_header.is_none() {
        return (Outcome::Overloaded, None);
    }
    let answer = serde_json::from_slice::<Value>(body).ok().and_then(|value| answer(&value));
    let outcome = match (&answer, kind) {
        (Some(answer), _) if is_degraded_answer(answer) => Outcome::Degraded,
        _ if status >= 500 => Outcome::Unexpected,
        (_, ServerKind::Other) => Outcome::Ok,
        (Some(answer), _) if status == 200 && has_shape(kind, answer) => Outcome::Ok,
        _ => Outcome::Unexpected,
    };
    (outcome, answer)
}

fn answer(value: &Value) -> Option<HealthAnswer> {
    let object = value.as_object()?;
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(|text| printable(text.as_bytes()));
    let mut checks = std::collections::BTreeMap::new();
    for (name, check) in object.get("checks").and_then(Value::as_object).into_iter().flatten().take(64) {
        let status = check.get("status").and_then(Value::as_str);
        if let Some(status) = status.or_else(|| check.as_str()) {
            checks.insert(printable(name.as_bytes()), printable(status.as_bytes()));
        }
    }
    let failed_checks = checks
        .iter()
        // A store that was never created is not a failure: the server reports `missing` and stays healthy.
        .filter(|(_, status)| !matches!(status.as_str(), "ok" | "missing"))
        .map(|(name, _)| name.as_str().into())
        .collect();
    Some(HealthAnswer {
        status: text("status")
            .or_else(|| {
                object.get("ok").and_then(Value::as_bool).map(|ok| if ok { "ok" } else { "not ok" }.to_owned())
            })
            .map(Into::into),
        version: text("version").map(Into::into),
        platform: text("platform").map(Into::into),
        active_streams: object.get("active_streams").and_then(Value::as_u64),
        sessions: object.get("sessions").and_then(Value::as_u64),
        accepted_total: object
            .get("accept_loop")
            .and_then(|accept_loop| accept_loop.get("requests_total"))
            .and_then(Value::as_u64),
        uptime_seconds: object.get("uptime_seconds").and_then(Value::as_f64),
        checks: checks.into_iter().map(|(name, status)| (name.into(), status.into())).collect(),
        failed_checks,
    })
}

fn is_degraded_answer(answer: &HealthAnswer) -> bool {
    !answer.failed_checks.is_empty()
        || answer
            .status
            .as_deref()
            .is_some_and(|status| matches!(status, "degraded" | "unhealthy" | "error" | "not ok"))
}

fn has_shape(kind: ServerKind, answer: &HealthAnswer) -> bool {
    match kind {
        ServerKind::Webui => answer.status.as_deref() == Some("ok") && answer.platform.is_none(),
        ServerKind::Gateway => answer.status.as_deref() == Some("ok") && answer.platform.is_some(),
        ServerKind::Dashboard | ServerKind::Serve => {
            answer.version.is_some() || answer.status.as_deref() == Some("ok")
        }
        ServerKind::Mcp | ServerKind::Other => true,
    }
}

/// Whether a response can only come from a Hermes server, whatever its command line is.
pub fn is_hermes_answer(server_header: Option<&str>, answer: Option<&HealthAnswer>) -> bool {
    server_header.is_some_and(|header| header.starts_with("HermesWebUI/"))
        || answer.is_some_and(|answer| {
            answer.platform.as_deref() == Some("hermes-agent")
                || (answer.accepted_total.is_some() && answer.active_streams.is_some())
                || (answer.sessions.is_some() && answer.active_streams.is_some() && answer.uptime_seconds.is_some())
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ServerKind::{Dashboard, Gateway, Other, Webui};

    fn outcome(kind: ServerKind, status: u16, header: Option<&str>, body: &str) -> Outcome {
        read_answer(kind, status, header, body.as_bytes()).0
    }

    #[test]
    fn knows_the_healthy_answers() {
        let old = r#"{"status": "ok", "sessions": 3, "active_streams": 0, "uptime_seconds": 12.5}"#;
        assert_eq!(outcome(Webui, 200, None, old), Outcome::Ok);
        assert_eq!(outcome(Gateway, 200, None, r#"{"status":"ok","platform":"hermes-agent"}"#), Outcome::Ok);
        assert_eq!(outcome(Dashboard, 200, None, r#"{"version":"0.21.0","gateway_running":true}"#), Outcome::Ok);
        assert_eq!(outcome(Dashboard, 200, None, r#"{"ok":true}"#), Outcome::Ok);
        assert_eq!(outcome(Other, 404, None, "nope"), Outcome::Ok);
    }

    #[test]
    fn names_failed_checks() {
        let body = r#"{"status":"degraded","checks":{"state_db":{"status":"error","error":"OperationalError"},
            "sessions":{"status":"ok"},"projects":{"status":"missing"},"streams_lock":{"status":"blocked"}}}"#;
        let (outcome, answer) = read_answer(Webui, 503, Some("HermesWebUI/0.51"), body.as_bytes());
        assert_eq!(outcome, Outcome::Degraded);
        assert_eq!(answer.unwrap().failed_checks, ["state_db", "streams_lock"]);
    }

    #[test]
    fn distinguishes_overload_from_degradation() {
        assert_eq!(outcome(Webui, 503, None, ""), Outcome::Overloaded);
        assert_eq!(outcome(Webui, 503, Some("x"), ""), Outcome::Unexpected);
        assert_eq!(outcome(Webui, 503, None, "<html>"), Outcome::Unexpected);
    }

    #[test]
    fn logins_and_redirects_are_alive() {
        for status in [301, 302, 401, 403] {
            assert_eq!(outcome(Webui, status, None, ""), Outcome::Guarded);
        }
    }

    #[test]
    fn other_shapes_are_unexpected() {
        assert_eq!(outcome(Webui, 200, None, "<html>"), Outcome::Unexpected);
        assert_eq!(outcome(Webui, 404, None, "{}"), Outcome::Unexpected);
        assert_eq!(outcome(Webui, 200, None, r#"{"status":"ok","platform":"hermes-agent"}"#), Outcome::Unexpected);
        assert_eq!(outcome(Gateway, 200, None, "[]"), Outcome::Unexpected);
        assert_eq!(outcome(Other, 500, None, ""), Outcome::Unexpected);
    }

    #[test]
    fn recognises_a_hermes_answer_by_itself() {
        assert!(is_hermes_answer(Some("HermesWebUI/0.51.3 Python"), None));
        let (_, answer) = read_answer(Webui, 200, None, br#"{"status":"ok","platform":"hermes-agent"}"#);
        assert!(is_hermes_answer(None, answer.as_ref()));
        let (_, answer) = read_answer(Webui, 200, None, br#"{"status":"ok"}"#);
        assert!(!is_hermes_answer(None, answer.as_ref()));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(status in 0u16..=999, body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = read_answer(Webui, status, None, &body);
        }
    }
}
