//! An object that was accepted and cannot be read hides no other one, also after a restart, and says so itself.

use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
    core::ApiResource,
};
use nubium_api::{Server, Volume};
use serde_json::{Value, json};

use crate::cloud::{Cloud, until};

/// The definition of an earlier release: any time, any number.
fn loosen(definition: &mut Value) {
    if definition["spec"]["names"]["kind"] == "Server" {
        let spec = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec["properties"]["restartedAt"] = json!({"type": "string", "format": "date-time"});
        spec["x-kubernetes-validations"].take();
        spec.as_object_mut().unwrap().retain(|_, field| !field.is_null());
    }
}

async fn is_made(cloud: &Cloud, server: &str) {
    let volumes = cloud.api::<Volume>();
    until(&format!("the disk of {server} is made"), async || {
        volumes.get_opt(&format!("{server}-root")).await.unwrap().is_some()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_cannot_be_read_stops_nothing_but_itself_and_says_so() {
    let mut cloud = Cloud::with_definitions(loosen).await;
    let untyped: Api<DynamicObject> =
        Api::default_namespaced_with(cloud.client.clone(), &ApiResource::erase::<Server>(&()));
    let ready = async |name: &str| {
        let object = untyped.get(name).await.unwrap();
        let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
        conditions.into_iter().find(|fact| fact["type"] == "Ready").unwrap_or_default()
    };
    let unreadable = async |name: &str| {
        until(&format!("{name} says that it cannot be read"), async || ready(name).await["reason"] == "Unreadable")
            .await;
        let ready = ready(name).await;
        assert_eq!(ready["status"], "False");
        assert!(ready["message"].as_str().unwrap().contains("spec.restartedAt: "), "{ready}");
    };
    let restart = async |name: &str, at: Value| {
        let patch = Patch::Merge(json!({"spec": {"restartedAt": at}}));
        untyped.patch(name, &PatchParams::default(), &patch).await.unwrap();
    };

    cloud.create("web", json!({})).await;
    is_made(&cloud, "web").await;
    restart("web", json!("2026-01-01T00:00:00+99:99")).await;
    unreadable("web").await;
    cloud.create("second", json!({})).await;
    is_made(&cloud, "second").await;

    cloud.restart_controllers().await;
    cloud.create("third", json!({})).await;
    is_made(&cloud, "third").await;
    unreadable("web").await;

    // What it uses stays: nobody knows what it says.
    let volumes = cloud.api::<Volume>();
    volumes.delete("web-root", &DeleteParams::default()).await.unwrap();
    until("the disk waits for it", async || {
        let volume = volumes.get("web-root").await.unwrap();
        let conditions = volume.status.unwrap_or_default().conditions;
        conditions.iter().any(|fact| fact.type_ == "InUse" && fact.message.contains("which cannot be read"))
    })
    .await;

    restart("web", Value::Null).await;
    until("it can be read again", async || ready("web").await["reason"] != "Unreadable").await;
}
