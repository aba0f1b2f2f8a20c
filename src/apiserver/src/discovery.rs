//! What is served, as clients discover it: groups, versions, resources; one by one, or all at once (aggregated).

use std::collections::BTreeMap;

use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use crate::access::review::{self, Review};
use crate::failure::Failure;
use crate::http::etag::hashed;
use crate::http::media::accepted;
use crate::http::reply::Reply;
use crate::kind::{Kind, Snapshot, api_version};

/// The release of Kubernetes whose API this is.
const MINOR: &str = "35";

/// The verbs of every kind.
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// The verbs of a kind.
fn verbs(kind: &Kind) -> Vec<&'static str> {
    VERBS.into_iter().filter(|verb| *verb != "deletecollection" || kind.deletes_collections()).collect()
}

/// The verbs of a subresource.
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

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

/// Every group with its versions, the preferred one first; the core group has no name.
pub(crate) fn all_groups(snapshot: &Snapshot) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for group in snapshot.groups() {
        groups.insert(group.name.to_owned(), group.versions.iter().map(|version| (*version).to_owned()).collect());
    }
    for review in &review::ALL {
        groups.entry(review.group.to_owned()).or_insert_with(|| vec![review::VERSION.to_owned()]);
    }
    groups
}

/// `/`
pub(crate) fn paths(snapshot: &Snapshot) -> Value {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for (name, versions) in all_groups(snapshot).iter().filter(|(name, _)| !name.is_empty()) {
        paths.push(format!("/apis/{name}"));
        paths.extend(versions.iter().map(|version| format!("/apis/{name}/{version}")));
    }
    let own = ["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz", "/version"];
    paths.extend(own.map(str::to_owned));
    json!({"paths": paths})
}

/// `/api`
pub(crate) fn core(snapshot: &Snapshot, request: &HeaderMap) -> Reply {
    aggregated(snapshot, request, true).unwrap_or_else(|| {
        let versions = json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []});
        Reply::value(StatusCode::OK, &versions)
    })
}

/// `/apis`
pub(crate) fn groups(snapshot: &Snapshot, request: &HeaderMap) -> Reply {
    aggregated(snapshot, request, false).unwrap_or_else(|| {
        let all = all_groups(snapshot);
        let named = all.iter().filter(|(name, _)| !name.is_empty());
        let groups: Vec<Value> = named.map(|(name, versions)| described(name, versions)).collect();
        Reply::value(StatusCode::OK, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
    })
}

/// `/apis/<group>`
pub(crate) fn group(snapshot: &Snapshot, name: &str) -> Result<Value, Failure> {
    let all = all_groups(snapshot);
    let versions = all.get(name).filter(|_| !name.is_empty()).ok_or_else(Failure::no_such_path)?;
    let mut group = described(name, versions);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(group)
}

fn described(name: &str, versions: &[String]) -> Value {
    let described = |version: &String| json!({"groupVersion": api_version(name, version), "version": version});
    json!({
        "name": name, "versions": versions.iter().map(described).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(described),
    })
}

/// The kinds of a group and version, sorted.
fn kinds_of<'a>(snapshot: &'a Snapshot, group: &str, version: &str) -> Vec<&'a Kind> {
    let kinds =
        snapshot.kinds().map(AsRef::as_ref).filter(|kind: &&Kind| kind.group == group && kind.version == version);
    let mut kinds: Vec<&Kind> = kinds.collect();
    kinds.sort_by(|a, b| a.plural.cmp(&b.plural));
    kinds
}

/// `/api/v1`, `/apis/<group>/<version>`
pub(crate) fn resources(snapshot: &Snapshot, group: &str, version: &str) -> Result<Value, Failure> {
    let kinds = kinds_of(snapshot, group, version).into_iter().flat_map(described_kind);
    let resources: Vec<Value> = kinds.chain(review::of(group, version).map(described_review)).collect();
    if resources.is_empty() {
        return Err(Failure::no_such_path());
    }
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version),
        "resources": resources,
    }))
}

