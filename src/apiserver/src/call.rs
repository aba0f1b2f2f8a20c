//! The envelope of a request about objects: who asks for what, in which form, and what it is answered from.

use std::sync::Arc;

use ::http::HeaderMap;
use ::http::header::USER_AGENT;
use jiff::Timestamp;
use nubium_store::{Object, Revision};
use serde_json::Value;

use crate::access::{self, Action, ChangeRequest, Identity};
use crate::computations;
use crate::failure::Failure;
use crate::http::media::Wanted;
use crate::http::options::Options;
use crate::http::target::Target;
use crate::kind::{Kind, Snapshot};
use crate::object;
use crate::read::form::{Include, Shape};
use crate::state::State;

/// What a request about objects is handled with.
#[derive(Clone)]
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

impl Call {
    /// The same request, answered from the kinds as they are at `revision` or later.
    pub async fn renewed(&self, revision: Revision) -> Self {
        self.state.registry.wait_for(revision).await;
        Self { snapshot: self.state.registry.snapshot(), ..self.clone() }
    }

    /// The object that the request names, as it is stored now.
    pub async fn stored(&self, kind: &Kind) -> Result<Option<Object>, Failure> {
        Ok(self.state.store.get(&kind.key(&self.target.namespace, &self.target.name)).await?.object)
    }

    /// Makes the part of the answer that waits for nobody, out of so many bytes: where the request is handled if that is
    /// little, else elsewhere.
    pub async fn compute<T: Send + 'static>(
        self: &Arc<Self>,
        kind: &Arc<Kind>,
        bytes: usize,
        work: impl FnOnce(&Self, &Kind) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let cost = if kind.rules().defines_kinds() { computations::compiling(bytes) } else { bytes };
        if !computations::is_costly(cost) {
            return work(self, kind);
        }
        let (call, kind) = (self.clone(), kind.clone());
        self.state.computations.elsewhere(move || work(&call, &kind)).await
    }

    /// Refuses unless the caller may do this to the object called `name`; empty for the collection, `None` for a create
    /// whose body has not been read.
    pub fn allow(&self, verb: &str, name: Option<&str>) -> Result<(), Failure> {
        access::check(self.state.authorizer.as_ref(), &self.identity, &self.action(verb, name))
    }

    /// Refuses a change that an admission rule forbids. `old` is `None` for a create, `new` for a delete.
    pub fn admit(&self, verb: &str, old: Option<&Value>, new: Option<&Value>) -> Result<(), Failure> {
        let name = match (old, new) {
            (None, Some(new)) => object::meta::text(new, "name"),
            _ => &self.target.name,
        };
        let request = ChangeRequest { identity: &self.identity, action: self.action(verb, Some(name)), old, new };
        self.state.admission.iter().try_for_each(|rule| rule.admit(&request))
    }

    fn action<'a>(&'a self, verb: &'a str, name: Option<&'a str>) -> Action<'a> {
        let Target { group, resource, subresource, namespace, .. } = &self.target;
        Action { verb, group, resource, subresource, namespace, name }
    }

    /// How the answer shows objects.
    pub fn shape<'a>(&'a self, kind: &'a Kind) -> Result<Shape<'a>, Failure> {
        let include = Include::parse(&self.options.include_object)?;
        Ok(Shape { kind, form: &self.wanted.form, include, now: self.now })
    }

    /// In whose name fields are owned: the field manager of the request, else the client program's name.
    pub fn manager(&self) -> String {
        if !self.options.field_manager.is_empty() {
            return self.options.field_manager.clone();
        }
        let agent = self.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok()).unwrap_or_default();
        agent.split('/').next().unwrap_or_default().chars().take(128).collect()
    }

    /// The time of the request as objects carry it.
    pub fn timestamp(&self) -> String {
        object::timestamp(self.now)
    }
}
