//! A Server's life on a real kernel: real libvirtd and QEMU (a boot sector of a few bytes, under TCG), real namespaces,
//! taps, netd and files. One story, in a network and a mount namespace of its own, which stands for the host.
//!
//! Has its own `main`: the program must be able to become libvirt's reaper and netd.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nubium_agent::network;
use nubium_agent::server::{HostPools, Input, Machine, Report, SeenMarked, Settings, Step, converge};
use nubium_api::{ConditionStatus, HostAccessRanges, Network, Port, Server, Volume, condition};
use nubium_host::libvirt::private::{Layout, PrivateLibvirt, REAPER_COMMAND, reaper_main};
use nubium_host::libvirt::{Accelerator, Connection, DomainState, Domains, Libvirt};
use nubium_host::network::{LinuxNetworks, names, transit};
use nubium_host::seed::{Seed, SeedFiles};
use nubium_host::storage::image::Rules;
use nubium_host::storage::{DirectoryPools, FileName, FileOwner, PoolConfig, PoolSpec, Pools, Volumes};
use nubium_runtime::{Live, live_get};
use nubium_testkit::objects::Objects;
use serde_json::json;

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == REAPER_COMMAND => return ExitCode::from(u8::try_from(reaper_main(args)).unwrap_or(1)),
        Some(first) if first == "netd" => {
            let file = args.nth(1).expect("netd's file");
            nubium_netd::main(file.as_ref()).expect("netd");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if std::env::var_os("NUBIUM_STORY").is_some() {
        sh("mount -t tmpfs -o mode=755 tmpfs /run && ip link set lo up");
        tokio::runtime::Runtime::new().expect("a runtime").block_on(a_server_lives_and_dies());
        return ExitCode::SUCCESS;
    }
    for program in ["libvirtd", "virtlogd", "qemu-system-x86_64", "qemu-img", "nft", "ip"] {
        if !["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|folder| Path::new(folder).join(program).exists()) {
            println!("SKIPPED: a Server on a real host, because {program} is not installed");
            return ExitCode::SUCCESS;
        }
    }
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: a Server on a real host, which needs root for namespaces");
        return ExitCode::SUCCESS;
    }
    let mut story = Command::new("unshare");
    story.args(["-nm", "--propagation", "private", "--"]).arg(std::env::current_exe().expect("this program"));
    let status = story.env("NUBIUM_STORY", "1").status().expect("unshare runs");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A guest that powers off when its button is pressed: `up` on the console, then the button enabled (PM1_EN) and polled
/// (PM1_STS), then sleep state 5 (PM1_CNT).
const POLITE: [u8; 39] = [
    0xba, 0xf8, 0x03, 0xb0, b'u', 0xee, 0xb0, b'p', 0xee, 0xb0, b'\n', 0xee, // say up
    0xba, 0x02, 0x06, 0xb8, 0x00, 0x01, 0xef, // mov dx, 0x602; mov ax, 0x100; out dx, ax
    0xba, 0x00, 0x06, 0xed, 0xf6, 0xc4, 0x01, 0x74, 0xfa, // mov dx, 0x600; in ax, dx; test ah, 1; jz in
    0xba, 0x04, 0x06, 0xb8, 0x00, 0x20, 0xef, // mov dx, 0x604; mov ax, 0x2000; out dx, ax
    0xf4, 0xeb, 0xfd, 0x90, // hlt
];

