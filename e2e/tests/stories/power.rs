//! A server is stopped, started and restarted by its YAML; what is on a volume stays.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::machine::run;
use nubium_e2e::space::{Space, TIMEOUT};
use nubium_e2e::wait::until;

use crate::yaml::{network, server_with, volume};

pub fn is_a_state(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "power");
    shop.apply(&network("blue", "10.11.0.0/24", ""));
    shop.apply(&volume("db", "64Mi"));
    shop.reason("volumes/db", "WaitingForFirstServer");
    let web = |name: &str, more: &str| server_with(name, "blue", ", {name: data, volume: db}", more);
    shop.apply(&web("web-1", ""));
    let first = shop.boot("web-1");
    let disk = shop.device("web-1", "db");
    shop.ssh(
        "web-1",
        &format!("sudo mkfs.ext2 {disk} && sudo mount {disk} /mnt && echo kept | sudo tee /mnt/it && sync"),
    );

    shop.apply(&web("web-1", ", powerState: Stopped"));
    shop.reason("servers/web-1", "Stopped");
    shop.ready("servers/web-1");
    assert_eq!(cloud.virsh(&["domstate", &shop.domain("web-1")]).expect("libvirt answers").trim(), "shut off");

    shop.apply(&web("web-1", ", powerState: Running"));
    shop.reason("servers/web-1", "Running");
    let second = shop.boot("web-1");
    assert_ne!(first, second);

    let now = run("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).expect("date works");
    let restarted = web("web-1", &format!(", restartedAt: \"{}\"", now.trim()));
    shop.apply(&restarted);
    let third = until("the restart", TIMEOUT, || {
        let boot = shop.try_ssh("web-1", "cat /proc/sys/kernel/random/boot_id")?;
        if boot == second { Err("it has not restarted".to_owned()) } else { Ok(boot) }
    });
    shop.apply(&restarted);
    shop.ready("servers/web-1");
    assert_eq!(shop.boot("web-1"), third, "the same restartedAt restarts once");

    shop.delete_and_wait("servers/web-1");
    shop.ready("volumes/db");
    shop.apply(&web("web-2", ""));
    let disk = shop.device("web-2", "db");
    assert_eq!(shop.ssh("web-2", &format!("sudo mount {disk} /mnt && cat /mnt/it")), "kept");
    shop.delete_and_wait("servers/web-2");
}
