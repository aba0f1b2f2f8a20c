//! The cloud that the stories share, and the steps they are made of.

use std::{
    fmt::Debug,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use futures::StreamExt;
use k8s_openapi::{
    NamespaceResourceScope, api::core::v1::Namespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::runtime::watcher;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use nubium_api::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{agent, apiserver::Kubernetes};

/// The host that all stories may use.
pub const HOST: &str = "host-a";

pub struct Running {
    kubernetes: Kubernetes,
    restart: Arc<Notify>,
}

static CLOUD: LazyLock<Option<Running>> = LazyLock::new(|| {
    let (ready, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async move {
            let Some(kubernetes) = Kubernetes::start().await else {
                ready.send(None).unwrap();
                return;
            };
            let client = Client::try_from(kubernetes.config.clone()).unwrap();
            install(&client).await;
            let restart = Arc::new(Notify::new());
            tokio::spawn(agent::serve(client.clone(), HOST, 256));
            ready.send(Some(Running { kubernetes, restart: restart.clone() })).unwrap();
            loop {
                let config = nubium_controllers::Config { instance: "test".into(), ..Default::default() };
                tokio::select! {
                    () = nubium_controllers::run(client.clone(), config) => {}
                    () = restart.notified() => {}
                }
            }
        });
    });
    started.recv().unwrap()
});

async fn install(client: &Client) {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    for crd in crds_of_ours() {
        let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
        crds.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&crd)).await.unwrap();
    }
    for crd in crds_of_ours() {
        let name = crd["metadata"]["name"].as_str().unwrap().to_owned();
        until(&format!("CRD {name} is established"), || async {
            let crd = crds.get(&name).await.unwrap();
            let conditions = crd.status.unwrap_or_default().conditions.unwrap_or_default();
            conditions.iter().any(|fact| fact.type_ == "Established" && fact.status == "True").then_some(())
        })
        .await;
    }
    let flavor = json!({"cpu": 1, "memory": "64Mi"});
    let made =
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Flavor", "metadata": {"name": "small"}, "spec": flavor});
    let flavors: Api<Flavor> = Api::all(client.clone());
    flavors.create(&PostParams::default(), &serde_json::from_value(made).unwrap()).await.unwrap();
    let made = json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "StoragePool", "metadata": {"name": "default"}, "spec": {"directory": {}}});
    let pools: Api<StoragePool> = Api::all(client.clone());
    pools.create(&PostParams::default(), &serde_json::from_value(made).unwrap()).await.unwrap();
}

fn crds_of_ours() -> Vec<Value> {
    nubium_api::crds()
}

/// Looks again and again until `look` finds something; panics, with what was waited for, after half a minute.
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// One story's view of the cloud: a client and a namespace.
pub struct Story {
    pub client: Client,
    pub namespace: String,
    pub namespaces_end: bool,
    restart: Arc<Notify>,
}