async fn a_server_lives_and_dies() {
    let host = Host::new().await;
    let _guard = Guard(host.libvirt.clone());
    let mut cloud = cloud();

    println!("it waits for its Network, and says so");
    let report = host.pass(&cloud).await;
    assert_eq!(said(&report, "NetworkReady"), (ConditionStatus::False, "WaitingForNetwork"));
    assert_eq!(report.done, []);

    println!("it starts");
    host.network_pass(&cloud).await;
    let begun = Instant::now();
    let report = host.pass(&cloud).await;
    println!("  one pass, seed to running: {:?}", begun.elapsed());
    assert_eq!(said(&report, "Running"), (ConditionStatus::True, "Running"));
    assert_eq!(said(&report, "NetworkReady"), (ConditionStatus::True, "NetworkReady"));
    host.settled(&cloud).await;
    host.network_pass(&cloud).await;
    wait_for("the guest's first words", || host.console().contains("up")).await;
    let tap = names::tap(cloud.port.metadata.uid.as_deref().expect("a UID"));
    let inside = || sh("ip -n nubium.shop.blue -o link show");
    assert!(
        inside().contains(&tap) && !sh("ip -o link show").contains(&tap),
        "its tap is in its Network and nowhere else"
    );
    let seed = host.file("seed.img");
    assert_eq!(fs::metadata(&seed).expect("a seed").permissions().mode() & 0o777, 0o400);

    println!("an agent that is restarted changes nothing");
    let again = host.restarted().await;
    let pid = again.qemu_pid();
    again.settled(&cloud).await;
    assert_eq!(again.qemu_pid(), pid);
    let host = again;

    println!("its QEMU is killed: it is started again, and that is told");
    sh(&format!("kill -9 {pid}"));
    let report = host.until(&cloud, |report| !report.news.is_empty()).await;
    assert_eq!((report.news[0].0, said(&report, "Running")), ("StartedAgain", (ConditionStatus::True, "Running")));
    assert_ne!(host.qemu_pid(), pid);
    host.settled(&cloud).await;

    println!("its tap is deleted: told, and back after a restart, which is graceful");
    sh(&format!("ip -n nubium.shop.blue link del {tap}"));
    let report = host.pass(&cloud).await;
    assert_eq!(said(&report, "NetworkReady"), (ConditionStatus::False, "TapLost"));
    assert_eq!(said(&report, "RestartRequired").0, ConditionStatus::True);
    assert_eq!(report.done, []);
    cloud.set("restartedAt", json!("2026-11-21T02:00:00Z"));
    let up =
        |report: &Report| said(report, "Running").1 == "Running" && said(report, "NetworkReady").1 == "NetworkReady";
    let report = host.until(&cloud, up).await;
    assert!(report.news.is_empty() && condition(&report.conditions, "RestartRequired").is_none(), "{report:?}");
    host.settled(&cloud).await;

    println!("it is stopped by its button, keeps its domain, and has no tap");
    cloud.set("powerState", json!("Stopped"));
    let begun = Instant::now();
    // A guest that is quick may be off at the end of the very pass that asked it; the next one takes its tap away.
    let news = std::cell::Cell::new(0);
    let stopped = |report: &Report| {
        news.set(news.get() + report.news.len());
        said(report, "Running").1 == "Stopped" && report.done.is_empty()
    };
    let report = host.until(&cloud, stopped).await;
    assert!(begun.elapsed() < Duration::from_secs(20) && news.get() == 0, "{report:?}");
    host.settled(&cloud).await;
    assert!(!inside().contains(&tap));
    cloud.set("powerState", json!("Running"));
    host.until(&cloud, |report| said(report, "Running").1 == "Running").await;
    wait_for("its second words", || host.console().matches("up").count() >= 4).await;

    println!("a deletion without proof touches nothing; with it, nothing is left");
    cloud.server.metadata.deletion_timestamp = serde_json::from_value(json!("2026-11-21T02:00:00Z")).ok();
    let report = host.pass(&cloud).await;
    assert_eq!((report.done, host.state().await), (vec![], Some(DomainState::Running)));
    cloud.marked = Some(cloud.look().await);
    let report = host.until(&cloud, |report| said(report, "Released").0 == ConditionStatus::True).await;
    assert!(report.conditions.iter().all(|condition| Server::AGENT.conditions.contains(&condition.type_.as_str())));
    assert_eq!(host.state().await, None);
    assert!(!inside().contains(&tap) && !host.file("").exists());
    assert!(host.volume_path.exists(), "a disk is its Volume's, and stays");
}

/// The objects, as the API server has them.
struct Cloud {
    server: Server,
    volume: Volume,
    port: Port,
    network: Network,
    marked: Option<SeenMarked>,
}

impl Cloud {
    fn set(&mut self, field: &str, value: serde_json::Value) {
        let mut server = serde_json::to_value(&self.server).expect("JSON");
        server["spec"][field] = value;
        self.server = serde_json::from_value(server).expect("a Server");
        self.server.metadata.generation = self.server.metadata.generation.map(|generation| generation + 1);
    }

