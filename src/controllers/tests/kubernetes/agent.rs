//! A stand-in for a host's agent: it writes what an agent would have seen, and touches no machine.

use std::{sync::Arc, time::Duration};

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{Namespace, Secret},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams},
};
use nubium_api::contract::{IN_USE, seed_name};
use nubium_api::*;
use nubium_runtime::{Key, Live, Loop, Next, Queue, Shared, StatusWriter, apply_status, live_get, run};
use serde_json::json;

use crate::cloud::until;

const MANAGER: &str = "nubium-agent";

pub struct Agent {
    client: Client,
    host: &'static str,
    servers: Shared<Server>,
    ports: Shared<Port>,
    volumes: Shared<Volume>,
    networks: Shared<Network>,
    images: Shared<Image>,
}

fn fact(type_: &str, status: bool, generation: Option<i64>, reason: &str) -> Condition {
    Condition {
        type_: type_.into(),
        status: if status { ConditionStatus::True } else { ConditionStatus::False },
        observed_generation: generation,
        last_transition_time: Time(Timestamp::now()),
        reason: reason.into(),
        message: format!("{reason}, says the stand-in"),
    }
}

/// Makes the Host and a heartbeat that is `age` old, and says that nothing runs there.
pub async fn announce(client: &Client, host: &str, cpu: i32, memory: &str, age: Duration) {
    let hosts: Api<Host> = Api::all(client.clone());
    let object = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Host", "metadata": {"name": host}, "spec": {}});
    let params = PatchParams::apply(MANAGER).force();
    let made = hosts.patch(host, &params, &Patch::Apply(&object)).await.unwrap();
    let pool = HostPool {
        name: DEFAULT_POOL.into(),
        capacity: Quantity("1Ti".into()),
        free: Quantity("1Ti".into()),
        promised: None,
    };
    let status = HostStatus {
        capacity: Some(HostCapacity { cpu, memory: Quantity(memory.into()), cores: None, cpu_overcommit: None }),
        pools: vec![pool],
        conditions: vec![
            fact("AgentReady", true, made.metadata.generation, "Ready"),
            fact("ServersReported", true, made.metadata.generation, "Reported"),
        ],
        ..HostStatus::default()
    };
    let owner = StatusWriter {
        manager: MANAGER,
        fields: &["capacity", "pools"],
        conditions: &["AgentReady", "ServersReported"],
        entry: None,
    };
    apply_status(&hosts, &made, &owner, &status).await.unwrap();
    beat(client, host, age).await;
}

/// Gives the Lease up, as the agent of a machine that was just booted does.
pub async fn give_up(client: &Client, host: &str) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), HOSTS_NAMESPACE);
    let nobody = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
    leases.patch(host, &PatchParams::default(), &nobody).await.unwrap();
}

/// The machine is lost: no heartbeat is left, and the controllers have seen it.
pub async fn lose(client: &Client, host: &str) {
    let leases: Api<Lease> = Api::namespaced(client.clone(), HOSTS_NAMESPACE);
    leases.delete(host, &DeleteParams::default()).await.unwrap();
    let hosts: Api<Host> = Api::all(client.clone());
    until("its silence is seen", || async {
        let status = hosts.get(host).await.unwrap().status?;
        condition(&status.conditions, "Ready").filter(|ready| ready.reason == "NoHeartbeat").map(drop)
    })
    .await;
}

/// One heartbeat.
pub async fn beat(client: &Client, host: &str, age: Duration) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(HOSTS_NAMESPACE.into());
    let _ = namespaces.create(&PostParams::default(), &namespace).await;
    let leases: Api<Lease> = Api::namespaced(client.clone(), HOSTS_NAMESPACE);
    let lease = Lease {
        metadata: ObjectMeta { name: Some(host.into()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: Some(host.into()),
            renew_time: Some(MicroTime(Timestamp::now() - age)),
            ..LeaseSpec::default()
        }),
    };
    leases.patch(host, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&lease)).await.unwrap();
}

