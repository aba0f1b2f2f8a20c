//! The rules inside a Network's namespace, as text for `nft`.
//!
//! ```text
//!  guest ── tap ─┐ bridge nubium / from_guest: own MAC, own addresses, no DHCP server, no IPv6, no VLAN tags
//!                ├─ br0 ── inet nubium / input:  the gateway answers a ping, nothing else
//!  guest ── tap ─┘    │    inet nubium / forward: out by egress, in by hostAccess, replies
//!                   out0 ── inet nubium / egress: masquerade; without egress, host_access: the host speaks as the gateway
//! ```
//! What a guest may say is a lookup in two sets, whatever the number of guests. A tap that is in no set says nothing
//! at all. In nft's language `arp`, `dst` and `fwd` are keywords, so they are no names here.

use std::{collections::BTreeMap, fmt::Write as _, net::Ipv4Addr};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::{
    mac::MacAddr,
    names::{BRIDGE, OUT},
    nft::{self, Ruleset},
};

/// Destinations that are never "outside": the machine itself, link-local (metadata services), multicast, reserved.
const NEVER_OUTSIDE: &str = "{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }";

/// What may be sent through one tap: every address from every MAC of the guest behind it. A guest with several NICs on a
/// Network has those of all of them on each: it answers for any of its addresses by whichever NIC it likes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Guest {
    /// In order.
    pub macs: Vec<MacAddr>,
    /// In order.
    pub addresses: Vec<Ipv4Addr>,
}

/// What the rules of a namespace follow from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceRules {
    pub subnet: Ipv4Net,
    /// By tap name.
    pub guests: BTreeMap<String, Guest>,
    /// Guests reach what is outside, by NAT.
    pub egress: bool,
    /// The host reaches guests.
    pub host_access: bool,
}

impl NamespaceRules {
    pub fn render(&self) -> Ruleset {
        let NamespaceRules { subnet, guests, egress, host_access } = self;
        let mut macs = Vec::new();
        let mut addresses = Vec::new();
        for (tap, guest) in guests {
            for mac in &guest.macs {
                macs.push(format!("\"{tap}\" . {mac}"));
                addresses.extend(guest.addresses.iter().map(|address| format!("\"{tap}\" . {mac} . {address}")));
            }
        }
        let mut text = String::new();
        let mut line = |t: &str| {
            let _ = writeln!(text, "{t}");
        };
        line("table bridge nubium {");
        line(&set("macs", "ifname . ether_addr", &macs));
        line(&set("addresses", "ifname . ether_addr . ipv4_addr", &addresses));
        line("  chain from_guest {");
        line("    type filter hook prerouting priority -300; policy drop;");
        line("    iifname . ether saddr != @macs drop");
        // Compared as bytes of the frame: a VLAN tag that the kernel set aside counts too.
        line("    ether type != { ip, arp } drop");
        // Whatever its source port: some clients believe any packet to port 68.
        line("    udp dport 68 drop");
        line("    iifname . ether saddr . ip saddr @addresses accept");
        line("    ip saddr 0.0.0.0 ip daddr 255.255.255.255 udp sport 68 udp dport 67 accept");
        line("    iifname . arp saddr ether . arp saddr ip @addresses accept");
        // "Does anybody have this address?", before using it. It must say its own MAC.
        line("    iifname . arp saddr ether @macs arp saddr ip 0.0.0.0 accept");
        line("  }");
        line("}");
        line("table inet nubium {");
        line("  chain input {");
        line("    type filter hook input priority filter; policy drop;");
        line("    iifname \"lo\" accept");
        line("    ct state vmap { established : accept, related : accept, invalid : drop }");
        line(&format!("    iifname \"{BRIDGE}\" icmp type echo-request accept"));
        if *host_access {
            line(&format!("    iifname \"{OUT}\" icmp type echo-request accept"));
        }
        line("  }");
        line("  chain forward {");
        line("    type filter hook forward priority filter; policy drop;");
        line("    ct state vmap { established : accept, related : accept, invalid : drop }");
        // Only with br_netfilter: frames between guests come by here too, and were judged already.
        line(&format!("    iifname \"{BRIDGE}\" oifname \"{BRIDGE}\" accept"));
        if *egress {
            line(&format!(
                "    iifname \"{BRIDGE}\" oifname \"{OUT}\" ip saddr {subnet} ip daddr != {NEVER_OUTSIDE} accept"
            ));
        }
        if *host_access {
            line(&format!("    iifname \"{OUT}\" oifname \"{BRIDGE}\" ip daddr {subnet} accept"));
        }
        line("  }");
        if *egress {
            line("  chain egress {");
            line("    type nat hook postrouting priority srcnat; policy accept;");
            line(&format!("    oifname \"{OUT}\" ip saddr {subnet} masquerade"));
            line("  }");
        } else if *host_access {
            // Guests have no default route: the host speaks to them as their gateway.
            line("  chain host_access {");
            line("    type nat hook postrouting priority srcnat; policy accept;");
            line(&format!("    oifname \"{BRIDGE}\" ip saddr != {subnet} masquerade"));
            line("  }");
        }
        line("}");
        Ruleset { families: &["bridge", "inet"], text }
    }
}

