//! The heartbeat: a Lease that is renewed while the agent runs. When it is not, the host's controller says Unknown.
//!
//! It vouches for the statuses of the host's Servers, so it begins when all of them were reported. A Lease that has no
//! holder says at once what its silence would say later: nobody here vouches for anything.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, Patch, PatchParams, PostParams};
use kube::{Api, Client};
use nubium_api::HOSTS_NAMESPACE;
use nubium_runtime::{Chain, Key, WarnOnce, not_found};
use serde_json::json;

use crate::server::StartupReports;

/// A Lease is renewed this often, and counts as given up after four times as long.
const PERIOD: Duration = Duration::from_secs(10);
const AGAIN: Duration = Duration::from_secs(1);

/// Renews the Lease of `host`, from when all Servers were reported until dropped.
pub async fn beat(client: Client, host: String, reports: StartupReports) {
    reports.none_left().await;
    let leases: Api<Lease> = Api::namespaced(client, HOSTS_NAMESPACE);
    let (key, warnings) = (Key::new(HOSTS_NAMESPACE, host.clone()), WarnOnce::default());
    loop {
        let failed = renew(&leases, &host, Timestamp::now()).await.err();
        let pause = if failed.is_some() { AGAIN } else { PERIOD };
        let failed = failed.map(|error| format!("cannot renew this host's Lease: {}", Chain(&error)));
        warnings.log(&key, failed.as_deref());
        tokio::time::sleep(pause).await;
    }
}

/// Gives the Lease of `host` up, if there is one; tries until it is done.
pub async fn release(client: Client, host: &str) {
    let leases: Api<Lease> = Api::namespaced(client, HOSTS_NAMESPACE);
    let nobody = Patch::Merge(json!({"spec": {"holderIdentity": null}}));
    let (key, warnings) = (Key::new(HOSTS_NAMESPACE, host), WarnOnce::default());
    while let Err(error) = leases.patch(host, &PatchParams::default(), &nobody).await {
        if not_found(&error) {
            return;
        }
        warnings.log(&key, Some(&format!("cannot give up this host's Lease: {}", Chain(&error))));
        tokio::time::sleep(AGAIN).await;
    }
}

async fn renew(leases: &Api<Lease>, host: &str, now: Timestamp) -> Result<(), kube::Error> {
    let renewal = json!({"spec": {"holderIdentity": host, "renewTime": MicroTime(now)}});
    match leases.patch(host, &PatchParams::default(), &Patch::Merge(&renewal)).await {
        Err(error) if not_found(&error) => {
            let lease = Lease {
                metadata: ObjectMeta { name: Some(host.to_owned()), ..Default::default() },
                spec: Some(LeaseSpec {
                    holder_identity: Some(host.to_owned()),
                    lease_duration_seconds: Some(PERIOD.as_secs() as i32 * 4),
                    acquire_time: Some(MicroTime(now)),
                    renew_time: Some(MicroTime(now)),
                    ..Default::default()
                }),
            };
            leases.create(&PostParams::default(), &lease).await.map(drop)
        }
        renewed => renewed.map(drop),
    }
}
