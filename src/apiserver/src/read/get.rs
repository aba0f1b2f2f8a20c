//! Reading one object.

use http::StatusCode;

use crate::call::Call;
use crate::failure::Failure;
use crate::http::reply::Reply;
use crate::kind::Kind;

/// `GET` of an object, or of its `status`.
pub(crate) async fn get(call: &Call, kind: &Kind) -> Result<Reply, Failure> {
    let target = &call.target;
    let got = call.state.store.get(&kind.key(&target.namespace, &target.name)).await?;
    if let Ok(wanted) = call.options.resource_version.parse::<u64>() && wanted > got.revision {
        return Err(Failure::revision_too_large(wanted, got.revision));
    }
    let object = got.object.ok_or_else(|| Failure::not_found(kind.subject(), &target.name))?;
    call.shape(kind)?.reply_stored(StatusCode::OK, &object)
}
