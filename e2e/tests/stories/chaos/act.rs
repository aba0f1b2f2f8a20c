//! Carrying out what was drawn: actions through the user's command, faults by the machine's own tools.

use nubium_e2e::cloud::Cloud;
use nubium_e2e::dice::Dice;
use nubium_e2e::machine::run;
use nubium_e2e::processes;
use nubium_e2e::space::Space;

use super::model::{Action, Model, SPACE, Wanted};
use crate::yaml::{network, server_with, volume};

/// What happens to a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Nubium is killed and started again.
    Crash,
    /// The process that answers DHCP is killed.
    KillNetd,
    /// The private libvirtd is killed.
    KillLibvirtd,
    /// The process that keeps consoles is killed.
    KillVirtlogd,
    /// The host's nftables rules are flushed.
    FlushHost,
    /// A Network's nftables rules are flushed.
    FlushNetwork(String),
    /// A guest is ended by `virsh destroy`.
    Destroy(String),
    /// A guest is ended, and its definition removed, behind our back.
    DestroyAndUndefine(String),
    /// A guest's definition is removed while it runs.
    Undefine(String),
    /// A signal to a guest's QEMU.
    Signal(String, &'static str),
    /// A guest's tap is deleted.
    DeleteTap(String),
}

impl Fault {
    /// One of them, aimed at what there is.
    pub fn drawn(dice: &mut Dice, model: &Model) -> Self {
        let draw = dice.below(14);
        let pick = dice.below(16);
        let some = |names: Vec<&String>| {
            let count = u64::try_from(names.len()).expect("there are few");
            (count > 0).then(|| names[usize::try_from(pick % count).expect("there are few")].clone())
        };
        let server = some(model.servers.keys().collect());
        let blue = some(model.networks.iter().collect());
        match (draw, server, blue) {
            (0, ..) => Self::KillNetd,
            (1, ..) => Self::KillLibvirtd,
            (2, ..) => Self::KillVirtlogd,
            (3, ..) => Self::FlushHost,
            (4, _, Some(network)) => Self::FlushNetwork(network),
            (5, Some(server), _) => Self::Destroy(server),
            (6, Some(server), _) => Self::DestroyAndUndefine(server),
            (7 | 8, Some(server), _) => Self::Undefine(server),
            (9, Some(server), _) => Self::Signal(server, "-KILL"),
            (10, Some(server), _) => Self::Signal(server, "-TERM"),
            (11, Some(server), _) => Self::DeleteTap(server),
            _ => Self::Crash,
        }
    }

    /// Lets it happen. What it is aimed at may not be there (yet, or any more): then nothing happens.
    pub fn happen(&self, cloud: &mut Cloud, model: &Model) {
        let domain = |server: &str| format!("nubium.{SPACE}.{server}");
        match self {
            Self::Crash => {
                cloud.kill();
                cloud.start();
                cloud.wait_for_host();
            }
            Self::KillNetd => kill(&[" netd --config "], "-KILL"),
            Self::KillLibvirtd => kill(&["libvirtd", "--config", &cloud.state().display().to_string()], "-KILL"),
            Self::KillVirtlogd => kill(&["virtlogd", "--config", &cloud.state().display().to_string()], "-KILL"),
            Self::FlushHost => drop(run("nft", &["flush", "ruleset"])),
            Self::FlushNetwork(network) => {
                drop(run("ip", &["netns", "exec", &netns(network), "nft", "flush", "ruleset"]));
            }
            Self::Destroy(server) => drop(cloud.virsh(&["destroy", &domain(server)])),
            Self::DestroyAndUndefine(server) => {
                drop(cloud.virsh(&["destroy", &domain(server)]));
                drop(cloud.virsh(&["undefine", &domain(server)]));
            }
            Self::Undefine(server) => drop(cloud.virsh(&["undefine", &domain(server)])),
            Self::Signal(server, signal) => {
                let name = format!("guest={},", domain(server));
                kill(&["qemu-system", &name], signal);
            }
            Self::DeleteTap(server) => {
                if let (Some(tap), Some(wanted)) = (tap(cloud, server), model.servers.get(server)) {
                    drop(run("ip", &["-n", &netns(&wanted.network), "link", "delete", &tap]));
                }
            }
        }
    }
}

