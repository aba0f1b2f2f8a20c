//! How controllers and agents meet: finalizers, conditions, field managers, the seed's name, and who writes what of which
//! status. They meet only through the API, so this is all that they share.
//!
//! Status writes, `manifests/rbac.yaml`, `manifests/admission.yaml` and the policy of our own API server are made from the
//! tables here: [`WRITERS`] and [`HOST_RULES`].
//!
//! The agent's Lease in `nubium-hosts` is its heartbeat: it vouches for the status of the Servers there. A Lease without a
//! holder says that the host was started anew, and that what was written about its Servers before no longer counts.

use serde::Serialize;

/// Held on a Server until its host has released it and what it made is being deleted.
pub const SERVER_FINALIZER: &str = "nubium.dev/server";
/// Held on a Port while its Server exists and is not released.
pub const PORT_FINALIZER: &str = "nubium.dev/port";
/// Held on an IPAddress until its Port, looked for by UID, is no more.
pub const IP_ADDRESS_FINALIZER: &str = "nubium.dev/ip-address";
/// Held on an AddressRange until its Network, looked for by UID, is no more.
pub const ADDRESS_RANGE_FINALIZER: &str = "nubium.dev/address-range";
/// Held on a Network while Ports use it and until every host has released it.
pub const NETWORK_FINALIZER: &str = "nubium.dev/network";
/// Held on a Volume while a Server uses it and until its host has released it.
pub const VOLUME_FINALIZER: &str = "nubium.dev/volume";
/// Held on an Image while Volumes depend on it and until every host has released it.
pub const IMAGE_FINALIZER: &str = "nubium.dev/image";
/// Held on a StoragePool while Volumes live in it.
pub const POOL_FINALIZER: &str = "nubium.dev/storage-pool";

/// The summary that people and tools wait for, of every kind.
pub const READY: &str = "Ready";
/// True while the object is on its way to what its spec says.
pub const RECONCILING: &str = "Reconciling";
/// True while nothing but another spec can help.
pub const STALLED: &str = "Stalled";
/// Of a Volume, an Image or a Network that is being deleted: whether something still uses it. False at this generation
/// permits the agents to destroy it; it never turns back to True.
pub const IN_USE: &str = "InUse";
/// Of a Server: whether a host was found, or why none fits.
pub const SCHEDULED: &str = "Scheduled";
/// Of a Server that is placed: whether its host keeps cpu and memory for it. False while it is stopped, and while its host
/// has no room for it to start; its agent starts no guest meanwhile.
pub const ADMITTED: &str = "Admitted";
/// Of a Server: whether the cloudInit that its guest was given is the one in its spec.
pub const CLOUD_INIT_CURRENT: &str = "CloudInitCurrent";
/// Of a Server: whether its host has all its disks.
pub const VOLUMES_READY: &str = "VolumesReady";
/// Of a Server: whether its host has all its NICs.
pub const NETWORK_READY: &str = "NetworkReady";
/// Of a Server: whether its guest runs.
pub const RUNNING: &str = "Running";
/// Of a Server: whether something of its spec counts only after a restart.
pub const RESTART_REQUIRED: &str = "RestartRequired";
/// Of a Server or a Volume that is being deleted: its host looked, and nothing of it was left, at this generation.
pub const RELEASED: &str = "Released";
/// Of a Volume: whether its device is there as the spec says.
pub const PROVISIONED: &str = "Provisioned";
/// Of a Host: whether its agent can work.
pub const AGENT_READY: &str = "AgentReady";
/// Of a Host: whether its agent has written the status of every Server there since it started.
pub const SERVERS_REPORTED: &str = "ServersReported";
/// Of a Host: whether guests run on the processor, or are emulated.
pub const HARDWARE_ACCELERATION: &str = "HardwareAcceleration";
/// Of a Host: whether no other firewall cuts its Networks off.
pub const EGRESS_READY: &str = "EgressReady";
/// Of a Host: whether a pool there is nearly full, or nearly all of it is promised.
pub const POOL_PRESSURE: &str = "PoolPressure";
/// Of a Host: what is there without an object.
pub const STRANGERS: &str = "Strangers";

/// The annotation of a Server, or of a Volume that it made, with the UID of a Server that was deleted with the wish that what
/// it made stays (`--cascade=orphan`).
pub const ORPHANED: &str = "nubium.dev/orphaned";
/// The finalizer that the API server sets for `--cascade=orphan`, until the ownerReferences of what was made are gone.
pub const ORPHAN_FINALIZER: &str = "orphan";

