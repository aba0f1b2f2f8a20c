//! From what a person types (`srv`, `server`, `servers.nubium.dev`, `nubium`) to the resources meant.

use anyhow::{Context, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResource;
use kube::Client;
use serde_json::Value;

/// One kind that the API server serves.
#[derive(Debug, Clone)]
pub struct Resource {
    /// Its group, empty for the core one.
    pub group: String,
    /// Its version.
    pub version: String,
    /// As the API server describes it.
    pub api: APIResource,
}

impl Resource {
    /// The path of one object, or of all of a namespace (or of all namespaces).
    pub fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = match self.group.as_str() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if let (true, Some(namespace)) = (self.api.namespaced, namespace) {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        path.push_str(&format!("/{}", self.api.name));
        if let Some(name) = name {
            path.push_str(&format!("/{name}"));
        }
        path
    }

    /// `server.nubium.dev`, as kubectl writes it.
    pub fn title(&self) -> String {
        match self.group.as_str() {
            "" => self.api.singular_name.clone(),
            group => format!("{}.{group}", self.api.singular_name),
        }
    }

    fn is_called(&self, word: &str) -> bool {
        let api = &self.api;
        let qualified = word
            .split_once('.')
            .is_some_and(|(name, group)| group == self.group && (name == api.name || name == api.singular_name));
        qualified
            || word == api.name
            || word == api.singular_name
            || word.eq_ignore_ascii_case(&api.kind)
            || api.short_names.iter().flatten().any(|short| short == word)
    }
}

/// Everything the API server serves, subresources left out.
pub async fn served(client: &Client) -> Result<Vec<Resource>, kube::Error> {
    let mut found = Vec::new();
    for version in client.list_core_api_versions().await?.versions {
        let list = client.list_core_api_resources(&version).await?;
        found.extend(list.resources.into_iter().map(|api| Resource {
            group: String::new(),
            version: version.clone(),
            api,
        }));
    }
    for group in client.list_api_groups().await?.groups {
        let Some(preferred) = group.preferred_version.or_else(|| group.versions.first().cloned()) else { continue };
        let list = client.list_api_group_resources(&preferred.group_version).await?;
        let version = preferred.version;
        found.extend(list.resources.into_iter().map(|api| Resource {
            group: group.name.clone(),
            version: version.clone(),
            api,
        }));
    }
    found.retain(|resource| !resource.api.name.contains('/'));
    Ok(found)
}

/// The resource of an object, by its apiVersion and kind.
pub fn of_object<'a>(served: &'a [Resource], object: &Value) -> anyhow::Result<&'a Resource> {
    let text = |field: &str| object[field].as_str().unwrap_or_default();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let found = served.iter().find(|r| r.group == group && r.version == version && r.api.kind == kind);
    found.with_context(|| format!("the cloud does not serve {api_version} {kind}"))
}

/// The resources that `words` (separated by commas) name; a category names several.
pub fn select<'a>(served: &'a [Resource], words: &str) -> anyhow::Result<Vec<&'a Resource>> {
    let mut chosen = Vec::new();
    for word in words.split(',') {
        // Kubernetes has IP addresses of its own: who asks us means ours.
        let called = served.iter().filter(|resource| resource.is_called(word));
        if let Some(resource) = called.min_by_key(|resource| resource.group != nubium_api::GROUP) {
            chosen.push(resource);
            continue;
        }
        let before = chosen.len();
        chosen.extend(served.iter().filter(|r| r.api.categories.iter().flatten().any(|category| category == word)));
        if chosen.len() == before {
            let ours: Vec<_> =
                served.iter().filter(|r| r.group == nubium_api::GROUP).map(|r| r.api.name.as_str()).collect();
            bail!("the cloud serves no kind called {word:?}; Nubium's are {}", ours.join(", "));
        }
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(group: &str, name: &str) -> Resource {
        let api = APIResource { name: name.to_owned(), ..APIResource::default() };
        Resource { group: group.to_owned(), version: "v1".to_owned(), api }
    }

    #[test]
    fn of_two_kinds_by_one_name_ours_is_meant() {
        let served = ["networking.k8s.io", nubium_api::GROUP].map(|group| resource(group, "ipaddresses"));
        assert_eq!(select(&served, "ipaddresses").unwrap()[0].group, nubium_api::GROUP);
        assert_eq!(select(&served, "ipaddresses.networking.k8s.io").unwrap()[0].group, "networking.k8s.io");
    }

    #[test]
    fn of_others_the_core_s_comes_first() {
        let served = ["", "events.k8s.io"].map(|group| resource(group, "events"));
        assert_eq!(select(&served, "events").unwrap()[0].group, "");
    }
}
