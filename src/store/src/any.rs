//! Any store behind one type, so that what is built on a store need not be generic over it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::{Error, Expect, Got, Guard, Outcome, Page, Range, Revision, Store, Watch};

/// A store of any kind. Cheap to clone.
#[derive(Clone)]
pub struct AnyStore(Arc<dyn Erased>);

impl AnyStore {
    /// Hides which store this is.
    pub fn new(store: impl Store) -> Self {
        Self(Arc::new(store))
    }
}

/// [`Store`] with boxed futures, which can be a trait object.
trait Erased: Send + Sync {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Got, Error>>;
    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>>;
    fn write<'a>(
        &'a self,
        key: &'a str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> BoxFuture<'a, Result<Outcome, Error>>;
    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> BoxFuture<'a, Result<Watch, Error>>;
    fn current(&self) -> BoxFuture<'_, Result<Revision, Error>>;
    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>>;
    fn appended(&self) -> u64;
}

impl<S: Store> Erased for S {
    fn get<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Got, Error>> {
        Box::pin(Store::get(self, key))
    }

    fn range(&self, range: Range) -> BoxFuture<'_, Result<Page, Error>> {
        Box::pin(Store::range(self, range))
    }

    fn write<'a>(
        &'a self,
        key: &'a str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> BoxFuture<'a, Result<Outcome, Error>> {
        Box::pin(Store::write(self, key, expect, value, guard))
    }

    fn watch<'a>(&'a self, prefix: &'a str, after: Revision) -> BoxFuture<'a, Result<Watch, Error>> {
        Box::pin(Store::watch(self, prefix, after))
    }

    fn current(&self) -> BoxFuture<'_, Result<Revision, Error>> {
        Box::pin(Store::current(self))
    }

    fn compact(&self, revision: Revision) -> BoxFuture<'_, Result<(), Error>> {
        Box::pin(Store::compact(self, revision))
    }

    fn appended(&self) -> u64 {
        Store::appended(self)
    }
}

impl AnyStore {
    /// See [`Store::get`].
    pub async fn get(&self, key: &str) -> Result<Got, Error> {
        self.0.get(key).await
    }

    /// See [`Store::range`].
    pub async fn range(&self, range: Range) -> Result<Page, Error> {
        self.0.range(range).await
    }

    /// See [`Store::write`].
    pub async fn write(
        &self,
        key: &str,
        expect: Expect,
        value: Option<Bytes>,
        guard: Option<Guard>,
    ) -> Result<Outcome, Error> {
        self.0.write(key, expect, value, guard).await
    }

    /// See [`Store::watch`].
    pub async fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, Error> {
        self.0.watch(prefix, after).await
    }

    /// See [`Store::current`].
    pub async fn current(&self) -> Result<Revision, Error> {
        self.0.current().await
    }

    /// See [`Store::compact`].
    pub async fn compact(&self, revision: Revision) -> Result<(), Error> {
        self.0.compact(revision).await
    }

    /// See [`Store::appended`].
    pub fn appended(&self) -> u64 {
        self.0.appended()
    }
}
