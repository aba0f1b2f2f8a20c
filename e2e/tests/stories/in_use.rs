//! What is in use is not deleted under its user; what is deleted ends.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::space::{Space, TIMEOUT};
use nubium_e2e::wait::until;

use crate::yaml::{network, server_with, stopped, volume};

pub fn waits_and_says_for_whom(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "in-use");
    shop.apply(&network("blue", "10.14.0.0/24", ""));
    shop.apply(&volume("db", "16Mi"));
    shop.apply(&server_with("web-1", "blue", ", {name: data, volume: db}", ", powerState: Stopped"));
    shop.ready("servers/web-1");
    for object in ["networks/blue", "volumes/db", "images/tiny"] {
        shop.delete(object);
        let why = shop.reason(object, "InUse");
        let says = if object == "images/tiny" { "web-1-root" } else { "web-1" };
        assert!(why.contains(says), "{object} says who uses it: {why}");
    }
    shop.delete("servers/web-1");
    until("the end of all", TIMEOUT, || {
        let left: Vec<_> = ["servers/web-1", "networks/blue", "volumes/db", "images/tiny"]
            .into_iter()
            .filter_map(|object| shop.get(object).map(|seen| (object, seen["status"]["conditions"].to_string())))
            .collect();
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    });
    assert_eq!(shop.left_over(), Vec::<String>::new());
}

pub fn a_namespace_ends_with_all_it_holds(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "ending");
    shop.apply("{apiVersion: v1, kind: Secret, metadata: {name: web-1}, stringData: {user-data: \"#!/bin/sh\\necho secret > /tmp/said\\n\"}}");
    shop.apply(&network("blue", "10.15.0.0/24", ""));
    shop.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: web-1}, spec: {flavor: nano, \
         disks: [{name: root, image: tiny}], nics: [{name: eth0, network: blue}], cloudInit: {\
         sshAuthorizedKeysFrom: [{name: ssh-keys}], userDataFrom: {secretKeyRef: {name: web-1, key: user-data}}}}}",
    );
    shop.apply(&stopped("web-2", "blue"));
    until("the user data", TIMEOUT, || match shop.try_ssh("web-1", "cat /tmp/said")?.as_str() {
        "secret" => Ok(()),
        other => Err(format!("the file says {other:?}")),
    });

    shop.delete("namespaces/ending");
    until("the end of the namespace", TIMEOUT, || match shop.get("namespaces/ending") {
        None => Ok(()),
        Some(seen) => Err(format!("{} {:?}", seen["status"], shop.left_over())),
    });
    assert_eq!(shop.left_over(), Vec::<String>::new());
}
