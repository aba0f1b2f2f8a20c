//! Kinds as data: what is served, by which schema, stored where, behaving how.
//!
//! No kind has a Rust type. Built-in ones are described in `data/`, all others by CustomResourceDefinitions; the rest of
//! the server sees only this.

mod builtin;
pub(crate) mod canonical;
mod checks;
mod columns;
mod components;
mod custom;
mod registry;
mod rules;
mod snapshot;
mod well_known;

use std::borrow::Cow;
use std::sync::Arc;

use nubium_schema::Structural;
use nubium_schema::names::NameRule;
use nubium_schema::ownership::TypeRef;
use nubium_store::Revision;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

pub(crate) use builtin::{NAMESPACE_FINALIZER, accept_names, set_condition};
pub(crate) use columns::Columns;
pub(crate) use components::components;
pub(crate) use registry::Registry;
pub(crate) use rules::{Builtin, Context};
pub(crate) use snapshot::Snapshot;
pub(crate) use well_known::BuiltIn;

use crate::failure::Subject;

/// The built-in kinds, before any definition is read.
pub(crate) fn registry() -> Registry {
    Registry::new(builtin::all())
}

/// One version of one resource, with all that its handling depends on.
#[derive(Debug)]
pub(crate) struct Kind {
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// `Some` for a version that clients are warned about.
    pub deprecation: Option<String>,
    pub schema: Arc<Structural>,
    pub ownership: TypeRef,
    /// What OpenAPI says of it: a component's name, and its schema as JSON, which takes a tenth of a tree.
    pub published: (String, Arc<str>),
    /// Has a `status` subresource.
    pub status: bool,
    /// Has a `finalize` subresource, by which the finalizers of its spec are changed.
    pub finalize: bool,
    pub scale: Option<Scale>,
    pub columns: Columns,
    /// Dotted paths that field selectors may name, besides `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<String>,
    pub behaviour: Behaviour,
    pub storage: Storage,
    /// The revision at which its definition has made another kind in its place, or went.
    pub replaced: watch::Sender<Option<Revision>>,
}

/// Where a `scale` subresource finds its numbers; JSON paths such as `.spec.replicas`.
#[derive(Debug, Clone)]
pub(crate) struct Scale {
    pub spec: String,
    pub status: String,
    pub selector: Option<String>,
}

/// In what kinds differ besides their schema.
#[derive(Debug, Clone)]
pub(crate) struct Behaviour {
    pub names: NameRule,
    /// The `metadata.uid` of the definition; `None` for a built-in kind.
    pub definition: Option<String>,
    /// The protobuf message that a body may be.
    pub message: Option<String>,
    /// Counts its `metadata.generation`.
    pub generation: bool,
    /// An update without a resourceVersion overwrites.
    pub unconditional_update: bool,
    /// An update of what is not there creates it.
    pub create_on_update: bool,
    /// Fields to fill in at the top level, besides those that the schema defaults.
    pub defaults: Map<String, Value>,
    /// What no schema can say.
    pub rules: &'static dyn Builtin,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            names: NameRule::Subdomain,
            definition: None,
            message: None,
            generation: false,
            unconditional_update: false,
            create_on_update: false,
            defaults: Map::new(),
            rules: &rules::NoRules,
        }
    }
}

/// How the kind is stored.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    /// Where its objects are: `/registry/<group>/<plural>/`.
    pub prefix: String,
    /// The apiVersion that stored objects carry.
    pub api_version: String,
    /// Fields that have another name when stored: (as served, as stored).
    pub renames: Vec<(String, String)>,
    /// Objects stored after this revision went through the schemas as they are now, their defaults included.
    pub unchanged_since: Revision,
    /// All versions have the same schema, so that it does not matter through which one an object was written.
    pub uniform: bool,
    /// Another kind owns the objects, this one only shows them differently.
    pub alias: bool,
}

