//! Who may do what, over real TLS with real certificates.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use nubium_apiserver::Identity;
use serde_json::json;
use support::{Ours, definitions};

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_says_who_asks() {
    let ours = Ours::start().await;
    let nobody = ours.caller(None);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(nobody.get(path).await.code, 200, "{path}");
    }
    for path in ["/", "/api", "/apis", "/openapi/v3", "/api/v1/namespaces", "/apis/nubium.dev/v1alpha1/servers"] {
        let answer = nobody.get(path).await;
        assert_eq!(answer.code, 403, "{path}");
        assert!(answer.text.contains("system:anonymous"), "{}", answer.text);
    }
    let stranger = ours.caller(Some(&Identity::new("eve", ["devs"])));
    let refused = stranger.get("/api/v1/namespaces/default/secrets/s").await;
    assert_eq!(
        refused.json()["message"],
        r#"secrets "s" is forbidden: User "eve" cannot get resource "secrets" in API group "" in the namespace "default""#
    );
    assert_eq!(
        stranger.get("/apis").await.code,
        200,
        "what is served is no secret among those who showed who they are"
    );
    assert_eq!(ours.admin.get("/api/v1/namespaces/default/secrets/s").await.code, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_writes_itself_and_what_it_saw() {
    let ours = Ours::with_hosts().await;
    let admin = &ours.admin;
    for definition in definitions() {
        let made = admin.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &definition).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    for namespace in ["shop", "nubium-hosts", "nubium-host-rack-1", "nubium-host-rack-2"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        assert_eq!(admin.post("/api/v1/namespaces", &namespace).await.code, 201);
    }
    let host = ours.caller(Some(&Identity::host("rack-1")));
    let hosts = "/apis/nubium.dev/v1alpha1/hosts";
    let object = |name: &str| json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Host", "metadata": {"name": name}, "spec": {}});
    assert_eq!(host.post(hosts, &object("rack-2")).await.code, 403);
    let made = host.apply(&format!("{hosts}/rack-1?fieldManager=agent"), &object("rack-1")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(host.apply(&format!("{hosts}/rack-2?fieldManager=agent"), &object("rack-2")).await.code, 403);
    assert_eq!(host.get("/apis/nubium.dev/v1alpha1/servers?fieldSelector=status.host%3Drack-1").await.code, 200);
    for (namespace, code) in [("nubium-host-rack-1", 404), ("nubium-host-rack-2", 403), ("shop", 403)] {
        assert_eq!(host.get(&format!("/api/v1/namespaces/{namespace}/secrets/s")).await.code, code, "{namespace}");
    }
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "rack-1"}, "spec": {"holderIdentity": "rack-1"}});
    assert_eq!(host.post("/apis/coordination.k8s.io/v1/namespaces/nubium-hosts/leases", &lease).await.code, 201);
    assert_eq!(host.post("/apis/coordination.k8s.io/v1/namespaces/shop/leases", &lease).await.code, 403);
    let status = json!({"status": {"observedGeneration": 1}});
    assert_eq!(host.merge(&format!("{hosts}/rack-1/status"), &status).await.code, 200);
    assert_eq!(host.delete(&format!("{hosts}/rack-1")).await.code, 403);
}
