//! Answers that carry their hash as an entity tag, so that a client that has one already is not sent it again.

use http::header::{ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::reply::{Content, Reply};

/// Changes when the document does.
pub(crate) fn hash(document: &[u8]) -> String {
    Sha256::digest(document).iter().map(|byte| format!("{byte:02X}")).collect()
}

/// An answer with its hash as the entity tag; only the tag, for a client that has it already.
pub(crate) fn tagged(content: Content, hash: &str, request: &HeaderMap) -> Reply {
    let tag = format!("\"{hash}\"");
    let held = request.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let is_held = held.flat_map(|value| value.split(',')).any(|held| held.trim() == tag);
    let reply = match is_held {
        true => Reply::of(StatusCode::NOT_MODIFIED, Content::Empty),
        false => Reply::of(StatusCode::OK, content),
    };
    reply.header(ETAG, value(&tag)).header(VARY, HeaderValue::from_static("Accept"))
}

/// An answer whose entity tag is its hash.
pub(crate) fn hashed(shown: &Value, media: &'static str, request: &HeaderMap) -> Reply {
    let text = shown.to_string();
    let hash = hash(text.as_bytes());
    tagged(Content::Other(media, text.into()), &hash, request)
}

/// A header's value.
pub(crate) fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("hashes, dates and paths of groups are plain text")
}
