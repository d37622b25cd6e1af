//! Builds without the default features: what they cannot do they say.
#![cfg(not(feature = "tls"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "it/common/mod.rs"]
mod common;

use common::{ids, server};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

/// Answers each connection with `answer` until the test ends.
fn serving(answer: fn(&[u8], &mut TcpStream)) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut first = [0; 1];
            if stream.read_exact(&mut first).is_ok() {
                // What stays unread makes the kernel reset the connection (tcp(7)).
                answer(&first, &mut stream);
            }
        }
    });
    port
}

fn gaps(server: &serde_json::Value) -> String {
    server["gaps"].to_string()
}

/// As a server behind TLS does: an alert to what is a record, nothing to what is none.
#[test]
fn a_server_that_speaks_tls_is_not_called_wedged() {
    let port = serving(|first, stream| {
        if first == [0x16] {
            let _ = stream.write_all(&[0x15, 3, 3, 0, 2, 2, 40]);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    for scheme in ["http", "https"] {
        let found = server(&format!("health --url {scheme}://127.0.0.1:{port}"));
        assert_eq!(found["status"], "unknown", "{scheme}: {found:#}");
        assert!(ids(&found).is_empty(), "{scheme}: {found:#}");
        assert!(gaps(&found).contains("speaks TLS, and this build does not"), "{scheme}: {found:#}");
    }
}

/// The wedge that looks alike: nothing is answered to anybody.
#[test]
fn a_server_that_resets_everything_is_still_found() {
    let port = serving(|_, _| {});
    let found = server(&format!("health --url http://127.0.0.1:{port}"));
    assert_eq!(found["status"], "critical", "{found:#}");
    assert!(!gaps(&found).contains("TLS"), "{found:#}");
}
