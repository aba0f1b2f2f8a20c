//! The log's table: append-only rows, one per write, and the connection that appends to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::{Error, Event, Object, Revision};

/// The format that this program writes, kept in the file's `user_version`.
const FORMAT: i64 = 1;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS log (
        revision INTEGER PRIMARY KEY,
        key      TEXT    NOT NULL,
        created  INTEGER NOT NULL,   -- the revision that made the key
        previous INTEGER,            -- the revision this one replaced; NULL when it made the key
        deleted  INTEGER NOT NULL,
        value    BLOB    NOT NULL    -- of a deletion: the last value
    );
    CREATE INDEX IF NOT EXISTS log_key ON log (key, revision);
    CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
";

/// The connection that writes.
pub(super) struct Log {
    connection: Connection,
}

/// What the log says at start.
pub(super) struct State {
    pub live: BTreeMap<Arc<str>, Object>,
    pub current: Revision,
    pub compacted: Revision,
}

pub(super) fn database(action: &'static str) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| Error::Database { action, source }
}

pub(super) fn signed(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    row.get::<_, i64>(column).map(|revision| u64::try_from(revision).unwrap_or(0))
}

/// Reads `key, revision, created, value` from the columns at `first`.
pub(super) fn object(row: &Row<'_>, first: usize) -> rusqlite::Result<Object> {
    let key: String = row.get(first)?;
    let value: Vec<u8> = row.get(first + 3)?;
    Ok(Object {
        key: key.into(),
        value: Bytes::from(value),
        modified: unsigned(row, first + 1)?,
        created: unsigned(row, first + 2)?,
    })
}

/// The revision below which history is gone, as the connection sees it.
pub(super) fn compacted(connection: &Connection) -> rusqlite::Result<Revision> {
    let mark: Option<i64> =
        connection.query_row("SELECT revision FROM mark WHERE name = 'compacted'", [], |row| row.get(0)).optional()?;
    Ok(mark.and_then(|revision| u64::try_from(revision).ok()).unwrap_or(0))
}

impl Log {
    pub fn open(path: &Path, first_revision: Revision) -> Result<Self, Error> {
        let connection = Connection::open(path).map_err(database("open"))?;
        connection
            .execute_batch(
                "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000;
                 PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 16777216;",
            )
            .map_err(database("set its journal mode"))?;
        let found: i64 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(database("read its format"))?;
        if found > FORMAT {
            return Err(Error::Format { found, known: FORMAT });
        }
        connection.execute_batch(TABLES).map_err(database("make its tables"))?;
        connection
            .execute("INSERT OR IGNORE INTO mark VALUES ('first', ?1)", [signed(first_revision)])
            .map_err(database("record its first revision"))?;
        connection.pragma_update(None, "user_version", FORMAT).map_err(database("record its format"))?;
        Ok(Self { connection })
    }

    /// Reads what is live.
    pub fn load(&mut self) -> Result<State, Error> {
        let read = |connection: &Connection| {
            let mut live = BTreeMap::new();
            // With MAX(), SQLite takes the other columns from the row that has the maximum.
            let mut statement = connection
                .prepare("SELECT key, MAX(revision), created, value, deleted FROM log GROUP BY key ORDER BY key")?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(4)? == 0 {
                    let object = object(row, 0)?;
                    live.insert(object.key.clone(), object);
                }
            }
            // The newest row may be a compacted deletion, so the mark counts as well.
            let current = connection.query_row(
                "SELECT MAX((SELECT COALESCE(MAX(revision), 0) FROM log), (SELECT MAX(revision) FROM mark))",
                [],
                |row| unsigned(row, 0),
            )?;
            Ok(State { live, current, compacted: compacted(connection)? })
        };
        read(&self.connection).map_err(database("load"))
    }

    /// Appends all of `events` in one durable commit, or none.
    pub fn append(&mut self, events: &[Arc<Event>]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6)")?;
            for event in events {
                insert.execute(params![
                    signed(event.revision()),
                    &*event.object.key,
                    signed(event.object.created),
                    event.previous.as_ref().map(|previous| signed(previous.modified)),
                    event.deleted,
                    &event.object.value[..],
                ])?;
            }
        }
        transaction.commit()
    }

    /// Records that history before `revision` is no longer to be read.
    pub fn mark_compacted(&mut self, revision: Revision) -> Result<(), Error> {
        self.connection
            .execute(
                "INSERT INTO mark VALUES ('compacted', ?1) ON CONFLICT (name) DO UPDATE SET revision = ?1",
                [signed(revision)],
            )
            .map(drop)
            .map_err(database("mark the compacted revision"))
    }

    /// Removes up to `limit` of the rows that were replaced or deleted at or before `revision`, looking at rows after
    /// `from`. Answers where to go on, or `None` at the end.
    pub fn compact_some(
        &mut self,
        from: Revision,
        revision: Revision,
        limit: usize,
    ) -> Result<Option<Revision>, Error> {
        let step = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let mut last = None;
            {
                let mut look = transaction.prepare_cached(
                    "SELECT revision, previous, deleted FROM log
                     WHERE revision > ?1 AND revision <= ?2 ORDER BY revision LIMIT ?3",
                )?;
                let mut remove = transaction.prepare_cached("DELETE FROM log WHERE revision = ?1")?;
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let found = look
                    .query_map(params![signed(from), signed(revision), limit], |row| {
                        Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, row.get::<_, bool>(2)?))
                    })?
                    .collect::<rusqlite::Result<Vec<_>>>()?;
                for (row, previous, deleted) in found {
                    if let Some(previous) = previous {
                        remove.execute([previous])?;
                    }
                    if deleted {
                        remove.execute([row])?;
                    }
                    last = u64::try_from(row).ok();
                }
            }
            transaction.commit()?;
            Ok(last)
        };
        step(&mut self.connection).map_err(database("compact"))
    }
}
