//! Who may send which request. Admins may do everything, a host's agent what the rules say; which part of a status an
//! agent may change is for [`super::status`].

use serde_json::{Value, json};

use super::identity::{ADMINS, HOSTS, Identity};
use super::policy::Rule;
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
    /// Empty for a collection. `None` for a create whose body has not been read: may the caller create anything here?
    pub name: Option<&'a str>,
}

/// Decides what callers may do.
pub(crate) trait Authorizer: Send + Sync {
    /// Why the caller may do this; `None` when it may not.
    fn reason(&self, identity: &Identity, action: &Action<'_>) -> Option<&'static str>;

    /// What the caller may do in a namespace and at the cluster scope, as the status of a SelfSubjectRulesReview.
    fn rules(&self, identity: &Identity, namespace: &str) -> Value;
}

/// Admins may do everything, hosts what the rules of the policy say.
pub(crate) struct HostRoles(pub Vec<Rule>);

impl Authorizer for HostRoles {
    fn reason(&self, identity: &Identity, action: &Action<'_>) -> Option<&'static str> {
        if identity.is_in(ADMINS) {
            return Some(ADMIN_REASON);
        }
        let covers = |rule: &Rule| rule.covers(action, &identity.name);
        (identity.is_in(HOSTS) && self.0.iter().any(covers)).then_some("a host's agent may do this")
    }

    fn rules(&self, identity: &Identity, namespace: &str) -> Value {
        let all = json!(["*"]);
        if identity.is_in(ADMINS) {
            return json!({
                "resourceRules": [{"verbs": all, "apiGroups": all, "resources": all}],
                "nonResourceRules": [{"verbs": all, "nonResourceURLs": all}], "incomplete": false,
            });
        }
        let fill = |pattern: &str| pattern.replace("{host}", &identity.name);
        let here = |rule: &&Rule| ["", "*", namespace].contains(&fill(&rule.namespace).as_str());
        let resource_rules = self.0.iter().filter(|_| identity.is_in(HOSTS)).filter(here).map(|rule| {
            let resource = match rule.subresource.as_str() {
                "" | "*" => rule.resource.clone(),
                subresource => format!("{}/{subresource}", rule.resource),
            };
            let mut shown = json!({"verbs": rule.verbs, "apiGroups": [rule.group], "resources": [resource]});
            if rule.name != "*" {
                shown["resourceNames"] = json!([fill(&rule.name)]);
            }
            shown
        });
        let resource_rules: Vec<Value> = resource_rules.collect();
        let pages = if identity.is_anonymous() { PUBLIC_PAGES } else { &["*"] };
        json!({
            "resourceRules": resource_rules,
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": pages}], "incomplete": false,
        })
    }
}

impl Rule {
    fn covers(&self, action: &Action<'_>, host: &str) -> bool {
        let fits = |pattern: &str, value: &str| pattern == "*" || pattern.replace("{host}", host) == value;
        self.verbs.iter().any(|verb| verb == action.verb)
            && self.group == action.group
            && fits(&self.resource, action.resource)
            && fits(&self.subresource, action.subresource)
            && fits(&self.namespace, action.namespace)
            && action.name.is_none_or(|name| fits(&self.name, name))
    }
}

const ADMIN_REASON: &str = "members of system:masters may do everything";

/// Refuses what the caller may not do.
pub(crate) fn check(authorizer: &dyn Authorizer, identity: &Identity, action: &Action<'_>) -> Result<(), Failure> {
    if authorizer.reason(identity, action).is_some() {
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
    Err(Failure::forbidden(subject, action.name.unwrap_or_default(), &why))
}

/// The pages of the API itself that everybody may read.
const PUBLIC_PAGES: &[&str] = &["/healthz", "/livez", "/readyz", "/version"];
/// The pages that only admins may read.
const ADMIN_PAGES: &[&str] = &["/metrics"];

/// Why the caller may use a page of the API itself; `None` when it may not.
pub(crate) fn page_reason(identity: &Identity, verb: &str, path: &str) -> Option<&'static str> {
    let is_one = |pages: &[&str]| {
        let mut pages = pages.iter().filter_map(|page| path.strip_prefix(page));
        pages.any(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if identity.is_in(ADMINS) {
        return Some(ADMIN_REASON);
    }
    match verb {
        "get" | "head" if is_one(PUBLIC_PAGES) => Some("everybody may read this"),
        "get" | "head" if !is_one(ADMIN_PAGES) && !identity.is_anonymous() => {
            Some("everybody with a certificate may read this")
        }
        _ => None,
    }
}

/// Refuses a page of the API itself to those who may not read it.
pub(crate) fn check_page(identity: &Identity, path: &str) -> Result<(), Failure> {
    match page_reason(identity, "get", path) {
        Some(_) => Ok(()),
        None => Err(Failure::forbidden_path(&identity.name, "get", path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roles() -> HostRoles {
        let policy = crate::Policy::of(&nubium_api::contract::host_policy());
        HostRoles(policy.expect("the contract is a policy").rules)
    }

    fn action<'a>(verb: &'a str, group: &'a str, path: [&'a str; 4]) -> Action<'a> {
        let [namespace, resource, name, subresource] = path;
        Action { verb, group, resource, subresource, namespace, name: Some(name) }
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
            assert_eq!(check(&roles(), &host, &action(verb, group, path)), Ok(()), "{verb} {path:?}");
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
            assert!(check(&roles(), &host, &action(verb, group, path)).is_err(), "{verb} {path:?}");
        }
    }

    #[test]
    fn a_create_is_decided_before_its_body_is_read() {
        let host = Identity::host("rack-1");
        let create = |resource| Action { name: None, ..action("create", "nubium.dev", ["", resource, "", ""]) };
        assert_eq!(check(&roles(), &host, &create("hosts")), Ok(()));
        assert!(check(&roles(), &host, &create("flavors")).is_err());
    }

    #[test]
    fn a_refusal_says_who_cannot_do_what_where() {
        let failure =
            check(&roles(), &Identity::host("rack-1"), &action("get", "", ["shop", "secrets", "s", ""])).unwrap_err();
        assert_eq!(
            failure.message(),
            r#"secrets "s" is forbidden: User "rack-1" cannot get resource "secrets" in API group "" in the namespace "shop""#
        );
        let failure =
            check(&roles(), &Identity::anonymous(), &action("list", "nubium.dev", ["", "hosts", "", ""])).unwrap_err();
        assert_eq!(
            failure.message(),
            r#"hosts.nubium.dev is forbidden: User "system:anonymous" cannot list resource "hosts" in API group "nubium.dev" at the cluster scope"#
        );
    }
}
