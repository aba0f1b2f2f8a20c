//! What the controllers ask of an API server, counted.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::sleep;

use crate::cloud::{Cloud, of};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cloud_init_misses_is_not_polled_and_is_taken_up_when_it_comes() {
    let cloud = Cloud::start().await;
    let keys = cloud.bound("keys", json!({"sshAuthorizedKeysFrom": [{"name": "ssh-keys"}]})).await;
    let from = json!({"userDataFrom": {"secretKeyRef": {"name": "data", "key": "user-data"}}});
    let data = cloud.bound("data", from.clone()).await;
    let more = cloud.bound("more", from).await;
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
