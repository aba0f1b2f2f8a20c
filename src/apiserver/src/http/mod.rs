//! From bytes on a connection to a request of the API, and back.

pub(crate) mod body;
pub(crate) mod etag;
mod go_duration;
pub(crate) mod media;
pub(crate) mod options;
pub(crate) mod pki;
pub(crate) mod reply;
pub(crate) mod serve;
pub(crate) mod service;
pub(crate) mod target;
