//! The host's own rules for what comes from Networks and goes to them: table `inet nubium` in the host's namespace.
//!
//! A Network's namespace has already put one transit address in the place of its guests'. Here that address is
//! let out to wherever the host has a route, but not to the host itself, not to another Network, not to link-local
//! addresses, and not to the private links by which this machine reaches other people's containers, machines and VPNs.
//!
//! What is private is told by the link's kind, not by its name: physical links, VLANs and bonds lead outside, and whatever the
//! host's own default route leaves by. Bridges, veths, tunnels and the like beside them belong to other software, whose
//! own rules would keep strangers away, and the accepts that we put before those rules (see `firewall`) must not open them.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::nft::Ruleset;

/// The kinds of links that lead outside, beside those without a kind, which are physical.
const OUTSIDE_KINDS: &str = r#"{ "vlan", "bond", "team" }"#;

/// The rules, for a host whose transit addresses come from `transit` and whose default routes leave by `outside`.
pub fn render(transit: Ipv4Net, outside: &BTreeSet<String>) -> Ruleset {
    let outside: String = outside.iter().map(|name| format!("    oifname \"{name}\" accept\n")).collect();
    let text = format!(
        r#"table inet nubium {{
  chain input {{
    type filter hook input priority filter - 10; policy accept;
    iifname != "nub*" accept
    ct state vmap {{ established : accept, related : accept }}
    drop
  }}
  chain forward {{
    type filter hook forward priority filter - 10; policy accept;
    iifname "nub*" goto from_networks
    oifname "nub*" goto to_networks
  }}
  chain from_networks {{
    meta nfproto ipv6 drop
    ip saddr != {transit} drop
    oifname "nub*" drop
    ip daddr {{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }} drop
    ip daddr {transit} drop
{outside}    meta oifkind != {OUTSIDE_KINDS} drop
    accept
  }}
  chain to_networks {{
    ct state vmap {{ established : accept, related : accept }}
    drop
  }}
  chain egress {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname != "nub*" ip saddr {transit} masquerade
  }}
}}"#
    );
    Ruleset { families: &["inet"], text }
}
