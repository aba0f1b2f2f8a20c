//! Whole passes: what the cache says, what the API server says when asked, and which of them counts.

use std::sync::Arc;

use kube::{Api, Client};
use nubium_api::{Image, StoragePool, StoragePoolSpec};
use nubium_runtime::{Key, Next, Recorder, Shared};
use nubium_testkit::objects::Objects;
use serde_json::{Value, json};

use super::super::pass::pass;
use super::*;

const PATH: &str = "/apis/nubium.dev/v1alpha1/namespaces/shop/volumes/web-1-root";

struct World {
    objects: Objects,
    pools: SimPools,
    context: Arc<Context<SimPools>>,
}

impl World {
    /// A world whose caches have read what is given, and that a pool belongs to.
    async fn reading(object: &Volume) -> Self {
        let (objects, pools) = (Objects::new(), SimPools::new());
        let directory = nubium_api::DirectoryPool { path: None };
        objects.put(StoragePool::new("default", StoragePoolSpec { directory }));
        objects.put(object);
        let client: Client = objects.client();
        let context = Context {
            client: client.clone(),
            host: "h1".into(),
            volumes: Shared::builder(Api::<Volume>::all(client.clone())).index(BY_IMAGE, image_of).start(),
            images: Shared::builder(Api::<Image>::all(client.clone())).start(),
            pools: Shared::builder(Api::<StoragePool>::all(client.clone())).start(),
            storage: Arc::new(pools.clone()),
            recorder: Recorder::start(client, "nubium.dev/agent", "h1"),
        };
        tokio::join!(context.volumes.synced(), context.images.synced(), context.pools.synced());
        Self { objects, pools, context: Arc::new(context) }
    }

    async fn pass(&self) -> Next {
        pass(Arc::clone(&self.context), Key::new("shop", "web-1-root")).await.unwrap()
    }

    fn told(&self, type_: &str) -> Option<String> {
        let status = self.objects.status(PATH);
        let found = status["conditions"].as_array()?.iter().find(|condition| condition["type"] == type_)?;
        Some(format!("{}/{}", found["status"].as_str()?, found["reason"].as_str()?))
    }

    async fn exists(&self) -> bool {
        exists(&self.pools.volumes()).await
    }
}

/// A volume on this host, made before.
fn bound() -> Volume {
    let mut object = volume(None, Some("16Mi"));
    let capacity = Some(Quantity("16Mi".into()));
    object.status = Some(VolumeStatus { host: Some("h1".into()), capacity, ..VolumeStatus::default() });
    object
}

fn with(object: &Volume, pointer: &str, value: Value) -> Volume {
    let mut json = serde_json::to_value(object).unwrap();
    let (parent, field) = pointer.rsplit_once('/').unwrap();
    json.pointer_mut(parent).unwrap()[field] = value;
    serde_json::from_value(json).unwrap()
}

fn marked() -> Volume {
    with(&bound(), "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))
}

fn in_use(object: &Volume, status: &str, generation: i64) -> Volume {
    let condition = json!([{"type": "InUse", "status": status, "observedGeneration": generation,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Unused", "message": ""}]);
    with(object, "/status/conditions", condition)
}

#[tokio::test]
async fn a_volume_is_made_once_and_then_nothing_is_written() {
    let mut fresh = bound();
    fresh.status.as_mut().unwrap().capacity = None;
    let world = World::reading(&fresh).await;
    assert_eq!(world.pass().await, Next::Settled);
    assert!(world.exists().await);
    assert_eq!(world.told("Provisioned").as_deref(), Some("True/Provisioned"));
    let status = world.objects.status(PATH);
    assert_eq!((&status["capacity"], &status["format"]), (&json!("16Mi"), &json!("qcow2")));
    assert_eq!(world.objects.writes(), 1);

    let written: Volume = serde_json::from_value(with_status(&fresh, status)).unwrap();
    let settled = World::reading(&written).await;
    settled.pools.put_volume(file(), 16 * MIB, None);
    assert_eq!(settled.pass().await, Next::Settled);
    assert_eq!(settled.objects.writes(), 0);
}

fn with_status(object: &Volume, status: Value) -> Value {
    let mut json = serde_json::to_value(object).unwrap();
    json["status"] = status;
    json
}

#[tokio::test]
async fn only_a_live_mark_with_leave_at_its_generation_destroys() {
    let other_uid = with(&in_use(&marked(), "False", 3), "/metadata/uid", json!("other"));
    for (case, live) in [
        ("the cache is wrong: it is wanted", Some(bound())),
        ("another object has the name", Some(other_uid)),
        ("something uses it", Some(in_use(&marked(), "True", 3))),
        ("leave was given for an older generation", Some(in_use(&marked(), "False", 2))),
        ("nobody has judged yet", Some(marked())),
        ("it is gone by name", None),
    ] {
        let world = World::reading(&in_use(&marked(), "False", 3)).await;
        world.pools.put_volume(file(), 16 * MIB, None);
        match &live {
            Some(live) => world.objects.put(live),
            None => world.objects.remove(PATH),
        }
        world.pass().await;
        assert!(world.exists().await, "{case}");
        assert_eq!(world.told("Released"), None, "{case}");
    }
    let world = World::reading(&in_use(&marked(), "False", 3)).await;
    world.pools.put_volume(file(), 16 * MIB, None);
    world.pass().await;
    assert!(!world.exists().await);
    assert_eq!(world.told("Released").as_deref(), Some("True/Released"));
}

#[tokio::test]
async fn what_the_cache_does_not_have_is_left_alone() {
    let other = with(&bound(), "/metadata/name", json!("other"));
    let world = World::reading(&other).await;
    world.pools.put_volume(file(), 16 * MIB, None);
    assert_eq!(world.pass().await, Next::Gone);
    assert!(world.exists().await);
    assert_eq!(world.objects.writes(), 0);
}

#[tokio::test]
async fn a_volume_of_another_host_is_not_ours_to_make_or_to_tell_of() {
    for host in [json!("h2"), Value::Null] {
        let world = World::reading(&with(&bound(), "/status/host", host)).await;
        world.pass().await;
        assert!(!world.exists().await);
        assert_eq!(world.objects.writes(), 0);
    }
}
