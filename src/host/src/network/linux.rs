//! The real host: [`Networks`] over netlink, nft, iptables and `/proc/sys`.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use ipnet::Ipv4Net;
use tokio::sync::Mutex;

use super::{
    Networks,
    bridge::{self, Bridge, MadeFrom},
    connections::{self, Connection},
    error::{NetworkError, Result},
    firewall::{self, IptablesChain},
    host_firewall,
    inside::{inside, on_host},
    kept::Kept,
    links,
    listings::Listings,
    look::{self, Filter, HostFilter, HostSeen, Looked, NetworkSeen},
    looks::{Changes, Looks},
    marks,
    names::{BRIDGE, LINK_PREFIX, Netns, OUT},
    neighbours::{self, Neighbours},
    netns, nft,
    nft::Ruleset,
    record::Record,
    sysctl,
    tap::{self, Tap, TapFound},
    uplink::{self, Uplink},
};
use crate::qemu;

/// A Network is looked at no more often than that for what others change in its namespace.
const PAUSE: Duration = Duration::from_millis(300);
/// What changes on the host itself is of all Networks: each container's start does.
const HOST_PAUSE: Duration = Duration::from_secs(2);

/// The machine that this process runs on.
pub struct LinuxNetworks {
    record: Record,
    /// Changes to what all Networks share on the host are made one after another, so that what one of them checked
    /// (a free pair, an unused range) still holds when it is used.
    shared: Mutex<()>,
    listings: Arc<Listings<Filter>>,
    host_listings: Arc<Listings<HostFilter>>,
    looks: Looks<Netns, Option<NetworkSeen>>,
    host_looks: Looks<(), HostSeen>,
    changes: Changes,
    kept: Kept<Netns, Looked>,
    kept_host: Kept<(), HostSeen>,
}

impl LinuxNetworks {
    /// `state` is the folder that outlives this process; what the host was like before is noted there. A look may be as old as
    /// `fresh_for`, so that passes that come together share one; never older than our own last change.
    pub fn new(state: impl Into<PathBuf>, fresh_for: Duration) -> Self {
        LinuxNetworks {
            record: Record::in_folder(&state.into()),
            shared: Mutex::new(()),
            listings: Arc::default(),
            host_listings: Arc::default(),
            looks: Looks::new(fresh_for),
            host_looks: Looks::new(fresh_for),
            changes: Changes::default(),
            kept: Kept::new(PAUSE),
            kept_host: Kept::new(HOST_PAUSE),
        }
    }
}

impl Networks for LinuxNetworks {
    async fn list(&self) -> Result<Vec<Netns>> {
        netns::list()
    }

    async fn look(&self, netns: &Netns) -> Result<Option<NetworkSeen>> {
        let look = look::look(netns, Arc::clone(&self.listings), &self.kept);
        self.looks.share(netns.clone(), &self.changes, look).await
    }

    async fn taps(&self) -> Result<Vec<TapFound>> {
        let mut places = vec![None];
        places.extend(netns::list()?.into_iter().map(Some));
        let mut found = Vec::new();
        for netns in places {
            let names = match inside(netns.as_ref(), |handle| async move { tap::list(&handle).await }).await {
                // It went while we looked, and its taps with it.
                Err(NetworkError::NoNamespace { .. }) => continue,
                names => names?,
            };
            found.extend(names.into_iter().map(|name| TapFound { name, netns: netns.clone() }));
        }
        Ok(found)
    }

    async fn held_taps(&self) -> Result<BTreeSet<String>> {
        let look = tokio::task::spawn_blocking(qemu::held_taps).await;
        look.unwrap_or_else(|lost| Err(std::io::Error::other(lost)))
            .map_err(|source| NetworkError::Processes { source })
    }

    async fn look_host(&self) -> Result<HostSeen> {
        let look = look::look_host(Arc::clone(&self.host_listings), &self.kept_host);
        self.host_looks.share((), &self.changes, look).await
    }

    async fn connections(&self) -> Result<BTreeSet<Connection>> {
        on_host(connections::connections).await
    }

    async fn changed(&self) -> Option<Netns> {
        tokio::select! {
            netns = self.kept.changed() => Some(netns),
            () = self.kept_host.changed() => None,
        }
    }

