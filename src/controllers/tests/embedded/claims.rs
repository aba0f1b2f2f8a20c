//! Claims of addresses and of ranges: each is released only after a live look has shown that its owner is no more.

use std::fmt::Debug;

use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use nubium_api::{AddressRange, IPAddress, Network, Port, address_range_name, condition, ip_address_name};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::cloud::{Cloud, of, until};

const PORTS: &str = "/apis/nubium.dev/v1alpha1/namespaces/default/ports";
const NETWORKS: &str = "/apis/nubium.dev/v1alpha1/namespaces/default/networks";
/// Somebody else's, so that an object that is deleted stays for as long as a test wants.
const HELD: &str = "example.com/held";

trait Object: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned> Object for K {}

fn object<K: Object>(name: &str, finalizers: &[&str], spec: Value) -> K {
    let json = json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()),
        "metadata": {"name": name, "finalizers": finalizers}, "spec": spec});
    serde_json::from_value(json).unwrap()
}

async fn create<K: Object>(api: &Api<K>, object: K) -> K {
    api.create(&PostParams::default(), &object).await.unwrap()
}

async fn delete<K: Object>(api: &Api<K>, name: &str) {
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// Takes every finalizer away: an object that is deleted is gone.
async fn tear_away<K: Object>(api: &Api<K>, name: &str) {
    let free = json!({"metadata": {"finalizers": null}});
    api.patch(name, &PatchParams::default(), &Patch::Merge(&free)).await.unwrap();
}

async fn gone<K: Object>(api: &Api<K>, name: &str) {
    until(&format!("{name} is gone"), async || api.get_opt(name).await.unwrap().is_none()).await;
}

async fn waits<K: Object>(api: &Api<K>, name: &str) {
    let in_use = async || {
        let status = json!(api.get(name).await.unwrap())["status"]["conditions"].clone();
        let conditions: Vec<nubium_api::Condition> = serde_json::from_value(status).unwrap_or_default();
        condition(&conditions, "Ready").is_some_and(|ready| ready.reason == "InUse")
    };
    until(&format!("{name} waits for its owner"), in_use).await;
}

/// Asserts that the owner was looked for, live, before the claim was released by the first such call: `DELETE`, or the
/// `PATCH` that removes its finalizer.
fn looked_first(cloud: &Cloud, owner: &str, verb: &str, claim: &str) {
    let asked = cloud.asked.lock();
    let releases = |call: &String| call.starts_with(verb) && call.contains(claim) && !call.contains("/status");
    let first = asked.iter().position(releases).expect("it was released");
    let before = asked[..first].to_vec();
    assert!(!of(&before, &format!("GET {owner}")).is_empty(), "not looked for: {asked:#?}");
}

/// Asserts that a claim which is deleted waits for its owner, also while that is going, and goes after it.
async fn goes_only_after<C: Object, O: Object>(
    cloud: &Cloud,
    (claims, claim): (&Api<C>, &str),
    (owners, owner): (&Api<O>, &str),
    path: &str,
) {
    delete(claims, claim).await;
    waits(claims, claim).await;
    delete(owners, owner).await;
    let released = async || owners.get(owner).await.unwrap().finalizers() == [HELD];
    until(&format!("{owner} waits for somebody else only"), released).await;
    assert!(claims.get_opt(claim).await.unwrap().is_some(), "{owner} is going, and not gone");
    cloud.asked.lock().clear();
    tear_away(owners, owner).await;
    gone(claims, claim).await;
    looked_first(cloud, &format!("{path}/{owner}"), "PATCH", claim);
}

/// A Port with its address.
async fn port(cloud: &Cloud, name: &str, finalizers: &[&str]) -> (Port, String) {
    let ports = cloud.api::<Port>();
    create(&ports, object(name, finalizers, json!({"network": "blue"}))).await;
    let given = async || !ports.get(name).await.unwrap().status.unwrap_or_default().addresses.is_empty();
    until(&format!("{name} has an address"), given).await;
    let port = ports.get(name).await.unwrap();
    let address = port.status.as_ref().unwrap().addresses[0].address.parse().unwrap();
    (port, ip_address_name(address, "blue"))
}

async fn blue(cloud: &Cloud) {
    let spec = json!({"subnets": [{"name": "v4", "cidr": "10.9.0.0/24"}]});
    create(&cloud.api::<Network>(), object("blue", &[], spec)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_is_free_when_a_live_look_shows_that_its_port_is_no_more() {
    let cloud = Cloud::start().await;
    blue(&cloud).await;
    let (ports, claims) = (cloud.api::<Port>(), cloud.api::<IPAddress>());
    let (_, claim) = port(&cloud, "web", &[HELD]).await;
    goes_only_after(&cloud, (&claims, &claim), (&ports, "web"), PORTS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_is_free_when_a_live_look_shows_that_its_network_is_no_more() {
    let cloud = Cloud::start().await;
    let networks = cloud.api::<Network>();
    let claims: Api<AddressRange> = Api::all(cloud.client.clone());
    create(&networks, object("blue", &[HELD], json!({}))).await;
    until("it is claimed", async || !claims.list(&ListParams::default()).await.unwrap().items.is_empty()).await;
    let claim = claims.list(&ListParams::default()).await.unwrap().items[0].name_any();
    goes_only_after(&cloud, (&claims, &claim), (&networks, "blue"), NETWORKS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_whose_owner_went_without_it_goes_also_when_the_owner_s_name_is_another_one_s() {
    let cloud = Cloud::start().await;
    blue(&cloud).await;
    let (web, kept) = port(&cloud, "web", &[]).await;
    let addresses = cloud.api::<IPAddress>();
    for (address, owner) in [("10.9.0.77", "web"), ("10.9.0.78", "nobody")] {
        let name = ip_address_name(address.parse().unwrap(), "blue");
        let spec = json!({"network": "blue", "address": address, "port": owner, "portUid": "of-before"});
        cloud.asked.lock().clear();
        create(&addresses, object(&name, &[IPAddress::FINALIZER], spec)).await;
        gone(&addresses, &name).await;
        looked_first(&cloud, &format!("{PORTS}/{owner}"), "DELETE", &name);
    }
    let claim = addresses.get(&kept).await.unwrap();
    assert_eq!(Some(claim.spec.port_uid), web.uid(), "the Port of today keeps its own");

    let ranges: Api<AddressRange> = Api::all(cloud.client.clone());
    for (range, owner) in [("10.77.77.0/24", "blue"), ("10.77.78.0/24", "nobody")] {
        let name = address_range_name(range.parse().unwrap());
        let spec = json!({"cidr": range, "namespace": "default", "network": owner, "networkUid": "of-before"});
        cloud.asked.lock().clear();
        create(&ranges, object(&name, &[AddressRange::FINALIZER], spec)).await;
        gone(&ranges, &name).await;
        looked_first(&cloud, &format!("{NETWORKS}/{owner}"), "DELETE", &name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_owner_holds_beyond_what_it_was_given_is_given_back() {
    let cloud = Cloud::start().await;
    blue(&cloud).await;
    let (web, kept) = port(&cloud, "web", &[]).await;
    let addresses = cloud.api::<IPAddress>();
    let name = ip_address_name("10.9.0.77".parse().unwrap(), "blue");
    let spec = json!({"network": "blue", "address": "10.9.0.77", "port": "web", "portUid": web.uid()});
    create(&addresses, object(&name, &[IPAddress::FINALIZER], spec)).await;
    gone(&addresses, &name).await;
    looked_first(&cloud, &format!("{PORTS}/web"), "PATCH", &name);
    assert!(addresses.get(&kept).await.unwrap().metadata.deletion_timestamp.is_none());

    let networks = cloud.api::<Network>();
    create(&networks, object("green", &[], json!({}))).await;
    let given = async || !networks.get("green").await.unwrap().status.unwrap_or_default().subnets.is_empty();
    until("green has a range", given).await;
    let green = networks.get("green").await.unwrap();
    let kept = address_range_name(green.status.as_ref().unwrap().subnets[0].cidr.parse().unwrap());
    let ranges: Api<AddressRange> = Api::all(cloud.client.clone());
    let name = address_range_name("10.77.77.0/24".parse().unwrap());
    let spec = json!({"cidr": "10.77.77.0/24", "namespace": "default", "network": "green", "networkUid": green.uid()});
    create(&ranges, object(&name, &[AddressRange::FINALIZER], spec)).await;
    gone(&ranges, &name).await;
    looked_first(&cloud, &format!("{NETWORKS}/green"), "PATCH", &name);
    assert!(ranges.get(&kept).await.unwrap().metadata.deletion_timestamp.is_none());
}
