//! Replaces TLS in a build without it. It only detects whether the peer speaks TLS, so that a healthy TLS server is not
//! reported as one that does not answer.

use super::stream::TimedStream;
use std::io::{self, Read, Write};

/// A `ClientHello` of TLS 1.2 with one cipher suite and no extension (RFC 5246, 7.4.1.2). A TLS peer answers it with a
/// record: its own hello, or an alert.
const HELLO: [u8; 50] = {
    let mut hello = [0; 50];
    // The record of a handshake message, 45 bytes; the message, 41 bytes; its version; 32 random bytes, which can be
    // zero here.
    hello[0] = 0x16;
    (hello[1], hello[2], hello[4]) = (0x03, 0x01, 45);
    (hello[5], hello[8]) = (0x01, 41);
    (hello[9], hello[10]) = (0x03, 0x03);
    // No session; TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256; no compression.
    (hello[45], hello[46], hello[47]) = (2, 0xc0, 0x2f);
    (hello[48], hello[49]) = (1, 0);
    hello
};

/// No handshake is ever completed.
pub type TlsStream = TimedStream;

/// Detects whether the peer speaks TLS.
///
/// # Errors
/// Always: `Unsupported` where the peer speaks TLS, else the reason.
pub fn handshake(mut stream: TimedStream, _host: &str) -> io::Result<TlsStream> {
    stream.write_all(&HELLO)?;
    let mut begin = [0; 2];
    stream.read_exact(&mut begin)?;
    // A handshake record or an alert, and the first byte of the version.
    if matches!(begin, [0x15 | 0x16, 0x03]) {
        let detail = "it speaks TLS, and this build does not (cargo feature `tls`)";
        return Err(io::Error::new(io::ErrorKind::Unsupported, detail));
    }
    Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not a TLS record"))
}
