//! The range of a Network that gives no cidr: a /24 that no other Network has, taken by creating the AddressRange of that
//! name. A Network keeps what it got for as long as it exists.

use std::sync::Arc;

use ipnet::Ipv4Net;
use kube::{Api, ResourceExt, api::PostParams};
use nubium_api::{AddressRange, AddressRangeSpec, CLOUD_SETTINGS, Network, address_range_name};
use nubium_runtime::{Key, already_exists};

use crate::{
    error::{Error, calling},
    users::terminating,
    verdict::Verdict,
    world::{World, by, of_uid},
};

/// The size of what is taken.
const PREFIX: u8 = 24;

/// What is known of the range.
pub(super) enum Taking {
    Has(String),
    /// Somebody else was faster: look again.
    Again,
    /// There is none for it.
    NoRange(Verdict),
}

/// The range that is held for it, taken if there is none yet.
pub(super) async fn take(world: &World, network: &Network, given: Option<String>) -> Result<Taking, Error> {
    let uid = network.uid().unwrap_or_default();
    let claims = world.ranges.by(by::NETWORK_UID, &uid);
    let range: Ipv4Net = match given.as_deref().or(held(&claims)).map(str::parse) {
        Some(Ok(range)) => range,
        _ => {
            let Some(settings) = world.settings.get(&Key::cluster(CLOUD_SETTINGS)) else {
                let message =
                    format!("waits for CloudSettings {CLOUD_SETTINGS}, which says of what its range is taken");
                return Ok(Taking::NoRange(Verdict::working("CloudSettingsNotFound", message)));
            };
            let allowed = settings.spec.networks.allocation_ranges();
            match free(&allowed, &taken(world)) {
                Some(range) => range,
                None => return Ok(Taking::NoRange(exhausted(&allowed))),
            }
        }
    };
    let text = range.to_string();
    if claims.iter().any(|claim| claim.spec.cidr == text && !terminating(claim.as_ref())) {
        return Ok(Taking::Has(text));
    }
    let is_new = create(world, network, range).await?;
    Ok(if is_new || given.is_some() { Taking::Has(text) } else { Taking::Again })
}

/// Gives back what it holds beyond the range that was given: a controller that was cut off had taken one, and the next one
/// another before it could see it.
pub(super) async fn give_back_surplus(world: &World, network: &Network, given: &str) -> Result<(), Error> {
    let claims = world.ranges.by(by::NETWORK_UID, &network.uid().unwrap_or_default());
    for claim in claims.iter().filter(|claim| claim.spec.cidr != given && !terminating(claim.as_ref())) {
        world.delete::<AddressRange>(&Key::of(claim.as_ref()), of_uid(claim.uid())).await?;
    }
    Ok(())
}

fn held(claims: &[Arc<AddressRange>]) -> Option<&str> {
    claims.iter().filter(|claim| !terminating(claim.as_ref())).map(|claim| claim.spec.cidr.as_str()).min()
}

/// Every range that a Network has or is taking.
fn taken(world: &World) -> Vec<Ipv4Net> {
    let claimed = world.ranges.list();
    let networks = world.networks.list();
    let given = networks.iter().filter_map(|network| network.subnet().cidr);
    claimed.iter().map(|claim| claim.spec.cidr.clone()).chain(given).filter_map(|cidr| cidr.parse().ok()).collect()
}

/// The first part of the allowed ranges that overlaps with nothing that is taken.
fn free(allowed: &[Ipv4Net], taken: &[Ipv4Net]) -> Option<Ipv4Net> {
    let overlaps = |one: &Ipv4Net, other: &Ipv4Net| one.contains(other) || other.contains(one);
    let parts = allowed.iter().filter_map(|range| range.trunc().subnets(PREFIX).ok()).flatten();
    parts.into_iter().find(|part| !taken.iter().any(|other| overlaps(part, other)))
}

fn exhausted(allowed: &[Ipv4Net]) -> Verdict {
    let allowed: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    let message = format!(
        "no /{PREFIX} is left of spec.networks.allocateFrom of CloudSettings {CLOUD_SETTINGS} ({}): make the Network with a cidr, \
         or let the cloud's admin add a range there",
        allowed.join(", ")
    );
    Verdict::working("RangesExhausted", message)
}

/// Whether the claim is this Network's: created now, or by a create whose answer never came.
async fn create(world: &World, network: &Network, range: Ipv4Net) -> Result<bool, Error> {
    let key = Key::cluster(address_range_name(range));
    let spec = AddressRangeSpec {
        cidr: range.to_string(),
        namespace: network.namespace().unwrap_or_default(),
        network: network.name_any(),
        network_uid: network.uid().unwrap_or_default(),
    };
    let mut claim = AddressRange::new(&key.name, spec);
    claim.metadata.finalizers = Some(vec![AddressRange::FINALIZER.to_owned()]);
    let api: Api<AddressRange> = Api::all(world.client.clone());
    match api.create(&PostParams::default(), &claim).await {
        Ok(_) => Ok(true),
        Err(error) if already_exists(&error) => {
            let there = api.get_opt(&key.name).await.map_err(calling::<AddressRange>("read", &key))?;
            Ok(there.is_some_and(|there| there.spec == claim.spec && !terminating(&there)))
        }
        Err(error) => Err(calling::<AddressRange>("create", &key)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(all: &[&str]) -> Vec<Ipv4Net> {
        all.iter().map(|net| net.parse().unwrap()).collect()
    }

    #[test]
    fn the_first_part_that_overlaps_with_nothing_is_taken() {
        let first = |allowed: &[&str], taken: &[&str]| free(&nets(allowed), &nets(taken)).map(|net| net.to_string());
        let cloud = ["10.77.0.0/16"];
        assert_eq!(first(&cloud, &[]).as_deref(), Some("10.77.0.0/24"));
        assert_eq!(first(&cloud, &["10.77.0.0/24", "10.77.1.128/25"]).as_deref(), Some("10.77.2.0/24"));
        assert_eq!(first(&cloud, &["10.77.0.0/17"]).as_deref(), Some("10.77.128.0/24"));
        assert_eq!(first(&cloud, &["10.0.0.0/8"]), None);
        assert_eq!(first(&["10.1.0.0/24", "10.2.0.0/23"], &["10.1.0.0/24"]).as_deref(), Some("10.2.0.0/24"));
        assert_eq!(first(&["10.1.0.0/25"], &[]), None, "too small for one");
        assert_eq!(first(&[], &[]), None);
    }
}
