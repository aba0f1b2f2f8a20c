//! Which links of the host's own namespace we made. Nothing is removed by its name alone: a name proves nothing.

use rtnetlink::Handle;

use super::{
    bridge::MadeFrom,
    error::{NetworkError, Result},
    links::{self, LinkSeen},
    names,
};

/// Whether a link of the host's own namespace is one that we made: its alias says for which Network or Port. A name proves
/// nothing.
pub(super) fn is_ours(link: &LinkSeen) -> bool {
    let Some(alias) = &link.alias else { return false };
    match link.kind.as_str() {
        "veth" => MadeFrom::from_alias(alias).is_some_and(|made| names::uplink(&made.uid) == link.name),
        "tun" => names::tap(alias) == link.name,
        _ => false,
    }
}

/// Deletes a link of the host's own namespace, if it is one that we made; gone already is fine.
pub(super) async fn delete_ours(handle: &Handle, name: &str) -> Result<()> {
    match links::find(handle, name).await? {
        Some(link) if !is_ours(&link) => Err(NetworkError::NotOurs { what: format!("the link {name}") }),
        _ => links::delete(handle, name).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_ours_by_its_alias_and_never_by_its_name() {
        let uid = "1f0e4c9a-7b21-4d7e-9a3e-5b5c7a0c1d2e";
        let link = |name: String, kind: &str, alias: Option<String>| LinkSeen {
            index: 7,
            name,
            kind: kind.into(),
            mac: None,
            mtu: 1500,
            up: true,
            carrier: true,
            alias,
            controller: None,
            addresses: Vec::new(),
            stp: false,
            multicast_snooping: false,
        };
        let made = MadeFrom { uid: uid.into(), generation: 2 }.to_alias();
        assert!(is_ours(&link(names::uplink(uid), "veth", Some(format!("{made} netns=nubium.shop.blue")))));
        assert!(is_ours(&link(names::tap(uid), "tun", Some(uid.into()))));
        for (name, kind, alias) in [
            (names::uplink(uid), "veth", None),
            (names::uplink(uid), "veth", Some("my link".to_owned())),
            (names::uplink("another"), "veth", Some(made.clone())),
            (names::uplink(uid), "dummy", Some(made)),
            (names::tap(uid), "tun", None),
            (names::tap(uid), "tun", Some("another".to_owned())),
            ("nubile0".to_owned(), "dummy", None),
        ] {
            assert!(!is_ours(&link(name.clone(), kind, alias.clone())), "{name} {kind} {alias:?}");
        }
    }
}
