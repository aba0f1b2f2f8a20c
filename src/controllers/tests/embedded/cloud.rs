//! The controllers over our own API server, in this process, and everything they ask of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};
use k8s_openapi::{
    api::core::v1::Secret, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    client::Body,
};
use nubium_api::contract::seed_name;
use nubium_api::{Server, host_namespace};
use nubium_apiserver::{ApiServer, Config, Identity};
use nubium_store::{AnyStore, SqliteStore};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};
use tower::ServiceExt;

const HOST: &str = "host-a";

type Before = (String, BoxFuture<'static, ()>);

/// A cloud of controllers and nobody else.
pub struct Cloud {
    pub client: Client,
    /// What the controllers asked for: `GET /api/v1/…`.
    pub asked: Arc<Mutex<Vec<String>>>,
    /// What happens just before the controllers' next call that begins so.
    before: Arc<Mutex<Option<Before>>>,
    _folder: TempDir,
    tasks: JoinSet<()>,
}

impl Cloud {
    pub async fn start() -> Self {
        Self::begin(true, |_| {}).await
    }

    /// With definitions that are less strict than ours: as they were before an upgrade.
    pub async fn with_definitions(loosen: fn(&mut Value)) -> Self {
        Self::begin(true, loosen).await
    }

    /// Ends the controllers and starts new ones, whose calls nobody watches.
    pub async fn restart_controllers(&mut self) {
        self.tasks.shutdown().await;
        let config = nubium_controllers::Config { instance: "again".into(), ..Default::default() };
        self.tasks.spawn(nubium_controllers::run(self.client.clone(), config));
    }

    /// Objects, and nobody who works for them.
    pub async fn without_controllers() -> Self {
        Self::begin(false, |_| {}).await
    }

    async fn begin(controllers: bool, loosen: fn(&mut Value)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = AnyStore::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        let server = ApiServer::start(store, Config::default()).await.unwrap();
        let service = || server.router_service().acting_as(Identity::admin("test"));
        let client = Client::new(service(), "default");
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for mut definition in nubium_api::crds() {
            loosen(&mut definition);
            let name = definition["metadata"]["name"].as_str().unwrap().to_owned();
            definitions.patch(&name, &PatchParams::apply("test").force(), &Patch::Apply(&definition)).await.unwrap();
        }
        until("the kinds are served", async || {
            let all = definitions.list(&Default::default()).await.unwrap();
            let served = |one: &CustomResourceDefinition| {
                let conditions = one.status.clone().unwrap_or_default().conditions.unwrap_or_default();
                conditions.iter().any(|fact| fact.type_ == "Established" && fact.status == "True")
            };
            all.iter().all(served)
        })
        .await;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let before = Arc::new(Mutex::new(None::<Before>));
        let (api, log, hook) = (service(), asked.clone(), before.clone());
        let watched = tower::service_fn(move |request: http::Request<Body>| {
            let call = format!("{} {}", request.method(), request.uri());
            let meant = hook.lock().take_if(|(begins, _)| call.starts_with(begins.as_str()));
            log.lock().push(call);
            let api = api.clone();
            async move {
                if let Some((_, happen)) = meant {
                    happen.await;
                }
                api.oneshot(request).await
            }
        });
        let mut tasks = JoinSet::new();
        let config = nubium_controllers::Config { instance: "test".into(), ..Default::default() };
        if controllers {
            tasks.spawn(nubium_controllers::run(Client::new(watched, "default"), config));
        }
        Self { client, asked, before, _folder: folder, tasks }
    }

    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::default_namespaced(self.client.clone())
    }

    pub async fn create(&self, name: &str, cloud_init: Value) -> Server {
        let object = json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": name},
            "spec": {"flavor": "small", "disks": [{"name": "root", "blank": {}, "size": "1Gi"}], "cloudInit": cloud_init},
        });
        let object = serde_json::from_value(object).unwrap();
        self.api::<Server>().create(&PostParams::default(), &object).await.unwrap()
    }

    /// A Server that is bound to a host.
    pub async fn bound(&self, name: &str, cloud_init: Value) -> Server {
        let made = self.create(name, cloud_init).await;
        let bound = json!({"status": {"host": HOST}});
        self.api::<Server>().patch_status(name, &PatchParams::default(), &Patch::Merge(&bound)).await.unwrap();
        made
    }

    /// Waits until the seed of that Server is there; the time it took.
    pub async fn seeded(&self, server: &Server) -> Duration {
        let seeds: Api<Secret> = Api::namespaced(self.client.clone(), &host_namespace(HOST));
        let name = seed_name(&server.uid().unwrap());
        let begun = Instant::now();
        until("the seed is there", async || seeds.get_opt(&name).await.unwrap().is_some()).await;
        begun.elapsed()
    }

    /// Waits until the controllers looked for that.
    pub async fn looked_for(&self, part: &str) {
        until(&format!("{part} is looked for"), async || !of(&self.asked.lock(), part).is_empty()).await;
    }

    /// Lets something happen just before the controllers' next call that begins so, such as `PATCH /apis/…`.
    pub fn just_before(&self, call: &str, happen: impl Future<Output = ()> + Send + 'static) {
        *self.before.lock() = Some((call.to_owned(), happen.boxed()));
    }

    /// What is asked for in this time.
    pub async fn asked_in(&self, time: Duration) -> Vec<String> {
        self.asked.lock().clear();
        sleep(time).await;
        self.asked.lock().clone()
    }
}

pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The calls that have that in them.
pub fn of<'a>(asked: &'a [String], part: &str) -> Vec<&'a String> {
    asked.iter().filter(|line| line.contains(part)).collect()
}
