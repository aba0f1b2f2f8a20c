//! Documents that were made already, each with its hash.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;

use crate::http::etag::hash;

/// A document and its hash.
#[derive(Debug)]
pub(crate) struct Document {
    pub hash: String,
    pub bytes: Bytes,
}

impl Document {
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let hash = hash(&bytes);
        Self { hash, bytes }
    }
}

/// The documents of a snapshot. Made when first asked for.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    /// By path.
    pub v3: OnceLock<BTreeMap<String, Document>>,
    pub v2_json: OnceLock<Document>,
    pub v2_protobuf: OnceLock<Document>,
}
