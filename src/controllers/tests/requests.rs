//! What the controllers ask of an API server, counted: ours, in this process.

#![allow(clippy::unwrap_used)]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
    client::Body,
};
use nubium_api::{Server, host_namespace};
use nubium_apiserver::{ApiServer, Config, Identity};
use nubium_controllers::seed_name;
use nubium_store::{AnyStore, SqliteStore};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{task::JoinSet, time::sleep};
use tower::ServiceExt;

const HOST: &str = "host-a";

/// A cloud of controllers and nobody else.
struct Cloud {
    client: Client,
    /// What the controllers asked for: `GET /api/v1/…`.
    asked: Arc<Mutex<Vec<String>>>,
    _folder: TempDir,
    _tasks: JoinSet<()>,
}

impl Cloud {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = AnyStore::new(SqliteStore::open(&folder.path().join("store.db")).unwrap());
        let server = ApiServer::start(store, Config::default()).await.unwrap();
        let service = || server.router_service().acting_as(Identity::admin("test"));
        let client = Client::new(service(), "default");
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        for definition in nubium_api::crds() {
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
        let log = asked.clone();
        let counted = service().map_request(move |request: http::Request<Body>| {
            log.lock().push(format!("{} {}", request.method(), request.uri()));
            request
        });
        let mut tasks = JoinSet::new();
        let config = nubium_controllers::Config { instance: "test".into() };
        tasks.spawn(nubium_controllers::run(Client::new(counted, "default"), config));
        Self { client, asked, _folder: folder, _tasks: tasks }
    }

    fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        Api::default_namespaced(self.client.clone())
    }

    async fn server(&self, name: &str, cloud_init: Value) -> Server {
        let object = json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": name},
            "spec": {"flavor": "small", "disks": [{"name": "root", "blank": {}, "size": "1Gi"}], "cloudInit": cloud_init},
        });
        let api = self.api::<Server>();
        let made = api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
        let bound = json!({"status": {"host": HOST}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(&bound)).await.unwrap();
        made
    }

    /// Waits until the seed of that Server is there; the time it took.
    async fn seeded(&self, server: &Server) -> Duration {
        let seeds: Api<Secret> = Api::namespaced(self.client.clone(), &host_namespace(HOST));
        let name = seed_name(&server.uid().unwrap());
        let begun = Instant::now();
        until("the seed is there", async || seeds.get_opt(&name).await.unwrap().is_some()).await;
        begun.elapsed()
    }

    /// Waits until the controllers looked for that.
    async fn looked_for(&self, part: &str) {
        until(&format!("{part} is looked for"), async || !of(&self.asked.lock(), part).is_empty()).await;
    }

    /// What is asked for in this time.
    async fn asked_in(&self, time: Duration) -> Vec<String> {
        self.asked.lock().clear();
        sleep(time).await;
        self.asked.lock().clone()
    }
}

async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(30), "waited in vain until {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn of<'a>(asked: &'a [String], part: &str) -> Vec<&'a String> {
    asked.iter().filter(|line| line.contains(part)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cloud_init_misses_is_not_polled_and_is_taken_up_when_it_comes() {
    let cloud = Cloud::start().await;
    let keys = cloud.server("keys", json!({"sshAuthorizedKeysFrom": [{"name": "ssh-keys"}]})).await;
    let from = json!({"userDataFrom": {"secretKeyRef": {"name": "data", "key": "user-data"}}});
    let data = cloud.server("data", from.clone()).await;
    let more = cloud.server("more", from).await;
    cloud.looked_for("/configmaps/ssh-keys").await;
    cloud.looked_for("/secrets/data").await;
    // Looks double from one second on.
    sleep(Duration::from_secs(4)).await;
    let asked = cloud.asked_in(Duration::from_secs(4)).await;
    assert!(of(&asked, "/configmaps/ssh-keys").len() <= 1, "{asked:#?}");
    assert!(of(&asked, "/secrets/data").len() <= 2, "{asked:#?}");

    let map: ConfigMap =
        serde_json::from_value(json!({"metadata": {"name": "ssh-keys"}, "data": {"me": "ssh-ed25519 AAAA me"}}))
            .unwrap();
    cloud.api::<ConfigMap>().create(&PostParams::default(), &map).await.unwrap();
    let took = cloud.seeded(&keys).await;
    assert!(took < Duration::from_secs(2), "it took {took:?}");

    // There, but without the key: still waited for, and the key is seen when it comes.
    let mut secret: Secret = serde_json::from_value(json!({"metadata": {"name": "data"}})).unwrap();
    secret = cloud.api::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    sleep(Duration::from_millis(300)).await;
    secret.string_data = Some([("user-data".to_owned(), "#!/bin/sh\n".to_owned())].into());
    cloud.api::<Secret>().replace("data", &PostParams::default(), &secret).await.unwrap();
    for server in [&data, &more] {
        let took = cloud.seeded(server).await;
        assert!(took < Duration::from_secs(2), "it took {took:?}");
    }

    // Settled: nothing is asked for, and nothing of the tenant's is watched any more.
    sleep(Duration::from_secs(1)).await;
    let asked = cloud.asked_in(Duration::from_secs(3)).await;
    assert!(asked.is_empty(), "{asked:#?}");
    let changed = Patch::Merge(json!({"data": {"me": "ssh-ed25519 BBBB me"}}));
    cloud.api::<ConfigMap>().patch("ssh-keys", &PatchParams::default(), &changed).await.unwrap();
    let asked = cloud.asked_in(Duration::from_secs(1)).await;
    assert!(asked.is_empty(), "{asked:#?}");
}
