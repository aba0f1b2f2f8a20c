//! A first server.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::machine::run;

/// The YAML of a server as a newcomer writes it.
pub fn server(name: &str, network: &str) -> String {
    format!(
        "{{apiVersion: nubium.dev/v1alpha1, kind: Server, metadata: {{name: {name}}}, spec: {{\
         flavor: nano, disks: [{{name: root, image: tiny}}], nics: [{{name: eth0, network: {network}}}], \
         cloudInit: {{sshAuthorizedKeysFrom: [{{name: ssh-keys}}]}}}}}}"
    )
}

/// The YAML of a Network.
pub fn network(name: &str, cidr: &str, more: &str) -> String {
    format!(
        "{{apiVersion: nubium.dev/v1alpha1, kind: Network, metadata: {{name: {name}}}, \
         spec: {{subnets: [{{name: v4, cidr: {cidr}}}]{more}}}}}"
    )
}

pub fn boots_and_is_reached(cloud: &mut Cloud) {
    let shop = cloud.space("first");
    shop.apply(&network("blue", "10.10.0.0/24", ", hostAccess: true"));
    shop.apply(&server("web-1", "blue"));

    let seen = shop.ready("servers/web-1");
    assert_eq!(seen["status"]["conditions"].as_array().is_some(), true);
    assert_eq!(shop.ssh("web-1", "hostname"), "web-1");
    let address = shop.address("web-1");
    run("ping", &["-c", "1", "-W", "5", &address]).expect("the host reaches the address that is shown");
    assert!(shop.console("web-1").contains("Linux version"), "the console was logged");

    shop.delete_and_wait("servers/web-1");
    assert!(shop.list("volumes").is_empty(), "its disk went with it");
    assert!(shop.list("ports").is_empty() && shop.list("ipaddresses").is_empty(), "its port and address are free");
    assert!(!cloud_has_domain(&shop), "nothing of it is left in libvirt");
}

fn cloud_has_domain(space: &nubium_e2e::space::Space<'_>) -> bool {
    let domains = space.cloud().virsh(&["list", "--all", "--name"]).expect("libvirt answers");
    domains.contains(&format!("nubium.{}.", space.name()))
}
