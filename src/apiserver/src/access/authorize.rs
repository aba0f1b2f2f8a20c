//! Two groups stand where roles will: admins may do everything, a host's agent what its rules say. Whose status that is,
//! and what of it, is in `status`.

use super::identity::{ADMINS, HOSTS, Identity};
use crate::failure::{Failure, Subject};

/// What somebody wants to do to what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`.
    pub verb: &'a str,
    pub group: &'a str,
    pub resource: &'a str,
    pub subresource: &'a str,
    pub namespace: &'a str,
    /// Empty for a collection; of a create, the name of the object to make.
    pub name: &'a str,
}

/// One thing that hosts may do. `*` stands for anything, `{host}` for the host's own name.
struct Rule {
    verbs: &'static [&'static str],
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    namespace: &'static str,
    name: &'static str,
}

const READ: &[&str] = &["get", "list", "watch"];

const HOST_RULES: &[Rule] = &[
    Rule { verbs: READ, group: "nubium.dev", resource: "*", subresource: "*", namespace: "*", name: "*" },
    status_of("servers", "*", "*"),
    status_of("volumes", "*", "*"),
    status_of("networks", "*", "*"),
    status_of("images", "*", "*"),
    status_of("hosts", "", "{host}"),
    Rule {
        verbs: &["create", "patch"],
        group: "nubium.dev",
        resource: "hosts",
        subresource: "",
        namespace: "",
        name: "{host}",
    },
    Rule { verbs: &["create", "patch"], group: "", resource: "events", subresource: "", namespace: "*", name: "*" },
    Rule {
        verbs: &["create", "patch"],
        group: "events.k8s.io",
        resource: "events",
        subresource: "",
        namespace: "*",
        name: "*",
    },
    Rule {
        verbs: &["get", "create", "update", "patch"],
        group: "coordination.k8s.io",
        resource: "leases",
        subresource: "",
        namespace: "nubium-hosts",
        name: "{host}",
    },
    Rule {
        verbs: &["get"],
        group: "",
        resource: "secrets",
        subresource: "",
        namespace: "nubium-host-{host}",
        name: "*",
    },
];

const fn status_of(resource: &'static str, namespace: &'static str, name: &'static str) -> Rule {
    Rule { verbs: &["patch"], group: "nubium.dev", resource, subresource: "status", namespace, name }
}

impl Rule {
    fn covers(&self, action: &Action<'_>, host: &str) -> bool {
        let fits = |pattern: &str, value: &str| pattern == "*" || pattern.replace("{host}", host) == value;
        self.verbs.contains(&action.verb)
            && self.group == action.group
            && fits(self.resource, action.resource)
            && fits(self.subresource, action.subresource)
            && fits(self.namespace, action.namespace)
            && fits(self.name, action.name)
    }
}

/// Refuses what the caller may not do.
pub(crate) fn check(identity: &Identity, action: &Action<'_>) -> Result<(), Failure> {
    let allowed = identity.is_in(ADMINS)
        || (identity.is_in(HOSTS) && HOST_RULES.iter().any(|rule| rule.covers(action, &identity.name)));
    if allowed {
        return Ok(());
    }
    let subject = Subject { group: action.group, resource: action.resource };
    let resource = match action.subresource {
        "" => action.resource.to_owned(),
        subresource => format!("{}/{subresource}", action.resource),
    };
    let place = match action.namespace {
        "" => "at the cluster scope".to_owned(),
        namespace => format!("in the namespace {namespace:?}"),
    };
    let why = format!(
        "User {:?} cannot {} resource {resource:?} in API group {:?} {place}",
        identity.name, action.verb, action.group
    );
    Err(Failure::forbidden(subject, action.name, &why))
}

/// Refuses a page of the API itself to those who showed no certificate.
pub(crate) fn check_page(identity: &Identity, path: &str, public: bool) -> Result<(), Failure> {
    if public || !identity.is_anonymous() {
        return Ok(());
    }
    Err(Failure::forbidden_path(&identity.name, "get", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action<'a>(verb: &'a str, group: &'a str, path: [&'a str; 4]) -> Action<'a> {
        let [namespace, resource, name, subresource] = path;
        Action { verb, group, resource, subresource, namespace, name }
    }

    #[test]
    fn a_host_reads_ours_and_writes_what_it_saw() {
        let host = Identity::host("rack-1");
        for (verb, group, path) in [
            ("watch", "nubium.dev", ["", "servers", "", ""]),
            ("get", "nubium.dev", ["shop", "volumes", "v", ""]),
            ("patch", "nubium.dev", ["shop", "servers", "web", "status"]),
            ("patch", "nubium.dev", ["", "hosts", "rack-1", ""]),
            ("patch", "nubium.dev", ["", "hosts", "rack-1", "status"]),
            ("create", "nubium.dev", ["", "hosts", "rack-1", ""]),
            ("create", "", ["shop", "events", "e", ""]),
            ("create", "events.k8s.io", ["shop", "events", "e", ""]),
            ("update", "coordination.k8s.io", ["nubium-hosts", "leases", "rack-1", ""]),
            ("get", "", ["nubium-host-rack-1", "secrets", "web-seed", ""]),
        ] {
            assert_eq!(check(&host, &action(verb, group, path)), Ok(()), "{verb} {path:?}");
        }
    }

    #[test]
    fn and_nothing_else() {
        let host = Identity::host("rack-1");
        for (verb, group, path) in [
            ("get", "", ["shop", "secrets", "s", ""]),
            ("get", "", ["nubium-host-rack-2", "secrets", "s", ""]),
            ("list", "", ["nubium-host-rack-1", "secrets", "", ""]),
            ("patch", "nubium.dev", ["shop", "servers", "web", ""]),
            ("patch", "nubium.dev", ["", "hosts", "rack-2", ""]),
            ("patch", "nubium.dev", ["", "hosts", "rack-2", "status"]),
            ("patch", "nubium.dev", ["shop", "ports", "web-eth0", "status"]),
            ("create", "nubium.dev", ["", "hosts", "rack-2", ""]),
            ("delete", "nubium.dev", ["", "hosts", "rack-1", ""]),
            ("update", "coordination.k8s.io", ["kube-system", "leases", "x", ""]),
            ("patch", "coordination.k8s.io", ["nubium-hosts", "leases", "rack-2", ""]),
            ("create", "coordination.k8s.io", ["nubium-hosts", "leases", "rack-2", ""]),
            ("list", "", ["", "namespaces", "", ""]),
        ] {
            assert!(check(&host, &action(verb, group, path)).is_err(), "{verb} {path:?}");
        }
    }

    #[test]
    fn a_refusal_says_who_cannot_do_what_where() {
        let failure = check(&Identity::host("rack-1"), &action("get", "", ["shop", "secrets", "s", ""])).unwrap_err();
        assert_eq!(
            failure.message(),
            r#"secrets "s" is forbidden: User "rack-1" cannot get resource "secrets" in API group "" in the namespace "shop""#
        );
        let failure = check(&Identity::anonymous(), &action("list", "nubium.dev", ["", "hosts", "", ""])).unwrap_err();
        assert_eq!(
            failure.message(),
            r#"hosts.nubium.dev is forbidden: User "system:anonymous" cannot list resource "hosts" in API group "nubium.dev" at the cluster scope"#
        );
    }
}
