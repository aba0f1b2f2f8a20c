//! Flavor: a size is Ready when it can be read. It may be deleted while Servers have it: the size in force is theirs.

use std::sync::Arc;

use kube::Api;
use nubium_api::{Flavor, FlavorStatus, Kind as _};
use nubium_runtime::{Key, Loop, Next, Queue, StatusWriter, apply_status};

use crate::{
    error::{Error, calling},
    pass,
    users::terminating,
    verdict::{Verdict, writer},
    world::{Controlled, World},
};

const OWNER: StatusWriter<'_> = writer(&Flavor::CONTROLLER);

impl Controlled for Flavor {
    async fn run(world: Arc<World>) {
        let queue = Queue::new();
        world.flavors.feed_own(&queue);
        let settings = Loop { name: "flavor", workers: 2, resync: None };
        pass::run::<Self, _, _>(world.clone(), settings, queue, move |key| reconcile(world.clone(), key)).await;
    }
}

async fn reconcile(world: Arc<World>, key: Key) -> Result<Next, Error> {
    let Some(flavor) = world.flavors.get(&key) else { return Ok(Next::Gone) };
    if terminating(flavor.as_ref()) {
        return Ok(Next::Settled);
    }
    let generation = flavor.metadata.generation;
    let conditions = verdict(&flavor).conditions(generation);
    let api: Api<Flavor> = Api::all(world.client.clone());
    let status = FlavorStatus { observed_generation: generation, conditions };
    apply_status(&api, &flavor, &OWNER, &status).await.map_err(calling::<Flavor>("write the status of", &key))?;
    Ok(Next::Settled)
}

fn verdict(flavor: &Flavor) -> Verdict {
    match (flavor.spec.cpu.count(), flavor.spec.memory.bytes()) {
        (Ok(_), Ok(_)) => Verdict::ready("Available", "Servers can use it"),
        (Err(error), _) | (_, Err(error)) => Verdict::stalled("InvalidSize", error.to_string()),
    }
}
