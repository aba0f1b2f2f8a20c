//! The log's table: append-only rows, one per write, and the connection that appends to it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, params};

use super::wal::CHECKPOINT_PAGES;
use crate::{Error, Event, Loaded, Object, Revision};

/// The format that this program writes, kept in the file's `user_version`. 1 had no checksums.
const FORMAT: i64 = 2;

const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS log (
        revision INTEGER PRIMARY KEY,
        key      TEXT    NOT NULL,
        created  INTEGER NOT NULL,   -- the revision that made the key
        previous INTEGER,            -- the revision this one replaced; NULL when it made the key
        deleted  INTEGER NOT NULL,
        value    BLOB    NOT NULL,   -- of a deletion nothing: the last value is in the row it replaced
        sum      INTEGER             -- CRC-32 of all of the row; NULL in rows of format 1
    );
    CREATE INDEX IF NOT EXISTS log_key ON log (key, revision);
    CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
";

/// The columns of a row, as [`row`] reads them.
pub(super) const COLUMNS: usize = 7;

/// Fewer free pages than these stay in the file: they are used again soon.
const FREE_PAGES: i64 = 1024;

/// The connection that writes.
pub(super) struct Table {
    connection: Connection,
    path: String,
    new: bool,
    /// Whether the index was as the table's rows need it.
    whole: bool,
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

/// A row as it was read: whole, or not what was written.
pub(super) enum Seen {
    Whole { object: Object, deleted: bool },
    Damaged { key: String, revision: Revision },
}

impl Seen {
    /// The object of a row of the past.
    pub fn whole(self) -> Result<(Object, bool), Error> {
        match self {
            Self::Whole { object, deleted } => Ok((object, deleted)),
            Self::Damaged { key, revision } => Err(Error::DamagedHistory { key, revision }),
        }
    }
}

/// Reads `revision, key, created, previous, deleted, value, sum` from the columns at `first`.
pub(super) fn row(row: &Row<'_>, first: usize) -> rusqlite::Result<Seen> {
    let revision = unsigned(row, first)?;
    // A value of another type is damage as well: SQLite takes a text and a blob of the same bytes for two keys.
    let (key, is_text) = match row.get_ref(first + 1)? {
        ValueRef::Text(key) => (key, true),
        ValueRef::Blob(key) => (key, false),
        _ => (&[][..], false),
    };
    let parts = || -> rusqlite::Result<_> {
        let value = row.get_ref(first + 5)?.as_blob()?;
        let (created, previous) = (row.get(first + 2)?, row.get(first + 3)?);
        let (deleted, sum): (i64, Option<u32>) = (row.get(first + 4)?, row.get(first + 6)?);
        Ok((created, previous, deleted, value, sum))
    };
    if let (Ok(key), Ok((created, previous, deleted, value, sum))) = (std::str::from_utf8(key), parts())
        && is_text
        && sum.is_none_or(|sum| sum == checksum(signed(revision), key, created, previous, deleted != 0, value))
    {
        let object = Object {
            key: key.into(),
            value: Bytes::copy_from_slice(value),
            created: u64::try_from(created).unwrap_or(0),
            modified: revision,
        };
        return Ok(Seen::Whole { object, deleted: deleted != 0 });
    }
    Ok(Seen::Damaged { key: String::from_utf8_lossy(key).into_owned(), revision })
}

fn checksum(revision: i64, key: &str, created: i64, previous: Option<i64>, deleted: bool, value: &[u8]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for number in [revision, created, previous.unwrap_or(-1), i64::from(deleted), key.len() as i64] {
        sum.update(&number.to_le_bytes());
    }
    sum.update(key.as_bytes());
    sum.update(value);
    sum.finalize()
}

/// The revision below which history is gone, as the connection sees it.
pub(super) fn compacted(connection: &Connection) -> rusqlite::Result<Revision> {
    let mark: Option<i64> =
        connection.query_row("SELECT revision FROM mark WHERE name = 'compacted'", [], |row| row.get(0)).optional()?;
    Ok(mark.and_then(|revision| u64::try_from(revision).ok()).unwrap_or(0))
}

impl Table {
    /// Opens the file, making it when it is not there, and checks that it is whole.
    pub fn open(path: &Path, first_revision: Revision) -> Result<Self, Error> {
        let name = path.display().to_string();
        let (connection, new, whole) = Self::prepare(path, first_revision).map_err(|error| damage(&name, error))?;
        Ok(Self { connection, path: name, new, whole })
    }