    async fn create_namespace(&self, netns: &Netns) -> Result<()> {
        let _change = self.changes.begin();
        let _one_at_a_time = self.shared.lock().await;
        let dir = netns::dir_state()?;
        self.record.note(|before| {
            before.made_netns_dir |= !dir.exists;
            before.mounted_netns_dir |= !dir.mounted;
            before.namespaces.insert(netns.to_string());
        })?;
        netns::create(netns)
    }

    async fn set_sysctls(&self, netns: &Netns) -> Result<()> {
        let _change = self.changes.begin();
        inside(Some(netns), |_| async { sysctl::set_namespace_values() }).await
    }

    async fn set_bridge(&self, netns: &Netns, bridge: &Bridge) -> Result<()> {
        let _change = self.changes.begin();
        let bridge = bridge.clone();
        inside(Some(netns), |handle| async move { bridge::set(&handle, &bridge).await }).await
    }

    async fn set_neighbours(&self, netns: &Netns, neighbours: &Neighbours) -> Result<()> {
        let _change = self.changes.begin();
        let neighbours = neighbours.clone();
        inside(Some(netns), |handle| async move { neighbours::set(&handle, &neighbours).await }).await
    }

    async fn replace_rules(&self, netns: &Netns, rules: &Ruleset) -> Result<()> {
        let _change = self.changes.begin();
        let rules = rules.clone();
        inside(Some(netns), |_| async move { nft::replace(&rules) }).await
    }

    async fn set_uplink(&self, netns: &Netns, uplink: &Uplink) -> Result<()> {
        let _change = self.changes.begin();
        let _one_at_a_time = self.shared.lock().await;
        let has_inner = inside(Some(netns), |h| async move { Ok(links::find(&h, OUT).await?.is_some()) }).await?;
        let (outer, place) = (uplink.clone(), netns.clone());
        inside(None, move |handle| async move {
            let file = netns::open(&place)?.ok_or_else(|| NetworkError::NoNamespace { name: place.to_string() })?;
            uplink::set_host(&handle, &place, &file, !has_inner, &outer).await
        })
        .await?;
        let inner = uplink.clone();
        inside(Some(netns), |handle| async move { uplink::set_inner(&handle, &inner).await }).await
    }

    async fn delete_uplink(&self, name: &str) -> Result<()> {
        let _change = self.changes.begin();
        self.delete_link(name).await
    }

    async fn delete_link(&self, name: &str) -> Result<()> {
        let _change = self.changes.begin();
        let name = name.to_string();
        inside(None, |handle| async move { marks::delete_ours(&handle, &name).await }).await
    }

    async fn delete_idle_tap(&self, name: &str, netns: &Netns) -> Result<()> {
        let _change = self.changes.begin();
        let tap = name.to_string();
        inside(Some(netns), |handle| async move { tap::delete_idle(&handle, &tap).await }).await
    }

    async fn add_host_route(&self, netns: &Netns, subnet: Ipv4Net, uplink: &Uplink, transits: Ipv4Net) -> Result<()> {
        let _change = self.changes.begin();
        let _one_at_a_time = self.shared.lock().await;
        let seen = look::look_host(Arc::clone(&self.host_listings), &self.kept_host).await?;
        let connections = self.connections().await?;
        if let Some(by) = seen.range_user(subnet, netns, transits, &connections) {
            return Err(NetworkError::RangeInUse { range: subnet.to_string(), by: by.to_string() });
        }
        let uplink = uplink.clone();
        inside(None, move |handle| async move {
            let link = links::need(&handle, &uplink.name).await?;
            let route = links::route(subnet, uplink.transit.inner(), link.index);
            let added = handle.route().add(route).replace().execute().await;
            added.map_err(links::failed(format!("route {subnet} to {}", uplink.name)))
        })
        .await
    }

    async fn delete_host_route(&self, subnet: Ipv4Net, uplink: &str) -> Result<()> {
        let _change = self.changes.begin();
        let uplink = uplink.to_string();
        inside(None, move |handle| async move {
            let Some(link) = links::find(&handle, &uplink).await? else { return Ok(()) };
            let route = links::route_over(subnet, link.index);
            match handle.route().del(route).execute().await {
                Err(error) if links::errno(&error) == Some(libc::ESRCH) => Ok(()),
                other => other.map_err(links::failed(format!("remove the route to {subnet}"))),
            }
        })
        .await
    }

    async fn set_host_firewall(&self, rules: &Ruleset) -> Result<()> {
        let _change = self.changes.begin();
        let _one_at_a_time = self.shared.lock().await;
        let rules = rules.clone();
        inside(None, |_| async move {
            nft::refuse_foreign()?;
            nft::replace(&rules)
        })
        .await
    }

