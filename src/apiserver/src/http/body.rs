//! Bodies: reading one within its limit, and the form that answers are sent in.

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::BoxStream;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};

use crate::failure::Failure;

/// The largest request body, as kube-apiserver's.
pub(crate) const LIMIT: usize = 3 << 20;

/// How much of a body that is too large is still read, so that its sender comes to read the answer.
const DISCARDED: usize = 64 << 20;

/// Any error that a body may end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body that is there already.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that comes piece by piece.
pub(crate) fn streamed(pieces: BoxStream<'static, Bytes>) -> Body {
    StreamBody::new(pieces.map(|bytes| Ok(Frame::data(bytes)))).boxed_unsync()
}

/// Reads a request's body, up to [`LIMIT`].
pub(crate) async fn read<B>(body: B) -> Result<Bytes, Failure>
where
    B: http_body::Body,
    B::Error: Into<BoxError>,
{
    let mut body = std::pin::pin!(body);
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    let mut discarded = 0;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let error: BoxError = error.into();
            Failure::bad_request(format!("the body could not be read: {error}"))
        })?;
        let Ok(mut data) = frame.into_data() else { continue };
        let length = bytes::Buf::remaining(&data);
        let data = bytes::Buf::copy_to_bytes(&mut data, length);
        let held = first.as_ref().map_or(0, Bytes::len) + rest.len();
        if discarded > 0 || held + data.len() > LIMIT {
            discarded += data.len();
            if discarded > DISCARDED {
                break;
            }
            continue;
        }
        match first {
            None => first = Some(data),
            Some(_) => rest.extend_from_slice(&data),
        }
    }
    if discarded > 0 {
        return Err(Failure::too_large(LIMIT));
    }
    let first = first.unwrap_or_default();
    if rest.is_empty() {
        return Ok(first);
    }
    let mut all = BytesMut::with_capacity(first.len() + rest.len());
    all.extend_from_slice(&first);
    all.extend_from_slice(&rest);
    Ok(all.freeze())
}
