//! Reading one object.

use http::StatusCode;

use super::revision::{at_least, parse_revision};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;

/// `GET` of an object, or of its `status`.
pub(crate) async fn get(call: &Call, kind: &Kind) -> Result<Reply, Failure> {
    let target = &call.target;
    let wanted = parse_revision(&call.options.resource_version).map_err(|error| Failure::failed(error.to_string()))?;
    at_least(&call.state.store, wanted).await?;
    let got = call.state.store.get(&kind.key(&target.namespace, &target.name)).await?;
    let object = got.object.ok_or_else(|| Failure::not_found(kind.subject(), &target.name))?;
    call.shape(kind)?.reply_stored(StatusCode::OK, &object)
}
