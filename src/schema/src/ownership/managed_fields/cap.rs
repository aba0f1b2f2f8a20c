//! Keeping the number of updating managers small.

use std::collections::BTreeMap;

use super::{Identity, Operation, entry::Managed, times::seconds};

const MOST_UPDATERS: usize = 10;

/// Joins the oldest updating managers into one per version when there are more than ten.
pub(super) fn cap_updaters(managed: &mut Managed) {
    let updaters = managed.owners.iter().filter(|(_, owned)| !owned.applied).map(|(identity, _)| identity.clone());
    let mut updaters: Vec<_> = updaters.collect();
    updaters
        .sort_by_cached_key(|identity| (managed.times.get(identity).map_or(0, |time| seconds(time)), identity.clone()));
    let mut count = updaters.len();
    let mut first_of_version = BTreeMap::new();
    for updater in updaters {
        if count <= MOST_UPDATERS {
            return;
        }
        let version = managed.owners[&updater].version.clone();
        let bucket = Identity {
            manager: "ancient-changes".to_owned(),
            operation: Operation::Update,
            api_version: version.clone(),
            subresource: String::new(),
        };
        let Some(first) = first_of_version.get(&version) else {
            first_of_version.insert(version, updater);
            continue;
        };
        if !managed.owners.contains_key(&bucket)
            && let Some(owned) = managed.owners.remove(first)
        {
            managed.owners.insert(bucket.clone(), owned);
        }
        if let (Some(joined), Some(bucket)) = (managed.owners.remove(&updater), managed.owners.get_mut(&bucket)) {
            bucket.set = bucket.set.union(&joined.set);
        }
        count -= 1;
        // The time of what was joined last: the most recent.
        if let Some(time) = managed.times.get(&updater).cloned() {
            managed.times.insert(bucket, time);
        }
    }
}
