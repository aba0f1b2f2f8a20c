//! Fields that another one has replaced: what is written with them is kept as it is, and answered with a warning.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use nubium_apiserver::{Config, FieldWarning};
use serde_json::{Value, json};
use support::{Ours, definitions, eventually};

fn warning(resource: &str, path: &str) -> FieldWarning {
    let text = format!("{path} is deprecated");
    FieldWarning { group: "nubium.dev".into(), resource: resource.into(), path: path.into(), text }
}

async fn ours() -> Ours {
    let field_warnings = vec![
        warning("networks", "spec.subnets[].pool"),
        warning("ports", "spec.address"),
        warning("servers", "spec.nics[].address"),
    ];
    let ours = Ours::start_with(Config { field_warnings, ..Config::default() }).await;
    for definition in definitions() {
        let made = ours.admin.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    eventually("the kinds are served", async || ours.admin.get("/apis/nubium.dev/v1alpha1/servers").await.code == 200)
        .await;
    ours
}

/// What an earlier release's users wrote, and the same in the present form.
fn specs() -> [(&'static str, &'static str, Value, Value); 3] {
    let server = |nic: Value| json!({"flavor": "small", "disks": [{"name": "root", "image": "i"}], "nics": [nic]});
    let pool = json!({"start": "10.0.0.2", "end": "10.0.0.9"});
    [
        (
            "Server",
            "servers",
            server(json!({"name": "eth0", "network": "n", "address": "10.0.0.5"})),
            server(json!({"name": "eth0", "network": "n", "addresses": ["10.0.0.5"]})),
        ),
        (
            "Port",
            "ports",
            json!({"network": "n", "address": "10.0.0.5"}),
            json!({"network": "n", "addresses": ["10.0.0.5"]}),
        ),
        (
            "Network",
            "networks",
            json!({"subnets": [{"name": "v4", "cidr": "10.0.0.0/24", "pool": pool}]}),
            json!({"subnets": [{"name": "v4", "cidr": "10.0.0.0/24", "allocationPools": [pool]}]}),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_applied_in_the_old_form_is_kept_warned_of_and_can_take_the_new_form() {
    let ours = ours().await;
    for (kind, plural, old, new) in specs() {
        let path = format!("/apis/nubium.dev/v1alpha1/namespaces/default/{plural}/one");
        let apply = async |spec: &Value| {
            let object =
                json!({"apiVersion": "nubium.dev/v1alpha1", "kind": kind, "metadata": {"name": "one"}, "spec": spec});
            let answer = ours.admin.apply(&format!("{path}?fieldManager=me"), &object).await;
            assert!(matches!(answer.code, 200 | 201), "{kind}: {}", answer.text);
            answer
        };
        let first = apply(&old).await;
        assert!(first.warnings.len() == 1 && first.warnings[0].starts_with("299 "), "{kind}: {:?}", first.warnings);
        assert!(first.warnings[0].contains("is deprecated"), "{kind}: {:?}", first.warnings);
        let stored = |answer: &Value| answer["spec"].clone();
        for (field, value) in old.as_object().unwrap() {
            assert_eq!(&stored(&first.json())[field], value, "{kind}: nothing is moved or added");
        }
        let again = apply(&old).await;
        assert_eq!(again.json(), first.json(), "{kind}: applied again, it changes nothing");
        assert_eq!(again.warnings, first.warnings);
        let reported = ours.admin.merge(&format!("{path}/status"), &json!({"status": {"observedGeneration": 1}})).await;
        assert_eq!((reported.code, reported.warnings.len()), (200, 0), "{kind}: a status is none of it");
        let turned = apply(&new).await;
        assert_eq!(turned.warnings, Vec::<String>::new(), "{kind}");
        for (field, value) in new.as_object().unwrap() {
            assert_eq!(&stored(&turned.json())[field], value, "{kind}: the old field went with its owner's word");
        }
    }
}
