//! kube's own client in the same process: what the controllers and agents use.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use std::pin::pin;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Event, ObjectReference, Secret};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::events::{Event as NewEvent, EventType, Recorder};
use kube::runtime::finalizer::{Event as Finalizing, finalizer};
use kube::runtime::watcher::{self, Event as Watched};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Api, Client, ResourceExt as _};
use nubium_apiserver::Identity;
use serde_json::json;
use support::{Ours, definitions};

async fn client(ours: &Ours) -> Client {
    for definition in definitions() {
        ours.admin.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
    }
    Client::new(ours.server.router_service().acting_as(Identity::admin("controllers")), "default")
}

fn server_resource() -> ApiResource {
    ApiResource {
        group: "nubium.dev".into(),
        version: "v1alpha1".into(),
        api_version: "nubium.dev/v1alpha1".into(),
        kind: "Server".into(),
        plural: "servers".into(),
    }
}

fn servers(client: &Client) -> Api<DynamicObject> {
    Api::default_namespaced_with(client.clone(), &server_resource())
}

fn server(name: &str) -> DynamicObject {
    serde_json::from_value(json!({
        "apiVersion": "nubium.dev/v1alpha1", "kind": "Server", "metadata": {"name": name, "namespace": "default"},
        "spec": {"flavor": "small", "disks": [{"name": "root", "image": "i"}], "nics": [{"name": "eth0", "network": "n"}]},
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn typed_objects_go_in_and_come_back() {
    let ours = Ours::start().await;
    let client = client(&ours).await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).unwrap();
    let made = maps.create(&PostParams::default(), &map).await.unwrap();
    assert_eq!(maps.get("a").await.unwrap(), made);
    assert!(maps.get_opt("none").await.unwrap().is_none());
    let taken = maps.create(&PostParams::default(), &map).await.unwrap_err();
    assert!(matches!(taken, kube::Error::Api(status) if status.is_already_exists()));
    assert_eq!(maps.list(&ListParams::default().limit(1)).await.unwrap().items.len(), 1);
    let secrets: Api<Secret> = Api::default_namespaced(client.clone());
    let secret: Secret = serde_json::from_value(json!({"metadata": {"name": "s"}, "stringData": {"k": "v"}})).unwrap();
    let made = secrets.create(&PostParams::default(), &secret).await.unwrap();
    assert_eq!(made.data.unwrap()["k"].0, b"v");
    let leases: Api<Lease> = Api::default_namespaced(client);
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"}, "spec": {"holderIdentity": "me", "renewTime": "2026-01-01T00:00:00.000000Z"}});
    let applied = leases.patch("l", &PatchParams::apply("me"), &Patch::Apply(&lease)).await.unwrap();
    assert_eq!(applied.spec.unwrap().holder_identity.as_deref(), Some("me"));
    assert!(maps.delete("a", &DeleteParams::background()).await.unwrap().is_right());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reflector_fills_and_follows_in_both_ways() {
    let ours = Ours::start().await;
    let client = client(&ours).await;
    let api = servers(&client);
    api.create(&PostParams::default(), &server("before")).await.unwrap();
    for config in [watcher::Config::default().page_size(1), watcher::Config::default().streaming_lists()] {
        let writer = reflector::store::Writer::new(server_resource());
        let store = writer.as_reader();
        let stream = reflector(writer, watcher::watcher(api.clone(), config));
        let mut stream = pin!(stream.default_backoff());
        let mut ready = false;
        while !ready {
            ready = matches!(stream.next().await.unwrap().unwrap(), Watched::InitDone);
        }
        assert!(store.state().iter().any(|object| object.name_any() == "before"));
        api.create(&PostParams::default(), &server("after")).await.unwrap();
        loop {
            let event = tokio::time::timeout(std::time::Duration::from_secs(20), stream.next()).await;
            if let Watched::Apply(object) = event.expect("an event in time").unwrap().unwrap() {
                assert_eq!(object.name_any(), "after");
                break;
            }
        }
        api.delete("after", &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finalizers_and_events_of_the_runtime_work() {
    let ours = Ours::start().await;
    let client = client(&ours).await;
    let api = servers(&client);
    let made = api.create(&PostParams::default(), &server("web-1")).await.unwrap();
    // The runtime's finalizer tests that the list is null before it adds to it.
    let apply = |object: DynamicObject| {
        finalizer(&api, "nubium.dev/server", object.into(), |event| async move {
            match event {
                Finalizing::Apply(_) | Finalizing::Cleanup(_) => {
                    Ok::<_, std::io::Error>(kube::runtime::controller::Action::await_change())
                }
            }
        })
    };
    apply(made).await.unwrap();
    let held = api.get("web-1").await.unwrap();
    assert_eq!(held.finalizers(), ["nubium.dev/server"]);
    let recorder = Recorder::new(client.clone(), "nubium.dev/test".into());
    let about = ObjectReference {
        api_version: Some("nubium.dev/v1alpha1".into()),
        kind: Some("Server".into()),
        name: Some("web-1".into()),
        namespace: Some("default".into()),
        uid: held.uid(),
        ..ObjectReference::default()
    };
    let event = NewEvent {
        type_: EventType::Normal,
        reason: "Started".into(),
        note: Some("it runs".into()),
        action: "Start".into(),
        secondary: None,
    };
    recorder.publish(&event, &about).await.unwrap();
    recorder.publish(&event, &about).await.unwrap();
    let events: Api<Event> = Api::default_namespaced(client.clone());
    let told = events.list(&ListParams::default().fields("involvedObject.name=web-1,reason=Started")).await.unwrap();
    assert_eq!(told.items.len(), 1);
    assert_eq!(told.items[0].message.as_deref(), Some("it runs"));
    assert_eq!(told.items[0].series.as_ref().and_then(|series| series.count), Some(2));

    api.delete("web-1", &DeleteParams::default()).await.unwrap();
    let marked = api.get("web-1").await.unwrap();
    assert!(marked.metadata.deletion_timestamp.is_some());
    apply(marked).await.unwrap();
    assert!(api.get_opt("web-1").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn paging_through_a_list_sees_one_snapshot() {
    let ours = Ours::start().await;
    let client = client(&ours).await;
    let api = servers(&client);
    for n in 0..5 {
        api.create(&PostParams::default(), &server(&format!("s{n}"))).await.unwrap();
    }
    let mut params = ListParams::default().limit(2);
    let mut names = Vec::new();
    loop {
        let page = api.list(&params).await.unwrap();
        names.extend(page.items.iter().map(|object| object.name_any()));
        if names.len() == 2 {
            api.delete("s3", &DeleteParams::default()).await.unwrap();
        }
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => params = params.continue_token(&token),
            None => break,
        }
    }
    assert_eq!(names, ["s0", "s1", "s2", "s3", "s4"]);
    let watched = api.watch(&Default::default(), "0").await.unwrap();
    let first: Vec<_> = watched.take(4).try_collect().await.unwrap();
    assert_eq!(first.len(), 4);
}
