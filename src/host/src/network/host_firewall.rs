//! The host's own rules for what comes from Networks and goes to them: table `inet nubium` in the host's namespace.
//!
//! A Network's namespace has already put one transit address in the place of its guests'. Here that address is
//! let out to wherever the host has a route, but not to the host itself, not to another Network, not to link-local
//! addresses, and not to the private bridges on which this machine keeps other people's containers and machines.

use ipnet::Ipv4Net;

use super::nft::Ruleset;

/// Bridges of other software on this machine. They are not "outside": their own rules would keep strangers away,
/// and the accepts that we put before those rules (see `firewall`) must not open them.
const PRIVATE_BRIDGES: &[&str] = &["docker*", "br-*", "virbr*", "podman*", "cni*", "lxcbr*", "lxdbr*", "incusbr*"];

/// The rules, for a host whose transit addresses come from `transit`.
pub fn render(transit: Ipv4Net) -> Ruleset {
    let bridges: String = PRIVATE_BRIDGES.iter().map(|name| format!("    oifname \"{name}\" drop\n")).collect();
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
{bridges}    ip daddr {{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }} drop
    ip daddr {transit} drop
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