/// Acts as the agent of `host` for ever.
pub async fn serve(client: Client, host: &'static str, cpu: i32) {
    announce(&client, host, cpu, "512Gi", Duration::ZERO).await;
    let mine = format!("status.host={host}");
    let agent = Arc::new(Agent {
        servers: Shared::builder(Api::all(client.clone())).fields(&mine).start(),
        ports: Shared::builder(Api::all(client.clone())).fields(&mine).start(),
        volumes: Shared::builder(Api::all(client.clone())).fields(&mine).start(),
        networks: Shared::builder(Api::all(client.clone())).start(),
        images: Shared::builder(Api::all(client.clone())).start(),
        client: client.clone(),
        host,
    });
    let heartbeat = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            beat(&client, host, Duration::ZERO).await;
        }
    };
    let (servers, volumes, networks, images) = (Queue::new(), Queue::new(), Queue::new(), Queue::new());
    agent.servers.feed_own(&servers);
    agent.volumes.feed_own(&volumes);
    agent.networks.feed_own(&networks);
    agent.images.feed_own(&images);
    agent.ports.feed(&networks, |port| vec![Key::of(port).beside(port.spec.network.clone())]);
    // What a Server waits for wakes every Server of its namespace: crude, and enough here.
    let crude = |agent: &Arc<Agent>, servers: &Queue<Key>| {
        let (agent, servers) = (agent.clone(), servers.clone());
        move |namespace: Option<String>| {
            let all = agent.servers.list().into_iter().filter(|server| server.namespace() == namespace);
            all.for_each(|server| servers.add(Key::of(server.as_ref())));
        }
    };
    let wake = crude(&agent, &servers);
    agent.ports.on_change(move |old, new| wake(new.or(old).and_then(|port| port.namespace())));
    let wake = crude(&agent, &servers);
    agent.volumes.on_change(move |old, new| wake(new.or(old).and_then(|volume| volume.namespace())));
    let wake = crude(&agent, &servers);
    agent.networks.on_change(move |old, new| wake(new.or(old).and_then(|network| network.namespace())));
    let of = |name| Loop { name, workers: 8, resync: None };
    let (a, b, c, d) = (agent.clone(), agent.clone(), agent.clone(), agent.clone());
    tokio::join!(
        heartbeat,
        run(of("agent-server"), servers, move |key| a.clone().server(key)),
        run(of("agent-volume"), volumes, move |key| b.clone().volume(key)),
        run(of("agent-network"), networks, move |key| c.clone().network(key)),
        run(of("agent-image"), images, move |key| d.clone().image(key)),
    );
}

/// Whether the object, marked and looked at live, may be destroyed.
fn may_destroy(conditions: &[Condition], generation: Option<i64>) -> bool {
    condition(conditions, IN_USE)
        .is_some_and(|fact| fact.status == ConditionStatus::False && fact.observed_generation == generation)
}

impl Agent {
    async fn server(self: Arc<Self>, key: Key) -> Result<Next, kube::Error> {
        let Some(server) = self.servers.get(&key) else { return Ok(Next::Gone) };
        let api: Api<Server> = Api::namespaced(self.client.clone(), &key.namespace);
        let owner = StatusWriter {
            manager: MANAGER,
            fields: &[],
            conditions: &["VolumesReady", "NetworkReady", "Running", "Released"],
            entry: None,
        };
        let generation = server.metadata.generation;
        let conditions = if server.metadata.deletion_timestamp.is_some() {
            match live_get(&api, &key.name, &server.uid().unwrap()).await? {
                Live::Marked(marked) => vec![fact("Released", true, marked.generation(), "Released")],
                Live::Wanted(_) | Live::Gone(_) => return Ok(Next::Settled),
            }
        } else {
            let volumes = server.spec.disks.iter().all(|disk| {
                let name = disk.volume_name(&key.name);
                self.volumes.get(&key.beside(name)).is_some_and(|volume| provisioned(&volume))
            });
            let wired = server.spec.nics.iter().all(|nic| {
                let name = nic.port_name(&key.name);
                self.ports.get(&key.beside(name)).is_some_and(|port| {
                    let status = port.status.clone().unwrap_or_default();
                    status.server.as_ref() == Some(&key.name) && !status.addresses.is_empty()
                })
            });
            if !volumes || !wired {
                return Ok(Next::Settled);
            }
            let seeds: Api<Secret> = Api::namespaced(self.client.clone(), &host_namespace(self.host));
            if seeds.get_opt(&seed_name(&server.uid().unwrap())).await?.is_none() {
                return Ok(Next::After(Duration::from_millis(2)));
            }
            let known = server.status.clone().unwrap_or_default().conditions;
            let full = condition(&known, "Admitted").is_some_and(|it| it.status == ConditionStatus::False);
            let wanted = server.spec.power_state == PowerState::Running;
            let on = wanted && !full;
            let off = if wanted { "WaitingForRoom" } else { "Stopped" };
            vec![
                fact("VolumesReady", true, generation, "Attached"),
                fact("NetworkReady", true, generation, "Connected"),
                fact("Running", on, generation, if on { "Running" } else { off }),
            ]
        };
        apply_status(&api, &server, &owner, &ServerStatus { conditions, ..ServerStatus::default() }).await?;
        Ok(Next::Settled)
    }

