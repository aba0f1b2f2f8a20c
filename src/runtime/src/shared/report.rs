//! Says of an object that cannot be decoded that it is so: on the object itself, and by an Event.
//!
//! Nothing else can: every controller reads objects by their Rust type. The patch is untyped, and its manager is nobody
//! else's, so that the kind's own controller takes `Ready` over again as soon as the object can be read.

use std::{fmt::Debug, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp};
use kube::{
    Client, Resource,
    api::{Patch, PatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{State, item::Unreadable, items_of};
use crate::{Key, Loop, Next, Note, NoteKind, Recorder, not_found, run};

const MANAGER: &str = "nubium-reader";
const REASON: &str = "Unreadable";
const LONGEST_ERROR: usize = 1024;

/// Runs until aborted.
pub(super) async fn run_reports<K>(client: Client, recorder: Recorder, state: Arc<State<K>>)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let settings = Loop { name: "unreadable", workers: 2, resync: Some(Duration::from_secs(600)) };
    let news = state.news.clone();
    run(settings, news, move |key| report(client.clone(), recorder.clone(), state.clone(), key)).await;
}

async fn report<K>(client: Client, recorder: Recorder, state: Arc<State<K>>, key: Key) -> Result<Next, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let Some(object) = state.unreadable.lock().get(&key).cloned() else { return Ok(Next::Gone) };
    let message = message(&object);
    if is_said(object.ready.as_ref(), &object, &message) {
        return Ok(Next::Settled);
    }
    recorder.note(Note {
        regarding: reference::<K>(&object),
        kind: NoteKind::Warning,
        reason: REASON.to_owned(),
        action: "Read".to_owned(),
        text: message.clone(),
    });
    let body = json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "metadata": {"name": object.metadata.name, "uid": object.metadata.uid},
        "status": {"conditions": [{
            "type": "Ready",
            "status": "False",
            "reason": REASON,
            "message": message,
            "observedGeneration": object.metadata.generation,
            "lastTransitionTime": Time(Timestamp::now()),
        }]},
    });
    let params = PatchParams::apply(MANAGER).force();
    let api = items_of::<K>(client, &key.namespace);
    match api.patch_status(&key.name, &params, &Patch::Apply(&body)).await {
        // Gone, or a kind without a status: the Event has said it.
        Err(error) if not_found(&error) => Ok(Next::Settled),
        Err(error) => Err(error),
        Ok(_) => Ok(Next::Settled),
    }
}

fn message(object: &Unreadable) -> String {
    let mut error = object.error.clone();
    if let Some((cut, _)) = error.char_indices().nth(LONGEST_ERROR) {
        error.truncate(cut);
    }
    format!("this version of Nubium cannot read it, and leaves it as it is until that is corrected: {error}")
}

/// Whether its `Ready` says so already.
fn is_said(ready: Option<&Value>, object: &Unreadable, message: &str) -> bool {
    ready.is_some_and(|ready| {
        ready["reason"] == REASON
            && ready["message"] == message
            && ready["observedGeneration"].as_i64() == object.metadata.generation
    })
}

fn reference<K: Resource<DynamicType = ()>>(object: &Unreadable) -> ObjectReference {
    ObjectReference {
        api_version: Some(K::api_version(&()).into_owned()),
        kind: Some(K::kind(&()).into_owned()),
        name: object.metadata.name.clone(),
        namespace: object.metadata.namespace.clone(),
        uid: object.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
