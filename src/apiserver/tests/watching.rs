//! Watches that live: what a client hears while others write.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is a failure")]

mod support;

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::ACCEPT;
use http_body_util::{BodyExt, Full};
use nubium_apiserver::{Body, Identity};
use serde_json::{Value, json};
use support::{Caller, Ours, eventually};
use tower::ServiceExt as _;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

fn map(name: &str, labels: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}})
}

/// Reads events off a watch until `count` have come.
async fn events(caller: &Caller, path: &str, count: usize) -> Vec<Value> {
    let mut response = caller.client.get(format!("{}{path}", caller.url)).send().await.unwrap();
    let (mut text, mut found) = (String::new(), Vec::new());
    while found.len() < count {
        let chunk = tokio::time::timeout(Duration::from_secs(30), response.chunk()).await.expect("an event in time");
        text.push_str(std::str::from_utf8(&chunk.unwrap().expect("the watch goes on")).unwrap());
        while let Some(end) = text.find('\n') {
            let line: String = text.drain(..=end).collect();
            found.push(serde_json::from_str(&line).unwrap());
        }
    }
    found
}

fn told(events: &[Value]) -> Vec<String> {
    let told = |event: &Value| {
        format!("{} {}", event["type"].as_str().unwrap(), event["object"]["metadata"]["name"].as_str().unwrap_or("-"))
    };
    events.iter().map(told).collect()
}

/// The body of a watch, frame by frame as the server makes it.
async fn body(ours: &Ours, query: &str, accept: &str) -> Body {
    let request = Request::get(format!("{MAPS}?watch=true&{query}")).header(ACCEPT, accept);
    let service = ours.server.router_service().acting_as(Identity::admin("admin"));
    let response = service.oneshot(request.body(Full::<Bytes>::default()).unwrap()).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body()
}

