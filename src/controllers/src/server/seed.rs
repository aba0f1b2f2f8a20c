//! The NoCloud seed: what cloud-init in the guest reads at its first boot.
//!
//! ssh keys are given as `public-keys` of the meta-data, the place where cloud-init's default user gets its keys from,
//! so that user data stays exactly the user's own bytes, whatever its kind. A `network-config` is given only where
//! cloud-init's own default, DHCP on the first NIC, is not enough.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use k8s_openapi::ByteString;
use kube::ResourceExt;
use nubium_api::{DEFAULT_MTU, EgressType, Network, Port, Server};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::gather::{Gathered, Sources};

/// A NIC as the guest must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wired {
    pub name: String,
    pub mac: String,
    pub mtu: i32,
    /// Whether its Network leads out: only such a NIC gets a default route.
    pub egress: bool,
    /// None: DHCP gives it.
    pub fixed: Option<Fixed>,
}

/// An address that no DHCP gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fixed {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub gateway: Ipv4Addr,
    pub dns: Vec<String>,
}

/// The NICs for `network-config`: empty when cloud-init needs none, None while one is not known yet.
pub(super) fn nics(seen: &Gathered) -> Option<Vec<Wired>> {
    let nics = &seen.server.spec.nics;
    if nics.is_empty() {
        return Some(Vec::new());
    }
    if let [nic] = nics.as_slice() {
        // The usual case needs no Port: cloud-init asks DHCP on the only NIC by itself.
        let network = match (&nic.network, seen.ports.get(&nic.name)) {
            (Some(network), _) => network,
            (None, port) => &port?.0.spec.network,
        };
        if seen.networks.get(network)?.subnet().dhcp.unwrap_or(true) {
            return Some(Vec::new());
        }
    }
    nics.iter()
        .map(|nic| {
            let (port, _) = seen.ports.get(&nic.name)?;
            wire(&nic.name, port, seen.networks.get(&port.spec.network)?)
        })
        .collect()
}

fn wire(name: &str, port: &Port, network: &Network) -> Option<Wired> {
    let subnet = network.subnet();
    let range = subnet.range().ok()?;
    let status = port.status.as_ref()?;
    let fixed = if subnet.dhcp.unwrap_or(true) {
        None
    } else {
        let address = status.addresses.first()?.address.parse().ok()?;
        let dns = subnet.dns_servers.clone().unwrap_or_default();
        Some(Fixed { address, prefix: range.cidr.prefix_len(), gateway: range.gateway, dns })
    };
    let mtu = network.status.as_ref().and_then(|status| status.mtu).unwrap_or(DEFAULT_MTU);
    let egress = network.spec.egress.type_ != EgressType::None;
    Some(Wired { name: name.to_owned(), mac: status.mac_address.clone()?, mtu, egress, fixed })
}