    async fn enable_forwarding(&self) -> Result<()> {
        let _change = self.changes.begin();
        let _one_at_a_time = self.shared.lock().await;
        let now = sysctl::get(sysctl::FORWARDING)?;
        if now.as_deref() != Some("1") {
            self.record.note(|before| {
                before.sysctls.entry(sysctl::FORWARDING.to_string()).or_insert_with(|| now.unwrap_or_default());
            })?;
            sysctl::set(sysctl::FORWARDING, "1")?;
        }
        Ok(())
    }

    async fn allow_in_firewall(&self, chain: &IptablesChain) -> Result<()> {
        let _change = self.changes.begin();
        let _one_at_a_time = self.shared.lock().await;
        let chain = chain.clone();
        inside(None, |_| async move { firewall::allow(&chain) }).await
    }

    async fn create_tap(&self, tap: &Tap) -> Result<()> {
        let _change = self.changes.begin();
        let tap = tap.clone();
        inside(None, |handle| async move { tap::create(&handle, &tap).await }).await
    }

    async fn move_tap(&self, name: &str, netns: &Netns, mtu: u32) -> Result<()> {
        let _change = self.changes.begin();
        let (tap, place) = (name.to_string(), netns.clone());
        inside(None, |handle| async move { tap::move_in(&handle, &tap, &place).await }).await?;
        self.attach_tap(name, netns, mtu).await
    }

    async fn attach_tap(&self, name: &str, netns: &Netns, mtu: u32) -> Result<()> {
        let _change = self.changes.begin();
        let tap = name.to_string();
        inside(Some(netns), move |handle| async move { tap::attach(&handle, &tap, mtu).await }).await
    }

    async fn delete_tap(&self, name: &str, netns: &Netns) -> Result<()> {
        let _change = self.changes.begin();
        let tap = name.to_string();
        self.delete_link(name).await?;
        match inside(Some(netns), |handle| async move { links::delete(&handle, &tap).await }).await {
            Err(NetworkError::NoNamespace { .. }) => Ok(()),
            other => other,
        }
    }

    async fn delete_namespace(&self, netns: &Netns) -> Result<()> {
        let _change = self.changes.begin();
        let (made, name) = (self.record.read()?.namespaces.contains(netns.as_str()), netns.to_string());
        // Links first: whatever still holds the namespace itself, nothing of the Network is left in it.
        let emptied = inside(Some(netns), move |handle| async move {
            let all = links::list(&handle).await?;
            let marked = all.get(BRIDGE).and_then(|bridge| bridge.alias.as_deref()).and_then(MadeFrom::from_alias);
            if !made && marked.is_none() && all.keys().any(|name| name != "lo") {
                return Err(NetworkError::NotOurs { what: format!("the network namespace {name}") });
            }
            for name in all.into_keys() {
                if name == OUT || name == BRIDGE || name.starts_with(LINK_PREFIX) {
                    links::delete(&handle, &name).await?;
                }
            }
            nft::remove(&["bridge", "inet"])
        })
        .await;
        match emptied {
            Ok(()) | Err(NetworkError::NoNamespace { .. }) => {
                self.kept.forget(netns);
                netns::delete(netns)
            }
            Err(error) => Err(error),
        }
    }

    async fn teardown_host(&self) -> Result<()> {
        let _change = self.changes.begin();
        let _one_at_a_time = self.shared.lock().await;
        inside(None, |handle| async move {
            for link in links::list(&handle).await?.into_values().filter(marks::is_ours) {
                links::delete(&handle, &link.name).await?;
            }
            let listing = nft::list()?;
            firewall::remove(&listing)?;
            if nft::is_ours(&listing) {
                nft::remove(&["inet"])?;
            }
            Ok(())
        })
        .await?;
        let before = self.record.read()?;
        for (name, value) in &before.sysctls {
            sysctl::set(name, value)?;
        }
        netns::restore_dir(before.mounted_netns_dir, before.made_netns_dir)?;
        self.record.forget()
    }
}

/// The rules that [`Networks::set_host_firewall`] is given, for a host whose transit addresses come from `transit` and which
/// reaches the outside by these links ([`HostSeen::default_links`]).
pub fn host_firewall_rules(transit: Ipv4Net, outside: &BTreeSet<String>) -> Ruleset {
    host_firewall::render(transit, outside)
}