    /// The live look that proves the deletion.
    async fn look(&self) -> SeenMarked {
        let objects = Objects::new();
        objects.put(&self.server);
        let api = kube::Api::<Server>::namespaced(objects.client(), "shop");
        let uid = self.server.metadata.uid.as_deref().expect("a UID");
        match live_get(&api, "web-1", uid).await.expect("an answer") {
            Live::Marked(marked) => SeenMarked::from(&marked),
            other => panic!("{other:?}"),
        }
    }
}

fn cloud() -> Cloud {
    let meta = |name: &str, n: u8| {
        let uid = format!("{n:08x}-0000-4000-8000-000000000000");
        json!({"name": name, "namespace": "shop", "uid": uid, "generation": 1})
    };
    let object = |kind: &str, meta, spec, status| json!({"apiVersion": "nubium.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": spec, "status": status});
    let server = object(
        "Server",
        meta("web-1", 1),
        json!({"flavor": "small", "disks": [{"name": "root", "blank": {}, "size": "1Mi"}], "nics": [{"name": "eth0", "network": "blue"}]}),
        json!({"host": "box", "resources": {"cpu": 1, "memory": "64Mi"}}),
    );
    let made_for = json!({"server": "web-1", "uid": "00000001-0000-4000-8000-000000000000"});
    let spec = json!({"size": "1Mi", "madeFor": made_for});
    let volume = object("Volume", meta("web-1-root", 2), spec, json!({"host": "box"}));
    let status = json!({"macAddress": "52:54:00:00:00:03", "addresses": [{"name": "v4", "address": "10.10.0.5"}], "server": "web-1", "host": "box"});
    let port = object("Port", meta("web-1-eth0", 3), json!({"network": "blue", "madeFor": made_for}), status);
    let network = object(
        "Network",
        meta("blue", 4),
        json!({"subnets": [{"name": "v4", "cidr": "10.10.0.0/24"}], "egress": {"type": "None"}}),
        json!({}),
    );
    Cloud {
        server: serde_json::from_value(server).expect("a Server"),
        volume: serde_json::from_value(volume).expect("a Volume"),
        port: serde_json::from_value(port).expect("a Port"),
        network: serde_json::from_value(network).expect("a Network"),
        marked: None,
    }
}

/// Ends what the story started, also when it fails.
struct Guard(PrivateLibvirt);

impl Drop for Guard {
    fn drop(&mut self) {
        let guests = fs::read_dir(self.0.layout().run().join("qemu")).into_iter().flatten().flatten();
        let pids = guests.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|end| end == "pid"));
        for path in pids.chain([PathBuf::from("/run/nubium/netd.pid")]) {
            let pid: i32 = fs::read_to_string(path).unwrap_or_default().trim().parse().unwrap_or(-1);
            if pid > 1 {
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).ok();
            }
        }
        self.0.stop().expect("libvirt stops");
    }
}

struct Host {
    root: PathBuf,
    libvirt: PrivateLibvirt,
    domains: Connection,
    networks: LinuxNetworks,
    netd: network::Netd,
    storage: DirectoryPools,
    pool: PoolSpec,
    settings: Settings,
    volume_path: PathBuf,
}

impl Host {
    async fn new() -> Self {
        let root = PathBuf::from("/run/nubium");
        fs::create_dir_all(&root).expect("a folder");
        let program = std::env::current_exe().expect("this program");
        let libvirt = PrivateLibvirt::new(Layout::new(root.join("libvirt")), &program);
        libvirt.ensure().expect("libvirt starts");
        let (domains, _woken) = Connection::new(&Libvirt::Private(libvirt.clone()));
        let qemu = domains.qemu_ids().await.expect("libvirt answers");
        let owner = FileOwner { uid: qemu.uid, gid: qemu.gid };
        fs::create_dir_all(root.join("pools")).expect("a folder");
        let storage = DirectoryPools::new(root.join("pools"), Vec::new(), owner, Rules::default()).expect("qemu-img");
        let config = PoolConfig::Directory { folder: None };
        let spec = PoolSpec { name: "default".into(), uid: "1".into(), config };
        let pool = storage.open(&spec).await.expect("a pool").volumes;
        let volume = FileName::new("shop", "web-1-root", "00000002-0000-4000-8000-000000000000").expect("a name");
        pool.create_blank(&volume, 1 << 20).await.expect("a volume");
        let volume_path = pool.volume_path(&volume);
        let mut sector = POLITE.to_vec();
        sector.resize(510, 0);
        sector.extend([0x55, 0xaa]);
        sector.resize(1 << 20, 0);
        fs::write(root.join("boot.raw"), sector).expect("a boot sector");
        sh(&format!("qemu-img convert -n -f raw -O qcow2 {}/boot.raw {}", root.display(), volume_path.display()));
        let settings = Settings {
            host: "box".into(),
            accelerator: Accelerator::Tcg,
            qemu,
            folder: root.join("servers"),
            stop_deadline: Duration::from_secs(30),
        };
        Self {
            networks: LinuxNetworks::new(root.join("state"), std::time::Duration::ZERO),
            netd: network::Netd::new(program, root.join("netd.json")),
            storage,
            pool: spec,
            root,
            libvirt,
            domains,
            settings,
            volume_path,
        }
    }

