//! What the agents of hosts may do: the statuses of which they write a part, as the kinds say, and a short list.

use serde::Serialize;

use super::{By, Writer};
use crate::{KINDS, kind::AnyKind};

/// All that hosts may do, as an API server takes it that knows none of our kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostPolicy {
    /// The requests that are allowed.
    pub rules: Vec<Rule>,
    /// What of a status is theirs to write.
    pub parts: Vec<HostPart>,
}

/// The policy that [`host_rules`] and the writers of all kinds make together.
pub fn host_policy() -> HostPolicy {
    HostPolicy { rules: host_rules(), parts: host_parts() }
}

/// What the hosts together may write of one kind's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostPart {
    /// The API group.
    pub group: &'static str,
    /// The kind's plural name in lower case.
    pub resource: &'static str,
    /// Only of an object that is bound to the host.
    pub bound: bool,
    /// The top-level fields, `conditions` and the shared list among them.
    pub fields: Vec<&'static str>,
    /// The condition types.
    pub conditions: Vec<&'static str>,
}

/// What hosts may write of the status of each kind that they share with others.
pub fn host_parts() -> Vec<HostPart> {
    let shared = |writer: &&Writer| matches!(writer.by, By::BoundHost | By::EveryHost);
    let part = |kind: &AnyKind| {
        let writers: Vec<&Writer> = kind.writers().filter(shared).collect();
        let conditions: Vec<&str> = writers.iter().flat_map(|writer| writer.conditions).copied().collect();
        let fields = writers.iter().flat_map(|writer| writer.fields.iter().copied().chain(writer.entry));
        Some(HostPart {
            group: crate::GROUP,
            resource: kind.resource,
            bound: writers.first()?.by == By::BoundHost,
            fields: (!conditions.is_empty()).then_some("conditions").into_iter().chain(fields).collect(),
            conditions,
        })
    };
    KINDS.iter().filter_map(part).collect()
}

/// Something that the agent of a host may do. `*` stands for anything, `{host}` for the host's own name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The verbs of the API.
    pub verbs: &'static [&'static str],
    /// The API group; empty for the core.
    pub group: &'static str,
    /// The plural name, or `*`.
    pub resource: &'static str,
    /// The subresource, or empty for none.
    pub subresource: &'static str,
    /// The namespace; empty for kinds of the whole cluster.
    pub namespace: &'static str,
    /// The name of the object.
    pub name: &'static str,
}

const fn rule(
    verbs: &'static [&'static str],
    group: &'static str,
    [resource, subresource, namespace, name]: [&'static str; 4],
) -> Rule {
    Rule { verbs, group, resource, subresource, namespace, name }
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE_EVENTS: &[&str] = &["create", "patch"];

/// All that the agent of a host may do, whatever the kinds say: and it may patch the status of which it writes a part.
const HOST_RULES: &[Rule] = &[
    rule(&["create", "patch"], crate::GROUP, ["hosts", "", "", "{host}"]),
    rule(WRITE_EVENTS, "", ["events", "", "*", "*"]),
    rule(WRITE_EVENTS, "events.k8s.io", ["events", "", "*", "*"]),
    rule(
        &["get", "create", "update", "patch"],
        "coordination.k8s.io",
        ["leases", "", crate::HOSTS_NAMESPACE, "{host}"],
    ),
    rule(&["get"], "", ["secrets", "", "nubium-host-{host}", "*"]),
];

/// All that the agent of a host may do: read our kinds, patch the statuses of which it writes a part ([`host_parts`] says
/// which part of what it shares with others), and what [`HOST_RULES`] lists.
pub fn host_rules() -> Vec<Rule> {
    let read = rule(READ, crate::GROUP, ["*", "*", "*", "*"]);
    let report = |kind: &AnyKind| {
        let own = match kind.writers().find(|writer| writer.by != By::Controllers)?.by {
            By::HostItself => ["", "{host}"],
            By::BoundHost | By::EveryHost | By::Controllers => ["*", "*"],
        };
        Some(rule(&["patch"], crate::GROUP, [kind.resource, "status", own[0], own[1]]))
    };
    [read].into_iter().chain(KINDS.iter().filter_map(report)).chain(HOST_RULES.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_may_patch_every_status_that_it_writes_and_no_other() {
        let may: Vec<String> = host_rules()
            .iter()
            .filter(|rule| rule.subresource == "status")
            .map(|rule| format!("{:?} {} in {:?} named {}", rule.verbs, rule.resource, rule.namespace, rule.name))
            .collect();
        let shared = |resource| format!("[\"patch\"] {resource} in \"*\" named *");
        let mut expected = ["servers", "volumes", "networks", "images"].map(shared).to_vec();
        expected.push("[\"patch\"] hosts in \"\" named {host}".to_owned());
        assert_eq!(may, expected);
        let parts = host_parts();
        let servers = parts.iter().find(|part| part.resource == "servers").unwrap();
        assert_eq!(servers.fields, ["conditions", "devices"]);
        let volumes = parts.iter().find(|part| part.resource == "volumes").unwrap();
        assert_eq!(volumes.fields, ["conditions", "attachedTo", "capacity", "format", "imageUid"]);
        let networks = parts.iter().find(|part| part.resource == "networks").unwrap();
        assert_eq!((networks.bound, &networks.fields[..]), (false, &["hosts"][..]));
        assert_eq!(parts.len(), 4);
    }

    #[test]
    fn a_host_reads_secrets_of_its_own_namespace_only() {
        let rules = host_rules();
        let secrets = rules.iter().find(|rule| rule.resource == "secrets").unwrap();
        assert_eq!(secrets.namespace.replace("{host}", "rack-1"), crate::host_namespace("rack-1"));
    }
}
