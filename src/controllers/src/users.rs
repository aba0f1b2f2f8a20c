//! Who uses a Volume or a Port: the Servers that name it and the one it was made for. Pure.
//!
//! A Volume and a Port serve one Server at a time. Of several that name one, the Server whose guest has a place for it
//! goes first, whoever comes to name it later; then a bound Server before an unbound one, then the older before the
//! younger. The others wait and say for whom.

use std::sync::Arc;

use kube::ResourceExt;
use nubium_api::{MadeFor, Nic, Port, Server, Volume, contract};

use crate::verdict::holds;

/// Whether the Server is being deleted.
pub(crate) fn terminating<K: kube::Resource>(object: &K) -> bool {
    object.meta().deletion_timestamp.is_some()
}

/// The Host that a Server is bound to.
pub(crate) fn host_of(server: &Server) -> Option<&str> {
    server.status.as_ref()?.host.as_deref()
}

/// Whether a Server that is being deleted has nothing left on any host: never bound, or released as a fresh look
/// showed. Until then its guest may run.
pub(crate) fn is_released(server: &Server) -> bool {
    let conditions = server.status.as_ref().map_or(&[][..], |status| &status.conditions);
    terminating(server)
        && (host_of(server).is_none() || holds(conditions, contract::RELEASED, server.metadata.generation))
}

/// Whether the child was made for this very Server.
pub(crate) fn made_for(mark: Option<&MadeFor>, server: &Server) -> bool {
    mark.is_some_and(|mark| Some(&mark.uid) == server.metadata.uid.as_ref())
}

/// Of `servers`, those that use this Volume, the one that has it first. `servers` may be more than that.
pub(crate) fn volume_users(volume: &Volume, servers: Vec<Arc<Server>>) -> Vec<Arc<Server>> {
    let name = volume.name_any();
    in_turn(servers, volume.metadata.uid.as_ref(), |server| {
        let named = server.spec.disks.iter().any(|disk| disk.volume.as_ref() == Some(&name));
        named || made_for(volume.spec.made_for.as_ref(), server)
    })
}

/// Of `servers`, those that use this Port, the one that has it first. A guest that still has a NIC on it uses it, also
/// when its Server names it no longer: two guests must never speak with one MAC. `servers` may be more than that.
pub(crate) fn port_users(port: &Port, servers: Vec<Arc<Server>>) -> Vec<Arc<Server>> {
    let name = port.name_any();
    in_turn(servers, port.metadata.uid.as_ref(), |server| {
        let names = |nic: &Nic| {
            let may = nic.port.is_some() || made_for(port.spec.made_for.as_ref(), server);
            may && nic.port_name(&server.name_any()) == name
        };
        server.spec.nics.iter().any(names) || has(server, port.metadata.uid.as_ref())
    })
}

fn in_turn(servers: Vec<Arc<Server>>, uid: Option<&String>, uses: impl Fn(&Server) -> bool) -> Vec<Arc<Server>> {
    let mut users: Vec<_> = servers.into_iter().filter(|server| uses(server) && !is_released(server)).collect();
    users.sort_by_key(|server| {
        // A Server that goes without ever having been bound claims nothing before the others.
        let rank = (!has(server, uid), host_of(server).is_none(), terminating(server.as_ref()));
        (rank, server.creation_timestamp().map(|time| time.0), server.name_any())
    });
    users
}

/// Whether the Server's guest has a place for the device of this UID.
fn has(server: &Server, uid: Option<&String>) -> bool {
    let devices = server.status.as_ref().map_or(&[][..], |status| &status.devices);
    uid.is_some_and(|uid| devices.iter().any(|device| device.uid == *uid))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn server(name: &str, uid: &str, age: u8, host: Option<&str>) -> Arc<Server> {
        let json = json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
            "metadata": {"name": name, "namespace": "shop", "uid": uid, "generation": 1,
                         "creationTimestamp": format!("2026-01-0{age}T00:00:00Z")},
            "spec": {"flavor": "small", "disks": [{"name": "root", "image": "i"}, {"name": "data", "volume": "db"}]},
            "status": {"host": host},
        });
        Arc::new(serde_json::from_value(json).unwrap())
    }

    fn volume(name: &str, made_for: Option<&str>) -> Volume {
        let mark = made_for.map(|uid| json!({"server": "x", "uid": uid}));
        let json = json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Volume",
            "metadata": {"name": name, "namespace": "shop"}, "spec": {"size": "1Gi", "madeFor": mark},
        });
        serde_json::from_value(json).unwrap()
    }

    fn users(volume: &Volume, servers: Vec<Arc<Server>>) -> Vec<String> {
        volume_users(volume, servers).iter().map(|server| server.name_any()).collect()
    }

    #[test]
    fn the_bound_come_first_then_the_older() {
        let servers =
            vec![server("young", "1", 3, None), server("old", "2", 1, None), server("bound", "3", 4, Some("h"))];
        assert_eq!(users(&volume("db", None), servers), ["bound", "old", "young"]);
    }

    #[test]
    fn who_has_it_keeps_it_when_an_older_server_comes_to_name_it() {
        let mut has = Arc::unwrap_or_clone(server("young", "1", 3, Some("h")));
        let device = nubium_api::Device { name: "disk-data".into(), slot: 1, uid: "db-uid".into() };
        has.status.as_mut().unwrap().devices = vec![device];
        let servers = vec![server("old", "2", 1, Some("h")), Arc::new(has)];
        let mut volume = volume("db", None);
        assert_eq!(users(&volume, servers.clone()), ["old", "young"]);
        volume.metadata.uid = Some("db-uid".into());
        assert_eq!(users(&volume, servers), ["young", "old"]);
    }

    #[test]
    fn a_port_is_its_guest_s_until_that_has_let_it_go() {
        let mut before = Arc::unwrap_or_clone(server("before", "1", 1, Some("h")));
        let device = nubium_api::Device { name: "nic-eth0".into(), slot: 1, uid: "port-uid".into() };
        before.status.as_mut().unwrap().devices = vec![device];
        let mut after = Arc::unwrap_or_clone(server("after", "2", 2, Some("h")));
        after.spec.nics = serde_json::from_value(json!([{"name": "eth0", "port": "mine"}])).unwrap();
        let port: Port = serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Port",
            "metadata": {"name": "mine", "namespace": "shop", "uid": "port-uid"}, "spec": {"network": "blue"},
        }))
        .unwrap();
        let users = |before: &Server| -> Vec<String> {
            let servers = vec![Arc::new(before.clone()), Arc::new(after.clone())];
            port_users(&port, servers).iter().map(|server| server.name_any()).collect()
        };
        assert_eq!(users(&before), ["before", "after"], "it names it no longer, and its guest has it");
        before.status.as_mut().unwrap().devices.clear();
        assert_eq!(users(&before), ["after"]);
    }

    #[test]
    fn a_made_volume_is_that_servers_and_no_namesakes() {
        let servers = vec![server("web", "old-uid", 1, None), server("web", "new-uid", 2, None)];
        let found = volume_users(&volume("web-root", Some("new-uid")), servers);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].metadata.uid.as_deref(), Some("new-uid"));
        assert!(users(&volume("web-root", None), vec![server("web", "1", 1, None)]).is_empty());
    }
}
