//! Objects: the bytes that are stored and sent, and the tree that lives while a request changes one.
//!
//! Bytes are the master form. An object is stored as JSON that begins `{"apiVersion":…,"kind":…,"metadata":{` and never
//! holds its resourceVersion, because that is the number of the write which stores it. Reading puts it in with a copy.

pub(crate) mod encode;
pub(crate) mod meta;
pub(crate) mod projection;
pub(crate) mod scan;

pub(crate) use encode::{decode, encode};
pub(crate) use meta::timestamp;
