//! Carries out a plan: one call a step, no decisions.

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api, Resource, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use nubium_api::{
    Port, Server, Volume,
    contract::{self, SEED_TYPE, seed_name},
    host_namespace,
};
use nubium_runtime::{
    Key, Live, add_finalizer, already_exists, conflicting, has_finalizer, live_get, not_found, remove_finalizer,
};

use serde_json::json;

use super::{
    gather::digest_of,
    plan::{Plan, Step},
    seed,
};
use crate::{
    error::{Error, calling},
    world::{World, of_uid},
};

/// What was done, as far as it is remembered.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// The seed is in the host's namespace, rendered from the cloudInit of this digest.
    pub seeded: Option<Option<String>>,
}

pub(super) async fn apply(world: &World, server: &Server, plan: &Plan) -> Result<Outcome, Error> {
    let mut outcome = Outcome::default();
    for stage in &plan.stages {
        for done in join_all(stage.iter().map(|step| take(world, server, step))).await {
            if let Some(digest) = done? {
                outcome.seeded = Some(digest);
            }
        }
    }
    Ok(outcome)
}

/// Gives, of a seed, the digest that is recorded with it.
async fn take(world: &World, server: &Server, step: &Step) -> Result<Option<Option<String>>, Error> {
    let key = Key::of(server);
    let done = match step {
        Step::CreateSeed { host, files } => return create_seed(world, server, host, files).await.map(Some),
        Step::Hold => {
            let held = add_finalizer(&world.api::<Server>(&key), server, Server::FINALIZER).await;
            held.map(drop).map_err(calling::<Server>("add the finalizer to", &key))
        }
        Step::Confirm => confirm(world, server).await.map_err(calling::<Server>("confirm", &key)),
        Step::CreateVolume(volume) => create::<Volume>(world, volume).await,
        Step::CreatePort(port) => create::<Port>(world, port).await,
        Step::DeleteVolume { key, uid } => world.delete::<Volume>(key, of_uid(Some(uid.clone()))).await,
        Step::DeletePort { key, uid } => world.delete::<Port>(key, of_uid(Some(uid.clone()))).await,
        Step::RecordOrphan => {
            let recorded = annotate::<Server>(world, &key, server.uid().unwrap_or_default(), server).await;
            recorded.map_err(calling::<Server>("record the deletion policy of", &key))
        }
        Step::KeepVolume { key, uid } => {
            let kept = annotate::<Volume>(world, key, uid.clone(), server).await;
            kept.map_err(calling::<Volume>("record the owner's deletion policy on", key))
        }
        Step::DeleteSeed { host } => {
            let name = seed_name(&server.uid().unwrap_or_default());
            world.delete::<Secret>(&Key::new(host_namespace(host), name), None).await
        }
        Step::LetGo => {
            let gone = remove_finalizer(&world.api::<Server>(&key), server, Server::FINALIZER).await;
            gone.map(drop).map_err(calling::<Server>("remove the finalizer from", &key))
        }
    };
    done.map(|()| None)
}

/// Writes on an object of that UID that the Server leaves behind what it made.
async fn annotate<K>(world: &World, key: &Key, uid: String, server: &Server) -> Result<(), kube::Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope> + Clone + std::fmt::Debug,
    K: serde::de::DeserializeOwned,
{
    let annotations = json!({ contract::ORPHANED: server.uid() });
    let patch = Patch::Merge(json!({"metadata": {"uid": uid, "annotations": annotations}}));
    let written = world.api::<K>(key).patch_metadata(&key.name, &PatchParams::default(), &patch).await;
    match written {
        // Its owner has deleted it meanwhile.
        Err(error) if not_found(&error) => Ok(()),
        written => written.map(drop),
    }
}

/// A conflict if the Server is not, now, what the cache says: then a newer version is on its way.
async fn confirm(world: &World, server: &Server) -> Result<(), kube::Error> {
    let api = world.api::<Server>(&Key::of(server));
    match live_get(&api, &server.name_any(), &server.uid().unwrap_or_default()).await? {
        Live::Wanted(live)
            if has_finalizer(live.as_ref(), Server::FINALIZER)
                && live.metadata.generation == server.metadata.generation =>
        {
            Ok(())
        }
        Live::Wanted(_) | Live::Marked(_) | Live::Gone(_) => Err(conflicting("the Server changed, or is going")),
    }
}

async fn create<K>(world: &World, object: &K) -> Result<(), Error>
where
    K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::Serialize
        + serde::de::DeserializeOwned,
{
    let key = Key::of(object);
    let made = world.api::<K>(&key).create(&PostParams::default(), object).await;
    made.map(drop).map_err(calling::<K>("create", &key))
}

/// Creates the seed; the host's namespace too, where this is the first. A seed of this UID that is there is this one.
async fn create_seed(
    world: &World,
    server: &Server,
    host: &str,
    files: &std::collections::BTreeMap<String, k8s_openapi::ByteString>,
) -> Result<Option<String>, Error> {
    let digest = seed::digest(server);
    let key = Key::new(host_namespace(host), seed_name(&server.uid().unwrap_or_default()));
    let mut secret = Secret { type_: Some(SEED_TYPE.to_owned()), data: Some(files.clone()), ..Secret::default() };
    secret.metadata.name = Some(key.name.clone());
    secret.metadata.namespace = Some(key.namespace.clone());
    secret.metadata.labels = Some(std::collections::BTreeMap::from([
        ("nubium.dev/namespace".to_owned(), server.namespace().unwrap_or_default()),
        ("nubium.dev/server".to_owned(), server.name_any()),
    ]));
    secret.metadata.annotations = Some([(contract::SEED_DIGEST.to_owned(), digest.clone())].into());
    secret.immutable = Some(true);
    let secrets: Api<Secret> = world.api(&key);
    let mut made = secrets.create(&PostParams::default(), &secret).await;
    if made.as_ref().is_err_and(not_found) {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(key.namespace.clone());
        let namespaces: Api<Namespace> = Api::all(world.client.clone());
        match namespaces.create(&PostParams::default(), &namespace).await {
            Ok(_) => {}
            Err(error) if already_exists(&error) => {}
            Err(error) => return Err(calling::<Namespace>("create", &Key::cluster(key.namespace))(error)),
        }
        made = secrets.create(&PostParams::default(), &secret).await;
    }
    match made {
        Ok(_) => Ok(Some(digest)),
        Err(error) if already_exists(&error) => {
            let found = secrets.get(&key.name).await.map_err(calling::<Secret>("get", &key))?;
            Ok(digest_of(&found))
        }
        Err(error) => Err(calling::<Secret>("create", &key)(error)),
    }
}
