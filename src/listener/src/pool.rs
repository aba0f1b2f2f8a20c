//! Counted places for connections: a full pool refuses the newest or closes the oldest.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::Limits;

/// Places for a number of connections, ordered by age.
pub(crate) struct Pool {
    limit: usize,
    members: Mutex<Members>,
}

#[derive(Default)]
struct Members {
    next: u64,
    by_age: BTreeMap<u64, Arc<Notify>>,
}

impl Pool {
    fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, members: Mutex::default() })
    }

    /// Takes a place; when there is none, the oldest member loses its own.
    pub fn enter(self: &Arc<Self>) -> Place {
        let mut members = self.members.lock();
        if members.by_age.len() >= self.limit
            && let Some((_, oldest)) = members.by_age.pop_first()
        {
            oldest.notify_one();
        }
        self.insert(&mut members)
    }

    /// Takes a place if there is one.
    fn try_enter(self: &Arc<Self>) -> Option<Place> {
        let mut members = self.members.lock();
        (members.by_age.len() < self.limit).then(|| self.insert(&mut members))
    }

    fn insert(self: &Arc<Self>, members: &mut Members) -> Place {
        let (number, evicted) = (members.next, Arc::new(Notify::new()));
        members.next += 1;
        members.by_age.insert(number, evicted.clone());
        Place { pool: self.clone(), number, evicted }
    }
}

/// A place in a pool, given back when dropped.
pub(crate) struct Place {
    pool: Arc<Pool>,
    number: u64,
    evicted: Arc<Notify>,
}

impl Place {
    /// Returns when a newer member has taken this place.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.pool.members.lock().by_age.remove(&self.number);
    }
}

/// Every pool of a listener.
pub(crate) struct Pools {
    pub handshakes: Arc<Pool>,
    anonymous: Arc<Pool>,
    authenticated: Arc<Pool>,
    per_certificate: usize,
    certificates: Mutex<HashMap<Vec<u8>, Arc<Pool>>>,
}

impl Pools {
    pub fn new(limits: &Limits) -> Self {
        Self {
            handshakes: Pool::new(limits.handshakes),
            anonymous: Pool::new(limits.anonymous),
            authenticated: Pool::new(limits.connections),
            per_certificate: limits.per_certificate,
            certificates: Mutex::default(),
        }
    }

    /// The places of a connection whose handshake is done; `None` when there is none for it.
    pub fn admit(&self, certificate: Option<&[u8]>) -> Option<Held> {
        let Some(certificate) = certificate else {
            return Some(Held(Arc::new(Places { place: self.anonymous.enter(), _of_certificate: None })));
        };
        let mut certificates = self.certificates.lock();
        certificates.retain(|_, pool| Arc::strong_count(pool) > 1);
        let own = certificates.entry(certificate.to_vec()).or_insert_with(|| Pool::new(self.per_certificate));
        let of_certificate = own.try_enter()?;
        let place = self.authenticated.try_enter()?;
        Some(Held(Arc::new(Places { place, _of_certificate: Some(of_certificate) })))
    }
}

/// Keeps a connection counted. It is among a request's extensions: whoever takes the connection over by an HTTP upgrade
/// keeps a clone of it for as long as the connection lasts.
#[derive(Clone)]
pub struct Held(Arc<Places>);

struct Places {
    place: Place,
    _of_certificate: Option<Place>,
}

impl Held {
    pub(crate) async fn evicted(&self) {
        self.0.place.evicted().await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn is_evicted(held: &Held) -> bool {
        matches!(pin!(held.evicted()).poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(()))
    }

    fn pools() -> Pools {
        let limits = Limits { connections: 3, per_certificate: 2, anonymous: 2, ..Limits::of_this_process() };
        Pools::new(&limits)
    }

    #[test]
    fn the_oldest_anonymous_connection_gives_way() {
        let pools = pools();
        let all: Vec<Held> = (0..5).map(|_| pools.admit(None).unwrap()).collect();
        assert_eq!(all.iter().map(is_evicted).collect::<Vec<_>>(), [true, true, true, false, false]);
        assert!(pools.admit(Some(b"a")).is_some(), "they are not counted among those with a certificate");
    }

    #[test]
    fn one_certificate_does_not_take_all_places_and_places_come_back() {
        let pools = pools();
        let a: Vec<Held> = (0..2).map(|_| pools.admit(Some(b"a")).unwrap()).collect();
        assert!(pools.admit(Some(b"a")).is_none());
        let b = pools.admit(Some(b"b")).unwrap();
        assert!(pools.admit(Some(b"c")).is_none(), "all three are taken");
        assert!(!a.iter().any(is_evicted));
        drop((a, b));
        assert!(pools.admit(Some(b"a")).is_some());
        assert_eq!(pools.certificates.lock().len(), 1, "what is over is forgotten");
    }
}
