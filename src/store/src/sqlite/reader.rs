//! Reads of the past: old revisions of objects, and events that memory no longer holds.

use std::path::Path;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, params};

use super::table::{COLUMNS, compacted, database, row, signed};
use crate::{Derived, Error, Event, Page, Past, Range, Revision};

/// A connection that only reads.
#[derive(Clone)]
pub(super) struct Reader(Arc<Mutex<Connection>>);

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
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    /// A page as of the revision `at`. Blocks.
    fn read_page(&self, range: &Range, at: Revision) -> Result<Page, Error> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction().map_err(database("begin a read"))?;
        let oldest = compacted(&transaction).map_err(database("read a page"))?;
        if at < oldest {
            return Err(Error::Compacted { requested: at, compacted: oldest });
        }
        let read = || {
            let (end, start) = (end_of(&range.prefix), range.after.as_deref().unwrap_or(""));
            let mut statement = transaction.prepare_cached(
                "SELECT MAX(revision), key, created, previous, deleted, value, sum FROM log
                 WHERE key >= ?1 AND key < ?2 AND key > ?3 AND revision <= ?4 GROUP BY key ORDER BY key",
            )?;
            let rows = statement.query_map(params![range.prefix, end, start, signed(at)], |next| row(next, 0))?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        let mut page = Page { objects: Vec::new(), revision: at, remaining: 0 };
        for seen in read().map_err(database("read a page"))? {
            let (object, deleted) = seen.whole()?;
            match deleted {
                true => {}
                false if page.objects.len() < limit => page.objects.push(object),
                false => page.remaining += 1,
            }
        }
        Ok(page)
    }

    /// Up to `limit` events under `prefix` with `after < revision <= until`. Blocks.
    fn read_events(
        &self,
        prefix: &str,
        after: Revision,
        until: Revision,
        limit: usize,
    ) -> Result<Vec<Arc<Event>>, Error> {
        let mut connection = self.0.lock();
        let transaction = connection.transaction().map_err(database("begin a read"))?;
        let oldest = compacted(&transaction).map_err(database("read events"))?;
        if after < oldest {
            return Err(Error::Compacted { requested: after, compacted: oldest });
        }
        let read = || {
            let mut statement = transaction.prepare_cached(
                "SELECT e.revision, e.key, e.created, e.previous, e.deleted, e.value, e.sum,
                        p.revision, p.key, p.created, p.previous, p.deleted, p.value, p.sum
                 FROM log e LEFT JOIN log p ON p.revision = e.previous
                 WHERE e.revision > ?1 AND e.revision <= ?2 AND e.key >= ?3 AND e.key < ?4
                 ORDER BY e.revision LIMIT ?5",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let bounds = params![signed(after), signed(until), prefix, end_of(prefix), limit];
            let rows = statement.query_map(bounds, |next| {
                let previous = match next.get::<_, Option<i64>>(COLUMNS)? {
                    Some(_) => Some(row(next, COLUMNS)?),
                    None => None,
                };
                Ok((row(next, 0)?, previous))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        };
        let event = |(seen, previous): (super::table::Seen, Option<super::table::Seen>)| {
            let (mut object, deleted) = seen.whole()?;
            let previous = previous.map(|previous| previous.whole().map(|(object, _)| object)).transpose()?;
            if let (true, Some(previous)) = (deleted, &previous) {
                object.value = previous.value.clone();
            }
            Ok(Arc::new(Event { object, deleted, previous, derived: Derived::default() }))
        };
        read().map_err(database("read events"))?.into_iter().map(event).collect()
    }
}

impl Past for Reader {
    fn page(&self, range: Range, at: Revision) -> BoxFuture<'static, Result<Page, Error>> {
        let reader = self.clone();
        run_blocking(move || reader.read_page(&range, at)).boxed()
    }

    fn events(
        &self,
        prefix: String,
        after: Revision,
        until: Revision,
        limit: usize,
    ) -> BoxFuture<'static, Result<Vec<Arc<Event>>, Error>> {
        let reader = self.clone();
        run_blocking(move || reader.read_events(&prefix, after, until, limit)).boxed()
    }
}

async fn run_blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Closed)?
}
