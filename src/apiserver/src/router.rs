//! From a request to its answer: which page or object it names, whether the caller may, and which handler answers.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::AUTHORIZATION;
use ::http::request::Parts;
use ::http::{HeaderMap, Method, Request, Response};
use bytes::Bytes;
use tracing::Instrument;

use crate::access::{Identity, review};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::body::{self, Body, BoxError};
use crate::http::media::Wanted;
use crate::http::options::Options;
use crate::http::reply::Reply;
use crate::http::target::{Page, Target};
use crate::kind::Kind;
use crate::metrics::{Labels, Measured};
use crate::pages::{self, PageRequest, Posted};
use crate::server::ApiServer;
use crate::{read, trace, write};

/// How long a client may take to send a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long any request but a watch may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is handled whose kind's definition is changed each time.
const DEFINITION_TRIES: usize = 8;

/// What is wanted of an object or collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    fn of(method: &Method, target: &Target, options: &Options) -> Option<Self> {
        let collection = target.name.is_empty();
        Some(match *method {
            Method::GET if collection && options.watch => Self::Watch,
            Method::GET | Method::HEAD if collection => Self::List,
            Method::GET | Method::HEAD => Self::Get,
            Method::POST if collection => Self::Create,
            Method::PUT if !collection => Self::Update,
            Method::PATCH if !collection => Self::Patch,
            Method::DELETE if collection => Self::DeleteCollection,
            Method::DELETE => Self::Delete,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::List => "list",
            Self::Watch => "watch",
            Self::Create => "create",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::DeleteCollection => "deletecollection",
        }
    }

    /// The verb as kube-apiserver's metrics name it.
    fn measured_name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::List => "LIST",
            Self::Watch => "WATCH",
            Self::Create => "POST",
            Self::Update => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::DeleteCollection => "DELETECOLLECTION",
        }
    }
}

impl ApiServer {
    /// Answers a request. Who asks stands in its extensions as an [`Identity`].
    pub(crate) async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: ::http_body::Body,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let measured = Measured::begin(&parts.method);
        let yaml = Wanted::negotiate(&parts.headers).is_ok_and(|wanted| wanted.pretty_yaml);
        let span = trace::span(&parts);
        let (labels, reply) = self.routed(&parts, body).instrument(span).await;
        let reply = measured.end(&labels, reply.unwrap_or_else(Reply::from));
        let encoded = reply.encoded(&parts.headers, yaml, &self.0.computations).await;
        encoded.unwrap_or_else(Reply::from).into_response()
    }

    async fn routed<B>(&self, parts: &Parts, body: B) -> (Labels, Result<Reply, Failure>)
    where
        B: ::http_body::Body,
        B::Error: Into<BoxError>,
    {
        let Parts { method, uri, headers, extensions, .. } = parts;
        let identity = extensions.get::<Identity>().cloned().unwrap_or_else(Identity::anonymous);
        let page = Page::parse(uri.path());
        let labels = Labels::of_page(method, page.name());
        // No token is known here: whoever shows one is not who they say, and must not pass for nobody in particular.
        if identity.is_anonymous() && has_token(headers) {
            return (labels, Err(Failure::unauthorized()));
        }
        let target = match page {
            Page::Object(target) => target,
            page => {
                let request = PageRequest { method, uri, headers, identity: &identity };
                return (labels, pages::answer(&self.0, page, request).await);
            }
        };
        if let Some(review) = review::find(&target.group, &target.version, &target.resource) {
            let reply = match timely(body::read(body)).await {
                Ok(body) => {
                    let posted = Posted { method: method.clone(), target, headers: headers.clone(), identity, body };
                    pages::review(&self.0, review, posted).await
                }
                Err(failure) => Err(failure),
            };
            return (labels, reply);
        }
        let call = self.call(identity, target, uri.query(), Wanted::negotiate(headers), headers.clone());
        match call.and_then(|call| admit(call, method)) {
            Ok((call, kind, verb)) => {
                let target = &call.target;
                let verb_name = verb.measured_name();
                let labels =
                    Labels::of_kind(&kind, verb_name, &target.subresource, !target.name.is_empty(), &target.namespace);
                let reply = match timely(body::read(body)).await {
                    Ok(body) => within_timeout(call, method, &kind, verb, body).await,
                    Err(failure) => Err(failure),
                };
                (labels, reply)
            }
            Err(failure) => (labels, Err(failure)),
        }
    }

    fn call(
        &self,
        identity: Identity,
        target: Target,
        query: Option<&str>,
        wanted: Result<Wanted, Failure>,
        headers: HeaderMap,
    ) -> Result<Call, Failure> {
        let state = self.0.clone();
        let (snapshot, now) = (state.registry.snapshot(), (state.config.clock)());
        let options = Options::parse(query.unwrap_or_default())?;
        Ok(Call { snapshot, identity, target, options, wanted: wanted?, headers, now, state })
    }
}

/// A body, if it comes in time.
async fn timely(body: impl Future<Output = Result<Bytes, Failure>>) -> Result<Bytes, Failure> {
    let late = |_| Failure::bad_request("the body of the request did not come in time");
    tokio::time::timeout(BODY_TIMEOUT, body).await.map_err(late)?
}

/// Whether a client shows a bearer token.
fn has_token(headers: &HeaderMap) -> bool {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let token = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    token.is_some_and(|(_, token)| !token.trim().is_empty())
}

