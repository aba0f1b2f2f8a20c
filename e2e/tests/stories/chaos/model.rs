//! What the user has asked for so far, and what they do next.

use std::collections::{BTreeMap, BTreeSet};

use nubium_e2e::dice::Dice;

/// The namespace in which it all happens.
pub const SPACE: &str = "chaos";
/// The Server whose guest no fault is aimed at.
pub const WITNESS: &str = "witness";

const SERVERS: u64 = 3;
const NETWORKS: u64 = 2;
const VOLUMES: u64 = 2;

/// A Server as it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub running: bool,
    pub network: String,
    /// A Volume of the user's own, as its second disk.
    pub volume: Option<String>,
    /// Its `restartedAt`.
    pub restarted_at: Option<String>,
}

impl Wanted {
    /// One that runs, with its own disk only.
    pub fn running(network: &str) -> Self {
        Self { running: true, network: network.to_owned(), volume: None, restarted_at: None }
    }
}

/// All that was asked for, the witness apart.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub servers: BTreeMap<String, Wanted>,
    pub networks: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
}

/// What a user does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    CreateNetwork(String),
    DeleteNetwork(String),
    CreateVolume(String),
    DeleteVolume(String),
    CreateServer(String, Wanted),
    DeleteServer(String),
    /// Deleted, and at once applied again under the same name.
    ReplaceServer(String),
    Stop(String),
    Start(String),
    Restart(String),
    /// The same YAML again.
    ApplyAll,
}

impl Model {
    /// The next action. What makes no sense now (a Server without a Network) becomes what makes it possible.
    pub fn draw(&self, dice: &mut Dice) -> Action {
        let network = format!("n-{}", dice.below(NETWORKS));
        let volume = format!("d-{}", dice.below(VOLUMES));
        let server = format!("s-{}", dice.below(SERVERS));
        let with_disk = dice.below(2) == 0;
        let running = dice.below(4) > 0;
        let draw = dice.below(12);
        if !self.networks.contains(&network) {
            return Action::CreateNetwork(network);
        }
        let Some(wanted) = self.servers.get(&server) else {
            let free = self.volumes.contains(&volume) && !self.uses_volume(&volume);
            let volume = (with_disk && free).then_some(volume);
            return Action::CreateServer(server, Wanted { running, network, volume, restarted_at: None });
        };
        match draw {
            0 | 1 => Action::DeleteServer(server),
            2 => Action::ReplaceServer(server),
            3 | 4 if wanted.running => Action::Stop(server),
            3..=5 if !wanted.running => Action::Start(server),
            5 | 6 => Action::Restart(server),
            7 if !self.volumes.contains(&volume) => Action::CreateVolume(volume),
            7 | 8 if self.volumes.contains(&volume) && !self.uses_volume(&volume) => Action::DeleteVolume(volume),
            9 if !self.servers.values().any(|other| other.network == network) => Action::DeleteNetwork(network),
            _ => Action::ApplyAll,
        }
    }

    fn uses_volume(&self, volume: &str) -> bool {
        self.servers.values().any(|server| server.volume.as_deref() == Some(volume))
    }
}
