//! What the hosts' entries come to, and who depends on an Image. Pure.

use std::sync::Arc;

use kube::ResourceExt;
use nubium_api::{DEFAULT_POOL, ImageHost, Quantity, Volume, contract};

use crate::{
    users::terminating,
    verdict::{Verdict, holds},
};

/// Whether a file that matches its checksum can never be used: the one failure that waiting cannot help.
const UNSAFE: &str = "UnsafeImage";

/// How it stands, its size, and how far the first import is.
pub(super) fn summary(hosts: &[ImageHost], generation: Option<i64>) -> (Verdict, Option<Quantity>, Option<String>) {
    let entries: Vec<&ImageHost> = hosts
        .iter()
        .filter(|host| host.observed_generation == generation && host.released != Some(true))
        .filter(|host| host.pool.as_deref().is_none_or(|pool| pool == DEFAULT_POOL))
        .collect();
    let size = entries.iter().find_map(|host| u64::try_from(host.virtual_size?).ok()).map(Quantity::from_bytes);
    if let Some(host) = entries.iter().find(|host| host.ready == Some(true)) {
        let message = format!("verified on host {}", host.name);
        return (Verdict::ready("Imported", message), size, None);
    }
    // The one that is furthest says most.
    let Some(host) = entries.iter().max_by_key(|host| (host.fetched_bytes.unwrap_or(0), &host.name)) else {
        return (Verdict::working("WaitingForHost", "no host has begun to import it"), size, None);
    };
    let reason = host.reason.clone().unwrap_or_else(|| "Importing".to_owned());
    let message = host.message.clone().unwrap_or_else(|| "it is being imported".to_owned());
    let message = format!("host {}: {message}", host.name);
    let verdict = if reason == UNSAFE { Verdict::stalled(reason, message) } else { Verdict::working(reason, message) };
    (verdict, size, progress(host))
}

fn progress(host: &ImageHost) -> Option<String> {
    let (fetched, total) = (host.fetched_bytes?, host.total_bytes?);
    (total > 0).then(|| format!("{}%", (i128::from(fetched) * 100 / i128::from(total)).clamp(0, 100)))
}

/// The hosts that have some of it. `exists` says whether that Host still is.
pub(super) fn holding(hosts: &[ImageHost], exists: impl Fn(&str) -> bool) -> Vec<String> {
    let held = hosts.iter().filter(|host| host.released != Some(true) && exists(&host.name));
    held.map(|host| host.name.clone()).collect()
}

/// Who depends on it. A Volume that was made and does not say that it needs the Image has all its bytes itself.
pub(super) fn users(
    cloned: &[Arc<Volume>],
    named: &[Arc<Volume>],
    servers: impl Iterator<Item = String>,
) -> Vec<String> {
    let made = |volume: &Volume| {
        let conditions = volume.status.as_ref().map_or(&[][..], |status| &status.conditions);
        holds(conditions, contract::PROVISIONED, volume.metadata.generation)
    };
    let to_be_made = named.iter().filter(|volume| !terminating(volume.as_ref()) && !made(volume));
    let volumes = cloned.iter().chain(to_be_made).map(|volume| format!("Volume {}", volume.name_any()));
    let mut users: Vec<String> = volumes.chain(servers.map(|server| format!("Server {server}"))).collect();
    users.sort();
    users.dedup();
    users
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::verdict::State;

    fn host(name: &str, ready: bool, reason: &str) -> ImageHost {
        ImageHost {
            name: name.into(),
            observed_generation: Some(1),
            ready: Some(ready),
            reason: Some(reason.into()),
            ..ImageHost::default()
        }
    }

    #[test]
    fn one_verified_copy_in_the_default_pool_is_enough() {
        let mut there = host("b", true, "Imported");
        there.virtual_size = Some(1 << 30);
        let (verdict, size, progress) = summary(&[host("a", false, "Downloading"), there.clone()], Some(1));
        assert_eq!((verdict.state, size, progress), (State::Ready, Some(Quantity("1Gi".into())), None));
        there.pool = Some("other".into());
        assert_eq!(summary(&[there.clone()], Some(1)).0.reason, "WaitingForHost");
        there.pool = None;
        assert_eq!(summary(&[there], Some(2)).0.reason, "WaitingForHost");
    }

    #[test]
    fn the_progress_is_reported_and_only_an_unsafe_image_is_stalled() {
        let mut on_its_way = host("a", false, "Downloading");
        (on_its_way.fetched_bytes, on_its_way.total_bytes) = (Some(42), Some(100));
        let (verdict, _, progress) = summary(&[on_its_way], Some(1));
        assert_eq!((verdict.state, progress.as_deref()), (State::Working, Some("42%")));
        for reason in ["ChecksumMismatch", "DownloadFailed", "NoSpace", "NotFound", "SourceRefused"] {
            assert_eq!(summary(&[host("a", false, reason)], Some(1)).0.state, State::Working, "{reason}");
        }
        assert_eq!(summary(&[host("a", false, UNSAFE)], Some(1)).0.state, State::Stalled);
    }

    #[test]
    fn a_volume_that_has_all_its_bytes_does_not_depend() {
        let volume = |name: &str, status: Value| -> Arc<Volume> {
            let json = json!({
                "apiVersion": "nubium.dev/v1alpha1", "kind": "Volume",
                "metadata": {"name": name, "namespace": "shop", "generation": 1},
                "spec": {"image": "debian"}, "status": status,
            });
            Arc::new(serde_json::from_value(json).unwrap())
        };
        let made = json!({"conditions": [{"type": "Provisioned", "status": "True", "observedGeneration": 1,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "Provisioned", "message": ""}]});
        let named = [volume("whole", made), volume("coming", json!({}))];
        let clone = [volume("overlay", json!({"imageUid": "u"}))];
        let all = users(&clone, &named, ["web-1".to_owned()].into_iter());
        assert_eq!(all, ["Server web-1", "Volume coming", "Volume overlay"]);
    }
}
