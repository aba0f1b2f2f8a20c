//! A small host: simulated domains, and just enough of networks, pools and files around them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nubium_host::libvirt::{Accelerator, DomainRecord, DomainState, Domains, QemuIds};
use nubium_host::network::{Guest, MacAddr, Netns, NetworkError, NetworkSeen, Tap, TapSeen, names};
use nubium_host::seed::Seed;
use nubium_host::storage::{FileName, VolumeError, VolumeSeen};
use nubium_testkit::domains::SimDomains;
use nubium_testkit::seeds::SimSeeds;
use uuid::Uuid;

use super::super::*;

pub fn uid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub fn settings() -> Settings {
    Settings {
        host: "host-a".into(),
        accelerator: Accelerator::Tcg,
        qemu: QemuIds { uid: 64055, gid: 107 },
        folder: "/var/lib/nubium/servers".into(),
        stop_deadline: Duration::from_secs(30),
    }
}

/// The name of a step's variant.
pub fn kind(step: &Step) -> &'static str {
    match step {
        Step::PutSeed { .. } => "PutSeed",
        Step::Define { .. } => "Define",
        Step::DefineAgain { .. } => "DefineAgain",
        Step::CreateTap { .. } => "CreateTap",
        Step::DeleteTap { .. } => "DeleteTap",
        Step::StartPaused { .. } => "StartPaused",
        Step::MoveTap { .. } => "MoveTap",
        Step::Resume { .. } => "Resume",
        Step::Press { .. } => "Press",
        Step::Kill { .. } => "Kill",
        Step::Remember { .. } => "Remember",
        Step::RemoveFolder { .. } => "RemoveFolder",
        Step::Undefine { .. } => "Undefine",
    }
}

pub struct World {
    pub want: Desired,
    pub now: i64,
    pub domains: SimDomains,
    pub taps: FakeTaps,
    pub disks: FakeDisks,
    seeds: SimSeeds,
}

impl World {
    /// A Server with two disks and a NIC, all that it needs in place, and nothing of it on the host.
    pub fn new() -> Self {
        let netns = Netns::new("shop", "blue");
        let port = uid(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
        let disk = |name: &str, number| WantedDisk {
            name: name.into(),
            uid: uid(number),
            pool: "default".into(),
            file: FileName::new("shop", &format!("web-1-{name}"), &uid(number).to_string()).unwrap(),
        };
        let nic = WantedNic {
            name: "eth0".into(),
            uid: port,
            mac: MacAddr([0x52, 0x54, 0, 0, 0, 1]),
            tap: names::tap(&port.to_string()),
            netns: netns.clone(),
            mtu: 1430,
        };
        let disks = vec![disk("root", 10), disk("data", 11)];
        let volume = |disk: &WantedDisk| VolumeSeen {
            path: Path::new("/pool/volumes").join(disk.file.relative()),
            size: 1 << 30,
            allocated: 1 << 20,
            image: None,
            in_use: false,
        };
        let files = disks.iter().map(|disk| (disk.file.clone(), volume(disk))).collect();
        let guest = Guest { macs: vec![nic.mac], addresses: vec![[10, 0, 0, 2].into()] };
        let network = NetworkSeen {
            inode: 1,
            owner: None,
            loopback_up: true,
            bridge: None,
            sysctls: BTreeMap::new(),
            rules: None,
            guests: BTreeMap::from([(nic.tap.clone(), guest)]),
            neighbours: BTreeMap::new(),
            taps: BTreeMap::new(),
            out: None,
        };
        let want = Desired {
            namespace: "shop".into(),
            name: "web-1".into(),
            uid: uid(1),
            generation: 1,
            presence: Presence::Present,
            running: true,
            admitted: true,
            restarted_at: None,
            vcpus: 1,
            memory_bytes: 1 << 30,
            disks,
            nics: vec![nic],
            seed: Some(Seed::default()),
            recorded: Vec::new(),
            others_taps: BTreeSet::new(),
            waiting_disks: BTreeMap::new(),
            waiting_nics: BTreeMap::new(),
        };
        Self {
            want,
            now: 1,
            domains: SimDomains::new(),
            taps: FakeTaps { netns, network: Mutex::new(network), outside: Mutex::default(), held: Mutex::default() },
            disks: FakeDisks { files: Mutex::new(files), available: AtomicU64::new(1 << 40) },
            seeds: SimSeeds::default(),
        }
    }

    pub async fn pass(&mut self) -> Report {
        let settings = settings();
        let Self { want, now, domains, taps, disks, seeds } = self;
        let host = Machine { settings: &settings, domains, taps, disks, seeds };
        converge_to(want, &host, *now).await
    }

    /// Passes until nothing is left to do, time going on; the last report.
    pub async fn settle(&mut self, case: &str) -> Report {
        for _ in 0..30 {
            let report = self.pass().await;
            let failed = report
                .conditions
                .iter()
                .find(|condition| ["StepFailed", "CannotLook"].contains(&condition.reason.as_str()));
            assert!(failed.is_none(), "{case}: {failed:?}");
            if report.done.is_empty() && report.again.is_none() {
                return report;
            }
            self.now += 7;
        }
        panic!("{case} never settles");
    }

    pub fn mark(&mut self) {
        self.want.presence = Presence::Absent(SeenMarked::for_test(self.want.uid));
    }

    pub async fn state(&self) -> Option<DomainState> {
        self.domains.look(self.want.uid).await.unwrap().map(|domain| domain.state)
    }

    pub async fn owner(&self) -> DomainRecord {
        self.domains.look(self.want.uid).await.unwrap().unwrap().owner.unwrap()
    }

    pub fn starts(&self) -> u32 {
        self.domains.starts(self.want.uid)
    }

    /// A tap outlives its QEMU, as a persistent tap does.
    pub async fn qemu_let_go_if_off(&self) {
        if let Some(DomainState::Off(_)) = self.state().await {
            assert!(self.tap_is_in());
        }
    }

    pub fn tap_is_in(&self) -> bool {
        !self.taps.network.lock().unwrap().taps.is_empty()
    }

    pub fn left(&self) -> String {
        let outside = self.taps.outside.lock().unwrap().clone();
        format!("taps inside {}, outside {outside:?}, files {:?}", self.tap_is_in(), self.seeds.paths())
    }

    pub fn is_empty(&self) -> bool {
        !self.tap_is_in() && self.taps.outside.lock().unwrap().is_empty() && self.seeds.paths().is_empty()
    }
}

pub struct FakeTaps {
    netns: Netns,
    network: Mutex<NetworkSeen>,
    pub outside: Mutex<BTreeSet<String>>,
    /// What other guests' processes have open.
    pub held: Mutex<BTreeSet<String>>,
}

impl FakeTaps {
    pub fn lose(&self) {
        self.network.lock().unwrap().taps.clear();
    }

