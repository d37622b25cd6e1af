//! The head and body of an HTTP/1 response (RFC 9112), with limits on their size.

use super::ParseError;
use crate::model::text::printable;

/// Largest head that is read, in bytes.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Largest body that is kept, in bytes.
pub const MAX_BODY_BYTES: usize = 256 * 1024;

/// The parts of a response head that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// Status code.
    pub status: u16,
    /// Length of the head in bytes; the body follows.
    pub length: usize,
    /// `Content-Length`.
    pub content_length: Option<u64>,
    /// `Transfer-Encoding: chunked`.
    pub chunked: bool,
    /// `Server`.
    pub server: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// `Content-Type: text/event-stream`: the response stays open by design (HTML standard, server-sent
    /// events).
    pub is_event_stream: bool,
}

/// Parses the head of a response. `Ok(None)` means that more bytes are needed.
///
/// # Errors
/// When the bytes are not an HTTP/1 response.
pub fn head(bytes: &[u8]) -> Result<Option<Head>, ParseError> {
    let mut headers = [httparse::EMPTY_HEADER; 128];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if bytes.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(ParseError::new("head", "longer than 64 KiB")),
        Err(error) => return Err(ParseError::new("head", error)),
    };
    let mut head = Head { status: response.code.unwrap_or(0), length, ..Head::default() };
    for header in response.headers.iter() {
        let text = || printable(header.value);
        match header.name.to_ascii_lowercase().as_str() {
            "content-length" => head.content_length = text().trim().parse().ok(),
            "transfer-encoding" => head.chunked = text().to_ascii_lowercase().contains("chunked"),
            "server" => head.server = Some(text()),
            "location" => head.location = Some(text()),
            "content-type" => head.is_event_stream = text().to_ascii_lowercase().starts_with("text/event-stream"),
            _ => {}
        }
    }
    Ok(Some(head))
}

/// Whether only the end of the connection marks the end of the body (RFC 9112, 6.3).
pub fn is_unmarked(head: &Head) -> bool {
    !head.chunked && head.content_length.is_none()
}

/// Whether a response with this head has no body (RFC 9112, 6.3).
fn is_bodiless(head: &Head) -> bool {
    head.status < 200 || matches!(head.status, 204 | 304)
}

/// State of a body, by the bytes that were received so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// More bytes are needed.
    Partial,
    /// The whole body, decoded and cut at [`MAX_BODY_BYTES`].
    Complete(Vec<u8>),
}

/// Decodes the body. `at_end` is whether the connection was closed after these bytes.
///
/// # Errors
/// When the chunked coding is broken, or the connection ended before the announced length.
pub fn body(head: &Head, bytes: &[u8], at_end: bool) -> Result<Body, ParseError> {
    if is_bodiless(head) {
        return Ok(Body::Complete(Vec::new()));
    }
    if head.chunked {
        return chunked(bytes, at_end);
    }
    let promised = head.content_length.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let kept = |bytes: &[u8]| bytes[..bytes.len().min(MAX_BODY_BYTES)].to_vec();
    match promised {
        Some(length) if bytes.len() >= length.min(MAX_BODY_BYTES) => {
            Ok(Body::Complete(kept(&bytes[..bytes.len().min(length)])))
        }
        Some(length) if at_end => Err(ParseError::new("body", format!("{} of {length} bytes", bytes.len()))),
        None if at_end || bytes.len() >= MAX_BODY_BYTES => Ok(Body::Complete(kept(bytes))),
        _ => Ok(Body::Partial),
    }
}

/// The body of a complete response: the connection was closed after it, and its status is 200.
///
/// # Errors
/// When it is not HTTP, has another status, or is shorter than announced.
pub fn complete(answer: &[u8]) -> Result<Vec<u8>, ParseError> {
    let head = head(answer)?.ok_or_else(|| ParseError::new("head", "it has no end"))?;
    if head.status != 200 {
        return Err(ParseError::new("status", head.status));
    }
    match body(&head, answer.get(head.length..).unwrap_or_default(), true)? {
        Body::Complete(body) => Ok(body),
        Body::Partial => Err(ParseError::new("body", "it ends early")),
    }
}

fn chunked(mut bytes: &[u8], at_end: bool) -> Result<Body, ParseError> {
    let mut decoded = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(bytes) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) if at_end => {
                return Err(ParseError::new("body", "ended within a chunk"));
            }
            Ok(httparse::Status::Partial) => return Ok(Body::Partial),
            Err(_) => return Err(ParseError::new("body", "broken chunk size")),
        };
        if size == 0 {
            return Ok(Body::Complete(decoded));
        }
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let rest = bytes.get(start..).unwrap_or_default();
        decoded.extend_from_slice(&rest[..rest.len().min(size).min(MAX_BODY_BYTES - decoded.len())]);
        if decoded.len() >= MAX_BODY_BYTES {
            return Ok(Body::Complete(decoded));
        }
        match size.checked_add(2).and_then(|end| rest.get(end..)) {
            Some(after) => bytes = after,
            None if at_end => return Err(ParseError::new("body", "ended within a chunk")),
            None => return Ok(Body::Partial),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_head() {
        let bytes = b"HTTP/1.1 503 Service Unavailable\r\nServer: HermesWebUI/0.51\r\nContent-Length: 2\r\n\r\n{}";
        let found = head(bytes).unwrap().unwrap();
        assert_eq!((found.status, found.content_length), (503, Some(2)));
        assert_eq!(found.server.as_deref(), Some("HermesWebUI/0.51"));
        assert_eq!(body(&found, &bytes[found.length..], false).unwrap(), Body::Complete(b"{}".to_vec()));
    }

    #[test]
    fn wants_more_or_refuses() {
        assert_eq!(head(b"HTTP/1.1 200 OK\r\nServer").unwrap(), None);
        assert!(head(b"\x15\x03\x01\x00\x02\x02\x28").is_err());
        assert!(head(b"SSH-2.0-OpenSSH\r\n").is_err());
        let endless = [&b"HTTP/1.1 200 OK\r\nA: "[..], &vec![b'a'; MAX_HEAD_BYTES]].concat();
        assert!(head(&endless).is_err());
    }

    #[test]
    fn decodes_chunks() {
        let head = Head { status: 200, chunked: true, ..Head::default() };
        assert_eq!(
            body(&head, b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", false).unwrap(),
            Body::Complete(b"abcde".to_vec())
        );
        assert_eq!(body(&head, b"3\r\nab", false).unwrap(), Body::Partial);
        assert!(body(&head, b"3\r\nab", true).is_err());
        assert!(body(&head, b"zz\r\n", false).is_err());
        assert_eq!(body(&head, b"ffffffffffffffff\r\nab", false).unwrap(), Body::Partial);
    }

    #[test]
    fn bounds_the_body() {
        let head = Head { status: 200, content_length: Some(10_000_000_000), ..Head::default() };
        let Body::Complete(kept) = body(&head, &vec![b'x'; MAX_BODY_BYTES + 5], false).unwrap() else { panic!() };
        assert_eq!(kept.len(), MAX_BODY_BYTES);
        assert!(body(&head, b"x", true).is_err());
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300), chunk: bool, end: bool) {
            let _ = head(&bytes);
            let _ = body(&Head { status: 200, chunked: chunk, ..Head::default() }, &bytes, end);
        }
    }
}
