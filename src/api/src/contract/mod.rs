//! How controllers and agents meet: conditions, field managers, the seed's name, who writes what of which status, and what
//! hosts may do. They meet only through the API, so this and what each kind says of itself ([`crate::Kind`]) is all that they share.
//!
//! Status writes, `manifests/rbac.yaml`, `manifests/admission.yaml` and the policy of our own API server are made from the
//! writers of all kinds and from [`host_rules`].
//!
//! The agent's Lease in `nubium-hosts` is its heartbeat: it vouches for the status of the Servers there. A Lease without a
//! holder says that the host was started anew, and that what was written about its Servers before no longer counts.

mod hosts;

pub use hosts::{HostPart, HostPolicy, Rule, host_parts, host_policy, host_rules};

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

/// The annotation of a Server, or of a Volume that it made, with the UID of a Server that was deleted so that what
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

/// The conditions of a controller that only sums up.
pub const SUMMARY: &[&str] = &[READY, RECONCILING, STALLED];
/// The conditions of a controller that also says whether something uses the object.
pub const SUMMARY_AND_USE: &[&str] = &[READY, RECONCILING, STALLED, IN_USE];

impl Writer {
    /// A controller that writes these fields and conditions.
    pub const fn controller(
        manager: &'static str,
        fields: &'static [&'static str],
        conditions: &'static [&'static str],
    ) -> Self {
        Self { manager, fields, conditions, entry: None, by: By::Controllers }
    }

    /// The agents of hosts.
    pub const fn agent(
        manager: &'static str,
        by: By,
        fields: &'static [&'static str],
        conditions: &'static [&'static str],
    ) -> Self {
        let entry = if matches!(by, By::EveryHost) { Some("hosts") } else { None };
        Self { manager, fields, conditions, entry, by }
    }
}

/// A field that another one has replaced. It still means what it meant; who writes it is warned, with the name of the other one.
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
    /// The warning for who writes it.
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
    use crate::KINDS;

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
        for (kind, crd) in KINDS.iter().zip(crate::crds()) {
            let name = crd["spec"]["names"]["kind"].as_str().unwrap();
            assert_eq!(kind.resource, crd["spec"]["names"]["plural"], "{name}");
            let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            let fields = schema["properties"]["status"]["properties"].as_object().unwrap();
            for field in fields.keys().filter(|field| *field != "conditions") {
                let own = kind.writers().filter(|writer| writer.fields.contains(&field.as_str())).count();
                let shared = kind.writers().filter(|writer| writer.entry == Some(field)).count();
                assert_eq!(own + shared, 1, "{name}: status.{field}");
            }
            for writer in kind.writers() {
                for field in writer.fields.iter().copied().chain(writer.entry) {
                    assert!(fields.contains_key(field), "{name} has no status.{field}");
                }
                for condition in writer.conditions {
                    let writers = kind.writers().filter(|other| other.conditions.contains(condition));
                    assert_eq!(writers.count(), 1, "{name}: {condition}");
                }
                assert!(!writer.conditions.is_empty() || !writer.fields.is_empty() || writer.entry.is_some());
            }
            let mut managers: Vec<_> = kind.writers().map(|writer| writer.manager).collect();
            managers.sort_unstable();
            managers.dedup();
            assert_eq!(managers.len(), kind.writers().count(), "{name}: a manager has one part of a status");
            assert!(kind.writers().next().unwrap().conditions.starts_with(SUMMARY), "{name}: its controller sums up");
        }
    }
}