    /// The same host, to an agent that was restarted.
    async fn restarted(self) -> Self {
        let (domains, _woken) = Connection::new(&Libvirt::Private(self.libvirt.clone()));
        Self { domains, ..self }
    }

    async fn pass(&self, cloud: &Cloud) -> Report {
        let Cloud { server, volume, port, network, marked } = cloud;
        let seed = Seed { meta_data: "instance-id: 1\n".into(), user_data: Vec::new(), network_config: None };
        let input = Input {
            server,
            volumes: std::slice::from_ref(volume),
            ports: &[Arc::new(port.clone())],
            networks: std::slice::from_ref(network),
            seed: Some(&seed),
            marked: marked.as_ref(),
        };
        let specs = [("default".to_owned(), self.pool.clone())].into();
        let pools = HostPools { storage: &self.storage, specs };
        let host = Machine {
            settings: &self.settings,
            domains: &self.domains,
            taps: &self.networks,
            disks: &pools,
            seeds: &SeedFiles,
        };
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("a clock").as_secs();
        let report = converge(input, &host, i64::try_from(now).expect("a time")).await;
        let steps: Vec<String> = report.done.iter().map(Step::to_string).collect();
        if !steps.is_empty() {
            println!("  did: {}", steps.join(", "));
        }
        report
    }

    async fn network_pass(&self, cloud: &Cloud) {
        let allowed = HostAccessRanges(vec!["10.0.0.0/8".parse().expect("a range")]);
        let input = network::Input {
            network: &cloud.network,
            ports: std::slice::from_ref(&cloud.port),
            present: true,
            host_access: Some(&allowed),
        };
        let settings = network::Settings { host: "box".into(), transit: transit::DEFAULT_CIDR, api_server: Vec::new() };
        let report = network::converge(input, &settings, &self.networks, &self.netd).await;
        assert_eq!(report.entry.as_ref().and_then(|entry| entry.ready), Some(true), "{:?}", report.entry);
    }

    /// A pass that finds nothing to do.
    async fn settled(&self, cloud: &Cloud) {
        let report = self.pass(cloud).await;
        assert_eq!((report.done, report.again), (vec![], None));
    }

    /// Passes, as events and deadlines would ask for them, until what they tell is as wanted.
    async fn until(&self, cloud: &Cloud, wanted: impl Fn(&Report) -> bool) -> Report {
        let begun = Instant::now();
        loop {
            let report = self.pass(cloud).await;
            if wanted(&report) {
                return report;
            }
            assert!(begun.elapsed() < Duration::from_secs(90), "{:?}", report.conditions);
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    async fn state(&self) -> Option<DomainState> {
        let uid = "00000001-0000-4000-8000-000000000000".parse().expect("a UUID");
        self.domains.look(uid).await.expect("libvirt answers").map(|domain| domain.state)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.join("servers/shop/web-1.00000001-0000-4000-8000-000000000000").join(name)
    }

    fn console(&self) -> String {
        fs::read_to_string(self.file("console.log")).unwrap_or_default()
    }

    fn qemu_pid(&self) -> String {
        let path = self.libvirt.layout().run().join("qemu/nubium.shop.web-1.pid");
        fs::read_to_string(path).expect("a pid").trim().to_owned()
    }
}

fn said<'a>(report: &'a Report, type_: &str) -> (ConditionStatus, &'a str) {
    let found = condition(&report.conditions, type_);
    found.map_or((ConditionStatus::Unknown, "not told"), |found| (found.status, &found.reason))
}

async fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "waited in vain for {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Runs a shell line; panics with its output when it fails.
fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().expect("a shell");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{line}\n{text}");
    text
}