/// The type of the Secrets that carry seeds.
pub const SEED_TYPE: &str = "nubium.dev/seed";
/// The annotation of a seed's Secret with a digest of the cloudInit that it was rendered from.
pub const SEED_DIGEST: &str = "nubium.dev/cloud-init-digest";
/// The group that every host's certificate names.
pub const HOSTS_GROUP: &str = "nubium:hosts";

/// The name of the Secret, in the host's namespace, with a Server's NoCloud seed: by UID, so that the seed of a later
/// Server of the same name is another one. Its keys are `meta-data`, `user-data` and, where needed, `network-config`.
pub fn seed_name(server_uid: &str) -> String {
    format!("seed-{server_uid}")
}

/// One writer of part of a kind's status, and the part. Nobody else writes that part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writer {
    /// The kind, such as `Server`.
    pub kind: &'static str,
    /// The kind's plural name in lower case, such as `servers`.
    pub resource: &'static str,
    /// The field manager. That of a writer with an `entry` ends with the name of the host: see [`Writer::manager_on`].
    pub manager: &'static str,
    /// The top-level fields of the status that are its alone, as in JSON.
    pub fields: &'static [&'static str],
    /// The condition types that are its.
    pub conditions: &'static [&'static str],
    /// The list in which every host has an entry of its own name.
    pub entry: Option<&'static str>,
    /// Who it is.
    pub by: By,
}

/// Who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// A controller, for the whole cloud.
    Controllers,
    /// The agent of the host that the object is bound to, by `status.host`.
    BoundHost,
    /// The agent of every host, each in its own entry.
    EveryHost,
    /// The agent of the host of that name.
    HostItself,
}

impl Writer {
    /// The field manager of the writer on that host.
    pub fn manager_on(&self, host: &str) -> String {
        match self.by {
            By::EveryHost => format!("{}-{host}", self.manager),
            By::Controllers | By::BoundHost | By::HostItself => self.manager.to_owned(),
        }
    }
}

const SUMMARY: &[&str] = &[READY, RECONCILING, STALLED];
const SUMMARY_AND_USE: &[&str] = &[READY, RECONCILING, STALLED, IN_USE];

const fn controller(
    (kind, resource): (&'static str, &'static str),
    manager: &'static str,
    fields: &'static [&'static str],
    conditions: &'static [&'static str],
) -> Writer {
    Writer { kind, resource, manager, fields, conditions, entry: None, by: By::Controllers }
}

const fn agent(
    (kind, resource): (&'static str, &'static str),
    manager: &'static str,
    by: By,
    fields: &'static [&'static str],
    conditions: &'static [&'static str],
) -> Writer {
    let entry = if matches!(by, By::EveryHost) { Some("hosts") } else { None };
    Writer { kind, resource, manager, fields, conditions, entry, by }
}

const SERVERS: (&str, &str) = ("Server", "servers");
const VOLUMES: (&str, &str) = ("Volume", "volumes");
const NETWORKS: (&str, &str) = ("Network", "networks");
const IMAGES: (&str, &str) = ("Image", "images");
const HOSTS: (&str, &str) = ("Host", "hosts");

/// The summary of a Server, and its addresses.
pub const SERVER: Writer = controller(
    SERVERS,
    "nubium-server",
    &["observedGeneration", "addresses"],
    &[READY, RECONCILING, STALLED, CLOUD_INIT_CURRENT],
);
/// The binding of a Server to a host, its size there, and whether there is room for it to run.
pub const SCHEDULER: Writer = controller(SERVERS, "nubium-scheduler", &["host", "resources"], &[SCHEDULED, ADMITTED]);
/// The summary of a Network, and its numbers.
pub const NETWORK: Writer =
    controller(NETWORKS, "nubium-network", &["observedGeneration", "vni", "mtu", "subnets"], SUMMARY_AND_USE);
/// All of a Port's status.
pub const PORT: Writer = controller(
    ("Port", "ports"),
    "nubium-port",
    &["observedGeneration", "macAddress", "addresses", "server", "host"],
    SUMMARY,
);
/// All of an IPAddress's status.
pub const ADDRESS: Writer =
    controller(("IPAddress", "ipaddresses"), "nubium-ip-address", &["observedGeneration"], SUMMARY);
/// All of an AddressRange's status.
pub const ADDRESS_RANGE: Writer =
    controller(("AddressRange", "addressranges"), "nubium-address-range", &["observedGeneration"], SUMMARY);
