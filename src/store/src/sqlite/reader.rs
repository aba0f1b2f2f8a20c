//! Reads of the past: old revisions of objects, and events that memory no longer holds.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, params};

use super::log::{compacted, database, object, signed};
use crate::{Error, Event, Page, Range, Revision};

/// A connection that only reads. Its calls block.
pub(super) struct Reader {
    connection: Mutex<Connection>,
}

/// The end of the keys that start with a prefix: every key has plain text, which U+10FFFF follows.
fn end_of(prefix: &str) -> String {
    format!("{prefix}\u{10FFFF}")
}

impl Reader {
    pub fn open(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(database("open for reading"))?;
        connection
            .execute_batch("PRAGMA query_only = ON; PRAGMA busy_timeout = 10000; PRAGMA cache_size = -1024;")
            .map_err(database("open for reading"))?;
        Ok(Self { connection: Mutex::new(connection) })
    }

    /// A page as of the revision `at`.
    pub fn page(&self, range: &Range, at: Revision) -> Result<Page, Error> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction().map_err(database("begin a read"))?;
        let oldest = compacted(&transaction).map_err(database("read a page"))?;
        if at < oldest {
            return Err(Error::Compacted { requested: at, compacted: oldest });
        }
        let read = || {
            let (end, start) = (end_of(&range.prefix), range.after.as_deref().unwrap_or(""));
            let mut statement = transaction.prepare_cached(
                "SELECT key, MAX(revision), created, value, deleted FROM log
                 WHERE key >= ?1 AND key < ?2 AND key > ?3 AND revision <= ?4 GROUP BY key ORDER BY key",
            )?;
            let mut rows = statement.query(params![range.prefix, end, start, signed(at)])?;
            let limit = if range.limit == 0 { usize::MAX } else { range.limit };
            let mut page = Page { objects: Vec::new(), revision: at, remaining: 0 };
            while let Some(row) = rows.next()? {
                if row.get::<_, bool>(4)? {
                    continue;
                }
                if page.objects.len() < limit {
                    page.objects.push(object(row, 0)?);
                } else {
                    page.remaining += 1;
                }
            }
            Ok(page)
        };
        read().map_err(database("read a page"))
    }

    /// Up to `limit` events under `prefix` with `after < revision <= until`.
    pub fn events(
        &self,
        prefix: &str,
        after: Revision,
        until: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, Error> {
        let mut connection = self.connection.lock();
        let transaction = connection.transaction().map_err(database("begin a read"))?;
        let oldest = compacted(&transaction).map_err(database("read events"))?;
        if after < oldest {
            return Err(Error::Compacted { requested: after, compacted: oldest });
        }
        let read = || {
            let mut statement = transaction.prepare_cached(
                "SELECT e.key, e.revision, e.created, e.value, e.deleted, p.key, p.revision, p.created, p.value
                 FROM log e LEFT JOIN log p ON p.revision = e.previous
                 WHERE e.revision > ?1 AND e.revision <= ?2 AND e.key >= ?3 AND e.key < ?4
                 ORDER BY e.revision LIMIT ?5",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let rows =
                statement.query_map(params![signed(after), signed(until), prefix, end_of(prefix), limit], |row| {
                    let previous = match row.get::<_, Option<String>>(5)? {
                        Some(_) => Some(object(row, 5)?),
                        None => None,
                    };
                    Ok(Arc::new(Event { object: object(row, 0)?, deleted: row.get(4)?, previous }))
                })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        read().map_err(database("read events"))
    }
}
