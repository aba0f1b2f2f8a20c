//! What netd says back: which revision of the file it serves, and where it cannot.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::{ConfigError, read_json, write_json};

/// Written after every reading of the file, and whenever a namespace was gained or lost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The process that wrote it; another one's words count for nothing.
    pub pid: u32,
    /// The revision in force. No socket is held in a namespace that this revision does not name.
    pub revision: u64,
    pub networks: Vec<Served>,
}

/// One Network of that revision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Served {
    pub namespace: String,
    /// The kernel's number of the namespace in which netd listens; `None` while it cannot.
    pub inode: Option<u64>,
    /// Why it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Status {
    pub fn read(path: &Path) -> Result<Option<Self>, ConfigError> {
        read_json(path)
    }

    pub(crate) fn write(&self, path: &Path) -> Result<(), ConfigError> {
        write_json(path, self)
    }
}
