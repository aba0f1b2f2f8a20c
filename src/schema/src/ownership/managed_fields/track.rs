//! One write: who owns what before and after.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use serde_json::Value;

use super::{
    ApplyError, Identity, Operation, Request, UpdateError, cap,
    entry::{self, Managed},
    error::version_and_kind,
};
use crate::ownership::{
    Path, Set, TypeRef,
    fieldpath::Filter,
    merge::{ConvertError, Converter, Owned, Updater},
    typed::{Duplicates, Typed},
};

/// The owners after `manager` wrote `new` in place of `live`.
pub(super) fn update(
    live: &Value,
    new: &Value,
    ty: &TypeRef,
    request: &Request,
    manager: &str,
    managed: Managed,
) -> Result<Managed, UpdateError> {
    let name = |object| object_name(object, request);
    let typed = |object| Typed::borrowed(object, ty, Duplicates::Allowed);
    let typed_new = typed(new).map_err(|source| UpdateError::New { name: name(new), source })?;
    let typed_live = typed(live).map_err(|source| UpdateError::Live { name: name(live), source })?;
    let Managed { owners, mut times } = managed;
    let writer = identity(manager, Operation::Update, request);
    // Written by somebody who owns nothing yet, so that what they own afterwards is what has changed.
    let nobody = Identity::nobody();
    let (filters, converter) = (filters(request), Versions { request });
    let updater = Updater { converter: &converter, filters: &filters };
    let mut owners = updater.update(&typed_live, &typed_new, request.api_version, owners, nobody.clone())?;
    if let Some(changed) = owners.remove(&nobody) {
        let set = changed.set.difference(&UNTRACKED);
        if !set.is_empty() {
            let set = owners.get(&writer).map_or(set.clone(), |before| before.set.union(&set));
            times.insert(writer.clone(), request.now.to_owned());
            owners.insert(writer, Owned { set, ..changed });
        }
    }
    let mut managed = Managed { owners, times };
    cap::cap_updaters(&mut managed);
    Ok(managed)
}

/// The object (without entries) and its owners after `config` was applied to `live`.
pub(super) fn apply(
    live: &Value,
    config: &Value,
    ty: &TypeRef,
    request: &Request,
    managed: Managed,
    force: bool,
) -> Result<(Value, Managed), ApplyError> {
    let name = |object| object_name(object, request);
    let typed_config = Typed::borrowed(config, ty, Duplicates::Refused)
        .map_err(|source| ApplyError::Config { name: name(config), source })?;
    let typed_live = Typed::borrowed(live, ty, Duplicates::Allowed)
        .map_err(|source| ApplyError::Live { name: name(live), source })?;
    let Managed { owners, mut times } = managed;
    let writer = identity(request.manager, Operation::Apply, request);
    let (filters, converter) = (filters(request), Versions { request });
    let updater = Updater { converter: &converter, filters: &filters };
    let (object, mut owners) =
        updater.apply(&typed_live, &typed_config, request.api_version, owners, writer.clone(), force)?;
    if let Some(own) = owners.get_mut(&writer) {
        own.set = own.set.difference(&UNTRACKED);
        if own.set.is_empty() {
            owners.remove(&writer);
        }
    }
    let mut object = match object {
        Some(object) => {
            times.insert(writer, request.now.to_owned());
            object.into_value()
        }
        // Nothing has changed but, perhaps, who owns it; that has no time.
        None => live.clone(),
    };
    entry::take(&mut object);
    Ok((object, Managed { owners, times }))
}

fn identity(manager: &str, operation: Operation, request: &Request) -> Identity {
    Identity {
        manager: if manager.is_empty() { "unknown".to_owned() } else { manager.to_owned() },
        operation,
        api_version: if operation == Operation::Update { request.api_version.to_owned() } else { String::new() },
        subresource: request.subresource.to_owned(),
    }
}

fn filters(request: &Request) -> BTreeMap<String, Filter> {
    let reset = request.reset_fields.map(|fields| (request.api_version.to_owned(), Filter::Without(fields.clone())));
    reset.into_iter().collect()
}

/// Fields that every object has and that have no owner.
static UNTRACKED: LazyLock<Set> = LazyLock::new(|| {
    let metadata = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let metadata = metadata.into_iter().map(|name| Path::of_fields(["metadata", name]));
    ["apiVersion", "kind", "metadata"].into_iter().map(|name| Path::of_fields([name])).chain(metadata).collect()
});

/// As in Kubernetes' errors: `shop/web; apps/v1, Kind=Deployment`.
fn object_name(object: &Value, request: &Request) -> String {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    let kind = version_and_kind(request.api_version, request.kind);
    format!("{}/{}; {kind}", text("namespace"), text("name"))
}

/// The versions that a request can have objects in.
struct Versions<'r> {
    request: &'r Request<'r>,
}

impl Converter for Versions<'_> {
    fn convert<'a>(&self, object: &'a Typed<'a>, version: &str) -> Result<Cow<'a, Typed<'a>>, ConvertError> {
        if object.value()["apiVersion"].as_str().unwrap_or(self.request.api_version) == version {
            return Ok(Cow::Borrowed(object));
        }
        let converted = self.request.conversion.and_then(|convert| convert(object.value(), version));
        let (value, ty) = converted.ok_or_else(|| ConvertError::NoSuchVersion(version.to_owned()))?;
        let typed = Typed::new(Cow::Owned(value), ty, Duplicates::Allowed)
            .map_err(|source| ConvertError::Failed { version: version.to_owned(), source: source.into() })?;
        Ok(Cow::Owned(typed))
    }
}