/// Differs for every cloudInit: recorded with the seed, since a guest reads it only at its first boot.
pub(super) fn digest(server: &Server) -> String {
    let init = server.spec.cloud_init.clone().unwrap_or_default();
    let text = serde_json::to_vec(&init).expect("a cloudInit is plain data");
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// The files of the seed by name.
pub(super) fn render(server: &Server, sources: &Sources, nics: &[Wired]) -> BTreeMap<String, ByteString> {
    let init = server.spec.cloud_init.clone().unwrap_or_default();
    let host_name = init.hostname.unwrap_or_else(|| server.name_any());
    let lines = init.ssh_authorized_keys.iter().chain(&sources.keys).flat_map(|keys| keys.lines());
    let mut seen = BTreeSet::new();
    let keys: Vec<&str> =
        lines.map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#') && seen.insert(*line)).collect();
    let user_data = sources.user_data.clone().or_else(|| init.user_data.map(String::into_bytes));
    let mut files = BTreeMap::from([
        ("meta-data".to_owned(), meta_data(&server.uid().unwrap_or_default(), &host_name, &keys)),
        ("user-data".to_owned(), user_data.unwrap_or_else(|| b"#cloud-config\n{}\n".to_vec())),
    ]);
    if !nics.is_empty() {
        files.insert("network-config".to_owned(), network_config(nics).to_string().into_bytes());
    }
    files.into_iter().map(|(name, bytes)| (name, ByteString(bytes))).collect()
}

/// YAML whose strings are written as JSON writes them, so that no key can end one.
fn meta_data(instance: &str, host_name: &str, keys: &[&str]) -> Vec<u8> {
    let mut text = format!("instance-id: {}\nlocal-hostname: {}\n", json!(instance), json!(host_name));
    if !keys.is_empty() {
        text.push_str("public-keys:\n");
        keys.iter().for_each(|key| text.push_str(&format!("- {}\n", json!(key))));
    }
    text.into_bytes()
}

/// Version 2 of cloud-init's network configuration; JSON is YAML.
fn network_config(nics: &[Wired]) -> Value {
    let mut ethernets = Map::new();
    for (index, nic) in nics.iter().enumerate() {
        // Of several default routes the first NIC's is taken.
        let metric = 100 * (index + 1);
        let mut ethernet = match &nic.fixed {
            None if nic.egress => json!({"dhcp4": true, "dhcp4-overrides": {"route-metric": metric}}),
            None => json!({"dhcp4": true, "dhcp4-overrides": {"use-routes": false}}),
            Some(Fixed { address, prefix, gateway: _, dns }) => json!({
                "addresses": [format!("{address}/{prefix}")],
                "nameservers": {"addresses": dns},
            }),
        };
        if let (true, Some(Fixed { gateway, .. })) = (nic.egress, &nic.fixed) {
            ethernet["routes"] = json!([{"to": "0.0.0.0/0", "via": gateway.to_string(), "metric": metric}]);
        }
        ethernet["match"] = json!({"macaddress": nic.mac});
        ethernet["mtu"] = json!(nic.mtu);
        ethernets.insert(nic.name.clone(), ethernet);
    }
    json!({"version": 2, "ethernets": ethernets})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(cloud_init: Value) -> Server {
        serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1"},
            "spec": {"flavor": "small", "disks": [{"name": "root", "image": "tiny"}], "cloudInit": cloud_init},
        }))
        .unwrap()
    }

    fn text(files: &BTreeMap<String, ByteString>, name: &str) -> String {
        String::from_utf8(files[name].0.clone()).unwrap()
    }

    #[test]
    fn keys_of_all_places_are_given_once_each_and_user_data_is_left_alone() {
        let server = server(json!({"sshAuthorizedKeys": ["ssh-ed25519 AAA me"], "userData": "#!/bin/sh\ntrue\n"}));
        let from = ["# mine\nssh-ed25519 BBB \"you\"\n\nssh-ed25519 AAA me\n".to_owned()];
        let files = render(&server, &Sources { keys: from.to_vec(), user_data: None }, &[]);
        assert_eq!(
            text(&files, "meta-data"),
            "instance-id: \"u-1\"\nlocal-hostname: \"web-1\"\npublic-keys:\n- \"ssh-ed25519 AAA me\"\n\
             - \"ssh-ed25519 BBB \\\"you\\\"\"\n"
        );
        assert_eq!(text(&files, "user-data"), "#!/bin/sh\ntrue\n");
        assert!(!files.contains_key("network-config"));
    }

    #[test]
    fn without_user_data_there_is_an_empty_cloud_config_and_the_host_name_can_be_said() {
        let files = render(&server(json!({"hostname": "front"})), &Sources::default(), &[]);
        assert_eq!(text(&files, "user-data"), "#cloud-config\n{}\n");
        assert!(text(&files, "meta-data").contains("local-hostname: \"front\""));
    }

    #[test]
    fn fixed_and_dhcp_addresses_are_found_by_mac() {
        let fixed = Fixed {
            address: Ipv4Addr::new(10, 0, 0, 5),
            prefix: 24,
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            dns: vec!["9.9.9.9".into()],
        };
        let nic =
            |name: &str, fixed| Wired { name: name.into(), mac: format!("02:{name}"), mtu: 1430, egress: true, fixed };
        let config = network_config(&[nic("eth0", None), nic("eth1", Some(fixed))]);
        assert_eq!(config["ethernets"]["eth0"]["dhcp4"], true);
        let eth1 = &config["ethernets"]["eth1"];
        assert_eq!(eth1["match"]["macaddress"], "02:eth1");
        assert_eq!(eth1["addresses"][0], "10.0.0.5/24");
        assert_eq!(eth1["routes"][0]["via"], "10.0.0.1");
    }

    #[test]
    fn only_a_nic_whose_network_leads_out_gets_a_default_route() {
        let fixed = || Fixed {
            address: Ipv4Addr::new(10, 0, 0, 5),
            prefix: 24,
            gateway: Ipv4Addr::new(10, 0, 0, 1),
            dns: Vec::new(),
        };
        for (egress, fixed) in [(true, None), (false, None), (true, Some(fixed())), (false, Some(fixed()))] {
            let dhcp = fixed.is_none();
            let nic = Wired { name: "eth0".into(), mac: "02:00".into(), mtu: 1430, egress, fixed };
            let ethernet = network_config(&[nic])["ethernets"]["eth0"].clone();
            let default_route = match dhcp {
                true => ethernet["dhcp4-overrides"]["use-routes"] != json!(false),
                false => ethernet["routes"].is_array(),
            };
            assert_eq!(default_route, egress, "{ethernet}");
        }
    }
}
