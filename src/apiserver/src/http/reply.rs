//! Answers: a code, a body in the wanted form, warnings.

use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream::BoxStream;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY, WARNING};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::Value;

use super::body::{Body, streamed, whole};
use crate::computations::Computations;
use crate::failure::Failure;

const JSON: &str = "application/json";
/// How long an answer may wait until it is encoded.
const TIMEOUT: Duration = Duration::from_secs(60);
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

    /// The same in YAML, or compressed, if the client asked so.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn encoded(
        mut self,
        request: &HeaderMap,
        yaml: bool,
        computations: &Computations,
    ) -> Result<Self, Failure> {
        let (media, bytes) = match self.content {
            Content::Json(bytes) => (JSON, bytes),
            Content::Other(media, bytes) => (media, bytes),
            _ => return Ok(self),
        };
        let (yaml, gzip) = (yaml && media == JSON, takes_gzip(request));
        let is_small = bytes.len() <= COMPRESS_ABOVE;
        if !yaml && (is_small || !gzip) {
            self.content = Content::Other(media, bytes);
            return Ok(self);
        }
        let work = computations.run(bytes.len(), move || Ok(Encoded::new(media, bytes, yaml, gzip)));
        let late = |_| Failure::out_of_time();
        let Encoded { media, bytes, is_gzip } = tokio::time::timeout(TIMEOUT, work).await.map_err(late)??;
        self.content = Content::Other(media, bytes);
        if is_gzip {
            // Before the headers that the answer has already, which count.
            let headers = [(CONTENT_ENCODING, "gzip"), (VARY, "Accept-Encoding")];
            self.headers.splice(0..0, headers.map(|(name, value)| (name, HeaderValue::from_static(value))));
        }
        Ok(self)
    }

    /// The response as it goes out.
    pub fn into_response(self) -> Response<Body> {
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
            Content::Json(bytes) => (JSON, whole(bytes)),
            Content::Other(media, bytes) => (media, whole(bytes)),
            Content::Stream(pieces) => (JSON, streamed(pieces)),
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

/// A body in another form than it was made in.
struct Encoded {
    media: &'static str,
    bytes: Bytes,
    is_gzip: bool,
}

impl Encoded {
    fn new(media: &'static str, bytes: Bytes, yaml: bool, gzip: bool) -> Self {
        let (media, bytes) = if yaml { as_yaml(bytes) } else { (media, bytes) };
        match (gzip && bytes.len() > COMPRESS_ABOVE).then(|| compressed(&bytes)).flatten() {
            Some(small) => Self { media, bytes: small.into(), is_gzip: true },
            None => Self { media, bytes, is_gzip: false },
        }
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
        None => (JSON, bytes),
    }
}

fn takes_gzip(request: &HeaderMap) -> bool {
    let encodings = request.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    encodings.flat_map(|value| value.split(',')).any(|encoding| encoding.trim().starts_with("gzip"))
}

fn compressed(bytes: &[u8]) -> Option<Vec<u8>> {
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
