//! A pool without room: guests wait, and go on when there is room again.

use std::path::Path;

use nubium_e2e::cloud::Cloud;
use nubium_e2e::json::condition;
use nubium_e2e::machine::run;
use nubium_e2e::space::{Space, TIMEOUT};
use nubium_e2e::wait::{for_a_while, until};
use std::time::Duration;

use crate::yaml::{network, server_with};

pub fn a_full_pool_pauses_a_guest_and_loses_nothing(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "full");
    let folder = cloud.state().join("tight");
    let _tight = Tight::mount(&folder);
    shop.apply(&format!(
        "{{apiVersion: nubium.dev/v1alpha1, kind: StoragePool, metadata: {{name: tight}}, \
         spec: {{directory: {{path: {:?}}}}}}}",
        folder.display().to_string()
    ));
    shop.ready("storagepools/tight");
    let filler = folder.join("somebody-else-s");
    run("fallocate", &["-l", "48M", &filler.display().to_string()]).expect("there is room for it");
    shop.apply(
        "{apiVersion: nubium.dev/v1alpha1, kind: Volume, metadata: {name: db}, spec: {size: 128Mi, pool: tight}}",
    );
    shop.apply(&network("blue", "10.23.0.0/24", ""));
    shop.apply(&server_with("web-1", "blue", ", {name: data, volume: db}", ""));
    let boot = shop.boot("web-1");
    let disk = shop.device("web-1", "db");

    // More than there is room for.
    shop.ssh("web-1", "dd if=/dev/urandom of=/tmp/data bs=1M count=48 2>&1; sha256sum </tmp/data >/tmp/sum");
    let write = format!("dd if=/tmp/data of={disk} bs=1M conv=fsync && touch /tmp/written");
    shop.ssh("web-1", &format!("sudo setsid sh -c '{write}' >/tmp/dd 2>&1 </dev/null &"));
    let why = shop.reason("servers/web-1", "PausedByFullPool");
    assert!(why.contains("make room"), "it says what to do: {why}");
    for_a_while(Duration::from_secs(10), || {
        let seen = shop.get("servers/web-1").ok_or("there is none")?;
        match condition(&seen, "Ready") {
            Some(ready) if ready["status"] == "False" => Ok(()),
            other => Err(format!("nothing has changed, and it says {other:?}")),
        }
    });

    std::fs::remove_file(&filler).expect("it is ours");
    shop.ready("servers/web-1");
    until("the end of the write", TIMEOUT, || shop.try_ssh("web-1", "ls /tmp/written"));
    let read = format!("sudo dd if={disk} bs=1M count=48 2>/dev/null | sha256sum | cmp - /tmp/sum");
    shop.ssh("web-1", &format!("echo 3 | sudo tee /proc/sys/vm/drop_caches >/dev/null; {read}"));
    assert_eq!(shop.boot("web-1"), boot, "it was paused, not started again");

    shop.delete_and_wait("servers/web-1");
    shop.delete_and_wait("volumes/db");
    shop.delete_and_wait("storagepools/tight");
}

/// A file system of 64 MiB.
struct Tight<'a>(&'a Path);

impl<'a> Tight<'a> {
    fn mount(folder: &'a Path) -> Self {
        std::fs::create_dir_all(folder).expect("the state folder is ours");
        run("mount", &["-t", "tmpfs", "-o", "size=64m,mode=0711", "tmpfs", &folder.display().to_string()])
            .expect("mount works");
        Self(folder)
    }
}

impl Drop for Tight<'_> {
    fn drop(&mut self) {
        // After a failed story a guest may still have it; it goes with the run's mount namespace.
        let _ = run("umount", &["--lazy", &self.0.display().to_string()]);
    }
}
