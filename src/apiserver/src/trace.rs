//! One span a request, with the trace that the client says it belongs to (W3C Trace Context).

use http::request::Parts;
use tracing::{Span, info_span};

/// The span of a request. `trace_id` is the client's, so that its log and this one can be read together.
pub(crate) fn span(parts: &Parts) -> Span {
    let header = parts.headers.get("traceparent").and_then(|value| value.to_str().ok());
    match header.and_then(parse) {
        Some((trace, parent)) => info_span!(
            "request", method = %parts.method, path = parts.uri.path(), trace_id = trace, parent_id = parent
        ),
        None => info_span!("request", method = %parts.method, path = parts.uri.path()),
    }
}

/// The trace and the parent's span in a `traceparent` header: `00-<32 hex digits>-<16 hex digits>-<flags>`.
fn parse(header: &str) -> Option<(&str, &str)> {
    let mut parts = header.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let is_id = |text: &str, length: usize| {
        let hex = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
        text.len() == length && text.bytes().all(hex) && text.bytes().any(|b| b != b'0')
    };
    let known = version.len() == 2 && version != "ff" && flags.len() == 2;
    (known && is_id(trace, 32) && is_id(parent, 16)).then_some((trace, parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_or_ignored() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        assert_eq!(parse(&format!("00-{trace}-{parent}-01")), Some((trace, parent)));
        for header in [
            "",
            "00",
            &format!("00-{trace}-{parent}"),
            &format!("ff-{trace}-{parent}-01"),
            &format!("00-{}-{parent}-01", "0".repeat(32)),
            &format!("00-{}-{parent}-01", trace.to_uppercase()),
        ] {
            assert_eq!(parse(header), None, "{header}");
        }
    }
}