impl Story {
    /// None when there is no API server to run against; that was said aloud.
    pub async fn begin(name: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let running = tokio::task::spawn_blocking(|| CLOUD.as_ref()).await.unwrap()?;
        let client = Client::try_from(running.kubernetes.config.clone()).unwrap();
        let namespace = format!("{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut object = Namespace::default();
        object.metadata.name = Some(namespace.clone());
        let namespaces: Api<Namespace> = Api::all(client.clone());
        namespaces.create(&PostParams::default(), &object).await.unwrap();
        let namespaces_end = running.kubernetes.manager;
        Some(Self { client, namespace, namespaces_end, restart: running.restart.clone() })
    }

    /// The controllers lose all they remember.
    pub fn restart_controllers(&self) {
        self.restart.notify_one();
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Creates an object from its spec.
    pub async fn create<K>(&self, name: &str, spec: Value) -> K
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let object = json!({
            "apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": {"name": name}, "spec": spec,
        });
        self.api::<K>().create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap()
    }

    pub async fn delete<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        self.api::<K>().delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// An Image `tiny` and a Network `blue` with that range.
    pub async fn basics(&self, cidr: &str) {
        self.create::<Image>("tiny", json!({"source": {"file": {"path": "tiny.qcow2"}}})).await;
        self.create::<Network>("blue", json!({"subnets": [{"name": "v4", "cidr": cidr}]})).await;
    }

    /// Waits until the object's Ready has that status and reason; gives its message.
    pub async fn ready<K>(&self, name: &str, status: &str, reason: &str) -> String
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Serialize + DeserializeOwned,
    {
        let api = self.api::<K>();
        let last = parking_lot::Mutex::new(String::new());
        let look = || async {
            let object = serde_json::to_value(api.get(name).await.unwrap()).unwrap();
            let ready = ready_of(&object)?;
            *last.lock() = format!("{ready}");
            let current = ready["observedGeneration"] == object["metadata"]["generation"];
            let wanted = ready["status"] == status && ready["reason"] == reason && current;
            wanted.then(|| ready["message"].as_str().unwrap().to_owned())
        };
        let start = Instant::now();
        loop {
            if let Some(message) = look().await {
                return message;
            }
            let kind = K::kind(&());
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "{kind} {name} did not become {status}/{reason}; it says {}",
                last.lock()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn gone<K>(&self, name: &str)
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let api = self.api::<K>();
        until(&format!("{} {name} is gone", K::kind(&())), || async {
            api.get_opt(name).await.unwrap().is_none().then_some(())
        })
        .await;
    }

    pub async fn names<K>(&self) -> Vec<String>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    {
        let all = self.api::<K>().list(&ListParams::default()).await.unwrap();
        all.iter().map(|object| object.name_any()).collect()
    }

    /// Begins to write down every write to this namespace's objects of ours, as watches report them.
    pub fn writes(&self) -> Writes {
        let writes = Writes::default();
        writes.follow(self.api::<Server>());
        writes.follow(self.api::<Port>());
        writes.follow(self.api::<Volume>());
        writes.follow(self.api::<IPAddress>());
        writes.follow(self.api::<Network>());
        writes.follow(self.api::<Image>());
        writes
    }

    /// Every object of ours in this namespace, as `kind/name@resourceVersion`.
    pub async fn versions(&self) -> Vec<String> {
        let mut all = Vec::new();
        macro_rules! list {
            ($($kind:ty),*) => {$(
                for object in self.api::<$kind>().list(&ListParams::default()).await.unwrap() {
                    all.push(format!("{}/{}@{}", <$kind>::kind(&()), object.name_any(), object.resource_version().unwrap()));
                }
            )*};
        }
        list!(Server, Port, Volume, IPAddress, Network, Image);
        all
    }
}

fn ready_of(object: &Value) -> Option<&Value> {
    object["status"]["conditions"].as_array()?.iter().find(|fact| fact["type"] == "Ready")
}

/// Writes that were seen, with who wrote and when.
#[derive(Default)]
pub struct Writes {
    seen: Arc<parking_lot::Mutex<(Option<Instant>, Vec<String>)>>,
}

impl Writes {
    fn follow<K>(&self, api: Api<K>)
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let seen = self.seen.clone();
        tokio::spawn(async move {
            let mut stream = std::pin::pin!(watcher(api, watcher::Config::default()));
            while let Some(event) = stream.next().await {
                let Ok(watcher::Event::Apply(object)) = event else { continue };
                let mut seen = seen.lock();
                let Some(start) = seen.0 else { continue };
                let mut managers = object.meta().managed_fields.clone().unwrap_or_default();
                managers.sort_by_key(|entry| entry.time.as_ref().map(|time| time.0));
                let managers: Vec<String> = managers.into_iter().filter_map(|entry| entry.manager).collect();
                let line = format!(
                    "{:>5} ms {} {} {managers:?}",
                    start.elapsed().as_millis(),
                    K::kind(&()),
                    object.name_any()
                );
                seen.1.push(line);
            }
        });
    }

    /// From now on they count.
    pub fn begin(&self) {
        self.seen.lock().0 = Some(Instant::now());
    }

    /// What was written since.
    pub fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().1)
    }
}