    fn prepare(path: &Path, first_revision: Revision) -> Result<(Connection, bool, bool), Error> {
        let connection = Connection::open(path).map_err(database("open"))?;
        connection
            .execute_batch(
                "PRAGMA auto_vacuum = INCREMENTAL;
                 PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 10000;
                 PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 16777216;",
            )
            .and_then(|()| connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES))
            .map_err(database("set its journal mode"))?;
        let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
        let found = number("PRAGMA user_version").map_err(database("read its format"))?;
        if found > FORMAT {
            return Err(Error::Format { found, known: FORMAT });
        }
        let whole = check(&connection, path)?;
        connection.execute_batch(TABLES).map_err(database("make its tables"))?;
        if found == 1 {
            connection.execute_batch("ALTER TABLE log ADD COLUMN sum INTEGER").map_err(database("add checksums"))?;
        }
        connection
            .execute("INSERT OR IGNORE INTO mark VALUES ('first', ?1)", [signed(first_revision)])
            .map_err(database("record its first revision"))?;
        if found != FORMAT {
            connection.pragma_update(None, "user_version", FORMAT).map_err(database("record its format"))?;
        }
        // An older release's file cannot shrink step by step before it was written anew once.
        if number("PRAGMA auto_vacuum").map_err(database("read how it shrinks"))? == 0 {
            match connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL; VACUUM") {
                Ok(()) => tracing::info!(path = %path.display(), "the store's file was made smaller"),
                Err(error) => {
                    tracing::warn!(%error, "the store's file cannot be made smaller now; the next start tries again")
                }
            }
        }
        Ok((connection, found == 0, whole))
    }

    /// Whether the file was made just now.
    pub fn is_new(&self) -> bool {
        self.new
    }

    /// Reads the live objects. With `drop_damaged`, those that are not as they were written are taken out of the log.
    pub fn load(&mut self, drop_damaged: bool) -> Result<Loaded, Error> {
        let (mut loaded, damaged) = self.read_live().map_err(database("load")).map_err(|e| damage(&self.path, e))?;
        if damaged.is_empty() {
            return Ok(loaded);
        }
        if !drop_damaged {
            return Err(Error::DamagedObjects { path: self.path.clone(), objects: damaged });
        }
        for (key, revision) in &damaged {
            tracing::error!(
                key,
                revision,
                "a damaged object is taken out of the store; its bytes are in the table damaged"
            );
        }
        self.set_aside(&damaged, loaded.current).map_err(database("set damaged objects aside"))?;
        loaded.compacted = loaded.current;
        Ok(loaded)
    }

    fn read_live(&self) -> rusqlite::Result<(Loaded, Vec<(String, Revision)>)> {
        let connection = &self.connection;
        let (mut live, mut damaged) = (BTreeMap::new(), Vec::new());
        // With MAX(), SQLite takes the other columns from the row that has the maximum.
        let mut statement = connection.prepare(
            "SELECT MAX(revision), key, created, previous, deleted, value, sum FROM log GROUP BY key ORDER BY key",
        )?;
        let mut rows = statement.query([])?;
        while let Some(next) = rows.next()? {
            match row(next, 0)? {
                Seen::Whole { deleted: true, .. } => {}
                Seen::Whole { object, deleted: false } => {
                    live.insert(object.key.clone(), object);
                }
                Seen::Damaged { key, revision } => damaged.push((key, revision)),
            }
        }
        if !self.whole {
            damaged.clear();
            let mut statement = connection
                .prepare("SELECT revision, key, created, previous, deleted, value, sum FROM log ORDER BY revision")?;
            let mut rows = statement.query([])?;
            while let Some(next) = rows.next()? {
                if let Seen::Damaged { key, revision } = row(next, 0)? {
                    damaged.push((key, revision));
                }
            }
        }
        // The newest row may be a compacted deletion, so the marks count as well.
        let current = connection.query_row(
            "SELECT MAX((SELECT COALESCE(MAX(revision), 0) FROM log), (SELECT MAX(revision) FROM mark))",
            [],
            |row| unsigned(row, 0),
        )?;
        Ok((Loaded { live, current, compacted: compacted(connection)? }, damaged))
    }

    /// Moves the rows of damaged objects to a table of their own. Watches from before have to list again.
    fn set_aside(&mut self, damaged: &[(String, Revision)], current: Revision) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch("CREATE TABLE IF NOT EXISTS damaged AS SELECT * FROM log WHERE 0")?;
        for (_, revision) in damaged {
            // By the stored key: the damage may be in it. With an object's newest row go all that it had before, or an old
            // state would come back; another row goes alone.
            let rows = "revision = ?1 OR EXISTS (
                SELECT 1 FROM log d WHERE d.revision = ?1 AND d.key = log.key
                AND d.revision = (SELECT MAX(n.revision) FROM log n WHERE n.key = d.key))";
            transaction.execute(&format!("INSERT INTO damaged SELECT * FROM log WHERE {rows}"), [signed(*revision)])?;
            transaction.execute("DELETE FROM log WHERE revision IN (SELECT revision FROM damaged)", [])?;
        }
        mark(&transaction, "compacted", current)?;
        transaction.commit()
    }

    /// Goes on above `newest`, when writes up to there were answered and are no longer in the log.
    pub fn skip_to(&mut self, newest: Revision) -> Result<(), Error> {
        let skip = |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            mark(&transaction, "lost", newest)?;
            mark(&transaction, "compacted", newest)?;
            transaction.commit()
        };
        skip(&mut self.connection).map_err(database("record what was lost"))
    }

    /// Appends all of `events` in one durable commit, or none.
    pub fn append(&mut self, events: &[Arc<Event>]) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
            for event in events {
                let Event { object, deleted, previous, derived: _ } = &**event;
                let (revision, created) = (signed(object.modified), signed(object.created));
                let previous = previous.as_ref().map(|previous| signed(previous.modified));
                let value = if *deleted { &[] } else { &object.value[..] };
                let sum = checksum(revision, &object.key, created, previous, *deleted, value);
                insert.execute(params![revision, &*object.key, created, previous, deleted, value, sum])?;
            }
        }
        transaction.commit()
    }

    /// Records that history before `revision` is no longer to be read.
    pub fn mark_compacted(&mut self, revision: Revision) -> Result<(), Error> {
        mark(&self.connection, "compacted", revision).map_err(database("mark the compacted revision"))
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

    /// Gives up to `pages` free pages of the file back to the disk. True when more are left.
    pub fn shrink_some(&mut self, pages: u32) -> Result<bool, Error> {
        let step = |connection: &Connection| {
            let free =
                |connection: &Connection| connection.query_row("PRAGMA freelist_count", [], |row| row.get::<_, i64>(0));
            if free(connection)? <= FREE_PAGES {
                return Ok(false);
            }
            let mut shrink = connection.prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = shrink.query([])?;
            while rows.next()?.is_some() {}
            drop(rows);
            let left = free(connection)? > FREE_PAGES;
            if !left {
                // The file itself shrinks when the write-ahead log was taken over into it.
                connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))?;
            }
            Ok(left)
        };
        step(&self.connection).map_err(database("give free pages back"))
    }
}