/// Finds the kind and the verb, and refuses what the caller may not do.
fn admit(call: Call, method: &Method) -> Result<(Call, Arc<Kind>, Verb), Failure> {
    let target = &call.target;
    let verb = Verb::of(method, target, &call.options);
    match verb {
        // The name is in the body: whether the caller may create that one is decided when it is read.
        Some(Verb::Create) => call.allow("create", None)?,
        Some(verb) => call.allow(verb.name(), Some(&target.name))?,
        None if call.identity.is_anonymous() => call.allow("create", Some(&target.name))?,
        None => {}
    }
    let kind = call.snapshot.find(&target.group, &target.version, &target.resource);
    let kind = kind.ok_or_else(|| not_served(&call))?.clone();
    let whole = target.name.is_empty();
    if (kind.namespaced && !whole && target.namespace.is_empty()) || (!kind.namespaced && !target.namespace.is_empty())
    {
        return Err(Failure::no_such_path());
    }
    match target.subresource.as_str() {
        "" => {}
        "status" if kind.status => {}
        "scale" if kind.scale.is_some() => {}
        "finalize" if kind.finalize => {}
        _ if kind.is_custom() => return Err(Failure::not_found(kind.subject(), &target.name)),
        _ => return Err(Failure::not_served()),
    }
    if kind.namespaced && target.namespace.is_empty() && verb == Some(Verb::Create) {
        return Err(Failure::no_such_path());
    }
    // Kubernetes' built-in kinds have no HEAD.
    let verb = verb.filter(|_| *method != Method::HEAD || kind.is_custom());
    let verb = verb.ok_or_else(|| refuse(&kind, &method.as_str().to_ascii_lowercase()))?;
    let options = match verb {
        Verb::Create => "CreateOptions",
        Verb::Update => "UpdateOptions",
        Verb::Patch => "PatchOptions",
        Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
        Verb::Get | Verb::List | Verb::Watch => "ListOptions",
    };
    call.options.check(options)?;
    Ok((call, kind, verb))
}

/// What is answered about a resource that is not there: built-in groups say so, others are not known at all.
fn not_served(call: &Call) -> Failure {
    let Target { group, version, .. } = &call.target;
    let known = call.snapshot.kinds().any(|kind| kind.group == *group && kind.version == *version && !kind.is_custom());
    if known { Failure::not_served() } else { Failure::no_such_path() }
}

/// Answers within the time that the client gives, at most a minute; a watch has a time limit of its own.
async fn within_timeout(
    call: Call,
    method: &Method,
    kind: &Arc<Kind>,
    verb: Verb,
    body: Bytes,
) -> Result<Reply, Failure> {
    if verb == Verb::Watch {
        return answer(&Arc::new(call), kind, verb, body).await;
    }
    let limit = call.options.timeout.filter(|limit| !limit.is_zero()).unwrap_or(REQUEST_TIMEOUT);
    let answer = answer_current(call, method, kind.clone(), verb, body);
    tokio::time::timeout(limit.min(REQUEST_TIMEOUT), answer).await.unwrap_or_else(|_| Err(Failure::out_of_time()))
}

/// Answers anew, by the definition as it is then, when the kind's definition was changed meanwhile.
async fn answer_current(
    mut call: Call,
    method: &Method,
    mut kind: Arc<Kind>,
    mut verb: Verb,
    body: Bytes,
) -> Result<Reply, Failure> {
    for _ in 1..DEFINITION_TRIES {
        let current = Arc::new(call);
        let reply = answer(&current, &kind, verb, body.clone()).await;
        let Some(revision) = reply.as_ref().err().and_then(Failure::outdated_at) else { return reply };
        (call, kind, verb) = admit(current.renewed(revision).await, method)?;
    }
    answer(&Arc::new(call), &kind, verb, body).await
}

async fn answer(call: &Arc<Call>, kind: &Arc<Kind>, verb: Verb, body: Bytes) -> Result<Reply, Failure> {
    let reply = match (verb, call.target.subresource.as_str()) {
        (Verb::Get, "scale") => write::scale::get(call, kind).await,
        (Verb::Update | Verb::Patch, "scale") => write::scale::set(call, kind, verb == Verb::Patch, body).await,
        (Verb::Get | Verb::Patch, "finalize") => Err(refuse(kind, verb.name())),
        (Verb::Get, _) => read::get(call, kind).await,
        (Verb::List, _) => read::list(call, kind).await,
        (Verb::Watch, _) => read::watch(call, kind).await,
        (Verb::Create, "") => write::create(call, kind, body).await,
        (Verb::Update, _) => write::update(call, kind, body).await,
        (Verb::Patch, _) => write::patch(call, kind, body).await,
        (Verb::Delete, "") => write::delete(call, kind, body).await,
        (Verb::DeleteCollection, "")
            if kind.deletes_collections() && (kind.namespaced != call.target.namespace.is_empty()) =>
        {
            write::delete_collection(call, kind, body).await
        }
        (verb, _) => Err(refuse(kind, verb.name())),
    }?;
    Ok(match &kind.deprecation {
        Some(warning) => {
            let mut warnings = vec![warning.clone()];
            warnings.extend(reply.warnings.iter().cloned());
            reply.warn(warnings)
        }
        None => reply,
    })
}

/// A method that the kind does not have here.
fn refuse(kind: &Kind, verb: &str) -> Failure {
    if kind.is_custom() { Failure::method_not_allowed(kind.subject(), verb) } else { Failure::no_such_method() }
}
