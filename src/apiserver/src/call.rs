//! One request, from its path to its answer.

use std::sync::Arc;
use std::time::Duration;

use ::http::header::USER_AGENT;
use ::http::{HeaderMap, Method, Request, Response, StatusCode};
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::access::Identity;
use crate::access::authorize::{self, Action};
use crate::access::status;
use crate::failure::{Failure, Subject};
use crate::http::body::{self, Body, BoxError};
use crate::http::media::Wanted;
use crate::http::options::Options;
use crate::http::reply::Reply;
use crate::http::target::{Page, Target};
use crate::kind::{Kind, Snapshot};
use crate::read::form::{Include, Shape};
use crate::{ApiServer, State, discovery, openapi, read, write};

/// How long a client may take to send a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request about objects is handled with.
pub(crate) struct Call {
    pub state: Arc<State>,
    /// The kinds as they were when the request came.
    pub snapshot: Arc<Snapshot>,
    pub identity: Identity,
    pub target: Target,
    pub options: Options,
    pub wanted: Wanted,
    pub headers: HeaderMap,
    pub now: Timestamp,
}

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
            Method::GET if collection => Self::List,
            Method::GET => Self::Get,
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
}

impl ApiServer {
    /// Answers a request. Who asks stands in its extensions as an [`Identity`].
    pub(crate) async fn handle<B>(&self, request: Request<B>) -> Response<Body>
    where
        B: ::http_body::Body,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        let identity = parts.extensions.get::<Identity>().cloned().unwrap_or_else(Identity::anonymous);
        let wanted = Wanted::negotiate(&parts.headers);
        let yaml = wanted.as_ref().is_ok_and(|wanted| wanted.pretty_yaml);
        let page = Page::parse(parts.uri.path());
        let reply = match page {
            Page::Object(target) => {
                let call = self.call(identity, target, parts.uri.query(), wanted, parts.headers.clone());
                match call.and_then(|call| call.admit(&parts.method)) {
                    Ok((call, kind, verb)) => match tokio::time::timeout(PATIENCE, body::read(body)).await {
                        Ok(Ok(body)) => call.answer(&kind, verb, body).await,
                        Ok(Err(failure)) => Err(failure),
                        Err(_) => Err(Failure::bad_request("the body of the request did not come in time")),
                    },
                    Err(failure) => Err(failure),
                }
            }
            page => self.page(&parts.method, parts.uri.path(), page, &identity),
        };
        let reply = reply.unwrap_or_else(Reply::from);
        reply.into_response(&parts.headers, yaml)
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

    /// The pages that are about the API itself.
    fn page(&self, method: &Method, path: &str, page: Page, identity: &Identity) -> Result<Reply, Failure> {
        let public = matches!(page, Page::Health | Page::Version);
        authorize::check_page(identity, path, public)?;
        if *method != Method::GET && *method != Method::HEAD && page != Page::Health {
            let subject = Subject { group: "", resource: path };
            return Err(Failure::method_not_allowed(subject, &method.as_str().to_ascii_lowercase()));
        }
        let snapshot = self.0.registry.snapshot();
        match page {
            Page::Health => Ok(Reply::text(StatusCode::OK, "ok")),
            Page::Version => Ok(Reply::value(StatusCode::OK, &discovery::version())),
            Page::Root => Ok(Reply::value(StatusCode::OK, &discovery::paths(&snapshot))),
            Page::CoreVersions => Ok(Reply::value(StatusCode::OK, &discovery::core_versions())),
            Page::Groups => Ok(Reply::value(StatusCode::OK, &discovery::groups(&snapshot))),
            Page::Group(group) => discovery::group(&snapshot, &group).map(|found| Reply::value(StatusCode::OK, &found)),
            Page::Resources { group, version } => {
                discovery::resources(&snapshot, &group, &version).map(|found| Reply::value(StatusCode::OK, &found))
            }
            Page::OpenApiIndex => Ok(Reply::value(StatusCode::OK, &openapi::index(&snapshot))),
            Page::OpenApi(path) => openapi::document(&snapshot, &path).map(|found| Reply::json(StatusCode::OK, found)),
            Page::Object(_) | Page::Unknown => Err(Failure::no_such_path()),
        }
    }
}

