//! What is served, as clients find it out: groups, versions, resources.

use serde_json::{Value, json};

use crate::failure::Failure;
use crate::kind::{Kind, Snapshot, api_version};

/// The release of Kubernetes whose API this is.
const MINOR: &str = "35";

/// `/version`
pub(crate) fn version() -> Value {
    json!({
        "major": "1", "minor": MINOR, "gitVersion": format!("v1.{MINOR}.3+nubium"), "gitCommit": "",
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, platform()),
    })
}

fn platform() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `/`
pub(crate) fn paths(snapshot: &Snapshot) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in snapshot.groups().iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|version| format!("/apis/{}/{version}", group.name)));
    }
    paths.extend(["/healthz", "/livez", "/openapi/v3", "/readyz", "/version"].map(str::to_owned));
    json!({"paths": paths})
}

/// `/api`
pub(crate) fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`
pub(crate) fn groups(snapshot: &Snapshot) -> Value {
    let groups = snapshot.groups();
    let named = groups.iter().filter(|group| !group.name.is_empty());
    let groups: Vec<Value> = named.map(|group| described(group.name, &group.versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/<group>`
pub(crate) fn group(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let groups = snapshot.groups();
    let found = groups.iter().find(|group| group.name == name && !name.is_empty());
    let found = found.ok_or_else(Failure::no_such_path)?;
    let mut group = described(found.name, &found.versions);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(group)
}

fn described(name: &str, versions: &[&str]) -> Value {
    let described = |version: &&str| json!({"groupVersion": api_version(name, version), "version": version});
    json!({
        "name": name, "versions": versions.iter().map(described).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(described),
    })
}

/// `/api/v1`, `/apis/<group>/<version>`
pub(crate) fn resources(snapshot: &Snapshot, group: &str, version: &str) -> Result<Value, Failure> {
    let mut kinds: Vec<&Kind> =
        snapshot.kinds().map(AsRef::as_ref).filter(|kind| kind.group == group && kind.version == version).collect();
    if kinds.is_empty() {
        return Err(Failure::no_such_path());
    }
    kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
    let resources: Vec<Value> = kinds.into_iter().flat_map(described_kind).collect();
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
        "resources": resources,
    }))
}

fn described_kind(kind: &Kind) -> Vec<Value> {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
    });
    if !kind.short_names.is_empty() {
        resource["shortNames"] = kind.short_names.clone().into();
    }
    if !kind.categories.is_empty() {
        resource["categories"] = kind.categories.clone().into();
    }
    let mut resources = vec![resource];
    if kind.status {
        resources.push(json!({
            "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": ["get", "patch", "update"],
        }));
    }
    if kind.scale.is_some() {
        resources.push(json!({
            "name": format!("{}/scale", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": ["get", "patch", "update"],
        }));
    }
    resources
}
