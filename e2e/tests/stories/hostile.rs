//! A guest that writes to its disk what a host may take for a disk's format.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::machine::run;
use nubium_e2e::space::Space;

use crate::yaml::{network, server_with, volume};

pub fn what_a_guest_writes_is_never_taken_for_a_format(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "hostile");
    shop.apply(&network("blue", "10.22.0.0/24", ""));
    shop.apply(&volume("db", "16Mi"));
    let web = |more: &str| server_with("web-1", "blue", ", {name: data, volume: db}", more);
    shop.apply(&web(""));
    let first = shop.boot("web-1");
    let before = chain(&shop, "web-1");
    assert!(
        before.iter().any(|line| line.contains("<backingStore")),
        "the root disk has its image under it: {before:?}"
    );

    // The header of a qcow2 whose backing file is one of the host's.
    let path = |name: &str| cloud.image_folder().join(name).display().to_string();
    std::fs::write(path("of-the-host"), vec![b's'; 1 << 16]).expect("the folder is ours");
    run("qemu-img", &["create", "-q", "-f", "qcow2", "-b", &path("of-the-host"), "-F", "raw", &path("trap.qcow2")])
        .expect("qemu-img");
    let header =
        run("sh", &["-c", &format!("head -c 1024 {} | base64 -w 0", path("trap.qcow2"))]).expect("base64 works");
    let disk = shop.device("web-1", "db");
    shop.ssh("web-1", &format!("echo {header} | base64 -d | sudo dd of={disk} conv=notrunc 2>/dev/null && sync"));

    shop.apply(&web(", powerState: Stopped"));
    shop.reason("servers/web-1", "Stopped");
    shop.apply(&web(", powerState: Running"));
    shop.reason("servers/web-1", "Running");
    assert_ne!(shop.boot("web-1"), first, "it was started anew");
    assert_eq!(chain(&shop, "web-1"), before, "formats and chain are as recorded");

    // What the guest reads back is what it wrote, on a disk as large as it was.
    let disk = shop.device("web-1", "db");
    assert_eq!(shop.ssh("web-1", &format!("sudo head -c 1024 {disk} | base64 -w 0")), header);
    let name = disk.trim_start_matches("/dev/");
    assert_eq!(shop.ssh("web-1", &format!("cat /sys/block/{name}/size")), (16 << 11).to_string());
    shop.delete_and_wait("servers/web-1");
    shop.delete_and_wait("volumes/db");
}

/// What libvirt was told of every disk's format, file, and what is under it.
fn chain(space: &Space<'_>, server: &str) -> Vec<String> {
    let xml = space.cloud().virsh(&["dumpxml", &space.domain(server)]).expect("libvirt answers");
    let of_disks = ["<driver name=", "<source file=", "<backingStore", "<format type=", "</backingStore"];
    let told = xml.lines().map(str::trim).filter(|line| of_disks.iter().any(|start| line.starts_with(start)));
    let told: Vec<String> = told.map(str::to_owned).collect();
    assert!(told.iter().any(|line| line.contains("type='qcow2'")), "{xml}");
    told
}
