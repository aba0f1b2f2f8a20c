//! A store that lets a test act at an exact moment: just before somebody reads or writes a key.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::future::BoxFuture;
use nubium_store::{Error, Expect, Got, Guard, Outcome, Page, Range, Revision, SqliteStore, Store, Watch};

/// What is about to happen to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    Get,
    Write,
}

type Act = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// The real store, with what tests do in between.
#[derive(Clone)]
pub struct Gate {
    /// The store itself, past every gate.
    pub store: SqliteStore,
    waiting: Arc<Mutex<Vec<(Before, String, Act)>>>,
}

impl Gate {
    pub fn new(store: SqliteStore) -> Self {
        Self { store, waiting: Arc::default() }
    }

    /// Does `act` once, the next time that somebody is about to do that to `key`, who goes on when it is done.
    pub fn once(&self, before: Before, key: &str, act: impl Future<Output = ()> + Send + 'static) {
        self.waiting.lock().unwrap().push((before, key.to_owned(), Box::new(move || Box::pin(act))));
    }

    /// Whether everything that was waited for has happened.
    pub fn is_open(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }

    async fn pass(&self, before: Before, key: &str) {
        let act = {
            let mut waiting = self.waiting.lock().unwrap();
            let found = waiting.iter().position(|(at, waited, _)| *at == before && waited == key);
            found.map(|found| waiting.remove(found).2)
        };
        if let Some(act) = act {
            act().await;
        }
    }
}

impl Store for Gate {
    async fn get(&self, key: &str) -> Result<Got, Error> {
        self.pass(Before::Get, key).await;
        self.store.get(key).await
    }

    async fn range(&self, range: Range) -> Result<Page, Error> {
        self.store.range(range).await
    }

    async fn write(
        &self,
        key: &str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> Result<Outcome, Error> {
        self.pass(Before::Write, key).await;
        self.store.write(key, expect, value, guard).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.store.watch(prefix, after).await
    }

    async fn current(&self) -> Result<Revision, Error> {
        self.store.current().await
    }

    async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.store.compact(revision).await
    }

    fn appended(&self) -> u64 {
        self.store.appended()
    }
}
