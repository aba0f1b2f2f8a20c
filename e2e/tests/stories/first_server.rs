//! A first server.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::machine::run;
use nubium_e2e::space::Space;

use crate::yaml::{network, server};

pub fn boots_and_is_reached(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "first");
    shop.apply(&network("blue", "10.77.10.0/24", ", hostAccess: true"));
    shop.apply(&server("web-1", "blue"));

    shop.ready("servers/web-1");
    assert_eq!(shop.ssh("web-1", "hostname"), "web-1");
    let address = shop.address("web-1");
    run("ping", &["-c", "1", "-W", "5", &address]).expect("the host reaches the address that is shown");
    shop.ssh("web-1", "mkdir -p /tmp/www && echo hello from web-1 >/tmp/www/hello && sudo httpd -p 80 -h /tmp/www");
    let page = run("curl", &["--silent", "--show-error", "--max-time", "10", &format!("http://{address}/hello")]);
    assert_eq!(page.expect("the host reaches its web server").trim(), "hello from web-1");
    assert!(shop.console("web-1").contains("tiny: started web-1"), "the console was logged");
    assert_eq!(shop.domains(), ["nubium.first.web-1"]);

    shop.delete_and_wait("servers/web-1");
    assert!(shop.list("volumes").is_empty(), "its disk went with it");
    assert!(shop.list("ports").is_empty() && shop.list("ipaddresses").is_empty(), "its port and address are free");
    assert!(shop.domains().is_empty(), "nothing of it is left in libvirt");
    let seeds = cloud.list("secrets", Some(&format!("nubium-host-{}", host(cloud)))).expect("the cloud answers");
    assert!(seeds.is_empty(), "its seed went with it");

    shop.delete_and_wait("images/tiny");
    shop.delete_and_wait("networks/blue");
    assert_eq!(shop.left_over(), Vec::<String>::new(), "no file, no domain, no network namespace is left");
}

fn host(cloud: &Cloud) -> String {
    cloud.host()["metadata"]["name"].as_str().expect("a Host has a name").to_owned()
}
