//! Which of a Kubernetes API server's refusals this is.

use kube::{Error, core::Status};

fn is(error: &Error, code: u16, reason: &str) -> bool {
    matches!(error, Error::Api(status) if status.code == code && (status.reason == reason || status.reason.is_empty()))
}

/// The object changed since it was read, or is not the one that was meant (another UID): look again, then decide again.
pub fn conflict(error: &Error) -> bool {
    is(error, 409, "Conflict")
}

/// A conflict of our own making, for what only the answer shows: the pass waits for the next event.
pub fn conflicting(why: &str) -> Error {
    Error::Api(Status::failure(why, "Conflict").with_code(409).boxed())
}

/// The name is taken.
pub fn already_exists(error: &Error) -> bool {
    matches!(error, Error::Api(status) if status.code == 409 && status.reason == "AlreadyExists")
}

/// The API server does not take it, and will not when it is asked again: it is malformed, not allowed, or invalid.
pub fn refused(error: &Error) -> bool {
    matches!(error, Error::Api(status) if matches!(status.code, 400 | 403 | 413 | 422))
}

/// There is no such object.
pub fn not_found(error: &Error) -> bool {
    is(error, 404, "NotFound")
}

/// Not allowed; also what a create in a namespace that is being deleted answers.
pub fn forbidden(error: &Error) -> bool {
    is(error, 403, "Forbidden")
}
