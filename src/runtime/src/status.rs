//! Writes a status by server-side apply, and only when it differs.
//!
//! Every writer of a kind's status has a field manager and a set of fields that nobody else writes. It applies all of
//! them at once; what it leaves out is taken away. Which fields those are is said in an [`StatusWriter`], so that the
//! comparison with the cached object needs no managedFields: a field that is ours, is there, and is no longer in what
//! we say, is a difference.

use k8s_openapi::{apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Api, Resource, ResourceExt,
    api::{ObjectMeta, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    conditions::{find, keep_transition_times},
    errors::conflicting,
    patch::patch,
};

/// A writer of part of a kind's status, and the part.
#[derive(Debug, Clone, Copy)]
pub struct StatusWriter<'a> {
    /// The field manager, such as `nubium-scheduler`.
    pub manager: &'a str,
    /// The top-level fields of the status that are this writer's alone, as in JSON (`observedGeneration`).
    pub fields: &'a [&'a str],
    /// The condition types that are this writer's.
    pub conditions: &'a [&'a str],
    /// A list shared with other writers, and the name of this writer's entry in it: `("hosts", "host-a")`.
    pub entry: Option<(&'a str, &'a str)>,
}

/// Applies `status` to the object that `seen` is a cached copy of, unless that shows it already. True when it wrote.
///
/// `status` is the writer's whole part; empty options are left out of it and so taken away. `lastTransitionTime` in it
/// may be anything. If the name now belongs to another object (UID), nothing is left there, and it is a conflict.
pub async fn apply_status<K, S>(
    api: &Api<K>,
    seen: &K,
    owner: &StatusWriter<'_>,
    status: &S,
) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Serialize,
    S: Serialize,
{
    write(api, seen, owner, status, false).await
}

/// Like [`apply_status`], and fails with a conflict if the object is no longer the version that `seen` is:
/// compare-and-swap, for decisions that rest on what was read.
pub async fn claim_status<K, S>(
    api: &Api<K>,
    seen: &K,
    owner: &StatusWriter<'_>,
    status: &S,
) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Serialize,
    S: Serialize,
{
    write(api, seen, owner, status, true).await
}

/// Whether [`apply_status`] would write.
pub fn status_differs<K: Serialize, S: Serialize>(seen: &K, owner: &StatusWriter<'_>, status: &S) -> bool {
    // What cannot be compared is for the write to fail on.
    compare(seen, owner, status).map_or(true, |change| change.is_some())
}

/// The writer's part as it should be written; None when it is there already.
fn compare<K: Serialize, S: Serialize>(
    seen: &K,
    owner: &StatusWriter<'_>,
    status: &S,
) -> Result<Option<Value>, kube::Error> {
    let mut own = serde_json::to_value(status).map_err(kube::Error::SerdeError)?;
    let before = serde_json::to_value(seen).map_err(kube::Error::SerdeError)?.get_mut("status").map(Value::take);
    let before = before.unwrap_or(Value::Null);
    let now = serde_json::to_value(Time(Timestamp::now())).map_err(kube::Error::SerdeError)?;
    keep_transition_times(&mut own, &before, now.as_str().unwrap_or_default());
    debug_assert_eq!(undeclared(&own, owner), None, "{} writes a field that it does not own", owner.manager);
    Ok(differs(&own, &before, owner).then_some(own))
}

async fn write<K, S>(
    api: &Api<K>,
    seen: &K,
    owner: &StatusWriter<'_>,
    status: &S,
    exact: bool,
) -> Result<bool, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Serialize,
    S: Serialize,
{
    let Some(own) = compare(seen, owner, status)? else { return Ok(false) };
    let mut body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": seen.name_any(), "uid": seen.uid()},
        "status": own,
    });
    if exact {
        body["metadata"]["resourceVersion"] = seen.resource_version().into();
    }
    let params = PatchParams::apply(owner.manager).force();
    let answer = patch(api, &seen.name_any(), Some("status"), &params, &Patch::Apply(&body)).await?;
    if answer.uid != seen.uid() {
        // An API server takes a status for whatever bears the name: it looks at the UID of whole objects only.
        take_back(api, &answer, owner).await?;
        return Err(conflicting("the name belongs to another object now"));
    }
    Ok(true)
}

