//! The same YAML applied again changes nothing.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::space::Space;
use nubium_e2e::wait::for_a_while;
use std::time::Duration;

use crate::yaml::{network, stopped, volume};

/// `kind/name` and resourceVersion of everything here.
pub fn versions(space: &Space<'_>) -> Vec<(String, String)> {
    let kinds = ["images", "networks", "volumes", "servers", "ports", "ipaddresses", "configmaps"];
    let all = kinds.iter().flat_map(|kind| space.list(kind).into_iter().map(move |object| (kind, object)));
    all.map(|(kind, object)| {
        let metadata = &object["metadata"];
        (format!("{kind}/{}", metadata["name"]), metadata["resourceVersion"].to_string())
    })
    .collect()
}

/// One document of each kind that people write.
pub fn everything(suffix: &str, range: &str) -> String {
    let (blue, db, web) = (format!("blue-{suffix}"), format!("db-{suffix}"), format!("web-{suffix}"));
    // kubectl takes what begins with a brace for JSON.
    "---\n".to_owned() + &[network(&blue, range, ""), volume(&db, "16Mi"), stopped(&web, &blue)].join("\n---\n")
}

pub fn changes_nothing(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "again");
    let yaml = everything("a", "10.13.0.0/24");
    shop.apply(&yaml);
    shop.reason("servers/web-a", "Stopped");
    shop.ready("servers/web-a");
    shop.ready("networks/blue-a");
    let before = versions(&shop);

    let said = shop.try_apply(&yaml).expect("it is taken again");
    assert_eq!(said.lines().filter(|line| line.ends_with("unchanged")).count(), 3, "{said}");
    for_a_while(Duration::from_secs(3), || {
        let now = versions(&shop);
        if now == before { Ok(()) } else { Err(format!("something changed:\n{before:?}\n{now:?}")) }
    });
}