/// Checks the whole file. An index that does not fit its table is made again, and the answer is `false`: the row of which
/// it spoke may have another key now. Whether the rows are what was written, their checksums say.
fn check(connection: &Connection, path: &Path) -> Result<bool, Error> {
    let look =
        || -> rusqlite::Result<String> { connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)) };
    let found = look().map_err(database("check itself"))?;
    if found == "ok" {
        return Ok(true);
    }
    let damaged = |what: String| Error::Damaged { path: path.display().to_string(), what };
    let again = connection.execute_batch("REINDEX").and_then(|()| look());
    match again {
        Ok(again) if again == "ok" => {
            tracing::error!(path = %path.display(), found, "the store's index was damaged; it was made again from its table");
            Ok(false)
        }
        _ => Err(damaged(found)),
    }
}

fn mark(connection: &Connection, name: &str, revision: Revision) -> rusqlite::Result<()> {
    let mark = "INSERT INTO mark VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET revision = ?2";
    connection.execute(mark, params![name, signed(revision)]).map(drop)
}

/// A database that SQLite cannot make sense of is damaged, whatever it was doing.
fn damage(path: &str, error: Error) -> Error {
    match error {
        Error::Database { source, .. } if is_damage(&source) => {
            Error::Damaged { path: path.to_owned(), what: source.to_string() }
        }
        other => other,
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the disk had no room for a write.
pub(super) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure))
}
