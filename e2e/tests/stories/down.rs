//! The cloud is taken down and up again: its servers come back, and meanwhile nobody is said to run who was not seen to.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::json::condition;
use nubium_e2e::space::{Space, TIMEOUT};
use nubium_e2e::wait::until;

use crate::yaml::{network, server};

pub fn and_up_again_says_what_was_seen_since(cloud: &mut Cloud) {
    let space = Space::create(cloud, "down");
    space.apply(&network("blue", "10.22.0.0/24", ""));
    space.apply(&server("web-1", "blue"));
    let first = space.boot("web-1");
    let domain = space.domain("web-1");
    let since = |seen: &serde_json::Value| {
        let ready = condition(seen, "Ready").cloned().unwrap_or_default();
        (ready["status"] == "True", ready["lastTransitionTime"].clone())
    };
    let (_, before) = since(&space.ready("servers/web-1"));

    cloud.down();
    cloud.start();
    until("Ready=True of web-1, said anew", TIMEOUT, || {
        let seen = cloud.list("servers", Some("down")).map_err(|error| format!("{error:#}"))?;
        let seen = seen.first().ok_or("there is none")?;
        let said = match since(seen) {
            (true, time) => Some(time),
            (false, _) => None,
        };
        // An API server that is not ours answers also before our agent begins.
        assert!(said.as_ref() != Some(&before) || !cloud.is_one_process(), "it is of before: {}", seen["status"]);
        if said.is_none_or(|time| time == before) {
            return Err(seen["status"]["conditions"].to_string());
        }
        assert_eq!(cloud.virsh(&["domstate", &domain]).expect("libvirt answers").trim(), "running");
        Ok(())
    });
    cloud.wait_for_host();

    let space = Space::create(cloud, "down");
    assert_ne!(space.boot("web-1"), first, "it was stopped and started");
    space.delete_and_wait("servers/web-1");
}
