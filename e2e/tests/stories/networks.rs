//! Servers reach each other, and what is outside; Networks do not meet.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::machine::run;
use nubium_e2e::space::Space;
use nubium_e2e::web::{Page, serve};

use crate::yaml::{network, server};

/// The outside: a machine of its own beside the host, that knows no way to any Network.
const OUTSIDE: &str = "203.0.113.2";

pub fn carry_what_they_should_and_nothing_else(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "net");
    shop.apply(&network("blue", "10.77.12.0/24", ", hostAccess: true"));
    shop.apply(&server("a", "blue"));
    shop.apply(&server("b", "blue"));
    shop.apply(&network("green", "10.77.12.0/24", ", hostAccess: true"));
    let (_, b) = (shop.address("a"), shop.address("b"));

    shop.ssh("a", &format!("ping -c 3 -W 10 {b}"));

    make_outside();
    let hello = [("/hello".to_owned(), Page::Bytes(b"hello from outside\n".to_vec()))].into();
    serve(Some("/run/netns/outside".as_ref()), &format!("{OUTSIDE}:80"), hello).expect("the outside serves");
    let said = shop.ssh("a", &format!("wget -q -T 20 -O - http://{OUTSIDE}/hello"));
    assert_eq!(said, "hello from outside");
    shop.delete_and_wait("servers/a");

    // The same range once more: a network of its own, where nobody has b's address, and which the host cannot reach.
    shop.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {name: c}, spec: {flavor: nano, \
         disks: [{name: root, image: tiny}], nics: [{name: eth0, network: green, address: 10.77.12.77}], \
         cloudInit: {sshAuthorizedKeysFrom: [{name: ssh-keys}]}}}",
    );
    let why = shop.reason("networks/green", "RangeTaken");
    assert!(why.contains("blue") || why.contains("10.77.12.0/24"), "it says what is in the way: {why}");
    assert_eq!(shop.ssh("c", "hostname"), "c");
    shop.ssh("c", "mkdir -p /tmp/www && echo hello from c >/tmp/www/hello && sudo httpd -p 80 -h /tmp/www");
    let forward = shop.port_forward("c", "0:80");
    assert_eq!(forward.curl("/hello"), "hello from c", "a forwarded port leads there whatever the range is");
    drop(forward);
    assert!(shop.try_ssh("c", &format!("ping -c 2 -W 2 {b}")).is_err(), "c does not meet b");
    run("ping", &["-c", "1", "-W", "5", &b]).expect("the host still reaches b");
    assert!(run("ping", &["-c", "1", "-W", "2", "10.77.12.77"]).is_err(), "the range is blue's on the host");
    shop.delete_and_wait("servers/b");
    shop.delete_and_wait("servers/c");
}

fn make_outside() {
    let ip = |line: &str| run("ip", &line.split(' ').collect::<Vec<_>>()).expect("a veth can be made");
    ip("netns add outside");
    ip("link add uplink type veth peer name eth0 netns outside");
    ip("addr add 203.0.113.1/24 dev uplink");
    ip("link set uplink up");
    // By its kind the link could lead to a container; the default route makes it the way to the outside.
    ip(&format!("route add default via {OUTSIDE}"));
    ip(&format!("-n outside addr add {OUTSIDE}/24 dev eth0"));
    ip("-n outside link set eth0 up");
}
