//! What a path names: a collection, an object, a subresource, or one of the API's own pages.

use percent_encoding::percent_decode_str;

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
    /// `/healthz`, `/livez`
    Health,
    /// `/readyz`
    Ready,
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
    /// `/openapi/v2`
    OpenApiV2,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/<path>`
    OpenApi(String),
    Metrics,
    Object(Target),
    /// A path below `/api/v1` or a group that no resource can have.
    NoResource {
        group: String,
        version: String,
    },
    Unknown,
}

/// The checks of `/healthz` and its like that clients may ask for one by one.
const CHECKS: [&str; 3] = ["ping", "log", "etcd"];

impl Page {
    /// Reads a path. Segments are percent-decoded; slashes at the end do not count, empty segments name nothing.
    pub fn parse(path: &str) -> Self {
        let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let trimmed = path.strip_prefix('/').unwrap_or(path).trim_end_matches('/');
        let parts: Vec<String> = if trimmed.is_empty() { Vec::new() } else { trimmed.split('/').map(decode).collect() };
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let own = |text: &&str| (*text).to_owned();
        match parts.as_slice() {
            [] if path.len() <= 1 => Self::Root,
            ["healthz" | "livez"] => Self::Health,
            ["readyz"] => Self::Ready,
            ["healthz" | "livez" | "readyz", check] if CHECKS.contains(check) => Self::Health,
            ["version"] => Self::Version,
            ["metrics"] => Self::Metrics,
            ["api"] => Self::CoreVersions,
            ["apis"] => Self::Groups,
            ["apis", group] => Self::Group(own(group)),
            ["api", version] => Self::Resources { group: String::new(), version: own(version) },
            ["apis", group, version] => Self::Resources { group: own(group), version: own(version) },
            ["openapi", "v2"] => Self::OpenApiV2,
            ["openapi", "v3"] => Self::OpenApiIndex,
            ["openapi", "v3", rest @ ..] => Self::OpenApi(rest.join("/")),
            ["api", version, rest @ ..] => Self::object("", version, rest),
            ["apis", group, version, rest @ ..] => Self::object(group, version, rest),
            _ => Self::Unknown,
        }
    }

    /// What it is, for measurements.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Ready => "/readyz",
            Self::Version => "/version",
            Self::Metrics => "/metrics",
            Self::OpenApiV2 => "/openapi/v2",
            Self::OpenApiIndex | Self::OpenApi(_) => "/openapi/v3",
            Self::Root => "/",
            Self::CoreVersions | Self::Groups | Self::Group(_) | Self::Resources { .. } => "/apis",
            Self::Object(_) | Self::NoResource { .. } | Self::Unknown => "",
        }
    }

    fn object(group: &str, version: &str, rest: &[&str]) -> Self {
        let target = Target { group: group.to_owned(), version: version.to_owned(), ..Target::default() };
        let own = str::to_owned;
        if rest.contains(&"") {
            return Self::NoResource { group: target.group, version: target.version };
        }
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
            _ => return Self::NoResource { group: target.group, version: target.version },
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
        assert_eq!(Page::parse("/metrics"), Page::Metrics);
    }

    #[test]
    fn what_has_too_much_in_it_names_nothing() {
        let core = Page::NoResource { group: String::new(), version: "v1".into() };
        for path in ["/api/v1//namespaces", "/api/v1/namespaces//secrets", "/api/v1/namespaces/a/secrets/b/c/d"] {
            assert_eq!(Page::parse(path), core, "{path}");
        }
        for path in ["//", "//api/v1", "/healthz/junk", "/version/junk", "/api/v1/..%2f"] {
            assert!(!matches!(Page::parse(path), Page::Root | Page::Health | Page::Version), "{path}");
        }
        assert_eq!(Page::parse("/api/v1/namespaces/"), Page::parse("/api/v1/namespaces"));
    }
}