/// Takes the writer's whole part out of a status; its own next pass says what is true of this object.
async fn take_back<K>(api: &Api<K>, other: &ObjectMeta, owner: &StatusWriter<'_>) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = ()> + Clone,
{
    let name = other.name.clone().unwrap_or_default();
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": name, "uid": other.uid},
        "status": {},
    });
    let params = PatchParams::apply(owner.manager).force();
    patch(api, &name, Some("status"), &params, &Patch::Apply(&body)).await.map(drop)
}

/// Whether what `owner` wants to be there is not exactly what is there of its part.
fn differs(own: &Value, seen: &Value, owner: &StatusWriter<'_>) -> bool {
    owner.fields.iter().any(|field| own.get(field) != seen.get(field))
        || owner.conditions.iter().any(|type_| find(own, type_) != find(seen, type_))
        || owner.entry.is_some_and(|(list, name)| entry(own, list, name) != entry(seen, list, name))
}

fn entry<'a>(status: &'a Value, list: &str, name: &str) -> Option<&'a Value> {
    status.get(list)?.as_array()?.iter().find(|entry| entry["name"] == name)
}

/// Something in `own` that `owner` does not say it owns.
fn undeclared(own: &Value, owner: &StatusWriter<'_>) -> Option<String> {
    let list = owner.entry.map(|(list, _)| list);
    let stranger = own.as_object()?.keys().find(|field| {
        !owner.fields.contains(&field.as_str()) && Some(field.as_str()) != list && field.as_str() != "conditions"
    });
    let condition = own.get("conditions").and_then(Value::as_array).into_iter().flatten().find_map(|condition| {
        let type_ = condition["type"].as_str().unwrap_or_default();
        (!owner.conditions.contains(&type_)).then(|| type_.to_owned())
    });
    stranger.cloned().or(condition)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENT: StatusWriter<'_> = StatusWriter {
        manager: "nubium-agent",
        fields: &["capacity"],
        conditions: &["Running"],
        entry: Some(("hosts", "host-a")),
    };

    fn seen() -> Value {
        json!({
            "host": "host-a",
            "capacity": "1Gi",
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Running", "status": "True"}],
            "hosts": [{"name": "host-b", "ready": false}, {"name": "host-a", "ready": true}],
        })
    }

    fn own() -> Value {
        json!({
            "capacity": "1Gi",
            "conditions": [{"type": "Running", "status": "True"}],
            "hosts": [{"name": "host-a", "ready": true}],
        })
    }

    #[test]
    fn what_is_there_already_is_not_written_whatever_others_say() {
        assert!(!differs(&own(), &seen(), &AGENT));
    }

    #[test]
    fn every_part_that_is_ours_counts_when_it_changes_and_when_it_goes() {
        for (path, value) in
            [("/capacity", json!("2Gi")), ("/conditions/0/status", json!("False")), ("/hosts/0/ready", json!(false))]
        {
            let mut changed = own();
            *changed.pointer_mut(path).unwrap() = value;
            assert!(differs(&changed, &seen(), &AGENT), "{path}");
        }
        for field in ["capacity", "conditions", "hosts"] {
            let mut less = own();
            less.as_object_mut().unwrap().remove(field);
            assert!(differs(&less, &seen(), &AGENT), "{field} taken away");
        }
        assert!(differs(&own(), &Value::Null, &AGENT), "no status yet");
    }

    #[test]
    fn a_field_of_another_writer_is_noticed() {
        assert_eq!(undeclared(&own(), &AGENT), None);
        assert_eq!(undeclared(&json!({"host": "x"}), &AGENT).as_deref(), Some("host"));
        assert_eq!(undeclared(&json!({"conditions": [{"type": "Ready"}]}), &AGENT).as_deref(), Some("Ready"));
    }
}