async fn frame(body: &mut Body) -> Bytes {
    let frame = tokio::time::timeout(Duration::from_secs(30), body.frame()).await.expect("a frame in time");
    frame.expect("the watch goes on").unwrap().into_data().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_initial_state_comes_in_pieces_and_as_it_was_when_the_watch_began() {
    const COUNT: usize = 400;
    const TWO_PIECES: usize = 128 << 10;
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let name = |number: usize| format!("m-{number:03}");
    for number in 0..COUNT {
        let mut map = map(&name(number), json!({}));
        map["data"] = json!({"text": "x".repeat(1000)});
        assert_eq!(admin.post(MAPS, &map).await.code, 201);
    }
    let all = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watching = body(&ours, all, "application/json").await;
    let mut tables = body(&ours, "", "application/json;as=Table;v=v1;g=meta.k8s.io").await;
    let mut nothing = body(&ours, &format!("{all}&labelSelector=none%3Dhere"), "application/json").await;
    let mut text = frame(&mut watching).await.to_vec();
    assert!(text.len() < TWO_PIECES, "{}", text.len());

    admin.merge(&format!("{MAPS}/{}", name(COUNT - 1)), &json!({"data": {"text": "changed"}})).await;
    admin.delete(&format!("{MAPS}/{}", name(COUNT - 2))).await;
    while text.iter().filter(|byte| **byte == b'\n').count() < COUNT + 3 {
        let next = frame(&mut watching).await;
        assert!(next.len() < TWO_PIECES, "{}", next.len());
        text.extend_from_slice(&next);
    }
    let events: Vec<Value> =
        String::from_utf8(text).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let heard = told(&events);
    let added: Vec<String> = (0..COUNT).map(|number| format!("ADDED {}", name(number))).collect();
    assert_eq!(heard[..COUNT], added);
    assert_eq!(events[COUNT - 1]["object"]["data"]["text"], "x".repeat(1000), "as it was");
    let rest =
        ["BOOKMARK -".to_owned(), format!("MODIFIED {}", name(COUNT - 1)), format!("DELETED {}", name(COUNT - 2))];
    assert_eq!(heard[COUNT..], rest);

    let first = frame(&mut tables).await;
    let rows: Vec<Value> =
        first.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    assert!(rows.len() > 1 && rows[0]["object"]["columnDefinitions"].is_array(), "{}", rows[0]);
    assert!(rows[1..].iter().all(|row| row["object"]["columnDefinitions"].is_null()));
    let only: Value = serde_json::from_slice(&frame(&mut nothing).await).unwrap();
    assert_eq!(only["type"], "BOOKMARK", "{only}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_hears_what_its_selector_lets_it() {
    let ours = Ours::start().await;
    let admin = ours.admin.clone();
    let start = admin.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{MAPS}?watch=true&resourceVersion={start}&labelSelector=on%3Dyes");
    let watching = tokio::spawn(async move { events(&admin, &path, 3).await });
    let admin = &ours.admin;
    admin.post(MAPS, &map("a", json!({"on": "no"}))).await;
    admin.merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"on": "yes"}}})).await;
    admin.merge(&format!("{MAPS}/a"), &json!({"data": {"k": "v"}})).await;
    let left = admin.merge(&format!("{MAPS}/a"), &json!({"metadata": {"labels": {"on": "no"}}})).await.json();
    let heard = watching.await.unwrap();
    assert_eq!(told(&heard), ["ADDED a", "MODIFIED a", "DELETED a"]);
    let gone = &heard[2]["object"];
    assert_eq!(gone["metadata"]["labels"]["on"], "yes", "the last state that it could see");
    assert_eq!(
        gone["metadata"]["resourceVersion"], left["metadata"]["resourceVersion"],
        "at the revision that took it away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_list_says_where_the_state_ends() {
    let ours = Ours::start().await;
    let admin = ours.admin.clone();
    admin.post(MAPS, &map("a", json!({}))).await;
    let path =
        format!("{MAPS}?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true");
    let watching = tokio::spawn(async move { events(&admin, &path, 3).await });
    let admin = &ours.admin;
    // Written once the watch has begun or not: it comes after the end of the initial events, or before as state.
    eventually("the second map is made", || async { admin.post(MAPS, &map("b", json!({}))).await.code != 500 }).await;
    let heard = watching.await.unwrap();
    let end = heard.iter().position(|event| event["type"] == "BOOKMARK").expect("an end of the initial events");
    let bookmark = &heard[end]["object"];
    assert_eq!(bookmark["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!((&bookmark["kind"], &bookmark["apiVersion"]), (&json!("ConfigMap"), &json!("v1")));
    assert_eq!(told(&heard[..1]), ["ADDED a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_is_gone_is_410_for_lists_and_watches() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    for name in ["a", "b", "c"] {
        admin.post(MAPS, &map(name, json!({}))).await;
    }
    let page = admin.get(&format!("{MAPS}?limit=1")).await.json();
    let (token, old) = (&page["metadata"]["continue"], &page["metadata"]["resourceVersion"]);
    let (token, old) = (token.as_str().unwrap(), old.as_str().unwrap());
    let newer = admin.merge(&format!("{MAPS}/c"), &json!({"data": {"k": "v"}})).await.json();
    let newer: u64 = newer["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
    ours.store.compact(newer).await.unwrap();

    let list = admin.get(&format!("{MAPS}?limit=1&continue={token}")).await;
    assert_eq!((list.code, &list.json()["reason"]), (410, &json!("Expired")));
    let go_on = list.json()["metadata"]["continue"].as_str().expect("a token to go on").to_owned();
    let rest = admin.get(&format!("{MAPS}?continue={go_on}")).await.json();
    assert_eq!(rest["items"].as_array().unwrap().len(), 2, "the rest, as it is now");

    let watch = admin.get(&format!("{MAPS}?watch=true&resourceVersion={old}&timeoutSeconds=5")).await;
    let heard = watch.lines();
    assert_eq!((heard.len(), &heard[0]["type"], &heard[0]["object"]["code"]), (1, &json!("ERROR"), &json!(410)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_ends_in_time_and_says_how_far_it_came() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let start = admin.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let watching = {
        let (admin, path) = (
            admin.clone(),
            format!("{MAPS}?watch=true&allowWatchBookmarks=true&resourceVersion={start}&timeoutSeconds=4"),
        );
        tokio::spawn(async move { admin.get(&path).await })
    };
    // Something else moves the revision on.
    let other = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}});
    let made = admin.post("/api/v1/namespaces", &other).await.json();
    let heard = watching.await.unwrap().lines();
    assert_eq!(heard.last().map(|event| &event["type"]), Some(&json!("BOOKMARK")), "{heard:?}");
    let reached = |value: &Value| value["metadata"]["resourceVersion"].as_str().unwrap().parse::<u64>().unwrap();
    assert!(reached(&heard.last().unwrap()["object"]) >= reached(&made));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_watchers_hear_one_change() {
    let ours = Ours::start().await;
    let admin = &ours.admin;
    let start = admin.get(MAPS).await.json()["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let path = format!("{MAPS}?watch=true&resourceVersion={start}");
    let watchers: Vec<_> = (0..100)
        .map(|_| {
            let (admin, path) = (admin.clone(), path.clone());
            tokio::spawn(async move { events(&admin, &path, 1).await })
        })
        .collect();
    admin.post(MAPS, &map("a", json!({}))).await;
    for watcher in watchers {
        assert_eq!(told(&watcher.await.unwrap()), ["ADDED a"]);
    }
}