impl Call {
    /// Finds the kind and the verb, and refuses what the caller may not do.
    fn admit(self, method: &Method) -> Result<(Self, Arc<Kind>, Verb), Failure> {
        let target = &self.target;
        let verb = Verb::of(method, target, &self.options);
        if let Some(verb) = verb.filter(|verb| *verb != Verb::Create) {
            self.allow(verb.name(), &target.name)?;
        } else if self.identity.is_anonymous() {
            self.allow("create", &target.name)?;
        }
        let kind = self.snapshot.find(&target.group, &target.version, &target.resource);
        let kind = kind.ok_or_else(|| self.not_served())?.clone();
        let whole = target.name.is_empty();
        if (kind.namespaced && !whole && target.namespace.is_empty())
            || (!kind.namespaced && !target.namespace.is_empty())
        {
            return Err(Failure::no_such_path());
        }
        match target.subresource.as_str() {
            "" => {}
            "status" if kind.status => {}
            "scale" if kind.scale.is_some() => {}
            _ if kind.is_custom() => return Err(Failure::not_found(kind.subject(), &target.name)),
            _ => return Err(Failure::not_served()),
        }
        if kind.namespaced && target.namespace.is_empty() && verb == Some(Verb::Create) {
            return Err(Failure::no_such_path());
        }
        let verb = verb.ok_or_else(|| refuse(&kind, &method.as_str().to_ascii_lowercase()))?;
        let options = match verb {
            Verb::Create => "CreateOptions",
            Verb::Update => "UpdateOptions",
            Verb::Patch => "PatchOptions",
            Verb::Delete | Verb::DeleteCollection => "DeleteOptions",
            Verb::Get | Verb::List | Verb::Watch => "ListOptions",
        };
        self.options.check(options)?;
        Ok((self, kind, verb))
    }

    /// What is answered about a resource that is not there: built-in groups say so, others are not known at all.
    fn not_served(&self) -> Failure {
        let Target { group, version, .. } = &self.target;
        let known =
            self.snapshot.kinds().any(|kind| kind.group == *group && kind.version == *version && !kind.is_custom());
        if known { Failure::not_served() } else { Failure::no_such_path() }
    }

    /// Refuses unless the caller may do this to the object called `name` (or to the collection).
    pub fn allow(&self, verb: &str, name: &str) -> Result<(), Failure> {
        authorize::check(&self.identity, &self.action(verb, name))
    }

    /// Refuses a change that the caller may make of some objects, and not of this one or not in this way.
    pub fn allow_change(&self, before: &Value, after: &Value) -> Result<(), Failure> {
        status::check(&self.identity, &self.action("update", &self.target.name), before, after)
    }

    fn action<'a>(&'a self, verb: &'a str, name: &'a str) -> Action<'a> {
        let Target { group, resource, subresource, namespace, .. } = &self.target;
        Action { verb, group, resource, subresource, namespace, name }
    }

    async fn answer(&self, kind: &Arc<Kind>, verb: Verb, body: Bytes) -> Result<Reply, Failure> {
        let reply = match (verb, self.target.subresource.as_str()) {
            (Verb::Get, "scale") => write::scale::get(self, kind).await,
            (Verb::Update | Verb::Patch, "scale") => write::scale::set(self, kind, verb == Verb::Patch, body).await,
            (Verb::Get, _) => read::get(self, kind).await,
            (Verb::List, _) => read::list(self, kind).await,
            (Verb::Watch, _) => read::watch(self, kind).await,
            (Verb::Create, "") => write::create(self, kind, body).await,
            (Verb::Update, _) => write::update(self, kind, body).await,
            (Verb::Patch, _) => write::patch(self, kind, body).await,
            (Verb::Delete, "") => write::delete(self, kind, body).await,
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

    /// How the answer shows objects.
    pub fn shape<'a>(&'a self, kind: &'a Kind) -> Result<Shape<'a>, Failure> {
        let include = Include::parse(&self.options.include_object)?;
        Ok(Shape { kind, form: &self.wanted.form, include, now: self.now })
    }

    /// In whose name fields are owned: the field manager said, else the client program's name.
    pub fn manager(&self) -> String {
        if !self.options.field_manager.is_empty() {
            return self.options.field_manager.clone();
        }
        let agent = self.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        agent.split('/').next().unwrap_or_default().chars().take(128).collect()
    }

    /// The time as objects carry it.
    pub fn timestamp(&self) -> String {
        timestamp(self.now)
    }
}

/// A method that the kind does not have here.
fn refuse(kind: &Kind, verb: &str) -> Failure {
    if kind.is_custom() { Failure::method_not_allowed(kind.subject(), verb) } else { Failure::no_such_method() }
}

/// A time as objects carry it: whole seconds, UTC.
pub(crate) fn timestamp(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
