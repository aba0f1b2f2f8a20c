//! What can go wrong in a store.

use std::io;

use crate::Revision;

/// Why a store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// History at this revision was compacted away: start again from a fresh list.
    #[error("revision {requested} has been compacted (history starts at {compacted})")]
    Compacted {
        /// The revision that was asked for.
        requested: Revision,
        /// The oldest that can be read.
        compacted: Revision,
    },
    /// The revision has not happened yet.
    #[error("revision {requested} is larger than the current {current}")]
    Future {
        /// The revision that was asked for.
        requested: Revision,
        /// The newest there is.
        current: Revision,
    },
    /// The file or the folder around it could not be used.
    #[error("cannot use the store file {path}")]
    File {
        /// Which file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Another process has the store open.
    #[error("the store {path} is in use by another process")]
    Locked {
        /// Which store.
        path: String,
    },
    /// The database refused a statement; after a failed write nothing of it was kept.
    #[error("the store's database failed to {action}")]
    Database {
        /// What it should have done.
        action: &'static str,
        /// Its answer.
        source: rusqlite::Error,
    },
    /// The file was written by a newer version of this program.
    #[error("the store has format {found}, this program knows {known}")]
    Format {
        /// The file's format.
        found: i64,
        /// The newest that this program reads.
        known: i64,
    },
    /// The file cannot be read as a database any more.
    #[error(
        "the store {path} is damaged ({what}): put back a copy of it, or move it away and apply your objects again; \
         guests and disks stay as they are (README, \"A damaged store\")"
    )]
    Damaged {
        /// Which store.
        path: String,
        /// What SQLite found.
        what: String,
    },
    /// Some objects do not have the bytes that were written.
    #[error(
        "the store {path} is damaged in {}: put back a copy of it, or start once with --drop-damaged and apply these \
         objects again (README, \"A damaged store\")",
        names(objects)
    )]
    DamagedObjects {
        /// Which store.
        path: String,
        /// The objects' keys and revisions.
        objects: Vec<(String, Revision)>,
    },
    /// An old version of an object does not have the bytes that were written.
    #[error("the store is damaged in revision {revision} of {key}")]
    DamagedHistory {
        /// Whose version it is.
        key: String,
        /// Which version it is.
        revision: Revision,
    },
    /// The disk has only room left for deletions and small changes.
    #[error(
        "the disk of the store is full: only deletions and changes that need no more room are taken; free some space"
    )]
    Full,
    /// A write failed together with others that were grouped with it; it was not kept.
    #[error("the write was not kept: {reason}")]
    NotKept {
        /// Why.
        reason: String,
    },
    /// The store was shut down.
    #[error("the store is closed")]
    Closed,
}

fn names(objects: &[(String, Revision)]) -> String {
    const SHOWN: usize = 20;
    let shown: Vec<String> =
        objects.iter().take(SHOWN).map(|(key, revision)| format!("{key} (revision {revision})")).collect();
    match objects.len().checked_sub(SHOWN) {
        None | Some(0) => shown.join(", "),
        Some(more) => format!("{} and {more} more", shown.join(", ")),
    }
}
