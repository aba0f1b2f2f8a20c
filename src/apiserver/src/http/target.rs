//! What a path names: a collection, an object, a subresource, or one of the API's own pages.

/// A path inside `/api/v1` or `/apis/<group>/<version>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Target {
    pub group: String,
    pub version: String,
    /// The plural, e.g. `servers`.
    pub resource: String,
    /// Empty for cluster-scoped objects and for lists across all namespaces.
    pub namespace: String,
    /// Empty for a collection.
    pub name: String,
    /// `status`, `scale`, …; empty for the object itself.
    pub subresource: String,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Page {
    /// `/healthz`, `/livez`, `/readyz`.
    Health,
    Version,
    /// `/`: the list of paths.
    Root,
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(String),
    /// `/api/v1` (with an empty group) or `/apis/<group>/<version>`.
    Resources {
        group: String,
        version: String,
    },
    OpenApiIndex,
    /// `/openapi/v3/<path>`
    OpenApi(String),
    Object(Target),
    Unknown,
}

impl Page {
    /// Reads a path. Segments are percent-decoded.
    pub fn parse(path: &str) -> Self {
        let parts: Vec<String> =
            path.split('/').filter(|part| !part.is_empty()).map(|part| super::options::decode(part, false)).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        match parts.as_slice() {
            [] => Self::Root,
            ["healthz" | "livez" | "readyz", ..] => Self::Health,
            ["version"] => Self::Version,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group((*group).to_owned()),
            ["api", version] => Self::Resources { group: String::new(), version: (*version).to_owned() },
            ["apis", group, version] => Self::Resources { group: (*group).to_owned(), version: (*version).to_owned() },
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v3", rest @ ..] => Self::OpenApi(rest.join("/")),
            ["api", version, rest @ ..] => Self::object("", version, rest),
            ["apis", group, version, rest @ ..] => Self::object(group, version, rest),
            _ => Self::Unknown,
        }
    }

    fn object(group: &str, version: &str, rest: &[&str]) -> Self {
        let target = Target { group: group.to_owned(), version: version.to_owned(), ..Target::default() };
        let own = str::to_owned;
        Self::Object(match rest {
            // The namespace itself and its subresources.
            ["namespaces", name] if group.is_empty() => {
                Target { resource: own("namespaces"), name: own(name), ..target }
            }
            ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => {
                Target { resource: own("namespaces"), name: own(name), subresource: own(sub), ..target }
            }
            ["namespaces", namespace, resource] => {
                Target { namespace: own(namespace), resource: own(resource), ..target }
            }
            ["namespaces", namespace, resource, name] => {
                Target { namespace: own(namespace), resource: own(resource), name: own(name), ..target }
            }
            ["namespaces", namespace, resource, name, sub] => Target {
                namespace: own(namespace),
                resource: own(resource),
                name: own(name),
                subresource: own(sub),
                ..target
            },
            [resource] => Target { resource: own(resource), ..target },
            [resource, name] => Target { resource: own(resource), name: own(name), ..target },
            [resource, name, sub] => {
                Target { resource: own(resource), name: own(name), subresource: own(sub), ..target }
            }
            _ => return Self::Unknown,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(path: &str) -> (String, String, String, String, String) {
        match Page::parse(path) {
            Page::Object(t) => (t.group, t.namespace, t.resource, t.name, t.subresource),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn parts(parts: [&str; 5]) -> (String, String, String, String, String) {
        let [a, b, c, d, e] = parts.map(str::to_owned);
        (a, b, c, d, e)
    }

    #[test]
    fn paths_name_objects() {
        let nubium = "/apis/nubium.dev/v1alpha1";
        for (path, want) in [
            ("/api/v1/namespaces".to_owned(), ["", "", "namespaces", "", ""]),
            ("/api/v1/namespaces/a".to_owned(), ["", "", "namespaces", "a", ""]),
            ("/api/v1/namespaces/a/status".to_owned(), ["", "", "namespaces", "a", "status"]),
            ("/api/v1/namespaces/a/secrets".to_owned(), ["", "a", "secrets", "", ""]),
            ("/api/v1/namespaces/a/secrets/s%3Ab".to_owned(), ["", "a", "secrets", "s:b", ""]),
            (format!("{nubium}/servers"), ["nubium.dev", "", "servers", "", ""]),
            (format!("{nubium}/hosts/h/status"), ["nubium.dev", "", "hosts", "h", "status"]),
            (format!("{nubium}/namespaces/a/servers/w/status"), ["nubium.dev", "a", "servers", "w", "status"]),
        ] {
            assert_eq!(object(&path), parts(want), "{path}");
        }
    }

    #[test]
    fn pages_of_the_api_itself() {
        assert_eq!(Page::parse("/"), Page::Root);
        assert_eq!(Page::parse("/apis/"), Page::Groups);
        assert_eq!(Page::parse("/readyz/ping"), Page::Health);
        assert_eq!(Page::parse("/api/v1"), Page::Resources { group: String::new(), version: "v1".into() });
        assert_eq!(Page::parse("/openapi/v3/apis/g/v"), Page::OpenApi("apis/g/v".into()));
        assert_eq!(Page::parse("/metrics"), Page::Unknown);
    }
}