/// The summary of a Volume, and the host that holds it.
pub const VOLUME: Writer = controller(VOLUMES, "nubium-volume", &["observedGeneration", "host"], SUMMARY_AND_USE);
/// The summary of an Image, its size and its progress.
pub const IMAGE: Writer =
    controller(IMAGES, "nubium-image", &["observedGeneration", "size", "progress"], SUMMARY_AND_USE);
/// All of a StoragePool's status.
pub const POOL: Writer =
    controller(("StoragePool", "storagepools"), "nubium-storage-pool", &["observedGeneration"], SUMMARY);
/// All of a Flavor's status.
pub const FLAVOR: Writer = controller(("Flavor", "flavors"), "nubium-flavor", &["observedGeneration"], SUMMARY);
/// All of the CloudSettings' status.
pub const CLOUD_SETTINGS: Writer =
    controller(("CloudSettings", "cloudsettings"), "nubium-cloud-settings", &["observedGeneration"], SUMMARY);
/// The summary of a Host.
pub const HOST: Writer = controller(HOSTS, "nubium-host", &["observedGeneration"], SUMMARY);

/// What a host sees of a Server.
pub const SERVER_ON_HOST: Writer = agent(
    SERVERS,
    "nubium-agent",
    By::BoundHost,
    &["devices"],
    &[VOLUMES_READY, NETWORK_READY, RUNNING, RESTART_REQUIRED, RELEASED],
);
/// Which Server has a Volume.
pub const ATTACHMENT: Writer = agent(VOLUMES, "nubium-agent-server", By::BoundHost, &["attachedTo"], &[]);
/// What a host sees of a Volume.
pub const VOLUME_ON_HOST: Writer =
    agent(VOLUMES, "nubium-agent", By::BoundHost, &["capacity", "format", "imageUid"], &[PROVISIONED, RELEASED]);
/// What a host has of a Network.
pub const NETWORK_ON_HOST: Writer = agent(NETWORKS, "nubium-agent", By::EveryHost, &[], &[]);
/// What a host has of an Image.
pub const IMAGE_ON_HOST: Writer = agent(IMAGES, "nubium-agent", By::EveryHost, &[], &[]);
/// What a host says of itself.
pub const HOST_ON_HOST: Writer = agent(
    HOSTS,
    "nubium-agent",
    By::HostItself,
    &["capacity", "pools", "unavailablePools", "addresses", "acceleration", "endpoint", "software"],
    &[AGENT_READY, SERVERS_REPORTED, HARDWARE_ACCELERATION, EGRESS_READY, POOL_PRESSURE, STRANGERS],
);

/// Every writer of every status.
pub const WRITERS: &[Writer] = &[
    SERVER,
    SCHEDULER,
    NETWORK,
    PORT,
    ADDRESS,
    ADDRESS_RANGE,
    VOLUME,
    IMAGE,
    POOL,
    FLAVOR,
    CLOUD_SETTINGS,
    HOST,
    SERVER_ON_HOST,
    ATTACHMENT,
    VOLUME_ON_HOST,
    NETWORK_ON_HOST,
    IMAGE_ON_HOST,
    HOST_ON_HOST,
];

/// All that hosts may do, as an API server takes it that knows none of our kinds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HostPolicy {
    /// The requests that are allowed.
    pub rules: &'static [Rule],
    /// What of a status is theirs to write.
    pub parts: Vec<HostPart>,
}

