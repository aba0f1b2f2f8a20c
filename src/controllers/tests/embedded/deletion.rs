//! Objects that go in the very moment in which something is made for them.

use std::time::Duration;

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams},
};
use nubium_api::{Server, ServerStatus, Volume};
use nubium_runtime::{StatusWriter, add_finalizer, apply_status, conflict, has_finalizer, not_found};
use serde_json::json;
use tokio::time::sleep;

use crate::cloud::{Cloud, of, until};

/// What is made for an object is in its namespace.
const MAKES: &str = "POST /apis/nubium.dev/v1alpha1/namespaces/";
const SERVERS: &str = "/apis/nubium.dev/v1alpha1/namespaces/default/servers";

/// Takes the Server away whoever holds it, as an admin in despair does.
async fn tear_away(servers: Api<Server>, name: &str) {
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    servers.patch(name, &PatchParams::default(), &free).await.unwrap();
    servers.delete(name, &DeleteParams::default()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_deleted_just_before_its_finalizer_leaves_nothing_and_does_not_come_back() {
    let cloud = Cloud::start().await;
    let servers = cloud.api::<Server>();
    cloud.just_before(&format!("PATCH {SERVERS}/web"), async move {
        servers.delete("web", &DeleteParams::default()).await.unwrap();
    });
    cloud.create("web", json!({})).await;
    cloud.looked_for(&format!("PATCH {SERVERS}/web")).await;
    sleep(Duration::from_millis(500)).await;
    assert!(cloud.api::<Server>().get_opt("web").await.unwrap().is_none());
    let made = of(&cloud.asked.lock(), MAKES).len();
    assert_eq!(made, 0, "{:#?}", cloud.asked.lock());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_gone_while_the_cache_still_shows_it_gets_no_child() {
    let cloud = Cloud::start().await;
    cloud.create("web", json!({})).await;
    let volumes = cloud.api::<Volume>();
    until("the first disk is made", async || volumes.get_opt("web-root").await.unwrap().is_some()).await;
    sleep(Duration::from_millis(500)).await;
    cloud.asked.lock().clear();

    let servers = cloud.api::<Server>();
    cloud.just_before(&format!("GET {SERVERS}/web"), async move { tear_away(servers, "web").await });
    let more = json!({"spec": {"disks": [
        {"name": "root", "blank": {}, "size": "1Gi"}, {"name": "more", "blank": {}, "size": "1Gi"},
    ]}});
    cloud.api::<Server>().patch("web", &PatchParams::default(), &Patch::Merge(&more)).await.unwrap();
    cloud.looked_for(&format!("GET {SERVERS}/web")).await;
    sleep(Duration::from_millis(500)).await;
    assert!(of(&cloud.asked.lock(), MAKES).is_empty(), "{:#?}", cloud.asked.lock());
    let left = volumes.list(&ListParams::default()).await.unwrap();
    assert!(left.iter().all(|volume| volume.name_any() != "web-more"));
    assert!(cloud.api::<Server>().get_opt("web").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_write_about_an_object_makes_one_or_meets_its_namesake() {
    let cloud = Cloud::without_controllers().await;
    let servers = cloud.api::<Server>();
    let owner = StatusWriter { manager: "test", fields: &["observedGeneration"], conditions: &[], entry: None };
    let status = ServerStatus { observed_generation: Some(1), ..ServerStatus::default() };
    let first = cloud.create("web", json!({})).await;
    tear_away(servers.clone(), "web").await;
    assert!(not_found(&add_finalizer(&servers, &first, Server::FINALIZER).await.unwrap_err()));
    assert!(apply_status(&servers, &first, &owner, &status).await.is_err());
    assert!(servers.get_opt("web").await.unwrap().is_none(), "nothing was made");

    cloud.create("web", json!({})).await;
    assert!(conflict(&add_finalizer(&servers, &first, Server::FINALIZER).await.unwrap_err()));
    assert!(conflict(&apply_status(&servers, &first, &owner, &status).await.unwrap_err()));
    let second = servers.get("web").await.unwrap();
    assert!(!has_finalizer(&second, Server::FINALIZER), "it is another object");
    assert_ne!(second.status.as_ref().and_then(|status| status.observed_generation), Some(1));

    // One that is going is not held any more.
    let others = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/other"]}}));
    let second = servers.patch("web", &PatchParams::default(), &others).await.unwrap();
    servers.delete("web", &DeleteParams::default()).await.unwrap();
    assert!(conflict(&add_finalizer(&servers, &second, Server::FINALIZER).await.unwrap_err()));
    assert!(!has_finalizer(&servers.get("web").await.unwrap(), Server::FINALIZER));
}