    pub fn forget_guests(&self) -> BTreeMap<String, Guest> {
        std::mem::take(&mut self.network.lock().unwrap().guests)
    }

    pub fn know_guests(&self, guests: BTreeMap<String, Guest>) {
        self.network.lock().unwrap().guests = guests;
    }
}

impl Taps for FakeTaps {
    async fn look(&self, netns: &Netns) -> Result<Option<NetworkSeen>, NetworkError> {
        Ok((*netns == self.netns).then(|| self.network.lock().unwrap().clone()))
    }

    async fn create(&self, tap: &Tap) -> Result<(), NetworkError> {
        assert!(
            !self.network.lock().unwrap().taps.contains_key(&tap.name),
            "one of that name is in the Network already"
        );
        self.outside.lock().unwrap().insert(tap.name.clone());
        Ok(())
    }

    async fn move_in(&self, name: &str, netns: &Netns, mtu: u32) -> Result<(), NetworkError> {
        assert_eq!(*netns, self.netns);
        let was_outside = self.outside.lock().unwrap().remove(name);
        let mut network = self.network.lock().unwrap();
        if !was_outside && !network.taps.contains_key(name) {
            return Err(NetworkError::NoLink { name: name.to_owned() });
        }
        network.taps.insert(name.to_owned(), TapSeen { mtu, up: true, on_bridge: true, held: true });
        Ok(())
    }

    async fn delete(&self, name: &str, _netns: &Netns) -> Result<(), NetworkError> {
        self.outside.lock().unwrap().remove(name);
        self.network.lock().unwrap().taps.remove(name);
        Ok(())
    }

    async fn held(&self) -> Result<BTreeSet<String>, NetworkError> {
        Ok(self.held.lock().unwrap().clone())
    }
}

pub struct FakeDisks {
    files: Mutex<BTreeMap<FileName, VolumeSeen>>,
    pub available: AtomicU64,
}

impl FakeDisks {
    pub fn take(&self, disk: &str) -> (FileName, VolumeSeen) {
        let mut files = self.files.lock().unwrap();
        let name = files.keys().find(|file| file.name().ends_with(disk)).unwrap().clone();
        files.remove_entry(&name).unwrap()
    }

    pub fn give(&self, _disk: &str, (name, volume): (FileName, VolumeSeen)) {
        self.files.lock().unwrap().insert(name, volume);
    }
}

impl Disks for FakeDisks {
    async fn look(&self, pool: &str, volume: &FileName) -> Result<Option<VolumeSeen>, VolumeError> {
        assert_eq!(pool, "default");
        Ok(self.files.lock().unwrap().get(volume).cloned())
    }

    async fn available(&self, _pool: &str) -> Result<Option<u64>, VolumeError> {
        Ok(Some(self.available.load(Ordering::Relaxed)))
    }
}
