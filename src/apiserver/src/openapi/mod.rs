//! OpenAPI, which clients validate and explain objects by: v3, one document a group and version, and v2, one for all.
//!
//! Documents are made when they are first asked for, and kept with the snapshot of kinds that they describe. Their names
//! carry a hash, so that a client keeps one for as long as it does not change.

mod documents;
mod v2;
mod v2_protobuf;
mod v3;

use std::collections::BTreeMap;

use http::header::{CACHE_CONTROL, EXPIRES, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, json};

pub(crate) use documents::Documents;

use documents::Document;

use crate::discovery;
use crate::failure::Failure;
use crate::http::etag::{hash, tagged, value};
use crate::http::media::accepted;
use crate::http::reply::{Content, Reply};
use crate::http::target::Page;
use crate::kind::Snapshot;

/// OpenAPI v2 in protobuf, as clients ask for it (two spellings), and as it is answered.
const PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
];

/// Whether the documents of a page are there already. To make them takes long where many kinds are served.
pub(crate) fn is_made(snapshot: &Snapshot, page: &Page) -> bool {
    let Documents { v3, v2_json, v2_protobuf } = &snapshot.documents;
    match page {
        Page::OpenApiV2 => v2_json.get().is_some() && v2_protobuf.get().is_some(),
        _ => v3.get().is_some(),
    }
}

/// Answers a request for one of the pages; `query` is its query, `now` its time.
pub(crate) fn answer(
    snapshot: &Snapshot,
    page: &Page,
    query: &str,
    request: &HeaderMap,
    now: Timestamp,
) -> Result<Reply, Failure> {
    match page {
        Page::OpenApiV2 => Ok(whole(snapshot, request)),
        Page::OpenApiIndex => Ok(index(snapshot, request)),
        Page::OpenApi(path) => document(snapshot, path, query, request, now),
        _ => Err(Failure::no_such_path()),
    }
}

/// Where each group and version has its document: path, group, version.
fn paths(snapshot: &Snapshot) -> Vec<(String, String, String)> {
    let mut paths = Vec::new();
    for (group, versions) in discovery::all_groups(snapshot) {
        for version in versions {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            paths.push((path, group.clone(), version));
        }
    }
    paths
}

fn documents(snapshot: &Snapshot) -> &BTreeMap<String, Document> {
    snapshot.documents.v3.get_or_init(|| {
        let document = |(path, group, version): (String, String, String)| {
            let text = v3::document(snapshot, &path, &group, &version).to_string();
            (path, Document::new(text))
        };
        paths(snapshot).into_iter().map(document).collect()
    })
}

/// `/openapi/v3`
fn index(snapshot: &Snapshot, request: &HeaderMap) -> Reply {
    let paths = documents(snapshot)
        .iter()
        .map(|(path, document)| (path.clone(), json!({"serverRelativeURL": url(path, &document.hash)})));
    let text = json!({"paths": paths.collect::<Map<_, _>>()}).to_string();
    let hash = hash(text.as_bytes());
    tagged(Content::Json(text.into()), &hash, request)
}

fn url(path: &str, hash: &str) -> String {
    format!("/openapi/v3/{path}?hash={hash}")
}

/// `/openapi/v3/<path>`; with the document's hash in the query, the answer never changes.
fn document(
    snapshot: &Snapshot,
    path: &str,
    query: &str,
    request: &HeaderMap,
    now: Timestamp,
) -> Result<Reply, Failure> {
    let document = documents(snapshot).get(path).ok_or_else(Failure::no_such_path)?;
    let asked = form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "hash").map(|(_, hash)| hash);
    let reply = tagged(Content::Json(document.bytes.clone()), &document.hash, request);
    Ok(match asked {
        None => reply,
        Some(hash) if hash == document.hash => {
            let expires = now.checked_add(SignedDuration::from_hours(24 * 365)).unwrap_or(now);
            let expires = expires.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            reply.header(CACHE_CONTROL, HeaderValue::from_static("public, immutable")).header(EXPIRES, value(&expires))
        }
        Some(_) => Reply::text(StatusCode::MOVED_PERMANENTLY, "").header(LOCATION, value(&url(path, &document.hash))),
    })
}

/// `/openapi/v2`, in JSON or protobuf.
fn whole(snapshot: &Snapshot, request: &HeaderMap) -> Reply {
    let wanted = accepted(request)
        .into_iter()
        .find(|range| PROTOBUF.contains(&range.media) || range.media.contains("json") || range.media.contains('*'));
    if wanted.is_some_and(|range| PROTOBUF.contains(&range.media)) {
        let document =
            snapshot.documents.v2_protobuf.get_or_init(|| Document::new(v2_protobuf::encode(&v2::document(snapshot))));
        return tagged(Content::Other(PROTOBUF[1], document.bytes.clone()), &document.hash, request);
    }
    let document = snapshot.documents.v2_json.get_or_init(|| Document::new(v2::document(snapshot).to_string()));
    tagged(Content::Json(document.bytes.clone()), &document.hash, request)
}