    async fn volume(self: Arc<Self>, key: Key) -> Result<Next, kube::Error> {
        let Some(volume) = self.volumes.get(&key) else { return Ok(Next::Gone) };
        let api: Api<Volume> = Api::namespaced(self.client.clone(), &key.namespace);
        let owner = StatusWriter {
            manager: MANAGER,
            fields: &["capacity", "imageUid"],
            conditions: &["Provisioned", "Released"],
            entry: None,
        };
        let generation = volume.metadata.generation;
        let status = if volume.metadata.deletion_timestamp.is_some() {
            match live_get(&api, &key.name, &volume.uid().unwrap()).await? {
                Live::Marked(marked)
                    if may_destroy(&marked.object().status.clone().unwrap_or_default().conditions, generation) =>
                {
                    VolumeStatus {
                        conditions: vec![fact("Released", true, generation, "Released")],
                        ..Default::default()
                    }
                }
                Live::Marked(_) | Live::Wanted(_) | Live::Gone(_) => return Ok(Next::Settled),
            }
        } else {
            let image = match &volume.spec.image {
                Some(name) => match self.images.get(&key.beside(name.clone())) {
                    Some(image) => image.uid(),
                    None => return Ok(Next::After(Duration::from_millis(20))),
                },
                None => None,
            };
            VolumeStatus {
                conditions: vec![fact("Provisioned", true, generation, "Provisioned")],
                capacity: volume.spec.size.clone(),
                image_uid: image,
                ..VolumeStatus::default()
            }
        };
        apply_status(&api, &volume, &owner, &status).await?;
        Ok(Next::Settled)
    }

    async fn network(self: Arc<Self>, key: Key) -> Result<Next, kube::Error> {
        let Some(network) = self.networks.get(&key) else { return Ok(Next::Gone) };
        let api: Api<Network> = Api::namespaced(self.client.clone(), &key.namespace);
        let owner = StatusWriter { manager: MANAGER, fields: &[], conditions: &[], entry: Some(("hosts", self.host)) };
        let seen = network.status.clone().unwrap_or_default();
        let had = seen.hosts.iter().any(|host| host.name == self.host);
        let needed =
            self.ports.list().iter().any(|port| Key::of(port.as_ref()).beside(port.spec.network.clone()) == key);
        let mut entry = NetworkHost {
            name: self.host.into(),
            observed_generation: network.metadata.generation,
            ..Default::default()
        };
        if network.metadata.deletion_timestamp.is_some() && may_destroy(&seen.conditions, network.metadata.generation) {
            entry.released = Some(true);
        } else if needed || had {
            entry.ready = Some(true);
        } else {
            return Ok(Next::Settled);
        }
        apply_status(&api, &network, &owner, &NetworkStatus { hosts: vec![entry], ..Default::default() }).await?;
        Ok(Next::Settled)
    }

    async fn image(self: Arc<Self>, key: Key) -> Result<Next, kube::Error> {
        let Some(image) = self.images.get(&key) else { return Ok(Next::Gone) };
        let api: Api<Image> = Api::namespaced(self.client.clone(), &key.namespace);
        let owner = StatusWriter { manager: MANAGER, fields: &[], conditions: &[], entry: Some(("hosts", self.host)) };
        let seen = image.status.clone().unwrap_or_default();
        let mut entry = ImageHost {
            name: self.host.into(),
            observed_generation: image.metadata.generation,
            pool: Some(DEFAULT_POOL.into()),
            ..ImageHost::default()
        };
        if image.metadata.deletion_timestamp.is_some() {
            if !may_destroy(&seen.conditions, image.metadata.generation) {
                return Ok(Next::Settled);
            }
            entry.released = Some(true);
        } else {
            (entry.ready, entry.virtual_size) = (Some(true), Some(1 << 30));
        }
        apply_status(&api, &image, &owner, &ImageStatus { hosts: vec![entry], ..Default::default() }).await?;
        Ok(Next::Settled)
    }
}

fn provisioned(volume: &Volume) -> bool {
    let conditions = volume.status.clone().unwrap_or_default().conditions;
    condition(&conditions, "Provisioned").is_some_and(|fact| fact.status == ConditionStatus::True)
}
