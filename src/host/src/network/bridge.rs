//! The bridge of a Network and who owns it.
//!
//! The owner (the Network's UID and the generation of the spec it was made from) is the bridge's alias: it dies with
//! the namespace, survives a flush of the rules, and a person sees it in `ip -d link`.

use ipnet::Ipv4Net;
use netlink_packet_route::link::BridgeStpState;
use rtnetlink::{Handle, LinkBridge, LinkMessageBuilder};

use super::{error::Result, links, mac::MacAddr, names::BRIDGE};

/// Which Network, and which generation of its spec, something was made for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MadeFrom {
    pub uid: String,
    pub generation: i64,
}

impl MadeFrom {
    /// `nubium.dev network=<uid> generation=<n>`
    pub fn to_alias(&self) -> String {
        format!("nubium.dev network={} generation={}", self.uid, self.generation)
    }

    pub fn from_alias(alias: &str) -> Option<Self> {
        let (uid, rest) = alias.strip_prefix("nubium.dev network=")?.split_once(" generation=")?;
        let generation = rest.split(' ').next()?.parse().ok()?;
        Some(MadeFrom { uid: uid.to_string(), generation })
    }
}

/// The bridge as it should be. One MAC per Network on all hosts; spanning tree and multicast snooping off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    pub owner: MadeFrom,
    pub mac: MacAddr,
    pub mtu: u32,
    /// The gateway's address and the subnet's prefix length.
    pub gateway: Ipv4Net,
}

/// Makes or mends the bridge in the namespace of `handle`.
pub(super) async fn set(handle: &Handle, want: &Bridge) -> Result<()> {
    let Bridge { owner, mac, mtu, gateway } = want;
    let lo = links::need(handle, "lo").await?;
    if !lo.up {
        links::set(handle, "lo up", links::change(lo.index).up().build()).await?;
    }
    let options = || {
        LinkMessageBuilder::<LinkBridge>::new(BRIDGE)
            .stp_state(BridgeStpState::Disabled)
            .append_info_data(netlink_packet_route::link::InfoBridge::MulticastSnooping(false))
    };
    let seen = match links::find(handle, BRIDGE).await? {
        Some(link) if link.kind == "bridge" => {
            if link.stp || link.multicast_snooping {
                let changed = handle.link().change(options().build()).execute().await;
                changed.map_err(links::failed("turn off spanning tree and multicast snooping"))?;
            }
            link
        }
        other => {
            if other.is_some() {
                links::delete(handle, BRIDGE).await?;
            }
            let made = handle.link().add(options().address(mac.0.to_vec()).build()).execute().await;
            made.map_err(links::failed("create the bridge"))?;
            links::need(handle, BRIDGE).await?
        }
    };
    // Set on its own, not with the bridge's making: only so does the kernel keep it when ports come and go.
    let mut message = links::change(seen.index).mtu(*mtu).alias(owner.to_alias()).up();
    if seen.mac != Some(*mac) {
        message = message.address(mac.0.to_vec());
    }
    links::set(handle, "the bridge", message.build()).await?;
    links::set_addresses(handle, &seen, &[*gateway]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_read_back() {
        let owner = MadeFrom { uid: "1f0e4c9a-7b21".into(), generation: 12 };
        assert_eq!(MadeFrom::from_alias(&owner.to_alias()), Some(owner));
        assert_eq!(MadeFrom::from_alias("my bridge"), None);
        assert_eq!(MadeFrom::from_alias("nubium.dev network=x generation=y"), None);
    }
}
