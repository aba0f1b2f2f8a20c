//! Answers: a code, a body in the wanted form, warnings.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::BoxStream;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::body::{Body, streamed, whole};
use crate::failure::Failure;

/// Bodies above this size are compressed for clients that take it.
const COMPRESS_ABOVE: usize = 128 << 10;

/// An answer before it becomes HTTP.
pub(crate) struct Reply {
    pub code: StatusCode,
    pub content: Content,
    pub warnings: Vec<String>,
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

pub(crate) enum Content {
    Json(Bytes),
    Text(String),
    /// No body, and nothing said about one: a cache takes the headers of a 304 for its own.
    Empty,
    /// Of this media type, as it is.
    Other(&'static str, Bytes),
    /// Pieces of JSON that each go out at once; never compressed.
    Stream(BoxStream<'static, Bytes>),
}

impl Reply {
    pub fn of(code: StatusCode, content: Content) -> Self {
        Self { code, content, warnings: Vec::new(), headers: Vec::new() }
    }

    /// The same with a header; it replaces the one that all answers have.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Self {
        Self::of(code, Content::Json(bytes.into()))
    }

    pub fn value(code: StatusCode, value: &Value) -> Self {
        Self::json(code, serde_json::to_vec(value).expect("a JSON value has text keys"))
    }

    pub fn text(code: StatusCode, text: impl Into<String>) -> Self {
        Self::of(code, Content::Text(text.into()))
    }

    pub fn stream(pieces: BoxStream<'static, Bytes>) -> Self {
        Self::of(StatusCode::OK, Content::Stream(pieces))
    }

    pub fn warn(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }

    /// The response, in YAML or compressed if the client asked so.
    pub fn into_response(self, request: &HeaderMap, yaml: bool) -> Response<Body> {
        let mut response = Response::new(whole(Bytes::new()));
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
        for warning in &self.warnings {
            if let Ok(value) = HeaderValue::from_bytes(warning_text(warning).as_bytes()) {
                headers.append(WARNING, value);
            }
        }
        let (media, body) = match self.content {
            Content::Empty => ("", whole(Bytes::new())),
            Content::Text(text) => ("text/plain; charset=utf-8", whole(text)),
            Content::Other(media, bytes) => match compressed(&bytes, request) {
                Some(small) => {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                    (media, whole(small))
                }
                None => (media, whole(bytes)),
            },
            Content::Stream(pieces) => ("application/json", streamed(pieces)),
            Content::Json(bytes) => {
                let (media, bytes) = if yaml { as_yaml(bytes) } else { ("application/json", bytes) };
                match compressed(&bytes, request) {
                    Some(small) => {
                        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
                        headers.insert(VARY, HeaderValue::from_static("Accept-Encoding"));
                        (media, whole(small))
                    }
                    None => (media, whole(bytes)),
                }
            }
        };
        if !media.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        }
        for (name, value) in self.headers {
            headers.insert(name, value);
        }
        *response.body_mut() = body;
        response
    }
}

impl From<Failure> for Reply {
    fn from(failure: Failure) -> Self {
        let reply = match failure.plain_text() {
            Some(text) => Self::text(failure.code(), text),
            None => Self::value(failure.code(), &failure.status()),
        };
        match failure.retry_after() {
            Some(seconds) => reply.header(RETRY_AFTER, seconds.into()),
            None => reply,
        }
    }
}

fn as_yaml(bytes: Bytes) -> (&'static str, Bytes) {
    let yaml = serde_json::from_slice::<Value>(&bytes).ok().and_then(|value| serde_saphyr::to_string(&value).ok());
    match yaml {
        Some(yaml) => ("application/yaml", yaml.into()),
        None => ("application/json", bytes),
    }
}

/// The body in gzip, if the client takes that and it is worth it.
fn compressed(bytes: &[u8], request: &HeaderMap) -> Option<Vec<u8>> {
    (bytes.len() > COMPRESS_ABOVE && takes_gzip(request)).then(|| gzip(bytes)).flatten()
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let encodings = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    encodings.flat_map(|value| value.split(',')).any(|encoding| encoding.trim().starts_with("gzip"))
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

/// A warning header: code 299, no agent, the text quoted.
fn warning_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 8);
    quoted.push_str("299 - \"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