fn set(name: &str, kind: &str, elements: &[String]) -> String {
    let elements =
        if elements.is_empty() { String::new() } else { format!(" elements = {{ {} }}", elements.join(", ")) };
    format!("  set {name} {{ type {kind};{elements} }}")
}

/// The guests that the rules in force speak of, read back from a listing.
pub(super) fn guests_seen(listing: &[Value]) -> BTreeMap<String, Guest> {
    let mut guests: BTreeMap<String, Guest> = BTreeMap::new();
    let text = |value: &Value, n: usize| value["concat"][n].as_str().map(str::to_string);
    for element in nft::elements(listing, "bridge", "macs") {
        let (Some(tap), Some(mac)) = (text(element, 0), text(element, 1).and_then(|m| m.parse().ok())) else {
            continue;
        };
        guests.entry(tap).or_default().macs.push(mac);
    }
    for element in nft::elements(listing, "bridge", "addresses") {
        let (Some(tap), Some(address)) = (text(element, 0), text(element, 2).and_then(|a| a.parse().ok())) else {
            continue;
        };
        if let Some(guest) = guests.get_mut(&tap) {
            guest.addresses.push(address);
        }
    }
    for guest in guests.values_mut() {
        guest.macs.sort();
        guest.addresses.sort();
        guest.addresses.dedup();
    }
    guests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(egress: bool, host_access: bool) -> String {
        let guest = Guest { macs: vec![MacAddr([2, 0, 0, 0, 0, 1])], addresses: vec!["10.0.0.5".parse().unwrap()] };
        let rules = NamespaceRules {
            subnet: "10.0.0.0/24".parse().unwrap(),
            guests: [("nub1".to_string(), guest)].into(),
            egress,
            host_access,
        };
        rules.render().text
    }

    #[test]
    fn each_tap_of_a_guest_may_send_from_all_of_its_addresses() {
        let macs = vec![MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 2])];
        let guest = Guest { macs, addresses: vec!["10.0.0.5".parse().unwrap(), "10.0.0.6".parse().unwrap()] };
        let guests = [("nub1".to_string(), guest.clone()), ("nub2".to_string(), guest)].into();
        let subnet = "10.0.0.0/24".parse().unwrap();
        let text = NamespaceRules { subnet, guests, egress: true, host_access: false }.render().text;
        for (tap, mac, address) in [("nub1", 1, 6), ("nub1", 2, 5), ("nub2", 1, 5), ("nub2", 2, 6)] {
            assert!(text.contains(&format!("\"{tap}\" . 02:00:00:00:00:0{mac} . 10.0.0.{address}")), "{text}");
        }
    }

    #[test]
    fn nothing_leaves_without_egress_and_nothing_enters_without_host_access() {
        assert!(!rules(false, true).contains("oifname \"out0\"") && !rules(false, false).contains("masquerade"));
        assert!(rules(false, true).contains("oifname \"br0\" ip saddr != 10.0.0.0/24 masquerade"));
        assert!(rules(true, false).contains("oifname \"out0\" ip saddr 10.0.0.0/24 masquerade"));
        assert!(!rules(true, false).contains("iifname \"out0\""));
        assert!(rules(false, false).contains("\"nub1\" . 02:00:00:00:00:01 . 10.0.0.5"));
    }
}
