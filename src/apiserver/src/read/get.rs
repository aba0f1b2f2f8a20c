//! Reading one object.

use std::sync::Arc;

use http::StatusCode;

use super::revision::{at_least, parse_revision};
use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;

/// `GET` of an object, or of its `status`.
pub(crate) async fn get(call: &Arc<Call>, kind: &Arc<Kind>) -> Result<Reply, Failure> {
    let wanted = parse_revision(&call.options.resource_version).map_err(|error| Failure::failed(error.to_string()))?;
    at_least(&call.state.store, wanted).await?;
    let object = call.stored(kind).await?;
    let object = object.ok_or_else(|| Failure::not_found(kind.subject(), &call.target.name))?;
    let cost = call.shape(kind)?.cost(&object);
    call.compute(kind, cost, move |call, kind| call.shape(kind)?.reply_stored(StatusCode::OK, &object)).await
}
