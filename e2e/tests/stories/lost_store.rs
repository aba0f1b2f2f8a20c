//! The objects are lost: what runs goes on, and is named.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::command::text;
use nubium_e2e::json::condition;
use nubium_e2e::machine::run;
use nubium_e2e::space::{Space, TIMEOUT};
use nubium_e2e::wait::{for_a_while, until};
use std::time::Duration;

use crate::yaml::{network, server};

pub fn leaves_guests_and_disks_as_they_are(cloud: &mut Cloud) {
    let space = Space::create(cloud, "lost");
    space.apply(&network("blue", "10.77.21.0/24", ", hostAccess: true"));
    space.apply(&server("web-1", "blue"));
    space.ssh("web-1", "true");
    let address = space.address("web-1");
    let domain = space.domain("web-1");
    let id = cloud.virsh(&["domid", &domain]).expect("it runs");
    let before = space.left_over();

    cloud.kill();
    cloud.lose_store();
    cloud.start();
    cloud.wait_for_host();
    until("the Strangers", TIMEOUT, || {
        let host = cloud.host();
        match condition(&host, "Strangers") {
            Some(said) if said["status"] == "True" && said["message"].to_string().contains("web-1") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    });
    for_a_while(Duration::from_secs(5), || match cloud.virsh(&["domid", &domain]) {
        Ok(now) if now == id => Ok(()),
        other => Err(format!("the guest was {id}, now {other:?}")),
    });
    run("ping", &["-c", "1", "-W", "5", &address]).expect("its network is as it was");

    // The same YAML again is somebody new: it does not get what is not theirs, and says why.
    let space = Space::create(cloud, "lost");
    space.apply(&network("blue", "10.77.21.0/24", ", hostAccess: true"));
    space.apply(&server("web-1", "blue"));
    until("the refusal", TIMEOUT, || {
        let seen = space.get("servers/web-1").ok_or("there is none")?;
        let says = |type_: &str, field: &str, value: &str| condition(&seen, type_).is_some_and(|c| c[field] == value);
        let refused = says("Ready", "reason", "HeldByStranger") && says("Ready", "status", "False");
        if refused { Ok(()) } else { Err(seen["status"]["conditions"].to_string()) }
    });
    assert_eq!(cloud.virsh(&["domid", &domain]).expect("it runs"), id);
    let now = space.left_over();
    assert!(before.iter().all(|held| now.contains(held)), "{before:?} became {now:?}");

    // Its admin ends it, and nothing else.
    let host = cloud.host()["metadata"]["name"].as_str().expect("a name").to_owned();
    let stranger = |words: &[&str]| {
        let flags = ["--host", &host, "--state"];
        text(cloud.nubium().arg("stranger").args(words).args(flags).arg(cloud.state()))
    };
    let listed = stranger(&["list"]).expect("it lists them");
    assert!(listed.contains("lost/web-1") && listed.contains(&domain), "{listed}");
    let ended = stranger(&["end", "lost/web-1", "--timeout", "5"]).expect("it ends it");
    assert!(ended.contains(&format!("ended {domain}")), "{ended}");
    space.ready("servers/web-1");
    assert_ne!(cloud.virsh(&["domid", &domain]).expect("the new one runs"), id);
    let refused = stranger(&["end", "lost/web-1"]).expect_err("it has an object");
    assert!(format!("{refused:#}").contains("has an object"), "{refused:#}");
}
