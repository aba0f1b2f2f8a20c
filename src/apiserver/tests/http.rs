//! HTTP as such: paths, options, headers, limits; each case a raw request.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use nubium_apiserver::Identity;
use serde_json::{Value, json};
use support::{Caller, Ours};

/// Requests and the code of their answers.
async fn answers(caller: &Caller, cases: &[(&str, &str, u16)]) {
    for (method, path, code) in cases {
        let answer = caller.send(method, path, &[], None).await;
        assert_eq!(answer.code, *code, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn paths_name_one_thing_or_nothing() {
    let ours = Ours::start().await;
    ours.admin.post("/api/v1/namespaces/default/configmaps", &json!({"metadata": {"name": "a"}})).await;
    answers(
        &ours.admin,
        &[
            ("GET", "/api/v1/namespaces/default/configmaps/", 200),
            ("GET", "/api/v1//namespaces", 404),
            ("GET", "/api/v1/namespaces//configmaps", 404),
            ("GET", "/api/v1/namespaces/default/configmaps/a/b/c", 404),
            ("GET", "/api/v1/nothings", 404),
            ("GET", "//api/v1/namespaces", 404),
            ("GET", "/healthz/junk", 404),
            ("GET", "/readyz", 200),
            ("HEAD", "/version", 200),
            ("HEAD", "/api/v1/namespaces", 405),
            ("GET", "/nothing", 404),
        ],
    )
    .await;
    for path in ["/api/v1//namespaces", "/api/v1/nothings", "/api/v1/namespaces/default/configmaps/a/b/c"] {
        assert_eq!(ours.admin.get(path).await.json()["kind"], "Status", "{path}");
    }
    let junk = ours.admin.get("/apis/none.example/v1/nothings").await;
    assert_eq!((junk.code, junk.text.as_str()), (404, "404 page not found\n"));
}

#[tokio::test]
async fn options_are_read_or_refused_and_never_panic() {
    let ours = Ours::start().await;
    let list = |query: &str| format!("/api/v1/namespaces?{query}");
    for (query, code) in [
        ("limit=x", 400),
        ("limit=-5", 200),
        ("limit=1&limit=x", 200),
        ("timeout=soon", 400),
        ("timeout=10s", 200),
        ("watch=true&timeoutSeconds=1&timeoutSeconds=x", 200),
        ("timeoutSeconds=99999999999999999999", 400),
        ("fieldManager=%FF%FE", 200),
    ] {
        assert_eq!(ours.admin.get(&list(query)).await.code, code, "{query}");
    }
    // The watch begins; it must not end the connection with a panic.
    let far =
        ours.admin.client.get(format!("{}{}", ours.admin.url, list("watch=true&timeoutSeconds=9223372036854775807")));
    assert_eq!(far.send().await.unwrap().status(), 200);
    let named = format!("/api/v1/namespaces/default/configmaps?fieldManager={}", "m".repeat(129));
    let refused = ours.admin.post(&named, &json!({"metadata": {"name": "a"}})).await;
    assert_eq!((refused.code, &refused.json()["details"]["kind"]), (422, &json!("CreateOptions")), "{}", refused.text);
}

#[tokio::test]
async fn a_future_revision_is_waited_for() {
    let ours = Ours::start().await;
    let now: u64 = ours.admin.get("/api/v1/namespaces").await.json()["metadata"]["resourceVersion"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    let path = format!("/api/v1/namespaces?resourceVersion={}&resourceVersionMatch=NotOlderThan", now + 1);
    let asked = ours.admin.clone();
    let waiting = tokio::spawn(async move { asked.get(&path).await });
    ours.admin.post("/api/v1/namespaces/default/configmaps", &json!({"metadata": {"name": "a"}})).await;
    assert_eq!(waiting.await.unwrap().code, 200);
    let request =
        ours.admin.client.get(format!("{}/api/v1/namespaces/default?resourceVersion={}", ours.admin.url, now + 1000));
    let answer = request.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["retry-after"].to_str().unwrap()), (504, "1"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_answered() {
    let ours = Ours::start().await;
    let huge = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(9 << 20)}});
    for _ in 0..3 {
        let answer = ours.admin.post("/api/v1/namespaces/default/configmaps", &huge).await;
        assert_eq!(answer.code, 413, "{}", answer.text);
    }
}

#[tokio::test]
async fn a_token_that_nobody_gave_out_is_not_nobody() {
    let ours = Ours::start().await;
    let stranger = ours.caller(None);
    let liar = Caller { token: Some("wrong".to_owned()), ..stranger.clone() };
    for path in ["/healthz", "/api/v1/namespaces"] {
        let answer = liar.get(path).await;
        assert_eq!((answer.code, answer.json()["reason"].clone()), (401, json!("Unauthorized")), "{path}");
    }
    answers(&stranger, &[("GET", "/healthz", 200), ("GET", "/api", 403), ("GET", "/metrics", 403)]).await;
    let host = ours.caller(Some(&Identity::host("rack-1")));
    answers(&host, &[("GET", "/apis", 200), ("GET", "/metrics", 403)]).await;
}

#[tokio::test]
async fn openapi_is_kept_by_its_hash() {
    let ours = Ours::start().await;
    let index = ours.admin.get("/openapi/v3").await.json();
    let url = index["paths"]["api/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let get = async |url: &str, tag: Option<&str>| {
        let mut request = ours.admin.client.get(format!("{}{url}", ours.admin.url));
        if let Some(tag) = tag {
            request = request.header("if-none-match", tag);
        }
        request.send().await.unwrap()
    };
    let document = get(&url, None).await;
    let header = |name: &str| document.headers()[name].to_str().unwrap().to_owned();
    assert_eq!(header("cache-control"), "public, immutable");
    let tag = header("etag");
    assert!(url.ends_with(tag.trim_matches('"')) && header("expires").ends_with("GMT"));
    let unchanged = get(&url, Some(&tag)).await;
    assert_eq!((unchanged.status().as_u16(), unchanged.headers().get("content-type")), (304, None));
    let old = get("/openapi/v3/api/v1?hash=OLD", None).await;
    assert!(old.url().as_str().ends_with(&url), "{}", old.url());
    let whole = ours.admin.get("/openapi/v2").await.json();
    let secret = &whole["definitions"]["io.k8s.api.core.v1.Secret"];
    assert_eq!(secret["x-kubernetes-group-version-kind"][0]["kind"], "Secret");
    assert_eq!(
        secret["properties"]["metadata"]["$ref"],
        "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
    );
    assert!(!whole.to_string().contains("#/components/"));
}

#[tokio::test]
async fn discovery_at_once_says_what_discovery_one_by_one_says() {
    let ours = Ours::start().await;
    for crd in support::definitions() {
        ours.admin.post("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", &crd).await;
    }
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    for root in ["/api", "/apis"] {
        let all = ours.admin.send("GET", root, &accept, None).await;
        assert_eq!(all.content_type, accept[0].1);
        let all = all.json();
        for group in all["items"].as_array().unwrap() {
            for version in group["versions"].as_array().unwrap() {
                let path = [
                    root,
                    group["metadata"]["name"].as_str().unwrap_or_default(),
                    version["version"].as_str().unwrap(),
                ];
                let path = path.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
                let alone = ours.admin.get(&path).await.json();
                let names = |list: &Value, field: &str| {
                    let names = list.as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_owned());
                    names.filter(|name| !name.contains('/')).collect::<Vec<_>>()
                };
                assert_eq!(names(&version["resources"], "resource"), names(&alone["resources"], "name"), "{path}");
            }
        }
        assert_eq!(all["kind"], "APIGroupDiscoveryList");
    }
}

#[tokio::test]
async fn requests_are_measured() {
    let ours = Ours::start().await;
    ours.admin.get("/api/v1/namespaces/default").await;
    let mut watch =
        ours.admin.client.get(format!("{}/api/v1/namespaces?watch=true", ours.admin.url)).send().await.unwrap();
    assert!(watch.chunk().await.unwrap().is_some());
    let text = ours.admin.get("/metrics").await.text;
    for line in [
        r#"apiserver_request_total{code="200",group="",resource="namespaces",scope="resource",subresource="",verb="GET",version="v1"}"#,
        r#"apiserver_longrunning_requests{group="",resource="namespaces",scope="cluster",subresource="",verb="WATCH",version="v1"}"#,
        r#"apiserver_resource_objects{group="",resource="namespaces"}"#,
        r#"apiserver_current_inflight_requests{request_kind="readOnly"}"#,
        "apiserver_request_duration_seconds_bucket",
        "nubium_store_revision",
        "process_open_fds",
    ] {
        let found = text.lines().find(|found| found.starts_with(line)).unwrap_or_else(|| panic!("no {line} in {text}"));
        assert!(!found.ends_with(" 0"), "{found}");
    }
}

#[tokio::test]
async fn a_collection_is_deleted_by_its_selector() {
    let ours = Ours::start().await;
    let path = "/api/v1/namespaces/default/configmaps";
    for (name, app) in [("a", "web"), ("b", "web"), ("c", "db")] {
        let labels = json!({"app": app});
        let finalizers = if name == "b" { json!(["example.org/held"]) } else { json!([]) };
        let metadata = json!({"name": name, "labels": labels, "finalizers": finalizers});
        assert_eq!(ours.admin.post(path, &json!({"metadata": metadata})).await.code, 201);
    }
    let names = async |query: &str| {
        let list = ours.admin.get(&format!("{path}{query}")).await.json();
        let names =
            list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    let dry = ours.admin.delete(&format!("{path}?labelSelector=app=web&dryRun=All")).await;
    assert_eq!((dry.code, dry.json()["items"].as_array().unwrap().len()), (200, 2), "{}", dry.text);
    assert_eq!(names("").await, ["a", "b", "c"]);
    let deleted = ours.admin.delete(&format!("{path}?labelSelector=app=web")).await.json();
    assert_eq!((&deleted["kind"], deleted["items"].as_array().unwrap().len()), (&json!("ConfigMapList"), 2));
    assert_eq!(names("").await, ["b", "c"], "one is held by its finalizer");
    answers(&ours.admin, &[("DELETE", "/api/v1/namespaces", 405), ("DELETE", "/api/v1/configmaps", 405)]).await;
}

#[tokio::test]
async fn what_go_clients_cannot_read_is_not_stored() {
    let ours = Ours::start().await;
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases";
    let lease = |time: &str| json!({"metadata": {"name": "l"}, "spec": {"renewTime": time}});
    let refused = ours.admin.post(leases, &lease("2026-01-01T10:00:00Z")).await;
    assert_eq!(refused.code, 400, "{}", refused.text);
    let stored = ours.admin.post(leases, &lease("2026-01-01T10:00:00.000001+01:00")).await.json();
    assert_eq!(stored["spec"]["renewTime"], "2026-01-01T09:00:00.000001Z");
    let secret =
        json!({"metadata": {"name": "s", "annotations": {"a": null}}, "data": {"k": "YWJj\nZGVm\r\n", "n": null}});
    let stored = ours.admin.post("/api/v1/namespaces/default/secrets", &secret).await.json();
    assert_eq!(stored["data"], json!({"k": "YWJjZGVm", "n": ""}));
    assert_eq!(stored["metadata"]["annotations"], json!({"a": ""}));
    let map = json!({"metadata": {"name": "m"}, "binaryData": {"k": 5}});
    assert_eq!(ours.admin.post("/api/v1/namespaces/default/configmaps", &map).await.code, 400);
}
