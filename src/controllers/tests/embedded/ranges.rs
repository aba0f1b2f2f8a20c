//! Networks that give no cidr: each takes a range of its own, keeps it, and gives it back when it is gone.

use std::collections::BTreeSet;

use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use nubium_api::{AddressRange, CLOUD_SETTINGS, CloudSettings, Network, condition};
use serde_json::{Value, json};

use crate::cloud::{Cloud, until};

async fn make(cloud: &Cloud, name: &str, spec: Value) {
    let network =
        json!({"apiVersion": "nubium.dev/v1alpha1", "kind": "Network", "metadata": {"name": name}, "spec": spec});
    let network: Network = serde_json::from_value(network).unwrap();
    cloud.api::<Network>().create(&PostParams::default(), &network).await.unwrap();
}

async fn given(cloud: &Cloud, name: &str) -> Option<String> {
    let network = cloud.api::<Network>().get(name).await.unwrap();
    network.status?.subnets.first().map(|subnet| subnet.cidr.clone())
}

async fn taken(cloud: &Cloud, name: &str) -> String {
    until(&format!("{name} has a range"), async || given(cloud, name).await.is_some()).await;
    given(cloud, name).await.unwrap()
}

async fn claims(cloud: &Cloud) -> BTreeSet<String> {
    let ranges: Api<AddressRange> = Api::all(cloud.client.clone());
    ranges.list(&ListParams::default()).await.unwrap().iter().map(|claim| claim.spec.cidr.clone()).collect()
}

async fn ready(cloud: &Cloud, name: &str) -> (String, String) {
    let network = cloud.api::<Network>().get(name).await.unwrap();
    let conditions = network.status.unwrap_or_default().conditions;
    condition(&conditions, "Ready").map(|ready| (ready.reason.clone(), ready.message.clone())).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn networks_with_nothing_but_a_name_have_ranges_of_their_own() {
    let mut cloud = Cloud::start().await;
    make(&cloud, "default", json!({"subnets": [{"name": "v4", "cidr": "10.77.0.0/24"}]})).await;
    assert_eq!(taken(&cloud, "default").await, "10.77.0.0/24", "what it gives itself");
    let names: Vec<String> = (0..20).map(|number| format!("net-{number}")).collect();
    for name in &names {
        make(&cloud, name, json!({})).await;
    }
    let mut ranges = BTreeSet::new();
    for name in &names {
        assert!(ranges.insert(taken(&cloud, name).await), "{name} has a range that another one has");
    }
    let expected: BTreeSet<String> = (1..=20).map(|third| format!("10.77.{third}.0/24")).collect();
    assert_eq!(ranges, expected, "none overlaps with the default Network's");
    until("each range is claimed", async || claims(&cloud).await == expected).await;
    let first = taken(&cloud, "net-0").await;
    until("net-0 can be used", async || ready(&cloud, "net-0").await.0 == "Available").await;

    // A range goes with its Network, and to the next one; what was given is kept over a restart.
    cloud.api::<Network>().delete("net-0", &DeleteParams::default()).await.unwrap();
    until("its range is free", async || !claims(&cloud).await.contains(&first)).await;
    cloud.restart_controllers().await;
    make(&cloud, "next", json!({"subnets": [{"name": "v4", "dhcp": false}]})).await;
    assert_eq!(taken(&cloud, "next").await, first);
    for name in &names[1..] {
        assert!(ranges.contains(&given(&cloud, name).await.unwrap()), "{name} keeps its range");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_that_is_given_is_claimed_again_and_kept_while_its_network_is_there() {
    let cloud = Cloud::start().await;
    make(&cloud, "blue", json!({})).await;
    let range = taken(&cloud, "blue").await;
    let ranges: Api<AddressRange> = Api::all(cloud.client.clone());
    let claim = ranges.list(&ListParams::default()).await.unwrap().items.remove(0);
    ranges.delete(&claim.name_any(), &DeleteParams::default()).await.unwrap();
    let says = async || {
        let claim = ranges.get_opt(&claim.name_any()).await.unwrap();
        let conditions = claim.and_then(|claim| claim.status).unwrap_or_default().conditions;
        condition(&conditions, "Ready").is_some_and(|ready| ready.reason == "InUse")
    };
    until("it waits for its Network", says).await;
    // Somebody forces it: the Network takes it again.
    let forced = json!({"metadata": {"finalizers": null}});
    ranges.patch(&claim.name_any(), &PatchParams::default(), &Patch::Merge(&forced)).await.unwrap();
    let anew = async || {
        let there = ranges.get_opt(&claim.name_any()).await.unwrap();
        there.is_some_and(|there| there.metadata.uid != claim.metadata.uid && there.spec == claim.spec)
    };
    until("it is claimed again", anew).await;
    assert_eq!(taken(&cloud, "blue").await, range);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_network_for_which_no_range_is_left_says_so_until_there_is_one() {
    let cloud = Cloud::start().await;
    let settings: Api<CloudSettings> = Api::all(cloud.client.clone());
    until("the settings are there", async || settings.get_opt(CLOUD_SETTINGS).await.unwrap().is_some()).await;
    let allow = async |range: &str| {
        let spec = json!({"spec": {"networks": {"allocateFrom": [range]}}});
        let wrote = settings.patch(CLOUD_SETTINGS, &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
        let seen = async || {
            let status = settings.get(CLOUD_SETTINGS).await.unwrap().status.unwrap_or_default();
            status.observed_generation == wrote.metadata.generation
        };
        until("the controllers have seen the settings", seen).await;
    };
    allow("10.99.0.0/24").await;
    make(&cloud, "one", json!({})).await;
    let one = taken(&cloud, "one").await;
    make(&cloud, "two", json!({})).await;
    let exhausted = async || ready(&cloud, "two").await.0 == "RangesExhausted";
    until("two says that there is none", exhausted).await;
    assert!(ready(&cloud, "two").await.1.contains("allocateFrom"), "{:?}", ready(&cloud, "two").await);
    allow("10.98.0.0/23").await;
    assert_eq!(taken(&cloud, "two").await, "10.98.0.0/24");
    assert_eq!(given(&cloud, "one").await, Some(one), "what was taken stays");
}
