//! What breaks under a running cloud is mended, and an Event says what was found.

use std::time::{Duration, Instant};

use nubium_e2e::cloud::Cloud;
use nubium_e2e::json::condition;
use nubium_e2e::machine::run;
use nubium_e2e::space::{Space, TIMEOUT};
use nubium_e2e::wait::until;

use crate::yaml::{network, server, server_with};

/// How long a repair may take; what it took is printed.
const SOON: Duration = Duration::from_secs(10);

pub fn is_mended(cloud: &mut Cloud) {
    let shop = Space::create(cloud, "luck");
    shop.apply(&network("blue", "10.77.16.0/24", ", hostAccess: true"));
    shop.apply(&server("web-1", "blue"));
    let first = shop.boot("web-1");
    let address = shop.address("web-1");
    let netns = shop.netns("blue");

    // The Network's firewall rules.
    run("ip", &["netns", "exec", &netns, "nft", "flush", "ruleset"]).expect("nft works");
    mended("the rules", || rules(Some(&netns)));
    shop.event(&format!("the firewall rules of {netns} were"));

    // The host's.
    run("nft", &["flush", "ruleset"]).expect("nft works");
    mended("the host's rules", || rules(None));
    shop.event_anywhere("the host's firewall rules for Networks were");

    // The process that answers DHCP.
    let netd = netd().expect("netd runs");
    run("kill", &["-9", &netd]).expect("it can be killed");
    mended("netd", || match self::netd() {
        Some(pid) if pid != netd => Ok(()),
        _ => Err("it does not run".into()),
    });
    shop.event_anywhere("netd, which answers DHCP, did not run");

    // Through all of this the guest ran on, and is reached.
    run("ping", &["-c", "1", "-W", "5", &address]).expect("the host reaches it");
    assert_eq!(shop.boot("web-1"), first);

    // The guest itself.
    cloud.virsh(&["destroy", &shop.domain("web-1")]).expect("libvirt destroys it");
    mended("the guest", || match cloud.virsh(&["domstate", &shop.domain("web-1")]) {
        Ok(state) if state.trim() == "running" => Ok(()),
        other => Err(format!("{other:?}")),
    });
    shop.event("it was started again");
    let second = shop.boot("web-1");
    assert_ne!(first, second);

    // Its tap, which cannot be made again under a running guest: it says so, and a restart brings it back.
    let port =
        shop.get("ports/web-1-eth0").expect("it is there")["metadata"]["uid"].as_str().expect("a UID").replace('-', "");
    let tap = format!("nub{}", &port[..11]);
    run("ip", &["-n", &netns, "link", "delete", &tap]).expect("the tap is there");
    shop.wait("servers/web-1", "NetworkReady", "False");
    shop.wait("servers/web-1", "RestartRequired", "True");
    let now = run("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).expect("date works");
    shop.apply(&server_with("web-1", "blue", "", &format!(", restartedAt: \"{}\"", now.trim())));
    shop.wait("servers/web-1", "NetworkReady", "True");
    let third = until("the restart", TIMEOUT, || {
        let boot = shop.try_ssh("web-1", "cat /proc/sys/kernel/random/boot_id")?;
        if boot == second { Err("it has not restarted".to_owned()) } else { Ok(boot) }
    });
    let seen = shop.ready("servers/web-1");
    assert!(condition(&seen, "RestartRequired").is_none(), "{}", seen["status"]);

    // A guest that floods its console fills nobody's disk.
    shop.ssh("web-1", "sudo sh -c 'timeout 5 yes flood-flood-flood-flood-flood-flood-flood > /dev/console'; true");
    let log = console_bytes(cloud, &shop.domain("web-1"));
    assert!(log > 0 && log < 8 << 20, "the console's log is bounded: {log} bytes");
    assert_eq!(shop.boot("web-1"), third);
    shop.delete_and_wait("servers/web-1");
}

fn mended(what: &str, look: impl FnMut() -> Result<(), String>) {
    let start = Instant::now();
    until(&format!("the repair of {what}"), SOON, look);
    println!("  {what}: mended after {:.1} s", start.elapsed().as_secs_f32());
}

fn rules(netns: Option<&str>) -> Result<(), String> {
    let rules = match netns {
        Some(netns) => run("ip", &["netns", "exec", netns, "nft", "list", "ruleset"]),
        None => run("nft", &["list", "ruleset"]),
    };
    match rules {
        Ok(rules) if rules.contains("table") => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

/// The process that answers DHCP.
fn netd() -> Option<String> {
    let all = run("ps", &["-e", "-o", "pid=,stat=,args="]).ok()?;
    let line = all.lines().find(|line| line.contains(" netd --config ") && !line.contains(" Z"))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// How much is kept of a domain's console, rotated files included.
fn console_bytes(cloud: &Cloud, domain: &str) -> u64 {
    let xml = cloud.virsh(&["dumpxml", domain]).expect("libvirt answers");
    let path = xml.split("<log file='").nth(1).and_then(|rest| rest.split('\'').next()).expect("the console is logged");
    let path = std::path::Path::new(path);
    let stem = path.file_name().expect("a file").to_string_lossy().into_owned();
    let folder = std::fs::read_dir(path.parent().expect("in a folder")).expect("it can be read");
    let ours = folder.flatten().filter(|file| file.file_name().to_string_lossy().starts_with(&stem));
    ours.map(|file| file.metadata().map_or(0, |facts| facts.len())).sum()
}
