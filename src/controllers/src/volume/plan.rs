//! Where a Volume lives, who uses it, how it stands. Pure.

use std::sync::Arc;

use kube::ResourceExt;
use nubium_api::{ConditionStatus, Server, Volume, contract};

use crate::{
    users,
    verdict::{Verdict, current},
};

/// The host that holds it.
pub(super) fn host_of(volume: &Volume) -> Option<&str> {
    volume.status.as_ref()?.host.as_deref()
}

/// The host of the first Server that uses it and stays.
pub(super) fn first_host(users: &[Arc<Server>]) -> Option<String> {
    let staying = users.iter().find(|server| !users::terminating(server.as_ref()))?;
    users::host_of(staying).map(str::to_owned)
}

/// Who keeps it from going: the Server whose guest was seen to have it, and those that name it. A Server that is
/// itself going counts until its host has released it.
pub(super) fn users(volume: &Volume, servers: &[Arc<Server>]) -> Vec<String> {
    let attached = volume.status.as_ref().and_then(|status| status.attached_to.as_ref());
    let attached = attached.map(|to| to.server.clone());
    let using =
        servers.iter().filter(|server| !users::terminating(server.as_ref()) || users::host_of(server).is_some());
    let mut names: Vec<String> = attached.into_iter().chain(using.map(|server| server.name_any())).collect();
    names.sort();
    names.dedup();
    names.into_iter().map(|name| format!("Server {name}")).collect()
}

/// How it stands. `missing` is what it is to be made from or in and that does not exist: kind and name.
pub(super) fn verdict(volume: &Volume, host: Option<&str>, missing: Option<(&str, &str)>) -> Verdict {
    let conditions = volume.status.as_ref().map_or(&[][..], |status| &status.conditions);
    match current(conditions, contract::PROVISIONED, volume.metadata.generation) {
        Some(fact) if fact.status == ConditionStatus::True => Verdict::ready("Provisioned", "it is there as requested"),
        Some(fact) => Verdict::working(&fact.reason, &fact.message),
        None => match (missing, host) {
            (Some((kind, name)), _) => {
                Verdict::working(format!("{kind}NotFound"), format!("waits for {kind} {name}, which does not exist"))
            }
            (None, None) => {
                Verdict::ready("WaitingForFirstServer", "it is made on the host of the first Server that uses it")
            }
            (None, Some(host)) => Verdict::working("Provisioning", format!("host {host} is making it")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verdict::State;

    fn volume(status: Value) -> Volume {
        serde_json::from_value(json!({
            "apiVersion": "nubium.dev/v1alpha1", "kind": "Volume",
            "metadata": {"name": "db", "namespace": "shop", "generation": 1},
            "spec": {"size": "1Gi"}, "status": status,
        }))
        .unwrap()
    }

    fn server(name: &str, host: Option<&str>, deleted: bool) -> Arc<Server> {
        let mark = deleted.then_some("2026-01-01T00:00:00Z");
        Arc::new(
            serde_json::from_value(json!({
                "apiVersion": "nubium.dev/v1alpha1", "kind": "Server",
                "metadata": {"name": name, "namespace": "shop", "deletionTimestamp": mark},
                "spec": {"flavor": "small", "disks": [{"name": "d", "volume": "db"}]}, "status": {"host": host},
            }))
            .unwrap(),
        )
    }

    #[test]
    fn it_lives_with_the_first_server_that_stays() {
        assert_eq!(first_host(&[server("a", Some("h1"), true), server("b", Some("h2"), false)]).as_deref(), Some("h2"));
        assert_eq!(first_host(&[server("a", None, false)]), None);
    }

    #[test]
    fn a_guest_that_may_have_it_keeps_it() {
        let none = volume(json!({}));
        assert_eq!(users(&none, &[server("a", None, false)]), ["Server a"]);
        assert_eq!(users(&none, &[server("a", Some("h"), true)]), ["Server a"]);
        assert!(users(&none, &[server("a", None, true)]).is_empty());
        let attached = volume(json!({"attachedTo": {"server": "x", "uid": "u"}}));
        assert_eq!(users(&attached, &[]), ["Server x"]);
    }

    #[test]
    fn waiting_for_a_first_server_is_ready_and_the_host_has_the_last_word() {
        let empty = volume(json!({}));
        let first = verdict(&empty, None, None);
        assert_eq!((first.state, first.reason.as_str()), (State::Ready, "WaitingForFirstServer"));
        assert_eq!(verdict(&empty, None, Some(("Image", "debian"))).reason, "ImageNotFound");
        let homeless = verdict(&empty, None, Some(("StoragePool", "fast")));
        assert_eq!((homeless.state, homeless.reason.as_str()), (State::Working, "StoragePoolNotFound"));
        assert_eq!(verdict(&empty, Some("h"), None).reason, "Provisioning");
        let fact = |status: &str, generation: i64| {
            json!({"conditions": [{"type": "Provisioned", "status": status, "observedGeneration": generation,
                "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "PoolFull", "message": "pool default is full"}]})
        };
        assert_eq!(verdict(&volume(fact("False", 1)), Some("h"), None).reason, "PoolFull");
        assert_eq!(verdict(&volume(fact("True", 1)), Some("h"), None).state, State::Ready);
        assert_eq!(verdict(&volume(fact("True", 0)), Some("h"), None).state, State::Working);
    }
}
