//! What can go wrong in a store.

use std::io;

use crate::Revision;

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// History at this revision was compacted away: start again from a fresh list.
    #[error("revision {requested} has been compacted (history starts at {compacted})")]
    Compacted { requested: Revision, compacted: Revision },
    /// The revision has not happened yet.
    #[error("revision {requested} is larger than the current {current}")]
    Future { requested: Revision, current: Revision },
    /// The file or the folder around it could not be used.
    #[error("cannot use the store file {path}")]
    File { path: String, source: io::Error },
    /// Another process has the store open.
    #[error("the store {path} is in use by another process")]
    Locked { path: String },
    /// The database refused a statement; after a failed write nothing of it was kept.
    #[error("the store's database failed to {action}")]
    Database { action: &'static str, source: rusqlite::Error },
    /// The file was written by a newer version of this program.
    #[error("the store has format {found}, this program knows {known}")]
    Format { found: i64, known: i64 },
    /// A write failed together with others that were grouped with it; it was not kept.
    #[error("the write was not kept: {reason}")]
    NotKept { reason: String },
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}
