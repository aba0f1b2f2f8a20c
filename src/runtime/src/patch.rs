//! A patch whose answer is read for its metadata only: that the object now holds something which cannot be decoded does
//! not make a failure of a patch that was carried out.

use kube::{
    Api, Error, Resource,
    api::{ObjectMeta, Patch, PatchParams, Request},
};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Answer {
    metadata: ObjectMeta,
}

/// Patches the object `name`, or that subresource of it. Gives the metadata as they are now.
pub(crate) async fn patch<K: Resource + Clone, P: Serialize>(
    api: &Api<K>,
    name: &str,
    subresource: Option<&str>,
    params: &PatchParams,
    patch: &Patch<P>,
) -> Result<ObjectMeta, Error> {
    let request = Request::new(api.resource_url());
    let request = match subresource {
        Some(subresource) => request.patch_subresource(subresource, name, params, patch),
        None => request.patch(name, params, patch),
    };
    let answer: Answer = api.clone().into_client().request(request.map_err(Error::BuildRequest)?).await?;
    Ok(answer.metadata)
}
