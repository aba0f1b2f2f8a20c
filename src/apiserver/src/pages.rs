//! The pages about the API itself: health, version, discovery, OpenAPI, metrics.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::Value;

use crate::access::review::Review;
use crate::access::{self, Identity};
use crate::failure::{Failure, Subject};
use crate::http::media::{BodyForm, body_form};
use crate::http::reply::Reply;
use crate::http::target::{Page, Target};
use crate::state::State;
use crate::{discovery, metrics, openapi, protobuf};

/// A request for a page.
pub(crate) struct PageRequest<'a> {
    pub method: &'a Method,
    pub uri: &'a Uri,
    pub headers: &'a HeaderMap,
    pub identity: &'a Identity,
}

/// Answers a request for anything but objects.
pub(crate) async fn answer(state: &Arc<State>, page: Page, request: PageRequest<'_>) -> Result<Reply, Failure> {
    let PageRequest { method, uri, headers, identity } = request;
    let path = uri.path();
    access::check_page(identity, path)?;
    let snapshot = state.registry.snapshot();
    if let Page::NoResource { group, version } = &page {
        let is_built_in =
            snapshot.kinds().any(|kind| kind.group == *group && kind.version == *version && !kind.is_custom());
        return Err(if is_built_in { Failure::not_served() } else { Failure::no_such_path() });
    }
    if *method != Method::GET && *method != Method::HEAD && page != Page::Health {
        let subject = Subject { group: "", resource: path };
        return Err(Failure::method_not_allowed(subject, &method.as_str().to_ascii_lowercase()));
    }
    let value = |value| Ok(Reply::value(StatusCode::OK, &value));
    match page {
        Page::Health => Ok(Reply::text(StatusCode::OK, "ok")),
        Page::Ready => ready(state).await,
        Page::Metrics => metrics::page(state).await,
        Page::Version => value(discovery::version()),
        Page::Root => value(discovery::paths(&snapshot)),
        Page::CoreVersions => Ok(discovery::core(&snapshot, headers)),
        Page::Groups => Ok(discovery::groups(&snapshot, headers)),
        Page::Group(group) => value(discovery::group(&snapshot, &group)?),
        Page::Resources { group, version } => value(discovery::resources(&snapshot, &group, &version)?),
        Page::OpenApiV2 | Page::OpenApiIndex | Page::OpenApi(_) => {
            let (headers, query) = (headers.clone(), uri.query().unwrap_or_default().to_owned());
            let (now, made) = ((state.config.clock)(), openapi::is_made(&snapshot, &page));
            let work = move || openapi::answer(&snapshot, &page, &query, &headers, now);
            if made { work() } else { state.computations.elsewhere(work).await }
        }
        Page::Object(_) | Page::NoResource { .. } | Page::Unknown => Err(Failure::no_such_path()),
    }
}

/// A request with a body, for a page that takes one.
pub(crate) struct Posted {
    pub method: Method,
    pub target: Target,
    pub headers: HeaderMap,
    pub identity: Identity,
    pub body: Bytes,
}

/// Answers a review; there is nothing to do with one but to post it.
pub(crate) async fn review(state: &Arc<State>, review: &'static Review, posted: Posted) -> Result<Reply, Failure> {
    let Posted { method, target, headers, identity, body } = posted;
    if !target.name.is_empty() || !target.namespace.is_empty() {
        return Err(Failure::not_served());
    }
    if method != Method::POST {
        return Err(Failure::no_such_method());
    }
    let bytes = body.len();
    let work = {
        let state = state.clone();
        move || {
            let spec = read_review(review, &headers, &body)?;
            let (code, answer) = review.answer(state.authorizer.as_ref(), &identity, &spec)?;
            Ok(Reply::value(code, &answer))
        }
    };
    state.computations.run(bytes, work).await
}

fn read_review(review: &Review, headers: &HeaderMap, body: &Bytes) -> Result<Value, Failure> {
    let unreadable = |error: &dyn std::fmt::Display| Failure::bad_request(format!("error decoding the body: {error}"));
    match body_form(headers, true)? {
        BodyForm::Json => serde_json::from_slice(body).map_err(|error| unreadable(&error)),
        BodyForm::Yaml => serde_saphyr::from_slice(body).map_err(|error| unreadable(&error)),
        BodyForm::Protobuf => protobuf::decode(body, review.message).map_err(|error| unreadable(&error)),
    }
}

/// Ready once the store answers, and until the server stops.
async fn ready(state: &State) -> Result<Reply, Failure> {
    let stopping = *state.stopping.borrow();
    let store = state.store.current().await;
    let checks = [("shutdown", !stopping), ("store", store.is_ok())];
    if checks.iter().all(|(_, good)| *good) {
        return Ok(Reply::text(StatusCode::OK, "ok"));
    }
    let line =
        |(name, good): (&str, bool)| if good { format!("[+]{name} ok\n") } else { format!("[-]{name} failed\n") };
    let text: String = checks.into_iter().map(line).collect();
    Ok(Reply::text(StatusCode::INTERNAL_SERVER_ERROR, text))
}