fn netns(network: &str) -> String {
    format!("nubium.{SPACE}.{network}")
}

fn kill(parts: &[&str], signal: &str) {
    for pid in processes::with(parts) {
        // It may have ended meanwhile.
        drop(run("kill", &[signal, &pid.to_string()]));
    }
}

fn tap(cloud: &Cloud, server: &str) -> Option<String> {
    let ports = cloud.list("ports", Some(SPACE)).ok()?;
    let port = ports.iter().find(|port| port["metadata"]["name"] == format!("{server}-eth0"))?;
    let uid = port["metadata"]["uid"].as_str()?.replace('-', "");
    Some(format!("nub{}", uid.get(..11)?))
}

/// Carries out what a user does, and remembers what was asked for.
pub fn take(space: &Space<'_>, model: &mut Model, action: &Action) {
    match action.clone() {
        Action::CreateNetwork(name) => drop(model.networks.insert(name)),
        Action::DeleteNetwork(name) => {
            model.networks.remove(&name);
            delete(space, &format!("networks/{name}"));
        }
        Action::CreateVolume(name) => drop(model.volumes.insert(name)),
        Action::DeleteVolume(name) => {
            model.volumes.remove(&name);
            delete(space, &format!("volumes/{name}"));
        }
        Action::CreateServer(name, wanted) => drop(model.servers.insert(name, wanted)),
        Action::DeleteServer(name) => {
            model.servers.remove(&name);
            delete(space, &format!("servers/{name}"));
        }
        Action::ReplaceServer(name) => delete(space, &format!("servers/{name}")),
        Action::Stop(name) => change(model, &name, |wanted| wanted.running = false),
        Action::Start(name) => change(model, &name, |wanted| wanted.running = true),
        Action::Restart(name) => restart(model, &name),
        Action::ApplyAll => {}
    }
    apply(space, model);
}

/// Asks for a restart of that Server; it happens with the next [`apply`].
pub fn restart(model: &mut Model, server: &str) {
    let now = run("date", &["-u", "+%Y-%m-%dT%H:%M:%SZ"]).expect("date works").trim().to_owned();
    change(model, server, |wanted| wanted.restarted_at = Some(now));
}

fn change(model: &mut Model, server: &str, how: impl FnOnce(&mut Wanted)) {
    if let Some(wanted) = model.servers.get_mut(server) {
        how(wanted);
    }
}

fn delete(space: &Space<'_>, object: &str) {
    if space.get(object).is_some() {
        space.delete(object);
    }
}

/// Applies all that was asked for, as a GitOps tool does again and again. An object of that name that is still being
/// deleted takes no edit that matters; the next time does it.
pub fn apply(space: &Space<'_>, model: &Model) {
    for name in &model.networks {
        // The same range: Networks do not meet.
        space.apply(&network(name, "10.41.0.0/24", ""));
    }
    for name in &model.volumes {
        space.apply(&volume(name, "16Mi"));
    }
    for (name, wanted) in &model.servers {
        let Wanted { running, network, volume, restarted_at } = wanted;
        let disks = volume.as_ref().map(|volume| format!(", {{name: data, volume: {volume}}}")).unwrap_or_default();
        let mut more = format!(", powerState: {}", if *running { "Running" } else { "Stopped" });
        if let Some(time) = restarted_at {
            more.push_str(&format!(", restartedAt: \"{time}\""));
        }
        // Refused while one of that name, with other disks, is being deleted.
        if let Err(refusal) = space.try_apply(&server_with(name, network, &disks, &more)) {
            println!("    not yet: {}", refusal.trim());
        }
    }
}