impl Kind {
    /// `v1`, `nubium.dev/v1alpha1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    pub fn subject(&self) -> Subject<'_> {
        Subject { group: &self.group, resource: &self.plural }
    }

    /// The group that errors about an object name: that of the stored kind, as Kubernetes validates its form.
    pub fn validated_group(&self) -> &str {
        match self.storage.api_version.split_once('/') {
            Some((group, _)) => group,
            None => "",
        }
    }

    /// Whether a CustomResourceDefinition made it.
    pub fn is_custom(&self) -> bool {
        self.behaviour.definition.is_some()
    }

    /// The name of the definition that made it.
    pub fn definition_name(&self) -> String {
        format!("{}.{}", self.plural, self.group)
    }

    /// Whether a collection can be deleted at once; of namespaces, Kubernetes deletes only one by one.
    pub fn deletes_collections(&self) -> bool {
        !self.is("", "namespaces")
    }

    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.group == group && self.plural == plural
    }

    /// The rules of the kind that no schema can say.
    pub fn rules(&self) -> &'static dyn Builtin {
        self.behaviour.rules
    }

    /// The key prefix of a list: all objects, or those of one namespace.
    pub fn list_prefix(&self, namespace: &str) -> String {
        match namespace {
            "" => self.storage.prefix.clone(),
            namespace => format!("{}{namespace}/", self.storage.prefix),
        }
    }

    pub fn key(&self, namespace: &str, name: &str) -> String {
        format!("{}{name}", self.list_prefix(if self.namespaced { namespace } else { "" }))
    }

    /// Whether an object's stored bytes can be sent as they are, with the resourceVersion put in: it is stored in this
    /// version, and was written through the schema as it is now.
    pub fn is_stored_as_served(&self, object: &nubium_store::Object) -> bool {
        let storage = &self.storage;
        let is_current = storage.uniform && object.modified > storage.unchanged_since;
        is_current && storage.renames.is_empty() && self.is_storage_version()
    }

    fn is_storage_version(&self) -> bool {
        let (group, version) = self.storage.api_version.split_once('/').unwrap_or(("", &self.storage.api_version));
        self.group == group && self.version == version
    }

    /// An object as stored, turned into this version: without fields that its schema does not know, be they of another
    /// version or of before a change of the definition, and with defaults for what was stored before they existed.
    pub fn read(&self, object: &nubium_store::Object) -> Result<Value, serde_json::Error> {
        let mut value = crate::object::decode(object)?;
        self.serve(&mut value);
        // The schema of a built-in kind never changes, and its nulls stay.
        if self.is_custom() && !self.is_stored_as_served(object) {
            self.schema.prune(&mut value);
        }
        self.schema.default(&mut value);
        Ok(value)
    }

    /// An object of another version of this kind, in this version.
    pub fn convert(&self, mut value: Value) -> Value {
        value["apiVersion"] = self.api_version().into();
        self.schema.prune(&mut value);
        self.schema.default(&mut value);
        value
    }

    /// From the stored form to the served one.
    fn serve(&self, value: &mut Value) {
        if self.storage.alias
            && let Some(fields) = value.as_object_mut()
        {
            // What the stored form writes although it is empty, this one leaves out.
            fields.retain(|_, value| value != "");
        }
        rename(value, self.storage.renames.iter().map(|(served, stored)| (stored, served)));
        value["apiVersion"] = self.api_version().into();
    }

    /// From the served form to the stored one.
    pub fn to_stored<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        let stored = self.storage.api_version.as_str();
        if self.storage.renames.is_empty() && value["apiVersion"] == stored {
            return Cow::Borrowed(value);
        }
        let mut value = value.clone();
        rename(&mut value, self.storage.renames.iter().map(|(served, stored)| (served, stored)));
        value["apiVersion"] = stored.into();
        Cow::Owned(value)
    }

    /// What an object of this kind is before anybody said anything, for field ownership on create.
    pub fn empty(&self) -> Value {
        let mut empty = json!({"apiVersion": self.api_version(), "kind": self.kind});
        if !self.is_custom() {
            // Published defaults are what Go's structs hold when nothing was said.
            self.schema.default(&mut empty);
            for (field, value) in self.behaviour.defaults.iter().filter(|(_, value)| value.is_null()) {
                empty[field] = value.clone();
            }
        }
        empty
    }
}

/// `v1`, `nubium.dev/v1alpha1`.
pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// The key prefix of a resource.
pub(crate) fn prefix(group: &str, plural: &str) -> String {
    format!("/registry/{}/{plural}/", if group.is_empty() { "core" } else { group })
}

fn rename<'a>(value: &mut Value, names: impl Iterator<Item = (&'a String, &'a String)>) {
    let Some(map) = value.as_object_mut() else { return };
    let moved: Vec<(String, Value)> =
        names.filter_map(|(from, to)| map.remove(from).map(|value| (to.clone(), value))).collect();
    map.extend(moved);
}