/// The policy that [`HOST_RULES`] and [`WRITERS`] make together.
pub fn host_policy() -> HostPolicy {
    HostPolicy { rules: HOST_RULES, parts: host_parts() }
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
    let mut parts: Vec<HostPart> = Vec::new();
    for writer in WRITERS.iter().filter(|writer| matches!(writer.by, By::BoundHost | By::EveryHost)) {
        let new = || HostPart {
            group: crate::GROUP,
            resource: writer.resource,
            bound: writer.by == By::BoundHost,
            fields: Vec::new(),
            conditions: Vec::new(),
        };
        if !parts.iter().any(|part| part.resource == writer.resource) {
            parts.push(new());
        }
        let part = parts.iter_mut().find(|part| part.resource == writer.resource).expect("it was just made");
        part.conditions.extend(writer.conditions);
        let conditions = (!writer.conditions.is_empty()).then_some("conditions");
        part.fields.extend(conditions.into_iter().chain(writer.fields.iter().copied()).chain(writer.entry));
    }
    for part in &mut parts {
        // The conditions first, whichever writer has them.
        part.fields.sort_by_key(|field| *field != "conditions");
    }
    parts
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

/// All that the agent of a host may do. Of which objects it may write the status, and what of it, is in [`WRITERS`].
pub const HOST_RULES: &[Rule] = &[
    rule(READ, crate::GROUP, ["*", "*", "*", "*"]),
    rule(&["patch"], crate::GROUP, ["servers", "status", "*", "*"]),
    rule(&["patch"], crate::GROUP, ["volumes", "status", "*", "*"]),
    rule(&["patch"], crate::GROUP, ["networks", "status", "*", "*"]),
    rule(&["patch"], crate::GROUP, ["images", "status", "*", "*"]),
    rule(&["patch"], crate::GROUP, ["hosts", "status", "", "{host}"]),
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

/// A field that another one has replaced. It still means what it meant; who writes it is told of the other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeprecatedField {
    /// The kind's plural name in lower case.
    pub resource: &'static str,
    /// Where it is, such as `spec.nics[].address`: `[]` stands for every item of a list.
    pub path: &'static str,
    /// The field beside it that replaces it.
    pub instead: &'static str,
}

impl DeprecatedField {
    /// What the user is told.
    pub fn warning(&self) -> String {
        format!("{} is deprecated: give {}, a list, instead", self.path, self.instead)
    }
}

/// Every field of a spec that another one has replaced.
pub const DEPRECATED_FIELDS: &[DeprecatedField] = &[
    DeprecatedField { resource: "networks", path: "spec.subnets[].pool", instead: "allocationPools" },
    DeprecatedField { resource: "ports", path: "spec.address", instead: "addresses" },
    DeprecatedField { resource: "servers", path: "spec.nics[].address", instead: "addresses" },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_described_as_deprecated_exactly_if_its_use_is_answered_with_a_warning() {
        fn deprecated(path: &str, schema: &serde_json::Value, found: &mut Vec<String>) {
            for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                if schema["description"].as_str().is_some_and(|text| text.starts_with("Deprecated")) {
                    found.push(path.clone());
                }
                deprecated(&path, schema, found);
                deprecated(&format!("{path}[]"), &schema["items"], found);
            }
        }
        let mut described = Vec::new();
        for crd in crate::crds() {
            let resource = crd["spec"]["names"]["plural"].as_str().unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            deprecated(&format!("{resource}: spec"), &schema["properties"]["spec"], &mut described);
        }
        described.sort();
        let warned: Vec<_> = DEPRECATED_FIELDS.iter().map(|it| format!("{}: {}", it.resource, it.path)).collect();
        assert_eq!(described, warned);
    }

    #[test]
    fn every_part_of_every_status_has_exactly_one_writer() {
        for crd in crate::crds() {
            let kind = crd["spec"]["names"]["kind"].as_str().unwrap();
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let fields = schema["properties"]["status"]["properties"].as_object().unwrap();
            let of_kind = || WRITERS.iter().filter(|writer| writer.kind == kind);
            for field in fields.keys().filter(|field| *field != "conditions") {
                let own = of_kind().filter(|writer| writer.fields.contains(&field.as_str())).count();
                let shared = of_kind().filter(|writer| writer.entry == Some(field)).count();
                assert_eq!(own + shared, 1, "{kind}: status.{field}");
            }
            for writer in of_kind() {
                assert_eq!(writer.resource, crd["spec"]["names"]["plural"], "{kind}");
                let strangers = writer.fields.iter().copied().chain(writer.entry);
                for field in strangers {
                    assert!(fields.contains_key(field), "{kind} has no status.{field}");
                }
                for condition in writer.conditions {
                    assert_eq!(
                        of_kind().filter(|other| other.conditions.contains(condition)).count(),
                        1,
                        "{condition}"
                    );
                }
                assert!(!writer.conditions.is_empty() || !writer.fields.is_empty() || writer.entry.is_some());
            }
        }
        let mut managers: Vec<_> = WRITERS.iter().map(|writer| (writer.kind, writer.manager)).collect();
        managers.sort_unstable();
        managers.dedup();
        assert_eq!(managers.len(), WRITERS.len(), "a manager has one part of a kind's status");
    }

    #[test]
    fn a_host_may_patch_every_status_that_it_writes() {
        for writer in WRITERS.iter().filter(|writer| writer.by != By::Controllers) {
            let covers = |rule: &&Rule| rule.resource == writer.resource && rule.subresource == "status";
            assert!(HOST_RULES.iter().any(|rule| covers(&rule) && rule.verbs == ["patch"]), "{writer:?}");
        }
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
        let secrets = HOST_RULES.iter().find(|rule| rule.resource == "secrets").unwrap();
        assert_eq!(secrets.namespace.replace("{host}", "rack-1"), crate::host_namespace("rack-1"));
    }
}
