//! Calls for a kind whose scope is not known to the compiler: the key says it.

use kube::{Api, Client, Resource, core::DynamicResourceScope};
use nubium_runtime::Key;
use serde::{Deserialize, Serialize};

/// An object whose scope is known only by its key.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Addressed<K>(pub K);

/// The API of a kind in that key's namespace, or of the whole cluster for a key without one.
pub(crate) fn api<K: Resource<DynamicType = ()>>(client: Client, key: &Key) -> Api<Addressed<K>> {
    match key.namespace.as_str() {
        "" => Api::all_with(client, &()),
        namespace => Api::namespaced_with(client, namespace, &()),
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Addressed<K> {
    type DynamicType = ();
    type Scope = DynamicResourceScope;

    fn kind((): &()) -> std::borrow::Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> std::borrow::Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> std::borrow::Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> std::borrow::Cow<'_, str> {
        K::plural(&())
    }

    fn meta(&self) -> &kube::api::ObjectMeta {
        self.0.meta()
    }

    fn meta_mut(&mut self) -> &mut kube::api::ObjectMeta {
        self.0.meta_mut()
    }
}
