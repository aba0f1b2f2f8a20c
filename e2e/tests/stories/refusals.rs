//! What cannot be is refused at once, or said and waited for: never half done.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::json::condition;
use nubium_e2e::space::Space;

use crate::yaml::{network, stopped, volume};

fn expect(refusal: &str, words: &[&str]) {
    for word in words {
        assert!(refusal.contains(word), "the refusal does not say {word:?}: {refusal}");
    }
}

pub fn say_what_is_wrong(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "bad");

    expect(&shop.refused(&network("nope", "10.17.0.0/33", "")), &["cidr must be an IPv4 range such as 10.10.0.0/24"]);
    expect(&shop.refused(&network("nope", "10.17.0.7/24", "")), &["10.10.0.0/24, not 10.10.0.7/24"]);
    expect(&shop.refused(&network("nope", "hello", "")), &["cidr"]);
    expect(&shop.refused(&network("nope", "10.17.0.0/30", "")), &["between /8 and /29"]);
    expect(&shop.refused(&network("nope", "10.17.0.0/24", ", color: blue")), &["color"]);
    let twice = "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: s}, spec: {flavor: nano, \
                 disks: [{name: a, image: tiny}, {name: a, blank: {}, size: 1Gi}]}}";
    expect(&shop.refused(twice), &["disks", "uplicate"]);
    let both = "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: s}, spec: {flavor: nano, \
                disks: [{name: a, image: tiny, volume: db}]}}";
    expect(&shop.refused(both), &["exactly one of image, volume or blank"]);
    assert!(shop.list("servers").is_empty() && shop.list("networks").is_empty(), "nothing of it was kept");

    shop.apply(&network("blue", "10.17.0.0/24", ""));
    shop.apply(&at("outside", "10.18.0.5"));
    says(&shop, "ports/outside-eth0", "AddressOutOfRange", "10.18.0.5");
    shop.apply(&at("one", "10.17.0.9"));
    shop.ready("servers/one");
    shop.apply(&at("two", "10.17.0.9"));
    says(&shop, "ports/two-eth0", "AddressTaken", "10.17.0.9");
    shop.delete_and_wait("servers/outside");
    shop.delete_and_wait("servers/one");
    shop.ready("servers/two");

    shop.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: small-disk}, spec: {flavor: nano, \
         powerState: Stopped, disks: [{name: root, image: tiny, size: 1Mi}]}}",
    );
    says(&shop, "volumes/small-disk-root", "SmallerThanImage", "cannot hold its image");

    shop.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: giant}, spec: {\
         resources: {cpu: 1, memory: 4000Gi}, disks: [{name: root, image: tiny}]}}",
    );
    let seen = shop.wait("servers/giant", "Scheduled", "False");
    let why = condition(&seen, "Scheduled").expect("waited for")["message"].to_string();
    assert!(why.contains("0/1 hosts fit") && why.contains("lacks") && why.contains("memory"), "{why}");

    for server in ["two", "small-disk", "giant"] {
        shop.delete_and_wait(&format!("servers/{server}"));
    }
}

/// A Server that asks for an address of Network blue.
fn at(name: &str, address: &str) -> String {
    format!(
        "{{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {{name: {name}}}, spec: {{flavor: nano, \
         powerState: Stopped, disks: [{{name: root, image: tiny}}], \
         nics: [{{name: eth0, network: blue, address: {address}}}]}}}}"
    )
}

fn says(space: &Space<'_>, object: &str, reason: &str, words: &str) {
    let why = space.reason(object, reason);
    assert!(why.contains(words), "{object} {reason}: {why}");
}

pub fn wait_for_what_is_missing(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "missing");
    // Everything it names is missing, and a stranger has its disk's name.
    shop.apply(&volume("late-root", "16Mi"));
    shop.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: late}, spec: {flavor: later, \
         powerState: Stopped, disks: [{name: root, image: other}, {name: data, volume: db}], \
         nics: [{name: eth0, network: blue}]}}",
    );
    let why = shop.reason("servers/late", "NameTaken");
    assert!(why.contains("late-root"), "{why}");
    // The stranger goes, and the Server's own disk takes the name.
    shop.delete("volumes/late-root");

    shop.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Flavor, metadata: {name: later}, spec: {cpu: 1, memory: 128Mi}}",
    );
    shop.apply(&network("blue", "10.19.0.0/24", ""));
    shop.apply(&volume("db", "16Mi"));
    shop.apply(&crate::yaml::image("other", "{source: {file: {path: tiny.qcow2}}}"));
    let seen = shop.ready("servers/late");
    assert_eq!(condition(&seen, "Ready").expect("waited for")["reason"], "Stopped");
    shop.delete_and_wait("servers/late");
    shop.delete_and_wait("flavors/later");
    shop.apply(&stopped("now", "blue"));
    shop.ready("servers/now");
    shop.delete_and_wait("servers/now");
}
