//! How much one host may store: a host that runs wild must not fill the store that all share.
//!
//! Events are bounded by their number: a burst, then one a second. With their size and the hour that they live, that
//! bounds what a host's Events take. What a host writes into a status is bounded by its size.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;

use super::admission::{Admission, ChangeRequest};
use super::identity::HOSTS;
use crate::failure::{Failure, Subject};

/// Events at once, and the time after which another may follow.
const EVENTS: u32 = 1000;
const EVENT_EVERY: Duration = Duration::from_secs(1);
/// The largest entry of a host in `status.hosts`, and the largest status of what is bound to a host, as JSON.
const ENTRY: usize = 16 << 10;
const STATUS: usize = 64 << 10;

/// Bounds the changes of hosts, by the host's name.
#[derive(Default)]
pub(crate) struct HostBounds {
    events: Mutex<HashMap<String, Bucket>>,
}

impl Admission for HostBounds {
    fn admit(&self, request: &ChangeRequest<'_>) -> Result<(), Failure> {
        let ChangeRequest { identity, action, new, .. } = request;
        let Some(new) = new.filter(|_| identity.is_in(HOSTS)) else { return Ok(()) };
        let subject = Subject { group: action.group, resource: action.resource };
        let name = action.name.unwrap_or_default();
        if action.resource == "events" && matches!(action.group, "" | "events.k8s.io") {
            let now = Instant::now();
            let mut events = self.events.lock();
            let bucket = events.entry(identity.name.clone()).or_insert_with(|| Bucket::full(now));
            return if bucket.take(now) { Ok(()) } else { Err(Failure::too_many_requests(EVENT_EVERY)) };
        }
        if action.subresource == "status"
            && let Some(why) = too_large(&identity.name, &new["status"])
        {
            return Err(Failure::forbidden(subject, name, &why));
        }
        Ok(())
    }
}

/// Why a host may not write this status.
fn too_large(host: &str, status: &Value) -> Option<String> {
    let size = |value: &Value| value.to_string().len();
    let entry = match &status["hosts"] {
        Value::Array(hosts) => hosts.iter().find(|entry| entry["name"] == host)?,
        _ => {
            let size = size(status);
            return (size > STATUS).then(|| format!("this status has {size} bytes, a host may write {STATUS}"));
        }
    };
    let size = size(entry);
    (size > ENTRY).then(|| format!("the host's entry of status.hosts has {size} bytes, it may have {ENTRY}"))
}

/// What may still be done at once; refilled by time.
struct Bucket {
    left: u32,
    refilled: Instant,
}

impl Bucket {
    fn full(now: Instant) -> Self {
        Self { left: EVENTS, refilled: now }
    }

    /// Takes one, if there is one.
    fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.refilled).as_nanos() / EVENT_EVERY.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed >= EVENTS {
            *self = Self::full(now);
        } else {
            self.left = self.left.saturating_add(passed).min(EVENTS);
            self.refilled += EVENT_EVERY * passed;
        }
        let is_left = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_left
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::authorize::Action;
    use super::super::identity::Identity;
    use super::*;

    fn write(
        bounds: &HostBounds,
        who: &Identity,
        resource: &str,
        subresource: &str,
        new: &Value,
    ) -> Result<(), Failure> {
        let group = if resource == "events" { "" } else { "nubium.dev" };
        let action = Action { verb: "patch", group, resource, subresource, namespace: "shop", name: Some("x") };
        bounds.admit(&ChangeRequest { identity: who, action, old: None, new: Some(new) })
    }

    #[test]
    fn a_hosts_events_end_with_its_burst_and_nobody_elses_do() {
        let (bounds, wild) = (HostBounds::default(), Identity::host("wild"));
        let event = |who: &Identity| write(&bounds, who, "events", "", &json!({}));
        let taken = (0..EVENTS + 500).filter(|_| event(&wild).is_ok()).count();
        assert!((EVENTS as usize..EVENTS as usize + 100).contains(&taken), "{taken}");
        assert_eq!(event(&wild).unwrap_err().code(), 429);
        assert!(event(&Identity::host("calm")).is_ok() && event(&Identity::admin("a")).is_ok());
    }

    #[test]
    fn a_bucket_is_refilled_by_time_and_never_beyond_its_size() {
        let start = Instant::now();
        let mut bucket = Bucket::full(start);
        assert!((0..EVENTS).all(|_| bucket.take(start)) && !bucket.take(start));
        let later = start + EVENT_EVERY * 2 + EVENT_EVERY / 2;
        assert!(bucket.take(later) && bucket.take(later) && !bucket.take(later));
        assert!(bucket.take(start + EVENT_EVERY * 3), "the half second was not lost");
        let much_later = start + Duration::from_secs(1 << 40);
        assert_eq!((0..2 * EVENTS).filter(|_| bucket.take(much_later)).count(), EVENTS as usize);
    }

    #[test]
    fn a_hosts_part_of_a_status_is_bounded_and_an_admins_is_not() {
        let (bounds, host) = (HostBounds::default(), Identity::host("rack-1"));
        let network = |length: usize| json!({"status": {"hosts": [{"name": "rack-1", "message": "m".repeat(length)}]}});
        assert!(write(&bounds, &host, "networks", "status", &network(ENTRY / 2)).is_ok());
        assert_eq!(write(&bounds, &host, "networks", "status", &network(ENTRY)).unwrap_err().code(), 403);
        assert!(write(&bounds, &Identity::admin("a"), "networks", "status", &network(ENTRY)).is_ok());
        let other = json!({"status": {"hosts": [{"name": "rack-2", "message": "m".repeat(ENTRY)}]}});
        assert!(write(&bounds, &host, "networks", "status", &other).is_ok(), "that is another host's");
        let server = json!({"status": {"conditions": [{"message": "m".repeat(STATUS)}]}});
        assert!(write(&bounds, &host, "servers", "status", &server).is_err());
    }
}
