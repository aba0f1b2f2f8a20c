//! What is left on this host and in nobody's use: taps of guests that are no more, and Volumes that say they are attached
//! to one. Whoever would have removed them is gone, a Server whose finalizer was taken off by hand, or a domain that was
//! undefined; so a look that shows that nobody uses them is enough.

use std::collections::BTreeSet;

use nubium_host::libvirt::{DomainList, Domains, LibvirtError};
use nubium_host::network::{NetworkError, Networks, TapFound};
use tracing::info;
use uuid::Uuid;

/// Why the leftovers could not be found or removed.
#[derive(Debug, thiserror::Error)]
pub enum LeftoverError {
    #[error("cannot list the domains")]
    Domains(#[from] LibvirtError),
    #[error("cannot list or delete taps")]
    Taps(#[from] NetworkError),
}

/// Deletes the taps that no domain names and no process has open.
pub async fn remove_taps(networks: &impl Networks, domains: &impl Domains) -> Result<(), LeftoverError> {
    // In this order: a start writes the taps into the domain's record before it makes them.
    let taps = networks.taps().await?;
    if taps.is_empty() {
        return Ok(());
    }
    let Some(named) = named_taps(&domains.list().await?) else { return Ok(()) };
    let unnamed: Vec<TapFound> = taps.into_iter().filter(|tap| !named.contains(&tap.name)).collect();
    if unnamed.is_empty() {
        return Ok(());
    }
    let held = networks.held_taps().await?;
    for TapFound { name, netns } in unnamed.into_iter().filter(|tap| !held.contains(&tap.name)) {
        match &netns {
            Some(netns) => networks.delete_tap(&name, netns).await?,
            None => networks.delete_link(&name).await?,
        }
        info!(tap = name, "deleted a tap that no guest uses");
    }
    Ok(())
}

/// The taps that any domain has or is to have; `None`: one could not be read, so that any tap may be its own.
fn named_taps(domains: &DomainList) -> Option<BTreeSet<String>> {
    let DomainList { seen, unreadable } = domains;
    if !unreadable.is_empty() {
        return None;
    }
    let mut named = BTreeSet::new();
    for domain in seen {
        named.extend(domain.owner.iter().flat_map(|owner| owner.taps.keys().cloned()));
        for facts in domain.live.iter().chain([&domain.next]) {
            named.extend(facts.nics.iter().map(|nic| nic.tap.clone()));
        }
    }
    Some(named)
}

/// Whether the guest of that Server runs here, or may.
pub fn may_run(domains: &DomainList, server: &str) -> bool {
    let uid = server.parse::<Uuid>();
    let runs = |domain: &nubium_host::libvirt::DomainSeen| Ok(domain.uuid) == uid && domain.live.is_some();
    !domains.unreadable.is_empty() || domains.seen.iter().any(runs)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use nubium_host::libvirt::{Accelerator, DomainRecord, DomainSpec, NicSpec, QemuIds, Slot, merge};
    use nubium_host::network::{Netns, Tap, names};
    use nubium_testkit::domains::SimDomains;
    use nubium_testkit::network::SimNetworks;

    use super::*;

    fn uid(number: u128) -> Uuid {
        Uuid::from_u128(number << 64 | number)
    }

    fn tap(number: u128) -> String {
        names::tap(&uid(number << 32).to_string())
    }

    async fn make_tap(networks: &SimNetworks, number: u128, netns: Option<&Netns>) {
        let made = Tap { name: tap(number), owner: 1, mtu: 1430, alias: uid(number << 32).to_string() };
        networks.create_tap(&made).await.unwrap();
        if let Some(netns) = netns {
            networks.move_tap(&made.name, netns, 1430).await.unwrap();
        }
    }

    async fn define(domains: &SimDomains, number: u128, recorded: Option<u128>, attached: Option<u128>) {
        let record = recorded.map(|number| (tap(number), "nubium.shop.blue".to_owned()));
        let nic = attached.map(|number| NicSpec {
            port: uid(number),
            slot: Slot::new(0).unwrap(),
            mac: "52:54:00:00:00:01".into(),
            tap: tap(number),
            mtu: 1430,
        });
        let spec = DomainSpec {
            owner: DomainRecord {
                namespace: "shop".into(),
                name: format!("web-{number}"),
                uid: uid(number),
                generation: 1,
                restarted_at: None,
                stop: None,
                taps: record.into_iter().collect::<BTreeMap<_, _>>(),
            },
            accelerator: Accelerator::Tcg,
            vcpus: 1,
            memory_bytes: 1 << 26,
            disks: Vec::new(),
            nics: nic.into_iter().collect(),
            seed: None,
            console_log: "/console.log".into(),
            qemu: QemuIds { uid: 1, gid: 1 },
        };
        domains.define(merge(&spec, None).to_xml()).await.unwrap();
    }

    #[tokio::test]
    async fn a_tap_goes_only_when_no_domain_names_it_and_no_process_has_it_open() {
        for inside in [false, true] {
            let (networks, domains, netns) = (SimNetworks::new(), SimDomains::new(), Netns::new("shop", "blue"));
            networks.create_namespace(&netns).await.unwrap();
            for number in 1..=4 {
                make_tap(&networks, number, inside.then_some(&netns)).await;
            }
            define(&domains, 10, Some(1), None).await;
            define(&domains, 11, None, Some(2)).await;
            networks.world().held.insert(tap(3));
            domains.spoil(uid(10));
            let left = async || {
                remove_taps(&networks, &domains).await.unwrap();
                let mut names: Vec<String> = networks.taps().await.unwrap().into_iter().map(|tap| tap.name).collect();
                names.sort();
                names
            };
            assert_eq!(left().await.len(), 4, "a domain that cannot be read may name any of them");
            domains.undefine(uid(10)).await.unwrap();
            define(&domains, 10, Some(1), None).await;
            assert_eq!(left().await, [tap(1), tap(2), tap(3)]);
            networks.world().held.clear();
            domains.undefine(uid(10)).await.unwrap();
            assert_eq!(left().await, [tap(2)]);
        }
    }
}
