//! Whole passes over an Image.

use std::sync::Arc;

use kube::{Api, Client};
use nubium_api::{StoragePool, StoragePoolSpec, Volume};
use nubium_runtime::{Next, Recorder, Shared};
use nubium_testkit::objects::Objects;
use serde_json::{Value, json};

use super::super::pass::{World as Passes, pass};
use super::*;

const STATUS: &str = "/apis/nubium.dev/v1alpha1/namespaces/shop/images/debian-12";

struct Cloud {
    objects: Objects,
    pools: SimPools,
    passes: Arc<Passes<SimPools>>,
}

impl Cloud {
    async fn reading(image: &Image) -> Self {
        let (objects, pools) = (Objects::new(), SimPools::new());
        let directory = nubium_api::DirectoryPool { path: None };
        objects.put(StoragePool::new("default", StoragePoolSpec { directory }));
        objects.put(image);
        let client: Client = objects.client();
        let context = Context {
            client: client.clone(),
            host: "h1".into(),
            images: Shared::builder(Api::<Image>::all(client.clone())).start(),
            pools: Shared::builder(Api::<StoragePool>::all(client.clone())).start(),
            volumes: Shared::builder(Api::<Volume>::all(client.clone())).start(),
            storage: Arc::new(pools.clone()),
            recorder: Recorder::start(client, "nubium.dev/agent", "h1"),
        };
        tokio::join!(context.images.synced(), context.pools.synced(), context.volumes.synced());
        let passes = Arc::new(Passes { context, imports: Imports::new(Queue::new()) });
        Self { objects, pools, passes }
    }

    async fn pass(&self) -> Next {
        pass(Arc::clone(&self.passes), Key::new("shop", "debian-12")).await.unwrap()
    }

    fn entry(&self) -> Value {
        self.objects.status(STATUS)["hosts"][0].clone()
    }
}

fn changed(pointer: &str, value: Value) -> Image {
    let mut object = image(true);
    object.metadata.generation = Some(2);
    let mut json = serde_json::to_value(object).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    json["status"] = json!({});
    json.pointer_mut(parent).unwrap()[field] = value;
    serde_json::from_value(json).unwrap()
}

fn marked(in_use: &str, generation: i64) -> Image {
    let conditions = json!([{"type": "InUse", "status": in_use, "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Unused", "message": ""}]);
    let mut image = changed("/status/conditions", conditions);
    image.metadata.deletion_timestamp = Some(serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap());
    image
}

#[tokio::test(start_paused = true)]
async fn an_import_is_told_in_this_hosts_entry() {
    let cloud = Cloud::reading(&changed("/status/size", json!("8Mi"))).await;
    cloud.pools.put_source(PATH, SimSource::Slow { virtual_size: SIZE });
    let Next::After(soon) = cloud.pass().await else { panic!("it has to come back") };
    assert_eq!(cloud.entry()["reason"], "Downloading");
    tokio::time::sleep(soon).await;
    cloud.pass().await;
    assert_eq!(cloud.entry()["fetchedBytes"], SIZE / 2);
    cloud.pools.arrive();
    tokio::time::sleep(soon).await;
    assert_eq!(cloud.pass().await, Next::Settled);
    let entry = cloud.entry();
    assert_eq!(
        (&entry["name"], &entry["pool"], &entry["observedGeneration"]),
        (&json!("h1"), &json!("default"), &json!(2))
    );
    assert_eq!(
        (&entry["ready"], &entry["sourceFormat"], &entry["virtualSize"]),
        (&json!(true), &json!("raw"), &json!(SIZE))
    );
}

#[tokio::test]
async fn only_a_live_mark_with_leave_at_its_generation_destroys() {
    for (case, live, destroyed) in [
        ("it is wanted", Some(changed("/status/size", json!("8Mi"))), false),
        ("something uses it", Some(marked("True", 2)), false),
        ("leave was given for an older generation", Some(marked("False", 1)), false),
        ("it is gone by name", None, false),
        ("it is to go", Some(marked("False", 2)), true),
    ] {
        let cloud = Cloud::reading(&marked("False", 2)).await;
        cloud.pools.put_image(file(), SIZE);
        match &live {
            Some(live) => cloud.objects.put(live),
            None => cloud.objects.remove(STATUS),
        }
        cloud.pass().await;
        assert_eq!(cloud.pools.has_image(&file()), !destroyed, "{case}");
        assert_eq!(cloud.entry()["released"] == json!(true), destroyed, "{case}: {}", cloud.entry());
    }
}

#[tokio::test(start_paused = true)]
async fn a_verdict_and_a_format_outlive_the_process() {
    let hosts =
        json!([{"name": "h1", "observedGeneration": 2, "reason": "UnsafeImage", "message": "it names a backing file"}]);
    let cloud = Cloud::reading(&changed("/status/hosts", hosts)).await;
    cloud.pools.put_source(PATH, SimSource::Good { virtual_size: SIZE });
    assert_eq!(cloud.pass().await, Next::Settled);
    tokio::time::sleep(Duration::from_secs(5)).await;
    cloud.pass().await;
    assert!(!cloud.pools.has_image(&file()), "it was not fetched again");
    assert_eq!(cloud.entry()["reason"], "UnsafeImage");

    let hosts =
        json!([{"name": "h1", "observedGeneration": 2, "ready": true, "reason": "Imported", "sourceFormat": "raw"}]);
    let cloud = Cloud::reading(&changed("/status/hosts", hosts)).await;
    cloud.pools.put_image(file(), SIZE);
    cloud.pass().await;
    assert_eq!(cloud.entry()["sourceFormat"], "raw");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_made_for_an_image_that_nobody_holds_yet() {
    let mut fresh = image(true);
    fresh.metadata.finalizers = None;
    let cloud = Cloud::reading(&fresh).await;
    cloud.pools.put_source(PATH, SimSource::Good { virtual_size: SIZE });
    assert_eq!(cloud.pass().await, Next::Settled);
    assert_eq!((cloud.entry(), cloud.objects.writes()), (Value::Null, 0), "it can still vanish without a word");
}