fn described_review(review: &Review) -> Value {
    json!({
        "name": review.plural, "singularName": review.singular, "namespaced": false, "kind": review.kind,
        "verbs": ["create"],
    })
}

fn described_kind(kind: &Kind) -> Vec<Value> {
    let mut resource = json!({
        "name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced, "kind": kind.kind,
        "verbs": verbs(kind),
    });
    name_further(&mut resource, kind);
    let mut resources = vec![resource];
    if kind.finalize {
        resources.push(json!({
            "name": format!("{}/finalize", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": ["update"],
        }));
    }
    if kind.status {
        resources.push(json!({
            "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": SUBRESOURCE_VERBS,
        }));
    }
    if kind.scale.is_some() {
        resources.push(json!({
            "name": format!("{}/scale", kind.plural), "singularName": "", "namespaced": kind.namespaced,
            "group": "autoscaling", "version": "v1", "kind": "Scale", "verbs": SUBRESOURCE_VERBS,
        }));
    }
    resources
}

/// Adds the short names and categories that a kind has.
fn name_further(resource: &mut Value, kind: &Kind) {
    for (field, names) in [("shortNames", &kind.short_names), ("categories", &kind.categories)] {
        if !names.is_empty() {
            resource[field] = names.clone().into();
        }
    }
}

/// Everything at once, if the client asks for that: the core group alone, or all others.
fn aggregated(snapshot: &Snapshot, request: &HeaderMap, core: bool) -> Option<Reply> {
    let is_list = |name: Option<&str>| name == Some("APIGroupDiscoveryList");
    let version = accepted(request).into_iter().find_map(|range| match range.media {
        "application/json" if is_list(range.parameter("as")) => match range.parameter("v") {
            Some("v2") => Some(Some("v2")),
            Some("v2beta1") => Some(Some("v2beta1")),
            _ => None,
        },
        "application/json" | "application/*" | "*/*" if range.parameter("as").is_none() => Some(None),
        _ => None,
    })??;
    let media = match version {
        "v2" => "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        _ => "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    };
    let groups = all_groups(snapshot).into_iter().filter(|(name, _)| name.is_empty() == core);
    let items = groups.map(|(name, versions)| {
        let version = |version: &String| {
            json!({
                "version": version, "freshness": "Current", "resources": discovered(snapshot, &name, version),
            })
        };
        let metadata = if core { json!({}) } else { json!({"name": name}) };
        json!({"metadata": metadata, "versions": versions.iter().map(version).collect::<Vec<_>>()})
    });
    let list = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"), "metadata": {},
        "items": items.collect::<Vec<_>>(),
    });
    Some(hashed(&list, media, request))
}

fn discovered(snapshot: &Snapshot, group: &str, version: &str) -> Vec<Value> {
    let kinds = kinds_of(snapshot, group, version).into_iter().map(|kind| {
        let own = json!({"group": kind.group, "version": kind.version, "kind": kind.kind});
        let mut resource = json!({
            "resource": kind.plural, "singularResource": kind.singular, "responseKind": own, "verbs": verbs(kind),
            "scope": if kind.namespaced { "Namespaced" } else { "Cluster" },
        });
        name_further(&mut resource, kind);
        let mut subresources = Vec::new();
        if kind.finalize {
            subresources.push(json!({"subresource": "finalize", "responseKind": own, "verbs": ["update"]}));
        }
        if kind.status {
            subresources.push(json!({"subresource": "status", "responseKind": own, "verbs": SUBRESOURCE_VERBS}));
        }
        if kind.scale.is_some() {
            let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
            subresources.push(json!({"subresource": "scale", "responseKind": scale, "verbs": SUBRESOURCE_VERBS}));
        }
        if !subresources.is_empty() {
            resource["subresources"] = subresources.into();
        }
        resource
    });
    let reviews = review::of(group, version).map(|review| {
        json!({
            "resource": review.plural, "singularResource": review.singular, "scope": "Cluster", "verbs": ["create"],
            "responseKind": {"group": review.group, "version": review::VERSION, "kind": review.kind},
        })
    });
    kinds.chain(reviews).collect()
}
